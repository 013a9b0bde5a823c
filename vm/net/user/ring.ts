/**
 * Byte rings addressed by stream position, and sets of positions as ranges: what TCP keeps of a stream. Plain arrays and functions, because
 * they are saved as they are.
 */
const BUFFER_LEAST = 4096;
export const EMPTY = new Uint8Array(0);

/** Bytes in ascending, disjoint ranges: pairs [start, end). */
export const sum = (ranges: readonly number[]): number => { let total = 0; for (let k = 0; k < ranges.length; k += 2) total += ranges[k + 1] - ranges[k]; return total; };

/** Adds [from, to) to ascending, disjoint ranges. Whether anything was new. At most `most` ranges: the rest is not remembered. */
export function insert(ranges: number[], from: number, to: number, most: number): boolean {
  let first = 0;
  while (first < ranges.length && ranges[first + 1] < from) first += 2;
  let last = first;
  let start = from;
  let end = to;
  let news = true;
  while (last < ranges.length && ranges[last] <= to) {
    if (ranges[last] <= from && to <= ranges[last + 1]) news = false;
    start = Math.min(start, ranges[last]);
    end = Math.max(end, ranges[last + 1]);
    last += 2;
  }
  if (!news) return false;
  if (last === first && ranges.length >= 2 * most) return false;
  ranges.splice(first, last - first, start, end);
  return true;
}
/** Cuts off everything below `position`. */
export function forget(ranges: number[], position: number): void {
  while (ranges.length > 0 && ranges[1] <= position) ranges.splice(0, 2);
  if (ranges.length > 0 && ranges[0] < position) ranges[0] = position;
}

/** A ring that holds `bytes` bytes; the old one if it does. Stream position p lies at p modulo its length, a power of two. */
export function grown(ring: Uint8Array<ArrayBuffer>, bytes: number, from: number, to: number): Uint8Array<ArrayBuffer> {
  if (bytes <= ring.length) return ring;
  let size = Math.max(BUFFER_LEAST, ring.length);
  while (size < bytes) size *= 2;
  const larger = new Uint8Array(size);
  if (ring.length > 0) for (let at = from; at < to;) {
    const count = Math.min(to - at, ring.length - at % ring.length);
    store(larger, at, ring, at % ring.length, count);
    at += count;
  }
  return larger;
}
export function store(ring: Uint8Array, position: number, source: Uint8Array, from: number, bytes: number): void {
  const at = position % ring.length;
  const first = Math.min(bytes, ring.length - at);
  ring.set(source.subarray(from, from + first), at);
  if (first < bytes) ring.set(source.subarray(from + first, from + bytes), 0);
}
export function fetch(ring: Uint8Array, position: number, bytes: number, into: Uint8Array, to: number): void {
  const at = position % ring.length;
  const first = Math.min(bytes, ring.length - at);
  into.set(ring.subarray(at, at + first), to);
  if (first < bytes) into.set(ring.subarray(0, bytes - first), to + first);
}
/** Bytes [from, to) of a ring, zero outside [from, solid) and `ranges`. */
export function extract(ring: Uint8Array, from: number, to: number, solid: number, ranges: readonly number[]): Uint8Array {
  if (ring.length === 0 || to <= from) return EMPTY;
  const out = new Uint8Array(to - from);
  fetch(ring, from, solid - from, out, 0);
  for (let k = 0; k < ranges.length; k += 2) fetch(ring, ranges[k], ranges[k + 1] - ranges[k], out, ranges[k] - from);
  return out;
}
