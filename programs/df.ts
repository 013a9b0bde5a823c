/** df: how full the root file system is. */
import { begin, complain, finish } from './lib/program';
import { line, put, putByte, putRight } from './lib/output';
import { secondResult, sysStatfs, thirdResult } from './lib/sys';

export function main(page: usize): void { begin(page); finish(run()); }

function run(): i32 {
  const free = sysStatfs();
  if (free < 0) { complain(0, free); return 1; }
  const blocks = <u64>secondResult(), size = <u64>thirdResult(), used = blocks - free;
  line('KiB-blocks       used       free  use  on');
  putRight(blocks * size >> 10, 10); putByte(32); putRight(used * size >> 10, 10); putByte(32); putRight(<u64>free * size >> 10, 10);
  putRight(blocks ? used * 100 / blocks : 0, 4); put('%  /\n');
  return 0;
}
