/**
 * Requests of programs: what each operation does. Runs in a fiber for one program; everything a program says is an allegation, and every bad one is an
 * errno. Paths arrive by lease 0 (and 1), whose lengths are words 4 and 5; a path without its NUL inside that length is refused.
 */
import * as P from 'kintsugi/protocols';
import { alloc, free } from '../lib/alloc';
import { newQueue, WaitQueue } from '../lib/fiber';
import * as sys from '../lib/sys';
import { copyFromLease, copyToLease } from '../lib/sys';
import * as E from './errno';
import { closeFile, openPath, opened, readDirectory, readFile, seek, stat, writeFile, canWrite } from './files';
import { SIGPIPE, condemn, signal, signalGroup, spawnProgram, waitChild, waited } from './lifecycle';
import { ARGS_BYTES, Arguments, setHeapEnd } from './loader';
import { joinPath } from './paths';
import { CONTROL_FOREGROUND, CONTROL_GET_MODE, CONTROL_SET_MODE, PATH_LIMIT, READONLY, fsArea, fsCall, fsResult, pathBytes, putPath, ttyControl } from './peers';
import { newPipe, closeEnd } from './pipe';
import { poll } from './poll';
import * as S from './sockets';
import { list } from './ps';
import { killServer, powerOff } from './system';
import * as R from './records';
import { OpenFile, Program } from './records';
import { pause, waitInit } from './wait';

const NONE: OpenFile = changetype<OpenFile>(0);
const ARGUMENTS: Arguments = changetype<Arguments>(memory.data(16, 4));
let never: WaitQueue = changetype<WaitQueue>(0);
export function serviceInit(): void { never = newQueue(); waitInit(); S.socketsInit(); }

/** The answer's first word; the others are p.r1, p.r2. Not called for `exit`. */
export function serve(p: Program): i32 {
  switch (p.label) {
    case P.PROCESS_SPAWN: return spawn(p);
    case P.PROCESS_WAIT: { const pid = waitChild(p, <i32>p.w0, (p.w1 & 1) != 0); p.r1 = waited(); return pid; }
    case P.PROCESS_KILL: return kill(p);
    case P.PROCESS_READ: { const f = R.fileOf(p, p.w0); return f ? readFile(p, f, p.w1) : -E.EBADF; }
    case P.PROCESS_WRITE: return write(p);
    case P.PROCESS_OPEN: return withPath(p, 0, PATH_OPEN);
    case P.PROCESS_CLOSE: return close(p);
    case P.PROCESS_LSEEK: { const f = R.fileOf(p, p.w0); return f ? seek(f, <i32>p.w1, p.w2) : -E.EBADF; }
    case P.PROCESS_DUP2: return dup(p);
    case P.PROCESS_PIPE: return pipe(p);
    case P.PROCESS_STAT: return withPath(p, 0, PATH_STAT);
    case P.PROCESS_FSTAT: { const f = R.fileOf(p, p.w0); return f ? stat(p, 0, f, 0, 0) : -E.EBADF; }
    case P.PROCESS_READDIR: { const f = R.fileOf(p, p.w0); return f ? readDirectory(p, f, p.w1) : -E.EBADF; }
    case P.PROCESS_MKDIR: return withPath(p, 0, PATH_MKDIR);
    case P.PROCESS_UNLINK: return withPath(p, 0, PATH_UNLINK);
    case P.PROCESS_RMDIR: return withPath(p, 0, PATH_RMDIR);
    case P.PROCESS_RENAME: return withTwoPaths(p, P.FS_RENAME);
    case P.PROCESS_TRUNCATE: return truncate(p);
    case P.PROCESS_CHDIR: return withPath(p, 0, PATH_CHDIR);
    case P.PROCESS_GETCWD: return getcwd(p);
    case P.PROCESS_GETPID: p.r1 = p.parent; return p.pid;
    case P.PROCESS_SLEEP: return sleep(p);
    case P.PROCESS_SYNC: return fsCall(P.FS_SYNC, 0, 0, 0, 0, 0, 0, 0);
    case P.PROCESS_PS: return list(p);
    case P.PROCESS_POWEROFF: powerOff(p.w0 & 255); return 0;
    case P.PROCESS_BRK: return setHeapEnd(p, p.w0);
    case P.PROCESS_TCMODE: return terminalMode(p);
    case P.PROCESS_TCFOREGROUND: return foreground(p);
    case P.PROCESS_ISATTY: { const f = R.fileOf(p, p.w0); return !f ? -E.EBADF : f.kind == R.TERMINAL && f.line == 0 ? 1 : 0; }
    case P.PROCESS_FSYNC: { const f = R.fileOf(p, p.w0); return !f ? -E.EBADF : f.kind == R.FILE || f.kind == R.DIRECTORY ? fsCall(P.FS_SYNC, 0, 0, 0, 0, 0, 0, 0) : -E.EINVAL; }
    case P.PROCESS_LINK: return withTwoPaths(p, P.FS_LINK);
    case P.PROCESS_SYMLINK: return withTwoPaths(p, P.FS_SYMLINK);
    case P.PROCESS_READLINK: return withPath(p, 0, PATH_READLINK);
    case P.PROCESS_CHMOD: return withPath(p, 0, PATH_CHMOD);
    case P.PROCESS_CATCH: { const pending = p.pending; p.caught = p.w0 & ~(1 << 9); p.pending = 0; return pending; }
    case P.PROCESS_STATFS: {
      const at = fsArea.take(64), status = fsCall(P.FS_STATFS, READONLY, at, 0, 0, 0, 0, 0);
      const blocks = fsResult().r0;
      p.r1 = fsResult().r1; p.r2 = fsResult().r2;
      fsArea.give(at, 64);
      return status < 0 ? status : blocks;
    }
    case P.PROCESS_SOCKET: return S.socket(p);
    case P.PROCESS_BIND: return S.withAddress(p, P.NET_BIND);
    case P.PROCESS_CONNECT: return S.withAddress(p, P.NET_CONNECT);
    case P.PROCESS_LISTEN: return S.listen(p);
    case P.PROCESS_ACCEPT: return S.accept(p);
    case P.PROCESS_SEND: return send(p);
    case P.PROCESS_RECV: { const f = S.socketOf(p, p.w0); return f ? S.recvSocket(p, f, p.w1, p.w2, p.lease1 >= P.NET_ADDRESS_SIZE) : S.socketError; }
    case P.PROCESS_SHUTDOWN: return S.shutdown(p);
    case P.PROCESS_SOCKNAME: return S.sockname(p);
    case P.PROCESS_SOCKOPT: return S.sockopt(p);
    case P.PROCESS_POLL: return poll(p);
    case P.PROCESS_NETQUERY: return S.netquery(p);
    case P.PROCESS_NETCONFIGURE: return S.netconfigure(p);
    case P.PROCESS_RESOLVE: return S.resolve(p);
    case P.PROCESS_SETFLAGS: return setFlags(p);
    case P.PROCESS_GETGROUP: { const one = p.w0 == 0 ? p : R.programOf(p.w0); return one ? one.group : -E.ESRCH; }
  }
  return -E.ENOSYS;
}

// ---- paths ------------------------------------------------------------------------------------------------------------------------------

/** Copies lease `n`, a text with its NUL, to fresh memory; 0 with the reason in `pathError`. */
function takePath(p: Program, n: u32): usize {
  const bytes = n == 0 ? p.lease0 : p.lease1;
  if (bytes == 0 || bytes > PATH_LIMIT) { pathError = bytes == 0 ? -E.EINVAL : -E.ENAMETOOLONG; return 0; }
  const at = alloc(bytes);
  if (at == 0) { pathError = -E.ENOMEM; return 0; }
  const status = E.errnoOf(copyFromLease(p.reply, at, n, 0, bytes));
  if (status < 0) { free(at); pathError = status; return 0; }
  if (load<u8>(at + bytes - 1) != 0) { free(at); pathError = -E.EINVAL; return 0; }
  return at;
}
let pathError: i32 = 0;

const PATH_OPEN: u32 = 1, PATH_STAT: u32 = 2, PATH_MKDIR: u32 = 3, PATH_UNLINK: u32 = 4, PATH_RMDIR: u32 = 5, PATH_CHDIR: u32 = 6, PATH_READLINK: u32 = 7, PATH_CHMOD: u32 = 8;

function withPath(p: Program, n: u32, what: u32): i32 {
  const path = takePath(p, n);
  if (path == 0) return pathError;
  const status = load<u8>(path) == 0 ? -E.ENOENT : onPath(p, path, what);
  free(path);
  return status;
}
function onPath(p: Program, path: usize, what: u32): i32 {
  if (what == PATH_OPEN) return open(p, path);
  if (what == PATH_STAT) return stat(p, path, NONE, p.w0 & 1, 1);
  if (what == PATH_CHDIR) return chdir(p, path);
  const at = putPath(path);
  if (at < 0) return at;
  const bytes = pathBytes();
  let status = 0;
  if (what == PATH_MKDIR) status = fsCall(P.FS_MKDIR, 0, p.cwdInode, at, bytes, p.w0 & 0xfff, 0, 0);
  else if (what == PATH_UNLINK) status = fsCall(P.FS_UNLINK, 0, p.cwdInode, at, bytes, 0, 0, 0);
  else if (what == PATH_RMDIR) status = fsCall(P.FS_RMDIR, 0, p.cwdInode, at, bytes, 0, 0, 0);
  else if (what == PATH_CHMOD) status = fsCall(P.FS_CHMOD, 0, p.cwdInode, at, bytes, p.w0 & 0xfff, 0, 0);
  else {
    const room = min(p.w0, PATH_LIMIT), to = fsArea.take(room);
    status = fsCall(P.FS_READLINK, READONLY, p.cwdInode, at, bytes, to, room, 0);
    if (status == 0) {
      const got = min(fsResult().r0, room);
      status = E.errnoOf(copyToLease(p.reply, fsArea.address(to), 1, 0, got));
      if (status == 0) status = got;
    }
    fsArea.give(to, room);
  }
  fsArea.give(at, bytes + 1);
  return status;
}

function open(p: Program, path: usize): i32 {
  const fd = R.freeFd(p, 0);
  if (fd < 0) return -E.EMFILE;
  const status = openPath(p.cwdInode, path, p.w0, p.w1 & 0xfff);
  if (status < 0) return status;
  R.setFd(p, fd, opened());
  return fd;
}

const STAT_DIRECTORY: u32 = 0x4000;
function chdir(p: Program, path: usize): i32 {
  const at = putPath(path);
  if (at < 0) return at;
  const bytes = pathBytes(), to = fsArea.take(P.FS_STAT_SIZE);
  const status = fsCall(P.FS_STAT, READONLY, p.cwdInode, at, bytes, to, 0, 0);
  const inode = fsResult().r0, mode = load<u32>(fsArea.address(to) + P.FS_STAT_MODE);
  fsArea.give(to, P.FS_STAT_SIZE);
  fsArea.give(at, bytes + 1);
  if (status < 0) return status;
  if ((mode & 0xf000) != STAT_DIRECTORY) return -E.ENOTDIR;
  if (joinPath(p.cwd, path, CWD, R.CWD_BYTES) < 0) return -E.ENAMETOOLONG;
  p.cwdInode = inode;
  memory.copy(p.cwd, CWD, R.CWD_BYTES);
  return 0;
}
const CWD: usize = memory.data(256);

function getcwd(p: Program): i32 {
  let bytes: u32 = 0;
  while (load<u8>(p.cwd + bytes) != 0) bytes++;
  if (bytes > p.w0) return -E.ERANGE;
  const status = E.errnoOf(copyToLease(p.reply, p.cwd, 0, 0, bytes));
  return status < 0 ? status : bytes;
}

/** rename and link name two places; symlink's first text is its content. */
function withTwoPaths(p: Program, op: u32): i32 {
  const first = takePath(p, 0);
  if (first == 0) return pathError;
  const second = takePath(p, 1);
  if (second == 0) { free(first); return pathError; }
  let status: i32 = -E.ENOENT;
  if (load<u8>(first) != 0 && load<u8>(second) != 0) {
    const a = putPath(first), aBytes = pathBytes();
    status = a;
    if (a >= 0) {
      const b = putPath(second), bBytes = pathBytes();
      status = b;
      if (b >= 0) {
        if (op == P.FS_SYMLINK) status = fsCall(op, 0, p.cwdInode, b, bBytes, a, aBytes, 0);
        else status = fsCall(op, 0, p.cwdInode, a, aBytes, p.cwdInode, b, bBytes);
        fsArea.give(b, bBytes + 1);
      }
      fsArea.give(a, aBytes + 1);
    }
  }
  free(second);
  free(first);
  return status;
}

// ---- files ------------------------------------------------------------------------------------------------------------------------------

function write(p: Program): i32 {
  const f = R.fileOf(p, p.w0);
  if (!f) return -E.EBADF;
  const status = writeFile(p, f, p.w1);
  if (status == -E.EPIPE) signal(p, SIGPIPE);
  return status;
}
function send(p: Program): i32 {
  const f = S.socketOf(p, p.w0);
  if (!f) return S.socketError;
  const status = S.sendSocket(p, f, p.w1, p.w2, p.lease1 >= P.NET_ADDRESS_SIZE);
  if (status == -E.EPIPE && (p.w2 & S.MSG_NOSIGNAL) == 0) signal(p, SIGPIPE);
  return status;
}
/** O_NONBLOCK of sockets and pipes; other flags stay as opened. */
function setFlags(p: Program): i32 {
  const f = R.fileOf(p, p.w0);
  if (!f) return -E.EBADF;
  if (<i32>p.w1 != -1) f.flags = (f.flags & ~S.O_NONBLOCK) | (p.w1 & S.O_NONBLOCK);
  return f.flags;
}
function close(p: Program): i32 {
  const f = R.fileOf(p, p.w0);
  if (!f) return -E.EBADF;
  R.clearFd(p, p.w0);
  return closeFile(f);
}
function dup(p: Program): i32 {
  const f = R.fileOf(p, p.w0);
  if (!f) return -E.EBADF;
  let to = <i32>p.w1;
  if (to < 0) { to = R.freeFd(p, 0); if (to < 0) return -E.EMFILE; }
  if (<u32>to >= R.FDS) return -E.EBADF;
  if (<u32>to == p.w0) return to;
  const old = R.fileOf(p, to);
  f.refs++;
  R.setFd(p, to, f);
  if (old) closeFile(old);
  return to;
}
function pipe(p: Program): i32 {
  const readFd = R.freeFd(p, 0);
  const writeFd = readFd < 0 ? -1 : R.freeFd(p, readFd + 1);
  if (writeFd < 0) return -E.EMFILE;
  const made = newPipe();
  if (!made) return -E.ENFILE;
  const reading = R.newOpenFile(R.PIPE_READ, 0);
  const writing = reading ? R.newOpenFile(R.PIPE_WRITE, 1) : NONE;
  if (!writing) {
    if (reading) reading.kind = R.NOTHING;
    closeEnd(made, true);
    closeEnd(made, false);
    return -E.ENFILE;
  }
  reading.pipe = made.index;
  writing.pipe = made.index;
  R.setFd(p, readFd, reading);
  R.setFd(p, writeFd, writing);
  p.r1 = writeFd;
  return readFd;
}
function truncate(p: Program): i32 {
  const f = R.fileOf(p, p.w0);
  if (!f) return -E.EBADF;
  if (f.kind != R.FILE || !canWrite(f)) return -E.EINVAL;
  return fsCall(P.FS_TRUNCATE, 0, f.inode, p.w1, 0, 0, 0, 0);
}

// ---- programs ---------------------------------------------------------------------------------------------------------------------------

const NEW_GROUP: u32 = 1, FOREGROUND: u32 = 2;

function spawn(p: Program): i32 {
  const total = p.lease0 + p.lease1;
  if (p.lease0 < 2 || p.lease0 > ARGS_BYTES || p.lease1 > ARGS_BYTES || total > ARGS_BYTES) return -E.E2BIG;
  const block = alloc(total);
  if (block == 0) return -E.ENOMEM;
  let status = E.errnoOf(copyFromLease(p.reply, block, 0, 0, p.lease0));
  if (status == 0 && p.lease1 > 0) status = E.errnoOf(copyFromLease(p.reply, block + p.lease0, 1, 0, p.lease1));
  if (status == 0) status = spawnFrom(p, block);
  free(block);
  return status;
}
function spawnFrom(p: Program, block: usize): i32 {
  // The block is "path NUL argv..."; every text must end inside it, and there must be exactly argc of them.
  if (load<u8>(block + p.lease0 - 1) != 0 || (p.lease1 > 0 && load<u8>(block + p.lease0 + p.lease1 - 1) != 0)) return -E.EINVAL;
  let texts: u32 = 0, pathLength: u32 = 0;
  for (let n: u32 = 0; n < p.lease0; n++) if (load<u8>(block + n) == 0) { if (texts == 0) pathLength = n; texts++; }
  if (texts != p.w0 + 1 || pathLength == 0) return -E.EINVAL;
  const fds = p.w1, input = R.fileOf(p, fds & 255), output = R.fileOf(p, (fds >> 8) & 255), error = R.fileOf(p, (fds >> 16) & 255);
  let group = p.group;
  if ((p.w2 & NEW_GROUP) != 0) group = 0;
  else if (p.w3 != 0) group = p.w3;
  // Held while the program is built: this request may not be the only one that can close them.
  if (input) input.refs++;
  if (output) output.refs++;
  if (error) error.refs++;
  const args = changetype<Arguments>(alloc(16));
  let pid: i32 = -E.ENOMEM;
  if (args) {
    args.at = block + pathLength + 1;
    args.argc = p.w0;
    args.argBytes = p.lease0 - pathLength - 1;
    args.envBytes = p.lease1;
    pid = spawnProgram(p, block, args, input, output, error, group);
    free(changetype<usize>(args));
  }
  if (input) closeFile(input);
  if (output) closeFile(output);
  if (error) closeFile(error);
  if (pid > 0 && (p.w2 & FOREGROUND) != 0) {
    const child = R.programOf(pid);
    if (child) ttyControl(0, CONTROL_FOREGROUND, child.group);
  }
  return pid;
}

const KIND_PROCESS: u32 = 0, KIND_GROUP: u32 = 1, KIND_SERVER: u32 = 2;
function kill(p: Program): i32 {
  if (p.w1 > 31) return -E.EINVAL;
  if (p.w2 == KIND_SERVER) return killServer(p.w0);
  if (p.w2 == KIND_GROUP) {
    let members: u32 = 0;
    for (let n: u32 = 0; n < R.PROGRAMS; n++) if (R.programAt(n).state == R.RUNNING && R.programAt(n).group == p.w0) members++;
    if (members == 0) return -E.ESRCH;
    signalGroup(p.w0, p.w1);
    return 0;
  }
  if (p.w2 != KIND_PROCESS) return -E.EINVAL;
  const one = R.programOf(p.w0);
  if (!one) return -E.ESRCH;
  signal(one, p.w1);
  return 0;
}

function sleep(p: Program): i32 {
  const ns = <u64>p.w0 | (<u64>p.w1 << 32), now = sys.clock();
  const deadline = ns > 0x7fffffffffffffff - now ? sys.FOREVER : now + ns;
  return pause(never, deadline) ? 0 : -E.EINTR;
}

// ---- terminal ---------------------------------------------------------------------------------------------------------------------------

function terminalMode(p: Program): i32 {
  const f = R.fileOf(p, p.w0);
  if (!f) return -E.EBADF;
  if (f.kind != R.TERMINAL || f.line != 0) return -E.ENOTTY;
  return <i32>p.w1 < 0 ? ttyControl(0, CONTROL_GET_MODE, 0) : ttyControl(0, CONTROL_SET_MODE, p.w1);
}
function foreground(p: Program): i32 {
  const f = R.fileOf(p, p.w0);
  if (!f) return -E.EBADF;
  if (f.kind != R.TERMINAL || f.line != 0) return -E.ENOTTY;
  const one = R.programOf(p.w1);
  const status = ttyControl(0, CONTROL_FOREGROUND, one ? one.group : p.w1);
  return status < 0 ? status : 0;
}
