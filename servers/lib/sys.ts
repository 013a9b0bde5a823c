/**
 * The 12 system calls and every `invoke` operation, typed.
 *
 * A call leaves its results in one static record, `R` (status, tag, words 0-2), and in the message page; both are overwritten by the next
 * call of this Thread. Fibers share the Thread: copy what you need before anything that may switch fibers. The functions return the status
 * (ERR_OK = 0 ...), never throw, never retry, with one exception: `check` turns a failure that only a programming mistake can cause into a
 * deliberate fault, so that the supervisor reports it with file and line.
 *
 * Words 3-15, badge, key and pending bits are read by accessors (`word`, `badge`, ...), not by offsets.
 * Manual: docs/abi.md, generated from microkernel/abi.
 */
import {
  CALL_CALL, CALL_RECV, CALL_REPLY_RECV, CALL_REPLY, CALL_NOTIFY, CALL_WAIT, CALL_INVOKE, CALL_BATCH, CALL_WINDOW, CALL_FAULT, CALL_TRACE, CALL_CLOCK,
  TAG_WORDS_SHIFT, TAG_CAPS_SHIFT, TAG_READONLY_SHIFT, TAG_FAULT_SHIFT, TAG_LEASES_SHIFT, TAG_DEADLINE_SHIFT, TAG_OP_SHIFT,
  VM_MESSAGE_PAGE, NOTIFY_BADGE,
  MP_WORDS, MP_BADGE, MP_KEY_BADGE, MP_KEY_SERIAL, MP_KEY_SEQ, MP_DELIVERIES, MP_SEND_CAPS, MP_RECV_CAPS, MP_LEASES, MP_ERR_ARG, MP_EPOCH,
  MP_PENDING, MP_DEADLINE_LO, MP_DEADLINE_HI, MP_RECV_SLOT, MP_RESULTS, MP_BATCH,
  BATCH_SIZE, BATCH_MAX, BATCH_HANDLE, BATCH_LABEL, BATCH_W0, BATCH_W1, BATCH_W2, BATCH_W3, BATCH_W4, BATCH_STATUS, ERR_OK, ERR_RANGE,
  UNTYPED_RETYPE, UNTYPED_REVOKE, UNTYPED_INFO, TABLE_COPY, TABLE_MINT, TABLE_MOVE, TABLE_DELETE, TABLE_REVOKE, TABLE_IDENTIFY,
  SPACE_MAP, SPACE_UNMAP, SPACE_PROTECT, SPACE_CLONE_RANGE, SPACE_QUERY, SPACE_COPY, SPACE_DONATE, SPACE_SET_PORTS, SPACE_WINDOW,
  FRAMES_INFO, FRAMES_PADDR, FRAMES_UNMAP_ALL,
  THREAD_CONFIGURE, THREAD_SET_SYSCALL_ENDPOINT, THREAD_SET_SCHEDULE, THREAD_BIND_NOTIFY, THREAD_BIND_REPLY, THREAD_RESUME, THREAD_SUSPEND,
  THREAD_GET_REGISTERS, THREAD_SET_REGISTERS, THREAD_CANCEL_IPC, THREAD_SET_TLS, THREAD_QUERY,
  SCHED_CONFIGURE, SCHED_BIND, SCHED_INFO, ENDPOINT_EPOCH, ENDPOINT_BUMP, ENDPOINT_CANCEL_BADGE,
  REPLY_PEEK, REPLY_REQUEUE, REPLY_FAIL, REPLY_COPY, REPLY_DISARM, NOTIFY_ALARM, NOTIFY_CLEAR,
  DEVICE_BIND, DEVICE_ACK, DEVICE_MASK, DEVICE_RESET, DEVICE_PORT_IN, DEVICE_PORT_OUT, DEVICE_ALLOW_DMA, DEVICE_INFO,
} from 'kintsugi/abi';
import { sys_enter } from 'kintsugi/x86';

/** What the last call of this Thread returned. `status` is also the return value of every function below. */
@unmanaged @final export class Result { handle: u32; tag: u32; w0: u32; w1: u32; w2: u32; status: u32 }
export const R: Result = changetype<Result>(memory.data(24, 4));

const MP: usize = VM_MESSAGE_PAGE;

/** A deadline that never comes. Deadlines are absolute ns of `clock()`; 0 polls. */
export const FOREVER: u64 = u64.MAX_VALUE;

// ---- message page ---------------------------------------------------------------------------------------------------------------------

/** Word n of the message just received or of a reply: 0-2 from the registers, 3-15 from the message page. */
export function word(n: u32): u32 {
  if (n == 0) return R.w0;
  if (n == 1) return R.w1;
  if (n == 2) return R.w2;
  return load<u32>(MP + MP_WORDS + (<usize>n << 2));
}
/** Sets word n (3..15) of the message about to be sent. */
export function setWord(n: u32, value: u32): void { store<u32>(MP + MP_WORDS + (<usize>n << 2), value); }
/** Result n (0..15) in the `results` area of the message page (get_registers). */
export function resultWord(n: u32): u32 { return load<u32>(MP + MP_RESULTS + (<usize>n << 2)); }
export function badge(): u32 { return load<u32>(MP, MP_BADGE); }
/** True when `recv` ended because the bound Notify fired; the bits are `pending()`. */
export function notified(): bool { return load<u32>(MP, MP_BADGE) == NOTIFY_BADGE; }
export function pending(): u32 { return load<u32>(MP, MP_PENDING); }
export function keyBadge(): u32 { return load<u32>(MP, MP_KEY_BADGE); }
export function keySerial(): u32 { return load<u32>(MP, MP_KEY_SERIAL); }
export function keySeq(): u32 { return load<u32>(MP, MP_KEY_SEQ); }
export function deliveries(): u32 { return load<u32>(MP, MP_DELIVERIES); }
export function epoch(): u32 { return load<u32>(MP, MP_EPOCH); }
/** Index of the guilty argument of the last failed call: 0 = the handle, 1 = the tag, 2.. = words 0... */
export function errArg(): u32 { return load<u32>(MP, MP_ERR_ARG); }
/** Handle n (0, 1) that came with the last message. */
export function receivedCap(n: u32): u32 { return load<u32>(MP + MP_RECV_CAPS + (<usize>n << 2)); }
/** Handle n (0, 1) to send with the next message; say how many with TAG_CAPS in the tag (`caps(n)`). */
export function sendCap(n: u32, handle: u32): void { store<u32>(MP + MP_SEND_CAPS + (<usize>n << 2), handle); }
/** First Table index for received capabilities, 0 refuses them. */
export function receiveCapsAt(index: u32): void { store<u32>(MP, index, MP_RECV_SLOT); }
/** Lease n (0, 1) of the next call: the receiver may copy from (rights 1) or to (2) this range of the own Space until it replies. */
export function lease(n: u32, va: usize, bytes: u32, rights: u32): void { leaseOf(n, 0, va, bytes, rights); }
export function leaseOf(n: u32, space: u32, va: usize, bytes: u32, rights: u32): void {
  const p = MP + MP_LEASES + (<usize>n << 4);
  store<u32>(p, space); store<usize>(p, va, 4); store<u32>(p, bytes, 8); store<u32>(p, rights, 12);
}

// ---- tags -----------------------------------------------------------------------------------------------------------------------------

/** A message tag: label and number of words. OR in `caps(n)`, `leases(n)`, `READONLY`. */
export function tag(label: u32, words: u32): u32 { return label | (words << TAG_WORDS_SHIFT); }
export function caps(n: u32): u32 { return n << TAG_CAPS_SHIFT; }
export function leases(n: u32): u32 { return n << TAG_LEASES_SHIFT; }
export const READONLY: u32 = 1 << TAG_READONLY_SHIFT;
/** Label, word count and fault bit of the last message. */
export function label(): u32 { return R.tag & 0xffff; }
export function words(): u32 { return (R.tag >> TAG_WORDS_SHIFT) & 31; }
export function isFault(): bool { return (R.tag & (1 << TAG_FAULT_SHIFT)) != 0; }
export function leaseCount(): u32 { return (R.tag >> TAG_LEASES_SHIFT) & 3; }

// ---- calls ----------------------------------------------------------------------------------------------------------------------------

function enter(handle: u32, tag: u32, w0: u32, w1: u32, w2: u32): u32 {
  R.handle = handle; R.tag = tag; R.w0 = w0; R.w1 = w1; R.w2 = w2;
  const status = sys_enter(changetype<usize>(R));
  R.status = status;
  return status;
}
function deadlineBit(deadline: u64): u32 {
  if (deadline == FOREVER) return 0;
  store<u64>(MP, deadline, MP_DEADLINE_LO);
  return 1 << TAG_DEADLINE_SHIFT;
}

export function call(endpoint: u32, tag: u32, w0: u32, w1: u32, w2: u32): u32 { return enter(endpoint, tag | (CALL_CALL << TAG_OP_SHIFT), w0, w1, w2); }
/** Receives into `reply` (0 = the Thread's current Reply). Ends with OK and `notified()` when the bound Notify fires, ERR_TIMEOUT at the deadline. */
export function recv(endpoint: u32, reply: u32, deadline: u64): u32 {
  return enter(endpoint, deadlineBit(deadline) | (CALL_RECV << TAG_OP_SHIFT), reply, 0, 0);
}
export function replyRecv(endpoint: u32, tag: u32, w0: u32, w1: u32, w2: u32, deadline: u64): u32 {
  return enter(endpoint, tag | deadlineBit(deadline) | (CALL_REPLY_RECV << TAG_OP_SHIFT), w0, w1, w2);
}
export function reply(reply: u32, tag: u32, w0: u32, w1: u32, w2: u32): u32 { return enter(reply, tag | (CALL_REPLY << TAG_OP_SHIFT), w0, w1, w2); }
export function notify(notify: u32, bits: u32): u32 { return enter(notify, CALL_NOTIFY << TAG_OP_SHIFT, bits, 0, 0); }
/** Takes bits of `mask`; `pending()` tells which. ERR_TIMEOUT when the deadline (0 = poll) passes first. */
export function wait(notify: u32, mask: u32, deadline: u64): u32 { return enter(notify, deadlineBit(deadline) | (CALL_WAIT << TAG_OP_SHIFT), mask, 0, 0); }
export function sleepUntil(deadline: u64): u32 { return wait(0, 0, deadline); }
export function yieldCpu(): void { wait(0, 0, 0); }
/** Opens (1) or closes (0) the write window on the own state Frames; any IPC closes it. */
export function window(frames: u32, open: u32): u32 { return enter(frames, CALL_WINDOW << TAG_OP_SHIFT, open, 0, 0); }
/** A deliberate failure: stops this Thread with a fault message {code, a, b} to its fault endpoint. */
export function fault(code: u32, a: u32, b: u32): u32 { return enter(0, CALL_FAULT << TAG_OP_SHIFT, code, a, b); }
/** A mark for whoever traces; R.w0 = this CPU, R.w1 and R.w2 = instructions it has retired (0 where it cannot count them). */
export function trace(id: u32, a: u32, b: u32): u32 { return enter(0, CALL_TRACE << TAG_OP_SHIFT, id, a, b); }
/** Nanoseconds since boot; `R.w2` = the CPU this ran on. */
export function clock(): u64 {
  enter(0, CALL_CLOCK << TAG_OP_SHIFT, 0, 0, 0);
  return <u64>R.w0 | (<u64>R.w1 << 32);
}
export function currentCpu(): u32 { enter(0, CALL_CLOCK << TAG_OP_SHIFT, 0, 0, 0); return R.w2; }

/** Result n (0..15) of an invoke: 0-2 from the registers, the others from the message page. */
export function result(n: u32): u32 { return word(n); }
export function invoke0(handle: u32, op: u32): u32 { return enter(handle, op | (CALL_INVOKE << TAG_OP_SHIFT), 0, 0, 0); }
export function invoke1(handle: u32, op: u32, a: u32): u32 { return enter(handle, op | (1 << TAG_WORDS_SHIFT) | (CALL_INVOKE << TAG_OP_SHIFT), a, 0, 0); }
export function invoke2(handle: u32, op: u32, a: u32, b: u32): u32 { return enter(handle, op | (2 << TAG_WORDS_SHIFT) | (CALL_INVOKE << TAG_OP_SHIFT), a, b, 0); }
export function invoke3(handle: u32, op: u32, a: u32, b: u32, c: u32): u32 { return enter(handle, op | (3 << TAG_WORDS_SHIFT) | (CALL_INVOKE << TAG_OP_SHIFT), a, b, c); }
export function invoke4(handle: u32, op: u32, a: u32, b: u32, c: u32, d: u32): u32 {
  setWord(3, d);
  return enter(handle, op | (4 << TAG_WORDS_SHIFT) | (CALL_INVOKE << TAG_OP_SHIFT), a, b, c);
}
export function invoke5(handle: u32, op: u32, a: u32, b: u32, c: u32, d: u32, e: u32): u32 {
  setWord(3, d); setWord(4, e);
  return enter(handle, op | (5 << TAG_WORDS_SHIFT) | (CALL_INVOKE << TAG_OP_SHIFT), a, b, c);
}

/** Goes on if `status` is OK; otherwise a deliberate fault {code, status, guilty argument} that names the caller in the supervisor's report. */
export function check(status: u32, code: u32): void {
  if (status == ERR_OK) return;
  fault(code, status, errArg());
}

// ---- batch ----------------------------------------------------------------------------------------------------------------------------

let batchCount: u32 = 0;
export function batchStart(): void { batchCount = 0; }
/** Adds invoke(handle, op, a..e); ERR_RANGE when the batch is full (BATCH_MAX entries). */
export function batchAdd(handle: u32, op: u32, a: u32, b: u32, c: u32, d: u32, e: u32): u32 {
  if (batchCount >= BATCH_MAX) return ERR_RANGE;
  const p = MP + MP_BATCH + <usize>batchCount * BATCH_SIZE;
  store<u32>(p, handle, BATCH_HANDLE); store<u32>(p, op, BATCH_LABEL);
  store<u32>(p, a, BATCH_W0); store<u32>(p, b, BATCH_W1); store<u32>(p, c, BATCH_W2); store<u32>(p, d, BATCH_W3); store<u32>(p, e, BATCH_W4);
  store<u32>(p, ERR_OK, BATCH_STATUS);
  batchCount++;
  return ERR_OK;
}
/** Runs the batch; at the first error returns its status, R.w0 = its index. */
export function batchRun(): u32 { return enter(0, CALL_BATCH << TAG_OP_SHIFT, batchCount, 0, 0); }

// ---- Untyped, Table -------------------------------------------------------------------------------------------------------------------

/** Makes `count` objects of `type` in Table `table` (0 = own) from slot `slot` on (0 = kernel chooses). R.w0 = first handle. */
export function retype(untyped: u32, type: u32, sizeBits: u32, count: u32, table: u32, slot: u32): u32 {
  return invoke5(untyped, UNTYPED_RETYPE, type, sizeBits, count, table, slot);
}
export function untypedRevoke(untyped: u32): u32 { return invoke0(untyped, UNTYPED_REVOKE); }
/** R.w0 = sizeBits, R.w1 = bytes free, R.w2 = paddr >> 12, result(3) = objects. */
export function untypedInfo(untyped: u32): u32 { return invoke0(untyped, UNTYPED_INFO); }
export function capCopy(table: u32, source: u32, rights: u32, toTable: u32, toSlot: u32): u32 { return invoke4(table, TABLE_COPY, source, rights, toTable, toSlot); }
export function capMint(table: u32, source: u32, rights: u32, toTable: u32, toSlot: u32, badge: u32): u32 {
  return invoke5(table, TABLE_MINT, source, rights, toTable, toSlot, badge);
}
export function capMove(table: u32, source: u32, toTable: u32, toSlot: u32): u32 { return invoke3(table, TABLE_MOVE, source, toTable, toSlot); }
export function capDelete(table: u32, handle: u32): u32 { return invoke1(table, TABLE_DELETE, handle); }
export function capRevoke(table: u32, handle: u32): u32 { return invoke1(table, TABLE_REVOKE, handle); }
/** R.w0 = type, R.w1 = rights, R.w2 = badge, result(3) = object id. */
export function capIdentify(table: u32, handle: u32): u32 { return invoke1(table, TABLE_IDENTIFY, handle); }

// ---- Space, Frames --------------------------------------------------------------------------------------------------------------------

/** Rights of a mapping. */
export const MAP_READ: u32 = 1;
export const MAP_WRITE: u32 = 2;
export const MAP_EXECUTE: u32 = 4;
export const MAP_UNCACHED: u32 = 8;
export function map(space: u32, frames: u32, va: usize, firstPage: u32, pages: u32, rights: u32): u32 { return invoke5(space, SPACE_MAP, frames, <u32>va, firstPage, pages, rights); }
export function unmap(space: u32, va: usize, pages: u32): u32 { return invoke2(space, SPACE_UNMAP, <u32>va, pages); }
export function protect(space: u32, va: usize, pages: u32, rights: u32): u32 { return invoke3(space, SPACE_PROTECT, <u32>va, pages, rights); }
export function cloneRange(space: u32, to: u32, va: usize, pages: u32, rights: u32): u32 { return invoke4(space, SPACE_CLONE_RANGE, to, <u32>va, pages, rights); }
/** R.w0 = rights (0 = unmapped), R.w1 = accessed 1 | dirty 2, R.w2 = page in the Frames. */
export function queryPage(space: u32, va: usize): u32 { return invoke1(space, SPACE_QUERY, <u32>va); }
export function copyFromSpace(space: u32, ownVa: usize, other: u32, otherVa: usize, bytes: u32): u32 { return invoke5(space, SPACE_COPY, <u32>ownVa, other, <u32>otherVa, bytes, 0); }
export function copyToSpace(space: u32, ownVa: usize, other: u32, otherVa: usize, bytes: u32): u32 { return invoke5(space, SPACE_COPY, <u32>ownVa, other, <u32>otherVa, bytes, 1); }
export function donate(space: u32, untyped: u32, pages: u32): u32 { return invoke2(space, SPACE_DONATE, untyped, pages); }
export function setPorts(space: u32, device: u32): u32 { return invoke1(space, SPACE_SET_PORTS, device); }
export function declareWindow(space: u32, frames: u32, va: usize, pages: u32): u32 { return invoke3(space, SPACE_WINDOW, frames, <u32>va, pages); }
/** R.w0 = log2 pages, R.w1 = mappings. */
export function framesInfo(frames: u32): u32 { return invoke0(frames, FRAMES_INFO); }
export function framesPaddr(frames: u32): u32 { return invoke0(frames, FRAMES_PADDR); }
export function framesUnmapAll(frames: u32): u32 { return invoke0(frames, FRAMES_UNMAP_ALL); }

// ---- Thread, Sched --------------------------------------------------------------------------------------------------------------------

export function threadConfigure(thread: u32, space: u32, table: u32, messageFrames: u32, messageVa: usize, faultEndpoint: u32): u32 {
  return invoke5(thread, THREAD_CONFIGURE, space, table, messageFrames, <u32>messageVa, faultEndpoint);
}
export function setSyscallEndpoint(thread: u32, endpoint: u32): u32 { return invoke1(thread, THREAD_SET_SYSCALL_ENDPOINT, endpoint); }
export const FOLLOW: u32 = 1;
export function setSchedule(thread: u32, priority: u32, cpu: u32, flags: u32): u32 { return invoke3(thread, THREAD_SET_SCHEDULE, priority, cpu, flags); }
export function bindNotify(thread: u32, notify: u32): u32 { return invoke1(thread, THREAD_BIND_NOTIFY, notify); }
export function bindReply(thread: u32, reply: u32): u32 { return invoke1(thread, THREAD_BIND_REPLY, reply); }
export function threadResume(thread: u32): u32 { return invoke0(thread, THREAD_RESUME); }
export function threadSuspend(thread: u32): u32 { return invoke0(thread, THREAD_SUSPEND); }
/** Registers in the order of REGISTERS: `resultWord(0..11)`. */
export function getRegisters(thread: u32): u32 { return invoke0(thread, THREAD_GET_REGISTERS); }
/** Sets all registers from words 3..14; fill them with `setWord(3 + n, value)` first, or use `startThread`. */
export function setRegisters(thread: u32): u32 { return enter(thread, THREAD_SET_REGISTERS | (15 << TAG_WORDS_SHIFT) | (CALL_INVOKE << TAG_OP_SHIFT), 0, 0, 0); }
/** Entry state of a fresh Thread: eip, esp, EAX = `argument`, flags IF, everything else 0. Does not resume it. */
export function setEntry(thread: u32, eip: usize, esp: usize, argument: u32): u32 {
  for (let n: u32 = 0; n < 12; n++) setWord(3 + n, 0);
  setWord(3, argument); setWord(10, <u32>esp); setWord(11, <u32>eip); setWord(12, 0x202);
  return setRegisters(thread);
}
export function cancelIpc(thread: u32): u32 { return invoke0(thread, THREAD_CANCEL_IPC); }
export function setTls(thread: u32, gsBase: u32, fsBase: u32): u32 { return invoke2(thread, THREAD_SET_TLS, gsBase, fsBase); }
/** result(0) state, (1) cpu, (2) priority, (3) serial, (4), (5) run ns, (6) ipcs. */
export function threadQuery(thread: u32): u32 { return invoke0(thread, THREAD_QUERY); }
export function schedConfigure(sched: u32, budgetNs: u32, periodNs: u32, deadlineNs: u32, weight: u32, reserve: u32): u32 {
  return invoke5(sched, SCHED_CONFIGURE, budgetNs, periodNs, deadlineNs, weight, reserve);
}
export function schedBind(sched: u32, thread: u32): u32 { return invoke1(sched, SCHED_BIND, thread); }
/** R.w0 = budget left ns, R.w1, R.w2 = consumed ns. */
export function schedInfo(sched: u32): u32 { return invoke0(sched, SCHED_INFO); }

// ---- Endpoint, Reply, Notify ----------------------------------------------------------------------------------------------------------

/** R.w0 = epoch, R.w1 = queued callers. */
export function endpointEpoch(endpoint: u32): u32 { return invoke0(endpoint, ENDPOINT_EPOCH); }
export function endpointBump(endpoint: u32): u32 { return invoke0(endpoint, ENDPOINT_BUMP); }
export function cancelBadge(endpoint: u32, badge: u32): u32 { return invoke1(endpoint, ENDPOINT_CANCEL_BADGE, badge); }
/** result(0) state, (1) badge, (2) caller serial, (3) seq, (4) tag, (5) deliveries, (6) age ns. */
export function replyPeek(reply: u32): u32 { return invoke0(reply, REPLY_PEEK); }
export function replyRequeue(reply: u32, endpoint: u32): u32 { return invoke1(reply, REPLY_REQUEUE, endpoint); }
export function replyFail(reply: u32, status: u32): u32 { return invoke1(reply, REPLY_FAIL, status); }
/** Moves bytes from lease `n` of the owing call of `reply` to own memory. */
export function copyFromLease(reply: u32, ownVa: usize, n: u32, offset: u32, bytes: u32): u32 { return invoke5(reply, REPLY_COPY, <u32>ownVa, n, offset, bytes, 0); }
export function copyToLease(reply: u32, ownVa: usize, n: u32, offset: u32, bytes: u32): u32 { return invoke5(reply, REPLY_COPY, <u32>ownVa, n, offset, bytes, 1); }
export function replyDisarm(reply: u32): u32 { return invoke0(reply, REPLY_DISARM); }
/** The one alarm of a Notify: signals `bits` at the absolute `deadline`; 0 cancels. */
export function alarm(notify: u32, bits: u32, deadline: u64): u32 { return invoke3(notify, NOTIFY_ALARM, bits, <u32>deadline, <u32>(deadline >> 32)); }
/** R.w0 = the bits that were set. */
export function notifyClear(notify: u32, bits: u32): u32 { return invoke1(notify, NOTIFY_CLEAR, bits); }

// ---- Device ---------------------------------------------------------------------------------------------------------------------------

export function deviceBind(device: u32, notify: u32, bits: u32): u32 { return invoke2(device, DEVICE_BIND, notify, bits); }
export function deviceAck(device: u32): u32 { return invoke0(device, DEVICE_ACK); }
export function deviceMask(device: u32): u32 { return invoke0(device, DEVICE_MASK); }
export function deviceReset(device: u32): u32 { return invoke0(device, DEVICE_RESET); }
/** R.w0 = the value read. */
export function portIn(device: u32, port: u32, bytes: u32): u32 { return invoke2(device, DEVICE_PORT_IN, port, bytes); }
export function portOut(device: u32, port: u32, bytes: u32, value: u32): u32 { return invoke3(device, DEVICE_PORT_OUT, port, bytes, value); }
export function allowDma(device: u32, frames: u32): u32 { return invoke1(device, DEVICE_ALLOW_DMA, frames); }
/** R.w0 = kind irq=1 ports=2 mmio=3, R.w1 = irq | first port | paddr >> 12, R.w2 = count. */
export function deviceInfo(device: u32): u32 { return invoke0(device, DEVICE_INFO); }
