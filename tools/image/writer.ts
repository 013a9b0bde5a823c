/**
 * ext2 writer: entries -> image bytes, without root, mkfs or mount. The result is revision 1 with `filetype`, `sparse_super` and `large_file`,
 * what every ext2 implementation reads and `e2fsck -fn` accepts. Same input, same bytes: uuid and times are parameters, never the clock.
 *
 * Placement: metadata first in each group, then everything in the order of the entries, bump-allocated, so that a file is contiguous and
 * a sequential reader sees long runs (an indirect block lies just before the blocks it names).
 *
 *   group g: [superblock + descriptors, if g is 0, 1 or a power of 3, 5, 7] block bitmap · inode bitmap · inode table · data
 */
import { createHash } from 'node:crypto';
import { EXT2 } from '../../servers/protocols/ext2.ts';
import { normalizePath, type Entry } from './entries.ts';

export interface BuildOptions {
  readonly entries: readonly Entry[];
  readonly sizeMiB: number;
  readonly blockSize?: 1024 | 2048 | 4096;
  readonly inodeSize?: 128 | 256;
  /** Number of inodes; default one per 8 KiB, and never fewer than 1.5 x entries + 64. */
  readonly inodes?: number;
  readonly label?: string;
  /** Default: derived from the label. */
  readonly uuid?: string;
  /** Seconds since 1970 for everything that has no time of its own. */
  readonly time?: number;
}
/** 2026-01-01 00:00:00 UTC: the time of everything in an image that says nothing else. */
export const DEFAULT_TIME = 1_767_225_600;

interface Node {
  readonly inode: number;
  readonly mode: number;
  readonly time: number;
  readonly children: Map<string, Node> | null;
  readonly data: Uint8Array | null;
  readonly sparse: boolean;
  links: number;
}

export function hasSuperblockBackup(group: number): boolean {
  if (group <= 1) return true;
  for (const base of [3, 5, 7]) { let power = base; while (power < group) power *= base; if (power === group) return true; }
  return false;
}

function uuidBytes(uuid: string | undefined, label: string): Uint8Array {
  if (uuid === undefined) {
    const bytes = createHash('sha256').update(`kintsugi image ${label}`).digest().subarray(0, 16);
    bytes[6] = (bytes[6]! & 0x0f) | 0x40; bytes[8] = (bytes[8]! & 0x3f) | 0x80; // RFC 9562 section 5.4: version 4, variant 10
    return bytes;
  }
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(uuid)) throw new Error(`"${uuid}" is not a UUID`);
  return Uint8Array.from(Buffer.from(uuid.replaceAll('-', ''), 'hex'));
}

export function buildExt2(options: BuildOptions): Uint8Array {
  return new Writer(options).build();
}

class Writer {
  readonly #options: BuildOptions;
  readonly #bs: number;
  readonly #inodeSize: number;
  readonly #time: number;
  readonly #image: Uint8Array;
  readonly #view: DataView;
  readonly #blocks: number;
  readonly #first: number;
  readonly #perGroup: number;
  readonly #groups: number;
  readonly #inodesPerGroup: number;
  readonly #used: Uint8Array; // one byte per block
  readonly #inodeTables: number[] = [];
  readonly #usedDirectories: number[];
  #cursor = 0;
  #nextInode: number = EXT2.firstInodeRev0;

  constructor(options: BuildOptions) {
    this.#options = options;
    this.#bs = options.blockSize ?? 4096;
    this.#inodeSize = options.inodeSize ?? 128;
    this.#time = options.time ?? DEFAULT_TIME;
    const bs = this.#bs;
    this.#first = bs === 1024 ? 1 : 0;
    this.#perGroup = bs * 8;
    let blocks = Math.floor(options.sizeMiB * 1048576 / bs);
    if (!(blocks >= 64)) throw new Error(`an image of ${options.sizeMiB} MiB is too small for ext2`);
    let groups = Math.ceil((blocks - this.#first) / this.#perGroup);
    const wanted = Math.max(options.inodes ?? Math.floor(blocks * bs / 8192), Math.ceil(options.entries.length * 1.5) + 64);
    const perBlock = bs / this.#inodeSize;
    const inodesOf = (count: number): number => Math.min(bs * 8, Math.ceil(wanted / count / perBlock) * perBlock);
    // A last group that cannot hold its own metadata and a little data is left off, as mke2fs does.
    const last = blocks - this.#first - (groups - 1) * this.#perGroup;
    if (groups > 1 && last < 2 + Math.ceil(groups * 32 / bs) + 2 + inodesOf(groups) / perBlock + 50) { groups--; blocks = this.#first + groups * this.#perGroup; }
    this.#blocks = blocks;
    this.#groups = groups;
    this.#inodesPerGroup = inodesOf(groups);
    if (this.#inodesPerGroup * groups < wanted) throw new Error(`${wanted} inodes do not fit into ${groups} group(s): make the image larger`);
    this.#image = new Uint8Array(options.sizeMiB * 1048576);
    this.#view = new DataView(this.#image.buffer);
    this.#used = new Uint8Array(blocks);
    this.#usedDirectories = new Array<number>(groups).fill(0);
  }

  build(): Uint8Array {
    this.#placeMetadata();
    const root = this.#tree();
    this.#writeTree(root, root);
    this.#writeBitmapsAndSuperblocks();
    return this.#image;
  }

  #groupStart(group: number): number { return this.#first + group * this.#perGroup; }
  #groupBlocks(group: number): number { return Math.min(this.#perGroup, this.#blocks - this.#groupStart(group)); }

  #placeMetadata(): void {
    const descriptors = Math.ceil(this.#groups * EXT2.groupDescriptorBytes / this.#bs);
    const table = this.#inodesPerGroup * this.#inodeSize / this.#bs;
    if (this.#first === 1) this.#used[0] = 1;
    for (let group = 0; group < this.#groups; group++) {
      const start = this.#groupStart(group);
      const head = hasSuperblockBackup(group) ? 1 + descriptors : 0;
      if (head + 2 + table >= this.#groupBlocks(group)) throw new Error('the image is too small for its inode tables: fewer inodes or more MiB');
      this.#used.fill(1, start, start + head + 2 + table);
      this.#inodeTables.push(start + head + 2);
    }
  }

  #newNode(kind: number, mode: number, time: number | undefined, data: Uint8Array | null, sparse = false): Node {
    return { inode: this.#nextInode++, mode: kind | mode, time: time ?? this.#time, children: kind === EXT2.mode.directory ? new Map() : null, data, sparse, links: 0 };
  }

  #tree(): Node {
    const { directory, regular, symlink } = EXT2.mode;
    const root: Node = { inode: EXT2.rootInode, mode: directory | 0o755, time: this.#time, children: new Map(), data: null, sparse: false, links: 0 };
    root.children!.set('lost+found', this.#newNode(directory, 0o700, undefined, null));
    const modes = new Map(this.#options.entries.filter((entry) => entry.kind === 'directory').map((entry) => [normalizePath(entry.path), entry]));
    const walk = (path: string, make: boolean): Node => {
      let node = root, at = '';
      for (const part of path.split('/').filter(Boolean)) {
        if (node.children === null) throw new Error(`image path "${path}": "${at}" is not a directory`);
        at += '/' + part;
        let child = node.children.get(part);
        if (child === undefined) {
          if (!make) throw new Error(`image path "${path}" does not exist`);
          if (Buffer.byteLength(part) > EXT2.maxNameBytes) throw new Error(`image path "${path}": a name is longer than 255 bytes`);
          const entry = modes.get(at);
          child = this.#newNode(directory, (entry as { mode?: number } | undefined)?.mode ?? 0o755, (entry as { time?: number } | undefined)?.time, null);
          node.children.set(part, child);
        }
        node = child;
      }
      if (node.children === null && make) throw new Error(`image path "${path}" is not a directory`);
      return node;
    };
    for (const entry of this.#options.entries) {
      const path = normalizePath(entry.path);
      if (entry.kind === 'directory') { walk(path, true); continue; }
      const slash = path.lastIndexOf('/');
      const name = path.slice(slash + 1), parent = walk(path.slice(0, slash), true);
      if (name === '' || Buffer.byteLength(name) > EXT2.maxNameBytes) throw new Error(`image path "${path}": the name is empty or longer than 255 bytes`);
      if (parent.children!.has(name)) throw new Error(`image path "${path}" is listed twice`);
      if (entry.kind === 'file') parent.children!.set(name, this.#newNode(regular, entry.mode ?? 0o644, entry.time, entry.data, entry.sparse ?? false));
      else if (entry.kind === 'symlink') parent.children!.set(name, this.#newNode(symlink, 0o777, entry.time, new TextEncoder().encode(entry.target)));
      else {
        const target = walk(normalizePath(entry.target), false);
        if (target.children !== null) throw new Error(`image path "${path}": hard links to directories are impossible`);
        parent.children!.set(name, target);
      }
    }
    return root;
  }

  #allocate(): number {
    while (this.#cursor < this.#blocks && this.#used[this.#cursor] === 1) this.#cursor++;
    if (this.#cursor >= this.#blocks) throw new Error(`the content does not fit into ${this.#options.sizeMiB} MiB`);
    this.#used[this.#cursor] = 1;
    return this.#cursor++;
  }

  #inodeOffset(inode: number): number {
    const group = Math.floor((inode - 1) / this.#inodesPerGroup);
    if (group >= this.#groups) throw new Error('out of inodes: raise `inodes`');
    return this.#inodeTables[group]! * this.#bs + ((inode - 1) % this.#inodesPerGroup) * this.#inodeSize;
  }

  #writeTree(node: Node, parent: Node): void {
    if (node.links++ > 0) return; // a further name of a file already written
    if (node.children === null) {
      this.#writeInode(node, node.data!);
      return;
    }
    const group = Math.floor((node.inode - 1) / this.#inodesPerGroup);
    this.#usedDirectories[group] = (this.#usedDirectories[group] ?? 0) + 1;
    this.#writeInode(node, this.#directoryData(node, parent));
    for (const child of node.children.values()) {
      this.#writeTree(child, node);
      if (child.children !== null) node.links++; // its ".."
    }
    node.links++; // "."; the name in the parent was counted on entry
    this.#view.setUint16(this.#inodeOffset(node.inode) + EXT2.inode.links, node.links, true);
    for (const child of node.children.values()) this.#view.setUint16(this.#inodeOffset(child.inode) + EXT2.inode.links, child.links, true);
  }

  #directoryData(node: Node, parent: Node): Uint8Array {
    const bs = this.#bs, type = EXT2.fileType;
    const names: [Uint8Array, number, number][] = [[Buffer.from('.'), node.inode, type.directory], [Buffer.from('..'), parent.inode, type.directory]];
    for (const [name, child] of node.children!) {
      names.push([Buffer.from(name), child.inode, child.children !== null ? type.directory : (child.mode & EXT2.mode.format) === EXT2.mode.symlink ? type.symlink : type.regular]);
    }
    const lostFound = parent === node ? 0 : node === parent.children?.get('lost+found') ? Math.min(16384, 12 * bs) : 0; // room for e2fsck
    const blocks: Uint8Array[] = [];
    let block = new Uint8Array(bs), at = 0, last = 0;
    const finish = (): void => {
      new DataView(block.buffer).setUint16(last + EXT2.dirent.recLen, bs - last, true); // the last entry owns the rest of its block
      blocks.push(block); block = new Uint8Array(bs); at = 0; last = 0;
    };
    for (const [name, inode, fileType] of names) {
      const need = (EXT2.dirent.name + name.length + 3) & ~3;
      if (at + need > bs) finish();
      const view = new DataView(block.buffer);
      view.setUint32(at + EXT2.dirent.inode, inode, true);
      view.setUint16(at + EXT2.dirent.recLen, need, true);
      block[at + EXT2.dirent.nameLen] = name.length;
      block[at + EXT2.dirent.fileType] = fileType;
      block.set(name, at + EXT2.dirent.name);
      last = at; at += need;
    }
    finish();
    while (blocks.length * bs < lostFound) finish();
    return Uint8Array.from(Buffer.concat(blocks));
  }

  #writeInode(node: Node, data: Uint8Array): void {
    const at = this.#inodeOffset(node.inode), view = this.#view, f = EXT2.inode;
    view.setUint16(at + f.mode, node.mode, true);
    view.setUint32(at + f.size, data.length, true);
    for (const field of [f.atime, f.ctime, f.mtime]) view.setUint32(at + field, node.time, true);
    view.setUint16(at + f.links, 1, true);
    if (this.#inodeSize > 128) view.setUint16(at + f.extraIsize, 32, true);
    const symlink = (node.mode & EXT2.mode.format) === EXT2.mode.symlink;
    if (symlink && data.length >= this.#bs) throw new Error(`a symlink target of ${data.length} bytes does not fit into one block`);
    if (symlink && data.length < EXT2.fastSymlinkBytes) { this.#image.set(data, at + f.block); return; }
    const allocated = this.#writeData(at + f.block, data, node.sparse);
    view.setUint32(at + f.blocks512, allocated * (this.#bs / 512), true);
  }

  /** Lays the data out behind 15 block pointers at byte `pointers`; returns the number of blocks used, indirect ones included. */
  #writeData(pointers: number, data: Uint8Array, sparse: boolean): number {
    const bs = this.#bs, total = Math.ceil(data.length / bs), perBlock = bs / 4;
    let next = 0, allocated = 0;
    const isHole = (index: number): boolean => sparse && data.subarray(index * bs, (index + 1) * bs).every((byte) => byte === 0);
    const leaf = (): number => {
      const index = next++;
      if (isHole(index)) return 0;
      const block = this.#allocate(); allocated++;
      this.#image.set(data.subarray(index * bs, (index + 1) * bs), block * bs);
      return block;
    };
    const tree = (level: number): number => {
      if (level === 0) return leaf();
      const span = perBlock ** level;
      let empty = sparse;
      for (let i = next; empty && i < Math.min(total, next + span); i++) empty = isHole(i);
      if (empty) { next += span; return 0; }
      const block = this.#allocate(); allocated++;
      for (let i = 0; i < perBlock && next < total; i++) this.#view.setUint32(block * bs + i * 4, tree(level - 1), true);
      return block;
    };
    for (let i = 0; i < EXT2.blockPointers && next < total; i++) this.#view.setUint32(pointers + i * 4, tree(i < EXT2.direct ? 0 : i - EXT2.direct + 1), true);
    if (next < total) throw new Error('a file is too large for ext2 with this block size');
    return allocated;
  }

  #writeBitmapsAndSuperblocks(): void {
    const bs = this.#bs;
    const descriptors = new Uint8Array(Math.ceil(this.#groups * EXT2.groupDescriptorBytes / bs) * bs), view = new DataView(descriptors.buffer);
    const usedInodes = this.#nextInode - 1; // 1..10 are reserved, the rest is handed out in order
    let freeBlocks = 0;
    for (let group = 0; group < this.#groups; group++) {
      const start = this.#groupStart(group), count = this.#groupBlocks(group), tableStart = this.#inodeTables[group]!;
      const bitmap = this.#image.subarray((tableStart - 2) * bs, (tableStart - 1) * bs), inodeBitmap = this.#image.subarray((tableStart - 1) * bs, tableStart * bs);
      let free = 0;
      for (let i = 0; i < bs * 8; i++) {
        if (i >= count || this.#used[start + i] === 1) bitmap[i >> 3]! |= 1 << (i & 7); else free++;
        const taken = i >= this.#inodesPerGroup || group * this.#inodesPerGroup + i + 1 <= usedInodes;
        if (taken) inodeBitmap[i >> 3]! |= 1 << (i & 7);
      }
      const at = group * EXT2.groupDescriptorBytes, f = EXT2.group;
      view.setUint32(at + f.blockBitmap, tableStart - 2, true);
      view.setUint32(at + f.inodeBitmap, tableStart - 1, true);
      view.setUint32(at + f.inodeTable, tableStart, true);
      view.setUint16(at + f.freeBlocks, free, true);
      view.setUint16(at + f.freeInodes, this.#inodesPerGroup - Math.min(this.#inodesPerGroup, Math.max(0, usedInodes - group * this.#inodesPerGroup)), true);
      view.setUint16(at + f.usedDirs, this.#usedDirectories[group]!, true);
      freeBlocks += free;
    }
    for (let group = 0; group < this.#groups; group++) {
      if (!hasSuperblockBackup(group)) continue;
      const superblock = this.#superblock(group, freeBlocks, this.#groups * this.#inodesPerGroup - usedInodes);
      const at = group === 0 ? EXT2.superblockOffset : this.#groupStart(group) * bs;
      this.#image.set(superblock, at);
      this.#image.set(descriptors, (this.#groupStart(group) + 1) * bs);
    }
  }

  #superblock(group: number, freeBlocks: number, freeInodes: number): Uint8Array {
    const bytes = new Uint8Array(EXT2.superblockBytes), view = new DataView(bytes.buffer), f = EXT2.superblock, label = this.#options.label ?? '';
    if (Buffer.byteLength(label) > 16) throw new Error(`the label "${label}" is longer than 16 bytes`);
    const u32 = (offset: number, value: number): void => view.setUint32(offset, value, true), u16 = (offset: number, value: number): void => view.setUint16(offset, value, true);
    u32(f.inodesCount, this.#groups * this.#inodesPerGroup); u32(f.blocksCount, this.#blocks);
    u32(f.freeBlocks, freeBlocks); u32(f.freeInodes, freeInodes); u32(f.firstDataBlock, this.#first);
    u32(f.logBlockSize, Math.log2(this.#bs) - 10); u32(f.logFragSize, Math.log2(this.#bs) - 10);
    u32(f.blocksPerGroup, this.#perGroup); u32(f.fragsPerGroup, this.#perGroup); u32(f.inodesPerGroup, this.#inodesPerGroup);
    u32(f.writeTime, this.#time); u32(f.lastCheck, this.#time);
    u16(f.maxMountCount, 0xffff); u16(f.magic, EXT2.magic); u16(f.state, EXT2.state.valid); u16(f.errors, 1);
    u32(f.revision, 1); u32(f.firstInode, EXT2.firstInodeRev0); u16(f.inodeSize, this.#inodeSize); u16(f.blockGroup, group);
    u32(f.featureIncompat, EXT2.incompat.filetype); u32(f.featureRoCompat, EXT2.roCompat.sparseSuper | EXT2.roCompat.largeFile);
    bytes.set(uuidBytes(this.#options.uuid, label), f.uuid);
    bytes.set(Buffer.from(label), f.volumeName);
    if (this.#inodeSize > 128) { u16(f.minExtraIsize, 32); u16(f.wantExtraIsize, 32); }
    return bytes;
  }
}
