/**
 * The network core, as its host (main.ts in the server, test/net in Node) sees it. It runs to completion in every call, has no fibers and never waits.
 *
 * Start, once:
 *   1 `setHost(...)` (host.ts): window open and close, transmit, answer, clock, random
 *   2 `coreStart(...)`: memory and shape -> FRESH, ATTACHED, or a negative reason. After ATTACHED the sockets of the predecessor live; operations that it had
 *     taken come again through the ring. `recordsTaken`, `recordsBad` (record.ts) say what was found
 *   3 `device(...)` when the driver answered NETDEV.info or NETDEV.watch (after each attach of a driver, and when the link changes); `deviceGone()` when it is gone for good.
 *     Without a link frames are dropped and counted (`frame_no_link`), as Linux does: connections send again later, datagrams are lost, and names and neighbours time out
 *     A successor knows what the driver said last and need not wait: its first `finish` sends already
 *   4 the first time (FRESH): `submit` of a NET.configure with `dhcp`, or an address
 *
 * Then, for each wakeup, any number of
 *   `frameIn(frame address, bytes, flags)`  a received frame (Ethernet header first; NETDEV.flags.checksumVerified). It is copied: the buffer is free afterwards
 *   `transmitted(frame address)`            the frame that `transmit` handed out is the core's again, whether it was sent or not
 *   `submit(op)`                            an operation of NET (op.ts; `newOp()` makes one, to be reused after its answer). Its answer comes through `answer(op)`
 * and at the end of the batch, once
 *   `finish()`                              timers, retries of parked operations, COMMIT, and only then `transmit` and `answer` are called
 * `nextDeadline()` says when (ns) `finish` must be called although nothing came; U64.MAX_VALUE = never.
 *
 * A frame that `transmit` handed out may stay out as long as it takes; when none is left, TCP waits and datagrams are refused (EAGAIN) or parked. Receive buffers and
 * frames should begin 2 bytes behind a multiple of 4 + NETDEV.headroom (packet.ts), so that IP headers are aligned: unaligned is correct, and slow.
 * Cancelled operations (NET.cancel names the ring's id: `op.entry`) are answered with -EINTR. An operation that has no place to wait is never left behind: a socket that ends
 * answers everything parked on it.
 */
import { NETDEV_FLAGS_CHECKSUM_VERIFIED, NET_SENDTO, NET_TCP_STATE_CLOSED, NET_TCP_STATE_FIN_WAIT2, NET_TCP_STATE_LISTEN, NET_TCP_STATE_SYN_RECEIVED, NET_TCP_STATE_SYN_SENT, NET_TCP_STATE_TIME_WAIT } from 'kintsugi/protocols';
import { arpAttach, arpCommit, arpFlush, arpInit, arpPending, arpPrivateBytes, arpTimer } from './arp';
import { LO, attachConfig, commitConfig, configInit, configPending, deviceSays, eth, lo, macUsable } from './config';
import { COUNTER_BYTES, C_FRAME_NO_LINK, C_FRAME_TRANSMITTED_WRONG, C_TCP_REVIVED, C_TCP_VICTIMS, count, countersAtPrivate, countersInit } from './counters';
import { datagramsInit, datagramsPrivateBytes } from './datagram';
import { dhcpBegin, dhcpInit, dhcpLinkCame, dhcpTimer } from './dhcp';
import { dnsInit, dnsPrivateBytes, dnsStreams, dnsTimer } from './dns';
import { frameInput } from './ethernet';
import { hostAnswer, hostTransmit, now, privateMemory, readClock, reserve, windowClose, writable } from './host';
import { ipv4Init, ipv4Input } from './ipv4';
import { OP_BYTES, Op, PARKED, complete, nextAnswer, opsInit, park, parked, unpark } from './op';
import { ETHERNET_BYTES, Packet, drop, looped, nextLooped, nextQueued, packetOf, packetsFree, packetsInit, packetsPrivateBytes } from './packet';
import { pmtuInit } from './pmtu';
import { mayQueue, poolInit, poolMapBytes } from './pool';
import { reassemblyInit, reassemblyPrivateBytes, reassemblyTimer } from './reassembly';
import { VICTIMS, VICTIM_BYTES, attachSockets, commitTouched, victims } from './record';
import {
  ACK_NOW, FIN_QUEUED, FORCE, OUTPUT, REVIVED, STREAM, Socket, findId, lt, nextWoken, outputSlot, outputs, outputsDone, socketAt, socketFree, socketSlots, socketsBytes, socketsFreeList, socketsInit, touchedCount, usedSlot,
  waitAppend, wake, wantOutput, woken,
} from './socket';
import { packetsCame, packetsWanted, pagesCame, pagesWanted, serve, socketsShared } from './sockets';
import { countersAt, openState, poolAddress, stateAt, statePages } from './state';
import { abort, acceptAppend, keepaliveStart, ORPHAN_LIMIT_US, ORPHAN_US, TIME_WAIT_US } from './tcp/connection';
import { cookiesPossible } from './tcp/listen';
import { INITIAL_RTO, sendBare, settleMss, tcpOutput } from './tcp/output';
import { ACK, RST } from './tcp/segment';
import { settleRto, socketTimer } from './tcp/timers';
import { NEVER, TIMER_ARP, TIMER_DHCP, TIMER_DNS, TIMER_REASSEMBLY, TIMER_SOCKET, armAtMost, due, nextTimer, timerBytes, timersInit } from './timer';

export const FRESH: i32 = 0;
export const ATTACHED: i32 = 1;
export const STATE_TOO_SMALL: i32 = -1;
export const PRIVATE_TOO_SMALL: i32 = -2;

/** Private memory that `coreStart` needs (bytes). */
export function privateBytes(sockets: u32, stateBytes: u32, packets: u32): u32 {
  return socketsBytes(sockets) + poolMapBytes(stateBytes >> 12) + packetsPrivateBytes(packets) + arpPrivateBytes() + reassemblyPrivateBytes() + datagramsPrivateBytes() + dnsPrivateBytes() + timerBytes(sockets + 16) + 65536;
}
/**
 * `sockets`: how many there can be (16 to 4096; 0.9 KiB of state and 2 KiB of private memory each). `packetsAt`: `packets` transmit buffers of NETDEV.bufferBytes.
 * `shared`: the data area of the NET ring. The state must be mapped; it is written in the window only.
 */
export function coreStart(state: usize, stateBytes: u32, sockets: u32, heap: usize, heapBytes: u32, packetsAt: usize, packets: u32, shared: usize, sharedBytes: u32): i32 {
  if (heapBytes < privateBytes(sockets, stateBytes, packets)) return PRIVATE_TOO_SMALL;
  if (!stateAt(state, stateBytes, sockets)) return STATE_TOO_SMALL;
  privateMemory(heap, heapBytes);
  readClock();
  countersInit();
  timersInit(reserve(timerBytes(sockets + 16)), sockets + 16);
  opsInit();
  packetsInit(packetsAt, packets);
  configInit();
  socketsInit(sockets);
  arpInit(); reassemblyInit(); datagramsInit(); dnsInit(); dhcpInit(); pmtuInit(); ipv4Init();
  socketsShared(shared, sharedBytes);
  more = false; savedAt = now;
  const attached = openState();
  poolInit(poolAddress(), statePages, reserve(poolMapBytes(statePages)));
  if (attached) {
    memory.copy(countersAtPrivate(), countersAt(), COUNTER_BYTES);
    attachConfig();
    arpAttach();
    attachSockets();
  }
  socketsFreeList();
  windowClose();
  if (attached) { revive(); dhcpBegin(); }
  cookiesPossible();
  return attached ? ATTACHED : FRESH;
}
/** After attach: timers anew, one duplicate ACK for each connection, and of what was under way the first segment. */
function revive(): void {
  for (let n: u32 = 0; n < socketSlots(); n++) {
    if (!usedSlot(n)) continue;
    const s = socketAt(n);
    if (s.type != STREAM) continue;
    s.lastHeard = now;
    const state = s.state;
    if (state == NET_TCP_STATE_LISTEN) continue;
    if (state == NET_TCP_STATE_CLOSED) { if (s.id == 0) socketFree(s); continue; }
    if (s.id == 0 && s.parent == 0 && state < NET_TCP_STATE_TIME_WAIT && (s.flags & FIN_QUEUED) == 0) { abort(s); continue; } // nobody's and never closed: the resolver's (dns-stream.ts), which asks anew
    count(C_TCP_REVIVED);
    s.rto = INITIAL_RTO;
    s.sndNxt = s.sndUna; s.recover = s.sndUna; s.rcvMss = s.mss < 536 ? 536 : s.mss;
    if (s.srtt != 0) settleRto(s);
    settleMss(s);
    s.freeSnd = s.sndUna - (s.iss + 1); s.freeRcv = s.rcvRead - (s.irs + 1);
    if (state == NET_TCP_STATE_SYN_SENT || state == NET_TCP_STATE_SYN_RECEIVED) {
      s.sndNxt = s.iss; s.sndMax = s.iss + 1; s.freeSnd = 0;
      if (state == NET_TCP_STATE_SYN_SENT) s.freeRcv = 0;
    } else {
      // All that is there may have been sent. What the peer has of it, it will say.
      const fin = (s.flags & FIN_QUEUED) != 0;
      s.sndMax = s.sndEnd + (fin ? 1 : 0);
      if (lt(s.sndMax, s.sndUna)) s.sndMax = s.sndUna;
      if (fin && s.sndUna == s.sndEnd + 1) s.freeSnd = s.sndEnd - (s.iss + 1);
      if (lt(s.rcvAdv, s.rcvRead + s.rcvBuf)) s.rcvAdv = s.rcvRead + s.rcvBuf; // promised at most
      s.lastAckSent = s.rcvNxt;
      if (s.cwnd < s.mss) s.cwnd = s.mss;
      if (s.sndMax != s.sndUna) s.flags |= REVIVED | FORCE;
      s.flags |= ACK_NOW;
      if (state == NET_TCP_STATE_TIME_WAIT) { s.flags &= ~ACK_NOW; s.lifeAt = now + TIME_WAIT_US; if (s.id == 0) waitAppend(s); }
      else if (s.id == 0 && s.parent == 0) s.lifeAt = now + (state == NET_TCP_STATE_FIN_WAIT2 ? ORPHAN_US : ORPHAN_LIMIT_US);
      if (s.lifeAt != NEVER) armAtMost(s.timer, s.lifeAt);
      keepaliveStart(s);
    }
    wantOutput(s);
    if (s.parent == 0) continue;
    const l = findId(s.parent);
    if (changetype<usize>(l) == 0 || l.state != NET_TCP_STATE_LISTEN) { s.parent = 0; abort(s); continue; }
    if (state == NET_TCP_STATE_SYN_RECEIVED) l.halfOpen++; else acceptAppend(l, s);
  }
  for (let k: u32 = 0; k < victims; k++) {
    const v = VICTIMS + <usize>k * VICTIM_BYTES, ports = load<u32>(v, 32);
    count(C_TCP_VICTIMS);
    sendBare(v, v + 16, ports & 0xffff, ports >> 16, load<u32>(v, 36), load<u32>(v, 40), RST | ACK);
  }
}

/** What the driver says (NETDEV.info, NETDEV.watch): MAC as two words, MTU, flags. False: no card can be like that; nothing was changed. */
export function device(macLow: u32, macHigh: u32, mtu: u32, flags: u32): bool {
  if (!macUsable(macLow, macHigh)) return false;
  readClock();
  const was = eth.present && !eth.link;
  deviceSays(macLow, macHigh, mtu, flags & 255);
  if (was && eth.link) {
    arpFlush(); // another network, perhaps
    dhcpLinkCame();
  } else dhcpBegin();
  return true;
}
export function deviceGone(): void { eth.present = false; eth.link = false; }

let more: bool = false;
let savedAt: u64 = 0;
let inBatch: bool = false;
function begin(): void { if (!inBatch) { inBatch = true; readClock(); } }

export function frameIn(at: usize, bytes: u32, flags: u32): void {
  begin();
  frameInput(at, bytes, (flags & NETDEV_FLAGS_CHECKSUM_VERIFIED) != 0);
}
export function transmitted(frame: usize): void {
  const p = packetOf(frame);
  if (changetype<usize>(p) == 0) { count(C_FRAME_TRANSMITTED_WRONG); return; }
  drop(p);
  if (packetsWanted) packetsAreFree();
}
/** The pool has pages again: who waits to send, or to hear that it may, looks again. */
function pagesAreFree(): void {
  pagesCame();
  for (let n: u32 = 0; n < socketSlots(); n++) { const s = socketAt(n); if (usedSlot(n) && s.type == STREAM) wake(s); }
}
function packetsAreFree(): void {
  packetsCame();
  for (let n: u32 = 0; n < socketSlots(); n++) {
    const s = socketAt(n);
    if (usedSlot(n) && changetype<usize>(s.ops) != 0 && s.ops.code == NET_SENDTO) wake(s);
  }
}
export function newOp(): Op { return changetype<Op>(reserve(OP_BYTES)); }
export function submit(op: Op): void {
  begin();
  op.r0 = 0; op.r1 = 0; op.r2 = 0; op.r3 = 0; op.begun = false; op.socket = changetype<Socket>(0); op.query = 0;
  const status = serve(op);
  if (status != PARKED) { complete(op, status); return; }
  if (op.query == 0) park(op, findId(op.a0));
}
function retry(s: Socket): void {
  let op = s.ops;
  while (changetype<usize>(op) != 0) {
    const following = op.next;
    const status = serve(op);
    if (status != PARKED) { unpark(op); complete(op, status); }
    op = following;
  }
}

/** The end of a batch: see the head of this file. */
export function finish(): void {
  begin();
  for (let t = due(now); changetype<usize>(t) != 0; t = due(now)) {
    switch (t.kind) {
      case TIMER_SOCKET: socketTimer(t.owner); break;
      case TIMER_ARP: arpTimer(); break;
      case TIMER_REASSEMBLY: reassemblyTimer(); break;
      case TIMER_DHCP: dhcpTimer(); break;
      case TIMER_DNS: dnsTimer(); break;
      default:
    }
  }
  let rounds = 0;
  while (true) {
    dnsStreams();
    for (let s = nextWoken(); changetype<usize>(s) != 0; s = nextWoken()) retry(s);
    commit();
    const n = outputs();
    for (let k: u32 = 0; k < n; k++) {
      const s = socketAt(outputSlot(k));
      s.flags &= ~OUTPUT;
      if (usedSlot(s.slot) && s.type == STREAM && !tcpOutput(s)) wantOutput(s);
    }
    outputsDone(n);
    for (let p = nextQueued(); changetype<usize>(p) != 0; p = nextQueued()) {
      if (!eth.link) { count(C_FRAME_NO_LINK); drop(p); if (packetsWanted) packetsAreFree(); continue; }
      eth.txFrames++; eth.txBytes += p.bytes;
      hostTransmit(p.frame, p.bytes, p.flags, p.sumStart, p.sumOffset);
    }
    for (let op = nextAnswer(); changetype<usize>(op) != 0; op = nextAnswer()) hostAnswer(changetype<usize>(op));
    if (woken()) continue; // pages came back
    if (!looped() || ++rounds == ROUNDS) break;
    loopback();
  }
  more = looped() || touchedCount != 0;
  inBatch = false;
}
const ROUNDS: i32 = 32; // of loopback traffic in one batch; the rest is the next one's
/** What was sent to ourselves arrives, as a batch of its own. */
function loopback(): void {
  for (let n = 0; n < 64; n++) {
    const p: Packet = nextLooped();
    if (changetype<usize>(p) == 0) return;
    lo.rxFrames++; lo.txFrames++; lo.rxBytes += p.bytes; lo.txBytes += p.bytes;
    ipv4Input(LO, p.frame + ETHERNET_BYTES, p.bytes - ETHERNET_BYTES, true, false);
    drop(p);
  }
}
const SAVE_US: u64 = 100_000;
/** Everything that this batch changed becomes what a successor finds. */
function commit(): void {
  commitTouched();
  if (configPending()) commitConfig();
  if (arpPending()) arpCommit();
  if (now - savedAt > SAVE_US) { savedAt = now; writable(); memory.copy(countersAt(), countersAtPrivate(), COUNTER_BYTES); }
  windowClose();
  if (pagesWanted && mayQueue()) pagesAreFree();
}
/** When `finish` must be called again (ns of the host's clock). */
export function nextDeadline(): u64 {
  if (more) return now * 1000;
  const t = nextTimer();
  return t == NEVER ? U64.MAX_VALUE : t * 1000;
}
/** For tests and telemetry. */
export function parkedOps(): u32 { return parked; }
export function freePackets(): u32 { return packetsFree; }
