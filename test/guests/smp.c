/* Multiprocessor start (INIT-SIPI), IPIs, locked counters, store visibility, invalidation across processors (SDM vol. 3, 8.4, 10.6). */
#include "lib/guest.h"
extern u8 trampoline[], trampoline_end[];
extern volatile u32 ap_count;
static volatile u32 alive, go, counter, plain, done, command, acks;
static volatile u32 ids[16];
static u32 cpus;
static void ack(struct frame *f) { (void)f; asm volatile("lock incl %0" : "+m"(acks)); set_lapic(0xb0, 0); }
enum { IDLE, COUNT, CAS, XADD, HALT, PING, MISS, CARRY, FENCE, SPLIT };
static volatile u32 turn, lock_word, protected_value, lost;
static u8 split[0x4000] __attribute__((aligned(4096)));
#define inside ((volatile u32 *)(split + 0x11))
#define quads ((volatile u32 *)(split + 0x26))
#define pages ((volatile u32 *)(split + 0xffe))
static volatile u32 arrived, words[32], saw[32];
static u32 xadd(volatile u32 *p, u32 v) { asm volatile("lock xaddl %0, %1" : "+r"(v), "+m"(*p) : : "memory"); return v; }
static u32 cas(volatile u32 *p, u32 old, u32 new) { asm volatile("lock cmpxchgl %2, %1" : "+a"(old), "+m"(*p) : "r"(new) : "memory"); return old; }
static void work(u32 me) {
  switch (command) {
    case COUNT: for (u32 i = 0; i < 50000; i++) asm volatile("lock incl %0" : "+m"(counter) : : "memory"); break;
    case CAS: for (u32 i = 0; i < 5000; i++) { for (u32 spins = 0; cas(&lock_word, 0, me + 1) != 0; spins++) asm volatile("pause"); u32 v = protected_value; asm volatile("" ::: "memory"); protected_value = v + 1; lock_word = 0; } break;
    case XADD: for (u32 i = 0; i < 20000; i++) { u32 v = xadd(&counter, 1); if (v >= cpus * 20000) lost++; } break;
    case MISS: for (u32 i = 0; i < 5000; i++) { asm volatile("invlpg %0" : : "m"(counter) : "memory"); asm volatile("lock incl %0" : "+m"(counter) : : "memory"); } break;
    case CARRY: for (u32 i = 0; i < 5000; i++) { if (i & 1) asm volatile("invlpg %0" : : "m"(counter) : "memory"); asm volatile("clc; lock adcl $1, %0" : "+m"(counter) : : "memory", "cc"); } break;
    case SPLIT: /* misaligned locked operands: in a quadword, across two, across two pages; one processor also uses the aligned halves of the second */
      for (u32 i = 0; i < 1000; i++) {
        asm volatile("lock incl %0" : "+m"(*inside) : : "memory");
        asm volatile("lock addl $0x10001, %0" : "+m"(*quads) : : "memory");
        asm volatile("lock incl %0" : "+m"(*pages) : : "memory");
        if (me == 0) asm volatile("lock incl %0" : "+m"(*(u32 *)(split + 0x20)) : : "memory");
        if (me == 1) asm volatile("lock incw %0" : "+m"(*(u16 *)(split + 0x2a)) : : "memory");
        u32 low, high;
        asm volatile("1: movl (%2), %%eax\n movl 4(%2), %%edx\n movl %%eax, %%ebx\n movl %%edx, %%ecx\n addl $1, %%ebx\n adcl $1, %%ecx\n lock cmpxchg8b (%2)\n jnz 1b" : "=&a"(low), "=&d"(high) : "S"(split + 0x2fff - 4) : "ebx", "ecx", "memory", "cc");
      }
      break;
    case FENCE: /* two processors store to their own word and load the other's (Intel SDM vol. 3 8.2.3.4 with MFENCE between) */
      if (me > 1) break;
      for (u32 i = 1; i <= 20000; i++) {
        xadd(&arrived, 1); while (arrived < 4 * i - 2) {}
        words[me * 16] = i;
        asm volatile("mfence" ::: "memory");
        saw[me * 16] = words[(me ^ 1) * 16];
        xadd(&arrived, 1); while (arrived < 4 * i) {}
        if (me == 0 && saw[0] != i && saw[16] != i) lost++;
      }
      break;
    case PING: for (u32 i = 0; i < 500; i++) { while (turn != me) asm volatile("pause"); turn = (me + 1) % cpus; } break;
  }
}
void ap_main(void) {
  load_tables();
  set_lapic(0xf0, 0x1ff);
  u32 me = xadd(&alive, 1) + 1;
  ids[me] = lapic(0x20) >> 24;
  u32 seen = 0;
  sti();
  for (;;) {
    while (go == seen) { if (command == HALT) asm volatile("hlt"); else asm volatile("pause"); }
    seen = go;
    work(me);
    xadd(&done, 1);
  }
}
static void everyone(u32 what) { counter = 0; done = 0; command = what; asm volatile("" ::: "memory"); go++; work(0); while (done < cpus - 1) asm volatile("pause"); }
static void delay(u32 n) { for (volatile u32 i = 0; i < n; i++) inb(0x80); }
static void start(void) {
  memcpy((void *)0x8000, trampoline, trampoline_end - trampoline);
  set_lapic(0xf0, 0x1ff);
  ids[0] = lapic(0x20) >> 24;
  set_lapic(0x300, 0xc4500); delay(2000);
  set_lapic(0x300, 0xc4608); delay(2000);
  set_lapic(0x300, 0xc4608);
  for (u32 i = 0; i < 20000000 && alive < 1; i++) asm volatile("pause");
  delay(20000);
  cpus = alive + 1;
  CHECK(cpus >= 2);
  print("# processors: "); print_hex(cpus); print("\n");
  for (u32 i = 0; i < cpus; i++) for (u32 j = 0; j < i; j++) CHECK(ids[i] != ids[j]);
}
static void locked_increments(void) { everyone(COUNT); EQUAL(counter, cpus * 50000); }
static void exchange_add(void) { lost = 0; everyone(XADD); EQUAL(counter, cpus * 20000); EQUAL(lost, 0); }
static void spin_lock(void) { protected_value = 0; everyone(CAS); EQUAL(protected_value, cpus * 5000); }
static void locked_without_translation(void) { everyone(MISS); EQUAL(counter, cpus * 5000); }
static void locked_carry(void) { everyone(CARRY); EQUAL(counter, cpus * 5000); }
static void locked_misaligned(void) {
  everyone(SPLIT);
  u32 n = cpus * 1000;
  EQUAL(*inside, n); EQUAL(*quads, n * 0x10001); EQUAL(*pages, n);
  EQUAL(*(u32 *)(split + 0x20), 1000); EQUAL(*(u16 *)(split + 0x2a), 1000); EQUAL(split[0x10], 0); EQUAL(split[0x25], 0);
  EQUAL(*(u32 *)(split + 0x2fff - 4), n); EQUAL(*(u32 *)(split + 0x2fff), n);
}
static void fence_orders(void) { lost = 0; arrived = 0; everyone(FENCE); EQUAL(lost, 0); }
static void ping_pong(void) { turn = 0; everyone(PING); EQUAL(turn, 0); }
static void ipi_broadcast(void) {
  handlers[0x48] = ack;
  for (u32 n = 1; n <= 50; n++) {
    acks = 0;
    set_lapic(0x300, 0xc4048);
    u32 i; for (i = 0; i < 100000000 && acks < cpus - 1; i++) asm volatile("pause");
    if (acks != cpus - 1) { EQUAL(acks, cpus - 1); return; }
  }
}
static void ipi_to_one(void) {
  for (u32 c = 1; c < cpus; c++) { acks = 0; set_lapic(0x310, ids[c] << 24); set_lapic(0x300, 0x4048); for (u32 i = 0; i < 100000000 && acks < 1; i++) asm volatile("pause"); EQUAL(acks, 1); }
}
static void ipi_wakes_halted(void) {
  command = HALT; delay(5000);
  for (u32 n = 0; n < 20; n++) { acks = 0; set_lapic(0x300, 0xc4048); for (u32 i = 0; i < 100000000 && acks < cpus - 1; i++) asm volatile("pause"); EQUAL(acks, cpus - 1); }
  command = IDLE; acks = 0; set_lapic(0x300, 0xc4048);
  for (u32 i = 0; i < 100000000 && acks < cpus - 1; i++) asm volatile("pause");
}
static volatile u32 nmis;
static void nmi(struct frame *f) { (void)f; asm volatile("lock incl %0" : "+m"(nmis)); }
static void nmi_broadcast(void) { handlers[2] = nmi; set_lapic(0x300, 0xc4400); for (u32 i = 0; i < 100000000 && nmis < cpus - 1; i++) asm volatile("pause"); EQUAL(nmis, cpus - 1); }
extern u32 self_modified(void);
asm("self_modified: movl $1, %eax\n ret");
static void code_of_another(void) {
  /* Code written by this processor is executed by the others only after they have seen a flag and serialised; here: by this one. */
  u8 *p = (u8 *)self_modified;
  for (u32 i = 0; i < 100; i++) { p[1] = i; asm volatile("" ::: "memory"); EQUAL(self_modified(), i); }
}
const struct test tests[] = { { "INIT-SIPI starts the others", start }, { "LOCK INC loses nothing", locked_increments }, { "LOCK XADD gives each value once", exchange_add }, { "a CMPXCHG spin lock excludes", spin_lock }, { "LOCK INC loses nothing where the page is not in the TLB", locked_without_translation }, { "LOCK ADC loses nothing", locked_carry }, { "LOCK on misaligned operands loses nothing", locked_misaligned }, { "MFENCE keeps a load behind a store", fence_orders }, { "ping-pong through memory", ping_pong }, { "broadcast IPI", ipi_broadcast }, { "IPI to one", ipi_to_one }, { "IPI wakes HLT", ipi_wakes_halted }, { "broadcast NMI", nmi_broadcast }, { "code patched at run time", code_of_another }, { 0, 0 } };
