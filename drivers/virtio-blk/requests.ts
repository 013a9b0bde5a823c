/**
 * Requests of a virtio block device on its queue: a header for the device, data, a status from the device (virtio 1.2, 5.2.6).
 *
 * Request slot i owns descriptors 3i, 3i+1, 3i+2 and 32 bytes of header and status memory behind the queue (16 for the device, status byte at 16), so
 * nothing is allocated while it runs.
 */
import { DESC_NEXT, DESC_WRITE, QUEUE_PAGES, Virtqueue, queueOpen } from '../lib/virtio';
import { Structure } from '../lib/pci';

const MAX_REQUESTS: u32 = 64;
const HEADERS: usize = <usize>QUEUE_PAGES << 12;

let queue: Virtqueue = changetype<Virtqueue>(0);
let memory_: usize = 0;
let physical: u32 = 0;
/** Requests that fit. */
export let requestSlots: u32 = 0;

/** Opens queue 0 in `pages` of memory at `va`, physically contiguous at `paddr`. False: no usable queue. */
export function requestsInit(va: usize, paddr: u32, pages: u32, notify: Structure): bool {
  if (pages < QUEUE_PAGES + 1) return false;
  queue = queueOpen(0, va, paddr, 4, notify);
  if (changetype<usize>(queue) == 0) return false;
  memory_ = va + HEADERS; physical = paddr + <u32>HEADERS;
  requestSlots = min(queue.size / 3, MAX_REQUESTS);
  return true;
}
/** A request slot that is not in flight, or -1. */
export function freeRequest(): i32 {
  if (queue.outstanding >= requestSlots) return -1;
  for (let n: u32 = 0; n < requestSlots; n++) if (!queue.has(n * 3)) return <i32>n;
  return -1;
}
/** 16 bytes for the device in front of the data. */
export function requestHeader(n: u32): usize { return memory_ + (<usize>n << 5); }
/** What the device wrote behind the data. */
export function requestStatus(n: u32): u32 { return load<u8>(requestHeader(n), 16); }
/** Describes request n: its header, `bytes` at physical address `data` (none if 0), its status. */
export function describeRequest(n: u32, data: u32, bytes: u32, deviceWrites: bool): void {
  const header = physical + (n << 5), first = n * 3;
  store<u8>(requestHeader(n), 0xff, 16);
  if (bytes != 0) {
    queue.describe(first, header, 16, DESC_NEXT, first + 1);
    queue.describe(first + 1, data, bytes, deviceWrites ? DESC_NEXT | DESC_WRITE : DESC_NEXT, first + 2);
  } else queue.describe(first, header, 16, DESC_NEXT, first + 2);
  queue.describe(first + 2, header + 16, 1, DESC_WRITE, 0);
}
/** What `describeRequest` wrote, read back from the descriptors: request n moves `bytes` bytes at `data` that way. */
export function describes(n: u32, data: u32, bytes: u32, deviceWrites: bool): bool {
  const d = queue.at + (<usize>n * 48), own = physical + (n << 5), last = d + 32;
  if (load<u32>(d) != own || load<u32>(d, 4) != 0 || load<u32>(d, 8) != <u32>16 || load<u16>(d, 12) != DESC_NEXT) return false;
  if (load<u16>(d, 14) != <u16>(n * 3 + (bytes == 0 ? 2 : 1))) return false;
  if (bytes != 0) {
    const m = d + 16;
    if (load<u32>(m) != data || load<u32>(m, 4) != 0 || load<u32>(m, 8) != bytes || load<u16>(m, 12) != (deviceWrites ? DESC_NEXT | DESC_WRITE : DESC_NEXT) || load<u16>(m, 14) != <u16>(n * 3 + 2)) return false;
  }
  return load<u32>(last) == own + 16 && load<u32>(last, 4) == 0 && load<u32>(last, 8) == <u32>1 && load<u16>(last, 12) == DESC_WRITE;
}
/** Queues request n, which is described. The device learns of it by `kick`. */
export function queueRequest(n: u32): void { queue.give(n * 3); }
export function kick(): void { queue.kick(); }
/** The next request that the device finished (its slot is free from now on), or -1. Only heads of requests are ever with the device. */
export function collect(): i32 {
  const head = queue.take();
  return head < 0 ? -1 : head / 3;
}
