/**
 * ELF32 executables (System V ABI, chapter 4 and 5): program headers for the loader, and section headers with a symbol table for gdb and
 * objdump. `physicalOffset` is subtracted from virtual addresses to give p_paddr (kernels loaded by multiboot).
 */
import type { Linked } from './link.ts';

const PAGE = 4096;
export function writeElf(linked: Linked, physicalOffset: number, entry: number): Uint8Array {
  const { segments } = linked;
  const headers = 52 + segments.length * 32;
  let at = headers;
  const offsets = segments.map((s) => {
    // File offset and address agree modulo the page size, so a loader may map pages of the file.
    at += (((s.address - at) % PAGE) + PAGE) % PAGE;
    const o = at;
    at += s.bytes.length;
    return o;
  });
  const names: number[] = [0];
  const text = (list: number[], s: string): number => {
    const o = list.length;
    for (const b of new TextEncoder().encode(s)) list.push(b);
    list.push(0);
    return o;
  };
  const functionSizes = new Map(linked.functions.map((f) => [f.name, f.size]));
  const kept = [...linked.symbols].filter(([n]) => !n.startsWith('const:') && !n.startsWith('table:'));
  const symtab = new Uint8Array((kept.length + 1) * 16);
  const sv = new DataView(symtab.buffer);
  kept.forEach(([n, v], i) => {
    const o = (i + 1) * 16;
    const size = functionSizes.get(n);
    const section = segments.findIndex((s) => v >= s.address && v < s.address + Math.max(1, s.memorySize));
    sv.setUint32(o, text(names, n), true);
    sv.setUint32(o + 4, v, true);
    sv.setUint32(o + 8, size ?? 0, true);
    sv.setUint8(o + 12, (1 << 4) | (size !== undefined ? 2 : 0));
    sv.setUint16(o + 14, section >= 0 ? section + 1 : 0xfff1, true);
  });
  const shNames: number[] = [0];
  const align4 = (): void => void (at = (at + 3) & ~3);
  align4();
  const symtabAt = at;
  at += symtab.length;
  const strtabAt = at;
  at += names.length;
  const sectionNames = [...segments.map((s) => s.name), '.symtab', '.strtab', '.shstrtab'].map((n) => text(shNames, n));
  const shstrtabAt = at;
  at += shNames.length;
  align4();
  const shoff = at;
  const count = segments.length + 4;
  const out = new Uint8Array(shoff + count * 40);
  const v = new DataView(out.buffer);
  out.set([0x7f, 0x45, 0x4c, 0x46, 1, 1, 1]);
  v.setUint16(16, 2, true); // ET_EXEC
  v.setUint16(18, 3, true); // EM_386
  v.setUint32(20, 1, true);
  v.setUint32(24, entry, true);
  v.setUint32(28, 52, true);
  v.setUint32(32, shoff, true);
  v.setUint16(40, 52, true);
  v.setUint16(42, 32, true);
  v.setUint16(44, segments.length, true);
  v.setUint16(46, 40, true);
  v.setUint16(48, count, true);
  v.setUint16(50, count - 1, true);
  segments.forEach((s, i) => {
    const o = 52 + i * 32;
    [1, offsets[i] as number, s.address, s.address - physicalOffset, s.bytes.length, s.memorySize, s.flags, PAGE].forEach((x, k) => v.setUint32(o + k * 4, x, true));
    out.set(s.bytes, offsets[i] as number);
    const h = shoff + (i + 1) * 40;
    const flags = 2 | (s.flags & 1 ? 4 : 0) | (s.flags & 2 ? 1 : 0);
    const nobits = s.bytes.length === 0;
    [sectionNames[i] as number, nobits ? 8 : 1, flags, s.address, offsets[i] as number, nobits ? s.memorySize : s.bytes.length, 0, 0, 16, 0].forEach((x, k) => v.setUint32(h + k * 4, x, true));
  });
  out.set(symtab, symtabAt);
  out.set(names, strtabAt);
  out.set(shNames, shstrtabAt);
  const n = segments.length;
  const section = (i: number, fields: number[]): void => fields.forEach((x, k) => v.setUint32(shoff + i * 40 + k * 4, x, true));
  section(n + 1, [sectionNames[n] as number, 2, 0, 0, symtabAt, symtab.length, n + 2, 1, 4, 16]);
  section(n + 2, [sectionNames[n + 1] as number, 3, 0, 0, strtabAt, names.length, 0, 0, 1, 0]);
  section(n + 3, [sectionNames[n + 2] as number, 3, 0, 0, shstrtabAt, shNames.length, 0, 0, 1, 0]);
  return out;
}
