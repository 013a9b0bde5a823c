// Texts of working directories.
import { expect, it } from 'vitest';
import { guestMemory, guestModule, instantiate } from '../programs/build.ts';

it('joins and normalises, and says when it does not fit', async () => {
  const memory = guestMemory(), u8 = new Uint8Array(memory.buffer), g = instantiate(await guestModule('test/process/guest/paths.ts'), memory, {});
  const join = (base: string, path: string, room = 256): string | number => {
    u8.set(Buffer.from(`${base}\0`), 0x200000); u8.set(Buffer.from(`${path}\0`), 0x201000); u8.fill(0xee, 0x202000, 0x203000);
    const n = g['joinPath']!(0x200000, 0x201000, 0x202000, room);
    expect(u8.subarray(0x202000 + room, 0x202000 + room + 16).every((b) => b === 0xee)).toBe(true);
    return n < 0 ? n : Buffer.from(u8.subarray(0x202000, 0x202000 + n)).toString();
  };
  for (const [base, path, result] of [['/', 'a', '/a'], ['/a', 'b/c', '/a/b/c'], ['/a/b', '..', '/a'], ['/a', '../..', '/'], ['/', '..', '/'], ['/x', '/y//z/', '/y/z'], ['/x', './.', '/x'], ['/x', '...', '/x/...'], ['/', '/', '/'], ['/a/b', '../../c/./d/..', '/c']] as const) expect(join(base, path)).toBe(result);
  expect(join('/', 'a'.repeat(300))).toBe(-1);
  expect(join('/abcd', 'efgh', 8)).toBe(-1);
  expect(join('/abc', 'efg', 9)).toBe('/abc/efg');
});
