/** sort [-r] [-n] [-u] [file...]: lines in byte order, or by their leading number with -n. */
import { begin, failed, finish, operands, option, usage } from './lib/program';
import { eachFrom, eachNext } from './lib/each';
import { sortTexts } from './lib/files';
import { getLine } from './lib/input';
import { Bytes, List, allocate, keep } from './lib/memory';
import { putByte, putText } from './lib/output';
import { Text, equal, formatNumber, isSpace, parseNumber } from './lib/text';

export function main(page: usize): void { begin(page); finish(run()); }

const KEY: i32 = 20; // digits of u64
/** -n: a text whose byte order is the order of the numbers: 20 digits of (value + 2^63) before the line. */
function numericKey(line: Text, length: i32): Text {
  const block = allocate(length + KEY + 1);
  let p = line;
  while (isSpace(load<u8>(p))) p++;
  const value = <u64>parseNumber(p) + 0x8000000000000000;
  memory.fill(block, 48, KEY);
  const digits = memory.data(72);
  const count = formatNumber(digits, value, 10);
  memory.copy(block + KEY - count, digits, count);
  memory.copy(block + KEY, line, length + 1);
  return block;
}

function run(): i32 {
  let reverse = false, numeric = false, unique = false;
  let letter: u32;
  while ((letter = option('rnu')) != 0) {
    if (letter == 114) reverse = true;
    else if (letter == 110) numeric = true;
    else if (letter == 117) unique = true;
    else return usage('sort [-r] [-n] [-u] [file...]');
  }
  const lines = List.create(), into = Bytes.create();
  eachFrom(operands());
  while (eachNext()) {
    while (getLine(into)) {
      const length = into.get(into.length - 1) == 10 ? into.length - 1 : into.length;
      into.length = length;
      const text = into.finish();
      lines.push(numeric ? numericKey(text, length) : keep(text, length));
    }
  }
  sortTexts(lines.at, lines.length);
  const skip = numeric ? KEY : 0;
  for (let i = 0; i < lines.length; i++) {
    const index = reverse ? lines.length - 1 - i : i;
    if (unique && i && equal(lines.get(index) + skip, lines.get(reverse ? index + 1 : index - 1) + skip)) continue;
    putText(lines.get(index) + skip);
    putByte(10);
  }
  return failed();
}
