// The second opinion before a commit: whichever single comparison of an operation overlooks a difference (a fault of the server's own text), nothing wrong is committed.
import { describe, expect, it } from 'vitest';
import { Ext2Reader } from '../../tools/image/reader.ts';
import { buildExt2 } from '../../tools/image/writer.ts';
import { FileServer } from './machine.ts';
import { pattern } from './helpers.ts';

const FULL = process.env['KINTSUGI_FULL'] !== undefined;
/** So many calls of each operation are struck, evenly. */
const SAMPLE = 24;
const image = buildExt2({ entries: [], sizeMiB: 4, blockSize: 1024 });
const OPERATIONS: Readonly<Record<string, (fs: FileServer) => void>> = {
  write: (fs) => fs.writeWhole('/new', pattern(3, 3000)),
  mkdir: (fs) => void fs.mkdir('/d'),
  rename: (fs) => fs.rename('/old', '/moved'),
  unlink: (fs) => fs.unlink('/old'),
};
const start = async (): Promise<FileServer> => { const fs = await FileServer.start(image.slice()); fs.writeWhole('/old', pattern(1, 5000)); fs.sync(); return fs; };
const tree = (fs: FileServer): string[] => {
  fs.sync();
  const reader = new Ext2Reader(fs.disk);
  expect(reader.verify()).toEqual([]);
  return [...reader.walk()].map(({ path, kind, inode }) => `${path} ${kind}${kind === 'file' ? ` ${Buffer.from(reader.content(inode)).toString('hex').slice(0, 200)}` : ''}`);
};

describe('a comparison that overlooks a difference', () => {
  it.each(Object.entries(OPERATIONS))('anywhere in %s costs a death, or nothing', async (_, operation) => {
    const golden = await start(), before = golden.differs;
    operation(golden);
    const calls = golden.differs - before, right = tree(golden);
    expect(calls).toBeGreaterThan(30);
    let deaths = 0;
    for (let n = 0; n < calls; n += FULL ? 1 : Math.ceil(calls / SAMPLE)) {
      const fs = await start();
      fs.lieAt = fs.differs + n;
      operation(fs);
      deaths += fs.deaths;
      fs.lieAt = -1;
      expect(tree(fs), `call ${n} of ${calls}`).toEqual(right);
      expect(fs.check()).toBe(0);
    }
    expect(deaths).toBeGreaterThan(3);
  });
});
