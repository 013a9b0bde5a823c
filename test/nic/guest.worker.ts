/**
 * A guest without a CPU, in a thread of its own as a vCPU's would be: the driver and the stack of test/nic over a parallel machine's devices.
 * Runs one transfer and reports bytes, milliseconds and the CPU time of this thread. For test/nic/bench.ts and the tests of the I/O worker.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { attachBoard } from '../../vm/board.ts';
import { Chipset } from '../../vm/devices/chipset.ts';
import { HostClock } from '../../vm/io/host-clock.ts';
import type { NetDescriptor } from '../../vm/net/config.ts';
import { ADDRESS } from '../../vm/net/user/network.ts';
import { VCpus } from '../../vm/vcpu.ts';
import { GuestStack, NicDriver, echo } from './driver.ts';
import { Program, patternBytes } from './rig.ts';

export interface GuestJob { readonly kind: 'up' | 'down' | 'ping' | 'connections'; readonly port: number; readonly bytes: number }
export interface GuestWorkerData { readonly memory: WebAssembly.Memory; readonly clockBase: bigint; readonly net: NetDescriptor; readonly jobs: readonly GuestJob[]; readonly rest: boolean }
export interface GuestReport { readonly kind: string; readonly bytes: number; readonly ms: number; readonly cpuMs: number; readonly crc: number; readonly retransmitted: number; readonly interrupts: number; readonly samples: readonly number[] }

const data = workerData as GuestWorkerData;
const host = parentPort as NonNullable<typeof parentPort>;
const board = attachBoard(data.memory);
const cpus = new VCpus(board);
const chipset = new Chipset(board, { clock: new HostClock(board, data.clockBase), cpus, parallel: true, disks: [], diskLatencyNs: 0, net: data.net, emit: () => undefined });
chipset.nic!.onWanted = () => host.postMessage('wanted');
const driver = new NicDriver({ bus: chipset, ram: board.ram });
driver.start();
const stack = new GuestStack(driver, () => performance.now() * 1e6);
const pause = new Int32Array(new SharedArrayBuffer(4));
/** One look; a guest that finds nothing rests a little, as one that halts would. */
function turn(): void { if (stack.poll() === 0 && data.rest) Atomics.wait(pause, 0, 0, 0.02); }

let port = 2000;
for (const job of data.jobs) {
  const started = performance.now();
  const cpu = process.threadCpuUsage();
  const samples: number[] = [];
  let bytes = 0;
  let crc = 0;
  if (job.kind === 'ping') {
    for (let k = 0; k < job.bytes; k++) {
      const sent = performance.now();
      driver.send(echo(driver.mac, ADDRESS.guest, ADDRESS.gateway, k, new Uint8Array(56)));
      for (let seen = false; !seen;) { driver.receive((frame, at) => { seen ||= frame[at + 34] === 0; }); if (!seen) Atomics.wait(pause, 0, 0, 0.01); }
      samples.push(performance.now() - sent);
    }
  } else if (job.kind === 'connections') {
    let done = 0;
    let next = 0;
    const open = new Set<Program>();
    while (done < job.bytes) {
      while (open.size < 32 && next < job.bytes) { const p = new Program('x'); p.start(stack.connect(ADDRESS.gateway, job.port, 3000 + next++, p)); open.add(p); }
      turn();
      for (const p of open) if (p.ended || p.over || p.gone) { open.delete(p); done++; bytes += p.bytes; if (p.gone) crc++; }
    }
  } else {
    const program = job.kind === 'up' ? new Program(patternBytes(job.bytes, 1)) : new Program('', false);
    program.start(stack.connect(ADDRESS.gateway, job.port, port++, program));
    while (!program.ended && !program.gone) turn();
    bytes = job.kind === 'up' ? job.bytes : program.bytes;
    crc = program.crc;
  }
  const used = process.threadCpuUsage(cpu);
  host.postMessage({ kind: job.kind, bytes, ms: performance.now() - started, cpuMs: (used.user + used.system) / 1000, crc, retransmitted: stack.tcp.retransmitted, interrupts: 0, samples } satisfies GuestReport);
}
