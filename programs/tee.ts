/** tee [-a] file...: copies its input to its output and into every file. */
import { argument, argumentCount, begin, complain, failed, finish, operands, option, usage } from './lib/program';
import { COPY_BUFFER, COPY_BYTES } from './lib/copy';
import { O_APPEND, O_CREAT, O_TRUNC, O_WRONLY, openRetry } from './lib/files';
import { readRetry } from './lib/input';
import { List } from './lib/memory';
import { writeAll } from './lib/output';

export function main(page: usize): void { begin(page); finish(run()); }

function run(): i32 {
  let append = false;
  let letter: u32;
  while ((letter = option('a')) != 0) {
    if (letter == 63) return usage('tee [-a] file...');
    append = true;
  }
  const files = List.create();
  for (let i = operands(); i < argumentCount; i++) {
    const fd = openRetry(argument(i), O_WRONLY | O_CREAT | (append ? O_APPEND : O_TRUNC), 0o644);
    if (fd < 0) complain(argument(i), fd);
    files.push(<usize>fd);
  }
  let got: i32;
  while ((got = readRetry(0, COPY_BUFFER, COPY_BYTES)) > 0) {
    let status = writeAll(1, COPY_BUFFER, got);
    if (status < 0) { complain(0, status); return 1; }
    for (let i = 0; i < files.length; i++) {
      if (<i32>files.get(i) < 0) continue;
      status = writeAll(<u32>files.get(i), COPY_BUFFER, got);
      if (status < 0) { complain(argument(operands() + i), status); files.set(i, <usize>-1); }
    }
  }
  if (got < 0) complain(0, got);
  return failed();
}
