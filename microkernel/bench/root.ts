/**
 * `kintsugi bench ipc`, the guest side: a root that measures `call` + `reply_recv` round trips of one kind, given on the command line:
 *
 *   space=same|other   the server shares the caller's Space, or has its own (two CR3 loads a round trip)
 *   cpu=same|spinning|parked   the server runs on the caller's CPU; on another one that is kept busy; on another one that sleeps before each call
 *   words=N            message words, 0..16
 *   batches=N          samples
 *
 * Output on COM1: `exact call=.. reply=.. trip=..`: instructions, from RDTSC on a machine whose TSC counts them (deterministic mode); then N lines
 * `ns <total> <trips>`: time of one batch by RDTSC scaled to ns, less the overhead of an empty batch. A port access before each reading makes the
 * parallel machine set the TSC to host time.
 */
import {
  BOOTINFO_VA, BOOTINFO_FIELDS_CMDLINE, BOOTINFO_FIELDS_CPUS, BOOTINFO_FIELDS_TSC_KHZ, BOOTINFO_FIELDS_UNTYPED_FIRST, BOOTINFO_FIELDS_UNTYPED_COUNT, UNTYPED_INFO, OBJ_ENDPOINT, OBJ_REPLY, OBJ_SPACE, OBJ_FRAMES,
  SPACE_DONATE, SPACE_CLONE_RANGE, SPACE_MAP, THREAD_CONFIGURE, CALL_CALL, CALL_REPLY_RECV, ERR_OK, VM_TEXT, BOOTINFO_HANDLES_IO_PORTS, DEVICE_PORT_IN,
} from 'kintsugi/abi';
import { codeAddr, rdtsc, pause } from 'kintsugi/x86';
import { Ctx, mainCtx, invoke, call, recv, op, words, make, thread, giveSched, resume, sleep, print, printDec, finish, useUntyped, eq, failures, SPACE, TABLE } from '../test/harness';
import { probeEnter } from '../test/enter';

/** RDTSC, MOV, MOV, MOV, SYSENTER before the kernel; MOV behind it: microkernel/test/probe.asm.ts. */
const OVERHEAD: u32 = 6;

function server(c: Ctx): void {
  recv(c, c.a, c.b);
  while (true) { c.handle = c.a; c.tag = (c.tag & 0x1fffff) | op(CALL_REPLY_RECV); probeEnter(changetype<usize>(c)); }
}
function spinner(c: Ctx): void { while (true) pause(); }

/** Value of `name=` on the command line: the first character, or the number. */
function option(name: string, number: bool): u32 {
  for (let at: usize = BOOTINFO_VA + BOOTINFO_FIELDS_CMDLINE; load<u8>(at) != 0; at++) {
    let n: usize = 0;
    while (n < <usize>name.length && <u32>load<u8>(at + n) == <u32>load<u16>(changetype<usize>(name) + (n << 1))) n++;
    if (n != <usize>name.length) continue;
    if (!number) return load<u8>(at + n + 2); // the third letter tells them apart: saMe, spInning, paRked, otHer
    let v: u32 = 0;
    for (let p = at + n; load<u8>(p) >= 48 && load<u8>(p) <= 57; p++) v = v * 10 + load<u8>(p) - 48;
    return v;
  }
  return 0;
}
function trip(c: Ctx, e: u32, tag: u32): void { c.handle = e; c.tag = tag; probeEnter(changetype<usize>(c)); }
/** Host time, as well as the machine knows it. */
function stamp(c: Ctx): u64 { invoke(c, BOOTINFO_HANDLES_IO_PORTS, DEVICE_PORT_IN, 0x61, 1); return rdtsc(); }

export function main(page: usize): void {
  const c = mainCtx();
  const first = load<u32>(BOOTINFO_VA, BOOTINFO_FIELDS_UNTYPED_FIRST), count = load<u32>(BOOTINFO_VA, BOOTINFO_FIELDS_UNTYPED_COUNT);
  let untyped: u32 = 0, bytes: u32 = 0;
  for (let n: u32 = 0; n < count; n++) if (invoke(c, first + n, UNTYPED_INFO) == ERR_OK && c.w1 > bytes) { bytes = c.w1; untyped = first + n; }
  useUntyped(untyped);
  const other = option('space=', false) == 104, where = option('cpu=', false), n = option('words=', true), batches = option('batches=', true);
  const remote = where != 109;
  const spinning = where == 105, khz = load<u32>(BOOTINFO_VA, BOOTINFO_FIELDS_TSC_KHZ);
  const cpus = load<u32>(BOOTINFO_VA, BOOTINFO_FIELDS_CPUS);
  const e = make(OBJ_ENDPOINT), r = make(OBJ_REPLY), s = thread(codeAddr(server.index), 60, remote ? cpus - 1 : 0, 0);
  s.a = e; s.b = r;
  if (other) {
    const space = make(OBJ_SPACE);
    eq(invoke(c, space, SPACE_DONATE, untyped, 32), ERR_OK, 'donate');
    for (let k: u32 = 0; k < 16; k++) {
      const va = VM_TEXT + k * 4096;
      if (invoke(c, SPACE, SPACE_CLONE_RANGE, space, va, 1, 5) != ERR_OK && invoke(c, SPACE, SPACE_CLONE_RANGE, space, va, 1, 3) != ERR_OK) invoke(c, SPACE, SPACE_CLONE_RANGE, space, va, 1, 1);
    }
    eq(invoke(c, SPACE, SPACE_CLONE_RANGE, space, 0x10000000, 64, 3), ERR_OK, 'data');
    eq(invoke(c, SPACE, SPACE_CLONE_RANGE, space, <u32>s.stack, 4, 3), ERR_OK, 'stack');
    const message = make(OBJ_FRAMES, 12);
    eq(invoke(c, space, SPACE_MAP, message, <u32>s.mp, 0, 1, 3), ERR_OK, 'message page');
    eq(invoke(c, s.thread, THREAD_CONFIGURE, space, TABLE, message, <u32>s.mp), ERR_OK, 'configure');
  }
  giveSched(s); resume(s);
  if (spinning) { const p = thread(codeAddr(spinner.index), 5, cpus - 1, 0); giveSched(p); resume(p); }
  sleep(c, 1000000);
  const tag = words(n) | op(CALL_CALL);
  for (let k = 0; k < 4; k++) trip(c, e, tag);
  // exact instructions: the server's stamps are one answer behind
  const back = load<u32>(changetype<usize>(c), 56), begun = load<u32>(changetype<usize>(c), 52);
  trip(c, e, tag);
  const answered = load<u32>(changetype<usize>(s), 52), arrived = load<u32>(changetype<usize>(s), 56), called = load<u32>(changetype<usize>(c), 52);
  print('exact call='); printDec(arrived - called - OVERHEAD); print(' reply='); printDec(back - answered - OVERHEAD); print(' trip='); printDec(back - begun); print('\n');

  const trips: u32 = !remote ? 64 : spinning ? 16 : 1;
  if (!remote && batches != 0) for (let k: u32 = 0; k < 100000; k++) trip(c, e, tag); // until the translator has done what it will
  let overhead: u64 = u64.MAX_VALUE;
  for (let k = 0; k < 16 && batches != 0; k++) { const a = stamp(c), b = stamp(c); if (b - a < overhead) overhead = b - a; }
  for (let k: u32 = 0; k < batches; k++) {
    if (remote && !spinning) sleep(c, 300000); // the other CPU has gone to sleep by then
    const a = stamp(c);
    for (let m: u32 = 0; m < trips; m++) trip(c, e, tag);
    const b = stamp(c);
    const ticks = b - a > overhead ? b - a - overhead : 0;
    print('ns '); printDec(<u32>(ticks * 1000000 / khz)); print(' '); printDec(trips); print('\n');
  }
  finish(failures == 0 ? 0 : 1);
}
