/**
 * What the VM's side of the network costs: a guest's stack without a CPU (guest.worker.ts) through device, I/O worker and user network to
 * sockets of this process. `node test/nic/bench.ts [MB]`. Three threads on however many cores there are: look at CPU time, too.
 */
import * as net from 'node:net';
import { Worker } from 'node:worker_threads';
import { createBoard } from '../../vm/board.ts';
import { Chipset } from '../../vm/devices/chipset.ts';
import { HostClock } from '../../vm/io/host-clock.ts';
import { describeNet, type NetConfig } from '../../vm/net/config.ts';
import { IoHost } from '../../vm/net/io-host.ts';
import { VCpus } from '../../vm/vcpu.ts';
import type { GuestJob, GuestReport, GuestWorkerData } from './guest.worker.ts';
import { patternBytes } from './rig.ts';

const MB = 1e6;
const bytes = Number(process.argv[2] ?? 64) * MB;
const config: NetConfig = { backend: { kind: 'user' } };
const clockBase = process.hrtime.bigint();
const board = createBoard({ cpus: 1, memoryMiB: 16, viewsPerCpu: 1 });
board.header.parallel = 1;
const chipset = new Chipset(board, { clock: new HostClock(board, clockBase), cpus: new VCpus(board), parallel: true, disks: [], diskLatencyNs: 0, net: describeNet(config), emit: () => undefined });
chipset.powerOn();
const io = new IoHost({ memory: board.memory, clockBase, disks: [], config, note: (text) => console.error(text), died: (cause) => console.error(cause) });

const source = patternBytes(1 << 20, 1);
const server = net.createServer({ allowHalfOpen: true }, (socket) => {
  let received = 0;
  let asked = false;
  socket.on('error', () => undefined);
  socket.on('data', (chunk) => { received += chunk.length; if (received === 1 && chunk.length === 1) { asked = true; socket.end('y'); } });
  socket.on('end', () => { if (!asked) socket.end(`${received}\n`); });
});
const down = net.createServer({ allowHalfOpen: true }, (socket) => {
  let left = bytes;
  socket.on('error', () => undefined);
  const more = (): void => { while (left > 0) { const piece = source.subarray(0, Math.min(left, source.length)); left -= piece.length; if (!socket.write(piece)) { socket.once('drain', more); return; } } socket.end(); };
  more();
});
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
await new Promise<void>((resolve) => down.listen(0, '127.0.0.1', resolve));
const upPort = (server.address() as net.AddressInfo).port;
const downPort = (down.address() as net.AddressInfo).port;
const jobs: GuestJob[] = [
  { kind: 'ping', port: 0, bytes: 300 }, { kind: 'up', port: upPort, bytes: Math.min(bytes, 8 * MB) }, { kind: 'up', port: upPort, bytes }, { kind: 'down', port: downPort, bytes }, { kind: 'connections', port: upPort, bytes: 2000 },
];
const workerData: GuestWorkerData = { memory: board.memory, clockBase, net: describeNet(config), jobs, rest: true };
const guest = new Worker(new URL('guest.worker.ts', import.meta.url), { workerData, execArgv: [] });
let before = process.cpuUsage();
let mainBefore = process.threadCpuUsage();
let frames = 0;
guest.on('message', (message: 'wanted' | GuestReport) => {
  if (message === 'wanted') { void io.start(); return; }
  const used = process.cpuUsage(before);
  const main = process.threadCpuUsage(mainBefore);
  const counters = chipset.nic!.counters;
  const moved = counters.framesIn + counters.framesOut - frames;
  frames = counters.framesIn + counters.framesOut;
  const total = (used.user + used.system) / 1000;
  const mainMs = (main.user + main.system) / 1000;
  const ioMs = total - mainMs - message.cpuMs;
  if (message.kind === 'ping') { const sorted = [...message.samples].sort((a, b) => a - b); console.log(`ping            median ${(sorted[sorted.length >> 1] * 1000).toFixed(0)} us, p99 ${(sorted[Math.floor(sorted.length * 0.99)] * 1000).toFixed(0)} us`); }
  else if (message.kind === 'connections') console.log(`connections     ${(jobs[4].bytes / message.ms * 1000).toFixed(0)} a second, ${message.crc} failed; I/O worker ${(ioMs / jobs[4].bytes * 1000).toFixed(0)} us of CPU each`);
  else console.log(`${message.kind.padEnd(5)} ${(message.bytes / MB).toFixed(0).padStart(5)} MB  ${(message.bytes / MB / message.ms * 1000).toFixed(1)} MB/s, ${(moved / message.ms).toFixed(0)}k frames/s; CPU of the I/O worker and the runtime ${(ioMs / moved * 1000).toFixed(2)} us a frame (${(ioMs / message.ms * 100).toFixed(0)} %), guest ${(message.cpuMs / message.ms * 100).toFixed(0)} %, main ${(mainMs / message.ms * 100).toFixed(0)} %; sent again ${message.retransmitted}`);
  before = process.cpuUsage();
  mainBefore = process.threadCpuUsage();
});
await new Promise((resolve) => guest.on('exit', resolve));
console.log('refused or dropped:', [...(await io.counters())], chipset.nic!.counters);
await io.stop();
server.close();
down.close();
