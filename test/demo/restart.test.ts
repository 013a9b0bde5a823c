// The kill storm with a fixed seed on the deterministic machine: 200 kills, most of them in the middle of a request, and every byte of the disk as the model says.
import { describe, expect, it } from 'vitest';
import { tickLine } from '../../tools/cli/demo.ts';
import { demoRestart, spread, type DemoOptions } from '../../tools/demo/restart.ts';
import { modelWorker } from '../../tools/demo/model.ts';

const base: DemoOptions = {
  place: 'pin', smp: 2, memoryMiB: 128, deterministic: true, seed: 11, timeoutSeconds: 500, jit: 'off', append: '', // text that lives this briefly seldom pays for regions
  kills: 200, periodMs: 1, victims: ['virtio-blk', 'fs', 'tty', 'uart0', 'uart1'], workers: 3,
};

describe('hot restart under load', () => {
  it('loses nothing in 200 kills, at least half of them with a request in service', async () => {
    const report = await demoRestart(base);
    expect(report.problems, `./kintsugi demo restart --deterministic --kills 200 --period 1 --seed ${base.seed}`).toEqual([]);
    expect(report).toMatchObject({ kills: 200, restarts: 200, lost: 0, wrongChecksums: 0, reason: 'poweroff' });
    expect(report.midRequest).toBeGreaterThanOrEqual(100);
    expect(report.redelivered).toBeGreaterThan(100);
    for (const victim of base.victims) expect(report.victims[victim]!.restarts, victim).toBeGreaterThan(9);
    // Guest work, not time: a standby restart costs well under a million instructions.
    expect(report.recoveryInstructions.median).toBeLessThan(1_000_000);
    expect(Object.keys(report).slice(0, 9)).toEqual(['kills', 'midRequest', 'restarts', 'redelivered', 'lost', 'wrongChecksums', 'recoveryNs', 'recoveryInstructions', 'phases']);
  }, 600_000); // 20 s of CPU; the limit is for machines with other things to do
  it('the supervisor itself may be among the victims', async () => {
    const report = await demoRestart({ ...base, kills: 20, victims: ['fs', 'supervisor'], smp: 4, place: 'follow', seed: 3, periodMs: 3 });
    expect(report.problems).toEqual([]);
    expect(report).toMatchObject({ lost: 0, wrongChecksums: 0 });
    expect(report.victims['supervisor']!.restarts).toBeGreaterThan(3);
  }, 600_000);
});

describe('the model of the workload', () => {
  it('follows from the seed alone, and its steps build on each other', () => {
    const a = modelWorker(5, 0, 200), b = modelWorker(5, 0, 200), c = modelWorker(6, 0, 200);
    expect([...a.files].map(([name, bytes]) => `${name} ${bytes.toString('base64')}`)).toEqual([...b.files].map(([name, bytes]) => `${name} ${bytes.toString('base64')}`));
    expect(a.files.get('log')!.equals(c.files.get('log')!)).toBe(false);
    expect(a.sums.slice(0, modelWorker(5, 0, 100).sums.length)).toEqual(modelWorker(5, 0, 100).sums);
  });
  it('median and 99th percentile are elements of the sample', () => {
    expect(spread([])).toEqual({ median: 0, p99: 0 });
    expect(spread([5, 1, 9])).toEqual({ median: 5, p99: 9 });
  });
});

describe('the live line', () => {
  const tick = { kills: 33, generations: new Map([['virtio-blk', 6], ['fs', 19], ['tty', 4]]), recoveryNs: { median: 61_710_000, p99: 413_713_000 }, redelivered: 110, lost: 0, calls: { count: 1707, median: 1_493_000, p99: 327_418_000 } };
  it('is whole where there is room', () => expect(tickLine(tick, 60)).toBe('kills 33/60  virtio-blk g6 fs g19 tty g4  recovery 61.710 ms p99 413.713 ms  redelivered 110  lost 0  calls 1707 1.493 ms p99 327.418 ms'));
  it('never wraps: a narrow terminal gets what matters most', () => {
    for (let columns = 12; columns < 160; columns++) expect(tickLine(tick, 60, columns).length).toBeLessThanOrEqual(columns);
    expect(tickLine(tick, 60, 79)).toBe('kills 33/60  recovery 61.710 ms p99 413.713 ms  redelivered 110  lost 0');
    expect(tickLine(tick, 60, 25)).toBe('kills 33/60  lost 0');
  });
});
