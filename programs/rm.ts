/** rm [-r] [-f] path...: removes files, with -r whole trees; -f does not mind what is missing. */
import { argument, argumentCount, begin, complainText, failed, finish, operands, option, usage } from './lib/program';
import { removeTree } from './lib/tree';
import { baseName, same } from './lib/text';

export function main(page: usize): void { begin(page); finish(run()); }

function run(): i32 {
  let deep = false, force = false;
  let letter: u32;
  while ((letter = option('rRf')) != 0) {
    if (letter == 63) return usage('rm [-r] [-f] path...');
    if (letter == 102) force = true; else deep = true;
  }
  if (operands() == argumentCount && !force) return usage('rm [-r] [-f] path...');
  for (let i = operands(); i < argumentCount; i++) {
    const path = argument(i), base = baseName(path);
    if (same(base, '.') || same(base, '..') || same(base, '/')) { complainText(path, 'refusing to remove'); continue; }
    removeTree(path, deep, force);
  }
  return failed();
}
