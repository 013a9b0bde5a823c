/**
 * What TCP sends: data within both windows (RFC 9293 3.8.6, RFC 5681), Nagle, fast retransmission (RFC 6582, RFC 6675), acknowledgements, FIN. Runs after the commit of
 * the batch, so nothing it sends tells of something that could be lost. It changes private fields only.
 */
import { NET_TCP_STATE_CLOSED, NET_TCP_STATE_CLOSE_WAIT, NET_TCP_STATE_CLOSING, NET_TCP_STATE_ESTABLISHED, NET_TCP_STATE_FIN_WAIT1, NET_TCP_STATE_LAST_ACK, NET_TCP_STATE_LISTEN, NET_TCP_STATE_SYN_RECEIVED, NET_TCP_STATE_SYN_SENT } from 'kintsugi/protocols';
import { put16, put32, v4 } from '../address';
import { ETH, LO, mtuOf, routeTo } from '../config';
import { C_TCP_ACKS_OUT, C_TCP_RETRANSMITTED, C_TCP_RST_OUT, C_TCP_SEGMENTS_OUT, count } from '../counters';
import { now, nowMs } from '../host';
import { IP_BYTES, PROTOCOL_TCP, fillLater, ipv4SendThrough, offloads, payloadOf, pseudoSum, roomTo, transportSum } from '../ipv4';
import { Packet, RESERVED, packetsFree, take } from '../packet';
import { PAGE, pageAt, promise } from '../pool';
import {
  ACK_LATER, ACK_NOW, AFTER_RTO, FIN_QUEUED, FIN_RECEIVED, FORCE, KEEP_PROBE, NODELAY, PROBE, RECOVERY, REVIVED, SACK_OK, SCALING, STAMPS, STREAM_PAGES, Socket, TIMING, URGENT_OUT, le, localOf, lt, peerOf, sndPage,
} from '../socket';
import { NEVER, armAtMost } from '../timer';
import { flightSent, holeEnd, nextLost, pipeOf, reportedBelow, skipReported } from './flight';
import { PROBE_AGAIN, PROBE_WANTED, PROBING, probeAfter } from './rack';
import { recoveryRoom } from './recovery';
import { rangeEnd, rangeStart, recentRange } from './sack';
import { ACK, FIN, PSH, RST, SYN, TCP_BYTES, URG, seg } from './segment';
import { congestionIdle } from './congestion';

export const MIN_RTO: u32 = 200_000; // us; RFC 6298 says 1 s, everybody takes less
export const MAX_RTO: u32 = 60_000_000;
export const INITIAL_RTO: u32 = 1_000_000;
const MIN_MSS: u32 = 64; // of a peer that says less
const DEFAULT_MSS: u32 = 536;
const STAMP_BYTES: u32 = 12;

/** What we announce: payload without options in a datagram of the interface. */
export function ownMss(s: Socket): u32 { return mtuOf(routeTo(v4(peerOf(s))) == LO ? LO : ETH) - IP_BYTES - TCP_BYTES; }
/** From the peer's MSS and the path: payload of a full segment with the options that every segment has. */
export function settleMss(s: Socket): void {
  let m = s.peerMss == 0 ? DEFAULT_MSS : s.peerMss < MIN_MSS ? MIN_MSS : s.peerMss;
  const path = roomTo(v4(peerOf(s))) - TCP_BYTES;
  if (m > path) m = path;
  s.mss = (s.flags & STAMPS) != 0 ? m - STAMP_BYTES : m;
}
export function stampOf(s: Socket): u32 { return nowMs + s.tsOffset; }

/** Room for what may come, as far as the field can say it. */
function receiveRoom(s: Socket): u32 {
  const limit = promise(), room = s.rcvBuf < limit ? s.rcvBuf : limit, used = s.rcvNxt - s.rcvRead, most: u32 = 0xffff << s.rcvScale;
  const free = used < room ? room - used : 0;
  return free < most ? free : most;
}
/** Window to promise (RFC 9293, 3.8.6.2.2: the edge moves by worthwhile steps only), as the field's value; sets rcvAdv. */
function promiseWindow(s: Socket): u32 {
  let free = receiveRoom(s);
  const promised = lt(s.rcvNxt, s.rcvAdv) ? s.rcvAdv - s.rcvNxt : 0;
  const step = s.rcvBuf >> 1 < s.rcvMss ? s.rcvBuf >> 1 : s.rcvMss;
  if (free < promised || free < step) free = promised; // never back, and nothing rather than a little
  const scale = s.rcvScale;
  let field = free >> scale;
  if (field << scale < promised) field = (promised + (1 << scale) - 1) >> scale;
  if (field > 0xffff) field = 0xffff;
  const edge = s.rcvNxt + (field << scale);
  if (lt(s.rcvAdv, edge)) s.rcvAdv = edge;
  return field;
}
/** The program read: is a window update due? */
export function windowOpened(s: Socket): bool {
  if (s.state < NET_TCP_STATE_ESTABLISHED || (s.flags & FIN_RECEIVED) != 0) return false;
  const room = s.rcvBuf < 0xffff << s.rcvScale ? s.rcvBuf : 0xffff << s.rcvScale;
  const free = receiveRoom(s), promised = lt(s.rcvNxt, s.rcvAdv) ? s.rcvAdv - s.rcvNxt : 0;
  const step = s.rcvBuf >> 1 < s.rcvMss << 1 ? s.rcvBuf >> 1 : s.rcvMss << 1;
  return free >= promised + step && (promised < room >> 1 || free >= promised + (room >> 2));
}

/** Copies `bytes` of the send stream from sequence number `seq` on. */
function copyOut(s: Socket, to: usize, seq: u32, bytes: u32): void {
  let position = seq - (s.iss + 1);
  while (bytes != 0) {
    const inPage = position & 4095, n = PAGE - inPage < bytes ? PAGE - inPage : bytes;
    memory.copy(to, pageAt(<u32>load<u16>(sndPage(s, position))) + inPage, n);
    to += n; position += n; bytes -= n;
  }
}
/** Builds and queues one segment. False: no packet. */
function send(s: Socket, seq: u32, bytes: u32, flags: u32): bool {
  const p = take();
  if (changetype<usize>(p) == 0) return false;
  const at = payloadOf(p);
  let header = TCP_BYTES;
  let window: u32;
  if ((flags & SYN) != 0) {
    store<u32>(at, 0x0402, 20); put16(at + 22, ownMss(s));
    header = 24;
    const answering = s.state == NET_TCP_STATE_SYN_RECEIVED;
    if (!answering || (s.flags & SACK_OK) != 0) { store<u32>(at + header, 0x02040101); header += 4; }
    if (!answering || (s.flags & STAMPS) != 0) { store<u32>(at + header, 0x0a080101); put32(at + header + 4, stampOf(s)); put32(at + header + 8, (flags & ACK) != 0 ? s.tsRecent : 0); header += 12; }
    if (!answering || (s.flags & SCALING) != 0) { store<u32>(at + header, 0x00030301 | s.rcvScale << 24); header += 4; }
    window = s.rcvBuf < 65535 ? s.rcvBuf : 65535;
    const limit = promise();
    if (window > limit) window = limit;
    s.rcvAdv = s.rcvNxt + window;
  } else {
    if ((s.flags & STAMPS) != 0) { store<u32>(at, 0x0a080101, 20); put32(at + 24, stampOf(s)); put32(at + 28, s.tsRecent); header = 32; }
    if ((s.ranges != 0 || s.dsackEnd != s.dsackStart) && (s.flags & SACK_OK) != 0) header = sackBlocks(s, at, header);
    window = promiseWindow(s);
  }
  if ((s.flags & URGENT_OUT) != 0 && lt(seq, s.sndUp) && s.sndUp - seq <= 0xffff) { flags |= URG; put16(at + 18, s.sndUp - seq); } else store<u16>(at, 0, 18);
  put16(at, s.localPort); put16(at + 2, s.peerPort);
  put32(at + 4, seq); put32(at + 8, (flags & ACK) != 0 ? s.rcvNxt : 0);
  store<u8>(at, <u8>(header << 2), 12); store<u8>(at, <u8>flags, 13);
  put16(at + 14, window);
  store<u16>(at, 0, 16);
  if (bytes != 0) copyOut(s, at + header, seq, bytes);
  if ((flags & ACK) != 0) { s.flags &= ~(ACK_NOW | ACK_LATER); s.ackAt = NEVER; s.unacked = 0; s.lastAckSent = s.rcvNxt; }
  count(C_TCP_SEGMENTS_OUT);
  seal(p, at, header + bytes, v4(localOf(s)), v4(peerOf(s)), s.ttl);
  return true;
}
/** The checksum, and on its way. The field is 0. */
function seal(p: Packet, at: usize, bytes: u32, source: u32, destination: u32, ttl: u32): void {
  const through = routeTo(destination);
  if (offloads(through)) { store<u16>(at, <u16>pseudoSum(source, destination, PROTOCOL_TCP, bytes), 16); fillLater(p, 0, 16); }
  else if (through != LO) store<u16>(at, <u16>transportSum(source, destination, PROTOCOL_TCP, at, bytes), 16); // what never leaves this machine needs none
  ipv4SendThrough(through, p, PROTOCOL_TCP, source, destination, bytes, ttl, true);
}
/** SACK blocks behind the other options: first what came twice, if anything (RFC 2883), then the ranges, the latest first. */
function sackBlocks(s: Socket, at: usize, header: u32): u32 {
  const twice: u32 = s.dsackEnd != s.dsackStart ? 1 : 0, most: u32 = (36 - (header - TCP_BYTES)) >> 3;
  let n: u32 = s.ranges + twice;
  if (n > most) n = most;
  store<u32>(at + header, 0x00050101 | (2 + (n << 3)) << 24);
  header += 4;
  if (twice != 0) { put32(at + header, s.dsackStart); put32(at + header + 4, s.dsackEnd); header += 8; s.dsackEnd = s.dsackStart; }
  for (let k: u32 = 0; k < n - twice; k++) {
    const r = recentRange(s, k);
    put32(at + header, rangeStart(s, r)); put32(at + header + 4, rangeEnd(s, r));
    header += 8;
  }
  return header;
}
function sackOptionBytes(s: Socket): u32 {
  const blocks = s.dsackEnd != s.dsackStart ? s.ranges + 1 : s.ranges;
  if (blocks == 0 || (s.flags & SACK_OK) == 0) return 0;
  const most: u32 = (s.flags & STAMPS) != 0 ? 3 : 4;
  return 4 + ((blocks < most ? blocks : most) << 3);
}

/** A reset, or any other segment without data and connection; `ack` counts only with the flag. */
export function sendBare(local: usize, peer: usize, localPort: u32, peerPort: u32, seq: u32, ack: u32, flags: u32): void {
  const p = take();
  if (changetype<usize>(p) == 0) return;
  const at = payloadOf(p);
  put16(at, localPort); put16(at + 2, peerPort); put32(at + 4, seq); put32(at + 8, (flags & ACK) != 0 ? ack : 0);
  store<u8>(at, <u8>(TCP_BYTES << 2), 12); store<u8>(at, <u8>flags, 13); store<u16>(at, 0, 14); store<u32>(at, 0, 16);
  if ((flags & RST) != 0) count(C_TCP_RST_OUT);
  count(C_TCP_SEGMENTS_OUT);
  seal(p, at, TCP_BYTES, v4(local), v4(peer), 64);
}
/** The answer to a segment that belongs to nothing (RFC 9293, 3.10.7.1). */
export function refuse(local: usize, peer: usize): void {
  if ((seg.flags & RST) != 0) return;
  if ((seg.flags & ACK) != 0) sendBare(local, peer, seg.destinationPort, seg.sourcePort, seg.ack, 0, RST);
  else sendBare(local, peer, seg.destinationPort, seg.sourcePort, 0, seg.seq + seg.length, RST | ACK);
}
export function sendReset(s: Socket): void {
  if (s.state < NET_TCP_STATE_SYN_SENT) return;
  if (s.state == NET_TCP_STATE_SYN_SENT) return; // the peer knows nothing that could be reset
  const edge = s.sndUna + s.sndWnd;
  sendBare(localOf(s), peerOf(s), s.localPort, s.peerPort, (s.flags & REVIVED) != 0 ? s.sndUna : lt(edge, s.sndNxt) ? edge : s.sndNxt, s.rcvNxt, RST | ACK);
}
/** A SYN-ACK that nothing here remembers: `cookie` is its sequence number. */
export function sendCookie(local: usize, peer: usize, cookie: u32, stamp: u32, scale: u32): void {
  const p = take();
  if (changetype<usize>(p) == 0) return;
  const at = payloadOf(p);
  put16(at, seg.destinationPort); put16(at + 2, seg.sourcePort); put32(at + 4, cookie); put32(at + 8, seg.seq + 1);
  store<u8>(at, <u8>(SYN | ACK), 13); put16(at + 14, 65535); store<u32>(at, 0, 16);
  store<u32>(at, 0x0402, 20); put16(at + 22, mtuOf(routeTo(v4(peer)) == LO ? LO : ETH) - IP_BYTES - TCP_BYTES);
  let header: u32 = 24;
  if (seg.stamped) {
    if (seg.sackPermitted) { store<u32>(at + header, 0x02040101); header += 4; }
    store<u32>(at + header, 0x0a080101); put32(at + header + 4, stamp); put32(at + header + 8, seg.tsVal); header += 12;
    if (seg.scale >= 0) { store<u32>(at + header, 0x00030301 | scale << 24); header += 4; }
  }
  store<u8>(at, <u8>(header << 2), 12);
  count(C_TCP_SEGMENTS_OUT);
  seal(p, at, header, v4(local), v4(peer), 64);
}

// ---- timers that sending starts ---------------------------------------------------------------------------------------------------------
/** The retransmission timer, or before it that of the tail loss probe. */
export function armRto(s: Socket): void {
  let t = <u64>s.rto << s.backoff;
  if (t > MAX_RTO) t = MAX_RTO;
  const probe = probeAfter(s);
  if (probe < t) { t = probe; s.loss |= PROBING; } else s.loss &= ~PROBING;
  s.rtoAt = now + t;
  s.persistAt = NEVER;
  armAtMost(s.timer, s.rtoAt);
}
function armPersist(s: Socket): void {
  if (s.persistAt != NEVER) return;
  let t = <u64>s.rto << s.backoff;
  if (t > MAX_RTO) t = MAX_RTO;
  s.persistAt = now + t;
  armAtMost(s.timer, s.persistAt);
}
/** `bytes` (and FIN) from `seq` on are sent. False: no packet. */
function sendData(s: Socket, seq: u32, bytes: u32, fin: bool): bool {
  const end = seq + bytes;
  let flags = ACK;
  if (end == s.sndEnd && bytes != 0) flags |= PSH;
  if (fin) flags |= FIN;
  if (!send(s, seq, bytes, flags)) return false;
  const after = end + (fin ? 1 : 0);
  if (lt(seq, s.sndMax)) { s.retransmits++; count(C_TCP_RETRANSMITTED); }
  else if ((s.flags & TIMING) == 0 && bytes != 0) { s.flags |= TIMING; s.rttSeq = after; s.rttAt = now; }
  const selective = (s.flags & SACK_OK) != 0;
  if (selective) flightSent(s, seq, after);
  if (lt(s.sndMax, after)) s.sndMax = after;
  s.flightSent = s.sndMax - s.sndUna;
  if (s.rtoAt == NEVER || (selective && seq - s.sndUna - 1 < s.mss)) armRto(s); // anew with the second segment: no acknowledgement is delayed then
  return true;
}
/** The segment at sndUna again, whatever the windows. */
function sendHead(s: Socket): bool {
  const full = s.mss - sackOptionBytes(s);
  let end = s.sndEnd;
  if (s.reported != 0) { skipReported(s, s.sndUna); if (lt(holeEnd, end)) end = holeEnd; }
  let n = lt(s.sndUna, end) ? end - s.sndUna : 0;
  if (n > full) n = full;
  if (n > s.sndWnd) n = s.sndWnd == 0 ? 1 : s.sndWnd; // into a closed window: a probe
  const fin = (s.flags & FIN_QUEUED) != 0 && s.sndUna + n == s.sndEnd;
  if (n == 0 && !fin) return true;
  if (!sendData(s, s.sndUna, n, fin)) return false;
  const after = s.sndUna + n + (fin ? 1 : 0);
  if (s.sndWnd == 0) return true; // a probe: when the window opens, everything goes
  if (lt(s.sndNxt, after)) s.sndNxt = after;
  return true;
}

/** Everything this connection may send now. False: packets ran out; it must be asked again when some are free. */
export function tcpOutput(s: Socket): bool {
  const state = s.state;
  if (state == NET_TCP_STATE_CLOSED || state == NET_TCP_STATE_LISTEN) return true;
  if (state == NET_TCP_STATE_SYN_SENT || state == NET_TCP_STATE_SYN_RECEIVED) {
    if (s.sndNxt == s.iss) {
      if (!send(s, s.iss, 0, state == NET_TCP_STATE_SYN_SENT ? SYN : SYN | ACK)) return false;
      if (s.sndMax == s.iss) { s.flags |= TIMING; s.rttSeq = s.iss + 1; s.rttAt = now; } else { s.retransmits++; count(C_TCP_RETRANSMITTED); }
      s.sndNxt = s.iss + 1;
      s.sndMax = s.sndNxt;
      if (s.rtoAt == NEVER) armRto(s);
    } else if ((s.flags & ACK_NOW) != 0 && state == NET_TCP_STATE_SYN_RECEIVED) return send(s, s.sndNxt, 0, ACK);
    return true;
  }
  const sends = state == NET_TCP_STATE_ESTABLISHED || state == NET_TCP_STATE_CLOSE_WAIT || state == NET_TCP_STATE_FIN_WAIT1 || state == NET_TCP_STATE_CLOSING || state == NET_TCP_STATE_LAST_ACK;
  if (sends && !sendStream(s)) return false;
  if ((s.flags & KEEP_PROBE) != 0) { // RFC 9293, 3.8.4: one before the first, so that it must be answered
    s.flags &= ~KEEP_PROBE;
    return send(s, s.sndUna - 1, 0, ACK);
  }
  if ((s.flags & ACK_NOW) != 0) {
    const edge = s.sndUna + s.sndWnd;
    const seq = (s.flags & REVIVED) != 0 ? s.sndUna : lt(edge, s.sndMax) ? edge : s.sndMax; // what the peer finds acceptable
    count(C_TCP_ACKS_OUT);
    return send(s, seq, 0, ACK);
  }
  return true;
}
function sendStream(s: Socket): bool {
  if ((s.flags & FORCE) != 0) {
    if (packetsFree <= RESERVED) return false;
    if (!sendHead(s)) return false;
    s.flags &= ~FORCE;
  }
  if ((s.flags & REVIVED) != 0) return true; // until the peer says where it is
  if ((s.loss & PROBE_WANTED) != 0) {
    if (packetsFree <= RESERVED) return false;
    if (!sendProbe(s)) return false;
    s.loss &= ~PROBE_WANTED;
  }
  if ((s.flags & RECOVERY) != 0 && (s.flags & SACK_OK) != 0) return sendRecovery(s);
  // Idle for a timeout: what the network can take is no longer known.
  if (s.sndMax == s.sndUna && s.sndNxt != s.sndEnd && s.rttAt != 0 && now - s.rttAt > <u64>s.rto && now - s.lastHeard > <u64>s.rto) congestionIdle(s);
  const full = s.mss - sackOptionBytes(s);
  while (true) {
    if (lt(s.sndEnd, s.sndNxt)) return true; // FIN is out, too
    if (s.reported != 0 && lt(s.sndNxt, s.sndMax)) {
      const next = skipReported(s, s.sndNxt);
      if (next != s.sndNxt) { s.sndNxt = next; continue; }
    }
    const stop = s.reported != 0 && lt(s.sndNxt, s.sndMax) && lt(holeEnd, s.sndEnd) ? holeEnd : s.sndEnd;
    // What is known to have left the network makes room: what was reported, or as many segments as duplicates came (RFC 3042).
    const gone = s.reported != 0 ? reportedBelow(s, s.sndNxt) : s.dupAcks < 3 ? s.dupAcks * s.mss : 0;
    const byPeer = s.sndUna + s.sndWnd, byNetwork = s.sndUna + s.cwnd + gone;
    const edge = lt(byPeer, byNetwork) ? byPeer : byNetwork;
    const available = stop - s.sndNxt;
    let n = lt(s.sndNxt, edge) ? edge - s.sndNxt : 0;
    if (n > available) n = available;
    const some = n;
    if (n > full) n = full;
    const last = s.sndNxt + n == s.sndEnd;
    const fin = last && (s.flags & FIN_QUEUED) != 0 && (lt(s.sndNxt + n, byPeer) || (s.sndWnd == 0 && (s.flags & PROBE) != 0));
    let go = fin || n == full;
    if (!go && n != 0) {
      if (lt(s.sndNxt, s.sndMax)) go = true;
      else if (last && ((s.flags & (NODELAY | FIN_QUEUED)) != 0 || s.sndMax == s.sndUna)) go = true; // Nagle (RFC 9293, 3.7.4)
      else if (n >= s.maxWnd >> 1 && n < available) go = true;
      else if ((s.flags & URGENT_OUT) != 0 && lt(s.sndNxt, s.sndUp)) go = true;
    }
    if (n == 0 && !fin) go = false;
    if (!go) {
      if ((s.flags & PROBE) != 0) {
        s.flags &= ~PROBE;
        if (available != 0) { // one byte, or what little window there is
          const probe = some != 0 ? n : 1;
          if (packetsFree <= RESERVED) { s.flags |= PROBE; return false; }
          const rto = s.rtoAt;
          if (!sendData(s, s.sndNxt, probe, false)) return false;
          s.rtoAt = rto; s.flags &= ~TIMING;
          s.sndNxt = s.sndUna == s.sndNxt ? s.sndNxt : s.sndNxt + probe;
        }
      }
      // Something waits, nothing is under way that would bring an acknowledgement: the persist timer asks (RFC 9293, 3.8.6.1).
      if ((available != 0 || ((s.flags & FIN_QUEUED) != 0 && s.sndNxt == s.sndEnd)) && s.rtoAt == NEVER && some == 0) armPersist(s);
      else if (available != 0 && s.rtoAt == NEVER) armPersist(s);
      return true;
    }
    if (packetsFree <= RESERVED) return false;
    if (!sendData(s, s.sndNxt, n, fin)) return false;
    s.flags &= ~PROBE;
    s.sndNxt += n + (fin ? 1 : 0);
    if (fin) return true;
  }
}
/** The tail loss probe (RFC 8985, 7.3): something new if the peer has room for it, else the last segment again. */
function sendProbe(s: Socket): bool {
  const byPeer = s.sndUna + s.sndWnd, full = s.mss - sackOptionBytes(s);
  let at = s.sndNxt, n: u32 = 0;
  if (at == s.sndMax && lt(at, s.sndEnd) && lt(at, byPeer)) {
    n = s.sndEnd - at;
    if (n > byPeer - at) n = byPeer - at;
    if (n > full) n = full;
  } else {
    const end = lt(s.sndMax, s.sndEnd) ? s.sndMax : s.sndEnd;
    n = lt(s.sndUna, end) ? end - s.sndUna : 0;
    if (n > full) n = full;
    at = end - n;
    s.loss |= PROBE_AGAIN;
  }
  const fin = (s.flags & FIN_QUEUED) != 0 && at + n == s.sndEnd && (s.loss & PROBE_AGAIN) != 0 && s.sndMax == s.sndEnd + 1;
  if (n == 0 && !fin) return true;
  if (!sendData(s, at, n, fin)) return false;
  s.flags &= ~TIMING;
  if (s.sndNxt == at) s.sndNxt += n;
  s.probeEnd = s.sndMax;
  return true;
}
/** Recovery with SACK: what is lost, then something new, as much as recovery.ts allows. */
function sendRecovery(s: Socket): bool {
  const full = s.mss - sackOptionBytes(s), pipe = pipeOf(s);
  let room = recoveryRoom(s, pipe);
  s.cwnd = pipe + room < s.mss ? s.mss : pipe + room;
  while (room >= s.mss) {
    if (packetsFree <= RESERVED) return false;
    const byPeer = s.sndUna + s.sndWnd;
    let at = nextLost(s), stop = holeEnd, fresh = false;
    if (at == s.sndMax || !lt(at, byPeer)) {
      if (at != s.sndMax || !le(s.sndNxt, s.sndEnd) || !lt(s.sndNxt, byPeer) || (s.sndNxt == s.sndEnd && (s.flags & FIN_QUEUED) == 0)) return true;
      at = s.sndNxt; stop = lt(byPeer, s.sndEnd) ? byPeer : s.sndEnd; fresh = true;
    }
    let n = stop - at;
    if (lt(s.sndEnd, at)) n = 0;
    else if (lt(s.sndEnd, stop)) n = s.sndEnd - at;
    if (n > full) n = full;
    const fin = (s.flags & FIN_QUEUED) != 0 && at + n == s.sndEnd && (fresh || lt(s.sndEnd, stop));
    if (n == 0 && !fin) return true;
    if (fresh && n < full && !fin && (s.flags & NODELAY) == 0) return true; // Nagle
    if (!sendData(s, at, n, fin)) return false;
    const after = at + n + (fin ? 1 : 0);
    s.prrOut += after - at;
    room -= room < after - at ? room : after - at;
    if (fresh) s.sndNxt = after;
  }
  return true;
}
