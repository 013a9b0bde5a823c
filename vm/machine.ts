/**
 * The machine: the one thing the rest of the project uses of vm/.
 *
 *     const machine = createMachine({ kernel: 'kernel.elf', modules: [...], cmdline, memoryMiB: 128, cpus: 4, mode: 'deterministic', com1: sink });
 *     const result = await machine.run();      // {reason, status, instructions, virtualNs, stateHash}
 *
 * Errors in what the user gave (kernel, modules, disks, sizes) are thrown here, typed: LoaderError, DiskError, BoardError. After
 * that nothing throws for what the guest does.
 */
import { modelNumber, type CpuModel } from './cpu/isa/models.ts';
import { createBoard, type Board, type StopReason } from './board.ts';
import { createEngine } from './cpu/engine.ts';
import { applyBootState } from './boot.ts';
import { CHANNELS, Chipset } from './devices/chipset.ts';
import { DeterministicRunner, VirtualClock, type CpuLimit, type DeterministicPause } from './deterministic.ts';
import type { BlockWatch, DebugPlan, Engine, EngineFactory, JitMode } from './engine.ts';
import { StateHasher } from './hash.ts';
import type { FaultHooks } from './hooks.ts';
import { Inputs, type InputRecord, type SerialLine } from './inputs.ts';
import { type DiskConfig, openDisks, type OpenedDisk } from './io/disk.ts';
import { basename } from 'node:path';
import { crc32 } from 'node:zlib';
import { loadMultiboot, readSource, type FileSource, type ModuleSource } from './loader.ts';
import { FaultPort } from './faults.ts';
import { BranchRing, describeShutdown, LONGEST_RERUN, STEPS, type Branch } from './post-mortem.ts';
import { S, SEG, segBase } from './cpu/state.ts';
import { HALTED_FOR_GOOD, ParallelMachine } from './parallel.ts';
import { SnapshotError, Snapshots, type Snapshot } from './snapshot.ts';
import { prepareRings, TraceReader, TraceWriter, type TracePlan } from './trace.ts';
import { Checkpoint } from './checkpoint.ts';
import { NetError, checkNet, describeNet, type NetConfig } from './net/config.ts';
import type { OutsideState } from './net/state.ts';
import { LiveWire } from './net/live-wire.ts';
import { VirtualNetwork } from './net/virtual.ts';
import { VCpus } from './vcpu.ts';

export { BoardError } from './board.ts';
export { DiskError, type DiskConfig } from './io/disk.ts';
export { LoaderError, type FileSource, type ModuleSource } from './loader.ts';
export { SnapshotError, type Snapshot } from './snapshot.ts';
export { NetError, type NetConfig } from './net/config.ts';
export type { InputRecord, SerialLine } from './inputs.ts';
export type { JitMode } from './engine.ts';
export type { AccessFault, DeviceAccess, FaultHooks, InterruptFault } from './hooks.ts';
export { joinRecords, sortRecords, TraceError, type TracePlan, type TracePoint } from './trace.ts';

export interface MachineConfig {
  /** Multiboot 1 kernel: a path, or bytes with a name for messages. */
  readonly kernel: FileSource;
  readonly modules?: readonly ModuleSource[];
  readonly cmdline?: string;
  /** Default 128. */
  readonly memoryMiB?: number;
  /** 1..8, default 1. */
  readonly cpus?: number;
  /** What the vCPUs are (vm/cpu/isa/models.ts). Default max: all there is. */
  readonly cpuModel?: CpuModel;
  readonly disks?: readonly DiskConfig[];
  /** A NIC and what it is plugged into (vm/net). Default: none. */
  readonly net?: NetConfig;
  /**
   * Deterministic: `open`: the user network with sockets of the host in the place of the built-in peer; its frames are inputs, so the run repeats only from a
   * recording. `recorded`: the frames come from `replay`.
   */
  readonly liveNet?: 'open' | 'recorded';
  /** Default deterministic. */
  readonly mode?: 'parallel' | 'deterministic';
  /** Deterministic: 0 (default) = fixed quanta, else quanta vary with it. */
  readonly seed?: number;
  /** Deterministic: instructions per vCPU and round. Default 2000. */
  readonly quantum?: number;
  readonly jit?: JitMode;
  /** EngineOptions.jitHeat, deterministic machine. */
  readonly jitHeat?: number;
  /** Host time after which run() gives up with reason `timeout`. */
  readonly timeoutMs?: number;
  /** Deterministic: instructions after which run() gives up with reason `timeout`. */
  readonly maxInstructions?: number;
  /** Virtual latency of a disk request, deterministic mode. Default 20 us. */
  readonly diskLatencyNs?: number;
  /** RTC at power on, seconds since 1970. Default 2026-01-01 in deterministic mode, the host's time in parallel mode. */
  readonly rtcSeconds?: number;
  /** Output of the serial ports and of the debug console (port E9h). Called with fresh arrays, in order. */
  readonly com1?: (bytes: Uint8Array) => void;
  readonly com2?: (bytes: Uint8Array) => void;
  readonly debug?: (bytes: Uint8Array) => void;
  /** Sentences for the user while it runs: the network's other end is gone, a capture has ended. */
  readonly note?: (text: string) => void;
  /** Deterministic: somebody may still type. run() waits for input while all vCPUs halt, and idle virtual time keeps to host time. */
  readonly interactive?: boolean;
  /** Deterministic: inputs to deliver, from a recording. */
  readonly replay?: readonly InputRecord[];
  /** Deterministic: told about every input delivered. */
  readonly record?: (record: InputRecord) => void;
  /** Deterministic: run() stands still at these instruction counts and tells. */
  readonly milestones?: Milestones;
  /** What to record while it runs (vm/trace.ts). */
  readonly trace?: TraceConfig;
  /** Deterministic: told at every block of instructions (vm/engine.ts). Switches the JIT off. */
  readonly watch?: BlockWatch;
  /** Deterministic: after a triple fault the run is made again for the last branches, which stand in `detail`. */
  readonly postMortem?: boolean;
}

/** `next`: the instruction count wanted next, Infinity for none; `reached` must move it on. */
export interface Milestones { readonly next: number; reached(machine: DeterministicMachine): void }

export interface TraceConfig extends TracePlan {
  /**
   * `stream`: gets new records, oldest first; called between pieces of the run. `inOrder`: batches follow each other as things happened
   * (deterministic mode: joinRecords); else each is one vCPU's, and sortRecords puts them in order.
   */
  readonly sink?: (records: Uint8Array, inOrder: boolean) => void;
}

export type Reason = 'exit' | 'poweroff' | 'reset' | 'shutdown' | 'timeout' | 'stopped';
export interface MachineResult {
  readonly reason: Reason;
  /** Debug exit: 2v + 1. Shutdown: the vCPU. Else 0. */
  readonly status: number;
  readonly instructions: number;
  readonly virtualNs: number;
  /** Deterministic mode only, else ''. */
  readonly stateHash: string;
  /** One sentence where the reason alone does not say it. */
  readonly detail?: string;
}

export interface Machine {
  readonly config: MachineConfig;
  /** Runs until the machine stops. */
  run(): Promise<MachineResult>;
  /** Asks a running machine to stop; run() then returns `stopped`. */
  stop(): void;
  /** Queues bytes for COM1 (0) or COM2 (1); never lost, never blocks. */
  serialInput(line: SerialLine, bytes: Uint8Array): void;
  /** Bytes queued by serialInput that the guest's chips have not taken yet. */
  readonly inputBytes: number;
  readonly instructions: number;
  readonly virtualNs: number;
  /** Port and memory accesses that no device claimed, with counts. */
  readonly unclaimed: ReadonlyMap<string, number>;
  /** The last trace records of a machine that keeps a `ring`, as they happened; the records lost so far of a `stream`. */
  traceRecords(): Uint8Array;
  readonly traceLost: number;
  /** Releases disks (and their locks). The machine cannot run afterwards. */
  close(): void;
}

/** 2026-01-01 00:00:00 UTC. */
export const DETERMINISTIC_RTC_SECONDS = 1_767_225_600;
const DEFAULT_QUANTUM = 2000;
const DEFAULT_DISK_LATENCY_NS = 20_000;
/** Instructions between looks at the host's event loop. */
const CHUNK = 2_000_000;
/** The same when a trace is streamed: a piece fills no ring, whatever it does. */
const TRACED_CHUNK = 20_000;
const SINK_BYTES = 4096;

/** Collects output bytes per channel and hands them over in pieces. */
class Sinks {
  readonly #sinks: readonly (((bytes: Uint8Array) => void) | undefined)[];
  readonly #buffers = Array.from({ length: CHANNELS }, () => new Uint8Array(SINK_BYTES));
  readonly #fill = new Array<number>(CHANNELS).fill(0);
  /** What is emitted now was handed over before. */
  muted = false;
  constructor(sinks: readonly (((bytes: Uint8Array) => void) | undefined)[]) { this.#sinks = sinks; }
  emit(channel: number, byte: number): void {
    this.#buffers[channel][this.#fill[channel]++] = byte;
    if (this.#fill[channel] === SINK_BYTES) this.flush(this.muted);
  }
  flush(drop = false): void {
    for (let channel = 0; channel < CHANNELS; channel++) {
      const count = this.#fill[channel];
      if (count === 0) continue;
      this.#fill[channel] = 0;
      if (!drop) this.#sinks[channel]?.(this.#buffers[channel].slice(0, count));
    }
  }
}

export class DeterministicMachine implements Machine {
  readonly config: MachineConfig;
  readonly board: Board;
  readonly cpus: VCpus;
  readonly chipset: Chipset;
  readonly engines: readonly Engine[];
  readonly #runner: DeterministicRunner;
  readonly #inputs: Inputs;
  readonly #sinks: Sinks;
  readonly #disks: OpenedDisk[];
  readonly #hasher: StateHasher;
  readonly #snapshots: Snapshots;
  readonly #trace: TraceReader | undefined;
  /** The wire and the peer, with a NIC. */
  readonly net: VirtualNetwork | undefined;
  readonly #wire: LiveWire | undefined;
  #checkpoint: Checkpoint | undefined;
  #inputArrived: () => void = () => {};
  #silent = false;
  /** The present state was not reached from power on alone. */
  #restored = false;
  #images: readonly { readonly name: string; readonly crc: number }[] | undefined;
  readonly #createEngine: EngineFactory;
  #hostStartMs = performance.now();

  constructor(config: MachineConfig, createEngine: EngineFactory) {
    this.config = config;
    this.#createEngine = createEngine;
    if (config.net && config.liveNet === undefined) checkNet(config.net, 'deterministic');
    if (config.net && config.liveNet === 'open') { checkNet(config.net, 'parallel'); if (config.net.backend.kind !== 'user') throw new NetError('mode', `network ${config.net.backend.kind}`, 'a deterministic machine has the user network only, live or built in'); }
    const board = this.board = createBoard({ cpus: config.cpus ?? 1, memoryMiB: config.memoryMiB ?? 128 });
    const header = board.header;
    header.cpuModel = modelNumber(config.cpuModel ?? 'max');
    header.rtcBaseSeconds = config.rtcSeconds ?? DETERMINISTIC_RTC_SECONDS;
    header.scheduleSeed = header.randomSeed = config.seed ?? 0;
    header.roundCpu = board.cpus; // between rounds
    const boot = loadMultiboot(board, { kernel: config.kernel, modules: config.modules, cmdline: config.cmdline });
    this.#disks = openDisks(config.disks ?? []);
    const cpus = this.cpus = new VCpus(board);
    const clock = new VirtualClock(board, cpus);
    const sinks = this.#sinks = new Sinks([config.com1, config.com2, config.debug]);
    const engines: Engine[] = [];
    const chipset = this.chipset = new Chipset(board, {
      clock, cpus, parallel: false,
      disks: this.#disks.map(({ descriptor }) => descriptor),
      diskLatencyNs: config.diskLatencyNs ?? DEFAULT_DISK_LATENCY_NS,
      net: config.net && describeNet(config.net),
      emit: (channel, byte) => sinks.emit(channel, byte),
      onMemoryWrite: (address, bytes) => { for (const engine of engines) engine.memoryWritten(address, bytes); },
      stopBehind: (cpu) => engines[cpu]?.stopBehind(),
    });
    const plan = config.trace;
    if (plan) { prepareRings(board, plan); this.#trace = new TraceReader(board); }
    for (let cpu = 0; cpu < board.cpus; cpu++) {
      engines.push(createEngine(board, cpu, chipset, {
        parallel: false, jit: config.jit ?? 'on', ...(config.jitHeat === undefined ? {} : { jitHeat: config.jitHeat }), ...(config.watch ? { watch: config.watch } : {}),
        ...(plan ? { trace: { plan, writer: new TraceWriter(board, cpu, false, () => clock.now(), () => undefined) } } : {}),
      }));
    }
    this.engines = engines;
    if (config.net && chipset.nic && config.liveNet !== undefined) {
      this.#wire = new LiveWire(chipset.nic, config.net.backend, config.net.forwards ?? [], config.liveNet === 'open', {
        arrived: (frame) => { this.#inputs.push('net', frame); this.#inputArrived(); },
        rerunning: () => this.#silent || this.#inputs.rerunning,
      });
    } else if (config.net && chipset.nic) this.net = new VirtualNetwork(chipset.nic, chipset.events, clock, config.net, () => header.rtcBaseSeconds, config.note);
    chipset.powerOn();
    this.net?.powerOn();
    if (this.#wire) chipset.nic!.setLink(true);
    for (const engine of engines) engine.reset('power');
    applyBootState(board, boot);
    for (const engine of engines) engine.invalidateAll();
    const inputs = this.#inputs = new Inputs(chipset.uarts, config.replay, config.record, (frame) => this.#wire?.deliver(frame) ?? true);
    const disks = chipset.disks.map(({ disk }) => disk);
    const outside = this.#outside;
    this.#hasher = new StateHasher(board, chipset.blocks.blocks, disks, outside);
    this.#snapshots = new Snapshots(board, chipset.blocks.blocks, disks, outside);
    this.#runner = new DeterministicRunner({
      board, cpus, chipset, engines, clock,
      quantum: config.quantum ?? DEFAULT_QUANTUM,
      deliverInputs: (instructions, now) => {
        const delivered = inputs.deliver(instructions, now);
        header.inputsDelivered += delivered;
        return delivered;
      },
      nextInputNs: (instructions) => inputs.nextNs(instructions),
      idleUntilNs: config.interactive ? () => (this.#silent || inputs.rerunning ? Infinity : (performance.now() - this.#hostStartMs) * 1e6) : undefined,
    });
  }

  get inputBytes(): number { return this.#inputs.bytes; }
  get instructions(): number { return this.cpus.totalRetired(); }
  /** Of the current round's start while a round is under way. */
  get virtualNs(): number { return this.board.header.roundStartNs; }
  /** Virtual time of the last instruction, ns: a round may have been cut short. */
  private get elapsedNs(): number {
    const { roundStartNs, roundNs, roundBusyNs, sliceLeft } = this.board.header;
    return roundStartNs + (roundNs > 0 ? Math.max(roundBusyNs, roundNs - sliceLeft) : 0);
  }
  get unclaimed(): ReadonlyMap<string, number> { return this.chipset.unclaimed; }
  /** Why the machine stopped; undefined while it can run. */
  get stopReason(): StopReason | undefined { return this.cpus.stopped; }

  /**
   * Runs exactly `instructions` more (over all vCPUs), synchronously. `limit`: done; `stopped`: the machine stopped; `idle`: all vCPUs
   * halt and nothing is due; `waiting`: they halt and timers tick without waking any; `hook`: a debug plan, watch or mark stopped it. Cutting a run
   * into pieces does not change it. `until`: not beyond that count of one vCPU.
   */
  runFor(instructions: number, until?: CpuLimit): { pause: DeterministicPause; instructions: number } {
    const result = this.config.trace?.keep === 'stream' ? this.#runTraced(instructions) : this.#runner.run(instructions, until);
    this.#sinks.flush(this.#sinks.muted);
    return result;
  }
  /** The same in pieces, so that the rings are emptied before they are full. */
  #runTraced(instructions: number): { pause: DeterministicPause; instructions: number } {
    for (let left = instructions; ;) {
      const piece = Math.min(left, TRACED_CHUNK);
      const result = this.#runner.run(piece);
      this.#trace!.drain((records) => this.config.trace?.sink?.(records, true));
      left -= result.instructions;
      if (result.pause !== 'limit' || left <= 0) return { pause: result.pause, instructions: instructions - left };
    }
  }
  traceRecords(): Uint8Array { return this.#trace?.last() ?? new Uint8Array(0); }
  get traceLost(): number { return this.#trace?.lost ?? 0; }

  async run(): Promise<MachineResult> {
    const { config } = this;
    await this.#wire?.open();
    const deadline = config.timeoutMs === undefined ? Infinity : performance.now() + config.timeoutMs;
    const lastInstruction = config.maxInstructions ?? Infinity;
    for (;;) {
      const milestone = config.milestones?.next ?? Infinity;
      if (milestone <= this.instructions) { config.milestones?.reached(this); continue; }
      const { pause } = this.runFor(Math.min(CHUNK, lastInstruction - this.instructions, milestone - this.instructions));
      if (pause === 'stopped') return this.stopReason === 'shutdown' ? { ...this.result(), detail: this.#describeShutdown() } : this.result();
      if (this.instructions >= lastInstruction) return this.result('timeout', `${lastInstruction} instructions done`);
      if (performance.now() >= deadline) return this.result('timeout', `${config.timeoutMs} ms passed`);
      if (pause === 'limit' || pause === 'waiting') await new Promise((resolve) => setImmediate(resolve));
      else if (config.interactive && !this.cpus.asleepForGood()) await this.#waitForInput(deadline);
      else return this.result('stopped', HALTED_FOR_GOOD);
    }
  }

  /** Until a byte arrives or the next timer is due on the host's clock. */
  async #waitForInput(deadlineMs: number): Promise<void> {
    if (this.#inputs.waiting) return;
    const now = performance.now();
    const timerMs = (this.chipset.events.next() / 1e6) - (now - this.#hostStartMs);
    const waitMs = Math.max(1, Math.min(timerMs, deadlineMs - now, 1000));
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, waitMs);
      this.#inputArrived = () => { clearTimeout(timer); resolve(); };
    });
    this.#inputArrived = () => {};
  }

  #describeShutdown(): string {
    const cpu = this.board.header.stopStatus;
    return describeShutdown(this.board, cpu, this.config.postMortem ? this.lastBranches() : 'not asked for');
  }
  /** After a triple fault: the last branches of the vCPU that had it, by making the run again (vm/post-mortem.ts); a sentence when that cannot be done. */
  lastBranches(): readonly Branch[] | string {
    const { config, instructions } = this, cpu = this.board.header.stopStatus, replay = this.#inputs.delivered;
    if (this.stopReason !== 'shutdown') return 'the machine was not stopped by a triple fault';
    if (instructions > LONGEST_RERUN) return `the run is longer than ${LONGEST_RERUN / 1e6} million instructions and is not made again`;
    if (config.disks?.some(({ overlay, readOnly }) => overlay === false && !readOnly)) return 'a raw disk has changed: the run cannot be made again';
    if (config.net && config.net.backend.kind !== 'scripted') return 'the run had a network: it is not made again';
    if (replay === undefined || this.#restored) return 'the machine was restored: where it began is not known';
    const ring = new BranchRing();
    let tracing = false;
    const quiet = { com1: undefined, com2: undefined, debug: undefined, record: undefined, milestones: undefined, trace: undefined, note: undefined, interactive: false };
    const again: DeterministicMachine = new DeterministicMachine({ ...config, ...quiet, replay, watch: (of, _retired, eip) => {
      if (tracing && of === cpu) ring.begins(eip, again.codeAt(cpu, eip), again.cpus.words(cpu)[S.mode >> 2]!);
      return false;
    } }, this.#createEngine);
    try {
      again.runFor(Math.max(0, instructions - STEPS));
      tracing = true;
      while (again.runFor(1).pause === 'limit' && again.instructions <= instructions);
      return again.stopReason === 'shutdown' && again.instructions === instructions ? ring.branches : 'the run could not be made again';
    } finally { again.close(); }
  }
  /** The bytes of the instruction at `eip`, as far as they are mapped. */
  codeAt(cpu: number, eip: number): Uint8Array {
    const words = this.cpus.words(cpu), port = new FaultPort(this), linear = eip + words[segBase(SEG.CS) >> 2]! >>> 0, bytes = new Uint8Array(15);
    for (let n = 0; n < 15; n++) {
      const physical = words[S.cr0 >> 2]! < 0 ? port.translate(words[S.cr3 >> 2]! >>> 0, linear + n >>> 0) : linear + n;
      if (physical < 0 || physical >= this.board.ramBytes) break;
      bytes[n] = this.board.ram[physical]!;
    }
    return bytes;
  }

  result(reason?: Reason, detail?: string): MachineResult {
    const stopped = this.cpus.stopped;
    const why = stopped && stopped !== 'running' && stopped !== 'error' ? stopped : reason ?? 'stopped';
    return {
      reason: why, status: stopped ? this.board.header.stopStatus : 0,
      instructions: this.instructions, virtualNs: this.elapsedNs, stateHash: this.hash(),
      ...(detail !== undefined && !stopped ? { detail } : {}),
    };
  }

  /** A part of the run that was seen before is run again: output is not handed out a second time, and idle time is not paced. */
  get rerun(): boolean { return this.#silent; }
  set rerun(again: boolean) { this.#silent = this.#sinks.muted = again; }
  /** Breakpoints and watchpoints on all vCPUs; undefined: none. Needs the machine to stand still. */
  setDebug(plan: DebugPlan | undefined): void { for (const engine of this.engines) engine.setDebug(plan); }
  /** Fault hooks; undefined: none. They stay over snapshots and restores. */
  setHooks(hooks: FaultHooks | undefined): void {
    this.chipset.hooks = hooks;
    for (const engine of this.engines) engine.readPlainPorts(hooks?.access === undefined);
  }
  /** Interactive: waits for input, or until the next timer is due on the host's clock. */
  waitForInput(deadlineMs = Infinity): Promise<void> { return this.#waitForInput(deadlineMs); }
  /** Live input that came after the present moment will not come again: state was changed, what follows is another run. */
  forgetFutureInputs(): void { this.#inputs.forgetFuture(); }

  stop(): void { this.cpus.stop('stopped', 0); this.#inputArrived(); }
  serialInput(line: SerialLine, bytes: Uint8Array): void { this.#inputs.push(line, bytes); this.#inputArrived(); }

  hash(): string {
    const hash = this.#hasher.compute();
    for (const engine of this.engines) engine.dropWriteTranslations();
    return hash;
  }

  snapshot(): Snapshot {
    const snapshot = this.#snapshots.take();
    for (const engine of this.engines) engine.dropWriteTranslations();
    return snapshot;
  }

  /** Two machines with the same one understand each other's snapshots. */
  get layoutFingerprint(): string { return this.#snapshots.layout; }
  /** Why a snapshot from elsewhere must not be restored (vm/snapshot.ts), or undefined. */
  implausible(snapshot: Snapshot): string | undefined { return this.#snapshots.implausible(snapshot); }
  /** Serial input that waits outside the guest's chips. */
  get waitingInput(): readonly { readonly line: SerialLine; readonly bytes: Uint8Array }[] { return this.#inputs.queued; }
  /** Kernel and modules by name and CRC-32. */
  get images(): readonly { readonly name: string; readonly crc: number }[] {
    return this.#images ??= [this.config.kernel, ...(this.config.modules ?? []).map((module) => ('data' in module ? { name: module.string, bytes: module.data } : module.file))]
      .map((source) => { const { name, bytes } = readSource(source); return { name: basename(name), crc: crc32(bytes) }; });
  }
  /** Another machine in the same state; what the guest says goes to the sinks given here. */
  fork(config: Partial<MachineConfig> = {}): DeterministicMachine {
    const fork = new DeterministicMachine({ ...this.config, com1: undefined, com2: undefined, debug: undefined, record: undefined, milestones: undefined, ...config }, this.#createEngine);
    fork.restore(this.snapshot());
    for (const { line, bytes } of this.waitingInput) fork.serialInput(line, bytes);
    return fork;
  }

  /** RAM pages that the last snapshot copied. */
  get snapshotPages(): number { return this.#snapshots.copiedPages; }

  /** `again`: the run that followed is made again, with the inputs it got; else what follows is another run (a fork). Returns the pages put back. */
  restore(snapshot: Snapshot, again = false): number {
    this.#restored = true;
    const pages = this.#snapshots.restore(snapshot);
    this.board.header.stopReason = 0;
    for (let cpu = 0; cpu < this.board.cpus; cpu++) {
      this.cpus.clearStop(cpu);
      this.chipset.lapics.refresh(cpu);
    }
    for (const engine of this.engines) engine.restored(pages);
    this.#trace?.clear();
    this.#seekInputs(again);
    return pages.length;
  }

  #seekInputs(again: boolean): void {
    this.#inputs.seek(this.board.header.inputsDelivered);
    if (again) return;
    this.#inputs.dropLive();
    this.#inputs.forgetFuture();
  }

  /** Takes the machine's one rolling checkpoint (vm/checkpoint.ts). Not to be mixed with `snapshot`. */
  checkpoint(): void {
    this.#checkpoint ??= new Checkpoint(this.board, this.chipset.blocks.blocks, this.chipset.disks.map(({ disk }) => disk), this.#outside);
    this.#checkpoint.take();
    for (const engine of this.engines) engine.dropWriteTranslations();
  }
  /** Goes back to the checkpoint; returns the number of RAM pages that had to be copied. */
  rollBack(): number {
    this.#restored = true;
    if (!this.#checkpoint) throw new SnapshotError('no checkpoint has been taken');
    const pages = this.#checkpoint.restore();
    this.board.header.stopReason = 0;
    for (let cpu = 0; cpu < this.board.cpus; cpu++) {
      this.cpus.clearStop(cpu);
      this.chipset.lapics.refresh(cpu);
    }
    for (const engine of this.engines) engine.restored(pages);
    this.#seekInputs(false);
    return pages.length;
  }

  close(): void { for (const disk of this.#disks.splice(0)) disk.close(); this.net?.close(); this.#wire?.close(); }
  /** State that lies outside the board. */
  get #outside(): readonly OutsideState[] { return this.net ? [this.net] : this.#wire ? [this.#wire] : []; }
  get hasNet(): boolean { return this.#outside.length > 0; }
}

/** A deterministic machine with everything that fault injection, replay and debuggers need. */
export function createDeterministicMachine(config: MachineConfig): DeterministicMachine { return new DeterministicMachine(config, createEngine); }


/** A machine, powered on, its kernel loaded, about to execute its first instruction. */
export function createMachine(config: MachineConfig): Machine {
  return config.mode === 'parallel' ? new ParallelMachine(config) : new DeterministicMachine(config, createEngine);
}
