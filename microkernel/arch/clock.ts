/**
 * Time: ns since boot from the TSC, by a 40.24 fixed-point factor (no division, exact when the TSC counts nanoseconds).
 *
 * The TSC rate comes from CPUID leaf 0x40000010 (EAX = kHz, EBX = APIC bus kHz) when a hypervisor offers it, else from the PIT: channel 2 counts
 * down 10 ms through the speaker gate (8254 data sheet, mode 0).
 */
import { atomicCas64, rdtsc, rdpmc, cpuid, inb, outb } from 'kintsugi/x86';
import { cpuCount } from './cpu';
import { currentCount, startCounting } from './lapic';

let base: u64 = 0;
let factor: u64 = 1 << 24; // ns per tick << 24
let timerFactor: u64 = 1 << 24; // LAPIC ticks per ns << 24
export let tscKhz: u32 = 0;
const OUT: usize = memory.data(16, 4);

/** ns since boot, monotonic on one CPU. */
export function now(): u64 {
  const t = rdtsc() - base;
  const low = t & 0xffffffff, high = t >> 32;
  return ((high * factor) << 8) + ((low * factor) >> 24);
}
const LATEST: usize = memory.data(8, 8);
/**
 * ns since boot, monotonic over all CPUs: what `clock` answers. Time stamp counters of virtual CPUs are milliseconds apart when one of them has lost its
 * processor; whoever moves between CPUs would see time run backwards.
 */
export function latest(): u64 {
  const time = now();
  if (cpuCount == 1) return time;
  let seen = load<u64>(LATEST); // two loads: the exchange proves it
  while (true) {
    const answer = seen < time ? time : seen, was = atomicCas64(LATEST, seen, answer);
    if (was == seen) return answer;
    seen = was;
  }
}
/** LAPIC ticks for `ns`, at least 1, saturated. */
export function timerTicks(ns: u64): u32 {
  if (ns > 0x3fffffff) ns = 0x3fffffff; // a second: then it looks again
  const t = (ns * timerFactor) >> 24;
  return t == 0 ? 1 : t > 0xffffffff ? 0xffffffff : <u32>t;
}

let counts: bool = false; // this CPU has fixed performance counter 0
/** Instructions this CPU has retired, 48 bits; 0 when it cannot count them. For `trace`. */
export function retired(): u64 { return counts ? rdpmc(0x40000000) : 0; }
function findCounter(): void { // CPUID leaf 0AH: version >= 2, EDX bits 0-4 = number of fixed counters
  cpuid(0, 0, OUT);
  if (load<u32>(OUT) < 10) return;
  cpuid(10, 0, OUT);
  if (load<u8>(OUT) < 2 || (load<u32>(OUT, 12) & 31) == 0) return;
  cpuid(0x40000000, 0, OUT); // elsewhere somebody must have switched it on: only our own VM counts from the start ("Kintsugi")
  counts = load<u32>(OUT, 4) == 0x746e694b && load<u32>(OUT, 8) == 0x69677573;
}

function fromHypervisor(): bool {
  cpuid(1, 0, OUT);
  if ((load<u32>(OUT, 8) & 0x80000000) == 0) return false;
  cpuid(0x40000000, 0, OUT);
  if (load<u32>(OUT) < 0x40000010 || load<u32>(OUT) > 0x400000ff) return false;
  cpuid(0x40000010, 0, OUT);
  const khz = load<u32>(OUT), bus = load<u32>(OUT, 4);
  if (khz == 0 || bus == 0) return false;
  set(khz, bus);
  return true;
}
function set(khz: u32, timerKhz: u32): void {
  tscKhz = khz;
  factor = (<u64>1000000 << 24) / <u64>khz;
  timerFactor = (<u64>timerKhz << 24) / 1000000;
}
let bestTsc: u64 = u64.MAX_VALUE;
let bestTicks: u32 = 0;
/** Waits until PIT channel 2 has counted 11932 ticks = 10 ms. */
function measure(): void {
  const gate = inb(0x61) & 0xfc;
  outb(0x61, gate); // gate off, speaker off
  outb(0x43, 0xb0); // channel 2, low/high byte, mode 0
  outb(0x42, 11932 & 255);
  outb(0x42, 11932 >> 8);
  startCounting();
  outb(0x61, gate | 1);
  const start = rdtsc();
  const first = currentCount();
  while ((inb(0x61) & 0x20) == 0) {}
  const tsc = rdtsc() - start;
  const ticks = first - currentCount();
  if (tsc < bestTsc) { bestTsc = tsc; bestTicks = ticks; }
}
/** The shortest of three: a virtual CPU may lose its processor in between. */
function fromPit(): void {
  measure(); measure(); measure();
  set(<u32>(bestTsc / 10), bestTicks / 10);
}

/** On the boot CPU, with the LAPIC enabled. */
export function clockInit(): void {
  if (!fromHypervisor()) fromPit();
  base = rdtsc();
  findCounter();
}
