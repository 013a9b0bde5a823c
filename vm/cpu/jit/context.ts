/**
 * Tier 1's binding of the lowering context: operands are constants, general registers are wasm locals, flags stay symbolic.
 *
 * Flags. Inside a block the last producer is remembered as trees over pinned locals and costs nothing until somebody asks. Between
 * blocks it travels in four locals, whatever the producer was:
 *
 *     flagKind   0: flagRes/flagAux locals hold the two flag words; else 1 + 3*kind + size, see FLAG_KINDS
 *     carryX, carryY   CF = carryX <u carryY, always valid
 *     result     the (zero-extended) result of inc and dec
 *
 *   add: carryX = result, carryY = a      sub: carryX = a, carryY = b      inc, dec: the pair of before      logic: as the result - 0
 *
 * so INC and DEC, which keep CF, do not touch the pair, and a loop that ends in `dec; jnz` moves three locals and computes nothing.
 * The flag words are made only where someone can see them: at exits (cold), by the shared helper `settle`.
 *
 * Exactness. Every way out goes through the shared exit: registers are spilled, EIP is that of the instruction, the budget pays for
 * the instructions in front of it. What would change translations under us is never done from here:
 * an access that reaches a device, code or a page table faults without a vector, and tier 0 runs the instruction (mmu.ts).
 */
import { Cx, aligned, type Direct, type FlagKind, type FpuNote, type PendingFlags, type SlowCalls } from '../lower/context.ts';
import type { Insn, Operand } from '../isa/decode.ts';
import { S, SEG, TABLE_BYTES, segSelector } from '../state.ts';
import * as w from '../wasm.ts';
import type { Fn, Label, N } from '../wasm.ts';
import { EXIT } from './exit.ts';
import type { Access, Group, Grouped } from './groups.ts';
import type { Stream, StripAccess, Stripped } from './strip.ts';

const k = w.k;
export const FLAG_KINDS: readonly Exclude<FlagKind, 'logic'>[] = ['add', 'sub', 'inc', 'dec'];
const SIZES = [8, 16, 32];
/** Number of a producer in `flagKind`; 0 = flag words. */
export const flagKindNumber = (kind: Exclude<FlagKind, 'logic'>, size: number): number => 1 + FLAG_KINDS.indexOf(kind) * 3 + SIZES.indexOf(size);

/** The locals of a region function. */
export interface Locals {
  readonly regs: readonly number[];
  /** XMM registers that the region has to do with; -1: others. */
  readonly xmm: readonly number[];
  readonly budget: number;
  readonly flagKind: number; readonly carryX: number; readonly carryY: number; readonly result: number;
  readonly flagRes: number; readonly flagAux: number;
  readonly exitEip: number; readonly exitCode: number;
  readonly dispatch: number;
  readonly tlbRead: number; readonly linear: number;
}

type Flags =
  /** As the four locals say; `kind` is known when there is only one way here. */
  | { readonly t: 'in'; readonly known: { readonly kind: FlagKind; readonly size: number } | null }
  | { readonly t: 'sym'; readonly kind: FlagKind; readonly size: number; readonly a: N; readonly b: N; readonly res: N; readonly x: N; readonly y: N }
  | { readonly t: 'from'; readonly size: number; readonly res: N; readonly cf: N; readonly of: N }
  /** As `before`, but for CF and OF. */
  | { readonly t: 'rotated'; readonly before: Exclude<Flags, { readonly t: 'rotated' }>; readonly cf: N; readonly of: N }
  | { readonly t: 'words' };

/** The entry of a stream's page; for one that stays where it is, also entry + lowest address. */
export interface StreamPlace { readonly entry: N; readonly host: N | null }

/** What a block leaves behind, for successors with no other predecessor. */
export type FlagsOut = { readonly kind: FlagKind; readonly size: number } | null;

interface CxState {
  readonly insn: Insn; readonly eip: number; readonly rest: number; readonly flagState: Flags; readonly pending: PendingFlags | null;
  readonly transferred: boolean; readonly due: number;
}

/** Where control goes; given by the structure emitter. */
export interface Targets {
  /** Continue at a known EIP (an edge of the current block). */
  edge(eip: number): void;
  /** Continue at a computed EIP. */
  indirect(eip: N): void;
  readonly exit: Label;
  /** Index of the helper (cpu, flagKind, carryX, carryY, result): writes the flag words to the state block. */
  readonly settle: number;
}

/** x87 operations of a region that are not calls: each is some 200 wasm instructions. */
const MAX_INLINE_X87 = 16;
/** Producers whose flags are plain functions of a, b and the result; others are settled at once. */
const SYMBOLIC = new Set(['add', 'sub', 'and', 'or', 'xor', 'cmp', 'test', 'inc', 'dec', 'neg', 'cmpxchg', 'xadd']);

export class RegionCx extends Cx {
  readonly at: Locals;
  readonly targets: Targets;
  /** Locals that are assigned again and again. */
  private readonly changing: ReadonlySet<number>;
  private insn!: Insn;
  private eip = 0;
  /** Instructions of the block from this one on. */
  private rest = 0;
  private flagState: Flags = { t: 'words' };
  private eager = false;
  /** Accesses of this instruction that belong to groups, and the address trees made for them. */
  private grouped: Grouped | undefined;
  private readonly tags = new Map<N, Access>();
  /** Host address of each group's lowest byte, minus 3. */
  private readonly hosts = new Map<Group, N>();
  /** In a strip: what was found of each stream in front of it. */
  private streams: ReadonlyMap<Stream, StreamPlace> | null = null;
  private stripped: Stripped | undefined;
  private readonly stripTags = new Map<N, StripAccess>();
  /** Result is in the block: true once control has been transferred. */
  transferred = false;

  constructor(fn: Fn, cpu: N, slow: SlowCalls, parallel: boolean, at: Locals, targets: Targets) {
    super(fn, cpu, slow, parallel);
    this.sseStays = true;
    this.fpuInline = MAX_INLINE_X87;
    this.at = at;
    this.changing = new Set([...at.regs, at.flagKind, at.carryX, at.carryY, at.result, at.flagRes, at.flagAux, at.budget]);
    this.targets = targets;
  }

  /**
   * Instructions up to the end of the block that the budget has not paid for yet. It pays once for a path, where something joins it: a budget that
   * changes in every block is one more register, because ways out of the block need the old value.
   */
  due = 0;
  /** `streams`: the block is a turn of a strip. `due`: of blocks before it. */
  beginBlock(known: FlagsOut, count: number, streams: ReadonlyMap<Stream, StreamPlace> | null = null): void {
    this.due += count;
    this.streams = streams;
    this.flagState = { t: 'in', known };
    this.adoptKnown();
    this.transferred = false;
    this.sseUsable = streams !== null;
    this.sseQuiet = streams ? k(1) : null;
    this.floatMasked = streams !== null;
    this.fpuUsable = false;
    this.fpuNote = null;
  }
  begin(insn: Insn, eip: number, rest: number, needFlags: boolean, grouped: Grouped | undefined, stripped?: Stripped): void {
    this.insn = insn;
    this.eip = eip;
    this.rest = rest;
    this.name = insn.entry.name;
    this.size = insn.size;
    this.operandSize = insn.entry.end || insn.entry.stack || this.name === 'cbw' || this.name === 'cwd' ? insn.operandSize : 32;
    this.lock = insn.lock;
    this.needFlags = needFlags;
    this.bitStringOffset = null;
    this.grouped = grouped;
    this.tags.clear();
    this.stripped = stripped;
    this.stripTags.clear();
    this.eager = !SYMBOLIC.has(this.name);
    if (insn.entry.str && insn.rep !== 0) { this.pay(); this.settleFlags(); }
  }
  /** The last x87 instruction of the block so far: written at the ways out and at the end of the block only. */
  private fpuNote: FpuNote | null = null;
  override noteFpu({ opcode, eip, operand }: FpuNote): void {
    this.fpuNote = { opcode, eip, operand: operand ? { offset: this.let(operand.offset), selector: operand.selector } : this.fpuNote?.operand ?? null };
  }
  /** In front of the block's last instruction, if that transfers control, and behind it otherwise. */
  flushFpuNote(): void { if (this.fpuNote) { super.noteFpu(this.fpuNote); this.fpuNote = null; } }

  // ---- operands
  private op(i: number): Operand { return this.insn.ops[i]; }
  operandClass(i: number): string { return this.op(i).c; }
  operandSizeOf(i: number): number { return this.op(i).size; }
  operandCount(): number { return this.insn.ops.length; }
  readRegister(i: number): N { const op = this.op(i) as Operand & { c: 'R' }; return this.getReg(op.reg, op.size); }
  writeRegister(i: number, value: N): void { const op = this.op(i) as Operand & { c: 'R' }; this.setReg(op.reg, op.size, value); }
  override writeFull(i: number, value: N): void {
    const op = this.op(i) as Operand & { c: 'R' };
    this.setReg(op.reg, this.insn.operandSize === 32 ? 32 : op.size, value);
  }
  getReg(reg: number, size: number): N {
    if (size === 32) return w.local(this.at.regs[reg]);
    if (size === 16) return w.and(w.local(this.at.regs[reg]), k(0xffff));
    return reg < 4 ? w.and(w.local(this.at.regs[reg]), k(0xff)) : w.and(w.shr(w.local(this.at.regs[reg - 4]), k(8)), k(0xff));
  }
  setReg(reg: number, size: number, value: N): void {
    if (size === 32) { this.fn.set(this.at.regs[reg], value); return; }
    const index = size === 8 ? reg & 3 : reg, shift = size === 8 && reg >= 4 ? 8 : 0, mask = size === 8 ? 0xff : 0xffff;
    const old = w.local(this.at.regs[index]);
    this.fn.set(this.at.regs[index], w.or(w.and(old, k(~(mask << shift))), w.shl(w.and(value, k(mask)), k(shift))));
  }
  xmmAddress(i: number): N { return w.add(this.cpu, k(S.xmm + (this.op(i) as Operand & { c: 'V' }).reg * 16)); }
  override xmmPlace(i: number): [N, number] { return [this.cpu, S.xmm + (this.op(i) as Operand & { c: 'V' }).reg * 16]; }
  // XMM registers are locals; those that were changed are written to the state block at the way out.
  /** Numbers of the XMM registers that somebody changes. */
  readonly xmmChanged = new Set<number>();
  private xmm(i: number): number { return (this.op(i) as Operand & { c: 'V' }).reg; }
  override getX(i: number): N { return w.local(this.at.xmm[this.xmm(i)], w.V); }
  override setX(i: number, value: N): void { const reg = this.xmm(i); this.xmmChanged.add(reg); this.fn.set(this.at.xmm[reg], value); }
  override getX64(i: number, lane = 0): N { return w.lane(w.simd(0x1d), w.L, lane, this.getX(i)); }
  override setX64(i: number, value: N, lane = 0): void { this.setX(i, w.lane(w.simd(0x1e), w.V, lane, this.getX(i), value)); }
  override getX32(i: number): N { return w.lane(w.simd(0x1b), w.I, 0, this.getX(i)); }
  override setX32(i: number, value: N): void { this.setX(i, w.lane(w.simd(0x1c), w.V, 0, this.getX(i), value)); }
  override spillX(i: number): void { this.fn.store128(this.cpu, this.getX(i), S.xmm + this.xmm(i) * 16); }
  override fillX(i: number): void { this.setX(i, w.load128(this.cpu, S.xmm + this.xmm(i) * 16)); }
  /** Constants in the locals of the function, made in front of everything. */
  private readonly splats = new Map<number, N>();
  splatsFor(values: readonly number[]): void { for (const value of values) this.splats.set(value, this.let(super.splat(value))); }
  override splat(value: number): N { return this.splats.get(value) ?? super.splat(value); }
  mmxAddress(i: number): N { return w.add(this.cpu, k(S.fpr + (this.op(i) as Operand & { c: 'P' }).reg * 16)); }
  stackIndex(i: number): N { return k((this.op(i) as Operand & { c: 'T' }).reg); }
  fpuOpcode(): N { return k((this.insn.opcode & 7) << 8 | this.insn.modrm); }
  instructionEip(): N { return k(this.eip); }
  operandSelector(i: number): N { return w.load(this.cpu, segSelector((this.op(i) as Operand & { c: 'M' }).seg)); }
  imm(i: number): N { const op = this.op(i); return k(op.c === 'S' ? op.reg : (op as Operand & { value: number }).value); }

  effective(i: number): N {
    const op = this.op(i) as Operand & { c: 'M' };
    let address: N = op.base >= 0 ? w.local(this.at.regs[op.base]) : k(0);
    if (op.index >= 0) address = w.add(address, w.shl(w.local(this.at.regs[op.index]), k(op.scale)));
    address = w.add(address, k(op.disp));
    if (this.bitStringOffset) address = w.add(address, this.bitStringOffset);
    return this.insn.addr16 ? w.and(address, k(0xffff)) : address;
  }
  linear(i: number, bytes: number, write: boolean): N {
    const op = this.op(i) as Operand & { c: 'M' };
    // Regions are made only when ES, CS, SS and DS are flat; FS and GS go through their caches, and code is never writable.
    if (op.seg < 4 && !(write && op.seg === SEG.CS)) {
      const address = this.effective(i);
      if (this.grouped?.explicit) this.tags.set(address, this.grouped.explicit);
      if (this.stripped?.explicit) this.stripTags.set(address, this.stripped.explicit);
      return address;
    }
    return this.segmented(k(segSelector(op.seg)), this.let(this.effective(i)), bytes, write);
  }
  override pinAddress(address: N): N {
    const pinned = this.let(address), access = this.tags.get(address), stripped = this.stripTags.get(address);
    if (access) this.tags.set(pinned, access);
    if (stripped) this.stripTags.set(pinned, stripped);
    return pinned;
  }
  override stackAddress(esp: N, _bytes: number, _write: boolean): N {
    if (this.grouped?.stack) this.tags.set(esp, this.grouped.stack);
    if (this.stripped?.stack) this.stripTags.set(esp, this.stripped.stack);
    return esp;
  }
  override direct(address: N, size: number, write: boolean): Direct | null {
    if (this.streams) return this.inStrip(this.streams, address, size, write);
    const access = this.tags.get(address);
    if (!access) return null;
    const { group, offset } = access;
    if (access.first) {
      const low = this.let(w.add(address, k(group.low)));
      this.hosts.set(group, this.hostOf(low, group.span, group.write, !group.oneAddress ? 0 : aligned(address, group.span) ? 1 : group.span));
    }
    return { host: this.hosts.get(group)!, offset: offset - group.low + 3 };
  }
  /** Nothing in a strip may take the slow path: it could take the entry of a stream away. */
  private inStrip(streams: ReadonlyMap<Stream, StreamPlace>, address: N, size: number, write: boolean): Direct {
    const access = this.stripTags.get(address);
    if (access) {
      const { stream, offset } = access, { entry, host } = streams.get(stream)!;
      return host ? { host, offset: offset - stream.low + 3 } : { host: w.add(address, entry), offset: 3 };
    }
    const bytes = size >> 3;
    return { host: this.hostOf(this.let(address), bytes, write, aligned(address, bytes) ? 1 : bytes), offset: 3 };
  }
  /**
   * Host address, minus 3, of `span` bytes from `low` on, which is pinned; leaves in front of the instruction where they are not in one mapped page.
   * `multiple`: a span that is a power of two cannot cross a page at multiples of this; 0: it could anywhere.
   */
  private hostOf(low: N, span: number, write: boolean, multiple: number): N {
    const { fn } = this, expected = this.expected(), entry = fn.newLocal(), host = fn.newLocal();
    const within = w.leu(w.and(low, k(4095)), k(4096 - span));
    fn.block(done => {
      fn.block(other => {
        fn.set(entry, this.entry(write ? this.tlbWrite() : this.tlbRead(), low));
        fn.brIf(other, w.ne(w.local(entry), expected), 0);
        if (span > 1 && multiple !== 1) fn.brIf(other, multiple === 0 ? w.eqz(within) : w.and(low, k(multiple - 1)), 0);
        fn.set(host, w.add(low, expected));
        fn.br(done);
      });
      const mapped = w.and(w.local(entry), k(1));
      fn.if(w.eqz(span > 1 ? w.and(mapped, within) : mapped), () => this.leaveAt(k(this.eip), this.rest, EXIT.SPLIT));
      fn.set(host, w.add(low, w.local(entry)));
    });
    return w.local(host);
  }
  implicitSegment(): N | null { return this.insn.seg >= 4 ? k(segSelector(this.insn.seg)) : null; }
  override expected(): N { return w.local(this.at.linear); }
  tlbRead(): N { return w.local(this.at.tlbRead); }
  /** Write tables lie behind read tables (views.ts): one register for both. */
  tlbWrite(): N { return w.add(this.tlbRead(), k(TABLE_BYTES)); }
  flatStack(): boolean { return true; }
  address16(): boolean { return this.insn.addr16; }
  repeat(): 0 | 2 | 3 { return !this.insn.entry.str || this.insn.rep === 0 ? 0 : this.insn.rep === 0xf2 ? 2 : 3; }
  nextEip(): N { return k(this.eip + this.insn.length); }

  /** The budget pays for what is due. */
  pay(): void {
    if (this.due !== 0) this.fn.set(this.at.budget, w.sub(w.local(this.at.budget), k(this.due)));
    this.due = 0;
  }

  // ---- state words that live in locals here
  override state(offset: number): N {
    if (offset === S.budget) return w.sub(w.local(this.at.budget), k(this.due));
    if (offset === S.flagRes) return this.flagRes();
    if (offset === S.flagAux) return this.flagAux();
    return super.state(offset);
  }
  override setState(offset: number, value: N): void {
    if (offset === S.budget) { if (this.due !== 0) throw new Error('budget written while something is due'); this.fn.set(this.at.budget, value); }
    else if (offset === S.flagRes) { this.fn.set(this.at.flagRes, value); this.flagState = { t: 'words' }; }
    else if (offset === S.flagAux) { this.settleFlags(); this.fn.set(this.at.flagAux, value); }
    else super.setState(offset, value);
  }

  // ---- slow paths and exits
  where(): [N, N] {
    // Record 0: a slow path that would touch a device gives up instead (a fault without vector), and tier 0 runs the instruction.
    return [k(0), k(this.eip)];
  }
  faultIf(condition?: N): void {
    const leave = (): void => this.leaveAt(k(this.eip), this.rest, EXIT.FAULT);
    if (condition) this.fn.if(condition, leave, undefined, 0); else leave();
  }
  restart(): void { this.leaveAt(k(this.eip), 0, EXIT.GO); }
  /** Leaves in front of this instruction, for tier 0 to run it, unless `condition` holds. */
  orTier0(condition: N): void { this.fn.if(w.eqz(condition), () => this.leaveAt(k(this.eip), this.rest, EXIT.GO), undefined, 0); }
  /** Instructions of the block from this one on. */
  get remaining(): number { return this.rest; }
  /** Leaves the region: flags to the four locals, budget but for `giveBack` instructions of what is due, then the shared exit. The static state is as before. */
  leaveAt(eip: N, giveBack: number, code: number): void {
    const fn = this.fn;
    fn.set(this.at.exitEip, eip);
    if (giveBack !== this.due) fn.set(this.at.budget, w.sub(w.local(this.at.budget), k(this.due - giveBack)));
    fn.set(this.at.exitCode, k(code));
    if (this.fpuNote) super.noteFpu(this.fpuNote);
    this.storeFlags();
    fn.br(this.targets.exit);
  }

  // ---- control transfer (the block's last instruction)
  private finish(transfer: () => void): void {
    this.transferred = true;
    transfer();
  }
  private target(i: number): number { return (this.eip + this.insn.length + (this.op(i) as Operand & { c: 'J' }).value) >>> 0; }
  branch(condition: N, i: number): void {
    const taken = this.target(i), next = (this.eip + this.insn.length) >>> 0;
    const pinned = this.let(condition);
    this.transferred = true;
    // Both ways lead to one block, which has us once among its predecessors: emitted twice, and what follows it four times, it would grow without bound.
    if (taken === next) { this.targets.edge(next); return; }
    if (w.isConst(pinned)) { this.targets.edge(pinned.n ? taken : next); return; }
    this.fn.if(pinned, () => this.targets.edge(taken), () => this.targets.edge(next));
  }
  jump(i: number): void { const to = this.target(i); this.finish(() => this.targets.edge(to)); }
  jumpTo(eip: N): void {
    if (w.isConst(eip)) { const to = eip.n >>> 0; this.finish(() => this.targets.edge(to)); return; }
    const pinned = this.let(eip);
    this.finish(() => this.targets.indirect(pinned));
  }
  /** Falls out of the block's end into the next block. */
  fallThrough(eip: number): void { this.targets.edge(eip); }

  /** Emitting a nested block changes the static state; the emitter brackets it. */
  snapshot(): CxState { return { insn: this.insn, eip: this.eip, rest: this.rest, flagState: this.flagState, pending: this.pending, transferred: this.transferred, due: this.due }; }
  restore(state: CxState): void {
    this.insn = state.insn; this.eip = state.eip; this.rest = state.rest; this.flagState = state.flagState;
    this.pending = state.pending; this.transferred = state.transferred; this.due = state.due;
  }

  // ---- flags
  /** What a successor that is reached only from here knows of the flags in the four locals. */
  get flagsOut(): FlagsOut {
    const s = this.flagState;
    return s.t === 'in' ? s.known : s.t === 'sym' ? { kind: s.kind, size: s.size } : null;
  }

  private adoptKnown(): void {
    const state = this.flagState;
    this.pending = state.t === 'in' && state.known ? this.producer(state.known) : null;
  }
  /** A producer of known kind, as trees over the four locals. */
  private producer({ kind, size }: NonNullable<FlagsOut>): PendingFlags {
    const x = w.local(this.at.carryX), y = w.local(this.at.carryY), res = w.local(this.at.result);
    if (kind === 'add') return { kind, size, a: y, b: w.sub(x, y), res: x };
    if (kind === 'sub') return { kind, size, a: x, b: y, res: w.sub(x, y) };
    if (kind === 'logic') return { kind, size, a: x, b: x, res: x };
    return { kind, size, a: kind === 'inc' ? w.sub(res, k(1)) : w.add(res, k(1)), b: k(1), res };
  }
  /** CF as a comparison x <u y. */
  private carryPair(): [N, N] {
    const s = this.flagState;
    switch (s.t) {
      case 'in': return [w.local(this.at.carryX), w.local(this.at.carryY)];
      case 'sym': return [s.x, s.y];
      case 'from': case 'rotated': return [k(0), s.cf];
      case 'words': return [k(0), w.shr(w.local(this.at.flagAux), k(31))];
    }
  }
  override zeroExtended(x: N, size: number): N { return w.isConst(x) ? this.unsigned(x, size) : x; }
  override carry(): N { const [x, y] = this.carryPair(); return w.ltu(x, y); }

  override flags(kind: FlagKind, size: number, a: N, b: N, res: N): void {
    if (!this.needFlags) { this.pending = null; return; }
    if (this.eager) { this.pending = { kind, size, a, b, res }; this.materialise(); this.pending = null; return; }
    let x: N, y: N;
    if (kind === 'add') { x = this.let(this.unsigned(res, size)); y = this.let(this.unsigned(a, size)); }
    else if (kind === 'sub') { x = this.let(this.unsigned(a, size)); y = this.let(this.unsigned(b, size)); }
    else if (kind === 'logic') { x = k(0); y = k(0); }
    else { const pair = this.carryPair(); x = this.let(pair[0]); y = this.let(pair[1]); }
    this.flagState = { t: 'sym', kind, size, a, b, res, x, y };
    this.pending = { kind, size, a, b, res };
  }
  override flagsFrom(size: number, res: N, cf: N, of: N): void {
    if (!this.needFlags) return;
    if (this.settledForArm) { super.flagsFrom(size, res, cf, of); return; }
    this.pending = null;
    this.flagState = { t: 'from', size, res: this.later(this.signed(res, size)), cf: this.later(cf), of: this.later(of) };
  }
  override setCarryOverflow(cf: N, of: N): void {
    if (!this.needFlags) return;
    if (this.settledForArm) { super.setCarryOverflow(cf, of); return; }
    const s = this.flagState;
    let before = s.t === 'rotated' ? s.before : s;
    if (before.t === 'in' && before.known) {
      // The locals that say it may be written before it is asked for.
      const { kind, size, a, b, res } = this.producer(before.known);
      before = { t: 'sym', kind, size, a: this.let(a), b: this.let(b), res: this.let(res), x: this.let(w.local(this.at.carryX)), y: this.let(w.local(this.at.carryY)) };
    }
    this.pending = null;
    this.flagState = { t: 'rotated', before, cf: this.later(cf), of: this.later(of) };
  }
  private static carryBits(cf: N, of: N): N { return w.or(w.shl(cf, k(31)), w.shl(w.xor(cf, of), k(30))); }
  /** What can be computed as well where it is needed, on a cold way out most of the time, stays a tree; all else is pinned. */
  private later(x: N): N { return w.isPure(x, index => !this.changing.has(index)) ? x : this.let(x); }
  override condition(cc: number): N {
    const s = this.flagState;
    if (s.t !== 'from') return super.condition(cc);
    const zero = w.eqz(s.res), sign = w.lt(s.res, k(0));
    const base = [s.of, s.cf, zero, w.or(s.cf, zero), sign, null, w.xor(sign, s.of), w.or(w.xor(sign, s.of), zero)][cc >> 1];
    return base === null ? super.condition(cc) : cc & 1 ? w.eqz(base) : base;
  }
  /** True once flags were settled because this instruction changes them conditionally: every arm then leaves words. */
  private settledForArm = false;
  settleFlags(): void {
    this.toWords();
    this.eager = true;
    this.settledForArm = true;
  }
  /** Lowers one instruction; resets the per-instruction modes. */
  lower(semantics: (c: Cx) => void): void {
    this.settledForArm = this.insn.entry.str && this.insn.rep !== 0;
    semantics(this);
  }
  override flagRes(): N { this.toWords(); return w.local(this.at.flagRes); }
  override flagAux(): N { this.toWords(); return w.local(this.at.flagAux); }
  override setFlagWords(res: N, aux: N): void {
    const r = this.let(res), a = this.let(aux);
    this.fn.set(this.at.flagAux, a);
    this.fn.set(this.at.flagRes, r);
    this.flagState = { t: 'words' };
  }
  /** Makes the two flag words in their locals. */
  private toWords(): void {
    const s = this.flagState, fn = this.fn, at = this.at;
    if (s.t === 'words') return;
    if (s.t === 'in') {
      if (s.known) {
        const { kind, size, a, b, res } = this.producer(s.known);
        this.wordsOf(kind, size, a, b, res, w.local(at.carryX), w.local(at.carryY));
      } else {
        fn.if(w.local(at.flagKind), () => {
          fn.do(w.call(this.targets.settle, 0x40, this.cpu, w.local(at.flagKind), w.local(at.carryX), w.local(at.carryY), w.local(at.result)));
          fn.set(at.flagRes, w.load(this.cpu, S.flagRes));
          fn.set(at.flagAux, w.load(this.cpu, S.flagAux));
        });
      }
    } else if (s.t === 'sym') this.wordsOf(s.kind, s.size, s.a, s.b, s.res, s.x, s.y);
    else if (s.t === 'from') {
      fn.set(at.flagAux, RegionCx.carryBits(s.cf, s.of));
      fn.set(at.flagRes, s.res);
    } else {
      this.flagState = s.before;
      this.toWords();
      fn.set(at.flagAux, w.or(w.and(w.local(at.flagAux), k(0x3fffffff)), RegionCx.carryBits(s.cf, s.of)));
    }
    this.flagState = { t: 'words' };
  }
  private wordsOf(kind: FlagKind, size: number, a: N, b: N, res: N, x: N, y: N): void {
    const fn = this.fn;
    const [flagRes, aux] = flagWords(this, kind, size, a, b, res, x, y);
    const r = this.let(flagRes);
    fn.set(this.at.flagAux, aux);
    fn.set(this.at.flagRes, r);
  }
  /** Writes the static state to the four locals (exits, and edges to blocks that need flags); what is known here stays. */
  storeFlags(): void {
    const s = this.flagState, fn = this.fn, at = this.at;
    if (s.t === 'in') return;
    if (s.t === 'from' || s.t === 'rotated') { this.toWords(); this.flagState = s; }
    if (s.t === 'sym') {
      const kind = s.kind === 'logic' ? 'sub' : s.kind, result = (): N => this.let(this.unsigned(s.res, s.size));
      const x = s.kind === 'logic' ? result() : this.let(s.x), y = this.let(s.y);
      if (kind === 'inc' || kind === 'dec') fn.set(at.result, result());
      fn.set(at.carryX, x);
      fn.set(at.carryY, y);
      fn.set(at.flagKind, k(flagKindNumber(kind, s.size)));
      return;
    }
    fn.set(at.carryX, k(0));
    fn.set(at.carryY, w.shr(w.local(at.flagAux), k(31)));
    fn.set(at.flagKind, k(0));
  }
}

/** flagRes and flagAux of a producer; x <u y is the CF that INC and DEC keep. */
export function flagWords(c: Pick<Cx, 'let' | 'carries' | 'normalise' | 'signed'>, kind: FlagKind, size: number, a: N, b: N, res: N, x: N, y: N): [N, N] {
  const flagRes = c.signed(res, size);
  if (kind === 'logic') return [flagRes, k(0)];
  const aux = c.normalise(c.carries(kind, a, b, res), size);
  if (kind !== 'inc' && kind !== 'dec') return [flagRes, aux];
  const fresh = c.let(aux);
  const difference = c.let(w.and(w.xor(fresh, w.shl(w.ltu(x, y), k(31))), k(0x80000000 | 0)));
  return [flagRes, w.xor(fresh, w.or(difference, w.shr(difference, k(1))))];
}
