/**
 * One experiment after the other on one machine: walk on to the point, checkpoint, break something, run, judge, roll back.
 *
 * A run is cut short where nothing new can come: as soon as its state hash meets the golden run's at the same instruction, it *is* the
 * golden run. The ladder is looked at 1, 2, 4, ... rungs after the fault, and not at all once a server has been restarted.
 *
 * What happens meanwhile is seen through two marks (vm/engine.ts): the kernel's `faultCurrent` (a Thread faults: detection) and the
 * supervisor's `publish` (a server changes its state: recovery). They cost nothing elsewhere.
 */
import { readFileSync } from 'node:fs';
import { S } from '../../vm/cpu/state.ts';
import { RUNG, sha256, type Golden } from './golden.ts';
import { SERVER_STATE, readServers, spaceOf, type ServerState } from './guest-view.ts';
import { MODELS } from './models/index.ts';
import type { Fault } from './models/model.ts';
import { classify, type Outcome } from './outcome.ts';
import { Subject } from './subject.ts';
import { moduleOf } from './symbols.ts';
import { BEGIN, type Workload } from './workload.ts';

/** After how many golden runs (and a time bound) without a restart a run is a hang, in instructions and in virtual time. */
export const HANG_FACTOR = 10;
/** A damaged supervisor may restart for ever. */
const MOST_PATIENCE = 4;
/** The servers' own bound, where the machine was given none; the longest of them over the ordinary one (servers/protocols/fs.ts). */
const BOUND_OF_FS = 3;
const OWN_BOUND_MS = 5000;
/**
 * On a network a lost frame is waited for: a first retransmission comes after a second (RFC 6298), then after two, four, ... A run with a NIC has this much
 * virtual time more.
 */
const NETWORK_PATIENCE_NS = 20e9;
/** Instructions between looks at the virtual time: an idle machine executes little more than its timers. */
const STRIDE = 250_000;
/** So often may thousands of timer ticks in a row wake nobody. */
const MAX_WAITS = 3;
/** Tier 0 alone: an experiment is over before regions pay for their compilation (measured: 26 ms of CPU time each, 240 ms with the JIT). */
const EXPERIMENT_ENGINE = { jit: 'off' } as const;
/** The server whose end is the end of all programs. */
const PERSONALITY = 'process';
/** A restart that is not over after so many instructions is waited for no longer than the hang limit; polling step. */
const SETTLE = 2_000;

/** A planned experiment. `fault` undefined: the model found nothing to break. */
export interface Point { readonly index: number; readonly target: string; readonly model: string; readonly fault: Fault | undefined }

export interface Result {
  readonly index: number;
  readonly outcome: Outcome;
  /** Instructions from the fault to the first exception that the kernel saw in ring 3, and whose it was; without one, to the supervisor's finding that a server is late. */
  readonly detectInstructions: number | undefined;
  readonly detectedIn: string | undefined;
  /** From there to the last server up again. */
  readonly recoverInstructions: number | undefined;
  readonly restarts: number;
  /** State at the end of the run (or where it met the golden run). */
  readonly stateHash: string;
  /** Offset at which the run ended. */
  readonly ended: number;
  readonly note: string;
}

export class ExperimentError extends Error { override readonly name = 'ExperimentError'; }

interface Event { readonly kind: 'fault' | 'publish'; readonly at: number; readonly who: string }

export class Executor {
  readonly subject: Subject;
  readonly #golden: Golden;
  readonly #workload: Workload;
  readonly #base: Uint8Array;
  /** An image of the disk other than the file, and where it differs. */
  #changed: Uint8Array | undefined;
  #patched: readonly number[] = [];
  readonly #events: Event[] = [];
  #watching = false;
  readonly #hashing: boolean;

  /**
   * Boots; refuses to work on anything but the golden run's state. `hashing` false: results have no state hash, which saves a millisecond each
   * (and a run that ends in the golden run's very state is `latent`, not `masked`).
   */
  constructor(golden: Golden, workload: Workload, subject = new Subject(golden.subject, EXPERIMENT_ENGINE), hashing = true) {
    this.#golden = golden;
    this.#hashing = hashing;
    this.#workload = workload;
    this.subject = subject;
    this.#base = new Uint8Array(readFileSync(golden.subject.disk)); // not a Buffer, whose slice is no copy
    if (subject.start === 0) subject.boot(BEGIN);
    if (subject.machine.hash() !== golden.startHash) throw new ExperimentError('this machine is not in the state of the golden run at the beginning of the workload');
    this.#setMarks();
  }

  #setMarks(): void {
    const { machine, port } = this.subject;
    const mark = (module: string, symbol: string, cr3: number, kind: Event['kind']): void => {
      const address = moduleOf(module).symbol(symbol);
      const physical = address === undefined ? -1 : port.translate(cr3, address);
      if (address === undefined || physical < 0) return;
      for (const engine of machine.engines) {
        try {
          engine.setMark(address, physical, (cpu, retired) => {
            if (!this.#watching) return false;
            let at = retired - this.subject.start - 1;
            for (let other = 0; other < machine.cpus.cpus; other++) if (other !== cpu) at += machine.cpus.retired(other);
            this.#events.push({ kind, at, who: kind === 'fault' ? spaceOf(port, machine.cpus.words(cpu)[S.cr3 >> 2]! >>> 0).name : '' });
            return kind === 'publish';
          });
        } catch (error) { if (!(error instanceof RangeError)) throw error; }
      }
    };
    const cr3 = port.position(0).cr3;
    mark('kernel', 'microkernel/core/fault/faultCurrent', cr3, 'fault');
    const supervisor = this.#golden.spaces.get('supervisor');
    if (supervisor !== undefined) mark('supervisor', 'servers/supervisor/report/publish', supervisor, 'publish');
  }

  #servers(): ServerState[] { return readServers(this.subject.port, this.#golden.serverTable); }

  /** Walks the machine to an offset not before the present one. */
  walkTo(offset: number): void {
    const { subject } = this;
    if (subject.offset > offset) throw new ExperimentError(`cannot walk back from ${subject.offset} to ${offset}`);
    while (subject.offset < offset) {
      const { pause } = subject.machine.runFor(offset - subject.offset);
      if (pause === 'stopped' || pause === 'idle' || pause === 'waiting') throw new ExperimentError(`the golden run does not come to ${offset}: ${pause} at ${subject.offset}`);
    }
  }

  /** One experiment. The machine is left at the point, as if nothing had happened. */
  run(point: Point): Result {
    const { fault } = point;
    if (!fault) return { index: point.index, outcome: 'not-activated', detectInstructions: undefined, detectedIn: undefined, recoverInstructions: undefined, restarts: 0, stateHash: '', ended: 0, note: 'no instruction to break' };
    this.walkTo(fault.offset);
    this.subject.checkpoint();
    try { return this.#break(point, fault); } finally { this.subject.rollBack(); }
  }

  /** Places the fault and runs to the end, without checkpoint or roll-back: for a machine that is thrown away afterwards (replay). */
  runOnce(point: Point): Result {
    if (!point.fault) return this.run(point);
    this.walkTo(point.fault.offset);
    return this.#break(point, point.fault);
  }

  #break(point: Point, fault: Fault): Result {
    const { subject } = this;
    const { port } = subject;
    const model = MODELS.get(point.model);
    if (!model) throw new ExperimentError(`no fault model ${point.model}`);
    if (fault.eip >= 0) {
      const at = port.position(fault.cpu);
      if (at.eip !== fault.eip || at.user !== fault.user || (fault.user && at.cr3 !== fault.cr3)) {
        return { index: point.index, outcome: 'tool-error', detectInstructions: undefined, detectedIn: undefined, recoverInstructions: undefined, restarts: 0, stateHash: '', ended: subject.offset, note: `expected EIP ${fault.eip.toString(16)}, found ${at.eip.toString(16)}${at.user ? '' : ' in ring 0'}` };
      }
    }
    this.#events.length = 0;
    this.#watching = true;
    const placed = model.place(subject, fault);
    try {
      if (placed === false) return { index: point.index, outcome: 'not-activated', detectInstructions: undefined, detectedIn: undefined, recoverInstructions: undefined, restarts: 0, stateHash: '', ended: subject.offset, note: 'nothing there to break' };
      return this.#finish(point, fault);
    } finally {
      this.#watching = false;
      if (typeof placed === 'function') placed();
    }
  }

  #finish(point: Point, fault: Fault): Result {
    const { subject } = this, { machine } = subject, golden = this.#golden;
    const { boundMs, cpus } = golden.subject;
    // One instruction of a vCPU is one nanosecond. Where the bound is seconds, nobody waits for it in instructions, only in virtual time, which costs an
    // idle machine little. Each restart gives the run as much again: there are no more than a few before a server is given up.
    const patience = HANG_FACTOR * golden.length + (boundMs ? boundMs * 1e6 * cpus : 0), patienceNs = HANG_FACTOR * (golden.ns + BOUND_OF_FS * (boundMs || OWN_BOUND_MS) * 1e6) + (golden.subject.net === undefined ? 0 : NETWORK_PATIENCE_NS);
    let limit = patience, limitNs = subject.startNs + patienceNs;
    // From here, not from the point: a model may have run the machine on.
    let rung = Math.floor(subject.offset / RUNG), step = 1, downAt: number | undefined, recoveredAt: number | undefined, end: 'poweroff' | 'machine-down' | 'stuck' | 'converged' | undefined, stateHash = '';
    const down = new Set<number>();
    let waits = 0;
    while (end === undefined) {
      const looking = this.#events.length === 0 && rung + step - 1 < golden.rungs.length;
      const next = looking ? (rung + step) * RUNG : limit;
      const { pause } = machine.runFor(Math.min(next, limit, subject.offset + STRIDE) - subject.offset);
      if (pause === 'hook') {
        // The supervisor is about to publish: a little later the table says what.
        const published = this.#events.at(-1)!.at;
        const settled = machine.runFor(SETTLE);
        limit = Math.min(published + patience, MOST_PATIENCE * patience);
        limitNs = Math.min(machine.virtualNs + patienceNs, subject.startNs + MOST_PATIENCE * patienceNs);
        for (const { number, name, state } of this.#servers()) {
          // All programs are gone with it, and nobody brings them back.
          if (name === PERSONALITY && state === SERVER_STATE.failed) end = 'stuck';
          if (state === SERVER_STATE.dead || state === SERVER_STATE.starting) { down.add(number); downAt ??= published; }
          else if (down.delete(number) && down.size === 0 && state === SERVER_STATE.up) recoveredAt = published;
        }
        if (end === undefined && (settled.pause === 'limit' || settled.pause === 'hook')) continue;
      }
      if (end !== undefined) break;
      if (machine.stopReason !== undefined) end = machine.stopReason === 'poweroff' ? 'poweroff' : 'machine-down';
      else if (pause === 'idle' || (pause === 'waiting' && ++waits >= MAX_WAITS)) end = 'stuck';
      else if (subject.offset >= limit || machine.virtualNs > limitNs) end = 'stuck';
      else if (looking && subject.offset === next) {
        rung += step;
        step *= 2;
        // Whoever has faulted on the way is not where he was: no need to ask.
        if (this.#events.length === 0 && machine.hash() === golden.rungs[rung - 1]) end = 'converged';
      }
    }
    if (end === 'converged') stateHash = golden.rungs[rung - 1]!;
    else if (this.#hashing) stateHash = machine.hash();
    return this.#judge(point, fault, end, stateHash, downAt, recoveredAt);
  }

  #judge(point: Point, fault: Fault, end: 'poweroff' | 'machine-down' | 'stuck' | 'converged', stateHash: string, downAt: number | undefined, recoveredAt: number | undefined): Result {
    const golden = this.#golden, servers = this.#servers();
    const before = new Map(golden.servers.map((server) => [server.number, server]));
    const restarts = servers.reduce((sum, { number, generation }) => sum + Math.max(0, generation - (before.get(number)?.generation ?? generation)), 0);
    const failed = servers.filter(({ number, state }) => state === SERVER_STATE.failed && before.get(number)?.state !== SERVER_STATE.failed);
    const raised = this.#events.find(({ kind }) => kind === 'fault');
    const first = raised ?? (downAt === undefined ? undefined : { at: downAt, who: 'supervisor' });
    const output = this.subject.output();
    const loops = /is given up: died too often|is not restarted/.test(output.log) ? Math.max(1, failed.length) : 0;
    const verdict = end === 'poweroff' ? this.#workload.judge({ ...output, image: this.#image() }) : { wrong: false, errors: false, notes: [] };
    const outcome = classify({
      activated: true, end, failed: failed.length, loops, restarts, wrong: verdict.wrong, errors: verdict.errors,
      sameState: stateHash === golden.endHash,
    });
    const stopped = end === 'machine-down' ? [lastLine(output.log, /KERNEL|reboot/) ?? `machine stopped: ${this.subject.machine.stopReason}`] : [];
    return {
      index: point.index, outcome, detectInstructions: first && first.at - fault.offset, detectedIn: first?.who,
      recoverInstructions: first && recoveredAt !== undefined ? recoveredAt - first.at : undefined, restarts, stateHash, ended: this.subject.offset,
      note: [...failed.map(({ name }) => `${name} given up`), ...stopped, ...verdict.notes].slice(0, 4).join('; '),
    };
  }

  /** The final image, or undefined when it is the golden run's. The array is reused. */
  #image(): Uint8Array | undefined {
    const golden = this.#golden, blocks = this.subject.overlay();
    if (blocks.size === golden.overlay.size && [...blocks].every(([block, bytes]) => golden.overlay.get(block) === sha256(bytes))) return undefined;
    const image = this.#changed ??= this.#base.slice();
    for (const block of this.#patched) if (!blocks.has(block)) image.set(this.#base.subarray(block * 4096, (block + 1) * 4096), block * 4096);
    for (const [block, bytes] of blocks) image.set(bytes, block * 4096);
    this.#patched = [...blocks.keys()];
    return image;
  }

  close(): void { this.subject.close(); }
}

const lastLine = (text: string, what: RegExp): string | undefined => text.split(/\r?\n/).findLast((line) => what.test(line))?.trim();
