/**
 * The operations of servers/protocols/net.ts. `serve(op)` answers (a status >= 0, or a negative errno; results in op.r0, op.r1) or says PARKED; core.ts parks the operation and calls
 * `serve` again when something happened to its socket (`wake`). Everything an operation names is checked here: ids, ranges in the shared data area, addresses.
 *
 * An operation may come twice (the ring posts again what a dead predecessor had taken): each names the state it leads to, so the second time finds it.
 */
import {
  NET_ACCEPT, NET_ADDRESS_BYTES, NET_ADDRESS_FAMILY, NET_ADDRESS_PORT, NET_ADDRESS_SCOPE, NET_ADDRESS_SIZE, NET_BIND, NET_CANCEL, NET_CLOSE, NET_CONFIGURE, NET_CONFIGURE_ADDRESS, NET_CONFIGURE_DHCP,
  NET_CONFIGURE_DOWN, NET_CONFIGURE_GATEWAY, NET_CONFIGURE_RESOLVER, NET_CONFIGURE_UP, NET_CONNECT, NET_EVENTS_ERROR, NET_EVENTS_HANGUP, NET_EVENTS_READABLE, NET_EVENTS_WRITABLE, NET_FAMILY_INET, NET_LISTEN, NET_NAME,
  NET_OPTION, NET_OPTION_BROADCAST, NET_OPTION_CONGESTION, NET_OPTION_ERROR, NET_OPTION_KEEPALIVE, NET_OPTION_LINGER, NET_OPTION_NODELAY, NET_OPTION_RECEIVE_BUFFER, NET_OPTION_REUSE, NET_OPTION_SEND_BUFFER, NET_OPTION_TTL,
  NET_QUERY, NET_RECV, NET_RECVFROM, NET_RESOLVE, NET_RETAIN, NET_SEND, NET_SENDTO, NET_SHUTDOWN, NET_SOCKET, NET_TCP_STATE_CLOSED, NET_TCP_STATE_CLOSE_WAIT, NET_TCP_STATE_ESTABLISHED, NET_TCP_STATE_LISTEN,
  NET_TCP_STATE_SYN_RECEIVED, NET_TCP_STATE_SYN_SENT, NET_WATCH,
} from 'kintsugi/protocols';
import { inRange } from '../lib/mem';
import { copyAddress, isAny, isV4, put16, sameAddress, setAny, setV4, v4, v4Loopback, v4Multicast } from './address';
import { arpFlush } from './arp';
import { add, finish } from './checksum';
import { DHCP, ETH, RESOLVERS, UP, addressOf, broadcastV4, config, configChanged, gatewayOf, isOwn, mayBind, onLink, ownV4, resolverOf, sourceFor } from './config';
import { C_OPS_BAD, count } from './counters';
import { copyDatagram, datagramBytes, datagramFrom, datagramPort, dropDatagram, dropDatagrams } from './datagram';
import { dhcpBegin, dhcpStop } from './dhcp';
import { dnsShared, resolve } from './dns';
import {
  EACCES, EADDRINUSE, EADDRNOTAVAIL, EAFNOSUPPORT, EAGAIN, EBADF, EDESTADDRREQ, EEXIST, EFAULT, EINPROGRESS, EINTR, EINVAL, EISCONN, EMSGSIZE, ENETUNREACH, ENFILE, ENODEV, ENOENT, ENOPROTOOPT, ENOSYS, ENOTCONN, EOPNOTSUPP,
  EPIPE, EPROTONOSUPPORT,
} from '../lib/errno';
import { writable } from './host';
import { ECHO_REQUEST } from './icmp';
import { PROTOCOL_ICMP, ipv4SendLong } from './ipv4';
import { Op, PARKED, complete, failAll, findParked, unpark } from './op';
import { NO_PAGE, PAGE, mayQueue, mayReceive, pageAt, pageTake } from './pool';
import { query } from './query';
import {
  BOUND, BROADCAST, CONNECTED, CUBIC, DATAGRAM, ECHO, FIN_QUEUED, FIN_RECEIVED, MAX_BUFFER, NODELAY, NO_RECEIVE, NO_SLOT, REUSE, STREAM, STREAM_PAGES, Socket, URGENT_OUT, bindPort, dataEnd, ephemeralPort, findConnection,
  findId, localOf, lt, peerOf, portTaken, rcvPage, sndPage, socketAt, socketFree, socketNew, socketSlots, touch, usedSlot, wake, wantOutput, ACK_NOW,
} from './socket';
import { acceptTake, close, keepaliveStart, open, shutdownSend } from './tcp/connection';
import { windowOpened } from './tcp/output';
import { MAX_DATAGRAM, udpSend } from './udp';

export const MAX_BACKLOG: u32 = 128;
const NONBLOCK: u32 = 1;
const PEEK: u32 = 2;
const URGENT: u32 = 2;
const NO_ADDRESS: u32 = 0xffffffff;
const MARKED: u32 = 1 << 30;
const NONE: Socket = changetype<Socket>(0);

let shared: usize = 0;
let sharedBytes: u32 = 0;
export function socketsShared(at: usize, bytes: u32): void { shared = at; sharedBytes = bytes; dnsShared(at); }
function at(offset: u32, bytes: u32): usize { return inRange(offset, bytes, sharedBytes) ? shared + offset : 0; }

// ---- addresses of operations ------------------------------------------------------------------------------------------------------------
const GIVEN: usize = memory.data(16, 8);
const LOCAL: usize = memory.data(16, 8);
let givenPort: u32 = 0;
/** Copies the address record at `offset` into GIVEN, once; 0 or an errno. */
function readAddress(offset: u32): i32 {
  const p = at(offset, NET_ADDRESS_SIZE);
  if (p == 0) return -EFAULT;
  if (<u32>load<u16>(p, NET_ADDRESS_FAMILY) != NET_FAMILY_INET) return -EAFNOSUPPORT;
  givenPort = <u32>load<u16>(p, NET_ADDRESS_PORT);
  copyAddress(GIVEN, p + NET_ADDRESS_BYTES);
  return isV4(GIVEN) || isAny(GIVEN) ? 0 : -EAFNOSUPPORT;
}
function writeAddress(offset: u32, address: usize, port: u32): bool {
  const p = at(offset, NET_ADDRESS_SIZE);
  if (p == 0) return false;
  store<u16>(p, <u16>NET_FAMILY_INET, NET_ADDRESS_FAMILY); store<u16>(p, <u16>port, NET_ADDRESS_PORT); store<u32>(p, 0, NET_ADDRESS_SCOPE);
  copyAddress(p + NET_ADDRESS_BYTES, address);
  return true;
}
function reportError(s: Socket): i32 {
  const e = <i32>s.error;
  s.error = 0;
  touch(s);
  return -e;
}

export function serve(op: Op): i32 {
  const code = op.code;
  switch (code) {
    case NET_SOCKET: return make(op.a0, op.a1, op.a2, op.a3);
    case NET_CANCEL: return cancel(op.a0);
    case NET_QUERY: { const p = at(op.a2, op.a3); return p == 0 ? -EFAULT : query(op, p); }
    case NET_CONFIGURE: return configure(op.a0, op.a1, op.a2, op.a3);
    case NET_RESOLVE: {
      const text = at(op.a0, op.a1), bytes = op.a3 <= 64 ? op.a3 * NET_ADDRESS_SIZE : 0xffffffff;
      return text == 0 || at(op.a2, bytes) == 0 ? -EFAULT : resolve(op, text, op.a1, at(op.a2, bytes), op.a3);
    }
    case NET_RETAIN: return retain(op);
    default:
  }
  if (code > NET_RETAIN || code == 0) { count(C_OPS_BAD); return -ENOSYS; }
  const s = op.a0 == 0 ? NONE : findId(op.a0);
  if (s == NONE) {
    if (code == NET_CLOSE) return 0;
    count(C_OPS_BAD);
    return -EBADF;
  }
  switch (code) {
    case NET_BIND: return bind(op, s);
    case NET_CONNECT: return connect(op, s);
    case NET_LISTEN: return listen(op, s);
    case NET_ACCEPT: return accept(op, s);
    case NET_SEND: return send(op, s);
    case NET_RECV: return receive(op, s);
    case NET_SENDTO: return sendTo(op, s);
    case NET_RECVFROM: return receiveFrom(op, s);
    case NET_SHUTDOWN: return shutdown(op, s);
    case NET_CLOSE: closeSocket(s); return 0;
    case NET_OPTION: return option(op, s);
    case NET_NAME:
      if (op.a1 == 0) return writeAddress(op.a2, localOf(s), s.localPort) ? 0 : -EFAULT;
      if (s.type == STREAM ? s.peerPort == 0 || s.state == NET_TCP_STATE_CLOSED || s.state == NET_TCP_STATE_LISTEN : (s.flags & CONNECTED) == 0) return -ENOTCONN;
      return writeAddress(op.a2, peerOf(s), s.peerPort) ? 0 : -EFAULT;
    case NET_WATCH: {
      const now = events(s), hit = now & (op.a1 | NET_EVENTS_ERROR | NET_EVENTS_HANGUP);
      op.r0 = op.a1 == 0 ? now : hit;
      return hit != 0 || op.a1 == 0 ? 0 : PARKED;
    }
    default: return -ENOSYS;
  }
}

function make(id: u32, family: u32, type: u32, protocol: u32): i32 {
  if (id == 0) { count(C_OPS_BAD); return -EINVAL; }
  if (family != NET_FAMILY_INET) return -EAFNOSUPPORT;
  if (type < STREAM || type > ECHO) return -EPROTONOSUPPORT;
  if (protocol != 0 && protocol != (type == STREAM ? 6 : type == DATAGRAM ? 17 : 1)) return -EPROTONOSUPPORT;
  const old = findId(id);
  if (old != NONE) return old.type == type ? 0 : -EEXIST;
  const s = socketNew(type, id);
  if (s == NONE) return -ENFILE;
  if (type == STREAM) s.flags |= CUBIC;
  return 0;
}
function bind(op: Op, s: Socket): i32 {
  const bad = readAddress(op.a1);
  if (bad != 0) return bad;
  if (isAny(GIVEN)) setAny(GIVEN);
  op.r0 = s.localPort;
  if ((s.flags & BOUND) != 0) return sameAddress(GIVEN, localOf(s)) && (givenPort == s.localPort || givenPort == 0) ? 0 : -EINVAL;
  if (s.type == STREAM && s.state != NET_TCP_STATE_CLOSED) return -EINVAL;
  if (!mayBind(GIVEN)) return -EADDRNOTAVAIL;
  return take(op, s, givenPort, GIVEN);
}
/** The port (0 = any free one) becomes the socket's; its address too. */
function take(op: Op, s: Socket, port: u32, local: usize): i32 {
  if (port == 0) port = ephemeralPort(s.type, local, 0, 0);
  else if (portTaken(s.type, port, local, (s.flags & REUSE) != 0)) return -EADDRINUSE;
  if (port == 0) return -EADDRINUSE;
  copyAddress(localOf(s), local);
  bindPort(s, port);
  touch(s);
  op.r0 = port;
  return 0;
}
function connect(op: Op, s: Socket): i32 {
  if (s.type == STREAM && op.begun && s.state == NET_TCP_STATE_CLOSED) return s.error != 0 ? reportError(s) : -ENOTCONN;
  const bad = readAddress(op.a1);
  if (bad != 0) return bad;
  if (isAny(GIVEN)) setV4(GIVEN, 0x0100007f); // as others do: any = this host
  if (s.type != STREAM) return connectDatagram(op, s);
  const state = s.state;
  if (state == NET_TCP_STATE_LISTEN) return -EOPNOTSUPP;
  if (state != NET_TCP_STATE_CLOSED) {
    if (!sameAddress(GIVEN, peerOf(s)) || givenPort != s.peerPort) return -EISCONN;
    if (state != NET_TCP_STATE_SYN_SENT && state != NET_TCP_STATE_SYN_RECEIVED) return 0;
    return (op.a2 & NONBLOCK) != 0 ? -EINPROGRESS : PARKED;
  }
  if (s.error != 0) return reportError(s);
  if ((s.flags & CONNECTED) != 0) return -EISCONN;
  if (givenPort == 0) return -EADDRNOTAVAIL;
  const to = v4(GIVEN);
  if (v4Multicast(to) || to == 0xffffffff || (to == broadcastV4() && to != 0) || !sourceFor(to, LOCAL)) return -<i32>ENETUNREACH;
  if (!isAny(localOf(s))) { if (!reaches(to, localOf(s))) return -EINVAL; copyAddress(LOCAL, localOf(s)); }
  const port = s.localPort != 0 ? s.localPort : ephemeralPort(STREAM, LOCAL, GIVEN, givenPort);
  if (port == 0) return -EADDRNOTAVAIL;
  if (findConnection(LOCAL, GIVEN, port, givenPort) != NONE) return -EADDRINUSE;
  copyAddress(localOf(s), LOCAL); copyAddress(peerOf(s), GIVEN);
  s.localPort = port; s.peerPort = givenPort; // BOUND keeps its place: the port is the same
  open(s);
  return (op.a2 & NONBLOCK) != 0 ? -EINPROGRESS : PARKED;
}
/** A source of 127.0.0.0/8 does not leave the machine. */
function reaches(to: u32, local: usize): bool { return !v4Loopback(v4(local)) || isOwn(to); }
function connectDatagram(op: Op, s: Socket): i32 {
  if (s.type == DATAGRAM && givenPort == 0) return -EADDRNOTAVAIL;
  if (!sourceFor(v4(GIVEN), LOCAL)) return -<i32>ENETUNREACH;
  if ((s.flags & BOUND) == 0) { const bad = take(op, s, 0, LOCAL); if (bad != 0) return bad; }
  copyAddress(peerOf(s), GIVEN);
  s.peerPort = givenPort;
  s.flags |= CONNECTED;
  touch(s);
  return 0;
}
function listen(op: Op, s: Socket): i32 {
  if (s.type != STREAM) return -EOPNOTSUPP;
  const backlog: u32 = op.a1 == 0 ? 1 : op.a1 > MAX_BACKLOG ? MAX_BACKLOG : op.a1;
  if (s.state == NET_TCP_STATE_LISTEN) { s.backlog = backlog; touch(s); op.r0 = s.localPort; return 0; }
  if (s.state != NET_TCP_STATE_CLOSED || (s.flags & CONNECTED) != 0) return -EINVAL;
  if ((s.flags & BOUND) == 0) { setAny(GIVEN); const bad = take(op, s, 0, GIVEN); if (bad != 0) return bad; }
  s.state = NET_TCP_STATE_LISTEN; s.backlog = backlog;
  touch(s);
  op.r0 = s.localPort;
  return 0;
}
function accept(op: Op, l: Socket): i32 {
  const id = op.a1;
  if (id == 0 || id == l.id) return -EINVAL;
  if (op.a2 != NO_ADDRESS && at(op.a2, NET_ADDRESS_SIZE) == 0) return -EFAULT;
  let s = findId(id);
  if (s == NONE) {
    if (l.state != NET_TCP_STATE_LISTEN) return -EINVAL;
    s = acceptTake(l, id);
    if (s == NONE) return (op.a3 & NONBLOCK) != 0 ? -EAGAIN : PARKED;
  } else if (s.type != STREAM || s.peerPort == 0) return -EEXIST;
  if (op.a2 != NO_ADDRESS) writeAddress(op.a2, peerOf(s), s.peerPort);
  return 0;
}

// ---- streams ----------------------------------------------------------------------------------------------------------------------------
function send(op: Op, s: Socket): i32 {
  if (s.type != STREAM) return -EOPNOTSUPP;
  const from = at(op.a2, op.a3);
  if (from == 0) return -EFAULT;
  const state = s.state;
  if (state == NET_TCP_STATE_CLOSED) return s.error != 0 ? reportError(s) : (s.flags & CONNECTED) != 0 ? -<i32>EPIPE : -ENOTCONN;
  if (state == NET_TCP_STATE_LISTEN) return -ENOTCONN;
  if (state == NET_TCP_STATE_SYN_SENT || state == NET_TCP_STATE_SYN_RECEIVED) return (op.a4 & NONBLOCK) != 0 ? -EAGAIN : PARKED;
  const skip = s.sndEnd - (s.iss + 1) - op.a1; // what came here before
  if (<i32>skip < 0) return -EINVAL; // a hole
  if (skip >= op.a3) { op.r0 = op.a3; return 0; }
  if ((s.flags & FIN_QUEUED) != 0) return -<i32>EPIPE;
  const taken = append(s, from + skip, op.a3 - skip);
  if (taken == 0 && skip == 0) return (op.a4 & NONBLOCK) != 0 ? -EAGAIN : PARKED;
  if (taken != 0) {
    if ((op.a4 & URGENT) != 0 && taken == op.a3 - skip) { s.sndUp = s.sndEnd; s.flags |= URGENT_OUT; }
    touch(s);
    wantOutput(s);
  }
  op.r0 = skip + taken;
  return 0;
}
/** Somebody could not send because the pool is nearly empty, and hears nothing when others give back pages. */
export let pagesWanted: bool = false;
export function pagesCame(): void { pagesWanted = false; }
/** Copies into the send stream as much as there is room for; bytes taken. */
export function append(s: Socket, from: usize, bytes: u32): u32 {
  const used = s.sndEnd - s.sndUna;
  let room = used < s.sndBuf ? s.sndBuf - used : 0;
  if (room < bytes && room < s.mss && used != 0) return 0; // not in crumbs
  let n = bytes < room ? bytes : room, done: u32 = 0, position = s.sndEnd - (s.iss + 1);
  const entries = (s.freeSnd & ~(PAGE - 1)) + STREAM_PAGES * PAGE - position; // what was acknowledged in this batch still has its pages
  if (n > entries) n = entries;
  while (done != n) {
    const entry = sndPage(s, position);
    let page = <u32>load<u16>(entry);
    if (page == NO_PAGE) {
      page = !mayQueue() && (used + done >= PAGE || !mayReceive()) ? NO_PAGE : pageTake();
      if (page == NO_PAGE) { pagesWanted = true; break; }
      store<u16>(entry, <u16>page);
    }
    const inPage = position & (PAGE - 1), k = PAGE - inPage < n - done ? PAGE - inPage : n - done;
    writable();
    memory.copy(pageAt(page) + inPage, from + done, k);
    done += k; position += k;
  }
  s.sndEnd += done;
  return done;
}
function receive(op: Op, s: Socket): i32 {
  if (s.type != STREAM) return -EOPNOTSUPP;
  const to = at(op.a2, op.a3);
  if (to == 0) return -EFAULT;
  const state = s.state;
  if (state == NET_TCP_STATE_LISTEN) return -ENOTCONN;
  if (state == NET_TCP_STATE_SYN_SENT || state == NET_TCP_STATE_SYN_RECEIVED) return (op.a4 & NONBLOCK) != 0 ? -EAGAIN : PARKED;
  if (state == NET_TCP_STATE_CLOSED && (s.flags & CONNECTED) == 0) return s.error != 0 ? reportError(s) : -ENOTCONN;
  const end = dataEnd(s), start = s.irs + 1 + op.a1;
  if (lt(start, s.rcvRead) || lt(end, start)) return -EINVAL;
  if (start != s.rcvRead) {
    s.rcvRead = start;
    if (lt(s.rcvSeen, start)) s.rcvSeen = start;
    touch(s);
    if (windowOpened(s)) { s.flags |= ACK_NOW; wantOutput(s); }
  }
  let n = end - start;
  if (n > op.a3) n = op.a3;
  if (n != 0) {
    copyIn(s, to, start, n);
    if ((op.a4 & PEEK) == 0 && lt(s.rcvSeen, start + n)) { s.rcvSeen = start + n; touch(s); }
    op.r0 = n;
    return 0;
  }
  op.r0 = 0;
  if (op.a3 == 0 || (s.flags & (FIN_RECEIVED | NO_RECEIVE)) != 0) return 0;
  if (state == NET_TCP_STATE_CLOSED) return s.error != 0 ? reportError(s) : 0;
  return (op.a4 & NONBLOCK) != 0 ? -EAGAIN : PARKED;
}
/** Copies `bytes` of the receive stream from sequence number `seq` on; they must be there. */
export function copyIn(s: Socket, to: usize, seq: u32, bytes: u32): void {
  let position = seq - (s.irs + 1);
  while (bytes != 0) {
    const inPage = position & (PAGE - 1), n = PAGE - inPage < bytes ? PAGE - inPage : bytes;
    memory.copy(to, pageAt(<u32>load<u16>(rcvPage(s, position))) + inPage, n);
    to += n; position += n; bytes -= n;
  }
}
function shutdown(op: Op, s: Socket): i32 {
  if (op.a1 > 2) return -EINVAL;
  if (s.type != STREAM) return (s.flags & CONNECTED) != 0 ? 0 : -ENOTCONN;
  if ((s.flags & CONNECTED) == 0) return -ENOTCONN;
  if (op.a1 != 1 && (s.flags & NO_RECEIVE) == 0) { s.flags |= NO_RECEIVE; touch(s); wake(s); }
  if (op.a1 != 0) shutdownSend(s);
  return 0;
}
export function closeSocket(s: Socket): void {
  if (s.type == STREAM) { close(s); return; }
  failAll(s, -EBADF);
  dropDatagrams(s);
  socketFree(s);
}

// ---- datagrams --------------------------------------------------------------------------------------------------------------------------
const HEAD: usize = memory.data(8, 4);
function sendTo(op: Op, s: Socket): i32 {
  if (s.type == STREAM) return -EOPNOTSUPP;
  const from = at(op.a2, op.a3);
  if (from == 0) return -EFAULT;
  if (s.error != 0) return reportError(s);
  if (op.a1 == NO_ADDRESS) {
    if ((s.flags & CONNECTED) == 0) return -EDESTADDRREQ;
    copyAddress(GIVEN, peerOf(s));
    givenPort = s.peerPort;
  } else {
    const bad = readAddress(op.a1);
    if (bad != 0) return bad;
    if (isAny(GIVEN)) setV4(GIVEN, 0x0100007f);
  }
  if (s.type == DATAGRAM && givenPort == 0) return -EINVAL;
  if (op.a3 > (s.type == ECHO ? MAX_ECHO : MAX_DATAGRAM)) return -<i32>EMSGSIZE;
  const to = v4(GIVEN);
  if ((to == 0xffffffff || (to == broadcastV4() && to != 0)) && (s.flags & BROADCAST) == 0) return -EACCES;
  if (!sourceFor(to, LOCAL)) return -<i32>ENETUNREACH;
  if ((s.flags & BOUND) == 0) {
    setAny(SCRATCH);
    const bad = take(op, s, 0, SCRATCH);
    if (bad != 0) return bad;
    op.r0 = 0;
  }
  if (!isAny(localOf(s))) { if (!reaches(to, localOf(s))) return -EINVAL; copyAddress(LOCAL, localOf(s)); }
  let sent: i32;
  if (s.type == ECHO) {
    if (op.a3 < 8 || <u32>load<u8>(from) != ECHO_REQUEST || load<u8>(from, 1) != 0) return -EINVAL;
    memory.copy(HEAD, from, 8);
    store<u16>(HEAD, 0, 2); put16(HEAD + 4, s.localPort);
    store<u16>(HEAD, <u16>finish(add(add(0, HEAD, 8), from + 8, op.a3 - 8)), 2);
    sent = ipv4SendLong(PROTOCOL_ICMP, v4(LOCAL), to, HEAD, 8, from + 8, op.a3 - 8, s.ttl);
  } else sent = udpSend(v4(LOCAL), to, s.localPort, givenPort, from, op.a3, s.ttl);
  if (sent == -1) return -<i32>ENETUNREACH;
  if (sent == -2) { packetsWanted = true; return (op.a4 & NONBLOCK) != 0 ? -EAGAIN : PARKED; }
  op.r0 = op.a3;
  return 0;
}
const MAX_ECHO: u32 = 65515; // with its header, in an IP datagram
const SCRATCH: usize = memory.data(16, 8);
/** Somebody waits for a free packet. */
export let packetsWanted: bool = false;
export function packetsCame(): void { packetsWanted = false; }
function receiveFrom(op: Op, s: Socket): i32 {
  if (s.type == STREAM) return -EOPNOTSUPP;
  const to = at(op.a2, op.a3);
  if (to == 0 || (op.a1 != NO_ADDRESS && at(op.a1, NET_ADDRESS_SIZE) == 0)) return -EFAULT;
  if (s.datagrams == 0) {
    if (s.error != 0) return reportError(s);
    return (op.a4 & NONBLOCK) != 0 ? -EAGAIN : PARKED;
  }
  if (op.a1 != NO_ADDRESS) writeAddress(op.a1, datagramFrom(s), datagramPort(s));
  op.r0 = copyDatagram(s, to, op.a3);
  op.r1 = datagramBytes(s);
  if ((op.a4 & PEEK) == 0) dropDatagram(s);
  return 0;
}

// ---- options, events, the rest ----------------------------------------------------------------------------------------------------------
function option(op: Op, s: Socket): i32 {
  const set = op.a3 != 0, value = op.a2;
  switch (op.a1) {
    case NET_OPTION_ERROR:
      if (set) return -ENOPROTOOPT;
      op.r0 = s.error;
      if (s.error != 0) { s.error = 0; touch(s); }
      return 0;
    case NET_OPTION_REUSE: return flag(op, s, REUSE);
    case NET_OPTION_BROADCAST: return s.type == STREAM ? -ENOPROTOOPT : flag(op, s, BROADCAST);
    case NET_OPTION_NODELAY:
      if (s.type != STREAM) return -ENOPROTOOPT;
      flag(op, s, NODELAY);
      if (set) wantOutput(s);
      return 0;
    case NET_OPTION_CONGESTION:
      if (s.type != STREAM) return -ENOPROTOOPT;
      if (set && value > 1) return -ENOENT;
      return flag(op, s, CUBIC);
    case NET_OPTION_KEEPALIVE:
      if (s.type != STREAM) return -ENOPROTOOPT;
      if (set) {
        if (value > 32767) return -EINVAL;
        s.keepalive = value;
        keepaliveStart(s);
        touch(s);
      }
      op.r0 = s.keepalive;
      return 0;
    case NET_OPTION_RECEIVE_BUFFER:
      if (set) { const n: u32 = value < 2048 ? 2048 : value > MAX_BUFFER ? MAX_BUFFER : value; if (s.type != STREAM || s.state == NET_TCP_STATE_CLOSED || s.state == NET_TCP_STATE_LISTEN || n > s.rcvBuf) s.rcvBuf = n; touch(s); } // promised room is not taken back
      op.r0 = s.rcvBuf;
      return 0;
    case NET_OPTION_SEND_BUFFER:
      if (set) { s.sndBuf = value < 2048 ? 2048 : value > MAX_BUFFER ? MAX_BUFFER : value; touch(s); wake(s); }
      op.r0 = s.sndBuf;
      return 0;
    case NET_OPTION_LINGER:
      if (set) { if (<i32>value < -1 || <i32>value > 32767) return -EINVAL; s.linger = <i32>value; touch(s); }
      op.r0 = <u32>s.linger;
      return 0;
    case NET_OPTION_TTL:
      if (set) { if (value == 0 || value > 255) return -EINVAL; s.ttl = value; touch(s); }
      op.r0 = s.ttl;
      return 0;
    default: return -ENOPROTOOPT;
  }
}
function flag(op: Op, s: Socket, bit: u32): i32 {
  if (op.a3 != 0) { s.flags = op.a2 != 0 ? s.flags | bit : s.flags & ~bit; touch(s); }
  op.r0 = (s.flags & bit) != 0 ? 1 : 0;
  return 0;
}
/** As poll(2). */
export function events(s: Socket): u32 {
  let e: u32 = s.error != 0 ? NET_EVENTS_ERROR : 0;
  if (s.type != STREAM) return e | NET_EVENTS_WRITABLE | (s.datagrams != 0 || e != 0 ? NET_EVENTS_READABLE : 0);
  const state = s.state;
  if (state == NET_TCP_STATE_LISTEN) return e | (s.acceptFirst != NO_SLOT ? NET_EVENTS_READABLE : 0);
  if (state == NET_TCP_STATE_SYN_SENT || state == NET_TCP_STATE_SYN_RECEIVED) return e;
  if (state == NET_TCP_STATE_CLOSED) return e | NET_EVENTS_WRITABLE | NET_EVENTS_HANGUP | ((s.flags & CONNECTED) != 0 || e != 0 ? NET_EVENTS_READABLE : 0);
  if (s.rcvSeen != dataEnd(s) || (s.flags & (FIN_RECEIVED | NO_RECEIVE)) != 0) e |= NET_EVENTS_READABLE;
  if ((s.flags & FIN_QUEUED) != 0) { e |= NET_EVENTS_WRITABLE; if ((s.flags & FIN_RECEIVED) != 0) e |= NET_EVENTS_HANGUP; }
  else if ((state == NET_TCP_STATE_ESTABLISHED || state == NET_TCP_STATE_CLOSE_WAIT) && (s.sndEnd - s.sndUna) + (s.sndBuf >> 2) <= s.sndBuf) {
    if (mayQueue() || s.sndEnd == s.sndUna) e |= NET_EVENTS_WRITABLE; else pagesWanted = true;
  }
  return e;
}
function cancel(entry: u32): i32 {
  const op = findParked(entry);
  if (changetype<usize>(op) == 0) return -ENOENT;
  unpark(op);
  complete(op, -EINTR);
  return 0;
}
function retain(op: Op): i32 {
  if (op.a1 > socketSlots()) return -EINVAL;
  const list = at(op.a0, op.a1 << 2);
  if (list == 0) return -EFAULT;
  for (let n: u32 = 0; n < op.a1; n++) {
    const id = load<u32>(list + (<usize>n << 2)), s = id == 0 ? NONE : findId(id);
    if (s != NONE) s.flags |= MARKED;
  }
  let closed: u32 = 0;
  for (let n: u32 = 0; n < socketSlots(); n++) {
    const s = socketAt(n);
    if (!usedSlot(n) || s.id == 0) continue;
    if ((s.flags & MARKED) != 0) { s.flags &= ~MARKED; continue; }
    closeSocket(s);
    closed++;
  }
  op.r0 = closed;
  return 0;
}
function configure(interface_: u32, what: u32, offset: u32, value: u32): i32 {
  if (interface_ != ETH) return -ENODEV;
  switch (what) {
    case NET_CONFIGURE_ADDRESS: {
      const bad = readAddress(offset);
      if (bad != 0) return bad;
      if (value > 32 || v4Multicast(v4(GIVEN)) || v4(GIVEN) == 0xffffffff) return -EINVAL;
      if (sameAddress(GIVEN, addressOf()) && config.prefix == value && (config.flags & DHCP) == 0) return 0;
      dhcpStop();
      config.flags &= ~DHCP; config.lease = 0;
      copyAddress(addressOf(), GIVEN);
      config.prefix = value;
      if (!isAny(gatewayOf()) && !onLink(v4(gatewayOf()))) setAny(gatewayOf()); // it led out of the former network
      arpFlush();
      break;
    }
    case NET_CONFIGURE_GATEWAY: {
      const bad = readAddress(offset);
      if (bad != 0) return bad;
      if (!isAny(GIVEN) && (!onLink(v4(GIVEN)) || v4(GIVEN) == ownV4())) return -<i32>ENETUNREACH; // nobody could be asked for its MAC
      copyAddress(gatewayOf(), GIVEN);
      break;
    }
    case NET_CONFIGURE_RESOLVER: {
      if (value >= RESOLVERS) return -EINVAL;
      const bad = readAddress(offset);
      if (bad != 0) return bad;
      copyAddress(resolverOf(value), GIVEN);
      if (isAny(GIVEN)) { if (config.resolvers > value) config.resolvers = value; }
      else if (config.resolvers <= value) config.resolvers = value + 1;
      break;
    }
    case NET_CONFIGURE_UP: config.flags |= UP; dhcpBegin(); break;
    case NET_CONFIGURE_DOWN: config.flags &= ~UP; dhcpStop(); arpFlush(); break;
    case NET_CONFIGURE_DHCP: config.flags |= DHCP | UP; dhcpBegin(); break;
    default: return -EINVAL;
  }
  configChanged();
  return 0;
}
