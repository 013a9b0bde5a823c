/**
 * Transactions: how metadata and state change, all or nothing, also when fs dies in the middle.
 *
 * A writer `begin`s (one writer at a time; readers go on and see the committed state), `edit`s blocks (a private copy, the shadow), and
 * `commit`s: the differences between shadows and cache go into the redo record with the reply of the request; one store of `lsn` commits;
 * then the record is applied to the cache and `applied` follows. Up to that store nothing outside private memory has changed, so an abort,
 * or the death of the server, is simply forgetting. After it, the next incarnation applies the same record again (`replay`).
 *
 * Before that store the record gets a second opinion (verify.ts), and the tools that made it prove themselves (checksum.ts, sound.ts): an incarnation whose text is
 * damaged dies instead of committing.
 *
 * File data does not pass through here: it is copied into the cache before the commit that makes it reachable.
 *
 *   redo record: {lsn, bytes, blocks, check} · Head x blocks {block, slot, sum, runs} each followed by its runs {offset u16, bytes u16, data}
 *                · state runs {offset u32, bytes u32, data}, bytes 0 ends · ranges of freed blocks {number u32, then start u32, length u32 each} · all padded to 4
 *
 * Freed blocks are in the record because their cache slots must lose what they were (metadata, dirty) with the commit: a successor that took over a slot
 * still called metadata would refuse to let its block become data.
 */
import { changed, checksum, wordChange, matches, proveSound } from '../lib/checksum';
import { EIO } from '../lib/errno';
import { current, pause, reserve, windowClose, windowOpen } from './host';
import { VALID, adoptSlot, forget, forgetBlock, markDirty, pin, prepare, readMeta, settle, slotAddress, slotBlock, slotFlags, slotSum, take, unpin } from './cache';
import { HEADER_APPLIED, HEADER_LSN, REPLIES, REPLY_BYTES, redo, redoBytes, replies, state } from './state';
import { Op } from './op';
import { proveTools } from './sound';
import { Shadow, meaning, verifyRecord } from './verify';
import { differ } from 'kintsugi/x86';

/** Most blocks one transaction may change. Long operations commit in steps while `room()` says so. */
export const SHADOWS: u32 = 64;
const STATE_EDITS: u32 = 4096; // bytes
const FORGETS: u32 = 512; // ranges of freed blocks

const SHADOW_BYTES: usize = 16;

let shadows: usize = 0;
let count: u32 = 0;
let buffers: usize = 0;
let blockBytes: u32 = 0;
let blockCount: u32 = 0;
let firstBlock: u32 = 0;
let owner: usize = 0; // the Op that writes; 0 = nobody
let stateEdits: usize = 0;
let stateEditBytes: u32 = 0;
let forgets: usize = 0;
let forgetCount: u32 = 0;
let last: u32 = 0; // index of the shadow used last
/** Transactions committed by this incarnation. */
export let commits: u32 = 0;
/** 1 when attach found a committed record and applied it. */
export let replayed: u32 = 0;

const RECORD_LSN: u32 = 0, RECORD_BYTES: u32 = 4, RECORD_BLOCKS: u32 = 8, RECORD_CHECK: u32 = 12, RECORD_HEAD: u32 = 16;

export function transactionInit(blockSize: u32, first: u32, blocks: u32): bool {
  blockBytes = blockSize; blockCount = blocks; firstBlock = first;
  shadows = reserve(<usize>SHADOWS * SHADOW_BYTES);
  buffers = reserve(SHADOWS * blockSize);
  stateEdits = reserve(STATE_EDITS);
  forgets = reserve(FORGETS * 8);
  count = 0; owner = 0; stateEditBytes = 0; forgetCount = 0;
  return shadows != 0 && buffers != 0 && stateEdits != 0 && forgets != 0;
}
function shadowAt(n: u32): Shadow { return changetype<Shadow>(shadows + <usize>n * SHADOW_BYTES); }
function findShadow(block: u32): i32 {
  if (last < count && shadowAt(last).block == block) return <i32>last;
  for (let n: u32 = 0; n < count; n++) if (shadowAt(n).block == block) { last = n; return <i32>n; }
  return -1;
}

/** (pauses) Waits for its turn to write. */
export function begin(): void {
  while (owner != 0) pause();
  owner = current;
}
/** True for the request that holds the transaction. */
export function writing(): bool { return owner == current && owner != 0; }
/** False: commit a step now, before editing more. `blocks` = how many blocks the next step may need. */
export function room(blocks: u32): bool { return count + blocks <= SHADOWS && forgetCount + 64 <= FORGETS; }

/** (pauses) Address of a metadata block as this request sees it: its own shadow, else the committed content. 0: EIO. */
export function view(block: u32): usize {
  if (writing()) {
    const n = findShadow(block);
    if (n >= 0) return shadowAt(n).at;
  }
  if (block < firstBlock || block >= blockCount) return 0;
  const s = readMeta(block);
  return s < 0 ? 0 : slotAddress(s);
}
/** (pauses) Address of a private copy that `commit` will publish; stays put until then. 0: EIO. */
export function edit(block: u32): usize {
  const n = findShadow(block);
  if (n >= 0) return shadowAt(n).at;
  if (block < firstBlock || block >= blockCount || count == SHADOWS) return 0;
  const s = readMeta(block);
  if (s < 0) return 0;
  const at = addShadow(block, s, 0);
  memory.copy(at, slotAddress(s), blockBytes);
  return at;
}
/** (pauses) A block that was just allocated: zeroes, whatever the disk holds. 0: EIO. */
export function fresh(block: u32): usize {
  const n = findShadow(block);
  if (n >= 0) { memory.fill(shadowAt(n).at, 0, blockBytes); return shadowAt(n).at; }
  if (block < firstBlock || block >= blockCount || count == SHADOWS) return 0;
  const s = take(block);
  if (s < 0) return 0;
  const at = addShadow(block, s, 1);
  memory.fill(at, 0, blockBytes);
  return at;
}
function addShadow(block: u32, slot: u32, isFresh: u32): usize {
  const p = shadowAt(count);
  p.block = block; p.slot = slot; p.fresh = isFresh;
  p.at = buffers + <usize>count * blockBytes;
  pin(slot);
  last = count;
  count++;
  return p.at;
}
/** Changes `bytes` (a multiple of 4, as the offset) of the state Frames with this transaction. */
export function editState(offset: u32, from: usize, bytes: u32): void {
  assert(stateEditBytes + bytes + 8 <= STATE_EDITS);
  const at = stateEdits + stateEditBytes;
  store<u32>(at, offset); store<u32>(at, bytes, 4);
  memory.copy(at + 8, from, bytes);
  stateEditBytes += 8 + bytes;
}
/** The block was freed by this transaction: once committed, its cache slot is worthless. */
export function forgetLater(block: u32): void {
  if (forgetCount > 0) {
    const p = forgets + <usize>(forgetCount - 1) * 8, start = load<u32>(p), length = load<u32>(p, 4);
    if (start + length == block) { store<u32>(p, length + 1, 4); return; }
    if (block + 1 == start) { store<u32>(p, block); store<u32>(p, length + 1, 4); return; }
  }
  if (forgetCount == FORGETS) return; // a stale clean slot does no harm; `room` keeps this from happening
  const p = forgets + <usize>forgetCount * 8;
  store<u32>(p, block); store<u32>(p, 1, 4);
  forgetCount++;
}

/** Gives up: nothing has happened. */
export function abort(): void {
  for (let n: u32 = 0; n < count; n++) {
    const p = shadowAt(n);
    unpin(p.slot);
    if (p.fresh != 0 && (slotFlags(p.slot) & VALID) == 0) forget(p.block);
  }
  count = 0; stateEditBytes = 0; forgetCount = 0; owner = 0;
}
/** Publishes the edits, ends the transaction. With `op`, the request's results become its stored reply. */
export function commit(op: Op | null, status: i32): void { commitStep(op, status); owner = 0; }
/** Publishes the edits and goes on with a new transaction without letting other writers in. */
export function commitStep(op: Op | null, status: i32): void {
  if (op !== null && (op.keySerial | op.keySeq) != 0) storeReply(op, status);
  if (count == 0 && stateEditBytes == 0) { finish(); return; }
  for (let n: u32 = 0; n < count; n++) settle(shadowAt(n).slot);
  windowOpen();
  for (let n: u32 = 0; n < count; n++) prepare(shadowAt(n).slot);
  const bytes = writeRecord(), lsn = load<u32>(state, HEADER_LSN) + 1;
  store<u32>(redo, lsn, RECORD_LSN);
  store<u32>(redo, bytes, RECORD_BYTES);
  store<u32>(redo, count, RECORD_BLOCKS);
  store<u32>(redo, checksum(redo + RECORD_HEAD, bytes - RECORD_HEAD) ^ lsn, RECORD_CHECK);
  proveSound();
  proveTools();
  if (verifyRecord(redo + RECORD_HEAD, shadows, count, stateEdits, stateEditBytes, forgets, forgetCount) != redo + bytes || !meaning(shadows, count)) unreachable();
  store<u32>(state, lsn, HEADER_LSN); // the commit
  applyRecord(false);
  for (let n: u32 = 0; n < count; n++) { // else the successor applies it again
    const p = shadowAt(n), words = blockBytes >> 2;
    if (differ(slotAddress(p.slot), p.at, words) != words) unreachable();
  }
  store<u32>(state, lsn, HEADER_APPLIED);
  windowClose();
  finish();
}
function finish(): void {
  for (let n: u32 = 0; n < count; n++) unpin(shadowAt(n).slot);
  count = 0; stateEditBytes = 0;
  forgetCount = 0;
  commits++;
}

/** In the window. Writes the differences behind the record's head; returns the record's bytes. */
function writeRecord(): u32 {
  let at = redo + RECORD_HEAD;
  const end = redo + redoBytes;
  for (let n: u32 = 0; n < count; n++) {
    const p = shadowAt(n), head = at;
    let runs: u32 = 0, sum: u32 = 0;
    at += 16;
    if (p.fresh != 0) { // everything, for the old content is nobody's
      at = writeRun(at, end, p.at, 0, blockBytes);
      runs = 1;
      sum = checksum(p.at, blockBytes);
    } else {
      const old = slotAddress(p.slot);
      const words = blockBytes >> 2;
      let i: u32 = 0, change: u32 = 0;
      while (true) {
        i += differ(old + (i << 2), p.at + (i << 2), words - i);
        if (i >= words) break;
        let to = i, same: u32 = 0; // a gap of 4 equal words ends a run
        while (to + same < words && same < 4) {
          const k = to + same, a = load<u32>(old + (k << 2)), b = load<u32>(p.at + (k << 2));
          if (a == b) { same++; continue; }
          change += wordChange(k, a, b);
          to = k + 1; same = 0;
        }
        at = writeRun(at, end, p.at, i << 2, (to - i) << 2);
        runs++;
        i = to + same;
      }
      sum = changed(slotSum(p.slot), blockBytes, change);
    }
    assert(at + 16 <= end);
    store<u32>(head, p.block); store<u32>(head, p.slot, 4); store<u32>(head, sum, 8); store<u32>(head, runs, 12);
  }
  assert(at + stateEditBytes + 8 <= end);
  memory.copy(at, stateEdits, stateEditBytes);
  at += stateEditBytes;
  store<u64>(at, 0); // ends the state runs
  at += 8;
  assert(at + 4 + forgetCount * 8 <= end);
  store<u32>(at, forgetCount);
  memory.copy(at + 4, forgets, forgetCount * 8);
  return <u32>(at + 4 + forgetCount * 8 - redo);
}
function writeRun(at: usize, end: usize, from: usize, offset: u32, bytes: u32): usize {
  assert(at + 4 + bytes <= end);
  store<u16>(at, <u16>offset); store<u16>(at, <u16>bytes, 2);
  memory.copy(at + 4, from + offset, bytes);
  return at + 4 + bytes;
}
/** In the window. Applies the record; doing it twice is the same as once. False: the record contradicts itself or the slot table. */
function applyRecord(verify: bool): bool {
  let at = redo + RECORD_HEAD;
  const blocks = load<u32>(redo, RECORD_BLOCKS);
  for (let n: u32 = 0; n < blocks; n++) {
    const block = load<u32>(at), slot = load<u32>(at, 4), sum = load<u32>(at, 8), runs = load<u32>(at, 12), page = slotAddress(slot);
    at += 16;
    for (let r: u32 = 0; r < runs; r++) {
      const offset = <u32>load<u16>(at), bytes = <u32>load<u16>(at, 2);
      memory.copy(page + offset, at + 4, bytes);
      at += 4 + bytes;
    }
    if (slotBlock(slot) != block || (verify && !matches(page, blockBytes, sum))) return false;
    markDirty(slot, true, sum);
  }
  while (load<u32>(at, 4) != 0) {
    const bytes = load<u32>(at, 4);
    memory.copy(state + load<u32>(at), at + 8, bytes);
    at += 8 + bytes;
  }
  at += 8;
  const ranges = load<u32>(at);
  for (let n: u32 = 0; n < ranges; n++) {
    const start = load<u32>(at, 4), length = load<u32>(at, 8);
    for (let i: u32 = 0; i < length; i++) forgetBlock(start + i);
    at += 8;
  }
  return true;
}
/**
 * After a restart, with the slot table attached: applies a record that was committed but not finished. -EIO: the record or a slot that it
 * needs is damaged, so the state cannot be trusted and the caller starts cold.
 */
export function replay(): i32 {
  const lsn = load<u32>(state, HEADER_LSN);
  if (lsn == load<u32>(state, HEADER_APPLIED)) return 0;
  const bytes = load<u32>(redo, RECORD_BYTES), blocks = load<u32>(redo, RECORD_BLOCKS);
  if (load<u32>(redo, RECORD_LSN) != lsn || bytes > redoBytes || bytes < RECORD_HEAD || (bytes & 3) != 0 || blocks > SHADOWS) return -EIO;
  if (!matches(redo + RECORD_HEAD, bytes - RECORD_HEAD, load<u32>(redo, RECORD_CHECK) ^ lsn)) return -EIO;
  windowOpen();
  const done = reclaim() && applyRecord(true);
  if (done) store<u32>(state, lsn, HEADER_APPLIED);
  windowClose();
  if (!done) return -EIO;
  replayed++;
  return 0;
}
/** The slots that the record names must still be those blocks'. A fresh block's slot is not valid before the record is applied. */
function reclaim(): bool {
  let at = redo + RECORD_HEAD;
  const blocks = load<u32>(redo, RECORD_BLOCKS);
  for (let n: u32 = 0; n < blocks; n++) {
    const block = load<u32>(at), slot = load<u32>(at, 4), runs = load<u32>(at, 12);
    if (!adoptSlot(slot, block)) return false;
    at += 16;
    for (let r: u32 = 0; r < runs; r++) at += 4 + <u32>load<u16>(at, 2);
  }
  return true;
}

// ---- stored replies ---------------------------------------------------------------------------------------------------------------------
// {keyBadge, keySerial, keySeq, keySub, hash, status, r0, r1, r2, r3, lsn, 0 x 4, check}
const REPLY_CHECK: u32 = 60;
const replyBuffer: usize = memory.data(64, 8);
function storeReply(op: Op, status: i32): void {
  const p = replyBuffer, lsn = load<u32>(state, HEADER_LSN) + 1;
  store<u32>(p, op.keyBadge); store<u32>(p, op.keySerial, 4); store<u32>(p, op.keySeq, 8); store<u32>(p, op.keySub, 12);
  store<u32>(p, op.hash, 16); store<i32>(p, status, 20);
  store<u32>(p, op.r0, 24); store<u32>(p, op.r1, 28); store<u32>(p, op.r2, 32); store<u32>(p, op.r3, 36); store<u32>(p, lsn, 40);
  store<u32>(p, checksum(p, REPLY_CHECK), REPLY_CHECK);
  // Two generations for each ring slot: a slot is used again only after the client took the reply, the older half is for late re-execution.
  editState(<u32>(replies - state) + ((op.ringSlot & 63) + ((lsn & 1) << 6)) * REPLY_BYTES, p, REPLY_BYTES);
  op.stored = true;
}
/** 1: this very request was committed before; its results are in op, its status in `storedStatus`. 0: new. -1: same key, other request. -2: it was, but its results are damaged. */
export let storedStatus: i32 = 0;
export function storedReply(op: Op): i32 {
  if ((op.keySerial | op.keySeq) == 0) return 0;
  for (let n: u32 = 0; n < REPLIES; n++) {
    const p = replies + <usize>n * REPLY_BYTES;
    if (load<u32>(p, 8) != op.keySeq || load<u32>(p, 4) != op.keySerial || load<u32>(p) != op.keyBadge || load<u32>(p, 12) != op.keySub) continue;
    if (load<u32>(p, REPLY_CHECK) != checksum(p, REPLY_CHECK)) return -2;
    if (load<u32>(p, 16) != op.hash) return -1;
    storedStatus = load<i32>(p, 20);
    op.r0 = load<u32>(p, 24); op.r1 = load<u32>(p, 28); op.r2 = load<u32>(p, 32); op.r3 = load<u32>(p, 36);
    return 1;
  }
  return 0;
}
/** Transactions in work: 0 or 1. For the tests. */
export function transactionOpen(): bool { return owner != 0; }
