/**
 * Frames to be sent. A Packet stands for one buffer of NETDEV.bufferBytes in memory that the device reads; the Ethernet header begins at FRAME_AT, so that the IP header
 * lies on a multiple of 4 (the buffers themselves begin 2 bytes behind one).
 *
 *   taken -> queued (goes out after the commit of the batch) -> with the host until `transmitted` -> free
 *   taken -> kept by ARP until the neighbour is known -> queued
 */
import { NETDEV_BUFFER_BYTES, NETDEV_HEADROOM } from 'kintsugi/protocols';
import { C_PACKETS_EXHAUSTED, count } from './counters';
import { reserve } from './host';

export const BUFFER_SKEW: usize = 2;
export const FRAME_AT: usize = NETDEV_HEADROOM; // from the beginning of the buffer
export const ETHERNET_BYTES: u32 = 14;
export const MAX_FRAME: u32 = NETDEV_BUFFER_BYTES - <u32>BUFFER_SKEW - NETDEV_HEADROOM;
/** Packets that bulk data leaves to answers, ARP and the like. */
export const RESERVED: u32 = 8;

@unmanaged @final export class Packet {
  next: Packet; frame: usize; bytes: u32; flags: u32 /* NETDEV.flags.fillChecksum */; sumStart: u32; sumOffset: u32;
  state: u32; loop: bool; // to the loopback interface
  hop: u32; // v4 word of the next hop while ARP keeps it
}
const FREE: u32 = 0, TAKEN: u32 = 1, WITH_HOST: u32 = 2;
const NONE: Packet = changetype<Packet>(0);
let buffers: usize = 0;
let packets: usize = 0;
let total: u32 = 0;
let freeFirst: Packet = changetype<Packet>(0);
export let packetsFree: u32 = 0;
let queueFirst: Packet = changetype<Packet>(0);
let queueLast: Packet = changetype<Packet>(0);
let loopFirst: Packet = changetype<Packet>(0);
let loopLast: Packet = changetype<Packet>(0);
const PACKET_BYTES: usize = (offsetof<Packet>() + 15) & ~15;

export function packetsPrivateBytes(count_: u32): u32 { return count_ * <u32>PACKET_BYTES + 64; }
/** `at`: `count_` buffers of NETDEV.bufferBytes, on a multiple of 4. */
export function packetsInit(at: usize, count_: u32): void {
  buffers = at + BUFFER_SKEW; total = count_; packetsFree = count_;
  queueFirst = NONE; queueLast = NONE; loopFirst = NONE; loopLast = NONE; freeFirst = NONE;
  packets = reserve(<usize>count_ * PACKET_BYTES);
  for (let n = <i32>count_ - 1; n >= 0; n--) {
    const p = changetype<Packet>(packets + <usize>n * PACKET_BYTES);
    p.frame = buffers + <usize>n * NETDEV_BUFFER_BYTES + FRAME_AT;
    p.next = freeFirst;
    freeFirst = p;
  }
}
export function packetsTotal(): u32 { return total; }
/** A packet for something that must not starve; null (counted) when there is none. */
export function take(): Packet {
  const p = freeFirst;
  if (p == NONE) { count(C_PACKETS_EXHAUSTED); return p; }
  freeFirst = p.next;
  packetsFree--;
  p.state = TAKEN; p.next = NONE; p.bytes = 0; p.flags = 0; p.sumStart = 0; p.sumOffset = 0; p.loop = false; p.hop = 0;
  return p;
}
export function drop(p: Packet): void { p.state = FREE; p.next = freeFirst; freeFirst = p; packetsFree++; }
/** Goes out after the commit. */
export function enqueue(p: Packet): void {
  p.next = NONE;
  if (p.loop) {
    if (loopFirst == NONE) loopFirst = p; else loopLast.next = p;
    loopLast = p;
    return;
  }
  if (queueFirst == NONE) queueFirst = p; else queueLast.next = p;
  queueLast = p;
}
export function nextQueued(): Packet {
  const p = queueFirst;
  if (p != NONE) { queueFirst = p.next; p.state = WITH_HOST; }
  return p;
}
export function nextLooped(): Packet {
  const p = loopFirst;
  if (p != NONE) loopFirst = p.next;
  return p;
}
export function looped(): bool { return loopFirst != NONE; }
/** The packet whose frame the host gives back; null for an address that is none, or of a packet that is not with the host (the host distrusts the driver, the core the host). */
export function packetOf(frame: usize): Packet {
  const offset = frame - buffers - FRAME_AT;
  if (frame < buffers + FRAME_AT || offset % NETDEV_BUFFER_BYTES != 0 || offset / NETDEV_BUFFER_BYTES >= total) return NONE;
  const p = changetype<Packet>(packets + offset / NETDEV_BUFFER_BYTES * PACKET_BYTES);
  return p.state == WITH_HOST ? p : NONE;
}
