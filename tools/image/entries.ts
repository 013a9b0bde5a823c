/**
 * What goes into an image: a flat list of entries with absolute paths. Parents need not be listed (they become 0755 directories).
 * `readFolder` turns a host folder into such a list, deterministically: sorted by name, owner 0, modes reduced to 0755/0644 (whoever
 * cloned the repository with whatever umask gets the same image), times left to the writer.
 */
import { lstatSync, readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';

export interface FileEntry { readonly kind: 'file'; readonly path: string; readonly data: Uint8Array; readonly mode?: number; readonly time?: number; /** leave holes for all-zero blocks */ readonly sparse?: boolean }
export interface DirectoryEntry { readonly kind: 'directory'; readonly path: string; readonly mode?: number; readonly time?: number }
export interface SymlinkEntry { readonly kind: 'symlink'; readonly path: string; readonly target: string; readonly time?: number }
/** One more name of a file listed before. */
export interface HardLinkEntry { readonly kind: 'link'; readonly path: string; readonly target: string }
export type Entry = FileEntry | DirectoryEntry | SymlinkEntry | HardLinkEntry;

/** "/a//b/./c/" -> "/a/b/c"; ".." is refused, because what it means depends on symlinks. */
export function normalizePath(path: string): string {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) throw new Error(`image path "${path}" contains "..": give the path it stands for`);
  return '/' + parts.join('/');
}

/** The folder's content as entries below `prefix` (default "/"). Sockets, devices and the like are refused by name. */
export function readFolder(folder: string, prefix = '/'): Entry[] {
  const entries: Entry[] = [];
  for (const name of readdirSync(folder).sort()) {
    const from = join(folder, name);
    const path = normalizePath(`${prefix}/${name}`);
    const info = lstatSync(from);
    if (info.isDirectory()) entries.push({ kind: 'directory', path, mode: 0o755 }, ...readFolder(from, path));
    else if (info.isSymbolicLink()) entries.push({ kind: 'symlink', path, target: readlinkSync(from) });
    else if (info.isFile()) entries.push({ kind: 'file', path, data: readFileSync(from), mode: info.mode & 0o100 ? 0o755 : 0o644 });
    else throw new Error(`${from} is neither file, directory nor symlink: it cannot go into an image`);
  }
  return entries;
}
