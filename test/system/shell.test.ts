/** What a person does at the shell, each as one `kintsugi run`, deterministic and parallel. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeSparse } from '../../tools/image/file.ts';
import { Ext2Reader } from '../../tools/image/reader.ts';
import { rootImage } from '../../tools/build/rootfs.ts';
import { PROGRAMS } from '../../tools/build/targets.ts';
import { ensureGuest, GUEST_FOLDER } from '../../tools/cli/guest.ts';
import { runCommand } from '../../tools/cli/run.ts';
import type { SystemOptions } from '../../tools/cli/system.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'kintsugi-shell-'));
beforeAll(() => ensureGuest(), 600_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const base: SystemOptions = { place: 'pin', smp: 2, memoryMiB: 128, deterministic: true, seed: 1, timeoutSeconds: 120, jit: 'on', append: '' };
const sh = (script: string, more: Partial<SystemOptions> = {}): ReturnType<typeof runCommand> => runCommand({ ...base, ...more }, ['sh', '-c', script]);

describe('kintsugi run', () => {
  it('gives stdout, stderr and the exit status, and nothing else', async () => {
    const outcome = await sh('cat /etc/motd; echo oops >&2; exit 7');
    expect(outcome.exit, outcome.log).toBe(7);
    expect(outcome.stdout).toContain('Kintsugi');
    expect(outcome.stderr).toBe('oops\n');
  });
  it('does pipes and redirections', async () => {
    const outcome = await sh('seq 1 100 | grep 7 | wc -l; echo one > /tmp/f; echo two >> /tmp/f; sort < /tmp/f | head -1; cat /nowhere 2>/dev/null || echo missing');
    expect(outcome.stdout, outcome.log).toMatch(/^\s*19\s*\none\nmissing\n$/);
  });
  it('runs commands from its input, also a last one without a newline', async () => {
    const outcome = await runCommand(base, ['sh'], {}, Buffer.from('echo one\necho two; cat; exit 5'));
    expect(outcome.stdout, outcome.log).toBe('one\ntwo\n');
    expect(outcome.exit).toBe(5);
  });
  it('computes the same SHA-256 as the host, through the file server', async () => {
    const outcome = await sh('sha256sum /bin/sh');
    const expected = createHash('sha256').update(readFileSync(path.join(GUEST_FOLDER, 'sh.elf'))).digest('hex');
    expect(outcome.stdout, outcome.log).toContain(expected);
  });
  it('lists every server with vCPU, generation and state in ps', async () => {
    const { stdout, log } = await sh('ps', { smp: 4 });
    for (const name of ['root', 'supervisor', 'process', 'fs', 'tty', 'uart0', 'virtio-blk', 'sh']) expect(stdout, log).toContain(name);
  });
  it('kills a program that faults and goes on', async () => {
    const outcome = await sh('sleep 100 & kill $!; wait; echo alive; exit 3');
    expect(outcome.stdout, outcome.log).toContain('alive');
    expect(outcome.exit).toBe(3);
  });
  it('works in parallel mode, pinned and following', async () => {
    for (const place of ['pin', 'follow'] as const) {
      const outcome = await sh('ls /bin | wc -l; exit 5', { deterministic: false, place, smp: 4 });
      expect(outcome.exit, `${place}\n${outcome.log}`).toBe(5);
      expect(Number(outcome.stdout)).toBe(PROGRAMS.length);
    }
  });
  it('times out with status 124', async () => {
    const outcome = await sh('sleep 1000', { timeoutSeconds: 3, deterministic: false });
    expect(outcome.exit).toBe(124);
  });
});

describe('a disk of one\'s own', () => {
  it('keeps changes over power-off and is clean for e2fsck', async () => {
    const disk = path.join(folder, 'my.img');
    writeSparse(disk, rootImage(PROGRAMS, 64));
    const first = await sh('mkdir -p /home/me; echo kept > /home/me/note; cp /bin/sh /home/me/sh; mv /home/me/sh /home/me/shell; rm /etc/motd; poweroff', { disk });
    expect(first.log + first.stderr).not.toContain('error');
    const second = await sh('cat /home/me/note; sha256sum < /home/me/shell; ls /etc/motd', { disk });
    expect(second.stdout, second.log).toMatch(/^kept\n/);
    expect(second.stdout).toContain(createHash('sha256').update(readFileSync(path.join(GUEST_FOLDER, 'sh.elf'))).digest('hex'));
    expect(second.exit).not.toBe(0);
    const reader = new Ext2Reader(readFileSync(disk));
    expect(reader.verify()).toEqual([]);
    const check = spawnSync('e2fsck', ['-fn', disk], { encoding: 'utf8' });
    if (check.error) console.warn('e2fsck is not installed: only our own verifier looked at the disk');
    else expect(check.status, check.stdout).toBe(0);
  });
  it('that does not exist, is too short or is no ext2 is refused by name', async () => {
    await expect(sh('true', { disk: path.join(folder, 'none.img') })).rejects.toThrow(/no disk image at .*none\.img/);
  });
});
