/** Every kind of integer arithmetic on registers: add, multiply, divide, shift, rotate, compare, select, 64-bit carry chains. */
export function intmix(): u32 {
  let a: u32 = 0x12345678, b: u32 = 0x9abcdef1, sum: u64 = 1;
  for (let i: u32 = 1; i <= 20000; i++) {
    a = a * 0x19660d + 0x3c6ef35f;
    b ^= b << 13; b ^= b >> 17; b ^= b << 5;
    sum += <u64>a * b;
    a = rotl<u32>(a, 7) ^ <u32>(sum >> 32);
    if ((i & 7) == 0) a += b / (i | 1) + b % 1000;
    b = <i32>a < <i32>b ? b + i : b - i;
  }
  return a ^ b ^ <u32>sum;
}
