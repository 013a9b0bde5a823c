/**
 * The 12 calls, slow path: decode, then commit.
 *
 * Entered from the SYSENTER stub with the caller's registers in its Thread, interrupts off, no lock held. A call returns a status for EAX;
 * NO_STATUS when it blocked or wrote the registers itself; PREEMPTED when it has to be entered again after a preemption point.
 * Handles are looked up under a lock and used under the same lock, so that no object can go away in between.
 */
import {
  ERR_OK, ERR_HANDLE, ERR_TYPE, ERR_ARG, ERR_RIGHTS, ERR_BUSY, ERR_TIMEOUT, ERR_GONE, ERR_RANGE,
  CALL_CALL, CALL_RECV, CALL_REPLY_RECV, CALL_REPLY, CALL_NOTIFY, CALL_WAIT, CALL_INVOKE, CALL_BATCH, CALL_WINDOW, CALL_FAULT, CALL_TRACE, CALL_CLOCK,
  OBJ_UNTYPED, OBJ_TABLE, OBJ_SPACE, OBJ_FRAMES, OBJ_THREAD, OBJ_SCHED, OBJ_ENDPOINT, OBJ_REPLY, OBJ_NOTIFY, OBJ_DEVICE,
  ENDPOINT_RIGHTS_SEND, ENDPOINT_RIGHTS_RECEIVE, ENDPOINT_RIGHTS_GRANT, REPLY_RIGHTS_ANSWER, NOTIFY_RIGHTS_SIGNAL, NOTIFY_RIGHTS_WAIT, FRAMES_RIGHTS_WINDOW,
  TAG_OP_SHIFT, TAG_LABEL_MASK, TAG_DEADLINE_MASK, TAG_WORDS_MASK, TAG_WORDS_SHIFT, TAG_LEASES_MASK, TAG_LEASES_SHIFT, TAG_CAPS_MASK, TAG_CAPS_SHIFT,
  MP_WORDS, MP_ERR_ARG, MP_DEADLINE_LO, MP_DEADLINE_HI, MP_PENDING, MP_BATCH,
  BATCH_SIZE, BATCH_MAX, BATCH_HANDLE, BATCH_LABEL, BATCH_W0, BATCH_W1, BATCH_W2, BATCH_W3, BATCH_W4, BATCH_STATUS,
  FAULT_VECTOR_DELIBERATE, THREAD_STATE_RECEIVING, THREAD_STATE_WAITING, THREAD_STATE_RUNNING,
} from 'kintsugi/abi';
import { Thread, threadInvoke } from '../object/thread';
import { Endpoint, appendReceiver, endpointInvoke } from '../object/endpoint';
import { Reply, replyInvoke, IDLE, ARMED, OWING } from '../object/reply';
import { Notify, notifyInvoke, signal, takeBits, deliverBits, appendWaiter } from '../object/notify';
import { Frames, framesInvoke } from '../object/frames';
import { Space } from '../object/space';
import { spaceInvoke } from '../object/spaceops';
import { untypedInvoke } from '../object/untyped';
import { tableInvoke } from '../object/table';
import { schedInvoke } from '../object/sched';
import { deviceInvoke } from '../object/device';
import { find, findTyped } from './capability';
import { destroyDoomed } from './destroy';
import { CHECK, checksEnabled, checkInvariants } from './invariants';
import { faultCurrent, closeWindow } from './fault';
import { sendRequest, takeCaller, answer, capsOf } from './ipc';
import { sendHome, leave } from './schedule';
import { armTimer } from './timer';
import { lockIpc, unlockIpc, lockStructural, unlockStructural } from './lock';
import { latest, now, retired } from '../arch/clock';
import { Cpu, thisCpu } from '../arch/cpu';
import { nil, none, same } from './pointer';
import { F_RESTART, F_WINDOW, F_TIMEOUT, KIND_CALL, PREEMPTED, NO_STATUS } from './state';

/** From the SYSENTER stub: the current Thread makes a call. */
export function syscallEntry(): void {
  const cpu = thisCpu();
  restartCall(cpu, cpu.current);
  leave(cpu);
}
/** The same without leaving: a call that stopped at a preemption point is entered again. */
export function restartCall(cpu: Cpu, t: Thread): void {
  const op = t.ebx >> TAG_OP_SHIFT;
  cpu.argument = 0;
  const status = dispatch(cpu, t, op);
  if (!same(cpu.current, t)) return; // it destroyed itself
  if (status == NO_STATUS) return;
  if (status == PREEMPTED) { t.flags |= F_RESTART; return; }
  t.progress = 0; t.progress2 = 0; t.batchIndex = 0;
  t.eax = status;
  if (status != ERR_OK) store<u32>(t.mp, cpu.argument, MP_ERR_ARG);
}

function dispatch(cpu: Cpu, t: Thread, op: u32): u32 {
  if ((t.flags & F_WINDOW) != 0 && (op <= CALL_REPLY || op == CALL_WAIT || op == CALL_FAULT)) closeWindow(t);
  if (op == CALL_INVOKE) return invoke(cpu, t);
  if (op == CALL_CALL) return call(cpu, t);
  if (op == CALL_RECV || op == CALL_REPLY_RECV) return receive(cpu, t, op == CALL_REPLY_RECV);
  if (op == CALL_REPLY) return reply(cpu, t);
  if (op == CALL_NOTIFY) return notify(cpu, t);
  if (op == CALL_WAIT) return wait(cpu, t);
  if (op == CALL_BATCH) return batch(cpu, t);
  if (op == CALL_WINDOW) return window(cpu, t);
  if (op == CALL_CLOCK) {
    const time = latest();
    t.esi = <u32>time; t.edi = <u32>(time >> 32); t.ebp = cpu.index;
    return ERR_OK;
  }
  if (op == CALL_TRACE) { // the VM records it at this point
    if (t.esi == CHECK && checksEnabled()) {
      if (!lockStructural(cpu)) return PREEMPTED;
      t.edi = checkInvariants();
      unlockStructural();
      return ERR_OK;
    }
    const count = retired();
    t.esi = cpu.index; t.edi = <u32>count; t.ebp = <u32>(count >> 32);
    return ERR_OK;
  }
  if (op == CALL_FAULT) {
    t.eax = ERR_OK;
    t.cr2 = t.edi;
    lockIpc();
    faultCurrent(cpu, t, FAULT_VECTOR_DELIBERATE, t.esi);
    unlockIpc();
    return NO_STATUS;
  }
  cpu.argument = 1;
  return ERR_ARG;
}

// ---- messages --------------------------------------------------------------------------------------------------------------------------

/** Malformed in itself? */
function badTag(tag: u32): bool {
  return ((tag & TAG_WORDS_MASK) >> TAG_WORDS_SHIFT) > 16 || ((tag & TAG_CAPS_MASK) >> TAG_CAPS_SHIFT) > 2 || ((tag & TAG_LEASES_MASK) >> TAG_LEASES_SHIFT) > 2;
}

function call(cpu: Cpu, t: Thread): u32 {
  const tag = t.ebx;
  if (badTag(tag) || (tag & TAG_DEADLINE_MASK) != 0) { cpu.argument = 1; return ERR_ARG; }
  const caps = capsOf(tag) != 0;
  if (caps && !lockStructural(cpu)) return PREEMPTED;
  lockIpc();
  const s = findTyped(cpu, t.table, t.eax, OBJ_ENDPOINT, ENDPOINT_RIGHTS_SEND);
  let status = NO_STATUS;
  if (nil(s)) status = cpu.failure;
  else if (caps && (s.rights & <u8>ENDPOINT_RIGHTS_GRANT) == 0) { cpu.argument = 1; status = ERR_RIGHTS; }
  else {
    // ---- commit ----
    t.kind = KIND_CALL;
    t.sendBadge = s.badge;
    t.deliveries = 0;
    t.seq++;
    sendRequest(cpu, t, changetype<Endpoint>(s.object));
  }
  unlockIpc();
  if (caps) unlockStructural();
  return status;
}

/** recv and reply_recv. */
function receive(cpu: Cpu, t: Thread, replying: bool): u32 {
  const tag = t.ebx;
  if (replying && (badTag(tag) || (tag & TAG_LEASES_MASK) != 0)) { cpu.argument = 1; return ERR_ARG; }
  let structural = replying && capsOf(tag) != 0;
  while (true) {
    if (structural && !lockStructural(cpu)) return PREEMPTED;
    lockIpc();
    const status = receiveLocked(cpu, t, replying, structural);
    unlockIpc();
    if (structural) unlockStructural();
    if (status != NEEDS_STRUCTURAL) return status;
    structural = true;
  }
  return ERR_OK;
}
const NEEDS_STRUCTURAL: u32 = 0x102;

function receiveLocked(cpu: Cpu, t: Thread, replying: bool, structural: bool): u32 {
  const s = findTyped(cpu, t.table, t.eax, OBJ_ENDPOINT, ENDPOINT_RIGHTS_RECEIVE);
  if (nil(s)) return cpu.failure;
  const e = changetype<Endpoint>(s.object);
  let r = t.reply;
  if (!replying && t.esi != 0) {
    const slot = findTyped(cpu, t.table, t.esi, OBJ_REPLY, REPLY_RIGHTS_ANSWER);
    if (nil(slot)) { cpu.argument = 2; return cpu.failure; }
    r = changetype<Reply>(slot.object);
    if (!nil(r.holder) && !same(r.holder, t)) { cpu.argument = 2; return ERR_BUSY; }
  }
  if (nil(r)) { cpu.argument = 2; return ERR_HANDLE; }
  if (replying) {
    if (r.state != OWING) { cpu.argument = 0; return ERR_BUSY; }
  } else if (r.state == OWING) { cpu.argument = 2; return ERR_BUSY; }
  const c = e.call;
  if (!structural && !nil(c) && c.kind == KIND_CALL && capsOf(c.ebx) != 0 && (nil(t.notify) || t.notify.bits == 0)) return NEEDS_STRUCTURAL;
  // ---- commit ----
  if (replying) answer(cpu, t, r);
  else if (!same(t.reply, r)) {
    if (!nil(t.reply)) t.reply.holder = none<Thread>();
    t.reply = r;
    r.holder = t;
  }
  t.kind = KIND_CALL;
  const n = t.notify;
  if (!nil(n) && n.bits != 0) {
    r.state = IDLE;
    sendHome(t);
    deliverBits(t, n);
    return NO_STATUS;
  }
  r.state = ARMED;
  if (!nil(e.call)) {
    takeCaller(cpu, t, e);
    return NO_STATUS;
  }
  if ((t.ebx & TAG_DEADLINE_MASK) != 0 && !sleep(cpu, t)) {
    r.state = IDLE;
    return ERR_TIMEOUT;
  }
  t.state = THREAD_STATE_RECEIVING;
  t.endpoint = e;
  appendReceiver(e, t);
  sendHome(t);
  return NO_STATUS;
}
/** Arms the Thread's timer for the deadline in its message page; false when that has passed. */
function sleep(cpu: Cpu, t: Thread): bool {
  const deadline = <u64>load<u32>(t.mp, MP_DEADLINE_LO) | (<u64>load<u32>(t.mp, MP_DEADLINE_HI) << 32);
  if (deadline <= now()) return false;
  t.flags |= F_TIMEOUT;
  armTimer(t.timer, cpu, deadline);
  return true;
}

function reply(cpu: Cpu, t: Thread): u32 {
  const tag = t.ebx;
  if (badTag(tag) || (tag & TAG_LEASES_MASK) != 0) { cpu.argument = 1; return ERR_ARG; }
  const caps = capsOf(tag) != 0;
  if (caps && !lockStructural(cpu)) return PREEMPTED;
  lockIpc();
  const s = findTyped(cpu, t.table, t.eax, OBJ_REPLY, REPLY_RIGHTS_ANSWER);
  let status = ERR_OK;
  if (nil(s)) status = cpu.failure;
  else {
    const r = changetype<Reply>(s.object);
    if (r.state != OWING) status = ERR_BUSY;
    // ---- commit ----
    else if (!answer(cpu, t, r)) status = ERR_GONE;
    if (nil(t.sched)) sendHome(t);
  }
  unlockIpc();
  if (caps) unlockStructural();
  return status;
}

function notify(cpu: Cpu, t: Thread): u32 {
  lockIpc();
  const s = findTyped(cpu, t.table, t.eax, OBJ_NOTIFY, NOTIFY_RIGHTS_SIGNAL);
  let status = ERR_OK;
  if (nil(s)) status = cpu.failure;
  else if (s.badge != 0 && (t.esi & ~s.badge) != 0) { cpu.argument = 2; status = ERR_RIGHTS; }
  // ---- commit ----
  else if (t.esi != 0) signal(cpu, changetype<Notify>(s.object), t.esi, true);
  unlockIpc();
  return status;
}

function wait(cpu: Cpu, t: Thread): u32 {
  const hasDeadline = (t.ebx & TAG_DEADLINE_MASK) != 0;
  lockIpc();
  const status = waitLocked(cpu, t, hasDeadline);
  unlockIpc();
  return status;
}
function waitLocked(cpu: Cpu, t: Thread, hasDeadline: bool): u32 {
  t.kind = KIND_CALL;
  if (t.eax == 0) {
    // ---- commit ----
    if (hasDeadline) {
      if (load<u32>(t.mp, MP_DEADLINE_LO) == 0 && load<u32>(t.mp, MP_DEADLINE_HI) == 0) { cpu.yielding = 1; cpu.resched = 1; return ERR_OK; }
      if (!sleep(cpu, t)) return ERR_OK;
    }
    t.waiting = none<Notify>();
  } else {
    const s = findTyped(cpu, t.table, t.eax, OBJ_NOTIFY, NOTIFY_RIGHTS_WAIT);
    if (nil(s)) return cpu.failure;
    const n = changetype<Notify>(s.object);
    const mask = t.esi;
    if (mask == 0) { cpu.argument = 2; return ERR_ARG; }
    // ---- commit ----
    if ((n.bits & mask) != 0) {
      store<u32>(t.mp, takeBits(n, mask), MP_PENDING);
      return ERR_OK;
    }
    store<u32>(t.mp, 0, MP_PENDING);
    if (hasDeadline && !sleep(cpu, t)) return ERR_TIMEOUT;
    t.waitMask = mask;
    appendWaiter(n, t);
  }
  t.state = THREAD_STATE_WAITING;
  sendHome(t);
  return NO_STATUS;
}

function window(cpu: Cpu, t: Thread): u32 {
  if (t.esi > 1) { cpu.argument = 2; return ERR_ARG; }
  lockIpc();
  let status = ERR_OK;
  if (t.esi == 0) closeWindow(t);
  else {
    const s = findTyped(cpu, t.table, t.eax, OBJ_FRAMES, FRAMES_RIGHTS_WINDOW);
    if (nil(s)) status = cpu.failure;
    else if (t.space.windowPd == 0) status = ERR_RANGE;
    else {
      // ---- commit ----
      t.flags |= F_WINDOW;
      t.cr3 = t.space.root + 32;
    }
  }
  unlockIpc();
  return status;
}

// ---- invoke and batch ------------------------------------------------------------------------------------------------------------------

/** One operation on an object; arguments in cpu.w0-w5, results in cpu.r0... Structural lock held. */
function operate(cpu: Cpu, t: Thread, handle: u32, op: u32): u32 {
  cpu.results = 0;
  if (!destroyDoomed(cpu)) return PREEMPTED;
  const s = find(cpu, t.table, handle);
  if (nil(s)) return cpu.failure;
  const type = <u32>s.type;
  if (type == OBJ_REPLY) return replyInvoke(cpu, t, s, op);
  if (type == OBJ_DEVICE) return deviceInvoke(cpu, t, s, op);
  if (type == OBJ_NOTIFY) return notifyInvoke(cpu, s, op);
  if (type == OBJ_SPACE) return spaceInvoke(cpu, t, s, op);
  if (type == OBJ_TABLE) return tableInvoke(cpu, t, s, op);
  if (type == OBJ_THREAD) return threadInvoke(cpu, t, s, op);
  if (type == OBJ_UNTYPED) return untypedInvoke(cpu, t, s, op);
  if (type == OBJ_FRAMES) return framesInvoke(cpu, s, op);
  if (type == OBJ_ENDPOINT) return endpointInvoke(cpu, s, op);
  if (type == OBJ_SCHED) return schedInvoke(cpu, t, s, op);
  return ERR_TYPE;
}

function invoke(cpu: Cpu, t: Thread): u32 {
  if (!lockStructural(cpu)) return PREEMPTED;
  cpu.w0 = t.esi; cpu.w1 = t.edi; cpu.w2 = t.ebp;
  const mp = t.mp + MP_WORDS;
  cpu.w3 = load<u32>(mp, 12); cpu.w4 = load<u32>(mp, 16); cpu.w5 = load<u32>(mp, 20);
  const status = operate(cpu, t, t.eax, t.ebx & TAG_LABEL_MASK);
  if (status != PREEMPTED && same(cpu.current, t)) {
    const n = cpu.results;
    if (n > 0) t.esi = cpu.r0;
    if (n > 1) t.edi = cpu.r1;
    if (n > 2) t.ebp = cpu.r2;
    if (n > 3) { store<u32>(mp, cpu.r3, 12); if (n > 4) { store<u32>(mp, cpu.r4, 16); store<u32>(mp, cpu.r5, 20); store<u32>(mp, cpu.r6, 24); } }
  }
  unlockStructural();
  return status;
}

/** Entries of a batch between preemption points. */
const STEP_ENTRIES: u32 = 32;

function batch(cpu: Cpu, t: Thread): u32 {
  const count = t.esi;
  if (count > BATCH_MAX) { cpu.argument = 2; return ERR_RANGE; }
  if (!lockStructural(cpu)) return PREEMPTED;
  let status = ERR_OK;
  let done: u32 = 0;
  while (t.batchIndex < count) {
    if (done == STEP_ENTRIES) { status = PREEMPTED; break; }
    const at = t.mp + MP_BATCH + <usize>t.batchIndex * BATCH_SIZE;
    cpu.w0 = load<u32>(at, BATCH_W0); cpu.w1 = load<u32>(at, BATCH_W1); cpu.w2 = load<u32>(at, BATCH_W2);
    cpu.w3 = load<u32>(at, BATCH_W3); cpu.w4 = load<u32>(at, BATCH_W4); cpu.w5 = 0;
    cpu.argument = 0;
    status = operate(cpu, t, load<u32>(at, BATCH_HANDLE), load<u32>(at, BATCH_LABEL));
    if (!same(cpu.current, t)) { unlockStructural(); return NO_STATUS; }
    if (status == PREEMPTED) break;
    store<u32>(at, status, BATCH_STATUS);
    if (status != ERR_OK) break;
    t.progress = 0; t.progress2 = 0;
    t.batchIndex++;
    done++;
  }
  if (status != PREEMPTED) t.esi = t.batchIndex;
  unlockStructural();
  return status;
}
