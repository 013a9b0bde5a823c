// Fibers run in Node by JavaScript Promise Integration: `switchStack` suspends the wasm stack it is called on and resumes the other one.
import { beforeAll, describe, expect, it } from 'vitest';
import { setFlagsFromString } from 'node:v8';
import { fiberGuest, type FiberGuest } from './harness.ts';

setFlagsFromString('--experimental-wasm-jspi');
async function start(stacks = 8): Promise<FiberGuest> {
  const g = await fiberGuest('fibers');
  await g.call('init', 0x400000, 0x400000, stacks);
  return g;
}

describe('fibers', () => {
  beforeAll(() => { expect(typeof (WebAssembly as unknown as { promising?: unknown }).promising).toBe('function'); });

  it('run in turn, FIFO, and give their stacks back', async () => {
    const g = await start(3);
    for (const id of [1, 2, 3]) expect(await g.call('spawnCounting', id)).toBe(1);
    expect(await g.call('spawnCounting', 4)).toBe(0);
    await g.call('runReady');
    expect(g.trace).toEqual([[1, 0], [2, 0], [3, 0], [1, 1], [2, 1], [3, 1], [1, 2], [2, 2], [3, 2]]);
    expect(await g.call('freeFibers')).toBe(3);
    g.trace.length = 0;
    expect(await g.call('spawnCounting', 5)).toBe(1);
    await g.call('runReady');
    expect(g.trace).toEqual([[5, 0], [5, 1], [5, 2]]);
  });
  it('wake in order from a queue, by deadline, and by cancel; each once, with the reason', async () => {
    const g = await start();
    await g.call('prepare');
    const fibers: number[] = [];
    for (const id of [1, 2, 3, 5000, 3000]) fibers.push(await g.call('spawnWaiting', id));
    await g.call('runReady');
    expect(g.trace).toEqual([]);
    expect(await g.call('nextDeadline')).toBe(3000);
    await g.call('wakeOne'); await g.call('runReady');
    expect(g.trace).toEqual([[1, 100]]);
    g.clock = 3000n; await g.call('expire');
    expect(g.trace).toEqual([[1, 100], [3000, 101]]);
    await g.call('cancel', fibers[2]!); await g.call('runReady');
    expect(g.trace.at(-1)).toEqual([3, 102]);
    expect(await g.call('nextDeadline')).toBe(5000);
    await g.call('wakeAll'); await g.call('runReady');
    expect(g.trace.slice(-2)).toEqual([[2, 100], [5000, 100]]);
    g.clock = 9000n; await g.call('expire');
    expect(g.trace.length).toBe(5);
    expect(await g.call('freeFibers')).toBe(8);
  });
  it('a mutex admits one at a time, in order', async () => {
    const g = await start();
    await g.call('prepare');
    for (const id of [1, 2, 3]) await g.call('spawnLocking', id);
    await g.call('runReady');
    expect(g.trace).toEqual([[1, 1], [1, 2], [2, 1], [2, 2], [3, 1], [3, 2]]);
  });
});

describe('blocking ring calls', () => {
  /** Lets both sides run until nothing happens any more: what the doorbells would do. */
  const settle = async (g: FiberGuest): Promise<void> => { for (let n = 0; n < 40; n++) { await g.call('runReady'); await g.call('dispatch', 3); } await g.call('runReady'); };

  it('give every caller its own answer, whatever the order of completion', async () => {
    const g = await start(40);
    await g.call('rings', 6);
    for (let id = 1; id <= 30; id++) expect(await g.call('spawnClient', id)).toBe(1);
    await settle(g);
    expect(g.trace.filter(([a]) => a === 0xbad)).toEqual([]);
    expect(g.trace.map(([a]) => a).sort((a, b) => a - b)).toEqual(Array.from({ length: 30 }, (_, n) => n + 1));
    expect(g.trace.at(-1)![1]).toBe(64);
    expect(await g.call('freeFibers')).toBe(34); // the 6 of the server wait
  });
  it('a cancelled call returns at once and its slot comes back when the worker is done with it', async () => {
    const g = await start(8);
    await g.call('rings', 0);
    const fiber = await g.call('spawnImpatient', 1);
    await g.call('runReady');
    await g.call('cancel', fiber); await g.call('runReady');
    expect(g.trace).toEqual([[1, -4096 >>> 0], [1, 1]]);
    await g.call('rebirth', 1, 1);
    await settle(g);
    expect(await g.call('spawnClient', 9)).toBe(1);
    await settle(g);
    expect(g.trace.at(-1)).toEqual([9, 64]);
  });
  it('calls survive the death of the worker: the successor gets what was taken, callers notice nothing', async () => {
    const g = await start(40);
    await g.call('rings', 0);
    await g.call('serveSilently'); // takes requests and never answers
    for (let id = 1; id <= 10; id++) await g.call('spawnClient', id);
    await g.call('runReady'); await g.call('dispatch', 3); await g.call('runReady');
    expect(g.trace).toEqual([]);
    await g.call('rebirth', 3, 2);
    await settle(g);
    expect(await g.call('reposted')).toBe(10);
    expect(g.trace.map(([a]) => a).sort((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  });
});
