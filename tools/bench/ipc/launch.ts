/**
 * One launch: a new machine that measures every configuration once (microkernel/bench/root.ts), told by trace marks. A mark carries the host's
 * clock and the vCPU's counters, so nothing of the guest's own time takes part in a measurement.
 *
 * A sample is three marks: EMPTY, at once BEGIN, round trips, END. EMPTY to BEGIN is the overhead, taken this way before each sample: as warm as
 * the sample itself, in the same machine, on the same CPU.
 */
import path from 'node:path';
import { REPOSITORY_ROOT } from '../../../vm/entry.ts';
import { createMachine } from '../../../vm/machine.ts';
import { TRACE_EVENT } from '../../../vm/trace.ts';
import { readRecords, type TraceRecord } from '../../trace/records.ts';
import { othersSince, processorTimes } from './environment.ts';
import { IpcBenchError } from './phases.ts';
import { median } from './statistics.ts';

export const SPACES = ['same', 'other'] as const;
export const CPUS = ['same', 'follow', 'spinning', 'parked'] as const;
/** [words, bytes leased]. */
export const SIZES = [[0, 0], [3, 0], [8, 0], [16, 0], [0, 4096]] as const;
export type Space = (typeof SPACES)[number];
export type Cpu = (typeof CPUS)[number];
/** Of the configurations: `cpu space words lease`. */
export const key = (space: string, cpu: string, words: number, lease: number): string => `${cpu} ${space} ${words} ${lease}`;
/** Caller and server take turns on one CPU. */
export const isLocal = (at: string): boolean => /^(same|follow) /.test(at);

/** MARK_* of microkernel/bench/root.ts. */
const MARK = { configuration: 0x100, cold: 0x101, coldEnd: 0x102, share: 0x103, shareEnd: 0x104, empty: 0x105, begin: 0x106, end: 0x107 } as const;

export interface LaunchPlan {
  readonly jit: 'on' | 'off';
  readonly cpus: readonly string[];
  /** Number of the configuration that comes first. */
  readonly rotate: number;
  /** Samples of a configuration: at most so many, and so long. */
  readonly batches: number;
  readonly limitUs: number;
  /** Round trips before the first sample, on one CPU and across CPUs; eight times as many before the first of its kind. */
  readonly warm: number;
  readonly warmFar: number;
}
/** Of one configuration in one launch. */
export interface Observed {
  /** ns of its first round trip. */
  readonly cold: number;
  /** ns per round trip, a sample each. */
  readonly samples: readonly number[];
  /** ns of the empty samples between them; their median has been taken off the others. */
  readonly empty: readonly number[];
  /** Instructions of the caller's CPU in untimed round trips after the warm-up: all, and those that ran in compiled regions. */
  readonly share: { readonly retired: number; readonly inRegions: number };
}
export interface Launch {
  readonly tier: 'tier0' | 'hot';
  readonly configurations: ReadonlyMap<string, Observed>;
  /** CPUs that other processes of the host used meanwhile, on average; null where that cannot be known. */
  readonly othersCpus: number | null;
}

/** Turns the marks of CPU 0 into numbers. */
export function readMarks(tier: 'tier0' | 'hot', records: Iterable<Pick<TraceRecord, 'ns' | 'id' | 'cpu' | 'retired' | 'words'>>, othersCpus: number | null): Launch {
  interface Raw { cold: number; trips: { ns: number; n: number }[]; empty: number[]; share: { retired: number; inRegions: number } }
  const raw = new Map<string, Raw>();
  let current: Raw | undefined, before: Pick<TraceRecord, 'ns' | 'retired' | 'words'> | undefined, count = 0;
  for (const record of records) {
    if (record.cpu !== 0 || record.id < TRACE_EVENT.mark + MARK.configuration || record.id > TRACE_EVENT.mark + MARK.end) continue;
    const mark = record.id - TRACE_EVENT.mark, [a, , , inRegions] = record.words;
    if (mark === MARK.configuration) {
      const [words, lease] = SIZES[a >>> 16]!;
      raw.set(key(SPACES[a >>> 8 & 1]!, CPUS[a & 0xff]!, words, lease), current = { cold: 0, trips: [], empty: [], share: { retired: 0, inRegions: 0 } });
    } else if (current !== undefined && before !== undefined) {
      const ns = record.ns - before.ns;
      if (mark === MARK.coldEnd) current.cold = ns;
      else if (mark === MARK.shareEnd) current.share = { retired: record.retired - before.retired >>> 0, inRegions: inRegions - before.words[3] >>> 0 };
      else if (mark === MARK.begin) { current.empty.push(ns); count = a; }
      else if (mark === MARK.end) current.trips.push({ ns, n: count });
    }
    before = record;
  }
  const configurations = new Map([...raw].map(([at, { cold, trips, empty, share }]): [string, Observed] => {
    const overhead = median(empty);
    return [at, { cold: Math.max(1, cold - overhead), samples: trips.map(({ ns, n }) => Math.max(1, (ns - overhead) / n)), empty, share }];
  }));
  return { tier, configurations, othersCpus };
}

const guest = (name: string): string => path.join(REPOSITORY_ROOT, 'build', 'guest', `${name}.elf`);

export async function launch(plan: LaunchPlan): Promise<Launch> {
  let output = '';
  const records: Uint8Array[] = [], times = processorTimes();
  const machine = createMachine({
    kernel: guest('kernel'), modules: [{ file: guest('ipc-bench'), string: 'root' }],
    cmdline: `quiet cpus=${plan.cpus.join(',')} rotate=${plan.rotate} batches=${plan.batches} limit=${plan.limitUs} warm=${plan.warm} warmfar=${plan.warmFar}`,
    cpus: plan.cpus.some((cpu) => cpu !== 'same') ? 2 : 1, mode: 'parallel', jit: plan.jit, memoryMiB: 64, timeoutMs: 120_000, com1: (bytes) => { output += Buffer.from(bytes).toString('latin1'); },
    trace: { points: [], marks: true, events: false, keep: 'stream', sink: (batch) => records.push(batch) },
  });
  const result = await machine.run().finally(() => machine.close());
  if (result.reason !== 'exit' || result.status !== 1) throw new IpcBenchError(`the guest ended with ${result.reason} ${result.status}${result.detail === undefined ? '' : ` (${result.detail})`}: ${output.slice(-400)}`);
  if (machine.traceLost > 0) throw new IpcBenchError(`${machine.traceLost} trace records were lost: the host did not get to read them`);
  return readMarks(plan.jit === 'on' ? 'hot' : 'tier0', (function* () { for (const batch of records) yield* readRecords(batch); })(), othersSince(times));
}
