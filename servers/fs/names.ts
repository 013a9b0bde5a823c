/**
 * Operations on names: open and create, mkdir, unlink, rmdir, rename, link, symlink, readlink, chmod, stat. Each change is one transaction
 * that ends with the reply; what an inode without names leaves behind is freed after that, in steps (files.reap).
 * Semantics and error numbers are Linux's; where several errors apply, the one that Linux reports first.
 */
import {
  EXT2_MODE_DIRECTORY, EXT2_MODE_REGULAR, EXT2_MODE_SYMLINK, EXT2_MODE_FORMAT, EXT2_MODE_PERMISSIONS, EXT2_ROOT_INODE, EXT2_MAX_LINKS, EXT2_FAST_SYMLINK_BYTES,
  EXT2_INODE_BLOCK, EXT2_INODE_UID, EXT2_INODE_GID, EXT2_INODE_MODE, EXT2_INODE_ATIME, EXT2_INODE_CTIME, EXT2_INODE_MTIME,
  FS_STAT_INODE, FS_STAT_MODE, FS_STAT_LINKS, FS_STAT_UID, FS_STAT_GID, FS_STAT_SIZE_LO, FS_STAT_SIZE_HI, FS_STAT_MTIME, FS_STAT_CTIME, FS_STAT_ATIME, FS_STAT_BLOCKS512,
} from 'kintsugi/protocols';
import { allocInode } from './alloc';
import { mapAlloc } from './blockmap';
import { resize } from './data';
import { dirAdd, dirEmpty, dirFind, dirInit, dirParent, dirRemove, dirSet, dirSetParent } from './directory';
import { EEXIST, EINVAL, EIO, EISDIR, ELOOP, EMLINK, ENAMETOOLONG, ENOENT, ENOTDIR, ENOTEMPTY, EPERM, EROFS } from '../lib/errno';
import { fileClose, fileInode, fileOpen, reap } from './files';
import { blocks512Of, formatOf, inodeCreate, inodeEdit, inodeLive, inodeView, isDirectory, linksOf, modeOf, orphanAdd, setLinks, setSize, sizeOf, touchChanged } from './inode';
import { beginChange } from './mount';
import { Op } from './op';
import { dotted, name, nameBytes, parent, readLink, resolve, slashed, target } from './path';
import { abort, begin, commit, edit } from './transaction';
import { blockSize, inodes, readOnly } from './volume';

const EBUSY: i32 = 16;
// Linux i386 open flags
const O_ACCESS: u32 = 3, O_CREAT: u32 = 0x40, O_EXCL: u32 = 0x80, O_TRUNC: u32 = 0x200, O_DIRECTORY: u32 = 0x10000, O_NOFOLLOW: u32 = 0x20000;

function fail(status: i32): i32 { abort(); return status; }

/** A directory that still has a name may get entries. */
function writableDirectory(directory: u32): i32 {
  const p = inodeView(directory);
  if (p == 0) return -EIO;
  if (!isDirectory(p)) return -ENOTDIR;
  return linksOf(p) == 0 ? -ENOENT : 0;
}
/** (pauses) In a transaction: a fresh inode under `at` in `directory`. Its number, or an error. */
function create(directory: u32, at: usize, bytes: u32, mode: u32): i32 {
  let status = writableDirectory(directory);
  if (status < 0) return status;
  const isDir = (mode & EXT2_MODE_FORMAT) == EXT2_MODE_DIRECTORY;
  const inode = allocInode(directory, isDir);
  if (inode < 0) return inode;
  const p = inodeCreate(inode, mode);
  if (p == 0) return -EIO;
  if (isDir) {
    status = dirInit(inode, directory);
    if (status < 0) return status;
    setLinks(p, 2);
    const q = inodeEdit(directory);
    if (q == 0) return -EIO;
    setLinks(q, linksOf(q) + 1);
  }
  status = dirAdd(directory, at, bytes, inode, mode);
  return status < 0 ? status : inode;
}

/** open: registers the file id; r0 = inode, r1 = mode, r2, r3 = size. */
export function open(op: Op, id: u32, directory: u32, pathBytes: u32, flags: u32, mode: u32): i32 {
  const changes = (flags & (O_CREAT | O_TRUNC)) != 0;
  if (changes && !readOnly) { const held = beginChange(); if (held < 0) return held; } else begin();
  let inode: i32 = 0;
  if (pathBytes == 0) { // by number: a restarted client opens again what it had
    const live = inodeLive(directory);
    if (live < 0) return fail(live);
    inode = directory;
  } else {
    const exclusive = (flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL);
    const status = resolve(op, op.path, pathBytes, directory, !exclusive && (flags & O_NOFOLLOW) == 0);
    if (status < 0) return fail(status);
    if (target == 0) {
      if ((flags & O_CREAT) == 0) return fail(-ENOENT);
      if (slashed) return fail(-EISDIR);
      if (readOnly) return fail(-EROFS);
      inode = create(parent, name, nameBytes, EXT2_MODE_REGULAR | (mode & EXT2_MODE_PERMISSIONS));
      if (inode < 0) return fail(inode);
      flags &= ~O_TRUNC;
    } else {
      if (exclusive) return fail(-EEXIST);
      inode = target;
    }
  }
  const p = inodeView(inode);
  if (p == 0) return fail(-EIO);
  const format = formatOf(p);
  if (format == EXT2_MODE_SYMLINK && pathBytes != 0) return fail(-ELOOP);
  if (format == EXT2_MODE_DIRECTORY) { if ((flags & (O_ACCESS | O_CREAT)) != 0) return fail(-EISDIR); }
  else if ((flags & O_DIRECTORY) != 0) return fail(-ENOTDIR);
  if (readOnly && ((flags & O_ACCESS) != 0 || (flags & O_TRUNC) != 0) && format == EXT2_MODE_REGULAR) return fail(-EROFS);
  if ((flags & O_TRUNC) != 0 && format == EXT2_MODE_REGULAR) {
    const status = resize(inode, 0);
    if (status < 0) return fail(status);
  }
  const before = fileInode(id), registered = fileOpen(id, inode);
  if (registered < 0) return fail(registered);
  const q = inodeView(inode);
  if (q == 0) return fail(-EIO);
  op.r0 = inode; op.r1 = modeOf(q); op.r2 = <u32>sizeOf(q); op.r3 = <u32>(sizeOf(q) >> 32);
  commit(op, 0);
  if (before != 0 && before != <u32>inode && !readOnly) reap(before);
  return 0;
}
export function close(op: Op, id: u32): i32 {
  begin();
  const inode = fileInode(id);
  fileClose(id);
  commit(op, 0);
  if (inode != 0 && !readOnly) {
    const p = inodeView(inode);
    if (p != 0 && linksOf(p) == 0) reap(inode);
  }
  return 0;
}

/** A name that is to be made: absent, and a name at all. 0 or an error, the transaction still held. */
function absent(op: Op, buffer: usize, bytes: u32, directory: u32): i32 {
  const status = resolve(op, buffer, bytes, directory, false);
  if (status < 0) return status;
  return target != 0 || dotted ? -EEXIST : 0;
}
export function mkdir(op: Op, directory: u32, bytes: u32, mode: u32): i32 {
  const held = beginChange();
  if (held < 0) return held;
  const status = absent(op, op.path, bytes, directory);
  if (status < 0) return fail(status);
  const at = parent, p = inodeView(at);
  if (p == 0) return fail(-EIO);
  if (linksOf(p) >= EXT2_MAX_LINKS) return fail(-EMLINK);
  const inode = create(at, name, nameBytes, EXT2_MODE_DIRECTORY | (mode & EXT2_MODE_PERMISSIONS));
  if (inode < 0) return fail(inode);
  op.r0 = inode;
  commit(op, 0);
  return 0;
}
export function symlink(op: Op, directory: u32, bytes: u32, from: usize, targetBytes: u32): i32 {
  if (targetBytes == 0) return -ENOENT;
  if (targetBytes >= blockSize) return -ENAMETOOLONG; // ext2: a target fills one block at most, with its NUL
  const held = beginChange();
  if (held < 0) return held;
  const status = absent(op, op.path, bytes, directory);
  if (status < 0) return fail(status);
  if (slashed) return fail(-ENOENT);
  const inode = create(parent, name, nameBytes, EXT2_MODE_SYMLINK | 0x1ff);
  if (inode < 0) return fail(inode);
  const p = inodeEdit(inode);
  if (p == 0) return fail(-EIO);
  if (targetBytes < EXT2_FAST_SYMLINK_BYTES) memory.copy(p + EXT2_INODE_BLOCK, from, targetBytes);
  else {
    const block = mapAlloc(inode, 0, 0, true);
    if (block < 0) return fail(block);
    const page = edit(block);
    if (page == 0) return fail(-EIO);
    memory.copy(page, from, targetBytes);
  }
  setSize(p, targetBytes);
  op.r0 = inode;
  commit(op, 0);
  return 0;
}
export function link(op: Op, oldDirectory: u32, oldBytes: u32, newDirectory: u32, newBytes: u32): i32 {
  const held = beginChange();
  if (held < 0) return held;
  let status = resolve(op, op.path, oldBytes, oldDirectory, false);
  if (status < 0) return fail(status);
  const inode = target;
  if (inode == 0) return fail(-ENOENT);
  const p = inodeEdit(inode);
  if (p == 0) return fail(-EIO);
  if (isDirectory(p)) return fail(-EPERM);
  status = absent(op, op.path2, newBytes, newDirectory);
  if (status < 0) return fail(status);
  if (slashed) return fail(-ENOENT);
  if (linksOf(p) >= EXT2_MAX_LINKS) return fail(-EMLINK);
  const at = parent;
  status = writableDirectory(at);
  if (status < 0) return fail(status);
  setLinks(p, linksOf(p) + 1);
  touchChanged(p);
  status = dirAdd(at, name, nameBytes, inode, modeOf(p));
  if (status < 0) return fail(status);
  commit(op, 0);
  return 0;
}

/** In a transaction: `inode` loses one name (a directory: its only one); without names it becomes an orphan. 0 or -EIO. */
function loseName(inode: u32): i32 {
  const p = inodeEdit(inode);
  if (p == 0) return -EIO;
  touchChanged(p);
  const links = isDirectory(p) || linksOf(p) == 0 ? 0 : linksOf(p) - 1;
  setLinks(p, links);
  return links == 0 ? orphanAdd(inode) : 0;
}
export function unlink(op: Op, directory: u32, bytes: u32): i32 {
  const held = beginChange();
  if (held < 0) return held;
  let status = resolve(op, op.path, bytes, directory, false);
  if (status < 0) return fail(status);
  const at = parent, inode = target, what = name, length = nameBytes, slash = slashed;
  if (inode == 0) return fail(-ENOENT);
  const p = inodeView(inode);
  if (p == 0) return fail(-EIO);
  if (isDirectory(p)) return fail(-EISDIR);
  if (slash) return fail(-ENOTDIR);
  if (dirFind(at, what, length) != <i32>inode) return fail(-EIO);
  status = dirRemove(at);
  if (status == 0) status = loseName(inode);
  if (status < 0) return fail(status);
  commit(op, 0);
  reap(inode);
  return 0;
}
export function rmdir(op: Op, directory: u32, bytes: u32): i32 {
  const held = beginChange();
  if (held < 0) return held;
  let status = resolve(op, op.path, bytes, directory, false);
  if (status < 0) return fail(status);
  const at = parent, inode = target, what = name, length = nameBytes, dots = dotted;
  if (inode == 0) return fail(-ENOENT);
  if (length == 0 || inode == EXT2_ROOT_INODE) return fail(-EBUSY);
  if (dots) return fail(length == 1 ? -EINVAL : -ENOTEMPTY);
  const p = inodeView(inode);
  if (p == 0) return fail(-EIO);
  if (!isDirectory(p)) return fail(-ENOTDIR);
  const empty = dirEmpty(inode);
  if (empty <= 0) return fail(empty == 0 ? -ENOTEMPTY : empty);
  if (dirFind(at, what, length) != <i32>inode) return fail(-EIO);
  status = dirRemove(at);
  if (status == 0) status = loseName(inode);
  const q = inodeEdit(at);
  if (q == 0) status = -EIO;
  if (status < 0) return fail(status);
  if (linksOf(q) > 2) setLinks(q, linksOf(q) - 1);
  commit(op, 0);
  reap(inode);
  return 0;
}

/** (pauses) 1 = `inode` is `directory` or lies above it. A ".." chain that does not reach the root is EIO. */
function liesAbove(inode: u32, directory: u32): i32 {
  let at = directory;
  for (let n: u32 = 0; n < inodes; n++) {
    if (at == inode) return 1;
    if (at == EXT2_ROOT_INODE) return 0;
    const up = dirParent(at);
    if (up < 0) return up;
    at = up;
  }
  return -EIO;
}
export function rename(op: Op, oldDirectory: u32, oldBytes: u32, newDirectory: u32, newBytes: u32): i32 {
  const held = beginChange();
  if (held < 0) return held;
  let status = resolve(op, op.path, oldBytes, oldDirectory, false);
  if (status < 0) return fail(status);
  const from = parent, oldName = name, oldLength = nameBytes, inode = target, oldSlash = slashed;
  if (dotted || (oldLength == 0 && inode != 0)) return fail(-EBUSY);
  if (inode == 0) return fail(-ENOENT);
  status = resolve(op, op.path2, newBytes, newDirectory, false);
  if (status < 0) return fail(status);
  const to = parent, newName = name, newLength = nameBytes, victim = target, newSlash = slashed;
  if (dotted || (newLength == 0 && victim != 0)) return fail(-EBUSY);
  const p = inodeView(inode);
  if (p == 0) return fail(-EIO);
  const moved = isDirectory(p), mode = modeOf(p);
  if (!moved && (oldSlash || newSlash)) return fail(-ENOTDIR);
  if (victim == inode) { op.r0 = 0; commit(op, 0); return 0; } // two names of one file: nothing to do
  status = writableDirectory(to);
  if (status < 0) return fail(status);
  if (moved) {
    const above = liesAbove(inode, to);
    if (above != 0) return fail(above < 0 ? above : -EINVAL);
  }
  if (victim != 0) {
    const v = inodeView(victim);
    if (v == 0) return fail(-EIO);
    if (isDirectory(v)) {
      if (!moved) return fail(-EISDIR);
      const empty = dirEmpty(victim);
      if (empty <= 0) return fail(empty == 0 ? -ENOTEMPTY : empty);
    } else if (moved) return fail(-ENOTDIR);
    if (dirFind(to, newName, newLength) != <i32>victim) return fail(-EIO);
    status = dirSet(to, inode, mode);
    if (status == 0) status = loseName(victim);
  } else {
    if (moved && to != from) {
      const t = inodeView(to);
      if (t == 0) return fail(-EIO);
      if (linksOf(t) >= EXT2_MAX_LINKS) return fail(-EMLINK);
    }
    status = dirAdd(to, newName, newLength, inode, mode);
  }
  if (status < 0) return fail(status);
  if (dirFind(from, oldName, oldLength) != <i32>inode) return fail(-EIO);
  status = dirRemove(from);
  if (status < 0) return fail(status);
  if (moved) {
    if (to != from) {
      status = dirSetParent(inode, to);
      if (status < 0) return fail(status);
    }
    // Each directory's ".." counts as a link of its parent.
    const f = inodeEdit(from), t = inodeEdit(to);
    if (f == 0 || t == 0) return fail(-EIO);
    if (linksOf(f) > 2) setLinks(f, linksOf(f) - 1);
    if (victim == 0) setLinks(t, linksOf(t) + 1);
  }
  const q = inodeEdit(inode);
  if (q == 0) return fail(-EIO);
  touchChanged(q);
  commit(op, 0);
  if (victim != 0) reap(victim);
  return 0;
}

// ---- reading ----------------------------------------------------------------------------------------------------------------------------
/** r0 = inode; the record goes to `to` (FS.stat, in the shared area: written only). */
export function stat(op: Op, directory: u32, bytes: u32, to: usize, nofollow: bool): i32 {
  let inode = directory;
  if (bytes != 0) {
    const status = resolve(op, op.path, bytes, directory, !nofollow);
    if (status < 0) return status;
    if (target == 0) return -ENOENT;
    inode = target;
  }
  const live = inodeLive(inode);
  if (live < 0) return live;
  const p = inodeView(inode);
  if (p == 0) return -EIO;
  const size = sizeOf(p);
  store<u32>(to, inode, FS_STAT_INODE); store<u32>(to, modeOf(p), FS_STAT_MODE); store<u32>(to, linksOf(p), FS_STAT_LINKS);
  store<u32>(to, load<u16>(p, EXT2_INODE_UID), FS_STAT_UID); store<u32>(to, load<u16>(p, EXT2_INODE_GID), FS_STAT_GID);
  store<u32>(to, <u32>size, FS_STAT_SIZE_LO); store<u32>(to, <u32>(size >> 32), FS_STAT_SIZE_HI);
  store<u32>(to, load<u32>(p, EXT2_INODE_MTIME), FS_STAT_MTIME); store<u32>(to, load<u32>(p, EXT2_INODE_CTIME), FS_STAT_CTIME);
  store<u32>(to, load<u32>(p, EXT2_INODE_ATIME), FS_STAT_ATIME); store<u32>(to, blocks512Of(p), FS_STAT_BLOCKS512);
  op.r0 = inode;
  return 0;
}
export function readlink(op: Op, directory: u32, bytes: u32, to: usize, most: u32): i32 {
  const status = resolve(op, op.path, bytes, directory, false);
  if (status < 0) return status;
  const inode = target;
  if (inode == 0) return -ENOENT;
  const p = inodeView(inode);
  if (p == 0) return -EIO;
  if (formatOf(p) != EXT2_MODE_SYMLINK) return -EINVAL;
  const length = readLink(inode, op.scratch);
  if (length < 0) return length;
  const n = <u32>length < most ? <u32>length : most;
  memory.copy(to, op.scratch, n);
  op.r0 = n;
  return 0;
}
export function chmod(op: Op, directory: u32, bytes: u32, mode: u32): i32 {
  const held = beginChange();
  if (held < 0) return held;
  let inode = directory;
  if (bytes != 0) {
    const status = resolve(op, op.path, bytes, directory, true);
    if (status < 0) return fail(status);
    if (target == 0) return fail(-ENOENT);
    inode = target;
  }
  const live = inodeLive(inode);
  if (live < 0) return fail(live);
  const p = inodeEdit(inode);
  if (p == 0) return fail(-EIO);
  store<u16>(p, <u16>((modeOf(p) & EXT2_MODE_FORMAT) | (mode & EXT2_MODE_PERMISSIONS)), EXT2_INODE_MODE);
  touchChanged(p);
  commit(op, 0);
  return 0;
}
