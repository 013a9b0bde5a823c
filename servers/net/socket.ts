/**
 * Sockets: one object for every kind, with the whole TCP control block in it. Private memory; what must survive is written to the socket's record (record.ts) at the end
 * of each batch that touched it.
 *
 * Names: `slot` is the place in the table (and in the state), `id` the name that process chose: never used twice, 0 = nobody's (a connection that waits to be
 * accepted, or that was closed and still has something to send).
 *
 * Stream positions: sequence number - (iss + 1), - (irs + 1). A stream's page for position p is entry (p >> 12) & 63 of its table.
 */
import { NET_TCP_STATE_CLOSED, NET_TCP_STATE_LISTEN, NET_TCP_STATE_SYN_RECEIVED, NET_TCP_STATE_SYN_SENT, NET_TCP_STATE_TIME_WAIT, NET_TYPE_DATAGRAM, NET_TYPE_ECHO, NET_TYPE_STREAM } from 'kintsugi/protocols';
import { copyAddress, isAny, sameAddress, setAny } from './address';
import { C_SOCKETS_FULL, C_TIME_WAIT_RECYCLED, count } from './counters';
import { random, reserve, reserveRaw } from './host';
import { NO_PAGE, PAGE, pageGive } from './pool';
import { RECORD_BYTES } from './state';
import { NEVER, TIMER_SOCKET, Timer, disarm, timerInit } from './timer';
import { Op } from './op';

export const STREAM: u32 = NET_TYPE_STREAM;
export const DATAGRAM: u32 = NET_TYPE_DATAGRAM;
export const ECHO: u32 = NET_TYPE_ECHO;

export const NO_SLOT: u32 = 0xffff;
export const STREAM_PAGES: u32 = 64; // entries of a page table
export const MAX_BUFFER: u32 = 62 * PAGE; // a stream's positions never span more than its table, whatever their alignment
export const DEFAULT_BUFFER: u32 = MAX_BUFFER;
export const RANGES: u32 = 16; // ranges of out of order data kept
export const RUNS: u32 = 48; // runs of what is under way (tcp/flight.ts): a round trip in steps of 1/32, and holes

// Flags that persist.
export const BOUND: u32 = 1; // the port is taken
export const FIN_QUEUED: u32 = 2; // after the last byte comes FIN
export const FIN_RECEIVED: u32 = 4; // rcvNxt counts it
export const PASSIVE: u32 = 8; // of a listener
export const SACK_OK: u32 = 16;
export const STAMPS: u32 = 32; // RFC 7323 timestamps
export const SCALING: u32 = 64;
export const NODELAY: u32 = 128;
export const CUBIC: u32 = 256;
export const REUSE: u32 = 512;
export const NO_RECEIVE: u32 = 1024; // shutdown(receive)
export const CONNECTED: u32 = 2048; // datagram sockets: the peer is fixed; streams: was established
export const URGENT_OUT: u32 = 4096; // sndUp is ahead of sndUna
export const URGENT_IN: u32 = 8192;
export const BROADCAST: u32 = 16384;
export const PERSISTENT: u32 = 0xffff;
// Private flags.
export const ACK_NOW: u32 = 1 << 16;
export const ACK_LATER: u32 = 1 << 17;
export const TOUCHED: u32 = 1 << 18;
export const OUTPUT: u32 = 1 << 19; // in the output list
export const WOKEN: u32 = 1 << 20;
export const RECOVERY: u32 = 1 << 21; // fast recovery
export const TIMING: u32 = 1 << 22; // rttSeq is being timed
export const RETRANSMITTED: u32 = 1 << 23; // since the last new acknowledgement: Karn
export const PROBE: u32 = 1 << 24; // the persist timer says: send one byte whatever the window
export const AFTER_RTO: u32 = 1 << 25; // going back through what was sent
export const REVIVED: u32 = 1 << 26; // after an attach, until the peer answers: one segment, one duplicate ACK
export const HASHED: u32 = 1 << 27;
export const KEEP_PROBE: u32 = 1 << 28;
export const RESOLVER: u32 = 1 << 31; // a connection of dns-stream.ts: nobody's, but what comes is wanted (bit 30: sockets.ts)
export const FORCE: u32 = 1 << 29; // the head goes out again, whatever the window

@unmanaged @final export class Socket {
  slot: u32; id: u32; type: u32; state: u32; flags: u32;
  local: u64; local2: u64; peer: u64; peer2: u64; // addresses
  localPort: u32; peerPort: u32;
  parent: u32; // id of the listener, while not accepted
  // send
  iss: u32; sndUna: u32; sndNxt: u32; sndMax: u32; sndEnd: u32 /* after the last byte accepted from the program */; sndWnd: u32; sndWl1: u32; sndWl2: u32; maxWnd: u32; sndUp: u32;
  sndScale: u32; mss: u32 /* of payload, without options */; peerMss: u32; sndBuf: u32;
  // receive
  irs: u32; rcvNxt: u32; rcvRead: u32 /* sequence number before which everything is forgotten */; rcvSeen: u32 /* handed out up to here */; rcvAdv: u32 /* right edge promised */; rcvUp: u32;
  rcvScale: u32; rcvBuf: u32; lastAckSent: u32; unacked: u32 /* bytes since the last ACK */; rcvMss: u32;
  // timestamps
  tsOffset: u32; tsRecent: u32; tsRecentAge: u32 /* nowMs when set */;
  // round trip, retransmission (us)
  srtt: u32; rttvar: u32; rto: u32; backoff: u32; rttSeq: u32; rttAt: u64;
  rtoAt: u64; persistAt: u64; ackAt: u64; keepAt: u64; lifeAt: u64 /* TIME-WAIT, FIN-WAIT-2, SYN-RECEIVED limits */;
  keepalive: u32 /* s */; keepProbes: u32; lastHeard: u64;
  // congestion
  cwnd: u32; ssthresh: u32; recover: u32; dupAcks: u32; ackedBytes: u32; flightSent: u32 /* under way after the last segment sent */;
  wMax: u32; cwndPrior: u32; epochAt: u64; cubicK: u32 /* ms */; originPoint: u32; wEst: u32; wEstAcked: u32;
  // what is under way (tcp/flight.ts), loss detection (tcp/rack.ts), recovery (tcp/recovery.ts), end of slow start (tcp/hystart.ts)
  runs: u32; firstRun: u32; reported: u32 /* bytes of it that the peer has reported */;
  loss: u32 /* flags of rack.ts */; rackAt: u32 /* when the newest segment that arrived was sent, us mod 2^32 */; rackEnd: u32; rackRtt: u32 /* us */; rackMost: u32 /* the highest end that arrived */; rackSteps: u32 /* quarters of a round trip in the window */; rackKeep: u32 /* recoveries until it shrinks again */; rackRound: u32;
  minRtt: u32; minRttNext: u32; minRttAt: u32 /* us mod 2^32 */; reorderAt: u64; probeEnd: u32;
  prrDelivered: u32; prrOut: u32; prrFlight: u32; prrFresh: u32;
  roundEnd: u32; roundMin: u32; roundMinBefore: u32; roundSamples: u32; cssBase: u32; cssRounds: u32;
  ranges: u32; // ranges in `rangeAt`, out of order data
  stamp: u32; // recency of ranges
  // lists
  nextHash: u32; nextPort: u32; nextId: u32; nextWait: u32; prevWait: u32;
  acceptFirst: u32; acceptLast: u32; acceptNext: u32; backlog: u32; pending: u32 /* not yet accepted, of any state */; halfOpen: u32;
  error: u32; softError: u32; linger: i32; ttl: u32;
  challengeAt: u64; challenges: u32;
  retransmits: u32; retries: u32;
  freeSnd: u32; freeRcv: u32; // pages before these positions were given back
  datagrams: usize; lastDatagram: usize; queued: u32; // datagram sockets; queued: chunks
  ops: Op; // parked here, in order of arrival
  timer: Timer;
  dropped: u32; mtuAt: u64; dsackStart: u32; dsackEnd: u32 /* came twice, to be reported with the next acknowledgement; equal: nothing */;
}
const SND_TABLE: usize = (offsetof<Socket>() + 15) & ~15;
const RCV_TABLE: usize = SND_TABLE + (<usize>STREAM_PAGES << 1);
const FLIGHT: usize = RCV_TABLE + (<usize>STREAM_PAGES << 1); // Run of tcp/flight.ts
const OUT_OF_ORDER: usize = FLIGHT + (<usize>RUNS << 4); // {start, end, stamp, 0}
const TIMER_AT: usize = OUT_OF_ORDER + (<usize>RANGES << 4);
const SOCKET_BYTES: usize = (TIMER_AT + offsetof<Timer>() + 63) & ~63;
/** What a socket takes without data: private memory, places in lists, record. Bytes. */
export const SOCKET_MEMORY: u32 = <u32>SOCKET_BYTES + 16 + RECORD_BYTES;

export function localOf(s: Socket): usize { return changetype<usize>(s) + offsetof<Socket>('local'); }
export function peerOf(s: Socket): usize { return changetype<usize>(s) + offsetof<Socket>('peer'); }
/** Page of the send stream at a position; `rcvPage` likewise. */
export function sndPage(s: Socket, position: u32): usize { return changetype<usize>(s) + SND_TABLE + (<usize>(position >> 12 & (STREAM_PAGES - 1)) << 1); }
export function rcvPage(s: Socket, position: u32): usize { return changetype<usize>(s) + RCV_TABLE + (<usize>(position >> 12 & (STREAM_PAGES - 1)) << 1); }
export function runsOf(s: Socket): usize { return changetype<usize>(s) + FLIGHT; }
export function rangeAt(s: Socket, n: u32): usize { return changetype<usize>(s) + OUT_OF_ORDER + (<usize>n << 4); }

/** a < b, a <= b in sequence space. */
export function lt(a: u32, b: u32): bool { return <i32>(a - b) < 0; }
export function le(a: u32, b: u32): bool { return <i32>(a - b) <= 0; }

let table: usize = 0;
let slots: u32 = 0;
let firstFree: u32 = NO_SLOT;
export let socketsUsed: u32 = 0;
export function socketSlots(): u32 { return slots; }
export function socketAt(slot: u32): Socket { return changetype<Socket>(load<usize>(table + (<usize>slot << 2))); }
export function usedSlot(slot: u32): bool { return socketAt(slot).type != 0; }

// Hash tables: u16 heads, chains through the sockets.
const ID_BUCKETS: u32 = 1024;
const PORT_BUCKETS: u32 = 1024;
const CONNECTION_BUCKETS: u32 = 4096;
let ids: usize = 0;
let ports: usize = 0;
let connections: usize = 0;
let touchedList: usize = 0;
export let touchedCount: u32 = 0;
let outputList: usize = 0;
let outputCount: u32 = 0;
let wokenList: usize = 0;
let wokenCount: u32 = 0;
let hashSeed: u32 = 0;
// TIME-WAIT, oldest first.
export let waitFirst: u32 = NO_SLOT;
let waitLast: u32 = NO_SLOT;

export function socketsBytes(count_: u32): u32 { return count_ * (<u32>SOCKET_BYTES + 16) + 2 * (ID_BUCKETS + PORT_BUCKETS + CONNECTION_BUCKETS) + 1024; }
export function socketsInit(count_: u32): void {
  slots = count_; socketsUsed = 0; touchedCount = 0; outputCount = 0; wokenCount = 0; waitFirst = NO_SLOT; waitLast = NO_SLOT; firstFree = NO_SLOT;
  table = reserve(count_ << 2);
  touchedList = reserve(count_ << 1); outputList = reserve(count_ << 1); wokenList = reserve(count_ << 1);
  ids = reserve(ID_BUCKETS << 1); ports = reserve(PORT_BUCKETS << 1); connections = reserve(CONNECTION_BUCKETS << 1);
  memory.fill(ids, 0xff, ID_BUCKETS << 1); memory.fill(ports, 0xff, PORT_BUCKETS << 1); memory.fill(connections, 0xff, CONNECTION_BUCKETS << 1);
  hashSeed = random() | 1;
  const at = reserveRaw(<usize>count_ * SOCKET_BYTES); // `clear` empties a socket when it is taken
  for (let n = <i32>count_ - 1; n >= 0; n--) {
    const s = changetype<Socket>(at + <usize>n * SOCKET_BYTES);
    store<usize>(table + (<usize>n << 2), changetype<usize>(s));
    s.slot = <u32>n; s.type = 0; s.flags = 0; s.id = 0; s.state = 0;
    s.nextId = firstFree;
    firstFree = <u32>n;
  }
}
function clear(s: Socket, slot: u32): void {
  memory.fill(changetype<usize>(s), 0, SOCKET_BYTES);
  memory.fill(changetype<usize>(s) + SND_TABLE, 0xff, <usize>STREAM_PAGES << 2);
  s.slot = slot;
  s.timer = changetype<Timer>(changetype<usize>(s) + TIMER_AT);
  timerInit(s.timer, TIMER_SOCKET, slot);
  s.rtoAt = NEVER; s.persistAt = NEVER; s.ackAt = NEVER; s.keepAt = NEVER; s.lifeAt = NEVER; s.reorderAt = NEVER;
  s.nextHash = NO_SLOT; s.nextPort = NO_SLOT; s.nextId = NO_SLOT; s.nextWait = NO_SLOT; s.prevWait = NO_SLOT;
  s.acceptFirst = NO_SLOT; s.acceptLast = NO_SLOT; s.acceptNext = NO_SLOT;
  s.linger = -1; s.ttl = 64;
  s.sndBuf = DEFAULT_BUFFER; s.rcvBuf = DEFAULT_BUFFER;
  setAny(localOf(s)); setAny(peerOf(s));
}
/** At attach: this very slot. */
export function socketTake(slot: u32, type: u32): Socket {
  const s = socketAt(slot);
  clear(s, slot);
  s.type = type;
  socketsUsed++;
  return s;
}
/** At attach: the record could not be taken after all. */
export function socketForget(s: Socket): void { s.type = 0; socketsUsed--; }
/** At attach, after the last `socketTake`: the free list holds the rest. */
export function socketsFreeList(): void {
  firstFree = NO_SLOT;
  for (let n = <i32>slots - 1; n >= 0; n--) {
    const s = socketAt(<u32>n);
    if (s.type != 0) continue;
    s.nextId = firstFree;
    firstFree = <u32>n;
  }
}
/** A fresh socket; the oldest connection in TIME-WAIT gives way when there is none (as other stacks bound their number). Null: none at all. */
export function socketNew(type: u32, id: u32): Socket {
  let slot: u32;
  if (firstFree == NO_SLOT) {
    if (waitFirst == NO_SLOT) { count(C_SOCKETS_FULL); return changetype<Socket>(0); }
    count(C_TIME_WAIT_RECYCLED);
    slot = waitFirst; // nobody's, without pages: the record of the new one simply takes its place
    socketFree(socketAt(slot));
  } else {
    slot = firstFree;
    firstFree = socketAt(slot).nextId;
  }
  const s = socketAt(slot);
  const flags = s.flags & (TOUCHED | OUTPUT | WOKEN); // it may still stand in a list of this batch
  clear(s, slot);
  s.type = type; s.flags = flags;
  s.state = type == STREAM ? NET_TCP_STATE_CLOSED : 0;
  socketsUsed++;
  if (id != 0) setId(s, id);
  touch(s);
  return s;
}
/** Ends a socket: nothing of it is left after the commit of this batch. Parked operations must have been answered. */
export function socketFree(s: Socket): void {
  if (s.type == 0) return;
  if (s.state == NET_TCP_STATE_TIME_WAIT) waitRemove(s);
  setId(s, 0);
  unhash(s);
  unbind(s);
  disarm(s.timer);
  touch(s); // the record goes at the commit, then the pages
  s.state = 0;
  s.type = 0;
  socketsUsed--;
}
/** After the commit that emptied the record of a freed socket: its pages and its place are free. */
export function socketGone(s: Socket): void {
  releaseAll(s);
  s.nextId = firstFree;
  firstFree = s.slot;
}

// ---- ids --------------------------------------------------------------------------------------------------------------------------------
function idBucket(id: u32): usize { return ids + (<usize>((id * 0x9e3779b1) >> 22) << 1); }
export function findId(id: u32): Socket {
  let n = <u32>load<u16>(idBucket(id));
  while (n != NO_SLOT) {
    const s = socketAt(n);
    if (s.id == id) return s;
    n = s.nextId;
  }
  return changetype<Socket>(0);
}
export function setId(s: Socket, id: u32): void {
  if (s.id == id) return;
  if (s.id != 0) {
    const at = idBucket(s.id);
    if (<u32>load<u16>(at) == s.slot) store<u16>(at, <u16>s.nextId);
    else {
      let p = socketAt(<u32>load<u16>(at));
      while (p.nextId != s.slot) p = socketAt(p.nextId);
      p.nextId = s.nextId;
    }
    s.nextId = NO_SLOT;
  }
  s.id = id;
  if (id == 0) return;
  const to = idBucket(id);
  s.nextId = <u32>load<u16>(to);
  store<u16>(to, <u16>s.slot);
}

// ---- connections: by both addresses and ports -------------------------------------------------------------------------------------------
function connectionBucket(local: usize, peer: usize, localPort: u32, peerPort: u32): usize {
  let h = (load<u32>(peer, 12) ^ rotl<u32>(load<u32>(local, 12), 7) ^ load<u32>(peer, 8) ^ load<u32>(peer, 4) ^ load<u32>(peer)) * hashSeed;
  h = (h ^ (peerPort << 16 | localPort)) * 0x9e3779b1;
  return connections + (<usize>((h ^ h >> 15) & (CONNECTION_BUCKETS - 1)) << 1);
}
export function findConnection(local: usize, peer: usize, localPort: u32, peerPort: u32): Socket {
  let n = <u32>load<u16>(connectionBucket(local, peer, localPort, peerPort));
  while (n != NO_SLOT) {
    const s = socketAt(n);
    if (s.localPort == localPort && s.peerPort == peerPort && sameAddress(localOf(s), local) && sameAddress(peerOf(s), peer)) return s;
    n = s.nextHash;
  }
  return changetype<Socket>(0);
}
export function hash(s: Socket): void {
  const at = connectionBucket(localOf(s), peerOf(s), s.localPort, s.peerPort);
  s.nextHash = <u32>load<u16>(at);
  store<u16>(at, <u16>s.slot);
  s.flags |= HASHED;
}
export function unhash(s: Socket): void {
  if ((s.flags & HASHED) == 0) return;
  s.flags &= ~HASHED;
  const at = connectionBucket(localOf(s), peerOf(s), s.localPort, s.peerPort);
  if (<u32>load<u16>(at) == s.slot) { store<u16>(at, <u16>s.nextHash); return; }
  let p = socketAt(<u32>load<u16>(at));
  while (p.nextHash != s.slot) p = socketAt(p.nextHash);
  p.nextHash = s.nextHash;
}

// ---- local ports: listeners, bound and datagram sockets ---------------------------------------------------------------------------------
function portBucket(type: u32, port: u32): usize { return ports + (<usize>((port + type * 331) & (PORT_BUCKETS - 1)) << 1); }
export function firstOnPort(type: u32, port: u32): u32 { return <u32>load<u16>(portBucket(type, port)); }
/** Takes the port; the caller has asked `portTaken`. */
export function bindPort(s: Socket, port: u32): void {
  s.localPort = port;
  const at = portBucket(s.type, port);
  s.nextPort = <u32>load<u16>(at);
  store<u16>(at, <u16>s.slot);
  s.flags |= BOUND;
}
export function unbind(s: Socket): void {
  if ((s.flags & BOUND) == 0) return;
  s.flags &= ~BOUND;
  const at = portBucket(s.type, s.localPort);
  if (<u32>load<u16>(at) == s.slot) { store<u16>(at, <u16>s.nextPort); return; }
  let p = socketAt(<u32>load<u16>(at));
  while (p.nextPort != s.slot) p = socketAt(p.nextPort);
  p.nextPort = s.nextPort;
}
/** Somebody has this port at this address (or one of both at any address). Two that both allow reuse, and do not listen, may share it. */
export function portTaken(type: u32, port: u32, local: usize, reuse: bool): bool {
  let n = firstOnPort(type, port);
  while (n != NO_SLOT) {
    const s = socketAt(n);
    if (s.type == type && s.localPort == port && (isAny(local) || isAny(localOf(s)) || sameAddress(local, localOf(s))) &&
      !(reuse && (s.flags & REUSE) != 0 && s.state != NET_TCP_STATE_LISTEN) && !(reuse && s.state == NET_TCP_STATE_TIME_WAIT)) return true;
    n = s.nextPort;
  }
  return false;
}
/** The socket for something addressed to `local`: the one bound to this very address before the one bound to any; a connected datagram socket hears its peer only. */
export function findOnPort(type: u32, port: u32, local: usize, peer: usize, peerPort: u32): Socket {
  let best = changetype<Socket>(0), bestScore: i32 = -1;
  let n = firstOnPort(type, port);
  while (n != NO_SLOT) {
    const s = socketAt(n);
    n = s.nextPort;
    if (s.type != type || s.localPort != port) continue;
    let score = 0;
    if (!isAny(localOf(s))) { if (!sameAddress(localOf(s), local)) continue; score = 1; }
    if (type == STREAM) { if (s.state != NET_TCP_STATE_LISTEN) continue; }
    else if ((s.flags & CONNECTED) != 0) {
      if (!sameAddress(peerOf(s), peer) || (type == DATAGRAM && s.peerPort != peerPort)) continue;
      score += 2;
    }
    if (score > bestScore) { best = s; bestScore = score; }
  }
  return best;
}
/** Ephemeral ports (RFC 6056, 3.3.1: random, then the next ones), 0 when all are taken. With a peer, only the connection must be new. */
export function ephemeralPort(type: u32, local: usize, peer: usize, peerPort: u32): u32 {
  let port = random() & 16383;
  for (let n: u32 = 0; n < 16384; n++) {
    const p = 49152 + port;
    if (!portTaken(type, p, local, false) && (peer == 0 || changetype<usize>(findConnection(local, peer, p, peerPort)) == 0)) return p;
    port = (port + 1) & 16383;
  }
  return 0;
}

// ---- lists of the batch -----------------------------------------------------------------------------------------------------------------
/** The record is written at the end of the batch. */
export function touch(s: Socket): void {
  if ((s.flags & TOUCHED) != 0) return;
  s.flags |= TOUCHED;
  store<u16>(touchedList + ((<usize>(touchedCount++)) << 1), <u16>s.slot);
}
export function touchedSlot(n: u32): u32 { return <u32>load<u16>(touchedList + (<usize>n << 1)); }
export function touchedClear(): void { touchedCount = 0; }
/** Segments may be sent at the end of the batch. */
export function wantOutput(s: Socket): void {
  if ((s.flags & OUTPUT) != 0) return;
  s.flags |= OUTPUT;
  store<u16>(outputList + ((<usize>(outputCount++)) << 1), <u16>s.slot);
}
export function outputs(): u32 { return outputCount; }
export function outputSlot(n: u32): u32 { return <u32>load<u16>(outputList + (<usize>n << 1)); }
/** The first `done` of the list were served. */
export function outputsDone(done: u32): void {
  outputCount -= done;
  if (outputCount != 0) memory.copy(outputList, outputList + (<usize>done << 1), <usize>outputCount << 1);
}
/** Parked operations of the socket are tried again at the end of the batch. */
export function wake(s: Socket): void {
  if ((s.flags & WOKEN) != 0 || changetype<usize>(s.ops) == 0) return;
  s.flags |= WOKEN;
  store<u16>(wokenList + ((<usize>(wokenCount++)) << 1), <u16>s.slot);
}
export function woken(): bool { return wokenCount != 0; }
/** The next woken socket, null when there is none. */
export function nextWoken(): Socket {
  while (wokenCount != 0) {
    const s = socketAt(<u32>load<u16>(wokenList + ((<usize>(--wokenCount)) << 1)));
    s.flags &= ~WOKEN;
    if (s.type != 0) return s;
  }
  return changetype<Socket>(0);
}

// ---- TIME-WAIT --------------------------------------------------------------------------------------------------------------------------
export function waitAppend(s: Socket): void {
  s.prevWait = waitLast; s.nextWait = NO_SLOT;
  if (waitLast == NO_SLOT) waitFirst = s.slot; else socketAt(waitLast).nextWait = s.slot;
  waitLast = s.slot;
}
export function waitRemove(s: Socket): void {
  if (s.prevWait == NO_SLOT) { if (waitFirst != s.slot) return; waitFirst = s.nextWait; } else socketAt(s.prevWait).nextWait = s.nextWait;
  if (s.nextWait == NO_SLOT) waitLast = s.prevWait; else socketAt(s.nextWait).prevWait = s.prevWait;
  s.prevWait = NO_SLOT; s.nextWait = NO_SLOT;
}

// ---- pages ------------------------------------------------------------------------------------------------------------------------------
function give(at: usize): void {
  const n = <u32>load<u16>(at);
  if (n == NO_PAGE) return;
  pageGive(n);
  store<u16>(at, <u16>NO_PAGE);
}
/** After a commit: pages wholly before what the record keeps. */
export function releasePages(s: Socket): void {
  if (s.state == NET_TCP_STATE_CLOSED && s.iss == 0 && s.irs == 0) return; // never connected
  if (s.state == NET_TCP_STATE_LISTEN || s.state == NET_TCP_STATE_SYN_SENT) return;
  if (s.state == NET_TCP_STATE_CLOSED) for (let n: u32 = 0; n < STREAM_PAGES; n++) give(sndPage(s, n << 12)); // nothing will be sent any more
  else if (s.state != NET_TCP_STATE_SYN_RECEIVED) {
    const end = s.sndEnd - (s.iss + 1), snd = lt(s.sndEnd, s.sndUna) ? end : s.sndUna - (s.iss + 1); // FIN may be acknowledged
    while (s.freeSnd >> 12 != snd >> 12) { give(sndPage(s, s.freeSnd)); s.freeSnd = (s.freeSnd & ~4095) + 4096; }
    if (snd == end) give(sndPage(s, snd)); // empty: no page at all
    s.freeSnd = snd;
  }
  const rcv = s.rcvRead - (s.irs + 1);
  while (s.freeRcv >> 12 != rcv >> 12) { give(rcvPage(s, s.freeRcv)); s.freeRcv = (s.freeRcv & ~4095) + 4096; }
  if (s.ranges == 0 && s.rcvRead == dataEnd(s)) give(rcvPage(s, rcv));
  s.freeRcv = rcv;
}
/** Sequence number after the last byte received in order (FIN is not a byte). */
export function dataEnd(s: Socket): u32 { return (s.flags & FIN_RECEIVED) != 0 ? s.rcvNxt - 1 : s.rcvNxt; }
export function releaseAll(s: Socket): void {
  for (let n: u32 = 0; n < STREAM_PAGES; n++) { give(sndPage(s, n << 12)); give(rcvPage(s, n << 12)); }
}
/** Both addresses of a connection. */
export function setEnds(s: Socket, local: usize, localPort: u32, peer: usize, peerPort: u32): void {
  copyAddress(localOf(s), local); copyAddress(peerOf(s), peer);
  s.localPort = localPort; s.peerPort = peerPort;
}
