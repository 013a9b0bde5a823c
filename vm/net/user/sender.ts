/**
 * The sending half of the gateway's TCP: what goes to the guest and when (RFC 5681 and 6582, NewReno; RFC 6675 with SACK; RFC 6298; tail loss probe of RFC 8985), and what the guest's
 * acknowledgements say. No Nagle: the far side has done that.
 */
import type { TcpConnection } from './connection.ts';
import { RTO_FIRST_NS, SEND_BYTES, STATE } from './connection.ts';
import type { Deadlines } from './deadlines.ts';
import { EMPTY, forget, sum } from './ring.ts';
import { DUPLICATES, cameTwice, hole, lost, nextHole, pipe, reported, sackedAt } from './scoreboard.ts';
import { FLAG, MS, type Segment, type SegmentWriter, stampOf } from './segment.ts';
import type { Tcp, TcpNetwork } from './tcp.ts';

/** An emptied ring larger than this is given back. */
export const RING_KEPT = 16 * 1024;
const RTO_LEAST_NS = 200 * MS;
export const RTO_MOST_NS = 60_000 * MS;
/** Tail loss probe (RFC 8985 7.2): after two round trips, at least this; a lone segment may wait for a delayed acknowledgement. */
const PROBE_LEAST_NS = 10 * MS;
const DELAYED_ACK_NS = 40 * MS;
/** A duplicate this long after the last segment was sent answers none of them: the receiver has lost what it had (a server was restarted). */
const LATE_LEAST_NS = 4 * MS;
const RETRIES = 12;

export class Sender {
  readonly #tcp: Tcp;
  readonly #net: TcpNetwork;
  readonly #deadlines: Deadlines;
  readonly #segments: SegmentWriter;
  retransmitted = 0;

  constructor(tcp: Tcp, net: TcpNetwork, deadlines: Deadlines, segments: SegmentWriter) { this.#tcp = tcp; this.#net = net; this.#deadlines = deadlines; this.#segments = segments; }

  /** Sends what window, congestion window and the batch allow. */
  output(c: TcpConnection): void {
    if (c.state !== STATE.established) return;
    const limit = c.sndEnd + (c.finOut ? 1 : 0);
    if (c.sndNxt >= limit && c.recover < 0) return;
    let inPipe = pipe(c);
    for (;;) {
      if (c.recover >= 0) {
        // RFC 6675 NextSeg (1): the first hole not yet sent again; without SACK the one at the acknowledgement.
        const gap = nextHole(c);
        if (gap >= 0 && inPipe + c.mss <= Math.max(c.cwnd, c.mss)) {
          const bytes = hole(c, gap);
          if (!this.#transmit(c, gap, bytes)) { this.#tcp.block(c); break; }
          this.retransmitted++;
          if (gap === c.sndUna) c.headMark = c.sndMax;
          c.rexmitted = gap + Math.max(1, bytes);
          inPipe += bytes;
          if (c.deadline === Infinity) this.#deadlines.arm(c, this.#net.now() + c.rtoNs);
          continue;
        }
        if (gap >= 0) break;
      }
      if (c.sndNxt >= limit) break;
      const skip = sackedAt(c, c.sndNxt);
      if (skip > c.sndNxt) { c.sndNxt = skip; continue; }
      const usable = c.sndUna + c.sndWnd - c.sndNxt;
      const rest = c.sndEnd - c.sndNxt;
      const bytes = Math.min(c.mss, rest, usable);
      if (rest > 0) {
        if (bytes <= 0) break;
        if (inPipe > 0 && inPipe + bytes > c.cwnd) break;
        if (bytes < c.mss && bytes < rest && inPipe > 0) break; // silly window: wait for more room
      }
      if (!this.#transmit(c, c.sndNxt, rest > 0 ? bytes : 0)) { this.#tcp.block(c); break; }
      if (c.sndNxt < c.sndMax) this.retransmitted++;
      else if (c.timedPosition < 0 && !c.stampsOn) { c.timedPosition = c.sndNxt; c.timedAtNs = this.#net.now(); }
      c.sndNxt += rest > 0 ? bytes : 1;
      if (c.sndNxt > c.sndMax) c.sndMax = c.sndNxt;
      c.lastSentNs = this.#net.now();
      inPipe += bytes;
      if (c.deadline === Infinity) this.#armLoss(c);
    }
    // Window shut with something to send: probe (RFC 9293 3.8.6.1).
    if (c.deadline === Infinity && c.sndNxt < limit && c.sndUna === c.sndMax && !c.blocked) this.#deadlines.arm(c, this.#net.now() + c.rtoNs);
  }
  #transmit(c: TcpConnection, position: number, bytes: number): boolean {
    const last = position + bytes >= c.sndEnd;
    const fin = c.finOut && bytes === 0 && position === c.sndEnd;
    return this.#segments.emit(c, position, bytes, FLAG.ACK | (last && bytes > 0 ? FLAG.PSH : 0) | (fin ? FLAG.FIN : 0));
  }
  /** The acknowledgement, window and SACK of a segment. False: it is to be dropped. */
  acknowledged(c: TcpConnection, b: Uint8Array, s: Segment, ackedTo: number, position: number, bare: boolean): boolean {
    if (ackedTo > c.sndMax) { this.#net.count('ACK of what was not sent'); c.ackNow = true; this.#tcp.touch(c); return false; }
    const window = s.window * 2 ** c.sndScale;
    const before = c.sndWnd;
    const news = c.sackOn && s.sacks > 0 && reported(c, b, s);
    if (position > c.sndWl1 || (position === c.sndWl1 && ackedTo >= c.sndWl2)) { c.sndWnd = window; c.sndWl1 = position; c.sndWl2 = ackedTo; }
    if (ackedTo <= c.sndUna) {
      if (ackedTo < c.sndUna) return true; // old
      if (before === 0) {
        c.retries = 0; // shut, but alive
        if (c.sndWnd > 0) { if (c.sndMax - c.sndUna <= 1) c.sndNxt = c.sndUna; c.deadline = Infinity; c.rtoNs = this.#rto(c); }
      }
      const twice = c.sackOn && s.sacks > 0 && cameTwice(c, b, s); // what went again was needless (RFC 8985 7.4.2, case 1): no sign of a loss
      if (twice) c.probed = false;
      const duplicate = bare && c.sndMax > c.sndUna && !twice && (window === before || news);
      if (duplicate && c.recover < 0 && c.sndWnd > 0 && (c.probed || (c.srttNs > 0 && this.#net.now() - c.lastSentNs > Math.max(LATE_LEAST_NS, 2 * c.srttNs)))) this.#goBack(c, b, s);
      else if (duplicate && c.recover < 0) {
        c.duplicates++;
        if (c.duplicates >= DUPLICATES || (c.sackOn && sum(c.sacked) > (DUPLICATES - 1) * c.mss && c.sacked.length >= 2 && lost(c, c.sndUna))) this.#enterRecovery(c);
      } else if (duplicate) {
        c.duplicates++;
        // What was sent well after the head went again has arrived, the head has not: it is lost once more (RFC 8985, 6.2, with order for time).
        if (c.sackOn && c.sacked.length > 0 && c.sacked[c.sacked.length - 1] >= c.headMark + DUPLICATES * c.mss) { this.#net.count('retransmission lost'); c.rexmitted = c.sndUna; c.headMark = c.sndMax; }
      }
      this.#tcp.touch(c);
      return true;
    }
    // New data is acknowledged.
    const acked = ackedTo - c.sndUna;
    this.#measure(c, s, ackedTo);
    c.retries = 0;
    c.probed = false;
    c.sndUna = ackedTo;
    if (c.sndNxt < ackedTo) c.sndNxt = ackedTo;
    forget(c.sacked, ackedTo);
    if (c.recover >= 0) {
      if (ackedTo >= c.recover) { c.recover = -1; c.cwnd = c.sackOn ? c.ssthresh : Math.min(c.ssthresh, Math.max(c.sndMax - c.sndUna, c.mss) + c.mss); c.duplicates = 0; }
      else {
        c.rexmitted = Math.max(c.rexmitted, ackedTo);
        c.headMark = c.sndMax; // of another head: what was sent until now says nothing about it
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
    this.#tcp.touch(c);
    return !this.#tcp.ended(c);
  }
  #measure(c: TcpConnection, s: Segment, ackedTo: number): void {
    const now = this.#net.now();
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
  #enterRecovery(c: TcpConnection): void {
    c.recover = c.sndMax;
    c.ssthresh = Math.max((c.sndMax - c.sndUna) / 2, 2 * c.mss);
    c.cwnd = c.ssthresh;
    c.rexmitted = c.sndUna;
    c.headMark = c.sndMax;
    c.timedPosition = -1;
    c.probing = c.probed = false;
    // The first hole goes out at once, whatever the pipe holds.
    const bytes = hole(c, c.sndUna);
    if (this.#transmit(c, c.sndUna, bytes)) c.rexmitted = c.sndUna + Math.max(1, bytes);
    this.retransmitted++;
    this.#deadlines.arm(c, this.#net.now() + c.rtoNs);
  }
  /** Arms the retransmission timer, or before it that of the tail loss probe. */
  #armLoss(c: TcpConnection): void {
    const now = this.#net.now();
    const probe = c.srttNs > 0 && !c.probed && c.recover < 0 && c.retries === 0
      ? Math.max(PROBE_LEAST_NS, Math.ceil(2 * c.srttNs)) + (c.sndMax - c.sndUna <= c.mss ? DELAYED_ACK_NS : 0) : Infinity;
    c.probing = probe < c.rtoNs;
    this.#deadlines.arm(c, now + Math.min(probe, c.rtoNs));
  }
  /** The last segment again: what comes back tells what is missing, long before the time-out. */
  #probeTail(c: TcpConnection): void {
    const end = Math.min(c.sndEnd, c.sndMax);
    const position = c.sndMax > c.sndEnd ? c.sndEnd : Math.max(c.sndUna, end - c.mss);
    if (!this.#transmit(c, position, end - position)) this.#tcp.block(c);
    c.probed = true;
    c.timedPosition = -1;
    this.retransmitted++;
    this.#deadlines.arm(c, this.#net.now() + c.rtoNs);
  }
  /** All in flight is lost, and the network is there: sent again from the acknowledgement on, at half the rate. */
  #goBack(c: TcpConnection, b: Uint8Array, s: Segment): void {
    c.ssthresh = Math.max((c.sndMax - c.sndUna) / 2, 2 * c.mss);
    c.cwnd = c.ssthresh;
    c.recover = -1;
    c.duplicates = 0;
    c.probed = c.probing = false;
    c.timedPosition = -1;
    c.sacked.length = 0; // what was said before may have died with who said it (RFC 2018, section 8)
    if (c.sackOn && s.sacks > 0) reported(c, b, s);
    c.sndNxt = c.sndUna;
    c.deadline = Infinity;
    this.output(c);
    if (c.deadline === Infinity) this.#deadlines.arm(c, this.#net.now() + c.rtoNs);
  }
  /** One byte beyond the window, or the FIN when there is none. */
  #probe(c: TcpConnection): void {
    if (c.sndWnd > 0) { this.output(c); return; }
    c.rtoNs = Math.min(RTO_MOST_NS, c.rtoNs * 2);
    if (c.sndEnd > c.sndUna) this.#segments.emit(c, c.sndUna, 1, FLAG.ACK);
    else this.#segments.emit(c, c.sndUna, 0, FLAG.ACK | FLAG.FIN);
    c.sndNxt = Math.max(c.sndNxt, c.sndUna + 1);
    c.sndMax = Math.max(c.sndMax, c.sndNxt);
    this.#deadlines.arm(c, this.#net.now() + c.rtoNs);
  }
  /** The deadline of an established connection has passed: the tail is probed, or the window, or everything goes again. */
  timeout(c: TcpConnection): void {
    if (c.probing) {
      c.probing = false;
      if (c.sndWnd > 0 && c.sndUna < c.sndMax) { this.#probeTail(c); return; }
    }
    if (++c.retries > RETRIES) { this.#net.count('guest is gone'); this.#tcp.abort(c, 'retransmission timed out'); return; }
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
    this.output(c);
    if (c.deadline === Infinity) this.#deadlines.arm(c, this.#net.now() + c.rtoNs);
  }
}
