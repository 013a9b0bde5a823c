/* Segment registers and descriptors: every type, privilege and limit, in every ring (SDM vol. 3, 3.4, 5.3-5.8; vol. 2 MOV, LAR, LSL, VERR, ARPL, LLDT, LTR). */
#include "lib/rings.h"
static u8 area[0x20000] __attribute__((aligned(16)));

/* ---- loads of data and stack segments, all types, DPL, RPL, CPL and P */
static int is_code(u32 a) { return (a & 0x18) == 0x18; }
static int conforming(u32 a) { return (a & 0x1c) == 0x1c; }
static u32 data_load(int cpl, int rpl, u32 a, u32 selector) {
  int dpl = a >> 5 & 3;
  if (!(a & 0x10) || (is_code(a) && !(a & 2))) return VECTOR(13, selector & ~3);
  if (!conforming(a) && (rpl > dpl || cpl > dpl)) return VECTOR(13, selector & ~3);
  return a & 0x80 ? DONE : VECTOR(11, selector & ~3);
}
static u32 stack_load(int cpl, int rpl, u32 a, u32 selector) {
  if (rpl != cpl || !(a & 0x10) || is_code(a) || !(a & 2) || (int)(a >> 5 & 3) != cpl) return VECTOR(13, selector & ~3);
  return a & 0x80 ? DONE : VECTOR(12, selector & ~3);
}
SNIPPET(load_fs, "mov param, %eax", "mov %ax, %fs");
SNIPPET(load_ss, "mov param, %eax", "mov %ax, %ss");
SNIPPET(load_es, "mov param, %eax", "mov %ax, %es");
SNIPPET(pop_gs, "push param", "pop %gs");
SNIPPET(pop_ss, "push param", "pop %ss");
SNIPPET(lfs, "nop", "lfs param + 8, %ecx");
SNIPPET(lss, "mov %esp, param + 8", "lss param + 8, %esp");
static void one_load(int cpl, int rpl, u32 a, const u8 *code, const u8 *at, int stack) {
  /* Expand-down with limit 0 and B is valid from 1 to 4 GiB: even a stack of ring 0. */
  u64 d = (a & 0x1c) == 0x14 ? descriptor(0, 0, a, 4) : descriptor(0, 0xfffff, a, 12);
  table[X] = d;
  param[0] = X << 3 | rpl; param[3] = X << 3 | rpl; param[2] = 0x12345678;
  u32 want = stack ? stack_load(cpl, rpl, a, X << 3) : data_load(cpl, rpl, a, X << 3), got = ring(cpl, code);
  EQUAL(got, want);
  if (want != DONE) EQUAL(seen.eip, (u32)at);
  EQUAL(table[X] >> 32, (d | (want == DONE ? (u64)1 << 40 : 0)) >> 32);       /* accessed (3.4.5.1) */
}
static void data_loads(void) {
  for (int cpl = 0; cpl < 4; cpl++) for (u32 a = 0; a < 256; a++) for (int rpl = 0; rpl < 4; rpl++) one_load(cpl, rpl, a, load_fs, load_fs_at, 0);
}
static void stack_loads(void) {
  for (int cpl = 0; cpl < 4; cpl++) for (u32 a = 0; a < 256; a++) for (int rpl = 0; rpl < 4; rpl++) one_load(cpl, rpl, a, load_ss, load_ss_at, 1);
}
static void other_loads(void) {
  for (int cpl = 0; cpl < 4; cpl += 3) for (u32 a = 0; a < 256; a++) {
    one_load(cpl, cpl, a, load_es, load_es_at, 0); one_load(cpl, cpl, a, pop_gs, pop_gs_at, 0); one_load(cpl, cpl, a, lfs, lfs_at, 0);
    one_load(cpl, cpl, a, pop_ss, pop_ss_at, 1);
    if (data_load(cpl, cpl, a, X << 3) == DONE) { ring(cpl, lfs); EQUAL(seen.ecx, 0x12345678); EQUAL(seen.fs & 0xffff, X << 3 | cpl); }
  }
  /* A fault leaves both registers as they were (vol. 2 LDS). */
  table[X] = descriptor(0, 0xfffff, 0x13, 12);
  param[3] = X << 3; param[0] = X << 3;
  EQUAL(ring(0, lss), VECTOR(12, X << 3)); EQUAL(seen.esp0, top_of(0) - 5 * 4);
  EQUAL(ring(3, pop_gs), VECTOR(13, X << 3)); EQUAL(seen.esp, top_of(3) - 4);
}
/* ---- null selectors */
SNIPPET(through_null, "xor %eax, %eax; mov %ax, %fs", "movl %fs:param, %eax");
SNIPPET(through_null3, "mov $3, %eax; mov %ax, %gs", "movl %eax, %gs:param");
SNIPPET(null_ss, "xor %eax, %eax", "mov %ax, %ss");
SNIPPET(null3_ss, "mov $3, %eax", "mov %ax, %ss");
static void nulls(void) {
  for (int r = 0; r < 4; r++) {
    DEVIATES(TCG) FAULTS(r, through_null, 13, 0);          /* 5.4.1 */
    DEVIATES(TCG) FAULTS(r, through_null3, 13, 0);
    FAULTS(r, null_ss, 13, 0); FAULTS(r, null3_ss, 13, 0);
  }
  EQUAL(seen.fs & 0xffff, 0);
}
/* ---- the tables' limits */
static void table_limits(void) {
  table[X] = descriptor(0, 0xfffff, 0xf3, 12);
  for (u32 limit = X * 8 - 1; limit < X * 8 + 8; limit++) {
    set_gdt(limit);
    TRY("mov %0, %%fs", : : "r"(X << 3) : "memory");
    if (limit == X * 8 + 7) EXPECT_NONE(); else EXPECT(13, X << 3);
    u32 zf; asm volatile("verr %w1\n sete %b0" : "=q"(zf) : "r"(X << 3), "0"(0)); EQUAL(zf & 1, limit == X * 8 + 7);
  }
  set_gdt(sizeof table - 1);
  TRY("mov %0, %%fs", : : "r"(ENTRIES << 3) : "memory"); EXPECT(13, ENTRIES << 3);
  TRY("mov %0, %%fs", : : "r"(0xfff8) : "memory"); EXPECT(13, 0xfff8);
}
/* ---- LAR LSL VERR VERW */
SNIPPET(look, "mov param, %ecx\n mov $0xdeadbeef, %eax\n mov %eax, %edx\n lar %ecx, %eax\n sete param + 4\n lsl %ecx, %edx\n sete param + 5\n verr %cx\n sete param + 6\n verw %cx\n sete param + 7\n mov %eax, param + 8\n mov %edx, param + 12", "nop");
static void looks(void) {
  for (int cpl = 0; cpl < 4; cpl++) for (u32 a = 0; a < 256; a++) for (int rpl = 0; rpl < 4; rpl++) {
    int g = a & 1, dpl = a >> 5 & 3, type = a & 15, system = !(a & 0x10), seen_ok = conforming(a) || (cpl <= dpl && rpl <= dpl);
    table[X] = descriptor(0x12345678, 0x54321, a, g ? 8 : 0);
    param[0] = X << 3 | rpl; param[1] = 0;
    RUNS(cpl, look);
    int lar = seen_ok && (!system || type == 1 || type == 2 || type == 3 || type == 4 || type == 5 || type == 9 || type == 11 || type == 12);
    int lsl = seen_ok && (!system || type == 1 || type == 2 || type == 3 || type == 9 || type == 11);
    int verr = !system && seen_ok && (!is_code(a) || (a & 2)), verw = !system && seen_ok && !is_code(a) && (a & 2);
    EQUAL(param[1], lar | lsl << 8 | verr << 16 | verw << 24);
    /* Bits 16 to 19 are undefined (vol. 2 LAR). */
    EQUAL(param[2] & ~0xf0000, lar ? a << 8 | (g ? 0x800000 : 0) : 0xdeadbeef & ~0xf0000);
    EQUAL(param[3], lsl ? g ? 0x54321fff : 0x54321 : 0xdeadbeef);
  }
  static const u16 invisible[] = { 0, 1, 2, 3, ENTRIES << 3, X << 3 | 4, 0xfffc };
  for (u32 i = 0; i < sizeof invisible / 2; i++) { param[0] = invisible[i]; param[1] = -1; RUNS(0, look); DEVIATES(TCG) EQUAL(param[1], 0); RUNS(3, look); DEVIATES(TCG) EQUAL(param[1], 0); }
  u32 low = 0xaaaa0000;
  table[X] = descriptor(0, 0x54321, 0x93, 8);
  asm volatile("lsl %w1, %w0" : "+r"(low) : "r"(X << 3)); EQUAL(low, 0xaaaa1fff);
  asm volatile("lar %w1, %w0" : "+r"(low) : "r"(X << 3)); EQUAL(low, 0xaaaa9300);
}
static void arpl(void) {
  for (u32 to = 0; to < 4; to++) for (u32 from = 0; from < 4; from++) {
    u32 d = 0x5a5a1230 | to, flags, m = d;
    asm volatile("arpl %w2, %w0\n pushf\n pop %1" : "+r"(d), "=r"(flags) : "r"(0xfffc | from));
    EQUAL(d, 0x5a5a1230 | (to < from ? from : to)); EQUAL(flags & 0x40, to < from ? 0x40 : 0);
    asm volatile("arpl %w2, %0\n pushf\n pop %1" : "+m"(m), "=r"(flags) : "r"(0xfffc | from));
    EQUAL(m, d); EQUAL(flags & 0x40, to < from ? 0x40 : 0);
  }
}
/* ---- limits: offset + size - 1 against the limit, up and down, for every size and both directions (5.3) */
#define ACCESS(bytes, read, write) { bytes, { read, write } }
#define PROBE(name, insn) asm(".pushsection .text\n" #name ": " insn "\n ret\n.popsection"); extern u8 name[]
PROBE(r1, "movb %fs:(%ebx), %al"); PROBE(w1, "movb %al, %fs:(%ebx)"); PROBE(r2, "movw %fs:(%ebx), %ax"); PROBE(w2, "movw %ax, %fs:(%ebx)"); PROBE(r4, "movl %fs:(%ebx), %eax"); PROBE(w4, "lock addl %eax, %fs:(%ebx)");
PROBE(r8, "fldl %fs:(%ebx)\n fstp %st"); PROBE(w8, "movlps %xmm0, %fs:(%ebx)"); PROBE(r10, "fldt %fs:(%ebx)\n fstp %st"); PROBE(w10, "fld1\n fstpt %fs:(%ebx)"); PROBE(r16, "movups %fs:(%ebx), %xmm1"); PROBE(w16, "movups %xmm0, %fs:(%ebx)");
static const struct { u32 bytes; const u8 *code[2]; } accesses[] = { { 1, { r1, w1 } }, { 2, { r2, w2 } }, { 4, { r4, w4 } }, { 8, { r8, w8 } }, { 10, { r10, w10 } }, { 16, { r16, w16 } } };
static void probe(int i, int write, u32 offset, int valid) {
  u32 code = (u32)accesses[i].code[write];
  caught.count = 0; caught.vector = 0xffff;
  asm volatile("fninit\n mov %%esp, param\n movl $1f, resume\n call *%0\n1: mov param, %%esp\n movl $0, resume" : : "r"(code), "b"(offset) : "eax", "memory", "cc");
  DEVIATES(TCG) { EQUAL(caught.count, !valid); if (!valid) { EQUAL(caught.vector, 13); EQUAL(caught.error, 0); } }
}
static void limits(void) {
  u32 features; asm volatile("cpuid" : "=d"(features) : "a"(1), "c"(0) : "ebx");
  int sse = features >> 25 & 1;
  set_cr0((cr0() & ~12u) | 2); if (sse) set_cr4(cr4() | 0x600);
  static const struct { u32 access, limit, flags, low, high; int writes; } kinds[] = {
    { 0x93, 0xfff, 4, 0, 0xfff, 1 }, { 0x91, 0x7f, 0, 0, 0x7f, 0 }, { 0x93, 0, 12, 0, 0xfff, 1 }, { 0x93, 1, 8, 0, 0x1fff, 1 }, { 0x9b, 0x3ff, 4, 0, 0x3ff, 0 }, { 0x9f, 0x3ff, 4, 0, 0x3ff, 0 },
    { 0x97, 0xfff, 0, 0x1000, 0xffff, 1 }, { 0x97, 0, 8, 0x1000, 0xffff, 1 }, { 0x95, 0x1ff, 0, 0x200, 0xffff, 0 }, { 0x97, 0xfff, 4, 0x1000, 0xffffffff, 1 },
  };
  for (u32 k = 0; k < sizeof kinds / sizeof *kinds; k++) {
    table[X] = descriptor((u32)area + 0x8000, kinds[k].limit, kinds[k].access, kinds[k].flags);
    asm volatile("mov %0, %%fs" : : "r"(X << 3));
    for (int i = 0; i < 6; i++) for (int write = 0; write < 2; write++) {
      if (!sse && (i == 5 || (i == 3 && write))) continue;
      u32 n = accesses[i].bytes, low = kinds[k].low, high = kinds[k].high;
      for (u32 d = 0; d < n + 2; d++) {
        u32 offset = high - n + d;                                                /* the last byte at high - 1 + d */
        if (high != 0xffffffff || d < 2) probe(i, write, offset, d < 2 && (!write || kinds[k].writes));
        if (low) { offset = low - d; probe(i, write, offset, d == 0 && (!write || kinds[k].writes)); }
      }
    }
  }
  asm volatile("mov %0, %%fs" : : "r"(0));
}
/* ---- the stack segment: #SS(0), and SP of 16 bits */
SNIPPET(ss_read, "mov param, %eax\n mov param + 4, %ebp\n mov %ax, %ss", "movl (%ebp), %ecx");
SNIPPET(ss_write, "mov param, %eax\n mov param + 4, %ecx\n mov %ax, %ss", "movl %ecx, %ss:(%ecx)");
SNIPPET(ss_push, "mov param, %eax\n mov %ax, %ss\n mov param + 4, %esp", "push %eax");
SNIPPET(ss_pop, "mov param, %eax\n mov %ax, %ss\n mov param + 4, %esp", "pop %ecx");
SNIPPET(ss_call, "mov param, %eax\n mov %ax, %ss\n mov param + 4, %esp", "call 1f\n1:");
SNIPPET(ss_ret, "mov param, %eax\n mov %ax, %ss\n mov param + 4, %esp", "ret");
SNIPPET(ss_pushw, "mov param, %eax\n mov %ax, %ss\n mov param + 4, %esp", "pushw %ax");
SNIPPET(ss_pusha, "mov param, %eax\n mov %ax, %ss\n mov param + 4, %esp", "pusha");
SNIPPET(ss_pushf, "mov param, %eax\n mov %ax, %ss\n mov param + 4, %esp", "pushf");
SNIPPET(ss_enter, "mov param, %eax\n mov %ax, %ss\n mov param + 4, %esp", "enter $16, $0");
SNIPPET(ss_iret, "mov param, %eax\n mov %ax, %ss\n mov param + 4, %esp", "iret");
SNIPPET(ss_lret, "mov param, %eax\n mov %ax, %ss\n mov param + 4, %esp", "lret");
#define STACK_FAULT(name, esp, ok) do { param[1] = esp; if (ok) RUNS(3, name); else FAULTS(3, name, 12, 0); } while (0)
static void stack_limits(void) {
  if (peer & TCG) { skip("TCG checks no limits"); return; }
  param[0] = X << 3 | 3;
  table[X] = descriptor((u32)area, 0xfff, 0xf3, 4);
  STACK_FAULT(ss_read, 0xffc, 1); STACK_FAULT(ss_read, 0xffd, 0); STACK_FAULT(ss_read, 0x1000, 0);
  STACK_FAULT(ss_write, 0xffc, 1); STACK_FAULT(ss_write, 0xffd, 0); STACK_FAULT(ss_write, 0x1003, 0);
  STACK_FAULT(ss_push, 0x1000, 1); EQUAL(seen.esp, 0xffc); EQUAL(seen.ss, X << 3 | 3);
  STACK_FAULT(ss_push, 0x1001, 0); EQUAL(seen.esp, 0x1001);
  STACK_FAULT(ss_push, 0, 0); EQUAL(seen.esp, 0); STACK_FAULT(ss_push, 2, 0); STACK_FAULT(ss_push, 4, 1);
  STACK_FAULT(ss_pop, 0xffc, 1); STACK_FAULT(ss_pop, 0xffd, 0); EQUAL(seen.esp, 0xffd);
  STACK_FAULT(ss_call, 0x1000, 1); STACK_FAULT(ss_call, 0x1002, 0); EQUAL(seen.esp, 0x1002); STACK_FAULT(ss_call, 3, 0);
  STACK_FAULT(ss_ret, 0xffe, 0); EQUAL(seen.esp, 0xffe);
  STACK_FAULT(ss_pushw, 0x1000, 1); STACK_FAULT(ss_pushw, 0x1001, 0); STACK_FAULT(ss_pushw, 1, 0);
  STACK_FAULT(ss_pusha, 0x1000, 1); STACK_FAULT(ss_pusha, 0x20, 1); STACK_FAULT(ss_pusha, 0x1c, 0); EQUAL(seen.esp, 0x1c);
  STACK_FAULT(ss_pushf, 0x1001, 0); STACK_FAULT(ss_enter, 0x1000, 1); STACK_FAULT(ss_enter, 0x1002, 0); EQUAL(seen.esp, 0x1002); STACK_FAULT(ss_enter, 2, 0);
  STACK_FAULT(ss_iret, 0xff8, 0); EQUAL(seen.esp, 0xff8); STACK_FAULT(ss_lret, 0xffc, 0); EQUAL(seen.esp, 0xffc);
  /* Expand-down, as stacks once were. */
  table[X] = descriptor((u32)area, 0xfff, 0xf7, 0);
  STACK_FAULT(ss_read, 0x1000, 1); STACK_FAULT(ss_read, 0xfff, 0); STACK_FAULT(ss_read, 0xfffd, 0); STACK_FAULT(ss_read, 0xfffc, 1);
}
static void stack16(void) {
  param[0] = X << 3 | 3;
  /* B = 0: SP wraps at 64 KiB and the upper half of ESP stays (vol. 1, 6.2.2). */
  table[X] = descriptor((u32)area, 0xffff, 0xf3, 0);
  param[1] = 0x12340000; RUNS(3, ss_push); EQUAL(seen.esp, 0x1234fffc); EQUAL(*(u32 *)(area + 0xfffc), X << 3 | 3);
  param[1] = 0x1234fffe; RUNS(3, ss_pushw); EQUAL(seen.esp, 0x1234fffc);
  param[1] = 0xabcdfffc; *(u32 *)(area + 0xfffc) = 0x11111111; RUNS(3, ss_pop); EQUAL(seen.esp, 0xabcd0000); EQUAL(seen.ecx, 0x11111111);
  param[1] = 0x56780100; RUNS(3, ss_enter); EQUAL(seen.esp, 0x567800ec); EQUAL(seen.ebp & 0xffff, 0xfc);
}
/* ---- writes to what must not be written, reads of what must not be read */
SNIPPET(write_code, "nop", "movl %eax, %cs:param");
SNIPPET(read_code, "nop", "movl %cs:param, %eax");
SNIPPET(execute_only, "push param + 4\n push $1f\n lret\n1:", "movl %cs:param, %eax");
SNIPPET(write_read_only, "mov param + 8, %eax\n mov %ax, %gs", "incl %gs:param + 32");
static void types(void) {
  for (int r = 0; r < 4; r++) { DEVIATES(TCG) FAULTS(r, write_code, 13, 0); RUNS(r, read_code); }
  table[X] = descriptor(0, 0xfffff, 0xf9, 12); param[1] = X << 3 | 3;
  DEVIATES(TCG) FAULTS(3, execute_only, 13, 0);
  table[Y] = descriptor(0, 0xfffff, 0xf1, 12); param[2] = Y << 3 | 3;
  u32 before = param[8];
  DEVIATES(TCG) { FAULTS(3, write_read_only, 13, 0); EQUAL(param[8], before); }
}
/* ---- instructions at the end of the code segment */
SNIPPET(at_the_end, "push param\n push param + 4", "lret");
static void code_limits(void) {
  /* A segment whose limit ends inside `movl $0x..., %eax` (5 bytes at base + 0xffc), then right behind it. */
  static const u8 insn[] = { 0xb8, 1, 2, 3, 4, 0xcd, 0x80 };
  memcpy(area + 0xffc, insn, sizeof insn);
  param[0] = X << 3 | 3; param[1] = 0xffc;
  for (u32 limit = 0xffc; limit <= 0x1002; limit++) {
    table[X] = descriptor((u32)area, limit, 0xfb, 4);
    u32 got = ring(3, at_the_end);
    /* The MOV does not fit; the INT behind it does not; both do. */
    u32 eip = limit < 0x1000 ? 0xffc : limit < 0x1002 ? 0x1001 : 0x1003;
    DEVIATES(TCG) { EQUAL(got, limit < 0x1002 ? VECTOR(13, 0) : DONE); EQUAL(seen.eip, eip); EQUAL(seen.cs, X << 3 | 3); }
  }
  table[X] = descriptor((u32)area, 0xffb, 0xfb, 4);
  DEVIATES(TCG) FAULTS(3, at_the_end, 13, 0);
}
/* Near transfers beyond the limit are #GP(0) in front of everything they do (vol. 2 JMP, CALL, RET). */
SNIPPET(near_go, "mov param + 8, %eax\n mov param + 12, %ecx\n pushl param + 16\n pushl param\n pushl param + 4\n cmp %eax, %eax", "lret");
static void near_transfers(void) {
  if (peer & TCG) { skip("TCG checks no limits"); return; }
  static const struct { u8 bytes[8], length; u32 eax, ecx, top; int leaves; } cases[] = {
    { { 0xe9, 0, 0x10, 0, 0 }, 5, 0, 0, 0, 1 }, { { 0xeb, 0x40 }, 2, 0, 0, 0, 1 }, { { 0xeb, 0x10 }, 2, 0, 0, 0, 0 }, { { 0xe8, 0, 0x10, 0, 0 }, 5, 0, 0, 0, 1 }, { { 0xe8, 0x10, 0, 0, 0 }, 5, 0, 0, 0, 0 },
    { { 0x74, 0x40 }, 2, 0, 0, 0, 1 }, { { 0x75, 0x40 }, 2, 0, 0, 0, 0 }, { { 0x0f, 0x84, 0, 0x10, 0, 0 }, 6, 0, 0, 0, 1 }, { { 0x0f, 0x87, 0, 0x10, 0, 0 }, 6, 0, 0, 0, 0 }, { { 0x7e, 0x40 }, 2, 0, 0, 0, 1 }, { { 0x7c, 0x40 }, 2, 0, 0, 0, 0 },
    { { 0xff, 0xe0 }, 2, 0x1000, 0, 0, 1 }, { { 0xff, 0xe0 }, 2, 0xfe8, 0, 0, 0 }, { { 0xff, 0xd0 }, 2, 0xffffffff, 0, 0, 1 }, { { 0xff, 0xd0 }, 2, 0xfe8, 0, 0, 0 }, { { 0xc3 }, 1, 0, 0, 0x1000, 1 }, { { 0xc3 }, 1, 0, 0, 0xfe8, 0 }, { { 0xc2, 4, 0 }, 3, 0, 0, 0x80000000, 1 },
    { { 0xe2, 0x40 }, 2, 0, 2, 0, 1 }, { { 0xe2, 0x40 }, 2, 0, 1, 0, 0 }, { { 0xe1, 0x40 }, 2, 0, 5, 0, 1 }, { { 0xe0, 0x40 }, 2, 0, 5, 0, 0 }, { { 0xe3, 0x40 }, 2, 0, 0, 0, 1 }, { { 0xe3, 0x40 }, 2, 0, 1, 0, 0 }, { { 0x90, 0x40, 0x48, 0xe9, 0, 0x10, 0, 0 }, 8, 0, 0, 0, 1 },
  };
  table[X] = descriptor((u32)area, 0xfff, 0xfb, 4);
  param[0] = X << 3 | 3; param[1] = 0xfd0;
  for (u32 i = 0; i < sizeof cases / sizeof *cases; i++) {
    u32 n = cases[i].length, skip_over = cases[i].bytes[0] == 0x90 ? 3 : 0;
    memset(area + 0xfd0, 0x90, 0x30); memcpy(area + 0xfd0, cases[i].bytes, n); area[0xffd] = 0xcd; area[0xffe] = 0x80;
    param[2] = cases[i].eax; param[3] = cases[i].ecx; param[4] = cases[i].top;
    for (int again = 0; again < 3; again++) {
      u32 got = ring(3, near_go);
      if (!cases[i].leaves) { EQUAL(got, DONE); EQUAL(seen.eip, 0xfff); continue; }
      EQUAL(got, VECTOR(13, 0)); EQUAL(seen.eip, 0xfd0 + skip_over); EQUAL(seen.cs, X << 3 | 3); EQUAL(seen.esp, top_of(3) - 4); EQUAL(seen.ecx, cases[i].ecx);
    }
  }
}
/* ---- LDT */
static u64 local[4] __attribute__((aligned(16)));
SNIPPET(lldt3, "mov $0x68, %eax", "lldt %ax");
SNIPPET(ltr3, "mov $0x28, %eax", "ltr %ax");
static void local_table(void) {
  u32 v;
  TRY("lldt %w0", : : "r"(0) : "memory"); EXPECT_NONE();
  asm volatile("sldt %0" : "=r"(v)); EQUAL(v & 0xffff, 0);
  TRY("mov %0, %%fs", : : "r"(4) : "memory"); EXPECT(13, 4);                    /* no LDT: #GP(selector) */
  TRY("mov %0, %%fs", : : "r"(0x0c) : "memory"); EXPECT(13, 0x0c);
  for (u32 a = 0; a < 256; a++) {
    table[LOCAL] = descriptor((u32)local, sizeof local - 1, a, 0);
    u64 before = table[LOCAL];
    TRY("lldt %w0", : : "r"(LOCAL << 3 | 3) : "memory");
    if ((a & 0x1f) != 2) EXPECT(13, LOCAL << 3); else if (!(a & 0x80)) EXPECT(11, LOCAL << 3); else EXPECT_NONE();
    CHECK(table[LOCAL] == before);
  }
  table[LOCAL] = descriptor((u32)local, sizeof local - 1, 0x82, 0);
  TRY("lldt %w0", : : "r"(LOCAL << 3) : "memory"); EXPECT_NONE();
  asm volatile("sldt %0" : "=r"(v)); EQUAL(v & 0xffff, LOCAL << 3);
  TRY("lldt %w0", : : "r"(LOCAL << 3 | 4) : "memory"); EXPECT(13, LOCAL << 3 | 4);
  TRY("lldt %w0", : : "r"(ENTRIES << 3) : "memory"); EXPECT(13, ENTRIES << 3);
  asm volatile("sldt %0" : "=r"(v)); EQUAL(v & 0xffff, LOCAL << 3);             /* unchanged by what failed */
  local[0] = descriptor((u32)area, 0xff, 0xf3, 4); local[1] = descriptor((u32)area, 0xff, 0x73, 4); local[3] = descriptor(0, 0, 0x82, 0);
  *(u32 *)area = 0x600dbeef;
  TRY("mov %0, %%fs", : : "r"(4) : "memory"); EXPECT_NONE();                    /* entry 0 of an LDT is no null selector */
  asm volatile("movl %%fs:0, %0" : "=r"(v)); EQUAL(v, 0x600dbeef);
  TRY("mov %0, %%fs", : : "r"(0x0f) : "memory"); EXPECT(11, 0x0c);
  TRY("mov %0, %%fs", : : "r"(0x1c) : "memory"); EXPECT(13, 0x1c);
  TRY("mov %0, %%fs", : : "r"(0x24) : "memory"); EXPECT(13, 0x24);
  param[0] = 7; RUNS(3, load_fs);
  for (int r = 1; r < 4; r++) { FAULTS(r, lldt3, 13, 0); FAULTS(r, ltr3, 13, 0); }
  asm volatile("mov %0, %%fs\n lldt %w0" : : "r"(0));
}
static void task_register(void) {
  u32 v;
  asm volatile("str %0" : "=r"(v)); EQUAL(v & 0xffff, TASK << 3);
  EQUAL(access_of(TASK), 0x8b);                                                 /* LTR marks it busy */
  TRY("ltr %w0", : : "r"(TASK << 3) : "memory"); EXPECT(13, TASK << 3);         /* busy already */
  TRY("ltr %w0", : : "r"(0) : "memory"); DEVIATES(TCG) EXPECT(13, 0);
  TRY("ltr %w0", : : "r"(TASK << 3 | 4) : "memory"); EXPECT(13, TASK << 3 | 4);
  TRY("ltr %w0", : : "r"(ENTRIES << 3) : "memory"); EXPECT(13, ENTRIES << 3);
  for (u32 a = 0; a < 256; a++) {
    table[TASK2] = descriptor((u32)tss, 103, a, 0);
    TRY("ltr %w0", : : "r"(TASK2 << 3) : "memory");
    if ((a & 0x1f) != 9 && (a & 0x1f) != 1) EXPECT(13, TASK2 << 3); else if (!(a & 0x80)) EXPECT(11, TASK2 << 3);
    else { EXPECT_NONE(); EQUAL(access_of(TASK2), a | 2); }
    if (!(a & 0x80) || ((a & 0x1f) != 9 && (a & 0x1f) != 1)) EQUAL(access_of(TASK2), a);
  }
  load_task(TASK, descriptor((u32)tss, 103, 0x89, 0));
}
/* Loads of SS hold off interrupts and debug traps for one instruction (6.8.3). */
static volatile u32 stepped, first_step;
static void step(struct frame *f) { if (!stepped++) first_step = f->eip; f->eflags &= ~0x100; }
static void shadow(void) {
  extern u8 shadow_end[];
  stepped = 0; handlers[1] = step;
  asm volatile("mov %%ss, %%eax\n pushf\n orl $0x100, (%%esp)\n popf\n mov %%ax, %%ss\n nop\nshadow_end: nop\n nop\n pushf\n andl $~0x100, (%%esp)\n popf" : : : "eax", "memory", "cc");
  EQUAL(first_step, (u32)shadow_end);
  handlers[1] = ring_leave;
}
static void init(void) { rings_init(); for (int r = 0; r < 4; r++) { param[0] = 0; RUNS(r, load_fs); if (r) { EQUAL(seen.cs, code_selector(r)); EQUAL(seen.ss, data_selector(r)); EQUAL(seen.esp, top_of(r)); } } }
const struct test tests[] = { { "all four rings", init }, { "loads of data segments: every type, DPL, RPL, CPL", data_loads }, { "loads of the stack segment", stack_loads }, { "POP, LFS, LSS", other_loads }, { "null selectors", nulls }, { "limit of the GDT", table_limits }, { "LAR LSL VERR VERW: every type, DPL, RPL, CPL", looks }, { "ARPL", arpl }, { "limits: every size, up and down", limits },
  { "the stack segment's limit and size", stack_limits }, { "SP of 16 bits", stack16 }, { "read-only, execute-only", types }, { "fetching at the limit", code_limits }, { "near transfers at the limit", near_transfers }, { "LLDT, SLDT, local descriptors", local_table }, { "LTR, STR", task_register }, { "MOV SS holds off the trap", shadow }, { 0, 0 } };
