/**
 * CRC-32 (IEEE 802.3, reflected 0xEDB88320, init and final xor 0xFFFFFFFF), four bytes a step: table k holds the CRC of a byte followed by k zero
 * bytes (slicing-by-4). 4 KiB of tables, filled at first use.
 */
const TABLES: usize = memory.data(4096, 4);
let filled: bool = false;
function fillTables(): void {
  for (let n: u32 = 0; n < 256; n++) {
    let c = n;
    for (let k = 0; k < 8; k++) c = (c & 1) != 0 ? (c >> 1) ^ 0xedb88320 : c >> 1;
    store<u32>(TABLES + (<usize>n << 2), c);
  }
  for (let n: usize = 0; n < 256; n++) {
    let c = load<u32>(TABLES + (n << 2));
    for (let k: usize = 1; k < 4; k++) {
      c = (c >> 8) ^ load<u32>(TABLES + (<usize>(c & 255) << 2));
      store<u32>(TABLES + (k << 10) + (n << 2), c);
    }
  }
  filled = true;
}
/** CRC of (at, bytes); chain by passing the previous result as `crc`, 0 at the start. */
export function crc32(crc: u32, at: usize, bytes: u32): u32 {
  if (!filled) fillTables();
  let c = ~crc;
  const end = at + bytes;
  const whole = at + (bytes & ~3);
  while (at < whole) {
    c ^= load<u32>(at);
    c = load<u32>(TABLES + (<usize>(c & 255) << 2), 3072) ^ load<u32>(TABLES + (<usize>((c >> 8) & 255) << 2), 2048) ^
      load<u32>(TABLES + (<usize>((c >> 16) & 255) << 2), 1024) ^ load<u32>(TABLES + (<usize>(c >> 24) << 2));
    at += 4;
  }
  while (at < end) {
    c = load<u32>(TABLES + (<usize>((c ^ load<u8>(at)) & 255) << 2)) ^ (c >> 8);
    at++;
  }
  return ~c;
}
