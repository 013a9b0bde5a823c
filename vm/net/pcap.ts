/**
 * Capture file: classic pcap with nanosecond stamps (magic A1B23C4Dh, little-endian), link type Ethernet. Frames are as on the wire, with
 * complete checksums, less the frame check sequence. Bytes are collected and written 64 KiB at a time; `flush` after bursts and at the end.
 */
import * as fs from 'node:fs';
import { NetError } from './config.ts';
import type { FrameBatch } from './frames.ts';

const MAGIC_NS = 0xa1b2_3c4d;
const SNAP_BYTES = 65535;
const LINK_ETHERNET = 1;
const RECORD_BYTES = 16;
const BUFFER_BYTES = 64 * 1024;

function reasonOf(error: NodeJS.ErrnoException): string {
  switch (error.code) {
    case 'ENOENT': return 'its folder does not exist';
    case 'EISDIR': return 'is a folder';
    case 'EACCES': case 'EPERM': case 'EROFS': return 'may not be written';
    case 'ENOTDIR': return 'its folder is a file';
    case 'ENOSPC': case 'EDQUOT': case 'EFBIG': return 'no space left for it';
    default: return error.message;
  }
}

export class Pcap {
  readonly #fd: number;
  readonly #file: string;
  readonly #tell: (text: string) => void;
  readonly #buffer = new Uint8Array(BUFFER_BYTES + RECORD_BYTES + SNAP_BYTES);
  readonly #view = new DataView(this.#buffer.buffer);
  #fill = 0;
  #ended = false;

  /** `tell`: when the disk is full or the file is gone no more is written, and this hears why, once. */
  constructor(file: string, tell: (text: string) => void) {
    this.#file = file;
    this.#tell = tell;
    try { this.#fd = fs.openSync(file, 'w'); } catch (cause) { throw new NetError('file', `--pcap ${file}`, reasonOf(cause as NodeJS.ErrnoException), { cause }); }
    const view = this.#view;
    view.setUint32(0, MAGIC_NS, true);
    view.setUint16(4, 2, true); view.setUint16(6, 4, true);
    view.setUint32(16, SNAP_BYTES, true);
    view.setUint32(20, LINK_ETHERNET, true);
    this.#fill = 24;
    this.flush();
  }

  /** `ns` since 1970 as seconds and the rest, because a number does not hold it. */
  write(seconds: number, ns: number, bytes: Uint8Array, offset: number, length: number): void {
    if (this.#ended) return;
    const at = this.#fill;
    const view = this.#view;
    const kept = Math.min(length, SNAP_BYTES);
    view.setUint32(at, seconds, true); view.setUint32(at + 4, ns, true);
    view.setUint32(at + 8, kept, true); view.setUint32(at + 12, length, true);
    this.#buffer.set(bytes.subarray(offset, offset + kept), at + RECORD_BYTES);
    this.#fill = at + RECORD_BYTES + kept;
    if (this.#fill >= BUFFER_BYTES) this.flush();
  }
  /** Frames [from, to) of a batch, finished first: checksums are complete afterwards. */
  batch(seconds: number, ns: number, frames: FrameBatch, from: number, to: number): void {
    for (let k = from; k < to; k++) {
      frames.finish(k);
      this.write(seconds, ns, frames.bytes, frames.offset(k), frames.length(k));
    }
  }

  flush(): void {
    let done = 0;
    if (this.#ended) return;
    try { while (done < this.#fill) done += fs.writeSync(this.#fd, this.#buffer, done, this.#fill - done); }
    catch (error) { this.#ended = true; this.#tell(`--pcap ${this.#file}: ${reasonOf(error as NodeJS.ErrnoException)}; the capture ends here`); }
    this.#fill = 0;
  }
  close(): void { this.flush(); try { fs.closeSync(this.#fd); } catch { /* told by flush */ } }
}
