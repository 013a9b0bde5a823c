/**
 * Stub resolver (RFC 1035, RFC 1123 6.1, RFC 5452): A records over UDP, over TCP when the answer was cut short (RFC 7766; dns-stream.ts), CNAMEs followed within an answer and, where it ends in one, by another query. Each attempt has a random
 * port and id; attempts go round the resolvers, 1 2 4 s apart, ATTEMPTS in all. An answer counts only from the address and port asked, with the question asked. Answers
 * are kept for their TTL (an hour at most; failures 10 s) in a small private cache. Names in lower case; `localhost` and dotted quads need no query.
 */
import { NET_ADDRESS_BYTES, NET_ADDRESS_FAMILY, NET_ADDRESS_PORT, NET_ADDRESS_SCOPE, NET_ADDRESS_SIZE, NET_FAMILY_INET } from 'kintsugi/protocols';
import { get16, get32, put16, sameAddress, setV4, v4 } from './address';
import { config, resolverOf, sourceFor } from './config';
import { C_DNS_BAD, C_DNS_CACHED, C_DNS_QUERIES, C_DNS_SPOOF, C_DNS_TIMEOUT, count } from './counters';
import { EINVAL, ENETUNREACH, ENOBUFS, ENOENT, ETIMEDOUT, EIO } from '../lib/errno';
import { STREAM_GONE, STREAM_OPEN, STREAM_WAITS, dnsStreamAsk, dnsStreamBytes, dnsStreamClose, dnsStreamInit, dnsStreamLook, dnsStreamMessage, dnsStreamOpen } from './dns-stream';
import { now, random, reserve } from './host';
import { SOURCE } from './ipv4';
import { Op, PARKED, complete, findByQuery, parkOnQuery, unpark } from './op';
import { ephemeralPort, DATAGRAM } from './socket';
import { TIMER_DNS, Timer, armAtMost, timerInit } from './timer';
import { udpSend } from './udp';

const QUERIES: u32 = 16;
const ATTEMPTS: u32 = 4;
const CNAMES: u32 = 8;
const MAX_NAME: u32 = 255;
export const MAX_ADDRESSES: u32 = 8;
const PORT: u32 = 53;
const CACHE: u32 = 32;
const MAX_TTL: u32 = 3600;
const FAIL_TTL: u32 = 10;
const STREAM_US: u64 = 5_000_000; // connection and answer
const TRUNCATED: u32 = 0x200;

/** Names are in wire form: length bytes and labels, ending in a 0 byte; lower case. */
@unmanaged @final class Query {
  used: bool; stream: bool /* asked over TCP, from `local` to `server4` (v4) */; local: u32; server4: u32; port: u32; id: u32; attempts: u32; at: u64; server: u32; links: u32; asked: u32; ttl: u32;
  nameBytes: u32; name: usize; // what is asked now
  wantedBytes: u32; wanted: usize; // what the program asked
}
@unmanaged @final class Kept { until: u64; nameBytes: u32; count: u32; error: i32; name: usize; addresses: usize /* v4 words */ }
let queries: usize = 0;
let cache: usize = 0;
let nextKept: u32 = 0;
const timer: Timer = changetype<Timer>(memory.data(offsetof<Timer>(), 8));
const NAME: usize = memory.data(256, 4);
const MESSAGE: usize = memory.data(512, 4);
const LOCAL: usize = memory.data(16, 8);
const FOUND: usize = memory.data(4 * 8, 4);

function query(n: u32): Query { return changetype<Query>(queries + <usize>n * offsetof<Query>()); }
function kept(n: u32): Kept { return changetype<Kept>(cache + <usize>n * offsetof<Kept>()); }
export function dnsPrivateBytes(): u32 { return QUERIES * (<u32>offsetof<Query>() + 512 + 128) + CACHE * (<u32>offsetof<Kept>() + 256 + 64 + 64) + 256 + dnsStreamBytes(); }
export function dnsInit(): void {
  queries = reserve(<usize>QUERIES * offsetof<Query>());
  for (let n: u32 = 0; n < QUERIES; n++) { query(n).name = reserve(256); query(n).wanted = reserve(256); }
  cache = reserve(<usize>CACHE * offsetof<Kept>());
  for (let n: u32 = 0; n < CACHE; n++) { kept(n).name = reserve(256); kept(n).addresses = reserve(MAX_ADDRESSES << 2); }
  nextKept = 0;
  streams = 0;
  dnsStreamInit();
  timerInit(timer, TIMER_DNS, 0);
}
/** Queries under way. */
export function dnsQueries(): u32 { let n: u32 = 0; for (let k: u32 = 0; k < QUERIES; k++) if (query(k).used) n++; return n; }
export function isDnsPort(port: u32): bool {
  if (port < 49152) return false;
  for (let n: u32 = 0; n < QUERIES; n++) if (query(n).used && !query(n).stream && query(n).port == port) return true;
  return false;
}

/** Text to wire form in NAME; its bytes, 0 if it is no name. */
function encode(text: usize, bytes: u32): u32 {
  if (bytes != 0 && load<u8>(text + bytes - 1) == 46) bytes--;
  if (bytes == 0 || bytes > MAX_NAME - 2) return 0;
  let label: u32 = 0, at: u32 = 1; // NAME[label] = its length
  for (let n: u32 = 0; n < bytes; n++) {
    let c = <u32>load<u8>(text + n);
    if (c == 46) {
      if (at - label - 1 == 0 || at - label - 1 > 63) return 0;
      store<u8>(NAME + label, <u8>(at - label - 1));
      label = at++;
      continue;
    }
    if (c <= 32 || c >= 127) return 0;
    if (c >= 65 && c <= 90) c += 32;
    store<u8>(NAME + at++, <u8>c);
  }
  if (at - label - 1 == 0 || at - label - 1 > 63) return 0;
  store<u8>(NAME + label, <u8>(at - label - 1));
  store<u8>(NAME + at++, 0);
  return at;
}
/** A dotted quad; false if it is none. The word is in FOUND. */
function quad(text: usize, bytes: u32): bool {
  let value: u32 = 0, part: u32 = 0, digits: u32 = 0, parts: u32 = 0;
  for (let n: u32 = 0; n <= bytes; n++) {
    const c = n == bytes ? 46 : <u32>load<u8>(text + n);
    if (c == 46) {
      if (digits == 0 || part > 255 || parts == 4) return false;
      value |= part << (parts << 3);
      parts++; part = 0; digits = 0;
    } else {
      if (c < 48 || c > 57 || ++digits > 3) return false;
      part = part * 10 + (c - 48);
    }
  }
  store<u32>(FOUND, value);
  return parts == 4;
}
function isLocalhost(name: usize, bytes: u32): bool {
  return bytes == 11 && load<u8>(name) == 9 && load<u64>(name, 1) == 0x736f686c61636f6c && load<u8>(name, 9) == 116; // "localhos" "t"
}
/** Puts addresses (v4 words) into the operation's result; how many. */
function deliver(to: usize, room: u32, from: usize, found: u32): i32 {
  const n = found < room ? found : room;
  for (let k: u32 = 0; k < n; k++) {
    const r = to + <usize>(k * NET_ADDRESS_SIZE);
    memory.fill(r, 0, NET_ADDRESS_SIZE);
    store<u16>(r, <u16>NET_FAMILY_INET, NET_ADDRESS_FAMILY); store<u16>(r, 0, NET_ADDRESS_PORT); store<u32>(r, 0, NET_ADDRESS_SCOPE);
    setV4(r + NET_ADDRESS_BYTES, load<u32>(from + (<usize>k << 2)));
  }
  return <i32>n;
}
function findKept(name: usize, bytes: u32): Kept {
  for (let n: u32 = 0; n < CACHE; n++) { const k = kept(n); if (k.nameBytes == bytes && k.until > now && memory.compare(k.name, name, bytes) == 0) return k; }
  return changetype<Kept>(0);
}
function keep(q: Query, error: i32, found: u32, ttl: u32): void {
  let k = findKept(q.wanted, q.wantedBytes);
  if (changetype<usize>(k) == 0) { k = kept(nextKept); nextKept = (nextKept + 1) % CACHE; }
  if (ttl > MAX_TTL) ttl = MAX_TTL;
  k.until = now + <u64>ttl * 1_000_000;
  k.nameBytes = q.wantedBytes; k.count = found; k.error = error;
  memory.copy(k.name, q.wanted, q.wantedBytes);
  memory.copy(k.addresses, FOUND, found << 2);
}

/** NET.resolve: `text` the name, `to` room for `room` address records (both checked by the caller). */
export function resolve(op: Op, text: usize, bytes: u32, to: usize, room: u32): i32 {
  if (room == 0) return -EINVAL;
  if (quad(text, bytes)) { op.r0 = 1; deliver(to, room, FOUND, 1); return 0; }
  const nameBytes = encode(text, bytes);
  if (nameBytes == 0) return -EINVAL;
  if (isLocalhost(NAME, nameBytes)) { store<u32>(FOUND, 0x0100007f); op.r0 = 1; deliver(to, room, FOUND, 1); return 0; }
  const k = findKept(NAME, nameBytes);
  if (changetype<usize>(k) != 0) {
    count(C_DNS_CACHED);
    if (k.error != 0) return -k.error;
    op.r0 = <u32>deliver(to, room, k.addresses, k.count);
    return 0;
  }
  if (config.resolvers == 0) return -<i32>ENETUNREACH;
  let free = changetype<Query>(0);
  for (let n: u32 = 0; n < QUERIES; n++) {
    const q = query(n);
    if (!q.used) { free = q; continue; }
    if (q.wantedBytes == nameBytes && memory.compare(q.wanted, NAME, nameBytes) == 0) { parkOnQuery(op, changetype<usize>(q)); return PARKED; } // asked already
  }
  if (changetype<usize>(free) == 0) return -ENOBUFS;
  free.used = true; free.stream = false; free.attempts = 0; free.links = 0; free.asked = 0; free.ttl = MAX_TTL; free.nameBytes = nameBytes; free.wantedBytes = nameBytes; free.port = 0;
  free.server = random() % config.resolvers;
  memory.copy(free.name, NAME, nameBytes); memory.copy(free.wanted, NAME, nameBytes);
  parkOnQuery(op, changetype<usize>(free));
  ask(free);
  return PARKED;
}
function ask(q: Query): void {
  const server = resolverOf(q.server % config.resolvers);
  q.id = random() & 0xffff;
  q.at = now + (<u64>1_000_000 << (q.attempts < 3 ? q.attempts : 3));
  q.attempts++;
  armAtMost(timer, q.at);
  if (!sourceFor(v4(server), LOCAL)) return; // no route yet: the timer tries again
  q.port = 0;
  q.port = ephemeralPort(DATAGRAM, LOCAL, 0, 0);
  udpSend(v4(LOCAL), v4(server), q.port, PORT, MESSAGE, question(q), 64);
}
/** The question as a message; its bytes. */
function question(q: Query): u32 {
  const m = MESSAGE;
  put16(m, q.id); put16(m + 2, 0x0100); put16(m + 4, 1); store<u32>(m, 0, 6); store<u16>(m, 0, 10);
  memory.copy(m + 12, q.name, q.nameBytes);
  put16(m + 12 + q.nameBytes, 1); put16(m + 14 + q.nameBytes, 1);
  count(C_DNS_QUERIES);
  return 16 + q.nameBytes;
}

// ---- over TCP ---------------------------------------------------------------------------------------------------------------------------
let streams: u32 = 0;
/** The same server again, by TCP. False: no connection can be made. */
function askStream(q: Query): bool {
  const server = v4(resolverOf(q.server % config.resolvers));
  if (!sourceFor(server, LOCAL)) return false;
  const port = dnsStreamOpen(v4(LOCAL), server);
  if (port == 0) return false;
  q.local = v4(LOCAL); q.server4 = server; q.port = port; q.stream = true;
  streams++;
  q.id = random() & 0xffff;
  q.at = now + STREAM_US;
  armAtMost(timer, q.at);
  return true;
}
function dropStream(q: Query): void {
  if (!q.stream) return;
  q.stream = false;
  streams--;
  dnsStreamClose(q.local, q.server4, q.port);
}
/** At the end of each batch: questions that can go, answers that have come. */
export function dnsStreams(): void {
  if (streams == 0) return;
  for (let n: u32 = 0; n < QUERIES; n++) {
    const q = query(n);
    if (!q.used || !q.stream) continue;
    const state = dnsStreamLook(q.local, q.server4, q.port);
    if (state == STREAM_WAITS) continue;
    if (state == STREAM_OPEN) { dnsStreamAsk(q.local, q.server4, q.port, MESSAGE, question(q)); continue; } // without a page: the next batch asks
    dropStream(q);
    if (state == STREAM_GONE) { count(C_DNS_BAD); askNext(q); } else answered(q, dnsStreamMessage(), <u32>state, true);
  }
}
/** This server is of no use: the next one at once. */
function askNext(q: Query): void {
  if (q.attempts >= ATTEMPTS) { end(q, EIO, 0); return; }
  q.server++;
  ask(q);
}
/** Everybody who waits gets the answer; FOUND holds the addresses. */
function end(q: Query, error: i32, found: u32): void {
  while (true) {
    const op = findByQuery(changetype<usize>(q));
    if (changetype<usize>(op) == 0) break;
    unpark(op);
    if (error != 0) complete(op, -error);
    else { op.r0 = <u32>deliver(resultOf(op), op.a3, FOUND, found); complete(op, 0); }
  }
  dropStream(q);
  q.used = false;
}
let shared: usize = 0;
/** Where the offsets of operations point to. */
export function dnsShared(at: usize): void { shared = at; }
function resultOf(op: Op): usize { return shared + op.a2; }

export function dnsTimer(): void {
  for (let n: u32 = 0; n < QUERIES; n++) {
    const q = query(n);
    if (!q.used) continue;
    if (changetype<usize>(findByQuery(changetype<usize>(q))) == 0) { dropStream(q); q.used = false; continue; } // nobody waits any more
    if (q.at > now) { armAtMost(timer, q.at); continue; }
    dropStream(q);
    if (q.attempts >= ATTEMPTS || config.resolvers == 0) { count(C_DNS_TIMEOUT); end(q, <i32>ETIMEDOUT, 0); continue; }
    q.server++;
    ask(q);
  }
}

/** Reads the name at `at` (offset in the message) into NAME, lower case; the offset behind it, 0 if it is none. Pointers only backwards (so no loops). */
let nameLength: u32 = 0;
function readName(m: usize, bytes: u32, at: u32): u32 {
  let out: u32 = 0, after: u32 = 0, limit = at;
  while (true) {
    if (at >= bytes) return 0;
    const c = <u32>load<u8>(m + at);
    if (c >= 192) {
      if (at + 2 > bytes) return 0;
      const to = (c & 63) << 8 | <u32>load<u8>(m + at + 1);
      if (after == 0) after = at + 2;
      if (to >= limit) return 0;
      limit = to;
      at = to;
      continue;
    }
    if (c > 63) return 0;
    if (at + 1 + c > bytes || out + 1 + c > MAX_NAME) return 0;
    store<u8>(NAME + out++, <u8>c);
    at++;
    if (c == 0) { nameLength = out; return after != 0 ? after : at; }
    for (let n: u32 = 0; n < c; n++) {
      const b = <u32>load<u8>(m + at++);
      store<u8>(NAME + out++, <u8>(b >= 65 && b <= 90 ? b + 32 : b));
    }
  }
}
/** An answer for one of our ports. */
export function dnsInput(port: u32, from: u32, m: usize, bytes: u32): void {
  let q = changetype<Query>(0);
  for (let n: u32 = 0; n < QUERIES; n++) if (query(n).used && !query(n).stream && query(n).port == port) q = query(n);
  if (changetype<usize>(q) == 0) return;
  if (from != PORT || config.resolvers == 0 || !sameAddress(SOURCE, resolverOf(q.server % config.resolvers)) || bytes < 12) { count(C_DNS_SPOOF); return; }
  answered(q, m, bytes, false);
}
/** A message from the server that was asked. `whole`: it came over TCP, and may be longer than what is here of it. */
function answered(q: Query, m: usize, bytes: u32, whole: bool): void {
  if (get16(m) != q.id) { count(C_DNS_SPOOF); if (whole) askNext(q); return; }
  const flags = get16(m + 2), questions = get16(m + 4), answers = get16(m + 6), code = flags & 15;
  if ((flags & 0x8000) == 0 || (flags & 0x7800) != 0 || questions != 1) { count(C_DNS_BAD); if (whole) askNext(q); return; }
  let at = readName(m, bytes, 12);
  if (at == 0 || at + 4 > bytes || nameLength != q.nameBytes || memory.compare(NAME, q.name, nameLength) != 0 || get16(m + at) != 1 || get16(m + at + 2) != 1) { count(C_DNS_SPOOF); if (whole) askNext(q); return; }
  if (code == 3) { keep(q, ENOENT, 0, FAIL_TTL); end(q, ENOENT, 0); return; }
  if (code != 0) { count(C_DNS_BAD); askNext(q); return; } // server failure, refused
  if ((flags & TRUNCATED) != 0 && !whole) { // not all of it: what is there does not count (RFC 2181, 9)
    if (!askStream(q)) { count(C_DNS_BAD); askNext(q); }
    return;
  }
  at += 4;
  let found: u32 = 0;
  for (let n: u32 = 0; n < answers; n++) {
    at = readName(m, bytes, at);
    if (at == 0 || at + 10 > bytes) { if (!whole || found == 0) count(C_DNS_BAD); break; }
    const type = get16(m + at), inet = get16(m + at + 2) == 1, ttl = get32(m + at + 4), length = get16(m + at + 8);
    at += 10;
    if (length > bytes - at) { count(C_DNS_BAD); break; }
    const ours = nameLength == q.nameBytes && memory.compare(NAME, q.name, nameLength) == 0;
    if (ours && inet && type == 1 && length == 4) {
      if (ttl < q.ttl) q.ttl = ttl;
      if (found < MAX_ADDRESSES) store<u32>(FOUND + ((<usize>(found++)) << 2), load<u32>(m + at));
    } else if (ours && inet && type == 5 && found == 0) { // the records of the alias follow
      if (++q.links > CNAMES || readName(m, bytes, at) == 0) { count(C_DNS_BAD); end(q, EIO, 0); return; }
      if (ttl < q.ttl) q.ttl = ttl;
      memory.copy(q.name, NAME, nameLength);
      q.nameBytes = nameLength;
    }
    at += length;
  }
  if (found != 0) { keep(q, 0, found, q.ttl); end(q, 0, found); return; }
  if (q.asked != q.links) { q.asked = q.links; q.attempts = 0; ask(q); return; } // it ended in an alias: ask for that
  keep(q, ENOENT, 0, FAIL_TTL);
  end(q, ENOENT, 0); // the name has no address
}
