/** rmdir path...: removes empty directories. */
import { argument, argumentCount, begin, complain, failed, finish, operands, option, usage } from './lib/program';
import { sysRmdir } from './lib/sys';

export function main(page: usize): void { begin(page); finish(run()); }

function run(): i32 {
  if (option('') != 0 || operands() == argumentCount) return usage('rmdir path...');
  for (let i = operands(); i < argumentCount; i++) {
    const status = sysRmdir(argument(i));
    if (status < 0) complain(argument(i), status);
  }
  return failed();
}
