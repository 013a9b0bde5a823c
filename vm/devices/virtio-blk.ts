/**
 * Virtio block device.
 * Manual: OASIS virtio 1.2 section 5.2: 5.2.3 features, 5.2.4 configuration, 5.2.6 operation.
 *
 * One queue; features SEG_MAX, RO, BLK_SIZE, FLUSH. A request is taken when notified and served `latencyNs` of virtual time later
 * (0 = within the notification, as in parallel mode): the data moves at completion, like DMA, and requests complete in the order
 * they were taken. In flight: the heads taken and their completion times, a ring in the device state.
 */
import { FieldList, f64s, u32, u32s, type FieldView } from '../fields.ts';
import { SECTOR_BYTES, type Disk } from '../io/disk.ts';
import type { Clock, DeviceBlocks, InterruptLines } from './device.ts';
import { GLOBAL, type EventQueue } from './events.ts';
import type { GuestMemory } from './guest-memory.ts';
import type { PciBus } from './pci.ts';
import { QUEUE_SIZE_MAX, VirtioPci, type Chain, type Segment } from './virtio-pci.ts';

export const VIRTIO_ID_BLOCK = 2;
export const BLK_FEATURE = { SEG_MAX: 1 << 2, RO: 1 << 5, BLK_SIZE: 1 << 6, FLUSH: 1 << 9 } as const;
export const BLK_TYPE = { IN: 0, OUT: 1, FLUSH: 4, GET_ID: 8 } as const;
export const BLK_STATUS = { OK: 0, IOERR: 1, UNSUPPORTED: 2 } as const;
const HEADER_BYTES = 16;
const ID_BYTES = 20;
const SEG_MAX = QUEUE_SIZE_MAX - 2;

const FIELDS = { first: u32, count: u32, head: u32s(QUEUE_SIZE_MAX), due: f64s(QUEUE_SIZE_MAX) } as const;
const LIST = new FieldList('virtio-blk requests', FIELDS);

export class VirtioBlk extends VirtioPci {
  readonly disk: Disk;
  readonly #inflight: FieldView<typeof FIELDS>;
  readonly #clock: Clock;
  readonly #events: EventQueue;
  readonly #slot: number;
  readonly #latencyNs: number;
  readonly #config: Uint8Array;

  constructor(
    blocks: DeviceBlocks, pci: PciBus, memory: GuestMemory, lines: InterruptLines, clock: Clock, events: EventQueue,
    options: { index: number; slot: number; bar: number; disk: Disk; latencyNs: number },
  ) {
    const name = `virtio-blk ${options.index}`;
    const features = BLK_FEATURE.SEG_MAX | BLK_FEATURE.BLK_SIZE | BLK_FEATURE.FLUSH | (options.disk.readOnly ? BLK_FEATURE.RO : 0);
    super(blocks, pci, memory, lines, { name, slot: options.slot, bar: options.bar, virtioId: VIRTIO_ID_BLOCK, classCode: 0x018000, queues: 1, features });
    this.disk = options.disk;
    this.#clock = clock;
    this.#events = events;
    this.#latencyNs = options.latencyNs;
    this.#inflight = blocks.place(LIST, `${name} requests`);
    this.#slot = events.register(name, GLOBAL, () => this.#completeDue());
    // struct virtio_blk_config: capacity u64, size_max u32, seg_max u32, geometry u32, blk_size u32 ...
    this.#config = new Uint8Array(0x40);
    const view = new DataView(this.#config.buffer);
    view.setUint32(0, this.disk.sectors % 2 ** 32, true);
    view.setUint32(4, Math.floor(this.disk.sectors / 2 ** 32), true);
    view.setUint32(0xc, SEG_MAX, true);
    view.setUint32(0x14, SECTOR_BYTES, true);
  }

  protected override configRead(offset: number): number { return this.#config[offset] ?? 0; }

  protected override deviceReset(): void {
    const inflight = this.#inflight;
    inflight.first = inflight.count = 0;
    inflight.head.fill(0);
    inflight.due.fill(0);
    this.#events.cancel(this.#slot);
  }

  protected override notify(queue: number): void {
    const inflight = this.#inflight;
    // A ring full for a doorbell, and no more: what is read from the disk may be written over the ring and make new requests for ever. Whoever posts
    // more rings again.
    for (let left = this.s.queueSize[queue]; left > 0; left--) {
      // Not more in flight than the ring has entries: an honest driver cannot get here, a dishonest one waits.
      if (inflight.count >= this.s.queueSize[queue]) { this.violate('avail index ran ahead'); return; }
      const head = this.takeHead(queue);
      if (head < 0) break;
      if (this.#latencyNs === 0) { this.#serve(head); continue; }
      const at = (inflight.first + inflight.count) % QUEUE_SIZE_MAX;
      inflight.head[at] = head;
      inflight.due[at] = this.#clock.now() + this.#latencyNs;
      inflight.count++;
    }
    this.#plan();
  }

  #plan(): void {
    const inflight = this.#inflight;
    if (inflight.count > 0) this.#events.arm(this.#slot, inflight.due[inflight.first]);
    else this.#events.cancel(this.#slot);
  }

  #completeDue(): void {
    const inflight = this.#inflight;
    const now = this.#clock.now();
    while (inflight.count > 0 && inflight.due[inflight.first] <= now && this.running) {
      const head = inflight.head[inflight.first];
      inflight.first = (inflight.first + 1) % QUEUE_SIZE_MAX;
      inflight.count--;
      this.#serve(head);
    }
    if (this.running) this.#plan();
  }

  #serve(head: number): void {
    const chain = this.chain(0, head);
    if (!chain) return;
    const readable = total(chain.readable);
    const writable = total(chain.writable);
    if (readable < HEADER_BYTES || writable < 1) { this.violate('request too short'); return; }
    const header = new DataView(this.#gather(chain.readable, 0, HEADER_BYTES).buffer);
    const type = header.getUint32(0, true);
    const sector = header.getUint32(8, true) + header.getUint32(12, true) * 2 ** 32;
    const { status, written } = this.#perform(type, sector, chain, readable - HEADER_BYTES, writable - 1);
    const last = chain.writable.findLast((segment) => segment.bytes > 0) as Segment;
    this.memory.writeU8(last.address + last.bytes - 1, status);
    this.complete(0, head, written + 1);
  }

  #perform(type: number, sector: number, chain: Chain, outBytes: number, inBytes: number): { status: number; written: number } {
    const failed = { status: BLK_STATUS.IOERR, written: 0 };
    const inRange = (bytes: number): boolean => bytes % SECTOR_BYTES === 0 && sector <= this.disk.sectors && bytes / SECTOR_BYTES <= this.disk.sectors - sector;
    switch (type) {
      case BLK_TYPE.IN: {
        if (!inRange(inBytes)) return failed;
        let offset = sector * SECTOR_BYTES;
        for (const { address, bytes } of slice(chain.writable, 0, inBytes)) {
          if (!this.disk.read(offset, this.memory.bytes(address, bytes))) return failed;
          this.memory.wrote(address, bytes);
          offset += bytes;
        }
        return { status: BLK_STATUS.OK, written: inBytes };
      }
      case BLK_TYPE.OUT: {
        if (this.disk.readOnly || !inRange(outBytes)) return failed;
        let offset = sector * SECTOR_BYTES;
        for (const { address, bytes } of slice(chain.readable, HEADER_BYTES, outBytes)) {
          if (!this.disk.write(offset, this.memory.bytes(address, bytes))) return failed;
          offset += bytes;
        }
        return { status: BLK_STATUS.OK, written: 0 };
      }
      case BLK_TYPE.FLUSH: return { status: this.disk.flush() ? BLK_STATUS.OK : BLK_STATUS.IOERR, written: 0 };
      case BLK_TYPE.GET_ID: {
        const id = new Uint8Array(ID_BYTES);
        id.set(new TextEncoder().encode(this.disk.descriptor.serial).subarray(0, ID_BYTES));
        let done = 0;
        for (const { address, bytes } of slice(chain.writable, 0, Math.min(inBytes, ID_BYTES))) {
          this.memory.write(address, id.subarray(done, done + bytes));
          done += bytes;
        }
        return { status: BLK_STATUS.OK, written: done };
      }
      default: return { status: BLK_STATUS.UNSUPPORTED, written: 0 };
    }
  }

  #gather(segments: Segment[], from: number, bytes: number): Uint8Array<ArrayBuffer> {
    const out = new Uint8Array(bytes);
    let done = 0;
    for (const segment of slice(segments, from, bytes)) {
      out.set(this.memory.bytes(segment.address, segment.bytes), done);
      done += segment.bytes;
    }
    return out;
  }
}

const total = (segments: Segment[]): number => segments.reduce((sum, segment) => sum + segment.bytes, 0);

/** The part [from, from + bytes) of a scatter list. */
function slice(segments: Segment[], from: number, bytes: number): Segment[] {
  const out: Segment[] = [];
  let position = 0;
  for (const segment of segments) {
    const start = Math.max(from, position);
    const end = Math.min(from + bytes, position + segment.bytes);
    if (end > start) out.push({ address: segment.address + start - position, bytes: end - start });
    position += segment.bytes;
  }
  return out;
}
