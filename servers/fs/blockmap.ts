/**
 * From a block of a file to a block of the volume: 12 direct pointers, then trees of depth 1, 2 and 3. Pointer 0 is a hole.
 * A pointer that leads outside the volume or into its metadata is EIO for that inode. Depth bounds every walk, so loops in a hostile tree
 * are harmless.
 */
import { EXT2_DIRECT } from 'kintsugi/protocols';
import { allocBlock, freeBlock } from './alloc';
import { EFBIG, EIO } from '../lib/errno';
import { addBlocks, hasBlocks, inodeEdit, inodeView, pointerAt, setPointer } from './inode';
import { edit, fresh, room, view } from './transaction';
import { blockShift, inodesPerGroup, groupStart, isSystemBlock } from './volume';

/** Result of mapRun: first block of the volume (0 = hole) and how many blocks of the file follow in the same way. */
export let runStart: u32 = 0;
export let runCount: u32 = 0;

/** Blocks that one pointer of `level` covers. */
function span(level: u32): u64 { return <u64>1 << (<u64>level * (blockShift - 2)); }

// Path of a file block: level of the tree (0 = direct), pointer in the inode, and the index inside that tree.
let treeLevel: u32 = 0;
let treePointer: u32 = 0;
let treeIndex: u64 = 0;
function locate(index: u64): bool {
  if (index < EXT2_DIRECT) { treeLevel = 0; treePointer = <u32>index; treeIndex = 0; return true; }
  index -= EXT2_DIRECT;
  for (let level: u32 = 1; level <= 3; level++) {
    if (index < span(level)) { treeLevel = level; treePointer = EXT2_DIRECT + level - 1; treeIndex = index; return true; }
    index -= span(level);
  }
  return false;
}

/** (pauses) Where block `index` of a file lies, and how far the run goes (at most `most`). 0 or -EIO, -EFBIG. */
export function mapRun(inode: u32, index: u64, most: u32): i32 {
  if (!locate(index)) return -EFBIG;
  const level = treeLevel, first = treePointer, within = treeIndex;
  const p = inodeView(inode);
  if (p == 0) return -EIO;
  if (level == 0) return scanRun(p + 40, first, EXT2_DIRECT, most);
  let block = pointerAt(p, first), depth = level;
  while (depth > 0) {
    if (block == 0) { // a hole as wide as the missing subtree
      const left = span(depth) - (within & (span(depth) - 1));
      runStart = 0; runCount = left < <u64>most ? <u32>left : most;
      return 0;
    }
    if (isSystemBlock(block)) return -EIO;
    const pointers = view(block);
    if (pointers == 0) return -EIO;
    depth--;
    const slot = <u32>(within >> (<u64>depth * (blockShift - 2))) & ((1 << (blockShift - 2)) - 1);
    if (depth == 0) return scanRun(pointers, slot, 1 << (blockShift - 2), most);
    block = load<u32>(pointers + (<usize>slot << 2));
  }
  return -EIO;
}
function scanRun(pointers: usize, from: u32, end: u32, most: u32): i32 {
  const start = load<u32>(pointers + (<usize>from << 2));
  if (end - from > most) end = from + most;
  let n: u32 = 1;
  if (start == 0) while (from + n < end && load<u32>(pointers + (<usize>(from + n) << 2)) == 0) n++;
  else {
    while (from + n < end && load<u32>(pointers + (<usize>(from + n) << 2)) == start + n && !isSystemBlock(start + n)) n++;
    if (isSystemBlock(start)) return -EIO;
  }
  runStart = start; runCount = n;
  return 0;
}

/** True when the block that mapAlloc returned did not exist before. */
export let allocated: bool = false;
/**
 * (pauses) In a transaction: the block behind `index`, allocated with its tree if missing. `goal` 0 = near the inode. > 0 or an error.
 * Needs room for 4 + 3 x levels blocks. `meta` = the block is a directory's and gets a zeroed shadow.
 */
export function mapAlloc(inode: u32, index: u64, goal: u32, meta: bool): i32 {
  if (!locate(index)) return -EFBIG;
  const level = treeLevel, first = treePointer, within = treeIndex;
  if (goal == 0) goal = groupStart((inode - 1) / inodesPerGroup);
  allocated = false;
  const p = inodeEdit(inode);
  if (p == 0) return -EIO;
  let block = pointerAt(p, first), holder: usize = 0, slot: u32 = 0, depth = level;
  while (true) {
    if (block == 0) {
      const got = allocBlock(goal);
      if (got < 0) return got;
      block = got;
      goal = block + 1;
      if (depth > 0 || meta) { if (fresh(block) == 0) return -EIO; }
      else allocated = true;
      if (meta) allocated = true;
      if (holder == 0) setPointer(p, first, block); else store<u32>(holder + (<usize>slot << 2), block);
      addBlocks(p, 1);
    } else if (isSystemBlock(block)) return -EIO;
    if (depth == 0) return <i32>block;
    depth--;
    slot = <u32>(within >> (<u64>depth * (blockShift - 2))) & ((1 << (blockShift - 2)) - 1);
    const pointers = view(block);
    if (pointers == 0) return -EIO;
    if (load<u32>(pointers + (<usize>slot << 2)) == 0) {
      holder = edit(block);
      if (holder == 0) return -EIO;
    }
    block = load<u32>(pointers + (<usize>slot << 2));
  }
}

// ---- freeing ----------------------------------------------------------------------------------------------------------------------------
export const MORE: i32 = 1;
const STEP_ROOM: u32 = 16; // shadows that must be left to go on: inode, tree, bitmap, descriptor, superblock
/**
 * (pauses) In a transaction: frees the file's blocks from `keep` on, last first. MORE: commit this step and call again. 0 = done.
 * Each step leaves a consistent file.
 */
export function trimStep(inode: u32, keep: u64): i32 {
  const p = inodeEdit(inode);
  if (p == 0) return -EIO;
  if (!hasBlocks(p)) return 0;
  let end: u64 = EXT2_DIRECT + span(1) + span(2) + span(3);
  for (let level: u32 = 3; level > 0; level--) {
    const base = end - span(level), pointer = EXT2_DIRECT + level - 1, block = pointerAt(p, pointer);
    end = base;
    if (block == 0 || keep >= base + span(level)) continue;
    if (isSystemBlock(block)) { setPointer(p, pointer, 0); continue; } // hostile: nothing below it can be ours
    const status = trimTree(p, block, level, base, keep);
    if (status != 0) return status;
    if (keep <= base) {
      const freed = release(p, block);
      if (freed < 0) return freed;
      setPointer(p, pointer, 0);
    }
  }
  for (let i: u32 = EXT2_DIRECT; i > 0 && <u64>(i - 1) >= keep; i--) {
    const block = pointerAt(p, i - 1);
    if (block == 0) continue;
    if (!room(STEP_ROOM)) return MORE;
    const status = release(p, block);
    if (status < 0) return status;
    setPointer(p, i - 1, 0);
  }
  return 0;
}
function release(p: usize, block: u32): i32 { addBlocks(p, -1); return freeBlock(block); }
/** Empties the entries of an indirect block that lie at or behind `keep`, last first. */
function trimTree(p: usize, block: u32, level: u32, base: u64, keep: u64): i32 {
  const per: u32 = 1 << (blockShift - 2), below = span(level - 1);
  if (!room(STEP_ROOM)) return MORE;
  if (view(block) == 0) return 0; // unreadable: its blocks are lost until e2fsck, the inode can still be freed
  let i = per;
  while (i > 0 && base + <u64>(i - 1) * below + below > keep) {
    const pointers = view(block); // again each time: freeing may pause
    if (pointers == 0) return -EIO;
    const child = load<u32>(pointers + (<usize>(i - 1) << 2));
    if (child != 0) {
      const childBase = base + <u64>(i - 1) * below;
      let status = 0;
      if (level > 1 && !isSystemBlock(child)) status = trimTree(p, child, level - 1, childBase, keep);
      if (status == 0 && childBase >= keep) {
        if (!room(STEP_ROOM - 8)) { // the child is empty but stays for now: its pointers must say so
          status = level > 1 && !isSystemBlock(child) && zeroTail(child, 0) < 0 ? -EIO : MORE;
        } else {
          status = release(p, child);
          // The pointers of a block that is about to be freed itself need not be zeroed, unless this step ends before that.
          if (status == 0 && keep > base) {
            const shadow = edit(block);
            if (shadow == 0) return -EIO;
            store<u32>(shadow + (<usize>(i - 1) << 2), 0);
          }
        }
      }
      if (status != 0) {
        if (status == MORE && keep <= base) return zeroTail(block, i) < 0 ? -EIO : MORE;
        return status;
      }
    }
    i--;
  }
  return 0;
}
/** The entries from `from` on were freed by this step. */
function zeroTail(block: u32, from: u32): i32 {
  const shadow = edit(block), per: u32 = 1 << (blockShift - 2);
  if (shadow == 0) return -EIO;
  memory.fill(shadow + (<usize>from << 2), 0, <usize>(per - from) << 2);
  return 0;
}
