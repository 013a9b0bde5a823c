/**
 * Disk backends: where the sectors of a block device live on the host.
 *
 * Three ways to attach an image file: `raw` writes through to it, `overlay` keeps writes in memory (the file is never changed),
 * `readonly` refuses writes. `bytes` is a disk without a file. Reads and writes are synchronous, made by whichever worker runs the
 * device model, straight between the file and guest RAM; file descriptors are shared by the threads of the process.
 *
 * The image must never be damaged: a writable image is locked (flock; without it by a file `<image>.lock`, created exclusively,
 * holding the pid; a lock whose process is gone is taken over), sizes are checked before anything starts, no write extends the file.
 *
 * Overlay layout (shared memory, so that every worker and the snapshot see it): one byte per 4 KiB block, bit 0 = block is in the
 * overlay, bit 1 = changed since the last snapshot, bit 2 = since the last hash; then the blocks at their own offsets, committed by the host on first touch.
 */
import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';

export const SECTOR_BYTES = 512;
const BLOCK_BYTES = 4096;
export const OVERLAY_PRESENT = 1;
export const OVERLAY_CHANGED = 2;
export const OVERLAY_UNHASHED = 4;
const OVERLAY_WRITTEN = OVERLAY_PRESENT | OVERLAY_CHANGED | OVERLAY_UNHASHED;

export type DiskErrorCode = 'missing' | 'truncated' | 'empty' | 'unreadable' | 'read-only' | 'in-use' | 'too-big' | 'io';

/** What is wrong with an image, in words for the user. */
export class DiskError extends Error {
  override readonly name = 'DiskError';
  readonly code: DiskErrorCode;
  readonly image: string;
  readonly reason: string;
  constructor(code: DiskErrorCode, image: string, reason: string, options?: ErrorOptions) {
    super(`disk ${image}: ${reason}`, options);
    this.code = code;
    this.image = image;
    this.reason = reason;
  }
}

export type DiskMode = 'raw' | 'overlay' | 'readonly';
export interface DiskConfig {
  /** Image file; or `bytes`, a disk in memory. */
  readonly file?: string;
  readonly bytes?: Uint8Array;
  /** Writes stay in memory and the file is never changed. Default: true. */
  readonly overlay?: boolean;
  /** Refuse writes. */
  readonly readOnly?: boolean;
  /** GET_ID string, at most 20 characters. */
  readonly serial?: string;
}

/** Everything another thread needs to use an opened disk: plain data and shared memory. */
export interface DiskDescriptor {
  readonly name: string;
  readonly sectors: number;
  readonly fd: number;
  readonly mode: DiskMode;
  readonly serial: string;
  /** Per-block flags and block data; absent for raw and readonly files. */
  readonly overlayFlags?: SharedArrayBuffer;
  readonly overlayData?: SharedArrayBuffer;
}

/** Opens an image on the thread that owns the machine; `close` gives the lock back. */
export interface OpenedDisk { readonly descriptor: DiskDescriptor; close(): void }

export function openDisk(config: DiskConfig, index: number): OpenedDisk {
  const mode: DiskMode = config.readOnly ? 'readonly' : config.overlay === false ? 'raw' : 'overlay';
  const serial = config.serial ?? `kintsugi-${index}`;
  if (config.bytes) {
    const name = `memory disk ${index}`;
    checkSize(name, config.bytes.length);
    const descriptor = { name, sectors: config.bytes.length / SECTOR_BYTES, fd: -1, mode, serial, ...overlay(name, config.bytes.length) };
    new Uint8Array(descriptor.overlayData).set(config.bytes);
    new Uint8Array(descriptor.overlayFlags).fill(OVERLAY_WRITTEN);
    return { descriptor, close() {} };
  }
  const image = config.file;
  if (image === undefined) throw new DiskError('missing', `number ${index}`, 'neither a file nor bytes given');
  let stat: fs.Stats;
  try { stat = fs.statSync(image); } catch (cause) { throw new DiskError('missing', image, 'no such file', { cause }); }
  if (!stat.isFile()) throw new DiskError('unreadable', image, 'not a regular file');
  checkSize(image, stat.size);
  let fd: number;
  try { fd = fs.openSync(image, mode === 'raw' ? 'r+' : 'r'); } catch (cause) {
    if (['EACCES', 'EROFS', 'EPERM'].includes((cause as NodeJS.ErrnoException).code ?? '')) {
      throw mode === 'raw'
        ? new DiskError('read-only', image, 'the file cannot be written; attach it with an overlay (changes are dropped), or copy it', { cause })
        : new DiskError('unreadable', image, 'permission denied', { cause });
    }
    throw new DiskError('io', image, (cause as Error).message, { cause });
  }
  let unlock = (): void => {};
  if (mode === 'raw') try { unlock = lockImage(image, fd); } catch (error) { fs.closeSync(fd); throw error; }
  const descriptor = { name: image, sectors: stat.size / SECTOR_BYTES, fd, mode, serial, ...(mode === 'overlay' ? overlay(image, stat.size) : {}) };
  return { descriptor, close() { fs.closeSync(fd); unlock(); } };
}

/** Opens all or none. */
export function openDisks(configs: readonly DiskConfig[]): OpenedDisk[] {
  const opened: OpenedDisk[] = [];
  try { configs.forEach((config, index) => opened.push(openDisk(config, index))); } catch (error) {
    for (const disk of opened) disk.close();
    throw error;
  }
  return opened;
}

function checkSize(image: string, bytes: number): void {
  if (bytes === 0) throw new DiskError('empty', image, 'the image is empty');
  if (bytes % SECTOR_BYTES !== 0) throw new DiskError('truncated', image, `${bytes} bytes is not a multiple of ${SECTOR_BYTES}: the image is truncated`);
}

function overlay(image: string, bytes: number): { overlayFlags: SharedArrayBuffer; overlayData: SharedArrayBuffer } {
  const blocks = Math.ceil(bytes / BLOCK_BYTES);
  try { return { overlayFlags: new SharedArrayBuffer(blocks), overlayData: new SharedArrayBuffer(blocks * BLOCK_BYTES) }; }
  catch (cause) { throw new DiskError('too-big', image, `cannot reserve ${bytes} bytes for the overlay; attach it raw or read-only`, { cause }); }
}

/**
 * Locks an open image against other processes. Returns the function that gives the lock back.
 *
 * The kernel's lock on the file itself where there is `flock` (util-linux): it belongs to the open file, which the helper process shares
 * with us, so it holds under every name of the file and goes away with this process, however it ends. Elsewhere `<image>.lock`.
 */
function lockImage(image: string, fd: number): () => void {
  const helper = spawnSync('flock', ['-xn', '3'], { stdio: ['ignore', 'ignore', 'ignore', fd] });
  if (helper.error === undefined && helper.status === 0) return () => {};
  if (helper.error === undefined && helper.status === 1) throw new DiskError('in-use', image, `in use by ${holder(fd) ?? 'another process'}`);
  return lockFile(fs.realpathSync(image));
}

/** Who else has this file open, from /proc: "process 123 (node)". */
function holder(fd: number): string | undefined {
  const { dev, ino } = fs.fstatSync(fd);
  try {
    for (const pid of fs.readdirSync('/proc')) {
      if (!/^\d+$/.test(pid)) continue;
      let files: string[];
      try { files = fs.readdirSync(`/proc/${pid}/fd`); } catch { continue; } // not ours to see, or gone
      for (const file of files) {
        try {
          const stat = fs.statSync(`/proc/${pid}/fd/${file}`);
          if (stat.dev !== dev || stat.ino !== ino || (Number(pid) === process.pid && Number(file) === fd)) continue;
          return `process ${pid} (${fs.readFileSync(`/proc/${pid}/comm`, 'utf8').trim()})`;
        } catch { /* closed meanwhile */ }
      }
    }
  } catch { /* no /proc */ }
  return undefined;
}

/** Takes `<image>.lock`, for hosts without flock. */
function lockFile(image: string): () => void {
  const lock = `${image}.lock`;
  for (let attempt = 0; attempt < 3; attempt++) {
    try {
      fs.writeFileSync(lock, `${process.pid}\n`, { flag: 'wx' });
      const release = (): void => {
        process.off('exit', release);
        try { if (fs.readFileSync(lock, 'utf8').trim() === String(process.pid)) fs.unlinkSync(lock); } catch { /* gone already */ }
      };
      process.on('exit', release);
      return release;
    } catch (cause) {
      const code = (cause as NodeJS.ErrnoException).code;
      if (code === 'EACCES' || code === 'EROFS') throw new DiskError('read-only', image, 'its directory cannot be written, so it cannot be locked; attach it with an overlay, or copy it', { cause });
      if (code !== 'EEXIST') throw new DiskError('io', image, (cause as Error).message, { cause });
      let owner = NaN;
      try { owner = Number.parseInt(fs.readFileSync(lock, 'utf8'), 10); } catch { continue; } // released meanwhile
      if (Number.isInteger(owner) && isRunning(owner)) throw new DiskError('in-use', image, `in use by Kintsugi process ${owner} (lock ${lock})`, { cause });
      // Stale. Move it away atomically: of two takers only one succeeds.
      const stale = `${lock}.stale-${process.pid}`;
      try { fs.renameSync(lock, stale); fs.unlinkSync(stale); } catch { /* the other one was faster */ }
    }
  }
  throw new DiskError('in-use', image, `the lock ${lock} keeps changing hands`);
}

function isRunning(pid: number): boolean {
  try { process.kill(pid, 0); return true; } catch (error) { return (error as NodeJS.ErrnoException).code === 'EPERM'; }
}

/** The disk as a device model uses it, in any thread. Errors are values: true or a code. */
export class Disk {
  readonly descriptor: DiskDescriptor;
  readonly #flags: Uint8Array | undefined;
  readonly #data: Uint8Array | undefined;
  #flagWords: Float64Array | undefined;
  /** Asked before every transfer and flush (fault hooks): true = it fails. Host state: neither saved nor hashed. */
  intercept: ((operation: 'read' | 'write' | 'flush', offset: number, bytes: number) => boolean) | undefined;

  constructor(descriptor: DiskDescriptor) {
    this.descriptor = descriptor;
    this.#flags = descriptor.overlayFlags && new Uint8Array(descriptor.overlayFlags);
    this.#data = descriptor.overlayData && new Uint8Array(descriptor.overlayData);
  }

  get sectors(): number { return this.descriptor.sectors; }
  get readOnly(): boolean { return this.descriptor.mode === 'readonly'; }

  /** Reads `into.length` bytes from byte `offset`; both multiples of the sector size are the caller's business. */
  read(offset: number, into: Uint8Array): boolean {
    if (offset + into.length > this.sectors * SECTOR_BYTES || this.intercept?.('read', offset, into.length)) return false;
    if (!this.#flags || !this.#data) return this.#readFile(offset, into);
    for (let done = 0; done < into.length;) {
      const at = offset + done;
      const block = Math.floor(at / BLOCK_BYTES);
      const count = Math.min(into.length - done, (block + 1) * BLOCK_BYTES - at);
      if (this.#flags[block] & OVERLAY_PRESENT) into.set(this.#data.subarray(at, at + count), done);
      else if (!this.#readFile(at, into.subarray(done, done + count))) return false;
      done += count;
    }
    return true;
  }

  write(offset: number, from: Uint8Array): boolean {
    if (this.readOnly || offset + from.length > this.sectors * SECTOR_BYTES || this.intercept?.('write', offset, from.length)) return false;
    if (!this.#flags || !this.#data) return this.#writeFile(offset, from);
    for (let done = 0; done < from.length;) {
      const at = offset + done;
      const block = Math.floor(at / BLOCK_BYTES);
      const start = block * BLOCK_BYTES;
      const count = Math.min(from.length - done, start + BLOCK_BYTES - at);
      if (!(this.#flags[block] & OVERLAY_PRESENT) && count < BLOCK_BYTES) {
        const end = Math.min(start + BLOCK_BYTES, this.sectors * SECTOR_BYTES);
        if (!this.#readFile(start, this.#data.subarray(start, end))) return false;
      }
      this.#data.set(from.subarray(done, done + count), at);
      this.#flags[block] = OVERLAY_WRITTEN;
      done += count;
    }
    return true;
  }

  flush(): boolean {
    if (this.intercept?.('flush', 0, 0)) return false;
    if (this.descriptor.mode !== 'raw' || this.descriptor.fd < 0) return true;
    try { fs.fdatasyncSync(this.descriptor.fd); return true; } catch { return false; }
  }

  #readFile(offset: number, into: Uint8Array): boolean {
    try {
      for (let done = 0; done < into.length;) {
        const count = fs.readSync(this.descriptor.fd, into, done, into.length - done, offset + done);
        if (count <= 0) return false;
        done += count;
      }
      return true;
    } catch { return false; }
  }

  #writeFile(offset: number, from: Uint8Array): boolean {
    try {
      for (let done = 0; done < from.length;) done += fs.writeSync(this.descriptor.fd, from, done, from.length - done, offset + done);
      return true;
    } catch { return false; }
  }

  // ---- snapshot -------------------------------------------------------------------------------------------------------------

  /** Whether the contents can be saved and put back: not when writes go to a file. */
  get restorable(): boolean { return this.descriptor.mode !== 'raw' || this.descriptor.fd < 0; }

  /** Number of 4 KiB blocks that may be in the overlay. */
  get overlayBlocks(): number { return this.#flags?.length ?? 0; }
  overlayFlags(block: number): number { return this.#flags ? this.#flags[block] : 0; }
  clearOverlayFlags(block: number, flags: number): void { if (this.#flags) this.#flags[block] &= ~flags; }
  /** Calls `visit` for every block with one of `flags`, in order. */
  visitBlocks(flags: number, visit: (block: number, flags: number) => void): void {
    const bytes = this.#flags;
    if (!bytes) return;
    // Eight at a time: nearly all are zero.
    this.#flagWords ??= new Float64Array(bytes.buffer, 0, bytes.length >> 3);
    const words = this.#flagWords;
    for (let group = 0; group < words.length; group++) {
      if (words[group] === 0) continue;
      for (let block = group * 8; block < group * 8 + 8; block++) if (bytes[block] & flags) visit(block, bytes[block]);
    }
    for (let block = words.length * 8; block < bytes.length; block++) if (bytes[block] & flags) visit(block, bytes[block]);
  }
  /** The bytes of a block that is in the overlay (shared). */
  overlayBlock(block: number): Uint8Array { return (this.#data as Uint8Array).subarray(block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES); }
  /** Puts one block back: its bytes, or (undefined) out of the overlay. The hash must look again. */
  restoreBlock(block: number, bytes: Uint8Array | undefined): void {
    if (!this.#flags || !this.#data) return;
    if (bytes) this.#data.set(bytes, block * BLOCK_BYTES);
    this.#flags[block] = (bytes ? OVERLAY_PRESENT : 0) | OVERLAY_UNHASHED;
  }
}
