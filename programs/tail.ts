/** tail [-n lines | -lines | -n +line | -c bytes] [file...]: the end, kept in memory while it passes. */
import { begin, complainText, failed, finish, numberOption, operands, option, optionValue, usage } from './lib/program';
import { eachFrom, eachName, eachNext, eachSeveral } from './lib/each';
import { getByte, getLine } from './lib/input';
import { put, putByte, putBytes, putText } from './lib/output';
import { Bytes, List, allocate, keep, release } from './lib/memory';
import { isNumber, parseNumber } from './lib/text';

export function main(page: usize): void { begin(page); finish(run()); }

function run(): i32 {
  let count: i64 = 10, bytes = false, fromStart = false;
  const short = numberOption();
  if (short >= 0) count = short;
  let letter: u32;
  while ((letter = option('n:c:')) != 0) {
    if (letter == 63) return usage('tail [-n [+]lines | -c bytes] [file...]');
    if (!isNumber(optionValue())) { complainText(optionValue(), 'not a number'); return 2; }
    count = parseNumber(optionValue());
    fromStart = load<u8>(optionValue()) == 43;
    if (count < 0) count = -count;
    bytes = letter == 99;
  }
  if (count > 1000000) count = 1000000;
  const first = operands();
  let begun = false;
  eachFrom(first);
  while (eachNext()) {
    if (eachSeveral(first)) { if (begun) putByte(10); put('==> '); if (eachName()) putText(eachName()); else put('standard input'); put(' <==\n'); }
    begun = true;
    if (bytes) lastBytes(<i32>count);
    else if (fromStart) skipLines(<i32>count);
    else lastLines(<i32>count);
  }
  return failed();
}

function skipLines(start: i32): void {
  const into = Bytes.create();
  for (let number = 1; getLine(into); number++) if (number >= start) putBytes(into.at, into.length);
  into.free();
}

/** A ring of the last `count` lines. */
function lastLines(count: i32): void {
  if (count == 0) return;
  const lines = List.create(), lengths = List.create(), into = Bytes.create();
  let seen = 0;
  while (getLine(into)) {
    const copy = keep(into.at, into.length), slot = seen % count;
    if (seen < count) { lines.push(copy); lengths.push(into.length); }
    else { release(lines.get(slot)); lines.set(slot, copy); lengths.set(slot, into.length); }
    seen++;
  }
  for (let i = max(0, seen - count); i < seen; i++) putBytes(lines.get(i % count), <i32>lengths.get(i % count));
  for (let i = 0; i < lines.length; i++) release(lines.get(i));
  lines.free(); lengths.free(); into.free();
}

function lastBytes(count: i32): void {
  if (count == 0) return;
  const ring = allocate(count);
  let seen: u32 = 0, byte: i32;
  while ((byte = getByte()) >= 0) store<u8>(ring + seen++ % count, <u8>byte);
  for (let i = seen > <u32>count ? seen - count : 0; i < seen; i++) putByte(load<u8>(ring + i % count));
  release(ring);
}
