/**
 * The byte stream that sources send and tests expect: word k (little-endian) = mix(k + seed), mix(x) = x * 9E3779B1h, xor itself >> 15.
 * Any part of it can be made without the rest.
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
