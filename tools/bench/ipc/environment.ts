/** The machine under the measurement, and whether it is quiet enough to measure on. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import os from 'node:os';
import { REPOSITORY_ROOT } from '../../../vm/entry.ts';

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

export interface Stability {
  /** A fixed piece of work, ns: fastest and 90th percentile of 60 runs. */
  readonly fastestNs: number;
  readonly p90Ns: number;
  readonly steady: boolean;
  readonly reason?: string;
}
/** The same work may take this much longer in one run out of ten. */
const TOLERANCE = 1.5;
const RUNS = 60;

/** Runs a fixed piece of work again and again: where it does not take about the same time each time, nothing else does. About 0.1 s. */
export function checkStability(load = os.loadavg()[0] ?? 0, cores = os.availableParallelism()): Stability {
  const work = (): number => { let x = 1; for (let i = 0; i < 400_000; i++) x = Math.imul(x, 1664525) + i | 0; return x; };
  let sink = 0;
  for (let i = 0; i < 20; i++) sink ^= work();
  const times: number[] = [];
  for (let i = 0; i < RUNS; i++) { const start = process.hrtime.bigint(); sink ^= work(); times.push(Number(process.hrtime.bigint() - start)); }
  if (sink === 0.5) throw new Error('unreachable: keeps the work alive');
  times.sort((a, b) => a - b);
  const fastestNs = times[0]!, p90Ns = times[Math.floor(RUNS * 0.9)]!;
  const reason = load > cores * 1.5 ? `the load average is ${load.toFixed(1)} on ${cores} core${cores > 1 ? 's' : ''}`
    : p90Ns > fastestNs * TOLERANCE ? `the same work takes ${(fastestNs / 1e6).toFixed(2)} ms or ${(p90Ns / 1e6).toFixed(2)} ms (at most ${TOLERANCE} times is steady)` : undefined;
  return { fastestNs, p90Ns, steady: reason === undefined, ...(reason === undefined ? {} : { reason }) };
}
