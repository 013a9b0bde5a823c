/**
 * What a connection has under way (RFC 8985, 5.2: per-segment state; the scoreboard of RFC 2018 and RFC 6675 is part of it), of connections with SACK: runs of sequence numbers
 * that were sent at about the same time and have the same fate, in order, without gaps, from sndUna to sndMax.
 *
 *   sndUna                                              sndMax
 *   | LOST | REPORTED | AGAIN |   (under way, sent once)   |        each {start, end, at: when sent last (us mod 2^32), flags}
 *
 * Private: after a death the map is empty until the peer has said where it is. An empty map with something under way stands for one run that went at some time (`cover`).
 * Room for RUNS runs; when it is full neighbours become one, in the last resort a report is forgotten, which RFC 2018 (8) always allows: it costs a retransmission.
 */
import { C_TCP_FLIGHT_FULL, count } from '../counters';
import { now } from '../host';
import { RUNS, Socket, le, lt, runsOf } from '../socket';
import { rackBegin, rackDelivered } from './rack';

export const REPORTED: u32 = 1; // the peer has it (SACK)
export const LOST: u32 = 2; // taken for lost, not sent again yet
export const AGAIN: u32 = 4; // sent more than once
/** Segments that follow one another within this part of a round trip (2^-n) are one run: its time is that of the first. */
const GRAIN: u32 = 5;

@unmanaged @final export class Run { start: u32; end: u32; at: u32; flags: u32; }
const RUN_SHIFT: usize = 4;
export function runAt(s: Socket, n: u32): Run { return changetype<Run>(runsOf(s) + (<usize>(s.firstRun + n) << RUN_SHIFT)); }

/** Everything under way is forgotten, reports too (RFC 2018, 8: after a timeout the receiver may have forgotten them). */
export function flightForget(s: Socket): void { s.runs = 0; s.firstRun = 0; s.reported = 0; }

/** A free place behind run n - 1; the runs from n on move up. */
function open(s: Socket, n: u32): Run {
  if (s.firstRun + s.runs == RUNS) {
    if (s.runs == RUNS) { count(C_TCP_FLIGHT_FULL); unreachable(); } // `room` was not asked
    memory.copy(runsOf(s), changetype<usize>(runAt(s, 0)), <usize>s.runs << RUN_SHIFT);
    s.firstRun = 0;
  }
  if (n != s.runs) memory.copy(changetype<usize>(runAt(s, n + 1)), changetype<usize>(runAt(s, n)), <usize>(s.runs - n) << RUN_SHIFT);
  s.runs++;
  return runAt(s, n);
}
function close(s: Socket, n: u32): void {
  s.runs--;
  if (n != s.runs) memory.copy(changetype<usize>(runAt(s, n)), changetype<usize>(runAt(s, n + 1)), <usize>(s.runs - n) << RUN_SHIFT);
}
/** Makes room for `wanted` more runs. */
function room(s: Socket, wanted: u32): void {
  while (s.runs + wanted > RUNS) {
    // The two neighbours of one kind that were sent closest together.
    let best: u32 = s.runs, least: u32 = 0xffffffff;
    for (let n: u32 = 0; n + 1 < s.runs; n++) {
      const a = runAt(s, n), b = runAt(s, n + 1);
      if (a.flags != b.flags) continue;
      const apart = lt(a.at, b.at) ? b.at - a.at : a.at - b.at;
      if (apart < least) { least = apart; best = n; }
    }
    if (best == s.runs) {
      // None: the highest report goes. What lies before it takes its place.
      count(C_TCP_FLIGHT_FULL);
      best = s.runs - 2;
      while (best != 0 && (runAt(s, best + 1).flags & REPORTED) == 0) best--;
      const r = runAt(s, best + 1), before = runAt(s, best);
      if ((r.flags & REPORTED) != 0) s.reported -= r.end - r.start;
      if ((before.flags & REPORTED) != 0) s.reported -= before.end - before.start;
      before.flags &= ~REPORTED;
    }
    const a = runAt(s, best), b = runAt(s, best + 1);
    a.end = b.end;
    if (lt(a.at, b.at)) a.at = b.at; // later: taken for lost later
    close(s, best + 1);
  }
}
/** Run n becomes two, [start, seq) and [seq, end). There is room. */
function split(s: Socket, n: u32, seq: u32): void {
  const b = open(s, n + 1), a = runAt(s, n);
  b.start = seq; b.end = a.end; b.at = a.at; b.flags = a.flags;
  a.end = seq;
}
/** An empty map with something under way, up to `max`: one run, which may have gone more than once. */
function cover(s: Socket, max: u32): void {
  if (s.runs != 0 || max == s.sndUna) return;
  rackBegin(s);
  s.firstRun = 0; s.reported = 0;
  const r = open(s, 0);
  r.start = s.sndUna; r.end = max; r.at = <u32>now; r.flags = AGAIN;
}

/** [seq, end) goes out now; sndMax is still what it was before. */
export function flightSent(s: Socket, seq: u32, end: u32): void {
  const max = s.sndMax;
  if (s.runs == 0) { if (max == s.sndUna) rackBegin(s); else cover(s, max); }
  if (seq != max) {
    sentAgain(s, seq, lt(max, end) ? max : end);
    if (le(end, max)) return;
    seq = max;
  } else if (s.runs != 0) {
    const last = runAt(s, s.runs - 1);
    if (last.flags == 0 && <u32>now - last.at <= s.srtt >> GRAIN) { last.end = end; return; }
  }
  if (s.runs == RUNS) room(s, 1);
  const r = open(s, s.runs);
  r.start = seq; r.end = end; r.at = <u32>now; r.flags = 0;
}
function sentAgain(s: Socket, seq: u32, end: u32): void {
  room(s, 2);
  let n: u32 = 0;
  while (n < s.runs && le(runAt(s, n).end, seq)) n++;
  if (n < s.runs && lt(runAt(s, n).start, seq)) split(s, n++, seq);
  while (n < s.runs && lt(runAt(s, n).start, end)) {
    if (lt(end, runAt(s, n).end)) split(s, n, end);
    const r = runAt(s, n);
    if ((r.flags & REPORTED) != 0) s.reported -= r.end - r.start; // it goes although it was reported: then the report is not believed
    r.flags = AGAIN; r.at = <u32>now;
    // Joins the run before it when that went at this very time: several segments of one hole.
    if (n != 0 && runAt(s, n - 1).flags == AGAIN && runAt(s, n - 1).at == <u32>now) { runAt(s, n - 1).end = r.end; close(s, n); } else n++;
  }
}
/** All up to `ack` has arrived; sndUna is still what it was. Bytes of it that had not been reported. */
export function flightAcked(s: Socket, ack: u32): u32 {
  let fresh: u32 = 0;
  if (s.runs == 0) return ack - s.sndUna;
  while (s.runs != 0) {
    const r = runAt(s, 0);
    if (le(ack, r.start)) break;
    const end = lt(ack, r.end) ? ack : r.end, bytes = end - r.start;
    if ((r.flags & REPORTED) == 0) { fresh += bytes; rackDelivered(s, r, end); } else s.reported -= bytes;
    if (end != r.end) { r.start = end; break; }
    s.runs--; s.firstRun++;
  }
  if (s.runs == 0) s.firstRun = 0;
  return fresh;
}
/** The peer reports [start, end), within what is under way. Bytes that are news. */
export function flightReported(s: Socket, start: u32, end: u32): u32 {
  cover(s, s.sndMax);
  room(s, 2);
  let n: u32 = 0, fresh: u32 = 0;
  while (n < s.runs && le(runAt(s, n).end, start)) n++;
  while (n < s.runs && lt(runAt(s, n).start, end)) {
    let r = runAt(s, n);
    if ((r.flags & REPORTED) != 0) { n++; continue; }
    if (lt(r.start, start)) { split(s, n++, start); continue; }
    if (lt(end, r.end)) { split(s, n, end); r = runAt(s, n); }
    rackDelivered(s, r, r.end);
    fresh += r.end - r.start;
    r.flags = REPORTED;
    if (n != 0 && runAt(s, n - 1).flags == REPORTED) { runAt(s, n - 1).end = r.end; close(s, n--); }
    if (n + 1 < s.runs && runAt(s, n + 1).flags == REPORTED) { runAt(s, n).end = runAt(s, n + 1).end; close(s, n + 1); }
    n++;
  }
  s.reported += fresh;
  return fresh;
}
/** Reported bytes below `limit`. */
export function reportedBelow(s: Socket, limit: u32): u32 {
  if (limit == s.sndMax) return s.reported;
  let sum: u32 = 0;
  for (let n: u32 = 0; n < s.runs; n++) {
    const r = runAt(s, n);
    if (le(limit, r.start)) break;
    if ((r.flags & REPORTED) != 0) sum += (lt(limit, r.end) ? limit : r.end) - r.start;
  }
  return sum;
}
/** Bytes thought to be in the network (RFC 6675, SetPipe): sent, not reported, not taken for lost. */
export function pipeOf(s: Socket): u32 {
  let pipe: u32 = 0;
  for (let n: u32 = 0; n < s.runs; n++) { const r = runAt(s, n); if ((r.flags & (REPORTED | LOST)) == 0) pipe += r.end - r.start; }
  return pipe;
}
/** End of the hole that the last `nextLost` or `skipReported` found. */
export let holeEnd: u32 = 0;
/** Where the first bytes lie that are taken for lost; sndMax if there are none. */
export function nextLost(s: Socket): u32 {
  for (let n: u32 = 0; n < s.runs; n++) { const r = runAt(s, n); if ((r.flags & LOST) != 0) { holeEnd = r.end; return r.start; } }
  return s.sndMax;
}
/** Everything from `from` on that was not reported is taken for lost. */
export function loseFrom(s: Socket, from: u32): void {
  cover(s, s.sndMax);
  room(s, 1);
  for (let n: u32 = 0; n < s.runs; n++) {
    const r = runAt(s, n);
    if (le(r.end, from) || (r.flags & REPORTED) != 0) continue;
    if (lt(r.start, from)) { split(s, n, from); continue; }
    r.flags |= LOST;
  }
}
/** Going forward from `from` through what was sent before: the first byte not known to have arrived; `holeEnd` its end. */
export function skipReported(s: Socket, from: u32): u32 {
  for (let n: u32 = 0; n < s.runs; n++) {
    const r = runAt(s, n);
    if ((r.flags & REPORTED) == 0) continue;
    if (lt(from, r.start)) { holeEnd = r.start; return from; }
    if (lt(from, r.end)) from = r.end;
  }
  holeEnd = s.sndEnd;
  return from;
}
