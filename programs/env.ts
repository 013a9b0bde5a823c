/** env [NAME=value...]: the environment a program gets, with these added. */
import { argument, argumentCount, begin, complainText, environment, environmentBytes, finish } from './lib/program';
import { putByte, putText } from './lib/output';
import { find, lengthOf, sameBytes } from './lib/text';

export function main(page: usize): void { begin(page); finish(run()); }

function replaced(entry: usize): bool {
  const equals = find(entry, 61);
  if (!equals) return false;
  for (let i = 1; i < argumentCount; i++) if (sameBytes(argument(i), entry, <i32>(equals - entry) + 1)) return true;
  return false;
}

function run(): i32 {
  let p = environment();
  const end = p + environmentBytes();
  for (; p < end; p += lengthOf(p) + 1) if (!replaced(p)) { putText(p); putByte(10); }
  for (let i = 1; i < argumentCount; i++) {
    if (!find(argument(i), 61)) { complainText(argument(i), 'not of the form NAME=value'); return 2; }
    putText(argument(i));
    putByte(10);
  }
  return 0;
}
