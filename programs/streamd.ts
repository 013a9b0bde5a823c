/**
 * streamd [-p port] source target: the guest's end of `kintsugi demo tcp`. One connection, commands of one line:
 *   get N   sends N bytes: the file `source`, again and again from its beginning
 *   put N   takes N bytes, writes them to `target` (from its beginning again whenever it is as long as the source), sends a '.' for each 64 KiB that are
 *           written, answers "N CRC32\n" (hexadecimal)
 *   bye     ends; segments sent again so far are told on the output
 */
import { argument, argumentCount, begin, complain, complainText, finish, operands, option, optionValue, usage } from './lib/program';
import { crc32 } from '../servers/lib/crc32';
import { EINTR } from './lib/errors';
import { helped } from './lib/help';
import { O_CREAT, O_RDONLY, O_TRUNC, O_WRONLY, openRetry, statFd, statSize } from './lib/files';
import { readRetry } from './lib/input';
import { allocate } from './lib/memory';
import { anyAddress, newAddress, parsePort } from './lib/net';
import { nextRecord, startQuery } from './lib/netinfo';
import { flush, put, putByte, putNumber, writeAll } from './lib/output';
import { MSG_NOSIGNAL, sysAccept, sysBind, sysFsync, sysListen, sysRecv, sysSeek, sysSend, sysSetOption, sysSocket } from './lib/sys';
import { formatNumber, numberEnd, parseNumber, same, startsWith } from './lib/text';
import * as P from 'kintsugi/protocols';

const USAGE: string = 'streamd [-p port] source target';
const PIECE: i32 = 65536;
const LINE: usize = memory.data(128);
const ANSWER: usize = memory.data(128);
const DOTS: usize = memory.data(16);
let fd: i32 = -1, source: i32 = -1, target: i32 = -1, size: i64 = 0, buffer: usize = 0;

export function main(page: usize): void { begin(page); finish(run()); }

function run(): i32 {
  if (helped('streamd [-p port] source target\nThe other end is kintsugi demo tcp.')) return 0;
  let port = 7000, letter: u32;
  while ((letter = option('p:')) != 0) {
    if (letter == 63) return usage(USAGE);
    port = parsePort(optionValue());
    if (port < 0) { complainText(optionValue(), 'not a port'); return 2; }
  }
  if (argumentCount - operands() != 2) return usage(USAGE);
  source = openRetry(argument(operands()), O_RDONLY, 0);
  if (source < 0 || statFd(source) < 0) { complain(argument(operands()), source); return 1; }
  size = <i64>statSize();
  target = openRetry(argument(operands() + 1), O_WRONLY | O_CREAT | O_TRUNC, 0o644);
  if (target < 0) { complain(argument(operands() + 1), target); return 1; }
  buffer = allocate(PIECE);
  const listener = sysSocket(P.NET_FAMILY_INET, P.NET_TYPE_STREAM, 0), address = newAddress();
  anyAddress(address, port);
  let status = listener < 0 ? listener : sysSetOption(listener, P.NET_OPTION_REUSE, 1);
  if (status >= 0) status = sysBind(listener, address);
  if (status >= 0) status = sysListen(listener, 1);
  if (status < 0) { complain(0, status); return 1; }
  put('listening\n');
  flush();
  do fd = sysAccept(listener, 0); while (fd == -EINTR);
  if (fd < 0) { complain(0, fd); return 1; }
  while (true) {
    if (!readLine()) { complainText(0, 'the connection ended'); return 1; }
    if (same(LINE, 'bye')) break;
    const bytes = parseNumber(LINE + 4);
    if (load<u8>(numberEnd()) != 0 || bytes < 0) { complainText(LINE, 'not understood'); return 1; }
    const ok = startsWith(LINE, 'get ') ? give(bytes) : startsWith(LINE, 'put ') && takeAll(bytes);
    if (!ok) return 1;
  }
  startQuery(P.NET_WHAT_COUNTERS, P.NET_RECORDS_COUNTER_SIZE);
  for (let r = nextRecord(); r; r = nextRecord()) if (same(r + P.NET_RECORDS_COUNTER_NAME, 'tcp_retransmitted')) { put('retransmitted '); putNumber(load<u32>(r, P.NET_RECORDS_COUNTER_VALUE)); putByte(10); }
  return 0;
}
function readLine(): bool {
  for (let n = 0; n < 100;) {
    const got = sysRecv(fd, LINE + n, 1, 0, 0);
    if (got == -EINTR) continue;
    if (got <= 0) return false;
    if (load<u8>(LINE + n) == 10) { store<u8>(LINE + n, 0); return true; }
    n++;
  }
  return false;
}
function send(at: usize, bytes: i32): bool {
  while (bytes > 0) {
    const sent = sysSend(fd, at, bytes, MSG_NOSIGNAL, 0);
    if (sent == -EINTR) continue;
    if (sent <= 0) { complain(0, sent); return false; }
    at += sent; bytes -= sent;
  }
  return true;
}
function give(bytes: i64): bool {
  let left = bytes;
  sysSeek(source, 0, 0);
  while (left > 0) {
    const got = readRetry(source, buffer, <i32>min<i64>(left, PIECE));
    if (got < 0) { complain(argument(operands()), got); return false; }
    if (got == 0) { sysSeek(source, 0, 0); continue; }
    if (!send(buffer, got)) return false;
    left -= got;
  }
  return true;
}
function takeAll(bytes: i64): bool {
  let left = bytes, at: i64 = 0, told: i64 = 0, sum: u32 = 0;
  sysSeek(target, 0, 0);
  memory.fill(DOTS, 46, 16);
  while (left > 0) {
    const got = sysRecv(fd, buffer, <i32>min<i64>(min<i64>(left, size - at), PIECE), 0, 0);
    if (got == -EINTR) continue;
    if (got <= 0) { complain(0, got); return false; }
    sum = crc32(sum, buffer, got);
    const status = writeAll(target, buffer, got);
    if (status < 0) { complain(argument(operands() + 1), status); return false; }
    left -= got; at += got;
    const dots = <i32>((bytes - left) / PIECE - told);
    if (dots != 0 && !send(DOTS, dots)) return false;
    told += dots;
    if (at == size) { at = 0; sysSeek(target, 0, 0); }
  }
  sysFsync(target);
  let n = formatNumber(ANSWER, bytes, 10);
  store<u8>(ANSWER + n++, 32);
  for (let shift = 28; shift >= 0; shift -= 4) { const digit = sum >> shift & 15; store<u8>(ANSWER + n++, <u8>(digit < 10 ? 48 + digit : 87 + digit)); }
  store<u8>(ANSWER + n++, 10);
  return send(ANSWER, n);
}
