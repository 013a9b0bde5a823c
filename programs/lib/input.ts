/** Buffered reading, one stream at a time: `fromStream`, then bytes or whole lines. Output is flushed before a read can wait. */
import { EINTR } from './errors';
import { Bytes } from './memory';
import { flush } from './output';
import { sysRead } from './sys';

const SIZE: i32 = 16384;
const BUFFER: usize = memory.data(16384);
let stream: u32 = 0;
let at: i32 = 0;
let filled: i32 = 0;
let status: i32 = 0;
let ended: bool = false;

export function fromStream(fd: u32): void { stream = fd; at = 0; filled = 0; status = 0; ended = false; }
/** 0, or the negative errno that ended the stream. */
export function inputStatus(): i32 { return status; }

export function readRetry(fd: u32, buffer: usize, bytes: i32): i32 {
  let got: i32;
  do got = sysRead(fd, buffer, bytes); while (got == -EINTR);
  return got;
}

function fill(): bool {
  if (ended) return false;
  flush();
  const got = readRetry(stream, BUFFER, SIZE);
  at = 0;
  filled = got > 0 ? got : 0;
  if (got < 0) status = got;
  ended = got <= 0;
  return got > 0;
}

/** Next byte, -1 at the end. */
export function getByte(): i32 {
  if (at == filled && !fill()) return -1;
  return load<u8>(BUFFER + at++);
}

/** Next line into `into` (emptied first), with its newline when it has one; false at the end of the stream. */
export function getLine(into: Bytes): bool {
  into.length = 0;
  while (true) {
    if (at == filled && !fill()) return into.length > 0;
    const start = at;
    while (at < filled && load<u8>(BUFFER + at) != 10) at++;
    const found = at < filled;
    if (found) at++;
    into.pushBytes(BUFFER + start, at - start);
    if (found) return true;
  }
}
