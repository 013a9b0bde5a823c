/**
 * Memory of a server: the heap region, page by page, and pools of equal elements.
 *
 * `allocInit()` takes the heap region of the startup page. `pages(n)` cuts whole pages off it, `alloc(bytes)` serves 16 bytes to 2 KiB from
 * size classes (powers of two, free lists) and more by the page. Freed large blocks go to a first-fit list, by size. `Pool` is for objects of
 * which a fixed number may exist: exhaustion is a value (0), which the caller turns into its own error. Memory comes back zeroed.
 *
 * Block layout: alloc: {bytes u32 = class or pages << 12, magic u32, 8 free} then data, 16-aligned.
 */
import { REGION_HEAP } from 'kintsugi/protocols';
import { needRegion, FAULT_MEMORY } from './startup';
import * as sys from './sys';

let next: usize = 0;
let end: usize = 0;
const CLASSES: usize = memory.data(8 * 4, 4); // free lists of 16 << n bytes
const MAX_CLASS: u32 = 7; // 2 KiB
let large: usize = 0; // free large blocks: header {bytes, magic, next}
const HEADER: usize = 16;
const LIVE: u32 = 0x4c495645;
const FREE: u32 = 0x46524545;

export function allocInit(): void {
  const r = needRegion(REGION_HEAP);
  heapInit(r.va, <usize>r.pages << 12);
}
/** Tests and programs: any zeroed memory. */
export function heapInit(va: usize, bytes: usize): void {
  next = (va + 15) & ~15; end = va + bytes; large = 0;
  for (let n: usize = 0; n < 8; n++) store<usize>(CLASSES + (n << 2), 0);
}
export function heapFree(): u32 { return <u32>(end - next); }

/** `n` fresh pages, page-aligned, zeroed; 0 when the heap is used up. Never freed. */
export function pages(n: u32): usize {
  const at = (next + 4095) & ~4095;
  const bytes = <usize>n << 12;
  if (at < next || at > end || end - at < bytes) return 0;
  next = at + bytes;
  return at;
}
function carve(bytes: usize): usize {
  if (end - next < bytes) return 0;
  const at = next;
  next += bytes;
  return at;
}
/** Zeroed memory, 16-aligned, or 0. */
export function alloc(bytes: u32): usize {
  if (bytes > 0x10000000) return 0;
  if (bytes > (16 << MAX_CLASS)) return allocLarge(bytes);
  let cls: u32 = 0;
  while ((<u32>16 << cls) < bytes) cls++;
  const list = CLASSES + (<usize>cls << 2);
  let block = load<usize>(list);
  if (block != 0) {
    store<usize>(list, load<usize>(block + HEADER));
    memory.fill(block + HEADER, 0, <usize>16 << cls);
  } else {
    block = carve(HEADER + (<usize>16 << cls));
    if (block == 0) return 0;
    store<u32>(block, cls);
  }
  store<u32>(block, LIVE, 4);
  return block + HEADER;
}
function allocLarge(bytes: u32): usize {
  const size: u32 = (bytes + 15) & ~15;
  let link: usize = 0;
  let block = large;
  while (block != 0) {
    if (load<u32>(block) >= size && load<u32>(block) <= size * 2) {
      if (link == 0) large = load<usize>(block, 8); else store<usize>(link, load<usize>(block, 8), 8);
      memory.fill(block + HEADER, 0, load<u32>(block));
      store<u32>(block, LIVE, 4);
      return block + HEADER;
    }
    link = block;
    block = load<usize>(block, 8);
  }
  block = carve(HEADER + <usize>size);
  if (block == 0) return 0;
  store<u32>(block, size); store<u32>(block, LIVE, 4);
  return block + HEADER;
}
/** Gives back what `alloc` returned; 0 is ignored. A double or wild free is a deliberate fault. */
export function free(at: usize): void {
  if (at == 0) return;
  const block = at - HEADER;
  if (load<u32>(block, 4) != LIVE) { sys.fault(FAULT_MEMORY, <u32>at, load<u32>(block, 4)); return; }
  store<u32>(block, FREE, 4);
  const size = load<u32>(block);
  if (size <= MAX_CLASS) {
    const list = CLASSES + (<usize>size << 2);
    store<usize>(at, load<usize>(list));
    store<usize>(list, block);
  } else {
    store<usize>(block, large, 8);
    large = block;
  }
}
/** `alloc` for what must exist: exhaustion is a deliberate fault. */
export function mustAlloc(bytes: u32): usize {
  const p = alloc(bytes);
  if (p == 0) sys.fault(FAULT_MEMORY | 1, bytes, heapFree());
  return p;
}

/** A fixed number of equal elements. `first` is the memory, `free` a list through the elements' first word. */
@unmanaged @final export class Pool {
  first: usize; bytes: u32; count: u32; free: usize; used: u32;
  /** A zeroed element, 0 when all are in use. */
  take(): usize {
    const p = this.free;
    if (p == 0) return 0;
    this.free = load<usize>(p);
    this.used++;
    memory.fill(p, 0, this.bytes);
    return p;
  }
  give(p: usize): void {
    store<usize>(p, this.free);
    this.free = p;
    this.used--;
  }
  /** Index of an element, for tables and ids. */
  index(p: usize): u32 { return <u32>(p - this.first) / this.bytes; }
  at(n: u32): usize { return this.first + <usize>n * this.bytes; }
}
export function poolInit(pool: Pool, bytes: u32, count: u32): void {
  const size = (bytes + 7) & ~7;
  pool.bytes = size; pool.count = count; pool.used = 0; pool.free = 0;
  pool.first = mustAlloc(size * count);
  for (let n = count; n > 0; n--) {
    const p = pool.first + <usize>(n - 1) * size;
    store<usize>(p, pool.free);
    pool.free = p;
  }
}
