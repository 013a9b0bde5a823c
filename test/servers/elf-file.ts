/** ELF32 files for tests, made by hand. */
export interface Ph { type: number; offset: number; va: number; filesz: number; memsz: number; flags: number }
export const TEXT: Ph = { type: 1, offset: 0x1000, va: 0x08048000, filesz: 0x1800, memsz: 0x1800, flags: 5 };
export const DATA: Ph = { type: 1, offset: 0x3000, va: 0x10000000, filesz: 0x100, memsz: 0x5000, flags: 6 };
export function elf(phs: Ph[], entry = 0x08048010, bytes = 0x4000): Buffer {
  const b = Buffer.alloc(bytes);
  b.writeUInt32LE(0x464c457f, 0); b[4] = 1; b[5] = 1; b[6] = 1;
  b.writeUInt16LE(2, 16); b.writeUInt16LE(3, 18); b.writeUInt32LE(1, 20); b.writeUInt32LE(entry, 24); b.writeUInt32LE(52, 28);
  b.writeUInt16LE(52, 40); b.writeUInt16LE(32, 42); b.writeUInt16LE(phs.length, 44);
  phs.forEach((p, n) => [p.type, p.offset, p.va, p.va, p.filesz, p.memsz, p.flags, 4096].forEach((v, k) => b.writeUInt32LE(v >>> 0, 52 + n * 32 + k * 4)));
  return b;
}
