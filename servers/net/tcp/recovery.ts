/**
 * Fast recovery. With SACK: proportional rate reduction (RFC 6937, with the safeguard of RFC 9937): as much goes out as has arrived, in proportion to the new window, and what is lost
 * before what is new. Without SACK: NewReno (RFC 6582).
 */
import { C_TCP_FAST_RETRANSMIT, count } from '../counters';
import { AFTER_RTO, FORCE, RECOVERY, RETRANSMITTED, SACK_OK, Socket, TIMING, lt } from '../socket';
import { congestionLoss } from './congestion';
import { loseFrom } from './flight';
import { armRto } from './output';
import { FIRST, PROBING, SAFE, probeOver, rackRecovered } from './rack';

/** What was under way when segments went last (several acknowledgements may have come in this batch), no more than the window allowed. */
export function inUse(s: Socket, flight: u32): u32 {
  const n = flight < s.flightSent ? s.flightSent : flight;
  return n < s.cwnd ? n : s.cwnd;
}
/** `delivered`: bytes that the segment at hand says have arrived. */
export function enterRecovery(s: Socket, delivered: u32): void {
  const flight = s.sndMax - s.sndUna;
  count(C_TCP_FAST_RETRANSMIT);
  if ((s.flags & AFTER_RTO) != 0 && lt(s.sndUna, s.recover)) { if (s.cwnd < s.ssthresh) s.ssthresh = s.cwnd < s.mss << 1 ? s.mss << 1 : s.cwnd; } // the window was reduced for these losses
  else congestionLoss(s, inUse(s, flight));
  s.recover = s.sndMax;
  if ((s.flags & SACK_OK) != 0) {
    if (lt(s.sndNxt, s.sndMax)) { loseFrom(s, s.sndNxt); s.sndNxt = s.sndMax; } // going back: the rest of it is lost as well
    s.prrDelivered = delivered; s.prrFresh = delivered; s.prrOut = 0; s.prrFlight = flight;
    s.loss = s.loss & ~PROBING | FIRST | SAFE;
    probeOver(s);
    s.flags = s.flags & ~(TIMING | AFTER_RTO) | RECOVERY | RETRANSMITTED;
  } else {
    s.cwnd = s.ssthresh + 3 * s.mss;
    s.flags = s.flags & ~TIMING | RECOVERY | RETRANSMITTED | FORCE;
  }
  armRto(s);
}
/** All that was under way at the loss is acknowledged. */
export function leaveRecovery(s: Socket): void {
  s.flags &= ~(RECOVERY | RETRANSMITTED | FORCE);
  const out = s.sndMax - s.sndUna;
  if ((s.flags & SACK_OK) == 0) { const w = out + s.mss > s.mss << 1 ? out + s.mss : s.mss << 1; s.cwnd = s.ssthresh < w ? s.ssthresh : w; }
  else { s.cwnd = s.ssthresh; rackRecovered(s); }
  s.dupAcks = 0;
  s.recover = s.sndUna;
}
/** Bytes that may go now, with `pipe` in the network (RFC 6937, 3). Once for each batch of acknowledgements. */
export function recoveryRoom(s: Socket, pipe: u32): u32 {
  let room: i32;
  if (pipe > s.ssthresh) room = <i32>((<u64>s.prrDelivered * s.ssthresh + s.prrFlight - 1) / s.prrFlight) - <i32>s.prrOut;
  else {
    let limit = <i32>(s.prrDelivered - s.prrOut);
    if ((s.loss & SAFE) != 0) { if (limit < <i32>s.prrFresh) limit = s.prrFresh; limit += s.mss; }
    room = s.ssthresh - pipe;
    if (limit < room) room = limit;
  }
  s.prrFresh = 0;
  if ((s.loss & FIRST) != 0) { s.loss &= ~FIRST; if (room < <i32>s.mss) room = s.mss; }
  return room < 0 ? 0 : room;
}
