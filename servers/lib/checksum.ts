/**
 * Checksum of blocks and records: sum over 32-bit words of mix(word[i]) * key[i] mod 2^32, where mix(w) = w ^ w >>> 16 and keys are odd and pseudo-random ("multilinear"
 * hashing, Carter & Wegman 1979; Lemire & Kaser 2014). Why not CRC-32: it is verified whenever metadata is used, and this costs 5 instructions a word instead of 20.
 *
 * Seen always: every change within one word (mix and an odd factor are invertible), and every two flipped bits of different words among 1024. Without mix, bit b of any word would
 * count in the upper 32 - b bits of the sum only, and two flips of bit 31 would cancel. With it a flip changes the sum by
 * +-2^b * key, or +-2^b * (2^16 +- 1) * key, with b < 16; two such of the same b cancel only if their keys are equal or opposite mod 2^16, and no two are (`fillKeys`).
 * Others escape with 2^-31 or so.
 */
const WORDS: usize = 1024;
const KEYS: usize = memory.data(4096, 64);
let filled: bool = false;
function fillKeys(): void {
  let state: u32 = 0x9e3779b9;
  for (let i: usize = 0; i < WORDS; i++) {
    state ^= state << 13; state ^= state >> 17; state ^= state << 5; // xorshift32, Marsaglia 2003
    let low = <u32>i * 0x2545 & 0x3fff; // a permutation of 14 bits: odd factors and a shift
    low = (low ^ low >> 7) * 0x1d35 & 0x3fff;
    low = low ^ low >> 7;
    const key = (state & 0xffff0000) + (low << 1 | 1); // so all differ mod 2^15
    store<u32>(KEYS + (i << 2), (state & 1) != 0 ? 0 - key : key);
  }
  filled = true;
}
function mix(word: u32): u32 { return word ^ word >> 16; }
/** Of `bytes` (a multiple of 4) at `at`; beyond 4 KiB the keys repeat with the running sum mixed in. */
export function checksum(at: usize, bytes: u32): u32 {
  if (!filled) fillKeys();
  let sum: u32 = bytes ^ 0x5bd1e995;
  while (bytes >= 4096) {
    sum = (sum << 7 | sum >> 25) + part(at, 1024);
    at += 4096; bytes -= 4096;
  }
  return (sum << 7 | sum >> 25) + part(at, bytes >> 2);
}

/** The first 19 keys as a sample (the unrolled loop and the rest), and their sum. */
const SAMPLE: u32 = 76;
const SAMPLE_SUM: u32 = 0x0874a472;
/**
 * A wrong sum may be the fault of this code or of its keys and not of the data (a flipped bit in text is there for every block). Dies then: a server
 * with sound text takes over and finds the data as they are. Called before every commit, and before a block is called damaged.
 */
export function proveSound(): void { if (checksum(KEYS, SAMPLE) != SAMPLE_SUM) unreachable(); }
/** Whether (at, bytes) has this sum; one that differs is computed again before it is believed. */
export function matches(at: usize, bytes: u32, sum: u32): bool {
  if (checksum(at, bytes) == sum) return true;
  proveSound();
  return checksum(at, bytes) == sum;
}
/**
 * What one changed word adds to `part`: collect the sum of these over all changed words of a block (`index` = which word), then `changed` turns
 * the block's old checksum into its new one without a look at the rest.
 */
export function wordChange(index: u32, before: u32, after: u32): u32 { return (mix(after) - mix(before)) * load<u32>(KEYS + (<usize>(index & 1023) << 2)); }
export function changed(sum: u32, bytes: u32, change: u32): u32 {
  if (bytes < 4096) return sum + change;
  const inner = (sum >> 7 | sum << 25) + change; // one full part, rotated once more at the end
  return inner << 7 | inner >> 25;
}
function part(at: usize, words: u32): u32 {
  let sum: u32 = 0, key = KEYS;
  const unrolled = at + (<usize>(words & ~3) << 2), end = at + (<usize>words << 2);
  while (at < unrolled) {
    sum += mix(load<u32>(at)) * load<u32>(key) + mix(load<u32>(at, 4)) * load<u32>(key, 4) + mix(load<u32>(at, 8)) * load<u32>(key, 8) + mix(load<u32>(at, 12)) * load<u32>(key, 12);
    at += 16; key += 16;
  }
  while (at < end) {
    sum += mix(load<u32>(at)) * load<u32>(key);
    at += 4; key += 4;
  }
  return sum;
}
