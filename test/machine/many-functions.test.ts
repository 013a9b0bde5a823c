/** A guest that generates functions without end, calls each once and some of them often: what is kept of its code stays within fixed bounds. A million of them with KINTSUGI_FULL. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import type { Engine } from '../../vm/cpu/engine.ts';
import { S } from '../../vm/cpu/state.ts';
import { CODE } from './bare.ts';
import { FIRST, functionsMachine } from './functions.ts';

const FULL = process.env['KINTSUGI_FULL'] !== undefined;
describe('a million functions', () => {
  it.each(FULL ? [1_000_000] : [60_000])('%i of them: pool, templates, regions and lists stay within their bounds', { timeout: 300_000 }, (functions) => {
    const machine = functionsMachine(functions), engine = machine.engines[0] as Engine;
    for (;;) {
      const { pause } = machine.runFor(500_000), sizes = engine.cacheSizes;
      expect(sizes.poolBytes).toBeLessThanOrEqual(32 << 20);
      expect(sizes.insns).toBeLessThanOrEqual(1 << 20);
      expect(sizes.templateRecords).toBeLessThanOrEqual(2 << 16);
      expect(sizes.mmioInsns).toBeLessThanOrEqual(1 << 16);
      expect(sizes.pages).toBeLessThanOrEqual(machine.board.ramBytes / 4096);
      expect(sizes.forms).toBeLessThan(5000);
      const { jit } = sizes;
      for (const [what, most] of [['regions', 1500], ['modules', 1000], ['dead', 400], ['seen', 400], ['heat', 1 << 15], ['refused', 1 << 15], ['apart', 1 << 15]] as const) expect(jit![what], what).toBeLessThanOrEqual(most);
      if (pause !== 'limit') break;
    }
    expect([machine.stopReason, machine.cpus.words(0)[S.ebx >> 2], machine.board.ramWords[FIRST >> 2]! & 0xff]).toEqual(['exit', functions, 0xb8]);
    expect(machine.cpus.words(0)[S.countBlocks >> 2]! + machine.cpus.words(0)[S.countCopied >> 2]!).toBeGreaterThan(functions);
    expect(CODE).toBeLessThan(FIRST);
    machine.close();
  });
  // Of a process of its own: 110 MiB are Node with this program, 64 the guest's functions. 385 MiB were measured, 323 without the JIT.
  it.skipIf(!FULL).each(['on', 'off'] as const)('a million of them in less than 450 MiB of resident memory (jit %s)', { timeout: 300_000 }, (jit) => {
    const { stdout, stderr, status } = spawnSync(process.execPath, [fileURLToPath(new URL('functions.ts', import.meta.url)), '1000000', jit], { encoding: 'utf8' });
    expect(status, stderr).toBe(0);
    const { functions, residentMiB } = JSON.parse(stdout) as { functions: number; residentMiB: number };
    console.log(`a million functions, jit ${jit}: ${residentMiB} MiB resident at most`);
    expect(functions).toBe(1_000_000);
    expect(residentMiB).toBeLessThan(450);
  });
});
