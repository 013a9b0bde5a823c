/**
 * The kernel's last words: registers, cause, and the call chain as TypeScript lines; then the machine stops.
 *
 * Never a triple fault, never silence: printing polls the port, takes no lock, and a fault inside it stops at once.
 */
import { cli, hlt, readCr2, readCr3, outb } from 'kintsugi/x86';
import { Cpu, thisCpu, cpuAt, cpuCount, REQUEST_STOP } from './cpu';
import { requestCpu } from '../core/shootdown';
import { print, printDec, printHex, newline } from './console';
import { nil, same } from '../core/pointer';
import { backtrace } from './backtrace';

let dying: u32 = 0;

function stopOthers(): void {
  const cpu = thisCpu();
  for (let n: u32 = 0; n < cpuCount; n++) {
    const c = cpuAt(n);
    if (c.online != 0 && !same(c, cpu)) requestCpu(cpu, c, REQUEST_STOP);
  }
}
function halt(): void {
  stopOthers();
  outb(0xf4, 0x7f); // debug-exit, where there is one
  while (true) { cli(); hlt(); }
}
function line(name: string, v: u32): void { print(' '); print(name); print(' '); printHex(v); }

/** A ring 0 exception; `f` as in kernelTrap. */
export function panicFrame(f: usize): void {
  if (dying != 0) { while (true) { cli(); hlt(); } }
  dying = 1;
  newline();
  print('KERNEL FAULT: vector '); printDec(load<u32>(f, 32));
  line('error', load<u32>(f, 36)); line('cr2', readCr2()); line('cr3', readCr3());
  print(' cpu '); printDec(thisCpu().index);
  newline();
  line('eax', load<u32>(f, 28)); line('ebx', load<u32>(f, 16)); line('ecx', load<u32>(f, 24)); line('edx', load<u32>(f, 20));
  newline();
  line('esi', load<u32>(f, 4)); line('edi', load<u32>(f)); line('ebp', load<u32>(f, 8)); line('esp', <u32>f + 52);
  newline();
  line('eip', load<u32>(f, 40)); line('cs', load<u32>(f, 44)); line('eflags', load<u32>(f, 48));
  const t = thisCpu().current;
  if (!nil(t)) { print(' thread '); printDec(t.serial); }
  newline();
  backtrace(load<u32>(f, 40), f + 52);
  halt();
}
/** From the double-fault task: the registers are in the TSS it interrupted. */
export function panicDouble(tss: usize): void {
  dying = 1;
  newline();
  print('KERNEL DOUBLE FAULT');
  line('eip', load<u32>(tss, 0x20)); line('esp', load<u32>(tss, 0x38)); line('cr2', readCr2());
  line('eax', load<u32>(tss, 0x28)); line('ebx', load<u32>(tss, 0x34)); line('ecx', load<u32>(tss, 0x2c)); line('edx', load<u32>(tss, 0x30));
  newline();
  backtrace(load<u32>(tss, 0x20), load<u32>(tss, 0x38));
  halt();
}
/** asc's abort: a failed assertion or an unreachable place. Column and line come from the source. */
export function panic(message: usize, file: usize, row: u32, column: u32): void {
  if (dying != 0) { while (true) { cli(); hlt(); } }
  dying = 1;
  newline();
  print('KERNEL PANIC at '); if (file != 0) print(changetype<string>(file)); print(':'); printDec(row); print(':'); printDec(column);
  print(' '); if (message != 0) print(changetype<string>(message));
  newline();
  halt();
}
/** Boot cannot go on: says why. */
export function die(why: string): void {
  newline();
  print('KERNEL: '); print(why);
  newline();
  dying = 1;
  halt();
}
