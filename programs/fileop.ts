/**
 * fileop operation: does one operation on a file exactly once, between a line that says `begin` and a line with its result; then syncs.
 * The sweep of tools/lab kills servers at every instruction of the operation and compares what is on the disk afterwards with a model, so
 * everything here is fixed: names below /sweep, sizes, contents. Operations: write append rename create unlink mkdir truncate.
 *
 * After `begin` the program computes for a while: the host must see the line before the operation starts.
 */
import { argument, argumentCount, begin, complain, complainText, finish, usage } from './lib/program';
import { O_APPEND, O_CREAT, O_EXCL, O_RDWR, O_WRONLY, openRetry } from './lib/files';
import { allocate } from './lib/memory';
import { flush, put, putByte, putNumber } from './lib/output';
import { sysMkdir, sysOpen, sysRename, sysSeek, sysSync, sysTruncate, sysUnlink, sysWrite } from './lib/sys';
import { Text, copyLiteral, same } from './lib/text';

export function main(page: usize): void { begin(page); finish(run()); }

const PAUSE: i32 = 30_000;
const ROOM: usize = memory.data(256);
let room: usize = ROOM;
/** A literal as a NUL-terminated text. */
function text(literal: string): Text {
  const at = room;
  room = copyLiteral(at, literal) + 1;
  return at;
}
const SCRATCH: usize = memory.data(64);
function pause(): void { for (let k = 0; k < PAUSE; k++) store<u32>(SCRATCH, load<u32>(SCRATCH) * 1664525 + 1013904223); }
/** `bytes` of a pattern that depends on the place. */
function pattern(bytes: i32): usize {
  const at = allocate(bytes);
  for (let k = 0; k < bytes; k++) store<u8>(at + k, <u8>(97 + k % 23));
  return at;
}

function run(): i32 {
  if (argumentCount != 2) return usage('fileop write|append|rename|create|unlink|mkdir|truncate');
  const what = argument(1);
  const isWrite = same(what, 'write'), isAppend = same(what, 'append'), isTruncate = same(what, 'truncate');
  const file = text('/sweep/file'), data = pattern(5000), tail = text('tail');
  let fd: i32 = 0;
  if (isWrite || isAppend || isTruncate) {
    fd = openRetry(file, isAppend ? O_WRONLY | O_APPEND : O_RDWR, 0);
    if (fd < 0) { complain(file, fd); return 1; }
    if (isWrite) sysSeek(fd, 1000, 0);
  }
  put('begin\n');
  flush();
  pause();
  let result: i32 = 0;
  if (isWrite) result = sysWrite(fd, data, 5000);
  else if (isAppend) result = sysWrite(fd, data, 700);
  else if (isTruncate) result = sysTruncate(fd, 1500);
  else if (same(what, 'rename')) result = sysRename(text('/sweep/from/name'), text('/sweep/to/other'));
  else if (same(what, 'create')) { fd = sysOpen(text('/sweep/new'), O_WRONLY | O_CREAT | O_EXCL, 0o644); result = fd < 0 ? fd : 0; }
  else if (same(what, 'unlink')) result = sysUnlink(file);
  else if (same(what, 'mkdir')) result = sysMkdir(text('/sweep/directory'), 0o755);
  else { complainText(what, 'no such operation'); return 2; }
  const synced = sysSync();
  // The position has moved once, the open file is still the same one, and goes on to be usable.
  if (isTruncate) sysSeek(fd, 0, 2);
  if (fd > 0 && result >= 0) { const written = sysWrite(fd, tail, 4); if (written != 4) result = written; }
  put('result '); putNumber(result); put(' sync '); putNumber(synced); putByte(10);
  return 0;
}
