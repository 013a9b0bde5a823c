/**
 * Paging: the walk, the soft-MMU tables, and guest memory access for TypeScript helpers.
 *
 * Soft-MMU tables are flat arrays of 2^20 x i32 per (view, privilege, read/write): entry = host page - guest page - 3, zero =
 * invalid. The generated fast path tests hit and alignment at once; everything else arrives at `slowRead`/`slowWrite` here.
 * A write entry exists only for a present, writable, dirty RAM page that holds no translated code, so dirty tracking and
 * self-modifying code cost nothing on the fast path.
 *
 * Views (views.ts) keep the tables of recent address spaces across CR3 loads; coherence.ts keeps them right on several vCPUs.
 *
 * SDM vol. 3 chapter 4: 32-bit paging with PSE, PAE paging with NX. Walks set A and D like the processor.
 */
import { DIRTY_ALL, GUEST_RAM_BASE, PAGE_KIND_MASK, PAGE_KIND_RAM, PAGE_KIND_ROM, type Board, type PhysAddr } from '../board.ts';
import type { AccessSize, Bus } from '../devices/bus.ts';
import { CR0, CR4, FLAG, S, VEC } from './state.ts';
import { JUMP_CACHE_BYTES } from './tier0/record.ts';
import { ONCE_IN_TIER0, REPEAT_IN_TIER0 } from './jit/exit.ts';
import { EVENT, type Coherence } from './coherence.ts';
import { SplitLock, updateBytes } from './split-lock.ts';
import { ATOMIC } from './lower/context.ts';
import { DIRECTORY, View, type CodeDropped } from './views.ts';

/** Thrown by TypeScript helpers to raise an exception in the guest; error -1 = no error code. */
export class GuestFault {
  readonly vector: number;
  readonly error: number;
  constructor(vector: number, error = -1) { this.vector = vector; this.error = error; }
}

const ignored: CodeDropped = () => undefined;
const isMemory = (kind: number): boolean => (kind & PAGE_KIND_MASK) === PAGE_KIND_RAM || (kind & PAGE_KIND_MASK) === PAGE_KIND_ROM;

/** Page-map bit: the page holds translated code; stores to it take the slow path. */
export const PAGE_CODE = 4;
/** Page-map bit: a walk has read the page as a page table; see views.ts. */
export const PAGE_TABLE = 8;

export const ACCESS = { READ: 0, WRITE: 1, EXECUTE: 2 } as const;

/** So many stores that a region gives up, one at least in so many instructions. */
const MAX_DISTURBANCES = 1000, DISTURBANCE_INSNS = 100;

/** What a store to a code page must tell. */
export interface CodeWatcher {
  written(physical: number, bytes: number): void;
  /** Would `written` find code? */
  hits(physical: number, bytes: number): boolean;
  /** Linear pages with looked-up code have lost their translation in the current view. */
  unmapped(page: number, pages: number): void;
  /** Another vCPU wrote code of this page (-1: of any page). */
  dropped(page: number): void;
}

/** Data breakpoints (engine.setDebug). A watched page has no entries in any view, so that every access of generated code comes here. */
export interface AccessWatch {
  /** Linear pages. */
  readonly pages: ReadonlySet<number>;
  overlaps(va: number, bytes: number): boolean;
  /** After the access. */
  accessed(va: number, bytes: number, write: boolean): void;
}

/** Fills by which S.linear outlives a change of the guest's habits. */
const MAX_VOTES = 32;
export class Mmu {
  readonly board: Board;
  readonly bus: Bus;
  readonly cpu: number;
  readonly words: Int32Array;
  private readonly coherence: Coherence;
  readonly ramWords: Int32Array;
  private readonly ramHalves: Uint16Array;
  private readonly ramQuads: BigInt64Array;
  private readonly splitQuads: BigUint64Array;
  private readonly splitLock: SplitLock;
  readonly ram: Uint8Array;
  readonly ramBytes: number;
  private readonly pageMap: Uint8Array;
  private readonly dirtyMap: Uint8Array;
  /** All views of this vCPU; made when first needed. */
  private readonly views: View[] = [];
  private readonly viewLimit: number;
  private readonly patience: number;
  watch: AccessWatch | undefined;
  code: CodeWatcher = { written: () => undefined, hits: () => false, unmapped: () => undefined, dropped: () => undefined };
  /** The vector of an access by generated code that wraps at 4 GiB (#GP, or #SS through the stack), or -1 where wrapping is legal. */
  wrapVector: (write: boolean) => number = () => VEC.GP;
  /** Called before the bus is used, to make `retired` exact, and after, because the bus may want attention. */
  beforeBus: () => void = () => undefined;
  afterBus: () => void = () => undefined;

  constructor(board: Board, cpu: number, bus: Bus, words: Int32Array, coherence: Coherence) {
    this.board = board; this.bus = bus; this.cpu = cpu; this.words = words; this.coherence = coherence;
    this.ram = board.ram; this.ramBytes = board.ramBytes;
    this.ramWords = new Int32Array(board.buffer, GUEST_RAM_BASE, board.ramBytes >> 2);
    this.ramHalves = new Uint16Array(board.buffer, GUEST_RAM_BASE, board.ramBytes >> 1);
    this.ramQuads = new BigInt64Array(board.buffer, GUEST_RAM_BASE, board.ramBytes >> 3);
    this.splitQuads = new BigUint64Array(board.buffer, GUEST_RAM_BASE, board.ramBytes >> 3);
    this.splitLock = new SplitLock(board, cpu);
    this.tableStores = new Uint8Array(board.ramBytes >>> 12);
    this.guarded = new Uint8Array(board.ramBytes >>> 12);
    // Each store is an event for the other vCPUs.
    this.patience = board.cpus === 1 ? 8 : 2;
    this.pageMap = board.pageMap; this.dirtyMap = board.dirtyMap;
    this.viewLimit = Math.min(32, board.layout.viewsPerCpu);
    this.views.push(new View(board, cpu, 0));
    words[S.viewCount >> 2] = 1;
    words.fill(0, S.largeFilter >> 2, (S.largeFilter >> 2) + 32);
    words.fill(0, S.codeFilter >> 2, (S.codeFilter >> 2) + 128);
    words[S.viewIndex >> 2] = 0;
    this.forgetViews();
  }
  /** The current view. MOV CR3 in generated code changes it without telling. */
  private get view(): View { return this.views[this.words[S.viewIndex >> 2]]; }
  /** Generated code may continue no view as it is: something of one has changed. */
  private forgetViews(): void {
    const words = this.words;
    words.fill(0, S.viewDirectory >> 2, (S.viewDirectory >> 2) + 32 * 16);
    words[S.viewBase >> 2] = this.views[0].address;
    words[S.viewCaches >> 2] = this.views[0].jumpCacheAddress;
    words[S.coherence >> 2] = this.coherence.processedAt;
  }

  /** Points the state block at the tables of the current privilege. */
  selectView(): void {
    const user = this.words[S.cpl >> 2] === 3;
    this.words[S.tlbRead >> 2] = this.view.address + (user ? 8 << 20 : 0);
    this.words[S.tlbWrite >> 2] = this.view.address + (user ? 12 << 20 : 4 << 20);
    this.words[S.jumpCache >> 2] = this.view.jumpCacheAddress + (user ? JUMP_CACHE_BYTES : 0);
  }

  // ---- the walk
  private faultCode = 0;
  /** The last walk ended at a page that is the user's. */
  private walkedUserPage = false;
  /** The accesses under way are the processor's own, to a descriptor table or TSS: AC does not excuse them from SMAP. */
  implicit = false;
  /** Code may not be fetched there. */
  private walkedNoExecute = false;
  /** A walk took write entries away: the table it read was ordinary memory before. */
  private walkDropped = false;
  /** Physical address, or -1 with `faultCode` set. */
  private walk(va: number, access: number, user: boolean): number {
    const words = this.words;
    const cr0 = words[S.cr0 >> 2];
    if (cr0 >= 0) { this.walkedUserPage = this.walkedNoExecute = false; return va >>> 0; }
    words[S.countWalks >> 2]++;
    const cr4 = words[S.cr4 >> 2];
    const write = access === ACCESS.WRITE, execute = access === ACCESS.EXECUTE;
    const nxe = (words[S.efer >> 2] & 0x800) !== 0;
    const base = (write ? 2 : 0) | (user ? 4 : 0) | (execute && ((nxe && (cr4 & CR4.PAE) !== 0) || (cr4 & CR4.SMEP) !== 0) ? 16 : 0);
    let writable = true, userPage = true, noExecute = false;
    let entryAt: number, physical: number, entry: number;
    if (cr4 & CR4.PAE) {
      const pointerAt = (S.pdpte0 >> 2) + (va >>> 30) * 2;
      const pointer = words[pointerAt];
      if (!(pointer & 1)) { this.faultCode = base; return -1; }
      entryAt = (pointer & 0xfffff000) + (va >>> 21 & 511) * 8 >>> 0;
      this.usesTable(entryAt, DIRECTORY - (va >>> 30));
      entry = this.tableWord(entryAt);
      let high = this.tableWord(entryAt + 4);
      if (!(entry & 1)) { this.faultCode = base; return -1; }
      if (this.reservedHigh(high, nxe)) { this.faultCode = base | 9; return -1; }
      writable = (entry & 2) !== 0; userPage = (entry & 4) !== 0; noExecute = high < 0;
      if (entry & 0x80) {
        if (entry & 0x1fe000) { this.faultCode = base | 9; return -1; }
        this.usesLargePage(va);
        physical = (entry & 0xffe00000 | va & 0x1fffff) >>> 0;
      } else {
        if (!(entry & 0x20) && !this.orTable(entryAt, entry, 0x20)) return this.walk(va, access, user);
        entryAt = (entry & 0xfffff000) + (va >>> 12 & 511) * 8 >>> 0;
        this.usesTable(entryAt, va >>> 21);
        entry = this.tableWord(entryAt);
        high = this.tableWord(entryAt + 4);
        if (!(entry & 1)) { this.faultCode = base; return -1; }
        if (this.reservedHigh(high, nxe)) { this.faultCode = base | 9; return -1; }
        writable &&= (entry & 2) !== 0; userPage &&= (entry & 4) !== 0; noExecute ||= high < 0;
        physical = (entry & 0xfffff000 | va & 0xfff) >>> 0;
      }
      if (high & 0xf) physical += (high & 0xf) * 2 ** 32;
    } else {
      entryAt = (words[S.cr3 >> 2] & 0xfffff000) + (va >>> 22) * 4 >>> 0;
      this.usesTable(entryAt, DIRECTORY);
      entry = this.tableWord(entryAt);
      if (!(entry & 1)) { this.faultCode = base; return -1; }
      writable = (entry & 2) !== 0; userPage = (entry & 4) !== 0;
      if (entry & 0x80 && cr4 & CR4.PSE) {
        if (entry & 0x3fe000) { this.faultCode = base | 9; return -1; }
        this.usesLargePage(va);
        physical = (entry & 0xffc00000 | va & 0x3fffff) >>> 0;
      } else {
        if (!(entry & 0x20) && !this.orTable(entryAt, entry, 0x20)) return this.walk(va, access, user);
        entryAt = (entry & 0xfffff000) + (va >>> 12 & 1023) * 4 >>> 0;
        this.usesTable(entryAt, va >>> 22 << 1);
        entry = this.tableWord(entryAt);
        if (!(entry & 1)) { this.faultCode = base; return -1; }
        writable &&= (entry & 2) !== 0; userPage &&= (entry & 4) !== 0;
        physical = (entry & 0xfffff000 | va & 0xfff) >>> 0;
      }
    }
    // SMAP: data of user pages is out of reach, but for explicit accesses with AC set; those of CPL 3 that come here are implicit (SDM vol. 3 4.6.1).
    if (userPage && !user && !execute && (cr4 & CR4.SMAP) !== 0 && ((words[S.eflags >> 2] & FLAG.AC) === 0 || words[S.cpl >> 2] === 3 || this.implicit)) { this.faultCode = base | 1; return -1; }
    this.walkedUserPage = userPage;
    this.walkedNoExecute = noExecute || (!user && userPage && (cr4 & CR4.SMEP) !== 0);
    if ((user && !userPage) || (write && !writable && (user || (cr0 & CR0.WP) !== 0))
      || (execute && (noExecute || (!user && userPage && (cr4 & CR4.SMEP) !== 0)))) { this.faultCode = base | 1; return -1; }
    const bits = 0x20 | (write ? 0x40 : 0);
    if ((entry & bits) !== bits && !this.orTable(entryAt, entry, bits)) return this.walk(va, access, user);
    return physical;
  }
  private reservedHigh(high: number, nxe: boolean): boolean { return (high & 0x7ffffff0) !== 0 || (high < 0 && !nxe); }
  private tableWord(physical: number): number { return physical < this.ramBytes ? this.ramWords[physical >>> 2] : -1; }
  /** Sets accessed and dirty bits (SDM vol. 3 4.8: a locked update). False: the entry is no longer what the walk has read, it must start again. */
  private orTable(physical: number, entry: number, bits: number): boolean {
    if (physical >= this.ramBytes) return true;
    this.dirtyMap[physical >>> 12] = DIRTY_ALL;
    if (!this.coherence.parallel) { this.ramWords[physical >>> 2] |= bits; return true; }
    for (let expected = entry; (expected & bits) !== bits;) {
      const seen = Atomics.compareExchange(this.ramWords, physical >>> 2, expected, expected | bits);
      if (seen === expected) return true;
      if ((seen ^ entry) & ~0x60) return false;
      expected = seen;
    }
    return true;
  }

  /** Physical address of `va`; throws #PF and sets CR2. */
  translate(va: number, access: number, user: boolean): number {
    const physical = this.walk(va, access, user);
    if (physical < 0) {
      this.words[S.cr2 >> 2] = va;
      throw new GuestFault(VEC.PF, this.faultCode);
    }
    return physical;
  }
  /** Where `va` is mapped, whatever the rights: changes nothing at all, not even accessed bits. -1 when unmapped. */
  inspect(va: number): number {
    const words = this.words;
    if (words[S.cr0 >> 2] >= 0) return va >>> 0;
    let entry: number;
    if (words[S.cr4 >> 2] & CR4.PAE) {
      const pointer = words[(S.pdpte0 >> 2) + (va >>> 30) * 2];
      if (!(pointer & 1)) return -1;
      let at = (pointer & 0xfffff000) + (va >>> 21 & 511) * 8 >>> 0, offset = 0x1fffff;
      entry = this.tableWord(at);
      if (!(entry & 1)) return -1;
      if (!(entry & 0x80)) { at = (entry & 0xfffff000) + (va >>> 12 & 511) * 8 >>> 0; offset = 0xfff; entry = this.tableWord(at); }
      return entry & 1 ? (this.tableWord(at + 4) & 0xf) * 2 ** 32 + ((entry & ~offset & 0xfffff000 | va & offset) >>> 0) : -1;
    } else {
      entry = this.tableWord((words[S.cr3 >> 2] & 0xfffff000) + (va >>> 22) * 4 >>> 0);
      if (!(entry & 1)) return -1;
      if (entry & 0x80 && words[S.cr4 >> 2] & CR4.PSE) return (entry & 0xffc00000 | va & 0x3fffff) >>> 0;
      entry = this.tableWord((entry & 0xfffff000) + (va >>> 12 & 1023) * 4 >>> 0);
    }
    return entry & 1 ? (entry & 0xfffff000 | va & 0xfff) >>> 0 : -1;
  }
  /** The byte of memory that a fetch would find at `va`; FFh where there is none. Changes nothing. */
  inspectByte(va: number): number {
    const physical = this.inspect(va);
    return physical >= 0 && physical < this.ramBytes && isMemory(this.kind(physical)) ? this.ram[physical] : 0xff;
  }
  /** PDPTEs for the CR3 value; false when one has reserved bits (#GP). */
  loadPdptes(cr3: number): boolean {
    const at = cr3 & 0xffffffe0;
    const loaded: number[] = [];
    for (let i = 0; i < 8; i++) loaded.push(this.tableWord((at + i * 4) >>> 0));
    for (let i = 0; i < 8; i += 2) if (loaded[i] & 1 && (loaded[i] & 0x1e6 || loaded[i + 1] & ~0xf)) return false;
    for (let i = 0; i < 8; i++) this.words[(S.pdpte0 >> 2) + i] = loaded[i];
    return true;
  }

  // ---- soft-MMU entries
  private kind(physical: number): number { return physical < 2 ** 32 ? this.pageMap[physical >>> 12] : 0; }
  /**
   * CR0.AM or CR4.SMAP is set: some translations may not be kept. With SMAP those of user pages for the supervisor, since STAC and CLAC would have
   * to drop them; with alignment checks on all of the user's, so that every access of generated code comes to be checked.
   */
  private get unfilled(): boolean { return (this.words[S.cr0 >> 2] & CR0.AM) !== 0 || (this.words[S.cr4 >> 2] & CR4.SMAP) !== 0; }
  /** Whether the entry for what the last walk has found is one of those. */
  private withholds(user: boolean): boolean {
    if (user) { if (this.aligned(true)) return true; this.userFilled = true; return false; }
    return this.walkedUserPage && (this.words[S.cr4 >> 2] & CR4.SMAP) !== 0;
  }
  /** #AC is on (SDM vol. 3 6.15). */
  private aligned(user: boolean): boolean {
    const words = this.words;
    return user && (words[S.cr0 >> 2] & CR0.AM) !== 0 && (words[S.eflags >> 2] & FLAG.AC) !== 0 && words[S.cpl >> 2] === 3;
  }
  private userFilled = true;
  /** EFLAGS.AC is set: with alignment checks on, entries of the user that were made without must go. */
  checkAlignment(): void {
    if (!this.aligned(true) || !this.userFilled) return;
    this.flush();
    this.userFilled = false;
  }
  private requireAligned(va: number, bytes: number, user: boolean): void {
    if (va & bytes - 1 && this.aligned(user)) throw new GuestFault(VEC.AC, 0);
  }
  isWatched(page: number): boolean { return this.watch !== undefined && this.watch.pages.has(page); }
  private fill(va: number, physical: number, write: boolean): void {
    if (this.isWatched(va >>> 12) || (this.unfilled && this.withholds(this.words[S.cpl >> 2] === 3)) || (this.walkedNoExecute && this.guarded[physical >>> 12] !== 0)) return;
    if (write) this.dirtyMap[physical >>> 12] = DIRTY_ALL;
    const entry = GUEST_RAM_BASE + (physical & 0xfffff000) - (va & 0xfffff000) - 3 | 0;
    this.view.fill(va >>> 12, this.words[S.cpl >> 2] === 3 ? 1 : 0, entry, write);
    this.vote(entry);
  }
  /** For how many fills the present value of S.linear has been right more often than wrong. */
  private votes = 0;
  /** Majority vote (Boyer and Moore) over the entries that are filled. */
  private vote(entry: number): void {
    const words = this.words;
    if (words[S.linear >> 2] === entry) { if (this.votes < MAX_VOTES) this.votes++; }
    else if (this.votes > 0) this.votes--;
    else { words[S.linear >> 2] = entry; this.votes = 1; }
  }
  /**
   * By physical page: regions take a read entry for it as the right to execute (jit/region.ts). There is none then where data may be read but
   * code not fetched (NX, SMEP).
   */
  private readonly guarded: Uint8Array;
  setGuarded(physicalPage: number, on: boolean): void {
    if (on && this.guarded[physicalPage] === 0) for (const view of this.views) view.dropEntries(physicalPage);
    this.guarded[physicalPage] = on ? 1 : 0;
  }
  /** Entries in all views: what it costs to look through them. */
  get entries(): number { return this.views.reduce((sum, view) => sum + view.entries, 0); }
  /** Everything translated so far is forgotten: mode change, snapshot restore. */
  flush(): void {
    this.words[S.countFlushes >> 2]++;
    for (const view of this.views) { view.flush(); view.cr3 = -1; }
    this.words.fill(0, S.largeFilter >> 2, (S.largeFilter >> 2) + 32);
    this.words.fill(0, S.codeFilter >> 2, (S.codeFilter >> 2) + 128);
    this.forgetViews();
    this.view.cr3 = this.words[S.cr3 >> 2];
    this.rememberPointers();
  }
  private get pae(): boolean { return (this.words[S.cr4 >> 2] & CR4.PAE) !== 0; }
  private rememberPointers(): void { if (this.pae) this.view.pointers.set(this.words.subarray(S.pdpte0 >> 2, (S.pdpte0 >> 2) + 8)); }
  /** CR3 (and the PDPTEs) have been loaded: continue in that address space's view. */
  switchSpace(): void {
    const cr3 = this.words[S.cr3 >> 2];
    if (this.coherence.pending) this.drain();
    let view = this.view;
    if (view.cr3 !== cr3) {
      const known = this.views.find(candidate => candidate.cr3 === cr3);
      view = known ?? this.freeView();
      if (!known) { view.flush(); view.cr3 = cr3; this.forgetViews(); }
      this.words[S.viewIndex >> 2] = view.index;
    }
    this.words[(S.viewUse >> 2) + view.index] = ++this.words[S.viewUses >> 2];
    let changed = view.stale;
    if (this.pae) for (let i = 0; i < 8; i++) changed ||= view.pointers[i] !== this.words[(S.pdpte0 >> 2) + i];
    if (changed || (view.needs !== 0 && !this.coherence.acknowledged(view.needs))) {
      this.words[S.countFlushes >> 2]++;
      view.flush();
    }
    view.needs = 0; // acknowledged, or flushed
    this.rememberPointers();
    this.selectView();
    const entry = (S.viewDirectory >> 2) + ((cr3 >>> 5 ^ cr3 >>> 12) & 31) * 16;
    this.words[entry] = cr3;
    this.words[entry + 1] = view.index + 1;
    this.words.set(view.pointers, entry + 4);
  }
  private freeView(): View {
    if (this.views.length < this.viewLimit) { const view = new View(this.board, this.cpu, this.views.length); this.words[S.viewCount >> 2] = this.views.push(view); return view; }
    const age = ({ index }: View): number => this.words[S.viewUses >> 2] - this.words[(S.viewUse >> 2) + index] >>> 0;
    return this.views.reduce((oldest, candidate) => age(candidate) > age(oldest) ? candidate : oldest);
  }
  /** A walk read an entry of the table at `physical`. */
  private usesTable(physical: number, slot: number): void {
    const page = physical >>> 12, view = this.view;
    this.tableStores[page] = 0;
    if (slot <= DIRECTORY ? view.lastDirectory === page && view.lastGigabyte === slot : view.lastTable === page && view.lastSlot === slot) return;
    const slots = view.tables.get(page);
    if (slot <= DIRECTORY) { view.lastDirectory = page; view.lastGigabyte = slot; } else { view.lastTable = page; view.lastSlot = slot; }
    if (slots?.includes(slot)) return;
    if (slots) slots.push(slot); else view.tables.set(page, [slot]);
    if (page >= this.ramBytes >>> 12) return;
    if (!(Atomics.or(this.pageMap, page, PAGE_TABLE) & PAGE_TABLE)) {
      if (this.dropWriteEntries(page)) this.walkDropped = true;
      view.needs = Math.max(view.needs, this.coherence.post(EVENT.TABLE, page));
    } else view.needs = Math.max(view.needs, this.coherence.head);
    if (view.needs !== 0) this.forgetViews();
  }
  /** Stores to each page table since a walk last read it, up to the patience. */
  private readonly tableStores: Uint8Array;
  /**
   * A store to a page table: what was derived from the entry goes. A page that is stored to again and again without being walked is being
   * filled, and becomes an ordinary one.
   */
  tableStored(physical: number, bytes: number): void {
    const page = physical >>> 12;
    if (this.tableStores[page]++ >= this.patience) { this.tableWritten(page); return; }
    for (const view of this.views) view.entryWritten(page, physical & 0xfff, bytes, this.pae, view === this.view ? this.unmapped : ignored);
    this.coherence.post(EVENT.TABLE_WRITTEN, page);
  }
  /** A page table has been stored to, nobody knows where: what was derived from it goes, and the page is an ordinary one again. */
  tableWritten(page: number): void {
    Atomics.and(this.pageMap, page, ~PAGE_TABLE);
    for (const view of this.views) view.tableWritten(page, this.pae, view === this.view ? this.unmapped : ignored);
    this.forgetViews();
    this.coherence.post(EVENT.TABLE_WRITTEN, page);
  }
  private readonly unmapped: CodeDropped = (page, pages) => this.code.unmapped(page, pages);
  /** What other vCPUs have posted. What one vCPU stores while no other runs must not depend on what the others have cached: that is no state of the machine. */
  drain(): void {
    this.forgetViews();
    this.coherence.drain((kind, page) => {
      if (kind === EVENT.CODE) { if (this.dropWriteEntries(page)) this.coherence.post(EVENT.CODE_WRITTEN, page); }
      else if (kind === EVENT.TABLE) { if (this.dropWriteEntries(page)) this.coherence.post(EVENT.TABLE_WRITTEN, page); }
      else if (kind === EVENT.TABLE_WRITTEN) { for (const view of this.views) if (view.tables.has(page)) { if (this.coherence.parallel) view.stale = true; else view.flush(); } }
      else this.code.dropped(page);
    }, () => { this.flush(); this.code.dropped(-1); });
  }
  private usesLargePage(va: number): void {
    this.view.largePages.add(va >>> 22);
    this.words[(S.largeFilter >> 2) + (va >>> 27)] |= 1 << (va >>> 22 & 31);
  }
  /** Generated code does the same where neither large pages nor code are about (tier0/system.ts). */
  invalidatePage(va: number): void {
    // INVLPG of any address drops the whole large page (SDM vol. 3 4.10.4.1); other views may hold the page as a global one.
    for (const view of this.views) if (view.largePages.has(va >>> 22)) view.flush(); else view.dropPage(va >>> 12);
  }
  /** A physical page lost its write entries: it holds code or is a page table. True when there were any. */
  dropWriteEntries(physicalPage: number): boolean {
    let found = false;
    for (const view of this.views) found = view.dropWriteEntries(physicalPage) || found;
    return found;
  }
  /** All write entries: a consumer has cleaned the dirty map. */
  dropAllWriteEntries(): void { for (const view of this.views) view.dropAllWriteEntries(); }
  /** An aligned dword through a read entry that exists already. */
  peekMapped(va: number): number | undefined {
    const at = (this.words[S.tlbRead >> 2] - this.view.address >> 2) + (va >>> 12), entry = this.view.table[at];
    return entry === 0 || va & 3 ? undefined : this.ramWords[(va + entry + 3 - GUEST_RAM_BASE) >>> 2];
  }
  /** Executed in this view at the current privilege. */
  isCodePage(va: number): boolean { return this.view.isCodePage(va >>> 12, this.words[S.cpl >> 2] === 3); }
  /**
   * Whether code of the page may be run as if it had been looked up: executed in this view before, or mapped, executable at the current
   * privilege level and marked as accessed at every level of the tables, so that a look-up would leave no trace in them.
   */
  mayExecute(va: number): boolean {
    if (this.isCodePage(va)) return true;
    const words = this.words, cr4 = words[S.cr4 >> 2];
    if (words[S.cr0 >> 2] >= 0) return true;
    let entry: number, both: number;
    if (cr4 & CR4.PAE) {
      const pointer = words[(S.pdpte0 >> 2) + (va >>> 30) * 2];
      if (!(pointer & 1)) return false;
      let at = (pointer & 0xfffff000) + (va >>> 21 & 511) * 8 >>> 0;
      both = entry = this.tableWord(at);
      if (!(entry & 1) || this.tableWord(at + 4) !== 0) return false;
      if (!(entry & 0x80)) {
        at = (entry & 0xfffff000) + (va >>> 12 & 511) * 8 >>> 0;
        both &= this.tableWord(at);
        if (this.tableWord(at + 4) !== 0) return false;
      } else if (entry & 0x1fe000) return false;
    } else {
      both = entry = this.tableWord((words[S.cr3 >> 2] & 0xfffff000) + (va >>> 22) * 4 >>> 0);
      if (!(entry & 1)) return false;
      if (!(entry & 0x80 && cr4 & CR4.PSE)) both &= this.tableWord((entry & 0xfffff000) + (va >>> 12 & 1023) * 4 >>> 0);
      else if (entry & 0x3fe000) return false;
    }
    if ((both & 0x21) !== 0x21) return false;
    return words[S.cpl >> 2] === 3 ? (both & 4) !== 0 : (cr4 & CR4.SMEP) === 0 || (both & 4) === 0;
  }
  /** A read entry for a page whose mapping the caller has verified. */
  fillRead(page: number, physicalPage: number): void {
    // With SMAP it would have to be known whose page it is.
    if (this.unfilled && (this.words[S.cpl >> 2] === 3 ? this.aligned(true) : (this.words[S.cr4 >> 2] & CR4.SMAP) !== 0)) return;
    this.walkedUserPage = this.walkedNoExecute = false;
    this.fill(page << 12, physicalPage * 4096, false);
  }
  /** Where the instruction at `va` is fetched from. */
  fetchFrom(va: number): number {
    const user = this.words[S.cpl >> 2] === 3, page = this.view.codePhysical(va >>> 12, user);
    return page >= 0 ? page + (va & 0xfff) : this.translate(va, ACCESS.EXECUTE, user);
  }
  /** Code at `va`, which is fetched from `physical`, has been looked up. */
  noteCodePage(va: number, physical: number): void {
    const user = this.words[S.cpl >> 2] === 3;
    if (this.view.isCodePage(va >>> 12, user)) return;
    this.words[(S.codeFilter >> 2) + (va >>> 17 & 127)] |= 1 << (va >>> 12 & 31);
    this.view.noteCodePage(va >>> 12, user, physical - (va & 0xfff));
  }
  private jumpCacheIndex(eip: number): number {
    return ((this.words[S.jumpCache >> 2] - this.view.jumpCacheAddress) >> 2) + ((eip ^ eip >>> 12) & 4095) * 4;
  }
  jumpCacheSet(eip: number, mode: number, record: number): void {
    const at = this.jumpCacheIndex(eip), caches = this.view.jumpCaches;
    caches[at] = eip; caches[at + 1] = mode; caches[at + 2] = record;
  }
  jumpCacheDrop(eip: number): void { this.view.jumpCaches[this.jumpCacheIndex(eip) + 1] = -1; }
  clearJumpCaches(): void { for (const view of this.views) view.clearJumpCaches(); }

  /** `walk` for an access by generated code: devices, and code and page tables for stores, have no entries and would be walked for every time. */
  private reach(va: number, write: boolean, user: boolean): number {
    const view = this.view, wanted = (user ? 1 : 0) | (write ? 2 : 0);
    if (view.devicePage === va >>> 12 && view.deviceFor === wanted) { this.walkedNoExecute = view.deviceNoExecute; return view.devicePhysical + (va & 0xfff); }
    const physical = this.walk(va, write ? ACCESS.WRITE : ACCESS.READ, user);
    if (physical >= 0 && this.isWithoutEntry(this.kind(physical), write) && !(this.unfilled && this.withholds(user))) { view.devicePage = va >>> 12; view.deviceFor = wanted; view.devicePhysical = physical - (va & 0xfff); view.deviceNoExecute = this.walkedNoExecute; }
    return physical;
  }

  private isWithoutEntry(kind: number, write: boolean): boolean { return !isMemory(kind) || (write && (kind & (PAGE_CODE | PAGE_TABLE)) !== 0); }

  // ---- access by physical address
  readPhysical(physical: number, size: number): number {
    const kind = this.kind(physical) & PAGE_KIND_MASK;
    if (kind === PAGE_KIND_RAM || kind === PAGE_KIND_ROM) {
      const ram = this.ram;
      if (physical + size <= this.ramBytes) {
        return size === 1 ? ram[physical] : size === 2 ? ram[physical] | ram[physical + 1] << 8
          : ram[physical] | ram[physical + 1] << 8 | ram[physical + 2] << 16 | ram[physical + 3] << 24;
      }
      return -1;
    }
    this.beforeBus();
    const value = this.bus.mmioRead(this.cpu, physical as PhysAddr, size as AccessSize);
    this.afterBus();
    return value;
  }
  writePhysical(physical: number, size: number, value: number): void {
    const kind = this.kind(physical);
    if ((kind & PAGE_KIND_MASK) === PAGE_KIND_RAM) {
      const ram = this.ram;
      this.dirtyMap[physical >>> 12] = DIRTY_ALL;
      if (size === 4 && !(physical & 3)) this.ramWords[physical >>> 2] = value;
      else for (let i = 0; i < size; i++) ram[physical + i] = value >>> i * 8;
      if (kind & PAGE_CODE) this.code.written(physical, size);
      if (kind & PAGE_TABLE) this.tableStored(physical, size);
      return;
    }
    if ((kind & PAGE_KIND_MASK) === PAGE_KIND_ROM) return;
    this.beforeBus();
    this.bus.mmioWrite(this.cpu, physical as PhysAddr, size as AccessSize, size === 4 ? value >>> 0 : size === 2 ? value & 0xffff : value & 0xff);
    this.afterBus();
  }

  // ---- access by linear address; `user` = checked as CPL 3
  read(va: number, size: number, user: boolean): number {
    if (user) this.requireAligned(va, size, true);
    if ((va & 0xfff) + size > 4096) {
      const first = this.translate(va, ACCESS.READ, user), boundary = (va & 0xfffff000) + 4096 | 0;
      const second = this.translate(boundary, ACCESS.READ, user);
      let value = 0;
      for (let i = 0; i < size; i++) {
        const offset = (va & 0xfff) + i;
        value |= (this.readPhysical(offset < 4096 ? first + i : second + offset - 4096, 1) & 0xff) << i * 8;
      }
      this.watch?.accessed(va, size, false);
      return value;
    }
    // An entry is a translation that was allowed, exactly as generated code takes it.
    const entry = this.view.table[(va >>> 12) + (user ? 0x200000 : 0)];
    const physical = entry !== 0 ? va + entry + 3 - GUEST_RAM_BASE >>> 0 : this.translate(va, ACCESS.READ, user);
    if (entry === 0) this.warm(va, physical, user, false);
    const value = this.readPhysical(physical, size);
    this.watch?.accessed(va, size, false);
    return size === 1 ? value & 0xff : size === 2 ? value & 0xffff : value | 0;
  }
  write(va: number, size: number, value: number, user: boolean): void {
    if (user) this.requireAligned(va, size, true);
    if ((va & 0xfff) + size > 4096) {
      const first = this.translate(va, ACCESS.WRITE, user), boundary = (va & 0xfffff000) + 4096 | 0;
      const second = this.translate(boundary, ACCESS.WRITE, user);
      for (let i = 0; i < size; i++) {
        const offset = (va & 0xfff) + i;
        this.writePhysical(offset < 4096 ? first + i : second + offset - 4096, 1, value >>> i * 8 & 0xff);
      }
      this.watch?.accessed(va, size, true);
      return;
    }
    const physical = this.translate(va, ACCESS.WRITE, user);
    this.warm(va, physical, user, true);
    this.writePhysical(physical, size, value);
    this.watch?.accessed(va, size, true);
  }
  /** Leaves an entry for the fast system operations, which refuse what is not mapped. */
  private warm(va: number, physical: number, user: boolean, write: boolean): void {
    const kind = this.kind(physical);
    if ((kind & PAGE_KIND_MASK) !== PAGE_KIND_RAM || this.isWatched(va >>> 12) || (this.unfilled && this.withholds(user)) || (this.walkedNoExecute && this.guarded[physical >>> 12] !== 0)) return;
    if (write && !(kind & (PAGE_CODE | PAGE_TABLE))) this.dirtyMap[physical >>> 12] = DIRTY_ALL;
    this.view.fill(va >>> 12, user ? 1 : 0, GUEST_RAM_BASE + (physical & 0xfffff000) - (va & 0xfffff000) - 3 | 0, write && !(kind & (PAGE_CODE | PAGE_TABLE)));
  }
  /** Faults exactly as a write of `bytes` would, without writing. */
  checkWrite(va: number, bytes: number, user: boolean): void {
    this.translate(va, ACCESS.WRITE, user);
    if ((va & 0xfff) + bytes > 4096) this.translate((va + bytes - 1 & 0xfffff000) | 0, ACCESS.WRITE, user);
  }

  // ---- slow paths of generated code: a fault goes to the state block
  private caught(fault: unknown): void {
    if (!(fault instanceof GuestFault)) throw fault;
    this.words[S.faultVector >> 2] = fault.vector;
    this.words[S.faultError >> 2] = fault.error;
    this.words[S.fault >> 2] = 1;
  }
  /** The #PF of the last walk, without the cost of throwing: it is the commonest fault. */
  private pageFault(va: number): void {
    const words = this.words;
    words[S.cr2 >> 2] = va;
    words[S.faultVector >> 2] = VEC.PF;
    words[S.faultError >> 2] = this.faultCode;
    words[S.fault >> 2] = 1;
  }
  private wraps(write: boolean): void {
    const vector = this.wrapVector(write);
    if (vector >= 0) throw new GuestFault(vector, 0);
  }
  /** A page-crossing access touches no device. */
  private bothMemory(va: number, size: number, access: number, user: boolean): boolean {
    return isMemory(this.kind(this.translate(va, access, user))) && isMemory(this.kind(this.translate((va + size - 1 & 0xfffff000) | 0, access, user)));
  }
  /** A region (record 0) leaves the instruction untouched to tier 0. */
  private giveUp(vector: number): number {
    this.words[S.faultVector >> 2] = vector;
    this.words[S.fault >> 2] = 1;
    return 0;
  }
  /** The store that regions gave up last, how often in a row, and since which instruction. */
  private disturber = 0; private disturbances = 0; private disturbedSince = 0;
  /** A region gives this store up, and nearly each time it comes by: tables are its business, and a region that it ends is of no use. Filling whole pages is not meant. */
  private disturbsOften(): boolean {
    const words = this.words, eip = words[S.blockEip >> 2], now = words[S.retiredEnd >> 2] - words[S.budget >> 2] | 0;
    if (eip !== this.disturber || (now - this.disturbedSince | 0) > this.disturbances * DISTURBANCE_INSNS + DISTURBANCE_INSNS) { this.disturber = eip; this.disturbances = 0; this.disturbedSince = now; }
    if (++this.disturbances < MAX_DISTURBANCES) return false;
    this.disturbances = 0;
    return true;
  }
  private get fromRegion(): boolean { return this.words[S.rec >> 2] === 0; }
  /** A store there takes translations away. */
  private disturbs(physical: number, size: number, kind: number): boolean {
    return ((kind & PAGE_TABLE) !== 0 && !(this.tableStores[physical >>> 12] < this.patience && this.absent(physical, size))) || ((kind & PAGE_CODE) !== 0 && this.code.hits(physical, size));
  }
  /** The entries of a table that these bytes belong to are not present: nothing can have been derived from them. */
  private absent(physical: number, size: number): boolean {
    const bytes = this.pae ? 8 : 4;
    for (let at = physical & -bytes; at < physical + size; at += bytes) if (this.tableWord(at >>> 0) & 1) return false;
    return true;
  }
  /** disturbs() for a store that crosses into the next page. */
  private disturbsAcross(va: number, size: number, user: boolean): boolean {
    const first = this.translate(va, ACCESS.WRITE, user), second = this.translate((va + size - 1 & 0xfffff000) | 0, ACCESS.WRITE, user), head = 4096 - (va & 0xfff);
    return this.disturbs(first, head, this.kind(first)) || this.disturbs(second, size - head, this.kind(second));
  }
  /** Size 8: only looks at the alignment; the two halves are read after it. */
  slowRead(va: number, size: number, forWrite: number): number {
    this.words[S.countSlow >> 2]++;
    this.walkDropped = false;
    const user = this.words[S.cpl >> 2] === 3;
    if (this.watch !== undefined && this.fromRegion && this.watch.overlaps(va, size)) return this.giveUp(REPEAT_IN_TIER0);
    try {
      if (va & size - 1) this.requireAligned(va, size, user);
      if (size > 4) return 0;
      if ((va & 0xfff) + size > 4096) {
        if ((va >>> 0) + size > 2 ** 32) this.wraps(false);
        if (this.fromRegion) {
          if (!this.bothMemory(va, size, forWrite ? ACCESS.WRITE : ACCESS.READ, user)) return this.giveUp(REPEAT_IN_TIER0);
          if (this.walkDropped || (forWrite && this.disturbsAcross(va, size, user))) return this.giveUp(ONCE_IN_TIER0);
        }
        if (forWrite) this.checkWrite(va, size, user);
        return this.read(va, size, user);
      }
      const physical = this.reach(va, forWrite !== 0, user);
      if (physical < 0) { this.pageFault(va); return 0; }
      const kind = this.kind(physical);
      if (this.fromRegion) {
        if (!isMemory(kind)) return this.giveUp(REPEAT_IN_TIER0);
        if (this.walkDropped || (forWrite && this.disturbs(physical, size, kind))) return this.giveUp(ONCE_IN_TIER0);
      }
      if ((kind & PAGE_KIND_MASK) === PAGE_KIND_RAM) this.fill(va, physical, forWrite !== 0 && !(kind & (PAGE_CODE | PAGE_TABLE)));
      else if ((kind & PAGE_KIND_MASK) === PAGE_KIND_ROM && physical < this.ramBytes) this.fill(va, physical, false);
      const value = this.readPhysical(physical, size);
      this.watch?.accessed(va, size, false);
      return size === 1 ? value & 0xff : size === 2 ? value & 0xffff : value;
    } catch (fault) { this.caught(fault); return 0; }
  }
  slowWrite(va: number, value: number, size: number): void {
    this.words[S.countSlow >> 2]++;
    this.walkDropped = false;
    const user = this.words[S.cpl >> 2] === 3;
    if (this.watch !== undefined && this.fromRegion && this.watch.overlaps(va, size)) { this.giveUp(REPEAT_IN_TIER0); return; }
    try {
      if (va & size - 1) this.requireAligned(va, size, user);
      if ((va & 0xfff) + size > 4096) {
        if ((va >>> 0) + size > 2 ** 32) this.wraps(true);
        if (this.fromRegion) {
          if (!this.bothMemory(va, size, ACCESS.WRITE, user)) { this.giveUp(REPEAT_IN_TIER0); return; }
          if (this.disturbsAcross(va, size, user) || this.walkDropped) { this.giveUp(ONCE_IN_TIER0); return; }
        }
        this.write(va, size, value, user);
        return;
      }
      const physical = this.reach(va, true, user);
      if (physical < 0) { this.pageFault(va); return; }
      const kind = this.kind(physical);
      if (this.fromRegion) {
        if (!isMemory(kind)) { this.giveUp(REPEAT_IN_TIER0); return; }
        if (this.walkDropped || this.disturbs(physical, size, kind)) { this.giveUp(this.disturbsOften() ? REPEAT_IN_TIER0 : ONCE_IN_TIER0); return; }
      }
      if ((kind & (PAGE_KIND_MASK | PAGE_CODE | PAGE_TABLE)) === PAGE_KIND_RAM) this.fill(va, physical, true);
      this.writePhysical(physical, size, value);
      this.watch?.accessed(va, size, true);
    } catch (fault) { this.caught(fault); }
  }
  /** Where a locked access goes: a RAM address when it can be atomic, -1 when not (device, misaligned); the soft MMU is filled. */
  private lockedTarget(va: number, bytes: number): number {
    this.walkDropped = false;
    if (this.watch !== undefined && this.fromRegion && this.watch.overlaps(va, bytes)) throw new GuestFault(REPEAT_IN_TIER0);
    const user = this.words[S.cpl >> 2] === 3;
    this.requireAligned(va, bytes, user);
    const physical = this.translate(va, ACCESS.WRITE, user);
    const kind = this.kind(physical);
    if ((kind & PAGE_KIND_MASK) !== PAGE_KIND_RAM) return -1;
    if (this.fromRegion && (this.walkDropped || this.disturbs(physical, bytes, kind))) throw new GuestFault(ONCE_IN_TIER0);
    if (!(kind & (PAGE_CODE | PAGE_TABLE))) this.fill(va, physical, true);
    return va & bytes - 1 ? -1 : physical;
  }
  private lockedStored(physical: number, bytes: number): void {
    this.dirtyMap[physical >>> 12] = DIRTY_ALL;
    const kind = this.kind(physical);
    if (kind & PAGE_CODE) this.code.written(physical, bytes);
    if (kind & PAGE_TABLE) this.tableStored(physical, bytes);
  }
  /**
   * A locked read-modify-write without a write entry; `what` = operation (lower/context.ts) | bytes << 8. RAM: atomic, misaligned too (split-lock.ts).
   * Devices: a read, then a write.
   */
  slowAtomic(va: number, what: number, value: number, expected: number): number {
    const bytes = what >> 8, operation = what & 0xff;
    if ((va & 0xfff) + bytes <= 4096) {
      try {
        const physical = this.lockedTarget(va, bytes);
        if (physical >= 0) {
          this.words[S.countSlow >> 2]++;
          const old = atomically(bytes === 4 ? this.ramWords : bytes === 2 ? this.ramHalves : this.ram, physical / bytes, operation, value, expected);
          this.lockedStored(physical, bytes);
          this.watch?.accessed(va, bytes, false);
          this.watch?.accessed(va, bytes, true);
          return old;
        }
      } catch (fault) { this.caught(fault); return 0; }
    }
    const signed = (x: bigint): number => bytes === 4 ? Number(BigInt.asIntN(32, x)) : Number(x), bits = bytes * 8;
    const across = va & bytes - 1 ? this.misaligned(va, bytes, x => BigInt.asUintN(bits, BigInt(combine(operation, signed(x), value, expected)))) : undefined;
    if (across !== undefined) return signed(across);
    const old = this.slowRead(va, bytes, 1);
    if (this.words[S.fault >> 2]) return 0;
    this.slowWrite(va, combine(operation, old, value, expected), bytes);
    return old;
  }
  /** A locked instruction on misaligned RAM: what was there, 0 with a fault in the state block, or undefined: one of the pages is a device's. */
  private misaligned(va: number, bytes: number, update: (old: bigint) => bigint): bigint | undefined {
    const user = this.words[S.cpl >> 2] === 3, crosses = (va & 0xfff) + bytes > 4096;
    this.walkDropped = false;
    try {
      this.requireAligned(va, bytes, user);
      if (this.watch !== undefined && this.fromRegion && this.watch.overlaps(va, bytes)) throw new GuestFault(REPEAT_IN_TIER0);
      if ((va >>> 0) + bytes > 2 ** 32) this.wraps(true);
      const first = this.translate(va, ACCESS.WRITE, user), head = 8 - (va & 7);
      const second = crosses ? this.translate((va + bytes - 1 & 0xfffff000) | 0, ACCESS.WRITE, user) : head < bytes ? first + head : first;
      const inFirst = crosses ? 4096 - (va & 0xfff) : bytes;
      if ((this.kind(first) & PAGE_KIND_MASK) !== PAGE_KIND_RAM || (this.kind(second) & PAGE_KIND_MASK) !== PAGE_KIND_RAM) return undefined;
      const disturbs = this.disturbs(first, inFirst, this.kind(first)) || (crosses && this.disturbs(second, bytes - inFirst, this.kind(second)));
      if (this.fromRegion && (this.walkDropped || disturbs)) throw new GuestFault(ONCE_IN_TIER0);
      this.words[S.countSlow >> 2]++;
      const old = this.splitLock.hold(() => updateBytes(this.splitQuads, first, second, bytes, update));
      this.lockedStored(first, inFirst);
      if (crosses) this.lockedStored(second, bytes - inFirst);
      this.watch?.accessed(va, bytes, false);
      this.watch?.accessed(va, bytes, true);
      return old;
    } catch (fault) { this.caught(fault); return 0n; }
  }
  /** LOCK CMPXCHG8B without a write entry. */
  slowExchange64(va: number, expected: bigint, replacement: bigint): bigint {
    if ((va & 0xfff) + 8 <= 4096) {
      try {
        const physical = this.lockedTarget(va, 8);
        if (physical >= 0) {
          this.words[S.countSlow >> 2]++;
          const old = Atomics.compareExchange(this.ramQuads, physical / 8, BigInt.asIntN(64, expected), BigInt.asIntN(64, replacement));
          this.lockedStored(physical, 8);
          this.watch?.accessed(va, 8, false);
          this.watch?.accessed(va, 8, true);
          return old;
        }
      } catch (fault) { this.caught(fault); return 0n; }
    }
    const across = va & 7 ? this.misaligned(va, 8, x => x === BigInt.asUintN(64, expected) ? BigInt.asUintN(64, replacement) : x) : undefined;
    if (across !== undefined) return BigInt.asIntN(64, across);
    const low = this.slowRead(va, 4, 1);
    if (this.words[S.fault >> 2]) return 0n;
    const high = this.slowRead(va + 4 | 0, 4, 1);
    if (this.words[S.fault >> 2]) return 0n;
    const old = BigInt(high) << 32n | BigInt(low >>> 0);
    const chosen = BigInt.asUintN(64, old) === BigInt.asUintN(64, expected) ? replacement : old;
    this.slowWrite(va, Number(BigInt.asIntN(32, chosen)), 4);
    if (!this.words[S.fault >> 2]) this.slowWrite(va + 4 | 0, Number(BigInt.asIntN(32, chosen >> 32n)), 4);
    return old;
  }
}

function atomically(view: Int32Array | Uint16Array | Uint8Array, index: number, operation: number, value: number, expected: number): number {
  switch (operation) {
    case ATOMIC.add: return Atomics.add(view, index, value);
    case ATOMIC.sub: return Atomics.sub(view, index, value);
    case ATOMIC.and: return Atomics.and(view, index, value);
    case ATOMIC.or: return Atomics.or(view, index, value);
    case ATOMIC.xor: return Atomics.xor(view, index, value);
    case ATOMIC.xchg: return Atomics.exchange(view, index, value);
    case ATOMIC.cmpxchg: return Atomics.compareExchange(view, index, expected, value);
    default: throw new RangeError(`locked operation ${operation}`);
  }
}
function combine(operation: number, old: number, value: number, expected: number): number {
  switch (operation) {
    case ATOMIC.add: return old + value | 0;
    case ATOMIC.sub: return old - value | 0;
    case ATOMIC.and: return old & value;
    case ATOMIC.or: return old | value;
    case ATOMIC.xor: return old ^ value;
    case ATOMIC.xchg: return value;
    case ATOMIC.cmpxchg: return old === expected ? value : old;
    default: throw new RangeError(`locked operation ${operation}`);
  }
}
