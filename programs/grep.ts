/** grep [-i] [-v] [-n] [-c] [-q] [-l] [-F] pattern [file...]: lines that match (lib/match.ts says what a pattern is). Status 1: none did. */
import { argument, argumentCount, begin, failed, finish, operands, option, usage } from './lib/program';
import { eachFrom, eachName, eachNext, eachSeveral } from './lib/each';
import { getLine } from './lib/input';
import { matches } from './lib/match';
import { Bytes } from './lib/memory';
import { put, putByte, putBytes, putNumber, putText } from './lib/output';
import { contains } from './lib/text';

export function main(page: usize): void { begin(page); finish(run()); }

function run(): i32 {
  let ignore = false, invert = false, numbers = false, count = false, quiet = false, list = false, fixed = false;
  let letter: u32;
  while ((letter = option('ivncqlFeE')) != 0) {
    if (letter == 105) ignore = true;
    else if (letter == 118) invert = true;
    else if (letter == 110) numbers = true;
    else if (letter == 99) count = true;
    else if (letter == 113) quiet = true;
    else if (letter == 108) list = true;
    else if (letter == 70) fixed = true;
    else if (letter == 63) return usage('grep [-i] [-v] [-n] [-c] [-q] [-l] [-F] pattern [file...]');
  }
  const first = operands() + 1;
  if (first > argumentCount) return usage('grep [-i] [-v] [-n] [-c] [-q] [-l] [-F] pattern [file...]');
  const pattern = argument(first - 1), into = Bytes.create();
  let any = false;
  eachFrom(first);
  while (eachNext()) {
    let number = 0, found = 0;
    while (getLine(into)) {
      number++;
      const length = into.get(into.length - 1) == 10 ? into.length - 1 : into.length;
      const hit = fixed ? contains(into.at, length, pattern, ignore) : matches(pattern, into.at, length, ignore);
      if (hit == invert) continue;
      found++;
      any = true;
      if (quiet) return 0;
      if (list) break;
      if (count) continue;
      if (eachSeveral(first) && eachName()) { putText(eachName()); putByte(58); }
      if (numbers) { putNumber(number); putByte(58); }
      putBytes(into.at, length);
      putByte(10);
    }
    if (list) { if (found && eachName()) { putText(eachName()); putByte(10); } }
    else if (count) {
      if (eachSeveral(first) && eachName()) { putText(eachName()); putByte(58); }
      putNumber(found);
      putByte(10);
    }
  }
  return failed() ? 2 : any ? 0 : 1;
}
