import { describe, expect, test } from 'vitest';
import { End, Pair, connect, transfer, type WireOptions } from './pair.ts';

/** Reproduce one: `run(seed, kills, wire, bytes)` with the numbers of the failing title. */
async function run(seed: number, kills: number, wire: WireOptions, bytes: readonly [number, number], connections = 1): Promise<Pair> {
  const pair = await Pair.start(seed, wire);
  const clean = pair.stacks.map((s) => ({ packets: s.objects('packets'), pages: s.objects('pages'), chunks: s.objects('chunks') }));
  const ends: End[] = [];
  for (let c = 0; c < connections; c++) {
    connect(pair, 100 + c, 80 + c, 10 + c, 50 + c);
    ends.push(new End(pair, 0, 10 + c, bytes[0], 1 + c, 51 + c, c), new End(pair, 1, 50 + c, bytes[1], 51 + c, 1 + c, c));
  }
  pair.killChance = kills;
  try { transfer(pair, ends, 100_000); } catch (error) { throw new Error(`seed ${seed}, kills ${kills}, wire ${JSON.stringify(wire, (_, v: unknown) => (typeof v === 'bigint' ? String(v) : v))}: ${(error as Error).message}`, { cause: error }); }
  pair.killChance = 0;
  for (const e of ends) { expect(e.received).toBe(bytes[1 - e.which]); pair.run(e.which, (s) => { s.ok('close', [e.id]); }); }
  for (let c = 0; c < connections; c++) pair.run(1, (s) => { s.ok('close', [100 + c]); });
  while (pair.step()) { /* TIME-WAIT ends */ }
  pair.stacks.forEach((s, n) => {
    expect(s.objects('sockets')).toBe(0);
    expect({ packets: s.objects('packets'), pages: s.objects('pages'), chunks: s.objects('chunks') }).toEqual(clean[n]);
    expect(s.objects('parked')).toBe(0);
  });
  return pair;
}
const FULL = process.env['KINTSUGI_FULL'] !== undefined;
const seeds = (n: number): number[] => Array.from({ length: FULL ? n * 20 : n }, (_, i) => i + 1);

describe('two endpoints: the byte streams agree', () => {
  test('a clean wire: nothing is sent twice', async () => {
    const pair = await run(1, 0, {}, [1_500_000, 700_000]);
    for (const s of pair.stacks) expect(s.counters()['tcp_retransmitted']).toBe(0);
  });
  test.each(seeds(6))('loss, repetition and reordering, seed %i', async (seed) => { await run(seed, 0, { loss: 30, duplicate: 20, reorder: 50 }, [300_000, 200_000]); });
  test.each(seeds(6))('heavy loss, seed %i', async (seed) => { await run(seed, 0, { loss: 150, reorder: 100, jitterNs: 3_000_000n }, [60_000, 30_000]); });
  test.each(seeds(4))('damaged frames, seed %i', async (seed) => { await run(seed, 0, { corrupt: 50, loss: 10 }, [200_000, 100_000]); });
  test.each(seeds(12))('deaths, seed %i', async (seed) => { await run(seed, 60, { loss: 20, duplicate: 10, reorder: 30 }, [200_000, 150_000]); });
  test.each(seeds(6))('many deaths on a clean wire, seed %i', async (seed) => { await run(seed, 250, {}, [600_000, 50_000]); });
  test.each(seeds(4))('three connections with deaths, seed %i', async (seed) => { await run(seed, 60, { loss: 20 }, [60_000, 60_000], 3); });
  test.each(seeds(3))('a slow link with a short queue, seed %i', async (seed) => { await run(seed, 20, { bytesPerSecond: 1_000_000, queueFrames: 20, delayNs: 10_000_000n }, [400_000, 1000]); });
});
