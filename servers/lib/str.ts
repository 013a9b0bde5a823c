/**
 * Byte strings: NUL-terminated or (address, bytes). Text literals are UTF-16 in AssemblyScript; `lit` copies a literal once into bytes
 * (interned, so that a literal in a loop costs one compare) and `putLit` in fmt.ts prints one without that.
 */
export function length(s: usize): u32 {
  let p = s;
  while (load<u8>(p) != 0) p++;
  return <u32>(p - s);
}
export function equal(a: usize, b: usize): bool {
  let n: usize = 0;
  while (true) {
    const x = load<u8>(a + n);
    if (x != load<u8>(b + n)) return false;
    if (x == 0) return true;
    n++;
  }
}
/** The NUL-terminated byte string equals a text literal (ASCII). */
export function isLit(s: usize, literal: string): bool {
  const n = <usize>literal.length;
  const p = changetype<usize>(literal);
  for (let i: usize = 0; i < n; i++) if (<u32>load<u8>(s + i) != <u32>load<u16>(p + (i << 1))) return false;
  return load<u8>(s + n) == 0;
}
/** (address, bytes) starts with the literal. */
export function startsWithLit(s: usize, bytes: u32, literal: string): bool {
  const n = <u32>literal.length;
  if (bytes < n) return false;
  const p = changetype<usize>(literal);
  for (let i: usize = 0; i < <usize>n; i++) if (<u32>load<u8>(s + i) != <u32>load<u16>(p + (i << 1))) return false;
  return true;
}
/** Copies at most room - 1 bytes and a NUL; the number of bytes copied without it. */
export function copyString(to: usize, from: usize, room: u32): u32 {
  let n: u32 = 0;
  while (n + 1 < room) {
    const c = load<u8>(from + n);
    if (c == 0) break;
    store<u8>(to + n, c);
    n++;
  }
  if (room != 0) store<u8>(to + n, 0);
  return n;
}
/** Writes a literal as bytes with a NUL; the number of bytes without it. */
export function putLiteral(to: usize, literal: string): u32 {
  const n = <usize>literal.length;
  const p = changetype<usize>(literal);
  for (let i: usize = 0; i < n; i++) store<u8>(to + i, <u8>load<u16>(p + (i << 1)));
  store<u8>(to + n, 0);
  return <u32>n;
}
/** First position of byte c in (s, bytes), -1 when absent. */
export function indexOf(s: usize, bytes: u32, c: u8): i32 {
  for (let n: u32 = 0; n < bytes; n++) if (load<u8>(s + n) == c) return <i32>n;
  return -1;
}
/** Decimal number at s; *end receives the first byte after it when end != 0. Saturates at 2^32 - 1. */
export function parseU32(s: usize, end: usize): u32 {
  let v: u64 = 0;
  let p = s;
  while (true) {
    const d = <u32>load<u8>(p) - 48;
    if (d > 9) break;
    v = v * 10 + d;
    if (v > 0xffffffff) v = 0xffffffff;
    p++;
  }
  if (end != 0) store<usize>(end, p);
  return <u32>v;
}
/** Value of `name=` in a space-separated command line: address of its first byte, 0 when absent; it ends at a space or NUL. */
export function option(commandLine: usize, name: string): usize {
  let p = commandLine;
  const n = <u32>name.length;
  while (true) {
    while (load<u8>(p) == 32) p++;
    if (load<u8>(p) == 0) return 0;
    let e = p;
    while (load<u8>(e) > 32) e++;
    if (startsWithLit(p, <u32>(e - p), name) && load<u8>(p + n) == 61) return p + n + 1;
    if (e == p) e++; // a control byte: skip it
    p = e;
  }
}
/** Bytes up to a space or control byte. */
export function wordLength(s: usize): u32 {
  let e = s;
  while (load<u8>(e) > 32) e++;
  return <u32>(e - s);
}
/** The option value at v equals the literal. */
export function optionIs(v: usize, literal: string): bool {
  if (v == 0) return false;
  const bytes = wordLength(v);
  return bytes == <u32>literal.length && startsWithLit(v, bytes, literal);
}
