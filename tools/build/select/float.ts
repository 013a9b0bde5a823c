/**
 * Patterns for f32 and f64 in SSE2 scalar registers. Rounding, minimum and maximum and the conversions from and to 64-bit integers are
 * calls to helpers (runtime/float.asm.ts): SSE2 has no such instruction and wasm is exact about NaN, -0 and ranges.
 */
import type { Node } from '../ir.ts';
import { I, M, type MBlock, type Op, R, XMM0 } from '../mir.ts';
import { OP_NAMES } from '../wasm/opcodes.ts';
import { emitCall, helper } from './calls.ts';
import { branch, type Flags } from './i32.ts';
import type { Selector } from './selector.ts';

const ARITHMETIC: Readonly<Record<string, string>> = { add: 'add', sub: 'sub', mul: 'mul', div: 'div' };
const COMMUTES = new Set(['add', 'mul']);

/** Register or memory operand of the right width. */
function floatValue(s: Selector, n: Node): Op {
  s.pos = n.pos;
  if (n.k === 'load') return s.address(n.a as Node, n.v);
  if (n.k === 'gget') return M(-1, 0, s.p.globalSymbol(n.v));
  if (n.k === 'const' && (n.v !== 0 || n.hi !== 0)) {
    if (s.p.kernel) s.fail('floating point in the kernel');
    return M(-1, 0, s.p.poolSymbol(n.v, n.hi));
  }
  return R(s.float(n));
}
const move = (s: Selector, d: number, x: Op, double: boolean): void => {
  if (x.k === 'r') {
    if (x.r !== d) s.emit('movaps', [R(d), x], 16);
  } else s.emit(double ? 'movsd' : 'movss', [R(d), x], double ? 8 : 4);
};

export function floatStore(s: Selector, a: Node, off: number, e: Node): void {
  const double = e.t === 'f64';
  if (e.k === 'const' && !double) return void s.emit('mov', [s.address(a, off), I(e.v)]);
  if (e.k === 'op' && OP_NAMES.get(e.op) === 'f32.reinterpret_i32') {
    const r = s.register(e.a as Node);
    return void s.emit('mov', [s.address(a, off), R(r)]);
  }
  const x = s.float(e);
  s.emit(double ? 'movsd' : 'movss', [s.address(a, off), R(x)], double ? 8 : 4);
}

/** Flags of a float comparison. UCOMIS sets ZF PF CF = 111 for unordered (Intel SDM volume 2, UCOMISD). */
export function compareFloat(s: Selector, n: Node): Flags {
  const name = OP_NAMES.get(n.op) as string;
  const kind = name.slice(4);
  let a = n.a as Node, b = n.b as Node;
  if (kind === 'lt' || kind === 'le') [a, b] = [b, a];
  const x = s.float(a), y = floatValue(s, b);
  s.emit(name.startsWith('f64') ? 'ucomisd' : 'ucomiss', [R(x), y], name.startsWith('f64') ? 8 : 4);
  if (kind === 'eq') return { cc: 4, with: { how: 'and', cc: 11 } };
  if (kind === 'ne') return { cc: 5, with: { how: 'or', cc: 10 } };
  return { cc: kind === 'lt' || kind === 'gt' ? 7 : 3 };
}

export function floatInto(s: Selector, n: Node, d: number): void {
  s.pos = n.pos;
  const double = n.t === 'f64';
  switch (n.k) {
    case 'const':
      if (n.v === 0 && n.hi === 0) return void s.emit('xorps', [R(d), R(d)], 16);
      return move(s, d, floatValue(s, n), double);
    case 'get':
      return move(s, d, R(s.lo[n.v] as number), double);
    case 'gget':
    case 'load':
      return move(s, d, floatValue(s, n), double);
    case 'select': {
      const x = s.float(n.a as Node), y = s.float(n.b as Node);
      const yes: MBlock = s.newBlock(), no: MBlock = s.newBlock(), end: MBlock = s.newBlock();
      branch(s, n.c as Node, yes, no);
      s.start(no);
      move(s, d, R(y), double);
      no.next = end;
      s.start(yes);
      move(s, d, R(x), double);
      yes.next = end;
      return s.start(end);
    }
    case 'op':
      return operator(s, n, d, double);
  }
}

function operator(s: Selector, n: Node, d: number, double: boolean): void {
  const a = n.a as Node, b = n.b as Node;
  const name = OP_NAMES.get(n.op) as string;
  const kind = name.slice(4);
  const suffix = double ? 'sd' : 'ss';
  const size = double ? 8 : 4;
  const arithmetic = ARITHMETIC[kind];
  if (arithmetic !== undefined) {
    const [x, y] = COMMUTES.has(kind) && b.depth > a.depth ? [b, a] : [a, b];
    if (y.depth > x.depth) {
      const v = R(s.float(y));
      floatInto(s, x, d);
      return void s.emit(arithmetic + suffix, [R(d), v], size);
    }
    floatInto(s, x, d);
    return void s.emit(arithmetic + suffix, [R(d), floatValue(s, y)], size);
  }
  const sign = double ? [0, 0x80000000 | 0] : [0x80000000 | 0, 0];
  const mask = double ? [-1, 0x7fffffff] : [0x7fffffff, 0];
  const pool = (p: readonly number[]): Op => M(-1, 0, s.p.poolSymbol(p[0] as number, p[1] as number));
  switch (kind) {
    case 'sqrt':
      return void s.emit(`sqrt${suffix}`, [R(d), floatValue(s, a)], size);
    case 'neg':
      floatInto(s, a, d);
      return void s.emit('xorps', [R(d), pool(sign)], 16);
    case 'abs':
      floatInto(s, a, d);
      return void s.emit('andps', [R(d), pool(mask)], 16);
    case 'copysign': {
      const t = s.xreg();
      floatInto(s, b, t);
      s.emit('andps', [R(t), pool(sign)], 16);
      floatInto(s, a, d);
      s.emit('andps', [R(d), pool(mask)], 16);
      return void s.emit('orps', [R(d), R(t)], 16);
    }
    case 'min':
    case 'max':
    case 'ceil':
    case 'floor':
    case 'trunc':
    case 'nearest':
      return floatHelper(s, `__${kind}_${n.t}`, b === undefined ? [a] : [a, b], d);
    case 'convert_i32_s':
      return void s.emit(`cvtsi2${suffix}`, [R(d), s.regOrMem(a)]);
    case 'convert_i32_u': {
      const t = double ? d : s.xreg();
      unsignedToDouble(s, s.regOrMem(a), t);
      if (!double) s.emit('cvtsd2ss', [R(d), R(t)], 8);
      return;
    }
    case 'convert_i64_s':
    case 'convert_i64_u': {
      const [l, h] = s.pair(a);
      if (!double) {
        emitCall(s, kind.endsWith('s') ? '__f32_from_i64' : '__f32_from_u64', [l, h], []);
        return void s.emit('movaps', [R(d), R(XMM0)], 16);
      }
      // high * 2^32 is exact, so there is a single rounding, in the addition.
      const t = s.xreg();
      const high = h.k === 'i' ? R(s.toReg(h)) : h;
      const low = l.k === 'i' ? R(s.toReg(l)) : l;
      if (kind.endsWith('s')) s.emit('cvtsi2sd', [R(d), high]);
      else unsignedToDouble(s, high, d);
      s.emit('mulsd', [R(d), pool([0, 0x41f00000])], 8);
      unsignedToDouble(s, low, t);
      return void s.emit('addsd', [R(d), R(t)], 8);
    }
    case 'promote_f32':
      return void s.emit('cvtss2sd', [R(d), floatValue(s, a)], 4);
    case 'demote_f64':
      return void s.emit('cvtsd2ss', [R(d), floatValue(s, a)], 8);
    case 'reinterpret_i32':
      return void s.emit('movd', [R(d), s.regOrMem(a)]);
    case 'reinterpret_i64': {
      if (a.k === 'load') return void s.emit('movsd', [R(d), s.address(a.a as Node, a.v)], 8);
      const [l, h] = s.pair(a);
      const t = s.xreg();
      s.emit('movd', [R(d), l.k === 'i' ? R(s.toReg(l)) : l]);
      s.emit('movd', [R(t), h.k === 'i' ? R(s.toReg(h)) : h]);
      return void s.emit('punpckldq', [R(d), R(t)], 16);
    }
    default:
      s.fail(`wasm ${name} is not supported`);
  }
}

/** u32 -> f64: the bits of 2^52 + x, minus 2^52. */
function unsignedToDouble(s: Selector, x: Op, d: number): void {
  const bias = M(-1, 0, s.p.poolSymbol(0, 0x43300000));
  s.emit('movd', [R(d), x]);
  s.emit('orps', [R(d), bias], 16);
  s.emit('subsd', [R(d), bias], 8);
}

function floatHelper(s: Selector, symbol: string, args: readonly Node[], d: number): void {
  const values = args.map((x) => R(s.float(x)));
  values.forEach((v, i) => s.emit('movaps', [R(XMM0 + i), v], 16));
  emitCall(s, symbol, [], values.map((_, i) => XMM0 + i));
  s.emit('movaps', [R(d), R(XMM0)], 16);
}

/** Float -> integer: f32 is widened first (exactly), so there are four trapping and four saturating helpers. */
export function truncate(s: Selector, n: Node, d: readonly number[]): void {
  const name = OP_NAMES.get(n.op) as string;
  const saturating = name.includes('_sat');
  const signed = name.endsWith('_s');
  const a = n.a as Node;
  const x = s.float(a);
  if (a.t === 'f32') s.emit('cvtss2sd', [R(XMM0), R(x)], 4);
  else s.emit('movaps', [R(XMM0), R(x)], 16);
  helper(s, `__${saturating ? 'sat' : 'trunc'}_${signed ? 'i' : 'u'}${d.length * 32}`, [], d, undefined, [XMM0]);
}
