/**
 * Kernel tests in the guest: KTAP on COM1, raw system calls, helper Threads.
 *
 * The test root uses the ABI directly, not the servers' library, so that nothing lies between a test and the kernel. Each Thread has a `Ctx`: a block
 * of registers for sys_enter and its own message page. Helper Threads share root's Space and Table; their results are read from memory.
 */
import {
  CALL_CALL, CALL_RECV, CALL_REPLY_RECV, CALL_REPLY, CALL_NOTIFY, CALL_WAIT, CALL_INVOKE, CALL_CLOCK, CALL_TRACE, TAG_OP_SHIFT, TAG_WORDS_SHIFT, TAG_DEADLINE_SHIFT, MP_WORDS, MP_ERR_ARG,
  MP_DEADLINE_LO, MP_DEADLINE_HI, VM_MESSAGE_PAGE, BOOTINFO_HANDLES_IO_PORTS, BOOTINFO_HANDLES_TABLE, BOOTINFO_HANDLES_SPACE, DEVICE_PORT_OUT, DEVICE_PORT_IN,
  OBJ_THREAD, OBJ_FRAMES, OBJ_SCHED, UNTYPED_RETYPE, SPACE_MAP, THREAD_CONFIGURE, THREAD_SET_REGISTERS, THREAD_RESUME, THREAD_SET_SCHEDULE, SCHED_BIND, ERR_OK,
} from 'kintsugi/abi';
import { sys_enter } from './enter';

@unmanaged @final export class Ctx { handle: u32; tag: u32; w0: u32; w1: u32; w2: u32; mp: usize; thread: u32; stack: usize; a: u32; b: u32; c: u32; d: u32; schedule: u32 }
const MAIN: Ctx = changetype<Ctx>(memory.data(64, 4));
export function mainCtx(): Ctx { MAIN.mp = VM_MESSAGE_PAGE; return MAIN; }

/** One system call; returns the status. */
export function enter(c: Ctx, handle: u32, tag: u32, w0: u32, w1: u32, w2: u32): u32 {
  c.handle = handle; c.tag = tag; c.w0 = w0; c.w1 = w1; c.w2 = w2;
  return sys_enter(changetype<usize>(c));
}
export function op(n: u32): u32 { return n << TAG_OP_SHIFT; }
export function words(n: u32): u32 { return n << TAG_WORDS_SHIFT; }
export function invoke(c: Ctx, handle: u32, label: u32, a: u32 = 0, b: u32 = 0, d: u32 = 0, e: u32 = 0, f: u32 = 0): u32 {
  setWord(c, 3, e); setWord(c, 4, f);
  return enter(c, handle, label | op(CALL_INVOKE) | words(5), a, b, d);
}
export function word(c: Ctx, n: u32): u32 { return n == 0 ? c.w0 : n == 1 ? c.w1 : n == 2 ? c.w2 : load<u32>(c.mp + MP_WORDS + (<usize>n << 2)); }
export function setWord(c: Ctx, n: u32, v: u32): void { store<u32>(c.mp + MP_WORDS + (<usize>n << 2), v); }
export function errArg(c: Ctx): u32 { return load<u32>(c.mp, MP_ERR_ARG); }
export function deadline(c: Ctx, at: u64): u32 { store<u32>(c.mp, <u32>at, MP_DEADLINE_LO); store<u32>(c.mp, <u32>(at >> 32), MP_DEADLINE_HI); return 1 << TAG_DEADLINE_SHIFT; }
export function call(c: Ctx, endpoint: u32, tag: u32, a: u32 = 0, b: u32 = 0, d: u32 = 0): u32 { return enter(c, endpoint, tag | op(CALL_CALL), a, b, d); }
export function recv(c: Ctx, endpoint: u32, reply: u32): u32 { return enter(c, endpoint, op(CALL_RECV), reply, 0, 0); }
export function replyRecv(c: Ctx, endpoint: u32, tag: u32, a: u32, b: u32, d: u32): u32 { return enter(c, endpoint, tag | op(CALL_REPLY_RECV), a, b, d); }
export function answer(c: Ctx, reply: u32, tag: u32, a: u32, b: u32, d: u32): u32 { return enter(c, reply, tag | op(CALL_REPLY), a, b, d); }
export function notify(c: Ctx, n: u32, bits: u32): u32 { return enter(c, n, op(CALL_NOTIFY), bits, 0, 0); }
export function wait(c: Ctx, n: u32, mask: u32): u32 { return enter(c, n, op(CALL_WAIT), mask, 0, 0); }
export function poll(c: Ctx, n: u32, mask: u32): u32 { return enter(c, n, op(CALL_WAIT) | deadline(c, 0), mask, 0, 0); }
export function waitUntil(c: Ctx, n: u32, mask: u32, at: u64): u32 { return enter(c, n, op(CALL_WAIT) | deadline(c, at), mask, 0, 0); }
export function sleep(c: Ctx, ns: u64): void { enter(c, 0, op(CALL_WAIT) | deadline(c, clock(c) + ns), 0, 0, 0); }
export function clock(c: Ctx): u64 { enter(c, 0, op(CALL_CLOCK), 0, 0, 0); return <u64>c.w0 | (<u64>c.w1 << 32); }

// ---- output ----------------------------------------------------------------------------------------------------------------------------

function put(ch: u32): void {
  while (true) { invoke(MAIN, BOOTINFO_HANDLES_IO_PORTS, DEVICE_PORT_IN, 0x3fd, 1); if ((MAIN.w0 & 0x20) != 0) break; }
  invoke(MAIN, BOOTINFO_HANDLES_IO_PORTS, DEVICE_PORT_OUT, 0x3f8, 1, ch);
}
export function print(s: string): void { for (let n = 0; n < s.length; n++) put(load<u16>(changetype<usize>(s) + (<usize>n << 1))); }
export function printDec(v: u32): void { if (v >= 10) printDec(v / 10); put(48 + v % 10); }
export function finish(status: u32): void { invoke(MAIN, BOOTINFO_HANDLES_IO_PORTS, DEVICE_PORT_OUT, 0xf4, 1, status); while (true) sleep(MAIN, 1000000000); }

/** Asks the kernel to look at its own invariants (with `check` on its command line). */
export function check(): u32 { enter(MAIN, 0, op(CALL_TRACE), 0x6b636863, 0, 0); return MAIN.w1; }

let number: u32 = 0;
export let failures: u32 = 0;
let bad: u32 = 0;
/** Values that a test compares; the first mismatch of a test is printed. */
export function eq(got: u32, want: u32, what: string): void {
  if (got == want) return;
  if (bad++ < 4) { print('# '); print(what); print(': got '); printDec(got); print(', want '); printDec(want); print('\n'); }
}
export function ok(name: string): void {
  check();
  number++;
  if (bad != 0) failures++;
  print(bad == 0 ? 'ok ' : 'not ok '); printDec(number); print(' - '); print(name); print('\n');
  bad = 0;
}
export function skip(name: string, why: string): void { number++; print('ok '); printDec(number); print(' - '); print(name); print(' # SKIP '); print(why); print('\n'); }
export function plan(): void { print('1..'); printDec(number); print('\n'); }

// ---- objects and helper Threads --------------------------------------------------------------------------------------------------------

export const TABLE: u32 = BOOTINFO_HANDLES_TABLE;
export const SPACE: u32 = BOOTINFO_HANDLES_SPACE;
let untyped: u32 = 0;
export function useUntyped(u: u32): void { untyped = u; }
export function make(type: u32, bits: u32 = 0): u32 {
  const s = invoke(MAIN, untyped, UNTYPED_RETYPE, type, bits, 1, 0, 0);
  if (s != ERR_OK) { eq(s, ERR_OK, 'retype'); return 0; }
  return MAIN.w0;
}
let nextVa: usize = 0x60000000;
export function freshVa(pages: u32): usize { const va = nextVa; nextVa += <usize>pages << 12; return va; }
/** `pages` (a power of two) new pages, mapped; their address. */
export function memoryPages(bits: u32, rights: u32 = 3): usize {
  const f = make(OBJ_FRAMES, bits);
  const va = freshVa(<u32>1 << (bits - 12));
  eq(invoke(MAIN, SPACE, SPACE_MAP, f, <u32>va, 0, <u32>1 << (bits - 12), rights), ERR_OK, 'map');
  return va;
}
/** A Thread with stack, message page and Ctx that will run fn(ctx); not resumed. */
export function thread(entry: usize, prio: u32, cpu: u32, fault: u32, flags: u32 = 0): Ctx {
  const stack = memoryPages(14);
  const page = make(OBJ_FRAMES, 12);
  const va = freshVa(1);
  eq(invoke(MAIN, SPACE, SPACE_MAP, page, <u32>va, 0, 1, 3), ERR_OK, 'map message page');
  const t = make(OBJ_THREAD);
  eq(invoke(MAIN, t, THREAD_CONFIGURE, SPACE, TABLE, page, <u32>va, fault), ERR_OK, 'configure');
  const c = changetype<Ctx>(stack);
  c.mp = va; c.thread = t; c.stack = stack;
  for (let n: u32 = 0; n < 12; n++) setWord(MAIN, 3 + n, 0);
  setWord(MAIN, 3, <u32>changetype<usize>(c)); // EAX: the first argument
  setWord(MAIN, 10, <u32>stack + 16384 - 16);
  setWord(MAIN, 11, <u32>entry);
  setWord(MAIN, 12, 0x202);
  eq(enter(MAIN, t, THREAD_SET_REGISTERS | op(CALL_INVOKE) | words(15), 0, 0, 0), ERR_OK, 'set_registers');
  eq(invoke(MAIN, t, THREAD_SET_SCHEDULE, prio, cpu, flags), ERR_OK, 'set_schedule');
  return c;
}
export function giveSched(c: Ctx): u32 {
  const s = make(OBJ_SCHED);
  eq(invoke(MAIN, s, SCHED_BIND, c.thread), ERR_OK, 'bind sched');
  return s;
}
export function resume(c: Ctx): void { eq(invoke(MAIN, c.thread, THREAD_RESUME), ERR_OK, 'resume'); }
