/**
 * Local APIC (Intel SDM 3A ch. 11): end of interrupt, inter-processor interrupts, the one-shot timer.
 * Registers are memory-mapped at 0xFEE00000, mapped uncached at the same virtual address.
 */
import { mmioRead32, mmioWrite32, rdmsr, wrmsr, pause } from 'kintsugi/x86';
import { now, timerTicks } from './clock';
import { Cpu } from './cpu';
import { NEVER } from '../core/state';

const BASE: usize = 0xfee00000;
const ID: usize = 0x20, TPR: usize = 0x80, EOI: usize = 0xb0, SPURIOUS: usize = 0xf0, ESR: usize = 0x280, ICR_LOW: usize = 0x300, ICR_HIGH: usize = 0x310;
const LVT_TIMER: usize = 0x320, LVT_LINT0: usize = 0x350, LVT_LINT1: usize = 0x360, LVT_ERROR: usize = 0x370, INITIAL: usize = 0x380, CURRENT: usize = 0x390, DIVIDE: usize = 0x3e0;
const MASKED: u32 = 0x10000;

export const VECTOR_LINE0: u32 = 0x30; // GSI n arrives at 0x30 + n
export const VECTOR_TIMER: u32 = 0xef;
export const VECTOR_IPI: u32 = 0xf0;
export const VECTOR_SPURIOUS: u32 = 0xff;

export function lapicInit(): void {
  const base = rdmsr(0x1b);
  if ((<u32>base & 0x800) == 0) wrmsr(0x1b, base | 0x800);
  mmioWrite32(BASE + LVT_TIMER, MASKED | VECTOR_TIMER);
  mmioWrite32(BASE + LVT_LINT0, MASKED);
  mmioWrite32(BASE + LVT_LINT1, MASKED);
  mmioWrite32(BASE + LVT_ERROR, MASKED);
  mmioWrite32(BASE + TPR, 0);
  mmioWrite32(BASE + SPURIOUS, 0x100 | VECTOR_SPURIOUS);
  mmioWrite32(BASE + DIVIDE, 11); // by 1
  mmioWrite32(BASE + EOI, 0);
}
export function timerOn(): void { mmioWrite32(BASE + LVT_TIMER, VECTOR_TIMER); }
export function lapicId(): u32 { return mmioRead32(BASE + ID) >> 24; }
export function endOfInterrupt(): void { mmioWrite32(BASE + EOI, 0); }
export function startCounting(): void { mmioWrite32(BASE + INITIAL, 0xffffffff); }
export function currentCount(): u32 { return mmioRead32(BASE + CURRENT); }

/** The timer interrupts at `deadline` (ns) or soon after; NEVER turns it off. */
export function setOneShot(deadline: u64): void {
  if (deadline == NEVER) { mmioWrite32(BASE + INITIAL, 0); return; }
  const time = now();
  mmioWrite32(BASE + INITIAL, timerTicks(deadline > time ? deadline - time : 1));
}

function waitSent(): void { while ((mmioRead32(BASE + ICR_LOW) & 0x1000) != 0) pause(); }
function command(cpu: Cpu, id: u32, low: u32): void {
  waitSent();
  if (cpu.icrHigh != id << 24) { cpu.icrHigh = id << 24; mmioWrite32(BASE + ICR_HIGH, id << 24); }
  mmioWrite32(BASE + ICR_LOW, low);
}
export function sendIpi(cpu: Cpu, id: u32): void { command(cpu, id, 0x4000 | VECTOR_IPI); }
export function sendInit(cpu: Cpu, id: u32): void { command(cpu, id, 0xc500); waitSent(); command(cpu, id, 0x8500); }
export function sendStartup(cpu: Cpu, id: u32, page: u32): void { command(cpu, id, 0x4600 | page); waitSent(); }
