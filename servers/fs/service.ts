/**
 * One request: arguments are checked against the shared data area, paths are copied out of it, the operation runs, the results stand in the
 * Op. A request whose key was committed before (the server died between commit and answer) gets the stored reply instead of being done twice.
 */
import {
  FS_OPEN, FS_CLOSE, FS_READ, FS_WRITE, FS_TRUNCATE, FS_STAT, FS_READDIR, FS_MKDIR, FS_UNLINK,
  FS_RMDIR, FS_RENAME, FS_LINK, FS_SYMLINK, FS_READLINK, FS_CHMOD, FS_SYNC, FS_RETAIN, FS_STATFS,
  FS_STAT_SIZE, EXT2_SUPERBLOCK_FREE_BLOCKS, EXT2_SUPERBLOCK_FREE_INODES,
} from 'kintsugi/protocols';
import { newRequest } from './cache';
import { readFile, truncateFile, writeFile } from './data';
import { dirList, nextPosition } from './directory';
import { EFBIG, EINVAL, EIO, ENAMETOOLONG, ENOSPC, ENOSYS } from '../lib/errno';
import { fileClose, fileId, reapOrphans } from './files';
import { inodeLive } from './inode';
import { sync } from './mount';
import { chmod, close, link, mkdir, open, readlink, rename, rmdir, stat, symlink, unlink } from './names';
import { Op, PATH_BYTES } from './op';
import { FILES } from './state';
import { proveTools } from './sound';
import { begin, commit, storedReply, storedStatus } from './transaction';
import { blockSize, blocks, readOnly, superblock } from './volume';

let area: usize = 0;
let areaBytes: u32 = 0;
/** The last request was refused for something that process never does: a range outside the area, a key used for two requests. Rather this server misread it. */
export let suspicious: bool = false;
/** The shared data area of the FS ring. */
export function serviceInit(at: usize, bytes: u32): void { area = at; areaBytes = bytes; }
function inArea(offset: u32, bytes: u32): bool {
  if (bytes <= areaBytes && offset <= areaBytes - bytes) return true;
  suspicious = true;
  return false;
}

/** Copies a path to private memory, so that it cannot change while it is resolved. 0 or an error. */
function takePath(to: usize, offset: u32, bytes: u32): i32 {
  if (bytes >= PATH_BYTES) return -ENAMETOOLONG;
  if (!inArea(offset, bytes)) return -EINVAL;
  memory.copy(to, area + offset, bytes);
  return 0;
}
function hashOf(op: Op): u32 {
  let h = op.code * 0x9e3779b1;
  h = (h ^ op.a0) * 0x85ebca6b; h = (h ^ op.a1 ^ h >> 15) * 0xc2b2ae35; h = (h ^ op.a2 ^ h >> 13) * 0x27d4eb2f;
  h = (h ^ op.a3 ^ h >> 16) * 0x165667b1; h = (h ^ op.a4 ^ h >> 15) * 0x9e3779b1; h = (h ^ op.a5 ^ h >> 13) * 0x85ebca6b;
  return h ^ h >> 16;
}
function isReadonly(code: u32): bool {
  return code == FS_READ || code == FS_STAT || code == FS_READDIR || code == FS_READLINK || code == FS_STATFS;
}

/** (pauses) Runs the request in `op` (code, ringSlot, key, a0-a5 set). Status 0 with r0-r3, or a negative errno. */
export function serve(op: Op): i32 {
  newRequest();
  suspicious = false;
  op.r0 = 0; op.r1 = 0; op.r2 = 0; op.r3 = 0; op.stored = false;
  if (!isReadonly(op.code)) {
    op.hash = hashOf(op);
    const seen = storedReply(op);
    if (seen > 0) return storedStatus;
    if (seen == -2) return -EIO; // done, but how it went is lost
    if (seen < 0) { suspicious = true; return -EINVAL; } // the client uses one key for two different requests
  }
  const status = dispatch(op);
  if (status == -EFBIG || (status == -ENOSPC && thereIsRoom())) suspicious = true;
  proveTools();
  return status;
}
/** The counters of the volume do not agree with an ENOSPC. Positions beyond what a file can have (EFBIG) are not named by process either. */
function thereIsRoom(): bool {
  const counters = superblock();
  return counters != 0 && load<u32>(counters, EXT2_SUPERBLOCK_FREE_BLOCKS) > 64 && load<u32>(counters, EXT2_SUPERBLOCK_FREE_INODES) != 0;
}
function dispatch(op: Op): i32 {
  switch (op.code) {
    case FS_OPEN: {
      const bad = takePath(op.path, op.a2, op.a3);
      return bad < 0 ? bad : open(op, op.a0, op.a1, op.a3, op.a4, op.a5);
    }
    case FS_CLOSE: return close(op, op.a0);
    case FS_READ: {
      if (!inArea(op.a3, op.a4)) return -EINVAL;
      const n = readFile(op.a0, <u64>op.a1 | <u64>op.a2 << 32, area + op.a3, op.a4);
      if (n < 0) return n;
      op.r0 = n;
      return 0;
    }
    case FS_WRITE: {
      if (!inArea(op.a3, op.a4)) return -EINVAL;
      return writeFile(op, op.a0, <u64>op.a1 | <u64>op.a2 << 32, area + op.a3, op.a4, (op.a5 & 1) != 0);
    }
    case FS_TRUNCATE: return truncateFile(op, op.a0, <u64>op.a1 | <u64>op.a2 << 32);
    case FS_STAT: {
      if (!inArea(op.a3, FS_STAT_SIZE)) return -EINVAL;
      const bad = takePath(op.path, op.a1, op.a2);
      return bad < 0 ? bad : stat(op, op.a0, op.a2, area + op.a3, (op.a4 & 1) != 0);
    }
    case FS_READDIR: {
      if (!inArea(op.a2, op.a3)) return -EINVAL;
      const live = inodeLive(op.a0);
      if (live < 0) return live;
      const n = dirList(op.a0, op.a1, area + op.a2, op.a3);
      if (n < 0) return n;
      op.r0 = n; op.r1 = nextPosition;
      return 0;
    }
    case FS_MKDIR: {
      const bad = takePath(op.path, op.a1, op.a2);
      return bad < 0 ? bad : mkdir(op, op.a0, op.a2, op.a3);
    }
    case FS_UNLINK: {
      const bad = takePath(op.path, op.a1, op.a2);
      return bad < 0 ? bad : unlink(op, op.a0, op.a2);
    }
    case FS_RMDIR: {
      const bad = takePath(op.path, op.a1, op.a2);
      return bad < 0 ? bad : rmdir(op, op.a0, op.a2);
    }
    case FS_RENAME: {
      let bad = takePath(op.path, op.a1, op.a2);
      if (bad == 0) bad = takePath(op.path2, op.a4, op.a5);
      return bad < 0 ? bad : rename(op, op.a0, op.a2, op.a3, op.a5);
    }
    case FS_LINK: {
      let bad = takePath(op.path, op.a1, op.a2);
      if (bad == 0) bad = takePath(op.path2, op.a4, op.a5);
      return bad < 0 ? bad : link(op, op.a0, op.a2, op.a3, op.a5);
    }
    case FS_SYMLINK: {
      let bad = takePath(op.path, op.a1, op.a2);
      if (bad == 0) bad = takePath(op.path2, op.a3, op.a4);
      return bad < 0 ? bad : symlink(op, op.a0, op.a2, op.path2, op.a4);
    }
    case FS_READLINK: {
      if (!inArea(op.a3, op.a4)) return -EINVAL;
      const bad = takePath(op.path, op.a1, op.a2);
      return bad < 0 ? bad : readlink(op, op.a0, op.a2, area + op.a3, op.a4);
    }
    case FS_CHMOD: {
      const bad = takePath(op.path, op.a1, op.a2);
      return bad < 0 ? bad : chmod(op, op.a0, op.a2, op.a3);
    }
    case FS_SYNC: return sync(op);
    case FS_RETAIN: return retain(op);
    case FS_STATFS: {
      const sb = superblock();
      if (sb == 0) return -EIO;
      op.r0 = load<u32>(sb, EXT2_SUPERBLOCK_FREE_BLOCKS); op.r1 = blocks; op.r2 = blockSize;
      return 0;
    }
    default: suspicious = true; return -ENOSYS;
  }
}
/** (pauses) Closes all files but those listed. r0 = closed. */
function retain(op: Op): i32 {
  if (op.a1 > FILES || !inArea(op.a0, op.a1 << 2) || (op.a0 & 3) != 0) return -EINVAL;
  const ids = op.path; // FILES * 4 = PATH_BYTES: private, so that the list cannot change
  memory.copy(ids, area + op.a0, op.a1 << 2);
  begin();
  for (let n: u32 = 0; n < FILES; n++) {
    const id = fileId(n);
    if (id == 0xffffffff) continue;
    let kept = false;
    for (let i: u32 = 0; i < op.a1 && !kept; i++) kept = load<u32>(ids + (<usize>i << 2)) == id;
    if (kept) continue;
    fileClose(id);
    op.r0++;
    if ((op.r0 & 127) == 0) { commit(null, 0); begin(); } // the state edits of one transaction are bounded
  }
  commit(op, 0);
  if (!readOnly) reapOrphans();
  return 0;
}
