/** x87 instructions on ST(0), and on ST(0) with ST(1), that are not plain arithmetic: FCHS, FABS, FXAM, FSQRT, FRNDINT, FSCALE, FXTRACT, FPREM, FPREM1. */
import { S } from '../state.ts';
import * as w from '../wasm.ts';
import { I, type Fn, type N } from '../wasm.ts';
import { BIAS, FCW, FSW, INTEGER_BIT, MAX_EXPONENT, SIGN, clearC1, exponentOf, isDenormal, isInfinity, isNaN, isUnsupported, putValue, signOf } from './extended.ts';
import { Stack, toInteger, type Builder } from './x87.ts';
import { int, long, q } from './wide.ts';

const k = w.k;
const QUIET_BIT = 1n << 62n;

export function defineMisc(b: Builder, define: (name: string, body: (fn: Fn) => void) => void): void {
  const { f } = b;
  /** Leaves with the stack-underflow response unless ST(0) (and ST(1)) hold values. */
  const require = (fn: Fn, s: Stack, both = false): void => {
    const full = both ? w.and(s.full(s.top), s.full(s.physical(1))) : s.full(s.top);
    fn.if(w.eqz(full), () => { fn.drop(w.call(b.underflow, I, s.cpu, s.slot(s.top))); fn.ret(); }, undefined, 0);
  };
  const stopIf = (fn: Fn, call: N): void => fn.if(call, () => fn.ret());
  /** Unsupported and NaN operands of a function of ST(0); leaves when there is one. */
  const special = (fn: Fn, cpu: N, slot: N, m: N, se: N): void => {
    fn.if(isUnsupported(m, se), () => { fn.drop(w.call(f.invalid, I, cpu, slot)); fn.ret(); });
    fn.if(isNaN(m, se), () => { fn.drop(w.call(f.nan, I, cpu, m, se, q.k(0), k(0), slot)); fn.ret(); });
  };
  const normalised = (fn: Fn, m: N, se: N): { m: N; e: N } => {
    const shift = fn.let(q.clz(m)), e = fn.let(exponentOf(se));
    return { m: fn.let(q.shl(m, shift)), e: fn.let(w.sub(w.add(e, w.eqz(e)), q.low(shift))) };
  };

  // sign(cpu, 1 invert | 0 clear)
  define('sign', fn => {
    const s = new Stack(fn), slot = fn.let(s.slot(s.top));
    require(fn, s);
    clearC1(fn, s.cpu);
    const se = fn.let(w.load16u(slot, 8));
    fn.store16(slot, w.select(w.xor(se, k(SIGN)), w.and(se, k(MAX_EXPONENT)), w.local(1)), 8);
  });
  define('examine', fn => {
    const s = new Stack(fn), slot = fn.let(s.slot(s.top)), m = fn.let(w.load64(slot)), se = fn.let(w.load16u(slot, 8)), e = fn.let(exponentOf(se));
    const finite = w.select(w.select(k(FSW.C3), k(FSW.C3 | FSW.C2), q.zero(m)), w.select(k(FSW.C2), k(0), q.top(m)), w.eqz(e));
    const large = w.select(w.select(k(FSW.C2 | FSW.C0), k(FSW.C0), q.zero(q.shl(m, q.k(1)))), k(0), q.top(m));
    const kind = w.select(w.select(large, finite, w.eq(e, k(MAX_EXPONENT))), k(FSW.C3 | FSW.C0), s.full(s.top));
    const bits = w.or(kind, w.shr(signOf(se), k(6)));
    fn.store(s.cpu, w.or(w.and(w.load(s.cpu, S.fpuStatus), k(~(FSW.C3 | FSW.C2 | FSW.C1 | FSW.C0))), bits), S.fpuStatus);
  });
  define('sqrt_top', fn => {
    const s = new Stack(fn), slot = fn.let(s.slot(s.top));
    require(fn, s);
    fn.drop(w.call(f.sqrt, I, s.cpu, w.load64(slot), w.load16u(slot, 8), slot));
  });
  define('rint', fn => {
    const s = new Stack(fn), { cpu } = s, slot = fn.let(s.slot(s.top));
    require(fn, s);
    const m = fn.let(w.load64(slot)), se = fn.let(w.load16u(slot, 8)), e = fn.let(w.sub(exponentOf(se), k(BIAS)));
    special(fn, cpu, slot, m, se);
    clearC1(fn, cpu);
    fn.if(w.or(w.ge(e, k(63)), q.zero(m)), () => fn.ret());
    fn.if(isDenormal(m, se), () => stopIf(fn, w.call(f.flag, I, cpu, k(FSW.DE))));
    const { magnitude, up, inexact } = toInteger(fn, m, se, e, fn.let(w.load(cpu, S.fpuControl)));
    const zeros = fn.let(q.clz(magnitude));
    fn.if(q.zero(magnitude), () => putValue(fn, slot, q.k(0), signOf(se)), () => putValue(fn, slot, q.shl(magnitude, zeros), w.or(signOf(se), w.sub(k(BIAS + 63), q.low(zeros)))));
    fn.if(inexact, () => fn.drop(w.call(f.flag, I, cpu, w.or(k(FSW.PE), w.shl(up, k(9))))));
  });
  define('scale', fn => {
    const s = new Stack(fn), { cpu } = s, slot = fn.let(s.slot(s.top)), by = fn.let(s.slot(s.physical(1)));
    require(fn, s, true);
    const m = fn.let(w.load64(slot)), se = fn.let(w.load16u(slot, 8)), bm = fn.let(w.load64(by)), bse = fn.let(w.load16u(by, 8));
    const invalid = (): void => { fn.drop(w.call(f.invalid, I, cpu, slot)); fn.ret(); };
    fn.if(w.or(isUnsupported(m, se), isUnsupported(bm, bse)), invalid);
    fn.if(w.or(isNaN(m, se), isNaN(bm, bse)), () => { fn.drop(w.call(f.nan, I, cpu, m, se, bm, bse, slot)); fn.ret(); });
    const infinite = fn.let(isInfinity(m, se)), zero = fn.let(q.zero(m)), sign = fn.let(signOf(se));
    const denormal = (): void => { fn.if(w.or(isDenormal(m, se), isDenormal(bm, bse)), () => stopIf(fn, w.call(f.flag, I, cpu, k(FSW.DE))), () => clearC1(fn, cpu)); };
    fn.if(isInfinity(bm, bse), () => {
      fn.if(w.select(infinite, zero, signOf(bse)), invalid);
      denormal();
      fn.if(signOf(bse), () => putValue(fn, slot, q.k(0), sign), () => putValue(fn, slot, q.k(INTEGER_BIT), w.or(sign, k(MAX_EXPONENT))));
      fn.ret();
    });
    denormal();
    fn.if(w.or(infinite, zero), () => fn.ret());
    // The integer part of ST(1); beyond 2^16 all are alike.
    const eb = fn.let(w.sub(exponentOf(bse), k(BIAS)));
    const whole = w.select(k(0), w.select(k(0x10000), q.low(q.shr(bm, q.from(w.sub(k(63), eb)))), w.gt(eb, k(15))), w.lt(eb, k(0)));
    const distance = fn.let(whole), n = normalised(fn, m, se);
    const e = w.select(w.sub(n.e, distance), w.add(n.e, distance), signOf(bse));
    fn.do(w.call(f.rounded, 0x40, cpu, sign, e, n.m, q.k(0), slot, w.or(w.load(cpu, S.fpuControl), k(FCW.PC64))));
  });
  define('extract', fn => {
    const s = new Stack(fn), { cpu } = s, slot = fn.let(s.slot(s.top));
    const next = fn.let(w.and(w.sub(s.top, k(1)), k(7))), pushed = fn.let(s.slot(next));
    const push = (): void => { s.fill(next); fn.store(cpu, next, S.fpuTop); };
    const nan = (): void => { putValue(fn, slot, q.k(0xc000000000000000n), k(0xffff)); putValue(fn, pushed, q.k(0xc000000000000000n), k(0xffff)); s.fill(s.top); push(); fn.ret(); };
    fn.if(w.eqz(s.full(s.top)), () => { stopIf(fn, w.call(f.flag, I, cpu, k(FSW.IE | FSW.SF))); nan(); }, undefined, 0);
    fn.if(s.full(next), () => { stopIf(fn, w.call(f.flag, I, cpu, k(FSW.IE | FSW.SF | FSW.C1))); nan(); }, undefined, 0);
    const m = fn.let(w.load64(slot)), se = fn.let(w.load16u(slot, 8));
    fn.if(isUnsupported(m, se), () => { stopIf(fn, w.call(f.flag, I, cpu, k(FSW.IE))); nan(); });
    fn.if(isNaN(m, se), () => {
      stopIf(fn, w.call(f.flag, I, cpu, q.zero(q.and(m, q.k(QUIET_BIT)))));
      putValue(fn, slot, q.or(m, q.k(QUIET_BIT)), se); putValue(fn, pushed, q.or(m, q.k(QUIET_BIT)), se);
      push();
      fn.ret();
    });
    fn.if(isInfinity(m, se), () => {
      clearC1(fn, cpu);
      putValue(fn, slot, q.k(INTEGER_BIT), k(MAX_EXPONENT)); putValue(fn, pushed, m, se);
      push();
      fn.ret();
    });
    fn.if(q.zero(m), () => {
      stopIf(fn, w.call(f.flag, I, cpu, k(FSW.ZE)));
      putValue(fn, slot, q.k(INTEGER_BIT), k(0xffff)); putValue(fn, pushed, m, se);
      push();
      fn.ret();
    });
    fn.if(isDenormal(m, se), () => stopIf(fn, w.call(f.flag, I, cpu, k(FSW.DE))), () => clearC1(fn, cpu));
    const n = normalised(fn, m, se), e = fn.let(w.sub(n.e, k(BIAS))), magnitude = fn.let(q.fromSigned(e));
    const absolute = fn.let(w.select(q.sub(q.k(0), magnitude), magnitude, q.top(magnitude))), zeros = fn.let(q.clz(absolute));
    putValue(fn, slot, w.select(q.k(0), q.shl(absolute, zeros), q.zero(absolute)), w.select(w.or(w.sub(k(BIAS + 63), q.low(zeros)), w.and(e, k(SIGN))), k(0), e));
    putValue(fn, pushed, n.m, w.or(signOf(se), k(BIAS)));
    push();
  });
  // remainder(cpu, 1 IEEE (FPREM1) | 0 truncating (FPREM))
  define('remainder', fn => {
    const s = new Stack(fn), { cpu } = s, slot = fn.let(s.slot(s.top)), by = fn.let(s.slot(s.physical(1))), nearest = w.local(1);
    fn.store(cpu, w.and(w.load(cpu, S.fpuStatus), k(~FSW.C2)), S.fpuStatus);
    require(fn, s, true);
    const m = fn.let(w.load64(slot)), se = fn.let(w.load16u(slot, 8)), bm = fn.let(w.load64(by)), bse = fn.let(w.load16u(by, 8));
    const invalid = (): void => { fn.drop(w.call(f.invalid, I, cpu, slot)); fn.ret(); };
    fn.if(w.or(isUnsupported(m, se), isUnsupported(bm, bse)), invalid);
    fn.if(w.or(isNaN(m, se), isNaN(bm, bse)), () => { fn.drop(w.call(f.nan, I, cpu, m, se, bm, bse, slot)); fn.ret(); });
    fn.if(w.or(isInfinity(m, se), q.zero(bm)), invalid);
    fn.if(w.or(isDenormal(m, se), isDenormal(bm, bse)), () => stopIf(fn, w.call(f.flag, I, cpu, k(FSW.DE))), () => clearC1(fn, cpu));
    const conditions = (bits: N): void => fn.store(cpu, w.or(w.and(w.load(cpu, S.fpuStatus), k(~(FSW.C3 | FSW.C2 | FSW.C1 | FSW.C0))), bits), S.fpuStatus);
    const control = w.or(w.load(cpu, S.fpuControl), k(FCW.PC64));
    fn.if(w.or(q.zero(m), isInfinity(bm, bse)), () => {
      conditions(k(0));
      // A denormal dividend is the result as it is, but a tiny one if underflow is unmasked.
      fn.if(isDenormal(m, se), () => { const n = normalised(fn, m, se); fn.do(w.call(f.rounded, 0x40, cpu, signOf(se), n.e, n.m, q.k(0), slot, control)); });
      fn.ret();
    });
    const a = normalised(fn, m, se), d = normalised(fn, bm, bse);
    const distance = fn.let(w.sub(a.e, d.e)), quotient = long(fn, q.k(0)), r = long(fn, a.m), e = int(fn, d.e), sign = int(fn, signOf(se));
    /** Stores the remainder; the conditions come last, because rounding clears C1. */
    const finish = (bits: N): void => {
      fn.if(q.zero(r.n), () => putValue(fn, slot, q.k(0), sign.n), () => {
        const zeros = fn.let(q.clz(r.n));
        fn.do(w.call(f.rounded, 0x40, cpu, sign.n, w.sub(e.n, q.low(zeros)), q.shl(r.n, zeros), q.k(0), slot, control));
      });
      conditions(bits);
      fn.ret();
    };
    fn.if(w.lt(distance, k(0)), () => {
      e.set(a.e);
      // Between a half and one divisor: one divisor less for FPREM1.
      fn.if(w.and(w.and(nearest, w.eq(distance, k(-1))), q.gt(a.m, d.m)), () => {
        r.set(q.sub(q.shl(d.m, q.k(1)), a.m));
        sign.set(w.xor(sign.n, k(SIGN)));
        finish(k(FSW.C1));
      });
      finish(k(0));
    });
    const partial = fn.let(w.ge(distance, k(64)));
    const count = int(fn, w.select(w.or(w.and(distance, k(31)), k(32)), distance, partial));
    e.set(w.sub(a.e, count.n));
    const step = (carry: N): void => fn.if(w.or(carry, q.ge(r.n, d.m)), () => { r.set(q.sub(r.n, d.m)); quotient.set(q.or(quotient.n, q.k(1))); });
    step(k(0));
    fn.loop(again => fn.if(count.n, () => {
      const carry = fn.let(q.top(r.n));
      r.set(q.shl(r.n, q.k(1))); quotient.set(q.shl(quotient.n, q.k(1)));
      step(carry);
      count.set(w.sub(count.n, k(1)));
      fn.br(again);
    }));
    fn.if(partial, () => finish(k(FSW.C2)));
    fn.if(nearest, () => {
      const rest = fn.let(q.sub(d.m, r.n));
      fn.if(w.or(q.gt(r.n, rest), w.and(q.eq(r.n, rest), q.low(q.and(quotient.n, q.k(1))))), () => {
        r.set(rest);
        sign.set(w.xor(sign.n, k(SIGN)));
        quotient.set(q.add(quotient.n, q.k(1)));
      });
    });
    const low = fn.let(q.low(quotient.n));
    // C0 C3 C1 = bits 2 1 0 of the quotient.
    finish(w.or(w.or(w.shl(w.and(low, k(4)), k(6)), w.shl(w.and(low, k(2)), k(13))), w.shl(w.and(low, k(1)), k(9))));
  });
}
