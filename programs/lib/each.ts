/** The filters' way through their operands: every file in turn becomes the input; none, or "-", is the input of the program. */
import { argument, argumentCount, complain, complainText } from './program';
import { O_RDONLY, S_IFDIR, S_IFMT, openRetry, statFd, statMode } from './files';
import { fromStream, inputStatus } from './input';
import { sysClose } from './sys';
import { Text, same } from './text';

let next: i32 = 0, end: i32 = 0, open: u32 = 0, name: Text = 0, plain: bool = false;

export function eachFrom(first: i32): void {
  next = first;
  end = argumentCount;
  plain = first >= argumentCount;
  open = 0;
}
/** Goes to the next input that can be opened; false when there is none. */
export function eachNext(): bool {
  if (open) {
    if (inputStatus() < 0) complain(name, inputStatus());
    sysClose(open);
    open = 0;
  }
  if (plain) { plain = false; name = 0; fromStream(0); return true; }
  while (next < end) {
    name = argument(next++);
    if (same(name, '-')) { fromStream(0); return true; }
    const fd = openRetry(name, O_RDONLY, 0);
    if (fd < 0) { complain(name, fd); continue; }
    if (statFd(fd) >= 0 && (statMode() & S_IFMT) == S_IFDIR) { complainText(name, 'is a directory'); sysClose(fd); continue; }
    open = fd;
    fromStream(fd);
    return true;
  }
  return false;
}
/** Name of the current input, 0 for the program's own. */
export function eachName(): Text { return name; }
/** More than one input was asked for. */
export function eachSeveral(first: i32): bool { return argumentCount - first > 1; }
