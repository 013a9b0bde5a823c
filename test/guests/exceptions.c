/* Every exception a kernel meets on a flat ring 0 machine: vector, error code, return address, saved flags (SDM vol. 3, 6.15). */
#include "lib/guest.h"
static u32 zero;
static void divide(void) {
  TRY("divl %0", : : "m"(zero), "a"(5), "d"(0) : "memory"); EXPECT(0, 0);
  TRY("divl %0", : : "r"(2), "a"(5), "d"(2) : "memory"); EXPECT(0, 0);
  TRY("idivl %0", : : "r"(-1), "a"(0x80000000), "d"(-1) : "memory"); EXPECT(0, 0);
  TRY("divl %0", : : "r"(3), "a"(5), "d"(2) : "memory"); EXPECT_NONE();
}
static void invalid(void) {
  TRY("ud2", ::: "memory"); EXPECT(6, 0);
  TRY(".byte 0x0f, 0xff, 0xc0", ::: "memory"); EXPECT(6, 0);
  TRY(".byte 0xf0, 0x90", ::: "memory"); EXPECT(6, 0);
  TRY(".byte 0x8d, 0xc0", ::: "memory"); EXPECT(6, 0);
  if (!is_tcg()) CHECK(caught.eflags & 0x10000);
}
static void traps(void) {
  u32 at;
  caught.count = 0;
  asm volatile("movl $2f, resume\n movl $1f, %0\n int3\n1: nop\n2:" : "=m"(at) : : "memory");
  EQUAL(caught.count, 1); EQUAL(caught.vector, 3); EQUAL(caught.eip, at);
  asm volatile("movl $2f, resume\n movl $1f, %0\n pushf\n orl $0x800, (%%esp)\n popf\n into\n1: nop\n2:" : "=m"(at) : : "memory");
  EQUAL(caught.vector, 4); EQUAL(caught.eip, at);
  static int bounds[2] = { 1, 3 };
  TRY("bound %0, %1", : : "r"(4), "m"(bounds) : "memory"); EXPECT(5, 0);
  TRY("bound %0, %1", : : "r"(3), "m"(bounds) : "memory"); EXPECT_NONE();
  asm volatile("movl $2f, resume\n movl $1f, %0\n int $0x1f\n1: nop\n2:" : "=m"(at) : : "memory");
  EQUAL(caught.vector, 0x1f); EQUAL(caught.eip, at);
}
static void segments(void) {
  TRY("mov %0, %%ds", : : "r"(0x18 * 16) : "memory"); EXPECT(13, 0x180);
  TRY("mov %0, %%es", : : "r"(0x33) : "memory"); EXPECT(13, 0x30);
  TRY("mov %0, %%ss", : : "r"(0) : "memory"); EXPECT(13, 0);
  TRY("mov %0, %%ss", : : "r"(0x1b) : "memory"); EXPECT(13, 0x18);
  gdt[4] &= ~((u64)0x80 << 40);
  TRY("mov %0, %%es", : : "r"(0x23) : "memory"); EXPECT(11, 0x20);
  gdt[4] |= (u64)0x80 << 40;
  TRY("mov %0, %%es", : : "r"(0x23) : "memory"); EXPECT_NONE();
  TRY("ljmp $0x10, $0", ::: "memory"); EXPECT(13, 0x10);
  TRY("ljmp $0, $0", ::: "memory"); EXPECT(13, 0);
  TRY("mov %0, %%fs", : : "r"(0) : "memory"); EXPECT_NONE();
  if (!is_tcg()) { TRY("movl %%fs:0, %%eax", ::: "eax", "memory"); EXPECT(13, 0); }
  asm volatile("mov %0, %%es" : : "r"(0x10));
}
static void limits(void) {
  if (is_tcg()) { skip("TCG checks no limits"); return; }
  u64 old = gdt[4];
  gdt[4] = segment(0x100000, 0, 0x93) & ~((u64)8 << 52);  /* byte granular */
  gdt[4] |= 0xff;                                          /* limit 0xff */
  asm volatile("mov %0, %%fs" : : "r"(0x20));
  TRY("movl %%fs:0xfc, %%eax", ::: "eax", "memory"); EXPECT_NONE();
  TRY("movl %%fs:0xfd, %%eax", ::: "eax", "memory"); EXPECT(13, 0);
  TRY("movb %%fs:0x100, %%al", ::: "eax", "memory"); EXPECT(13, 0);
  u32 v;
  asm volatile("movl %%fs:0, %0" : "=r"(v)); EQUAL(v, *(volatile u32 *)0x100000);
  gdt[4] = (segment(0x100000, 0, 0x91) & ~((u64)8 << 52)) | 0xff;   /* read only */
  asm volatile("mov %0, %%fs" : : "r"(0x20));
  TRY("movl %%eax, %%fs:0", ::: "memory"); EXPECT(13, 0);
  TRY("movl %%fs:0, %%eax", ::: "eax", "memory"); EXPECT_NONE();
  gdt[4] = (segment(0, 0, 0x97) & ~((u64)8 << 52)) | 0xfff;         /* expand down: valid above the limit */
  asm volatile("mov %0, %%fs" : : "r"(0x20));
  TRY("movb %%fs:0xfff, %%al", ::: "eax", "memory"); EXPECT(13, 0);
  TRY("movb %%fs:0x1000, %%al", ::: "eax", "memory"); EXPECT_NONE();
  gdt[4] = old;
  asm volatile("mov %0, %%fs" : : "r"(0));
}
static void idt_faults(void) {
  u64 old = idt[0x55];
  idt[0x55] = old & ~((u64)0x80 << 40);
  TRY("int $0x55", ::: "memory"); EXPECT(11, 0x55 * 8 + 2);
  idt[0x55] = old & ~((u64)0xff << 40);
  TRY("int $0x55", ::: "memory"); EXPECT(13, 0x55 * 8 + 2);
  idt[0x55] = (old & ~((u64)0xffff << 16)) | 0x10 << 16;
  TRY("int $0x55", ::: "memory"); EXPECT(13, 0x10);
  idt[0x55] = old;
}
static void general(void) {
  if (is_tcg()) { skip("TCG takes reserved bits and unknown MSRs"); return; }
  TRY("mov %0, %%cr4", : : "r"(cr4() | 0x80000000) : "memory"); EXPECT(13, 0);
  TRY("mov %0, %%cr0", : : "r"((cr0() & ~1) | 0x80000000) : "memory"); EXPECT(13, 0);
  TRY("wrmsr", : : "c"(0x12345678), "a"(0), "d"(0) : "memory"); EXPECT(13, 0);
  TRY("lmsw %w0", : : "r"(1) : "memory"); EXPECT_NONE();
}
static volatile u32 steps, last_step;
static void step_handler(struct frame *f) { steps++; last_step = f->eip; if (steps > 20) f->eflags &= ~0x100; }
static void single_step(void) {
  steps = 0;
  handlers[1] = step_handler;
  u32 at;
  asm volatile("movl $1f, %0\n pushf\n orl $0x100, (%%esp)\n popf\n nop\n nop\n nop\n pushf\n andl $~0x100, (%%esp)\n popf\n1: nop" : "=m"(at) : : "memory", "cc");
  /* The instruction after POPF traps first; the POPF that clears TF still traps. */
  EQUAL(steps, 6); EQUAL(last_step, at);
  handlers[1] = 0;
}
static volatile u32 df_seen;
static void double_fault_handler(struct frame *f) { df_seen++; EQUAL(f->error, 0); f->eip = resume; f->cs = 0x08; resume = 0; }
static void double_fault(void) {
  u64 gp = idt[13], de = idt[0];
  (void)gp;
  /* #DE with a not-present gate: #NP while delivering a contributory exception is a double fault. */
  idt[0] &= ~((u64)0x80 << 40);
  idt[11] &= ~((u64)0x80 << 40);
  caught.count = 0;
  df_seen = 0;
  asm volatile("movl $2f, resume\n divl %0\n2: movl $0, resume" : : "m"(zero), "a"(1), "d"(0) : "memory");
  EQUAL(caught.vector, 8);
  idt[0] = de; gate(11, 0x8e);
  (void)double_fault_handler;
}
const struct test tests[] = { { "#DE", divide }, { "#UD", invalid }, { "#BP #OF #BR and INT n return after", traps }, { "#GP #NP with selector error codes", segments }, { "segment limits and types", limits }, { "gates: #NP and #GP with the IDT bit", idt_faults }, { "#GP(0) from control registers and MSRs", general }, { "single step", single_step }, { "contributory pair is #DF", double_fault }, { 0, 0 } };
