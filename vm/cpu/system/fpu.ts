/**
 * x87 state without arithmetic: what kernels need to initialise, save and restore it. Arithmetic instructions raise #UD and
 * are counted (docs/CAVEATS.md, cpu). FXSAVE image: SDM vol. 1 table 10-2.
 */
import type { Insn } from '../isa/decode.ts';
import { GuestFault } from '../mmu.ts';
import { CR0, CR4, S, VEC } from '../state.ts';
import type { Cpu } from './cpu.ts';

export const MXCSR_MASK = 0xffff;

export function requireFpu(cpu: Cpu): void {
  if (cpu.get(S.cr0) & (CR0.EM | CR0.TS)) throw new GuestFault(VEC.NM);
}
/** FXSAVE family: #NM on TS, #UD on EM. */
export function requireFxsr(cpu: Cpu): void {
  if (cpu.get(S.cr0) & CR0.EM) throw new GuestFault(VEC.UD);
  if (cpu.get(S.cr0) & CR0.TS) throw new GuestFault(VEC.NM);
}
export function requireSse(cpu: Cpu): void {
  if (cpu.get(S.cr0) & CR0.EM || !(cpu.get(S.cr4) & CR4.OSFXSR)) throw new GuestFault(VEC.UD);
  if (cpu.get(S.cr0) & CR0.TS) throw new GuestFault(VEC.NM);
}
export function fpuInit(cpu: Cpu): void {
  cpu.set(S.fpuControl, 0x37f); cpu.set(S.fpuStatus, 0); cpu.set(S.fpuTag, 0xffff); cpu.set(S.fpuTop, 0); cpu.set(S.fpuOpcode, 0);
  for (const field of [S.fpuIp, S.fpuCs, S.fpuDp, S.fpuDs]) cpu.set(field, 0);
}
export class Unimplemented { readonly what: string; constructor(what: string) { this.what = what; } }

/** FWAIT (SDM vol. 2, WAIT): #NM when both MP and TS are set; a pending unmasked exception (the summary bit of the status word) is reported. */
export function fwait(cpu: Cpu): void {
  if ((cpu.get(S.cr0) & (CR0.MP | CR0.TS)) === (CR0.MP | CR0.TS)) throw new GuestFault(VEC.NM);
  if (cpu.get(S.fpuStatus) & 0x80) throw new GuestFault(VEC.MF);
}

export function x87(cpu: Cpu, insn: Insn): void {
  requireFpu(cpu);
  const op = insn.opcode, modrm = insn.modrm, digit = modrm >> 3 & 7, memory = modrm < 0xc0;
  const key = memory ? `${op.toString(16)}/${digit}` : `${op.toString(16)} ${modrm.toString(16)}`;
  const address = (bytes: number, write: boolean): number => cpu.operandAddress(insn, insn.ops[0], bytes, write);
  switch (key) {
    case 'db e3': fpuInit(cpu); return;
    case 'db e2': cpu.set(S.fpuStatus, cpu.get(S.fpuStatus) & 0x7f00); return;
    case 'db e0': case 'db e1': case 'db e4': return;
    case 'd9 d0': return;
    case 'd9/5': cpu.set(S.fpuControl, cpu.mmu.read(address(2, false), 2, cpu.user) & 0x1f7f | 0x40); return;
    case 'd9/7': cpu.mmu.write(address(2, true), 2, cpu.get(S.fpuControl), cpu.user); return;
    case 'df e0': cpu.setReg(0, cpu.get(S.fpuStatus) & 0xffff | cpu.get(S.fpuTop) << 11, 16); return;
    case 'dd/7': cpu.mmu.write(address(2, true), 2, cpu.get(S.fpuStatus) & 0xffff | cpu.get(S.fpuTop) << 11, cpu.user); return;
    default: throw new Unimplemented(`x87 ${key}`);
  }
}

export function fxsave(cpu: Cpu, insn: Insn): void {
  requireFxsr(cpu);
  const at = cpu.operandAddress(insn, insn.ops[0], 512, true);
  if (at & 15) throw new GuestFault(VEC.GP, 0);
  cpu.mmu.checkWrite(at, 512, cpu.user);
  const put = (offset: number, value: number, bytes = 4): void => cpu.mmu.write(at + offset | 0, bytes, value, cpu.user);
  put(0, cpu.get(S.fpuControl), 2); put(2, cpu.get(S.fpuStatus) & 0xffff & ~0x3800 | cpu.get(S.fpuTop) << 11, 2);
  let abridged = 0;
  for (let i = 0; i < 8; i++) if ((cpu.get(S.fpuTag) >> i * 2 & 3) !== 3) abridged |= 1 << i;
  put(4, abridged, 2); put(6, cpu.get(S.fpuOpcode), 2);
  put(8, cpu.get(S.fpuIp)); put(12, cpu.get(S.fpuCs)); put(16, cpu.get(S.fpuDp)); put(20, cpu.get(S.fpuDs));
  put(24, cpu.get(S.mxcsr)); put(28, MXCSR_MASK);
  for (let i = 0; i < 8; i++) {
    const physical = cpu.get(S.fpuTop) + i & 7;
    for (let word = 0; word < 4; word++) put(32 + i * 16 + word * 4, word < 2 ? cpu.get(S.fpr + physical * 16 + word * 4) : word === 2 ? cpu.get(S.fpr + physical * 16 + 8) & 0xffff : 0);
  }
  if (cpu.get(S.cr4) & CR4.OSFXSR) for (let i = 0; i < 32; i++) put(160 + i * 4, cpu.get(S.xmm + i * 4));
}
export function fxrstor(cpu: Cpu, insn: Insn): void {
  requireFxsr(cpu);
  const at = cpu.operandAddress(insn, insn.ops[0], 512, false);
  if (at & 15) throw new GuestFault(VEC.GP, 0);
  const image: number[] = [];
  for (let i = 0; i < 128; i++) image.push(cpu.mmu.read(at + i * 4 | 0, 4, cpu.user));
  if (image[6] & ~MXCSR_MASK) throw new GuestFault(VEC.GP, 0);
  cpu.set(S.fpuControl, image[0] & 0x1f7f | 0x40);
  cpu.set(S.fpuStatus, image[0] >>> 16 & ~0x3800); cpu.set(S.fpuTop, image[0] >>> 27 & 7);
  cpu.set(S.fpuOpcode, image[1] >>> 16 & 0x7ff);
  cpu.set(S.fpuIp, image[2]); cpu.set(S.fpuCs, image[3] & 0xffff); cpu.set(S.fpuDp, image[4]); cpu.set(S.fpuDs, image[5] & 0xffff);
  cpu.set(S.mxcsr, image[6]);
  let tags = 0;
  for (let physical = 0; physical < 8; physical++) {
    const i = physical - cpu.get(S.fpuTop) & 7, from = 8 + i * 4;
    const low = image[from], high = image[from + 1], exponent = image[from + 2] & 0xffff;
    cpu.set(S.fpr + physical * 16, low); cpu.set(S.fpr + physical * 16 + 4, high); cpu.set(S.fpr + physical * 16 + 8, exponent);
    const tag = !(image[1] >> physical & 1) ? 3 : (exponent & 0x7fff) === 0 && low === 0 && high === 0 ? 1 : (exponent & 0x7fff) === 0x7fff || (exponent & 0x7fff) === 0 || high >= 0 ? 2 : 0;
    tags |= tag << physical * 2;
  }
  cpu.set(S.fpuTag, tags);
  if (cpu.get(S.cr4) & CR4.OSFXSR) for (let i = 0; i < 32; i++) cpu.set(S.xmm + i * 4, image[40 + i]);
}
