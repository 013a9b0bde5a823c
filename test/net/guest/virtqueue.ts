/** drivers/lib/virtio.ts for Node: registers are the test's, memory is memory. */
import { heapInit } from '../../../servers/lib/alloc';
import { Structure } from '../../../drivers/lib/pci';
import { Virtqueue, queueOpen, virtioReset } from '../../../drivers/lib/virtio';

const COMMON: Structure = changetype<Structure>(memory.data(12, 4));
const NOTIFY: Structure = changetype<Structure>(memory.data(12, 4));
let q: Virtqueue = changetype<Virtqueue>(0);

export function reset(common: u32): bool { heapInit(0x400000, 1 << 20); COMMON.va = common; COMMON.bytes = 64; return virtioReset(COMMON); }
export function open(at: u32, notify: u32, notifyBytes: u32, multiplier: u32, least: u32): bool {
  NOTIFY.va = notify; NOTIFY.bytes = notifyBytes; NOTIFY.multiplier = multiplier;
  q = queueOpen(0, at, at, least, NOTIFY);
  return changetype<usize>(q) != 0;
}
export function size(): u32 { return q.size; }
export function give(head: u32): void { q.describe(head, 0x1000, 16, 0, 0); q.give(head); }
export function kick(): void { q.kick(); }
export function take(): i32 { return q.take(); }
export function length(): u32 { return q.length; }
export function lies(): u32 { return q.lies; }
export function outstanding(): u32 { return q.outstanding; }
export function ready(): bool { return q.ready(); }
export function interrupts(on: bool): void { q.interrupts(on); }
