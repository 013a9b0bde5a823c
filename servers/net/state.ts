/**
 * The state Frames of net: what survives the server's own death. Written only in the window (host.ts), once per batch.
 *
 *   0      header: magic, shape {slots, pages}, check, hash key, restarts
 *   512    configuration, twice (config.ts)
 *   2048   counters (no check: a counter is not worth one)
 *   4096   neighbours (arp.ts): entries with a check each
 *   8192   records of the sockets: slots x 2 halves (record.ts)
 *   ...    stream pages (pool.ts)
 *
 * A or B: a thing with two halves is committed by writing the half that is not valid, then its lsn, one store. The half with the higher lsn counts; the lsns of an
 * intact pair differ by 1. The check covers the lsn too.
 */
import { checksum } from '../lib/checksum';
import { random, writable } from './host';
import { setKey } from './hash';

export const STATE_MAGIC: u32 = 0x4e455431; // "1TEN": raise with the layout
export const HALF_BYTES: u32 = 448; // of a socket's record
export const RECORD_BYTES: u32 = 2 * HALF_BYTES;
const HEADER_CHECK: u32 = 16;
const HEADER_KEY: u32 = 32;
const HEADER_RESTARTS: u32 = 40;
const CONFIG_AT: usize = 512;
export const CONFIG_BYTES: u32 = 512;
const COUNTERS_AT: usize = 2048;
const NEIGHBOURS_AT: usize = 4096;
const RECORDS_AT: usize = 8192;

let state: usize = 0;
let slots: u32 = 0;
export let statePages: u32 = 0;
export let restarts: u32 = 0;

function poolAt(): usize { return state + ((RECORDS_AT + <usize>slots * RECORD_BYTES + 4095) & ~4095); }
export function poolAddress(): usize { return poolAt(); }
export function configAt(half: u32): usize { return state + CONFIG_AT + <usize>(half * CONFIG_BYTES); }
export function countersAt(): usize { return state + COUNTERS_AT; }
export function neighboursAt(): usize { return state + NEIGHBOURS_AT; }
export function recordAt(slot: u32): usize { return state + RECORDS_AT + <usize>slot * RECORD_BYTES; }

/** Sets the shape. False: the region is too small for the records and 16 pages. */
export function stateAt(at: usize, bytes: u32, slots_: u32): bool {
  state = at; slots = slots_;
  const before = <u32>(poolAt() - state);
  if (bytes < before + 16 * 4096) return false;
  statePages = (bytes - before) >> 12;
  if (statePages > 65000) statePages = 65000;
  return true;
}
function headerIntact(): bool {
  return load<u32>(state) == STATE_MAGIC && load<u32>(state, 4) == slots && load<u32>(state, 8) == statePages && load<u32>(state, HEADER_CHECK) == headerCheck();
}
function headerCheck(): u32 { return checksum(state, 16) ^ checksum(state + HEADER_KEY, 8); }
/** True: a predecessor left a state of this shape. False: it was formatted (everything, including the records, is empty). In the window. */
export function openState(): bool {
  writable();
  if (headerIntact()) {
    setKey(load<u32>(state, HEADER_KEY), load<u32>(state, HEADER_KEY + 4));
    restarts = load<u32>(state, HEADER_RESTARTS) + 1;
    store<u32>(state, restarts, HEADER_RESTARTS);
    return true;
  }
  store<u32>(state, 0);
  memory.fill(state, 0, RECORDS_AT + <usize>slots * RECORD_BYTES);
  store<u32>(state, slots, 4); store<u32>(state, statePages, 8);
  store<u32>(state, random(), HEADER_KEY); store<u32>(state, random(), HEADER_KEY + 4);
  setKey(load<u32>(state, HEADER_KEY), load<u32>(state, HEADER_KEY + 4));
  restarts = 0;
  store<u32>(state, STATE_MAGIC); // what is missing until the check fits is the check
  store<u32>(state, headerCheck(), HEADER_CHECK);
  return false;
}

/** Which half of the pair counts: 0, 1, or -1 when there never was one. -2: damaged. `bytes` of each, the lsn in the first word, the check in the second. */
export function newerHalf(at: usize, bytes: u32): i32 {
  const a = load<u32>(at), b = load<u32>(at + bytes);
  if (a == 0 && b == 0) return -1;
  if (a - b != 1 && b - a != 1) return -2;
  const half: u32 = a - b == 1 ? 0 : 1, p = at + half * bytes;
  return load<u32>(p, 4) == halfCheck(p, load<u32>(p), bytes) ? <i32>half : -2;
}
/** The third word of a half is its length in bytes (a multiple of 4, from 12 to `room`). */
function halfCheck(p: usize, lsn: u32, room: u32): u32 {
  const bytes = load<u32>(p, 8);
  if (bytes < 12 || bytes > room || (bytes & 3) != 0) return ~load<u32>(p, 4);
  return checksum(p + 8, bytes - 8) ^ lsn * 0x9e3779b1;
}
/** Writes `from` ({0, 0, bytes, ...}, private) as the pair's next half. In the window. */
export function commitHalf(at: usize, room: u32, from: usize): void {
  const a = load<u32>(at), b = load<u32>(at + room);
  // 0 is for "never"; of the very first pair the second half begins
  const newerIsA = a - b == 1, lsn = newerIsA ? a + 1 : b - a == 1 ? b + 1 : 1;
  const to = newerIsA ? at + room : at;
  if (lsn == 1 || lsn == 0) { commitFirst(at, room, from); return; }
  const bytes = load<u32>(from, 8);
  store<u32>(to, halfCheck(from, lsn, room), 4);
  memory.copy(to + 8, from + 8, bytes - 8);
  store<u32>(to, lsn); // committed
}
/** A pair without a valid half (new, or after 2^32 commits): the other half is emptied first. */
function commitFirst(at: usize, room: u32, from: usize): void {
  store<u32>(at, 0); store<u32>(at + room, 0);
  const bytes = load<u32>(from, 8);
  store<u32>(at, halfCheck(from, 1, room), 4);
  memory.copy(at + 8, from + 8, bytes - 8);
  store<u32>(at, 1);
}
/** Forgets the pair. In the window. */
export function clearPair(at: usize, room: u32): void { store<u32>(at, 0); store<u32>(at + room, 0); }
