/** The engine agrees with a real CPU on every committed vector. A failure names the command that reproduces it. */
import { describe, expect, test } from 'vitest';
import { isCaptureVendor, nativeUnavailable } from './capture/native.ts';
import { vectorEngine } from './engine.ts';
import { fuzz, type FuzzOptions } from './fuzz.ts';
import { more } from './more.ts';
import { loadGroup, replay, vectorGroups, type ReplayReport } from './run.ts';

/** Under `--full` every vector runs, else three of four. */
const full = process.env['KINTSUGI_FULL'] !== undefined;
const told = (report: ReplayReport): string => report.failures.slice(0, 5).map(f => f.text).join('\n');

describe('vectors from a real CPU', () => {
  for (const name of vectorGroups()) {
    test(`${name}: the interpreter agrees`, () => {
      const report = replay(vectorEngine, loadGroup(name), { jit: 'off', select: v => full || v.index % 4 !== 3 });
      expect(report.total).toBeGreaterThan(900);
      expect(told(report), `${report.failed} of ${report.total} vectors of ${name} disagree`).toBe('');
    });
    test(`${name}: compiled regions agree`, () => {
      const report = replay(vectorEngine, loadGroup(name), { jit: 'on', select: v => v.index % (full ? 4 : 24) === 0 });
      // What is no instruction is not compiled either.
      if (name !== 'undefined') expect(report.compiled).toBeGreaterThan(0);
      expect(told(report), `${report.failed} of ${report.total} vectors of ${name} disagree`).toBe('');
    });
  }
  test('transcendental results are within one unit in the last place, and nearly all are the CPU\'s to the last bit', () => {
    const report = replay(vectorEngine, loadGroup('x87functions'), { jit: 'off' });
    expect(told(report)).toBe('');
    expect(report.exact / report.total).toBeGreaterThan(0.97);
  });
  test('one instruction per call of run() changes nothing', () => {
    for (const name of ['pair', 'string', 'stack']) {
      const report = replay(vectorEngine, loadGroup(name), { jit: 'off', piece: 1, select: v => v.index % 8 === 0 });
      expect(told(report)).toBe('');
    }
  });
  test('a vector with a wrong expectation fails: register, flag, memory, vector number, EIP', () => {
    const group = loadGroup('alu');
    group.vectors = group.vectors.filter(v => v.expected.trap === 3).slice(0, 50);
    group.vectors.forEach((v, i) => {
      const e = v.expected;
      if (i % 5 === 0) e.regs[i % 8]! ^= 1 << i % 32;
      if (i % 5 === 1) e.eflags ^= 0x40;
      if (i % 5 === 2) e.changes = [{ addr: 0x20000804, bytes: [1, 2, 3, 4] }];
      if (i % 5 === 3) e.trap = 14;
      if (i % 5 === 4) e.eip++;
    });
    expect(replay(vectorEngine, group, { jit: 'off' }).failed).toBe(50);
  });
  test('there are at least 200,000 vectors', () => {
    expect(vectorGroups().reduce((n, g) => n + loadGroup(g).vectors.length, 0)).toBeGreaterThanOrEqual(200_000);
  });
});

describe.skipIf(nativeUnavailable() !== null)('random programs against this machine', () => {
  test.runIf(isCaptureVendor())('vectors with another seed agree', () => {
    const report = more({ seed: 1, rounds: 1, groups: ['x87stack', 'x87functions', 'mmx', 'sse3'], jit: 'off' });
    expect(report.total).toBeGreaterThan(10_000);
    expect(report.failures.join('\n')).toBe('');
  });
  const agree = (options: FuzzOptions): void => { expect(fuzz(vectorEngine, options).failures.join('\n')).toBe(''); };
  test('straight-line programs, interpreter', () => { agree({ seed: 1_000_000, count: 1500, loop: 1, jit: 'off' }); });
  test('straight-line programs, compiled', () => { agree({ seed: 2_000_000, count: 200, loop: 1, jit: 'on' }); });
  test('hot loops, compiled on the way', () => { agree({ seed: 3_000_000, count: 12, loop: 30_000, jit: 'on' }); });
  test('loops that fault on the way stop exactly there, interpreter', () => { agree({ seed: 6_000_000, count: 500, loop: 100, walk: true, jit: 'off' }); });
  test('loops that fault on the way stop exactly there, compiled', () => { agree({ seed: 7_000_000, count: 150, loop: 100, walk: true, jit: 'on' }); });
  test.runIf(isCaptureVendor())('x87 programs, interpreter', () => { agree({ seed: 8_000_000, count: 500, loop: 1, x87: true, jit: 'off' }); });
  test.runIf(isCaptureVendor())('x87 loops, compiled, whole and in odd pieces', () => { agree({ seed: 9_000_000, count: 60, loop: 200, x87: true, jit: 'on' }); agree({ seed: 9_100_000, count: 30, loop: 60, x87: true, jit: 'on', piece: 37 }); });
  test.runIf(isCaptureVendor())('x87 loops that fault on the way stop exactly there', () => { agree({ seed: 9_200_000, count: 60, loop: 100, walk: true, x87: true, jit: 'on' }); });
  test('loops cut into odd budgets, interpreter', () => { agree({ seed: 4_000_000, count: 100, loop: 40, jit: 'off', piece: 7 }); });
  test('loops cut into odd budgets, compiled', () => { for (const piece of [7, 37, 211]) agree({ seed: 5_000_000 + piece * 1000, count: 60, loop: 60, jit: 'on', piece }); });
});
