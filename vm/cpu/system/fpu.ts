/**
 * x87 control instructions and the images of the floating-point state: environments (FNSTENV, FLDENV), FNSAVE, FRSTOR, FXSAVE, FXRSTOR.
 * Everything that computes is in vm/cpu/lower/fpu.ts and vm/cpu/float. SDM vol. 1, 8.1.10 and table 10-2.
 *
 * The state block keeps one bit per physical register for "holds a value", and TOP apart from the status word; the two-bit tags are
 * made from the contents, as processors do.
 */
import type { Insn } from '../isa/decode.ts';
import { GuestFault } from '../mmu.ts';
import { CR0, CR4, S, VEC } from '../state.ts';
import type { Cpu } from './cpu.ts';

export const MXCSR_MASK = 0xffff;

export function requireFpu(cpu: Cpu): void {
  if (cpu.get(S.cr0) & (CR0.EM | CR0.TS)) throw new GuestFault(VEC.NM);
}
export function requireSse(cpu: Cpu): void {
  if (cpu.get(S.cr0) & CR0.EM || !(cpu.get(S.cr4) & CR4.OSFXSR)) throw new GuestFault(VEC.UD);
  if (cpu.get(S.cr0) & CR0.TS) throw new GuestFault(VEC.NM);
}
export function fpuInit(cpu: Cpu): void {
  cpu.set(S.fpuControl, 0x37f); cpu.set(S.fpuStatus, 0); cpu.set(S.fpuTag, 0); cpu.set(S.fpuTop, 0); cpu.set(S.fpuOpcode, 0);
  for (const field of [S.fpuIp, S.fpuCs, S.fpuDp, S.fpuDs]) cpu.set(field, 0);
}
/** The status word as programs see it. */
export const statusWord = (cpu: Cpu): number => cpu.get(S.fpuStatus) & 0xc7ff | cpu.get(S.fpuTop) << 11;
/** Loads control and status word; the summary bit follows from both. */
function setWords(cpu: Cpu, control: number, status: number): void {
  const word = control & 0x1f3f | 0x40, pending = status & 0x3f & ~word;
  cpu.set(S.fpuControl, word);
  cpu.set(S.fpuStatus, status & 0x477f | (pending ? 0x8080 : 0));
  cpu.set(S.fpuTop, status >>> 11 & 7);
}
/** Two bits for each physical register: 0 valid, 1 zero, 2 special, 3 empty. */
export function tagWord(cpu: Pick<Cpu, 'get'>): number {
  let tags = 0;
  for (let i = 0; i < 8; i++) {
    const at = S.fpr + i * 16, low = cpu.get(at), high = cpu.get(at + 4), exponent = cpu.get(at + 8) & 0x7fff;
    const tag = !(cpu.get(S.fpuTag) >> i & 1) ? 3 : exponent === 0 && low === 0 && high === 0 ? 1 : exponent === 0x7fff || high >= 0 ? 2 : exponent === 0 ? 2 : 0;
    tags |= tag << i * 2;
  }
  return tags;
}
export const fullBits = (tags: number): number => { let bits = 0; for (let i = 0; i < 8; i++) if ((tags >> i * 2 & 3) !== 3) bits |= 1 << i; return bits; };

/** The environment in the format of operand size and mode, as words of 2 or 4 bytes. */
function environment(cpu: Cpu, insn: Insn): number[] {
  const wide = insn.operandSize === 32, protectedFormat = cpu.protectedMode && !cpu.v86;
  const [ip, cs, dp, ds, opcode] = [S.fpuIp, S.fpuCs, S.fpuDp, S.fpuDs, S.fpuOpcode].map(field => cpu.get(field));
  const head = [cpu.get(S.fpuControl), statusWord(cpu), tagWord(cpu)];
  if (protectedFormat) return wide ? [...head.map(x => x | 0xffff0000), ip, opcode << 16 | cs & 0xffff, dp, ds & 0xffff | 0xffff0000] : [...head, ip, cs, dp, ds];
  // Real mode: linear addresses.
  const code = (cs << 4) + ip | 0, data = (ds << 4) + dp | 0;
  if (!wide) return [...head, code, code >>> 4 & 0xf000 | opcode, data, data >>> 4 & 0xf000];
  return [...head.map(x => x | 0xffff0000), code & 0xffff | 0xffff0000, code >>> 4 & 0x0ffff000 | opcode, data & 0xffff | 0xffff0000, data >>> 4 & 0x0ffff000];
}
function loadEnvironment(cpu: Cpu, insn: Insn, word: (i: number) => number): void {
  const wide = insn.operandSize === 32, protectedFormat = cpu.protectedMode && !cpu.v86;
  const words = Array.from({ length: 7 }, (_, i) => word(i));
  setWords(cpu, words[0], words[1]);
  cpu.set(S.fpuTag, fullBits(words[2]));
  if (protectedFormat) {
    cpu.set(S.fpuIp, words[3]); cpu.set(S.fpuCs, words[4] & 0xffff); cpu.set(S.fpuDp, words[5]); cpu.set(S.fpuDs, words[6] & 0xffff);
    if (wide) cpu.set(S.fpuOpcode, words[4] >>> 16 & 0x7ff);
  } else {
    cpu.set(S.fpuIp, words[3] & 0xffff | (words[4] & 0xfffff000) << 4); cpu.set(S.fpuCs, 0); cpu.set(S.fpuOpcode, words[4] & 0x7ff);
    cpu.set(S.fpuDp, words[5] & 0xffff | (words[6] & 0xfffff000) << 4); cpu.set(S.fpuDs, 0);
  }
}
/** Waiting control instructions report what is pending. */
function requireNonePending(cpu: Cpu): void { if (cpu.get(S.fpuStatus) & 0x80) throw new GuestFault(VEC.MF); }

export function fnstenv(cpu: Cpu, insn: Insn): void {
  requireFpu(cpu);
  const step = insn.operandSize >> 3, at = cpu.operandAddress(insn, insn.ops[0], step * 7, true);
  cpu.mmu.checkWrite(at, step * 7, cpu.user);
  environment(cpu, insn).forEach((value, i) => cpu.mmu.write(at + i * step | 0, step, value, cpu.user));
  setWords(cpu, cpu.get(S.fpuControl) | 0x3f, statusWord(cpu));
}
export function fldenv(cpu: Cpu, insn: Insn): void {
  requireFpu(cpu);
  requireNonePending(cpu);
  const step = insn.operandSize >> 3, at = cpu.operandAddress(insn, insn.ops[0], step * 7, false);
  loadEnvironment(cpu, insn, i => cpu.mmu.read(at + i * step | 0, step, cpu.user));
}
export function fnsave(cpu: Cpu, insn: Insn): void {
  requireFpu(cpu);
  const step = insn.operandSize >> 3, bytes = step * 7 + 80, at = cpu.operandAddress(insn, insn.ops[0], bytes, true);
  cpu.mmu.checkWrite(at, bytes, cpu.user);
  environment(cpu, insn).forEach((value, i) => cpu.mmu.write(at + i * step | 0, step, value, cpu.user));
  for (let i = 0; i < 8; i++) {
    const from = S.fpr + (cpu.get(S.fpuTop) + i & 7) * 16, to = at + step * 7 + i * 10 | 0;
    // The image asks for the alignment of its words (SDM vol. 3 table 6-7): 16-bit pieces are aligned whenever it is.
    for (let n = 0; n < 10; n += 2) cpu.mmu.write(to + n | 0, 2, cpu.halves[from + n >> 1], cpu.user);
  }
  fpuInit(cpu);
}
export function frstor(cpu: Cpu, insn: Insn): void {
  requireFpu(cpu);
  requireNonePending(cpu);
  const step = insn.operandSize >> 3, at = cpu.operandAddress(insn, insn.ops[0], step * 7 + 80, false);
  const registers = Array.from({ length: 8 }, (_, i) => {
    const from = at + step * 7 + i * 10 | 0;
    const [a, b, c, d, e] = [0, 2, 4, 6, 8].map(n => cpu.mmu.read(from + n | 0, 2, cpu.user));
    return [a | b << 16, c | d << 16, e];
  });
  loadEnvironment(cpu, insn, i => cpu.mmu.read(at + i * step | 0, step, cpu.user));
  registers.forEach((words, i) => words.forEach((word, n) => cpu.set(S.fpr + (cpu.get(S.fpuTop) + i & 7) * 16 + n * 4, word)));
}
export function fninit(cpu: Cpu): void { requireFpu(cpu); fpuInit(cpu); }
export function fnclex(cpu: Cpu): void { requireFpu(cpu); cpu.set(S.fpuStatus, cpu.get(S.fpuStatus) & 0x4700); }
/** FENI, FDISI, FSETPM of older coprocessors. */
export function fpuIgnored(cpu: Cpu): void { requireFpu(cpu); }

export function fxsave(cpu: Cpu, insn: Insn): void {
  requireFpu(cpu);
  const at = cpu.operandAddress(insn, insn.ops[0], 512, true);
  if (at & 15) throw new GuestFault(VEC.GP, 0);
  cpu.mmu.checkWrite(at, 512, cpu.user);
  const put = (offset: number, value: number, bytes = 4): void => cpu.mmu.write(at + offset | 0, bytes, value, cpu.user);
  put(0, cpu.get(S.fpuControl), 2); put(2, statusWord(cpu), 2); put(4, cpu.get(S.fpuTag), 2); put(6, cpu.get(S.fpuOpcode), 2);
  put(8, cpu.get(S.fpuIp)); put(12, cpu.get(S.fpuCs)); put(16, cpu.get(S.fpuDp)); put(20, cpu.get(S.fpuDs));
  put(24, cpu.get(S.mxcsr)); put(28, MXCSR_MASK);
  for (let i = 0; i < 8; i++) {
    const physical = cpu.get(S.fpuTop) + i & 7;
    for (let word = 0; word < 4; word++) put(32 + i * 16 + word * 4, word < 2 ? cpu.get(S.fpr + physical * 16 + word * 4) : word === 2 ? cpu.get(S.fpr + physical * 16 + 8) & 0xffff : 0);
  }
  if (cpu.get(S.cr4) & CR4.OSFXSR) for (let i = 0; i < 32; i++) put(160 + i * 4, cpu.get(S.xmm + i * 4));
}
export function fxrstor(cpu: Cpu, insn: Insn): void {
  requireFpu(cpu);
  const at = cpu.operandAddress(insn, insn.ops[0], 512, false);
  if (at & 15) throw new GuestFault(VEC.GP, 0);
  const image: number[] = [];
  for (let i = 0; i < 128; i++) image.push(cpu.mmu.read(at + i * 4 | 0, 4, cpu.user));
  if (image[6] & ~MXCSR_MASK) throw new GuestFault(VEC.GP, 0);
  setWords(cpu, image[0] & 0xffff, image[0] >>> 16);
  cpu.set(S.fpuOpcode, image[1] >>> 16 & 0x7ff);
  cpu.set(S.fpuIp, image[2]); cpu.set(S.fpuCs, image[3] & 0xffff); cpu.set(S.fpuDp, image[4]); cpu.set(S.fpuDs, image[5] & 0xffff);
  cpu.set(S.mxcsr, image[6]);
  cpu.set(S.fpuTag, image[1] & 0xff);
  for (let i = 0; i < 8; i++) {
    const to = S.fpr + (cpu.get(S.fpuTop) + i & 7) * 16, from = 8 + i * 4;
    cpu.set(to, image[from]); cpu.set(to + 4, image[from + 1]); cpu.set(to + 8, image[from + 2] & 0xffff);
  }
  if (cpu.get(S.cr4) & CR4.OSFXSR) for (let i = 0; i < 32; i++) cpu.set(S.xmm + i * 4, image[40 + i]);
}

/** MASKMOVQ and MASKMOVDQU: the bytes whose mask byte has bit 7 set, to DS:EDI. What is not written may lie anywhere. */
export function maskedMove(cpu: Cpu, insn: Insn): void {
  const wide = insn.entry.name === 'maskmovdqu', bytes = wide ? 16 : 8;
  if (wide) requireSse(cpu);
  else {
    if (cpu.get(S.cr0) & CR0.EM) throw new GuestFault(VEC.UD);
    requireFpu(cpu);
    requireNonePending(cpu);
  }
  const place = (i: number): number => { const op = insn.ops[i]; if (op.c !== 'V' && op.c !== 'P') throw new Error('not a vector register'); return op.c === 'V' ? S.xmm + op.reg * 16 : S.fpr + op.reg * 16; };
  const [source, mask] = [place(0), place(1)], edi = cpu.reg(7);
  const to = (i: number): number => cpu.linear(insn.seg, insn.addr16 ? edi + i & 0xffff : edi + i | 0, 1, true);
  const chosen = Array.from({ length: bytes }, (_, i) => i).filter(i => cpu.bytes[mask + i] & 0x80);
  for (const i of chosen) cpu.mmu.checkWrite(to(i), 1, cpu.user);
  for (const i of chosen) cpu.mmu.write(to(i), 1, cpu.bytes[source + i], cpu.user);
  if (!wide) { cpu.set(S.fpuTop, 0); cpu.set(S.fpuTag, 0xff); }
}
