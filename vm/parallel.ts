/**
 * The machine in parallel mode, seen from the host's main thread: a worker thread per vCPU over one shared board.
 *
 * The main thread owns everything that is not the guest's: sinks, input, the wall-clock limit, the workers' lives. Workers ring its
 * doorbell (a word in the board's header) when a ring has output, a serial port has room again, a vCPU wants its worker, or the machine
 * has stopped; between rings it is asleep in Atomics.waitAsync. It runs device code itself only to hand over input, under the device lock.
 *
 * A worker that dies (a bug of ours, an out-of-memory, a kill) is a dead CPU: its lock is broken, its state says dead, the others run
 * on, and the result names it. When the last one is gone the machine stops.
 */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { breakSplitLock } from './cpu/split-lock.ts';
import { modelNumber } from './cpu/isa/models.ts';
import { createBoard, type Board } from './board.ts';
import { Coherence } from './cpu/coherence.ts';
import { compiledTier0 } from './cpu/engine.ts';
import { RUN, S } from './cpu/state.ts';
import { CHANNELS, Chipset } from './devices/chipset.ts';
import { DeviceLock, HOST } from './devices/lock.ts';
import { takeSpareWorker, workerUrl } from './entry.ts';
import type { SerialLine } from './inputs.ts';
import { openDisks, type OpenedDisk } from './io/disk.ts';
import { HostClock } from './io/host-clock.ts';
import { ByteRing } from './io/ring.ts';
import { loadMultiboot, type BootState } from './loader.ts';
import type { Machine, MachineConfig, MachineResult, Reason } from './machine.ts';
import { checkNet, describeNet } from './net/config.ts';
import { IoHost } from './net/io-host.ts';
import { describeShutdown } from './post-mortem.ts';
import { IO_WORKER } from './net/port.ts';
import { prepareRings, TraceReader, type TracePlan } from './trace.ts';
import { VCpus, WORKER } from './vcpu.ts';
import type { VcpuWorkerData } from './vcpu.worker.ts';

/** Of a vCPU's thread. What it leaves behind while decoding and compiling is short-lived: V8 would let it gather 48 MiB. */
const VCPU_LIMITS = { maxYoungGenerationSizeMb: 12 };
/** A worker that ignores STOP this long is terminated. */
const EXIT_PATIENCE_MS = 2000;
/** Output is collected this long before it is handed over: a guest writes byte by byte. */
const OUTPUT_DELAY_MS = 1;
/** Trace rings are emptied this often at least. */
const TRACE_DRAIN_MS = 5;
export const HALTED_FOR_GOOD = 'all vCPUs are halted and nothing will wake them';

export class ParallelMachine implements Machine {
  readonly config: MachineConfig;
  readonly board: Board;
  readonly cpus: VCpus;
  readonly chipset: Chipset;
  readonly #boot: BootState;
  readonly #disks: OpenedDisk[];
  readonly #clockBase = process.hrtime.bigint();
  readonly #clock: HostClock;
  readonly #rings: ByteRing[];
  readonly #sinks: readonly (((bytes: Uint8Array) => void) | undefined)[];
  readonly #workers = new Map<number, { worker: Worker; gone: Promise<void> }>();
  readonly #input: { line: SerialLine; bytes: Uint8Array }[] = [];
  readonly #deaths: string[] = [];
  readonly #plan: TracePlan | undefined;
  readonly #trace: TraceReader | undefined;
  /** The I/O worker, with a NIC. */
  readonly io: IoHost | undefined;
  #timedOut = false;
  #drainPlanned: NodeJS.Timeout | undefined;
  #stoppedAtNs = 0;

  constructor(config: MachineConfig) {
    this.config = config;
    if (config.net) checkNet(config.net, 'parallel');
    const board = this.board = createBoard({ cpus: config.cpus ?? 1, memoryMiB: config.memoryMiB ?? 128 });
    this.#clock = new HostClock(board, this.#clockBase);
    board.header.parallel = 1;
    board.header.randomSeed = config.seed ?? 0;
    board.header.cpuModel = modelNumber(config.cpuModel ?? 'max');
    board.header.rtcBaseSeconds = config.rtcSeconds ?? Math.floor(Date.now() / 1000);
    this.#boot = loadMultiboot(board, { kernel: config.kernel, modules: config.modules, cmdline: config.cmdline });
    this.#disks = openDisks(config.disks ?? []);
    this.cpus = new VCpus(board);
    if (config.trace) {
      const { points, marks, events, keep } = config.trace;
      this.#plan = { points, marks, events, keep };
      prepareRings(board, this.#plan);
      this.#trace = new TraceReader(board);
    }
    this.#sinks = [config.com1, config.com2, config.debug];
    this.#rings = Array.from({ length: CHANNELS }, (_, channel) => new ByteRing(board, channel));
    this.chipset = new Chipset(board, {
      clock: this.#clock, cpus: this.cpus, parallel: true, disks: this.#disks.map(({ descriptor }) => descriptor), diskLatencyNs: 0,
      net: config.net && describeNet(config.net),
      emit: () => { throw new Error('the host does not transmit'); },
    });
    if (config.net) {
      this.io = new IoHost({
        memory: board.memory, clockBase: this.#clockBase, disks: this.#disks.map(({ descriptor }) => descriptor), config: config.net,
        note: (text) => config.note?.(text), died: (cause) => this.#ioDied(cause),
      });
    }
    this.chipset.powerOn();
    for (let cpu = 0; cpu < board.cpus; cpu++) {
      this.cpus.words(cpu)[S.apicBase >> 2] = 0xfee0_0800 | (cpu === 0 ? 0x100 : 0);
      if (cpu > 0) this.cpus.setRunState(cpu, RUN.waitSipi);
    }
  }

  get inputBytes(): number { return this.#input.reduce((sum, { bytes }) => sum + bytes.length, 0); }
  get instructions(): number { return this.cpus.totalRetired(); }
  get virtualNs(): number { return this.#stoppedAtNs || this.#clock.now(); }
  /** Of accesses by the host; workers count their own. */
  get unclaimed(): ReadonlyMap<string, number> { return this.chipset.unclaimed; }

  #spawn(cpu: number): void {
    if (this.#workers.has(cpu)) return;
    this.cpus.setWorkerState(cpu, WORKER.starting);
    const workerData: VcpuWorkerData = {
      memory: this.board.memory, cpu, clockBase: this.#clockBase, disks: this.#disks.map(({ descriptor }) => descriptor), channels: CHANNELS,
      cores: availableParallelism(), jit: this.config.jit ?? 'on',
      ...(this.#plan ? { trace: this.#plan } : {}),
      tier0: compiledTier0(true),
      ...(this.config.net ? { net: describeNet(this.config.net) } : {}),
      ...(cpu === 0 ? { boot: this.#boot } : {}),
    };
    const spare = takeSpareWorker();
    spare?.ref();
    spare?.postMessage(workerData);
    const worker = spare ?? new Worker(workerUrl('vm/vcpu.worker.ts'), { workerData, execArgv: [], resourceLimits: VCPU_LIMITS });
    const gone = new Promise<void>((resolve) => {
      let cause = '';
      worker.on('error', (error: unknown) => { cause = error instanceof Error ? error.stack ?? error.message : String(error); });
      worker.on('exit', (code) => {
        if (!this.cpus.stopped) this.#died(cpu, cause || `worker exited with code ${code}`);
        else if (cause) this.#deaths.push(`CPU ${cpu}: ${cause}`);
        resolve();
      });
    });
    this.#workers.set(cpu, { worker, gone });
  }

  #died(cpu: number, cause: string): void {
    this.#deaths.push(`CPU ${cpu}: ${cause}`);
    const block = this.cpus.block(cpu);
    if (block.workerState >= WORKER.running && block.workerState < WORKER.gone && block.parked === 0) Atomics.sub(this.board.headerWords, this.board.headerWord('active'), 1);
    this.cpus.setRunState(cpu, RUN.dead);
    this.cpus.setWorkerState(cpu, WORKER.gone);
    Coherence.gone(this.board, cpu);
    (this.chipset.lock as DeviceLock).breakFor(cpu);
    breakSplitLock(this.board, cpu);
    const anyAlive = [...this.#workers.keys()].some((other) => this.cpus.runState(other) !== RUN.dead);
    if (!anyAlive) this.cpus.stop('error', 0);
    this.cpus.ringHost();
  }

  /** Without its I/O worker the NIC is unplugged; the machine runs on. */
  #ioDied(cause: string): void {
    const { lock, nic } = this.chipset;
    (lock as DeviceLock).breakFor(IO_WORKER);
    lock.acquire(HOST);
    try { nic?.unplug(); } finally { lock.release(); }
    this.config.note?.(`network: the I/O worker died, the guest's link is down: ${cause}`);
  }

  #drain(): void {
    for (let channel = 0; channel < CHANNELS; channel++) {
      const bytes = this.#rings[channel].drain();
      if (bytes.length > 0) this.#sinks[channel]?.(bytes);
    }
  }

  #drainTrace(): void {
    if (this.config.trace?.keep === 'stream') this.#trace?.drain((records) => this.config.trace?.sink?.(records, false));
  }
  traceRecords(): Uint8Array { return this.#trace?.last() ?? new Uint8Array(0); }
  get traceLost(): number { return this.#trace?.lost ?? 0; }

  #drainSoon(): void {
    if (this.#drainPlanned !== undefined || !this.#rings.some((ring) => ring.used > 0)) return;
    this.#drainPlanned = setTimeout(() => { this.#drainPlanned = undefined; this.#drain(); this.#drainSoon(); }, OUTPUT_DELAY_MS);
  }

  #deliverInput(): void {
    while (this.#input.length > 0) {
      const { line, bytes } = this.#input[0];
      this.chipset.lock.acquire(HOST);
      let taken: number;
      try { taken = this.chipset.uarts[line].receive(bytes); } finally { this.chipset.lock.release(); }
      if (taken < bytes.length) { this.#input[0] = { line, bytes: bytes.subarray(taken) }; return; }
      this.#input.shift();
    }
  }

  async run(): Promise<MachineResult> {
    const { headerWords } = this.board;
    const doorbell = this.board.headerWord('hostDoorbell');
    const spawnMask = this.board.headerWord('spawnMask');
    if (this.io?.early) await this.io.start();
    const timer = this.config.timeoutMs === undefined ? undefined : setTimeout(() => { this.#timedOut = true; this.cpus.stop('timeout', 0); }, this.config.timeoutMs);
    const tracing = this.config.trace?.keep === 'stream' ? setInterval(() => this.#drainTrace(), TRACE_DRAIN_MS) : undefined;
    // All start together, the boot processor's first: by the time the kernel wakes the others, their threads are there.
    for (let cpu = 0; cpu < this.board.cpus; cpu++) this.#spawn(cpu);
    while (!this.cpus.stopped) {
      const seen = Atomics.load(headerWords, doorbell);
      this.#drainSoon();
      this.#drainTrace();
      const wanted = Atomics.exchange(headerWords, spawnMask, 0);
      for (let cpu = 0; cpu < this.board.cpus; cpu++) if (wanted & (1 << cpu)) this.#spawn(cpu);
      this.#deliverInput();
      if (this.io && !this.io.started && Atomics.load(this.chipset.nic!.bell, 2) !== 0) void this.io.start();
      if (this.cpus.stopped) break;
      const wait = Atomics.waitAsync(headerWords, doorbell, seen);
      if (wait.async) await wait.value;
      else await new Promise((resolve) => setImmediate(resolve)); // busy output: let input and timers have their turn
    }
    this.#stoppedAtNs = this.#clock.now();
    clearTimeout(timer);
    clearTimeout(this.#drainPlanned);
    // A worker that is still starting sees the stop when it begins; one that does not is ended.
    const patience = setTimeout(() => { for (const { worker } of this.#workers.values()) void worker.terminate(); }, EXIT_PATIENCE_MS);
    const draining = setInterval(() => this.#drain(), 5); // a full ring must not keep a worker from exiting
    await Promise.all([...this.#workers.values()].map(({ gone }) => gone));
    await this.io?.stop();
    clearTimeout(patience);
    clearInterval(draining);
    clearInterval(tracing);
    this.#drain();
    this.#drainTrace();
    return this.#result();
  }

  #result(): MachineResult {
    const stopped = this.cpus.stopped;
    const reason: Reason = stopped === undefined || stopped === 'running' || stopped === 'error' ? 'stopped' : stopped;
    const detail = stopped === 'shutdown' ? [...this.#deaths, describeShutdown(this.board, this.board.header.stopStatus, 'recorded in deterministic mode only')].join('\n') : this.#deaths.length > 0 ? [...this.#deaths, ...(stopped === 'stopped' && this.cpus.asleepForGood() ? [HALTED_FOR_GOOD] : [])].join('\n') : this.#timedOut ? `${this.config.timeoutMs} ms passed`
      : this.cpus.asleepForGood() && reason === 'stopped' ? HALTED_FOR_GOOD : undefined;
    return {
      reason, status: this.board.header.stopStatus, instructions: this.instructions, virtualNs: this.virtualNs, stateHash: '',
      ...(detail === undefined ? {} : { detail }),
    };
  }

  stop(): void { this.cpus.stop('stopped', 0); }

  serialInput(line: SerialLine, bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#input.push({ line, bytes: bytes.slice() });
    this.cpus.ringHost();
  }

  /** For tests and fault injection: kills the worker of a vCPU, as a crash would. */
  async killCpu(cpu: number): Promise<void> { await this.#workers.get(cpu)?.worker.terminate(); }

  close(): void { for (const disk of this.#disks.splice(0)) disk.close(); }
}
