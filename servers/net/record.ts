/**
 * The record of a socket in the state: what a successor needs to go on. Half: {lsn, check, bytes, fields..., send pages (u16), receive pages (u16)}; the pages are those
 * that hold [sndUna, sndEnd) and [rcvRead, end of data), first to last.
 *
 * Not in the record, because it can be had again: sndNxt (everything unacknowledged may have been sent), the scoreboard, out of order data (RFC 2018 allows to forget
 * it), timers, datagrams. Round trip, window and congestion window are hints.
 */
import { NET_TCP_STATE_CLOSED, NET_TCP_STATE_LISTEN, NET_TCP_STATE_SYN_RECEIVED, NET_TCP_STATE_SYN_SENT, NET_TCP_STATE_TIME_WAIT } from 'kintsugi/protocols';
import { copyAddress } from './address';
import { C_COMMITS, C_RECORD_BAD, C_RECORD_PAGES, count } from './counters';
import { writable } from './host';
import { pageClaim, pageGive } from './pool';
import {
  BOUND, ECHO, FIN_QUEUED, FIN_RECEIVED, MAX_BUFFER, PERSISTENT, STREAM, Socket, TOUCHED, bindPort, dataEnd, findId, hash, localOf, peerOf, rcvPage, releasePages,
  setId, sndPage, socketAt, socketForget, socketGone, socketSlots, socketTake, touchedClear, touchedCount, touchedSlot,
} from './socket';
import { HALF_BYTES, clearPair, commitHalf, newerHalf, recordAt } from './state';

const SCRATCH: usize = memory.data(448, 8);
const FIELDS: u32 = 196; // bytes before the pages
// Offsets of the fields.
const R_ID: usize = 12, R_TYPE: usize = 16, R_STATE: usize = 20, R_FLAGS: usize = 24, R_PORTS: usize = 28, R_LOCAL: usize = 32, R_PEER: usize = 48, R_PARENT: usize = 64;
const R_ISS: usize = 68, R_UNA: usize = 72, R_END: usize = 76, R_WND: usize = 80, R_WL1: usize = 84, R_WL2: usize = 88, R_MAXWND: usize = 92, R_UP: usize = 96, R_SCALES: usize = 100, R_PEERMSS: usize = 104;
const R_IRS: usize = 108, R_NXT: usize = 112, R_READ: usize = 116, R_SEEN: usize = 120, R_ADV: usize = 124, R_RUP: usize = 128;
const R_TSOFFSET: usize = 132, R_TSRECENT: usize = 136, R_SRTT: usize = 140, R_RTTVAR: usize = 144, R_CWND: usize = 148, R_SSTHRESH: usize = 152;
const R_BUFFERS: usize = 156, R_KEEPALIVE: usize = 164, R_ERROR: usize = 168, R_LINGER: usize = 172, R_TTL: usize = 176, R_BACKLOG: usize = 180, R_MSS: usize = 184, R_PAGES: usize = 188 /* send | receive << 16 */, R_RETRANSMITS: usize = 192;

function pagesOf(from: u32, to: u32): u32 { return from == to ? 0 : ((to - 1 - (from & ~4095)) >> 12) + 1; }
function streamed(state: u32): bool { return state != NET_TCP_STATE_LISTEN && state != NET_TCP_STATE_SYN_SENT; }

function write(s: Socket): void {
  const r = SCRATCH;
  store<u32>(r, s.id, R_ID); store<u32>(r, s.type, R_TYPE); store<u32>(r, s.state, R_STATE); store<u32>(r, s.flags & PERSISTENT, R_FLAGS);
  store<u32>(r, s.localPort | s.peerPort << 16, R_PORTS);
  copyAddress(r + R_LOCAL, localOf(s)); copyAddress(r + R_PEER, peerOf(s));
  store<u32>(r, s.parent, R_PARENT);
  store<u32>(r, s.iss, R_ISS); store<u32>(r, s.sndUna, R_UNA); store<u32>(r, s.sndEnd, R_END); store<u32>(r, s.sndWnd, R_WND); store<u32>(r, s.sndWl1, R_WL1); store<u32>(r, s.sndWl2, R_WL2);
  store<u32>(r, s.maxWnd, R_MAXWND); store<u32>(r, s.sndUp, R_UP); store<u32>(r, s.sndScale | s.rcvScale << 8, R_SCALES); store<u32>(r, s.peerMss, R_PEERMSS);
  store<u32>(r, s.irs, R_IRS); store<u32>(r, s.rcvNxt, R_NXT); store<u32>(r, s.rcvRead, R_READ); store<u32>(r, s.rcvSeen, R_SEEN); store<u32>(r, s.rcvAdv, R_ADV); store<u32>(r, s.rcvUp, R_RUP);
  store<u32>(r, s.tsOffset, R_TSOFFSET); store<u32>(r, s.tsRecent, R_TSRECENT); store<u32>(r, s.srtt, R_SRTT); store<u32>(r, s.rttvar, R_RTTVAR);
  store<u32>(r, s.cwnd, R_CWND); store<u32>(r, s.ssthresh, R_SSTHRESH);
  store<u32>(r, s.sndBuf, R_BUFFERS); store<u32>(r, s.rcvBuf, R_BUFFERS + 4);
  store<u32>(r, s.keepalive, R_KEEPALIVE); store<u32>(r, s.error | s.softError << 16, R_ERROR); store<i32>(r, s.linger, R_LINGER); store<u32>(r, s.ttl, R_TTL);
  store<u32>(r, s.backlog, R_BACKLOG); store<u32>(r, s.mss, R_MSS); store<u32>(r, s.retransmits, R_RETRANSMITS);
  let at = r + FIELDS, snd: u32 = 0, rcv: u32 = 0;
  if (s.type == STREAM && streamed(s.state)) {
    const sndFrom = s.sndUna - (s.iss + 1);
    // In SYN-RECEIVED sndUna is still iss; once FIN is acknowledged it is beyond sndEnd.
    if (s.state != NET_TCP_STATE_SYN_RECEIVED && s.sndEnd != s.sndUna && <i32>(s.sndEnd - s.sndUna) > 0) {
      snd = pagesOf(sndFrom, s.sndEnd - (s.iss + 1));
      for (let n: u32 = 0; n < snd; n++) { store<u16>(at, load<u16>(sndPage(s, sndFrom + (n << 12)))); at += 2; }
    }
    const rcvFrom = s.rcvRead - (s.irs + 1), rcvTo = dataEnd(s) - (s.irs + 1);
    rcv = pagesOf(rcvFrom, rcvTo);
    for (let n: u32 = 0; n < rcv; n++) { store<u16>(at, load<u16>(rcvPage(s, rcvFrom + (n << 12)))); at += 2; }
  }
  store<u32>(r, snd | rcv << 16, R_PAGES);
  if ((at & 2) != 0) { store<u16>(at, 0); at += 2; }
  store<u32>(r, <u32>(at - r), 8);
}

/** Writes the records of everything this batch touched. The window is opened if it is not. */
export function commitTouched(): void {
  const n = touchedCount;
  if (n == 0) return;
  writable();
  for (let k: u32 = 0; k < n; k++) {
    const slot = touchedSlot(k), s = socketAt(slot);
    const at = recordAt(slot);
    if (s.type == 0) clearPair(at, HALF_BYTES);
    else { write(s); commitHalf(at, HALF_BYTES, SCRATCH); }
    count(C_COMMITS);
  }
  // Only now may pages that older records named be used for something else.
  for (let k: u32 = 0; k < n; k++) {
    const s = socketAt(touchedSlot(k));
    s.flags &= ~TOUCHED;
    if (s.type == 0) socketGone(s);
    else if (s.type == STREAM) releasePages(s);
  }
  touchedClear();
}

/** Whether the fields of a half whose check is right can be believed: a wrong value was committed by a server that was already broken. */
function plausible(r: usize): bool {
  const type = load<u32>(r, R_TYPE), state = load<u32>(r, R_STATE);
  if (load<u32>(r, 8) < FIELDS || type < STREAM || type > ECHO) return false;
  if (type != STREAM) return state == 0;
  if (state < NET_TCP_STATE_CLOSED || state > NET_TCP_STATE_TIME_WAIT) return false;
  if (load<u32>(r, R_BUFFERS) > MAX_BUFFER || load<u32>(r, R_BUFFERS + 4) > MAX_BUFFER) return false;
  if (!streamed(state)) return true;
  const flags = load<u32>(r, R_FLAGS), una = load<u32>(r, R_UNA), endOfData = load<u32>(r, R_END), read = load<u32>(r, R_READ);
  const nxt = load<u32>(r, R_NXT) - ((flags & FIN_RECEIVED) != 0 ? 1 : 0);
  if (nxt - read > MAX_BUFFER + 4096 || load<u32>(r, R_SEEN) - read > nxt - read) return false;
  if (state == NET_TCP_STATE_CLOSED || state == NET_TCP_STATE_SYN_RECEIVED) return endOfData - una <= MAX_BUFFER + 1;
  return endOfData - una <= MAX_BUFFER || ((flags & FIN_QUEUED) != 0 && una - endOfData == 1);
}
/** Takes the pages of a record; all or none. */
function claim(s: Socket, r: usize): bool {
  const counts = load<u32>(r, R_PAGES), snd = counts & 0xffff, rcv = counts >> 16;
  const sndFrom = s.sndUna - (s.iss + 1), rcvFrom = s.rcvRead - (s.irs + 1);
  let wantSnd: u32 = 0, wantRcv: u32 = 0;
  if (streamed(s.state)) {
    if (s.state != NET_TCP_STATE_SYN_RECEIVED && <i32>(s.sndEnd - s.sndUna) > 0) wantSnd = pagesOf(sndFrom, s.sndEnd - (s.iss + 1));
    wantRcv = pagesOf(rcvFrom, dataEnd(s) - (s.irs + 1));
  }
  if (snd != wantSnd || rcv != wantRcv || FIELDS + 2 * (snd + rcv) > load<u32>(r, 8)) return false;
  let at = r + FIELDS;
  for (let n: u32 = 0; n < snd + rcv; n++) {
    const page = <u32>load<u16>(at + (<usize>n << 1));
    if (pageClaim(page)) continue;
    while (n-- != 0) pageGive(<u32>load<u16>(at + (<usize>n << 1)));
    return false;
  }
  for (let n: u32 = 0; n < snd; n++) { store<u16>(sndPage(s, sndFrom + (n << 12)), load<u16>(at)); at += 2; }
  for (let n: u32 = 0; n < rcv; n++) { store<u16>(rcvPage(s, rcvFrom + (n << 12)), load<u16>(at)); at += 2; }
  s.freeSnd = sndFrom; s.freeRcv = rcvFrom;
  return true;
}

/** What attach found. */
export let recordsTaken: u32 = 0;
export let recordsBad: u32 = 0;
/** Ends whose record was damaged but readable enough to tell the peer: attachSockets fills it, core.ts resets them. {local, peer, ports, sndUna, rcvNxt} */
export const VICTIM_BYTES: usize = 48;
export const VICTIMS: usize = memory.data(48 * 64, 8);
export let victims: u32 = 0;

/** Reads every record. In the window: damaged ones are emptied. Listeners and connections are hashed, ports taken, pages claimed. */
export function attachSockets(): void {
  recordsTaken = 0; recordsBad = 0; victims = 0;
  for (let slot: u32 = 0; slot < socketSlots(); slot++) {
    const at = recordAt(slot), half = newerHalf(at, HALF_BYTES);
    if (half == -1) continue;
    let s = changetype<Socket>(0);
    if (half >= 0) s = read(slot, at + <usize>half * HALF_BYTES);
    if (changetype<usize>(s) != 0) { recordsTaken++; continue; }
    recordsBad++;
    count(C_RECORD_BAD);
    // What the pair says about its ends may be right: the peer gets a reset, which it believes only if the numbers fit.
    if (victims < 64) {
      const v = VICTIMS + <usize>victims * VICTIM_BYTES, p = load<u32>(at) - load<u32>(at + HALF_BYTES) == 1 ? at : at + HALF_BYTES;
      copyAddress(v, p + R_LOCAL); copyAddress(v + 16, p + R_PEER);
      store<u32>(v, load<u32>(p, R_PORTS), 32); store<u32>(v, load<u32>(p, R_UNA), 36); store<u32>(v, load<u32>(p, R_NXT), 40);
      if (load<u32>(p, R_TYPE) == STREAM && (load<u32>(p, R_PORTS) & 0xffff) != 0 && load<u32>(p, R_PORTS) >> 16 != 0) victims++;
    }
    writable();
    clearPair(at, HALF_BYTES);
  }
}
function read(slot: u32, r: usize): Socket {
  const none = changetype<Socket>(0);
  if (!plausible(r)) return none;
  const id = load<u32>(r, R_ID);
  if (id != 0 && changetype<usize>(findId(id)) != 0) return none; // a name counts once
  const type = load<u32>(r, R_TYPE), s = socketTake(slot, type), ports = load<u32>(r, R_PORTS);
  s.state = load<u32>(r, R_STATE); s.flags = load<u32>(r, R_FLAGS) & PERSISTENT & ~BOUND;
  copyAddress(localOf(s), r + R_LOCAL); copyAddress(peerOf(s), r + R_PEER);
  s.localPort = ports & 0xffff; s.peerPort = ports >> 16;
  s.parent = load<u32>(r, R_PARENT);
  s.iss = load<u32>(r, R_ISS); s.sndUna = load<u32>(r, R_UNA); s.sndEnd = load<u32>(r, R_END); s.sndWnd = load<u32>(r, R_WND); s.sndWl1 = load<u32>(r, R_WL1); s.sndWl2 = load<u32>(r, R_WL2);
  s.maxWnd = load<u32>(r, R_MAXWND); s.sndUp = load<u32>(r, R_UP); s.sndScale = load<u32>(r, R_SCALES) & 15; s.rcvScale = load<u32>(r, R_SCALES) >> 8 & 15; s.peerMss = load<u32>(r, R_PEERMSS);
  s.irs = load<u32>(r, R_IRS); s.rcvNxt = load<u32>(r, R_NXT); s.rcvRead = load<u32>(r, R_READ); s.rcvSeen = load<u32>(r, R_SEEN); s.rcvAdv = load<u32>(r, R_ADV); s.rcvUp = load<u32>(r, R_RUP);
  s.tsOffset = load<u32>(r, R_TSOFFSET); s.tsRecent = load<u32>(r, R_TSRECENT); s.srtt = load<u32>(r, R_SRTT); s.rttvar = load<u32>(r, R_RTTVAR);
  s.cwnd = load<u32>(r, R_CWND); s.ssthresh = load<u32>(r, R_SSTHRESH); s.sndBuf = load<u32>(r, R_BUFFERS); s.rcvBuf = load<u32>(r, R_BUFFERS + 4);
  s.keepalive = load<u32>(r, R_KEEPALIVE); s.error = load<u32>(r, R_ERROR) & 0xffff; s.softError = load<u32>(r, R_ERROR) >> 16; s.linger = load<i32>(r, R_LINGER);
  s.ttl = load<u32>(r, R_TTL); s.backlog = load<u32>(r, R_BACKLOG); s.mss = load<u32>(r, R_MSS); s.retransmits = load<u32>(r, R_RETRANSMITS);
  if (type == STREAM && !claim(s, r)) {
    count(C_RECORD_PAGES);
    socketForget(s);
    return none;
  }
  if (id != 0) setId(s, id);
  if ((load<u32>(r, R_FLAGS) & BOUND) != 0) bindPort(s, s.localPort);
  if (type == STREAM && s.peerPort != 0 && s.state != NET_TCP_STATE_CLOSED && s.state != NET_TCP_STATE_LISTEN) hash(s);
  return s;
}
