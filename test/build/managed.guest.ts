/** Managed code: strings, maps, closures of none, arrays, classes with virtual methods, floats in text. managed.test.ts runs it twice. */
export declare function linux_syscall(n: u32, a: u32, b: u32, c: u32): i32;

abstract class Shape { abstract area(): f64; name(): string { return 'shape'; } }
class Square extends Shape { constructor(public side: f64) { super(); } area(): f64 { return this.side * this.side; } name(): string { return 'square'; } }
class Circle extends Shape { constructor(public r: f64) { super(); } area(): f64 { return this.r * this.r * 3.25; } }

function print(s: string): void {
  const b = String.UTF8.encode(s + '\n');
  linux_syscall(4, 1, <u32>changetype<usize>(b), b.byteLength);
}
let seed: u32 = 7;
function next(): u32 { seed = seed * 1103515245 + 12345; return seed >> 8; }

export function main(stack: usize): i32 {
  const m = new Map<string, i32>();
  for (let round = 0; round < 40; round++) { // much garbage, so that a collector has to work
    for (let i = 0; i < 200; i++) m.set('key' + (next() % 500).toString(), i + round);
  }
  let sum: i64 = 0;
  const keys = m.keys().sort();
  for (let i = 0; i < keys.length; i++) sum = sum * 31 + m.get(keys[i]) + keys[i].length;
  print('keys ' + keys.length.toString() + ' sum ' + sum.toString());
  const shapes: Shape[] = [];
  for (let i = 0; i < 10; i++) shapes.push((next() & 1) != 0 ? new Square(<f64>i / 4) : new Circle(<f64>i));
  let total: f64 = 0;
  let names = '';
  for (let i = 0; i < shapes.length; i++) { total += shapes[i].area(); names += shapes[i].name().charAt(1); }
  print(names + ' ' + total.toString() + ' ' + Math.sqrt(total).toString() + ' ' + (total / 3).toString());
  const bytes = new Uint8Array(1000);
  for (let i = 0; i < bytes.length; i++) bytes[i] = <u8>next();
  bytes.sort();
  print(bytes.subarray(490, 500).join(','));
  print([3.5, -1.25, 1e300, 0.1].map<string>((x) => x.toString()).join(' ') + ' ' + i64.MIN_VALUE.toString() + ' ' + u64.MAX_VALUE.toString(16) + ' ' + f64.parse('2.5e3').toString());
  return 0;
}
