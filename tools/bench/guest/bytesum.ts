/** Sum of 256 KiB byte by byte: the plainest load loop. */
const BYTES: u32 = 262144;
const input = memory.data(262144, 16);
let ready: bool = false;

export function bytesum(): u32 {
  if (!ready) { for (let i: u32 = 0; i < BYTES; i++) store<u8>(input + i, i * 7 + (i >> 8)); ready = true; }
  let sum: u32 = 0;
  for (let p = input, end = input + BYTES; p < end; p++) sum += load<u8>(p);
  return sum;
}
