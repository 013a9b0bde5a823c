/** uniq [-c] [file]: drops lines that repeat the one before; -c says how often it was there. */
import { begin, failed, finish, operands, option, usage } from './lib/program';
import { eachFrom, eachNext } from './lib/each';
import { getLine } from './lib/input';
import { Bytes } from './lib/memory';
import { putByte, putBytes, putRight } from './lib/output';
import { sameBytes } from './lib/text';

let count: bool = false, seen: u64 = 0;

export function main(page: usize): void { begin(page); finish(run()); }

function run(): i32 {
  let letter: u32;
  while ((letter = option('c')) != 0) {
    if (letter == 63) return usage('uniq [-c] [file]');
    count = true;
  }
  let last = Bytes.create(), line = Bytes.create();
  eachFrom(operands());
  while (eachNext()) {
    while (getLine(line)) {
      if (line.get(line.length - 1) == 10) line.length--;
      if (seen && line.length == last.length && sameBytes(line.at, last.at, line.length)) { seen++; continue; }
      show(last);
      const swap = last; last = line; line = swap;
      seen = 1;
    }
  }
  show(last);
  return failed();
}

function show(line: Bytes): void {
  if (!seen) return;
  if (count) { putRight(seen, 7); putByte(32); }
  putBytes(line.at, line.length);
  putByte(10);
}
