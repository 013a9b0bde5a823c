/**
 * Were the launches of a measurement taken on a steady machine? Judged by warm figures alone: the overhead of a sample and a reference row of
 * tier 0, whose code is the same in every launch. (Rows with the JIT are not asked: which regions there are differs from launch to launch.)
 *
 * A launch is disturbed when the median of one of them is TOLERANCE times what the quieter launches of the tier have, or when the reference row spreads
 * as much within the launch. (The spread of the overhead is not asked: it is one part in forty of a sample, and in the spread of the row.)
 * Medians over ten launches bear a few of these: more than DISTURBED_SHARE is not steady.
 */
import type { Launch } from './launch.ts';
import { isLocal, key } from './launch.ts';
import { median, quantile } from './statistics.ts';

/** The same measurement may take this much longer in one launch than in another, and in one sample out of ten. */
export const TOLERANCE = 1.5;
export const DISTURBED_SHARE = 0.2;

export interface Disturbance { readonly launch: number; readonly what: string }
export interface LaunchStability {
  readonly disturbed: readonly Disturbance[];
  readonly steady: boolean;
  readonly reason?: string;
}

const ns = (value: number): string => `${value.toFixed(0)} ns`;
/** Launches as they were made, of both tiers. */
export function stabilityOfLaunches(launches: readonly Launch[]): LaunchStability {
  const disturbed: Disturbance[] = [];
  const overhead = ({ configurations }: Launch): number[] => {
    const all = [...configurations], local = all.filter(([at]) => isLocal(at));
    return (local.length > 0 ? local : all).flatMap(([, { empty }]) => empty);
  };
  const reference = ({ configurations }: Launch): readonly number[] => (configurations.get(key('other', 'same', 3, 0)) ?? [...configurations].find(([at]) => isLocal(at))?.[1])?.samples ?? [];
  for (const [tier, title, samplesOf, within] of [['tier0', 'the overhead of a sample', overhead, false], ['hot', 'the overhead of a sample', overhead, false], ['tier0', 'a round trip on one CPU without JIT', reference, true]] as const) {
    const of = launches.map((launch, number) => ({ launch, number })).filter(({ launch }) => launch.tier === tier).map(({ launch, number }) => ({ number, samples: samplesOf(launch) })).filter(({ samples }) => samples.length > 0);
    const typical = quantile(of.map(({ samples }) => median(samples)), 0.25); // when half of them are disturbed still one that is not
    for (const { number, samples } of of) {
      const here = median(samples), slow = quantile(samples, 0.9);
      if (here > typical * TOLERANCE) disturbed.push({ launch: number, what: `${title} takes ${ns(here)} in it, ${ns(typical)} in others (${tier})` });
      else if (within && slow > here * TOLERANCE) disturbed.push({ launch: number, what: `${title} takes ${ns(here)} or, one time in ten, ${ns(slow)} (${tier})` });
    }
  }
  disturbed.sort((a, b) => a.launch - b.launch);
  const count = new Set(disturbed.map(({ launch }) => launch)).size;
  if (count <= launches.length * DISTURBED_SHARE) return { disturbed, steady: true };
  const worst = Math.max(0, ...launches.map(({ othersCpus }) => othersCpus ?? 0));
  return {
    disturbed, steady: false,
    reason: `${count} of ${launches.length} launches were disturbed, the first of them launch ${disturbed[0]!.launch + 1}: ${disturbed[0]!.what}${worst >= 0.1 ? `; other processes used up to ${worst.toFixed(1)} CPUs meanwhile` : ''}`,
  };
}
