/** Product of 48 x 48 matrices, and y += a x over 4,096 elements, in double precision: by scalar SSE2, and by x87 with its 64 bits in between. */
// @ts-ignore: decorator
@external("stub", "x87Init")
declare function x87Init(): void;
// @ts-ignore: decorator
@external("stub", "x87Dot")
declare function x87Dot(p: usize, q: usize, result: usize): void;
// @ts-ignore: decorator
@external("stub", "x87Axpy")
declare function x87Axpy(y: usize, x: usize, a: usize): void;

const N: u32 = 48;
const a = memory.data(18432, 16), b = memory.data(18432, 16), c = memory.data(18432, 16), x = memory.data(32768, 16), y = memory.data(32768, 16);
let ready: bool = false;

function prepare(): void {
  if (ready) return;
  ready = true;
  for (let i: u32 = 0; i < N * N; i++) {
    store<f64>(a + (i << 3), <f64>(<i32>(i * 7 % 31) - 15) / 7.0);
    store<f64>(b + (i << 3), <f64>(<i32>(i * 11 % 29) - 14) / 11.0);
  }
  for (let i: u32 = 0; i < 4096; i++) store<f64>(x + (i << 3), <f64>i / 63.0);
}
function fold(at: usize, count: u32): u32 {
  let sum: u32 = 0;
  for (let i: u32 = 0; i < count; i++) sum = rotl<u32>(sum, 5) + (load<u32>(at + (i << 3)) ^ load<u32>(at + (i << 3) + 4));
  return sum;
}

export function matmul(): u32 {
  prepare();
  for (let i: u32 = 0; i < N; i++) {
    for (let j: u32 = 0; j < N; j++) {
      let sum: f64 = 0;
      let p = a + ((i * N) << 3), q = b + (j << 3);
      for (let k: u32 = 0; k < N; k++, p += 8, q += N << 3) sum += load<f64>(p) * load<f64>(q);
      store<f64>(c + ((i * N + j) << 3), sum);
    }
  }
  return fold(c, 64);
}

export function daxpy(): u32 {
  prepare();
  for (let i: usize = 0; i < 32768; i += 8) store<f64>(y + i, 0.3);
  for (let r = 0; r < 8; r++) for (let i: usize = 0; i < 32768; i += 8) store<f64>(y + i, load<f64>(y + i) + 0.7 * load<f64>(x + i));
  return fold(y, 64);
}

const factor = memory.data(8, 8);
export function matmul87(): u32 {
  prepare();
  x87Init();
  for (let i: u32 = 0; i < N; i++) for (let j: u32 = 0; j < N; j++) x87Dot(a + ((i * N) << 3), b + (j << 3), c + ((i * N + j) << 3));
  return fold(c, 64);
}
export function daxpy87(): u32 {
  prepare();
  x87Init();
  store<f64>(factor, 0.7);
  for (let i: usize = 0; i < 32768; i += 8) store<f64>(y + i, 0.3);
  for (let r = 0; r < 8; r++) x87Axpy(y, x, factor);
  return fold(y, 64);
}
