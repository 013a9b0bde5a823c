/** The booted system goes back: recorded and replayed, from the middle too, with the network of the host in it; saved and gone on with; verified. */
import { createServer } from 'node:http';
import { mkdtempSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { ensureGuest } from '../../tools/cli/guest.ts';
import { Rewind, type RewindOptions } from '../../tools/cli/rewind.ts';
import { runCommand, type RunOutcome } from '../../tools/cli/run.ts';
import type { SystemOptions } from '../../tools/cli/system.ts';
import { verifiedPair } from '../../tools/cli/verify.ts';
import { verifiedRun, verifyRuns } from '../../vm/verify.ts';

beforeAll(() => { ensureGuest(); }, 600_000);
const folder = mkdtempSync(path.join(tmpdir(), 'kintsugi-rewind-')), file = (name: string): string => path.join(folder, name);
const options = (smp: number, more: Partial<SystemOptions> = {}): SystemOptions => ({ place: 'pin', smp, memoryMiB: 128, deterministic: true, seed: 5, timeoutSeconds: 100, jit: 'on', append: '', ...more });
const go = (asked: RewindOptions, base = options(2), argv: readonly string[] = [], input?: Uint8Array): Promise<RunOutcome> => {
  const rewind = new Rewind(asked, 'run', base, argv);
  return runCommand(rewind.options, rewind.argv, {}, input, rewind);
};
const same = ({ exit, stdout, stderr, instructions, virtualNs, stateHash }: RunOutcome): unknown => ({ exit, stdout, stderr, instructions, virtualNs, stateHash });
const argv = ['sh', '-c', 'read word; echo $word; ls /bin | wc -l; sha256sum /bin/sh; exit 7'], input = new TextEncoder().encode('hello\n');

describe('the booted system', { timeout: 300_000 }, () => {
  it('is recorded on two vCPUs and replayed to the bit, on one tier or the other, and from its middle', async () => {
    const recorded = await go({ record: file('r'), recordSnapshots: 6_000_000 }, options(2), argv, input);
    expect(recorded).toMatchObject({ exit: 7 });
    expect(recorded.stdout).toMatch(/^hello\n/);
    for (const jit of ['on', 'mixed'] as const) {
      const again = await go({ replay: file('r') }, options(4, { jit, seed: 9 })); // CPUs and seed are the recording's
      expect(same(again)).toEqual(same(recorded));
      expect(again.replay).toMatchObject({ divergence: undefined });
    }
    const middle = await go({ replay: file('r'), from: 13_000_000 }, options(1));
    expect([middle.instructions, middle.stateHash, middle.replay!.divergence]).toEqual([recorded.instructions, recorded.stateHash, undefined]);
  });
  it('goes on from a snapshot file as if nothing had been', async () => {
    const whole = await go({ snapshotOut: file('s'), at: 15_000_000 }, options(2), argv, input);
    const rest = await go({ snapshotIn: file('s') }, options(1));
    expect(same(rest)).toEqual(same(whole));
  });
  it('replays what came over the network of the host when nobody is there any more', async () => {
    const body = Array.from({ length: 4000 }, (_, n) => `line ${n * 7919 % 10_007}`).join('\n');
    const server = createServer((_request, response) => { setTimeout(() => { response.end(body); }, 20); });
    await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve); });
    const { port } = server.address() as AddressInfo;
    const recorded = await go({ record: file('n'), liveNet: true }, options(1, { net: { backend: { kind: 'user' } } }), ['sh', '-c', `wget -q -O - http://10.0.2.2:${port}/`]);
    server.close();
    server.closeAllConnections();
    expect(recorded.stdout).toBe(body);
    const again = await go({ replay: file('n') }, options(1));
    expect(same(again)).toEqual(same(recorded));
    expect(again.replay).toMatchObject({ divergence: undefined });
  });
  it('is the same with and without the JIT, and a flipped bit is found to the instruction', async () => {
    const [a, b] = verifiedPair(options(1), ['true'], 'mixed');
    try {
      const at = 4_000_003, plain = verifiedRun(b);
      const report = await verifyRuns(verifiedRun(a), {
        machine: b,
        advance(instructions) {
          const before = b.instructions;
          if (before >= at || before + instructions < at) return plain.advance(instructions);
          const first = plain.advance(at - before);
          b.board.ram[0x300_0000] ^= 16;
          b.board.markDirty(0x300_0000, 1);
          const rest = plain.advance(instructions - first.instructions);
          return { pause: rest.pause, instructions: first.instructions + rest.instructions };
        },
      }, { every: 1_000_000 });
      expect(report.divergence).toMatchObject({ after: at - 1, exact: true });
      expect(report.divergence!.differences.map(({ where }) => where)).toEqual(['memory 03000000']);
      expect(report.rungs).toBe(5);
    } finally { a.close(); b.close(); }
  });
  it('refuses what does not go together, in one sentence', () => {
    for (const [asked, message] of [
      [{ snapshotIn: 'a', replay: 'b' }, /begin in one place only/], [{ record: 'a', replay: 'b' }, /--record begins with the machine/], [{ at: 5 }, /--snapshot-out/], [{ from: 5 }, /--replay/], [{ liveNet: true }, /--live-net goes with --record/], [{ replay: file('none') }, /no such file/],
    ] as const) expect(() => new Rewind(asked, 'run', options(1), argv), JSON.stringify(asked)).toThrow(message);
    expect(() => new Rewind({ record: file('x') }, 'run', options(1, { disk: 'my.img', overlay: false }), argv)).toThrow(/add --overlay/);
  });
});
