/**
 * workload SEED KILLS WORKERS: file operations whose every byte follows from the seed, while somebody restarts the servers under them.
 *
 * Each worker makes /demo/wN its working directory and then does step after step there, drawn from a generator of its own: append (some with
 * fsync), copy, rename, checksum, unlink, a write at the position of a file that stays open, mkdir and rmdir. It ends four steps after the generations
 * of the servers (`ps`) say that KILLS restarts have happened. Its last act is the file `report`: how many steps it did, and each status it did not expect.
 * The model of all this for the host is tools/demo/model.ts; whoever changes one changes both.
 *
 * To give tty and the serial drivers something to do each step also writes a long line, to the console or to stdout in turn.
 *
 * Nothing is retried and nothing is looked up: which files exist is known from the steps before, so an operation that was lost or done twice shows
 * as a wrong status or as wrong bytes.
 */
import * as P from 'kintsugi/protocols';
import { ENOENT } from './lib/errors';
import { O_APPEND, O_CREAT, O_RDONLY, O_TRUNC, O_WRONLY } from './lib/files';
import { allocate } from './lib/memory';
import { flush, put, putByte, putBytes, putNumber, putText, toStream } from './lib/output';
import { argument, argumentCount, begin, complain, complainText, environment, environmentBytes, finish, usage } from './lib/program';
import { shaBegin, shaEnd, shaUpdate } from './lib/sha256';
import { secondResult, sysChdir, sysClose, sysFsync, sysMkdir, sysOpen, sysPs, sysRead, sysRename, sysRmdir, sysSpawn, sysTruncate, sysUnlink, sysWait, sysWrite } from './lib/sys';
import { Text, copyLiteral, copyText, formatNumber, isNumber, parseNumber } from './lib/text';

const FILES: u32 = 6; // "a".."f"
const LIMIT: i32 = 49152; // an append to a longer file truncates it first
const MOST: u32 = 1500; // bytes of a record's payload
const PIECE: u32 = 4096;
const LINE: usize = 600;
const LAST_STEPS: u32 = 4;
const MODE: u32 = 0o644;

const RECORD: usize = memory.data(2048);
const BUFFER: usize = memory.data(4096);
const DIGEST: usize = memory.data(32);
const NAMES: usize = memory.data(16); // "a\0b\0..."
const OTHER: usize = memory.data(32);
const SIZES: usize = memory.data(24, 4); // i32 by file, -1 = does not exist
const SERVERS: usize = memory.data(6144, 8);

let worker: u32 = 0;
let step: u32 = 0;
let random: u32 = 1;
let errors: u32 = 0;
let report: usize = 0; // lines of errors
let reportEnd: usize = 0;

export function main(page: usize): void { begin(page); finish(run()); }

function run(): i32 {
  for (let i = 1; i < argumentCount; i++) if (!isNumber(argument(i)) || parseNumber(argument(i)) < 0) return usage('workload seed kills workers');
  if (argumentCount != 4 && argumentCount != 5) return usage('workload seed kills workers');
  if (argumentCount == 5) return work(<u32>parseNumber(argument(1)), <u32>parseNumber(argument(2)), <u32>parseNumber(argument(4)));
  const workers = <i32>parseNumber(argument(3));
  if (workers < 1 || workers > 16) { complainText(argument(3), '1 to 16 workers'); return 2; }
  copyLiteral(OTHER, '/demo');
  const made = sysMkdir(OTHER, 0o755);
  if (made < 0) { complain(OTHER, made); return 1; }
  let failed = 0;
  for (let n = 0; n < workers; n++) if (start(n) < 0) failed = 1;
  for (let n = 0; n < workers; n++) {
    const pid = sysWait(-1, false);
    if (pid < 0) { complain(0, pid); return 1; }
    if (secondResult() != 0) failed = 1;
  }
  return failed;
}
/** Worker n: this program with a fourth argument. */
function start(n: i32): i32 {
  let p = copyLiteral(BUFFER, '/bin/workload');
  store<u8>(p++, 0);
  for (let i = 0; i < 4; i++) { p = copyText(p, argument(i)) + 1; store<u8>(p - 1, 0); }
  p += formatNumber(p, n, 10);
  store<u8>(p++, 0);
  const pid = sysSpawn(BUFFER, <u32>(p - BUFFER), 5, environment(), environmentBytes(), 0 | 1 << 8 | 2 << 16, 0, 0);
  if (pid < 0) complain(argument(0), pid);
  return pid;
}

// ---- the generator --------------------------------------------------------------------------------------------------------------------

function draw(): u32 {
  random ^= random << 13; random ^= random >> 17; random ^= random << 5;
  return random >> 8;
}
function name(n: u32): Text { return NAMES + (<usize>n << 1); }
function size(n: u32): i32 { return load<i32>(SIZES + (<usize>n << 2)); }
function setSize(n: u32, bytes: i32): void { store<i32>(SIZES + (<usize>n << 2), bytes); }
/** "w0 17.2 <payload>\n" in RECORD; its bytes. */
function record(part: u32): u32 {
  let p = RECORD;
  store<u8>(p++, 119);
  p += formatNumber(p, worker, 10);
  store<u8>(p++, 32);
  p += formatNumber(p, step, 10);
  store<u8>(p++, 46);
  p += formatNumber(p, part, 10);
  store<u8>(p++, 32);
  const bytes = draw() % MOST;
  let x = draw();
  for (let i: u32 = 0; i < bytes; i++) { x = x * 1664525 + 1013904223; store<u8>(p++, <u8>(33 + (x >> 24) % 94)); }
  store<u8>(p++, 10);
  return <u32>(p - RECORD);
}

// ---- what is expected -----------------------------------------------------------------------------------------------------------------

/** `status` must be `wanted`; true when it is. What is not is remembered and told at once. */
function expect(what: string, status: i32, wanted: i32): bool {
  if (status == wanted) return true;
  wrong(what, status);
  return false;
}
function expectFd(what: string, status: i32): bool {
  if (status >= 0) return true;
  wrong(what, status);
  return false;
}
function wrong(what: string, status: i32): void {
  errors++;
  if (reportEnd < report + 3900) {
    let p = copyLiteral(reportEnd, 'error ');
    p += formatNumber(p, step, 10);
    store<u8>(p++, 32);
    p = copyLiteral(p, what);
    store<u8>(p++, 32);
    if (status < 0) store<u8>(p++, 45);
    p += formatNumber(p, status < 0 ? -status : status, 10);
    store<u8>(p++, 10);
    reportEnd = p;
  }
  toStream(2);
  put('error w'); putNumber(worker); put(' step '); putNumber(step); putByte(32); put(what); putByte(32); putNumber(status); putByte(10);
  flush();
  toStream(1);
}
/** All of it, in as many calls as it takes. */
function writeWhole(what: string, fd: i32, at: usize, bytes: u32): void {
  while (bytes > 0) {
    const done = sysWrite(fd, at, bytes);
    if (done <= 0 || <u32>done > bytes) { wrong(what, done); return; }
    at += done; bytes -= done;
  }
}

// ---- steps ----------------------------------------------------------------------------------------------------------------------------

function append(i: u32, durable: bool): void {
  const fd = sysOpen(name(i), O_WRONLY | O_CREAT | O_APPEND, MODE);
  if (!expectFd('append-open', fd)) return;
  if (size(i) < 0) setSize(i, 0);
  if (size(i) > LIMIT) { expect('truncate', sysTruncate(fd, 0), 0); setSize(i, 0); }
  const records: u32 = 1 + draw() % 3;
  for (let n: u32 = 0; n < records; n++) {
    const bytes = record(n);
    writeWhole('append', fd, RECORD, bytes);
    setSize(i, size(i) + bytes);
  }
  if (durable) expect('fsync', sysFsync(fd), 0);
  expect('append-close', sysClose(fd), 0);
}
function copy(i: u32, j: u32): void {
  const from = sysOpen(name(i), O_RDONLY, 0);
  if (size(i) < 0) { expect('copy-open-absent', from, -ENOENT); return; }
  if (!expectFd('copy-open', from)) return;
  const to = sysOpen(name(j), O_WRONLY | O_CREAT | O_TRUNC, MODE);
  if (expectFd('copy-create', to)) {
    let total: i32 = 0;
    while (true) {
      const got = sysRead(from, BUFFER, PIECE);
      if (got < 0) wrong('copy-read', got);
      if (got <= 0) break;
      writeWhole('copy-write', to, BUFFER, got);
      total += got;
    }
    expect('copy-size', total, size(i));
    setSize(j, size(i));
    expect('copy-close', sysClose(to), 0);
  }
  expect('copy-close', sysClose(from), 0);
}
function rename(i: u32, j: u32): void {
  const status = sysRename(name(i), name(j));
  if (size(i) < 0) { expect('rename-absent', status, -ENOENT); return; }
  expect('rename', status, 0);
  setSize(j, size(i));
  setSize(i, -1);
}
/** A line "sum STEP NAME BYTES SHA256" in the log and on the terminal. */
function checksum(i: u32, log: i32): void {
  const fd = sysOpen(name(i), O_RDONLY, 0);
  if (size(i) < 0) { expect('sum-open-absent', fd, -ENOENT); return; }
  if (!expectFd('sum-open', fd)) return;
  shaBegin();
  let total: i32 = 0;
  while (true) {
    const got = sysRead(fd, BUFFER, PIECE);
    if (got < 0) wrong('sum-read', got);
    if (got <= 0) break;
    shaUpdate(BUFFER, got);
    total += got;
  }
  shaEnd(DIGEST);
  expect('sum-close', sysClose(fd), 0);
  let p = copyLiteral(RECORD, 'sum ');
  p += formatNumber(p, step, 10);
  store<u8>(p++, 32);
  p = copyText(p, name(i));
  store<u8>(p++, 32);
  p += formatNumber(p, total, 10);
  store<u8>(p++, 32);
  for (let n: usize = 0; n < 32; n++) {
    const byte = <u32>load<u8>(DIGEST + n), high = byte >> 4, low = byte & 15;
    store<u8>(p++, <u8>(high < 10 ? 48 + high : 87 + high));
    store<u8>(p++, <u8>(low < 10 ? 48 + low : 87 + low));
  }
  store<u8>(p++, 10);
  const bytes = <u32>(p - RECORD);
  writeWhole('sum-log', log, RECORD, bytes);
  put('w'); putNumber(worker); putByte(32); putBytes(RECORD, bytes);
  flush();
}
function directory(): void {
  copyLiteral(OTHER, 'dir');
  expect('mkdir', sysMkdir(OTHER, 0o755), 0);
  expect('rmdir', sysRmdir(OTHER), 0);
}
function unlink(i: u32): void {
  expect('unlink', sysUnlink(name(i)), size(i) < 0 ? -ENOENT : 0);
  setSize(i, -1);
}
function say(fd: i32): void {
  let p = copyLiteral(BUFFER, 'w');
  p += formatNumber(p, worker, 10);
  p = copyLiteral(p, ' has done ');
  p += formatNumber(p, step, 10);
  p = copyLiteral(p, ' steps ');
  memory.fill(p, 46, BUFFER + LINE - p - 1);
  store<u8>(BUFFER, 10, LINE - 1);
  writeWhole('say', fd, BUFFER, <u32>LINE);
}
/** Restarts that `ps` tells of. */
function restarts(): u32 {
  const count = sysPs(SERVERS, 96 * P.PROCESS_PS_RECORD_SIZE);
  if (count < 0) { wrong('ps', count); return 0; }
  let sum: u32 = 0;
  for (let i = 0; i < count; i++) {
    const one = SERVERS + <usize>i * P.PROCESS_PS_RECORD_SIZE;
    const generation = load<u32>(one + P.PROCESS_PS_RECORD_GENERATION);
    if (load<u32>(one) == 0 && generation > 0) sum += generation - 1; // 0: never started, its device is absent
  }
  return sum;
}

function work(seed: u32, kills: u32, number: u32): i32 {
  worker = number;
  random = (seed * 0x9e3779b1 ^ (number + 1) * 0x85ebca6b) | 1;
  report = allocate(4096);
  reportEnd = report;
  for (let n: u32 = 0; n < FILES; n++) { store<u8>(name(n), <u8>(97 + n)); setSize(n, -1); }
  let p = copyLiteral(OTHER, '/demo/w');
  p += formatNumber(p, number, 10);
  store<u8>(p, 0);
  expect('mkdir-home', sysMkdir(OTHER, 0o755), 0);
  expect('chdir', sysChdir(OTHER), 0);
  copyLiteral(OTHER, 'log');
  const log = sysOpen(OTHER, O_WRONLY | O_CREAT | O_APPEND, MODE);
  copyLiteral(OTHER, 'position');
  const position = sysOpen(OTHER, O_WRONLY | O_CREAT, MODE);
  copyLiteral(OTHER, '/dev/tty');
  const terminal = sysOpen(OTHER, O_WRONLY, 0);
  if (!expectFd('log-open', log) || !expectFd('position-open', position) || !expectFd('tty-open', terminal)) return 1;
  let left: u32 = 0xffffffff;
  while (left != 0) {
    step++;
    const what = draw() & 15, i = draw() % FILES, j = (i + 1 + draw() % (FILES - 1)) % FILES;
    if (what < 6) append(i, what < 2);
    else if (what < 9) copy(i, j);
    else if (what < 11) rename(i, j);
    else if (what < 13) checksum(i, log);
    else if (what == 13) unlink(i);
    else if (what == 14) writeWhole('position', position, RECORD, record(0));
    else directory();
    say((step & 1) != 0 ? terminal : 1);
    if ((step & 3) == 0 && left == 0xffffffff && restarts() >= kills) left = LAST_STEPS;
    if (left != 0xffffffff) left--;
  }
  expect('log-close', sysClose(log), 0);
  expect('position-close', sysClose(position), 0);
  return finishReport();
}
function finishReport(): i32 {
  copyLiteral(OTHER, 'report');
  const fd = sysOpen(OTHER, O_WRONLY | O_CREAT | O_TRUNC, MODE);
  if (!expectFd('report-open', fd)) return 1;
  let p = copyLiteral(BUFFER, 'steps ');
  p += formatNumber(p, step, 10);
  p = copyLiteral(p, ' errors ');
  p += formatNumber(p, errors, 10);
  store<u8>(p++, 10);
  writeWhole('report', fd, BUFFER, <u32>(p - BUFFER));
  writeWhole('report', fd, report, <u32>(reportEnd - report));
  expect('report-close', sysClose(fd), 0);
  put('w'); putNumber(worker); put(' done, steps '); putNumber(step); put(', errors '); putNumber(errors); putByte(10);
  flush();
  return errors == 0 ? 0 : 1;
}
