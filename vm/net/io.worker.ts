/**
 * The I/O worker: owns the sockets of the network (parallel mode). Started when the guest first uses its NIC, or before the boot when there
 * are sockets whose failure the user must hear of (forwards, wires to other processes).
 *
 * Messages to the host: {kind: 'open'}, {kind: 'failed', ...} when `open` could not, {kind: 'note', text}, {kind: 'counters', ...} at the end.
 * From the host: 'stop', 'counters'.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { attachBoard } from '../board.ts';
import { DmaCoherence } from '../cpu/dma.ts';
import { Chipset } from '../devices/chipset.ts';
import { HostClock } from '../io/host-clock.ts';
import type { DiskDescriptor } from '../io/disk.ts';
import { VCpus } from '../vcpu.ts';
import type { LiveBackend } from './backend.ts';
import { NetError, type Backend, type HostForward, type NetDescriptor } from './config.ts';
import { Pcap } from './pcap.ts';
import { NicPort } from './port.ts';
import { UserBackend } from './user/live.ts';
import { DatagramWire, StreamWire } from './wires.ts';

export interface IoWorkerData {
  readonly memory: WebAssembly.Memory;
  readonly clockBase: bigint;
  readonly disks: readonly DiskDescriptor[];
  readonly net: NetDescriptor;
  readonly backend: Exclude<Backend, { kind: 'scripted' }>;
  readonly forwards: readonly HostForward[];
  readonly pcap?: string;
}
export type IoMessage =
  | { readonly kind: 'open' }
  | { readonly kind: 'failed'; readonly code: NetError['code']; readonly subject: string; readonly reason: string }
  | { readonly kind: 'note'; readonly text: string }
  | { readonly kind: 'counters'; readonly counters: readonly (readonly [string, number])[] };

const data = workerData as IoWorkerData;
const host = parentPort as NonNullable<typeof parentPort>;
const tell = (message: IoMessage): void => host.postMessage(message);
const board = attachBoard(data.memory);
const cpus = new VCpus(board);
const dma = new DmaCoherence(board);
const chipset = new Chipset(board, {
  clock: new HostClock(board, data.clockBase), cpus, parallel: true, disks: data.disks, diskLatencyNs: 0, net: data.net,
  emit: () => { throw new Error('the I/O worker does not transmit'); },
  onMemoryWrite: (address, bytes) => dma.written(address, bytes),
});
const nic = chipset.nic as NonNullable<typeof chipset.nic>;
const clock = { now: () => performance.now() * 1e6 };
let port: NicPort | undefined;

function make(): LiveBackend {
  const events = { activity: () => { port?.flush(); if (backend.ready && port) port.wake(); }, note: (text: string) => tell({ kind: 'note', text }) };
  switch (data.backend.kind) {
    case 'user': return new UserBackend({ ...events, activity: () => port?.flush() }, clock, data.net.mtu, data.forwards, data.backend.resolver);
    case 'stream': return new StreamWire(events, nic.mostFrame, nic.state.mac, { host: data.backend.host, port: data.backend.port, listen: data.backend.listen === true });
    case 'dgram': return new DatagramWire(events, nic.mostFrame, nic.state.mac, data.backend);
  }
}
const backend = make();
const counters = (): void => tell({ kind: 'counters', counters: [...backend.counters] });

try {
  const pcap = data.pcap === undefined ? undefined : new Pcap(data.pcap, (text) => tell({ kind: 'note', text }));
  await backend.open();
  const serving = port = new NicPort(nic, backend, chipset.lock, clock, pcap);
  host.on('message', (message: string) => {
    if (message === 'counters') counters();
    if (message === 'stop') serving.stop();
  });
  serving.flush(); // a guest that looks early sees whether somebody is at the other end
  tell({ kind: 'open' });
  await serving.serve();
  counters();
  backend.close();
  pcap?.close();
  host.close();
} catch (error) {
  if (!(error instanceof NetError)) throw error;
  tell({ kind: 'failed', code: error.code, subject: error.subject, reason: error.reason });
  host.close();
}
