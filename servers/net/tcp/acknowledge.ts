/**
 * The ACK field, the window and the SACK blocks of a segment (RFC 9293, 3.10.7.4; RFC 5961, 5): what they mean for what is under way. Loss is found by RACK where SACK is agreed
 * (rack.ts), by three duplicates where it is not (RFC 5681, RFC 6582); what follows from it is in recovery.ts.
 */
import { NET_TCP_STATE_CLOSING, NET_TCP_STATE_FIN_WAIT1, NET_TCP_STATE_FIN_WAIT2, NET_TCP_STATE_LAST_ACK } from 'kintsugi/protocols';
import { v4 } from '../address';
import { arpConfirm } from '../arp';
import { ETH, nextHop } from '../config';
import { C_TCP_ACK_FUTURE, C_TCP_ACK_OLD, C_TCP_LOST_AGAIN, count } from '../counters';
import { now } from '../host';
import { arrivedOn } from '../ipv4';
import { AFTER_RTO, FIN_QUEUED, FORCE, RECOVERY, RETRANSMITTED, REVIVED, SACK_OK, STAMPS, Socket, TIMING, URGENT_OUT, le, lt, peerOf, touch, wake, wantOutput } from '../socket';
import { NEVER, armAtMost } from '../timer';
import { congestionAck } from './congestion';
import { ORPHAN_US, toClosed, toTimeWait } from './connection';
import { flightAcked } from './flight';
import { challenge } from './input';
import { armRto, stampOf } from './output';
import { PROBE_OUT, SAFE, noSample, probeAnswered, rackDetect, sampled } from './rack';
import { enterRecovery, leaveRecovery } from './recovery';
import { sackUpdate } from './sack';
import { seg } from './segment';
import { roundTrip } from './timers';

/** False: the segment is done with. */
export function acknowledged(s: Socket): bool {
  const ack = seg.ack;
  if (lt(s.sndMax, ack)) { count(C_TCP_ACK_FUTURE); challenge(s); return false; }
  if (lt(ack, s.sndUna) && (s.sndUna - ack > s.maxWnd)) { count(C_TCP_ACK_OLD); challenge(s); return false; } // RFC 5961, 5
  const una = s.sndUna, flight = s.sndMax - una;
  const fresh = lt(una, ack);
  // Window (RFC 9293, 3.10.7.4): from a segment that is not older than the last one that said it.
  const window = seg.window << s.sndScale;
  let windowChanged = false;
  if (le(una, ack) && (lt(s.sndWl1, seg.seq) || (s.sndWl1 == seg.seq && le(s.sndWl2, ack)))) {
    windowChanged = window != s.sndWnd;
    if (windowChanged) { s.sndWnd = window; touch(s); wantOutput(s); if (window != 0 && s.persistAt != NEVER) { s.persistAt = NEVER; s.backoff = 0; } }
    if (window > s.maxWnd) s.maxWnd = window;
    s.sndWl1 = seg.seq; s.sndWl2 = ack;
  }
  noSample();
  let news: u32 = 0;
  if (seg.sacks != 0 && (s.flags & SACK_OK) != 0) news = sackUpdate(s);
  if ((s.flags & REVIVED) != 0) { // the peer has said where it is: go on from there
    s.flags &= ~(REVIVED | FORCE);
    s.retries = 0; s.backoff = 0; s.rtoAt = NEVER;
    if (lt(s.sndNxt, ack)) s.sndNxt = ack;
    if (!fresh) s.sndNxt = una;
    if (s.sndMax != ack) armRto(s);
    wantOutput(s);
    if (!fresh) return true;
  }
  if (s.persistAt != NEVER || s.sndWnd == 0) s.retries = 0; // it lives, it has no room
  if (fresh) { newData(s, una, ack, flight, news); return true; }
  // A duplicate (RFC 5681, 2): same number, no data, no change, something under way. With SACK: new blocks.
  if (ack != una || flight == 0) return true;
  if ((s.flags & SACK_OK) != 0) {
    if (news != 0) { s.dupAcks++; wantOutput(s); }
    if (news != 0 || (s.loss & PROBE_OUT) != 0) losses(s, news, false);
    return true;
  }
  if (seg.length != 0 || windowChanged) return true;
  s.dupAcks++;
  wantOutput(s);
  if ((s.flags & RECOVERY) != 0) s.cwnd += s.mss;
  else if (s.dupAcks >= 3 && !(lt(una, s.recover) && (s.flags & AFTER_RTO) != 0)) enterRecovery(s, 0); // not for duplicates of what went again after a timeout (RFC 6582, 3.2)
  return true;
}
function newData(s: Socket, una: u32, ack: u32, flight: u32, news: u32): void {
  const acked = ack - una, selective = (s.flags & SACK_OK) != 0;
  let delivered = news;
  if (selective) delivered += flightAcked(s, ack);
  // Round trip: a segment of ours that was sent once (Karn), or else what the peer echoes.
  if ((s.flags & TIMING) != 0 && le(s.rttSeq, ack)) { s.flags &= ~TIMING; roundTrip(s, sampled ? s.rackRtt : <u32>(now - s.rttAt)); }
  else if ((s.flags & RETRANSMITTED) != 0 && (s.flags & STAMPS) != 0 && seg.stamped && seg.tsEcr != 0) {
    const sample = stampOf(s) - seg.tsEcr;
    if (sample < 60_000) roundTrip(s, sample * 1000);
  }
  s.sndUna = ack;
  if (lt(s.sndNxt, ack)) s.sndNxt = ack;
  s.retries = 0;
  s.persistAt = NEVER;
  touch(s);
  if ((s.flags & URGENT_OUT) != 0 && le(s.sndUp, ack)) s.flags &= ~URGENT_OUT;
  if ((s.flags & RECOVERY) != 0) {
    if (le(s.recover, ack)) leaveRecovery(s);
    else if (!selective) { // partial (RFC 6582, 3.2 step 3): the next hole at once
      s.flags |= FORCE;
      s.cwnd = s.cwnd > acked ? s.cwnd - acked : s.mss;
      if (acked >= s.mss) s.cwnd += s.mss;
      if (s.cwnd < s.mss) s.cwnd = s.mss;
    }
  } else {
    s.dupAcks = 0;
    if ((s.flags & AFTER_RTO) != 0 && le(s.recover, ack)) s.flags &= ~AFTER_RTO;
    if ((s.flags & TIMING) == 0 && (s.flags & AFTER_RTO) == 0) s.flags &= ~RETRANSMITTED;
    congestionAck(s, acked, s.flightSent);
  }
  if (selective && (s.reported != 0 || (s.loss & PROBE_OUT) != 0 || (s.flags & (RECOVERY | AFTER_RTO)) != 0 || s.reorderAt != NEVER)) losses(s, delivered, true);
  if (arrivedOn == ETH) arpConfirm(nextHop(v4(peerOf(s))));
  if (ack == s.sndMax) { s.rtoAt = NEVER; s.backoff = 0; } else armRto(s);
  wake(s);
  wantOutput(s);
  // Our FIN.
  if ((s.flags & FIN_QUEUED) == 0 || ack != s.sndEnd + 1) return;
  switch (s.state) {
    case NET_TCP_STATE_FIN_WAIT1:
      s.state = NET_TCP_STATE_FIN_WAIT2;
      if (s.id == 0) { s.lifeAt = now + ORPHAN_US; armAtMost(s.timer, s.lifeAt); }
      return;
    case NET_TCP_STATE_CLOSING: toTimeWait(s); return;
    case NET_TCP_STATE_LAST_ACK: toClosed(s, 0); return;
    default:
  }
}
/** With SACK: what the segment at hand says about losses. `delivered` bytes have arrived; `advanced`: sndUna moved. */
function losses(s: Socket, delivered: u32, advanced: bool): void {
  if ((s.loss & PROBE_OUT) != 0) probeAnswered(s, advanced);
  const recovering = (s.flags & RECOVERY) != 0;
  if (recovering) { s.prrDelivered += delivered; s.prrFresh += delivered; if (advanced) s.loss |= SAFE; }
  if (!rackDetect(s)) return;
  if (recovering) { count(C_TCP_LOST_AGAIN); s.loss &= ~SAFE; }
  else enterRecovery(s, delivered);
}
/** The reordering window is over (RFC 8985, 6.3). */
export function reorderTimer(s: Socket): void {
  s.reorderAt = NEVER;
  noSample();
  if (!rackDetect(s)) return;
  if ((s.flags & RECOVERY) == 0) enterRecovery(s, 0); else s.loss &= ~SAFE;
  wantOutput(s);
}
