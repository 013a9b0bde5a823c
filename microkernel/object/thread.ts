/**
 * Thread: registers, a pinned message page, what it waits for, what it runs on.
 *
 * Layout: 1 KiB. Object header, then the register frame at T_FRAME, which the CPU and PUSHAD fill from the top when the Thread enters the kernel
 * by interrupt or exception (TSS.esp0 points at its end); SYSENTER stores the same fields by hand. `iret` says whether all registers count.
 * The FXSAVE image fills the last 512 bytes.
 *
 * Invariants: running <=> it is `current` of its CPU; ready and queued as core/runqueue.ts says; calling <=> on the caller queue of `endpoint`;
 * owed <=> `owed` names a Reply whose caller it is; receiving <=> on the receiver queue of `endpoint` with an armed Reply, or without endpoint;
 * waiting <=> on the queue of a Notify, or asleep with a timer. Everything IPC changes is under the IPC lock; configuration under the structural one.
 */
import {
  ERR_OK, ERR_ARG, ERR_RANGE, ERR_RIGHTS, ERR_TYPE, ERR_BUSY, ERR_INTR, ERR_GONE,
  OBJ_SPACE, OBJ_TABLE, OBJ_FRAMES, OBJ_ENDPOINT, OBJ_NOTIFY, OBJ_REPLY, SPACE_RIGHTS_MAP, FRAMES_RIGHTS_READ, FRAMES_RIGHTS_WRITE, TABLE_RIGHTS_READ,
  ENDPOINT_RIGHTS_SEND, NOTIFY_RIGHTS_WAIT, REPLY_RIGHTS_ANSWER, THREAD_RIGHTS_CONTROL, THREAD_RIGHTS_QUERY,
  THREAD_CONFIGURE, THREAD_SET_SYSCALL_ENDPOINT, THREAD_SET_SCHEDULE, THREAD_BIND_NOTIFY, THREAD_BIND_REPLY, THREAD_RESUME, THREAD_SUSPEND,
  THREAD_GET_REGISTERS, THREAD_SET_REGISTERS, THREAD_CANCEL_IPC, THREAD_DEBUG, THREAD_SET_TLS, THREAD_QUERY,
  THREAD_STATE_INACTIVE, THREAD_STATE_READY, THREAD_STATE_RUNNING, THREAD_STATE_CALLING, THREAD_STATE_OWED, THREAD_STATE_FAULTED, THREAD_STATE_SUSPENDED,
  MP_WORDS, MP_RESULTS, SELECTOR_USER_CODE, SELECTOR_USER_DATA, VM_MESSAGE_PAGE,
} from 'kintsugi/abi';
import { KObject, Slot, findTyped } from '../core/capability';
import { Table } from './table';
import { Space, USER_END, recordOf } from './space';
import { Frames } from './frames';
import { Endpoint } from './endpoint';
import { Notify } from './notify';
import { Reply } from './reply';
import { Sched, schedForget } from './sched';
import { Timer, TIMER_THREAD, disarmTimer } from '../core/timer';
import { unqueue } from '../core/runqueue';
import { makeReady, chargeCurrent, follow, retire } from '../core/schedule';
import { cancel, finishBlocked } from '../core/ipc';
import { Cpu, cpuAt, cpuCount, REQUEST_RESCHED } from '../arch/cpu';
import { nil, none, same } from '../core/pointer';
import { lockIpc, unlockIpc } from '../core/lock';
import { answerRequests, requestCpu } from '../core/shootdown';
import { pause, mmioRead32 } from 'kintsugi/x86';
import { virt } from '../arch/paging';
import { forgetPorts } from '../arch/extras';
import { F_SUSPENDED, F_RESTART, F_DEBUG, F_TLS, F_NOTIFY, F_WINDOW, F_PORTS, F_FOLLOW, F_UNREADY, KIND_CALL, KIND_FAULT } from '../core/state';

@unmanaged @final export class Thread extends KObject {
  edi: u32; esi: u32; ebp: u32; kesp: u32; ebx: u32; edx: u32; ecx: u32; eax: u32;
  vector: u32; error: u32; eip: u32; cs: u32; eflags: u32; esp: u32; ss: u32;
  cpu: Cpu;
  flags: u32;
  state: u32;
  mp: usize;
  table: Table;
  cr3: u32;
  prio: u32;
  reply: Reply;
  sched: Sched;
  own: Sched;
  seq: u32;
  serial: u32;
  iret: u32;
  qnext: Thread;
  owed: Reply;
  deliveries: u32;
  kind: u32;
  endpoint: Endpoint;
  sendBadge: u32; // badge of the capability it called with
  delivered: u32; // when it was last delivered: redelivery keeps the order
  // ---- below: slow path only
  queued: u32;
  space: Space;
  notify: Notify; // bound
  waiting: Notify; // in whose queue
  waitMask: u32;
  home: Cpu;
  faultEndpoint: Endpoint; faultBadge: u32;
  syscallEndpoint: Endpoint; syscallBadge: u32;
  sendRights: u32;
  cr2: u32;
  progress: u32; progress2: u32; // of a range operation that was preempted
  batchIndex: u32;
  reserve: Sched;
  gsBase: u32; fsBase: u32;
  dr0: u32; dr1: u32; dr2: u32; dr3: u32; dr7: u32; step: u32;
  fpuUsed: u32;
  ipcs: u32;
  messageFrames: Frames;
  timer: Timer; // set to the embedded one below
  runNs: u64;
  nextThread: Thread; prevThread: Thread;
  moving: u32; // changes to its home CPU when it leaves the kernel
  faultStopped: u32; // a fault reply said: stay stopped
  // the embedded Timer: 32 bytes
  timerSpace0: u64; timerSpace1: u64; timerSpace2: u64; timerSpace3: u64;
}
export const THREAD_BYTES: u32 = 1024;
export const T_FPU: usize = 512;

let threads: Thread = changetype<Thread>(0);
const DUMMY_PAGE: usize = memory.data(8192, 16);
/** What a Thread without a message page "has": its contents mean nothing. */
export function dummyPage(): usize { return (DUMMY_PAGE + 4095) & ~4095; }
let serials: u32 = 1;

export function threadInit(t: Thread): void {
  t.flags = F_UNREADY;
  t.mp = dummyPage();
  t.serial = serials++;
  t.cs = SELECTOR_USER_CODE;
  t.ss = SELECTOR_USER_DATA;
  t.eflags = 0x202;
  t.iret = 1;
  t.cpu = cpuAt(0);
  t.home = t.cpu;
  t.timer = changetype<Timer>(changetype<usize>(t) + offsetof<Thread>('timerSpace0'));
  t.timer.kind = TIMER_THREAD;
  t.nextThread = threads;
  if (!nil(threads)) threads.prevThread = t;
  threads = t;
}
export function timerOwner(timer: Timer): Thread { return changetype<Thread>(changetype<usize>(timer) - offsetof<Thread>('timerSpace0')); }
export function firstThread(): Thread { return threads; }

export function checkThread(t: Thread): bool {
  if (t.state == THREAD_STATE_RUNNING && !same(t.cpu.current, t)) return false;
  if (t.queued != 0 && (t.state != THREAD_STATE_READY || (t.flags & F_SUSPENDED) != 0)) return false;
  if (t.state == THREAD_STATE_OWED && (nil(t.owed) || !same(t.owed.caller, t))) return false;
  if (t.state == THREAD_STATE_CALLING && nil(t.endpoint)) return false;
  return true;
}

// ---- stopping --------------------------------------------------------------------------------------------------------------------------

/**
 * Returns when `t` runs on no CPU. IPC lock not held, structural lock held. The CPU that runs it may be waiting for the structural lock: it sees
 * the flag and gives up.
 */
function stop(cpu: Cpu, t: Thread): void {
  lockIpc();
  t.flags |= F_SUSPENDED;
  unqueue(t);
  if (!same(t.cpu, cpu) && same(t.cpu.current, t)) {
    const other = t.cpu;
    requestCpu(cpu, other, REQUEST_RESCHED);
    while (same(other.current, t)) {
      unlockIpc();
      while (mmioRead32(changetype<usize>(other)) == <u32>changetype<usize>(t)) { answerRequests(cpu); pause(); } // Cpu.current
      lockIpc();
    }
  }
  unlockIpc();
}
/** Its registers are in the frame and stay there: it is not running, or it is the caller itself. */
function settled(cpu: Cpu, t: Thread): bool { return t.state != THREAD_STATE_RUNNING || same(cpu.current, t); }

export function threadDestroy(cpu: Cpu, t: Thread): bool {
  stop(cpu, t);
  lockIpc();
  cancel(t);
  t.state = THREAD_STATE_INACTIVE;
  if (same(cpu.current, t)) { chargeCurrent(cpu); retire(cpu, t); }
  schedForget(t);
  if (!nil(t.notify)) { t.notify.bound = none<Thread>(); t.notify = none<Notify>(); }
  if (!nil(t.reply)) { t.reply.holder = none<Thread>(); if (t.reply.state == 1) t.reply.state = 0; t.reply = none<Reply>(); }
  disarmTimer(t.timer);
  for (let n: u32 = 0; n < cpuCount; n++) {
    const c = cpuAt(n);
    if (same(c.fpuOwner, t)) c.fpuOwner = none<Thread>();
    if (same(c.tlsOwner, t)) c.tlsOwner = none<Thread>();
    if (same(c.debugOwner, t)) c.debugOwner = none<Thread>();
  }
  unlockIpc();
  if (!nil(t.space)) t.space.threads--;
  if (!nil(t.messageFrames)) t.messageFrames.messagePages--;
  if (!nil(t.nextThread)) t.nextThread.prevThread = t.prevThread;
  if (!nil(t.prevThread)) t.prevThread.nextThread = t.nextThread; else threads = t.nextThread;
  return true;
}

// ---- what Threads refer to goes away ---------------------------------------------------------------------------------------------------

function unready(cpu: Cpu, t: Thread): void {
  stop(cpu, t);
  lockIpc();
  t.flags |= F_UNREADY;
  if (same(cpu.current, t)) { chargeCurrent(cpu); retire(cpu, t); t.state = THREAD_STATE_READY; }
  unlockIpc();
}
export function threadsLoseSpace(cpu: Cpu, s: Space): void {
  let t = threads;
  while (!nil(t)) {
    if (same(t.space, s)) { unready(cpu, t); t.space = none<Space>(); s.threads--; t.mp = dummyPage(); }
    t = t.nextThread;
  }
}
export function threadsLoseTable(cpu: Cpu, table: Table): void {
  let t = threads;
  while (!nil(t)) {
    if (same(t.table, table)) { unready(cpu, t); t.table = none<Table>(); }
    t = t.nextThread;
  }
}
export function threadsLosePages(cpu: Cpu, f: Frames): void {
  let t = threads;
  while (!nil(t)) {
    if (same(t.messageFrames, f)) { unready(cpu, t); t.mp = dummyPage(); t.messageFrames = none<Frames>(); f.messagePages--; }
    t = t.nextThread;
  }
}
/** IPC lock held: an Endpoint is destroyed. */
export function threadsLoseEndpoint(e: Endpoint): void {
  let t = threads;
  while (!nil(t)) {
    if (same(t.faultEndpoint, e)) t.faultEndpoint = none<Endpoint>();
    if (same(t.syscallEndpoint, e)) t.syscallEndpoint = none<Endpoint>();
    t = t.nextThread;
  }
}

// ---- decode and commit -----------------------------------------------------------------------------------------------------------------

export function threadInvoke(cpu: Cpu, caller: Thread, cap: Slot, op: u32): u32 {
  const t = changetype<Thread>(cap.object);
  if (op == THREAD_QUERY) {
    if ((cap.rights & <u8>THREAD_RIGHTS_QUERY) == 0) { cpu.argument = 0; return ERR_RIGHTS; }
    return query(cpu, t);
  }
  if (op == 0 || op > THREAD_QUERY) { cpu.argument = 1; return ERR_TYPE; }
  if ((cap.rights & <u8>THREAD_RIGHTS_CONTROL) == 0) { cpu.argument = 0; return ERR_RIGHTS; }
  if (op == THREAD_CONFIGURE) return configure(cpu, caller, t);
  if (op == THREAD_SET_SYSCALL_ENDPOINT) return setSyscallEndpoint(cpu, caller, t);
  if (op == THREAD_SET_SCHEDULE) return setSchedule(cpu, t);
  if (op == THREAD_BIND_NOTIFY) return bindNotify(cpu, caller, t);
  if (op == THREAD_BIND_REPLY) return bindReply(cpu, caller, t);
  if (op == THREAD_RESUME) return resume(cpu, t);
  if (op == THREAD_SUSPEND) {
    // ---- commit ----
    stop(cpu, t);
    return ERR_OK;
  }
  if (op == THREAD_GET_REGISTERS) return getRegisters(cpu, caller, t);
  if (op == THREAD_SET_REGISTERS) return setRegisters(cpu, caller, t);
  if (op == THREAD_CANCEL_IPC) {
    // ---- commit ----
    lockIpc();
    if (t.state != THREAD_STATE_RUNNING && t.state != THREAD_STATE_READY && t.state != THREAD_STATE_INACTIVE) {
      cancel(t);
      finishBlocked(t, ERR_INTR);
    }
    unlockIpc();
    return ERR_OK;
  }
  if (op == THREAD_DEBUG) return debug(cpu, t);
  return setTls(cpu, t);
}

function configure(cpu: Cpu, caller: Thread, t: Thread): u32 {
  if (t.state != THREAD_STATE_INACTIVE && (t.flags & F_SUSPENDED) == 0) { cpu.argument = 0; return ERR_BUSY; }
  const space = findTyped(cpu, caller.table, cpu.w0, OBJ_SPACE, SPACE_RIGHTS_MAP);
  if (nil(space)) { cpu.argument = 2; return cpu.failure; }
  const table = findTyped(cpu, caller.table, cpu.w1, OBJ_TABLE, TABLE_RIGHTS_READ);
  if (nil(table)) { cpu.argument = 3; return cpu.failure; }
  const frames = findTyped(cpu, caller.table, cpu.w2, OBJ_FRAMES, FRAMES_RIGHTS_READ | FRAMES_RIGHTS_WRITE);
  if (nil(frames)) { cpu.argument = 4; return cpu.failure; }
  const s = changetype<Space>(space.object), f = changetype<Frames>(frames.object);
  const va = <usize>cpu.w3;
  if (va >= USER_END || (va & 4095) != 0) { cpu.argument = 5; return ERR_RANGE; }
  const m = recordOf(s, va);
  if (nil(m) || !same(m.frames, f) || f.device != 0) { cpu.argument = 5; return ERR_RANGE; }
  let endpoint = none<Slot>();
  if (cpu.w4 != 0) {
    endpoint = findTyped(cpu, caller.table, cpu.w4, OBJ_ENDPOINT, ENDPOINT_RIGHTS_SEND);
    if (nil(endpoint)) { cpu.argument = 6; return cpu.failure; }
  }
  const pa = f.paddr + ((m.first + <u32>((va - m.va) >> 12)) << 12);
  // ---- commit ----
  lockIpc();
  if (!nil(t.space)) t.space.threads--;
  if (!nil(t.messageFrames)) t.messageFrames.messagePages--;
  t.space = s; s.threads++;
  t.cr3 = s.root;
  t.table = changetype<Table>(table.object);
  t.mp = virt(pa);
  t.messageFrames = f; f.messagePages++;
  t.flags &= ~(F_UNREADY | F_WINDOW);
  if (s.portCount != 0) t.flags |= F_PORTS; else t.flags &= ~F_PORTS;
  if (nil(endpoint)) t.faultEndpoint = none<Endpoint>();
  else { t.faultEndpoint = changetype<Endpoint>(endpoint.object); t.faultBadge = endpoint.badge; }
  unlockIpc();
  return ERR_OK;
}

function setSyscallEndpoint(cpu: Cpu, caller: Thread, t: Thread): u32 {
  let s = none<Slot>();
  if (cpu.w0 != 0) {
    s = findTyped(cpu, caller.table, cpu.w0, OBJ_ENDPOINT, ENDPOINT_RIGHTS_SEND);
    if (nil(s)) { cpu.argument = 2; return cpu.failure; }
  }
  // ---- commit ----
  lockIpc();
  if (nil(s)) t.syscallEndpoint = none<Endpoint>();
  else { t.syscallEndpoint = changetype<Endpoint>(s.object); t.syscallBadge = s.badge; }
  unlockIpc();
  return ERR_OK;
}

function setSchedule(cpu: Cpu, t: Thread): u32 {
  if (cpu.w0 > 63) { cpu.argument = 2; return ERR_RANGE; }
  if (cpu.w2 > 1) { cpu.argument = 4; return ERR_ARG; }
  const target = cpuAt(cpu.w1 % cpuCount);
  if (cpu.w1 >= <u32>256) { cpu.argument = 3; return ERR_RANGE; }
  // ---- commit ----
  const moves = !same(t.cpu, target);
  const self = same(cpu.current, t);
  const wasSuspended = (t.flags & F_SUSPENDED) != 0;
  if (moves && !self) stop(cpu, t);
  lockIpc();
  unqueue(t);
  t.prio = cpu.w0;
  t.home = target;
  if ((cpu.w2 & 1) != 0) t.flags |= F_FOLLOW; else t.flags &= ~F_FOLLOW;
  if (moves && self) { t.moving = 1; cpu.resched = 1; } // takes effect when it leaves the kernel
  else t.cpu = target;
  if (!wasSuspended && !self) {
    t.flags &= ~F_SUSPENDED;
    if (t.state == THREAD_STATE_READY) makeReady(cpu, t, false);
  }
  unlockIpc();
  return ERR_OK;
}

function bindNotify(cpu: Cpu, caller: Thread, t: Thread): u32 {
  let s = none<Slot>();
  if (cpu.w0 != 0) {
    s = findTyped(cpu, caller.table, cpu.w0, OBJ_NOTIFY, NOTIFY_RIGHTS_WAIT);
    if (nil(s)) { cpu.argument = 2; return cpu.failure; }
    const n = changetype<Notify>(s.object);
    if (!nil(n.bound) && !same(n.bound, t)) { cpu.argument = 2; return ERR_BUSY; }
  }
  // ---- commit ----
  lockIpc();
  if (!nil(t.notify)) t.notify.bound = none<Thread>();
  t.notify = none<Notify>();
  t.flags &= ~F_NOTIFY;
  if (!nil(s)) {
    const n = changetype<Notify>(s.object);
    t.notify = n;
    n.bound = t;
    if (n.bits != 0) t.flags |= F_NOTIFY;
  }
  unlockIpc();
  return ERR_OK;
}

function bindReply(cpu: Cpu, caller: Thread, t: Thread): u32 {
  const s = findTyped(cpu, caller.table, cpu.w0, OBJ_REPLY, REPLY_RIGHTS_ANSWER);
  if (nil(s)) { cpu.argument = 2; return cpu.failure; }
  const r = changetype<Reply>(s.object);
  if (!nil(r.holder) && !same(r.holder, t)) { cpu.argument = 2; return ERR_BUSY; }
  if (!nil(t.reply) && t.reply.state == 1 && !same(t.reply, r)) { cpu.argument = 0; return ERR_BUSY; }
  // ---- commit ----
  lockIpc();
  if (!nil(t.reply)) t.reply.holder = none<Thread>();
  t.reply = r;
  r.holder = t;
  unlockIpc();
  return ERR_OK;
}

function resume(cpu: Cpu, t: Thread): u32 {
  if ((t.flags & F_UNREADY) != 0) { cpu.argument = 0; return ERR_BUSY; }
  // ---- commit ----
  lockIpc();
  t.flags &= ~F_SUSPENDED;
  if (t.state == THREAD_STATE_INACTIVE) { t.state = THREAD_STATE_READY; follow(t, cpu); } // who starts it need not wake its home
  if (t.state == THREAD_STATE_READY && t.queued == 0) makeReady(cpu, t, false);
  unlockIpc();
  return ERR_OK;
}

function getRegisters(cpu: Cpu, caller: Thread, t: Thread): u32 {
  if (!settled(cpu, t)) { cpu.argument = 0; return ERR_BUSY; }
  // ---- commit ----
  const at = caller.mp + MP_RESULTS;
  store<u32>(at, t.eax); store<u32>(at, t.ebx, 4); store<u32>(at, t.ecx, 8); store<u32>(at, t.edx, 12);
  store<u32>(at, t.esi, 16); store<u32>(at, t.edi, 20); store<u32>(at, t.ebp, 24); store<u32>(at, t.esp, 28);
  store<u32>(at, t.eip, 32); store<u32>(at, t.eflags, 36); store<u32>(at, t.gsBase, 40); store<u32>(at, t.fsBase, 44);
  return ERR_OK;
}
/** EFLAGS bits that ring 3 may have: CF PF AF ZF SF TF DF OF NT-free; IF is always set. */
export function userFlags(flags: u32): u32 { return (flags & 0x0dd5) | 0x202; }
function setRegisters(cpu: Cpu, caller: Thread, t: Thread): u32 {
  if (t.state != THREAD_STATE_INACTIVE && ((t.flags & F_SUSPENDED) == 0 || same(cpu.current, t))) { cpu.argument = 0; return ERR_BUSY; }
  const at = caller.mp + MP_WORDS + 12;
  // ---- commit: what it was blocked in is over ----
  lockIpc();
  cancel(t);
  t.kind = KIND_CALL;
  loadRegisters(t, at);
  unlockIpc();
  return ERR_OK;
}
/** Registers in the order of REGISTERS from kernel address `at`. */
export function loadRegisters(t: Thread, at: usize): void {
  t.eax = load<u32>(at); t.ebx = load<u32>(at, 4); t.ecx = load<u32>(at, 8); t.edx = load<u32>(at, 12);
  t.esi = load<u32>(at, 16); t.edi = load<u32>(at, 20); t.ebp = load<u32>(at, 24); t.esp = load<u32>(at, 28);
  t.eip = load<u32>(at, 32); t.eflags = userFlags(load<u32>(at, 36));
  t.iret = 1;
  t.flags &= ~F_RESTART;
  t.progress = 0; t.progress2 = 0; t.batchIndex = 0;
  setBases(t, load<u32>(at, 40), load<u32>(at, 44));
}
function setBases(t: Thread, gs: u32, fs: u32): void {
  t.gsBase = gs; t.fsBase = fs;
  if ((gs | fs) != 0) t.flags |= F_TLS; else t.flags &= ~F_TLS;
  for (let n: u32 = 0; n < cpuCount; n++) if (same(cpuAt(n).tlsOwner, t)) cpuAt(n).tlsOwner = none<Thread>();
}
function setTls(cpu: Cpu, t: Thread): u32 {
  // ---- commit ----
  lockIpc();
  setBases(t, cpu.w0, cpu.w1);
  cpu.resched = 1; // loads them if it is the caller
  unlockIpc();
  return ERR_OK;
}
function debug(cpu: Cpu, t: Thread): u32 {
  if ((cpu.w0 & 0xffffdc00) != 0) { cpu.argument = 2; return ERR_ARG; }
  if (cpu.w1 >= <u32>USER_END || cpu.w2 >= <u32>USER_END || cpu.w3 >= <u32>USER_END || cpu.w4 >= <u32>USER_END) { cpu.argument = 3; return ERR_RANGE; }
  // ---- commit ----
  lockIpc();
  t.dr7 = cpu.w0; t.dr0 = cpu.w1; t.dr1 = cpu.w2; t.dr2 = cpu.w3; t.dr3 = cpu.w4; t.step = cpu.w5;
  if (t.step != 0) t.eflags |= 0x100; else t.eflags &= ~0x100;
  if (t.dr7 != 0 || t.step != 0) t.flags |= F_DEBUG; else t.flags &= ~F_DEBUG;
  for (let n: u32 = 0; n < cpuCount; n++) if (same(cpuAt(n).debugOwner, t)) cpuAt(n).debugOwner = none<Thread>();
  unlockIpc();
  return ERR_OK;
}
function query(cpu: Cpu, t: Thread): u32 {
  let state = t.state;
  if ((t.flags & F_SUSPENDED) != 0 && (state == THREAD_STATE_READY || state == THREAD_STATE_RUNNING)) state = THREAD_STATE_SUSPENDED;
  if (t.kind == KIND_FAULT && (state == THREAD_STATE_CALLING || state == THREAD_STATE_OWED)) state = THREAD_STATE_FAULTED;
  cpu.r0 = state;
  cpu.r1 = t.cpu.index;
  cpu.r2 = t.prio;
  cpu.r3 = t.serial;
  cpu.r4 = <u32>t.runNs;
  cpu.r5 = <u32>(t.runNs >> 32);
  cpu.r6 = t.seq + t.ipcs; // calls made, and requests received by the slow path
  cpu.results = 7;
  return ERR_OK;
}
/** The Space got I/O ports: its Threads are switched with their bitmap from now on. */
export function threadsGainPorts(cpu: Cpu, s: Space): void {
  lockIpc();
  let t = threads;
  while (!nil(t)) {
    if (same(t.space, s)) t.flags |= F_PORTS;
    t = t.nextThread;
  }
  forgetPorts(s);
  cpu.resched = 1;
  unlockIpc();
}
