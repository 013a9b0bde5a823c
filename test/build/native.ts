/**
 * Runs functions of a wasm module twice: in Node, and compiled by our backend as a static i386 Linux executable on this host.
 * The executable's driver (a stub) reads call records from stdin, calls, and writes results; signals (#DE, #UD, page faults) become traps,
 * so that wasm traps and native traps can be compared.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { assemble, type Assembler } from '../../tools/build/asm/assembler.ts';
import { compileModule } from '../../tools/build/compile.ts';
import { writeElf } from '../../tools/build/elf.ts';
import { link } from '../../tools/build/link.ts';
import { LIBRARY } from '../../tools/build/runtime/library.ts';
import { assign } from '../../tools/build/select/calls.ts';
import { addr, dword, eax, ebp, ebx, ecx, edi, edx, esi, esp, qword, xmm } from '../../tools/build/x86/operands.ts';
import type { Type } from '../../tools/build/wasm/opcodes.ts';

export interface Call { readonly name: string; readonly args: readonly (number | bigint)[] }
export type Result = number | bigint | undefined | 'trap';

export const RECORD = 128, RESULT = 24;
const BUFFER = 8 << 20;

/** record: function index, eax, edx, ecx, 12 stack words, xmm0-3; result: status (1 = trap), eax, edx, unused, xmm0. */
export function driver(names: readonly string[]): (asm: Assembler) => void {
  return (asm) => {
    asm.section('bss');
    asm.align(16);
    for (const [l, n] of [['input', BUFFER], ['output', BUFFER], ['saved', 16], ['signals', 65536]] as const) {
      asm.label(l);
      asm.space(n);
    }
    asm.section('rodata');
    asm.label('functions');
    for (const n of names) asm.dword(addr(n));
    asm.label('action'); // struct old_sigaction: handler, mask, flags (SA_NODEFER, SA_ONSTACK), restorer
    asm.dword(addr('onSignal'), 0, 0x48000000, 0);
    asm.label('alternate'); // a stack that is used up is a trap as well
    asm.dword(addr('signals'), 0, 65536);
    asm.section('text');
    asm.label('_start');
    asm.mov(eax, 186); // sigaltstack
    asm.mov(ebx, addr('alternate'));
    asm.xor(ecx, ecx);
    asm.int(0x80);
    for (const signal of [4, 8, 11]) {
      asm.mov(eax, 67);
      asm.mov(ebx, signal);
      asm.mov(ecx, addr('action'));
      asm.xor(edx, edx);
      asm.int(0x80);
    }
    asm.mov(edi, addr('input'));
    asm.label('.read');
    asm.mov(eax, 3);
    asm.xor(ebx, ebx);
    asm.mov(ecx, edi);
    asm.mov(edx, 1 << 20);
    asm.int(0x80);
    asm.add(edi, eax);
    asm.test(eax, eax);
    asm.jcc('g', '.read');
    asm.mov(dword(addr('saved')), edi); // end of input
    asm.mov(esi, addr('input'));
    asm.mov(edi, addr('output'));
    asm.label('.next');
    asm.cmp(esi, dword(addr('saved')));
    asm.jcc('ae', '.end');
    asm.mov(dword(addr('saved', 4)), esi);
    asm.mov(dword(addr('saved', 8)), edi);
    asm.sub(esp, 48);
    for (let i = 0; i < 12; i++) {
      asm.mov(eax, dword(esi, 16 + i * 4));
      asm.mov(dword(esp, i * 4), eax);
    }
    for (let i = 0; i < 4; i++) asm.movsd(xmm[i] as (typeof xmm)[number], qword(esi, 64 + i * 8));
    asm.mov(ebp, dword(esi));
    asm.mov(ebp, dword([ebp, 4], addr('functions')));
    asm.mov(eax, dword(esi, 4));
    asm.mov(edx, dword(esi, 8));
    asm.mov(ecx, dword(esi, 12));
    asm.mov(dword(addr('saved', 12)), esp);
    asm.call(ebp);
    asm.add(esp, 48);
    asm.cmp(edi, dword(addr('saved', 8))); // callee-saved registers must be as before
    asm.jcc('ne', '.clobbered');
    asm.cmp(esi, dword(addr('saved', 4)));
    asm.jcc('ne', '.clobbered');
    asm.mov(dword(edi, 4), eax);
    asm.mov(dword(edi, 8), edx);
    asm.movsd(qword(edi, 16), xmm[0] as (typeof xmm)[number]);
    asm.label('.stored');
    asm.add(esi, RECORD);
    asm.add(edi, RESULT);
    asm.jmp('.next');
    asm.label('.clobbered');
    asm.mov(esi, dword(addr('saved', 4)));
    asm.mov(edi, dword(addr('saved', 8)));
    asm.mov(dword(edi), 2);
    asm.jmp('.stored');
    asm.label('onSignal');
    asm.mov(esp, dword(addr('saved', 12)));
    asm.add(esp, 48);
    asm.mov(esi, dword(addr('saved', 4)));
    asm.mov(edi, dword(addr('saved', 8)));
    asm.mov(dword(edi), 1);
    asm.cld();
    asm.jmp('.stored');
    asm.label('.end');
    asm.mov(ecx, addr('output'));
    asm.label('.write');
    asm.mov(edx, edi);
    asm.sub(edx, ecx);
    asm.jcc('e', '.exit');
    asm.mov(eax, 4);
    asm.mov(ebx, 1);
    asm.int(0x80);
    asm.add(ecx, eax);
    asm.jmp('.write');
    asm.label('.exit');
    asm.mov(eax, 1);
    asm.xor(ebx, ebx);
    asm.int(0x80);
  };
}

export interface Native { run(calls: readonly Call[]): Result[]; readonly elf: Uint8Array; close(): void }
/** Compiles the module for the host. Static data lies at 64 KiB and up, 192 KiB of it. */
export function native(wasm: Uint8Array): Native {
  const compiled = compileModule(wasm, { kernel: false });
  const names = [...compiled.exports.keys()];
  const linked = link({ compiled, stubs: [assemble('driver', driver(names))], library: LIBRARY, textBase: 0x08048000, memoryBase: 0x10000, heapBase: 0x10000, heapBytes: 0x30000, entry: '_start' });
  const elf = writeElf(linked, 0, linked.entry);
  const dir = mkdtempSync(path.join(tmpdir(), 'kintsugi-native-'));
  const file = path.join(dir, 'guest');
  writeFileSync(file, elf);
  chmodSync(file, 0o755);
  const signatureOf = (n: string): { params: readonly Type[]; results: readonly Type[] } => {
    const e = compiled.module.exports.get(n);
    const f = e === undefined ? undefined : compiled.module.functions[e.index];
    if (f === undefined) throw new Error(`no function ${n}`);
    return f.signature;
  };
  return {
    elf,
    close: () => rmSync(dir, { recursive: true, force: true }),
    run(all) {
      const run = (calls: readonly Call[]): Result[] => {
      const input = new DataView(new ArrayBuffer(calls.length * RECORD));
      calls.forEach((c, i) => {
        const at = i * RECORD;
        input.setUint32(at, names.indexOf(c.name), true);
        const { params } = signatureOf(c.name);
        const { places } = assign(params);
        let k = 0;
        params.forEach((t, n) => {
          const v = c.args[n] as number | bigint;
          const put = (o: number, word: number): void => input.setInt32(at + o, word, true);
          const word = (w: number): void => {
            const p = places[k++] as number;
            put(p === 0 ? 4 : p === 2 ? 8 : p === 1 ? 12 : 16 + (-1 - p), w);
          };
          if (t === 'i32') word(Number(v) | 0);
          else if (t === 'i64') {
            word(Number(BigInt.asIntN(32, v as bigint)));
            word(Number(BigInt.asIntN(32, (v as bigint) >> 32n)));
          } else {
            const p = places[k++] as number;
            const o = p >= 8 ? 64 + (p - 8) * 8 : 16 + (-1 - p);
            if (t === 'f64') input.setFloat64(at + o, v as number, true);
            else input.setFloat32(at + o, v as number, true);
          }
        });
      });
      const r = spawnSync(file, { input: new Uint8Array(input.buffer), maxBuffer: 1 << 28 });
      if (r.status !== 0 || r.stdout.length !== calls.length * RESULT) throw new Error(`native run failed: status ${r.status} signal ${r.signal} output ${r.stdout?.length}`);
      const out = new DataView(r.stdout.buffer, r.stdout.byteOffset, r.stdout.length);
      return calls.map((c, i): Result => {
        const at = i * RESULT;
        const status = out.getUint32(at, true);
        if (status === 2) throw new Error(`${c.name} clobbers a callee-saved register`);
        if (status === 1) return 'trap';
        const t = signatureOf(c.name).results[0];
        if (t === undefined) return undefined;
        if (t === 'i32') return out.getInt32(at + 4, true);
        if (t === 'i64') return out.getBigInt64(at + 4, true);
        return t === 'f64' ? out.getFloat64(at + 16, true) : out.getFloat32(at + 16, true);
      });
      };
      const results: Result[] = [];
      for (let i = 0; i < all.length; i += BUFFER / RECORD) results.push(...run(all.slice(i, i + BUFFER / RECORD)));
      return results;
    },
  };
}

/** The same calls in Node. Memory persists between calls, as it does natively. */
export function inNode(wasm: Uint8Array, calls: readonly Call[]): Result[] {
  const instance = new WebAssembly.Instance(new WebAssembly.Module(wasm as Uint8Array<ArrayBuffer>), {});
  return calls.map((c): Result => {
    try {
      return (instance.exports[c.name] as (...a: readonly (number | bigint)[]) => number | bigint | undefined)(...c.args);
    } catch (e) {
      if (e instanceof WebAssembly.RuntimeError || e instanceof RangeError) return 'trap';
      throw e;
    }
  });
}
/** Calls whose results differ, as text; NaNs are equal to each other. */
export function differences(wasm: Uint8Array, calls: readonly Call[]): string[] {
  const n = native(wasm);
  try {
    const a = inNode(wasm, calls), b = n.run(calls);
    return calls.flatMap((c, i) => (Object.is(a[i], b[i]) ? [] : [`${c.name}(${c.args.join(', ')}): wasm ${String(a[i])}, native ${String(b[i])}`]));
  } finally {
    n.close();
  }
}
