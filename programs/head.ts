/** head [-n lines | -lines | -c bytes] [file...]: the beginning. */
import { argument, begin, complainText, failed, finish, numberOption, operands, option, optionValue, usage } from './lib/program';
import { eachFrom, eachName, eachNext, eachSeveral } from './lib/each';
import { getByte, getLine } from './lib/input';
import { put, putByte, putBytes, putText } from './lib/output';
import { Bytes } from './lib/memory';
import { isNumber, parseNumber } from './lib/text';

export function main(page: usize): void { begin(page); finish(run()); }

function run(): i32 {
  let count: i64 = 10, bytes = false;
  const short = numberOption();
  if (short >= 0) count = short;
  let letter: u32;
  while ((letter = option('n:c:')) != 0) {
    if (letter == 63) return usage('head [-n lines | -c bytes] [file...]');
    if (!isNumber(optionValue())) { complainText(optionValue(), 'not a number'); return 2; }
    count = parseNumber(optionValue());
    bytes = letter == 99;
  }
  const first = operands();
  const into = Bytes.create();
  let begun = false;
  eachFrom(first);
  while (eachNext()) {
    if (eachSeveral(first)) { if (begun) putByte(10); put('==> '); if (eachName()) putText(eachName()); else put('standard input'); put(' <==\n'); }
    begun = true;
    if (bytes) {
      for (let i: i64 = 0; i < count; i++) {
        const byte = getByte();
        if (byte < 0) break;
        putByte(byte);
      }
    } else for (let i: i64 = 0; i < count && getLine(into); i++) putBytes(into.at, into.length);
  }
  return failed();
}
