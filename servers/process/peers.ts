/**
 * The servers behind process, as functions: each posts a ring entry and blocks the fiber until it is answered. Requests to fs carry the key of the
 * program's request and a running sub-index, so that a restarted handler that asks again gets the stored answer. Requests to tty and net may wait for
 * the outside world; a signal to the program ends them early.
 */
import * as P from 'kintsugi/protocols';
import { CANCELLED, blockUntil, clearCancel, current, spawn } from '../lib/fiber';
import { Answer, RingOwner, last, ringOwner } from '../lib/ring';
import { FOREVER } from '../lib/sys';
import { Area, newArea } from './area';
import { EINTR, EIO, ENAMETOOLONG, ENETDOWN } from './errno';
import { DYING, Program } from './records';
import { currentProgram } from './wait';

export const READONLY: u32 = P.RING_FLAGS_READONLY;
let fs: RingOwner = changetype<RingOwner>(0);
let tty: RingOwner = changetype<RingOwner>(0);
let net: RingOwner = changetype<RingOwner>(0);
export let fsArea: Area = changetype<Area>(0);
export let ttyArea: Area = changetype<Area>(0);
export let netArea: Area = changetype<Area>(0);

export function peersInit(): void {
  fs = ringOwner(0);
  tty = ringOwner(1);
  net = ringOwner(2);
  net.reap(); // a machine without net: says so now
  fsArea = newArea(fs.data, fs.dataBytes);
  ttyArea = newArea(tty.data, tty.dataBytes);
  netArea = newArea(net.data, net.dataBytes);
}

/** Status of fs (0 or a negative errno); results in `fsResult()` until the next wait. Never cut short. */
export function fsCall(op: u32, flags: u32, a0: u32, a1: u32, a2: u32, a3: u32, a4: u32, a5: u32): i32 {
  const p = currentProgram();
  let status: i32;
  if (changetype<usize>(p) == 0) status = fs.call(op, flags, a0, a1, a2, a3, a4, a5);
  else status = fs.callKeyed(op, flags, p.index + 1, p.keySerial, p.keySeq, ++p.keySub, a0, a1, a2, a3, a4, a5);
  return status < -4095 || status > 0 ? -EIO : status;
}
export function fsResult(): Answer { return last(); }

/** A path in the shared area. */
export const PATH_LIMIT: u32 = 4096;

const RESULT: Answer = changetype<Answer>(memory.data(20, 4));
/** Answer of the last operation on tty or net of this fiber; until the next wait. */
export function eventResult(): Answer { return RESULT; }

/**
 * Posts claimed slot `n` of `ring` and waits for its answer, its status as it is. A signal ends it early: the entry is cancelled at the server, and whatever it
 * had done by then is its answer. Answer in `eventResult()`.
 */
function eventCall(ring: RingOwner, n: u32, cancelOp: u32): i32 {
  const p = currentProgram(), s = ring.slot(n), real = changetype<usize>(p) != 0;
  s.waiter = current();
  ring.post(n);
  ring.knock();
  let asked = false;
  while (!ring.isDone(n)) {
    if (real && !asked && (p.state == DYING || p.interrupted != 0)) { asked = true; askCancel(ring, ring.id(n), cancelOp); continue; }
    if (real && !asked) p.waitsFor = 1;
    const why = blockUntil(FOREVER);
    if (real) p.waitsFor = 0;
    if (why == CANCELLED) {
      clearCancel(current());
      if (!asked && !ring.isDone(n)) { asked = true; askCancel(ring, ring.id(n), cancelOp); }
    }
  }
  RESULT.status = s.status; RESULT.r0 = s.r0; RESULT.r1 = s.r1; RESULT.r2 = s.r2;
  ring.release(n);
  return RESULT.status;
}
/** Without waiting for the answer of the cancellation itself: the cancelled entry is what ends. */
function askCancel(ring: RingOwner, id: u32, cancelOp: u32): void {
  const n = ring.claim(cancelOp, READONLY);
  if (n < 0) return; // a full ring: the wait goes on until the server answers
  ring.arg(n, 0, id);
  ring.post(n);
  ring.knock();
  ring.abandon(n);
}
/** One TTY operation that a signal may end. */
export function ttyCall(op: u32, a0: u32, a1: u32, a2: u32, a3: u32): i32 {
  const n = tty.claimWait(op, 0);
  if (n < 0) return -EINTR;
  tty.arg(n, 0, a0); tty.arg(n, 1, a1); tty.arg(n, 2, a2); tty.arg(n, 3, a3);
  const status = eventCall(tty, n, P.TTY_CANCEL);
  return status < -4095 || status > 0 ? -EIO : status;
}
export function ttyResult(): Answer { return RESULT; }

function netStatus(status: i32): i32 { return status < -4095 || status > 0 ? -ENETDOWN : status; }
/** One NET operation that may wait for the outside world and that a signal may end. */
export function netWait(op: u32, a0: u32, a1: u32, a2: u32, a3: u32, a4: u32): i32 {
  const n = net.claimWait(op, 0);
  if (n < 0) return -EINTR;
  net.arg(n, 0, a0); net.arg(n, 1, a1); net.arg(n, 2, a2); net.arg(n, 3, a3); net.arg(n, 4, a4);
  return netStatus(eventCall(net, n, P.NET_CANCEL));
}
/** One that net answers at once; never cut short. Results in `eventResult()`. */
export function netCall(op: u32, a0: u32, a1: u32, a2: u32, a3: u32, a4: u32): i32 {
  const status = net.call(op, 0, a0, a1, a2, a3, a4, 0), answer = last();
  RESULT.status = status; RESULT.r0 = answer.r0; RESULT.r1 = answer.r1; RESULT.r2 = answer.r2;
  return netStatus(status);
}

// ---- several at a time: poll ------------------------------------------------------------------------------------------------------------

/** The ring of entries that `postWatch` posted. */
export const ON_TTY: u32 = 0, ON_NET: u32 = 1;
function ringOf(which: u32): RingOwner { return which == ON_NET ? net : tty; }
/** Posts an entry whose answer wakes this fiber, whatever it waits for by then; its slot, -1 when the ring is full. */
export function postWatch(which: u32, op: u32, a0: u32, a1: u32, a2: u32): i32 {
  const ring = ringOf(which), n = ring.claim(op, READONLY);
  if (n < 0) return -1;
  ring.arg(n, 0, a0); ring.arg(n, 1, a1); ring.arg(n, 2, a2);
  ring.slot(n).waiter = current();
  ring.post(n);
  ring.knock();
  return n;
}
export function watchDone(which: u32, n: u32): bool { return ringOf(which).isDone(n); }
/** Waits for its answer, which `cancel` brings about: nothing of it is left in shared memory. Status. */
export function endWatch(which: u32, n: u32, cancel: bool): i32 {
  const ring = ringOf(which), s = ring.slot(n);
  if (cancel && !ring.isDone(n)) askCancel(ring, ring.id(n), which == ON_NET ? P.NET_CANCEL : P.TTY_CANCEL);
  while (!ring.isDone(n)) if (blockUntil(FOREVER) == CANCELLED) clearCancel(current());
  const status = s.status;
  ring.release(n);
  return status;
}

export const CONTROL_SET_MODE: u32 = 1, CONTROL_GET_MODE: u32 = 2, CONTROL_FOREGROUND: u32 = 3, CONTROL_EXIT: u32 = 4, CONTROL_DRAIN: u32 = 5;
/**
 * What tty cannot know after a restart, because only its clients do: the mode of the console and who is in the foreground. Remembered here, and said
 * again when the ring shows a new epoch.
 */
const MODE_UNKNOWN: u32 = 0xffffffff;
let consoleMode: u32 = MODE_UNKNOWN;
const FOREGROUND: usize = memory.data(8, 4);
let ttyEpoch: u32 = 0;
export function ttyWatch(): void {
  if (tty.workerEpoch == ttyEpoch) return;
  const first = ttyEpoch == 0;
  ttyEpoch = tty.workerEpoch;
  if (!first) spawn(retell, 0);
}
function retell(argument: usize): void {
  if (consoleMode != MODE_UNKNOWN) ttyControl(0, CONTROL_SET_MODE, consoleMode);
  for (let line: u32 = 0; line < 2; line++) if (load<u32>(FOREGROUND + (line << 2)) != 0) ttyControl(line, CONTROL_FOREGROUND, load<u32>(FOREGROUND + (line << 2)));
}

export function ttyControl(line: u32, what: u32, value: u32): i32 {
  if (what == CONTROL_SET_MODE && line == 0) consoleMode = value;
  if (what == CONTROL_FOREGROUND && line < 2) store<u32>(FOREGROUND + (line << 2), value);
  const status = ttyCall(P.TTY_CONTROL, line, what, value, 0);
  return status < 0 ? status : <i32>RESULT.r0;
}

/** Copies a NUL-terminated text of at most PATH_LIMIT bytes to the area; its length in `pathBytes()`; the offset, or -ENAMETOOLONG. */
export function putPath(text: usize): i32 {
  let n: u32 = 0;
  while (n < PATH_LIMIT && load<u8>(text + n) != 0) n++;
  if (n == PATH_LIMIT) return -ENAMETOOLONG;
  const at = fsArea.take(n + 1);
  memory.copy(fsArea.address(at), text, n + 1);
  bytesOfPath = n;
  return at;
}
let bytesOfPath: u32 = 0;
export function pathBytes(): u32 { return bytesOfPath; }
