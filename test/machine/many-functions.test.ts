/** A guest that generates functions without end, calls each once and some of them often: what is kept of its code stays within fixed bounds. A million of them with KINTSUGI_FULL. */
import { describe, expect, it } from 'vitest';
import type { Engine } from '../../vm/cpu/engine.ts';
import { S } from '../../vm/cpu/state.ts';
import { bareMachine, CODE, le32 } from './bare.ts';

const FULL = process.env['KINTSUGI_FULL'] !== undefined;
const FIRST = 0x20_0000, SPACING = 64;

/** for (ebx = 0; ebx < n; ebx++) { [edi] = "mov eax, ebx; in al, 61h; ret"; call edi; edi += 64 } Then debug exit. */
const generator = (n: number): number[] => {
  const loop = [0xc6, 0x07, 0xb8, 0x89, 0x5f, 0x01, 0xc7, 0x47, 0x05, 0xe4, 0x61, 0xc3, 0x90, 0xff, 0xd7, 0x03, 0xe8, 0x83, 0xc7, SPACING, 0x43, 0x81, 0xfb, ...le32(n), 0x75];
  return [0xbc, ...le32(0x9_0000), 0xbf, ...le32(FIRST), 0x31, 0xdb, 0x31, 0xed, ...loop, -(loop.length + 1) & 0xff, 0xb0, 1, 0xe6, 0xf4];
};

describe('a million functions', () => {
  it.each(FULL ? [1_000_000] : [60_000])('%i of them: pool, templates, regions and lists stay within their bounds', { timeout: 300_000 }, (functions) => {
    const machine = bareMachine(generator(functions), { memoryMiB: 4 + Math.ceil(functions * SPACING / 2 ** 20), jitHeat: 2000 }), engine = machine.engines[0] as Engine, before = process.memoryUsage().rss;
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
    if (FULL) console.log(`resident memory: ${Math.round(before / 2 ** 20)} MiB before, ${Math.round(process.memoryUsage().rss / 2 ** 20)} MiB after`, engine.cacheSizes);
    expect(CODE).toBeLessThan(FIRST);
    machine.close();
  });
});
