/* Ring 3: INT with gate privilege, IRET, SYSENTER/SYSEXIT, I/O permission, stack switch through the TSS (SDM vol. 3, 5.8, 6.12). */
#include "lib/guest.h"
static u8 user_stack[4096] __attribute__((aligned(16)));
static u8 code[256];
static volatile struct frame seen;
static void leave(struct frame *f) { seen = *f; leave_user(f->eax); }
static u32 run(const u8 *bytes, u32 n) { memcpy(code, bytes, n); return enter_user((u32)code, (u32)user_stack + sizeof user_stack); }
#define RUN(...) ({ static const u8 b[] = { __VA_ARGS__, 0xcd, 0x80 }; run(b, sizeof b); })
static void gp_leave(struct frame *f) { seen = *f; leave_user(0xd0000000 | f->vector << 16 | f->error); }
static void int80(void) {
  gate(0x80, 0xee); handlers[0x80] = leave; handlers[13] = gp_leave; handlers[6] = gp_leave; handlers[14] = gp_leave;
  EQUAL(RUN(0xb8, 0x78, 0x56, 0x34, 0x12), 0x12345678);
  EQUAL(seen.cs, 0x1b); EQUAL(seen.ss, 0x23); EQUAL(seen.esp, (u32)user_stack + sizeof user_stack); EQUAL(seen.eip, (u32)code + 7);
  EQUAL(seen.eflags & 0x200, 0x200);
  u32 flags; asm volatile("pushf; pop %0" : "=r"(flags)); EQUAL(flags & 0x200, 0);
}
static void privilege(void) {
  EQUAL(RUN(0xf4), 0xd00d0000); EQUAL(seen.eip, (u32)code);
  EQUAL(RUN(0xfa), 0xd00d0000);
  EQUAL(RUN(0x0f, 0x20, 0xc0), 0xd00d0000);
  EQUAL(RUN(0xe4, 0x60), 0xd00d0000);
  EQUAL(RUN(0xcd, 0x30), 0xd00d0182);
  EQUAL(RUN(0xcd, 0x0d), 0xd00d006a);
  EQUAL(RUN(0xb8, 0x10, 0, 0, 0, 0x8e, 0xd8), 0xd00d0010);     /* mov ds, 0x10: RPL 0 but CPL 3 above DPL 0 */
  EQUAL(RUN(0x0f, 0x01, 0x3d, 0, 0, 0, 0), 0xd00d0000);        /* invlpg */
}
static void io_permission(void) {
  /* A bitmap behind the TSS: port 0x80 allowed, 0x81 not; IOPL stays 0. */
  static struct { u32 tss[26]; u8 bitmap[40]; } t __attribute__((aligned(256)));
  memcpy(t.tss, tss, 104); memset(t.bitmap, 0xff, sizeof t.bitmap);
  t.tss[25] = 104 << 16; t.bitmap[0x80 / 8] = 0xfe;
  gdt[5] = segment((u32)&t, sizeof t - 1, 0x89) & ~((u64)0x8 << 52);
  asm volatile("ltr %w0" : : "r"(0x28));
  t.tss[1] = 0;
  extern u32 user_return_esp;
  /* enter_user writes tss + 4; the copy needs a stack of its own. */
  static u8 kernel_stack[4096] __attribute__((aligned(16)));
  t.tss[1] = (u32)kernel_stack + sizeof kernel_stack;
  EQUAL(RUN(0xb8, 5, 0, 0, 0, 0xe6, 0x80), 5);
  EQUAL(RUN(0xe6, 0x81), 0xd00d0000);
  EQUAL(RUN(0xe7, 0x80), 0xd00d0000);                            /* a dword covers 0x80..0x83 */
  gdt[5] = segment((u32)tss, 103, 0x89) & ~((u64)0xf << 52);
  asm volatile("ltr %w0" : : "r"(0x28));
  user_eflags = 0x3202;
  EQUAL(RUN(0xb8, 6, 0, 0, 0, 0xe6, 0x80), 6);                  /* IOPL 3 */
  EQUAL(RUN(0xfa, 0x9c, 0x58, 0xfb), 0x3002 | (RUN(0xfa, 0x9c, 0x58, 0xfb) & 0x8d5));
  user_eflags = 0x202;
  (void)user_return_esp;
}
static void popf_in_user(void) {
  /* IF and IOPL survive a POPF in ring 3. */
  u32 got = RUN(0x68, 0xd7, 0x0c, 0x00, 0x00, 0x9d, 0x9c, 0x58, 0xfc);
  EQUAL(got, 0xed7);
}
/* SYSENTER lands at sysenter_target with CPL 0, flat segments, IF clear; it records and returns by SYSEXIT. */
u32 sysenter_seen[4];
asm(".globl sysenter_target\nsysenter_target: movl %esp, sysenter_seen\n movl %cs, %ebx\n movl %ebx, sysenter_seen + 4\n movl %ss, %ebx\n movl %ebx, sysenter_seen + 8\n pushf\n popl sysenter_seen + 12\n add $7, %eax\n sti\n sysexit");
extern u8 sysenter_target[];
static void sysenter(void) {
  static u8 stack[1024] __attribute__((aligned(16)));
  wrmsr(0x174, 0, 0);
  EQUAL(RUN(0x0f, 0x34), 0xd00d0000);                            /* SYSENTER_CS = 0 */
  wrmsr(0x174, 8, 0); wrmsr(0x175, (u32)stack + sizeof stack, 0); wrmsr(0x176, (u32)sysenter_target, 0);
  EQUAL(rdmsr(0x175), (u32)stack + sizeof stack);
  /* mov eax, 35; mov ecx, esp; mov edx, after; sysenter; after: int 0x80 */
  u32 after = (u32)code + 14;
  u8 b[] = { 0xb8, 35, 0, 0, 0, 0x89, 0xe1, 0xba, after, after >> 8, after >> 16, after >> 24, 0x0f, 0x34, 0xcd, 0x80 };
  EQUAL(run(b, sizeof b), 42);
  EQUAL(sysenter_seen[0], (u32)stack + sizeof stack); EQUAL(sysenter_seen[1], 8); EQUAL(sysenter_seen[2], 0x10); EQUAL(sysenter_seen[3] & 0x200, 0);
  EQUAL(seen.cs, 0x1b); EQUAL(seen.ss, 0x23); EQUAL(seen.eflags & 0x200, 0x200);
  EQUAL(RUN(0x0f, 0x35), 0xd00d0000);                            /* SYSEXIT in ring 3 */
}
static void call_gate(void) {
  /* A 386 call gate with two parameters copied to the inner stack. */
  extern u8 gate_target[];
  gdt[6] = (u64)((u32)gate_target >> 16) << 48 | (u64)0xec02 << 32 | (u64)8 << 16 | ((u32)gate_target & 0xffff);
  struct { u16 limit; u32 base; } __attribute__((packed)) g = { 0x3f, (u32)gdt };
  asm volatile("lgdt %0" : : "m"(g));
  EQUAL(RUN(0x6a, 30, 0x6a, 12, 0x9a, 0, 0, 0, 0, 0x33, 0), 42);
  EQUAL(seen.esp, (u32)user_stack + sizeof user_stack);
}
asm(".globl gate_target\ngate_target: mov 8(%esp), %eax\n add 12(%esp), %eax\n lret $8");
static void many_round_trips(void) {
  u32 sum = 0;
  for (u32 i = 0; i < 2000; i++) sum += RUN(0xb8, 3, 0, 0, 0);
  EQUAL(sum, 6000);
}
static void paging_off_user_memory(void) { CHECK(!(cr0() & 0x80000000)); }
const struct test tests[] = { { "int 0x80 and the frame it leaves", int80 }, { "privileged instructions are #GP", privilege }, { "I/O permission bitmap and IOPL", io_permission }, { "POPF in ring 3", popf_in_user }, { "SYSENTER and SYSEXIT", sysenter }, { "call gate with parameters", call_gate }, { "2000 round trips", many_round_trips }, { "paging is off", paging_off_user_memory }, { 0, 0 } };
