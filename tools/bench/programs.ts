/** Host side of guest/programs.ts: names by number, and how many iterations make a repetition of about 60 ms natively. */
export interface BenchProgram { readonly name: string; /** Iterations per repetition on a native CPU. */ readonly nativeIterations: number; readonly what: string }

export const BENCH_PROGRAMS: readonly BenchProgram[] = [
  { name: 'sieve', nativeIterations: 60, what: 'sieve of Eratosthenes, 256 Ki' },
  { name: 'fib', nativeIterations: 500, what: 'recursive Fibonacci of 22' },
  { name: 'crc32', nativeIterations: 300, what: 'table CRC-32 of 64 KiB' },
  { name: 'sha256', nativeIterations: 400, what: 'SHA-256 of 16 KiB' },
  { name: 'interp', nativeIterations: 1500, what: 'bytecode interpreter, about 6,000 operations' },
  { name: 'qsort', nativeIterations: 80, what: 'quicksort of 8,192 words' },
  { name: 'modexp', nativeIterations: 800, what: 'modular exponentiation, 32-bit modulus' },
  { name: 'chase', nativeIterations: 400, what: 'pointer chase over 256 KiB' },
  { name: 'dhry', nativeIterations: 8000, what: 'records, strings, small procedures' },
  { name: 'bytesum', nativeIterations: 300, what: 'sum of 256 KiB, byte by byte' },
  { name: 'memcpy', nativeIterations: 600, what: 'word copy loop, 2 x 128 KiB' },
  { name: 'hash', nativeIterations: 250, what: 'open-addressing hash table' },
  { name: 'calls', nativeIterations: 600, what: 'indirect calls' },
];
