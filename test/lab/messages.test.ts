/**
 * Classes of faults that the servers are built to survive, in small: lost, doubled and damaged messages of the rings, and damaged text of fs. Spec and seed are fixed,
 * the points depend on the build: what must hold is that no message of a ring costs anything, and that damaged text seldom goes unnoticed.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureGuest } from '../../tools/cli/guest.ts';
import { runCampaign } from '../../tools/lab/campaign.ts';
import { countOutcomes } from '../../tools/lab/report.ts';
import { parseSpec } from '../../tools/lab/spec.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'kintsugi-messages-'));
beforeAll(() => ensureGuest(), 600_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('messages of the rings', () => {
  it.each(['ipc.drop', 'ipc.dup', 'ipc.corrupt'])('%s: every program gets its answer, nothing is done twice, no server is restarted', async (model) => {
    const { rows } = await runCampaign(parseSpec({ target: 'fs,tty,uart1,virtio-blk', model, n: 24, seed: 5, boundMs: 1000 }), { workers: 1, root: path.join(folder, model) });
    for (const row of rows) expect(['latent', 'masked', 'not-activated'], `row ${row.index} (${row.target}): ./kintsugi inject --target fs,tty,uart1,virtio-blk --model ${model} --n 24 --seed 5 --bound 1000`).toContain(row.outcome);
    expect(countOutcomes(rows).latent).toBeGreaterThan(12);
  }, 300_000);
});

describe('damaged text of fs', () => {
  it('seldom goes unnoticed: nearly all that changes anything is died of and done again', async () => {
    const { rows } = await runCampaign(parseSpec({ target: 'fs', model: 'swifi', n: 42, seed: 5 }), { workers: 1, root: path.join(folder, 'swifi') });
    const counts = countOutcomes(rows), how = `./kintsugi inject --target fs --model swifi --n 42 --seed 5: ${JSON.stringify(counts)}`;
    expect(counts.recovered, how).toBeGreaterThan(15);
    expect(counts.sdc + counts.degraded + counts.hang, how).toBeLessThanOrEqual(9); // 3 to 5 % seen over 300; it was 15 %
    expect(counts['kernel-crash'] + counts['tool-error'], how).toBe(0);
  }, 300_000);
});
