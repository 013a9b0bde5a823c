/**
 * Endpoint: where callers and receivers meet.
 *
 * Layout: 64 bytes: queue of receiving Threads, queue of callers, epoch. At most one of the two queues is non-empty. The epoch counts
 * incarnations of the server behind it; it is told at every delivery and with every failure. Nothing of a dead server is left here: it belongs to
 * the supervisor, servers only hold the right to receive.
 * Invariants: a Thread on `recv` is receiving, with an armed Reply; a Thread on `call` is calling. IPC lock.
 */
import { ERR_OK, ERR_TYPE, ERR_RIGHTS, ERR_GONE, ERR_INTR, ENDPOINT_EPOCH, ENDPOINT_BUMP, ENDPOINT_CANCEL_BADGE, ENDPOINT_RIGHTS_OWN, THREAD_STATE_CALLING, THREAD_STATE_RECEIVING } from 'kintsugi/abi';
import { KObject, Slot } from '../core/capability';
import { Thread, threadsLoseEndpoint } from './thread';
import { cancel, finishBlocked } from '../core/ipc';
import { lockIpc, unlockIpc } from '../core/lock';
import { Cpu } from '../arch/cpu';
import { nil, none, same } from '../core/pointer';

@unmanaged @final export class Endpoint extends KObject {
  recv: Thread; recvLast: Thread;
  call: Thread; callLast: Thread;
  epoch: u32;
}
export const ENDPOINT_BYTES: u32 = 64;
export function endpointInit(e: Endpoint): void { e.epoch = 1; }

export function checkEndpoint(e: Endpoint): bool {
  if (!nil(e.recv) && !nil(e.call)) return false;
  let t = e.recv;
  while (!nil(t)) { if (t.state != THREAD_STATE_RECEIVING || !same(t.endpoint, e) || nil(t.reply)) return false; t = t.qnext; }
  t = e.call;
  while (!nil(t)) { if (t.state != THREAD_STATE_CALLING || !same(t.endpoint, e)) return false; t = t.qnext; }
  return true;
}

// ---- queues ----------------------------------------------------------------------------------------------------------------------------

export function appendReceiver(e: Endpoint, t: Thread): void {
  t.qnext = none<Thread>();
  if (nil(e.recv)) e.recv = t; else e.recvLast.qnext = t;
  e.recvLast = t;
}
export function appendCaller(e: Endpoint, t: Thread): void {
  t.qnext = none<Thread>();
  if (nil(e.call)) e.call = t; else e.callLast.qnext = t;
  e.callLast = t;
}
/** A caller that was delivered before: ahead of all that were not, in the order of delivery. */
export function insertRedelivery(e: Endpoint, t: Thread): void {
  let before = none<Thread>();
  let after = e.call;
  while (!nil(after) && after.deliveries != 0 && after.delivered <= t.delivered) { before = after; after = after.qnext; }
  t.qnext = after;
  if (nil(before)) e.call = t; else before.qnext = t;
  if (nil(after)) e.callLast = t;
}
export function removeReceiver(e: Endpoint, t: Thread): void {
  if (same(e.recv, t)) { e.recv = t.qnext; t.qnext = none<Thread>(); return; }
  let p = e.recv;
  while (!same(p.qnext, t)) p = p.qnext;
  p.qnext = t.qnext;
  if (nil(p.qnext)) e.recvLast = p;
  t.qnext = none<Thread>();
}
export function removeCaller(e: Endpoint, t: Thread): void {
  if (same(e.call, t)) { e.call = t.qnext; t.qnext = none<Thread>(); return; }
  let p = e.call;
  while (!same(p.qnext, t)) p = p.qnext;
  p.qnext = t.qnext;
  if (nil(p.qnext)) e.callLast = p;
  t.qnext = none<Thread>();
}

export function endpointDestroy(cpu: Cpu, e: Endpoint): void {
  lockIpc();
  while (!nil(e.recv)) { const t = e.recv; cancel(t); finishBlocked(t, ERR_GONE); }
  while (!nil(e.call)) { const t = e.call; cancel(t); finishBlocked(t, ERR_GONE); }
  threadsLoseEndpoint(e);
  unlockIpc();
}

export function endpointInvoke(cpu: Cpu, cap: Slot, op: u32): u32 {
  const e = changetype<Endpoint>(cap.object);
  if (op == ENDPOINT_EPOCH) {
    let n: u32 = 0;
    lockIpc();
    let t = e.call;
    while (!nil(t)) { n++; t = t.qnext; }
    unlockIpc();
    cpu.r0 = e.epoch; cpu.r1 = n; cpu.results = 2;
    return ERR_OK;
  }
  if (op != ENDPOINT_BUMP && op != ENDPOINT_CANCEL_BADGE) { cpu.argument = 1; return ERR_TYPE; }
  if ((cap.rights & <u8>ENDPOINT_RIGHTS_OWN) == 0) { cpu.argument = 0; return ERR_RIGHTS; }
  if (op == ENDPOINT_BUMP) {
    // ---- commit ----
    cpu.r0 = ++e.epoch; cpu.results = 1;
    return ERR_OK;
  }
  // ---- commit ----
  lockIpc();
  let n: u32 = 0;
  let t = e.call;
  while (!nil(t)) {
    const next = t.qnext;
    if (t.sendBadge == cpu.w0) { cancel(t); finishBlocked(t, ERR_INTR); n++; }
    t = next;
  }
  unlockIpc();
  cpu.r0 = n; cpu.results = 1;
  return ERR_OK;
}
