/**
 * Timers: one list per CPU, sorted by deadline; tickless. The LAPIC one-shot timer is set to whatever comes first: the head of the list, or the
 * moment the current Thread's budget or slice ends.
 *
 * A Timer is embedded in its owner (Thread: deadline of a wait; Notify: alarm; Sched: replenishment) and is on a list exactly while `cpu` is not 0.
 * IPC lock held.
 */
import { Cpu } from '../arch/cpu';
import { nil, none, same } from './pointer';

@unmanaged @final export class Timer {
  next: Timer; prev: Timer;
  deadline: u64; // ns
  cpu: Cpu; // whose list, 0 = not armed
  kind: u32;
}
export const TIMER_THREAD: u32 = 1;
export const TIMER_ALARM: u32 = 2;
export const TIMER_SCHED: u32 = 3;

export function armTimer(t: Timer, cpu: Cpu, deadline: u64): void {
  if (!nil(t.cpu)) disarmTimer(t);
  t.deadline = deadline;
  t.cpu = cpu;
  let before = none<Timer>();
  let after = cpu.timers;
  while (!nil(after) && after.deadline <= deadline) { before = after; after = after.next; }
  t.prev = before;
  t.next = after;
  if (!nil(after)) after.prev = t;
  if (nil(before)) cpu.timers = t; else before.next = t;
}
export function disarmTimer(t: Timer): void {
  const cpu = t.cpu;
  if (nil(cpu)) return;
  if (!nil(t.next)) t.next.prev = t.prev;
  if (nil(t.prev)) cpu.timers = t.next; else t.prev.next = t.next;
  t.cpu = none<Cpu>();
}
/** Takes the first timer whose deadline has passed off the list, or none. */
export function expired(cpu: Cpu, now: u64): Timer {
  const t = cpu.timers;
  if (nil(t) || t.deadline > now) return none<Timer>();
  disarmTimer(t);
  return t;
}
export function checkTimers(cpu: Cpu): bool {
  let t = cpu.timers;
  while (!nil(t)) {
    if (!same(t.cpu, cpu) || (!nil(t.next) && (!same(t.next.prev, t) || t.next.deadline < t.deadline))) return false;
    t = t.next;
  }
  return true;
}
