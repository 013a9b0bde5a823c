/** SHA-256 (FIPS 180-4) of 16 KiB: rotates, adds and a 64-word schedule; more live values than there are registers. */
const BYTES: u32 = 16384;
const K = memory.data<u32>([
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
  0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
  0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
  0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
]);
const W = memory.data(256, 16);
const state = memory.data(32, 16);
const input = memory.data(16384, 16);

function block(p: usize): void {
  for (let i: u32 = 0; i < 16; i++) store<u32>(W + (i << 2), bswap<u32>(load<u32>(p + (i << 2))));
  for (let i: u32 = 16; i < 64; i++) {
    const w = W + (i << 2), a = load<u32>(w - 60), b = load<u32>(w - 8);
    const s0 = rotr<u32>(a, 7) ^ rotr<u32>(a, 18) ^ (a >> 3), s1 = rotr<u32>(b, 17) ^ rotr<u32>(b, 19) ^ (b >> 10);
    store<u32>(w, load<u32>(w - 64) + s0 + load<u32>(w - 28) + s1);
  }
  let a = load<u32>(state), b = load<u32>(state + 4), c = load<u32>(state + 8), d = load<u32>(state + 12);
  let e = load<u32>(state + 16), f = load<u32>(state + 20), g = load<u32>(state + 24), h = load<u32>(state + 28);
  for (let i: u32 = 0; i < 256; i += 4) {
    const t1 = h + (rotr<u32>(e, 6) ^ rotr<u32>(e, 11) ^ rotr<u32>(e, 25)) + ((e & f) ^ (~e & g)) + load<u32>(K + i) + load<u32>(W + i);
    const t2 = (rotr<u32>(a, 2) ^ rotr<u32>(a, 13) ^ rotr<u32>(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
    h = g; g = f; f = e; e = d + t1; d = c; c = b; b = a; a = t1 + t2;
  }
  store<u32>(state, load<u32>(state) + a); store<u32>(state + 4, load<u32>(state + 4) + b); store<u32>(state + 8, load<u32>(state + 8) + c); store<u32>(state + 12, load<u32>(state + 12) + d);
  store<u32>(state + 16, load<u32>(state + 16) + e); store<u32>(state + 20, load<u32>(state + 20) + f); store<u32>(state + 24, load<u32>(state + 24) + g); store<u32>(state + 28, load<u32>(state + 28) + h);
}

export function sha256(): u32 {
  store<u32>(state, 0x6a09e667); store<u32>(state + 4, 0xbb67ae85); store<u32>(state + 8, 0x3c6ef372); store<u32>(state + 12, 0xa54ff53a);
  store<u32>(state + 16, 0x510e527f); store<u32>(state + 20, 0x9b05688c); store<u32>(state + 24, 0x1f83d9ab); store<u32>(state + 28, 0x5be0cd19);
  for (let i: u32 = 0; i < BYTES; i += 4) store<u32>(input + i, i * 0x9e3779b1);
  for (let i: u32 = 0; i < BYTES; i += 64) block(input + i);
  return load<u32>(state) ^ load<u32>(state + 28);
}
