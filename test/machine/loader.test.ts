import { describe, expect, it } from 'vitest';
import { createBoard, type Board } from '../../vm/board.ts';
import { Random } from '../net/generator.ts';
import { LoaderError, loadMultiboot, MULTIBOOT_HEADER_MAGIC } from '../../vm/loader.ts';

interface Shape { class?: number; machine?: number; type?: number; flags?: number; paddr?: number; vaddr?: number; filesz?: number; memsz?: number; entry?: number; headerAt?: number; truncate?: number; phoff?: number; phnum?: number }
/** A minimal multiboot ELF: one segment of 64 bytes whose first bytes are the multiboot header. */
function elf(shape: Shape = {}): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(256);
  const v = new DataView(bytes.buffer);
  const u16 = (at: number, value: number): void => v.setUint16(at, value, true);
  const u32 = (at: number, value: number): void => v.setUint32(at, value, true);
  u32(0, 0x464c457f);
  bytes[4] = shape.class ?? 1; bytes[5] = 1; bytes[6] = 1;
  u16(16, shape.type ?? 2); u16(18, shape.machine ?? 3); u32(20, 1);
  u32(24, shape.entry ?? 0x10_0010); u32(28, shape.phoff ?? 52); u16(40, 52); u16(42, 32); u16(44, shape.phnum ?? 1);
  u32(52, 1); u32(56, 128); u32(60, shape.vaddr ?? 0x10_0000); u32(64, shape.paddr ?? 0x10_0000); u32(68, shape.filesz ?? 64); u32(72, shape.memsz ?? 8192); u32(76, 7); u32(80, 4096);
  const at = shape.headerAt ?? 128;
  const flags = shape.flags ?? 3;
  u32(at, MULTIBOOT_HEADER_MAGIC); u32(at + 4, flags); u32(at + 8, -(MULTIBOOT_HEADER_MAGIC + flags));
  return bytes.slice(0, shape.truncate ?? 256);
}
const board = (): Board => createBoard({ cpus: 1, memoryMiB: 4, viewsPerCpu: 1 });
const load = (bytes: Uint8Array, rest: object = {}, on = board()): ReturnType<typeof loadMultiboot> => loadMultiboot(on, { kernel: { name: 'k.elf', bytes }, ...rest });
const text = (b: Board, at: number): string => { let s = ''; for (let k = at; b.ram[k]; k++) s += String.fromCharCode(b.ram[k]); return s; };

describe('multiboot loader', () => {
  it('loads segments at physical addresses, clears bss, and gives magic and information', () => {
    const b = board();
    b.ram.fill(0xcc, 0x10_0000, 0x10_4000);
    const boot = load(elf(), { cmdline: 'place=pin run=sh', modules: [{ data: new Uint8Array([1, 2, 3]), string: 'root' }, { data: new Uint8Array(5000).fill(9), string: 'fs a b' }] }, b);
    expect(boot.entry).toBe(0x10_0010);
    expect(boot.eax).toBe(0x2badb002);
    expect(b.ramWords[0x10_0000 >> 2]).toBe(MULTIBOOT_HEADER_MAGIC);
    expect(b.ram[0x10_0000 + 8191]).toBe(0);
    const info = boot.ebx;
    const word = (offset: number): number => b.ramWords[(info + offset) >> 2];
    expect(word(0) & 0x4d).toBe(0x4d);
    expect([word(4), word(8)]).toEqual([639, 3072]);
    expect(text(b, word(16))).toBe('place=pin run=sh');
    expect(word(20)).toBe(2);
    const list = word(24) >> 2;
    expect(b.ramWords[list] % 4096).toBe(0);
    expect(b.ramWords[list + 1] - b.ramWords[list]).toBe(3);
    expect([...b.ram.subarray(b.ramWords[list], b.ramWords[list] + 3)]).toEqual([1, 2, 3]);
    expect(text(b, b.ramWords[list + 2])).toBe('root');
    expect(b.ramWords[list + 4] % 4096).toBe(0);
    expect(text(b, b.ramWords[list + 6])).toBe('fs a b');
    expect(text(b, word(64))).toBe('Kintsugi');
  });

  it('the memory map covers RAM without holes where none are and ends at the top', () => {
    const b = board();
    const info = load(elf(), {}, b).ebx >> 2;
    const length = b.ramWords[info + 11];
    const start = b.ramWords[info + 12];
    const regions: [number, number, number][] = [];
    for (let at = start; at < start + length; at += b.ramWords[at >> 2] + 4) regions.push([b.ramWords[(at >> 2) + 1], b.ramWords[(at >> 2) + 3], b.ramWords[(at >> 2) + 5]]);
    expect(regions.filter(([, , type]) => type === 1)).toEqual([[0, 0x9fc00, 1], [0x10_0000, 0x30_0000, 1]]);
  });

  it('a virtual entry point is translated to the physical one', () => {
    expect(load(elf({ vaddr: 0xc010_0000, entry: 0xc010_0020 })).entry).toBe(0x10_0020);
  });

  it('loads by the addresses in the header when flag 16 says so', () => {
    const bytes = new Uint8Array(0x100);
    const v = new DataView(bytes.buffer);
    const flags = 0x10003;
    [MULTIBOOT_HEADER_MAGIC, flags, -(MULTIBOOT_HEADER_MAGIC + flags), 0x20_0010, 0x20_0000, 0, 0x20_2000, 0x20_0040].forEach((word, k) => v.setUint32(0x10 + 4 * k, word, true));
    bytes[0x40] = 0xf4;
    const b = board();
    const boot = load(bytes, {}, b);
    expect(boot.entry).toBe(0x20_0040);
    expect(b.ram[0x20_0040]).toBe(0xf4);
  });

  const rejects = (what: string, bytes: Uint8Array, reason: RegExp): void => it(`rejects ${what}, naming file and reason`, () => {
    let error: unknown;
    try { load(bytes); } catch (caught) { error = caught; }
    expect(error).toBeInstanceOf(LoaderError);
    expect((error as LoaderError).message).toMatch(/^k\.elf: /);
    expect((error as LoaderError).reason).toMatch(reason);
  });
  rejects('an empty file', new Uint8Array(0), /empty/);
  rejects('a file without multiboot header', new Uint8Array(5000), /no multiboot header/);
  rejects('a 64-bit ELF', elf({ class: 2 }), /64-bit/);
  rejects('another architecture', elf({ machine: 40 }), /another architecture/);
  rejects('an object file', elf({ type: 1 }), /not an executable/);
  rejects('a truncated segment', elf({ filesz: 4096, memsz: 4096 }), /truncated: segment 0/);
  rejects('program headers beyond the end', elf({ phoff: 250 }), /program headers/);
  rejects('no program headers', elf({ phnum: 0 }), /no program headers/);
  rejects('a segment larger in the file than in memory', elf({ memsz: 10 }), /larger in the file/);
  rejects('a segment beyond memory', elf({ memsz: 64 << 20 }), /does not fit the machine's 4 MiB/);
  rejects('a segment over the firmware area', elf({ paddr: 0xf_0000 }), /does not fit/);
  rejects('segments that overlap', (() => {
    const bytes = elf({ phnum: 2 }), view = new DataView(bytes.buffer);
    [1, 128, 0x10_1000, 0x10_1fff, 1, 1, 7, 1].forEach((word, k) => view.setUint32(84 + 4 * k, word, true));
    view.setUint32(128, 0x1badb002, true);
    return bytes;
  })(), /two of its segments overlap \(at 0x100000 and 0x101fff\)/);
  rejects('an entry point outside the segments', elf({ entry: 0x1234 }), /entry point/);
  rejects('unknown required features', elf({ flags: 0x103 }), /unknown features/);

  it('ten thousand mutated images: each is loaded within the board, or refused by a LoaderError that names it', () => {
    const seed = Number(process.env['KINTSUGI_SEED'] ?? 1), x = new Random(seed), b = board(), reasons = new Map<string, number>();
    const around = new Uint8Array(b.buffer, b.ram.byteOffset + b.ramBytes, 65536), before = new Uint8Array(b.buffer, b.ram.byteOffset - 65536, 65536);
    const word = (): number => x.pick([0, 1, 3, 31, 32, 52, 64, 128, 255, 256, 0xffff, 0x9_f000, 0xa_0000, 0x10_0000, 0x10_0010, 0x10_1000, 0x20_0000, (4 << 20) - 1, 4 << 20, 0x7fff_ffff, 0x8000_0000, 0xffff_f000, 0xffff_ffff, x.next()]);
    for (let n = 0; n < (process.env['KINTSUGI_FULL'] === undefined ? 10_000 : 200_000); n++) {
      // Two program headers, or an image with load addresses in its header.
      const addressed = x.chance(300), bytes = elf({ phnum: x.pick([1, 2, 2, 3, 0xffff]), headerAt: 192, ...(addressed ? { flags: 0x10003 } : {}) }), view = new DataView(bytes.buffer);
      [1, 192, 0x10_2000, 0x10_2000, 32, 4096, 7, 1].forEach((value, k) => view.setUint32(84 + 4 * k, value, true));
      [0x10_00c0, 0x10_0000, 0, 0x10_4000, 0x10_00e0].forEach((value, k) => view.setUint32(204 + 4 * k, value, true));
      for (let k = x.below(4); k > 0; k--) {
        const at = x.pick([x.below(252), 24, 28, 52, 56, 60, 64, 68, 72, 88, 96, 100, 104, 204, 208, 212, 216, 220]);
        switch (x.below(3)) {
          case 0: view.setUint32(at, word(), true); break;
          case 1: view.setUint16(x.pick([42, 44, 16, 18, at]), word() & 0xffff, true); break;
          default: bytes[at] = x.below(256);
        }
      }
      const image = x.chance(200) ? bytes.subarray(0, x.below(257)) : bytes;
      let why: string;
      try { const { entry } = load(image, { cmdline: 'x' }, b); why = entry < b.ramBytes ? 'loaded' : 'entry outside'; } catch (error) {
        if (!(error instanceof LoaderError) || !error.message.startsWith('k.elf: ') && !error.message.startsWith('the boot information: ')) throw new Error(`seed ${seed}, image ${n}: ${String(error)}`, { cause: error });
        why = error.reason.replace(/0x[0-9a-f]+|\d+/g, '#');
      }
      reasons.set(why, (reasons.get(why) ?? 0) + 1);
    }
    expect(reasons.get('entry outside')).toBe(undefined);
    expect(reasons.get('loaded')).toBeGreaterThan(1000);
    expect(reasons.size).toBeGreaterThan(12);
    expect(around.every((byte) => byte === 0) && before.every((byte) => byte === 0)).toBe(true);
  });

  it('rejects a missing file by name', () => {
    expect(() => loadMultiboot(board(), { kernel: '/nonexistent/kernel.elf' })).toThrow('/nonexistent/kernel.elf: no such file');
  });
  it('rejects modules that do not fit, by name', () => {
    expect(() => load(elf(), { modules: [{ data: new Uint8Array(8 << 20), string: 'huge' }] })).toThrow(/^huge: .*does not fit/);
  });
});
