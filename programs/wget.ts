/**
 * wget [-O file] [-q] [-S] [-T seconds] url...: fetches by HTTP/1.1 (RFC 9110, 9112): Content-Length, chunked and until-close bodies, redirects. The file is
 * named like the last part of the URL (index.html for none), with .1, .2 ... when that exists. Status: 0 all right, 1 anything else, 2 used wrongly,
 * 3 a file, 4 the network, 8 the server said no.
 */
import { argument, argumentCount, begin, complain, complainText, finish, operands, option, optionValue, programName, usage } from './lib/program';
import { EEXIST, EINTR } from './lib/errors';
import { O_CREAT, O_EXCL, O_TRUNC, O_WRONLY, openRetry } from './lib/files';
import { helped } from './lib/help';
import { decimal, field, fieldHas, fieldLength, headLength, hexDigit, lineLength } from './lib/http';
import { Bytes, allocate, keep, release } from './lib/memory';
import { POLL_BYTES, READABLE, complainPort, connectTo, lookUp, newAddress, pollSet } from './lib/net';
import { flush, put, putByte, putBytes, putNumber, putText, putZeros, toStream, writeAll } from './lib/output';
import { MSG_NOSIGNAL, clock, sysClose, sysIsTerminal, sysPoll, sysRecv, sysSend } from './lib/sys';
import { Text, formatNumber, isDigit, isNumber, lengthOf, parseNumber, same, sliceIs, startsWith } from './lib/text';

const USAGE: string = 'wget [-O file] [-q] [-S] [-T seconds] url...';
const BUFFER: i32 = 65536;
const HEAD_LIMIT: i32 = 32768;
const REDIRECTS: i32 = 20;
const SECOND: u64 = 1000000000;

let output: Text = 0, quiet: bool = false, showHead: bool = false, patience: i32 = 60000, terminal: bool = false;
let buffer: usize = 0, at: i32 = 0, filled: i32 = 0, socket: i32 = -1;
let total: i64 = -1, done: i64 = 0, began: u64 = 0, shown: u64 = 0;
let target: i32 = -1; // fd of the file
const DIGITS: usize = memory.data(72);

export function main(page: usize): void { begin(page); finish(run()); }

function run(): i32 {
  if (helped('wget [-O file] [-q] [-S] [-T seconds] url...\n  -O  write to this file ("-": to the output)\n  -q  say nothing but errors\n  -S  show the heads of the answers\n  -T  give up after so many quiet seconds (60)\nExample: wget http://10.0.2.2:8000/file')) return 0;
  let letter: u32;
  while ((letter = option('O:qST:')) != 0) {
    if (letter == 63) return usage(USAGE);
    if (letter == 79) output = optionValue();
    else if (letter == 113) quiet = true;
    else if (letter == 83) showHead = true;
    else {
      if (!isNumber(optionValue()) || parseNumber(optionValue()) < 1) { complainText(optionValue(), 'not a number of seconds'); return 2; }
      patience = <i32>min<i64>(parseNumber(optionValue()), 86400) * 1000;
    }
  }
  if (operands() == argumentCount) return usage(USAGE);
  terminal = sysIsTerminal(2);
  buffer = allocate(BUFFER);
  if (output && !same(output, '-')) {
    target = openRetry(output, O_WRONLY | O_CREAT | O_TRUNC, 0o644);
    if (target < 0) { complain(output, target); return 3; }
  } else if (output) target = 1;
  let worst = 0;
  for (let i = operands(); i < argumentCount; i++) {
    const status = fetch(argument(i));
    if (status > worst) worst = status;
  }
  return worst;
}

// ---- URLs -------------------------------------------------------------------------------------------------------------------------------

let host: Text = 0, port: i32 = 80, path: Text = 0;
/** "http://host:port/path"; false after saying what is wrong. The scheme may be missing. */
function parseUrl(url: Text): bool {
  let p = url;
  if (startsWith(p, 'http://')) p += 7;
  else if (startsWith(p, 'https://')) { complainText(url, 'https is not supported'); return false; }
  else for (let q = p; load<u8>(q) && load<u8>(q) != 47; q++) if (load<u8>(q) == 58 && load<u8>(q, 1) == 47) { complainText(url, 'unknown scheme, only http:// is'); return false; }
  let end = p;
  while (load<u8>(end) && load<u8>(end) != 47 && load<u8>(end) != 58 && load<u8>(end) != 63 && load<u8>(end) != 35) end++;
  if (end == p) { complainText(url, 'no host in this URL'); return false; }
  host = keep(p, <i32>(end - p));
  port = 80;
  if (load<u8>(end) == 58) {
    let value = 0, digits = 0;
    end++;
    while (isDigit(load<u8>(end)) && digits < 6) { value = value * 10 + load<u8>(end++) - 48; digits++; }
    if (digits == 0 || value < 1 || value > 65535 || (load<u8>(end) && load<u8>(end) != 47 && load<u8>(end) != 63 && load<u8>(end) != 35)) { complainText(url, 'bad port'); return false; }
    port = value;
  }
  let stop = end;
  while (load<u8>(stop) && load<u8>(stop) != 35) stop++;
  const text = Bytes.create();
  if (load<u8>(end) != 47) text.push(47);
  text.pushBytes(end, <i32>(stop - end));
  text.finish();
  path = text.take();
  text.free();
  return true;
}
/** The target of a redirect: whole, or relative to the present path. */
function follow(location: usize, length: i32): Text {
  const text = keep(location, length);
  if (startsWith(text, 'http://') || startsWith(text, 'https://')) return text;
  const all = Bytes.create();
  all.pushLiteral('http://');
  if (startsWith(text, '//')) all.pushText(text + 2);
  else {
    all.pushText(host); all.push(58); all.pushBytes(DIGITS, formatNumber(DIGITS, port, 10));
    if (load<u8>(text) != 47) {
      let slash = 0;
      for (let n = 0; load<u8>(path + n) && load<u8>(path + n) != 63; n++) if (load<u8>(path + n) == 47) slash = n;
      all.pushBytes(path, slash + 1);
    }
    all.pushText(text);
  }
  all.finish();
  release(text);
  return all.at;
}

// ---- one URL ----------------------------------------------------------------------------------------------------------------------------

function fetch(first: Text): i32 {
  let url = first;
  for (let hops = 0; hops <= REDIRECTS; hops++) {
    if (!parseUrl(url)) return 1;
    const address = newAddress();
    if (!lookUp(host, port, address)) return 4;
    socket = connectTo(address);
    if (socket < 0) { complainPort(host, port, socket); return 4; }
    at = 0; filled = 0;
    const status = exchange(first);
    sysClose(socket);
    if (status != REDIRECTED) return status;
    url = next;
  }
  complainText(first, 'too many redirects');
  return 8;
}
const REDIRECTED: i32 = 1000;
let next: Text = 0;

function exchange(first: Text): i32 {
  const request = Bytes.create();
  request.pushLiteral('GET '); request.pushText(path); request.pushLiteral(' HTTP/1.1\r\nHost: '); request.pushText(host);
  if (port != 80) { request.push(58); request.pushBytes(DIGITS, formatNumber(DIGITS, port, 10)); }
  request.pushLiteral('\r\nUser-Agent: wget (kintsugi)\r\nAccept: */*\r\nConnection: close\r\n\r\n');
  const status = sendAll(request.at, request.length);
  request.free();
  if (status < 0) { complain(first, status); return 4; }
  let head = 0;
  do { // interim answers (1xx) are skipped
    if (head > 0) at += head;
    while (true) {
      head = headLength(buffer + at, filled - at);
      if (head > 0) break;
      if (filled - at >= HEAD_LIMIT) { complainText(first, 'the head of the answer is too long'); return 8; }
      if (at > 0) { memory.copy(buffer, buffer + at, filled - at); filled -= at; at = 0; }
      const got = receive();
      if (got <= 0) { if (got == 0) complainText(first, 'the connection was closed before an answer came'); return 4; }
    }
    if (head < 12 || !sliceIs(buffer + at, 7, 'HTTP/1.')) { complainText(first, 'this is not an answer of HTTP'); return 8; }
    if (showHead) { toStream(2); putBytes(buffer + at, head); flush(); toStream(1); }
  } while (decimal(buffer + at + 9, 3) < 200 && decimal(buffer + at + 9, 3) >= 100);
  const code = <i32>decimal(buffer + at + 9, 3), start = buffer + at;
  if (code == 301 || code == 302 || code == 303 || code == 307 || code == 308) {
    const location = field(start, head, 'location');
    if (location) { next = follow(location, fieldLength()); return REDIRECTED; }
  }
  if (code < 200 || code > 299) {
    toStream(2);
    putText(programName()); put(': '); putText(first); put(': '); putBytes(start + 9, lineLength(start, head) - 9); putByte(10);
    flush();
    toStream(1);
    return 8;
  }
  const chunked = fieldHas(start, head, 'transfer-encoding', 'chunked'), length = field(start, head, 'content-length');
  total = !chunked && length ? decimal(length, fieldLength()) : -1;
  if (length && !chunked && total < 0) { complainText(first, 'the length of the answer is no number'); return 8; }
  at += head;
  let fd = target;
  if (fd < 0) { fd = create(); if (fd < 0) return 3; }
  began = clock(); shown = began; done = 0;
  const result = chunked ? chunks(fd, first) : body(fd, total, first);
  progress(true);
  if (fd != target) sysClose(fd);
  return result;
}
function sendAll(from: usize, bytes: i32): i32 {
  while (bytes > 0) {
    const sent = sysSend(socket, from, bytes, MSG_NOSIGNAL, 0);
    if (sent == -EINTR) continue;
    if (sent <= 0) return sent;
    from += sent; bytes -= sent;
  }
  return 0;
}
/** More bytes behind those in the buffer, which has room; 0 = end of the stream, < 0 after a complaint. */
function receive(): i32 {
  const records = memory.data(16, 4);
  while (true) {
    pollSet(records, 0, socket, READABLE);
    const found = sysPoll(records, 1, patience);
    if (found == -EINTR) continue;
    if (found == 0) { complainText(host, 'nothing comes any more'); return -1; }
    const got = sysRecv(socket, buffer + filled, BUFFER - filled, 0, 0);
    if (got == -EINTR) continue;
    if (got < 0) complain(host, got); else filled += got;
    return got;
  }
}
/** What is in the buffer, or fresh bytes: `at` < `filled` afterwards. 0 = end, < 0 after a complaint. */
function some(): i32 {
  if (at < filled) return filled - at;
  at = 0; filled = 0;
  return receive();
}
/** `length` bytes, -1 = all there are. */
function body(fd: i32, length: i64, first: Text): i32 {
  let left = length;
  while (left != 0) {
    const got = some();
    if (got < 0) return 4;
    if (got == 0) {
      if (left < 0) return 0;
      complainText(first, 'the connection was closed in the middle of the answer');
      return 4;
    }
    const part = left < 0 ? got : <i32>min<i64>(left, got), status = writeAll(fd, buffer + at, part);
    if (status < 0) { complain(output, status); return 3; }
    at += part;
    done += part;
    if (left > 0) left -= part;
    progress(false);
  }
  return 0;
}
function byte(): i32 { return some() > 0 ? load<u8>(buffer + at++) : -1; }
/** RFC 9112, 7.1. */
function chunks(fd: i32, first: Text): i32 {
  while (true) {
    let size: i64 = 0, digits = 0, c = byte();
    while (hexDigit(c) >= 0 && digits < 12) { size = size << 4 | hexDigit(c); digits++; c = byte(); }
    if (digits == 0) { complainText(first, 'bad chunk in the answer'); return 4; }
    while (c >= 0 && c != 10) c = byte(); // extensions
    if (size > 0) {
      const status = body(fd, size, first);
      if (status != 0) return status;
      c = byte();
      if (c == 13) c = byte();
      if (c != 10) { complainText(first, 'bad chunk in the answer'); return 4; }
      continue;
    }
    for (let line = 0; c >= 0;) { // trailers end with an empty line
      c = byte();
      if (c == 13) continue;
      if (c == 10) { if (line == 0) break; line = 0; } else line++;
    }
    return 0;
  }
}
/** A new file named by the path. */
function create(): i32 {
  let from: Text = path, end: Text = path;
  while (load<u8>(end) && load<u8>(end) != 63) { if (load<u8>(end) == 47) from = end + 1; end++; }
  const name = Bytes.create();
  if (end == from) name.pushLiteral('index.html'); else name.pushBytes(from, <i32>(end - from));
  const length = name.length;
  for (let n = 0; n < 1000; n++) {
    name.length = length;
    if (n > 0) { name.push(46); name.pushBytes(DIGITS, formatNumber(DIGITS, n, 10)); }
    const fd = openRetry(name.finish(), O_WRONLY | O_CREAT | O_EXCL, 0o644);
    if (fd == -EEXIST) continue;
    if (fd < 0) complain(name.at, fd);
    else if (!quiet) { toStream(2); put('saving to '); putText(name.at); putByte(10); flush(); toStream(1); }
    return fd;
  }
  complainText(name.at, 'there are too many of this name');
  return -1;
}
/** On a terminal a line that changes; elsewhere one at the end. */
function progress(last: bool): void {
  if (quiet) return;
  const now = clock();
  if (!last && (!terminal || now - shown < SECOND / 4)) return;
  shown = now;
  toStream(2);
  if (terminal) putByte(13);
  if (total > 0) { putNumber(done * 100 / total); put('%  '); }
  putNumber(done); if (total >= 0) { putByte(47); putNumber(total); } put(' bytes  ');
  const us = max<u64>((now - began) / 1000, 1), rate = <u64>done * 100 / us; // hundredths of MB/s
  putNumber(rate / 100); putByte(46); putZeros(rate % 100, 2); put(' MB/s');
  if (last) putByte(10); else put('   ');
  flush();
  toStream(1);
}
