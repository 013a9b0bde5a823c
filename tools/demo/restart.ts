/**
 * The hot-restart demonstration as a function: boots, lets programs work on files while servers are killed, checks the disk afterwards.
 *
 * Who does what: the guest's supervisor kills (servers/supervisor/storm.ts) and reports each recovery on the debug console; programs/workload.ts
 * works; the host only watches, and at the end reads the disk image and compares it with a model (verify.ts).
 */
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createMachine, type MachineResult } from '../../vm/machine.ts';
import { ensureGuest, ROOT_IMAGE } from '../cli/guest.ts';
import { systemConfig, type SystemOptions } from '../cli/system.ts';
import { traced } from '../cli/tracing.ts';
import { Ext2Reader } from '../image/reader.ts';
import { modelWorker } from './model.ts';
import { verifyImage } from './verify.ts';

export const VICTIMS = ['virtio-blk', 'fs', 'tty', 'uart0', 'uart1', 'supervisor'] as const;
export const PHASES = ['detected', 'stopped', 'quiet', 'revoked', 'built', 'started', 'ready', 'served'] as const;
export type Phase = (typeof PHASES)[number];

export interface DemoOptions extends SystemOptions {
  readonly kills: number;
  readonly periodMs: number;
  readonly victims: readonly string[];
  readonly workers: number;
  /** Keep the final disk image here. */
  readonly keep?: string;
}
export interface Spread { readonly median: number; readonly p99: number }
export interface DemoReport {
  readonly kills: number;
  /** Kills that hit with a request in service: taken from a ring and not answered. */
  readonly midRequest: number;
  readonly restarts: number;
  readonly redelivered: number;
  readonly lost: number;
  readonly wrongChecksums: number;
  /** Death to the first request served, of kills that hit mid-request. */
  readonly recoveryNs: Spread;
  /** Supervisor's instructions until the new incarnation runs, and the server's own from there to its first answer. */
  readonly recoveryInstructions: Spread;
  readonly phases: Readonly<Record<Phase, { readonly ns: Spread; readonly instructions: Spread }>>;
  readonly victims: Readonly<Record<string, { readonly restarts: number; readonly midRequest: number; readonly generation: number; readonly recoveryNs: Spread; readonly recoveryInstructions: Spread }>>;
  readonly seed: number;
  readonly place: string;
  readonly smp: number;
  readonly mode: 'parallel' | 'deterministic';
  readonly steps: number;
  readonly operations: number;
  readonly files: number;
  /** Checksum lines on the second serial line: whole ones, and those that a death of tty or a uart damaged, lost or repeated (it may, by at most a FIFO). */
  readonly terminal: { readonly lines: number; readonly whole: number; readonly repeated: number };
  readonly e2fsck: 'clean' | 'not installed' | string;
  readonly problems: readonly string[];
  readonly reason: MachineResult['reason'];
  readonly stateHash: string;
  readonly hostSeconds: number;
}
export interface Tick { readonly kills: number; readonly generations: ReadonlyMap<string, number>; readonly recoveryNs: Spread; readonly redelivered: number; readonly lost: number; /** Calls of programs answered so far, call to reply in ns; from trace records, when somebody watches live. */ readonly calls?: Spread & { readonly count: number } }

interface Restart { readonly restart: string; readonly generation: number; readonly cause: string; readonly mid: number; readonly redelivered: number; readonly ns: number[]; readonly instructions: number[] }

export function spread(values: readonly number[]): Spread {
  if (values.length === 0) return { median: 0, p99: 0 };
  const sorted = values.toSorted((a, b) => a - b);
  const at = (q: number): number => sorted[Math.min(sorted.length - 1, Math.ceil(q * sorted.length) - 1)]!;
  return { median: at(0.5), p99: at(0.99) };
}
const SERVED = PHASES.indexOf('served'), STARTED = PHASES.indexOf('started');
const recoveries = (all: readonly Restart[]): number[] => all.filter((r) => r.mid === 1 && r.ns[SERVED]! > 0).map((r) => r.ns[SERVED]!);
const costs = (all: readonly Restart[]): number[] => all.filter((r) => r.mid === 1 && r.instructions[SERVED]! > 0).map((r) => r.instructions[STARTED]! + r.instructions[SERVED]!);

/** Whole lines of a byte stream that comes in pieces. */
function lines(take: (line: string) => void): (bytes: Uint8Array) => void {
  let rest = '';
  return (bytes) => {
    const all = (rest + Buffer.from(bytes).toString('latin1')).split('\n');
    rest = all.pop()!;
    for (const line of all) take(line);
  };
}

interface Watch { tick?(tick: Tick): void; log?(bytes: Uint8Array): void; /** Ticks carry counters of the trace. */ readonly live?: boolean }
export async function demoRestart(options: DemoOptions, watch: Watch = {}): Promise<DemoReport> {
  ensureGuest();
  const folder = mkdtempSync(path.join(tmpdir(), 'kintsugi-demo-'));
  const disk = path.join(folder, 'disk.img');
  copyFileSync(ROOT_IMAGE, disk);
  try {
    return await runOn(disk, options, watch);
  } finally {
    if (options.keep !== undefined) copyFileSync(disk, options.keep);
    rmSync(folder, { recursive: true, force: true });
  }
}

async function runOn(disk: string, options: DemoOptions, watch: Watch): Promise<DemoReport> {
  const trace = await traced(options.trace, watch.live);
  const restarts: Restart[] = [], generations = new Map<string, number>(options.victims.map((name) => [name, 1])), problems: string[] = [];
  let redelivered = 0, failedLive = 0, kills = 0, supervisors = 0;
  const terminal: Buffer[] = [];
  const calls = (): Pick<Tick, 'calls'> => {
    if (!trace.live) return {};
    const { calls: count, callNs: { median, p99 } } = trace.live.counters();
    return { calls: { count, median, p99 } };
  };
  const tick = (): void => watch.tick?.({ kills: restarts.length + supervisors, generations, recoveryNs: spread(recoveries(restarts)), redelivered, lost: failedLive, ...calls() });
  const telemetry = lines((line) => {
    const event = JSON.parse(line) as Restart | { storm: 'over'; kills: number } | { kill: string } | { failed: string; why: string };
    if ('storm' in event) kills = event.kills;
    else if ('kill' in event) return; // its restart comes
    else if ('failed' in event) {
      problems.push(`${event.failed} was given up: ${event.why}`);
      failedLive++;
      tick();
      machine.stop();
    } else {
      generations.set(event.restart, event.generation);
      if (event.restart === 'supervisor') supervisors++;
      else { restarts.push(event); redelivered = event.redelivered; }
      tick();
    }
  });
  const errors = lines((line) => { if (line.includes('error w')) { failedLive++; tick(); } });
  const started = performance.now();
  const append = ['telemetry', `storm=${options.kills}:${Math.round(options.periodMs * 1000)}:${options.seed}:${options.victims.join('+')}`, options.append].filter((word) => word !== '').join(' ');
  const machine = await createMachine({
    ...systemConfig({ ...options, disk, append }, ['workload', String(options.seed), String(options.kills), String(options.workers)], {
      com1: (bytes) => watch.log?.(bytes),
      com2: (bytes) => { terminal.push(Buffer.from(bytes)); errors(bytes); },
    }),
    debug: telemetry, ...trace.config,
  });
  const result = await machine.run().finally(() => machine.close());
  trace.done(machine);
  if (result.reason !== 'poweroff') problems.push(`the machine did not power off: ${result.reason}${result.detail === undefined ? '' : ` (${result.detail})`}`);
  const verdict = verifyImage(readFileSync(disk), options.seed, options.workers);
  problems.push(...verdict.problems);
  const fsck = spawnSync('e2fsck', ['-fn', disk], { encoding: 'utf8', env: { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/sbin:/usr/sbin` } });
  const e2fsck = fsck.error !== undefined ? 'not installed' : fsck.status === 0 ? 'clean' : `status ${fsck.status}: ${fsck.stdout.trim()}`;
  if (e2fsck !== 'clean' && e2fsck !== 'not installed') problems.push(`e2fsck: ${e2fsck}`);
  const of = (name: string): Restart[] => restarts.filter((r) => r.restart === name);
  return {
    kills: kills || restarts.length + supervisors,
    midRequest: restarts.filter(({ mid }) => mid === 1).length,
    restarts: restarts.length + supervisors,
    redelivered,
    lost: verdict.lost + (result.reason === 'poweroff' ? 0 : 1) + (e2fsck === 'clean' || e2fsck === 'not installed' ? 0 : 1),
    wrongChecksums: verdict.wrongChecksums,
    recoveryNs: spread(recoveries(restarts)),
    recoveryInstructions: spread(costs(restarts)),
    phases: Object.fromEntries(PHASES.map((phase, n) => {
      const reached = restarts.filter((r) => r.ns[n]! > 0 && (n < SERVED || r.mid === 1));
      return [phase, { ns: spread(reached.map((r) => r.ns[n]!)), instructions: spread(reached.map((r) => r.instructions[n]!)) }];
    })) as DemoReport['phases'],
    victims: Object.fromEntries(options.victims.map((name) => [name, {
      restarts: name === 'supervisor' ? supervisors : of(name).length, midRequest: of(name).filter(({ mid }) => mid === 1).length, generation: generations.get(name)!,
      recoveryNs: spread(recoveries(of(name))), recoveryInstructions: spread(costs(of(name))),
    }])),
    seed: options.seed, place: options.place, smp: options.smp, mode: options.deterministic ? 'deterministic' : 'parallel',
    steps: verdict.steps, operations: verdict.operations, files: verdict.files,
    terminal: checkTerminal(Buffer.concat(terminal).toString('latin1'), options, verdict.steps === 0 ? [] : readSteps(disk, options.workers)),
    e2fsck, problems, reason: result.reason, stateHash: result.stateHash, hostSeconds: Math.round((performance.now() - started) / 100) / 10,
  };
}

function readSteps(disk: string, workers: number): number[] {
  const reader = new Ext2Reader(readFileSync(disk));
  return Array.from({ length: workers }, (_, n) => {
    const inode = reader.lookup(`/demo/w${n}/report`);
    return inode === undefined ? 0 : Number(/^steps (\d+)/.exec(Buffer.from(reader.content(inode)).toString('latin1'))?.[1] ?? 0);
  });
}
function checkTerminal(text: string, options: DemoOptions, steps: readonly number[]): DemoReport['terminal'] {
  let total = 0, whole = 0, repeated = 0;
  steps.forEach((count, worker) => {
    for (const line of modelWorker(options.seed, worker, count).sums) {
      const seen = text.split(`w${worker} ${line}\n`).length - 1;
      total++;
      if (seen > 0) whole++;
      if (seen > 1) repeated++;
    }
  });
  return { lines: total, whole, repeated };
}
