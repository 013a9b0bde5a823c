/** Patterns for 32-bit integers: arithmetic, comparisons fused with branches, read-modify-write on memory, bit counts. */
import { type Node, reads, same } from '../ir.ts';
import { EAX, ECX, EDX, I, M, type MBlock, type MemOp, type Op, R } from '../mir.ts';
import { ACCESSES, OP, OP_NAMES } from '../wasm/opcodes.ts';
import { helper } from './calls.ts';
import { compare64 } from './i64.ts';
import { compareFloat, truncate } from './float.ts';
import type { Selector } from './selector.ts';

const o = (name: string): number => OP[name] as number;
const BINARY = new Map<number, string>([[o('i32.add'), 'add'], [o('i32.sub'), 'sub'], [o('i32.and'), 'and'], [o('i32.or'), 'or'], [o('i32.xor'), 'xor'], [o('i32.mul'), 'imul']]);
const COMMUTES = new Set(['add', 'and', 'or', 'xor', 'imul']);
const SHIFT = new Map<number, string>([[o('i32.shl'), 'shl'], [o('i32.shr_s'), 'sar'], [o('i32.shr_u'), 'shr'], [o('i32.rotl'), 'rol'], [o('i32.rotr'), 'ror']]);
/** Condition code numbers (Intel SDM volume 1, appendix B). */
export const CC = { b: 2, ae: 3, e: 4, ne: 5, be: 6, a: 7, s: 8, ns: 9, p: 10, np: 11, l: 12, ge: 13, le: 14, g: 15 } as const;
export const CC_NAMES = ['o', 'no', 'b', 'ae', 'e', 'ne', 'be', 'a', 's', 'ns', 'p', 'np', 'l', 'ge', 'le', 'g'];
const COMPARE = new Map<number, number>([[o('i32.eq'), 4], [o('i32.ne'), 5], [o('i32.lt_s'), 12], [o('i32.lt_u'), 2], [o('i32.gt_s'), 15], [o('i32.gt_u'), 7], [o('i32.le_s'), 14], [o('i32.le_u'), 6], [o('i32.ge_s'), 13], [o('i32.ge_u'), 3]]);
const SWAPPED: Readonly<Record<number, number>> = { 4: 4, 5: 5, 2: 7, 7: 2, 3: 6, 6: 3, 12: 15, 15: 12, 13: 14, 14: 13 };
const UNSIGNED: Readonly<Record<number, number>> = { 4: 4, 5: 5, 2: 2, 7: 7, 3: 3, 6: 6, 12: 2, 15: 7, 13: 3, 14: 6 };
/** Flags of a comparison: one condition, or both (`and`) / either (`or`) of two: floating-point equality needs the parity flag. */
export type Flags = { readonly cc: number; readonly with?: { readonly how: 'and' | 'or'; readonly cc: number } };

const is = (n: Node | undefined, name: string): n is Node => n !== undefined && n.k !== 'const' && n.op === OP[name];
const isLoad8 = (n: Node): boolean => n.k === 'load' && n.op === o('i32.load8_u');
/** Trees whose value is 0 or 1. */
export const isBoolean = (n: Node): boolean => n.k === 'op' && (COMPARE.has(n.op) || /eqz|\.(eq|ne|lt|gt|le|ge)(_|$)/.test(OP_NAMES.get(n.op) ?? ''));

export function branch(s: Selector, e: Node, yes: MBlock, no: MBlock): void {
  const f = condition(s, e);
  const jumps = s.block.jumps;
  if (f.with === undefined) jumps.push({ cc: f.cc, to: yes });
  else if (f.with.how === 'or') jumps.push({ cc: f.cc, to: yes }, { cc: f.with.cc, to: yes });
  else jumps.push({ cc: f.with.cc ^ 1, to: no }, { cc: f.cc, to: yes });
  s.block.next = no;
}

/** Sets the flags according to a tree used as a truth value. */
export function condition(s: Selector, n: Node): Flags {
  if (n.k === 'op') {
    if (n.op === o('i32.eqz')) return negate(condition(s, n.a as Node));
    const cc = COMPARE.get(n.op);
    if (cc !== undefined) {
      // x == 0, x != 0 as truth values of x
      if (n.b?.k === 'const' && n.b.v === 0 && (cc === 4 || cc === 5)) {
        const f = condition(s, n.a as Node);
        return cc === 5 ? f : negate(f);
      }
      return { cc: compare32(s, n.a as Node, n.b as Node, cc) };
    }
    const name = OP_NAMES.get(n.op) ?? '';
    if (name.startsWith('i64.eq') || /^i64\.(ne|lt|gt|le|ge)/.test(name)) return { cc: compare64(s, n) };
    if (/^f(32|64)\.(eq|ne|lt|gt|le|ge)$/.test(name)) return compareFloat(s, n);
    if (n.op === o('i32.and')) {
      testBits(s, n.a as Node, n.b as Node);
      return { cc: CC.ne };
    }
  }
  if (isLoad8(n)) {
    s.emit('cmp', [s.address(n.a as Node, n.v), I(0)], 1);
    return { cc: CC.ne };
  }
  const v = s.value(n);
  if (v.k === 'm') s.emit('cmp', [v, I(0)]);
  else {
    const r = s.toReg(v);
    s.emit('test', [R(r), R(r)]);
  }
  return { cc: CC.ne };
}
const negate = (f: Flags): Flags => (f.with === undefined ? { cc: f.cc ^ 1 } : { cc: f.cc ^ 1, with: { how: f.with.how === 'and' ? 'or' : 'and', cc: f.with.cc ^ 1 } });

function testBits(s: Selector, a: Node, b: Node): void {
  if (a.k === 'const') [a, b] = [b, a];
  if (b.k === 'const' && b.v >= 0 && b.v < 256 && (isLoad8(a) || (a.k === 'load' && a.op === o('i32.load')))) return void s.emit('test', [s.address(a.a as Node, a.v), I(b.v)], 1);
  if (a.k === 'get' && b.k !== 'get' && b.k !== 'const') [a, b] = [b, a];
  const x = s.value(a);
  if (b.k === 'const') {
    if (x.k !== 'r') return void s.emit('test', [R(s.toReg(x)), I(b.v)]);
    return void s.emit('test', [x, I(b.v)]);
  }
  const y = s.register(b);
  s.emit('test', [x.k === 'i' ? R(s.toReg(x)) : x, R(y)]);
}

function compare32(s: Selector, a: Node, b: Node, cc: number): number {
  if (a.k === 'const') {
    [a, b] = [b, a];
    cc = SWAPPED[cc] as number;
  }
  if (b.k === 'const') {
    if (isLoad8(a) && b.v >= 0 && b.v < 256) {
      s.emit('cmp', [s.address(a.a as Node, a.v), I(b.v)], 1);
      return UNSIGNED[cc] as number;
    }
    // and(x, mask) against 0, signed order against 0
    if (b.v === 0 && a.k === 'op' && a.op === o('i32.and')) {
      testBits(s, a.a as Node, a.b as Node);
      return cc;
    }
    const x = s.value(a);
    if (x.k === 'r' && b.v === 0) s.emit('test', [x, x]);
    else s.emit('cmp', [x.k === 'i' ? R(s.toReg(x)) : x, I(b.v)]);
    return cc;
  }
  if (b.depth > a.depth) {
    const y = s.value(b);
    const x = s.value(a);
    if (x.k === 'm' && y.k === 'm') s.emit('cmp', [R(s.toReg(x)), y]);
    else s.emit('cmp', [x, y]);
    return cc;
  }
  const x = s.value(a), y = s.value(b);
  if (x.k === 'm' && y.k === 'm') s.emit('cmp', [R(s.toReg(x)), y]);
  else s.emit('cmp', [x, y]);
  return cc;
}

/** `target = target op value` when the tree has that shape; `isTarget` recognises the read of the target. */
export function update32(s: Selector, target: Op, e: Node, isTarget: (n: Node) => boolean, size: number, v = -1): boolean {
  if (e.k !== 'op') return false;
  let a = e.a as Node, b = e.b as Node | undefined;
  const op = BINARY.get(e.op);
  const clean = (n: Node): boolean => v < 0 || !reads(n, v);
  if (op !== undefined && b !== undefined) {
    if (COMMUTES.has(op) && !isTarget(a) && isTarget(b)) [a, b] = [b, a];
    if (!isTarget(a) || !clean(b) || (op === 'imul' && target.k === 'm')) return false;
    if (op === 'imul' && b.k === 'const') return false;
    let operand = target.k === 'm' ? s.regOrImm(b) : s.value(b);
    if (size !== 4 && operand.k === 'i') operand = I(size === 1 ? (operand.v << 24) >> 24 : (operand.v << 16) >> 16);
    if (operand.k === 'i' && (operand.v === 1 || operand.v === -1) && (op === 'add' || op === 'sub')) s.emit((op === 'add') === (operand.v === 1) ? 'inc' : 'dec', [target], size);
    else s.emit(op, [target, operand], size);
    return true;
  }
  const shift = SHIFT.get(e.op);
  if (shift !== undefined && b !== undefined && isTarget(a) && clean(b) && (size === 4 || shift === 'shl')) {
    if (b.k === 'const') s.emit(shift, [target, I(b.v & 31)], size);
    else if (size !== 4) return false;
    else {
      const c = s.value(b);
      s.mov(ECX, c);
      s.emit(shift, [target, R(ECX)], size);
    }
    return true;
  }
  return false;
}

export function store32(s: Selector, op: number, a: Node, off: number, e: Node): void {
  const access = ACCESSES.get(op);
  const size = access === undefined ? 4 : access.bytes;
  // Read-modify-write: the value is `op(load same place, x)`.
  const isSame = (n: Node): boolean => n.k === 'load' && n.v === off && ACCESSES.get(n.op)?.bytes === size && same(n.a, a);
  if (e.k === 'op' && e.a !== undefined && (isSame(e.a) || (e.b !== undefined && isSame(e.b)))) {
    const op2 = BINARY.get(e.op);
    if ((op2 !== undefined && op2 !== 'imul' && (isSame(e.a) || op2 !== 'sub')) || (SHIFT.get(e.op) === 'shl' || (size === 4 && SHIFT.has(e.op))) && isSame(e.a) && e.b?.k === 'const') {
      const other = isSame(e.a) ? e.b : e.a;
      // The other operand first: it may be large, the address is small.
      const pre = other !== undefined && other.k !== 'const' ? s.register(other) : -1;
      const m = s.address(a, off);
      if (pre >= 0) {
        s.emit(op2 as string, [m, R(pre)], size);
        return;
      }
      if (update32(s, m, e, isSame, size)) return;
    }
  }
  // Only the low bits are stored: masks and extensions above them are irrelevant.
  if (size < 4) {
    while (e.k === 'op' && ((e.op === o('i32.and') && e.b?.k === 'const' && (e.b.v & (size === 1 ? 0xff : 0xffff)) === (size === 1 ? 0xff : 0xffff)) || e.op === o('i32.extend8_s') && size === 1 || e.op === o('i32.extend16_s'))) e = e.a as Node;
  }
  if (e.k === 'const') {
    const m = s.address(a, off);
    s.emit('mov', [m, I(size === 1 ? (e.v << 24) >> 24 : size === 2 ? (e.v << 16) >> 16 : e.v)], size);
    return;
  }
  if (e.depth >= a.depth) {
    const r = s.register(e);
    s.emit('mov', [s.address(a, off), R(r)], size);
  } else {
    const m = s.address(a, off);
    s.emit('mov', [m, R(s.register(e))], size);
  }
}

function loadInto(s: Selector, n: Node, d: number): void {
  const m = s.address(n.a as Node, n.v);
  const access = ACCESSES.get(n.op);
  if (access === undefined || access.bytes === 4) s.mov(d, m);
  else s.emit(access.signed ? 'movsx' : 'movzx', [R(d), m], access.bytes);
}

/** Makes the flags of `n` a 0/1 value in d. */
function materialise(s: Selector, n: Node, d: number): void {
  const f = condition(s, n);
  const t = s.reg();
  s.emit(`set${CC_NAMES[f.cc] as string}`, [R(t)], 1);
  if (f.with !== undefined) {
    const u = s.reg();
    s.emit(`set${CC_NAMES[f.with.cc] as string}`, [R(u)], 1);
    s.emit(f.with.how, [R(t), R(u)]);
  }
  s.emit('movzx', [R(d), R(t)], 1);
}

/** Computes an i32 tree into register d, which the tree does not read. */
export function into32(s: Selector, n: Node, d: number): void {
  s.pos = n.pos;
  switch (n.k) {
    case 'const':
    case 'get':
    case 'gget':
      return s.mov(d, s.value(n));
    case 'load':
      return loadInto(s, n, d);
    case 'select':
      return select(s, n, d);
    case 'op':
      return operator(s, n, d);
  }
}

function select(s: Selector, n: Node, d: number): void {
  let a = n.a as Node, b = n.b as Node;
  let flip = 0;
  if (a.k === 'const' || (a.k === 'load' && a.op !== 0x28)) {
    [a, b] = [b, a];
    flip = 1;
  }
  const x = R(s.register(a));
  const y = s.value(b);
  const keep = y.k === 'm' ? R(s.toReg(y)) : y;
  const f = condition(s, n.c as Node);
  s.mov(d, keep);
  if (f.with === undefined) return void s.emit(`cmov${CC_NAMES[f.cc ^ flip] as string}`, [R(d), x]);
  // d = keep; the condition (or its negation when flipped) chooses x
  const g = flip === 1 ? negate(f) : f;
  const w = g.with as { how: 'and' | 'or'; cc: number };
  if (w.how === 'or') {
    s.emit(`cmov${CC_NAMES[g.cc] as string}`, [R(d), x]);
    s.emit(`cmov${CC_NAMES[w.cc] as string}`, [R(d), x]);
  } else {
    const t = s.reg();
    s.mov(t, keep);
    s.emit(`cmov${CC_NAMES[g.cc] as string}`, [R(d), x]);
    s.emit(`cmov${CC_NAMES[w.cc ^ 1] as string}`, [R(d), R(t)]);
  }
}

function divide(s: Selector, n: Node, d: number, signed: boolean, result: number): void {
  const a = s.value(n.a as Node);
  const held = a.k === 'r' ? a : R(s.toReg(a));
  let b = s.regOrMem(n.b as Node);
  if (signed && result === EDX && n.b?.k !== 'const') {
    // INT_MIN % -1 is 0 in wasm and #DE on the CPU: x % -1 = x % 1.
    const t = s.copy(b), one = s.copy(I(1));
    s.emit('cmp', [R(t), I(-1)]);
    s.emit('cmove', [R(t), R(one)]);
    b = R(t);
  } else if (n.b?.k === 'const' && n.b.v === -1 && signed && result === EDX) return s.mov(d, I(0));
  s.mov(EAX, held);
  if (signed) s.emit('cdq', [], 4, [EAX], [EDX]);
  else s.mov(EDX, I(0));
  s.emit(signed ? 'idiv' : 'div', [b], 4, [EAX, EDX], [EAX, EDX]);
  s.mov(d, R(result));
}

function operator(s: Selector, n: Node, d: number): void {
  let a = n.a as Node, b = n.b as Node;
  const binary = BINARY.get(n.op);
  if (binary !== undefined) return arithmetic(s, n, binary, d);
  const shift = SHIFT.get(n.op);
  if (shift !== undefined) {
    if (b.k === 'const') {
      into32(s, a, d);
      if ((b.v & 31) !== 0) s.emit(shift, [R(d), I(b.v & 31)]);
      return;
    }
    if (is(b, 'i32.and') && b.b?.k === 'const' && (b.b.v & 31) === 31) b = b.a as Node;
    if (b.depth > 0 && a.depth > 0 && b.depth >= a.depth) {
      const c = s.register(b);
      into32(s, a, d);
      s.mov(ECX, R(c));
    } else {
      into32(s, a, d);
      s.mov(ECX, s.value(b));
    }
    s.emit(shift, [R(d), R(ECX)]);
    return;
  }
  if (isBoolean(n)) return materialise(s, n, d);
  switch (OP_NAMES.get(n.op)) {
    case 'i32.div_s': return divide(s, n, d, true, EAX);
    case 'i32.div_u': return divide(s, n, d, false, EAX);
    case 'i32.rem_s': return divide(s, n, d, true, EDX);
    case 'i32.rem_u': return divide(s, n, d, false, EDX);
    case 'i32.clz': {
      const x = s.regOrMem(a);
      const none = s.copy(I(63)), t = s.reg();
      s.emit('bsr', [R(t), x]);
      s.emit('cmove', [R(t), R(none)]);
      s.emit('xor', [R(t), I(31)]);
      return s.mov(d, R(t));
    }
    case 'i32.ctz': {
      const x = s.regOrMem(a);
      const none = s.copy(I(32)), t = s.reg();
      s.emit('bsf', [R(t), x]);
      s.emit('cmove', [R(t), R(none)]);
      return s.mov(d, R(t));
    }
    case 'i32.popcnt':
      return helper(s, '__popcnt32', [s.value(a)], [d]);
    case 'i32.extend8_s':
    case 'i32.extend16_s': {
      const size = n.op === o('i32.extend8_s') ? 1 : 2;
      const bytes = a.k === 'load' ? ACCESSES.get(a.op)?.bytes ?? 0 : 0;
      const x = bytes >= size ? s.address(a.a as Node, a.v) : R(s.register(a));
      return void s.emit('movsx', [R(d), x], size);
    }
    case 'i32.wrap_i64': {
      // Only the low word matters: shifts right by a constant pick from the pair.
      if (a.k === 'op' && (a.op === o('i64.shr_u') || a.op === o('i64.shr_s')) && a.b?.k === 'const' && (a.b.v & 63) === 32) return s.mov(d, s.pair(a.a as Node)[1]);
      if (a.k === 'load' && (ACCESSES.get(a.op)?.bytes ?? 0) >= 4) return s.mov(d, s.address(a.a as Node, a.v));
      return s.mov(d, s.pair(a)[0]);
    }
    case 'i32.reinterpret_f32':
      if (a.k === 'load') return s.mov(d, s.address(a.a as Node, a.v));
      return void s.emit('movd', [R(d), R(s.float(a))]);
    default:
      if ((OP_NAMES.get(n.op) ?? '').startsWith('i32.trunc')) return truncate(s, n, [d]);
      s.fail(`wasm ${OP_NAMES.get(n.op) ?? n.op} is not supported`);
  }
}

function arithmetic(s: Selector, n: Node, op: string, d: number): void {
  let a = n.a as Node, b = n.b as Node;
  if (a.k === 'const' && COMMUTES.has(op)) [a, b] = [b, a];
  if (op === 'and' && b.k === 'const' && (b.v === 0xff || b.v === 0xffff)) {
    const size = b.v === 0xff ? 1 : 2;
    const x: Op = a.k === 'load' && (ACCESSES.get(a.op)?.bytes ?? 0) >= size ? s.address(a.a as Node, a.v) : R(s.register(a));
    return void s.emit('movzx', [R(d), x], size);
  }
  if (op === 'xor' && b.k === 'const' && b.v === -1) {
    into32(s, a, d);
    return void s.emit('not', [R(d)]);
  }
  if (op === 'sub' && a.k === 'const' && a.v === 0) {
    into32(s, b, d);
    return void s.emit('neg', [R(d)]);
  }
  if (op === 'imul') {
    if (b.k === 'const') {
      if (b.v === 3 || b.v === 5 || b.v === 9) {
        const r = s.register(a);
        return void s.emit('lea', [R(d), M(r, 0, undefined, r, b.v - 1)]);
      }
      return void s.emit('imul', [R(d), s.regOrMem(a), I(b.v)]);
    }
  }
  if (op === 'add') {
    const m = leaShape(s, n);
    if (m !== undefined) return void s.emit('lea', [R(d), m]);
    if (b.k === 'const' && a.k === 'get') return void s.emit('lea', [R(d), M(s.lo[a.v] as number, b.v)]);
    if (a.k === 'get' && b.k === 'get') return void s.emit('lea', [R(d), M(s.lo[a.v] as number, 0, undefined, s.lo[b.v] as number, 1)]);
  }
  if (COMMUTES.has(op) && (b.depth > a.depth || (a.k === 'load' && b.k === 'get' && false))) [a, b] = [b, a];
  if (b.depth > a.depth) {
    const y = s.value(b);
    into32(s, a, d);
    return void s.emit(op, [R(d), y]);
  }
  into32(s, a, d);
  s.emit(op, [R(d), s.value(b)]);
}

/** An addition that one `lea` computes better than moves and adds: three parts or a scaled one. */
function leaShape(s: Selector, n: Node): MemOp | undefined {
  const scaled = (x: Node | undefined): boolean => x?.k === 'op' && x.op === o('i32.shl') && x.b?.k === 'const' && x.b.v >= 1 && x.b.v <= 3;
  const inner = n.a as Node;
  if (n.b?.k === 'const') {
    if (inner.k === 'op' && inner.op === o('i32.add') && inner.b?.k !== 'const') return s.address(n, 0);
    return scaled(inner) ? s.address(n, 0) : undefined;
  }
  return scaled(inner) || scaled(n.b) ? s.address(n, 0) : undefined;
}
