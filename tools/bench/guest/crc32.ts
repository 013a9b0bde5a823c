/** CRC-32 (IEEE 802.3, reflected) by a 256-entry table: one dependent load per byte. */
const BYTES: u32 = 65536;
const table = memory.data(1024, 16);
const input = memory.data(65536, 16);

function prepare(): void {
  for (let i: u32 = 0; i < 256; i++) {
    let c = i;
    for (let k = 0; k < 8; k++) c = c & 1 ? (c >> 1) ^ 0xedb88320 : c >> 1;
    store<u32>(table + (i << 2), c);
  }
  let x: u32 = 12345;
  for (let i: u32 = 0; i < BYTES; i++) { x = x * 1664525 + 1013904223; store<u8>(input + i, x >> 24); }
}

export function crc32(): u32 {
  if (load<u32>(table + 4) == 0) prepare();
  let crc: u32 = 0xffffffff;
  for (let i: u32 = 0; i < BYTES; i++) crc = load<u32>(table + (((crc ^ load<u8>(input + i)) & 255) << 2)) ^ (crc >> 8);
  return ~crc;
}
