/**
 * Directories: linear lists of entries. Every entry is checked before it is used (rec_len multiple of 4, at least 8 + name, inside its
 * block; inode number in range): a bad one makes that directory EIO and nothing else. Indexed directories (dir_index) are read as the
 * linear lists they also are; the first change takes their index flag away, as every non-htree implementation must.
 *
 *   {inode u32, recLen u16, nameLen u8, fileType u8, name[nameLen], padding} · inode 0 = free space
 */
import {
  EXT2_DIRENT_REC_LEN, EXT2_DIRENT_NAME_LEN, EXT2_DIRENT_FILE_TYPE, EXT2_DIRENT_NAME, EXT2_INODE_FLAGS, EXT2_INODE_FLAGS_INDEX,
  EXT2_FILE_TYPE_DIRECTORY, EXT2_MODE_DIRECTORY, EXT2_MODE_REGULAR, EXT2_MODE_SYMLINK, EXT2_MODE_CHARACTER, EXT2_MODE_BLOCK, EXT2_MODE_FIFO, EXT2_MODE_SOCKET,
  EXT2_FILE_TYPE_REGULAR, EXT2_FILE_TYPE_SYMLINK, EXT2_FILE_TYPE_CHARACTER, EXT2_FILE_TYPE_BLOCK, EXT2_FILE_TYPE_FIFO, EXT2_FILE_TYPE_SOCKET,
  FS_DIRENT_INODE, FS_DIRENT_NEXT, FS_DIRENT_TYPE, FS_DIRENT_NAME_BYTES, FS_DIRENT_NAME,
} from 'kintsugi/protocols';
import { mapAlloc, mapRun, runStart } from './blockmap';
import { EINVAL, EIO, ENOTDIR } from '../lib/errno';
import { inodeEdit, inodeView, isDirectory, setSize, sizeOf, touchModified } from './inode';
import { edit, fresh, view } from './transaction';
import { blockShift, blockSize, filetypes, inodes } from './volume';

/** Where dirFind found the entry: block of the volume, its offset there, and the offset of the entry before it in the block (-1: none). */
export let foundBlock: u32 = 0;
export let foundOffset: u32 = 0;
export let foundBefore: i32 = -1;

/** 0 = the entry at `offset` of the block at `page` may be used. */
function checkEntry(page: usize, offset: u32): bool {
  if (offset + 8 > blockSize) return false;
  const e = page + offset, recLen = <u32>load<u16>(e, EXT2_DIRENT_REC_LEN);
  if (recLen < 12 || (recLen & 3) != 0 || offset + recLen > blockSize) return false;
  return <u32>8 + load<u8>(e, EXT2_DIRENT_NAME_LEN) <= recLen && load<u32>(e) <= inodes;
}
/** Blocks of a directory, or -ENOTDIR, -EIO. A size that is no multiple of the block size is damage. */
function directoryBlocks(directory: u32): i32 {
  const p = inodeView(directory);
  if (p == 0) return -EIO;
  if (!isDirectory(p)) return -ENOTDIR;
  const size = sizeOf(p);
  return (size & <u64>(blockSize - 1)) != 0 || size >> blockShift > 0x100000 ? -EIO : <i32>(size >> blockShift);
}
/** (pauses) The volume block of directory block n; 0 = a hole or EIO: both are damage in a directory. */
function blockOf(directory: u32, n: u32): u32 { return mapRun(directory, n, 1) < 0 ? 0 : runStart; }

function sameName(e: usize, name: usize, bytes: u32): bool {
  if (<u32>load<u8>(e, EXT2_DIRENT_NAME_LEN) != bytes) return false;
  for (let i: u32 = 0; i < bytes; i++) if (load<u8>(e + EXT2_DIRENT_NAME + i) != load<u8>(name + i)) return false;
  return true;
}
/** (pauses) Inode of a name (> 0), 0 = absent, -ENOTDIR, -EIO. Leaves found* for dirSet and dirRemove, until the next pause. */
export function dirFind(directory: u32, name: usize, bytes: u32): i32 {
  const count = directoryBlocks(directory);
  if (count < 0) return count;
  for (let n = 0; n < count; n++) {
    const block = blockOf(directory, n);
    if (block == 0) return -EIO;
    const page = view(block);
    if (page == 0) return -EIO;
    let offset: u32 = 0, before: i32 = -1;
    while (offset < blockSize) {
      if (!checkEntry(page, offset)) return -EIO;
      const e = page + offset, inode = load<u32>(e);
      if (inode != 0 && sameName(e, name, bytes)) {
        foundBlock = block; foundOffset = offset; foundBefore = before;
        return <i32>inode;
      }
      before = <i32>offset;
      offset += <u32>load<u16>(e, EXT2_DIRENT_REC_LEN);
    }
  }
  return 0;
}

export function fileTypeOf(mode: u32): u32 {
  if (!filetypes) return 0;
  switch (mode & 0xf000) {
    case EXT2_MODE_REGULAR: return EXT2_FILE_TYPE_REGULAR;
    case EXT2_MODE_DIRECTORY: return EXT2_FILE_TYPE_DIRECTORY;
    case EXT2_MODE_SYMLINK: return EXT2_FILE_TYPE_SYMLINK;
    case EXT2_MODE_CHARACTER: return EXT2_FILE_TYPE_CHARACTER;
    case EXT2_MODE_BLOCK: return EXT2_FILE_TYPE_BLOCK;
    case EXT2_MODE_FIFO: return EXT2_FILE_TYPE_FIFO;
    case EXT2_MODE_SOCKET: return EXT2_FILE_TYPE_SOCKET;
    default: return 0;
  }
}
function writeEntry(e: usize, inode: u32, recLen: u32, name: usize, bytes: u32, mode: u32): void {
  store<u32>(e, inode);
  store<u16>(e, <u16>recLen, EXT2_DIRENT_REC_LEN);
  store<u8>(e, <u8>bytes, EXT2_DIRENT_NAME_LEN);
  store<u8>(e, <u8>fileTypeOf(mode), EXT2_DIRENT_FILE_TYPE);
  memory.copy(e + EXT2_DIRENT_NAME, name, bytes);
}
/** The directory was changed: times, and no index any more. */
function touchDirectory(directory: u32): i32 {
  const p = inodeEdit(directory);
  if (p == 0) return -EIO;
  store<u32>(p, load<u32>(p, EXT2_INODE_FLAGS) & ~EXT2_INODE_FLAGS_INDEX, EXT2_INODE_FLAGS);
  touchModified(p);
  return 0;
}
/** (pauses) In a transaction: adds a name that is not there yet. 0, -ENOSPC, -EIO. */
export function dirAdd(directory: u32, name: usize, bytes: u32, inode: u32, mode: u32): i32 {
  const count = directoryBlocks(directory), need = (EXT2_DIRENT_NAME + bytes + 3) & ~3;
  if (count < 0) return count;
  for (let n = 0; n < count; n++) {
    const block = blockOf(directory, n);
    if (block == 0) return -EIO;
    const page = view(block);
    if (page == 0) return -EIO;
    let offset: u32 = 0;
    while (offset < blockSize) {
      if (!checkEntry(page, offset)) return -EIO;
      const e = page + offset, recLen = <u32>load<u16>(e, EXT2_DIRENT_REC_LEN);
      const used: u32 = load<u32>(e) == 0 ? 0 : (EXT2_DIRENT_NAME + <u32>load<u8>(e, EXT2_DIRENT_NAME_LEN) + 3) & ~3;
      if (recLen - used >= need) {
        const shadow = edit(block);
        if (shadow == 0) return -EIO;
        if (used != 0) store<u16>(shadow + offset, <u16>used, EXT2_DIRENT_REC_LEN);
        writeEntry(shadow + offset + used, inode, recLen - used, name, bytes, mode);
        return touchDirectory(directory);
      }
      offset += recLen;
    }
  }
  const block = mapAlloc(directory, count, 0, true);
  if (block < 0) return block;
  const page = edit(block), p = inodeEdit(directory);
  if (page == 0 || p == 0) return -EIO;
  writeEntry(page, inode, blockSize, name, bytes, mode);
  const status = setSize(p, <u64>(count + 1) << blockShift);
  return status < 0 ? status : touchDirectory(directory);
}
/** In a transaction, right after dirFind: takes the found entry away. */
export function dirRemove(directory: u32): i32 {
  const offset = foundOffset, before = foundBefore, page = edit(foundBlock);
  if (page == 0) return -EIO;
  const recLen = <u32>load<u16>(page + offset, EXT2_DIRENT_REC_LEN);
  if (before >= 0) {
    const e = page + before;
    store<u16>(e, load<u16>(e, EXT2_DIRENT_REC_LEN) + <u16>recLen, EXT2_DIRENT_REC_LEN);
  } else store<u32>(page + offset, 0);
  return touchDirectory(directory);
}
/** In a transaction, right after dirFind: the found name now means another inode. */
export function dirSet(directory: u32, inode: u32, mode: u32): i32 {
  const offset = foundOffset, page = edit(foundBlock);
  if (page == 0) return -EIO;
  store<u32>(page + offset, inode);
  store<u8>(page + offset, <u8>fileTypeOf(mode), EXT2_DIRENT_FILE_TYPE);
  return touchDirectory(directory);
}
const DOTS: usize = memory.data<u8>([46, 46]);
/** (pauses) In a transaction: the first block of a fresh directory, with "." and "..". */
export function dirInit(directory: u32, parent: u32): i32 {
  const block = mapAlloc(directory, 0, 0, true);
  if (block < 0) return block;
  const page = fresh(block), p = inodeEdit(directory);
  if (page == 0 || p == 0) return -EIO;
  writeEntry(page, directory, 12, DOTS, 1, EXT2_MODE_DIRECTORY);
  writeEntry(page + 12, parent, blockSize - 12, DOTS, 2, EXT2_MODE_DIRECTORY);
  return setSize(p, blockSize);
}
/** (pauses) 1 = nothing but "." and "..", 0 = something else, -EIO. */
export function dirEmpty(directory: u32): i32 {
  const count = directoryBlocks(directory);
  if (count < 0) return count;
  for (let n = 0; n < count; n++) {
    const block = blockOf(directory, n);
    if (block == 0) return -EIO;
    const page = view(block);
    if (page == 0) return -EIO;
    let offset: u32 = 0;
    while (offset < blockSize) {
      if (!checkEntry(page, offset)) return -EIO;
      const e = page + offset, bytes = <u32>load<u8>(e, EXT2_DIRENT_NAME_LEN);
      if (load<u32>(e) != 0 && !(bytes == 1 && load<u8>(e, EXT2_DIRENT_NAME) == 46) && !(bytes == 2 && load<u16>(e, EXT2_DIRENT_NAME) == 0x2e2e)) return 0;
      offset += <u32>load<u16>(e, EXT2_DIRENT_REC_LEN);
    }
  }
  return 1;
}
/** (pauses) The parent that a directory names in its "..", or -EIO. */
export function dirParent(directory: u32): i32 {
  const parent = dirFind(directory, DOTS, 2);
  return parent == 0 ? -EIO : parent;
}
/** (pauses) In a transaction: a moved directory's "..". */
export function dirSetParent(directory: u32, parent: u32): i32 {
  const found = dirFind(directory, DOTS, 2);
  if (found <= 0) return -EIO;
  return dirSet(directory, parent, EXT2_MODE_DIRECTORY);
}

/** readdir: position after the last entry written. */
export let nextPosition: u32 = 0;
/**
 * (pauses) Writes FS.dirent records for the entries from byte `position` on to `to` (private memory of at least one block, or the shared
 * area: never read back). Bytes written, 0 = end; -EINVAL when not even one entry fits.
 */
export function dirList(directory: u32, position: u32, to: usize, room: u32): i32 {
  const count = directoryBlocks(directory);
  if (count < 0) return count;
  let written: u32 = 0;
  while (position >> blockShift < <u32>count) {
    const base = position & ~(blockSize - 1), block = blockOf(directory, position >> blockShift);
    if (block == 0) return -EIO;
    const page = view(block);
    if (page == 0) return -EIO;
    let offset: u32 = 0;
    while (offset < blockSize) {
      if (!checkEntry(page, offset)) return written > 0 ? finishList(base + offset, written) : -EIO;
      const e = page + offset, recLen = <u32>load<u16>(e, EXT2_DIRENT_REC_LEN), inode = load<u32>(e);
      // Entries may have moved since the position was handed out: go on at the first entry that does not lie before it.
      if (base + offset >= position && inode != 0) {
        const bytes = <u32>load<u8>(e, EXT2_DIRENT_NAME_LEN), size = (FS_DIRENT_NAME + bytes + 3) & ~3;
        if (written + size > room) {
          if (written == 0) return -EINVAL;
          return finishList(base + offset, written);
        }
        const at = to + written;
        store<u32>(at, inode, FS_DIRENT_INODE); store<u32>(at, base + offset + recLen, FS_DIRENT_NEXT);
        store<u8>(at, filetypes ? load<u8>(e, EXT2_DIRENT_FILE_TYPE) : 0, FS_DIRENT_TYPE); store<u8>(at, <u8>bytes, FS_DIRENT_NAME_BYTES);
        memory.copy(at + FS_DIRENT_NAME, e + EXT2_DIRENT_NAME, bytes);
        written += size;
      }
      offset += recLen;
    }
    position = base + blockSize;
  }
  return finishList(position, written);
}
function finishList(position: u32, written: u32): i32 { nextPosition = position; return <i32>written; }
