/** Every workload, by the name that specs and workers use. */
import { OPERATIONS, operationWorkload, type Operation } from './operations.ts';
import { NET_OPERATIONS, netOperationWorkload, type NetOperation } from './net-operations.ts';
import { netWorkload } from './net-workload.ts';
import { filesWorkload, type Workload } from './workload.ts';

/** Those of campaigns. */
export const WORKLOADS = ['files', 'net'] as const;
export type WorkloadName = (typeof WORKLOADS)[number];

export function workloadNamed(name: string): Workload {
  if (name === 'files') return filesWorkload();
  if (name === 'net') return netWorkload();
  const operation = name.startsWith('sweep:') ? name.slice(6) : '';
  if ((OPERATIONS as readonly string[]).includes(operation)) return operationWorkload(operation as Operation);
  if ((NET_OPERATIONS as readonly string[]).includes(operation)) return netOperationWorkload(operation as NetOperation);
  throw new RangeError(`there is no workload ${name}`);
}
