/**
 * The SSE floating-point unit in TypeScript: what generated code calls when its fast path does not apply. Operands come in the
 * state block: the destination xmm register and the source in `scratch0` (16 bytes). Sets MXCSR flags; an unmasked exception
 * leaves the destination alone and raises #XM (or #UD without CR4.OSXMMEXCPT).
 *
 * Doubles that are plainly normal take a path over JavaScript numbers: exactness is decided by error-free transformations
 * (Knuth's TwoSum, Dekker's product), so that PE is right without BigInt.
 */
import { CR4, S, VEC } from '../state.ts';
import { FLOAT_OPS, SHAPES, type FloatOp, type Shape } from './ops.ts';
import * as soft from './soft.ts';
import { EX, F32, F64, type Control } from './soft.ts';

const MIN = 2 ** -960, MAX = 2 ** 1000;
const plain = (x: number): boolean => { const m = Math.abs(x); return m >= MIN && m <= MAX; };
const split = (x: number): [number, number] => { const c = 134217729 * x, high = c - (c - x); return [high, x - high]; };
const productIsExact = (a: number, b: number, p: number): boolean => {
  const [ah, al] = split(a), [bh, bl] = split(b);
  return ((ah * bh - p) + ah * bl + al * bh) + al * bl === 0;
};

const single = new DataView(new ArrayBuffer(4));
/**
 * RCPPS, RSQRTPS (SDM vol. 2): processors differ within 1.5 * 2^-12 relative; here it is the value rounded to single precision. Denormal
 * operands count as zero, results below the normal range are zero, no flags.
 */
function estimate(op: 'rcp' | 'rsqrt', bits: number): bigint {
  const exponent = bits >>> 23 & 255, fraction = bits & 0x7fffff, sign = bits & 0x80000000;
  if (exponent === 255 && fraction !== 0) return BigInt((bits | 0x400000) >>> 0);
  if (exponent === 0) return BigInt((sign | 0x7f800000) >>> 0);
  if (op === 'rsqrt' && sign) return 0xffc00000n;
  single.setUint32(0, bits >>> 0);
  const x = single.getFloat32(0);
  single.setFloat32(0, op === 'rcp' ? 1 / x : 1 / Math.sqrt(x));
  const result = single.getUint32(0);
  return BigInt((result & 0x7f800000) === 0 ? sign >>> 0 : result);
}

export class FloatUnit {
  private readonly words: Int32Array;
  private readonly view: DataView;
  /** Base of the vCPU block in the board memory: generated code passes absolute xmm addresses. */
  private readonly base: number;
  private flags = 0;

  constructor(buffer: SharedArrayBuffer, base: number) {
    this.base = base;
    this.words = new Int32Array(buffer, base, 0x1000 >> 2);
    this.view = new DataView(buffer, base, 0x1000);
  }
  private control(): Control {
    const m = this.words[S.mxcsr >> 2];
    return { rounding: m >> 13 & 3, flushToZero: (m & 0x8000) !== 0, denormalsAreZero: (m & 0x40) !== 0, masks: m >> 7 & 63 };
  }

  /** Runs an operation; the result is EFLAGS bits or an integer where the operation has one. Sets state.fault when it raises. */
  run(op: number, shape: number, destination: number, immediate: number): number {
    const c = this.control(), at = destination - this.base;
    this.flags = 0;
    const out = this.compute(FLOAT_OPS[op], SHAPES[shape], at, immediate, c);
    const words = this.words, before = EX.I | EX.D | EX.Z;
    // An unmasked exception found in the operands of any lane stops all lanes before they are rounded.
    if (this.flags & before & ~c.masks) this.flags &= before;
    words[S.mxcsr >> 2] |= this.flags;
    if (this.flags & ~c.masks) {
      words[S.faultVector >> 2] = words[S.cr4 >> 2] & CR4.OSXMMEXCPT ? VEC.XM : VEC.UD;
      words[S.faultError >> 2] = -1;
      words[S.fault >> 2] = 1;
      return 0;
    }
    for (const [lane, bits] of out.lanes) if (out.wide) this.view.setBigUint64(at + lane * 8, bits, true); else this.view.setUint32(at + lane * 4, Number(bits), true);
    return out.value;
  }

  private d64(at: number): bigint { return this.view.getBigUint64(at, true); }
  private d32(at: number): bigint { return BigInt(this.view.getUint32(at, true)); }
  private note(r: soft.Result): bigint { this.flags |= r.flags; return r.bits; }

  private arithmetic(op: FloatOp, f: soft.Format, a: bigint, b: bigint, c: Control, immediate: number): bigint {
    switch (op) {
      case 'add': return this.note(soft.add(f, a, b, c, false));
      case 'sub': return this.note(soft.add(f, a, b, c, true));
      case 'mul': return this.note(soft.multiply(f, a, b, c));
      case 'div': return this.note(soft.divide(f, a, b, c));
      case 'sqrt': return this.note(soft.squareRoot(f, b, c));
      case 'min': return this.note(soft.minMax(f, a, b, c, false));
      case 'max': return this.note(soft.minMax(f, a, b, c, true));
      case 'cmp': {
        const predicate = immediate & 7;
        const { order, flags } = soft.compare(f, a, b, c, predicate === 1 || predicate === 2 || predicate === 5 || predicate === 6);
        this.flags |= flags;
        const positive = [order === 0, order === -1, order === -1 || order === 0, order === 2][predicate & 3];
        return (predicate & 4 ? !positive : positive) ? (1n << BigInt(f.bits)) - 1n : 0n;
      }
      default: throw new Error(`not a lane operation: ${op}`);
    }
  }
  /** Round-to-nearest double arithmetic on plainly normal operands; undefined when it does not apply. */
  private plainDouble(op: FloatOp, at: number, c: Control): boolean {
    if (c.rounding !== 0 || !(c.masks & EX.P)) return false;
    const a = this.view.getFloat64(at, true), b = this.view.getFloat64(S.scratch0, true);
    const zeroA = a === 0, zeroB = b === 0;
    if ((!zeroA && !plain(a)) || (!zeroB && !plain(b))) return false;
    let r: number, exact: boolean;
    switch (op) {
      case 'add': case 'sub': {
        if (zeroA && zeroB) return false;
        const y = op === 'sub' ? -b : b;
        r = a + y;
        const bb = r - a;
        exact = (a - (r - bb)) + (y - bb) === 0;
        if (r !== 0 && !plain(r)) return false;
        break;
      }
      case 'mul': r = a * b; if (zeroA || zeroB) { exact = true; break; } if (!plain(r) || Math.abs(r) < 2 ** -800 || Math.abs(a) > 2 ** 900 || Math.abs(b) > 2 ** 900) return false; exact = productIsExact(a, b, r); break;
      case 'div': if (zeroB || zeroA) return false; r = a / b; if (!plain(r) || Math.abs(a) < 2 ** -800 || Math.abs(r) > 2 ** 900 || Math.abs(b) > 2 ** 900) return false; exact = r * b === a && productIsExact(r, b, a); break;
      case 'sqrt': if (b <= 0 || b < 2 ** -800) return false; r = Math.sqrt(b); exact = r * r === b && productIsExact(r, r, b); break;
      default: return false;
    }
    if (!exact) this.words[S.mxcsr >> 2] |= EX.P;
    this.view.setFloat64(at, r, true);
    return true;
  }

  private compute(op: FloatOp, shape: Shape, at: number, immediate: number, c: Control): { lanes: [number, bigint][]; wide: boolean; value: number } {
    const src = S.scratch0;
    const done = (lanes: [number, bigint][], wide: boolean, value = 0): { lanes: [number, bigint][]; wide: boolean; value: number } => ({ lanes, wide, value });
    const zeroHigh: [number, bigint][] = [[2, 0n], [3, 0n]];
    switch (op) {
      case 'ucomi': case 'comi': {
        const f = shape === 'sd' ? F64 : F32;
        const { order, flags } = shape === 'sd' ? soft.compare(f, this.d64(at), this.d64(src), c, op === 'comi') : soft.compare(f, this.d32(at), this.d32(src), c, op === 'comi');
        this.flags |= flags;
        return done([], false, order === 2 ? 0x45 : order === 0 ? 0x40 : order < 0 ? 1 : 0);
      }
      case 'cvtsi2sd': return done([[0, this.note(soft.fromInt32(F64, this.view.getInt32(src, true), c))]], true);
      case 'cvtsi2ss': return done([[0, this.note(soft.fromInt32(F32, this.view.getInt32(src, true), c))]], false);
      case 'cvttsd2si': case 'cvtsd2si': { const r = soft.toInt32(F64, this.d64(src), c, op === 'cvttsd2si'); this.flags |= r.flags; return done([], false, r.value); }
      case 'cvttss2si': case 'cvtss2si': { const r = soft.toInt32(F32, this.d32(src), c, op === 'cvttss2si'); this.flags |= r.flags; return done([], false, r.value); }
      case 'cvtsd2ss': return done([[0, this.note(soft.convert(F64, F32, this.d64(src), c))]], false);
      case 'cvtss2sd': return done([[0, this.note(soft.convert(F32, F64, this.d32(src), c))]], true);
      case 'cvtpd2ps': return done([...[0, 1].map((i): [number, bigint] => [i, this.note(soft.convert(F64, F32, this.d64(src + i * 8), c))]), ...zeroHigh], false);
      case 'cvtps2pd': return done([0, 1].map((i): [number, bigint] => [i, this.note(soft.convert(F32, F64, this.d32(src + i * 4), c))]), true);
      case 'cvtdq2ps': return done([0, 1, 2, 3].map((i): [number, bigint] => [i, this.note(soft.fromInt32(F32, this.view.getInt32(src + i * 4, true), c))]), false);
      case 'cvtdq2pd': return done([0, 1].map((i): [number, bigint] => [i, this.note(soft.fromInt32(F64, this.view.getInt32(src + i * 4, true), c))]), true);
      case 'cvttps2dq': case 'cvtps2dq': return done([0, 1, 2, 3].map((i): [number, bigint] => {
        const r = soft.toInt32(F32, this.d32(src + i * 4), c, op === 'cvttps2dq');
        this.flags |= r.flags;
        return [i, BigInt(r.value >>> 0)];
      }), false);
      case 'cvttpd2dq': case 'cvtpd2dq': return done([...[0, 1].map((i): [number, bigint] => {
        const r = soft.toInt32(F64, this.d64(src + i * 8), c, op === 'cvttpd2dq');
        this.flags |= r.flags;
        return [i, BigInt(r.value >>> 0)];
      }), ...zeroHigh], false);
      case 'cvtpi2ps': return done([0, 1].map((i): [number, bigint] => [i, this.note(soft.fromInt32(F32, this.view.getInt32(src + i * 4, true), c))]), false);
      case 'cvtpi2pd': return done([0, 1].map((i): [number, bigint] => [i, this.note(soft.fromInt32(F64, this.view.getInt32(src + i * 4, true), c))]), true);
      case 'cvtps2pi': case 'cvttps2pi': case 'cvtpd2pi': case 'cvttpd2pi': return done([0, 1].map((i): [number, bigint] => {
        const double = shape === 'pd', r = soft.toInt32(double ? F64 : F32, double ? this.d64(src + i * 8) : this.d32(src + i * 4), c, op.startsWith('cvtt'));
        this.flags |= r.flags;
        return [i, BigInt(r.value >>> 0)];
      }), false);
      case 'hadd': case 'hsub': case 'addsub': {
        const wide = shape === 'pd', count = wide ? 2 : 4, f = wide ? F64 : F32;
        const lane = (from: number, i: number): bigint => wide ? this.d64(from + i * 8) : this.d32(from + i * 4);
        return done(Array.from({ length: count }, (_, i): [number, bigint] => {
          if (op === 'addsub') return [i, this.note(soft.add(f, lane(at, i), lane(src, i), c, i % 2 === 0))];
          const half = count / 2, from = i < half ? at : src, pair = i % half * 2;
          return [i, this.note(soft.add(f, lane(from, pair), lane(from, pair + 1), c, op === 'hsub'))];
        }), wide);
      }
      case 'rcp': case 'rsqrt': return done(Array.from({ length: shape === 'ps' ? 4 : 1 }, (_, i): [number, bigint] => [i, estimate(op, Number(this.d32(src + i * 4)))]), false);
      default: {
        const wide = shape === 'sd' || shape === 'pd', count = shape === 'ps' ? 4 : shape === 'pd' ? 2 : 1;
        if (shape === 'sd' && this.plainDouble(op, at, c)) return done([], true);
        const lanes: [number, bigint][] = [];
        for (let i = 0; i < count; i++) {
          const a = wide ? this.d64(at + i * 8) : this.d32(at + i * 4), b = wide ? this.d64(src + i * 8) : this.d32(src + i * 4);
          lanes.push([i, this.arithmetic(op, wide ? F64 : F32, a, b, c, immediate)]);
        }
        return done(lanes, wide);
      }
    }
  }
}
