/**
 * The shared data areas of the FS and TTY rings, handed out in pages to one operation at a time. A fiber waits (never in vain: every holder is an
 * operation that ends) when there is no room.
 */
import { WaitQueue, newQueue, waitOn, wakeAll } from '../lib/fiber';
import { findClear, set, clear, get } from '../lib/bitmap';
import { mustAlloc } from '../lib/alloc';
import { FOREVER } from '../lib/sys';

@unmanaged @final export class Area {
  at: usize; pages: u32; map: usize; room: WaitQueue; used: u32;

  /** First free run of `count` pages, -1 when there is none. */
  private run(count: u32): i32 {
    let from: u32 = 0;
    while (from < this.pages) {
      const first = findClear(this.map, this.pages, from);
      if (first < 0) return -1;
      let n: u32 = 1;
      while (n < count && <u32>first + n < this.pages && !get(this.map, first + n)) n++;
      if (n == count) return first;
      from = first + n;
    }
    return -1;
  }
  /** Offset of `bytes` (rounded up to pages) that are nobody else's until `give`. */
  take(bytes: u32): u32 {
    const count = max((bytes + 4095) >> 12, 1);
    while (true) {
      const first = this.run(count);
      if (first >= 0) {
        for (let n: u32 = 0; n < count; n++) set(this.map, first + n);
        this.used += count;
        return <u32>first << 12;
      }
      waitOn(this.room, FOREVER);
    }
  }
  give(offset: u32, bytes: u32): void {
    const count = max((bytes + 4095) >> 12, 1);
    for (let n: u32 = 0; n < count; n++) clear(this.map, (offset >> 12) + n);
    this.used -= count;
    wakeAll(this.room);
  }
  address(offset: u32): usize { return this.at + offset; }
}

export function newArea(at: usize, bytes: u32): Area {
  const a = changetype<Area>(mustAlloc(offsetof<Area>()));
  a.at = at;
  a.pages = bytes >> 12;
  a.map = mustAlloc(((a.pages + 31) >> 5) << 2);
  a.room = newQueue();
  return a;
}
