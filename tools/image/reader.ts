/**
 * ext2 reader: looks at an image from outside, for tests and for checking final images. It trusts nothing: every number that leads outside
 * the image is a thrown Error that names inode and block. `verify` is a small fsck (reachability, double use, bitmaps, counts, link counts);
 * e2fsck is stricter, but not everywhere installed.
 */
import { EXT2 } from '../../servers/protocols/ext2.ts';

export type FileKind = 'file' | 'directory' | 'symlink' | 'other';
export interface InodeInfo { readonly inode: number; readonly kind: FileKind; readonly mode: number; readonly links: number; readonly size: number; readonly blocks512: number; readonly mtime: number; readonly ctime: number; readonly atime: number; readonly dtime: number }
export interface DirectoryEntryInfo { readonly name: string; readonly inode: number; readonly fileType: number }
export interface WalkEntry extends InodeInfo { readonly path: string; readonly target?: string }

const MAX_DIRECTORY_DEPTH = 256;

export class Ext2Reader {
  readonly bytes: Uint8Array;
  readonly blockSize: number;
  readonly blocks: number;
  readonly label: string;
  readonly #view: DataView;
  readonly #inodes: number;
  readonly #inodesPerGroup: number;
  readonly #inodeSize: number;
  readonly #first: number;
  readonly #perGroup: number;
  readonly #groups: number;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (bytes.length < 2048 || this.#super16(EXT2.superblock.magic) !== EXT2.magic) throw new Error('no ext2 superblock: bad magic');
    const log = this.#super(EXT2.superblock.logBlockSize);
    if (log > 2) throw new Error(`block size 2^${log + 10} is not supported`);
    const unknown = this.#super(EXT2.superblock.featureIncompat) & ~EXT2.incompat.filetype;
    if (unknown !== 0) throw new Error(`unknown incompatible features 0x${unknown.toString(16)}`);
    this.blockSize = 1024 << log;
    this.blocks = this.#super(EXT2.superblock.blocksCount);
    if (this.blocks * this.blockSize > bytes.length) throw new Error(`the file system has ${this.blocks} blocks, the image only ${Math.floor(bytes.length / this.blockSize)}`);
    this.#inodes = this.#super(EXT2.superblock.inodesCount);
    this.#inodesPerGroup = this.#super(EXT2.superblock.inodesPerGroup);
    this.#perGroup = this.#super(EXT2.superblock.blocksPerGroup);
    this.#first = this.#super(EXT2.superblock.firstDataBlock);
    this.#inodeSize = this.#super(EXT2.superblock.revision) === 0 ? 128 : this.#super16(EXT2.superblock.inodeSize);
    if (this.#perGroup === 0 || this.#inodesPerGroup === 0) throw new Error('blocks or inodes per group are 0');
    this.#groups = Math.ceil((this.blocks - this.#first) / this.#perGroup);
    const name = bytes.subarray(EXT2.superblockOffset + EXT2.superblock.volumeName, EXT2.superblockOffset + EXT2.superblock.volumeName + 16);
    this.label = Buffer.from(name).toString().replace(/\0.*$/s, '');
  }

  get freeBlocks(): number { return this.#super(EXT2.superblock.freeBlocks); }
  get freeInodes(): number { return this.#super(EXT2.superblock.freeInodes); }
  /** The flag that a clean shutdown sets. */
  get clean(): boolean { return (this.#super16(EXT2.superblock.state) & EXT2.state.valid) !== 0; }

  #super(field: number): number { return this.#view.getUint32(EXT2.superblockOffset + field, true); }
  #super16(field: number): number { return this.#view.getUint16(EXT2.superblockOffset + field, true); }
  #u32(at: number): number { return this.#view.getUint32(at, true); }
  #u16(at: number): number { return this.#view.getUint16(at, true); }

  #block(number: number, whose: number): Uint8Array {
    if (number < this.#first || number >= this.blocks) throw new Error(`inode ${whose}: block ${number} lies outside the file system`);
    return this.bytes.subarray(number * this.blockSize, (number + 1) * this.blockSize);
  }
  #descriptor(group: number): number { return (this.#first + 1) * this.blockSize + group * EXT2.groupDescriptorBytes; }
  #inodeOffset(inode: number): number {
    if (inode < 1 || inode > this.#inodes) throw new Error(`inode number ${inode} is out of range`);
    const group = Math.floor((inode - 1) / this.#inodesPerGroup), byte = ((inode - 1) % this.#inodesPerGroup) * this.#inodeSize;
    const block = this.#u32(this.#descriptor(group) + EXT2.group.inodeTable) + Math.floor(byte / this.blockSize);
    this.#block(block, inode);
    return block * this.blockSize + (byte % this.blockSize);
  }

  inode(inode: number): InodeInfo {
    const at = this.#inodeOffset(inode), f = EXT2.inode, mode = this.#u16(at + f.mode), format = mode & EXT2.mode.format;
    const kind: FileKind = format === EXT2.mode.regular ? 'file' : format === EXT2.mode.directory ? 'directory' : format === EXT2.mode.symlink ? 'symlink' : 'other';
    const size = this.#u32(at + f.size) + (kind === 'file' ? this.#u32(at + f.sizeHigh) * 2 ** 32 : 0);
    return { inode, kind, mode, links: this.#u16(at + f.links), size, blocks512: this.#u32(at + f.blocks512), mtime: this.#u32(at + f.mtime), ctime: this.#u32(at + f.ctime), atime: this.#u32(at + f.atime), dtime: this.#u32(at + f.dtime) };
  }

  /** Calls `visit` for every block of the inode: index in the file (-1: an indirect block) and block number. */
  #eachBlock(inode: number, visit: (index: number, block: number) => void): void {
    const at = this.#inodeOffset(inode) + EXT2.inode.block, perBlock = this.blockSize / 4;
    const tree = (block: number, level: number, index: number): void => {
      if (block === 0) return;
      const data = this.#block(block, inode);
      if (level === 0) { visit(index, block); return; }
      visit(-1, block);
      const view = new DataView(data.buffer, data.byteOffset), span = perBlock ** (level - 1);
      for (let i = 0; i < perBlock; i++) tree(view.getUint32(i * 4, true), level - 1, index + i * span);
    };
    let index = 0;
    for (let i = 0; i < EXT2.blockPointers; i++) {
      const level = i < EXT2.direct ? 0 : i - EXT2.direct + 1;
      tree(this.#u32(at + i * 4), level, index);
      index += perBlock ** level;
    }
  }
  #isFastSymlink(info: InodeInfo): boolean {
    const acl = this.#u32(this.#inodeOffset(info.inode) + EXT2.inode.fileAcl) === 0 ? 0 : this.blockSize / 512;
    return info.kind === 'symlink' && info.blocks512 === acl;
  }

  /** Content of a file, directory or symlink (its target). */
  content(inode: number): Uint8Array {
    const info = this.inode(inode);
    const data = new Uint8Array(info.size);
    if (info.kind === 'other') return data;
    if (this.#isFastSymlink(info)) { const at = this.#inodeOffset(inode) + EXT2.inode.block; return this.bytes.slice(at, at + Math.min(info.size, 60)); }
    this.#eachBlock(inode, (index, block) => {
      if (index < 0) return;
      const from = index * this.blockSize;
      if (from < info.size) data.set(this.#block(block, inode).subarray(0, Math.min(this.blockSize, info.size - from)), from);
    });
    return data;
  }

  list(inode: number): DirectoryEntryInfo[] {
    const data = this.content(inode), view = new DataView(data.buffer, data.byteOffset), entries: DirectoryEntryInfo[] = [];
    if (data.length % this.blockSize !== 0) throw new Error(`directory ${inode}: its size is not a multiple of the block size`);
    for (let at = 0; at < data.length;) {
      const recLen = view.getUint16(at + EXT2.dirent.recLen, true), nameLen = data[at + EXT2.dirent.nameLen]!, target = view.getUint32(at, true);
      if (recLen < 12 || recLen % 4 !== 0 || (at % this.blockSize) + recLen > this.blockSize || nameLen + 8 > recLen) throw new Error(`directory ${inode}: bad entry at byte ${at}`);
      if (target !== 0) entries.push({ name: Buffer.from(data.subarray(at + 8, at + 8 + nameLen)).toString(), inode: target, fileType: data[at + EXT2.dirent.fileType]! });
      at += recLen;
    }
    return entries;
  }

  /** Inode of an absolute path; symlinks are not followed. undefined = absent. */
  lookup(path: string): number | undefined {
    let inode: number = EXT2.rootInode;
    for (const part of path.split('/').filter(Boolean)) {
      if (this.inode(inode).kind !== 'directory') return undefined;
      const entry = this.list(inode).find((candidate) => candidate.name === part);
      if (entry === undefined) return undefined;
      inode = entry.inode;
    }
    return inode;
  }
  read(path: string): Uint8Array {
    const inode = this.lookup(path);
    if (inode === undefined) throw new Error(`${path} is not in the image`);
    return this.content(inode);
  }

  /** Everything reachable from the root, depth first in directory order. */
  *walk(path = '/', inode: number = EXT2.rootInode, depth = 0): Generator<WalkEntry> {
    const info = this.inode(inode);
    yield { ...info, path, ...(info.kind === 'symlink' ? { target: Buffer.from(this.content(inode)).toString() } : {}) };
    if (info.kind !== 'directory') return;
    if (depth > MAX_DIRECTORY_DEPTH) throw new Error(`${path}: directories nest deeper than ${MAX_DIRECTORY_DEPTH}`);
    for (const entry of this.list(inode)) {
      if (entry.name !== '.' && entry.name !== '..') yield* this.walk(path === '/' ? `/${entry.name}` : `${path}/${entry.name}`, entry.inode, depth + 1);
    }
  }

  /** Inconsistencies in words; empty = consistent. */
  verify(): string[] {
    const problems: string[] = [], owner = new Map<number, number>(), links = new Map<number, number>(), seen = new Set<number>();
    const descriptors = Math.ceil(this.#groups * EXT2.groupDescriptorBytes / this.blockSize);
    const claim = (block: number, whose: number): void => {
      if (owner.has(block)) problems.push(`block ${block} belongs to inode ${owner.get(block)} and inode ${whose}`);
      owner.set(block, whose);
    };
    const reach = (inode: number, parent: number, depth: number): void => {
      links.set(inode, (links.get(inode) ?? 0) + 1);
      if (seen.has(inode)) { if (this.inode(inode).kind === 'directory') problems.push(`directory ${inode} has two names`); return; }
      seen.add(inode);
      if (depth > MAX_DIRECTORY_DEPTH) { problems.push(`directory ${inode} lies too deep`); return; }
      const info = this.inode(inode);
      let used = 0;
      if (!this.#isFastSymlink(info) && info.kind !== 'other') this.#eachBlock(inode, (index, block) => { claim(block, inode); used++; if (index >= 0 && index * this.blockSize >= info.size) problems.push(`inode ${inode}: block ${block} lies behind its end`); });
      const acl = this.#u32(this.#inodeOffset(inode) + EXT2.inode.fileAcl);
      if (acl !== 0) used++;
      if (used * (this.blockSize / 512) !== info.blocks512) problems.push(`inode ${inode}: i_blocks is ${info.blocks512}, not ${used * (this.blockSize / 512)}`);
      if (info.kind !== 'directory') return;
      const entries = this.list(inode);
      if (entries[0]?.name !== '.' || entries[0].inode !== inode) problems.push(`directory ${inode}: its first entry is not "."`);
      if (entries[1]?.name !== '..' || entries[1].inode !== parent) problems.push(`directory ${inode}: its second entry is not ".." of ${parent}`);
      links.set(inode, (links.get(inode) ?? 0) + 1);
      const names = new Set<string>();
      for (const entry of entries.slice(2)) {
        if (names.has(entry.name)) problems.push(`directory ${inode}: "${entry.name}" occurs twice`);
        names.add(entry.name);
        reach(entry.inode, inode, depth + 1);
        if (this.inode(entry.inode).kind === 'directory') links.set(inode, (links.get(inode) ?? 0) + 1);
      }
    };
    try { reach(EXT2.rootInode, EXT2.rootInode, 0); } catch (error) { problems.push((error as Error).message); return problems; }
    for (const [inode, count] of links) if (this.inode(inode).links !== count) problems.push(`inode ${inode} has ${this.inode(inode).links} links, not ${count}`);
    let freeBlocks = 0, freeInodes = 0;
    const reserved = this.#super(EXT2.superblock.revision) === 0 ? EXT2.firstInodeRev0 : this.#super(EXT2.superblock.firstInode);
    for (let group = 0; group < this.#groups; group++) {
      const at = this.#descriptor(group), start = this.#first + group * this.#perGroup, count = Math.min(this.#perGroup, this.blocks - start);
      const table = this.#u32(at + EXT2.group.inodeTable), tableBlocks = Math.ceil(this.#inodesPerGroup * this.#inodeSize / this.blockSize);
      const bitmap = this.#block(this.#u32(at + EXT2.group.blockBitmap), 0), inodeBitmap = this.#block(this.#u32(at + EXT2.group.inodeBitmap), 0);
      const head = group === 0 || this.bytes[start * this.blockSize + (this.#first === 0 && group === 0 ? 1024 : 0) + EXT2.superblock.magic] === 0x53 ? 1 + descriptors : 0;
      let free = 0, freeHere = 0;
      for (let i = 0; i < count; i++) {
        const block = start + i, isMeta = i < head || block === this.#u32(at) || block === this.#u32(at + 4) || (block >= table && block < table + tableBlocks);
        const marked = (bitmap[i >> 3]! >> (i & 7) & 1) === 1;
        if (!marked) { free++; if (isMeta || owner.has(block)) problems.push(`block ${block} is used but free in its bitmap`); }
        else if (!isMeta && !owner.has(block) && (this.#super(EXT2.superblock.featureCompat) & (EXT2.compat.resizeInode | EXT2.compat.extAttr)) === 0) problems.push(`block ${block} is marked used but belongs to nobody`);
      }
      for (let i = 0; i < this.#inodesPerGroup; i++) {
        const inode = group * this.#inodesPerGroup + i + 1, marked = (inodeBitmap[i >> 3]! >> (i & 7) & 1) === 1;
        if (!marked) { freeHere++; if (seen.has(inode)) problems.push(`inode ${inode} is used but free in its bitmap`); }
        else if (!seen.has(inode) && inode >= reserved && this.inode(inode).links === 0) problems.push(`inode ${inode} is marked used but has no name and no links`);
      }
      if (free !== this.#u16(at + EXT2.group.freeBlocks)) problems.push(`group ${group}: ${this.#u16(at + EXT2.group.freeBlocks)} free blocks recorded, ${free} counted`);
      if (freeHere !== this.#u16(at + EXT2.group.freeInodes)) problems.push(`group ${group}: ${this.#u16(at + EXT2.group.freeInodes)} free inodes recorded, ${freeHere} counted`);
      freeBlocks += free; freeInodes += freeHere;
    }
    if (freeBlocks !== this.freeBlocks) problems.push(`${this.freeBlocks} free blocks recorded, ${freeBlocks} counted`);
    if (freeInodes !== this.freeInodes) problems.push(`${this.freeInodes} free inodes recorded, ${freeInodes} counted`);
    return problems;
  }
}
