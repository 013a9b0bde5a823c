/** Word-by-word copy of 128 KiB, back and forth: one load and one store per step. */
const BYTES: u32 = 131072;
const from = memory.data(131072, 16), to = memory.data(131072, 16);
let ready: bool = false;

function copy(d: usize, s: usize): void { for (const end = s + BYTES; s < end; s += 4, d += 4) store<u32>(d, load<u32>(s)); }

export function memcpy(): u32 {
  if (!ready) { for (let i: u32 = 0; i < BYTES; i += 4) store<u32>(from + i, i * 0x9e3779b1); ready = true; }
  copy(to, from);
  copy(from, to);
  return load<u32>(from + 4096) ^ load<u32>(to + 65536);
}
