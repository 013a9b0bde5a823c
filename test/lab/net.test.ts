/** Faults under the workload `net`: damaged text of net and its driver is found, and a stream survives it; the verdict on what the program printed. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureGuest } from '../../tools/cli/guest.ts';
import { runCampaign } from '../../tools/lab/campaign.ts';
import { netWorkload } from '../../tools/lab/net-workload.ts';
import { countOutcomes } from '../../tools/lab/report.ts';
import { parseSpec } from '../../tools/lab/spec.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'kintsugi-net-'));
beforeAll(() => ensureGuest(), 600_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('the workload net', () => {
  it('damaged text of net and virtio-net seldom costs anything: it is died of', async () => {
    const { rows, golden } = await runCampaign(parseSpec({ workload: 'net', target: 'net,virtio-net', model: 'swifi,reg.flip', n: 64, seed: 5 }), { workers: 2, root: folder });
    const counts = countOutcomes(rows), how = `./kintsugi inject --workload net --target net,virtio-net --model swifi,reg.flip --n 64 --seed 5: ${JSON.stringify(counts)}`;
    expect(golden).toBeLessThan(6_000_000);
    expect(counts.recovered, how).toBeGreaterThan(16);
    expect(counts.sdc + counts.degraded + counts.hang, how).toBeLessThanOrEqual(6); // 1 to 2 % seen over 1,000; hangs alone were 7 %
    expect(counts['kernel-crash'] + counts['tool-error'] + counts['crash-loop'], how).toBe(0);
  }, 300_000);
  it('is judged by what was told', () => {
    const { stdout, judge } = netWorkload(), right = { stdout, stderr: '', exit: 0, image: undefined };
    expect(judge(right)).toEqual({ errors: false, wrong: false, notes: [] });
    expect(judge({ ...right, stdout: stdout.replace(/crc [0-9a-f]{8}/, 'crc 00000000') })).toMatchObject({ wrong: true });
    expect(judge({ ...right, stdout: stdout.replace('left 0\n', '') })).toMatchObject({ wrong: true });
    expect(judge({ ...right, exit: 1, stderr: 'netop: recv: connection reset by peer\n', stdout: stdout.replace(/received 6000.*\n(.*\n)*/, 'FAILED done echo\nleft 0\n') })).toMatchObject({ errors: true, wrong: false });
    expect(judge({ ...right, exit: 139, stdout: stdout.slice(0, 30) })).toMatchObject({ errors: true, wrong: false });
  });
  it('is named in a spec', () => {
    expect(parseSpec({ target: 'net', model: 'nop', n: 1, workload: 'net' }).workload).toBe('net');
    expect(() => parseSpec({ target: 'net', model: 'nop', n: 1, workload: 'nett' })).toThrow('workload: there is no workload "nett"; did you mean "net"? (known: files, net)');
    expect(() => parseSpec({ target: 'net', model: 'nop', n: 1, workload: 7 })).toThrow('workload: there is no workload 7');
  });
});
