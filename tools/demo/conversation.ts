/**
 * The host's end of `demo tcp`: streams down and up over one connection, commands and answers as programs/streamd.ts has them. It is told what came and
 * when there is room, and never waits, so that a socket of the host (tcp-live.ts) and the peer of a deterministic machine (tcp-virtual.ts) both carry it.
 */
import { crc32 } from 'node:zlib';
import type { Ledger } from './ledger.ts';

export const FILE_BYTES = 8 * 1024 * 1024;
const PIECE = 256 * 1024;
/** What the guest says a dot for (programs/streamd.ts). */
const DOT_BYTES = 64 * 1024;

/** What lies on the disk and goes up: from the seed alone. */
export function content(seed: number): Buffer {
  const bytes = Buffer.alloc(FILE_BYTES);
  let x = (Math.imul(seed, 0x9e3779b1) ^ 0x7f4a7c15) >>> 0 || 1;
  for (let n = 0; n < FILE_BYTES; n += 4) {
    x ^= x << 13; x ^= x >>> 17; x ^= x << 5;
    bytes.writeInt32LE(x, n);
  }
  return bytes;
}
function repeated(data: Buffer, bytes: number): string {
  let sum = 0;
  for (let at = 0; at < bytes;) { const part = Math.min(FILE_BYTES, bytes - at); sum = crc32(data.subarray(0, part), sum); at += part; }
  return sum.toString(16).padStart(8, '0');
}

/** Where bytes go. `send` takes what it can and says how much; when that is not all, `Conversation.room` is called once there is room again. */
export interface Wire { send(bytes: Buffer): number; end(): void }

export class Conversation {
  readonly #data: Buffer;
  readonly #bytes: number;
  readonly #expected: string;
  readonly #wire: Wire;
  readonly #ledger: Ledger;
  readonly #more: () => boolean;
  #phase: 'idle' | 'down' | 'up' | 'over' = 'idle';
  #at = 0;
  /** Bytes of an upload that the guest has said it has written. */
  #written = 0;
  #text = '';
  /** A part of a command that the wire has not taken yet. */
  #command: Buffer = Buffer.alloc(0);
  wrongBytes = 0;
  wrongChecksums = 0;
  streams = 0;
  bytesDown = 0;
  bytesUp = 0;
  readonly problems: string[] = [];
  /** By the ledger's clock. */
  beganAt = Infinity;
  moved: (direction: 'down' | 'up', done: number) => void = () => {};

  /** `more`: asked after each pair of streams. */
  constructor(data: Buffer, bytes: number, wire: Wire, ledger: Ledger, more: () => boolean) {
    this.#data = data; this.#bytes = bytes; this.#wire = wire; this.#ledger = ledger; this.#more = more;
    this.#expected = `${bytes} ${repeated(data, bytes)}`;
  }
  get over(): boolean { return this.#phase === 'over'; }
  start(): void { this.beganAt = this.#ledger.now(); this.#order('down', `get ${this.#bytes}\n`); }
  #order(phase: 'down' | 'up' | 'over', command: string): void {
    this.#phase = phase;
    this.#at = 0; this.#written = 0;
    this.#command = Buffer.from(command);
    if (phase !== 'over') this.#ledger.begin(phase);
    this.room();
  }
  /** There is room. */
  room(): void {
    if (this.#command.length > 0) {
      this.#command = this.#command.subarray(this.#wire.send(this.#command));
      if (this.#command.length > 0) return;
      if (this.#phase === 'over') { this.#wire.end(); return; }
    }
    if (this.#phase !== 'up') return;
    while (this.#at < this.#bytes) {
      const place = this.#at % FILE_BYTES, piece = this.#data.subarray(place, place + Math.min(PIECE, this.#bytes - this.#at, FILE_BYTES - place)), sent = this.#wire.send(piece);
      this.#at += sent;
      if (sent < piece.length) return;
    }
  }
  received(chunk: Uint8Array): void {
    switch (this.#phase) {
      case 'down': this.#compare(chunk); return;
      case 'up': this.#answer(chunk); return;
      default: this.wrongBytes += chunk.length; this.problems.push(`${chunk.length} bytes came that nobody asked for`);
    }
  }
  #compare(chunk: Uint8Array): void {
    for (let n = 0; n < chunk.length;) {
      const place = (this.#at + n) % FILE_BYTES, part = Math.min(chunk.length - n, FILE_BYTES - place);
      if (Buffer.compare(chunk.subarray(n, n + part), this.#data.subarray(place, place + part)) !== 0) for (let k = 0; k < part; k++) if (chunk[n + k] !== this.#data[place + k]) this.wrongBytes++;
      n += part;
    }
    this.#at += chunk.length;
    this.#ledger.progress(chunk.length);
    if (this.#at > this.#bytes) this.wrongBytes += this.#at - this.#bytes;
    this.moved('down', this.#at);
    if (this.#at < this.#bytes) return;
    this.bytesDown += this.#bytes;
    this.#ledger.end();
    this.#order('up', `put ${this.#bytes}\n`);
  }
  /** A dot for each piece written, then "N CRC32\n". */
  #answer(chunk: Uint8Array): void {
    this.#text += Buffer.from(chunk).toString('latin1');
    const dots = /^\.*/.exec(this.#text)![0].length, ends = this.#text.includes('\n'), moved = ends ? this.#bytes - this.#written : dots * DOT_BYTES;
    this.#text = this.#text.slice(dots);
    this.#written += moved;
    this.#ledger.progress(moved);
    this.moved('up', this.#written);
    if (!ends) return;
    this.#ledger.end();
    const answer = this.#text.trim();
    this.#text = '';
    if (this.#at < this.#bytes) this.problems.push(`the guest's answer to ${this.#at} of ${this.#bytes} bytes came early`);
    if (answer !== this.#expected) { this.wrongChecksums++; this.problems.push(`what went up arrived as "${answer}", not "${this.#expected}"`); }
    this.bytesUp += this.#bytes;
    this.streams += 2;
    if (this.#more()) this.#order('down', `get ${this.#bytes}\n`);
    else this.#order('over', 'bye\n');
  }
}
