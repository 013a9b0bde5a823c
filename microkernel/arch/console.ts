/**
 * The kernel's own output: boot log and last words on COM1, by polling. After boot the uart driver owns the port; the kernel writes again only to
 * report a Thread without fault handler, or its own death. `quiet` on the command line silences the boot log, nothing else.
 */
import { inb, outb } from 'kintsugi/x86';

const PORT: u32 = 0x3f8;
let silent: bool = false;

export function consoleInit(): void {
  outb(PORT + 1, 0); // no interrupts
  outb(PORT + 3, 0x80); outb(PORT, 1); outb(PORT + 1, 0); // 115200
  outb(PORT + 3, 3); // 8N1
  outb(PORT + 2, 0xc7);
  outb(PORT + 4, 3);
}
export function setSilent(on: bool): void { silent = on; }
export function isSilent(): bool { return silent; }

export function putByte(c: u32): void {
  for (let n: u32 = 0; n < 100000 && (inb(PORT + 5) & 0x20) == 0; n++) {}
  outb(PORT, c);
}
export function print(s: string): void {
  const p = changetype<usize>(s);
  const n = <usize>s.length;
  for (let k: usize = 0; k < n; k++) putByte(load<u16>(p + (k << 1)));
}
export function newline(): void { putByte(13); putByte(10); }
export function printHex(v: u32): void {
  print('0x');
  for (let n: i32 = 28; n >= 0; n -= 4) { const d = (v >> n) & 15; putByte(d < 10 ? 48 + d : 87 + d); }
}
export function printDec(v: u32): void {
  let d: u32 = 1000000000;
  while (d > 1 && v < d) d /= 10;
  while (d != 0) { putByte(48 + (v / d) % 10); d /= 10; }
}
export function printBytes(p: usize, n: u32): void { for (let k: u32 = 0; k < n; k++) putByte(load<u8>(p + k)); }
export function printZ(p: usize): void { while (load<u8>(p) != 0) { putByte(load<u8>(p)); p++; } }

// The boot log: only while not silent.
export function log(s: string): void { if (!silent) print(s); }
export function logDec(v: u32): void { if (!silent) printDec(v); }
export function logLine(): void { if (!silent) newline(); }
