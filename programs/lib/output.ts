/**
 * Buffered output on one current stream (stdout unless `toStream` says otherwise). The buffer is written when it is full, when the stream
 * changes, before a program waits for input, and at exit; a failed write is remembered and gives the exit status (`outputFailed`).
 */
import { sysWrite } from './sys';
import { EINTR } from './errors';
import { Text, formatNumber, lengthOf, putCharacter } from './text';

const SIZE: i32 = 4096;
const BUFFER: usize = memory.data(4096);
const DIGITS: usize = memory.data(72);
let used: i32 = 0;
let stream: u32 = 1;
let failure: i32 = 0;

/** errno of the first write that failed, 0 when all went well. */
export function outputFailed(): i32 { return failure; }

/** Writes all of it, however many calls that takes; 0 or a negative errno. */
export function writeAll(fd: u32, at: usize, bytes: i32): i32 {
  while (bytes > 0) {
    const done = sysWrite(fd, at, bytes);
    if (done == -EINTR) continue;
    if (done <= 0) return done < 0 ? done : -5;
    at += done;
    bytes -= done;
  }
  return 0;
}

export function flush(): void {
  const bytes = used;
  used = 0;
  if (bytes) {
    const status = writeAll(stream, BUFFER, bytes);
    if (status < 0 && !failure && stream != 2) failure = -status;
  }
}
export function toStream(fd: u32): void {
  if (fd == stream) return;
  flush();
  stream = fd;
}

export function putByte(byte: u32): void {
  if (used == SIZE) flush();
  store<u8>(BUFFER + used, <u8>byte);
  used++;
}
export function putBytes(at: usize, bytes: i32): void {
  if (bytes >= SIZE) {
    flush();
    const status = writeAll(stream, at, bytes);
    if (status < 0 && !failure) failure = -status;
    return;
  }
  if (used + bytes > SIZE) flush();
  memory.copy(BUFFER + used, at, bytes);
  used += bytes;
}
export function putText(text: Text): void { putBytes(text, lengthOf(text)); }
export function put(literal: string): void {
  for (let i = 0; i < literal.length; i++) {
    const code = literal.charCodeAt(i);
    if (code < 0x80) putByte(code);
    else { const stop = putCharacter(DIGITS, code); putBytes(DIGITS, <i32>(stop - DIGITS)); }
  }
}
export function line(literal: string): void { put(literal); putByte(10); }

export function putSpaces(count: i32): void { for (let i = 0; i < count; i++) putByte(32); }
/** Text on the left of a column of `width`. */
export function putLeft(text: Text, width: i32): void { putText(text); putSpaces(width - lengthOf(text)); }
export function putLiteralLeft(literal: string, width: i32): void { put(literal); putSpaces(width - literal.length); }

function putPadded(value: u64, base: u32, width: i32, fill: u32): void {
  const length = formatNumber(DIGITS, value, base);
  for (let i = length; i < width; i++) putByte(fill);
  putBytes(DIGITS, length);
}
export function putNumber(value: i64): void {
  if (value < 0) putByte(45);
  putPadded(value < 0 ? <u64>-value : <u64>value, 10, 0, 32);
}
/** Right-aligned in `width`. */
export function putRight(value: u64, width: i32): void { putPadded(value, 10, width, 32); }
export function putZeros(value: u64, width: i32): void { putPadded(value, 10, width, 48); }
export function putHex(value: u64, width: i32): void { putPadded(value, 16, width, 48); }
export function putOctal(value: u64, width: i32): void { putPadded(value, 8, width, 48); }
