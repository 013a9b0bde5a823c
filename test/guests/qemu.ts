/** Runs a test guest under qemu-system-i386 (TCG): the reference every guest must pass on before our machine is judged by it. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { guestDisk } from './build.ts';
import type { Guest } from './catalog.ts';

export interface GuestRun { output: string; status: number | null }

export const qemuAvailable = (): boolean => spawnSync('qemu-system-i386', ['--version']).status === 0;

/** `status` is what the guest wrote to the debug-exit port, null when it never did. */
export function runOnQemu(guest: Guest, elf: string, timeoutMs = 60_000): GuestRun {
  const directory = mkdtempSync(join(tmpdir(), 'kintsugi-guest-'));
  try {
    const disk = join(directory, 'disk.img');
    if (guest.disk) writeFileSync(disk, guestDisk());
    const child = spawnSync('qemu-system-i386', ['-accel', 'tcg', '-cpu', 'max', '-m', '64', '-smp', String(guest.cpus ?? 1), '-display', 'none', '-vga', 'none', ...(guest.net ? ['-netdev', 'user,id=n', '-device', 'virtio-net-pci,netdev=n,disable-legacy=on'] : ['-net', 'none']), '-no-reboot', '-serial', 'stdio', '-monitor', 'none',
      '-device', 'isa-debug-exit,iobase=0xf4,iosize=4', ...(guest.disk ? ['-drive', `if=none,id=d,file=${disk},format=raw`, '-device', 'virtio-blk-pci,drive=d,disable-legacy=on'] : []), '-kernel', elf],
      { timeout: timeoutMs, encoding: 'latin1', stdio: ['ignore', 'pipe', 'pipe'] });
    const status = child.status !== null && child.status & 1 ? child.status >> 1 : null;
    return { output: child.stdout + (child.stderr ? `\n[qemu] ${child.stderr}` : ''), status };
  } finally { rmSync(directory, { recursive: true, force: true }); }
}
