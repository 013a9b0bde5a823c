/**
 * The byte stream that sources send and tests expect: word k (little-endian) = mix(k + seed), mix(x) = x * 9E3779B1h, xor itself >> 15.
 * Any part of it can be made without the rest. And the CRC-32 (IEEE 802.3, reflected, as zlib's) that sinks answer with.
 */
export function pattern(seed: number, offset: number, into: Uint8Array): void {
  for (let k = 0; k < into.length;) {
    const at = offset + k;
    let word = Math.imul(Math.floor(at / 4) + seed, 0x9e37_79b1);
    word ^= word >>> 15;
    word >>>= 8 * (at & 3);
    for (let n = at & 3; n < 4 && k < into.length; n++, k++) { into[k] = word; word >>>= 8; }
  }
}

const TABLE = Int32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let k = 0; k < 8; k++) c = c & 1 ? 0xedb8_8320 ^ (c >>> 1) : c >>> 1;
  return c;
});
/** CRC-32 of what came before (0 at the beginning) and these bytes. */
export function crc32(bytes: Uint8Array, before = 0): number {
  let c = ~before;
  for (let k = 0; k < bytes.length; k++) c = TABLE[(c ^ bytes[k]) & 255] ^ (c >>> 8);
  return ~c >>> 0;
}
