/**
 * The Internet checksum (RFC 1071): ones' complement sum of 16-bit words, byte order independent, so words are summed as they lie. 32-bit words go into a
 * 64-bit sum, whose carries are folded once at the end.
 */
export function add(sum: u64, at: usize, bytes: u32): u64 {
  const blocks = at + (<usize>bytes & ~31), words = at + (<usize>bytes & ~3), end = at + bytes;
  while (at < blocks) {
    sum += <u64>load<u32>(at); sum += <u64>load<u32>(at, 4); sum += <u64>load<u32>(at, 8); sum += <u64>load<u32>(at, 12);
    sum += <u64>load<u32>(at, 16); sum += <u64>load<u32>(at, 20); sum += <u64>load<u32>(at, 24); sum += <u64>load<u32>(at, 28);
    at += 32;
  }
  while (at < words) { sum += <u64>load<u32>(at); at += 4; }
  if ((end - at & 2) != 0) { sum += <u64>load<u16>(at); at += 2; }
  if (at < end) sum += <u64>load<u8>(at);
  return sum;
}
/** To 16 bits, not complemented. */
export function fold(sum: u64): u32 {
  let s = <u32>sum, high = <u32>(sum >> 32);
  s += high;
  if (s < high) s++;
  s = (s & 0xffff) + (s >> 16);
  s = (s & 0xffff) + (s >> 16);
  return s;
}
/** The field value for a sum over everything with the field 0; store it as it is. */
export function finish(sum: u64): u32 { return ~fold(sum) & 0xffff; }
/** Of a range that contains its own checksum field. */
export function intact(at: usize, bytes: u32): bool { return fold(add(0, at, bytes)) == 0xffff; }
/** Pseudo header (RFC 9293, 3.1) of two v4-mapped addresses; `protocol` and the length of header and data in bytes. */
export function pseudo(source: u32, destination: u32, protocol: u32, bytes: u32): u64 {
  return <u64>source + <u64>destination + <u64>(protocol << 8) + <u64>((bytes << 8 | (bytes >> 8 & 255)) & 0xffff);
}
