// The whole system on the deterministic VM: every restartable server and the supervisor are killed under running programs, which must not notice.
import { beforeAll, describe, expect, it } from 'vitest';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { ensureGuest, GUEST_FOLDER } from '../../tools/cli/guest.ts';
import { systemConfig } from '../../tools/cli/system.ts';
import { createMachine } from '../../vm/machine.ts';

beforeAll(() => ensureGuest(), 600_000);

interface Outcome { reason: string; log: string; channel: string }
async function run(script: string, seed: number): Promise<Outcome> {
  let log = '', channel = '';
  const config = systemConfig({ place: 'pin', smp: 4, memoryMiB: 128, deterministic: true, seed, timeoutSeconds: 100, jit: 'off', append: '' }, ['sh', '-c', script], {
    com1: (bytes: Uint8Array) => { log += Buffer.from(bytes).toString('latin1'); }, com2: (bytes: Uint8Array) => { channel += Buffer.from(bytes).toString('latin1'); },
  });
  const { reason } = await createMachine({ ...config, cmdline: (config.cmdline ?? '').replace('quiet ', '') }).run();
  return { reason, log, channel };
}
const shSum = (): string => createHash('sha256').update(readFileSync(path.join(GUEST_FOLDER, 'sh.elf'))).digest('hex');
const count = (text: string, what: RegExp): number => text.match(what)?.length ?? 0;

describe('hot restart on the VM', () => {
  it('kills every server once, and a copy made meanwhile is right', async () => {
    const servers = ['fs', 'virtio-blk', 'tty', 'uart0', 'uart1', 'supervisor', 'fs'];
    const { reason, log, channel } = await run(`sleep 0.1; ${servers.map((s) => `kill ${s}; cp /bin/sh /tmp/x; sha256sum /tmp/x; sleep 0.05`).join('; ')}; echo finished`, 1);
    expect(reason, log).toBe('poweroff');
    expect(channel.split(shSum()).length - 1, log).toBe(servers.length);
    expect(channel).toContain('finished');
    for (const s of ['fs', 'virtio-blk', 'tty', 'uart0', 'uart1']) expect(log).toMatch(new RegExp(`${s} restarted, epoch 2`));
    expect(log).toContain('supervisor restarted, generation 2');
    expect(log).not.toMatch(/given up|cannot/);
    // One instruction is 1 ns of virtual time: with a twin waiting, death to ready costs so much guest work.
    for (const [s, limitUs] of [['tty', 280], ['virtio-blk', 250], ['uart1', 250], ['fs', 600]] as const) {
      const us = Number(new RegExp(`${s} phases, us: .* ready ([0-9]+)`).exec(log)?.[1]);
      expect(us, log).toBeGreaterThan(0);
      expect(us, s).toBeLessThan(limitUs);
    }
  });
  const SEEDS = process.env['KINTSUGI_FULL'] === undefined ? [3] : Array.from({ length: 20 }, (_, n) => n + 1);
  it.each(SEEDS)('survives a storm of kills in the middle of copies (schedule seed %i)', async (seed) => {
    const { reason, log, channel } = await run('for k in $(seq 1 10); do sleep 0.0031; kill fs; sleep 0.0017; kill virtio-blk; done & for i in 1 2 3; do cp /bin/sh /tmp/x$i; cat /tmp/x$i | sha256sum; rm /tmp/x$i; done; wait; echo finished', seed);
    expect(reason, log).toBe('poweroff');
    expect(channel.split(shSum()).length - 1, channel).toBe(3);
    expect(channel).toContain('finished');
    expect(count(log, /restarted, epoch/g)).toBeGreaterThan(10);
  });
});
