/**
 * HalfSipHash-2-4 (Aumasson, Bernstein: 32-bit words, 64-bit key) of whole words: initial sequence numbers (RFC 6528) and SYN cookies. The key lies in the state,
 * so that a successor accepts its predecessor's cookies.
 */
export let key0: u32 = 0;
export let key1: u32 = 0;
export function setKey(a: u32, b: u32): void { key0 = a; key1 = b; }

const V: usize = memory.data(16, 4);
function round(): void {
  let v0 = load<u32>(V), v1 = load<u32>(V, 4), v2 = load<u32>(V, 8), v3 = load<u32>(V, 12);
  v0 += v1; v1 = rotl<u32>(v1, 5); v1 ^= v0; v0 = rotl<u32>(v0, 16);
  v2 += v3; v3 = rotl<u32>(v3, 8); v3 ^= v2;
  v0 += v3; v3 = rotl<u32>(v3, 7); v3 ^= v0;
  v2 += v1; v1 = rotl<u32>(v1, 13); v1 ^= v2; v2 = rotl<u32>(v2, 16);
  store<u32>(V, v0); store<u32>(V, v1, 4); store<u32>(V, v2, 8); store<u32>(V, v3, 12);
}
/** Of `words` 32-bit words at `at`. */
export function sipHash(at: usize, words: u32): u32 {
  store<u32>(V, key0); store<u32>(V, key1, 4); store<u32>(V, 0x6c796765 ^ key0, 8); store<u32>(V, 0x74656462 ^ key1, 12);
  for (let n: u32 = 0; n < words; n++) {
    const m = load<u32>(at + (<usize>n << 2));
    store<u32>(V, load<u32>(V, 12) ^ m, 12);
    round(); round();
    store<u32>(V, load<u32>(V) ^ m);
  }
  const b = words << 26;
  store<u32>(V, load<u32>(V, 12) ^ b, 12);
  round(); round();
  store<u32>(V, load<u32>(V) ^ b);
  store<u32>(V, load<u32>(V, 8) ^ 0xff, 8);
  round(); round(); round(); round();
  return load<u32>(V, 4) ^ load<u32>(V, 12);
}
