/**
 * The x87 register stack in wasm: loads, stores, arithmetic, comparisons, as functions that generated code calls (vm/cpu/lower/fpu.ts).
 * One module, made when the first x87 instruction is met; every vCPU has its own instance.
 *
 * A function does one instruction's work on the state block but for memory: operands come in as values, results of stores go out as
 * values, and what a store does to the status is held back in a scratch word until `stored`, because the write may fault.
 * Stack faults: IE and SF, C1 = 1 on overflow; masked, the result is the default NaN (SDM vol. 1, 8.5.1.1).
 */
import { S } from '../state.ts';
import * as w from '../wasm.ts';
import { I, L, ModuleBuilder, type Fn, type Label, type N, type T } from '../wasm.ts';
import { BIAS, FCW, FSW, INTEGER_BIT, MAX_EXPONENT, SCRATCH, SIGN, arithmetic, arithmeticWith, clearC1, defineExtended, exponentOf, isDenormal, isInfinity, isNaN, isUnsupported, normalExponent, putValue, signOf, type ExtendedFunctions, type InlineFunctions } from './extended.ts';
import { defineMisc } from './misc.ts';
import { Var, int, long, q } from './wide.ts';

const k = w.k;
const QUIET_BIT = 1n << 62n;
export const ARITHMETIC = ['add', 'mul', 'sub', 'subr', 'div', 'divr'] as const;
export type Arithmetic = (typeof ARITHMETIC)[number];
/** `pending` of a store: nothing is to be written. */
export const NO_STORE = 0x80000000 | 0;

/** Every function that generated code may call: parameters behind `cpu`, result. */
export const X87_FUNCTIONS: Readonly<Record<string, { readonly params: readonly T[]; readonly result?: T }>> = {
  ...Object.fromEntries(ARITHMETIC.flatMap(op => [
    [`${op}_top`, { params: [I] }], [`${op}_reg`, { params: [I] }], [`${op}_regp`, { params: [I] }], [`${op}_64`, { params: [L] }], [`${op}_32`, { params: [I] }], [`${op}_int`, { params: [I] }],
  ])),
  push: { params: [L, I] }, push_64: { params: [L] }, push_32: { params: [I] }, push_int: { params: [L] }, push_reg: { params: [I] }, push_bcd: { params: [L, I] },
  st_64: { params: [], result: L }, st_32: { params: [], result: I }, st_int: { params: [I, I], result: L }, st_80: { params: [] }, st_bcd: { params: [], result: L }, stored: { params: [I] },
  store_64: { params: [I] }, store_32: { params: [I] }, store_64p: { params: [I] }, store_32p: { params: [I] }, st_reg: { params: [I, I] }, exchange: { params: [I] }, move_if: { params: [I, I] },
  com: { params: [I, I, I], result: I }, com_64: { params: [L, I] }, com_32: { params: [I, I] }, com_int: { params: [I, I] }, test: { params: [] },
  sign: { params: [I] }, examine: { params: [] }, sqrt_top: { params: [] }, rint: { params: [] }, scale: { params: [] }, extract: { params: [] }, remainder: { params: [I] },
  transcendental: { params: [I] },
};

/** Parts of the arithmetic that inline code falls back on (extended.ts). */
export const X87_PARTS: typeof X87_FUNCTIONS = { rounded: { params: [I, I, L, L, I, I] }, add: { params: [L, I, L, I, I], result: I }, sub: { params: [L, I, L, I, I], result: I }, mul: { params: [L, I, L, I, I], result: I } };

/** What the functions of one module share while they are built. */
export interface Builder {
  readonly module: ModuleBuilder;
  readonly f: ExtendedFunctions;
  /** (cpu, destination slot) -> 1 if unmasked: stack underflow, the destination becomes the default NaN. */
  readonly underflow: number;
  /** (cpu, unsigned 64-bit, sign) etc. by name: indices of the exported functions. */
  readonly index: Readonly<Record<string, number>>;
}

/** Registers as a function sees them. */
export class Stack {
  readonly fn: Fn;
  readonly cpu: N;
  readonly top: N;
  private readonly tag: Var;
  constructor(fn: Fn, cpu: N = w.local(0)) { this.fn = fn; this.cpu = cpu; this.top = fn.let(w.load(cpu, S.fpuTop)); this.tag = int(fn, w.load(cpu, S.fpuTag)); }
  physical(i: N | number): N { return w.and(w.add(this.top, typeof i === 'number' ? k(i) : i), k(7)); }
  slot(physical: N): N { return w.add(w.add(this.cpu, w.shl(physical, k(4))), k(S.fpr)); }
  /** Whether a physical register holds a value. */
  full(physical: N): N { return w.and(w.shr(this.tag.n, physical), k(1)); }
  private setTag(value: N): void { this.tag.set(value); this.fn.store(this.cpu, this.tag.n, S.fpuTag); }
  /** Whether both hold values. */
  both(a: N, b: N): N { return w.and(w.shr(this.tag.n, a), w.and(w.shr(this.tag.n, b), k(1))); }
  fill(physical: N): void { this.setTag(w.or(this.tag.n, w.shl(k(1), physical))); }
  /** The register on top is no more. */
  pop1(): void {
    this.setTag(w.and(this.tag.n, w.xor(w.shl(k(1), this.top), k(-1))));
    this.fn.store(this.cpu, w.and(w.add(this.top, k(1)), k(7)), S.fpuTop);
  }
  /** Somebody else may have filled a register. */
  reload(): void { this.tag.set(w.load(this.cpu, S.fpuTag)); }
  /** Pops `count` (0, 1 or 2, a tree) registers. */
  pop(count: N): void {
    const { fn, cpu, top } = this;
    const n = fn.let(count);
    fn.if(n, () => {
      const mask = w.and(w.shl(w.sub(w.shl(k(1), n), k(1)), top), k(0x1ff));
      const bits = fn.let(mask);
      fn.store(cpu, w.and(w.load(cpu, S.fpuTag), w.xor(w.or(bits, w.shr(bits, k(8))), k(-1))), S.fpuTag);
      fn.store(cpu, w.and(w.add(top, n), k(7)), S.fpuTop);
    });
  }
}

/** (m, se) of a double or float; a denormal is normalised and marked, a signalling NaN stays one. */
function widen(fn: Fn, bits: N, double: boolean): { m: N; se: N } {
  const fractionBits = double ? 52 : 23, top = double ? 2047 : 255, offset = BIAS - (double ? 1023 : 127), shift = 63 - fractionBits;
  const raw = double ? bits : fn.let(q.from(bits));
  const e = fn.let(w.and(q.low(q.shr(raw, q.k(fractionBits))), k(top)));
  const fraction = fn.let(q.and(raw, q.k((1n << BigInt(fractionBits)) - 1n)));
  const sign = fn.let(w.shl(w.and(q.low(q.shr(raw, q.k(double ? 63 : 31))), k(1)), k(15)));
  const m = long(fn, q.or(q.shl(fraction, q.k(shift)), q.k(INTEGER_BIT))), se = int(fn, w.or(w.add(e, k(offset)), sign));
  fn.if(w.geu(w.sub(e, k(1)), k(top - 1)), () => fn.if(e, () => se.set(w.or(sign, k(MAX_EXPONENT))), () => {
    fn.if(q.zero(fraction), () => { m.set(q.k(0)); se.set(sign); }, () => {
      const zeros = fn.let(q.clz(fraction));
      m.set(q.shl(fraction, zeros));
      // fraction * 2^(1 - bias - fractionBits), as m * 2^(exponent - BIAS - 63)
      se.set(w.or(w.or(sign, k(0x10000)), w.sub(k(offset + 1 + shift), q.low(zeros))));
    });
  }), undefined, 0);
  return { m: m.n, se: se.n };
}
/** (m, se) of a signed integer, i64. */
function fromInteger(fn: Fn, value: N): { m: N; se: N } {
  const negative = fn.let(q.top(value)), magnitude = fn.let(w.select(q.sub(q.k(0), value), value, negative)), zeros = fn.let(q.clz(magnitude));
  const zero = q.zero(magnitude);
  return { m: fn.let(w.select(q.k(0), q.shl(magnitude, zeros), zero)), se: fn.let(w.select(k(0), w.or(w.sub(k(BIAS + 63), q.low(zeros)), w.shl(negative, k(15))), zero)) };
}

function definePush(fn: Fn, b: Builder): void {
  const s = new Stack(fn), m = long(fn, w.local(1, L)), se = int(fn, w.local(2));
  const next = fn.let(w.and(w.sub(s.top, k(1)), k(7)));
  fn.if(s.full(next), () => {
    fn.if(w.call(b.f.flag, I, s.cpu, k(FSW.IE | FSW.SF | FSW.C1)), () => fn.ret());
    m.set(q.k(0xc000000000000000n)); se.set(k(0xffff));
  }, () => clearC1(fn, s.cpu), 0);
  putValue(fn, s.slot(next), m.n, se.n);
  s.fill(next);
  fn.store(s.cpu, next, S.fpuTop);
}
/** A load of a normal double or float, for wherever it is wanted; `slow` does all the others. */
export function pushNormal(fn: Fn, cpu: N, bits: N, double: boolean, slow: () => void): void {
  const s = new Stack(fn, cpu), next = fn.let(w.and(w.sub(s.top, k(1)), k(7)));
  fn.block(done => {
    fn.block(other => {
      const head = fn.let(double ? q.low(q.shr(bits, q.k(52))) : w.shr(bits, k(23))), e = fn.let(w.and(head, k(double ? 0x7ff : 0xff)));
      fn.brIf(other, w.geu(w.sub(e, k(1)), k(double ? 0x7fe : 0xfe)), 0);
      fn.brIf(other, s.full(next), 0);
      const slot = fn.let(s.slot(next));
      fn.store64(slot, q.or(q.shl(double ? bits : q.from(bits), q.k(double ? 11 : 40)), q.k(INTEGER_BIT)));
      fn.store16(slot, w.or(w.shl(w.shr(head, k(double ? 11 : 8)), k(15)), w.add(e, k(BIAS - (double ? 1023 : 127)))), 8);
      s.fill(next);
      fn.store(cpu, next, S.fpuTop);
      clearC1(fn, cpu);
      fn.br(done);
    });
    slow();
  });
}
const definePushFloat = (double: boolean) => (fn: Fn, b: Builder): void => {
  const s = new Stack(fn), { m, se } = widen(fn, w.local(1, double ? L : I), double);
  const next = fn.let(w.and(w.sub(s.top, k(1)), k(7))), quiet = long(fn, m);
  const full = fn.let(s.full(next));
  fn.if(w.or(full, w.geu(w.sub(w.and(se, k(0x17fff)), k(1)), k(0x7ffe))), () => {
    fn.if(full, () => { fn.do(w.call(b.index['push'], 0x40, s.cpu, m, se)); fn.ret(); });
    clearC1(fn, s.cpu);
    // Unmasked or not: the value is loaded.
    fn.if(w.and(se, k(0x10000)), () => fn.drop(w.call(b.f.flag, I, s.cpu, k(FSW.DE))));
    fn.if(w.and(isNaN(m, se), q.zero(q.and(m, q.k(QUIET_BIT)))), () => {
      fn.if(w.call(b.f.flag, I, s.cpu, k(FSW.IE)), () => fn.ret());
      quiet.set(q.or(m, q.k(QUIET_BIT)));
    });
  }, () => clearC1(fn, s.cpu), 0);
  putValue(fn, s.slot(next), quiet.n, se);
  s.fill(next);
  fn.store(s.cpu, next, S.fpuTop);
};


/** ST(0) = ST(0) op a double, both normal; else `slow`. */
function withDouble(s: Stack, f: InlineFunctions, op: 'add' | 'sub' | 'mul', bits: N, slow: Label): void {
  const { fn } = s, head = fn.let(q.low(q.shr(bits, q.k(52)))), e = fn.let(w.and(head, k(0x7ff)));
  fn.brIf(slow, w.geu(w.sub(e, k(1)), k(0x7fe)), 0);
  fn.brIf(slow, w.eqz(s.full(s.top)), 0);
  const m = fn.let(q.or(q.shl(bits, q.k(11)), q.k(INTEGER_BIT)));
  arithmeticWith(fn, f, op, false, s.cpu, fn.let(s.slot(s.top)), m, fn.let(w.add(e, k(BIAS - 1023))), fn.let(w.shl(w.shr(head, k(11)), k(15))), slow);
}
/** The same for generated code. */
export function doubleInline(fn: Fn, cpu: N, f: InlineFunctions, op: 'add' | 'sub' | 'mul', bits: N, otherwise: () => void): void {
  fn.block(done => {
    fn.block(slow => { withDouble(new Stack(fn, cpu), f, op, bits, slow); fn.br(done); });
    otherwise();
  });
}
/** ST(i) = ST(i) op ST(0), or ST(0) = ST(0) op ST(i), and perhaps a pop, for generated code. */
export function registersInline(fn: Fn, cpu: N, f: InlineFunctions, op: 'add' | 'sub' | 'mul', i: N, toTop: boolean, pop: boolean, otherwise: () => void): void {
  fn.block(done => {
    fn.block(slow => {
      const s = new Stack(fn, cpu), other = fn.let(s.physical(i));
      fn.brIf(slow, w.eqz(s.both(s.top, other)), 0);
      const a = fn.let(s.slot(toTop ? s.top : other)), b = fn.let(s.slot(toTop ? other : s.top));
      const stopped = arithmetic(fn, f, op, cpu, fn.let(w.load64(a)), fn.let(w.load16u(a, 8)), fn.let(w.load64(b)), fn.let(w.load16u(b, 8)), a);
      if (pop) fn.if(stopped, () => fn.br(done), () => s.pop1(), 0);
      fn.br(done);
    });
    otherwise();
  });
}

function defineArithmetic(b: Builder, define: (name: string, body: (fn: Fn) => void) => void): void {
  for (const op of ARITHMETIC) {
    const body = op.replace(/r$/, '') as 'add' | 'sub' | 'mul' | 'div', swap = op.endsWith('r');
    // The forms that compilers use are inline; all of them would double the time to make the module.
    const hot = (form: string): boolean => !swap && body !== 'div' && /^(top|regp|64)$/.test(form);
    const apply = (s: Stack, form: string, destination: N, m: N, se: N): N => {
      if (!hot(form)) {
        const dm = w.load64(destination), dse = w.load16u(destination, 8);
        return s.fn.let(swap ? w.call(b.f[body], I, s.cpu, m, se, dm, dse, destination) : w.call(b.f[body], I, s.cpu, dm, dse, m, se, destination));
      }
      const { fn } = s, dm = fn.let(w.load64(destination)), dse = fn.let(w.load16u(destination, 8)), sm = fn.let(m), sse = fn.let(se);
      return arithmetic(fn, b.f, body as 'add', s.cpu, dm, dse, sm, sse, destination);
    };
    define(`${op}_top`, fn => {
      const s = new Stack(fn), other = fn.let(s.physical(w.local(1))), to = fn.let(s.slot(s.top)), from = fn.let(s.slot(other));
      fn.if(w.eqz(s.both(s.top, other)), () => { fn.drop(w.call(b.underflow, I, s.cpu, to)); fn.ret(); }, undefined, 0);
      apply(s, 'top', to, w.load64(from), w.load16u(from, 8));
    });
    for (const pop of [false, true]) define(`${op}_reg${pop ? 'p' : ''}`, fn => {
      const s = new Stack(fn), other = fn.let(s.physical(w.local(1))), to = fn.let(s.slot(other)), from = fn.let(s.slot(s.top));
      const stopped = int(fn);
      fn.if(w.eqz(s.both(s.top, other)), () => { stopped.set(w.call(b.underflow, I, s.cpu, to)); s.reload(); }, () => stopped.set(apply(s, pop ? 'regp' : 'reg', to, w.load64(from), w.load16u(from, 8))), 0);
      if (pop) fn.if(stopped.n, () => fn.ret(), () => s.pop1(), 0);
    });
    const value = (name: string, convert: (fn: Fn) => { m: N; se: N }): void => define(`${op}_${name}`, fn => {
      const s = new Stack(fn), to = fn.let(s.slot(s.top));
      if (body !== 'div' && hot(name)) fn.block(slow => {
        withDouble(s, b.f, body, w.local(1, L), slow);
        fn.ret();
      });
      fn.if(w.eqz(s.full(s.top)), () => { fn.drop(w.call(b.underflow, I, s.cpu, to)); fn.ret(); }, undefined, 0);
      const { m, se } = convert(fn);
      apply(s, '', to, m, se);
    });
    value('64', fn => widen(fn, w.local(1, L), true));
    value('32', fn => widen(fn, w.local(1), false));
    value('int', fn => fromInteger(fn, fn.let(q.fromSigned(w.local(1)))));
  }
}

/**
 * compare(cpu, am, ase, bm, bse, quiet) -> C3 C2 C0, negative: an unmasked exception, which leaves the operands on the stack. Processors
 * set the conditions even then.
 */
function defineCompare(fn: Fn, f: ExtendedFunctions): void {
  const [cpu, am, ase, bm, bse, quiet] = [w.local(0), w.local(1, L), w.local(2), w.local(3, L), w.local(4), w.local(5)];
  const unordered = FSW.C3 | FSW.C2 | FSW.C0;
  const stopped = int(fn, k(0));
  const check = (flags: N): void => fn.if(w.call(f.flag, I, cpu, flags), () => stopped.set(k(NO_STORE)));
  const sa = fn.let(signOf(ase)), sb = fn.let(signOf(bse));
  const am2 = long(fn, am), bm2 = long(fn, bm), ea = int(fn, exponentOf(ase)), eb = int(fn, exponentOf(bse));
  fn.if(w.eqz(w.and(w.and(normalExponent(ase), normalExponent(bse)), q.top(q.and(am, bm)))), () => {
    fn.if(w.or(isUnsupported(am, ase), isUnsupported(bm, bse)), () => { check(k(FSW.IE)); fn.ret(w.or(stopped.n, k(unordered))); });
    const nanA = fn.let(isNaN(am, ase)), nanB = fn.let(isNaN(bm, bse));
    fn.if(w.or(nanA, nanB), () => {
      const signals = w.or(w.and(nanA, q.zero(q.and(am, q.k(QUIET_BIT)))), w.and(nanB, q.zero(q.and(bm, q.k(QUIET_BIT)))));
      check(w.or(signals, w.eqz(quiet)));
      fn.ret(w.or(stopped.n, k(unordered)));
    });
    fn.if(w.or(isDenormal(am, ase), isDenormal(bm, bse)), () => check(k(FSW.DE)), () => clearC1(fn, cpu));
    fn.if(w.and(q.zero(am), q.zero(bm)), () => fn.ret(w.or(stopped.n, k(FSW.C3))));
    // Zero is below every magnitude; pseudo-denormals have exponent 1.
    const place = (m: N, e: N): N => w.select(k(-100), w.add(e, w.eqz(e)), q.zero(m));
    const shiftA = fn.let(w.select(q.k(0), q.clz(am), w.eq(ea.n, k(MAX_EXPONENT)))), shiftB = fn.let(w.select(q.k(0), q.clz(bm), w.eq(eb.n, k(MAX_EXPONENT))));
    ea.set(w.sub(place(am, ea.n), q.low(shiftA))); eb.set(w.sub(place(bm, eb.n), q.low(shiftB)));
    am2.set(q.shl(am, shiftA)); bm2.set(q.shl(bm, shiftB));
  }, () => clearC1(fn, cpu), 0);
  fn.if(w.ne(sa, sb), () => fn.ret(w.or(stopped.n, w.select(k(FSW.C0), k(0), sa))));
  fn.if(w.and(w.eq(ea.n, eb.n), q.eq(am2.n, bm2.n)), () => fn.ret(w.or(stopped.n, k(FSW.C3))));
  const less = w.or(w.lt(ea.n, eb.n), w.and(w.eq(ea.n, eb.n), q.lt(am2.n, bm2.n)));
  fn.emit(w.or(stopped.n, w.select(k(FSW.C0), k(0), w.xor(less, w.ne(sa, k(0))))));
}

function defineComparisons(b: Builder, compare: number, define: (name: string, body: (fn: Fn) => void) => void): void {
  const CONDITIONS = FSW.C3 | FSW.C2 | FSW.C0;
  const set = (fn: Fn, cpu: N, bits: N): void => fn.store(cpu, w.or(w.and(w.load(cpu, S.fpuStatus), k(~CONDITIONS)), w.and(bits, k(CONDITIONS))), S.fpuStatus);
  /** Empty operands: unordered if masked. */
  const empty = (fn: Fn, s: Stack): N => fn.let(w.or(k(CONDITIONS), w.select(k(NO_STORE), k(0), w.call(b.f.flag, I, s.cpu, k(FSW.IE | FSW.SF)))));
  // com(cpu, i, quiet | to EFLAGS << 1, pops) -> ZF PF CF as in EFLAGS. To EFLAGS, all conditions stay, C1 but for an empty register.
  define('com', fn => {
    const s = new Stack(fn), other = fn.let(s.physical(w.local(1))), result = int(fn), how = w.local(2);
    fn.if(w.and(s.full(s.top), s.full(other)), () => {
      const a = fn.let(s.slot(s.top)), c = fn.let(s.slot(other));
      const before = fn.let(w.and(w.load(s.cpu, S.fpuStatus), k(FSW.C1)));
      result.set(w.call(compare, I, s.cpu, w.load64(a), w.load16u(a, 8), w.load64(c), w.load16u(c, 8), w.and(how, k(1))));
      fn.if(w.and(how, k(2)), () => fn.store(s.cpu, w.or(w.load(s.cpu, S.fpuStatus), before), S.fpuStatus));
    }, () => result.set(empty(fn, s)), 1);
    fn.if(w.eqz(w.and(how, k(2))), () => set(fn, s.cpu, result.n));
    fn.if(w.ge(result.n, k(0)), () => s.pop(w.local(3)), undefined, 1);
    // C0 C2 C3 are bits 8 10 14; CF PF ZF are bits 0 2 6.
    fn.emit(w.shr(w.and(result.n, k(CONDITIONS)), k(8)));
  });
  const value = (name: string, convert: (fn: Fn) => { m: N; se: N }, pops: boolean): void => define(name, fn => {
    const s = new Stack(fn), result = int(fn);
    fn.if(s.full(s.top), () => {
      const a = fn.let(s.slot(s.top)), { m, se } = convert(fn);
      result.set(w.call(compare, I, s.cpu, w.load64(a), w.load16u(a, 8), m, se, k(0)));
    }, () => result.set(empty(fn, s)), 1);
    set(fn, s.cpu, result.n);
    if (pops) fn.if(w.ge(result.n, k(0)), () => s.pop(w.local(2)), undefined, 1);
  });
  value('com_64', fn => widen(fn, w.local(1, L), true), true);
  value('com_32', fn => widen(fn, w.local(1), false), true);
  value('com_int', fn => fromInteger(fn, fn.let(q.fromSigned(w.local(1)))), true);
  value('test', () => ({ m: q.k(0), se: k(0) }), false);
}

/** Narrowing of ST(0): the bits of a double or float; what happens to the status waits in `pending`. */
const defineNarrow = (double: boolean) => (fn: Fn): void => {
  const s = new Stack(fn), { cpu } = s;
  const fractionBits = double ? 52 : 23, top = double ? 2047 : 255, offset = BIAS - (double ? 1023 : 127), drop = 63 - fractionBits, signShift = double ? 48 : 16;
  const out = (bits: N): N => double ? bits : q.low(bits);
  const pend = (value: N): void => fn.store(cpu, value, SCRATCH.pending);
  const done = (bits: N): void => fn.ret(out(bits));
  const defaultNaN = q.k(double ? 0xfff8000000000000n : 0xffc00000n);
  fn.if(w.eqz(s.full(s.top)), () => {
    pend(w.or(k(FSW.IE | FSW.SF), w.select(k(0), k(NO_STORE), w.and(w.load(cpu, S.fpuControl), k(FSW.IE)))));
    done(defaultNaN);
  }, undefined, 0);
  const slot = fn.let(s.slot(s.top)), m = fn.let(w.load64(slot)), se = fn.let(w.load16u(slot, 8)), e = fn.let(exponentOf(se)), control = fn.let(w.load(cpu, S.fpuControl));
  const sign = fn.let(q.shl(q.from(signOf(se)), q.k(signShift)));
  const target = fn.let(w.sub(e, k(offset))), fractionMask = (1n << BigInt(fractionBits)) - 1n;
  const field = (exponent: N): N => q.shl(q.from(exponent), q.k(fractionBits));
  const invalid = (): void => { pend(w.or(k(FSW.IE), w.select(k(0), k(NO_STORE), w.and(control, k(FSW.IE))))); };
  fn.if(isUnsupported(m, se), () => { invalid(); done(defaultNaN); });
  fn.if(w.eq(e, k(MAX_EXPONENT)), () => {
    const nan = fn.let(isNaN(m, se));
    pend(k(0));
    fn.if(w.and(nan, q.zero(q.and(m, q.k(QUIET_BIT)))), invalid);
    done(q.or(q.or(sign, field(k(top))), w.select(q.and(q.shr(q.or(m, q.k(QUIET_BIT)), q.k(drop)), q.k(fractionMask)), q.k(0), nan)));
  });
  fn.if(q.zero(m), () => { pend(k(0)); done(sign); });
  // Finite: normalise, round as if the exponent were unbounded, then see.
  const zeros = fn.let(q.clz(m)), n = fn.let(q.shl(m, zeros)), x = fn.let(w.sub(w.add(target, w.eqz(e)), q.low(zeros)));
  const mode = fn.let(w.and(w.shr(control, k(10)), k(3)));
  const roundAt = (high: N, by: N, sticky: N): { value: N; up: N; inexact: N } => {
    // by: 1..64 bits go; the fraction of 2^64 they make, with the sticky bit below.
    const whole = w.gtu(by, k(63)), count = fn.let(q.from(by));
    const fraction = fn.let(q.or(w.select(high, q.shl(high, q.sub(q.k(64), count)), whole), sticky)), kept = fn.let(w.select(q.k(0), q.shr(high, count), whole));
    const inexact = fn.let(q.nonzero(fraction));
    const nearest = w.and(q.top(fraction), w.or(q.nonzero(q.shl(fraction, q.k(1))), q.low(q.and(kept, q.k(1)))));
    const directed = w.and(inexact, w.eq(mode, w.select(k(1), k(2), signOf(se))));
    const up = fn.let(w.select(directed, nearest, mode));
    return { value: fn.let(q.add(kept, q.from(up))), up, inexact };
  };
  const flags = (r: { up: N; inexact: N }): N => w.or(w.shl(r.inexact, k(5)), w.shl(r.up, k(9)));
  const free = roundAt(n, k(drop), q.k(0));
  const carried = fn.let(q.low(q.shr(free.value, q.k(fractionBits + 1))));
  const x1 = fn.let(w.add(x, carried));
  fn.if(w.ge(x1, k(top)), () => {
    const infinite = fn.let(w.or(w.eqz(mode), w.eq(mode, w.select(k(1), k(2), signOf(se)))));
    // Unmasked overflow: nothing is stored, and the result is not known to have been rounded.
    pend(w.select(w.or(k(FSW.OE | FSW.PE), w.shl(infinite, k(9))), k(FSW.OE | NO_STORE), w.and(control, k(FSW.OE))));
    done(q.or(sign, q.sub(field(k(top)), q.from(w.eqz(infinite)))));
  });
  fn.if(w.lt(x1, k(1)), () => {
    const far = fn.let(w.sub(k(drop + 1), x));
    const cut = fn.let(w.select(k(64), far, w.gt(far, k(64))));
    const beyond = w.gt(far, k(64));
    const tiny = roundAt(fn.let(w.select(q.k(0), n, beyond)), cut, q.from(beyond));
    pend(w.select(w.or(flags(tiny), w.shl(tiny.inexact, k(4))), k(FSW.UE | NO_STORE), w.and(control, k(FSW.UE))));
    done(q.or(sign, tiny.value));
  });
  pend(flags(free));
  fn.emit(out(q.or(sign, q.or(field(x1), w.select(q.k(0), q.and(free.value, q.k(fractionMask)), carried)))));
};

/**
 * store_64(cpu, host): ST(0) into memory that is known to be writable, status and stack with it. Normal numbers rounded to nearest
 * and with PE masked inline, everything else through the pair of functions above.
 */
const defineStore = (double: boolean, pop: boolean) => (fn: Fn, b: Builder): void => {
  const cpu = w.local(0), host = w.local(1);
  storeNormal(fn, cpu, host, double, pop, () => {
    const bits = fn.let(w.call(b.index[double ? 'st_64' : 'st_32'], double ? L : I, cpu));
    fn.if(w.ge(w.load(cpu, SCRATCH.pending), k(0)), () => { if (double) fn.store64(host, bits); else fn.store(host, bits); }, undefined, 1);
    fn.do(w.call(b.index['stored'], 0x40, cpu, k(pop ? 1 : 0)));
  });
};
/** The common case of a store, for wherever it is wanted. */
export function storeNormal(fn: Fn, cpu: N, host: N, double: boolean, pop: boolean, otherwise: () => void): void {
  const fractionBits = double ? 52 : 23, top = double ? 2047 : 255, offset = BIAS - (double ? 1023 : 127), drop = 63 - fractionBits;
  fn.block(done => {
    fn.block(slow => {
      const s = new Stack(fn, cpu), slot = fn.let(s.slot(s.top));
      const m = fn.let(w.load64(slot)), se = fn.let(w.load16u(slot, 8)), target = fn.let(w.sub(exponentOf(se), k(offset)));
      fn.brIf(slow, w.geu(w.sub(target, k(1)), k(top - 2)), 0);
      fn.brIf(slow, w.ne(w.and(w.load(cpu, S.fpuControl), k(FCW.RC | FSW.PE)), k(FSW.PE)), 0);
      fn.brIf(slow, w.eqz(s.full(s.top)), 0);
      fn.brIf(slow, w.eqz(q.top(m)), 0);
      const rest = fn.let(q.shl(m, q.k(64 - drop))), kept = fn.let(q.shr(m, q.k(drop)));
      const up = fn.let(w.and(q.top(rest), w.or(q.nonzero(q.shl(rest, q.k(1))), q.low(q.and(kept, q.k(1))))));
      // A carry out of the fraction goes into the exponent, as it should.
      const bits = q.add(q.or(q.shl(q.from(w.or(target, w.shl(w.shr(se, k(15)), k(double ? 11 : 8)))), q.k(fractionBits)), q.and(kept, q.k((1n << BigInt(fractionBits)) - 1n))), q.from(up));
      if (double) fn.store64(host, bits); else fn.store(host, q.low(bits));
      fn.store(cpu, w.or(w.or(w.and(w.load(cpu, S.fpuStatus), k(~FSW.C1)), w.shl(up, k(9))), w.shl(q.nonzero(rest), k(5))), S.fpuStatus);
      if (pop) s.pop1();
      fn.br(done);
    });
    otherwise();
  });
}

/** st_int(cpu, bits, truncate) -> the integer, or the indefinite one. */
function defineStoreInteger(fn: Fn): void {
  const s = new Stack(fn), { cpu } = s, bits = w.local(1);
  const control = fn.let(w.or(w.load(cpu, S.fpuControl), w.select(k(FCW.RC), k(0), w.local(2))));
  const indefinite = fn.let(q.shl(q.k(-1n), q.from(w.sub(bits, k(1)))));
  const invalid = (flags: number): void => {
    fn.store(cpu, w.or(k(flags), w.select(k(0), k(NO_STORE), w.and(control, k(FSW.IE)))), SCRATCH.pending);
    fn.ret(indefinite);
  };
  fn.if(w.eqz(s.full(s.top)), () => invalid(FSW.IE | FSW.SF), undefined, 0);
  const slot = fn.let(s.slot(s.top)), m = fn.let(w.load64(slot)), se = fn.let(w.load16u(slot, 8)), e = fn.let(w.sub(exponentOf(se), k(BIAS)));
  fn.if(w.or(isUnsupported(m, se), w.gt(e, k(63))), () => invalid(FSW.IE));
  const { magnitude, up, inexact } = toInteger(fn, m, se, e, control);
  // Negative: up to 2^(bits - 1); positive: one less. m < 2^63 except at bits = 64, where 2^64 may have wrapped to 0.
  const negative = fn.let(w.ne(signOf(se), k(0)));
  const limit = fn.let(q.add(q.sub(q.shl(q.k(1), q.from(w.sub(bits, k(1)))), q.k(1)), q.from(negative)));
  fn.if(w.or(q.gt(magnitude, limit), w.and(q.zero(magnitude), w.eq(e, k(63)))), () => invalid(FSW.IE));
  fn.store(cpu, w.or(w.shl(inexact, k(5)), w.shl(up, k(9))), SCRATCH.pending);
  fn.emit(w.select(q.sub(q.k(0), magnitude), magnitude, negative));
}
/** |ST(0)| rounded to an integer, exponent e <= 63 (true, unbiased). */
export function toInteger(fn: Fn, m: N, se: N, e: N, control: N): { magnitude: N; up: N; inexact: N } {
  const mode = fn.let(w.and(w.shr(control, k(10)), k(3)));
  const drop = fn.let(w.sub(k(63), e));
  const small = fn.let(w.gtu(drop, k(64))), whole = fn.let(w.eq(drop, k(64))), by = fn.let(q.from(drop));
  const fraction = fn.let(w.select(q.from(q.nonzero(m)), w.select(m, w.select(q.k(0), q.shl(m, q.sub(q.k(64), by)), w.eqz(drop)), whole), small));
  const kept = fn.let(w.select(q.k(0), q.shr(m, by), w.or(small, whole)));
  const inexact = fn.let(q.nonzero(fraction));
  const nearest = w.and(q.top(fraction), w.or(q.nonzero(q.shl(fraction, q.k(1))), q.low(q.and(kept, q.k(1)))));
  const directed = w.and(inexact, w.eq(mode, w.select(k(1), k(2), signOf(se))));
  const up = fn.let(w.select(directed, nearest, mode));
  return { magnitude: fn.let(q.add(kept, q.from(up))), up, inexact };
}

function defineStore80(fn: Fn): void {
  const s = new Stack(fn), { cpu } = s, slot = fn.let(s.slot(s.top));
  fn.if(s.full(s.top), () => {
    fn.store(cpu, k(0), SCRATCH.pending);
    fn.store64(cpu, w.load64(slot), SCRATCH.a); fn.store(cpu, w.load16u(slot, 8), SCRATCH.a + 8);
  }, () => {
    fn.store(cpu, w.or(k(FSW.IE | FSW.SF), w.select(k(0), k(NO_STORE), w.and(w.load(cpu, S.fpuControl), k(FSW.IE)))), SCRATCH.pending);
    fn.store64(cpu, q.k(0xc000000000000000n), SCRATCH.a); fn.store(cpu, k(0xffff), SCRATCH.a + 8);
  }, 1);
}
function defineStored(fn: Fn, b: Builder): void {
  const s = new Stack(fn), pending = fn.let(w.load(s.cpu, SCRATCH.pending));
  fn.if(pending, () => fn.drop(w.call(b.f.flag, I, s.cpu, w.and(pending, k(0xffff)))), () => clearC1(fn, s.cpu));
  fn.if(w.lt(pending, k(0)), () => fn.ret(), undefined, 0);
  s.pop(w.local(1));
}

/** Eighteen decimal digits and a sign (SDM vol. 1, 4.7). */
function definePushBcd(fn: Fn, b: Builder): void {
  const cpu = w.local(0), low = long(fn, w.local(1, L)), value = long(fn, q.k(0)), count = int(fn, k(0));
  const last = fn.let(q.from(w.and(w.local(2), k(0xff))));
  // From the most significant digit: digits 17 and 16 are in byte 8.
  value.set(q.add(q.mul(q.shr(last, q.k(4)), q.k(10)), q.and(last, q.k(15))));
  fn.loop(again => {
    value.set(q.add(q.mul(value.n, q.k(10)), q.shr(low.n, q.k(60))));
    low.set(q.shl(low.n, q.k(4)));
    count.set(w.add(count.n, k(1)));
    fn.brIf(again, w.lt(count.n, k(16)));
  });
  const { m, se } = fromInteger(fn, value.n);
  fn.do(w.call(b.index['push'], 0x40, cpu, m, w.or(se, w.and(w.local(2), k(SIGN)))));
}
/** Result: the low eight bytes; the other two are in scratch a. */
function defineStoreBcd(fn: Fn): void {
  const s = new Stack(fn), { cpu } = s, control = fn.let(w.load(cpu, S.fpuControl));
  const invalid = (flags: number): void => {
    fn.store(cpu, w.or(k(flags), w.select(k(0), k(NO_STORE), w.and(control, k(FSW.IE)))), SCRATCH.pending);
    fn.store(cpu, k(0xffff), SCRATCH.a);
    fn.ret(q.k(0xc000000000000000n));
  };
  fn.if(w.eqz(s.full(s.top)), () => invalid(FSW.IE | FSW.SF));
  const slot = fn.let(s.slot(s.top)), m = fn.let(w.load64(slot)), se = fn.let(w.load16u(slot, 8)), e = fn.let(w.sub(exponentOf(se), k(BIAS)));
  fn.if(w.or(isUnsupported(m, se), w.gt(e, k(62))), () => invalid(FSW.IE));
  const { magnitude, up, inexact } = toInteger(fn, m, se, e, control);
  fn.if(q.gt(magnitude, q.k(999999999999999999n)), () => invalid(FSW.IE));
  fn.store(cpu, w.or(w.shl(inexact, k(5)), w.shl(up, k(9))), SCRATCH.pending);
  const rest = long(fn, magnitude), digits = long(fn, q.k(0)), count = int(fn, k(0));
  fn.loop(again => {
    digits.set(q.or(q.shr(digits.n, q.k(4)), q.shl(q.remu(rest.n, q.k(10)), q.k(60))));
    rest.set(q.divu(rest.n, q.k(10)));
    count.set(w.add(count.n, k(1)));
    fn.brIf(again, w.lt(count.n, k(16)));
  });
  fn.store(cpu, w.or(signOf(se), q.low(q.or(q.remu(rest.n, q.k(10)), q.shl(q.divu(rest.n, q.k(10)), q.k(4))))), SCRATCH.a);
  fn.emit(digits.n);
}

function defineMoves(b: Builder, define: (name: string, body: (fn: Fn) => void) => void): void {
  define('push_reg', fn => {
    const s = new Stack(fn), other = fn.let(s.physical(w.local(1))), from = fn.let(s.slot(other));
    fn.if(s.full(other), () => { fn.do(w.call(b.index['push'], 0x40, s.cpu, w.load64(from), w.load16u(from, 8))); fn.ret(); }, undefined, 1);
    const next = fn.let(w.and(w.sub(s.top, k(1)), k(7)));
    fn.if(w.call(b.underflow, I, s.cpu, s.slot(next)), () => fn.ret());
    fn.store(s.cpu, next, S.fpuTop);
  });
  define('st_reg', fn => {
    const s = new Stack(fn), other = fn.let(s.physical(w.local(1))), to = fn.let(s.slot(other)), from = fn.let(s.slot(s.top));
    fn.if(s.full(s.top), () => {
      clearC1(fn, s.cpu);
      putValue(fn, to, w.load64(from), w.load16u(from, 8));
      s.fill(other);
    }, () => { fn.if(w.call(b.underflow, I, s.cpu, to), () => fn.ret()); s.reload(); }, 1);
    s.pop(w.local(2));
  });
  define('exchange', fn => {
    const s = new Stack(fn), other = fn.let(s.physical(w.local(1))), a = fn.let(s.slot(s.top)), c = fn.let(s.slot(other));
    const full0 = fn.let(s.full(s.top)), fullI = fn.let(s.full(other));
    fn.if(w.and(full0, fullI), () => clearC1(fn, s.cpu), () => {
      fn.if(w.call(b.f.flag, I, s.cpu, k(FSW.IE | FSW.SF)), () => fn.ret());
      fn.if(w.eqz(full0), () => putValue(fn, a, q.k(0xc000000000000000n), k(0xffff)));
      fn.if(w.eqz(fullI), () => putValue(fn, c, q.k(0xc000000000000000n), k(0xffff)));
      s.fill(s.top); s.fill(other);
    }, 1);
    const m = fn.let(w.load64(a)), se = fn.let(w.load16u(a, 8));
    putValue(fn, a, w.load64(c), w.load16u(c, 8));
    putValue(fn, c, m, se);
  });
  // move_if(cpu, i, condition)
  define('move_if', fn => {
    const s = new Stack(fn), other = fn.let(s.physical(w.local(1))), to = fn.let(s.slot(s.top)), from = fn.let(s.slot(other));
    fn.if(w.eqz(w.and(s.full(s.top), s.full(other))), () => { fn.drop(w.call(b.underflow, I, s.cpu, to)); fn.ret(); }, undefined, 0);
    fn.if(w.local(2), () => putValue(fn, to, w.load64(from), w.load16u(from, 8)));
  });
}

function defineUnderflow(fn: Fn, f: ExtendedFunctions): void {
  const cpu = w.local(0), slot = w.local(1);
  fn.if(w.call(f.flag, I, cpu, k(FSW.IE | FSW.SF)), () => fn.ret(k(1)));
  putValue(fn, slot, q.k(0xc000000000000000n), k(0xffff));
  const physical = w.and(w.shr(w.sub(w.sub(slot, cpu), k(S.fpr)), k(4)), k(7));
  fn.store(cpu, w.or(w.load(cpu, S.fpuTag), w.shl(k(1), physical)), S.fpuTag);
  fn.emit(k(0));
}

let compiled: WebAssembly.Module | undefined;
/** The module, compiled once in a process. Imports `env.memory` and `env.transcendental(cpu, number)`. */
export function x87Module(): WebAssembly.Module { return compiled ??= new WebAssembly.Module(buildX87()); }

function buildX87(): Uint8Array {
  const module = new ModuleBuilder('x87');
  const transcendental = module.import('transcendental', [I, I], []);
  const f = defineExtended(module);
  const underflow = module.declare('underflow', [I, I], [I]);
  const compare = module.declare('compare', [I, L, I, L, I, I], [I]);
  const index: Record<string, number> = {};
  for (const [name, { params, result }] of Object.entries(X87_FUNCTIONS)) index[name] = module.declare(`x87_${name}`, [I, ...params], result === undefined ? [] : [result], true);
  const b: Builder = { module, f, underflow, index };
  const define = (name: string, body: (fn: Fn) => void): void => module.define(index[name], body);
  module.define(underflow, fn => defineUnderflow(fn, f));
  module.define(compare, fn => defineCompare(fn, f));
  define('push', fn => definePush(fn, b));
  define('push_64', fn => definePushFloat(true)(fn, b));
  define('push_32', fn => definePushFloat(false)(fn, b));
  define('push_int', fn => { const { m, se } = fromInteger(fn, w.local(1, L)); fn.do(w.call(index['push'], 0x40, w.local(0), m, se)); });
  define('push_bcd', fn => definePushBcd(fn, b));
  defineArithmetic(b, define);
  defineComparisons(b, compare, define);
  define('st_64', defineNarrow(true));
  define('st_32', defineNarrow(false));
  for (const pop of [false, true]) for (const double of [false, true]) define(`store_${double ? 64 : 32}${pop ? 'p' : ''}`, fn => defineStore(double, pop)(fn, b));
  define('st_int', defineStoreInteger);
  define('st_80', defineStore80);
  define('st_bcd', defineStoreBcd);
  define('stored', fn => defineStored(fn, b));
  defineMoves(b, define);
  defineMisc(b, define);
  define('transcendental', fn => fn.do(w.call(transcendental, 0x40, w.local(0), w.local(1))));
  return module.build();
}
export { isInfinity };
