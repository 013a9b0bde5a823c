/**
 * The world a vector runs in: the same addresses natively (capture/harness.c) and on the engine (machine.ts).
 *
 *   0x0000f000 .. 0x00010fff   low, read/write     reachable by 16-bit addressing, crosses the 64 KiB line
 *   0x1ffff000 .. 0x1fffffff   read only           a store here is #PF with error code 7
 *   0x20000000 .. 0x20001fff   read/write          operands and stack; an access may cross the page in the middle
 *   0x20002000 ..              hole                any access is #PF with error code 4 or 6
 *   0x30000000 .. 0x30000fff   code, read only     all bytes 0xcc (INT3) around the snippet
 *   0x30001000 ..              hole                a fetch here is #PF with error code 4 or 14h
 *
 * Every data byte starts as `patternByte(address)`, so that a wrong address shows as a wrong value. Code runs in ring 3 on flat
 * segments with the Linux selectors and ends with INT3 (vector 3) or with the fault under test.
 * harness.c repeats these numbers through -D options that the capture tool takes from here: this file is the only place.
 */
export const LOW = 0x0000f000;
export const LOW_BYTES = 0x2000;
export const READ_ONLY = 0x1ffff000;
export const READ_ONLY_BYTES = 0x1000;
export const DATA = 0x20000000;
export const DATA_BYTES = 0x2000;
export const HOLE = DATA + DATA_BYTES;
export const CODE = 0x30000000;
export const CODE_BYTES = 0x1000;
/** Where a snippet starts unless a case says otherwise: room for backward branches before it. */
export const SNIPPET = CODE + 0x800;
export const STACK = DATA + 0x1800;

export const SELECTOR = { code: 0x23, data: 0x2b } as const;

/** Multiplicative hash (Knuth), top byte: neighbours differ, and so do addresses that differ in one high bit. */
export function patternByte(address: number): number {
  return (Math.imul(address, 0x9e3779b1) >>> 24) & 0xff;
}

/** EFLAGS bits (Intel SDM vol. 1, 3.4.3). */
export const FLAG = { CF: 1, PF: 4, AF: 0x10, ZF: 0x40, SF: 0x80, TF: 0x100, IF: 0x200, DF: 0x400, OF: 0x800, RF: 0x10000, AC: 0x40000, ID: 0x200000 } as const;
export const STATUS_FLAGS = FLAG.CF | FLAG.PF | FLAG.AF | FLAG.ZF | FLAG.SF | FLAG.OF;
/** What a ring 3 program can see change. RF is compared nowhere: hosts under a hypervisor differ in it. */
export const COMPARED_FLAGS = STATUS_FLAGS | FLAG.DF | FLAG.AC | FLAG.ID;

export const EAX = 0, ECX = 1, EDX = 2, EBX = 3, ESP = 4, EBP = 5, ESI = 6, EDI = 7;
export const REGISTER_NAMES = ['eax', 'ecx', 'edx', 'ebx', 'esp', 'ebp', 'esi', 'edi'] as const;
export const DEFAULT_MXCSR = 0x1f80;
export const VECTOR_BREAKPOINT = 3;
