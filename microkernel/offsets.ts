/**
 * Offsets that the assembler stubs and the AssemblyScript classes must agree on: one list, imported by both.
 *
 * Plain numbers without type annotations, so that Node (stubs) and asc (kernel) read the same file; `core/check.ts` compares them with the
 * class layouts at compile time. Everything the fast path touches of an object lies in the first 128 bytes.
 */

// ---- per-CPU area: 32 KiB, aligned to 32 KiB -------------------------------------------------------------------------------------------
//   0x0000 guard page   0x1000 kernel stack (8 KiB, grows down from Cpu)   0x3000 Cpu   0x4000 TSS + I/O bitmap   0x6800 double-fault stack
export const CPU_AREA = 0x8000;
export const CPU_GUARD = 0;
export const CPU_BLOCK = 0x3000;
export const CPU_TSS = 0x4000;
export const CPU_DF_TSS = 0x6200;
export const CPU_DF_STACK_TOP = 0x8000;
export const MAX_CPUS = 16;

// ---- Cpu -------------------------------------------------------------------------------------------------------------------------------
export const C_CURRENT = 0; // Thread, 0 when idle
export const C_TOP_READY = 4; // highest priority in the run queue, -1 when it is empty
export const C_CR3 = 8; // the root that is loaded
export const C_FPU_LIVE = 12; // CR0.TS is clear: the current Thread's registers are in the FPU (and it has F_FPU)
export const C_ESP0 = 16; // address of TSS.esp0
export const C_INDEX = 20;

// ---- Thread ----------------------------------------------------------------------------------------------------------------------------
// The frame is filled by the CPU (ring change through TSS.esp0 = Thread + T_FRAME_END) and by PUSHAD.
export const T_FRAME = 32;
export const T_EDI = 32;
export const T_ESI = 36;
export const T_EBP = 40;
export const T_KESP = 44; // the slot PUSHAD wastes
export const T_EBX = 48;
export const T_EDX = 52;
export const T_ECX = 56;
export const T_EAX = 60;
export const T_VECTOR = 64;
export const T_ERROR = 68;
export const T_EIP = 72;
export const T_CS = 76;
export const T_EFLAGS = 80;
export const T_ESP = 84;
export const T_SS = 88;
export const T_FRAME_END = 92;
export const T_CPU = 92; // Cpu it runs on (= top of that CPU's kernel stack)
export const T_FLAGS = 96; // anything set here forces the slow path
export const T_STATE = 100;
export const T_MP = 104; // message page, kernel address
export const T_TABLE = 108;
export const T_CR3 = 112;
export const T_PRIO = 116;
export const T_REPLY = 120; // current Reply (server side)
export const T_SCHED = 124; // the Sched it runs on now
export const T_OWN = 128; // what it falls back to: own or reserve Sched, or 0
export const T_SEQ = 132;
export const T_SERIAL = 136;
export const T_IRET = 140; // 1: all registers count, leave by IRET; 0: leave by SYSEXIT
export const T_QNEXT = 144;
export const T_OWED = 148; // the Reply that owes this Thread an answer
export const T_DELIVERIES = 152;
export const T_KIND = 156; // what blocked it: a call (0 whenever it is not blocked), a fault, an INT 0x80
export const T_ENDPOINT = 160; // where it receives or is queued
export const T_DELIVERED = 168; // when it was last delivered, as a count of deliveries
export const T_SEND_BADGE = 164; // badge of the capability it called with
export const T_FAULT_ENDPOINT = 196; // slow path only, read by traces: who looks after the Thread,
export const T_FAULT_BADGE = 200; // and under which badge
export const T_NEXT = 296; // all Threads, for debuggers
export const T_PREV = 300;

// ---- Slot ------------------------------------------------------------------------------------------------------------------------------
export const S_HANDLE = 0;
export const S_TYPE = 4;
export const S_RIGHTS = 5;
export const S_OBJECT = 8;
export const S_BADGE = 12;
export const SLOT_SIZE = 32;
export const SLOT_SHIFT = 5;

// ---- Table, Endpoint, Reply, Sched -----------------------------------------------------------------------------------------------------
export const TB_SLOTS = 32; // address of slot 0
export const TB_COUNT = 36;
export const E_RECV = 32; // first receiving Thread
export const E_RECV_TAIL = 36;
export const E_CALL = 40; // first queued caller
export const E_EPOCH = 48;
export const R_STATE = 32;
export const R_CALLER = 36;
export const R_HOLDER = 40; // the Thread whose current Reply this is
export const SC_THREAD = 32; // the Thread that runs on it now
