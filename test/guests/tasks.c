/* Software task switching in ring 0: cooperative stacks, then preemption by the timer with full frames, then two address spaces. */
#include "lib/guest.h"
#define N 8
static u8 stacks[N][4096] __attribute__((aligned(16)));
static u32 esp[N + 1], current, trace_hash, turns[N];
static void yield(void) { u32 me = current; current = (current + 1) % N; switch_to(&esp[me], esp[current]); }
static u32 finished;
static void body(void) {
  for (u32 i = 0; i < 500; i++) { trace_hash = trace_hash * 31 + current * 7 + i; turns[current]++; yield(); }
  finished++;
  for (;;) { if (finished == N && current == N - 1) switch_to(&esp[current], esp[N]); yield(); }
}
static void prepare(u32 i, void (*f)(void)) { u32 *s = (u32 *)(stacks[i] + 4096); *--s = 0; *--s = (u32)f; for (int k = 0; k < 4; k++) *--s = 0x1000 + k; esp[i] = (u32)s; }
static void cooperative(void) {
  for (u32 i = 0; i < N; i++) prepare(i, body);
  current = 0;
  switch_to(&esp[N], esp[0]);
  u32 want = 0; for (u32 i = 0; i < 500; i++) for (u32 t = 0; t < N; t++) want = want * 31 + t * 7 + i;
  EQUAL(trace_hash, want);
  for (u32 i = 0; i < N; i++) EQUAL(turns[i], 500);
}
static volatile u32 progress[N], switches, stop;
static u32 frames[N];
extern void trap_return(void);
static void preempt(struct frame *f) {
  outb(0x20, 0x20);
  frames[current] = (u32)f;
  current = (current + 1) % N;
  /* The last tick silences the timer: another one may be on its way before the test gets to CLI. */
  if (!stop && ++switches >= 40) { pic_mask_all(); stop = 1; current = 0; }
  if (stop) current = 0;
  asm volatile("mov %0, %%esp\n jmp trap_return" : : "r"(frames[current]) : "memory");
}
static void spinner(void) {
  u32 me = current;
  /* Registers and flags must survive: a running checksum kept in registers only. */
  u32 x = me * 0x9e3779b9 + 1, y = x, z = 0;
  for (;;) {
    for (int i = 0; i < 1000; i++) { asm volatile("imul $1664525, %0, %0\n add $1013904223, %0\n adc $0, %1\n rol $5, %1" : "+r"(x), "+r"(z) : : "cc"); y = y * 1664525 + 1013904223; if (x != y) { stop = 2; for (;;); } }
    progress[me]++;
    if (me == 0 && stop) return;
  }
}
static void preemptive(void) {
  for (u32 i = 1; i < N; i++) {
    struct frame *f = (struct frame *)(stacks[i] + 4000 - sizeof(struct frame));
    memset(f, 0, sizeof *f);
    f->ds = f->es = 0x10; f->cs = 8; f->eflags = 0x202; f->eip = (u32)spinner;
    frames[i] = (u32)f;
  }
  /* A new task reads `current` first: it must be set when its frame is first loaded, as preempt() does. */
  current = 0; switches = stop = 0;
  handlers[0x20] = preempt;
  pit_periodic(1000); pic_unmask(0);
  sti();
  spinner();
  cli(); pic_mask_all();
  EQUAL(stop, 1); EQUAL(switches, 40);
  for (u32 i = 0; i < N; i++) CHECK(progress[i] > 0);
}
static u32 dirs[2][1024] __attribute__((aligned(4096))), tables[2][1024] __attribute__((aligned(4096)));
static u8 privates[2][4096] __attribute__((aligned(4096)));
static void address_spaces(void) {
  for (u32 s = 0; s < 2; s++) { for (u32 i = 0; i < 16; i++) dirs[s][i] = i << 22 | 0x83; dirs[s][0x40000000 >> 22] = (u32)tables[s] | 3; tables[s][0] = (u32)privates[s] | 3; }
  set_cr4(cr4() | 0x10); set_cr3((u32)dirs[0]); set_cr0(cr0() | 0x80000000);
  volatile u32 *p = (volatile u32 *)0x40000000;
  for (u32 i = 0; i < 2000; i++) { set_cr3((u32)dirs[i & 1]); *p += i; }
  u32 even = 0, odd = 0; for (u32 i = 0; i < 2000; i++) if (i & 1) odd += i; else even += i;
  EQUAL(*(u32 *)privates[0], even); EQUAL(*(u32 *)privates[1], odd);
  /* An edit of the space that is not loaded takes effect when it is. */
  set_cr3((u32)dirs[0]);
  tables[1][0] = (u32)privates[0] | 3;
  set_cr3((u32)dirs[1]);
  *p = 0x77; EQUAL(*(u32 *)privates[0], 0x77);
  tables[0][0] = 0; set_cr3((u32)dirs[0]);
  TRY("movl 0x40000000, %%eax", ::: "eax", "memory"); EXPECT(14, 0);
}
const struct test tests[] = { { "cooperative switching", cooperative }, { "preemption keeps registers and flags", preemptive }, { "two address spaces", address_spaces }, { 0, 0 } };
