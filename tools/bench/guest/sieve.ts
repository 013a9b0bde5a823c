/** Sieve of Eratosthenes over one byte per number: streaming byte stores with a stride, then a byte scan. */
const LIMIT: u32 = 262144;
const flags = memory.data(262144, 16);

export function sieve(): u32 {
  memory.fill(flags, 1, LIMIT);
  for (let p: u32 = 2; p * p < LIMIT; p++) {
    if (load<u8>(flags + p) == 0) continue;
    for (let m: u32 = p * p; m < LIMIT; m += p) store<u8>(flags + m, 0);
  }
  let count: u32 = 0;
  for (let n: u32 = 2; n < LIMIT; n++) count += load<u8>(flags + n);
  return count;
}
