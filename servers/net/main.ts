/**
 * net: the network stack. Worker of ring 0 (NET, process posts), owner of rings 1 (transmit) and 2 (receive) to the NIC driver. Event driven without fibers:
 * each wakeup is one batch for the core (core.ts): frames and requests go in, `finish` commits, and only then frames and answers come out. One doorbell for
 * each ring at the end.
 *
 * The driver is not believed. An answer counts once, for an entry that is under way, with the check word of just this answer (lib/ring.ts: others are refused or asked for again, counters
 * `ring_refused`, `ring_repaired`); where a frame or a packet lies says the slot and never the answer; lengths are those of the buffer at most (`frame_refused`), a card that cannot be is none
 * (`driver_answer_bad`). What it says too early, or claims of frames that it has read, is a faulty wire to the protocols: connections repair it.
 *
 * Packet memory (DMA Frames, plainly writable; each buffer begins 2 bytes behind a multiple of 4): RING_SLOTS receive buffers, slot s of the receive ring
 * owns buffer s; behind them the core's transmit packets; behind them the core's private memory, which every incarnation begins anew. Frames that find the transmit ring full wait here, in order.
 *
 * Death and successor: the state Frames hold what the core committed. Requests that the dead one had taken are posted again by process. Receive buffers go on:
 * those that the driver fills meanwhile, and those that were filled and perhaps not looked at, are looked at in the order in which they were posted (a frame
 * seen twice is a duplicate, as networks make them). Transmit packets of the dead one are waited for before their memory is used again.
 * Until the first boot has an address, or PATIENCE_NS is over, requests that lead off this machine wait: a program that is started with the machine need not ask
 * for the network twice.
 * A driver that died shows in the ring's epoch: it is asked again for MAC, MTU and link; receive buffers that it had taken are posted again.
 * Link and MTU change under way: NETDEV.watch waits in the receive ring (one buffer less there) for the driver to know something else than this server does.
 */
import { rdtsc } from 'kintsugi/x86';
import {
  NETDEV_BUFFER_BYTES, NETDEV_HEADROOM, NETDEV_INFO, NETDEV_RECEIVE, NETDEV_TRANSMIT, NETDEV_WATCH, NET_CONFIGURE, NET_CONFIGURE_DHCP, NET_EVENTS_ERROR, NET_EVENTS_HANGUP, NET_POLL, NET_POLL_RECORD_EVENTS, NET_POLL_RECORD_FOUND,
  NET_POLL_RECORD_ID, NET_POLL_RECORD_SIZE, NET_ADDRESS_BYTES, NET_ADDRESS_SIZE, NET_CANCEL, NET_CONNECT, NET_RESOLVE, NET_SENDTO, REGION_DMA, REGION_STATE, RING_FLAGS_READONLY, RING_SLOTS, ROLE_STATE_FRAMES, SERVERS_NET,
} from 'kintsugi/protocols';
import { ERR_OK } from 'kintsugi/abi';
import { mustAlloc } from '../lib/alloc';
import { EBADF, EFAULT, EINTR } from '../lib/errno';
import { line } from '../lib/fmt';
import * as log from '../lib/log';
import { inRange } from '../lib/mem';
import { OwnerSlot, Request, RingOwner, RingWorker, ringDispatch, ringOwner, ringWorker } from '../lib/ring';
import { scrub } from '../lib/scrub';
import { serverInit } from '../lib/server';
import { argv, handle, needRegion, ownEpoch, ownNotify, ready } from '../lib/startup';
import * as sys from '../lib/sys';
import { isAny } from './address';
import { ETH, addressOf, configLost, configureStatic } from './config';
import { ATTACHED, FRESH, coreStart, device, deviceGone, finish, frameIn, newOp, nextDeadline, privateBytes, submit, transmitted } from './core';
import { C_DRIVER_ANSWER_BAD, C_FRAME_REFUSED, C_FRAME_UNSENT, C_RING_REFUSED, C_RING_REPAIRED, count, countMore, troubles } from './counters';
import { setHost } from './host';
import { Op } from './op';
import { BUFFER_SKEW } from './packet';
import { poolTotal } from './pool';
import { recordsBad, recordsTaken } from './record';
import { findId } from './socket';
import { events } from './sockets';

const COOKIE: u32 = 1; // of receive entries and of INFO; a transmit entry's cookie is its frame
const RECEIVE_BYTES: u32 = NETDEV_BUFFER_BYTES - <u32>BUFFER_SKEW;
const PACKETS: u32 = 256; // transmit packets
const BUFFERS: u32 = RING_SLOTS - 1; // one slot is NETDEV.watch's
const OFFER_BATCH: u32 = RING_SLOTS / 4;
const QUEUED: u32 = 256; // as many as there are packets
const INTERNAL: u32 = 0xffffffff; // cookie of an operation of our own
const MAX_POLL: u32 = 1024; // sockets in one NET.poll

let requests: RingWorker = changetype<RingWorker>(0);
let transmit: RingOwner = changetype<RingOwner>(0);
let receive: RingOwner = changetype<RingOwner>(0);
let fresh: Request = changetype<Request>(0);
let stateFrames: u32 = 0;
let packetMemory: usize = 0;
let ops: usize = 0; // Op[RING_SLOTS] by ring slot, and one for ourselves
let answered: bool = false, sent: bool = false;
let offered: u32 = 0; // buffers that the driver was not told about

// ---- the core's host --------------------------------------------------------------------------------------------------------------------

function openWindow(): void { if (stateFrames != 0) sys.window(stateFrames, 1); }
function closeWindow(): void { proveCopying(); if (stateFrames != 0) sys.window(stateFrames, 0); }
/** Copying and filling as every stream and every header needs them: what does it wrong is the fault of this text. Dies before anything of the batch leaves. */
const SAMPLE: usize = memory.data<u32>([0x9e3779b1, 0x85ebca6b, 0xc2b2ae35, 0x27d4eb2f], 4);
const PROOF: usize = memory.data(32, 4);
function proveCopying(): void {
  store<u64>(PROOF, 0); store<u64>(PROOF, 0, 8); store<u64>(PROOF, 0, 16); // not what the last proof left
  memory.fill(PROOF, 0x5a, 23);
  memory.copy(PROOF, SAMPLE, 14);
  if (((load<u32>(PROOF) ^ 0x9e3779b1) | (load<u32>(PROOF, 8) ^ 0xc2b2ae35) | (load<u32>(PROOF, 12) ^ 0x5a5aeb2f) | (load<u32>(PROOF, 19) ^ 0x5a5a5a5a) | load<u8>(PROOF, 23)) != 0) unreachable();
}
function clock(): u64 { return sys.clock(); }
let seed: u64 = 0;
/** xorshift64*, stirred with the time stamp counter. There is no other source of entropy on this board. No system call: that would close the window. */
function random(): u32 {
  seed ^= rdtsc() * 0x9e3779b97f4a7c15;
  if (seed == 0) seed = 1;
  seed ^= seed >> 12; seed ^= seed << 25; seed ^= seed >> 27;
  return <u32>(seed * 0x2545f4914f6cdd1d >> 32);
}

/** A frame that waits for room in the transmit ring. */
@unmanaged @final class Waiting { at: usize; bytes: u32; flags: u32; sum: u32 }
const WAITING: usize = 16;
let queue: usize = 0;
let queueHead: u32 = 0, queueTail: u32 = 0;
function waitingAt(n: u32): Waiting { return changetype<Waiting>(queue + <usize>(n & (QUEUED - 1)) * WAITING); }
function sendFrame(at: usize, bytes: u32, flags: u32, start: u32, offset: u32): void {
  if (transmit.failed) { gone(at); return; }
  const sum = start | offset << 16;
  if (queueHead == queueTail && postFrame(at, bytes, flags, sum)) return;
  if (queueTail - queueHead == QUEUED) { gone(at); return; } // cannot be: one place for each packet
  const w = waitingAt(queueTail);
  w.at = at; w.bytes = bytes; w.flags = flags; w.sum = sum;
  queueTail++;
}
let underway: u64 = 0; // transmit slots posted and not taken back: not those of a predecessor
function postFrame(at: usize, bytes: u32, flags: u32, sum: u32): bool {
  const n = transmit.claim(NETDEV_TRANSMIT, 0);
  if (n < 0) return false;
  transmit.arg(n, 0, <u32>(at - packetMemory) - NETDEV_HEADROOM); transmit.arg(n, 1, bytes); transmit.arg(n, 2, flags); transmit.arg(n, 3, sum);
  transmit.slot(n).cookie = <u32>at;
  transmit.post(n);
  underway |= <u64>1 << n;
  sent = true;
  return true;
}
/** Frames of which nobody will say that they were sent; told to the core outside `finish`. */
const LOST: usize = memory.data(1024, 4); // u32[QUEUED]
let lost: u32 = 0;
function gone(at: usize): void { if (lost < QUEUED) { store<u32>(LOST + (<usize>lost << 2), <u32>at); lost++; } }

function answer(op_: usize): void {
  const op = changetype<Op>(op_);
  if (op.cookie == INTERNAL) return;
  requests.complete(op.cookie, op.status, op.r0, op.r1, op.r2, op.r3);
  answered = true;
}

// ---- the driver -------------------------------------------------------------------------------------------------------------------------

let order: usize = 0; // u32[RING_SLOTS]: receive slots in the order in which they were posted
let orderFirst: u32 = 0, ordered: u32 = 0;
let driverEpoch: u32 = 0;
let asked: i32 = -1; // slot of NETDEV.info under way
let driverGone: bool = false;

function bufferAt(slot: u32): usize { return packetMemory + BUFFER_SKEW + <usize>(slot * NETDEV_BUFFER_BYTES); }
function remember(slot: u32): void { store<u32>(order + (<usize>((orderFirst + ordered) & (RING_SLOTS - 1)) << 2), slot); ordered++; }
/** Empty buffers for every free slot. */
function offer(): void {
  while (ordered < BUFFERS && !receive.failed) {
    const n = receive.claim(NETDEV_RECEIVE, 0);
    if (n < 0) return;
    receive.arg(n, 0, <u32>(bufferAt(n) - packetMemory)); receive.arg(n, 1, RECEIVE_BYTES);
    receive.slot(n).cookie = COOKIE;
    receive.post(n);
    remember(n);
    offered++;
  }
}
/** What a predecessor left in the receive ring, in the order of posting. */
function adoptReceive(): void {
  for (let n: u32 = 0; n < RING_SLOTS; n++) {
    if (receive.op(n) != NETDEV_WATCH || receive.wasAnswered(n) || !receive.takeOver(n, COOKIE)) continue;
    if (watching < 0) watching = n; else receive.abandon(n);
  }
  while (ordered < RING_SLOTS) {
    let oldest: i32 = -1;
    for (let n: u32 = 0; n < RING_SLOTS; n++) {
      if (receive.op(n) != NETDEV_RECEIVE || !receive.inherits(n)) continue;
      if (oldest < 0 || <i32>(receive.id(n) - receive.id(oldest)) < 0) oldest = n;
    }
    if (oldest < 0) return;
    receive.takeOver(oldest, COOKIE);
    remember(oldest);
  }
}
let missed: u32 = 0; // orderFirst + 1 when the driver was asked for an answer that others overtook
function takeFrames(): void {
  receive.reap(); // also without a doorbell: a driver that died must be greeted, or it takes nothing and is called late
  while (ordered > 0) {
    const n = load<u32>(order + (<usize>(orderFirst & (RING_SLOTS - 1)) << 2));
    if (!receive.isDone(n)) {
      if (ordered == receive.inFlight - (watching >= 0 && !receive.isDone(watching) ? 1 : 0)) return;
      if (missed != orderFirst + 1) { missed = orderFirst + 1; receive.lookAfter(); continue; }
      if (!passOver()) return;
      continue;
    }
    takeFrame(n);
    orderFirst++;
    ordered--;
  }
}
function takeFrame(n: u32): void {
  const s = receive.slot(n), bytes = s.r0;
  if (s.status == 0 && bytes <= RECEIVE_BYTES - NETDEV_HEADROOM) frameIn(bufferAt(n) + NETDEV_HEADROOM, bytes, s.r1);
  else if (!receive.failed) count(C_FRAME_REFUSED);
  receive.release(n);
}
/** The oldest buffer is not back, nor lost on its way here: a card may keep one for ever. The first behind it that is. False: there is none. */
function passOver(): bool {
  for (let k: u32 = 1; k < ordered; k++) {
    const n = load<u32>(order + (<usize>((orderFirst + k) & (RING_SLOTS - 1)) << 2));
    if (!receive.isDone(n)) continue;
    takeFrame(n);
    ordered--;
    for (; k < ordered; k++) store<u32>(order + (<usize>((orderFirst + k) & (RING_SLOTS - 1)) << 2), load<u32>(order + (<usize>((orderFirst + k + 1) & (RING_SLOTS - 1)) << 2)));
    return true;
  }
  return false;
}
/** Packets that the driver has sent, and its answer to INFO. */
function takeSent(): void {
  transmit.reap(); // the driver does not ring for each
  for (let left = underway & ~(<u64>transmit.flight0 | <u64>transmit.flight1 << 32); left != 0; left &= left - 1) {
    const n = <u32>ctz<u64>(left), s = transmit.slot(n);
    if (!transmit.isDone(n)) continue;
    underway &= ~(<u64>1 << n);
    if (<i32>n == asked) {
      asked = -1;
      if (believe(s)) rewatchAt = 1;
    } else {
      if (s.status != 0 && !transmit.failed) count(C_FRAME_UNSENT);
      transmitted(<usize>s.cookie);
    }
    transmit.release(n);
  }
  for (let n: u32 = 0; n < lost; n++) transmitted(<usize>load<u32>(LOST + (<usize>n << 2)));
  lost = 0;
  while (queueHead != queueTail) {
    const w = waitingAt(queueHead);
    if (transmit.failed) gone(w.at);
    else if (!postFrame(w.at, w.bytes, w.flags, w.sum)) break;
    queueHead++;
  }
}
/** A new driver is asked who it is; one that will never come is told to the core. */
function watchDriver(): void {
  if (transmit.failed) {
    if (!driverGone) { driverGone = true; driverEpoch = 0; deviceGone(); }
    return;
  }
  driverGone = false;
  if (transmit.workerEpoch == driverEpoch || asked >= 0) return;
  const n = transmit.claim(NETDEV_INFO, RING_FLAGS_READONLY);
  if (n < 0) return; // as soon as there is room
  driverEpoch = transmit.workerEpoch;
  transmit.slot(n).cookie = COOKIE;
  transmit.post(n);
  underway |= <u64>1 << n;
  asked = n;
  sent = true;
}

// ---- the link ---------------------------------------------------------------------------------------------------------------------------

let watching: i32 = -1; // slot of NETDEV.watch in the receive ring
let rewatchAt: u64 = 0; // when it is to be posted (ns), 0: not now
let knownLow: u32 = 0, knownHigh: u32 = 0, knownRest: u32 = 0;
/** A card whose link trembles, or a driver that always has news, is heard so often. */
const REWATCH_NS: u64 = 5_000_000;
const MISTRUST_NS: u64 = 100_000_000; // after nonsense
/** What the driver says about its card. False: it cannot be true. */
function believe(s: OwnerSlot): bool {
  if (s.status != 0 || !device(s.r0, s.r1, s.r2 & 0xffff, s.r2 >> 16)) { if (!transmit.failed) count(C_DRIVER_ANSWER_BAD); return false; }
  knownLow = s.r0; knownHigh = s.r1; knownRest = s.r2;
  return true;
}
/** An answer to NETDEV.watch is news about the link; then it is asked again. After one that is none what is known holds, and it is asked again later. */
function watchLink(): void {
  if (watching >= 0 && receive.isDone(watching)) {
    const s = receive.slot(watching);
    if (!receive.failed) rewatchAt = sys.clock() + (believe(s) ? REWATCH_NS : MISTRUST_NS);
    receive.release(watching);
    watching = -1;
  }
  if (rewatchAt == 0 || (rewatchAt != 1 && sys.clock() < rewatchAt) || receive.failed) return;
  if (watching < 0) {
    const n = receive.claim(NETDEV_WATCH, RING_FLAGS_READONLY);
    if (n < 0) return; // as soon as there is room
    receive.arg(n, 0, knownLow); receive.arg(n, 1, knownHigh); receive.arg(n, 2, knownRest);
    receive.slot(n).cookie = COOKIE;
    receive.post(n);
    watching = n;
    offered = OFFER_BATCH; // the driver is told
  }
  rewatchAt = 0;
}
let refusedSeen: u32 = 0, repairedSeen: u32 = 0;
/** What the rings to the driver refused, and what had to be said again. */
function countRings(): void {
  const refused = transmit.refused + receive.refused, repaired = transmit.repaired + receive.repaired;
  if (refused != refusedSeen) { countMore(C_RING_REFUSED, refused - refusedSeen); refusedSeen = refused; }
  if (repaired != repairedSeen) { countMore(C_RING_REPAIRED, repaired - repairedSeen); repairedSeen = repaired; }
}

// ---- requests ---------------------------------------------------------------------------------------------------------------------------

function opAt(slot: u32): Op { return changetype<Op>(load<usize>(ops + (<usize>slot << 2))); }
// NET.poll waits here, not in the core: it is about many sockets.
const POLLS: usize = memory.data(256 * 5, 4); // by ring slot: {id + 1 (0 = none) of the request, list, count, 0, 0}
const POLL_BYTES: usize = 20;
let polls: u32 = 0;
function pollOf(slot: u32): usize { return POLLS + <usize>slot * POLL_BYTES; }

function takeRequests(): void {
  while (requests.next(fresh)) {
    const r = fresh;
    if (r.op == NET_POLL) { takePoll(r); continue; }
    if (r.op == NET_CANCEL) cancelPoll(r.a0); // the core answers it, and looks for it, too
    const op = opAt(r.slot);
    op.code = r.op; op.entry = r.id; op.cookie = r.slot;
    op.a0 = r.a0; op.a1 = r.a1; op.a2 = r.a2; op.a3 = r.a3; op.a4 = r.a4; op.a5 = r.a5;
    if (holding && leadsOut(r)) { store<u8>(HELD + r.slot, 1); continue; }
    if (holding && r.op == NET_CANCEL) cancelHeld(r.a0);
    submit(op);
  }
}

// ---- before the first address -------------------------------------------------------------------------------------------------------------
const PATIENCE_NS: u64 = 3_000_000_000;
let holding: bool = false;
let holdUntil: u64 = 0;
const HELD: usize = memory.data(64); // u8[RING_SLOTS]: this slot's Op waits
/** It needs an address of the outside: not the loopback. */
function leadsOut(r: Request): bool {
  if (r.op == NET_RESOLVE) return true;
  if (r.op != NET_CONNECT && r.op != NET_SENDTO) return false;
  return inRange(r.a1, NET_ADDRESS_SIZE, requests.dataBytes) && load<u8>(requests.data + <usize>r.a1, NET_ADDRESS_BYTES + 12) != 127;
}
/** The wait is over: what was held goes on, in the order of the slots. */
function stopHolding(): void {
  holding = false;
  for (let slot: u32 = 0; slot < RING_SLOTS; slot++) if (load<u8>(HELD + slot) != 0) { store<u8>(HELD + slot, 0); submit(opAt(slot)); }
}
function cancelHeld(id: u32): void {
  for (let slot: u32 = 0; slot < RING_SLOTS; slot++) {
    if (load<u8>(HELD + slot) == 0 || opAt(slot).entry != id) continue;
    store<u8>(HELD + slot, 0);
    complete(slot, -EINTR, 0);
    return;
  }
}
function takePoll(r: Request): void {
  if (r.a1 > MAX_POLL || !inRange(r.a0, r.a1 * NET_POLL_RECORD_SIZE, requests.dataBytes) || (r.a0 & 3) != 0) { complete(r.slot, -EFAULT, 0); return; }
  const hits = look(r.a0, r.a1);
  if (hits != 0 || (r.a2 & 1) != 0) { complete(r.slot, 0, hits); return; }
  const p = pollOf(r.slot);
  store<u32>(p, 1); store<u32>(p, r.id, 4); store<u32>(p, r.a0, 8); store<u32>(p, r.a1, 12);
  polls++;
}
function complete(slot: u32, status: i32, r0: u32): void { requests.complete(slot, status, r0, 0, 0, 0); answered = true; }
/** Fills `found` of each record; how many have events. A socket that is none has an error. */
function look(list: u32, count: u32): u32 {
  let hits: u32 = 0;
  for (let n: u32 = 0; n < count; n++) {
    const p = requests.data + <usize>list + <usize>(n * NET_POLL_RECORD_SIZE), s = findId(load<u32>(p, NET_POLL_RECORD_ID));
    const found = changetype<usize>(s) == 0 ? NET_EVENTS_ERROR : events(s) & (load<u32>(p, NET_POLL_RECORD_EVENTS) | NET_EVENTS_ERROR | NET_EVENTS_HANGUP);
    store<u32>(p, found, NET_POLL_RECORD_FOUND);
    if (found != 0) hits++;
  }
  return hits;
}
/** After each commit: whoever waits for what has come. */
function lookAll(): void {
  for (let slot: u32 = 0, left = polls; left > 0 && slot < RING_SLOTS; slot++) {
    const p = pollOf(slot);
    if (load<u32>(p) == 0) continue;
    left--;
    const hits = look(load<u32>(p, 8), load<u32>(p, 12));
    if (hits == 0) continue;
    store<u32>(p, 0);
    polls--;
    complete(slot, 0, hits);
  }
}
function cancelPoll(id: u32): void {
  for (let slot: u32 = 0; polls > 0 && slot < RING_SLOTS; slot++) {
    const p = pollOf(slot);
    if (load<u32>(p) == 0 || load<u32>(p, 4) != id) continue;
    store<u32>(p, 0);
    polls--;
    complete(slot, -EINTR, 0);
    return;
  }
}

// ---- batches ----------------------------------------------------------------------------------------------------------------------------

function batch(): void {
  watchDriver();
  takeFrames();
  takeSent();
  watchLink();
  countRings();
  takeRequests();
  if (holding && (driverGone || !isAny(addressOf()) || sys.clock() >= holdUntil)) stopHolding();
  finish();
  if (holding && !isAny(addressOf())) { stopHolding(); finish(); } // the address came with this batch
  lookAll();
  offer();
  if (offered >= OFFER_BATCH) { offered = 0; receive.knock(); } // the driver finds fewer when it wakes for anything else
  if (sent) { sent = false; transmit.knock(); }
  if (answered) { answered = false; requests.knock(); }
}

let troublesSeen: u32 = 0;
/** Between batches; at once, nearly, after what a sound stack on a sound wire does not see. */
function lookAtText(): void {
  const n = troubles();
  scrub(n != troublesSeen);
  troublesSeen = n;
}

let sockets_: u32 = 0;
/** As many sockets as the state and what packets leave of their memory have room for. */
function startCore(stateAt: usize, stateBytes: u32, packetBytes: u32): i32 {
  const packetsAt = (RING_SLOTS + 1) * NETDEV_BUFFER_BYTES, packets = min(packetBytes / NETDEV_BUFFER_BYTES / 4, PACKETS), heapAt = packetsAt + (packets + 1) * NETDEV_BUFFER_BYTES;
  if (heapAt + 4096 > packetBytes) { sys.fault(0x4e45, packetBytes, packets); return 0; }
  const bytes = packetBytes - heapAt, heap = packetMemory + <usize>heapAt, opBytes = (RING_SLOTS + 1) * 128;
  let sockets: u32 = 4096;
  while (sockets > 16 && (sockets * 900 > stateBytes >> 2 || privateBytes(sockets, stateBytes, packets) + opBytes > bytes)) sockets -= 16;
  sockets_ = sockets;
  return coreStart(stateAt, stateBytes, sockets, heap, bytes, packetMemory + <usize>packetsAt, packets, requests.data, requests.dataBytes);
}
export function main(page: usize): void {
  serverInit(page);
  stateFrames = handle(ROLE_STATE_FRAMES);
  seed = sys.clock() ^ <u64>ownEpoch() << 48;
  const state = needRegion(REGION_STATE), packets = needRegion(REGION_DMA);
  packetMemory = packets.va;
  fresh = changetype<Request>(mustAlloc(<u32>offsetof<Request>()));
  order = mustAlloc(RING_SLOTS << 2);
  queue = mustAlloc(QUEUED * <u32>WAITING);
  ops = mustAlloc((RING_SLOTS + 1) << 2);
  transmit = ringOwner(1);
  receive = ringOwner(2);
  transmit.reap();
  receive.reap();
  receive.leisurely = true;
  while (transmit.orphans != 0) if (sys.wait(ownNotify, 0xffffffff, sys.FOREVER) == ERR_OK) ringDispatch(sys.pending()); // frames of the dead one, in memory that the core will use
  adoptReceive();
  setHost(openWindow, closeWindow, sendFrame, answer, clock, random);
  requests = ringWorker(0);
  const how = startCore(state.va, state.pages << 12, packets.pages << 12);
  if (how < 0) sys.fault(0x4e46, how, state.pages);
  for (let n: u32 = 0; n <= RING_SLOTS; n++) store<usize>(ops + (<usize>n << 2), changetype<usize>(newOp()));
  const given = argv(1); // 0: the network is asked
  if ((how == FRESH || configLost) && given != 0 && configureStatic(given)) log.info(line().lit('address ').str(given));
  else if (how == FRESH || configLost) {
    if (given != 0) log.error(line().lit('ip=').str(given).lit(': not ADDRESS/BITS[,GATEWAY[,RESOLVER]] with the gateway in the same network; asking by DHCP'));
    const op = opAt(RING_SLOTS);
    op.code = NET_CONFIGURE; op.cookie = INTERNAL; op.entry = 0;
    op.a0 = ETH; op.a1 = NET_CONFIGURE_DHCP; op.a2 = 0xffffffff; op.a3 = 0;
    submit(op);
    holding = true;
    holdUntil = sys.clock() + PATIENCE_NS;
  }
  if (how == ATTACHED) log.info(line().lit('taken over: sockets ').dec(recordsTaken).lit(', damaged ').dec(recordsBad));
  else if (ownEpoch() == 1) log.info(line().lit('room for ').dec(sockets_).lit(' sockets, ').dec(poolTotal()).lit(' pages of data'));
  else log.warn(line().lit('started empty: no usable state'));
  batch();
  ready(SERVERS_NET);
  while (true) {
    lookAtText();
    let deadline = nextDeadline();
    if (holding && holdUntil < deadline) deadline = holdUntil;
    if (rewatchAt > 1 && rewatchAt < deadline) deadline = rewatchAt;
    if (sys.wait(ownNotify, 0xffffffff, deadline) == ERR_OK) ringDispatch(sys.pending());
    batch();
  }
}
