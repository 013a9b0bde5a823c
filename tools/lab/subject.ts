/**
 * The subject: a deterministic machine with the system on it, its serial output, and the way to fork it. One thread owns it.
 *
 * `boot` runs to the beginning of the workload, which is the instruction count at which the host has seen the line `begin`, in steps of BOOT_STEP
 * (a fixed number: the same run is cut the same way everywhere). From there on instructions are counted as offsets.
 */
import { createDeterministicMachine, type DeterministicMachine, type JitMode, type TraceConfig } from '../../vm/machine.ts';
import type { BlockWatch } from '../../vm/engine.ts';
import { FaultPort } from '../../vm/faults.ts';
import { OVERLAY_PRESENT, type Disk } from '../../vm/io/disk.ts';
import { ChannelDecoder } from '../cli/channel.ts';
import { systemConfig } from '../cli/system.ts';
import { SweepPeer } from './net-peer.ts';
import type { LabNet } from './workload.ts';

const BOOT_STEP = 20_000;
const BOOT_LIMIT = 200_000_000;
/**
 * Instructions in a row of a vCPU that is alone. Every end of a slice cuts a block of decoded code in two, which costs as much as thousands of
 * instructions; with several vCPUs the quantum decides how they interleave, and stays the machine's default.
 */
const ALONE_QUANTUM = 20_000;

export interface SubjectOptions {
  readonly cpus: number;
  readonly scheduleSeed: number;
  readonly memoryMiB: number;
  /** ext2 image file; never changed. */
  readonly disk: string;
  readonly command: readonly string[];
  /** `hang=` of the supervisor: ms in the place of 5 s; absent or 0: as they are. */
  readonly boundMs?: number;
  /** What the NIC is plugged into; absent: there is none. */
  readonly net?: LabNet;
  /** Words more on the kernel command line. */
  readonly append?: string;
}
export interface Output { readonly stdout: string; readonly stderr: string; readonly exit: number | undefined; readonly log: string; readonly problem: string | undefined }
export class SubjectError extends Error {
  override readonly name = 'SubjectError';
  readonly reason = 'subject';
}

/** Bytes with a length that can be taken back. */
class Tape {
  #bytes = new Uint8Array(1 << 16);
  length = 0;
  append(more: Uint8Array): void {
    if (this.length + more.length > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.length + more.length));
      grown.set(this.#bytes);
      this.#bytes = grown;
    }
    this.#bytes.set(more, this.length);
    this.length += more.length;
  }
  get bytes(): Uint8Array { return this.#bytes.subarray(0, this.length); }
}

export class Subject {
  readonly machine: DeterministicMachine;
  readonly port: FaultPort;
  /** The peer of a sweep of the network. */
  readonly peer: SweepPeer | undefined;
  /** Instructions at the beginning of the workload. */
  start = 0;
  startNs = 0;
  readonly #com1 = new Tape();
  readonly #com2 = new Tape();
  #mark: [number, number] = [0, 0];

  constructor(options: SubjectOptions, more: { readonly watch?: BlockWatch; readonly jit?: JitMode; readonly trace?: TraceConfig } = {}) {
    const { net } = options;
    this.peer = net === undefined || net === 'user' ? undefined : new SweepPeer(net);
    const config = systemConfig({ ...(net === undefined ? {} : { net: { backend: this.peer ? { kind: 'scripted' as const, peer: this.peer } : { kind: 'user' as const } } }), place: 'pin', smp: options.cpus, memoryMiB: options.memoryMiB, deterministic: true, seed: options.scheduleSeed, jit: more.jit ?? 'on', append: [options.append ?? '', options.boundMs ? `hang=${options.boundMs}` : ''].filter((word) => word !== '').join(' ') },
      options.command, { com1: (bytes) => this.#com1.append(bytes), com2: (bytes) => this.#com2.append(bytes) });
    this.machine = createDeterministicMachine({ ...config, disks: [{ file: options.disk, overlay: true }], ...(options.cpus === 1 ? { quantum: ALONE_QUANTUM } : {}), ...(more.watch ? { watch: more.watch } : {}), ...(more.trace ? { trace: more.trace } : {}) });
    this.port = new FaultPort(this.machine);
  }

  /** Runs to the line `marker` on the command's stdout. */
  boot(marker: string): void {
    while (!this.output().stdout.includes(`${marker}\n`)) {
      const { pause } = this.machine.runFor(BOOT_STEP);
      if (pause === 'stopped' || pause === 'idle' || this.machine.instructions > BOOT_LIMIT) {
        throw new SubjectError(`the system did not come to the beginning of the workload (${pause} after ${this.machine.instructions} instructions):\n${this.output().log.split('\n').slice(-12).join('\n')}`);
      }
    }
    this.start = this.machine.instructions;
    this.startNs = this.machine.virtualNs;
  }
  /** Instructions since the beginning of the workload. */
  get offset(): number { return this.machine.instructions - this.start; }
  get disk(): Disk { return this.machine.chipset.disks[0]!.disk; }

  checkpoint(): void {
    this.machine.checkpoint();
    this.#mark = [this.#com1.length, this.#com2.length];
  }
  rollBack(): number {
    [this.#com1.length, this.#com2.length] = this.#mark;
    return this.machine.rollBack();
  }

  output(): Output {
    const out: Record<1 | 2, string> = { 1: '', 2: '' };
    let log = Buffer.from(this.#com1.bytes).toString('latin1'), exit: number | undefined, problem: string | undefined;
    new ChannelDecoder((frame) => {
      if (frame.kind === 'output') out[frame.stream] += Buffer.from(frame.data).toString('latin1');
      else if (frame.kind === 'exit') exit = frame.status;
      else if (frame.kind === 'log') log += Buffer.from(frame.data).toString('latin1');
    }, (message) => { problem = message; }).push(this.#com2.bytes);
    return { stdout: out[1], stderr: out[2], exit, log, problem };
  }

  /** Overlay blocks of the disk as they are: number -> bytes (shared with the machine). */
  overlay(): Map<number, Uint8Array> {
    const blocks = new Map<number, Uint8Array>();
    this.disk.visitBlocks(OVERLAY_PRESENT, (block) => { blocks.set(block, this.disk.overlayBlock(block)); });
    return blocks;
  }
  close(): void { this.machine.close(); }
}
