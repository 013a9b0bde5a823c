/*
 * What every test guest shares: COM1 output, KTAP reporting, exit by the debug port, descriptor tables, exception capture.
 * A guest defines `const struct test tests[]` (ended by an empty entry); each test runs in order and reports one KTAP line.
 * Exit status written to port 0xf4: 0x10 all passed, 0x11 something failed; QEMU's process status is (value << 1) | 1.
 */
#pragma once
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

struct frame { u32 gs, fs, es, ds, edi, esi, ebp, esp0, ebx, edx, ecx, eax, vector, error, eip, cs, eflags, esp, ss; };
/* `deviates`: reference machines that leave the manual in many checks of a test; see DEVIATES for single ones. */
struct test { const char *name; void (*run)(void); u32 deviates; };
extern const struct test tests[];

void check(int ok, const char *what, u32 got, u32 want);
#define CHECK(x) check(!!(x), #x, 0, 1)
#define EQUAL(got, want) do { u32 got_ = (u32)(got), want_ = (u32)(want); check(got_ == want_, #got, got_, want_); } while (0)
void skip(const char *why);
/* QEMU's TCG leaves out some checks that processors make; what depends on them is asked only elsewhere. */
int is_tcg(void);
/*
 * What the manual says decides. Where a reference machine is known to answer otherwise, the check stands as `DEVIATES(TCG | BOCHS) EXPECT(...)`:
 * there it is counted and told as a comment, everywhere else it must hold.
 */
enum { TCG = 1, BOCHS = 2 };
extern u32 peer, tolerated;
#define DEVIATES(peers) for (u32 usual_ = tolerated, once_ = (tolerated |= (peers), 1); once_; once_ = 0, tolerated = usual_)
void print(const char *s);
void print_hex(u32 v);
void exit_guest(int failed) __attribute__((noreturn));

static inline void outb(u16 p, u8 v) { asm volatile("outb %0, %1" : : "a"(v), "Nd"(p) : "memory"); }
static inline void outl(u16 p, u32 v) { asm volatile("outl %0, %1" : : "a"(v), "Nd"(p) : "memory"); }
static inline u8 inb(u16 p) { u8 v; asm volatile("inb %1, %0" : "=a"(v) : "Nd"(p) : "memory"); return v; }
static inline u32 inl(u16 p) { u32 v; asm volatile("inl %1, %0" : "=a"(v) : "Nd"(p) : "memory"); return v; }
static inline void wrmsr(u32 n, u32 lo, u32 hi) { asm volatile("wrmsr" : : "c"(n), "a"(lo), "d"(hi) : "memory"); }
static inline u64 rdmsr(u32 n) { u64 v; asm volatile("rdmsr" : "=A"(v) : "c"(n)); return v; }
static inline u64 rdtsc(void) { u64 v; asm volatile("rdtsc" : "=A"(v)); return v; }
static inline void sti(void) { asm volatile("sti" ::: "memory"); }
static inline void cli(void) { asm volatile("cli" ::: "memory"); }
static inline void invlpg(u32 a) { asm volatile("invlpg (%0)" : : "r"(a) : "memory"); }
#define CR(n) \
  static inline u32 cr##n(void) { u32 v; asm volatile("mov %%cr" #n ", %0" : "=r"(v) : : "memory"); return v; } \
  static inline void set_cr##n(u32 v) { asm volatile("mov %0, %%cr" #n : : "r"(v) : "memory"); }
CR(0) CR(2) CR(3) CR(4)

/* An exception whose return address is `resume` has been expected: it is recorded and execution goes on at `resume`. */
struct caught { u32 count, vector, error, eip, cr2, eflags, cs; };
extern volatile struct caught caught;
extern volatile u32 resume;
/* Run one instruction (operands as for asm) and skip it when it faults. `fault_at` is its address. */
extern volatile u32 fault_at;
#define TRY(insn, ...) do { caught.count = 0; caught.vector = 0xffff; caught.error = 0; \
  asm volatile("movl $2f, resume\n movl $1f, fault_at\n1: " insn "\n2: movl $0, resume" __VA_ARGS__); } while (0)
/* expect(vector, error): the last TRY faulted exactly so, at exactly that instruction. */
#define EXPECT(v, e) do { EQUAL(caught.count, 1); EQUAL(caught.vector, v); EQUAL(caught.error, e); EQUAL(caught.eip, fault_at); } while (0)
#define EXPECT_NONE() EQUAL(caught.count, 0)

/* Handlers by vector; 0 = not handled. Called with interrupts off. */
typedef void handler(struct frame *);
extern handler *handlers[256];
extern volatile u32 interrupts[256];

extern u64 gdt[8];
extern u64 idt[256];
extern u32 tss[32];
u64 segment(u32 base, u32 limit_pages, u32 access);
void gate(int vector, int type_dpl);
void load_tables(void);
u32 enter_user(u32 eip, u32 esp);
void leave_user(u32 value) __attribute__((noreturn));
extern u32 user_eflags;
void switch_to(u32 *save, u32 load);

void pic_init(void);
void pic_unmask(int irq);
void pic_mask_all(void);
void pit_periodic(u32 hz);
u32 lapic(u32 reg);
void set_lapic(u32 reg, u32 v);
void *memset(void *, int, u32);
void *memcpy(void *, const void *, u32);
int memcmp(const void *, const void *, u32);
extern char image_end[];
