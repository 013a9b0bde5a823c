/* The smallest guest: code runs, COM1 prints, the debug port ends the machine; then arithmetic the compiler cannot fold. */
#include "lib/guest.h"
static void output(void) { print("# hello from ring 0\n"); CHECK(1); }
static volatile u32 seven = 7;
static void arithmetic(void) {
  u32 a = 1;
  for (u32 i = 0; i < 1000; i++) a = a * 1103515245u + 12345u + seven;
  EQUAL(a, 0x5eaaa8a1u);
  u64 b = 0x123456789abcdefull;
  for (u32 i = 0; i < 100; i++) b = (b << 7 | b >> 57) * 3 + seven;
  EQUAL(b >> 32, 0x29871ed9u); EQUAL(b, 0x99386bc0u);
}
static void bss_is_zero(void) { static u32 big[4096]; u32 sum = 0; for (int i = 0; i < 4096; i++) sum |= big[i]; EQUAL(sum, 0); }
static void tsc_advances(void) { u64 a = rdtsc(); for (volatile int i = 0; i < 100; i++); CHECK(rdtsc() > a); }
static void cpuid_reports(void) {
  u32 a = 1, b, c = 0, d;
  asm volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
  /* FPU PSE TSC MSR PAE CX8 APIC SEP PGE CMOV FXSR SSE SSE2: what the kernel asks for. */
  for (int i = 0; i < 13; i++) { static const u8 bit[] = { 0, 3, 4, 5, 6, 8, 9, 11, 13, 15, 24, 25, 26 }; EQUAL(d >> bit[i] & 1, 1); }
}
const struct test tests[] = { { "serial output and exit", output }, { "integer arithmetic", arithmetic }, { "bss is zero", bss_is_zero }, { "the time stamp counter advances", tsc_advances }, { "cpuid reports what the kernel needs", cpuid_reports }, { 0, 0 } };
