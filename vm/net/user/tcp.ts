/**
 * TCP toward the guest: a real endpoint for every connection that crosses the gateway, because the wire to the guest loses frames (a driver
 * is restarted, the deterministic link drops them on purpose) and because its windows carry backpressure from the far side.
 *
 * RFC 9293 (states, RST and SYN checks of RFC 5961), RFC 6298 (retransmission timer), RFC 5681 + 6582 (congestion control, NewReno),
 * RFC 2018 + 6675 (SACK both ways), RFC 8985 (tail loss probe only), RFC 7323 (window scale, timestamps, PAWS). No Nagle, no urgent data (the pointer is ignored, RFC 6093).
 *
 * Stream positions are plain numbers: byte 0 is the one after the SYN, so nothing wraps but at the edge where sequence numbers are made.
 *
 *   from the guest   0 ........ rcvTaken ........ rcvNxt ....... rcvEdge      [taken, nxt) waits for the far side; ranges beyond nxt in `beyond`
 *   to the guest     0 ........ sndUna ... sndNxt ... sndEnd                  a FIN, once queued, is position sndEnd
 *
 * Everything is numbers and byte arrays (`save`, `load`): a deterministic machine with connections can be copied and hashed.
 */
import { type FrameBatch, checksum, pseudoSum } from '../frames.ts';
import type { StateReader, StateWriter } from '../state.ts';
import { RECEIVE_BYTES, RTO_FIRST_NS, SEND_BYTES, STATE, TcpConnection, loadConnection, saveConnection } from './connection.ts';
import { Deadlines } from './deadlines.ts';
import type { ConnectFailure, HostStream } from './outside.ts';
import { Receiver } from './receiver.ts';
import { EMPTY, grown, store } from './ring.ts';
import { FLAG, MS, RECEIVE_SCALE, SegmentWriter } from './segment.ts';
import { RING_KEPT, RTO_MOST_NS, Sender } from './sender.ts';
import { ConnectionTable } from './table.ts';

const SYN_RETRIES = 6;
const TIME_WAIT_NS = 5000 * MS;
export const INITIAL_SEGMENTS = 10;
const CHALLENGES_EACH_SECOND = 100;
export const MOST_CONNECTIONS = 4096;

/** What TCP needs of the network it is part of. */
export interface TcpNetwork {
  now(): number;
  random(): number;
  readonly mtu: number;
  readonly out: FrameBatch;
  count(reason: string): void;
  /** Reserves room for an IPv4 packet of `bytes` to `guest` and writes both headers; where the payload goes, or -1 when there is no room. */
  packet(from: number, to: number, protocol: number, bytes: number): number;
  /** The guest is told that `connection` cannot be (destination unreachable). */
  unreachable(connection: TcpConnection, failure: ConnectFailure): void;
  /** A guest that has not been seen yet cannot be sent to. */
  reachable(address: number): boolean;
}

/** Connections from their beginning to their end, the far sides' calls, and the service after each batch. Segments: receiver.ts, sender.ts. */
export class Tcp {
  readonly #net: TcpNetwork;
  readonly #table = new ConnectionTable();
  readonly #deadlines = new Deadlines();
  readonly #segments: SegmentWriter;
  readonly #sender: Sender;
  readonly #receiver: Receiver;
  /** Connections to be served when the batch ends, and those that wait for room. */
  #touched: TcpConnection[] = [];
  #blocked: TcpConnection[] = [];
  #nextId = 1;
  #challenges = 0;
  #challengeSecond = 0;
  /** Opens the way to the far side for a connection that a guest asks for. */
  onOpen: (connection: TcpConnection) => void = () => {};

  constructor(net: TcpNetwork) {
    this.#net = net;
    this.#segments = new SegmentWriter(net);
    this.#sender = new Sender(this, net, this.#deadlines, this.#segments);
    this.#receiver = new Receiver(this, net, this.#segments, this.#sender);
  }
  get connections(): ReadonlyMap<number, TcpConnection> { return this.#table.byId; }
  get retransmitted(): number { return this.#sender.retransmitted; }
  find(guestAddress: number, guestPort: number, peerAddress: number, peerPort: number): TcpConnection | undefined { return this.#table.find(guestAddress, guestPort, peerAddress, peerPort); }
  /** A segment of the guest: TCP header at `at`, `length` bytes of header and payload. The caller has checked the checksum. */
  input(b: Uint8Array, at: number, length: number, guestAddress: number, peerAddress: number): void { this.#receiver.input(b, at, length, guestAddress, peerAddress); }

  // ---- beginning and end, for receiver.ts and sender.ts too -------------------------------------------------------------------------------

  /** A new connection, as of before its handshake. Undefined: too many. */
  admit(guestAddress: number, guestPort: number, peerAddress: number, peerPort: number, inbound: boolean): TcpConnection | undefined {
    if (this.connections.size >= MOST_CONNECTIONS) return undefined;
    const c = new TcpConnection(this, this.#nextId++, guestAddress, guestPort, peerAddress, peerPort, inbound);
    c.iss = this.#net.random() >>> 0;
    c.rcvMost = RECEIVE_BYTES;
    c.rcvScale = RECEIVE_SCALE;
    c.cwnd = INITIAL_SEGMENTS * (this.#net.mtu - 40);
    this.#table.enter(c);
    return c;
  }
  remove(c: TcpConnection): void {
    if (c.state === STATE.closed) return;
    c.state = STATE.closed;
    c.deadline = Infinity;
    c.rcvBytes = c.sndBytes = EMPTY;
    c.stream = undefined;
    this.#table.remove(c);
  }
  /** It is served when the batch ends. */
  touch(c: TcpConnection): void { if (!c.touched) { c.touched = true; this.#touched.push(c); } }
  /** It waits for room in the batch of frames. */
  block(c: TcpConnection): void { if (!c.blocked) { c.blocked = true; this.#blocked.push(c); } }
  /** Both halves ended and all acknowledged: the connection is over. */
  ended(c: TcpConnection): boolean {
    if (!c.finOut || c.sndUna <= c.sndEnd || c.state !== STATE.established) return false;
    if (!c.finIn || !c.endTold) return false;
    if (c.ackNow) this.acknowledge(c);
    const { stream } = c;
    c.state = STATE.timeWait;
    c.rcvBytes = c.sndBytes = EMPTY;
    c.stream = undefined;
    this.#deadlines.arm(c, this.#net.now() + TIME_WAIT_NS);
    stream?.closed();
    return true;
  }
  abort(c: TcpConnection, reason: string): void {
    if (c.state === STATE.closed) return;
    if (c.state === STATE.connecting) this.#segments.reset(c, 0, 1);
    else if (c.state !== STATE.timeWait && c.state !== STATE.synSent) this.#segments.reset(c, c.iss + 1 + c.sndMax, 0);
    this.#net.count(`connection ended: ${reason}`);
    const { stream } = c;
    this.remove(c);
    if (reason !== 'far side reset') stream?.aborted();
  }
  acknowledge(c: TcpConnection): void { if (!this.#segments.emit(c, c.sndMax, 0, FLAG.ACK)) this.block(c); }
  challenge(c: TcpConnection): void {
    const second = Math.floor(this.#net.now() / 1e9);
    if (second !== this.#challengeSecond) { this.#challengeSecond = second; this.#challenges = 0; }
    this.#net.count('challenge ACK');
    if (this.#challenges++ < CHALLENGES_EACH_SECOND) this.acknowledge(c);
  }

  // ---- timers -----------------------------------------------------------------------------------------------------------------------------

  /** When `expire` wants to be called, ns. */
  get wakeNs(): number { return this.#deadlines.next; }
  expire(): void { this.#deadlines.expire(this.#net.now(), (id) => this.connections.get(id), (c) => this.#timeout(c)); }
  #timeout(c: TcpConnection): void {
    switch (c.state) {
      case STATE.timeWait: this.remove(c); return;
      case STATE.synReceived: case STATE.synSent:
        if (!this.#net.reachable(c.guestAddress)) { this.#deadlines.arm(c, this.#net.now() + RTO_FIRST_NS); return; } // waits for the guest to appear
        if (++c.retries > SYN_RETRIES) { this.#net.count('guest does not answer'); this.abort(c, 'handshake timed out'); return; }
        c.rtoNs = Math.min(RTO_MOST_NS, c.rtoNs * 2);
        this.#segments.emit(c, 0, 0, c.state === STATE.synSent ? FLAG.SYN : FLAG.SYN | FLAG.ACK);
        this.#deadlines.arm(c, this.#net.now() + c.rtoNs);
        return;
      case STATE.established: this.#sender.timeout(c); return;
      default: return;
    }
  }

  // ---- from the far side ---------------------------------------------------------------------------------------------------------------

  /** A connection to the guest's `port` (host forward, deterministic call). Undefined: too many, or it exists. */
  open(guestAddress: number, guestPort: number, peerAddress: number, peerPort: number, stream: HostStream): TcpConnection | undefined {
    const c = this.find(guestAddress, guestPort, peerAddress, peerPort) ? undefined : this.admit(guestAddress, guestPort, peerAddress, peerPort, true);
    if (!c) return undefined;
    c.stream = stream;
    c.state = STATE.synSent;
    if (this.#net.reachable(guestAddress)) this.#segments.emit(c, 0, 0, FLAG.SYN);
    this.#deadlines.arm(c, this.#net.now() + c.rtoNs);
    return c;
  }
  connected(c: TcpConnection): void {
    if (c.state !== STATE.connecting) return;
    c.state = STATE.synReceived;
    this.#segments.emit(c, 0, 0, FLAG.SYN | FLAG.ACK);
    this.#deadlines.arm(c, this.#net.now() + c.rtoNs);
  }
  failed(c: TcpConnection, failure: ConnectFailure): void {
    if (c.state !== STATE.connecting) return;
    if (failure === 'refused') this.#segments.reset(c, 0, 1);
    else this.#net.unreachable(c, failure);
    this.#net.count(`connection ${failure}`);
    this.remove(c);
  }

  send(c: TcpConnection, bytes: Uint8Array): void {
    if (c.state >= STATE.timeWait || c.finOut || bytes.length === 0) return;
    const held = c.sndEnd - c.sndUna;
    c.sndBytes = grown(c.sndBytes, held + bytes.length, c.sndUna, c.sndEnd);
    store(c.sndBytes, c.sndEnd, bytes, 0, bytes.length);
    c.sndEnd += bytes.length;
    c.full = c.sendSpace === 0;
    if (c.state === STATE.established) this.#sender.output(c);
  }
  sendEnd(c: TcpConnection): void {
    if (c.state >= STATE.timeWait || c.finOut) return;
    c.finOut = true;
    if (c.state === STATE.established) this.#sender.output(c);
  }
  consumed(c: TcpConnection, bytes: number): void {
    c.rcvTaken += bytes;
    if (c.state >= STATE.timeWait) return;
    if (c.rcvTaken === c.rcvNxt && c.beyond.length === 0 && c.rcvBytes.length > RING_KEPT) c.rcvBytes = EMPTY;
    // The window opens by two segments at least, or half (RFC 9293 3.8.6.2.2).
    const edge = c.rcvTaken + c.rcvMost;
    if (!c.finIn && edge - c.rcvEdge >= Math.min(2 * c.mss, c.rcvMost / 2) && (c.rcvEdge - c.rcvNxt < c.rcvMost / 2)) { c.ackNow = true; this.touch(c); }
  }
  endTaken(c: TcpConnection): boolean {
    c.endTold = true;
    this.touch(c); // perhaps that was the last of it
    return true;
  }
  /** A guest that was not there has been heard: what waits for it goes out now. */
  appeared(guestAddress: number): void {
    for (const c of this.connections.values()) if (c.state === STATE.synSent && c.guestAddress === guestAddress && c.retries === 0) this.#segments.emit(c, 0, 0, FLAG.SYN);
  }

  // ---- service after a batch -------------------------------------------------------------------------------------------------------

  /** Gives the far sides what has come, sends what can be sent, acknowledges. Call after every batch of frames and every event of the far side. */
  settle(): void {
    for (let rounds = 0; this.#touched.length > 0 && rounds < 100; rounds++) {
      const list = this.#touched;
      this.#touched = [];
      for (const c of list) {
        c.touched = false;
        if (c.state === STATE.timeWait && c.ackNow) { this.acknowledge(c); continue; }
        if (c.state !== STATE.established) continue;
        if (c.stream && (c.available > 0 || (c.atEnd && !c.endTold))) {
          c.stream.readable();
          if (c.state !== STATE.established) continue;
        }
        if (c.full && c.sendSpace >= SEND_BYTES / 4) { c.full = false; c.stream?.writable(); }
        if (c.state !== STATE.established) continue;
        this.#sender.output(c);
        if (c.ackNow && c.state === STATE.established) this.acknowledge(c);
        this.ended(c);
      }
    }
  }
  /** The batch of frames has room again. */
  resume(): void {
    if (this.#blocked.length === 0) return;
    const list = this.#blocked;
    this.#blocked = [];
    for (const c of list) { c.blocked = false; this.touch(c); }
    this.settle();
  }
  get waitsForRoom(): boolean { return this.#blocked.length > 0; }

  // ---- plain data ---------------------------------------------------------------------------------------------------------------------

  save(w: StateWriter): void {
    w.number(this.#nextId); w.number(this.#challenges); w.number(this.#challengeSecond); w.number(this.retransmitted);
    w.list(this.#deadlines.heap, this.#deadlines.heap.length, (value) => w.number(value));
    w.list(this.connections.values(), this.connections.size, (c) => saveConnection(w, c));
    for (const list of [this.#touched, this.#blocked]) w.list(list, list.length, (c) => w.number(c.id));
  }
  /** Streams are put back by whoever made them. */
  load(r: StateReader): void {
    this.#nextId = r.number(); this.#challenges = r.number(); this.#challengeSecond = r.number(); this.#sender.retransmitted = r.number();
    this.#deadlines.heap = r.list(() => r.number());
    this.#table.clear();
    r.list(() => this.#table.enter(loadConnection(r, this)));
    const listed = (): TcpConnection[] => r.list(() => this.connections.get(r.number())).filter((c) => c !== undefined);
    this.#touched = listed();
    this.#blocked = listed();
  }
}

/** Whether the checksum of a TCP or UDP packet holds. */
export const transportChecksumHolds = (b: Uint8Array, at: number, bytes: number, source: number, destination: number, protocol: number): boolean =>
  checksum(b, at, bytes, pseudoSum(source, destination, protocol, bytes)) === 0;
