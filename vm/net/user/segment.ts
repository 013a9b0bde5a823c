/** Segments of the gateway's TCP: read from frames of the guest, written into the batch that goes to it (RFC 9293 3.1, RFC 7323, RFC 2018). */
import { ETHERNET_HEADER, PROTOCOL, fold, get16, get32, pseudoSum, put16, put32 } from '../frames.ts';
import { STATE, type TcpConnection } from './connection.ts';
import { fetch } from './ring.ts';
import type { TcpNetwork } from './tcp.ts';

export const FLAG = { FIN: 1, SYN: 2, RST: 4, PSH: 8, ACK: 16, URG: 32 } as const;
const OPTION = { end: 0, nop: 1, mss: 2, windowScale: 3, sackPermitted: 4, sack: 5, timestamps: 8 } as const;
const IP_HEADER = 20;
const TCP_HEADER = 20;
export const RECEIVE_SCALE = 3;
export const MS = 1e6;
/** Milliseconds, as timestamps have them; never 0. */
export const stampOf = (ns: number): number => (Math.floor(ns / MS) + 1) >>> 0;

/** One received segment, taken apart; a single object, used again. */
export interface Segment { guestPort: number; peerPort: number; seq: number; ack: number; flags: number; window: number; payload: number; bytes: number; mss: number; scale: number; sackPermitted: boolean; stamp: boolean; stampValue: number; stampEcho: number; sacks: number; sackAt: number }
export const emptySegment = (): Segment => ({ guestPort: 0, peerPort: 0, seq: 0, ack: 0, flags: 0, window: 0, payload: 0, bytes: 0, mss: 0, scale: -1, sackPermitted: false, stamp: false, stampValue: 0, stampEcho: 0, sacks: 0, sackAt: 0 });
/** The segment of `length` bytes at `at`, whose checksum was checked, into `s`; or what is wrong with it. */
export function readSegment(s: Segment, b: Uint8Array, at: number, length: number): string | undefined {
  if (length < TCP_HEADER) return 'TCP segment cut short';
  const header = (b[at + 12] >> 4) * 4;
  if (header < TCP_HEADER || header > length) return 'TCP header length';
  s.guestPort = get16(b, at);
  s.peerPort = get16(b, at + 2);
  s.seq = get32(b, at + 4);
  s.ack = get32(b, at + 8);
  s.flags = b[at + 13];
  s.window = get16(b, at + 14);
  s.payload = at + header;
  s.bytes = length - header;
  return options(s, b, at + TCP_HEADER, header - TCP_HEADER) ? undefined : 'TCP option length';
}
function options(s: Segment, b: Uint8Array, from: number, length: number): boolean {
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

export class SegmentWriter {
  readonly #net: TcpNetwork;
  constructor(net: TcpNetwork) { this.#net = net; }

  /** One segment with `bytes` bytes from stream position `position`. False: no room in the batch. */
  emit(c: TcpConnection, position: number, bytes: number, flags: number): boolean {
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
  reset(c: TcpConnection, seq: number, acknowledged: number): void {
    if (c.state === STATE.connecting) this.bare(c.guestAddress, c.guestPort, c.peerAddress, c.peerPort, 0, c.irs + acknowledged, FLAG.RST | FLAG.ACK);
    else this.bare(c.guestAddress, c.guestPort, c.peerAddress, c.peerPort, seq, c.irs + 1 + c.rcvNxt + (c.finIn ? 1 : 0), FLAG.RST | FLAG.ACK);
  }
  /** A segment without connection or data. */
  bare(guestAddress: number, guestPort: number, peerAddress: number, peerPort: number, seq: number, ack: number, flags: number): void {
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
}
