/**
 * A virtio device behind PCI (virtio 1.2): its life from reset to DRIVER_OK, and its split virtqueues (section 2.7).
 *
 * Order (3.1.1): virtioReset, virtioOffered, virtioAccept, queueOpen for each queue, virtioGo. The device is not trusted: what it returns in a used ring
 * must be the head of a chain that it has, and one `take` after another ends when all of them came back. Its lengths are for the driver to judge.
 *
 * Memory of a queue, physically contiguous:
 *   page 0: descriptors {address u64, length u32, flags u16, next u16} x size (<= 256)
 *   page 1: available {flags u16, index u16, ring u16[size]}      page 2: used {flags u16, index u16, {id u32, length u32}[size]}
 */
import { barrier, lockOr, mmioRead16, mmioRead32, mmioRead8, mmioWrite16, mmioWrite32, mmioWrite8 } from 'kintsugi/x86';
import { mustAlloc } from '../../servers/lib/alloc';
import { Structure } from './pci';

// Common configuration structure, 4.1.4.3
const DEVICE_FEATURE_SELECT: usize = 0, DEVICE_FEATURE: usize = 4, DRIVER_FEATURE_SELECT: usize = 8, DRIVER_FEATURE: usize = 12;
const CONFIG_MSIX: usize = 16, DEVICE_STATUS: usize = 20, CONFIG_GENERATION: usize = 21, QUEUE_SELECT: usize = 22, QUEUE_SIZE: usize = 24, QUEUE_MSIX: usize = 26;
const QUEUE_ENABLE: usize = 28, QUEUE_NOTIFY_OFF: usize = 30, QUEUE_DESC: usize = 32, QUEUE_DRIVER: usize = 40, QUEUE_DEVICE: usize = 48;
export const COMMON_BYTES: u32 = 56;
// Device status, 2.1
const ACKNOWLEDGE: u32 = 1, DRIVER: u32 = 2, DRIVER_OK: u32 = 4, FEATURES_OK: u32 = 8, NEEDS_RESET: u32 = 64, FAILED: u32 = 128;
const NO_VECTOR: u32 = 0xffff;
export const FEATURE_VERSION_1_HIGH: u32 = 1; // bit 32
const RESET_TRIES: u32 = 1000000;

let common: usize = 0;

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
  if ((mmioRead8(common + DEVICE_STATUS) & FEATURES_OK) == 0) return false;
  mmioWrite16(common + CONFIG_MSIX, NO_VECTOR);
  return true;
}
/** All queues are open: the device runs. */
export function virtioGo(): void { barrier(); mmioWrite8(common + DEVICE_STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK); }
export function virtioGiveUp(): void { mmioWrite8(common + DEVICE_STATUS, FAILED); }
/** The device serves the queues: it was not reset behind our back and does not ask for it (2.1.2). */
export function virtioServes(): bool { return (mmioRead8(common + DEVICE_STATUS) & (DRIVER_OK | NEEDS_RESET)) == DRIVER_OK; }
export function configGeneration(): u32 { return mmioRead8(common + CONFIG_GENERATION); }

// ---- queues -----------------------------------------------------------------------------------------------------------------------------

export const DESC_NEXT: u16 = 1, DESC_WRITE: u16 = 2;
const NO_INTERRUPT: u16 = 1; // available.flags, 2.7.6
const NO_NOTIFY: u16 = 1; // used.flags, 2.7.8
export const QUEUE_PAGES: u32 = 3;
const MAX_SIZE: u32 = 256;
const MAX_LIES: u32 = 65536;
const AVAILABLE: usize = 4096, USED: usize = 8192;

const FENCE: usize = memory.data(4, 4);
/** A store before it is seen before a load behind it is made: what MFENCE does, as a LOCKed operation on memory of one's own. */
function fence(): void { lockOr(FENCE, 0); }

/** Chains that came back, of all queues. */
export let chainsTaken: u32 = 0;

@unmanaged @final export class Virtqueue {
  number: u32; size: u32; // descriptors, a power of two
  at: usize; doorbell: usize;
  taken: u32; // used entries looked at so far
  available: u32; kicked: u32; // chains ever made available, and how many of them the device was told about
  outstanding: u32; // chains that the device has
  lies: u32; // used entries that name no such chain
  heads: usize; // u8[size]: the device has the chain that begins here
  length: u32; // bytes that the device says it wrote into the chain last taken: its allegation

  /** Descriptor n. The chain is given to the device by `give` with its first descriptor. */
  describe(n: u32, address: u32, bytes: u32, flags: u16, next: u32): void {
    const d = this.at + (<usize>n << 4);
    store<u64>(d, <u64>address); store<u32>(d, bytes, 8); store<u16>(d, flags, 12); store<u16>(d, <u16>next, 14);
  }
  has(head: u32): bool { return load<u8>(this.heads + head) != 0; }
  give(head: u32): void {
    store<u8>(this.heads + head, 1);
    this.outstanding++;
    store<u16>(this.at + AVAILABLE + 4 + (<usize>(this.available & (this.size - 1)) << 1), <u16>head);
    this.available++;
    barrier(); // descriptors before the index
    store<u16>(this.at + AVAILABLE, <u16>this.available, 2);
  }
  /** Tells the device, once for everything given since the last time, unless it says that it looks by itself (2.7.10). */
  kick(): void {
    if (this.kicked == this.available) return;
    this.kicked = this.available;
    fence(); // the index before the flag
    if ((load<u16>(this.at + USED) & NO_NOTIFY) != 0) return;
    mmioWrite16(this.doorbell, this.number);
  }
  /** Head of the next chain that came back (`length` bytes written), or -1. */
  take(): i32 {
    while (this.outstanding != 0) {
      barrier();
      if (<u32>load<u16>(this.at + USED, 2) == (this.taken & 0xffff)) return -1;
      barrier(); // the index before the entry
      const e = this.at + USED + 4 + (<usize>(this.taken & (this.size - 1)) << 3);
      const id = load<u32>(e);
      this.length = load<u32>(e, 4);
      this.taken++;
      if (id >= this.size || load<u8>(this.heads + id) == 0) {
        this.lies++;
        if (this.lies > MAX_LIES) return -1;
        continue;
      }
      store<u8>(this.heads + id, 0);
      this.outstanding--;
      chainsTaken++;
      return <i32>id;
    }
    return -1;
  }
  /** Asks for interrupts, or for none: advice that the device may ignore. Look again with `ready` after asking for them. */
  interrupts(wanted: bool): void { store<u16>(this.at + AVAILABLE, wanted ? 0 : NO_INTERRUPT); if (wanted) fence(); else barrier(); }
  /** Something came back that was not taken. */
  ready(): bool { return this.outstanding != 0 && <u32>load<u16>(this.at + USED, 2) != (this.taken & 0xffff); }
}
/**
 * Sets queue `number` up in QUEUE_PAGES pages at `va`, physically contiguous at `paddr`; between virtioAccept and virtioGo. Null: the device has no such
 * queue, or none of at least `least` descriptors.
 */
export function queueOpen(number: u32, va: usize, paddr: u32, least: u32, notify: Structure): Virtqueue {
  const none = changetype<Virtqueue>(0);
  mmioWrite16(common + QUEUE_SELECT, number);
  let size: u32 = mmioRead16(common + QUEUE_SIZE);
  if (size > MAX_SIZE) size = MAX_SIZE;
  while ((size & (size - 1)) != 0) size &= size - 1;
  if (size < least) return none;
  const offset = mmioRead16(common + QUEUE_NOTIFY_OFF) * notify.multiplier;
  if (notify.bytes < 2 || offset > notify.bytes - 2) return none;
  const q = changetype<Virtqueue>(mustAlloc(<u32>offsetof<Virtqueue>()));
  q.number = number; q.size = size; q.at = va; q.doorbell = notify.va + offset;
  q.heads = mustAlloc(size);
  memory.fill(va, 0, <usize>QUEUE_PAGES << 12);
  mmioWrite16(common + QUEUE_SIZE, size);
  mmioWrite16(common + QUEUE_MSIX, NO_VECTOR);
  write64(common + QUEUE_DESC, paddr); write64(common + QUEUE_DRIVER, paddr + <u32>AVAILABLE); write64(common + QUEUE_DEVICE, paddr + <u32>USED);
  barrier();
  mmioWrite16(common + QUEUE_ENABLE, 1);
  return q;
}
function write64(at: usize, value: u32): void { mmioWrite32(at, value); mmioWrite32(at + 4, 0); }
