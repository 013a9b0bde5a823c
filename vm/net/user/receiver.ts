/**
 * The receiving half of the gateway's TCP: what a segment of the guest does (RFC 9293 3.10.7; RST and SYN checks of RFC 5961; timestamps and PAWS of RFC 7323), and its data. What it
 * acknowledges is the business of sender.ts.
 */
import { DEFAULT_MSS, RTO_FIRST_NS, STATE, type TcpConnection } from './connection.ts';
import { grown, insert, store } from './ring.ts';
import { FLAG, type Segment, type SegmentWriter, emptySegment, readSegment } from './segment.ts';
import type { Sender } from './sender.ts';
import { INITIAL_SEGMENTS, type Tcp, type TcpNetwork } from './tcp.ts';

const LEAST_MSS = 64;
const BEYOND_RANGES = 64;

export class Receiver {
  readonly #tcp: Tcp;
  readonly #net: TcpNetwork;
  readonly #segments: SegmentWriter;
  readonly #sender: Sender;
  readonly #segment: Segment = emptySegment();

  constructor(tcp: Tcp, net: TcpNetwork, segments: SegmentWriter, sender: Sender) { this.#tcp = tcp; this.#net = net; this.#segments = segments; this.#sender = sender; }

  /** A segment of the guest: TCP header at `at`, `length` bytes of header and payload. The caller has checked the checksum. */
  input(b: Uint8Array, at: number, length: number, guestAddress: number, peerAddress: number): void {
    const s = this.#segment;
    const wrong = readSegment(s, b, at, length);
    if (wrong !== undefined) { this.#net.count(wrong); return; }
    const c = this.#tcp.find(guestAddress, s.guestPort, peerAddress, s.peerPort);
    if (c) this.#arrived(c, b); else this.#unknown(guestAddress, s.guestPort, peerAddress, s.peerPort);
  }
  /** No connection: a new one, or a reset (RFC 9293 3.10.7.1). */
  #unknown(guestAddress: number, guestPort: number, peerAddress: number, peerPort: number): void {
    const s = this.#segment;
    if (s.flags & FLAG.RST) return;
    if ((s.flags & (FLAG.SYN | FLAG.ACK | FLAG.FIN)) !== FLAG.SYN || guestPort === 0 || peerPort === 0) {
      this.#net.count('segment of no connection');
      const length = s.bytes + (s.flags & FLAG.SYN ? 1 : 0) + (s.flags & FLAG.FIN ? 1 : 0);
      if (s.flags & FLAG.ACK) this.#segments.bare(guestAddress, guestPort, peerAddress, peerPort, s.ack, 0, FLAG.RST);
      else this.#segments.bare(guestAddress, guestPort, peerAddress, peerPort, 0, s.seq + length, FLAG.RST | FLAG.ACK);
      return;
    }
    const c = this.#tcp.admit(guestAddress, guestPort, peerAddress, peerPort, false);
    if (!c) { this.#net.count('too many connections'); return; } // the guest tries again
    this.#synchronise(c);
    this.#tcp.onOpen(c);
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
      if (s.flags & FLAG.RST && s.seq === ((c.irs + 1) >>> 0)) { const { stream } = c; this.#tcp.remove(c); stream?.aborted(); }
      return; // a SYN again: the answer waits for the far side
    }
    if (c.state === STATE.synSent) { this.#handshake(c); return; }
    if (c.state === STATE.timeWait && (s.flags & (FLAG.SYN | FLAG.ACK | FLAG.RST)) === FLAG.SYN && ((s.seq - (c.irs + 2 + c.rcvNxt)) | 0) >= 0) {
      this.#tcp.remove(c); // RFC 9293 3.6.1: a new incarnation
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
        this.#tcp.remove(c);
        stream?.aborted();
      } else if (position > expected && position <= c.rcvEdge) this.#tcp.challenge(c);
      else net.count('RST outside the window');
      return;
    }
    if (c.stampsOn && s.stamp && ((s.stampValue - c.stampRecent) | 0) < 0 && !(s.flags & FLAG.SYN)) { net.count('old timestamp'); c.ackNow = true; this.#tcp.touch(c); return; }
    if (s.flags & FLAG.SYN) {
      if (c.state === STATE.synReceived && s.seq === c.irs) this.#segments.emit(c, 0, 0, FLAG.SYN | FLAG.ACK);
      else this.#tcp.challenge(c);
      return;
    }
    // Window (RFC 9293 3.10.7.4): what lies before it is cut off, what lies beyond it is not taken.
    const end = position + bytes + (fin ? 1 : 0);
    if (end < expected || (end === expected && bytes + (fin ? 1 : 0) > 0) || position > Math.max(c.rcvEdge, expected)) {
      net.count(position > c.rcvEdge ? 'segment beyond the window' : 'segment received again');
      c.ackNow = true;
      this.#tcp.touch(c);
      if (!(s.flags & FLAG.ACK) || position > c.rcvEdge) return;
      bytes = 0;
      fin = false;
    } else {
      if (position < expected) { const cut = Math.min(bytes, expected - position); payload += cut; bytes -= cut; position += cut; }
      if (position + bytes > c.rcvEdge) { bytes = c.rcvEdge - position; fin = false; net.count('segment beyond the window'); c.ackNow = true; this.#tcp.touch(c); }
    }
    if (!(s.flags & FLAG.ACK)) return;
    if (c.stampsOn && s.stamp && position <= c.rcvNxt) c.stampRecent = s.stampValue;

    const ackedTo = c.sndUna + ((s.ack - ((c.iss + 1 + c.sndUna) >>> 0)) | 0);
    if (c.state === STATE.synReceived) {
      if (ackedTo !== 0) { this.#segments.bare(c.guestAddress, c.guestPort, c.peerAddress, c.peerPort, s.ack, 0, FLAG.RST); return; }
      c.state = STATE.established;
      c.deadline = Infinity;
      c.retries = 0;
      c.rtoNs = RTO_FIRST_NS;
      c.sndWnd = s.window * 2 ** c.sndScale;
      c.sndWl1 = position; c.sndWl2 = 0;
      this.#tcp.touch(c); // whatever the far side has sent meanwhile
    } else if (!this.#sender.acknowledged(c, b, s, ackedTo, position, bytes === 0 && !fin)) return;
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
      this.#tcp.remove(c);
      stream?.aborted();
      return;
    }
    if (s.flags & FLAG.ACK && !good) { this.#segments.bare(c.guestAddress, c.guestPort, c.peerAddress, c.peerPort, s.ack, 0, FLAG.RST); return; }
    if (!(s.flags & FLAG.SYN)) return;
    this.#synchronise(c);
    if (!good) { c.state = STATE.synReceived; this.#segments.emit(c, 0, 0, FLAG.SYN | FLAG.ACK); return; } // both at once
    c.state = STATE.established;
    c.deadline = Infinity;
    c.retries = 0;
    c.rtoNs = RTO_FIRST_NS;
    c.sndWl1 = 0;
    c.ackNow = true;
    this.#tcp.touch(c);
  }
  #data(c: TcpConnection, b: Uint8Array, position: number, payload: number, bytes: number, fin: boolean): void {
    c.ackNow = true;
    this.#tcp.touch(c);
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
    if (fin && position + bytes === c.rcvNxt) { c.finIn = true; this.#tcp.ended(c); }
  }
}
