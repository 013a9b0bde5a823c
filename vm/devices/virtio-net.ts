/**
 * Virtio network device.
 * Manual: OASIS virtio 1.2 section 5.1: 5.1.3 features, 5.1.4 configuration, 5.1.6 operation.
 *
 * Queues: 0 receive, 1 transmit, 2 control. Features CSUM, GUEST_CSUM, MTU, MAC, MRG_RXBUF, STATUS, CTRL_VQ, CTRL_RX, CTRL_RX_EXTRA,
 * GUEST_ANNOUNCE, CTRL_MAC_ADDR. Every buffer begins with the 12 bytes of virtio_net_hdr:
 *
 *   +0 flags (1 = checksum to be finished)   +1 gso_type   +2 hdr_len   +4 gso_size   +6 csum_start   +8 csum_offset   +10 num_buffers
 *
 * The device holds no frame. Whoever owns the other end of the wire (vm/net) calls `transmit` to take a batch out of the guest's memory and
 * `receive` to put one there, under the device lock; a doorbell only tells it that there is something to do. So a vCPU never waits for the
 * network, and a batch costs one interrupt. A frame that breaks the rules is refused and counted by reason; a queue that does is a violation
 * (virtio-pci.ts).
 *
 * Hot: queues are read through typed arrays by index, and nothing is allocated per frame but the two views of a copy.
 */
import { ETHERNET_HEADER, FrameBatch } from '../net/frames.ts';
import type { NetDescriptor } from '../net/config.ts';
import { FieldList, derived, f64, u32, u8s, type FieldView } from '../fields.ts';
import type { DeviceBlocks, InterruptLines } from './device.ts';
import type { GuestMemory } from './guest-memory.ts';
import type { PciBus } from './pci.ts';
import { AVAIL_NO_INTERRUPT, DESC_INDIRECT, DESC_NEXT, DESC_WRITE, VirtioPci, type Segment } from './virtio-pci.ts';

export const VIRTIO_ID_NET = 1;
export const NET_FEATURE = {
  CSUM: 1 << 0, GUEST_CSUM: 1 << 1, MTU: 1 << 3, MAC: 1 << 5, MRG_RXBUF: 1 << 15, STATUS: 1 << 16, CTRL_VQ: 1 << 17, CTRL_RX: 1 << 18,
  CTRL_RX_EXTRA: 1 << 20, GUEST_ANNOUNCE: 1 << 21, CTRL_MAC_ADDR: 1 << 23,
} as const;
export const NET_QUEUE = { RX: 0, TX: 1, CONTROL: 2 } as const;
export const NET_HEADER_BYTES = 12;
export const NET_HEADER_NEEDS_CSUM = 1;
export const NET_STATUS = { LINK_UP: 1, ANNOUNCE: 2 } as const;
/** Control commands (5.1.6.5): class and command. */
export const NET_CONTROL = { RX: 0, MAC: 1, ANNOUNCE: 3 } as const;
export const NET_CONTROL_RX = { PROMISC: 0, ALLMULTI: 1, ALLUNI: 2, NOMULTI: 3, NOUNI: 4, NOBCAST: 5 } as const;
export const NET_CONTROL_MAC = { TABLE_SET: 0, ADDR_SET: 1 } as const;
const OK = 0;
const ERROR = 1;
const USED_NO_NOTIFY = 1;
const VLAN_TAG = 4;
const MAC_TABLE = 64;
const SERVED_NO_MORE = 2;
const CONTROL_MOST = 8 + 2 * 6 * MAC_TABLE;

/** Why a frame did not go on, in the order of the counters. */
export const NET_REFUSALS = ['short', 'long', 'segmentation', 'checksum'] as const;
export const NET_DROPS = ['filtered', 'no buffer is big enough'] as const;

const FIELDS = {
  mac: u8s(8), status: u32, mtu: u32,
  /** Bit n: NET_CONTROL_RX command n is on. */
  rxMode: u32, unicast: u32, multicast: u32, pad: u32,
  table: u8s(MAC_TABLE * 6 * 2),
  framesOut: f64, bytesOut: f64, framesIn: f64, bytesIn: f64,
  refusedShort: u32, refusedLong: u32, refusedSegmentation: u32, refusedChecksum: u32, droppedFilter: u32, droppedBuffer: u32,
  /** Parallel mode: bumped by doorbells; the I/O worker sleeps on it while `asleep`; 1 = the guest uses the device, start the worker; served: 1 by the worker, 2 never again. */
  doorbell: derived(u32), asleep: derived(u32), wanted: derived(u32), served: derived(u32),
} as const;
const LIST = new FieldList('virtio-net card', FIELDS);

export interface NetCounters {
  readonly framesOut: number; readonly bytesOut: number; readonly framesIn: number; readonly bytesIn: number;
  /** By reason, only those that happened. */
  readonly refused: Readonly<Record<string, number>>; readonly dropped: Readonly<Record<string, number>>;
}

export class VirtioNet extends VirtioPci {
  readonly state: FieldView<typeof FIELDS>;
  /** Int32 view of the doorbell words, for Atomics: 0 doorbell, 1 asleep, 2 wanted, 3 served. */
  readonly bell: Int32Array;
  /** Told when frames were posted (TX) or buffers (RX). Deterministic machine; else the bell rings. */
  onKick: ((queue: number) => void) | undefined;
  /** The guest begins to use the device and nobody serves it yet (parallel mode). */
  onWanted: (() => void) | undefined;
  readonly #mostFrame: number;
  readonly #header = new Uint8Array(NET_HEADER_BYTES);
  readonly #descriptor: NetDescriptor;

  constructor(blocks: DeviceBlocks, pci: PciBus, memory: GuestMemory, lines: InterruptLines, options: { slot: number; bar: number; net: NetDescriptor }) {
    super(blocks, pci, memory, lines, {
      name: 'virtio-net', slot: options.slot, bar: options.bar, virtioId: VIRTIO_ID_NET, classCode: 0x020000, queues: 3,
      features: Object.values(NET_FEATURE).reduce((all, bit) => all | bit, 0),
    });
    const state = this.state = blocks.place(LIST);
    const { buffer, byteOffset } = (state as unknown as { words: Uint32Array }).words;
    this.bell = new Int32Array(buffer, byteOffset + LIST.offsetOf('doorbell'), 4);
    this.#descriptor = options.net;
    this.#mostFrame = options.net.mtu + ETHERNET_HEADER + VLAN_TAG;
  }

  /** Once, on the thread that made the board: what a reset of the guest's does not touch. */
  powerOn(): void {
    const { state } = this;
    state.mac.set(this.#descriptor.mac);
    state.mtu = this.#descriptor.mtu;
    state.status = NET_STATUS.LINK_UP;
    this.reset();
  }

  /** Longest frame that goes through, without checksum. */
  get mostFrame(): number { return this.#mostFrame; }
  get mtu(): number { return this.#descriptor.mtu; }

  get counters(): NetCounters {
    const { state } = this;
    const nonzero = (entries: [string, number][]): Record<string, number> => Object.fromEntries(entries.filter(([, count]) => count > 0));
    return {
      framesOut: state.framesOut, bytesOut: state.bytesOut, framesIn: state.framesIn, bytesIn: state.bytesIn,
      refused: nonzero([[NET_REFUSALS[0], state.refusedShort], [NET_REFUSALS[1], state.refusedLong], [NET_REFUSALS[2], state.refusedSegmentation], [NET_REFUSALS[3], state.refusedChecksum]]),
      dropped: nonzero([[NET_DROPS[0], state.droppedFilter], [NET_DROPS[1], state.droppedBuffer]]),
    };
  }

  // ---- configuration (5.1.4) ------------------------------------------------------------------------------------------------

  protected override configRead(offset: number): number {
    const { state } = this;
    if (offset < 6) return state.mac[offset];
    switch (offset) {
      case 6: return state.status & 255;
      case 8: return 1; // max_virtqueue_pairs, without MQ of no meaning
      case 10: return state.mtu & 255;
      case 11: return state.mtu >>> 8;
      default: return 0;
    }
  }

  protected override deviceReset(): void {
    const { state } = this;
    // Everything passes until the driver says otherwise: one without CTRL_RX cannot.
    state.rxMode = 1 << NET_CONTROL_RX.PROMISC;
    state.unicast = state.multicast = 0;
    state.table.fill(0);
    state.mac.set(this.#descriptor.mac);
    state.status &= ~NET_STATUS.ANNOUNCE;
  }

  /** The wire is plugged or pulled. */
  setLink(up: boolean): void {
    const { state } = this;
    const before = state.status;
    state.status = up ? before | NET_STATUS.LINK_UP | (before & NET_STATUS.LINK_UP || !this.featureLow(NET_FEATURE.GUEST_ANNOUNCE) ? 0 : NET_STATUS.ANNOUNCE) : before & ~(NET_STATUS.LINK_UP | NET_STATUS.ANNOUNCE);
    if (state.status !== before) this.interruptConfig();
  }

  // ---- doorbells --------------------------------------------------------------------------------------------------------------

  protected override notify(queue: number): void {
    if (queue === NET_QUEUE.CONTROL) { this.#control(); return; }
    if (this.onKick) this.onKick(queue);
    else this.ring();
  }

  /** Wakes the I/O worker, or asks for one. Any thread. */
  ring(): void {
    const { bell } = this;
    if (Atomics.load(bell, 3) === SERVED_NO_MORE) { this.discard(); return; }
    Atomics.add(bell, 0, 1);
    if (Atomics.load(bell, 1) !== 0) Atomics.notify(bell, 0);
    else if (Atomics.load(bell, 3) === 0 && Atomics.exchange(bell, 2, 1) === 0) this.onWanted?.();
  }

  /** Nobody serves it any more and nobody will: what the guest sends is taken and lost. Under the device lock. */
  unplug(): void {
    Atomics.store(this.bell, 3, SERVED_NO_MORE);
    this.setLink(false);
    this.setDoorbell(NET_QUEUE.TX, true);
    this.discard();
  }
  discard(): void {
    const lost = new FrameBatch(32, 32 * (this.#mostFrame + 8));
    while (this.transmit(lost) > 0) lost.clear();
  }

  /** Asks the driver (not) to ring for a queue. The caller looks again after switching it on. */
  setDoorbell(queue: number, on: boolean): void {
    if (!this.running || !this.s.queueEnable[queue] || !this.ringsOk(queue)) return;
    const at = this.s.usedLow[queue];
    const flags = on ? 0 : USED_NO_NOTIFY;
    const { halves } = this.memory;
    if (halves[at >> 1] === flags) return;
    Atomics.store(halves as Uint16Array<SharedArrayBuffer>, at >> 1, flags);
    this.memory.wrote(at, 2);
  }
  /** Chains the driver has posted and nobody has taken. */
  waiting(queue: number): number {
    const { s } = this;
    if (!this.running || !s.queueEnable[queue] || !this.ringsOk(queue)) return 0;
    return (Atomics.load(this.memory.halves as Uint16Array<SharedArrayBuffer>, (s.availLow[queue] + 2) >> 1) - s.availNext[queue]) & 0xffff;
  }
  get linkUp(): boolean { return (this.state.status & NET_STATUS.LINK_UP) !== 0; }

  // ---- transmit: guest -> wire (5.1.6.2) ------------------------------------------------------------------------------------------

  /** Moves frames from the transmit queue into `batch` until one of the two ends. Returns the chains taken. */
  transmit(batch: FrameBatch): number {
    const q = NET_QUEUE.TX;
    if (!this.queueReady(q)) return 0;
    const { s } = this;
    const { halves, words } = this.memory;
    const mask = s.queueSize[q] - 1;
    const avail = s.availLow[q];
    const used = s.usedLow[q];
    let next = s.availNext[q];
    let usedNext = s.usedNext[q];
    const ahead = (Atomics.load(halves as Uint16Array<SharedArrayBuffer>, (avail + 2) >> 1) - next) & 0xffff;
    if (ahead > mask + 1) { this.violate('avail index ran ahead'); return 0; }
    let taken = 0;
    for (; taken < ahead; taken++) {
      const head = halves[(avail + 4 + 2 * (next & mask)) >> 1];
      const at = batch.reserve(this.#mostFrame);
      if (at < 0 || !this.#gather(head, batch, at)) break;
      const slot = (used + 4 + 8 * (usedNext & mask)) >> 2;
      words[slot] = head;
      words[slot + 1] = 0;
      next++;
      usedNext++;
    }
    if (taken > 0) {
      s.availNext[q] = next & 0xffff;
      this.#publish(q, usedNext);
    }
    return taken;
  }

  /** One chain: header checked, frame copied to `at` and committed, or refused and counted. False: a violation, nothing was taken. */
  #gather(head: number, batch: FrameBatch, at: number): boolean {
    const { s, memory, state } = this;
    const { words, ram } = memory;
    const q = NET_QUEUE.TX;
    const size = s.queueSize[q];
    const table = s.descLow[q];
    const header = this.#header;
    let inHeader = 0;
    let length = 0;
    let tooLong = false;
    let index = head;
    for (let count = 0; ; count++) {
      if (index >= size) { this.violate('descriptor index'); return false; }
      if (count >= size) { this.violate('descriptor loop'); return false; }
      const d = (table + 16 * index) >> 2;
      let address = words[d];
      let bytes = words[d + 2];
      const flags = words[d + 3];
      if (flags & DESC_INDIRECT) { this.violate('indirect descriptor'); return false; }
      if (flags & DESC_WRITE) { this.violate('buffer of the wrong direction'); return false; }
      if (words[d + 1] !== 0 || !memory.ok(address, bytes)) { this.violate('buffer outside RAM'); return false; }
      while (inHeader < NET_HEADER_BYTES && bytes > 0) { header[inHeader++] = ram[address++]; bytes--; }
      if (bytes > 0) {
        if (length + bytes > this.#mostFrame) tooLong = true;
        else { batch.bytes.set(ram.subarray(address, address + bytes), at + length); length += bytes; }
      }
      if (!(flags & DESC_NEXT)) break;
      index = flags >>> 16;
    }
    if (inHeader < NET_HEADER_BYTES) { this.violate('request too short'); return false; }
    if (tooLong) { state.refusedLong++; return true; }
    if (length < ETHERNET_HEADER) { state.refusedShort++; return true; }
    if (header[1] !== 0) { state.refusedSegmentation++; return true; } // no GSO feature was offered
    let start = 0;
    let offset = 0;
    if (header[0] & NET_HEADER_NEEDS_CSUM) {
      start = header[6] | header[7] << 8;
      offset = header[8] | header[9] << 8;
      if (!this.featureLow(NET_FEATURE.CSUM) || start < ETHERNET_HEADER || start + offset + 2 > length) { state.refusedChecksum++; return true; }
    }
    state.framesOut++;
    state.bytesOut += length;
    batch.commit(length, start, offset);
    return true;
  }

  /** The index store comes last; one interrupt for the batch, unless the driver asked not to. */
  #publish(q: number, usedNext: number): void {
    const { s, memory } = this;
    const used = s.usedLow[q];
    s.usedNext[q] = usedNext & 0xffff;
    Atomics.store(memory.halves as Uint16Array<SharedArrayBuffer>, (used + 2) >> 1, usedNext & 0xffff);
    memory.wrote(used, 4 + 8 * s.queueSize[q]);
    if (!(Atomics.load(memory.halves as Uint16Array<SharedArrayBuffer>, s.availLow[q] >> 1) & AVAIL_NO_INTERRUPT)) this.interruptQueue();
  }

  // ---- receive: wire -> guest (5.1.6.4) -----------------------------------------------------------------------------------------

  /**
   * Moves frames from the front of `batch` into the guest's buffers. Returns how many are dealt with: delivered, or dropped for a reason that
   * waiting does not mend. The first that has to wait for buffers ends it, and so does `most`.
   */
  receive(batch: FrameBatch, most = batch.count): number {
    const q = NET_QUEUE.RX;
    if (batch.count === 0 || !this.queueReady(q)) return 0;
    const { s, state } = this;
    const { halves, words } = this.memory;
    const mask = s.queueSize[q] - 1;
    const avail = s.availLow[q];
    const used = s.usedLow[q];
    const mergeable = this.featureLow(NET_FEATURE.MRG_RXBUF);
    const finish = !this.featureLow(NET_FEATURE.GUEST_CSUM);
    const header = this.#header;
    let next = s.availNext[q];
    let usedNext = s.usedNext[q];
    let ahead = (Atomics.load(halves as Uint16Array<SharedArrayBuffer>, (avail + 2) >> 1) - next) & 0xffff;
    if (ahead > mask + 1) { this.violate('avail index ran ahead'); return 0; }
    const first = usedNext;
    let done = 0;
    const last = Math.min(most, batch.count);
    for (; done < last; done++) {
      const at = batch.offset(done);
      const length = batch.length(done);
      if (!this.#accepts(batch.bytes, at)) { state.droppedFilter++; continue; }
      if (finish) batch.finish(done);
      // How many buffers it takes is known before anything is written.
      const wanted = NET_HEADER_BYTES + length;
      let room = 0;
      let buffers = 0;
      while (room < wanted && buffers < ahead) {
        const capacity = this.#capacity(halves[(avail + 4 + 2 * ((next + buffers) & mask)) >> 1]);
        if (capacity < 0) { if (usedNext !== first) { s.availNext[q] = next & 0xffff; this.#publish(q, usedNext); } return done; }
        room += capacity;
        buffers++;
        if (!mergeable) break;
      }
      if (room < wanted) {
        // Waiting helps unless this is as much as the driver can ever offer at once.
        if (buffers === 0 || (mergeable && ahead <= mask)) break;
        state.droppedBuffer++;
        continue;
      }
      const start = batch.checksumStart(done);
      const offset = batch.checksumOffset(done);
      header.fill(0);
      if (start !== 0) {
        header[0] = NET_HEADER_NEEDS_CSUM;
        header[6] = start; header[7] = start >>> 8;
        header[8] = offset; header[9] = offset >>> 8;
      }
      header[10] = buffers; header[11] = buffers >>> 8;
      let written = 0;
      for (let k = 0; k < buffers; k++) {
        const head = halves[(avail + 4 + 2 * (next & mask)) >> 1];
        const before = written;
        written = this.#scatter(head, batch.bytes, at, length, written);
        const slot = (used + 4 + 8 * (usedNext & mask)) >> 2;
        words[slot] = head;
        words[slot + 1] = written - before;
        next++;
        usedNext++;
      }
      ahead -= buffers;
      state.framesIn++;
      state.bytesIn += length;
    }
    if (usedNext !== first) {
      s.availNext[q] = next & 0xffff;
      this.#publish(q, usedNext);
    }
    return done;
  }

  /** Bytes that the chain at `head` takes, or -1 after a violation. */
  #capacity(head: number): number {
    const { s, memory } = this;
    const { words } = memory;
    const size = s.queueSize[NET_QUEUE.RX];
    const table = s.descLow[NET_QUEUE.RX];
    let total = 0;
    let index = head;
    for (let count = 0; ; count++) {
      if (index >= size) { this.violate('descriptor index'); return -1; }
      if (count >= size) { this.violate('descriptor loop'); return -1; }
      const d = (table + 16 * index) >> 2;
      const bytes = words[d + 2];
      const flags = words[d + 3];
      if (flags & DESC_INDIRECT) { this.violate('indirect descriptor'); return -1; }
      if (!(flags & DESC_WRITE)) { this.violate('buffer of the wrong direction'); return -1; }
      if (words[d + 1] !== 0 || !memory.ok(words[d], bytes)) { this.violate('buffer outside RAM'); return -1; }
      total += bytes;
      if (!(flags & DESC_NEXT)) return total;
      index = flags >>> 16;
    }
  }

  /** Writes header and frame from position `position` of both together into one chain; returns the position reached. */
  #scatter(head: number, source: Uint8Array, at: number, length: number, position: number): number {
    const { s, memory } = this;
    const { words, ram } = memory;
    const size = s.queueSize[NET_QUEUE.RX];
    const table = s.descLow[NET_QUEUE.RX];
    const end = NET_HEADER_BYTES + length;
    let index = head;
    for (let count = 0; count < size && position < end && index < size; count++) {
      const d = (table + 16 * index) >> 2;
      const address = words[d];
      const bytes = Math.min(words[d + 2], end - position);
      const flags = words[d + 3];
      if (!memory.ok(address, bytes)) return position; // another vCPU changed the descriptor after the check
      let to = address;
      const stop = address + bytes;
      while (position < NET_HEADER_BYTES && to < stop) ram[to++] = this.#header[position++];
      if (to < stop) {
        const from = at + position - NET_HEADER_BYTES;
        ram.set(source.subarray(from, from + stop - to), to);
        position += stop - to;
      }
      memory.wrote(address, bytes);
      if (!(flags & DESC_NEXT)) break;
      index = flags >>> 16;
    }
    return position;
  }

  // ---- filter and control queue (5.1.6.5) -----------------------------------------------------------------------------------------

  #accepts(bytes: Uint8Array, at: number): boolean {
    const { state } = this;
    const mode = state.rxMode;
    if (mode & 1 << NET_CONTROL_RX.PROMISC) return true;
    if (bytes[at] & 1) {
      let broadcast = true;
      for (let k = 0; k < 6; k++) broadcast &&= bytes[at + k] === 0xff;
      if (broadcast) return !(mode & 1 << NET_CONTROL_RX.NOBCAST);
      if (mode & 1 << NET_CONTROL_RX.NOMULTI) return false;
      return (mode & 1 << NET_CONTROL_RX.ALLMULTI) !== 0 || this.#listed(bytes, at, MAC_TABLE, state.multicast);
    }
    if (mode & 1 << NET_CONTROL_RX.NOUNI) return false;
    if (mode & 1 << NET_CONTROL_RX.ALLUNI) return true;
    for (let k = 0; ; k++) {
      if (k === 6) return true;
      if (bytes[at + k] !== state.mac[k]) return this.#listed(bytes, at, 0, state.unicast);
    }
  }
  #listed(bytes: Uint8Array, at: number, first: number, count: number): boolean {
    const { table } = this.state;
    for (let entry = first; entry < first + count; entry++) {
      let same = true;
      for (let k = 0; k < 6; k++) same &&= table[entry * 6 + k] === bytes[at + k];
      if (same) return true;
    }
    return false;
  }

  #control(): void {
    // A ring full for a doorbell, and no more: an answer that is written over the ring itself could make new requests for ever.
    for (let left = this.s.queueSize[NET_QUEUE.CONTROL]; left > 0; left--) {
      const head = this.takeHead(NET_QUEUE.CONTROL);
      if (head < 0) return;
      const chain = this.chain(NET_QUEUE.CONTROL, head);
      if (!chain) return;
      const acknowledge = chain.writable.at(-1);
      const command = this.#read(chain.readable);
      if (!acknowledge || acknowledge.bytes < 1 || command.length < 2) { this.violate('request too short'); return; }
      this.memory.writeU8(acknowledge.address + acknowledge.bytes - 1, this.#command(command));
      this.complete(NET_QUEUE.CONTROL, head, 1);
    }
  }
  #read(segments: readonly Segment[]): Uint8Array {
    const out = new Uint8Array(Math.min(CONTROL_MOST, segments.reduce((sum, { bytes }) => sum + bytes, 0)));
    let done = 0;
    for (const { address, bytes } of segments) {
      const count = Math.min(bytes, out.length - done);
      out.set(this.memory.bytes(address, count), done);
      done += count;
    }
    return out;
  }

  #command(bytes: Uint8Array): number {
    const { state } = this;
    const [group, command] = bytes;
    if (group === NET_CONTROL.RX && bytes.length >= 3) {
      const most = this.featureLow(NET_FEATURE.CTRL_RX_EXTRA) ? NET_CONTROL_RX.NOBCAST : NET_CONTROL_RX.ALLMULTI;
      if (command > most || !this.featureLow(NET_FEATURE.CTRL_RX)) return ERROR;
      state.rxMode = bytes[2] ? state.rxMode | 1 << command : state.rxMode & ~(1 << command);
      return OK;
    }
    if (group === NET_CONTROL.MAC && command === NET_CONTROL_MAC.ADDR_SET && bytes.length >= 8) {
      if (!this.featureLow(NET_FEATURE.CTRL_MAC_ADDR) || bytes[2] & 1) return ERROR;
      state.mac.set(bytes.subarray(2, 8));
      return OK;
    }
    if (group === NET_CONTROL.MAC && command === NET_CONTROL_MAC.TABLE_SET && this.featureLow(NET_FEATURE.CTRL_RX)) {
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      if (bytes.length < 6) return ERROR;
      const unicast = view.getUint32(2, true);
      if (unicast > MAC_TABLE || 6 + unicast * 6 + 4 > bytes.length) return ERROR;
      const multicast = view.getUint32(6 + unicast * 6, true);
      if (multicast > MAC_TABLE || 10 + (unicast + multicast) * 6 > bytes.length) return ERROR;
      state.table.fill(0);
      state.table.set(bytes.subarray(6, 6 + unicast * 6));
      state.table.set(bytes.subarray(10 + unicast * 6, 10 + (unicast + multicast) * 6), MAC_TABLE * 6);
      state.unicast = unicast;
      state.multicast = multicast;
      return OK;
    }
    if (group === NET_CONTROL.ANNOUNCE && command === 0 && this.featureLow(NET_FEATURE.GUEST_ANNOUNCE)) {
      state.status &= ~NET_STATUS.ANNOUNCE;
      return OK;
    }
    return ERROR;
  }
}

