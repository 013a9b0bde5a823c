/**
 * Message passing, the general way: every case the fast path of the stubs does not take, and the very same result where it does.
 *
 * A request stays in the caller's frozen registers and message page until an answer overwrites it. It moves: caller `calling` (on the queue of the
 * Endpoint) -> `owed` (by a Reply) -> running with the answer. Faults and INT 0x80 are requests too: they only differ in where the words come from
 * and where the answer goes (`kind`).
 *
 * Everything here needs the IPC lock; what transfers capabilities needs the structural lock as well (taken first: core/syscall.ts).
 */
import {
  ERR_OK, ERR_GONE, ERR_RESTART, THREAD_STATE_READY, THREAD_STATE_RUNNING, THREAD_STATE_CALLING, THREAD_STATE_OWED, THREAD_STATE_RECEIVING, THREAD_STATE_WAITING,
  TAG_WORDS_SHIFT, TAG_WORDS_MASK, TAG_CAPS_SHIFT, TAG_CAPS_MASK, TAG_FAULT_MASK, TAG_OP_MASK, TAG_DEADLINE_MASK, TAG_LABEL_MASK, HANDLE_INDEX_MASK,
  MP_WORDS, MP_BADGE, MP_KEY_BADGE, MP_KEY_SERIAL, MP_KEY_SEQ, MP_DELIVERIES, MP_SEND_CAPS, MP_RECV_CAPS, MP_EPOCH, MP_RECV_SLOT,
  SYSCALL_REPLY_RESULT, SYSCALL_REPLY_RESTART, SYSCALL_MESSAGE_LABEL,
} from 'kintsugi/abi';
import { symbol } from 'kintsugi/x86';
import { Thread, loadRegisters } from '../object/thread';
import { Endpoint, appendCaller, insertRedelivery, removeCaller, removeReceiver } from '../object/endpoint';
import { Reply, IDLE, ARMED, OWING } from '../object/reply';
import { Notify, removeWaiter } from '../object/notify';
import { find, fillLocked } from './capability';
import { emptySlot, takeSlot } from '../object/table';
import { makeReady, follow, lend, sendHome, takeBack } from './schedule';
import { disarmTimer } from './timer';
import { Cpu, thisCpu } from '../arch/cpu';
import { nil, none, same } from './pointer';
import { F_SUSPENDED, F_TIMEOUT, KIND_CALL, KIND_FAULT, KIND_SYSCALL } from './state';

/** What a tag must not carry into the other side's EBX: the operation and the deadline bit. */
const PRIVATE: u32 = TAG_OP_MASK | TAG_DEADLINE_MASK | TAG_FAULT_MASK;
const SCRATCH: usize = memory.data(64, 4); // under the IPC lock

function wordsOf(tag: u32): u32 {
  const n = (tag & TAG_WORDS_MASK) >> TAG_WORDS_SHIFT;
  return n > 16 ? 16 : n;
}
/** Words 0-2 by register, 3.. through the message pages. */
function copyWords(from: Thread, to: Thread, n: u32): void {
  to.esi = from.esi; to.edi = from.edi; to.ebp = from.ebp;
  if (n > 3) memory.copy(to.mp + MP_WORDS + 12, from.mp + MP_WORDS + 12, (n - 3) << 2);
}
/** Copies up to 2 capabilities into the receiver's Table; how many. Structural lock held as well. */
function transferCaps(cpu: Cpu, from: Thread, to: Thread, n: u32): u32 {
  const first = load<u32>(to.mp, MP_RECV_SLOT);
  if (first == 0 || nil(from.table) || nil(to.table)) return 0;
  for (let k: u32 = 0; k < n && k < 2; k++) {
    const s = find(cpu, from.table, load<u32>(from.mp + MP_SEND_CAPS + (<usize>k << 2)));
    if (nil(s)) return k;
    const d = emptySlot(cpu, to.table, first + k);
    if (nil(d)) return k;
    takeSlot(to.table, d);
    store<u32>(to.mp + MP_RECV_CAPS + (<usize>k << 2), fillLocked(d, s.object, s.rights, s.badge, s));
  }
  return n < 2 ? n : 2;
}
export function capsOf(tag: u32): u32 { return (tag & TAG_CAPS_MASK) >> TAG_CAPS_SHIFT; }

/** The tag a server sees of the request of a blocked Thread; EBX of a caller is frozen until the answer. */
export function requestTag(c: Thread): u32 {
  if (c.kind == KIND_FAULT) return c.vector | (8 << TAG_WORDS_SHIFT) | TAG_FAULT_MASK;
  if (c.kind == KIND_SYSCALL) return SYSCALL_MESSAGE_LABEL | (7 << TAG_WORDS_SHIFT);
  return c.ebx & ~PRIVATE;
}
/** Hands the request of `c` to the server, whose current Reply is armed. The server is made ready by the caller of this. */
export function deliver(cpu: Cpu, c: Thread, server: Thread, e: Endpoint): void {
  const r = server.reply;
  let tag = requestTag(c);
  c.deliveries++;
  const count = load<u32>(symbol('deliveryCount')) + 1;
  store<u32>(symbol('deliveryCount'), count);
  c.delivered = count;
  if (c.kind == KIND_CALL) {
    copyWords(c, server, wordsOf(tag));
    if (capsOf(tag) != 0) tag = (tag & ~TAG_CAPS_MASK) | (transferCaps(cpu, c, server, capsOf(tag)) << TAG_CAPS_SHIFT);
  } else if (c.kind == KIND_FAULT) {
    const w = server.mp + MP_WORDS;
    server.esi = c.vector; server.edi = c.error; server.ebp = c.eip;
    store<u32>(w, c.cr2, 12); store<u32>(w, c.esp, 16); store<u32>(w, c.eflags, 20); store<u32>(w, c.serial, 24); store<u32>(w, c.ebp, 28);
  } else {
    const w = server.mp + MP_WORDS;
    server.esi = c.eax; server.edi = c.ebx; server.ebp = c.ecx;
    store<u32>(w, c.edx, 12); store<u32>(w, c.esi, 16); store<u32>(w, c.edi, 20); store<u32>(w, c.ebp, 24);
  }
  server.eax = ERR_OK;
  server.ebx = tag;
  const mp = server.mp;
  store<u32>(mp, c.sendBadge, MP_BADGE);
  store<u32>(mp, c.sendBadge, MP_KEY_BADGE);
  store<u32>(mp, c.serial, MP_KEY_SERIAL);
  store<u32>(mp, c.seq, MP_KEY_SEQ);
  store<u32>(mp, c.deliveries, MP_DELIVERIES);
  store<u32>(mp, e.epoch, MP_EPOCH);
  r.state = OWING;
  r.caller = c;
  c.state = THREAD_STATE_OWED;
  c.owed = r;
  c.endpoint = e;
  server.ipcs++;
  sendHome(server);
  lend(c, server);
}

/** `c` (its kind, tag, badge set) calls `e`: delivered if somebody receives, else queued. */
export function sendRequest(cpu: Cpu, c: Thread, e: Endpoint): void {
  c.endpoint = e;
  const server = e.recv;
  if (nil(server)) {
    c.state = THREAD_STATE_CALLING;
    appendCaller(e, c);
    return;
  }
  removeReceiver(e, server);
  endTimeout(server);
  follow(server, cpu);
  deliver(cpu, c, server, e);
  makeReady(cpu, server, true);
}
/** Back to the head of a queue, or straight to a receiver. */
export function requeue(cpu: Cpu, c: Thread, e: Endpoint): void {
  takeBack(c);
  c.endpoint = e;
  const server = e.recv;
  if (nil(server) || (capsOf(c.ebx) != 0 && c.kind == KIND_CALL)) {
    c.state = THREAD_STATE_CALLING;
    insertRedelivery(e, c);
    return;
  }
  removeReceiver(e, server);
  endTimeout(server);
  deliver(cpu, c, server, e);
  makeReady(cpu, server, true);
}
/** The first queued caller goes to `server`, which is running; there must be one. */
export function takeCaller(cpu: Cpu, server: Thread, e: Endpoint): void {
  const c = e.call;
  removeCaller(e, c);
  deliver(cpu, c, server, e);
}

/** The debt ends, however: the Reply is idle again and the caller nobody's. */
export function settle(r: Reply): void {
  const c = r.caller;
  r.state = IDLE;
  r.caller = none<Thread>();
  if (!nil(c)) c.owed = none<Reply>();
}

/** `server` answers: its registers and message page hold tag and words. False when the caller is gone. */
export function answer(cpu: Cpu, server: Thread, r: Reply): bool {
  const c = r.caller;
  settle(r);
  if (nil(c)) return false;
  let tag = server.ebx & ~PRIVATE;
  const label = tag & TAG_LABEL_MASK;
  if (c.kind == KIND_CALL) {
    copyWords(server, c, wordsOf(tag));
    if (capsOf(tag) != 0) tag = (tag & ~TAG_CAPS_MASK) | (transferCaps(cpu, server, c, capsOf(tag)) << TAG_CAPS_SHIFT);
    c.eax = ERR_OK;
    c.ebx = tag;
  } else if (c.kind == KIND_FAULT) {
    c.kind = KIND_CALL;
    if (label != 0) { takeBack(c); c.state = THREAD_STATE_READY; c.flags |= F_SUSPENDED; return true; }
  } else {
    c.kind = KIND_CALL;
    if (label == SYSCALL_REPLY_RESULT) c.eax = server.esi;
    else if (label == SYSCALL_REPLY_RESTART) c.eip -= 2;
    else {
      const w = SCRATCH;
      store<u32>(w, server.esi); store<u32>(w, server.edi, 4); store<u32>(w, server.ebp, 8);
      memory.copy(w + 12, server.mp + MP_WORDS + 12, 36);
      loadRegisters(c, w);
    }
  }
  makeReady(cpu, c, true);
  return true;
}

function endTimeout(t: Thread): void {
  if ((t.flags & F_TIMEOUT) == 0) return;
  t.flags &= ~F_TIMEOUT;
  disarmTimer(t.timer);
}
/** Takes a blocked Thread off whatever it waits for. Its state is the caller's to set (`finishBlocked` or `makeReady`). */
export function cancel(t: Thread): void {
  endTimeout(t);
  if (t.state == THREAD_STATE_CALLING) { removeCaller(t.endpoint, t); takeBack(t); }
  else if (t.state == THREAD_STATE_OWED) { t.owed.caller = none<Thread>(); t.owed = none<Reply>(); takeBack(t); }
  else if (t.state == THREAD_STATE_RECEIVING) {
    removeReceiver(t.endpoint, t);
    if (!nil(t.reply) && t.reply.state == ARMED) t.reply.state = IDLE;
  } else if (t.state == THREAD_STATE_WAITING) {
    if (!nil(t.waiting)) removeWaiter(t.waiting, t);
  } else return;
  t.state = THREAD_STATE_READY;
}
/** A blocked call or wait ends with `status`. A fault is simply tried again; an INT 0x80 is executed again. */
export function finishBlocked(t: Thread, status: u32): void {
  if (t.kind == KIND_CALL) {
    t.eax = status;
    t.ebx = 0;
    if (status == ERR_RESTART && !nil(t.endpoint)) store<u32>(t.mp, t.endpoint.epoch, MP_EPOCH);
  } else {
    if (t.kind == KIND_SYSCALL) t.eip -= 2;
    t.kind = KIND_CALL;
  }
  makeReady(thisCpu(), t, false);
}
