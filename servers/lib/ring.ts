/**
 * Rings between servers (servers/protocols/ring.ts): the owner posts requests, the worker takes and completes them.
 *
 * Trust: each side writes one half and reads the other; what it reads is an allegation. The owner copies a status once and believes it only
 * when the slot is in flight, the sequence number is the one it posted, the state is `done` and the epoch is not from the future; the
 * worker copies a request once into private memory (`Request`) and checks every argument there. Nobody spins, nobody blocks in here: the
 * fiber forms (`RingOwner.call`, `serve`) block the fiber only.
 *
 * Death of the worker: its successor announces its epoch in the status header and rings. The owner posts every entry taken by another epoch
 * again (same id and key, next seq) and counts it in `reposted`; entries done by the dead one stay done.
 * Death of the worker for good: the supervisor marks the status half failed and every entry, present and future, is answered RING_GONE.
 * A request that killed two workers is answered RING_POISON by the supervisor, one that nobody knows how far it came RING_RESTART.
 * Death of the owner: the successor adopts what is in flight as orphans, whose results are dropped; `waitOrphans` before memory that they
 * may still write to is used again.
 */
import {
  RING_MAGIC, RING_SLOTS, RING_REQUEST_HEADER_MAGIC, RING_REQUEST_HEADER_VERSION, RING_REQUEST_HEADER_SLOTS, RING_REQUEST_HEADER_HEAD, RING_REQUEST_HEADER_EPOCH,
  RING_REQUEST_HEADER_DATA_BYTES, RING_REQUEST_HEADER_REPOSTED, RING_REQUEST_HEADER_SIZE, RING_REQUEST_ENTRY_SEQ, RING_REQUEST_ENTRY_ID, RING_REQUEST_ENTRY_OP,
  RING_REQUEST_ENTRY_FLAGS, RING_REQUEST_ENTRY_KEY_BADGE, RING_REQUEST_ENTRY_KEY_SERIAL, RING_REQUEST_ENTRY_KEY_SEQ, RING_REQUEST_ENTRY_KEY_SUB,
  RING_REQUEST_ENTRY_A0, RING_REQUEST_ENTRY_A1, RING_REQUEST_ENTRY_A2, RING_REQUEST_ENTRY_A3, RING_REQUEST_ENTRY_A4, RING_REQUEST_ENTRY_A5, RING_REQUEST_ENTRY_SIZE,
  RING_STATUS_HEADER_MAGIC, RING_STATUS_HEADER_VERSION, RING_STATUS_HEADER_EPOCH, RING_STATUS_HEADER_TAKEN, RING_STATUS_HEADER_DONE, RING_STATUS_HEADER_RUNNING, RING_STATUS_HEADER_FAILED, RING_STATUS_HEADER_SIZE, RING_POISON, RING_GONE,
  RING_STATUS_ENTRY_SEQ, RING_STATUS_ENTRY_STATE, RING_STATUS_ENTRY_EPOCH, RING_STATUS_ENTRY_STATUS, RING_STATUS_ENTRY_R0, RING_STATUS_ENTRY_R1,
  RING_STATUS_ENTRY_R2, RING_STATUS_ENTRY_R3, RING_STATUS_ENTRY_SIZE, RING_STATE_TAKEN, RING_STATE_DONE,
  MARKS_REQUEST_TAKEN, MARKS_REQUEST_DONE, REGION_RING_REQUEST, REGION_RING_STATUS, REGION_RING_DATA, ROLE_PEER_NOTIFY,
} from 'kintsugi/protocols';
import { barrier, mark } from 'kintsugi/x86';
import * as sys from './sys';
import { needRegion, regionVa, regionBytes, needHandle, ownTable, ownEpoch, ownNotify, served, firstServed } from './startup';
import { mustAlloc } from './alloc';
import { Fiber, WaitQueue, queueInit, current, blockUntil, wake, wakeAll, waitOn, spawn, showRunningAt, TIMED_OUT, CANCELLED } from './fiber';

/** Result of fiber calls that end without an answer of the worker. Below every Linux errno. */
export const RING_CANCELLED: i32 = -4096; // the slot is still in flight; its result will be dropped
export const RING_TIMEOUT: i32 = -4097;
/** The request was running when two incarnations of the worker died: it alone is refused. */
export const POISONED: i32 = <i32>RING_POISON;
/** The worker was given up. */
export const GONE: i32 = <i32>RING_GONE;

const MASK: u32 = RING_SLOTS - 1;
const NOT_YET: i32 = -2;

// ---- owner ----------------------------------------------------------------------------------------------------------------------------

/** States of a slot in the owner's private memory. */
const SLOT_FREE: u32 = 0;
const SLOT_OPEN: u32 = 1; // claimed, being filled
const SLOT_POSTED: u32 = 2; // in flight
const SLOT_ORPHAN: u32 = 3; // in flight, nobody waits
const SLOT_DONE: u32 = 4; // answered, result copied, not released

@unmanaged @final export class OwnerSlot {
  state: u32; waiter: Fiber; cookie: u32; // cookie: for users of `poll`
  status: i32; r0: u32; r1: u32; r2: u32; r3: u32; // the private copy of the answer
}
const OWNER_SLOT: usize = 32;

@unmanaged @final export class RingOwner {
  number: u32; request: usize; statusHalf: usize; data: usize; dataBytes: u32;
  doorbell: u32; doorbellBits: u32; slots: usize;
  cursor: u32; nextId: u32; head: u32; inFlight: u32; seenDone: u32; workerEpoch: u32;
  reposted: u32; refused: u32; // counters: posted again after a death; statuses that failed validation
  orphans: u32; free: u32; failed: bool;
  flight0: u32; flight1: u32; // slots in flight, 0-31 and 32-63: completions are looked for only there
  room: WaitQueue; // fibers that wait for a free slot, and for orphans

  slot(n: u32): OwnerSlot { return changetype<OwnerSlot>(this.slots + <usize>n * OWNER_SLOT); }
  entry(n: u32): usize { return this.request + RING_REQUEST_HEADER_SIZE + <usize>n * RING_REQUEST_ENTRY_SIZE; }
  statusEntry(n: u32): usize { return this.statusHalf + RING_STATUS_HEADER_SIZE + <usize>n * RING_STATUS_ENTRY_SIZE; }

  /** Claims the next free slot for an operation, all arguments and the key 0; -1 when the ring is full. */
  claim(op: u32, flags: u32): i32 {
    if (this.free == 0) return -1;
    let n = this.cursor;
    while (this.slot(n & MASK).state != SLOT_FREE) n++;
    n &= MASK;
    this.cursor = (n + 1) & MASK;
    this.free--;
    const s = this.slot(n);
    s.state = SLOT_OPEN; s.waiter = changetype<Fiber>(0); s.cookie = 0;
    const e = this.entry(n);
    memory.fill(e + 8, 0, RING_REQUEST_ENTRY_SIZE - 8);
    this.nextId++;
    store<u32>(e, this.nextId, RING_REQUEST_ENTRY_ID);
    store<u32>(e, op, RING_REQUEST_ENTRY_OP);
    store<u32>(e, flags, RING_REQUEST_ENTRY_FLAGS);
    return <i32>n;
  }
  arg(n: u32, index: u32, value: u32): void { store<u32>(this.entry(n) + (<usize>index << 2), value, RING_REQUEST_ENTRY_A0); }
  /** The key of the original caller, and which sub-request of it this is. */
  key(n: u32, keyBadge: u32, keySerial: u32, keySeq: u32, sub: u32): void {
    const e = this.entry(n);
    store<u32>(e, keyBadge, RING_REQUEST_ENTRY_KEY_BADGE); store<u32>(e, keySerial, RING_REQUEST_ENTRY_KEY_SERIAL);
    store<u32>(e, keySeq, RING_REQUEST_ENTRY_KEY_SEQ); store<u32>(e, sub, RING_REQUEST_ENTRY_KEY_SUB);
  }
  /** The id of the entry, by which other operations name it (TTY.cancel). */
  id(n: u32): u32 { return load<u32>(this.entry(n), RING_REQUEST_ENTRY_ID); }
  /** Publishes a claimed slot; the seq store is what the worker looks at. Rings nobody: `knock` after the last of a batch. */
  post(n: u32): void {
    this.slot(n).state = SLOT_POSTED;
    this.fly(n);
    if (this.failed) { this.refuse(n); return; }
    this.publish(n);
  }
  /** The worker will never answer slot n. */
  private refuse(n: u32): void {
    const s = this.slot(n);
    s.status = GONE; s.r0 = 0; s.r1 = 0; s.r2 = 0; s.r3 = 0;
    this.landed(n);
  }
  /** The answer of slot n is in its private copy. */
  private landed(n: u32): void {
    const s = this.slot(n);
    this.inFlight--;
    if (n < 32) this.flight0 &= ~(1 << n); else this.flight1 &= ~(1 << (n - 32));
    if (s.state == SLOT_ORPHAN) { this.orphans--; this.drop(n); return; }
    s.state = SLOT_DONE;
    if (changetype<usize>(s.waiter) != 0) wake(s.waiter);
  }
  private refuseAll(): u32 {
    this.failed = true;
    let answers: u32 = 0;
    for (let n: u32 = 0; n < RING_SLOTS; n++) {
      const state = this.slot(n).state;
      if (state == SLOT_POSTED || state == SLOT_ORPHAN) { this.refuse(n); answers++; }
    }
    return answers;
  }
  /** The slot is in flight from now on. */
  fly(n: u32): void {
    this.inFlight++;
    if (n < 32) this.flight0 |= 1 << n; else this.flight1 |= 1 << (n - 32);
  }
  private publish(n: u32): void {
    const e = this.entry(n);
    barrier();
    store<u32>(e, load<u32>(e, RING_REQUEST_ENTRY_SEQ) + 1, RING_REQUEST_ENTRY_SEQ);
    this.head++;
    barrier();
    store<u32>(this.request, this.head, RING_REQUEST_HEADER_HEAD);
    barrier();
  }
  /** Rings the worker's doorbell; of a worker that is gone for good the own one, so that the refusals are looked at. */
  knock(): void { if (this.failed) sys.notify(ownNotify, 1 << this.number); else sys.notify(this.doorbell, this.doorbellBits); }

  /**
   * Looks at the status half: copies every new answer into its slot, wakes its waiter, frees orphans, posts again what a dead worker had taken.
   * Call it when the doorbell bit came (ringDispatch does). Returns the number of answers.
   */
  reap(): u32 {
    if (load<u32>(this.statusHalf, RING_STATUS_HEADER_FAILED) != 0) return this.refuseAll();
    if (load<u32>(this.statusHalf, RING_STATUS_HEADER_MAGIC) != RING_MAGIC) return 0; // no worker yet
    const epoch = load<u32>(this.statusHalf, RING_STATUS_HEADER_EPOCH);
    const fresh = epoch != this.workerEpoch;
    barrier();
    const done = load<u32>(this.statusHalf, RING_STATUS_HEADER_DONE);
    let answers: u32 = 0;
    if (done != this.seenDone || fresh) {
      this.seenDone = done;
      answers = this.scan(epoch);
    }
    if (fresh) {
      this.workerEpoch = epoch;
      this.repost(epoch);
    }
    return answers;
  }
  private scan(epoch: u32): u32 {
    return this.scanWord(epoch, this.flight0, 0) + this.scanWord(epoch, this.flight1, 32);
  }
  private scanWord(epoch: u32, left: u32, base: u32): u32 {
    let answers: u32 = 0;
    while (left != 0) {
      const n = base + <u32>ctz<u32>(left);
      left &= left - 1;
      const st = this.statusEntry(n);
      // The seq first: `take` stores the state before it. The other way round a worker that takes the entry between the two loads shows
      // the `done` of the slot's previous request under the seq of this one.
      if (load<u32>(st, RING_STATUS_ENTRY_SEQ) != load<u32>(this.entry(n), RING_REQUEST_ENTRY_SEQ)) continue;
      barrier();
      const state = load<u32>(st, RING_STATUS_ENTRY_STATE);
      if (state != RING_STATE_DONE) { if (state > RING_STATE_DONE) this.refused++; continue; }
      if (<i32>(load<u32>(st, RING_STATUS_ENTRY_EPOCH) - epoch) > 0) { this.refused++; continue; }
      const s = this.slot(n);
      s.status = load<i32>(st, RING_STATUS_ENTRY_STATUS);
      s.r0 = load<u32>(st, RING_STATUS_ENTRY_R0); s.r1 = load<u32>(st, RING_STATUS_ENTRY_R1);
      s.r2 = load<u32>(st, RING_STATUS_ENTRY_R2); s.r3 = load<u32>(st, RING_STATUS_ENTRY_R3);
      answers++;
      this.landed(n);
    }
    return answers;
  }
  /** Posts again every entry that an epoch before `epoch` took and did not finish. */
  private repost(epoch: u32): void {
    let again: u32 = 0;
    for (let n: u32 = 0; n < RING_SLOTS; n++) {
      const state = this.slot(n).state;
      if (state != SLOT_POSTED && state != SLOT_ORPHAN) continue;
      const st = this.statusEntry(n);
      if (load<u32>(st, RING_STATUS_ENTRY_SEQ) != load<u32>(this.entry(n), RING_REQUEST_ENTRY_SEQ)) continue; // not taken yet
      barrier();
      // Younger than `epoch`: yet another worker came since that was read, and is at work on it.
      if (load<u32>(st, RING_STATUS_ENTRY_STATE) != RING_STATE_TAKEN || <i32>(load<u32>(st, RING_STATUS_ENTRY_EPOCH) - epoch) >= 0) continue;
      this.publish(n);
      again++;
    }
    this.reposted += again;
    store<u32>(this.request, load<u32>(this.request, RING_REQUEST_HEADER_REPOSTED) + again, RING_REQUEST_HEADER_REPOSTED);
    if (again != 0) this.knock();
  }
  /** An answered slot of which the result was read; the slot is free again. */
  release(n: u32): void { this.drop(n); }
  private drop(n: u32): void {
    const s = this.slot(n);
    s.state = SLOT_FREE; s.waiter = changetype<Fiber>(0);
    this.free++;
    wakeAll(this.room);
  }
  /** A posted slot whose answer nobody wants any more: freed when the worker is done with it. */
  abandon(n: u32): void {
    const s = this.slot(n);
    if (s.state == SLOT_DONE || s.state == SLOT_OPEN) { this.drop(n); return; }
    s.waiter = changetype<Fiber>(0);
    s.state = SLOT_ORPHAN;
    this.orphans++;
  }
  /** Right after attach: the last entry of slot n has been answered, in this life or before. */
  wasAnswered(n: u32): bool {
    const st = this.statusEntry(n), seq = load<u32>(this.entry(n), RING_REQUEST_ENTRY_SEQ);
    return seq != 0 && load<u32>(st, RING_STATUS_ENTRY_SEQ) == seq && load<u32>(st, RING_STATUS_ENTRY_STATE) == RING_STATE_DONE;
  }
  /** Right after attach: slot n has an entry of a predecessor, in flight or answered. */
  inherits(n: u32): bool { const s = this.slot(n).state; return s == SLOT_ORPHAN || (s == SLOT_FREE && this.wasAnswered(n)); }
  /** An entry that a predecessor left becomes this incarnation's: its answer counts like that of a `post`, also if it is there already. False: slot n has none. */
  takeOver(n: u32, cookie: u32): bool {
    if (!this.inherits(n)) return false;
    const s = this.slot(n);
    s.cookie = cookie;
    if (s.state == SLOT_ORPHAN) { s.state = SLOT_POSTED; this.orphans--; return true; }
    const st = this.statusEntry(n);
    s.status = load<i32>(st, RING_STATUS_ENTRY_STATUS);
    s.r0 = load<u32>(st, RING_STATUS_ENTRY_R0); s.r1 = load<u32>(st, RING_STATUS_ENTRY_R1); s.r2 = load<u32>(st, RING_STATUS_ENTRY_R2); s.r3 = load<u32>(st, RING_STATUS_ENTRY_R3);
    s.state = SLOT_DONE; s.waiter = changetype<Fiber>(0);
    this.free--;
    return true;
  }
  /** The seq under which a claimed slot will be posted first. */
  firstSeq(n: u32): u32 { return load<u32>(this.entry(n), RING_REQUEST_ENTRY_SEQ) + 1; }
  /** Slot n was posted, once or more, since `firstSeq` said `first`. */
  postedSince(n: u32, first: u32): bool { return <i32>(load<u32>(this.entry(n), RING_REQUEST_ENTRY_SEQ) - first) >= 0; }
  op(n: u32): u32 { return load<u32>(this.entry(n), RING_REQUEST_ENTRY_OP); }
  isDone(n: u32): bool { return this.slot(n).state == SLOT_DONE; }
  /** Without fibers: the next answered slot with `cookie` != 0 and no waiter, -1 when there is none. Release it after reading. */
  poll(): i32 {
    for (let n: u32 = 0; n < RING_SLOTS; n++) {
      const s = this.slot(n);
      if (s.state == SLOT_DONE && s.cookie != 0 && changetype<usize>(s.waiter) == 0) return <i32>n;
    }
    return -1;
  }

  // Fiber forms.
  /** Claims a slot, waiting for one if the ring is full; -1 when the fiber was cancelled. */
  claimWait(op: u32, flags: u32): i32 {
    while (true) {
      const n = this.claim(op, flags);
      if (n >= 0) return n;
      if (waitOn(this.room, sys.FOREVER) == CANCELLED) return -1;
    }
  }
  /** Posts, knocks and blocks the fiber until the answer (`slot(n)`: status, r0..r3) is there; the slot stays claimed until `release(n)`. */
  postWait(n: u32, deadline: u64): i32 {
    const s = this.slot(n);
    s.waiter = current();
    this.post(n);
    this.knock();
    while (s.state != SLOT_DONE) {
      const why = blockUntil(deadline);
      if (s.state == SLOT_DONE) break;
      if (why == CANCELLED || why == TIMED_OUT) {
        this.abandon(n);
        return why == CANCELLED ? RING_CANCELLED : RING_TIMEOUT;
      }
    }
    return s.status;
  }
  /** One whole operation of a fiber without key: status of the worker, results in `last()`. */
  call(op: u32, flags: u32, a0: u32, a1: u32, a2: u32, a3: u32, a4: u32, a5: u32): i32 {
    return this.callKeyed(op, flags, 0, 0, 0, 0, a0, a1, a2, a3, a4, a5);
  }
  callKeyed(op: u32, flags: u32, keyBadge: u32, keySerial: u32, keySeq: u32, sub: u32, a0: u32, a1: u32, a2: u32, a3: u32, a4: u32, a5: u32): i32 {
    const n = this.claimWait(op, flags);
    if (n < 0) return RING_CANCELLED;
    const e = this.entry(n);
    this.key(n, keyBadge, keySerial, keySeq, sub);
    store<u32>(e, a0, RING_REQUEST_ENTRY_A0); store<u32>(e, a1, RING_REQUEST_ENTRY_A1); store<u32>(e, a2, RING_REQUEST_ENTRY_A2);
    store<u32>(e, a3, RING_REQUEST_ENTRY_A3); store<u32>(e, a4, RING_REQUEST_ENTRY_A4); store<u32>(e, a5, RING_REQUEST_ENTRY_A5);
    const status = this.postWait(n, sys.FOREVER);
    if (status == RING_CANCELLED) return status;
    const s = this.slot(n);
    LAST.status = s.status; LAST.r0 = s.r0; LAST.r1 = s.r1; LAST.r2 = s.r2; LAST.r3 = s.r3;
    this.release(n);
    return status;
  }
  /** Blocks the fiber until every entry of a dead owner is answered. */
  waitOrphans(): void { while (this.orphans != 0) waitOn(this.room, sys.FOREVER); }
}
@unmanaged @final export class Answer { status: i32; r0: u32; r1: u32; r2: u32; r3: u32 }
const LAST: Answer = changetype<Answer>(memory.data(20, 4));
/** Results of the last `call` that returned to this fiber; read them before anything that may switch. */
export function last(): Answer { return LAST; }

const OWNERS: usize = memory.data(16 * 4, 4);
const WORKERS: usize = memory.data(16 * 4, 4);

/** The bits that a doorbell capability may signal (its badge). */
function bitsOf(handle: u32): u32 { sys.capIdentify(ownTable, handle); return sys.R.w2; }

/** Owner side of local ring n (0..15): regions and doorbell by role. Adopts what a predecessor left in flight. */
export function ringOwner(n: u32): RingOwner {
  const doorbell = needHandle(ROLE_PEER_NOTIFY + n);
  return ringOwnerAt(n, needRegion(REGION_RING_REQUEST + n).va, needRegion(REGION_RING_STATUS + n).va, regionVa(REGION_RING_DATA + n), regionBytes(REGION_RING_DATA + n), doorbell, bitsOf(doorbell), ownEpoch());
}
export function ringOwnerAt(n: u32, request: usize, status: usize, data: usize, dataBytes: u32, doorbell: u32, bits: u32, epoch: u32): RingOwner {
  const o = changetype<RingOwner>(mustAlloc(offsetof<RingOwner>()));
  o.number = n; o.request = request; o.statusHalf = status; o.data = data; o.dataBytes = dataBytes;
  o.doorbell = doorbell; o.doorbellBits = bits;
  o.slots = mustAlloc(RING_SLOTS * <u32>OWNER_SLOT);
  o.room = changetype<WaitQueue>(mustAlloc(8));
  queueInit(o.room);
  o.free = RING_SLOTS;
  if (load<u32>(request, RING_REQUEST_HEADER_MAGIC) == RING_MAGIC) adopt(o);
  else {
    memory.fill(request, 0, RING_REQUEST_HEADER_SIZE + RING_SLOTS * RING_REQUEST_ENTRY_SIZE);
    store<u32>(request, 1, RING_REQUEST_HEADER_VERSION);
    store<u32>(request, RING_SLOTS, RING_REQUEST_HEADER_SLOTS);
    store<u32>(request, dataBytes, RING_REQUEST_HEADER_DATA_BYTES);
  }
  store<u32>(request, epoch, RING_REQUEST_HEADER_EPOCH);
  barrier();
  store<u32>(request, RING_MAGIC, RING_REQUEST_HEADER_MAGIC);
  if (n < 16) store<usize>(OWNERS + (<usize>n << 2), changetype<usize>(o));
  if (o.orphans != 0) { // the predecessor may have died between posting, counting and knocking: make the worker look
    o.head++;
    barrier();
    store<u32>(request, o.head, RING_REQUEST_HEADER_HEAD);
    o.knock();
    o.reap(); // and the worker may have died, too: what another epoch than the present one took is posted again
  }
  return o;
}
/** A predecessor died: what it left in flight becomes orphans. Its head and ids go on; which worker it knew is forgotten. */
function adopt(o: RingOwner): void {
  o.head = load<u32>(o.request, RING_REQUEST_HEADER_HEAD);
  for (let n: u32 = 0; n < RING_SLOTS; n++) {
    const e = o.entry(n), st = o.statusEntry(n);
    const id = load<u32>(e, RING_REQUEST_ENTRY_ID);
    if (<i32>(id - o.nextId) > 0) { o.nextId = id; o.cursor = (n + 1) & MASK; } // new entries behind the last one: the worker goes round
    const seq = load<u32>(e, RING_REQUEST_ENTRY_SEQ);
    if (load<u32>(st, RING_STATUS_ENTRY_SEQ) == seq && (seq == 0 || load<u32>(st, RING_STATUS_ENTRY_STATE) == RING_STATE_DONE)) continue;
    o.slot(n).state = SLOT_ORPHAN;
    o.fly(n);
    o.orphans++; o.free--;
  }
}

// ---- worker ---------------------------------------------------------------------------------------------------------------------------

/** A request, copied once; offsets and lengths in it are the owner's allegations. */
@unmanaged @final export class Request {
  seq: u32; id: u32; op: u32; flags: u32; keyBadge: u32; keySerial: u32; keySeq: u32; keySub: u32;
  a0: u32; a1: u32; a2: u32; a3: u32; a4: u32; a5: u32; a6: u32; a7: u32;
  slot: u32;
}

@unmanaged @final export class RingWorker {
  number: u32; request: usize; statusHalf: usize; data: usize; dataBytes: u32;
  doorbell: u32; doorbellBits: u32; cursor: u32; taken: u32; done: u32; epoch: u32;
  arrivals: WaitQueue; // fibers that wait for a request
  inherited: u32; newest: u32; // entries left of those that were posted when this worker attached, and the highest id among them

  entry(n: u32): usize { return this.request + RING_REQUEST_HEADER_SIZE + <usize>n * RING_REQUEST_ENTRY_SIZE; }
  statusEntry(n: u32): usize { return this.statusHalf + RING_STATUS_HEADER_SIZE + <usize>n * RING_STATUS_ENTRY_SIZE; }

  /** Takes the next posted request into `out` and marks its slot taken by this epoch; false when there is none. */
  next(out: Request): bool {
    const head = load<u32>(this.request, RING_REQUEST_HEADER_HEAD);
    if (head == this.taken) return this.none();
    barrier();
    if (this.inherited != 0) {
      const n = this.oldest();
      if (n == NOT_YET) return this.none();
      if (n >= 0) { this.inherited--; this.take(n, load<u32>(this.entry(n), RING_REQUEST_ENTRY_SEQ), out); return true; }
      this.inherited = 0;
    }
    for (let k: u32 = 0; k < RING_SLOTS; k++) {
      const n = (this.cursor + k) & MASK;
      const e = this.entry(n), st = this.statusEntry(n);
      const seq = load<u32>(e, RING_REQUEST_ENTRY_SEQ);
      if (seq == load<u32>(st, RING_STATUS_ENTRY_SEQ)) continue;
      this.take(n, seq, out);
      return true;
    }
    this.taken = head; // the count ran apart (an owner that died between two stores): nothing is posted
    return this.none();
  }
  private none(): bool { store<u32>(this.statusHalf, 0, RING_STATUS_HEADER_RUNNING); return false; }
  private take(n: u32, seq: u32, out: Request): void {
    const e = this.entry(n), st = this.statusEntry(n);
    barrier();
    memory.copy(changetype<usize>(out), e, RING_REQUEST_ENTRY_SIZE);
    out.seq = seq; out.slot = n;
    this.cursor = (n + 1) & MASK;
    this.taken++;
    store<u32>(this.statusHalf, n + 1, RING_STATUS_HEADER_RUNNING);
    store<u32>(st, RING_STATE_TAKEN, RING_STATUS_ENTRY_STATE);
    store<u32>(st, this.epoch, RING_STATUS_ENTRY_EPOCH);
    barrier();
    store<u32>(st, seq, RING_STATUS_ENTRY_SEQ);
    store<u32>(this.statusHalf, this.taken, RING_STATUS_HEADER_TAKEN);
    mark(MARKS_REQUEST_TAKEN, n | this.number << 8 | out.op << 16, out.keySerial, out.keySeq);
  }
  /** Taken by a dead epoch, and the owner has not posted it again yet. */
  private widowed(n: u32): bool {
    const st = this.statusEntry(n);
    return load<u32>(st, RING_STATUS_ENTRY_STATE) == RING_STATE_TAKEN && load<u32>(st, RING_STATUS_ENTRY_EPOCH) != this.epoch
      && load<u32>(st, RING_STATUS_ENTRY_SEQ) == load<u32>(this.entry(n), RING_REQUEST_ENTRY_SEQ) && load<u32>(st, RING_STATUS_ENTRY_SEQ) != 0;
  }
  /** Slot of the inherited entry with the lowest id; NOT_YET while its owner still has to post it again, -1 when all were taken. */
  private oldest(): i32 {
    let best: i32 = -1, id: u32 = 0;
    for (let n: u32 = 0; n < RING_SLOTS; n++) {
      const e = this.entry(n), mine = load<u32>(e, RING_REQUEST_ENTRY_ID);
      if (<i32>(mine - this.newest) > 0 || (best >= 0 && <i32>(mine - id) >= 0)) continue;
      if (load<u32>(e, RING_REQUEST_ENTRY_SEQ) == load<u32>(this.statusEntry(n), RING_STATUS_ENTRY_SEQ) && !this.widowed(n)) continue;
      best = n; id = mine;
    }
    return best >= 0 && this.widowed(best) ? NOT_YET : best;
  }
  /** At attach: what is there. Returns how many are posted and not taken. */
  inherit(): u32 {
    let fresh: u32 = 0;
    for (let n: u32 = 0; n < RING_SLOTS; n++) {
      const e = this.entry(n), posted = load<u32>(e, RING_REQUEST_ENTRY_SEQ) != load<u32>(this.statusEntry(n), RING_STATUS_ENTRY_SEQ);
      if (posted) fresh++;
      if (!posted && !this.widowed(n)) continue;
      const id = load<u32>(e, RING_REQUEST_ENTRY_ID);
      if (this.inherited == 0 || <i32>(id - this.newest) > 0) this.newest = id;
      this.inherited++;
    }
    return fresh;
  }
  /** Answers a taken slot. Rings nobody: `knock` after the last of a batch. */
  complete(slot: u32, status: i32, r0: u32, r1: u32, r2: u32, r3: u32): void {
    const st = this.statusEntry(slot);
    store<i32>(st, status, RING_STATUS_ENTRY_STATUS);
    store<u32>(st, r0, RING_STATUS_ENTRY_R0); store<u32>(st, r1, RING_STATUS_ENTRY_R1);
    store<u32>(st, r2, RING_STATUS_ENTRY_R2); store<u32>(st, r3, RING_STATUS_ENTRY_R3);
    barrier();
    store<u32>(st, RING_STATE_DONE, RING_STATUS_ENTRY_STATE);
    this.done++;
    barrier();
    store<u32>(this.statusHalf, this.done, RING_STATUS_HEADER_DONE);
    barrier();
    mark(MARKS_REQUEST_DONE, slot | this.number << 8, <u32>status, 0);
    if (!served) firstServed();
  }
  /** `complete` and `knock`. */
  answer(slot: u32, status: i32, r0: u32, r1: u32, r2: u32, r3: u32): void { this.complete(slot, status, r0, r1, r2, r3); this.knock(); }
  knock(): void { sys.notify(this.doorbell, this.doorbellBits); }
  /** Blocks the fiber until there is a request; false when it was cancelled. */
  nextWait(out: Request): bool {
    while (!this.next(out)) if (waitOn(this.arrivals, sys.FOREVER) == CANCELLED) return false;
    return true;
  }
}

/** Worker side of local ring n: announces this epoch, so that the owner posts again what the predecessor had taken. */
export function ringWorker(n: u32): RingWorker {
  const doorbell = needHandle(ROLE_PEER_NOTIFY + n);
  return ringWorkerAt(n, needRegion(REGION_RING_REQUEST + n).va, needRegion(REGION_RING_STATUS + n).va, regionVa(REGION_RING_DATA + n), regionBytes(REGION_RING_DATA + n), doorbell, bitsOf(doorbell), ownEpoch());
}
export function ringWorkerAt(n: u32, request: usize, status: usize, data: usize, dataBytes: u32, doorbell: u32, bits: u32, epoch: u32): RingWorker {
  const w = changetype<RingWorker>(mustAlloc(offsetof<RingWorker>()));
  w.number = n; w.request = request; w.statusHalf = status; w.data = data; w.dataBytes = dataBytes;
  w.doorbell = doorbell; w.doorbellBits = bits; w.epoch = epoch;
  w.arrivals = changetype<WaitQueue>(mustAlloc(8));
  queueInit(w.arrivals);
  const head = load<u32>(request, RING_REQUEST_HEADER_HEAD);
  barrier();
  w.taken = head - w.inherit();
  store<u32>(status, 0, RING_STATUS_HEADER_RUNNING);
  w.done = load<u32>(status, RING_STATUS_HEADER_DONE);
  store<u32>(status, 1, RING_STATUS_HEADER_VERSION);
  store<u32>(status, w.taken, RING_STATUS_HEADER_TAKEN);
  store<u32>(status, epoch, RING_STATUS_HEADER_EPOCH);
  barrier();
  store<u32>(status, RING_MAGIC, RING_STATUS_HEADER_MAGIC);
  barrier();
  if (n < 16) store<usize>(WORKERS + (<usize>n << 2), changetype<usize>(w));
  w.knock();
  return w;
}

/** What the event loop does with doorbell bits: owners reap, workers' waiting fibers wake. */
export function ringDispatch(bits: u32): void {
  let left = bits & 0xffff;
  while (left != 0) {
    const n = <usize>ctz<u32>(left);
    left &= left - 1;
    const o = load<usize>(OWNERS + (n << 2));
    if (o != 0) changetype<RingOwner>(o).reap();
    const w = load<usize>(WORKERS + (n << 2));
    if (w != 0) wakeAll(changetype<RingWorker>(w).arrivals);
  }
}

// ---- serving --------------------------------------------------------------------------------------------------------------------------

@unmanaged @final class Server { worker: RingWorker; handler: u32 }
function serveFiber(argument: usize): void {
  const s = changetype<Server>(argument);
  const request = changetype<Request>(mustAlloc(offsetof<Request>()));
  const me = current();
  while (true) {
    me.tag = 0;
    s.worker.nextWait(request);
    me.tag = request.slot + 1;
    call_indirect(s.handler, s.worker, request);
  }
}
/** Serves `worker` with `fibers` fibers: handler(worker, request) must answer the request, and may block. */
export function serve(worker: RingWorker, handler: (worker: RingWorker, request: Request) => void, fibers: u32): void {
  const s = changetype<Server>(mustAlloc(offsetof<Server>()));
  s.worker = worker; s.handler = handler.index;
  showRunningAt(worker.statusHalf + RING_STATUS_HEADER_RUNNING);
  for (let n: u32 = 0; n < fibers; n++) spawn(serveFiber, changetype<usize>(s));
}
