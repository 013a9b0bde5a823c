/**
 * Calls functions of a wasm module compiled by tools/build, as one static Linux executable that runs natively or on the CPU engine.
 * Values travel as bits, so that NaNs keep theirs. Wasm memory begins at linear address 0 and ends exactly where it should: an access
 * beyond is a page fault. memory.grow is a system call of the driver, not that of the guest runtime (tools/build/runtime/start.asm.ts).
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, rmSync, writeFileSync } from 'node:fs';
import { assemble, type Assembler } from '../../tools/build/asm/assembler.ts';
import type { Compiled } from '../../tools/build/compile.ts';
import { writeElf } from '../../tools/build/elf.ts';
import { link } from '../../tools/build/link.ts';
import { LIBRARY } from '../../tools/build/runtime/library.ts';
import { assign } from '../../tools/build/select/calls.ts';
import { addr, dword, eax, ebp, ebx, ecx, edi, edx, esi, esp } from '../../tools/build/x86/operands.ts';
import type { Signature } from '../../tools/build/wasm/decode.ts';
import { driver, RECORD, RESULT } from '../build/native.ts';
import { runLinux } from './linux.ts';

export const WASM_PAGE = 65536;
/** A call of symbol `symbol` with argument bits. */
export interface BitCall { readonly symbol: string; readonly signature: Signature; readonly args: readonly bigint[] }
/** Bits of the result; undefined: no result; 'trap'; 'lost': the executable ended before. */
export type BitResult = bigint | undefined | 'trap' | 'lost' | 'clobbered';
export type Engine = 'native' | 'off' | 'on';
export class TooManyArguments extends Error {}

/** memory.size and memory.grow, and imports that return nothing. */
function runtime(pages: number, limit: number, silent: readonly string[]): (asm: Assembler) => void {
  return (asm) => {
    asm.section('data');
    asm.label('pages');
    asm.dword(pages);
    asm.section('text');
    for (const s of silent) asm.label(s);
    asm.ret();
    asm.label('__nothing');
    asm.ret();
    asm.label('__memory_size');
    asm.mov(eax, dword(addr('pages')));
    asm.ret();
    asm.label('__memory_grow');
    asm.mov(edx, dword(addr('pages')));
    asm.test(eax, eax);
    asm.jcc('e', '.same');
    asm.cmp(eax, limit);
    asm.jcc('a', '.full');
    asm.mov(ecx, eax);
    asm.add(ecx, edx);
    asm.cmp(ecx, limit);
    asm.jcc('a', '.full');
    for (const r of [ebx, esi, edi, ebp]) asm.push(r);
    asm.push(ecx);
    asm.push(edx);
    asm.mov(ebx, edx); // mmap2(old end, bytes, read | write, private | fixed | anonymous, -1, 0)
    asm.shl(ebx, 16);
    asm.mov(ecx, eax);
    asm.shl(ecx, 16);
    asm.mov(edx, 3);
    asm.mov(esi, 0x32);
    asm.mov(edi, -1);
    asm.xor(ebp, ebp);
    asm.mov(eax, 192);
    asm.int(0x80);
    asm.pop(edx);
    asm.pop(ecx);
    asm.cmp(eax, 0xfffff000 | 0);
    for (const r of [ebp, edi, esi, ebx]) asm.pop(r);
    asm.jcc('a', '.full');
    asm.mov(dword(addr('pages')), ecx);
    asm.label('.same');
    asm.mov(eax, edx);
    asm.ret();
    asm.label('.full');
    asm.mov(eax, -1);
    asm.ret();
    void esp;
  };
}

export interface Executable { readonly elf: Uint8Array; readonly symbols: readonly string[] }
export function build(compiled: Compiled, symbols: readonly string[], memory: { pages: number; limit: number }, silent: readonly string[]): Executable {
  const all = [...new Set(symbols)];
  const linked = link({
    compiled, stubs: [assemble('driver', driver(all)), assemble('runtime', runtime(memory.pages, memory.limit, silent))], library: LIBRARY,
    textBase: 0x70000000, memoryBase: 0, heapBase: 0, heapBytes: memory.pages * WASM_PAGE, entry: '_start',
  });
  return { elf: writeElf(linked, 0, linked.entry), symbols: all };
}

function records(e: Executable, calls: readonly BitCall[]): Uint8Array {
  const input = new DataView(new ArrayBuffer(calls.length * RECORD));
  calls.forEach((c, i) => {
    const at = i * RECORD, { places, stack } = assign(c.signature.params);
    if (stack > 48) throw new TooManyArguments(`${stack} bytes of arguments on the stack`);
    input.setUint32(at, e.symbols.indexOf(c.symbol), true);
    let k = 0;
    c.signature.params.forEach((t, n) => {
      const v = c.args[n]!;
      const put = (bits: bigint, bytes: number): void => {
        const p = places[k++]!, to = p === 0 ? 4 : p === 2 ? 8 : p === 1 ? 12 : p >= 8 ? 64 + (p - 8) * 8 : 16 + (-1 - p);
        if (bytes === 8) input.setBigUint64(at + to, BigInt.asUintN(64, bits), true); else input.setUint32(at + to, Number(BigInt.asUintN(32, bits)), true);
      };
      if (t === 'i64') { put(v, 4); put(v >> 32n, 4); } else put(v, t === 'f64' ? 8 : 4);
    });
  });
  return new Uint8Array(input.buffer);
}

/** Why executables with memory at address 0 cannot run natively here, or null. */
export function nativeProblem(file: string, e: Executable): string | null {
  writeFileSync(file, e.elf);
  chmodSync(file, 0o755);
  const r = spawnSync(file, { input: new Uint8Array(0), timeout: 10_000 });
  rmSync(file);
  return r.status === 0 ? null : 'this host does not run i386 executables with memory at address 0 (it takes Linux on x86 and root, or vm.mmap_min_addr = 0)';
}

export function execute(e: Executable, calls: readonly BitCall[], engine: Engine, file: string): { results: BitResult[]; problem: string } {
  const input = records(e, calls);
  let output: Uint8Array, problem = '';
  if (engine === 'native') {
    writeFileSync(file, e.elf);
    chmodSync(file, 0o755);
    const r = spawnSync(file, { input, maxBuffer: 1 << 28, timeout: 20_000 });
    rmSync(file);
    output = r.stdout ?? new Uint8Array(0);
    if (r.status !== 0) problem = `native run ended with status ${r.status} ${r.signal ?? ''}`;
  } else {
    const r = runLinux(e.elf, { jit: engine, input, budget: 400_000_000, memoryMiB: 128, ...(engine === 'on' ? { jitHeat: 1 } : {}) });
    output = r.output;
    problem = r.problem;
  }
  const out = new DataView(output.buffer, output.byteOffset, output.length);
  return {
    problem,
    results: calls.map((c, i): BitResult => {
      const at = i * RESULT;
      if (at + RESULT > output.length) return 'lost';
      const status = out.getUint32(at, true);
      if (status !== 0) return status === 1 ? 'trap' : 'clobbered';
      const t = c.signature.results[0];
      if (t === undefined) return undefined;
      return t === 'i32' ? BigInt(out.getUint32(at + 4, true)) : t === 'i64' ? out.getBigUint64(at + 4, true) : t === 'f64' ? out.getBigUint64(at + 16, true) : BigInt(out.getUint32(at + 16, true));
    }),
  };
}
