/**
 * ACPI 1.0-6.x, as much as SMP needs: RSDP -> RSDT -> MADT ("APIC"): processors, I/O APICs, interrupt source overrides.
 * Lengths are checked before use; without tables there is one CPU and one IOAPIC at its usual place.
 */
import { mapTemporary, virt } from '../arch/paging';
import { ioapicInit, overrideLine } from '../arch/ioapic';

const SEEN: usize = memory.data(64, 4);
export let processorCount: u32 = 0;
export function processorId(n: u32): u32 { return load<u32>(SEEN + (<usize>n << 2)); }

function sum(p: usize, n: u32): u32 {
  let s: u32 = 0;
  for (let k: u32 = 0; k < n; k++) s += load<u8>(p + k);
  return s & 255;
}
function findRsdp(): usize {
  for (let pa: u32 = 0xe0000; pa < 0x100000; pa += 16) {
    const p = virt(pa);
    if (load<u32>(p) == 0x20445352 && load<u32>(p, 4) == 0x20525450 && sum(p, 20) == 0) return p; // "RSD PTR "
  }
  return 0;
}
export function readAcpi(maxProcessors: u32): void {
  const rsdp = findRsdp();
  if (rsdp != 0) {
    const at = load<u32>(rsdp, 16);
    let rsdt = mapTemporary(at);
    const count = (load<u32>(rsdt, 4) - 36) >> 2;
    for (let n: u32 = 0; n < count && n < 64; n++) {
      rsdt = mapTemporary(at);
      const table = mapTemporary(load<u32>(rsdt + 36 + (<usize>n << 2)));
      if (load<u32>(table) == 0x43495041 && load<u32>(table, 4) < 0x10000) readMadt(table, maxProcessors); // "APIC"
    }
  }
  ioapicInit(0xfec00000, 0);
}
function readMadt(table: usize, max: u32): void {
  const end = table + load<u32>(table, 4);
  for (let pass = 0; pass < 2; pass++) {
    let at = table + 44;
    while (at + 2 <= end) {
      const type = load<u8>(at), bytes = load<u8>(at, 1);
      if (bytes < 2) break;
      if (pass == 0 && type == 0 && (load<u32>(at, 4) & 1) != 0 && processorCount < max) { store<u32>(SEEN + (<usize>processorCount << 2), load<u8>(at, 3)); processorCount++; }
      if (pass == 0 && type == 1) ioapicInit(load<u32>(at, 4), load<u32>(at, 8));
      if (pass == 1 && type == 2) overrideLine(load<u32>(at, 4), load<u16>(at, 8));
      at += bytes;
    }
  }
}
