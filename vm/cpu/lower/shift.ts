/**
 * Shifts and rotates. The count is taken modulo 32; a zero count changes neither destination nor flags. OF after multi-bit
 * shifts is undefined in the manual; we apply the one-bit rule to the last step, as processors do.
 */
import * as w from '../wasm.ts';
import type { N } from '../wasm.ts';
import type { Cx, Semantics } from './context.ts';

const k = w.k;
const bit = (x: N, position: number): N => w.and(w.shr(x, k(position)), k(1));

/** Emits `body` when the count is not zero: the only case that touches flags. */
function whenCounted(c: Cx, count: N, body: () => void): void {
  if (!c.needFlags) { c.pending = null; return; }
  if (w.isConst(count)) { if (count.n !== 0) body(); return; }
  c.settleFlags();
  c.fn.if(count, body);
  c.pending = null;
}
const countOf = (c: Cx, i: number): N => c.let(w.and(c.rd(i), k(31)));

const shl: Semantics = c => {
  const size = c.size, count = countOf(c, 1), a = c.rmw(0);
  const res = c.let(w.shl(a, count));
  c.wr(0, res);
  whenCounted(c, count, () => {
    const cf = size === 32 ? w.and(w.shr(a, w.sub(k(32), count)), k(1)) : bit(res, size);
    c.flagsFrom(size, res, cf, w.xor(bit(res, size - 1), cf));
  });
};
const shr: Semantics = c => {
  const size = c.size, count = countOf(c, 1), a = c.rmw(0);
  const res = c.let(w.shr(a, count));
  c.wr(0, res);
  whenCounted(c, count, () => {
    const previous = w.shr(a, w.sub(count, k(1)));
    c.flagsFrom(size, res, w.and(previous, k(1)), bit(previous, size - 1));
  });
};
const sar: Semantics = c => {
  const size = c.size, count = countOf(c, 1), a = c.rmw(0);
  const wide = c.let(c.signed(a, size));
  const res = c.let(w.sar(wide, count));
  c.wr(0, res);
  whenCounted(c, count, () => c.flagsFrom(size, res, w.and(w.sar(wide, w.sub(count, k(1))), k(1)), k(0)));
};
const rotate = (left: boolean): Semantics => c => {
  const size = c.size, count = countOf(c, 1), a = c.rmw(0);
  let res: N;
  if (size === 32) res = c.let(left ? w.rotl(a, count) : w.rotr(a, count));
  else {
    const n = c.let(w.and(count, k(size - 1))), rest = w.sub(k(size), n);
    res = c.let(c.unsigned(left ? w.or(w.shl(a, n), w.shr(a, rest)) : w.or(w.shr(a, n), w.shl(a, rest)), size));
  }
  c.wr(0, res);
  whenCounted(c, count, () => {
    const top = (): N => bit(res, size - 1);
    if (left) c.setCarryOverflow(w.and(res, k(1)), w.xor(top(), w.and(res, k(1))));
    else c.setCarryOverflow(top(), w.xor(top(), bit(res, size - 2)));
  });
};
/** Rotate through carry: a (size+1)-bit rotation, in 64-bit arithmetic. */
const rotateCarry = (left: boolean): Semantics => c => {
  const size = c.size, width = size + 1, count = countOf(c, 1), a = c.rmw(0);
  const n = c.let(size === 32 ? count : w.op2(0x70, w.I, count, k(width)));
  const wide = (x: N): N => w.op1(0xad, w.L, x);
  const v = c.let(w.op2(0x84, w.L, wide(a), w.op2(0x86, w.L, wide(c.carry()), w.k64(BigInt(size)))));
  const shl64 = (count64: N): N => w.op2(0x86, w.L, v, wide(count64)), shr64 = (count64: N): N => w.op2(0x88, w.L, v, wide(count64));
  const rest = w.sub(k(width), n);
  const turned = c.let(left ? w.op2(0x84, w.L, shl64(n), shr64(rest)) : w.op2(0x84, w.L, shr64(n), shl64(rest)));
  const res = c.let(c.unsigned(w.op1(0xa7, w.I, turned), size));
  c.wr(0, res);
  whenCounted(c, count, () => {
    const cf = c.let(w.and(w.op1(0xa7, w.I, w.op2(0x88, w.L, turned, w.k64(BigInt(size)))), k(1)));
    c.setCarryOverflow(cf, left ? w.xor(bit(res, size - 1), cf) : w.xor(bit(res, size - 1), bit(res, size - 2)));
  });
};
const doubleShift = (left: boolean): Semantics => c => {
  const size = c.size, count = countOf(c, 2), b = c.let(c.rd(1)), a = c.rmw(0);
  const n = c.let(count);
  let res: N, cf: () => N;
  if (size === 32) {
    const rest = w.sub(k(32), n);
    // A shift by 32 (count 0) would be a shift by 0 in wasm: the select keeps the destination.
    res = c.let(w.select(left ? w.or(w.shl(a, n), w.shr(b, rest)) : w.or(w.shr(a, n), w.shl(b, rest)), a, n));
    cf = () => w.and(left ? w.shr(a, rest) : w.shr(a, w.sub(n, k(1))), k(1));
  } else if (left) {
    // 16 bits: a:b:a in 48 bits, as processors treat counts above 16.
    const wide = c.let(w.op2(0x84, w.L, w.op2(0x86, w.L, w.op1(0xad, w.L, w.or(w.shl(a, k(16)), b)), w.k64(16n)), w.op1(0xad, w.L, a)));
    const at = (shift: N): N => w.op1(0xa7, w.I, w.op2(0x88, w.L, wide, w.op1(0xad, w.L, shift)));
    res = c.let(c.unsigned(at(w.sub(k(32), n)), 16));
    cf = () => w.and(at(w.sub(k(48), n)), k(1));
  } else {
    // a in the low word, b above it, a above that.
    const three = c.let(w.op2(0x84, w.L, w.op1(0xad, w.L, w.or(a, w.shl(b, k(16)))), w.op2(0x86, w.L, w.op1(0xad, w.L, a), w.k64(32n))));
    const at = (shift: N): N => w.op1(0xa7, w.I, w.op2(0x88, w.L, three, w.op1(0xad, w.L, shift)));
    res = c.let(c.unsigned(at(n), 16));
    cf = () => w.and(at(w.sub(n, k(1))), k(1));
  }
  c.wr(0, res);
  whenCounted(c, count, () => c.flagsFrom(size, res, cf(), w.xor(bit(res, size - 1), bit(a, size - 1))));
};

export const SHIFT: Record<string, Semantics> = {
  shl, shr, sar, rol: rotate(true), ror: rotate(false), rcl: rotateCarry(true), rcr: rotateCarry(false),
  shld: doubleShift(true), shrd: doubleShift(false),
};
