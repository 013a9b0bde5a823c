/**
 * Reassembly of IPv4 fragments (RFC 791, RFC 815). CONTEXTS datagrams at a time, the oldest gives way; 30 s (RFC 1122, 3.3.2: 60 s at most); PER_SOURCE of them at
 * most of one source. Fragments that overlap spoil the whole datagram (as RFC 5722 rules for IPv6): nobody sends them in good faith. Exact repetitions are fine.
 */
import { get16, put16, v4 } from './address';
import { finish, add } from './checksum';
import { C_FRAGMENT_EVICTED, C_FRAGMENT_LIMIT, C_FRAGMENT_LONG, C_FRAGMENT_OVERLAP, C_FRAGMENT_SIZE, C_FRAGMENT_TIMEOUT, C_FRAGMENTS, C_REASSEMBLED, count } from './counters';
import { now, reserve, reserveRaw } from './host';
import { FRAGMENT_TIME, TIME_EXCEEDED, icmpErrorAbout } from './icmp';
import { DESTINATION, SOURCE, deliverReassembled } from './ipv4';
import { TIMER_REASSEMBLY, Timer, armAtMost, timerInit } from './timer';

const CONTEXTS: u32 = 4;
const PER_SOURCE: u32 = 3;
const KEEP_US: u64 = 30_000_000;
const ROOM: usize = 65536 + 64; // header, then up to 64 KiB - 1 of payload
const MAX_HEADER: usize = 60;
const BITMAP: usize = 1024; // one bit for 8 bytes

@unmanaged @final class Context {
  used: bool; spoiled: bool; source: u32; destination: u32; id: u32 /* identification | protocol << 16 */;
  header: u32; have: u32 /* bytes */; total: u32 /* bytes of payload, 0 = the last fragment is not here */; until: u64; quoted: u32;
  buffer: usize; bitmap: usize;
}
let contexts: usize = 0;
const timer: Timer = changetype<Timer>(memory.data(offsetof<Timer>(), 8));
function context(n: u32): Context { return changetype<Context>(contexts + <usize>n * offsetof<Context>()); }
export function reassemblyPrivateBytes(): u32 { return CONTEXTS * (<u32>offsetof<Context>() + <u32>ROOM + <u32>BITMAP + 192) + 64; }
export function reassemblyInit(): void {
  contexts = reserve(<usize>CONTEXTS * offsetof<Context>());
  for (let n: u32 = 0; n < CONTEXTS; n++) { context(n).buffer = reserveRaw(ROOM); context(n).bitmap = reserve(BITMAP); }
  timerInit(timer, TIMER_REASSEMBLY, 0);
}
export function reassembling(): u32 {
  let n: u32 = 0;
  for (let k: u32 = 0; k < CONTEXTS; k++) if (context(k).used) n++;
  return n;
}

function find(source: u32, destination: u32, id: u32): Context {
  let free = changetype<Context>(0), oldest = changetype<Context>(0), oldestOfSource = changetype<Context>(0), ofSource: u32 = 0;
  for (let n: u32 = 0; n < CONTEXTS; n++) {
    const c = context(n);
    if (!c.used) { free = c; continue; }
    if (c.source == source) {
      if (c.destination == destination && c.id == id) return c;
      ofSource++;
      if (changetype<usize>(oldestOfSource) == 0 || c.until < oldestOfSource.until) oldestOfSource = c;
    }
    if (changetype<usize>(oldest) == 0 || c.until < oldest.until) oldest = c;
  }
  let c = free;
  if (ofSource >= PER_SOURCE) { count(C_FRAGMENT_LIMIT); c = oldestOfSource; }
  else if (changetype<usize>(c) == 0) { count(C_FRAGMENT_EVICTED); c = oldest; }
  c.used = true; c.spoiled = false; c.source = source; c.destination = destination; c.id = id; c.header = 0; c.have = 0; c.total = 0; c.until = now + KEEP_US; c.quoted = 0;
  memory.fill(c.bitmap, 0, BITMAP);
  armAtMost(timer, c.until);
  return c;
}
/** Bits [from, to) of the map: how many are set. */
function setBits(map: usize, from: u32, to: u32): u32 {
  let n: u32 = 0;
  for (let k = from; k < to; k++) if ((load<u8>(map + (k >> 3)) & 1 << (k & 7)) != 0) n++;
  return n;
}
function markBits(map: usize, from: u32, to: u32): void { for (let k = from; k < to; k++) store<u8>(map + (k >> 3), <u8>(<u32>load<u8>(map + (k >> 3)) | 1 << (k & 7))); }

/** `offset` in units of 8 bytes. */
export function fragmentInput(at: usize, header: u32, total: u32, offset: u32, more: bool): void {
  count(C_FRAGMENTS);
  const bytes = total - header, from = offset << 3;
  if (bytes == 0 || (more && (bytes & 7) != 0)) { count(C_FRAGMENT_SIZE); return; }
  if (from + bytes + header > 65535) { count(C_FRAGMENT_LONG); return; } // ping of death
  const c = find(v4(SOURCE), v4(DESTINATION), get16(at + 4) | <u32>load<u8>(at, 9) << 16);
  if (c.spoiled) { count(C_FRAGMENT_OVERLAP); return; }
  const bits = (bytes + 7) >> 3, set = setBits(c.bitmap, offset, offset + bits);
  if (set == bits && same(c, from, at + header, bytes, more)) return; // a repetition
  if (set != 0 || (c.total != 0 && (from + bytes > c.total || (!more && from + bytes != c.total))) || (!more && c.total == 0 && highest(c) > from + bytes)) {
    count(C_FRAGMENT_OVERLAP);
    c.spoiled = true;
    return;
  }
  markBits(c.bitmap, offset, offset + bits);
  memory.copy(c.buffer + MAX_HEADER + from, at + header, bytes);
  c.have += bytes;
  if (!more) c.total = from + bytes;
  if (offset == 0) { memory.copy(c.buffer + MAX_HEADER - header, at, header); c.header = header; c.quoted = bytes; }
  if (c.total == 0 || c.have != c.total || c.header == 0) return;
  const h = c.buffer + MAX_HEADER - c.header;
  put16(h + 2, c.header + c.total); store<u16>(h, 0, 6); store<u16>(h, 0, 10);
  store<u16>(h, <u16>finish(add(0, h, c.header)), 10);
  c.used = false;
  count(C_REASSEMBLED);
  deliverReassembled(h, c.buffer + MAX_HEADER, c.total);
}
function same(c: Context, from: u32, at: usize, bytes: u32, more: bool): bool {
  if (!more && c.total != from + bytes) return false;
  return memory.compare(c.buffer + MAX_HEADER + from, at, bytes) == 0;
}
/** End of the furthest fragment. */
function highest(c: Context): u32 {
  let n: u32 = <u32>BITMAP;
  while (n != 0 && load<u8>(c.bitmap + n - 1) == 0) n--;
  return n == 0 ? 0 : ((n - 1) * 8 + (32 - <u32>clz<u32>(<u32>load<u8>(c.bitmap + n - 1)))) * 8 - 7;
}
export function reassemblyTimer(): void {
  for (let n: u32 = 0; n < CONTEXTS; n++) {
    const c = context(n);
    if (!c.used) continue;
    if (c.until > now) { armAtMost(timer, c.until); continue; }
    c.used = false;
    count(C_FRAGMENT_TIMEOUT);
    if (c.header != 0 && !c.spoiled) icmpErrorAbout(TIME_EXCEEDED, FRAGMENT_TIME, 0, c.buffer + MAX_HEADER - c.header, c.header + c.quoted);
  }
}
