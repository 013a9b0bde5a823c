/** Command substitution: the text runs in a shell of its own, its output comes through a pipe. */
import { Bytes, release, allocate } from '../lib/memory';
import { readRetry } from '../lib/input';
import { secondResult, sysClose, sysPipe } from '../lib/sys';
import { spawnShell, waitFor, currentInput, currentError } from './launch';

const PIECE: i32 = 4096;

// An assignment without a command has the status of its last substitution: `x=$(false)` is 1.
let status: i32 = 0;
export function clearSubstitution(): void { status = 0; }
export function substitutionStatus(): i32 { return status; }

export function capture(text: usize, length: i32, output: Bytes): void {
  const readEnd = sysPipe();
  if (readEnd < 0) { status = 126; return; }
  const writeEnd = secondResult();
  const pid = spawnShell(text, length, currentInput, writeEnd, currentError, 0, 0);
  sysClose(writeEnd);
  const buffer = allocate(PIECE);
  while (pid > 0) {
    const got = readRetry(readEnd, buffer, PIECE);
    if (got <= 0) break;
    output.pushBytes(buffer, got);
  }
  release(buffer);
  sysClose(readEnd);
  status = pid > 0 ? waitFor(pid, 0) : 126;
}
