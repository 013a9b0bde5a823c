/** Every workload, by the name that specs and workers use. */
import { OPERATIONS, operationWorkload, type Operation } from './operations.ts';
import { NET_OPERATIONS, netOperationWorkload, type NetOperation } from './net-operations.ts';
import { filesWorkload, type Workload } from './workload.ts';

export function workloadNamed(name: string): Workload {
  if (name === 'files') return filesWorkload();
  const operation = name.startsWith('sweep:') ? name.slice(6) : '';
  if ((OPERATIONS as readonly string[]).includes(operation)) return operationWorkload(operation as Operation);
  if ((NET_OPERATIONS as readonly string[]).includes(operation)) return netOperationWorkload(operation as NetOperation);
  throw new RangeError(`there is no workload ${name}`);
}
