/**
 * Campaigns: the same spec gives the same rows whoever runs them; a broken-off campaign goes on; a row runs again to its own state hash; a
 * wrong spec is refused by field; intervals and verdicts are right where that can be computed by hand.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureGuest } from '../../tools/cli/guest.ts';
import { runCampaign, type CampaignReport } from '../../tools/lab/campaign.ts';
import { classify, OUTCOMES } from '../../tools/lab/outcome.ts';
import { runGolden } from '../../tools/lab/golden.ts';
import { Random } from '../../tools/lab/random.ts';
import { replayRow } from '../../tools/lab/replay.ts';
import { countOutcomes, failureList, jsonReport, textReport } from '../../tools/lab/report.ts';
import { DEFAULT_BOUND_MS, parseSpec } from '../../tools/lab/spec.ts';
import { wilson } from '../../tools/lab/statistics.ts';
import { Store, workloadImage } from '../../tools/lab/store.ts';
import { filesWorkload } from '../../tools/lab/workload.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'kintsugi-lab-'));
beforeAll(() => ensureGuest(), 600_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

// Few of these end at the hang limit, which costs ten golden runs each.
const spec = parseSpec({ target: 'fs,tty,virtio-blk', model: 'reg.flip,mem.flip,text,src,disk.error', n: 300, seed: 7 });
const reproduce = `./kintsugi inject --target ${spec.targets.join(',')} --model ${spec.models.join(',')} --n ${spec.n} --seed ${spec.seed}`;
let one: CampaignReport;

describe('300 injections', () => {
  it('end without kernel crash and tool error, and every one has its outcome', async () => {
    one = await runCampaign(spec, { workers: 1, root: path.join(folder, 'one') });
    const counts = countOutcomes(one.rows);
    expect(one.rows.map(({ index }) => index)).toEqual(Array.from({ length: 300 }, (_, n) => n));
    expect(one.rows.filter(({ outcome }) => outcome === 'tool-error' || outcome === 'kernel-crash'), reproduce).toEqual([]);
    expect(Object.values(counts).reduce((a, b) => a + b)).toBe(300);
    for (const outcome of ['recovered', 'masked', 'latent'] as const) expect(counts[outcome], `${outcome}: ${reproduce}`).toBeGreaterThan(5);
    // Servers that died were back within a millisecond of guest work.
    const recovered = one.rows.flatMap(({ recoverInstructions }) => (recoverInstructions === null ? [] : [recoverInstructions]));
    expect(recovered.length).toBeGreaterThan(30);
    expect(Math.max(...recovered)).toBeLessThan(5_000_000);
    for (const { detectInstructions, detectedIn } of one.rows) if (detectInstructions !== null) { expect(detectInstructions).toBeGreaterThanOrEqual(0); expect(detectedIn).not.toBe(''); }
  }, 300_000);
  it('are the same with two workers, row by row', async () => {
    const two = await runCampaign(spec, { workers: 2, root: path.join(folder, 'two') });
    expect(two.id).toBe(one.id);
    expect(two.rows, reproduce).toEqual(one.rows);
  }, 300_000);
  it('are in the record: a second run has nothing to do, and a half-done one does the rest', async () => {
    const again = await runCampaign(spec, { workers: 2, root: path.join(folder, 'one') });
    expect(again.ran).toBe(0);
    expect(again.rows).toEqual(one.rows);
    const half = Store.create(one.id, spec, 'not asked for', path.join(folder, 'half'));
    half.add(one.rows.filter(({ index }) => index % 30 !== 0));
    half.close();
    const rest = await runCampaign(spec, { workers: 1, root: path.join(folder, 'half') });
    expect(rest.ran).toBe(10);
    expect(rest.rows).toEqual(one.rows);
  }, 300_000);
  it('can be opened again: replay comes to the same outcome and state hash and shows what ran', () => {
    const chosen = (['recovered', 'masked', 'latent'] as const).map((outcome) => one.rows.find((row) => row.outcome === outcome && row.eip > 0 && (outcome !== 'recovered' || (row.detectInstructions ?? Infinity) < 100))!);
    for (const row of chosen) {
      const replay = replayRow(row.id, { root: path.join(folder, 'one') });
      expect(replay.same, `./kintsugi replay ${row.id}`).toBe(true);
      expect(replay.result.stateHash).toBe(row.stateHash);
      expect(replay.before.length).toBeGreaterThan(3);
      expect(replay.after.length).toBeGreaterThan(0);
      expect(replay.before.at(-1)!.who).toBe(row.target);
      // The trace on both sides of the fault, in order; what was restarted is seen to be.
      const { tracedBefore, tracedAfter } = replay, traced = [...tracedBefore, ...tracedAfter];
      expect(tracedBefore.length).toBe(12);
      if (row.outcome !== 'masked') expect(tracedAfter.length).toBe(12); // else it is over when it meets the golden run again
      expect(tracedBefore.some(({ who }) => who === `${row.target} #1`), `./kintsugi replay ${row.id}`).toBe(true);
      expect(traced.map(({ us }) => us)).toEqual(traced.map(({ us }) => us).sort((a, b) => a - b));
      expect(traced.filter(({ text }) => text === '')).toEqual([]);
      if (row.outcome === 'recovered') expect(tracedAfter.map(({ kind, who }) => `${kind} ${who}`)).toContain(`fault ${row.target} #1`);
    }
  }, 300_000);
  it('are told as a table with intervals and as an object', () => {
    const text = textReport(one), json = jsonReport(one);
    expect(text).toMatch(/outcome +n +share +95 % interval/);
    expect(text).toMatch(/recovered +\d+ +[\d.]+ % +[\d.]+ % - [\d.]+ %/);
    // The list of failures names each of them once.
    const failed = one.rows.filter(({ outcome }) => !['recovered', 'latent', 'masked', 'not-activated'].includes(outcome));
    const listed = failureList(one).split('\n').filter((line) => /^\| (fs|tty|virtio-blk|disk) /.test(line)).flatMap((line) => line.split('|')[4]!.split(',').map(Number));
    expect(listed.sort((a, b) => a - b)).toEqual(failed.map(({ index }) => index));
    expect(json.n).toBe(300);
    expect(Object.keys(json.outcomes)).toEqual([...OUTCOMES]);
    expect(json.rows[0]).toHaveProperty('stateHash');
    expect(json.rows.filter(({ model }) => model === 'reg.flip').every(({ line, symbol }) => symbol !== '' || line !== '')).toBe(true);
  });
});

describe('a server that spins', () => {
  it('is found by its time bound and restarted, also where it keeps everybody else from running', async () => {
    const hangs = parseSpec({ target: 'fs,tty,uart1,virtio-blk', model: 'server.hang', n: 12, seed: 2 });
    const { rows } = await runCampaign(hangs, { workers: 2, root: path.join(folder, 'hangs') });
    const how = './kintsugi inject --target fs,tty,uart1,virtio-blk --model server.hang --n 12 --seed 2';
    for (const row of rows) {
      expect([row.outcome, row.detectedIn, row.restarts, row.note], `${row.target}, row ${row.index}: ${how}`).toEqual(['recovered', 'supervisor', 1, '']);
      const bound = DEFAULT_BOUND_MS * 1e6 * (row.target === 'fs' ? 3 : 1);
      expect(row.detectInstructions, how).toBeGreaterThan(bound / 2);
      expect(row.detectInstructions, how).toBeLessThan(bound * 2);
    }
  }, 300_000);
  it('is found by root when it is the supervisor itself', async () => {
    const hangs = parseSpec({ target: 'supervisor', model: 'server.hang', n: 4, seed: 2 });
    const { rows } = await runCampaign(hangs, { workers: 2, root: path.join(folder, 'supervisor-hangs') });
    for (const row of rows) {
      expect([row.outcome, row.restarts, row.note], `row ${row.index}: ./kintsugi inject --target supervisor --model server.hang --n 4 --seed 2`).toEqual(['recovered', 1, '']);
    }
  }, 300_000);
  it('makes a golden run that restarts a server no golden run', () => {
    const workload = filesWorkload();
    const options = { cpus: 1, scheduleSeed: 0, memoryMiB: 128, disk: workloadImage(workload), command: workload.command, append: 'storm=9:100:1:fs' };
    expect(() => runGolden(options, workload.stdout)).toThrow(/the run without a fault restarts fs/);
  }, 300_000);
});

describe('a spec', () => {
  const good = { target: 'fs', model: 'reg.flip', n: 10 };
  it.each([
    [{ ...good, target: 'fss' }, /^target: there is no "fss"; did you mean "fs"/],
    [{ ...good, model: ['reg.flip', 'mem.flop'] }, /^model\[1\]: there is no "mem.flop"; did you mean "mem.flip"/],
    [{ ...good, n: 0 }, /^n: expected a whole number from 1/],
    [{ ...good, boundMs: -5 }, /^boundMs: expected a whole number from 0/],
    [{ ...good, n: 'many' }, /^n: .*found "many"/],
    [{ ...good, sed: 1 }, /^sed: there is no such field; did you mean "seed"/],
    [{ ...good, trigger: { kind: 'symbl' } }, /^trigger.kind: .*did you mean "symbol"/],
    [{ ...good, trigger: { kind: 'ipc', nht: 1 } }, /^trigger.nht: there is no such field; did you mean "nth"/],
    [{ ...good, trigger: { kind: 'ipc' } }, /^trigger.nth: expected a whole number/],
    [{ ...good, target: 'kernel', model: 'server.kill' }, /^model: server.kill does not apply to the kernel/],
    [[], /^\(document\): expected a JSON object/],
  ])('%j is refused by field', (value, message) => { expect(() => parseSpec(value)).toThrow(message); });
  it('takes groups and hexadecimal numbers', () => {
    const parsed = parseSpec({ target: 'drivers', model: 'swifi', n: '0x10' });
    expect(parsed.n).toBe(16);
    expect(parsed.models).toEqual(['text', 'nop', 'src', 'dst', 'ptr', 'loop', 'interface']);
    expect(parsed.targets).toEqual(['uart0', 'uart1', 'virtio-blk', 'virtio-net']);
  });
});

describe('judgement', () => {
  it('gives every observation one outcome, by precedence', () => {
    const fine = { activated: true, end: 'poweroff', failed: 0, loops: 0, restarts: 0, wrong: false, errors: false, sameState: false } as const;
    expect(classify(fine)).toBe('latent');
    expect(classify({ ...fine, sameState: true })).toBe('masked');
    expect(classify({ ...fine, restarts: 1 })).toBe('recovered');
    expect(classify({ ...fine, restarts: 1, errors: true })).toBe('degraded');
    expect(classify({ ...fine, restarts: 1, errors: true, wrong: true })).toBe('sdc');
    expect(classify({ ...fine, end: 'stuck' })).toBe('hang');
    expect(classify({ ...fine, end: 'stuck', failed: 1 })).toBe('failstop');
    expect(classify({ ...fine, end: 'stuck', failed: 1, loops: 1 })).toBe('crash-loop');
    expect(classify({ ...fine, end: 'machine-down', loops: 1 })).toBe('kernel-crash');
    expect(classify({ ...fine, activated: false })).toBe('not-activated');
  });
  it('tells an error that was told from a result that is wrong', () => {
    const workload = filesWorkload(), right = { stdout: workload.stdout, stderr: '', exit: 0, image: undefined };
    expect(workload.judge(right)).toEqual({ errors: false, wrong: false, notes: [] });
    expect(workload.judge({ ...right, stdout: workload.stdout.replace('copy\n', 'FAILED copy\n') })).toMatchObject({ errors: true, wrong: false });
    expect(workload.judge({ ...right, stdout: workload.stdout.replace('copy\n', 'cxpy\n') })).toMatchObject({ wrong: true });
    expect(workload.judge({ ...right, stdout: workload.stdout.replace(/[0-9a-f]{64}/, '0'.repeat(64)) })).toMatchObject({ wrong: true });
    expect(workload.judge({ ...right, stdout: 'begin\nwrite\n', exit: 126, stderr: 'sh: no\n' })).toMatchObject({ errors: true, wrong: false });
    expect(workload.judge({ ...right, stdout: 'begin\nwrite\n' })).toMatchObject({ wrong: true });
  });
  it('knows Wilson intervals', () => {
    // 23 of 50: 33.0 % - 59.6 %; none of 1000: at most 0.4 %.
    expect(wilson(23, 50).low).toBeCloseTo(0.330, 3);
    expect(wilson(23, 50).high).toBeCloseTo(0.596, 3);
    expect(wilson(0, 1000)).toMatchObject({ low: 0 });
    expect(wilson(0, 1000).high).toBeCloseTo(0.00383, 4);
  });
  it('draws numbers that depend on seed and index alone, evenly', () => {
    const stream = (seed: number, index: number): number[] => { const random = new Random(seed, index); return Array.from({ length: 6 }, () => random.word()); };
    expect(stream(1, 2)).toEqual(stream(1, 2));
    expect(new Set([...stream(1, 2), ...stream(1, 3), ...stream(2, 2)]).size).toBe(18);
    const counts = new Array<number>(10).fill(0);
    for (let index = 0; index < 10_000; index++) counts[new Random(5, index).below(10)]!++;
    for (const count of counts) expect(count).toBeGreaterThan(850);
  });
});
