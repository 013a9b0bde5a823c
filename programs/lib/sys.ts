/**
 * System calls of a native program. A program holds one capability that matters: a send right on the endpoint of `process`. Every request
 * is one `call` on it with the operation as label, at most four words, and at most two leases through which `process` reads or
 * writes the memory of the program while it owes the reply. Every function here returns a result >= 0 or a negative Linux errno;
 * a failure of the call itself (the server died and could not answer) is EIO.
 *
 * Words 0-2 travel in registers, word 3 and the leases in the message page.
 */
import { sys_enter } from 'kintsugi/x86';
import { CALL_CALL, CALL_CLOCK, ERR_OK, ERR_INTR, MP_LEASES, MP_WORDS, VM_MESSAGE_PAGE } from 'kintsugi/abi';
import * as P from 'kintsugi/protocols';
import { EINTR, EIO } from './errors';

const REGS: usize = memory.data(20, 4);
const READ_LEASE: u32 = 1;
const WRITE_LEASE: u32 = 2;
let endpoint: u32 = 0;
let leases: u32 = 0;

export function useEndpoint(handle: u32): void { endpoint = handle; }

function lease(at: usize, bytes: u32, rights: u32): void {
  const slot = VM_MESSAGE_PAGE + MP_LEASES + (leases << 4);
  store<u32>(slot, 0);
  store<u32>(slot, <u32>at, 4);
  store<u32>(slot, bytes, 8);
  store<u32>(slot, rights, 12);
  leases++;
}

/** A request with paths or lists in its leases: their lengths travel in words 4 and 5. */
function measured(operation: u32, w0: u32, w1: u32, w2: u32): i32 {
  const slots = VM_MESSAGE_PAGE + MP_LEASES;
  store<u32>(VM_MESSAGE_PAGE + MP_WORDS, load<u32>(slots, 8), 16);
  store<u32>(VM_MESSAGE_PAGE + MP_WORDS, leases > 1 ? load<u32>(slots, 24) : 0, 20);
  return request(operation, 6, w0, w1, w2);
}

function request(operation: u32, words: u32, w0: u32, w1: u32, w2: u32): i32 {
  store<u32>(REGS, endpoint);
  store<u32>(REGS, operation | (words << 16) | (leases << 25) | (CALL_CALL << 28), 4);
  store<u32>(REGS, w0, 8);
  store<u32>(REGS, w1, 12);
  store<u32>(REGS, w2, 16);
  leases = 0;
  const status = sys_enter(REGS);
  if (status == ERR_OK) return load<i32>(REGS, 8);
  return status == ERR_INTR ? -EINTR : -EIO;
}
/** Second and third result word of the last request. */
export function secondResult(): i32 { return load<i32>(REGS, 12); }
export function thirdResult(): i32 { return load<i32>(REGS, 16); }

function textBytes(text: usize): u32 {
  let p = text;
  while (load<u8>(p)) p++;
  return <u32>(p - text) + 1;
}

export function sysExit(status: i32): void { while (true) request(P.PROCESS_EXIT, 1, status, 0, 0); }

/** `block` = path NUL argv strings, each NUL terminated; `environment` likewise. `fds` = stdin | stdout << 8 | stderr << 16. */
export function sysSpawn(block: usize, blockBytes: u32, argc: u32, environment: usize, environmentBytes: u32, fds: u32, flags: u32, group: u32): i32 {
  lease(block, blockBytes, READ_LEASE);
  if (environmentBytes) lease(environment, environmentBytes, READ_LEASE);
  store<u32>(VM_MESSAGE_PAGE + MP_WORDS, group, 12);
  return measured(P.PROCESS_SPAWN, argc, fds, flags);
}
/** Pid of a child that ended (0: none yet, with `nohang`); its wait status is `secondResult()`. */
export function sysWait(pid: i32, nohang: bool): i32 { return request(P.PROCESS_WAIT, 2, pid, nohang ? 1 : 0, 0); }
export const KILL_PROCESS: u32 = 0;
export const KILL_GROUP: u32 = 1;
export const KILL_SERVER: u32 = 2;
export function sysKill(id: u32, signal: u32, kind: u32): i32 { return request(P.PROCESS_KILL, 3, id, signal, kind); }
export function sysCatch(signals: u32): i32 { return request(P.PROCESS_CATCH, 1, signals, 0, 0); }

export function sysRead(fd: u32, buffer: usize, bytes: u32): i32 { lease(buffer, bytes, WRITE_LEASE); return request(P.PROCESS_READ, 2, fd, bytes, 0); }
export function sysWrite(fd: u32, buffer: usize, bytes: u32): i32 { lease(buffer, bytes, READ_LEASE); return request(P.PROCESS_WRITE, 2, fd, bytes, 0); }
export function sysOpen(path: usize, flags: u32, mode: u32): i32 { lease(path, textBytes(path), READ_LEASE); return measured(P.PROCESS_OPEN, flags, mode, 0); }
export function sysClose(fd: u32): i32 { return request(P.PROCESS_CLOSE, 1, fd, 0, 0); }
export function sysSeek(fd: u32, offset: i32, whence: u32): i32 { return request(P.PROCESS_LSEEK, 3, fd, offset, whence); }
export function sysDup(old: u32, to: i32): i32 { return request(P.PROCESS_DUP2, 2, old, to, 0); }
/** Read end; the write end is `secondResult()`. */
export function sysPipe(): i32 { return request(P.PROCESS_PIPE, 0, 0, 0, 0); }
export function sysTruncate(fd: u32, size: u32): i32 { return request(P.PROCESS_TRUNCATE, 2, fd, size, 0); }
export function sysFsync(fd: u32): i32 { return request(P.PROCESS_FSYNC, 1, fd, 0, 0); }

/** `record` takes P.FS_STAT_SIZE bytes. */
export function sysStat(path: usize, record: usize, nofollow: bool): i32 {
  lease(path, textBytes(path), READ_LEASE);
  lease(record, P.FS_STAT_SIZE, WRITE_LEASE);
  return measured(P.PROCESS_STAT, nofollow ? 1 : 0, 0, 0);
}
export function sysFstat(fd: u32, record: usize): i32 {
  lease(record, P.FS_STAT_SIZE, WRITE_LEASE);
  return request(P.PROCESS_FSTAT, 1, fd, 0, 0);
}
export function sysReaddir(fd: u32, buffer: usize, bytes: u32): i32 { lease(buffer, bytes, WRITE_LEASE); return request(P.PROCESS_READDIR, 2, fd, bytes, 0); }
export function sysMkdir(path: usize, mode: u32): i32 { lease(path, textBytes(path), READ_LEASE); return measured(P.PROCESS_MKDIR, mode, 0, 0); }
export function sysUnlink(path: usize): i32 { lease(path, textBytes(path), READ_LEASE); return measured(P.PROCESS_UNLINK, 0, 0, 0); }
export function sysRmdir(path: usize): i32 { lease(path, textBytes(path), READ_LEASE); return measured(P.PROCESS_RMDIR, 0, 0, 0); }
export function sysChmod(path: usize, mode: u32): i32 { lease(path, textBytes(path), READ_LEASE); return measured(P.PROCESS_CHMOD, mode, 0, 0); }
export function sysChdir(path: usize): i32 { lease(path, textBytes(path), READ_LEASE); return measured(P.PROCESS_CHDIR, 0, 0, 0); }

function twoPaths(operation: u32, first: usize, second: usize): i32 {
  lease(first, textBytes(first), READ_LEASE);
  lease(second, textBytes(second), READ_LEASE);
  return measured(operation, 0, 0, 0);
}
export function sysRename(from: usize, to: usize): i32 { return twoPaths(P.PROCESS_RENAME, from, to); }
export function sysLink(from: usize, to: usize): i32 { return twoPaths(P.PROCESS_LINK, from, to); }
export function sysSymlink(target: usize, path: usize): i32 { return twoPaths(P.PROCESS_SYMLINK, target, path); }
export function sysReadlink(path: usize, buffer: usize, bytes: u32): i32 {
  lease(path, textBytes(path), READ_LEASE);
  lease(buffer, bytes, WRITE_LEASE);
  return measured(P.PROCESS_READLINK, bytes, 0, 0);
}
/** Bytes of the working directory without NUL. */
export function sysGetcwd(buffer: usize, bytes: u32): i32 { lease(buffer, bytes, WRITE_LEASE); return request(P.PROCESS_GETCWD, 1, bytes, 0, 0); }
/** Own pid; the parent is `secondResult()`. */
export function sysGetpid(): i32 { return request(P.PROCESS_GETPID, 0, 0, 0, 0); }
export function sysSleep(ns: u64): i32 { return request(P.PROCESS_SLEEP, 2, <u32>ns, <u32>(ns >> 32), 0); }
export function sysSync(): i32 { return request(P.PROCESS_SYNC, 0, 0, 0, 0); }
/** Number of records of P.PROCESS_PS_RECORD_SIZE bytes. */
export function sysPs(buffer: usize, bytes: u32): i32 { lease(buffer, bytes, WRITE_LEASE); return request(P.PROCESS_PS, 1, bytes, 0, 0); }
export function sysPoweroff(status: i32): i32 { return request(P.PROCESS_POWEROFF, 1, status, 0, 0); }
export function sysBrk(end: usize): i32 { return request(P.PROCESS_BRK, 1, <u32>end, 0, 0); }
export function sysTerminalMode(fd: u32, mode: i32): i32 { return request(P.PROCESS_TCMODE, 2, fd, mode, 0); }
export function sysForeground(fd: u32, pid: u32): i32 { return request(P.PROCESS_TCFOREGROUND, 2, fd, pid, 0); }
export function sysIsTerminal(fd: u32): bool { return request(P.PROCESS_ISATTY, 1, fd, 0, 0) == 1; }
/** Free blocks; `secondResult()` = blocks, `thirdResult()` = bytes of a block. */
export function sysStatfs(): i32 { return request(P.PROCESS_STATFS, 0, 0, 0, 0); }

// ---- sockets: addresses are records of P.NET_ADDRESS_SIZE bytes (programs/lib/net.ts) ----------------------------------------------------

function words4(operation: u32, w0: u32, w1: u32, w2: u32, w3: u32): i32 {
  store<u32>(VM_MESSAGE_PAGE + MP_WORDS, w3, 12);
  return request(operation, 4, w0, w1, w2);
}
export function sysSocket(family: u32, type: u32, protocol: u32): i32 { return request(P.PROCESS_SOCKET, 3, family, type, protocol); }
/** The port. */
export function sysBind(fd: u32, address: usize): i32 { lease(address, P.NET_ADDRESS_SIZE, READ_LEASE); return measured(P.PROCESS_BIND, fd, 0, 0); }
export function sysConnect(fd: u32, address: usize): i32 { lease(address, P.NET_ADDRESS_SIZE, READ_LEASE); return measured(P.PROCESS_CONNECT, fd, 0, 0); }
/** The port. */
export function sysListen(fd: u32, backlog: u32): i32 { return request(P.PROCESS_LISTEN, 2, fd, backlog, 0); }
/** The fd of the connection; its peer in `address` (0: not asked for). */
export function sysAccept(fd: u32, address: usize): i32 {
  if (address) lease(address, P.NET_ADDRESS_SIZE, WRITE_LEASE);
  return address ? measured(P.PROCESS_ACCEPT, fd, 0, 0) : request(P.PROCESS_ACCEPT, 1, fd, 0, 0);
}
export const MSG_OOB: u32 = 1;
export const MSG_PEEK: u32 = 2;
export const MSG_DONTWAIT: u32 = 0x40;
export const MSG_NOSIGNAL: u32 = 0x4000;
/** To `address`, or to the peer of a connected socket (0). */
export function sysSend(fd: u32, buffer: usize, bytes: u32, flags: u32, address: usize): i32 {
  lease(buffer, bytes, READ_LEASE);
  if (address) lease(address, P.NET_ADDRESS_SIZE, READ_LEASE);
  return measured(P.PROCESS_SEND, fd, bytes, flags);
}
/** Bytes, 0 at the end of a stream; the sender in `address` (0: not asked for); `secondResult()` = bytes of the whole datagram. */
export function sysRecv(fd: u32, buffer: usize, bytes: u32, flags: u32, address: usize): i32 {
  lease(buffer, bytes, WRITE_LEASE);
  if (address) lease(address, P.NET_ADDRESS_SIZE, WRITE_LEASE);
  return measured(P.PROCESS_RECV, fd, bytes, flags);
}
export function sysShutdown(fd: u32, how: u32): i32 { return request(P.PROCESS_SHUTDOWN, 2, fd, how, 0); }
export function sysSockname(fd: u32, peer: u32, address: usize): i32 { lease(address, P.NET_ADDRESS_SIZE, WRITE_LEASE); return request(P.PROCESS_SOCKNAME, 2, fd, peer, 0); }
export function sysSetOption(fd: u32, option: u32, value: u32): i32 { return words4(P.PROCESS_SOCKOPT, fd, option, value, 1); }
/** 0; the value is `secondResult()`. */
export function sysGetOption(fd: u32, option: u32): i32 { return words4(P.PROCESS_SOCKOPT, fd, option, 0, 0); }
/** `records` of P.PROCESS_POLL_RECORD_SIZE bytes; how many have events. Timeout in ms, -1 = none. */
export function sysPoll(records: usize, count: u32, timeout: i32): i32 { lease(records, count * P.PROCESS_POLL_RECORD_SIZE, READ_LEASE | WRITE_LEASE); return request(P.PROCESS_POLL, 2, count, timeout, 0); }
/** Records; the next one to ask for is `secondResult()`, 0 = no more. */
export function sysNetQuery(what: u32, first: u32, buffer: usize, bytes: u32): i32 { lease(buffer, bytes, WRITE_LEASE); return request(P.PROCESS_NETQUERY, 3, what, first, bytes); }
export function sysNetConfigure(index: u32, what: u32, value: u32, address: usize): i32 {
  if (address) lease(address, P.NET_ADDRESS_SIZE, READ_LEASE);
  return address ? measured(P.PROCESS_NETCONFIGURE, index, what, value) : request(P.PROCESS_NETCONFIGURE, 3, index, what, value);
}
/** Addresses found for a name, at most `room`. */
export function sysResolve(name: usize, addresses: usize, room: u32): i32 {
  lease(name, textBytes(name), READ_LEASE);
  lease(addresses, room * P.NET_ADDRESS_SIZE, WRITE_LEASE);
  return measured(P.PROCESS_RESOLVE, room, 0, 0);
}
export const O_NONBLOCK: u32 = 0x800;
/** Flags of the open file; -1 only asks. */
export function sysSetFlags(fd: u32, flags: i32): i32 { return request(P.PROCESS_SETFLAGS, 2, fd, flags, 0); }

/** Nanoseconds since boot, straight from the kernel. */
export function clock(): u64 {
  store<u32>(REGS, 0);
  store<u32>(REGS, CALL_CLOCK << 28, 4);
  sys_enter(REGS);
  return load<u64>(REGS, 8);
}
