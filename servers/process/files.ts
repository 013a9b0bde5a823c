/**
 * Operations on open files. Data moves between the program and the shared area by `copy` through the leases of the request, in pieces of PIECE bytes;
 * a long read or write is cut at LIMIT and answered short, so that every request ends in bounded time.
 *
 * Devices: /dev/null, /dev/zero, /dev/tty (the console) are names that process itself knows.
 */
import * as P from 'kintsugi/protocols';
import { isLit } from '../lib/str';
import { copyFromLease, copyToLease } from '../lib/sys';
import * as E from './errno';
import { READONLY, fsArea, fsCall, fsResult, pathBytes, putPath, ttyArea, ttyCall, ttyResult } from './peers';
import { closeEnd, readPipe, writePipe } from './pipe';
import { O_NONBLOCK, closeSocket, endTurn, recvSocket, sendSocket, takeTurn } from './sockets';
import * as R from './records';
import { OpenFile, Program } from './records';
import { mustStop } from './wait';

const PIECE: u32 = 65536;
const LIMIT: u32 = 1 << 20;
const TTY_PIECE: u32 = 4096;
const O_ACCESS: u32 = 3;
const O_WRONLY: u32 = 1;
const O_APPEND: u32 = 0x400;
const O_DIRECTORY: u32 = 0x10000;
const S_IFMT: u32 = 0xf000;
const S_IFDIR: u32 = 0x4000;

export function canRead(f: OpenFile): bool { return (f.flags & O_ACCESS) != O_WRONLY; }
export function canWrite(f: OpenFile): bool { return (f.flags & O_ACCESS) != 0; }

/** Opens `path` (own memory) for the directory `cwdInode`. 0 and the description in `opened()`, or a negative errno. */
export function openPath(cwdInode: u32, path: usize, flags: u32, mode: u32): i32 {
  const device = isLit(path, '/dev/null') ? R.NULL_DEVICE : isLit(path, '/dev/zero') ? R.ZERO_DEVICE : isLit(path, '/dev/tty') || isLit(path, '/dev/console') ? R.TERMINAL : R.NOTHING;
  const f = R.newOpenFile(device == R.NOTHING ? R.FILE : device, flags);
  if (changetype<usize>(f) == 0) return -E.ENFILE;
  openedFile = f;
  if (device != R.NOTHING) return 0;
  const at = putPath(path);
  let status = at;
  if (at >= 0) {
    const bytes = pathBytes();
    status = fsCall(P.FS_OPEN, 0, f.index, cwdInode, at, bytes, flags, mode);
    f.inode = fsResult().r0;
    f.mode = fsResult().r1;
    fsArea.give(at, bytes + 1);
  }
  if (status < 0) { f.kind = R.NOTHING; return status; }
  if ((f.mode & S_IFMT) == S_IFDIR) {
    f.kind = R.DIRECTORY;
    if ((flags & O_ACCESS) != 0) { closeFile(f); return -E.EISDIR; }
  } else if ((flags & O_DIRECTORY) != 0) { closeFile(f); return -E.ENOTDIR; }
  openedFile = f;
  return 0;
}
let openedFile: OpenFile = changetype<OpenFile>(0);
/** The description of the last `openPath`; take it before anything waits. */
export function opened(): OpenFile { return openedFile; }

/** A description of the console or the host channel. */
export function openTerminal(line: u32, stream: u32, flags: u32): OpenFile {
  const f = R.newOpenFile(R.TERMINAL, flags);
  if (changetype<usize>(f) != 0) { f.line = line; f.stream = stream; }
  return f;
}

/** One reference less; the last one closes. 0 or a negative errno of fs. */
export function closeFile(f: OpenFile): i32 {
  if (--f.refs != 0) return 0;
  const kind = f.kind;
  f.refs = 1; // keeps the description while fs is asked
  let status = 0;
  if (kind == R.FILE || kind == R.DIRECTORY) status = fsCall(P.FS_CLOSE, 0, f.index, 0, 0, 0, 0, 0);
  else if (kind == R.PIPE_READ || kind == R.PIPE_WRITE) closeEnd(R.pipeAt(f.pipe), kind == R.PIPE_READ);
  else if (kind == R.SOCKET) status = closeSocket(f);
  f.refs = 0;
  f.kind = R.NOTHING;
  return status;
}
export function closeAll(p: Program): void {
  for (let fd: u32 = 0; fd < R.FDS; fd++) {
    const f = R.fileOf(p, fd);
    if (changetype<usize>(f) == 0) continue;
    R.clearFd(p, fd);
    closeFile(f);
  }
}

export function readFile(p: Program, f: OpenFile, bytes: u32): i32 {
  if (!canRead(f)) return -E.EBADF;
  switch (f.kind) {
    case R.DIRECTORY: return -E.EISDIR;
    case R.NULL_DEVICE: return 0;
    case R.ZERO_DEVICE: return readZeros(p, bytes);
    case R.PIPE_READ: return readPipe(p, R.pipeAt(f.pipe), bytes, (f.flags & O_NONBLOCK) != 0);
    case R.SOCKET: return recvSocket(p, f, bytes, 0, false);
    case R.TERMINAL: return readTerminal(p, f, bytes);
    case R.FILE: return readData(p, f, bytes);
  }
  return -E.EBADF;
}

// Programs that share a description share its position: each read, write and seek is whole with regard to the others (POSIX, 2.9.7).
function readData(p: Program, f: OpenFile, bytes: u32): i32 {
  if (!takeTurn(f, R.POSITION)) return -E.EINTR;
  const status = readNext(p, f, bytes);
  endTurn(f, R.POSITION);
  return status;
}
function readNext(p: Program, f: OpenFile, bytes: u32): i32 {
  let done: u32 = 0;
  const wanted = min(bytes, LIMIT);
  while (done < wanted) {
    const part = min(wanted - done, PIECE), at = fsArea.take(part);
    let status = fsCall(P.FS_READ, READONLY, f.inode, <u32>f.position, <u32>(f.position >> 32), at, part, 0);
    const got: u32 = status < 0 ? 0 : min(fsResult().r0, part);
    if (got > 0) status = E.errnoOf(copyToLease(p.reply, fsArea.address(at), 0, done, got));
    fsArea.give(at, part);
    if (status < 0) return done > 0 ? done : status;
    done += got;
    f.position += got;
    if (got < part || mustStop()) break;
  }
  return done;
}
function readZeros(p: Program, bytes: u32): i32 {
  const wanted = min(bytes, LIMIT), part = min(wanted, PIECE), at = fsArea.take(part);
  memory.fill(fsArea.address(at), 0, part);
  let status = 0;
  for (let done: u32 = 0; done < wanted && status == 0; done += part) status = E.errnoOf(copyToLease(p.reply, fsArea.address(at), 0, done, min(part, wanted - done)));
  fsArea.give(at, part);
  return status < 0 ? status : wanted;
}
function readTerminal(p: Program, f: OpenFile, bytes: u32): i32 {
  if (bytes == 0) return 0;
  const part = min(bytes, TTY_PIECE), at = ttyArea.take(part);
  let status = ttyCall(P.TTY_READ, f.line, at, part, 0);
  const got: u32 = status < 0 ? 0 : min(ttyResult().r0, part);
  if (got > 0) status = E.errnoOf(copyToLease(p.reply, ttyArea.address(at), 0, 0, got));
  ttyArea.give(at, part);
  return status < 0 ? status : got;
}

export function writeFile(p: Program, f: OpenFile, bytes: u32): i32 {
  if (!canWrite(f)) return -E.EBADF;
  switch (f.kind) {
    case R.NULL_DEVICE: case R.ZERO_DEVICE: return bytes;
    case R.PIPE_WRITE: return writePipe(p, R.pipeAt(f.pipe), bytes, (f.flags & O_NONBLOCK) != 0);
    case R.SOCKET: return sendSocket(p, f, bytes, 0, false);
    case R.TERMINAL: return writeTerminal(p, f, bytes);
    case R.FILE: return writeData(p, f, bytes);
  }
  return -E.EBADF;
}
function writeData(p: Program, f: OpenFile, bytes: u32): i32 {
  if (!takeTurn(f, R.POSITION)) return -E.EINTR;
  const status = writeNext(p, f, bytes);
  endTurn(f, R.POSITION);
  return status;
}
function writeNext(p: Program, f: OpenFile, bytes: u32): i32 {
  let done: u32 = 0;
  const wanted = min(bytes, LIMIT), append: u32 = (f.flags & O_APPEND) != 0 ? 1 : 0;
  while (done < wanted) {
    const part = min(wanted - done, PIECE), at = fsArea.take(part);
    let status = E.errnoOf(copyFromLease(p.reply, fsArea.address(at), 0, done, part));
    if (status == 0) status = fsCall(P.FS_WRITE, 0, f.inode, <u32>f.position, <u32>(f.position >> 32), at, part, append);
    const put: u32 = status < 0 ? 0 : min(fsResult().r0, part);
    if (status == 0) f.position = <u64>fsResult().r1 | (<u64>fsResult().r2 << 32);
    fsArea.give(at, part);
    if (status < 0) return done > 0 ? done : status;
    done += put;
    if (put < part || mustStop()) break;
  }
  return done;
}
function writeTerminal(p: Program, f: OpenFile, bytes: u32): i32 {
  let done: u32 = 0;
  const wanted = min(bytes, LIMIT);
  while (done < wanted) {
    const part = min(wanted - done, TTY_PIECE), at = ttyArea.take(part);
    let status = E.errnoOf(copyFromLease(p.reply, ttyArea.address(at), 0, done, part));
    if (status == 0) status = ttyCall(P.TTY_WRITE, f.line, f.stream, at, part);
    const put: u32 = status < 0 ? 0 : min(ttyResult().r0, part);
    ttyArea.give(at, part);
    if (status < 0) return done > 0 ? done : status;
    done += put;
    if (put < part || mustStop()) break;
  }
  return done;
}
/** Bytes of process's own memory to a terminal: messages when no program is there to write them. */
export function writeOwn(line: u32, stream: u32, text: usize, bytes: u32): void {
  const part = min(bytes, TTY_PIECE), at = ttyArea.take(part);
  memory.copy(ttyArea.address(at), text, part);
  ttyCall(P.TTY_WRITE, line, stream, at, part);
  ttyArea.give(at, part);
}

const SEEK_SET: u32 = 0, SEEK_CUR: u32 = 1, SEEK_END: u32 = 2;
/** Positions are answered in 31 bits: beyond them EOVERFLOW does not arise, the call is refused. */
export function seek(f: OpenFile, offset: i32, whence: u32): i32 {
  if (!takeTurn(f, R.POSITION)) return -E.EINTR;
  const status = move(f, offset, whence);
  endTurn(f, R.POSITION);
  return status;
}
function move(f: OpenFile, offset: i32, whence: u32): i32 {
  if (f.kind == R.DIRECTORY) {
    if (whence != SEEK_SET || offset < 0) return -E.EINVAL;
    f.position = <u64>offset;
    return offset;
  }
  if (f.kind != R.FILE) return -E.ESPIPE;
  let from: i64 = 0;
  if (whence == SEEK_CUR) from = <i64>f.position;
  else if (whence == SEEK_END) {
    const at = fsArea.take(P.FS_STAT_SIZE);
    const status = fsCall(P.FS_STAT, READONLY, f.inode, 0, 0, at, 0, 0);
    from = <i64>(<u64>load<u32>(fsArea.address(at) + P.FS_STAT_SIZE_LO) | (<u64>load<u32>(fsArea.address(at) + P.FS_STAT_SIZE_HI) << 32));
    fsArea.give(at, P.FS_STAT_SIZE);
    if (status < 0) return status;
  } else if (whence != SEEK_SET) return -E.EINVAL;
  const target = from + offset;
  if (target < 0 || target > 0x7fffffff) return -E.EINVAL;
  f.position = <u64>target;
  return <i32>target;
}

export function readDirectory(p: Program, f: OpenFile, bytes: u32): i32 {
  if (f.kind != R.DIRECTORY) return -E.ENOTDIR;
  if (!takeTurn(f, R.POSITION)) return -E.EINTR;
  const part = min(bytes, PIECE), at = fsArea.take(part);
  let status = fsCall(P.FS_READDIR, READONLY, f.inode, <u32>f.position, at, part, 0, 0);
  const got: u32 = status < 0 ? 0 : min(fsResult().r0, part), next = fsResult().r1;
  if (got > 0) status = E.errnoOf(copyToLease(p.reply, fsArea.address(at), 0, 0, got));
  if (status == 0) f.position = <u64>next;
  endTurn(f, R.POSITION);
  fsArea.give(at, part);
  return status < 0 ? status : got;
}

const DEVICE_RECORD: usize = memory.data(64, 4);
/** A stat record of `path` (own memory) or, with path 0, of the open file, into lease `n`. */
export function stat(p: Program, path: usize, f: OpenFile, nofollow: u32, n: u32): i32 {
  let kind: u32 = R.FILE;
  if (path == 0) kind = f.kind;
  else if (isLit(path, '/dev/null') || isLit(path, '/dev/zero') || isLit(path, '/dev/tty') || isLit(path, '/dev/console')) kind = R.TERMINAL;
  if (kind != R.FILE && kind != R.DIRECTORY) {
    memory.fill(DEVICE_RECORD, 0, P.FS_STAT_SIZE);
    store<u32>(DEVICE_RECORD + P.FS_STAT_MODE, kind == R.PIPE_READ || kind == R.PIPE_WRITE ? 0o10600 : kind == R.SOCKET ? 0o140666 : 0o20666);
    store<u32>(DEVICE_RECORD + P.FS_STAT_LINKS, 1);
    return E.errnoOf(copyToLease(p.reply, DEVICE_RECORD, n, 0, P.FS_STAT_SIZE));
  }
  let at = 0, bytes: u32 = 0;
  if (path != 0) {
    at = putPath(path);
    if (at < 0) return at;
    bytes = pathBytes();
    if (bytes == 0) { fsArea.give(at, 1); return -E.ENOENT; }
  }
  const to = fsArea.take(P.FS_STAT_SIZE);
  let status = fsCall(P.FS_STAT, READONLY, path != 0 ? p.cwdInode : f.inode, at, bytes, to, nofollow, 0);
  if (path != 0) fsArea.give(at, bytes + 1);
  if (status == 0) status = E.errnoOf(copyToLease(p.reply, fsArea.address(to), n, 0, P.FS_STAT_SIZE));
  fsArea.give(to, P.FS_STAT_SIZE);
  return status;
}
