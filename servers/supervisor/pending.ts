/**
 * What is pending at a server, seen from outside: the rings it works, in the supervisor's own mapping. Everything read here is an allegation of one
 * of the two sides and only steers what the supervisor does to that side.
 *
 * The decision for each entry that a dead worker had taken and not answered (`decide`):
 *   - worker given up for good           -> gone: by the owner itself, on the mark `failed`
 *   - it ran at two deaths               -> poison, written by the supervisor in the place of the dead worker
 *   - worker with a journal, or READONLY -> again: posted again by the owner when the next epoch attaches (servers/lib/ring.ts); the worker takes them in
 *                                           the order of their ids and answers a key that was committed before with the stored reply
 *   - else                               -> restart, with the new epoch: nobody knows how far it came
 * (A worker has a journal when it can tell what it did before: all present ones; NO_JOURNAL in the manifest says otherwise.)
 *
 * Hangs: an entry that is not taken, or taken and not answered, for `boundNs` of its ring. Operations that wait for the outside world are exempt. Servers
 * that spin are found by their run time, and those that starve by them are excused (busy.ts).
 *
 * Strikes (in the journal, 16 bytes each): {ring + 1, id, strikes, generation of the last death}. Only a request that ran at the very moment of a death
 * gets one; the oldest record goes when there is no room, so a request can at worst get more chances.
 */
import { barrier } from 'kintsugi/x86';
import { ERR_OK } from 'kintsugi/abi';
import {
  RING_SLOTS, RING_REQUEST_HEADER_SIZE, RING_REQUEST_HEADER_HEAD, RING_REQUEST_HEADER_REPOSTED, RING_REQUEST_ENTRY_SEQ, RING_REQUEST_ENTRY_ID, RING_REQUEST_ENTRY_OP, RING_REQUEST_ENTRY_FLAGS, RING_REQUEST_ENTRY_SIZE,
  RING_STATUS_HEADER_SIZE, RING_STATUS_HEADER_TAKEN, RING_STATUS_HEADER_DONE, RING_STATUS_HEADER_RUNNING, RING_STATUS_HEADER_FAILED, RING_STATUS_ENTRY_SEQ, RING_STATUS_ENTRY_STATE,
  RING_STATUS_ENTRY_EPOCH, RING_STATUS_ENTRY_STATUS, RING_STATUS_ENTRY_R0, RING_STATUS_ENTRY_R1, RING_STATUS_ENTRY_R2, RING_STATUS_ENTRY_R3, RING_STATUS_ENTRY_GUARD,
  RING_STATUS_ENTRY_SIZE, RING_STATE_TAKEN, RING_STATE_DONE, RING_POISON, RING_RESTART, RING_FLAGS_READONLY,
} from 'kintsugi/protocols';
import * as sys from '../lib/sys';
import { line } from '../lib/fmt';
import { statusGuard } from '../lib/guard';
import { print } from '../lib/console';
import { ownSpace } from '../lib/startup';
import { Server, ringAt, ringCount, MAX_RINGS, NO_JOURNAL, STATE_UP, STRIKES_AT } from './tables';
import { journalAt } from './journal';
import { starves } from './busy';

const VIEW: usize = 0x63000000;
const STRIDE: usize = 0x4000;
const STATUS: usize = 0x2000;
const STRIKES: u32 = 64;
const STRIKE: usize = 16;
const DEADLY: u32 = 2;
/** How often `overdue` looks: a quarter of the shortest bound, at most every second. */
export function watchNs(): u64 {
  let least: u64 = 4_000_000_000;
  for (let n: u32 = 0; n < ringCount(); n++) if (ringAt(n).boundNs < least) least = ringAt(n).boundNs;
  return least >> 2;
}
const ORDINARY_MS: u64 = 5000;
/**
 * `hang=MS` on the command line, for experiments: MS stands in the place of the ordinary 5 s, and longer bounds keep their ratio to it. A server
 * that waits for another must not be late before that one is.
 */
export function setBounds(ms: u32): void { for (let n: u32 = 0; n < ringCount(); n++) ringAt(n).boundNs = ringAt(n).boundNs * <u64>ms / ORDINARY_MS; }

/** Maps all rings; once for each supervisor. */
export function viewRings(): bool {
  for (let n: u32 = 0; n < ringCount(); n++) {
    const r = ringAt(n), at = VIEW + <usize>n * STRIDE;
    if (sys.map(ownSpace, r.requestFrames, at, 0, 2, sys.MAP_READ) != ERR_OK) return false;
    if (sys.map(ownSpace, r.statusFrames, at + STATUS, 0, 1, sys.MAP_READ | sys.MAP_WRITE) != ERR_OK) return false;
  }
  return true;
}
function statusOf(ring: u32): usize { return VIEW + <usize>ring * STRIDE + STATUS; }
function entryOf(ring: u32, slot: u32): usize { return VIEW + <usize>ring * STRIDE + RING_REQUEST_HEADER_SIZE + <usize>slot * RING_REQUEST_ENTRY_SIZE; }
function answerOf(ring: u32, slot: u32): usize { return statusOf(ring) + RING_STATUS_HEADER_SIZE + <usize>slot * RING_STATUS_ENTRY_SIZE; }
function works(ring: u32, s: Server): bool { return changetype<usize>(ringAt(ring).worker) == changetype<usize>(s); }
/** Bit of an operation in the masks of a ring. */
function bitOf(op: u32): u32 { return op < 32 ? <u32>1 << op : 0; }
function isTaken(ring: u32, slot: u32): bool {
  const a = answerOf(ring, slot), seq = load<u32>(a, RING_STATUS_ENTRY_SEQ);
  return load<u32>(a, RING_STATUS_ENTRY_STATE) == RING_STATE_TAKEN && seq != 0 && seq == load<u32>(entryOf(ring, slot), RING_REQUEST_ENTRY_SEQ);
}

/** A request is in service: taken by this incarnation, not answered, and not one that waits for the outside world. */
export function inService(s: Server): bool {
  for (let n: u32 = 0; n < ringCount(); n++) {
    if (!works(n, s)) continue;
    for (let k: u32 = 0; k < RING_SLOTS; k++) {
      if (!isTaken(n, k) || load<u32>(answerOf(n, k), RING_STATUS_ENTRY_EPOCH) != s.epoch) continue;
      if ((bitOf(load<u32>(entryOf(n, k), RING_REQUEST_ENTRY_OP)) & ringAt(n).waiting) == 0) return true;
    }
  }
  return false;
}
/** Entries posted again since boot, all rings. */
export function redelivered(): u32 {
  let sum: u32 = 0;
  for (let n: u32 = 0; n < ringCount(); n++) sum += load<u32>(VIEW + <usize>n * STRIDE, RING_REQUEST_HEADER_REPOSTED);
  return sum;
}

// ---- decisions ---------------------------------------------------------------------------------------------------------------------------

export const AGAIN: u32 = 0;
export const RESTARTED: u32 = 1;
export const POISONED: u32 = 2;
export const GONE: u32 = 3;
/** What becomes of an entry that was taken and not answered. */
export function decide(comesBack: bool, strikes: u32, journal: bool, readonly: bool): u32 {
  if (!comesBack) return GONE;
  if (strikes >= DEADLY) return POISONED;
  return journal || readonly ? AGAIN : RESTARTED;
}
/**
 * A server is dead and stopped: decides for each entry it had taken. `guilty`: by its own doing, so the request it was running gets a strike.
 * Doing it twice for one death (a supervisor that died in between) is doing it once.
 */
export function settlePending(s: Server, guilty: bool, comesBack: bool): void {
  for (let n: u32 = 0; n < ringCount(); n++) {
    if (!works(n, s)) continue;
    const running = load<u32>(statusOf(n), RING_STATUS_HEADER_RUNNING) - 1;
    let answered = false;
    for (let k: u32 = 0; k < RING_SLOTS; k++) {
      if (!isTaken(n, k) || load<u32>(answerOf(n, k), RING_STATUS_ENTRY_EPOCH) != s.epoch) continue;
      const e = entryOf(n, k);
      const strikes: u32 = guilty && k == running ? strikesOf(n, load<u32>(e, RING_REQUEST_ENTRY_ID), s.generation) : 0;
      const what = decide(comesBack, strikes, (s.flags & NO_JOURNAL) == 0, (load<u32>(e, RING_REQUEST_ENTRY_FLAGS) & RING_FLAGS_READONLY) != 0);
      if (what == POISONED) {
        answerFor(n, k, RING_POISON, 0);
        answered = true;
        print(line().str(s.name).lit(': operation ').dec(load<u32>(e, RING_REQUEST_ENTRY_OP)).lit(' of ').str(ringAt(n).owner.name).lit(' is poison: it ran at two deaths, refused'));
      } else if (what == RESTARTED) { answerFor(n, k, RING_RESTART, s.epoch + 1); answered = true; }
    }
    if (answered) sys.notify(ringAt(n).owner.notify, <u32>1 << ringAt(n).ownerLocal);
  }
  if (!comesBack) abandonRings(s);
}
/** Counts one for this death. Again for the same death (a supervisor that died in between) it counts nothing. */
function strikesOf(ring: u32, id: u32, generation: u32): u32 {
  let p: usize = 0, oldest: u32 = 0xffffffff;
  for (let n: u32 = 0; n < STRIKES; n++) {
    const at = journalAt(STRIKES_AT + <usize>n * STRIKE);
    if (load<u32>(at) == ring + 1 && load<u32>(at, 4) == id) { p = at; break; }
    const age: u32 = load<u32>(at) == 0 ? 0 : load<u32>(at, 12) + 1;
    if (age < oldest) { oldest = age; p = at; }
  }
  if (load<u32>(p) != ring + 1 || load<u32>(p, 4) != id) {
    store<u32>(p, 0, 8); store<u32>(p, 0, 12);
    store<u32>(p, id, 4);
    barrier();
    store<u32>(p, ring + 1);
  }
  if (load<u32>(p, 12) != generation) {
    store<u32>(p, load<u32>(p, 8) + 1, 8);
    store<u32>(p, generation, 12);
  }
  return load<u32>(p, 8);
}
/** Answers in the place of the dead worker. */
function answerFor(ring: u32, slot: u32, answer: u32, r0: u32): void {
  const a = answerOf(ring, slot), status = statusOf(ring);
  store<u32>(a, answer, RING_STATUS_ENTRY_STATUS);
  store<u32>(a, r0, RING_STATUS_ENTRY_R0); store<u32>(a, 0, RING_STATUS_ENTRY_R1); store<u32>(a, 0, RING_STATUS_ENTRY_R2); store<u32>(a, 0, RING_STATUS_ENTRY_R3);
  store<u32>(a, statusGuard(slot, load<u32>(a, RING_STATUS_ENTRY_SEQ), <i32>answer, r0, 0, 0, 0), RING_STATUS_ENTRY_GUARD);
  barrier();
  store<u32>(a, RING_STATE_DONE, RING_STATUS_ENTRY_STATE);
  barrier();
  store<u32>(status, load<u32>(status, RING_STATUS_HEADER_DONE) + 1, RING_STATUS_HEADER_DONE);
  barrier();
}
/** The server has no device: whoever posts to it will be told so at once. */
export function neverComes(s: Server): void { for (let n: u32 = 0; n < ringCount(); n++) if (works(n, s)) store<u32>(statusOf(n), 1, RING_STATUS_HEADER_FAILED); }
/** The server will not come back: its clients learn it. */
function abandonRings(s: Server): void {
  for (let n: u32 = 0; n < ringCount(); n++) {
    if (!works(n, s)) continue;
    store<u32>(statusOf(n), 1, RING_STATUS_HEADER_FAILED);
    barrier();
    sys.notify(ringAt(n).owner.notify, <u32>1 << ringAt(n).ownerLocal);
  }
}

// ---- hangs ----------------------------------------------------------------------------------------------------------------------------

const SEEN: usize = memory.data(8192, 4); // MAX_RINGS x RING_SLOTS x {seq, ms of the first look}
/** The shortest bound of the rings a server works, ns; 0: it works none. */
export function boundOf(s: Server): u64 {
  let least: u64 = 0;
  for (let n: u32 = 0; n < ringCount(); n++) if (works(n, s) && (least == 0 || ringAt(n).boundNs < least)) least = ringAt(n).boundNs;
  return least;
}
/** Changes whenever the server takes, answers or posts an entry. */
export function movesOf(s: Server): u32 {
  let moves: u32 = 0;
  for (let n: u32 = 0; n < ringCount(); n++) {
    if (works(n, s)) moves += load<u32>(statusOf(n), RING_STATUS_HEADER_TAKEN) + load<u32>(statusOf(n), RING_STATUS_HEADER_DONE);
    else if (changetype<usize>(ringAt(n).owner) == changetype<usize>(s)) moves += load<u32>(VIEW + <usize>n * STRIDE, RING_REQUEST_HEADER_HEAD);
  }
  return moves;
}
/** A server that is late with an answer, null when none is. `now` in ns. Called after `spinning` has looked. */
export function overdue(now: u64): Server {
  assert(MAX_RINGS * RING_SLOTS * 8 <= 8192);
  const ms = <u32>(now / 1_000_000);
  for (let n: u32 = 0; n < ringCount(); n++) {
    const r = ringAt(n), bound = <u32>(r.boundNs / 1_000_000);
    for (let k: u32 = 0; k < RING_SLOTS; k++) {
      const seen = SEEN + (<usize>(n * RING_SLOTS + k) << 3), e = entryOf(n, k), a = answerOf(n, k);
      const seq = load<u32>(e, RING_REQUEST_ENTRY_SEQ), taken = seq == load<u32>(a, RING_STATUS_ENTRY_SEQ);
      if (r.worker.state_ != STATE_UP || (taken && (seq == 0 || load<u32>(a, RING_STATUS_ENTRY_STATE) == RING_STATE_DONE))) { store<u32>(seen, 0); continue; }
      if (taken && ((r.waiting | r.blocking) & bitOf(load<u32>(e, RING_REQUEST_ENTRY_OP))) != 0) { store<u32>(seen, 0); continue; }
      if (load<u32>(seen) != seq) { store<u32>(seen, seq); store<u32>(seen, ms, 4); continue; }
      if (ms - load<u32>(seen, 4) < bound || starves(r.worker)) continue;
      print(line().str(r.worker.name).lit(' is late: operation ').dec(load<u32>(e, RING_REQUEST_ENTRY_OP)).lit(' of ').str(r.owner.name).lit(taken ? ' taken ' : ' waiting ').dec(ms - load<u32>(seen, 4)).lit(' ms ago'));
      return r.worker;
    }
  }
  return changetype<Server>(0);
}
/** A server's death is everybody's excuse: those who wait for it start anew. */
export function forgiveAll(): void { memory.fill(SEEN, 0, 8192); }
