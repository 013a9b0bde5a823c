/**
 * The same seed and the same image give the same state hash: a boot with a shell workload of 20 million instructions and more, with
 * tier 0 only, with the JIT, and mixed, on 1 and on 4 vCPUs. KINTSUGI_FULL makes 50 double runs in each of the three ways, a seed each
 * (600 runs, about half an hour on two idle cores).
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { runCommand } from '../../tools/cli/run.ts';
import { ensureGuest } from '../../tools/cli/guest.ts';
import type { SystemOptions } from '../../tools/cli/system.ts';

const options = (smp: number, seed: number, jit: SystemOptions['jit']): SystemOptions =>
  ({ place: 'pin', smp, memoryMiB: 128, deterministic: true, seed, timeoutSeconds: 240, jit, jitHeat: 4_000, append: '' }); // regions early and everywhere
const workload = ['sh', '-c', 'ls -l /bin > /tmp/list; wc -l < /tmp/list; sha256sum /tmp/list /bin/sh; cp /bin/sh /tmp/copy; mv /tmp/copy /tmp/moved; sha256sum < /tmp/moved; rm /tmp/moved; exit 7'];
const reproduce = (smp: number, seed: number, jit: string): string => `./kintsugi run --deterministic --seed ${seed} --smp ${smp} --jit ${jit} --json -- ${workload.map((w) => JSON.stringify(w)).join(' ')}`;

beforeAll(() => ensureGuest(), 600_000);

describe('a deterministic run', () => {
  const full = process.env['KINTSUGI_FULL'] !== undefined;
  const seeds = full ? Array.from({ length: 50 }, (_, i) => i + 1) : [1, 2];
  const ways: readonly SystemOptions['jit'][] = full ? ['off', 'on', 'mixed', 'off', 'on', 'mixed'] : ['off', 'on', 'mixed', 'on'];
  for (const smp of [1, 4]) {
    it(`has one hash per seed, whatever the tier, on ${smp} vCPU(s)`, async () => {
      const bySeed = new Map<number, string>();
      for (const seed of seeds) {
        for (const jit of ways) {
          const outcome = await runCommand(options(smp, seed, jit), workload);
          expect(outcome.exit, `${reproduce(smp, seed, jit)}\n${outcome.log}\n${outcome.stderr}`).toBe(7);
          expect(outcome.instructions).toBeGreaterThan(20_000_000);
          const before = bySeed.get(seed) ?? outcome.stateHash;
          expect(outcome.stateHash, reproduce(smp, seed, jit)).toBe(before);
          bySeed.set(seed, before);
        }
      }
      if (smp > 1) expect(new Set(bySeed.values()).size).toBeGreaterThan(1);
    }, full ? 7_200_000 : 600_000);
  }
});
