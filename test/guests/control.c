/* Control registers, MSRs, CPUID and what they switch; I/O permission; privileged instructions by ring (SDM vol. 3 chapters 2, 5.9, 6.15; vol. 1 19.5). */
#include "lib/rings.h"
static u32 leaf(u32 n, int which) { u32 r[4]; asm volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "0"(n), "2"(0)); return r[which]; }
enum { EAX_, EBX_, ECX_, EDX_ };
static u32 max_leaf(void) { return leaf(0, EAX_); }
static int has(u32 n, int which, int bit) { return (n & 0x7fffffff) <= (n >> 31 ? leaf(0x80000000, EAX_) & 0x7fffffff : max_leaf()) && leaf(n, which) >> bit & 1; }
#define SSE has(1, EDX_, 25)
static u8 image[512] __attribute__((aligned(16)));

static void cr0_bits(void) {
  u32 old = cr0(), v;
  /* TCG takes it, and is lost. */
  if (!(peer & TCG)) { TRY("mov %0, %%cr0", : : "r"((old & ~1u) | 0x80000000) : "memory"); EXPECT(13, 0); }      /* PG without PE */
  DEVIATES(TCG) { TRY("mov %0, %%cr0", : : "r"((old & ~0x40000000u) | 0x20000000) : "memory"); EXPECT(13, 0); }  /* NW without CD */
  set_cr0(old);
  TRY("mov %0, %%cr0", : : "r"(old | 0x1ffaffc0) : "memory"); EXPECT_NONE();               /* reserved bits are not kept */
  DEVIATES(TCG) EQUAL(cr0(), old | 0x10);
  set_cr0(old & ~0x10u); DEVIATES(TCG) EQUAL(cr0() & 0x10, 0x10);                            /* ET is one */
  set_cr0(old);
  for (u32 w = 0; w < 16; w++) {
    asm volatile("lmsw %w0" : : "r"(w | 0xfff0) : "memory");
    v = cr0(); EQUAL(v & 15, w | 1); EQUAL(v & ~15u, old & ~15u);                          /* LMSW sets PE, never clears it */
    asm volatile("smsw %0" : "=r"(v)); EQUAL(v, cr0());
    u32 half = 0x12345678; asm volatile("smsw %w0" : "+r"(half)); EQUAL(half, 0x12340000 | (cr0() & 0xffff));
    u32 memory = 0x12345678; asm volatile("smsw %0" : "+m"(memory)); EQUAL(memory, half);
    asm volatile("clts"); EQUAL(cr0() & 15, (w | 1) & ~8u);
  }
  set_cr0(old);
}
/* Table 2-2 and the exceptions of each class: EM, MP, TS and CR4.OSFXSR decide between #UD, #NM and nothing, in that order. */
enum { NM = 7, UD = 6 };
#define ASK(insn, want) do { u32 a_ = 0; TRY(insn, : "+a"(a_) : "r"(image) : "memory"); u32 w_ = (want); if (w_) EXPECT(w_, 0); else EXPECT_NONE(); } while (0)
static void coprocessor(void) {
  u32 old0 = cr0(), old4 = cr4();
  for (u32 i = 0; i < 16; i++) {
    int em = i & 1, mp = i >> 1 & 1, ts = i >> 2 & 1, os = i >> 3 & 1;
    if (os && !has(1, EDX_, 24)) break;
    set_cr4((old4 & ~0x200u) | os << 9);
    set_cr0(old0 & ~14u); asm volatile("fninit");
    set_cr0((old0 & ~14u) | em << 2 | mp << 1 | ts << 3 | 0x20);
    ASK("fnop", em || ts ? NM : 0); ASK("fnstsw %%ax", em || ts ? NM : 0); ASK("fnstcw (%1)", em || ts ? NM : 0); ASK("flds (%1)\n", em || ts ? NM : 0);
    ASK("fwait", mp && ts ? NM : 0);
    ASK("fninit", em || ts ? NM : 0);
    if (has(1, EDX_, 23)) { ASK("movd %%eax, %%mm0", em ? UD : ts ? NM : 0); ASK("emms", em ? UD : ts ? NM : 0); }
    if (has(1, EDX_, 24)) ASK("fxsave (%1)", em || ts ? NM : 0);
    if (SSE) {
      u32 want = em || !os ? UD : ts ? NM : 0;
      ASK("xorps %%xmm0, %%xmm0", want); ASK("movaps (%1), %%xmm1", want); ASK("stmxcsr (%1)", want); ASK("movaps 1(%1), %%xmm1", want ? want : 13);
      ASK("prefetcht0 (%1)", 0); ASK("sfence", 0);
    }
    if (has(1, EDX_, 26)) { ASK("movnti %%eax, (%1)", 0); ASK("lfence", 0); ASK("pause", 0); }
    if (has(1, EDX_, 23) && !em && !ts) asm volatile("emms");
  }
  set_cr0(old0); set_cr4(old4);
}
static void float_errors(void) {
  u32 old0 = cr0(), old4 = cr4(), control = 0x37b;      /* #Z is unmasked */
  set_cr0((old0 & ~12u) | 0x22); if (SSE) set_cr4(old4 | 0x600);
  asm volatile("fninit\n fldcw %0\n fld1\n fldz\n fdivrp" : : "m"(control));
  TRY("fnstsw %%ax", ::: "eax", "memory"); EXPECT_NONE();
  TRY("fld1", ::: "memory"); EXPECT(16, 0);
  TRY("fwait", ::: "memory"); EXPECT(16, 0);
  if (has(1, EDX_, 23)) { TRY("emms", ::: "memory"); EXPECT(16, 0); }
  asm volatile("fnclex"); TRY("fwait", ::: "memory"); EXPECT_NONE();
  asm volatile("fninit");
  if (SSE) {
    u32 mxcsr = 0x1d80, usual = 0x1f80;
    asm volatile("ldmxcsr %0\n xorps %%xmm0, %%xmm0" : : "m"(mxcsr));
    static const float one[4] __attribute__((aligned(16))) = { 1, 1, 1, 1 };
    asm volatile("movaps %0, %%xmm1" : : "m"(one));
    TRY("divps %%xmm0, %%xmm1", ::: "memory"); EXPECT(19, 0);
    set_cr4(cr4() & ~0x400u);
    DEVIATES(TCG) { TRY("divps %%xmm0, %%xmm1", ::: "memory"); EXPECT(6, 0); }         /* without OSXMMEXCPT */
    asm volatile("ldmxcsr %0" : : "m"(usual));
    TRY("divps %%xmm0, %%xmm1", ::: "memory"); EXPECT_NONE();
    u32 reserved = 0x10000; TRY("ldmxcsr %0", : : "m"(reserved) : "memory"); EXPECT(13, 0);
  }
  set_cr0(old0); set_cr4(old4);
}
static void cr4_bits(void) {
  /* Bit, CPUID leaf, register, bit of the feature. */
  static const struct { u8 bit; u32 leaf; u8 reg, feature; } bits[] = { { 0, 1, EDX_, 1 }, { 1, 1, EDX_, 1 }, { 2, 1, EDX_, 4 }, { 3, 1, EDX_, 2 }, { 4, 1, EDX_, 3 }, { 5, 1, EDX_, 6 }, { 6, 1, EDX_, 7 }, { 7, 1, EDX_, 13 },
    { 9, 1, EDX_, 24 }, { 10, 1, EDX_, 25 }, { 11, 7, ECX_, 2 }, { 13, 1, ECX_, 5 }, { 14, 1, ECX_, 6 }, { 16, 7, EBX_, 0 }, { 18, 1, ECX_, 26 }, { 20, 7, EBX_, 7 }, { 21, 7, EBX_, 20 } };
  u32 old = cr4();
  for (u32 i = 0; i < sizeof bits / sizeof *bits; i++) {
    int announced = has(bits[i].leaf, bits[i].reg, bits[i].feature);
    if (!announced && peer & TCG) continue;                                              /* TCG takes all */
    TRY("mov %0, %%cr4", : : "r"(old | 1u << bits[i].bit) : "memory");
    if (announced) { EXPECT_NONE(); EQUAL(cr4(), old | 1u << bits[i].bit); }
    else { EXPECT(13, 0); EQUAL(cr4(), old); }
    set_cr4(old);
  }
  if (peer & TCG) return;
  for (u32 bit = 25; bit < 32; bit++) { TRY("mov %0, %%cr4", : : "r"(old | 1u << bit) : "memory"); DEVIATES(TCG) EXPECT(13, 0); EQUAL(cr4(), old); }
  TRY("mov %0, %%cr4", : : "r"(old | 0x8000) : "memory"); DEVIATES(TCG) EXPECT(13, 0);
  set_cr4(old);
}
SNIPPET(to_cr1, "nop", ".byte 0x0f, 0x22, 0xc8"); SNIPPET(from_cr5, "nop", ".byte 0x0f, 0x20, 0xe8"); SNIPPET(from_cr7, "nop", ".byte 0x0f, 0x20, 0xf8"); SNIPPET(to_cr6, "nop", ".byte 0x0f, 0x22, 0xf0");
static void no_such_register(void) { for (int r = 0; r < 4; r++) { FAULTS(r, to_cr1, 6, 0); FAULTS(r, from_cr5, 6, 0); FAULTS(r, from_cr7, 6, 0); FAULTS(r, to_cr6, 6, 0); } }
/* ---- by ring: #GP(0) outside of ring 0, before anything else is looked at */
#define PRIVILEGED(X) X(hlt, "hlt") X(clts, "clts") X(invd, "invd") X(wbinvd, "wbinvd") X(lgdt, "lgdt 0xfffff000") X(lidt, "lidt 0xfffff000") X(lmsw, "lmsw %ax") X(lldt, "lldt %ax") X(ltr, "ltr %ax") X(from_cr0, "mov %cr0, %eax") X(to_cr3, "mov %eax, %cr3") X(to_cr4, "mov %eax, %cr4") \
  X(from_dr0, "mov %dr0, %eax") X(to_dr7, "mov %eax, %dr7") X(invlpg, "invlpg 0xfffff000") X(rdmsr, "rdmsr") X(wrmsr, "wrmsr")
#define MAKE(name, insn) SNIPPET(p_##name, "mov $0x10, %eax\n xor %ecx, %ecx", insn);
PRIVILEGED(MAKE)
static void privileged(void) {
#define ASK_RING(name, insn) FAULTS(r, p_##name, 13, 0);
  for (int r = 1; r < 4; r++) { for (u32 iopl = 0; iopl < 4; iopl += 3) { ring_eflags = 2 | iopl << 12; PRIVILEGED(ASK_RING) ring_eflags = 2; } }
}
SNIPPET(r_cli, "nop", "cli"); SNIPPET(r_sti, "nop", "sti"); SNIPPET(r_in, "nop", "in $0x80, %al");
static void interrupt_flag(void) {
  for (int r = 0; r < 4; r++) for (u32 iopl = 0; iopl < 4; iopl++) {
    int may = r <= (int)iopl;
    ring_eflags = 0x202 | iopl << 12; if (may) { RUNS(r, r_cli); EQUAL(seen.eflags & 0x200, 0); RUNS(r, r_in); } else { FAULTS(r, r_cli, 13, 0); EQUAL(seen.eflags & 0x200, 0x200); FAULTS(r, r_in, 13, 0); }
    ring_eflags = 2 | iopl << 12; if (may) { RUNS(r, r_sti); EQUAL(seen.eflags & 0x200, 0x200); } else FAULTS(r, r_sti, 13, 0);
    ring_eflags = 2;
  }
}
/* ---- the I/O permission bitmap */
static struct { u32 tss[26]; u8 map[8194]; } __attribute__((packed)) io __attribute__((aligned(4096)));
#define PORT(name, insn) SNIPPET(name, "mov param, %edx\n lea param + 16, %edi\n lea param + 16, %esi", insn)
PORT(in1, "in %dx, %al"); PORT(in2, "in %dx, %ax"); PORT(in4, "in %dx, %eax"); PORT(out1, "out %al, %dx"); PORT(out2, "out %ax, %dx"); PORT(out4, "out %eax, %dx"); PORT(ins1, "insb"); PORT(ins2, "insw"); PORT(ins4, "insl"); PORT(outs1, "outsb"); PORT(outs2, "outsw"); PORT(outs4, "outsl");
static const struct { u32 bytes; const u8 *code, *at; } port_ops[] = { { 1, in1, in1_at }, { 2, in2, in2_at }, { 4, in4, in4_at }, { 1, out1, out1_at }, { 2, out2, out2_at }, { 4, out4, out4_at }, { 1, ins1, ins1_at }, { 2, ins2, ins2_at }, { 4, ins4, ins4_at }, { 1, outs1, outs1_at }, { 2, outs2, outs2_at }, { 4, outs4, outs4_at } };
static void io_task(u32 map, u32 limit) {
  io.tss[1] = tss[1]; io.tss[2] = 0x10; io.tss[25] = map << 16;
  load_task(TASK, descriptor((u32)&io, limit, 0x89, 0));
}
/* The rings switch stacks through this TSS: its ESP0 has to follow. */
static u32 with_io(int r, const u8 *code) {
  u32 here; asm volatile("mov %%esp, %0" : "=r"(here)); io.tss[1] = here - 512;
  return ring(r, code);
}
static void ask_port(int i, u32 port, int may) {
  param[0] = port;
  u32 got = with_io(3, port_ops[i].code);
  EQUAL(got, may ? DONE : VECTOR(13, 0));
  if (!may) EQUAL(seen.eip, (u32)port_ops[i].at);
}
static void io_bits(void) {
  memset(io.map, 0xff, sizeof io.map);
  io_task(104, sizeof io - 1);
  for (int i = 0; i < 12; i++) for (u32 port = 0xe2; port < 0xec; port++) {
    u32 n = port_ops[i].bytes;
    for (u32 b = 0; b < n; b++) io.map[(port + b) >> 3] &= ~(1u << ((port + b) & 7));
    ask_port(i, port, 1);
    for (u32 b = 0; b < n; b++) { io.map[(port + b) >> 3] |= 1u << ((port + b) & 7); ask_port(i, port, 0); io.map[(port + b) >> 3] &= ~(1u << ((port + b) & 7)); }
    memset(io.map, 0xff, sizeof io.map);
  }
}
static void io_limits(void) {
  memset(io.map, 0, sizeof io.map);
  /* Two bytes are read, always: the one behind the port's must be inside the limit too (vol. 1, 19.5.2). */
  for (int i = 0; i < 12; i++) for (u32 limit = 104 + 0x1c - 2; limit < 104 + 0x1c + 3; limit++) { io_task(104, limit); ask_port(i, 0xe4, limit >= 104 + 0x1c + 1); }
  for (u32 map = 104; map < 200; map += 31) for (u32 d = 0; d < 4; d++) { io_task(map, map + 0x1c + d - 1); ask_port(0, 0xe7, d >= 2); }
  /* A bitmap that starts at or behind the limit is none; a TSS without room for its address has none. */
  io_task(0xffff, sizeof io - 1); ask_port(0, 0xe4, 0);
  io_task(sizeof io, sizeof io - 1); ask_port(0, 0xe4, 0);
  for (u32 limit = 100; limit < 103; limit++) { io_task(0, limit); ask_port(0, 0xe4, 0); }
  /* Whose I/O is the last bytes of the space. */
  io_task(104, 104 + 8192); ask_port(0, 0xffff, 1);
  io_task(104, 104 + 8191); ask_port(0, 0xffff, 0); ask_port(0, 0xfff7, 1);
  /* CPL at most IOPL does not look; rings 1 and 2 do like ring 3. */
  memset(io.map, 0xff, sizeof io.map); io_task(104, sizeof io - 1); param[0] = 0xe4;
  for (int r = 1; r < 4; r++) for (u32 iopl = 0; iopl < 4; iopl++) { ring_eflags = 2 | iopl << 12; EQUAL(with_io(r, in1), r <= (int)iopl ? DONE : VECTOR(13, 0)); ring_eflags = 2; }
  load_task(TASK, descriptor((u32)tss, 103, 0x89, 0));
}
/* ---- MSRs */
static void msrs(void) {
  static const u32 unknown[] = { 0x12345678, 0x7fffffff, 0xdeadbeef, 0x00000300, 0xc0ffffff };
  for (u32 i = 0; i < sizeof unknown / 4; i++) {
    u32 a = 0x11111111, d = 0x22222222;
    TRY("rdmsr", : "+a"(a), "+d"(d) : "c"(unknown[i]) : "memory"); EXPECT(13, 0); EQUAL(a, 0x11111111); EQUAL(d, 0x22222222);
    TRY("wrmsr", : : "c"(unknown[i]), "a"(0), "d"(0) : "memory"); EXPECT(13, 0);
  }
  if (has(0x80000001, EDX_, 20)) {
    u64 efer = rdmsr(0xc0000080);
    for (int bit = 1; bit < 8; bit++) { TRY("wrmsr", : : "c"(0xc0000080), "a"((u32)efer | 1u << bit), "d"(0) : "memory"); EXPECT(13, 0); }
    TRY("wrmsr", : : "c"(0xc0000080), "a"((u32)efer), "d"(1) : "memory"); EXPECT(13, 0);
    TRY("wrmsr", : : "c"(0xc0000080), "a"((u32)efer ^ 0x800), "d"(0) : "memory"); EXPECT_NONE();
    CHECK(rdmsr(0xc0000080) == (efer ^ 0x800)); wrmsr(0xc0000080, (u32)efer, 0);
    if (!has(0x80000001, EDX_, 29)) { TRY("wrmsr", : : "c"(0xc0000080), "a"((u32)efer | 0x100), "d"(0) : "memory"); EXPECT(13, 0); }
  }
  if (has(1, EDX_, 12)) {
    TRY("wrmsr", : : "c"(0x2ff), "a"(2), "d"(0) : "memory"); EXPECT(13, 0);            /* memory types 2 and 3 are reserved */
    TRY("wrmsr", : : "c"(0x250), "a"(3), "d"(0) : "memory"); EXPECT(13, 0);
    TRY("wrmsr", : : "c"(0xfe), "a"(0), "d"(0) : "memory"); EXPECT(13, 0);             /* read only */
  }
  if (has(1, EDX_, 16)) { TRY("wrmsr", : : "c"(0x277), "a"(2), "d"(0) : "memory"); EXPECT(13, 0); }
}
SNIPPET(r_rdtsc, "nop", "rdtsc"); SNIPPET(r_rdpmc, "mov param, %ecx", "rdpmc");
static void counters(void) {
  u32 old = cr4();
  for (int tsd = 0; tsd < 2; tsd++) { set_cr4((old & ~4u) | tsd << 2); RUNS(0, r_rdtsc); for (int r = 1; r < 4; r++) if (tsd) FAULTS(r, r_rdtsc, 13, 0); else RUNS(r, r_rdtsc); }
  set_cr4(old & ~0x100u);
  param[0] = 0x12345678;
  DEVIATES(TCG) {
    FAULTS(0, r_rdpmc, 13, 0); for (int r = 1; r < 4; r++) FAULTS(r, r_rdpmc, 13, 0);
    set_cr4(old | 0x100); for (int r = 0; r < 4; r++) FAULTS(r, r_rdpmc, 13, 0);            /* no such counter */
  }
  if (max_leaf() >= 10 && (leaf(10, EAX_) & 0xff) >= 2 && (leaf(10, EDX_) & 31)) {
    param[0] = 0x40000000;
    set_cr4(old & ~0x100u);
    DEVIATES(BOCHS) RUNS(0, r_rdpmc);                                                    /* Bochs announces counters and has none */
    if (peer & BOCHS) { set_cr4(old); return; }
    for (int r = 1; r < 4; r++) FAULTS(r, r_rdpmc, 13, 0);
    set_cr4(old | 0x100); for (int r = 0; r < 4; r++) RUNS(r, r_rdpmc);
    u32 a, b, d; asm volatile("rdpmc\n mov %%eax, %1\n rdpmc" : "=a"(b), "=&r"(a), "=d"(d) : "c"(0x40000000)); CHECK(b != a); CHECK(d < 0x10000);
  }
  set_cr4(old);
}
SNIPPET(r_rdrand, "nop", "rdrand %eax");
static void random(void) {
  if (!has(1, ECX_, 30)) { skip("no RDRAND"); return; }
  u32 last = 0, same = 0, ones = 0, zeros = 0;
  for (int i = 0; i < 100; i++) {
    u32 v, flags; asm volatile("stc\n rdrand %0\n pushf\n pop %1" : "=r"(v), "=r"(flags) : : "cc");
    EQUAL(flags & 0x8d5, 1); same += v == last; last = v; ones |= v; zeros |= ~v;
  }
  EQUAL(same, 0); EQUAL(ones, 0xffffffff); EQUAL(zeros, 0xffffffff);
  u32 half = 0xabcd0000; asm volatile("rdrand %w0" : "+r"(half) : : "cc"); EQUAL(half & 0xffff0000, 0xabcd0000);
  TRY(".byte 0xf0, 0x0f, 0xc7, 0xf0", ::: "eax", "memory"); EXPECT(6, 0);
  for (int r = 1; r < 4; r++) RUNS(r, r_rdrand);
}
SNIPPET(u_sgdt, "nop", "sgdt param + 16"); SNIPPET(u_sidt, "nop", "sidt param + 16"); SNIPPET(u_sldt, "nop", "sldt %eax"); SNIPPET(u_str, "nop", "str %eax"); SNIPPET(u_smsw, "nop", "smsw %eax"); SNIPPET(u_sgdt_bad, "xor %eax, %eax\n mov %ax, %fs", "sgdt %fs:0");
static void umip(void) {
  if (!has(7, ECX_, 2)) { skip("no UMIP"); return; }
  u32 old = cr4();
  static const struct { const u8 *code, *at; } five[] = { { u_sgdt, u_sgdt_at }, { u_sidt, u_sidt_at }, { u_sldt, u_sldt_at }, { u_str, u_str_at }, { u_smsw, u_smsw_at } };
  for (int on = 0; on < 2; on++) {
    set_cr4((old & ~0x800u) | on << 11);
    for (int r = 0; r < 4; r++) for (u32 i = 0; i < 5; i++) { EQUAL(ring(r, five[i].code), on && r ? VECTOR(13, 0) : DONE); if (on && r) EQUAL(seen.eip, (u32)five[i].at); }
  }
  set_cr4(old);
  u8 at[6]; RUNS(3, u_sgdt); memcpy(at, param + 4, 6); EQUAL(at[0] | at[1] << 8, sizeof table - 1); EQUAL(*(u32 *)((u8 *)param + 18), (u32)table);
}
/* ---- alignment checks */
SNIPPET(ac_word, "push $0x40002\n popf", "movw param + 1, %ax"); SNIPPET(ac_dword, "push $0x40002\n popf", "movl %eax, param + 34"); SNIPPET(ac_byte, "push $0x40002\n popf", "movb param + 1, %al"); SNIPPET(ac_good, "push $0x40002\n popf", "movl param + 4, %eax"); SNIPPET(ac_push, "push $0x40002\n popf\n sub $2, %esp", "push %eax");
SNIPPET(ac_quad, "push $0x40002\n popf", "fldl param + 20"); SNIPPET(ac_off, "push $2\n popf", "movl param + 1, %eax");
static void alignment(void) {
  u32 old = cr0();
  set_cr0((old & ~12u) | 0x40000); asm volatile("fninit");
  DEVIATES(TCG) { FAULTS(3, ac_word, 17, 0); FAULTS(3, ac_dword, 17, 0); FAULTS(3, ac_push, 17, 0); FAULTS(3, ac_quad, 17, 0); }
  RUNS(3, ac_byte); RUNS(3, ac_good); RUNS(3, ac_off);
  for (int r = 0; r < 3; r++) { RUNS(r, ac_word); RUNS(r, ac_dword); RUNS(r, ac_push); RUNS(r, ac_quad); }
  set_cr0(old & ~0x4000cu);
  RUNS(3, ac_word); RUNS(3, ac_dword); RUNS(3, ac_quad);
  set_cr0(old);
}
/* ---- SYSENTER and SYSEXIT */
SNIPPET(enter_fast, "nop", "sysenter"); SNIPPET(exit_fast, "mov param + 8, %ecx\n mov param + 12, %edx", "sysexit"); SNIPPET(landing, "nop", "nop");
static u8 fast_stack[256] __attribute__((aligned(16)));
static void fast_calls(void) {
  if (!has(1, EDX_, 11)) { skip("no SYSENTER"); return; }
  wrmsr(0x175, (u32)fast_stack + sizeof fast_stack, 0); wrmsr(0x176, (u32)landing, 0);
  param[2] = top_of(3) - 64; param[3] = (u32)landing;
  for (u32 n = 0; n < 4; n++) { wrmsr(0x174, n, 0); for (int r = 0; r < 4; r++) FAULTS(r, enter_fast, 13, 0); FAULTS(0, exit_fast, 13, 0); }
  for (u32 rpl = 0; rpl < 4; rpl++) {
    wrmsr(0x174, 8 | rpl, 0);
    for (int r = 0; r < 4; r++) {
      ring_eflags = 0x3202; RUNS(r, enter_fast); ring_eflags = 2;
      EQUAL(seen.cs, 8); EQUAL(seen.eip, (u32)landing_at + 3); EQUAL(seen.eflags & 0x23200, 0x3000); EQUAL(seen.esp0, (u32)fast_stack + sizeof fast_stack - 20);
    }
    RUNS(0, exit_fast);
    EQUAL(seen.cs, 0x1b); EQUAL(seen.ss, 0x23); EQUAL(seen.esp, top_of(3) - 64); EQUAL(seen.eip, (u32)landing_at + 3);
    for (int r = 1; r < 4; r++) FAULTS(r, exit_fast, 13, 0);
  }
  wrmsr(0x174, 0, 0);
}
/* ---- CPUID announces what there is and nothing else: an instruction of a feature is #UD exactly where its bit is clear */
#define FEATURE(n, which, bit, insn) do { u32 a_ = 0, c_ = 0x10, d_ = 0; TRY(insn, : "+a"(a_), "+c"(c_), "+d"(d_) : "r"(image) : "memory", "cc"); \
  if (has(n, which, bit)) check(!(caught.count && caught.vector == 6), "announced: " insn, caught.vector, 0); else check(caught.count == 1 && caught.vector == 6, "not announced: " insn, caught.vector, 6); } while (0)
static void honest(void) {
  u32 old0 = cr0(), old4 = cr4();
  set_cr0((old0 & ~12u) | 2); if (has(1, EDX_, 24)) set_cr4(cr4() | 0x200);
  FEATURE(1, EDX_, 0, "fnop"); FEATURE(1, EDX_, 4, "rdtsc"); FEATURE(1, EDX_, 5, "rdmsr"); FEATURE(1, EDX_, 8, "cmpxchg8b (%3)"); FEATURE(1, EDX_, 15, "cmovo %%eax, %%eax");
  FEATURE(1, EDX_, 19, "clflush (%3)"); FEATURE(1, EDX_, 23, "emms"); FEATURE(1, EDX_, 24, "fxsave (%3)"); FEATURE(1, EDX_, 25, "xorps %%xmm0, %%xmm0"); FEATURE(1, EDX_, 25, "sfence"); FEATURE(1, EDX_, 25, "pavgb %%mm0, %%mm0");
  FEATURE(1, EDX_, 26, "xorpd %%xmm0, %%xmm0"); FEATURE(1, EDX_, 26, "lfence"); FEATURE(1, EDX_, 26, "movnti %%eax, (%3)"); FEATURE(1, EDX_, 26, "movdqa %%xmm0, %%xmm1"); FEATURE(1, EDX_, 26, "cvtdq2ps %%xmm0, %%xmm0"); FEATURE(1, EDX_, 26, "paddq %%mm0, %%mm0");
  if (has(1, EDX_, 23)) asm volatile("emms");
  asm volatile("fninit\n fld1");
  FEATURE(1, ECX_, 0, "haddps %%xmm0, %%xmm0"); FEATURE(1, ECX_, 0, "lddqu (%3), %%xmm0"); FEATURE(1, ECX_, 0, "fisttpl (%3)"); FEATURE(1, ECX_, 9, "pshufb %%xmm0, %%xmm0"); FEATURE(1, ECX_, 19, "pmulld %%xmm0, %%xmm0"); FEATURE(1, ECX_, 20, "pcmpgtq %%xmm0, %%xmm0"); FEATURE(1, ECX_, 22, "movbe (%3), %%eax");
  FEATURE(1, ECX_, 23, "popcnt %%eax, %%eax"); FEATURE(1, ECX_, 25, "aesenc %%xmm0, %%xmm0"); FEATURE(1, ECX_, 1, "pclmulqdq $0, %%xmm0, %%xmm0"); FEATURE(1, ECX_, 30, "rdrand %%eax");
  FEATURE(7, EBX_, 18, "rdseed %%eax"); FEATURE(7, EBX_, 19, "adcx %%eax, %%eax"); FEATURE(7, EBX_, 20, "clac"); FEATURE(7, EBX_, 23, "clflushopt (%3)"); FEATURE(7, EBX_, 24, "clwb (%3)"); FEATURE(7, EBX_, 29, "sha1nexte %%xmm0, %%xmm0");
  FEATURE(0x80000001, EDX_, 27, "rdtscp"); FEATURE(0x80000001, EDX_, 31, "pfadd %%mm0, %%mm0");
  if (has(1, EDX_, 23)) asm volatile("emms");
  /* SYSENTER with a null CS is #GP where it exists. */
  if (has(1, EDX_, 11)) wrmsr(0x174, 0, 0);
  TRY("sysenter", ::: "memory"); EXPECT(has(1, EDX_, 11) ? 13 : 6, 0);
  CHECK(max_leaf() >= 1); EQUAL(leaf(1, EDX_) & 1, 1);
  if (max_leaf() < 7) EQUAL(leaf(7, EBX_) & 0, 0);
  set_cr0(old0); set_cr4(old4);
}
const struct test tests[] = { { "all four rings", rings_init }, { "CR0, LMSW, SMSW, CLTS", cr0_bits }, { "EM, MP, TS, OSFXSR", coprocessor, TCG }, { "#MF and #XM", float_errors, TCG }, { "CR4 has what CPUID announces", cr4_bits }, { "control registers that are none", no_such_register, TCG }, { "privileged instructions", privileged }, { "CLI STI IN by IOPL", interrupt_flag },
  { "I/O bitmap: every bit", io_bits }, { "I/O bitmap: limits", io_limits }, { "MSRs", msrs, TCG | BOCHS }, { "RDTSC and RDPMC", counters }, { "RDRAND", random }, { "UMIP", umip }, { "#AC", alignment }, { "SYSENTER and SYSEXIT", fast_calls, TCG }, { "CPUID is honest", honest, TCG }, { 0, 0 } };
