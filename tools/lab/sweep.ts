/**
 * The sweep: one operation on a file at a time, and a server killed at *every* instruction of its handling in turn. The operation must
 * have been done exactly once, which the host checks on the program's result and on every file of the final image.
 *
 * Operations on the network (net-operations.ts) are swept alike, net and its driver being killed: the handling of one segment of each kind, between the marks of
 * the peer (net-peer.ts), and system calls on sockets. Connection and bytes must be whole, and nothing may be left in the stack.
 *
 * The instructions of the handling come from the golden trace: those of the victim in ring 3 between the program's system call and its return;
 * for the disk driver the interval goes on over the `sync` that follows, because the operation itself need not touch the disk. Where there are more
 * than `limit`, every k-th is taken, and k is reported. A kill is a machine check in the victim at that instruction: the kernel's own fault message
 * and the supervisor's own recovery do the rest, and its private memory is gone.
 *
 * Kills are shared out among workers and recorded as they come (sweep-record.ts): the same sweep goes on where it was broken off, and its rows
 * are the same for any number of workers.
 */
import { ensureGuest } from '../cli/guest.ts';
import { runWorkers } from './campaign.ts';
import type { Point } from './experiment.ts';
import { imageHash, runGolden, type Golden, type Trace } from './golden.ts';
import { COUNT_LABEL, NET_OPERATIONS, requestLabel, type NetOperation } from './net-operations.ts';
import { LABEL, OPERATIONS, SYNC_LABEL, type Operation } from './operations.ts';
import { TargetTrace, type Moment } from './points.ts';
import { ordinal, quantile } from './statistics.ts';
import { workloadImage } from './store.ts';
import { SweepRecord, type Kill } from './sweep-record.ts';
import { faultAt } from './models/model.ts';
import { moduleOf } from './symbols.ts';
import { workloadNamed } from './workloads.ts';

export const SWEEP_VICTIMS = ['fs', 'virtio-blk', 'net', 'virtio-net'] as const;
export type SweepVictim = (typeof SWEEP_VICTIMS)[number];
export type SweepOperation = Operation | NetOperation;
/** Which operations are whose to do. */
export const SWEEPS_OF = { files: { operations: OPERATIONS, victims: ['fs', 'virtio-blk'], program: 'fileop' }, net: { operations: NET_OPERATIONS, victims: ['net', 'virtio-net'], program: 'netop' } } as const;
const ofNet = (operation: SweepOperation): operation is NetOperation => (NET_OPERATIONS as readonly string[]).includes(operation);
const groupOf = (operation: SweepOperation): (typeof SWEEPS_OF)['files' | 'net'] => SWEEPS_OF[ofNet(operation) ? 'net' : 'files'];

/** How far the whole sweep is. Kills per second and seconds left are of this run; left is undefined until kills were done. */
export interface SweepProgress { readonly operation: SweepOperation; readonly victim: SweepVictim; readonly done: number; readonly total: number; readonly failed: number; readonly perSecond: number; readonly secondsLeft: number | undefined }
export interface SweepOptions {
  readonly victims: readonly SweepVictim[];
  readonly operations: readonly SweepOperation[];
  /** Most kills of one victim in one operation; more instructions than that are sampled. */
  readonly limit: number;
  readonly workers: number;
  readonly cpus: number;
  readonly scheduleSeed: number;
  /** Told when a row is complete, and after every batch of kills. */
  readonly progress?: (line: string) => void;
  readonly tick?: (progress: SweepProgress) => void;
  /** Where kills are recorded; undefined: nowhere, and none are taken from a record. */
  readonly root?: string;
}
export interface SweepFailure { readonly number: number; readonly instruction: number; readonly symbol: string; readonly line: string; readonly outcome: string; readonly note: string }
export interface SweepRow {
  readonly victim: SweepVictim;
  readonly operation: SweepOperation;
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
export interface SweepReport {
  readonly kills: number;
  readonly exactlyOnce: number;
  readonly lost: number;
  /** Kills done now, the others came from the record; time and CPU time they took, golden runs and machines included. */
  readonly ran: number;
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly rows: readonly SweepRow[];
}

export class SweepError extends Error {
  override readonly name = 'SweepError';
  readonly reason = 'sweep';
}

/** Offsets between which the operation (or operation and sync) is under way. */
function interval(golden: Golden, trace: Trace, operation: SweepOperation, withSync: boolean): readonly [number, number] {
  const label = ofNet(operation) ? requestLabel(operation) : LABEL[operation];
  if (label === undefined) {
    const from = trace.marks.find(({ mark }) => mark === 'from'), to = trace.marks.find(({ mark }) => mark === 'to');
    if (!from) throw new SweepError(`the peer never sent the frame of ${operation}`);
    return [from.at, to?.at ?? golden.length];
  }
  const { program } = groupOf(operation);
  const mine = (space: number): boolean => trace.owners[space]!.name === program && !trace.owners[space]!.kernel;
  const calls = trace.calls.filter(({ space }) => mine(space)), told = ofNet(operation) ? calls.find(({ ebx }) => (ebx & 0xffff) === COUNT_LABEL)?.at ?? 0 : 0;
  const first = calls.findIndex(({ at, ebx }) => at > told && (ebx & 0xffff) === label && ebx >>> 28 === 0);
  const from = calls[first];
  const last = withSync ? calls.slice(first).find(({ ebx }) => (ebx & 0xffff) === SYNC_LABEL && ebx >>> 28 === 0) : from;
  if (!from || !last) throw new SweepError(`the system call of ${operation} is not in the golden run: did the host see "begin" too late?`);
  for (let n = 0; n < trace.count; n++) if (trace.at[n]! > last.at + 1 && mine(trace.owner[n]!)) return [from.at, trace.at[n]!];
  return [from.at, golden.length];
}

/** The victim's instructions of the handling, and every k-th of them. */
function momentsOf(golden: Golden, trace: Trace, victim: SweepVictim, operation: SweepOperation, limit: number): { readonly all: number; readonly every: number; readonly moments: readonly Moment[] } {
  const [from, to] = interval(golden, trace, operation, victim === 'virtio-blk');
  const target = new TargetTrace(golden, trace, victim);
  const { first, count } = target.between(from, to);
  const every = Math.max(1, Math.ceil(count / limit));
  return { all: count, every, moments: Array.from({ length: Math.ceil(count / every) }, (_, k) => target.moment(first + k * every)) };
}

/** One victim in one operation, ready to be swept. */
interface Part { readonly operation: SweepOperation; readonly victim: SweepVictim; readonly golden: Golden; readonly all: number; readonly every: number; readonly moments: readonly Moment[]; readonly record: SweepRecord }
function prepare(options: SweepOptions): Part[] {
  ensureGuest();
  const { cpus, scheduleSeed, limit } = options;
  return options.operations.flatMap((operation) => {
    const workload = workloadNamed(`sweep:${operation}`), disk = workloadImage(workload), images = imageHash(disk);
    const { golden, trace } = runGolden({ cpus, scheduleSeed, memoryMiB: 128, disk, command: workload.command, ...(workload.net === undefined ? {} : { net: workload.net }) }, workload.stdout);
    return options.victims.filter((victim) => (groupOf(operation).victims as readonly string[]).includes(victim)).flatMap((victim): Part[] => {
      const { all, every, moments } = momentsOf(golden, trace, victim, operation, limit);
      if (all === 0) return []; // a system call that sends nothing is none of the driver's business
      return [{ operation, victim, golden, all, every, moments, record: new SweepRecord(options.root, `${operation}-${victim}`, { images, every, cpus, scheduleSeed, golden: golden.endHash }) }];
    });
  });
}

export async function sweep(options: SweepOptions): Promise<SweepReport> {
  const started = performance.now(), cpu = process.cpuUsage();
  const parts = prepare(options), sweeping = performance.now();
  const total = parts.reduce((sum, { moments }) => sum + moments.length, 0);
  let ran = 0, failed = 0, done = parts.reduce((sum, { record }) => sum + record.kills.size, 0);
  const before = done, rows: SweepRow[] = [];
  if (before > 0) options.progress?.(`${before} of ${total} kills are in the record`);
  for (const part of parts) {
    const { operation, victim, golden, moments, record } = part;
    for (const kill of record.kills.values()) if (!good(kill)) failed++;
    const points = moments.map((moment, index): Point => ({ index, target: victim, model: 'server.kill', fault: faultAt(moment, 'machine check', {}) })).filter(({ index }) => !record.kills.has(index));
    try {
      await runWorkers(golden, `sweep:${operation}`, points, options.workers, false, (results) => {
        const kills = results.map(({ index, outcome, restarts, recoverInstructions, note }): Kill => ({ index, outcome, restarts, recoverInstructions: recoverInstructions ?? null, note }));
        record.add(kills);
        ran += kills.length;
        done += kills.length;
        for (const kill of kills) if (!good(kill)) failed++;
        const perSecond = ran / ((performance.now() - sweeping) / 1000);
        options.tick?.({ operation, victim, done, total, failed, perSecond, secondsLeft: ran > 0 ? (total - done) / perSecond : undefined });
      });
    } finally { record.close(); }
    const row = rowFrom(part);
    rows.push(row);
    options.progress?.(`${operation}: ${victim} killed at ${row.kills} of ${part.all} instructions${part.every > 1 ? ` (every ${ordinal(part.every)})` : ''}, ${row.exactlyOnce} times done exactly once`);
  }
  const used = process.cpuUsage(cpu), sum = (of: (row: SweepRow) => number): number => rows.reduce((all, row) => all + of(row), 0);
  const kills = sum((row) => row.kills), exactlyOnce = sum((row) => row.exactlyOnce);
  return { kills, exactlyOnce, lost: kills - exactlyOnce, ran, seconds: (performance.now() - started) / 1000, cpuSeconds: (used.user + used.system) / 1e6, rows };
}

/** Restarted, and everything right. */
const good = ({ outcome, restarts }: Kill): boolean => outcome === 'recovered' && restarts === 1;

function rowFrom({ victim, operation, all, every, moments, record }: Part): SweepRow {
  const kills = [...record.kills.values()].sort((a, b) => a.index - b.index);
  const recovered = kills.flatMap(({ recoverInstructions }) => (recoverInstructions === null ? [] : [recoverInstructions]));
  return {
    victim, operation, instructions: all, kills: kills.length, every, exactlyOnce: kills.filter(good).length, restarts: kills.reduce((sum, { restarts }) => sum + restarts, 0),
    recoverInstructions: { median: quantile(recovered, 0.5) ?? 0, p99: quantile(recovered, 0.99) ?? 0 },
    failures: kills.filter((kill) => !good(kill)).map(({ index, outcome, restarts, note }) => {
      const moment = moments[index]!;
      return { number: index * every, instruction: moment.offset, ...moduleOf(victim).place(moment.eip), outcome: outcome === 'recovered' ? `${restarts} restarts` : outcome, note };
    }),
  };
}
