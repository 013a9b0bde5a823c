/**
 * Page walks by generated code (vm/cpu/tier0/walk.ts) against those of TypeScript: random programs on page tables they change (paged-program.ts) end in the same state,
 * accessed and dirty bits and all memory included, whether generated code is permitted any or not. `KINTSUGI_FULL`: 2,000 seeds. A failure names its seed.
 */
import { afterEach, describe, expect, it } from 'vitest';
import { differences } from '../../vm/compare.ts';
import { Mmu } from '../../vm/cpu/mmu.ts';
import { pagedMachine, shapeOf } from './paged-program.ts';

const FULL = process.env['KINTSUGI_FULL'] !== undefined, SEEDS = FULL ? 2000 : 60, INSTRUCTIONS = 15_000;

/** The methods in question; not vitest's spies, which keep every machine that they ever saw. */
const mmu = Mmu.prototype as unknown as Record<'permitWalks' | 'slowRead' | 'slowWrite', (...args: unknown[]) => unknown>;
const { permitWalks, slowRead, slowWrite } = mmu;
afterEach(() => { Object.assign(mmu, { permitWalks, slowRead, slowWrite }); });

/** The machine after its program, and how many slow paths came to TypeScript. */
function run(seed: number, jit: 'off' | 'on', permitted: boolean): { readonly machine: ReturnType<typeof pagedMachine>; readonly typescript: number } {
  let typescript = 0;
  mmu.permitWalks = permitted ? permitWalks : (): void => undefined;
  mmu.slowRead = function (this: unknown, ...args): unknown { typescript++; return slowRead.apply(this, args); };
  mmu.slowWrite = function (this: unknown, ...args): unknown { typescript++; return slowWrite.apply(this, args); };
  const machine = pagedMachine(seed, jit);
  machine.runFor(INSTRUCTIONS);
  return { machine, typescript };
}

describe('page walks by generated code', () => {
  it('leave what those by TypeScript leave', { timeout: FULL ? 7_200_000 : 120_000 }, async () => {
    let spared = 0;
    for (let seed = 1; seed <= SEEDS; seed++) {
      const jit = seed % 2 === 0 ? 'on' as const : 'off' as const, generated = run(seed, jit, true), plain = run(seed, jit, false);
      try {
        if (generated.machine.hash() !== plain.machine.hash()) expect.fail(`seed ${seed}, jit ${jit}: ${differences(plain.machine, generated.machine, 8).map(({ where, a, b }) => `${where} ${a} ${b}`).join('; ')}`);
        if (!shapeOf(seed).pae) spared += plain.typescript - generated.typescript;
      } finally { generated.machine.close(); plain.machine.close(); }
      await new Promise(resolve => { setImmediate(resolve); });
    }
    // It is no comparison unless a good part of the walks was generated code's.
    expect(spared).toBeGreaterThan(SEEDS * 20);
  });
});
