/** The IPC benchmark: its instruction counts, exactly; where they go; that it refuses a machine that is not steady; its shape and its figure. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { benchIpc, formatBenchIpc, HOT_SHARE, IpcBenchError, SIZES } from '../../tools/bench/ipc.ts';
import { checkStability, othersSince, processorTimes, stabilityOf, type Stability } from '../../tools/bench/ipc/environment.ts';
import { figure, nsText } from '../../tools/bench/ipc/figure.ts';
import { readMarks, type Launch, type LaunchPlan } from '../../tools/bench/ipc/launch.ts';
import { exactCounts, PHASES, type PhaseCounts } from '../../tools/bench/ipc/phases.ts';
import { stabilityOfLaunches } from '../../tools/bench/ipc/stability.ts';
import { Latencies } from '../../tools/bench/ipc/statistics.ts';
import { buildGuests } from '../../tools/build/guests.ts';
import type { TraceRecord } from '../../tools/trace/records.ts';
import { TRACE_EVENT } from '../../vm/trace.ts';

beforeAll(async () => { expect((await buildGuests({ names: ['kernel', 'ipc-bench'] })).failed).toEqual([]); }, 300_000);

describe('instructions of a round trip on one CPU', () => {
  // Exact: a change here is a change of the kernel's fast path (or of the probe), for better or worse, and belongs into the same commit.
  const words = { 0: [99, 96, 244], 3: [99, 96, 244], 8: [113, 110, 272], 16: [121, 118, 288] } as const;
  const SPACE_SWITCH = 2;
  for (const [count, [call, replyRecv, trip]] of Object.entries(words)) it(`are what they were for ${count} words, and their phases sum to them`, async () => {
    for (const [space, extra] of [['same', 0], ['other', SPACE_SWITCH]] as const) {
      const exact = await exactCounts(space, 'same', Number(count));
      expect([exact.call, exact.replyRecv, exact.trip], `${space} Space`).toEqual([call + extra, replyRecv + extra, trip + 2 * extra]);
      const { stub, call: there, replyRecv: back } = exact.phases;
      for (const phase of PHASES) { expect(there[phase]).toBeGreaterThan(0); expect(back[phase]).toBeGreaterThan(0); }
      expect(PHASES.reduce((sum, phase) => sum + there[phase] + back[phase], stub)).toBe(exact.trip);
    }
  });
  it('stay within 150 each way for up to 3 words, and 110 as the design has it', async () => {
    const { call, replyRecv } = await exactCounts('other', 'same', 3);
    expect(Math.max(call, replyRecv)).toBeLessThanOrEqual(110);
  });
  it('are the same for a server that follows its caller, and known for a lease', async () => {
    const [follow, same, lease] = [await exactCounts('other', 'follow', 3), await exactCounts('other', 'same', 3), await exactCounts('other', 'same', 0, true)];
    expect([follow.call, follow.replyRecv, follow.trip]).toEqual([same.call, same.replyRecv, same.trip]);
    const { stub, call, replyCopy, replyRecv } = lease.phases, of = (p: PhaseCounts): number => PHASES.reduce((sum, phase) => sum + p[phase], 0);
    expect(stub + of(call) + of(replyCopy!) + of(replyRecv)).toBe(lease.trip);
    expect([of(call), of(replyRecv), replyRecv]).toEqual([lease.call, lease.replyRecv, same.phases.replyRecv]);
    for (const p of [call, replyCopy!]) for (const phase of PHASES) expect(p[phase], phase).toBeGreaterThan(0);
    expect([lease.call, of(replyCopy!), lease.replyRecv, lease.trip]).toEqual([603, 1669, 98, 2494]);
    expect(replyCopy!.copy).toBeGreaterThan(1024);
    expect(lease.trip).toBeGreaterThan(1024); // REP MOVSD of 4 KiB counts its iterations
  });
});

describe('bench ipc', () => {
  const steady: Stability = { fastestNs: 1e6, p90Ns: 1e6, othersCpus: 0, steady: true };
  it('refuses a machine that is not steady, says why, and measures with force', async () => {
    const check = (): Stability => ({ fastestNs: 1e6, p90Ns: 3e6, othersCpus: 0, steady: false, reason: 'the same work takes 1.00 ms or 3.00 ms' });
    await expect(benchIpc({ check })).rejects.toThrow(IpcBenchError);
    await expect(benchIpc({ check })).rejects.toThrow(/not steady enough to measure on: the same work takes 1\.00 ms or 3\.00 ms.*--force/);
  });
  it('judges a machine by the same work again and again, and by what others use of it', () => {
    const even = Array.from({ length: 100 }, () => 1e6);
    expect(stabilityOf(even, 0.1, 2)).toMatchObject({ steady: true, fastestNs: 1e6, p90Ns: 1e6 });
    expect(stabilityOf(even.map((t, i) => (i % 20 === 0 ? t * 9 : t)), 0, 2).steady).toBe(true); // one in twenty
    expect(stabilityOf(even.map((t, i) => (i % 5 === 0 ? t * 1.6 : t)), 0, 2)).toMatchObject({ steady: false, reason: 'the same work takes 1.00 ms or 1.60 ms (at most 1.5 times is steady)' });
    expect(stabilityOf(even, 1.4, 2)).toMatchObject({ steady: false, reason: 'other processes use 1.4 of its 2 cores, at most 0.25 leave room for the measurement' });
    expect(stabilityOf(even, 1.4, 8).steady).toBe(true);
    expect(stabilityOf(even, null, 2).steady).toBe(true); // no Linux
  });
  it('counts the processor time of others: all but its own, what the hypervisor took included', () => {
    const before = { atMs: 1000, ownUs: 500_000, busyUs: 10_000_000, stolenUs: 0 };
    expect(othersSince(before, { atMs: 2000, ownUs: 1_500_000, busyUs: 11_500_000, stolenUs: 250_000 })).toBeCloseTo(0.75);
    expect(othersSince(before, { atMs: 2000, ownUs: 1_500_000, busyUs: 10_990_000, stolenUs: 0 })).toBe(0); // ticks
    expect(othersSince(null)).toBeNull();
    expect(processorTimes('cpu  100 20 30 4000 50 6 7 8 0 0\ncpu0 1 1 1 1\n')).toMatchObject({ busyUs: 1_630_000, stolenUs: 80_000 });
    expect(processorTimes('')).toBeNull();
  });
  it.skipIf(process.platform !== 'linux')('sees other processes at work', async () => {
    const load = Array.from({ length: availableParallelism() }, () => spawn(process.execPath, ['-e', 'process.stdout.write("x"); for (;;);'], { stdio: ['ignore', 'pipe', 'ignore'] }));
    try {
      await Promise.all(load.map((child) => once(child.stdout, 'data')));
      expect(checkStability()).toMatchObject({ steady: false, reason: expect.stringMatching(/^(other processes use \d\.\d of its \d+ cores?, at most|the same work takes)/) });
    } finally { for (const child of load) child.kill('SIGKILL'); }
  });

  /** A launch as a machine would tell it, every reference sample `ns`, every overhead `overhead`. */
  const told = (tier: 'tier0' | 'hot', ns: number, overhead = 200, share = 0.95): Launch => readMarks(tier, (function* () {
    let at = 0, retired = 0, inRegions = 0;
    const mark = (id: number, after: number, a = 0): TraceRecord => ({ ns: at += after, cpu: 0, kind: 'unknown', id: TRACE_EVENT.mark + id, retired, words: [a, 0, 0, inRegions] });
    for (const space of [0, 1]) for (let size = 0; size < SIZES.length; size++) {
      yield mark(0x100, 1000, space << 8 | size << 16);
      yield mark(0x101, 100); yield mark(0x102, 5000 + overhead); yield mark(0x103, 100);
      retired += 10_000; inRegions += 10_000 * share; yield mark(0x104, 100);
      for (let k = 0; k < 10; k++) { yield mark(0x105, 100); yield mark(0x106, overhead, 64); yield mark(0x107, overhead + 64 * ns); }
    }
  })(), 0.3);
  it('takes the overhead off that was measured beside the samples', () => {
    const { configurations } = told('hot', 250);
    expect(configurations.size).toBe(2 * SIZES.length);
    expect(configurations.get('same other 3 0')).toEqual({ cold: 5000, samples: Array(10).fill(250), empty: Array(10).fill(200), share: { retired: 10_000, inRegions: 9500 } });
  });
  it('refuses when more than a fifth of the launches was disturbed, and names the first', async () => {
    const launches = (...slow: number[]): Launch[] => Array.from({ length: 20 }, (_, n) => told(n % 2 ? 'hot' : 'tier0', slow.includes(n) ? 900 : 500));
    expect(stabilityOfLaunches(launches())).toEqual({ disturbed: [], steady: true });
    expect(stabilityOfLaunches(launches(4, 8)).steady).toBe(true);
    expect(stabilityOfLaunches(launches(1, 3, 5, 7, 9)).disturbed).toEqual([]); // what the JIT makes of it differs from launch to launch
    expect(stabilityOfLaunches(launches(4, 6, 8, 10, 12))).toMatchObject({ steady: false, reason: '5 of 20 launches were disturbed, the first of them launch 5: a round trip on one CPU without JIT takes 900 ns in it, 500 ns in others (tier0); other processes used up to 0.3 CPUs meanwhile' });
    let n = 0;
    const unsteady = async (): Promise<Launch> => told(n % 2 ? 'hot' : 'tier0', 500, n++ % 3 === 0 ? 500 : 200);
    await expect(benchIpc({ check: () => steady, launch: unsteady, cpus: ['same'] })).rejects.toThrow(/this machine was not steady: 7 of 20 launches were disturbed, the first of them launch 1: the overhead of a sample takes 500 ns in it, 200 ns in others \(tier0\).*--force/);
  });
  it('has no hot row without the regions', async () => {
    const cold = async ({ jit }: LaunchPlan): Promise<Launch> => told(jit === 'on' ? 'hot' : 'tier0', 500, 200, 0.6);
    const result = await benchIpc({ check: () => steady, launch: cold, cpus: ['same'], quick: true });
    for (const row of result.rows) { expect(row.hotShare).toBe(0.6); expect(row.hostNs).toBeNull(); expect(row.tiers.hot).toBeNull(); expect(row.tiers.tier0!.median).toBe(500); }
    expect(result.skipped).toContain('3 words to another Space, same, hot: 60 % of its instructions ran in compiled regions, 75 % are wanted');
  });
  it('gives rows, tiers, peers, environment and figure', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'kintsugi-ipc-')), svg = path.join(folder, 'ipc.svg');
    try {
      const result = await benchIpc({ quick: true, force: true, launches: 1, cpus: ['same'], svg });
      expect(result.rows.map(({ space, cpu, words, leaseBytes }) => [space, cpu, words, leaseBytes])).toEqual(['same', 'other'].flatMap((space) => SIZES.map((size) => [space, 'same', ...size])));
      for (const row of result.rows) {
        expect(row.kernelInstructions!.call).toBeGreaterThan(90);
        expect(row.hostNs).toEqual(row.tiers.hot);
        expect(row.hotShare, `${row.space} Space, ${row.words} words, ${row.leaseBytes} bytes leased`).toBeGreaterThan(HOT_SHARE); // counted by the engine: a quick run is hot too
        for (const tier of [row.tiers.tier0, row.tiers.cold, row.tiers.hot]) { expect(tier!.median).toBeGreaterThan(0); expect(tier!.p99).toBeGreaterThanOrEqual(tier!.median); }
      }
      expect(result.overheadNs).toHaveLength(2);
      expect(result.environment).toMatchObject({ node: process.version, v8: process.versions.v8 });
      expect([...result.peers.map(({ name }) => name), ...result.skipped.map((why) => why.split(':')[0]!)]).toEqual(expect.arrayContaining(['pipe', 'unix socket', 'futex', 'MessagePort', 'Atomics.wait']));
      expect(readFileSync(svg, 'utf8')).toMatch(/^<svg [^]*call, other Space, same CPU, hot[^]*<\/svg>\n$/);
      expect(formatBenchIpc(result)).toMatch(/other +same +3 +101 +98 +248/);
    } finally { rmSync(folder, { recursive: true, force: true }); }
  }, 60_000);
  it('reads percentiles from an HDR histogram', () => {
    const latencies = new Latencies();
    expect(latencies.timing()).toBeNull();
    for (let i = 1; i <= 1000; i++) latencies.add(i);
    expect(latencies.timing()).toMatchObject({ median: 500, p90: 900, p99: 990, min: 1, max: 1000, n: 1000 });
    expect(latencies.ecdf(4)).toEqual([[1, 0], [250, 0.25], [500, 0.5], [750, 0.75], [1000, 1]]);
  });
  it('escapes what it draws', () => expect(figure({ title: 'a < b & c', subtitle: '', curves: [{ name: '<x>', points: [[10, 0], [100, 1]] }], sweeps: [] })).toMatch(/a &lt; b &amp; c[^]*&lt;x&gt;/));
  it('draws nothing outside its plots, whatever the values', () => {
    const svg = figure({
      title: 't', subtitle: 's', curves: [{ name: 'wide', points: [[1, 0], [1, 0.5], [9e10, 1]] }, { name: 'one', points: [[500, 0], [500, 1]], peer: true }, { name: 'none', points: [] }],
      sweeps: [{ name: 'x', points: [{ bytes: 0, median: 250, p99: 400 }, { bytes: 4096, median: 9000, p99: 4e6 }] }, { name: 'y', secondary: true, points: [{ bytes: 0, median: 500, p99: 600 }] }],
      notes: new Map([[0, '244 instr.']]), bar: { title: 'b', parts: [{ group: 'call', name: 'entry', count: 17 }, { group: 'call', name: 'exit', count: 6 }] },
    });
    const [, width, height] = /width="(\d+)" height="(\d+)"/.exec(svg)!.map(Number);
    expect(svg).not.toMatch(/NaN|Infinity|undefined/);
    for (const [, x, y] of svg.matchAll(/(?:M|L)([-\d.]+) ([-\d.]+)/g)) { expect(Number(x)).toBeGreaterThanOrEqual(0); expect(Number(x)).toBeLessThanOrEqual(width!); expect(Number(y)).toBeGreaterThanOrEqual(0); expect(Number(y)).toBeLessThanOrEqual(height!); }
    expect([nsText(244), nsText(1234), nsText(999.9), nsText(10_000), nsText(2.5e6), nsText(3e9)]).toEqual(['244 ns', '1.23 µs', '1 µs', '10 µs', '2.5 ms', '3 s']);
  });
});
