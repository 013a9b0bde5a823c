/** What the guest has reported of what is under way (RFC 2018, RFC 6675): `sacked`, ranges of stream positions, and what follows from it. */
import { get32 } from '../frames.ts';
import type { TcpConnection } from './connection.ts';
import { insert } from './ring.ts';
import type { Segment } from './segment.ts';

/** Segments' worth above a hole that make it a loss (RFC 6675, DupThresh). */
export const DUPLICATES = 3;
const SACK_RANGES = 64;

/** The first SACK block reports something that came twice (RFC 2883, 4): it lies below the acknowledgement. */
export const cameTwice = (c: TcpConnection, b: Uint8Array, s: Segment): boolean => ((get32(b, s.sackAt + 4) - ((c.iss + 1 + c.sndUna) >>> 0)) | 0) <= 0;
/** Takes the SACK blocks in; whether they told anything new. */
export function reported(c: TcpConnection, b: Uint8Array, s: Segment): boolean {
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
/** Where to go on at `position`: behind the range that it lies in. */
export function sackedAt(c: TcpConnection, position: number): number {
  if (position >= c.sndMax) return position;
  for (let k = 0; k < c.sacked.length; k += 2) if (c.sacked[k] <= position && position < c.sacked[k + 1]) return c.sacked[k + 1];
  return position;
}
/** RFC 6675 IsLost: three segments' worth above it has arrived. */
export function lost(c: TcpConnection, position: number): boolean {
  let above = 0;
  for (let k = 0; k < c.sacked.length; k += 2) if (c.sacked[k + 1] > position) above += c.sacked[k + 1] - Math.max(position, c.sacked[k]);
  return above > (DUPLICATES - 1) * c.mss;
}
/** First hole below what has arrived that was not sent again in this recovery, or -1. */
export function nextHole(c: TcpConnection): number {
  if (!c.sackOn || c.sacked.length === 0) return c.rexmitted <= c.sndUna && c.sndUna < c.sndMax ? c.sndUna : -1;
  const from = Math.max(c.rexmitted, c.sndUna);
  let start = from;
  for (let k = 0; k < c.sacked.length; k += 2) {
    if (start < c.sacked[k]) return lost(c, start) || start === c.sndUna ? start : -1;
    start = Math.max(start, c.sacked[k + 1]);
  }
  return -1;
}
/** Bytes from `position` to the next that has arrived, at most one segment; 0 at the FIN. */
export function hole(c: TcpConnection, position: number): number {
  let to = Math.min(position + c.mss, c.sndEnd, c.sndMax);
  for (let k = 0; k < c.sacked.length; k += 2) if (c.sacked[k] > position) { to = Math.min(to, c.sacked[k]); break; }
  return Math.max(0, to - position);
}
/** RFC 6675 SetPipe: bytes thought to be on the wire. */
export function pipe(c: TcpConnection): number {
  const top = c.sndNxt;
  if (c.recover < 0 && c.sacked.length === 0) return top - c.sndUna;
  if (!c.sackOn || c.sacked.length === 0) return Math.max(0, top - c.sndUna - c.duplicates * c.mss - (c.recover >= 0 ? c.mss : 0));
  let pipe = 0;
  let start = c.sndUna;
  for (let k = 0; k <= c.sacked.length; k += 2) {
    const end = k < c.sacked.length ? Math.min(c.sacked[k], top) : top;
    if (end > start) pipe += c.recover >= 0 && lost(c, start) ? Math.max(0, Math.min(end, c.rexmitted) - start) : end - start;
    if (k < c.sacked.length) start = Math.max(start, c.sacked[k + 1]);
  }
  return pipe;
}
