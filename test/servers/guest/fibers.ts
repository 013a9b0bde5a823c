// Test entry: fibers, wait queues, mutexes and blocking ring calls, as programs of small steps that write a trace.
import { heapInit } from '../../../servers/lib/alloc';
import * as f from '../../../servers/lib/fiber';
import { RingOwner, RingWorker, Request, ringOwnerAt, ringWorkerAt, ringDispatch, serve, last } from '../../../servers/lib/ring';

export function init(heap: usize, bytes: usize, stacks: u32): void {
  heapInit(heap, bytes);
  f.fibersInitEmpty();
  for (let n: u32 = 0; n < stacks; n++) f.addStack(0x800000 + (<usize>n << 13), 4096);
}
declare function trace(a: u32, b: u32): void;
export function runReady(): void { f.runReady(); }
export function expire(): void { f.expireTimers(); f.runReady(); }
export function nextDeadline(): f64 { return <f64>f.nextDeadline(); }
export function freeFibers(): u32 { return f.freeFibers(); }

function counting(argument: usize): void { for (let n: u32 = 0; n < 3; n++) { trace(<u32>argument, n); f.yieldNow(); } }
export function spawnCounting(id: u32): bool { return changetype<usize>(f.spawn(counting, id)) != 0; }

let queue: f.WaitQueue = changetype<f.WaitQueue>(0);
let mutex: f.Mutex = changetype<f.Mutex>(0);
export function prepare(): void { queue = f.newQueue(); mutex = f.newMutex(); }
function waiting(argument: usize): void { trace(<u32>argument, 100 + f.waitOn(queue, <u64>argument >= 1000 ? <u64>argument : u64.MAX_VALUE)); }
export function spawnWaiting(id: u32): usize { return changetype<usize>(f.spawn(waiting, id)); }
export function wakeOne(): void { f.wakeOne(queue); }
export function wakeAll(): void { f.wakeAll(queue); }
export function cancel(fiber: usize): void { f.cancel(changetype<f.Fiber>(fiber)); }

function locking(argument: usize): void {
  f.lock(mutex);
  trace(<u32>argument, 1);
  f.yieldNow();
  trace(<u32>argument, 2);
  f.unlock(mutex);
}
export function spawnLocking(id: u32): void { f.spawn(locking, id); }

// One server with both ends of a ring: clients call, handlers answer after some yields.
let owner: RingOwner = changetype<RingOwner>(0);
let worker: RingWorker = changetype<RingWorker>(0);
function handler(w: RingWorker, q: Request): void {
  for (let n: u32 = 0; n < q.a0 % 4; n++) f.yieldNow();
  w.answer(q.slot, <i32>q.op, q.a0 * 2, q.keySub, 0, 0);
}
export function rings(fibers: u32): void {
  owner = ringOwnerAt(0, 0x200000, 0x202000, 0, 0, 1, 1, 1);
  worker = ringWorkerAt(1, 0x200000, 0x202000, 0, 0, 1, 1, 1);
  serve(worker, handler, fibers);
}
function client(argument: usize): void {
  for (let n: u32 = 0; n < 5; n++) {
    const status = owner.callKeyed(<u32>argument, 0, 1, 2, 3, n, <u32>argument + n, 0, 0, 0, 0, 0);
    if (status != <i32>argument || last().r0 != (<u32>argument + n) * 2 || last().r1 != n) trace(0xbad, <u32>argument);
  }
  trace(<u32>argument, owner.free);
}
export function spawnClient(id: u32): bool { return changetype<usize>(f.spawn(client, id)) != 0; }
export function dispatch(bits: u32): void { ringDispatch(bits); }
function impatient(argument: usize): void { trace(<u32>argument, <u32>owner.call(7, 0, 0, 0, 0, 0, 0, 0)); trace(<u32>argument, owner.orphans); }
export function spawnImpatient(id: u32): usize { return changetype<usize>(f.spawn(impatient, id)); }
/** The next worker incarnation. */
export function rebirth(fibers: u32, epoch: u32): void { worker = ringWorkerAt(1, 0x200000, 0x202000, 0, 0, 1, 1, epoch); serve(worker, handler, fibers); }
function silent(w: RingWorker, q: Request): void {}
export function serveSilently(): void { serve(worker, silent, 1); }
export function reposted(): u32 { return owner.reposted; }
