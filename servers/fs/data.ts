/**
 * File contents: read with read-ahead, write, truncate. Data goes between the shared area and cache pages in block-sized copies; metadata
 * of a write is one transaction, committed after its data is in the cache.
 */
import { mapAlloc, mapRun, runCount, runStart, allocated, MORE, trimStep } from './blockmap';
import { META, find, markDirty, pin, prefetch, prepare, read, ready, settle, slotAddress, slotFlags, take, unpin } from './cache';
import { EFBIG, EINVAL, EIO, EISDIR, ENOSPC } from '../lib/errno';
import { windowClose, windowOpen } from './host';
import { formatOf, inodeEdit, inodeLive, inodeView, maxBytes, setSize, sizeOf, touchModified } from './inode';
import { beginChange } from './mount';
import { Op } from './op';
import { abort, commit, commitStep, room } from './transaction';
import { EXT2_MODE_DIRECTORY, EXT2_MODE_REGULAR } from 'kintsugi/protocols';
import { blockShift, blockSize, blocks } from './volume';

/** 0 for a live regular file, else -ESTALE, -EISDIR, -EINVAL, -EIO. */
function regular(inode: u32): i32 {
  const live = inodeLive(inode);
  if (live < 0) return live;
  const p = inodeView(inode);
  if (p == 0) return -EIO;
  const format = formatOf(p);
  return format == EXT2_MODE_REGULAR ? 0 : format == EXT2_MODE_DIRECTORY ? -EISDIR : -EINVAL;
}

// ---- read-ahead -------------------------------------------------------------------------------------------------------------------------
/**
 * A sequential reader: the next block of the file it will ask for, and the block of the volume up to which was read ahead.
 * Read-ahead is physical: what lies behind on the disk is read, indirect blocks on the way included, without a look at the map - which would
 * have to wait for those very blocks. Files are laid out in order, so it is nearly always right, and when it is wrong nothing but time is lost.
 */
@unmanaged @final class Stream { inode: u32; next: u32; ahead: u32; window: u32 }
const STREAMS: u32 = 8;
const streams: usize = memory.data(128, 8);
let victim: u32 = 0;
const FIRST_WINDOW: u32 = 65536; // bytes
const LAST_WINDOW: u32 = 1 << 20;

/** After a read of the file's blocks [first, end) that ended at block `last` of the volume (0 = in a hole). Does not wait. */
function readAhead(inode: u32, first: u32, end: u32, last: u32): void {
  let stream = changetype<Stream>(0);
  for (let n: u32 = 0; n < STREAMS; n++) {
    const s = changetype<Stream>(streams + <usize>n * 16);
    if (s.inode == inode && (s.next == first || s.next == first + 1)) { stream = s; break; }
  }
  if (changetype<usize>(stream) == 0) {
    if (first != 0) return; // not from the start, not going on: random access
    stream = changetype<Stream>(streams + <usize>victim * 16);
    victim = (victim + 1) % STREAMS;
    stream.inode = inode; stream.window = FIRST_WINDOW >> blockShift; stream.ahead = 0;
  } else if (stream.window < LAST_WINDOW >> blockShift) stream.window <<= 1;
  stream.next = end;
  if (last == 0) return;
  if (stream.ahead <= last || stream.ahead > last + 2 * stream.window) stream.ahead = last + 1;
  if (stream.ahead - last > stream.window >> 1) return;
  const to = last + stream.window < blocks ? last + stream.window : blocks;
  if (to > stream.ahead) prefetch(stream.ahead, to - stream.ahead);
  stream.ahead = to;
}

/** (pauses) Reads to the shared area at `to`. Bytes (0 at the end), or an error when not even one byte could be read. */
export function readFile(inode: u32, position: u64, to: usize, bytes: u32): i32 {
  const bad = regular(inode);
  if (bad < 0) return bad;
  const size = sizeOf(inodeView(inode));
  if (position >= size) return 0;
  if (size - position < <u64>bytes) bytes = <u32>(size - position);
  const mask = <u64>(blockSize - 1);
  let done: u32 = 0, stuck = 0, last: u32 = 0;
  while (done < bytes) {
    const at = position + done, within = <u32>(at & mask), most = (within + (bytes - done) + blockSize - 1) >> blockShift;
    const status = mapRun(inode, at >> blockShift, most);
    if (status < 0) return done > 0 ? <i32>done : status;
    const start = runStart, count = runCount;
    let skip = within;
    for (let i: u32 = 0; i < count && done < bytes; i++) {
      const n = blockSize - skip < bytes - done ? blockSize - skip : bytes - done;
      if (start == 0) memory.fill(to + done, 0, n);
      else {
        const s = find(start + i);
        if (s < 0 || !ready(s)) {
          // The rest of the request probably lies behind, with an indirect block or two in between.
          let want = ((skip + (bytes - done) + blockSize - 1) >> blockShift) + (bytes - done >> (2 * blockShift - 2)) + 1;
          if (want < count - i) want = count - i;
          if (want > blocks - (start + i)) want = blocks - (start + i);
          prefetch(start + i, bytes - done > blockSize ? want : 1);
          const got = read(start + i); // pauses: the file may look different afterwards
          if (got < 0 || ++stuck > 16) return done > 0 ? <i32>done : -EIO;
          break;
        }
        memory.copy(to + done, slotAddress(s) + skip, n);
        stuck = 0;
        last = start + i;
      }
      done += n;
      skip = 0;
    }
  }
  readAhead(inode, <u32>(position >> blockShift), <u32>((position + done + mask) >> blockShift), position + done < size ? last : 0);
  return <i32>done;
}

/** (pauses) Zeroes what lies behind byte `from` in its block, so that growing the file shows zeroes. 0 or -EIO. */
function zeroTail(inode: u32, from: u64): i32 {
  const within = <u32>(from & <u64>(blockSize - 1));
  if (within == 0) return 0;
  const status = mapRun(inode, from >> blockShift, 1);
  if (status < 0) return status;
  const block = runStart;
  if (block == 0) return 0;
  const s = read(block);
  if (s < 0 || (slotFlags(s) & META) != 0) return -EIO;
  windowOpen();
  memory.fill(slotAddress(s) + within, 0, blockSize - within);
  markDirty(s, false, 0);
  windowClose();
  return 0;
}

// Copies into the cache that wait for one window. Only the holder of the transaction uses it; the slots are pinned.
@unmanaged @final class Piece { slot: u32; within: u32; bytes: u32; whole: u32; from: usize }
const PIECES: u32 = 64;
const pieces: usize = memory.data(64 * 20, 8);
let pieceCount: u32 = 0;
function addPiece(slot: u32, within: u32, bytes: u32, whole: bool, from: usize): void {
  const p = changetype<Piece>(pieces + <usize>pieceCount * 20);
  p.slot = slot; p.within = within; p.bytes = bytes; p.whole = whole ? 1 : 0; p.from = from;
  pin(slot);
  pieceCount++;
}
/** (pauses) */
function copyPieces(): void {
  if (pieceCount == 0) return;
  for (let n: u32 = 0; n < pieceCount; n++) settle(changetype<Piece>(pieces + <usize>n * 20).slot);
  windowOpen();
  for (let n: u32 = 0; n < pieceCount; n++) {
    const p = changetype<Piece>(pieces + <usize>n * 20), page = slotAddress(p.slot);
    prepare(p.slot);
    if (p.whole != 0 && p.bytes < blockSize) memory.fill(page, 0, blockSize);
    memory.copy(page + p.within, p.from, p.bytes);
    markDirty(p.slot, false, 0);
  }
  windowClose();
  for (let n: u32 = 0; n < pieceCount; n++) unpin(changetype<Piece>(pieces + <usize>n * 20).slot);
  pieceCount = 0;
}

/**
 * (pauses) Writes from the shared area. Commits with the reply: r0 = bytes (fewer than asked when the disk is full, or so scattered that one
 * transaction cannot hold it), r1, r2 = end position. 0 or an error.
 */
export function writeFile(op: Op, inode: u32, position: u64, from: usize, bytes: u32, append: bool): i32 {
  const held = beginChange();
  if (held < 0) return held;
  let status = regular(inode);
  if (status < 0) { abort(); return status; }
  const size = sizeOf(inodeView(inode)), mask = <u64>(blockSize - 1);
  if (append) position = size;
  if (position >= maxBytes() && bytes > 0) { abort(); return -EFBIG; }
  if (maxBytes() - position < <u64>bytes) bytes = <u32>(maxBytes() - position);
  if (position > size && bytes > 0) status = zeroTail(inode, size);
  let done: u32 = 0, goal: u32 = 0;
  while (status == 0 && done < bytes) {
    if (!room(12)) break;
    const at = position + done, within = <u32>(at & mask), n = blockSize - within < bytes - done ? blockSize - within : bytes - done;
    if (goal == 0 && at >> blockShift != 0) { // near the block before it
      if (mapRun(inode, (at >> blockShift) - 1, 1) == 0 && runStart != 0) goal = runStart + 1;
    }
    const block = mapAlloc(inode, at >> blockShift, goal, false);
    if (block < 0) { status = block; break; }
    const whole = allocated || n == blockSize || at - within >= size; // the old content does not count
    const s = whole ? take(block) : read(block);
    if (s < 0) { status = -EIO; break; }
    if ((slotFlags(s) & META) != 0) { status = -EIO; break; } // a hostile pointer to somebody's metadata
    addPiece(s, within, n, whole, from + done);
    done += n;
    goal = block + 1;
    if (pieceCount == PIECES) copyPieces();
  }
  copyPieces();
  if (done == 0 && bytes > 0) { abort(); return status < 0 ? status : -ENOSPC; }
  const p = inodeEdit(inode);
  if (p == 0) { abort(); return -EIO; }
  if (done > 0) {
    if (position + done > size) { const grown = setSize(p, position + done); if (grown < 0) { abort(); return grown; } }
    touchModified(p);
  }
  op.r0 = done; op.r1 = <u32>(position + done); op.r2 = <u32>((position + done) >> 32);
  commit(op, 0);
  return 0;
}

/** (pauses) In a transaction: sets the size, freeing in committed steps what lies behind it. The file stays consistent at every step. */
export function resize(inode: u32, size: u64): i32 {
  const p = inodeEdit(inode);
  if (p == 0) return -EIO;
  const old = sizeOf(p);
  if (size > old) {
    const status = zeroTail(inode, old);
    if (status < 0) return status;
  } else {
    let status = trimStep(inode, (size + <u64>(blockSize - 1)) >> blockShift);
    while (status == MORE) { commitStep(null, 0); status = trimStep(inode, (size + <u64>(blockSize - 1)) >> blockShift); }
    if (status < 0) return status;
    status = zeroTail(inode, size);
    if (status < 0) return status;
  }
  const q = inodeEdit(inode);
  if (q == 0) return -EIO;
  touchModified(q);
  return setSize(q, size);
}
export function truncateFile(op: Op, inode: u32, size: u64): i32 {
  const held = beginChange();
  if (held < 0) return held;
  let status = regular(inode);
  if (status == 0) status = size > maxBytes() ? -EFBIG : resize(inode, size);
  if (status < 0) { abort(); return status; }
  commit(op, 0);
  return 0;
}
