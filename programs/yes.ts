/** yes [text]: writes the text again and again until nobody reads it. */
import { argument, argumentCount, begin, finish } from './lib/program';
import { outputFailed, put, putByte, putText } from './lib/output';

export function main(page: usize): void { begin(page); finish(run()); }

function run(): i32 {
  while (!outputFailed()) {
    if (argumentCount < 2) put('y');
    for (let i = 1; i < argumentCount; i++) { if (i > 1) putByte(32); putText(argument(i)); }
    putByte(10);
  }
  return 1;
}
