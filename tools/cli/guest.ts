/**
 * What must be built before anything boots: every guest ELF and the root image. Freshness is one fingerprint (names, sizes, times) of
 * the guest's sources and of the compiler, so that a second start builds nothing and asks nobody; the build itself is cached by content.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { REPOSITORY_ROOT } from '../../vm/entry.ts';
import { UserError } from './errors.ts';

export const GUEST_FOLDER = path.join(REPOSITORY_ROOT, 'build', 'guest');
export const ROOT_IMAGE = path.join(REPOSITORY_ROOT, 'build', 'image', 'root.img');
const STAMP = path.join(GUEST_FOLDER, '.fingerprint');
const SOURCES = ['microkernel', 'servers', 'drivers', 'programs', 'tools/build', 'tools/image', 'tools/bench'];

function fingerprint(): string {
  const hash = createHash('sha256');
  const visit = (folder: string): void => {
    if (!existsSync(folder)) return;
    for (const item of readdirSync(folder, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))) {
      const file = path.join(folder, item.name);
      if (item.isDirectory()) visit(file);
      else {
        const { size, mtimeMs } = statSync(file);
        hash.update(`${file}:${size}:${mtimeMs}\n`);
      }
    }
  };
  for (const folder of SOURCES) visit(path.join(REPOSITORY_ROOT, folder));
  return hash.digest('hex');
}

/** Builds what is missing or old. Progress goes to stderr. */
export function ensureGuest(options: { readonly always?: boolean; readonly json?: boolean } = {}): void {
  const now = fingerprint();
  const fresh = existsSync(STAMP) && readFileSync(STAMP, 'utf8') === now && existsSync(ROOT_IMAGE);
  if (fresh && options.always !== true) return;
  const result = spawnSync(process.execPath, [path.join(REPOSITORY_ROOT, 'tools', 'build', 'system.ts'), ...(options.json === true ? ['--json'] : [])],
    { cwd: REPOSITORY_ROOT, stdio: ['ignore', options.json === true ? 'inherit' : 2, 2] });
  if (result.status !== 0) throw new UserError('the guest could not be built; the messages stand above');
  mkdirSync(GUEST_FOLDER, { recursive: true });
  writeFileSync(STAMP, now);
}
