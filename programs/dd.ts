/** dd [if=file] [of=file] [bs=bytes] [count=blocks] [skip=blocks] [seek=blocks] [conv=fsync]: copies blocks, says how much and how fast on stderr. */
import { argument, argumentCount, begin, complain, complainText, finish } from './lib/program';
import { O_CREAT, O_RDONLY, O_TRUNC, O_WRONLY, openRetry } from './lib/files';
import { readRetry } from './lib/input';
import { allocate } from './lib/memory';
import { flush, put, putByte, putNumber, putZeros, toStream, writeAll } from './lib/output';
import { clock, sysFsync, sysSeek } from './lib/sys';
import { Text, equal, numberEnd, parseNumber, same, startsWith } from './lib/text';

export function main(page: usize): void { begin(page); finish(run()); }

/** "4k", "1M", "512"; -1 when it is no size. */
function size(text: Text): i64 {
  let value = parseNumber(text);
  let end = numberEnd();
  if (end == text || value < 0) return -1;
  const unit = load<u8>(end) | 32;
  if (unit == 107) { value <<= 10; end++; } else if (unit == 109) { value <<= 20; end++; } else if (unit == 103) { value <<= 30; end++; }
  return load<u8>(end) ? -1 : value;
}

function run(): i32 {
  let input: Text = 0, output: Text = 0, block: i64 = 512, count: i64 = i64.MAX_VALUE, skip: i64 = 0, seek: i64 = 0, sync = false, keepLength = false;
  for (let i = 1; i < argumentCount; i++) {
    const text = argument(i);
    let value: i64 = 0;
    if (startsWith(text, 'if=')) input = text + 3;
    else if (startsWith(text, 'of=')) output = text + 3;
    else if (startsWith(text, 'bs=')) { value = size(text + 3); block = value; }
    else if (startsWith(text, 'count=')) { value = size(text + 6); count = value; }
    else if (startsWith(text, 'skip=')) { value = size(text + 5); skip = value; }
    else if (startsWith(text, 'seek=')) { value = size(text + 5); seek = value; }
    else if (same(text, 'conv=fsync')) sync = true;
    else if (same(text, 'conv=notrunc')) keepLength = true;
    else value = -1;
    if (value < 0) { complainText(text, 'not understood'); return 2; }
  }
  if (block < 1 || block > 4194304) { complainText(0, 'bs must be 1 to 4M'); return 2; }
  let from = 0, to = 1;
  if (input) { from = openRetry(input, O_RDONLY, 0); if (from < 0) { complain(input, from); return 1; } }
  if (output) { to = openRetry(output, O_WRONLY | O_CREAT | (seek || keepLength ? 0 : O_TRUNC), 0o644); if (to < 0) { complain(output, to); return 1; } }
  if (skip * block > 0x7fffffff || seek * block > 0x7fffffff) { complainText(0, 'offsets must stay below 2 GiB'); return 2; }
  if (skip) { const at = sysSeek(from, <i32>(skip * block), 0); if (at < 0) { complain(input, at); return 1; } }
  if (seek) { const at = sysSeek(to, <i32>(seek * block), 0); if (at < 0) { complain(output, at); return 1; } }
  const bytes = <i32>block, buffer = allocate(bytes), start = clock();
  let total: u64 = 0, whole: u64 = 0, part: u64 = 0, status = 0;
  for (let i: i64 = 0; i < count; i++) {
    const got = readRetry(from, buffer, bytes);
    if (got < 0) { complain(input, got); status = 1; break; }
    if (got == 0) break;
    if (got == bytes) whole++; else part++;
    total += got;
    const done = writeAll(to, buffer, got);
    if (done < 0) { complain(output, done); status = 1; break; }
  }
  if (sync) { const done = sysFsync(to); if (done < 0) { complain(output, done); status = 1; } }
  const us = max<u64>((clock() - start) / 1000, 1);
  toStream(2);
  putNumber(whole); putByte(43); putNumber(part); put(' blocks, ');
  putNumber(total); put(' bytes, '); putNumber(us / 1000000); putByte(46); putZeros(us % 1000000, 6); put(' s, ');
  putNumber(total / us); putByte(46); putNumber(total * 10 / us % 10); put(' MB/s\n');
  flush();
  return status;
}
