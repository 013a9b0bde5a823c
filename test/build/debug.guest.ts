/** Stops at known lines in nested calls: debug.test.ts looks for the words STOP and CALL in this file. */
import { ud2 } from 'kintsugi/x86';
export declare function install_handler(): void;

let depth: u32 = 0;
@inline function check(n: u32): void {
  if (n == 0) ud2(); // STOP
}
function leaf(a: u32, b: u64, c: u32, d: u32): u32 {
  depth += a;
  check(d);
  return leaf(a + 1, b * 3, c ^ <u32>b, d - 1) + c + d + depth; // CALL leaf
}
function middle(n: u32): u32 {
  const t = leaf(n, n + 7, n * 3, 2) * 5; // CALL middle
  return t ^ n;
}
export function main(stack: usize): i32 {
  install_handler();
  return <i32>middle(load<u32>(stack)) + 1; // CALL main
}
