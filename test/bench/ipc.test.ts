/** The IPC benchmark: its instruction counts, exactly; where they go; that it refuses a machine that is not steady; its shape and its figure. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { benchIpc, formatBenchIpc, IpcBenchError, SIZES } from '../../tools/bench/ipc.ts';
import { checkStability } from '../../tools/bench/ipc/environment.ts';
import { figure } from '../../tools/bench/ipc/figure.ts';
import { exactCounts, PHASES } from '../../tools/bench/ipc/phases.ts';
import { Latencies } from '../../tools/bench/ipc/statistics.ts';
import { buildGuests } from '../../tools/build/guests.ts';

beforeAll(async () => { expect((await buildGuests({ names: ['kernel', 'ipc-bench'] })).failed).toEqual([]); }, 300_000);

describe('instructions of a round trip on one CPU', () => {
  // Exact: a change here is a change of the kernel's fast path (or of the probe), for better or worse, and belongs into the same commit.
  const words = { 0: [99, 96, 244], 3: [99, 96, 244], 8: [113, 110, 272], 16: [121, 118, 288] } as const;
  const SPACE_SWITCH = 2;
  for (const [count, [call, replyRecv, trip]] of Object.entries(words)) it(`are what they were for ${count} words, and their phases sum to them`, async () => {
    for (const [space, extra] of [['same', 0], ['other', SPACE_SWITCH]] as const) {
      const exact = await exactCounts(space, 'same', Number(count));
      expect([exact.call, exact.replyRecv, exact.trip], `${space} Space`).toEqual([call + extra, replyRecv + extra, trip + 2 * extra]);
      const { stub, call: there, replyRecv: back } = exact.phases!;
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
    expect(lease.phases).toBeNull();
    expect(lease.trip).toBeGreaterThan(1024); // REP MOVSD of 4 KiB counts its iterations
  });
});

describe('bench ipc', () => {
  it('refuses a machine that is not steady, says why, and measures with force', async () => {
    const check = (): ReturnType<typeof checkStability> => ({ fastestNs: 1e6, p90Ns: 3e6, steady: false, reason: 'the same work takes 1.00 ms or 3.00 ms' });
    await expect(benchIpc({ check })).rejects.toThrow(IpcBenchError);
    await expect(benchIpc({ check })).rejects.toThrow(/not steady enough to measure on: the same work takes 1\.00 ms or 3\.00 ms.*--force/);
    expect(checkStability(30, 2)).toMatchObject({ steady: false, reason: 'the load average is 30.0 on 2 cores' });
  });
  it('gives rows, tiers, peers, environment and figure', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'kintsugi-ipc-')), svg = path.join(folder, 'ipc.svg');
    try {
      const result = await benchIpc({ quick: true, force: true, launches: 1, cpus: ['same'], svg });
      expect(result.rows.map(({ space, cpu, words, leaseBytes }) => [space, cpu, words, leaseBytes])).toEqual(['same', 'other'].flatMap((space) => SIZES.map((size) => [space, 'same', ...size])));
      for (const row of result.rows) {
        expect(row.kernelInstructions!.call).toBeGreaterThan(90);
        expect(row.hostNs).toEqual(row.tiers.hot);
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
  it('escapes what it draws', () => expect(figure('a < b & c', '', [{ name: '<x>', points: [[10, 0], [100, 1]] }], [])).toMatch(/a &lt; b &amp; c[^]*&lt;x&gt;/));
});
