/**
 * Sockets: open files of kind SOCKET, whose state lives in net under an id that process chooses and never uses again. Everything here may reach net twice
 * (net dies and the ring posts again): ids and stream positions make twice the same as once (servers/protocols/net.ts).
 *
 * Data moves between the program and the shared area of the NET ring, at most PIECE bytes at a time. While half of the area is taken, nobody waits for the
 * outside world with a part of it: the operation is tried without waiting, and the wait is a `watch`, which holds nothing.
 */
import * as P from 'kintsugi/protocols';
import { WaitQueue, newQueue, wakeAll } from '../lib/fiber';
import { FOREVER, copyFromLease, copyToLease } from '../lib/sys';
import * as E from './errno';
import { eventResult, netArea, netCall, netWait } from './peers';
import * as R from './records';
import { OpenFile, Program } from './records';
import { mustStop, pause } from './wait';

const PIECE: u32 = 65536;
const LIMIT: u32 = 1 << 20;
const DATAGRAM_LIMIT: u32 = 65536;
const ADDRESS: u32 = P.NET_ADDRESS_SIZE;
const NO_ADDRESS: u32 = 0xffffffff;
export const O_NONBLOCK: u32 = 0x800;
const O_RDWR: u32 = 2;
const NONBLOCK: u32 = 1, URGENT: u32 = 2, PEEK: u32 = 2; // flags of NET
const MSG_OOB: u32 = 1, MSG_PEEK: u32 = 2, MSG_DONTWAIT: u32 = 0x40;
export const MSG_NOSIGNAL: u32 = 0x4000;
const TYPE_MASK: u32 = 15;
const SENDING: u32 = 1, RECEIVING: u32 = 2;

let lastId: u32 = 0;
let turns: WaitQueue = changetype<WaitQueue>(0);
export function socketsInit(): void { turns = newQueue(); }

function crowded(): bool { return netArea.used > netArea.pages >> 1; }
/** The open file of an fd if it is a socket; else null with the reason in `socketError`. */
export function socketOf(p: Program, fd: u32): OpenFile {
  const f = R.fileOf(p, fd);
  if (changetype<usize>(f) != 0 && f.kind == R.SOCKET) return f;
  socketError = changetype<usize>(f) == 0 ? -E.EBADF : -E.ENOTSOCK;
  return changetype<OpenFile>(0);
}
export let socketError: i32 = 0;

/** A description with a fresh id, not yet known to net; null when all are in use. */
function newSocket(type: u32, flags: u32): OpenFile {
  const f = R.newOpenFile(R.SOCKET, O_RDWR | (flags & O_NONBLOCK));
  if (changetype<usize>(f) == 0) return f;
  f.socket = ++lastId; f.type = type;
  return f;
}
export function socket(p: Program): i32 {
  const fd = R.freeFd(p, 0), type = p.w1 & TYPE_MASK;
  if (fd < 0) return -E.EMFILE;
  const f = newSocket(type, p.w1);
  if (changetype<usize>(f) == 0) return -E.ENFILE;
  const status = netCall(P.NET_SOCKET, f.socket, p.w0, type, p.w2, 0);
  if (status < 0) { f.kind = R.NOTHING; return status; }
  R.setFd(p, fd, f);
  return fd;
}
/** The last reference is gone. Never waits for the peer. */
export function closeSocket(f: OpenFile): i32 { return netCall(P.NET_CLOSE, f.socket, 0, 0, 0, 0); }

/** Lease 0 (an address) in the area; its offset, or a negative errno. */
function putAddress(p: Program, lease: u32): i32 {
  const at = netArea.take(ADDRESS), status = E.errnoOf(copyFromLease(p.reply, netArea.address(at), lease, 0, ADDRESS));
  if (status < 0) { netArea.give(at, ADDRESS); return status; }
  return at;
}
/** bind (answers the port), connect. */
export function withAddress(p: Program, op: u32): i32 {
  const f = socketOf(p, p.w0);
  if (!f) return socketError;
  const at = putAddress(p, 0);
  if (at < 0) return at;
  const nonblock: u32 = (f.flags & O_NONBLOCK) != 0 ? NONBLOCK : 0;
  const status = op == P.NET_BIND ? netCall(op, f.socket, at, 0, 0, 0) : netWait(op, f.socket, at, nonblock, 0, 0);
  netArea.give(at, ADDRESS);
  return status < 0 ? status : op == P.NET_BIND ? portOf(eventResult().r0) : 0;
}
export function listen(p: Program): i32 {
  const f = socketOf(p, p.w0);
  if (!f) return socketError;
  const status = netCall(P.NET_LISTEN, f.socket, p.w1, 0, 0, 0);
  return status < 0 ? status : portOf(eventResult().r0);
}
/** What net says is a port. */
function portOf(answer: u32): i32 { return answer > 0xffff ? -E.ENETDOWN : <i32>answer; }
export function accept(p: Program): i32 {
  const f = socketOf(p, p.w0);
  if (!f) return socketError;
  const fd = R.freeFd(p, 0);
  if (fd < 0) return -E.EMFILE;
  const connection = newSocket(f.type, 0);
  if (!connection) return -E.ENFILE;
  f.refs++;
  const status = netWait(P.NET_ACCEPT, f.socket, connection.socket, NO_ADDRESS, (f.flags & O_NONBLOCK) != 0 ? NONBLOCK : 0, 0);
  f.refs--; // its fd is still there: the program waits for this answer
  if (status < 0) { connection.kind = R.NOTHING; return status; }
  R.setFd(p, fd, connection);
  if (p.lease0 >= ADDRESS) nameTo(p, connection, 1, 0);
  return fd;
}
/** The address of one end, through lease `n`. */
function nameTo(p: Program, f: OpenFile, peer: u32, lease: u32): i32 {
  const at = netArea.take(ADDRESS);
  let status = netCall(P.NET_NAME, f.socket, peer, at, 0, 0);
  if (status == 0) status = E.errnoOf(copyToLease(p.reply, netArea.address(at), lease, 0, ADDRESS));
  netArea.give(at, ADDRESS);
  return status;
}
export function sockname(p: Program): i32 {
  const f = socketOf(p, p.w0);
  return f ? nameTo(p, f, p.w1 & 1, 0) : socketError;
}
export function shutdown(p: Program): i32 {
  const f = socketOf(p, p.w0);
  return f ? netCall(P.NET_SHUTDOWN, f.socket, p.w1, 0, 0, 0) : socketError;
}
export function sockopt(p: Program): i32 {
  const f = socketOf(p, p.w0);
  if (!f) return socketError;
  const status = netCall(P.NET_OPTION, f.socket, p.w1, p.w2, p.w3 & 1, 0);
  p.r1 = eventResult().r0;
  return status;
}

// ---- data -------------------------------------------------------------------------------------------------------------------------------

/** One operation at a time in each direction of a description, or on its one position: positions count. False: a signal came. */
export function takeTurn(f: OpenFile, direction: u32): bool {
  while ((f.busy & direction) != 0) if (!pause(turns, FOREVER)) return false;
  f.busy |= direction;
  return true;
}
export function endTurn(f: OpenFile, direction: u32): void { f.busy &= ~direction; wakeAll(turns); }
/** Waits until `events` or the end of the socket. 0 or -EINTR. */
function watch(f: OpenFile, events: u32): i32 { return netWait(P.NET_WATCH, f.socket, events, 0, 0, 0); }
function mayWait(f: OpenFile, flags: u32): bool { return (f.flags & O_NONBLOCK) == 0 && (flags & MSG_DONTWAIT) == 0; }

/** Lease 0 to the peer, or to the address in lease 1. Bytes or a negative errno. */
export function sendSocket(p: Program, f: OpenFile, bytes: u32, flags: u32, withName: bool): i32 {
  if (f.type != P.NET_TYPE_STREAM) return sendDatagram(p, f, bytes, flags, withName);
  if (!takeTurn(f, SENDING)) return -E.EINTR;
  let done: u32 = 0, status = 0;
  const wanted = min(bytes, LIMIT), wait = mayWait(f, flags), urgent: u32 = (flags & MSG_OOB) != 0 ? URGENT : 0;
  do {
    const part = min(wanted - done, PIECE), at = netArea.take(part), full = crowded();
    status = E.errnoOf(copyFromLease(p.reply, netArea.address(at), 0, done, part));
    if (status == 0) status = netWait(P.NET_SEND, f.socket, f.sent, at, part, (!wait || full ? NONBLOCK : 0) | urgent);
    const put: u32 = status < 0 ? 0 : min(eventResult().r0, part);
    f.sent += put;
    done += put;
    netArea.give(at, part);
    if (status == -E.EAGAIN && wait) { status = watch(f, P.NET_EVENTS_WRITABLE); continue; }
    if (!wait && put < part) break;
  } while (status == 0 && done < wanted && !mustStop());
  endTurn(f, SENDING);
  return done > 0 ? done : status == 0 && done < wanted ? -E.EINTR : status;
}
function sendDatagram(p: Program, f: OpenFile, bytes: u32, flags: u32, withName: bool): i32 {
  if (bytes > DATAGRAM_LIMIT) return -E.EMSGSIZE;
  let name = NO_ADDRESS;
  if (withName) {
    const at = putAddress(p, 1);
    if (at < 0) return at;
    name = at;
  }
  const wait = mayWait(f, flags);
  let status = 0, sent: u32 = 0;
  while (true) {
    const at = netArea.take(bytes), full = crowded();
    status = E.errnoOf(copyFromLease(p.reply, netArea.address(at), 0, 0, bytes));
    if (status == 0) status = netWait(P.NET_SENDTO, f.socket, name, at, bytes, !wait || full ? NONBLOCK : 0);
    sent = eventResult().r0;
    netArea.give(at, bytes);
    if (status != -E.EAGAIN || !wait) break;
    status = watch(f, P.NET_EVENTS_WRITABLE);
    if (status < 0) break;
  }
  if (withName) netArea.give(name, ADDRESS);
  return status < 0 ? status : <i32>min(sent, bytes);
}
/** Into lease 0; the sender's address into lease 1. Bytes, 0 at the end of a stream, or a negative errno. */
export function recvSocket(p: Program, f: OpenFile, bytes: u32, flags: u32, withName: bool): i32 {
  const stream = f.type == P.NET_TYPE_STREAM;
  if (bytes == 0 && stream) return 0;
  if (!takeTurn(f, RECEIVING)) return -E.EINTR;
  const part = min(bytes, stream ? PIECE : DATAGRAM_LIMIT), wait = mayWait(f, flags), peek: u32 = (flags & MSG_PEEK) != 0 ? PEEK : 0;
  let status = 0, got: u32 = 0;
  while (true) {
    const at = netArea.take(part), name = withName && !stream ? netArea.take(ADDRESS) : NO_ADDRESS, full = crowded();
    const how = (!wait || full ? NONBLOCK : 0) | peek;
    status = stream ? netWait(P.NET_RECV, f.socket, f.received, at, part, how) : netWait(P.NET_RECVFROM, f.socket, name, at, part, how);
    got = status < 0 ? 0 : min(eventResult().r0, part);
    p.r1 = stream ? got : min(eventResult().r1, DATAGRAM_LIMIT);
    if (got > 0) status = E.errnoOf(copyToLease(p.reply, netArea.address(at), 0, 0, got));
    if (status == 0 && name != NO_ADDRESS) status = E.errnoOf(copyToLease(p.reply, netArea.address(name), 1, 0, ADDRESS));
    if (status == 0 && stream && peek == 0) f.received += got;
    netArea.give(at, part);
    if (name != NO_ADDRESS) netArea.give(name, ADDRESS);
    if (status != -E.EAGAIN || !wait) break;
    status = watch(f, P.NET_EVENTS_READABLE);
    if (status < 0) break;
  }
  if (status == 0 && withName && stream) status = nameTo(p, f, 1, 1);
  endTurn(f, RECEIVING);
  return status < 0 ? status : <i32>got;
}

// ---- the network itself -----------------------------------------------------------------------------------------------------------------

const QUERY_BYTES: u32 = 16384;
const LEAST_RECORD: u32 = 16; // bytes
export function netquery(p: Program): i32 {
  const room = min(p.w2, QUERY_BYTES), at = netArea.take(room);
  let status = netCall(P.NET_QUERY, p.w0, p.w1, at, room, 0);
  const records = min(eventResult().r0, room / LEAST_RECORD);
  p.r1 = eventResult().r1;
  if (status == 0 && room > 0) status = E.errnoOf(copyToLease(p.reply, netArea.address(at), 0, 0, room));
  netArea.give(at, room);
  return status < 0 ? status : <i32>records;
}
export function netconfigure(p: Program): i32 {
  let at: i32 = 0;
  const named = p.lease0 >= ADDRESS;
  if (named) { at = putAddress(p, 0); if (at < 0) return at; }
  const status = netCall(P.NET_CONFIGURE, p.w0, p.w1, named ? at : NO_ADDRESS, p.w2, 0);
  if (named) netArea.give(at, ADDRESS);
  return status;
}
const NAME_LIMIT: u32 = 256;
const ADDRESSES: u32 = 32;
export function resolve(p: Program): i32 {
  const bytes = p.lease0, room = min(p.w0, ADDRESSES);
  if (bytes < 2) return -E.EINVAL;
  if (bytes > NAME_LIMIT) return -E.ENAMETOOLONG;
  const name = netArea.take(bytes);
  let status = E.errnoOf(copyFromLease(p.reply, netArea.address(name), 0, 0, bytes));
  if (status == 0 && load<u8>(netArea.address(name) + bytes - 1) != 0) status = -E.EINVAL;
  let found: u32 = 0;
  if (status == 0) {
    const to = netArea.take(room * ADDRESS);
    status = netWait(P.NET_RESOLVE, name, bytes - 1, to, room, p.w1);
    found = status < 0 ? 0 : min(eventResult().r0, room);
    if (found > 0) status = E.errnoOf(copyToLease(p.reply, netArea.address(to), 1, 0, found * ADDRESS));
    netArea.give(to, room * ADDRESS);
  }
  netArea.give(name, bytes);
  return status < 0 ? status : <i32>found;
}
