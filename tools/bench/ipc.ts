/**
 * `kintsugi bench ipc`: round trips of `call` and `reply_recv` (microkernel/bench/root.ts), beside a Linux pipe and a MessagePort in the same run.
 *
 *     node tools/bench/ipc.ts [--json] [--runs=200]
 *
 * kernelInstructions: SYSENTER to SYSEXIT, exact, from the deterministic machine whose TSC counts retired instructions; roundTripInstructions: from the
 * caller's time stamp before SYSENTER to the one behind SYSEXIT, the user stubs of both sides included. Both only where caller and server share a CPU:
 * across CPUs the stamps come from two counters (null). hostNs: parallel machine with the JIT, per round trip, over `runs` samples of 64 round trips
 * (same CPU), 16 (the other CPU is busy: `spinning`) or 1 (it sleeps: `parked`); stamped by the guest's TSC right after a port access, which sets it to
 * host time, less the cost of an empty sample. Wall time: rows across CPUs wake host threads, and on a loaded host they show its scheduler (milliseconds).
 */
import { spawn } from 'node:child_process';
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import { REPOSITORY_ROOT } from '../../vm/entry.ts';
import { createMachine } from '../../vm/machine.ts';
import { buildGuests } from '../build/guests.ts';

export interface Timing { readonly median: number; readonly p99: number }
export interface BenchIpcRow {
  readonly space: 'same' | 'other';
  readonly cpu: 'same' | 'spinning' | 'parked';
  readonly words: number;
  readonly kernelInstructions: { readonly call: number; readonly replyRecv: number } | null;
  readonly roundTripInstructions: number | null;
  readonly hostNs: Timing | null;
}
export interface BenchIpcResult { readonly rows: readonly BenchIpcRow[]; readonly peers: { readonly pipe: Timing | null; readonly messagePort: Timing } }
export interface BenchIpcOptions { readonly runs?: number; readonly progress?: (text: string) => void }

const guest = (name: string): string => path.join(REPOSITORY_ROOT, 'build', 'guest', `${name}.elf`);
function timing(samples: number[]): Timing {
  const sorted = samples.toSorted((a, b) => a - b);
  const at = (q: number): number => Math.round(sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? 0);
  return { median: at(0.5), p99: at(0.99) };
}

async function run(mode: 'deterministic' | 'parallel', cpus: number, cmdline: string): Promise<string> {
  let output = '';
  const machine = createMachine({
    kernel: guest('kernel'), modules: [{ file: guest('ipc-bench'), string: 'root' }], cmdline: `quiet ${cmdline}`, cpus, mode, jit: 'on', memoryMiB: 64, timeoutMs: 60_000,
    com1: (bytes) => { output += Buffer.from(bytes).toString('latin1'); },
  });
  const result = await machine.run();
  if (result.reason !== 'exit' || result.status !== 1) throw new Error(`bench ipc: the guest ended with ${result.reason} ${result.status}: ${output.slice(-400)}`);
  return output;
}
/** Instructions of one round trip on one CPU, exactly. */
export async function exactIpc(space: 'same' | 'other', words: number): Promise<{ call: number; replyRecv: number; trip: number }> {
  const m = /^exact call=(\d+) reply=(\d+) trip=(\d+)/m.exec(await run('deterministic', 1, `space=${space} cpu=same words=${words} batches=0`));
  if (!m) throw new Error('bench ipc: the guest printed no counts');
  return { call: Number(m[1]), replyRecv: Number(m[2]), trip: Number(m[3]) };
}

function pipe(runs: number): Promise<Timing | null> {
  return new Promise((resolve) => {
    const child = spawn('cat', [], { stdio: ['pipe', 'pipe', 'ignore'] });
    child.on('error', () => resolve(null));
    const samples: number[] = [];
    let start = 0n;
    const next = (): void => { start = process.hrtime.bigint(); child.stdin.write('ping'); };
    child.stdout.on('data', () => {
      samples.push(Number(process.hrtime.bigint() - start));
      if (samples.length < runs) return next();
      child.kill();
      resolve(timing(samples));
    });
    next();
  });
}
function messagePort(runs: number): Promise<Timing> {
  return new Promise((resolve) => {
    const worker = new Worker("require('node:worker_threads').parentPort.on('message', (m) => require('node:worker_threads').parentPort.postMessage(m))", { eval: true, execArgv: [] });
    const samples: number[] = [];
    let start = 0n;
    const next = (): void => { start = process.hrtime.bigint(); worker.postMessage(1); };
    worker.on('message', () => {
      samples.push(Number(process.hrtime.bigint() - start));
      if (samples.length < runs) return next();
      void worker.terminate();
      resolve(timing(samples));
    });
    next();
  });
}

export async function benchIpc(options: BenchIpcOptions = {}): Promise<BenchIpcResult> {
  const runs = Math.max(20, options.runs ?? 200);
  const built = await buildGuests({ names: ['kernel', 'ipc-bench'] });
  if (built.failed.length > 0) throw new Error(`bench ipc: ${built.failed.map((f) => f.name).join(', ')} cannot be built`);
  const rows: BenchIpcRow[] = [];
  for (const space of ['same', 'other'] as const) for (const cpu of ['same', 'spinning', 'parked'] as const) for (const words of [0, 3, 16]) {
    options.progress?.(`${space} space, ${cpu} cpu, ${words} words`);
    const exact = cpu === 'same' ? await exactIpc(space, words) : undefined;
    const output = await run('parallel', cpu === 'same' ? 1 : 2, `space=${space} cpu=${cpu} words=${words} batches=${runs}`);
    const samples = [...output.matchAll(/^ns (\d+) (\d+)/gm)].map((m) => Number(m[1]) / Number(m[2]));
    rows.push({
      space, cpu, words, kernelInstructions: exact ? { call: exact.call, replyRecv: exact.replyRecv } : null, roundTripInstructions: exact?.trip ?? null,
      hostNs: samples.length > 0 ? timing(samples) : null,
    });
  }
  options.progress?.('pipe, MessagePort');
  return { rows, peers: { pipe: await pipe(runs * 10), messagePort: await messagePort(runs * 10) } };
}

export function formatBenchIpc(result: BenchIpcResult): string {
  const cell = (v: unknown, width: number): string => String(v ?? '-').padStart(width);
  const lines = ['space  cpu       words  call  reply_recv  round trip  ns median     p99', '                        (instructions)'];
  for (const r of result.rows) {
    lines.push(`${r.space.padEnd(6)} ${r.cpu.padEnd(9)} ${cell(r.words, 5)} ${cell(r.kernelInstructions?.call, 5)} ${cell(r.kernelInstructions?.replyRecv, 11)} ${cell(r.roundTripInstructions, 11)} ${cell(r.hostNs?.median, 10)} ${cell(r.hostNs?.p99, 7)}`);
  }
  const peer = (name: string, t: Timing | null): string => `${name.padEnd(53)} ${cell(t?.median, 10)} ${cell(t?.p99, 7)}`;
  lines.push(peer('Linux pipe (cat)', result.peers.pipe), peer('MessagePort (worker)', result.peers.messagePort));
  return lines.join('\n');
}

if (process.argv[1] !== undefined && path.resolve(process.argv[1]) === path.join(REPOSITORY_ROOT, 'tools', 'bench', 'ipc.ts')) {
  const runs = Number(process.argv.find((a) => a.startsWith('--runs='))?.slice(7) ?? 200);
  const result = await benchIpc({ runs, progress: (text) => { process.stderr.write(`${text}\n`); } });
  process.stdout.write(process.argv.includes('--json') ? `${JSON.stringify(result)}\n` : `${formatBenchIpc(result)}\n`);
  process.exit(0);
}
