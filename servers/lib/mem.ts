/**
 * Bytes: copy, fill, compare. `memory.copy` and `memory.fill` become rep movs/stos; the rest is plain code. No allocation anywhere here.
 */
export function copy(to: usize, from: usize, bytes: usize): void { memory.copy(to, from, bytes); }
export function fill(to: usize, value: u8, bytes: usize): void { memory.fill(to, value, bytes); }
export function zero(to: usize, bytes: usize): void { memory.fill(to, 0, bytes); }
/** < 0, 0, > 0 like memcmp, by unsigned bytes. */
export function compare(a: usize, b: usize, bytes: usize): i32 {
  for (let n: usize = 0; n < bytes; n++) {
    const d = <i32>load<u8>(a + n) - <i32>load<u8>(b + n);
    if (d != 0) return d;
  }
  return 0;
}
export function equal(a: usize, b: usize, bytes: usize): bool { return compare(a, b, bytes) == 0; }
/** [offset, offset + bytes) lies within [0, size), without overflow: the check for every range that another party names. */
export function inRange(offset: u32, bytes: u32, size: u32): bool { return bytes <= size && offset <= size - bytes; }
export function alignUp(value: usize, to: usize): usize { return (value + to - 1) & ~(to - 1); }
export function pagesOf(bytes: usize): u32 { return <u32>((bytes + 4095) >>> 12); }
/** Smallest n with 2^n >= value. */
export function log2Ceil(value: u32): u32 { return value <= 1 ? 0 : 32 - <u32>clz<u32>(value - 1); }
