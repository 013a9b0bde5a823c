/** Goodput under random loss (test/net/goodput.ts makes the table): virtual time from fixed seeds, so the figures are the same everywhere. */
import { expect, test } from 'vitest';
import { coreRate, formulaRate } from './rate.ts';

test.each(['CUBIC', 'NewReno'] as const)('%s, one frame in a hundred lost, a round trip of 20 ms: within a fifth of the formula, or above', async (congestion) => {
  const rates: number[] = [];
  for (const seed of [1, 2, 3]) rates.push(await coreRate(congestion, { lossPercent: 1, delayMs: 10 }, 4_000_000, seed));
  expect(rates.reduce((a, b) => a + b, 0) / rates.length).toBeGreaterThan(0.8 * formulaRate(1, 20)!);
}, 120_000);
