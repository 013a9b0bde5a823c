/**
 * What the boot loader says (Multiboot 1, section 3.3): command line, memory map, modules. Copied into the kernel before the memory it lies in is used.
 */
import { virt } from '../arch/paging';

@unmanaged @final export class Module { start: u32; end: u32; name: usize }
export const MAX_MODULES: u32 = 16;
const MODULES: usize = memory.data(16 * 12, 4);
export let moduleCount: u32 = 0;
export function moduleAt(n: u32): Module { return changetype<Module>(MODULES + <usize>n * 12); }

const TEXT: usize = memory.data(2048); // command line and names
export const COMMAND_LINE: usize = TEXT;
let textEnd: usize = TEXT;

@unmanaged @final export class Range { start: u32; end: u32 }
export const MAX_RANGES: u32 = 64;
const RANGES: usize = memory.data(64 * 8, 4);
export let rangeCount: u32 = 0;
export function rangeAt(n: u32): Range { return changetype<Range>(RANGES + (<usize>n << 3)); }
/** End of RAM that the direct map could not take. */
export let ramEnd: u64 = 0;

function copyText(from: usize, limit: usize): usize {
  const at = textEnd;
  let n: usize = 0;
  while (n < limit && textEnd + 1 < TEXT + 2048) {
    const c = load<u8>(from + n);
    if (c == 0) break;
    store<u8>(textEnd++, c);
    n++;
  }
  store<u8>(textEnd++, 0);
  return at;
}

/** Takes [start, end) out of the free ranges. */
export function reserve(start: u32, end: u32): void {
  for (let n: u32 = 0; n < rangeCount; n++) {
    const r = rangeAt(n);
    if (end <= r.start || start >= r.end) continue;
    if (start > r.start && end < r.end) {
      if (rangeCount == MAX_RANGES) { r.end = start; continue; }
      const tail = rangeAt(rangeCount++);
      tail.start = end; tail.end = r.end;
      r.end = start;
    } else if (start > r.start) r.end = start;
    else if (end < r.end) r.start = end;
    else { r.start = 0; r.end = 0; }
  }
}
function add(start: u64, end: u64, limit: u64): void {
  if (end > ramEnd) ramEnd = end;
  if (end > limit) end = limit;
  start = (start + 4095) & ~<u64>4095;
  end &= ~<u64>4095;
  if (start >= end || rangeCount == MAX_RANGES) return;
  const r = rangeAt(rangeCount++);
  r.start = <u32>start; r.end = <u32>end;
}

/** Reads the information structure at physical `info`; ranges hold RAM below `limit`, the first MiB and the modules taken out. False: unusable. */
export function readMultiboot(info: u32, limit: u32): bool {
  const p = virt(info);
  const flags = load<u32>(p);
  if ((flags & 4) != 0) copyText(virt(load<u32>(p, 16)), 1023); else store<u8>(textEnd++, 0);
  if ((flags & 64) != 0) {
    let at = virt(load<u32>(p, 48));
    const end = at + load<u32>(p, 44);
    while (at < end) {
      const start = load<u64>(at, 4), bytes = load<u64>(at, 12);
      if (load<u32>(at, 20) == 1) add(start, start + bytes, limit);
      at += load<u32>(at) + 4;
    }
  } else if ((flags & 1) != 0) add(0x100000, 0x100000 + ((<u64>load<u32>(p, 8)) << 10), limit);
  else return false;
  reserve(0, 0x100000);
  if ((flags & 8) != 0) {
    const count = load<u32>(p, 20);
    const list = virt(load<u32>(p, 24));
    for (let n: u32 = 0; n < count && n < MAX_MODULES; n++) {
      const m = list + (<usize>n << 4);
      const d = moduleAt(n);
      d.start = load<u32>(m); d.end = load<u32>(m, 4);
      const name = load<u32>(m, 8);
      d.name = name == 0 ? copyText(TEXT + 2047, 0) : copyText(virt(name), 63);
      moduleCount++;
    }
  }
  for (let n: u32 = 0; n < moduleCount; n++) reserve(moduleAt(n).start & ~4095, (moduleAt(n).end + 4095) & ~4095);
  return true;
}

/** Is `word` one of the words of the command line? */
export function hasWord(word: string): bool {
  let at = COMMAND_LINE;
  while (load<u8>(at) != 0) {
    let n: usize = 0;
    while (n < <usize>word.length && <u32>load<u8>(at + n) == <u32>load<u16>(changetype<usize>(word) + (n << 1))) n++;
    const c = load<u8>(at + n);
    if (n == <usize>word.length && (c == 0 || c == 32)) return true;
    while (load<u8>(at) != 0 && load<u8>(at) != 32) at++;
    while (load<u8>(at) == 32) at++;
  }
  return false;
}
/** One more free range: what is left behind a piece cut out of another. */
export function addRange(start: u32, end: u32): void { add(start, end, 0x100000000); }
