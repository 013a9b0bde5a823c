/**
 * TCP's timers (RFC 6298, RFC 9293 3.8). One Timer for each socket stands for all of its deadlines. Retransmission: RTO doubles each time up to 60 s; a connection
 * is given up after RETRIES of the same segment (with 200 ms to begin with: 15 minutes), an attempt to connect after SYN_RETRIES (127 s).
 */
import { NET_TCP_STATE_CLOSED, NET_TCP_STATE_ESTABLISHED, NET_TCP_STATE_FIN_WAIT2, NET_TCP_STATE_LISTEN, NET_TCP_STATE_SYN_RECEIVED, NET_TCP_STATE_SYN_SENT, NET_TCP_STATE_TIME_WAIT } from 'kintsugi/protocols';
import { C_TCP_GIVEN_UP, C_TCP_KEEPALIVE_DEAD, C_TCP_KEEPALIVES, C_TCP_PROBES, C_TCP_TIMEOUTS, count } from '../counters';
import { ETIMEDOUT } from '../../lib/errno';
import { now } from '../host';
import { ACK_LATER, ACK_NOW, AFTER_RTO, FORCE, KEEP_PROBE, PROBE, RECOVERY, RETRANSMITTED, REVIVED, Socket, TIMING, socketAt, wantOutput } from '../socket';
import { NEVER, armAtMost } from '../timer';
import { congestionTimeout } from './congestion';
import { abort, toClosed } from './connection';
import { reorderTimer } from './acknowledge';
import { flightForget } from './flight';
import { MAX_RTO, MIN_RTO, armRto } from './output';
import { PROBING, probeOver, probeTail } from './rack';

const RETRIES: u32 = 15;
const SYN_RETRIES: u32 = 6;
const SYN_ACK_RETRIES: u32 = 5;
const KEEP_PROBES: u32 = 9;
const KEEP_INTERVAL_US: u64 = 75_000_000;
export const DELAYED_ACK_US: u64 = 40_000;

/** RFC 6298, 2: a sample of the round trip, in us. */
export function roundTrip(s: Socket, sample: u32): void {
  if (sample == 0) sample = 1;
  if (s.srtt == 0) { s.srtt = sample; s.rttvar = sample >> 1; }
  else {
    const error = s.srtt > sample ? s.srtt - sample : sample - s.srtt;
    s.rttvar = (3 * s.rttvar + error) >> 2;
    s.srtt = (7 * s.srtt + sample) >> 3;
  }
  settleRto(s);
}
export function settleRto(s: Socket): void {
  const margin = s.rttvar << 2;
  let rto = s.srtt + (margin < 1000 ? 1000 : margin); // G = 1 ms
  if (rto < MIN_RTO) rto = MIN_RTO;
  if (rto > MAX_RTO) rto = MAX_RTO;
  s.rto = rto;
  s.backoff = 0;
}

/** The timer of a socket fired: what is due happens, the rest is armed anew. */
export function socketTimer(slot: u32): void {
  const s = socketAt(slot);
  if (s.type == 0 || s.state == NET_TCP_STATE_CLOSED || s.state == NET_TCP_STATE_LISTEN || s.state == 0) return;
  if (s.ackAt <= now) { s.ackAt = NEVER; if ((s.flags & ACK_LATER) != 0) { s.flags |= ACK_NOW; wantOutput(s); } }
  if (s.lifeAt <= now) {
    s.lifeAt = NEVER;
    if (s.state == NET_TCP_STATE_TIME_WAIT || s.state == NET_TCP_STATE_FIN_WAIT2) { toClosed(s, 0); return; }
    if (s.id == 0 && s.parent == 0) { count(C_TCP_GIVEN_UP); abort(s); return; }
  }
  if (s.reorderAt <= now) reorderTimer(s);
  if (s.rtoAt <= now && !retransmission(s)) return;
  if (s.persistAt <= now && !persist(s)) return;
  if (s.keepAt <= now && !keepalive(s)) return;
  rearm(s);
}
export function rearm(s: Socket): void {
  let at = s.ackAt;
  if (s.rtoAt < at) at = s.rtoAt;
  if (s.persistAt < at) at = s.persistAt;
  if (s.keepAt < at) at = s.keepAt;
  if (s.lifeAt < at) at = s.lifeAt;
  if (s.reorderAt < at) at = s.reorderAt;
  if (at != NEVER) armAtMost(s.timer, at);
}
/** False: the connection is gone. */
function retransmission(s: Socket): bool {
  s.rtoAt = NEVER;
  if ((s.loss & PROBING) != 0) { probeTail(s); return true; }
  count(C_TCP_TIMEOUTS);
  s.retries++;
  const opening = s.state == NET_TCP_STATE_SYN_SENT || s.state == NET_TCP_STATE_SYN_RECEIVED;
  if (s.retries > (s.state == NET_TCP_STATE_SYN_SENT ? SYN_RETRIES : s.state == NET_TCP_STATE_SYN_RECEIVED ? SYN_ACK_RETRIES : RETRIES)) {
    count(C_TCP_GIVEN_UP);
    const error = s.softError != 0 ? s.softError : ETIMEDOUT;
    if (opening) toClosed(s, error); else { s.error = error; abort(s); }
    return false;
  }
  s.backoff++;
  s.flags = s.flags & ~TIMING | RETRANSMITTED;
  if (opening) { s.sndNxt = s.iss; armRto(s); wantOutput(s); return true; }
  const flight = s.sndMax - s.sndUna;
  congestionTimeout(s, flight, s.retries == 1);
  s.recover = s.sndMax; // RFC 6582, 4: duplicates of what was sent before do not count
  flightForget(s);
  probeOver(s);
  s.reorderAt = NEVER;
  s.dupAcks = 0;
  s.flags = s.flags & ~(RECOVERY | REVIVED) | AFTER_RTO | FORCE;
  s.sndNxt = s.sndUna;
  armRto(s);
  wantOutput(s);
  return true;
}
function persist(s: Socket): bool {
  s.persistAt = NEVER;
  s.retries++;
  if (s.retries > RETRIES) { count(C_TCP_GIVEN_UP); s.error = ETIMEDOUT; abort(s); return false; }
  count(C_TCP_PROBES);
  s.backoff++;
  s.flags |= PROBE;
  wantOutput(s);
  return true;
}
function keepalive(s: Socket): bool {
  s.keepAt = NEVER;
  if (s.keepalive == 0 || s.state < NET_TCP_STATE_ESTABLISHED || s.state == NET_TCP_STATE_TIME_WAIT) return true;
  const quiet = s.lastHeard + <u64>s.keepalive * 1_000_000;
  if (quiet > now && s.keepProbes == 0) { s.keepAt = quiet; return true; }
  if (s.keepProbes >= KEEP_PROBES) { count(C_TCP_KEEPALIVE_DEAD); s.error = ETIMEDOUT; abort(s); return false; }
  s.keepProbes++;
  count(C_TCP_KEEPALIVES);
  s.flags |= KEEP_PROBE;
  wantOutput(s);
  s.keepAt = now + KEEP_INTERVAL_US;
  return true;
}
