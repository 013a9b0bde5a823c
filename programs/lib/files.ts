/** Files and directories for programs: stat records, listing a directory in name order, joining paths. */
import * as P from 'kintsugi/protocols';
import { EINTR } from './errors';
import { List, allocate, keep, release } from './memory';
import { complainText } from './program';
import { sysClose, sysFstat, sysOpen, sysReaddir, sysStat } from './sys';
import { Text, compare, copyText, lengthOf } from './text';

export const O_RDONLY: u32 = 0;
export const O_WRONLY: u32 = 1;
export const O_RDWR: u32 = 2;
export const O_CREAT: u32 = 0x40;
export const O_EXCL: u32 = 0x80;
export const O_TRUNC: u32 = 0x200;
export const O_APPEND: u32 = 0x400;
export const O_DIRECTORY: u32 = 0x10000;

export const S_IFMT: u32 = 0xf000;
export const S_IFDIR: u32 = 0x4000;
export const S_IFREG: u32 = 0x8000;
export const S_IFLNK: u32 = 0xa000;
export const S_IFCHR: u32 = 0x2000;
export const S_IFIFO: u32 = 0x1000;

const RECORD: usize = memory.data(64, 8);
/** Of the last successful `statOf` or `statFd`. */
export function statInode(): u32 { return load<u32>(RECORD, P.FS_STAT_INODE); }
export function statMode(): u32 { return load<u32>(RECORD + P.FS_STAT_MODE); }
export function statLinks(): u32 { return load<u32>(RECORD + P.FS_STAT_LINKS); }
export function statUid(): u32 { return load<u32>(RECORD + P.FS_STAT_UID); }
export function statGid(): u32 { return load<u32>(RECORD + P.FS_STAT_GID); }
export function statSize(): u64 { return <u64>load<u32>(RECORD + P.FS_STAT_SIZE_LO) | (<u64>load<u32>(RECORD + P.FS_STAT_SIZE_HI) << 32); }
export function statModified(): u32 { return load<u32>(RECORD + P.FS_STAT_MTIME); }
export function statBlocks(): u32 { return load<u32>(RECORD + P.FS_STAT_BLOCKS512); }

export function statOf(path: Text, nofollow: bool): i32 { return sysStat(path, RECORD, nofollow); }
export function statFd(fd: u32): i32 { return sysFstat(fd, RECORD); }
export function isDirectory(path: Text): bool { return statOf(path, false) >= 0 && (statMode() & S_IFMT) == S_IFDIR; }

export function openRetry(path: Text, flags: u32, mode: u32): i32 {
  let fd: i32;
  do fd = sysOpen(path, flags, mode); while (fd == -EINTR);
  return fd;
}

/** directory + "/" + name, allocated. */
export function joinPath(directory: Text, name: Text): Text {
  const path = allocate(lengthOf(directory) + lengthOf(name) + 2);
  let end = copyText(path, directory);
  if (end != path && load<u8>(end - 1) != 47) store<u8>(end++, 47);
  copyText(end, name);
  return path;
}

function sortNames(names: List): void { sortTexts(names.at, names.length); }

/** Bottom-up merge sort of texts in byte order; stable. */
export function sortTexts(at: usize, count: i32): void {
  const spare = allocate(count << 2);
  let from = at, to = spare;
  for (let width = 1; width < count; width <<= 1) {
    for (let low = 0; low < count; low += width << 1) {
      const middle = min(low + width, count), high = min(low + (width << 1), count);
      let i = low, j = middle;
      for (let k = low; k < high; k++) {
        const left = i < middle && (j >= high || compare(load<u32>(from + (i << 2)), load<u32>(from + (j << 2))) <= 0);
        store<u32>(to + (k << 2), left ? load<u32>(from + (i++ << 2)) : load<u32>(from + (j++ << 2)));
      }
    }
    const swap = from;
    from = to;
    to = swap;
  }
  if (from != at) memory.copy(at, from, count << 2);
  release(spare);
}

const LISTING: i32 = 8192;
/**
 * Adds the names in a directory to `names`, in order, without "." and ".." unless `all`. 0 or a negative errno.
 * A record is {inode, next position, type u8, name bytes u8, name...} padded to 4 (FS.dirent).
 */
export function listDirectory(path: Text, names: List, all: bool): i32 {
  const fd = openRetry(path, O_RDONLY | O_DIRECTORY, 0);
  if (fd < 0) return fd;
  const buffer = allocate(LISTING);
  let got: i32;
  while (true) {
    got = sysReaddir(fd, buffer, LISTING);
    if (got == -EINTR) continue;
    if (got <= 0) break;
    let p = buffer;
    const end = buffer + got;
    while (p + P.FS_DIRENT_NAME <= end) {
      const bytes = <i32>load<u8>(p + P.FS_DIRENT_NAME_BYTES), name = p + P.FS_DIRENT_NAME;
      const dots = bytes <= 2 && load<u8>(name) == 46 && (bytes == 1 || load<u8>(name + 1) == 46);
      if (load<u32>(p + P.FS_DIRENT_INODE) && (all || !dots)) names.push(keep(name, bytes));
      p += (P.FS_DIRENT_NAME + bytes + 3) & ~3;
    }
  }
  release(buffer);
  sysClose(fd);
  sortNames(names);
  return got;
}
export function releaseNames(names: List): void {
  for (let i = 0; i < names.length; i++) release(names.get(i));
  names.free();
}

let above: List = changetype<List>(0);
/**
 * A walk goes down into the directory last looked at by `statOf`. False, with a complaint: it is one of those above it, which only a damaged
 * file system has. After true, `leaveDirectory()` when the walk has come up again.
 */
export function enterDirectory(path: Text): bool {
  if (changetype<usize>(above) == 0) above = List.create();
  const inode = statInode();
  for (let i = 0; i < above.length; i++) if (above.get(i) == inode) { complainText(path, 'contains itself: the file system is damaged'); return false; }
  above.push(inode);
  return true;
}
export function leaveDirectory(): void { above.length--; }
