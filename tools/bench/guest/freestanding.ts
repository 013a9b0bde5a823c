/**
 * The bench image as a multiboot kernel: ring 0, paging on with 4 KiB pages (identity, 16 MiB), SSE on, interrupts off; the plan is the
 * command line, lines go to COM1, the end is the debug-exit port (with "hold" in the plan: HLT for ever).
 */
import { inb, outb, outl, readCr0, readCr4, writeCr0, writeCr3, writeCr4 } from 'kintsugi/x86';
import { kernelRow } from './kernel';
import { iterate } from './programs';
import { runPlan } from './protocol';
import { smpRow } from './smp';

export { benchServe } from './kernel';
export { otherMain, otherWork } from './smp';

const directory = memory.data(8192, 16), tables = memory.data(20480, 16);
const empty = memory.data<u8>([0]);

function emit(at: usize, n: u32): void {
  for (let i: u32 = 0; i < n; i++) {
    while ((inb(0x3fd) & 0x20) == 0) {}
    outb(0x3f8, load<u8>(at + i));
  }
}
function stamp(): void {}
/** Numbers from 64 on are kernel rows, from 96 on SMP rows. */
function row(program: u32): u32 { return program < 64 ? iterate(program) : program < 96 ? kernelRow(program - 64) : smpRow(program - 96); }

function page(at: usize): u32 { return <u32>((at + 4095) & ~4095); }

/** Is the word "hold" in the plan? */
function holds(plan: usize): bool {
  for (let p = plan; load<u8>(p); p++) if (load<u32>(p) == 0x646c6f68) return true;
  return false;
}

export function main(info: usize): void {
  const dir = page(directory), tab = page(tables);
  for (let i: u32 = 0; i < 4096; i++) store<u32>(tab + (i << 2), (i << 12) | 7);
  for (let i: u32 = 0; i < 4; i++) store<u32>(dir + (i << 2), (tab + (i << 12)) | 7);
  const plan = load<u32>(info) & 4 ? load<u32>(info + 16) : <u32>empty;
  writeCr3(dir);
  writeCr4(readCr4() | 0x600);
  writeCr0((readCr0() & ~4) | 0x80000002);
  const bad = runPlan(plan, row, emit, stamp);
  if (!holds(plan)) outl(0xf4, bad ? 0x11 : 0x10);
}
