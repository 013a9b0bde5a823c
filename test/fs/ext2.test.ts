/** servers/fs over images from our writer and from mkfs.ext2: every operation, judged by e2fsck, debugfs and our reader. */
import { describe, expect, it } from 'vitest';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Ext2Reader } from '../../tools/image/reader.ts';
import { buildExt2 } from '../../tools/image/writer.ts';
import { FileServer } from './machine.ts';
import { debugfs, e2fsck, haveE2fsprogs, mkfs, pattern } from './helpers.ts';

const O_CREAT = 0x40, O_EXCL = 0x80, O_TRUNC = 0x200, O_DIRECTORY = 0x10000, O_NOFOLLOW = 0x20000;

function scratch<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'kintsugi-fs-'));
  return work(folder).finally(() => rmSync(folder, { recursive: true }));
}
/** Syncs, then asks the judges about the disk as it would be after power off. */
async function judge(fs: FileServer): Promise<Ext2Reader> {
  fs.sync();
  expect(fs.check()).toBe(0);
  const reader = new Ext2Reader(fs.disk);
  expect(reader.clean).toBe(true);
  if (haveE2fsprogs()) await scratch(async (folder) => { writeFileSync(join(folder, 'disk'), fs.disk); e2fsck(join(folder, 'disk')); });
  else expect(reader.verify()).toEqual([]);
  return reader;
}
const empty = (blockSize: 1024 | 2048 | 4096, sizeMiB = 24, inodeSize: 128 | 256 = 128): Uint8Array => buildExt2({ entries: [], sizeMiB, blockSize, inodeSize });

describe.each([1024, 2048, 4096] as const)('the file server on %i-byte blocks', (blockSize) => {
  it('writes and reads files across direct, indirect and double indirect blocks', async () => {
    const fs = await FileServer.start(empty(blockSize));
    for (const [name, bytes] of [['/empty', 0], ['/one', 1], ['/direct', 12 * blockSize], ['/indirect', 13 * blockSize + 5], ['/double', 6_000_000]] as const) {
      fs.writeWhole(name, pattern(bytes, bytes));
      expect(Buffer.compare(fs.readWhole(name), pattern(bytes, bytes)), name).toBe(0);
    }
    const reader = await judge(fs);
    expect(Buffer.compare(reader.read('/double'), pattern(6_000_000, 6_000_000))).toBe(0);
    for (const name of ['/one', '/direct', '/indirect', '/double']) fs.unlink(name);
    await judge(fs);
  });
  it('reaches triple indirect blocks through a sparse file and gives all of it back', async () => {
    const fs = await FileServer.start(empty(blockSize)), before = fs.statfs().free, inode = fs.open(1, '/sparse', O_CREAT);
    const positions = [0, 100_000, 20_000_000, blockSize === 1024 ? 70_000_000 : 2_000_000_000, blockSize === 4096 ? 5_000_000_000 : 90_000_000];
    for (const position of positions) expect(fs.write(inode, position, pattern(position & 255, 3000))).toBe(3000);
    for (const position of positions) expect(Buffer.compare(fs.read(inode, position, 3000), pattern(position & 255, 3000))).toBe(0);
    expect(fs.read(inode, 50_000, 4000).every((byte) => byte === 0)).toBe(true);
    await judge(fs);
    fs.truncate(inode, 20_000_001);
    expect(fs.fstat(inode).size).toBe(20_000_001);
    await judge(fs);
    fs.truncate(inode, 0);
    fs.close(1);
    fs.unlink('/sparse');
    expect(fs.statfs().free).toBe(before);
    await judge(fs);
  });
  it('shows zeroes where a file was cut and grown again', async () => {
    const fs = await FileServer.start(empty(blockSize)), inode = fs.open(1, '/f', O_CREAT);
    fs.write(inode, 0, pattern(1, 3 * blockSize));
    fs.truncate(inode, 100);
    fs.truncate(inode, 2 * blockSize);
    expect(fs.read(inode, 100, 2 * blockSize).every((byte) => byte === 0)).toBe(true);
    fs.truncate(inode, 50);
    fs.write(inode, 5000, pattern(2, 10));
    expect(fs.read(inode, 50, 4950).every((byte) => byte === 0)).toBe(true);
    await judge(fs);
  });
  it('keeps a directory of 3000 names right while half of them go and others come', async () => {
    const fs = await FileServer.start(buildExt2({ entries: [], sizeMiB: 24, blockSize, inodes: 8192 }));
    fs.mkdir('/d');
    for (let i = 0; i < 3000; i++) { fs.open(1, `/d/name-${i}-${'x'.repeat(i % 40)}`, O_CREAT); }
    fs.close(1);
    for (let i = 0; i < 3000; i += 2) fs.unlink(`/d/name-${i}-${'x'.repeat(i % 40)}`);
    for (let i = 0; i < 300; i++) fs.link(`/d/name-1-x`, `/d/link-${i}`);
    const names = fs.readdir(fs.stat('/d').inode, 700).map((entry) => entry.name);
    expect(new Set(names).size).toBe(names.length);
    expect(names.length).toBe(2 + 1500 + 300);
    expect(fs.stat('/d/name-1-x').links).toBe(301);
    await judge(fs);
  });
  it('renames in all cases', async () => {
    const fs = await FileServer.start(empty(blockSize)), failing = (from: string, to: string): string => { try { fs.rename(from, to); return 'ok'; } catch (error) { return (error as Error).message; } };
    fs.mkdir('/a'); fs.mkdir('/a/b'); fs.mkdir('/c'); fs.mkdir('/full'); fs.writeWhole('/full/x', pattern(1, 10));
    fs.writeWhole('/f', pattern(2, 5000)); fs.writeWhole('/g', pattern(3, 6000)); fs.link('/f', '/f2');
    expect(failing('/a', '/a/b/c')).toBe('EINVAL');
    expect(failing('/a', '/a')).toBe('ok');
    expect(failing('/a', '/full')).toBe('ENOTEMPTY');
    expect(failing('/a', '/f')).toBe('ENOTDIR');
    expect(failing('/f', '/a')).toBe('EISDIR');
    expect(failing('/nothing', '/x')).toBe('ENOENT');
    expect(failing('/f/', '/x')).toBe('ENOTDIR');
    expect(failing('/', '/x')).toBe('EBUSY');
    expect(failing('/a/.', '/x')).toBe('EBUSY');
    expect(failing('/f', '/f2')).toBe('ok'); // two names of one file: nothing happens
    expect(fs.stat('/f').links).toBe(2);
    fs.rename('/f', '/g');
    expect(Buffer.compare(fs.readWhole('/g'), pattern(2, 5000))).toBe(0);
    expect(fs.stat('/f2').links).toBe(2);
    fs.rename('/a/b', '/c'); // over an empty directory elsewhere
    expect(fs.stat('/a').links).toBe(2);
    expect(fs.stat('/').links).toBe(2 + 4);
    fs.rename('/full', '/c/moved');
    expect(fs.stat('/c/moved/../x'.replace('/x', '')).inode).toBe(fs.stat('/c').inode);
    expect(fs.stat('/c/moved/..').inode).toBe(fs.stat('/c').inode);
    fs.rename('/c/moved/x', '/c/moved/a-much-longer-name-than-before');
    const reader = await judge(fs);
    expect([...reader.walk()].map((entry) => entry.path).sort()).toEqual(['/', '/a', '/c', '/c/moved', '/c/moved/a-much-longer-name-than-before', '/f2', '/g', '/lost+found']);
  });
  it('keeps an unlinked file alive while it is open, and frees it at close', async () => {
    const fs = await FileServer.start(empty(blockSize)), before = fs.statfs().free, inode = fs.open(5, '/f', O_CREAT);
    fs.open(6, '/f');
    fs.write(inode, 0, pattern(1, 300_000));
    fs.unlink('/f');
    fs.close(5);
    expect(Buffer.compare(fs.read(inode, 0, 300_000), pattern(1, 300_000))).toBe(0);
    expect(fs.write(inode, 300_000, pattern(2, 1000))).toBe(1000);
    fs.close(6);
    expect(fs.statfs().free).toBe(before);
    expect(() => fs.read(inode, 0, 10)).toThrow('ESTALE');
    await judge(fs);
  });
  it('fills the disk to the last block, says ENOSPC, and is clean', async () => {
    const fs = await FileServer.start(empty(blockSize, 5), { cacheBytes: 2 << 20 }), inode = fs.open(1, '/big', O_CREAT);
    let at = 0;
    try { for (;;) at += fs.write(inode, at, pattern(at & 255, 100_000)); } catch (error) { expect((error as Error).message).toBe('ENOSPC'); }
    expect(fs.statfs().free).toBeLessThan(3);
    expect(fs.fstat(inode).size).toBe(at);
    expect(() => fs.mkdir('/no')).toThrow('ENOSPC');
    await judge(fs);
    fs.unlink('/big'); fs.close(1);
    fs.mkdir('/yes');
    await judge(fs);
  });
});

describe('the file server', () => {
  it('opens with the error numbers of Linux', async () => {
    const fs = await FileServer.start(empty(1024)), failing = (work: () => unknown): string => { try { work(); return 'ok'; } catch (error) { return (error as Error).message; } };
    fs.mkdir('/d'); fs.writeWhole('/f', pattern(1, 1000));
    fs.symlink('f', '/s'); fs.symlink('/d/../f', '/abs'); fs.symlink('loop', '/loop'); fs.symlink('nowhere', '/dangling'); fs.symlink('d', '/sd');
    expect(failing(() => fs.open(1, '/x'))).toBe('ENOENT');
    expect(failing(() => fs.open(1, '/f', O_CREAT | O_EXCL))).toBe('EEXIST');
    expect(failing(() => fs.open(1, '/s', O_CREAT | O_EXCL))).toBe('EEXIST');
    expect(failing(() => fs.open(1, '/s', O_NOFOLLOW))).toBe('ELOOP');
    expect(failing(() => fs.open(1, '/loop'))).toBe('ELOOP');
    expect(failing(() => fs.open(1, '/d', 1))).toBe('EISDIR');
    expect(failing(() => fs.open(1, '/f', O_DIRECTORY))).toBe('ENOTDIR');
    expect(failing(() => fs.open(1, '/f/x'))).toBe('ENOTDIR');
    expect(failing(() => fs.open(1, '/f/'))).toBe('ENOTDIR');
    expect(failing(() => fs.open(1, '/new/', O_CREAT))).toBe('EISDIR');
    expect(failing(() => fs.open(1, '/' + 'n'.repeat(256), O_CREAT))).toBe('ENAMETOOLONG');
    expect(failing(() => fs.open(1, ''.padEnd(4096, '/')))).toBe('ENAMETOOLONG');
    expect(fs.open(1, '/s')).toBe(fs.stat('/f').inode);
    expect(fs.open(1, '/abs')).toBe(fs.stat('/f').inode);
    expect(fs.open(1, '/sd/../././/sd/../f')).toBe(fs.stat('/f').inode);
    expect(fs.stat('/sd/').inode).toBe(fs.stat('/d').inode);
    fs.open(1, '/dangling', O_CREAT); // creates what the link names
    expect(fs.stat('/nowhere').size).toBe(0);
    fs.open(1, '/f', O_TRUNC | 1);
    expect(fs.stat('/f').size).toBe(0);
    expect(failing(() => fs.unlink('/d'))).toBe('EISDIR');
    expect(failing(() => fs.rmdir('/f'))).toBe('ENOTDIR');
    expect(failing(() => fs.rmdir('/'))).toBe('EBUSY');
    expect(failing(() => fs.rmdir('/d/.'))).toBe('EINVAL');
    expect(failing(() => fs.rmdir('/d/..'))).toBe('EBUSY');
    expect(failing(() => fs.mkdir('/d'))).toBe('EEXIST');
    expect(failing(() => fs.mkdir('/x/y'))).toBe('ENOENT');
    expect(failing(() => fs.link('/d', '/l'))).toBe('EPERM');
    expect(failing(() => fs.readlink('/f'))).toBe('EINVAL');
    fs.close(1);
    await judge(fs);
  });
  it('makes fast and slow symlinks that debugfs reads', async () => {
    const fs = await FileServer.start(empty(1024));
    for (const length of [1, 59, 60, 1000, 1023]) {
      const target = 't/'.repeat(length).slice(0, length);
      fs.symlink(target, `/link-${length}`);
      expect(fs.readlink(`/link-${length}`)).toBe(target);
    }
    for (const length of [1024, 4096]) expect(() => fs.symlink('x'.repeat(length), '/too-long')).toThrow('ENAMETOOLONG');
    const reader = await judge(fs);
    expect(Buffer.from(reader.read('/link-1000')).length).toBe(1000);
    for (const length of [59, 60, 1023]) fs.unlink(`/link-${length}`);
    await judge(fs);
  });
  it('refuses what it cannot mount, with the reason', async () => {
    const refused = async (change: (image: Uint8Array, view: DataView) => void): Promise<string> => {
      const image = empty(1024, 4);
      change(image, new DataView(image.buffer));
      try { await FileServer.start(image); return 'mounted'; } catch (error) { return (error as Error).message; }
    };
    expect(await refused((image) => { image[1024 + 56] = 0; })).toBe('refused: magic');
    expect(await refused((_, view) => view.setUint32(1024 + 24, 7, true))).toBe('refused: block size');
    expect(await refused((_, view) => view.setUint32(1024 + 96, 0x42, true))).toBe('refused: feature');
    expect(await refused((_, view) => view.setUint32(1024 + 4, 0x7fffffff, true))).toMatch(/refused: (device|geometry)/);
    expect(await refused((_, view) => view.setUint32(1024 + 4, 4097, true))).toMatch(/refused: (device|geometry)/);
    expect(await refused((_, view) => view.setUint16(1024 + 88, 129, true))).toBe('refused: inode size');
    expect(await refused((_, view) => view.setUint32(1024 + 32, 0, true))).toBe('refused: geometry');
    expect(await refused((_, view) => view.setUint32(1024 + 40, 0, true))).toBe('refused: geometry');
    expect(await refused((_, view) => view.setUint32(2048 + 8, 0xfffffff0, true))).toBe('refused: descriptor');
    const image = empty(1024, 4);
    new DataView(image.buffer).setUint32(1024 + 100, 0x400, true); // metadata_csum: read-only compatible
    const fs = await FileServer.start(image);
    expect(fs.counter('readOnly')).toBe(1);
    expect(() => fs.mkdir('/x')).toThrow('EROFS');
    expect(() => fs.open(1, '/x', O_CREAT)).toThrow('EROFS');
    fs.sync();
  });
  it('never calls a volume clean that was not clean at mount', async () => {
    const image = empty(1024, 4);
    new DataView(image.buffer).setUint16(1024 + 58, 0, true);
    const fs = await FileServer.start(image);
    fs.mkdir('/x');
    fs.sync();
    expect(new Ext2Reader(fs.disk).clean).toBe(false);
  });
  it('marks the volume in use before the first change reaches the disk, and clean after each sync', async () => {
    const fs = await FileServer.start(empty(1024, 4));
    expect(new Ext2Reader(fs.disk).clean).toBe(true);
    fs.mkdir('/x');
    expect(new Ext2Reader(fs.disk).clean).toBe(false);
    fs.sync();
    expect(new Ext2Reader(fs.disk).clean).toBe(true);
  });
  it('frees at mount the orphans of a power cut', async () => {
    const fs = await FileServer.start(empty(1024)), before = fs.statfs().free;
    for (let i = 0; i < 3; i++) { const inode = fs.open(i, `/f${i}`, O_CREAT); fs.write(inode, 0, pattern(i, 400_000)); fs.unlink(`/f${i}`); }
    fs.sync();
    const after = await FileServer.start(fs.disk.slice()); // power comes back: state and cache are gone
    expect(after.counter('orphansFreed')).toBe(3);
    expect(after.statfs().free).toBe(before);
    await judge(after);
  });
  it('confines a bad sector to what lies on it', async () => {
    const image = buildExt2({ entries: [{ kind: 'file', path: '/good', data: pattern(1, 20_000) }, { kind: 'file', path: '/bad', data: pattern(2, 20_000) }], sizeMiB: 8, blockSize: 1024 });
    const reader = new Ext2Reader(image), at = Buffer.from(image).indexOf(pattern(2, 20_000).subarray(8192, 8292));
    expect(reader.verify()).toEqual([]);
    const fs = await FileServer.start(image);
    fs.badSectors.add(at / 512);
    const inode = fs.open(1, '/bad');
    expect(fs.read(inode, 0, 8192).length).toBe(8192);
    expect(() => fs.read(inode, 8192, 100)).toThrow('EIO');
    expect(fs.read(inode, 0, 20_000).length).toBe(8192); // up to the bad block
    expect(Buffer.compare(fs.read(inode, 9216, 5000), pattern(2, 20_000).subarray(9216, 14_216))).toBe(0);
    expect(Buffer.compare(fs.readWhole('/good'), pattern(1, 20_000))).toBe(0);
    fs.close(1);
    fs.badSectors.clear();
    await judge(fs);
  });
  it('sees a wild write into cached metadata: reads the block again when it is clean, EIO when it is the only copy', async () => {
    const fs = await FileServer.start(empty(1024));
    fs.mkdir('/d'); fs.writeWhole('/d/f', pattern(1, 100));
    fs.sync();
    const directory = fs.stat('/d').inode;
    const block = Buffer.from(fs.cache).indexOf(Buffer.concat([Buffer.from(Uint32Array.of(directory).buffer), Buffer.from([12, 0, 1, 2, 0x2e])]));
    expect(block).toBeGreaterThan(0);
    fs.wildWrite(block + 2, 0x7f);
    expect(fs.stat('/d/f').size).toBe(100);
    expect(fs.counter('checksumFailures')).toBe(1);
    fs.chmod('/d/f', 0o600); fs.link('/d/f', '/d/g'); // now the directory block is dirty
    const again = Buffer.from(fs.cache).indexOf(Buffer.concat([Buffer.from(Uint32Array.of(directory).buffer), Buffer.from([12, 0, 1, 2, 0x2e])]));
    fs.wildWrite(again + 2, 0x7f);
    expect(() => fs.stat('/d/f')).toThrow('EIO');
    expect(fs.readdir(2).length).toBeGreaterThan(2);
  });
  it('refuses a key that comes back with another request', async () => {
    const fs = await FileServer.start(empty(1024)), { PATH_AT } = await import('./machine.ts');
    fs.putShared(PATH_AT, Buffer.from('/x'));
    expect(fs.raw('mkdir', [2, PATH_AT, 2, 0o755])).toBe(0);
    const inode = fs.result(0);
    expect(fs.raw('mkdir', [2, PATH_AT, 2, 0o755], true)).toBe(0); // the stored reply, not EEXIST
    expect(fs.result(0)).toBe(inode);
    expect(fs.raw('rmdir', [2, PATH_AT, 2], true)).toBe(-22);
  });
  it('refuses ranges outside the shared area', async () => {
    const fs = await FileServer.start(buildExt2({ entries: [{ kind: 'file', path: '/f', data: pattern(1, 5000) }], sizeMiB: 4, blockSize: 1024 })), inode = fs.open(1, '/f');
    for (const [offset, bytes] of [[1 << 20, 1], [0, (1 << 20) + 1], [0xfffffff0, 0x20], [0xffffffff, 1], [1, 0xffffffff]] as const) {
      expect(fs.raw('read', [inode, 0, 0, offset, bytes])).toBe(-22);
      expect(fs.raw('write', [inode, 0, 0, offset, bytes])).toBe(-22);
      expect(fs.raw('readdir', [2, 0, offset, bytes])).toBe(-22);
      expect(fs.raw('mkdir', [2, offset, bytes, 0])).toBeLessThan(0);
    }
  });
  it('closes files of a dead client: retain', async () => {
    const fs = await FileServer.start(empty(1024)), before = fs.statfs().free, { DATA_AT } = await import('./machine.ts');
    const first = fs.open(10, '/a', O_CREAT), second = fs.open(20, '/b', O_CREAT);
    fs.write(first, 0, pattern(1, 5000)); fs.write(second, 0, pattern(1, 5000));
    fs.unlink('/a'); fs.unlink('/b');
    fs.putShared(DATA_AT, new Uint8Array(Uint32Array.of(20).buffer));
    expect(fs.raw('retain', [DATA_AT, 1])).toBe(0);
    expect(fs.result(0)).toBe(1);
    expect(() => fs.read(first, 0, 1)).toThrow('ESTALE');
    expect(fs.read(second, 0, 5).length).toBe(5);
    fs.close(20);
    expect(fs.statfs().free).toBe(before);
  });
});

describe.skipIf(!haveE2fsprogs())('on images of mkfs.ext2', () => {
  it.each([['1024', '128'], ['1024', '256'], ['2048', '256'], ['4096', '256'], ['4096', '128']])('with %s-byte blocks and %s-byte inodes: works and debugfs agrees', (blockSize, inodeSize) => scratch(async (folder) => {
    const path = join(folder, 'disk');
    writeFileSync(path, new Uint8Array(40 << 20));
    mkfs(path, ['-b', blockSize, '-I', inodeSize, '-L', 'test']);
    const fs = await FileServer.start(new Uint8Array(readFileSync(path)));
    fs.mkdir('/dir');
    for (let i = 0; i < 200; i++) fs.writeWhole(`/dir/file-${i}`, pattern(i, i * 300));
    fs.writeWhole('/large', pattern(7, 5_000_000));
    for (let i = 0; i < 200; i += 3) fs.unlink(`/dir/file-${i}`);
    await judge(fs);
    writeFileSync(path, fs.disk);
    debugfs(path, `dump /large ${join(folder, 'large')}`);
    expect(Buffer.compare(readFileSync(join(folder, 'large')), pattern(7, 5_000_000))).toBe(0);
    debugfs(path, `dump /dir/file-100 ${join(folder, 'f')}`);
    expect(Buffer.compare(readFileSync(join(folder, 'f')), pattern(100, 30_000))).toBe(0);
    expect(debugfs(path, 'ls -p /dir').split('\n').filter((line) => line.includes('file-') && !line.startsWith('/0/')).length).toBe(133);
  }));
  it('reads what debugfs wrote', () => scratch(async (folder) => {
    const path = join(folder, 'disk');
    writeFileSync(path, new Uint8Array(8 << 20));
    mkfs(path, ['-b', '1024']);
    writeFileSync(join(folder, 'content'), pattern(3, 700_000));
    debugfs(path, 'mkdir sub');
    const { execFileSync } = await import('node:child_process');
    execFileSync('/usr/sbin/debugfs', ['-w', '-R', `write ${join(folder, 'content')} file`, path], { stdio: 'ignore' });
    execFileSync('/usr/sbin/debugfs', ['-w', '-R', 'symlink link file', path], { stdio: 'ignore' });
    const fs = await FileServer.start(new Uint8Array(readFileSync(path)));
    expect(Buffer.compare(fs.readWhole('/file'), pattern(3, 700_000))).toBe(0);
    expect(fs.readlink('/link')).toBe('file');
  }));
});
