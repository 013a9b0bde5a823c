/** cp [-r] source... target: copies files; with -r whole trees. Several sources need a directory as target. */
import { argument, argumentCount, begin, complainText, failed, finish, operands, option, usage } from './lib/program';
import { isDirectory } from './lib/files';
import { copyFile, copyTree, destination } from './lib/tree';

export function main(page: usize): void { begin(page); finish(run()); }

function run(): i32 {
  let deep = false;
  let letter: u32;
  while ((letter = option('rRa')) != 0) {
    if (letter == 63) return usage('cp [-r] source... target');
    deep = true;
  }
  const start = operands();
  if (argumentCount - start < 2) return usage('cp [-r] source... target');
  const target = argument(argumentCount - 1);
  if (argumentCount - start > 2 && !isDirectory(target)) { complainText(target, 'not a directory'); return 1; }
  for (let i = start; i < argumentCount - 1; i++) {
    const source = argument(i);
    if (!deep && isDirectory(source)) { complainText(source, 'is a directory (-r copies it)'); continue; }
    if (deep) copyTree(source, destination(source, target)); else copyFile(source, destination(source, target));
  }
  return failed();
}
