// ELF files are hostile: each way of lying gets its own error, and no mutation of a good file makes the parser read outside it.
import { describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { guest, type Guest } from './harness.ts';
import { elf, TEXT, DATA } from './elf-file.ts';

const FILE = 0x200000, OUT = 0x100000, LOW = 0x08048000, HIGH = 0xbf000000;
function parse(g: Guest, file: Uint8Array, bytes = file.length): number {
  g.u8.set(file, FILE);
  return g.fn['elf']!(FILE, bytes, LOW, HIGH, OUT);
}
const ERROR = { ok: 0, short: 1, magic: 2, class: 3, type: 4, headers: 5, segment: 6, range: 7, overlap: 8, wx: 9, entry: 10, dynamic: 11 };

describe('ELF parser', () => {
  it('accepts a static i386 executable and reports segments, entry and end', async () => {
    const g = await guest('lib');
    expect(parse(g, elf([TEXT, { ...TEXT, type: 0x6474e551, va: 0, offset: 0 }, DATA]))).toBe(ERROR.ok);
    const o = OUT >>> 2;
    expect([g.u32[o], g.u32[o + 1], g.u32[o + 2]]).toEqual([0x08048010, 2, 0x10005000]);
    expect([...g.u32.subarray(o + 5, o + 10)]).toEqual([0x1000, 0x08048000, 0x1800, 0x1800, 5]);
    expect([...g.u32.subarray(o + 10, o + 15)]).toEqual([0x3000, 0x10000000, 0x100, 0x5000, 6]);
  });
  const good = elf([TEXT, DATA]);
  const patch = (at: number, value: number): Buffer => { const b = Buffer.from(good); b[at] = value; return b; };
  const cases: [string, () => Buffer, number][] = [
    ['another magic', () => patch(0, 0), ERROR.magic], ['64-bit class', () => patch(4, 2), ERROR.class], ['big-endian', () => patch(5, 2), ERROR.class],
    ['a shared object', () => patch(16, 3), ERROR.type], ['another machine', () => patch(18, 62), ERROR.type], ['a wrong program header size', () => patch(42, 56), ERROR.headers],
    ['no program headers', () => elf([]), ERROR.headers], ['no PT_LOAD', () => elf([{ ...TEXT, type: 4 }]), ERROR.headers],
    ['nine segments', () => elf(Array.from({ length: 9 }, (_, n) => ({ ...TEXT, va: TEXT.va + n * 0x10000 }))), ERROR.headers],
    ['an interpreter', () => elf([{ ...TEXT, type: 3 }, TEXT]), ERROR.dynamic], ['headers outside the file', () => { const b = Buffer.from(good); b.writeUInt32LE(0xfffffff0, 28); return b; }, ERROR.short],
    ['data outside the file', () => elf([{ ...TEXT, offset: 0x3000, filesz: 0x1001, memsz: 0x2000 }]), ERROR.short], ['an offset that wraps', () => elf([{ ...TEXT, offset: 0xfffff000, filesz: 0x1800 }]), ERROR.short],
    ['more file than memory', () => elf([{ ...TEXT, memsz: 0x100 }]), ERROR.segment], ['misaligned offset', () => elf([{ ...TEXT, offset: 0x1004 }]), ERROR.segment],
    ['an address below the range', () => elf([{ ...TEXT, va: 0 }]), ERROR.range], ['a kernel address', () => elf([{ ...TEXT, va: 0xc0000000 }]), ERROR.range],
    ['an address that wraps', () => elf([{ ...TEXT, va: 0xbefff000, memsz: 0x50000000 }]), ERROR.range], ['a writable and executable segment', () => elf([{ ...TEXT, flags: 7 }]), ERROR.wx],
    ['overlapping segments', () => elf([TEXT, { ...DATA, va: 0x08049000, memsz: 0x100 }]), ERROR.overlap], ['unsorted segments', () => elf([DATA, TEXT]), ERROR.overlap],
    ['an entry outside', () => elf([TEXT, DATA], 0x08040000), ERROR.entry], ['an entry in data', () => elf([TEXT, DATA], 0x10000000), ERROR.entry],
  ];
  it.each(cases)('refuses %s', async (_, make, error) => {
    expect(parse(await guest('lib'), make())).toBe(error);
  });
  it('refuses every truncated file', async () => {
    const g = await guest('lib');
    for (const n of [0, 1, 4, 51, 52, 83, 115, 0x1000, 0x27ff, 0x30ff]) expect(parse(g, good, n)).toBe(ERROR.short);
  });
  it('accepts only files whose segments lie inside file and range, whatever bytes are changed', async () => {
    const g = await guest('lib');
    fc.assert(fc.property(fc.array(fc.tuple(fc.integer({ min: 0, max: 115 }), fc.integer({ min: 0, max: 255 })), { maxLength: 4 }), (changes) => {
      const b = Buffer.from(good);
      for (const [at, v] of changes) b[at] = v;
      if (parse(g, b) !== ERROR.ok) return;
      const o = OUT >>> 2;
      let last = 0;
      for (let n = 0; n < g.u32[o + 1]!; n++) {
        const [offset, va, filesz, memsz, flags] = [...g.u32.subarray(o + 5 + n * 5, o + 10 + n * 5)] as [number, number, number, number, number];
        expect(offset + filesz).toBeLessThanOrEqual(b.length);
        expect(va).toBeGreaterThanOrEqual(Math.max(LOW, last));
        expect(va + memsz).toBeLessThanOrEqual(HIGH);
        expect(flags & 3).not.toBe(3);
        last = va + memsz;
      }
    }), { numRuns: 3000 });
  });
});
