/** Builds the test guests with gcc -m32 into build/test-guests, by content hash of sources and options. */
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Guest } from './catalog.ts';

const HERE = import.meta.dirname;
const OUT = join(HERE, '..', '..', 'build', 'test-guests');
const FLAGS = ['-m32', '-ffreestanding', '-O2', '-march=i686', '-mno-sse', '-mno-mmx', '-fno-pic', '-no-pie', '-fno-stack-protector', '-fno-strict-aliasing', '-fno-asynchronous-unwind-tables', '-fno-tree-loop-distribute-patterns',
  '-fno-builtin', '-nostdlib', '-static', '-Wall', '-Wno-unused-function', '-Wno-array-bounds', '-Wno-stringop-overflow', '-Wl,--build-id=none', '-Wl,-z,noexecstack', '-Wl,--no-warn-rwx-segments'];

/** Why guests cannot be built here, or null. */
export function guestsUnavailable(): string | null {
  const r = spawnSync('gcc', ['-m32', '-ffreestanding', '-nostdlib', '-x', 'c', '-c', '-', '-o', '/dev/null'], { input: 'int x;' });
  return r.status === 0 ? null : 'gcc -m32 is not usable here: the test guests are skipped';
}

/** Path of the guest's ELF file, built if its sources have changed. */
export function buildGuest(guest: Guest): string {
  const lib = readdirSync(join(HERE, 'lib')).sort().map(f => readFileSync(join(HERE, 'lib', f)));
  const hash = createHash('sha256');
  for (const part of [...lib, readFileSync(join(HERE, guest.source)), JSON.stringify([FLAGS, guest.defines ?? []])]) hash.update(part);
  mkdirSync(OUT, { recursive: true });
  const elf = join(OUT, `${guest.name}-${hash.digest('hex').slice(0, 16)}.elf`);
  if (!existsSync(elf)) {
    execFileSync('gcc', [...FLAGS, ...(guest.defines ?? []).map(d => `-D${d}`), '-I', HERE, '-T', join(HERE, 'lib', 'guest.ld'), '-o', elf,
      join(HERE, 'lib', 'boot.S'), join(HERE, 'lib', 'guest.c'), ...(guest.source === 'smp.c' ? [] : [stubForSmp()]), join(HERE, guest.source)], { stdio: ['ignore', 'inherit', 'inherit'] });
  }
  return elf;
}

/** boot.S refers to ap_main; only the multiprocessor guest has one. */
function stubForSmp(): string {
  const path = join(OUT, 'no-ap.c');
  writeFileSync(path, 'void ap_main(void) { for (;;) __asm__ volatile("cli; hlt"); }\n');
  return path;
}

/** The disk of the virtio-blk guest: 1 MiB, byte i of sector s = 3 i + s. */
export function guestDisk(): Uint8Array {
  return Uint8Array.from({ length: 2048 * 512 }, (_, i) => (i % 512 * 3 + Math.floor(i / 512)) & 255);
}
