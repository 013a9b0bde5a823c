/**
 * Paths: from bytes to a directory and a last name, or to an inode. A path is resolved in a private buffer (Op.path), so it cannot change
 * under way; a symlink's target is spliced in before what is left of it. "/" at the start means the root, else the directory given.
 */
import { EXT2_ROOT_INODE, EXT2_MAX_NAME_BYTES, EXT2_MODE_SYMLINK, EXT2_INODE_BLOCK } from 'kintsugi/protocols';
import { mapRun, runStart } from './blockmap';
import { dirFind } from './directory';
import { EIO, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR } from '../lib/errno';
import { formatOf, inodeLive, inodeView, isDirectory, isFastSymlink, sizeOf } from './inode';
import { Op, PATH_BYTES } from './op';
import { view } from './transaction';
import { blockSize } from './volume';

const MAX_SYMLINKS: u32 = 8; // as Linux nested; ELOOP behind it
const SLASH: u8 = 47;

/** Results of resolve: the directory of the last name, that name, and the inode behind it (0 = absent). */
export let parent: u32 = 0;
export let name: usize = 0;
export let nameBytes: u32 = 0;
export let target: u32 = 0;
/** The path ended in "/", "." or "..": it names a directory, and not by a name that could be created, removed or moved. */
export let slashed: bool = false;
export let dotted: bool = false;

/** (pauses) Copies a symlink's target to `to` (PATH_BYTES of room). Bytes, or -EIO, -ENAMETOOLONG. */
export function readLink(inode: u32, to: usize): i32 {
  const p = inodeView(inode);
  if (p == 0) return -EIO;
  const size = sizeOf(p);
  if (isFastSymlink(p)) { memory.copy(to, p + EXT2_INODE_BLOCK, <usize>size); return <i32>size; }
  if (size >= PATH_BYTES || size > <u64>blockSize) return -EIO; // ext2: never more than one block
  const status = mapRun(inode, 0, 1);
  if (status < 0) return status;
  if (runStart == 0) return -EIO;
  const page = view(runStart); // targets are metadata here: written through a transaction, checked on use
  if (page == 0) return -EIO;
  memory.copy(to, page, <usize>size);
  return <i32>size;
}

/**
 * (pauses) Resolves `bytes` of path at `buffer` (PATH_BYTES * 2 of private room) from `directory`. `follow`: also when the last name is a
 * symlink. 0 (see the results above, good until the next pause; `target` 0 = the last name does not exist) or an error.
 */
export function resolve(op: Op, buffer: usize, bytes: u32, directory: u32, follow: bool): i32 {
  if (bytes >= PATH_BYTES) return -ENAMETOOLONG;
  let links: u32 = 0, at: u32 = 0, dir = directory;
  if (bytes == 0) return -ENOENT;
  if (load<u8>(buffer) == SLASH) dir = EXT2_ROOT_INODE;
  const live = inodeLive(dir);
  if (live < 0) return live;
  while (true) {
    while (at < bytes && load<u8>(buffer + at) == SLASH) at++;
    if (at == bytes) return leave(dir, buffer + at, 0, dir, true, true); // the directory itself
    let end = at;
    while (end < bytes && load<u8>(buffer + end) != SLASH) { if (load<u8>(buffer + end) == 0) return -ENOENT; end++; }
    if (end - at > EXT2_MAX_NAME_BYTES) return -ENAMETOOLONG;
    let rest = end;
    while (rest < bytes && load<u8>(buffer + rest) == SLASH) rest++;
    const last = rest == bytes, trailing = end < bytes;
    const found = dirFind(dir, buffer + at, end - at);
    if (found < 0) return found;
    if (found == 0) return last ? leave(dir, buffer + at, end - at, 0, trailing, false) : -ENOENT;
    const size = end - at, dots = load<u8>(buffer + at) == 46 && (size == 1 || (size == 2 && load<u8>(buffer + at + 1) == 46));
    if (!dots && (found == EXT2_ROOT_INODE || <u32>found == dir)) return -EIO; // a loop: the volume is damaged, and rm -r here would eat its own root
    const p = inodeView(found);
    if (p == 0) return -EIO;
    if (formatOf(p) == EXT2_MODE_SYMLINK && (!last || follow || trailing)) {
      if (++links > MAX_SYMLINKS) return -ELOOP;
      const length = readLink(found, op.scratch);
      if (length < 0) return length;
      if (length == 0) return -ENOENT;
      const left = bytes - end;
      if (<u32>length + left >= PATH_BYTES) return -ENAMETOOLONG;
      memory.copy(buffer + length, buffer + end, left); // keeps the slash before the rest
      memory.copy(buffer, op.scratch, length);
      bytes = <u32>length + left; at = 0;
      if (load<u8>(buffer) == SLASH) dir = EXT2_ROOT_INODE;
      continue;
    }
    const isDir = isDirectory(p);
    if ((!last || trailing) && !isDir) return -ENOTDIR;
    if (last) return leave(dir, buffer + at, size, found, trailing, dots);
    dir = found;
    at = rest;
  }
}
function leave(directory: u32, at: usize, bytes: u32, inode: u32, trailing: bool, dots: bool): i32 {
  parent = directory; name = at; nameBytes = bytes; target = inode; slashed = trailing; dotted = dots;
  return 0;
}
