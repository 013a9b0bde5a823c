/**
 * From a spec and a golden trace to the list of experiments. Experiment i strikes target i mod T with model (i div T) mod M: every pair gets
 * its share, whatever n is. What it does there is a function of (seed, i) alone.
 */
import type { Golden, OwnPages, Trace } from './golden.ts';
import type { Point } from './experiment.ts';
import { MODELS } from './models/index.ts';
import { KERNEL, TargetTrace } from './points.ts';
import { Random } from './random.ts';
import type { Spec } from './spec.ts';
import { SpecError } from './spec.ts';

export interface Plan {
  readonly points: readonly Point[];
  /** Targets of the spec that execute nothing in this workload; no experiment was planned for them. */
  readonly idle: readonly string[];
  /** Instructions each target retires in the golden run: the fault space in time. */
  readonly instructions: ReadonlyMap<string, number>;
}

export function makePlan(spec: Spec, golden: Golden, trace: Trace, pages: OwnPages): Plan {
  const all = spec.targets.map((name) => new TargetTrace(golden, trace, name));
  const targets = all.filter(({ instructions }) => instructions > 0), idle = all.filter(({ instructions }) => instructions === 0).map(({ name }) => name);
  if (targets.length === 0) throw new SpecError('target', `${idle.join(', ')} execute${idle.length === 1 ? 's' : ''} nothing in this workload`);
  const points = Array.from({ length: spec.n }, (_, index): Point => {
    const target = targets[index % targets.length]!, model = MODELS.get(spec.models[Math.floor(index / targets.length) % spec.models.length]!)!;
    const fault = model.plan({
      golden, trace, target, trigger: spec.trigger, random: new Random(spec.seed, index),
      pages: (cr3) => pages.get(target.name === KERNEL ? 0 : cr3) ?? [],
    });
    return { index, target: model.strikes ?? target.name, model: model.name, fault };
  });
  return { points, idle, instructions: new Map(all.map(({ name, instructions }) => [name, instructions])) };
}
