/**
 * The page walk: 32-bit paging with PSE, PAE paging with NX, SMEP and SMAP (SDM vol. 3 chapter 4). A walk sets accessed and dirty bits like the processor's; `inspect`
 * changes nothing. What is kept of walks is the business of translations.ts, which is told of every table and large page that one goes through.
 */
import { DIRTY_ALL, GUEST_RAM_BASE, PAGE_KIND_MASK, PAGE_KIND_RAM, PAGE_KIND_ROM, type Board } from '../../board.ts';
import type { Coherence } from '../coherence.ts';
import { CR0, CR4, FLAG, S, VEC } from '../state.ts';
import { DIRECTORY } from '../views.ts';

/** Thrown by TypeScript helpers to raise an exception in the guest; error -1 = no error code. */
export class GuestFault {
  readonly vector: number;
  readonly error: number;
  constructor(vector: number, error = -1) { this.vector = vector; this.error = error; }
}

export const isMemory = (kind: number): boolean => (kind & PAGE_KIND_MASK) === PAGE_KIND_RAM || (kind & PAGE_KIND_MASK) === PAGE_KIND_ROM;

export const ACCESS = { READ: 0, WRITE: 1, EXECUTE: 2 } as const;

export abstract class PageWalk {
  readonly board: Board;
  readonly words: Int32Array;
  readonly ram: Uint8Array;
  readonly ramBytes: number;
  readonly ramWords: Int32Array;
  protected readonly pageMap: Uint8Array;
  protected readonly dirtyMap: Uint8Array;
  protected readonly coherence: Coherence;

  constructor(board: Board, words: Int32Array, coherence: Coherence) {
    this.board = board; this.words = words; this.coherence = coherence;
    this.ram = board.ram; this.ramBytes = board.ramBytes;
    this.ramWords = new Int32Array(board.buffer, GUEST_RAM_BASE, board.ramBytes >> 2);
    this.pageMap = board.pageMap; this.dirtyMap = board.dirtyMap;
  }
  /** A walk reads an entry of the table at `physical`, which maps `slot` (views.ts). */
  protected abstract usesTable(physical: number, slot: number): void;
  /** A walk has found a large page for `va`. */
  protected abstract usesLargePage(va: number): void;

  protected kind(physical: number): number { return physical < 2 ** 32 ? this.pageMap[physical >>> 12] : 0; }
  protected faultCode = 0;
  /** The last walk ended at a page that is the user's. */
  protected walkedUserPage = false;
  /** The accesses under way are the processor's own, to a descriptor table or TSS: AC does not excuse them from SMAP. */
  implicit = false;
  /** Code may not be fetched there. */
  protected walkedNoExecute = false;
  /** A walk took write entries away: the table it read was ordinary memory before. */
  protected walkDropped = false;
  /** Physical address, or -1 with `faultCode` set. */
  protected walk(va: number, access: number, user: boolean): number {
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
  protected tableWord(physical: number): number { return physical < this.ramBytes ? this.ramWords[physical >>> 2] : -1; }
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
  /**
   * Whether a look-up of code there would succeed and leave no trace in the tables: mapped, executable at the current privilege level and marked as
   * accessed at every level.
   */
  protected executesUnseen(va: number): boolean {
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
}
