/**
 * The deterministic runner: one thread, all vCPUs in turn, time counted in instructions.
 *
 * Time advances in rounds. A round is a window of virtual time [start, start + length); in it every runnable vCPU, in order of its
 * number, runs `length` instructions, one per nanosecond, so all of them live through the same window. Between rounds due events
 * fire and inputs are delivered. The length is the quantum (varied by the schedule seed), cut at the next event. When nobody can run,
 * time jumps to the next event and no instruction counts advance.
 *
 *      start            start + length
 *        | cpu0 ========= |            a vCPU that halts early leaves the rest of its window unused;
 *        | cpu1 ====H     |            if all halt, the round ends when the last one did
 *
 * The whole position (round, vCPU, instructions left of its slice, seed) is in the board's header: the run can be cut anywhere, by
 * runFor or by a snapshot, and the sequence of states is the same. For that, nothing here may depend on how it is cut: an
 * interrupt raised by a vCPU's own access is taken after that instruction (bus contract), every other at the start of a slice.
 */
import { type Board } from './board.ts';
import type { Clock } from './devices/device.ts';
import type { Chipset } from './devices/chipset.ts';
import type { Engine } from './engine.ts';
import type { VCpus } from './vcpu.ts';
import { ATTN, RUN } from './cpu/state.ts';

/** Virtual time as devices see it: the running vCPU's, or the round's between slices. */
export class VirtualClock implements Clock {
  #cpu = -1;
  readonly #board: Board;
  readonly #cpus: VCpus;
  constructor(board: Board, cpus: VCpus) { this.#board = board; this.#cpus = cpus; }
  enter(cpu: number): void { this.#cpu = cpu; }
  leave(): void { this.#cpu = -1; }
  now(): number {
    if (this.#cpu < 0) return this.#board.header.roundStartNs;
    return this.#cpus.retired(this.#cpu) + this.#cpus.block(this.#cpu).timeOffset;
  }
}

/**
 * Why run() returned. `idle`: no vCPU can ever run again without an input. `waiting`: timers keep firing but for a long time none
 * has woken a vCPU; running on continues. `hook`: a watch or a mark of an engine asked to stop here (vm/engine.ts).
 */
export type DeterministicPause = 'limit' | 'stopped' | 'idle' | 'waiting' | 'hook';
/** Idle jumps in a row after which the caller gets a say. */
const IDLE_JUMPS = 10_000;

/** A vCPU's own retired count. */
export interface CpuLimit { readonly cpu: number; readonly retired: number }

export interface DeterministicParts {
  readonly board: Board;
  readonly cpus: VCpus;
  readonly chipset: Chipset;
  readonly engines: readonly Engine[];
  readonly clock: VirtualClock;
  readonly quantum: number;
  /** Called at every round boundary, before events: delivers inputs that are due and says how many. */
  readonly deliverInputs: (instructions: number, nowNs: number) => number;
  /** Earliest virtual time an input (replayed or scripted) wants, when no instruction is going to be executed before. */
  readonly nextInputNs: (instructions: number) => number;
  /** Longest idle jump target allowed now (pacing of live input); Infinity otherwise. */
  readonly idleUntilNs?: () => number;
}

export class DeterministicRunner {
  readonly #p: DeterministicParts;
  #hooked = false;
  constructor(parts: DeterministicParts) { this.#p = parts; }

  /** Between rounds. */
  #roundDone(): boolean { return this.#p.board.header.roundCpu >= this.#p.board.cpus; }

  /**
   * Runs exactly `limit` instructions in total, unless the machine stops or idles. Returns why, and how many ran. `until`: not beyond that many
   * instructions of one vCPU's own count (pause `limit`).
   */
  run(limit: number, until?: CpuLimit): { pause: DeterministicPause; instructions: number } {
    const { board, cpus } = this.#p;
    const header = board.header;
    this.#hooked = false;
    let left = limit;
    const done = (): boolean => left <= 0 || (until !== undefined && cpus.retired(until.cpu) >= until.retired);
    for (;;) {
      if (cpus.stopped) return { pause: 'stopped', instructions: limit - left };
      if (this.#roundDone()) {
        this.#endRound();
        if (done()) return { pause: 'limit', instructions: limit - left };
        const started = this.#startRound();
        if (started !== 'running') {
          if (cpus.stopped) continue;
          return { pause: started, instructions: limit - left };
        }
      }
      while (!this.#roundDone()) {
        const cpu = header.roundCpu;
        if (!cpus.runnable(cpu)) { this.#nextSlice(); continue; }
        if (done()) return { pause: 'limit', instructions: limit - left };
        left -= this.#slice(cpu, until?.cpu === cpu ? Math.min(left, until.retired - cpus.retired(cpu)) : left);
        if (cpus.stopped) break;
        if (this.#hooked) {
          this.#hooked = false;
          return { pause: 'hook', instructions: limit - left };
        }
      }
    }
  }

  #nextSlice(): void {
    const header = this.#p.board.header;
    header.roundBusyNs = Math.max(header.roundBusyNs, header.roundNs - header.sliceLeft);
    header.roundCpu++;
    header.sliceLeft = header.roundNs;
  }

  #slice(cpu: number, limit: number): number {
    const { board, cpus, clock, engines } = this.#p;
    const header = board.header;
    if (header.sliceLeft === header.roundNs) {
      const block = cpus.block(cpu);
      const offset = header.roundStartNs - cpus.retired(cpu);
      cpus.advanceTsc(cpu, offset - block.timeOffset);
      block.timeOffset = offset;
    }
    const before = cpus.retired(cpu);
    clock.enter(cpu);
    const exit = engines[cpu].run(Math.min(header.sliceLeft, limit));
    clock.leave();
    const ran = cpus.retired(cpu) - before;
    header.sliceLeft -= ran;
    switch (exit) {
      case 'shutdown':
        cpus.setRunState(cpu, RUN.dead);
        cpus.stop('shutdown', cpu);
        break;
      case 'stop':
        this.#hooked = (cpus.attention(cpu) & ATTN.STOP) === 0;
        if (!cpus.stopped) cpus.clearStop(cpu);
        break;
      case 'halt': this.#nextSlice(); break;
      case 'budget': if (header.sliceLeft <= 0) this.#nextSlice(); break;
    }
    return ran;
  }

  #endRound(): void {
    const { board, cpus } = this.#p;
    const header = board.header;
    let anyRunning = false;
    for (let cpu = 0; cpu < board.cpus; cpu++) anyRunning ||= cpus.runState(cpu) === RUN.running;
    header.roundStartNs += anyRunning ? header.roundNs : header.roundBusyNs;
    if (header.roundNs > 0) header.roundStuck = header.roundBusyNs === 0 ? 1 : 0;
    // A run that is cut just here comes by again: nothing may be left to add.
    header.roundNs = 0;
    header.roundBusyNs = 0;
  }

  /** Fires what is due and opens the next round, unless nobody can run. */
  #startRound(): 'running' | 'idle' | 'waiting' {
    const { board, cpus, chipset, quantum } = this.#p;
    const header = board.header;
    for (let jumps = 0; jumps < IDLE_JUMPS; jumps++) {
      const now = header.roundStartNs;
      const instructions = cpus.totalRetired();
      if (this.#p.deliverInputs(instructions, now) > 0) header.roundStuck = 0;
      chipset.runEvents(now);
      if (cpus.stopped) return 'idle';
      let runnable = false;
      for (let cpu = 0; cpu < board.cpus; cpu++) runnable ||= cpus.runnable(cpu);
      const next = chipset.events.next();
      if (runnable && !header.roundStuck) {
        const length = Math.max(1, Math.min(this.#quantum(quantum), Math.ceil(next - now)));
        header.roundNs = length;
        header.roundBusyNs = 0;
        header.roundCpu = 0;
        header.sliceLeft = length;
        return 'running';
      }
      if (cpus.asleepForGood()) return 'idle';
      const target = Math.min(next, this.#p.nextInputNs(instructions));
      if (target === Infinity || target > (this.#p.idleUntilNs?.() ?? Infinity)) return 'idle';
      header.roundStuck = 0;
      header.roundStartNs = Math.max(now, target);
    }
    return 'waiting';
  }

  /** Length of the next round: the quantum, or one of [q/2, 3q/2) when the seed is not 0 (xorshift32). */
  #quantum(quantum: number): number {
    const header = this.#p.board.header;
    let x = header.scheduleSeed | 0;
    if (x === 0) return quantum;
    x ^= x << 13; x ^= x >>> 17; x ^= x << 5;
    header.scheduleSeed = x >>> 0;
    return Math.max(1, (quantum >> 1) + ((x >>> 0) % quantum));
  }
}
