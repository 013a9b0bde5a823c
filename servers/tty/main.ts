/**
 * tty: the console (line 0, with the line discipline) and the host channel (line 1, frames). Worker of process's TTY ring, owner of the
 * SERIAL rings to both uarts. Event driven without fibers: a request that cannot be answered now is parked on its line, and every event (bytes from a
 * uart, room in an output queue, a new request) lets the parked ones try again, in order.
 *
 * Per line: `reads`, `writes` and `drains` wait for input, output room, an empty output; `signals` wait for ^C. A write is taken piece by
 * piece and answered when all of it is in the output queue, so that output of one request never mixes with another's.
 *
 * Serial rings: slot s owns buffer s of the shared area. RECEIVES empty buffers are always posted, unless the readers of the channel are behind:
 * then the full ones are kept (the host waits). At most TRANSMITS entries carry output.
 */
import {
  CHANNEL_MAX_PAYLOAD, CHANNEL_HEADER, CHANNEL_TO_HOST_EXIT, CHANNEL_TO_HOST_OUTPUT, CHANNEL_TO_HOST_READY, RING_SLOTS, SERIAL_BUFFER_BYTES, SERIAL_RECEIVE, SERIAL_TRANSMIT, SERVERS_TTY,
  TTY_CANCEL, TTY_CONTROL, TTY_READ, TTY_SIGNAL, TTY_WRITE,
} from 'kintsugi/protocols';
import { serverInit, serverLoop } from '../lib/server';
import { ready } from '../lib/startup';
import { Request, RingOwner, RingWorker, SLOT_ORPHAN, ringOwner, ringWorker } from '../lib/ring';
import { inRange } from '../lib/mem';
import { mustAlloc } from '../lib/alloc';
import { Link, append, isEmpty, linkInit, remove } from '../lib/list';
import * as D from './discipline';

const LINES: u32 = 2;
const CHANNEL: u32 = 1;
const RECEIVES: u32 = 8; // a power of two
const TRANSMITS: u32 = 16;
const COOKIE_RECEIVE: u32 = 1;
const COOKIE_TRANSMIT: u32 = 2;

const EINTR: i32 = -4, ENXIO: i32 = -6, EINVAL: i32 = -22, ENOSYS: i32 = -38;

/** A parked request. */
@unmanaged @final class Parked extends Link { request: usize; progress: u32 }
function requestOf(p: Parked): Request { return changetype<Request>(p.request); }

@unmanaged @final class Terminal {
  line: D.Line; frames: D.Frames; ring: RingOwner;
  reads: Link; writes: Link; drains: Link; signals: Link;
  foreground: u32;
  receiving: u32; sending: u32; // slots in flight
  order: usize; first: u32; // u32[RECEIVES]: slots of the posted buffers, in the order in which the uart fills them
  lineErrors: u32;
}

const TERMINALS: usize = memory.data(8, 4);
function terminal(n: u32): Terminal { return changetype<Terminal>(load<usize>(TERMINALS + (<usize>n << 2))); }
let worker: RingWorker = changetype<RingWorker>(0);
let idle: Link = changetype<Link>(0); // free Parked records: one for each slot of the ring
let fresh: Request = changetype<Request>(0);
let answered: bool = false;

function newLink(): Link { const l = changetype<Link>(mustAlloc(8)); linkInit(l); return l; }

export function main(page: usize): void {
  serverInit(page);
  idle = newLink();
  for (let n: u32 = 0; n < RING_SLOTS; n++) {
    const p = changetype<Parked>(mustAlloc(offsetof<Parked>()));
    linkInit(p);
    p.request = mustAlloc(offsetof<Request>());
    append(idle, p);
  }
  fresh = changetype<Request>(mustAlloc(offsetof<Request>()));
  for (let n: u32 = 0; n < LINES; n++) {
    const t = changetype<Terminal>(mustAlloc(offsetof<Terminal>()));
    store<usize>(TERMINALS + (<usize>n << 2), changetype<usize>(t));
    t.line = changetype<D.Line>(mustAlloc(offsetof<D.Line>()));
    t.frames = changetype<D.Frames>(mustAlloc(offsetof<D.Frames>()));
    D.lineInit(t.line, mustAlloc(D.LINE_MEMORY));
    t.reads = newLink(); t.writes = newLink(); t.drains = newLink(); t.signals = newLink();
    t.order = mustAlloc(RECEIVES * 4);
    t.ring = ringOwner(1 + n);
    adoptBuffers(t);
  }
  D.setMode(terminal(CHANNEL).line, 0);
  worker = ringWorker(0);
  D.frameOutput(terminal(CHANNEL).line, CHANNEL_TO_HOST_READY, 0, 0, 0);
  onBits(0xffffffff);
  ready(SERVERS_TTY);
  serverLoop(onBits);
}

function onBits(bits: u32): void {
  for (let n: u32 = 0; n < LINES; n++) collect(terminal(n), n);
  takeRequests();
  for (let n: u32 = 0; n < LINES; n++) serve(terminal(n), n);
  if (answered) { answered = false; worker.knock(); }
}

/** Buffers that a predecessor posted are still being filled: they count as this tty's, in the order of their ids. Its output is not: it may be lost. */
function adoptBuffers(t: Terminal): void {
  while (t.receiving < RECEIVES) {
    let oldest: i32 = -1;
    for (let slot: u32 = 0; slot < RING_SLOTS; slot++) {
      if (t.ring.slot(slot).state != SLOT_ORPHAN || t.ring.op(slot) != SERIAL_RECEIVE) continue;
      if (oldest < 0 || <i32>(t.ring.id(slot) - t.ring.id(oldest)) < 0) oldest = slot;
    }
    if (oldest < 0) return;
    t.ring.takeOver(oldest, COOKIE_RECEIVE);
    store<u32>(t.order + (<usize>((t.first + t.receiving) & (RECEIVES - 1)) << 2), oldest);
    t.receiving++;
  }
}

// ---- serial side ------------------------------------------------------------------------------------------------------------------------

/** Everything the uart has answered. Keeps a full channel buffer in its slot while the readers have no room for it. */
function collect(t: Terminal, n: u32): void {
  for (let slot: u32 = 0; t.sending > 0 && slot < RING_SLOTS; slot++) {
    if (!t.ring.isDone(slot) || t.ring.slot(slot).cookie != COOKIE_TRANSMIT) continue;
    t.sending--;
    t.ring.release(slot);
  }
  while (t.receiving > 0) {
    const slot = load<u32>(t.order + (<usize>(t.first & (RECEIVES - 1)) << 2));
    if (!t.ring.isDone(slot)) return;
    const s = t.ring.slot(slot);
    const bytes = s.status == 0 ? min(s.r0, SERIAL_BUFFER_BYTES) : 0; // an allegation of the driver
    if (n == CHANNEL && D.readyRoom(t.line) < bytes) return;
    t.lineErrors |= s.r1;
    const at = t.ring.data + slot * SERIAL_BUFFER_BYTES;
    for (let i: u32 = 0; i < bytes; i++) {
      const byte = <u32>load<u8>(at + i);
      if (n == CHANNEL) D.frameInput(t.frames, t.line, byte); else D.input(t.line, byte);
    }
    t.first++;
    t.receiving--;
    t.ring.release(slot);
  }
}

/** Posts output and empty buffers; rings the uart once. */
function feed(t: Terminal): void {
  let posted = false;
  while (t.receiving < RECEIVES) {
    const slot = t.ring.claim(SERIAL_RECEIVE, 0);
    if (slot < 0) break;
    t.ring.arg(slot, 0, <u32>slot * SERIAL_BUFFER_BYTES);
    t.ring.arg(slot, 1, SERIAL_BUFFER_BYTES);
    t.ring.slot(slot).cookie = COOKIE_RECEIVE;
    t.ring.post(slot);
    store<u32>(t.order + (<usize>((t.first + t.receiving) & (RECEIVES - 1)) << 2), slot);
    t.receiving++;
    posted = true;
  }
  while (t.line.outputCount > 0 && t.sending < TRANSMITS) {
    const slot = t.ring.claim(SERIAL_TRANSMIT, 0);
    if (slot < 0) break;
    const bytes = D.outputTake(t.line, t.ring.data + <u32>slot * SERIAL_BUFFER_BYTES, SERIAL_BUFFER_BYTES);
    t.ring.arg(slot, 0, <u32>slot * SERIAL_BUFFER_BYTES);
    t.ring.arg(slot, 1, bytes);
    t.ring.slot(slot).cookie = COOKIE_TRANSMIT;
    t.ring.post(slot);
    t.sending++;
    posted = true;
  }
  if (posted) t.ring.knock();
}

// ---- requests ---------------------------------------------------------------------------------------------------------------------------

function answer(request: Request, status: i32, r0: u32, r1: u32): void {
  worker.complete(request.slot, status, r0, r1, 0, 0);
  answered = true;
}
function park(queue: Link, request: Request): void {
  const p = changetype<Parked>(idle.next); // never empty: as many records as slots
  remove(p);
  memory.copy(p.request, changetype<usize>(request), offsetof<Request>());
  p.progress = 0;
  append(queue, p);
}
function settle(p: Parked, status: i32, r0: u32, r1: u32): void {
  answer(requestOf(p), status, r0, r1);
  remove(p);
  append(idle, p);
}

function takeRequests(): void {
  while (worker.next(fresh)) {
    const r = fresh;
    if (r.op == TTY_CANCEL) { cancel(r.a0); answer(r, 0, 0, 0); continue; }
    if (r.a0 >= LINES) { answer(r, ENXIO, 0, 0); continue; }
    const t = terminal(r.a0);
    switch (r.op) {
      case TTY_READ:
        if (r.a2 == 0 || !inRange(r.a1, r.a2, worker.dataBytes)) answer(r, EINVAL, 0, 0); else park(t.reads, r);
        break;
      case TTY_WRITE:
        if (!inRange(r.a2, r.a3, worker.dataBytes)) answer(r, EINVAL, 0, 0); else park(t.writes, r);
        break;
      case TTY_SIGNAL: park(t.signals, r); break;
      case TTY_CONTROL: control(t, r); break;
      default: answer(r, ENOSYS, 0, 0);
    }
  }
}

const MODE_SET: u32 = 1, MODE_GET: u32 = 2, FOREGROUND: u32 = 3, EXIT_FRAME: u32 = 4, DRAIN: u32 = 5;
const STATUS: usize = memory.data(4, 4);

function control(t: Terminal, r: Request): void {
  switch (r.a1) {
    case MODE_SET: D.setMode(t.line, r.a2); answer(r, 0, t.line.mode, 0); return;
    case MODE_GET: answer(r, 0, t.line.mode, 0); return;
    case FOREGROUND: t.foreground = r.a2; answer(r, 0, r.a2, 0); return;
    case EXIT_FRAME: case DRAIN: park(r.a1 == DRAIN ? t.drains : t.writes, r); return;
  }
  answer(r, EINVAL, 0, 0);
}

/** Ends the parked request with this id, wherever it waits; what it had done stays done. */
function cancel(id: u32): void {
  for (let n: u32 = 0; n < LINES; n++) {
    const t = terminal(n);
    if (cancelIn(t.reads, id) || cancelIn(t.writes, id) || cancelIn(t.drains, id) || cancelIn(t.signals, id)) return;
  }
}
function cancelIn(queue: Link, id: u32): bool {
  for (let l = queue.next; changetype<usize>(l) != changetype<usize>(queue); l = l.next) {
    const p = changetype<Parked>(l);
    if (requestOf(p).id != id) continue;
    if (p.progress > 0) settle(p, 0, p.progress, 0); else settle(p, EINTR, 0, 0);
    return true;
  }
  return false;
}

/** Lets everything parked on a line go as far as it can. */
function serve(t: Terminal, n: u32): void {
  feed(t);
  while (!isEmpty(t.writes)) {
    const p = changetype<Parked>(t.writes.next), r = requestOf(p);
    const whole = r.op == TTY_CONTROL ? exitFrame(t, r) : n == CHANNEL ? frame(t, p) : text(t, p);
    feed(t);
    if (!whole) break;
    settle(p, 0, r.op == TTY_CONTROL ? 0 : r.a3, 0);
  }
  while (!isEmpty(t.reads) && D.readable(t.line)) {
    const p = changetype<Parked>(t.reads.next), r = requestOf(p);
    settle(p, 0, D.read(t.line, worker.data + r.a1, r.a2), 0);
    collect(t, n); // there is room for what was kept back
  }
  feed(t);
  if (!isEmpty(t.signals)) {
    const signal = D.takeSignal(t.line);
    if (signal) settle(changetype<Parked>(t.signals.next), 0, signal, t.foreground);
  }
  while (!isEmpty(t.drains) && t.line.outputCount == 0 && t.sending == 0) settle(changetype<Parked>(t.drains.next), 0, 0, 0);
}

/** Each returns whether the whole request is in the output queue. */
function text(t: Terminal, p: Parked): bool {
  const r = requestOf(p);
  p.progress += D.outputWrite(t.line, worker.data + r.a2 + p.progress, r.a3 - p.progress);
  return p.progress == r.a3;
}
function frame(t: Terminal, p: Parked): bool {
  const r = requestOf(p);
  while (p.progress < r.a3) {
    const room = D.outputRoom(t.line);
    if (room <= CHANNEL_HEADER) return false;
    const bytes = min(min(r.a3 - p.progress, room - CHANNEL_HEADER), CHANNEL_MAX_PAYLOAD);
    D.frameOutput(t.line, CHANNEL_TO_HOST_OUTPUT, r.a1, worker.data + r.a2 + p.progress, bytes);
    p.progress += bytes;
  }
  return true;
}
function exitFrame(t: Terminal, r: Request): bool {
  if (D.outputRoom(t.line) < CHANNEL_HEADER + 4) return false;
  store<u32>(STATUS, r.a2);
  D.frameOutput(t.line, CHANNEL_TO_HOST_EXIT, 0, STATUS, 4);
  return true;
}
