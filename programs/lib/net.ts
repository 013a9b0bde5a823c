/**
 * Addresses, names and sockets for programs. An address is a record of NET.address: family, port, 16 bytes in network order (IPv4 as ::ffff:a.b.c.d).
 * Text forms: RFC 4291 section 2.2 for what is not IPv4, dotted decimal for what is.
 */
import * as P from 'kintsugi/protocols';
import { allocate } from './memory';
import { complainText, complain } from './program';
import { putByte, putHex, putNumber } from './output';
import { sysClose, sysConnect, sysResolve, sysSocket } from './sys';
import { Text, isDigit, numberEnd, parseNumber } from './text';

export const ADDRESS_BYTES: usize = P.NET_ADDRESS_SIZE;
const BYTES: usize = P.NET_ADDRESS_BYTES;

export function newAddress(): usize { return allocate(ADDRESS_BYTES); }
export function portOf(a: usize): u32 { return load<u16>(a, P.NET_ADDRESS_PORT); }
export function setPort(a: usize, port: u32): void { store<u16>(a, <u16>port, P.NET_ADDRESS_PORT); }
/** Where the 16 bytes are. */
export function bytesOf(a: usize): usize { return a + BYTES; }
/** 0.0.0.0, any address. */
export function anyAddress(a: usize, port: u32): void {
  memory.fill(a, 0, ADDRESS_BYTES);
  store<u16>(a, P.NET_FAMILY_INET, P.NET_ADDRESS_FAMILY);
  store<u16>(a + BYTES, 0xffff, 10);
  setPort(a, port);
}
/** The last four of 16 bytes of an IPv4 address, big-endian as a number. */
export function v4Of(bytes: usize): u32 { return bswap<u32>(load<u32>(bytes, 12)); }
export function isV4(bytes: usize): bool { return load<u64>(bytes) == 0 && load<u32>(bytes, 8) == 0xffff0000; }

/** A dotted decimal text of `length` bytes; false when it is none. */
export function parseV4(text: usize, length: i32, a: usize): bool {
  let value: u32 = 0, p = text;
  const end = text + length;
  for (let n = 0; n < 4; n++) {
    if (n > 0) { if (p >= end || load<u8>(p) != 46) return false; p++; }
    let part: u32 = 0, digits = 0;
    while (p < end && isDigit(load<u8>(p)) && digits < 3) { part = part * 10 + load<u8>(p++) - 48; digits++; }
    if (digits == 0 || part > 255) return false;
    value = value << 8 | part;
  }
  if (p != end) return false;
  anyAddress(a, portOf(a));
  store<u32>(a + BYTES, bswap<u32>(value), 12);
  return true;
}
/** Writes the address of 16 bytes to the output; how many characters. */
export function putAddress(bytes: usize): i32 {
  let n = 0;
  if (isV4(bytes)) {
    for (let k: usize = 12; k < 16; k++) {
      if (k > 12) { putByte(46); n++; }
      const part = load<u8>(bytes + k);
      putNumber(part);
      n += part > 99 ? 3 : part > 9 ? 2 : 1;
    }
    return n;
  }
  // The longest run of at least two zero groups becomes "::".
  let best = -1, bestLength = 1;
  for (let i = 0; i < 8; i++) {
    let k = i;
    while (k < 8 && load<u16>(bytes + (<usize>k << 1)) == 0) k++;
    if (k - i > bestLength) { best = i; bestLength = k - i; }
  }
  for (let i = 0; i < 8; i++) {
    if (i == best) { putByte(58); if (i == 0) putByte(58); n += i == 0 ? 2 : 1; i += bestLength - 1; continue; }
    const group = bswap<u16>(load<u16>(bytes + (<usize>i << 1))), width = group > 0xfff ? 4 : group > 0xff ? 3 : group > 15 ? 2 : 1;
    putHex(group, width);
    n += width;
    if (i < 7) { putByte(58); n++; }
  }
  return n;
}
export function putMac(mac: usize): void { for (let n: usize = 0; n < 6; n++) { if (n > 0) putByte(58); putHex(load<u8>(mac + n), 2); } }

/** A whole port number 1..65535, or -1. */
export function parsePort(text: Text): i32 {
  const value = parseNumber(text);
  return numberEnd() == text || load<u8>(numberEnd()) != 0 || value < 1 || value > 65535 ? -1 : <i32>value;
}
/** The address of a host name or a dotted address, port as given; false after saying why not. */
export function lookUp(name: Text, port: u32, a: usize): bool {
  let length = 0;
  while (load<u8>(name + length)) length++;
  anyAddress(a, port);
  if (parseV4(name, length, a)) { setPort(a, port); return true; }
  const found = sysResolve(name, a, 1);
  setPort(a, port);
  if (found > 0) return true;
  complainText(name, found == 0 || found == -2 ? 'name not known' : found == -11 || found == -110 ? 'no answer from the name server' : found == -113 || found == -101 ? 'no name server can be reached' : 'cannot be resolved');
  return false;
}
/** A connected stream, or a negative errno. */
export function connectTo(a: usize): i32 {
  const fd = sysSocket(P.NET_FAMILY_INET, P.NET_TYPE_STREAM, 0);
  if (fd < 0) return fd;
  const status = sysConnect(fd, a);
  if (status < 0) { sysClose(fd); return status; }
  return fd;
}
/** "name: host:port: reason". */
export function complainPort(name: Text, port: u32, status: i32): void {
  const text = allocate(512);
  let n = 0;
  while (load<u8>(name + n) && n < 480) { store<u8>(text + n, load<u8>(name + n)); n++; }
  store<u8>(text + n++, 58);
  let digits: u32 = 10000;
  while (digits > 1 && port < digits) digits /= 10;
  for (; digits > 0; digits /= 10) store<u8>(text + n++, <u8>(48 + port / digits % 10));
  store<u8>(text + n, 0);
  complain(text, status);
}

// ---- poll -------------------------------------------------------------------------------------------------------------------------------

export const READABLE: u32 = P.NET_EVENTS_READABLE;
export const WRITABLE: u32 = P.NET_EVENTS_WRITABLE;
export const ENDED: u32 = P.NET_EVENTS_ERROR | P.NET_EVENTS_HANGUP | 32;
const RECORD: usize = P.PROCESS_POLL_RECORD_SIZE;
export const POLL_BYTES: usize = RECORD;
export function pollSet(records: usize, n: u32, fd: i32, events: u32): void {
  const r = records + <usize>n * RECORD;
  store<i32>(r, fd, P.PROCESS_POLL_RECORD_FD);
  store<u16>(r, <u16>events, P.PROCESS_POLL_RECORD_EVENTS); store<u16>(r, 0, P.PROCESS_POLL_RECORD_FOUND);
}
export function pollFound(records: usize, n: u32): u32 { return load<u16>(records + <usize>n * RECORD, P.PROCESS_POLL_RECORD_FOUND); }
