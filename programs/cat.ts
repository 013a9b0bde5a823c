/** cat [file...]: writes files, or its input, to its output one after another. "-" is the input. */
import { argument, argumentCount, begin, complain, complainText, failed, finish, operands, option, usage } from './lib/program';
import { copyFailedOnWrite, copyStream } from './lib/copy';
import { O_RDONLY, S_IFDIR, S_IFMT, openRetry, statFd, statMode } from './lib/files';
import { sysClose } from './lib/sys';
import { same } from './lib/text';

export function main(page: usize): void { begin(page); finish(run()); }

function run(): i32 {
  if (option('') != 0) return usage('cat [file...]');
  if (operands() == argumentCount) return one(0, 0) ? 0 : 1;
  for (let i = operands(); i < argumentCount; i++) {
    const name = argument(i);
    if (same(name, '-')) { one(0, name); continue; }
    const fd = openRetry(name, O_RDONLY, 0);
    if (fd < 0) { complain(name, fd); continue; }
    if (statFd(fd) >= 0 && (statMode() & S_IFMT) == S_IFDIR) complainText(name, 'is a directory');
    else if (!one(fd, name)) return 1;
    sysClose(fd);
  }
  return failed();
}

/** False when going on makes no sense: nobody takes the output. */
function one(fd: u32, name: usize): bool {
  const status = copyStream(fd, 1);
  if (status < 0) complain(copyFailedOnWrite() ? 0 : name, status);
  return status >= 0 || !copyFailedOnWrite();
}
