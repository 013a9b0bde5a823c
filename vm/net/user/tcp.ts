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
import { ETHERNET_HEADER, type FrameBatch, PROTOCOL, checksum, get16, get32, pseudoSum, put16, put32, fold } from '../frames.ts';
import type { StateReader, StateWriter } from '../state.ts';
import { DEFAULT_MSS, FLAGS, NUMBERS, RECEIVE_BYTES, RTO_FIRST_NS, SEND_BYTES, STATE, TcpConnection } from './connection.ts';
import type { ConnectFailure, HostStream } from './outside.ts';
import { EMPTY, extract, fetch, forget, grown, insert, store, sum } from './ring.ts';

export const FLAG = { FIN: 1, SYN: 2, RST: 4, PSH: 8, ACK: 16, URG: 32 } as const;
const IP_HEADER = 20;
const TCP_HEADER = 20;
const OPTION = { end: 0, nop: 1, mss: 2, windowScale: 3, sackPermitted: 4, sack: 5, timestamps: 8 } as const;

const LEAST_MSS = 64;
const RECEIVE_SCALE = 3;
/** An emptied ring larger than this is given back. */
const RING_KEPT = 16 * 1024;
const MS = 1e6;
const RTO_LEAST_NS = 200 * MS;
const RTO_MOST_NS = 60_000 * MS;
/** Tail loss probe (RFC 8985 7.2): after two round trips, at least this; a lone segment may wait for a delayed acknowledgement. */
const PROBE_LEAST_NS = 10 * MS;
const DELAYED_ACK_NS = 40 * MS;
/** A duplicate this long after the last segment was sent answers none of them: the receiver has lost what it had (a server was restarted). */
const LATE_LEAST_NS = 4 * MS;
const SYN_RETRIES = 6;
const RETRIES = 12;
const TIME_WAIT_NS = 5000 * MS;
const INITIAL_SEGMENTS = 10;
const DUPLICATES = 3;
const BEYOND_RANGES = 64;
const SACK_RANGES = 64;
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

/** One received segment, taken apart; a single object, used again. */
interface Segment { seq: number; ack: number; flags: number; window: number; payload: number; bytes: number; mss: number; scale: number; sackPermitted: boolean; stamp: boolean; stampValue: number; stampEcho: number; sacks: number; sackAt: number }

export class Tcp {
  readonly #net: TcpNetwork;
  readonly #buckets = new Map<number, TcpConnection[]>();
  readonly connections = new Map<number, TcpConnection>();
  /** Connections to be served when the batch ends, and those that wait for room. */
  #touched: TcpConnection[] = [];
  #blocked: TcpConnection[] = [];
  /** Heap of (deadline, connection id), two numbers each. */
  #heap: number[] = [];
  #nextId = 1;
  #challenges = 0;
  #challengeSecond = 0;
  #last: TcpConnection | undefined;
  readonly #segment: Segment = { seq: 0, ack: 0, flags: 0, window: 0, payload: 0, bytes: 0, mss: 0, scale: -1, sackPermitted: false, stamp: false, stampValue: 0, stampEcho: 0, sacks: 0, sackAt: 0 };
  /** Opens the way to the far side for a connection that a guest asks for. */
  onOpen: (connection: TcpConnection) => void = () => {};
  retransmitted = 0;

  constructor(net: TcpNetwork) { this.#net = net; }

  // ---- table ------------------------------------------------------------------------------------------------------------------------

  #key(guestAddress: number, guestPort: number, peerAddress: number, peerPort: number): number {
    return ((Math.imul(peerAddress, 0x9e37_79b1) ^ Math.imul(peerPort, 0x85eb_ca77) ^ guestAddress) >>> 0) * 65536 + guestPort;
  }
  find(guestAddress: number, guestPort: number, peerAddress: number, peerPort: number): TcpConnection | undefined {
    const last = this.#last;
    if (last && last.guestPort === guestPort && last.peerPort === peerPort && last.peerAddress === peerAddress && last.guestAddress === guestAddress) return last;
    const bucket = this.#buckets.get(this.#key(guestAddress, guestPort, peerAddress, peerPort));
    if (!bucket) return undefined;
    for (const c of bucket) if (c.guestPort === guestPort && c.peerPort === peerPort && c.peerAddress === peerAddress && c.guestAddress === guestAddress) { this.#last = c; return c; }
    return undefined;
  }
  #enter(c: TcpConnection): void {
    const key = this.#key(c.guestAddress, c.guestPort, c.peerAddress, c.peerPort);
    const bucket = this.#buckets.get(key);
    if (bucket) bucket.push(c); else this.#buckets.set(key, [c]);
    this.connections.set(c.id, c);
  }
  #remove(c: TcpConnection): void {
    if (c.state === STATE.closed) return;
    c.state = STATE.closed;
    c.deadline = Infinity;
    c.rcvBytes = c.sndBytes = EMPTY;
    c.stream = undefined;
    const key = this.#key(c.guestAddress, c.guestPort, c.peerAddress, c.peerPort);
    const bucket = this.#buckets.get(key);
    if (bucket) {
      bucket.splice(bucket.indexOf(c), 1);
      if (bucket.length === 0) this.#buckets.delete(key);
    }
    this.connections.delete(c.id);
    if (this.#last === c) this.#last = undefined;
  }

  #touch(c: TcpConnection): void { if (!c.touched) { c.touched = true; this.#touched.push(c); } }
  #block(c: TcpConnection): void { if (!c.blocked) { c.blocked = true; this.#blocked.push(c); } }

  // ---- timers -------------------------------------------------------------------------------------------------------------------------

  #arm(c: TcpConnection, deadline: number): void {
    c.deadline = deadline;
    if (deadline < c.queued) { c.queued = deadline; this.#push(deadline, c.id); }
  }
  #push(deadline: number, id: number): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(deadline, id);
    while (at > 0) {
      const up = ((at / 2 - 1) >> 1) * 2;
      if (heap[up] < deadline || (heap[up] === deadline && heap[up + 1] <= id)) break;
      heap[at] = heap[up]; heap[at + 1] = heap[up + 1];
      at = up;
    }
    heap[at] = deadline; heap[at + 1] = id;
  }
  #pop(): void {
    const heap = this.#heap;
    const id = heap.pop() as number;
    const deadline = heap.pop() as number;
    const count = heap.length;
    if (count === 0) return;
    let at = 0;
    for (;;) {
      let down = 2 * at + 2;
      if (down >= count) break;
      if (down + 2 < count && (heap[down + 2] < heap[down] || (heap[down + 2] === heap[down] && heap[down + 3] < heap[down + 1]))) down += 2;
      if (deadline < heap[down] || (deadline === heap[down] && id < heap[down + 1])) break;
      heap[at] = heap[down]; heap[at + 1] = heap[down + 1];
      at = down;
    }
    heap[at] = deadline; heap[at + 1] = id;
  }
  /** When `expire` wants to be called, ns. */
  get wakeNs(): number { return this.#heap.length > 0 ? this.#heap[0] : Infinity; }
  expire(): void {
    const now = this.#net.now();
    while (this.#heap.length > 0 && this.#heap[0] <= now) {
      const at = this.#heap[0];
      const c = this.connections.get(this.#heap[1]);
      this.#pop();
      if (!c || c.queued !== at) continue;
      c.queued = Infinity;
      if (c.deadline <= now) { c.deadline = Infinity; this.#timeout(c); }
      else if (c.deadline < Infinity) this.#arm(c, c.deadline);
    }
  }

  #timeout(c: TcpConnection): void {
    switch (c.state) {
      case STATE.timeWait: this.#remove(c); return;
      case STATE.synReceived: case STATE.synSent:
        if (!this.#net.reachable(c.guestAddress)) { this.#arm(c, this.#net.now() + RTO_FIRST_NS); return; } // waits for the guest to appear
        if (++c.retries > SYN_RETRIES) { this.#net.count('guest does not answer'); this.abort(c, 'handshake timed out'); return; }
        c.rtoNs = Math.min(RTO_MOST_NS, c.rtoNs * 2);
        this.#emit(c, 0, 0, c.state === STATE.synSent ? FLAG.SYN : FLAG.SYN | FLAG.ACK);
        this.#arm(c, this.#net.now() + c.rtoNs);
        return;
      case STATE.established: break;
      default: return;
    }
    if (c.probing) {
      c.probing = false;
      if (c.sndWnd > 0 && c.sndUna < c.sndMax) { this.#probeTail(c); return; }
    }
    if (++c.retries > RETRIES) { this.#net.count('guest is gone'); this.abort(c, 'retransmission timed out'); return; }
    if (c.sndWnd === 0 || c.sndUna === c.sndMax) { // the window is shut (RFC 9293 3.8.6.1)
      if (c.sndEnd > c.sndUna || c.finOut) this.#probe(c);
      return;
    }
    // RFC 5681 3.1 (4), RFC 6298 5.5; SACK is forgotten (RFC 2018 section 8) and all is sent again.
    if (c.retries === 1) c.ssthresh = Math.max((c.sndMax - c.sndUna) / 2, 2 * c.mss);
    c.cwnd = c.mss;
    c.recover = -1;
    c.duplicates = 0;
    c.sacked.length = 0;
    c.sndNxt = c.sndUna;
    c.timedPosition = -1;
    c.rtoNs = Math.min(RTO_MOST_NS, c.rtoNs * 2);
    this.retransmitted++;
    this.#output(c);
    if (c.deadline === Infinity) this.#arm(c, this.#net.now() + c.rtoNs);
  }

  /** Arms the retransmission timer, or before it that of the tail loss probe. */
  #armLoss(c: TcpConnection): void {
    const now = this.#net.now();
    const probe = c.srttNs > 0 && !c.probed && c.recover < 0 && c.retries === 0
      ? Math.max(PROBE_LEAST_NS, Math.ceil(2 * c.srttNs)) + (c.sndMax - c.sndUna <= c.mss ? DELAYED_ACK_NS : 0) : Infinity;
    c.probing = probe < c.rtoNs;
    this.#arm(c, now + Math.min(probe, c.rtoNs));
  }
  /** The last segment again: what comes back tells what is missing, long before the time-out. */
  #probeTail(c: TcpConnection): void {
    const end = Math.min(c.sndEnd, c.sndMax);
    const position = c.sndMax > c.sndEnd ? c.sndEnd : Math.max(c.sndUna, end - c.mss);
    if (!this.#transmit(c, position, end - position)) this.#block(c);
    c.probed = true;
    c.timedPosition = -1;
    this.retransmitted++;
    this.#arm(c, this.#net.now() + c.rtoNs);
  }
  /** All in flight is lost, and the network is there: sent again from the acknowledgement on, at half the rate. */
  #goBack(c: TcpConnection, b: Uint8Array): void {
    c.ssthresh = Math.max((c.sndMax - c.sndUna) / 2, 2 * c.mss);
    c.cwnd = c.ssthresh;
    c.recover = -1;
    c.duplicates = 0;
    c.probed = c.probing = false;
    c.timedPosition = -1;
    c.sacked.length = 0; // what was said before may have died with who said it (RFC 2018, section 8)
    if (c.sackOn && this.#segment.sacks > 0) this.#scoreboard(c, b);
    c.sndNxt = c.sndUna;
    c.deadline = Infinity;
    this.#output(c);
    if (c.deadline === Infinity) this.#arm(c, this.#net.now() + c.rtoNs);
  }

  /** One byte beyond the window, or the FIN when there is none. */
  #probe(c: TcpConnection): void {
    if (c.sndWnd > 0) { this.#output(c); return; }
    c.rtoNs = Math.min(RTO_MOST_NS, c.rtoNs * 2);
    if (c.sndEnd > c.sndUna) this.#emit(c, c.sndUna, 1, FLAG.ACK);
    else this.#emit(c, c.sndUna, 0, FLAG.ACK | FLAG.FIN);
    c.sndNxt = Math.max(c.sndNxt, c.sndUna + 1);
    c.sndMax = Math.max(c.sndMax, c.sndNxt);
    this.#arm(c, this.#net.now() + c.rtoNs);
  }

  // ---- from the far side ---------------------------------------------------------------------------------------------------------------

  /** A connection to the guest's `port` (host forward, deterministic call). Undefined: too many. */
  open(guestAddress: number, guestPort: number, peerAddress: number, peerPort: number, stream: HostStream): TcpConnection | undefined {
    if (this.connections.size >= MOST_CONNECTIONS || this.find(guestAddress, guestPort, peerAddress, peerPort)) return undefined;
    const c = new TcpConnection(this, this.#nextId++, guestAddress, guestPort, peerAddress, peerPort, true);
    c.stream = stream;
    c.state = STATE.synSent;
    this.#begin(c);
    this.#enter(c);
    if (this.#net.reachable(guestAddress)) this.#emit(c, 0, 0, FLAG.SYN);
    this.#arm(c, this.#net.now() + c.rtoNs);
    return c;
  }
  #begin(c: TcpConnection): void {
    c.iss = this.#net.random() >>> 0;
    c.rcvMost = RECEIVE_BYTES;
    c.rcvScale = RECEIVE_SCALE;
    c.cwnd = INITIAL_SEGMENTS * (this.#net.mtu - 40);
  }

  connected(c: TcpConnection): void {
    if (c.state !== STATE.connecting) return;
    c.state = STATE.synReceived;
    this.#emit(c, 0, 0, FLAG.SYN | FLAG.ACK);
    this.#arm(c, this.#net.now() + c.rtoNs);
  }
  failed(c: TcpConnection, failure: ConnectFailure): void {
    if (c.state !== STATE.connecting) return;
    if (failure === 'refused') this.#reset(c, 0, 1);
    else this.#net.unreachable(c, failure);
    this.#net.count(`connection ${failure}`);
    this.#remove(c);
  }

  send(c: TcpConnection, bytes: Uint8Array): void {
    if (c.state >= STATE.timeWait || c.finOut || bytes.length === 0) return;
    const held = c.sndEnd - c.sndUna;
    c.sndBytes = grown(c.sndBytes, held + bytes.length, c.sndUna, c.sndEnd);
    store(c.sndBytes, c.sndEnd, bytes, 0, bytes.length);
    c.sndEnd += bytes.length;
    c.full = c.sendSpace === 0;
    if (c.state === STATE.established) this.#output(c);
  }
  sendEnd(c: TcpConnection): void {
    if (c.state >= STATE.timeWait || c.finOut) return;
    c.finOut = true;
    if (c.state === STATE.established) this.#output(c);
  }
  consumed(c: TcpConnection, bytes: number): void {
    c.rcvTaken += bytes;
    if (c.state >= STATE.timeWait) return;
    if (c.rcvTaken === c.rcvNxt && c.beyond.length === 0 && c.rcvBytes.length > RING_KEPT) c.rcvBytes = EMPTY;
    // The window opens by two segments at least, or half (RFC 9293 3.8.6.2.2).
    const edge = c.rcvTaken + c.rcvMost;
    if (!c.finIn && edge - c.rcvEdge >= Math.min(2 * c.mss, c.rcvMost / 2) && (c.rcvEdge - c.rcvNxt < c.rcvMost / 2)) { c.ackNow = true; this.#touch(c); }
  }
  endTaken(c: TcpConnection): boolean {
    c.endTold = true;
    this.#touch(c); // perhaps that was the last of it
    return true;
  }
  /** A guest that was not there has been heard: what waits for it goes out now. */
  appeared(guestAddress: number): void {
    for (const c of this.connections.values()) if (c.state === STATE.synSent && c.guestAddress === guestAddress && c.retries === 0) this.#emit(c, 0, 0, FLAG.SYN);
  }
  abort(c: TcpConnection, reason: string): void {
    if (c.state === STATE.closed) return;
    if (c.state === STATE.connecting) this.#reset(c, 0, 1);
    else if (c.state !== STATE.timeWait && c.state !== STATE.synSent) this.#reset(c, c.iss + 1 + c.sndMax, 0);
    this.#net.count(`connection ended: ${reason}`);
    const { stream } = c;
    this.#remove(c);
    if (reason !== 'far side reset') stream?.aborted();
  }

  // ---- segments in ------------------------------------------------------------------------------------------------------------------

  /** A segment of the guest: TCP header at `at`, `length` bytes of header and payload. The caller has checked the checksum. */
  input(b: Uint8Array, at: number, length: number, guestAddress: number, peerAddress: number): void {
    const s = this.#segment;
    if (length < TCP_HEADER) { this.#net.count('TCP segment cut short'); return; }
    const header = (b[at + 12] >> 4) * 4;
    if (header < TCP_HEADER || header > length) { this.#net.count('TCP header length'); return; }
    const guestPort = get16(b, at);
    const peerPort = get16(b, at + 2);
    s.seq = get32(b, at + 4);
    s.ack = get32(b, at + 8);
    s.flags = b[at + 13];
    s.window = get16(b, at + 14);
    s.payload = at + header;
    s.bytes = length - header;
    if (!this.#options(b, at + TCP_HEADER, header - TCP_HEADER)) { this.#net.count('TCP option length'); return; }
    const c = this.find(guestAddress, guestPort, peerAddress, peerPort);
    if (!c) { this.#unknown(guestAddress, guestPort, peerAddress, peerPort); return; }
    this.#arrived(c, b);
  }

  #options(b: Uint8Array, from: number, length: number): boolean {
    const s = this.#segment;
    s.mss = 0; s.scale = -1; s.sackPermitted = false; s.stamp = false; s.sacks = 0;
    const end = from + length;
    // What nearly every segment carries: NOP NOP timestamps.
    if (length === 12 && get32(b, from) === 0x0101_080a) { s.stamp = true; s.stampValue = get32(b, from + 4); s.stampEcho = get32(b, from + 8); return true; }
    for (let at = from; at < end;) {
      const kind = b[at];
      if (kind === OPTION.end) return true;
      if (kind === OPTION.nop) { at++; continue; }
      const size = at + 1 < end ? b[at + 1] : 0;
      if (size < 2 || at + size > end) return false;
      if (kind === OPTION.mss && size === 4) s.mss = get16(b, at + 2);
      else if (kind === OPTION.windowScale && size === 3) s.scale = Math.min(14, b[at + 2]);
      else if (kind === OPTION.sackPermitted && size === 2) s.sackPermitted = true;
      else if (kind === OPTION.timestamps && size === 10) { s.stamp = true; s.stampValue = get32(b, at + 2); s.stampEcho = get32(b, at + 6); }
      else if (kind === OPTION.sack && (size - 2) % 8 === 0) { s.sacks = (size - 2) / 8; s.sackAt = at + 2; }
      at += size;
    }
    return true;
  }

  /** No connection: a new one, or a reset (RFC 9293 3.10.7.1). */
  #unknown(guestAddress: number, guestPort: number, peerAddress: number, peerPort: number): void {
    const s = this.#segment;
    if (s.flags & FLAG.RST) return;
    if ((s.flags & (FLAG.SYN | FLAG.ACK | FLAG.FIN)) !== FLAG.SYN || guestPort === 0 || peerPort === 0) {
      this.#net.count('segment of no connection');
      const length = s.bytes + (s.flags & FLAG.SYN ? 1 : 0) + (s.flags & FLAG.FIN ? 1 : 0);
      if (s.flags & FLAG.ACK) this.#bare(guestAddress, guestPort, peerAddress, peerPort, s.ack, 0, FLAG.RST);
      else this.#bare(guestAddress, guestPort, peerAddress, peerPort, 0, s.seq + length, FLAG.RST | FLAG.ACK);
      return;
    }
    if (this.connections.size >= MOST_CONNECTIONS) { this.#net.count('too many connections'); return; } // the guest tries again
    const c = new TcpConnection(this, this.#nextId++, guestAddress, guestPort, peerAddress, peerPort, false);
    this.#begin(c);
    this.#synchronise(c);
    this.#enter(c);
    this.onOpen(c);
  }
  /** What the guest's SYN says. */
  #synchronise(c: TcpConnection): void {
    const s = this.#segment;
    c.irs = s.seq;
    c.mss = Math.max(LEAST_MSS, Math.min(s.mss || DEFAULT_MSS, this.#net.mtu - 40));
    c.cwnd = INITIAL_SEGMENTS * c.mss;
    if (s.scale >= 0) c.sndScale = s.scale;
    else { c.rcvScale = 0; c.rcvMost = 65535; }
    c.sackOn = s.sackPermitted;
    c.stampsOn = s.stamp;
    if (s.stamp) { c.stampRecent = s.stampValue; c.mss = Math.max(LEAST_MSS, c.mss - 12); }
    c.sndWnd = s.window;
    c.sndWl1 = -1;
    c.rcvEdge = c.rcvMost;
  }

  #arrived(c: TcpConnection, b: Uint8Array): void {
    const s = this.#segment;
    const net = this.#net;
    if (c.state === STATE.connecting) {
      if (s.flags & FLAG.RST && s.seq === ((c.irs + 1) >>> 0)) { const { stream } = c; this.#remove(c); stream?.aborted(); }
      return; // a SYN again: the answer waits for the far side
    }
    if (c.state === STATE.synSent) { this.#handshake(c); return; }
    if (c.state === STATE.timeWait && (s.flags & (FLAG.SYN | FLAG.ACK | FLAG.RST)) === FLAG.SYN && ((s.seq - (c.irs + 2 + c.rcvNxt)) | 0) >= 0) {
      this.#remove(c); // RFC 9293 3.6.1: a new incarnation
      this.#unknown(c.guestAddress, c.guestPort, c.peerAddress, c.peerPort);
      return;
    }
    // Position of the segment in the guest's stream; the next byte we expect is rcvNxt (one more after its FIN).
    const expected = c.rcvNxt + (c.finIn ? 1 : 0);
    let position = expected + ((s.seq - ((c.irs + 1 + expected) >>> 0)) | 0);
    let payload = s.payload;
    let bytes = s.bytes;
    let fin = (s.flags & FLAG.FIN) !== 0;
    if (s.flags & FLAG.RST) {
      if (position === expected) {
        net.count('connection ended: reset by the guest');
        const { stream } = c;
        this.#remove(c);
        stream?.aborted();
      } else if (position > expected && position <= c.rcvEdge) this.#challenge(c);
      else net.count('RST outside the window');
      return;
    }
    if (c.stampsOn && s.stamp && ((s.stampValue - c.stampRecent) | 0) < 0 && !(s.flags & FLAG.SYN)) { net.count('old timestamp'); c.ackNow = true; this.#touch(c); return; }
    if (s.flags & FLAG.SYN) {
      if (c.state === STATE.synReceived && s.seq === c.irs) this.#emit(c, 0, 0, FLAG.SYN | FLAG.ACK);
      else this.#challenge(c);
      return;
    }
    // Window (RFC 9293 3.10.7.4): what lies before it is cut off, what lies beyond it is not taken.
    const end = position + bytes + (fin ? 1 : 0);
    if (end < expected || (end === expected && bytes + (fin ? 1 : 0) > 0) || position > Math.max(c.rcvEdge, expected)) {
      net.count(position > c.rcvEdge ? 'segment beyond the window' : 'segment received again');
      c.ackNow = true;
      this.#touch(c);
      if (!(s.flags & FLAG.ACK) || position > c.rcvEdge) return;
      bytes = 0;
      fin = false;
    } else {
      if (position < expected) { const cut = Math.min(bytes, expected - position); payload += cut; bytes -= cut; position += cut; }
      if (position + bytes > c.rcvEdge) { bytes = c.rcvEdge - position; fin = false; net.count('segment beyond the window'); c.ackNow = true; this.#touch(c); }
    }
    if (!(s.flags & FLAG.ACK)) return;
    if (c.stampsOn && s.stamp && position <= c.rcvNxt) c.stampRecent = s.stampValue;

    const ackedTo = c.sndUna + ((s.ack - ((c.iss + 1 + c.sndUna) >>> 0)) | 0);
    if (c.state === STATE.synReceived) {
      if (ackedTo !== 0) { this.#bare(c.guestAddress, c.guestPort, c.peerAddress, c.peerPort, s.ack, 0, FLAG.RST); return; }
      c.state = STATE.established;
      c.deadline = Infinity;
      c.retries = 0;
      c.rtoNs = RTO_FIRST_NS;
      c.sndWnd = s.window * 2 ** c.sndScale;
      c.sndWl1 = position; c.sndWl2 = 0;
      this.#touch(c); // whatever the far side has sent meanwhile
    } else if (!this.#acknowledged(c, b, ackedTo, position, bytes === 0 && !fin)) return;
    if (c.state !== STATE.established && c.state !== STATE.timeWait) return;
    if (bytes > 0 || fin) this.#data(c, b, position, payload, bytes, fin);
  }

  /** SYN sent, waiting for the guest's. */
  #handshake(c: TcpConnection): void {
    const s = this.#segment;
    const good = (s.flags & FLAG.ACK) !== 0 && s.ack === ((c.iss + 1) >>> 0);
    if (s.flags & FLAG.RST) {
      if (!good) return;
      this.#net.count('connection refused by the guest');
      const { stream } = c;
      this.#remove(c);
      stream?.aborted();
      return;
    }
    if (s.flags & FLAG.ACK && !good) { this.#bare(c.guestAddress, c.guestPort, c.peerAddress, c.peerPort, s.ack, 0, FLAG.RST); return; }
    if (!(s.flags & FLAG.SYN)) return;
    this.#synchronise(c);
    if (!good) { c.state = STATE.synReceived; this.#emit(c, 0, 0, FLAG.SYN | FLAG.ACK); return; } // both at once
    c.state = STATE.established;
    c.deadline = Infinity;
    c.retries = 0;
    c.rtoNs = RTO_FIRST_NS;
    c.sndWl1 = 0;
    c.ackNow = true;
    this.#touch(c);
  }

  /** The acknowledgement, window and SACK of a segment. False: it is to be dropped. */
  #acknowledged(c: TcpConnection, b: Uint8Array, ackedTo: number, position: number, bare: boolean): boolean {
    const s = this.#segment;
    if (ackedTo > c.sndMax) { this.#net.count('ACK of what was not sent'); c.ackNow = true; this.#touch(c); return false; }
    const window = s.window * 2 ** c.sndScale;
    const before = c.sndWnd;
    const news = c.sackOn && s.sacks > 0 && this.#scoreboard(c, b);
    if (position > c.sndWl1 || (position === c.sndWl1 && ackedTo >= c.sndWl2)) { c.sndWnd = window; c.sndWl1 = position; c.sndWl2 = ackedTo; }
    if (ackedTo <= c.sndUna) {
      if (ackedTo < c.sndUna) return true; // old
      if (before === 0) {
        c.retries = 0; // shut, but alive
        if (c.sndWnd > 0) { if (c.sndMax - c.sndUna <= 1) c.sndNxt = c.sndUna; c.deadline = Infinity; c.rtoNs = this.#rto(c); }
      }
      const duplicate = bare && c.sndMax > c.sndUna && (window === before || news);
      if (duplicate && c.recover < 0 && c.sndWnd > 0 && (c.probed || (c.srttNs > 0 && this.#net.now() - c.lastSentNs > Math.max(LATE_LEAST_NS, 2 * c.srttNs)))) this.#goBack(c, b);
      else if (duplicate && c.recover < 0) {
        c.duplicates++;
        if (c.duplicates >= DUPLICATES || (c.sackOn && sum(c.sacked) > (DUPLICATES - 1) * c.mss && c.sacked.length >= 2 && this.#lost(c, c.sndUna))) this.#enterRecovery(c);
      } else if (duplicate) c.duplicates++;
      this.#touch(c);
      return true;
    }
    // New data is acknowledged.
    const acked = ackedTo - c.sndUna;
    this.#measure(c, ackedTo);
    c.retries = 0;
    c.probed = false;
    c.sndUna = ackedTo;
    if (c.sndNxt < ackedTo) c.sndNxt = ackedTo;
    forget(c.sacked, ackedTo);
    if (c.recover >= 0) {
      if (ackedTo >= c.recover) { c.recover = -1; c.cwnd = c.sackOn ? c.ssthresh : Math.min(c.ssthresh, Math.max(c.sndMax - c.sndUna, c.mss) + c.mss); c.duplicates = 0; }
      else {
        c.rexmitted = Math.max(c.rexmitted, ackedTo);
        if (!c.sackOn) { c.duplicates = Math.max(0, c.duplicates - Math.floor(acked / c.mss)); c.rexmitted = ackedTo; } // RFC 6582: the next hole
      }
    } else {
      c.duplicates = 0;
      if (c.cwnd < c.ssthresh) c.cwnd += Math.min(acked, 2 * c.mss); // RFC 3465, L = 2
      else c.cwnd += c.mss * Math.min(1, acked / c.cwnd);
      if (c.cwnd > 2 * SEND_BYTES) c.cwnd = 2 * SEND_BYTES;
    }
    if (c.sndUna === c.sndMax) c.deadline = Infinity;
    else this.#armLoss(c);
    if (c.sndUna >= c.sndEnd && c.sndBytes.length > RING_KEPT) c.sndBytes = EMPTY;
    this.#touch(c);
    return !this.#ended(c);
  }

  #measure(c: TcpConnection, ackedTo: number): void {
    const now = this.#net.now();
    const s = this.#segment;
    let sample = -1;
    if (c.stampsOn && s.stamp && s.stampEcho !== 0) sample = Math.max(0, (stampOf(now) - s.stampEcho) | 0) * MS;
    else if (c.timedPosition >= 0 && ackedTo > c.timedPosition) { sample = now - c.timedAtNs; }
    if (c.timedPosition >= 0 && ackedTo > c.timedPosition) c.timedPosition = -1;
    if (sample >= 0) {
      if (c.srttNs === 0) { c.srttNs = Math.max(1, sample); c.rttvarNs = sample / 2; }
      else { c.rttvarNs += (Math.abs(c.srttNs - sample) - c.rttvarNs) / 4; c.srttNs = Math.max(1, c.srttNs + (sample - c.srttNs) / 8); }
    }
    c.rtoNs = this.#rto(c);
  }
  #rto(c: TcpConnection): number { return c.srttNs === 0 ? RTO_FIRST_NS : Math.min(RTO_MOST_NS, Math.max(RTO_LEAST_NS, Math.ceil(c.srttNs + 4 * c.rttvarNs))); }

  /** Takes the SACK blocks in; whether they told anything new. */
  #scoreboard(c: TcpConnection, b: Uint8Array): boolean {
    const s = this.#segment;
    let news = false;
    for (let k = 0; k < s.sacks; k++) {
      const at = s.sackAt + 8 * k;
      const from = c.sndUna + ((get32(b, at) - ((c.iss + 1 + c.sndUna) >>> 0)) | 0);
      const to = c.sndUna + ((get32(b, at + 4) - ((c.iss + 1 + c.sndUna) >>> 0)) | 0);
      if (from >= to || to > c.sndMax || to <= c.sndUna) continue; // D-SACK and nonsense
      news = insert(c.sacked, Math.max(from, c.sndUna), to, SACK_RANGES) || news;
    }
    return news;
  }
  /** RFC 6675 IsLost: three segments' worth above it has arrived. */
  #lost(c: TcpConnection, position: number): boolean {
    let above = 0;
    for (let k = 0; k < c.sacked.length; k += 2) if (c.sacked[k + 1] > position) above += c.sacked[k + 1] - Math.max(position, c.sacked[k]);
    return above > (DUPLICATES - 1) * c.mss;
  }
  #enterRecovery(c: TcpConnection): void {
    c.recover = c.sndMax;
    c.ssthresh = Math.max((c.sndMax - c.sndUna) / 2, 2 * c.mss);
    c.cwnd = c.ssthresh;
    c.rexmitted = c.sndUna;
    c.timedPosition = -1;
    c.probing = c.probed = false;
    // The first hole goes out at once, whatever the pipe holds.
    const bytes = this.#hole(c, c.sndUna);
    if (this.#transmit(c, c.sndUna, bytes)) c.rexmitted = c.sndUna + Math.max(1, bytes);
    this.retransmitted++;
    this.#arm(c, this.#net.now() + c.rtoNs);
  }
  /** Bytes from `position` to the next that has arrived, at most one segment; 0 at the FIN. */
  #hole(c: TcpConnection, position: number): number {
    let to = Math.min(position + c.mss, c.sndEnd, c.sndMax);
    for (let k = 0; k < c.sacked.length; k += 2) if (c.sacked[k] > position) { to = Math.min(to, c.sacked[k]); break; }
    return Math.max(0, to - position);
  }

  // ---- data in ----------------------------------------------------------------------------------------------------------------------

  #data(c: TcpConnection, b: Uint8Array, position: number, payload: number, bytes: number, fin: boolean): void {
    c.ackNow = true;
    this.#touch(c);
    if (c.finIn) return;
    if (bytes > 0) {
      c.rcvBytes = grown(c.rcvBytes, position + bytes - c.rcvTaken, c.rcvTaken, c.beyond.length > 0 ? c.beyond[c.beyond.length - 1] : c.rcvNxt);
      store(c.rcvBytes, position, b, payload, bytes);
    }
    if (position > c.rcvNxt) {
      this.#net.count('segment ahead of a hole');
      if (bytes > 0) { insert(c.beyond, position, position + bytes, BEYOND_RANGES); c.beyondLast = position; }
      return; // a FIN ahead of a hole comes again
    }
    c.rcvNxt = Math.max(c.rcvNxt, position + bytes);
    while (c.beyond.length > 0 && c.beyond[0] <= c.rcvNxt) { c.rcvNxt = Math.max(c.rcvNxt, c.beyond[1]); c.beyond.splice(0, 2); }
    if (fin && position + bytes === c.rcvNxt) { c.finIn = true; this.#ended(c); }
  }

  /** Both halves ended and all acknowledged: the connection is over. */
  #ended(c: TcpConnection): boolean {
    if (!c.finOut || c.sndUna <= c.sndEnd || c.state !== STATE.established) return false;
    if (!c.finIn || !c.endTold) return false;
    if (c.ackNow) this.#acknowledge(c);
    const { stream } = c;
    c.state = STATE.timeWait;
    c.rcvBytes = c.sndBytes = EMPTY;
    c.stream = undefined;
    this.#arm(c, this.#net.now() + TIME_WAIT_NS);
    stream?.closed();
    return true;
  }

  // ---- service after a batch -------------------------------------------------------------------------------------------------------

  /** Gives the far sides what has come, sends what can be sent, acknowledges. Call after every batch of frames and every event of the far side. */
  settle(): void {
    for (let rounds = 0; this.#touched.length > 0 && rounds < 100; rounds++) {
      const list = this.#touched;
      this.#touched = [];
      for (const c of list) {
        c.touched = false;
        if (c.state === STATE.timeWait && c.ackNow) { this.#acknowledge(c); continue; }
        if (c.state !== STATE.established) continue;
        if (c.stream && (c.available > 0 || (c.atEnd && !c.endTold))) {
          c.stream.readable();
          if (c.state !== STATE.established) continue;
        }
        if (c.full && c.sendSpace >= SEND_BYTES / 4) { c.full = false; c.stream?.writable(); }
        if (c.state !== STATE.established) continue;
        this.#output(c);
        if (c.ackNow && c.state === STATE.established) this.#acknowledge(c);
        this.#ended(c);
      }
    }
  }
  /** The batch of frames has room again. */
  resume(): void {
    if (this.#blocked.length === 0) return;
    const list = this.#blocked;
    this.#blocked = [];
    for (const c of list) { c.blocked = false; this.#touch(c); }
    this.settle();
  }
  get waitsForRoom(): boolean { return this.#blocked.length > 0; }

  // ---- segments out ----------------------------------------------------------------------------------------------------------------

  /** Sends what window, congestion window and the batch allow. */
  #output(c: TcpConnection): void {
    if (c.state !== STATE.established) return;
    const limit = c.sndEnd + (c.finOut ? 1 : 0);
    if (c.sndNxt >= limit && c.recover < 0) return;
    let pipe = this.#pipe(c);
    for (;;) {
      if (c.recover >= 0) {
        // RFC 6675 NextSeg (1): the first hole not yet sent again; without SACK the one at the acknowledgement.
        const hole = this.#nextHole(c);
        if (hole >= 0 && pipe + c.mss <= Math.max(c.cwnd, c.mss)) {
          const bytes = this.#hole(c, hole);
          if (!this.#transmit(c, hole, bytes)) { this.#block(c); break; }
          this.retransmitted++;
          c.rexmitted = hole + Math.max(1, bytes);
          pipe += bytes;
          if (c.deadline === Infinity) this.#arm(c, this.#net.now() + c.rtoNs);
          continue;
        }
        if (hole >= 0) break;
      }
      if (c.sndNxt >= limit) break;
      const skip = this.#sackedAt(c, c.sndNxt);
      if (skip > c.sndNxt) { c.sndNxt = skip; continue; }
      const usable = c.sndUna + c.sndWnd - c.sndNxt;
      const rest = c.sndEnd - c.sndNxt;
      const bytes = Math.min(c.mss, rest, usable);
      if (rest > 0) {
        if (bytes <= 0) break;
        if (pipe > 0 && pipe + bytes > c.cwnd) break;
        if (bytes < c.mss && bytes < rest && pipe > 0) break; // silly window: wait for more room
      }
      if (!this.#transmit(c, c.sndNxt, rest > 0 ? bytes : 0)) { this.#block(c); break; }
      if (c.sndNxt < c.sndMax) this.retransmitted++;
      else if (c.timedPosition < 0 && !c.stampsOn) { c.timedPosition = c.sndNxt; c.timedAtNs = this.#net.now(); }
      c.sndNxt += rest > 0 ? bytes : 1;
      if (c.sndNxt > c.sndMax) c.sndMax = c.sndNxt;
      c.lastSentNs = this.#net.now();
      pipe += bytes;
      if (c.deadline === Infinity) this.#armLoss(c);
    }
    // Window shut with something to send: probe (RFC 9293 3.8.6.1).
    if (c.deadline === Infinity && c.sndNxt < limit && c.sndUna === c.sndMax && !c.blocked) this.#arm(c, this.#net.now() + c.rtoNs);
  }

  #sackedAt(c: TcpConnection, position: number): number {
    if (position >= c.sndMax) return position;
    for (let k = 0; k < c.sacked.length; k += 2) if (c.sacked[k] <= position && position < c.sacked[k + 1]) return c.sacked[k + 1];
    return position;
  }
  /** First hole below what has arrived that was not sent again in this recovery, or -1. */
  #nextHole(c: TcpConnection): number {
    if (!c.sackOn || c.sacked.length === 0) return c.rexmitted <= c.sndUna && c.sndUna < c.sndMax ? c.sndUna : -1;
    const from = Math.max(c.rexmitted, c.sndUna);
    let start = from;
    for (let k = 0; k < c.sacked.length; k += 2) {
      if (start < c.sacked[k]) return this.#lost(c, start) || start === c.sndUna ? start : -1;
      start = Math.max(start, c.sacked[k + 1]);
    }
    return -1;
  }
  /** RFC 6675 SetPipe: bytes thought to be on the wire. */
  #pipe(c: TcpConnection): number {
    const top = c.sndNxt;
    if (c.recover < 0 && c.sacked.length === 0) return top - c.sndUna;
    if (!c.sackOn || c.sacked.length === 0) return Math.max(0, top - c.sndUna - c.duplicates * c.mss - (c.recover >= 0 ? c.mss : 0));
    let pipe = 0;
    let start = c.sndUna;
    for (let k = 0; k <= c.sacked.length; k += 2) {
      const end = k < c.sacked.length ? Math.min(c.sacked[k], top) : top;
      if (end > start) pipe += c.recover >= 0 && this.#lost(c, start) ? Math.max(0, Math.min(end, c.rexmitted) - start) : end - start;
      if (k < c.sacked.length) start = Math.max(start, c.sacked[k + 1]);
    }
    return pipe;
  }

  #transmit(c: TcpConnection, position: number, bytes: number): boolean {
    const last = position + bytes >= c.sndEnd;
    const fin = c.finOut && bytes === 0 && position === c.sndEnd;
    return this.#emit(c, position, bytes, FLAG.ACK | (last && bytes > 0 ? FLAG.PSH : 0) | (fin ? FLAG.FIN : 0));
  }
  #acknowledge(c: TcpConnection): void { if (!this.#emit(c, c.sndMax, 0, FLAG.ACK)) this.#block(c); }
  #challenge(c: TcpConnection): void {
    const second = Math.floor(this.#net.now() / 1e9);
    if (second !== this.#challengeSecond) { this.#challengeSecond = second; this.#challenges = 0; }
    this.#net.count('challenge ACK');
    if (this.#challenges++ < CHALLENGES_EACH_SECOND) this.#acknowledge(c);
  }
  #reset(c: TcpConnection, seq: number, acknowledged: number): void {
    if (c.state === STATE.connecting) this.#bare(c.guestAddress, c.guestPort, c.peerAddress, c.peerPort, 0, c.irs + acknowledged, FLAG.RST | FLAG.ACK);
    else this.#bare(c.guestAddress, c.guestPort, c.peerAddress, c.peerPort, seq, c.irs + 1 + c.rcvNxt + (c.finIn ? 1 : 0), FLAG.RST | FLAG.ACK);
  }

  /** A segment without connection or data. */
  #bare(guestAddress: number, guestPort: number, peerAddress: number, peerPort: number, seq: number, ack: number, flags: number): void {
    const { out } = this.#net;
    const at = this.#net.packet(peerAddress, guestAddress, PROTOCOL.tcp, TCP_HEADER);
    if (at < 0) { this.#net.count('no room for a reset'); return; }
    const b = out.bytes;
    put16(b, at, peerPort); put16(b, at + 2, guestPort);
    put32(b, at + 4, seq); put32(b, at + 8, ack);
    b[at + 12] = 5 << 4; b[at + 13] = flags;
    put16(b, at + 14, 0);
    put16(b, at + 16, fold(pseudoSum(peerAddress, guestAddress, PROTOCOL.tcp, TCP_HEADER)));
    put16(b, at + 18, 0);
    out.commit(ETHERNET_HEADER + IP_HEADER + TCP_HEADER, ETHERNET_HEADER + IP_HEADER, 16);
  }

  /** One segment with `bytes` bytes from stream position `position`. False: no room in the batch. */
  #emit(c: TcpConnection, position: number, bytes: number, flags: number): boolean {
    const net = this.#net;
    const syn = (flags & FLAG.SYN) !== 0;
    const reply = (flags & FLAG.ACK) !== 0;
    const blocks = !syn && c.sackOn ? Math.min(c.stampsOn ? 3 : 4, c.beyond.length / 2) : 0;
    const scale = syn && (!reply || c.rcvScale > 0);
    const stamps = syn ? !reply || c.stampsOn : c.stampsOn;
    const sack = syn && (!reply || c.sackOn);
    const options = syn ? 4 + (scale ? 4 : 0) + (stamps ? 10 : 0) + (sack ? 2 : 0) : (stamps ? 12 : 0) + (blocks > 0 ? 4 + 8 * blocks : 0);
    const header = TCP_HEADER + ((options + 3) & -4);
    if (bytes > 0 && blocks > 0) bytes = Math.min(bytes, net.mtu - IP_HEADER - header);
    const at = net.packet(c.peerAddress, c.guestAddress, PROTOCOL.tcp, header + bytes);
    if (at < 0) return false;
    const b = net.out.bytes;
    b[at] = c.peerPort >>> 8; b[at + 1] = c.peerPort; b[at + 2] = c.guestPort >>> 8; b[at + 3] = c.guestPort;
    put32(b, at + 4, syn ? c.iss : c.iss + 1 + position);
    put32(b, at + 8, reply ? c.irs + 1 + c.rcvNxt + (c.finIn ? 1 : 0) : 0);
    b[at + 12] = (header >> 2) << 4; b[at + 13] = flags;
    const edge = Math.max(c.rcvEdge, c.rcvTaken + c.rcvMost);
    let window = Math.max(0, edge - c.rcvNxt);
    if (syn) window = Math.min(65535, window || c.rcvMost);
    else {
      window = Math.min(65535, Math.floor(window / 2 ** c.rcvScale));
      c.rcvEdge = Math.max(c.rcvEdge, c.rcvNxt + window * 2 ** c.rcvScale);
      c.ackNow = false;
    }
    put16(b, at + 14, window);
    put16(b, at + 18, 0);
    let o = at + TCP_HEADER;
    if (syn) {
      b[o] = OPTION.mss; b[o + 1] = 4; put16(b, o + 2, net.mtu - 40); o += 4;
      if (sack) { b[o] = OPTION.sackPermitted; b[o + 1] = 2; o += 2; }
      if (stamps) { this.#stamps(c, b, o); o += 10; }
      if (scale) { b[o] = OPTION.nop; b[o + 1] = OPTION.windowScale; b[o + 2] = 3; b[o + 3] = RECEIVE_SCALE; o += 4; }
    } else {
      if (stamps) { b[o] = b[o + 1] = OPTION.nop; this.#stamps(c, b, o + 2); o += 12; }
      if (blocks > 0) {
        b[o] = b[o + 1] = OPTION.nop; b[o + 2] = OPTION.sack; b[o + 3] = 2 + 8 * blocks; o += 4;
        o = this.#sackBlocks(c, b, o, blocks);
      }
    }
    while (o < at + header) b[o++] = OPTION.nop;
    if (bytes > 0) fetch(c.sndBytes, position, bytes, b, at + header);
    put16(b, at + 16, fold(pseudoSum(c.peerAddress, c.guestAddress, PROTOCOL.tcp, header + bytes)));
    net.out.commit(ETHERNET_HEADER + IP_HEADER + header + bytes, ETHERNET_HEADER + IP_HEADER, 16);
    return true;
  }
  #stamps(c: TcpConnection, b: Uint8Array, at: number): void {
    b[at] = OPTION.timestamps; b[at + 1] = 10;
    put32(b, at + 2, stampOf(this.#net.now()));
    put32(b, at + 6, c.stampRecent);
  }
  /** RFC 2018 section 4: the range of the last segment first. */
  #sackBlocks(c: TcpConnection, b: Uint8Array, at: number, blocks: number): number {
    const { beyond } = c;
    let first = 0;
    for (let k = 0; k < beyond.length; k += 2) if (beyond[k] <= c.beyondLast && c.beyondLast < beyond[k + 1]) first = k;
    for (let n = 0, k = first; n < blocks; n++) {
      put32(b, at, c.irs + 1 + beyond[k]); put32(b, at + 4, c.irs + 1 + beyond[k + 1]);
      at += 8;
      k = n === 0 ? 0 : k + 2;
      if (k === first) k += 2;
    }
    return at;
  }

  // ---- plain data ---------------------------------------------------------------------------------------------------------------------

  save(w: StateWriter): void {
    w.number(this.#nextId); w.number(this.#challenges); w.number(this.#challengeSecond); w.number(this.retransmitted);
    w.list(this.#heap, this.#heap.length, (value) => w.number(value));
    w.list(this.connections.values(), this.connections.size, (c) => {
      for (const value of [c.id, c.guestAddress, c.guestPort, c.peerAddress, c.peerPort]) w.number(value);
      w.flag(c.inbound);
      for (const name of NUMBERS) w.number(c[name]);
      for (const name of FLAGS) w.flag(c[name]);
      w.list(c.beyond, c.beyond.length, (value) => w.number(value));
      w.list(c.sacked, c.sacked.length, (value) => w.number(value));
      // Only bytes that mean something: what lies in a buffer from before is no state.
      w.number(c.rcvBytes.length);
      const top = c.beyond.length > 0 ? c.beyond[c.beyond.length - 1] : c.rcvNxt;
      w.bytes(extract(c.rcvBytes, c.rcvTaken, top, c.rcvNxt, c.beyond));
      w.number(c.sndBytes.length);
      w.bytes(extract(c.sndBytes, c.sndUna, c.sndEnd, c.sndEnd, []));
    });
    for (const list of [this.#touched, this.#blocked]) w.list(list, list.length, (c) => w.number(c.id));
  }
  /** Streams are put back by whoever made them. */
  load(r: StateReader): void {
    this.#nextId = r.number(); this.#challenges = r.number(); this.#challengeSecond = r.number(); this.retransmitted = r.number();
    this.#heap = r.list(() => r.number());
    this.connections.clear();
    this.#buckets.clear();
    this.#last = undefined;
    r.list(() => {
      const [id, guestAddress, guestPort, peerAddress, peerPort] = [r.number(), r.number(), r.number(), r.number(), r.number()];
      const c = new TcpConnection(this, id, guestAddress, guestPort, peerAddress, peerPort, r.flag());
      for (const name of NUMBERS) c[name] = r.number();
      for (const name of FLAGS) c[name] = r.flag();
      c.beyond = r.list(() => r.number());
      c.sacked = r.list(() => r.number());
      const rcvSize = r.number();
      const rcv = r.bytes();
      c.rcvBytes = rcvSize > 0 ? new Uint8Array(rcvSize) : EMPTY;
      if (rcv.length > 0) store(c.rcvBytes, c.rcvTaken, rcv, 0, rcv.length);
      const sndSize = r.number();
      const snd = r.bytes();
      c.sndBytes = sndSize > 0 ? new Uint8Array(sndSize) : EMPTY;
      if (snd.length > 0) store(c.sndBytes, c.sndUna, snd, 0, snd.length);
      this.#enter(c);
    });
    const listed = (): TcpConnection[] => r.list(() => this.connections.get(r.number())).filter((c) => c !== undefined);
    this.#touched = listed();
    this.#blocked = listed();
  }
}

/** Milliseconds, as timestamps have them; never 0. */
const stampOf = (ns: number): number => (Math.floor(ns / MS) + 1) >>> 0;
/** Whether the checksum of a TCP or UDP packet holds. */
export const transportChecksumHolds = (b: Uint8Array, at: number, bytes: number, source: number, destination: number, protocol: number): boolean =>
  checksum(b, at, bytes, pseudoSum(source, destination, protocol, bytes)) === 0;
