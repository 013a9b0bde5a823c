/** mv source... target: renames, or moves into a directory. */
import { argument, argumentCount, begin, complain, complainText, failed, finish, operands, option, usage } from './lib/program';
import { isDirectory } from './lib/files';
import { destination } from './lib/tree';
import { sysRename } from './lib/sys';

export function main(page: usize): void { begin(page); finish(run()); }

function run(): i32 {
  let letter: u32;
  while ((letter = option('f')) != 0) if (letter == 63) return usage('mv source... target');
  const start = operands();
  if (argumentCount - start < 2) return usage('mv source... target');
  const target = argument(argumentCount - 1);
  if (argumentCount - start > 2 && !isDirectory(target)) { complainText(target, 'not a directory'); return 1; }
  for (let i = start; i < argumentCount - 1; i++) {
    const status = sysRename(argument(i), destination(argument(i), target));
    if (status < 0) complain(argument(i), status);
  }
  return failed();
}
