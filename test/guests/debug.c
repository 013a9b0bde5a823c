/* Debug registers as a kernel uses them: execution, data and port breakpoints, RF, GD, single step together with them (SDM vol. 3, 17.2, 17.3). */
#include "lib/guest.h"
#define DR(n) \
  static inline u32 dr##n(void) { u32 v; asm volatile("mov %%dr" #n ", %0" : "=r"(v) : : "memory"); return v; } \
  static inline void set_dr##n(u32 v) { asm volatile("mov %0, %%dr" #n : : "r"(v) : "memory"); }
DR(0) DR(1) DR(2) DR(3) DR(6) DR(7)
enum { EXECUTE, WRITE, PORT, ACCESS };
static volatile u32 hits, status, eip, resume_flag;
static volatile u32 memory[4] __attribute__((aligned(16)));
static void hit(struct frame *f) { hits++; status = dr6() & 0xe00f; eip = f->eip; set_dr6(0); if (resume_flag) f->eflags |= 0x10000; f->eflags &= ~0x100; }
static void arm(u32 n, u32 address, u32 kind, u32 bytes) {
  if (n == 0) set_dr0(address); else if (n == 1) set_dr1(address); else if (n == 2) set_dr2(address); else set_dr3(address);
  set_dr6(0); hits = status = 0; handlers[1] = hit;
  set_dr7((dr7() & ~(15u << (16 + n * 4))) | 2u << (n * 2) | (kind | (bytes - 1) << 2) << (16 + n * 4));
}
static void disarm(void) { set_dr7(0x400); }
extern u8 watched_insn[];
u32 watched_function(u32 n);
asm("watched_function: movl 4(%esp), %eax\nwatched_insn: incl %eax\n ret");
static void execution_faults_in_front(void) {
  resume_flag = 1;
  arm(1, (u32)watched_insn, EXECUTE, 1);
  u32 sum = 0;
  for (u32 i = 0; i < 10; i++) sum += watched_function(i);
  disarm(); resume_flag = 0;
  EQUAL(sum, 55); EQUAL(hits, 10); EQUAL(eip, (u32)watched_insn); EQUAL(status, 2);
  EQUAL(watched_function(1), 2); EQUAL(hits, 10);
}
static void writes(void) {
  u32 after;
  arm(0, (u32)&memory[1], WRITE, 4);
  asm volatile("movl $1f, %0\n movl $5, %1\n1: nop" : "=&r"(after), "=m"(memory[1]));
  EQUAL(hits, 1); EQUAL(status, 1); EQUAL(eip, after);
  u32 v = memory[1]; EQUAL(v, 5); EQUAL(hits, 1);
  memory[0] = 1; memory[2] = 1; EQUAL(hits, 1);
  *((volatile u8 *)memory + 7) = 9; EQUAL(hits, 2);
  asm volatile("lock incl %0" : "+m"(memory[1])); EQUAL(hits, 3);
  asm volatile("push %0\n pop %0" : "+m"(memory[1])); EQUAL(hits, 4);
  disarm();
}
static void reads_and_writes(void) {
  arm(3, (u32)&memory[2], ACCESS, 2);
  volatile u16 *half = (volatile u16 *)&memory[2];
  (void)half[0]; EQUAL(hits, 1); EQUAL(status, 8);
  half[0] = 3; EQUAL(hits, 2);
  (void)half[1]; EQUAL(hits, 2);
  disarm();
  half[0] = 4; EQUAL(hits, 2);
}
static void two_at_once(void) {
  arm(0, (u32)&memory[0], WRITE, 4); arm(2, (u32)&memory[0], ACCESS, 1);
  *(volatile u8 *)memory = 1;
  EQUAL(hits, 1); if (!is_tcg()) EQUAL(status, 5); /* TCG tells of the first only */
  disarm();
}
/* Length, alignment and overlap (17.2.5): the low bits of the address do not count, and one common byte is a match. */
static u8 field[32] __attribute__((aligned(16)));
static void overlaps(void) {
  for (u32 n = 0; n < 4; n++) for (u32 bytes = 1; bytes <= 4; bytes *= 2) for (u32 to = 8; to < 12; to++) for (u32 kind = WRITE; kind <= ACCESS; kind += 2) {
    u32 first = to & -bytes, last = first + bytes - 1;
    for (u32 size = 1; size <= 4; size *= 2) for (u32 from = 4; from < 14; from++) for (int write = 0; write < 2; write++) {
      volatile u8 *p = field + from;
      u32 want = from <= last && from + size - 1 >= first && (write || kind == ACCESS);
      arm(n, (u32)field + to, kind, bytes);
      if (write) { if (size == 1) *p = 1; else if (size == 2) *(volatile u16 *)p = 1; else *(volatile u32 *)p = 1; }
      else { if (size == 1) (void)*p; else if (size == 2) (void)*(volatile u16 *)p; else (void)*(volatile u32 *)p; }
      u32 got = hits, why = status;
      disarm();
      EQUAL(got, want); if (want) EQUAL(why, 1u << n);
    }
  }
}
/* Nothing of DR7 and DR6 but what there is; DR4 and DR5 are DR6 and DR7 without CR4.DE; breakpoints that are off do not set DR6. */
static void fixed_bits(void) {
  u32 v;
  set_dr7(0xffff0000 & ~0x2000u); DEVIATES(TCG) EQUAL(dr7(), 0xffff0400); disarm();
  set_dr6(0); v = dr6(); set_dr6(0xe00f); EQUAL(dr6(), v | 0xe00f); set_dr6(0);
  asm volatile(".byte 0x0f, 0x21, 0xe0" : "=a"(v)); EQUAL(v, dr6());
  asm volatile(".byte 0x0f, 0x21, 0xe8" : "=a"(v)); EQUAL(v, dr7());
}
static void strings(void) {
  static u8 buffer[64];
  arm(0, (u32)buffer + 10, WRITE, 1);
  u32 count = 32, to = (u32)buffer;
  asm volatile("rep stosb" : "+c"(count), "+D"(to) : "a"(7) : "memory");
  EQUAL(hits, 1); EQUAL(count, 0); EQUAL(buffer[31], 7); EQUAL(buffer[32], 0);
  disarm();
}
static void ports(void) {
  if (is_tcg()) { skip("TCG reports the port's breakpoint at another instruction"); return; }
  set_cr4(cr4() | 8);
  arm(2, 0x80, PORT, 1);
  u32 after;
  asm volatile("movl $1f, %0\n outb %%al, $0x80\n1: nop" : "=r"(after));
  EQUAL(hits, 1); EQUAL(status, 4); EQUAL(eip, after);
  inb(0x71); EQUAL(hits, 1);
  disarm();
  set_cr4(cr4() & ~8);
}
static volatile u32 seen_dr7, seen_flags;
static void guard(struct frame *f) { seen_flags = f->eflags; hits++; seen_dr7 = dr7(); status = dr6() & 0xe00f; set_dr6(0); }
static void general_detect(void) {
  if (is_tcg()) { skip("TCG has no general detect"); return; }
  hits = 0; handlers[1] = guard;
  set_dr6(0);
  set_dr7(0x2400);
  set_dr0(0x1234);
  EQUAL(hits, 1); EQUAL(status, 0x2000); EQUAL(seen_dr7, 0x400); EQUAL(dr0(), 0x1234); EQUAL(dr7(), 0x400);
  DEVIATES(BOCHS) EQUAL(seen_flags & 0x10000, 0x10000);    /* a fault, and no breakpoint's (17.3.1.1) */
}
static void with_single_step(void) {
  if (is_tcg()) { skip("TCG makes two exceptions of it"); return; }
  u32 after;
  arm(0, (u32)&memory[3], WRITE, 4);
  asm volatile("movl $1f, %0\n pushf\n orl $0x100, (%%esp)\n popf\n movl $1, %1\n1: nop" : "=&r"(after), "=m"(memory[3]) : : "cc", "memory");
  EQUAL(hits, 1); EQUAL(status, 0x4001); EQUAL(eip, after);
  disarm();
}
static void unannounced(void) {
  EQUAL(dr7(), 0x400);
  set_dr6(0); EQUAL(dr6(), 0xffff0ff0);
  if (is_tcg()) return;
  set_cr4(cr4() | 8);
  TRY(".byte 0x0f, 0x21, 0xe0", ::: "eax", "memory"); EXPECT(6, 0);
  set_cr4(cr4() & ~8);
}
const struct test tests[] = { { "execution: a fault in front, RF passes it once", execution_faults_in_front }, { "writes of any of the bytes trap behind the instruction", writes }, { "reads and writes", reads_and_writes }, { "two breakpoints, one exception", two_at_once }, { "lengths and overlaps", overlaps, TCG }, { "fixed bits and aliases", fixed_bits }, { "REP goes on behind its trap", strings }, { "ports with CR4.DE", ports }, { "DR7.GD", general_detect }, { "together with single step", with_single_step }, { "DR4 and fixed bits", unannounced }, { 0, 0 } };
