/** hexdump [-n bytes] [file...]: offset, sixteen bytes in hex, the same as characters. */
import { begin, complainText, failed, finish, operands, option, optionValue, usage } from './lib/program';
import { eachFrom, eachNext } from './lib/each';
import { getByte } from './lib/input';
import { put, putByte, putHex } from './lib/output';
import { isNumber, parseNumber } from './lib/text';

const ROW: usize = memory.data(16);
let limit: i64 = i64.MAX_VALUE;

export function main(page: usize): void { begin(page); finish(run()); }

function run(): i32 {
  let letter: u32;
  while ((letter = option('Cn:')) != 0) {
    if (letter == 63) return usage('hexdump [-n bytes] [file...]');
    if (letter == 67) continue;
    if (!isNumber(optionValue())) { complainText(optionValue(), 'not a number'); return 2; }
    limit = parseNumber(optionValue());
  }
  let offset: u64 = 0, used = 0;
  eachFrom(operands());
  while (eachNext()) {
    while (<i64>offset + used < limit) {
      const byte = getByte();
      if (byte < 0) break;
      store<u8>(ROW + used++, <u8>byte);
      if (used == 16) { row(offset, used); offset += 16; used = 0; }
    }
  }
  if (used) row(offset, used);
  putHex(offset + used, 8);
  putByte(10);
  return failed();
}

function row(offset: u64, used: i32): void {
  putHex(offset, 8);
  putByte(32);
  for (let i = 0; i < 16; i++) {
    if (i == 8) putByte(32);
    if (i < used) { putByte(32); putHex(load<u8>(ROW + i), 2); } else put('   ');
  }
  put('  |');
  for (let i = 0; i < used; i++) { const byte = <u32>load<u8>(ROW + i); putByte(byte - 32 < 95 ? byte : 46); }
  put('|\n');
}
