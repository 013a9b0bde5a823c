/**
 * What is kept of page walks: the soft-MMU entries of the views (views.ts), which pages are tables and code, and what takes entries away again, stores to tables, INVLPG,
 * loads of CR3, and what other vCPUs tell (coherence.ts).
 *
 * Soft-MMU tables are flat arrays of 2^20 x i32 per (view, privilege, read/write): entry = host page - guest page - 3, zero = invalid. The generated fast path tests hit
 * and alignment at once. A write entry exists only for a present, writable, dirty RAM page that holds no translated code and is no table, so dirty tracking and
 * self-modifying code cost nothing on the fast path.
 */
import { DIRTY_ALL, GUEST_RAM_BASE, type Board } from '../../board.ts';
import { EVENT, type Coherence } from '../coherence.ts';
import { CR0, CR4, FLAG, S, VEC, WALK_FILLS } from '../state.ts';
import { JUMP_CACHE_BYTES } from '../tier0/record.ts';
import { DIRECTORY, View, type CodeDropped } from '../views.ts';
import { ACCESS, GuestFault, isMemory, PageWalk } from './walk.ts';

const ignored: CodeDropped = () => undefined;

/** Page-map bit: the page holds translated code; stores to it take the slow path. */
export const PAGE_CODE = 4;
/** Page-map bit: a walk has read the page as a page table; see views.ts. */
export const PAGE_TABLE = 8;

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

/** Stores to a page table between two walks of it, before it is taken for a page that is being filled. With others each one is an event for all. */
export const PATIENCE = 8;
const PATIENCE_SMP = 2;
/** Fills by which S.linear outlives a change of the guest's habits. */
export const MAX_VOTES = 32;

export abstract class Translations extends PageWalk {
  protected readonly cpu: number;
  /** All views of this vCPU; made when first needed. */
  private readonly views: View[] = [];
  private readonly viewLimit: number;
  protected readonly patience: number;
  /** There is no other vCPU that would have to be told of stores to tables. */
  private readonly alone: boolean;
  watch: AccessWatch | undefined;
  code: CodeWatcher = { written: () => undefined, hits: () => false, unmapped: () => undefined, dropped: () => undefined };

  constructor(board: Board, cpu: number, words: Int32Array, coherence: Coherence) {
    super(board, words, coherence);
    this.cpu = cpu;
    this.tableStores = new Uint8Array(board.ramBytes >>> 12);
    this.guarded = new Uint8Array(board.ramBytes >>> 12);
    this.alone = board.cpus === 1 && !coherence.parallel;
    this.patience = board.cpus === 1 ? PATIENCE : PATIENCE_SMP;
    this.viewLimit = Math.min(32, board.layout.viewsPerCpu);
    this.views.push(new View(board, cpu, 0));
    words[S.viewCount >> 2] = 1;
    words.fill(0, S.largeFilter >> 2, (S.largeFilter >> 2) + 32);
    words.fill(0, S.codeFilter >> 2, (S.codeFilter >> 2) + 128);
    words[S.viewIndex >> 2] = 0;
    this.forgetViews();
  }
  /** The current view. MOV CR3 in generated code changes it without telling. */
  protected get view(): View { return this.views[this.words[S.viewIndex >> 2]]; }
  /** Generated code may continue no view as it is: something of one has changed. */
  protected forgetViews(): void {
    const words = this.words;
    words.fill(0, S.viewDirectory >> 2, (S.viewDirectory >> 2) + 32 * 16);
    words[S.viewBase >> 2] = this.views[0].address;
    words[S.viewCaches >> 2] = this.views[0].jumpCacheAddress;
    words[S.coherence >> 2] = this.coherence.processedAt;
  }

  /**
   * From here on generated code may do walks of its own (tier0/walk.ts) through the directory and the table that the current view used last: until settle(). Only
   * without what it knows nothing of: PAE, SMEP, SMAP, watched pages.
   */
  protected permitWalks(): void {
    const words = this.words, view = this.view, directory = words[S.cr3 >> 2] & 0xfffff000;
    if (this.watch !== undefined || (words[S.cr4 >> 2] & (CR4.PAE | CR4.SMEP | CR4.SMAP)) !== 0 || view.lastTable < 0 || view.lastDirectory !== directory >>> 12 || view.lastGigabyte !== DIRECTORY
      || view.lastTable >= this.ramBytes >>> 12 || view.lastDirectory >= this.ramBytes >>> 12) return;
    words[S.walkDirectory >> 2] = directory;
    words[S.walkTable >> 2] = view.lastTable << 12;
    words[S.walkStretch >> 2] = view.lastSlot >> 1;
    words[S.walkRoom >> 2] = Math.min(WALK_FILLS, view.room);
    const memo = view.devicePage !== -1 && (view.deviceFor & 2) !== 0 && this.alone && view.devicePhysical < this.ramBytes ? view.devicePhysical : -1;
    words[S.storeTable >> 2] = memo;
    if (memo >= 0) { words[S.storeUser >> 2] = view.deviceFor & 1; words[S.storeRoom >> 2] = this.patience - this.tableStores[memo >>> 12]; }
    words[S.walkView >> 2] = view.index + 1;
  }
  /** What generated code has done by walks of its own is taken into the books, and it does none until it is permitted again: before anything that reads the books or changes them. */
  protected settle(): void { if (this.words[S.walkView >> 2] !== 0) this.settled(); }
  private settled(): void {
    const words = this.words, view = this.views[words[S.walkView >> 2] - 1], fills = words[S.walkFills >> 2];
    words[S.walkView >> 2] = 0;
    const stored = words[S.storeTable >> 2], walked = words[S.walked >> 2] !== 0;
    if (walked) this.tableStores[words[S.walkDirectory >> 2] >>> 12] = this.tableStores[words[S.walkTable >> 2] >>> 12] = 0;
    // Walks between the stores are counted in already.
    if (stored >= 0) this.tableStores[stored >>> 12] = this.patience - words[S.storeRoom >> 2];
    if (!walked) return;
    words[S.walked >> 2] = 0;
    for (let i = 0; i < fills; i++) { const fill = words[(S.walkFilled >> 2) + i]; view.noteFilled(fill & 0x1fffff, fill < 0, (fill & 1 << 30) !== 0); }
    words[S.walkFills >> 2] = 0;
  }

  /** Points the state block at the tables of the current privilege. */
  selectView(): void {
    const user = this.words[S.cpl >> 2] === 3;
    this.words[S.tlbRead >> 2] = this.view.address + (user ? 8 << 20 : 0);
    this.words[S.tlbWrite >> 2] = this.view.address + (user ? 12 << 20 : 4 << 20);
    this.words[S.jumpCache >> 2] = this.view.jumpCacheAddress + (user ? JUMP_CACHE_BYTES : 0);
  }

  /**
   * CR0.AM or CR4.SMAP is set: some translations may not be kept. With SMAP those of user pages for the supervisor, since STAC and CLAC would have
   * to drop them; with alignment checks on all of the user's, so that every access of generated code comes to be checked.
   */
  protected get unfilled(): boolean { return (this.words[S.cr0 >> 2] & CR0.AM) !== 0 || (this.words[S.cr4 >> 2] & CR4.SMAP) !== 0; }
  /** Whether the entry for what the last walk has found is one of those. */
  protected withholds(user: boolean): boolean {
    if (user) { if (this.aligned(true)) return true; this.userFilled = true; return false; }
    return this.walkedUserPage && (this.words[S.cr4 >> 2] & CR4.SMAP) !== 0;
  }
  /** #AC is on (SDM vol. 3 6.15). */
  protected aligned(user: boolean): boolean {
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
  protected requireAligned(va: number, bytes: number, user: boolean): void {
    if (va & bytes - 1 && this.aligned(user)) throw new GuestFault(VEC.AC, 0);
  }
  isWatched(page: number): boolean { return this.watch !== undefined && this.watch.pages.has(page); }
  protected fill(va: number, physical: number, write: boolean): void {
    if (this.isWatched(va >>> 12) || (this.unfilled && this.withholds(this.words[S.cpl >> 2] === 3)) || (this.walkedNoExecute && this.guarded[physical >>> 12] !== 0)) return;
    this.settle();
    if (write) this.dirtyMap[physical >>> 12] = DIRTY_ALL;
    const entry = GUEST_RAM_BASE + (physical & 0xfffff000) - (va & 0xfffff000) - 3 | 0;
    this.view.fill(va >>> 12, this.words[S.cpl >> 2] === 3 ? 1 : 0, entry, write);
    this.vote(entry);
  }
  /** Majority vote (Boyer and Moore) over the entries that are filled. */
  private vote(entry: number): void {
    const words = this.words;
    if (words[S.linear >> 2] === entry) { if (words[S.votes >> 2] < MAX_VOTES) words[S.votes >> 2]++; }
    else if (words[S.votes >> 2] > 0) words[S.votes >> 2]--;
    else { words[S.linear >> 2] = entry; words[S.votes >> 2] = 1; }
  }
  /**
   * By physical page: regions take a read entry for it as the right to execute (jit/region.ts). There is none then where data may be read but
   * code not fetched (NX, SMEP).
   */
  protected readonly guarded: Uint8Array;
  setGuarded(physicalPage: number, on: boolean): void {
    this.settle();
    if (on && this.guarded[physicalPage] === 0) for (const view of this.views) view.dropEntries(physicalPage);
    this.guarded[physicalPage] = on ? 1 : 0;
  }
  /** Entries in all views: what it costs to look through them. */
  get entries(): number { this.settle(); return this.views.reduce((sum, view) => sum + view.entries, 0); }
  /** Everything translated so far is forgotten: mode change, snapshot restore. */
  flush(): void {
    this.settle();
    this.words[S.countFlushes >> 2]++;
    for (const view of this.views) { view.flush(); view.cr3 = -1; }
    this.words.fill(0, S.largeFilter >> 2, (S.largeFilter >> 2) + 32);
    this.words.fill(0, S.codeFilter >> 2, (S.codeFilter >> 2) + 128);
    this.forgetViews();
    this.view.cr3 = this.words[S.cr3 >> 2];
    this.rememberPointers();
  }
  protected get pae(): boolean { return (this.words[S.cr4 >> 2] & CR4.PAE) !== 0; }
  private rememberPointers(): void { if (this.pae) this.view.pointers.set(this.words.subarray(S.pdpte0 >> 2, (S.pdpte0 >> 2) + 8)); }
  /** CR3 (and the PDPTEs) have been loaded: continue in that address space's view. */
  switchSpace(): void {
    this.settle();
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
  protected override usesTable(physical: number, slot: number): void {
    this.settle();
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
  protected readonly tableStores: Uint8Array;
  /**
   * A store to a page table: what was derived from the entry goes. A page that is stored to again and again without being walked is being
   * filled, and becomes an ordinary one.
   */
  tableStored(physical: number, bytes: number): void {
    this.settle();
    const page = physical >>> 12;
    if (this.tableStores[page]++ >= this.patience) { this.tableWritten(page); return; }
    for (const view of this.views) view.entryWritten(page, physical & 0xfff, bytes, this.pae, view === this.view ? this.unmapped : ignored);
    this.coherence.post(EVENT.TABLE_WRITTEN, page);
  }
  /** A page table has been stored to, nobody knows where: what was derived from it goes, and the page is an ordinary one again. */
  tableWritten(page: number): void {
    this.settle();
    Atomics.and(this.pageMap, page, ~PAGE_TABLE);
    for (const view of this.views) view.tableWritten(page, this.pae, view === this.view ? this.unmapped : ignored);
    this.forgetViews();
    this.coherence.post(EVENT.TABLE_WRITTEN, page);
  }
  private readonly unmapped: CodeDropped = (page, pages) => this.code.unmapped(page, pages);
  /** What other vCPUs have posted. What one vCPU stores while no other runs must not depend on what the others have cached: that is no state of the machine. */
  drain(): void {
    this.settle();
    this.forgetViews();
    this.coherence.drain((kind, page) => {
      if (kind === EVENT.CODE) { if (this.dropWriteEntries(page)) this.coherence.post(EVENT.CODE_WRITTEN, page); }
      else if (kind === EVENT.TABLE) { if (this.dropWriteEntries(page)) this.coherence.post(EVENT.TABLE_WRITTEN, page); }
      else if (kind === EVENT.TABLE_WRITTEN) { for (const view of this.views) if (view.tables.has(page)) { if (this.coherence.parallel) view.stale = true; else view.flush(); } }
      else this.code.dropped(page);
    }, () => { this.flush(); this.code.dropped(-1); });
  }
  protected override usesLargePage(va: number): void {
    this.view.largePages.add(va >>> 22);
    this.words[(S.largeFilter >> 2) + (va >>> 27)] |= 1 << (va >>> 22 & 31);
  }
  /** Generated code does the same where neither large pages nor code are about (tier0/system.ts). */
  invalidatePage(va: number): void {
    this.settle();
    // INVLPG of any address drops the whole large page (SDM vol. 3 4.10.4.1); other views may hold the page as a global one.
    for (const view of this.views) if (view.largePages.has(va >>> 22)) view.flush(); else view.dropPage(va >>> 12);
  }
  /** A physical page lost its write entries: it holds code or is a page table. True when there were any. */
  dropWriteEntries(physicalPage: number): boolean {
    this.settle();
    let found = false;
    for (const view of this.views) found = view.dropWriteEntries(physicalPage) || found;
    return found;
  }
  /** All write entries: a consumer has cleaned the dirty map. */
  dropAllWriteEntries(): void { this.settle(); for (const view of this.views) view.dropAllWriteEntries(); }
  /** An aligned dword through a read entry that exists already. */
  peekMapped(va: number): number | undefined {
    const at = (this.words[S.tlbRead >> 2] - this.view.address >> 2) + (va >>> 12), entry = this.view.table[at];
    return entry === 0 || va & 3 ? undefined : this.ramWords[(va + entry + 3 - GUEST_RAM_BASE) >>> 2];
  }
  /** Executed in this view at the current privilege. */
  isCodePage(va: number): boolean { return this.view.isCodePage(va >>> 12, this.words[S.cpl >> 2] === 3); }
  /** Whether code of the page may be run as if it had been looked up. */
  mayExecute(va: number): boolean { return this.isCodePage(va) || this.executesUnseen(va); }
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
  protected reach(va: number, write: boolean, user: boolean): number {
    const view = this.view, wanted = (user ? 1 : 0) | (write ? 2 : 0);
    if (view.devicePage === va >>> 12 && view.deviceFor === wanted) { this.walkedNoExecute = view.deviceNoExecute; return view.devicePhysical + (va & 0xfff); }
    const physical = this.walk(va, write ? ACCESS.WRITE : ACCESS.READ, user);
    if (physical >= 0 && this.isWithoutEntry(this.kind(physical), write) && !(this.unfilled && this.withholds(user))) { view.devicePage = va >>> 12; view.deviceFor = wanted; view.devicePhysical = physical - (va & 0xfff); view.deviceNoExecute = this.walkedNoExecute; }
    return physical;
  }

  private isWithoutEntry(kind: number, write: boolean): boolean { return !isMemory(kind) || (write && (kind & (PAGE_CODE | PAGE_TABLE)) !== 0); }
}
