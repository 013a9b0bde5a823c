/** Builds harness.c and runs scenes through it; the wire format is described at its `struct input` and `struct output`. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CODE, CODE_BYTES, DATA, DATA_BYTES, LOW, LOW_BYTES, READ_ONLY, READ_ONLY_BYTES } from '../environment.ts';
import type { Patch } from './scene.ts';

/** What the harness needs to know of a case. */
export interface NativeInput {
  code: readonly number[]; codeAddr: number; regs: Uint32Array; eflags: number; mxcsr: number;
  patches: readonly Patch[]; xmm: Uint8Array | null; fpu: Uint8Array | null;
}
export interface Captured {
  regs: Uint32Array; eip: number; eflags: number;
  /** Exception vector, error code and, for vector 14, the faulting address. */
  trap: number; error: number; cr2: number;
  mxcsr: number; xmm: Uint8Array | null; fpu: Uint8Array | null;
  /** Runs of changed dwords with their new contents. */
  changes: Patch[];
}
export const FPU_BYTES = 108;

/** Bytes of the image that the kernel makes up or that processors differ in: instruction and operand addresses, upper halves of the words. */
export const FPU_COMPARED = Uint8Array.from({ length: FPU_BYTES }, (_, i) => i >= 28 || (i < 12 && i % 4 < 2) ? 1 : 0);

const pad = (n: number): number => (n + 3) & ~3;

function encode(cases: readonly NativeInput[]): Buffer {
  const sizes = cases.map(c => 60 + pad(c.code.length) + (c.xmm ? 128 : 0) + (c.fpu ? FPU_BYTES : 0) + c.patches.reduce((n, p) => n + 8 + pad(p.bytes.length), 0));
  const out = Buffer.alloc(sizes.reduce((a, b) => a + b, 0));
  let at = 0;
  const u32 = (v: number): void => { out.writeUInt32LE(v >>> 0, at); at += 4; };
  cases.forEach((c, i) => {
    const end = at + sizes[i]!;
    u32(sizes[i]!); u32((c.xmm ? 1 : 0) | (c.fpu ? 2 : 0)); u32(c.codeAddr); u32(c.code.length);
    c.regs.forEach(u32);
    u32(c.eflags); u32(c.mxcsr); u32(c.patches.length);
    out.set(c.code, at); at += pad(c.code.length);
    if (c.xmm) { out.set(c.xmm, at); at += 128; }
    if (c.fpu) { out.set(c.fpu, at); at += FPU_BYTES; }
    for (const p of c.patches) { u32(p.addr); u32(p.bytes.length); out.set(p.bytes, at); at += pad(p.bytes.length); }
    if (at !== end) throw new Error('harness record size');
  });
  return out;
}

function decode(out: Buffer, cases: readonly NativeInput[]): Captured[] {
  let at = 0;
  const u32 = (): number => { at += 4; return out.readUInt32LE(at - 4); };
  return cases.map(c => {
    const end = at + u32();
    const regs = Uint32Array.from({ length: 8 }, u32);
    const eip = u32(), eflags = u32(), trap = u32(), error = u32(), cr2 = u32(), mxcsr = u32(), count = u32();
    const take = (n: number): Uint8Array => { at += n; return Uint8Array.from(out.subarray(at - n, at)); };
    const xmm = c.xmm ? take(128) : null, fpu = c.fpu ? take(FPU_BYTES) : null;
    const changes: Patch[] = [];
    for (let n = 0; n < count; n++) { const addr = u32(), length = u32(); changes.push({ addr, bytes: [...take(length)] }); }
    if (at !== end) throw new Error('harness result size');
    if (eip >>> 16 === 0x804 || eip >>> 16 === 0x805) throw new Error(`case ${Buffer.from(c.code).toString('hex')} broke the harness itself`);
    return { regs, eip, eflags, trap, error, cr2: trap === 14 ? cr2 : 0, mxcsr, xmm, fpu, changes };
  });
}

/** Is there a compiler and a kernel that can run the harness? Says why not. */
export function nativeUnavailable(): string | null {
  if (process.platform !== 'linux' || process.arch !== 'x64') return 'the real-CPU harness needs Linux on x86-64';
  const gcc = spawnSync('gcc', ['-m32', '-nostdlib', '-static', '-x', 'c', '-', '-o', '/dev/null'], { input: 'void _start(void){for(;;);}' });
  return gcc.status === 0 ? null : 'gcc -m32 is not usable here';
}

/** x87 leaves details to the model (C1 of FCMOV and FCOMI, the step of a partial FPREM, last bits of FSIN): compare on the maker's processors only. */
export const isCaptureVendor = (): boolean => { try { return readFileSync('/proc/cpuinfo', 'latin1').includes('AuthenticAMD'); } catch { return false; } };

export class NativeHarness {
  readonly #directory = mkdtempSync(join(tmpdir(), 'kintsugi-vectors-'));
  readonly #binary = join(this.#directory, 'harness');
  constructor() {
    const defines = Object.entries({ LOW, LOW_BYTES, READ_ONLY, READ_ONLY_BYTES, DATA, DATA_BYTES, CODE, CODE_BYTES }).map(([k, v]) => `-D${k}=0x${v.toString(16)}u`);
    execFileSync('gcc', ['-m32', '-O1', '-nostdlib', '-static', '-ffreestanding', '-fno-pic', '-no-pie', '-mno-sse', '-mno-mmx', '-mno-80387', '-fno-stack-protector', '-fno-tree-loop-distribute-patterns',
      ...defines, '-o', this.#binary, join(import.meta.dirname, 'harness.c')], { stdio: 'inherit' });
  }
  run(cases: readonly NativeInput[], timeoutMs = 20_000): Captured[] {
    if (cases.length === 0) return [];
    const child = spawnSync(this.#binary, { input: encode(cases), maxBuffer: 1 << 30, timeout: timeoutMs });
    if (child.status !== 0) throw new Error(`harness ended with ${child.status ?? child.signal}: ${child.stderr.toString()}`);
    return decode(child.stdout, cases);
  }
  dispose(): void { rmSync(this.#directory, { recursive: true, force: true }); }
}

export function runNative(cases: readonly NativeInput[]): Captured[] {
  const harness = new NativeHarness();
  try {
    const results: Captured[] = [];
    for (let i = 0; i < cases.length; i += 20_000) results.push(...harness.run(cases.slice(i, i + 20_000)));
    return results;
  } finally { harness.dispose(); }
}
