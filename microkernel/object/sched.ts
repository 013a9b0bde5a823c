/**
 * Sched: the right to run: a budget per period, or, with period 0, a round-robin slice.
 *
 * Layout: 128 bytes. `owner` is the Thread it is bound to, `thread` the one that runs on it now: during a call on one CPU it is lent to the
 * server, and comes home at the reply, when the server blocks, or when the caller is aborted. The owner keeps `sched` pointing here meanwhile.
 * A reserve is what a server falls back to when a lent budget ends; only the overrun of a reserve means that the server hangs.
 * `remaining` is refilled to `budget` when a slice ends (period 0) or at the start of the next period. `deadline` and `weight` are kept for the
 * priority levels ordered by deadline (EDF) or virtual runtime (fair).
 * `thread` may lag behind (the fast path does not take a server's own Sched away from it): it counts only where thread.sched == this.
 * Invariants: owner != 0 => owner.own or owner.reserve == this. IPC lock.
 */
import { ERR_OK, ERR_ARG, ERR_TYPE, ERR_RIGHTS, ERR_BUSY, OBJ_THREAD, THREAD_RIGHTS_CONTROL, SCHED_RIGHTS_CONTROL, SCHED_CONFIGURE, SCHED_BIND, SCHED_INFO, THREAD_STATE_READY, THREAD_STATE_RUNNING } from 'kintsugi/abi';
import { KObject, Slot, findTyped } from '../core/capability';
import { Thread } from './thread';
import { Timer, TIMER_SCHED, disarmTimer } from '../core/timer';
import { makeReady } from '../core/schedule';
import { unqueue } from '../core/runqueue';
import { lockIpc, unlockIpc } from '../core/lock';
import { Cpu } from '../arch/cpu';
import { nil, none, same } from '../core/pointer';
import { F_THROTTLED } from '../core/state';

@unmanaged @final export class Sched extends KObject {
  thread: Thread;
  owner: Thread;
  budget: u32; period: u32; deadline: u32; weight: u32; // ns
  reserve: u32;
  throttled: u32; // waits for the next period
  remaining: i64;
  consumed: u64;
  periodStart: u64;
  timer: Timer;
  spare: u32;
  timerSpace0: u64; timerSpace1: u64; timerSpace2: u64; timerSpace3: u64;
}
export const SCHED_BYTES: u32 = 128;
/** Round-robin slice of a Sched that was not configured. */
export const DEFAULT_SLICE: u32 = 10000000;

export function schedInit(s: Sched): void {
  s.budget = DEFAULT_SLICE;
  s.remaining = <i64>DEFAULT_SLICE;
  s.timer = changetype<Timer>(changetype<usize>(s) + offsetof<Sched>('timerSpace0'));
  s.timer.kind = TIMER_SCHED;
}
export function schedOfTimer(t: Timer): Sched { return changetype<Sched>(changetype<usize>(t) - offsetof<Sched>('timerSpace0')); }

export function checkSched(s: Sched): bool {
  return nil(s.owner) || same(s.owner.own, s) || same(s.owner.reserve, s);
}

/** What a Thread runs on when nothing is lent to it. */
function fallback(t: Thread): void { if (nil(t.own)) t.own = t.reserve; }

function unbind(s: Sched): void {
  const t = s.owner;
  const h = s.thread; // the owner, or the server it was lent to
  s.thread = none<Thread>();
  if (!nil(h) && same(h.sched, s)) {
    h.sched = same(h, t) ? none<Sched>() : h.own;
    if (nil(h.sched)) unqueue(h);
  }
  if (nil(t)) return;
  if (same(t.sched, s)) t.sched = none<Sched>();
  if (same(t.reserve, s)) t.reserve = none<Sched>();
  if (same(t.own, s)) t.own = none<Sched>();
  t.flags &= ~F_THROTTLED;
  fallback(t);
  s.owner = none<Thread>();
}
/** A Thread goes away: its own Scheds are unbound, a lent one goes home. */
export function schedForget(t: Thread): void {
  unqueue(t);
  const s = t.sched;
  if (!nil(s) && !same(s.owner, t) && same(s.thread, t)) s.thread = none<Thread>();
  t.sched = none<Sched>();
  if (!nil(t.own)) unbind(t.own);
  if (!nil(t.reserve)) unbind(t.reserve);
}
export function schedDestroy(cpu: Cpu, s: Sched): void {
  lockIpc();
  disarmTimer(s.timer);
  unbind(s);
  cpu.resched = 1;
  unlockIpc();
}

export function schedInvoke(cpu: Cpu, caller: Thread, cap: Slot, op: u32): u32 {
  const s = changetype<Sched>(cap.object);
  if (op == 0 || op > SCHED_INFO) { cpu.argument = 1; return ERR_TYPE; }
  if ((cap.rights & <u8>SCHED_RIGHTS_CONTROL) == 0) { cpu.argument = 0; return ERR_RIGHTS; }
  if (op == SCHED_INFO) {
    cpu.r0 = s.remaining > 0 ? <u32>s.remaining : 0;
    cpu.r1 = <u32>s.consumed;
    cpu.r2 = <u32>(s.consumed >> 32);
    cpu.results = 3;
    return ERR_OK;
  }
  if (op == SCHED_CONFIGURE) {
    if (cpu.w0 < 1000) { cpu.argument = 2; return ERR_ARG; } // a microsecond is the least
    if (cpu.w1 != 0 && cpu.w1 < cpu.w0) { cpu.argument = 3; return ERR_ARG; }
    if (cpu.w4 > 1) { cpu.argument = 6; return ERR_ARG; }
    if (!nil(s.owner) && cpu.w4 != s.reserve) { cpu.argument = 6; return ERR_BUSY; }
    // ---- commit ----
    lockIpc();
    s.budget = cpu.w0; s.period = cpu.w1; s.deadline = cpu.w2; s.weight = cpu.w3; s.reserve = cpu.w4;
    s.remaining = <i64>cpu.w0;
    cpu.resched = 1;
    unlockIpc();
    return ERR_OK;
  }
  let t = none<Thread>();
  if (cpu.w0 != 0) {
    const slot = findTyped(cpu, caller.table, cpu.w0, OBJ_THREAD, THREAD_RIGHTS_CONTROL);
    if (nil(slot)) { cpu.argument = 2; return cpu.failure; }
    t = changetype<Thread>(slot.object);
    if (!nil(s.owner) && !same(s.owner, t)) { cpu.argument = 0; return ERR_BUSY; }
    if (s.reserve != 0 ? !nil(t.reserve) && !same(t.reserve, s) : !nil(t.own) && !same(t.own, s) && !same(t.own, t.reserve)) { cpu.argument = 2; return ERR_BUSY; }
  }
  // ---- commit ----
  lockIpc();
  if (nil(t)) unbind(s);
  else {
    s.owner = t;
    if (s.reserve != 0) { t.reserve = s; fallback(t); } else t.own = s;
    if (nil(t.sched) || same(t.sched, t.reserve)) { t.sched = t.own; t.own.thread = t; }
    if (t.state == THREAD_STATE_READY && t.queued == 0) makeReady(cpu, t, false);
  }
  cpu.resched = 1;
  unlockIpc();
  return ERR_OK;
}
