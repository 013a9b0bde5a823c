/**
 * Snapshots: a copy of the architectural state, and the way back.
 *
 * A snapshot holds the vCPU states, the declared fields of header and devices, the RAM pages that are not zero and the overlay blocks
 * of the disks. Pages are immutable once saved and shared between snapshots: taking one copies what was written since the last one
 * taken or restored (the *base*), restoring one copies back what differs between the machine and it: pages written since the base
 * and pages in which base and snapshot differ. Forking the same point again and again therefore costs the pages each fork touches.
 */
import { DIRTY_HASH, DIRTY_SNAPSHOT, HEADER, HEADER_BASE, MACHINE_BLOCK, PAGE_BYTES, type Board } from './board.ts';
import { crc32 } from 'node:zlib';
import { loadCpu, saveCpu } from './cpu-fields.ts';
import { ARCH_FIELDS, RUN } from './cpu/state.ts';
import type { StateBlock } from './devices/device.ts';
import type { FieldList, FieldMap } from './fields.ts';
import { OVERLAY_CHANGED, OVERLAY_PRESENT, type Disk } from './io/disk.ts';
import type { OutsideState } from './net/state.ts';

export const SNAPSHOT_VERSION = 1;
/** Flags of four pages at a time. */
const SNAPSHOT_OF_FOUR = DIRTY_SNAPSHOT * 0x01010101;

type Pages = ReadonlyMap<number, Uint8Array>;

export interface Snapshot {
  readonly version: number;
  readonly cpus: number;
  readonly ramBytes: number;
  readonly cpuStates: readonly Uint8Array[];
  /** Declared fields by block name, in the order of the list. */
  readonly blocks: ReadonlyMap<string, Uint8Array>;
  /** Non-zero RAM pages by page number. */
  readonly pages: Pages;
  /** Overlay blocks of each disk. */
  readonly overlays: readonly Pages[];
  /** State outside the board, by name. */
  readonly outside: ReadonlyMap<string, Uint8Array>;
}

export class SnapshotError extends Error { override readonly name = 'SnapshotError'; }

const savedBytes = (list: FieldList<FieldMap>): number => list.placed.reduce((sum, { field, bytes }) => sum + (field.derived ? 0 : bytes), 0);

function saveFields(buffer: SharedArrayBuffer, list: FieldList<FieldMap>, base: number): Uint8Array {
  const kept = list.placed.filter(({ field }) => !field.derived);
  const out = new Uint8Array(kept.reduce((sum, { bytes }) => sum + bytes, 0));
  let at = 0;
  for (const { offset, bytes } of kept) { out.set(new Uint8Array(buffer, base + offset, bytes), at); at += bytes; }
  return out;
}

function loadFields(buffer: SharedArrayBuffer, list: FieldList<FieldMap>, base: number, saved: Uint8Array): void {
  let at = 0;
  for (const { field, offset, bytes } of list.placed) {
    if (field.derived) continue;
    new Uint8Array(buffer, base + offset, bytes).set(saved.subarray(at, at + bytes));
    at += bytes;
  }
}

/** A hundred days, in ns; the longest round of a machine; how long a timer may have been due (those armed by a vCPU wait for the end of its round). */
const LATEST = 2 ** 53, LONGEST_ROUND = 2 ** 30, LATE = 2 ** 30;
/** Where each saved field lies in what `saveFields` made. */
function placesOf(list: FieldList<FieldMap>): { readonly name: string; readonly kind: string; readonly at: number; readonly count: number }[] {
  let at = 0;
  return list.placed.filter(({ field }) => !field.derived).map(({ name, field, bytes }) => { const place = { name, kind: field.kind, at, count: field.count }; at += bytes; return place; });
}
function* doublesOf(list: FieldList<FieldMap>, saved: Uint8Array): Generator<readonly [string, number]> {
  const view = new DataView(saved.buffer, saved.byteOffset);
  for (const { name, kind, at, count } of placesOf(list)) if (kind === 'f64' || kind === 'f64s') for (let n = 0; n < count; n++) yield [name, view.getFloat64(at + 8 * n, true)];
}

export class Snapshots {
  readonly #board: Board;
  readonly #blocks: readonly StateBlock[];
  readonly #disks: readonly Disk[];
  readonly #outside: readonly OutsideState[];
  readonly #dirtyWords: Int32Array;
  /** RAM pages copied by the last `take`. */
  copiedPages = 0;
  /** What clean pages and blocks are equal to. */
  #base: Snapshot | undefined;

  constructor(board: Board, blocks: readonly StateBlock[], disks: readonly Disk[], outside: readonly OutsideState[] = []) {
    this.#board = board;
    this.#disks = disks;
    this.#outside = outside;
    this.#dirtyWords = new Int32Array(board.buffer, board.dirtyMap.byteOffset, board.ramBytes / PAGE_BYTES >> 2);
    this.#blocks = [
      { name: 'header', list: HEADER as unknown as FieldList<FieldMap>, base: HEADER_BASE },
      ...Array.from({ length: board.cpus }, (_, cpu) => ({ name: `machine ${cpu}`, list: MACHINE_BLOCK as unknown as FieldList<FieldMap>, base: board.machineBlockBase(cpu) })),
      ...blocks,
    ];
  }

  /** RAM pages written since the last take or restore, four at a time: nearly all are clean. */
  #dirtyPages(visit: (page: number) => void): void {
    const words = this.#dirtyWords, { dirtyMap } = this.#board;
    for (let group = 0; group < words.length; group++) {
      if ((words[group] & SNAPSHOT_OF_FOUR) === 0) continue;
      for (let page = group * 4; page < group * 4 + 4; page++) if (dirtyMap[page] & DIRTY_SNAPSHOT) visit(page);
    }
  }
  /** The engines must drop their write translations afterwards: pages are clean again. */
  take(): Snapshot {
    const board = this.#board;
    for (const disk of this.#disks) if (!disk.restorable) throw new SnapshotError(`disk ${disk.descriptor.name} is written directly; attach it with an overlay to take snapshots`);
    for (const { obstacle } of this.#outside) if (obstacle !== undefined) throw new SnapshotError(obstacle);
    const pages = new Map(this.#base?.pages);
    this.copiedPages = 0;
    this.#dirtyPages((page) => {
      board.dirtyMap[page] &= ~DIRTY_SNAPSHOT;
      this.copiedPages++;
      const words = board.ramWords.subarray(page << 10, (page + 1) << 10);
      if (isZero(words)) pages.delete(page);
      else pages.set(page, board.ram.slice(page * PAGE_BYTES, (page + 1) * PAGE_BYTES));
    });
    const overlays = this.#disks.map((disk, index) => {
      const blocks = new Map(this.#base?.overlays[index]);
      disk.visitBlocks(OVERLAY_CHANGED, (block, flags) => {
        disk.clearOverlayFlags(block, OVERLAY_CHANGED);
        if (flags & OVERLAY_PRESENT) blocks.set(block, disk.overlayBlock(block).slice());
        else blocks.delete(block);
      });
      return blocks;
    });
    const snapshot: Snapshot = {
      version: SNAPSHOT_VERSION, cpus: board.cpus, ramBytes: board.ramBytes,
      cpuStates: Array.from({ length: board.cpus }, (_, cpu) => saveCpu(board, cpu)),
      blocks: new Map(this.#blocks.map(({ name, list, base }) => [name, saveFields(board.buffer, list, base)])),
      pages, overlays,
      outside: new Map(this.#outside.map((state) => [state.name, state.save()])),
    };
    this.#base = snapshot;
    return snapshot;
  }

  /** Checksum over names, places and sizes of everything that is saved: two machines with the same one understand each other's snapshots. */
  get layout(): string {
    const lists = this.#blocks.map(({ name, list }) => [name, list.placed.filter(({ field }) => !field.derived).map(({ name: field, offset, bytes }) => [field, offset, bytes])]);
    return crc32(JSON.stringify([SNAPSHOT_VERSION, ARCH_FIELDS, lists, this.#outside.map(({ name }) => name)])).toString(16).padStart(8, '0');
  }

  /**
   * Why a state cannot be one that a machine was in, as far as that would keep the host's thread: times that are no times, or so far apart that timers would be
   * caught up with for ever. Undefined: it may be. A guest that has been given nonsense is the guest's business; sizes are `restore`'s.
   */
  implausible({ blocks, cpuStates }: Snapshot): string | undefined {
    for (const { name, list } of this.#blocks) {
      const saved = blocks.get(name);
      if (!saved || saved.length !== savedBytes(list)) continue;
      for (const [field, value] of doublesOf(list, saved)) if (Number.isNaN(value) || (value !== Infinity && Math.abs(value) > LATEST)) return `${name}.${field} is ${value}`;
    }
    const header = HEADER as unknown as FieldList<FieldMap>, schedule = blocks.get('header'), events = this.#blocks.find(({ name }) => name === 'events'), armed = blocks.get('events');
    if (!schedule || schedule.length !== savedBytes(header) || !events || !armed || armed.length !== savedBytes(events.list)) return undefined;
    const of = (name: string): number => [...doublesOf(header, schedule)].find(([field]) => field === name)![1], now = of('roundStartNs'), round = of('roundNs'), busy = of('roundBusyNs');
    const word = (name: string): number => { const { at } = placesOf(header).find((place) => place.name === name)!; return new DataView(schedule.buffer, schedule.byteOffset + at).getUint32(0, true); };
    if (!(now >= 0 && now <= LATEST)) return `the time is ${now} ns`;
    if (!(round >= 0 && round <= LONGEST_ROUND && busy >= 0 && busy <= round && word('sliceLeft') <= LONGEST_ROUND)) return `a round of ${round} ns, ${busy} of them done`;
    for (const [, deadline] of doublesOf(events.list, armed)) if (deadline < now - LATE) return `a timer was due ${now - deadline} ns ago`;
    for (const [cpu, saved] of cpuStates.entries()) {
      let at = 0;
      for (const { name, bytes } of ARCH_FIELDS) {
        if (name === 'retired' && saved.length >= at + 8 && new DataView(saved.buffer, saved.byteOffset + at).getBigUint64(0, true) > BigInt(LATEST)) return `vCPU ${cpu} has retired too many instructions`;
        if (name === 'runState' && saved.length >= at + 4 && new DataView(saved.buffer, saved.byteOffset + at).getUint32(0, true) > RUN.dead) return `vCPU ${cpu} is in no state`;
        at += bytes;
      }
    }
    return undefined;
  }

  /** Returns the RAM pages whose contents changed. The caller recomputes INTR and tells the engines. */
  restore(snapshot: Snapshot): number[] {
    const board = this.#board;
    if (snapshot.version !== SNAPSHOT_VERSION) throw new SnapshotError(`snapshot version ${snapshot.version}, this program knows ${SNAPSHOT_VERSION}`);
    if (snapshot.cpus !== board.cpus || snapshot.ramBytes !== board.ramBytes || snapshot.overlays.length !== this.#disks.length || this.#outside.some(({ name }) => !snapshot.outside.has(name)) || this.#blocks.some(({ name }) => !snapshot.blocks.has(name))) {
      throw new SnapshotError('the snapshot is of a machine with other CPUs, memory or devices');
    }
    const cpuBytes = saveCpu(board, 0).length;
    if (snapshot.cpuStates.length !== board.cpus || snapshot.cpuStates.some(({ length }) => length !== cpuBytes)) throw new SnapshotError('the state of a vCPU has the wrong size');
    for (const { name, list } of this.#blocks) if (snapshot.blocks.get(name)!.length !== savedBytes(list)) throw new SnapshotError(`the state of ${name} has the wrong size`);
    for (let cpu = 0; cpu < board.cpus; cpu++) loadCpu(board, cpu, snapshot.cpuStates[cpu]);
    for (const { name, list, base } of this.#blocks) loadFields(board.buffer, list, base, snapshot.blocks.get(name) as Uint8Array);
    for (const state of this.#outside) {
      try { state.load(snapshot.outside.get(state.name) as Uint8Array); } catch (cause) { throw new SnapshotError(`the state of ${state.name} cannot be read`, { cause }); }
    }

    const changed = new Set<number>();
    this.#dirtyPages((page) => changed.add(page));
    differing(this.#base?.pages, snapshot.pages, changed);
    for (const page of changed) {
      const saved = snapshot.pages.get(page);
      if (saved) board.ram.set(saved, page * PAGE_BYTES);
      else board.ram.fill(0, page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
      board.dirtyMap[page] = DIRTY_HASH;
    }
    this.#disks.forEach((disk, index) => {
      const blocks = new Set<number>();
      disk.visitBlocks(OVERLAY_CHANGED, (block) => blocks.add(block));
      differing(this.#base?.overlays[index], snapshot.overlays[index], blocks);
      for (const block of blocks) disk.restoreBlock(block, snapshot.overlays[index].get(block));
    });
    this.#base = snapshot;
    return [...changed];
  }
}

/** Adds the keys under which two maps hold different values. */
function differing(from: Pages | undefined, to: Pages, into: Set<number>): void {
  if (from === to) return;
  for (const [key, value] of to) if (from?.get(key) !== value) into.add(key);
  for (const key of from?.keys() ?? []) if (!to.has(key)) into.add(key);
}

function isZero(words: Uint32Array): boolean {
  for (let k = 0; k < words.length; k++) if (words[k] !== 0) return false;
  return true;
}
