/**
 * Worker thread of one vCPU (parallel mode): builds engine and devices over the shared board, then runs until the machine stops.
 * An exception here is a bug of the machine, not of the guest; it kills this vCPU alone and is reported by the host.
 */
import * as v8 from 'node:v8';
import { parentPort, workerData } from 'node:worker_threads';
import { attachBoard } from './board.ts';
import { applyBootState } from './boot.ts';
import { adoptTier0, createEngine } from './cpu/engine.ts';
import { S } from './cpu/state.ts';
import { Chipset } from './devices/chipset.ts';
import type { Engine, JitMode } from './engine.ts';
import { HostClock } from './io/host-clock.ts';
import type { DiskDescriptor } from './io/disk.ts';
import type { NetDescriptor } from './net/config.ts';
import { ByteRing } from './io/ring.ts';
import type { BootState } from './loader.ts';
import { runVcpu } from './parallel-vcpu.ts';
import { TraceWriter, type TracePlan } from './trace.ts';
import { VCpus, WORKER } from './vcpu.ts';

export interface VcpuWorkerData {
  readonly memory: WebAssembly.Memory;
  readonly cpu: number;
  readonly clockBase: bigint;
  readonly disks: readonly DiskDescriptor[];
  readonly net?: NetDescriptor;
  readonly channels: number;
  readonly cores: number;
  readonly jit: JitMode;
  readonly trace?: TracePlan;
  /** Tier 0 as compiled by the host, so that its native code is shared. */
  readonly tier0: WebAssembly.Module;
  /** For the boot processor. */
  readonly boot?: BootState;
}

v8.setFlagsFromString('--experimental-wasm-branch-hinting');
// A worker that the launcher started ahead of the machine (vm/entry.ts) gets its data when there is one.
const data = (workerData ?? await new Promise((resolve) => { parentPort!.once('message', resolve); })) as VcpuWorkerData;
const { cpu } = data;
const board = attachBoard(data.memory);
const cpus = new VCpus(board);
const clock = new HostClock(board, data.clockBase);
const rings = Array.from({ length: data.channels }, (_, channel) => new ByteRing(board, channel));
const engines: Engine[] = [];
const chipset = new Chipset(board, {
  clock, cpus, parallel: true, disks: data.disks, diskLatencyNs: 0, net: data.net,
  emit: (channel, byte) => { if (rings[channel].push(byte)) cpus.ringHost(); },
  inputDrained: () => cpus.ringHost(),
  onMemoryWrite: (address, bytes) => engines[0]?.memoryWritten(address, bytes),
});
if (chipset.nic) chipset.nic.onWanted = () => cpus.ringHost();
adoptTier0(true, data.tier0);
// A clock of its own: reading it does not tell the guest's slice that somebody looked.
const traceClock = new HostClock(board, data.clockBase);
const engine = createEngine(board, cpu, chipset, {
  parallel: true, jit: data.jit,
  ...(data.trace ? { trace: { plan: data.trace, writer: new TraceWriter(board, cpu, true, () => traceClock.now(), () => cpus.ringHost()) } } : {}),
});
engines.push(engine);

// The others send INIT and SIPI before this worker exists: a reset must not lose them.
const words = cpus.words(cpu);
const sipiVector = words[S.sipiVector >> 2];
const attention = cpus.attention(cpu);
engine.reset('power');
words[S.sipiVector >> 2] = sipiVector;
Atomics.or(words, S.attention >> 2, attention);
if (data.boot) {
  applyBootState(board, data.boot);
  engine.invalidateAll();
}
cpus.setWorkerState(cpu, WORKER.running);
runVcpu({ board, cpus, cpu, chipset, engine, clock, cores: data.cores });
cpus.setWorkerState(cpu, WORKER.gone);
