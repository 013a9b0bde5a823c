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
import { BENCH_PROGRAMS, type BenchKind } from './programs.ts';

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
export interface BenchVmRow { readonly name: string; readonly kind: BenchKind; readonly native: number | null; readonly here: number | null; readonly v86: number | null; readonly qemu: number | null }
export interface BenchVmResult {
  readonly rows: readonly BenchVmRow[];
  /** Cost of the first repetition, same unit. */
  readonly first: readonly BenchVmRow[];
  /** Geometric mean of peer / native over the rows of a kind that both have; `kernel`: of here / peer. */
  readonly geomean: Readonly<Record<BenchKind, Readonly<Record<'here' | 'v86' | 'qemu', number | null>>>>;
  /** Rows in which a peer takes less time. */
  readonly behind: readonly string[];
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
    const counts = new Map(able.map(p => [p.number, Math.max(1, Math.round(p.nativeIterations * (p.kind === 'kernel' ? (peer === 'here' ? slow : p.share ?? 0.5) : SPEED[peer] * slow) * scale))]));
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
  const table = (of: (m: Measured) => number): BenchVmRow[] => chosen.map(p => ({ name: p.name, kind: p.kind, native: cell('native', p.number, of), here: cell('here', p.number, of), v86: cell('v86', p.number, of), qemu: cell('qemu', p.number, of) }));
  for (const p of chosen) {
    const sums = new Map([...results].map(([peer, m]) => [peer, m.get(p.number)?.checksum]));
    if (new Set([...sums.values()].filter(s => s !== undefined)).size > 1) problems.push(`${p.name}: checksums differ: ${[...sums].map(([peer, s]) => `${peer} ${s}`).join(', ')}`);
  }
  const rows = table(steadyNs);
  const mean = (ratios: readonly number[]): number | null => ratios.length === 0 ? null : Math.round(Math.exp(ratios.reduce((a, b) => a + Math.log(b), 0) / ratios.length) * 100) / 100;
  const geomean = (kind: BenchKind): Record<'here' | 'v86' | 'qemu', number | null> => {
    const of = (peer: 'here' | 'v86' | 'qemu'): number | null => mean(rows.filter(r => r.kind === kind).flatMap(r => {
      const [over, under] = kind === 'kernel' ? [r.here, peer === 'here' ? null : r[peer]] : [r[peer], r.native];
      return over && under ? [over / under] : [];
    }));
    return { here: of('here'), v86: of('v86'), qemu: of('qemu') };
  };
  return {
    rows, first: table(m => m.repetitionsNs[0]!), geomean: { integer: geomean('integer'), memory: geomean('memory'), float: geomean('float'), kernel: geomean('kernel') },
    behind: rows.filter(r => r.here && ((r.v86 && r.v86 < r.here) || (r.qemu && r.qemu < r.here))).map(r => r.name), problems,
    environment: { date: new Date().toISOString(), node: process.version, cpu: os.cpus()[0]?.model ?? 'unknown', cores: os.cpus().length, load: Math.round(os.loadavg()[0]! * 10) / 10, qemu: qemu ?? 'none', jit, runs },
  };
}

const time = (ns: number | null): string => ns === null ? '-' : ns < 1e4 ? `${ns.toFixed(0)} ns` : ns < 1e7 ? `${(ns / 1e3).toFixed(1)} us` : `${(ns / 1e6).toFixed(2)} ms`;

const factor = (over: number | null, under: number | null): string => over === null || !under ? '-' : (over / under).toFixed(2);
const TITLES: Readonly<Record<BenchKind, string>> = { integer: 'integer', memory: 'memory', float: 'floating point', kernel: 'kernel' };

/** The table that people read. A `!` marks rows in which a peer is faster. */
export function formatBenchVm(result: BenchVmResult): string {
  const lines: string[][] = [], user = ['', 'native', 'here', 'v86', 'qemu', 'here x', 'v86 x', 'qemu x', 'first x'];
  const text = (v: number | null): string => v === null ? '-' : v.toFixed(2);
  const behind = new Set(result.behind);
  for (const kind of ['integer', 'memory', 'float', 'kernel'] as const) {
    const rows = result.rows.filter(r => r.kind === kind), mean = result.geomean[kind];
    if (rows.length === 0) continue;
    const kernel = kind === 'kernel';
    lines.push([TITLES[kind], ...(kernel ? ['', 'here', 'v86', 'qemu', '', 'here / v86', 'here / qemu', ''] : user.slice(1))]);
    for (const r of rows) {
      const name = `${behind.has(r.name) ? '!' : ' '} ${r.name}`, first = result.first.find(({ name: n }) => n === r.name)!;
      lines.push(kernel ? [name, '', time(r.here), time(r.v86), time(r.qemu), '', factor(r.here, r.v86), factor(r.here, r.qemu), '']
        : [name, time(r.native), time(r.here), time(r.v86), time(r.qemu), factor(r.here, r.native), factor(r.v86, r.native), factor(r.qemu, r.native), factor(first.here, r.native)]);
    }
    lines.push(['  geomean', '', '', '', '', kernel ? '' : text(mean.here), text(mean.v86), text(mean.qemu), ''], []);
  }
  const widths = user.map((_, i) => Math.max(...lines.map(line => line[i]?.length ?? 0)));
  const table = lines.map(line => line.map((c, i) => i === 0 ? c.padEnd(widths[i]!) : c.padStart(widths[i]!)).join('  ').trimEnd());
  return [...table, `CPU time per iteration (kernel rows: per operation), median of ${result.environment['runs']} repetitions after the first; x = multiple of native; ! a peer is faster.`, ...result.problems.map(p => `problem: ${p}`)].join('\n');
}

/** One line of docs/history/vm.jsonl: where, when, and the times of all rows. */
export const historyLine = (result: BenchVmResult): string => `${JSON.stringify({ environment: result.environment, geomean: result.geomean, behind: result.behind, rows: result.rows })}\n`;
export const HISTORY = path.join(REPOSITORY_ROOT, 'docs', 'history', 'vm.jsonl');

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
