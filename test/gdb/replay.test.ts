/** A row of a campaign in the debugger: the machine stands at the injected instruction with the fault in it, and its past can be looked at. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { ensureGuest } from '../../tools/cli/guest.ts';
import { runCampaign } from '../../tools/lab/campaign.ts';
import { debugRow } from '../../tools/lab/replay-debug.ts';
import { parseSpec } from '../../tools/lab/spec.ts';

beforeAll(() => { ensureGuest(); }, 600_000);

it('debugs a flipped register: before the fault it is the golden run, from there on the broken one, whichever way one comes', { timeout: 400_000 }, async () => {
  const root = mkdtempSync(path.join(tmpdir(), 'kintsugi-campaign-'));
  const report = await runCampaign(parseSpec({ target: 'fs', model: 'reg.flip', n: 1, seed: 4 }), { workers: 1, root }), [row] = report.rows;
  const { target, subject, at } = debugRow(`${report.id}:${row!.index}`, { root });
  try {
    const { debug, machine } = target, broken = machine.hash();
    expect(machine.instructions).toBe(at);
    expect(target.threads().find(({ id }) => id === target.current)!.extra).toMatch(/running: fs/);
    debug.seek(at - 1000);
    const before = machine.hash();
    debug.seek(at);
    expect(machine.hash()).toBe(broken);
    debug.forward(5000);
    const after = machine.hash();
    debug.seek(at - 1000);
    expect(machine.hash()).toBe(before);
    debug.seek(at + 5000);
    expect(machine.hash()).toBe(after);
  } finally { subject.close(); }
});
