/**
 * Runs a test guest under Bochs, the second reference: an interpreter that checks what TCG leaves out (limits, reserved bits, priorities).
 *
 * Debian's bochs has no headless display of its own; its `rfb` one, told not to wait for a viewer, is one. The guest starts from a ROM made
 * here (bochs-rom.S), so neither a BIOS nor a disk is needed. Bochs ends when the guest writes "Shutdown" to port 8900h.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Guest } from './catalog.ts';
import { parseKtap } from './ktap.ts';
import type { GuestRun } from './qemu.ts';

const ROM_BYTES = 512 << 10, BOOT_BYTES = 0x1000;

export const bochsAvailable = (): boolean => {
  const r = spawnSync('bochs', ['--help', 'cpu'], { encoding: 'latin1' });
  return r.status === 0 && /corei7_icelake_u/.test(r.stdout + r.stderr);
};

function buildRom(directory: string, elf: string): string {
  const object = join(directory, 'rom.elf'), flat = join(directory, 'boot.bin'), rom = join(directory, 'rom.bin');
  execFileSync('gcc', ['-m32', '-nostdlib', '-static', '-no-pie', '-Wl,--build-id=none,-Ttext=0,--no-warn-rwx-segments', `-DROM_BYTES=${ROM_BYTES}`, '-o', object, join(import.meta.dirname, 'bochs-rom.S')], { stdio: ['ignore', 'ignore', 'inherit'] });
  execFileSync('objcopy', ['-O', 'binary', '-j', '.text', object, flat]);
  const image = new Uint8Array(ROM_BYTES), program = readFileSync(elf);
  if (program.length > ROM_BYTES - BOOT_BYTES) throw new RangeError(`${elf} does not fit into a ROM of ${ROM_BYTES} bytes`);
  image.set(program, 0);
  image.set(readFileSync(flat), ROM_BYTES - BOOT_BYTES);
  writeFileSync(rom, image);
  return rom;
}

/** `status` is 0x10 when the guest came to its end and all its results are good, 0x11 when not all are, null when it did not end. */
export function runOnBochs(guest: Guest, elf: string, timeoutMs = 60_000): GuestRun {
  const directory = mkdtempSync(join(tmpdir(), 'kintsugi-bochs-'));
  try {
    const serial = join(directory, 'serial.txt'), log = join(directory, 'log.txt'), rc = join(directory, 'bochsrc'), commands = join(directory, 'commands'), vga = join(directory, 'vga.bin');
    writeFileSync(vga, Uint8Array.from({ length: 512 }, (_, i) => [0x55, 0xaa, 1, 0xcb, 0x35][i] ?? 0));
    writeFileSync(commands, 'c\n');
    writeFileSync(rc, [
      'config_interface: textconfig', 'display_library: rfb, options="timeout=0"', 'memory: guest=64, host=64',
      `romimage: file=${buildRom(directory, elf)}`, `vgaromimage: file=${vga}`, 'vga: extension=none, update_freq=5',
      `cpu: model=corei7_icelake_u, count=${guest.cpus ?? 1}, ips=50000000, reset_on_triple_fault=0, ignore_bad_msrs=0`,
      'clock: sync=none, time0=1000', `com1: enabled=1, mode=file, dev=${serial}`, 'floppy_bootsig_check: disabled=1', 'ata0: enabled=0', 'ata1: enabled=0',
      'pci: enabled=0', 'sound: waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy', 'plugin_ctrl: speaker=0, gameport=0, parallel=0',
      `log: ${log}`, 'panic: action=fatal', 'error: action=report', 'info: action=ignore', 'debug: action=ignore', '',
    ].join('\n'));
    const child = spawnSync('bochs', ['-q', '-f', rc, '-rc', commands], { timeout: timeoutMs, encoding: 'latin1', stdio: ['ignore', 'pipe', 'pipe'] });
    const read = (path: string): string => existsSync(path) ? readFileSync(path, 'latin1') : '';
    const output = read(serial), { lines, problems } = parseKtap(output), ended = /Shutdown port/.test(read(log) + child.stdout + child.stderr);
    if (!ended) return { output: `${output}\n[bochs] ended with ${child.status ?? child.signal}\n${read(log).slice(-3000)}`, status: null };
    return { output, status: problems.length === 0 && lines.every(l => l.ok) ? 0x10 : 0x11 };
  } finally { rmSync(directory, { recursive: true, force: true }); }
}
