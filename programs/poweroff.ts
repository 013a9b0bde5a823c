/** poweroff [status]: writes everything to disk and switches the machine off; a host that waits for a status gets this one. */
import { argument, argumentCount, begin, complain, complainText, finish } from './lib/program';
import { flush } from './lib/output';
import { sysPoweroff, sysSleep } from './lib/sys';
import { isNumber, parseNumber } from './lib/text';

export function main(page: usize): void { begin(page); finish(run()); }

function run(): i32 {
  let status = 0;
  if (argumentCount > 1) {
    if (!isNumber(argument(1))) { complainText(argument(1), 'not a status'); return 2; }
    status = <i32>parseNumber(argument(1)) & 255;
  }
  flush();
  const result = sysPoweroff(status);
  if (result < 0) { complain(0, result); return 1; }
  while (sysSleep(1000000000) == 0);
  return 0;
}
