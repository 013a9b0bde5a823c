/*
 * A descriptor table with room, and code at any ring. `ring(n, snippet)` runs a snippet at CPL n on a flat stack of its own until INT 80h or
 * an exception: the result is vector << 16 | error code, the frame is in `seen`. Data go through `param`, which every ring can reach.
 */
#pragma once
#include "guest.h"
#define VECTOR(v, e) ((u32)(v) << 16 | (u32)(e))
#define DONE VECTOR(0x80, 0)
/* Indices of the table: the guest library's own first, then code and data of rings 1 and 2, then what tests fill in. */
enum { CODE0 = 1, DATA0, CODE3, DATA3, TASK, CODE1, DATA1, CODE2, DATA2, X, Y, Z, LOCAL, TASK2, ENTRIES = 32 };
static u64 table[ENTRIES] __attribute__((aligned(16)));
u32 param[16];
static struct frame seen;
static u8 ring_stack[4][4096] __attribute__((aligned(16)));

/* flags: 8 granularity, 4 big. access: the byte with P, DPL, S and type. */
static u64 descriptor(u32 base, u32 limit, u32 access, u32 flags) {
  return (u64)(base >> 24) << 56 | (u64)flags << 52 | (u64)(limit >> 16 & 15) << 48 | (u64)access << 40 | (u64)(base & 0xffffff) << 16 | (limit & 0xffff);
}
static u64 gate_to(u32 selector, u32 offset, u32 access, u32 parameters) {
  return (u64)(offset >> 16) << 48 | (u64)access << 40 | (u64)parameters << 32 | (u64)selector << 16 | (offset & 0xffff);
}
static u32 access_of(int index) { return (u32)(table[index] >> 40) & 0xff; }
static u16 code_selector(int ring) { static const u8 index[] = { CODE0, CODE1, CODE2, CODE3 }; return index[ring] << 3 | ring; }
static u16 data_selector(int ring) { static const u8 index[] = { DATA0, DATA1, DATA2, DATA3 }; return index[ring] << 3 | ring; }
static void set_gdt(u32 limit) { struct { u16 limit; u32 base; } __attribute__((packed)) g = { limit, (u32)table }; asm volatile("lgdt %0" : : "m"(g)); }
static void load_task(int index, u64 d) { table[index] = d; asm volatile("ltr %w0" : : "r"(index << 3) : "memory"); }

u32 enter_ring(u32 eip, u32 esp, u32 cs, u32 ss, u32 eflags, u32 ds);
void leave_ring(u32 value) __attribute__((noreturn));
asm(".pushsection .text\n.globl enter_ring, leave_ring\nenter_ring:\n mov 4(%esp), %eax\n mov 8(%esp), %edx\n mov 12(%esp), %ecx\n push %ebp\n push %ebx\n push %esi\n push %edi\n"
    " mov %esp, user_return_esp\n mov %esp, %ebx\n mov %ebx, tss + 4\n mov 32(%esp), %ebx\n mov 36(%esp), %esi\n mov 40(%esp), %edi\n mov %edi, %ds\n mov %edi, %es\n"
    " test $3, %cl\n jz 1f\n push %ebx\n push %edx\n push %esi\n push %ecx\n push %eax\n iret\n"
    "1: mov %edx, %esp\n push %esi\n push %ecx\n push %eax\n iret\n"
    "leave_ring: mov 4(%esp), %eax\n mov $0x10, %edx\n mov %edx, %ds\n mov %edx, %es\n mov %edx, %ss\n mov user_return_esp, %esp\n pop %edi\n pop %esi\n pop %ebx\n pop %ebp\n ret\n.popsection");

static void ring_leave(struct frame *f) { seen = *f; leave_ring(VECTOR(f->vector, f->error)); }
static u32 ring_eflags = 2;
static u32 ring(int n, const u8 *code) { return enter_ring((u32)code, (u32)ring_stack[n] + 4096, code_selector(n), data_selector(n), ring_eflags, data_selector(n)); }
static u32 top_of(int n) { return (u32)ring_stack[n] + 4096; }

/* `name`: what leads to it; `name_at`: the instruction that is asked, which must be the last. */
#define SNIPPET(name, before, insn) extern u8 name[], name##_at[]; \
  asm(".pushsection .text\n.globl " #name ", " #name "_at\n" #name ": " before "\n" #name "_at: " insn "\n int $0x80\n.popsection")
/* The snippet faulted exactly so, at its last instruction; or it came to its end. */
#define FAULTS(n, name, v, e) do { EQUAL(ring(n, name), VECTOR(v, e)); EQUAL(seen.eip, (u32)name##_at); } while (0)
#define RUNS(n, name) EQUAL(ring(n, name), DONE)

static void rings_init(void) {
  for (int i = 0; i < 6; i++) table[i] = gdt[i];
  table[CODE1] = descriptor(0, 0xfffff, 0xbb, 12); table[DATA1] = descriptor(0, 0xfffff, 0xb3, 12);
  table[CODE2] = descriptor(0, 0xfffff, 0xdb, 12); table[DATA2] = descriptor(0, 0xfffff, 0xd3, 12);
  set_gdt(sizeof table - 1);
  load_task(TASK, descriptor((u32)tss, 103, 0x89, 0));
  gate(0x80, 0xee);
  for (int v = 0; v < 32; v++) handlers[v] = ring_leave;
  handlers[0x80] = ring_leave;
}
