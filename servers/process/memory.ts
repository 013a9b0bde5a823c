/**
 * Memory of programs. The "programs" Untyped is cut once into equal chunks, each an Untyped of its own; a program takes chunks as it grows and
 * gives all of them back at its end, by revoking each: Space, Thread, Table, Sched and Frames in it go at once, and no record is needed of them.
 *
 * Chunk lists run through NEXT by index + 1. Invariant: every chunk is on the free list or on the list of exactly one program.
 */
import { ERR_MEMORY, ERR_OK, OBJ_FRAMES, OBJ_UNTYPED } from 'kintsugi/abi';
import { ROLE_PROGRAMS_UNTYPED } from 'kintsugi/protocols';
import { mustAlloc } from '../lib/alloc';
import { needHandle } from '../lib/startup';
import * as sys from '../lib/sys';
import { Program } from './records';

const CHUNK_BITS: u32 = 19; // 512 KiB
const MAX_CHUNKS: u32 = 1024;
const TABLE_PAGES: u32 = 8; // page tables donated at a time

let handles: usize = 0; // u32[chunks]
let nexts: usize = 0; // u32[chunks]: index + 1
let free: u32 = 0;
let total: u32 = 0;
let freeCount: u32 = 0;
export function chunkCount(): u32 { return total; }
export function freeChunks(): u32 { return freeCount; }

export function memoryInit(): void {
  const untyped = needHandle(ROLE_PROGRAMS_UNTYPED);
  handles = mustAlloc(MAX_CHUNKS * 4);
  nexts = mustAlloc(MAX_CHUNKS * 4);
  while (total < MAX_CHUNKS && sys.retype(untyped, OBJ_UNTYPED, CHUNK_BITS, 1, 0, 0) == ERR_OK) {
    store<u32>(handles + (<usize>total << 2), sys.R.w0);
    giveChunk(total);
    total++;
  }
}
function giveChunk(n: u32): void {
  store<u32>(nexts + (<usize>n << 2), free);
  free = n + 1;
  freeCount++;
}
/** The chunk that `p` takes memory from now; 0 when it has none yet. */
export function currentChunk(p: Program): u32 { return p.chunks == 0 ? 0 : load<u32>(handles + (<usize>(p.chunks - 1) << 2)); }
/** One more chunk for `p`; false when there is no memory left. */
export function moreMemory(p: Program): bool {
  if (free == 0) return false;
  const n = free - 1;
  free = load<u32>(nexts + (<usize>n << 2));
  freeCount--;
  store<u32>(nexts + (<usize>n << 2), p.chunks);
  p.chunks = n + 1;
  return true;
}
/** Destroys everything a program is made of. */
export function giveMemory(p: Program): void {
  while (p.chunks != 0) {
    const n = p.chunks - 1;
    p.chunks = load<u32>(nexts + (<usize>n << 2));
    sys.check(sys.untypedRevoke(load<u32>(handles + (<usize>n << 2))), 0x10);
    giveChunk(n);
  }
  p.space = 0; p.thread = 0; p.table = 0;
}

/** A kernel object for `p`; 0 when memory is used up. */
export function makeObject(p: Program, type: u32, bits: u32): u32 {
  if (p.chunks == 0 && !moreMemory(p)) return 0;
  let status = sys.retype(currentChunk(p), type, bits, 1, 0, 0);
  if (status == ERR_MEMORY && moreMemory(p)) status = sys.retype(currentChunk(p), type, bits, 1, 0, 0);
  return status == ERR_OK ? sys.R.w0 : 0;
}
export function donateTables(p: Program): bool {
  if (sys.donate(p.space, currentChunk(p), TABLE_PAGES) == ERR_OK) return true;
  return moreMemory(p) && sys.donate(p.space, currentChunk(p), TABLE_PAGES) == ERR_OK;
}
/** Maps Frames; gets more page tables when the pool is empty. */
export function mapInto(p: Program, frames: u32, va: usize, pages: u32, rights: u32): bool {
  let status = sys.map(p.space, frames, va, 0, pages, rights);
  if (status == ERR_MEMORY && donateTables(p)) status = sys.map(p.space, frames, va, 0, pages, rights);
  return status == ERR_OK;
}
/** Zeroed private memory at [va, va + pages), in power-of-two pieces; false when there is not enough (what was mapped stays). */
export function provide(p: Program, va: usize, pages: u32, rights: u32): bool {
  while (pages > 0) {
    let bits: u32 = 31 - <u32>clz<u32>(pages);
    if (bits > CHUNK_BITS - 13) bits = CHUNK_BITS - 13;
    let frames: u32 = 0;
    while (true) {
      frames = sys.retype(currentChunk(p), OBJ_FRAMES, 12 + bits, 1, 0, 0) == ERR_OK ? sys.R.w0 : 0;
      if (frames != 0 || bits == 0) break;
      bits--; // the rest of this chunk, before a new one is begun
    }
    if (frames == 0) { if (!moreMemory(p)) return false; continue; }
    const count: u32 = 1 << bits;
    if (!mapInto(p, frames, va, count, rights)) return false;
    va += <usize>count << 12;
    pages -= count;
  }
  return true;
}
