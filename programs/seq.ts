/** seq [first [step]] last: whole numbers, one per line. */
import { argument, argumentCount, begin, complainText, finish, usage } from './lib/program';
import { putByte, putNumber } from './lib/output';
import { isNumber, parseNumber } from './lib/text';

export function main(page: usize): void { begin(page); finish(run()); }

function run(): i32 {
  if (argumentCount < 2 || argumentCount > 4) return usage('seq [first [step]] last');
  for (let i = 1; i < argumentCount; i++) if (!isNumber(argument(i))) { complainText(argument(i), 'not a whole number'); return 2; }
  const last = parseNumber(argument(argumentCount - 1));
  const step: i64 = argumentCount == 4 ? parseNumber(argument(2)) : 1;
  if (step == 0) { complainText(0, 'the step must not be 0'); return 2; }
  for (let value: i64 = argumentCount > 2 ? parseNumber(argument(1)) : 1; step > 0 ? value <= last : value >= last; value += step) {
    putNumber(value);
    putByte(10);
  }
  return 0;
}
