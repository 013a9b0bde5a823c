/**
 * A campaign: golden run, plan, workers, record. The points are sorted by their place in the golden run and handed out in batches, so every
 * worker walks the run once, forward. Results do not depend on the number of workers or on which of them ran what.
 */
import { Worker } from 'node:worker_threads';
import { workerUrl } from '../../vm/entry.ts';
import { ensureGuest } from '../cli/guest.ts';
import type { CampaignMessage, CampaignOrder, CampaignWorkerData } from './campaign.worker.ts';
import type { Point, Result } from './experiment.ts';
import { imageHash, runGolden, type Golden, type OwnPages, type Trace } from './golden.ts';
import { makePlan, type Plan } from './plan.ts';
import { CAMPAIGNS, Store, campaignId, rowOf, workloadImage, type Row } from './store.ts';
import type { Spec } from './spec.ts';
import type { Workload } from './workload.ts';
import { workloadNamed } from './workloads.ts';

const BATCH = 12;

export interface CampaignOptions {
  readonly workers: number;
  /** Told after every batch. */
  readonly progress?: (done: number, total: number, rows: readonly Row[]) => void;
  readonly log?: (line: string) => void;
  /** Where campaigns are kept. */
  readonly root?: string;
}
export interface CampaignReport {
  readonly id: string;
  /** Hash of the images it ran on (golden.ts imageHash). */
  readonly images: string;
  readonly spec: Spec;
  readonly rows: readonly Row[];
  readonly idle: readonly string[];
  /** Instructions of the golden run; of each target. */
  readonly golden: number;
  readonly instructions: ReadonlyMap<string, number>;
  /** Experiments run now (not found in the record), seconds they took, CPU seconds of all threads meanwhile. */
  readonly ran: number;
  readonly seconds: number;
  readonly cpuSeconds: number;
}

export class CampaignError extends Error {
  override readonly name = 'CampaignError';
  readonly reason = 'campaign';
}

/** Everything that comes before the first experiment. */
export interface Prepared { readonly id: string; readonly images: string; readonly workload: Workload; readonly golden: Golden; readonly trace: Trace; readonly plan: Plan }
export function prepareCampaign(spec: Spec, log: (line: string) => void = () => undefined): Prepared {
  ensureGuest();
  const workload = workloadNamed(spec.workload), disk = workloadImage(workload), images = imageHash(disk);
  const { golden, trace, pages } = goldenOf(spec, workload, disk, images);
  log(`golden run: ${golden.length} instructions, twice the same (tier 0 and JIT, ${golden.rungs.length + 1} hashes)`);
  return { id: campaignId(spec, images), images, workload, golden, trace, plan: makePlan(spec, golden, trace, pages) };
}
/** Golden runs of this process, by what decides them: a second campaign on the same images need not make them again. */
const goldens = new Map<string, { golden: Golden; trace: Trace; pages: OwnPages }>();
function goldenOf(spec: Spec, workload: Workload, disk: string, images: string): { golden: Golden; trace: Trace; pages: OwnPages } {
  const options = { cpus: spec.cpus, scheduleSeed: spec.scheduleSeed, memoryMiB: spec.memoryMiB, boundMs: spec.boundMs, disk, command: workload.command, ...(workload.net === undefined ? {} : { net: workload.net }) };
  const key = JSON.stringify([images, options]);
  let found = goldens.get(key);
  if (!found) goldens.set(key, found = runGolden(options, workload.stdout));
  return found;
}

export async function runCampaign(spec: Spec, options: CampaignOptions): Promise<CampaignReport> {
  const { id, images, golden, plan } = prepareCampaign(spec, options.log);
  const store = Store.create(id, spec, images, options.root ?? CAMPAIGNS);
  try {
    const done = store.done();
    const todo = plan.points.filter(({ index }) => !done.has(index)).sort((a, b) => (a.fault?.offset ?? 0) - (b.fault?.offset ?? 0) || a.index - b.index);
    if (done.size > 0) options.log?.(`campaign ${id}: ${done.size} of ${plan.points.length} experiments are in the record, ${todo.length} to do`);
    const started = performance.now(), cpu = process.cpuUsage();
    let count = 0;
    await runWorkers(golden, spec.workload, todo, options.workers, true, (results) => {
      const rows = results.map((result) => rowOf(id, plan.points[result.index]!, result));
      store.add(rows);
      count += rows.length;
      options.progress?.(done.size + count, plan.points.length, rows);
    });
    const used = process.cpuUsage(cpu);
    return {
      id, images, spec, rows: store.rows(), idle: plan.idle, golden: golden.length, instructions: plan.instructions,
      ran: todo.length, seconds: (performance.now() - started) / 1000, cpuSeconds: (used.user + used.system) / 1e6,
    };
  } finally { store.close(); }
}

/** Hands `points` (ascending) out to at most `most` workers. `hashing`: results carry a state hash. */
export async function runWorkers(golden: Golden, workload: string, points: readonly Point[], most: number, hashing: boolean, onResults: (results: readonly Result[]) => void): Promise<void> {
  const count = Math.max(1, Math.min(most, Math.ceil(points.length / BATCH)));
  if (points.length === 0) return;
  let next = 0;
  const one = (): Promise<void> => new Promise((resolve, reject) => {
    const worker = new Worker(workerUrl('tools/lab/campaign.worker.ts'), { workerData: { golden, workload, hashing } satisfies CampaignWorkerData, execArgv: [] });
    const send = (order: CampaignOrder): void => worker.postMessage(order);
    const more = (): void => {
      const batch = points.slice(next, next + BATCH);
      next += batch.length;
      send(batch.length > 0 ? { kind: 'batch', points: batch } : { kind: 'end' });
    };
    worker.on('message', (message: CampaignMessage) => {
      if (message.kind === 'ready') {
        if (message.error !== undefined) { reject(new CampaignError(message.error)); void worker.terminate(); return; }
      } else onResults(message.results);
      more();
    });
    worker.on('error', reject);
    worker.on('exit', () => resolve());
  });
  await Promise.all(Array.from({ length: count }, one));
}
