// Takeover of a damaged state: the record that fails its check is refused, alone, and everything else goes on.
import { describe, expect, it } from 'vitest';
import { buildExt2 } from '../../tools/image/writer.ts';
import { FileServer } from './machine.ts';
import { pattern } from './helpers.ts';

// servers/fs/state.ts
const FILES_AT = 4096, FILE_BYTES = 16, REPLIES_AT = 20480, REPLY_BYTES = 64, SLOTS_AT = 28672, SLOT_BYTES = 16, FLAG_DIRTY = 2;
const fresh = (): Promise<FileServer> => FileServer.start(buildExt2({ entries: [], sizeMiB: 8, blockSize: 4096 }));
const view = (fs: FileServer): DataView => new DataView(fs.state.buffer, fs.state.byteOffset, fs.state.byteLength);
/** Offsets of the slot entries that hold something clean. */
function slots(fs: FileServer): number[] {
  const v = view(fs), found: number[] = [], count = v.getUint32(8, true);
  for (let n = 0; n < count; n++) {
    const at = SLOTS_AT + n * SLOT_BYTES, flags = v.getUint32(at + 4, true);
    if ((flags & 1) !== 0 && (flags & FLAG_DIRTY) === 0) found.push(at);
  }
  return found;
}
const flip = (fs: FileServer, at: number, bit = 0): void => { fs.state[at]! ^= 1 << bit; };

describe('attach to a damaged state', () => {
  it('drops a damaged cache slot, keeps all others, and reads its block again from the disk', async () => {
    const fs = await fresh();
    for (let n = 0; n < 6; n++) fs.writeWhole(`/f${n}`, pattern(n, 20_000));
    fs.sync();
    const clean = slots(fs);
    expect(clean.length).toBeGreaterThan(20);
    for (const at of clean.filter((_, n) => n % 3 === 0)) flip(fs, at + 12, 5);
    fs.boot();
    expect(fs.counter('attached')).toBe(1);
    expect(fs.counter('droppedSlots')).toBe(Math.ceil(clean.length / 3));
    for (let n = 0; n < 6; n++) expect(Buffer.compare(fs.readWhole(`/f${n}`), pattern(n, 20_000)), `/f${n}`).toBe(0);
  });
  it('reads nothing from the disk when the state is whole, and the superblock again when its copy is damaged', async () => {
    const fs = await fresh();
    fs.writeWhole('/kept', pattern(3, 9000));
    fs.sync();
    for (const sector of [2, 3]) fs.badSectors.add(sector);
    fs.boot();
    expect([fs.counter('attached'), fs.counter('readBlocks')]).toEqual([1, 0]);
    expect(Buffer.compare(fs.readWhole('/kept'), pattern(3, 9000))).toBe(0);
    flip(fs, 1024 + 40, 2);
    expect(() => { fs.boot(); }).toThrow();
    fs.badSectors.clear();
    fs.boot();
    expect(fs.counter('attached')).toBe(1);
    expect(Buffer.compare(fs.readWhole('/kept'), pattern(3, 9000))).toBe(0);
  });
  it('closes the one open file whose record is damaged, and keeps the others open, unlinked ones too', async () => {
    const fs = await fresh();
    const inodes = [1, 2, 3].map((id) => { const inode = fs.open(id, `/f${id}`, 0x42); fs.write(inode, 0, pattern(id, 5000)); fs.unlink(`/f${id}`); return inode; });
    const v = view(fs);
    const at = Array.from({ length: 1024 }, (_, n) => FILES_AT + n * FILE_BYTES).find((p) => v.getUint32(p, true) === 2 && v.getUint32(p + 4, true) === inodes[1])!;
    flip(fs, at + 8, 3);
    fs.boot();
    expect(fs.counter('orphansFreed')).toBe(1); // nobody holds it any more
    expect(() => fs.read(inodes[1]!, 0, 5000)).toThrow(/ESTALE|EBADF|EIO/);
    for (const id of [1, 3]) expect(Buffer.compare(fs.read(inodes[id - 1]!, 0, 5000), pattern(id, 5000))).toBe(0);
  });
  it('answers a request whose stored reply is damaged with EIO instead of doing it twice', async () => {
    const fs = await fresh();
    const inode = fs.open(1, '/log', 0x42);
    fs.write(inode, 0, Buffer.from('once'), true);
    const v = view(fs), replies = Array.from({ length: 128 }, (_, n) => REPLIES_AT + n * REPLY_BYTES);
    const last = replies.reduce((a, b) => (v.getUint32(b + 40, true) > v.getUint32(a + 40, true) ? b : a));
    flip(fs, last + 24, 1);
    fs.boot();
    expect(fs.raw('write', [inode, 0, 0, 16384, 4, 1], true)).toBe(-5);
    expect(fs.fstat(inode).size).toBe(4);
  });
  it('a damaged header means a cold start from the disk, unclean, not a wrong one', async () => {
    const fs = await fresh();
    fs.writeWhole('/kept', pattern(4, 9000));
    fs.sync();
    flip(fs, 8);
    fs.boot();
    expect(Buffer.compare(fs.readWhole('/kept'), pattern(4, 9000))).toBe(0);
  });
});
