/** touch file...: makes files that do not exist. Existing ones stay as they are (the file system has no call that sets times). */
import { argument, argumentCount, begin, complain, failed, finish, operands, option, usage } from './lib/program';
import { O_CREAT, O_WRONLY, openRetry } from './lib/files';
import { sysClose } from './lib/sys';

export function main(page: usize): void { begin(page); finish(run()); }

function run(): i32 {
  if (option('') != 0 || operands() == argumentCount) return usage('touch file...');
  for (let i = operands(); i < argumentCount; i++) {
    const fd = openRetry(argument(i), O_WRONLY | O_CREAT, 0o644);
    if (fd < 0) complain(argument(i), fd); else sysClose(fd);
  }
  return failed();
}
