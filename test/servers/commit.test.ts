// The commit protocol: whatever prefix or mixture of a commit's stores reaches the state, attach finds all of the transaction or none.
import { describe, expect, it } from 'vitest';
import { guest, type Guest } from './harness.ts';

const BASE = 0x200000, BYTES = 0x10000, HEAP = 0x400000, RECORD = 4096, REPLIES = 8;
const FRESH = 0, CLEAN = 1, REPLAYED = 2, CORRUPT = 3;
const KEY_NEW = 0, KEY_DONE = 1, KEY_MISMATCH = 2, KEY_CORRUPT = 3;

async function fresh(): Promise<{ g: Guest; c: number; t: number; payload: number }> {
  const g = await guest('lib');
  g.fn['init']!(HEAP, 0x100000);
  const c = g.fn['attach']!(BASE, BYTES, BYTES, 7, RECORD, REPLIES);
  expect(g.fn['attached']!(c)).toBe(FRESH);
  g.fn['formatDone']!(c);
  return { g, c, t: g.fn['transaction']!(c), payload: g.fn['payload']!(c) };
}
function reattach(g: Guest): number {
  g.fn['init']!(HEAP, 0x100000); // a new incarnation: its private memory starts empty
  return g.fn['attach']!(BASE, BYTES, BYTES, 7, RECORD, REPLIES);
}
const image = (g: Guest): Uint8Array => g.u8.slice(BASE, BASE + BYTES);
/** The transaction of the tests: three deltas of different sizes and a keyed reply. */
function transact(g: Guest, c: number, t: number, payload: number, seq: number): number {
  g.u8.fill(seq + 1, 0x300000, 0x300000 + 777);
  g.fn['begin']!(t, 5, 6, seq, 0, 99);
  g.fn['put32']!(t, payload, 0x1000 + seq);
  g.fn['put']!(t, payload + 0x101, 0x300000, 777);
  g.fn['put32']!(t, payload + 0x2000, seq);
  g.fn['reply']!(t, 0, 4000 + seq);
  return g.fn['commit']!(c, t);
}

describe('commit protocol', () => {
  it('applies every delta and stores the reply under its key', async () => {
    const { g, c, t, payload } = await fresh();
    expect(transact(g, c, t, payload, 1)).toBe(0);
    expect(g.u32[payload >>> 2]).toBe(0x1001);
    expect(g.u8[payload + 0x101 + 776]).toBe(2);
    expect(g.u8[payload + 0x101 + 777]).toBe(0);
    expect(g.fn['lookup']!(c, 5, 6, 1, 0, 99)).toBe(KEY_DONE);
    expect(g.fn['answer0']!(c)).toBe(4001);
    expect(g.fn['lookup']!(c, 5, 6, 1, 0, 98)).toBe(KEY_MISMATCH);
    expect(g.fn['lookup']!(c, 5, 6, 2, 0, 99)).toBe(KEY_NEW);
    expect(g.fn['lookup']!(c, 5, 6, 1, 1, 99)).toBe(KEY_NEW);
  });

  it('opens and closes the window exactly once per commit', async () => {
    const { g, c, t, payload } = await fresh();
    const before = g.calls[8]!;
    transact(g, c, t, payload, 1);
    expect(g.calls[8]! - before).toBe(2);
  });

  it('is all or nothing at every cut point, with any part of the stores between two barriers done', async () => {
    const { g, c, t, payload } = await fresh();
    transact(g, c, t, payload, 1);
    const old = image(g);
    const stages: Uint8Array[] = [old];
    g.onBarrier = () => stages.push(image(g));
    transact(g, c, t, payload, 2);
    g.onBarrier = undefined;
    const done = image(g);
    stages.push(done);
    expect(stages.length).toBeGreaterThanOrEqual(5);
    const oldPayload = Buffer.from(old.subarray(payload - BASE)), newPayload = Buffer.from(done.subarray(payload - BASE));
    let rng = 12345, cuts = 0, replays = 0;
    const random = (n: number): number => { rng = (Math.imul(rng, 1103515245) + 12345) >>> 0; return (rng >>> 8) % n; };
    const check = (state: Uint8Array): void => {
      g.u8.set(state, BASE);
      const again = reattach(g);
      const how = g.fn['attached']!(again);
      expect([CLEAN, REPLAYED]).toContain(how);
      if (how === REPLAYED) replays++;
      const found = Buffer.from(g.u8.slice(payload, BASE + BYTES));
      const committed = g.fn['lookup']!(again, 5, 6, 2, 0, 99) === KEY_DONE;
      if (committed) {
        expect(found.equals(newPayload)).toBe(true);
        expect(g.fn['answer0']!(again)).toBe(4002);
      } else {
        expect(found.equals(oldPayload)).toBe(true);
        expect(g.fn['lookup']!(again, 5, 6, 1, 0, 99)).toBe(KEY_DONE);
      }
      cuts++;
    };
    for (let s = 0; s + 1 < stages.length; s++) {
      const from = stages[s]!, to = stages[s + 1]!;
      const words: number[] = [];
      for (let w = 0; w < BYTES; w += 4) if (from[w] !== to[w] || from[w + 1] !== to[w + 1] || from[w + 2] !== to[w + 2] || from[w + 3] !== to[w + 3]) words.push(w);
      const mixed = from.slice();
      check(mixed);
      for (const w of words) { mixed.set(to.subarray(w, w + 4), w); check(mixed); } // every prefix, in order of addresses
      for (let k = 0; k < 40 && words.length > 1; k++) { // and stores in any other order
        const some = from.slice();
        for (const w of words) if (random(2) === 1) some.set(to.subarray(w, w + 4), w);
        check(some);
      }
    }
    expect(cuts).toBeGreaterThan(400);
    expect(replays).toBeGreaterThan(100);
  });

  it('replays a record again when it dies during the replay', async () => {
    const { g, c, t, payload } = await fresh();
    const stages: Uint8Array[] = [];
    g.onBarrier = () => stages.push(image(g));
    transact(g, c, t, payload, 1);
    g.onBarrier = undefined;
    const done = Buffer.from(g.u8.slice(payload, BASE + BYTES));
    g.u8.set(stages[1]!, BASE); // committed, nothing applied
    let dies = true;
    g.onBarrier = () => { if (dies) { dies = false; throw new Error('killed'); } };
    expect(() => reattach(g)).toThrow('killed');
    const again = reattach(g);
    expect(g.fn['attached']!(again)).toBe(REPLAYED);
    expect(Buffer.from(g.u8.slice(payload, BASE + BYTES)).equals(done)).toBe(true);
  });

  it('does not believe a committed record that fails its CRC, nor a damaged header', async () => {
    const { g, c, t, payload } = await fresh();
    const stages: Uint8Array[] = [];
    g.onBarrier = () => stages.push(image(g));
    transact(g, c, t, payload, 1);
    g.onBarrier = undefined;
    for (const at of [4096 + RECORD + 4, 4096 + RECORD + 20, 4096 + RECORD + 70, 8, 20]) { // lsn 1 lies in half 1
      const bad = stages[1]!.slice();
      bad[at]! ^= 0x10;
      g.u8.set(bad, BASE);
      expect(g.fn['attached']!(reattach(g))).toBe(CORRUPT);
    }
  });

  it('reports a stored reply that was overwritten instead of executing the request again', async () => {
    const { g, c, t, payload } = await fresh();
    transact(g, c, t, payload, 1);
    const replies = BASE + 4096 + 2 * RECORD;
    g.u8[replies + 28]! ^= 1;
    expect(g.fn['lookup']!(c, 5, 6, 1, 0, 99)).toBe(KEY_CORRUPT);
  });

  it('refuses deltas outside the state and transactions larger than a record, and changes nothing', async () => {
    const { g, c, t, payload } = await fresh();
    const before = Buffer.from(image(g));
    g.fn['begin']!(t, 1, 1, 1, 0, 0); g.fn['put32']!(t, BASE + 16, 1);
    expect(g.fn['commit']!(c, t)).toBe(1);
    g.fn['begin']!(t, 1, 1, 1, 0, 0); g.fn['put32']!(t, BASE + BYTES - 2, 1);
    expect(g.fn['commit']!(c, t)).toBe(1);
    g.fn['begin']!(t, 1, 1, 1, 0, 0); g.fn['put']!(t, payload, 0x300000, RECORD - 64);
    expect(g.fn['commit']!(c, t)).toBe(2);
    expect(Buffer.from(image(g)).equals(before)).toBe(true);
  });

  it('keeps replies until their successor comes, reuses their slots then, and counts evictions', async () => {
    const { g, c, t } = await fresh();
    for (let sub = 0; sub < 4; sub++) { g.fn['begin']!(t, 1, 1, 1, sub, sub); g.fn['reply']!(t, 0, sub); g.fn['commit']!(c, t); }
    for (let sub = 0; sub < 4; sub++) expect(g.fn['lookup']!(c, 1, 1, 1, sub, sub)).toBe(KEY_DONE);
    for (let seq = 2; seq < 40; seq++) { g.fn['begin']!(t, 1, 1, seq, 0, 9); g.fn['reply']!(t, 0, seq); expect(g.fn['commit']!(c, t)).toBe(0); }
    expect(g.fn['evicted']!(c)).toBe(0);
    expect(g.fn['lookup']!(c, 1, 1, 39, 0, 9)).toBe(KEY_DONE);
    for (let client = 10; client < 30; client++) { g.fn['begin']!(t, client, 1, 1, 0, 9); g.fn['commit']!(c, t); }
    expect(g.fn['evicted']!(c)).toBeGreaterThan(0);
    expect(g.fn['lookup']!(c, 29, 1, 1, 0, 9)).toBe(KEY_DONE);
    const again = reattach(g);
    expect(g.fn['lookup']!(again, 29, 1, 1, 0, 9)).toBe(KEY_DONE);
  });
});
