/**
 * The sweep: one operation on a file at a time, and a server killed at *every* instruction of its handling in turn. The operation must
 * have been done exactly once, which the host checks on the program's result and on every file of the final image.
 *
 * The instructions of the handling come from the golden trace: those of the victim in ring 3 between the program's system call and its return;
 * for the disk driver the interval goes on over the `sync` that follows, because the operation itself need not touch the disk. Where there are more
 * than `limit`, every k-th is taken, and k is reported. A kill is a machine check in the victim at that instruction: the kernel's own fault message
 * and the supervisor's own recovery do the rest, and its private memory is gone.
 */
import { ensureGuest } from '../cli/guest.ts';
import { runWorkers } from './campaign.ts';
import type { Point, Result } from './experiment.ts';
import { runGolden, type Golden, type Trace } from './golden.ts';
import { LABEL, SYNC_LABEL, type Operation } from './operations.ts';
import { TargetTrace, type Moment } from './points.ts';
import { quantile } from './statistics.ts';
import { workloadImage } from './store.ts';
import { faultAt } from './models/model.ts';
import { moduleOf } from './symbols.ts';
import { workloadNamed } from './workloads.ts';

export const SWEEP_VICTIMS = ['fs', 'virtio-blk'] as const;
export type SweepVictim = (typeof SWEEP_VICTIMS)[number];
const PROGRAM = 'fileop';

export interface SweepOptions {
  readonly victims: readonly SweepVictim[];
  readonly operations: readonly Operation[];
  /** Most kills of one victim in one operation; more instructions than that are sampled. */
  readonly limit: number;
  readonly workers: number;
  readonly cpus: number;
  readonly scheduleSeed: number;
  readonly progress?: (line: string) => void;
  readonly tick?: (done: number, total: number) => void;
}
export interface SweepFailure { readonly number: number; readonly instruction: number; readonly symbol: string; readonly line: string; readonly outcome: string; readonly note: string }
export interface SweepRow {
  readonly victim: SweepVictim;
  readonly operation: Operation;
  /** Instructions of the victim's handling; kills; one kill every so many instructions. */
  readonly instructions: number;
  readonly kills: number;
  readonly every: number;
  readonly exactlyOnce: number;
  readonly restarts: number;
  /** From the death to the server up again, instructions of the whole machine. */
  readonly recoverInstructions: { readonly median: number; readonly p99: number };
  readonly failures: readonly SweepFailure[];
}
export interface SweepReport { readonly kills: number; readonly exactlyOnce: number; readonly lost: number; readonly seconds: number; readonly cpuSeconds: number; readonly rows: readonly SweepRow[] }

export class SweepError extends Error {
  override readonly name = 'SweepError';
  readonly reason = 'sweep';
}

/** Offsets between which the operation (or operation and sync) is under way. */
function interval(golden: Golden, trace: Trace, operation: Operation, withSync: boolean): readonly [number, number] {
  const mine = (space: number): boolean => trace.owners[space]!.name === PROGRAM && !trace.owners[space]!.kernel;
  const calls = trace.calls.filter(({ space }) => mine(space));
  const first = calls.findIndex(({ ebx }) => (ebx & 0xffff) === LABEL[operation] && ebx >>> 28 === 0);
  const from = calls[first];
  const last = withSync ? calls.slice(first).find(({ ebx }) => (ebx & 0xffff) === SYNC_LABEL && ebx >>> 28 === 0) : from;
  if (!from || !last) throw new SweepError(`the system call of ${operation} is not in the golden run: did the host see "begin" too late?`);
  for (let n = 0; n < trace.count; n++) if (trace.at[n]! > last.at + 1 && mine(trace.owner[n]!)) return [from.at, trace.at[n]!];
  return [from.at, golden.length];
}

/** The victim's instructions of the handling, and every k-th of them. */
export function momentsOf(golden: Golden, trace: Trace, victim: SweepVictim, operation: Operation, limit: number): { readonly all: number; readonly every: number; readonly moments: readonly Moment[] } {
  const [from, to] = interval(golden, trace, operation, victim === 'virtio-blk');
  const target = new TargetTrace(golden, trace, victim);
  const { first, count } = target.between(from, to);
  const every = Math.max(1, Math.ceil(count / limit));
  return { all: count, every, moments: Array.from({ length: Math.ceil(count / every) }, (_, k) => target.moment(first + k * every)) };
}

export async function sweep(options: SweepOptions): Promise<SweepReport> {
  ensureGuest();
  const started = performance.now(), cpu = process.cpuUsage();
  const rows: SweepRow[] = [];
  for (const operation of options.operations) {
    const name = `sweep:${operation}`, workload = workloadNamed(name), disk = workloadImage(workload);
    const { golden, trace } = runGolden({ cpus: options.cpus, scheduleSeed: options.scheduleSeed, memoryMiB: 128, disk, command: workload.command }, workload.stdout);
    for (const victim of options.victims) {
      const { all, every, moments } = momentsOf(golden, trace, victim, operation, options.limit);
      const points = moments.map((moment, index): Point => ({ index, target: victim, model: 'server.kill', fault: faultAt(moment, 'machine check', {}) }));
      const results: Result[] = [];
      await runWorkers(golden, name, points, Math.min(options.workers, Math.max(1, Math.ceil(points.length / 12))), (more) => { results.push(...more); options.tick?.(results.length, points.length); });
      const row = rowFrom(victim, operation, all, every, moments, results);
      rows.push(row);
      options.progress?.(`${operation}: ${victim} killed at ${row.kills} of ${all} instructions${every > 1 ? ` (every ${every}th)` : ''}, ${row.exactlyOnce} times done exactly once`);
    }
  }
  const used = process.cpuUsage(cpu), sum = (of: (row: SweepRow) => number): number => rows.reduce((total, row) => total + of(row), 0);
  const kills = sum((row) => row.kills), exactlyOnce = sum((row) => row.exactlyOnce);
  return { kills, exactlyOnce, lost: kills - exactlyOnce, seconds: (performance.now() - started) / 1000, cpuSeconds: (used.user + used.system) / 1e6, rows };
}

/** Restarted, and everything right. */
const good = ({ outcome, restarts }: Result): boolean => outcome === 'recovered' && restarts === 1;

function rowFrom(victim: SweepVictim, operation: Operation, all: number, every: number, moments: readonly Moment[], results: readonly Result[]): SweepRow {
  const recovered = results.flatMap(({ recoverInstructions }) => (recoverInstructions === undefined ? [] : [recoverInstructions]));
  return {
    victim, operation, instructions: all, kills: results.length, every, exactlyOnce: results.filter(good).length, restarts: results.reduce((sum, { restarts }) => sum + restarts, 0),
    recoverInstructions: { median: quantile(recovered, 0.5) ?? 0, p99: quantile(recovered, 0.99) ?? 0 },
    failures: results.filter((result) => !good(result)).sort((a, b) => a.index - b.index).map(({ index, outcome, restarts, note }) => {
      const moment = moments[index]!;
      return { number: index * every, instruction: moment.offset, ...placeOf(victim, moment.eip), outcome: outcome === 'recovered' ? `${restarts} restarts` : outcome, note };
    }),
  };
}
const placeOf = (victim: string, eip: number): { symbol: string; line: string } => moduleOf(victim).place(eip);
