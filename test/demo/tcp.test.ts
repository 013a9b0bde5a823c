// One connection between the host and the guest while what carries it is killed: small, and in real time (live sockets), so nothing here depends on how long it takes.
import { describe, expect, it } from 'vitest';
import { demoTcpCommand } from '../../tools/cli/demo-tcp.ts';
import { demoTcp, type TcpOptions } from '../../tools/demo/tcp.ts';

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
  it('is not offered where it cannot be', async () => {
    const show = { json: true, log: false };
    await expect(demoTcpCommand({ ...base, victims: ['process'] }, show)).rejects.toThrow(/no victim process; there are: net,/);
    await expect(demoTcpCommand({ ...base, disk: 'x.img' }, show)).rejects.toThrow(/leave --disk out/);
  });
});
