/**
 * Checkpoint: one rolling copy of the machine, made to be returned to thousands of times.
 *
 * `Snapshots` (snapshot.ts) keeps any number of immutable states; this keeps exactly one, as a shadow of RAM and of the disk overlays that
 * is brought up to date by `take` and brought back by `restore`. Both copy the pages written since the last of the two and nothing else, and
 * allocate nothing: the cost of a fork is its dirty pages. Fault injection walks a run once, takes the checkpoint at each injection
 * point and restores it after each experiment.
 *
 * Shares the DIRTY_SNAPSHOT bits with `Snapshots`: a machine uses one of the two. State lists are those of the snapshot: declared fields
 * of header, machine blocks and devices, and of a vCPU block everything below its counters (with flags as they lie, not materialised).
 */
import { DIRTY_HASH, DIRTY_SNAPSHOT, HEADER, HEADER_BASE, MACHINE_BLOCK, PAGE_BYTES, type Board } from './board.ts';
import { S } from './cpu/state.ts';
import type { StateBlock } from './devices/device.ts';
import type { FieldList, FieldMap } from './fields.ts';
import { OVERLAY_CHANGED, OVERLAY_PRESENT, type Disk } from './io/disk.ts';
import type { OutsideState } from './net/state.ts';
import { SnapshotError } from './snapshot.ts';

const VCPU_STATE_BYTES = S.countBlocks;
/** Flags of four pages at a time. */
const fourOf = (flag: number): number => flag * 0x01010101;
const SNAPSHOT_OF_FOUR = fourOf(DIRTY_SNAPSHOT);

interface Run { readonly offset: number; readonly bytes: number; readonly at: number }

export class Checkpoint {
  readonly #board: Board;
  readonly #disks: readonly Disk[];
  readonly #low: Uint8Array;
  readonly #runs: readonly Run[];
  readonly #state: Uint8Array;
  readonly #ram: Uint8Array;
  readonly #dirtyWords: Int32Array;
  readonly #overlays: { readonly disk: Disk; readonly present: Uint8Array; readonly data: Uint8Array }[];
  readonly #outside: { readonly state: OutsideState; saved: Uint8Array; version: number }[];
  #taken = false;
  /** RAM pages copied by the last take or restore. */
  copiedPages = 0;

  constructor(board: Board, blocks: readonly StateBlock[], disks: readonly Disk[], outside: readonly OutsideState[] = []) {
    for (const { obstacle } of outside) if (obstacle !== undefined) throw new SnapshotError(obstacle);
    this.#outside = outside.map((state) => ({ state, saved: new Uint8Array(0), version: -1 }));
    for (const disk of disks) if (!disk.restorable) throw new SnapshotError(`disk ${disk.descriptor.name} is written directly; attach it with an overlay`);
    this.#board = board;
    this.#disks = disks;
    this.#ram = new Uint8Array(board.ramBytes);
    this.#dirtyWords = new Int32Array(board.buffer, board.dirtyMap.byteOffset, board.ramBytes / PAGE_BYTES >> 2);
    this.#overlays = disks.map((disk) => ({ disk, present: new Uint8Array(disk.overlayBlocks), data: new Uint8Array(disk.overlayBlocks * PAGE_BYTES) }));
    const ranges: { offset: number; bytes: number }[] = [];
    const add = (list: FieldList<FieldMap>, base: number): void => {
      for (const { field, offset, bytes } of list.placed) {
        if (field.derived) continue;
        const last = ranges.at(-1);
        if (last && last.offset + last.bytes === base + offset) last.bytes += bytes;
        else ranges.push({ offset: base + offset, bytes });
      }
    };
    add(HEADER as unknown as FieldList<FieldMap>, HEADER_BASE);
    for (let cpu = 0; cpu < board.cpus; cpu++) {
      add(MACHINE_BLOCK as unknown as FieldList<FieldMap>, board.machineBlockBase(cpu));
      ranges.push({ offset: board.vcpuBase(cpu), bytes: VCPU_STATE_BYTES });
    }
    for (const { list, base } of blocks) add(list, base);
    let at = 0;
    this.#runs = ranges.map(({ offset, bytes }) => { const run = { offset, bytes, at }; at += bytes; return run; });
    this.#state = new Uint8Array(at);
    this.#low = new Uint8Array(board.buffer, 0, Math.max(...ranges.map(({ offset, bytes }) => offset + bytes)));
  }

  /** Runs of pages [from, to) written since the last take or restore. */
  #dirtyRuns(visit: (from: number, to: number) => void): void {
    const words = this.#dirtyWords, pages = words.length * 4;
    const { dirtyMap } = this.#board;
    for (let group = 0; group < words.length; group++) {
      if ((words[group] & SNAPSHOT_OF_FOUR) === 0) continue;
      let page = group * 4;
      while (page < group * 4 + 4) {
        const from = page;
        while (page < pages && dirtyMap[page] & DIRTY_SNAPSHOT) page++;
        if (page > from) visit(from, page); else page++;
      }
      group = (page >> 2) - 1; // a run may end inside a later group: the rest of that one is looked at again
    }
  }

  /** Brings the copy up to the machine's present state. The engines must drop their write translations afterwards. */
  take(): void {
    const board = this.#board;
    for (const { offset, bytes, at } of this.#runs) this.#state.set(this.#low.subarray(offset, offset + bytes), at);
    let copied = 0;
    this.#dirtyRuns((from, to) => {
      for (let page = from; page < to; page++) board.dirtyMap[page] &= ~DIRTY_SNAPSHOT;
      this.#ram.set(board.ram.subarray(from * PAGE_BYTES, to * PAGE_BYTES), from * PAGE_BYTES);
      copied += to - from;
    });
    for (const { disk, present, data } of this.#overlays) disk.visitBlocks(OVERLAY_CHANGED, (block, flags) => {
      disk.clearOverlayFlags(block, OVERLAY_CHANGED);
      present[block] = flags & OVERLAY_PRESENT;
      if (flags & OVERLAY_PRESENT) data.set(disk.overlayBlock(block), block * PAGE_BYTES);
    });
    for (const copy of this.#outside) if (copy.version !== copy.state.version) { copy.saved = copy.state.save(); copy.version = copy.state.version; }
    this.copiedPages = copied;
    this.#taken = true;
  }

  /** Brings the machine back to the copy. Returns the RAM pages put back; the caller recomputes INTR and tells the engines. */
  restore(): number[] {
    if (!this.#taken) throw new SnapshotError('no checkpoint has been taken');
    const board = this.#board;
    for (const { offset, bytes, at } of this.#runs) this.#low.set(this.#state.subarray(at, at + bytes), offset);
    const pages: number[] = [];
    this.#dirtyRuns((from, to) => {
      board.ram.set(this.#ram.subarray(from * PAGE_BYTES, to * PAGE_BYTES), from * PAGE_BYTES);
      board.dirtyMap.fill(DIRTY_HASH, from, to);
      for (let page = from; page < to; page++) pages.push(page);
    });
    for (const { disk, present, data } of this.#overlays) disk.visitBlocks(OVERLAY_CHANGED, (block) => {
      disk.restoreBlock(block, present[block] ? data.subarray(block * PAGE_BYTES, (block + 1) * PAGE_BYTES) : undefined);
    });
    for (const copy of this.#outside) if (copy.version !== copy.state.version) { copy.state.load(copy.saved); copy.version = copy.state.version; }
    this.copiedPages = pages.length;
    return pages;
  }
}
