/**
 * The same exchange by other means on the same machine: pipe, Unix socket and futex between two processes (peers.c, compiled once; without a C
 * compiler they are skipped, with the reason), MessagePort and Atomics.wait between two threads of this Node.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import { REPOSITORY_ROOT } from '../../../vm/entry.ts';
import { Latencies } from './statistics.ts';

export interface PeerSamples { readonly name: string; /** Both ends on one CPU, or wherever the scheduler puts them. */ readonly placement: 'one' | 'free'; readonly latencies: Latencies }
export interface Peers { readonly rows: readonly PeerSamples[]; /** What could not be measured, and why. */ readonly skipped: readonly string[] }

const SOURCE = path.join(REPOSITORY_ROOT, 'tools', 'bench', 'ipc', 'peers.c');
const FOLDER = path.join(REPOSITORY_ROOT, 'build', 'bench');

function compile(): string | { readonly problem: string } {
  if (process.platform !== 'linux') return { problem: `needs Linux, this is ${process.platform}` };
  const program = path.join(FOLDER, 'ipc-peers'), stamp = `${program}.c`, source = readFileSync(SOURCE, 'utf8');
  if (existsSync(program) && existsSync(stamp) && readFileSync(stamp, 'utf8') === source && statSync(program).size > 0) return program;
  mkdirSync(FOLDER, { recursive: true });
  for (const compiler of ['cc', 'gcc', 'clang']) {
    const result = spawnSync(compiler, ['-O2', '-o', program, SOURCE], { encoding: 'utf8' });
    if (result.error) continue;
    if (result.status !== 0) return { problem: `${compiler} refuses peers.c: ${result.stderr.trim().split('\n')[0] ?? ''}` };
    writeFileSync(stamp, source);
    return program;
  }
  return { problem: 'needs a C compiler (cc, gcc or clang)' };
}
function native(samples: number): Peers {
  const program = compile();
  const skipped = (why: string): Peers => ({ rows: [], skipped: ['pipe', 'unix socket', 'futex'].map((name) => `${name}: ${why}`) });
  if (typeof program !== 'string') return skipped(program.problem);
  const result = spawnSync(program, [String(samples)], { encoding: 'utf8', timeout: 60_000 });
  if (result.status !== 0) return skipped(`ended with ${result.signal ?? result.status}: ${result.stderr.trim()}`);
  const rows = new Map<string, PeerSamples>();
  for (const line of result.stdout.split('\n')) {
    const m = /^(.+) (one|free) (\d+)$/.exec(line);
    if (!m) continue;
    const key = `${m[1]} ${m[2]}`, row = rows.get(key) ?? { name: m[1]!, placement: m[2] as 'one' | 'free', latencies: new Latencies() };
    rows.set(key, row);
    row.latencies.add(Number(m[3]));
  }
  return { rows: [...rows.values()], skipped: [] };
}

async function messagePort(samples: number): Promise<PeerSamples> {
  const worker = new Worker("const { parentPort } = require('node:worker_threads'); parentPort.on('message', (m) => parentPort.postMessage(m));", { eval: true, execArgv: [] });
  const latencies = new Latencies();
  await new Promise<void>((resolve) => {
    let start = 0n, count = -50;
    const next = (): void => { start = process.hrtime.bigint(); worker.postMessage(1); };
    worker.on('message', () => {
      const ns = Number(process.hrtime.bigint() - start);
      if (count++ >= 0) latencies.add(ns);
      if (count < samples) next(); else resolve();
    });
    next();
  });
  await worker.terminate();
  return { name: 'MessagePort', placement: 'free', latencies };
}
/** Two workers pass a word with Atomics.wait and notify (a futex underneath). */
async function atomics(samples: number): Promise<PeerSamples> {
  const trips = 16;
  const source = `
    const { workerData, parentPort } = require('node:worker_threads');
    const w = new Int32Array(workerData.memory), me = workerData.me;
    const pass = (v) => { Atomics.store(w, 0, v); Atomics.notify(w, 0); };
    const wait = (v) => { for (let seen; (seen = Atomics.load(w, 0)) !== v && w[1] === 0;) Atomics.wait(w, 0, seen, 1000); };
    if (me === 1) { while (w[1] === 0) { wait(1); pass(0); } }
    else {
      const out = [];
      for (let i = -50; i < ${samples}; i++) { const t = process.hrtime.bigint(); for (let k = 0; k < ${trips}; k++) { pass(1); wait(0); } if (i >= 0) out.push(Number(process.hrtime.bigint() - t) / ${trips}); }
      Atomics.store(w, 1, 1); Atomics.notify(w, 0);
      parentPort.postMessage(out);
    }`;
  const memory = new SharedArrayBuffer(8);
  const workers = [1, 0].map((me) => new Worker(source, { eval: true, execArgv: [], workerData: { memory, me } }));
  const values = await new Promise<number[]>((resolve, reject) => { workers[1]!.on('message', resolve); for (const worker of workers) worker.on('error', reject); });
  await Promise.all(workers.map((worker) => worker.terminate()));
  const latencies = new Latencies();
  for (const ns of values) latencies.add(ns);
  return { name: 'Atomics.wait', placement: 'free', latencies };
}

/** About 1 s at 500 samples. */
export async function measurePeers(samples: number): Promise<Peers> {
  const processes = native(samples);
  return { rows: [...processes.rows, await messagePort(samples), await atomics(samples)], skipped: processes.skipped };
}
