/**
 * netbench: the guest's end of `kintsugi bench net`. Says "begin NAME" when it begins and "NAME COUNT NS" when it is through (ns of the guest's clock).
 *   accept PORT COUNT         takes COUNT connections one after the other: reads once, answers as many bytes, closes
 *   connect HOST PORT COUNT   makes COUNT connections one after the other: sends a line, reads once, closes; the first quarter is not timed
 *   open HOST PORT COUNT      makes COUNT connections and keeps them until it is killed
 *   recv PORT BYTES           takes one connection and BYTES of it, answers a byte
 *   send PORT BYTES           takes one connection and sends BYTES, then the end
 */
import { argument, argumentCount, begin, complain, complainText, finish, operands, usage } from './lib/program';
import { EINTR } from './lib/errors';
import { helped } from './lib/help';
import { allocate } from './lib/memory';
import { anyAddress, connectTo, lookUp, newAddress, parsePort } from './lib/net';
import { flush, put, putByte, putNumber, putText } from './lib/output';
import { MSG_NOSIGNAL, clock, sysAccept, sysBind, sysClose, sysListen, sysRecv, sysSend, sysSetOption, sysShutdown, sysSleep, sysSocket } from './lib/sys';
import { Text, isNumber, parseNumber, same } from './lib/text';
import * as P from 'kintsugi/protocols';

const USAGE: string = 'netbench accept PORT COUNT | connect HOST PORT COUNT | open HOST PORT COUNT | recv PORT BYTES | send PORT BYTES';
const PIECE: i32 = 65536;
let buffer: usize = 0;

export function main(page: usize): void { begin(page); finish(run()); }

function run(): i32 {
  if (helped('netbench accept PORT COUNT | connect HOST PORT COUNT | open HOST PORT COUNT | recv PORT BYTES | send PORT BYTES\nThe other end is kintsugi bench net.')) return 0;
  const first = operands(), what = argument(first), outgoing = argumentCount - first == 4;
  if (argumentCount - first != (same(what, 'connect') || same(what, 'open') ? 4 : 3)) return usage(USAGE);
  const port = parsePort(argument(first + (outgoing ? 2 : 1))), text = argument(first + (outgoing ? 3 : 2)), count = parseNumber(text);
  if (port < 0) { complainText(argument(first + (outgoing ? 2 : 1)), 'not a port'); return 2; }
  if (!isNumber(text) || count < 1) { complainText(text, 'not a count'); return 2; }
  buffer = allocate(PIECE);
  if (outgoing) return connectAll(what, argument(first + 1), port, count);
  const listener = sysSocket(P.NET_FAMILY_INET, P.NET_TYPE_STREAM, 0), address = newAddress();
  anyAddress(address, port);
  let status = listener < 0 ? listener : sysSetOption(listener, P.NET_OPTION_REUSE, 1);
  if (status >= 0) status = sysBind(listener, address);
  if (status >= 0) status = sysListen(listener, 128);
  if (status < 0) { complain(0, status); return 1; }
  put('listening\n');
  flush();
  if (same(what, 'accept')) return acceptAll(what, listener, count);
  const fd = accept(listener);
  if (fd < 0) { complain(0, fd); return 1; }
  if (same(what, 'recv')) return takeAll(what, fd, count);
  if (same(what, 'send')) return sendAll(what, fd, count);
  return usage(USAGE);
}
function begun(what: Text): u64 { put('begin '); putText(what); putByte(10); flush(); return clock(); }
function done(what: Text, count: i64, since: u64): i32 {
  const ns = clock() - since;
  putText(what); putByte(32); putNumber(count); putByte(32); putNumber(<i64>ns); putByte(10);
  flush();
  return 0;
}
function accept(listener: i32): i32 {
  let fd: i32;
  do fd = sysAccept(listener, 0); while (fd == -EINTR);
  return fd;
}
function acceptAll(what: Text, listener: i32, count: i64): i32 {
  let since: u64 = 0;
  for (let n: i64 = 0; n < count; n++) {
    const fd = accept(listener);
    if (fd < 0) { complain(0, fd); return 1; }
    if (n == 0) since = begun(what);
    const got = sysRecv(fd, buffer, PIECE, 0, 0);
    if (got > 0) sysSend(fd, buffer, got, MSG_NOSIGNAL, 0);
    sysClose(fd);
  }
  return done(what, count, since);
}
function connectAll(what: Text, name: Text, port: i32, count: i64): i32 {
  const address = newAddress();
  if (!lookUp(name, port, address)) return 2;
  if (same(what, 'open')) return openAll(what, address, count);
  const warm = count >> 2;
  let since = begun(what);
  for (let n: i64 = 0; n < count; n++) {
    if (n == warm) since = clock();
    const fd = connectTo(address);
    if (fd < 0) { complain(name, fd); return 1; }
    store<u16>(buffer, 0x0a31);
    sysSend(fd, buffer, 2, MSG_NOSIGNAL, 0);
    const got = sysRecv(fd, buffer, PIECE, 0, 0);
    if (got < 0) { complain(name, got); return 1; }
    sysClose(fd);
  }
  return done(what, count - warm, since);
}
function openAll(what: Text, address: usize, count: i64): i32 {
  const since = begun(what);
  for (let n: i64 = 0; n < count; n++) {
    const fd = connectTo(address);
    if (fd < 0) { complain(0, fd); return 1; }
  }
  done(what, count, since);
  while (true) sysSleep(1_000_000_000_000);
  return 0;
}
function takeAll(what: Text, fd: i32, bytes: i64): i32 {
  const since = begun(what);
  for (let left = bytes; left > 0;) {
    const got = sysRecv(fd, buffer, <i32>min<i64>(left, PIECE), 0, 0);
    if (got == -EINTR) continue;
    if (got <= 0) { complain(0, got); return 1; }
    left -= got;
  }
  sysSend(fd, buffer, 1, MSG_NOSIGNAL, 0);
  return done(what, bytes, since);
}
function sendAll(what: Text, fd: i32, bytes: i64): i32 {
  const since = begun(what);
  for (let left = bytes; left > 0;) {
    const sent = sysSend(fd, buffer, <i32>min<i64>(left, PIECE), MSG_NOSIGNAL, 0);
    if (sent == -EINTR) continue;
    if (sent <= 0) { complain(0, sent); return 1; }
    left -= sent;
  }
  sysShutdown(fd, 1);
  while (sysRecv(fd, buffer, PIECE, 0, 0) > 0) {} // the machine ends with this program: not before the peer has it all
  return done(what, bytes, since);
}
