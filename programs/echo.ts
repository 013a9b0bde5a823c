/** echo [-n] [text...]: writes its arguments with blanks between them and a newline. */
import { argument, argumentCount, begin, finish } from './lib/program';
import { putByte, putText } from './lib/output';
import { same } from './lib/text';

export function main(page: usize): void { begin(page); finish(run()); }

function run(): i32 {
  const quiet = argumentCount > 1 && same(argument(1), '-n');
  const start = quiet ? 2 : 1;
  for (let i = start; i < argumentCount; i++) {
    if (i > start) putByte(32);
    putText(argument(i));
  }
  if (!quiet) putByte(10);
  return 0;
}
