/**
 * Memory before there are Untypeds: whole pages, cleared, from the free ranges, never given back. What is left goes to root.
 */
import { rangeAt, rangeCount, Range } from './multiboot';
import { virt } from '../arch/paging';
import { die } from '../arch/panic';

/** `bytes` (a multiple of pages) aligned to `align`, from the first range where it fits; kernel address. */
export function early(bytes: u32, align: u32): usize {
  for (let n: u32 = 0; n < rangeCount; n++) {
    const r = rangeAt(n);
    const at = (r.start + align - 1) & ~(align - 1);
    if (at < r.start || at > r.end || r.end - at < bytes || r.end == 0) continue;
    if (at == r.start) r.start += bytes;
    else {
      // the part before stays usable: keep the larger side
      if (at - r.start > r.end - at - bytes) r.end = at; else r.start = at + bytes;
    }
    memory.fill(virt(at), 0, bytes);
    return virt(at);
  }
  die('out of memory at boot');
  return 0;
}
export function earlyPage(): usize { return early(4096, 4096); }
