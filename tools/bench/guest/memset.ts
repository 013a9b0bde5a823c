/** Word-by-word fill of 256 KiB: one store per step. */
const field = memory.data(262144, 16);

export function memset(): u32 {
  for (let p = field, end = field + 262144; p < end; p += 4) store<u32>(p, 0x5a5a5a5a);
  return load<u32>(field + 1024) ^ <u32>(load<u8>(field + 262143));
}
