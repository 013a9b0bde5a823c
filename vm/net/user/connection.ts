/**
 * One TCP connection of the gateway: its numbers, its bytes, and what the far side does with it. What happens to it is decided in tcp.ts,
 * receiver.ts and sender.ts.
 */
import type { ConnectFailure, HostStream } from './outside.ts';
import type { StateReader, StateWriter } from '../state.ts';
import { EMPTY, extract, store } from './ring.ts';
import type { Tcp } from './tcp.ts';

export const STATE = { connecting: 0, synReceived: 1, synSent: 2, established: 3, timeWait: 4, closed: 5 } as const;
/** Received and not yet taken by the far side: at most this; it is the window a guest sees. */
export const RECEIVE_BYTES = 256 * 1024;
/** The far side is told to stop when less than SEND_SLACK of this is free. */
export const SEND_BYTES = 512 * 1024;
export const SEND_SLACK = 128 * 1024;
export const DEFAULT_MSS = 536;
export const RTO_FIRST_NS = 1e9;

export class TcpConnection {
  readonly tcp: Tcp;
  readonly id: number;
  readonly guestAddress: number;
  readonly guestPort: number;
  readonly peerAddress: number;
  readonly peerPort: number;
  /** The far side opened it. */
  readonly inbound: boolean;
  stream: HostStream | undefined;
  state: number = STATE.connecting;
  // from the guest
  irs = 0;
  rcvNxt = 0;
  rcvTaken = 0;
  rcvEdge = 0;
  rcvMost = 65535;
  rcvScale = 0;
  finIn = false;
  endTold = false;
  /** Received beyond rcvNxt: pairs [start, end), ascending. */
  beyond: number[] = [];
  /** Start of the range that the last segment fell into: the first SACK block. */
  beyondLast = -1;
  rcvBytes: Uint8Array<ArrayBuffer> = EMPTY;
  ackNow = false;
  // to the guest
  iss = 0;
  sndUna = 0;
  sndNxt = 0;
  sndMax = 0;
  sndEnd = 0;
  sndWnd = 0;
  sndScale = 0;
  sndWl1 = 0;
  sndWl2 = 0;
  finOut = false;
  sndBytes: Uint8Array<ArrayBuffer> = EMPTY;
  full = false;
  mss = DEFAULT_MSS;
  sackOn = false;
  stampsOn = false;
  stampRecent = 0;
  // loss and congestion
  cwnd = 0;
  ssthresh = 1e9;
  duplicates = 0;
  /** Recovery ends when this position is acknowledged; -1 = not in it. */
  recover = -1;
  rexmitted = 0;
  /** sndMax when the head went again. */
  headMark = 0;
  sacked: number[] = [];
  srttNs = 0;
  rttvarNs = 0;
  rtoNs = RTO_FIRST_NS;
  retries = 0;
  timedPosition = -1;
  timedAtNs = 0;
  lastSentNs = 0;
  /** The deadline is that of a tail loss probe; one has been sent and not been answered. */
  probing = false;
  probed = false;
  /** Retransmission, probe or end of TIME-WAIT; Infinity = none. */
  deadline = Infinity;
  /** Deadline of its entry in the heap. */
  queued = Infinity;
  /** In a list of the network: to be served after this batch; waits for room in the batch of frames. */
  touched = false;
  blocked = false;

  constructor(tcp: Tcp, id: number, guestAddress: number, guestPort: number, peerAddress: number, peerPort: number, inbound: boolean) {
    this.tcp = tcp; this.id = id;
    this.guestAddress = guestAddress; this.guestPort = guestPort; this.peerAddress = peerAddress; this.peerPort = peerPort; this.inbound = inbound;
  }

  // ---- for the far side -----------------------------------------------------------------------------------------------------------

  /** Bytes of the guest that wait to be taken. */
  get available(): number { return this.rcvNxt - this.rcvTaken; }
  /** All was taken and the guest has ended its half. */
  get atEnd(): boolean { return this.finIn && this.rcvTaken === this.rcvNxt; }
  /** The first of them, as far as they lie together. Unchanged until consumed. */
  peek(): Uint8Array<ArrayBuffer> {
    const size = this.rcvBytes.length;
    if (size === 0) return EMPTY;
    const from = this.rcvTaken % size;
    return this.rcvBytes.subarray(from, Math.min(size, from + this.available));
  }
  consume(bytes: number): void { this.tcp.consumed(this, bytes); }
  /** True once: the guest's end was reached and is the far side's to pass on. */
  takeEnd(): boolean { return this.atEnd && !this.endTold && this.tcp.endTaken(this); }
  /** Bytes that `send` takes now. It may take SEND_SLACK more in one piece when there was any. */
  get sendSpace(): number { return this.state >= STATE.timeWait || this.finOut ? 0 : Math.max(0, SEND_BYTES - SEND_SLACK - (this.sndEnd - this.sndUna)); }
  send(bytes: Uint8Array): void { this.tcp.send(this, bytes); }
  /** No more from the far side. */
  sendEnd(): void { this.tcp.sendEnd(this); }
  connected(): void { this.tcp.connected(this); }
  failed(failure: ConnectFailure): void { this.tcp.failed(this, failure); }
  /** The far side is gone: RST. */
  abort(): void { this.tcp.abort(this, 'far side reset'); }
}

/** Numbers that are saved as they are, in order. */
export const NUMBERS = [
  'state', 'irs', 'rcvNxt', 'rcvTaken', 'rcvEdge', 'rcvMost', 'rcvScale', 'beyondLast', 'iss', 'sndUna', 'sndNxt', 'sndMax', 'sndEnd', 'sndWnd', 'sndScale', 'sndWl1', 'sndWl2',
  'mss', 'stampRecent', 'cwnd', 'ssthresh', 'duplicates', 'recover', 'rexmitted', 'headMark', 'srttNs', 'rttvarNs', 'rtoNs', 'retries', 'timedPosition', 'timedAtNs', 'lastSentNs', 'deadline', 'queued',
] as const;
export const FLAGS = ['finIn', 'endTold', 'ackNow', 'finOut', 'full', 'sackOn', 'stampsOn', 'touched', 'blocked', 'probing', 'probed'] as const;

export function saveConnection(w: StateWriter, c: TcpConnection): void {
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
}
/** Its stream is put back by whoever made it. */
export function loadConnection(r: StateReader, tcp: Tcp): TcpConnection {
  const [id, guestAddress, guestPort, peerAddress, peerPort] = [r.number(), r.number(), r.number(), r.number(), r.number()];
  const c = new TcpConnection(tcp, id, guestAddress, guestPort, peerAddress, peerPort, r.flag());
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
  return c;
}
