/*
 * Paging: 2-level with 4 KiB and 4 MiB pages, and with -DPAE the 3-level format with NX. Error codes, CR2, accessed and dirty
 * bits, write protection, INVLPG, global pages (SDM vol. 3, 4.3-4.10).
 */
#include "lib/guest.h"
#ifdef PAE
typedef u64 entry;
#define BIG_BYTES 0x200000u
#define NX ((u64)1 << 63)
static volatile entry pdpt[4] __attribute__((aligned(32)));
static volatile entry directory[4][512] __attribute__((aligned(4096)));
static volatile entry table[512] __attribute__((aligned(4096)));
static volatile entry *pde(u32 a) { return &directory[a >> 30][a >> 21 & 511]; }
#define INDEX(a) ((a) >> 12 & 511)
#else
typedef u32 entry;
#define BIG_BYTES 0x400000u
#define NX 0
static volatile entry directory[1024] __attribute__((aligned(4096)));
static volatile entry table[1024] __attribute__((aligned(4096)));
static volatile entry *pde(u32 a) { return &directory[a >> 22]; }
#define INDEX(a) ((a) >> 12 & 1023)
#endif
enum { P = 1, W = 2, U = 4, A = 0x20, D = 0x40, PS = 0x80, G = 0x100 };
#define AREA 0x40000000u                   /* tests map here, through `table` */
static u8 page[4][4096] __attribute__((aligned(4096)));
static void map(u32 va, void *pa, u64 flags) { table[INDEX(va)] = (entry)((u32)pa | flags); invlpg(va); }
static volatile u32 *at(u32 va) { return (volatile u32 *)va; }

static void enable(void) {
  for (u32 a = 0; a < 0x4000000; a += BIG_BYTES) *pde(a) = a | P | W | PS;
  *pde(0xfee00000) = (0xfee00000 & ~(BIG_BYTES - 1)) | P | W | PS;
  *pde(AREA) = (u32)table | P | W | U;
#ifdef PAE
  for (int i = 0; i < 4; i++) pdpt[i] = (u32)directory[i] | P;
  set_cr4(cr4() | 0x20 | 0x80);
  wrmsr(0xc0000080, (u32)rdmsr(0xc0000080) | 0x800, 0);
  EQUAL(rdmsr(0xc0000080) & 0x800, 0x800);
  set_cr3((u32)pdpt);
#else
  set_cr4(cr4() | 0x10 | 0x80);
  set_cr3((u32)directory);
#endif
  set_cr0(cr0() | 0x80010000);
  CHECK(cr0() & 0x80000000);
}
static void translate(void) {
  map(AREA, page[0], P | W); map(AREA + 0x1000, page[2], P | W); map(AREA + 0x5000, page[0], P | W);
  *at(AREA + 4) = 0x11223344; *at(AREA + 0x1008) = 0x55667788;
  EQUAL(*(volatile u32 *)(page[0] + 4), 0x11223344); EQUAL(*(volatile u32 *)(page[2] + 8), 0x55667788);
  EQUAL(*at(AREA + 0x5004), 0x11223344);
  *at(AREA + 0xffe) = 0xa1b2c3d4;   /* crosses from page 0 to page 2 */
  EQUAL(*(volatile u16 *)(page[0] + 0xffe), 0xc3d4); EQUAL(*(volatile u16 *)(page[2]), 0xa1b2);
  EQUAL(*at(AREA + 0xffe), 0xa1b2c3d4);
}
static void not_present(void) {
  map(AREA + 0x2000, 0, 0);
  TRY("movl 0x40002010, %%eax", ::: "eax", "memory"); EXPECT(14, 0); EQUAL(caught.cr2, AREA + 0x2010);
  TRY("movl %%eax, 0x40002014", ::: "memory"); EXPECT(14, 2); EQUAL(caught.cr2, AREA + 0x2014);
  /* Read-modify-write asks for write access at once on processors; TCG reads first. */
  if (!is_tcg()) { TRY("addl %%eax, 0x40002014", ::: "memory"); EXPECT(14, 2); }
  map(AREA + 0x1000, page[2], P | W);
  *at(AREA + 0x1ffc) = 0x01020304;
  TRY("movl %%eax, 0x40001ffe", : : "a"(0xffffffff) : "memory"); EXPECT(14, 2); EQUAL(caught.cr2, AREA + 0x2000);
  EQUAL(*at(AREA + 0x1ffc), 0x01020304);
  TRY("movl 0x60000000, %%eax", ::: "eax", "memory"); EXPECT(14, 0); EQUAL(caught.cr2, 0x60000000);
}
static void write_protect(void) {
  map(AREA + 0x3000, page[3], P);
  set_cr0(cr0() | 0x10000);
  TRY("movl %%eax, 0x40003000", ::: "memory"); EXPECT(14, 3); EQUAL(caught.cr2, AREA + 0x3000);
  TRY("movl 0x40003000, %%eax", ::: "eax", "memory"); EXPECT_NONE();
  set_cr0(cr0() & ~0x10000);
  TRY("movl %%eax, 0x40003000", ::: "memory"); EXPECT_NONE();
  set_cr0(cr0() | 0x10000);
  TRY("movl %%eax, 0x40003000", ::: "memory"); EXPECT(14, 3);
}
static void accessed_dirty(void) {
  map(AREA + 0x4000, page[1], P | W);
  *pde(AREA) &= ~(entry)A;
  set_cr3(cr3());
  EQUAL(table[4] & (A | D), 0);
  (void)*at(AREA + 0x4000);
  EQUAL(table[4] & (A | D), A); EQUAL(*pde(AREA) & A, A);
  *at(AREA + 0x4000) = 1;
  EQUAL(table[4] & (A | D), A | D);
  table[4] &= ~(entry)D; invlpg(AREA + 0x4000);
  *at(AREA + 0x4000) = 2;
  EQUAL(table[4] & (A | D), A | D);
  /* A faulting write sets neither bit. */
  map(AREA + 0x3000, page[3], P);
  TRY("movl %%eax, 0x40003000", ::: "memory"); EQUAL(table[3] & D, 0);
}
static void remap(void) {
  for (u32 i = 0; i < 4096; i += 4) { *(u32 *)(page[0] + i) = 0xaaaa0000 + i; *(u32 *)(page[1] + i) = 0xbbbb0000 + i; }
  for (u32 n = 0; n < 50; n++) { map(AREA + 0x6000, page[n & 1], P | W); EQUAL(*at(AREA + 0x6000 + n * 4), (n & 1 ? 0xbbbb0000 : 0xaaaa0000) + n * 4); }
  /* Through the page-table entry alone, then CR3: every cached translation must go. */
  for (u32 n = 0; n < 50; n++) { table[6] = (u32)page[n & 1] | P | W; set_cr3(cr3()); EQUAL(*at(AREA + 0x6000 + n * 4), (n & 1 ? 0xbbbb0000 : 0xaaaa0000) + n * 4); }
  map(AREA + 0x6000, page[0], P | W); *at(AREA + 0x6000) = 1; map(AREA + 0x6000, 0, 0);
  TRY("movl %%eax, 0x40006000", ::: "memory"); EXPECT(14, 2);
}
static void large(void) {
  u32 va = 0x50000000;
  *pde(va) = P | W | PS | (0x800000);
  invlpg(va);
  *(volatile u32 *)0x801234 = 0xfeedface;
  EQUAL(*at(va + 0x1234), 0xfeedface);
  EQUAL(*pde(va) & (A | D), A);
  *at(va + 0x2000) = 7; EQUAL(*(volatile u32 *)0x802000, 7); EQUAL(*pde(va) & (A | D), A | D);
  *pde(va) = 0; invlpg(va);
  TRY("movl 0x50001234, %%eax", ::: "eax", "memory"); EXPECT(14, 0);
}
static void global(void) {
  map(AREA + 0x7000, page[0], P | W | G);
  *(volatile u32 *)page[0] = 0x600d;
  EQUAL(*at(AREA + 0x7000), 0x600d);
  set_cr3(cr3());
  EQUAL(*at(AREA + 0x7000), 0x600d);
  set_cr4(cr4() & ~0x80); set_cr4(cr4() | 0x80);
  map(AREA + 0x7000, page[1], P | W | G);
  *(volatile u32 *)page[1] = 0x900d;
  EQUAL(*at(AREA + 0x7000), 0x900d);
}
/* Ring 3: int 0x80 with EAX = 0 leaves; a #PF leaves too, with its error code. */
static u32 user_cr2, user_eip;
static void pf_leave(struct frame *f) { user_cr2 = cr2(); user_eip = f->eip; leave_user(0x100 + f->error); }
static void int80(struct frame *f) { leave_user(f->eax); }
static void user_code(const u8 *code, u32 n) { map(AREA + 0x8000, page[1], P | W | U); memcpy(page[1], code, n); }
static void user(void) {
  gate(0x80, 0xee);
  handlers[0x80] = int80; handlers[14] = pf_leave;
  map(AREA + 0x9000, page[2], P | W | U);
  static const u8 ok[] = { 0xb8, 0x2a, 0, 0, 0, 0xcd, 0x80 };
  user_code(ok, sizeof ok);
  EQUAL(enter_user(AREA + 0x8000, AREA + 0xa000), 42);
  static const u8 load[] = { 0xa1, 0, 0x70, 0, 0x40, 0xcd, 0x80 }, store[] = { 0xa3, 0, 0x70, 0, 0x40, 0xcd, 0x80 };
  map(AREA + 0x7000, page[3], P | W);
  user_code(load, sizeof load); EQUAL(enter_user(AREA + 0x8000, AREA + 0xa000), 0x105); EQUAL(user_cr2, AREA + 0x7000); EQUAL(user_eip, AREA + 0x8000);
  user_code(store, sizeof store); EQUAL(enter_user(AREA + 0x8000, AREA + 0xa000), 0x107);
  map(AREA + 0x7000, page[3], P | U);
  EQUAL(enter_user(AREA + 0x8000, AREA + 0xa000), 0x107);
  map(AREA + 0x7000, 0, 0);
  EQUAL(enter_user(AREA + 0x8000, AREA + 0xa000), 0x106);
  user_code(load, sizeof load); EQUAL(enter_user(AREA + 0x8000, AREA + 0xa000), 0x104);
  /* The directory's U/S and R/W bits are anded with the table's. */
  map(AREA + 0x7000, page[3], P | W | U);
  *pde(AREA) &= ~(entry)W; set_cr3(cr3());
  user_code(store, 0); table[7] |= W; memcpy(page[1], store, sizeof store);
  EQUAL(enter_user(AREA + 0x8000, AREA + 0xa000), 0x107);
  *pde(AREA) |= W; set_cr3(cr3());
  /* Executing supervisor memory: present, user, and with NX the fetch bit. */
  u32 got = enter_user((u32)user_code, AREA + 0xa000);
  EQUAL(got & ~0x10, 0x105); EQUAL(user_cr2, (u32)user_code);
#ifdef PAE
  EQUAL(got, 0x115);
#endif
  handlers[14] = 0;
}
#ifdef PAE
static void no_execute(void) {
  map(AREA + 0xb000, page[3], P | W); page[3][0] = 0xc3;
  TRY("call *%0", : : "r"(AREA + 0xb000) : "memory"); EXPECT_NONE();
  map(AREA + 0xb000, page[3], P | W | NX);
  caught.count = 0;
  asm volatile("movl $1f, resume\n mov %%esp, %%esi\n call *%0\n1: mov %%esi, %%esp\n movl $0, resume" : : "r"(AREA + 0xb000) : "memory", "esi");
  EQUAL(caught.count, 1); EQUAL(caught.vector, 14); EQUAL(caught.error, 0x11); EQUAL(caught.cr2, AREA + 0xb000); EQUAL(caught.eip, AREA + 0xb000);
  EQUAL(*at(AREA + 0xb000) & 0xff, 0xc3);
}
static void reserved(void) {
  table[12] = (entry)(u32)page[0] | P | W | (u64)1 << 51; invlpg(AREA + 0xc000);
  TRY("movl 0x4000c000, %%eax", ::: "eax", "memory"); EXPECT(14, is_tcg() ? 8 : 9);
  table[12] = 0; invlpg(AREA + 0xc000);
}
static void pdpte_cached(void) {
  /* PDPTEs are loaded by MOV CR3; a change in memory takes effect only then. */
  u64 old = pdpt[1];
  map(AREA, page[0], P | W); *at(AREA) = 77;
  pdpt[1] = 0; set_cr3(cr3());
  TRY("movl 0x40000000, %%eax", ::: "eax", "memory"); EXPECT(14, 0);
  pdpt[1] = old; set_cr3(cr3());
  EQUAL(*at(AREA), 77);
  /* So does a change of CR0.CD (4.4.1); TCG has no such registers and reads the entries whenever it walks. */
  if (!(peer & TCG)) {
    pdpt[1] = 0; set_cr0(cr0() | 0x40000000);
    TRY("movl 0x40000000, %%eax", ::: "eax", "memory"); DEVIATES(BOCHS) EXPECT(14, 0);
    pdpt[1] = old; set_cr0(cr0() & ~0x40000000u); set_cr3(cr3());
  }
  EQUAL(*at(AREA), 77);
  pdpt[2] |= 0x1e0;
  if (!is_tcg()) { TRY("mov %0, %%cr3", : : "r"((u32)pdpt) : "memory"); EXPECT(13, 0); }
  pdpt[2] &= ~(u64)0x1e0; set_cr3((u32)pdpt);
}
#endif
static void table_self_edit(void) {
  /* A page table mapped as data: stores to it followed by INVLPG change the mapping under a running loop. */
  u32 sum = 0, window = AREA + 0xd000;
  map(window, (void *)table, P | W);
  for (u32 n = 0; n < 100; n++) {
    ((volatile entry *)window)[14] = (entry)(u32)page[n & 3] | P | W;
    invlpg(AREA + 0xe000);
    *at(AREA + 0xe000 + n * 4) = n;
    sum += *(volatile u32 *)(page[n & 3] + n * 4);
  }
  EQUAL(sum, 4950);
}
const struct test tests[] = {
  { "paging on", enable }, { "translation and page-crossing access", translate }, { "not present: error code and CR2", not_present }, { "write protection of the supervisor", write_protect },
  { "accessed and dirty bits", accessed_dirty }, { "INVLPG and CR3 drop translations", remap }, { "large pages", large }, { "global pages", global }, { "ring 3 error codes", user },
#ifdef PAE
  { "no-execute", no_execute }, { "reserved bits", reserved }, { "page-directory pointers", pdpte_cached },
#endif
  { "a page table edited through its own mapping", table_self_edit }, { 0, 0 } };
