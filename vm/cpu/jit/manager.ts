/**
 * Which code is hot, and the life of its regions.
 *
 * Heat is sampled, not counted: the engine runs in slices and shows where each slice ended, so the interpreter pays nothing. An EIP
 * where slices of HEAT_TO_COMPILE instructions together have ended becomes the head of a region. Compilation is synchronous here; when it
 * happens can change speed only, because a region and tier 0 do the same to the architectural state, instruction by instruction.
 *
 * A region is entered through tier 0 blocks: the first record of the block at each entry is overwritten with a REGION record, and a
 * shadow copy of the block stays for the times when the region cannot run (budget too small, page mapped elsewhere in this view).
 * Regions are made of code that this view has executed, so making one sets no accessed bit.
 *
 * Death: a store into a page of code kills its blocks (vm/cpu/blocks.ts), tells us through `dropped`, and every region with a byte on
 * that page is taken out. None is running then: a region leaves such stores to tier 0.
 *
 * Return: a server that is started again has the same text at the same addresses in other pages. Dead regions are kept; when a block is made of a
 * template (vm/cpu/templates.ts) where one of them began, and all its bytes are there again, it is put in place at the beginning of the next slice,
 * without heat, decoding or compiling.
 */
import { GUEST_RAM_BASE, type Board } from '../../board.ts';
import type { BlockCache } from '../blocks.ts';
import type { Mmu } from '../mmu.ts';
import { MODE, S } from '../state.ts';
import { discover, type Region } from './cfg.ts';
import { regionModule, usesX87 } from './region.ts';

/** A region costs some milliseconds, what the interpreter needs for a million instructions: code must have shown that it is worth that. */
export const HEAT_TO_COMPILE = 200_000;
/** Part of a slice in regions beyond which tier 0 is only on its way to one of their entries. */
const WELL_COVERED = 0.75;
const MAX_REGIONS = 1500;
/** Addresses about which something is known: heat, deaths, accesses that are not grouped. Beyond, it is learned again. */
const MAX_KNOWN = 1 << 15;
/** Modules kept for regions to come; the least recently used one goes. V8 holds a few thousand at most. */
const MAX_MODULES = 1000;
/** By everything that a module depends on: RegionManager.module. */
const modules = new Map<string, WebAssembly.Module>();
/** A head whose regions died this often within so many instructions (self-modifying code) stays in tier 0 until they are over. Restarts of servers are rarer. */
const MAX_DEATHS = 32, DEATHS_WINDOW = 1_000_000_000;
/** Dead regions kept, and for how many instructions one waits, once its head was seen again, for the rest of its pages. */
const MAX_DEAD = 400, MAX_WAIT = 20_000_000;
/** So many EXIT.SPLIT within so many instructions, and the instruction is compiled on its own. */
const MAX_SPLITS = 24, SPLIT_WINDOW = 200_000;
/** A region costs a way in and a way out, some 30 memory operations: as much as so many instructions in tier 0. System calls cut their loops into such pieces. */
const SHORT_PATH = 6;
const FLAT = MODE.CODE32 | MODE.STACK32 | MODE.DS_FLAT | MODE.ES_FLAT | MODE.SS_FLAT | MODE.CS_FLAT | MODE.PROTECTED;
/** Regions assume flat segments and whole blocks (context.ts, `linear`). */
const mayCompile = (mode: number): boolean => (mode & FLAT) === FLAT && (mode & (MODE.V86 | MODE.SINGLE)) === 0;

export interface RegionPolicy {
  /** Instructions seen in a block before a region begins there. */
  readonly heat: number;
  /** Half of the heads and entries, by a hash of their addresses, are left to tier 0. */
  readonly mixed: boolean;
}
const staysInTier0 = (eip: number): boolean => Math.imul(eip, 0x9e3779b1) < 0;

/** `code`: the bytes of each block. */
interface Compiled { readonly region: Region; readonly mode: number; readonly code: readonly Uint8Array[]; readonly module: WebAssembly.Module }
const deadKey = (head: number, mode: number): string => `${head} ${mode}`;
interface Installed extends Compiled {
  readonly slot: number;
  /** Virtual page -> physical page. */
  readonly pages: ReadonlyMap<number, number>;
  readonly records: readonly number[];
  /** EXIT.SPLIT since `splitsSince`, an instruction count. */
  splits: number;
  splitsSince: number;
}

export class RegionManager {
  private readonly board: Board;
  private readonly mmu: Mmu;
  private readonly blocks: BlockCache;
  private readonly words: Int32Array;
  private readonly parallel: boolean;
  private readonly place: (slot: number | undefined, fn: WebAssembly.ExportValue | null) => number;
  private readonly imports: (x87: boolean) => Readonly<Record<string, WebAssembly.ImportValue>>;
  private readonly heat = new Map<number, number>();
  private readonly bySlot = new Map<number, Installed>();
  private readonly byPage = new Map<number, Set<Installed>>();
  private readonly freeSlots: number[] = [];
  /** Heads that cannot be regions: nothing decodable, or they died again and again. */
  private readonly refused = new Map<number, { deaths: number; since: number }>();
  /** By head and mode; those whose head was seen again, and when. */
  private readonly dead = new Map<string, Compiled>();
  private readonly seen = new Map<string, number>();
  /** Instructions whose accesses are not grouped any more. */
  private readonly apart = new Set<number>();
  private readonly instructions: () => number;
  private readonly policy: RegionPolicy;

  constructor(board: Board, mmu: Mmu, blocks: BlockCache, words: Int32Array, parallel: boolean, imports: (x87: boolean) => Readonly<Record<string, WebAssembly.ImportValue>>, options: RegionPolicy, instructions: () => number, place: (slot: number | undefined, fn: WebAssembly.ExportValue | null) => number) {
    this.board = board; this.mmu = mmu; this.blocks = blocks; this.words = words; this.parallel = parallel; this.place = place; this.instructions = instructions; this.policy = options;
    this.imports = imports;
    blocks.dropped = page => this.dropPage(page);
    blocks.forgotten = () => this.reset();
    blocks.hasRegions = page => this.byPage.has(page);
    blocks.repeated = (linear, mode) => { if (this.dead.size === 0) return; const key = deadKey(linear >>> 0, mode); if (this.dead.has(key)) this.seen.set(key, this.instructions()); };
  }

  /** A slice of so many instructions, `inRegions` of them in regions, ended in the block at `eip`. True when that made a region. */
  sample(eip: number, instructions: number, inRegions: number): boolean {
    const words = this.words, mode = words[S.mode >> 2];
    if (!mayCompile(mode)) return false;
    const key = eip * 2 + (words[S.cpl >> 2] === 3 ? 1 : 0);
    // Every slice ends in tier 0, for want of budget. Code that a region has is left to it, unless tier 0 did most of the slice: then control
    // keeps coming to blocks that are not entries of the region they are in.
    const covered = this.covered(eip, mode);
    if (covered === 'entry' || (covered === 'inside' && inRegions > instructions * WELL_COVERED)) return false;
    if (this.isRefused(key)) return false;
    const seen = (this.heat.get(key) ?? 0) + instructions;
    if (seen < this.policy.heat || (this.policy.mixed && staysInTier0(eip))) {
      if (this.heat.size >= MAX_KNOWN) this.heat.clear();
      this.heat.set(key, seen);
      return false;
    }
    this.heat.delete(key);
    if (this.compile(eip, mode, this.policy.heat >= HEAT_TO_COMPILE ? SHORT_PATH : 0)) return true;
    this.refuse(key);
    return false;
  }
  private isRefused(key: number): boolean {
    const known = this.refused.get(key);
    return known !== undefined && known.deaths >= MAX_DEATHS && this.instructions() - known.since < DEATHS_WINDOW;
  }
  private refuse(key: number): void {
    const known = this.refused.get(key), now = this.instructions();
    if (known && now - known.since < DEATHS_WINDOW) { known.deaths++; return; }
    if (this.refused.size >= MAX_KNOWN) this.refused.clear();
    this.refused.set(key, { deaths: 1, since: now });
  }

  /** What is kept, for tests of its bounds. */
  get sizes(): { readonly regions: number; readonly heat: number; readonly refused: number; readonly apart: number; readonly dead: number; readonly seen: number; readonly pages: number; readonly modules: number } {
    return { regions: this.bySlot.size, heat: this.heat.size, refused: this.refused.size, apart: this.apart.size, dead: this.dead.size, seen: this.seen.size, pages: this.byPage.size, modules: modules.size };
  }

  /** Some regions wait for their pages. */
  get waits(): boolean { return this.seen.size > 0; }
  /** Between slices: dead regions whose code is there again, in the present view, are put back. */
  putBack(): void {
    const mode = this.words[S.mode >> 2];
    for (const [key, since] of [...this.seen]) {
      const compiled = this.dead.get(key);
      if (!compiled || this.instructions() - since > MAX_WAIT || this.isRefused(compiled.region.head * 2 + 1) || this.isRefused(compiled.region.head * 2)) { this.seen.delete(key); continue; }
      if (compiled.mode !== mode) continue;
      const used = this.pagesOf(compiled);
      if (used === undefined || compiled.region.blocks.some(({ insns }) => insns.some(({ eip, insn }) => this.blocks.leavesOut(eip, used.get(eip >>> 12)!, insn)))) continue;
      this.seen.delete(key);
      const first = this.blockAt(compiled.region.head, mode);
      if (!first || this.blocks.isRegion(first.record)) continue;
      this.install(compiled.region, mode, used, compiled.code, compiled.module);
      this.words[S.countReturned >> 2]++;
    }
  }
  /** Where the code of a region lies in the present view; undefined when it is not all there, executed before and the same. */
  private pagesOf({ region: { blocks }, code }: Compiled): Map<number, number> | undefined {
    const { mmu, board } = this, pages = new Map<number, number>();
    const physicalOf = (page: number): number => {
      let physical = pages.get(page);
      if (physical !== undefined) return physical;
      physical = mmu.isCodePage(page << 12) ? this.physicalPage(page << 12) : -1;
      pages.set(page, physical);
      return physical;
    };
    for (let k = 0; k < blocks.length; k++) {
      const { eip } = blocks[k], bytes = code[k];
      for (let n = 0; n < bytes.length; n++) {
        const at = eip + n, physical = physicalOf(at >>> 12);
        if (physical < 0 || board.ram[(physical << 12 | at & 4095) >>> 0] !== bytes[n]) return undefined;
      }
    }
    return pages;
  }

  /** Page of RAM that a linear address is mapped to, -1: none. Leaves no trace in the tables. */
  private physicalPage(va: number): number {
    const physical = this.mmu.inspect(va & ~4095);
    return physical < 0 || physical + 4096 > this.board.ramBytes ? -1 : physical >>> 12;
  }
  /** Whether a live region has this instruction, and whether it can be entered there. */
  private covered(eip: number, mode: number): 'entry' | 'inside' | 'no' {
    const physical = this.mmu.isCodePage(eip) ? this.physicalPage(eip) : -1;
    if (physical < 0) return 'no';
    let answer: 'inside' | 'no' = 'no';
    for (const { mode: compiled, pages, region } of this.byPage.get(physical) ?? []) {
      if (compiled !== mode || pages.get(eip >>> 12) !== physical) continue;
      const at = region.index.get(eip);
      if (at !== undefined && region.entries.includes(at)) return 'entry';
      if (region.blocks.some(block => eip >= block.eip && eip < block.next)) answer = 'inside';
    }
    return answer;
  }

  /** Makes a region of the code at `head`, hot or not; false where there can be none, or only one without a loop and with no more than `short` instructions. */
  compile(head: number, mode: number, short = 0): boolean {
    const { mmu, board } = this;
    if (!mayCompile(mode)) return false;
    if (this.bySlot.size >= MAX_REGIONS) this.reset();
    const pages = new Map<number, number>();
    const region = discover(head, mode, { page: page => {
      const known = pages.get(page >>> 12);
      if (known !== undefined) return board.ram.subarray(known << 12, (known << 12) + 4096);
      if (!mmu.isCodePage(page)) return null;
      const physical = this.physicalPage(page);
      if (physical < 0) return null;
      pages.set(page >>> 12, physical);
      return board.ram.subarray(physical << 12, (physical << 12) + 4096);
    }, avoid: (eip, insn) => {
      const page = pages.get(eip >>> 12);
      return page !== undefined && this.blocks.leavesOut(eip, page, insn);
    }, peek: va => mmu.peekMapped(va) });
    if (!region || region.blocks.length === 0) return false;
    if (short > 0 && !region.loopHeader.includes(true) && region.blocks.reduce((sum, { insns }) => sum + insns.length, 0) <= short) return false;
    const first = this.blockAt(region.head, mode);
    if (!first || this.blocks.isRegion(first.record)) return false;
    const used = new Map<number, number>();
    for (const block of region.blocks) for (const va of [block.eip >>> 12, (block.next - 1) >>> 12]) { const physical = pages.get(va); if (physical !== undefined) used.set(va, physical); }
    this.install(region, mode, used, region.blocks.map(({ eip, next }) => Uint8Array.from({ length: next - eip }, (_, n) => board.ram[(used.get(eip + n >>> 12)! << 12 | eip + n & 4095) >>> 0])));
    return true;
  }
  /** Puts a region in place. `compiled`: its module, when it lived before. */
  private install(region: Region, mode: number, used: ReadonlyMap<number, number>, code: readonly Uint8Array[], compiled?: WebAssembly.Module): void {
    const guarded = used.size > 1 ? [...used].sort((a, b) => a[0] - b[0]) : [];
    // A region that this one contains, say from a return address of a function to its end, would only be in the way.
    for (const [, physical] of used) {
      for (const old of [...this.byPage.get(physical) ?? []]) {
        if (old.mode === mode && old.region.blocks.every(block => region.index.has(block.eip)) && [...old.pages].every(([page, at]) => used.get(page) === at)) this.remove(old);
      }
    }
    const slot = this.place(this.freeSlots.pop(), null);
    const module = compiled ?? this.module(region, mode, guarded.map(([page]) => page), code);
    const env = { ...this.imports(usesX87(region)) };
    guarded.forEach(([page, physical], i) => { env[`guard${i}`] = guardEntry(page, physical); });
    const instance = new WebAssembly.Instance(module, { env });
    this.place(slot, instance.exports['region']);
    const records: number[] = [];
    for (const index of region.entries) {
      const eip = region.blocks[index].eip;
      if (this.policy.mixed && staysInTier0(eip)) continue;
      const block = this.blockAt(eip, mode);
      if (!block || block.secondPage >= 0 || this.blocks.isRegion(block.record)) continue;
      this.blocks.installRegion(block, slot, index, eip);
      records.push(block.record);
    }
    const installed: Installed = { slot, region, mode, code, module, pages: used, records, splits: 0, splitsSince: this.instructions() };
    this.bySlot.set(slot, installed);
    for (const [, physical] of used) {
      const set = this.byPage.get(physical);
      if (set) set.add(installed); else this.byPage.set(physical, new Set([installed]));
      if (guarded.length > 0) this.mmu.setGuarded(physical, true);
      this.blocks.watchWholePage(physical);
    }
    this.words[S.countRegions >> 2]++;
    this.dead.delete(deadKey(region.head, mode));
  }

  /**
   * The compiled module of a region. The same code at the same addresses is compiled once, wherever in physical memory it lies: a server
   * that is started again finds its regions, optimised by V8 already.
   */
  private module(region: Region, mode: number, guards: readonly number[], code: readonly Uint8Array[]): WebAssembly.Module {
    const { blocks, entries } = region;
    let key = `${this.parallel} ${mode} ${guards.join()} ${entries.map(entry => blocks[entry].eip).join()}`;
    blocks.forEach((block, k) => {
      key += `;${block.eip} ${block.next} ${block.leaves} `;
      for (const { eip } of block.insns) if (this.apart.has(eip)) key += `!${eip} `;
      key += String.fromCharCode(...code[k]);
    });
    let module = modules.get(key);
    if (module) modules.delete(key); else module = new WebAssembly.Module(regionModule(region, { parallel: this.parallel, guards, apart: this.apart }));
    modules.set(key, module);
    if (modules.size > MAX_MODULES) modules.delete(modules.keys().next().value!);
    return module;
  }

  private blockAt(eip: number, mode: number): ReturnType<BlockCache['find']> {
    const page = this.physicalPage(eip), physical = (page << 12 | eip & 4095) >>> 0;
    return page < 0 ? undefined : this.blocks.find(physical, mode) ?? this.blocks.block(eip | 0, physical, mode, this.words[S.cpl >> 2] === 3, 0);
  }

  /** The region of a record found a guard wrong. True when the view maps it as compiled after all: the entries are filled again. */
  revalidate(slot: number): boolean {
    const installed = this.bySlot.get(slot);
    if (!installed) return false;
    for (const [page, physical] of installed.pages) {
      if (this.mmu.isWatched(page) || !this.mmu.mayExecute(page << 12) || this.physicalPage(page << 12) !== physical) return false;
    }
    for (const [page, physical] of installed.pages) this.mmu.fillRead(page, physical);
    return true;
  }

  /** The region in `slot` left at state.eip because a group's accesses do not lie in one page that can be looked up. True when it is gone. */
  split(slot: number): boolean {
    const installed = this.bySlot.get(slot), now = this.instructions();
    if (!installed) return false;
    if (now - installed.splitsSince > SPLIT_WINDOW) { installed.splitsSince = now; installed.splits = 0; }
    if (++installed.splits < MAX_SPLITS) return false;
    if (this.apart.size >= MAX_KNOWN) this.apart.clear();
    this.apart.add(this.words[S.eip >> 2] >>> 0);
    this.remove(installed);
    return true;
  }

  private remove(installed: Installed): void {
    for (const record of installed.records) this.blocks.removeRegion(record, installed.slot);
    for (const [, physical] of installed.pages) {
      const set = this.byPage.get(physical);
      if (set?.delete(installed) && set.size === 0) { this.byPage.delete(physical); this.mmu.setGuarded(physical, false); }
    }
    this.bySlot.delete(installed.slot);
    this.place(installed.slot, null);
    this.freeSlots.push(installed.slot);
  }
  private dropPage(page: number): void {
    const set = this.byPage.get(page);
    if (!set || set.size === 0) return;
    for (const installed of [...set]) {
      this.remove(installed);
      this.keep(installed);
      const key = installed.region.head * 2;
      for (const k of [key, key + 1]) this.refuse(k);
    }
  }
  private keep({ region, mode, code, module }: Installed): void {
    const key = deadKey(region.head, mode);
    this.dead.delete(key);
    this.dead.set(key, { region, mode, code, module });
    if (this.dead.size > MAX_DEAD) { const oldest = this.dead.keys().next().value!; this.dead.delete(oldest); this.seen.delete(oldest); }
  }
  /** All translated code was forgotten. */
  private reset(): void {
    for (const installed of [...this.bySlot.values()]) { this.remove(installed); this.keep(installed); }
    this.apart.clear();
    this.heat.clear();
    this.refused.clear();
  }
}

export const guardEntry = (page: number, physicalPage: number): number => (GUEST_RAM_BASE + (physicalPage << 12) - (page << 12) - 3) | 0;
