/* Local APIC of the boot processor: timer one-shot and periodic, self IPI, priorities, spurious vector (SDM vol. 3, chapter 10). */
#include "lib/guest.h"
static volatile u32 ticks, order[8], ordered;
static void tick(struct frame *f) { (void)f; ticks++; set_lapic(0xb0, 0); }
static void note(struct frame *f) { order[ordered++ & 7] = f->vector; set_lapic(0xb0, 0); }
static void enable(void) {
  CHECK(rdmsr(0x1b) & 0x800); EQUAL((u32)rdmsr(0x1b) & 0xfffff000, 0xfee00000);
  EQUAL(lapic(0x20) >> 24, 0);
  CHECK((lapic(0x30) & 0xff) >= 0x10); CHECK((lapic(0x30) >> 16 & 0xff) >= 4);
  set_lapic(0xf0, 0x1ff);
  EQUAL(lapic(0xf0) & 0x1ff, 0x1ff);
}
static void one_shot(void) {
  handlers[0x40] = tick;
  set_lapic(0x3e0, 0xb); set_lapic(0x320, 0x40); set_lapic(0x380, 100000);
  /* STI; HLT as a pair: the only tick must not fall between the test and the HLT. */
  while (ticks < 1) asm volatile("sti\n hlt\n cli" ::: "memory");
  EQUAL(lapic(0x390), 0);
  EQUAL(ticks, 1);
}
static void counts_down(void) {
  set_lapic(0x320, 0x10040); set_lapic(0x380, 0xffffffff);
  u32 a = lapic(0x390);
  for (volatile int i = 0; i < 100000; i++);
  u32 b = lapic(0x390);
  CHECK(b < a); CHECK(b != 0);
  set_lapic(0x380, 0);
}
static void periodic(void) {
  ticks = 0;
  set_lapic(0x320, 0x20040); set_lapic(0x380, 50000);
  sti(); while (ticks < 10) asm volatile("hlt"); cli();
  set_lapic(0x320, 0x10040); set_lapic(0x380, 0);
  CHECK(ticks >= 10);
  u32 t = ticks; sti(); for (volatile int i = 0; i < 1000; i++); cli();
  CHECK(ticks - t <= 1);
}
static void self_ipi(void) {
  handlers[0x51] = handlers[0x71] = handlers[0x61] = note;
  ordered = 0;
  set_lapic(0x310, 0); set_lapic(0x300, 0x44051); 
  set_lapic(0x300, 0x44071); set_lapic(0x300, 0x44061);
  EQUAL(lapic(0x200 + 0x20) >> 17 & 1, 1);           /* IRR, vector 0x51 */
  sti(); asm volatile("nop; nop; nop; nop"); cli();
  EQUAL(ordered, 3); EQUAL(order[0], 0x71); EQUAL(order[1], 0x61); EQUAL(order[2], 0x51);
}
static void task_priority(void) {
  ordered = 0;
  set_lapic(0x80, 0x60);
  set_lapic(0x300, 0x44051); set_lapic(0x300, 0x44071);
  sti(); asm volatile("nop; nop; nop"); cli();
  EQUAL(ordered, 1); EQUAL(order[0], 0x71);
  sti(); set_lapic(0x80, 0); asm volatile("nop; nop"); cli();
  EQUAL(ordered, 2); EQUAL(order[1], 0x51);
}
static volatile u32 in_service, nested_ok;
static void nesting(struct frame *f) {
  if (f->vector == 0x71) { nested_ok = in_service; note(f); return; }
  in_service = lapic(0x100 + 0x20) >> 17 & 1;
  set_lapic(0x300, 0x44071); set_lapic(0x300, 0x44041);
  sti(); asm volatile("nop; nop; nop"); cli();
  note(f);
}
static void higher_class_nests(void) {
  ordered = 0;
  handlers[0x51] = handlers[0x71] = nesting; handlers[0x41] = note;
  set_lapic(0x300, 0x44051);
  sti(); asm volatile("nop; nop; nop"); cli();
  EQUAL(ordered, 3); EQUAL(order[0], 0x71); EQUAL(order[1], 0x51); EQUAL(order[2], 0x41); EQUAL(nested_ok, 1);
}
static volatile u32 nmis;
static void nmi(struct frame *f) { (void)f; nmis++; }
static void nmi_self(void) {
  handlers[2] = nmi;
  cli();
  set_lapic(0x310, lapic(0x20)); set_lapic(0x300, 0x4400);
  for (volatile int i = 0; i < 1000 && !nmis; i++);
  EQUAL(nmis, 1);
}
const struct test tests[] = { { "enabled, id and version", enable }, { "one-shot timer", one_shot }, { "the counter counts down", counts_down }, { "periodic timer", periodic }, { "self IPIs by priority", self_ipi }, { "task priority holds lower classes", task_priority }, { "a higher class nests", higher_class_nests }, { "NMI to self with interrupts off", nmi_self }, { 0, 0 } };
