/** `--help` as the first argument: what the program does and examples, on stdout. */
import { argument } from './program';
import { put, putByte } from './output';
import { same } from './text';

/** True when it was asked for: the program ends with 0. `text` = usage, then lines of explanation and examples. */
export function helped(text: string): bool {
  if (!argument(1) || !same(argument(1), '--help')) return false;
  put('usage: ');
  put(text);
  putByte(10);
  return true;
}
