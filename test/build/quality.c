/* The kernels of quality.guest.ts in C: the yardstick is gcc -m32 -O2. */
typedef unsigned u32; typedef unsigned char u8; typedef unsigned short u16; typedef unsigned long long u64; typedef int i32;
static u8 A[65536] __attribute__((aligned(16))), B[65536] __attribute__((aligned(16))), TABLE[1024] __attribute__((aligned(16)));
#define W(p, o) (*(u32 *)((p) + (o)))
void *memset(void *d, int c, unsigned n) { __asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(c) : "memory"); return d; }
void *memcpy(void *d, const void *s, unsigned n) { void *r = d; __asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(n) : : "memory"); return r; }
static void fill(void) { u32 x = 12345; for (u32 i = 0; i < 16384; i++) { x = x * 1664525 + 1013904223; W(A, i << 2) = x; } }
static __attribute__((noinline)) u32 crc32(u32 rounds) {
  for (u32 i = 0; i < 256; i++) { u32 c = i; for (int k = 0; k < 8; k++) c = c & 1 ? (c >> 1) ^ 0xedb88320 : c >> 1; W(TABLE, i << 2) = c; }
  u32 crc = 0xffffffff;
  for (u32 r = 0; r < rounds; r++) for (u32 i = 0; i < 16384; i++) crc = W(TABLE, ((crc ^ A[i]) & 255) << 2) ^ (crc >> 8);
  return crc;
}
static const u32 K[64] = {
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
  0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
  0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
  0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2 };
static u32 H[8];
#define R(x, n) ((x) >> (n) | (x) << (32 - (n)))
static __attribute__((noinline)) u32 sha256(u32 rounds) {
  for (u32 i = 0; i < 8; i++) H[i] = 0x6a09e667 + i * 0x1234567;
  u32 *w = (u32 *)B;
  for (u32 r = 0; r < rounds; r++) for (u32 block = 0; block < 64; block++) {
    u8 *p = A + (block << 6);
    for (u32 i = 0; i < 16; i++) w[i] = __builtin_bswap32(W(p, i << 2));
    for (u32 i = 16; i < 64; i++) { u32 x = w[i - 15], y = w[i - 2]; w[i] = w[i - 16] + (R(x, 7) ^ R(x, 18) ^ x >> 3) + w[i - 7] + (R(y, 17) ^ R(y, 19) ^ y >> 10); }
    u32 a = H[0], b = H[1], c = H[2], d = H[3], e = H[4], f = H[5], g = H[6], h = H[7];
    for (u32 i = 0; i < 64; i++) {
      u32 t1 = h + (R(e, 6) ^ R(e, 11) ^ R(e, 25)) + ((e & f) ^ (~e & g)) + K[i] + w[i], t2 = (R(a, 2) ^ R(a, 13) ^ R(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
      h = g; g = f; f = e; e = d + t1; d = c; c = b; b = a; a = t1 + t2;
    }
    H[0] += a; H[1] += b; H[2] += c; H[3] += d; H[4] += e; H[5] += f; H[6] += g; H[7] += h;
  }
  return H[0] ^ H[7];
}
static __attribute__((noinline)) u32 sieve(u32 rounds) {
  u32 count = 0;
  for (u32 r = 0; r < rounds; r++) { memset(B, 1, 65536); count = 0; for (u32 i = 2; i < 65536; i++) if (B[i]) { count++; for (u32 j = i + i; j < 65536; j += i) B[j] = 0; } }
  return count;
}
static void sort(i32 *p, i32 lo, i32 hi) {
  while (lo < hi) {
    i32 pivot = p[(lo + hi) >> 1], i = lo, j = hi;
    while (i <= j) { while (p[i] < pivot) i++; while (pivot < p[j]) j--; if (i <= j) { i32 t = p[i]; p[i] = p[j]; p[j] = t; i++; j--; } }
    if (j - lo < hi - i) { sort(p, lo, j); lo = i; } else { sort(p, i, hi); hi = j; }
  }
}
static __attribute__((noinline)) u32 qsort_(u32 rounds) {
  for (u32 r = 0; r < rounds; r++) { for (u32 i = 0; i < 16384; i++) W(B, i << 2) = W(A, i << 2); sort((i32 *)B, 0, 16383); }
  return W(B, 4000) ^ W(B, 40000);
}
struct entry { u32 key, value; struct entry *next; u8 state, rights; u16 badge; };
static __attribute__((noinline)) u32 hash(u32 rounds) {
  u32 sum = 0;
  for (u32 r = 0; r < rounds; r++) {
    struct entry **buckets = (struct entry **)TABLE;
    memset(TABLE, 0, 1024);
    for (u32 i = 0; i < 2000; i++) {
      u32 key = W(A, i << 2); struct entry *e = (struct entry *)(B + (i << 4));
      e->key = key; e->value = i; e->state = 1; e->rights = i & 7; e->badge = i;
      struct entry **b = &buckets[(key ^ key >> 15) & 255]; e->next = *b; *b = e;
    }
    for (u32 i = 0; i < 4000; i++) { u32 key = W(A, i << 2); struct entry *e = buckets[(key ^ key >> 15) & 255]; while (e && e->key != key) e = e->next; if (e) sum += e->value + e->badge; }
  }
  return sum;
}
static __attribute__((noinline)) u32 ipc(u32 rounds) {
  u32 sum = 0;
  for (u32 r = 0; r < rounds; r++) for (u32 m = 0; m < 400; m++) {
    u8 *from = A + ((m & 63) << 7), *to = B + ((m & 31) << 7); u32 tag = W(from, 0), words = tag >> 16 & 15;
    W(to, 0) = tag; *(u64 *)(to + 8) += 1;
    for (u32 i = 0; i < words; i++) W(to, 16 + (i << 2)) = W(from, 16 + (i << 2));
    if (tag & 0x100000) *(u16 *)(to + 4) += 1;
    sum += W(to, 20) ^ words;
  }
  return sum;
}
static inline u32 capability(u8 *base, u32 handle, u32 type, u32 rights) {
  u32 index = handle & 0xfffff; if (index >= 1024) return 1;
  u8 *slot = base + (index << 4);
  if ((W(slot, 4) & 0xfff) != handle >> 20) return 2;
  if (slot[8] != type) return 3;
  if ((slot[9] & rights) != rights) return 4;
  return W(slot, 12);
}
static __attribute__((noinline)) u32 caps(u32 rounds) {
  u32 sum = 0;
  for (u32 i = 0; i < 1024; i++) { u8 *s = B + (i << 4); W(s, 4) = i & 0xff; s[8] = i & 3; s[9] = i >> 2; W(s, 12) = i * 7; }
  for (u32 r = 0; r < rounds; r++) for (u32 i = 0; i < 4096; i++) sum += capability(B, (i & 2047) | (i & 0xff) << 20, i & 3, i >> 3 & 3);
  return sum;
}
static __attribute__((noinline)) u32 fib(u32 n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
static u32 number(const char *p) { u32 v = 0; while (*p) v = v * 10 + (*p++ - 48); return v; }
__attribute__((used)) void start(char **stack) {
  fill();
  u32 which = number(stack[2]), rounds = number(stack[3]), v = 0;
  switch (which) {
    case 0: v = crc32(rounds); break; case 1: v = sha256(rounds); break; case 2: v = sieve(rounds); break; case 3: v = qsort_(rounds); break;
    case 4: v = hash(rounds); break; case 5: v = ipc(rounds); break; case 6: v = caps(rounds); break; default: for (u32 r = 0; r < rounds; r++) v += fib(24);
  }
  char out[9]; for (u32 i = 0; i < 8; i++) out[i] = 97 + (v >> (28 - 4 * i) & 15); out[8] = 10;
  int n; __asm__ volatile("int $0x80" : "=a"(n) : "a"(4), "b"(1), "c"(out), "d"(9) : "memory");
  __asm__ volatile("int $0x80" : : "a"(1), "b"(0));
}
__asm__(".globl _start\n_start: mov %esp,%eax\npush %eax\ncall start");
