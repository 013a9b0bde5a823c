/**
 * FSIN, FCOS, FSINCOS, FPTAN, FPATAN, F2XM1, FYL2X, FYL2XP1 (SDM vol. 1, 8.3.7 to 8.3.10; special operands: vol. 2).
 *
 * Series in fixed-point integers of some 136 bits beyond the leading one, rounded once, so that the result is the rounded value of the
 * function; the processors promise one unit in the last place. The argument of the trigonometric functions is reduced with the
 * processors' pi of 66 bits (SDM vol. 1, 8.3.8): sin(pi rounded to 64 bits) is what they give, not what mathematics gives.
 */
import { S } from '../state.ts';
import { BIAS, FCW, FSW, MAX_EXPONENT, SIGN } from './extended.ts';

/** Numbers that `lower/fpu.ts` passes. */
export const TRANSCENDENTAL = { f2xm1: 0, fyl2x: 1, fptan: 2, fpatan: 3, fyl2xp1: 4, fsincos: 5, fsin: 6, fcos: 7 } as const;

export type Rounded = (cpu: number, sign: number, exponent: number, m: bigint, rest: bigint, destination: number, control: number) => void;

const bitLength = (x: bigint): number => { const text = x.toString(16); return text.length * 4 - Math.clz32(parseInt(text[0], 16)) + 28; };
/** atan(1 / n) or atanh(1 / n) with f fraction bits. */
function inverseSeries(n: bigint, f: number, alternating: boolean): bigint {
  let term = (1n << BigInt(f)) / n, sum = term;
  for (let i = 3n, sign = -1n; term !== 0n; i += 2n, sign = -sign) { term /= n * n; sum += (alternating ? sign : 1n) * term / i; }
  return sum;
}
const CONSTANT_BITS = 640, GUARD = 16;
const constant = (make: (f: number) => bigint): ((f: number) => bigint) => {
  let value: bigint | undefined;
  return f => (value ??= make(CONSTANT_BITS + GUARD)) >> BigInt(CONSTANT_BITS + GUARD - f);
};
const PI = constant(f => 16n * inverseSeries(5n, f, true) - 4n * inverseSeries(239n, f, true));
const LN2 = constant(f => 18n * inverseSeries(26n, f, false) - 2n * inverseSeries(4801n, f, false) + 8n * inverseSeries(8749n, f, false));
/** Pi of the processors: 66 bits, the value is PI66 * 2^-64. */
const PI66 = 0x3243f6a8885a308d3n;

/** e^x - 1, |x| < 1. */
function expMinus1(x: bigint, f: number): bigint {
  const F = BigInt(f), halvings = 8n;
  const y = x >> halvings;
  let term = y, sum = y;
  for (let i = 2n; term !== 0n && term !== -1n; i++) { term = (term * y >> F) / i; sum += term; }
  for (let i = 0n; i < halvings; i++) sum = 2n * sum + (sum * sum >> F);
  return sum;
}
/** atanh(z), |z| < 0.2. */
function atanh(z: bigint, f: number): bigint {
  const F = BigInt(f), square = z * z >> F;
  let term = z, sum = z;
  for (let i = 3n; term !== 0n && term !== -1n; i += 2n) { term = term * square >> F; sum += term / i; }
  return sum;
}
/** Floor of the square root: Newton from above, beginning with the root of the leading bits as a double. */
function root(n: bigint): bigint {
  const shift = BigInt(Math.max(0, bitLength(n) - 100) + 1 >> 1);
  let x = BigInt(Math.ceil(Math.sqrt(Number(n >> 2n * shift)) * (1 + 2 ** -50)) + 1) << shift;
  for (;;) { const y = (x + n / x) >> 1n; if (y >= x) return x; x = y; }
}
/** atan(t), 0 <= t <= 1. */
function arctangent(t: bigint, f: number): bigint {
  const F = BigInt(f), one = 1n << F;
  let x = t;
  for (let i = 0; i < 3; i++) x = (x << F) / (one + root((one << F) + x * x));
  const square = x * x >> F;
  let term = x, sum = x;
  for (let i = 3n, sign = -1n; term !== 0n; i += 2n, sign = -sign) { term = term * square >> F; sum += sign * (term / i); }
  return sum << 3n;
}
/** sin of r, |r| < 0.8, times 2^f. */
function sine(r: bigint, f: number): bigint {
  const F = BigInt(f), square = r * r >> F;
  let term = r, sum = r;
  for (let i = 2n; term !== 0n && term !== -1n; i += 2n) { term = -(term * square >> F) / (i * (i + 1n)); sum += term; }
  return sum;
}
function cosine(r: bigint, f: number): bigint {
  const F = BigInt(f), square = r * r >> F;
  let term = 1n << F, sum = term;
  for (let i = 1n; term !== 0n && term !== -1n; i += 2n) { term = -(term * square >> F) / (i * (i + 1n)); sum += term; }
  return sum;
}

type Kind = 'zero' | 'finite' | 'inf' | 'nan' | 'unsupported';
/** m * 2^e with 64 significant bits. */
interface Value { readonly kind: Kind; readonly negative: boolean; readonly m: bigint; readonly e: number; readonly denormal: boolean; readonly signalling: boolean; readonly raw: bigint; readonly se: number }
/** Significant bits worked with. */
const BITS = 136;
/** An argument below 2^-TINY counts in first order only. */
const TINY = 130;

export class Transcendental {
  private readonly words: Int32Array;
  private readonly view: DataView;
  private readonly base: number;
  private readonly rounded: Rounded;

  constructor(buffer: SharedArrayBuffer, base: number, rounded: Rounded) {
    this.words = new Int32Array(buffer, base, 0x1000 >> 2);
    this.view = new DataView(buffer, base, 0x1000);
    this.base = base;
    this.rounded = rounded;
  }
  // ---- state
  private physical(i: number): number { return this.words[S.fpuTop >> 2] + i & 7; }
  private full(i: number): boolean { return (this.words[S.fpuTag >> 2] >> this.physical(i) & 1) === 1; }
  private slot(i: number): number { return S.fpr + this.physical(i) * 16; }
  private put(slot: number, m: bigint, se: number): void { this.view.setBigUint64(slot, m, true); this.view.setUint16(slot + 8, se, true); }
  private fill(i: number): void { this.words[S.fpuTag >> 2] |= 1 << this.physical(i); }
  /** Sets flags, and C1 as given; true when one of them is unmasked. */
  private flag(flags: number): boolean {
    const words = this.words, unmasked = flags & 0x3f & ~words[S.fpuControl >> 2];
    words[S.fpuStatus >> 2] = words[S.fpuStatus >> 2] & ~FSW.C1 | flags | (unmasked ? FSW.ES | FSW.B : 0);
    return unmasked !== 0;
  }
  private condition2(on: boolean): void { this.words[S.fpuStatus >> 2] = this.words[S.fpuStatus >> 2] & ~FSW.C2 | (on ? FSW.C2 : 0); }
  private read(i: number): Value {
    const slot = this.slot(i), raw = this.view.getBigUint64(slot, true), se = this.view.getUint16(slot + 8, true), exponent = se & MAX_EXPONENT;
    const value = (kind: Kind, m = 0n, e = 0, denormal = false, signalling = false): Value => ({ kind, negative: (se & SIGN) !== 0, m, e, denormal, signalling, raw, se });
    if (exponent !== 0 && raw >> 63n === 0n) return value('unsupported');
    if (exponent === MAX_EXPONENT) return raw << 1n & 0xffffffffffffffffn ? value('nan', 0n, 0, false, (raw >> 62n & 1n) === 0n) : value('inf');
    if (raw === 0n) return value('zero');
    const shift = 64 - bitLength(raw);
    return value('finite', raw << BigInt(shift), (exponent || 1) - BIAS - 63 - shift, exponent === 0);
  }
  // ---- results
  private invalid(slot: number): boolean {
    if (this.flag(FSW.IE)) return false;
    this.put(slot, 0xc000000000000000n, 0xffff);
    return true;
  }
  private zero(slot: number, negative: boolean): boolean { this.flag(0); this.put(slot, 0n, negative ? SIGN : 0); return true; }
  private infinity(slot: number, negative: boolean): boolean { this.flag(0); this.put(slot, 1n << 63n, MAX_EXPONENT | (negative ? SIGN : 0)); return true; }
  /** Rounds magnitude * 2^e. */
  private store(slot: number, negative: boolean, magnitude: bigint, e: number, exact = false): boolean {
    const length = bitLength(magnitude), up = length < 128 ? magnitude << BigInt(128 - length) : magnitude >> BigInt(length - 128);
    const m = up >> 64n, rest = up & 0xffffffffffffffffn | (exact ? 0n : 1n);
    this.rounded(this.base, negative ? SIGN : 0, e + length - 1 + BIAS, BigInt.asIntN(64, m), BigInt.asIntN(64, rest), this.base + slot, this.words[S.fpuControl >> 2] | FCW.PC64);
    return true;
  }
  /** The first-order result m * 2^e, a little less or more than which is the true one. */
  private nearly(slot: number, negative: boolean, m: bigint, e: number, less: boolean): boolean {
    const wide = m << 128n;
    return this.store(slot, negative, less ? wide - 1n : wide, e - 128);
  }

  /** Runs an instruction on the register stack. */
  run(which: number): void {
    switch (which) {
      case TRANSCENDENTAL.f2xm1: this.unary((slot, x) => this.power(slot, x)); return;
      case TRANSCENDENTAL.fsin: case TRANSCENDENTAL.fcos: this.trigonometric(which === TRANSCENDENTAL.fsin ? 'sine' : 'cosine'); return;
      case TRANSCENDENTAL.fsincos: this.trigonometric('both'); return;
      case TRANSCENDENTAL.fptan: this.trigonometric('tangent'); return;
      case TRANSCENDENTAL.fpatan: this.binary((slot, x, y) => this.atan2(slot, x, y)); return;
      case TRANSCENDENTAL.fyl2x: this.binary((slot, x, y) => this.logarithm(slot, x, y)); return;
      default: this.binary((slot, x, y) => this.logarithmPlus1(slot, x, y));
    }
  }
  /** False: stopped. */
  private special(slot: number, ...values: Value[]): boolean | null {
    if (values.some(({ kind }) => kind === 'unsupported')) return this.invalid(slot);
    const nans = values.filter(({ kind }) => kind === 'nan');
    if (nans.length > 0) {
      if (this.flag(nans.some(({ signalling }) => signalling) ? FSW.IE : 0)) return false;
      let [chosen] = nans;
      if (nans.length === 2) {
        const [a, b] = nans, quiet = (v: Value): bigint => v.raw | 1n << 62n;
        if (a.signalling !== b.signalling) chosen = a.signalling ? b : a;
        else if (quiet(a) !== quiet(b)) chosen = quiet(a) > quiet(b) ? a : b;
        else chosen = a.negative ? b : a;
      }
      this.put(slot, chosen.raw | 1n << 62n, chosen.se);
      return true;
    }
    return null;
  }
  private denormal(...values: Value[]): boolean { return values.some(({ denormal }) => denormal) && this.flag(FSW.DE); }
  private unary(body: (slot: number, x: Value) => boolean): void {
    const slot = this.slot(0);
    if (!this.full(0)) { if (!this.flag(FSW.IE | FSW.SF)) { this.put(slot, 0xc000000000000000n, 0xffff); this.fill(0); } return; }
    const x = this.read(0);
    if (this.special(slot, x) === null) body(slot, x);
  }
  /** ST(1) becomes the result, ST(0) is popped. */
  private binary(body: (slot: number, x: Value, y: Value) => boolean): void {
    const slot = this.slot(1), words = this.words;
    let done: boolean;
    if (!this.full(0) || !this.full(1)) {
      done = !this.flag(FSW.IE | FSW.SF);
      if (done) { this.put(slot, 0xc000000000000000n, 0xffff); this.fill(1); }
    } else {
      const x = this.read(0), y = this.read(1);
      done = this.special(slot, x, y) ?? body(slot, x, y);
    }
    if (!done) return;
    words[S.fpuTag >> 2] &= ~(1 << this.physical(0));
    words[S.fpuTop >> 2] = this.physical(1);
  }

  /** A fixed-point number with f fraction bits. */
  private fixed({ m, e }: Value, f: number): bigint { const shift = e + f; return shift >= 0 ? m << BigInt(shift) : m >> BigInt(-shift); }

  private power(slot: number, x: Value): boolean {
    if (x.kind === 'zero') { this.flag(0); return true; }
    if (x.kind === 'inf') { if (x.negative) { this.flag(0); this.put(slot, 1n << 63n, BIAS | SIGN); return true; } return this.infinity(slot, false); }
    if (this.denormal(x)) return false;
    const magnitude = x.e + 64;
    // Outside [-1, 1] the result is undefined: the operand stays.
    if (magnitude > 1 || (magnitude === 1 && x.m !== 1n << 63n)) { this.flag(0); return true; }
    if (magnitude === 1) { this.flag(FSW.PE); this.put(slot, 1n << 63n, x.negative ? BIAS - 1 | SIGN : BIAS); return true; }
    if (magnitude < -TINY) return this.store(slot, x.negative, x.m * LN2(BITS), x.e - BITS);
    const f = BITS - magnitude, y = this.fixed(x, f) * LN2(f) >> BigInt(f), result = expMinus1(x.negative ? -y : y, f);
    return this.store(slot, x.negative, result < 0n ? -result : result, -f);
  }

  private logarithm(slot: number, x: Value, y: Value): boolean {
    if (x.kind === 'zero') {
      if (y.kind === 'zero') return this.invalid(slot);
      if (y.kind === 'inf') return this.infinity(slot, !y.negative);
      if (this.flag(FSW.ZE)) return false;
      this.put(slot, 1n << 63n, MAX_EXPONENT | (y.negative ? 0 : SIGN));
      return true;
    }
    if (x.negative) return this.invalid(slot);
    if (x.kind === 'inf') {
      if (y.kind === 'zero') return this.invalid(slot);
      if (this.denormal(y)) return false;
      return this.infinity(slot, y.negative);
    }
    const one = x.m === 1n << 63n && x.e === -63, below = x.e + 63 < 0;
    if (y.kind === 'inf') {
      if (one) return this.invalid(slot);
      if (this.denormal(x)) return false;
      return this.infinity(slot, y.negative !== below);
    }
    if (this.denormal(x, y)) return false;
    if (y.kind === 'zero' || one) return this.zero(slot, one ? y.negative : y.negative !== below);
    // x = (1 + z) / (1 - z) * 2^k, the fraction between 1/sqrt(2) and sqrt(2).
    const f = 220, F = BigInt(f);
    let k = x.e + 63;
    let m = x.m << BigInt(f - 63);
    if (x.m > 0xb504f333f9de6484n) { m >>= 1n; k++; }
    const unit = 1n << F;
    if (m === unit) {
      // A power of two: exact, but processors call every result of this instruction inexact.
      this.store(slot, y.negative !== k < 0, y.m * BigInt(Math.abs(k)), y.e, true);
      this.flag(FSW.PE | (this.view.getUint16(slot + 8, true) & MAX_EXPONENT ? 0 : FSW.UE));
      return true;
    }
    const log = (BigInt(k) << F) + (2n * atanh(((m - unit) << F) / (m + unit), f) << F) / LN2(f);
    return this.store(slot, y.negative !== log < 0n, (log < 0n ? -log : log) * y.m, y.e - f);
  }
  private logarithmPlus1(slot: number, x: Value, y: Value): boolean {
    const negative = x.negative !== y.negative;
    if (x.kind === 'zero') {
      if (y.kind === 'inf') return this.invalid(slot);
      if (this.denormal(y)) return false;
      return this.zero(slot, negative);
    }
    if (x.kind === 'inf') {
      if (x.negative || y.kind === 'zero') return this.invalid(slot);
      if (this.denormal(y)) return false;
      return this.infinity(slot, y.negative);
    }
    const magnitude = x.e + 64;
    if (x.negative && magnitude > 0) return this.invalid(slot);
    if (y.kind === 'inf') { if (this.denormal(x)) return false; return this.infinity(slot, negative); }
    if (this.denormal(x, y)) return false;
    if (y.kind === 'zero') return this.zero(slot, negative);
    if (magnitude < -TINY) return this.store(slot, negative, (x.m << BigInt(2 * BITS)) / LN2(BITS) * y.m, x.e + y.e - BITS);
    if (magnitude > 0) { // beyond what the instruction is made for: as FYL2X of x + 1
      const f = 220, F = BigInt(f), unit = 1n << F, value = this.fixed(x, f) + unit, k = bitLength(value) - 1 - f, m = k >= 0 ? value >> BigInt(k) : value << BigInt(-k);
      const log = (BigInt(k) << F) + (2n * atanh(((m - unit) << F) / (m + unit), f) << F) / LN2(f);
      return this.store(slot, y.negative, log * y.m, y.e - f);
    }
    const f = BITS - magnitude, F = BigInt(f), v = this.fixed(x, f), signed = x.negative ? -v : v;
    const log = (2n * atanh((signed << F) / ((2n << F) + signed), f) << F) / LN2(f);
    return this.store(slot, negative, (log < 0n ? -log : log) * y.m, y.e - f);
  }

  /** atan2(y, x): ST(1) = y, ST(0) = x. */
  private atan2(slot: number, x: Value, y: Value): boolean {
    const negative = y.negative, f = BITS;
    const angle = (eighths: bigint): boolean => this.store(slot, negative, PI(f) * eighths >> 2n, -f);
    if (x.kind === 'inf') {
      if (y.kind === 'inf') return angle(x.negative ? 3n : 1n);
      if (this.denormal(y)) return false;
      return x.negative ? angle(4n) : this.zero(slot, negative);
    }
    if (y.kind === 'inf') { if (this.denormal(x)) return false; return angle(2n); }
    if (y.kind === 'zero') { if (this.denormal(x)) return false; return x.negative ? angle(4n) : this.zero(slot, negative); }
    if (x.kind === 'zero') { if (this.denormal(y)) return false; return angle(2n); }
    if (this.denormal(x, y)) return false;
    const steep = y.e > x.e || (y.e === x.e && y.m > x.m), [small, large] = steep ? [x, y] : [y, x];
    const scale = small.e - large.e; // the ratio lies between 2^(scale - 1) and 2^(scale + 1)
    if (!steep && !x.negative && scale < -TINY) {
      const ratio = (small.m << BigInt(2 * BITS)) / large.m, exact = ratio * large.m === small.m << BigInt(2 * BITS);
      return this.store(slot, negative, exact ? ratio - 1n : ratio, scale - 2 * BITS);
    }
    const fraction = steep || x.negative ? f : f - scale;
    const shift = fraction + scale;
    const ratio = shift >= 0 ? (small.m << BigInt(shift)) / large.m : (small.m >> BigInt(-shift)) / large.m;
    const base = arctangent(ratio, fraction), pi = PI(fraction);
    const result = steep ? (x.negative ? (pi >> 1n) + base : (pi >> 1n) - base) : x.negative ? pi - base : base;
    return this.store(slot, negative, result, -fraction);
  }

  private trigonometric(what: 'sine' | 'cosine' | 'both' | 'tangent'): void {
    const pushes = what === 'both' || what === 'tangent', slot = this.slot(0), pushed = this.slot(7);
    const push = (): void => { this.words[S.fpuTop >> 2] = this.physical(7); this.fill(0); };
    const nan = (flags: number): void => {
      this.condition2(false);
      if (this.flag(flags)) return;
      this.put(slot, 0xc000000000000000n, 0xffff);
      this.fill(0);
      if (pushes) { this.put(pushed, 0xc000000000000000n, 0xffff); push(); }
    };
    if (!this.full(0)) { nan(FSW.IE | FSW.SF); return; }
    if (pushes && this.full(7)) { nan(FSW.IE | FSW.SF | FSW.C1); return; }
    const x = this.read(0);
    if (x.kind === 'unsupported' || x.kind === 'inf') { nan(FSW.IE); return; }
    if (x.kind === 'nan') {
      this.condition2(false);
      if (this.special(slot, x) === true && pushes) { this.put(pushed, this.view.getBigUint64(slot, true), this.view.getUint16(slot + 8, true)); push(); }
      return;
    }
    if (x.kind === 'finite' && x.e + 64 > 63) { this.flag(0); this.condition2(true); return; }
    this.condition2(false);
    if (this.denormal(x)) return;
    const one = (to: number): void => this.put(to, 1n << 63n, BIAS);
    if (x.kind === 'zero') {
      this.flag(0);
      if (what === 'cosine') one(slot);
      if (pushes) { one(pushed); push(); }
      return;
    }
    // Reduction to a multiple of pi/2 and a rest; all of it exact, because this pi has 66 bits.
    const magnitude = x.e + 64;
    let quadrant = 0, rest: bigint, f: number, negative = x.negative;
    if (magnitude < -TINY) {
      // The cosine is just below 1, the sine just below x, the tangent just above.
      if (what === 'cosine') { this.nearly(slot, false, 1n << 63n, -63, true); return; }
      this.nearly(slot, negative, x.m, x.e, what !== 'tangent');
      if (pushes) { if (what === 'both') this.nearly(pushed, false, 1n << 63n, -63, true); else one(pushed); push(); }
      return;
    }
    const exactBits = Math.max(65, -x.e), value = x.m << BigInt(x.e + exactBits), half = PI66 << BigInt(exactBits - 65);
    // value and half with exactBits fraction bits: half = PI66 * 2^-65
    const turns = (2n * value + half) / (2n * half);
    rest = value - turns * half;
    quadrant = Number(turns & 3n);
    const extra = BITS + (rest === 0n ? 0 : Math.max(0, exactBits - bitLength(rest < 0n ? -rest : rest)));
    f = Math.max(exactBits, extra);
    rest <<= BigInt(f - exactBits);
    // sin(x) and cos(x) for x >= 0 in its quadrant; the sine of the rest is that of the other function in odd ones.
    const sineOf = (): bigint => { const v = quadrant & 1 ? cosine(rest, f) : sine(rest, f); return quadrant & 2 ? -v : v; };
    const cosineOf = (): bigint => { const v = quadrant & 1 ? sine(rest, f) : cosine(rest, f); return quadrant === 1 || quadrant === 2 ? -v : v; };
    const put = (to: number, result: bigint, flip: boolean): void => {
      if (result === 0n) this.put(to, 0n, flip ? SIGN : 0); else this.store(to, result < 0n !== flip, result < 0n ? -result : result, -f);
    };
    if (what === 'sine') put(slot, sineOf(), negative);
    else if (what === 'cosine') put(slot, cosineOf(), false);
    else if (what === 'both') { put(slot, sineOf(), negative); put(pushed, cosineOf(), false); push(); }
    else {
      const c = cosineOf(), quotient = c === 0n ? 0n : (sineOf() << BigInt(2 * BITS)) / c;
      if (quotient === 0n) this.put(slot, 0n, negative ? SIGN : 0); else this.store(slot, quotient < 0n !== negative, quotient < 0n ? -quotient : quotient, -2 * BITS);
      one(pushed);
      push();
    }
  }
}
