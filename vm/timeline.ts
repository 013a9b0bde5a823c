/**
 * The timeline of a deterministic machine: snapshots taken on the way, and the way back to any instruction.
 *
 * A moment is a count of instructions over all vCPUs. To go back, the nearest snapshot before it is restored and the rest is run again; the
 * machine is deterministic and its inputs come from its own log, so it is the same run. Output is not handed out a second time.
 *
 *      begin                                                      now      frontier (the farthest this run has come)
 *        S0 ............ S1 ...... S2 ... S3 .. S4 .. S5 .. S6 .. |  . . . . |
 *                                                             ^ restored, then run to the moment wanted
 *
 * Snapshots are spaced by what they cost: the next is due when running on has cost SPACING_FACTOR times as much as the last one did, or sooner: going back
 * runs again at most two such stretches for what happened last. Memory is bounded:
 * beyond `snapshots` or `pages` the one that is missed least goes, which leaves them dense near the present and sparse far back.
 *
 * Changing state (a debugger writes a register) ends the run that followed: later snapshots go, and one with the change in it is pinned, for running
 * up to that moment again would not make the change again.
 */
import type { CpuLimit, DeterministicPause } from './deterministic.ts';
import type { DeterministicMachine } from './machine.ts';
import type { Snapshot } from './snapshot.ts';

export interface TimelineOptions {
  /** Most snapshots kept. Default 64. */
  readonly snapshots?: number;
  /** Most pages of 4 KiB that they hold, about. Default 131,072 (512 MiB). */
  readonly pages?: number;
  /** Instructions between two snapshots, at least. Default 1,000,000. */
  readonly spacing?: number;
}
const SPACING_FACTOR = 8, MOST_SPACING = 8_000_000;
/** What a snapshot costs, in instructions that could have run instead: for each page copied, for each page it refers to (as measured: 1.5 us, 0.1 us at 400 MIPS). */
const INSTRUCTIONS_PER_COPY = 600, INSTRUCTIONS_PER_REFERENCE = 40;

interface Kept { readonly at: number; snapshot: Snapshot; /** Pages that no snapshot before it has, about. */ pages: number; pinned: boolean }

export class Timeline {
  readonly machine: DeterministicMachine;
  /** The earliest moment that can be reached. */
  readonly begin: number;
  /** Instructions that were run again so far; pages put back; snapshots taken. */
  readonly counters = { again: 0, restored: 0, taken: 0 };
  readonly #most: number;
  readonly #mostPages: number;
  readonly #spacing: number;
  #kept: Kept[] = [];
  #frontier: number;
  #nextAt = 0;

  constructor(machine: DeterministicMachine, options: TimelineOptions = {}) {
    this.machine = machine;
    this.#most = options.snapshots ?? 64;
    this.#mostPages = options.pages ?? 131_072;
    this.#spacing = options.spacing ?? 1_000_000;
    this.begin = this.#frontier = machine.instructions;
    this.#take(true);
  }

  get now(): number { return this.machine.instructions; }
  get frontier(): number { return this.#frontier; }
  /** Moments of the snapshots kept, in order. */
  get snapshots(): readonly number[] { return this.#kept.map(({ at }) => at); }
  get pages(): number { return this.#kept.reduce((sum, { pages }) => sum + pages, 0); }

  /** A snapshot at this moment of the past: what is near will be wanted again soon. */
  mark(): void { if (!this.#kept.some(({ at }) => at === this.now)) this.#take(false); }

  /** Runs on: `instructions` at most, not beyond `until`. */
  advance(instructions: number, until?: CpuLimit): { pause: DeterministicPause; instructions: number } {
    const { machine } = this, started = machine.instructions;
    for (;;) {
      const at = machine.instructions, left = instructions - (at - started);
      const pin = this.#kept.find((kept) => kept.pinned && kept.at > at)?.at ?? Infinity;
      const again = at < this.#frontier;
      machine.rerun = again;
      const result = machine.runFor(Math.min(left, pin - at, again ? this.#frontier - at : Math.max(1, this.#nextAt - at)), until);
      machine.rerun = false;
      const now = machine.instructions;
      if (again) this.counters.again += now - at;
      if (now === pin) this.#restore(this.#kept.find((kept) => kept.at === pin)!);
      this.#frontier = Math.max(this.#frontier, now);
      if (now === this.#frontier && now >= this.#nextAt && result.pause === 'limit' && now > (this.#kept.at(-1)?.at ?? -1)) this.#take(false);
      if (result.pause !== 'limit' || now - started >= instructions || (until !== undefined && machine.cpus.retired(until.cpu) >= until.retired)) return { pause: result.pause, instructions: now - started };
    }
  }

  /** Moments to scan backwards from: snapshots before `moment`, the latest first. */
  before(moment: number): number[] { return this.#kept.map(({ at }) => at).filter((at) => at < moment).reverse(); }
  /** To the snapshot at `moment` (one of `snapshots`). */
  toSnapshot(moment: number): void {
    const kept = this.#kept.find(({ at }) => at === moment);
    if (!kept) throw new RangeError(`no snapshot at instruction ${moment}`);
    this.#restore(kept);
  }
  /** To the latest snapshot not after a moment. Nothing happens when the machine stands between the two already. */
  near(moment: number): void {
    const kept = this.#kept.findLast(({ at }) => at <= moment) ?? this.#kept[0]!;
    if (this.now > moment || this.now < kept.at) this.#restore(kept);
  }
  /**
   * To a moment, forwards or backwards. Not between two vCPUs' views of it: where several things happen at one count (an interrupt is taken), the
   * earliest of them. False when the run ended before it came there.
   */
  seek(moment: number): boolean {
    this.near(Math.max(moment, this.begin));
    while (this.now < moment) {
      const { pause, instructions } = this.advance(moment - this.now);
      if (pause !== 'limit' && pause !== 'hook' && !(pause === 'waiting' && instructions > 0)) break;
    }
    return this.now === Math.max(moment, this.begin);
  }

  /** State was changed from outside at this moment: what came after it belongs to another run. */
  changed(): void {
    const now = this.now;
    this.machine.forgetFutureInputs();
    this.#kept = this.#kept.filter(({ at }) => at < now);
    this.#frontier = now;
    this.#take(true);
  }
  /** A snapshot here, kept for good. */
  pin(): void {
    const here = this.#kept.find(({ at }) => at === this.now);
    if (here) here.pinned = true; else this.#take(true);
  }

  #restore(kept: Kept): void { this.counters.restored += this.machine.restore(kept.snapshot, true); }
  #take(pinned: boolean): void {
    const { machine } = this, at = machine.instructions;
    const snapshot = machine.snapshot(), copied = machine.snapshotPages;
    this.counters.taken++;
    const index = this.#kept.findIndex((kept) => kept.at > at);
    this.#kept.splice(index < 0 ? this.#kept.length : index, 0, { at, snapshot, pages: copied, pinned });
    const cost = copied * INSTRUCTIONS_PER_COPY + snapshot.pages.size * INSTRUCTIONS_PER_REFERENCE;
    if (at >= this.#frontier) this.#nextAt = at + Math.max(this.#spacing, Math.min(cost * SPACING_FACTOR, MOST_SPACING));
    while ((this.#kept.length > this.#most || this.pages > this.#mostPages) && this.#thin());
  }
  /** Drops the snapshot without which the way back grows least, relative to how far back it is. */
  #thin(): boolean {
    const kept = this.#kept;
    let worst = -1, least = Infinity;
    for (let k = 1; k < kept.length - 1; k++) {
      if (kept[k]!.pinned) continue;
      const cost = (kept[k + 1]!.at - kept[k - 1]!.at) / (this.#frontier - kept[k - 1]!.at + 1);
      if (cost < least) { least = cost; worst = k; }
    }
    if (worst < 0) return false;
    const after = kept[worst + 1]!;
    after.pages = Math.min(after.pages + kept[worst]!.pages, after.snapshot.pages.size);
    kept.splice(worst, 1);
    return true;
  }
}
