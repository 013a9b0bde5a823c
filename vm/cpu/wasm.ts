/**
 * A small WebAssembly builder: expression trees, structured statements, modules.
 *
 * Semantics (vm/cpu/lower) describe values as trees of `N` and emit statements in order through `Fn`. Trees fold constants,
 * so the same description is tight when operands are constants (tier 1) and correct when they are loads from a record
 * (tier 0). A tree is serialised where it is consumed: `fn.let(tree)` pins a value to a local when order matters.
 * Branch hints are recorded for the `metadata.code.branch_hint` section (V8 keeps cold slow paths out of line with them).
 */

export type T = 0x7f | 0x7e | 0x7d | 0x7c | 0x7b | 0x40;
export const I: T = 0x7f, L: T = 0x7e, F: T = 0x7d, D: T = 0x7c, V: T = 0x7b;

/** Pseudo operations; others are wasm opcodes (0xfdNN = SIMD NN, 0xfcNN, 0xfeNN = atomics). */
const CONST = -1, LOCAL = -2, CALL = -3, SELECT = -4, CONST64 = -5, CALL_INDIRECT = -6;

/** One node of a value tree. `n`: constant, local index, memarg offset, lane or callee; `m`: alignment (log2). */
export interface N { readonly op: number; readonly t: T; readonly args: readonly N[]; readonly n: number; readonly m: number; readonly big?: bigint }

const node = (op: number, t: T, args: readonly N[], n = 0, m = 0): N => ({ op, t, args, n, m });
const none: readonly N[] = [];
export const k = (value: number): N => node(CONST, I, none, value | 0);
export const k64 = (value: bigint): N => ({ op: CONST64, t: L, args: none, n: 0, m: 0, big: BigInt.asIntN(64, value) });
export const isConst = (x: N): boolean => x.op === CONST;
export const isConstant = (x: N, value: number): boolean => x.op === CONST && x.n === (value | 0);
/** True when re-emitting the tree is free and has no order: constants and locals that nobody reassigns meanwhile. */
export const isLocal = (x: N): boolean => x.op === LOCAL;
/** Constants, locals that `stable` vouches for, and arithmetic on them that cannot trap: the same wherever it is computed. */
export function isPure({ op, args, n }: N, stable: (index: number) => boolean): boolean {
  if (op === LOCAL) return stable(n);
  const arithmetic = (op >= 0x45 && op <= 0x8a && !(op >= 0x6d && op <= 0x70) && !(op >= 0x7f && op <= 0x82)) || op === 0xa7 || op === 0xac || op === 0xad;
  return op === CONST || op === CONST64 || ((arithmetic || op === SELECT) && args.every(arg => isPure(arg, stable)));
}

const fold = (op: number, t: T, a: N, b: N, f: (x: number, y: number) => number): N =>
  a.op === CONST && b.op === CONST ? k(f(a.n, b.n)) : node(op, t, [a, b]);
export const add = (a: N, b: N): N => isConstant(b, 0) ? a : isConstant(a, 0) ? b
  : b.op === CONST && a.op === 0x6a && a.args[1].op === CONST ? add(a.args[0], k(a.args[1].n + b.n)) : fold(0x6a, I, a, b, (x, y) => x + y);
/** A sum with a constant as its two parts: for addresses that do not wrap. */
export const split = (x: N): readonly [N, number] => x.op === 0x6a && x.args[1].op === CONST ? [x.args[0], x.args[1].n] : [x, 0];
export const sub = (a: N, b: N): N => isConstant(b, 0) ? a : fold(0x6b, I, a, b, (x, y) => x - y);
export const mul = (a: N, b: N): N => isConstant(b, 1) ? a : fold(0x6c, I, a, b, Math.imul);
export const and = (a: N, b: N): N => isConstant(b, -1) ? a : fold(0x71, I, a, b, (x, y) => x & y);
export const or = (a: N, b: N): N => isConstant(b, 0) ? a : isConstant(a, 0) ? b : fold(0x72, I, a, b, (x, y) => x | y);
export const xor = (a: N, b: N): N => isConstant(b, 0) ? a : fold(0x73, I, a, b, (x, y) => x ^ y);
export const shl = (a: N, b: N): N => isConstant(b, 0) ? a : fold(0x74, I, a, b, (x, y) => x << y);
export const sar = (a: N, b: N): N => isConstant(b, 0) ? a : fold(0x75, I, a, b, (x, y) => x >> y);
export const shr = (a: N, b: N): N => isConstant(b, 0) ? a : fold(0x76, I, a, b, (x, y) => x >>> y);
export const rotl = (a: N, b: N): N => node(0x77, I, [a, b]);
export const rotr = (a: N, b: N): N => node(0x78, I, [a, b]);
export const eqz = (a: N): N => a.op === CONST ? k(a.n === 0 ? 1 : 0) : node(0x45, I, [a]);
export const eq = (a: N, b: N): N => isConstant(b, 0) ? eqz(a) : fold(0x46, I, a, b, (x, y) => x === y ? 1 : 0);
export const ne = (a: N, b: N): N => fold(0x47, I, a, b, (x, y) => x !== y ? 1 : 0);
export const lt = (a: N, b: N): N => fold(0x48, I, a, b, (x, y) => x < y ? 1 : 0);
export const ltu = (a: N, b: N): N => fold(0x49, I, a, b, (x, y) => x >>> 0 < y >>> 0 ? 1 : 0);
export const gt = (a: N, b: N): N => fold(0x4a, I, a, b, (x, y) => x > y ? 1 : 0);
export const gtu = (a: N, b: N): N => fold(0x4b, I, a, b, (x, y) => x >>> 0 > y >>> 0 ? 1 : 0);
export const le = (a: N, b: N): N => fold(0x4c, I, a, b, (x, y) => x <= y ? 1 : 0);
export const leu = (a: N, b: N): N => fold(0x4d, I, a, b, (x, y) => x >>> 0 <= y >>> 0 ? 1 : 0);
export const ge = (a: N, b: N): N => fold(0x4e, I, a, b, (x, y) => x >= y ? 1 : 0);
export const geu = (a: N, b: N): N => fold(0x4f, I, a, b, (x, y) => x >>> 0 >= y >>> 0 ? 1 : 0);
export const clz = (a: N): N => node(0x67, I, [a]);
export const ctz = (a: N): N => node(0x68, I, [a]);
export const popcnt = (a: N): N => node(0x69, I, [a]);
export const sext8 = (a: N): N => a.op === CONST ? k(a.n << 24 >> 24) : node(0xc0, I, [a]);
export const sext16 = (a: N): N => a.op === CONST ? k(a.n << 16 >> 16) : node(0xc1, I, [a]);
/** Any wasm operation by opcode. SIMD: 0xfd00 | n (n may exceed 255: pass 0xfd0000 | n). */
export const op1 = (op: number, t: T, a: N): N => node(op, t, [a]);
export const op2 = (op: number, t: T, a: N, b: N): N => node(op, t, [a, b]);
export const op3 = (op: number, t: T, a: N, b: N, c: N): N => node(op, t, [a, b, c]);
/** SIMD operation with a lane immediate. */
export const lane = (op: number, t: T, index: number, ...args: N[]): N => node(op, t, args, index);
export const shuffle = (lanes: readonly number[], a: N, b: N): N => {
  let big = 0n;
  for (let i = 15; i >= 0; i--) big = big << 8n | BigInt(lanes[i]);
  return { op: 0xfd000d, t: V, args: [a, b], n: 0, m: 0, big };
};
/** Four 32-bit lanes. */
export const lanes = (...values: readonly [number, number, number, number]): N => ({ op: 0xfd000c, t: V, args: none, n: 0, m: 0, big: values.reduceRight((big, value) => big << 32n | BigInt(value >>> 0), 0n) });
export const select = (whenTrue: N, whenFalse: N, condition: N): N =>
  condition.op === CONST ? (condition.n ? whenTrue : whenFalse) : node(SELECT, whenTrue.t, [whenTrue, whenFalse, condition]);
export const local = (index: number, t: T = I): N => node(LOCAL, t, none, index);
/** An imported, immutable global. */
export const global = (index: number): N => node(0x23, I, none, index);
/** Memory loads. */
export const load = (address: N, offset = 0): N => node(0x28, I, [address], offset, 2);
export const load8u = (address: N, offset = 0): N => node(0x2d, I, [address], offset, 0);
export const load8s = (address: N, offset = 0): N => node(0x2c, I, [address], offset, 0);
export const load16u = (address: N, offset = 0): N => node(0x2f, I, [address], offset, 0);
export const load16s = (address: N, offset = 0): N => node(0x2e, I, [address], offset, 0);
export const load64 = (address: N, offset = 0): N => node(0x29, L, [address], offset, 0);
export const loadF32 = (address: N, offset = 0): N => node(0x2a, F, [address], offset, 0);
export const loadF64 = (address: N, offset = 0): N => node(0x2b, D, [address], offset, 0);
export const load128 = (address: N, offset = 0): N => node(0xfd0000, V, [address], offset, 0);
/** 4 or 8 bytes into the low end of a vector, zeros above. */
export const load32Zero = (address: N, offset = 0): N => node(0xfd005c, V, [address], offset, 0);
export const load64Zero = (address: N, offset = 0): N => node(0xfd005d, V, [address], offset, 0);
/** Atomic load/rmw by sub-opcode of the 0xfe prefix; natural alignment required. */
export const atomic = (sub: number, t: T, align: number, offset: number, ...args: N[]): N => node(0xfe0000 | sub, t, args, offset, align);
export const call = (callee: number, t: T, ...args: N[]): N => node(CALL, t, args, callee);
/** Indirect call through table 0; `type` is a type index of the module; the last argument is the table index. */
export const callIndirect = (type: number, t: T, ...args: N[]): N => node(CALL_INDIRECT, t, args, type);

/** A growing byte buffer with LEB128 writers. */
export class Bytes {
  data = new Uint8Array(1024);
  length = 0;
  byte(value: number): void {
    if (this.length === this.data.length) { const bigger = new Uint8Array(this.data.length * 2); bigger.set(this.data); this.data = bigger; }
    this.data[this.length++] = value;
  }
  u(value: number): void {
    let rest = value >>> 0;
    while (rest >= 0x80) { this.byte(rest & 0x7f | 0x80); rest >>>= 7; }
    this.byte(rest);
  }
  s(value: number): void {
    let rest = value | 0;
    for (;;) {
      const low = rest & 0x7f; rest >>= 7;
      if ((rest === 0 && !(low & 0x40)) || (rest === -1 && (low & 0x40))) { this.byte(low); return; }
      this.byte(low | 0x80);
    }
  }
  s64(value: bigint): void {
    let rest = value;
    for (;;) {
      const low = Number(rest & 0x7fn); rest >>= 7n;
      if ((rest === 0n && !(low & 0x40)) || (rest === -1n && (low & 0x40))) { this.byte(low); return; }
      this.byte(low | 0x80);
    }
  }
  bytes(values: Uint8Array | readonly number[]): void { for (const value of values) this.byte(value); }
  name(text: string): void { const encoded = new TextEncoder().encode(text); this.u(encoded.length); this.bytes(encoded); }
  done(): Uint8Array { return this.data.subarray(0, this.length); }
}

/** A branch target: the control depth at which it was opened. */
export interface Label { readonly depth: number }
export interface FuncType { readonly params: readonly T[]; readonly results: readonly T[] }

/** The body of one function under construction. */
export class Fn {
  readonly name: string;
  readonly type: FuncType;
  readonly code = new Bytes();
  readonly locals: T[] = [];
  readonly hints: { at: number; likely: number }[] = [];
  /** Locals free for reuse, per type; see `scope`. */
  private readonly free = new Map<T, number[]>();
  private scoped: { index: number; t: T }[] = [];
  depth = 0;

  constructor(name: string, type: FuncType) { this.name = name; this.type = type; }

  newLocal(t: T = I): number {
    const reuse = this.free.get(t)?.pop();
    const index = reuse ?? this.type.params.length + this.locals.push(t) - 1;
    this.scoped.push({ index, t });
    return index;
  }
  /** Locals made inside `body` are reusable after it. */
  scope(body: () => void): void {
    const outer = this.scoped;
    this.scoped = [];
    body();
    for (const { index, t } of this.scoped.reverse()) {
      const list = this.free.get(t);
      if (list) list.push(index); else this.free.set(t, [index]);
    }
    this.scoped = outer;
  }

  /** Evaluates now, returns the value as a local. Constants and bare locals made by `let` pass through. */
  let(x: N): N {
    if (x.op === CONST) return x;
    const index = this.newLocal(x.t);
    this.set(index, x);
    return local(index, x.t);
  }
  set(index: number, x: N): void { this.emit(x); this.code.byte(0x21); this.code.u(index); }
  drop(x: N): void { this.emit(x); if (x.t !== 0x40) this.code.byte(0x1a); }
  /** A call without result. */
  do(x: N): void { this.emit(x); }

  store(address: N, value: N, offset = 0): void { this.mem(0x36, address, value, offset); }
  store8(address: N, value: N, offset = 0): void { this.mem(0x3a, address, value, offset); }
  store16(address: N, value: N, offset = 0): void { this.mem(0x3b, address, value, offset); }
  store64(address: N, value: N, offset = 0): void { this.mem(0x37, address, value, offset); }
  storeF32(address: N, value: N, offset = 0): void { this.mem(0x38, address, value, offset); }
  storeF64(address: N, value: N, offset = 0): void { this.mem(0x39, address, value, offset); }
  store128(address: N, value: N, offset = 0): void {
    this.emit(address); this.emit(value);
    this.code.byte(0xfd); this.code.u(11); this.code.u(0); this.code.u(offset);
  }
  private mem(op: number, address: N, value: N, offset: number): void {
    this.emit(address); this.emit(value); this.code.byte(op); this.code.u(0); this.code.u(offset);
  }
  memoryCopy(to: N, from: N, bytes: N): void { this.emit(to); this.emit(from); this.emit(bytes); this.code.bytes([0xfc, 10, 0, 0]); }
  memoryFill(to: N, value: N, bytes: N): void { this.emit(to); this.emit(value); this.emit(bytes); this.code.bytes([0xfc, 11, 0]); }

  block(body: (label: Label) => void): void { this.open(0x02, body); }
  loop(body: (label: Label) => void): void { this.open(0x03, body); }
  private open(op: number, body: (label: Label) => void): void {
    this.code.byte(op); this.code.byte(0x40);
    this.depth++;
    body({ depth: this.depth });
    this.depth--;
    this.code.byte(0x0b);
  }
  /** `likely`: 1 or 0 as a branch hint. */
  if(condition: N, then: () => void, otherwise?: () => void, likely?: 0 | 1): void {
    if (condition.op === CONST) { if (condition.n) then(); else otherwise?.(); return; }
    this.emit(condition);
    if (likely !== undefined) this.hints.push({ at: this.code.length, likely });
    this.code.byte(0x04); this.code.byte(0x40);
    this.depth++;
    then();
    if (otherwise) { this.code.byte(0x05); otherwise(); }
    this.depth--;
    this.code.byte(0x0b);
  }
  br(label: Label): void { this.code.byte(0x0c); this.code.u(this.depth - label.depth); }
  brIf(label: Label, condition: N, likely?: 0 | 1): void {
    this.emit(condition);
    if (likely !== undefined) this.hints.push({ at: this.code.length, likely });
    this.code.byte(0x0d); this.code.u(this.depth - label.depth);
  }
  brTable(labels: readonly Label[], otherwise: Label, index: N): void {
    this.emit(index);
    this.code.byte(0x0e); this.code.u(labels.length);
    for (const label of labels) this.code.u(this.depth - label.depth);
    this.code.u(this.depth - otherwise.depth);
  }
  ret(value?: N): void { if (value) this.emit(value); this.code.byte(0x0f); }
  unreachable(): void { this.code.byte(0x00); }

  emit(x: N): void {
    const code = this.code;
    const { op, args } = x;
    if (op === CONST) { code.byte(0x41); code.s(x.n); return; }
    if (op === LOCAL) { code.byte(0x20); code.u(x.n); return; }
    if (op === CONST64) { code.byte(0x42); code.s64(x.big!); return; }
    for (const arg of args) this.emit(arg);
    if (op === CALL) { code.byte(0x10); code.u(x.n); return; }
    if (op === CALL_INDIRECT) { code.byte(0x11); code.u(x.n); code.u(0); return; }
    if (op === SELECT) { if (x.t === V) code.bytes([0x1c, 1, V]); else code.byte(0x1b); return; }
    if (op < 0x100) {
      code.byte(op);
      if (op >= 0x28 && op <= 0x3e) { code.u(x.m); code.u(x.n); } else if (op === 0x23) code.u(x.n);
      return;
    }
    const prefix = op >>> 16, subOp = op & 0xffff;
    code.byte(prefix); code.u(subOp);
    if (prefix === 0xfe) { code.u(x.m); code.u(x.n); return; }
    if (prefix === 0xfd) {
      if (subOp <= 11 || subOp === 0x5c || subOp === 0x5d) { code.u(x.m); code.u(x.n); }
      else if (subOp === 12 || subOp === 13) { let big = x.big!; for (let i = 0; i < 16; i++) { code.byte(Number(big & 255n)); big >>= 8n; } }
      else if (subOp >= 0x15 && subOp <= 0x22) code.byte(x.n);
    }
  }
}

/** SIMD opcode as used by op1/op2/lane. */
export const simd = (subOp: number): number => 0xfd0000 | subOp;

interface Import { readonly module: string; readonly name: string; readonly type: FuncType }

/** A module: imported memory `env.memory` (shared, of any size: one module serves every board), imported functions, own functions, an optional table. */
export class ModuleBuilder {
  private readonly types: string[] = [];
  private readonly typeList: FuncType[] = [];
  private readonly imports: Import[] = [];
  private readonly globals: string[] = [];
  private readonly declared: { name: string; type: FuncType; fn?: Fn; exported: boolean }[] = [];
  /** Function indices placed in table 0 from slot 0 on. */
  readonly elements: number[] = [];
  importTable = false;
  ownTable = 0;
  /** For profilers: V8 shows the functions of a named module under wasm://wasm/NAME-... */
  readonly name: string;
  constructor(name: string) { this.name = name; }
  typeIndex(type: FuncType): number {
    const key = `${type.params.join()}>${type.results.join()}`;
    let index = this.types.indexOf(key);
    if (index < 0) { index = this.types.push(key) - 1; this.typeList.push(type); }
    return index;
  }
  import(name: string, params: readonly T[], results: readonly T[]): number {
    if (this.declared.length) throw new Error(`import ${name} after the first function`);
    this.typeIndex({ params, results });
    return this.imports.push({ module: 'env', name, type: { params, results } }) - 1;
  }
  /** An immutable i32 that each instance gets its own value of. */
  importGlobal(name: string): number { return this.globals.push(name) - 1; }
  /** Reserves an index; the body is given by `define`. */
  declare(name: string, params: readonly T[], results: readonly T[], exported = false): number {
    const type = { params, results };
    this.typeIndex(type);
    return this.imports.length + this.declared.push({ name, type, exported }) - 1;
  }
  define(index: number, body: (fn: Fn) => void): void {
    const entry = this.declared[index - this.imports.length];
    const fn = new Fn(entry.name, entry.type);
    body(fn);
    entry.fn = fn;
  }

  build(): Uint8Array {
    const out = new Bytes();
    out.bytes([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
    const section = (id: number, fill: (into: Bytes) => void): void => {
      const body = new Bytes();
      fill(body);
      out.byte(id); out.u(body.length); out.bytes(body.done());
    };
    section(1, body => {
      body.u(this.typeList.length);
      for (const { params, results } of this.typeList) {
        body.byte(0x60); body.u(params.length); body.bytes(params); body.u(results.length); body.bytes(results);
      }
    });
    section(2, body => {
      body.u(this.imports.length + this.globals.length + 1 + (this.importTable ? 1 : 0));
      for (const { module, name, type } of this.imports) { body.name(module); body.name(name); body.byte(0); body.u(this.typeIndex(type)); }
      for (const name of this.globals) { body.name('env'); body.name(name); body.byte(3); body.byte(I); body.byte(0); }
      body.name('env'); body.name('memory'); body.byte(2); body.byte(3); body.u(1); body.u(65536);
      if (this.importTable) { body.name('env'); body.name('table'); body.byte(1); body.bytes([0x70, 0]); body.u(0); }
    });
    section(3, body => { body.u(this.declared.length); for (const { type } of this.declared) body.u(this.typeIndex(type)); });
    if (this.ownTable) section(4, body => { body.u(1); body.bytes([0x70, 0]); body.u(this.ownTable); });
    section(7, body => {
      const exported = this.declared.map((entry, i) => ({ entry, index: this.imports.length + i })).filter(({ entry }) => entry.exported);
      body.u(exported.length + (this.ownTable ? 1 : 0));
      for (const { entry, index } of exported) { body.name(entry.name); body.byte(0); body.u(index); }
      if (this.ownTable) { body.name('table'); body.byte(1); body.u(0); }
    });
    if (this.elements.length) section(9, body => {
      body.u(1); body.u(0); body.byte(0x41); body.s(0); body.byte(0x0b); body.u(this.elements.length);
      for (const index of this.elements) body.u(index);
    });
    const bodies = this.declared.map(({ name, fn }) => {
      if (!fn) throw new Error(`function ${name} declared and never defined`);
      const body = new Bytes();
      const runs: { t: T; count: number }[] = [];
      for (const t of fn.locals) { const last = runs.at(-1); if (last?.t === t) last.count++; else runs.push({ t, count: 1 }); }
      body.u(runs.length);
      for (const { t, count } of runs) { body.u(count); body.byte(t); }
      const shift = body.length;
      body.bytes(fn.code.done()); body.byte(0x0b);
      return { body, hints: fn.hints.map(({ at, likely }) => ({ at: at + shift, likely })) };
    });
    if (bodies.some(({ hints }) => hints.length)) section(0, body => {
      body.name('metadata.code.branch_hint');
      const hinted = bodies.map((entry, i) => ({ ...entry, index: this.imports.length + i })).filter(({ hints }) => hints.length);
      body.u(hinted.length);
      for (const { index, hints } of hinted) {
        body.u(index); body.u(hints.length);
        for (const { at, likely } of hints) { body.u(at); body.u(1); body.byte(likely); }
      }
    });
    section(10, body => { body.u(bodies.length); for (const { body: one } of bodies) { body.u(one.length); body.bytes(one.done()); } });
    section(0, body => { body.name('name'); body.byte(0); const { length } = new TextEncoder().encode(this.name); body.u(length + 1); body.name(this.name); });
    return out.done().slice();
  }
}
