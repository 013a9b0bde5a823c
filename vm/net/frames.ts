/**
 * Frames on their way between a NIC and what it is plugged into, and the arithmetic that every protocol here needs.
 *
 * A batch is one array of bytes and a table of where its frames lie. Whoever fills it reserves room, writes in place and commits; whoever
 * empties it copies out. No object is made per frame. A frame whose transport checksum is still to be finished carries where the summed bytes
 * start and where the sum goes (virtio 1.2, 5.1.6.2: csum_start, csum_offset); its field holds the sum of the pseudo header.
 *
 * Byte access is by index, never by DataView: network order, unaligned, hot.
 */
export const ETHERNET_HEADER = 14;
export const ETHERTYPE = { ipv4: 0x0800, arp: 0x0806, ipv6: 0x86dd } as const;
export const PROTOCOL = { icmp: 1, tcp: 6, udp: 17 } as const;
/** Shortest frame taken; shorter ones end inside the Ethernet header. */
export const LEAST_FRAME = ETHERNET_HEADER;

const WORDS = 4; // offset, length, checksum start (0 = complete), checksum offset

export class FrameBatch {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly most: number;
  readonly #table: Int32Array;
  /** First entry of the table in use, and end of the bytes in use. */
  #first = 0;
  #fill = 0;
  count = 0;

  /** Room for `most` frames and `bytes` bytes together. */
  constructor(most: number, bytes: number) {
    this.most = most;
    this.bytes = new Uint8Array(bytes);
    this.#table = new Int32Array(most * WORDS);
  }

  clear(): void { this.count = this.#first = this.#fill = 0; }
  /** Where a frame of up to `bytes` bytes may be written now, or -1. Nothing is taken before `commit`. */
  reserve(bytes: number): number {
    if (this.#first + this.count < this.most && this.#fill + bytes <= this.bytes.length) return this.#fill;
    if (this.#first === 0 || this.count === this.most) return -1;
    this.#compact();
    return this.#fill + bytes <= this.bytes.length ? this.#fill : -1;
  }
  /** Moves what is left to the front. */
  #compact(): void {
    const table = this.#table;
    const from = table[this.#first * WORDS];
    this.bytes.copyWithin(0, from, this.#fill);
    table.copyWithin(0, this.#first * WORDS, (this.#first + this.count) * WORDS);
    this.#first = 0;
    this.#fill -= from;
    for (let k = 0; k < this.count; k++) table[k * WORDS] -= from;
  }
  /** The frame written at the reserved place is `length` bytes. */
  commit(length: number, checksumStart = 0, checksumOffset = 0): void {
    const at = (this.#first + this.count) * WORDS;
    const table = this.#table;
    table[at] = this.#fill; table[at + 1] = length; table[at + 2] = checksumStart; table[at + 3] = checksumOffset;
    this.#fill += (length + 7) & -8;
    this.count++;
  }
  /** Adds a copy; false when it does not fit. */
  push(frame: Uint8Array, checksumStart = 0, checksumOffset = 0): boolean {
    const at = this.reserve(frame.length);
    if (at < 0) return false;
    this.bytes.set(frame, at);
    this.commit(frame.length, checksumStart, checksumOffset);
    return true;
  }
  /** Forgets the first `count` frames. */
  drop(count: number): void {
    if (count >= this.count) { this.clear(); return; }
    this.#first += count;
    this.count -= count;
  }

  offset(k: number): number { return this.#table[(this.#first + k) * WORDS]; }
  length(k: number): number { return this.#table[(this.#first + k) * WORDS + 1]; }
  checksumStart(k: number): number { return this.#table[(this.#first + k) * WORDS + 2]; }
  checksumOffset(k: number): number { return this.#table[(this.#first + k) * WORDS + 3]; }
  /** The bytes of frame k, shared. */
  frame(k: number): Uint8Array<ArrayBuffer> { const at = this.offset(k); return this.bytes.subarray(at, at + this.length(k)); }
  /** Makes the transport checksum of frame k complete. */
  finish(k: number): void {
    const at = (this.#first + k) * WORDS;
    const table = this.#table;
    const start = table[at + 2];
    if (start === 0) return;
    finishChecksum(this.bytes, table[at] + start, table[at + 1] - start, table[at + 3]);
    table[at + 2] = 0;
  }
}

export const get16 = (b: Uint8Array, at: number): number => (b[at] << 8) | b[at + 1];
export const get32 = (b: Uint8Array, at: number): number => ((b[at] << 24) | (b[at + 1] << 16) | (b[at + 2] << 8) | b[at + 3]) >>> 0;
export function put16(b: Uint8Array, at: number, value: number): void { b[at] = value >>> 8; b[at + 1] = value; }
export function put32(b: Uint8Array, at: number, value: number): void { b[at] = value >>> 24; b[at + 1] = value >>> 16; b[at + 2] = value >>> 8; b[at + 3] = value; }

/** Sum of 16-bit words in network order (RFC 1071), not folded: at most 2^16 words may be added up before `fold`. */
export function sumWords(b: Uint8Array, at: number, bytes: number, sum = 0): number {
  const end = at + bytes;
  const even = end - (bytes & 1);
  let high = 0;
  let low = 0;
  let k = at;
  for (; k + 8 <= even; k += 8) {
    high += b[k] + b[k + 2] + b[k + 4] + b[k + 6];
    low += b[k + 1] + b[k + 3] + b[k + 5] + b[k + 7];
  }
  for (; k < even; k += 2) { high += b[k]; low += b[k + 1]; }
  if (bytes & 1) high += b[end - 1];
  return sum + high * 256 + low;
}
/** The 16-bit one's complement sum. */
export function fold(sum: number): number {
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  return sum;
}
export const checksum = (b: Uint8Array, at: number, bytes: number, sum = 0): number => ~fold(sumWords(b, at, bytes, sum)) & 0xffff;
/** Sum of the IPv4 pseudo header (RFC 9293 3.1, RFC 768). */
export const pseudoSum = (source: number, destination: number, protocol: number, bytes: number): number =>
  (source >>> 16) + (source & 0xffff) + (destination >>> 16) + (destination & 0xffff) + protocol + bytes;

/** Where the checksum lies in a UDP header. */
const UDP_CHECKSUM = 6;
/** Fills the checksum whose field, at `offset` from `start`, holds the pseudo header's sum. A UDP sum of 0 is sent as FFFF (RFC 768), a TCP sum is not: it holds, but those who look closely frown at it. */
export function finishChecksum(b: Uint8Array, start: number, bytes: number, offset: number): void {
  const sum = checksum(b, start, bytes);
  put16(b, start + offset, sum === 0 && offset === UDP_CHECKSUM ? 0xffff : sum);
}

/** 10.0.2.15 as a number. */
export const ipv4 = (a: number, b: number, c: number, d: number): number => ((a << 24) | (b << 16) | (c << 8) | d) >>> 0;
export const showIpv4 = (address: number): string => `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`;
/** The number of "a.b.c.d", or undefined. */
export function parseIpv4(text: string): number | undefined {
  const parts = text.split('.');
  if (parts.length !== 4 || !parts.every((part) => /^\d{1,3}$/.test(part) && Number(part) < 256)) return undefined;
  const [a, b, c, d] = parts.map(Number);
  return ipv4(a, b, c, d);
}
export const showMac = (mac: Uint8Array): string => [...mac.subarray(0, 6)].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
