/**
 * The second opinion before a commit: the redo record is decoded by other code than wrote it, and must say neither more nor less than the difference between
 * the committed blocks and their shadows; and what the shadows say must be possible (`meaning`). False: this incarnation is not to be trusted,
 * nothing has happened yet, and the caller dies; its successor does the request again with sound text.
 *
 * Meaning: what this transaction changes in the bitmaps of a group it changes in its counters, and no pointer of an inode leads into metadata. On a volume that was damaged
 * before, counters stop at 0 and 65535 (volume.ts): those are let pass.
 */
import { differ } from 'kintsugi/x86';
import { EXT2_DIRECT, EXT2_GROUP_DESCRIPTOR_BYTES, EXT2_GROUP_FREE_BLOCKS, EXT2_GROUP_FREE_INODES, EXT2_INODE_BLOCK } from 'kintsugi/protocols';
import { changed, wordChange } from '../lib/checksum';
import { slotAddress, slotBlock, slotSum } from './cache';
import { hasBlocks } from './inode';
import { blockBitmap, blockShift, blockSize, descriptorBlock, groupOf, groups, inodeBitmap, inodeBytes, inodeTable, isSystemBlock, superblockBlock, tableBlocks } from './volume';

/** Of one shadow: which block, its cache slot, its address, 1 = made of nothing (transaction.ts). */
@unmanaged @final export class Shadow { block: u32; slot: u32; at: usize; fresh: u32 }
const SHADOW: usize = 16;
const POINTERS: u32 = EXT2_DIRECT + 3;

let ok: bool = true;
function must(condition: bool): void { if (!condition) ok = false; }

/** `from`: behind the record's head. `shadows`: `count` Shadows. The edits of the state and the ranges of freed blocks as they were collected. Returns where the record ends, 0 = it is wrong. */
export function verifyRecord(from: usize, shadows: usize, count: u32, edits: usize, editBytes: u32, freed: usize, ranges: u32): usize {
  ok = true;
  let p = from;
  for (let n: u32 = 0; n < count && ok; n++) {
    const s = changetype<Shadow>(shadows + <usize>n * SHADOW), page = slotAddress(s.slot), sum = load<u32>(p, 8);
    must(load<u32>(p) == s.block && load<u32>(p, 4) == s.slot && slotBlock(s.slot) == s.block);
    let runs = load<u32>(p, 12), done: u32 = 0, change: u32 = 0;
    p += 16;
    while (runs != 0 && ok) {
      const offset = <u32>load<u16>(p), bytes = <u32>load<u16>(p, 2);
      must(bytes != 0 && (bytes & 3) == 0 && (offset & 3) == 0 && offset >= done && offset + bytes <= blockSize);
      if (!ok) return 0;
      same(page, s.at, done, offset, s.fresh);
      must(differ(p + 4, s.at + offset, bytes >> 2) == bytes >> 2);
      if (s.fresh == 0) for (let i: u32 = 0; i < bytes; i += 4) change += wordChange((offset + i) >> 2, load<u32>(page + offset + i), load<u32>(p + 4 + i));
      done = offset + bytes;
      p += 4 + bytes;
      runs--;
    }
    same(page, s.at, done, blockSize, s.fresh);
    if (s.fresh == 0) must(sum == changed(slotSum(s.slot), blockSize, change));
  }
  if (!ok) return 0;
  must(differ(p, edits, editBytes >> 2) == editBytes >> 2);
  p += editBytes;
  must(load<u64>(p) == 0 && load<u32>(p, 8) == ranges && differ(p + 12, freed, ranges << 1) == ranges << 1);
  p += 12 + (<usize>ranges << 3);
  return ok ? p : 0;
}
/** Bytes [from, to) of a block are not in the record: the shadow has them as the committed block. A fresh block has no committed bytes. */
function same(page: usize, shadow: usize, from: u32, to: u32, fresh: u32): void {
  if (from == to) return;
  const words = (to - from) >> 2;
  must(fresh == 0 && differ(page + from, shadow + from, words) == words);
}

/** The shadow of a block, null when the transaction does not change it. */
function shadowOf(shadows: usize, count: u32, block: u32): Shadow {
  for (let n: u32 = 0; n < count; n++) if (changetype<Shadow>(shadows + <usize>n * SHADOW).block == block) return changetype<Shadow>(shadows + <usize>n * SHADOW);
  return changetype<Shadow>(0);
}
/** Bits that a bitmap has more than before. */
function moreBits(s: Shadow): i32 {
  const page = slotAddress(s.slot), words = blockSize >> 2;
  let more: i32 = 0;
  for (let i: u32 = 0; i < words; i++) {
    i += differ(page + (i << 2), s.at + (i << 2), words - i);
    if (i < words) more += popcnt<i32>(load<u32>(s.at + (i << 2))) - popcnt<i32>(load<u32>(page + (i << 2)));
  }
  return more;
}
/** What the counter of a group's descriptor lost; STOPPED when it stands where it cannot go on. */
const STOPPED: i32 = i32.MIN_VALUE;
function lost(shadows: usize, count: u32, group: u32, field: u32): i32 {
  const d = shadowOf(shadows, count, descriptorBlock(group));
  if (changetype<usize>(d) == 0) return 0;
  const at = (group * EXT2_GROUP_DESCRIPTOR_BYTES & (blockSize - 1)) + field, now = <i32>load<u16>(d.at + at);
  return now == 0 || now == 0xffff ? STOPPED : <i32>load<u16>(slotAddress(d.slot) + at) - now;
}
export function meaning(shadows: usize, count: u32): bool {
  ok = true;
  for (let n: u32 = 0; n < count && ok; n++) {
    const s = changetype<Shadow>(shadows + <usize>n * SHADOW);
    if (s.block == superblockBlock() || !isSystemBlock(s.block)) continue;
    const g = groupOf(s.block), bits = s.block == blockBitmap(g), inodes = s.block == inodeBitmap(g);
    if (bits || inodes) {
      const counted = lost(shadows, count, g, bits ? EXT2_GROUP_FREE_BLOCKS : EXT2_GROUP_FREE_INODES);
      if (counted != STOPPED) must(counted == moreBits(s));
    } else if (s.block - inodeTable(g) < tableBlocks) pointers(s);
  }
  return ok;
}
/** Pointers of inodes that this transaction changes. */
function pointers(s: Shadow): void {
  const page = slotAddress(s.slot), words = blockSize >> 2;
  for (let i: u32 = 0; i < words; i++) {
    i += differ(page + (i << 2), s.at + (i << 2), words - i);
    if (i >= words) return;
    const inode = s.at + ((i << 2) & ~(inodeBytes - 1)), k = (((i << 2) & (inodeBytes - 1)) - EXT2_INODE_BLOCK) >> 2, block = load<u32>(s.at + (i << 2));
    if (k < POINTERS && block != 0 && hasBlocks(inode)) must(!isSystemBlock(block));
  }
}
