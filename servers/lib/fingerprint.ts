/**
 * Fingerprint of a text: two 32-bit lanes, one over the even words, one over the odd ones; each step is h = rotl(h ^ word, 13) * odd, 4 instructions a
 * word where CRC-32 takes 16. Each step is a bijection of h and of the word, so a change within one word of a lane (a flipped bit, a burst) is always
 * seen; several words changed in a way that cancels are 1 in 2^32 (the rotation keeps flips of the same bit in two words from cancelling, which plain
 * sums and products by odd keys let through). It is for accidents, not for enemies.
 */
const ODD0: u32 = 0x9e3779b1, ODD1: u32 = 0x85ebca6b;

/** The second lane of the last `fingerprint`. */
export let fingerprintHigh: u32 = 0;
/** Low lane of (at, bytes). */
export function fingerprint(at: usize, bytes: u32): u32 {
  let even: u32 = bytes ^ 0x243f6a88, odd: u32 = bytes ^ 0x85a308d3;
  const stop = at + (bytes & ~15), end = at + bytes;
  while (at < stop) {
    even = rotl<u32>(even ^ load<u32>(at), 13) * ODD0;
    odd = rotl<u32>(odd ^ load<u32>(at, 4), 13) * ODD1;
    even = rotl<u32>(even ^ load<u32>(at, 8), 13) * ODD0;
    odd = rotl<u32>(odd ^ load<u32>(at, 12), 13) * ODD1;
    at += 16;
  }
  while (at < end) { even = rotl<u32>(even ^ <u32>load<u8>(at), 13) * ODD0; at++; }
  fingerprintHigh = odd;
  return even;
}
