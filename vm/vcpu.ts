/**
 * The vCPUs as the rest of the machine sees them: attention words, run state, retired counts, parking.
 *
 * What happens inside a vCPU is the engine's (vm/cpu); this file is the only one outside it that touches vCPU blocks. Everything
 * here may be called from any thread: attention is changed with Atomics only, and a vCPU parked in HLT is woken by a notify on its
 * attention word, which is sent only while its `parked` word is set (a notify costs a system call).
 */
import { ATTN, FLAG, RUN, S } from './cpu/state.ts';
import { HEADER, MACHINE_BLOCK, STOP_REASONS, VCPU_BYTES, type Board, type StopReason } from './board.ts';
import type { CpuLines, StopLine } from './devices/device.ts';

type MachineBlock = ReturnType<(typeof MACHINE_BLOCK)['bind']>;

/** State of a vCPU's worker thread (`workerState`). `warm`: it has executed its first instructions. */
export const WORKER = { none: 0, starting: 1, running: 2, warm: 3, gone: 4 } as const;
/** Longest host time a vCPU waits for another's thread to get going. */
const THREAD_PATIENCE_MS = 10_000;

export class VCpus implements CpuLines, StopLine {
  readonly cpus: number;
  readonly #board: Board;
  readonly #words: Int32Array[] = [];
  readonly #unsigned: Uint32Array[] = [];
  readonly #blocks: MachineBlock[] = [];
  readonly #parkedWords: Int32Array[] = [];
  readonly #workerWords: Int32Array[] = [];

  constructor(board: Board) {
    this.#board = board;
    this.cpus = board.cpus;
    for (let cpu = 0; cpu < board.cpus; cpu++) {
      this.#words.push(new Int32Array(board.buffer, board.vcpuBase(cpu), VCPU_BYTES >> 2));
      this.#unsigned.push(new Uint32Array(board.buffer, board.vcpuBase(cpu), VCPU_BYTES >> 2));
      const base = board.machineBlockBase(cpu);
      this.#blocks.push(MACHINE_BLOCK.bind(board.buffer, base));
      this.#parkedWords.push(new Int32Array(board.buffer, base + MACHINE_BLOCK.offsetOf('parked'), 1));
      this.#workerWords.push(new Int32Array(board.buffer, base + MACHINE_BLOCK.offsetOf('workerState'), 1));
    }
  }

  block(cpu: number): MachineBlock { return this.#blocks[cpu]; }
  /** The vCPU block as 32-bit words, for loaders and the debugger. */
  words(cpu: number): Int32Array { return this.#words[cpu]; }

  // ---- attention ------------------------------------------------------------------------------------------------------------

  attention(cpu: number): number { return Atomics.load(this.#words[cpu], S.attention >> 2); }

  #raise(cpu: number, bits: number): void {
    const before = Atomics.or(this.#words[cpu], S.attention >> 2, bits);
    if ((before & bits) !== bits && this.#parkedWords[cpu][0] !== 0) Atomics.notify(this.#words[cpu], S.attention >> 2);
  }

  interrupt(cpu: number, asserted: boolean): boolean {
    // A plain load: who changes it does so with a locked operation, in front of this or behind it.
    const now = (this.#words[cpu][S.attention >> 2] & ATTN.INTR) !== 0;
    if (asserted === now) return false;
    if (asserted) this.#raise(cpu, ATTN.INTR);
    else Atomics.and(this.#words[cpu], S.attention >> 2, ~ATTN.INTR);
    return true;
  }
  nmi(cpu: number): void { this.#raise(cpu, ATTN.NMI); }
  init(cpu: number): void {
    if (this.#board.header.parallel) this.#startWorkers();
    this.#raise(cpu, ATTN.INIT);
  }
  sipi(cpu: number, vector: number): void {
    const { parallel } = this.#board.header;
    if (parallel) {
      this.#startWorkers();
      this.#frozen(() => this.#waitForInit(cpu));
    }
    this.#words[cpu][S.sipiVector >> 2] = vector;
    this.#raise(cpu, ATTN.SIPI);
    if (parallel) this.#frozen(() => this.#waitFor(cpu, WORKER.warm));
  }
  /**
   * Parallel mode: the first INIT or SIPI starts the workers of all application processors. The sender waits for them, and after SIPI
   * for the first instructions of the target, with the guest's clock frozen: kernels give a processor some milliseconds to answer, a
   * new thread with cold code needs a hundred.
   */
  #startWorkers(): void {
    let mask = 0;
    let late = false;
    for (let other = 1; other < this.cpus; other++) {
      const state = this.#blocks[other].workerState;
      if (state === WORKER.none) mask |= 1 << other;
      late ||= state < WORKER.running;
    }
    if (mask !== 0) {
      Atomics.or(this.#board.headerWords, this.#board.headerWord('spawnMask'), mask);
      this.ringHost();
    }
    if (late) this.#frozen(() => { for (let other = 1; other < this.cpus; other++) this.#waitFor(other, WORKER.running); });
  }
  #waitFor(cpu: number, wanted: number): void {
    const word = this.#workerWords[cpu];
    for (let waited = 0; waited < THREAD_PATIENCE_MS && !this.stopped; waited += 100) {
      const now = Atomics.load(word, 0);
      if (now >= wanted) return;
      Atomics.wait(word, 0, now, 100);
    }
  }
  /** SIPI follows INIT: the target's thread must have come so far. */
  #waitForInit(cpu: number): void {
    const words = this.#words[cpu];
    for (let waited = 0; waited < THREAD_PATIENCE_MS && !this.stopped; waited++) {
      if (this.#blocks[cpu].workerState === WORKER.none || (Atomics.load(words, S.attention >> 2) & ATTN.INIT) === 0) return;
      Atomics.wait(words, S.runState >> 2, words[S.runState >> 2], 1);
    }
  }
  #frozen(body: () => void): void {
    const started = process.hrtime.bigint();
    body();
    this.#board.header.frozenNs += Number(process.hrtime.bigint() - started);
  }
  setWorkerState(cpu: number, state: number): void {
    Atomics.store(this.#workerWords[cpu], 0, state);
    Atomics.notify(this.#workerWords[cpu], 0);
  }
  requestStop(cpu: number): void { this.#raise(cpu, ATTN.STOP); }
  clearStop(cpu: number): void { Atomics.and(this.#words[cpu], S.attention >> 2, ~ATTN.STOP); }
  flush(cpu: number): void { this.#raise(cpu, ATTN.FLUSH); }

  // ---- stopping the machine ---------------------------------------------------------------------------------------------------

  /** First caller wins. Every vCPU leaves its engine at the next boundary; the one that asked, after its instruction. */
  stop(reason: StopReason, status: number): void {
    const { headerWords } = this.#board;
    const index = this.#board.headerWord('stopReason');
    if (Atomics.compareExchange(headerWords, index, 0, STOP_REASONS.indexOf(reason)) !== 0) return;
    this.#board.header.stopStatus = status;
    for (let cpu = 0; cpu < this.cpus; cpu++) this.requestStop(cpu);
    this.ringHost();
  }
  get stopped(): StopReason | undefined {
    const reason = Atomics.load(this.#board.headerWords, this.#board.headerWord('stopReason'));
    return reason === 0 ? undefined : STOP_REASONS[reason];
  }

  /** Wakes the host's main thread (parallel mode). */
  ringHost(): void {
    const index = (HEADER.offsetOf('hostDoorbell')) >> 2;
    Atomics.add(this.#board.headerWords, index, 1);
    Atomics.notify(this.#board.headerWords, index);
  }

  // ---- state ----------------------------------------------------------------------------------------------------------------

  runState(cpu: number): number { return this.#words[cpu][S.runState >> 2]; }
  setRunState(cpu: number, state: number): void { this.#words[cpu][S.runState >> 2] = state; }

  /** Whether running the engine of `cpu` may get anywhere. */
  runnable(cpu: number): boolean {
    const attention = this.attention(cpu);
    switch (this.runState(cpu)) {
      case RUN.running: return true;
      case RUN.halted: return this.#wakes(cpu, attention);
      case RUN.waitSipi: return (attention & (ATTN.INIT | ATTN.SIPI)) !== 0;
      default: return false;
    }
  }

  /** What ends HLT: an interrupt behind IF = 0, or an NMI in an NMI handler, does not, however long it is pending. */
  #wakes(cpu: number, attention: number): boolean {
    const words = this.#words[cpu];
    return (attention & ATTN.INIT) !== 0 || ((attention & ATTN.INTR) !== 0 && (words[S.eflags >> 2] & FLAG.IF) !== 0) || ((attention & ATTN.NMI) !== 0 && words[S.nmiBlocked >> 2] === 0);
  }

  /**
   * Whether no vCPU can ever run again: each is dead, waits for SIPI, or halts with interrupts off, and nobody is left to send INIT, SIPI
   * or NMI. Stable once true.
   */
  asleepForGood(): boolean {
    for (let cpu = 0; cpu < this.cpus; cpu++) {
      const state = this.runState(cpu);
      if (state === RUN.dead) continue;
      if (this.attention(cpu) & (ATTN.INIT | ATTN.SIPI)) return false;
      if (state === RUN.waitSipi) continue;
      if (state === RUN.running || this.#wakes(cpu, this.attention(cpu)) || this.#words[cpu][S.eflags >> 2] & FLAG.IF) return false;
    }
    return true;
  }

  /** Instructions completed by `cpu`. */
  retired(cpu: number): number {
    const words = this.#unsigned[cpu];
    return words[S.retired >> 2] + words[(S.retired >> 2) + 1] * 2 ** 32;
  }
  totalRetired(): number {
    let total = 0;
    for (let cpu = 0; cpu < this.cpus; cpu++) total += this.retired(cpu);
    return total;
  }

  /** Adds `delta` (an integer number of ticks) to the vCPU's time stamp counter offset. */
  advanceTsc(cpu: number, delta: number): void {
    const words = this.#unsigned[cpu];
    const at = S.tscOffset >> 2;
    const low = words[at] + (((delta % 2 ** 32) + 2 ** 32) % 2 ** 32);
    words[at + 1] = (words[at + 1] + Math.floor(delta / 2 ** 32) + (low >= 2 ** 32 ? 1 : 0)) >>> 0;
    words[at] = low >>> 0;
  }

  /** Bit 11 of IA32_APIC_BASE. */
  lapicEnabled(cpu: number): boolean { return (this.#words[cpu][S.apicBase >> 2] & 0x800) !== 0; }

  // ---- parking (parallel mode) --------------------------------------------------------------------------------------------------

  /** Waits until attention differs from `seen` or `timeoutMs` passes. */
  park(cpu: number, seen: number, timeoutMs: number): void {
    const block = this.#blocks[cpu];
    block.parkCount++;
    Atomics.store(this.#parkedWords[cpu], 0, 1);
    Atomics.wait(this.#words[cpu], S.attention >> 2, seen, timeoutMs);
    Atomics.store(this.#parkedWords[cpu], 0, 0);
  }
}
