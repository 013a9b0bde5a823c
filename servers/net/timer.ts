/**
 * Timers: a binary heap of deadlines (us). A Timer may be armed earlier than what it stands for: setting it later costs nothing, because only a deadline before the
 * present one moves it; when it fires its owner looks at the real deadlines and arms it anew (each segment pushes the retransmission deadline away).
 */
export const NEVER: u64 = 0x7fffffffffffffff;
@unmanaged @final export class Timer {
  at: u64; index: i32 /* in the heap, -1 = idle */;
  kind: u32; owner: u32;
}
let heap: usize = 0;
let count: i32 = 0;
let room: i32 = 0;
export function timersInit(memory_: usize, timers: u32): void { heap = memory_; room = <i32>timers; count = 0; }
export function timerBytes(timers: u32): u32 { return timers << 2; }
export function timerInit(t: Timer, kind: u32, owner: u32): void { t.at = NEVER; t.index = -1; t.kind = kind; t.owner = owner; }

function get(n: i32): Timer { return changetype<Timer>(load<usize>(heap + (<usize>n << 2))); }
function set(n: i32, t: Timer): void { store<usize>(heap + (<usize>n << 2), changetype<usize>(t)); t.index = n; }
function up(n: i32, t: Timer): void {
  while (n > 0) {
    const parent = (n - 1) >> 1, p = get(parent);
    if (p.at <= t.at) break;
    set(n, p);
    n = parent;
  }
  set(n, t);
}
function down(n: i32, t: Timer): void {
  while (true) {
    let child = 2 * n + 1;
    if (child >= count) break;
    let c = get(child);
    if (child + 1 < count) { const d = get(child + 1); if (d.at < c.at) { c = d; child++; } }
    if (c.at >= t.at) break;
    set(n, c);
    n = child;
  }
  set(n, t);
}
/** Fires at `at` or earlier. */
export function armAtMost(t: Timer, at: u64): void {
  if (t.index >= 0) {
    if (t.at <= at) return;
    t.at = at;
    up(t.index, t);
    return;
  }
  if (at == NEVER) return;
  if (count == room) unreachable();
  t.at = at;
  up(count++, t);
}
export function disarm(t: Timer): void {
  const n = t.index;
  if (n < 0) return;
  t.index = -1; t.at = NEVER;
  const last = get(--count);
  if (n == count) return;
  set(n, last);
  up(n, last);
  down(last.index, last);
}
/** Exactly at `at`. */
export function armAt(t: Timer, at: u64): void { if (t.index >= 0 && t.at != at) disarm(t); armAtMost(t, at); }
export function nextTimer(): u64 { return count == 0 ? NEVER : get(0).at; }
/** Takes the first timer that is due at `time`, null when there is none. */
export function due(time: u64): Timer {
  if (count == 0) return changetype<Timer>(0);
  const t = get(0);
  if (t.at > time) return changetype<Timer>(0);
  disarm(t);
  return t;
}
export const TIMER_SOCKET: u32 = 1;
export const TIMER_ARP: u32 = 2;
export const TIMER_REASSEMBLY: u32 = 3;
export const TIMER_DHCP: u32 = 4;
export const TIMER_DNS: u32 = 5;
