/**
 * `kintsugi bench vm`: the same programs and kernel operations natively (programs only), on this VM, on v86 and on QEMU, in host CPU time.
 *
 *     node tools/bench/vm.ts [--json] [--jit=off|on|mixed] [--peers=native,here,v86,qemu] [--runs=4] [--scale=1] [rows or kinds of rows...]
 *
 * All four run code that our own compiler made from one source (guest/): a static Linux program natively, a multiboot kernel with
 * paging on in the machines. CPU time, because machines are shared; read at the serial line that ends a repetition (thread time for machines
 * in JavaScript, /proc schedstat for processes, the process clock natively). The first repetition pays for translation and is reported apart;
 * the figure is the median of the others. Checksums must agree between all peers.
 *
 * SMP rows run on two vCPUs, here in parallel mode and under QEMU's multi-threaded TCG, each in a process of its own; v86 has one CPU. What counts
 * there is wall time, which only a quiet host tells: the table says what others took of it meanwhile. Start rows: start.ts.
 */
import os from 'node:os';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import { REPOSITORY_ROOT, workerUrl } from '../../vm/entry.ts';
import { HostLoad } from './host-load.ts';
import { benchImages } from './images.ts';
import { BenchError, runRows, steady, type Measured, type Running, type Stamped, type Start } from './lines.ts';
import type { PeerEnd, PeerJob } from './peer.worker.ts';
import { qemuVersion, runHere, runNative, runQemu } from './processes.ts';
import { BENCH_PROGRAMS, EXEMPT, KINDS, type BenchKind, type BenchProgram } from './programs.ts';
import { benchStart, formatStart, type StartRow } from './start.ts';

export const PEERS = ['native', 'here', 'v86', 'qemu'] as const;
export type Peer = (typeof PEERS)[number];

export interface BenchVmOptions {
  readonly peers?: readonly Peer[];
  /** Names or kinds of rows, `start` among the kinds; default all. */
  readonly rows?: readonly string[];
  /** Repetitions that count, after one for warming up. Default 4, at least 3. */
  readonly runs?: number;
  /** Length of a repetition: 1 is about 60 to 100 ms. */
  readonly scale?: number;
  readonly jit?: 'on' | 'off' | 'mixed';
  /** A peer that says nothing for so long loses the row it is at. */
  readonly silenceMs?: number;
  readonly progress?: (text: string) => void;
}
/** Nanoseconds per operation; null: the peer does not have the row, is missing, or failed. */
export interface BenchVmRow {
  readonly name: string; readonly kind: BenchKind;
  /** CPU time. */
  readonly native: number | null; readonly here: number | null; readonly v86: number | null; readonly qemu: number | null;
  /** Wall time, SMP rows. */
  readonly wall?: { readonly here: number | null; readonly qemu: number | null };
}
export interface BenchVmResult {
  readonly rows: readonly BenchVmRow[];
  /** Cost of the first repetition, same unit. */
  readonly first: readonly BenchVmRow[];
  /** Geometric mean of peer / native over the rows of a kind that both have; `kernel`: of here / peer; `smp`: the same by wall time. */
  readonly geomean: Readonly<Record<BenchKind, Readonly<Record<'here' | 'v86' | 'qemu', number | null>>>>;
  /** Throughput of two vCPUs over that of one, by wall time. */
  readonly scaling: { readonly here: number | null; readonly qemu: number | null };
  /** Rows in which a peer takes less time. */
  readonly behind: readonly string[];
  /** Rows a peer could not do: "v86 selfipi: no line for 10 s". */
  readonly lost: readonly string[];
  readonly problems: readonly string[];
  readonly start: readonly StartRow[];
  /** `others`: part of the host's cores that somebody else used during the SMP rows. */
  readonly environment: Readonly<Record<string, string | number>>;
}

/** Iterations per repetition relative to native, so that every peer's repetition takes about the same time. */
const SPEED: Readonly<Record<Peer, number>> = { native: 1, here: 0.4, v86: 0.2, qemu: 0.35 };
const SILENCE_MS = 10_000;
/** Launches of each peer for the SMP rows, in turn. */
const SMP_LAUNCHES = 2;
/** Part of the host's cores that others may use while SMP rows are measured. */
export const QUIET = 0.15;

const inWorker = (peer: 'here' | 'v86', image: string, jit: 'on' | 'off' | 'mixed'): Start => (plan, line): Running => {
  const workerData: PeerJob = { peer, image, plan, jit };
  const worker = new Worker(workerUrl('tools/bench/peer.worker.ts'), { workerData, execArgv: [] });
  return {
    kill: () => { void worker.terminate(); },
    problem: new Promise(resolve => {
      worker.on('message', (message: Stamped | PeerEnd) => { if ('line' in message) line(message); else { resolve(message.problem); void worker.terminate(); } });
      worker.once('error', error => { resolve(error instanceof Error ? error.message : String(error)); });
      worker.once('exit', () => { resolve('it ended early'); });
    }),
  };
};

/** Repetitions are alike: some that took no time say that lines were handed on late. */
const together = (wallNs: readonly number[]): boolean => Math.min(...wallNs) * 8 < steady(wallNs.length > 2 ? [...wallNs].sort((a, b) => b - a) : wallNs);

/** The rows asked for, and whether `start` is among them. */
export function chooseRows(names: readonly string[]): { readonly rows: readonly BenchProgram[]; readonly start: boolean } {
  const known = (name: string): boolean => name === 'start' || KINDS.some(kind => kind === name) || BENCH_PROGRAMS.some(p => p.name === name);
  for (const name of names) if (!known(name)) throw new BenchError(`there is no bench row "${name}"; there are ${BENCH_PROGRAMS.map(p => p.name).join(', ')}, and all of ${KINDS.join(', ')}, start`);
  return { rows: BENCH_PROGRAMS.filter(p => names.length === 0 || names.includes(p.name) || names.includes(p.kind)), start: names.length === 0 || names.includes('start') };
}

export async function benchVm(options: BenchVmOptions = {}): Promise<BenchVmResult> {
  const peers = options.peers ?? PEERS, runs = Math.max(3, options.runs ?? 4), scale = options.scale ?? 1, silenceMs = options.silenceMs ?? SILENCE_MS, jit = options.jit ?? 'on';
  for (const peer of peers) if (!PEERS.includes(peer)) throw new BenchError(`there is no peer "${peer}"; there are ${PEERS.join(', ')}`);
  const { rows: chosen, start: withStart } = chooseRows(options.rows ?? []);
  options.progress?.('building the bench images');
  const images = await benchImages();
  const problems: string[] = [], lost: string[] = [], results = new Map<Peer, Map<number, Measured>>(), iterations = new Map<Peer, Map<number, number>>();
  const qemu = qemuVersion();
  const present = peers.filter(peer => {
    const missing = peer === 'qemu' && qemu === null ? 'qemu-system-i386 is not installed'
      : peer === 'v86' && !existsSync(path.join(REPOSITORY_ROOT, 'node_modules/v86/build/libv86.mjs')) ? 'the development dependency v86 is not installed'
      : peer === 'native' && (process.platform !== 'linux' || (process.arch !== 'x64' && process.arch !== 'ia32')) ? 'native needs Linux on x86' : undefined;
    if (missing !== undefined) problems.push(missing);
    return missing === undefined;
  });
  const able = (peer: Peer, p: BenchProgram): boolean => p.kind === 'smp' ? peer === 'here' || peer === 'qemu' : p.kind !== 'kernel' || peer !== 'native';
  const measure = async (peer: Peer, rows: readonly BenchProgram[], start: Start): Promise<void> => {
    const slow = peer === 'here' && jit === 'off' ? 0.1 : 1;
    const count = (p: BenchProgram): number => p.kind === 'smp' ? 1 : p.kind === 'kernel' ? (peer === 'here' ? slow : p.share ?? 0.5) : SPEED[peer] * slow;
    const counts = new Map(rows.map(p => [p.number, Math.max(1, Math.round(p.nativeIterations * count(p) * scale))]));
    options.progress?.(`running ${rows.length} rows: ${peer}`);
    const answer = await runRows(start, counts, runs + 1, silenceMs);
    for (const [number, reason] of answer.lost) lost.push(`${peer} ${rows.find(p => p.number === number)!.name}: ${reason}`);
    const known = results.get(peer) ?? new Map<number, Measured>(), own = iterations.get(peer) ?? new Map<number, number>();
    for (const [number, n] of counts) own.set(number, n);
    for (const [number, m] of answer.rows) {
      if (rows[0]?.kind === 'smp' && together(m.wallNs)) { lost.push(`${peer} ${rows.find(p => p.number === number)!.name}: its lines came together, the host is too busy`); continue; }
      // Of another launch: its first repetition is not steady either.
      const before = known.get(number);
      known.set(number, before === undefined ? m : { checksum: before.checksum === m.checksum ? m.checksum : `${before.checksum} or ${m.checksum}`, repetitionsNs: [...before.repetitionsNs, ...m.repetitionsNs.slice(1)], wallNs: [...before.wallNs, ...m.wallNs.slice(1)] });
    }
    results.set(peer, known);
    iterations.set(peer, own);
  };
  for (const peer of present) {
    const rows = chosen.filter(p => p.kind !== 'smp' && able(peer, p));
    if (rows.length > 0) await measure(peer, rows, peer === 'native' ? (plan, line) => runNative(images.linux, plan, line) : peer === 'qemu' ? (plan, line) => runQemu(images.freestanding, plan, line) : inWorker(peer, images.freestanding, jit));
  }
  const smp = chosen.filter(p => p.kind === 'smp'), load = new HostLoad();
  if (smp.length > 0) {
    for (let launch = 0; launch < SMP_LAUNCHES; launch++) for (const peer of present.filter(p => able(p, smp[0]!))) {
      const run = peer === 'qemu' ? runQemu : runHere;
      await measure(peer, smp, (plan, line) => { let last = 0; const running = run(images.freestanding, plan, stamped => { load.ours(stamped.cpuNs - last); last = stamped.cpuNs; line(stamped); }, 2); return running; });
    }
  }
  const others = load.others();
  const cell = (peer: Peer, number: number, of: (m: Measured) => number): number | null => {
    const m = results.get(peer)?.get(number), n = iterations.get(peer)?.get(number), operations = chosen.find(p => p.number === number)!.operations;
    return m === undefined || n === undefined ? null : Math.round(of(m) / n / operations * 10) / 10;
  };
  const table = (of: (m: Measured, wall: boolean) => number): BenchVmRow[] => chosen.map(p => {
    const cpu = (peer: Peer): number | null => cell(peer, p.number, m => of(m, false)), wall = (peer: Peer): number | null => cell(peer, p.number, m => of(m, true));
    return { name: p.name, kind: p.kind, native: cpu('native'), here: cpu('here'), v86: cpu('v86'), qemu: cpu('qemu'), ...(p.kind === 'smp' ? { wall: { here: wall('here'), qemu: wall('qemu') } } : {}) };
  });
  for (const p of chosen) {
    const sums = new Map([...results].map(([peer, m]) => [peer, m.get(p.number)?.checksum]));
    if (new Set([...sums.values()].filter(s => s !== undefined)).size > 1) problems.push(`${p.name}: checksums differ: ${[...sums].map(([peer, s]) => `${peer} ${s}`).join(', ')}`);
    if (p.kind === 'smp' && [...sums.values()].includes('0000dead')) problems.push(`${p.name}: the second CPU did not start`);
  }
  const rows = table((m, wall) => steady(wall ? m.wallNs : m.repetitionsNs));
  const mean = (ratios: readonly number[]): number | null => ratios.length === 0 ? null : Math.round(Math.exp(ratios.reduce((a, b) => a + Math.log(b), 0) / ratios.length) * 100) / 100;
  const geomean = (kind: BenchKind): Record<'here' | 'v86' | 'qemu', number | null> => {
    const of = (peer: 'here' | 'v86' | 'qemu'): number | null => mean(rows.filter(r => r.kind === kind).flatMap(r => {
      const [over, under] = r.wall ? [r.wall.here, peer === 'qemu' ? r.wall.qemu : null] : kind === 'kernel' ? [r.here, peer === 'here' ? null : r[peer]] : [r[peer], r.native];
      return over && under ? [over / under] : [];
    }));
    return { here: of('here'), v86: of('v86'), qemu: of('qemu') };
  };
  const scaling = (peer: 'here' | 'qemu'): number | null => {
    const [one, two] = ['fib1', 'fib2'].map(name => rows.find(r => r.name === name)?.wall?.[peer]);
    return one && two ? Math.round(2 * one / two * 100) / 100 : null;
  };
  return {
    rows, first: table((m, wall) => (wall ? m.wallNs : m.repetitionsNs)[0]!),
    geomean: { integer: geomean('integer'), memory: geomean('memory'), float: geomean('float'), kernel: geomean('kernel'), smp: geomean('smp') }, scaling: { here: scaling('here'), qemu: scaling('qemu') },
    behind: rows.filter(r => !EXEMPT.includes(r.name) && (r.wall ? r.wall.here && r.wall.qemu && r.wall.qemu < r.wall.here : r.here && ((r.v86 && r.v86 < r.here) || (r.qemu && r.qemu < r.here)))).map(r => r.name),
    lost, problems, start: withStart ? await benchStart(images.freestanding, { peers: present, runs, progress: options.progress }) : [],
    environment: { date: new Date().toISOString(), node: process.version, cpu: os.cpus()[0]?.model ?? 'unknown', cores: os.cpus().length, load: Math.round(os.loadavg()[0]! * 10) / 10, ...(smp.length > 0 ? { others } : {}), qemu: qemu ?? 'none', jit, runs },
  };
}

const time = (ns: number | null): string => ns === null ? '-' : ns < 1e4 ? `${ns.toFixed(0)} ns` : ns < 1e7 ? `${(ns / 1e3).toFixed(1)} us` : `${(ns / 1e6).toFixed(2)} ms`;

const factor = (over: number | null, under: number | null): string => over === null || !under ? '-' : (over / under).toFixed(2);
const TITLES: Readonly<Record<BenchKind, string>> = { integer: 'integer', memory: 'memory', float: 'floating point', kernel: 'kernel', smp: 'SMP, 2 vCPUs' };

/** The table that people read. A `!` marks rows in which a peer is faster. */
export function formatBenchVm(result: BenchVmResult): string {
  const lines: string[][] = [], user = ['', 'native', 'here', 'v86', 'qemu', 'here x', 'v86 x', 'qemu x', 'first x'];
  const text = (v: number | null): string => v === null ? '-' : v.toFixed(2);
  const behind = new Set(result.behind), { environment } = result;
  for (const kind of KINDS) {
    const rows = result.rows.filter(r => r.kind === kind), mean = result.geomean[kind];
    if (rows.length === 0) continue;
    const kernel = kind === 'kernel', smp = kind === 'smp';
    lines.push([TITLES[kind], ...(smp ? ['', 'here', '', 'qemu', 'here CPU', 'qemu CPU', 'here / qemu', ''] : kernel ? ['', 'here', 'v86', 'qemu', '', 'here / v86', 'here / qemu', ''] : user.slice(1))]);
    for (const r of rows) {
      const name = `${behind.has(r.name) ? '!' : ' '} ${r.name}`, first = result.first.find(({ name: n }) => n === r.name)!;
      lines.push(r.wall ? [name, '', time(r.wall.here), '', time(r.wall.qemu), time(r.here), time(r.qemu), factor(r.wall.here, r.wall.qemu), '']
        : kernel ? [name, '', time(r.here), time(r.v86), time(r.qemu), '', factor(r.here, r.v86), factor(r.here, r.qemu), '']
        : [name, time(r.native), time(r.here), time(r.v86), time(r.qemu), factor(r.here, r.native), factor(r.v86, r.native), factor(r.qemu, r.native), factor(first.here, r.native)]);
    }
    if (smp) lines.push(['  scaling', '', text(result.scaling.here), '', text(result.scaling.qemu), '', '', '', '']);
    lines.push(['  geomean', '', '', '', '', kernel || smp ? '' : text(mean.here), smp ? '' : text(mean.v86), text(mean.qemu), ''], []);
  }
  const widths = user.map((_, i) => Math.max(...lines.map(line => line[i]?.length ?? 0)));
  const table = lines.map(line => line.map((c, i) => i === 0 ? c.padEnd(widths[i]!) : c.padStart(widths[i]!)).join('  ').trimEnd());
  const others = environment['others'];
  return [
    ...table, ...(result.start.length > 0 ? [formatStart(result.start), ''] : []),
    ...(result.rows.length > 0 ? [`CPU time per iteration (kernel rows: per operation), median of ${environment['runs']} repetitions after the first; x = multiple of native; ! a peer is faster.`] : []),
    ...(typeof others === 'number' ? [`SMP rows: wall time per operation, and CPU time of the whole process; scaling: twice fib1 / fib2. Others used ${(others * 100).toFixed(0)} % of the host's cores meanwhile${others > QUIET ? ': DISTURBED, repeat on a quiet host' : ''}.`] : []),
    ...result.lost.map(l => `- ${l}`), ...result.problems.map(p => `problem: ${p}`),
  ].join('\n');
}

/** One line of docs/history/vm.jsonl: where, when, and the times of all rows. */
export const historyLine = (result: BenchVmResult): string => `${JSON.stringify({ environment: result.environment, geomean: result.geomean, scaling: result.scaling, behind: result.behind, lost: result.lost, rows: result.rows, start: result.start })}\n`;
export const HISTORY = path.join(REPOSITORY_ROOT, 'docs', 'history', 'vm.jsonl');
/** Where the table of the last recorded run stands, between these two lines. */
export const TABLE_IN = path.join(REPOSITORY_ROOT, 'docs', 'machine.md');
const BEGIN = '<!-- bench vm: written by `bench vm --record` -->', END = '<!-- end of bench vm -->';
/** The document with the result's table in the place of the one in it. */
export function withTable(document: string, result: BenchVmResult): string {
  const from = document.indexOf(BEGIN), to = document.indexOf(END);
  if (from < 0 || to < from) throw new BenchError(`${TABLE_IN} has no lines "${BEGIN}" and "${END}" for the table`);
  const { cpu, node, qemu, date } = result.environment;
  return `${document.slice(0, from)}${BEGIN}\n\`\`\`\n${cpu}, Node ${node}, QEMU ${qemu}, ${String(date).slice(0, 10)}\n\n${formatBenchVm(result)}\n\`\`\`\n${document.slice(to)}`;
}

if (process.argv[1] === import.meta.filename) {
  const args = process.argv.slice(2), strange = args.find(a => a.startsWith('--') && !/^--(json$|(jit|peers|runs|scale)=)/.test(a));
  if (strange !== undefined) {
    process.stderr.write(`${strange === '--help' ? '' : `no option ${strange}\n`}node tools/bench/vm.ts [--json] [--jit=off|on|mixed] [--peers=native,here,v86,qemu] [--runs=4] [--scale=1] [rows or kinds]\n`);
    process.exit(strange === '--help' ? 0 : 2);
  }
  const option = (name: string): string | undefined => args.find(a => a.startsWith(`--${name}=`))?.slice(name.length + 3);
  const result = await benchVm({
    rows: args.filter(a => !a.startsWith('--')), jit: (option('jit') ?? 'on') as 'on', runs: Number(option('runs') ?? 4), scale: Number(option('scale') ?? 1),
    ...(option('peers') ? { peers: option('peers')!.split(',') as Peer[] } : {}), progress: t => { process.stderr.write(`${t}\n`); },
  });
  console.log(args.includes('--json') ? JSON.stringify(result, null, 1) : formatBenchVm(result));
  process.exitCode = result.problems.length > 0 ? 1 : 0;
}
