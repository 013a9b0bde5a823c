/** Indirect calls through a table of eight functions: what a server's dispatch and an object's methods cost. */
function f0(a: u32): u32 { return a + 1; }
function f1(a: u32): u32 { return a ^ 0x5555; }
function f2(a: u32): u32 { return a * 3; }
function f3(a: u32): u32 { return a - 7; }
function f4(a: u32): u32 { return (a << 3) | (a >> 29); }
function f5(a: u32): u32 { return ~a; }
function f6(a: u32): u32 { return a + (a >> 4); }
function f7(a: u32): u32 { return a ^ (a >> 7); }
const table: StaticArray<(a: u32) => u32> = [f0, f1, f2, f3, f4, f5, f6, f7];

export function calls(): u32 {
  let a: u32 = 1;
  for (let i: u32 = 0; i < 20000; i++) a = unchecked(table[(a ^ i) & 7])(a);
  return a;
}
