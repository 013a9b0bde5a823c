/**
 * Cooperative fibers: many waits in one Thread.
 *
 * A server has one Thread; each request it works on runs in a fiber with a stack of its own (guard page below, mapped by the supervisor). A
 * fiber gives up the CPU only in `block*`, `waitOn`, `yieldNow` and in what calls them (ring calls, `sleep`, `lock`): between two of these it
 * owns all state of the server, and after one it must look again at everything it remembered. The main stack runs the scheduler: ready
 * fibers in FIFO order, then timers, then the Thread waits in the kernel (server.ts, or the server's own loop around `recv`).
 *
 * Invariants: a Fiber is on at most one list (ready, a WaitQueue, the free list) by its first Link; on the timer list by its second;
 * `esp` is valid when it does not run. Wake is idempotent: a ready fiber stays where it is.
 */
import { REGION_FIBER_STACKS } from 'kintsugi/protocols';
import { switchStack, codeAddr } from 'kintsugi/x86';
import * as sys from './sys';
import { Link, linkInit, append, remove, isEmpty, isLinked } from './list';
import { Region, needRegion } from './startup';
import { mustAlloc } from './alloc';

/** Why a wait ended. */
export const WOKEN: u32 = 0;
export const TIMED_OUT: u32 = 1;
export const CANCELLED: u32 = 2;

const FREE: u32 = 0;
const READY: u32 = 1;
const RUNNING: u32 = 2;
const BLOCKED: u32 = 3;

@unmanaged @final export class Fiber extends Link {
  timer: Timer; // second Link: embedded record, see TIMER_BYTES
  esp: usize; state: u32; reason: u32;
  entry: u32; argument: usize; // function index
  stackTop: usize;
  number: u32; // 1.. , stable
  local: usize; // for the server: whatever belongs to this fiber
  tag: u32; // what `runningAt` shows while this fiber runs
  cancelled: u32; // set by `cancel`, stays until the fiber ends or `clearCancel`
}
@unmanaged @final export class Timer extends Link { deadline: u64; fiber: Fiber }
/** FIFO of blocked fibers. */
@unmanaged @final export class WaitQueue extends Link {}
@unmanaged @final export class Mutex extends Link { owner: Fiber }

const ready: Link = changetype<Link>(memory.data(8, 4));
const idle: Link = changetype<Link>(memory.data(8, 4)); // free fibers
const timers: Link = changetype<Link>(memory.data(8, 4)); // sorted by deadline
const MAIN_ESP: usize = memory.data(4, 4);
let running: Fiber = changetype<Fiber>(0);
let count: u32 = 0;
let freeCount: u32 = 0;
let switches: u32 = 0;

/** After `allocInit`: takes all stacks of the fiber region. */
export function fibersInit(): void {
  linkInit(ready); linkInit(idle); linkInit(timers);
  running = changetype<Fiber>(0);
  const r: Region = needRegion(REGION_FIBER_STACKS);
  const pages = r.flags;
  for (let n: u32 = 0; n < r.pages / pages; n++) addStack(r.va + (n * (pages + 1) << 12), pages << 12);
}
/** Tests, programs: no stacks yet. */
export function fibersInitEmpty(): void { linkInit(ready); linkInit(idle); linkInit(timers); running = changetype<Fiber>(0); }
export function addStack(low: usize, bytes: u32): void {
  const f = changetype<Fiber>(mustAlloc(offsetof<Fiber>()));
  f.timer = changetype<Timer>(mustAlloc(offsetof<Timer>()));
  f.timer.fiber = f;
  linkInit(f); linkInit(f.timer);
  f.stackTop = low + bytes;
  f.state = FREE;
  count++; freeCount++;
  f.number = count;
  append(idle, f);
}

export function current(): Fiber { return running; }
export function inFiber(): bool { return changetype<usize>(running) != 0; }
export function freeFibers(): u32 { return freeCount; }
export function switchCount(): u32 { return switches; }

/** Starts `entry(argument)` in a fresh fiber, ready to run; a null Fiber (changetype<usize> == 0) when all stacks are in use. */
export function spawn(entry: (argument: usize) => void, argument: usize): Fiber {
  if (isEmpty(idle)) return changetype<Fiber>(0);
  const f = changetype<Fiber>(idle.next);
  remove(f);
  freeCount--;
  f.entry = entry.index; f.argument = argument; f.local = 0; f.cancelled = 0; f.reason = WOKEN;
  // What switchStack pops: four callee-saved registers, then the return address; above it the return address of fiberMain, never used.
  const top = f.stackTop - 32;
  memory.fill(top, 0, 32);
  store<usize>(top, codeAddr(fiberMain.index), 16);
  f.esp = top;
  f.state = READY;
  append(ready, f);
  return f;
}
function fiberMain(): void {
  const f = running;
  call_indirect(f.entry, f.argument);
  f.state = FREE;
  append(idle, f);
  freeCount++;
  leave(f);
}
/** From a fiber to the scheduler. */
function leave(f: Fiber): void {
  running = changetype<Fiber>(0);
  switchStack(changetype<usize>(f) + offsetof<Fiber>("esp"), load<usize>(MAIN_ESP));
}

/** Scheduler (main stack only): runs ready fibers until none is left. */
export function runReady(): void {
  while (!isEmpty(ready)) {
    const f = changetype<Fiber>(ready.next);
    remove(f);
    f.state = RUNNING;
    running = f;
    switches++;
    store<u32>(runningAt, f.tag);
    switchStack(MAIN_ESP, f.esp);
  }
  store<u32>(runningAt, 0);
}
/** Where the tag of the running fiber stands, for whoever looks after a death (servers/lib/ring.ts). */
let runningAt: usize = memory.data(4, 4);
export function showRunningAt(at: usize): void { runningAt = at; }
export function anyReady(): bool { return !isEmpty(ready); }

/** Gives up the CPU until `wake`. Returns why: WOKEN, CANCELLED. */
export function block(): u32 { return blockUntil(sys.FOREVER); }
/** The same with an absolute deadline in ns of `clock()`: also TIMED_OUT. */
export function blockUntil(deadline: u64): u32 {
  const f = running;
  if (f.cancelled != 0) { remove(f); return CANCELLED; } // `remove`: waitOn queued it already
  if (deadline != sys.FOREVER) addTimer(f.timer, deadline);
  f.state = BLOCKED;
  leave(f);
  return f.reason;
}
function addTimer(t: Timer, deadline: u64): void {
  t.deadline = deadline;
  let at = timers.prev;
  while (changetype<usize>(at) != changetype<usize>(timers) && changetype<Timer>(at).deadline > deadline) at = at.prev;
  append(at.next, t); // before the successor of `at`
}
/** Makes a blocked fiber ready; nothing happens to one that runs, is ready or free. */
export function wake(f: Fiber): void { wakeFor(f, WOKEN); }
function wakeFor(f: Fiber, reason: u32): void {
  if (f.state != BLOCKED) return;
  remove(f); // from the WaitQueue, if any
  remove(f.timer);
  f.reason = reason;
  f.state = READY;
  append(ready, f);
}
/** The fiber's present wait, or its next one, ends with CANCELLED, and so do all later ones until `clearCancel`. */
export function cancel(f: Fiber): void {
  f.cancelled = 1;
  wakeFor(f, CANCELLED);
}
export function clearCancel(f: Fiber): void { f.cancelled = 0; }
export function isCancelled(): bool { return inFiber() && running.cancelled != 0; }
/** To the end of the ready list. */
export function yieldNow(): void {
  const f = running;
  f.state = READY; f.reason = WOKEN;
  append(ready, f);
  leave(f);
}
export function sleepUntil(deadline: u64): u32 { return blockUntil(deadline); }
export function sleep(ns: u64): u32 { return blockUntil(sys.clock() + ns); }

/** Earliest deadline of a blocked fiber, FOREVER when there is none: what the loop passes to `wait` or `recv`. */
export function nextDeadline(): u64 { return isEmpty(timers) ? sys.FOREVER : changetype<Timer>(timers.next).deadline; }
/** Wakes every fiber whose deadline has come. */
export function expireTimers(): void {
  if (isEmpty(timers)) return;
  const now = sys.clock();
  while (!isEmpty(timers)) {
    const t = changetype<Timer>(timers.next);
    if (t.deadline > now) return;
    wakeFor(t.fiber, TIMED_OUT);
  }
}

// ---- wait queues and mutexes ----------------------------------------------------------------------------------------------------------

export function queueInit(q: WaitQueue): void { linkInit(q); }
export function newQueue(): WaitQueue { const q = changetype<WaitQueue>(mustAlloc(8)); linkInit(q); return q; }
/** Blocks the running fiber on q until `wakeOne` / `wakeAll` / `wake`, the deadline or `cancel`. */
export function waitOn(q: WaitQueue, deadline: u64): u32 {
  append(q, running);
  return blockUntil(deadline);
}
export function hasWaiters(q: WaitQueue): bool { return !isEmpty(q); }
export function wakeOne(q: WaitQueue): bool {
  if (isEmpty(q)) return false;
  wakeFor(changetype<Fiber>(q.next), WOKEN);
  return true;
}
export function wakeAll(q: WaitQueue): void { while (!isEmpty(q)) wakeFor(changetype<Fiber>(q.next), WOKEN); }

export function mutexInit(m: Mutex): void { linkInit(m); m.owner = changetype<Fiber>(0); }
export function newMutex(): Mutex { const m = changetype<Mutex>(mustAlloc(offsetof<Mutex>())); mutexInit(m); return m; }
/** FIFO; not recursive. Not cancellable: whoever holds a mutex ends in bounded time. */
export function lock(m: Mutex): void {
  const f = running;
  if (changetype<usize>(m.owner) == 0) { m.owner = f; return; }
  const cancelled = f.cancelled;
  f.cancelled = 0;
  while (changetype<usize>(m.owner) != changetype<usize>(f)) {
    append(m, f);
    blockUntil(sys.FOREVER);
  }
  f.cancelled |= cancelled;
}
/** Hands the mutex to the longest waiter. */
export function unlock(m: Mutex): void {
  if (isEmpty(m)) { m.owner = changetype<Fiber>(0); return; }
  const f = changetype<Fiber>(m.next);
  m.owner = f;
  wakeFor(f, WOKEN);
}
