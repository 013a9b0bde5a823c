/** ping [-c count] [-i seconds] [-s bytes] [-W seconds] [-q] host: ICMP echo requests (RFC 792), a line for each answer, a summary at the end or at ^C. */
import { argument, argumentCount, begin, complain, complainText, finish, operands, option, optionValue, usage } from './lib/program';
import { EAGAIN, EINTR, errorText } from './lib/errors';
import { helped } from './lib/help';
import { POLL_BYTES, READABLE, bytesOf, lookUp, newAddress, pollFound, pollSet, putAddress } from './lib/net';
import { flush, put, putByte, putNumber, putText, putZeros } from './lib/output';
import { allocate } from './lib/memory';
import { SIGINT, SIGTERM } from './lib/signals';
import { clock, sysCatch, sysPoll, sysRecv, sysSend, sysSocket } from './lib/sys';
import { Text, isDigit, isNumber, parseNumber } from './lib/text';
import * as P from 'kintsugi/protocols';

const USAGE: string = 'ping [-c count] [-i seconds] [-s bytes] [-W seconds] [-q] host';
const HEADER: i32 = 8; // type, code, checksum, identifier, sequence
const STAMP: i32 = 8; // when it was sent, in front of the data
const ECHO_REPLY: u32 = 0, ECHO_REQUEST: u32 = 8;
const SEEN: usize = memory.data(8192); // a bit for each sequence number

let sent: i64 = 0, received: i64 = 0, duplicates: i64 = 0, least: u64 = u64.MAX_VALUE, most: u64 = 0, sum: u64 = 0, squares: u64 = 0;
let quiet: bool = false, size: i32 = 56;
const from: usize = memory.data(24, 4);

export function main(page: usize): void { begin(page); finish(run()); }

/** Seconds with a fraction as ns, 0 when it is no such number. */
function seconds(text: Text): u64 {
  let value: u64 = 0, scale: u64 = 1000000000, p = text;
  while (isDigit(load<u8>(p))) value = min<u64>(value * 10 + (load<u8>(p++) - 48), 100000);
  value *= 1000000000;
  if (load<u8>(p) == 46) { p++; while (isDigit(load<u8>(p))) { scale /= 10; value += scale * (load<u8>(p++) - 48); } }
  return load<u8>(p) ? 0 : value;
}
function run(): i32 {
  if (helped('ping [-c count] [-i seconds] [-s bytes] [-W seconds] [-q] host\n  -c  stop after so many requests\n  -i  time between them (1)\n  -s  bytes of data (56)\n  -W  wait so long for the last answer (10)\n  -q  only the summary\nStatus 0: there was an answer; 1: none. Example: ping -c 3 10.0.2.2')) return 0;
  let count: i64 = -1, interval: u64 = 1000000000, patience: u64 = 10000000000, letter: u32;
  while ((letter = option('c:i:s:W:qn')) != 0) {
    if (letter == 63) return usage(USAGE);
    if (letter == 113) { quiet = true; continue; }
    if (letter == 110) continue; // numbers only: always
    if (letter == 105) { interval = seconds(optionValue()); if (interval < 1000000) { complainText(optionValue(), 'not a time of at least 0.001 seconds'); return 2; } continue; }
    if (letter == 87) { patience = seconds(optionValue()); if (patience == 0) { complainText(optionValue(), 'not a number of seconds'); return 2; } continue; }
    const value = parseNumber(optionValue());
    if (!isNumber(optionValue()) || value < 0 || (letter == 99 && value < 1) || (letter == 115 && value > 65507)) { complainText(optionValue(), letter == 115 ? 'not a size of 0 to 65507' : 'not a count'); return 2; }
    if (letter == 99) count = value; else size = <i32>value;
  }
  if (argumentCount - operands() != 1) return usage(USAGE);
  const name = argument(operands()), address = newAddress();
  if (!lookUp(name, 0, address)) return 2;
  const fd = sysSocket(P.NET_FAMILY_INET, P.NET_TYPE_ECHO, 0);
  if (fd < 0) { complain(0, fd); return 2; }
  sysCatch(1 << SIGINT | 1 << SIGTERM);
  const bytes = HEADER + size, buffer = allocate(65536);
  put('PING '); putText(name); put(' ('); putAddress(bytesOf(address)); put(') '); putNumber(size); putByte(40); putNumber(bytes + 20); put(') bytes of data.\n');
  flush();
  const began = clock();
  let due = began, end: u64 = u64.MAX_VALUE, last = began;
  const records = allocate(POLL_BYTES);
  while (true) {
    let now = clock();
    if (now >= due && (count < 0 || sent < count)) {
      last = now;
      memory.fill(buffer, 0, HEADER);
      store<u8>(buffer, <u8>ECHO_REQUEST);
      sent++;
      store<u16>(buffer, bswap<u16>(<u16>sent), 6);
      if (size >= STAMP) store<u64>(buffer + HEADER, now);
      for (let n = STAMP; n < size; n++) store<u8>(buffer + HEADER + n, <u8>n);
      mark(<u32>sent & 0xffff, false);
      const status = sysSend(fd, buffer, bytes, 0, address);
      if (status < 0 && status != -EINTR) { complainText(name, errorText(-status)); if (sent == 1 && count == 1) break; }
      due += interval;
      if (due < now) due = now + interval;
      if (sent == count) end = now + patience;
    }
    if (sent == count && received >= count) break;
    now = clock();
    if (now >= end) break;
    const until = sent == count ? end : due;
    pollSet(records, 0, fd, READABLE);
    const found = sysPoll(records, 1, until > now ? <i32>((until - now + 999999) / 1000000) : 0);
    if (found == -EINTR) break; // ^C
    if (found > 0) receive(fd, buffer);
  }
  return summary(name, clock() - began);
}
/** Notes whether the answer to a sequence number was seen; what was noted before. */
function mark(sequence: u32, seen: bool): bool {
  const at = SEEN + (<usize>sequence >> 3), bit: u32 = 1 << (sequence & 7), before = <u32>load<u8>(at);
  store<u8>(at, <u8>(seen ? before | bit : before & ~bit));
  return (before & bit) != 0;
}
/** Takes one datagram, if there is one. */
function receive(fd: i32, buffer: usize): void {
  const got = sysRecv(fd, buffer, 65536, 0x40, from);
  if (got < 0) {
    if (got != -EAGAIN && got != -EINTR) complain(0, got); // what an ICMP error reported
    return;
  }
  const now = clock();
  if (got < HEADER || load<u8>(buffer) != ECHO_REPLY) return;
  const sequence = <u32>bswap<u16>(load<u16>(buffer, 6)), again = mark(sequence, true);
  if (again) duplicates++; else received++;
  const known = got >= HEADER + STAMP, then = load<u64>(buffer + HEADER), ns = known && now > then ? now - then : 0;
  if (known && !again) { least = min(least, ns); most = max(most, ns); sum += ns; squares += (ns / 1000) * (ns / 1000); }
  if (!quiet) {
    putNumber(got); put(' bytes from '); putAddress(bytesOf(from)); put(': icmp_seq='); putNumber(sequence);
    if (known) { put(' time='); putMilliseconds(ns); put(' ms'); }
    if (again) put(' (DUP!)');
    putByte(10);
    flush();
  }
}
function putMilliseconds(ns: u64): void { const us = (ns + 500) / 1000; putNumber(us / 1000); putByte(46); putZeros(us % 1000, 3); }
function root(value: u64): u64 {
  let r: u64 = 0, bit: u64 = 1 << 31;
  for (; bit != 0; bit >>= 1) if ((r | bit) * (r | bit) <= value) r |= bit;
  return r;
}
function summary(name: Text, ns: u64): i32 {
  put('\n--- '); putText(name); put(' ping statistics ---\n');
  putNumber(sent); put(' packets transmitted, '); putNumber(received); put(' received, ');
  if (duplicates) { put('+'); putNumber(duplicates); put(' duplicates, '); }
  putNumber(sent == 0 ? 0 : (sent - received) * 100 / sent); put('% packet loss, time '); putNumber(ns / 1000000); put('ms\n');
  if (received > 0 && most > 0) {
    const mean = sum / received, meanUs = mean / 1000, variance = squares / received > meanUs * meanUs ? squares / received - meanUs * meanUs : 0;
    put('rtt min/avg/max/mdev = '); putMilliseconds(least); putByte(47); putMilliseconds(mean); putByte(47); putMilliseconds(most); putByte(47); putMilliseconds(root(variance) * 1000); put(' ms\n');
  }
  return received > 0 ? 0 : 1;
}
