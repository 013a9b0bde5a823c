/**
 * What engines of different vCPUs tell each other: a shared log of pages, because derived data (decoded code, soft-MMU entries)
 * lives in each engine and the facts it was derived from live in guest memory that all of them write.
 *
 * Board memory (ENGINE_SHARED):
 *      +0       head: events posted so far            +64 + 8c   vCPU c: running (1/0), events it has processed
 *      +4096    65536 events of 8 bytes {page | kind << 20 | cpu << 24, sequence}
 *      +1 MiB   code granules: 64 bits per physical page, set for every 64 bytes somebody has decoded
 *
 * Events
 *      CODE     the page became code: drop your write entries for it; whoever had one posts CODE_WRITTEN, because it may have
 *               written since the poster read the bytes
 *      CODE_WRITTEN  forget blocks of the page
 *      TABLE    the page is used as a page table: drop your write entries; whoever had one posts TABLE_WRITTEN
 *      TABLE_WRITTEN translations derived from the page are suspect
 *
 * An engine drains the log when run() is entered, when it sees ATTN.FLUSH, and before it relies on retained translations. While an
 * engine is running and has not processed an event, its stores to the page may go unseen: `acknowledged` tells, and a view that
 * depends on an unacknowledged page is flushed at CR3 loads like a real TLB. A vCPU outside run() cannot store.
 */
import { ENGINE_SHARED_BASE, type Board } from '../board.ts';
import { ATTN, S } from './state.ts';

export const EVENT = { CODE: 1, CODE_WRITTEN: 2, TABLE: 3, TABLE_WRITTEN: 4 } as const;
const EVENTS = 65536;
/** Looks at a slot that is about to be filled, some milliseconds. */
const PATIENCE = 1 << 22;
const EVENTS_AT = 4096, GRANULES_AT = 1 << 20;

export class Coherence {
  private readonly header: Int32Array;
  private readonly events: Int32Array;
  private readonly granules: Int32Array;
  private readonly attention: Int32Array[] = [];
  private readonly cpu: number;
  private readonly cpus: number;
  readonly parallel: boolean;
  private processed = 0;

  constructor(board: Board, cpu: number, parallel: boolean) {
    this.cpu = cpu; this.cpus = board.cpus; this.parallel = parallel;
    this.header = new Int32Array(board.buffer, ENGINE_SHARED_BASE, 64);
    this.events = new Int32Array(board.buffer, ENGINE_SHARED_BASE + EVENTS_AT, EVENTS * 2);
    this.granules = new Int32Array(board.buffer, ENGINE_SHARED_BASE + GRANULES_AT, (board.ramBytes >>> 12) * 2);
    for (let c = 0; c < board.cpus; c++) this.attention.push(new Int32Array(board.buffer, board.vcpuBase(c) + S.attention, 1));
    this.processed = Atomics.load(this.header, 0);
    Atomics.store(this.header, 17 + cpu * 2, this.processed);
  }
  /** Address of the number of events processed, equal to the one at ENGINE_SHARED_BASE when none is pending. */
  get processedAt(): number { return ENGINE_SHARED_BASE + (17 + this.cpu * 2) * 4; }
  get pending(): boolean { return this.header[0] !== this.processed; }

  /** Events posted so far: what must be acknowledged for all of them. */
  get head(): number { return Atomics.load(this.header, 0); }

  /** Tells the other vCPUs; returns the number to be acknowledged. */
  post(kind: number, page: number): number {
    if (this.cpus === 1 && this.cpu === 0) return 0;
    const index = Atomics.add(this.header, 0, 1);
    const at = (index & EVENTS - 1) * 2;
    this.events[at] = page | kind << 20 | this.cpu << 24;
    Atomics.store(this.events, at + 1, index + 1 | 0);
    // Suspect translations matter at the other's next CR3 load, which drains.
    if (this.parallel && kind !== EVENT.TABLE_WRITTEN) for (let c = 0; c < this.cpus; c++) if (c !== this.cpu && this.header[16 + c * 2]) Atomics.or(this.attention[c], 0, ATTN.FLUSH);
    return index + 1;
  }
  /** Handles what others posted; `lost` when the log has overrun this engine. */
  drain(handle: (kind: number, page: number) => void, lost: () => void): void {
    for (;;) {
      const head = Atomics.load(this.header, 0);
      if (head === this.processed) break;
      if (head - this.processed > EVENTS / 2) { this.processed = head; lost(); continue; }
      const at = (this.processed & EVENTS - 1) * 2;
      // The poster has taken the number and is about to fill the slot.
      let patience = PATIENCE;
      while (Atomics.load(this.events, at + 1) !== (this.processed + 1 | 0) && --patience > 0) { /* two stores away */ }
      if (patience === 0) { this.processed = head; lost(); continue; } // it died there: what it had to say is in the page map, and all else is forgotten here
      const event = this.events[at];
      this.processed++;
      if (event >>> 24 !== this.cpu) handle(event >>> 20 & 15, event & 0xfffff);
    }
    Atomics.store(this.header, 17 + this.cpu * 2, this.processed);
  }
  /** A vCPU whose thread is gone stores nothing any more: nobody waits for it. */
  static gone(board: Board, cpu: number): void { Atomics.store(new Int32Array(board.buffer, ENGINE_SHARED_BASE, 64), 16 + cpu * 2, 0); }
  setRunning(on: boolean): void { Atomics.store(this.header, 16 + this.cpu * 2, on ? 1 : 0); }
  /** No running vCPU may still store unseen to pages protected up to event `index`. */
  acknowledged(index: number): boolean {
    for (let c = 0; c < this.cpus; c++) {
      if (c !== this.cpu && Atomics.load(this.header, 16 + c * 2) && Atomics.load(this.header, 17 + c * 2) < index) return false;
    }
    return true;
  }

  /** Marks bytes [from, to) of a page as decoded. */
  markCode(page: number, from: number, to: number): void {
    if (page * 2 >= this.granules.length) return; // a guest that has lost its way runs where there is no RAM: nobody can write there
    let low = 0, high = 0;
    for (let granule = from >> 6; granule <= to - 1 >> 6; granule++) if (granule < 32) low |= 1 << granule; else high |= 1 << granule - 32;
    if ((this.granules[page * 2] & low) !== low) Atomics.or(this.granules, page * 2, low);
    if ((this.granules[page * 2 + 1] & high) !== high) Atomics.or(this.granules, page * 2 + 1, high);
  }
  hitsCode(page: number, offset: number, bytes: number): boolean {
    const low = this.granules[page * 2], high = this.granules[page * 2 + 1];
    for (let granule = offset >> 6; granule <= Math.min(4095, offset + bytes - 1) >> 6; granule++) {
      if ((granule < 32 ? low >>> granule : high >>> granule - 32) & 1) return true;
    }
    return false;
  }
  clearCode(page: number): void { Atomics.store(this.granules, page * 2, 0); Atomics.store(this.granules, page * 2 + 1, 0); }
}
