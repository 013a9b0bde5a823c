/**
 * Stream pages: 4 KiB each, in the state. A page is named by number; which pages are in use is private (a bitmap), rebuilt from the records at attach. A page that a
 * committed record names is given back only after the commit of the record that no longer names it (socket.ts).
 */
export const PAGE: u32 = 4096;
export const NO_PAGE: u32 = 0xffff;
let base: usize = 0;
let map: usize = 0;
let total: u32 = 0;
let words: u32 = 0;
let cursor: u32 = 0;
export let pagesFree: u32 = 0;
export function poolTotal(): u32 { return total; }

export function poolMapBytes(pages: u32): u32 { return ((pages + 31) >> 5) << 2; }
export function poolInit(at: usize, pages: u32, bitmap: usize): void {
  base = at; total = pages; map = bitmap; words = (pages + 31) >> 5; cursor = 0; pagesFree = pages;
  memory.fill(map, 0, words << 2);
  if ((pages & 31) != 0) store<u32>(map + ((words - 1) << 2), 0xffffffff << (pages & 31));
}
export function pageAt(n: u32): usize { return base + (<usize>n << 12); }
/** A free page, NO_PAGE when there is none. */
export function pageTake(): u32 {
  if (pagesFree == 0) return NO_PAGE;
  while (true) {
    const w = load<u32>(map + (<usize>cursor << 2));
    if (w != 0xffffffff) {
      const bit = <u32>ctz<u32>(~w);
      store<u32>(map + (<usize>cursor << 2), w | 1 << bit);
      pagesFree--;
      return (cursor << 5) + bit;
    }
    if (++cursor == words) cursor = 0;
  }
}
export function pageGive(n: u32): void {
  store<u32>(map + (<usize>(n >> 5) << 2), load<u32>(map + (<usize>(n >> 5) << 2)) & ~(1 << (n & 31)));
  pagesFree++;
}
/** At attach: the page is named by a record. False: no such page, or named twice. */
export function pageClaim(n: u32): bool {
  if (n >= total) return false;
  const at = map + (<usize>(n >> 5) << 2), w = load<u32>(at), bit: u32 = 1 << (n & 31);
  if ((w & bit) != 0) return false;
  store<u32>(at, w | bit);
  pagesFree--;
  return true;
}
/** How much a receiver may promise (bytes): everything while the pool is half empty, then less and less. */
export function promise(): u32 {
  if (pagesFree > total >> 1) return 0xffffffff;
  if (pagesFree > total >> 2) return 65536;
  if (pagesFree > total >> 3) return 16384;
  return pagesFree > total >> 4 ? 4096 : 2048;
}
/** A receiver that holds something already leaves the last thirty-second part to those that hold nothing. */
export function mayReceive(): bool { return pagesFree > total >> 5; }
/** A sender leaves the last eighth of the pool to receivers. */
export function mayQueue(): bool { return pagesFree > total >> 3; }
