/**
 * A virtio-net driver on the test's side of the bus, as sections 3.1, 4.1 and 5.1 of virtio 1.2 prescribe it: the test is the guest. And a
 * guest's IP stack on top of it, whose TCP is the engine of vm/net/user/tcp.ts seen from the other end.
 */
import { FrameBatch, ETHERNET_HEADER, ETHERTYPE, PROTOCOL, checksum, finishChecksum, fold, get16, get32, pseudoSum, put16, put32 } from '../../vm/net/frames.ts';
import { COMMON, VIRTIO_STATUS } from '../../vm/devices/virtio-pci.ts';
import { NET_FEATURE, NET_HEADER_BYTES, NET_QUEUE } from '../../vm/devices/virtio-net.ts';
import { NIC_SLOT } from '../../vm/devices/chipset.ts';
import type { PhysAddr } from '../../vm/board.ts';
import type { Bus } from '../../vm/devices/bus.ts';
import { ADDRESS } from '../../vm/net/user/network.ts';
import type { ConnectFailure } from '../../vm/net/user/outside.ts';
import type { TcpConnection } from '../../vm/net/user/connection.ts';
import { Tcp, type TcpNetwork } from '../../vm/net/user/tcp.ts';

/** What the driver needs of a machine: its bus and its memory. */
export interface Metal { readonly bus: Bus; readonly ram: Uint8Array }

const RINGS = 0x20_0000; // 64 KiB for each queue's rings
const TX_BUFFERS = 0x24_0000;
const RX_BUFFERS = 0x34_0000;
const CONTROL = 0x30_0000;
export const BUFFER_BYTES = 2048;
const DESC_NEXT = 1;
const DESC_WRITE = 2;

export const GUEST_FEATURES = NET_FEATURE.CSUM | NET_FEATURE.GUEST_CSUM | NET_FEATURE.MAC | NET_FEATURE.STATUS | NET_FEATURE.MTU | NET_FEATURE.MRG_RXBUF | NET_FEATURE.CTRL_VQ | NET_FEATURE.CTRL_RX;

export class NicDriver {
  readonly metal: Metal;
  readonly size: number;
  readonly words: Uint32Array;
  readonly halves: Uint16Array;
  mac: Uint8Array = new Uint8Array(6);
  mtu = 0;
  common = 0;
  isr = 0;
  device = 0;
  notify = 0;
  features = 0;
  #avail = [0, 0, 0];
  #used = [0, 0, 0];
  #txFree: number[] = [];
  #kick = [false, false, false];

  constructor(metal: Metal, size = 256) {
    this.metal = metal;
    this.size = size;
    const { ram } = metal;
    this.words = new Uint32Array(ram.buffer, ram.byteOffset, ram.length >> 2);
    this.halves = new Uint16Array(ram.buffer, ram.byteOffset, ram.length >> 1);
  }

  // ---- bus --------------------------------------------------------------------------------------------------------------------------
  config(register: number): number { this.metal.bus.portWrite(0, 0xcf8, 4, (0x8000_0000 | (NIC_SLOT << 11) | (register & 0xfc)) >>> 0); return this.metal.bus.portRead(0, 0xcfc, 4) >>> 0; }
  setConfig(register: number, value: number): void { this.config(register); this.metal.bus.portWrite(0, 0xcfc, 4, value >>> 0); }
  read(address: number, size: 1 | 2 | 4): number { const value = this.metal.bus.mmioRead(0, address as PhysAddr, size); return size === 4 ? value >>> 0 : value & (2 ** (8 * size) - 1); }
  write(address: number, size: 1 | 2 | 4, value: number): void { this.metal.bus.mmioWrite(0, address as PhysAddr, size, value >>> 0); }

  find(): void {
    const bar = (this.config(0x20) & ~15) >>> 0;
    for (let at = this.config(0x34) & 0xff; at; at = (this.config(at) >> 8) & 0xff) {
      const type = this.config(at) >>> 24;
      const address = bar + this.config(at + 8);
      if (type === 1) this.common = address;
      if (type === 2) this.notify = address;
      if (type === 3) this.isr = address;
      if (type === 4) this.device = address;
    }
    this.setConfig(4, 6);
  }

  // ---- initialisation ---------------------------------------------------------------------------------------------------------------
  /** Returns the status read back: Fh when the device works. */
  start(features: number = GUEST_FEATURES): number {
    this.find();
    const set = (offset: number, size: 1 | 2 | 4, value: number): void => this.write(this.common + offset, size, value);
    set(COMMON.DEVICE_STATUS, 1, 0);
    set(COMMON.DEVICE_STATUS, 1, VIRTIO_STATUS.ACKNOWLEDGE);
    set(COMMON.DEVICE_STATUS, 1, 3);
    set(COMMON.DRIVER_FEATURE_SELECT, 4, 0); set(COMMON.DRIVER_FEATURE, 4, features);
    set(COMMON.DRIVER_FEATURE_SELECT, 4, 1); set(COMMON.DRIVER_FEATURE, 4, 1);
    set(COMMON.DEVICE_STATUS, 1, 3 | VIRTIO_STATUS.FEATURES_OK);
    if (!(this.read(this.common + COMMON.DEVICE_STATUS, 1) & VIRTIO_STATUS.FEATURES_OK)) return this.read(this.common + COMMON.DEVICE_STATUS, 1);
    this.features = features;
    this.#avail = [0, 0, 0];
    this.#used = [0, 0, 0];
    for (let q = 0; q < 3; q++) {
      const base = RINGS + q * 0x1_0000;
      this.metal.ram.fill(0, base, base + 0x1_0000);
      set(COMMON.QUEUE_SELECT, 2, q);
      set(COMMON.QUEUE_SIZE, 2, this.size);
      set(COMMON.QUEUE_DESC, 4, base); set(COMMON.QUEUE_DRIVER, 4, base + 0x4000); set(COMMON.QUEUE_DEVICE, 4, base + 0x8000);
      set(COMMON.QUEUE_ENABLE, 2, 1);
    }
    for (let k = 0; k < 6; k++) this.mac[k] = this.read(this.device + k, 1);
    this.mtu = this.read(this.device + 10, 2);
    this.#txFree = Array.from({ length: this.size }, (_, k) => this.size - 1 - k);
    for (let k = 0; k < this.size; k++) this.postReceive(k);
    set(COMMON.DEVICE_STATUS, 1, 0xf);
    return this.read(this.common + COMMON.DEVICE_STATUS, 1);
  }
  get status(): number { return this.read(this.common + COMMON.DEVICE_STATUS, 1); }

  descriptor(q: number, index: number, address: number, bytes: number, flags: number, next = 0): void {
    const d = (RINGS + q * 0x1_0000 + 16 * index) >> 2;
    this.words[d] = address; this.words[d + 1] = 0; this.words[d + 2] = bytes; this.words[d + 3] = flags | next << 16;
  }
  post(q: number, head: number): void {
    const avail = (RINGS + q * 0x1_0000 + 0x4000) >> 1;
    this.halves[avail + 2 + (this.#avail[q] & (this.size - 1))] = head;
    this.#avail[q]++;
    Atomics.store(this.halves as Uint16Array<SharedArrayBuffer>, avail + 1, this.#avail[q] & 0xffff);
    this.#kick[q] = true;
  }
  kick(q: number): void {
    if (!this.#kick[q]) return;
    this.#kick[q] = false;
    if (!(Atomics.load(this.halves as Uint16Array<SharedArrayBuffer>, (RINGS + q * 0x1_0000 + 0x8000) >> 1) & 1)) this.write(this.notify + 4 * q, 2, q);
  }
  /** The next finished head of a queue and its length, or undefined. */
  used(q: number): { head: number; bytes: number } | undefined {
    const used = RINGS + q * 0x1_0000 + 0x8000;
    if (Atomics.load(this.halves as Uint16Array<SharedArrayBuffer>, (used + 2) >> 1) === (this.#used[q] & 0xffff)) return undefined;
    const at = (used + 4 + 8 * (this.#used[q] & (this.size - 1))) >> 2;
    this.#used[q]++;
    return { head: this.words[at], bytes: this.words[at + 1] };
  }
  postReceive(k: number): void { this.descriptor(NET_QUEUE.RX, k, RX_BUFFERS + k * BUFFER_BYTES, BUFFER_BYTES, DESC_WRITE); this.post(NET_QUEUE.RX, k); }

  // ---- frames -------------------------------------------------------------------------------------------------------------------------
  /** Memory for a frame to send; -1: the ring is full. Write the frame 12 bytes behind it, then `sendBuffer`. */
  txBuffer(): number {
    if (this.#txFree.length === 0) for (let done = this.used(NET_QUEUE.TX); done; done = this.used(NET_QUEUE.TX)) this.#txFree.push(done.head);
    return this.#txFree.length === 0 ? -1 : TX_BUFFERS + this.#txFree[this.#txFree.length - 1] * BUFFER_BYTES;
  }
  sendBuffer(length: number, checksumStart = 0, checksumOffset = 0): void {
    const k = this.#txFree.pop() as number;
    const at = TX_BUFFERS + k * BUFFER_BYTES;
    const { ram } = this.metal;
    ram.fill(0, at, at + NET_HEADER_BYTES);
    if (checksumStart !== 0) { ram[at] = 1; ram[at + 6] = checksumStart; ram[at + 7] = checksumStart >> 8; ram[at + 8] = checksumOffset; }
    this.descriptor(NET_QUEUE.TX, k, at, NET_HEADER_BYTES + length, 0);
    this.post(NET_QUEUE.TX, k);
  }
  /** Sends one frame with complete checksums, or the given header bytes. */
  send(frame: Uint8Array, header?: Uint8Array): void {
    const at = this.txBuffer();
    if (at < 0) throw new Error('transmit ring is full');
    this.metal.ram.set(frame, at + NET_HEADER_BYTES);
    this.sendBuffer(frame.length);
    if (header) this.metal.ram.set(header, at);
    this.kick(NET_QUEUE.TX);
  }
  /** Frames that have arrived, one after the other; `take` must not keep the bytes. */
  receive(take: (bytes: Uint8Array, at: number, length: number, checked: boolean) => void): number {
    let count = 0;
    for (let done = this.used(NET_QUEUE.RX); done; done = this.used(NET_QUEUE.RX)) {
      const at = RX_BUFFERS + done.head * BUFFER_BYTES;
      const { ram } = this.metal;
      const buffers = ram[at + 10] | ram[at + 11] << 8;
      if (buffers > 1) {
        const parts = [ram.slice(at + NET_HEADER_BYTES, at + done.bytes)];
        this.postReceive(done.head);
        for (let k = 1; k < buffers; k++) {
          const more = this.used(NET_QUEUE.RX) as { head: number; bytes: number };
          parts.push(ram.slice(RX_BUFFERS + more.head * BUFFER_BYTES, RX_BUFFERS + more.head * BUFFER_BYTES + more.bytes));
          this.postReceive(more.head);
        }
        const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
        let o = 0;
        for (const part of parts) { whole.set(part, o); o += part.length; }
        take(whole, 0, whole.length, (ram[at] & 1) !== 0);
      } else {
        take(ram, at + NET_HEADER_BYTES, done.bytes - NET_HEADER_BYTES, (ram[at] & 1) !== 0);
        this.postReceive(done.head);
      }
      count++;
    }
    if (count > 0) this.kick(NET_QUEUE.RX);
    return count;
  }
  /** All frames that have arrived, copied, checksums finished. */
  frames(): Uint8Array[] {
    const out: Uint8Array[] = [];
    this.receive((bytes, at, length, partial) => {
      const frame = bytes.slice(at, at + length);
      if (partial) finishChecksum(frame, ETHERNET_HEADER + 20, length - ETHERNET_HEADER - 20, frame[ETHERNET_HEADER + 9] === PROTOCOL.tcp ? 16 : 6);
      out.push(frame);
    });
    return out;
  }
  /** A command on the control queue; its acknowledgement. */
  control(bytes: readonly number[]): number {
    const { ram } = this.metal;
    ram.set(bytes, CONTROL);
    ram[CONTROL + 4000] = 0xff;
    this.descriptor(NET_QUEUE.CONTROL, 0, CONTROL, bytes.length, DESC_NEXT, 1);
    this.descriptor(NET_QUEUE.CONTROL, 1, CONTROL + 4000, 1, DESC_WRITE);
    this.post(NET_QUEUE.CONTROL, 0);
    this.kick(NET_QUEUE.CONTROL);
    this.used(NET_QUEUE.CONTROL);
    return ram[CONTROL + 4000];
  }
}

// ---- packets ----------------------------------------------------------------------------------------------------------------------------

export const GATEWAY_MAC = Uint8Array.of(0x52, 0x55, 10, 0, 2, 2);
const BROADCAST_MAC = new Uint8Array(6).fill(0xff);

export function ethernet(to: Uint8Array, from: Uint8Array, type: number, payload: Uint8Array): Uint8Array {
  const frame = new Uint8Array(ETHERNET_HEADER + payload.length);
  frame.set(to); frame.set(from, 6); put16(frame, 12, type); frame.set(payload, ETHERNET_HEADER);
  return frame;
}
export function arp(operation: number, senderMac: Uint8Array, sender: number, target: number): Uint8Array {
  const b = new Uint8Array(28);
  put16(b, 0, 1); put16(b, 2, ETHERTYPE.ipv4); b[4] = 6; b[5] = 4; put16(b, 6, operation);
  b.set(senderMac, 8); put32(b, 14, sender); put32(b, 24, target);
  return ethernet(BROADCAST_MAC, senderMac, ETHERTYPE.arp, b);
}
export interface IpOptions { id?: number; fragment?: number; ttl?: number; to?: Uint8Array }
export function ip(mac: Uint8Array, source: number, destination: number, protocol: number, payload: Uint8Array, options: IpOptions = {}): Uint8Array {
  const b = new Uint8Array(20 + payload.length);
  b[0] = 0x45; put16(b, 2, b.length); put16(b, 4, options.id ?? 1); put16(b, 6, options.fragment ?? 0); b[8] = options.ttl ?? 64; b[9] = protocol;
  put32(b, 12, source); put32(b, 16, destination);
  put16(b, 10, checksum(b, 0, 20));
  b.set(payload, 20);
  return ethernet(options.to ?? (destination === 0xffff_ffff ? BROADCAST_MAC : GATEWAY_MAC), mac, ETHERTYPE.ipv4, b);
}
export function udp(mac: Uint8Array, source: number, sourcePort: number, destination: number, port: number, data: Uint8Array): Uint8Array {
  return ip(mac, source, destination, PROTOCOL.udp, udpPayload(source, sourcePort, destination, port, data));
}
export function udpPayload(source: number, sourcePort: number, destination: number, port: number, data: Uint8Array): Uint8Array {
  const b = new Uint8Array(8 + data.length);
  put16(b, 0, sourcePort); put16(b, 2, port); put16(b, 4, b.length); b.set(data, 8);
  put16(b, 6, checksum(b, 0, b.length, pseudoSum(source, destination, PROTOCOL.udp, b.length)) || 0xffff);
  return b;
}
export function echo(mac: Uint8Array, source: number, destination: number, sequence: number, data: Uint8Array, options: IpOptions = {}): Uint8Array {
  const b = new Uint8Array(8 + data.length);
  b[0] = 8; put16(b, 4, 77); put16(b, 6, sequence); b.set(data, 8);
  put16(b, 2, checksum(b, 0, b.length));
  return ip(mac, source, destination, PROTOCOL.icmp, b, options);
}
export interface TcpFields { seq?: number; ack?: number; flags: number; window?: number; options?: readonly number[]; data?: Uint8Array }
export function tcp(mac: Uint8Array, source: number, sourcePort: number, destination: number, port: number, fields: TcpFields): Uint8Array {
  const options = fields.options ?? [];
  const data = fields.data ?? new Uint8Array(0);
  const b = new Uint8Array(20 + options.length + data.length);
  put16(b, 0, sourcePort); put16(b, 2, port); put32(b, 4, fields.seq ?? 0); put32(b, 8, fields.ack ?? 0);
  b[12] = (20 + options.length) << 2; b[13] = fields.flags; put16(b, 14, fields.window ?? 65535);
  b.set(options, 20); b.set(data, 20 + options.length);
  put16(b, 16, checksum(b, 0, b.length, pseudoSum(source, destination, PROTOCOL.tcp, b.length)));
  return ip(mac, source, destination, PROTOCOL.tcp, b);
}
/** What a frame says, for expectations. Throws when a checksum is wrong. */
export interface Seen { type: number; source: number; destination: number; protocol: number; id: number; fragment: number; sourcePort: number; port: number; seq: number; ack: number; flags: number; window: number; options: Uint8Array; data: Uint8Array; payload: Uint8Array; frame: Uint8Array }
export function parse(frame: Uint8Array): Seen {
  const type = get16(frame, 12);
  const none = new Uint8Array(0);
  const seen: Seen = { type, source: 0, destination: 0, protocol: 0, id: 0, fragment: 0, sourcePort: 0, port: 0, seq: 0, ack: 0, flags: 0, window: 0, options: none, data: none, payload: none, frame };
  if (type !== ETHERTYPE.ipv4) return seen;
  const at = ETHERNET_HEADER;
  if (checksum(frame, at, 20) !== 0) throw new Error('IP checksum');
  const bytes = get16(frame, at + 2) - 20;
  seen.source = get32(frame, at + 12); seen.destination = get32(frame, at + 16); seen.protocol = frame[at + 9];
  seen.id = get16(frame, at + 4); seen.fragment = get16(frame, at + 6) & 0x3fff;
  seen.payload = frame.subarray(at + 20, at + 20 + bytes);
  if (seen.fragment !== 0) return seen;
  const p = seen.payload;
  if (seen.protocol === PROTOCOL.icmp) { if (checksum(p, 0, bytes) !== 0) throw new Error('ICMP checksum'); seen.flags = p[0]; seen.seq = p[1]; seen.data = p.subarray(8); return seen; }
  if (checksum(p, 0, bytes, pseudoSum(seen.source, seen.destination, seen.protocol, bytes)) !== 0) throw new Error('transport checksum');
  seen.sourcePort = get16(p, 0); seen.port = get16(p, 2);
  if (seen.protocol === PROTOCOL.udp) seen.data = p.subarray(8);
  else { seen.seq = get32(p, 4); seen.ack = get32(p, 8); seen.flags = p[13]; seen.window = get16(p, 14); seen.options = p.subarray(20, (p[12] >> 4) * 4); seen.data = p.subarray((p[12] >> 4) * 4); }
  return seen;
}

// ---- a guest's stack ------------------------------------------------------------------------------------------------------------------

/** TCP of a guest at 10.0.2.15. For the engine "guest" is the other end: 10.0.2.2 and its port; "peer" is this guest and its port. */
export class GuestStack implements TcpNetwork {
  readonly driver: NicDriver;
  readonly mtu: number;
  readonly out: FrameBatch;
  readonly tcp: Tcp;
  readonly counters = new Map<string, number>();
  readonly #now: () => number;
  #random = 12345;
  #id = 1;

  constructor(driver: NicDriver, now: () => number) {
    this.driver = driver;
    this.mtu = driver.mtu || 1500;
    this.#now = now;
    this.out = new FrameBatch(driver.size, driver.size * BUFFER_BYTES);
    this.tcp = new Tcp(this);
  }
  now(): number { return this.#now(); }
  random(): number { this.#random = (Math.imul(this.#random, 1_103_515_245) + 12_345) >>> 0; return this.#random; }
  count(reason: string): void { this.counters.set(reason, (this.counters.get(reason) ?? 0) + 1); }
  unreachable(_connection: TcpConnection, _failure: ConnectFailure): void { /* never */ }
  reachable(): boolean { return true; }

  packet(from: number, to: number, protocol: number, bytes: number): number {
    const at = this.out.reserve(ETHERNET_HEADER + 20 + bytes);
    if (at < 0) return -1;
    const b = this.out.bytes;
    b.set(GATEWAY_MAC, at); b.set(this.driver.mac, at + 6); put16(b, at + 12, ETHERTYPE.ipv4);
    const o = at + ETHERNET_HEADER;
    const id = this.#id++ & 0xffff;
    b[o] = 0x45; b[o + 1] = 0; put16(b, o + 2, 20 + bytes); put16(b, o + 4, id); put16(b, o + 6, 0x4000); b[o + 8] = 64; b[o + 9] = protocol;
    put32(b, o + 12, from); put32(b, o + 16, to);
    put16(b, o + 10, ~fold(0x4500 + 20 + bytes + id + 0x4000 + 0x4000 + protocol + (from >>> 16) + (from & 0xffff) + (to >>> 16) + (to & 0xffff)));
    return o + 20;
  }

  /** Connects to `to`:`port` from the guest's `from` port. */
  connect(to: number, port: number, from: number, stream: import('../../vm/net/user/outside.ts').HostStream): TcpConnection {
    const connection = this.tcp.open(to, port, ADDRESS.guest, from, stream);
    if (!connection) throw new Error('no connection');
    this.flush();
    return connection;
  }

  /** Takes what has arrived, sends what is to be sent. How many frames moved. */
  poll(): number {
    const taken = this.driver.receive((bytes, at, length, partial) => {
      if (get16(bytes, at + 12) !== ETHERTYPE.ipv4 || bytes[at + ETHERNET_HEADER + 9] !== PROTOCOL.tcp) return;
      const total = get16(bytes, at + ETHERNET_HEADER + 2);
      if (total + ETHERNET_HEADER > length) return;
      if (!partial && checksum(bytes, at + ETHERNET_HEADER + 20, total - 20, pseudoSum(get32(bytes, at + 26), get32(bytes, at + 30), PROTOCOL.tcp, total - 20)) !== 0) { this.count('TCP checksum'); return; }
      this.tcp.input(bytes, at + ETHERNET_HEADER + 20, total - 20, get32(bytes, at + 26), get32(bytes, at + 30));
    });
    if (this.tcp.wakeNs <= this.now()) this.tcp.expire();
    this.tcp.settle();
    return taken + this.flush();
  }
  flush(): number {
    const { out, driver } = this;
    let moved = 0;
    while (out.count > 0) {
      let k = 0;
      for (; k < out.count; k++) {
        const at = driver.txBuffer();
        if (at < 0) break;
        const length = out.length(k);
        driver.metal.ram.set(out.bytes.subarray(out.offset(k), out.offset(k) + length), at + NET_HEADER_BYTES);
        driver.sendBuffer(length, out.checksumStart(k), out.checksumOffset(k));
      }
      out.drop(k);
      moved += k;
      driver.kick(NET_QUEUE.TX);
      if (k === 0) break;
      if (this.tcp.waitsForRoom) this.tcp.resume();
    }
    return moved;
  }
}
