/**
 * A fault model: what is broken. `plan` decides everything at planning time, from the golden trace and a stream of random numbers; the
 * decision is plain data (`Fault`), stored with the row, and `place` does it to a machine that stands at the point.
 */
import type { Random } from '../random.ts';
import type { Golden, Trace } from '../golden.ts';
import type { Moment, TargetTrace } from '../points.ts';
import type { Subject } from '../subject.ts';

/** When a fault strikes, from the spec. */
export type Trigger =
  | { readonly kind: 'uniform' }
  | { readonly kind: 'instruction'; readonly number: number }
  | { readonly kind: 'symbol'; readonly symbol: string; readonly hit: number }
  | { readonly kind: 'ipc'; readonly nth: number }
  | { readonly kind: 'disk'; readonly nth: number };

/** The plan of one experiment's fault. `parameters` are the model's own and must survive JSON. */
export interface Fault {
  readonly offset: number;
  readonly cpu: number;
  /** What must be found at the point, else the laboratory is wrong: EIP, address space, ring. -1: not checked (the machine may be idle). */
  readonly eip: number;
  readonly cr3: number;
  readonly user: boolean;
  /** For people: `eax bit 7`, `mov eax, [esp+4] -> nop`. */
  readonly detail: string;
  readonly parameters: Readonly<Record<string, number | string | readonly number[]>>;
}
export interface PlanContext {
  readonly golden: Golden;
  readonly trace: Trace;
  readonly target: TargetTrace;
  readonly trigger: Trigger;
  readonly random: Random;
  /** Pages of the target's memory that hold anything, from the image of memory at the beginning of the workload. */
  readonly pages: (cr3: number) => readonly number[];
}
export interface FaultModel {
  readonly name: string;
  readonly about: string;
  /** May strike ring 0. */
  readonly kernel: boolean;
  /** What it strikes when that is not the target. */
  readonly strikes?: string;
  /** undefined: there is no such point (nothing to break); the row is `not-activated`. */
  plan(context: PlanContext): Fault | undefined;
  /** Does it. False: it turned out not to be possible. A result that is a function is called when the experiment is over. */
  place(subject: Subject, fault: Fault): boolean | (() => void);
}

export class TriggerError extends Error {
  override readonly name = 'TriggerError';
  readonly reason = 'trigger';
}

/** The target's instruction at which a trigger fires; models that need a special instruction look from there on. */
export function momentOf({ target, trigger, random }: PlanContext): Moment | undefined {
  if (target.instructions === 0) return undefined;
  switch (trigger.kind) {
    case 'uniform': return target.moment(random.below(target.instructions));
    case 'instruction':
      if (trigger.number >= target.instructions) throw new TriggerError(`trigger.number: ${target.name} retires only ${target.instructions} instructions in the golden run`);
      return target.moment(trigger.number);
    case 'symbol': {
      const address = target.module.symbol(trigger.symbol);
      if (address === undefined) throw new TriggerError(`trigger.symbol: ${target.name} has no function "${trigger.symbol}", or several; see the names in build/guest/${target.module.name}.dbg.json`);
      const hits = target.hits(address);
      if (trigger.hit > hits.length) throw new TriggerError(`trigger.hit: ${target.name} enters ${trigger.symbol} only ${hits.length} times in the golden run`);
      return hits[trigger.hit - 1];
    }
    case 'ipc': case 'disk': throw new TriggerError(`trigger.kind: "${trigger.kind}" goes with the ${trigger.kind} models only`);
  }
}
export const faultAt = (moment: Moment, detail: string, parameters: Fault['parameters']): Fault =>
  ({ offset: moment.offset, cpu: moment.cpu, eip: moment.eip, cr3: moment.owner.space.cr3, user: !moment.owner.kernel, detail, parameters });
