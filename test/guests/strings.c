/* String instructions at scale: large counts, overlap, both directions, page faults in the middle with restart, interrupts in the middle. */
#include "lib/guest.h"
static u8 a[65536] __attribute__((aligned(4096))), b[65536] __attribute__((aligned(4096))), c[65536];
static void fill(void) { for (u32 i = 0; i < sizeof a; i++) { a[i] = i * 7 + (i >> 8); b[i] = 0; c[i] = 0; } }
static void forward(void) {
  fill();
  for (u32 n = 0; n < 300; n += 7) for (u32 o = 0; o < 5; o++) {
    u32 di = (u32)b + o, si = (u32)a + 3, cx = n;
    asm volatile("rep movsb" : "+D"(di), "+S"(si), "+c"(cx) : : "memory");
    EQUAL(cx, 0); EQUAL(di, (u32)b + o + n); EQUAL(si, (u32)a + 3 + n); EQUAL(memcmp(b + o, a + 3, n), 0);
  }
  u32 di = (u32)b + 1, si = (u32)a, cx = 16000;
  asm volatile("rep movsl" : "+D"(di), "+S"(si), "+c"(cx) : : "memory");
  EQUAL(memcmp(b + 1, a, 64000), 0);
}
static void overlap(void) {
  /* Forward with destination one above source smears; byte by byte semantics. */
  fill(); memcpy(c, a, 4096);
  u32 di = (u32)a + 1, si = (u32)a, cx = 4000;
  asm volatile("rep movsb" : "+D"(di), "+S"(si), "+c"(cx) : : "memory");
  for (u32 i = 0; i <= 4000; i++) if (a[i] != c[0]) { EQUAL(a[i], c[0]); break; }
  fill(); di = (u32)a + 6; si = (u32)a; cx = 1000;
  for (u32 i = 0; i < 4006; i++) c[i] = a[i];
  for (u32 i = 0; i < 1000; i++) for (u32 k = 0; k < 4; k++) c[6 + i * 4 + k] = i * 4 + k >= 6 ? c[i * 4 + k] : a[i * 4 + k];
  asm volatile("rep movsl" : "+D"(di), "+S"(si), "+c"(cx) : : "memory");
  u32 h1 = 0, h2 = 0; for (u32 i = 0; i < 4006; i++) { h1 = h1 * 31 + a[i]; h2 = h2 * 31 + c[i]; }
  /* A dword is read whole before it is written: recompute exactly so. */
  fill(); for (u32 i = 0; i < 1000; i++) { u32 v = *(u32 *)(a + i * 4); *(u32 *)(a + 6 + i * 4) = v; }
  h2 = 0; for (u32 i = 0; i < 4006; i++) h2 = h2 * 31 + a[i];
  EQUAL(h1, h2);
}
static void backward(void) {
  fill();
  u32 di = (u32)b + 4999, si = (u32)a + 4999, cx = 5000;
  asm volatile("std\n rep movsb\n cld" : "+D"(di), "+S"(si), "+c"(cx) : : "memory");
  EQUAL(memcmp(a, b, 5000), 0); EQUAL(di, (u32)b - 1); EQUAL(si, (u32)a - 1);
  di = (u32)a + 4096; cx = 1024;
  asm volatile("std\n rep stosl\n cld" : "+D"(di), "+c"(cx) : "a"(0x12345678) : "memory");
  EQUAL(*(u32 *)(a + 4096), 0x12345678); EQUAL(*(u32 *)(a + 4), 0x12345678); CHECK(*(u32 *)a != 0x12345678); EQUAL(di, (u32)a);
}
static void scan_compare(void) {
  fill(); memset(b, 0x41, 60000); b[45678] = 0x42;
  u32 di = (u32)b, cx = 60000;
  asm volatile("repe scasb" : "+D"(di), "+c"(cx) : "a"(0x41) : "memory", "cc");
  EQUAL(di, (u32)b + 45679); EQUAL(cx, 60000 - 45679);
  di = (u32)b; cx = 0xffffffff; b[50000] = 0;
  asm volatile("repne scasb" : "+D"(di), "+c"(cx) : "a"(0) : "memory", "cc");
  EQUAL(~cx - 1, 50000);
  memcpy(c, b, 60000); c[30001] ^= 1;
  di = (u32)b; u32 si = (u32)c; cx = 15000; u8 below;
  asm volatile("repe cmpsl\n setb %3" : "+D"(di), "+S"(si), "+c"(cx), "=q"(below) : : "memory", "cc");
  EQUAL(cx, 15000 - 7501); EQUAL(di, (u32)b + 30004); EQUAL(below, 1);
}
static u32 dir[1024] __attribute__((aligned(4096))), table[1024] __attribute__((aligned(4096)));
static volatile u32 faults, last_ecx, last_edi, last_esi, last_eip;
static void demand(struct frame *f) {
  u32 va = cr2();
  faults++; last_ecx = f->ecx; last_edi = f->edi; last_esi = f->esi; last_eip = f->eip;
  table[va >> 12 & 1023] = ((u32)b + (va & 0xf000)) | 3;
}
static void faults_in_the_middle(void) {
  for (u32 i = 0; i < 16; i++) dir[i] = i << 22 | 0x83;
  dir[0xfee00000 >> 22] = 0xfec00000 | 0x83;
  dir[0x40000000 >> 22] = (u32)table | 3;
  set_cr4(cr4() | 0x10); set_cr3((u32)dir); set_cr0(cr0() | 0x80010000);
  handlers[14] = demand;
  fill();
  u32 di = 0x40000000 + 100, si = (u32)a, cx = 50000;
  asm volatile("rep movsb" : "+D"(di), "+S"(si), "+c"(cx) : : "memory");
  EQUAL(faults, 13); EQUAL(memcmp(b + 100, a, 50000), 0); EQUAL(di, 0x40000000 + 50100);
  EQUAL(last_edi, 0x4000c000); EQUAL(last_ecx, 50000 - (0xc000 - 100)); EQUAL(last_esi, (u32)a + 0xc000 - 100);
  memset(table, 0, 4096); set_cr3(cr3()); faults = 0;
  /* A dword store across the boundary faults before any byte of it is written. */
  b[0xffe] = 1; b[0xfff] = 2;
  di = 0x40000ffe; cx = 3;
  asm volatile("rep stosl" : "+D"(di), "+c"(cx) : "a"(0x99999999) : "memory");
  EQUAL(faults, 2); EQUAL(*(u16 *)(b + 0xffe), 0x9999); EQUAL(*(u32 *)(b + 0x1000), 0x99999999); EQUAL(last_ecx, 3);
  memset(table, 0, 4096); set_cr3(cr3()); faults = 0;
  cx = 20000; di = 0x40000000;
  asm volatile("repe scasb" : "+D"(di), "+c"(cx) : "a"(b[0]) : "memory", "cc");
  CHECK(faults >= 1);
}
static volatile u32 ticks, inside;
static u32 rep_at;
static void tick(struct frame *f) { ticks++; if (f->eip == rep_at && f->ecx) inside++; outb(0x20, 0x20); }
static void interrupts_in_the_middle(void) {
  /* A long REP is interruptible between elements: registers in the frame are those of a partial run and it resumes. */
  handlers[0x20] = tick;
  pit_periodic(2000); pic_unmask(0);
  u32 rounds = 0;
  sti();
  while (inside < 3 && rounds < 3000) {
    memset(b, 0, 4);
    u32 di = (u32)b, si = (u32)a, cx = sizeof a;
    asm volatile("movl $1f, %3\n1: rep movsb" : "+D"(di), "+S"(si), "+c"(cx), "=m"(rep_at) : : "memory");
    if (cx != 0 || di != (u32)b + sizeof a) { EQUAL(cx, 0); break; }
    rounds++;
  }
  cli(); pic_mask_all();
  EQUAL(memcmp(a, b, sizeof a), 0);
  if (!inside) skip("no tick fell into a REP here");
}
const struct test tests[] = { { "forward copies", forward }, { "overlapping copies", overlap }, { "backward", backward }, { "scan and compare", scan_compare }, { "page faults in the middle of REP", faults_in_the_middle }, { "interrupts in the middle of REP", interrupts_in_the_middle }, { 0, 0 } };
