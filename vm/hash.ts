/**
 * The state hash: 64 bits over the architectural state of the whole machine, and nothing else.
 *
 * Covered: vCPU registers (flags materialised), header fields of the schedule and time, every device's declared fields, guest RAM,
 * disk overlays, the network's peer. Not covered: translations, caches, counters, trace rings, host cursors.
 *
 * RAM is incremental. Each page has its own hash; the RAM part is the sum over pages of mix(page number, page hash), so a changed
 * page is subtracted and added again. Pages come from the dirty map (DIRTY_HASH); a page of zeros counts 0, hence untouched memory
 * costs nothing. The price of a hash is then about 0.4 us per page written since the last one (hash-page.ts), plus the small state.
 *
 * Two 32-bit lanes with different multipliers, each a multiply-xorshift chain (the finalisers are those of MurmurHash3): not
 * cryptographic, made to tell two runs apart.
 */
import { DIRTY_HASH, GUEST_RAM_BASE, PAGE_BYTES, type Board } from './board.ts';
import { saveCpu } from './cpu-fields.ts';
import { HEADER, HEADER_BASE, MACHINE_BLOCK } from './board.ts';
import type { StateBlock } from './devices/device.ts';
import type { FieldList, FieldMap } from './fields.ts';
import { pageHash, type PageHash } from './hash-page.ts';
import { OVERLAY_PRESENT, OVERLAY_UNHASHED, type Disk } from './io/disk.ts';
import type { OutsideState } from './net/state.ts';

const HASH_OF_FOUR = DIRTY_HASH * 0x01010101;
const finalise = (h: number): number => {
  h ^= h >>> 16; h = Math.imul(h, 0x85ebca6b); h ^= h >>> 13; h = Math.imul(h, 0xc2b2ae35);
  return h ^ (h >>> 16);
};

/** Running pair of lanes. */
class Lanes {
  a = 0x9e3779b9 | 0;
  b = 0x7f4a7c15 | 0;
  words(words: Uint32Array): void {
    let { a, b } = this;
    for (let k = 0; k < words.length; k++) {
      const w = words[k];
      a = Math.imul(a ^ w, 0x9e3779b1); a ^= a >>> 15;
      b = Math.imul((b + w) | 0, 0x85ebca77); b = (b << 13) | (b >>> 19);
    }
    this.a = a; this.b = b;
  }
  bytes(bytes: Uint8Array): void { for (const byte of bytes) { this.a = Math.imul(this.a ^ byte, 0x9e3779b1); this.a ^= this.a >>> 15; this.b = Math.imul((this.b + byte) | 0, 0x85ebca77); this.b = (this.b << 13) | (this.b >>> 19); } }
  number(value: number): void { this.words(new Uint32Array(new Float64Array([value]).buffer)); }
}

/** Incremental sum over numbered 4 KiB blocks. */
class BlockSum {
  a = 0;
  b = 0;
  readonly #hashes: Uint32Array;
  constructor(count: number) { this.#hashes = new Uint32Array(2 * count); }

  /** Replaces what block `index` contributes by a block whose hash is (a, b). */
  update(index: number, a: number, b: number): void {
    this.#replace(index, finalise(a ^ Math.imul(index + 1, 0x27d4eb2f)), finalise(b + Math.imul(index + 1, 0x165667b1)));
  }
  /** Block `index` contributes nothing. */
  clear(index: number): void { this.#replace(index, 0, 0); }
  #replace(index: number, a: number, b: number): void {
    const hashes = this.#hashes;
    this.a = (this.a - hashes[2 * index] + a) | 0;
    this.b = (this.b - hashes[2 * index + 1] + b) | 0;
    hashes[2 * index] = a;
    hashes[2 * index + 1] = b;
  }
}

/** Architectural fields of one list. */
function hashFields(lanes: Lanes, buffer: SharedArrayBuffer, list: FieldList<FieldMap>, base: number): void {
  for (const { field, offset, bytes } of list.placed) {
    if (field.derived) continue;
    if (bytes % 4 === 0) lanes.words(new Uint32Array(buffer, base + offset, bytes >> 2));
    else lanes.bytes(new Uint8Array(buffer, base + offset, bytes));
  }
}

export class StateHasher {
  readonly #board: Board;
  readonly #blocks: readonly StateBlock[];
  readonly #disks: readonly Disk[];
  readonly #ram: BlockSum;
  readonly #overlays: BlockSum[];
  readonly #dirtyWords: Int32Array;
  readonly #page: PageHash;
  /** Hash of a page of zeros. */
  readonly #zero: { readonly a: number; readonly b: number };
  readonly #outside: { readonly state: OutsideState; version: number; a: number; b: number }[];

  constructor(board: Board, blocks: readonly StateBlock[], disks: readonly Disk[], outside: readonly OutsideState[] = []) {
    this.#outside = outside.map((state) => ({ state, version: -1, a: 0, b: 0 }));
    this.#board = board;
    this.#blocks = blocks;
    this.#disks = disks;
    this.#dirtyWords = new Int32Array(board.buffer, board.dirtyMap.byteOffset, board.ramBytes / PAGE_BYTES >> 2);
    this.#ram = new BlockSum(board.ramBytes / PAGE_BYTES);
    this.#page = pageHash(board.memory);
    const zero = pageHash(new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true }));
    this.#zero = { a: zero.a(0), b: zero.b(0) };
    this.#overlays = disks.map((disk) => new BlockSum(disk.overlayBlocks));
  }

  /** The hash, 16 hexadecimal digits. The engines must drop their write translations afterwards (pages are clean again). */
  compute(): string {
    const board = this.#board;
    const lanes = new Lanes();
    for (let cpu = 0; cpu < board.cpus; cpu++) {
      const saved = saveCpu(board, cpu);
      lanes.words(new Uint32Array(saved.buffer));
      hashFields(lanes, board.buffer, MACHINE_BLOCK as unknown as FieldList<FieldMap>, board.machineBlockBase(cpu));
    }
    hashFields(lanes, board.buffer, HEADER as unknown as FieldList<FieldMap>, HEADER_BASE);
    for (const { list, base } of this.#blocks) hashFields(lanes, board.buffer, list, base);

    const dirty = board.dirtyMap, fours = this.#dirtyWords;
    for (let group = 0; group < fours.length; group++) {
      if ((fours[group] & HASH_OF_FOUR) === 0) continue; // four pages at a time: nearly all are clean
      for (let page = group * 4; page < group * 4 + 4; page++) {
        if (!(dirty[page] & DIRTY_HASH)) continue;
        dirty[page] &= ~DIRTY_HASH;
        const at = GUEST_RAM_BASE + page * PAGE_BYTES, a = this.#page.a(at), b = this.#page.b(at);
        if (a === this.#zero.a && b === this.#zero.b) this.#ram.clear(page); else this.#ram.update(page, a, b);
      }
    }
    this.#disks.forEach((disk, index) => {
      const sum = this.#overlays[index];
      disk.visitBlocks(OVERLAY_UNHASHED, (block, flags) => {
        disk.clearOverlayFlags(block, OVERLAY_UNHASHED);
        if (!(flags & OVERLAY_PRESENT)) { sum.clear(block); return; }
        const bytes = disk.overlayBlock(block), own = new Lanes();
        own.words(new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2));
        sum.update(block, own.a, own.b);
      });
      lanes.number(sum.a); lanes.number(sum.b);
    });
    for (const part of this.#outside) {
      if (part.version !== part.state.version) {
        const own = new Lanes();
        own.bytes(part.state.save());
        part.a = own.a; part.b = own.b; part.version = part.state.version;
      }
      lanes.number(part.a); lanes.number(part.b);
    }
    lanes.number(this.#ram.a); lanes.number(this.#ram.b);
    return hex(finalise(lanes.a)) + hex(finalise(lanes.b));
  }
}

const hex = (value: number): string => (value >>> 0).toString(16).padStart(8, '0');
