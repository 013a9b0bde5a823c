/** Where two machines of the same make differ: registers by name, device fields by name, memory by address. Architectural state only, as the hash covers it. */
import { HEADER, HEADER_BASE, MACHINE_BLOCK, PAGE_BYTES } from './board.ts';
import { saveCpu } from './cpu-fields.ts';
import { ARCH_FIELDS } from './cpu/state.ts';
import type { FieldList, FieldMap } from './fields.ts';
import type { DeterministicMachine } from './machine.ts';

/** One place: `cpu0.eax`, `uart com1.lcr`, `memory 0012f000`. Values in hexadecimal, of the first bytes that differ. */
export interface Difference { readonly where: string; readonly a: string; readonly b: string }

const hex = (bytes: Uint8Array): string => (bytes.length === 4 ? new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true).toString(16).padStart(8, '0') : Buffer.from(bytes).toString('hex'));
const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

/** The first `most` differences: registers, then schedule and devices, then memory (one a page), then disks, then what is outside the board. */
export function differences(a: DeterministicMachine, b: DeterministicMachine, most = 64): Difference[] {
  const out: Difference[] = [];
  const add = (where: string, x: Uint8Array, y: Uint8Array): boolean => out.push({ where, a: hex(x), b: hex(y) }) >= most;
  for (let cpu = 0; cpu < a.board.cpus; cpu++) {
    const x = saveCpu(a.board, cpu), y = saveCpu(b.board, cpu);
    let at = 0;
    for (const { name, bytes } of ARCH_FIELDS) {
      const left = x.subarray(at, at + bytes), right = y.subarray(at, at + bytes);
      if (!same(left, right) && add(`cpu${cpu}.${name}`, left, right)) return out;
      at += bytes;
    }
  }
  const lists: { name: string; list: FieldList<FieldMap>; base: number }[] = [
    { name: 'schedule', list: HEADER as unknown as FieldList<FieldMap>, base: HEADER_BASE },
    ...Array.from({ length: a.board.cpus }, (_, cpu) => ({ name: `cpu${cpu}.time`, list: MACHINE_BLOCK as unknown as FieldList<FieldMap>, base: a.board.machineBlockBase(cpu) })),
    ...a.chipset.blocks.blocks,
  ];
  for (const { name, list, base } of lists) {
    for (const { name: field, field: { derived }, offset, bytes } of list.placed) {
      if (derived) continue;
      const left = new Uint8Array(a.board.buffer, base + offset, bytes).slice(), right = new Uint8Array(b.board.buffer, base + offset, bytes).slice();
      if (!same(left, right) && add(`${name}.${field}`, left, right)) return out;
    }
  }
  for (let page = 0; page < a.board.ramBytes / PAGE_BYTES; page++) {
    const left = a.board.ram.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES), right = b.board.ram.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
    if (same(left, right)) continue;
    const at = left.findIndex((byte, n) => byte !== right[n]) & ~3;
    if (add(`memory ${(page * PAGE_BYTES + at).toString(16).padStart(8, '0')}`, left.slice(at, at + 4), right.slice(at, at + 4))) return out;
  }
  a.chipset.disks.forEach(({ disk }, index) => {
    const other = b.chipset.disks[index]!.disk;
    for (let block = 0; block < disk.overlayBlocks && out.length < most; block++) {
      const present = [disk, other].map((each) => (each.overlayFlags(block) & 1) !== 0);
      if (!present[0] && !present[1]) continue;
      const left = present[0] ? disk.overlayBlock(block) : new Uint8Array(0), right = present[1] ? other.overlayBlock(block) : new Uint8Array(0);
      if (same(left, right)) continue;
      const at = Math.max(0, left.findIndex((byte, n) => byte !== right[n])) & ~3;
      add(`disk ${index} block ${block} +${at}`, left.slice(at, at + 4), right.slice(at, at + 4));
    }
  });
  if (out.length < most && a.net && b.net && !same(a.net.save(), b.net.save())) out.push({ where: 'network', a: `${a.net.save().length} bytes of state`, b: `${b.net.save().length} bytes` });
  return out;
}
