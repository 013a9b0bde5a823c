// One connection between the host and the guest while what carries it is killed: live (in real time, so nothing depends on how long it takes) and in virtual time.
import { describe, expect, it } from 'vitest';
import { demoTcpCommand } from '../../tools/cli/demo-tcp.ts';
import { demoTcp, type TcpOptions, type TcpReport } from '../../tools/demo/tcp.ts';

const base: TcpOptions = {
  place: 'follow', smp: 2, memoryMiB: 128, deterministic: false, seed: 5, timeoutSeconds: 500, jit: 'on', append: '',
  kills: 3, periodMs: 40, victims: ['net', 'virtio-net', 'fs'], bytes: 1 << 20, compare: false,
};

describe('a connection of a machine whose servers are killed', () => {
  it('stays, and no byte of it is wrong', async () => {
    const report = await demoTcp(base);
    expect(report.problems, JSON.stringify(report)).toEqual([]);
    expect(report).toMatchObject({ resets: 0, wrongBytes: 0, wrongChecksums: 0, reason: 'poweroff' });
    expect(report.kills).toBeGreaterThanOrEqual(base.kills);
    expect(report.bytesUp).toBe(report.bytesDown);
    expect(report.bytesDown).toBeGreaterThanOrEqual(base.bytes);
  }, 600_000);
  it('has no long pauses in virtual time, and the same ones each time', async () => {
    // Instructions are time here: a pause is what the restart of a server costs, and a retransmission timer (200 ms) or a lost doorbell would show.
    const run = (): Promise<TcpReport> => demoTcp({ ...base, place: 'pin', smp: 4, deterministic: true, kills: 20, periodMs: 5, bytes: 2 << 20 });
    const first = await run();
    expect(first.problems, JSON.stringify(first)).toEqual([]);
    expect(first).toMatchObject({ resets: 0, wrongBytes: 0, wrongChecksums: 0, mode: 'deterministic' });
    expect(first.kills).toBeGreaterThanOrEqual(20);
    expect(first.longestStallMs, JSON.stringify(first.stalls)).toBeLessThan(10);
    const { hostSeconds: _, ...again } = await run();
    expect({ ...again, hostSeconds: first.hostSeconds }).toEqual(first);
  }, 600_000);
  it('sends no frame twice and loses next to none when its driver is restarted', async () => {
    const report = await demoTcp({ ...base, deterministic: true, victims: ['virtio-net'], kills: 20, periodMs: 4, bytes: 4 << 20 });
    expect(report.problems, JSON.stringify(report)).toEqual([]);
    expect(report.kills).toBeGreaterThanOrEqual(20);
    expect(report).toMatchObject({ resets: 0, wrongBytes: 0, retransmittedByPeer: 0, receivedAgain: 0 });
    expect(report.retransmitted).toBeLessThanOrEqual(1); // docs/CAVEATS.md
  }, 600_000);
  it('is not offered where it cannot be', async () => {
    const show = { json: true, log: false };
    await expect(demoTcpCommand({ ...base, victims: ['process'] }, show)).rejects.toThrow(/no victim process; there are: net,/);
    await expect(demoTcpCommand({ ...base, disk: 'x.img' }, show)).rejects.toThrow(/leave --disk out/);
  });
});
