/**
 * `kintsugi bench ipc`, the guest side: a root that measures round trips of `call` + `reply_recv` between itself and servers.
 *
 * A configuration = Space of the server (the caller's, or one of its own: two CR3 loads a round trip) x where it runs (`same` CPU · `follow`: at
 * home on another CPU, runs where it is called · `spinning`: on another CPU that is kept busy · `parked`: on another CPU that sleeps before each
 * call) x what is sent (0, 3, 8, 16 words, or a lease of 4 KiB that the server copies). Command line:
 *
 *   one exactly:  exact cpu=same|follow space=same|other words=N [lease]
 *   the matrix:   cpus=same,follow,spinning,parked (any of them) rotate=K (first configuration) batches=N (samples of one configuration) warm=N,
 *                 warmfar=N (round trips before the first sample, on one CPU and across CPUs; eight times as many for the first configuration of its kind)
 *                 limit=N (us for the samples of one configuration)
 *
 * `exact call=.. reply=.. trip=..` on COM1: instructions, from RDTSC on a machine whose TSC counts them (deterministic mode); for a lease only `trip`
 * is meant. The matrix is told by trace marks (vm/trace.ts), each with the host's time and the vCPU's counters; MARK_* say which. The time stamp
 * counter would not do: in parallel mode it never runs back, so code that retires more than one instruction a nanosecond leaves the clock behind.
 */
import {
  BOOTINFO_VA, BOOTINFO_FIELDS_CMDLINE, BOOTINFO_FIELDS_CPUS, BOOTINFO_FIELDS_TSC_KHZ, BOOTINFO_FIELDS_UNTYPED_FIRST, BOOTINFO_FIELDS_UNTYPED_COUNT, UNTYPED_INFO, OBJ_ENDPOINT, OBJ_REPLY, OBJ_SPACE, OBJ_FRAMES,
  SPACE_DONATE, SPACE_CLONE_RANGE, SPACE_MAP, THREAD_CONFIGURE, THREAD_SUSPEND, CALL_CALL, CALL_REPLY_RECV, ERR_OK, VM_TEXT,
  TAG_LEASES_SHIFT, MP_LEASES, REPLY_COPY,
} from 'kintsugi/abi';
import { codeAddr, rdtsc, pause, mark } from 'kintsugi/x86';
import { Ctx, mainCtx, invoke, recv, op, words, make, thread, giveSched, resume, sleep, print, printDec, finish, useUntyped, eq, failures, memoryPages, SPACE, TABLE } from '../test/harness';
import { probeEnter } from '../test/enter';

/** RDTSC, MOV, MOV, MOV, SYSENTER before the kernel; MOV behind it: microkernel/test/probe.asm.ts. */
const OVERHEAD: u32 = 6;
const LEASE: u32 = 4096;
const SAME: u32 = 0, FOLLOW: u32 = 1, SPINNING: u32 = 2, PARKED: u32 = 3;
const SIZES: u32 = 5;
const FLAG_FOLLOW: u32 = 1; // of Thread.set_schedule

function server(c: Ctx): void {
  recv(c, c.a, c.b);
  while (true) { c.handle = c.a; c.tag = (c.tag & 0x1fffff) | op(CALL_REPLY_RECV); probeEnter(changetype<usize>(c)); }
}
/** Copies what the lease names into its own memory, then answers. */
function copyServer(c: Ctx): void {
  recv(c, c.a, c.b);
  while (true) {
    invoke(c, c.b, REPLY_COPY, c.c, 0, 0, LEASE, 0);
    c.handle = c.a; c.tag = op(CALL_REPLY_RECV);
    probeEnter(changetype<usize>(c));
  }
}
function spinner(c: Ctx): void { while (true) pause(); }

/** The first place at or behind `from` where `name` stands on the command line: what follows it; 0 when it is not there. */
function find(name: string, from: usize = BOOTINFO_VA + BOOTINFO_FIELDS_CMDLINE): usize {
  for (let at = from; load<u8>(at) != 0; at++) {
    let n: usize = 0;
    while (n < <usize>name.length && <u32>load<u8>(at + n) == <u32>load<u16>(changetype<usize>(name) + (n << 1))) n++;
    if (n == <usize>name.length) return at + n;
  }
  return 0;
}
function number(name: string, otherwise: u32): u32 {
  let p = find(name), v: u32 = 0;
  const start = BOOTINFO_VA + BOOTINFO_FIELDS_CMDLINE;
  // A word of its own: `cpus=` ends in `us=`.
  while (p != 0 && p - name.length != start && load<u8>(p - name.length - 1) != 32) p = find(name, p);
  if (p == 0) return otherwise;
  for (; load<u8>(p) >= 48 && load<u8>(p) <= 57; p++) v = v * 10 + load<u8>(p) - 48;
  return v;
}
function trip(c: Ctx, e: u32, tag: u32): void { c.handle = e; c.tag = tag; probeEnter(changetype<usize>(c)); }
let untyped: u32 = 0;
let otherSpace: u32 = 0;
/** A Space with root's text and data. */
function makeSpace(c: Ctx): void {
  otherSpace = make(OBJ_SPACE);
  eq(invoke(c, otherSpace, SPACE_DONATE, untyped, 32), ERR_OK, 'donate');
  for (let k: u32 = 0; k < 16; k++) {
    const va = VM_TEXT + k * 4096;
    if (invoke(c, SPACE, SPACE_CLONE_RANGE, otherSpace, va, 1, 5) != ERR_OK && invoke(c, SPACE, SPACE_CLONE_RANGE, otherSpace, va, 1, 3) != ERR_OK) invoke(c, SPACE, SPACE_CLONE_RANGE, otherSpace, va, 1, 1);
  }
  eq(invoke(c, SPACE, SPACE_CLONE_RANGE, otherSpace, 0x10000000, 64, 3), ERR_OK, 'data');
}
/** A running server; its Endpoint. */
function makeServer(c: Ctx, other: bool, where: u32, lease: bool, cpus: u32): u32 {
  const home = where == SAME ? 0 : cpus - 1;
  const e = make(OBJ_ENDPOINT), s = thread(lease ? codeAddr(copyServer.index) : codeAddr(server.index), 60, home, 0, where == FOLLOW ? FLAG_FOLLOW : 0);
  s.a = e; s.b = make(OBJ_REPLY);
  const buffer = lease ? memoryPages(12) : 0;
  s.c = <u32>buffer;
  if (other) {
    if (otherSpace == 0) makeSpace(c);
    eq(invoke(c, SPACE, SPACE_CLONE_RANGE, otherSpace, <u32>s.stack, 4, 3), ERR_OK, 'stack');
    if (lease) eq(invoke(c, SPACE, SPACE_CLONE_RANGE, otherSpace, <u32>buffer, 1, 3), ERR_OK, 'buffer');
    const message = make(OBJ_FRAMES, 12);
    eq(invoke(c, otherSpace, SPACE_MAP, message, <u32>s.mp, 0, 1, 3), ERR_OK, 'message page');
    eq(invoke(c, s.thread, THREAD_CONFIGURE, otherSpace, TABLE, message, <u32>s.mp), ERR_OK, 'configure');
  }
  giveSched(s);
  resume(s);
  serverCtx = s;
  return e;
}
let serverCtx: Ctx = changetype<Ctx>(0);

/** The tag of a call of size class `size`; prepares the lease. */
function tagOf(c: Ctx, size: u32, memory: usize): u32 {
  if (size < 4) return words(size == 0 ? 0 : size == 1 ? 3 : size == 2 ? 8 : 16) | op(CALL_CALL);
  const lease = c.mp + MP_LEASES;
  store<u32>(lease, 0); store<u32>(lease, <u32>memory, 4); store<u32>(lease, LEASE, 8); store<u32>(lease, 1, 12);
  return (1 << TAG_LEASES_SHIFT) | op(CALL_CALL);
}

function exact(c: Ctx, other: bool, where: u32, n: u32, lease: bool, memory: usize, cpus: u32): void {
  const e = makeServer(c, other, where, lease, cpus), s = serverCtx;
  sleep(c, 1000000);
  const tag = lease ? tagOf(c, 4, memory) : words(n) | op(CALL_CALL);
  for (let k = 0; k < 4; k++) trip(c, e, tag);
  // the server's stamps are one answer behind
  const back = load<u32>(changetype<usize>(c), 56), begun = load<u32>(changetype<usize>(c), 52);
  trip(c, e, tag);
  const answered = load<u32>(changetype<usize>(s), 52), arrived = load<u32>(changetype<usize>(s), 56), called = load<u32>(changetype<usize>(c), 52);
  print('exact call='); printDec(arrived - called - OVERHEAD); print(' reply='); printDec(back - answered - OVERHEAD); print(' trip='); printDec(back - begun); print('\n');
}

/** A configuration begins. a = cpu (SAME..PARKED) | other Space << 8 | size class << 16. */
const MARK_CONFIGURATION: u32 = 0x100;
/** Before and behind its first round trip. */
const MARK_COLD: u32 = 0x101, MARK_COLD_END: u32 = 0x102;
/** Around SHARE_TRIPS round trips after the warm-up that nobody times: their counters tell how much of them runs in regions. */
const MARK_SHARE: u32 = 0x103, MARK_SHARE_END: u32 = 0x104;
/** One sample: EMPTY, at once BEGIN, then `a` round trips, END. From EMPTY to BEGIN is what from BEGIN to END costs without them. */
const MARK_EMPTY: u32 = 0x105, MARK_BEGIN: u32 = 0x106, MARK_END: u32 = 0x107;
const SHARE_TRIPS: u32 = 64;
/** Before everything: the machine's own code that writes records gets warm. */
const MARK_WARM: u32 = 0x108, WARM_MARKS: u32 = 6000;
/** Kinds of configurations seen so far, a bit each. */
let warmed: u32 = 0;

let khz: u32 = 0;
function configuration(c: Ctx, cpu: u32, other: bool, size: u32, endpoint: u32, memory: usize, batches: u32, us: u32, warm: u32, far: u32): void {
  const tag = tagOf(c, size, memory);
  mark(MARK_CONFIGURATION, cpu | <u32>other << 8 | size << 16, 0, 0);
  if (cpu == PARKED) sleep(c, 300000);
  mark(MARK_COLD, 0, 0, 0);
  trip(c, endpoint, tag);
  mark(MARK_COLD_END, 0, 0, 0);
  // The first of its kind makes the kernel's code hot; the others have little of their own to add. A leased page is ten times the instructions.
  const kind: u32 = (cpu > FOLLOW ? 2 : 0) | (size == 4 ? 1 : 0);
  let rounds = (cpu > FOLLOW ? far : warm) >> (size == 4 ? 2 : 0);
  if ((warmed & 1 << kind) == 0) rounds <<= 3;
  warmed |= 1 << kind;
  for (; rounds > 0; rounds--) trip(c, endpoint, tag);
  mark(MARK_SHARE, SHARE_TRIPS, 0, 0);
  for (let k: u32 = 0; k < SHARE_TRIPS; k++) trip(c, endpoint, tag);
  mark(MARK_SHARE_END, 0, 0, 0);
  const count: u32 = cpu <= FOLLOW ? 64 : cpu == SPINNING ? 8 : 1;
  // Across CPUs a trip takes longer.
  const limit = <u64>us * khz / 1000 * (cpu > FOLLOW ? 8 : 1), start = rdtsc();
  for (let k: u32 = 0; k < batches; k++) {
    if (cpu == PARKED) sleep(c, 300000); // the other CPU has gone to sleep by then
    mark(MARK_EMPTY, 0, 0, 0);
    mark(MARK_BEGIN, count, 0, 0);
    for (let m: u32 = 0; m < count; m++) trip(c, endpoint, tag);
    mark(MARK_END, 0, 0, 0);
    if (k >= 3 && rdtsc() - start > limit) break;
  }
}

export function main(page: usize): void {
  const c = mainCtx();
  const first = load<u32>(BOOTINFO_VA, BOOTINFO_FIELDS_UNTYPED_FIRST), count = load<u32>(BOOTINFO_VA, BOOTINFO_FIELDS_UNTYPED_COUNT);
  let bytes: u32 = 0;
  for (let n: u32 = 0; n < count; n++) if (invoke(c, first + n, UNTYPED_INFO) == ERR_OK && c.w1 > bytes) { bytes = c.w1; untyped = first + n; }
  useUntyped(untyped);
  khz = load<u32>(BOOTINFO_VA, BOOTINFO_FIELDS_TSC_KHZ);
  const cpus = load<u32>(BOOTINFO_VA, BOOTINFO_FIELDS_CPUS);
  const memory = memoryPages(12);
  if (find('exact') != 0) {
    exact(c, find('space=other') != 0, find('cpu=follow') != 0 ? FOLLOW : SAME, number('words=', 0), find('lease') != 0, memory, cpus);
    finish(failures == 0 ? 0 : 1);
  }
  const batches = number('batches=', 20), us = number('limit=', 20000), warm = number('warm=', 20000), far = number('warmfar=', 2000), rotate = number('rotate=', 0);
  // endpoints: [same, other] x [same, follow, remote] x [words, lease]
  const endpoints = memory + 2048;
  const local = find('cpus=') != 0 && find('same') != 0, following = find('follow') != 0, remote = find('spinning') != 0 || find('parked') != 0;
  for (let n: u32 = 0; n < 12; n++) {
    const where = (n >> 1) % 3;
    if (where == 0 ? local : where == 1 ? following : remote) store<u32>(endpoints + (<usize>n << 2), makeServer(c, n >= 6, where == 2 ? SPINNING : where, (n & 1) != 0, cpus));
  }
  let spin = changetype<Ctx>(0);
  if (remote) { spin = thread(codeAddr(spinner.index), 5, cpus - 1, 0); giveSched(spin); }
  sleep(c, 1000000);
  let spins = false;
  for (let k: u32 = 0; k < WARM_MARKS; k++) mark(MARK_WARM, 0, 0, 0);
  for (let n: u32 = 0; n < 4 * 2 * SIZES; n++) {
    const at = (n + rotate) % (4 * 2 * SIZES), cpu = at / (2 * SIZES), other = (at / SIZES & 1) != 0, size = at % SIZES;
    if (!(cpu == SAME ? local : cpu == FOLLOW ? following : cpu == SPINNING ? find('spinning') != 0 : find('parked') != 0)) continue;
    if ((cpu == SPINNING) != spins) {
      spins = cpu == SPINNING;
      if (spins) resume(spin); else if (remote) eq(invoke(c, spin.thread, THREAD_SUSPEND), ERR_OK, 'suspend the spinner');
      sleep(c, 1000000);
    }
    const where: u32 = cpu > FOLLOW ? 2 : cpu;
    configuration(c, cpu, other, size, load<u32>(endpoints + (<usize>((other ? 6 : 0) + where * 2 + (size == 4 ? 1 : 0)) << 2)), memory, batches, us, warm, far);
  }
  finish(failures == 0 ? 0 : 1);
}
