/**
 * I/O APICs (82093AA): the redirection table, one entry per global system interrupt (GSI). Found through the MADT (boot/acpi.ts), which also says
 * which ISA interrupts go elsewhere and with which polarity and trigger. Entries are written under the IPC lock.
 */
import { mmioRead32, mmioWrite32, outb } from 'kintsugi/x86';
import { VECTOR_LINE0 } from './lapic';

let base: usize = 0xfec00000; // one IOAPIC, within the 2 MiB mapped there
let firstLine: u32 = 0;
export let lineCount: u32 = 0;
/** Low words of the redirection entries without mask: trigger, polarity, vector. */
const LINES: usize = memory.data(64 * 4, 4);
const MASK: u32 = 0x10000;
const LEVEL: u32 = 0x8000;
const LOW_ACTIVE: u32 = 0x2000;

function read(r: u32): u32 { mmioWrite32(base, r); return mmioRead32(base + 16); }
function write(r: u32, v: u32): void { mmioWrite32(base, r); mmioWrite32(base + 16, v); }

export function ioapicInit(address: u32, gsiBase: u32): void {
  if (lineCount != 0 || (address & 0xffe00000) != 0xfec00000) return; // further IOAPICs are not used
  base = address;
  firstLine = gsiBase;
  lineCount = ((read(1) >> 16) & 255) + 1;
  if (lineCount > 64) lineCount = 64;
  for (let n: u32 = 0; n < lineCount; n++) {
    store<u32>(LINES + (<usize>n << 2), (VECTOR_LINE0 + n) | (n >= 16 ? LEVEL | LOW_ACTIVE : 0)); // ISA: edge, high; PCI: level, low
    maskLine(n);
  }
}
/** MADT override: flags bits 0-1 polarity (1 high, 3 low), 2-3 trigger (1 edge, 3 level); 0 = as the bus. */
export function overrideLine(line: u32, flags: u32): void {
  if (line >= lineCount) return;
  let v = load<u32>(LINES + (<usize>line << 2));
  if ((flags & 3) == 3) v |= LOW_ACTIVE; else if ((flags & 3) == 1) v &= ~LOW_ACTIVE;
  if (((flags >> 2) & 3) == 3) v |= LEVEL; else if (((flags >> 2) & 3) == 1) v &= ~LEVEL;
  store<u32>(LINES + (<usize>line << 2), v);
  maskLine(line);
}
export function lineIsLevel(line: u32): bool { return (load<u32>(LINES + (<usize>line << 2)) & LEVEL) != 0; }
export function maskLine(line: u32): void { if (line < lineCount) write(16 + line * 2, load<u32>(LINES + (<usize>line << 2)) | MASK); }
export function unmaskLine(line: u32): void { if (line < lineCount) write(16 + line * 2, load<u32>(LINES + (<usize>line << 2))); }
export function routeLine(line: u32, lapic: u32): void { if (line < lineCount) write(17 + line * 2, lapic << 24); }

/** The two 8259 are given vectors out of the way and masked for good. */
export function picOff(): void {
  outb(0x20, 0x11); outb(0xa0, 0x11);
  outb(0x21, 0x20); outb(0xa1, 0x28);
  outb(0x21, 4); outb(0xa1, 2);
  outb(0x21, 1); outb(0xa1, 1);
  outb(0x21, 0xff); outb(0xa1, 0xff);
}
