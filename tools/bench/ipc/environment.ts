/** The machine under the measurement, and whether it is quiet enough to measure on. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import os from 'node:os';
import { REPOSITORY_ROOT } from '../../../vm/entry.ts';
import { TOLERANCE } from './stability.ts';

export interface Environment {
  readonly cpu: string;
  readonly cores: number;
  readonly hypervisor: boolean;
  readonly governor: string;
  readonly kernel: string;
  readonly node: string;
  readonly v8: string;
  /** Load averages (1, 5, 15 minutes) at the start. */
  readonly load: readonly number[];
  readonly commit: string;
}
const text = (file: string): string => { try { return readFileSync(file, 'utf8').trim(); } catch { return ''; } };

export function environment(): Environment {
  let commit = '';
  try { commit = execFileSync('git', ['-C', REPOSITORY_ROOT, 'describe', '--always', '--dirty'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim(); } catch { /* no repository */ }
  return {
    cpu: os.cpus()[0]?.model ?? 'unknown', cores: os.availableParallelism(), hypervisor: /^flags.*\bhypervisor\b/m.test(text('/proc/cpuinfo')),
    governor: text('/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor') || 'not visible',
    kernel: `${os.type()} ${os.release()}`, node: process.version, v8: process.versions.v8, load: os.loadavg().map((l) => Math.round(l * 100) / 100), commit,
  };
}

/** Processor time so far, us: what this process used, what the machine was busy with in all, and what its hypervisor gave to others. */
export interface ProcessorTimes { readonly atMs: number; readonly ownUs: number; readonly busyUs: number; readonly stolenUs: number }
/** The unit of /proc/stat: USER_HZ, 100 on every Linux of today. */
const TICK_US = 10_000;
/** `stat`: contents of /proc/stat (proc(5)); without it (no Linux) null. */
export function processorTimes(stat = text('/proc/stat')): ProcessorTimes | null {
  const m = /^cpu +(.*)$/m.exec(stat);
  if (!m) return null;
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = m[1]!.split(' ').map(Number), own = process.cpuUsage();
  return { atMs: performance.now(), ownUs: own.user + own.system, busyUs: (user + nice + system + irq + softirq) * TICK_US, stolenUs: steal * TICK_US };
}
/** CPUs used by anybody but this process since then, on average; to about 10 ms of the time in between. */
export function othersSince(before: ProcessorTimes | null, after = processorTimes()): number | null {
  if (before === null || after === null) return null;
  return Math.max(0, after.busyUs + after.stolenUs - before.busyUs - before.stolenUs - (after.ownUs - before.ownUs)) / ((after.atMs - before.atMs) * 1000);
}

export interface Stability {
  /** A fixed piece of work, ns: fastest and 90th percentile of RUNS runs. */
  readonly fastestNs: number;
  readonly p90Ns: number;
  /** CPUs that others used meanwhile, on average; null where that cannot be known. */
  readonly othersCpus: number | null;
  readonly steady: boolean;
  /** Why not. */
  readonly reason?: string;
}
const RUNS = 150;
/** CPUs that the measurement wants to itself: caller and server of the rows across CPUs. */
const WANTED_CPUS = 2;
/** Of these, others may use so much: the machine's own housekeeping. */
const OTHERS_CPUS = 0.25;

const ms = (ns: number): string => `${(ns / 1e6).toFixed(2)} ms`;
/** Runs a fixed piece of work again and again: where it does not take about the same time each time, nothing else does; and looks who else is at work. About 0.3 s. */
export function checkStability(cores = os.availableParallelism()): Stability {
  const work = (): number => { let x = 1; for (let i = 0; i < 400_000; i++) x = Math.imul(x, 1664525) + i | 0; return x; };
  let sink = 0;
  for (let i = 0; i < 20; i++) sink ^= work();
  const before = processorTimes(), timesNs: number[] = [];
  for (let i = 0; i < RUNS; i++) { const start = process.hrtime.bigint(); sink ^= work(); timesNs.push(Number(process.hrtime.bigint() - start)); }
  if (sink === 0.5) throw new Error('unreachable: keeps the work alive');
  return stabilityOf(timesNs, othersSince(before), cores);
}
/** The judgement alone. Load averages take no part: they tell of the last minutes, not of now. */
export function stabilityOf(timesNs: readonly number[], othersCpus: number | null, cores: number): Stability {
  const sorted = [...timesNs].sort((a, b) => a - b), fastestNs = sorted[0]!, p90Ns = sorted[Math.floor(sorted.length * 0.9)]!;
  const allowed = Math.max(0, cores - Math.min(WANTED_CPUS, cores)) + OTHERS_CPUS;
  const reason = othersCpus !== null && othersCpus > allowed ? `other processes use ${othersCpus.toFixed(1)} of its ${cores} core${cores > 1 ? 's' : ''}, at most ${allowed.toFixed(2)} leave room for the measurement`
    : p90Ns > fastestNs * TOLERANCE ? `the same work takes ${ms(fastestNs)} or ${ms(p90Ns)} (at most ${TOLERANCE} times is steady)` : undefined;
  return { fastestNs, p90Ns, othersCpus, steady: reason === undefined, ...(reason === undefined ? {} : { reason }) };
}
