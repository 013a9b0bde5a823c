/** Patterns for 64-bit integers as pairs of 32-bit registers (low, high). */
import { type Node, reads, same } from '../ir.ts';
import { EAX, EDX, I, type Op, R } from '../mir.ts';
import { ACCESSES, OP, OP_NAMES } from '../wasm/opcodes.ts';
import { truncate } from './float.ts';
import { helper } from './calls.ts';
import { CC_NAMES, condition, into32, store32 } from './i32.ts';
import type { Selector } from './selector.ts';

const o = (name: string): number => OP[name] as number;
const PAIRS = new Map<number, readonly [string, string]>([[o('i64.add'), ['add', 'adc']], [o('i64.sub'), ['sub', 'sbb']], [o('i64.and'), ['and', 'and']], [o('i64.or'), ['or', 'or']], [o('i64.xor'), ['xor', 'xor']]]);
const isConst = (x: Op, v: number): boolean => x.k === 'i' && x.sym === undefined && x.v === v;

/** One half of and/or/xor with the constant cases folded. */
function logicHalf(s: Selector, op: string, d: number, a: Op, b: Op): void {
  if (a.k === 'i' && b.k !== 'i') [a, b] = [b, a];
  if (op === 'and') {
    if (isConst(b, 0)) return s.mov(d, I(0));
    if (isConst(b, -1)) return s.mov(d, a);
  } else if (isConst(b, 0)) return s.mov(d, a);
  else if (op === 'or' && isConst(b, -1)) return s.mov(d, I(-1));
  else if (op === 'xor' && isConst(b, -1)) {
    s.mov(d, a);
    return void s.emit('not', [R(d)]);
  }
  s.mov(d, a);
  s.emit(op, [R(d), b]);
}

/** `target = target op value` for memory pairs and variable pairs; see update32. */
export function update64(s: Selector, lowTarget: Op, e: Node, isTarget: (n: Node) => boolean, highTarget?: Op, v = -1): boolean {
  if (e.k !== 'op') return false;
  const ops = PAIRS.get(e.op);
  let a = e.a as Node, b = e.b as Node | undefined;
  if (ops === undefined || b === undefined) return false;
  if (e.op !== o('i64.sub') && !isTarget(a) && isTarget(b)) [a, b] = [b, a];
  if (!isTarget(a) || (v >= 0 && reads(b, v))) return false;
  const high = highTarget ?? (lowTarget.k === 'm' ? { ...lowTarget, disp: (lowTarget.disp + 4) | 0 } : lowTarget);
  let [l, h] = s.pair(b);
  if (lowTarget.k === 'm') {
    if (l.k === 'm') l = R(s.toReg(l));
    if (h.k === 'm') h = R(s.toReg(h));
  }
  const skip = (x: Op): boolean => (ops[0] === 'and' ? isConst(x, -1) : ops[0] === 'or' || ops[0] === 'xor' ? isConst(x, 0) : false);
  if (!skip(l)) s.emit(ops[0], [lowTarget, l]);
  if (!skip(h)) s.emit(ops[1], [high, h]);
  return true;
}

export function store64(s: Selector, op: number, a: Node, off: number, e: Node): void {
  const size = ACCESSES.get(op)?.bytes ?? 8;
  if (size < 8) {
    const w: Node = { k: 'op', t: 'i32', op: o('i32.wrap_i64'), a: e, b: undefined, c: undefined, v: 0, hi: 0, pos: e.pos, vars: e.vars, mem: e.mem, depth: e.depth + 1 };
    return store32(s, size === 4 ? o('i32.store') : size === 2 ? o('i32.store16') : o('i32.store8'), a, off, w);
  }
  const isSame = (n: Node): boolean => n.k === 'load' && n.op === o('i64.load') && n.v === off && same(n.a, a);
  if (e.k === 'op' && PAIRS.has(e.op) && (isSame(e.a as Node) || (e.op !== o('i64.sub') && e.b !== undefined && isSame(e.b)))) {
    const m = s.address(a, off);
    if (update64(s, m, e, isSame)) return;
  }
  if (e.depth > a.depth) {
    const [l, h] = s.pair(e);
    const x = l.k === 'm' ? R(s.toReg(l)) : l, y = h.k === 'm' ? R(s.toReg(h)) : h;
    const m = s.address(a, off);
    s.emit('mov', [m, x]);
    s.emit('mov', [{ ...m, disp: (m.disp + 4) | 0 }, y]);
  } else s.storePair(s.address(a, off), e);
}

/** Sets flags for a 64-bit comparison and returns the condition code. */
export function compare64(s: Selector, n: Node): number {
  const name = OP_NAMES.get(n.op) as string;
  let kind = name.slice(4);
  let [al, ah] = s.pair(n.a as Node);
  if (kind === 'eqz' || kind === 'eq' || kind === 'ne') {
    const [bl, bh]: [Op, Op] = kind === 'eqz' ? [I(0), I(0)] : s.pair(n.b as Node);
    const half = (x: Op, y: Op): number => {
      if (x.k === 'i' && y.k === 'i') return s.copy(I(x.v ^ y.v));
      const t = s.copy(x);
      if (!isConst(y, 0)) s.emit('xor', [R(t), y]);
      return t;
    };
    const cc = kind === 'ne' ? 5 : 4;
    if (isConst(ah, 0) && isConst(bh, 0)) { // both zero-extended
      if (isConst(bl, 0)) {
        const r = s.toReg(al);
        s.emit('test', [R(r), R(r)]);
      } else s.emit('cmp', [R(s.toReg(al)), bl]);
      return cc;
    }
    const x = half(al, bl), y = half(ah, bh);
    s.emit('or', [R(x), R(y)]);
    return cc;
  }
  let [bl, bh] = s.pair(n.b as Node);
  // gt and le: swap, so that only lt and ge remain (the carry chain computes a - b)
  if (kind.startsWith('gt') || kind.startsWith('le')) {
    [al, ah, bl, bh] = [bl, bh, al, ah];
    kind = (kind.startsWith('gt') ? 'lt' : 'ge') + kind.slice(2);
  }
  const signed = kind.endsWith('_s');
  const cc = kind.startsWith('lt') ? (signed ? 12 : 2) : signed ? 13 : 3;
  if (isConst(bl, 0) && isConst(bh, 0) && signed) {
    const r = s.toReg(ah);
    s.emit('test', [R(r), R(r)]);
    return cc === 12 ? 8 : 9;
  }
  const t = s.copy(ah);
  if (al.k === 'i' || (al.k === 'm' && bl.k === 'm')) al = R(s.toReg(al));
  s.emit('cmp', [al, bl]);
  s.emit('sbb', [R(t), bh]);
  return cc;
}

/** Computes an i64 tree into (d, h), which the tree does not read. */
export function into64(s: Selector, n: Node, d: number, h: number): void {
  s.pos = n.pos;
  switch (n.k) {
    case 'const':
    case 'get':
    case 'gget': {
      const [l, u] = s.pair(n);
      s.mov(d, l);
      return s.mov(h, u);
    }
    case 'load': {
      const access = ACCESSES.get(n.op);
      if (access === undefined) s.fail('internal: load');
      const m = s.address(n.a as Node, n.v);
      if (access.bytes === 8) {
        s.mov(d, m);
        return s.mov(h, { ...m, disp: (m.disp + 4) | 0 });
      }
      if (access.bytes === 4) s.mov(d, m);
      else s.emit(access.signed ? 'movsx' : 'movzx', [R(d), m], access.bytes);
      return signHigh(s, d, h, access.signed);
    }
    case 'select': {
      const [al, ah] = s.pair(n.a as Node).map((x) => (x.k === 'r' ? x : R(s.toReg(x)))) as [Op, Op];
      const [bl, bh] = s.pair(n.b as Node).map((x) => (x.k === 'm' ? R(s.toReg(x)) : x)) as [Op, Op];
      const f = condition(s, n.c as Node);
      if (f.with !== undefined) {
        const t = s.reg(), u = s.reg();
        s.emit(`set${CC_NAMES[f.cc] as string}`, [R(t)], 1);
        s.emit(`set${CC_NAMES[f.with.cc] as string}`, [R(u)], 1);
        s.emit(f.with.how, [R(t), R(u)], 4);
        s.emit('test', [R(t), I(1)]);
      }
      const cc = f.with === undefined ? f.cc : 5;
      s.mov(d, bl);
      s.mov(h, bh);
      s.emit(`cmov${CC_NAMES[cc] as string}`, [R(d), al]);
      s.emit(`cmov${CC_NAMES[cc] as string}`, [R(h), ah]);
      return;
    }
    case 'op':
      return operator(s, n, d, h);
  }
}

function signHigh(s: Selector, d: number, h: number, signed: boolean): void {
  if (!signed) return s.mov(h, I(0));
  s.mov(h, R(d));
  s.emit('sar', [R(h), I(31)]);
}

function operator(s: Selector, n: Node, d: number, h: number): void {
  const a = n.a as Node, b = n.b as Node;
  const name = OP_NAMES.get(n.op) as string;
  switch (name) {
    case 'i64.add':
    case 'i64.sub': {
      const ops = PAIRS.get(n.op) as readonly [string, string];
      let x = a, y = b;
      if (name === 'i64.add' && y.depth > x.depth) [x, y] = [y, x];
      const [yl, yh] = y.depth > x.depth ? s.pair(y) : [undefined, undefined];
      const [xl, xh] = s.pair(x);
      const [bl, bh] = yl === undefined || yh === undefined ? s.pair(y) : [yl, yh];
      s.mov(d, xl);
      s.mov(h, xh);
      s.emit(ops[0], [R(d), bl]);
      return void s.emit(ops[1], [R(h), bh]);
    }
    case 'i64.and':
    case 'i64.or':
    case 'i64.xor': {
      const [x, y] = b.depth > a.depth ? [b, a] : [a, b];
      const [al, ah] = s.pair(x), [bl, bh] = s.pair(y);
      const op = name.slice(4);
      logicHalf(s, op, d, al, bl);
      return logicHalf(s, op, h, ah, bh);
    }
    case 'i64.mul':
      return multiply(s, a, b, d, h);
    case 'i64.div_s': return helper(s, '__divdi3', [...s.pair(a), ...s.pair(b)], [d, h]);
    case 'i64.div_u': return helper(s, '__udivdi3', [...s.pair(a), ...s.pair(b)], [d, h]);
    case 'i64.rem_s': return helper(s, '__moddi3', [...s.pair(a), ...s.pair(b)], [d, h]);
    case 'i64.rem_u': return helper(s, '__umoddi3', [...s.pair(a), ...s.pair(b)], [d, h]);
    case 'i64.shl':
    case 'i64.shr_s':
    case 'i64.shr_u':
    case 'i64.rotl':
    case 'i64.rotr':
      return shift(s, name.slice(4), a, b, d, h);
    case 'i64.extend_i32_s':
      into32(s, a, d);
      return signHigh(s, d, h, true);
    case 'i64.extend_i32_u':
      into32(s, a, d);
      return s.mov(h, I(0));
    case 'i64.extend8_s':
    case 'i64.extend16_s':
    case 'i64.extend32_s': {
      const [l] = s.pair(a);
      if (name === 'i64.extend32_s') s.mov(d, l);
      else s.emit('movsx', [R(d), l.k === 'm' ? l : R(s.toReg(l))], name === 'i64.extend8_s' ? 1 : 2);
      return signHigh(s, d, h, true);
    }
    case 'i64.clz': return helper(s, '__clz64', s.pair(a), [d], () => s.mov(h, I(0)));
    case 'i64.ctz': return helper(s, '__ctz64', s.pair(a), [d], () => s.mov(h, I(0)));
    case 'i64.popcnt': return helper(s, '__popcnt64', s.pair(a), [d], () => s.mov(h, I(0)));
    case 'i64.reinterpret_f64': {
      if (a.k === 'load') {
        const m = s.address(a.a as Node, a.v);
        s.mov(d, m);
        return s.mov(h, { ...m, disp: (m.disp + 4) | 0 });
      }
      const x = s.float(a), t = s.xreg();
      s.emit('movd', [R(d), R(x)]);
      s.emit('movaps', [R(t), R(x)], 16);
      s.emit('psrlq', [R(t), I(32)], 16);
      return void s.emit('movd', [R(h), R(t)]);
    }
    default:
      if (name.startsWith('i64.trunc')) return truncate(s, n, [d, h]);
      s.fail(`wasm ${name} is not supported`);
  }
}

function multiply(s: Selector, a: Node, b: Node, d: number, h: number): void {
  const isSigned = (x: Node): boolean => x.k === 'op' && x.op === o('i64.extend_i32_s');
  if (isSigned(a) && isSigned(b)) {
    const x = s.value(a.a as Node), y = s.regOrMem(b.a as Node);
    const held = x.k === 'r' ? x : R(s.toReg(x));
    s.mov(EAX, held);
    s.emit('imul', [y], 4, [EAX], [EAX, EDX]);
    s.mov(d, R(EAX));
    return s.mov(h, R(EDX));
  }
  const [al, ah] = s.pair(a);
  const [bl, bh] = s.pair(b);
  const cross: number[] = [];
  const term = (x: Op, y: Op): void => {
    if (isConst(x, 0) || isConst(y, 0)) return;
    if (x.k === 'i') [x, y] = [y, x];
    const t = s.reg();
    if (y.k === 'i') s.emit('imul', [R(t), x.k === 'i' ? R(s.toReg(x)) : x, y]);
    else {
      s.mov(t, x);
      s.emit('imul', [R(t), y]);
    }
    cross.push(t);
  };
  term(ah, bl);
  term(al, bh);
  const factor = bl.k === 'i' ? R(s.toReg(bl)) : bl;
  s.mov(EAX, al);
  s.emit('mul', [factor], 4, [EAX], [EAX, EDX]);
  s.mov(d, R(EAX));
  s.mov(h, R(EDX));
  for (const t of cross) s.emit('add', [R(h), R(t)]);
}

function shift(s: Selector, kind: string, a: Node, b: Node, d: number, h: number): void {
  if (b.k !== 'const') {
    const count = s.pair(b)[0];
    return helper(s, `__${kind}64`, [...s.pair(a), count], [d, h]);
  }
  const [l, u] = s.pair(a);
  let n = b.v & 63;
  if (kind === 'rotr') {
    n = (64 - n) & 63;
    kind = 'rotl';
  }
  if (n === 0) {
    s.mov(d, l);
    return s.mov(h, u);
  }
  if (kind === 'rotl') {
    const [x, y] = n >= 32 ? [u, l] : [l, u];
    s.mov(d, x);
    s.mov(h, y);
    if ((n & 31) === 0) return;
    const t = s.copy(R(h));
    s.emit('shld', [R(h), R(d), I(n & 31)]);
    return void s.emit('shld', [R(d), R(t), I(n & 31)]);
  }
  if (n >= 32) {
    if (kind === 'shl') {
      s.mov(h, l);
      if (n > 32) s.emit('shl', [R(h), I(n - 32)]);
      return s.mov(d, I(0));
    }
    const op = kind === 'shr_s' ? 'sar' : 'shr';
    s.mov(d, u);
    if (kind === 'shr_s') {
      s.mov(h, R(d));
      s.emit('sar', [R(h), I(31)]);
    } else s.mov(h, I(0));
    if (n > 32) s.emit(op, [R(d), I(n - 32)]);
    return;
  }
  s.mov(d, l);
  s.mov(h, u);
  if (kind === 'shl') {
    s.emit('shld', [R(h), R(d), I(n)]);
    return void s.emit('shl', [R(d), I(n)]);
  }
  s.emit('shrd', [R(d), R(h), I(n)]);
  s.emit(kind === 'shr_s' ? 'sar' : 'shr', [R(h), I(n)]);
}

