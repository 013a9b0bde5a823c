// Blocks that were metadata, freed by a request in which fs died, become data of another file: nothing of what they were may stand in the way.
import { describe, expect, it } from 'vitest';
import { buildExt2 } from '../../tools/image/writer.ts';
import { FileServer } from './machine.ts';
import { pattern } from './helpers.ts';

const BLOCK = 1024, BIG = 300 * BLOCK; // an indirect and a double indirect block, and one below it
const image = buildExt2({ entries: [], sizeMiB: 4, blockSize: BLOCK });

/** fs dies at event `death` of freeing /big; then one file takes every free block. Events that freeing takes in all. */
async function reuse(death: number, free: (fs: FileServer) => void): Promise<number> {
  const fs = await FileServer.start(image.slice());
  fs.writeWhole('/big', pattern(1, BIG));
  fs.sync();
  expect(Buffer.compare(fs.readWhole('/big'), pattern(1, BIG))).toBe(0); // its indirect blocks are cached as metadata
  const before = fs.events;
  fs.countdown = death;
  free(fs);
  fs.countdown = Infinity;
  const events = fs.events - before;
  const room = fs.statfs().free * BLOCK - 64 * BLOCK, data = pattern(2, room);
  fs.writeWhole('/all', data);
  expect(Buffer.compare(fs.readWhole('/all'), data), `death at event ${death}`).toBe(0);
  expect(fs.check()).toBe(0);
  return events;
}

describe('blocks freed by a request that fs died in', () => {
  it.each([['unlink', (fs: FileServer): void => fs.unlink('/big')], ['truncate', (fs: FileServer): void => fs.truncate(fs.stat('/big').inode, 0)]] as const)('can be data afterwards: %s, death at every event', async (_, free) => {
    const events = await reuse(Infinity, free);
    expect(events).toBeGreaterThan(4);
    for (let death = 1; death <= events; death++) await reuse(death, free);
  });
});
