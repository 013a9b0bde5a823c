/**
 * Allocation of blocks and inodes in the bitmaps. All inside a transaction; every change also moves the counters.
 * A block is looked for from a goal on (the block after the previous one of the file), then in the rest of the group, then in the other
 * groups; an inode in the group of its directory, then elsewhere; directories go to the emptiest group.
 */
import { EXT2_GROUP_FREE_BLOCKS, EXT2_GROUP_FREE_INODES } from 'kintsugi/protocols';
import { EIO, ENOSPC } from '../lib/errno';
import { edit, forgetLater, view } from './transaction';
import { account, blockBitmap, blocks, descriptor, firstDataBlock, firstInode, groupBlocks, groupOf, groupStart, groups, inodeBitmap, inodes, inodesPerGroup, isSystemBlock } from './volume';

/** Freed blocks and inodes that were free already or can never be freed: signs of a damaged volume. */
export let oddFrees: u32 = 0;

/** First zero bit in [from, to) of the bitmap, or -1. */
function zeroBit(bitmap: usize, from: u32, to: u32): i32 {
  let i = from;
  while (i < to) {
    if ((i & 31) == 0 && i + 32 <= to) {
      const word = load<u32>(bitmap + (i >> 3));
      if (word == 0xffffffff) { i += 32; continue; }
      return <i32>(i + <u32>ctz<u32>(~word));
    }
    if ((load<u8>(bitmap + (i >> 3)) >> <u8>(i & 7) & 1) == 0) return <i32>i;
    i++;
  }
  return -1;
}
/** (pauses) A free block, now taken, at or after `goal` if possible. > 0, -ENOSPC or -EIO. */
export function allocBlock(goal: u32): i32 {
  if (goal < firstDataBlock || goal >= blocks) goal = firstDataBlock;
  const start = groupOf(goal);
  for (let n: u32 = 0; n <= groups; n++) { // the first group twice: from the goal, and at last from its begin
    const g = start + n >= groups ? start + n - groups : start + n;
    const d = descriptor(g);
    if (d == 0) return -EIO;
    if (load<u16>(d, EXT2_GROUP_FREE_BLOCKS) == 0) continue;
    const bitmap = view(blockBitmap(g));
    if (bitmap == 0) continue; // an unreadable bitmap costs its group, not the volume
    let bit: i32 = n == 0 ? <i32>(goal - groupStart(g)) - 1 : -1;
    const count = groupBlocks(g);
    while (true) {
      bit = zeroBit(bitmap, bit + 1, count);
      if (bit < 0 || !isSystemBlock(groupStart(g) + bit)) break; // a damaged bitmap offers metadata: not taken
    }
    if (bit < 0) continue;
    const shadow = edit(blockBitmap(g));
    if (shadow == 0) return -EIO;
    const at = shadow + (bit >> 3);
    store<u8>(at, load<u8>(at) | <u8>(<u32>1 << <u32>(bit & 7)));
    const status = account(g, -1, 0, 0);
    if (status < 0) return status;
    return <i32>(groupStart(g) + bit);
  }
  return -ENOSPC;
}
/** (pauses) Frees a block. Out of range, metadata, or free already: counted and ignored, for the volume is damaged. 0 or -EIO. */
export function freeBlock(block: u32): i32 {
  if (isSystemBlock(block)) { oddFrees++; return 0; }
  const g = groupOf(block), bit = block - groupStart(g), bitmap = edit(blockBitmap(g));
  if (bitmap == 0) return -EIO;
  const at = bitmap + (bit >> 3), mask = <u8>(<u32>1 << <u32>(bit & 7));
  if ((load<u8>(at) & mask) == 0) { oddFrees++; return 0; }
  store<u8>(at, load<u8>(at) & ~mask);
  forgetLater(block);
  return account(g, 1, 0, 0);
}

/** (pauses) A free inode near the directory `parent`, now taken. > 0, -ENOSPC or -EIO. */
export function allocInode(parent: u32, directory: bool): i32 {
  const near = (parent - 1) / inodesPerGroup;
  let start = near;
  if (directory) {
    let best: u32 = 0;
    for (let g: u32 = 0; g < groups; g++) {
      const d = descriptor(g);
      if (d == 0) return -EIO;
      if (load<u16>(d, EXT2_GROUP_FREE_INODES) == 0) continue;
      const free = <u32>load<u16>(d, EXT2_GROUP_FREE_BLOCKS) + (g == near ? groupBlocks(g) >> 2 : 0); // stay near unless it is crowded
      if (free > best) { best = free; start = g; }
    }
  }
  for (let n: u32 = 0; n < groups; n++) {
    const g = start + n >= groups ? start + n - groups : start + n, d = descriptor(g);
    if (d == 0) return -EIO;
    if (load<u16>(d, EXT2_GROUP_FREE_INODES) == 0) continue;
    const bitmap = view(inodeBitmap(g));
    if (bitmap == 0) continue;
    const bit = zeroBit(bitmap, g == 0 ? firstInode - 1 : 0, inodesPerGroup);
    if (bit < 0) continue;
    const shadow = edit(inodeBitmap(g));
    if (shadow == 0) return -EIO;
    const at = shadow + (bit >> 3);
    store<u8>(at, load<u8>(at) | <u8>(<u32>1 << <u32>(bit & 7)));
    const status = account(g, 0, -1, directory ? 1 : 0);
    if (status < 0) return status;
    return <i32>(g * inodesPerGroup + bit + 1);
  }
  return -ENOSPC;
}
/** (pauses) Gives an inode number back. */
export function freeInode(inode: u32, directory: bool): i32 {
  if (inode < firstInode || inode > inodes) { oddFrees++; return 0; }
  const g = (inode - 1) / inodesPerGroup, bit = (inode - 1) % inodesPerGroup, bitmap = edit(inodeBitmap(g));
  if (bitmap == 0) return -EIO;
  const at = bitmap + (bit >> 3), mask = <u8>(<u32>1 << <u32>(bit & 7));
  if ((load<u8>(at) & mask) == 0) { oddFrees++; return 0; }
  store<u8>(at, load<u8>(at) & ~mask);
  return account(g, 0, 1, directory ? -1 : 0);
}
/** (pauses) 1 = the bitmap calls the inode used, 0 = free, -EIO. */
export function inodeTaken(inode: u32): i32 {
  const g = (inode - 1) / inodesPerGroup, bit = (inode - 1) % inodesPerGroup, bitmap = view(inodeBitmap(g));
  return bitmap == 0 ? -EIO : <i32>(load<u8>(bitmap + (bit >> 3)) >> <u8>(bit & 7) & 1);
}
