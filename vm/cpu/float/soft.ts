/**
 * IEEE 754 arithmetic with x86 SSE rules, exact for every rounding mode, on bit patterns as BigInt. Slow and complete: the fast
 * paths (generated code, unit.ts) hand over whatever is not plainly normal.
 *
 * A finite number is (-1)^sign * m * 2^e with an integer m. Operations compute exactly (division and square root with enough
 * extra bits and a sticky bit) and round once. SDM vol. 1, 4.8, 4.9 and 11.5: flags, masked responses, NaN selection.
 */
export interface Format { readonly bits: number; readonly fraction: number; readonly bias: number }
export const F32: Format = { bits: 32, fraction: 23, bias: 127 };
export const F64: Format = { bits: 64, fraction: 52, bias: 1023 };

/** MXCSR flag bits. */
export const EX = { I: 1, D: 2, Z: 4, O: 8, U: 16, P: 32 } as const;

export interface Control { readonly rounding: number; readonly flushToZero: boolean; readonly denormalsAreZero: boolean; readonly masks: number }
export interface Result { readonly bits: bigint; readonly flags: number }

type Kind = 'zero' | 'finite' | 'inf' | 'qnan' | 'snan';
interface Value { readonly kind: Kind; readonly sign: boolean; readonly m: bigint; readonly e: number; readonly denormal: boolean; readonly bits: bigint }

const mask = (bits: number): bigint => (1n << BigInt(bits)) - 1n;
export const quietNaN = (f: Format): bigint => mask(f.bits - f.fraction) << BigInt(f.fraction) | 1n << BigInt(f.fraction - 1);
const infinity = (f: Format, sign: boolean): bigint => (sign ? 1n << BigInt(f.bits - 1) : 0n) | mask(f.bits - f.fraction - 1) << BigInt(f.fraction);
const zero = (f: Format, sign: boolean): bigint => sign ? 1n << BigInt(f.bits - 1) : 0n;

export function unpack(f: Format, bits: bigint, daz: boolean): Value {
  const sign = bits >> BigInt(f.bits - 1) !== 0n;
  const exponent = Number(bits >> BigInt(f.fraction) & mask(f.bits - f.fraction - 1)), fraction = bits & mask(f.fraction);
  const top = Number(mask(f.bits - f.fraction - 1));
  if (exponent === top) return { kind: fraction === 0n ? 'inf' : fraction >> BigInt(f.fraction - 1) ? 'qnan' : 'snan', sign, m: 0n, e: 0, denormal: false, bits };
  if (exponent === 0) {
    if (fraction === 0n || daz) return { kind: 'zero', sign, m: 0n, e: 0, denormal: false, bits: zero(f, sign) };
    return { kind: 'finite', sign, m: fraction, e: 1 - f.bias - f.fraction, denormal: true, bits };
  }
  return { kind: 'finite', sign, m: fraction | 1n << BigInt(f.fraction), e: exponent - f.bias - f.fraction, denormal: false, bits };
}
const bitLength = (m: bigint): number => m.toString(2).length;

/** Rounds (-1)^sign * m * 2^e (m > 0; bit 0 of m may be a sticky bit below the precision) to the format. */
export function round(f: Format, sign: boolean, m: bigint, e: number, c: Control): Result {
  const precision = f.fraction + 1, minExponent = 1 - f.bias - f.fraction;
  const roundAt = (drop: number): { q: bigint; inexact: boolean } => {
    if (drop <= 0) return { q: m << BigInt(-drop), inexact: false };
    const d = BigInt(drop), q = m >> d, rest = m & (1n << d) - 1n, half = 1n << d - 1n;
    const up = c.rounding === 0 ? rest > half || (rest === half && (q & 1n) === 1n) : c.rounding === 1 ? sign && rest !== 0n : c.rounding === 2 ? !sign && rest !== 0n : false;
    return { q: up ? q + 1n : q, inexact: rest !== 0n };
  };
  const length = bitLength(m);
  // Tininess after rounding: as if the exponent range were unbounded.
  const free = roundAt(length - precision);
  const freeExponent = e + length - precision + (bitLength(free.q) > precision ? 1 : 0);
  const tiny = freeExponent < minExponent;
  if (tiny && c.flushToZero && c.masks & EX.U) return { bits: zero(f, sign), flags: EX.U | EX.P };
  let drop = length - precision;
  if (e + drop < minExponent) drop = minExponent - e;
  let { q, inexact } = roundAt(drop);
  let exponent = e + drop;
  if (bitLength(q) > precision) { q >>= 1n; exponent++; }
  let flags = inexact ? EX.P : 0;
  // Masked: underflow needs tininess and inexactness. Unmasked: tininess alone, and the result is the one with an unbounded exponent.
  if (tiny && !(c.masks & EX.U)) flags = EX.U | (free.inexact ? EX.P : 0);
  else if (tiny && inexact) flags |= EX.U;
  if (q === 0n) return { bits: zero(f, sign), flags };
  const biased = q >> BigInt(f.fraction) === 0n ? 0 : exponent + f.bias + f.fraction;
  if (biased >= Number(mask(f.bits - f.fraction - 1))) {
    const toInfinity = c.rounding === 0 || (c.rounding === 1 && sign) || (c.rounding === 2 && !sign);
    return { bits: toInfinity ? infinity(f, sign) : infinity(f, sign) - 1n, flags: EX.O | (c.masks & EX.O || free.inexact ? EX.P : 0) };
  }
  return { bits: zero(f, sign) | BigInt(biased) << BigInt(f.fraction) | q & mask(f.fraction), flags };
}

const quiet = (f: Format, bits: bigint): bigint => bits | 1n << BigInt(f.fraction - 1);
const isNaN = (v: Value): boolean => v.kind === 'qnan' || v.kind === 'snan';
/** NaN operands: the first one that is a NaN, quieted. */
function nanResult(f: Format, a: Value, b: Value): Result | null {
  if (!isNaN(a) && !isNaN(b)) return null;
  return { bits: quiet(f, isNaN(a) ? a.bits : b.bits), flags: a.kind === 'snan' || b.kind === 'snan' ? EX.I : 0 };
}
const invalid = (f: Format): Result => ({ bits: quietNaN(f), flags: EX.I });
const withDenormal = (r: Result, ...values: Value[]): Result => values.some(v => v.denormal) ? { bits: r.bits, flags: r.flags | EX.D } : r;
/** An unmasked denormal exception comes before the arithmetic. */
const stops = (c: Control, ...values: Value[]): boolean => !(c.masks & EX.D) && values.some(v => v.denormal);

export function add(f: Format, abits: bigint, bbits: bigint, c: Control, subtract: boolean): Result {
  const a = unpack(f, abits, c.denormalsAreZero), b = unpack(f, bbits, c.denormalsAreZero);
  const nan = nanResult(f, a, b);
  if (nan) return nan;
  const bsign = b.sign !== subtract;
  if (a.kind === 'inf' || b.kind === 'inf') {
    if (a.kind === 'inf' && b.kind === 'inf' && a.sign !== bsign) return invalid(f);
    return withDenormal({ bits: infinity(f, a.kind === 'inf' ? a.sign : bsign), flags: 0 }, a, b);
  }
  if (stops(c, a, b)) return { bits: 0n, flags: EX.D };
  const e = Math.min(a.m ? a.e : b.e, b.m ? b.e : a.e);
  const am = a.m ? a.m << BigInt(a.e - e) : 0n, bm = b.m ? b.m << BigInt(b.e - e) : 0n;
  const sum = (a.sign ? -am : am) + (bsign ? -bm : bm);
  if (sum === 0n) return withDenormal({ bits: zero(f, a.m === 0n && b.m === 0n && a.sign === bsign ? a.sign : c.rounding === 1), flags: 0 }, a, b);
  return withDenormal(round(f, sum < 0n, sum < 0n ? -sum : sum, e, c), a, b);
}
export function multiply(f: Format, abits: bigint, bbits: bigint, c: Control): Result {
  const a = unpack(f, abits, c.denormalsAreZero), b = unpack(f, bbits, c.denormalsAreZero);
  const nan = nanResult(f, a, b);
  if (nan) return nan;
  const sign = a.sign !== b.sign;
  if (a.kind === 'inf' || b.kind === 'inf') {
    if (a.kind === 'zero' || b.kind === 'zero') return invalid(f);
    return withDenormal({ bits: infinity(f, sign), flags: 0 }, a, b);
  }
  if (stops(c, a, b)) return { bits: 0n, flags: EX.D };
  if (a.kind === 'zero' || b.kind === 'zero') return withDenormal({ bits: zero(f, sign), flags: 0 }, a, b);
  return withDenormal(round(f, sign, a.m * b.m, a.e + b.e, c), a, b);
}
export function divide(f: Format, abits: bigint, bbits: bigint, c: Control): Result {
  const a = unpack(f, abits, c.denormalsAreZero), b = unpack(f, bbits, c.denormalsAreZero);
  const nan = nanResult(f, a, b);
  if (nan) return nan;
  const sign = a.sign !== b.sign;
  if (a.kind === 'inf') return b.kind === 'inf' ? invalid(f) : withDenormal({ bits: infinity(f, sign), flags: 0 }, b);
  if (b.kind === 'inf') return withDenormal({ bits: zero(f, sign), flags: 0 }, a);
  if (b.kind === 'zero') return a.kind === 'zero' ? invalid(f) : { bits: infinity(f, sign), flags: EX.Z };
  if (stops(c, a, b)) return { bits: 0n, flags: EX.D };
  if (a.kind === 'zero') return withDenormal({ bits: zero(f, sign), flags: 0 }, b);
  const shift = Math.max(0, f.fraction + 3 + bitLength(b.m) - bitLength(a.m));
  const n = a.m << BigInt(shift), q = n / b.m;
  return withDenormal(round(f, sign, q << 1n | (q * b.m === n ? 0n : 1n), a.e - b.e - shift - 1, c), a, b);
}
function integerRoot(n: bigint): bigint {
  let x = 1n << BigInt(bitLength(n) + 1 >> 1);
  for (;;) { const y = (x + n / x) >> 1n; if (y >= x) return x; x = y; }
}
export function squareRoot(f: Format, bits: bigint, c: Control): Result {
  const a = unpack(f, bits, c.denormalsAreZero);
  const nan = nanResult(f, a, a);
  if (nan) return nan;
  if (a.kind === 'zero') return { bits: a.bits, flags: 0 };
  if (a.sign) return invalid(f);
  if (a.kind === 'inf') return { bits, flags: 0 };
  if (stops(c, a)) return { bits: 0n, flags: EX.D };
  let shift = Math.max(0, 2 * (f.fraction + 3) - bitLength(a.m));
  if ((a.e - shift) % 2 !== 0) shift++;
  const n = a.m << BigInt(shift), root = integerRoot(n);
  return withDenormal(round(f, false, root << 1n | (root * root === n ? 0n : 1n), (a.e - shift) / 2 - 1, c), a);
}

/** -1 less, 0 equal, 1 greater, 2 unordered; flags I for signalling NaNs (any NaN if `quietSignals`), D. */
export function compare(f: Format, abits: bigint, bbits: bigint, c: Control, quietSignals: boolean): { order: number; flags: number } {
  const a = unpack(f, abits, c.denormalsAreZero), b = unpack(f, bbits, c.denormalsAreZero);
  if (isNaN(a) || isNaN(b)) return { order: 2, flags: a.kind === 'snan' || b.kind === 'snan' || quietSignals ? EX.I : 0 };
  const flags = a.denormal || b.denormal ? EX.D : 0;
  const key = (v: Value): bigint => {
    const magnitude = v.bits & mask(f.bits - 1);
    return v.sign ? -magnitude : magnitude;
  };
  const x = key(a), y = key(b);
  return { order: x < y ? -1 : x > y ? 1 : 0, flags };
}
/** MIN and MAX: the second operand when either is a NaN or both are zero. */
export function minMax(f: Format, abits: bigint, bbits: bigint, c: Control, wantMax: boolean): Result {
  const { order, flags } = compare(f, abits, bbits, c, true);
  const a = unpack(f, abits, c.denormalsAreZero), b = unpack(f, bbits, c.denormalsAreZero);
  const first = wantMax ? order === 1 : order === -1;
  return { bits: first ? a.bits : b.bits, flags };
}

/** To a signed 32-bit integer; the integer indefinite 80000000h on NaN or overflow. */
export function toInt32(f: Format, bits: bigint, c: Control, truncate: boolean): { value: number; flags: number } {
  const a = unpack(f, bits, c.denormalsAreZero);
  if (a.kind === 'zero') return { value: 0, flags: 0 };
  if (a.kind !== 'finite') return { value: 0x80000000 | 0, flags: EX.I };
  let magnitude: bigint, inexact = false;
  if (a.e >= 0) magnitude = a.e > 64 ? 1n << 64n : a.m << BigInt(a.e);
  else {
    const d = BigInt(-a.e);
    magnitude = a.m >> d;
    const rest = a.m & (1n << d) - 1n, half = 1n << d - 1n;
    inexact = rest !== 0n;
    const rounding = truncate ? 3 : c.rounding;
    if (rounding === 0 ? rest > half || (rest === half && (magnitude & 1n) === 1n) : rounding === 1 ? a.sign && inexact : rounding === 2 ? !a.sign && inexact : false) magnitude++;
  }
  const value = a.sign ? -magnitude : magnitude;
  if (value < -(1n << 31n) || value >= 1n << 31n) return { value: 0x80000000 | 0, flags: EX.I };
  return { value: Number(value), flags: inexact ? EX.P : 0 };
}
export function fromInt32(f: Format, value: number, c: Control): Result {
  if (value === 0) return { bits: 0n, flags: 0 };
  return round(f, value < 0, BigInt(Math.abs(value)), 0, c);
}
export function convert(from: Format, to: Format, bits: bigint, c: Control): Result {
  const a = unpack(from, bits, c.denormalsAreZero);
  if (isNaN(a)) {
    const fraction = a.bits & mask(from.fraction), shift = from.fraction - to.fraction;
    const moved = shift > 0 ? fraction >> BigInt(shift) : fraction << BigInt(-shift);
    return { bits: zero(to, a.sign) | quietNaN(to) & ~zero(to, true) | moved | 1n << BigInt(to.fraction - 1), flags: a.kind === 'snan' ? EX.I : 0 };
  }
  if (a.kind === 'inf') return { bits: infinity(to, a.sign), flags: 0 };
  if (a.kind === 'zero') return { bits: zero(to, a.sign), flags: 0 };
  if (stops(c, a)) return { bits: 0n, flags: EX.D };
  return withDenormal(round(to, a.sign, a.m, a.e, c), a);
}
