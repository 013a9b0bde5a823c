/**
 * Open files: {id, inode}, ids chosen by the client, kept in the state so that an unlinked file stays alive across a restart of fs, and
 * dies when its last id is closed. An id that is opened again moves to the new inode.
 */
import { checksum } from '../lib/checksum';
import { EIO, ENFILE } from '../lib/errno';
import { FILES, FILE_BYTES, files, state } from './state';
import { firstOrphan, inodeFree, inodeView, linksOf, nextOrphan, orphanRemove } from './inode';
import { MORE, trimStep } from './blockmap';
import { abort, begin, commit, commitStep, editState } from './transaction';
import { editSuperblock, firstInode, inodes } from './volume';
import { EXT2_SUPERBLOCK_LAST_ORPHAN } from 'kintsugi/protocols';

const entryBuffer: usize = memory.data(16, 8);
function fileAt(n: u32): usize { return files + <usize>n * FILE_BYTES; }
/** Damaged entries count as empty. */
function inUse(p: usize): bool { return load<u32>(p, 4) != 0 && load<u32>(p, 12) == checksum(p, 12); }
function write(n: u32, id: u32, inode: u32): void {
  store<u32>(entryBuffer, id); store<u32>(entryBuffer, inode, 4); store<u32>(entryBuffer, 0, 8);
  store<u32>(entryBuffer, checksum(entryBuffer, 12), 12);
  editState(<u32>(fileAt(n) - state), entryBuffer, FILE_BYTES);
}
function findId(id: u32): i32 {
  for (let n: u32 = 0; n < FILES; n++) if (load<u32>(fileAt(n)) == id && inUse(fileAt(n))) return <i32>n;
  return -1;
}
export function openCount(inode: u32): u32 {
  let count: u32 = 0;
  for (let n: u32 = 0; n < FILES; n++) if (load<u32>(fileAt(n), 4) == inode && inUse(fileAt(n))) count++;
  return count;
}
/** Inode of an open id, 0 = not open. */
export function fileInode(id: u32): u32 { const n = findId(id); return n < 0 ? 0 : load<u32>(fileAt(n), 4); }
/** In a transaction. 0 or -ENFILE. */
export function fileOpen(id: u32, inode: u32): i32 {
  let n = findId(id);
  if (n < 0) for (n = 0; n < <i32>FILES; n++) if (!inUse(fileAt(n))) break;
  if (n == <i32>FILES) return -ENFILE;
  write(n, id, inode);
  return 0;
}
/** In a transaction; an id that is not open is no error. */
export function fileClose(id: u32): void { const n = findId(id); if (n >= 0) write(n, 0, 0); }
/** Id of open file n of the table, 0xffffffff = unused. */
export function fileId(n: u32): u32 { return inUse(fileAt(n)) ? load<u32>(fileAt(n)) : 0xffffffff; }

/** (pauses) Outside a transaction: frees an orphan for good, in steps, unless it is open or has names again. */
export function reap(inode: u32): i32 {
  begin();
  const p = inodeView(inode);
  if (p == 0) { abort(); return -EIO; }
  if (linksOf(p) != 0 || openCount(inode) != 0) { abort(); return 0; }
  let status = trimStep(inode, 0);
  while (status == MORE) { commitStep(null, 0); status = trimStep(inode, 0); }
  if (status == 0) status = orphanRemove(inode);
  if (status == 0) status = inodeFree(inode);
  if (status < 0) { abort(); return status; }
  commit(null, 0);
  return 0;
}
/** (pauses) At mount and attach: frees what nobody holds. A list that leads astray is cut (its inodes are e2fsck's). Orphans freed. */
export function reapOrphans(): u32 {
  let at = firstOrphan(), freed: u32 = 0;
  for (let n: u32 = 0; n < inodes && at != 0; n++) {
    const p = at >= firstInode && at <= inodes ? inodeView(at) : 0;
    if (p == 0) { cutOrphans(); break; }
    const next = nextOrphan(at);
    if (linksOf(inodeView(at)) != 0) { begin(); if (orphanRemove(at) < 0) abort(); else commit(null, 0); }
    else if (openCount(at) == 0) { if (reap(at) < 0) break; freed++; }
    at = next;
  }
  return freed;
}
function cutOrphans(): void {
  begin();
  const sb = editSuperblock();
  if (sb == 0) { abort(); return; }
  store<u32>(sb, 0, EXT2_SUPERBLOCK_LAST_ORPHAN);
  commit(null, 0);
}
