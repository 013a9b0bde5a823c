/** What must agree between the real CPU and the engine, and how a disagreement is told. */
import { Decoder, DecoderOptions, Formatter, FormatterSyntax } from 'iced-x86';
import { COMPARED_FLAGS, FLAG, REGISTER_NAMES } from './environment.ts';
import { FPU_COMPARED } from './capture/native.ts';
import type { Vector } from './format.ts';
import type { Outcome } from './machine.ts';

const hex = (v: number): string => (v >>> 0).toString(16).padStart(8, '0');
const FLAG_NAMES: readonly [string, number][] = [['CF', FLAG.CF], ['PF', FLAG.PF], ['AF', FLAG.AF], ['ZF', FLAG.ZF], ['SF', FLAG.SF], ['DF', FLAG.DF], ['OF', FLAG.OF], ['AC', FLAG.AC], ['ID', FLAG.ID]];
const flagText = (v: number, mask = -1): string => FLAG_NAMES.filter(([, b]) => v & mask & b).map(([n]) => n).join(' ') || '-';

/** Differences, one line each; empty when the vector passes. */
export function differences(v: Vector, got: Outcome & { memoryProblem: string | null }): string[] {
  const e = v.expected, out: string[] = [];
  if (got.stuck) return [`did not end: ${got.stuck}`];
  if (got.trap !== e.trap) out.push(`exception: expected ${e.trap}, got ${got.trap}`);
  if (got.error !== e.error) out.push(`error code: expected ${e.error.toString(16)}, got ${got.error.toString(16)}`);
  if (got.trap === e.trap && got.cr2 !== e.cr2 && !v.undefinedMemory) out.push(`CR2: expected ${hex(e.cr2)}, got ${hex(got.cr2)}`);
  if (got.eip !== e.eip) out.push(`EIP: expected ${hex(e.eip)}, got ${hex(got.eip)} (snippet at ${hex(v.codeAddr)})`);
  for (let r = 0; r < 8; r++) if (!(v.undefinedRegs >> r & 1) && got.regs[r] !== e.regs[r]) out.push(`${REGISTER_NAMES[r]}: expected ${hex(e.regs[r]!)}, got ${hex(got.regs[r]!)}`);
  const wrong = (got.eflags ^ e.eflags) & COMPARED_FLAGS & ~v.undefinedFlags;
  if (wrong) out.push(`flags ${flagText(wrong)}: expected ${flagText(e.eflags, wrong)}, got ${flagText(got.eflags, wrong)}`);
  if (got.memoryProblem) out.push(got.memoryProblem);
  if (v.xmm && got.xmm && e.xmm) {
    if (got.mxcsr !== e.mxcsr) out.push(`mxcsr: expected ${e.mxcsr.toString(16)}, got ${got.mxcsr.toString(16)}`);
    for (let x = 0; x < 8; x++) {
      const a = Buffer.from(e.xmm.subarray(x * 16, x * 16 + 16)).reverse().toString('hex'), b = Buffer.from(got.xmm.subarray(x * 16, x * 16 + 16)).reverse().toString('hex');
      if (a !== b) out.push(`xmm${x}: expected ${a}, got ${b}`);
    }
  }
  if (v.fpu && got.fpu && e.fpu) {
    const [want, have] = [e.fpu, tolerant(v, got.fpu)].map(image => fpuText(image.map((b, i) => FPU_COMPARED[i] ? b : 0)));
    for (const [name, value] of want!) if (have!.get(name) !== value) out.push(`${name}: expected ${value}, got ${have!.get(name)}`);
  }
  return out;
}
/** Instructions that are right within one unit in the last place; the precision flag and the direction of rounding are then open as well. */
const TRANSCENDENTAL = /^(f2xm1|fyl2x|fyl2xp1|fpatan|fptan|fsin|fcos|fsincos)$/;
/** The image, with such results replaced by what is expected where they are near enough. */
function tolerant(v: Vector, got: Uint8Array): Uint8Array {
  if (!TRANSCENDENTAL.test(v.form)) return got;
  const want = v.expected.fpu!, image = got.slice();
  const place = (bytes: Uint8Array): bigint => { const b = Buffer.from(bytes); return (BigInt(b.readUInt16LE(8)) << 63n) + (b.readBigUInt64LE() & 0x7fffffffffffffffn); };
  for (const at of [28, 38]) {
    const distance = place(image.subarray(at, at + 10)) - place(want.subarray(at, at + 10));
    if (distance >= -1n && distance <= 1n) image.set(want.subarray(at, at + 10), at);
  }
  const open = 0x0220;
  for (const [i, mask] of [[4, open & 255], [5, open >> 8]] as const) image[i] = (image[i]! & ~mask) | (want[i]! & mask);
  return image;
}
/** Whether a result that may be off by one unit is exactly the processor's. */
export const isExactly = (v: Vector, got: Outcome): boolean => Buffer.compare(Buffer.from(v.expected.fpu!.subarray(28, 48)), Buffer.from(got.fpu!.subarray(28, 48))) === 0;

/** Words and registers of a 108-byte image. */
function fpuText(image: Uint8Array): Map<string, string> {
  const view = new DataView(image.buffer, image.byteOffset), text = new Map<string, string>();
  for (const [name, at] of [['fcw', 0], ['fsw', 4], ['ftw', 8]] as const) text.set(name, view.getUint16(at, true).toString(16).padStart(4, '0'));
  for (let i = 0; i < 8; i++) text.set(`st${i}`, extendedText(image.subarray(28 + i * 10, 38 + i * 10)));
  return text;
}
const extendedText = (bytes: Uint8Array): string => { const t = Buffer.from(bytes).reverse().toString('hex'); return `${t.slice(0, 4)} ${t.slice(4)}`; };

export function disassemble(v: Vector): string {
  const decoder = new Decoder(32, v.code, DecoderOptions.None), formatter = new Formatter(FormatterSyntax.Nasm), lines: string[] = [];
  decoder.ip = BigInt(v.codeAddr);
  while (decoder.canDecode) { const i = decoder.decode(); lines.push(formatter.format(i)); i.free(); }
  formatter.free(); decoder.free();
  return lines.join('; ');
}

/** The whole story of one failing vector, ending in the command that reproduces it. */
export function describeFailure(group: string, v: Vector, problems: readonly string[], options: string): string {
  const inputs = [...v.regs].map((r, i) => `${REGISTER_NAMES[i]}=${hex(r)}`).join(' ');
  return [
    `${v.form}   [${Buffer.from(v.code).toString('hex')}]  ${disassemble(v)}`,
    `    in   ${inputs} flags ${flagText(v.eflags)}${v.xmm ? ` mxcsr=${v.mxcsr.toString(16)}` : ''}`,
    ...v.patches.slice(0, 3).map(p => `         [${hex(p.addr)}] = ${Buffer.from(p.bytes.slice(0, 16)).toString('hex')}${p.bytes.length > 16 ? '...' : ''}`),
    ...(v.xmm ? [`         xmm ${Array.from({ length: 8 }, (_, x) => Buffer.from(v.xmm!.subarray(x * 16, x * 16 + 16)).reverse().toString('hex')).join(' ')}`] : []),
    ...(v.fpu ? [`         ${[...fpuText(v.fpu)].map(([name, value]) => `${name}=${value}`).join(' ')}`] : []),
    ...problems.map(p => `    ${p}`),
    `    node test/vectors/run.ts ${options}${group}:${v.index}`,
  ].join('\n');
}
