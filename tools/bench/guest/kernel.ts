/**
 * The kernel rows of the bench image: what an operating system asks of the CPU. Tables are made on the first use; then each row does a
 * fixed number of its operations (`operations` of tools/bench/programs.ts) and returns the same checksum on every machine.
 *
 * Memory of the rows (identity mapped up to 16 MiB): 6 to 10 MiB cold functions, 10 MiB page tables, 11 MiB the patched function,
 * 12 MiB the page private to each of two address spaces and its neighbours; 1 GiB onward 4,096 pages of their own.
 */
import { inb, invlpg, lgdt, lidt, ltr, outb, readCr3, symbol, wrmsr, writeCr3 } from 'kintsugi/x86';

// @ts-ignore: decorator
@external("stub", "enterUser")
declare function enterUser(entry: u32, count: u32): u32;
// @ts-ignore: decorator
@external("stub", "loadSegments")
declare function loadSegments(): void;
// @ts-ignore: decorator
@external("stub", "mapFaults")
declare function mapFaults(count: u32, pte: u32, page: u32): void;
// @ts-ignore: decorator
@external("stub", "spaces")
declare function spaces(count: u32, a: u32, b: u32): u32;
// @ts-ignore: decorator
@external("stub", "ports")
declare function ports(count: u32): void;
// @ts-ignore: decorator
@external("stub", "patches")
declare function patches(count: u32, code: u32): u32;
// @ts-ignore: decorator
@external("stub", "callAll")
declare function callAll(base: u32, count: u32): u32;
// @ts-ignore: decorator
@external("stub", "sweep")
declare function sweep(base: u32, pages: u32): u32;
// @ts-ignore: decorator
@external("stub", "ticks")
declare function ticks(count: u32): void;
// @ts-ignore: decorator
@external("stub", "selfInterrupts")
declare function selfInterrupts(count: u32): void;

const IDT = memory.data(2048, 16), POINTER = memory.data(16, 16);
const COLD: u32 = 0x600000, COLD_BYTES: u32 = 0x10000, COLD_REGIONS: u32 = 64, TABLES: u32 = 0xa00000, PATCHED: u32 = 0xb00000;
const PRIVATE: u32 = 0xc00000, MAPPED: u32 = 0xd00000, WINDOW: u32 = 0x40000000;
export const LAPIC: u32 = 0xfee00000;
let ready: bool = false, filled: bool = false, second: u32 = 0, region: u32 = 0, seed: u32 = 1;

function gate(vector: u32, handler: u32, dpl: u32): void {
  const at = IDT + (<usize>vector << 3);
  store<u32>(at, (handler & 0xffff) | 0x80000);
  store<u32>(at, (handler & 0xffff0000) | 0x8e00 | (dpl << 13), 4);
}

/** This CPU's GDT and IDT registers. */
export function loadTables(): void {
  store<u16>(POINTER, 0x2f); store<u32>(POINTER + 2, <u32>symbol('benchGdt'));
  lgdt(POINTER);
  loadSegments();
  store<u16>(POINTER, 2047); store<u32>(POINTER + 2, <u32>IDT);
  lidt(POINTER);
}

/** GDT, TSS, IDT, a second address space, the window, the interrupt controllers. */
export function prepare(): void {
  if (ready) return;
  ready = true;
  const gdt = <u32>symbol('benchGdt'), tss = <u32>symbol('benchTss');
  store<u32>(gdt + 0x28, 103 | (tss << 16));
  store<u32>(gdt + 0x2c, ((tss >> 16) & 255) | 0x8900 | (tss & 0xff000000));
  gate(14, <u32>symbol('benchSkip'), 0);
  gate(0x20, <u32>symbol('benchTick'), 0);
  gate(0x40, <u32>symbol('benchSelf'), 0);
  gate(0x41, <u32>symbol('benchAck'), 0);
  gate(0x42, <u32>symbol('benchWake'), 0);
  gate(0x4f, <u32>symbol('benchSpurious'), 0);
  gate(0x80, <u32>symbol('benchNothing'), 3);
  gate(0x81, <u32>symbol('benchLeave'), 3);
  gate(0x82, <u32>symbol('benchCall'), 3);
  gate(0x84, <u32>symbol('benchSwitch'), 3);
  loadTables();
  ltr(0x28);
  wrmsr(0x174, 8);
  wrmsr(0x175, <u64><u32>symbol('benchSysenterStack'));
  wrmsr(0x176, <u64><u32>symbol('benchSysenter'));

  const first = readCr3();
  let at = TABLES;
  for (let t: u32 = 0; t < 4; t++, at += 4096) { // the window, onto 32 to 48 MiB
    for (let i: u32 = 0; i < 1024; i++) store<u32>(at + (i << 2), (0x2000000 + (t << 22) + (i << 12)) | 7);
    store<u32>(first + (((WINDOW >> 22) + t) << 2), at | 7);
  }
  memory.fill(at, 0, 4096);
  store<u32>(at + (((LAPIC >> 12) & 1023) << 2), LAPIC | 0x13);
  store<u32>(first + ((LAPIC >> 22) << 2), at | 3);
  at += 4096;
  // The second space: the same but for the page at PRIVATE.
  second = at;
  memory.copy(second, first, 4096);
  const table = second + 4096, index = PRIVATE >> 22;
  memory.copy(table, load<u32>(first + (index << 2)) & 0xfffff000, 4096);
  store<u32>(table + (((PRIVATE >> 12) & 1023) << 2), (PRIVATE + 4096) | 7);
  store<u32>(second + (index << 2), table | 7);
  store<u32>(symbol('benchClient') + 8, first);
  store<u32>(symbol('benchServer') + 8, second);
  store<u32>(PATCHED, 0xc300b0); // MOV AL, 0; RET
  for (let p: u32 = 0; p < 8; p++) store<u32>(PRIVATE + 0x2000 + (p << 12), p + 1);
  writeCr3(first);

  // 8259: vectors 20h and 28h, everything masked. Local APIC on, its LINT0 still for the 8259.
  outb(0x20, 0x11); outb(0xa0, 0x11); outb(0x21, 0x20); outb(0xa1, 0x28); outb(0x21, 4); outb(0xa1, 2); outb(0x21, 1); outb(0xa1, 1);
  outb(0x21, 0xff); outb(0xa1, 0xff);
}
export function localApic(): void { store<u32>(LAPIC + 0xf0, 0x14f); store<u32>(LAPIC + 0x350, 0x700); }

/** What INT 82h reaches: a dispatch, as a system call has it. */
export function benchServe(number: u32, value: u32): u32 {
  switch (number) {
    case 0: return value + 1;
    case 1: return value ^ 0x55;
    case 2: return value >> 1;
    default: return value;
  }
}

/** A word in each page of the window: a loader or firmware may have left anything there. */
function fillWindow(): void {
  if (filled) return;
  filled = true;
  for (let i: u32 = 0; i < 4096; i++) store<u32>(WINDOW + (i << 12), i * 0x9e3779b1);
}

function pingPong(count: u32): u32 {
  store<u32>(PRIVATE, 0);
  store<u32>(PRIVATE + 4096, 0);
  enterUser(<u32>symbol('userPing'), count);
  return load<u32>(PRIVATE) << 16 | load<u32>(PRIVATE + 4096);
}

/** 4,096 functions never run before, each run three times. */
function cold(): u32 {
  const base = COLD + region * COLD_BYTES;
  region = (region + 1) % COLD_REGIONS;
  for (let f: u32 = 0; f < 4096; f++) { // MOV ECX, seed; ADD EDX, ECX; XOR ECX, EDX; INC EAX; RET
    const at = base + (f << 4);
    seed = seed * 0x19660d + 0x3c6ef35f;
    store<u8>(at, 0xb9); store<u32>(at + 1, seed); store<u32>(at + 5, 0xd131ca01); store<u16>(at + 9, 0xc340);
  }
  let sum: u32 = 0;
  for (let r = 0; r < 3; r++) sum += callAll(base, 4096);
  return sum;
}

function timer(count: u32): u32 {
  outb(0x43, 0x34); outb(0x40, 0xa9); outb(0x40, 4); // rate generator, 1 kHz
  outb(0x21, 0xfe);
  ticks(count);
  outb(0x21, 0xff);
  return count;
}

export function kernelRow(row: u32): u32 {
  prepare();
  switch (row) {
    case 0: return enterUser(<u32>symbol('userInterrupt'), 1000);
    case 1: return enterUser(<u32>symbol('userCall'), 1000);
    case 2: return enterUser(<u32>symbol('userSysenter'), 1000);
    case 3: gate(14, <u32>symbol('benchSkip'), 0); return enterUser(<u32>symbol('userFault'), 1000);
    case 4: {
      gate(14, <u32>symbol('benchMap'), 0);
      const pte = (load<u32>(readCr3() + ((MAPPED >> 22) << 2)) & 0xfffff000) + (((MAPPED >> 12) & 1023) << 2);
      mapFaults(1000, pte, MAPPED);
      return load<u32>(pte) & 0xfffff000;
    }
    case 5: return pingPong(1000);
    case 6: return spaces(500, readCr3(), second);
    case 7: ports(1000); return inb(0x21);
    case 8: return patches(255, PATCHED) & 0xffff;
    case 9: return cold();
    case 10: fillWindow(); return sweep(WINDOW, 4096);
    case 11: return timer(20);
    case 12: localApic(); selfInterrupts(1000); invlpg(PATCHED); return 1000;
    default: return 0;
  }
}
