/**
 * The rows of `bench vm`: host side of guest/programs.ts (user rows, numbers below 64), guest/kernel.ts (kernel rows) and guest/smp.ts (SMP
 * rows, from 96 on), and how many iterations make a repetition of about 60 ms.
 */
export const KINDS = ['integer', 'memory', 'float', 'kernel', 'smp'] as const;
export type BenchKind = (typeof KINDS)[number];
export interface BenchProgram {
  readonly name: string;
  /** Number in a plan. */
  readonly number: number;
  readonly kind: BenchKind;
  /** Iterations per repetition: of user rows on a native CPU, of the others on this VM. */
  readonly nativeIterations: number;
  /** Kernel rows: iterations relative to `nativeIterations` for peers that take longer, or whose clock is the host's. */
  readonly share?: number;
  /** Operations of an iteration, whose time is the row's figure. */
  readonly operations: number;
  readonly what: string;
}

const user = (kind: BenchKind, rows: readonly (readonly [number, string, number, string])[]): BenchProgram[] => rows.map(([number, name, nativeIterations, what]) => ({ name, number, kind, nativeIterations, operations: 1, what }));

export const BENCH_PROGRAMS: readonly BenchProgram[] = [
  ...user('integer', [
    [13, 'intmix', 400, 'all integer arithmetic in registers'],
    [8, 'dhry', 8000, 'records, strings, small procedures'],
    [0, 'sieve', 60, 'sieve of Eratosthenes, 256 Ki'],
    [1, 'fib', 500, 'recursive Fibonacci of 22'],
    [4, 'interp', 1500, 'bytecode interpreter, about 6,000 operations'],
    [3, 'sha256', 400, 'SHA-256 of 16 KiB'],
    [2, 'crc32', 300, 'table CRC-32 of 64 KiB'],
    [6, 'modexp', 800, 'modular exponentiation, 32-bit modulus'],
    [5, 'qsort', 80, 'quicksort of 8,192 words'],
    [7, 'chase', 400, 'pointer chase over 256 KiB'],
    [11, 'hash', 250, 'open-addressing hash table'],
    [12, 'calls', 600, 'indirect calls'],
  ]),
  ...user('memory', [
    [10, 'memcpy', 1800, 'word copy loop, 2 x 128 KiB'],
    [14, 'memset', 2400, 'word fill loop, 256 KiB'],
    [15, 'repmovs', 27000, 'REP MOVSD, 2 x 128 KiB'],
    [16, 'repstos', 34000, 'REP STOSD, 256 KiB'],
    [9, 'bytesum', 300, 'sum of 256 KiB, byte by byte'],
  ]),
  ...user('float', [
    [17, 'matmul', 500, 'product of 48 x 48 matrices, SSE2 double'],
    [18, 'daxpy', 1200, 'y += a x over 8 x 4,096 doubles, SSE2'],
    [19, 'matmul87', 250, 'the same product by x87'],
    [20, 'daxpy87', 800, 'the same sum by x87'],
  ]),
  ...([
    ['int80', 900, 1000, 'INT 80h from ring 3 to IRET'],
    ['syscall', 600, 1000, 'INT 82h into a compiled handler'],
    ['sysenter', 900, 1000, 'SYSENTER to SYSEXIT'],
    ['fault', 500, 1000, 'page fault from ring 3, stepped over'],
    ['map', 100, 1000, 'unmap, INVLPG, page fault that maps'],
    ['ipc', 200, 1000, 'ping-pong between two address spaces: two switches with CR3 loads', 0.2],
    ['cr3', 800, 1000, 'CR3 load and a load from each of 8 pages', 0.05],
    ['port', 600, 1000, 'IN from the interrupt controller'],
    ['smc', 300, 255, 'a byte of an instruction written, then executed', 0.3],
    ['cold', 4, 1, '4,096 new functions, each run three times'],
    ['pages', 2000, 1, 'a load from each of 4,096 pages', 0.2],
    ['timer', 2000, 20, 'timer interrupt while halted', 0.005],
    ['selfipi', 60, 1000, 'interrupt sent to itself through the local APIC'],
  ] as const).map(([name, nativeIterations, operations, what, share], i): BenchProgram => ({ name, number: 64 + i, kind: 'kernel', nativeIterations, operations, what, ...(share ? { share } : {}) })),
  ...([
    ['fib1', 16, 100, 'Fibonacci of 22 on one CPU while the other halts'],
    ['fib2', 16, 100, 'the same on both at a time: each does as much'],
    ['lockinc', 50, 200_000, 'LOCK INC by one CPU'],
    ['lockinc2', 10, 200_000, 'LOCK INC of one word by both'],
    ['spinlock', 8, 100_000, 'a test-and-set lock (XCHG, PAUSE) around an increment, taken by both'],
    ['bounce', 5, 20_000, 'a cache line there and back'],
    ['ipispin', 3, 2000, 'interrupt to a CPU that spins, until it has answered'],
    ['ipihalt', 3, 500, 'interrupt to a CPU that halts, until it has answered'],
  ] as const).map(([name, nativeIterations, operations, what], i): BenchProgram => ({ name, number: 96 + i, kind: 'smp', nativeIterations, operations, what })),
];
/** Rows in which a peer may be faster: how long a parked host thread sleeps is the host's. */
export const EXEMPT: readonly string[] = ['ipihalt'];
