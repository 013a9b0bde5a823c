/**
 * Notify: 32 bits that anybody with the right may set, and somebody waits for. Interrupts, alarms, doorbells, child death.
 *
 * Layout: 128 bytes: bits, queue of waiting Threads, the Thread it is bound to, one alarm. A bound Notify also ends `recv` of its Thread.
 * A signal wakes at most one waiter: the first whose mask has one of the bits; it takes the bits of its mask. Bits nobody takes stay.
 * Invariants: a Thread on the queue is waiting and its mask has no bit in common with `bits`; bound != 0 <=> bound.notify == this; the bound Thread
 * has F_NOTIFY exactly while bits != 0. IPC lock.
 */
import {
  ERR_OK, ERR_TYPE, ERR_RIGHTS, ERR_GONE, NOTIFY_BADGE, NOTIFY_ALARM, NOTIFY_CLEAR, NOTIFY_RIGHTS_WAIT, THREAD_STATE_RECEIVING, THREAD_STATE_WAITING,
  MP_BADGE, MP_PENDING,
} from 'kintsugi/abi';
import { KObject, Slot } from '../core/capability';
import { Thread } from './thread';
import { Timer, TIMER_ALARM, armTimer, disarmTimer } from '../core/timer';
import { cancel, finishBlocked } from '../core/ipc';
import { makeReady, follow } from '../core/schedule';
import { forgetNotify } from './device';
import { lockIpc, unlockIpc } from '../core/lock';
import { Cpu } from '../arch/cpu';
import { nil, none, same } from '../core/pointer';
import { F_NOTIFY } from '../core/state';

@unmanaged @final export class Notify extends KObject {
  bits: u32;
  first: Thread; last: Thread; // waiters
  bound: Thread;
  alarmBits: u32;
  devices: u32; // Devices bound to it
  timer: Timer;
  spare: u32;
  timerSpace0: u64; timerSpace1: u64; timerSpace2: u64; timerSpace3: u64;
}
export const NOTIFY_BYTES: u32 = 128;

export function notifyInit(n: Notify): void {
  n.timer = changetype<Timer>(changetype<usize>(n) + offsetof<Notify>('timerSpace0'));
  n.timer.kind = TIMER_ALARM;
}
export function checkNotify(n: Notify): bool {
  let t = n.first;
  while (!nil(t)) { if (t.state != THREAD_STATE_WAITING || !same(t.waiting, n) || (t.waitMask & n.bits) != 0) return false; t = t.qnext; }
  return nil(n.bound) || (same(n.bound.notify, n) && ((n.bound.flags & F_NOTIFY) != 0) == (n.bits != 0));
}

export function appendWaiter(n: Notify, t: Thread): void {
  t.qnext = none<Thread>();
  if (nil(n.first)) n.first = t; else n.last.qnext = t;
  n.last = t;
  t.waiting = n;
}
export function removeWaiter(n: Notify, t: Thread): void {
  t.waiting = none<Notify>();
  if (same(n.first, t)) { n.first = t.qnext; t.qnext = none<Thread>(); return; }
  let p = n.first;
  while (!same(p.qnext, t)) p = p.qnext;
  p.qnext = t.qnext;
  if (nil(p.qnext)) n.last = p;
  t.qnext = none<Thread>();
}
/** Bits changed: the bound Thread's fast path flag follows. */
function flagBound(n: Notify): void {
  const b = n.bound;
  if (nil(b)) return;
  if (n.bits != 0) b.flags |= F_NOTIFY; else b.flags &= ~F_NOTIFY;
}
/** Takes the bits of `mask`. */
export function takeBits(n: Notify, mask: u32): u32 {
  const taken = n.bits & mask;
  n.bits &= ~mask;
  flagBound(n);
  return taken;
}
/** The message page of a Thread whose receive ends with the bits of its bound Notify. */
export function deliverBits(t: Thread, n: Notify): void {
  store<u32>(t.mp, NOTIFY_BADGE, MP_BADGE);
  store<u32>(t.mp, takeBits(n, 0xffffffff), MP_PENDING);
  t.eax = ERR_OK;
  t.ebx = 0;
}

/** Sets bits and wakes. `waker`: a system call on this CPU, so a Thread with the follow flag comes here; otherwise it wakes at home. */
export function signal(cpu: Cpu, n: Notify, bits: u32, waker: bool): void {
  n.bits |= bits;
  const b = n.bound;
  if (!nil(b) && b.state == THREAD_STATE_RECEIVING) {
    cancel(b);
    deliverBits(b, n);
    wake(cpu, b, waker);
    return;
  }
  let t = n.first;
  while (!nil(t)) {
    if ((t.waitMask & n.bits) != 0) {
      cancel(t);
      store<u32>(t.mp, takeBits(n, t.waitMask), MP_PENDING);
      t.eax = ERR_OK;
      wake(cpu, t, waker);
      return;
    }
    t = t.qnext;
  }
  flagBound(n);
}
function wake(cpu: Cpu, t: Thread, waker: bool): void {
  follow(t, waker ? cpu : t.home);
  makeReady(cpu, t, false);
}
/** The alarm of the Notify that this timer belongs to has come. */
export function alarmFired(cpu: Cpu, timer: Timer): void {
  const n = changetype<Notify>(changetype<usize>(timer) - offsetof<Notify>('timerSpace0'));
  signal(cpu, n, n.alarmBits, false);
}

export function notifyDestroy(cpu: Cpu, n: Notify): void {
  lockIpc();
  disarmTimer(n.timer);
  while (!nil(n.first)) { const t = n.first; cancel(t); finishBlocked(t, ERR_GONE); }
  if (!nil(n.bound)) { n.bound.notify = none<Notify>(); n.bound.flags &= ~F_NOTIFY; n.bound = none<Thread>(); }
  if (n.devices != 0) forgetNotify(n);
  unlockIpc();
}

export function notifyInvoke(cpu: Cpu, cap: Slot, op: u32): u32 {
  const n = changetype<Notify>(cap.object);
  if (op != NOTIFY_ALARM && op != NOTIFY_CLEAR) { cpu.argument = 1; return ERR_TYPE; }
  if ((cap.rights & <u8>NOTIFY_RIGHTS_WAIT) == 0) { cpu.argument = 0; return ERR_RIGHTS; }
  // ---- commit ----
  lockIpc();
  if (op == NOTIFY_CLEAR) {
    cpu.r0 = takeBits(n, cpu.w0);
    cpu.results = 1;
  } else {
    const deadline = <u64>cpu.w1 | (<u64>cpu.w2 << 32);
    n.alarmBits = cpu.w0;
    if (deadline == 0) disarmTimer(n.timer); else armTimer(n.timer, cpu, deadline);
  }
  unlockIpc();
  return ERR_OK;
}
