/**
 * A segment arrives (RFC 9293, 3.10.7), with RFC 5961's view of RST, SYN and ACK. Data in order go straight into the pages of the stream, data out of order too, at their place;
 * what is in order is acknowledged after the commit.
 */
import {
  NET_TCP_STATE_CLOSED, NET_TCP_STATE_CLOSE_WAIT, NET_TCP_STATE_CLOSING, NET_TCP_STATE_ESTABLISHED, NET_TCP_STATE_FIN_WAIT1, NET_TCP_STATE_FIN_WAIT2, NET_TCP_STATE_LAST_ACK, NET_TCP_STATE_LISTEN,
  NET_TCP_STATE_SYN_RECEIVED, NET_TCP_STATE_SYN_SENT, NET_TCP_STATE_TIME_WAIT, NET_TYPE_STREAM,
} from 'kintsugi/protocols';
import {
  C_TCP_ACK_FUTURE, C_TCP_AFTER_CLOSE, C_TCP_CHALLENGES, C_TCP_CHALLENGES_HELD, C_TCP_DUPLICATE, C_TCP_NO_ACK, C_TCP_NO_PAGE, C_TCP_NO_PORT, C_TCP_OUT_OF_ORDER, C_TCP_OUT_OF_WINDOW, C_TCP_PAWS,
  C_TCP_RST_IN, C_TCP_RST_WINDOW, C_TCP_RST_WRONG, C_TCP_SEGMENTS_IN, C_TCP_SYN_IN_WINDOW, C_TCP_TIME_WAIT_REUSED, C_TCP_TRIMMED, C_TCP_URGENT, count,
} from '../counters';
import { ECONNREFUSED, ECONNRESET, EPIPE } from '../../lib/errno';
import { now, nowMs, writable } from '../host';
import { DESTINATION, SOURCE } from '../ipv4';
import { NO_PAGE, PAGE, mayReceive, pageAt, pageTake } from '../pool';
import {
  ACK_LATER, ACK_NOW, FIN_RECEIVED, NO_RECEIVE, PASSIVE, RESOLVER, RETRANSMITTED, SACK_OK, SCALING, STAMPS, Socket, TIMING, URGENT_IN,
  dataEnd, findConnection, findOnPort, le, localOf, lt, peerOf, rcvPage, socketFree, touch, wake, wantOutput,
} from '../socket';
import { NEVER, armAtMost } from '../timer';
import { acknowledged } from './acknowledge';
import { established, keepaliveStart, toClosed, toTimeWait, TIME_WAIT_US } from './connection';
import { listenInput, takeCookieConnection, takeSyn } from './listen';
import { refuse, sendBare } from './output';
import { rangeEnter, rangeJoin } from './sack';
import { ACK, FIN, RST, SYN, URG, parse, seg } from './segment';
import { DELAYED_ACK_US, roundTrip } from './timers';

const CHALLENGES_A_SECOND: u32 = 5; // per connection (RFC 5961, 7)

export function tcpInput(at: usize, bytes: u32, verified: bool): void {
  if (!parse(at, bytes, verified)) return;
  count(C_TCP_SEGMENTS_IN);
  const s = findConnection(DESTINATION, SOURCE, seg.destinationPort, seg.sourcePort);
  if (changetype<usize>(s) != 0) {
    if (s.state != NET_TCP_STATE_TIME_WAIT || !reopened(s)) { segment(s); return; }
  }
  const l = findOnPort(NET_TYPE_STREAM, seg.destinationPort, DESTINATION, SOURCE, seg.sourcePort);
  if (changetype<usize>(l) != 0) {
    listenInput(l);
    const made = takeCookieConnection();
    if (changetype<usize>(made) != 0 && made.state == NET_TCP_STATE_ESTABLISHED && seg.bytes + (seg.flags & FIN) != 0) segment(made);
    return;
  }
  count(C_TCP_NO_PORT);
  refuse(DESTINATION, SOURCE);
}
/** A new connection takes the place of one in TIME-WAIT (RFC 9293 3.10.7.4, RFC 6191): the numbers are beyond the old ones. */
function reopened(s: Socket): bool {
  if ((seg.flags & (SYN | ACK | RST)) != SYN) return false;
  const newer = (s.flags & STAMPS) != 0 && seg.stamped ? lt(s.tsRecent, seg.tsVal) || (seg.tsVal == s.tsRecent && lt(s.rcvNxt, seg.seq)) : lt(s.rcvNxt, seg.seq);
  if (!newer || changetype<usize>(findOnPort(NET_TYPE_STREAM, seg.destinationPort, DESTINATION, SOURCE, seg.sourcePort)) == 0) return false;
  count(C_TCP_TIME_WAIT_REUSED);
  if (s.id == 0) socketFree(s); else toClosed(s, 0);
  return true;
}

function ackNow(s: Socket): void { s.flags |= ACK_NOW; wantOutput(s); }
/** RFC 5961: an acknowledgement that an honest peer answers with something that fits. */
export function challenge(s: Socket): void {
  if (now - s.challengeAt >= 1_000_000) { s.challengeAt = now; s.challenges = 0; }
  if (s.challenges >= CHALLENGES_A_SECOND) { count(C_TCP_CHALLENGES_HELD); return; }
  s.challenges++;
  count(C_TCP_CHALLENGES);
  ackNow(s);
}

/** The answer to a segment that does not fit: at once if it brings something, else within limits, so that two ends never answer each other's answers for ever. */
function unacceptable(s: Socket): void { if (seg.length != 0) ackNow(s); else challenge(s); }

/** Reported with the next acknowledgement (RFC 2883); of several in a batch the last. */
function cameTwice(s: Socket, start: u32, end: u32): void { if ((s.flags & SACK_OK) != 0) { s.dsackStart = start; s.dsackEnd = end; } }

function segment(s: Socket): void {
  if (s.state == NET_TCP_STATE_SYN_SENT) { synSent(s); return; }
  // A revived connection does not know what its predecessor sent last: anything up to the end of what it may have sent is fine (sndMax).
  const flags = seg.flags;
  // PAWS (RFC 7323, 5): a timestamp older than what was heard, within 24 days.
  if ((s.flags & STAMPS) != 0) {
    if (!seg.stamped) { if ((flags & RST) == 0) { count(C_TCP_PAWS); return; } }
    else if (lt(seg.tsVal, s.tsRecent) && (flags & RST) == 0 && nowMs - s.tsRecentAge < 2_073_600_000) {
      count(C_TCP_PAWS);
      unacceptable(s);
      return;
    }
  }
  const window = lt(s.rcvNxt, s.rcvAdv) ? s.rcvAdv - s.rcvNxt : 0;
  if ((flags & RST) != 0) { reset(s, window); return; }
  if ((flags & SYN) != 0) {
    if (s.state == NET_TCP_STATE_SYN_RECEIVED && seg.seq == s.irs) {
      if ((flags & ACK) == 0) { s.sndNxt = s.iss; wantOutput(s); return; } // our SYN-ACK was lost
      // Simultaneous open: the peer's SYN again, with the acknowledgement of ours.
      seg.seq++; seg.length--; seg.flags = flags & ~SYN;
    } else {
      count(C_TCP_SYN_IN_WINDOW);
      challenge(s);
      return;
    }
  }
  // Left edge: what was there already goes.
  let drop = s.rcvNxt - seg.seq;
  if (lt(seg.seq, s.rcvNxt)) {
    if (drop >= seg.length) { // nothing new: the peer does not know, or asks whether we live
      count(C_TCP_DUPLICATE);
      if (drop > seg.length + 0x3fffffff) return;
      if (seg.bytes != 0) cameTwice(s, seg.seq, seg.seq + seg.bytes);
      unacceptable(s);
      seg.at += seg.bytes; seg.bytes = 0; seg.length = 0; seg.flags &= ~FIN;
      if (s.state == NET_TCP_STATE_TIME_WAIT) { s.lifeAt = now + TIME_WAIT_US; armAtMost(s.timer, s.lifeAt); }
    } else {
      count(C_TCP_TRIMMED);
      cameTwice(s, seg.seq, s.rcvNxt);
      ackNow(s);
      seg.at += drop; seg.bytes -= drop; seg.length -= drop;
      seg.seq = s.rcvNxt;
    }
  }
  // Right edge.
  const edge = s.rcvNxt + window;
  if (seg.length != 0 && lt(edge, seg.seq + seg.length)) {
    const over = seg.seq + seg.length - edge;
    if (over >= seg.length) {
      ackNow(s);
      count(C_TCP_OUT_OF_WINDOW);
      if (seg.seq != s.rcvNxt) return;
      // Window closed, the next byte knocks: what it acknowledges counts (RFC 9293, 3.10.7.4).
      seg.bytes = 0; seg.length = 0; seg.flags &= ~FIN;
    } else {
      count(C_TCP_TRIMMED);
      ackNow(s);
      if ((seg.flags & FIN) != 0) { seg.flags &= ~FIN; seg.length--; seg.bytes -= over - 1; seg.length -= over - 1; }
      else { seg.bytes -= over; seg.length -= over; }
    }
  } else if (seg.length == 0 && lt(edge, seg.seq)) { count(C_TCP_OUT_OF_WINDOW); unacceptable(s); return; }
  if (seg.stamped && (s.flags & STAMPS) != 0 && le(seg.seq, s.lastAckSent) && le(s.tsRecent, seg.tsVal)) { s.tsRecent = seg.tsVal; s.tsRecentAge = nowMs; }
  if ((seg.flags & ACK) == 0) { count(C_TCP_NO_ACK); return; }
  if (s.state == NET_TCP_STATE_SYN_RECEIVED) {
    if (!lt(s.sndUna, seg.ack) || lt(s.sndMax, seg.ack)) { count(C_TCP_ACK_FUTURE); sendBare(localOf(s), peerOf(s), s.localPort, s.peerPort, seg.ack, 0, RST); return; }
    s.sndWnd = seg.window << s.sndScale; s.maxWnd = s.sndWnd; s.sndWl1 = seg.seq; s.sndWl2 = seg.ack;
    if ((s.flags & TIMING) != 0 && (s.flags & RETRANSMITTED) == 0) roundTrip(s, <u32>(now - s.rttAt));
    s.flags &= ~(TIMING | RETRANSMITTED);
    s.sndUna = s.iss + 1; s.sndNxt = s.sndUna; s.rtoAt = NEVER; s.backoff = 0;
    s.sndMax = s.sndUna;
    established(s);
    if (s.state != NET_TCP_STATE_ESTABLISHED) return;
  }
  s.lastHeard = now;
  if (s.keepAt != NEVER && s.keepProbes != 0) keepaliveStart(s);
  if (!acknowledged(s)) return;
  if ((seg.flags & URG) != 0 && seg.urgent != 0) urgent(s);
  if (seg.bytes != 0) text(s);
  if ((seg.flags & FIN) != 0) fin(s);
}

function synSent(s: Socket): void {
  const flags = seg.flags, acks = (flags & ACK) != 0;
  if (acks && (le(seg.ack, s.iss) || lt(s.sndMax, seg.ack))) {
    count(C_TCP_ACK_FUTURE);
    if ((flags & RST) == 0) sendBare(localOf(s), peerOf(s), s.localPort, s.peerPort, seg.ack, 0, RST);
    return;
  }
  if ((flags & RST) != 0) {
    if (acks) { count(C_TCP_RST_IN); toClosed(s, ECONNREFUSED); } else count(C_TCP_RST_WRONG);
    return;
  }
  if ((flags & SYN) == 0) { count(C_TCP_NO_ACK); return; }
  const rcvScale = s.rcvScale;
  takeSyn(s);
  if ((s.flags & SCALING) != 0) s.rcvScale = rcvScale;
  s.lastHeard = now;
  if (!acks) { // simultaneous open
    s.state = NET_TCP_STATE_SYN_RECEIVED;
    s.sndNxt = s.iss;
    wantOutput(s);
    return;
  }
  if ((s.flags & TIMING) != 0 && (s.flags & RETRANSMITTED) == 0) roundTrip(s, <u32>(now - s.rttAt));
  s.flags &= ~(TIMING | RETRANSMITTED);
  s.sndUna = seg.ack; s.sndNxt = seg.ack; s.sndMax = seg.ack; s.rtoAt = NEVER; s.backoff = 0;
  s.sndWl2 = seg.ack;
  s.rcvAdv = s.rcvNxt + 65535; // what our SYN promised
  established(s);
  ackNow(s);
  seg.seq++; seg.length--; seg.flags &= ~SYN;
  if (seg.bytes != 0) text(s);
  if ((seg.flags & FIN) != 0) fin(s);
}
function reset(s: Socket, window: u32): void {
  if (seg.seq == s.rcvNxt) {
    count(C_TCP_RST_IN);
    const state = s.state;
    if (state == NET_TCP_STATE_SYN_RECEIVED) { toClosed(s, (s.flags & PASSIVE) != 0 ? 0 : ECONNREFUSED); return; }
    if (state == NET_TCP_STATE_TIME_WAIT) { count(C_TCP_RST_WINDOW); return; } // RFC 1337
    toClosed(s, state == NET_TCP_STATE_CLOSE_WAIT ? EPIPE : state == NET_TCP_STATE_CLOSING || state == NET_TCP_STATE_LAST_ACK ? 0 : ECONNRESET);
    return;
  }
  if (lt(s.rcvNxt, seg.seq) && seg.seq - s.rcvNxt < window) { count(C_TCP_RST_WINDOW); challenge(s); return; }
  count(C_TCP_RST_WRONG);
}

/** RFC 6093: the pointer marks a place in the stream, no more; data stay where they are. */
function urgent(s: Socket): void {
  if (s.state != NET_TCP_STATE_ESTABLISHED && s.state != NET_TCP_STATE_FIN_WAIT1 && s.state != NET_TCP_STATE_FIN_WAIT2) return;
  const up = seg.seq + seg.urgent;
  if ((s.flags & URGENT_IN) != 0 && !lt(s.rcvUp, up)) return;
  count(C_TCP_URGENT);
  s.rcvUp = up;
  s.flags |= URGENT_IN;
  touch(s);
  wake(s);
}
/** Writes `bytes` at `from` into the stream at sequence number `seq`. False: no page. */
function store_(s: Socket, seq: u32, from: usize, bytes: u32): bool {
  writable();
  let position = seq - (s.irs + 1);
  while (bytes != 0) {
    const entry = rcvPage(s, position);
    let page = <u32>load<u16>(entry);
    if (page == NO_PAGE) {
      page = mayReceive() || s.rcvRead == dataEnd(s) ? pageTake() : NO_PAGE;
      if (page == NO_PAGE) { count(C_TCP_NO_PAGE); return false; }
      store<u16>(entry, <u16>page);
    }
    const inPage = position & 4095, n = PAGE - inPage < bytes ? PAGE - inPage : bytes;
    memory.copy(pageAt(page) + inPage, from, n);
    from += n; position += n; bytes -= n;
  }
  return true;
}
function text(s: Socket): void {
  if (s.state != NET_TCP_STATE_ESTABLISHED && s.state != NET_TCP_STATE_FIN_WAIT1 && s.state != NET_TCP_STATE_FIN_WAIT2) { count(C_TCP_AFTER_CLOSE); return; } // behind the peer's own FIN
  if (s.id == 0 && s.parent == 0 && (s.flags & RESOLVER) == 0 || (s.flags & NO_RECEIVE) != 0) { // nobody will ever read it (RFC 9293, 3.10.7.4; RFC 1122, 4.2.2.13)
    count(C_TCP_AFTER_CLOSE);
    if (s.id == 0) { sendBare(localOf(s), peerOf(s), s.localPort, s.peerPort, s.sndNxt, s.rcvNxt, RST | ACK); toClosed(s, 0); return; }
    if (seg.seq == s.rcvNxt) { s.rcvNxt += seg.bytes; s.rcvRead = s.rcvNxt; s.rcvSeen = s.rcvNxt; touch(s); }
    ackNow(s);
    return;
  }
  const end = seg.seq + seg.bytes;
  if (!store_(s, seg.seq, seg.at, seg.bytes)) { seg.flags &= ~FIN; return; } // not acknowledged: it comes again
  if (seg.bytes > s.rcvMss) s.rcvMss = seg.bytes;
  if (seg.seq != s.rcvNxt) {
    count(C_TCP_OUT_OF_ORDER);
    if (!rangeEnter(s, seg.seq, end)) cameTwice(s, seg.seq, end);
    ackNow(s);
    return;
  }
  touch(s);
  const gap = s.ranges != 0;
  s.rcvNxt = gap ? rangeJoin(s, end) : end;
  s.unacked += seg.bytes;
  // RFC 5681, 4.2: every second full segment, and at once when a gap fills.
  if (gap || s.unacked >= s.rcvMss << 1) ackNow(s);
  else if ((s.flags & (ACK_NOW | ACK_LATER)) == 0) { s.flags |= ACK_LATER; s.ackAt = now + DELAYED_ACK_US; armAtMost(s.timer, s.ackAt); }
  if (changetype<usize>(s.ops) != 0) wake(s);
}
function fin(s: Socket): void {
  if (seg.seq + seg.bytes != s.rcvNxt) { ackNow(s); return; } // data are missing before it
  if ((s.flags & FIN_RECEIVED) != 0) { ackNow(s); return; }
  if (s.state == NET_TCP_STATE_CLOSED || s.state == NET_TCP_STATE_LISTEN || s.state == NET_TCP_STATE_SYN_SENT) return;
  s.rcvNxt++;
  s.flags |= FIN_RECEIVED;
  s.ranges = 0;
  touch(s);
  ackNow(s);
  wake(s);
  if (s.state == NET_TCP_STATE_ESTABLISHED) s.state = NET_TCP_STATE_CLOSE_WAIT;
  else if (s.state == NET_TCP_STATE_FIN_WAIT1) s.state = NET_TCP_STATE_CLOSING; // our FIN was not acknowledged by this segment
  else if (s.state == NET_TCP_STATE_FIN_WAIT2) toTimeWait(s);
}
