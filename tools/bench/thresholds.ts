/**
 * How the engine's constants are chosen: copies of vm/ in which one constant has other values run the same rows in turn, and CPU time is compared.
 *
 *     node tools/bench/thresholds.ts vm/cpu/jit/manager.ts HEAT_TO_COMPILE 50_000,200_000,800_000 [--rounds=3] [--json] [rows or kinds of rows...]
 *
 * Prints two lines a value, relative to the one in the sources: the steady speed (geometric mean over the rows of CPU time per repetition) and the
 * first repetition, which pays for decoding and compiling. Each round runs every value once, in turn, so that a noisy host disturbs all alike; the
 * figure of a row is its fastest repetition: what others do to caches and clocks only ever adds. The copies lie in build/thresholds and stay there.
 */
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { REPOSITORY_ROOT } from '../../vm/entry.ts';
import { benchImages } from './images.ts';
import { BenchError, runRows, type Running, type Stamped, type Start } from './lines.ts';
import type { PeerEnd, PeerJob } from './peer.worker.ts';
import { chooseRows } from './vm.ts';

/** Part of a row's iterations: a sweep is many runs. */
const SCALE = 0.4, REPETITIONS = 6, SILENCE_MS = 60_000;

export interface Threshold { readonly value: string; /** CPU time relative to the value in the sources. */ readonly steady: number; readonly first: number; readonly rows: Readonly<Record<string, number>> }

/** `const NAME = VALUE` in `source` with another value; NAME may be one of several in a statement. */
export function withConstant(source: string, name: string, value: string): string {
  const found = [...source.matchAll(new RegExp(`(^(?:export )?const (?:[^/\\n]*, )?${name} = )([^,;]+)(?=[,;])`, 'gm'))];
  if (found.length !== 1) throw new BenchError(`${found.length} definitions of ${name}: there must be one, "${name} = value"`);
  const [whole, head] = found[0]!;
  return `${source.slice(0, found[0]!.index)}${head}${value}${source.slice(found[0]!.index + whole.length)}`;
}
export function constantOf(source: string, name: string): string {
  const value = new RegExp(`^(?:export )?const (?:[^/\\n]*, )?${name} = ([^,;]+)[,;]`, 'm').exec(source)?.[1];
  if (value === undefined) throw new BenchError(`there is no ${name} = ... in it`);
  return value;
}

/** The VM's sources with the constant changed, below build/thresholds. */
function copy(file: string, name: string, value: string, index: number): string {
  const root = path.join(REPOSITORY_ROOT, 'build/thresholds', String(index));
  rmSync(root, { recursive: true, force: true });
  mkdirSync(path.join(root, 'tools/bench'), { recursive: true });
  cpSync(path.join(REPOSITORY_ROOT, 'vm'), path.join(root, 'vm'), { recursive: true });
  for (const own of ['peer.worker.ts', 'lines.ts']) cpSync(path.join(REPOSITORY_ROOT, 'tools/bench', own), path.join(root, 'tools/bench', own));
  const target = path.join(root, file);
  writeFileSync(target, withConstant(readFileSync(target, 'utf8'), name, value));
  return root;
}

const startIn = (root: string, image: string): Start => (plan, line): Running => {
  const workerData: PeerJob = { peer: 'here', image, plan, jit: 'on', fine: true };
  const worker = new Worker(pathToFileURL(path.join(root, 'tools/bench/peer.worker.ts')), { workerData, execArgv: [] });
  return {
    kill: () => { void worker.terminate(); },
    problem: new Promise(resolve => {
      worker.on('message', (message: Stamped | PeerEnd) => { if ('line' in message) line(message); else { resolve(message.problem); void worker.terminate(); } });
      worker.once('error', error => { resolve(error instanceof Error ? error.message : String(error)); });
    }),
  };
};

export async function sweep(file: string, name: string, others: readonly string[], rowNames: readonly string[], rounds: number): Promise<Threshold[]> {
  const own = constantOf(readFileSync(path.join(REPOSITORY_ROOT, file), 'utf8'), name), values = [own, ...others.filter(value => value !== own)];
  const rows = chooseRows(rowNames).rows.filter(p => p.kind !== 'smp'), { freestanding } = await benchImages();
  const roots = values.map((value, i) => copy(file, name, value, i));
  const plan = new Map(rows.map(p => [p.number, Math.max(1, Math.round(p.nativeIterations * (p.kind === 'kernel' ? 1 : 0.4) * SCALE))]));
  const steady = values.map(() => new Map<number, number[]>()), first = values.map(() => new Map<number, number[]>());
  for (let run = 0; run < rounds * roots.length; run++) {
    // Each round begins with another value: what the process has compiled before helps those behind it.
    const v = (run + Math.floor(run / roots.length)) % roots.length;
    const answer = await runRows(startIn(roots[v]!, freestanding), plan, REPETITIONS, SILENCE_MS);
    for (const [number, reason] of answer.lost) throw new BenchError(`${name} = ${values[v]}, row ${number}: ${reason}`);
    const add = (to: Map<number, number[]>, number: number, ns: number): void => { const list = to.get(number); if (list) list.push(ns); else to.set(number, [ns]); };
    for (const [number, { repetitionsNs }] of answer.rows) { add(first[v]!, number, repetitionsNs[0]!); for (const ns of repetitionsNs.slice(1)) add(steady[v]!, number, ns); }
  }
  const relative = (of: readonly Map<number, number[]>[], v: number, number: number): number => Math.min(...of[v]!.get(number)!) / Math.min(...of[0]!.get(number)!);
  const mean = (ratios: readonly number[]): number => Math.round(Math.exp(ratios.reduce((sum, r) => sum + Math.log(r), 0) / ratios.length) * 1000) / 1000;
  return values.map((value, v) => ({
    value, steady: mean(rows.map(p => relative(steady, v, p.number))), first: mean(rows.map(p => relative(first, v, p.number))),
    rows: Object.fromEntries(rows.map(p => [p.name, Math.round(relative(steady, v, p.number) * 100) / 100])),
  }));
}

if (process.argv[1] === import.meta.filename) {
  const args = process.argv.slice(2), [file, name, values, ...rows] = args.filter(a => !a.startsWith('--'));
  if (file === undefined || name === undefined || values === undefined) {
    process.stderr.write('usage: node tools/bench/thresholds.ts FILE CONSTANT VALUE,VALUE... [--rounds=3] [--json] [rows...]\n\nExample:\n  $ node tools/bench/thresholds.ts vm/cpu/jit/cfg.ts MAX_BLOCKS 24,48,96,192 integer\n');
    process.exitCode = 2;
  } else {
    const table = await sweep(file, name, values.split(','), rows, Number(args.find(a => a.startsWith('--rounds='))?.slice(9) ?? 3));
    if (args.includes('--json')) console.log(JSON.stringify({ file, name, table }));
    else for (const { value, steady, first, rows: each } of table) {
      const apart = Object.entries(each).filter(([, r]) => r > 1.05 || r < 0.95).map(([row, r]) => `${row} ${r}`);
      console.log(`${name} = ${value.padEnd(10)}  steady ${steady.toFixed(3)}  first ${first.toFixed(3)}${apart.length > 0 ? `  (${apart.join(', ')})` : ''}`);
    }
  }
}
