/** Errors of the disk itself: the transfer fails and the device answers IOERR, once. */
import type { FaultModel } from './model.ts';
import { TriggerError } from './model.ts';

export const diskError: FaultModel = {
  name: 'disk.error', about: 'one transfer of the disk fails with an I/O error', kernel: false, strikes: 'disk',
  plan({ trace, trigger, random }) {
    const { transfers } = trace;
    if (transfers.length === 0) return undefined;
    if (trigger.kind === 'disk' && trigger.nth > transfers.length) throw new TriggerError(`trigger.nth: the golden run makes only ${transfers.length} disk transfers`);
    if (trigger.kind !== 'disk' && trigger.kind !== 'uniform') throw new TriggerError(`trigger.kind: disk.error goes with "uniform" or "disk", not "${trigger.kind}"`);
    const n = trigger.kind === 'disk' ? trigger.nth - 1 : random.below(transfers.length);
    const { at, operation, offset, bytes } = transfers[n]!;
    // The device moves data between two rounds, when the vCPUs stand still: nothing to check at the point.
    return { offset: at, cpu: 0, eip: -1, cr3: 0, user: false, detail: `${operation} of ${bytes} bytes at ${offset} (transfer ${n + 1})`, parameters: { operation, offset } };
  },
  place(subject, { parameters }) {
    const { disk } = subject;
    disk.intercept = (operation, offset) => {
      if (operation !== parameters['operation'] || offset !== parameters['offset']) return false;
      disk.intercept = undefined;
      return true;
    };
    return () => { disk.intercept = undefined; };
  },
};
