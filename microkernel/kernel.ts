/**
 * Kintsugi: a capability microkernel. Ring 0 holds address spaces, threads, IPC, capabilities, interrupts and scheduling, and nothing else.
 *
 *   abi/      the ABI as data: calls, objects, errors, layouts; everything else is generated from it or imports it
 *   stubs/    assembler: boot, entries and exits, the fast path, the trampoline of further CPUs
 *   arch/     the processor: tables, APICs, time, traps, console, panic
 *   core/     what all objects share: capabilities, locks, scheduling, messages, faults, destruction
 *   object/   one file per object type: layout, invariants, decode, commit
 *   boot/     from the boot loader to the first Thread
 *
 * This file is the way in: `kernelMain` on the boot CPU, with the boot stub's tables (identity and 0xC0000000, 512 MiB each).
 * No managed runtime: static memory and `@unmanaged` classes only.
 */
import { symbol, writeCr3 } from 'kintsugi/x86';
import { consoleInit, setSilent, log, logDec, logLine } from './arch/console';
import { readMultiboot, reserve, hasWord, rangeAt, rangeCount, ramEnd, moduleCount } from './boot/multiboot';
import { early, earlyPage } from './boot/early';
import { readAcpi, processorCount, processorId } from './boot/acpi';
import { startOthers } from './boot/smp';
import { startRoot } from './boot/root';
import { buildKernelDirectory, protectKernelPage, setPageInfo, kernelRoot, phys, P, W, DIRECT_BYTES, KERNEL_BASE } from './arch/paging';
import { registerCpu, thisCpu, cpuAt } from './arch/cpu';
import { lapicInit, lapicId, timerOn } from './arch/lapic';
import { picOff } from './arch/ioapic';
import { clockInit, now, tscKhz } from './arch/clock';
import { descriptorsInit, idtInit } from './arch/descriptors';
import { leave } from './core/schedule';
import { die } from './arch/panic';
import { stubOnStack, stubResume } from './arch/stubs';
import { CPU_AREA, CPU_BLOCK, CPU_GUARD, MAX_CPUS } from './offsets';

export { userTrap, kernelTrap } from './arch/trap';
export { syscallEntry } from './core/syscall';
export { apMain } from './boot/smp';
export { panicDouble } from './arch/panic';
import { agree } from './core/check';

let ramPages: u32 = 0;

/** From the boot stub: EAX = multiboot magic, EDX = physical address of the information. Interrupts are off and stay off until root runs. */
export function kernelMain(magic: u32, info: u32): void {
  agree();
  consoleInit();
  if (magic != 0x2badb002) { die('not started by a Multiboot 1 loader'); return; }
  if (!readMultiboot(info, <u32>DIRECT_BYTES)) { die('the boot loader gave no memory map'); return; }
  setSilent(hasWord('quiet'));
  let top: u32 = 0;
  for (let n: u32 = 0; n < rangeCount; n++) {
    if (rangeAt(n).end > top) top = rangeAt(n).end;
    ramPages += (rangeAt(n).end - rangeAt(n).start) >> 12;
  }
  log('kintsugi: ');
  logDec(ramPages >> 8);
  log(' MiB');
  reserve(phys(symbol('__text_start')), (phys(symbol('__image_end')) + 4095) & ~4095);

  // final page tables: text executable, read-only data read-only, the rest writable
  buildKernelDirectory(earlyPage(), earlyPage(), top < 0x1000000 ? 0x1000000 : (<usize>top + 0x1fffff) & ~<usize>0x1fffff);
  const textEnd = symbol('__text_end'), dataStart = symbol('__data_start');
  let spare = earlyPage();
  for (let va = symbol('__text_start') & ~<usize>4095; va < symbol('__image_end'); va += 4096) {
    if (protectKernelPage(va, va < dataStart ? P : P | W, va < textEnd, spare)) spare = earlyPage();
  }
  writeCr3(kernelRoot);
  setPageInfo(early(((top >> 10) + 4095) & ~4095, 4096));

  readAcpi(<u32>MAX_CPUS);
  picOff();
  lapicInit();
  clockInit();
  const self = lapicId();
  addCpu(self);
  for (let n: u32 = 0; n < processorCount; n++) if (processorId(n) != self) addCpu(processorId(n));
  const cpu = cpuAt(0);
  cpu.cr3 = kernelRoot;
  cpu.online = 1;
  idtInit();
  descriptorsInit(cpu);
  stubOnStack(changetype<usize>(cpu));
}
function addCpu(lapic: u32): void {
  const area = early(<u32>CPU_AREA, <u32>CPU_AREA);
  protectKernelPage(area + CPU_GUARD, 0, false, earlyPage());
  registerCpu(area, lapic);
}

/** The rest of the boot, on the boot CPU's own stack. */
export function kernelOnStack(): void {
  const cpu = thisCpu();
  const cpus = startOthers();
  log(', '); logDec(cpus); log(cpus == 1 ? ' CPU' : ' CPUs');
  log(', TSC '); logDec(tscKhz / 1000); log(' MHz, '); logDec(moduleCount); log(' modules');
  logLine();
  if (ramEnd > <u64>DIRECT_BYTES + 0x100000) { log('kintsugi: memory above 512 MiB is not used'); logLine(); }
  if (hasWord('faulttest')) store<u32>(symbol('__text_start'), 0); // writes to its own text: must end in a report
  if (hasWord('stacktest')) overflow(1); // runs into the guard page: a double fault, reported by its own task
  timerOn();
  startRoot(cpu, cpus, ramPages);
  cpu.chargedTo = now();
  leave(cpu);
  stubResume(changetype<usize>(cpu));
}
function overflow(n: u32): u32 { return n == 0 ? 0 : overflow(n + 1) * 3 + overflow(n + 2); }
