/** sync: returns when everything written is on the disk. */
import { begin, complain, finish } from './lib/program';
import { sysSync } from './lib/sys';

export function main(page: usize): void { begin(page); finish(run()); }

function run(): i32 {
  const status = sysSync();
  if (status < 0) complain(0, status);
  return status < 0 ? 1 : 0;
}
