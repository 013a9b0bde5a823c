/** The life of a connection: opening, closing, resetting, what it means for a listener (RFC 9293, 3.6, 3.10). Segments are in input.ts and output.ts, timers in timers.ts. */
import {
  NET_TCP_STATE_CLOSED, NET_TCP_STATE_CLOSE_WAIT, NET_TCP_STATE_ESTABLISHED, NET_TCP_STATE_FIN_WAIT1, NET_TCP_STATE_FIN_WAIT2, NET_TCP_STATE_LAST_ACK, NET_TCP_STATE_LISTEN,
  NET_TCP_STATE_SYN_RECEIVED, NET_TCP_STATE_SYN_SENT, NET_TCP_STATE_TIME_WAIT,
} from 'kintsugi/protocols';
import { copyAddress } from '../address';
import { C_TCP_ABORTED, C_TCP_ACCEPTED, C_TCP_OPENED, C_TCP_RESET_DEAF, count } from '../counters';
import { ECONNABORTED } from '../../lib/errno';
import { sipHash } from '../hash';
import { now } from '../host';
import { failAll } from '../op';
import {
  ACK_NOW, CONNECTED, FIN_QUEUED, NO_SLOT, SACK_OK, SCALING, STAMPS, Socket, dataEnd, findId, hash, localOf, peerOf, setId, socketAt, socketFree, socketSlots, touch, unhash, usedSlot, wake,
  waitAppend, waitRemove, wantOutput, AFTER_RTO, RECOVERY, REVIVED, TIMING, FORCE, PROBE, ACK_LATER,
} from '../socket';
import { NEVER, armAtMost, disarm } from '../timer';
import { congestionStart } from './congestion';
import { flightForget } from './flight';
import { INITIAL_RTO, sendReset, settleMss } from './output';

export const TIME_WAIT_US: u64 = 60_000_000; // 2 MSL
export const ORPHAN_US: u64 = 60_000_000; // FIN-WAIT-2 of a closed socket
export const ORPHAN_LIMIT_US: u64 = 900_000_000; // a closed socket whose peer takes neither data nor FIN, but answers
export const OUR_SCALE: u32 = 2; // 65535 << 2 covers MAX_BUFFER

const INPUT: usize = memory.data(36, 4);
/** RFC 6528: a clock of 4 us and a keyed hash of the ends. */
export function initialSequence(local: usize, peer: usize, localPort: u32, peerPort: u32): u32 {
  copyAddress(INPUT, local); copyAddress(INPUT + 16, peer);
  store<u32>(INPUT, localPort << 16 | peerPort, 32);
  return <u32>(now >> 2) + sipHash(INPUT, 9);
}
export function stampOffset(local: usize, peer: usize, localPort: u32, peerPort: u32): u32 {
  copyAddress(INPUT, peer); copyAddress(INPUT + 16, local);
  store<u32>(INPUT, peerPort << 16 | localPort, 32);
  return sipHash(INPUT, 9);
}
/** Send side as of a connection that begins; the ends are set. */
export function begin(s: Socket, iss: u32): void {
  s.iss = iss; s.sndUna = iss; s.sndNxt = iss; s.sndMax = iss; s.sndEnd = iss + 1; s.sndUp = iss;
  s.rto = INITIAL_RTO; s.backoff = 0; s.srtt = 0; s.rttvar = 0;
  s.rcvScale = OUR_SCALE;
  s.tsOffset = stampOffset(localOf(s), peerOf(s), s.localPort, s.peerPort);
  s.rcvMss = 536; s.mss = 536;
  s.freeSnd = 0; s.freeRcv = 0;
  s.lastHeard = now;
  s.recover = iss;
}
/** The peer's SYN is here: receive side. */
export function receiveBegins(s: Socket, irs: u32): void {
  s.irs = irs; s.rcvNxt = irs + 1; s.rcvRead = irs + 1; s.rcvSeen = irs + 1; s.rcvAdv = irs + 1; s.rcvUp = irs; s.lastAckSent = irs + 1;
}
/** Active open. The socket has both ends and its port. */
export function open(s: Socket): void {
  begin(s, initialSequence(localOf(s), peerOf(s), s.localPort, s.peerPort));
  s.state = NET_TCP_STATE_SYN_SENT;
  s.flags |= STAMPS | SCALING | SACK_OK;
  s.error = 0; s.softError = 0;
  settleMss(s);
  hash(s);
  touch(s);
  wantOutput(s);
}
export function established(s: Socket): void {
  s.state = NET_TCP_STATE_ESTABLISHED;
  s.flags |= CONNECTED;
  settleMss(s);
  congestionStart(s);
  s.lifeAt = NEVER; s.retries = 0;
  count(C_TCP_OPENED);
  keepaliveStart(s);
  touch(s);
  wake(s);
  if (s.parent == 0) return;
  const l = findId(s.parent);
  if (changetype<usize>(l) == 0 || l.state != NET_TCP_STATE_LISTEN) { abort(s); return; }
  l.halfOpen--;
  acceptAppend(l, s);
}
export function acceptAppend(l: Socket, s: Socket): void {
  s.acceptNext = NO_SLOT;
  if (l.acceptFirst == NO_SLOT) l.acceptFirst = s.slot; else socketAt(l.acceptLast).acceptNext = s.slot;
  l.acceptLast = s.slot;
  l.pending++;
  wake(l);
}
/** The first connection of the listener's queue gets a name. Null: none there. */
export function acceptTake(l: Socket, id: u32): Socket {
  if (l.acceptFirst == NO_SLOT) return changetype<Socket>(0);
  const s = socketAt(l.acceptFirst);
  l.acceptFirst = s.acceptNext;
  if (l.acceptFirst == NO_SLOT) l.acceptLast = NO_SLOT;
  l.pending--;
  s.parent = 0; s.acceptNext = NO_SLOT;
  setId(s, id);
  touch(s);
  count(C_TCP_ACCEPTED);
  return s;
}
/** It leaves its listener's queue without having been accepted. */
function leaveParent(s: Socket): void {
  if (s.parent == 0) return;
  const l = findId(s.parent);
  s.parent = 0;
  if (changetype<usize>(l) == 0 || l.state != NET_TCP_STATE_LISTEN) return;
  if (s.state == NET_TCP_STATE_SYN_RECEIVED) { l.halfOpen--; return; }
  let n = l.acceptFirst, before: u32 = NO_SLOT;
  while (n != NO_SLOT && n != s.slot) { before = n; n = socketAt(n).acceptNext; }
  if (n == NO_SLOT) return;
  if (before == NO_SLOT) l.acceptFirst = s.acceptNext; else socketAt(before).acceptNext = s.acceptNext;
  if (l.acceptLast == s.slot) l.acceptLast = before;
  l.pending--;
}
/** Nothing is sent or expected any more. What was received stays readable while somebody has the socket. */
export function toClosed(s: Socket, error: u32): void {
  leaveParent(s);
  if (s.state == NET_TCP_STATE_TIME_WAIT) waitRemove(s);
  unhash(s);
  disarm(s.timer);
  s.rtoAt = NEVER; s.persistAt = NEVER; s.ackAt = NEVER; s.keepAt = NEVER; s.lifeAt = NEVER; s.reorderAt = NEVER;
  s.flags &= ~(ACK_NOW | ACK_LATER | RECOVERY | REVIVED | TIMING | FORCE | PROBE | AFTER_RTO);
  s.state = NET_TCP_STATE_CLOSED;
  s.sndEnd = s.sndUna; s.sndNxt = s.sndUna; s.sndMax = s.sndUna; s.ranges = 0; s.loss = 0;
  flightForget(s);
  if (error != 0) s.error = error;
  touch(s);
  if (s.id == 0) { socketFree(s); return; }
  wake(s);
}
/** Reset to the peer, gone here. */
export function abort(s: Socket): void {
  count(C_TCP_ABORTED);
  sendReset(s);
  toClosed(s, 0);
}
export function keepaliveStart(s: Socket): void {
  if (s.keepalive == 0 || s.state < NET_TCP_STATE_ESTABLISHED) { s.keepAt = NEVER; return; }
  s.keepProbes = 0;
  s.keepAt = s.lastHeard + <u64>s.keepalive * 1_000_000;
  armAtMost(s.timer, s.keepAt);
}
export function toTimeWait(s: Socket): void {
  s.state = NET_TCP_STATE_TIME_WAIT;
  s.rtoAt = NEVER; s.persistAt = NEVER; s.keepAt = NEVER;
  s.lifeAt = now + TIME_WAIT_US;
  armAtMost(s.timer, s.lifeAt);
  if (s.id == 0) waitAppend(s);
  touch(s);
  wake(s);
}
/** No more data from the program. */
export function shutdownSend(s: Socket): void {
  if ((s.flags & FIN_QUEUED) != 0) return;
  if (s.state == NET_TCP_STATE_ESTABLISHED) s.state = NET_TCP_STATE_FIN_WAIT1;
  else if (s.state == NET_TCP_STATE_CLOSE_WAIT) s.state = NET_TCP_STATE_LAST_ACK;
  else return;
  s.flags |= FIN_QUEUED;
  touch(s);
  wantOutput(s);
  wake(s);
}
/** The program's close (RFC 9293, 3.10.4): data not read, or linger 0, make it a reset (RFC 2525, 2.17). The socket's name ends here. */
export function close(s: Socket): void {
  failAll(s, -<i32>ECONNABORTED);
  if (s.state == NET_TCP_STATE_LISTEN) { closeListener(s); return; }
  if (s.state == NET_TCP_STATE_CLOSED || s.state == NET_TCP_STATE_SYN_SENT) { leaveParent(s); socketFree(s); return; }
  const unread = s.rcvSeen != dataEnd(s);
  if (s.linger == 0 || (unread && s.state != NET_TCP_STATE_TIME_WAIT)) {
    if (unread) count(C_TCP_RESET_DEAF);
    setId(s, 0);
    abort(s);
    return;
  }
  setId(s, 0);
  s.rcvRead = dataEnd(s); s.rcvSeen = s.rcvRead; // nobody will ask for it again
  touch(s);
  if (s.state == NET_TCP_STATE_TIME_WAIT) { waitAppend(s); return; }
  if (s.state == NET_TCP_STATE_SYN_RECEIVED) { abort(s); return; }
  shutdownSend(s);
  s.lifeAt = now + (s.state == NET_TCP_STATE_FIN_WAIT2 ? ORPHAN_US : ORPHAN_LIMIT_US);
  armAtMost(s.timer, s.lifeAt);
}
function closeListener(l: Socket): void {
  const id = l.id;
  l.state = NET_TCP_STATE_CLOSED;
  for (let n: u32 = 0; n < socketSlots(); n++) {
    if (!usedSlot(n)) continue;
    const s = socketAt(n);
    if (s.parent != id) continue;
    s.parent = 0;
    abort(s);
  }
  socketFree(l);
}
