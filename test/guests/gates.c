/* Far transfers, gates, stack switches and returns in every ring (SDM vol. 3, 5.8, 6.12, 6.13; vol. 2 JMP, CALL, RET, IRET, INT n). */
#include "lib/rings.h"
static int is_code(u32 a) { return (a & 0x18) == 0x18; }
static int conforming(u32 a) { return (a & 0x1c) == 0x1c; }
static u8 stacks[4][256] __attribute__((aligned(16)));
static void set_stack(int n, u16 selector, u32 esp) { tss[1 + n * 2] = esp; tss[2 + n * 2] = selector; }
static void stacks_as_usual(void) { for (int n = 1; n < 3; n++) set_stack(n, data_selector(n), (u32)stacks[n] + sizeof stacks[n]); }
/* A far pointer at `param`. */
static void target(u32 offset, u16 selector) { param[0] = offset; param[1] = selector; }
SNIPPET(far_jmp, "nop", "ljmp *param");
SNIPPET(far_call, "nop", "lcall *param");
SNIPPET(far_call_args, "pushl $0x11111111\n pushl $0x22222222\n pushl $0x33333333", "lcall *param");
SNIPPET(landing, "nop", "nop");
SNIPPET(far_ret, "pushl param + 12\n pushl param + 8\n pushl param + 4\n pushl param", "lret");
SNIPPET(far_ret8, "pushl param + 12\n pushl param + 8\n pushl $0x77\n pushl $0x66\n pushl param + 4\n pushl param", "lret $8");
SNIPPET(int_ret, "pushl param + 16\n pushl param + 12\n pushl param + 8\n pushl param + 4\n pushl param", "iret");
SNIPPET(int_40, "nop", "int $0x40");

static u32 direct(int cpl, int rpl, u32 a, u32 sel) {
  int dpl = a >> 5 & 3;
  if (!(a & 0x10) || !is_code(a)) return VECTOR(13, sel);
  if (conforming(a) ? dpl > cpl : rpl > cpl || dpl != cpl) return VECTOR(13, sel);
  return a & 0x80 ? DONE : VECTOR(11, sel);
}
/* TSSs, call and task gates are other matters. */
static int is_transfer_type(u32 a) { u32 t = a & 0x1f; return t == 1 || t == 3 || t == 4 || t == 5 || t == 9 || t == 11 || t == 12; }
static void direct_transfers(void) {
  for (int call = 0; call < 2; call++) for (int cpl = 0; cpl < 4; cpl++) for (u32 a = 0; a < 256; a++) if (!is_transfer_type(a)) for (int rpl = 0; rpl < 4; rpl++) {
    table[X] = descriptor(0, 0xfffff, a, 12);
    target((u32)landing, X << 3 | rpl);
    const u8 *code = call ? far_call : far_jmp;
    u32 want = direct(cpl, rpl, a, X << 3), got = ring(cpl, code);
    EQUAL(got, want);
    EQUAL(access_of(X), a | (want == DONE));
    if (want != DONE) { EQUAL(seen.eip, (u32)(call ? far_call_at : far_jmp_at)); EQUAL(seen.cs, code_selector(cpl)); }
    else { EQUAL(seen.cs, X << 3 | cpl); EQUAL(seen.eip, (u32)landing_at + 3); }
    if (want == DONE && call && cpl) { EQUAL(seen.esp, top_of(cpl) - 8); EQUAL(((u32 *)top_of(cpl))[-1] & 0xffff, code_selector(cpl)); EQUAL(((u32 *)top_of(cpl))[-2], (u32)far_call_at + 6); }
  }
}
static void bad_targets(void) {
  for (int cpl = 0; cpl < 4; cpl++) {
    for (int n = 0; n < 4; n++) { target((u32)landing, n); FAULTS(cpl, far_jmp, 13, 0); FAULTS(cpl, far_call, 13, 0); }
    target((u32)landing, ENTRIES << 3 | cpl); FAULTS(cpl, far_jmp, 13, ENTRIES << 3); FAULTS(cpl, far_call, 13, ENTRIES << 3);
    target((u32)landing, 0x14 | cpl); FAULTS(cpl, far_jmp, 13, 0x14);
    /* EIP outside the limit: #GP(0), nothing pushed. */
    table[X] = descriptor(0, 0xfff, 0x9b | cpl << 5, 4);
    target(0x1000, X << 3 | cpl);
    DEVIATES(TCG) FAULTS(cpl, far_jmp, 13, 0);
    DEVIATES(TCG) { FAULTS(cpl, far_call, 13, 0); if (cpl) EQUAL(seen.esp, top_of(cpl)); }
  }
}
/* ---- call gates */
static u32 through_gate(int call, int cpl, int rpl, u32 gate_access, u32 code_access, u32 gate_sel, u32 code_sel) {
  int gate_dpl = gate_access >> 5 & 3, dpl = code_access >> 5 & 3;
  if (gate_dpl < cpl || gate_dpl < rpl) return VECTOR(13, gate_sel);
  if (!(gate_access & 0x80)) return VECTOR(11, gate_sel);
  if (!code_sel) return VECTOR(13, 0);
  if (!is_code(code_access) || dpl > cpl || (!call && !conforming(code_access) && dpl != cpl)) return VECTOR(13, code_sel);
  return code_access & 0x80 ? DONE : VECTOR(11, code_sel);
}
static void call_gates(void) {
  static const u32 codes[] = { 0x9b, 0xbb, 0xdb, 0xfb, 0x9f, 0xbf, 0xdf, 0xff, 0x1b, 0x7f, 0x93, 0xf3, 0x82, 0x8c, 0x99, 0x3b };
  stacks_as_usual();
  for (int call = 0; call < 2; call++) for (int cpl = 0; cpl < 4; cpl++) for (int rpl = 0; rpl < 4; rpl++) for (u32 g = 0; g < 8; g++) for (u32 k = 0; k < sizeof codes / 4; k++) {
    u32 gate_access = 0x0c | (g & 3) << 5 | (g & 4 ? 0x80 : 0), a = codes[k];
    table[X] = gate_to(Y << 3 | (k & 3), (u32)landing, gate_access, 0); table[Y] = descriptor(0, 0xfffff, a, 12);
    target(0xdeadbeef, X << 3 | rpl);                       /* the offset of the pointer is ignored */
    u32 want = through_gate(call, cpl, rpl, gate_access, a, X << 3, Y << 3), got = ring(cpl, call ? far_call : far_jmp);
    EQUAL(got, want);
    if (want != DONE) { EQUAL(seen.eip, (u32)(call ? far_call_at : far_jmp_at)); EQUAL(seen.cs, code_selector(cpl)); if (cpl) EQUAL(seen.esp, top_of(cpl)); continue; }
    int level = conforming(a) ? cpl : (int)(a >> 5 & 3);
    EQUAL(seen.cs, Y << 3 | level); EQUAL(seen.eip, (u32)landing_at + 3);
  }
  table[X] = gate_to(0, (u32)landing, 0xec, 0); target(0, X << 3); FAULTS(0, far_call, 13, 0); FAULTS(0, far_jmp, 13, 0);
  table[X] = gate_to(ENTRIES << 3, (u32)landing, 0xec, 0); FAULTS(0, far_call, 13, ENTRIES << 3);
  table[Y] = descriptor(0, 0xfff, 0x9b, 4); table[X] = gate_to(Y << 3, 0x1000, 0xec, 0);
  DEVIATES(TCG) FAULTS(0, far_call, 13, 0);
}
/* The stack of the inner ring: parameters, old SS:ESP, CS:EIP. */
SNIPPET(land_small, "nop", "nop");
static void stack_switch(void) {
  stacks_as_usual();
  for (int inner = 1; inner < 3; inner++) for (u32 n = 0; n < 4; n++) {
    table[X] = gate_to(code_selector(inner), (u32)landing, 0xec, n); target(0, X << 3 | 3);
    u32 *top = (u32 *)((u32)stacks[inner] + sizeof stacks[inner]);
    RUNS(3, far_call_args);
    EQUAL(seen.cs, code_selector(inner)); EQUAL(seen.ss, data_selector(inner)); EQUAL(seen.esp, (u32)top - 16 - n * 4);
    EQUAL(top[-1] & 0xffff, data_selector(3)); EQUAL(top[-2], top_of(3) - 12);
    for (u32 i = 0; i < n; i++) EQUAL(top[-3 - (int)i], 0x11111111 * (3 - n + 1 + i));
    EQUAL(top[-3 - (int)n] & 0xffff, code_selector(3)); EQUAL(top[-4 - (int)n], (u32)far_call_args_at + 6);
  }
  /* 31 parameters, and the high bits of the count are not part of it. */
  table[X] = gate_to(code_selector(1), (u32)landing, 0xec, 31); target(0, X << 3 | 3);
  RUNS(3, far_call_args); EQUAL(seen.esp, (u32)stacks[1] + sizeof stacks[1] - 16 - 124);
  table[X] = gate_to(code_selector(1), (u32)landing, 0xec, 0xe1); RUNS(3, far_call_args); EQUAL(seen.esp, (u32)stacks[1] + sizeof stacks[1] - 20);
  /* A 16-bit gate pushes words and jumps to 16 bits of offset: into a segment based at the landing. */
  table[Y] = descriptor((u32)landing - 0x40, 0xffff, 0xbb, 4);
  table[X] = gate_to(Y << 3 | 1, 0xffff0040, 0xe4, 2);
  RUNS(3, far_call_args);
  u16 *top = (u16 *)((u32)stacks[1] + sizeof stacks[1]);
  EQUAL(seen.cs, Y << 3 | 1); EQUAL(seen.esp, (u32)top - 12); EQUAL(top[-1], data_selector(3)); EQUAL(top[-2], (top_of(3) - 12) & 0xffff);
  EQUAL(top[-5], code_selector(3)); EQUAL(top[-6], ((u32)far_call_args_at + 6) & 0xffff); EQUAL(top[-4], 0x3333); EQUAL(top[-3], 0x3333);
}
/* What is wrong with an inner stack: the same answers for CALL through a gate, INT n and exceptions (with EXT). */
static const struct { u32 selector, access, flags, limit; u32 esp, vector, error; const char *what; } bad_stacks[] = {
  { 0, 0, 0, 0, 0, 10, 0, "null" }, { 1, 0, 0, 0, 0, 10, 0, "null with RPL" }, { Z << 3, 0xb3, 12, 0xfffff, 0, 10, Z << 3, "RPL" }, { Z << 3 | 2, 0xb3, 12, 0xfffff, 0, 10, Z << 3, "RPL" },
  { Z << 3 | 1, 0xd3, 12, 0xfffff, 0, 10, Z << 3, "DPL" }, { Z << 3 | 1, 0x93, 12, 0xfffff, 0, 10, Z << 3, "DPL" }, { Z << 3 | 1, 0xb1, 12, 0xfffff, 0, 10, Z << 3, "read only" }, { Z << 3 | 1, 0xbb, 12, 0xfffff, 0, 10, Z << 3, "code" },
  { Z << 3 | 1, 0xa2, 12, 0xfffff, 0, 10, Z << 3, "system" }, { ENTRIES << 3 | 1, 0, 0, 0, 0, 10, ENTRIES << 3, "beyond the GDT" }, { 0x15, 0, 0, 0, 0, 10, 0x14, "no LDT" },
  { Z << 3 | 1, 0x33, 12, 0xfffff, 0, 12, Z << 3, "not present" }, { Z << 3 | 1, 0x31, 12, 0xfffff, 0, 10, Z << 3, "read only before not present" },
  { Z << 3 | 1, 0xb3, 4, 0xff, 0x101, 12, Z << 3, "limit" }, { Z << 3 | 1, 0xb3, 4, 0xff, 8, 12, Z << 3, "limit from below" }, { Z << 3 | 1, 0xb7, 4, 0xffffff >> 4, 4, 12, Z << 3, "expand-down" },
};
static void for_bad_stacks(const u8 *code, const u8 *at, u32 ext) {
  for (u32 i = 0; i < sizeof bad_stacks / sizeof *bad_stacks; i++) {
    if (bad_stacks[i].access) table[Z] = descriptor(0, bad_stacks[i].limit, bad_stacks[i].access, bad_stacks[i].flags);
    set_stack(1, bad_stacks[i].selector, bad_stacks[i].esp ? bad_stacks[i].esp : (u32)stacks[1] + sizeof stacks[1]);
    if (bad_stacks[i].esp && (peer & TCG)) continue;                          /* TCG checks no limits */
    u32 got = ring(3, code);
    check(got == VECTOR(bad_stacks[i].vector, bad_stacks[i].error | ext), bad_stacks[i].what, got, VECTOR(bad_stacks[i].vector, bad_stacks[i].error | ext));
    EQUAL(seen.eip, (u32)at); EQUAL(seen.cs, code_selector(3)); EQUAL(seen.ss, data_selector(3)); EQUAL(seen.eflags & 0x10000, 0x10000);
  }
  stacks_as_usual();
  /* A TSS that ends in front of SS1 (SS1 is its bytes 16 and 17). */
  for (u32 limit = 12; limit < 20; limit++) {
    load_task(TASK, descriptor((u32)tss, limit, 0x89, 0));
    u32 got = ring(3, code), want = limit < 17 ? VECTOR(10, TASK << 3 | ext) : DONE;
    /* Bochs asks for the whole dword, as older editions of the manual do (TSSstackAddress + 7, now + 5). */
    DEVIATES(BOCHS) EQUAL(got, want);
  }
  load_task(TASK, descriptor((u32)tss, 103, 0x89, 0));
}
SNIPPET(undefined, "nop", "ud2");
static void gate_40(u32 selector, u32 offset, u32 access) { idt[0x40] = gate_to(selector, offset, access, 0); }
static void bad_inner_stacks(void) {
  table[X] = gate_to(code_selector(1), (u32)landing, 0xec, 0); target(0, X << 3 | 3);
  for_bad_stacks(far_call, far_call_at, 0);
  gate_40(code_selector(1), (u32)landing, 0xee);
  for_bad_stacks(int_40, int_40_at, 0);
}
SNIPPET(land_error, "add $0, %esp", "nop");
static void bad_inner_stacks_of_exceptions(void) {
  /* #UD handled in ring 1: what goes wrong there comes from outside of the program, EXT (6.13). */
  u64 old = idt[6];
  idt[6] = gate_to(code_selector(1), (u32)landing, 0x8e, 0);
  for_bad_stacks(undefined, undefined_at, 1);
  idt[6] = old;
}
/* ---- interrupt and trap gates */
static u32 through_idt(int cpl, u32 gate_access, u32 a, u32 sel) {
  u32 t = gate_access & 0x1f;
  int dpl = a >> 5 & 3;
  if (t != 6 && t != 7 && t != 14 && t != 15) return VECTOR(13, 0x40 * 8 + 2);
  if ((int)(gate_access >> 5 & 3) < cpl) return VECTOR(13, 0x40 * 8 + 2);
  if (!(gate_access & 0x80)) return VECTOR(11, 0x40 * 8 + 2);
  if (!is_code(a) || dpl > cpl) return VECTOR(13, sel);
  return a & 0x80 ? DONE : VECTOR(11, sel);
}
static void interrupt_gates(void) {
  static const u32 codes[] = { 0x9b, 0xbb, 0xdb, 0xfb, 0x9f, 0xbf, 0xdf, 0xff, 0x1b, 0x3b, 0x7f, 0x93, 0xf3, 0x82, 0x99, 0x00 };
  stacks_as_usual();
  for (int cpl = 0; cpl < 4; cpl++) for (u32 g = 0; g < 256; g++) {
    u32 t = g & 0x1f, a = codes[(g * 7 + cpl * 3) % 16];
    if (t == 5) continue;                                                     /* task gates */
    if ((t == 6 || t == 7) && (g & 0x80)) continue;                           /* 16-bit gates: below */
    for (u32 k = 0; k < (t == 14 || t == 15 ? 16u : 1u); k++) {
      if (t == 14 || t == 15) a = codes[k];
      table[Y] = descriptor(0, 0xfffff, a, 12);
      gate_40(Y << 3 | (g & 3), (u32)landing, g);
      u32 want = through_idt(cpl, g, a, Y << 3), got;
      ring_eflags = 0x202; got = ring(cpl, int_40); ring_eflags = 2;
      EQUAL(got, want);
      if (want != DONE) { EQUAL(seen.eip, (u32)int_40_at); EQUAL(seen.cs, code_selector(cpl)); EQUAL(seen.eflags & 0x200, 0x200); continue; }
      EQUAL(seen.cs, Y << 3 | (conforming(a) ? cpl : (int)(a >> 5 & 3)));
      EQUAL(seen.eflags & 0x10200, t == 15 ? 0x200 : 0);                      /* an interrupt gate clears IF */
    }
  }
  gate_40(0, (u32)landing, 0xee); FAULTS(0, int_40, 13, 0);
  gate_40(ENTRIES << 3, (u32)landing, 0xee); FAULTS(3, int_40, 13, ENTRIES << 3);
  table[Y] = descriptor(0, 0xfff, 0x9b, 4); gate_40(Y << 3, 0x1000, 0xee);
  DEVIATES(TCG) FAULTS(0, int_40, 13, 0);
}
static void gates16(void) {
  table[Y] = descriptor((u32)landing - 0x40, 0xffff, 0xbb, 4);
  for (u32 t = 6; t < 8; t++) {
    gate_40(Y << 3 | 1, 0xffff0040, 0xe0 | t);
    ring_eflags = 0xa02; RUNS(3, int_40); ring_eflags = 2;
    u16 *top = (u16 *)((u32)stacks[1] + sizeof stacks[1]);
    EQUAL(seen.cs, Y << 3 | 1); EQUAL(seen.esp, (u32)top - 10); EQUAL(seen.eflags & 0x200, t == 7 ? 0x200 : 0);
    EQUAL(top[-1], data_selector(3)); EQUAL(top[-2], top_of(3) & 0xffff); EQUAL(top[-3] & 0xf00, 0xa00); EQUAL(top[-4], code_selector(3)); EQUAL(top[-5], ((u32)int_40_at + 2) & 0xffff);
  }
}
static void idt_limit(void) {
  for (u32 limit = 0x40 * 8 - 1; limit < 0x40 * 8 + 8; limit++) {
    /* Vectors 13 and 11 stay inside; 80h does not, so the landing is told apart by its breakpoint. */
    struct { u16 limit; u32 base; } __attribute__((packed)) i = { limit, (u32)idt };
    gate_40(code_selector(0), (u32)landing, 0xee);
    asm volatile("lidt %0" : : "m"(i));
    u32 got = ring(3, int_40);
    EQUAL(got, limit < 0x40 * 8 + 7 ? VECTOR(13, 0x40 * 8 + 2) : VECTOR(13, 0x80 * 8 + 2));
  }
  struct { u16 limit; u32 base; } __attribute__((packed)) i = { sizeof idt - 1, (u32)idt };
  asm volatile("lidt %0" : : "m"(i));
}
/* ---- RETF and IRET to the same and to outer rings */
static u32 far_return(int cpl, int rpl, u32 a, u32 sel) {
  int dpl = a >> 5 & 3;
  if (rpl < cpl || !is_code(a)) return VECTOR(13, sel);
  if (conforming(a) ? dpl > rpl : dpl != rpl) return VECTOR(13, sel);
  return a & 0x80 ? DONE : VECTOR(11, sel);
}
static void returns(void) {
  for (int iret = 0; iret < 2; iret++) for (int cpl = 0; cpl < 4; cpl++) for (u32 a = 0; a < 256; a++) for (int rpl = 0; rpl < 4; rpl++) {
    table[X] = descriptor(0, 0xfffff, a, 12);
    u32 want = far_return(cpl, rpl, a, X << 3);
    param[0] = (u32)landing; param[1] = X << 3 | rpl | 0xabcd0000;            /* the upper half of the slot is not looked at */
    u32 *rest = param + 2;
    if (iret) *rest++ = 0x2;
    rest[0] = top_of(rpl) - 64; rest[1] = data_selector(rpl);
    u32 got = ring(cpl, iret ? int_ret : far_ret);
    EQUAL(got, want);
    if (want != DONE) { EQUAL(seen.eip, (u32)(iret ? int_ret_at : far_ret_at)); EQUAL(seen.cs, code_selector(cpl)); if (cpl) EQUAL(seen.esp, top_of(cpl) - (iret ? 20 : 16)); continue; }
    EQUAL(seen.cs, X << 3 | rpl); EQUAL(access_of(X), a | 1);
    if (rpl > cpl) { EQUAL(seen.esp, top_of(rpl) - 64); EQUAL(seen.ss, data_selector(rpl)); }
    else if (cpl) EQUAL(seen.esp, top_of(cpl) - 8);
  }
}
static void outer_stacks(void) {
  /* From ring 0 to ring 3: the SS on the stack. */
  for (int iret = 0; iret < 2; iret++) for (u32 a = 0; a < 256; a++) for (int rpl = 0; rpl < 4; rpl++) {
    table[Z] = (a & 0x1c) == 0x14 ? descriptor(0, 0, a, 4) : descriptor(0, 0xfffff, a, 12);
    param[0] = (u32)landing; param[1] = code_selector(3);
    u32 *rest = param + 2;
    if (iret) *rest++ = 0x2;
    rest[0] = top_of(3) - 64; rest[1] = Z << 3 | rpl;
    u32 want = rpl != 3 || !(a & 0x10) || is_code(a) || !(a & 2) || (a >> 5 & 3) != 3 ? VECTOR(13, Z << 3) : a & 0x80 ? DONE : VECTOR(12, Z << 3);
    /* Bochs: #NP from IRET. */
    DEVIATES(iret ? BOCHS : 0) EQUAL(ring(0, iret ? int_ret : far_ret), want);
    if (want != DONE) EQUAL(seen.eip, (u32)(iret ? int_ret_at : far_ret_at)); else EQUAL(seen.ss, Z << 3 | 3);
  }
  for (int iret = 0; iret < 2; iret++) for (u32 n = 0; n < 4; n++) {
    param[0] = (u32)landing; param[1] = code_selector(3);
    param[iret ? 4 : 3] = n; param[2] = 2;
    EQUAL(ring(0, iret ? int_ret : far_ret), VECTOR(13, 0));                  /* null SS */
    param[1] = n; EQUAL(ring(0, iret ? int_ret : far_ret), VECTOR(13, 0));    /* null CS */
  }
  /* RETF n takes the parameters from both stacks. */
  param[0] = (u32)landing; param[1] = code_selector(3); param[2] = top_of(3) - 64; param[3] = data_selector(3);
  RUNS(0, far_ret8); EQUAL(seen.esp, top_of(3) - 56);
  RUNS(3, far_ret8); EQUAL(seen.esp, top_of(3) - 8);
  /* EIP beyond the limit of the new CS. */
  table[X] = descriptor(0, 0xfff, 0xfb, 4); param[0] = 0x1000; param[1] = X << 3 | 3;
  DEVIATES(TCG) FAULTS(0, far_ret, 13, 0);
}
/* Data segments that the outer ring may not have are null behind the return (5.8.6); those it may have, and conforming code, stay. */
SNIPPET(ret_with_segments, "mov $0x10, %eax\n mov %ax, %ds\n mov %ax, %es\n mov param + 20, %eax\n mov %ax, %fs\n mov param + 24, %eax\n mov %ax, %gs\n pushl param + 12\n pushl param + 8\n pushl param + 4\n pushl param", "lret");
SNIPPET(land_bare, "nop", "nop");
static void segments_dropped(void) {
  param[0] = (u32)land_bare; param[1] = code_selector(3); param[2] = top_of(3) - 64; param[3] = data_selector(3);
  table[X] = descriptor(0, 0xfffff, 0x9f, 12); table[Y] = descriptor(0, 0xfffff, 0xf3, 12);
  param[5] = X << 3; param[6] = Y << 3 | 3;
  RUNS(0, ret_with_segments);
  EQUAL(seen.ds & 0xfffc, 0); EQUAL(seen.es & 0xfffc, 0); EQUAL(seen.fs & 0xffff, X << 3); EQUAL(seen.gs & 0xffff, Y << 3 | 3);
  table[X] = descriptor(0, 0xfffff, 0xd3, 12); table[Y] = descriptor(0, 0xfffff, 0x9b, 12);
  param[5] = X << 3; param[6] = Y << 3;
  RUNS(0, ret_with_segments); EQUAL(seen.fs & 0xfffc, 0); EQUAL(seen.gs & 0xfffc, 0);
}
/* ---- EFLAGS by IRET and POPF: which bits change at which CPL and IOPL */
SNIPPET(flags_iret, "pushl param\n push %cs\n push $1f", "iret\n1:");
SNIPPET(flags_popf, "pushl param", "popf");
SNIPPET(flags_popfw, "pushw param", "popfw");
static void flag_rights(void) {
  static const u32 values[] = { 0, 0x3e7ed7, 0x47ed7 & ~0x100u, 0x200, 0x3000, 0x4000, 0x40000, 0x200000, 0x1000, 0x180000 };
  for (int how = 0; how < 3; how++) for (int cpl = 0; cpl < 4; cpl++) for (u32 iopl = 0; iopl < 4; iopl++) for (u32 before = 0; before < 2; before++) for (u32 i = 0; i < sizeof values / 4; i++) {
    u32 old = 2 | iopl << 12 | before << 9, v = (values[i] & ~0x30100u) | 2;
    if (cpl == 0 && how == 0) v &= ~0x20000u;
    ring_eflags = old;
    param[0] = v;
    u32 got = ring(cpl, how == 0 ? flags_iret : how == 1 ? flags_popf : flags_popfw);
    ring_eflags = 2;
    EQUAL(got, DONE);
    u32 mask = 0x4cd5 | (how < 2 ? 0x240000 : 0) | (cpl == 0 ? 0x3000 : 0) | (cpl <= (int)iopl ? 0x200 : 0);
    EQUAL(seen.eflags & 0x267ed7, ((old & ~mask) | (v & mask)) & 0x267ed7);
  }
}
/* NT: IRET looks for the task to return to, in every ring; INT clears it, and the gate's handler sees it in the image. */
static void nested_task(void) {
  tss[0] = 0;
  for (int cpl = 0; cpl < 4; cpl++) {
    ring_eflags = 0x4002;
    param[0] = (u32)landing; param[1] = code_selector(cpl); param[2] = 2;
    FAULTS(cpl, int_ret, 10, 0);                                              /* null back link: #TS */
    tss[0] = DATA0 << 3; FAULTS(cpl, int_ret, 10, DATA0 << 3);
    tss[0] = TASK2 << 3; table[TASK2] = descriptor((u32)tss, 103, 0x89, 0); FAULTS(cpl, int_ret, 10, TASK2 << 3);    /* not busy */
    tss[0] = 0x0c; FAULTS(cpl, int_ret, 10, 0x0c);
    tss[0] = 0;
    RUNS(cpl, landing); EQUAL(seen.eflags & 0x4000, 0x4000);
    ring_eflags = 2;
  }
  u32 now; asm volatile("pushf\n pop %0" : "=r"(now)); EQUAL(now & 0x4000, 0);
}
/* INT3, INTO and INT 3 ask for the DPL of the gate, INT1 does not (vol. 2 INT). */
SNIPPET(bp, "nop", "int3"); SNIPPET(overflow, "push $0x802\n popf", "into"); SNIPPET(no_overflow, "push $2\n popf", "into"); SNIPPET(icebp, "nop", ".byte 0xf1"); SNIPPET(int_3, "nop", ".byte 0xcd, 3");
static void software(void) {
  FAULTS(3, bp, 13, 3 * 8 + 2); FAULTS(3, int_3, 13, 3 * 8 + 2); FAULTS(3, overflow, 13, 4 * 8 + 2); RUNS(3, no_overflow);
  EQUAL(ring(3, icebp), VECTOR(1, 0)); EQUAL(seen.eip, (u32)icebp_at + 1);
  gate(3, 0xee); gate(4, 0xee);
  EQUAL(ring(3, bp), VECTOR(3, 0)); EQUAL(seen.eip, (u32)bp_at + 1); EQUAL(seen.eflags & 0x10000, 0);
  EQUAL(ring(3, int_3), VECTOR(3, 0)); EQUAL(seen.eip, (u32)int_3_at + 2);
  EQUAL(ring(3, overflow), VECTOR(4, 0)); EQUAL(seen.eip, (u32)overflow_at + 1);
  gate(3, 0x8e); gate(4, 0x8e);
}
const struct test tests[] = { { "all four rings", rings_init }, { "JMP and CALL to every type, DPL, RPL, CPL", direct_transfers, TCG }, { "null, outside, beyond the limit", bad_targets, TCG }, { "call gates: every privilege", call_gates, TCG }, { "stack switch and parameters", stack_switch, TCG },
  { "inner stacks that are none: CALL and INT", bad_inner_stacks, TCG }, { "inner stacks that are none: exceptions, EXT", bad_inner_stacks_of_exceptions, TCG }, { "interrupt and trap gates", interrupt_gates }, { "16-bit interrupt and trap gates", gates16, TCG }, { "limit of the IDT", idt_limit, TCG },
  { "RETF and IRET to every type, DPL, RPL, CPL", returns, TCG }, { "the outer stack of RETF and IRET", outer_stacks, TCG }, { "segments an outer ring may not keep", segments_dropped }, { "EFLAGS by CPL and IOPL", flag_rights }, { "NT", nested_task }, { "INT3 INTO INT1", software, TCG }, { 0, 0 } };
