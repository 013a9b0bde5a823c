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
 *
 * Lost, doubled and damaged messages (servers/protocols/ring.ts): the owner keeps a private copy of every request (`copies`), the worker one of
 * every answer (`WorkerSlot`), and both say again what the other did not get. `ringWatch` is the owner's patience: 2 ms after an entry was posted, then four times
 * as long each time, by the alarm of its own Notify, so that waits carry no deadline and an idle system sleeps ever longer.
 */
import {
  RING_MAGIC, RING_SLOTS, RING_REQUEST_HEADER_MAGIC, RING_REQUEST_HEADER_VERSION, RING_REQUEST_HEADER_SLOTS, RING_REQUEST_HEADER_HEAD, RING_REQUEST_HEADER_EPOCH,
  RING_REQUEST_HEADER_DATA_BYTES, RING_REQUEST_HEADER_GREETED, RING_REQUEST_HEADER_REPOSTED, RING_REQUEST_HEADER_AGAIN, RING_REQUEST_HEADER_REPAIRED, RING_REQUEST_HEADER_SIZE, RING_REQUEST_ENTRY_SEQ, RING_REQUEST_ENTRY_ID, RING_REQUEST_ENTRY_OP,
  RING_REQUEST_ENTRY_FLAGS, RING_REQUEST_ENTRY_KEY_BADGE, RING_REQUEST_ENTRY_KEY_SERIAL, RING_REQUEST_ENTRY_KEY_SEQ, RING_REQUEST_ENTRY_KEY_SUB,
  RING_REQUEST_ENTRY_A0, RING_REQUEST_ENTRY_A1, RING_REQUEST_ENTRY_A2, RING_REQUEST_ENTRY_A3, RING_REQUEST_ENTRY_A4, RING_REQUEST_ENTRY_A5, RING_REQUEST_ENTRY_ORDER, RING_REQUEST_ENTRY_GUARD, RING_REQUEST_ENTRY_SIZE,
  RING_STATUS_HEADER_MAGIC, RING_STATUS_HEADER_VERSION, RING_STATUS_HEADER_EPOCH, RING_STATUS_HEADER_TAKEN, RING_STATUS_HEADER_DONE, RING_STATUS_HEADER_RUNNING, RING_STATUS_HEADER_FAILED, RING_STATUS_HEADER_DAMAGED, RING_STATUS_HEADER_DOUBLED, RING_STATUS_HEADER_MISSING, RING_STATUS_HEADER_SIZE, RING_POISON, RING_GONE, RING_DAMAGED,
  RING_STATUS_ENTRY_SEQ, RING_STATUS_ENTRY_STATE, RING_STATUS_ENTRY_EPOCH, RING_STATUS_ENTRY_STATUS, RING_STATUS_ENTRY_R0, RING_STATUS_ENTRY_R1,
  RING_STATUS_ENTRY_R2, RING_STATUS_ENTRY_R3, RING_STATUS_ENTRY_GUARD, RING_STATUS_ENTRY_SIZE, RING_STATE_TAKEN, RING_STATE_DONE,
  MARKS_REQUEST_TAKEN, MARKS_REQUEST_DONE, REGION_RING_REQUEST, REGION_RING_STATUS, REGION_RING_DATA, ROLE_PEER_NOTIFY, NOTIFY_BITS_ALARM,
} from 'kintsugi/protocols';
import { barrier, mark } from 'kintsugi/x86';
import * as sys from './sys';
import { needRegion, regionVa, regionBytes, needHandle, ownTable, ownEpoch, ownNotify, served, firstServed } from './startup';
import { mustAlloc } from './alloc';
import { line } from './fmt';
import * as log from './log';
import { guardStep, proveGuard, requestGuard, statusGuard } from './guard';
import { Fiber, WaitQueue, queueInit, current, blockUntil, wake, wakeAll, waitOn, spawn, showRunningAt, TIMED_OUT, CANCELLED } from './fiber';

/** Result of fiber calls that end without an answer of the worker. Below every Linux errno. */
export const RING_CANCELLED: i32 = -4096; // the slot is still in flight; its result will be dropped
export const RING_TIMEOUT: i32 = -4097;
/** The request was running when two incarnations of the worker died: it alone is refused. */
export const POISONED: i32 = <i32>RING_POISON;
/** The worker was given up. */
export const GONE: i32 = <i32>RING_GONE;
/** The request, or its answer, came damaged each time it was posted. */
export const DAMAGED: i32 = <i32>RING_DAMAGED;

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
  repairs: u32; // times it was posted again because it, or its answer, was damaged
}
const OWNER_SLOT: usize = 36;
const MOST_REPAIRS: u32 = 3;

@unmanaged @final export class RingOwner {
  number: u32; request: usize; statusHalf: usize; data: usize; dataBytes: u32;
  doorbell: u32; doorbellBits: u32; slots: usize; copies: usize; // copies: private, of all entries
  cursor: u32; nextId: u32; order: u32; head: u32; inFlight: u32; seenDone: u32; seenMissing: u32; workerEpoch: u32;
  reposted: u32; refused: u32; repaired: u32; // counters: posted again after a death; statuses that failed validation; posted or restored again without a death
  orphans: u32; free: u32; failed: bool; mended: bool; // mended: something was posted again and the worker is to be rung
  flight0: u32; flight1: u32; // slots in flight, 0-31 and 32-63: completions are looked for only there
  scanFrom: u32; // slot behind the last one answered: where the next answer is looked for first
  leisurely: bool; // entries wait for the outside world as a rule (empty buffers): `ringWatch` looks after them late, the user earlier when it misses one
  room: WaitQueue; // fibers that wait for a free slot, and for orphans

  slot(n: u32): OwnerSlot { return changetype<OwnerSlot>(this.slots + <usize>n * OWNER_SLOT); }
  /** The private copy of entry n, as it is or will be posted. */
  private own(n: u32): usize { return this.copies + <usize>n * RING_REQUEST_ENTRY_SIZE; }
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
    s.state = SLOT_OPEN; s.waiter = changetype<Fiber>(0); s.cookie = 0; s.repairs = 0;
    const e = this.own(n);
    memory.fill(e + 8, 0, RING_REQUEST_ENTRY_SIZE - 8);
    this.nextId++;
    store<u32>(e, this.nextId, RING_REQUEST_ENTRY_ID);
    store<u32>(e, op, RING_REQUEST_ENTRY_OP);
    store<u32>(e, flags, RING_REQUEST_ENTRY_FLAGS);
    return <i32>n;
  }
  arg(n: u32, index: u32, value: u32): void { store<u32>(this.own(n) + (<usize>index << 2), value, RING_REQUEST_ENTRY_A0); }
  /** What `arg` put there. */
  argOf(n: u32, index: u32): u32 { return load<u32>(this.own(n) + (<usize>index << 2), RING_REQUEST_ENTRY_A0); }
  /** The key of the original caller, and which sub-request of it this is. */
  key(n: u32, keyBadge: u32, keySerial: u32, keySeq: u32, sub: u32): void {
    const e = this.own(n);
    store<u32>(e, keyBadge, RING_REQUEST_ENTRY_KEY_BADGE); store<u32>(e, keySerial, RING_REQUEST_ENTRY_KEY_SERIAL);
    store<u32>(e, keySeq, RING_REQUEST_ENTRY_KEY_SEQ); store<u32>(e, sub, RING_REQUEST_ENTRY_KEY_SUB);
  }
  /** The id of the entry, by which other operations name it (TTY.cancel). */
  id(n: u32): u32 { return load<u32>(this.own(n), RING_REQUEST_ENTRY_ID); }
  /** Publishes a claimed slot; the seq store is what the worker looks at. Rings nobody: `knock` after the last of a batch. */
  post(n: u32): void {
    this.slot(n).state = SLOT_POSTED;
    this.fly(n);
    if (this.failed) { this.refuse(n, GONE); return; }
    const p = this.own(n);
    store<u32>(p, this.order++, RING_REQUEST_ENTRY_ORDER);
    store<u32>(p, requestGuard(p, n), RING_REQUEST_ENTRY_GUARD);
    this.publish(n);
  }
  /** The worker will never answer slot n. */
  private refuse(n: u32, why: i32): void {
    const s = this.slot(n);
    s.status = why; s.r0 = 0; s.r1 = 0; s.r2 = 0; s.r3 = 0;
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
      if (state == SLOT_POSTED || state == SLOT_ORPHAN) { this.refuse(n, GONE); answers++; }
    }
    return answers;
  }
  /** The slot is in flight from now on. */
  fly(n: u32): void {
    this.inFlight++;
    if (n < 32) this.flight0 |= 1 << n; else this.flight1 |= 1 << (n - 32);
  }
  /** The seq that slot n is posted under next: never one that the worker has answered already. */
  private nextSeq(n: u32): u32 {
    const seq = load<u32>(this.own(n), RING_REQUEST_ENTRY_SEQ) + 1;
    return seq == load<u32>(this.statusEntry(n), RING_STATUS_ENTRY_SEQ) ? seq + 1 : seq;
  }
  private publish(n: u32): void {
    const p = this.own(n), before = load<u32>(p, RING_REQUEST_ENTRY_SEQ), seq = this.nextSeq(n);
    store<u32>(p, load<u32>(p, RING_REQUEST_ENTRY_GUARD) + guardStep(before, seq), RING_REQUEST_ENTRY_GUARD);
    store<u32>(p, seq, RING_REQUEST_ENTRY_SEQ);
    this.write(n);
    this.head++;
    barrier();
    store<u32>(this.request, this.head, RING_REQUEST_HEADER_HEAD);
    barrier();
  }
  /** Private copy to entry; the seq comes last. First the word by which an owner like tty tells a posted entry from one that was being written. */
  private write(n: u32): void {
    const p = this.own(n), e = this.entry(n);
    store<u32>(e, load<u32>(p, RING_REQUEST_ENTRY_KEY_SUB), RING_REQUEST_ENTRY_KEY_SUB);
    barrier();
    memory.copy(e + 4, p + 4, RING_REQUEST_ENTRY_SIZE - 4);
    barrier();
    store<u32>(e, load<u32>(p, RING_REQUEST_ENTRY_SEQ), RING_REQUEST_ENTRY_SEQ);
  }
  /** Rings the worker's doorbell; of a worker that is gone for good the own one, so that the refusals are looked at. */
  knock(): void {
    if (this.failed) { sys.notify(ownNotify, 1 << this.number); return; }
    sys.notify(this.doorbell, this.doorbellBits);
    if (patience != FIRST_PATIENCE && (patience == 0 || !this.leisurely)) { patience = FIRST_PATIENCE; arm(); }
  }

  /**
   * Looks at the status half: copies every new answer into its slot, wakes its waiter, frees orphans, posts again what a dead worker had taken.
   * Call it when the doorbell bit came (ringDispatch does). Returns the number of answers.
   */
  reap(): u32 {
    if (load<u32>(this.statusHalf, RING_STATUS_HEADER_FAILED) != 0) return this.refuseAll();
    this.failed = false; // a worker that lives takes it back
    if (load<u32>(this.statusHalf, RING_STATUS_HEADER_MAGIC) != RING_MAGIC) return 0; // no worker yet
    const epoch = load<u32>(this.statusHalf, RING_STATUS_HEADER_EPOCH);
    const fresh = epoch != this.workerEpoch;
    barrier();
    const done = load<u32>(this.statusHalf, RING_STATUS_HEADER_DONE);
    let answers: u32 = 0;
    if (done != this.seenDone || fresh) {
      const most = fresh ? RING_SLOTS : done - this.seenDone; // each answer is counted after it is written, and rung for after that
      this.seenDone = done;
      answers = this.scan(epoch, most);
    }
    if (fresh) {
      this.workerEpoch = epoch;
      this.repost(epoch);
    }
    const missing = load<u32>(this.statusHalf, RING_STATUS_HEADER_MISSING);
    if (missing != this.seenMissing) { this.seenMissing = missing; answers += this.lookAfter(); }
    if (this.mended) { this.mended = false; this.knock(); }
    return answers;
  }
  /**
   * Entries have been in flight for a while: whatever of them, of their answers or of the doorbells got lost comes again. Returns the number of answers found.
   */
  lookAfter(): u32 {
    if (this.inFlight == 0) return 0;
    this.seenDone = load<u32>(this.statusHalf, RING_STATUS_HEADER_DONE) - RING_SLOTS; // whatever was counted: all are looked at
    const answers = this.reap();
    if (this.inFlight == 0 || this.failed) return answers;
    for (let left: u64 = <u64>this.flight0 | <u64>this.flight1 << 32; left != 0; left &= left - 1) {
      const n = <u32>ctz<u64>(left);
      if (sameEntry(this.own(n), this.entry(n))) continue;
      this.write(n);
      this.countRepair();
    }
    barrier();
    store<u32>(this.request, this.head, RING_REQUEST_HEADER_HEAD);
    store<u32>(this.request, load<u32>(this.request, RING_REQUEST_HEADER_AGAIN) + 1, RING_REQUEST_HEADER_AGAIN);
    barrier();
    sys.notify(this.doorbell, this.doorbellBits);
    return answers;
  }
  private countRepair(): void {
    this.repaired++;
    store<u32>(this.request, this.repaired, RING_REQUEST_HEADER_REPAIRED);
  }
  /** The request of slot n, or its answer, came damaged: posts it again, or gives it up. Returns 1 when it is answered by that. */
  private repair(n: u32): u32 {
    proveGuard();
    const s = this.slot(n);
    if (s.state == SLOT_ORPHAN || s.repairs == MOST_REPAIRS) {
      if (s.state != SLOT_ORPHAN) log.error(line().lit('ring ').dec(this.number).lit(': operation ').dec(this.op(n)).lit(' comes damaged each time, given up'));
      this.refuse(n, DAMAGED);
      return 1;
    }
    s.repairs++;
    this.countRepair();
    this.publish(n);
    this.mended = true;
    return 0;
  }
  /** At most `most` answers; most workers answer in order, so it begins behind the last one. */
  private scan(epoch: u32, most: u32): u32 {
    const from = this.scanFrom, ahead: u32 = 0xffffffff << (from & 31), first0 = this.flight0, first1 = this.flight1;
    let answers: u32;
    if (from < 32) {
      answers = this.scanWord(epoch, first0 & ahead, 0, most);
      if (answers < most) answers += this.scanWord(epoch, first1, 32, most - answers);
      if (answers < most) answers += this.scanWord(epoch, first0 & ~ahead, 0, most - answers);
    } else {
      answers = this.scanWord(epoch, first1 & ahead, 32, most);
      if (answers < most) answers += this.scanWord(epoch, first0, 0, most - answers);
      if (answers < most) answers += this.scanWord(epoch, first1 & ~ahead, 32, most - answers);
    }
    return answers;
  }
  private scanWord(epoch: u32, left: u32, base: u32, most: u32): u32 {
    let answers: u32 = 0;
    while (left != 0 && answers < most) {
      const n = base + <u32>ctz<u32>(left);
      left &= left - 1;
      const st = this.statusEntry(n);
      // The seq first: `take` stores the state before it. The other way round a worker that takes the entry between the two loads shows
      // the `done` of the slot's previous request under the seq of this one.
      const seq = load<u32>(this.own(n), RING_REQUEST_ENTRY_SEQ);
      if (load<u32>(st, RING_STATUS_ENTRY_SEQ) != seq) continue;
      barrier();
      const state = load<u32>(st, RING_STATUS_ENTRY_STATE);
      if (state != RING_STATE_DONE) { if (state > RING_STATE_DONE) this.refused++; continue; }
      if (<i32>(load<u32>(st, RING_STATUS_ENTRY_EPOCH) - epoch) > 0) { this.refused++; continue; }
      const s = this.slot(n);
      s.status = load<i32>(st, RING_STATUS_ENTRY_STATUS);
      s.r0 = load<u32>(st, RING_STATUS_ENTRY_R0); s.r1 = load<u32>(st, RING_STATUS_ENTRY_R1);
      s.r2 = load<u32>(st, RING_STATUS_ENTRY_R2); s.r3 = load<u32>(st, RING_STATUS_ENTRY_R3);
      if (load<u32>(st, RING_STATUS_ENTRY_GUARD) != statusGuard(n, seq, s.status, s.r0, s.r1, s.r2, s.r3) || s.status == DAMAGED) { answers += this.repair(n); continue; }
      answers++;
      this.scanFrom = (n + 1) & MASK;
      this.landed(n);
    }
    return answers;
  }
  /** Posts again every entry that an epoch before `epoch` took and did not finish. */
  private repost(epoch: u32): void {
    let again: u32 = 0, stray = false;
    for (let n: u32 = 0; n < RING_SLOTS; n++) {
      const state = this.slot(n).state, st = this.statusEntry(n);
      if (state != SLOT_POSTED && state != SLOT_ORPHAN) {
        stray = stray || load<u32>(st, RING_STATUS_ENTRY_STATE) == RING_STATE_TAKEN; // of an answer that was read long ago
        continue;
      }
      if (load<u32>(st, RING_STATUS_ENTRY_SEQ) != load<u32>(this.own(n), RING_REQUEST_ENTRY_SEQ)) continue; // not taken yet
      barrier();
      // Younger than `epoch`: yet another worker came since that was read, and is at work on it.
      if (load<u32>(st, RING_STATUS_ENTRY_STATE) != RING_STATE_TAKEN || <i32>(load<u32>(st, RING_STATUS_ENTRY_EPOCH) - epoch) >= 0) continue;
      this.publish(n);
      again++;
    }
    this.reposted += again;
    store<u32>(this.request, load<u32>(this.request, RING_REQUEST_HEADER_REPOSTED) + again, RING_REQUEST_HEADER_REPOSTED);
    barrier();
    store<u32>(this.request, epoch, RING_REQUEST_HEADER_GREETED);
    if (again != 0 || stray) this.knock();
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
    const st = this.statusEntry(n), seq = load<u32>(this.own(n), RING_REQUEST_ENTRY_SEQ);
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
    if (load<u32>(st, RING_STATUS_ENTRY_GUARD) != statusGuard(n, load<u32>(this.own(n), RING_REQUEST_ENTRY_SEQ), s.status, s.r0, s.r1, s.r2, s.r3)) { this.refused++; s.status = DAMAGED; s.r0 = 0; s.r1 = 0; s.r2 = 0; s.r3 = 0; }
    s.state = SLOT_DONE; s.waiter = changetype<Fiber>(0);
    this.free--;
    return true;
  }
  /** The seq under which a claimed slot will be posted first. */
  firstSeq(n: u32): u32 { return this.nextSeq(n); }
  /** Slot n was posted, once or more, since `firstSeq` said `first`. */
  postedSince(n: u32, first: u32): bool { return <i32>(load<u32>(this.own(n), RING_REQUEST_ENTRY_SEQ) - first) >= 0; }
  op(n: u32): u32 { return load<u32>(this.own(n), RING_REQUEST_ENTRY_OP); }
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
    const e = this.own(n);
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
/** Entries are equal word by word. */
function sameEntry(a: usize, b: usize): bool {
  let differ: u32 = 0;
  for (let k: usize = 0; k < RING_REQUEST_ENTRY_SIZE; k += 16) differ |= (load<u32>(a + k) ^ load<u32>(b + k)) | (load<u32>(a + k, 4) ^ load<u32>(b + k, 4)) | (load<u32>(a + k, 8) ^ load<u32>(b + k, 8)) | (load<u32>(a + k, 12) ^ load<u32>(b + k, 12));
  return differ == 0;
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
  o.copies = mustAlloc(RING_SLOTS * RING_REQUEST_ENTRY_SIZE);
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
  }
  if (o.orphans != 0 || load<u32>(status, RING_STATUS_HEADER_FAILED) != 0) o.reap(); // the worker may have died, too: what another epoch than the present one took is posted again
  return o;
}
/** A predecessor died: what it left in flight becomes orphans. Its head and ids go on; which worker it knew is forgotten. */
function adopt(o: RingOwner): void {
  o.head = load<u32>(o.request, RING_REQUEST_HEADER_HEAD);
  memory.copy(o.copies, o.request + RING_REQUEST_HEADER_SIZE, RING_SLOTS * RING_REQUEST_ENTRY_SIZE);
  for (let n: u32 = 0; n < RING_SLOTS; n++) {
    const e = o.entry(n), st = o.statusEntry(n);
    const id = load<u32>(e, RING_REQUEST_ENTRY_ID);
    if (<i32>(id - o.nextId) > 0) { o.nextId = id; o.cursor = (n + 1) & MASK; } // new entries behind the last one: the worker goes round
    const seq = load<u32>(e, RING_REQUEST_ENTRY_SEQ), order = load<u32>(e, RING_REQUEST_ENTRY_ORDER);
    if (<i32>(order - o.order) >= 0) o.order = order + 1;
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
  a0: u32; a1: u32; a2: u32; a3: u32; a4: u32; a5: u32; order: u32; guard: u32;
  slot: u32;
}

/** What the worker remembers of the last entry of a slot. */
@unmanaged @final class WorkerSlot {
  seq: u32; // the last one looked at
  id: u32; phase: u32; // of the last entry taken in this life, 0 = none; PHASE_*
  status: i32; r0: u32; r1: u32; r2: u32; r3: u32; // the answer
}
const WORKER_SLOT: usize = 32;
const PHASE_NONE: u32 = 0;
const PHASE_TAKEN: u32 = 1;
const PHASE_ANSWERED: u32 = 2;

@unmanaged @final export class RingWorker {
  number: u32; request: usize; statusHalf: usize; data: usize; dataBytes: u32;
  doorbell: u32; doorbellBits: u32; cursor: u32; taken: u32; done: u32; epoch: u32;
  arrivals: WaitQueue; // fibers that wait for a request
  slots: usize; again: u32; damaged: u32; doubled: u32; missing: u32;
  turn: u32; tolerant: bool; gap: bool; // `order` of the next entry; entries ahead of it are taken, too; one was found
  greeted: bool; // the owner has posted again what it will, of the time before this worker
  inherited: u32; newest: u32; // entries left of those that were posted when this worker attached, and the highest id among them

  entry(n: u32): usize { return this.request + RING_REQUEST_HEADER_SIZE + <usize>n * RING_REQUEST_ENTRY_SIZE; }
  statusEntry(n: u32): usize { return this.statusHalf + RING_STATUS_HEADER_SIZE + <usize>n * RING_STATUS_ENTRY_SIZE; }

  private own(n: u32): WorkerSlot { return changetype<WorkerSlot>(this.slots + <usize>n * WORKER_SLOT); }
  /** Takes the next posted request into `out` and marks its slot taken by this epoch; false when there is none. */
  next(out: Request): bool {
    const head = load<u32>(this.request, RING_REQUEST_HEADER_HEAD), again = load<u32>(this.request, RING_REQUEST_HEADER_AGAIN);
    if (again != this.again) { this.again = again; this.tolerant = true; this.sayAgain(); }
    else if (head == this.taken) { this.settled(); return this.none(); }
    barrier();
    this.gap = false;
    while (this.inherited != 0) {
      const n = this.oldest();
      if (n == NOT_YET) return this.none();
      if (n < 0) { this.inherited = 0; break; }
      this.inherited--;
      this.tolerant = true;
      if (this.take(n, out)) return true;
    }
    for (let k: u32 = 0; k < RING_SLOTS; k++) {
      const n = (this.cursor + k) & MASK;
      if (load<u32>(this.entry(n), RING_REQUEST_ENTRY_SEQ) == this.own(n).seq) continue;
      if (this.take(n, out)) return true;
      if (this.gap) return this.none();
    }
    this.settled();
    this.taken = head; // the count ran apart (an owner that died between two stores, a lost or doubled entry): nothing is posted
    return this.none();
  }
  /** Nothing is posted; from now on entries come in order. A worker that has just attached does not know yet where the order is. */
  private settled(): void { if (this.turn != 0) this.tolerant = false; }
  private none(): bool { store<u32>(this.statusHalf, 0, RING_STATUS_HEADER_RUNNING); return false; }
  /** Takes entry n. False: there is nothing to do for it, because it is damaged or was taken before. */
  private take(n: u32, out: Request): bool {
    const e = this.entry(n), st = this.statusEntry(n), own = this.own(n);
    barrier();
    let tries = 0;
    for (; tries < 8; tries++) { // an owner that posts again while it is copied changes seq and guard one after the other
      memory.copy(changetype<usize>(out), e, RING_REQUEST_ENTRY_SIZE);
      if (out.guard == requestGuard(changetype<usize>(out), n)) break;
      if (tries > 1 && requestGuard(e, n) != load<u32>(e, RING_REQUEST_ENTRY_GUARD)) break; // else it was made right meanwhile
    }
    const seq = out.seq;
    out.slot = n;
    if (seq == own.seq) return false; // it changed back
    if (out.guard != requestGuard(changetype<usize>(out), n)) {
      // It is right, and what it says is not what was copied, or was judged wrong: the fault is here. An owner that changes entries under way has not brought this about eight times.
      if (tries == 8) unreachable();
      own.seq = seq;
      this.refuse(n, seq);
      return false;
    }
    if (own.phase != PHASE_NONE && own.id == out.id) { own.seq = seq; this.repeated(n); return false; }
    const ahead = <i32>(out.order - this.turn);
    if (ahead > 0 && !this.tolerant) { this.miss(); return false; }
    if (ahead >= 0) this.turn = out.order + 1;
    own.seq = seq; own.id = out.id; own.phase = PHASE_TAKEN;
    this.cursor = (n + 1) & MASK;
    this.taken++;
    store<u32>(this.statusHalf, n + 1, RING_STATUS_HEADER_RUNNING);
    this.claimEntry(st, seq);
    store<u32>(this.statusHalf, this.taken, RING_STATUS_HEADER_TAKEN);
    mark(MARKS_REQUEST_TAKEN, n | this.number << 8 | out.op << 16, out.keySerial, out.keySeq);
    return true;
  }
  /** An entry is ahead of its turn: one before it was lost. Its owner is asked, once. */
  private miss(): void {
    this.gap = true;
    if (this.missing == this.turn + 1) return;
    this.missing = this.turn + 1;
    store<u32>(this.statusHalf, this.missing, RING_STATUS_HEADER_MISSING);
    barrier();
    this.knock();
  }
  private claimEntry(st: usize, seq: u32): void {
    store<u32>(st, RING_STATE_TAKEN, RING_STATUS_ENTRY_STATE);
    store<u32>(st, this.epoch, RING_STATUS_ENTRY_EPOCH);
    barrier();
    store<u32>(st, seq, RING_STATUS_ENTRY_SEQ);
  }
  /** Entry n is not what its owner posted. What is in work in that slot goes on; its owner finds out by itself. */
  private refuse(n: u32, seq: u32): void {
    proveGuard();
    this.damaged++;
    store<u32>(this.statusHalf, this.damaged, RING_STATUS_HEADER_DAMAGED);
    const own = this.own(n);
    if (own.phase == PHASE_TAKEN) return;
    own.phase = PHASE_NONE;
    own.status = DAMAGED; own.r0 = 0; own.r1 = 0; own.r2 = 0; own.r3 = 0;
    this.claimEntry(this.statusEntry(n), seq);
    this.writeAnswer(n);
    this.knock();
  }
  /** The entry of slot n was taken before, in this life, and was posted again: what is in work stays so, what was answered is answered again. */
  private repeated(n: u32): void {
    this.doubled++;
    store<u32>(this.statusHalf, this.doubled, RING_STATUS_HEADER_DOUBLED);
    this.claimEntry(this.statusEntry(n), this.own(n).seq);
    if (this.own(n).phase != PHASE_ANSWERED) return;
    this.writeAnswer(n);
    this.knock();
  }
  /** The owner misses something: answers that are not what they should be are written again. */
  private sayAgain(): void {
    let any = false;
    for (let n: u32 = 0; n < RING_SLOTS; n++) {
      const own = this.own(n), st = this.statusEntry(n);
      if (own.phase == PHASE_NONE || own.seq != load<u32>(this.entry(n), RING_REQUEST_ENTRY_SEQ)) continue;
      const done = own.phase == PHASE_ANSWERED;
      if (load<u32>(st, RING_STATUS_ENTRY_SEQ) == own.seq && load<u32>(st, RING_STATUS_ENTRY_STATE) == (done ? RING_STATE_DONE : RING_STATE_TAKEN)
        && load<u32>(st, RING_STATUS_ENTRY_EPOCH) == this.epoch
        && (!done || load<u32>(st, RING_STATUS_ENTRY_GUARD) == statusGuard(n, own.seq, own.status, own.r0, own.r1, own.r2, own.r3))) continue;
      this.claimEntry(st, own.seq);
      if (!done) continue;
      this.writeAnswer(n);
      any = true;
    }
    if (any) this.knock();
  }
  /** Taken by a dead epoch, and the owner has not posted it again yet. Once it has greeted this one, what is left is of damaged answers that it does not miss. */
  private widowed(n: u32): bool {
    if (this.greeted) return false;
    const st = this.statusEntry(n);
    return load<u32>(st, RING_STATUS_ENTRY_STATE) == RING_STATE_TAKEN && load<u32>(st, RING_STATUS_ENTRY_EPOCH) != this.epoch
      && load<u32>(st, RING_STATUS_ENTRY_SEQ) == load<u32>(this.entry(n), RING_REQUEST_ENTRY_SEQ) && load<u32>(st, RING_STATUS_ENTRY_SEQ) != 0;
  }
  /** Slot of the inherited entry with the lowest id; NOT_YET while its owner still has to post it again, -1 when all were taken. */
  private oldest(): i32 {
    let best: i32 = -1, id: u32 = 0;
    this.greeted = load<u32>(this.request, RING_REQUEST_HEADER_GREETED) == this.epoch;
    barrier();
    for (let n: u32 = 0; n < RING_SLOTS; n++) {
      const e = this.entry(n), mine = load<u32>(e, RING_REQUEST_ENTRY_ID);
      if (<i32>(mine - this.newest) > 0 || (best >= 0 && <i32>(mine - id) >= 0)) continue;
      if (load<u32>(e, RING_REQUEST_ENTRY_SEQ) == this.own(n).seq && !this.widowed(n)) continue;
      best = n; id = mine;
    }
    return best >= 0 && this.widowed(best) ? NOT_YET : best;
  }
  /** At attach: what is there. Returns how many are posted and not taken. */
  inherit(): u32 {
    let fresh: u32 = 0, last: u32 = 0, used = false;
    for (let n: u32 = 0; n < RING_SLOTS; n++) {
      const st = this.statusEntry(n);
      // The owner goes round the slots: what it posts next comes behind its last entry, whether that is answered or not.
      const at = this.entry(n), number = load<u32>(at, RING_REQUEST_ENTRY_ID);
      if (load<u32>(at, RING_REQUEST_ENTRY_SEQ) != 0 && (!used || <i32>(number - last) > 0)) { used = true; last = number; this.cursor = (n + 1) & MASK; }
      // All that is there is of the dead. A damaged one may have left an epoch that nobody has had yet, in which case the owner would wait for that one.
      if (<i32>(load<u32>(st, RING_STATUS_ENTRY_EPOCH) - this.epoch) >= 0) store<u32>(st, this.epoch - 1, RING_STATUS_ENTRY_EPOCH);
      this.own(n).seq = load<u32>(st, RING_STATUS_ENTRY_SEQ);
      const e = this.entry(n), posted = load<u32>(e, RING_REQUEST_ENTRY_SEQ) != this.own(n).seq;
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
    const own = this.own(slot);
    own.phase = PHASE_ANSWERED;
    own.status = status; own.r0 = r0; own.r1 = r1; own.r2 = r2; own.r3 = r3;
    this.writeAnswer(slot);
    mark(MARKS_REQUEST_DONE, slot | this.number << 8, <u32>status, 0);
    if (!served) firstServed();
  }
  private writeAnswer(slot: u32): void {
    const st = this.statusEntry(slot), own = this.own(slot);
    store<i32>(st, own.status, RING_STATUS_ENTRY_STATUS);
    store<u32>(st, own.r0, RING_STATUS_ENTRY_R0); store<u32>(st, own.r1, RING_STATUS_ENTRY_R1);
    store<u32>(st, own.r2, RING_STATUS_ENTRY_R2); store<u32>(st, own.r3, RING_STATUS_ENTRY_R3);
    store<u32>(st, statusGuard(slot, own.seq, own.status, own.r0, own.r1, own.r2, own.r3), RING_STATUS_ENTRY_GUARD);
    barrier();
    store<u32>(st, RING_STATE_DONE, RING_STATUS_ENTRY_STATE);
    this.done++;
    barrier();
    store<u32>(this.statusHalf, this.done, RING_STATUS_HEADER_DONE);
    barrier();
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
  w.slots = mustAlloc(RING_SLOTS * <u32>WORKER_SLOT);
  w.tolerant = true;
  w.again = load<u32>(request, RING_REQUEST_HEADER_AGAIN);
  const head = load<u32>(request, RING_REQUEST_HEADER_HEAD);
  barrier();
  w.taken = head - w.inherit();
  store<u32>(status, 0, RING_STATUS_HEADER_RUNNING);
  w.done = load<u32>(status, RING_STATUS_HEADER_DONE);
  store<u32>(status, 0, RING_STATUS_HEADER_FAILED); // it is here, whoever said that it never comes: a predecessor, perhaps
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

// ---- patience -------------------------------------------------------------------------------------------------------------------------

const ALARM_BIT: u32 = 1 << NOTIFY_BITS_ALARM;
/** How long an entry may be in flight before its owner looks after it; each look is followed by a wait four times as long, until something new is posted. */
const FIRST_PATIENCE: u64 = 2_000_000; // ns
const LEISURELY_PATIENCE: u64 = 32_000_000; // from this on rings are looked after that are `leisurely`
const LAST_PATIENCE: u64 = 3600_000_000_000;
let patience: u64 = 0; // what the alarm is set to; 0 = it is not
function arm(): void { sys.alarm(ownNotify, ALARM_BIT, sys.clock() + patience); }
/** The alarm came. */
export function ringWatch(): void {
  let left: u32 = 0;
  for (let n: usize = 0; n < 16; n++) {
    const o = load<usize>(OWNERS + (n << 2));
    if (o == 0) continue;
    if (!changetype<RingOwner>(o).leisurely || patience >= LEISURELY_PATIENCE) changetype<RingOwner>(o).lookAfter();
    left += changetype<RingOwner>(o).inFlight;
  }
  if (left == 0) { patience = 0; return; }
  patience = patience == 0 ? FIRST_PATIENCE : patience >= LAST_PATIENCE >> 2 ? LAST_PATIENCE : patience << 2;
  arm();
}

/** What the event loop does with doorbell bits: owners reap, workers' waiting fibers wake. */
export function ringDispatch(bits: u32): void {
  if ((bits & ALARM_BIT) != 0) ringWatch();
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
    if (!s.worker.nextWait(request)) continue;
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
