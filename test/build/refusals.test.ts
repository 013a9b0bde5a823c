/** What the compiler cannot do is refused with the function's name, never compiled wrongly; and the generated constants follow their scheme. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { FS } from '../../servers/protocols/fs.ts';
import { ERRORS } from '../../microkernel/abi/errors.ts';
import { TAG, VM_MAP } from '../../microkernel/abi/layout.ts';
import { OBJECTS } from '../../microkernel/abi/objects.ts';
import { assemble } from '../../tools/build/asm/assembler.ts';
import { compileModule } from '../../tools/build/compile.ts';
import { BuildError } from '../../tools/build/errors.ts';
import { generate } from '../../tools/build/generate.ts';
import { link } from '../../tools/build/link.ts';
import { OP } from '../../tools/build/wasm/opcodes.ts';
import { REPOSITORY_ROOT } from '../../vm/entry.ts';
import { buildWasm, f64c, get, i32c, type TestFunction } from './wasm-builder.ts';

const f = (body: number[], params: TestFunction['params'] = ['i32'], results: TestFunction['results'] = ['i32']): Uint8Array => buildWasm({ functions: [{ name: 'f', params, results, body }] });
const refuse = (wasm: Uint8Array, kernel: boolean, text: RegExp): void => {
  try {
    compileModule(wasm, { kernel });
  } catch (e) {
    expect(e).toBeInstanceOf(BuildError);
    expect((e as BuildError).message).toMatch(text);
    return;
  }
  throw new Error('was compiled');
};
const linked = (stub: Parameters<typeof assemble>[1], extra: Partial<Parameters<typeof link>[0]> = {}): unknown =>
  link({ compiled: undefined, stubs: [assemble('stub', stub)], library: new Map(), textBase: 0x100000, memoryBase: 0x200000, heapBase: 0x200000, heapBytes: 0, entry: '_start', ...extra });

describe('the compiler refuses', () => {
  it('floating point in the kernel, but not elsewhere', () => {
    const wasm = f([...f64c(1.5), ...get(0), OP['f64.convert_i32_s'] as number, OP['f64.add'] as number, 0xfc, 2], ['i32']);
    refuse(wasm, true, /floating point in the kernel.*func0/);
    expect(compileModule(wasm, { kernel: false }).functions.length).toBe(1);
  });
  it('a growing heap in the kernel', () => refuse(f([...get(0), 0x40, 0]), true, /memory\.grow in the kernel.*func0/));
  it('SIMD and atomics', () => {
    refuse(f([...get(0), 0xfd, 15, 0x1a, ...i32c(0)]), false, /0xfd is not supported.*func0/);
    refuse(f([...get(0), 0xfe, 0x10, 2, 0]), false, /0xfe is not supported.*func0/);
  });
  it('undefined and doubled symbols', () => {
    expect(() => linked((asm) => { asm.label('_start'); asm.call('nowhere'); })).toThrow(/undefined symbol nowhere.*stub/);
    expect(() => linked((asm) => { asm.label('_start'); asm.label('_start'); })).toThrow(/_start is defined twice/);
    expect(() => linked((asm) => { asm.label('other'); asm.ret(); })).toThrow(/undefined symbol _start/);
  });
  it('text that grows into the static data', () => {
    expect(() => linked((asm) => { asm.label('_start'); asm.section('bss'); asm.space(0x110000); })).toThrow(/beyond the memory base/);
  });
  it('an instruction without an encoding', () => {
    expect(() => assemble('stub', (asm) => asm.mov({ kind: 'mem', size: 4, base: 0, index: -1, scale: 1, disp: 0 }, { kind: 'mem', size: 4, base: 1, index: -1, scale: 1, disp: 0 }))).toThrow(/no encoding for mov/);
  });
});

describe('generated constants', () => {
  it('name operations, errors, fields and rights by one scheme', async () => {
    await generate();
    const value = (module: string, name: string): number => {
      const text = readFileSync(path.join(REPOSITORY_ROOT, 'build/guest/kintsugi', module), 'utf8');
      const m = new RegExp(`export const ${name}: u32 = (\\S+);`).exec(text);
      if (m === null) throw new Error(`${name} is missing`);
      return Number(m[1]);
    };
    expect(value('abi.ts', 'ERR_STALE')).toBe(ERRORS.STALE[0]);
    expect(value('abi.ts', 'OBJ_UNTYPED')).toBe(OBJECTS.Untyped.type);
    expect(value('abi.ts', 'UNTYPED_RETYPE')).toBe(OBJECTS.Untyped.ops.retype.label);
    expect(value('abi.ts', 'FRAMES_RIGHTS_WRITE')).toBe(OBJECTS.Frames.rights.write);
    expect(value('abi.ts', 'VM_DATA')).toBe(VM_MAP.data);
    expect(value('abi.ts', 'TAG_OP_SHIFT')).toBe(TAG.op[0]);
    expect(value('protocols.ts', 'FS_OPEN')).toBe(FS.ops.open.op);
  });
});
