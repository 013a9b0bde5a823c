/** Random programs give the same results, memory and globals natively as in Node. A failure prints the seed; KINTSUGI_SEED repeats it. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { trial } from './random.ts';

describe('random programs', () => {
  const seed = process.env['KINTSUGI_SEED'];
  const run = (floats: boolean, runs: number): void => {
    fc.assert(fc.property(fc.integer({ min: 0, max: 2 ** 31 - 1 }), (s) => {
      const d = trial(s, floats, 30);
      expect(d.slice(0, 3), `seed ${s}`).toEqual([]);
    }), seed === undefined ? { numRuns: runs, endOnFailure: true } : { numRuns: 1, examples: [[Number(seed)]] });
  };
  const runs = process.env['KINTSUGI_FULL'] === undefined ? 5 : 100;
  it('of integers agree with wasm', () => run(false, runs));
  it('of integers and floats agree with wasm', () => run(true, runs));
});
