/** A chipset with a NIC on the virtual wire, its driver and a guest's stack: virtual time, no CPU. */
import { ADDRESS } from '../../vm/net/user/network.ts';
import { crc32 } from 'node:zlib';
import { pattern } from '../../vm/net/user/pattern.ts';
import type { HostStream } from '../../vm/net/user/outside.ts';
import type { TcpConnection } from '../../vm/net/user/connection.ts';
import type { NetConfig } from '../../vm/net/config.ts';
import type { VirtualNetwork } from '../../vm/net/virtual.ts';
import { Rig } from '../machine/rig.ts';
import { GuestStack, NicDriver, arp } from './driver.ts';

export class NetRig {
  readonly rig: Rig;
  readonly net: VirtualNetwork;
  readonly driver: NicDriver;
  readonly stack: GuestStack;

  constructor(config: Partial<NetConfig> = {}, features?: number, queue?: number) {
    this.rig = new Rig({ net: { backend: { kind: 'user' }, ...config } });
    this.net = this.rig.net as VirtualNetwork;
    this.driver = new NicDriver({ bus: this.rig.chipset, ram: this.rig.board.ram }, queue);
    this.driver.start(features);
    this.stack = new GuestStack(this.driver, () => this.rig.now);
  }
  /** The gateway learns the guest's address. */
  hello(): void { this.driver.send(arp(1, this.driver.mac, ADDRESS.guest, ADDRESS.gateway)); this.run(1e6); this.driver.frames(); }
  /** Time passes; the guest's stack works in steps of `step` ns. */
  run(ns: number, step = 20_000): void {
    const end = this.rig.now + ns;
    while (this.rig.now < end) { this.rig.advance(Math.min(step, end - this.rig.now)); this.stack.poll(); }
  }
  /** Until `done`, at most `ns` of virtual time: from one event to the next. */
  until(done: () => boolean, ns = 600e9): void {
    const end = this.rig.now + ns;
    this.stack.poll();
    while (!done() && this.rig.now < end) {
      const next = Math.min(this.rig.chipset.events.next(), this.stack.tcp.wakeNs);
      this.rig.advance(Math.max(1, Math.min(next, end) - this.rig.now));
      this.stack.poll();
    }
  }
}

/** A program of the guest: sends `outgoing`, ends its half, keeps what comes. */
export class Program implements HostStream {
  connection!: TcpConnection;
  readonly #outgoing: Uint8Array;
  #sent = 0;
  readonly keep: boolean;
  readonly end: boolean;
  received: number[] = [];
  bytes = 0;
  crc = 0;
  ended = false;
  gone = false;
  over = false;
  /** Takes nothing while true. */
  stalled = false;
  constructor(outgoing: Uint8Array | string = '', keep = true, end = true) { this.end = end; this.#outgoing = typeof outgoing === 'string' ? new TextEncoder().encode(outgoing) : outgoing; this.keep = keep; }
  start(connection: TcpConnection): this { this.connection = connection; this.writable(); return this; }
  readable(): void {
    if (this.stalled) return;
    const c = this.connection;
    while (c.available > 0) {
      const piece = c.peek();
      if (this.keep) for (const byte of piece) this.received.push(byte);
      this.crc = crc32(piece, this.crc);
      this.bytes += piece.length;
      c.consume(piece.length);
    }
    if (c.takeEnd()) this.ended = true;
  }
  writable(): void {
    const c = this.connection;
    while (this.#sent < this.#outgoing.length && c.sendSpace > 0) {
      const part = this.#outgoing.subarray(this.#sent, this.#sent + c.sendSpace);
      c.send(part);
      this.#sent += part.length;
    }
    if (this.#sent === this.#outgoing.length && this.end) c.sendEnd();
  }
  aborted(): void { this.gone = true; }
  closed(): void { this.over = true; }
  get text(): string { return String.fromCharCode(...this.received); }
}

export function patternBytes(bytes: number, seed = 0): Uint8Array { const out = new Uint8Array(bytes); pattern(seed, 0, out); return out; }
