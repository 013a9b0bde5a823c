/** uptime: time since boot. */
import { begin, finish } from './lib/program';
import { put, putByte, putNumber, putZeros } from './lib/output';
import { clock } from './lib/sys';

export function main(page: usize): void { begin(page); finish(run()); }

function run(): i32 {
  const ms = clock() / 1000000, seconds = ms / 1000;
  put('up ');
  if (seconds >= 86400) { putNumber(seconds / 86400); put(' days '); }
  putZeros(seconds / 3600 % 24, 2); putByte(58);
  putZeros(seconds / 60 % 60, 2); putByte(58);
  putZeros(seconds % 60, 2); putByte(46); putZeros(ms % 1000, 3);
  putByte(10);
  return 0;
}
