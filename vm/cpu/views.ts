/**
 * Soft-MMU views: the translations of one address space (CR3), kept across CR3 loads.
 *
 * A view owns four flat tables (kernel read, kernel write, user read, user write; 4 MiB each, committed on touch), the list of
 * filled entries that makes flushing cheap, and two jump caches. A switch of address spaces is a pointer swap.
 *
 * A retained view must never hold what a CR3 load would have thrown away. So pages read in walks are page tables (PAGE_TABLE in the
 * page map, no write entries anywhere); a store to one drops what was derived from the bytes it hit, a DMA or too many stores everything derived
 * from the page, at once: what is cached here never shows (but for what other vCPUs store in parallel mode). `stale` views and views that depend on pages some running vCPU may still write unseen are flushed when
 * they are selected: the guarantee is that of a real TLB or better.
 */
import { GUEST_RAM_BASE, type Board } from '../board.ts';
import { S } from './state.ts';
import { JUMP_CACHE_BYTES } from './tier0/record.ts';

const MAX_FILLED = 8192;
/** Pages of one view with code in its jump caches: 64 MiB of text. */
const MAX_CODE_PAGES = 1 << 14;
export const VIEW_CACHE_BYTES = JUMP_CACHE_BYTES * 2;
/** `tables` slot of a page directory; with PAE minus the number of the gigabyte it maps. */
export const DIRECTORY = -1;
/** Told when pages with looked-up code have lost their translation. */
export type CodeDropped = (page: number, pages: number) => void;

export class View {
  readonly index: number;
  readonly address: number;
  readonly table: Int32Array;
  readonly jumpCacheAddress: number;
  readonly jumpCaches: Int32Array;
  /** CR3 and PDPTEs it belongs to; -1 = free. */
  cr3 = -1;
  readonly pointers = new Int32Array(8);
  stale = false;
  /** Log index that the other vCPUs must have processed before this view is coherent. */
  needs = 0;
  /** Page tables used: physical page -> 2 MiB (PAE) or 4 MiB stretches (as va >>> 21) it maps, or DIRECTORY. */
  readonly tables = new Map<number, number[]>();
  /** What is in `tables` for certain: the last directory with its slot and the last table with its stretch; -1: none. */
  lastDirectory = -1;
  lastGigabyte = 0;
  lastTable = -1;
  lastSlot = 0;
  /** Virtual pages with jump-cache entries, page number * 2 + user, and the physical address each leads to: looked up like the entries, without a walk. */
  private readonly codePages = new Map<number, number>();
  /** 4 MiB stretches translated by large pages. */
  readonly largePages = new Set<number>();
  /**
   * The page of a device that was accessed last, which has no entries: what a walk for it found. Kept and dropped like entries.
   * `deviceFor`: bit 0 user, bit 1 write.
   */
  get devicePage(): number { return this.device[0]; }
  set devicePage(page: number) { this.device[0] = page; }
  private readonly device: Int32Array;
  deviceFor = 0;
  devicePhysical = 0;
  /** Mmu.walkedNoExecute of that walk. */
  deviceNoExecute = false;
  /** Filled entries: page number * 2 + user. */
  private readonly filled = new Int32Array(MAX_FILLED);
  private filledCount = 0;
  /** Those among them that were given a write entry since all were dropped: page number * 2 + user, some of them twice or gone again. */
  private readonly written = new Int32Array(MAX_FILLED);
  private writtenCount = 0;

  constructor(board: Board, cpu: number, index: number) {
    this.index = index;
    this.device = new Int32Array(board.buffer, board.vcpuBase(cpu) + S.viewDevice + index * 4, 1).fill(-1);
    this.address = board.viewBase(cpu, index);
    this.table = new Int32Array(board.buffer, this.address, 4 << 20);
    this.jumpCacheAddress = board.enginePrivateBase(cpu) + index * VIEW_CACHE_BYTES;
    this.jumpCaches = new Int32Array(board.buffer, this.jumpCacheAddress, VIEW_CACHE_BYTES >> 2).fill(-1);
  }

  /** Entries filled since the last flush. */
  get entries(): number { return this.filledCount; }
  fill(page: number, user: number, entry: number, write: boolean): void {
    if (this.filledCount === MAX_FILLED || this.writtenCount === MAX_FILLED) this.flush();
    const at = page + user * 0x200000;
    // A page that is mapped and unmapped all the time is here once.
    const name = page * 2 + user;
    if (this.table[at] === 0 && (this.filledCount === 0 || this.filled[this.filledCount - 1] !== name)) this.filled[this.filledCount++] = name;
    this.table[at] = entry;
    if (write) {
      if (this.table[at + 0x100000] === 0 && (this.writtenCount === 0 || this.written[this.writtenCount - 1] !== name)) this.written[this.writtenCount++] = name;
      this.table[at + 0x100000] = entry;
    }
  }
  /** So many pages more may be filled before all are dropped. */
  get room(): number { return MAX_FILLED - Math.max(this.filledCount, this.writtenCount); }
  /** Generated code has filled a page: `name` = page number * 2 + user. There was room. */
  noteFilled(name: number, entry: boolean, writeEntry: boolean): void {
    if (entry && (this.filledCount === 0 || this.filled[this.filledCount - 1] !== name)) this.filled[this.filledCount++] = name;
    if (writeEntry && (this.writtenCount === 0 || this.written[this.writtenCount - 1] !== name)) this.written[this.writtenCount++] = name;
  }
  flush(): void {
    this.devicePage = -1;
    for (let i = 0; i < this.filledCount; i++) {
      const at = (this.filled[i] >>> 1 & 0xfffff) + (this.filled[i] & 1) * 0x200000;
      this.table[at] = 0; this.table[at + 0x100000] = 0;
    }
    this.filledCount = 0;
    this.writtenCount = 0;
    this.tables.clear();
    this.lastDirectory = this.lastTable = -1;
    this.largePages.clear();
    this.stale = false;
    this.needs = 0;
    this.clearJumpCaches();
  }
  clearJumpCaches(): void { this.lastCode = -1; if (this.codePages.size) { this.jumpCaches.fill(-1); this.codePages.clear(); } }
  isCodePage(page: number, user: boolean): boolean { return this.codePhysical(page, user) >= 0; }
  /** Physical address of a page of code, or -1. */
  codePhysical(page: number, user: boolean): number {
    const code = page * 2 + (user ? 1 : 0);
    if (code === this.lastCode) return this.lastPhysical;
    const physical = this.codePages.get(code);
    if (physical === undefined) return -1;
    this.lastCode = code;
    return this.lastPhysical = physical;
  }
  /** The one of `codePages` that was asked for last, or -1. */
  private lastCode = -1;
  private lastPhysical = 0;
  noteCodePage(page: number, user: boolean, physical: number): void {
    const code = page * 2 + (user ? 1 : 0);
    if (this.codePages.size >= MAX_CODE_PAGES && !this.codePages.has(code)) this.clearJumpCaches();
    this.codePages.set(code, physical);
    this.lastCode = -1;
  }
  dropPage(page: number, codeDropped?: CodeDropped): void {
    if (page === this.devicePage) this.devicePage = -1;
    const table = this.table;
    table[page] = 0; table[page + 0x100000] = 0; table[page + 0x200000] = 0; table[page + 0x300000] = 0;
    if (this.codePages.size !== 0 && (this.isCodePage(page, false) || this.isCodePage(page, true))) { this.clearJumpCaches(); codeDropped?.(page, 1); }
  }
  private dropStretch(stretch: number, pages: number, codeDropped: CodeDropped): void {
    const page = stretch * 512;
    this.devicePage = -1;
    for (let part = 0; part < 4; part++) this.table.fill(0, part * 0x100000 + page, part * 0x100000 + page + pages);
    for (const code of this.codePages.keys()) if (code >>> 1 >= page && code >>> 1 < page + pages) { this.clearJumpCaches(); codeDropped(page, pages); break; }
  }
  /** Whether anything was translated through this entry of a directory. */
  private usesStretch(stretch: number): boolean {
    if (this.largePages.has(stretch >>> 1)) return true;
    for (const slots of this.tables.values()) if (slots.includes(stretch)) return true;
    return false;
  }
  /** Bytes of a page this view walked through have changed. */
  entryWritten(page: number, offset: number, bytes: number, wide: boolean, codeDropped: CodeDropped): void {
    const slots = this.tables.get(page);
    if (!slots) return;
    const shift = wide ? 3 : 2, first = offset >> shift, last = offset + bytes - 1 >> shift;
    for (const slot of slots) {
      for (let i = first; i <= last; i++) {
        if (slot >= 0) { this.dropPage(slot * 512 + i, codeDropped); continue; }
        const stretch = wide ? (DIRECTORY - slot) * 512 + i : i * 2;
        if (this.usesStretch(stretch)) this.dropStretch(stretch, wide ? 512 : 1024, codeDropped);
      }
    }
  }
  /** A page this view walked through has changed. */
  tableWritten(page: number, wide: boolean, codeDropped: CodeDropped): void {
    const slots = this.tables.get(page);
    if (!slots) return;
    if (slots.some(slot => slot < 0)) { this.flush(); codeDropped(0, 1 << 20); return; }
    this.tables.delete(page);
    this.lastDirectory = this.lastTable = -1;
    for (const slot of slots) this.dropStretch(slot, wide ? 512 : 1024, codeDropped);
  }
  /** Drops all entries that lead to a physical page. */
  dropEntries(physicalPage: number): void {
    for (let i = 0; i < this.filledCount; i++) {
      const page = this.filled[i] >>> 1 & 0xfffff, at = page + (this.filled[i] & 1) * 0x200000;
      const entry = this.table[at];
      if (entry !== 0 && ((entry + 3 + (page << 12) - GUEST_RAM_BASE) >>> 12) === physicalPage) { this.table[at] = 0; this.table[at + 0x100000] = 0; }
    }
  }
  /** Drops write entries that lead to a physical page; true when there was one. */
  dropWriteEntries(physicalPage: number): boolean {
    let found = false;
    for (let i = 0; i < this.writtenCount; i++) {
      const page = this.written[i] >>> 1 & 0xfffff, at = page + (this.written[i] & 1) * 0x200000 + 0x100000;
      const entry = this.table[at];
      if (entry !== 0 && ((entry + 3 + (page << 12) - GUEST_RAM_BASE) >>> 12) === physicalPage) { this.table[at] = 0; found = true; }
    }
    return found;
  }
  dropAllWriteEntries(): void {
    for (let i = 0; i < this.writtenCount; i++) this.table[(this.written[i] >>> 1 & 0xfffff) + (this.written[i] & 1) * 0x200000 + 0x100000] = 0;
    this.writtenCount = 0;
  }
}
