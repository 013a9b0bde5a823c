/**
 * Driver of a virtio network device (virtio 1.2, section 5.1; modern PCI transport): worker of the two rings of net, `transmit` (0) and `receive` (1).
 *
 * Frames move by DMA between the device and the packet buffers of net; the driver has no mapping of them, only their physical address, and checks every
 * range of every entry against it. On attach it resets the device (which ends all DMA of a dead predecessor), sees what that had done (heir.ts) and only then
 * announces its epoch, upon which net posts again what was taken: that is answered as done, or goes to the device again.
 *
 * Each frame is two descriptors: the virtio_net_hdr (5.1.6, 12 bytes) in own memory, then the frame. Mergeable buffers are not negotiated: a buffer
 * holds any frame of the largest MTU. Work is done in batches: one notification of the device for each queue, one doorbell for each ring, device
 * interrupts off meanwhile. The interrupt of the transmit queue is asked for only while half of it is under way;
 * what the device sends later than at once is found at the next wakeup.
 * A change of the configuration (link, MTU) is an interrupt of its own; it answers the entry that waits for one (NETDEV.watch).
 * That a frame was sent is nothing to wake net for: it is rung when SENT_BATCH answers have come together, when it asked (a doorbell without new entries), and else
 * finds them when it looks at the ring for its own reasons.
 */
import { mmioRead16, mmioRead32 } from 'kintsugi/x86';
import {
  NETDEV_BUFFER_BYTES, NETDEV_COUNTERS, NETDEV_FLAGS_CHECKSUMS, NETDEV_FLAGS_CHECKSUM_VERIFIED, NETDEV_FLAGS_FILL_CHECKSUM, NETDEV_FLAGS_LINK, NETDEV_HEADROOM, NETDEV_INFO, NETDEV_RECEIVE,
  NETDEV_STATUS_IO_ERROR, NETDEV_STATUS_OK, NETDEV_STATUS_RANGE, NETDEV_STATUS_UNSUPPORTED, NETDEV_TRANSMIT, NETDEV_WATCH, REGION_DMA, RING_SLOTS, SERVERS_VIRTIO_NET,
} from 'kintsugi/protocols';
import { mustAlloc } from '../../servers/lib/alloc';
import { line } from '../../servers/lib/fmt';
import { inRange } from '../../servers/lib/mem';
import * as log from '../../servers/lib/log';
import { Request, RingWorker, ringWorker } from '../../servers/lib/ring';
import { HEIR_BYTES, Heir, heirBegins, heirOf } from './heir';
import { serverInit } from '../../servers/lib/server';
import { needRegion } from '../../servers/lib/startup';
import { bindInterrupt, config, configurations, deviceOpen, deviceServe, distrust, enableInterrupt, features, notify, refuse } from '../lib/device';
import { DESC_NEXT, DESC_WRITE, QUEUE_PAGES, Virtqueue, configGeneration, queueOpen, virtioGiveUp, virtioGo } from '../lib/virtio';

const FEATURE_CSUM: u32 = 1 << 0; // the device fills checksums
const FEATURE_GUEST_CSUM: u32 = 1 << 1; // it may say that it checked them
const FEATURE_MTU: u32 = 1 << 3;
const FEATURE_MAC: u32 = 1 << 5;
const FEATURE_STATUS: u32 = 1 << 16;
const WANTED: u32 = FEATURE_CSUM | FEATURE_GUEST_CSUM | FEATURE_MTU | FEATURE_MAC | FEATURE_STATUS;
// struct virtio_net_config, 5.1.4
const CONFIG_MAC: usize = 0, CONFIG_STATUS: usize = 6, CONFIG_MTU: usize = 10;
const STATUS_LINK_UP: u32 = 1;
// struct virtio_net_hdr, 5.1.6
const HEADER_BYTES: u32 = 12;
const HEADER_FLAGS: usize = 0, HEADER_CSUM_START: usize = 6, HEADER_CSUM_OFFSET: usize = 8, HEADER_BUFFERS: usize = 10;
const NEEDS_CSUM: u32 = 1, DATA_VALID: u32 = 2;

const HEADER_STRIDE: u32 = 16;
const MIN_FRAME: u32 = 14;
const MAX_FRAME: u32 = NETDEV_BUFFER_BYTES - NETDEV_HEADROOM;
const SENT_BATCH: u32 = RING_SLOTS / 4;
const RECEIVE_QUEUE: u32 = 0, TRANSMIT_QUEUE: u32 = 1;
const FAULT_REFUSED: u32 = 0x4e4554;

/** One direction: a ring, the queue that serves it, and what is in flight. Chain n owns descriptors 2n, 2n+1 and header n. */
@unmanaged @final class Lane {
  queue: Virtqueue; ring: RingWorker; heir: Heir;
  chains: u32; cursor: u32; headers: usize; headersPhysical: u32;
  slots: usize; // u8[chains]: ring slot of the chain
  rooms: usize; // u16[chains]: bytes for the frame
  fresh: Request; waiting: bool; // `fresh` was taken but found no free chain
  answered: bool; // something that its owner waits for
  quiet: u32; // answers of which it will hear with others
  took: bool; // entries, in this round

  /** A chain that the device does not have, or -1. */
  freeChain(): i32 {
    if (this.queue.outstanding >= this.chains) return -1;
    for (let k: u32 = 0; k < this.chains; k++) { // the device gives them back in order, mostly
      const n = this.cursor;
      if (++this.cursor == this.chains) this.cursor = 0;
      if (!this.queue.has(n << 1)) return <i32>n;
    }
    return -1;
  }
  header(n: u32): usize { return this.headers + <usize>(n * HEADER_STRIDE); }
  give(n: u32, r: Request, frame: u32, bytes: u32, deviceWrites: bool): void {
    const flags: u16 = deviceWrites ? DESC_WRITE : 0;
    this.queue.describe(n << 1, this.headersPhysical + n * HEADER_STRIDE, HEADER_BYTES, flags | DESC_NEXT, (n << 1) + 1);
    this.queue.describe((n << 1) + 1, frame, bytes, flags, 0);
    store<u8>(this.slots + n, <u8>r.slot); store<u16>(this.rooms + (<usize>n << 1), <u16>bytes);
    this.heir.given(n, r.id, r.slot, this.queue.taken);
    this.queue.give(n << 1);
  }
  complete(slot: u32, status: u32, r0: u32, r1: u32, r2: u32, r3: u32): void {
    this.ring.complete(slot, <i32>status, r0, r1, r2, r3);
    this.answered = true;
  }
}
const LANES_DMA: u32 = QUEUE_PAGES * 2; // first page behind the queues: headers of both lanes, and what a successor wants to know
const HEADERS_BYTES: u32 = 2 * RING_SLOTS * HEADER_STRIDE;

let transmit: Lane = changetype<Lane>(0);
let receive: Lane = changetype<Lane>(0);
let packets: u32 = 0, packetBytes: u32 = 0; // physical address and size of net's packet memory
let framesOut: u32 = 0, framesIn: u32 = 0, refusedFrames: u32 = 0, badAnswers: u32 = 0;

function lane(queue: u32, at: usize, physical: u32, n: u32): Lane {
  const l = changetype<Lane>(mustAlloc(<u32>offsetof<Lane>())), base = at + <usize>(LANES_DMA << 12), own = base + <usize>(n * RING_SLOTS * HEADER_STRIDE);
  l.heir = heirOf(n, base + HEADERS_BYTES, at + <usize>((n * QUEUE_PAGES) << 12), own, HEADER_STRIDE);
  memory.fill(own, 0, RING_SLOTS * HEADER_STRIDE);
  l.queue = queueOpen(queue, at + <usize>((n * QUEUE_PAGES) << 12), physical + ((n * QUEUE_PAGES) << 12), 2, notify);
  if (changetype<usize>(l.queue) == 0) return changetype<Lane>(0);
  l.chains = min(l.queue.size >> 1, RING_SLOTS);
  heirBegins(l.heir, l.queue.size);
  l.headers = own; l.headersPhysical = physical + <u32>(own - at);
  l.slots = mustAlloc(RING_SLOTS); l.rooms = mustAlloc(RING_SLOTS << 1);
  l.fresh = changetype<Request>(mustAlloc(<u32>offsetof<Request>()));
  return l;
}
function start(): void {
  if (!deviceOpen(FAULT_REFUSED, 12, WANTED)) return;
  const own = needRegion(REGION_DMA), theirs = needRegion(REGION_DMA + 1);
  packets = theirs.flags; packetBytes = theirs.pages << 12;
  if (own.pages < LANES_DMA + 1 || HEADERS_BYTES + HEIR_BYTES > 4096) { refuse('too little queue memory in the manifest'); return; }
  receive = lane(RECEIVE_QUEUE, own.va, own.flags, 0);
  transmit = lane(TRANSMIT_QUEUE, own.va, own.flags, 1);
  if (changetype<usize>(receive) == 0 || changetype<usize>(transmit) == 0) { virtioGiveUp(); refuse('no usable queues'); return; }
  virtioGo();
}

/** A buffer of net: `bytes` of frame behind the headroom at `offset`. */
function inside(offset: u32, bytes: u32): bool { return bytes >= MIN_FRAME && bytes <= MAX_FRAME && inRange(offset, NETDEV_HEADROOM + bytes, packetBytes); }

let macLow: u32 = 0, macHigh: u32 = 0, mtuAndFlags: u32 = 0;
/** Configuration is several reads: again when it changed between (4.1.4.3.1). */
function readConfig(): void {
  for (let n = 0; n < 16; n++) {
    const generation = configGeneration();
    macLow = 0; macHigh = 0;
    if ((features & FEATURE_MAC) != 0) { macLow = mmioRead32(config.va + CONFIG_MAC); macHigh = mmioRead16(config.va + CONFIG_MAC + 4); }
    else { macLow = 0x00545202; macHigh = 0x0100; } // locally administered: 02:52:54:00:00:01
    let mtu: u32 = (features & FEATURE_MTU) != 0 ? mmioRead16(config.va + CONFIG_MTU) : 1500;
    if (mtu < 68 || mtu > MAX_FRAME - MIN_FRAME) mtu = 1500; // RFC 791: every net passes 68
    const up = (features & FEATURE_STATUS) == 0 || (mmioRead16(config.va + CONFIG_STATUS) & STATUS_LINK_UP) != 0;
    const sums = (features & FEATURE_CSUM) != 0;
    mtuAndFlags = mtu | ((up ? NETDEV_FLAGS_LINK : 0) | (sums ? NETDEV_FLAGS_CHECKSUMS : 0)) << 16;
    if (configGeneration() == generation) return;
  }
}
// NETDEV.watch: one at most is parked; a second one takes its place.
let watching: bool = false, watchSlot: u32 = 0, watchLow: u32 = 0, watchHigh: u32 = 0, watchRest: u32 = 0;
let configurationsSeen: u32 = 0;
function watch(r: Request): void {
  if (watching) receive.complete(watchSlot, NETDEV_STATUS_OK, macLow, macHigh, mtuAndFlags, transmit.chains);
  watching = true; watchSlot = r.slot; watchLow = r.a0; watchHigh = r.a1; watchRest = r.a2;
  readConfig();
  lookAtWatch();
}
/** Whoever watches hears what is there, if that is not what it knows. */
function lookAtWatch(): void {
  if (!watching || (watchLow == macLow && watchHigh == macHigh && watchRest == mtuAndFlags)) return;
  watching = false;
  receive.complete(watchSlot, NETDEV_STATUS_OK, macLow, macHigh, mtuAndFlags, transmit.chains);
}
/** One entry of the transmit ring: to the device, or answered at once. False: no free chain now. */
function send(r: Request): bool {
  switch (r.op) {
    case NETDEV_TRANSMIT: break;
    case NETDEV_INFO: readConfig(); transmit.complete(r.slot, NETDEV_STATUS_OK, macLow, macHigh, mtuAndFlags, transmit.chains); return true;
    case NETDEV_COUNTERS:
      if (r.a0 == 0) transmit.complete(r.slot, NETDEV_STATUS_OK, framesOut, framesIn, refusedFrames, badAnswers + transmit.queue.lies + receive.queue.lies);
      else transmit.complete(r.slot, NETDEV_STATUS_RANGE, 0, 0, 0, 0);
      return true;
    default: transmit.complete(r.slot, NETDEV_STATUS_UNSUPPORTED, 0, 0, 0, 0); return true;
  }
  const fill = (r.a2 & NETDEV_FLAGS_FILL_CHECKSUM) != 0, begin = r.a3 & 0xffff, to = r.a3 >> 16;
  if (!inside(r.a0, r.a1) || (fill && ((features & FEATURE_CSUM) == 0 || begin + to + 2 > r.a1))) { refusedFrames++; transmit.complete(r.slot, NETDEV_STATUS_RANGE, 0, 0, 0, 0); return true; }
  if (transmit.heir.did(r.slot, r.id)) { framesOut++; transmit.complete(r.slot, NETDEV_STATUS_OK, 0, 0, 0, 0); return true; }
  const n = transmit.freeChain();
  if (n < 0) return false;
  const h = transmit.header(n);
  memory.fill(h, 0, HEADER_BYTES);
  if (fill) { store<u8>(h, <u8>NEEDS_CSUM, HEADER_FLAGS); store<u16>(h, <u16>begin, HEADER_CSUM_START); store<u16>(h, <u16>to, HEADER_CSUM_OFFSET); }
  transmit.give(n, r, packets + r.a0 + NETDEV_HEADROOM, r.a1, false);
  return true;
}
/** One entry of the receive ring: an empty buffer for the device. */
function offer(r: Request): bool {
  if (r.op == NETDEV_WATCH) { watch(r); return true; }
  if (r.op != NETDEV_RECEIVE) { receive.complete(r.slot, NETDEV_STATUS_UNSUPPORTED, 0, 0, 0, 0); return true; }
  if (r.a1 < NETDEV_HEADROOM || !inside(r.a0, r.a1 - NETDEV_HEADROOM)) { receive.complete(r.slot, NETDEV_STATUS_RANGE, 0, 0, 0, 0); return true; }
  if (receive.heir.did(r.slot, r.id)) {
    const length = receive.heir.lengthOf(r.slot);
    if (length >= HEADER_BYTES + MIN_FRAME && length <= HEADER_BYTES + r.a1 - NETDEV_HEADROOM) { received(r.slot, length, receive.heir.flagsOf(r.slot)); return true; }
  }
  const n = receive.freeChain();
  if (n < 0) return false;
  receive.give(n, r, packets + r.a0 + NETDEV_HEADROOM, r.a1 - NETDEV_HEADROOM, true);
  return true;
}
function received(slot: u32, length: u32, flags: u32): void {
  framesIn++;
  receive.complete(slot, NETDEV_STATUS_OK, length - HEADER_BYTES, (features & FEATURE_GUEST_CSUM) != 0 && (flags & (NEEDS_CSUM | DATA_VALID)) != 0 ? NETDEV_FLAGS_CHECKSUM_VERIFIED : 0, 0, 0);
}
function collectSent(): void {
  while (true) {
    const head = transmit.queue.take();
    if (head < 0) return;
    framesOut++;
    transmit.ring.complete(load<u8>(transmit.slots + (head >> 1)), <i32>NETDEV_STATUS_OK, 0, 0, 0, 0);
    transmit.quiet++;
  }
}
function collectReceived(): void {
  while (true) {
    const head = receive.queue.take();
    if (head < 0) return;
    const n = <u32>head >> 1, slot = load<u8>(receive.slots + n), h = receive.header(n), length = receive.queue.length;
    if (length < HEADER_BYTES + MIN_FRAME || length > HEADER_BYTES + <u32>load<u16>(receive.rooms + (<usize>n << 1)) || load<u16>(h, HEADER_BUFFERS) > 1) {
      badAnswers++;
      receive.complete(slot, NETDEV_STATUS_IO_ERROR, 0, 0, 0, 0);
      continue;
    }
    received(slot, length, load<u8>(h, HEADER_FLAGS));
  }
}
/** Everything there is to do, until nothing is left; then interrupts are asked for again. */
function pump(): void {
  transmit.queue.interrupts(false);
  receive.queue.interrupts(false);
  if (configurationsSeen != configurations) { configurationsSeen = configurations; readConfig(); lookAtWatch(); }
  while (true) {
    collectReceived();
    collectSent();
    // A used ring that names what the card does not have has lost what it does have: a buffer that never comes back would keep all behind it waiting.
    if ((receive.queue.lies | transmit.queue.lies) != 0) { receive.heir.disown(); transmit.heir.disown(); distrust('its used ring names buffers that it does not have'); }
    receive.took = receive.answered; transmit.took = false;
    while (receive.waiting || receive.ring.next(receive.fresh)) { receive.took = true; receive.waiting = !offer(receive.fresh); if (receive.waiting) break; }
    while (transmit.waiting || transmit.ring.next(transmit.fresh)) { transmit.took = true; transmit.waiting = !send(transmit.fresh); if (transmit.waiting) break; }
    receive.queue.kick();
    transmit.queue.kick();
    collectSent(); // most devices have sent them by now
    if (receive.answered) { receive.answered = false; receive.ring.knock(); }
    if (transmit.answered || transmit.quiet >= SENT_BATCH || (transmit.quiet != 0 && !receive.took && !transmit.took)) { transmit.answered = false; transmit.quiet = 0; transmit.ring.knock(); }
    receive.queue.interrupts(true);
    if (transmit.queue.outstanding >= transmit.chains / 2) transmit.queue.interrupts(true);
    if (!receive.queue.ready() && !transmit.queue.ready()) return;
    receive.queue.interrupts(false);
    transmit.queue.interrupts(false);
  }
}

export function main(page: usize): void {
  serverInit(page);
  start();
  bindInterrupt();
  transmit.ring = ringWorker(0); // announce this epoch: only now, after the reset
  receive.ring = ringWorker(1);
  enableInterrupt();
  readConfig();
  log.info(line().lit("virtio-net: MTU ").dec(mtuAndFlags & 0xffff).lit((mtuAndFlags >> 16 & NETDEV_FLAGS_LINK) != 0 ? ", link up" : ", link down").lit((mtuAndFlags >> 16 & NETDEV_FLAGS_CHECKSUMS) != 0 ? ", checksums" : ""));
  deviceServe(SERVERS_VIRTIO_NET, pump);
}
