/**
 * Waiting on behalf of a program. A fiber's `local` is the Program it works for (0 for process's own fibers). Two kinds of waits:
 *   - waits for servers (fs) end by themselves in bounded time and are never cut short: the answer may still arrive in shared memory;
 *   - waits for events (`pause`) end early when a signal comes: then the operation returns -EINTR, or the program dies.
 */
import { CANCELLED, Fiber, WOKEN, WaitQueue, clearCancel, current, newQueue, waitOn, wakeAll } from '../lib/fiber';
import { DYING, Program } from './records';

export function currentProgram(): Program { return changetype<Program>(current().local); }

/** True: the wait was satisfied or timed out (`timedOut()`). False: give up now with -EINTR. */
export function pause(queue: WaitQueue, deadline: u64): bool {
  const p = currentProgram();
  if (changetype<usize>(p) == 0) { reason = waitOn(queue, deadline); return true; }
  if (p.state == DYING || p.interrupted != 0) return false;
  p.waitsFor = 1;
  reason = waitOn(queue, deadline);
  p.waitsFor = 0;
  if (reason == CANCELLED) clearCancel(current());
  return reason != CANCELLED;
}
let reason: u32 = WOKEN;
export function lastReason(): u32 { return reason; }

/** Must the operation of this fiber stop: its program dies, or a caught signal came? */
export function mustStop(): bool {
  const p = currentProgram();
  return changetype<usize>(p) != 0 && (p.state == DYING || p.interrupted != 0);
}

let pollers_: WaitQueue = changetype<WaitQueue>(0);
export function waitInit(): void { pollers_ = newQueue(); }
/** Fibers in `poll`: woken by every change of anything that can be polled, to look again. */
export function pollers(): WaitQueue { return pollers_; }
export function wakePollers(): void { wakeAll(pollers_); }
