/**
 * `kintsugi bench ipc`, the guest side: a root that measures round trips of `call` + `reply_recv` between itself and servers.
 *
 * A configuration = Space of the server (the caller's, or one of its own: two CR3 loads a round trip) x where it runs (`same` CPU · `follow`: at
 * home on another CPU, runs where it is called · `spinning`: on another CPU that is kept busy · `parked`: on another CPU that sleeps before each
 * call) x what is sent (0, 3, 8, 16 words, or a lease of 4 KiB that the server copies). Command line:
 *
 *   one exactly:  exact cpu=same|follow space=same|other words=N [lease]
 *   the matrix:   cpus=same,follow,spinning,parked (any of them) rotate=K (first configuration) batches=N (samples at most) limit=N (us for the
 *                 samples of one configuration) warm=N (round trips before the first sample)
 *
 * Output on COM1. `exact call=.. reply=.. trip=..`: instructions, from RDTSC on a machine whose TSC counts them (deterministic mode); for a lease
 * only `trip` is meant. Matrix: `overhead <ns>` per empty sample, then per configuration `config <cpu> <space> <words> <lease bytes>`, `cold <ns>` (the
 * first round trip of its kind) and `ns <total> <trips>` per sample, overheads not yet taken off. A port access before each reading of the time
 * stamp makes the parallel machine set it to host time.
 */
import {
  BOOTINFO_VA, BOOTINFO_FIELDS_CMDLINE, BOOTINFO_FIELDS_CPUS, BOOTINFO_FIELDS_TSC_KHZ, BOOTINFO_FIELDS_UNTYPED_FIRST, BOOTINFO_FIELDS_UNTYPED_COUNT, UNTYPED_INFO, OBJ_ENDPOINT, OBJ_REPLY, OBJ_SPACE, OBJ_FRAMES,
  SPACE_DONATE, SPACE_CLONE_RANGE, SPACE_MAP, THREAD_CONFIGURE, THREAD_SUSPEND, CALL_CALL, CALL_REPLY_RECV, ERR_OK, VM_TEXT, BOOTINFO_HANDLES_IO_PORTS, DEVICE_PORT_IN,
  TAG_LEASES_SHIFT, MP_LEASES, REPLY_COPY,
} from 'kintsugi/abi';
import { codeAddr, rdtsc, pause } from 'kintsugi/x86';
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
/** Host time, as well as the machine knows it. */
function stamp(c: Ctx): u64 { invoke(c, BOOTINFO_HANDLES_IO_PORTS, DEVICE_PORT_IN, 0x61, 1); return rdtsc(); }

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

let khz: u32 = 0;
function printNs(ticks: u64): void { printDec(<u32>(ticks * 1000000 / khz)); }

function configuration(c: Ctx, cpu: u32, other: bool, size: u32, endpoint: u32, memory: usize, batches: u32, us: u32, warm: u32): void {
  const tag = tagOf(c, size, memory);
  print('config '); print(cpu == SAME ? 'same ' : cpu == FOLLOW ? 'follow ' : cpu == SPINNING ? 'spinning ' : 'parked '); print(other ? 'other ' : 'same ');
  printDec(size == 0 ? 0 : size == 1 ? 3 : size == 2 ? 8 : size == 3 ? 16 : 0); print(size == 4 ? ' 4096\n' : ' 0\n');
  const trips: u32 = cpu <= FOLLOW ? 64 : cpu == SPINNING ? 8 : 1;
  if (cpu == PARKED) sleep(c, 300000);
  const begin = stamp(c);
  trip(c, endpoint, tag);
  const first = stamp(c);
  print('cold '); printNs(first - begin); print('\n');
  // Across CPUs a trip takes longer, and it is the device models that have to get warm.
  let limit = <u64>us * khz / 1000, rounds = warm, look: u32 = 255;
  if (cpu > FOLLOW) { limit *= 8; rounds = 1500; look = 15; }
  for (let k: u32 = 0; k < rounds; k++) {
    trip(c, endpoint, tag);
    if ((k & look) == look && stamp(c) - first > limit) break;
  }
  const start = stamp(c);
  for (let k: u32 = 0; k < batches; k++) {
    if (cpu == PARKED) sleep(c, 300000); // the other CPU has gone to sleep by then
    const a = stamp(c);
    for (let m: u32 = 0; m < trips; m++) trip(c, endpoint, tag);
    const b = stamp(c);
    print('ns '); printNs(b - a); print(' '); printDec(trips); print('\n');
    if (k >= 3 && b - start > limit) break;
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
  const batches = number('batches=', 20), us = number('limit=', 20000), warm = number('warm=', 20000), rotate = number('rotate=', 0);
  for (let k = 0; k < 64; k++) { const a = stamp(c), b = stamp(c); print('overhead '); printNs(b - a); print('\n'); }
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
  for (let n: u32 = 0; n < 4 * 2 * SIZES; n++) {
    const at = (n + rotate) % (4 * 2 * SIZES), cpu = at / (2 * SIZES), other = (at / SIZES & 1) != 0, size = at % SIZES;
    if (!(cpu == SAME ? local : cpu == FOLLOW ? following : cpu == SPINNING ? find('spinning') != 0 : find('parked') != 0)) continue;
    if ((cpu == SPINNING) != spins) {
      spins = cpu == SPINNING;
      if (spins) resume(spin); else if (remote) eq(invoke(c, spin.thread, THREAD_SUSPEND), ERR_OK, 'suspend the spinner');
      sleep(c, 1000000);
    }
    const where: u32 = cpu > FOLLOW ? 2 : cpu;
    configuration(c, cpu, other, size, load<u32>(endpoints + (<usize>((other ? 6 : 0) + where * 2 + (size == 4 ? 1 : 0)) << 2)), memory, batches, us, warm);
  }
  finish(failures == 0 ? 0 : 1);
}
