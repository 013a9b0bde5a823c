/*
 * Which exception comes, in what order, and what it leaves behind: double faults, faults inside the delivery, descriptor tables on pages that
 * are not there, protection by WP, SMEP and SMAP, restart (SDM vol. 3, 4.6, 6.9, 6.15; tables 6-2, 6-4, 6-5).
 */
#include "lib/rings.h"
enum { P = 1, W = 2, U = 4, PS = 0x80 };
#define AREA 0x40000000u
static volatile u32 user_space[1024] __attribute__((aligned(4096))), kernel_space[1024] __attribute__((aligned(4096))), pages[1024] __attribute__((aligned(4096)));
static u8 page[4][4096] __attribute__((aligned(4096)));
static u32 leaf7(int which) { u32 r[4]; asm volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "0"(0), "2"(0)); if (r[0] < 7) return 0; asm volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "0"(7), "2"(0)); return r[which]; }
/* Pages of AREA by number. */
static void map(u32 n, void *at, u32 flags) { pages[n] = flags & P ? (u32)at | flags : 0; invlpg(AREA + n * 4096); }
#define AT(n, offset) (AREA + (n) * 4096 + (offset))
static u32 fault_cr2;
static void keep_cr2(struct frame *f) { fault_cr2 = cr2(); ring_leave(f); }
static void init(void) {
  rings_init();
  handlers[14] = keep_cr2;
  /* Everything where it was: user pages for the rings, supervisor pages where SMEP and SMAP are asked. */
  for (u32 i = 0; i < 16; i++) { user_space[i] = i << 22 | PS | P | W | U; kernel_space[i] = i << 22 | PS | P | W; }
  user_space[AREA >> 22] = kernel_space[AREA >> 22] = (u32)pages | P | W | U;
  set_cr4(cr4() | 0x10);
  set_cr3((u32)user_space);
  set_cr0(cr0() | 0x80010000);
  for (u32 i = 0; i < 4; i++) map(i, page[i], P | W | U);
  RUNS(3, (const u8 *)({ extern u8 nothing[]; nothing; }));
}
SNIPPET(nothing, "nop", "nop");

/* ---- double faults */
static u32 zero;
static void raise(u32 vector) {
  caught.count = 0; caught.vector = 0xffff;
  switch (vector) {
    case 0: asm volatile("movl $1f, resume\n divl %0\n1: movl $0, resume" : : "m"(zero), "a"(1), "d"(0) : "memory"); break;
    case 5: { static const int bounds[2] = { 1, 2 }; asm volatile("movl $1f, resume\n bound %0, %1\n1: movl $0, resume" : : "r"(5), "m"(bounds) : "memory"); break; }
    case 6: asm volatile("movl $1f, resume\n ud2\n1: movl $0, resume" ::: "memory"); break;
    case 11: asm volatile("movl $1f, resume\n mov %w0, %%fs\n1: movl $0, resume" : : "r"(Z << 3) : "memory"); break;
    case 12: asm volatile("movl $1f, resume\n mov %w0, %%ss\n1: movl $0, resume" : : "r"(Z << 3) : "memory"); break;
    case 13: asm volatile("movl $1f, resume\n mov %w0, %%fs\n1: movl $0, resume" : : "r"(ENTRIES << 3) : "memory"); break;
    case 14: asm volatile("movl $1f, resume\n movl %%eax, %0\n1: movl $0, resume" : : "m"(*(u32 *)AT(9, 0x123)) : "memory"); break;
  }
}
static void expect_caught(u32 vector, u32 error) { EQUAL(caught.count, 1); EQUAL(caught.vector, vector); EQUAL(caught.error, error); }
static void double_faults(void) {
  static const u32 first[] = { 0, 5, 6, 11, 12, 13, 14 };
  table[Z] = descriptor(0, 0xfffff, 0x13, 12); table[Y] = descriptor(0, 0xfffff, 0x1b, 12);
  for (u32 i = 0; i < sizeof first / 4; i++) {
    u32 v = first[i], benign = v == 5 || v == 6;
    u64 old = idt[v];
    raise(v); EQUAL(caught.vector, v);
    /* Its gate: not present, of no type, without a segment, with a segment that is not there. */
    idt[v] = old & ~((u64)0x80 << 40); raise(v); if (benign) expect_caught(11, v * 8 + 3); else expect_caught(8, 0);
    idt[v] = old & ~((u64)0x1f << 40); raise(v); if (benign) expect_caught(13, v * 8 + 3); else expect_caught(8, 0);
    idt[v] = old & ~((u64)0xffff << 16); raise(v); if (benign) expect_caught(13, 1); else expect_caught(8, 0);
    idt[v] = (old & ~((u64)0xffff << 16)) | (u64)(Y << 3) << 16; raise(v); if (benign) expect_caught(11, Y << 3 | 1); else expect_caught(8, 0);
    idt[v] = (old & ~((u64)0xffff << 16)) | (u64)(DATA0 << 3) << 16; raise(v); if (benign) expect_caught(13, DATA0 << 3 | 1); else expect_caught(8, 0);
    idt[v] = old;
  }
}
static void use_idt(u32 base) { struct { u16 limit; u32 base; } __attribute__((packed)) i = { sizeof idt - 1, base }; asm volatile("lidt %0" : : "m"(i)); }
static void page_faults_on_the_way(void) {
  static const struct { u32 vector, split, low_present; u32 want, error; } cases[] = {
    { 0, 8, 0, 14, 0 }, { 6, 8, 0, 14, 0 }, { 5, 8, 0, 14, 0 }, { 13, 14, 0, 14, 0 }, { 11, 14, 0, 14, 0 }, { 14, 14, 1, 8, 0 },
  };
  for (u32 i = 0; i < sizeof cases / sizeof *cases; i++) {
    u32 split = cases[i].split, base = AT(2, 0) - split * 8;
    memcpy(page[1] + 4096 - split * 8, idt, split * 8); memcpy(page[2], idt + split, sizeof idt - split * 8);
    map(1, page[1], cases[i].low_present ? P : 0); map(2, page[2], cases[i].low_present ? 0 : P);
    use_idt(base);
    raise(cases[i].vector);
    use_idt((u32)idt);
    expect_caught(cases[i].want, cases[i].error);
    if (cases[i].want == 14) EQUAL(caught.cr2 & ~7u, base + cases[i].vector * 8);
  }
  map(1, page[1], P | W | U); map(2, page[2], P | W | U);
}
/* What comes from outside has EXT: the gate of the timer's interrupt is not there. */
static void external(void) {
  u64 old = idt[0x20];
  idt[0x20] = old & ~((u64)0x80 << 40);
  pit_periodic(1000); pic_unmask(0);
  do outb(0x20, 0x0a); while (!(inb(0x20) & 1));
  caught.count = 0;
  asm volatile("movl $1f, resume\n sti\n nop\n nop\n1: cli\n movl $0, resume" ::: "memory");
  expect_caught(11, 0x20 * 8 + 3);
  idt[0x20] = old; pic_mask_all(); outb(0x20, 0x20);
}
/* ---- RF in the image: 1 for faults, 0 for traps and INT n (17.3.1.1) */
static void resume_flag(void) {
  for (u32 v = 0; v < 15; v++) if (v == 0 || v == 5 || v == 6 || v > 10) { raise(v); DEVIATES(TCG) EQUAL(caught.eflags & 0x10000, 0x10000); }
  TRY("int3", ::: "memory"); EQUAL(caught.eflags & 0x10000, 0);
  TRY("int $0x1f", ::: "memory"); EQUAL(caught.eflags & 0x10000, 0);
  TRY(".byte 0xf1", ::: "memory"); EQUAL(caught.eflags & 0x10000, 0);
}
/* ---- stacks that are not there: the instruction has not happened */
SNIPPET(int_40, "nop", "int $0x40"); SNIPPET(far_call, "nop", "lcall *param"); SNIPPET(landing, "nop", "nop"); SNIPPET(far_ret, "mov param + 8, %esp", "lret"); SNIPPET(int_ret, "mov param + 8, %esp", "iret"); SNIPPET(far_call_there, "mov param + 8, %esp", "lcall *param"); SNIPPET(pusha_there, "mov param + 8, %esp", "pusha");
SNIPPET(call_there, "mov param + 8, %esp", "call *param"); SNIPPET(lss_there, "mov param + 8, %ebx", "lss (%ebx), %esp"); SNIPPET(lfs_there, "mov param + 8, %ebx\n mov $0x77, %ecx", "lfs (%ebx), %ecx");
static void missing_stacks(void) {
  map(1, 0, 0);
  for (int inner = 1; inner < 3; inner++) {
    tss[1 + inner * 2] = AT(1, 0x800); tss[2 + inner * 2] = data_selector(inner);
    idt[0x40] = gate_to(code_selector(inner), (u32)landing, 0xee, 0);
    /* Rings 0 to 2 are the supervisor: W, not U. */
    FAULTS(3, int_40, 14, 2); EQUAL(fault_cr2 & ~0xfffu, AT(1, 0)); EQUAL(seen.cs, code_selector(3)); EQUAL(seen.ss, data_selector(3)); EQUAL(seen.esp, top_of(3));
    table[X] = gate_to(code_selector(inner), (u32)landing, 0xec, 0); param[0] = 0; param[1] = X << 3 | 3;
    FAULTS(3, far_call, 14, 2); EQUAL(fault_cr2 & ~0xfffu, AT(1, 0)); EQUAL(seen.cs, code_selector(3)); EQUAL(seen.esp, top_of(3));
    /* Half of the frame fits. */
    map(1, page[1], P | W | U); map(0, 0, 0); tss[1 + inner * 2] = AT(1, 8);
    FAULTS(3, int_40, 14, 2); EQUAL(fault_cr2 & ~0xfffu, AT(0, 0)); EQUAL(seen.esp, top_of(3));
    FAULTS(3, far_call, 14, 2); EQUAL(seen.esp, top_of(3));
    map(0, page[0], P | W | U); map(1, 0, 0);
  }
  param[0] = (u32)landing; param[1] = code_selector(3);
  for (u32 d = 0; d < 8; d += 4) {
    param[2] = AT(1, d);
    if (d) { FAULTS(3, far_call_there, 14, 6); EQUAL(seen.esp, AT(1, d)); EQUAL(seen.cs, code_selector(3)); }
    map(0, 0, 0); map(1, page[1], P | W | U);
    FAULTS(3, far_call_there, 14, 6); EQUAL(seen.esp, AT(1, d)); EQUAL(fault_cr2 & ~0xfffu, AT(0, 0));
    map(0, page[0], P | W | U); map(1, 0, 0);
  }
  param[2] = AT(1, 0) - 4; FAULTS(3, far_ret, 14, 4); EQUAL(seen.esp, AT(1, 0) - 4);
  param[2] = AT(1, 0) - 8; FAULTS(3, int_ret, 14, 4); EQUAL(seen.esp, AT(1, 0) - 8);
  param[2] = AT(1, 2); FAULTS(3, call_there, 14, 6); EQUAL(seen.esp, AT(1, 2));
  map(0, 0, 0); map(1, page[1], P | W | U);
  param[2] = AT(1, 8); FAULTS(3, pusha_there, 14, 6); EQUAL(seen.esp, AT(1, 8));
  map(0, page[0], P | W | U); map(1, 0, 0);
  /* Far pointers whose selector lies on the missing page. */
  param[2] = AT(1, 0) - 4; FAULTS(3, lss_there, 14, 4); EQUAL(seen.esp, top_of(3)); FAULTS(3, lfs_there, 14, 4); EQUAL(seen.ecx, 0x77);
  map(1, page[1], P | W | U);
}
/* ---- descriptor tables on missing and on read-only pages: accesses of the supervisor whatever the ring */
SNIPPET(load_x, "mov param, %eax", "mov %ax, %fs"); SNIPPET(lar_x, "mov param, %eax", "lar %eax, %ecx"); SNIPPET(jmp_x, "nop", "ljmp *param + 4"); SNIPPET(call_x, "nop", "lcall *param + 4"); SNIPPET(ret_x, "push param + 8\n push param + 4", "lret"); SNIPPET(ss_x, "mov param, %eax", "mov %ax, %ss");
static void gdt_at(u32 base) { struct { u16 limit; u32 base; } __attribute__((packed)) g = { sizeof table - 1, base }; asm volatile("lgdt %0" : : "m"(g)); }
static void tables_on_pages(void) {
  /* Entries from X on lie on the next page. */
  u32 base = AT(3, 0) - X * 8;
  table[X] = descriptor(0, 0xfffff, 0xf2, 12); table[Y] = descriptor(0, 0xfffff, 0xfa, 12);
  memcpy(page[2] + 4096 - X * 8, table, X * 8); memcpy(page[3], table + X, sizeof table - X * 8);
  map(2, page[2], P | W); map(3, 0, 0);
  gdt_at(base);
  for (int r = 0; r < 4; r++) {
    param[0] = X << 3 | r; param[1] = (u32)landing; param[2] = Y << 3 | r;
    FAULTS(r, load_x, 14, 0); EQUAL(fault_cr2 & ~7u, AT(3, 0));
    FAULTS(r, lar_x, 14, 0); FAULTS(r, jmp_x, 14, 0); EQUAL(seen.cs, code_selector(r));
    FAULTS(r, call_x, 14, 0); if (r) EQUAL(seen.esp, top_of(r));
  }
  /* Read only: the accessed bit cannot be set (CR0.WP), the instruction has not happened. */
  map(3, page[3], P);
  param[0] = X << 3 | 3; param[1] = (u32)landing; param[2] = Y << 3 | 3;
  DEVIATES(TCG) {
    FAULTS(3, load_x, 14, 3); EQUAL(seen.fs & 0xffff, 0);
    FAULTS(3, ss_x, 14, 3); EQUAL(seen.ss, data_selector(3));
    FAULTS(3, jmp_x, 14, 3); EQUAL(seen.cs, code_selector(3));
    FAULTS(3, call_x, 14, 3); EQUAL(seen.cs, code_selector(3)); EQUAL(seen.esp, top_of(3));
    FAULTS(3, ret_x, 14, 3); EQUAL(seen.cs, code_selector(3)); EQUAL(seen.esp, top_of(3) - 8);
  }
  RUNS(3, lar_x);
  map(3, page[3], P | W);
  RUNS(3, load_x); RUNS(3, jmp_x); EQUAL(page[3][5], 0xf3); EQUAL(page[3][13], 0xfb);
  set_gdt(sizeof table - 1);
  map(2, page[2], P | W | U); map(3, page[3], P | W | U);
}
SNIPPET(in_e4, "nop", "in $0xe4, %al"); SNIPPET(ins_there, "mov param, %edi\n mov $0xe4, %edx", "insb");
static void bitmap_on_a_page(void) {
  /* The TSS on one page, its bitmap on the next. */
  u32 base = AT(1, 0) - 104;
  u32 *t = (u32 *)(page[0] + 4096 - 104);
  memcpy(t, tss, 104);
  u32 here; asm volatile("mov %%esp, %0" : "=r"(here));
  t[1] = here - 1024; t[2] = 0x10; t[25] = 104 << 16;
  memset(page[1], 0xff, 4096);
  map(0, page[0], P | W); map(1, 0, 0);
  load_task(TASK, descriptor(base, 104 + 100, 0x89, 0));
  FAULTS(3, in_e4, 14, 0); EQUAL(fault_cr2 & ~1u, AT(1, 0x1c));
  map(1, page[1], P);
  FAULTS(3, in_e4, 13, 0);
  /* No permission: #GP before the page of the operand is looked at. */
  param[0] = AT(9, 0);
  FAULTS(3, ins_there, 13, 0);
  page[1][0x1c] = 0;
  RUNS(3, in_e4); FAULTS(3, ins_there, 14, 6); EQUAL(fault_cr2, AT(9, 0));
  load_task(TASK, descriptor((u32)tss, 103, 0x89, 0));
  map(0, page[0], P | W | U); map(1, page[1], P | W | U);
}
/* ---- WP, SMEP, SMAP */
#define READ(a) TRY("movl (%0), %%eax", : : "r"(a) : "eax", "memory")
#define WRITE(a) TRY("movl %%eax, (%0)", : : "r"(a) : "memory")
static void write_protect(void) {
  set_cr3((u32)kernel_space);
  for (u32 user = 0; user < 8; user += 4) for (u32 wp = 0; wp < 2; wp++) {
    map(1, page[1], P | user);
    set_cr0((cr0() & ~0x10000u) | wp << 16);
    WRITE(AT(1, 8)); if (wp) { EXPECT(14, 3); EQUAL(caught.cr2, AT(1, 8)); } else EXPECT_NONE();
    READ(AT(1, 8)); EXPECT_NONE();
    TRY("lock incl (%0)", : : "r"(AT(1, 8)) : "memory"); if (wp) EXPECT(14, 3); else EXPECT_NONE();
  }
  map(1, page[1], P | W | U);
  set_cr3((u32)user_space);
}
static void call_at(u32 a) { caught.count = 0; caught.vector = 0xffff; asm volatile("movl $1f, resume\n mov %%esp, %%esi\n call *%0\n1: mov %%esi, %%esp\n movl $0, resume" : : "r"(a) : "memory", "esi"); }
static void execution_prevention(void) {
  if (!(leaf7(1) >> 7 & 1)) { skip("no SMEP"); return; }
  set_cr3((u32)kernel_space);
  page[1][0x10] = 0xc3;
  for (int round = 0; round < 3; round++) {
    set_cr4(cr4() & ~0x100000u); call_at(AT(1, 0x10)); EQUAL(caught.count, 0);
    set_cr4(cr4() | 0x100000); call_at(AT(1, 0x10)); expect_caught(14, 0x11); EQUAL(caught.cr2, AT(1, 0x10)); EQUAL(caught.eip, AT(1, 0x10));
    READ(AT(1, 0x10)); EXPECT_NONE(); WRITE(AT(1, 0x20)); EXPECT_NONE();
    map(1, page[1], P | W); call_at(AT(1, 0x10)); EQUAL(caught.count, 0); map(1, page[1], P | W | U);
    call_at(AT(9, 0)); expect_caught(14, 0x10);                              /* not present: the fetch bit is there as well */
  }
  set_cr4(cr4() & ~0x100000u);
  set_cr3((u32)user_space);
}
SNIPPET(stac3, "nop", ".byte 0x0f, 0x01, 0xcb"); SNIPPET(clac3, "nop", ".byte 0x0f, 0x01, 0xca");
static void access_prevention(void) {
  if (!(leaf7(1) >> 20 & 1)) { skip("no SMAP"); return; }
  for (int r = 1; r < 4; r++) { FAULTS(r, stac3, 6, 0); FAULTS(r, clac3, 6, 0); }
  set_cr3((u32)kernel_space);
  for (int round = 0; round < 3; round++) {
    set_cr4(cr4() | 0x200000);
    asm volatile("clac");
    READ(AT(1, 0)); EXPECT(14, 1); WRITE(AT(1, 4)); EXPECT(14, 3); EQUAL(caught.cr2, AT(1, 4));
    TRY("sgdt (%0)", : : "r"(AT(1, 8)) : "memory"); EXPECT(14, 3);
    TRY("push (%0)\n add $4, %%esp", : : "r"(AT(1, 8)) : "memory"); EXPECT(14, 1);
    asm volatile("stac"); READ(AT(1, 0)); EXPECT_NONE(); WRITE(AT(1, 4)); EXPECT_NONE();
    /* Implicit accesses are not excused by AC (4.6.1): a descriptor on a user page; those of the handlers are on a page of the supervisor. */
    table[X] = descriptor(0, 0xfffff, 0xf3, 12);
    memcpy(page[2] + 4096 - X * 8, table, X * 8); memcpy(page[3], table + X, sizeof table - X * 8);
    map(2, page[2], P | W);
    asm volatile("mov %w0, %%fs\n mov %w0, %%gs" : : "r"(0));                    /* the handlers pop them */
    gdt_at(AT(3, 0) - X * 8);
    TRY("mov %w0, %%fs", : : "r"(X << 3) : "memory"); DEVIATES(TCG | BOCHS) { EXPECT(14, 1); EQUAL(caught.cr2 & ~7u, AT(3, 0)); }
    set_gdt(sizeof table - 1);
    map(2, page[2], P | W | U);
    asm volatile("clac");
    set_cr4(cr4() & ~0x200000u);
    READ(AT(1, 0)); EXPECT_NONE();
  }
  set_cr3((u32)user_space);
}
/* ---- priorities inside of one instruction */
static void priorities(void) {
  static const u8 crossing[] = { 0x0f, 0x0b };
  /* Fetching comes before decoding: the second byte of UD2 is not there. */
  memcpy(page[0] + 4095, crossing, 1); map(1, 0, 0);
  call_at(AT(0, 4095)); EQUAL(caught.vector, 14); EQUAL(caught.cr2, AT(1, 0)); EQUAL(caught.eip, AT(0, 4095));
  /* Fifteen prefixes are too long before the sixteenth byte is fetched. */
  memset(page[0] + 4081, 0x3e, 15);
  call_at(AT(0, 4081)); DEVIATES(TCG) expect_caught(13, 0);
  memset(page[0] + 4082, 0x3e, 14);
  call_at(AT(0, 4082)); EQUAL(caught.vector, 14); EQUAL(caught.cr2, AT(1, 0));
  map(1, page[1], P | W | U);
  /* #UD and #NM before anything of the operand. */
  TRY(".byte 0xf0\n movl %%eax, (%0)", : : "r"(AT(9, 0)) : "memory"); EXPECT(6, 0);
  set_cr0(cr0() | 8); TRY("flds (%0)", : : "r"(AT(9, 0)) : "memory"); EXPECT(7, 0); set_cr0(cr0() & ~12u);
  /* The segment's limit before the page. */
  table[X] = descriptor(AT(9, 0), 0xff, 0x93, 4);
  asm volatile("mov %w0, %%fs" : : "r"(X << 3));
  DEVIATES(TCG) { TRY("movl %%fs:0xfe, %%eax", ::: "eax", "memory"); EXPECT(13, 0); }
  TRY("movl %%fs:0xfc, %%eax", ::: "eax", "memory"); EXPECT(14, 0); EQUAL(caught.cr2, AT(9, 0xfc));
  asm volatile("mov %w0, %%fs" : : "r"(0));
  /* #DE only when the divisor could be read; the type of a segment before its page. */
  TRY("divl (%0)", : : "r"(AT(9, 0)), "a"(1), "d"(1) : "memory"); EXPECT(14, 0);
  /* LGDT that cannot be read has not happened. */
  struct { u16 limit; u32 base; } __attribute__((packed)) before, after;
  asm volatile("sgdt %0" : "=m"(before));
  map(1, 0, 0); TRY("lgdt (%0)", : : "r"(AT(1, 0) - 3) : "memory"); EXPECT(14, 0); TRY("sidt (%0)", : : "r"(AT(1, 0) - 3) : "memory"); EXPECT(14, 2); map(1, page[1], P | W | U);
  asm volatile("sgdt %0" : "=m"(after)); EQUAL(after.limit, before.limit); EQUAL(after.base, before.base);
  /* INVLPG of what is not there. */
  TRY("invlpg (%0)", : : "r"(AT(9, 0)) : "memory"); EXPECT_NONE();
}
/* ---- debug exceptions among the others */
static volatile u32 steps, at[8], dr6_seen[8];
static void set_dr7(u32 v) { asm volatile("mov %0, %%dr7" : : "r"(v)); }
static void step(struct frame *f) { u32 d; asm volatile("mov %%dr6, %0\n mov %1, %%dr6" : "=&r"(d) : "r"(0)); if (steps < 8) { at[steps] = f->eip; dr6_seen[steps] = d & 0xe00f; } if (++steps > 6) f->eflags &= ~0x100; if (d & 15) f->eflags |= 0x10000; }
#define STEPPED(code) do { steps = 0; asm volatile("pushf\n orl $0x100, (%%esp)\n popf\n" code "\n pushf\n andl $~0x100, (%%esp)\n popf" ::: "eax", "ecx", "esi", "edi", "memory", "cc"); } while (0)
static void stepping(void) {
  handlers[1] = step;
  extern u8 rep_at[], rep_end[], behind_int[], behind_fault[];
  static u8 buffer[16];
  param[5] = (u32)buffer;
  /* Each iteration of a REP is an instruction for TF (17.3.1.4). */
  STEPPED("mov param + 20, %%edi\n mov $3, %%ecx\n rep_at: rep stosb\n rep_end: nop");
  EQUAL(at[2], (u32)rep_at); EQUAL(at[3], (u32)rep_at); EQUAL(at[4], (u32)rep_end); EQUAL(dr6_seen[2], 0x4000);
  /* INT clears TF: its handler is not traced, the instruction behind it is. */
  handlers[0x41] = (handler *)({ extern void quiet(struct frame *); quiet; }); gate(0x41, 0x8e);
  STEPPED("nop\n int $0x41\n nop\nbehind_int: nop");
  EQUAL(at[1], (u32)behind_int);
  /* A fault with TF set: its image has TF, there is no #DB for it. */
  caught.count = 0; steps = 0;
  asm volatile("movl $1f, resume\n pushf\n orl $0x100, (%%esp)\n popf\nbehind_fault: ud2\n1: pushf\n andl $~0x100, (%%esp)\n popf" ::: "memory", "cc");
  EQUAL(caught.vector, 6); EQUAL(caught.eflags & 0x100, 0x100); EQUAL(caught.eip, (u32)behind_fault);
  handlers[1] = ring_leave;
}
void quiet(struct frame *f) { (void)f; }
static void breakpoint_before_fetch(void) {
  if (peer & TCG) { skip("TCG fetches first"); return; }
  /* A breakpoint on an instruction whose page is missing: #DB first, then with RF the #PF (table 6-2). */
  map(1, 0, 0);
  handlers[1] = step; steps = 0;
  asm volatile("mov %0, %%dr0" : : "r"(AT(1, 0x40)));
  set_dr7(0x402);
  caught.count = 0;
  /* `resume` would catch the #DB: the handler for it is tried first without. */
  handlers[14] = (handler *)({ extern void go_on(struct frame *); go_on; });
  asm volatile("mov %%esp, param + 24\n call *%0\nbroke: mov param + 24, %%esp" : : "r"(AT(1, 0x40)) : "memory");
  set_dr7(0x400);
  EQUAL(steps, 1); EQUAL(at[0], AT(1, 0x40)); EQUAL(dr6_seen[0], 1); EQUAL(fault_cr2, AT(1, 0x40));
  handlers[1] = ring_leave; handlers[14] = keep_cr2;
  map(1, page[1], P | W | U);
}
void go_on(struct frame *f) { extern u8 broke[]; fault_cr2 = cr2(); f->eip = (u32)broke; }
const struct test tests[] = { { "paging, rings", init }, { "double faults: contributory pairs", double_faults, TCG }, { "double faults: page faults", page_faults_on_the_way }, { "EXT", external, TCG }, { "RF in the image", resume_flag }, { "stacks that are not there", missing_stacks, TCG }, { "descriptor tables on pages", tables_on_pages, TCG }, { "the I/O bitmap on a page", bitmap_on_a_page },
  { "WP", write_protect }, { "SMEP", execution_prevention }, { "SMAP", access_prevention }, { "priorities", priorities, TCG }, { "single step", stepping }, { "a breakpoint comes before the fetch", breakpoint_before_fetch }, { 0, 0 } };
