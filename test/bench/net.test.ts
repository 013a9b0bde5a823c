// What a ping and a connection cost on the whole machine, in instructions, and the memory of idle connections by the system's own count.
import { beforeAll, describe, expect, it } from 'vitest';
import { ensureGuest } from '../../tools/cli/guest.ts';
import { benchNet, formatBenchNet, type BenchNetResult } from '../../tools/bench/net.ts';
import { runCommand } from '../../tools/cli/run.ts';

beforeAll(() => ensureGuest(), 600_000);

describe('bench net', () => {
  let result: BenchNetResult;
  beforeAll(async () => { result = await benchNet({ runs: 1, place: 'follow', rows: ['ping', 'incoming', 'outgoing'], only: 'instructions' }); });
  // Measured (58,000, 84,000, 85,000), with a sixth to spare. Half of it is the kernel's: some 600 instructions for each of 50 to 75 entries.
  it.each([['ping', 68_000], ['incoming', 98_000], ['outgoing', 98_000]] as const)('%s takes at most %i instructions of the whole guest', (row, most) => {
    expect(result.rows[row]!.instructions).toBeLessThan(most);
    expect(result.rows[row]!.instructions).toBeGreaterThan(most / 4); // it was done at all
  });
  it('shows what was measured and no more', () => {
    expect(result.rows.receive).toBeUndefined();
    expect(result.rows.ping).toMatchObject({ guest: null, peer: null, ratio: null });
    expect(formatBenchNet(result)).toMatch(/^ping +- +- +ms +- +\d+$/m);
  });
});

describe('idle connections', () => {
  const many = process.env['KINTSUGI_FULL'] === undefined ? 200 : 1000, programs = many / 200;
  it(`${many} take less than ${(many * 8) / 1000} MiB of a guest with 128 MiB, and give it back`, async () => {
    const opens = Array.from({ length: programs }, (_, n) => `netbench open 10.0.2.2 9 200 > /tmp/o${n} & p${n}=$!`).join('\n');
    const ends = Array.from({ length: programs }, (_, n) => `kill $p${n}; wait $p${n}`).join('\n');
    const script = `netstat -m > /tmp/before\n${opens}\nsleep ${programs}\nnetstat -m > /tmp/with\nnetstat -at | grep -c ESTABLISHED\n${ends}\nsleep 1\ncat /tmp/o0; echo == before; cat /tmp/before; echo == with; cat /tmp/with; echo == after; netstat -m\n`;
    const { stdout, stderr } = await runCommand({ place: 'follow', smp: 1, memoryMiB: 128, deterministic: true, seed: 1, timeoutSeconds: 200, jit: 'on', append: '', net: { backend: { kind: 'user' } } }, ['sh'], {}, Buffer.from(script));
    const value = (part: string, name: string): number => Number(new RegExp(`^ *(\\d+)  ${name}$`, 'm').exec(stdout.split(`== ${part}\n`)[1] ?? '')?.[1] ?? NaN);
    expect(stdout.split('\n')[0], stderr).toBe(String(many));
    expect(value('with', 'sockets') - value('before', 'sockets')).toBe(many);
    expect(value('with', 'bytes in use') - value('before', 'bytes in use')).toBeLessThan(many * 3 * 1024); // 8 KiB are allowed
    expect(value('with', 'sockets at most')).toBeGreaterThan(1040);
    expect(value('after', 'pages of data')).toBe(value('before', 'pages of data'));
  });
});
