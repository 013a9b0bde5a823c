/** tools/image: what the writer makes is a valid ext2 file system by three judges: our reader, e2fsck and debugfs. */
import { describe, expect, it } from 'vitest';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeSparse } from '../../tools/image/file.ts';
import { Ext2Reader } from '../../tools/image/reader.ts';
import { buildExt2, type BuildOptions } from '../../tools/image/writer.ts';
import type { Entry } from '../../tools/image/entries.ts';
import { debugfs, e2fsck, haveE2fsprogs, pattern } from './helpers.ts';

const CONTENT: readonly Entry[] = [
  { kind: 'directory', path: '/bin', mode: 0o755 },
  { kind: 'file', path: '/bin/sh', data: pattern(1, 40_000), mode: 0o755 },
  { kind: 'file', path: '/empty', data: new Uint8Array(0) },
  { kind: 'file', path: '/indirect', data: pattern(2, 200_000) },
  { kind: 'file', path: '/double', data: pattern(3, 5_500_000) },
  { kind: 'symlink', path: '/fast', target: 'bin/sh' },
  { kind: 'symlink', path: '/slow', target: 'x/'.repeat(100) + 'y' },
  { kind: 'symlink', path: '/edge59', target: 'a'.repeat(59) },
  { kind: 'symlink', path: '/edge60', target: 'b'.repeat(60) },
  { kind: 'link', path: '/bin/bash', target: '/bin/sh' },
  ...Array.from({ length: 600 }, (_, i): Entry => ({ kind: 'file', path: `/many/entry-with-a-longer-name-${i}`, data: pattern(i, i % 50), mode: 0o600 })),
  { kind: 'file', path: '/deep/a/b/c/d/e', data: pattern(9, 10) },
];

function check(options: BuildOptions): Ext2Reader {
  const image = buildExt2(options), reader = new Ext2Reader(image);
  expect(reader.verify()).toEqual([]);
  for (const entry of options.entries) {
    if (entry.kind === 'file') expect(Buffer.compare(reader.read(entry.path), entry.data), entry.path).toBe(0);
    if (entry.kind === 'symlink') expect(Buffer.from(reader.read(entry.path)).toString()).toBe(entry.target);
  }
  return reader;
}

describe.each([[1024, 128], [2048, 256], [4096, 128], [4096, 256]] as const)('the ext2 writer with %i-byte blocks and %i-byte inodes', (blockSize, inodeSize) => {
  it('makes an image that our reader and e2fsck find consistent, and debugfs reads back', () => {
    const folder = mkdtempSync(join(tmpdir(), 'kintsugi-image-'));
    try {
      const reader = check({ entries: CONTENT, sizeMiB: 24, blockSize, inodeSize, label: 'root' });
      expect(reader.inode(reader.lookup('/bin/sh')!)).toMatchObject({ links: 2, mode: 0o100755, size: 40_000 });
      expect(reader.inode(reader.lookup('/many')!)).toMatchObject({ kind: 'directory', links: 2 });
      expect(reader.clean).toBe(true);
      if (!haveE2fsprogs()) return console.warn('e2fsprogs is not installed: e2fsck was not asked');
      const path = join(folder, 'image');
      writeSparse(path, reader.bytes);
      e2fsck(path);
      debugfs(path, `dump /double ${join(folder, 'double')}`);
      expect(Buffer.compare(readFileSync(join(folder, 'double')), pattern(3, 5_500_000))).toBe(0);
      expect(debugfs(path, 'stat /slow')).toContain('Type: symlink');
    } finally { rmSync(folder, { recursive: true }); }
  });
});

describe('the ext2 writer', () => {
  it('makes the same bytes from the same input, and others with another label', () => {
    const options = { entries: CONTENT.slice(0, 8), sizeMiB: 16, label: 'a' };
    expect(Buffer.compare(buildExt2(options), buildExt2(options))).toBe(0);
    expect(Buffer.compare(buildExt2(options), buildExt2({ ...options, label: 'b' }))).not.toBe(0);
  });
  it('spans several groups with a short last one', () => {
    const folder = mkdtempSync(join(tmpdir(), 'kintsugi-image-'));
    try {
      for (const sizeMiB of [9, 17, 33, 65]) {
        const reader = check({ entries: [{ kind: 'file', path: '/f', data: pattern(4, sizeMiB * 700_000) }], sizeMiB, blockSize: 1024 });
        if (!haveE2fsprogs()) continue;
        writeSparse(join(folder, 'image'), reader.bytes);
        e2fsck(join(folder, 'image'));
      }
    } finally { rmSync(folder, { recursive: true }); }
  });
  it('leaves holes where a sparse file is zero', () => {
    const data = new Uint8Array(3_000_000);
    data.set(pattern(5, 1000), 2_900_000);
    const reader = check({ entries: [{ kind: 'file', path: '/holes', data, sparse: true }], sizeMiB: 16, blockSize: 1024 });
    expect(reader.inode(reader.lookup('/holes')!).blocks512).toBeLessThan(20);
  });
  it('refuses what cannot be done, in words', () => {
    expect(() => buildExt2({ entries: [{ kind: 'file', path: '/f', data: new Uint8Array(3_000_000).fill(1) }], sizeMiB: 2 })).toThrow(/does not fit/);
    expect(() => buildExt2({ entries: [{ kind: 'file', path: '/../f', data: new Uint8Array(1) }], sizeMiB: 2 })).toThrow(/"\.\."/);
    expect(() => buildExt2({ entries: [{ kind: 'file', path: '/' + 'n'.repeat(256), data: new Uint8Array(1) }], sizeMiB: 2 })).toThrow(/255/);
    expect(() => new Ext2Reader(new Uint8Array(4096))).toThrow(/bad magic/);
  });
  it('shows damage: the verifier sees a flipped bitmap bit', () => {
    const image = buildExt2({ entries: CONTENT.slice(0, 5), sizeMiB: 16, blockSize: 1024 });
    image[3 * 1024 + 20] ^= 4;
    expect(new Ext2Reader(image).verify()).not.toEqual([]);
  });
});
