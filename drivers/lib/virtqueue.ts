/**
 * Split virtqueue (virtio 1.2, section 2.7) of requests that have three parts each: a header for the device, data, a status from the device.
 *
 * Request slot i owns descriptors 3i, 3i+1, 3i+2 and 32 bytes of header and status memory, so nothing is allocated while it runs and an id
 * that the device returns is right or wrong at a glance. The device is not trusted: ids must name a head of a request in flight, and one
 * `collect` takes at most as many answers as are in flight.
 *
 *   page 0: descriptors {address u64, length u32, flags u16, next u16} x size (<= 256)
 *   page 1: available {flags u16, index u16, ring u16[size]}      page 2: used {flags u16, index u16, {id u32, length u32}[size]}
 *   page 3..: headers, 32 bytes each: 16 for the device, status byte at 16
 */
import { barrier, mmioRead16, mmioRead32, mmioRead8, mmioWrite16, mmioWrite32, mmioWrite8 } from 'kintsugi/x86';
import { Structure } from './pci';

// Common configuration structure, 4.1.4.3
const DEVICE_FEATURE_SELECT: usize = 0, DEVICE_FEATURE: usize = 4, DRIVER_FEATURE_SELECT: usize = 8, DRIVER_FEATURE: usize = 12;
const CONFIG_MSIX: usize = 16, DEVICE_STATUS: usize = 20, CONFIG_GENERATION: usize = 21, QUEUE_SELECT: usize = 22, QUEUE_SIZE: usize = 24, QUEUE_MSIX: usize = 26;
const QUEUE_ENABLE: usize = 28, QUEUE_NOTIFY_OFF: usize = 30, QUEUE_DESC: usize = 32, QUEUE_DRIVER: usize = 40, QUEUE_DEVICE: usize = 48;
export const COMMON_BYTES: u32 = 56;
// Device status, 2.1
const ACKNOWLEDGE: u32 = 1, DRIVER: u32 = 2, DRIVER_OK: u32 = 4, FEATURES_OK: u32 = 8, FAILED: u32 = 128;
const NO_VECTOR: u32 = 0xffff;
const DESC_NEXT: u16 = 1, DESC_WRITE: u16 = 2;
export const FEATURE_VERSION_1_HIGH: u32 = 1; // bit 32
const RESET_TRIES: u32 = 1000000;

let common: usize = 0;
let doorbell: usize = 0;
let memory_: usize = 0;
let physical: u32 = 0;
let size: u32 = 0;
let used: u32 = 0; // index up to which answers were taken
let available: u32 = 0;
/** Requests that fit, requests in flight, and what the device said that cannot be. */
export let requestSlots: u32 = 0;
export let outstanding: u32 = 0;
export let lies: u32 = 0;
const inFlight: usize = memory.data(128, 4); // one byte per request slot

const HEADERS: usize = 3 * 4096;
export const QUEUE_PAGES: u32 = 4; // at least

/** Writes status 0 and reads until the device confirms it: it does no DMA afterwards (2.1.2). False: it never does. */
export function virtioReset(at: Structure): bool {
  common = at.va;
  mmioWrite8(common + DEVICE_STATUS, 0);
  for (let n: u32 = 0; n < RESET_TRIES; n++) if (mmioRead8(common + DEVICE_STATUS) == 0) return true;
  return false;
}
/** Features 0-31 that the device offers, after reset. */
export function virtioOffered(): u32 {
  mmioWrite8(common + DEVICE_STATUS, ACKNOWLEDGE);
  mmioWrite8(common + DEVICE_STATUS, ACKNOWLEDGE | DRIVER);
  mmioWrite32(common + DEVICE_FEATURE_SELECT, 0);
  return mmioRead32(common + DEVICE_FEATURE);
}
/** Accepts `low` of them and VERSION_1. False: the device does not go along. */
export function virtioAccept(low: u32): bool {
  mmioWrite32(common + DEVICE_FEATURE_SELECT, 1);
  if ((mmioRead32(common + DEVICE_FEATURE) & FEATURE_VERSION_1_HIGH) == 0) return false;
  mmioWrite32(common + DRIVER_FEATURE_SELECT, 0); mmioWrite32(common + DRIVER_FEATURE, low);
  mmioWrite32(common + DRIVER_FEATURE_SELECT, 1); mmioWrite32(common + DRIVER_FEATURE, FEATURE_VERSION_1_HIGH);
  mmioWrite8(common + DEVICE_STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK);
  return (mmioRead8(common + DEVICE_STATUS) & FEATURES_OK) != 0;
}
function write64(at: usize, value: u32): void { mmioWrite32(at, value); mmioWrite32(at + 4, 0); }
/** Sets queue 0 up in `pages` of memory at `va`, physically contiguous at `paddr`, and starts the device. False: no usable queue. */
export function virtioStart(va: usize, paddr: u32, pages: u32, notify: Structure): bool {
  mmioWrite16(common + CONFIG_MSIX, NO_VECTOR);
  mmioWrite16(common + QUEUE_SELECT, 0);
  size = mmioRead16(common + QUEUE_SIZE);
  if (size > 256) size = 256;
  while ((size & (size - 1)) != 0) size &= size - 1; // a power of two
  if (size < 4 || pages < QUEUE_PAGES) return false;
  requestSlots = size / 3;
  if (requestSlots > 64) requestSlots = 64;
  const offset = mmioRead16(common + QUEUE_NOTIFY_OFF) * notify.multiplier;
  if (notify.bytes < 2 || offset > notify.bytes - 2) return false;
  doorbell = notify.va + offset;
  memory_ = va; physical = paddr; used = 0; available = 0; outstanding = 0;
  memory.fill(va, 0, <usize>pages << 12);
  memory.fill(inFlight, 0, 128);
  mmioWrite16(common + QUEUE_SIZE, size);
  mmioWrite16(common + QUEUE_MSIX, NO_VECTOR);
  write64(common + QUEUE_DESC, paddr); write64(common + QUEUE_DRIVER, paddr + 4096); write64(common + QUEUE_DEVICE, paddr + 8192);
  barrier();
  mmioWrite16(common + QUEUE_ENABLE, 1);
  mmioWrite8(common + DEVICE_STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
  return true;
}
export function virtioGiveUp(): void { mmioWrite8(common + DEVICE_STATUS, FAILED); }
export function configGeneration(): u32 { return mmioRead8(common + CONFIG_GENERATION); }

/** A request slot that is not in flight, or -1. */
export function freeRequest(): i32 {
  if (outstanding >= requestSlots) return -1;
  for (let n: u32 = 0; n < requestSlots; n++) if (load<u8>(inFlight + n) == 0) return <i32>n;
  return -1;
}
/** 16 bytes for the device in front of the data. */
export function requestHeader(n: u32): usize { return memory_ + HEADERS + (<usize>n << 5); }
/** What the device wrote behind the data. */
export function requestStatus(n: u32): u32 { return load<u8>(requestHeader(n), 16); }
function describe(n: u32, address: u32, bytes: u32, flags: u16, next: u32): void {
  const d = memory_ + (<usize>n << 4);
  store<u64>(d, <u64>address); store<u32>(d, bytes, 8); store<u16>(d, flags, 12); store<u16>(d, <u16>next, 14);
}
/** Describes request n: its header, `bytes` at physical address `data` (none if 0), its status. */
export function describeRequest(n: u32, data: u32, bytes: u32, deviceWrites: bool): void {
  const header = physical + <u32>HEADERS + (n << 5), first = n * 3;
  store<u8>(requestHeader(n), 0xff, 16);
  if (bytes != 0) {
    describe(first, header, 16, DESC_NEXT, first + 1);
    describe(first + 1, data, bytes, deviceWrites ? DESC_NEXT | DESC_WRITE : DESC_NEXT, first + 2);
  } else describe(first, header, 16, DESC_NEXT, first + 2);
  describe(first + 2, header + 16, 1, DESC_WRITE, 0);
}
/** What `describeRequest` wrote, read back from the descriptors: request n moves `bytes` bytes at `data` that way. */
export function describes(n: u32, data: u32, bytes: u32, deviceWrites: bool): bool {
  const d = memory_ + (<usize>n * 48), own = physical + <u32>HEADERS + (n << 5), last = d + 32;
  if (load<u32>(d) != own || load<u32>(d, 4) != 0 || load<u32>(d, 8) != <u32>16 || load<u16>(d, 12) != DESC_NEXT) return false;
  if (load<u16>(d, 14) != <u16>(n * 3 + (bytes == 0 ? 2 : 1))) return false;
  if (bytes != 0) {
    const m = d + 16;
    if (load<u32>(m) != data || load<u32>(m, 4) != 0 || load<u32>(m, 8) != bytes || load<u16>(m, 12) != (deviceWrites ? DESC_NEXT | DESC_WRITE : DESC_NEXT) || load<u16>(m, 14) != <u16>(n * 3 + 2)) return false;
  }
  return load<u32>(last) == own + 16 && load<u32>(last, 4) == 0 && load<u32>(last, 8) == <u32>1 && load<u16>(last, 12) == DESC_WRITE;
}
/** Queues request n, which is described. The device learns of it by `kick`. */
export function queueRequest(n: u32): void {
  const first = n * 3;
  store<u8>(inFlight + n, 1);
  outstanding++;
  store<u16>(memory_ + 4096 + 4 + (<usize>(available & (size - 1)) << 1), <u16>first);
  available++;
  barrier(); // descriptors before the index
  store<u16>(memory_ + 4096, <u16>available, 2);
}
export function kick(): void { barrier(); mmioWrite16(doorbell, 0); }
/** The next request that the device finished (its slot is free from now on), or -1. */
export function collect(): i32 {
  while (outstanding != 0) {
    barrier();
    const index = <u32>load<u16>(memory_ + 8192, 2);
    if (index == (used & 0xffff)) return -1;
    barrier(); // the index before the entry
    const id = load<u32>(memory_ + 8192 + 4 + (<usize>(used & (size - 1)) << 3));
    used++;
    const n = id / 3;
    if (id % 3 != 0 || n >= requestSlots || load<u8>(inFlight + n) == 0) {
      lies++;
      if (lies > 65536) return -1;
      continue;
    }
    store<u8>(inFlight + n, 0);
    outstanding--;
    return <i32>n;
  }
  return -1;
}
