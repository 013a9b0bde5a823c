/** Modular exponentiation with a 32-bit modulus: 64-bit products and divisions (MUL, DIV on a 32-bit machine). */
export function modexp(): u32 {
  const m: u64 = 4294967291;
  let sum: u32 = 0;
  for (let n: u32 = 0; n < 64; n++) {
    let base: u64 = 3 + n, result: u64 = 1, e: u32 = 0xdeadbeef;
    while (e) {
      if (e & 1) result = result * base % m;
      base = base * base % m;
      e >>= 1;
    }
    sum += <u32>result;
  }
  return sum;
}
