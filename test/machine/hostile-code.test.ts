/**
 * Random guest code in rings 0 and 3, with random descriptor tables, gates, task state and page tables, in tier 0 and in regions: it ends by the limit, by a triple fault, by HLT or
 * by a port that stops the machine, never by an exception of ours, and both agree in every bit of state. `KINTSUGI_FULL`: 4,000 seeds; a failure names its seed.
 */
import { describe, expect, it } from 'vitest';
import { S, STORM } from '../../vm/cpu/state.ts';
import type { DeterministicMachine } from '../../vm/machine.ts';
import { Random } from '../net/generator.ts';
import { bareKernel, CODE, le32 } from './bare.ts';
import { compileHere, hostileMachine } from './hostile-program.ts';
import { createMachine } from '../../vm/machine.ts';

const FULL = process.env['KINTSUGI_FULL'] !== undefined, INSTRUCTIONS = 12_000;
/** Those that once ended in two states: the time of a device that a fault pushed to, the last x87 instruction in front of a REP. */
const MENDED = [251, 760, 1010, 1065, 1272, 1550], SEEDS = [...Array.from({ length: FULL ? 4000 : 20 }, (_, n) => n + 1), ...MENDED];

/** Tier 0 and a machine that makes regions early, cut at the same random places and compared at each. */
function race(seed: number): { readonly pause: string; readonly inRegions: number } {
  const x = new Random(seed * 7919), longest = x.pick([100, 1000, 3000]), mode = x.pick(['on', 'mixed'] as const);
  const plain = hostileMachine(seed, 'off'), regional = hostileMachine(seed, mode);
  try {
    for (;;) {
      const piece = 1 + x.below(longest), from = plain.instructions, { pause } = plain.runFor(piece);
      const seen = (m: DeterministicMachine, paused: string): object => ({ seed, from, pause: paused, instructions: m.instructions, hash: m.hash() });
      expect(seen(regional, regional.runFor(piece).pause), `jit ${mode}`).toEqual(seen(plain, pause));
      if (pause !== 'limit' || plain.instructions >= INSTRUCTIONS) return { pause: `${pause} ${plain.stopReason ?? ''}`.trim(), inRegions: regional.cpus.words(0)[S.countInRegions >> 2]! };
      if (x.chance(300)) compileHere(regional);
    }
  } finally { plain.close(); regional.close(); }
}

describe('random code', () => {
  it('with random tables: ends by itself, in tier 0 and in regions alike', { timeout: FULL ? 3_600_000 : 240_000 }, () => {
    const ends = new Map<string, number>();
    let inRegions = 0;
    for (const seed of SEEDS) {
      try {
        const end = race(seed);
        inRegions += end.inRegions;
        ends.set(end.pause, (ends.get(end.pause) ?? 0) + 1);
      } catch (cause) { throw cause instanceof Error && cause.name === 'AssertionError' ? cause : new Error(`seed ${seed}: ${cause instanceof Error ? cause.stack : String(cause)}`, { cause }); }
    }
    expect(ends.get('stopped shutdown')).toBeGreaterThan(1);
    expect(ends.get('limit')).toBeGreaterThan(1);
    expect(inRegions).toBeGreaterThan(2000);
  });

  it.each(['off', 'on'] as const)('a handler that faults at its first instruction, on a stack that wraps, does not keep the host for ever (jit %s)', async (jit) => {
    // lidt, stack segment of 64 KiB, ud2; the handler of #UD is that ud2.
    const at = CODE + 0x40, descriptor = CODE + 0x100, idt = 0x20_0000, gdt = CODE + 0x120;
    const text = [0x0f, 0x01, 0x15, ...le32(descriptor + 8), 0x0f, 0x01, 0x1d, ...le32(descriptor), 0xea, ...le32(CODE + 21), 8, 0, 0x66, 0xb8, 0x10, 0, 0x8e, 0xd0, 0xbc, ...le32(0x1000),
      0xc7, 0x05, ...le32(idt + 48), ...le32(8 << 16 | at & 0xffff), 0xc7, 0x05, ...le32(idt + 52), ...le32(at & 0xffff_0000 | 0x8e00)];
    const bytes = new Uint8Array(0x140);
    bytes.set(text); bytes.fill(0x90, text.length, 0x40); bytes.set([0x0f, 0x0b], 0x40);
    bytes.set([0xff, 7, ...le32(idt)], 0x100); bytes.set([23, 0, ...le32(gdt)], 0x108);
    bytes.set([0xff, 0xff, 0, 0, 0, 0x9b, 0xcf, 0], 0x128); bytes.set([0xff, 0xff, 0, 0, 0, 0x93, 0, 0], 0x130); // flat code; 16-bit stack at 0
    expect(text.length).toBeLessThan(0x40);
    const m = createMachine({ kernel: { name: 'storm', bytes: bareKernel([...bytes]) }, memoryMiB: 4, jit, maxInstructions: 100_000 });
    const result = await m.run();
    expect([result.reason, result.instructions]).toEqual(['timeout', 100_000]);
    const words = (m as DeterministicMachine).cpus.words(0);
    expect(words[S.eip >> 2]).toBe(at);
    expect(words[S.countFaults >> 2]).toBeGreaterThan(90_000);
    expect(words[S.stormCount >> 2]).toBeGreaterThan(STORM);
    m.close();
  });
});
