/** Tables of the network by NET.query: `each` walks the records of one kind. */
import * as P from 'kintsugi/protocols';
import { complain } from './program';
import { sysNetQuery, secondResult } from './sys';
import { allocate, release } from './memory';

const ROOM: u32 = 8192;
let buffer: usize = 0, count: i32 = 0, index: i32 = 0, next: u32 = 0, more: bool = false, what: u32 = 0, size: u32 = 0;

/** Begins with the first record of `kind` (P.NET_WHAT_...), each of `bytes` bytes. */
export function startQuery(kind: u32, bytes: u32): void {
  if (!buffer) buffer = allocate(ROOM);
  what = kind; size = bytes; count = 0; index = 0; next = 0; more = true;
}
/** The next record, 0 at the end (after a complaint, when the network does not answer). */
export function nextRecord(): usize {
  if (index < count) { index++; return buffer + <usize>(index - 1) * size; }
  if (!more) return 0;
  count = sysNetQuery(what, next, buffer, ROOM);
  if (count < 0) { complain(0, count); count = 0; more = false; return 0; }
  next = secondResult();
  more = next != 0;
  index = 1;
  return count == 0 ? 0 : buffer;
}
const NAME: usize = memory.data(16);
/** The name of an interface by its index: eth0, lo; a text that the next call overwrites. */
export function interfaceName(number: u32): usize {
  store<u8>(NAME, 63); store<u8>(NAME + 1, 0);
  const own = allocate(ROOM), records = sysNetQuery(P.NET_WHAT_INTERFACES, 0, own, ROOM);
  for (let n = 0; n < records; n++) {
    const r = own + <usize>n * P.NET_RECORDS_INTERFACE_SIZE;
    if (load<u32>(r, P.NET_RECORDS_INTERFACE_INDEX) != number) continue;
    memory.copy(NAME, r + P.NET_RECORDS_INTERFACE_NAME, 8);
    store<u8>(NAME + 8, 0);
  }
  release(own);
  return NAME;
}
