/**
 * Who runs: readiness, budgets, lending, and the way out of the kernel.
 *
 * `leave` is the end of every entry: it puts the current Thread back if it may not go on, picks the most important ready one, loads what belongs
 * to it, sets the timer, and idles when there is none. IPC lock held in everything here except where said.
 */
import { ERR_OK, THREAD_STATE_READY, THREAD_STATE_RUNNING, FAULT_VECTOR_RESERVE_OVERRUN } from 'kintsugi/abi';
import { sti, stiHlt, cli, pause, writeCr3 } from 'kintsugi/x86';
import { Thread } from '../object/thread';
import { Sched, schedOfTimer } from '../object/sched';
import { Cpu } from '../arch/cpu';
import { nil, none, same } from './pointer';
import { lockIpc, unlockIpc } from './lock';
import { enqueueFirst, enqueueLast, dequeueTop } from './runqueue';
import { armTimer, Timer } from './timer';
import { now } from '../arch/clock';
import { setOneShot } from '../arch/lapic';
import { answerRequests, kick, sendKicks } from './shootdown';
import { loadExtras, leaveFpu } from '../arch/extras';
import { faultCurrent } from './fault';
import { restartCall } from './syscall';
import { F_SUSPENDED, F_UNREADY, F_THROTTLED, F_RESTART, F_TLS, F_PORTS, F_DEBUG, F_FOLLOW, NEVER } from './state';
import { T_FRAME_END } from '../offsets';

/** Accounts the time since the last accounting to the current Thread and its Sched. */
export function chargeCurrent(cpu: Cpu): void {
  const time = now();
  const t = cpu.current;
  if (!nil(t) && time > cpu.chargedTo) {
    const ns = time - cpu.chargedTo;
    t.runNs += ns;
    const s = t.sched;
    if (!nil(s)) { s.consumed += ns; s.remaining -= <i64>ns; }
  }
  cpu.chargedTo = time;
}

// ---- lending ---------------------------------------------------------------------------------------------------------------------------

/** The caller's Sched runs its server on the same CPU. */
export function lend(c: Thread, server: Thread): void {
  const s = c.sched;
  if (nil(s) || !same(s.thread, c) || !same(c.cpu, server.cpu)) return;
  sendHome(server);
  server.sched = s;
  s.thread = server;
}
/** `t` no longer runs on what was lent to it. */
export function sendHome(t: Thread): void {
  const s = t.sched;
  if (nil(s) || same(s.owner, t) || !same(s.thread, t)) { if (nil(s)) takeOwn(t); return; }
  s.thread = none<Thread>();
  takeOwn(t);
}
function takeOwn(t: Thread): void {
  t.sched = t.own;
  if (!nil(t.own)) t.own.thread = t;
}
/** `c` runs on its own Sched again, wherever that was. */
export function takeBack(c: Thread): void {
  const s = c.sched;
  if (nil(s)) { takeOwn(c); return; }
  const h = s.thread;
  if (same(h, c)) return;
  if (!nil(h) && same(h.sched, s)) takeOwn(h);
  s.thread = c;
}

// ---- readiness -------------------------------------------------------------------------------------------------------------------------

/**
 * A blocked Thread with the follow flag will run on `target`. Not if the CPU it blocked on has not left it yet: there it is still `current`, and two CPUs
 * must never run, or save to, one Thread.
 */
export function follow(t: Thread, target: Cpu): void {
  if ((t.flags & F_FOLLOW) != 0 && !same(t.cpu.current, t)) t.cpu = target;
}
/** `t` may run. `first`: before its equals (the partner of an IPC), else behind them. Runs on `t.cpu`. */
export function makeReady(cpu: Cpu, t: Thread, first: bool): void {
  t.state = THREAD_STATE_READY;
  if ((t.flags & (F_SUSPENDED | F_UNREADY)) != 0 || t.queued != 0) return;
  takeBack(t);
  const s = t.sched;
  if (nil(s)) return; // until a Sched is bound or lent
  if (s.period != 0 && s.remaining <= 0) { throttle(t, s); return; }
  t.flags &= ~F_THROTTLED;
  const target = t.cpu;
  if (first) enqueueFirst(target, t); else enqueueLast(target, t);
  if (same(target, cpu)) return;
  const running = target.current;
  if (nil(running) || t.prio >= running.prio) kick(cpu, target);
}
function throttle(t: Thread, s: Sched): void {
  t.flags |= F_THROTTLED;
  const time = now();
  const next = s.periodStart + <u64>s.period;
  if (s.throttled == 0) {
    s.throttled = 1;
    armTimer(s.timer, t.cpu, next > time ? next : time);
  }
}
/** The next period of a Sched has begun. */
export function replenish(cpu: Cpu, timer: Timer): void {
  const s = schedOfTimer(timer);
  s.throttled = 0;
  s.remaining = <i64>s.budget;
  s.periodStart = now();
  const t = s.thread;
  if (!nil(t)) { t.flags &= ~F_THROTTLED; if (t.state == THREAD_STATE_READY) makeReady(cpu, t, false); }
  if (!nil(s.owner)) s.owner.flags &= ~F_THROTTLED;
}
/** The current Thread has used up what it runs on. True when it has to go behind its equals (round robin) or may not go on. */
function budgetEnded(cpu: Cpu, t: Thread): bool {
  const s = t.sched;
  if (nil(s)) return true;
  if (s.remaining > 0) return false;
  if (s.period == 0) { s.remaining = <i64>s.budget; return true; }
  if (!same(s.owner, t)) {
    if (!nil(t.own)) { // a lent budget ended: go on with the reserve, the owner waits for its period
      if (!nil(s.owner)) { s.thread = s.owner; throttle(s.owner, s); }
      takeOwn(t);
      return false;
    }
    throttle(t, s);
    return true;
  }
  if (s.reserve != 0) {
    s.remaining = <i64>s.budget;
    if (!nil(t.faultEndpoint)) faultCurrent(cpu, t, FAULT_VECTOR_RESERVE_OVERRUN, 0);
    return true;
  }
  throttle(t, s);
  return true;
}

// ---- leaving ---------------------------------------------------------------------------------------------------------------------------

function mayRun(t: Thread): bool {
  return t.state == THREAD_STATE_RUNNING && (t.flags & (F_SUSPENDED | F_UNREADY | F_THROTTLED)) == 0 && t.moving == 0 && !nil(t.sched);
}
/** The current Thread stops being current. */
export function retire(cpu: Cpu, t: Thread): void {
  if (cpu.fpuLive != 0) leaveFpu(cpu, t);
  cpu.current = none<Thread>();
}

/** The end of every entry into the kernel; no lock held. Returns with `cpu.current` to be resumed by the exit stub. */
export function leave(cpu: Cpu): void {
  lockIpc();
  let window = false;
  while (true) {
    answerRequests(cpu);
    let t = cpu.current;
    if (!nil(t)) {
      if (cpu.resched != 0 || !mayRun(t) || cpu.topReady >= <i32>t.prio) {
        chargeCurrent(cpu);
        const ended = mayRun(t) && budgetEnded(cpu, t);
        if (!mayRun(t)) {
          retire(cpu, t);
          if (t.moving != 0) { t.moving = 0; t.cpu = t.home; }
          if (t.state == THREAD_STATE_RUNNING) makeReady(cpu, t, false);
        } else if (cpu.topReady > <i32>t.prio || (cpu.topReady == <i32>t.prio && (ended || cpu.yielding != 0))) {
          retire(cpu, t);
          makeReady(cpu, t, !ended && cpu.yielding == 0);
        }
      }
      cpu.resched = 0;
    } else chargeCurrent(cpu);
    cpu.yielding = 0;
    t = cpu.current;
    if (nil(t)) {
      if (cpu.topReady < 0) { idle(cpu); continue; }
      t = dequeueTop(cpu);
      t.state = THREAD_STATE_RUNNING;
      cpu.current = t;
      store<usize>(cpu.esp0, changetype<usize>(t) + T_FRAME_END);
    }
    if (cpu.cr3 != t.cr3) { cpu.cr3 = t.cr3; writeCr3(t.cr3); }
    if ((t.flags & (F_TLS | F_PORTS | F_DEBUG)) != 0 || !nil(cpu.portsOwner) || !nil(cpu.debugOwner)) loadExtras(cpu, t);
    setTimer(cpu);
    if ((t.flags & F_RESTART) == 0) break;
    if (!window) { // the preemption point: interrupts that wait are taken here
      window = true;
      unlockIpc();
      sendKicks(cpu);
      openWindow();
      lockIpc();
      continue;
    }
    window = false;
    t.flags &= ~F_RESTART;
    unlockIpc();
    sendKicks(cpu);
    restartCall(cpu, t);
    lockIpc();
  }
  unlockIpc();
  sendKicks(cpu);
}
function openWindow(): void { sti(); pause(); cli(); }

function idle(cpu: Cpu): void {
  setTimer(cpu);
  cpu.idle = 1;
  unlockIpc();
  sendKicks(cpu);
  stiHlt();
  cli();
  lockIpc();
  cpu.idle = 0;
  const before = cpu.chargedTo;
  chargeCurrent(cpu);
  cpu.idleNs += cpu.chargedTo - before;
}

/** Sets the one-shot timer to the first thing that is due; a timer set too early only looks again. */
function setTimer(cpu: Cpu): void {
  let due = NEVER;
  const first = cpu.timers;
  if (!nil(first)) due = first.deadline;
  const t = cpu.current;
  if (!nil(t)) {
    const s = t.sched;
    if (!nil(s) && (s.period != 0 || cpu.topReady >= 0)) { // whoever is ready may become an equal by the fast path
      const end = s.remaining > 0 ? cpu.chargedTo + <u64>s.remaining : cpu.chargedTo;
      if (end < due) due = end;
    }
  }
  if (due < cpu.armed) {
    cpu.armed = due;
    setOneShot(due);
  }
}
