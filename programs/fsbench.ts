/**
 * fsbench [MiB]: sequential throughput of the file server as a program sees it. Writes a file (16 MiB by default) in pieces of 256 KiB, syncs it,
 * reads it back, and reads it once more comparing every byte with what was written; before that 4 MiB are written and read to warm up (on a
 * translating machine the first pass is compilation). One line for each phase on stdout:
 *
 *   begin write
 *   write 16777216 bytes 123456789 ns
 *
 * The host stamps the `begin` and the result line, the guest's own clock stands in the line. `verify` failing is exit status 1.
 */
import { argument, argumentCount, begin, complain, complainText, finish, usage } from './lib/program';
import { O_CREAT, O_RDWR, O_TRUNC, openRetry } from './lib/files';
import { readRetry } from './lib/input';
import { allocate } from './lib/memory';
import { flush, put, putByte, putNumber, writeAll } from './lib/output';
import { clock, sysClose, sysFsync, sysSeek, sysUnlink } from './lib/sys';
import { Text, isNumber, parseNumber } from './lib/text';

const PIECE: i32 = 262144;
const PAGE: i32 = 4096;
const WARM: i32 = 16; // pieces
const NAME: Text = memory.data<u8>([47, 116, 109, 112, 47, 102, 115, 98, 101, 110, 99, 104, 0]); // /tmp/fsbench

export function main(page: usize): void { begin(page); finish(run()); }

let started: u64 = 0;
function start(phase: string): void {
  put('begin '); put(phase); putByte(10);
  flush();
  started = clock();
}
function done(phase: string, bytes: u64): void {
  const ns = clock() - started;
  put(phase); putByte(32); putNumber(bytes); put(' bytes '); putNumber(ns); put(' ns\n');
  flush();
}
/** The pattern of piece n: words that depend on their place, and n at the head of each page. */
function fill(buffer: usize): void {
  let word: u32 = 0x9e3779b9;
  for (let at = buffer, end = buffer + PIECE; at < end; at += 4) { store<u32>(at, word); word = word * 1664525 + 1013904223; }
}
function stamp(buffer: usize, n: i32): void { for (let at = buffer, end = buffer + PIECE; at < end; at += PAGE) store<u32>(at, n); }
function same(a: usize, b: usize): bool {
  for (const end = a + PIECE; a < end; a += 4, b += 4) if (load<u32>(a) != load<u32>(b)) return false;
  return true;
}
function rewind(fd: i32): bool {
  const at = sysSeek(fd, 0, 0);
  if (at < 0) complain(NAME, at);
  return at >= 0;
}

function run(): i32 {
  let mib: i64 = 16;
  if (argumentCount > 2 || (argumentCount == 2 && !isNumber(argument(1)))) return usage('fsbench [MiB]');
  if (argumentCount == 2) mib = parseNumber(argument(1));
  if (mib < 1 || mib > 1024) { complainText(argument(1), '1 to 1024 MiB'); return 2; }
  const pieces = <i32>(mib * 4), bytes = <u64>mib << 20, buffer = allocate(PIECE), back = allocate(PIECE);
  const fd = openRetry(NAME, O_RDWR | O_CREAT | O_TRUNC, 0o600);
  if (fd < 0) { complain(NAME, fd); return 1; }
  const status = measure(fd, pieces, bytes, buffer, back);
  sysClose(fd);
  sysUnlink(NAME);
  return status;
}
function measure(fd: i32, pieces: i32, bytes: u64, buffer: usize, back: usize): i32 {
  fill(buffer);
  start('warm');
  const few = pieces < WARM ? pieces : WARM;
  if (!writePieces(fd, few, buffer) || !rewind(fd) || !readPieces(fd, few, buffer, back, false) || !rewind(fd)) return 1;
  done('warm', <u64>few * PIECE * 2);
  start('write');
  if (!writePieces(fd, pieces, buffer)) return 1;
  done('write', bytes);
  start('sync');
  const synced = sysFsync(fd);
  if (synced < 0) { complain(NAME, synced); return 1; }
  done('sync', bytes);
  if (!rewind(fd)) return 1;
  start('read');
  if (!readPieces(fd, pieces, buffer, back, false)) return 1;
  done('read', bytes);
  if (!rewind(fd)) return 1;
  start('verify');
  if (!readPieces(fd, pieces, buffer, back, true)) return 1;
  done('verify', bytes);
  return 0;
}
function writePieces(fd: i32, pieces: i32, buffer: usize): bool {
  for (let n = 0; n < pieces; n++) {
    stamp(buffer, n);
    const failed = writeAll(fd, buffer, PIECE);
    if (failed < 0) { complain(NAME, failed); return false; }
  }
  return true;
}
function readPieces(fd: i32, pieces: i32, buffer: usize, back: usize, compare: bool): bool {
  for (let n = 0; n < pieces; n++) {
    let have = 0;
    while (have < PIECE) {
      const got = readRetry(fd, back + have, PIECE - have);
      if (got < 0) { complain(NAME, got); return false; }
      if (got == 0) { complainText(NAME, 'ends early'); return false; }
      have += got;
    }
    if (!compare) continue;
    stamp(buffer, n);
    if (!same(buffer, back)) { complainText(NAME, 'other bytes than were written'); return false; }
  }
  return true;
}
