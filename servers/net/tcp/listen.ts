/**
 * SYNs for listeners (RFC 9293, 3.10.7.2). A half-open connection is a socket with a record, so it survives a restart. When a listener has HALF_OPEN of them, or places get scarce,
 * nothing is remembered: the SYN-ACK's sequence number is a cookie {5 bits of a clock of 64 s | 3 bits of an MSS | 24 bits of keyed hash}, and the low bits of its
 * timestamp {1 SACK | 4 scale} carry the options. Its acknowledgement makes the connection. The key survives, so cookies survive a restart too.
 */
import { NET_TCP_STATE_SYN_RECEIVED } from 'kintsugi/protocols';
import { copyAddress } from '../address';
import { C_COOKIES_BAD, C_COOKIES_GOOD, C_COOKIES_SENT, C_TCP_BACKLOG, C_TCP_HALF_OPEN_DISPLACED, C_TCP_LISTEN_ODD, C_TCP_SYNS, count } from '../counters';
import { sipHash } from '../hash';
import { now, nowMs } from '../host';
import { DESTINATION, SOURCE } from '../ipv4';
import {
  ACK_NOW, CUBIC, NODELAY, PASSIVE, SACK_OK, SCALING, STAMPS, STREAM, Socket, hash, lt, setEnds, socketAt, socketGone, socketNew, socketSlots, socketsUsed, touch, usedSlot, wantOutput,
} from '../socket';
import { begin, established, initialSequence, receiveBegins, stampOffset, toClosed } from './connection';
import { refuse, sendCookie, settleMss } from './output';
import { ACK, RST, SYN, seg } from './segment';
import { OUR_SCALE } from './connection';

export const HALF_OPEN: u32 = 64;
const COOKIE_US: u64 = 64_000_000;
const COOKIE_LIFE: u32 = 2; // periods
const OPTION_BITS: u32 = 31;
const MSS_TABLE: usize = memory.data<u16>([536, 800, 1200, 1360, 1400, 1440, 1452, 1460]);
/** When the last cookie went out: nobody can have an older one. After a restart: now. */
export let cookiesAt: u64 = 0;
export function cookiesPossible(): void { cookiesAt = now + 1; }

/** A segment for a listener and no connection. */
export function listenInput(l: Socket): void {
  if ((seg.flags & RST) != 0) { count(C_TCP_LISTEN_ODD); return; }
  if ((seg.flags & ACK) != 0) {
    if ((seg.flags & SYN) == 0 && cookieAcknowledged(l)) return;
    refuse(DESTINATION, SOURCE);
    return;
  }
  if ((seg.flags & SYN) == 0) { count(C_TCP_LISTEN_ODD); return; }
  count(C_TCP_SYNS);
  if (l.pending >= l.backlog) { count(C_TCP_BACKLOG); return; } // the peer tries again
  const scarce = socketsUsed + (socketSlots() >> 3) >= socketSlots();
  if (l.halfOpen >= HALF_OPEN || scarce) { cookie(); return; }
  const s = child(l);
  if (changetype<usize>(s) == 0) { cookie(); return; }
  begin(s, initialSequence(DESTINATION, SOURCE, seg.destinationPort, seg.sourcePort));
  s.state = NET_TCP_STATE_SYN_RECEIVED;
  takeSyn(s);
  l.halfOpen++;
  hash(s);
  wantOutput(s);
}
function child(l: Socket): Socket {
  const s = socketNew(STREAM, 0);
  if (changetype<usize>(s) == 0) return s;
  setEnds(s, DESTINATION, seg.destinationPort, SOURCE, seg.sourcePort);
  s.parent = l.id;
  s.flags |= PASSIVE | (l.flags & (NODELAY | CUBIC));
  s.rcvBuf = l.rcvBuf; s.sndBuf = l.sndBuf; s.keepalive = l.keepalive; s.ttl = l.ttl; s.linger = l.linger;
  return s;
}
/** The options of a SYN (ours agreed or not), its window and sequence number. */
export function takeSyn(s: Socket): void {
  receiveBegins(s, seg.seq);
  s.peerMss = seg.mss;
  let both = 0;
  if (seg.stamped) { both |= STAMPS; s.tsRecent = seg.tsVal; s.tsRecentAge = nowMs; }
  if (seg.scale >= 0) { both |= SCALING; s.sndScale = <u32>seg.scale; } else { s.sndScale = 0; s.rcvScale = 0; }
  if (seg.sackPermitted) both |= SACK_OK;
  s.flags = s.flags & ~(STAMPS | SCALING | SACK_OK) | both;
  s.sndWnd = seg.window; s.maxWnd = seg.window; s.sndWl1 = seg.seq; s.sndWl2 = seg.ack; // a SYN's window is never scaled
  settleMss(s);
  touch(s);
}

const INPUT: usize = memory.data(44, 4);
function cookieHash(period: u32, irs: u32): u32 {
  copyAddress(INPUT, DESTINATION); copyAddress(INPUT + 16, SOURCE);
  store<u32>(INPUT, seg.destinationPort << 16 | seg.sourcePort, 32); store<u32>(INPUT, irs, 36); store<u32>(INPUT, period, 40);
  return sipHash(INPUT, 11) & 0xffffff;
}
function cookie(): void {
  let m: u32 = 0;
  while (m < 7 && <u32>load<u16>(MSS_TABLE + (<usize>(m + 1) << 1)) <= seg.mss) m++;
  const period = <u32>(now / COOKIE_US);
  cookiesAt = now + 1;
  count(C_COOKIES_SENT);
  const offset = stampOffset(DESTINATION, SOURCE, seg.destinationPort, seg.sourcePort);
  const options = (seg.scale >= 0 ? <u32>seg.scale : 15) | (seg.sackPermitted ? 16 : 0);
  let stamp = (nowMs + offset & ~OPTION_BITS) | options;
  if (lt(nowMs + offset, stamp)) stamp -= OPTION_BITS + 1; // never ahead of the clock: what follows would look old
  sendCookie(DESTINATION, SOURCE, period << 27 | m << 24 | cookieHash(period, seg.seq), stamp, OUR_SCALE);
}
/** All places are taken: a connection whose handshake is complete is worth more than the half-open one that has been tried longest. Its place is free at once: it has no pages. */
function displaceHalfOpen(): bool {
  let worst = changetype<Socket>(0);
  for (let n: u32 = 0; n < socketSlots(); n++) {
    const s = socketAt(n);
    if (usedSlot(n) && s.type == STREAM && s.state == NET_TCP_STATE_SYN_RECEIVED && s.parent != 0 && s.id == 0 && (changetype<usize>(worst) == 0 || s.retries > worst.retries)) worst = s;
  }
  if (changetype<usize>(worst) == 0) return false;
  count(C_TCP_HALF_OPEN_DISPLACED);
  toClosed(worst, 0);
  socketGone(worst);
  return true;
}
/** The segment at hand acknowledges a cookie: the connection exists. */
function cookieAcknowledged(l: Socket): bool {
  if (cookiesAt == 0 || now > cookiesAt + COOKIE_US * (COOKIE_LIFE + 1)) return false;
  const value = seg.ack - 1, irs = seg.seq - 1, period = <u32>(now / COOKIE_US);
  const age = period - (value >> 27) & 31;
  if (age > COOKIE_LIFE || (value & 0xffffff) != cookieHash(period - age, irs)) { count(C_COOKIES_BAD); return false; }
  if (l.pending >= l.backlog) { count(C_TCP_BACKLOG); return true; }
  let s = child(l);
  if (changetype<usize>(s) == 0) {
    if (!displaceHalfOpen()) return true;
    s = child(l);
    if (changetype<usize>(s) == 0) return true;
  }
  count(C_COOKIES_GOOD);
  begin(s, value);
  s.state = NET_TCP_STATE_SYN_RECEIVED;
  l.halfOpen++;
  receiveBegins(s, irs);
  s.peerMss = <u32>load<u16>(MSS_TABLE + (<usize>(value >> 24 & 7) << 1));
  s.rcvScale = 0;
  if (seg.stamped) {
    const options = seg.tsEcr & OPTION_BITS;
    s.flags |= STAMPS | ((options & 16) != 0 ? SACK_OK : 0);
    if ((options & 15) != 15) { s.flags |= SCALING; s.sndScale = options & 15; s.rcvScale = OUR_SCALE; }
    s.tsRecent = seg.tsVal; s.tsRecentAge = nowMs;
  }
  s.sndUna = value + 1; s.sndNxt = value + 1; s.sndMax = value + 1;
  s.sndWnd = seg.window << s.sndScale; s.maxWnd = s.sndWnd; s.sndWl1 = seg.seq; s.sndWl2 = seg.ack;
  s.rcvAdv = s.rcvNxt + 65535;
  hash(s);
  settleMss(s);
  established(s);
  s.flags &= ~ACK_NOW;
  cookieConnection = s;
  return true;
}
/** The connection that the last cookie made, for the data that may have come with it; taken by input.ts. */
export let cookieConnection: Socket = changetype<Socket>(0);
export function takeCookieConnection(): Socket { const s = cookieConnection; cookieConnection = changetype<Socket>(0); return s; }
