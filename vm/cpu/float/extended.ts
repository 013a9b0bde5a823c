/**
 * Arithmetic on 80-bit extended numbers as wasm functions: add, subtract, multiply, divide, square root and remainder, exact before
 * one rounding. SDM vol. 1, 4.8 (formats, NaNs), 8.1.5 (precision and rounding control), 8.5 (exceptions).
 *
 * A number is (m, se): the 64-bit significand with its explicit integer bit, and sign and biased exponent in 16 bits, as in
 * memory. Bit 16 of `se` marks an operand that came from a denormal of a narrower format: it is normal here, but #D is due.
 *
 *   arithmetic(cpu, am, ase, bm, bse, destination) -> 0 stored, 1 an unmasked exception came before the result: nothing stored
 *
 * A destination is the address of a 16-byte register slot. Status flags, C1 and the summary bit are written to the state block; the
 * top of the stack is kept apart from the status word (state.ts). Precision control is the caller's: `rounded` obeys the control
 * word it is given. Operands that are not plainly normal go through `prepare`, which answers or leaves normalised operands in
 * scratch words.
 */
import { S } from '../state.ts';
import * as w from '../wasm.ts';
import { I, L, type Fn, type Label, type ModuleBuilder, type N } from '../wasm.ts';
import { int, long, multiply128, q } from './wide.ts';

const k = w.k;
/** Status word (SDM vol. 1, figure 8-4). */
export const FSW = { IE: 1, DE: 2, ZE: 4, OE: 8, UE: 0x10, PE: 0x20, SF: 0x40, ES: 0x80, C0: 0x100, C1: 0x200, C2: 0x400, C3: 0x4000, B: 0x8000 } as const;
/** Control word: PC and RC fields. */
export const FCW = { PC: 0x300, RC: 0xc00, PC64: 0x300 } as const;
export const BIAS = 16383;
export const INTEGER_BIT = 1n << 63n;
const QUIET_BIT = 1n << 62n;
export const SIGN = 0x8000, MAX_EXPONENT = 0x7fff;
/** Scratch of `prepare` and of stores, behind the architectural fields: two operands as {m i64, exponent i32, -}, a word of flags. */
export const SCRATCH = { a: S.fpuScratch, b: S.fpuScratch + 16, pending: S.fpuScratch + 32 } as const;

const ADD = 0, SUB = 1, MUL = 2, DIV = 3;

export interface ExtendedFunctions {
  /** (cpu, flags) -> the unmasked ones among them. Sets status flags, C1 as given, the summary bit. */
  readonly flag: number;
  /** (cpu, sign, exponent, m, rest, destination, control): rounds a non-zero m (bit 63 set) + rest/2^64. The exponent is biased and unbounded. */
  readonly rounded: number;
  /** (cpu, destination, m, se) */
  readonly put: number;
  readonly add: number; readonly sub: number; readonly mul: number; readonly div: number;
  /** (cpu, m, se, destination) -> 0 or 1 */
  readonly sqrt: number;
  /** (cpu, destination) -> 1 if unmasked: the invalid-operation response. */
  readonly invalid: number;
  /** (cpu, am, ase, bm, bse, destination) -> 0 stored, 1 stopped: propagation of NaNs, at least one operand being one. */
  readonly nan: number;
}

/** What inline arithmetic calls when its case is not the common one. */
export type InlineFunctions = Pick<ExtendedFunctions, 'rounded' | 'add' | 'sub' | 'mul'>;

export const exponentOf = (se: N): N => w.and(se, k(MAX_EXPONENT));
export const signOf = (se: N): N => w.and(se, k(SIGN));
export const isNaN = (m: N, se: N): N => w.and(w.eq(exponentOf(se), k(MAX_EXPONENT)), q.nonzero(q.shl(m, q.k(1))));
export const isInfinity = (m: N, se: N): N => w.and(w.eq(exponentOf(se), k(MAX_EXPONENT)), q.zero(q.shl(m, q.k(1))));
/** Unnormals, pseudo-infinities and pseudo-NaNs: an exponent without integer bit. */
export const isUnsupported = (m: N, se: N): N => w.and(w.ne(exponentOf(se), k(0)), w.eqz(q.top(m)));
export const isDenormal = (m: N, se: N): N => w.or(w.and(w.eqz(exponentOf(se)), q.nonzero(m)), w.and(se, k(0x10000)));
/** Exponent 1..7FFE and no mark; the integer bit is asked for apart. */
export const normalExponent = (se: N): N => w.ltu(w.sub(w.and(se, k(0x17fff)), k(1)), k(0x7ffe));

export function putValue(fn: Fn, destination: N, m: N, se: N): void {
  fn.store64(destination, m);
  fn.store16(destination, se, 8);
}
const DEFAULT_NAN_M = 0xc000000000000000n, DEFAULT_NAN_SE = 0xffff;

/** Status update without any flag but inexactness: clears C1, sets PE and C1 = rounded up. Inline in the fast paths. */
function noteInexact(fn: Fn, cpu: N, control: N, up: N): void {
  const status = w.or(w.and(w.load16u(cpu, S.fpuStatus), k(~FSW.C1)), w.or(k(FSW.PE), w.shl(up, k(9))));
  fn.store(cpu, w.or(status, w.select(k(0), k(FSW.ES | FSW.B), w.and(control, k(FSW.PE)))), S.fpuStatus);
}
export function clearC1(fn: Fn, cpu: N): void { fn.store(cpu, w.and(w.load(cpu, S.fpuStatus), k(~FSW.C1)), S.fpuStatus); }

function defineFlag(fn: Fn): void {
  const cpu = w.local(0), flags = w.local(1);
  const unmasked = fn.let(w.and(w.and(flags, k(0x3f)), w.xor(w.load(cpu, S.fpuControl), k(-1))));
  const status = fn.let(w.or(w.and(w.load(cpu, S.fpuStatus), k(~FSW.C1)), flags));
  fn.store(cpu, w.or(status, w.select(k(FSW.ES | FSW.B), k(0), unmasked)), S.fpuStatus);
  fn.emit(unmasked);
}

/** Whether the bits below the last one round up: `fraction` is the discarded part as a fraction of 2^64, `odd` the last bit kept. */
const roundsUp = (control: N, sign: N, fraction: N, odd: N): N => {
  const mode = w.and(w.shr(control, k(10)), k(3));
  const nearest = w.and(q.top(fraction), w.or(q.nonzero(q.shl(fraction, q.k(1))), odd));
  const inexact = q.nonzero(fraction);
  // 1 down: away from zero for negative numbers; 2 up: for positive ones; 3 never.
  const directed = w.and(inexact, w.select(w.ne(sign, k(0)), w.and(w.eqz(sign), w.eq(mode, k(2))), w.eq(mode, k(1))));
  return w.select(directed, nearest, mode);
};

function defineRounded(fn: Fn, flag: number): void {
  const [cpu, sign, destination] = [w.local(0), w.local(1), w.local(5)], control = w.local(6);
  const exponent = w.local(2), m = w.local(3, L), rest = w.local(4, L);
  // The common case: 64 bits, to nearest, well inside the range.
  fn.if(w.and(w.eq(w.and(control, k(FCW.PC | FCW.RC)), k(FCW.PC64)), w.ltu(w.sub(exponent, k(1)), k(0x7ffd))), () => {
    const up = fn.let(w.and(q.top(rest), w.or(q.nonzero(q.shl(rest, q.k(1))), q.low(q.and(m, q.k(1))))));
    const result = long(fn, q.add(m, q.from(up))), e = int(fn, exponent);
    fn.if(q.zero(result.n), () => { result.set(q.k(INTEGER_BIT)); e.set(w.add(exponent, k(1))); }, undefined, 0);
    putValue(fn, destination, result.n, w.or(sign, e.n));
    fn.if(q.zero(rest), () => clearC1(fn, cpu), () => noteInexact(fn, cpu, control, up));
    fn.ret();
  }, undefined, 1);
  const pc = fn.let(w.and(control, k(FCW.PC)));
  const drop = fn.let(q.from(w.select(k(40), w.select(k(11), k(0), w.eq(pc, k(0x200))), w.eqz(pc))));
  const below = fn.let(q.sub(q.shl(q.k(1), drop), q.k(1)));
  /** Rounds (high, low) at the precision: what is kept, the increment, exactness. */
  const roundAt = (high: N, low: N): { kept: N; up: N; inexact: N } => {
    const kept = fn.let(q.and(high, q.xor(below, q.k(-1n))));
    const fraction = fn.let(w.select(low, q.or(q.shl(q.and(high, below), q.sub(q.k(64), drop)), q.from(q.nonzero(low))), q.zero(drop)));
    return { kept, up: fn.let(roundsUp(control, sign, fraction, q.low(q.and(q.shr(high, drop), q.k(1))))), inexact: fn.let(q.nonzero(fraction)) };
  };
  const plus = (kept: N, up: N): N => q.add(kept, q.shl(q.from(up), drop));
  const first = roundAt(m, rest);
  const m1 = long(fn, plus(first.kept, first.up)), e1 = int(fn, exponent);
  fn.if(w.and(first.up, q.zero(m1.n)), () => { m1.set(q.k(INTEGER_BIT)); e1.set(w.add(e1.n, k(1))); });
  const exactness = (inexact: N, up: N): N => w.or(w.shl(inexact, k(5)), w.shl(up, k(9)));
  fn.if(w.ge(e1.n, k(MAX_EXPONENT)), () => {
    fn.if(w.and(control, k(FSW.OE)), () => {
      const mode = fn.let(w.and(w.shr(control, k(10)), k(3)));
      const infinite = fn.let(w.or(w.eqz(mode), w.eq(mode, w.select(k(1), k(2), sign))));
      putValue(fn, destination, w.select(q.k(INTEGER_BIT), q.xor(below, q.k(-1n)), infinite), w.or(sign, w.select(k(MAX_EXPONENT), k(MAX_EXPONENT - 1), infinite)));
      fn.drop(w.call(flag, I, cpu, w.or(k(FSW.OE | FSW.PE), w.shl(infinite, k(9)))));
    }, () => {
      // The exponent wraps by 3 * 2^13; what is too large even so (FSCALE) becomes infinity.
      const wrapped = fn.let(w.sub(e1.n, k(0x6000)));
      fn.if(w.ge(wrapped, k(MAX_EXPONENT)), () => {
        putValue(fn, destination, q.k(INTEGER_BIT), w.or(sign, k(MAX_EXPONENT)));
        fn.drop(w.call(flag, I, cpu, k(FSW.OE | FSW.PE | FSW.C1)));
        fn.ret();
      });
      putValue(fn, destination, m1.n, w.or(sign, wrapped));
      fn.drop(w.call(flag, I, cpu, w.or(k(FSW.OE), exactness(first.inexact, first.up))));
    });
    fn.ret();
  });
  fn.if(w.le(e1.n, k(0)), () => {
    fn.if(w.and(control, k(FSW.UE)), () => {
      const shift = fn.let(w.sub(k(1), exponent));
      const high = long(fn, q.k(0)), low = long(fn, q.k(1));
      fn.if(w.ltu(shift, k(64)), () => {
        const by = fn.let(q.from(shift));
        low.set(q.or(q.shl(m, q.sub(q.k(64), by)), q.from(q.nonzero(rest))));
        high.set(q.shr(m, by));
      }, () => fn.if(w.eq(shift, k(64)), () => low.set(q.or(m, q.from(q.nonzero(rest))))));
      const { kept, up, inexact } = roundAt(high.n, low.n);
      const result = fn.let(plus(kept, up));
      putValue(fn, destination, result, w.or(sign, q.top(result)));
      fn.drop(w.call(flag, I, cpu, w.or(exactness(inexact, up), w.shl(inexact, k(4)))));
    }, () => {
      const wrapped = fn.let(w.add(e1.n, k(0x6000)));
      fn.if(w.le(wrapped, k(0)), () => {
        putValue(fn, destination, q.k(0), sign);
        fn.drop(w.call(flag, I, cpu, k(FSW.UE | FSW.PE)));
        fn.ret();
      });
      putValue(fn, destination, m1.n, w.or(sign, wrapped));
      fn.drop(w.call(flag, I, cpu, w.or(k(FSW.UE), exactness(first.inexact, first.up))));
    });
    fn.ret();
  });
  putValue(fn, destination, m1.n, w.or(sign, e1.n));
  fn.drop(w.call(flag, I, cpu, exactness(first.inexact, first.up)));
}

/**
 * `rounded` with its common case inline: 64 bits, to nearest, PE masked, well inside the range. Measured (x87 matmul): the call and its
 * seven parameters were a quarter of an addition. Tests are branches of their own and not combined: they are always predicted, and a
 * condition as a value costs three instructions.
 */
function finish(fn: Fn, cpu: N, rounded: number, sign: N, exponent: N, m: N, rest: N, destination: N): void {
  const control = fn.let(w.load(cpu, S.fpuControl));
  fn.block(done => {
    fn.block(slow => {
      fn.brIf(slow, w.ne(w.and(control, k(FCW.PC | FCW.RC | FSW.PE)), k(FCW.PC64 | FSW.PE)), 0);
      fn.brIf(slow, w.geu(w.sub(exponent, k(1)), k(0x7ffd)), 0);
      const up = fn.let(w.and(q.top(rest), w.or(q.nonzero(q.shl(rest, q.k(1))), q.low(q.and(m, q.k(1))))));
      const result = fn.let(q.add(m, q.from(up)));
      const status = fn.let(w.or(w.or(w.and(w.load(cpu, S.fpuStatus), k(~FSW.C1)), w.shl(up, k(9))), w.shl(q.nonzero(rest), k(5))));
      fn.store(cpu, status, S.fpuStatus);
      fn.if(q.zero(result), () => putValue(fn, destination, q.k(INTEGER_BIT), w.or(sign, w.add(exponent, k(1)))), () => putValue(fn, destination, result, w.or(sign, exponent)), 0);
      fn.br(done);
    });
    fn.do(w.call(rounded, 0x40, cpu, sign, exponent, m, rest, destination, control));
  });
}

function defineInvalid(fn: Fn, flag: number): void {
  fn.if(w.call(flag, I, w.local(0), k(FSW.IE)), () => fn.ret(k(1)));
  putValue(fn, w.local(1), q.k(DEFAULT_NAN_M), k(DEFAULT_NAN_SE));
  fn.emit(k(0));
}

/** SDM vol. 1 table 4-7, x87 column: a QNaN beats an SNaN, else the larger significand, else the positive one. */
function defineNan(fn: Fn, flag: number): void {
  const [cpu, am, ase, bm, bse, destination] = [w.local(0), w.local(1, L), w.local(2), w.local(3, L), w.local(4), w.local(5)];
  const nanA = fn.let(isNaN(am, ase)), nanB = fn.let(isNaN(bm, bse));
  const signals = (m: N, nan: N): N => fn.let(w.and(nan, q.zero(q.and(m, q.k(QUIET_BIT)))));
  const signalA = signals(am, nanA), signalB = signals(bm, nanB);
  fn.if(w.call(flag, I, cpu, w.or(signalA, signalB)), () => fn.ret(k(1)));
  const quietA = fn.let(q.or(am, q.k(QUIET_BIT))), quietB = fn.let(q.or(bm, q.k(QUIET_BIT)));
  const larger = w.select(w.select(k(1), k(0), w.ltu(w.and(ase, k(0xffff)), w.and(bse, k(0xffff)))), q.gt(quietA, quietB), q.eq(quietA, quietB));
  const chooseA = fn.let(w.select(larger, nanA, w.and(w.and(nanA, nanB), w.eq(signalA, signalB))));
  // One NaN: that one. A quiet and a signalling one: the quiet one.
  const mixed = w.and(w.and(nanA, nanB), w.ne(signalA, signalB));
  const pickA = fn.let(w.select(signalB, chooseA, mixed));
  putValue(fn, destination, w.select(quietA, quietB, pickA), w.select(ase, bse, pickA));
  fn.emit(k(0));
}

/** prepare(cpu, operation, am, ase, bm, bse, destination) -> 0 stored, 1 stopped, 2 go on with the operands in scratch. */
function definePrepare(fn: Fn, f: Omit<ExtendedFunctions, 'add' | 'sub' | 'mul' | 'div' | 'sqrt'>): void {
  const [cpu, operation, am, ase, bm, bse0, destination] = [w.local(0), w.local(1), w.local(2, L), w.local(3), w.local(4, L), w.local(5), w.local(6)];
  const invalid = (): void => fn.ret(w.call(f.invalid, I, cpu, destination));
  fn.if(w.or(isUnsupported(am, ase), isUnsupported(bm, bse0)), invalid);
  fn.if(w.or(isNaN(am, ase), isNaN(bm, bse0)), () => fn.ret(w.call(f.nan, I, cpu, am, ase, bm, bse0, destination)));
  const bse = fn.let(w.xor(bse0, w.shl(w.eq(operation, k(SUB)), k(15))));
  const denormal = fn.let(w.or(isDenormal(am, ase), isDenormal(bm, bse)));
  const checkDenormal = (): void => fn.if(denormal, () => fn.if(w.call(f.flag, I, cpu, k(FSW.DE)), () => fn.ret(k(1))), () => clearC1(fn, cpu));
  const sign = fn.let(signOf(w.xor(ase, bse)));
  const infinity = (s: N): void => { checkDenormal(); putValue(fn, destination, q.k(INTEGER_BIT), w.or(s, k(MAX_EXPONENT))); fn.ret(k(0)); };
  const zero = (s: N): void => { checkDenormal(); putValue(fn, destination, q.k(0), s); fn.ret(k(0)); };
  const infA = fn.let(isInfinity(am, ase)), infB = fn.let(isInfinity(bm, bse)), zeroA = fn.let(q.zero(am)), zeroB = fn.let(q.zero(bm));
  /** Normalised operands as (m, biased exponent). */
  const normal = (m: N, se: N): { m: N; e: N } => {
    const shift = fn.let(q.clz(m)), e = fn.let(exponentOf(se));
    // Exponent 0 means 1; a marked operand has its true exponent.
    return { m: fn.let(q.shl(m, shift)), e: fn.let(w.sub(w.add(e, w.eqz(e)), q.low(shift))) };
  };
  fn.if(w.leu(operation, k(SUB)), () => {
    fn.if(infA, () => {
      fn.if(infB, () => fn.if(sign, invalid));
      infinity(signOf(ase));
    });
    fn.if(infB, () => infinity(signOf(bse)));
    fn.if(w.or(zeroA, zeroB), () => {
      fn.if(w.and(zeroA, zeroB), () => zero(w.select(w.shl(w.eq(w.and(w.load(cpu, S.fpuControl), k(FCW.RC)), k(0x400)), k(15)), signOf(ase), sign)));
      checkDenormal();
      // The sum is the other operand, rounded to the precision.
      const m = fn.let(w.select(bm, am, zeroA)), se = fn.let(w.select(bse, ase, zeroA)), n = normal(m, se);
      fn.do(w.call(f.rounded, 0x40, cpu, signOf(se), n.e, n.m, q.k(0), destination, w.load(cpu, S.fpuControl)));
      fn.ret(k(0));
    });
  }, () => fn.if(w.eq(operation, k(MUL)), () => {
    fn.if(w.or(infA, infB), () => { fn.if(w.or(zeroA, zeroB), invalid); infinity(sign); });
    fn.if(w.or(zeroA, zeroB), () => zero(sign));
  }, () => {
    fn.if(infA, () => { fn.if(infB, invalid); infinity(sign); });
    fn.if(infB, () => zero(sign));
    fn.if(zeroB, () => {
      fn.if(zeroA, invalid);
      fn.if(w.call(f.flag, I, cpu, k(FSW.ZE)), () => fn.ret(k(1)));
      putValue(fn, destination, q.k(INTEGER_BIT), w.or(sign, k(MAX_EXPONENT)));
      fn.ret(k(0));
    });
    fn.if(zeroA, () => zero(sign));
  }));
  checkDenormal();
  const a = normal(am, ase), b = normal(bm, bse);
  fn.store64(cpu, a.m, SCRATCH.a); fn.store(cpu, a.e, SCRATCH.a + 8);
  fn.store64(cpu, b.m, SCRATCH.b); fn.store(cpu, b.e, SCRATCH.b + 8);
  fn.emit(k(2));
}

export interface Operands { readonly cpu: N; readonly am: N; readonly bm: N; readonly ea: N; readonly eb: N; readonly sa: N; readonly sb: N; readonly destination: N }
const both = (am: N, ase: N, bm: N, bse: N): N => w.and(w.and(normalExponent(ase), normalExponent(bse)), q.top(q.and(am, bm)));
/** The frame of an arithmetic function: operands unpacked, `prepare` called where they are not normal. */
function binary(fn: Fn, operation: number, prepare: number, body: (o: Operands) => void): void {
  const [cpu, pam, pase, pbm, pbse, destination] = [w.local(0), w.local(1, L), w.local(2), w.local(3, L), w.local(4), w.local(5)];
  const am = long(fn, pam), bm = long(fn, pbm), ea = int(fn, exponentOf(pase)), eb = int(fn, exponentOf(pbse));
  fn.if(w.eqz(both(pam, pase, pbm, pbse)), () => {
    const answer = fn.let(w.call(prepare, I, cpu, k(operation), pam, pase, pbm, pbse, destination));
    fn.if(w.ne(answer, k(2)), () => fn.ret(answer));
    am.set(w.load64(cpu, SCRATCH.a)); ea.set(w.load(cpu, SCRATCH.a + 8));
    bm.set(w.load64(cpu, SCRATCH.b)); eb.set(w.load(cpu, SCRATCH.b + 8));
  }, undefined, 0);
  body({ cpu, am: am.n, bm: bm.n, ea: ea.n, eb: eb.n, sa: fn.let(signOf(pase)), sb: fn.let(operation === SUB ? signOf(w.xor(pbse, k(SIGN))) : signOf(pbse)), destination });
  fn.emit(k(0));
}
/**
 * An operation where it is needed: normal operands inline, others by the function. The value: 1 when an unmasked exception stopped it.
 */
export function arithmetic(fn: Fn, f: InlineFunctions, name: 'add' | 'sub' | 'mul', cpu: N, am: N, ase: N, bm: N, bse: N, destination: N): N {
  const stopped = int(fn, k(0));
  fn.block(done => {
    fn.block(slow => {
      // Exponent + 1 is 0 or 1 (mod 2^15) for all that is not normal.
      const abnormal = (se: N): N => w.eqz(w.and(w.add(se, k(1)), k(0x7ffe)));
      fn.brIf(slow, abnormal(ase), 0);
      fn.brIf(slow, abnormal(bse), 0);
      fn.brIf(slow, w.shr(w.or(ase, bse), k(16)), 0);
      fn.brIf(slow, w.eqz(q.top(q.and(am, bm))), 0);
      const ea = fn.let(exponentOf(ase)), eb = fn.let(exponentOf(bse)), difference = fn.let(w.and(name === 'sub' ? w.xor(w.xor(ase, bse), k(SIGN)) : w.xor(ase, bse), k(SIGN)));
      if (name === 'mul') multiplyNormal(fn, { cpu, am, bm, ea, eb, sign: difference, destination }, f.rounded);
      else {
        // Cancellation with equal exponents: which one is larger is asked only then.
        fn.if(w.eq(ea, eb), () => fn.brIf(slow, difference, 0));
        addNormal(fn, { cpu, am, bm, ea, eb, sa: ase, sb: name === 'sub' ? w.xor(bse, k(SIGN)) : bse, difference, swap: fn.let(w.lt(ea, eb)), destination }, f.rounded);
      }
      fn.br(done);
    });
    zeroOperand(fn, name, cpu, am, ase, bm, bse, destination, done);
    stopped.set(w.call(f[name], I, cpu, am, ase, bm, bse, destination));
  });
  return stopped.n;
}
/** One operand zero, the other normal, 64 bits of precision: answered here. Matrices have zeros; the long way costs ten times as much. */
function zeroOperand(fn: Fn, name: 'add' | 'sub' | 'mul', cpu: N, am: N, ase: N, bm: N, bse: N, destination: N, done: Label): void {
  const isZero = (m: N, se: N): N => w.eqz(w.or(w.and(se, k(0x17fff)), q.nonzero(m))), isNormal = (m: N, se: N): N => w.and(normalExponent(se), q.top(m));
  fn.if(w.eq(w.and(w.load(cpu, S.fpuControl), k(FCW.PC)), k(FCW.PC64)), () => {
    if (name === 'mul') {
      fn.if(w.or(w.and(isZero(am, ase), isNormal(bm, bse)), w.and(isZero(bm, bse), isNormal(am, ase))), () => {
        putValue(fn, destination, q.k(0), signOf(w.xor(ase, bse)));
        clearC1(fn, cpu);
        fn.br(done);
      });
      return;
    }
    // The destination is the first operand's.
    fn.if(w.and(isZero(bm, bse), isNormal(am, ase)), () => { clearC1(fn, cpu); fn.br(done); });
    fn.if(w.and(isZero(am, ase), isNormal(bm, bse)), () => { putValue(fn, destination, bm, name === 'sub' ? w.xor(bse, k(SIGN)) : bse); clearC1(fn, cpu); fn.br(done); });
  });
}

/** The same with a normal second operand, whose exponent is at hand: a double or float from memory. `slow` when the first is not normal. */
export function arithmeticWith(fn: Fn, f: InlineFunctions, name: 'add' | 'sub' | 'mul', swapped: boolean, cpu: N, slot: N, bm: N, eb: N, sb: N, slow: Label): void {
  const am = fn.let(w.load64(slot)), ase = fn.let(w.load16u(slot, 8));
  fn.brIf(slow, w.eqz(w.and(w.add(ase, k(1)), k(0x7ffe))), 0);
  fn.brIf(slow, w.eqz(q.top(am)), 0);
  const ea = fn.let(exponentOf(ase));
  // a - b or, swapped, b - a: the sign of what is subtracted turns.
  const turn = (se: N, by: boolean): N => by ? w.xor(se, k(SIGN)) : se;
  const sa = fn.let(signOf(turn(ase, name === 'sub' && swapped))), sign = fn.let(turn(sb, name === 'sub' && !swapped)), difference = fn.let(w.xor(sa, sign));
  if (name === 'mul') { multiplyNormal(fn, { cpu, am, bm, ea, eb, sign: difference, destination: slot }, f.rounded); return; }
  fn.if(w.eq(ea, eb), () => fn.brIf(slow, difference, 0));
  addNormal(fn, { cpu, am, bm, ea, eb, sa, sb: sign, difference, swap: fn.let(w.lt(ea, eb)), destination: slot }, f.rounded);
}

interface Addends { readonly cpu: N; readonly am: N; readonly bm: N; readonly ea: N; readonly eb: N; /** Bit 15 counts. */ readonly sa: N; readonly sb: N; /** Non-zero: the signs differ. */ readonly difference: N; /** b is the larger one. */ readonly swap: N; readonly destination: N }
function addNormal(fn: Fn, o: Addends, rounded: number): void {
  const { cpu, destination, swap } = o;
  const big = fn.let(w.select(o.bm, o.am, swap)), small = fn.let(w.select(o.am, o.bm, swap));
  const e = int(fn, w.select(o.eb, o.ea, swap)), sign = fn.let(signOf(w.select(o.sb, o.sa, swap)));
  const distance = fn.let(w.sub(e.n, w.select(o.ea, o.eb, swap))), by = fn.let(q.from(distance));
  // The smaller one moved to its place, 64 bits behind the last one kept.
  const shifted = long(fn, q.shr(small, by)), behind = long(fn, q.shl(w.select(small, q.k(0), distance), q.sub(q.k(0), by)));
  fn.if(w.gtu(distance, k(63)), () => {
    // Exact down to a sticky bit: a difference may move up by one place.
    shifted.set(q.k(0));
    behind.set(q.k(1));
    fn.if(w.ltu(distance, k(127)), () => behind.set(q.or(q.shr(small, by), q.from(w.and(w.ne(distance, k(64)), q.nonzero(q.shl(small, q.sub(q.k(0), by))))))));
  }, undefined, 0);
  // The signs of sums are not predictable: no branches. A difference adds the complement of (shifted, behind).
  const minus = fn.let(q.sub(q.k(0), q.from(w.shr(o.difference, k(15)))));
  const high = long(fn, q.add(q.add(big, q.xor(shifted.n, minus)), q.and(q.from(q.zero(behind.n)), minus)));
  const low = long(fn, q.sub(q.xor(behind.n, minus), minus));
  const carry = fn.let(q.and(q.from(q.lt(high.n, big)), q.xor(minus, q.k(-1n))));
  low.set(q.or(q.or(q.shr(low.n, carry), q.and(low.n, carry)), q.shl(q.and(high.n, carry), q.k(63))));
  high.set(q.or(q.shr(high.n, carry), q.shl(carry, q.k(63))));
  fn.block(zero => {
    fn.if(q.zero(high.n), () => {
      fn.if(q.zero(low.n), () => {
        clearC1(fn, cpu);
        putValue(fn, destination, q.k(0), w.shl(w.eq(w.and(w.load(cpu, S.fpuControl), k(FCW.RC)), k(0x400)), k(15)));
        fn.br(zero);
      });
      high.set(low.n); low.set(q.k(0)); e.set(w.sub(e.n, k(64)));
    }, undefined, 0);
    const shift = fn.let(q.clz(high.n));
    // Shifted in two steps: 64 - 0 is no distance.
    high.set(q.or(q.shl(high.n, shift), q.shr(q.shr(low.n, q.k(1)), q.sub(q.k(63), shift))));
    low.set(q.shl(low.n, shift));
    e.set(w.add(w.sub(e.n, q.low(shift)), q.low(carry)));
    finish(fn, cpu, rounded, sign, e.n, high.n, low.n, destination);
  });
}
interface Factors { readonly cpu: N; readonly am: N; readonly bm: N; readonly ea: N; readonly eb: N; readonly sign: N; readonly destination: N }
function multiplyNormal(fn: Fn, { cpu, am, bm, ea, eb, sign, destination }: Factors, rounded: number): void {
  const { high, low } = multiply128(fn, am, bm);
  // The product has 127 or 128 bits.
  const shift = fn.let(q.shr(q.xor(high, q.k(-1n)), q.k(63)));
  const m = fn.let(q.or(q.shl(high, shift), q.and(q.shr(low, q.k(63)), shift)));
  finish(fn, cpu, rounded, sign, fn.let(w.sub(w.sub(w.add(ea, eb), k(BIAS - 1)), q.low(shift))), m, fn.let(q.shl(low, shift)), destination);
}

/** (high, low) / divisor, high < divisor, bit 63 of the divisor set: quotient and remainder (Knuth 4.3.1 D with 32-bit digits). */
export function divide128(fn: Fn, high: N, low: N, divisor: N): { quotient: N; remainder: N } {
  const d1 = fn.let(q.shr(divisor, q.k(32))), d0 = fn.let(q.and(divisor, q.k(0xffffffffn)));
  const digit = (r: N, next: N): { digit: N; remainder: N } => {
    const guess = long(fn, q.divu(r, d1)), rest = long(fn, q.sub(r, q.mul(guess.n, d1)));
    fn.loop(again => {
      fn.if(w.or(q.nonzero(q.shr(guess.n, q.k(32))), q.gt(q.mul(guess.n, d0), q.or(q.shl(rest.n, q.k(32)), next))), () => {
        guess.set(q.sub(guess.n, q.k(1)));
        rest.set(q.add(rest.n, d1));
        fn.brIf(again, q.zero(q.shr(rest.n, q.k(32))));
      });
    });
    return { digit: guess.n, remainder: fn.let(q.sub(q.or(q.shl(r, q.k(32)), next), q.mul(guess.n, divisor))) };
  };
  const first = digit(high, fn.let(q.shr(low, q.k(32))));
  const second = digit(first.remainder, fn.let(q.and(low, q.k(0xffffffffn))));
  return { quotient: fn.let(q.or(q.shl(first.digit, q.k(32)), second.digit)), remainder: second.remainder };
}

function defineDiv(fn: Fn, prepare: number, rounded: number): void {
  binary(fn, DIV, prepare, ({ cpu, am, bm, ea, eb, sa, sb, destination }) => {
    const less = fn.let(q.lt(am, bm));
    const high = fn.let(w.select(am, q.shr(am, q.k(1)), less)), low = fn.let(w.select(q.k(0), q.shl(am, q.k(63)), less));
    const { quotient, remainder } = divide128(fn, high, low, bm);
    // Only below, at or above a half matters.
    const rest = fn.let(w.select(q.k(0), w.select(q.k(0xc000000000000000n), q.k(0x4000000000000000n), q.gt(remainder, q.sub(bm, remainder))), q.zero(remainder)));
    fn.do(w.call(rounded, 0x40, cpu, w.xor(sa, sb), w.sub(w.add(w.sub(ea, eb), k(BIAS)), less), quotient, rest, destination, w.load(cpu, S.fpuControl)));
  });
}

function defineSqrt(fn: Fn, f: Omit<ExtendedFunctions, 'add' | 'sub' | 'mul' | 'div' | 'sqrt'>): void {
  const [cpu, m0, se, destination] = [w.local(0), w.local(1, L), w.local(2), w.local(3)];
  const m = long(fn, m0), e = int(fn, exponentOf(se));
  const invalid = (): void => fn.ret(w.call(f.invalid, I, cpu, destination));
  fn.if(w.eqz(w.and(w.and(normalExponent(se), q.top(m0)), w.eqz(signOf(se)))), () => {
    fn.if(isUnsupported(m0, se), invalid);
    fn.if(isNaN(m0, se), () => fn.ret(w.call(f.nan, I, cpu, m0, se, q.k(0), k(0), destination)));
    fn.if(q.zero(m0), () => { clearC1(fn, cpu); putValue(fn, destination, m0, se); fn.ret(k(0)); });
    fn.if(signOf(se), invalid);
    fn.if(isInfinity(m0, se), () => { clearC1(fn, cpu); putValue(fn, destination, m0, se); fn.ret(k(0)); });
    fn.if(w.call(f.flag, I, cpu, k(FSW.DE)), () => fn.ret(k(1)));
    const shift = fn.let(q.clz(m0));
    m.set(q.shl(m0, shift));
    e.set(w.sub(k(1), q.low(shift)));
  }, undefined, 0);
  // N = m * 2^63 (even true exponent) or m * 2^64: its root has 64 bits. Root of the high word by f64, the low digit by division
  // (Zimmermann, Karatsuba Square Root, 1999), which is at most one too large.
  const odd = fn.let(w.and(w.sub(e.n, k(BIAS)), k(1)));
  const high = fn.let(w.select(m.n, q.shr(m.n, q.k(1)), odd)), low = fn.let(w.select(q.k(0), q.shl(m.n, q.k(63)), odd));
  const s = long(fn, w.op1(0xb1, L, w.op1(0x9f, w.D, w.op1(0xba, w.D, high))));
  fn.if(q.nonzero(q.shr(s.n, q.k(32))), () => s.set(q.k(0xffffffffn)));
  fn.if(q.gt(q.mul(s.n, s.n), high), () => s.set(q.sub(s.n, q.k(1))));
  fn.if(q.gt(q.sub(high, q.mul(s.n, s.n)), q.shl(s.n, q.k(1))), () => s.set(q.add(s.n, q.k(1))));
  const r = fn.let(q.sub(high, q.mul(s.n, s.n)));
  // (r * 2^32 + next) / 2s without overflow: both halved.
  const numerator = fn.let(q.or(q.shl(r, q.k(31)), q.shr(low, q.k(33))));
  const digit = long(fn, q.divu(numerator, s.n));
  fn.if(q.gt(digit.n, q.k(0xffffffffn)), () => digit.set(q.k(0xffffffffn)));
  const root = long(fn, q.add(q.shl(s.n, q.k(32)), digit.n));
  const rh = long(fn, q.k(0)), rl = long(fn, q.k(0));
  fn.loop(again => {
    const square = multiply128(fn, root.n, root.n);
    fn.if(w.or(q.gt(square.high, high), w.and(q.eq(square.high, high), q.gt(square.low, low))), () => { root.set(q.sub(root.n, q.k(1))); fn.br(again); });
    rl.set(q.sub(low, square.low));
    rh.set(q.sub(q.sub(high, square.high), q.from(q.lt(low, square.low))));
  });
  const above = w.or(q.nonzero(rh.n), q.gt(rl.n, root.n));
  const rest = w.select(q.k(0), w.select(q.k(0xc000000000000000n), q.k(0x4000000000000000n), above), q.zero(q.or(rh.n, rl.n)));
  const exponent = w.add(w.sar(w.sub(e.n, k(BIAS)), k(1)), k(BIAS));
  fn.do(w.call(f.rounded, 0x40, cpu, k(0), exponent, root.n, rest, destination, w.load(cpu, S.fpuControl)));
  fn.emit(k(0));
}

/** Adds the functions to a module. */
export function defineExtended(module: ModuleBuilder): ExtendedFunctions {
  const operands = [I, L, I, L, I, I] as const;
  const f = {
    flag: module.declare('flag', [I, I], [I]), rounded: module.declare('x87_rounded', [I, I, I, L, L, I, I], [], true), put: module.declare('put', [I, I, L, I], []),
    invalid: module.declare('invalid', [I, I], [I]), nan: module.declare('nan', operands, [I]),
    add: module.declare('x87_add', operands, [I], true), sub: module.declare('x87_sub', operands, [I], true), mul: module.declare('x87_mul', operands, [I], true), div: module.declare('div', operands, [I]),
    sqrt: module.declare('sqrt', [I, L, I, I], [I]),
  };
  const prepare = module.declare('prepare', [I, I, L, I, L, I, I], [I]);
  module.define(f.flag, defineFlag);
  module.define(f.rounded, fn => defineRounded(fn, f.flag));
  module.define(f.put, fn => putValue(fn, w.local(1), w.local(2, L), w.local(3)));
  module.define(f.invalid, fn => defineInvalid(fn, f.flag));
  module.define(f.nan, fn => defineNan(fn, f.flag));
  module.define(prepare, fn => definePrepare(fn, f));
  const added = (operation: number) => (fn: Fn): void => binary(fn, operation, prepare, o => addNormal(fn, {
    ...o, difference: fn.let(w.xor(o.sa, o.sb)), swap: fn.let(w.or(w.lt(o.ea, o.eb), w.and(w.eq(o.ea, o.eb), q.lt(o.am, o.bm)))),
  }, f.rounded));
  module.define(f.add, added(ADD));
  module.define(f.sub, added(SUB));
  module.define(f.mul, fn => binary(fn, MUL, prepare, o => multiplyNormal(fn, { ...o, sign: fn.let(w.xor(o.sa, o.sb)) }, f.rounded)));
  module.define(f.div, fn => defineDiv(fn, prepare, f.rounded));
  module.define(f.sqrt, fn => defineSqrt(fn, f));
  return f;
}
