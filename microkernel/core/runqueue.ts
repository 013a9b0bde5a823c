/**
 * The run queue of a CPU: 64 priorities, a bitmap, first-in first-out within one. Higher numbers are more important.
 *
 * A Thread is queued exactly while its state is ready, it is not suspended or throttled, and it has a Sched to run on. The current Thread is not
 * queued. `topReady` caches the highest queued priority (-1: none): the fast path compares it. IPC lock held.
 */
import { Thread } from '../object/thread';
import { Cpu, queueOf } from '../arch/cpu';
import { nil, none, same } from './pointer';

function findTop(cpu: Cpu): void {
  if (cpu.readyHi != 0) cpu.topReady = 63 - <i32>clz<u32>(cpu.readyHi);
  else if (cpu.readyLo != 0) cpu.topReady = 31 - <i32>clz<u32>(cpu.readyLo);
  else cpu.topReady = -1;
}
function mark(cpu: Cpu, prio: u32): void {
  if (prio >= 32) cpu.readyHi |= 1 << (prio - 32); else cpu.readyLo |= 1 << prio;
  if (<i32>prio > cpu.topReady) cpu.topReady = prio;
}
function unmark(cpu: Cpu, prio: u32): void {
  if (prio >= 32) cpu.readyHi &= ~(1 << (prio - 32)); else cpu.readyLo &= ~(1 << prio);
  findTop(cpu);
}

export function enqueueLast(cpu: Cpu, t: Thread): void {
  const q = queueOf(cpu, t.prio);
  t.qnext = none<Thread>();
  t.queued = 1;
  if (load<usize>(q) == 0) { store<usize>(q, changetype<usize>(t)); mark(cpu, t.prio); }
  else changetype<Thread>(load<usize>(q, 4)).qnext = t;
  store<usize>(q, changetype<usize>(t), 4);
}
export function enqueueFirst(cpu: Cpu, t: Thread): void {
  const q = queueOf(cpu, t.prio);
  const first = load<usize>(q);
  t.qnext = changetype<Thread>(first);
  t.queued = 1;
  store<usize>(q, changetype<usize>(t));
  if (first == 0) { store<usize>(q, changetype<usize>(t), 4); mark(cpu, t.prio); }
}
/** The most important Thread, taken off; there must be one. */
export function dequeueTop(cpu: Cpu): Thread {
  const prio = <u32>cpu.topReady;
  const q = queueOf(cpu, prio);
  const t = changetype<Thread>(load<usize>(q));
  store<usize>(q, changetype<usize>(t.qnext));
  t.qnext = none<Thread>();
  t.queued = 0;
  if (load<usize>(q) == 0) unmark(cpu, prio);
  return t;
}
/** Takes a queued Thread out of the middle. */
export function unqueue(t: Thread): void {
  if (t.queued == 0) return;
  const cpu = t.cpu;
  const q = queueOf(cpu, t.prio);
  let p = changetype<Thread>(load<usize>(q));
  if (same(p, t)) {
    store<usize>(q, changetype<usize>(t.qnext));
    if (load<usize>(q) == 0) unmark(cpu, t.prio);
  } else {
    while (!same(p.qnext, t)) p = p.qnext;
    p.qnext = t.qnext;
    if (nil(p.qnext)) store<usize>(q, changetype<usize>(p), 4);
  }
  t.qnext = none<Thread>();
  t.queued = 0;
}
export function checkRunQueue(cpu: Cpu): bool {
  let top: i32 = -1;
  for (let prio: u32 = 0; prio < 64; prio++) {
    let t = changetype<Thread>(load<usize>(queueOf(cpu, prio)));
    const bit = prio >= 32 ? (cpu.readyHi >> (prio - 32)) & 1 : (cpu.readyLo >> prio) & 1;
    if ((bit != 0) == nil(t)) return false;
    if (!nil(t)) top = prio;
    while (!nil(t)) {
      if (t.prio != prio || t.queued == 0 || !same(t.cpu, cpu)) return false;
      t = t.qnext;
    }
  }
  return top == cpu.topReady;
}
