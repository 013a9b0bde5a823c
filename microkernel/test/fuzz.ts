/**
 * Hostile ring 3: Threads that make random calls with random arguments on capabilities of their own incarnation, on as many CPUs as there are. They may
 * do to themselves what they like; the kernel must neither fault nor lose memory. Root sets them going again when they block, and when nothing moves any
 * more, or after a while, revokes the incarnation, checks that all its memory is back, and builds the next. `fuzz=<seed>` on the command line.
 */
import {
  ERR_OK, OBJ_UNTYPED, OBJ_TABLE, OBJ_SPACE, OBJ_FRAMES, OBJ_THREAD, OBJ_SCHED, OBJ_ENDPOINT, OBJ_REPLY, OBJ_NOTIFY, UNTYPED_RETYPE, UNTYPED_REVOKE, UNTYPED_INFO, TABLE_COPY, TABLE_MINT, TABLE_DELETE, SPACE_DONATE,
  SPACE_CLONE_RANGE, SPACE_MAP, THREAD_CONFIGURE, THREAD_SET_REGISTERS, THREAD_SET_SCHEDULE, THREAD_RESUME, THREAD_CANCEL_IPC, SCHED_BIND, CALL_INVOKE, BOOTINFO_VA, BOOTINFO_FIELDS_CMDLINE, BOOTINFO_FIELDS_IRQ_FIRST,
  VM_TEXT, TAG_OP_SHIFT, MP_DEADLINE_LO, MP_DEADLINE_HI, MP_BATCH, MP_RECV_SLOT, MP_SEND_CAPS, MP_LEASES, CALL_CALL, CALL_RECV, CALL_REPLY_RECV, CALL_WAIT,
} from 'kintsugi/abi';
import { codeAddr, mmioRead32 } from 'kintsugi/x86';
import { Ctx, invoke, eq, ok, make, SPACE, TABLE, enter, op, words, setWord, sleep, freshVa, print, printDec, clock, check } from './harness';

export function fuzzSeed(): u32 {
  for (let at: usize = BOOTINFO_VA + BOOTINFO_FIELDS_CMDLINE; load<u8>(at) != 0; at++) {
    if (load<u32>(at) != 0x7a7a7566 || load<u8>(at, 4) != 61) continue; // "fuzz="
    let v: u32 = 0;
    for (at += 5; load<u8>(at) >= 48 && load<u8>(at) <= 57; at++) v = v * 10 + load<u8>(at) - 48;
    return v;
  }
  return 0;
}

// ---- in the incarnation: c.a = random state, c.d = calls made --------------------------------------------------------------------------

function next(c: Ctx): u32 {
  let x = c.a;
  x ^= x << 13; x ^= x >> 17; x ^= x << 5;
  c.a = x;
  return x;
}
/** An argument: a handle, a small number, a size, an address, a bit mask, or anything. */
function argument(c: Ctx): u32 {
  const r = next(c), k = r & 7, v = r >> 8;
  if (k < 3) return v % 48;
  if (k == 3) return (v % 24) + 1;
  if (k == 4) return 0x40000000 + ((v % 64) << 12);
  if (k == 5) return 0x20000000 + ((v % 2048) << 12);
  if (k == 6) return (v % 48) | ((v >> 8 & 1) << 20);
  return next(c);
}
function attacker(c: Ctx): void {
  while (true) {
    const r = next(c);
    let call: u32 = (r & 15) < 11 ? CALL_INVOKE : (r >> 4) & 15;
    let tag = (call << TAG_OP_SHIFT) | ((r >> 8 & 15) < 13 ? 5 << 16 : next(c) & 0x07ff0000);
    if (call == CALL_INVOKE) tag |= (r >> 16) % 15; else tag |= next(c) & 0x7ff;
    if (call == CALL_RECV || call == CALL_REPLY_RECV || call == CALL_WAIT) { // do not sleep for ever
      tag |= 1 << 27;
      const now = clock(c) + (next(c) & 0xffff);
      store<u32>(c.mp, <u32>now, MP_DEADLINE_LO); store<u32>(c.mp, <u32>(now >> 32), MP_DEADLINE_HI);
    } else if (call == CALL_CALL && (r >> 20 & 7) != 0) continue;
    setWord(c, 3, argument(c)); setWord(c, 4, argument(c)); setWord(c, 5, argument(c));
    store<u32>(c.mp, argument(c), MP_RECV_SLOT); store<u32>(c.mp, argument(c), MP_SEND_CAPS);
    const slot = c.mp + ((next(c) % 128) << 2) + (next(c) & 1) * MP_BATCH;
    if (slot < c.mp + 0x090 || slot > c.mp + 0x094) store<u32>(slot, argument(c));
    enter(c, argument(c), tag, argument(c), argument(c), argument(c));
    c.d++;
  }
}

// ---- root ------------------------------------------------------------------------------------------------------------------------------

const THREADS: u32 = 3;
const HELD: usize = memory.data(12, 4); // their handles
/** Untyped, Untyped, Frames x 3, Endpoint x 2, Reply x 3, Notify x 2, Space, Thread, Table, Sched. */
const TYPES: usize = memory.data<u32>([1, 1, 4, 4, 4, 7, 7, 8, 8, 8, 9, 9, 3, 5, 2, 6]);
export function fuzz(c: Ctx, untyped: u32, cpus: u32): void {
  const u = make(OBJ_UNTYPED, 22);
  const irq = load<u32>(BOOTINFO_VA, BOOTINFO_FIELDS_IRQ_FIRST) + 5;
  eq(invoke(c, u, UNTYPED_INFO), ERR_OK, 'info');
  const whole = c.w1;
  const shared = make(OBJ_FRAMES, 16); // their stacks, seen by root too
  const stacks = <u32>freshVa(16);
  eq(invoke(c, SPACE, SPACE_MAP, shared, stacks, 0, 16, 3), ERR_OK, 'map');
  let seed = fuzzSeed(), calls: u32 = 0;
  const rounds: u32 = 24;
  for (let round: u32 = 0; round < rounds; round++) {
    const from = u;
    invoke(c, from, UNTYPED_RETYPE, OBJ_TABLE, 7, 1); const t = c.w0;
    invoke(c, from, UNTYPED_RETYPE, OBJ_SPACE, 0, 1); const s = c.w0;
    eq(invoke(c, s, SPACE_DONATE, u, 24), ERR_OK, 'donate');
    for (let n: u32 = 0; n < 16; n++) {
      const va = VM_TEXT + n * 4096;
      if (invoke(c, SPACE, SPACE_CLONE_RANGE, s, va, 1, 5) != ERR_OK && invoke(c, SPACE, SPACE_CLONE_RANGE, s, va, 1, 3) != ERR_OK) invoke(c, SPACE, SPACE_CLONE_RANGE, s, va, 1, 1);
    }
    eq(invoke(c, SPACE, SPACE_CLONE_RANGE, s, 0x10000000, 16, 3), ERR_OK, 'data');
    eq(invoke(c, s, SPACE_MAP, shared, stacks, 0, 16, 3), ERR_OK, 'stacks');
    let slot: u32 = 1;
    invoke(c, TABLE, TABLE_COPY, t, 3, t, slot++);
    invoke(c, TABLE, TABLE_COPY, s, 3, t, slot++);
for (let n = 0; n < 16; n++) {
      const type = load<u32>(TYPES + (<usize>n << 2));
      eq(invoke(c, from, UNTYPED_RETYPE, type, type == OBJ_UNTYPED ? 17 : type == OBJ_FRAMES ? 13 : type == OBJ_TABLE ? 5 : 0, 1, t, slot++), ERR_OK, 'object');
    }
    invoke(c, TABLE, TABLE_COPY, irq, 3, t, slot++);
    for (let n: u32 = 0; n < THREADS; n++) {
      invoke(c, from, UNTYPED_RETYPE, OBJ_FRAMES, 12, 1); const page = c.w0;
      const va = 0xbf100000 + (n << 12);
      eq(invoke(c, s, SPACE_MAP, page, va, 0, 1, 3), ERR_OK, 'message page');
      invoke(c, from, UNTYPED_RETYPE, OBJ_THREAD, 0, 1); const th = c.w0;
      invoke(c, from, UNTYPED_RETYPE, OBJ_ENDPOINT, 0, 1); const fault = c.w0;
      eq(invoke(c, th, THREAD_CONFIGURE, s, t, page, va, fault), ERR_OK, 'configure');
      const x = changetype<Ctx>(<usize>stacks + (n << 14));
      x.mp = va; x.a = (seed = seed * 1664525 + 1013904223) | 1; x.d = 0;
      for (let k: u32 = 0; k < 12; k++) setWord(c, 3 + k, 0);
      setWord(c, 3, <u32>changetype<usize>(x)); setWord(c, 10, <u32>changetype<usize>(x) + 16384 - 16); setWord(c, 11, <u32>codeAddr(attacker.index)); setWord(c, 12, 0x202);
      eq(enter(c, th, THREAD_SET_REGISTERS | op(CALL_INVOKE) | words(15), 0, 0, 0), ERR_OK, 'set_registers');
      eq(invoke(c, th, THREAD_SET_SCHEDULE, 20 + n, n, n & 1), ERR_OK, 'set_schedule');
      invoke(c, from, UNTYPED_RETYPE, OBJ_SCHED, 0, 1);
      eq(invoke(c, c.w0, SCHED_BIND, th), ERR_OK, 'bind');
      if (n == 0) invoke(c, TABLE, TABLE_COPY, th, 3, t, slot++);
      store<u32>(HELD + (<usize>n << 2), th);
      eq(invoke(c, th, THREAD_RESUME), ERR_OK, 'resume');
    }
    let last: u32 = 0xffffffff, still: u32 = 0;
    for (let n = 0; n < 16 && still < 2; n++) {
      sleep(c, 300000);
      let sum: u32 = 0;
      for (let k: u32 = 0; k < THREADS; k++) {
        sum += mmioRead32(<usize>stacks + (k << 14) + offsetof<Ctx>('d'));
        invoke(c, load<u32>(HELD + (<usize>k << 2)), THREAD_CANCEL_IPC); // on with it
        invoke(c, load<u32>(HELD + (<usize>k << 2)), THREAD_RESUME);
      }
      still = sum == last ? still + 1 : 0; // nobody moves: dead for good
      last = sum;
      check();
    }
    calls += last;
    eq(invoke(c, u, UNTYPED_REVOKE), ERR_OK, 'revoke');
    eq(invoke(c, u, UNTYPED_INFO), ERR_OK, 'info'); eq(c.w1, whole, 'memory is back'); 
    invoke(c, irq, 4);
  }
  print('# fuzz rounds='); printDec(rounds); print(' calls='); printDec(calls); print('\n');
  eq(calls > 100 ? 1 : 0, 1, 'calls were made');
  ok('random calls with random arguments');
}
