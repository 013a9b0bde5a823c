/**
 * netop what [bytes] ...: conversations over the network, each exactly once, between a line that says `begin` and lines with its results. The sweep of tools/lab kills
 * net and its driver at every instruction of it and compares the output with a model, so everything here is fixed: ports, contents, order. The other end is the peer of
 * tools/lab/net-peer.ts: the services of the deterministic gateway, and datagrams to port 4000 by which it is told what to do.
 *
 *   echo N, near N   a connection to the echo service of the gateway (of its neighbour): N bytes there and back
 *   source N, early N   N bytes from the source service; `early` ends its own half before it reads
 *   sink N       N bytes to the sink service and its verdict
 *   server N     the peer calls port 7000, sends, and takes N bytes; its verdict
 *   reset        the peer resets the connection
 *   udp N, ping N, name, arp, dhcp   datagrams until one came back; a name; the peer asks for our address; an address
 *
 * After each it says `done` and its name, or `FAILED done` when an error was told. Last it waits until the stack holds no more than before (`left 0`), or says what it does.
 */
import { argument, argumentCount, begin, complain, complainText, failed, finish, usage } from './lib/program';
import { crc32 } from '../servers/lib/crc32';
import { ECONNRESET, EINTR } from './lib/errors';
import { allocate } from './lib/memory';
import { POLL_BYTES, READABLE, anyAddress, bytesOf, newAddress, parseV4, pollSet, putAddress, setPort } from './lib/net';
import { nextRecord, startQuery } from './lib/netinfo';
import { flush, put, putByte, putBytes, putHex, putNumber, putText } from './lib/output';
import { MSG_DONTWAIT, MSG_NOSIGNAL, sysAccept, sysBind, sysClose, sysConnect, sysListen, sysNetConfigure, sysPoll, sysRecv, sysResolve, sysSend, sysSetOption, sysShutdown, sysSleep, sysSocket } from './lib/sys';
import { Text, copyLiteral, formatNumber, isNumber, lengthOf, parseNumber, same } from './lib/text';
import * as P from 'kintsugi/protocols';

export function main(page: usize): void { begin(page); finish(run()); }

const PAUSE: i32 = 30_000;
const ROOM: u32 = 65536;
const MS: u64 = 1_000_000;
const ETH: u32 = 2; // index of the interface
const SCRATCH: usize = memory.data(64);
const LITERAL: usize = memory.data(256);
let buffer: usize = 0, address: usize = 0, records: usize = 0, control: i32 = -1, total: i32 = 0;

function pause(): void { for (let k = 0; k < PAUSE; k++) store<u32>(SCRATCH, load<u32>(SCRATCH) * 1664525 + 1013904223); }
function literal(text: string): Text { copyLiteral(LITERAL, text); return LITERAL; }
function at(host: string, port: u32): usize {
  const text = literal(host);
  parseV4(text, lengthOf(text), address);
  setPort(address, port);
  return address;
}
let complaints: i32 = 0;
function wrong(why: string): void { complaints++; complainText(0, why); }
/** A result, or an error. */
function report(what: string, value: i32): void {
  if (value < 0) { complaints++; complain(literal(what), value); return; }
  put(what); putByte(32); putNumber(value); putByte(10);
}



/** Tells the peer; the first byte of its answer, asked for until one comes. The rest is in `buffer`. */
function tell(command: u32): u32 {
  while (true) {
    store<u8>(SCRATCH, <u8>command);
    sysSend(control, SCRATCH, 1, 0, at('10.0.2.2', 4000));
    if (readable(control, 50)) {
      const got = sysRecv(control, buffer, ROOM, MSG_DONTWAIT, 0);
      if (got > 0 && load<u8>(buffer) == <u8>command) { store<u8>(buffer + got, 0); return got > 1 ? load<u8>(buffer, 1) : 0; }
    }
  }
}
/** Longer and longer: what comes soon is seen soon, and a minute of waiting costs few instructions. */
function wait(tries: i32): void { sysSleep(10 * MS << min(tries, 7)); }
function readable(fd: i32, ms: i32): bool { pollSet(records, 0, fd, READABLE); return sysPoll(records, 1, ms) > 0; }

/** Fills `bytes` with what depends on the place. */
function pattern(bytes: i32): void { for (let k = 0; k < bytes; k++) store<u8>(buffer + k, <u8>(97 + (k + (k >> 8)) % 23)); }
function sendAll(fd: i32, bytes: i32): bool {
  for (let sent = 0; sent < bytes;) {
    const n = sysSend(fd, buffer + sent, bytes - sent, MSG_NOSIGNAL, 0);
    if (n == -EINTR) continue;
    if (n <= 0) { report('send', n); return false; }
    sent += n;
  }
  report('sent', bytes);
  return true;
}
/** Reads to the end, or to `most` bytes; tells how many and their CRC. */
function take(fd: i32, most: i32): bool {
  let got = 0;
  while (got < most) {
    const n = sysRecv(fd, buffer + got, most - got, 0, 0);
    if (n == -EINTR) continue;
    if (n < 0) { report('recv', n); return false; }
    if (n == 0) break;
    got += n;
  }
  put('received '); putNumber(got); put(' crc '); putHex(crc32(0, buffer, got), 8); putByte(10);
  total = got;
  return true;
}
/** The end of the stream, and nothing before it. */
function end(fd: i32): void { report('end', sysRecv(fd, SCRATCH, 8, 0, 0)); }
function connected(host: string, port: u32): i32 {
  const fd = sysSocket(P.NET_FAMILY_INET, P.NET_TYPE_STREAM, 0), status = sysConnect(fd, at(host, port));
  report('connect', status);
  return status < 0 ? -1 : fd;
}

function echo(host: string, bytes: i32): void {
  const fd = connected(host, 7);
  if (fd < 0) return;
  pattern(bytes);
  if (!sendAll(fd, bytes)) return;
  memory.fill(buffer, 0, bytes);
  if (!take(fd, bytes)) return;
  report('shutdown', sysShutdown(fd, 1));
  end(fd);
  report('close', sysClose(fd));
}
function source(bytes: i32, early: bool): void {
  const fd = connected('10.0.2.2', 5001);
  if (fd < 0) return;
  let n = formatNumber(buffer, bytes, 10);
  store<u8>(buffer + n++, 32); store<u8>(buffer + n++, 49); store<u8>(buffer + n++, 10);
  if (!sendAll(fd, n)) return;
  if (early) report('shutdown', sysShutdown(fd, 1));
  if (!take(fd, ROOM)) return;
  sysSleep(20 * MS);
  report('close', sysClose(fd));
}
function sink(bytes: i32): void {
  const fd = connected('10.0.2.2', 5002);
  if (fd < 0) return;
  pattern(bytes);
  if (!sendAll(fd, bytes)) return;
  report('shutdown', sysShutdown(fd, 1));
  if (!take(fd, ROOM)) return;
  putBytes(buffer, total);
  report('close', sysClose(fd));
  sysSleep(20 * MS);
}
function server(bytes: i32): void {
  const listener = sysSocket(P.NET_FAMILY_INET, P.NET_TYPE_STREAM, 0);
  sysSetOption(listener, P.NET_OPTION_REUSE, 1);
  anyAddress(address, 7000);
  report('bind', sysBind(listener, address));
  report('listen', sysListen(listener, 4));
  tell(99 /* c */);
  const fd = sysAccept(listener, 0);
  if (fd < 0) { report('accept', fd); return; }
  put('accepted\n');
  if (!take(fd, ROOM)) return;
  pattern(bytes);
  if (!sendAll(fd, bytes)) return;
  report('close', sysClose(fd));
  for (let tries = 0; tell(118 /* v */) == 45; tries++) wait(tries);
  put('the peer has '); putText(buffer + 1); putByte(10);
  report('close', sysClose(listener));
}
/** Whoever is reset hears of it once, reading or writing; a segment of its own makes the peer say it again if it was lost. */
function reset(): void {
  const fd = connected('10.0.2.2', 7);
  if (fd < 0) return;
  pattern(100);
  if (!sendAll(fd, 100) || !take(fd, 100)) return;
  tell(114 /* r */);
  let status = 0;
  for (let tries = 0; tries < 500 && status != -ECONNRESET; tries++) {
    if (readable(fd, 20)) status = sysRecv(fd, SCRATCH, 8, MSG_DONTWAIT, 0);
    if (status == -ECONNRESET) break;
    status = sysSend(fd, buffer, 1, MSG_NOSIGNAL | MSG_DONTWAIT, 0);
  }
  if (status == -ECONNRESET) put('reset\n'); else wrong('not reset');
  report('close', sysClose(fd));
}
function datagrams(type: u32, bytes: i32): void {
  const fd = sysSocket(P.NET_FAMILY_INET, type, 0), header = type == P.NET_TYPE_ECHO ? 8 : 0;
  report('connect', sysConnect(fd, at('10.0.2.2', 7)));
  while (true) {
    pattern(bytes);
    if (header) { memory.fill(buffer, 0, header); store<u8>(buffer, 8); store<u8>(buffer, 1, 7); }
    const sent = sysSend(fd, buffer, bytes, 0, 0);
    if (sent != bytes) { report('send', sent); return; }
    memory.fill(buffer, 0, bytes);
    if (!readable(fd, 200)) continue;
    const got = sysRecv(fd, buffer, ROOM, MSG_DONTWAIT, 0);
    if (got < 0) continue; // it was there, and died with its keeper
    put('received '); putNumber(got); put(' crc '); putHex(crc32(0, buffer + header, got - header), 8); putByte(10);
    break;
  }
  report('close', sysClose(fd));
}
function name(): void {
  const found = sysResolve(literal('peer.test'), address, 1);
  if (found < 0) { report('name', found); return; }
  put('found '); putNumber(found); putByte(32); putAddress(bytesOf(address)); putByte(10);
}
function dhcp(): void {
  const text = literal('10.0.2.99');
  parseV4(text, lengthOf(text), address);
  report('configure', sysNetConfigure(ETH, P.NET_CONFIGURE_ADDRESS, 24, address));
  report('dhcp', sysNetConfigure(ETH, P.NET_CONFIGURE_DHCP, 0, 0));
  for (let tries = 0; tries < 60; tries++) {
    startQuery(P.NET_WHAT_INTERFACES, P.NET_RECORDS_INTERFACE_SIZE);
    for (let r = nextRecord(); r; r = nextRecord()) {
      if (load<u32>(r, P.NET_RECORDS_INTERFACE_INDEX) == ETH && load<u8>(r, P.NET_RECORDS_INTERFACE_ADDRESS + 15) == 15) { put('address '); putAddress(r + P.NET_RECORDS_INTERFACE_ADDRESS); putByte(10); return; }
    }
    wait(tries);
  }
  wrong('no address');
}

const BEFORE: usize = memory.data(64, 4), AFTER: usize = memory.data(64, 4);
/** Objects of the stack in use, those of TIME-WAIT left out; how many kinds. */
function objects(to: usize): u32 {
  let n: u32 = 0, waiting: u32 = 0;
  startQuery(P.NET_WHAT_SOCKETS, P.NET_RECORDS_SOCKET_SIZE);
  for (let r = nextRecord(); r; r = nextRecord()) if (load<u32>(r, P.NET_RECORDS_SOCKET_TYPE) == P.NET_TYPE_STREAM && load<u32>(r, P.NET_RECORDS_SOCKET_STATE) == P.NET_TCP_STATE_TIME_WAIT) waiting++;
  startQuery(P.NET_WHAT_OBJECTS, P.NET_RECORDS_COUNTER_SIZE);
  for (let r = nextRecord(); r; r = nextRecord()) { store<u32>(to + (<usize>n << 2), load<u32>(r, P.NET_RECORDS_COUNTER_VALUE)); n++; }
  store<u32>(to, load<u32>(to) - waiting);
  return n;
}
function left(): void {
  let more = true;
  for (let tries = 0; tries < 60 && more; tries++) {
    const kinds = objects(AFTER);
    more = false;
    for (let n: usize = 0; n < kinds; n++) if (load<u32>(AFTER + (n << 2)) > load<u32>(BEFORE + (n << 2))) more = true;
    if (more) wait(tries);
  }
  if (!more) { put('left 0\n'); return; }
  wrong('the stack holds more than before');
  put('left');
  for (let n: usize = 0; n < 7; n++) { putByte(32); putNumber(<i32>(load<u32>(AFTER + (n << 2)) - load<u32>(BEFORE + (n << 2)))); }
  putByte(10);
}

const USAGE: string = 'netop (echo|near|source|early|sink|server|reset|udp|ping|name|arp|dhcp [bytes])...';
function converse(what: Text, bytes: i32): bool {
  if (same(what, 'echo')) echo('10.0.2.2', bytes);
  else if (same(what, 'near')) echo('10.0.2.100', bytes);
  else if (same(what, 'source')) source(bytes, false);
  else if (same(what, 'early')) source(bytes, true);
  else if (same(what, 'sink')) sink(bytes);
  else if (same(what, 'server')) server(bytes);
  else if (same(what, 'reset')) reset();
  else if (same(what, 'udp')) datagrams(P.NET_TYPE_DATAGRAM, bytes);
  else if (same(what, 'ping')) datagrams(P.NET_TYPE_ECHO, bytes);
  else if (same(what, 'name')) name();
  else if (same(what, 'arp')) { for (let tries = 0; tell(97 /* a */) != 121 /* y */; tries++) wait(tries); put('answered\n'); }
  else if (same(what, 'dhcp')) dhcp();
  else return false;
  return true;
}

function run(): i32 {
  if (argumentCount < 2) return usage(USAGE);
  buffer = allocate(ROOM + 16); address = newAddress(); records = allocate(POLL_BYTES);
  control = sysSocket(P.NET_FAMILY_INET, P.NET_TYPE_DATAGRAM, 0);
  crc32(0, buffer, 4); // fills its tables
  put('begin\n');
  flush();
  pause();
  tell(103 /* g */);
  objects(BEFORE);
  for (let n = 1; n < argumentCount; n++) {
    const what = argument(n), more = argument(n + 1), counted = more != 0 && isNumber(more), errors = complaints;
    if (!converse(what, counted ? <i32>parseNumber(more) : 0)) return usage(USAGE);
    put(complaints == errors ? 'done ' : 'FAILED done '); putText(what); putByte(10);
    flush();
    if (counted) n++;
  }
  left();
  return failed();
}
