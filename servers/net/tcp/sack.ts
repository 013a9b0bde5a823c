/**
 * SACK (RFC 2018, RFC 2883). Of the sender: what the blocks of a segment say, entered into the map of what is under way (flight.ts). Of the receiver: the ranges of out of
 * order data, a list of at most RANGES, sorted by sequence number, disjoint and not adjacent; what does not fit is forgotten, which costs a retransmission.
 */
import { C_TCP_DSACKS, C_TCP_RANGES_FULL, C_TCP_SACK_BAD, count } from '../counters';
import { RANGES, Socket, le, lt, rangeAt } from '../socket';
import { flightReported } from './flight';
import { rackDuplicate } from './rack';
import { sackEnd, sackStart, seg } from './segment';

// ---- sender -----------------------------------------------------------------------------------------------------------------------------
/** The first block of the segment at hand reports something that came twice (RFC 2883, 4): it lies below the acknowledgement, or within the second block. */
function duplicateReport(): bool {
  const start = sackStart(0), end = sackEnd(0);
  if (!lt(start, end)) return false;
  return le(end, seg.ack) || (seg.sacks > 1 && le(sackStart(1), start) && le(end, sackEnd(1)));
}
/** The blocks of the segment at hand: bytes newly known to have arrived. */
export function sackUpdate(s: Socket): u32 {
  let fresh: u32 = 0, n: u32 = 0;
  if (duplicateReport()) { count(C_TCP_DSACKS); rackDuplicate(s, sackEnd(0)); n = 1; }
  for (; n < seg.sacks; n++) {
    const start = sackStart(n), end = sackEnd(n);
    if (le(end, s.sndUna)) continue; // late
    if (!lt(start, end) || lt(start, s.sndUna) || lt(s.sndMax, end)) { count(C_TCP_SACK_BAD); continue; }
    fresh += flightReported(s, start, end);
  }
  return fresh;
}

// ---- receiver ---------------------------------------------------------------------------------------------------------------------------
export function rangeStart(s: Socket, n: u32): u32 { return load<u32>(rangeAt(s, n)); }
export function rangeEnd(s: Socket, n: u32): u32 { return load<u32>(rangeAt(s, n), 4); }
function rangeStamp(s: Socket, n: u32): u32 { return load<u32>(rangeAt(s, n), 8); }
/** Out of order data [start, end) has come. False: all of it was there. */
export function rangeEnter(s: Socket, start: u32, end: u32): bool {
  let n: u32 = 0;
  while (n < s.ranges && lt(rangeEnd(s, n), start)) n++;
  const known = n < s.ranges && le(rangeStart(s, n), start) && le(end, rangeEnd(s, n));
  let k = n, from = start, to = end;
  while (k < s.ranges && le(rangeStart(s, k), end)) {
    if (lt(rangeStart(s, k), from)) from = rangeStart(s, k);
    if (lt(to, rangeEnd(s, k))) to = rangeEnd(s, k);
    k++;
  }
  if (k == n) {
    if (s.ranges == RANGES) { count(C_TCP_RANGES_FULL); return true; }
    memory.copy(rangeAt(s, n + 1), rangeAt(s, n), <usize>(s.ranges - n) << 4);
    s.ranges++;
  } else if (k > n + 1) {
    memory.copy(rangeAt(s, n + 1), rangeAt(s, k), <usize>(s.ranges - k) << 4);
    s.ranges -= k - n - 1;
  }
  store<u32>(rangeAt(s, n), from); store<u32>(rangeAt(s, n), to, 4); store<u32>(rangeAt(s, n), ++s.stamp, 8);
  return !known;
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
