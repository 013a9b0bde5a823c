/** pwd: the working directory. */
import { begin, complain, finish } from './lib/program';
import { putByte, putBytes } from './lib/output';
import { sysGetcwd } from './lib/sys';

const PATH: usize = memory.data(1024);

export function main(page: usize): void { begin(page); finish(run()); }

function run(): i32 {
  const bytes = sysGetcwd(PATH, 1024);
  if (bytes < 0) { complain(0, bytes); return 1; }
  putBytes(PATH, bytes);
  putByte(10);
  return 0;
}
