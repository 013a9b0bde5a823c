/** sha256sum [file...]: SHA-256 digests of files or of the input. */
import { argument, argumentCount, begin, complain, complainText, failed, finish, operands, option, usage } from './lib/program';
import { COPY_BUFFER, COPY_BYTES } from './lib/copy';
import { O_RDONLY, S_IFDIR, S_IFMT, openRetry, statFd, statMode } from './lib/files';
import { readRetry } from './lib/input';
import { put, putByte, putHex, putText } from './lib/output';
import { shaBegin, shaEnd, shaUpdate } from './lib/sha256';
import { sysClose } from './lib/sys';
import { Text, copyLiteral, same } from './lib/text';

const DIGEST: usize = memory.data(32, 4);
const DASH: usize = memory.data(2);

export function main(page: usize): void { begin(page); finish(run()); }

function run(): i32 {
  if (option('') != 0) return usage('sha256sum [file...]');
  copyLiteral(DASH, '-');
  if (operands() == argumentCount) digest(0, DASH);
  for (let i = operands(); i < argumentCount; i++) {
    const name = argument(i);
    if (same(name, '-')) { digest(0, name); continue; }
    const fd = openRetry(name, O_RDONLY, 0);
    if (fd < 0) { complain(name, fd); continue; }
    if (statFd(fd) >= 0 && (statMode() & S_IFMT) == S_IFDIR) complainText(name, 'is a directory'); else digest(fd, name);
    sysClose(fd);
  }
  return failed();
}

function digest(fd: u32, name: Text): void {
  shaBegin();
  let got: i32;
  while ((got = readRetry(fd, COPY_BUFFER, COPY_BYTES)) > 0) shaUpdate(COPY_BUFFER, got);
  if (got < 0) { complain(name, got); return; }
  shaEnd(DIGEST);
  for (let i = 0; i < 32; i++) putHex(load<u8>(DIGEST + i), 2);
  put('  ');
  putText(name);
  putByte(10);
}
