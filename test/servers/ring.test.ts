// Rings: order, validation, death of the worker, death of the owner. Owner and worker share one wasm memory here, as they share Frames.
import { describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { guest, type Guest } from './harness.ts';
import { RING } from '../../servers/protocols/ring.ts';

const REQUEST = 0x200000, STATUS = 0x202000, HEAP = 0x400000;
async function start(): Promise<Guest> {
  const g = await guest('lib');
  g.fn['init']!(HEAP, 0x400000);
  return g;
}
const statusWord = (g: Guest, slot: number, field: number): number => (STATUS + RING.status.header.size + slot * RING.status.entry.size + field) >>> 2;
function post(g: Guest, o: number, op: number): number {
  const n = g.fn['claim']!(o, op, op);
  expect(n).toBeGreaterThanOrEqual(0);
  g.fn['post']!(o, n);
  return n;
}

describe('ring', () => {
  it('hands requests over in the order of posting and answers back by slot', async () => {
    const g = await start();
    const o = g.fn['owner']!(0, REQUEST, STATUS, 1), w = g.fn['worker']!(1, REQUEST, STATUS, 1);
    for (let round = 0; round < 5; round++) {
      for (let k = 1; k <= 30; k++) post(g, o, round * 100 + k);
      for (let k = 1; k <= 30; k++) {
        const slot = g.fn['take']!(w);
        expect(g.fn['takenOp']!()).toBe(round * 100 + k);
        g.fn['complete']!(w, slot, -k, k * 2);
      }
      expect(g.fn['take']!(w)).toBe(-1);
      expect(g.fn['reap']!(o)).toBe(30);
      for (let k = 0; k < 30; k++) {
        const n = g.fn['poll']!(o), op = g.fn['slotCookie']!(o, n) - round * 100;
        expect(g.fn['slotStatus']!(o, n)).toBe(-op);
        expect(g.fn['slotResult']!(o, n)).toBe(op * 2);
        g.fn['slotRelease']!(o, n);
      }
      expect(g.fn['poll']!(o)).toBe(-1);
      expect(g.fn['freeSlots']!(o)).toBe(RING.slots);
    }
  });

  it('never takes the answer of the previous request in a slot for that of the one just taken', async () => {
    // The worker takes slot 0 for the second time at every barrier that `reap` passes, in turn.
    for (let at = 0; at < 12; at++) {
      const g = await start();
      const o = g.fn['owner']!(0, REQUEST, STATUS, 1), w = g.fn['worker']!(1, REQUEST, STATUS, 1);
      for (let k = 0; k < RING.slots; k++) post(g, o, 1); // every slot has a `done` behind it
      for (let k = 0; k < RING.slots; k++) g.fn['complete']!(w, g.fn['take']!(w), 0, 111);
      g.fn['reap']!(o);
      for (let k = 0; k < RING.slots; k++) g.fn['slotRelease']!(o, g.fn['poll']!(o));
      const first = post(g, o, 2), second = post(g, o, 3);
      g.fn['complete']!(w, g.fn['take']!(w), 0, 222);
      let barriers = 0;
      g.onBarrier = () => { if (barriers++ === at) { g.onBarrier = undefined; expect(g.fn['take']!(w)).toBe(second); } };
      g.fn['reap']!(o);
      g.onBarrier = undefined;
      expect(g.fn['poll']!(o)).toBe(first);
      expect(g.fn['slotResult']!(o, first)).toBe(222);
      g.fn['slotRelease']!(o, first);
      expect(g.fn['poll']!(o), `taken at barrier ${at}`).toBe(-1); // the second is in work, not done
    }
  });

  it('posts nothing again that a worker younger than the one just seen has taken', async () => {
    // The third worker comes, and takes what there is, at every barrier that `reap` passes for the second one, in turn.
    for (let at = 0; at < 8; at++) {
      const g = await start();
      const o = g.fn['owner']!(0, REQUEST, STATUS, 1), first = g.fn['worker']!(1, REQUEST, STATUS, 1);
      const dead = post(g, o, 1), waiting = post(g, o, 2);
      expect(g.fn['take']!(first)).toBe(dead);
      g.fn['reap']!(o);
      g.fn['worker']!(1, REQUEST, STATUS, 2);
      let third = 0, barriers = 0;
      const taken: number[] = [];
      const takeAll = (): void => { for (let slot = g.fn['take']!(third); slot >= 0; slot = g.fn['take']!(third)) taken.push(slot); };
      g.onBarrier = () => {
        if (barriers++ !== at) return;
        g.onBarrier = undefined;
        third = g.fn['worker']!(1, REQUEST, STATUS, 3);
        takeAll();
      };
      g.fn['reap']!(o);
      g.onBarrier = undefined;
      if (third === 0) { expect(at, 'barriers in reap').toBeGreaterThan(2); break; }
      takeAll();
      g.fn['reap']!(o);
      takeAll();
      expect(taken, `third worker at barrier ${at}`).toEqual([dead, waiting]);
    }
  });

  it('is full at 64 entries and goes on when one is released', async () => {
    const g = await start();
    const o = g.fn['owner']!(0, REQUEST, STATUS, 1), w = g.fn['worker']!(1, REQUEST, STATUS, 1);
    for (let k = 0; k < RING.slots; k++) post(g, o, k + 1);
    expect(g.fn['claim']!(o, 1, 1)).toBe(-1);
    g.fn['complete']!(w, g.fn['take']!(w), 0, 0);
    g.fn['reap']!(o);
    expect(g.fn['claim']!(o, 1, 1)).toBe(-1); // answered but not released
    g.fn['slotRelease']!(o, g.fn['poll']!(o));
    expect(g.fn['claim']!(o, 1, 1)).toBeGreaterThanOrEqual(0);
  });

  it('posts again exactly what a dead worker had taken and not done', async () => {
    const g = await start();
    const o = g.fn['owner']!(0, REQUEST, STATUS, 1), w1 = g.fn['worker']!(1, REQUEST, STATUS, 1);
    for (let k = 1; k <= 4; k++) post(g, o, k);
    const ids = new Map<number, number>();
    const a = g.fn['take']!(w1); ids.set(1, g.fn['takenId']!());
    g.fn['take']!(w1); ids.set(2, g.fn['takenId']!());
    g.fn['complete']!(w1, a, 11, 0); // 1 done, 2 taken, 3 and 4 posted; then the worker dies
    const w2 = g.fn['worker']!(2, REQUEST, STATUS, 2);
    expect(g.fn['take']!(w2)).toBe(-1); // the owner has not posted 2 again yet: 3 and 4 wait behind it
    expect(g.fn['reap']!(o)).toBe(1);
    expect(g.fn['reposted']!(o)).toBe(1);
    post(g, o, 5); // a new one, behind all of them
    const served: number[] = [];
    for (let slot = g.fn['take']!(w2); slot >= 0; slot = g.fn['take']!(w2)) {
      const op = g.fn['takenOp']!();
      if (ids.has(op)) expect(g.fn['takenId']!()).toBe(ids.get(op)); // the same id as the first time
      served.push(op);
      g.fn['complete']!(w2, slot, op * 11, 0);
    }
    expect(served).toEqual([2, 3, 4, 5]); // in the order of posting
    g.fn['reap']!(o);
    const statuses: number[] = [];
    for (let n = g.fn['poll']!(o); n >= 0; n = g.fn['poll']!(o)) { statuses.push(g.fn['slotStatus']!(o, n)); g.fn['slotRelease']!(o, n); }
    expect(statuses.sort()).toEqual([11, 22, 33, 44, 55]);
    expect(g.fn['freeSlots']!(o)).toBe(RING.slots);
  });

  it.each([2, 7, 0x7fff_ffff, 0xbad])('posts again what a damaged worker took under an epoch that nobody had: %i', async (epoch) => {
    const g = await start();
    const o = g.fn['owner']!(0, REQUEST, STATUS, 1), w1 = g.fn['worker']!(1, REQUEST, STATUS, 1);
    post(g, o, 1);
    post(g, o, 2);
    const slot = g.fn['take']!(w1);
    g.u32[statusWord(g, slot, RING.status.entry.epoch)] = epoch; // its last store, and it dies
    const w2 = g.fn['worker']!(2, REQUEST, STATUS, 2);
    g.fn['reap']!(o);
    expect(g.fn['reposted']!(o)).toBe(1);
    const served: number[] = [];
    for (let n = g.fn['take']!(w2); n >= 0; n = g.fn['take']!(w2)) { served.push(g.fn['takenOp']!()); g.fn['complete']!(w2, n, 0, 0); }
    expect(served).toEqual([1, 2]);
    expect(g.fn['reap']!(o)).toBe(2);
  });

  it('does not wait for an entry that its owner has done with, though a damaged worker took it again', async () => {
    const g = await start();
    const o = g.fn['owner']!(0, REQUEST, STATUS, 1), w1 = g.fn['worker']!(1, REQUEST, STATUS, 1);
    post(g, o, 1);
    const slot = g.fn['take']!(w1);
    g.fn['complete']!(w1, slot, 0, 0);
    g.fn['reap']!(o);
    g.fn['slotRelease']!(o, g.fn['poll']!(o));
    g.u32[statusWord(g, slot, RING.status.entry.state)] = RING.state.taken; // its last store, and it dies
    post(g, o, 2);
    const w2 = g.fn['worker']!(2, REQUEST, STATUS, 2);
    expect(g.fn['take']!(w2)).toBe(-1);
    g.fn['reap']!(o);
    expect(g.fn['reposted']!(o)).toBe(0);
    const again = g.fn['take']!(w2);
    expect(g.fn['takenOp']!()).toBe(2);
    g.fn['complete']!(w2, again, 0, 0);
    expect(g.fn['reap']!(o)).toBe(1);
  });

  it('believes no status with a wrong seq, an unknown state or an epoch from the future', async () => {
    const g = await start();
    const o = g.fn['owner']!(0, REQUEST, STATUS, 1), w = g.fn['worker']!(1, REQUEST, STATUS, 1);
    const n = post(g, o, 1);
    const doneCount = (STATUS + RING.status.header.done) >>> 2;
    const e = RING.status.entry;
    g.u32[statusWord(g, n, e.state)] = RING.state.done; // not taken: seq is still the old one
    g.u32[doneCount]!++;
    expect(g.fn['reap']!(o)).toBe(0);
    const slot = g.fn['take']!(w);
    g.u32[statusWord(g, slot, e.state)] = 7;
    g.u32[doneCount]!++;
    expect(g.fn['reap']!(o)).toBe(0);
    g.fn['complete']!(w, slot, 0, 0);
    g.u32[statusWord(g, slot, e.epoch)] = 2;
    expect(g.fn['reap']!(o)).toBe(0);
    expect(g.fn['refused']!(o)).toBe(2);
    g.u32[statusWord(g, slot, e.epoch)] = 1;
    g.u32[doneCount]!++;
    expect(g.fn['reap']!(o)).toBe(1);
  });

  it('adopts what a dead owner left in flight as orphans and drops their answers', async () => {
    const g = await start();
    const o1 = g.fn['owner']!(0, REQUEST, STATUS, 1), w = g.fn['worker']!(1, REQUEST, STATUS, 1);
    post(g, o1, 1); post(g, o1, 2); post(g, o1, 3);
    const a = g.fn['take']!(w);
    g.fn['complete']!(w, a, 0, 0);
    const b = g.fn['take']!(w);
    const o2 = g.fn['owner']!(0, REQUEST, STATUS, 2); // 1 done, 2 taken, 3 posted
    expect(g.fn['orphans']!(o2)).toBe(2);
    post(g, o2, 50);
    g.fn['complete']!(w, b, 0, 0);
    const order: number[] = [];
    for (let slot = g.fn['take']!(w); slot >= 0; slot = g.fn['take']!(w)) { order.push(g.fn['takenOp']!()); g.fn['complete']!(w, slot, 5, 5); }
    expect(order.sort()).toEqual([3, 50].sort());
    expect(g.fn['reap']!(o2)).toBe(3);
    expect(g.fn['orphans']!(o2)).toBe(0);
    const n = g.fn['poll']!(o2);
    expect(g.fn['slotCookie']!(o2, n)).toBe(50);
    g.fn['slotRelease']!(o2, n);
    expect(g.fn['freeSlots']!(o2)).toBe(RING.slots);
  });

  it('an owner that died between posting and counting or knocking leaves nothing behind unserved', async () => {
    for (const uncounted of [false, true]) {
      const g = await start();
      const o1 = g.fn['owner']!(0, REQUEST, STATUS, 1), w = g.fn['worker']!(1, REQUEST, STATUS, 1);
      post(g, o1, 7);
      if (uncounted) g.u32[(REQUEST + RING.request.header.head) >>> 2]!--;
      const knocks = g.calls[4]!;
      const o2 = g.fn['owner']!(0, REQUEST, STATUS, 2);
      expect(g.calls[4]).toBe(knocks + 1);
      const slot = g.fn['take']!(w);
      expect(g.fn['takenOp']!()).toBe(7);
      g.fn['complete']!(w, slot, 0, 0);
      expect(g.fn['reap']!(o2)).toBe(1);
      expect(g.fn['orphans']!(o2)).toBe(0);
      expect(g.fn['take']!(w)).toBe(-1);
      post(g, o2, 8);
      expect(g.fn['take']!(w)).toBeGreaterThanOrEqual(0);
    }
  });
  it('an owner and a worker that die together leave nothing in flight', async () => {
    const g = await start();
    const o1 = g.fn['owner']!(0, REQUEST, STATUS, 1), w1 = g.fn['worker']!(1, REQUEST, STATUS, 1);
    post(g, o1, 7);
    g.fn['take']!(w1);
    const w2 = g.fn['worker']!(1, REQUEST, STATUS, 2); // announces itself to nobody
    const o2 = g.fn['owner']!(0, REQUEST, STATUS, 2);
    expect(g.fn['orphans']!(o2)).toBe(1);
    const slot = g.fn['take']!(w2);
    expect(g.fn['takenOp']!()).toBe(7);
    g.fn['complete']!(w2, slot, 0, 0);
    g.fn['reap']!(o2);
    expect(g.fn['orphans']!(o2)).toBe(0);
  });
  it('serves every request exactly once under any interleaving of posts, takes, answers and worker deaths', async () => {
    const g = await start();
    fc.assert(fc.property(fc.array(fc.constantFrom('post', 'take', 'done', 'reap', 'die', 'abandon'), { maxLength: 300 }), (steps) => {
      g.u8.fill(0, REQUEST, REQUEST + 0x3000);
      g.u8.fill(0, HEAP, HEAP + 0x10000);
      g.fn['init']!(HEAP, 0x400000);
      let epoch = 1, op = 0;
      const o = g.fn['owner']!(0, REQUEST, STATUS, 1);
      let w = g.fn['worker']!(1, REQUEST, STATUS, epoch);
      let held: { slot: number; op: number }[] = [];
      const answered = new Map<number, number>(), expected = new Set<number>(), inFlight: { n: number; op: number }[] = [];
      const reap = (): void => {
        g.fn['reap']!(o);
        for (let n = g.fn['poll']!(o); n >= 0; n = g.fn['poll']!(o)) {
          const cookie = g.fn['slotCookie']!(o, n);
          expect(g.fn['slotResult']!(o, n)).toBe(cookie * 3);
          answered.set(cookie, (answered.get(cookie) ?? 0) + 1);
          inFlight.splice(inFlight.findIndex((f) => f.op === cookie), 1);
          g.fn['slotRelease']!(o, n);
        }
      };
      const take = (): boolean => { const slot = g.fn['take']!(w); if (slot >= 0) held.push({ slot, op: g.fn['takenOp']!() }); return slot >= 0; };
      const done = (): void => { const h = held.pop(); if (h) g.fn['complete']!(w, h.slot, 0, h.op * 3); };
      for (const step of steps) {
        if (step === 'post') { const n = g.fn['claim']!(o, ++op, op); if (n >= 0) { g.fn['post']!(o, n); expected.add(op); inFlight.push({ n, op }); } }
        else if (step === 'take') take();
        else if (step === 'done') done();
        else if (step === 'reap') reap();
        else if (step === 'die') { held = []; epoch++; w = g.fn['worker']!(1, REQUEST, STATUS, epoch); }
        else { reap(); const f = inFlight.shift(); if (f) { g.fn['abandon']!(o, f.n); expected.delete(f.op); } }
      }
      for (let quiet = 0; quiet < 2; quiet++) { reap(); while (take()) { /* all */ } while (held.length > 0) done(); reap(); }
      for (const e of expected) expect(answered.get(e)).toBe(1);
      expect(g.fn['freeSlots']!(o)).toBe(RING.slots);
    }), { numRuns: 200 });
  });

  it('serves every request exactly once when each side acts at any barrier of the other, and workers die at any barrier of their own', async () => {
    const g = await start();
    const OWNER = ['post', 'reap'] as const, WORKER = ['take', 'done', 'die'] as const;
    const cut = <T extends string>(what: readonly T[]) => fc.record({ at: fc.nat({ max: 9 }), what: fc.array(fc.constantFrom(...what), { minLength: 1, maxLength: 5 }) });
    const step = fc.oneof(
      fc.record({ do: fc.constantFrom(...OWNER), cuts: fc.array(cut(WORKER), { maxLength: 2 }) }),
      fc.record({ do: fc.constantFrom(...WORKER), cuts: fc.array(cut([...OWNER, 'die'] as const), { maxLength: 2 }) }),
    );
    const death = new Error('the worker dies');
    fc.assert(fc.property(fc.array(step, { maxLength: 40, size: 'max' }), (steps) => {
      g.u8.fill(0, REQUEST, REQUEST + 0x3000);
      g.u8.fill(0, HEAP, HEAP + 0x20000);
      g.onBarrier = undefined; // of a run that failed
      g.fn['init']!(HEAP, 0x400000);
      let epoch = 1, op = 0, working = false;
      const o = g.fn['owner']!(0, REQUEST, STATUS, 1);
      let w = g.fn['worker']!(1, REQUEST, STATUS, epoch);
      let held: { slot: number; op: number }[] = [];
      const answered = new Map<number, number>();
      const attach = (): void => { held = []; epoch++; w = g.fn['worker']!(1, REQUEST, STATUS, epoch); };
      const act: Record<string, () => void> = {
        post: () => { const n = g.fn['claim']!(o, op + 1, op + 1); if (n >= 0) { op++; g.fn['post']!(o, n); } },
        reap: () => {
          g.fn['reap']!(o);
          for (let n = g.fn['poll']!(o); n >= 0; n = g.fn['poll']!(o)) {
            const cookie = g.fn['slotCookie']!(o, n);
            expect(g.fn['slotResult']!(o, n)).toBe(cookie * 3);
            answered.set(cookie, (answered.get(cookie) ?? 0) + 1);
            g.fn['slotRelease']!(o, n);
          }
        },
        take: () => {
          const slot = g.fn['take']!(w);
          if (slot < 0) return;
          const taken = g.fn['takenOp']!();
          expect(held.map((h) => h.op), 'a request in work is not handed out again').not.toContain(taken);
          held.push({ slot, op: taken });
        },
        done: () => { const h = held.shift(); if (h) g.fn['complete']!(w, h.slot, 0, h.op * 3); },
        die: () => { if (working) throw death; attach(); },
      };
      // Every slot has an answered request behind it.
      for (let k = 0; k < RING.slots; k++) act['post']!();
      for (let k = 0; k < RING.slots; k++) { act['take']!(); act['done']!(); }
      act['reap']!();
      for (const { do: what, cuts } of steps) {
        let barrier = 0;
        working = what === 'take' || what === 'done';
        if (what !== 'die') g.onBarrier = () => {
          const now = barrier++, saved = g.onBarrier;
          g.onBarrier = undefined; // what comes in between is not cut itself
          for (const c of cuts) if (c.at === now) for (const one of c.what) act[one]!();
          g.onBarrier = saved;
        };
        try { act[what]!(); } catch (problem) {
          if (problem !== death) throw problem;
          working = false;
          g.onBarrier = undefined;
          attach();
        }
        g.onBarrier = undefined;
        working = false;
      }
      for (let quiet = 0; quiet < 3; quiet++) { act['reap']!(); for (let before = -1; before !== held.length;) { before = held.length; act['take']!(); } while (held.length > 0) act['done']!(); act['reap']!(); }
      for (let n = 1; n <= op; n++) expect(answered.get(n), `request ${n}`).toBe(1);
      expect(g.fn['freeSlots']!(o)).toBe(RING.slots);
    }), { numRuns: 300 });
  });

  it('answers everything, present and future, GONE when the supervisor marked the worker failed', async () => {
    const g = await start();
    const o = g.fn['owner']!(0, REQUEST, STATUS, 1), w = g.fn['worker']!(1, REQUEST, STATUS, 1);
    const a = post(g, o, 1), b = post(g, o, 2);
    g.fn['take']!(w);
    g.u32[(STATUS + RING.status.header.failed) >>> 2] = 1;
    expect(g.fn['reap']!(o)).toBe(2);
    const c = post(g, o, 3);
    for (const slot of [a, b, c]) expect(g.fn['slotStatus']!(o, slot) >>> 0).toBe(RING.gone);
    for (let n = g.fn['poll']!(o); n >= 0; n = g.fn['poll']!(o)) g.fn['slotRelease']!(o, n);
    expect(g.fn['freeSlots']!(o)).toBe(RING.slots);
  });

  // Messages that get lost, doubled or damaged. ALARM is the bit of the owner's own alarm: its patience is over.
  const ALARM = 1 << 24, INVOKE = 6;
  const wordOf = (slot: number, field: number): number => (REQUEST + RING.request.header.size + slot * RING.request.entry.size + field) >>> 2;
  const entryWords = (g: Guest, slot: number): Uint32Array => g.u32.subarray(wordOf(slot, 0), wordOf(slot + 1, 0));
  const takeAll = (g: Guest, w: number): number[] => { const ops: number[] = []; for (let slot = g.fn['take']!(w); slot >= 0; slot = g.fn['take']!(w)) { ops.push(g.fn['takenOp']!()); g.fn['complete']!(w, slot, 0, g.fn['takenOp']!() * 3); } return ops; };
  const answers = (g: Guest, o: number): number[] => { const got: number[] = []; for (let n = g.fn['poll']!(o); n >= 0; n = g.fn['poll']!(o)) { expect(g.fn['slotResult']!(o, n)).toBe(g.fn['slotCookie']!(o, n) * 3); got.push(g.fn['slotCookie']!(o, n)); g.fn['slotRelease']!(o, n); } return got; };

  it('sets its alarm once when something was posted, ever later while nothing happens, and not at all when nothing is in flight', async () => {
    const g = await start();
    const o = g.fn['owner']!(0, REQUEST, STATUS, 1), w = g.fn['worker']!(1, REQUEST, STATUS, 1);
    const alarms = (): number => g.calls[INVOKE]!, before = alarms();
    for (let k = 1; k <= 10; k++) { post(g, o, k); g.fn['knock']!(o); }
    expect(alarms()).toBe(before + 1);
    g.fn['dispatch']!(ALARM);
    g.fn['dispatch']!(ALARM);
    expect(alarms()).toBe(before + 3);
    takeAll(g, w);
    g.fn['reap']!(o);
    answers(g, o);
    g.fn['dispatch']!(ALARM);
    expect(alarms()).toBe(before + 3); // idle: no further alarm
    post(g, o, 11); g.fn['knock']!(o);
    expect(alarms()).toBe(before + 4);
  });
  it('a lost doorbell is rung again, and a lost entry is restored, when the patience of the owner is over', async () => {
    for (const lost of ['doorbell', 'entry'] as const) {
      const g = await start();
      const o = g.fn['owner']!(0, REQUEST, STATUS, 1), w = g.fn['worker']!(1, REQUEST, STATUS, 1);
      const n = post(g, o, 7);
      if (lost === 'entry') { g.u32[wordOf(n, RING.request.entry.seq)]!--; g.u32[(REQUEST + RING.request.header.head) >>> 2]!--; expect(g.fn['take']!(w)).toBe(-1); }
      const knocks = g.calls[4]!;
      g.fn['dispatch']!(ALARM);
      expect(g.calls[4]).toBe(knocks + 1);
      expect(g.fn['repaired']!(o)).toBe(lost === 'entry' ? 1 : 0);
      expect(takeAll(g, w)).toEqual([7]);
      g.fn['reap']!(o);
      expect(answers(g, o)).toEqual([7]);
    }
  });
  it('an entry behind a lost one waits for it: the order of posting stays', async () => {
    const g = await start();
    const o = g.fn['owner']!(0, REQUEST, STATUS, 1), w = g.fn['worker']!(1, REQUEST, STATUS, 1);
    post(g, o, 1);
    expect(takeAll(g, w)).toEqual([1]);
    const n = post(g, o, 2);
    g.u32[wordOf(n, RING.request.entry.seq)]!--;
    post(g, o, 3); post(g, o, 4);
    expect(takeAll(g, w)).toEqual([]);
    g.fn['reap']!(o); // the worker rang
    expect(takeAll(g, w)).toEqual([2, 3, 4]);
  });
  it('a lost answer is given again, not worked out again', async () => {
    const g = await start();
    const o = g.fn['owner']!(0, REQUEST, STATUS, 1), w = g.fn['worker']!(1, REQUEST, STATUS, 1);
    const n = post(g, o, 7);
    expect(takeAll(g, w)).toEqual([7]);
    g.u32[statusWord(g, n, RING.status.entry.state)] = RING.state.taken;
    g.u32[(STATUS + RING.status.header.done) >>> 2]!--;
    expect(g.fn['reap']!(o)).toBe(0);
    g.fn['dispatch']!(ALARM);
    expect(takeAll(g, w)).toEqual([]);
    expect(g.fn['reap']!(o)).toBe(1);
    expect(answers(g, o)).toEqual([7]);
  });
  it('a doubled entry is not done twice: neither in its own slot nor in another one', async () => {
    const g = await start();
    const o = g.fn['owner']!(0, REQUEST, STATUS, 1), w = g.fn['worker']!(1, REQUEST, STATUS, 1);
    const n = post(g, o, 7), next = n + 1, e = RING.request.entry;
    entryWords(g, next).set(entryWords(g, n)); // as `ipc.dup` does it
    g.u32[wordOf(next, e.seq)] = 1;
    g.u32[(REQUEST + RING.request.header.head) >>> 2]!++;
    expect(takeAll(g, w)).toEqual([7]);
    expect(g.fn['damaged']!(w)).toBe(1);
    g.fn['reap']!(o);
    expect(answers(g, o)).toEqual([7]);
    for (let k = 8; k < 8 + 2 * RING.slots; k++) { // and that slot goes on
      post(g, o, k);
      const taken = takeAll(g, w);
      if (taken.length === 0) { g.fn['dispatch']!(ALARM); taken.push(...takeAll(g, w)); } // the count of posts ran apart
      expect(taken).toEqual([k]);
      g.fn['reap']!(o);
      expect(answers(g, o)).toEqual([k]);
    }
    // In its own slot: the same entry under the next seq, with a guard that is right.
    const again = post(g, o, 500);
    expect(takeAll(g, w)).toEqual([500]);
    const words = entryWords(g, again);
    words[0]!++;
    words[e.guard >>> 2] = (words[e.guard >>> 2]! + 0x9e3779b1) | 0;
    g.u32[(REQUEST + RING.request.header.head) >>> 2]!++;
    expect(takeAll(g, w)).toEqual([]);
    expect(g.fn['doubled']!(w)).toBe(1);
  });
  it('a request with one wrong bit, wherever it is, is refused, posted again from the owner\'s copy, and done once', async () => {
    for (let word = 1; word < 16; word++) {
      const g = await start();
      const o = g.fn['owner']!(0, REQUEST, STATUS, 1), w = g.fn['worker']!(1, REQUEST, STATUS, 1);
      const n = g.fn['claim']!(o, 7, 7);
      g.fn['argument']!(o, n, 0, 0x1234); g.fn['argument']!(o, n, 5, 0x5678);
      g.fn['post']!(o, n);
      entryWords(g, n)[word]! ^= 1 << (word * 7 % 32);
      expect(takeAll(g, w), `word ${word}`).toEqual([]);
      expect(g.fn['damaged']!(w)).toBe(1);
      expect(g.fn['reap']!(o)).toBe(0);
      expect(g.fn['repaired']!(o)).toBe(1);
      expect(takeAll(g, w)).toEqual([7]);
      g.fn['reap']!(o);
      expect(answers(g, o)).toEqual([7]);
    }
  });
  it('an answer with one wrong bit is not believed: it is given again, and the request is not done again', async () => {
    const e = RING.status.entry;
    for (const field of [e.status, e.r0, e.r1, e.r2, e.r3, e.guard]) {
      const g = await start();
      const o = g.fn['owner']!(0, REQUEST, STATUS, 1), w = g.fn['worker']!(1, REQUEST, STATUS, 1);
      const n = post(g, o, 7);
      expect(takeAll(g, w)).toEqual([7]);
      g.u32[statusWord(g, n, field)]! ^= 0x400;
      expect(g.fn['reap']!(o), `field ${field}`).toBe(0);
      expect(takeAll(g, w)).toEqual([]);
      expect(g.fn['doubled']!(w)).toBe(1);
      expect(g.fn['reap']!(o)).toBe(1);
      expect(answers(g, o)).toEqual([7]);
    }
  });
  it('what comes damaged each time is given up with DAMAGED after three repairs', async () => {
    const g = await start();
    const o = g.fn['owner']!(0, REQUEST, STATUS, 1), w = g.fn['worker']!(1, REQUEST, STATUS, 1);
    const n = post(g, o, 7);
    for (let k = 0; k < 4; k++) {
      entryWords(g, n)[RING.request.entry.a0 >>> 2]! ^= 1;
      expect(takeAll(g, w)).toEqual([]);
      g.fn['reap']!(o);
    }
    expect(g.fn['poll']!(o)).toBe(n);
    expect(g.fn['slotStatus']!(o, n) >>> 0).toBe(RING.damaged);
    g.fn['slotRelease']!(o, n);
    post(g, o, 8); // the slot goes on
    expect(takeAll(g, w)).toEqual([8]);
  });
});
