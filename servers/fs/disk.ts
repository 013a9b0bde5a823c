/**
 * The core's device: block transfers -> entries of the BLOCK ring. fs owns the ring, the driver attaches, dies and attaches again; entries
 * that a dead driver had taken are posted again by servers/lib/ring. What does not fit into the ring waits in a queue here, which is larger
 * than the cache ever lets transfers grow (MAX_TRANSFERS and one for each fiber).
 *
 * Nobody waits in here: completions come from `diskAnswers` in the event loop, which wakes everybody who pauses.
 */
import { BLOCK_FLUSH, BLOCK_INFO, BLOCK_READ, BLOCK_STATUS_IO_ERROR, BLOCK_WRITE, RING_FLAGS_READONLY, RING_SLOTS } from 'kintsugi/protocols';
import { RING_CANCELLED, RING_TIMEOUT, RingOwner } from '../lib/ring';
import * as sys from '../lib/sys';
import { MAX_TRANSFERS, completed, probing, setMaxRun, slotBlock } from './cache';
import { DEVICE_FLUSH, DEVICE_READ, deviceShift, reserve } from './host';

/** A transfer: waiting in the queue, or in flight under its ring slot. */
@unmanaged @final class Transfer { operation: u32; block: u32; count: u32; slot: u32 }
const TRANSFER: usize = 16;

let ring: RingOwner = changetype<RingOwner>(0);
let queue: usize = 0;
let queueMask: u32 = 0;
let head: u32 = 0;
let tail: u32 = 0;
let flying: usize = 0; // by ring slot
let posted: bool = false;
export let deviceBytes: u64 = 0;
export let deviceReadOnly: bool = false;
export let maxSectors: u32 = 2048;
/** Answers of the driver that named another number of sectors than asked. */
export let oddAnswers: u32 = 0;

export const DISK_MEMORY: u32 = 2048 * 16 + RING_SLOTS * 16 + 256;
export function diskInit(owner: RingOwner): bool {
  ring = owner;
  queueMask = 2 * MAX_TRANSFERS - 1;
  queue = reserve(<usize>(2 * MAX_TRANSFERS) * TRANSFER);
  flying = reserve(<usize>RING_SLOTS * TRANSFER);
  return queue != 0 && flying != 0;
}
const ATTACH_NS: u64 = 5_000_000_000;
/** As `diskInfo` would find it: {bytes u64, read-only, most sectors in a transfer} at `p`. */
export function diskKnown(p: usize): void { deviceBytes = load<u64>(p); deviceReadOnly = load<u32>(p, 8) != 0; maxSectors = load<u32>(p, 12); }
/** Blocks the fiber until a driver has attached and told the size of its device. False: it refused, or there is none after 5 s. */
export function diskInfo(): bool {
  const n = ring.claimWait(BLOCK_INFO, RING_FLAGS_READONLY);
  if (n < 0) return false;
  const status = ring.postWait(n, sys.clock() + ATTACH_NS);
  if (status == RING_TIMEOUT || status == RING_CANCELLED) return false;
  const a = ring.slot(n), low = a.r0, high = a.r1, flags = a.r2, most = a.r3;
  ring.release(n);
  if (status != 0 || high >= 0x00800000) return false; // more than 2^64 bytes
  deviceBytes = (<u64>low | <u64>high << 32) << 9;
  deviceReadOnly = (flags & 1) != 0;
  maxSectors = most == 0 ? 8 : most;
  return true;
}
/** After mount, when the block size is known. */
export function diskTune(): void { setMaxRun(maxSectors >> (deviceShift - 9)); }

function at(n: u32): Transfer { return changetype<Transfer>(queue + <usize>(n & queueMask) * TRANSFER); }
function inFlight(n: u32): Transfer { return changetype<Transfer>(flying + <usize>n * TRANSFER); }

export function diskSubmit(operation: u32, block: u32, count: u32, slot: u32): void {
  const t = at(tail);
  t.operation = operation; t.block = block; t.count = count; t.slot = slot;
  tail++;
  pump();
}
/** Posts what the ring has room for. The doorbell rings later, once: `diskKnock`. */
function pump(): void {
  while (head != tail) {
    const t = at(head);
    const n = ring.claim(t.operation == DEVICE_READ ? BLOCK_READ : t.operation == DEVICE_FLUSH ? BLOCK_FLUSH : BLOCK_WRITE, t.operation == DEVICE_READ ? RING_FLAGS_READONLY : 0);
    if (n < 0) return;
    head++;
    const sector = <u64>t.block << (deviceShift - 9);
    ring.arg(n, 0, <u32>sector); ring.arg(n, 1, <u32>(sector >> 32)); ring.arg(n, 2, t.count << (deviceShift - 9)); ring.arg(n, 3, t.slot << deviceShift);
    if (t.operation != DEVICE_FLUSH && !asked(t, n)) unreachable(); // wrong sectors would be somebody else's data
    ring.slot(n).cookie = 1;
    const f = inFlight(n);
    f.operation = t.operation; f.block = t.block; f.count = t.count; f.slot = t.slot;
    ring.post(n);
    posted = true;
  }
}
/** The request in slot n moves the blocks whose cache slots these are, no others: by the slot table, which the transfer was not made from. */
function asked(t: Transfer, n: u32): bool {
  const shift = deviceShift - 9, first = <u32>((<u64>ring.argOf(n, 0) | <u64>ring.argOf(n, 1) << 32) >> shift), count = ring.argOf(n, 2) >> shift, slot = ring.argOf(n, 3) >> deviceShift;
  if (first != t.block || count != t.count || slot != t.slot) return false;
  return probing || (slotBlock(slot) == first && slotBlock(slot + count - 1) == first + count - 1);
}
/** Rings the driver if something was posted since the last time. Before every wait. */
export function diskKnock(): void {
  if (!posted) return;
  posted = false;
  ring.knock();
}
/** From the event loop, after the ring was reaped: hands all answers to the cache. True if there were any. */
export function diskAnswers(): bool {
  let any = false;
  while (true) {
    const n = ring.poll();
    if (n < 0) break;
    any = true;
    const s = ring.slot(n), f = inFlight(n);
    let status = s.status;
    if (status == 0 && f.operation != DEVICE_FLUSH && s.r0 != f.count << (deviceShift - 9)) { status = BLOCK_STATUS_IO_ERROR; oddAnswers++; }
    ring.release(n);
    completed(f.slot, f.count, f.operation, status);
  }
  if (any) pump();
  return any;
}
