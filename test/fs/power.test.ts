/**
 * Power cuts: the disk as it is after any number of block writes. What was synced before must survive e2fsck, whatever else was going on;
 * e2fsck must be able to mend the volume, and fs must mount it again.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Ext2Reader } from '../../tools/image/reader.ts';
import { buildExt2 } from '../../tools/image/writer.ts';
import { Death, FileServer } from './machine.ts';
import { haveE2fsprogs, pattern } from './helpers.ts';

let folder = '';
beforeAll(() => { folder = mkdtempSync(join(tmpdir(), 'kintsugi-fs-')); });
afterAll(() => rmSync(folder, { recursive: true }));

const tolerant = (work: () => void): void => { try { work(); } catch (error) { if (error instanceof Death) throw error; } };
/** Work that leaves /keep alone; forced write-back by a small cache. */
function disturb(fs: FileServer, seed: number): void {
  for (let i = 0; i < 30; i++) {
    const n = (seed * 31 + i * 7) % 40;
    fs.writeWhole(`/w${n % 10}`, pattern(n, n * 9000));
    if (n % 3 === 0) fs.rename(`/w${n % 10}`, `/v${n % 5}`);
    if (n % 4 === 0) tolerant(() => fs.unlink(`/v${n % 5}`));
    if (n % 6 === 0) tolerant(() => { fs.mkdir(`/dir${n}`); });
  }
}

describe.skipIf(!haveE2fsprogs())('after a power cut', () => {
  it.each([1024, 4096] as const)('synced files are intact, on %i-byte blocks', async (blockSize) => {
    const cuts = process.env['KINTSUGI_FULL'] ? 60 : 5;
    for (let cut = 0; cut < cuts; cut++) {
      const fs = await FileServer.start(buildExt2({ entries: [], sizeMiB: 12, blockSize }), { cacheBytes: blockSize * 280 });
      fs.mkdir('/keep');
      for (let i = 0; i < 12; i++) fs.writeWhole(`/keep/f${i}`, pattern(i, i * 5000 + 1));
      fs.sync();
      fs.powerCut = true;
      fs.countdown = 40 + ((cut * 2654435761) >>> 0) % 4000;
      try { disturb(fs, cut); } catch (error) { if (!(error instanceof Death)) throw error; }
      const path = join(folder, 'disk');
      writeFileSync(path, fs.disk);
      const result = spawnSync('/usr/sbin/e2fsck', ['-fy', path], { encoding: 'utf8' });
      expect(result.status, result.stdout).toBeLessThan(4); // 0 clean, 1 mended
      const disk = new Uint8Array(readFileSync(path)), reader = new Ext2Reader(disk);
      for (let i = 0; i < 12; i++) expect(Buffer.compare(reader.read(`/keep/f${i}`), pattern(i, i * 5000 + 1)), `cut ${cut}: /keep/f${i}`).toBe(0);
      const again = await FileServer.start(disk);
      expect(again.stat('/keep').mode & 0o777).toBe(0o755);
    }
  }, 300_000);
});
