/**
 * Inodes: where they lie, their fields as this server uses them, creation and final freeing, and the orphan list.
 *
 * Orphans: an inode without names that is still open, or whose blocks are being freed in steps, stands in the on-disk list that starts at
 * s_last_orphan and goes on through i_dtime (as ext3 does; e2fsck knows it), so that a power cut leaks nothing.
 */
import {
  EXT2_INODE_MODE, EXT2_INODE_UID, EXT2_INODE_SIZE, EXT2_INODE_ATIME, EXT2_INODE_CTIME, EXT2_INODE_MTIME, EXT2_INODE_DTIME, EXT2_INODE_LINKS,
  EXT2_INODE_BLOCKS512, EXT2_INODE_BLOCK, EXT2_INODE_GENERATION, EXT2_INODE_FILE_ACL, EXT2_INODE_SIZE_HIGH, EXT2_INODE_EXTRA_ISIZE,
  EXT2_MODE_FORMAT, EXT2_MODE_REGULAR, EXT2_MODE_DIRECTORY, EXT2_MODE_SYMLINK, EXT2_SUPERBLOCK_LAST_ORPHAN, EXT2_SUPERBLOCK_FEATURE_RO_COMPAT,
  EXT2_RO_COMPAT_LARGE_FILE, EXT2_SUPERBLOCK_REVISION, EXT2_XATTR_MAGIC, EXT2_XATTR_REFCOUNT, EXT2_FAST_SYMLINK_BYTES,
} from 'kintsugi/protocols';
import { freeBlock, freeInode } from './alloc';
import { EFBIG, EIO, ESTALE } from '../lib/errno';
import { now } from './host';
import { edit, view } from './transaction';
import { blockShift, blockSize, editSuperblock, firstInode, inodeBytes, inodeTable, inodes, inodesPerGroup, superblock } from './volume';

function blockOf(inode: u32): u32 { return inodeTable((inode - 1) / inodesPerGroup) + ((inode - 1) % inodesPerGroup * inodeBytes >> blockShift); }
function byteOf(inode: u32): u32 { return (inode - 1) % inodesPerGroup * inodeBytes & (blockSize - 1); }
/** (pauses) Address of an inode to read, good until the next pause; 0 = EIO or no such number. */
export function inodeView(inode: u32): usize {
  if (inode - 1 >= inodes) return 0;
  const p = view(blockOf(inode));
  return p == 0 ? 0 : p + byteOf(inode);
}
/** (pauses) Address of its shadow, good until the commit. */
export function inodeEdit(inode: u32): usize {
  if (inode - 1 >= inodes) return 0;
  const p = edit(blockOf(inode));
  return p == 0 ? 0 : p + byteOf(inode);
}
/** (pauses) For inode numbers that a client names: ESTALE unless it is a live inode of a client's (root or not reserved). */
export function inodeLive(inode: u32): i32 {
  if (inode - 1 >= inodes || (inode != 2 && inode < firstInode)) return -ESTALE;
  const p = inodeView(inode);
  if (p == 0) return -EIO;
  return modeOf(p) == 0 || (linksOf(p) == 0 && load<u32>(p, EXT2_INODE_DTIME) >= inodes) ? -ESTALE : 0;
}

export function modeOf(p: usize): u32 { return load<u16>(p, EXT2_INODE_MODE); }
export function formatOf(p: usize): u32 { return <u32>load<u16>(p, EXT2_INODE_MODE) & EXT2_MODE_FORMAT; }
export function isDirectory(p: usize): bool { return formatOf(p) == EXT2_MODE_DIRECTORY; }
export function linksOf(p: usize): u32 { return load<u16>(p, EXT2_INODE_LINKS); }
export function setLinks(p: usize, n: u32): void { store<u16>(p, <u16>n, EXT2_INODE_LINKS); }
export function sizeOf(p: usize): u64 { return <u64>load<u32>(p, EXT2_INODE_SIZE) | (formatOf(p) == EXT2_MODE_REGULAR ? <u64>load<u32>(p, EXT2_INODE_SIZE_HIGH) << 32 : 0); }
export function blocks512Of(p: usize): u32 { return load<u32>(p, EXT2_INODE_BLOCKS512); }
/** Data blocks are reached through the 15 pointers (regular files, directories, long symlinks). */
export function hasBlocks(p: usize): bool {
  const format = formatOf(p);
  return format == EXT2_MODE_REGULAR || format == EXT2_MODE_DIRECTORY || (format == EXT2_MODE_SYMLINK && !isFastSymlink(p));
}
export function isFastSymlink(p: usize): bool {
  const acl: u32 = load<u32>(p, EXT2_INODE_FILE_ACL) == 0 ? 0 : blockSize >> 9;
  return formatOf(p) == EXT2_MODE_SYMLINK && blocks512Of(p) <= acl && load<u32>(p, EXT2_INODE_SIZE) < EXT2_FAST_SYMLINK_BYTES;
}
/** Largest size of a file: what the pointers reach, and i_blocks can count. */
export function maxBytes(): u64 {
  const per = <u64>1 << (blockShift - 2), byPointers = (12 + per + per * per + per * per * per) << blockShift, byCount: u64 = <u64>1 << 40;
  return byPointers < byCount ? byPointers : byCount;
}
/** p = shadow. Beyond 2 GiB the volume gets the large_file feature. */
export function setSize(p: usize, size: u64): i32 {
  if (size > maxBytes()) return -EFBIG;
  store<u32>(p, <u32>size, EXT2_INODE_SIZE);
  if (formatOf(p) == EXT2_MODE_REGULAR) store<u32>(p, <u32>(size >> 32), EXT2_INODE_SIZE_HIGH);
  if (size > 0x7fffffff) {
    const sb = editSuperblock();
    if (sb == 0) return -EIO;
    if (load<u32>(sb, EXT2_SUPERBLOCK_REVISION) == 0) return -EFBIG;
    store<u32>(sb, load<u32>(sb, EXT2_SUPERBLOCK_FEATURE_RO_COMPAT) | EXT2_RO_COMPAT_LARGE_FILE, EXT2_SUPERBLOCK_FEATURE_RO_COMPAT);
  }
  return 0;
}
/** p = shadow; `n` in file system blocks. */
export function addBlocks(p: usize, n: i32): void {
  const sum = <i64>blocks512Of(p) + <i64>n * <i64>(blockSize >> 9);
  store<u32>(p, sum < 0 ? 0 : <u32>sum, EXT2_INODE_BLOCKS512);
}
export function touchModified(p: usize): void { const t = now(); store<u32>(p, t, EXT2_INODE_MTIME); store<u32>(p, t, EXT2_INODE_CTIME); }
export function touchChanged(p: usize): void { store<u32>(p, now(), EXT2_INODE_CTIME); }

/** (pauses) A fresh inode, links 1 (2 for a directory's later "."), in its shadow. 0 = EIO. */
export function inodeCreate(inode: u32, mode: u32): usize {
  const p = inodeEdit(inode);
  if (p == 0) return 0;
  const generation = load<u32>(p, EXT2_INODE_GENERATION) + 1;
  memory.fill(p, 0, inodeBytes);
  store<u16>(p, <u16>mode, EXT2_INODE_MODE);
  store<u16>(p, 1, EXT2_INODE_LINKS);
  store<u32>(p, generation, EXT2_INODE_GENERATION);
  const t = now();
  store<u32>(p, t, EXT2_INODE_ATIME); store<u32>(p, t, EXT2_INODE_CTIME); store<u32>(p, t, EXT2_INODE_MTIME);
  if (inodeBytes > 128) store<u16>(p, 32, EXT2_INODE_EXTRA_ISIZE);
  return p;
}
/** (pauses) The last act on an inode whose blocks are gone: its attribute block, its number. It is in no list any more. */
export function inodeFree(inode: u32): i32 {
  const p = inodeEdit(inode);
  if (p == 0) return -EIO;
  const acl = load<u32>(p, EXT2_INODE_FILE_ACL), directory = isDirectory(p);
  if (acl != 0) { // shared between inodes with the same attributes
    const x = view(acl);
    if (x != 0 && load<u32>(x) == EXT2_XATTR_MAGIC && load<u32>(x, EXT2_XATTR_REFCOUNT) > 1) {
      const shadow = edit(acl);
      if (shadow == 0) return -EIO;
      store<u32>(shadow, load<u32>(shadow, EXT2_XATTR_REFCOUNT) - 1, EXT2_XATTR_REFCOUNT);
    } else {
      const status = freeBlock(acl);
      if (status < 0) return status;
    }
    store<u32>(p, 0, EXT2_INODE_FILE_ACL);
  }
  store<u32>(p, 0, EXT2_INODE_BLOCKS512);
  store<u32>(p, now(), EXT2_INODE_DTIME);
  store<u16>(p, 0, EXT2_INODE_LINKS);
  return freeInode(inode, directory);
}

// ---- orphans ----------------------------------------------------------------------------------------------------------------------------
export function firstOrphan(): u32 { const sb = superblock(); return sb == 0 ? 0 : load<u32>(sb, EXT2_SUPERBLOCK_LAST_ORPHAN); }
export function nextOrphan(inode: u32): u32 { const p = inodeView(inode); return p == 0 ? 0 : load<u32>(p, EXT2_INODE_DTIME); }
/** (pauses) Puts an inode without links on the list. */
export function orphanAdd(inode: u32): i32 {
  const sb = editSuperblock(), p = inodeEdit(inode);
  if (sb == 0 || p == 0) return -EIO;
  store<u32>(p, load<u32>(sb, EXT2_SUPERBLOCK_LAST_ORPHAN), EXT2_INODE_DTIME);
  store<u32>(sb, inode, EXT2_SUPERBLOCK_LAST_ORPHAN);
  return 0;
}
/** (pauses) Takes it off. Not on it: nothing happens. A list that does not end is cut. */
export function orphanRemove(inode: u32): i32 {
  const sb = editSuperblock(), p = inodeEdit(inode);
  if (sb == 0 || p == 0) return -EIO;
  let at = load<u32>(sb, EXT2_SUPERBLOCK_LAST_ORPHAN), before: u32 = 0;
  for (let n: u32 = 0; n < inodes && at != 0; n++) {
    if (at == inode) {
      const next = load<u32>(p, EXT2_INODE_DTIME);
      if (before == 0) store<u32>(sb, next, EXT2_SUPERBLOCK_LAST_ORPHAN);
      else {
        const q = inodeEdit(before);
        if (q == 0) return -EIO;
        store<u32>(q, next, EXT2_INODE_DTIME);
      }
      store<u32>(p, 0, EXT2_INODE_DTIME);
      return 0;
    }
    before = at;
    at = nextOrphan(at);
  }
  return 0;
}
export function pointerAt(p: usize, i: u32): u32 { return load<u32>(p + EXT2_INODE_BLOCK + (i << 2)); }
export function setPointer(p: usize, i: u32, block: u32): void { store<u32>(p + EXT2_INODE_BLOCK + (i << 2), block); }
