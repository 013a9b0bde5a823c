/**
 * A debugger's view of a deterministic machine: breakpoints, watchpoints, steps of one vCPU, and all of them backwards.
 *
 * It knows vCPUs and linear addresses and nothing of the kernel above them; whose address space a breakpoint is meant for is asked of `applies`.
 * Going forward runs at full speed (vm/engine.ts, DebugPlan). Going back is going forward from an earlier snapshot (vm/timeline.ts) with every event
 * counted; the last one before the present is then gone to by its number. Stops are the same as on the way forward, with one exception: a watchpoint met
 * backwards stops in front of the instruction that made the access, for there the old value stands.
 */
import type { Watch } from './engine.ts';
import { S, SEG, segBase } from './cpu/state.ts';
import { FaultPort } from './faults.ts';
import type { DeterministicMachine } from './machine.ts';
import { Timeline, type TimelineOptions } from './timeline.ts';

/**
 * Why the machine stands. `limit`: the instructions asked for are done. `step`: the vCPU has done its instruction. `begin`: history goes back no further.
 * `stopped`: the machine ended (exit, power off, triple fault). `idle`: nothing can happen without input; `waiting`: timers tick, nobody wakes.
 */
export type Stop =
  | { readonly kind: 'breakpoint'; readonly cpu: number; readonly linear: number }
  | { readonly kind: 'watch'; readonly cpu: number; readonly watch: Watch; readonly write: boolean }
  | { readonly kind: 'step'; readonly cpu: number }
  | { readonly kind: 'limit' | 'begin' | 'stopped' | 'idle' | 'waiting' | 'cancelled' };

/** Whether a breakpoint or watchpoint at a linear address counts for a vCPU as it stands. */
export type Applies = (cpu: number, linear: number) => boolean;

/** Instructions of a backward scan between two looks at whether it is still wanted. */
const SCAN_PIECE = 10_000_000;
/** A step back leaves a snapshot so many instructions before it, where the nearest was that many times farther. */
const STEP_BACK = 20_000, NEAR_FACTOR = 4;

/** A run that is made again gets nowhere: only where the machine's end is its history's. */
const ended = ({ pause, instructions }: { pause: string; instructions: number }): boolean => pause === 'stopped' || pause === 'idle' || (pause === 'waiting' && instructions === 0);

interface Event { readonly number: number; readonly at: number; readonly stop: Stop }

export class Debugger {
  readonly machine: DeterministicMachine;
  readonly port: FaultPort;
  readonly timeline: Timeline;
  applies: Applies = () => true;
  readonly #breakpoints = new Map<number, number>();
  readonly #watches: Watch[] = [];
  #planned = false;
  /** What the callbacks do: stop at the next event, stop at event `wanted`, or note them all. */
  #mode: 'stop' | 'number' | 'scan' = 'stop';
  #wanted = 0;
  #count = 0;
  #last: Event | undefined;
  #scanEnd = 0;
  #hit: Stop | undefined;
  /** The breakpoint that was reported last, which is not met again before its instruction has run. */
  #reported: { readonly cpu: number; readonly retired: number; readonly linear: number } | undefined;

  constructor(machine: DeterministicMachine, options: TimelineOptions = {}) {
    this.machine = machine;
    this.port = new FaultPort(machine);
    this.timeline = new Timeline(machine, options);
  }

  // ---- breakpoints ----------------------------------------------------------------------------------------------------------------
  /** Counted: as often inserted, as often removed. */
  insertBreakpoint(linear: number): void {
    this.#breakpoints.set(linear >>> 0, (this.#breakpoints.get(linear >>> 0) ?? 0) + 1);
    this.#planned = false;
  }
  removeBreakpoint(linear: number): void {
    const count = (this.#breakpoints.get(linear >>> 0) ?? 0) - 1;
    if (count > 0) this.#breakpoints.set(linear >>> 0, count); else this.#breakpoints.delete(linear >>> 0);
    this.#planned = false;
  }
  hasBreakpoint(linear: number): boolean { return this.#breakpoints.has(linear >>> 0); }
  insertWatch(watch: Watch): void { this.#watches.push(watch); this.#planned = false; }
  removeWatch(wanted: Watch): boolean {
    const index = this.#watches.findIndex((watch) => watch.linear === wanted.linear && watch.bytes === wanted.bytes && watch.read === wanted.read && watch.write === wanted.write);
    if (index < 0) return false;
    this.#watches.splice(index, 1);
    this.#planned = false;
    return true;
  }
  clear(): void { this.#breakpoints.clear(); this.#watches.length = 0; this.#planned = false; }

  #plan(): void {
    if (this.#planned) return;
    this.#planned = true;
    const breakpoints = new Set(this.#breakpoints.keys()), watches = [...this.#watches];
    this.machine.setDebug(breakpoints.size === 0 && watches.length === 0 ? undefined : {
      breakpoints, watches,
      breakpoint: (cpu, retired, linear) => this.#event(cpu, retired, { kind: 'breakpoint', cpu, linear }, linear),
      access: (cpu, retired, watch, write) => this.#event(cpu, retired, { kind: 'watch', cpu, watch, write }, watch.linear),
    });
  }
  #event(cpu: number, retired: number, stop: Stop, linear: number): boolean {
    if (!this.applies(cpu, linear)) return false;
    if (this.#mode === 'stop') {
      const { kind } = stop, last = this.#reported;
      if (kind === 'breakpoint' && last && last.cpu === cpu && last.retired === retired && last.linear === linear) return false;
      this.#hit = stop;
      if (kind === 'breakpoint') this.#reported = { cpu, retired, linear };
      return true;
    }
    const number = ++this.#count;
    if (this.#mode === 'number') {
      if (number !== this.#wanted) return false;
      this.#hit = stop;
      this.#reported = stop.kind === 'breakpoint' ? { cpu, retired, linear } : undefined;
      return true;
    }
    let at = retired;
    for (let other = 0; other < this.machine.cpus.cpus; other++) if (other !== cpu) at += this.machine.cpus.retired(other);
    if (at < this.#scanEnd) this.#last = { number, at, stop };
    return false;
  }

  // ---- forwards -------------------------------------------------------------------------------------------------------------------
  /** Runs on for at most so many instructions. */
  forward(instructions: number): Stop { return this.#run(() => this.timeline.advance(instructions), () => ({ kind: 'limit' })); }
  /** Until `cpu` has retired one more instruction; the others live through the same time. `limit`: it has not, in so many instructions of all. */
  step(cpu: number, limit = 10_000_000): Stop {
    const { cpus } = this.machine, retired = cpus.retired(cpu) + 1;
    this.#leave(cpu);
    return this.#run(() => this.timeline.advance(limit, { cpu, retired }), () => ({ kind: cpus.retired(cpu) >= retired ? 'step' : 'limit', cpu }));
  }
  /** A breakpoint at the instruction `cpu` stands at does not stop the step that leaves it. */
  #leave(cpu: number): void {
    const words = this.machine.cpus.words(cpu);
    this.#reported = { cpu, retired: this.machine.cpus.retired(cpu), linear: (words[S.eip >> 2]! + words[segBase(SEG.CS) >> 2]!) >>> 0 };
  }
  #run(advance: () => { pause: string }, limit: () => Stop): Stop {
    this.#plan();
    this.#mode = 'stop';
    this.#hit = undefined;
    const { pause } = advance();
    if (this.#hit) return this.#hit;
    return pause === 'limit' || pause === 'hook' ? limit() : { kind: pause as 'stopped' | 'idle' | 'waiting' };
  }

  // ---- backwards ------------------------------------------------------------------------------------------------------------------
  /** To where `cpu` had retired one instruction less. */
  reverseStep(cpu: number): Stop {
    const { timeline } = this, { cpus } = this.machine, wanted = cpus.retired(cpu) - 1, here = timeline.now;
    this.#quiet();
    try {
      for (const moment of timeline.before(here)) {
        timeline.toSnapshot(moment);
        if (cpus.retired(cpu) > wanted) continue;
        // Who steps back once does it again: the next step begins near here.
        if (here - moment > NEAR_FACTOR * STEP_BACK) { timeline.advance(here - STEP_BACK - moment); if (cpus.retired(cpu) <= wanted) timeline.mark(); else timeline.toSnapshot(moment); }
        while (cpus.retired(cpu) < wanted) if (ended(timeline.advance(here - timeline.now, { cpu, retired: wanted }))) break;
        // The latest such moment: others may have run in between, but it is this vCPU that is looked at.
        this.#reported = undefined;
        return { kind: 'step', cpu };
      }
      timeline.toSnapshot(timeline.begin);
      return { kind: 'begin' };
    } finally { this.#planned = false; }
  }
  /** To the last event before the present one. `wanted` is asked now and then whether to go on. */
  async reverseContinue(wanted: () => boolean | Promise<boolean> = () => true): Promise<Stop> {
    const { timeline } = this, here = timeline.now;
    this.#plan();
    let end = here;
    for (const moment of timeline.before(here)) {
      timeline.toSnapshot(moment);
      this.#mode = 'scan';
      this.#count = 0;
      this.#last = undefined;
      this.#scanEnd = end;
      while (timeline.now < end) {
        if (ended(timeline.advance(Math.min(SCAN_PIECE, end - timeline.now)))) break;
        if (end - timeline.now > 0 && !await wanted()) { this.#mode = 'stop'; return { kind: 'cancelled' }; }
      }
      const last = this.#last as Event | undefined;
      if (last) return this.#goTo(moment, last);
      end = moment;
      if (!await wanted()) { timeline.toSnapshot(moment); this.#mode = 'stop'; return { kind: 'cancelled' }; }
    }
    this.#mode = 'stop';
    timeline.toSnapshot(timeline.begin);
    return { kind: 'begin' };
  }
  /** To an event that a scan from the snapshot at `moment` has found. */
  #goTo(moment: number, { number, at, stop }: Event): Stop {
    const { timeline } = this;
    if (stop.kind === 'watch') {
      this.seek(at);
      return stop;
    }
    timeline.toSnapshot(moment);
    this.#mode = 'number';
    this.#count = 0;
    this.#wanted = number;
    this.#hit = undefined;
    while (!this.#hit && timeline.now <= at) if (ended(timeline.advance(at - timeline.now + 1))) break;
    this.#mode = 'stop';
    return stop;
  }
  /** To a moment, either way, past all events. False: the run ended before it. */
  seek(moment: number): boolean {
    this.#quiet();
    try { return this.timeline.seek(moment); } finally { this.#planned = false; this.#reported = undefined; }
  }
  #quiet(): void { this.machine.setDebug(undefined); this.#planned = false; }

  // ---- changes --------------------------------------------------------------------------------------------------------------------
  /** After registers or memory were written through `port`. */
  changed(): void { this.timeline.changed(); }
  /** No breakpoints, no watchpoints, no cost. */
  detach(): void { this.clear(); this.#quiet(); }
}
