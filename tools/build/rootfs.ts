/**
 * The root file system: programs/rootfs plus every program ELF in /bin, as an ext2 image. One recipe for the built root image and for
 * `kintsugi image`.
 */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { REPOSITORY_ROOT } from '../../vm/entry.ts';
import { readFolder, type Entry } from '../image/entries.ts';
import { buildExt2 } from '../image/writer.ts';

const GUEST = path.join(REPOSITORY_ROOT, 'build', 'guest');

/** Entries of the root file system; `programs` are target names, each `build/guest/<name>.elf`. */
export function rootEntries(programs: readonly string[]): Entry[] {
  const folder = path.join(REPOSITORY_ROOT, 'programs', 'rootfs');
  const entries: Entry[] = existsSync(folder) ? readFolder(folder) : [];
  const present = new Set(entries.map((entry) => entry.path));
  for (const directory of ['/bin', '/tmp', '/home', '/etc', '/www']) if (!present.has(directory)) entries.push({ kind: 'directory', path: directory, mode: 0o755 });
  for (const name of [...programs].sort()) entries.push({ kind: 'file', path: `/bin/${name}`, data: readFileSync(path.join(GUEST, `${name}.elf`)), mode: 0o755 });
  return entries;
}

/** The root file system as an image. */
export function rootImage(programs: readonly string[], sizeMiB: number, blockSize: 1024 | 2048 | 4096 = 4096): Uint8Array {
  return buildExt2({ entries: rootEntries(programs), sizeMiB, blockSize, label: 'kintsugi' });
}
