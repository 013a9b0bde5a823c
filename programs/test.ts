/** test expression: status 0 when it holds, 1 when not, 2 when it is malformed. Called as `[`, the last argument must be `]`. */
import { argument, argumentCount, begin, complainText, finish, programName } from './lib/program';
import { condition, conditionError } from './lib/condition';
import { List } from './lib/memory';
import { same } from './lib/text';

export function main(page: usize): void { begin(page); finish(run()); }

function run(): i32 {
  let last = argumentCount;
  if (same(programName(), '[')) {
    if (last < 2 || !same(argument(last - 1), ']')) { complainText(0, 'the closing ] is missing'); return 2; }
    last--;
  }
  const list = List.create();
  for (let i = 0; i < last; i++) list.push(argument(i));
  const status = condition(list, 1, last);
  if (status == 2) complainText(0, conditionError());
  return status;
}
