/**
 * The scoreboard of the sender (RFC 2018, RFC 6675) and the ranges of the receiver. Both are lists of at most RANGES ranges, sorted by sequence number, disjoint and
 * not adjacent. What does not fit is forgotten, which is always allowed: it costs a retransmission.
 */
import { C_TCP_RANGES_FULL, C_TCP_SACK_BAD, count } from '../counters';
import { RANGES, Socket, le, lt, rangeAt, sackAt } from '../socket';
import { sackEnd, sackStart, seg } from './segment';

// ---- sender -----------------------------------------------------------------------------------------------------------------------------
export function sackedStart(s: Socket, n: u32): u32 { return load<u32>(sackAt(s, n)); }
export function sackedEnd(s: Socket, n: u32): u32 { return load<u32>(sackAt(s, n), 4); }
/** Enters [start, end); the number of bytes that are new. */
function enter(s: Socket, start: u32, end: u32): u32 {
  let n: u32 = 0;
  while (n < s.sacked && lt(sackedEnd(s, n), start)) n++;
  let k = n, had: u32 = 0, from = start, to = end;
  while (k < s.sacked && le(sackedStart(s, k), end)) {
    had += sackedEnd(s, k) - sackedStart(s, k);
    if (lt(sackedStart(s, k), from)) from = sackedStart(s, k);
    if (lt(to, sackedEnd(s, k))) to = sackedEnd(s, k);
    k++;
  }
  const fresh = to - from - had;
  if (k == n) {
    if (s.sacked == RANGES) return 0;
    memory.copy(sackAt(s, n + 1), sackAt(s, n), <usize>(s.sacked - n) << 3);
    s.sacked++;
  } else if (k > n + 1) {
    memory.copy(sackAt(s, n + 1), sackAt(s, k), <usize>(s.sacked - k) << 3);
    s.sacked -= k - n - 1;
  }
  store<u32>(sackAt(s, n), from); store<u32>(sackAt(s, n), to, 4);
  return fresh;
}
/** The blocks of the segment at hand: bytes newly known to have arrived. */
export function sackUpdate(s: Socket): u32 {
  let fresh: u32 = 0;
  for (let n: u32 = 0; n < seg.sacks; n++) {
    const start = sackStart(n), end = sackEnd(n);
    if (le(end, s.sndUna)) continue; // a duplicate report (RFC 2883) or late
    if (!lt(start, end) || lt(start, s.sndUna) || lt(s.sndMax, end)) { count(C_TCP_SACK_BAD); continue; }
    fresh += enter(s, start, end);
  }
  return fresh;
}
/** Everything below sndUna goes. */
export function sackAdvance(s: Socket): void {
  let n: u32 = 0;
  while (n < s.sacked && le(sackedEnd(s, n), s.sndUna)) n++;
  if (n != 0) { s.sacked -= n; memory.copy(sackAt(s, 0), sackAt(s, n), <usize>s.sacked << 3); }
  if (s.sacked != 0 && lt(sackedStart(s, 0), s.sndUna)) store<u32>(sackAt(s, 0), s.sndUna);
}
/** Bytes acknowledged selectively, before `limit`. */
export function sackedBelow(s: Socket, limit: u32): u32 {
  let sum: u32 = 0;
  for (let n: u32 = 0; n < s.sacked && lt(sackedStart(s, n), limit); n++) sum += (lt(limit, sackedEnd(s, n)) ? limit : sackedEnd(s, n)) - sackedStart(s, n);
  return sum;
}
/** RFC 6675 IsLost for what lies right before range n: three ranges above it, or more than two segments of bytes. */
export function lostBefore(s: Socket, n: u32): bool {
  if (s.sacked - n >= 3) return true;
  let sum: u32 = 0;
  for (let k = n; k < s.sacked; k++) sum += sackedEnd(s, k) - sackedStart(s, k);
  return sum > s.mss << 1;
}
/** RFC 6675 SetPipe. */
export function setPipe(s: Socket): void {
  let pipe: u32 = 0, at = s.sndUna;
  for (let n: u32 = 0; n < s.sacked; n++) {
    const hole = sackedStart(s, n);
    if (hole != at) {
      if (!lostBefore(s, n)) pipe += hole - at;
      if (lt(at, s.highRxt)) pipe += (lt(hole, s.highRxt) ? hole : s.highRxt) - at;
    }
    at = sackedEnd(s, n);
  }
  pipe += s.sndMax - at;
  if (lt(at, s.highRxt)) pipe += s.highRxt - at;
  s.pipe = pipe;
}
/** End of the hole that the last `nextHole` found. */
export let holeEnd: u32 = 0;
/** RFC 6675 NextSeg (1), with `any` (3): where the next unacknowledged byte at or after highRxt and below the highest range lies; the highest sequence number if there is none. */
export function nextHole(s: Socket, any: bool): u32 {
  let at = s.sndUna;
  for (let n: u32 = 0; n < s.sacked; n++) {
    const hole = sackedStart(s, n);
    const from = lt(at, s.highRxt) ? s.highRxt : at;
    if (lt(from, hole) && (any || lostBefore(s, n))) { holeEnd = hole; return from; }
    at = sackedEnd(s, n);
  }
  return s.sndMax;
}
/** Going forward from `from` through what was sent before: the first byte not known to have arrived; `holeEnd` its end. */
export function skipSacked(s: Socket, from: u32): u32 {
  for (let n: u32 = 0; n < s.sacked; n++) {
    if (lt(from, sackedStart(s, n))) { holeEnd = sackedStart(s, n); return from; }
    if (lt(from, sackedEnd(s, n))) from = sackedEnd(s, n);
  }
  holeEnd = s.sndEnd;
  return from;
}

// ---- receiver ---------------------------------------------------------------------------------------------------------------------------
export function rangeStart(s: Socket, n: u32): u32 { return load<u32>(rangeAt(s, n)); }
export function rangeEnd(s: Socket, n: u32): u32 { return load<u32>(rangeAt(s, n), 4); }
function rangeStamp(s: Socket, n: u32): u32 { return load<u32>(rangeAt(s, n), 8); }
/** Out of order data [start, end) has come. False: no room to remember it. */
export function rangeEnter(s: Socket, start: u32, end: u32): bool {
  let n: u32 = 0;
  while (n < s.ranges && lt(rangeEnd(s, n), start)) n++;
  let k = n, from = start, to = end;
  while (k < s.ranges && le(rangeStart(s, k), end)) {
    if (lt(rangeStart(s, k), from)) from = rangeStart(s, k);
    if (lt(to, rangeEnd(s, k))) to = rangeEnd(s, k);
    k++;
  }
  if (k == n) {
    if (s.ranges == RANGES) { count(C_TCP_RANGES_FULL); return false; }
    memory.copy(rangeAt(s, n + 1), rangeAt(s, n), <usize>(s.ranges - n) << 4);
    s.ranges++;
  } else if (k > n + 1) {
    memory.copy(rangeAt(s, n + 1), rangeAt(s, k), <usize>(s.ranges - k) << 4);
    s.ranges -= k - n - 1;
  }
  store<u32>(rangeAt(s, n), from); store<u32>(rangeAt(s, n), to, 4); store<u32>(rangeAt(s, n), ++s.stamp, 8);
  return true;
}
/** Data now reach `upTo` in order: the ranges that this swallows go, and how far it reaches with them. */
export function rangeJoin(s: Socket, upTo: u32): u32 {
  let n: u32 = 0;
  while (n < s.ranges && le(rangeStart(s, n), upTo)) { if (lt(upTo, rangeEnd(s, n))) upTo = rangeEnd(s, n); n++; }
  if (n != 0) { s.ranges -= n; memory.copy(rangeAt(s, 0), rangeAt(s, n), <usize>s.ranges << 4); }
  return upTo;
}
/** The k-th most recent range (RFC 2018, 4: the first block is the one that changed last). */
export function recentRange(s: Socket, k: u32): u32 {
  let below: u32 = 0xffffffff, best: u32 = 0;
  for (let i: u32 = 0; i <= k; i++) {
    let top: u32 = 0;
    for (let n: u32 = 0; n < s.ranges; n++) { const t = rangeStamp(s, n); if (t < below && t >= top) { top = t; best = n; } }
    below = top;
  }
  return best;
}
