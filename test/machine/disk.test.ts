import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Disk, DiskError, openDisk } from '../../vm/io/disk.ts';

const flock = spawnSync('flock', ['--version']).error === undefined;
let directory = '';
beforeEach(() => { directory = fs.mkdtempSync(path.join(os.tmpdir(), 'kintsugi-disk-')); });
afterEach(() => { vi.unstubAllEnvs(); fs.rmSync(directory, { recursive: true, force: true }); });
function image(bytes: number, name = 'disk.img'): string {
  const file = path.join(directory, name);
  fs.writeFileSync(file, new Uint8Array(bytes).map((_, k) => (k >> 9) & 0xff));
  return file;
}
const codeOf = (body: () => unknown): string => { try { body(); return 'none'; } catch (error) { expect(error).toBeInstanceOf(DiskError); return (error as DiskError).code; } };

describe('disk images', () => {
  it('are refused when missing, empty, truncated or not a file, by name', () => {
    expect(codeOf(() => openDisk({ file: path.join(directory, 'no') }, 0))).toBe('missing');
    expect(codeOf(() => openDisk({ file: image(0) }, 0))).toBe('empty');
    expect(codeOf(() => openDisk({ file: image(1000) }, 0))).toBe('truncated');
    expect(codeOf(() => openDisk({ file: directory }, 0))).toBe('unreadable');
    expect(() => openDisk({ file: image(1000) }, 0)).toThrow(/disk\.img: 1000 bytes is not a multiple of 512/);
  });

  it('raw: writes reach the file, which never grows', () => {
    const file = image(8192);
    const opened = openDisk({ file, overlay: false }, 0);
    const disk = new Disk(opened.descriptor);
    expect(disk.write(1024, new Uint8Array(512).fill(0xab))).toBe(true);
    expect(disk.write(8192, new Uint8Array(512))).toBe(false);
    expect(disk.write(7680, new Uint8Array(1024))).toBe(false);
    expect(disk.flush()).toBe(true);
    opened.close();
    const after = fs.readFileSync(file);
    expect(after.length).toBe(8192);
    expect(after.subarray(1024, 1536).every((byte) => byte === 0xab)).toBe(true);
    expect(after[1536]).toBe(3);
  });

  it('overlay: reads see writes, the file does not', () => {
    const file = image(10 * 512); // not a multiple of the overlay's block
    const opened = openDisk({ file }, 0);
    const disk = new Disk(opened.descriptor);
    expect(disk.write(9 * 512, new Uint8Array(512).fill(0xee))).toBe(true);
    const back = new Uint8Array(10 * 512);
    expect(disk.read(0, back)).toBe(true);
    expect([back[8 * 512], back[9 * 512]]).toEqual([8, 0xee]);
    expect(new Disk(opened.descriptor).read(9 * 512, back.subarray(0, 512))).toBe(true); // another thread's view
    expect(back[0]).toBe(0xee);
    opened.close();
    expect(fs.readFileSync(file)[9 * 512]).toBe(9);
  });

  it('readonly refuses writes', () => {
    const disk = new Disk(openDisk({ file: image(4096), readOnly: true }, 0).descriptor);
    expect(disk.write(0, new Uint8Array(512))).toBe(false);
    expect(disk.readOnly).toBe(true);
  });

  it('a raw image is locked while in use, and free afterwards', () => {
    const file = image(4096);
    const first = openDisk({ file, overlay: false }, 0);
    expect(codeOf(() => openDisk({ file, overlay: false }, 1))).toBe('in-use');
    openDisk({ file }, 2).close(); // an overlay only reads
    first.close();
    expect(fs.existsSync(`${file}.lock`)).toBe(false);
    openDisk({ file, overlay: false }, 1).close();
  });

  it.skipIf(!flock)('a locked image is locked under its other names too, and the message names the process', () => {
    const file = image(4096);
    fs.symlinkSync(file, `${file}-symbolic`);
    fs.linkSync(file, `${file}-hard`);
    const first = openDisk({ file, overlay: false }, 0);
    for (const name of [`${file}-symbolic`, `${file}-hard`]) {
      expect(codeOf(() => openDisk({ file: name, overlay: false }, 1))).toBe('in-use');
      expect(() => openDisk({ file: name, overlay: false }, 1)).toThrow(new RegExp(`in use by process ${process.pid} `));
    }
    first.close();
    openDisk({ file: `${file}-hard`, overlay: false }, 1).close();
  });

  it('without flock: locks by a file beside the image, takes over the lock of a process that is gone, and respects a live one', () => {
    vi.stubEnv('PATH', '');
    const file = image(4096);
    fs.symlinkSync(file, `${file}-symbolic`);
    const first = openDisk({ file, overlay: false }, 0);
    expect(codeOf(() => openDisk({ file: `${file}-symbolic`, overlay: false }, 1))).toBe('in-use');
    first.close();
    expect(fs.existsSync(`${file}.lock`)).toBe(false);
    fs.writeFileSync(`${file}.lock`, '999999999\n');
    openDisk({ file, overlay: false }, 0).close();
    fs.writeFileSync(`${file}.lock`, '1\n');
    expect(() => openDisk({ file, overlay: false }, 0)).toThrow(/in use by Kintsugi process 1/);
    expect(fs.readFileSync(`${file}.lock`, 'utf8')).toBe('1\n');
  });
});
