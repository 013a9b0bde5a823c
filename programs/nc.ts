/**
 * nc [-l] [-u] [-n] [-v] [-z] [-p port] [-w seconds] [host] [port]: standard input to a connection, the connection to standard output. With -l it waits for one
 * connection (or the first datagram's sender). At the end of the input a stream is closed for sending; nc ends when the other side has
 * closed, too. When the other side closes first, what is left of the input is still sent (from a terminal nothing is waited for).
 */
import { argument, argumentCount, begin, complain, complainText, finish, operands, option, optionValue, programName, usage } from './lib/program';
import { EAGAIN, EINTR } from './lib/errors';
import { helped } from './lib/help';
import { ENDED, POLL_BYTES, READABLE, anyAddress, bytesOf, complainPort, connectTo, lookUp, newAddress, parsePort, pollFound, pollSet, portOf, putAddress } from './lib/net';
import { flush, put, putByte, putNumber, putText, toStream, writeAll } from './lib/output';
import { allocate } from './lib/memory';
import { MSG_NOSIGNAL, sysAccept, sysIsTerminal, sysBind, sysClose, sysConnect, sysListen, sysPoll, sysRead, sysRecv, sysSend, sysSetOption, sysShutdown, sysSocket } from './lib/sys';
import { isNumber, parseNumber } from './lib/text';
import * as P from 'kintsugi/protocols';

const USAGE: string = 'nc [-l] [-u] [-v] [-z] [-p port] [-w seconds] [host] port';
const PIECE: i32 = 65536;
const DATAGRAM: i32 = 1472; // what fits into a frame without fragments
let listening: bool = false, datagrams: bool = false, verbose: bool = false, only: bool = false;
let patience: i32 = -1;

export function main(page: usize): void { begin(page); finish(run()); }

function run(): i32 {
  if (helped('nc [-l] [-u] [-v] [-z] [-p port] [-w seconds] [host] port\n  -l  wait for a connection to port\n  -u  datagrams (UDP)\n  -p  own port\n  -w  give up after so many quiet seconds\n  -z  only see whether the port answers\n  -v  say what happens\nExamples: nc -l 7000 > file    nc 10.0.2.2 7000 < file')) return 0;
  let own = 0, letter: u32;
  while ((letter = option('luvznp:w:')) != 0) {
    if (letter == 63) return usage(USAGE);
    if (letter == 108) listening = true;
    else if (letter == 117) datagrams = true;
    else if (letter == 118) verbose = true;
    else if (letter == 122) only = true;
    else if (letter == 112) { own = parsePort(optionValue()); if (own < 0) { complainText(optionValue(), 'not a port'); return 2; } }
    else if (letter == 119) { if (!isNumber(optionValue()) || parseNumber(optionValue()) < 1) { complainText(optionValue(), 'not a number of seconds'); return 2; } patience = <i32>min<i64>(parseNumber(optionValue()), 86400) * 1000; }
  }
  const first = operands(), count = argumentCount - first;
  if (listening ? count > 2 || (count == 0 && own == 0) : count != 2) return usage(USAGE);
  const address = newAddress();
  if (listening) {
    if (count > 0) { own = parsePort(argument(argumentCount - 1)); if (own < 0) { complainText(argument(argumentCount - 1), 'not a port'); return 2; } }
    anyAddress(address, own);
    if (count == 2 && !lookUp(argument(first), own, address)) return 1;
    return listen(address, own);
  }
  const port = parsePort(argument(first + 1));
  if (port < 0) { complainText(argument(first + 1), 'not a port'); return 2; }
  if (!lookUp(argument(first), port, address)) return 1;
  const fd = sysSocket(P.NET_FAMILY_INET, datagrams ? P.NET_TYPE_DATAGRAM : P.NET_TYPE_STREAM, 0);
  if (fd < 0) { complain(0, fd); return 1; }
  if (own != 0) {
    const from = newAddress();
    anyAddress(from, own);
    const status = sysBind(fd, from);
    if (status < 0) { complainPort(argument(first), own, status); return 1; }
  }
  const status = sysConnect(fd, address);
  if (status < 0) { complainPort(argument(first), port, status); return 1; }
  if (verbose) tell('connected to ', address);
  return only ? 0 : relay(fd, 0);
}
function tell(what: string, address: usize): void {
  toStream(2);
  putText(programName()); put(': '); put(what); putAddress(bytesOf(address)); putByte(32); putNumber(portOf(address)); putByte(10);
  flush();
  toStream(1);
}
function listen(address: usize, port: i32): i32 {
  const fd = sysSocket(P.NET_FAMILY_INET, datagrams ? P.NET_TYPE_DATAGRAM : P.NET_TYPE_STREAM, 0);
  if (fd < 0) { complain(0, fd); return 1; }
  sysSetOption(fd, P.NET_OPTION_REUSE, 1);
  let status = sysBind(fd, address);
  if (status >= 0 && !datagrams) status = sysListen(fd, 1);
  if (status < 0) { complain(argument(argumentCount - 1), status); return 1; }
  if (verbose) tell('listening on ', address);
  if (datagrams) return relay(fd, newAddress());
  const peer = newAddress();
  let connection: i32;
  do connection = sysAccept(fd, peer); while (connection == -EINTR);
  if (connection < 0) { complain(0, connection); return 1; }
  sysClose(fd);
  if (verbose) tell('connection from ', peer);
  return relay(connection, 0);
}

/** Both ways until both are at their ends. `peer`: a datagram socket that learns its peer from the first datagram. */
function relay(fd: i32, peer: usize): i32 {
  const records = allocate(2 * POLL_BYTES), buffer = allocate(PIECE), piece = datagrams ? DATAGRAM : PIECE;
  let input = true, known = peer == 0, incoming = true;
  while (true) {
    pollSet(records, 0, incoming ? fd : -1, READABLE);
    pollSet(records, 1, input && known ? 0 : -1, READABLE);
    const found = sysPoll(records, 2, patience);
    if (found == -EINTR) continue;
    if (found < 0) { complain(0, found); return 1; }
    if (found == 0) return datagrams && !input ? 0 : 1; // quiet for too long
    if (pollFound(records, 0) != 0) {
      const got = sysRecv(fd, buffer, PIECE, 0x40, known ? 0 : peer);
      if (got < 0 && got != -EINTR && got != -EAGAIN) { complain(0, got); return 1; }
      if (got == 0 && !datagrams) {
        if (!input || sysIsTerminal(0)) return 0;
        incoming = false;
      }
      if (got >= 0 && !known) {
        known = true;
        sysConnect(fd, peer);
        if (verbose) tell('datagram from ', peer);
      }
      if (got > 0) { const status = writeAll(1, buffer, got); if (status < 0) return 1; }
    }
    if (pollFound(records, 1) != 0) {
      const got = sysRead(0, buffer, piece);
      if (got == -EINTR) continue;
      if (got <= 0) {
        input = false;
        if (datagrams) { if (patience < 0) return 0; } else sysShutdown(fd, 1);
        if (!incoming) return 0;
        continue;
      }
      for (let sent = 0; sent < got;) {
        const n = sysSend(fd, buffer + sent, got - sent, MSG_NOSIGNAL, 0);
        if (n == -EINTR) continue;
        if (n <= 0) { complain(0, n); return 1; }
        sent += n;
      }
    }
  }
}
