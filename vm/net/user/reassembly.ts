/**
 * IPv4 reassembly of what a guest sends (RFC 791, 3.2; limits as RFC 1122 3.3.2 and RFC 8900 want them): few datagrams at a time, one at most
 * 65,515 bytes of payload, all gone after 30 s. Overlapping fragments end the datagram (RFC 5722 says so for IPv6, and attacks need them).
 */
import type { StateReader, StateWriter } from '../state.ts';
import { insert } from './ring.ts';

const MOST_DATAGRAMS = 16;
const MOST_BYTES = 65_515;
const MOST_PIECES = 64;
const LIFE_NS = 30e9;

interface Datagram { key: string; bornNs: number; total: number; ranges: number[]; bytes: Uint8Array<ArrayBuffer> }

export class Reassembly {
  #list: Datagram[] = [];
  readonly #count: (reason: string) => void;
  constructor(count: (reason: string) => void) { this.#count = count; }

  /** A fragment's payload; the whole payload when it was the last one missing. */
  add(source: number, destination: number, protocol: number, id: number, offset: number, more: boolean, b: Uint8Array, at: number, bytes: number, nowNs: number): Uint8Array | undefined {
    this.#expire(nowNs);
    if (bytes === 0 || offset + bytes > MOST_BYTES || (more && bytes % 8 !== 0)) { this.#count('bad fragment'); return undefined; }
    const key = `${source} ${destination} ${protocol} ${id}`;
    let datagram = this.#list.find((other) => other.key === key);
    if (!datagram) {
      if (this.#list.length >= MOST_DATAGRAMS) { this.#list.shift(); this.#count('too many datagrams in pieces'); }
      datagram = { key, bornNs: nowNs, total: -1, ranges: [], bytes: new Uint8Array(2048) };
      this.#list.push(datagram);
    }
    const end = offset + bytes;
    const { ranges } = datagram;
    const overlaps = ranges.some((start, k) => k % 2 === 0 && start < end && offset < ranges[k + 1]);
    const beyond = datagram.total >= 0 && (end > datagram.total || (!more && end !== datagram.total));
    if (overlaps || beyond || (!more && ranges.length > 0 && ranges[ranges.length - 1] > end)) {
      this.#list.splice(this.#list.indexOf(datagram), 1);
      this.#count('overlapping fragments');
      return undefined;
    }
    if (end > datagram.bytes.length) {
      const larger = new Uint8Array(Math.min(MOST_BYTES, Math.max(end, 2 * datagram.bytes.length)));
      larger.set(datagram.bytes);
      datagram.bytes = larger;
    }
    datagram.bytes.set(b.subarray(at, at + bytes), offset);
    if (!insert(ranges, offset, end, MOST_PIECES)) { this.#count('too many pieces of a datagram'); return undefined; }
    if (!more) datagram.total = end;
    if (datagram.total < 0 || ranges.length !== 2 || ranges[0] !== 0 || ranges[1] !== datagram.total) return undefined;
    this.#list.splice(this.#list.indexOf(datagram), 1);
    return datagram.bytes.subarray(0, datagram.total);
  }

  #expire(nowNs: number): void {
    while (this.#list.length > 0 && nowNs - this.#list[0].bornNs > LIFE_NS) { this.#list.shift(); this.#count('datagram never complete'); }
  }

  save(w: StateWriter): void {
    w.list(this.#list, this.#list.length, (d) => { w.text(d.key); w.number(d.bornNs); w.number(d.total); w.list(d.ranges, d.ranges.length, (value) => w.number(value)); w.bytes(d.bytes); });
  }
  load(r: StateReader): void {
    this.#list = r.list(() => ({ key: r.text(), bornNs: r.number(), total: r.number(), ranges: r.list(() => r.number()), bytes: r.bytes() }));
  }
}
