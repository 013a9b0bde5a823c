/** ln [-s] [-f] target link: a hard link, or with -s a symbolic one; -f replaces what is there. */
import { argument, argumentCount, begin, complain, failed, finish, operands, option, usage } from './lib/program';
import { isDirectory, joinPath } from './lib/files';
import { sysLink, sysSymlink, sysUnlink } from './lib/sys';
import { baseName } from './lib/text';

export function main(page: usize): void { begin(page); finish(run()); }

function run(): i32 {
  let symbolic = false, force = false;
  let letter: u32;
  while ((letter = option('sf')) != 0) {
    if (letter == 115) symbolic = true;
    else if (letter == 102) force = true;
    else return usage('ln [-s] [-f] target link');
  }
  if (argumentCount - operands() != 2) return usage('ln [-s] [-f] target link');
  const target = argument(operands());
  let link = argument(operands() + 1);
  if (isDirectory(link)) link = joinPath(link, baseName(target));
  if (force) sysUnlink(link);
  const status = symbolic ? sysSymlink(target, link) : sysLink(target, link);
  if (status < 0) complain(link, status);
  return failed();
}
