/**
 * `kintsugi bench vm`: the same programs and kernel operations natively (programs only), on this VM, on v86 and on QEMU, in host CPU time.
 *
 *     node tools/bench/vm.ts [--json] [--jit=off|on|mixed] [--peers=native,here,v86,qemu] [--runs=4] [--scale=1] [programs...]
 *
 * All four run code that our own compiler made from one source (guest/): a static Linux program natively, a multiboot kernel with
 * paging on in the machines. CPU time, never wall time, because machines are shared; read at the serial line that ends a repetition
 * (thread time for machines in JavaScript, /proc schedstat for QEMU, the process clock natively). The first repetition pays for
 * translation and is reported apart; the figure is the median of the others. Checksums must agree between all peers.
 */
import os from 'node:os';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import { REPOSITORY_ROOT, workerUrl } from '../../vm/entry.ts';
import { benchImages } from './images.ts';
import { BenchError, measure, steadyNs, type Measured, type Stamped } from './lines.ts';
import type { PeerAnswer, PeerJob } from './peer.worker.ts';
import { qemuVersion, runNative, runQemu } from './processes.ts';
import { BENCH_PROGRAMS } from './programs.ts';

export const PEERS = ['native', 'here', 'v86', 'qemu'] as const;
export type Peer = (typeof PEERS)[number];

export interface BenchVmOptions {
  readonly peers?: readonly Peer[];
  /** Names of guest programs; default all. */
  readonly programs?: readonly string[];
  /** Repetitions that count, after one for warming up. Default 4, at least 3. */
  readonly runs?: number;
  /** Length of a repetition: 1 is about 60 to 100 ms. */
  readonly scale?: number;
  readonly jit?: 'on' | 'off' | 'mixed';
  readonly timeoutMs?: number;
  readonly progress?: (text: string) => void;
}
/** CPU nanoseconds per iteration; null: the peer is missing or failed. */
export interface BenchVmRow { readonly name: string; readonly native: number | null; readonly here: number | null; readonly v86: number | null; readonly qemu: number | null }
export interface BenchVmResult {
  readonly rows: readonly BenchVmRow[];
  /** Cost of the first repetition, same unit. */
  readonly first: readonly BenchVmRow[];
  /** Geometric mean of peer / native over the rows that both have. */
  readonly geomean: Readonly<Record<'here' | 'v86' | 'qemu', number | null>>;
  readonly problems: readonly string[];
  readonly environment: Readonly<Record<string, string | number>>;
}

/** Iterations per repetition relative to native, so that every peer's repetition takes about the same time. */
const SPEED: Readonly<Record<Peer, number>> = { native: 1, here: 0.4, v86: 0.2, qemu: 0.35 };

/** What a peer cannot do. */
const UNABLE: Readonly<Partial<Record<Peer, readonly string[]>>> = {};

function inWorker(job: PeerJob): Promise<readonly Stamped[]> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(workerUrl('tools/bench/peer.worker.ts'), { workerData: job, execArgv: [] });
    worker.once('message', (answer: PeerAnswer) => {
      void worker.terminate();
      if ('problem' in answer) reject(new BenchError(`${job.peer}: ${answer.problem}`)); else resolve(answer.lines);
    });
    worker.once('error', reject);
  });
}

export async function benchVm(options: BenchVmOptions = {}): Promise<BenchVmResult> {
  const peers = options.peers ?? PEERS, runs = Math.max(3, options.runs ?? 4), scale = options.scale ?? 1, timeoutMs = options.timeoutMs ?? 120_000, jit = options.jit ?? 'on';
  const chosen = BENCH_PROGRAMS.filter(p => !options.programs || options.programs.length === 0 || options.programs.includes(p.name));
  for (const name of options.programs ?? []) if (!BENCH_PROGRAMS.some(p => p.name === name)) throw new BenchError(`no bench program ${name}; there are ${BENCH_PROGRAMS.map(p => p.name).join(', ')}`);
  options.progress?.('building the bench images');
  const images = await benchImages();
  const problems: string[] = [], results = new Map<Peer, Map<number, Measured>>(), iterations = new Map<Peer, Map<number, number>>();
  const qemu = qemuVersion();
  for (const peer of peers) {
    if (peer === 'qemu' && qemu === null) { problems.push('qemu-system-i386 is not installed'); continue; }
    if (peer === 'v86' && !existsSync(path.join(REPOSITORY_ROOT, 'node_modules/v86/build/libv86.mjs'))) { problems.push('the development dependency v86 is not installed'); continue; }
    if (peer === 'native' && (process.platform !== 'linux' || (process.arch !== 'x64' && process.arch !== 'ia32'))) { problems.push('native needs Linux on x86'); continue; }
    const slow = peer === 'here' && jit === 'off' ? 0.1 : 1;
    const able = chosen.filter(p => (p.kind !== 'kernel' || peer !== 'native') && !(UNABLE[peer] ?? []).includes(p.name));
    const counts = new Map(able.map(p => [p.number, Math.max(1, Math.round(p.nativeIterations * (p.kind === 'kernel' ? 1 : SPEED[peer] * slow) * scale))]));
    const plan = `${runs + 1} ${[...counts].map(([n, i]) => `${n}:${i}`).join(' ')}`;
    iterations.set(peer, counts);
    options.progress?.(`running ${chosen.length} programs: ${peer}`);
    try {
      const lines = peer === 'native' ? await runNative(images.linux, plan, timeoutMs)
        : peer === 'qemu' ? await runQemu(images.freestanding, plan, timeoutMs)
        : await inWorker({ peer, image: images.freestanding, plan, jit, timeoutMs });
      results.set(peer, measure(peer, lines));
    } catch (e) {
      if (!(e instanceof BenchError) && !(e instanceof Error && 'code' in e)) throw e;
      problems.push(e.message);
    }
  }
  const cell = (peer: Peer, number: number, of: (m: Measured) => number): number | null => {
    const m = results.get(peer)?.get(number), n = iterations.get(peer)?.get(number), operations = chosen.find(p => p.number === number)!.operations;
    return m === undefined || n === undefined || m.repetitionsNs.length === 0 ? null : Math.round(of(m) / n / operations * 10) / 10;
  };
  const table = (of: (m: Measured) => number): BenchVmRow[] => chosen.map(p => ({ name: p.name, native: cell('native', p.number, of), here: cell('here', p.number, of), v86: cell('v86', p.number, of), qemu: cell('qemu', p.number, of) }));
  for (const p of chosen) {
    const sums = new Map([...results].map(([peer, m]) => [peer, m.get(p.number)?.checksum]));
    if (new Set([...sums.values()].filter(s => s !== undefined)).size > 1) problems.push(`${p.name}: checksums differ: ${[...sums].map(([peer, s]) => `${peer} ${s}`).join(', ')}`);
  }
  const rows = table(steadyNs);
  const geomean = (peer: 'here' | 'v86' | 'qemu'): number | null => {
    const ratios = rows.filter(r => r.native && r[peer]).map(r => r[peer]! / r.native!);
    return ratios.length === 0 ? null : Math.round(Math.exp(ratios.reduce((a, b) => a + Math.log(b), 0) / ratios.length) * 100) / 100;
  };
  return {
    rows, first: table(m => m.repetitionsNs[0]!), geomean: { here: geomean('here'), v86: geomean('v86'), qemu: geomean('qemu') }, problems,
    environment: { date: new Date().toISOString(), node: process.version, cpu: os.cpus()[0]?.model ?? 'unknown', cores: os.cpus().length, load: Math.round(os.loadavg()[0]! * 10) / 10, qemu: qemu ?? 'none', jit, runs },
  };
}

const time = (ns: number | null): string => ns === null ? '-' : ns < 1e4 ? `${ns.toFixed(0)} ns` : ns < 1e7 ? `${(ns / 1e3).toFixed(1)} us` : `${(ns / 1e6).toFixed(2)} ms`;
const ratio = (ns: number | null, native: number | null): string => ns === null || !native ? '-' : `${(ns / native).toFixed(2)}`;

/** The table that people read. */
export function formatBenchVm(result: BenchVmResult): string {
  const header = ['program', 'native', 'here', 'v86', 'qemu', 'here x', 'v86 x', 'qemu x', 'first x'];
  const body = result.rows.map((r, i) => [r.name, time(r.native), time(r.here), time(r.v86), time(r.qemu), ratio(r.here, r.native), ratio(r.v86, r.native), ratio(r.qemu, r.native), ratio(result.first[i]!.here, r.native)]);
  const mean = (v: number | null): string => v === null ? '-' : v.toFixed(2);
  body.push(['geomean', '', '', '', '', mean(result.geomean.here), mean(result.geomean.v86), mean(result.geomean.qemu), '']);
  const widths = header.map((h, i) => Math.max(h.length, ...body.map(row => row[i]!.length)));
  const text = [header, ...body].map(row => row.map((c, i) => i === 0 ? c.padEnd(widths[i]!) : c.padStart(widths[i]!)).join('  '));
  return [...text, '', `CPU time per iteration, median of ${result.environment['runs']} repetitions after the first; x = multiple of native.`, ...result.problems.map(p => `problem: ${p}`)].join('\n');
}

if (process.argv[1] === import.meta.filename) {
  const args = process.argv.slice(2);
  const option = (name: string): string | undefined => args.find(a => a.startsWith(`--${name}=`))?.slice(name.length + 3);
  const result = await benchVm({
    programs: args.filter(a => !a.startsWith('--')), jit: (option('jit') ?? 'on') as 'on', runs: Number(option('runs') ?? 4), scale: Number(option('scale') ?? 1),
    ...(option('peers') ? { peers: option('peers')!.split(',') as Peer[] } : {}), progress: t => { process.stderr.write(`${t}\n`); },
  });
  console.log(args.includes('--json') ? JSON.stringify(result, null, 1) : formatBenchVm(result));
  process.exitCode = result.problems.length > 0 ? 1 : 0;
}
