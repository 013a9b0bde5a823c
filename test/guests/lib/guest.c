#include "guest.h"
volatile struct caught caught;
volatile u32 resume, fault_at;
handler *handlers[256];
volatile u32 interrupts[256];
u64 gdt[8] __attribute__((aligned(16)));
u64 idt[256] __attribute__((aligned(16)));
u32 tss[32] __attribute__((aligned(128)));
extern u8 stubs[];

static int failures, current_failed, number, told, checks, deviations;
u32 peer, tolerated;
static const char *skipped;

void *memset(void *d, int v, u32 n) { void *r = d; asm volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(v) : "memory"); return r; }
void *memcpy(void *d, const void *s, u32 n) { void *r = d; asm volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(n) : : "memory"); return r; }
int memcmp(const void *a, const void *b, u32 n) { const u8 *x = a, *y = b; for (; n--; x++, y++) if (*x != *y) return *x - *y; return 0; }

static void put(char c) { while (!(inb(0x3fd) & 0x20)); outb(0x3f8, c); }
void print(const char *s) { for (; *s; s++) put(*s); }
void print_hex(u32 v) { print("0x"); for (int i = 28; i >= 0; i -= 4) put("0123456789abcdef"[v >> i & 15]); }
static void print_dec(u32 v) { if (v >= 10) print_dec(v / 10); put('0' + v % 10); }

/* QEMU and our machine leave by the debug-exit port, Bochs by its shutdown port. */
void exit_guest(int failed) {
  print("# "); print_dec(checks); print(" checks"); if (deviations) { print(", this machine deviates from the manual in "); print_dec(deviations); } print("\n");
  outl(0xf4, failed ? 0x11 : 0x10); while (!(inb(0x3fd) & 0x40)); for (const char *s = "Shutdown"; *s; s++) outb(0x8900, *s); for (;;) asm volatile("cli; hlt"); }
void check(int ok, const char *what, u32 got, u32 want) {
  checks++;
  if (ok) return;
  if (peer & tolerated) {
    deviations++;
    if (++told > 4) return;
    print("#   deviates: "); print(tests[number - 1].name); print(": "); print(what); print(" is "); print_hex(got); print(", by the manual "); print_hex(want); print("\n");
    return;
  }
  if (!current_failed) { print("# "); print(tests[number - 1].name); print(":\n"); }
  current_failed++;
  if (current_failed > 12) return;
  print("#   "); print(what); print(" is "); print_hex(got); print(", expected "); print_hex(want); print("\n");
}
void skip(const char *why) { skipped = why; }

int is_tcg(void) {
  u32 a = 0x40000000, b, c, d;
  asm volatile("cpuid" : "+a"(a), "=b"(b), "=c"(c), "=d"(d));
  return b == 0x54474354;
}
u64 segment(u32 base, u32 limit, u32 access) {
  return (u64)(base >> 24) << 56 | (u64)0xc << 52 | (u64)(limit >> 16 & 15) << 48 | (u64)access << 40 | (u64)(base & 0xffffff) << 16 | (limit & 0xffff);
}
void gate(int vector, int type) {
  u32 at = (u32)stubs + vector * 16;
  idt[vector] = (u64)(at >> 16) << 48 | (u64)type << 40 | (u64)0x08 << 16 | (at & 0xffff);
}
void load_tables(void) {
  struct { u16 limit; u32 base; } __attribute__((packed)) g = { 0x2f, (u32)gdt }, i = { sizeof idt - 1, (u32)idt };
  asm volatile("lgdt %0; ljmp $0x08, $1f; 1: mov %2, %%ds; mov %2, %%es; mov %2, %%ss; lidt %1" : : "m"(g), "m"(i), "r"(0x10) : "memory");
}

void isr(struct frame *f) {
  interrupts[f->vector]++;
  if (f->vector < 32 && resume) {
    u32 a = cr2();
    caught.count++; caught.vector = f->vector; caught.error = f->error; caught.eip = f->eip; caught.cr2 = a; caught.eflags = f->eflags; caught.cs = f->cs;
    f->eip = resume; resume = 0;
    return;
  }
  if (handlers[f->vector]) { handlers[f->vector](f); return; }
  print("# unexpected vector "); print_hex(f->vector); print(" error "); print_hex(f->error); print(" eip "); print_hex(f->eip); print(" cr2 "); print_hex(cr2()); print("\nBail out!\n");
  exit_guest(1);
}

void pic_init(void) {
  outb(0x20, 0x11); outb(0xa0, 0x11); outb(0x21, 0x20); outb(0xa1, 0x28); outb(0x21, 4); outb(0xa1, 2); outb(0x21, 1); outb(0xa1, 1);
  pic_mask_all();
}
void pic_mask_all(void) { outb(0x21, 0xff); outb(0xa1, 0xff); }
void pic_unmask(int irq) { if (irq < 8) outb(0x21, inb(0x21) & ~(1 << irq)); else { outb(0xa1, inb(0xa1) & ~(1 << (irq - 8))); outb(0x21, inb(0x21) & ~4); } }
void pit_periodic(u32 hz) { u32 d = 1193182 / hz; outb(0x43, 0x34); outb(0x40, d); outb(0x40, d >> 8); }
u32 lapic(u32 reg) { return *(volatile u32 *)(0xfee00000 + reg); }
void set_lapic(u32 reg, u32 v) { *(volatile u32 *)(0xfee00000 + reg) = v; }

void guest_start(u32 magic, u32 info) {
  outb(0x3f9, 0); outb(0x3fb, 0x80); outb(0x3f8, 1); outb(0x3f9, 0); outb(0x3fb, 3); outb(0x3fa, 7);
  gdt[1] = segment(0, 0xfffff, 0x9b); gdt[2] = segment(0, 0xfffff, 0x93); gdt[3] = segment(0, 0xfffff, 0xfb); gdt[4] = segment(0, 0xfffff, 0xf3);
  gdt[5] = (segment((u32)tss, 103, 0x89) & ~((u64)0xf << 52));
  tss[2] = 0x10; tss[25] = 104 << 16;
  for (int v = 0; v < 256; v++) gate(v, 0x8e);
  load_tables();
  asm volatile("ltr %w0" : : "r"(0x28));
  pic_init();
  int total = 0;
  while (tests[total].name) total++;
  print("KTAP version 1\n1.."); print_dec(total); print("\n");
  /* The ROM that starts guests under Bochs has no multiboot information. */
  peer = is_tcg() ? TCG : info == 0 ? BOCHS : 0;
  for (number = 1; number <= total; number++) {
    current_failed = 0; skipped = 0; told = 0; tolerated = tests[number - 1].deviates;
    if (number == 1 && magic != 0x2badb002) check(0, "multiboot magic", magic, 0x2badb002);
    tests[number - 1].run();
    print(current_failed ? "not ok " : "ok "); print_dec(number); print(" "); print(tests[number - 1].name);
    if (skipped) { print(" # SKIP "); print(skipped); }
    print("\n");
    failures += current_failed != 0;
  }
  exit_guest(failures != 0);
}
