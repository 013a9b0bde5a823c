/**
 * The mounted volume: its shape, read once from superblock and group descriptors and checked, and the counters kept in both.
 *
 * `readSuperblock` refuses by type what this server cannot read (REFUSED_*): a volume is never mounted on a guess. Unknown ro_compat
 * features make it read-only. After mount no geometry is read from the disk again: hostile changes of the superblock in the cache are
 * caught by its checksum.
 */
import {
  EXT2_MAGIC, EXT2_SUPERBLOCK_OFFSET, EXT2_FIRST_INODE_REV0, EXT2_GROUP_DESCRIPTOR_BYTES,
  EXT2_SUPERBLOCK_INODES_COUNT, EXT2_SUPERBLOCK_BLOCKS_COUNT, EXT2_SUPERBLOCK_FREE_BLOCKS, EXT2_SUPERBLOCK_FREE_INODES, EXT2_SUPERBLOCK_FIRST_DATA_BLOCK,
  EXT2_SUPERBLOCK_LOG_BLOCK_SIZE, EXT2_SUPERBLOCK_LOG_FRAG_SIZE, EXT2_SUPERBLOCK_BLOCKS_PER_GROUP, EXT2_SUPERBLOCK_INODES_PER_GROUP, EXT2_SUPERBLOCK_MAGIC,
  EXT2_SUPERBLOCK_STATE, EXT2_SUPERBLOCK_REVISION, EXT2_SUPERBLOCK_FIRST_INODE, EXT2_SUPERBLOCK_INODE_SIZE, EXT2_SUPERBLOCK_FEATURE_INCOMPAT,
  EXT2_SUPERBLOCK_FEATURE_RO_COMPAT, EXT2_SUPERBLOCK_WRITE_TIME, EXT2_SUPERBLOCK_MOUNT_TIME, EXT2_STATE_VALID, EXT2_STATE_ERROR, EXT2_INCOMPAT_FILETYPE,
  EXT2_RO_COMPAT_SPARSE_SUPER, EXT2_RO_COMPAT_LARGE_FILE, EXT2_GROUP_BLOCK_BITMAP, EXT2_GROUP_INODE_BITMAP, EXT2_GROUP_INODE_TABLE,
  EXT2_GROUP_FREE_BLOCKS, EXT2_GROUP_FREE_INODES, EXT2_GROUP_USED_DIRS,
} from 'kintsugi/protocols';
import { EIO } from '../lib/errno';
import { reserve } from './host';
import { edit, view } from './transaction';

// Why a volume was refused (also the log's words: see refusal()).
export const REFUSED_MAGIC: i32 = -1001;
export const REFUSED_BLOCK_SIZE: i32 = -1002;
export const REFUSED_GEOMETRY: i32 = -1003;
export const REFUSED_INODE_SIZE: i32 = -1004;
export const REFUSED_FEATURE: i32 = -1005;
export const REFUSED_DESCRIPTOR: i32 = -1006;
export const REFUSED_DEVICE: i32 = -1007; // smaller than the file system says, or unreadable
export const REFUSED_MEMORY: i32 = -1008; // the manifest gives fs too little memory for this volume

export let blockSize: u32 = 0;
export let blockShift: u32 = 0;
export let blocks: u32 = 0;
export let firstDataBlock: u32 = 0;
export let blocksPerGroup: u32 = 0;
export let inodes: u32 = 0;
export let inodesPerGroup: u32 = 0;
export let inodeBytes: u32 = 0;
export let firstInode: u32 = 0;
export let groups: u32 = 0;
export let readOnly: bool = false;
/** The volume was not cleanly unmounted, or has errors recorded: sync leaves that so; e2fsck is needed. */
export let unclean: bool = false;
export let filetypes: bool = false;
export let sparseSuper: bool = false;
/** Seconds since 1970 when the volume was last written: the clock of the machine starts no earlier. */
export let lastWritten: u32 = 0;
/** The offending feature bits of REFUSED_FEATURE. */
export let unknownFeatures: u32 = 0;

let layout: usize = 0; // groups x {block bitmap, inode bitmap, inode table}
let descriptorBlocks: u32 = 0;
export let tableBlocks: u32 = 0; // blocks of one inode table

/**
 * Judges a raw superblock (1024 bytes at `sb`) against a device of `deviceBytes`. 0 or REFUSED_*. Fills the exported variables.
 */
export function readSuperblock(sb: usize, deviceBytes: u64): i32 {
  if (load<u16>(sb, EXT2_SUPERBLOCK_MAGIC) != EXT2_MAGIC) return REFUSED_MAGIC;
  const log = load<u32>(sb, EXT2_SUPERBLOCK_LOG_BLOCK_SIZE);
  if (log > 2 || load<u32>(sb, EXT2_SUPERBLOCK_LOG_FRAG_SIZE) != log) return REFUSED_BLOCK_SIZE;
  blockShift = 10 + log; blockSize = 1 << blockShift;
  const revision = load<u32>(sb, EXT2_SUPERBLOCK_REVISION);
  if (revision > 1) return REFUSED_FEATURE;
  let incompat: u32 = 0, roCompat: u32 = 0;
  inodeBytes = 128; firstInode = EXT2_FIRST_INODE_REV0;
  if (revision == 1) {
    incompat = load<u32>(sb, EXT2_SUPERBLOCK_FEATURE_INCOMPAT);
    roCompat = load<u32>(sb, EXT2_SUPERBLOCK_FEATURE_RO_COMPAT);
    inodeBytes = load<u16>(sb, EXT2_SUPERBLOCK_INODE_SIZE);
    firstInode = load<u32>(sb, EXT2_SUPERBLOCK_FIRST_INODE);
  }
  unknownFeatures = incompat & ~EXT2_INCOMPAT_FILETYPE;
  if (unknownFeatures != 0) return REFUSED_FEATURE;
  filetypes = (incompat & EXT2_INCOMPAT_FILETYPE) != 0;
  sparseSuper = (roCompat & EXT2_RO_COMPAT_SPARSE_SUPER) != 0;
  readOnly = (roCompat & ~(EXT2_RO_COMPAT_SPARSE_SUPER | EXT2_RO_COMPAT_LARGE_FILE)) != 0;
  if (inodeBytes < 128 || inodeBytes > blockSize || (inodeBytes & (inodeBytes - 1)) != 0) return REFUSED_INODE_SIZE;
  blocks = load<u32>(sb, EXT2_SUPERBLOCK_BLOCKS_COUNT);
  firstDataBlock = load<u32>(sb, EXT2_SUPERBLOCK_FIRST_DATA_BLOCK);
  blocksPerGroup = load<u32>(sb, EXT2_SUPERBLOCK_BLOCKS_PER_GROUP);
  inodes = load<u32>(sb, EXT2_SUPERBLOCK_INODES_COUNT);
  inodesPerGroup = load<u32>(sb, EXT2_SUPERBLOCK_INODES_PER_GROUP);
  if (firstDataBlock != (log == 0 ? 1 : 0)) return REFUSED_GEOMETRY;
  // Block numbers stay below 2^31 so that errors fit beside them.
  if (blocks <= firstDataBlock + 8 || blocks > 0x7fffffff) return REFUSED_GEOMETRY;
  if (blocksPerGroup == 0 || blocksPerGroup > blockSize * 8 || (blocksPerGroup & 7) != 0) return REFUSED_GEOMETRY;
  if (inodesPerGroup == 0 || inodesPerGroup > blockSize * 8) return REFUSED_GEOMETRY;
  groups = (blocks - firstDataBlock + blocksPerGroup - 1) / blocksPerGroup;
  if (<u64>groups * inodesPerGroup != <u64>inodes || firstInode < EXT2_FIRST_INODE_REV0 || firstInode > inodes) return REFUSED_GEOMETRY;
  if (<u64>blocks << blockShift > deviceBytes) return REFUSED_DEVICE;
  descriptorBlocks = (groups * EXT2_GROUP_DESCRIPTOR_BYTES + blockSize - 1) >> blockShift;
  tableBlocks = (inodesPerGroup * inodeBytes + blockSize - 1) >> blockShift;
  if (1 + descriptorBlocks + 2 + tableBlocks >= blocksPerGroup) return REFUSED_GEOMETRY;
  const flags = <u32>load<u16>(sb, EXT2_SUPERBLOCK_STATE);
  unclean = (flags & EXT2_STATE_VALID) == 0 || (flags & EXT2_STATE_ERROR) != 0;
  lastWritten = load<u32>(sb, EXT2_SUPERBLOCK_WRITE_TIME);
  if (load<u32>(sb, EXT2_SUPERBLOCK_MOUNT_TIME) > lastWritten) lastWritten = load<u32>(sb, EXT2_SUPERBLOCK_MOUNT_TIME);
  return 0;
}
export function setUnclean(value: bool): void { unclean = value; }
export function setReadOnly(): void { readOnly = true; }

/** (pauses) Reads and checks the group descriptors: every group's bitmaps and inode table lie inside it, apart from each other. 0 or REFUSED_*. */
export function readDescriptors(): i32 {
  layout = reserve(<usize>groups * 12);
  if (layout == 0) return REFUSED_MEMORY;
  for (let g: u32 = 0; g < groups; g++) {
    const d = descriptor(g);
    if (d == 0) return REFUSED_DEVICE;
    const blockBitmap = load<u32>(d, EXT2_GROUP_BLOCK_BITMAP), inodeBitmap = load<u32>(d, EXT2_GROUP_INODE_BITMAP), table = load<u32>(d, EXT2_GROUP_INODE_TABLE);
    const start = groupStart(g), count = groupBlocks(g), head = backupBlocks(g);
    if (blockBitmap - start >= count || inodeBitmap - start >= count || table - start >= count || table - start + tableBlocks > count) return REFUSED_DESCRIPTOR;
    if (blockBitmap - start < head || inodeBitmap - start < head || table - start < head) return REFUSED_DESCRIPTOR;
    if (blockBitmap == inodeBitmap || blockBitmap - table < tableBlocks || inodeBitmap - table < tableBlocks) return REFUSED_DESCRIPTOR;
    const p = layout + <usize>g * 12;
    store<u32>(p, blockBitmap); store<u32>(p, inodeBitmap, 4); store<u32>(p, table, 8);
  }
  return 0;
}

export function groupStart(group: u32): u32 { return firstDataBlock + group * blocksPerGroup; }
export function groupBlocks(group: u32): u32 { const left = blocks - groupStart(group); return left < blocksPerGroup ? left : blocksPerGroup; }
export function groupOf(block: u32): u32 { return (block - firstDataBlock) / blocksPerGroup; }
export function blockBitmap(group: u32): u32 { return load<u32>(layout + <usize>group * 12); }
export function inodeBitmap(group: u32): u32 { return load<u32>(layout + <usize>group * 12, 4); }
export function inodeTable(group: u32): u32 { return load<u32>(layout + <usize>group * 12, 8); }
function powerOf(base: u32, n: u32): bool { let p = base; while (p < n) p *= base; return p == n; }
/** Blocks of superblock and descriptor copies at the head of a group. (Reserved descriptors of resize_inode belong to inode 7.) */
function backupBlocks(group: u32): u32 {
  if (sparseSuper && group > 1 && !powerOf(3, group) && !powerOf(5, group) && !powerOf(7, group)) return 0;
  return 1 + descriptorBlocks;
}
/** True for blocks that can never belong to a file: whatever a damaged bitmap or pointer says, they are neither handed out nor freed. */
export function isSystemBlock(block: u32): bool {
  if (block < firstDataBlock || block >= blocks) return true;
  const g = groupOf(block), p = layout + <usize>g * 12;
  if (block == load<u32>(p) || block == load<u32>(p, 4) || block - load<u32>(p, 8) < tableBlocks) return true;
  return block - groupStart(g) < backupBlocks(g);
}

// ---- superblock and descriptors through the cache ---------------------------------------------------------------------------------------
export function superblockBlock(): u32 { return blockSize == 1024 ? 1 : 0; }
function superblockShift(): u32 { return blockSize == 1024 ? 0 : EXT2_SUPERBLOCK_OFFSET; }
/** (pauses) Address of the superblock to read, 0 = EIO. */
export function superblock(): usize { const p = view(superblockBlock()); return p == 0 ? 0 : p + superblockShift(); }
/** (pauses) Its shadow. */
export function editSuperblock(): usize { const p = edit(superblockBlock()); return p == 0 ? 0 : p + superblockShift(); }
export function descriptorBlock(group: u32): u32 { return firstDataBlock + 1 + (group * EXT2_GROUP_DESCRIPTOR_BYTES >> blockShift); }
export function descriptor(group: u32): usize {
  const p = view(descriptorBlock(group));
  return p == 0 ? 0 : p + (group * EXT2_GROUP_DESCRIPTOR_BYTES & (blockSize - 1));
}
export function editDescriptor(group: u32): usize {
  const p = edit(descriptorBlock(group));
  return p == 0 ? 0 : p + (group * EXT2_GROUP_DESCRIPTOR_BYTES & (blockSize - 1));
}
/** Adds to the counters of free blocks, free inodes and directories, here and in the superblock. Counters stop at 0 (a damaged volume). */
export function account(group: u32, freeBlocks: i32, freeInodes: i32, directories: i32): i32 {
  const d = editDescriptor(group), sb = editSuperblock();
  if (d == 0 || sb == 0) return -EIO;
  bump16(d + EXT2_GROUP_FREE_BLOCKS, freeBlocks);
  bump16(d + EXT2_GROUP_FREE_INODES, freeInodes);
  bump16(d + EXT2_GROUP_USED_DIRS, directories);
  bump32(sb + EXT2_SUPERBLOCK_FREE_BLOCKS, freeBlocks);
  bump32(sb + EXT2_SUPERBLOCK_FREE_INODES, freeInodes);
  return 0;
}
function bump16(at: usize, by: i32): void { const n = <i32>load<u16>(at) + by; store<u16>(at, n < 0 ? 0 : n > 0xffff ? 0xffff : <u16>n); }
function bump32(at: usize, by: i32): void { const n = <i64>load<u32>(at) + by; store<u32>(at, n < 0 ? 0 : <u32>n); }
