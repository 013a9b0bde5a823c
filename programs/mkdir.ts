/** mkdir [-p] path...: makes directories; -p with all those above, and existing ones are no failure. */
import { argument, argumentCount, begin, complain, failed, finish, operands, option, usage } from './lib/program';
import { EEXIST } from './lib/errors';
import { isDirectory } from './lib/files';
import { sysMkdir } from './lib/sys';
import { Text } from './lib/text';

export function main(page: usize): void { begin(page); finish(run()); }

function run(): i32 {
  let parents = false;
  let letter: u32;
  while ((letter = option('p')) != 0) {
    if (letter == 63) return usage('mkdir [-p] path...');
    parents = true;
  }
  if (operands() == argumentCount) return usage('mkdir [-p] path...');
  for (let i = operands(); i < argumentCount; i++) {
    const path = argument(i);
    if (parents) above(path);
    const status = sysMkdir(path, 0o755);
    if (status < 0 && !(parents && status == -EEXIST && isDirectory(path))) complain(path, status);
  }
  return failed();
}

/** Makes every directory above the last name; what cannot be made shows when the last one is. */
function above(path: Text): void {
  for (let p = path + 1; load<u8>(p - 1) && load<u8>(p); p++) {
    if (load<u8>(p) != 47) continue;
    store<u8>(p, 0);
    sysMkdir(path, 0o755);
    store<u8>(p, 47);
  }
}
