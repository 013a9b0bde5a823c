/**
 * Descriptor tables of a CPU: GDT (flat segments, two TLS slots, TSS, double-fault TSS), TSS with the I/O bitmap, and the IDT all CPUs share.
 *
 * Selectors are the ABI's (microkernel/abi/layout.ts). Vector 8 goes through a task gate, so that even a broken stack pointer ends in a report and not
 * in a triple fault. Vector 0x80 may be raised from ring 3, and 3 and 4 (INT3, INTO); all gates are interrupt gates.
 */
import { lgdt, lidt, ltr, wrmsr, readCr0, writeCr0, readCr4, writeCr4, symbol } from 'kintsugi/x86';
import { SELECTOR_KERNEL_CODE, SELECTOR_KERNEL_DATA, SELECTOR_TSS, SELECTOR_DOUBLE_FAULT_TSS } from 'kintsugi/abi';
import { Cpu, CPU_GDT } from './cpu';
import { kernelRoot } from './paging';
import { stubLoadKernelSegments, stubSetTs } from './stubs';
import { CPU_TSS, CPU_DF_TSS, CPU_DF_STACK_TOP, CPU_BLOCK } from '../offsets';

const IDT: usize = memory.data(2048, 16);
const POINTER: usize = memory.data(16 * 16, 16); // limit and base, one per CPU
const FLAT_LIMIT: u32 = 0x00cf0000;

function descriptor(gdt: usize, selector: u32, low: u32, high: u32): void { store<u32>(gdt + (selector & ~7), low); store<u32>(gdt + (selector & ~7), high, 4); }
function tssDescriptor(gdt: usize, selector: u32, base: usize, limit: u32): void {
  const b = <u32>base;
  descriptor(gdt, selector, (limit & 0xffff) | (b << 16), ((b >> 16) & 255) | 0x8900 | (limit & 0xf0000) | (b & 0xff000000));
}
function gate(vector: u32, handler: u32, dpl: u32): void {
  const at = IDT + (<usize>vector << 3);
  store<u32>(at, (handler & 0xffff) | (SELECTOR_KERNEL_CODE << 16));
  store<u32>(at, (handler & 0xffff0000) | 0x8e00 | (dpl << 13), 4);
}
/** Once: every vector has a stub; the table of their addresses is `vectorTable` in the stubs. */
export function idtInit(): void {
  const table = symbol('vectorTable');
  for (let v: u32 = 0; v < 256; v++) gate(v, load<u32>(table + (<usize>v << 2)), v == 0x80 || v == 3 || v == 4 ? 3 : 0);
  const at = IDT + 8 * 8;
  store<u32>(at, SELECTOR_DOUBLE_FAULT_TSS << 16);
  store<u32>(at, 0x8500, 4); // task gate
}

export function descriptorsInit(cpu: Cpu): void {
  const gdt = changetype<usize>(cpu) + CPU_GDT;
  descriptor(gdt, SELECTOR_KERNEL_CODE, 0xffff, FLAT_LIMIT | 0x9a00);
  descriptor(gdt, SELECTOR_KERNEL_DATA, 0xffff, FLAT_LIMIT | 0x9200);
  descriptor(gdt, 0x18, 0xffff, FLAT_LIMIT | 0xfa00); // user code = SYSENTER_CS + 16
  descriptor(gdt, 0x20, 0xffff, FLAT_LIMIT | 0xf200); // user data = SYSENTER_CS + 24
  descriptor(gdt, 0x30, 0xffff, FLAT_LIMIT | 0xf200);
  descriptor(gdt, 0x38, 0xffff, FLAT_LIMIT | 0xf200);
  const tss = cpu.area + CPU_TSS;
  tssDescriptor(gdt, SELECTOR_TSS, tss, 104 + 8192);
  store<u32>(tss, <u32>changetype<usize>(cpu), 4); // esp0
  store<u32>(tss, SELECTOR_KERNEL_DATA, 8);
  store<u16>(tss, 0xffff, 102);
  cpu.esp0 = tss + 4;
  const df = cpu.area + CPU_DF_TSS;
  tssDescriptor(gdt, SELECTOR_DOUBLE_FAULT_TSS, df, 103);
  store<u32>(df, kernelRoot, 0x1c);
  store<u32>(df, <u32>symbol('doubleFaultEntry'), 0x20);
  store<u32>(df, 2, 0x24);
  store<u32>(df, <u32>(cpu.area + CPU_DF_STACK_TOP), 0x38);
  store<u32>(df, SELECTOR_KERNEL_DATA, 0x48); store<u32>(df, SELECTOR_KERNEL_CODE, 0x4c); store<u32>(df, SELECTOR_KERNEL_DATA, 0x50);
  store<u32>(df, SELECTOR_KERNEL_DATA, 0x54); store<u16>(df, 0xffff, 102);

  const p = POINTER + (<usize>cpu.index << 4);
  store<u16>(p, 127); store<u32>(p + 2, <u32>gdt);
  lgdt(p);
  stubLoadKernelSegments();
  ltr(SELECTOR_TSS);
  store<u16>(p, 2047); store<u32>(p + 2, <u32>IDT);
  lidt(p);
  wrmsr(0x174, SELECTOR_KERNEL_CODE);
  wrmsr(0x175, <u64><u32>changetype<usize>(cpu));
  wrmsr(0x176, <u64><u32>symbol('sysenterEntry'));
  writeCr4(readCr4() | 0x680); // PGE, OSFXSR, OSXMMEXCPT
  writeCr0((readCr0() & ~0x4) | 0x10022); // EM off; WP, NE, MP on
  stubSetTs();
}
