/**
 * Guest RAM as bus masters and loaders see it: bounds-checked, and every write is told to whoever caches the page.
 *
 * Addresses come from the guest, so nothing here trusts them: `ok` is the one gate, and reads or writes outside RAM are the
 * caller's error to report. A write marks the page dirty and calls `onWrite`, with which the engines drop decoded code.
 */
import { DIRTY_ALL, PAGE_KIND_MASK, PAGE_KIND_RAM, type Board } from '../board.ts';

export class GuestMemory {
  readonly #board: Board;
  readonly #view: DataView;
  readonly #onWrite: (address: number, bytes: number) => void;

  /** Bytes, little-endian half words and words; index = physical address, >> 1, >> 2. The caller has checked `ok` and calls `wrote`. */
  readonly ram: Uint8Array;
  readonly halves: Uint16Array;
  readonly words: Uint32Array;

  constructor(board: Board, onWrite: (address: number, bytes: number) => void = () => {}) {
    this.#board = board;
    this.#view = new DataView(board.buffer, board.ram.byteOffset, board.ram.byteLength);
    this.#onWrite = onWrite;
    this.ram = board.ram;
    this.halves = new Uint16Array(board.buffer, board.ram.byteOffset, board.ramBytes >> 1);
    this.words = board.ramWords;
  }

  /** Whether [address, address + bytes) is RAM throughout. */
  ok(address: number, bytes: number): boolean {
    if (!(address >= 0 && bytes >= 0) || address + bytes > this.#board.ramBytes) return false;
    if (bytes === 0) return true;
    const last = (address + bytes - 1) >>> 12;
    for (let page = address >>> 12; page <= last; page++) if ((this.#board.pageMap[page] & PAGE_KIND_MASK) !== PAGE_KIND_RAM) return false;
    return true;
  }

  readU8(address: number): number { return this.#view.getUint8(address); }
  readU16(address: number): number { return this.#view.getUint16(address, true); }
  readU32(address: number): number { return this.#view.getUint32(address, true); }
  /** The bytes themselves, shared; the caller has checked `ok`. Call `wrote` after changing them. */
  bytes(address: number, bytes: number): Uint8Array { return this.#board.ram.subarray(address, address + bytes); }

  writeU8(address: number, value: number): void { this.#view.setUint8(address, value); this.wrote(address, 1); }
  writeU16(address: number, value: number): void { this.#view.setUint16(address, value, true); this.wrote(address, 2); }
  writeU32(address: number, value: number): void { this.#view.setUint32(address, value, true); this.wrote(address, 4); }
  write(address: number, source: Uint8Array): void { this.#board.ram.set(source, address); this.wrote(address, source.length); }

  wrote(address: number, bytes: number): void {
    if (bytes === 0) return;
    this.#board.dirtyMap.fill(DIRTY_ALL, address >>> 12, ((address + bytes - 1) >>> 12) + 1);
    this.#onWrite(address, bytes);
  }
}
