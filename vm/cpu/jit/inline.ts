/**
 * System instructions that a region runs itself, in the case every kernel lives in; otherwise it leaves them to tier 0, untouched.
 *
 * They end no block here: POPF opens the interrupt window, but with nobody asking for attention there is nothing to let in, and who
 * asks later is heard at the next checkpoint. The complete forms are in vm/cpu/system; tier 0's are in tier0/system.ts.
 *
 * Measured: every instruction that a region leaves to tier 0 costs a way out and a way in again, some 30 memory operations; the entry of a
 * system call (`push 2; popf`) cut its region in two.
 */
import type { Insn } from '../isa/decode.ts';
import { ARITH_FLAGS, CR4, FLAG, S } from '../state.ts';
import * as w from '../wasm.ts';
import { I, L } from '../wasm.ts';
import type { RegionCx } from './context.ts';

const k = w.k;
const POPF_MASK = FLAG.DF | FLAG.NT | FLAG.AC | FLAG.ID | FLAG.IOPL | FLAG.IF;

export const INLINE: Readonly<Record<string, (c: RegionCx) => void>> = {
  popf: c => {
    const { fn } = c;
    c.orTier0(w.eqz(w.or(c.state(S.attention), w.or(c.state(S.cpl), c.state(S.shadow)))));
    const value = c.let(c.peek(32));
    c.orTier0(w.eqz(w.and(value, k(FLAG.TF))));
    if (c.needFlags) c.loadArithmeticFlags(value);
    const kept = w.and(w.load(c.cpu, S.eflags), k(~(POPF_MASK | FLAG.TF | FLAG.RF | FLAG.VIF | FLAG.VIP | ARITH_FLAGS)));
    fn.store(c.cpu, w.or(w.or(kept, w.and(value, k(POPF_MASK))), k(2)), S.eflags);
    c.setStackPointer(w.add(c.getReg(4, 32), k(4)));
  },
  /** Instructions retired before this one + tscOffset. */
  rdtsc: c => {
    const { cpu } = c;
    c.orTier0(w.or(w.eqz(w.load(cpu, S.cpl)), w.eqz(w.and(w.load(cpu, S.cr4), k(CR4.TSD)))));
    const left = w.op1(0xad, L, w.add(c.state(S.budget), k(c.remaining)));
    const now = c.let(w.op2(0x7c, L, w.op2(0x7d, L, w.load64(cpu, S.retiredEnd), left), w.load64(cpu, S.tscOffset)));
    c.setReg(0, 32, w.op1(0xa7, I, now));
    c.setReg(2, 32, w.op1(0xa7, I, w.op2(0x88, L, now, w.k64(32n))));
  },
};
export const inlined = (insn: Insn): boolean => insn.operandSize === 32 && insn.entry.name in INLINE;
