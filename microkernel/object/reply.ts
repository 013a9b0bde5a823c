/**
 * Reply: the debt of a server to one caller.
 *
 * States: idle -> armed (its holder receives with it) -> owing (a request was delivered; `caller` waits for the answer) -> idle. A Reply belongs
 * to the supervisor, so it outlives the server; the caller's registers and message page stay frozen until the answer, so `requeue` gives the
 * request to the next incarnation by one change of state. `caller` is 0 while owing when the caller was cancelled or died: the answer is dropped.
 * Layout: 64 bytes. `holder` is the Thread whose current Reply this is.
 * Invariants: owing and caller != 0 <=> caller.owed == this; armed => holder is receiving. IPC lock.
 */
import {
  ERR_OK, ERR_TYPE, ERR_RIGHTS, ERR_ARG, ERR_BUSY, ERR_GONE, ERR_RANGE, ERR_POISON, ERR_FAULT, OBJ_ENDPOINT, OBJ_SPACE, ENDPOINT_RIGHTS_OWN, ENDPOINT_RIGHTS_RECEIVE, SPACE_RIGHTS_COPY,
  REPLY_PEEK, REPLY_REQUEUE, REPLY_FAIL, REPLY_COPY, REPLY_DISARM, REPLY_RIGHTS_ANSWER, REPLY_RIGHTS_OWN, MP_LEASES,
  TAG_LEASES_SHIFT, TAG_LEASES_MASK,
} from 'kintsugi/abi';
import { KObject, Slot, findTyped } from '../core/capability';
import { Thread } from './thread';
import { Endpoint } from './endpoint';
import { Space, copyUser, USER_END } from './space';
import { finishBlocked, requeue, settle, cancel, requestTag } from '../core/ipc';
import { lockIpc, unlockIpc } from '../core/lock';
import { now } from '../arch/clock';
import { Cpu } from '../arch/cpu';
import { nil, none, same } from '../core/pointer';
import { KIND_CALL } from '../core/state';

export const IDLE: u32 = 0;
export const ARMED: u32 = 1;
export const OWING: u32 = 2;

@unmanaged @final export class Reply extends KObject {
  state: u32;
  caller: Thread;
  holder: Thread;
  seenSerial: u32; seenSeq: u32; seenDeliveries: u32; // the request that the last peek saw
  since: u64; // ns of that first peek
}
export const REPLY_BYTES: u32 = 64;

export function checkReply(r: Reply): bool {
  if (r.state == OWING) return nil(r.caller) || same(r.caller.owed, r);
  if (!nil(r.caller)) return false;
  return r.state == IDLE || !nil(r.holder);
}

/** The Reply goes: its caller learns it, its holder has no current Reply any more. */
export function replyDestroy(cpu: Cpu, r: Reply): void {
  lockIpc();
  const c = r.caller;
  if (r.state == OWING && !nil(c)) { settle(r); finishBlocked(c, ERR_GONE); }
  const h = r.holder;
  if (!nil(h)) {
    if (r.state == ARMED) { cancel(h); finishBlocked(h, ERR_GONE); }
    h.reply = none<Reply>();
  }
  unlockIpc();
}

export function replyInvoke(cpu: Cpu, caller: Thread, cap: Slot, op: u32): u32 {
  const r = changetype<Reply>(cap.object);
  if (op == 0 || op > REPLY_DISARM) { cpu.argument = 1; return ERR_TYPE; }
  if ((<u32>cap.rights & (op == REPLY_COPY ? REPLY_RIGHTS_ANSWER : REPLY_RIGHTS_OWN)) == 0) { cpu.argument = 0; return ERR_RIGHTS; }
  if (op == REPLY_COPY) return copy(cpu, caller, r);
  if (op == REPLY_PEEK) {
    lockIpc();
    peek(cpu, r);
    unlockIpc();
    cpu.results = 7;
    return ERR_OK;
  }
  if (op == REPLY_DISARM) {
    if (r.state == OWING) { cpu.argument = 0; return ERR_BUSY; }
    // ---- commit ----
    lockIpc();
    const h = r.holder;
    if (r.state == ARMED && !nil(h)) { cancel(h); finishBlocked(h, ERR_GONE); }
    r.state = IDLE;
    if (!nil(h)) { h.reply = none<Reply>(); r.holder = none<Thread>(); }
    unlockIpc();
    return ERR_OK;
  }
  if (r.state != OWING) { cpu.argument = 0; return ERR_BUSY; }
  if (op == REPLY_FAIL) {
    if (cpu.w0 == ERR_OK || cpu.w0 > ERR_GONE) { cpu.argument = 2; return ERR_ARG; }
    // ---- commit ----
    lockIpc();
    const c = r.caller;
    settle(r);
    if (!nil(c)) finishBlocked(c, cpu.w0);
    unlockIpc();
    return ERR_OK;
  }
  const s = findTyped(cpu, caller.table, cpu.w0, OBJ_ENDPOINT, ENDPOINT_RIGHTS_OWN);
  if (nil(s)) { cpu.argument = 2; return cpu.failure; }
  // ---- commit ----
  lockIpc();
  const c = r.caller;
  settle(r);
  if (!nil(c)) requeue(cpu, c, changetype<Endpoint>(s.object));
  unlockIpc();
  return ERR_OK;
}

/**
 * What is owed. The age counts from the first peek that saw this delivery: the fast path writes no time.
 */
function peek(cpu: Cpu, r: Reply): void {
  const c = r.caller;
  cpu.r0 = r.state;
  cpu.r1 = 0; cpu.r2 = 0; cpu.r3 = 0; cpu.r4 = 0; cpu.r5 = 0; cpu.r6 = 0;
  if (r.state != OWING || nil(c)) return;
  const time = now();
  if (r.seenSerial != c.serial || r.seenSeq != c.seq || r.seenDeliveries != c.deliveries) {
    r.seenSerial = c.serial; r.seenSeq = c.seq; r.seenDeliveries = c.deliveries;
    r.since = time;
  }
  cpu.r1 = c.sendBadge; cpu.r2 = c.serial; cpu.r3 = c.seq; cpu.r4 = requestTag(c); cpu.r5 = c.deliveries;
  const age = time - r.since;
  cpu.r6 = age > 0xffffffff ? 0xffffffff : <u32>age;
}

/** Moves bytes between the caller of the owing request and the server, within one of the leases the request named. */
function copy(cpu: Cpu, server: Thread, r: Reply): u32 {
  const c = r.caller;
  if (r.state != OWING || nil(c)) { cpu.argument = 0; return r.state == OWING ? ERR_GONE : ERR_BUSY; }
  if (c.kind != KIND_CALL || cpu.w1 >= ((c.ebx & TAG_LEASES_MASK) >> TAG_LEASES_SHIFT)) { cpu.argument = 3; return ERR_RANGE; }
  const at = c.mp + MP_LEASES + (<usize>cpu.w1 << 4);
  const handle = load<u32>(at), base = load<u32>(at, 4), length = load<u32>(at, 8), rights = load<u32>(at, 12);
  let other = c.space;
  if (handle != 0) {
    if (nil(c.table)) { cpu.argument = 3; return ERR_GONE; }
    const s = findTyped(cpu, c.table, handle, OBJ_SPACE, SPACE_RIGHTS_COPY);
    if (nil(s)) { cpu.argument = 3; return cpu.failure; }
    other = changetype<Space>(s.object);
  }
  if (nil(other)) { cpu.argument = 0; return ERR_GONE; }
  const offset = cpu.w2, bytes = cpu.w3;
  if (offset > length || bytes > length - offset) { cpu.argument = 4; return ERR_RANGE; }
  if (bytes > 0x100000) { cpu.argument = 5; return ERR_RANGE; }
  if (cpu.w4 > 1) { cpu.argument = 6; return ERR_ARG; }
  if ((rights & (cpu.w4 == 0 ? 1 : 2)) == 0) { cpu.argument = 3; return ERR_RIGHTS; }
  const va = <usize>base + offset, own = <usize>cpu.w0;
  if (va < <usize>base || va >= USER_END || <usize>bytes > USER_END - va) { cpu.argument = 4; return ERR_RANGE; }
  if (own >= USER_END || <usize>bytes > USER_END - own) { cpu.argument = 2; return ERR_RANGE; }
  // ---- commit ----
  cpu.argument = 4;
  return cpu.w4 == 0 ? copyUser(cpu, other, va, server.space, own, bytes) : copyUser(cpu, server.space, own, other, va, bytes);
}
