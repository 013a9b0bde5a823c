/**
 * tty: the console (line 0, with the line discipline) and the host channel (line 1, frames). Worker of process's TTY ring, owner of the
 * SERIAL rings to both uarts. Event driven without fibers: a request that cannot be answered now is parked on its line, and every event (bytes from a
 * uart, room in an output queue, a new request) lets the parked ones try again, in order.
 *
 * Per line: `reads`, `writes` and `drains` wait for input, output room, an empty output; `signals` wait for ^C, `watches` for input that nobody takes. A write goes piece by piece into
 * entries for the uart and is answered when all of it is in there, so that output of one request never mixes with another's. Only echo is queued here.
 *
 * Serial rings: slot s owns buffer s of the shared area. RECEIVES empty buffers are always posted, unless the readers of the channel are behind:
 * then the full ones are kept (the host waits). At most TRANSMITS entries carry output.
 *
 * Death and successor (nothing is lost or repeated but echo, and what the uart driver loses with its own death):
 *   - output: every TRANSMIT entry carries as key {id of the write at work, bytes of it that are out with this entry}. One store posts both, so the last
 *     entry posted tells a successor where to go on. keySub = the seq under which it is posted first, which tells it from one that was only claimed.
 *   - input: state.ts. Buffers that the uart filled and nobody consumed are found by their ids.
 */
import {
  CHANNEL_HEADER, CHANNEL_TO_HOST_EXIT, CHANNEL_TO_HOST_OUTPUT, CHANNEL_TO_HOST_READY, RING_REQUEST_ENTRY_KEY_SEQ, RING_REQUEST_ENTRY_KEY_SERIAL, RING_REQUEST_ENTRY_KEY_SUB, RING_SLOTS, SERIAL_BUFFER_BYTES, SERIAL_RECEIVE, SERIAL_TRANSMIT, SERVERS_TTY,
  TTY_CANCEL, TTY_CONTROL, TTY_READ, TTY_SIGNAL, TTY_WATCH, TTY_WRITE,
} from 'kintsugi/protocols';
import { serverInit, serverLoop } from '../lib/server';
import { ownEpoch, ready } from '../lib/startup';
import { line } from '../lib/fmt';
import * as log from '../lib/log';
import { Request, RingOwner, RingWorker, ringOwner, ringWorker } from '../lib/ring';
import { inRange } from '../lib/mem';
import { mustAlloc } from '../lib/alloc';
import { Link, append, isEmpty, linkInit, remove } from '../lib/list';
import * as D from './discipline';
import { Kept, answer as lastAnswer, attach, save } from './state';

const LINES: u32 = 2;
const CHANNEL: u32 = 1;
const RECEIVES: u32 = 8; // a power of two
const TRANSMITS: u32 = 16;
const COOKIE_RECEIVE: u32 = 1;
const COOKIE_TRANSMIT: u32 = 2;

const EINTR: i32 = -4, EIO: i32 = -5, ENXIO: i32 = -6, EINVAL: i32 = -22, ENOSYS: i32 = -38;

/** A parked request. */
@unmanaged @final class Parked extends Link { request: usize; progress: u32; begun: bool }
function requestOf(p: Parked): Request { return changetype<Request>(p.request); }

@unmanaged @final class Terminal {
  kept: Kept; line: D.Line; ring: RingOwner;
  reads: Link; writes: Link; drains: Link; signals: Link; watches: Link;
  workId: u32; workProgress: u32; // the write at work, or the last one, and how far it is posted
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
    D.lineInit(t.line, mustAlloc(D.LINE_MEMORY));
    t.kept = changetype<Kept>(mustAlloc(offsetof<Kept>()));
    t.kept.line = t.line;
    t.kept.frames = changetype<D.Frames>(mustAlloc(offsetof<D.Frames>()));
    t.reads = newLink(); t.writes = newLink(); t.drains = newLink(); t.signals = newLink(); t.watches = newLink();
    t.order = mustAlloc(RECEIVES * 4);
    t.ring = ringOwner(1 + n);
  }
  D.setMode(terminal(CHANNEL).line, 0);
  const taken = attach(terminal(0).kept, terminal(1).kept);
  for (let n: u32 = 0; n < LINES; n++) adoptBuffers(terminal(n), taken);
  if (!adoptOutput(terminal(CHANNEL))) D.frameOutput(terminal(CHANNEL).line, CHANNEL_TO_HOST_READY, 0, 0, 0); // never into the middle of a predecessor's output
  adoptOutput(terminal(0));
  if (ownEpoch() != 1) log.info(line().lit(taken ? 'taken over' : 'started empty: both records are damaged'));
  worker = ringWorker(0);
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

/**
 * Buffers that a predecessor posted are this tty's, filled or not, in the order of their ids, which is the order in which the uart fills them. Those up
 * to `received` were consumed. Without a state (`taken` false) nobody knows: what is filled already counts as consumed.
 */
function adoptBuffers(t: Terminal, taken: bool): void {
  if (!taken) for (let slot: u32 = 0; slot < RING_SLOTS; slot++) {
    if (t.ring.op(slot) == SERIAL_RECEIVE && t.ring.wasAnswered(slot) && <i32>(t.ring.id(slot) - t.kept.received) > 0) t.kept.received = t.ring.id(slot);
  }
  while (t.receiving < RECEIVES) {
    let oldest: i32 = -1;
    for (let slot: u32 = 0; slot < RING_SLOTS; slot++) {
      if (t.ring.op(slot) != SERIAL_RECEIVE || !t.ring.inherits(slot) || !wasPosted(t, slot) || <i32>(t.ring.id(slot) - t.kept.received) <= 0) continue;
      if (oldest < 0 || <i32>(t.ring.id(slot) - t.ring.id(oldest)) < 0) oldest = slot;
    }
    if (oldest < 0) return;
    t.ring.takeOver(oldest, COOKIE_RECEIVE);
    store<u32>(t.order + (<usize>((t.first + t.receiving) & (RECEIVES - 1)) << 2), oldest);
    t.receiving++;
  }
}
/** How far the predecessor was with its output. False: there never was any. */
function adoptOutput(t: Terminal): bool {
  let last: i32 = -1;
  for (let slot: u32 = 0; slot < RING_SLOTS; slot++) {
    if (t.ring.op(slot) == SERIAL_TRANSMIT && wasPosted(t, slot) && (last < 0 || <i32>(t.ring.id(slot) - t.ring.id(last)) > 0)) last = slot;
  }
  if (last < 0) return false;
  const e = t.ring.entry(last);
  t.workId = load<u32>(e, RING_REQUEST_ENTRY_KEY_SERIAL);
  t.workProgress = load<u32>(e, RING_REQUEST_ENTRY_KEY_SEQ);
  return true;
}
function wasPosted(t: Terminal, slot: u32): bool { const first = load<u32>(t.ring.entry(slot), RING_REQUEST_ENTRY_KEY_SUB); return first != 0 && t.ring.postedSince(slot, first); }
/** Posts a claimed slot under the mark of `wasPosted`. */
function post(t: Terminal, slot: u32): void {
  t.ring.key(slot, 0, t.workId, t.workProgress, t.ring.firstSeq(slot));
  t.ring.post(slot);
}
function saveAll(): void { save(terminal(0).kept, terminal(1).kept); }

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
      if (n == CHANNEL) D.frameInput(t.kept.frames, t.line, byte); else D.input(t.line, byte);
    }
    t.kept.received = t.ring.id(slot);
    saveAll();
    t.first++;
    t.receiving--;
    t.ring.release(slot);
  }
}

/** Posts echo and empty buffers; rings the uart once. Of a uart that was given up nothing is expected any more. */
function feed(t: Terminal): void {
  let posted = false;
  while (t.receiving < RECEIVES && !t.ring.failed) {
    const slot = t.ring.claim(SERIAL_RECEIVE, 0);
    if (slot < 0) break;
    t.ring.arg(slot, 0, <u32>slot * SERIAL_BUFFER_BYTES);
    t.ring.arg(slot, 1, SERIAL_BUFFER_BYTES);
    t.ring.slot(slot).cookie = COOKIE_RECEIVE;
    post(t, slot);
    store<u32>(t.order + (<usize>((t.first + t.receiving) & (RECEIVES - 1)) << 2), slot);
    t.receiving++;
    posted = true;
  }
  while (t.line.outputCount > 0) {
    const slot = transmitSlot(t);
    if (slot < 0) break;
    transmit(t, slot, D.outputTake(t.line, buffer(t, slot), SERIAL_BUFFER_BYTES));
    posted = true;
  }
  if (posted) t.ring.knock();
}
/** A claimed slot for output, -1 when as much as may be is under way. */
function transmitSlot(t: Terminal): i32 { return t.sending < TRANSMITS ? t.ring.claim(SERIAL_TRANSMIT, 0) : -1; }
function buffer(t: Terminal, slot: u32): usize { return t.ring.data + slot * SERIAL_BUFFER_BYTES; }
function transmit(t: Terminal, slot: u32, bytes: u32): void {
  t.ring.arg(slot, 0, slot * SERIAL_BUFFER_BYTES);
  t.ring.arg(slot, 1, bytes);
  t.ring.slot(slot).cookie = COOKIE_TRANSMIT;
  post(t, slot);
  t.sending++;
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
  p.begun = false;
  append(queue, p);
}
/** An answer that consumes input: saved before it is given. */
function settleSaved(p: Parked, status: i32, r0: u32, r1: u32): void {
  lastAnswer.id = requestOf(p).id; lastAnswer.status = status; lastAnswer.r0 = r0; lastAnswer.r1 = r1;
  saveAll();
  settle(p, status, r0, r1);
}
function settle(p: Parked, status: i32, r0: u32, r1: u32): void {
  answer(requestOf(p), status, r0, r1);
  remove(p);
  append(idle, p);
}

function takeRequests(): void {
  while (worker.next(fresh)) {
    const r = fresh;
    if (r.id == lastAnswer.id) { answer(r, lastAnswer.status, lastAnswer.r0, lastAnswer.r1); continue; } // a predecessor died between saving and giving it
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
      case TTY_WATCH: park(t.watches, r); break;
      case TTY_CONTROL: control(t, r); break;
      default: answer(r, ENOSYS, 0, 0);
    }
  }
}

const MODE_SET: u32 = 1, MODE_GET: u32 = 2, FOREGROUND: u32 = 3, EXIT_FRAME: u32 = 4, DRAIN: u32 = 5;
const STATUS: usize = memory.data(4, 4);

function control(t: Terminal, r: Request): void {
  switch (r.a1) {
    case MODE_SET: D.setMode(t.line, r.a2); saveAll(); answer(r, 0, t.line.mode, 0); return;
    case MODE_GET: answer(r, 0, t.line.mode, 0); return;
    case FOREGROUND: t.kept.foreground = r.a2; saveAll(); answer(r, 0, r.a2, 0); return;
    case EXIT_FRAME: case DRAIN: park(r.a1 == DRAIN ? t.drains : t.writes, r); return;
  }
  answer(r, EINVAL, 0, 0);
}

/** Ends the parked request with this id, wherever it waits; what it had done stays done. */
function cancel(id: u32): void {
  for (let n: u32 = 0; n < LINES; n++) {
    const t = terminal(n);
    if (cancelIn(t.reads, id) || cancelIn(t.writes, id) || cancelIn(t.drains, id) || cancelIn(t.signals, id) || cancelIn(t.watches, id)) return;
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

/** The line is dead. */
function refuse(queue: Link): void { while (!isEmpty(queue)) settle(changetype<Parked>(queue.next), EIO, 0, 0); }

/** Lets everything parked on a line go as far as it can. */
function serve(t: Terminal, n: u32): void {
  feed(t);
  if (t.ring.failed) { refuse(t.writes); refuse(t.reads); refuse(t.watches); }
  while (!isEmpty(t.writes) && t.line.outputCount == 0) {
    const p = changetype<Parked>(t.writes.next), r = requestOf(p);
    if (!work(t, n, p)) break;
    settle(p, 0, r.op == TTY_CONTROL ? 0 : r.a3, 0);
  }
  while (!isEmpty(t.reads) && D.readable(t.line)) {
    const p = changetype<Parked>(t.reads.next), r = requestOf(p);
    settleSaved(p, 0, D.read(t.line, worker.data + r.a1, r.a2), 0);
    collect(t, n); // there is room for what was kept back
  }
  while (!isEmpty(t.watches) && D.readable(t.line)) settle(changetype<Parked>(t.watches.next), 0, 0, 0);
  feed(t);
  if (!isEmpty(t.signals)) {
    const signal = D.takeSignal(t.line);
    if (signal) settleSaved(changetype<Parked>(t.signals.next), 0, signal, t.kept.foreground);
  }
  while (!isEmpty(t.drains) && t.line.outputCount == 0 && t.sending == 0 && t.ring.orphans == 0) settle(changetype<Parked>(t.drains.next), 0, 0, 0);
}

/** The write or exit frame in front: posts as much of it as there are entries for; true when all of it is posted. */
function work(t: Terminal, n: u32, p: Parked): bool {
  const r = requestOf(p), total: u32 = r.op == TTY_CONTROL ? 1 : r.a3;
  if (!p.begun) {
    p.begun = true;
    if (t.workId == r.id) p.progress = min(t.workProgress, total); // a predecessor had begun it
    t.workId = r.id; t.workProgress = p.progress;
  }
  let posted = false;
  while (p.progress < total) {
    const slot = transmitSlot(t);
    if (slot < 0) break;
    const to = buffer(t, slot), from = worker.data + r.a2 + p.progress;
    let bytes: u32 = 0;
    if (r.op == TTY_CONTROL) {
      store<u32>(STATUS, r.a2);
      bytes = frame(to, CHANNEL_TO_HOST_EXIT, 0, STATUS, 4);
      p.progress = 1;
    } else if (n == CHANNEL) { // a frame to an entry
      const part = min(total - p.progress, SERIAL_BUFFER_BYTES - CHANNEL_HEADER);
      bytes = frame(to, CHANNEL_TO_HOST_OUTPUT, r.a1, from, part);
      p.progress += part;
    } else {
      p.progress += D.outputWrite(t.line, from, total - p.progress, to, SERIAL_BUFFER_BYTES);
      bytes = D.writtenBytes();
    }
    t.workProgress = p.progress;
    transmit(t, slot, bytes);
    posted = true;
  }
  if (posted) t.ring.knock();
  return p.progress == total;
}
function frame(to: usize, type: u32, stream: u32, from: usize, bytes: u32): u32 {
  store<u32>(to, type | stream << 8 | bytes << 16);
  memory.copy(to + CHANNEL_HEADER, from, bytes);
  return bytes + CHANNEL_HEADER;
}
