// The kill storm with a fixed seed on the deterministic machine: 200 kills, most of them in the middle of a request, and every byte of the disk as the model says.
import { describe, expect, it } from 'vitest';
import { S } from '../../vm/cpu/state.ts';
import { createMachine, DeterministicMachine } from '../../vm/machine.ts';
import { tickLine } from '../../tools/cli/demo.ts';
import { ensureGuest, ROOT_IMAGE } from '../../tools/cli/guest.ts';
import { systemConfig } from '../../tools/cli/system.ts';
import { demoRestart, spread, type DemoOptions } from '../../tools/demo/restart.ts';
import { modelWorker } from '../../tools/demo/model.ts';

const base: DemoOptions = {
  place: 'pin', smp: 2, memoryMiB: 128, deterministic: true, seed: 11, timeoutSeconds: 500, jit: 'off', append: '', // text that lives this briefly seldom pays for regions
  kills: 200, periodMs: 1, victims: ['virtio-blk', 'fs', 'tty', 'uart0', 'uart1'], workers: 3,
};

describe('hot restart under load', () => {
  it('loses nothing in 200 kills, many of them with a request in service', async () => {
    const report = await demoRestart(base);
    expect(report.problems, `./kintsugi demo restart --deterministic --kills 200 --period 1 --seed ${base.seed}`).toEqual([]);
    expect(report).toMatchObject({ kills: 200, restarts: 200, lost: 0, wrongChecksums: 0, reason: 'poweroff' });
    expect(report.midRequest).toBeGreaterThanOrEqual(80);
    expect(report.redelivered).toBeGreaterThan(100);
    for (const victim of base.victims) expect(report.victims[victim]!.restarts, victim).toBeGreaterThan(9);
    // Guest work, not time. Medians, with a third to spare; up to `started` the supervisor's, `ready` the server's own.
    const most = { stopped: 6_000, revoked: 45_000, built: 95_000, started: 100_000, ready: 30_000 } as const;
    for (const [phase, instructions] of Object.entries(most)) expect(report.phases[phase as keyof typeof most].instructions.median, phase).toBeLessThan(instructions);
    for (const [victim, instructions] of Object.entries({ 'virtio-blk': 190_000, fs: 450_000, uart0: 170_000, uart1: 170_000 })) expect(report.victims[victim]!.recoveryInstructions.median, victim).toBeLessThan(instructions);
    expect(Object.keys(report).slice(0, 9)).toEqual(['kills', 'midRequest', 'restarts', 'redelivered', 'lost', 'wrongChecksums', 'recoveryNs', 'recoveryInstructions', 'phases']);
  }, 600_000); // 20 s of CPU; the limit is for machines with other things to do
  it('the supervisor itself may be among the victims', async () => {
    const report = await demoRestart({ ...base, kills: 20, victims: ['fs', 'supervisor'], smp: 4, place: 'follow', seed: 3, periodMs: 3 });
    expect(report.problems).toEqual([]);
    expect(report).toMatchObject({ lost: 0, wrongChecksums: 0 });
    expect(report.victims['supervisor']!.restarts).toBeGreaterThan(3);
  }, 600_000);
});

describe('the code of a restarted server', () => {
  it('is copied from what was decoded for its predecessors', async () => {
    ensureGuest();
    let lines = 0; // two for each restart
    const total = (field: number): number => new Int32Array((machine as DeterministicMachine).board.buffer, (machine as DeterministicMachine).board.vcpuBase(0), 0x400)[field >> 2]!;
    const then = { decoded: 0, copied: 0 };
    const machine = await createMachine({
      ...systemConfig({ ...base, smp: 1, jit: 'on', jitHeat: 20_000, append: 'telemetry storm=30:3000:5:fs+tty', disk: ROOT_IMAGE, overlay: true }, ['workload', '5', '30', '2'], { com1: () => undefined, com2: () => undefined }),
      debug: (bytes) => {
        for (const byte of bytes) if (byte === 10 && ++lines === 20) { then.decoded = total(S.countBlocks); then.copied = total(S.countCopied); }
      },
    });
    const { reason } = await machine.run().finally(() => machine.close());
    expect([reason, lines >= 60]).toEqual(['poweroff', true]);
    const decoded = total(S.countBlocks) - then.decoded, copied = total(S.countCopied) - then.copied;
    expect(copied, `${decoded} decoded`).toBeGreaterThan(20 * 200); // 20 restarts, some hundred blocks each
    expect(decoded, `${copied} copied`).toBeLessThan(copied / 4);
    expect(total(S.countReturned), `of ${total(S.countRegions)} regions`).toBeGreaterThan(100); // and what was compiled is put back
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
