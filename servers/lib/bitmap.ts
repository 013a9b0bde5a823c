/** Bitmaps in 32-bit words, bit n = word n / 32, bit n % 32 (the order of ext2 on a little-endian machine). */
export function get(map: usize, n: u32): bool { return (load<u32>(map + (<usize>(n >> 5) << 2)) & (1 << (n & 31))) != 0; }
export function set(map: usize, n: u32): void {
  const p = map + (<usize>(n >> 5) << 2);
  store<u32>(p, load<u32>(p) | (1 << (n & 31)));
}
export function clear(map: usize, n: u32): void {
  const p = map + (<usize>(n >> 5) << 2);
  store<u32>(p, load<u32>(p) & ~(1 << (n & 31)));
}
/** First clear bit in [from, bits), -1 when all are set. */
export function findClear(map: usize, bits: u32, from: u32): i32 {
  let n = from;
  while (n < bits) {
    const free = ~load<u32>(map + (<usize>(n >> 5) << 2)) >> (n & 31);
    if (free != 0) {
      const found = n + <u32>ctz<u32>(free);
      return found < bits ? <i32>found : -1;
    }
    n = (n | 31) + 1;
  }
  return -1;
}
export function count(map: usize, bits: u32): u32 {
  let c: u32 = 0;
  for (let n: u32 = 0; n < bits; n += 32) {
    let w = load<u32>(map + (<usize>(n >> 5) << 2));
    if (bits - n < 32) w &= (1 << (bits - n)) - 1;
    c += <u32>popcnt<u32>(w);
  }
  return c;
}
