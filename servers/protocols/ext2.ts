/**
 * ext2, revision 1, as it lies on the disk: shared by servers/fs (guest) and tools/image (host). Byte offsets; all integers little-endian.
 * Sources: "The Second Extended File System" (D. Poirier), e2fsprogs lib/ext2fs/ext2_fs.h.
 *
 *   block 0 | group 0: superblock · group descriptors · block bitmap · inode bitmap · inode table · data | group 1: ...
 *   (the superblock is always at byte 1024; with 1 KiB blocks that is block 1 = firstDataBlock, else firstDataBlock is 0)
 */
export const EXT2 = {
  superblockOffset: 1024,
  superblockBytes: 1024,
  magic: 0xef53,
  rootInode: 2,
  firstInodeRev0: 11,
  groupDescriptorBytes: 32,
  maxNameBytes: 255,
  maxLinks: 32000,
  superblock: {
    inodesCount: 0, blocksCount: 4, reservedBlocks: 8, freeBlocks: 12, freeInodes: 16, firstDataBlock: 20, logBlockSize: 24, logFragSize: 28,
    blocksPerGroup: 32, fragsPerGroup: 36, inodesPerGroup: 40, mountTime: 44, writeTime: 48, mountCount: 52 /* u16 */, maxMountCount: 54 /* u16 */,
    magic: 56 /* u16 */, state: 58 /* u16 */, errors: 60 /* u16 */, minorRevision: 62 /* u16 */, lastCheck: 64, checkInterval: 68, creatorOs: 72,
    revision: 76, reservedUid: 80 /* u16 */, reservedGid: 82 /* u16 */, firstInode: 84, inodeSize: 88 /* u16 */, blockGroup: 90 /* u16 */,
    featureCompat: 92, featureIncompat: 96, featureRoCompat: 100, uuid: 104 /* 16 bytes */, volumeName: 120 /* 16 bytes */, lastMounted: 136 /* 64 bytes */,
    hashSeed: 236 /* 16 bytes */, lastOrphan: 232, wantExtraIsize: 350 /* u16, after minExtraIsize */, minExtraIsize: 348 /* u16 */,
  },
  state: { valid: 1, error: 2 },
  compat: { dirIndex: 0x20, extAttr: 0x8, resizeInode: 0x10 },
  incompat: { filetype: 0x2 },
  roCompat: { sparseSuper: 0x1, largeFile: 0x2 },
  group: { blockBitmap: 0, inodeBitmap: 4, inodeTable: 8, freeBlocks: 12 /* u16 */, freeInodes: 14 /* u16 */, usedDirs: 16 /* u16 */ },
  inode: {
    mode: 0 /* u16 */, uid: 2 /* u16 */, size: 4, atime: 8, ctime: 12, mtime: 16, dtime: 20, gid: 24 /* u16 */, links: 26 /* u16 */, blocks512: 28, flags: 32,
    osd1: 36, block: 40 /* u32[15] */, generation: 100, fileAcl: 104, sizeHigh: 108, uidHigh: 120 /* u16 */, gidHigh: 122 /* u16 */, extraIsize: 128 /* u16 */,
  },
  inodeFlags: { index: 0x1000, immutable: 0x10, append: 0x20 },
  direct: 12, indirect: 12, doubleIndirect: 13, tripleIndirect: 14, blockPointers: 15,
  fastSymlinkBytes: 60,
  /** Directory entry: {inode u32, recLen u16, nameLen u8, fileType u8, name}; recLen is a multiple of 4 and never crosses its block. */
  dirent: { inode: 0, recLen: 4, nameLen: 6, fileType: 7, name: 8 },
  fileType: { unknown: 0, regular: 1, directory: 2, character: 3, block: 4, fifo: 5, socket: 6, symlink: 7 },
  mode: { format: 0xf000, socket: 0xc000, symlink: 0xa000, regular: 0x8000, block: 0x6000, directory: 0x4000, character: 0x2000, fifo: 0x1000, permissions: 0xfff },
  xattr: { magic: 0xea020000, refcount: 4 },
} as const;
