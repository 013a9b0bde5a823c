/** One worker of a campaign: a machine of its own, batches of points in ascending order, results back. Messages: see CampaignMessage. */
import { parentPort, workerData } from 'node:worker_threads';
import { Executor, type Point, type Result } from './experiment.ts';
import type { Golden } from './golden.ts';
import { workloadNamed } from './workloads.ts';

export interface CampaignWorkerData { readonly golden: Golden; readonly workload: string; /** Results carry a state hash. */ readonly hashing: boolean }
export type CampaignMessage = { readonly kind: 'ready'; readonly error?: string } | { readonly kind: 'results'; readonly results: readonly Result[] };
export type CampaignOrder = { readonly kind: 'batch'; readonly points: readonly Point[] } | { readonly kind: 'end' };

const port = parentPort!;
const { golden, workload, hashing } = workerData as CampaignWorkerData;
let executor: Executor | undefined;
try {
  executor = new Executor(golden, workloadNamed(workload), undefined, hashing);
  port.postMessage({ kind: 'ready' } satisfies CampaignMessage);
} catch (error) {
  port.postMessage({ kind: 'ready', error: error instanceof Error ? error.message : String(error) } satisfies CampaignMessage);
}
port.on('message', (order: CampaignOrder) => {
  if (order.kind === 'end') { executor?.close(); port.close(); return; }
  const results = order.points.map((point) => runGuarded(executor!, point));
  port.postMessage({ kind: 'results', results } satisfies CampaignMessage);
});

/** A failure of the laboratory is a result too: `tool-error`, with the reason. The machine is at the point again. */
export function runGuarded(on: Executor, point: Point): Result {
  try { return on.run(point); } catch (error) {
    return {
      index: point.index, outcome: 'tool-error', detectInstructions: undefined, detectedIn: undefined, recoverInstructions: undefined, restarts: 0, stateHash: '', ended: 0,
      note: error instanceof Error ? (error.stack ?? error.message).split('\n').slice(0, 2).join(' ') : String(error),
    };
  }
}
