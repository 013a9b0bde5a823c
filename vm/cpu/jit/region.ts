/**
 * Tier 1: a hot region of guest code as one wasm function.
 *
 *   region(cpu, entry) -> EXIT.*       state.eip, budget and all registers are exact at every return
 *
 *   prologue   pages of the region still mapped as compiled? · registers, flags, table bases into locals
 *   dispatch   loop with one br_table over the entry blocks, where control arrives from outside and along retreating edges of
 *              irreducible loops, and one over a hash of their addresses for returns and other computed jumps
 *   blocks     structured control flow from the dominator tree (Ramsey, "Beyond Relooper", ICFP 2022): a loop header opens a
 *              `loop`, a merge point closes a `block`, everything else is nested where it is reached
 *   exit       one shared place that spills registers and flags
 *
 * The budget pays for instructions where paths join (context.ts, `due`). Whether the budget reaches is asked only where a path can begin, on edges to
 * entry blocks (loop headers among them) and in the dispatcher, for the longest path up to the next such question; where it does not,
 * the region leaves in front of that block and tier 0 runs the exact remainder. The attention word is looked at in the same places.
 * Flags travel along an edge only if the block behind it may show them to someone before overwriting them (plan.ts).
 *
 * Why: per-block functions with registers in memory cost 10-20 times native, one structured function with registers in locals and no
 * dead flags 1.3 before the soft MMU and 2.3 with it (geomean of seven hot loops).
 */
import { EXIT } from './exit.ts';
import { FLAG_KINDS, RegionCx, flagKindNumber, flagWords, type FlagsOut, type Locals, type StreamPlace } from './context.ts';
import { type Region } from './cfg.ts';
import { groupAccesses, type Groups } from './groups.ts';
import { planRegion, type Plan } from './plan.ts';
import { MAX_TURNS, MIN_TURNS, stripOf, type Stream, type Strip } from './strip.ts';
import { Cx, type SlowCalls } from '../lower/context.ts';
import { SEMANTICS } from '../lower/index.ts';
import { INLINE, inlined } from './inline.ts';
import { importSlowCalls } from '../tier0/module.ts';
import { CR0, CR4, S } from '../state.ts';
import { QUIET, splatsOf } from '../lower/sse.ts';
import * as w from '../wasm.ts';
import { I, ModuleBuilder, type Fn, type Label, type N } from '../wasm.ts';

const k = w.k;

export interface RegionOptions {
  readonly parallel: boolean;
  /** Virtual pages (addresses / 4096) whose read-table entries must be what the instance's globals say. */
  readonly guards: readonly number[];
  /** Instructions whose accesses belong to no group. */
  readonly apart: ReadonlySet<number>;
}

/**
 * Module with the region function, exported as `region`. Nothing in it depends on where the code lies in physical memory: each instance
 * gets the entries of its pages as the globals guard0, guard1...
 */
export function regionModule(region: Region, options: RegionOptions): Uint8Array {
  const module = new ModuleBuilder('region');
  const slow = importSlowCalls(module, usesX87(region));
  options.guards.forEach((_, i) => module.importGlobal(`guard${i}`));
  const settle = module.declare('settle', [I, I, I, I, I], []);
  const main = module.declare('region', [I, I], [I], true);
  module.define(settle, fn => defineSettle(fn, slow));
  module.define(main, fn => new RegionEmitter(fn, region, options, slow, settle).emit());
  return module.build();
}

/** Whether a region calls the functions of the x87 module. */
export const usesX87 = (region: Region): boolean => region.blocks.some(({ insns }) => insns.some(({ insn }) => insn.entry.fpu));

/** settle(cpu, flagKind, carryX, carryY, result): the flag words of a producer, into the state block. flagKind is not 0. */
function defineSettle(fn: Fn, _slow: SlowCalls): void {
  const [cpu, kindLocal, x, y, result] = [0, 1, 2, 3, 4].map(i => w.local(i));
  const helper = {
    let: (tree: N): N => fn.let(tree),
    carries: Cx.prototype.carries,
    normalise: Cx.prototype.normalise,
    signed: Cx.prototype.signed,
  };
  for (const kind of FLAG_KINDS) {
    for (const size of [8, 16, 32]) {
      fn.scope(() => fn.if(w.eq(kindLocal, k(flagKindNumber(kind, size))), () => {
        const one = k(1);
        const [a, b, res] = kind === 'add' ? [y, fn.let(w.sub(x, y)), x] : kind === 'sub' ? [x, y, fn.let(w.sub(x, y))]
          : kind === 'inc' ? [fn.let(w.sub(result, one)), one, result] : kind === 'dec' ? [fn.let(w.add(result, one)), one, result] : [result, result, result];
        const [flagRes, aux] = flagWords(helper, kind, size, a, b, res, x, y);
        fn.store(cpu, aux, S.flagAux);
        fn.store(cpu, flagRes, S.flagRes);
        fn.ret();
      }));
    }
  }
}

/** A block being emitted as a turn of a strip, which goes on at `again` while the budget is not below the local `end`. */
interface Turn { readonly strip: Strip; readonly streams: ReadonlyMap<Stream, StreamPlace>; readonly again: Label; readonly end: number }

/** Rounded down for positive numbers; a negative one gives a negative or zero. */
const quotient = (x: N, by: number): N => Number.isInteger(Math.log2(by)) ? w.sar(x, k(Math.log2(by))) : w.op2(0x6d, I, x, k(by));

/** XMM registers that a region has to do with. */
function xmmOf({ blocks }: Region): readonly boolean[] {
  const used = new Array<boolean>(8).fill(false);
  for (const { insns } of blocks) for (const { insn: { ops } } of insns) for (const op of ops) if (op.c === 'V') used[op.reg] = true;
  return used;
}

class RegionEmitter {
  private readonly fn: Fn;
  private readonly region: Region;
  private readonly options: RegionOptions;
  private readonly slow: SlowCalls;
  private readonly settle: number;
  private readonly plan: Plan;
  private readonly groups: Groups;
  /** By block. */
  private readonly strips: ReadonlyMap<number, Strip>;
  private readonly cpu = w.local(0);
  private at!: Locals;
  private cx!: RegionCx;
  private dispatchLabel!: Label;
  private readonly mergeLabels = new Map<number, Label>();
  private readonly loopLabels = new Map<number, Label>();
  private readonly children: number[][];
  private readonly isMerge: boolean[];
  private readonly flagsOut: FlagsOut[] = [];
  private current = 0;

  constructor(fn: Fn, region: Region, options: RegionOptions, slow: SlowCalls, settle: number) {
    this.fn = fn;
    this.region = region;
    this.options = options;
    this.slow = slow;
    this.settle = settle;
    const { blocks, idom, predecessors } = region;
    this.strips = new Map(blocks.flatMap((_, i) => { const strip = stripOf(region, i, options.apart); return strip ? [[i, strip] as const] : []; }));
    this.groups = groupAccesses(region, options.apart, this.strips);
    this.plan = planRegion(region, this.groups);
    this.children = blocks.map(() => []);
    idom.forEach((d, i) => { if (d >= 0) this.children[d].push(i); });
    this.isMerge = blocks.map((_, i) => idom[i] < 0 || predecessors[i].filter(p => p < i).length > 1 || predecessors[i].some(p => p < i && this.strips.has(p)));
  }

  emit(): void {
    const { fn, cpu, region, options } = this;
    const local = (): number => fn.newLocal();
    const regs = Array.from({ length: 8 }, local);
    this.at = {
      regs, budget: local(), flagKind: local(), carryX: local(), carryY: local(), result: local(), flagRes: local(), flagAux: local(),
      exitEip: local(), exitCode: local(), dispatch: local(), tlbRead: local(), linear: local(),
      xmm: xmmOf(region).map(used => used ? fn.newLocal(w.V) : -1),
    };
    const at = this.at;
    fn.set(at.tlbRead, w.load(cpu, S.tlbRead));
    options.guards.forEach((page, i) => {
      fn.if(w.ne(w.load(w.local(at.tlbRead), page * 4), w.global(i)), () => fn.ret(k(EXIT.MISS)), undefined, 0);
    });
    // Odd, as every entry is: never the zero of an entry that is not there.
    fn.set(at.linear, w.or(w.load(cpu, S.linear), k(1)));
    fn.set(at.budget, w.load(cpu, S.budget));
    regs.forEach((index, reg) => fn.set(index, w.load(cpu, reg * 4)));
    at.xmm.forEach((index, reg) => { if (index >= 0) fn.set(index, w.load128(cpu, S.xmm + reg * 16)); });
    fn.set(at.flagRes, w.load(cpu, S.flagRes));
    fn.set(at.flagAux, w.load(cpu, S.flagAux));
    fn.set(at.carryY, w.shr(w.local(at.flagAux), k(31)));
    fn.set(at.dispatch, w.local(1));
    fn.set(at.exitEip, w.load(cpu, S.eip));
    fn.block(exit => {
      this.cx = new RegionCx(fn, cpu, this.slow, options.parallel, at, { edge: eip => this.edge(eip), indirect: eip => this.indirect(eip), exit, settle: this.settle });
      this.cx.splatsFor(splatsOf(region));
      fn.loop(dispatch => {
        this.dispatchLabel = dispatch;
        const roots = region.blocks.map((_, i) => i).filter(i => region.idom[i] < 0);
        this.within(roots, () => {
          if (this.computes()) fn.if(w.lt(w.local(at.dispatch), k(0)), () => this.byEip(exit));
          this.checkpoint(this.plan.longest, () => { fn.set(at.exitCode, k(EXIT.GO)); fn.br(exit); });
          const fallback = this.mergeLabels.get(0)!;
          const labels = region.blocks.map((_, i) => this.mergeLabels.get(i) ?? fallback);
          fn.brTable(labels, fallback, w.local(at.dispatch));
        });
      });
      fn.unreachable();
    });
    regs.forEach((index, reg) => fn.store(cpu, w.local(index), reg * 4));
    for (const reg of this.cx.xmmChanged) fn.store128(cpu, w.local(at.xmm[reg], w.V), S.xmm + reg * 16);
    fn.if(w.local(at.flagKind), () => {
      fn.do(w.call(this.settle, 0x40, cpu, w.local(at.flagKind), w.local(at.carryX), w.local(at.carryY), w.local(at.result)));
    }, () => {
      fn.store(cpu, w.local(at.flagRes), S.flagRes);
      fn.store(cpu, w.local(at.flagAux), S.flagAux);
    });
    fn.store(cpu, w.local(at.budget), S.budget);
    fn.store(cpu, w.local(at.exitEip), S.eip);
    fn.emit(w.local(at.exitCode));
  }

  /** `body`, then the trees of the merge points in reverse post-order, each behind the end of its own wasm block. */
  private within(merges: readonly number[], body: () => void): void {
    const { fn } = this;
    const nest = (i: number): void => {
      if (i < 0) { body(); return; }
      fn.block(label => { this.mergeLabels.set(merges[i], label); nest(i - 1); });
      this.cx.due = 0;
      this.tree(merges[i]);
    };
    nest(merges.length - 1);
  }

  private tree(i: number): void {
    const { fn } = this;
    const strip = this.strips.get(i);
    const code = (): void => this.within(this.children[i].filter(child => this.isMerge[child]), () => {
      if (strip) { fn.scope(() => this.strip(i, strip)); this.cx.due = 0; }
      fn.scope(() => this.block(i));
    });
    if (this.region.loopHeader[i]) fn.loop(label => { this.loopLabels.set(i, label); code(); });
    else code();
    fn.unreachable();
  }

  private block(i: number, turn?: Turn): void {
    const { fn, at, cx } = this;
    const block = this.region.blocks[i];
    const saved = this.current;
    this.current = i;
    this.turn = turn;
    const count = block.insns.length;
    const predecessors = this.region.predecessors[i];
    cx.beginBlock(!this.isMerge[i] && !this.region.loopHeader[i] && predecessors.length === 1 ? this.flagsOut[predecessors[0]] : null, count, turn?.streams);
    const needed = turn ? turn.strip.flagsNeeded : this.plan.flagsNeeded[i], grouped = this.groups[i];
    block.insns.forEach(({ insn, eip }, n) => {
      cx.begin(insn, eip, count - n, needed[n], turn ? undefined : grouped.get(n), turn?.strip.accesses.get(n));
      const semantics = inlined(insn) ? () => INLINE[insn.entry.name](cx) : SEMANTICS[insn.entry.name];
      if (!semantics) throw new Error(`no semantics for ${insn.entry.name}`);
      if (insn.entry.end || (insn.entry.str && insn.rep !== 0)) cx.flushFpuNote();
      cx.lower(semantics);
    });
    cx.flushFpuNote();
    if (!cx.transferred) {
      if (block.leaves) cx.leaveAt(k(block.next), 0, EXIT.GO);
      else cx.fallThrough(block.targets[0]);
    }
    this.current = saved;
    this.turn = undefined;
  }

  /** The turn being emitted, when it is one of a strip. */
  private turn: Turn | undefined;
  /** A strip of block `i`, if there can be one now; the block itself follows (strip.ts). */
  private strip(i: number, strip: Strip): void {
    const { fn, at, cx } = this, count = this.region.blocks[i].insns.length;
    fn.block(none => {
      if (strip.sse) fn.brIf(none, w.or(w.and(w.load(this.cpu, S.cr0), k(CR0.EM | CR0.TS)), w.eqz(w.and(w.load(this.cpu, S.cr4), k(CR4.OSFXSR)))), 0);
      if (strip.float) fn.brIf(none, w.ne(w.and(w.load(this.cpu, S.mxcsr), k(QUIET.mask)), k(QUIET.value)), 0);
      const turns = fn.newLocal(), end = fn.newLocal(), streams = new Map<Stream, StreamPlace>();
      fn.set(turns, k(MAX_TURNS));
      for (const stream of strip.streams) {
        const { terms, step, low, span, write } = stream;
        const address = terms.reduce<N>((sum, { reg, scale }) => w.add(sum, w.shl(w.local(at.regs[reg]), k(scale))), k(0));
        const lowest = fn.let(w.add(address, k(low)));
        const entry = fn.let(cx.entry(write ? cx.tlbWrite() : cx.tlbRead(), lowest));
        fn.brIf(none, w.eqz(w.and(entry, k(1))), 0);
        /** Bytes that the stream can go forward; negative: not even one turn. */
        const room = fn.let(w.sub(k(4096 - span), w.and(lowest, k(4095))));
        if (step <= 0) fn.brIf(none, w.lt(room, k(0)), 0);
        if (step !== 0) {
          const most = fn.let(step > 0 ? quotient(room, step) : quotient(w.and(lowest, k(4095)), -step));
          fn.set(turns, w.select(most, w.local(turns), w.lt(most, w.local(turns))));
        }
        streams.set(stream, { entry, host: step === 0 ? fn.let(w.add(lowest, entry)) : null });
      }
      fn.brIf(none, w.lt(w.local(turns), k(MIN_TURNS - 1)), 0);
      fn.set(end, w.sub(w.local(at.budget), w.mul(w.local(turns), k(count))));
      fn.set(end, w.select(w.local(end), k(this.plan.path[i]), w.gt(w.local(end), k(this.plan.path[i]))));
      fn.loop(again => fn.scope(() => this.block(i, { strip, streams, again, end })));
      fn.unreachable();
    });
  }

  /** Transfers from the current block to a known EIP; flags are published. */
  private edge(eip: number): void {
    const before = this.cx.snapshot();
    this.follow(eip);
    this.cx.restore(before);
  }
  private follow(eip: number): void {
    const { fn, region, current } = this;
    const target = region.index.get(eip);
    if (this.turn && target === current) {
      const { strip, again, end } = this.turn;
      if (strip.flagsLive) this.cx.storeFlags();
      this.cx.pay();
      fn.brIf(again, w.ge(w.local(this.at.budget), w.local(end)), 1);
    }
    if (target === undefined) { this.cx.leaveAt(k(eip), 0, EXIT.GO); return; }
    if (this.plan.isEntry[target]) this.checkpoint(this.plan.path[target], () => this.cx.leaveAt(k(eip), 0, EXIT.GO));
    if (this.plan.flagsLive[target]) this.cx.storeFlags();
    this.flagsOut[current] = this.cx.flagsOut;
    if (target <= current) {
      const loop = this.loopLabels.get(target);
      if (loop && this.dominates(target, current)) { this.cx.pay(); fn.br(loop); } else this.redispatch(target);
      return;
    }
    if (this.isMerge[target]) { this.cx.pay(); fn.br(this.mergeLabels.get(target)!); } else this.tree(target);
  }
  /** Retreating edge into a block that does not dominate us: through the dispatcher when it is an entry, else outside. */
  private redispatch(target: number): void {
    const { fn, at, cx, region } = this, eip = k(region.blocks[target].eip);
    if (region.idom[target] >= 0) { cx.leaveAt(eip, 0, EXIT.GO); return; }
    cx.storeFlags();
    cx.pay();
    fn.set(at.dispatch, k(target));
    fn.set(at.exitEip, eip);
    fn.br(this.dispatchLabel);
  }
  private dominates(a: number, b: number): boolean {
    for (let x = b; x >= 0; x = this.region.idom[x]) if (x === a) return true;
    return false;
  }

  /** Leaves when the budget does not reach for `instructions` more, or somebody wants attention. */
  private checkpoint(instructions: number, leave: () => void): void {
    const short = w.lt(w.local(this.at.budget), k(instructions + this.cx.due));
    this.fn.if(this.options.parallel ? w.or(short, w.load(this.cpu, S.attention)) : short, leave, undefined, 0);
  }

  /** Some transfer has a computed target. */
  private computes(): boolean {
    return this.region.blocks.some(({ insns }) => /^(ret|jmp_ind|call_ind)$/.test(insns[insns.length - 1].insn.entry.name));
  }
  /** A computed target: an entry of this very region, or outside. */
  private indirect(eip: N): void {
    const { fn, at } = this;
    this.cx.storeFlags();
    this.cx.pay();
    fn.set(at.exitEip, eip);
    fn.set(at.dispatch, k(-1));
    fn.br(this.dispatchLabel);
  }
  /**
   * To the entry at `exitEip`, through a br_table over a multiplicative hash of the entries' addresses that was chosen to have short
   * chains. Regions may overlap: each knows its own entries.
   */
  private byEip(exit: Label): void {
    const { fn, at, region, plan } = this, eip = w.local(at.exitEip);
    const { multiplier, bits, chains } = hashOf(region.entries.map(entry => region.blocks[entry].eip));
    fn.block(miss => {
      const labels = new Array<Label>(1 << bits).fill(miss), used = [...chains];
      const nest = (i: number): void => {
        if (i < 0) { fn.brTable(labels, miss, bits === 0 ? k(0) : w.shr(w.mul(eip, k(multiplier)), k(32 - bits))); return; }
        fn.block(label => { labels[used[i][0]] = label; nest(i - 1); });
        for (const member of used[i][1]) {
          const entry = region.entries[member];
          fn.if(w.eq(eip, k(region.blocks[entry].eip)), () => {
            this.checkpoint(plan.path[entry], () => { fn.set(at.exitCode, k(EXIT.GO)); fn.br(exit); });
            fn.br(this.mergeLabels.get(entry)!);
          }, undefined, 1);
        }
        fn.br(miss);
      };
      nest(used.length - 1);
    });
    fn.set(at.exitCode, k(EXIT.GO));
    fn.br(exit);
  }
}

/** A hash (key * multiplier >>> 32 - bits) that spreads the keys well; `chains`: numbers of the keys by hash value. */
function hashOf(keys: readonly number[]): { multiplier: number; bits: number; chains: ReadonlyMap<number, readonly number[]> } {
  const bits = Math.ceil(Math.log2(keys.length * 2));
  let best: { multiplier: number; bits: number; chains: Map<number, number[]> } | undefined, fewest = Infinity;
  let multiplier = 0x9e3779b1;
  for (let attempt = 0; attempt < 64 && fewest > keys.length; attempt++) {
    const chains = new Map<number, number[]>();
    keys.forEach((key, i) => {
      const hash = bits === 0 ? 0 : Math.imul(key, multiplier) >>> (32 - bits), chain = chains.get(hash);
      if (chain) chain.push(i); else chains.set(hash, [i]);
    });
    const comparisons = [...chains.values()].reduce((sum, { length }) => sum + length * (length + 1) / 2, 0);
    if (comparisons < fewest) { fewest = comparisons; best = { multiplier, bits, chains }; }
    multiplier = (Math.imul(multiplier, 0x6c078965) + 1013904223 | 1) >>> 0;
  }
  return best!;
}
