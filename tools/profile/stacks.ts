/** Stack samples as other tools read them: collapsed lines (flamegraph.pl, inferno, speedscope) and the speedscope file format. */
import type { Collected } from './collect.ts';

/** `server;outer;inner WEIGHT`, one line a stack; kernel frames are marked `_[k]`, as perf does. */
export function collapsed({ frames, stacks, samples }: Collected): string {
  const weights = new Map<number, number>();
  for (const { stack, weight } of samples) weights.set(stack, (weights.get(stack) ?? 0) + weight);
  return [...weights].map(([stack, weight]) => `${stacks[stack]!.map((n, depth) => { const { party, name } = frames[n]!; return `${name.replaceAll(';', ':')}${depth > 0 && party === 'kernel' ? '_[k]' : ''}`; }).join(';')} ${weight}\n`).sort().join('');
}

/** https://www.speedscope.app/file-format-schema.json: one sampled profile a vCPU, weights are instructions. */
export interface SpeedscopeFile {
  readonly $schema: 'https://www.speedscope.app/file-format-schema.json';
  readonly name: string;
  readonly exporter: string;
  readonly activeProfileIndex: number;
  readonly shared: { readonly frames: readonly { readonly name: string; readonly file?: string; readonly line?: number }[] };
  readonly profiles: readonly {
    readonly type: 'sampled'; readonly name: string; readonly unit: 'none'; readonly startValue: number; readonly endValue: number;
    readonly samples: readonly (readonly number[])[]; readonly weights: readonly number[];
  }[];
}
export function speedscope({ frames, stacks, samples }: Collected, name: string): SpeedscopeFile {
  const cpus = [...new Set(samples.map(({ cpu }) => cpu))].sort((a, b) => a - b);
  return {
    $schema: 'https://www.speedscope.app/file-format-schema.json', name, exporter: 'kintsugi profile', activeProfileIndex: 0,
    shared: { frames: frames.map(({ party, name: frame, file, line }) => ({ name: party === 'kernel' && frame !== 'kernel' ? `[kernel] ${frame}` : frame, ...(file === '' ? {} : { file, line }) })) },
    profiles: cpus.map((cpu) => {
      const own = samples.filter((sample) => sample.cpu === cpu), weights = own.map(({ weight }) => weight);
      return { type: 'sampled', name: `CPU ${cpu}, instructions`, unit: 'none', startValue: 0, endValue: weights.reduce((a, b) => a + b, 0), samples: own.map(({ stack }) => stacks[stack]!), weights };
    }),
  };
}
