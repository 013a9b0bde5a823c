/**
 * PAE page tables (Intel SDM 3A 4.4): PDPT (4 x 1 GiB) -> PD (512 x 2 MiB) -> PT (512 x 4 KiB), 64-bit entries, NX in bit 63.
 *
 * The upper GiB belongs to the kernel: one page directory shared by all roots, global pages: the direct map of the first 512 MiB at
 * 0xC0000000, and the 2 MiB around IOAPIC and LAPIC at their physical addresses. What the kernel image occupies is mapped by 4 KiB pages
 * with W^X; the rest of the direct map is writable data, never executable.
 */
import { invlpg, writeCr3, readCr3 } from 'kintsugi/x86';

export const KERNEL_BASE: usize = 0xc0000000;
export const DIRECT_BYTES: usize = 0x20000000;
export const P: u32 = 1;
export const W: u32 = 2;
export const U: u32 = 4;
export const PWT: u32 = 8;
export const PCD: u32 = 16;
export const A: u32 = 32;
export const D: u32 = 64;
export const LARGE: u32 = 128;
export const G: u32 = 256;
export const NX: u64 = 0x8000000000000000;
export const ADDRESS: u64 = 0xffffff000; // 36 bits

@inline export function virt(pa: u32): usize { return <usize>pa + KERNEL_BASE; }
@inline export function phys(va: usize): u32 { return <u32>(va - KERNEL_BASE); }
@inline export function entryAt(table: usize, index: u32): u64 { return load<u64>(table + (<usize>index << 3)); }
@inline export function setEntry(table: usize, index: u32, e: u64): void { store<u64>(table + (<usize>index << 3), e); }

/** The page directory of the upper GiB and the root that maps nothing else (idle CPUs, boot). */
export let kernelPd: usize = 0;
export let kernelRoot: u32 = 0;

/** One word per page of the direct map: for a page-table page, its first mapping record (object/space.ts). */
export let pageInfo: usize = 0;
export function setPageInfo(at: usize): void { pageInfo = at; }
@inline export function infoOf(pa: u32): usize { return pageInfo + ((<usize>pa >> 12) << 2); }

/** Splits the 2 MiB page at `va` into 4 KiB pages with the same rights; `pt` is a page for the table. */
function split(pd: usize, index: u32, pt: usize): void {
  const e = entryAt(pd, index);
  const flags = (e & 0xfff & ~<u64>LARGE) | (e & NX);
  const base = e & ADDRESS;
  for (let n: u32 = 0; n < 512; n++) setEntry(pt, n, (base + (<u64>n << 12)) | flags);
  setEntry(pd, index, <u64>phys(pt) | <u64>(P | W));
}

/**
 * Builds the final kernel directory. `page` yields zeroed pages. Image bounds: [textStart, textEnd) executable and read-only,
 * [textEnd, dataStart) read-only, the rest writable.
 */
export function buildKernelDirectory(pd: usize, root: usize, ramBytes: usize): void {
  const top = ramBytes < DIRECT_BYTES ? ramBytes : DIRECT_BYTES;
  for (let n: u32 = 0; (<usize>n << 21) < top; n++) setEntry(pd, n, (<u64>n << 21) | <u64>(P | W | LARGE | G | A | D) | NX);
  mapDevice(pd, 0xfec00000);
  mapDevice(pd, 0xfee00000);
  setEntry(root, 3, <u64>phys(pd) | <u64>P);
  kernelPd = pd;
  kernelRoot = phys(root);
}
function mapDevice(pd: usize, pa: u32): void {
  setEntry(pd, (pa - <u32>KERNEL_BASE) >> 21, <u64>(pa & 0xffe00000) | <u64>(P | W | LARGE | G | A | D | PCD | PWT) | NX);
}
/** Rights of one 4 KiB page of the kernel: 0 = none, else P [| W] [| executable when `x`]. Splits the large page when needed with `pt`. */
export function protectKernelPage(va: usize, flags: u32, x: bool, pt: usize): bool {
  const index = <u32>((va - KERNEL_BASE) >> 21);
  let used = false;
  if ((<u32>entryAt(kernelPd, index) & LARGE) != 0) { split(kernelPd, index, pt); used = true; }
  const table = virt(<u32>(entryAt(kernelPd, index) & ADDRESS));
  const slot = <u32>(va >> 12) & 511;
  if (flags == 0) setEntry(table, slot, 0);
  else setEntry(table, slot, <u64>phys(va) | <u64>(flags | G | A | D) | (x ? 0 : NX));
  invlpg(va);
  return used;
}
/** Two 2 MiB windows for tables that lie above the direct map (ACPI on big machines): maps `pa`, returns where its byte is. */
export function mapTemporary(pa: u32): usize {
  if (pa < <u32>DIRECT_BYTES) return virt(pa);
  const base = pa & 0xffe00000;
  for (let n: u32 = 0; n < 2; n++) setEntry(kernelPd, 400 + n, (<u64>base + (<u64>n << 21)) | <u64>(P | W | LARGE | A | D) | NX);
  writeCr3(readCr3());
  return KERNEL_BASE + (400 << 21) + <usize>(pa - base);
}
