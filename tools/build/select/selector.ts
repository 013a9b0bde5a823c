/**
 * Instruction selection: statement trees -> machine instructions over virtual registers, by tiling each tree from the top with the largest
 * pattern that fits. This file holds the state and the statements; i32.ts, i64.ts, float.ts, calls.ts and intrinsics.ts hold the patterns.
 *
 * Rules every pattern keeps: an operand returned by `value` is only read; a destination given to `into` is not read by the tree; between
 * an instruction that sets flags and the one that reads them only moves are emitted.
 */
import { BuildError } from '../errors.ts';
import type { Block, Graph, Node, Statement } from '../ir.ts';
import { reads } from '../ir.ts';
import { FIRST_VIRTUAL, I, type Ins, M, type MBlock, type MemOp, type MFunction, type Op, R } from '../mir.ts';
import type { Module } from '../wasm/decode.ts';
import { callStatement, bulkStatement, entry, returnValue } from './calls.ts';
import { floatInto, floatStore } from './float.ts';
import { branch, into32, store32, update32 } from './i32.ts';
import { into64, store64, update64 } from './i64.ts';

/** What selection needs to know about the program around the function. */
export interface Program {
  readonly module: Module;
  /** Kernel code must not touch the FPU and has no heap to grow. */
  readonly kernel: boolean;
  functionSymbol(index: number): string;
  globalSymbol(index: number): string;
  /** 16-byte aligned constant of the pool. */
  poolSymbol(low: number, high: number): string;
  /** Initial contents of static memory, for constant folding of function tables and names. */
  readU32(address: number): number | undefined;
  readString(address: number): string | undefined;
  tableSymbol(index: number): string | undefined;
  readonly intrinsicModules: ReadonlySet<string>;
}

const NONE: readonly number[] = [];

export class Selector {
  readonly p: Program;
  readonly g: Graph;
  readonly f: MFunction;
  readonly lo: number[] = [];
  readonly hi: number[] = [];
  block!: MBlock;
  pos = 0;
  loop = 0;
  private readonly map = new Map<Block, MBlock>();

  constructor(p: Program, g: Graph) {
    this.p = p;
    this.g = g;
    this.f = { name: g.name, blocks: [], cls: new Array<number>(FIRST_VIRTUAL).fill(0), outgoing: 0, slots: 0, noSpill: new Set(), tables: [] };
    for (let i = 8; i < 16; i++) this.f.cls[i] = 1;
    g.vars.forEach((t, v) => {
      this.lo[v] = t === 'f32' || t === 'f64' ? this.xreg() : this.reg();
      this.hi[v] = t === 'i64' ? this.reg() : -1;
    });
  }

  fail(what: string): never {
    throw new BuildError(what, `${this.g.name}@${this.pos}`);
  }
  reg(): number {
    return this.f.cls.push(0) - 1;
  }
  xreg(): number {
    if (this.p.kernel) this.fail('floating point in the kernel');
    return this.f.cls.push(1) - 1;
  }
  emit(op: string, ops: Op[], size = 4, uses: readonly number[] = NONE, defs: readonly number[] = NONE): Ins {
    const i: Ins = { op, ops, size, uses, defs, pos: this.pos };
    this.block.ins.push(i);
    return i;
  }
  mov(to: number, from: Op): void {
    if (from.k !== 'r' || from.r !== to) this.emit('mov', [R(to), from]);
  }
  newBlock(): MBlock {
    return { id: 0, ins: [], jumps: [], next: undefined, table: undefined, loop: this.loop, succ: [] };
  }
  /** Continues in `b`, which follows the current block in the layout. */
  start(b: MBlock): void {
    this.f.blocks.push(b);
    this.block = b;
  }

  run(): MFunction {
    for (const b of this.g.blocks) {
      this.loop = b.loop;
      this.map.set(b, this.newBlock());
    }
    this.g.blocks.forEach((b, n) => {
      this.loop = b.loop;
      this.start(this.map.get(b) as MBlock);
      if (n === 0) entry(this);
      for (const s of b.body) {
        this.pos = s.pos;
        this.statement(s);
      }
      this.terminator(b);
    });
    return this.f;
  }

  private terminator(b: Block): void {
    const t = b.term;
    if (t.k === 'jump') {
      this.block.next = this.map.get(t.to);
      return;
    }
    this.pos = t.pos;
    if (t.k === 'trap') this.emit('ud2', []);
    else if (t.k === 'return') {
      const uses = t.e === undefined ? NONE : returnValue(this, t.e);
      this.emit('ret', [], 4, uses);
    } else if (t.k === 'branch') branch(this, t.e, this.map.get(t.yes) as MBlock, this.map.get(t.no) as MBlock);
    else this.switchTo(t.e, t.to.map((x) => this.map.get(x) as MBlock));
  }

  private switchTo(e: Node, targets: MBlock[]): void {
    const n = targets.length - 1;
    const otherwise = targets[n] as MBlock;
    const index = this.register(e);
    if (n <= 3) {
      for (let i = 0; i < n; i++) {
        this.emit('cmp', [R(index), I(i)]);
        this.block.jumps.push({ cc: 4, to: targets[i] as MBlock });
        const next = this.newBlock();
        this.block.next = i === n - 1 ? otherwise : next;
        if (i < n - 1) this.start(next);
      }
      if (n === 0) this.block.next = otherwise;
      return;
    }
    this.emit('cmp', [R(index), I(n)]);
    this.block.jumps.push({ cc: 3, to: otherwise });
    const dispatch = this.newBlock();
    this.block.next = dispatch;
    this.start(dispatch);
    const symbol = `table:${this.g.name}:${this.f.tables.length}:${this.pos}`;
    this.f.tables.push({ symbol, targets: targets.slice(0, n) });
    this.emit('jmptable', [M(-1, 0, symbol, index, 4)]);
    dispatch.table = [...new Set(targets.slice(0, n))];
  }

  private statement(s: Statement): void {
    switch (s.k) {
      case 'set':
        return this.set(s.v, s.e);
      case 'store': {
        const t = s.e.t;
        if (t === 'i32') return store32(this, s.op, s.a, s.off, s.e);
        if (t === 'i64') return store64(this, s.op, s.a, s.off, s.e);
        return floatStore(this, s.a, s.off, s.e);
      }
      case 'gset': {
        const m = M(-1, 0, this.p.globalSymbol(s.g));
        if (s.e.t === 'i32') {
          if (update32(this, m, s.e, (n) => n.k === 'gget' && n.v === s.g, 4)) return;
          this.emit('mov', [m, this.regOrImm(s.e)]);
        } else if (s.e.t === 'i64') {
          if (update64(this, m, s.e, (n) => n.k === 'gget' && n.v === s.g)) return;
          this.storePair(m, s.e);
        } else this.emit(s.e.t === 'f64' ? 'movsd' : 'movss', [m, R(this.float(s.e))], s.e.t === 'f64' ? 8 : 4);
        return;
      }
      case 'drop':
        // The access may fault, which can matter (probing a page): keep it.
        if (s.e.t === 'i64') this.pair(s.e).forEach((o) => void (o.k === 'm' && this.mov(this.reg(), o)));
        else if (s.e.t === 'i32') {
          const o = this.value(s.e);
          if (o.k === 'm') this.mov(this.reg(), o);
        } else this.float(s.e);
        return;
      case 'call':
        return callStatement(this, s);
      case 'bulk':
        return bulkStatement(this, s);
    }
  }

  private set(v: number, e: Node): void {
    const d = this.lo[v] as number;
    if (e.t === 'i32') {
      if (!reads(e, v)) return into32(this, e, d);
      if (update32(this, R(d), e, (n) => n.k === 'get' && n.v === v, 4, v)) return;
      const t = this.reg();
      into32(this, e, t);
      return this.mov(d, R(t));
    }
    if (e.t === 'i64') {
      const h = this.hi[v] as number;
      if (!reads(e, v)) return into64(this, e, d, h);
      if (update64(this, R(d), e, (n) => n.k === 'get' && n.v === v, R(h), v)) return;
      const t = this.reg(), u = this.reg();
      into64(this, e, t, u);
      this.mov(d, R(t));
      return this.mov(h, R(u));
    }
    if (!reads(e, v)) return floatInto(this, e, d);
    const t = this.xreg();
    floatInto(this, e, t);
    this.emit('movaps', [R(d), R(t)], 16);
  }

  /** i32 tree as an operand: register, immediate or memory. */
  value(n: Node): Op {
    this.pos = n.pos;
    if (n.k === 'const') return I(n.v);
    if (n.k === 'get') return R(this.lo[n.v] as number);
    if (n.k === 'gget') return M(-1, 0, this.p.globalSymbol(n.v));
    if (n.k === 'load' && n.op === 0x28) return this.address(n.a as Node, n.v);
    return R(this.register(n));
  }
  /** i32 tree in a register (not to be modified). */
  register(n: Node): number {
    if (n.k === 'get') return this.lo[n.v] as number;
    const t = this.reg();
    into32(this, n, t);
    return t;
  }
  regOrImm(n: Node): Op {
    return n.k === 'const' ? I(n.v) : R(this.register(n));
  }
  regOrMem(n: Node): Op {
    const o = this.value(n);
    return o.k === 'i' ? R(this.register(n)) : o;
  }
  /** An operand forced into a register. */
  toReg(o: Op): number {
    if (o.k === 'r') return o.r;
    const t = this.reg();
    this.mov(t, o);
    return t;
  }
  /** A fresh register with a copy of the operand. */
  copy(o: Op): number {
    const t = this.reg();
    this.mov(t, o);
    return t;
  }
  float(n: Node): number {
    if (n.k === 'get') return this.lo[n.v] as number;
    const t = this.xreg();
    floatInto(this, n, t);
    return t;
  }
  /** i64 tree as low and high operands. */
  pair(n: Node): [Op, Op] {
    this.pos = n.pos;
    if (n.k === 'const') return [I(n.v), I(n.hi)];
    if (n.k === 'get') return [R(this.lo[n.v] as number), R(this.hi[n.v] as number)];
    if (n.k === 'gget') return [M(-1, 0, this.p.globalSymbol(n.v)), M(-1, 4, this.p.globalSymbol(n.v))];
    if (n.k === 'load' && n.op === 0x29) {
      const m = this.address(n.a as Node, n.v);
      return [m, { ...m, disp: (m.disp + 4) | 0 }];
    }
    if (n.k === 'op' && n.op === 0xad) return [this.value(n.a as Node), I(0)]; // i64.extend_i32_u
    const l = this.reg(), h = this.reg();
    into64(this, n, l, h);
    return [R(l), R(h)];
  }
  storePair(m: MemOp, e: Node): void {
    const [l, h] = this.pair(e);
    const a = l.k === 'm' ? R(this.toReg(l)) : l, b = h.k === 'm' ? R(this.toReg(h)) : h;
    this.emit('mov', [m, a]);
    this.emit('mov', [{ ...m, disp: (m.disp + 4) | 0 }, b]);
  }

  /** Address of a load or store: constants and at most base + index * scale, the rest computed into registers. */
  address(n: Node, offset: number): MemOp {
    let disp = offset;
    const terms: { n: Node; scale: number }[] = [];
    const collect = (x: Node, more: number): void => {
      if (x.k === 'const') disp = (disp + x.v) | 0;
      else if (x.k === 'op' && x.op === 0x6a && (x.b?.k === 'const' || terms.length + more < 1)) {
        collect(x.a as Node, x.b?.k === 'const' ? more : more + 1);
        collect(x.b as Node, more);
      } else if (x.k === 'op' && x.op === 0x6b && x.b?.k === 'const') {
        disp = (disp - x.b.v) | 0;
        collect(x.a as Node, more);
      } else if (x.k === 'op' && x.op === 0x74 && x.b?.k === 'const' && x.b.v >= 1 && x.b.v <= 3 && !terms.some((t) => t.scale > 1)) {
        // (y + c) << k: the constant goes to the displacement
        let y = x.a as Node;
        const scale = 1 << x.b.v;
        if (y.k === 'op' && y.op === 0x6a && y.b?.k === 'const') {
          disp = (disp + Math.imul(y.b.v, scale)) | 0;
          y = y.a as Node;
        }
        terms.push({ n: y, scale });
      } else terms.push({ n: x, scale: 1 });
    };
    collect(n, 0);
    if (terms.length > 2) this.fail('internal: address with more than two terms');
    terms.sort((a, b) => a.scale - b.scale);
    const [x, y] = terms;
    if (x === undefined) return M(-1, disp);
    if (y === undefined) {
      if (x.scale === 1) return M(this.register(x.n), disp);
      if (x.scale === 2) {
        const r = this.register(x.n);
        return M(r, disp, undefined, r, 1);
      }
      return M(-1, disp, undefined, this.register(x.n), x.scale);
    }
    if (y.n.depth > x.n.depth) {
      const index = this.register(y.n);
      return M(this.register(x.n), disp, undefined, index, y.scale);
    }
    const base = this.register(x.n);
    return M(base, disp, undefined, this.register(y.n), y.scale);
  }
}
