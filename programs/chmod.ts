/** chmod octal path...: sets the permission bits. */
import { argument, argumentCount, begin, complain, complainText, failed, finish, usage } from './lib/program';
import { sysChmod } from './lib/sys';

export function main(page: usize): void { begin(page); finish(run()); }

function run(): i32 {
  if (argumentCount < 3) return usage('chmod octal path...');
  let mode: u32 = 0, p = argument(1);
  for (; load<u8>(p); p++) {
    if (<u32>load<u8>(p) - 48 > 7 || mode > 0o777) { complainText(argument(1), 'not an octal mode'); return 2; }
    mode = mode << 3 | (load<u8>(p) - 48);
  }
  for (let i = 2; i < argumentCount; i++) {
    const status = sysChmod(argument(i), mode);
    if (status < 0) complain(argument(i), status);
  }
  return failed();
}
