/**
 * Calls and the calling convention: integer words in EAX, EDX, ECX, then the stack (an i64 is two words, low first); floats in XMM0-3, then
 * the stack. Result in EAX (EDX:EAX) or XMM0. EBX ESI EDI EBP are preserved, every XMM register and the flags are not. The caller keeps
 * room for stack arguments at the bottom of its frame ("outgoing"), so the stack pointer never moves inside a function.
 */
import type { Node, Statement } from '../ir.ts';
import { EAX, ECX, EDX, ESP, I, M, type Op, R, slotOp, XMM0 } from '../mir.ts';
import type { Type } from '../wasm/opcodes.ts';
import { intrinsic } from './intrinsics.ts';
import type { Selector } from './selector.ts';

const WORDS = [EAX, EDX, ECX];
export const CLOBBERED: readonly number[] = [EAX, ECX, EDX, 8, 9, 10, 11, 12, 13, 14, 15];

/** Where each 32-bit word or float of a parameter list goes: a register, or -1 - (byte offset on the stack). */
export function assign(types: readonly Type[]): { places: number[]; stack: number } {
  const places: number[] = [];
  let words = 0, floats = 0, stack = 0;
  const next = (bytes: number, isFloat: boolean): void => {
    if (isFloat && floats < 4) places.push(XMM0 + floats++);
    else if (!isFloat && words < 3) places.push(WORDS[words++] as number);
    else {
      places.push(-1 - stack);
      stack += bytes;
    }
  };
  for (const t of types) {
    if (t === 'i32') next(4, false);
    else if (t === 'i64') {
      next(4, false);
      next(4, false);
    } else next(t === 'f64' ? 8 : 4, true);
  }
  return { places, stack };
}

/** Takes the parameters over at the start of a function. */
export function entry(s: Selector): void {
  const { places } = assign(s.g.sig.params);
  let k = 0;
  const later: (() => void)[] = [];
  const take = (v: number, t: Type): void => {
    const p = places[k++] as number;
    const float = t === 'f32' || t === 'f64';
    const f = (): void => {
      const from: Op = p >= 0 ? R(p) : slotOp(-2, -1 - p);
      if (!float) s.mov(v, from);
      else if (p >= 0) s.emit('movaps', [R(v), from], 16);
      else s.emit(t === 'f64' ? 'movsd' : 'movss', [R(v), from], t === 'f64' ? 8 : 4);
    };
    if (p >= 0) f();
    else later.push(f);
  };
  s.g.sig.params.forEach((t, i) => {
    take(s.lo[i] as number, t);
    if (t === 'i64') take(s.hi[i] as number, 'i32');
  });
  for (const f of later) f();
}

export function returnValue(s: Selector, e: Node): readonly number[] {
  if (e.t === 'i32') {
    s.mov(EAX, s.value(e));
    return [EAX];
  }
  if (e.t === 'i64') {
    const [l, h] = s.pair(e);
    const y = h.k === 'r' ? h : h.k === 'm' ? R(s.toReg(h)) : h;
    s.mov(EAX, l);
    s.mov(EDX, y);
    return [EAX, EDX];
  }
  s.emit('movaps', [R(XMM0), R(s.float(e))], 16);
  return [XMM0];
}

/** The call itself; argument registers in `uses` are already loaded, `words` go to EAX, EDX, ECX and the stack. */
export function emitCall(s: Selector, symbol: string, words: readonly Op[], uses: readonly number[]): void {
  const held = words.map((w, i) => (w.k === 'm' && (i >= 3 || words.length > 1) ? R(s.toReg(w)) : w));
  held.slice(3).forEach((w, i) => s.emit('mov', [M(ESP, i * 4), w]));
  held.slice(0, 3).forEach((w, i) => s.mov(WORDS[i] as number, w));
  s.f.outgoing = Math.max(s.f.outgoing, Math.max(0, words.length - 3) * 4);
  s.emit('call', [I(0, symbol)], 4, [...WORDS.slice(0, Math.min(3, words.length)), ...uses], CLOBBERED);
}

/** A call of a runtime helper with integer words; the result words go to `d`. */
export function helper(s: Selector, symbol: string, words: readonly Op[], d: readonly number[], then?: () => void, uses: readonly number[] = []): void {
  emitCall(s, symbol, words, uses);
  if (d[0] !== undefined) s.mov(d[0], R(EAX));
  if (d[1] !== undefined) s.mov(d[1], R(EDX));
  then?.();
}

/** Loads arguments, from the trees to their places; returns the registers used. */
function passArguments(s: Selector, args: readonly Node[], types: readonly Type[]): number[] {
  const { places, stack } = assign(types);
  s.f.outgoing = Math.max(s.f.outgoing, stack);
  const moves: { place: number; from: Op; t: Type }[] = [];
  let k = 0;
  args.forEach((a, i) => {
    const t = types[i] as Type;
    if (t === 'i64') {
      const [l, h] = s.pair(a);
      moves.push({ place: places[k++] as number, from: l, t: 'i32' }, { place: places[k++] as number, from: h, t: 'i32' });
    } else if (t === 'i32') moves.push({ place: places[k++] as number, from: s.value(a), t });
    else moves.push({ place: places[k++] as number, from: R(s.float(a)), t });
  });
  const used: number[] = [];
  for (const m of moves) {
    if (m.place >= 0) continue;
    const to = M(ESP, -1 - m.place);
    if (m.t === 'f64') s.emit('movsd', [to, m.from], 8);
    else if (m.t === 'f32') s.emit('movss', [to, m.from], 4);
    else s.emit('mov', [to, m.from.k === 'm' ? R(s.toReg(m.from)) : m.from]);
  }
  for (const m of moves) {
    if (m.place < 0) continue;
    used.push(m.place);
    if (m.place >= XMM0) s.emit('movaps', [R(m.place), m.from], 16);
    else s.mov(m.place, m.from);
  }
  return used;
}

function takeResult(s: Selector, v: number, t: Type | undefined): void {
  if (t === undefined || v < 0) return;
  if (t === 'i32' || t === 'i64') s.mov(s.lo[v] as number, R(EAX));
  else s.emit('movaps', [R(s.lo[v] as number), R(XMM0)], 16);
  if (t === 'i64') s.mov(s.hi[v] as number, R(EDX));
}

export function callStatement(s: Selector, st: Statement & { k: 'call' }): void {
  const imports = s.p.module.imports;
  if (st.target >= 0 && st.target < imports.length) {
    const im = imports[st.target];
    if (im !== undefined && s.p.intrinsicModules.has(im.module)) return intrinsic(s, im.name, st.args, st.result, st.sig);
  }
  let target: Op | undefined;
  if (st.e !== undefined) {
    if (st.e.k === 'const') {
      const symbol = s.p.tableSymbol(st.e.v);
      if (symbol === undefined) s.fail(`call_indirect of table entry ${st.e.v}, which does not exist`);
      target = I(0, symbol);
    } else target = M(-1, 0, 'table:functions', s.register(st.e), 4);
  }
  const used = passArguments(s, st.args, st.sig.params);
  s.pos = st.pos;
  if (target === undefined) s.emit('call', [I(0, s.p.functionSymbol(st.target))], 4, used, CLOBBERED);
  else s.emit(target.k === 'i' ? 'call' : 'icall', [target], 4, used, CLOBBERED);
  takeResult(s, st.result, st.sig.results[0]);
}

export function bulkStatement(s: Selector, st: Statement & { k: 'bulk' }): void {
  const result = st.result >= 0 ? (s.lo[st.result] as number) : -1;
  switch (st.what) {
    case 'size':
      if (s.p.kernel) s.fail('memory.size in the kernel (there is no heap)');
      return helper(s, '__memory_size', [], [result]);
    case 'grow':
      if (s.p.kernel) s.fail('memory.grow in the kernel: `new` of a managed class? Use @unmanaged and changetype');
      return helper(s, '__memory_grow', [s.value(st.args[0] as Node)], [result]);
    case 'copy':
    case 'fill': {
      const n = st.args[2] as Node;
      if (n.k === 'const' && n.v >= 0 && n.v <= 32 && n.v % 4 === 0 && inlineBulk(s, st.what, st.args, n.v)) return;
      return helper(s, st.what === 'copy' ? '__memmove' : '__memset', st.args.map((a) => s.value(a)), []);
    }
  }
}

/** A few words: loads before stores, so overlapping copies are right. */
function inlineBulk(s: Selector, what: 'copy' | 'fill', args: readonly Node[], bytes: number): boolean {
  const [to, from] = args as [Node, Node];
  if (what === 'fill') {
    if (from.k !== 'const') return false;
    const m = s.address(to, 0);
    const v = Math.imul(from.v & 255, 0x01010101);
    for (let i = 0; i < bytes; i += 4) s.emit('mov', [{ ...m, disp: (m.disp + i) | 0 }, I(v)]);
    return true;
  }
  if (bytes > 16) return false;
  const src = s.address(from, 0), dst = s.address(to, 0);
  const held: number[] = [];
  for (let i = 0; i < bytes; i += 4) held.push(s.copy({ ...src, disp: (src.disp + i) | 0 }));
  held.forEach((r, i) => s.emit('mov', [{ ...dst, disp: (dst.disp + i * 4) | 0 }, R(r)]));
  return true;
}
