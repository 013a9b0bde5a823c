/**
 * SSE and SSE2. Registers live in the state block in both tiers; integer operations are one wasm SIMD instruction, floating point
 * is wasm f64/f32 where the result and the flags are provably the same, and vm/cpu/float otherwise.
 *
 * The f64 fast path: round to nearest, PE already sticky and masked, both operands and the result well inside the normal range.
 * Then the IEEE result is the x86 result and no flag changes (QEMU's hardfloat argument). NaNs never get that far, so the
 * difference between V8's tiers in NaN payloads cannot show.
 */
import { CR0, CR4, S, VEC } from '../state.ts';
import { SHAPES, floatOpNumber, type FloatOp, type Shape } from '../float/ops.ts';
import * as w from '../wasm.ts';
import { D, L, V, simd, type N } from '../wasm.ts';
import type { Cx, Semantics } from './context.ts';

const k = w.k;
const ZERO = (): N => w.op1(simd(0x11), V, k(0));

/** #UD without OS support, #NM with CR0.TS. */
function requireSse(c: Cx): void {
  if (c.sseUsable) return;
  const cr0 = c.let(c.state(S.cr0)), cr4 = c.state(S.cr4);
  c.fn.if(w.or(w.and(cr0, k(CR0.EM | CR0.TS)), w.eqz(w.and(cr4, k(CR4.OSFXSR)))), () => {
    const undefinedOpcode = w.or(w.and(cr0, k(CR0.EM)), w.eqz(w.and(c.state(S.cr4), k(CR4.OSFXSR))));
    c.fn.do(w.call(c.slow.raise, 0x40, c.cpu, w.select(k(VEC.UD), k(VEC.NM), undefinedOpcode), k(-1)));
    c.faultIf();
  }, undefined, 0);
  c.sseUsable = c.sseStays;
}
const sse = (body: Semantics): Semantics => c => { requireSse(c); body(c); };

const isX = (c: Cx, i: number): boolean => c.operandClass(i) === 'V';
/** Whole register or aligned 16 bytes; pinned. */
function load(c: Cx, i: number, aligned = true): N {
  if (isX(c, i)) return c.let(c.getX(i));
  const va = c.pinAddress(c.linear(i, 16, false));
  if (aligned) c.raiseIf(w.and(va, k(15)), VEC.GP, 0);
  return c.readMemory(va, 128);
}
function store(c: Cx, i: number, value: N, aligned = true): void {
  if (isX(c, i)) { c.setX(i, value); return; }
  const v = c.let(value), va = c.pinAddress(c.linear(i, 16, true));
  if (aligned) c.raiseIf(w.and(va, k(15)), VEC.GP, 0);
  c.writeMemory(va, 128, v);
}
/** Low quadword or doubleword, or such a memory operand, at the low end of a vector; pinned. What is above it in a register stays. */
const loadLow = (c: Cx, i: number, bits: 32 | 64): N => isX(c, i) ? c.let(c.getX(i)) : c.readVector(c.linear(i, bits >> 3, false), bits);
const low64 = (c: Cx, i: number, lane = 0): N => isX(c, i) ? c.let(c.getX64(i, lane)) : c.readMemory(c.linear(i, 8, false), 64);
const low32 = (c: Cx, i: number): N => isX(c, i) ? c.let(c.getX32(i)) : c.operandClass(i) === 'R' ? c.let(c.rd(i)) : c.readMemory(c.linear(i, 4, false), 32);
const store64 = (c: Cx, i: number, value: N): void => { if (isX(c, i)) c.setX64(i, value); else c.writeMemory(c.linear(i, 8, true), 64, value); };
/** A quadword with zeros above it. */
const zeroExtended = (x: N): N => w.lane(simd(0x1e), V, 0, ZERO(), x);

const move = (aligned: boolean): Semantics => sse(c => store(c, 0, load(c, 1, aligned), aligned));
/** op xmm, xmm/m128 as one SIMD instruction; `swap` for operations whose second operand comes first. */
const packed = (op: number, swap = false): Semantics => sse(c => {
  const b = load(c, 1), a = c.getX(0);
  c.setX(0, swap ? w.op2(simd(op), V, b, a) : w.op2(simd(op), V, a, b));
});
const compute = (f: (c: Cx, a: N, b: N) => N): Semantics => sse(c => {
  const b = load(c, 1), a = c.let(c.getX(0));
  c.setX(0, f(c, a, b));
});
const lanes8 = (width: number, pick: (i: number) => number): number[] => {
  const result: number[] = [];
  for (let i = 0; i < 16 / width; i++) for (let b = 0; b < width; b++) result.push(pick(i) * width + b);
  return result;
};
/** Interleave low or high halves; lanes of the second operand start at 16/width. */
const unpack = (width: number, high: boolean): Semantics => {
  const count = 16 / width, half = count / 2, from = high ? half : 0;
  return compute((_c, a, b) => w.shuffle(lanes8(width, i => i % 2 ? count + from + (i >> 1) : from + (i >> 1)), a, b));
};
/** The immediate as 0..255. */
const immediate = (c: Cx, i: number): N => w.and(c.imm(i), k(255));
/** Lane `index` (a tree) of a vector spilled to scratch memory. */
const spill = (c: Cx, v: N): void => c.fn.store128(c.cpu, v, S.scratch0);
const picked = (c: Cx, imm: N, shift: number, bits: number, width: number): N => {
  const index = w.and(w.shr(imm, k(shift)), k((1 << bits) - 1));
  return w.add(c.cpu, w.mul(index, k(width)));
};

/**
 * Elements picked by the immediate: element n of the result is element `pick(n, immediate)` of the operands' 16/width and 16/width. Compiled code knows
 * the immediate; tier 0 goes through scratch memory: element n of the half of the result that comes from an operand.
 */
function shuffled(c: Cx, width: number, a: N, b: N, pick: (n: number, imm: number) => number, general: (imm: N) => void): void {
  const imm = c.let(immediate(c, 2));
  if (!w.isConst(imm)) { general(imm); return; }
  c.setX(0, w.shuffle(lanes8(width, n => pick(n, imm.n)), a, b));
}
const pshufd: Semantics = sse(c => {
  const source = load(c, 1);
  shuffled(c, 4, source, source, (n, imm) => imm >> n * 2 & 3, imm => {
    spill(c, source);
    for (let i = 0; i < 4; i++) c.fn.store(c.xmmAddress(0), w.load(picked(c, imm, i * 2, 2, 4), S.scratch0), i * 4);
  });
});
const shuffleWords = (high: boolean): Semantics => sse(c => {
  const source = load(c, 1), base = high ? 8 : 0;
  shuffled(c, 2, source, source, (n, imm) => n >> 2 === (high ? 1 : 0) ? (imm >> (n & 3) * 2 & 3) + base / 2 : n, imm => {
    spill(c, source);
    c.fn.store128(c.xmmAddress(0), source);
    for (let i = 0; i < 4; i++) c.fn.store16(c.xmmAddress(0), w.load16u(picked(c, imm, i * 2, 2, 2), S.scratch0 + base), base + i * 2);
  });
});
const shufps: Semantics = sse(c => {
  const b = load(c, 1), a = c.let(c.getX(0));
  shuffled(c, 4, a, b, (n, imm) => (imm >> n * 2 & 3) + (n < 2 ? 0 : 4), imm => {
    spill(c, a);
    for (let i = 0; i < 2; i++) c.fn.store(c.xmmAddress(0), w.load(picked(c, imm, i * 2, 2, 4), S.scratch0), i * 4);
    spill(c, b);
    for (let i = 2; i < 4; i++) c.fn.store(c.xmmAddress(0), w.load(picked(c, imm, i * 2, 2, 4), S.scratch0), i * 4);
  });
});
const shufpd: Semantics = sse(c => {
  const b = load(c, 1), a = c.let(c.getX(0));
  shuffled(c, 8, a, b, (n, imm) => (imm >> n & 1) + n * 2, imm => {
    spill(c, a);
    c.fn.store64(c.xmmAddress(0), w.load64(picked(c, imm, 0, 1, 8), S.scratch0));
    spill(c, b);
    c.fn.store64(c.xmmAddress(0), w.load64(picked(c, imm, 1, 1, 8), S.scratch0), 8);
  });
});

/** Shifts: the count is the low 64 bits of the source or an immediate; too large a count clears (or fills with the sign). */
const shift = (op: number, width: number, arithmeticShift = false): Semantics => sse(c => {
  const fn = c.fn;
  let count: N;
  if (c.operandClass(1) === 'I') count = c.let(immediate(c, 1));
  else {
    const wide = isX(c, 1) ? c.let(c.getX64(1)) : c.let(w.lane(simd(0x1d), L, 0, load(c, 1)));
    count = c.let(w.select(k(255), w.op1(0xa7, w.I, wide), w.op2(0x56, w.I, wide, w.k64(255n))));
  }
  const a = c.getX(0);
  if (arithmeticShift) {
    const capped = w.select(k(width - 1), count, w.gtu(count, k(width - 1)));
    c.setX(0, w.op2(simd(op), V, a, capped));
    return;
  }
  fn.if(w.gtu(count, k(width - 1)), () => c.setX(0, ZERO()), () => c.setX(0, w.op2(simd(op), V, a, count)));
});
/** Byte shifts of the whole register, through two registers' worth of memory: scratch0-3 hold it, zeros follow by masking. */
const byteShift = (left: boolean): Semantics => sse(c => {
  const fn = c.fn;
  const bits = c.let(w.shl(immediate(c, 1), k(3)));
  const low = c.let(c.getX64(0)), high = c.let(c.getX64(0, 1));
  const wide = (x: N): N => w.op1(0xad, L, x);
  const shl64 = (x: N, n: N): N => w.op2(0x86, L, x, wide(n)), shr64 = (x: N, n: N): N => w.op2(0x88, L, x, wide(n));
  const put = (l: N, h: N): void => { c.setX64(0, l); c.setX64(0, h, 1); };
  const zero = w.k64(0n);
  fn.if(w.geu(bits, k(128)), () => put(zero, zero), () => fn.if(w.geu(bits, k(64)), () => {
    const rest = w.sub(bits, k(64));
    if (left) put(zero, shl64(low, rest)); else put(shr64(high, rest), zero);
  }, () => fn.if(bits, () => {
    const rest = w.sub(k(64), bits);
    if (left) put(shl64(low, bits), w.op2(0x84, L, shl64(high, bits), shr64(low, rest)));
    else put(w.op2(0x84, L, shr64(low, bits), shl64(high, rest)), shr64(high, bits));
  })));
});
/** High halves of 16-bit products. */
const multiplyHigh = (signed: boolean): Semantics => compute((_c, a, b) => {
  const low = w.op2(simd(signed ? 0xbc : 0xbe), V, a, b), high = w.op2(simd(signed ? 0xbd : 0xbf), V, a, b);
  return w.shuffle(lanes8(2, i => i * 2 + 1), low, high);
});
const sumOfDifferences: Semantics = compute((c, a, b) => {
  const difference = c.let(w.op2(simd(0x50), V, w.op2(simd(0x73), V, a, b), w.op2(simd(0x73), V, b, a)));
  // Pairwise widening sums 8 -> 16 -> 32, then the two 32-bit sums of each half.
  const sums = c.let(w.op1(simd(0x7f), V, w.op1(simd(0x7d), V, difference)));
  const folded = w.op2(simd(0xae), V, sums, w.shuffle(lanes8(4, i => i ^ 1), sums, sums));
  // The sum is in both dwords of each half: keep the low one.
  return w.op2(simd(0xcd), V, w.op2(simd(0xcb), V, folded, k(32)), k(32));
});

// ---- floating point
/** Runs an operation in vm/cpu/float; the source is spilled to scratch0. Returns the integer result, pinned. */
function slowFloat(c: Cx, op: FloatOp, shape: Shape, imm: N = k(0)): N {
  const toX = isX(c, 0);
  if (toX) c.spillX(0);
  const value = c.let(w.call(c.slow.float, w.I, c.cpu, k(floatOpNumber(op)), k(SHAPES.indexOf(shape)), toX ? c.xmmAddress(0) : c.cpu, imm));
  if (!c.floatMasked) c.faultIf(c.state(S.fault));
  if (toX) c.fillX(0);
  return value;
}
/** Spills operand i as the unit expects it: 4, 8 or 16 bytes at scratch0. */
function spillSource(c: Cx, i: number, bits: number): void {
  const fn = c.fn;
  if (bits === 128) spill(c, load(c, i));
  else if (bits === 64) fn.store64(c.cpu, low64(c, i), S.scratch0);
  else fn.store(c.cpu, low32(c, i), S.scratch0);
}
const shapeBits: Record<Shape, number> = { ss: 32, sd: 64, ps: 128, pd: 128 };
const abs = (x: N): N => w.op1(0x99, D, x);
const constant = (x: number): N => {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, x);
  return w.op1(0xbf, D, w.k64(view.getBigInt64(0)));
};
/** MXCSR: round to nearest, all exceptions masked, and PE sticky: no arithmetic can fault, and what is merely inexact changes nothing. */
export const QUIET = { mask: 0x7fa0, value: 0x1fa0 } as const;
/** MXCSR: round to nearest, PE masked and sticky. */
const quiet = (c: Cx): N => {
  const found = c.sseQuiet ?? c.let(w.eq(w.and(c.state(S.mxcsr), k(0x7020)), k(0x1020)));
  if (c.sseStays) c.sseQuiet = found;
  return found;
};
const inRange = (x: N): N => w.and(w.op2(0x66, w.I, abs(x), constant(2 ** -1020)), w.op2(0x65, w.I, abs(x), constant(Number.MAX_VALUE)));

const isZero = (x: N): N => w.op2(0x61, w.I, x, constant(0));
const normalOrZero = (x: N): N => w.or(inRange(x), isZero(x));

/** One operation on doubles or floats: wasm opcodes on scalars and vectors. */
const FAST: Partial<Record<FloatOp, { readonly d: number; readonly f: number; readonly pd: number; readonly ps: number }>> = {
  add: { d: 0xa0, f: 0x92, pd: 0xf0, ps: 0xe4 }, sub: { d: 0xa1, f: 0x93, pd: 0xf1, ps: 0xe5 }, mul: { d: 0xa2, f: 0x94, pd: 0xf2, ps: 0xe6 }, div: { d: 0xa3, f: 0x95, pd: 0xf3, ps: 0xe7 },
};
const f64Of = (v: N): N => w.lane(simd(0x21), D, 0, v), f32Of = (v: N): N => w.lane(simd(0x1f), w.F, 0, v);

/**
 * Exponents by integer vector arithmetic: floating-point comparisons cost three times as much. Twice the upper doubleword of a number is
 * its exponent on top, without the sign. For the operands that must not be small; for the result, plus one unit of the exponent, in
 * which infinity and NaN wrap to zero, neither. When the result is finite the operands are, and an infinite divisor gives a zero.
 * The smallest results may have been rounded up from a tiny one, so what is left is at least two units above the denormals.
 */
const UNIT = { d: 0x00200000, f: 0x01000000 } as const;
/** Constants that additions and their like in these instructions want. */
export function splatsOf({ blocks }: { readonly blocks: readonly { readonly insns: readonly { readonly insn: { readonly entry: { readonly name: string } } }[] }[] }): readonly number[] {
  const found = new Set<number>();
  for (const { insns } of blocks) {
    for (const { insn: { entry: { name } } } of insns) {
      const match = /^(add|sub|mul|div)([sp][sd])$/.exec(name);
      if (match) { const unit = match[2][1] === 's' ? UNIT.f : UNIT.d; found.add(unit); if (match[2][0] === 'p') found.add(unit * 3); }
    }
  }
  return [...found];
}
const twice = (v: N): N => w.op2(simd(0xae), V, v, v);
const lesser = (a: N, b: N): N => w.op2(simd(0xb7), V, a, b);

const float = (op: FloatOp, shape: Shape): Semantics => sse(c => {
  const fast = FAST[op], bits = shapeBits[shape];
  if (!fast) {
    spillSource(c, 1, bits);
    slowFloat(c, op, shape, c.operandCount() > 2 ? c.imm(2) : undefined);
    return;
  }
  const single = shape === 'ss' || shape === 'ps', packed = bits === 128, unit = single ? UNIT.f : UNIT.d;
  const calm = quiet(c), b = packed ? load(c, 1) : loadLow(c, 1, bits as 32 | 64), a = c.let(c.getX(0));
  const r = c.let(packed ? w.op2(simd(fast[shape as 'pd' | 'ps']), V, a, b)
    : single ? w.lane(simd(0x20), V, 0, a, w.op2(fast.f, w.F, f32Of(a), f32Of(b))) : w.lane(simd(0x22), V, 0, a, w.op2(fast.d, D, f64Of(a), f64Of(b))));
  const least = lesser(lesser(twice(a), twice(b)), w.op2(simd(0xae), V, twice(r), c.splat(unit)));
  // A vector's lower doublewords of doubles say nothing: shifted out.
  const normal = packed ? w.op1(simd(single ? 0xa3 : 0xc3), w.I, single ? w.op2(simd(0x40), V, least, c.splat(unit * 3)) : w.op2(simd(0xdb), V, w.op2(simd(0xcd), V, least, k(32)), w.op2(simd(0xcd), V, c.splat(unit * 3), k(32))))
    : w.geu(w.lane(simd(0x1b), w.I, single ? 0 : 1, least), k(unit * 3));
  c.fn.if(w.isConst(calm) ? normal : w.and(calm, normal), () => c.setX(0, r), () => {
    const slow = (): void => {
      if (packed) spill(c, b); else if (single) c.fn.store(c.cpu, w.lane(simd(0x1b), w.I, 0, b), S.scratch0); else c.fn.store64(c.cpu, w.lane(simd(0x1d), L, 0, b), S.scratch0);
      slowFloat(c, op, shape);
    };
    if (shape !== 'sd' || op === 'div') { slow(); return; }
    // Zeros that are met on the way to a sum: nothing is rounded, and the sign of 0 + 0 is the same.
    const x = c.let(f64Of(a)), y = c.let(f64Of(b));
    const oneZero = w.or(w.and(isZero(x), normalOrZero(y)), w.and(isZero(y), normalOrZero(x)));
    c.fn.if(op === 'mul' ? oneZero : w.and(w.eq(w.and(c.state(S.mxcsr), k(0x6000)), k(0)), oneZero), () => c.setX(0, r), slow);
  }, 1);
});
const compareFlags = (op: 'ucomi' | 'comi', shape: 'ss' | 'sd'): Semantics => sse(c => {
  const bits = c.fn.newLocal();
  if (shape === 'sd') {
    const source = loadLow(c, 1, 64), a = c.let(f64Of(c.getX(0))), b = c.let(f64Of(source));
    c.fn.if(w.and(normalOrZero(a), normalOrZero(b)), () => c.fn.set(bits, w.or(w.shl(w.op2(0x61, w.I, a, b), k(6)), w.op2(0x63, w.I, a, b))), () => {
      c.fn.store64(c.cpu, w.lane(simd(0x1d), L, 0, source), S.scratch0);
      c.fn.set(bits, slowFloat(c, op, shape));
    }, 1);
  } else {
    spillSource(c, 1, 32);
    c.fn.set(bits, slowFloat(c, op, shape));
  }
  c.settleFlags();
  c.loadArithmeticFlags(w.local(bits));
});
/** Conversions xmm <- anything. */
const convert = (op: FloatOp, shape: Shape, sourceBits: number): Semantics => sse(c => { spillSource(c, 1, sourceBits); slowFloat(c, op, shape); });
/** Conversions general register <- xmm. */
const toInteger = (op: FloatOp, shape: Shape): Semantics => sse(c => {
  const wide = shape === 'sd';
  spillSource(c, 1, wide ? 64 : 32);
  if (op === 'cvttsd2si') {
    const x = c.let(w.loadF64(c.cpu, S.scratch0)), value = c.fn.newLocal();
    const whole = w.op1(0x9d, D, x);
    // Exact, and no denormal: no flags at all.
    c.fn.if(w.and(w.op2(0x63, w.I, abs(x), constant(2 ** 31)), w.op2(0x61, w.I, whole, x)), () => c.fn.set(value, w.op1(0xfc0002, w.I, x)),
      () => c.fn.set(value, slowFloat(c, op, shape)), 1);
    c.wr(0, w.local(value));
    return;
  }
  c.wr(0, slowFloat(c, op, shape));
});

export const SSE: Record<string, Semantics> = {
  movups: move(false), movaps: move(true),
  movss_load: sse(c => { if (isX(c, 1)) c.setX32(0, low32(c, 1)); else c.setX(0, loadLow(c, 1, 32)); }),
  movss_store: sse(c => { if (isX(c, 0)) c.setX32(0, c.let(c.getX32(1))); else c.writeMemory(c.linear(0, 4, true), 32, c.getX32(1)); }),
  movsd_load: sse(c => { if (isX(c, 1)) c.setX64(0, low64(c, 1)); else c.setX(0, loadLow(c, 1, 64)); }),
  movsd_store: sse(c => store64(c, 0, c.let(c.getX64(1)))),
  movd_to: sse(c => c.setX(0, zeroExtended(w.op1(0xad, L, low32(c, 1))))),
  movd_from: sse(c => c.wr(0, c.getX32(1))),
  movq_load: sse(c => c.setX(0, isX(c, 1) ? zeroExtended(c.getX64(1)) : loadLow(c, 1, 64))),
  movq_store: sse(c => { if (isX(c, 0)) c.setX(0, zeroExtended(c.getX64(1))); else store64(c, 0, c.let(c.getX64(1))); }),
  // Register forms: MOVHLPS and MOVLHPS.
  movlps_load: sse(c => c.setX64(0, low64(c, 1, 1))),
  movlps_store: sse(c => store64(c, 0, c.let(c.getX64(1)))),
  movhps_load: sse(c => c.setX64(0, low64(c, 1), 1)),
  movhps_store: sse(c => store64(c, 0, c.let(c.getX64(1, 1)))),
  movddup: sse(c => c.setX(0, w.op1(simd(0x12), V, low64(c, 1)))),
  movsldup: sse(c => { const v = load(c, 1); c.setX(0, w.shuffle(lanes8(4, i => i & ~1), v, v)); }),
  movshdup: sse(c => { const v = load(c, 1); c.setX(0, w.shuffle(lanes8(4, i => i | 1), v, v)); }),
  movmskps: sse(c => c.wr(0, w.op1(simd(0xa4), w.I, c.getX(1)))),
  movmskpd: sse(c => c.wr(0, w.op1(simd(0xc4), w.I, c.getX(1)))),
  pmovmskb: sse(c => c.wr(0, w.op1(simd(0x64), w.I, c.getX(1)))),
  unpcklps: unpack(4, false), unpckhps: unpack(4, true), shufps, shufpd, pshufd, pshuflw: shuffleWords(false), pshufhw: shuffleWords(true),
  punpcklbw: unpack(1, false), punpckhbw: unpack(1, true), punpcklwd: unpack(2, false), punpckhwd: unpack(2, true),
  punpckldq: unpack(4, false), punpckhdq: unpack(4, true), punpcklqdq: unpack(8, false), punpckhqdq: unpack(8, true),
  pinsrw: sse(c => {
    const value = c.isMemory(1) ? c.readMemory(c.linear(1, 2, false), 16) : c.let(c.rd(1));
    const word = w.and(c.imm(2), k(7));
    if (w.isConst(word)) c.setX(0, w.lane(simd(0x1a), V, word.n, c.getX(0), value)); else c.fn.store16(w.add(c.xmmAddress(0), w.shl(word, k(1))), value);
  }),
  pextrw: sse(c => {
    const word = w.and(c.imm(2), k(7));
    c.wr(0, w.isConst(word) ? w.lane(simd(0x19), w.I, word.n, c.getX(1)) : w.load16u(w.add(c.xmmAddress(1), w.shl(word, k(1)))));
  }),
  packsswb: packed(0x65), packuswb: packed(0x66), packssdw: packed(0x85),
  pcmpgtb: packed(0x27), pcmpgtw: packed(0x31), pcmpgtd: packed(0x3b), pcmpeqb: packed(0x23), pcmpeqw: packed(0x2d), pcmpeqd: packed(0x37),
  psrlw: shift(0x8d, 16), psrld: shift(0xad, 32), psrlq: shift(0xcd, 64), psllw: shift(0x8b, 16), pslld: shift(0xab, 32), psllq: shift(0xcb, 64),
  psraw: shift(0x8c, 16, true), psrad: shift(0xac, 32, true), pslldq: byteShift(true), psrldq: byteShift(false),
  paddb: packed(0x6e), paddw: packed(0x8e), paddd: packed(0xae), paddq: packed(0xce), psubb: packed(0x71), psubw: packed(0x91), psubd: packed(0xb1), psubq: packed(0xd1),
  paddsb: packed(0x6f), paddsw: packed(0x8f), paddusb: packed(0x70), paddusw: packed(0x90), psubsb: packed(0x72), psubsw: packed(0x92), psubusb: packed(0x73), psubusw: packed(0x93),
  pmullw: packed(0x95), pmulhw: multiplyHigh(true), pmulhuw: multiplyHigh(false), pmaddwd: packed(0xba),
  pmuludq: compute((c, a, b) => {
    const even = (x: N): N => w.shuffle([0, 1, 2, 3, 8, 9, 10, 11, 0, 1, 2, 3, 8, 9, 10, 11], x, x);
    return w.op2(simd(0xde), V, c.let(even(a)), c.let(even(b)));
  }),
  pminub: packed(0x77), pmaxub: packed(0x79), pminsw: packed(0x96), pmaxsw: packed(0x98), pavgb: packed(0x7b), pavgw: packed(0x9b), psadbw: sumOfDifferences,
  pand: packed(0x4e), pandn: packed(0x4f, true), por: packed(0x50), pxor: packed(0x51),
  ucomiss: compareFlags('ucomi', 'ss'), ucomisd: compareFlags('ucomi', 'sd'), comiss: compareFlags('comi', 'ss'), comisd: compareFlags('comi', 'sd'),
  cvtsi2sd: sse(c => { const v = c.isMemory(1) ? c.readMemory(c.linear(1, 4, false), 32) : c.let(c.rd(1)); c.setX(0, w.lane(simd(0x22), V, 0, c.getX(0), w.op1(0xb7, D, v))); }),
  cvtsi2ss: convert('cvtsi2ss', 'ss', 32),
  cvttsd2si: toInteger('cvttsd2si', 'sd'), cvttss2si: toInteger('cvttss2si', 'ss'), cvtsd2si: toInteger('cvtsd2si', 'sd'), cvtss2si: toInteger('cvtss2si', 'ss'),
  cvtsd2ss: convert('cvtsd2ss', 'sd', 64), cvtss2sd: convert('cvtss2sd', 'ss', 32), cvtpd2ps: convert('cvtpd2ps', 'pd', 128), cvtps2pd: convert('cvtps2pd', 'ps', 64),
  cvtdq2ps: convert('cvtdq2ps', 'ps', 128), cvttps2dq: convert('cvttps2dq', 'ps', 128), cvtps2dq: convert('cvtps2dq', 'ps', 128),
  cvtdq2pd: convert('cvtdq2pd', 'pd', 64), cvttpd2dq: convert('cvttpd2dq', 'pd', 128), cvtpd2dq: convert('cvtpd2dq', 'pd', 128),
};
for (const op of ['add', 'sub', 'mul', 'div', 'min', 'max', 'sqrt', 'cmp'] as const) for (const shape of SHAPES) SSE[`${op}${shape}`] = float(op, shape);
for (const op of ['rcp', 'rsqrt'] as const) for (const shape of ['ps', 'ss'] as const) SSE[`${op}${shape}`] = float(op, shape);
for (const op of ['hadd', 'hsub', 'addsub'] as const) for (const shape of ['ps', 'pd'] as const) SSE[`${op}${shape}`] = float(op, shape);
