/** wc [-l] [-w] [-c] [file...]: lines, words and bytes. */
import { argumentCount, begin, failed, finish, operands, option, usage } from './lib/program';
import { eachFrom, eachName, eachNext, eachSeveral } from './lib/each';
import { getByte } from './lib/input';
import { put, putByte, putRight, putText } from './lib/output';
import { isSpace } from './lib/text';

let lines: bool = false, words: bool = false, bytes: bool = false, wide: i32 = 7;

export function main(page: usize): void { begin(page); finish(run()); }

function run(): i32 {
  let letter: u32;
  while ((letter = option('lwc')) != 0) {
    if (letter == 108) lines = true;
    else if (letter == 119) words = true;
    else if (letter == 99) bytes = true;
    else return usage('wc [-l] [-w] [-c] [file...]');
  }
  if (!lines && !words && !bytes) { lines = true; words = true; bytes = true; }
  const first = operands();
  if (<i32>lines + <i32>words + <i32>bytes == 1 && !eachSeveral(first)) wide = 0;
  let allLines: u64 = 0, allWords: u64 = 0, allBytes: u64 = 0;
  eachFrom(first);
  while (eachNext()) {
    let l: u64 = 0, w: u64 = 0, c: u64 = 0, inside = false, byte: i32;
    while ((byte = getByte()) >= 0) {
      c++;
      if (byte == 10) l++;
      const space = isSpace(byte);
      if (!space && !inside) w++;
      inside = !space;
    }
    report(l, w, c);
    if (eachName()) { putByte(32); putText(eachName()); }
    putByte(10);
    allLines += l; allWords += w; allBytes += c;
  }
  if (eachSeveral(first)) { report(allLines, allWords, allBytes); put(' total\n'); }
  return failed();
}

function report(l: u64, w: u64, c: u64): void {
  let gap = false;
  if (lines) { putRight(l, wide); gap = true; }
  if (words) { if (gap) putByte(32); putRight(w, wide); gap = true; }
  if (bytes) { if (gap) putByte(32); putRight(c, wide); }
}
