/**
 * What a CPU keeps for itself: the current Thread, its run queue, its timers, its descriptor tables.
 *
 * `Cpu` lies at a fixed offset of a 32 KiB aligned area that also holds the kernel stack, which grows down from it: `thisCpu()` is a mask of
 * the stack pointer, and SYSENTER_ESP is the address of the Cpu itself. (i386 has no SWAPGS, and programs own %gs.)
 * One kernel stack per CPU: the kernel is event-driven, a blocked Thread keeps nothing on it.
 *
 * Everything here belongs to its CPU and is changed under the IPC lock only, except `request` (atomic) and `cr3` (see core/shootdown.ts).
 */
import { stackPointer } from 'kintsugi/x86';
import { CPU_AREA, CPU_BLOCK, MAX_CPUS } from '../offsets';
import { Thread } from '../object/thread';
import { Timer } from '../core/timer';
import { KObject } from '../core/capability';

@unmanaged @final export class Cpu {
  current: Thread; // 0 when idle
  topReady: i32;
  cr3: u32;
  fpuLive: u32;
  esp0: usize;
  index: u32;
  lapicId: u32;
  online: u32;
  // requests from other CPUs: bits REQUEST_*
  request: u32;
  kicks: u32; // CPUs that are to get an IPI when this one leaves the kernel (core/shootdown.ts)
  icrHigh: u32; // what the LAPIC's ICR_HIGH holds
  // run queue: one bit per priority, first and last Thread of each
  readyLo: u32; readyHi: u32;
  resched: u32; // a Thread as important as the current one wants in
  yielding: u32; // the current Thread goes to the end of its queue
  // time
  chargedTo: u64; // ns up to which consumption has been accounted
  armed: u64; // ns at which the LAPIC timer fires, NEVER when it is off
  timers: Timer; // sorted by deadline
  fpuOwner: Thread; // whose state is in the FPU registers (also while TS is set)
  tlsOwner: Thread;
  portsOwner: KObject; // the Space whose I/O bitmap is in the TSS
  debugOwner: Thread;
  portRange0: u32; portRange1: u32; portRange2: u32; portRange3: u32; portRanges: u32; // what the I/O bitmap allows
  // the operation in progress: arguments and results of invoke
  w0: u32; w1: u32; w2: u32; w3: u32; w4: u32; w5: u32;
  r0: u32; r1: u32; r2: u32; r3: u32; r4: u32; r5: u32; r6: u32;
  results: u32; // how many of r0.. count
  argument: u32; // index of the guilty argument of a failed operation
  failure: u32; // status of a failed capability look-up
  area: usize;
  idle: u32;
  idleNs: u64;
}

export const REQUEST_FLUSH: u32 = 1;
export const REQUEST_RESCHED: u32 = 2;
export const REQUEST_STOP: u32 = 4; // a panic elsewhere

/** Offset of the queue heads in the Cpu page: 64 x {first, last}. */
const QUEUES: usize = 0x400;
/** GDT of this CPU, 16 descriptors. */
export const CPU_GDT: usize = 0x800;

const CPUS: usize = memory.data(4 * 16, 4); // Cpu of each index
export let cpuCount: u32 = 0;

@inline export function thisCpu(): Cpu { return changetype<Cpu>((stackPointer() & ~<usize>(CPU_AREA - 1)) + CPU_BLOCK); }
export function cpuAt(index: u32): Cpu { return changetype<Cpu>(load<usize>(CPUS + (<usize>index << 2))); }
@inline export function queueOf(c: Cpu, prio: u32): usize { return changetype<usize>(c) + QUEUES + (<usize>prio << 3); }

/** Makes the Cpu of a zeroed area. CPUs are numbered in the order of registration. */
export function registerCpu(area: usize, lapicId: u32): Cpu {
  const c = changetype<Cpu>(area + CPU_BLOCK);
  if (cpuCount >= <u32>MAX_CPUS) return c;
  c.area = area;
  c.index = cpuCount;
  c.lapicId = lapicId;
  c.topReady = -1;
  c.armed = u64.MAX_VALUE;
  store<usize>(CPUS + (<usize>cpuCount << 2), changetype<usize>(c));
  cpuCount++;
  return c;
}
