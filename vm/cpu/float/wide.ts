/** 64-bit integer trees and variables for the floating-point functions that vm/cpu/float generates. */
import * as w from '../wasm.ts';
import { I, L, type Fn, type N, type T } from '../wasm.ts';

const l2 = (op: number) => (a: N, b: N): N => w.op2(op, L, a, b);
const test = (op: number) => (a: N, b: N): N => w.op2(op, I, a, b);
/** i64 operations; comparisons give i32. Unsigned unless the name ends in s. */
export const q = {
  k: (value: bigint | number): N => w.k64(BigInt(value)),
  add: l2(0x7c), sub: l2(0x7d), mul: l2(0x7e), divu: l2(0x80), remu: l2(0x82), and: l2(0x83), or: l2(0x84), xor: l2(0x85), shl: l2(0x86), shrs: l2(0x87), shr: l2(0x88),
  eq: test(0x51), ne: test(0x52), lts: test(0x53), lt: test(0x54), gt: test(0x56), le: test(0x58), ge: test(0x5a),
  zero: (a: N): N => w.op1(0x50, I, a),
  nonzero: (a: N): N => w.op2(0x52, I, a, w.k64(0n)),
  /** Bit 63. */
  top: (a: N): N => w.op2(0x53, I, a, w.k64(0n)),
  clz: (a: N): N => w.op1(0x79, L, a),
  low: (a: N): N => w.op1(0xa7, I, a),
  from: (a: N): N => w.op1(0xad, L, a),
  fromSigned: (a: N): N => w.op1(0xac, L, a),
} as const;

/** A mutable local. */
export class Var {
  readonly n: N;
  private readonly fn: Fn;
  private readonly index: number;
  constructor(fn: Fn, t: T, initial?: N) {
    this.fn = fn;
    this.index = fn.newLocal(t);
    this.n = w.local(this.index, t);
    if (initial) fn.set(this.index, initial);
  }
  set(value: N): void { this.fn.set(this.index, value); }
}
/** Parameter `i` as a variable. */
export const int = (fn: Fn, initial?: N): Var => new Var(fn, I, initial);
export const long = (fn: Fn, initial?: N): Var => new Var(fn, L, initial);

const LOW32 = (): N => q.k(0xffffffffn);
/** The 128-bit product of two i64 locals: high and low word as locals. */
export function multiply128(fn: Fn, a: N, b: N): { high: N; low: N } {
  const a0 = fn.let(q.and(a, LOW32())), a1 = fn.let(q.shr(a, q.k(32))), b0 = fn.let(q.and(b, LOW32())), b1 = fn.let(q.shr(b, q.k(32)));
  const p00 = fn.let(q.mul(a0, b0)), p01 = fn.let(q.mul(a0, b1));
  const middle = fn.let(q.add(q.add(q.shr(p00, q.k(32)), q.and(p01, LOW32())), q.mul(a1, b0)));
  return {
    high: fn.let(q.add(q.add(q.mul(a1, b1), q.shr(middle, q.k(32))), q.shr(p01, q.k(32)))),
    low: fn.let(q.or(q.shl(middle, q.k(32)), q.and(p00, LOW32()))),
  };
}
