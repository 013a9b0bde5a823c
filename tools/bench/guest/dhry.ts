/** In the manner of Dhrystone 2: records, string copies and compares, small procedures, a switch; per iteration 50 rounds. */
@unmanaged @final class Rec { next: Rec; kind: u32; value: i32; component: u32; name0: u64; name1: u64; name2: u64; name3: u64 }
const first = changetype<Rec>(memory.data(64, 16)), second = changetype<Rec>(memory.data(64, 16));
const s1 = memory.data(32, 16), s2 = memory.data(32, 16);
const text = memory.data<u8>([68, 72, 82, 89, 83, 84, 79, 78, 69, 32, 80, 82, 79, 71, 82, 65, 77, 44, 32, 49, 39, 83, 84, 32, 83, 84, 82, 73, 78, 71, 46, 0]);
const array = memory.data(200, 16);
let globalInt: i32 = 0, globalBool: bool = false, globalChar: u8 = 0;

function copyString(to: usize, from: usize): void { let c: u8; do { c = load<u8>(from++); store<u8>(to++, c); } while (c); }
function compareString(a: usize, b: usize): i32 {
  while (true) { const x = load<u8>(a++), y = load<u8>(b++); if (x != y) return <i32>x - <i32>y; if (x == 0) return 0; }
}
function kindOf(c: u8, d: u8): u32 { const local = c; if (local != d) return 0; globalChar = local; return 1; }
function classify(value: u32): u32 {
  switch (value) { case 0: return 3; case 1: return globalInt > 100 ? 0 : 3; case 2: return 1; case 3: return 2; case 4: return 2; default: return 0; }
}
function fill(record: Rec): void {
  const next = record.next;
  memory.copy(changetype<usize>(next), changetype<usize>(record), 60);
  record.value = 5; next.value = record.value; next.next = record.next;
  if (next.component == 0) { next.value = 6; next.kind = classify(record.kind); next.value += 10; } else memory.copy(changetype<usize>(record), changetype<usize>(next), 60);
}
function arrays(index: i32, value: i32): void {
  const at = array + ((index + 5) << 2);
  store<i32>(at, value); store<i32>(at + 4, load<i32>(at)); store<i32>(at + 120, index + 5);
  globalInt = 5;
}

export function dhry(): u32 {
  let sum: u32 = 0;
  first.next = second; first.kind = 0; first.component = 2; first.value = 40; second.next = first; second.component = 0;
  copyString(s1, text);
  for (let run: u32 = 1; run <= 50; run++) {
    globalBool = true; globalChar = 66;
    copyString(s2, text);
    store<u8>(s2 + 19, 50);
    let a: i32 = 2, b: i32 = 3, c: i32 = 0;
    globalBool = compareString(s1, s2) >= 0;
    while (a < b) { c = 5 * a - b; c = a + 2 + c; a++; }
    arrays(a, c);
    fill(first);
    for (let ch: u8 = 65; ch <= globalChar; ch++) if (kindOf(ch, 67)) { copyString(s2, text); b = run; }
    b = b * a; a = b / c; b = 7 * (b - c) - a;
    sum = sum * 31 + <u32>(a + b + c + first.value + second.value + globalInt) + <u32>globalBool;
  }
  return sum;
}
