/**
 * A file server in Node over an in-memory disk, with the faults that matter: bad sectors, and death at any point where the server touches the
 * outside (window open/close, device request), after which a new instance takes over state, cache and disk.
 */
import { FS } from '../../servers/protocols/fs.ts';
import { compileGuest, withIntrinsics } from './compile.ts';

const MiB = 1 << 20;
const HEAP = 1 * MiB, STATE = 16 * MiB, CACHE = 24 * MiB, SHARED = 200 * MiB;
const STATE_BYTES = 1 * MiB, SHARED_BYTES = FS.dataBytes;
export const PATH_AT = 0, PATH2_AT = 8192, DATA_AT = 16384;
export const DATA_ROOM = SHARED_BYTES - DATA_AT;

export class Death extends Error {}
export interface Stat { inode: number; mode: number; links: number; size: number; blocks512: number; mtime: number }
export interface Dirent { name: string; inode: number; type: number }
interface Exports {
  start(deviceBytes: number, readonly: number, heap: number, heapBytes: number, state: number, stateBytes: number, cache: number, cacheBytes: number, shared: number, sharedBytes: number): number;
  request(code: number, ringSlot: number, keySeq: number, a0: number, a1: number, a2: number, a3: number, a4: number, a5: number): number;
  result(n: number): number; check(): number; counter(n: number): number; _start?(): void;
}
let module: Promise<WebAssembly.Module> | undefined;
const load = (): Promise<WebAssembly.Module> => (module ??= compileGuest('test/fs/guest/harness.ts', ['servers/fs', 'servers/lib', 'test/fs/guest']).then((bytes) => WebAssembly.compile(bytes as Uint8Array<ArrayBuffer>)));

export const COUNTER = { readBlocks: 0, writtenBlocks: 1, checksumFailures: 2, droppedSlots: 3, commits: 4, replayed: 5, oddFrees: 6, attached: 7, orphansFreed: 8, dirtySlots: 9, readOnly: 10, unclean: 11, unknownFeatures: 12 } as const;
const REFUSED: Readonly<Record<number, string>> = { [-1001]: 'magic', [-1002]: 'block size', [-1003]: 'geometry', [-1004]: 'inode size', [-1005]: 'feature', [-1006]: 'descriptor', [-1007]: 'device', [-1008]: 'memory' };
export const ERRNO: Readonly<Record<number, string>> = { 1: 'EPERM', 2: 'ENOENT', 5: 'EIO', 9: 'EBADF', 16: 'EBUSY', 17: 'EEXIST', 20: 'ENOTDIR', 21: 'EISDIR', 22: 'EINVAL', 23: 'ENFILE', 27: 'EFBIG', 28: 'ENOSPC', 30: 'EROFS', 31: 'EMLINK', 36: 'ENAMETOOLONG', 38: 'ENOSYS', 39: 'ENOTEMPTY', 40: 'ELOOP', 116: 'ESTALE' };

export class FileServer {
  readonly disk: Uint8Array;
  readonly memory = new WebAssembly.Memory({ initial: 4096, maximum: 4096 });
  readonly u8: Uint8Array;
  readonly view: DataView;
  /** Sectors that cannot be read or written. */
  readonly badSectors = new Set<number>();
  /** Throws Death when it reaches 0; counts window and device events. */
  countdown = Infinity;
  events = 0;
  /** Death is the end: no successor takes over. */
  powerCut = false;
  /** Deaths survived by `#call` (a new incarnation, the same request again). */
  deaths = 0;
  /** Of the calls of `differ`, the one with this number overlooks every difference: a fault of the server's text. What it dies of counts as a death. */
  lieAt = -1;
  differs = 0;
  #guest!: Exports;
  #module: WebAssembly.Module;
  #readonly = false;
  #window = false;
  #seq = 0;
  #clock = 1_780_000_000;
  readonly #cacheBytes: number;

  private constructor(disk: Uint8Array, cacheBytes: number, compiled: WebAssembly.Module) {
    this.#module = compiled;
    this.disk = disk; this.#cacheBytes = cacheBytes;
    this.u8 = new Uint8Array(this.memory.buffer); this.view = new DataView(this.memory.buffer);
  }
  /** Mounts; a refusal is thrown as Error('refused: why'). */
  static async start(disk: Uint8Array, options: { cacheBytes?: number; readonly?: boolean } = {}): Promise<FileServer> {
    const server = new FileServer(disk, options.cacheBytes ?? 4 * MiB, await load());
    server.#readonly = options.readonly ?? false;
    server.boot();
    return server;
  }
  /** A new incarnation over the same state, cache, shared area and disk; private memory is poisoned. */
  boot(): void {
    this.u8.fill(0, 65536, HEAP); // static data of the module
    this.u8.fill(0xa5, HEAP, STATE);
    this.#window = false;
    const event = (): void => { this.events++; if (--this.countdown <= 0) { this.countdown = Infinity; throw new Death(); } };
    const device = {
      pause: (): void => { throw new Error('pause with a disk that answers at once: nothing will ever happen'); },
      windowOpen: (): void => {
        if (this.#window) throw new Error('window opened twice');
        event();
        this.#window = true;
        this.#before = this.countdown <= 1 ? this.u8.slice(STATE, CACHE + this.#cacheBytes) : undefined;
      },
      windowClose: (): void => {
        if (!this.#window) throw new Error('window closed twice');
        if (this.countdown <= 1) this.#tear();
        event();
        this.#window = false;
      },
      clock: (): number => this.#clock++,
      submit: (operation: number, sector: number, sectors: number, offset: number): number => {
        if (this.#window) throw new Error('device request inside the window');
        event();
        if (operation === 4) return 0;
        if (offset + sectors * 512 > this.#cacheBytes) throw new Error('DMA outside the cache');
        if ((sector + sectors) * 512 > this.disk.length) throw new Error(`request behind the end of the disk: sector ${sector}`);
        for (let i = 0; i < sectors; i++) if (this.badSectors.has(sector + i)) return 5;
        if (operation === 2) this.u8.set(this.disk.subarray(sector * 512, (sector + sectors) * 512), CACHE + offset);
        else this.disk.set(this.u8.subarray(CACHE + offset, CACHE + offset + sectors * 512), sector * 512);
        return 0;
      },
    };
    const instance = new WebAssembly.Instance(this.#module, withIntrinsics(this.#module, this.memory, { env: { memory: this.memory }, device }, () => this.differs++ === this.lieAt));
    this.#guest = instance.exports as unknown as Exports;
    const status = this.#guest.start(this.disk.length, this.#readonly ? 1 : 0, HEAP, STATE - HEAP, STATE, STATE_BYTES, CACHE, this.#cacheBytes, SHARED, SHARED_BYTES);
    if (status !== 0) throw new Error(`refused: ${REFUSED[status] ?? status}`);
  }
  counter(name: keyof typeof COUNTER): number { return this.#guest.counter(COUNTER[name]); }
  check(): number { return this.#guest.check(); }
  wildWrite(offset: number, value: number): void { this.u8[CACHE + offset] = value; }
  get cache(): Uint8Array { return this.u8.subarray(CACHE, CACHE + this.#cacheBytes); }
  get state(): Uint8Array { return this.u8.subarray(STATE, STATE + STATE_BYTES); }

  /** One request with the next key; the last key again with `again`. Status as the server gave it. */
  raw(op: keyof typeof FS.ops, args: readonly number[], again = false): number {
    if (!again) this.#seq++;
    const [a0 = 0, a1 = 0, a2 = 0, a3 = 0, a4 = 0, a5 = 0] = args;
    return this.#guest.request(FS.ops[op].op, this.#seq & 63, this.#seq, a0, a1, a2, a3, a4, a5);
  }
  result(n: number): number { return this.#guest.result(n) >>> 0; }
  #path(text: string | Uint8Array, at = PATH_AT): number {
    const bytes = typeof text === 'string' ? Buffer.from(text) : text;
    this.u8.set(bytes.subarray(0, 8192), SHARED + at);
    return bytes.length;
  }
  #call(op: keyof typeof FS.ops, args: readonly number[]): number {
    let status: number | undefined;
    for (let again = false; status === undefined; again = true) {
      try { status = this.raw(op, args, again); } catch (error) {
        if (!(error instanceof Death || (error instanceof WebAssembly.RuntimeError && this.lieAt >= 0)) || this.powerCut) throw error;
        this.#reboot();
      }
    }
    if (status < 0) throw new Error(ERRNO[-status] ?? `status ${status}`);
    return status;
  }
  /**
   * Death inside the window: only some of its stores have happened. Of a commit, the redo record and `lsn` have, of the rest any words
   * (whatever the order, replay must mend it); of any other window any words.
   */
  #tear(): void {
    const before = this.#before;
    if (before === undefined) return;
    const old = new Uint32Array(before.buffer), now = new Uint32Array(this.memory.buffer, STATE, old.length), LSN = 20 >> 2, APPLIED = 24 >> 2;
    const redo = (28672 + now[2]! * 16) >> 2, committed = now[LSN] !== old[LSN];
    const random = (): number => { this.#random = (Math.imul(this.#random, 1664525) + 1013904223) >>> 0; return this.#random >>> 16; };
    const percent = random() % 101, early = committed && random() % 2 === 0; // the store of lsn has not happened, nor anything behind it
    for (let i = 0; i < old.length; i++) {
      if (now[i] === old[i]) continue;
      if (i >= redo && i < STATE_BYTES >> 2) continue;
      if (early) { now[i] = old[i]!; continue; }
      if (i === LSN) continue;
      if (i === APPLIED ? committed : random() % 100 < percent) now[i] = old[i]!;
    }
    this.tears++;
  }
  #before: Uint8Array | undefined;
  #random = 1;
  tears = 0;
  /** Death may strike the successor while it attaches, too. */
  #reboot(): void {
    for (;;) {
      this.deaths++;
      try { this.boot(); return; } catch (error) { if (!(error instanceof Death)) throw error; }
    }
  }
  putShared(at: number, bytes: Uint8Array): void { this.u8.set(bytes, SHARED + at); }
  getShared(at: number, bytes: number): Uint8Array { return this.u8.slice(SHARED + at, SHARED + at + bytes); }

  open(id: number, path: string, flags = 0, mode = 0o644, directory = 2): number { this.#call('open', [id, directory, PATH_AT, this.#path(path), flags, mode]); return this.result(0); }
  close(id: number): void { this.#call('close', [id]); }
  read(inode: number, position: number, bytes: number): Uint8Array {
    this.#call('read', [inode, position >>> 0, Math.floor(position / 2 ** 32), DATA_AT, bytes]);
    return this.getShared(DATA_AT, this.result(0));
  }
  write(inode: number, position: number, data: Uint8Array, append = false): number {
    this.putShared(DATA_AT, data);
    this.#call('write', [inode, position >>> 0, Math.floor(position / 2 ** 32), DATA_AT, data.length, append ? 1 : 0]);
    return this.result(0);
  }
  truncate(inode: number, size: number): void { this.#call('truncate', [inode, size >>> 0, Math.floor(size / 2 ** 32)]); }
  mkdir(path: string, mode = 0o755): number { this.#call('mkdir', [2, PATH_AT, this.#path(path), mode]); return this.result(0); }
  unlink(path: string): void { this.#call('unlink', [2, PATH_AT, this.#path(path)]); }
  rmdir(path: string): void { this.#call('rmdir', [2, PATH_AT, this.#path(path)]); }
  rename(from: string, to: string): void { this.#call('rename', [2, PATH_AT, this.#path(from), 2, PATH2_AT, this.#path(to, PATH2_AT)]); }
  link(from: string, to: string): void { this.#call('link', [2, PATH_AT, this.#path(from), 2, PATH2_AT, this.#path(to, PATH2_AT)]); }
  symlink(target: string, path: string): number { this.#call('symlink', [2, PATH_AT, this.#path(path), PATH2_AT, this.#path(target, PATH2_AT)]); return this.result(0); }
  readlink(path: string): string { this.#call('readlink', [2, PATH_AT, this.#path(path), DATA_AT, 4096]); return Buffer.from(this.getShared(DATA_AT, this.result(0))).toString(); }
  chmod(path: string, mode: number): void { this.#call('chmod', [2, PATH_AT, this.#path(path), mode]); }
  sync(): void { this.#call('sync', []); }
  statfs(): { free: number; blocks: number; blockSize: number } { this.#call('statfs', [DATA_AT]); return { free: this.result(0), blocks: this.result(1), blockSize: this.result(2) }; }
  stat(path: string, nofollow = true): Stat { return this.#stat(2, path, nofollow); }
  fstat(inode: number): Stat { return this.#stat(inode, '', true); }
  #stat(directory: number, path: string, nofollow: boolean): Stat {
    this.#call('stat', [directory, PATH_AT, this.#path(path), DATA_AT, nofollow ? 1 : 0]);
    const f = FS.stat, at = SHARED + DATA_AT, u32 = (field: number): number => this.view.getUint32(at + field, true);
    return { inode: u32(f.inode), mode: u32(f.mode), links: u32(f.links), size: u32(f.sizeLo) + u32(f.sizeHi) * 2 ** 32, blocks512: u32(f.blocks512), mtime: u32(f.mtime) };
  }
  readdir(inode: number, room = 65536): Dirent[] {
    const entries: Dirent[] = [];
    for (let position = 0; ;) {
      this.#call('readdir', [inode, position, DATA_AT, room]);
      const bytes = this.result(0), records = Buffer.from(this.getShared(DATA_AT, bytes));
      if (bytes === 0) return entries;
      position = this.result(1);
      for (let at = 0; at < bytes;) {
        const nameBytes = records[at + FS.dirent.nameBytes]!;
        entries.push({ inode: records.readUInt32LE(at), type: records[at + FS.dirent.type]!, name: records.subarray(at + FS.dirent.name, at + FS.dirent.name + nameBytes).toString() });
        at += (FS.dirent.name + nameBytes + 3) & ~3;
      }
    }
  }
  // Whole files by path, for tests that are about something else.
  writeWhole(path: string, data: Uint8Array): number {
    const inode = this.open(9999, path, 0x241);
    for (let at = 0; at < data.length;) at += this.write(inode, at, data.subarray(at, at + 262144));
    this.close(9999);
    return inode;
  }
  readWhole(path: string): Uint8Array {
    const info = this.stat(path, false), parts: Uint8Array[] = [];
    for (let at = 0; at < info.size;) { const part = this.read(info.inode, at, 262144); if (part.length === 0) break; parts.push(part); at += part.length; }
    return Buffer.concat(parts);
  }
}
