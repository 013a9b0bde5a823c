/**
 * httpd [-p port] [-n connections] [-t seconds] [-v] [directory]: serves the files of a directory by HTTP/1.1 (RFC 9110, 9112).
 *
 * GET and HEAD, persistent connections and pipelining, single byte ranges, If-None-Match by ETag (inode, time and size), directories by their index.html or as
 * a listing. One program, all connections at once by poll; nothing a client does holds up another one. There is no clock of the day, hence no Date field
 * (RFC 9110, 6.6.1). Each connection goes READ (a head) -> SEND (head and body of the answer) -> READ ... -> DRAIN (sent all, waits for the client's end).
 */
import { argument, argumentCount, begin, complain, complainText, finish, operands, option, optionValue, usage } from './lib/program';
import { O_RDONLY, S_IFDIR, S_IFMT, S_IFREG, joinPath, listDirectory, openRetry, releaseNames, statFd, statInode, statMode, statModified, statOf, statSize } from './lib/files';
import { EAGAIN, EACCES, EINTR, EMFILE, ENFILE, ENOENT, ENOTDIR, ENAMETOOLONG, ELOOP } from './lib/errors';
import { helped } from './lib/help';
import { contentType, decimal, field, fieldHas, fieldLength, headLength, lineLength, lineNext, reason, requestPath } from './lib/http';
import { Bytes, List, allocate, release, zeroed } from './lib/memory';
import { ENDED, POLL_BYTES, READABLE, WRITABLE, anyAddress, newAddress, parsePort, pollFound, pollSet, putAddress, bytesOf, portOf } from './lib/net';
import { flush, put, putByte, putBytes, putNumber, putText, toStream } from './lib/output';
import { MSG_DONTWAIT, MSG_NOSIGNAL, clock, sysAccept, sysBind, sysClose, sysListen, sysPoll, sysRead, sysRecv, sysSeek, sysSend, sysSetFlags, sysSetOption, sysShutdown, sysSocket, O_NONBLOCK } from './lib/sys';
import { Text, equal, formatNumber, isNumber, lengthOf, parseNumber, sliceIs } from './lib/text';
import * as P from 'kintsugi/protocols';

const USAGE: string = 'httpd [-p port] [-n connections] [-t seconds] [-v] [directory]';
const HEAD_LIMIT: i32 = 8192;
const PIECE: i32 = 65536;
const BATCH: i32 = 4; // pieces sent in a row before others get their turn
const BACKLOG: u32 = 64;
const SECOND: u64 = 1000000000;
const DRAIN_NS: u64 = 2 * SECOND;

const READ: u32 = 0, SEND: u32 = 1, DRAIN: u32 = 2;
@unmanaged @final class Connection {
  fd: i32; state: u32; last: u64; // ns of the last progress
  input: usize; have: i32; // HEAD_LIMIT bytes
  output: usize; at: i32; filled: i32; // PIECE bytes while sending: [at, filled) is to be sent
  file: i32; left: i64; // open file, bytes of it still to be read; -1 = none
  page: Bytes; pageAt: i32; // or a generated body; null = none
  keep: bool; requests: u32;
}
const NONE: Connection = changetype<Connection>(0);
const NO_PAGE: Bytes = changetype<Bytes>(0);

let connections: List = changetype<List>(0);
let root: Text = 0;
let verbose: bool = false;
let limit: i32 = 100;
let idleNs: u64 = 30 * SECOND;
const PATH: usize = memory.data(8200);
const NUMBER: usize = memory.data(72);

export function main(page: usize): void { begin(page); finish(run()); }

function run(): i32 {
  if (helped('httpd [-p port] [-n connections] [-t seconds] [-v] [directory]\n  -p port         listen on this port (80)\n  -n connections  at most so many at a time (100)\n  -t seconds      close a connection on which nothing happens (30)\n  -v              a line on stdout for each request\nThe directory is /www unless named. Example: httpd -p 8080 /home')) return 0;
  let port = 80, letter: u32;
  while ((letter = option('p:n:t:v')) != 0) {
    if (letter == 63) return usage(USAGE);
    if (letter == 118) { verbose = true; continue; }
    const value = parseNumber(optionValue());
    if (!isNumber(optionValue()) || value < 1) { complainText(optionValue(), 'not a number'); return 2; }
    if (letter == 112) { port = parsePort(optionValue()); if (port < 0) { complainText(optionValue(), 'not a port'); return 2; } }
    else if (letter == 110) limit = <i32>min<i64>(value, 120);
    else idleNs = <u64>min<i64>(value, 86400) * SECOND;
  }
  if (argumentCount - operands() > 1) return usage(USAGE);
  root = operands() < argumentCount ? argument(operands()) : defaultRoot();
  const status = statOf(root, false);
  if (status < 0) { complain(root, status); return 1; }
  if ((statMode() & S_IFMT) != S_IFDIR) { complainText(root, 'not a directory'); return 1; }
  const listener = listen(port);
  if (listener < 0) return 1;
  toStream(2);
  putText(argument(0)); put(': serving '); putText(root); put(' on port '); putNumber(port); putByte(10);
  flush();
  toStream(1);
  connections = List.create();
  while (true) serve(listener);
  return 0;
}
function defaultRoot(): Text { const at = allocate(8); store<u32>(at, 0x7777772f); store<u8>(at + 4, 0); return at; }

function listen(port: i32): i32 {
  const fd = sysSocket(P.NET_FAMILY_INET, P.NET_TYPE_STREAM, 0);
  if (fd < 0) { complain(0, fd); return fd; }
  sysSetOption(fd, P.NET_OPTION_REUSE, 1);
  const address = newAddress();
  anyAddress(address, port);
  let status = sysBind(fd, address);
  if (status >= 0) status = sysListen(fd, BACKLOG);
  if (status < 0) { portText(port); complain(NUMBER, status); return status; }
  sysSetFlags(fd, O_NONBLOCK);
  return fd;
}
function portText(port: i32): void {
  let at = NUMBER;
  store<u32>(at, 0x74726f70); store<u8>(at + 4, 32); // "port "
  at += 5;
  store<u8>(at + formatNumber(at, port, 10), 0);
}

/** One round: wait, then let everything that can go on do so. */
function serve(listener: i32): void {
  const count = connections.length, records = allocate((<usize>count + 1) * POLL_BYTES);
  pollSet(records, 0, count < limit ? listener : -1, READABLE);
  for (let n = 0; n < count; n++) { const c = at(n); pollSet(records, n + 1, c.fd, c.state == SEND ? WRITABLE : READABLE); }
  const found = sysPoll(records, count + 1, count > 0 ? 1000 : -1);
  const now = clock();
  if (found > 0) {
    for (let n = count - 1; n >= 0; n--) { // downwards: a closed one is taken out
      const c = at(n), events = pollFound(records, n + 1);
      if (events != 0 && !step(c, now)) drop(n);
    }
    if (pollFound(records, 0) != 0) acceptAll(listener, now);
  } else if (found < 0 && found != -EINTR) { complain(0, found); finish(1); }
  for (let n = connections.length - 1; n >= 0; n--) {
    const c = at(n), quiet = now > c.last ? now - c.last : 0;
    if (quiet <= (c.state == DRAIN ? DRAIN_NS : idleNs)) continue;
    if (c.state == READ && c.have > 0) { c.keep = false; problem(c, 408); c.last = now; if (push(c, now)) continue; }
    drop(n);
  }
  release(records);
}
function at(n: i32): Connection { return changetype<Connection>(connections.get(n)); }
function drop(n: i32): void {
  const c = at(n);
  endBody(c);
  sysClose(c.fd);
  release(c.input);
  release(c.output);
  release(changetype<usize>(c));
  connections.set(n, connections.get(connections.length - 1));
  connections.length--;
}
function acceptAll(listener: i32, now: u64): void {
  while (connections.length < limit) {
    const fd = sysAccept(listener, 0);
    if (fd == -EINTR) continue;
    if (fd < 0) { if (fd != -EAGAIN && fd != -EMFILE && fd != -ENFILE) complain(0, fd); return; }
    const c = changetype<Connection>(zeroed(offsetof<Connection>()));
    c.fd = fd; c.last = now; c.file = -1;
    c.input = allocate(HEAD_LIMIT);
    connections.push(changetype<usize>(c));
    if (!step(c, now)) drop(connections.length - 1);
  }
}

/** The connection goes as far as it can without waiting; false: it is over. */
function step(c: Connection, now: u64): bool {
  if (c.state == SEND) return push(c, now);
  if (c.state == DRAIN) {
    while (true) {
      const got = sysRecv(c.fd, c.input, HEAD_LIMIT, MSG_DONTWAIT, 0);
      if (got == -EINTR || got > 0) continue;
      return got == -EAGAIN;
    }
  }
  let got = sysRecv(c.fd, c.input + c.have, HEAD_LIMIT - c.have, MSG_DONTWAIT, 0);
  if (got == -EINTR || got == -EAGAIN) return true;
  if (got <= 0) return false; // the end, between two requests or in the middle of one
  c.have += got;
  c.last = now;
  return read(c, now);
}
/** Looks for a whole head in the input. */
function read(c: Connection, now: u64): bool {
  let skip = 0; // empty lines before a request line (RFC 9112, 2.2)
  while (skip < c.have && (load<u8>(c.input + skip) == 13 || load<u8>(c.input + skip) == 10)) skip++;
  const length = headLength(c.input + skip, c.have - skip);
  if (length == 0) {
    if (c.have < HEAD_LIMIT) return true;
    c.keep = false;
    problem(c, 431);
    return push(c, now);
  }
  c.requests++;
  request(c, c.input + skip, length);
  const used = skip + length;
  memory.copy(c.input, c.input + used, c.have - used);
  c.have -= used;
  return push(c, now);
}

// ---- requests ---------------------------------------------------------------------------------------------------------------------------

const GET: u32 = 1, HEAD: u32 = 2;
function request(c: Connection, head: usize, length: i32): void {
  const line = lineLength(head, length);
  let space = 0;
  while (space < line && load<u8>(head + space) != 32) space++;
  let end = line;
  while (end > space && load<u8>(head + end - 1) != 32) end--;
  const version = head + end, versionLength = line - end;
  c.keep = false;
  if (space == line || end <= space + 1) { answer(c, head, line, 400); return; }
  if (versionLength < 8 || !sliceIs(version, 5, 'HTTP/')) { answer(c, head, line, 400); return; }
  if (!sliceIs(version, 7, 'HTTP/1.')) { answer(c, head, line, 505); return; }
  const old = load<u8>(version + 7) == 48;
  c.keep = old ? fieldHas(head, length, 'connection', 'keep-alive') : !fieldHas(head, length, 'connection', 'close');
  const method: u32 = sliceIs(head, space, 'GET') ? GET : sliceIs(head, space, 'HEAD') ? HEAD : 0;
  if (!old && !field(head, length, 'host')) { c.keep = false; answer(c, head, line, 400); return; }
  const body = field(head, length, 'content-length');
  if (field(head, length, 'transfer-encoding') || (body && decimal(body, fieldLength()) != 0)) { // a body that nobody reads: the connection cannot go on
    c.keep = false;
    answer(c, head, line, method != 0 ? 400 : isKnown(head, space) ? 405 : 501);
    return;
  }
  if (method == 0) { answer(c, head, line, isKnown(head, space) ? 405 : 501); return; }
  if (requestPath(head + space + 1, end - space - 2, PATH) < 0) { answer(c, head, line, 400); return; }
  resource(c, head, length, line, method == HEAD);
}
function isKnown(at: usize, n: i32): bool { return sliceIs(at, n, 'POST') || sliceIs(at, n, 'PUT') || sliceIs(at, n, 'DELETE') || sliceIs(at, n, 'OPTIONS') || sliceIs(at, n, 'PATCH') || sliceIs(at, n, 'TRACE') || sliceIs(at, n, 'CONNECT'); }

function statusOf(errno: i32): i32 { return errno == -ENOENT || errno == -ENOTDIR || errno == -ENAMETOOLONG || errno == -ELOOP ? 404 : errno == -EACCES ? 403 : errno == -EMFILE || errno == -ENFILE ? 503 : 500; }
function resource(c: Connection, head: usize, length: i32, line: i32, only: bool): void {
  const path = joinPath(root, PATH + 1), asked = lengthOf(PATH), slash = load<u8>(PATH + asked - 1) == 47, fd = openKnown(path);
  if (fd < 0) answer(c, head, line, statusOf(fd));
  else if ((statMode() & S_IFMT) == S_IFDIR) {
    sysClose(fd);
    if (slash) folder(c, path, head, length, line, only); else moved(c, head, line, only);
  } else if (slash || (statMode() & S_IFMT) != S_IFREG) {
    sysClose(fd);
    answer(c, head, line, slash ? 404 : 403);
  } else file(c, path, fd, head, length, line, only);
  release(path);
}
/** A directory is its index.html, or a listing. */
function folder(c: Connection, path: Text, head: usize, length: i32, line: i32, only: bool): void {
  const index = joinPath(path, INDEX), fd = openKnown(index);
  if (fd >= 0 && (statMode() & S_IFMT) == S_IFREG) file(c, index, fd, head, length, line, only);
  else {
    if (fd >= 0) sysClose(fd);
    directory(c, path, head, line, only);
  }
  release(index);
}
/** Opens it; the last stat record is its. */
function openKnown(path: Text): i32 {
  const fd = openRetry(path, O_RDONLY, 0), status = fd < 0 ? fd : statFd(fd);
  if (fd >= 0 && status < 0) sysClose(fd);
  return status < 0 ? status : fd;
}
const INDEX: usize = memory.data<u8>([105, 110, 100, 101, 120, 46, 104, 116, 109, 108, 0]);

/** The last stat record is that of `fd`, which is this function's. */
function file(c: Connection, path: Text, fd: i32, head: usize, length: i32, line: i32, only: bool): void {
  const size = <i64>statSize(), etag = tag();
  const match = field(head, length, 'if-none-match');
  if (match && matches(match, fieldLength(), etag)) {
    sysClose(fd);
    begins(c, 304);
    header(c, 'ETag: '); text(c, etag); endLine(c);
    ends(c);
    log(c, head, line, 304, 0);
    return;
  }
  let from: i64 = 0, bytes = size, status = 200;
  const range = field(head, length, 'range');
  if (range) {
    const how = parseRange(range, fieldLength(), size);
    if (how < 0) {
      sysClose(fd);
      begins(c, 416);
      header(c, 'Content-Range: bytes */'); number(c, size); endLine(c);
      header(c, 'Content-Length: 0'); endLine(c);
      ends(c);
      log(c, head, line, 416, 0);
      return;
    }
    if (how > 0) { from = rangeFrom; bytes = rangeTo - rangeFrom + 1; status = 206; }
  }
  begins(c, status);
  header(c, 'Content-Type: '); literal(c, contentType(path)); endLine(c);
  header(c, 'Content-Length: '); number(c, bytes); endLine(c);
  if (status == 206) { header(c, 'Content-Range: bytes '); number(c, from); literal(c, '-'); number(c, from + bytes - 1); literal(c, '/'); number(c, size); endLine(c); }
  header(c, 'Accept-Ranges: bytes'); endLine(c);
  header(c, 'ETag: '); text(c, etag); endLine(c);
  ends(c);
  if (only || bytes == 0) sysClose(fd);
  else if (from > 0x7fffffff || (from > 0 && sysSeek(fd, <i32>from, 0) < 0)) { sysClose(fd); c.keep = false; }
  else { c.file = fd; c.left = bytes; }
  log(c, head, line, status, only ? 0 : bytes);
}
const TAG: usize = memory.data(64);
/** Of the last stat record: "inode-time-size" in hexadecimal, with its quotes. */
function tag(): Text {
  let p = TAG;
  store<u8>(p++, 34);
  p += formatNumber(p, statInode(), 16); store<u8>(p++, 45);
  p += formatNumber(p, statModified(), 16); store<u8>(p++, 45);
  p += formatNumber(p, statSize(), 16);
  store<u8>(p++, 34); store<u8>(p, 0);
  return TAG;
}
function matches(at: usize, length: i32, etag: Text): bool {
  if (length == 1 && load<u8>(at) == 42) return true;
  const size = lengthOf(etag);
  for (let n = 0; n + size <= length; n++) {
    let k = 0;
    while (k < size && load<u8>(at + n + k) == load<u8>(etag + k)) k++;
    if (k == size) return true;
  }
  return false;
}
let rangeFrom: i64 = 0, rangeTo: i64 = 0;
/** RFC 9110, 14.1.2, one range. 1: `rangeFrom`..`rangeTo`; 0: not understood, the whole is sent; -1: outside the file. */
function parseRange(at: usize, length: i32, size: i64): i32 {
  if (length < 8 || !sliceIs(at, 6, 'bytes=')) return 0;
  let dash = 6;
  while (dash < length && load<u8>(at + dash) != 45) dash++;
  if (dash == length) return 0;
  const first = dash > 6 ? decimal(at + 6, dash - 6) : -2, last = dash + 1 < length ? decimal(at + dash + 1, length - dash - 1) : -2;
  if (first == -1 || last == -1 || (first == -2 && last == -2)) return 0;
  if (first == -2) { // the last bytes
    if (last == 0) return -1;
    rangeFrom = max<i64>(size - last, 0); rangeTo = size - 1;
  } else {
    if (last != -2 && last < first) return 0;
    rangeFrom = first; rangeTo = last == -2 || last >= size ? size - 1 : last;
  }
  return rangeFrom < size ? 1 : -1;
}
function moved(c: Connection, head: usize, line: i32, only: bool): void {
  begins(c, 301);
  header(c, 'Location: '); escaped(c, PATH); literal(c, '/'); endLine(c);
  header(c, 'Content-Length: 0'); endLine(c);
  ends(c);
  log(c, head, line, 301, 0);
}
function directory(c: Connection, path: Text, head: usize, line: i32, only: bool): void {
  const names = List.create(), status = listDirectory(path, names, false);
  if (status < 0) { releaseNames(names); answer(c, head, line, statusOf(status)); return; }
  const page = Bytes.create();
  page.pushLiteral('<!DOCTYPE html>\n<html><head><meta charset="utf-8"><title>Index of '); html(page, PATH);
  page.pushLiteral('</title></head>\n<body><h1>Index of '); html(page, PATH); page.pushLiteral('</h1>\n<table>\n');
  if (load<u8>(PATH + 1)) page.pushLiteral('<tr><td><a href="../">../</a></td><td></td></tr>\n');
  for (let n = 0; n < names.length; n++) {
    const name = names.get(n), full = joinPath(path, name), known = statOf(full, false) >= 0, folder = known && (statMode() & S_IFMT) == S_IFDIR;
    release(full);
    page.pushLiteral('<tr><td><a href="./'); url(page, name); if (folder) page.push(47);
    page.pushLiteral('">'); html(page, name); if (folder) page.push(47);
    page.pushLiteral('</a></td><td align="right">');
    if (known && !folder) { const digits = formatNumber(NUMBER, statSize(), 10); page.pushBytes(NUMBER, digits); }
    page.pushLiteral('</td></tr>\n');
  }
  page.pushLiteral('</table></body></html>\n');
  releaseNames(names);
  begins(c, 200);
  header(c, 'Content-Type: text/html; charset=utf-8'); endLine(c);
  header(c, 'Content-Length: '); number(c, page.length); endLine(c);
  ends(c);
  log(c, head, line, 200, only ? 0 : page.length);
  if (only) page.free(); else { c.page = page; c.pageAt = 0; }
}
function html(page: Bytes, text: Text): void {
  for (let p = text; load<u8>(p); p++) {
    const byte = load<u8>(p);
    if (byte == 38) page.pushLiteral('&amp;'); else if (byte == 60) page.pushLiteral('&lt;'); else if (byte == 62) page.pushLiteral('&gt;'); else if (byte == 34) page.pushLiteral('&quot;'); else page.push(byte);
  }
}
/** RFC 3986, 2.3: unreserved characters stay. */
function plain(byte: u32): bool { return byte - 48 < 10 || (byte | 32) - 97 < 26 || byte == 45 || byte == 46 || byte == 95 || byte == 126 || byte == 47; }
function hex(n: u32): u32 { return n < 10 ? 48 + n : 55 + n; }
function url(page: Bytes, text: Text): void {
  for (let p = text; load<u8>(p); p++) { const byte = load<u8>(p); if (plain(byte)) page.push(byte); else { page.push(37); page.push(hex(byte >> 4)); page.push(hex(byte & 15)); } }
}

// ---- answers ----------------------------------------------------------------------------------------------------------------------------

/** An error page for the request whose first line is at `head`. */
function answer(c: Connection, head: usize, line: i32, status: i32): void { problem(c, status); log(c, head, line, status, 0); }
function problem(c: Connection, status: i32): void {
  endBody(c);
  const page = Bytes.create();
  page.pushLiteral('<!DOCTYPE html>\n<html><head><title>'); digits(page, status); page.pushLiteral(reason(status));
  page.pushLiteral('</title></head><body><h1>'); digits(page, status); page.pushLiteral(reason(status)); page.pushLiteral('</h1></body></html>\n');
  begins(c, status);
  if (status == 405) { header(c, 'Allow: GET, HEAD'); endLine(c); }
  header(c, 'Content-Type: text/html; charset=utf-8'); endLine(c);
  header(c, 'Content-Length: '); number(c, page.length); endLine(c);
  ends(c);
  c.page = page; c.pageAt = 0;
}
function digits(page: Bytes, status: i32): void { page.pushBytes(NUMBER, formatNumber(NUMBER, status, 10)); page.push(32); }
function begins(c: Connection, status: i32): void {
  if (!c.output) c.output = allocate(PIECE);
  c.at = 0; c.filled = 0; c.state = SEND;
  literal(c, 'HTTP/1.1 '); number(c, status); literal(c, ' '); literal(c, reason(status)); endLine(c);
  header(c, 'Server: kintsugi'); endLine(c);
}
function ends(c: Connection): void {
  if (!c.keep) { header(c, 'Connection: close'); endLine(c); }
  endLine(c);
}
// A head is at most a path and some hundred bytes: it fits into PIECE.
function byte(c: Connection, b: u32): void { if (c.filled < PIECE) store<u8>(c.output + c.filled++, <u8>b); }
function literal(c: Connection, s: string): void { for (let n = 0; n < s.length; n++) byte(c, s.charCodeAt(n)); }
function header(c: Connection, s: string): void { literal(c, s); }
function endLine(c: Connection): void { byte(c, 13); byte(c, 10); }
function text(c: Connection, t: Text): void { for (let p = t; load<u8>(p); p++) byte(c, load<u8>(p)); }
function number(c: Connection, value: i64): void { const n = formatNumber(NUMBER, value, 10); for (let k = 0; k < n; k++) byte(c, load<u8>(NUMBER + k)); }
function escaped(c: Connection, t: Text): void { for (let p = t; load<u8>(p); p++) { const b = load<u8>(p); if (plain(b)) byte(c, b); else { byte(c, 37); byte(c, hex(b >> 4)); byte(c, hex(b & 15)); } } }
function endBody(c: Connection): void {
  if (c.file >= 0) { sysClose(c.file); c.file = -1; c.left = 0; }
  if (changetype<usize>(c.page) != 0) { c.page.free(); c.page = NO_PAGE; }
}
/** More of the body behind what waits in the output; false when the file cannot give what was promised. */
function fill(c: Connection): bool {
  if (c.at == c.filled) { c.at = 0; c.filled = 0; }
  while (c.filled < PIECE) {
    if (changetype<usize>(c.page) != 0) {
      const part = min(PIECE - c.filled, c.page.length - c.pageAt);
      memory.copy(c.output + c.filled, c.page.at + c.pageAt, part);
      c.filled += part; c.pageAt += part;
      if (c.pageAt == c.page.length) endBody(c);
    } else if (c.file >= 0) {
      const wanted = <i32>min<i64>(PIECE - c.filled, c.left), got = sysRead(c.file, c.output + c.filled, wanted);
      if (got == -EINTR) continue;
      if (got <= 0) return false; // shorter than its stat said, or unreadable
      c.filled += got; c.left -= got;
      if (c.left == 0) endBody(c);
      else if (c.filled < PIECE) continue;
    } else break;
  }
  return true;
}
/** Sends what the socket takes; at the end of the answer goes on with the next request that is there already. */
function push(c: Connection, now: u64): bool {
  for (let n = 0; n < BATCH; n++) {
    if (c.at == c.filled || (c.filled < PIECE && (c.file >= 0 || changetype<usize>(c.page) != 0))) if (!fill(c)) return false;
    if (c.at == c.filled) break;
    const sent = sysSend(c.fd, c.output + c.at, c.filled - c.at, MSG_DONTWAIT | MSG_NOSIGNAL, 0);
    if (sent == -EINTR) continue;
    if (sent == -EAGAIN) return true;
    if (sent <= 0) return false;
    c.at += sent;
    c.last = now;
    if (c.at < c.filled) return true;
  }
  if (c.at < c.filled || c.file >= 0 || changetype<usize>(c.page) != 0) return true;
  if (!c.keep) {
    sysShutdown(c.fd, 1);
    c.state = DRAIN;
    c.last = now;
    return step(c, now);
  }
  c.state = READ;
  return c.have > 0 ? read(c, now) : true;
}
/** "GET /x HTTP/1.1" 200 1234 */
function log(c: Connection, head: usize, line: i32, status: i32, bytes: i64): void {
  if (!verbose) return;
  putByte(34);
  for (let n = 0; n < line && n < 200; n++) { const b = load<u8>(head + n); putByte(b < 32 || b > 126 ? 63 : b); }
  putByte(34); putByte(32); putNumber(status); putByte(32); putNumber(bytes); putByte(10);
  flush();
}
