/**
 * Hostile images: whatever the bytes say, the server answers every request (with an error if need be), in bounded work, without touching
 * memory or disk outside its own, and keeps its invariants. Random flips, and the classic lies one by one.
 */
import { describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { EXT2 } from '../../servers/protocols/ext2.ts';
import { buildExt2 } from '../../tools/image/writer.ts';
import type { Entry } from '../../tools/image/entries.ts';
import { FileServer } from './machine.ts';
import { pattern } from './helpers.ts';

const ENTRIES: readonly Entry[] = [
  { kind: 'file', path: '/d/f', data: pattern(1, 30_000) }, { kind: 'file', path: '/d/g', data: pattern(2, 400_000) }, { kind: 'file', path: '/d/sub/h', data: pattern(3, 10) },
  { kind: 'symlink', path: '/s', target: 'd/f' }, { kind: 'symlink', path: '/slow', target: 'd/../'.repeat(20) + 'd/f' },
  ...Array.from({ length: 40 }, (_, i): Entry => ({ kind: 'file', path: `/many/n${i}`, data: pattern(i, 100) })),
];
const image = buildExt2({ entries: ENTRIES, sizeMiB: 3, blockSize: 1024, inodes: 256 });
const RUNS = Number(process.env['KINTSUGI_FS_RUNS'] ?? (process.env['KINTSUGI_FULL'] ? 500 : 40));
const INODE_TABLE = 5 * 1024; // group 0: superblock, descriptors, two bitmaps

/** Every operation once on whatever is there; only errors of the protocol are allowed. */
function exercise(fs: FileServer): number {
  let errors = 0;
  const attempt = (work: () => unknown): void => {
    try { work(); } catch (error) { if (!/^E[A-Z]+$/.test((error as Error).message)) throw error; errors++; }
  };
  const names = ['/d/f', '/d/g', '/d/sub/h', '/s', '/slow', '/many/n3', '/', '/d', '/many', '/lost+found'];
  for (const name of names) {
    attempt(() => fs.stat(name, false));
    attempt(() => { const inode = fs.stat(name).inode; fs.read(inode, 0, 50_000); fs.read(inode, 300_000, 1000); });
    attempt(() => { if (fs.readdir(fs.stat(name).inode, 4096).length > 100_000) throw new Error('endless directory'); });
    attempt(() => fs.readlink(name));
  }
  attempt(() => { const inode = fs.open(1, '/d/f', 2); fs.write(inode, 20_000, pattern(5, 20_000)); });
  attempt(() => fs.truncate(fs.stat('/d/g').inode, 1000));
  attempt(() => fs.writeWhole('/new', pattern(6, 300_000)));
  attempt(() => fs.mkdir('/d/newdir'));
  attempt(() => fs.rename('/d', '/many/moved'));
  attempt(() => fs.rename('/many', '/d/sub/x'));
  attempt(() => fs.symlink('target'.repeat(50), '/many/l'));
  attempt(() => fs.link('/many/n4', '/many/n4b'));
  attempt(() => fs.unlink('/d/g'));
  attempt(() => fs.unlink('/many/n5'));
  attempt(() => fs.rmdir('/d/sub'));
  attempt(() => fs.rmdir('/many'));
  attempt(() => fs.close(1));
  attempt(() => fs.statfs());
  attempt(() => fs.sync());
  expect(fs.check()).toBe(0);
  return errors;
}
async function survive(bytes: Uint8Array): Promise<number | 'refused'> {
  let fs: FileServer;
  try { fs = await FileServer.start(bytes, { cacheBytes: 1 << 20 }); } catch (error) {
    if (/^refused: [a-z]/.test((error as Error).message)) return 'refused';
    throw error;
  }
  return exercise(fs);
}
const inodeAt = (inode: number): number => INODE_TABLE + (inode - 1) * 128;

describe('a hostile image', () => {
  it('is not this one: the exercise itself meets few errors', async () => { expect(await survive(image.slice())).toBeLessThan(30); });
  const metadata = INODE_TABLE + 256 * 128;
  it('with random flips in its metadata is survived', async () => {
    const flip = fc.record({ at: fc.oneof({ weight: 1, arbitrary: fc.integer({ min: 1024, max: 4096 }) }, { weight: 4, arbitrary: fc.integer({ min: 4096, max: metadata + 60 * 1024 }) }), value: fc.oneof(fc.constant(0), fc.constant(255), fc.nat(255)) });
    await fc.assert(fc.asyncProperty(fc.array(flip, { minLength: 1, maxLength: 30, size: 'max' }), async (flips) => {
      const bytes = image.slice();
      for (const { at, value } of flips) bytes[at] = value;
      await survive(bytes);
    }), { numRuns: RUNS });
  }, 300_000);
  it('with 32-bit lies in inodes and directories is survived', async () => {
    const value = fc.oneof(fc.constantFrom(0, 1, 2, 3, 4, 5, 0xffffffff, 0x7fffffff, 0x80000000, 3071, 3072, 3073), fc.integer({ min: 0, max: 4000 }), fc.integer());
    const lie = fc.record({ at: fc.integer({ min: INODE_TABLE >> 2, max: (metadata + 40 * 1024) >> 2 }), value });
    await fc.assert(fc.asyncProperty(fc.array(lie, { minLength: 1, maxLength: 60, size: 'max' }), async (lies) => {
      const bytes = image.slice(), view = new DataView(bytes.buffer);
      for (const { at, value } of lies) view.setUint32(at * 4, value >>> 0, true);
      await survive(bytes);
    }), { numRuns: RUNS });
  }, 300_000);

  const lie = async (change: (view: DataView, bytes: Uint8Array) => void): Promise<number | 'refused'> => { const bytes = image.slice(); change(new DataView(bytes.buffer), bytes); return survive(bytes); };
  it('whose indirect block names itself', async () => {
    await lie((view) => {
      for (let inode = 1; inode < 60; inode++) {
        const block = view.getUint32(inodeAt(inode) + EXT2.inode.block + 48, true);
        if (block !== 0) for (let i = 0; i < 256; i++) view.setUint32(block * 1024 + i * 4, block, true);
      }
    });
  });
  it('whose double and triple indirect pointers form a loop', async () => {
    await lie((view) => {
      for (let inode = 12; inode < 60; inode++) {
        const at = inodeAt(inode) + EXT2.inode.block, block = view.getUint32(at, true);
        view.setUint32(at + 52, block, true); view.setUint32(at + 56, block, true);
        view.setUint32(inodeAt(inode) + EXT2.inode.size, 0x7fffffff, true);
        if (block !== 0 && block < 3072) view.setUint32(block * 1024, block, true);
      }
    });
  });
  it('whose files point at the superblock, the bitmaps and the inode table', async () => {
    const bytes = image.slice(), view = new DataView(bytes.buffer);
    for (let inode = 12; inode < 60; inode++) for (let i = 0; i < 12; i++) view.setUint32(inodeAt(inode) + EXT2.inode.block + i * 4, 1 + (i % 6), true);
    const fs = await FileServer.start(bytes);
    exercise(fs);
    expect(() => fs.read(fs.stat('/many/n1').inode, 0, 10)).toThrow('EIO');
    const after = await FileServer.start(fs.disk.slice()); // nothing was written through the lie: it mounts again
    expect(after.stat('/lost+found').links).toBe(2);
  });
  it('whose orphan list is a loop', async () => {
    await lie((view) => {
      view.setUint32(1024 + EXT2.superblock.lastOrphan, 13, true);
      for (const [inode, next] of [[13, 14], [14, 13]] as const) { view.setUint16(inodeAt(inode) + EXT2.inode.links, 0, true); view.setUint32(inodeAt(inode) + EXT2.inode.dtime, next, true); }
    });
  });
  it('whose directory contains its own parent as a child', async () => {
    await lie((view, bytes) => {
      const at = Buffer.from(bytes).indexOf('sub');
      view.setUint32(at - 8, 2, true); // /d/sub is the root
    });
  });
  it.each([0, 1, 4, 7, 11, 13, 1020, 1028, 0xffff])('whose entries have rec_len %i', async (recLen) => {
    const bytes = image.slice(), view = new DataView(bytes.buffer), at = Buffer.from(bytes).indexOf('\x02\x01n7') + 2;
    view.setUint16(at - 4, recLen, true);
    const fs = await FileServer.start(bytes);
    expect(() => fs.stat('/many/zzz')).toThrow('EIO');
    expect(fs.stat('/d/f').size).toBe(30_000); // that directory alone
    exercise(fs);
  });
  it('whose free counters promise more than the bitmaps', async () => {
    await lie((view) => { view.setUint16(2048 + EXT2.group.freeBlocks, 60000, true); view.setUint16(2048 + EXT2.group.freeInodes, 60000, true); });
  });
  it('whose bitmaps call metadata free', async () => {
    const bytes = image.slice();
    bytes.fill(0, 3 * 1024, 5 * 1024);
    const fs = await FileServer.start(bytes);
    exercise(fs);
    expect(new DataView(fs.disk.buffer).getUint16(1024 + 56, true)).toBe(EXT2.magic);
  });
});
