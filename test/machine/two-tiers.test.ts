/**
 * Random programs on their own page tables (paged-program.ts) in tier 0 and with regions made early, on one and two vCPUs: the state is the same at every cut, wherever
 * the cuts are. `KINTSUGI_FULL`: 4,000 seeds. A failure names its seed.
 */
import { describe, expect, it } from 'vitest';
import { S } from '../../vm/cpu/state.ts';
import { differences } from '../../vm/compare.ts';
import type { DeterministicMachine } from '../../vm/machine.ts';
import { Random } from '../net/generator.ts';
import { compileHere } from './hostile-program.ts';
import { checksum, pagedMachine, shapeOf } from './paged-program.ts';

const FULL = process.env['KINTSUGI_FULL'] !== undefined, SEEDS = FULL ? 4000 : 30, INSTRUCTIONS = 15_000;

interface Seen { readonly inRegions: number; readonly faults: number; readonly sum: number }
/** Tier 0, regions as soon as may be, and tier 0 in one piece. */
function race(seed: number): Seen {
  const x = new Random(seed * 7919), longest = x.pick([100, 1000, 10_000]), mode = x.pick(['on', 'mixed'] as const), { cpus } = shapeOf(seed);
  const plain = pagedMachine(seed, 'off'), regional = pagedMachine(seed, mode), machines = [plain, regional];
  const compare = (other: DeterministicMachine, what: string): void => {
    if (other.hash() !== plain.hash()) expect.fail(`seed ${seed}, ${what}, by instruction ${plain.instructions}: ${differences(plain, other, 8).map(({ where, a, b }) => `${where} ${a} ${b}`).join('; ')}`);
  };
  try {
    let pause = 'limit';
    while (pause === 'limit' && plain.instructions < INSTRUCTIONS) {
      const piece = 1 + x.below(longest);
      pause = plain.runFor(piece).pause;
      expect({ seed, pause: regional.runFor(piece).pause, instructions: regional.instructions }).toEqual({ seed, pause, instructions: plain.instructions });
      compare(regional, `jit ${mode}`);
      if (pause === 'limit') for (let cpu = 0; cpu < cpus; cpu++) if (x.chance(400)) compileHere(regional, cpu);
    }
    const whole = pagedMachine(seed, 'off');
    machines.push(whole);
    whole.runFor(plain.instructions + (pause === 'limit' ? 0 : 1));
    compare(whole, 'in one piece');
    const counted = (m: DeterministicMachine, at: number): number => Array.from({ length: cpus }, (_, cpu) => m.cpus.words(cpu)[at >> 2]!).reduce((sum, n) => sum + n, 0);
    return { inRegions: counted(regional, S.countInRegions), faults: counted(plain, S.countFaults), sum: checksum(plain) };
  } finally { for (const m of machines) m.close(); }
}

describe('programs on page tables they change', () => {
  it('run alike in both tiers', { timeout: FULL ? 7_200_000 : 240_000 }, () => {
    const seen: Seen[] = [];
    for (let seed = 1; seed <= SEEDS; seed++) seen.push(race(seed));
    expect(seen.reduce((sum, { inRegions }) => sum + inRegions, 0)).toBeGreaterThan(10_000);
    expect(seen.reduce((sum, { faults }) => sum + faults, 0)).toBeGreaterThan(1000);
    expect(new Set(seen.map(({ sum }) => sum)).size).toBeGreaterThan(SEEDS / 2);
  });
});
