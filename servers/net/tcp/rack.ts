/**
 * RACK-TLP (RFC 8985), of connections with SACK. RACK: what was sent before the newest segment that has arrived, by more than the reordering window, is lost; that finds lost
 * retransmissions too, and forgives reordering. TLP: two round trips after the last acknowledgement the end goes again (or something new goes), so that its answer shows what is missing.
 *
 * Times are us mod 2^32. All of it is private: a successor begins anew (no minimum, no reordering seen), and measures again.
 */
import { C_TCP_PROBE_REPAIRED, C_TCP_REORDERED, C_TCP_TAIL_PROBES, count } from '../counters';
import { now } from '../host';
import { AFTER_RTO, RECOVERY, REVIVED, SACK_OK, STAMPS, Socket, le, lt, wantOutput } from '../socket';
import { NEVER, armAtMost } from '../timer';
import { congestionLoss } from './congestion';
import { AGAIN, LOST, REPORTED, Run, runAt } from './flight';
import { armRto } from './output';
import { inUse } from './recovery';
import { seg } from './segment';

// Flags of s.loss.
export const PROBING: u32 = 1; // rtoAt is when the tail is probed
export const PROBE_WANTED: u32 = 2;
export const PROBE_OUT: u32 = 4; // ... and its answer awaited; probeEnd was sndMax
export const PROBE_AGAIN: u32 = 8; // it was a retransmission
export const REORDERING: u32 = 16; // seen on this path
export const SAFE: u32 = 32; // recovery: the last acknowledgement brought progress and no further loss (RFC 6937)
export const FIRST: u32 = 64; // recovery: the first retransmission goes whatever the windows say
export const SLOWER: u32 = 128; // conservative slow start (hystart.ts)

const LEAST_WINDOW: u32 = 1000; // us; below it reordering is that of a batch
const MIN_RTT_AGE: u32 = 30_000_000;
const MOST_STEPS: u32 = 255;
const KEEP_RECOVERIES: u32 = 16;
const LEAST_PROBE: u32 = 10_000; // us
const DELAYED_ACK: u32 = 200_000; // what a lone segment's acknowledgement may wait for
const DUPLICATES: u32 = 3;

/** A sample of the round trip came with the segment at hand: in s.rackRtt, of something sent once. */
export let sampled: bool = false;
export function noSample(): void { sampled = false; }

/** Nothing is known to be under way: what comes now is the oldest. */
export function rackBegin(s: Socket): void { s.rackAt = <u32>now; s.rackEnd = s.sndUna; s.rackMost = s.sndUna; }

/** RFC 8985, 6.2, steps 1 to 3: run r has arrived, up to `end`. */
export function rackDelivered(s: Socket, r: Run, end: u32): void {
  const rtt = <u32>now - r.at;
  if ((r.flags & AGAIN) != 0) {
    if (rtt < s.minRtt) return; // the answer to what went before
    if ((s.flags & STAMPS) != 0 && seg.stamped && seg.tsEcr != 0 && lt(seg.tsEcr, <u32>((now - rtt) / 1000) + s.tsOffset)) return;
  } else {
    sampled = true;
    if (rtt <= s.minRtt || s.minRtt == 0) { s.minRtt = rtt == 0 ? 1 : rtt; s.minRttNext = s.minRtt; s.minRttAt = <u32>now; }
    else {
      if (rtt < s.minRttNext) s.minRttNext = rtt;
      if (<u32>now - s.minRttAt > MIN_RTT_AGE) { s.minRtt = s.minRttNext; s.minRttNext = 0xffffffff; s.minRttAt = <u32>now; }
    }
    if (lt(end, s.rackMost) && (s.loss & REORDERING) == 0) { count(C_TCP_REORDERED); s.loss |= REORDERING; }
  }
  if (lt(s.rackMost, end)) s.rackMost = end;
  s.rackRtt = rtt;
  if (lt(s.rackAt, r.at) || (s.rackAt == r.at && lt(s.rackEnd, end))) { s.rackAt = r.at; s.rackEnd = end; }
}
/** RFC 8985, 6.2, step 4: something came twice, so the window was too small; once a round trip. Of a probe: it was needless. */
export function rackDuplicate(s: Socket, end: u32): void {
  if ((s.loss & (PROBE_OUT | PROBE_AGAIN)) == (PROBE_OUT | PROBE_AGAIN) && end == s.probeEnd) { probeOver(s); return; }
  if (s.rackKeep != 0 && lt(s.sndUna, s.rackRound)) return;
  s.rackRound = s.sndNxt;
  s.rackKeep = KEEP_RECOVERIES;
  if (s.rackSteps < MOST_STEPS) s.rackSteps++;
}
/** A recovery is over. */
export function rackRecovered(s: Socket): void { if (s.rackKeep != 0 && --s.rackKeep == 0) s.rackSteps = 0; }

function window(s: Socket): u32 {
  if ((s.loss & REORDERING) == 0) {
    if ((s.flags & (RECOVERY | AFTER_RTO)) != 0 || s.dupAcks >= DUPLICATES || s.reported > s.mss << 1) return 0;
    let ranges: u32 = 0;
    for (let n: u32 = 0; n < s.runs; n++) if ((runAt(s, n).flags & REPORTED) != 0) ranges++;
    if (ranges >= DUPLICATES) return 0;
  }
  let w = <u32>(<u64>s.minRtt * (s.rackSteps + 1) >> 2);
  if (w > s.srtt) w = s.srtt;
  return w < LEAST_WINDOW ? LEAST_WINDOW : w;
}
/** RFC 8985, 6.2, step 5: marks what is lost; whether there was something. What may yet arrive has its deadline in reorderAt. */
export function rackDetect(s: Socket): bool {
  const after = s.rackRtt + window(s), limit = lt(s.sndNxt, s.sndMax) ? s.sndNxt : s.sndMax; // going back: beyond sndNxt nothing is under way
  let lost = false, wait: u32 = 0;
  for (let n: u32 = 0; n < s.runs; n++) {
    const r = runAt(s, n);
    if (lt(limit, r.end)) break;
    if ((r.flags & (REPORTED | LOST)) != 0) continue;
    if (lt(s.rackAt, r.at) || (s.rackAt == r.at && le(s.rackEnd, r.end))) continue;
    const passed = <u32>now - r.at;
    if (passed >= after) { r.flags |= LOST; lost = true; }
    else if (after - passed > wait) wait = after - passed;
  }
  s.reorderAt = wait == 0 ? NEVER : now + wait;
  if (wait != 0) armAtMost(s.timer, s.reorderAt);
  return lost;
}

// ---- tail loss probe (RFC 8985, 7) ------------------------------------------------------------------------------------------------------
/** Us until the tail is to be probed, 0xffffffff = not at all: outside of recovery, once, when the round trip is known. */
export function probeAfter(s: Socket): u32 {
  if ((s.flags & (SACK_OK | RECOVERY | AFTER_RTO | REVIVED)) != SACK_OK || (s.loss & PROBE_OUT) != 0 || s.srtt == 0 || s.backoff != 0) return 0xffffffff;
  const t = s.srtt << 1;
  return (t < LEAST_PROBE ? LEAST_PROBE : t) + (s.sndMax - s.sndUna <= s.mss ? DELAYED_ACK : 0);
}
/** It is time. */
export function probeTail(s: Socket): void {
  s.loss &= ~PROBING;
  if (s.sndMax == s.sndUna) return;
  count(C_TCP_TAIL_PROBES);
  s.loss |= PROBE_OUT | PROBE_WANTED;
  s.probeEnd = s.sndMax;
  armRto(s);
  wantOutput(s);
}
export function probeOver(s: Socket): void { s.loss &= ~(PROBE_OUT | PROBE_AGAIN | PROBE_WANTED); }
/** An acknowledgement while a probe is out. `advanced`: it acknowledges something new. */
export function probeAnswered(s: Socket, advanced: bool): void {
  if (lt(s.sndUna, s.probeEnd) || (s.loss & PROBE_WANTED) != 0) return;
  if ((s.loss & PROBE_AGAIN) == 0) { probeOver(s); return; }
  if (lt(s.probeEnd, s.sndUna)) { // more has arrived, and nobody said that the probe came twice: it repaired a loss
    probeOver(s);
    count(C_TCP_PROBE_REPAIRED);
    congestionLoss(s, inUse(s, s.sndMax - s.sndUna));
    s.cwnd = s.ssthresh;
  } else if (!advanced && seg.sacks == 0) probeOver(s); // both came
}
