/**
 * Guest memory written by a thread without an engine, as bus masters do (vm/net): what engines have derived from the bytes must go. The
 * thread is a poster in the coherence log that never reads it.
 */
import type { Board } from '../board.ts';
import { Coherence, EVENT } from './coherence.ts';
import { PAGE_CODE, PAGE_TABLE } from './mmu.ts';

/** A number that no vCPU has (4 bits in the log). */
const NOBODY = 15;

export class DmaCoherence {
  private readonly coherence: Coherence;
  private readonly pageMap: Uint8Array;
  constructor(board: Board) { this.coherence = new Coherence(board, NOBODY, true); this.pageMap = board.pageMap; }
  /** After the bytes were stored. */
  written(address: number, bytes: number): void {
    for (let at = address; at < address + bytes;) {
      const page = at >>> 12, count = Math.min(address + bytes - at, 4096 - (at & 0xfff));
      const kind = this.pageMap[page];
      if (kind & PAGE_CODE && this.coherence.hitsCode(page, at & 0xfff, count)) {
        this.coherence.clearCode(page);
        Atomics.and(this.pageMap, page, ~PAGE_CODE);
        this.coherence.post(EVENT.CODE_WRITTEN, page);
      }
      if (kind & PAGE_TABLE) {
        Atomics.and(this.pageMap, page, ~PAGE_TABLE);
        this.coherence.post(EVENT.TABLE_WRITTEN, page);
      }
      at += count;
    }
  }
}
