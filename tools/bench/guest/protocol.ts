/**
 * What both bench images do: read the plan, run it, report every repetition.
 *
 *   plan     "<repetitions> <program>:<iterations> ..." in decimal; other words are skipped (loaders put the image's name first)
 *   report   "S <program>" before a program's first repetition, "R <program> <repetition> <checksum hex>[ <cpu ns>]" after each, "E" at the end
 *
 * The host reads CPU time when a line arrives; the Linux image also reports its own. A line whose iterations disagree among
 * themselves says "X" instead of "R".
 */
const line = memory.data(64, 16);
let length: u32 = 0;

function put(c: u32): void { store<u8>(line + length++, c); }
function putDecimal(v: u32): void { if (v >= 10) putDecimal(v / 10); put(48 + v % 10); }
function putHex(v: u32): void { for (let i = 28; i >= 0; i -= 4) { const d = (v >> i) & 15; put(d < 10 ? 48 + d : 87 + d); } }
/** Appends " <ns>" when the platform can tell: seconds and nanoseconds. */
export function putTime(seconds: u32, ns: u32): void {
  put(32);
  let v: u64 = <u64>seconds * 1000000000 + ns;
  const high = <u32>(v / 1000000000), low = <u32>(v % 1000000000);
  if (high) putDecimal(high);
  for (let d: u32 = 100000000; d > 0; d /= 10) put(48 + low / d % 10);
}

/** `iterate(program)` does one iteration and returns its checksum, `emit(address, bytes)` writes a line, `stamp()` may append the time. Returns 0, or 1 when a checksum was not constant. */
export function runPlan(plan: usize, iterate: (program: u32) => u32, emit: (at: usize, n: u32) => void, stamp: () => void): u32 {
  let repetitions: u32 = 0, bad: u32 = 0, p = plan;
  while (true) {
    while (load<u8>(p) == 32) p++;
    if (load<u8>(p) == 0) break;
    let a: u32 = 0, b: u32 = 0, digits = true, colon = false;
    for (; load<u8>(p) > 32; p++) {
      const c: u32 = load<u8>(p);
      if (c == 58 && !colon) colon = true;
      else if (c >= 48 && c <= 57) { if (colon) b = b * 10 + c - 48; else a = a * 10 + c - 48; }
      else digits = false;
    }
    if (!digits) continue;
    if (!colon) { repetitions = a; continue; }
    length = 0; put(83); put(32); putDecimal(a); stamp(); put(10); emit(line, length);
    const want = iterate(a);
    for (let r: u32 = 0; r < repetitions; r++) {
      let same = true;
      for (let i: u32 = 0; i < b; i++) if (iterate(a) != want) same = false;
      length = 0;
      put(same ? 82 : 88); put(32); putDecimal(a); put(32); putDecimal(r); put(32); putHex(want); stamp(); put(10);
      emit(line, length);
      if (!same) bad = 1;
    }
  }
  length = 0; put(69); put(10); emit(line, length);
  return bad;
}
