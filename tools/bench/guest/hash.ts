/** Open-addressing hash table: 8,192 inserts, 16,384 look-ups, half of them misses. */
const SLOTS: u32 = 16384, MASK: u32 = 16383;
const keys = memory.data(65536, 16), values = memory.data(65536, 16);

function slot(key: u32): u32 {
  let h = (key * 0x9e3779b1) >> 18;
  while (true) {
    const k = load<u32>(keys + (h << 2));
    if (k == key || k == 0) return h;
    h = (h + 1) & MASK;
  }
}

export function hash(): u32 {
  memory.fill(keys, 0, SLOTS << 2);
  let x: u32 = 7;
  for (let i: u32 = 0; i < 8192; i++) { x = x * 1664525 + 1013904223; const key = x | 1, s = slot(key); store<u32>(keys + (s << 2), key); store<u32>(values + (s << 2), i); }
  let sum: u32 = 0, y: u32 = 7;
  for (let i: u32 = 0; i < 16384; i++) {
    y = y * 1664525 + 1013904223;
    const key = (y | 1) ^ (i & 1 ? 0x40000000 : 0), s = slot(key);
    if (load<u32>(keys + (s << 2)) == key) sum += load<u32>(values + (s << 2)); else sum ^= key;
  }
  return sum;
}
