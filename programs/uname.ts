/** uname [-a]: the name of the system. */
import { argumentCount, begin, finish } from './lib/program';
import { put } from './lib/output';

export function main(page: usize): void { begin(page); finish(run()); }

function run(): i32 {
  put(argumentCount > 1 ? 'Kintsugi 0.1.0 i386 native\n' : 'Kintsugi\n');
  return 0;
}
