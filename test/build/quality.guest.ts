/**
 * Eight small kernels of the kind a microkernel and its servers run, for comparison with gcc -O2 on the same machine (quality.c is the same
 * code in C). Each returns a checksum; `main` takes the benchmark number and the rounds from argv.
 */
export declare function linux_syscall(n: u32, a: u32, b: u32, c: u32): i32;

const A: usize = memory.data(65536, 16);
const B: usize = memory.data(65536, 16);
const TABLE: usize = memory.data(1024, 16);

function fill(): void {
  let x: u32 = 12345;
  for (let i: u32 = 0; i < 16384; i++) {
    x = x * 1664525 + 1013904223;
    store<u32>(A + (i << 2), x);
  }
}

function crc32(rounds: u32): u32 {
  for (let i: u32 = 0; i < 256; i++) {
    let c = i;
    for (let k = 0; k < 8; k++) c = (c & 1) != 0 ? (c >>> 1) ^ 0xedb88320 : c >>> 1;
    store<u32>(TABLE + (i << 2), c);
  }
  let crc: u32 = 0xffffffff;
  for (let r: u32 = 0; r < rounds; r++) for (let i: u32 = 0; i < 16384; i++) crc = load<u32>(TABLE + (((crc ^ load<u8>(A + i)) & 255) << 2)) ^ (crc >>> 8);
  return crc;
}

const K: usize = memory.data<u32>([
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
  0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
  0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
  0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
]);
const H: usize = memory.data(32, 4);
function sha256(rounds: u32): u32 {
  for (let i: u32 = 0; i < 8; i++) store<u32>(H + (i << 2), 0x6a09e667 + i * 0x1234567);
  const w = B;
  for (let r: u32 = 0; r < rounds; r++) {
    for (let block: u32 = 0; block < 64; block++) {
      const p = A + (block << 6);
      for (let i: u32 = 0; i < 16; i++) store<u32>(w + (i << 2), bswap<u32>(load<u32>(p + (i << 2))));
      for (let i: u32 = 16; i < 64; i++) {
        const x = load<u32>(w + ((i - 15) << 2)), y = load<u32>(w + ((i - 2) << 2));
        const s0 = rotr<u32>(x, 7) ^ rotr<u32>(x, 18) ^ (x >>> 3), s1 = rotr<u32>(y, 17) ^ rotr<u32>(y, 19) ^ (y >>> 10);
        store<u32>(w + (i << 2), load<u32>(w + ((i - 16) << 2)) + s0 + load<u32>(w + ((i - 7) << 2)) + s1);
      }
      let a = load<u32>(H), b = load<u32>(H, 4), c = load<u32>(H, 8), d = load<u32>(H, 12), e = load<u32>(H, 16), f = load<u32>(H, 20), g = load<u32>(H, 24), h = load<u32>(H, 28);
      for (let i: u32 = 0; i < 64; i++) {
        const t1 = h + (rotr<u32>(e, 6) ^ rotr<u32>(e, 11) ^ rotr<u32>(e, 25)) + ((e & f) ^ (~e & g)) + load<u32>(K + (i << 2)) + load<u32>(w + (i << 2));
        const t2 = (rotr<u32>(a, 2) ^ rotr<u32>(a, 13) ^ rotr<u32>(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
        h = g; g = f; f = e; e = d + t1; d = c; c = b; b = a; a = t1 + t2;
      }
      store<u32>(H, load<u32>(H) + a); store<u32>(H, load<u32>(H, 4) + b, 4); store<u32>(H, load<u32>(H, 8) + c, 8); store<u32>(H, load<u32>(H, 12) + d, 12);
      store<u32>(H, load<u32>(H, 16) + e, 16); store<u32>(H, load<u32>(H, 20) + f, 20); store<u32>(H, load<u32>(H, 24) + g, 24); store<u32>(H, load<u32>(H, 28) + h, 28);
    }
  }
  return load<u32>(H) ^ load<u32>(H, 28);
}

function sieve(rounds: u32): u32 {
  let count: u32 = 0;
  for (let r: u32 = 0; r < rounds; r++) {
    memory.fill(B, 1, 65536);
    count = 0;
    for (let i: u32 = 2; i < 65536; i++) {
      if (load<u8>(B + i) != 0) {
        count++;
        for (let j = i + i; j < 65536; j += i) store<u8>(B + j, 0);
      }
    }
  }
  return count;
}

function sort(p: usize, lo: i32, hi: i32): void {
  while (lo < hi) {
    const pivot = load<i32>(p + (<usize>((lo + hi) >> 1) << 2));
    let i = lo, j = hi;
    while (i <= j) {
      while (load<i32>(p + (<usize>i << 2)) < pivot) i++;
      while (pivot < load<i32>(p + (<usize>j << 2))) j--;
      if (i <= j) {
        const t = load<i32>(p + (<usize>i << 2));
        store<i32>(p + (<usize>i << 2), load<i32>(p + (<usize>j << 2)));
        store<i32>(p + (<usize>j << 2), t);
        i++; j--;
      }
    }
    if (j - lo < hi - i) { sort(p, lo, j); lo = i; } else { sort(p, i, hi); hi = j; }
  }
}
function qsort(rounds: u32): u32 {
  for (let r: u32 = 0; r < rounds; r++) {
    for (let i: u32 = 0; i < 16384; i++) store<u32>(B + (i << 2), load<u32>(A + (i << 2)));
    sort(B, 0, 16383);
  }
  return load<u32>(B + 4000) ^ load<u32>(B + 40000);
}

@unmanaged @final class Entry { key: u32; value: u32; next: Entry; state: u8; rights: u8; badge: u16; }
const ENTRIES: usize = B;
const BUCKETS: usize = TABLE;
function hash(rounds: u32): u32 {
  let sum: u32 = 0;
  for (let r: u32 = 0; r < rounds; r++) {
    memory.fill(BUCKETS, 0, 1024);
    for (let i: u32 = 0; i < 2000; i++) {
      const key = load<u32>(A + (i << 2));
      const e = changetype<Entry>(ENTRIES + (i << 4));
      e.key = key; e.value = i; e.state = 1; e.rights = <u8>(i & 7); e.badge = <u16>i;
      const b = BUCKETS + (((key ^ (key >>> 15)) & 255) << 2);
      e.next = changetype<Entry>(load<usize>(b));
      store<usize>(b, changetype<usize>(e));
    }
    for (let i: u32 = 0; i < 4000; i++) {
      const key = load<u32>(A + (i << 2));
      let e = changetype<Entry>(load<usize>(BUCKETS + (((key ^ (key >>> 15)) & 255) << 2)));
      while (changetype<usize>(e) != 0 && e.key != key) e = e.next;
      if (changetype<usize>(e) != 0) sum += e.value + e.badge;
    }
  }
  return sum;
}

/** Message copy as in IPC: up to 16 words and a header between two records. */
function ipc(rounds: u32): u32 {
  let sum: u32 = 0;
  for (let r: u32 = 0; r < rounds; r++) {
    for (let m: u32 = 0; m < 400; m++) {
      const from = A + ((m & 63) << 7), to = B + ((m & 31) << 7);
      const tag = load<u32>(from);
      const words = (tag >>> 16) & 15;
      store<u32>(to, tag);
      store<u64>(to, load<u64>(to, 8) + 1, 8);
      for (let i: u32 = 0; i < words; i++) store<u32>(to + (i << 2), load<u32>(from + (i << 2), 16), 16);
      if ((tag & 0x100000) != 0) store<u16>(to, <u16>(load<u16>(to, 4) + 1), 4);
      sum += load<u32>(to, 20) ^ words;
    }
  }
  return sum;
}

/** Capability look-up: index, generation, type, rights. */
function capability(base: usize, handle: u32, type: u32, rights: u32): u32 {
  const index = handle & 0xfffff;
  if (index >= 1024) return 1;
  const slot = base + (index << 4);
  if ((load<u32>(slot, 4) & 0xfff) != handle >>> 20) return 2;
  if (load<u8>(slot, 8) != type) return 3;
  if ((load<u8>(slot, 9) & rights) != rights) return 4;
  return load<u32>(slot, 12);
}
function caps(rounds: u32): u32 {
  let sum: u32 = 0;
  for (let i: u32 = 0; i < 1024; i++) {
    const slot = B + (i << 4);
    store<u32>(slot, i & 0xff, 4);
    store<u8>(slot, i & 3, 8);
    store<u8>(slot, i >>> 2, 9);
    store<u32>(slot, i * 7, 12);
  }
  for (let r: u32 = 0; r < rounds; r++) for (let i: u32 = 0; i < 4096; i++) sum += capability(B, (i & 2047) | ((i & 0xff) << 20), i & 3, (i >>> 3) & 3);
  return sum;
}

function fib(n: u32): u32 { return n < 2 ? n : fib(n - 1) + fib(n - 2); }

function atoi(p: usize): u32 {
  let v: u32 = 0;
  while (load<u8>(p) != 0) { v = v * 10 + (load<u8>(p) - 48); p++; }
  return v;
}
export function main(stack: usize): i32 {
  fill();
  const which = atoi(load<usize>(stack, 8)), rounds = atoi(load<usize>(stack, 12));
  let v: u32 = 0;
  switch (which) {
    case 0: v = crc32(rounds); break;
    case 1: v = sha256(rounds); break;
    case 2: v = sieve(rounds); break;
    case 3: v = qsort(rounds); break;
    case 4: v = hash(rounds); break;
    case 5: v = ipc(rounds); break;
    case 6: v = caps(rounds); break;
    default: for (let r: u32 = 0; r < rounds; r++) v += fib(24);
  }
  const out = B;
  for (let i: u32 = 0; i < 8; i++) store<u8>(out + i, 97 + ((v >>> (28 - 4 * i)) & 15));
  store<u8>(out, 10, 8);
  linux_syscall(4, 1, <u32>out, 9);
  return 0;
}
