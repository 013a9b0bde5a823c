/**
 * The conversation in a deterministic machine: the peer on the virtual wire is the gateway of the user network (vm/net/user) with the host's end
 * of `demo tcp` behind it. It calls the guest, again after 10 ms while nobody listens. Nothing here knows a clock but the machine's.
 */
import { FrameBatch } from '../../vm/net/frames.ts';
import type { ScriptedPeer, ScriptedWire } from '../../vm/net/config.ts';
import { STATE, type TcpConnection } from '../../vm/net/user/connection.ts';
import { ADDRESS, UserNetwork } from '../../vm/net/user/network.ts';
import type { HostStream, Outside } from '../../vm/net/user/outside.ts';
import type { Conversation, Wire } from './conversation.ts';

const AGAIN_NS = 10e6;
const FIRST_PORT = 40_000;
const MTU = 1500;

export class VirtualPeer implements ScriptedPeer, Wire, HostStream {
  #nowNs = 0;
  #dueNs = 0;
  #calls = 0;
  #random = 1;
  #connection: TcpConnection | undefined;
  readonly #guestPort: number;
  readonly #network: UserNetwork;
  readonly #taken = new FrameBatch(1, 16_384);
  conversation: Conversation | undefined;
  /** Why the connection is no more, when the conversation was not over. */
  ended: string | undefined;
  onEnd: () => void = () => {};

  constructor(guestPort: number) {
    this.#guestPort = guestPort;
    const outside: Outside = { connect: (c) => c.failed('refused'), datagram: () => {}, flowClosed: () => {}, answersEcho: () => false };
    this.#network = new UserNetwork({ now: () => this.#nowNs }, MTU, () => this.#draw(), outside);
  }
  get nowMs(): number { return this.#nowNs / 1e6; }
  /** Segments that the gateway sent again. */
  get retransmitted(): number { return this.#network.tcp.retransmitted; }
  /** Segments with data that it had already. */
  get receivedAgain(): number { return this.#network.counters.get('segment received again') ?? 0; }
  #draw(): number { let x = this.#random; x ^= x << 13; x ^= x >>> 17; x ^= x << 5; return this.#random = x >>> 0; }

  // ---- on the wire -----------------------------------------------------------------------------------------------------------------------

  frame(frame: Uint8Array, nowNs: number, wire: ScriptedWire): void {
    this.#nowNs = nowNs;
    if (this.#calls === 0) this.#call();
    this.#taken.push(frame);
    this.#network.input(this.#taken);
    this.#taken.clear();
    this.#done(wire);
  }
  woken(nowNs: number, wire: ScriptedWire): void {
    this.#nowNs = nowNs;
    if (this.#network.wakeNs <= nowNs) this.#network.expire();
    if (this.#connection === undefined && this.#dueNs <= nowNs) this.#call();
    this.#done(wire);
  }
  #done(wire: ScriptedWire): void {
    if (!this.#begun && this.#connection?.state === STATE.established) { this.#begun = true; this.conversation!.start(); }
    this.#network.settle();
    const { out } = this.#network;
    while (out.count > 0) {
      for (let k = 0; k < out.count; k++) { out.finish(k); wire.send(out.frame(k)); }
      out.clear();
      this.#network.drained();
    }
    wire.wakeAt(Math.min(this.#network.wakeNs, this.#connection === undefined ? this.#dueNs : Infinity));
  }

  // ---- the connection ----------------------------------------------------------------------------------------------------------------------

  #call(): void {
    this.#dueNs = Infinity;
    this.#connection = this.#network.tcp.open(ADDRESS.guest, this.#guestPort, ADDRESS.gateway, FIRST_PORT + this.#calls++, this);
  }
  #begun = false;
  readable(): void {
    const c = this.#connection!;
    while (c.available > 0) { const piece = c.peek(); this.conversation!.received(piece); c.consume(piece.length); }
    if (c.takeEnd()) { c.sendEnd(); if (!this.conversation!.over) this.#lost('closed by the guest'); }
  }
  writable(): void { this.conversation!.room(); }
  aborted(): void {
    if (!this.#begun) { this.#connection = undefined; this.#dueNs = this.#nowNs + AGAIN_NS; return; } // nobody listens yet
    if (!this.conversation!.over) this.#lost('reset');
  }
  closed(): void { /* in good order */ }
  #lost(why: string): void { this.ended ??= `the connection ended: ${why}`; this.onEnd(); }

  send(bytes: Buffer): number {
    const c = this.#connection!, n = Math.min(bytes.length, c.sendSpace);
    if (n > 0) c.send(bytes.subarray(0, n));
    if (n < bytes.length) c.full = true;
    return n;
  }
  end(): void { this.#connection!.sendEnd(); }}
