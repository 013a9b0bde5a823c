/**
 * Graph colouring with iterated coalescing (George and Appel, "Iterated Register Coalescing", TOPLAS 1996) for one register class.
 * Nodes are register numbers; physical registers are precoloured. `color` gives an assignment, or the registers to spill.
 *
 * Cost of a spill = reads and writes weighted by 8^loop depth, divided by the degree; spilling temporaries is forbidden.
 */
import { EBP, EBX, ECX, EDI, EDX, EAX, ESI, ESP, FIRST_VIRTUAL, forEachByteReg, forEachDef, forEachUse, type Ins, type MFunction } from '../mir.ts';
import type { Liveness } from './liveness.ts';

const ORDER = [[EAX, EDX, ECX, EBX, ESI, EDI, EBP], [8, 9, 10, 11, 12, 13, 14, 15]] as const;
/** `spilled`: registers without colour, with the node they were coalesced into; members of one node may share a home. */
export interface Coloring { readonly color: Int32Array; readonly spilled: readonly { r: number; root: number }[] }
interface Move { readonly to: number; readonly from: number; state: 'work' | 'active' | 'done'; readonly weight: number }

export const isMove = (i: Ins): boolean => (i.op === 'mov' || i.op === 'movaps') && i.ops[0]?.k === 'r' && i.ops[1]?.k === 'r' && (i.op === 'movaps' || i.size === 4);

/** `apart`: moves whose ends must not become one node, because a node made so was spilled. */
export function color(f: MFunction, live: Liveness, cls: 0 | 1, apart: ReadonlySet<Ins>): Coloring {
  return new Allocator(f, live, cls, apart).run();
}

class Allocator {
  private readonly n: number;
  private readonly k: number;
  private readonly order: readonly number[];
  private readonly matrix: Uint32Array | undefined;
  private readonly pairs = new Set<number>();
  private readonly adjacent: number[][];
  private readonly degree: Int32Array;
  private readonly cost: Float64Array;
  private readonly alias: Int32Array;
  /** 0 absent, 1 in the graph, 2 on the stack, 3 coalesced. */
  private readonly state: Uint8Array;
  private readonly moveList: Move[][];
  private readonly moves: Move[] = [];
  private readonly stack: number[] = [];
  private readonly color: Int32Array;
  private readonly f: MFunction;
  private readonly apart: ReadonlySet<Ins>;
  private readonly cls: number;
  private simplifyList = new Set<number>();
  private freezeList = new Set<number>();
  private spillList = new Set<number>();
  private workMoves: Move[] = [];

  constructor(f: MFunction, live: Liveness, cls: 0 | 1, apart: ReadonlySet<Ins>) {
    this.f = f;
    this.apart = apart;
    this.cls = cls;
    const n = (this.n = f.cls.length);
    this.order = ORDER[cls];
    this.k = this.order.length;
    this.matrix = n <= 6000 ? new Uint32Array((n * n + 31) >>> 5) : undefined;
    this.adjacent = Array.from({ length: n }, () => []);
    this.moveList = Array.from({ length: n }, () => []);
    this.degree = new Int32Array(n);
    this.cost = new Float64Array(n);
    this.alias = new Int32Array(n).map((_, i) => i);
    this.state = new Uint8Array(n);
    this.color = new Int32Array(n).fill(-1);
    this.build(live);
  }

  private mine(r: number): boolean {
    return this.f.cls[r] === this.cls && r !== ESP;
  }
  private linked(a: number, b: number): boolean {
    if (a > b) [a, b] = [b, a];
    const i = a * this.n + b;
    return this.matrix !== undefined ? ((this.matrix[i >>> 5] as number) & (1 << (i & 31))) !== 0 : this.pairs.has(i);
  }
  private link(a: number, b: number): void {
    if (a === b || this.linked(a, b)) return;
    if (a > b) [a, b] = [b, a];
    const i = a * this.n + b;
    if (this.matrix !== undefined) this.matrix[i >>> 5] = (this.matrix[i >>> 5] as number) | (1 << (i & 31));
    else this.pairs.add(i);
    if (a >= FIRST_VIRTUAL) {
      (this.adjacent[a] as number[]).push(b);
      this.degree[a] = (this.degree[a] as number) + 1;
    }
    if (b >= FIRST_VIRTUAL) {
      (this.adjacent[b] as number[]).push(a);
      this.degree[b] = (this.degree[b] as number) + 1;
    }
  }

  private build(live: Liveness): void {
    const { f } = this;
    this.protectShort();
    // Live set as a list with positions: edges are made at definitions only.
    const where = new Int32Array(this.n).fill(-1);
    f.blocks.forEach((b, bi) => {
      const now: number[] = [];
      const add = (r: number): void => {
        if (where[r] === -1 && this.mine(r)) where[r] = now.push(r) - 1;
      };
      const remove = (r: number): void => {
        const w = where[r] as number;
        if (w < 0) return;
        const last = now.pop() as number;
        if (last !== r) {
          now[w] = last;
          where[last] = w;
        }
        where[r] = -1;
      };
      const set = live.out[bi] as Uint32Array;
      for (let w = 0; w < set.length; w++) for (let v = set[w] as number; v !== 0; v &= v - 1) add(w * 32 + 31 - Math.clz32(v & -v));
      const weight = 8 ** Math.min(b.loop, 6);
      const touch = (r: number): void => {
        if (!this.mine(r)) return;
        if (r >= FIRST_VIRTUAL) this.state[r] = 1;
        this.cost[r] = (this.cost[r] as number) + weight;
      };
      for (let k = b.ins.length - 1; k >= 0; k--) {
        const x = b.ins[k] as Ins;
        if (isMove(x)) {
          const from = (x.ops[1] as { r: number }).r, to = (x.ops[0] as { r: number }).r;
          if (this.mine(from) && this.mine(to) && from !== to) {
            remove(from);
            const m: Move = { to, from, state: this.apart.has(x) ? 'done' : 'work', weight };
            this.moves.push(m);
            if (m.state === 'work') this.workMoves.push(m);
            (this.moveList[to] as Move[]).push(m);
            (this.moveList[from] as Move[]).push(m);
          }
        }
        forEachDef(x, (r) => {
          touch(r);
          if (this.mine(r)) add(r);
        });
        forEachDef(x, (r) => {
          if (this.mine(r)) for (const l of now) this.link(l, r);
        });
        forEachDef(x, remove);
        forEachUse(x, (r) => {
          touch(r);
          add(r);
        });
        if (this.cls === 0) {
          forEachByteReg(x, (r) => {
            if (r >= FIRST_VIRTUAL) for (const p of [ESI, EDI, EBP]) this.link(p, r);
          });
        }
      }
      for (const r of now) where[r] = -1;
    });
  }

  /** A value that lives for at most three instructions gains nothing by a memory home: the reloads need registers at the same places. */
  private protectShort(): void {
    const start = new Int32Array(this.n).fill(-1), last = new Int32Array(this.n);
    let at = 0;
    for (const b of this.f.blocks) {
      at += 8;
      for (const x of b.ins) {
        at++;
        forEachUse(x, (r) => {
          if (start[r] === -1) start[r] = -2; // read before written: lives around a loop
          last[r] = at;
        });
        forEachDef(x, (r) => {
          if (start[r] === -1) start[r] = at;
          last[r] = at;
        });
      }
    }
    for (let r = FIRST_VIRTUAL; r < this.n; r++) if ((start[r] as number) >= 0 && (last[r] as number) - (start[r] as number) <= 3) this.cost[r] = Infinity;
  }

  private neighbours(r: number, f: (x: number) => void): void {
    for (const x of this.adjacent[r] as number[]) if ((this.state[x] as number) < 2) f(x);
  }
  private moveRelated(r: number): boolean {
    for (const m of this.moveList[r] as Move[]) if (m.state !== 'done') return true;
    return false;
  }
  private find(r: number): number {
    while (this.state[r] === 3) r = this.alias[r] as number;
    return r;
  }

  run(): Coloring {
    for (let r = FIRST_VIRTUAL; r < this.n; r++) {
      if (this.state[r] !== 1) continue;
      if (this.f.noSpill.has(r)) this.cost[r] = Infinity;
      this.place(r);
    }
    this.workMoves.sort((a, b) => a.weight - b.weight); // popped from the end: hottest first
    for (;;) {
      const s = first(this.simplifyList);
      if (s !== undefined) {
        this.simplifyList.delete(s);
        this.remove(s);
        continue;
      }
      const m = this.workMoves.pop();
      if (m !== undefined) {
        if (m.state === 'work') this.coalesce(m);
        continue;
      }
      const z = first(this.freezeList);
      if (z !== undefined) {
        this.freezeList.delete(z);
        this.simplifyList.add(z);
        this.freeze(z);
        continue;
      }
      if (this.spillList.size === 0) break;
      let best = -1, bestCost = Infinity;
      for (const r of this.spillList) {
        const c = (this.cost[r] as number) / (this.degree[r] as number);
        if (best < 0 || c < bestCost) {
          best = r;
          bestCost = c;
        }
      }
      this.spillList.delete(best);
      this.simplifyList.add(best);
      this.freeze(best);
    }
    return this.assign();
  }

  private place(r: number): void {
    if ((this.degree[r] as number) >= this.k) this.spillList.add(r);
    else if (this.moveRelated(r)) this.freezeList.add(r);
    else this.simplifyList.add(r);
  }
  private remove(r: number): void {
    this.state[r] = 2;
    this.stack.push(r);
    this.neighbours(r, (x) => this.decrement(x));
  }
  private decrement(x: number): void {
    if (x < FIRST_VIRTUAL) return;
    const d = this.degree[x] as number;
    this.degree[x] = d - 1;
    if (d !== this.k) return;
    this.enable(x);
    this.neighbours(x, (y) => this.enable(y));
    this.spillList.delete(x);
    if (this.moveRelated(x)) this.freezeList.add(x);
    else this.simplifyList.add(x);
  }
  private enable(r: number): void {
    for (const m of this.moveList[r] as Move[]) {
      if (m.state === 'active') {
        m.state = 'work';
        this.workMoves.push(m);
      }
    }
  }
  private ease(r: number): void {
    if (r >= FIRST_VIRTUAL && (this.degree[r] as number) < this.k && !this.moveRelated(r)) {
      this.freezeList.delete(r);
      this.spillList.delete(r);
      this.simplifyList.add(r);
    }
  }
  private coalesce(m: Move): void {
    let u = this.find(m.to), v = this.find(m.from);
    if (v < FIRST_VIRTUAL) [u, v] = [v, u];
    m.state = 'done';
    if (u === v) return this.ease(u);
    if (v < FIRST_VIRTUAL || this.linked(u, v)) {
      this.ease(u);
      this.ease(v);
      return;
    }
    if (u < FIRST_VIRTUAL ? this.george(u, v) : this.briggs(u, v)) {
      this.combine(u, v);
      this.ease(u);
    } else m.state = 'active';
  }
  private george(u: number, v: number): boolean {
    let ok = true;
    this.neighbours(v, (t) => {
      if (ok && !(t < FIRST_VIRTUAL || (this.degree[t] as number) < this.k || this.linked(t, u))) ok = false;
    });
    return ok;
  }
  private briggs(u: number, v: number): boolean {
    let high = 0;
    const count = (t: number): void => {
      let d = t < FIRST_VIRTUAL ? Infinity : (this.degree[t] as number);
      if (this.linked(t, u) && this.linked(t, v)) d--;
      if (d >= this.k) high++;
    };
    this.neighbours(u, count);
    this.neighbours(v, (t) => {
      if (!this.linked(t, u)) count(t);
    });
    return high < this.k;
  }
  private combine(u: number, v: number): void {
    this.freezeList.delete(v);
    this.spillList.delete(v);
    this.state[v] = 3;
    this.alias[v] = u;
    (this.moveList[u] as Move[]).push(...(this.moveList[v] as Move[]));
    this.cost[u] = (this.cost[u] as number) + (this.cost[v] as number);
    this.enable(v);
    for (const t of [...(this.adjacent[v] as number[])]) {
      if ((this.state[t] as number) >= 2) continue;
      if (!this.linked(t, u)) {
        this.link(t, u);
        // t loses v and gains u: its degree is unchanged
        if (t >= FIRST_VIRTUAL) this.degree[t] = (this.degree[t] as number) - 1;
      } else this.decrement(t);
    }
    if (u >= FIRST_VIRTUAL && (this.degree[u] as number) >= this.k && this.freezeList.has(u)) {
      this.freezeList.delete(u);
      this.spillList.add(u);
    }
  }
  private freeze(r: number): void {
    for (const m of this.moveList[r] as Move[]) {
      if (m.state === 'done') continue;
      m.state = 'done';
      const a = this.find(m.to), b = this.find(m.from);
      const other = b === this.find(r) ? a : b;
      this.ease2(other);
    }
  }
  private ease2(r: number): void {
    if (r >= FIRST_VIRTUAL && this.freezeList.has(r) && !this.moveRelated(r) && (this.degree[r] as number) < this.k) {
      this.freezeList.delete(r);
      this.simplifyList.add(r);
    }
  }

  private assign(): Coloring {
    const spilled: number[] = [];
    for (let p = 0; p < FIRST_VIRTUAL; p++) this.color[p] = p;
    const usedSaved = new Set<number>();
    for (let i = this.stack.length - 1; i >= 0; i--) {
      const r = this.stack[i] as number;
      let taken = 0;
      for (const x of this.adjacent[r] as number[]) {
        const y = this.find(x);
        const c = this.color[y] as number;
        if (c >= 0) taken |= 1 << c;
      }
      let choice = -1;
      // A register that makes a remaining move disappear, else caller-saved ones, else callee-saved ones already in use.
      let bestWeight = 0;
      for (const m of this.moveList[r] as Move[]) {
        const a = this.find(m.to), b = this.find(m.from);
        const c = this.color[a === r ? b : a] as number;
        if (c >= 0 && (taken & (1 << c)) === 0 && m.weight > bestWeight && this.f.cls[c] === this.cls && c !== ESP) {
          bestWeight = m.weight;
          choice = c;
        }
      }
      if (choice < 0) for (const c of this.order) if ((taken & (1 << c)) === 0 && (isCallerSaved(c) || usedSaved.has(c))) {
        choice = c;
        break;
      }
      if (choice < 0) for (const c of this.order) if ((taken & (1 << c)) === 0) {
        choice = c;
        break;
      }
      if (choice < 0) {
        spilled.push(r);
        continue;
      }
      if (!isCallerSaved(choice)) usedSaved.add(choice);
      this.color[r] = choice;
    }
    for (let r = FIRST_VIRTUAL; r < this.n; r++) if (this.state[r] === 3) this.color[r] = this.color[this.find(r)] as number;
    // A spilled node stands for all registers coalesced into it.
    const roots = new Set(spilled);
    const all: { r: number; root: number }[] = [];
    if (roots.size > 0) for (let r = FIRST_VIRTUAL; r < this.n; r++) if ((this.state[r] === 3 || this.state[r] === 2) && roots.has(this.find(r))) all.push({ r, root: this.find(r) });
    return { color: this.color, spilled: all };
  }
}
const isCallerSaved = (r: number): boolean => r === EAX || r === ECX || r === EDX || r >= 8;
const first = (s: Set<number>): number | undefined => {
  for (const r of s) return r;
  return undefined;
};
export const CALLEE_SAVED = [EBX, ESI, EDI, EBP] as const;
