/**
 * Memory of one command: syntax trees and expansions are cut from chunks and all go back together when the command has run. `mark` and
 * `rewind` nest, because `eval`, `.` and functions run commands inside commands.
 */
import { allocate, release } from '../lib/memory';

const CHUNK: usize = 8160;
// A chunk begins with {previous chunk u32, end u32}.
let chunk: usize = 0;
let next: usize = 0;
let end: usize = 0;

export function arenaAllocate(bytes: usize): usize {
  const size = (bytes + 3) & ~3;
  if (!chunk || next + size > end) {
    const capacity = max(CHUNK, size + 8);
    const fresh = allocate(capacity);
    store<u32>(fresh, <u32>chunk);
    chunk = fresh;
    next = fresh + 8;
    end = fresh + capacity;
    store<u32>(fresh, <u32>end, 4);
  }
  const block = next;
  next += size;
  memory.fill(block, 0, size);
  return block;
}

/** A position to rewind to: the address of the next byte tells the chunk, too. */
export function arenaMark(): usize {
  if (!chunk) arenaAllocate(4);
  return next;
}
export function arenaRewind(mark: usize): void {
  while (mark < chunk + 8 || mark > end) {
    const previous = <usize>load<u32>(chunk);
    release(chunk);
    chunk = previous;
    end = <usize>load<u32>(previous, 4);
  }
  next = mark;
}

/** Copy of bytes in the arena, NUL terminated. */
export function arenaText(at: usize, length: i32): usize {
  const text = arenaAllocate(length + 1);
  memory.copy(text, at, length);
  return text;
}
