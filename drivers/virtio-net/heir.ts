/**
 * What the card had done for a dead predecessor and nobody had said: frames that lie in their buffers, frames that were sent. The queues, in memory that
 * outlives an incarnation, show it: the used ring of the device, and for each chain which request it was given for and how far the used ring was then. With it a
 * restart loses no frame that has arrived and sends none twice; without it (another layout, first boot) it is as on any wire.
 *
 * All of it is allegations of a dead driver about itself. A request is recognised by its id, which its owner never gives twice, and lengths are checked as those of the
 * device are. Whoever believes something wrong here loses or doubles a frame.
 *
 * Page behind the headers' (main.ts): {magic u32, queue size u32} for each lane, then by chain {request id u32, ring slot u16, used index when it was given u16}.
 */
import { RING_SLOTS } from 'kintsugi/protocols';
import { mustAlloc } from '../../servers/lib/alloc';

const MAGIC: u32 = 0x48454952;
const HEAD: usize = 8, RECORD: usize = 8;
const LANE_BYTES: usize = HEAD + <usize>RING_SLOTS * RECORD;
/** Bytes for two lanes. */
export const HEIR_BYTES: u32 = 2 * <u32>LANE_BYTES;
const USED: usize = 8192; // of a queue (drivers/lib/virtio.ts)

@unmanaged @final export class Heir {
  records: usize;
  ids: usize; // u32[RING_SLOTS] by ring slot: the request that was done, 0 = none
  lengths: usize; // u16[RING_SLOTS]: what the device said it wrote
  headers: usize; // u8[RING_SLOTS]: flags of the frame's header

  /** The chain is about to be given for this request. */
  given(chain: u32, id: u32, slot: u32, used: u32): void {
    const r = this.records + HEAD + <usize>chain * RECORD;
    store<u32>(r, id); store<u16>(r, <u16>slot, 4); store<u16>(r, <u16>used, 6);
  }
  /** The device lies: nothing that it says is for a successor. */
  disown(): void { store<u32>(this.records, 0); }
  /** The device did this request for the predecessor. */
  did(slot: u32, id: u32): bool { return id != 0 && load<u32>(this.ids + (<usize>slot << 2)) == id; }
  lengthOf(slot: u32): u32 { return load<u16>(this.lengths + (<usize>slot << 1)); }
  flagsOf(slot: u32): u32 { return load<u8>(this.headers + slot); }
}
/**
 * Reads what is there of lane n, before the queue at `queue` and the headers (`stride` bytes for each chain, flags first) are cleared: the device was reset and writes
 * no more. Then the records are this incarnation's.
 */
export function heirOf(n: u32, records: usize, queue: usize, headers: usize, stride: u32): Heir {
  const h = changetype<Heir>(mustAlloc(<u32>offsetof<Heir>()));
  h.records = records + <usize>n * LANE_BYTES;
  h.ids = mustAlloc(RING_SLOTS << 2); h.lengths = mustAlloc(RING_SLOTS << 1); h.headers = mustAlloc(RING_SLOTS);
  memory.fill(h.ids, 0, RING_SLOTS << 2);
  const size = load<u32>(h.records, 4);
  if (load<u32>(h.records) == MAGIC && size != 0 && size <= 256 && (size & (size - 1)) == 0) look(h, queue + USED, size, headers, stride);
  return h;
}
/** The latest entries of the used ring, backwards until one that was given anew since. */
function look(h: Heir, used: usize, size: u32, headers: usize, stride: u32): void {
  const end: u32 = load<u16>(used, 2);
  for (let k: u32 = 1; k <= RING_SLOTS && k <= size; k++) {
    const at = (end - k) & 0xffff, e = used + 4 + (<usize>(at & (size - 1)) << 3), chain = load<u32>(e) >> 1;
    if (chain >= RING_SLOTS) return;
    const r = h.records + HEAD + <usize>chain * RECORD, slot: u32 = load<u16>(r, 4);
    if (((at - load<u16>(r, 6)) & 0x8000) != 0 || slot >= RING_SLOTS) return; // it came back before it was given the last time
    store<u32>(h.ids + (<usize>slot << 2), load<u32>(r));
    store<u16>(h.lengths + (<usize>slot << 1), <u16>min<u32>(load<u32>(e, 4), 0xffff));
    store<u8>(h.headers + slot, load<u8>(headers + <usize>(chain * stride)));
  }
}
/** The queue is open: from now on records are kept. */
export function heirBegins(h: Heir, size: u32): void {
  memory.fill(h.records + HEAD, 0, <usize>RING_SLOTS * RECORD);
  store<u32>(h.records, size, 4);
  store<u32>(h.records, MAGIC);
}
