/** sleep seconds: waits; a decimal fraction is allowed. */
import { argument, argumentCount, begin, complainText, finish, usage } from './lib/program';
import { EINTR } from './lib/errors';
import { clock, sysSleep } from './lib/sys';
import { Text, isDigit } from './lib/text';

export function main(page: usize): void { begin(page); finish(run()); }

function run(): i32 {
  if (argumentCount != 2) return usage('sleep seconds');
  const ns = nanoseconds(argument(1));
  if (ns == u64.MAX_VALUE) { complainText(argument(1), 'not a number of seconds'); return 2; }
  const end = clock() + ns;
  let now = clock();
  while (now < end && sysSleep(end - now) == -EINTR) now = clock();
  return 0;
}

/** "1.25" -> 1,250,000,000; u64.MAX_VALUE when it is no number. At most 10^9 seconds. */
function nanoseconds(text: Text): u64 {
  let value: u64 = 0, scale: u64 = 1000000000, digits = 0;
  let p = text;
  while (isDigit(load<u8>(p))) { value = min<u64>(value * 10 + (load<u8>(p++) - 48), 1000000000); digits++; }
  value *= 1000000000;
  if (load<u8>(p) == 46) {
    p++;
    while (isDigit(load<u8>(p))) { scale /= 10; value += scale * (load<u8>(p++) - 48); digits++; }
  }
  return digits && load<u8>(p) == 0 ? value : u64.MAX_VALUE;
}
