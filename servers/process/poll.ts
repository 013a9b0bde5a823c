/**
 * poll(2) over everything a program can have open. Files and devices never wait; pipes are looked at here; sockets are one entry on net's ring that lists all of
 * them, the terminal one on tty's. While the fiber waits it is woken by the answer to either, by any change of a pipe, by a signal, and at the timeout.
 */
import * as P from 'kintsugi/protocols';
import { alloc, free } from '../lib/alloc';
import { FOREVER, clock, copyFromLease, copyToLease } from '../lib/sys';
import { TIMED_OUT } from '../lib/fiber';
import * as E from './errno';
import { ON_NET, ON_TTY, endWatch, netArea, postWatch, watchDone } from './peers';
import { pipeEvents } from './pipe';
import * as R from './records';
import { Program } from './records';
import { lastReason, pause, pollers } from './wait';

const LIMIT: u32 = 256;
const RECORD: usize = P.PROCESS_POLL_RECORD_SIZE;
const READABLE: u32 = P.NET_EVENTS_READABLE, WRITABLE: u32 = P.NET_EVENTS_WRITABLE, ALWAYS: u32 = P.NET_EVENTS_ERROR | P.NET_EVENTS_HANGUP;
const NO_FD: u32 = 32;

function fdAt(r: usize): i32 { return load<i32>(r, P.PROCESS_POLL_RECORD_FD); }
function wanted(r: usize): u32 { return load<u16>(r, P.PROCESS_POLL_RECORD_EVENTS); }
function setFound(r: usize, events: u32): void { store<u16>(r, <u16>events, P.PROCESS_POLL_RECORD_FOUND); }

export function poll(p: Program): i32 {
  const count = p.w0, timeout = <i32>p.w1;
  if (count > LIMIT) return -E.EINVAL;
  const records = alloc(count * <u32>RECORD + 8);
  if (records == 0) return -E.ENOMEM;
  let status = E.errnoOf(copyFromLease(p.reply, records, 0, 0, count * <u32>RECORD));
  if (status == 0) status = wait(p, records, count, timeout < 0 ? FOREVER : clock() + <u64>timeout * 1_000_000, timeout == 0);
  if (status >= 0 && count > 0) {
    const copied = E.errnoOf(copyToLease(p.reply, records, 0, 0, count * <u32>RECORD));
    if (copied < 0) status = copied;
  }
  free(records);
  return status;
}
function wait(p: Program, records: usize, count: u32, deadline: u64, once: bool): i32 {
  let sockets: u32 = 0, terminal: i32 = -1;
  for (let n: u32 = 0; n < count; n++) {
    const r = records + <usize>n * RECORD;
    if (fdAt(r) < 0) continue;
    const f = R.fileOf(p, fdAt(r));
    if (!f) continue;
    if (f.kind == R.SOCKET) sockets++;
    if (f.kind == R.TERMINAL && (wanted(r) & READABLE) != 0) terminal = f.line;
  }
  let ready = here(p, records, count);
  const quick = once || ready > 0; // what servers know is asked for, not waited for
  const room = sockets * P.NET_POLL_RECORD_SIZE, list: u32 = sockets > 0 ? netArea.take(room) : 0;
  if (sockets > 0) fillList(p, records, count, list);
  let onNet = sockets > 0 ? postWatch(ON_NET, P.NET_POLL, list, sockets, quick ? 1 : 0) : -1;
  let onTty = terminal >= 0 ? postWatch(ON_TTY, P.TTY_WATCH, terminal, 0, 0) : -1;
  let status = (sockets > 0 && onNet < 0) || (terminal >= 0 && onTty < 0) ? -E.ENOMEM : 0;
  while (status == 0 && !quick && ready == 0) {
    if ((onNet >= 0 && watchDone(ON_NET, onNet)) || (onTty >= 0 && watchDone(ON_TTY, onTty))) break;
    if (!pause(pollers(), deadline)) { status = -E.EINTR; break; }
    if (lastReason() == TIMED_OUT) break;
    ready = here(p, records, count);
  }
  let told = -1, typed = -1; // statuses of net and tty
  if (onNet >= 0) { told = endWatch(ON_NET, onNet, !quick); if (told < 0 && told != -E.EINTR && status == 0) status = told < -4095 ? -E.ENETDOWN : told; }
  if (onTty >= 0) typed = endWatch(ON_TTY, onTty, true);
  if (status == 0) ready = conclude(p, records, count, list, told == 0, typed == 0);
  if (sockets > 0) netArea.give(list, room);
  return status < 0 ? status : <i32>ready;
}
/** What can be told without asking anybody, into the records; how many have events. */
function here(p: Program, records: usize, count: u32): u32 {
  let ready: u32 = 0;
  for (let n: u32 = 0; n < count; n++) {
    const r = records + <usize>n * RECORD;
    let found: u32 = 0;
    if (fdAt(r) >= 0) {
      const f = R.fileOf(p, fdAt(r));
      if (!f) found = NO_FD;
      else if (f.kind == R.SOCKET) found = 0;
      else if (f.kind == R.PIPE_READ || f.kind == R.PIPE_WRITE) found = pipeEvents(R.pipeAt(f.pipe), f.kind == R.PIPE_READ) & (wanted(r) | ALWAYS);
      else if (f.kind == R.TERMINAL) found = wanted(r) & WRITABLE;
      else found = wanted(r) & (READABLE | WRITABLE);
    }
    setFound(r, found);
    if (found != 0) ready++;
  }
  return ready;
}
function fillList(p: Program, records: usize, count: u32, list: u32): void {
  let to = netArea.address(list);
  for (let n: u32 = 0; n < count; n++) {
    const r = records + <usize>n * RECORD;
    if (fdAt(r) < 0) continue;
    const f = R.fileOf(p, fdAt(r));
    if (!f || f.kind != R.SOCKET) continue;
    store<u32>(to, f.socket, P.NET_POLL_RECORD_ID); store<u32>(to, wanted(r), P.NET_POLL_RECORD_EVENTS); store<u32>(to, 0, P.NET_POLL_RECORD_FOUND);
    to += P.NET_POLL_RECORD_SIZE;
  }
}
/** Adds what the servers said; how many records have events. */
function conclude(p: Program, records: usize, count: u32, list: u32, answered: bool, typed: bool): u32 {
  here(p, records, count);
  let ready: u32 = 0, from = netArea.address(list);
  for (let n: u32 = 0; n < count; n++) {
    const r = records + <usize>n * RECORD;
    if (fdAt(r) < 0) continue;
    const f = R.fileOf(p, fdAt(r));
    if (f && f.kind == R.SOCKET) {
      if (answered) setFound(r, load<u32>(from, P.NET_POLL_RECORD_FOUND) & (wanted(r) | ALWAYS));
      from += P.NET_POLL_RECORD_SIZE;
    }
    if (f && f.kind == R.TERMINAL && typed) setFound(r, (wanted(r) & READABLE) | (wanted(r) & WRITABLE));
    if (load<u16>(r, P.PROCESS_POLL_RECORD_FOUND) != 0) ready++;
  }
  return ready;
}
