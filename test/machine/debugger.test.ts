/**
 * The debugger's machine: breakpoints and watchpoints stop exactly where they should in both tiers, cost the run nothing that can be seen in it,
 * and every stop on the way forward is found again on the way back.
 */
import { describe, expect, it } from 'vitest';
import { Debugger, type Stop } from '../../vm/debugger.ts';
import type { DeterministicMachine, MachineConfig } from '../../vm/machine.ts';
import type { Watch } from '../../vm/engine.ts';
import { COUNTING, bareMachine, counting } from './bare.ts';

const ROUNDS = 50_000, { setup, perRound } = COUNTING;
const watch = (kind: 'r' | 'w' | 'a', linear: number = COUNTING.word, bytes = 4): Watch => ({ linear, bytes, read: kind !== 'w', write: kind !== 'r' });
const start = (config: Partial<MachineConfig> = {}, rounds = ROUNDS): { machine: DeterministicMachine; debug: Debugger } => {
  const machine = bareMachine(counting(rounds), { jitHeat: 5000, ...config });
  return { machine, debug: new Debugger(machine) };
};
const eip = (debug: Debugger): number => debug.port.position(0).eip;
const eax = (debug: Debugger): number => debug.port.register(0, 'eax');
const ALL = Number.MAX_SAFE_INTEGER;

for (const jit of ['off', 'on'] as const) describe(`forwards, jit ${jit}`, () => {
  it('stops in front of the instruction, every time, and goes on behind it', () => {
    const { machine, debug } = start({ jit });
    debug.insertBreakpoint(COUNTING.load);
    for (let round = 1; round <= 40; round++) {
      expect(debug.forward(ALL)).toEqual({ kind: 'breakpoint', cpu: 0, linear: COUNTING.load });
      expect([eip(debug), eax(debug), machine.instructions]).toEqual([COUNTING.load, round, setup + (round - 1) * perRound + 3]);
    }
    debug.removeBreakpoint(COUNTING.load);
    expect(debug.forward(ALL)).toEqual({ kind: 'stopped' });
    expect(eax(debug) & ~255).toBe(ROUNDS & ~255);
  });
  it('stops in code that is hot already, at a breakpoint set late', () => {
    const { machine, debug } = start({ jit });
    debug.forward(perRound * 40_000 + setup);
    expect(eax(debug)).toBe(40_000);
    debug.insertBreakpoint(COUNTING.ret);
    expect(debug.forward(ALL)).toMatchObject({ kind: 'breakpoint' });
    expect([eax(debug), machine.instructions]).toEqual([40_001, setup + 40_000 * perRound + 4]);
  });
  it('stops behind a watched access, by kind', () => {
    for (const [kind, at] of [['w', [COUNTING.load]], ['r', [COUNTING.ret]], ['a', [COUNTING.load, COUNTING.ret]]] as const) {
      const { machine, debug } = start({ jit });
      debug.forward(perRound * 20_000 + setup);
      debug.insertWatch(watch(kind));
      for (let n = 0; n < 12; n++) {
        expect(debug.forward(ALL)).toMatchObject({ kind: 'watch', write: kind === 'w' || (kind === 'a' && n % 2 === 0) });
        expect(eip(debug)).toBe(at[n % at.length]);
        const round = Math.floor(n / at.length);
        expect(machine.instructions).toBe(setup + (20_000 + round) * perRound + (eip(debug) === COUNTING.load ? 3 : 4));
      }
    }
  });
  it('stops behind the CALL and the RET that touch a watched word of the stack', () => {
    const { machine, debug } = start({ jit });
    debug.forward(perRound * 20_000 + setup);
    debug.insertWatch(watch('a', 0x9_0000 - 4));
    const stops: [Stop['kind'], number, number][] = [];
    for (let n = 0; n < 4; n++) stops.push([debug.forward(ALL).kind, eip(debug), machine.instructions - setup - 20_000 * perRound]);
    expect(stops).toEqual([['watch', COUNTING.store, 2], ['watch', COUNTING.loop + 6, 5], ['watch', COUNTING.store, 9], ['watch', COUNTING.loop + 6, 12]]);
  });
  it('is not stopped by neighbours of a watched byte', () => {
    const { debug } = start({ jit }, 2000);
    debug.insertWatch(watch('a', COUNTING.word + 4, 8));
    debug.insertWatch(watch('a', COUNTING.word - 8, 8));
    expect(debug.forward(ALL)).toEqual({ kind: 'stopped' });
  });
  it('does not change the run: same end, same hash', () => {
    const plain = bareMachine(counting(ROUNDS), { jit });
    plain.runFor(ALL);
    const { machine, debug } = start({ jit });
    debug.insertBreakpoint(COUNTING.load);
    debug.insertWatch(watch('w'));
    for (let n = 0; n < 300; n++) debug.forward(n * 37 + 1);
    for (let n = 0; n < 50; n++) debug.step(0);
    debug.clear();
    debug.forward(ALL);
    expect([machine.instructions, machine.hash()]).toEqual([plain.instructions, plain.hash()]);
  });
  it('asks whether a breakpoint applies, and passes when it does not', () => {
    const { debug } = start({ jit });
    debug.insertBreakpoint(COUNTING.load);
    debug.applies = () => eax(debug) === 777;
    expect(debug.forward(ALL)).toMatchObject({ kind: 'breakpoint' });
    expect(eax(debug)).toBe(777);
  });
});

describe('steps', () => {
  it('one instruction at a time, over breakpoints, and back again', () => {
    const { machine, debug } = start();
    debug.insertBreakpoint(COUNTING.store);
    const way: [number, number, string][] = [];
    for (let n = 0; n < 60; n++) {
      way.push([eip(debug), eax(debug), machine.hash()]);
      expect(debug.step(0)).toEqual({ kind: 'step', cpu: 0 });
    }
    for (let n = 59; n >= 0; n--) {
      expect(debug.reverseStep(0)).toEqual({ kind: 'step', cpu: 0 });
      expect([eip(debug), eax(debug), machine.hash()]).toEqual(way[n]);
    }
    expect(debug.reverseStep(0)).toEqual({ kind: 'begin' });
    expect(machine.instructions).toBe(0);
  });
});

describe('backwards', () => {
  it('meets every breakpoint again, in reverse order, with the state it had', async () => {
    const { machine, debug } = start();
    debug.forward(setup + perRound * 30_000);
    debug.insertBreakpoint(COUNTING.load);
    const seen: [number, string][] = [];
    for (let n = 0; n < 20; n++) { debug.forward(ALL); seen.push([machine.instructions, machine.hash()]); }
    debug.forward(5);
    for (const [at, hash] of seen.reverse()) {
      expect(await debug.reverseContinue()).toEqual({ kind: 'breakpoint', cpu: 0, linear: COUNTING.load });
      expect([machine.instructions, machine.hash()]).toEqual([at, hash]);
    }
    // And forwards from here: the same again.
    debug.forward(ALL);
    expect(machine.instructions).toBe(seen.at(-2)![0]);
  });
  it('stops in front of the last store to a watched word, where the old value stands', async () => {
    const { machine, debug } = start();
    debug.forward(setup + perRound * 30_000);
    debug.insertWatch(watch('w'));
    for (const round of [29_999, 29_998, 29_997]) {
      expect(await debug.reverseContinue()).toMatchObject({ kind: 'watch', write: true });
      expect([eip(debug), machine.instructions, debug.port.machine.board.ramWords[COUNTING.word >> 2]]).toEqual([COUNTING.store, setup + round * perRound + 2, round]);
    }
    expect(debug.forward(ALL)).toMatchObject({ kind: 'watch' });
    expect(eip(debug)).toBe(COUNTING.load);
  });
  it('ends at the beginning of history', async () => {
    const { machine, debug } = start();
    debug.forward(100_000);
    debug.insertBreakpoint(COUNTING.word); // nobody comes there
    expect(await debug.reverseContinue()).toEqual({ kind: 'begin' });
    expect(machine.instructions).toBe(0);
  });
  it('of 100 million instructions goes back to the previous event by running again little more than to the nearest snapshot', async () => {
    const { machine, debug } = start({}, 20_000_000);
    debug.insertWatch(watch('w', 0x30_0000));
    debug.forward(100_000_000);
    debug.clear();
    debug.insertBreakpoint(COUNTING.load);
    const { timeline } = debug, before = timeline.counters.again;
    expect(await debug.reverseContinue()).toMatchObject({ kind: 'breakpoint' });
    expect(machine.instructions).toBe(setup + Math.floor((100_000_000 - setup - 4) / perRound) * perRound + 3);
    expect(timeline.counters.again - before).toBeLessThan(5_000_000);
    expect(timeline.snapshots.length).toBeLessThanOrEqual(64);
    // An event at the very beginning: nothing is run again more than once but the piece that holds it.
    debug.clear();
    const first = timeline.counters.again;
    debug.applies = () => eax(debug) === 3;
    debug.insertBreakpoint(COUNTING.load);
    debug.seek(100_000_000);
    expect(await debug.reverseContinue()).toMatchObject({ kind: 'breakpoint' });
    expect(eax(debug)).toBe(3);
    expect(timeline.counters.again - first).toBeLessThan(112_000_000);
  });
  it('keeps what a user changed, and what led there', async () => {
    const { machine, debug } = start();
    debug.forward(10_000);
    debug.port.setRegister(0, 'ebx', 0x1234);
    debug.changed();
    const changed = machine.hash();
    debug.forward(20_000);
    const after = machine.hash();
    expect(debug.seek(5_000)).toBe(true);
    expect(debug.seek(10_000)).toBe(true);
    expect(machine.hash()).toBe(changed);
    debug.seek(5_000);
    debug.forward(25_000);
    expect([machine.instructions, machine.hash()]).toEqual([30_000, after]);
  });
  it('hands output out once', async () => {
    const hello = [0x66, 0xba, 0xf8, 0x03, 0xb9, 200, 0, 0, 0, 0x88, 0xc8, 0xee, 0x49, 0x75, 0xfa, 0xf4]; // dx = 3f8h; ecx = 200; do out dx, al = cl; while (--ecx); hlt
    let out: number[] = [];
    const machine = bareMachine(hello, { com1: (bytes) => out.push(...bytes) }), debug = new Debugger(machine);
    debug.forward(400);
    const first = out.length;
    expect(first).toBeGreaterThan(50);
    debug.seek(100);
    debug.seek(350);
    expect(out.length).toBe(first);
    expect(debug.forward(ALL)).toEqual({ kind: 'idle' });
    expect(out).toEqual(Array.from({ length: 200 }, (_, n) => 200 - n));
  });
});
