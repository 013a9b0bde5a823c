/* Self-modifying code in every distance: the same instruction stream, the same page, another page, through an alias, with paging and REP. */
#include "lib/guest.h"
static u8 area[3 * 4096] __attribute__((aligned(4096)));
typedef u32 fn(void);
static void byte_patch(void) {
  static const u8 code[] = { 0xb8, 0, 0, 0, 0, 0xc3 };
  memcpy(area, code, sizeof code);
  u32 sum = 0;
  for (u32 i = 0; i < 5000; i++) { area[1] = i; sum += ((fn *)area)(); }
  u32 want = 0; for (u32 i = 0; i < 5000; i++) want += i & 255;
  EQUAL(sum, want);
}
static void hot_then_patched(void) {
  /* Runs long enough to be compiled, then changes in the middle: mov eax, n; dec ecx; jnz; ret. */
  static const u8 code[] = { 0x31, 0xc0, 0xb9, 0x10, 0x27, 0, 0, 0x83, 0xc0, 1, 0x49, 0x75, 0xfa, 0xc3 };
  memcpy(area + 64, code, sizeof code);
  asm volatile("" ::: "memory");
  for (u32 step = 1; step < 20; step++) { area[64 + 9] = step; u32 v, c; asm volatile("call *%2" : "=a"(v), "=c"(c) : "r"(area + 64) : "memory"); EQUAL(v, 10000 * step); }
}
static void next_instruction(void) {
  /* movb $imm, (next+1): the very next instruction has changed. */
  u32 v;
  for (u32 i = 0; i < 200; i++) {
    asm volatile("movb %b1, 1f + 1\n jmp 1f\n1: movl $0x55, %0" : "=&a"(v) : "q"(i) : "memory");
    EQUAL(v, i & 255);
  }
}
static void inside_a_loop(void) {
  /* The loop rewrites an immediate of its own body each time round. */
  u32 v, c = 200;
  asm volatile("xor %0, %0\n1: movb %b1, 2f + 2\n2: add $0x7f, %0\n dec %1\n jnz 1b" : "=&a"(v), "+c"(c) : : "memory", "cc");
  u32 want = 0; for (u32 i = 200; i > 0; i--) want += (signed char)i;
  EQUAL(v, want);
}
static void data_on_a_code_page(void) {
  static const u8 code[] = { 0xff, 0x05, 0, 0, 0, 0, 0xa1, 0, 0, 0, 0, 0xc3 };   /* inc [counter]; mov eax, [counter]; ret */
  memcpy(area + 4096, code, sizeof code);
  volatile u32 *counter = (u32 *)(area + 4096 + 0x800);
  *(u32 *)(area + 4096 + 2) = *(u32 *)(area + 4096 + 7) = (u32)counter;
  *counter = 0;
  for (u32 i = 1; i <= 5000; i++) { EQUAL(((fn *)(area + 4096))(), i); }
  /* In the same 64 bytes as the code itself. */
  counter = (u32 *)(area + 4096 + 16);
  *(u32 *)(area + 4096 + 2) = *(u32 *)(area + 4096 + 7) = (u32)counter;
  *counter = 0;
  for (u32 i = 1; i <= 500; i++) { EQUAL(((fn *)(area + 4096))(), i); }
}
static void across_pages(void) {
  /* A mov eax, imm32 whose immediate lies on the next page. */
  u8 *p = area + 2 * 4096 - 2;
  p[0] = 0xb8; p[5] = 0xc3;
  for (u32 i = 0; i < 300; i++) { p[1] = i; p[2] = i >> 8; p[3] = 7; p[4] = 9; EQUAL(((fn *)p)(), 0x09070000 | i); }
}
static void copied_by_rep(void) {
  static u8 versions[2][8] = { { 0xb8, 1, 0, 0, 0, 0xc3 }, { 0xb8, 2, 0, 0, 0, 0xc3 } };
  for (u32 i = 0; i < 1000; i++) { memcpy(area, versions[i & 1], 8); EQUAL(((fn *)area)(), 1 + (i & 1)); }
  for (u32 i = 0; i < 100; i++) { memset(area, 0x90, 64); area[64] = 0xc3; u32 v; asm volatile("mov $77, %%eax\n call *%1" : "=a"(v) : "r"(area) : "memory"); EQUAL(v, 77); memcpy(area, versions[i & 1], 8); EQUAL(((fn *)area)(), 1 + (i & 1)); }
}
static void aliased(void) {
  /* The same frame at two addresses: written through one, executed through the other. */
  static u32 dir[1024] __attribute__((aligned(4096))), table[1024] __attribute__((aligned(4096)));
  for (u32 i = 0; i < 16; i++) dir[i] = i << 22 | 0x83;
  dir[0x40000000 >> 22] = (u32)table | 3;
  table[0] = table[1] = (u32)area | 3;
  set_cr4(cr4() | 0x10); set_cr3((u32)dir); set_cr0(cr0() | 0x80000000);
  static const u8 code[] = { 0xb8, 0, 0, 0, 0, 0xc3 };
  memcpy((void *)0x40000000, code, sizeof code);
  for (u32 i = 0; i < 500; i++) {
    area[2] = 0; ((volatile u8 *)0x40001000)[1] = i; EQUAL(((fn *)0x40000000)(), i & 255);
    area[2] = i; EQUAL(((fn *)0x40001000)(), (i & 255) * 0x101);
  }
  /* Remapping the executed page to another frame. */
  memcpy(area + 4096, code, sizeof code); area[4096 + 1] = 99;
  for (u32 i = 0; i < 200; i++) { table[0] = (u32)(area + (i & 1) * 4096) | 3; invlpg(0x40000000); EQUAL(((fn *)0x40000000)() & 255, i & 1 ? 99 : area[1]); }
  set_cr0(cr0() & ~0x80000000);
}
static void many_functions(void) {
  static u8 big[256 * 1024] __attribute__((aligned(4096)));
  u32 sum = 0;
  for (u32 round = 0; round < 3; round++) for (u32 i = 0; i < 1024; i++) {
    u8 *p = big + i * 256;
    p[0] = 0xb8; *(u32 *)(p + 1) = i * 3 + round; p[5] = 0x83; p[6] = 0xc0; p[7] = 1; p[8] = 0xc3;
    sum += ((fn *)p)();
  }
  EQUAL(sum, 3 * (3 * 1023 * 1024 / 2) + 1024 * 3 + 1024 * 3);
}
const struct test tests[] = { { "an immediate patched before each call", byte_patch }, { "hot code patched", hot_then_patched }, { "the next instruction patched", next_instruction }, { "a loop patching itself", inside_a_loop }, { "data beside code on one page", data_on_a_code_page }, { "an instruction across two pages", across_pages }, { "code written by REP MOVS and STOS", copied_by_rep }, { "written through an alias, frames exchanged", aliased }, { "1024 functions written and called", many_functions }, { 0, 0 } };
