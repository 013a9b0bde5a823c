/**
 * Congestion control: slow start and avoidance (RFC 5681) with NewReno's or CUBIC's (RFC 9438) increase and decrease. All windows in bytes. What is in flight, and what is
 * lost, is the business of flight.ts and rack.ts; how the window comes down of recovery.ts.
 */
import { now } from '../host';
import { CUBIC, MAX_BUFFER, Socket } from '../socket';
import { hystart, hystartBegin } from './hystart';
import { sampled } from './rack';

/** RFC 6928. */
export function initialWindow(mss: u32): u32 { const w: u32 = mss << 1 > 14600 ? mss << 1 : 14600; return mss * 10 < w ? mss * 10 : w; }
const UNLIMITED: u32 = 0x7fffffff;
const CEILING: u32 = 4 * MAX_BUFFER; // more is never in flight

export function congestionStart(s: Socket): void {
  s.cwnd = initialWindow(s.mss);
  s.ssthresh = UNLIMITED;
  s.wMax = 0; s.cwndPrior = 0; s.epochAt = 0; s.ackedBytes = 0;
  hystartBegin(s);
}
/** `acked` new bytes, of `flight` that were under way: the window grows if it was what limited us. */
export function congestionAck(s: Socket, acked: u32, flight: u32): void {
  if (s.cwnd >= CEILING || flight + (s.mss << 1) < s.cwnd >> (s.cwnd < s.ssthresh ? 1 : 0)) return;
  if (s.cwnd < s.ssthresh) {
    let more: u32 = acked < s.mss << 3 ? acked : s.mss << 3; // RFC 9406, 4.2: L = 8
    if (s.ssthresh == UNLIMITED && sampled) more = hystart(s, s.rackRtt, more);
    s.cwnd = s.ssthresh - s.cwnd < more ? s.ssthresh : s.cwnd + more;
    return;
  }
  if ((s.flags & CUBIC) != 0) { cubicAck(s, acked); return; }
  s.ackedBytes += acked;
  if (s.ackedBytes >= s.cwnd) { s.ackedBytes -= s.cwnd; s.cwnd += s.mss; }
}
/** Loss seen by duplicate acknowledgements: the new threshold. */
export function congestionLoss(s: Socket, flight: u32): void {
  if ((s.flags & CUBIC) != 0) {
    // Fast convergence (RFC 9438, 4.7), then beta = 0.7.
    s.cwndPrior = s.cwnd;
    s.wMax = s.cwnd < s.wMax ? <u32>(<u64>s.cwnd * 17 / 20) : s.cwnd;
    s.epochAt = 0;
    s.ssthresh = <u32>(<u64>flight * 7 / 10);
  } else s.ssthresh = flight >> 1;
  if (s.ssthresh < s.mss << 1) s.ssthresh = s.mss << 1;
  s.ackedBytes = 0;
}
/** The retransmission timer: back to one segment. */
export function congestionTimeout(s: Socket, flight: u32, first: bool): void {
  if (first) congestionLoss(s, flight); // RFC 5681, 3.1: the threshold holds while the same segment times out again
  s.cwnd = s.mss;
  s.ackedBytes = 0; s.epochAt = 0;
}
/** Nothing was sent for a whole timeout: start slowly again (RFC 5681, 4.1). */
export function congestionIdle(s: Socket): void {
  const w = initialWindow(s.mss);
  if (s.cwnd > w) s.cwnd = w;
  s.epochAt = 0;
}

/** RFC 9438, 4.2-4.4. Time in ms, C = 0.4 segments/s^3. */
function cubicAck(s: Socket, acked: u32): void {
  if (s.epochAt == 0) {
    s.epochAt = now;
    if (s.cwnd < s.wMax) { s.cubicK = cubeRoot(<u64>(s.wMax - s.cwnd) * 2_500_000_000 / s.mss); s.originPoint = s.wMax; }
    else { s.cubicK = 0; s.originPoint = s.cwnd; }
    s.wEst = s.cwnd; s.wEstAcked = 0;
  }
  const t = <i64>((now - s.epochAt + s.srtt) / 1000);
  let d = t - <i64>s.cubicK;
  if (d > 100_000) d = 100_000;
  if (d < -100_000) d = -100_000;
  let target = <i64>s.originPoint + d * d * d / 1_000_000 * 4 * <i64>s.mss / 10_000;
  if (target < <i64>s.cwnd) target = <i64>s.cwnd;
  if (target > <i64>s.cwnd * 3 / 2) target = <i64>s.cwnd * 3 / 2;
  // The window that Reno with beta = 0.7 would have: 9/17 of a segment for each window acknowledged, a whole one beyond what it was before the loss.
  s.wEstAcked += acked;
  if (s.wEstAcked >= s.cwnd) { s.wEstAcked -= s.cwnd; s.wEst += s.wEst < s.cwndPrior ? s.mss * 9 / 17 : s.mss; }
  if (target < <i64>s.wEst) { if (s.cwnd < s.wEst) s.cwnd = s.wEst; return; }
  s.ackedBytes += <u32>((target - <i64>s.cwnd) * <i64>acked / <i64>s.cwnd);
  if (s.ackedBytes >= s.mss >> 2) { s.cwnd += s.ackedBytes; s.ackedBytes = 0; }
}
function cubeRoot(x: u64): u32 {
  let r: u64 = 0;
  for (let bit: i32 = 20; bit >= 0; bit--) {
    const n = r | 1 << bit;
    if (n * n * n <= x) r = n;
  }
  return <u32>r;
}
