/**
 * Write-back block cache. Data pages are DMA Frames: the device fills them, `window`ed copies change them, nothing else can. Slot s holds
 * one file system block at slotAddress(s); which block, and whether it is valid, dirty or metadata, stands in the slot table of the state
 * (state.ts), so that dirty data survives the server. Hash chains, pins and transfers in progress are private and rebuilt by `cacheAttach`.
 *
 *   slot: free -> claimed (hashed, not valid) -> reading -> valid <-> dirty -> writing -> valid -> evicted (CLOCK)
 *
 * Invariants (`cacheCheck`): a block is in at most one slot; a slot with a transfer (`io`) or pins keeps its block; at most one write per
 * block is outstanding; META slots carry the checksum of their content, verified once in each request that uses them.
 * A pointer from slotAddress is good until the next `pause`, unless the slot is pinned. Every function marked (pauses) may pause.
 */
import { checksum, matches } from '../lib/checksum';
import { DEVICE_FLUSH, DEVICE_READ, DEVICE_WRITE, pause, reserve, submit, windowClose, windowOpen } from './host';
import { SLOT_BYTES, slotTable } from './state';
import { EIO } from '../lib/errno';

// Slot table entry (state)
const BLOCK: u32 = 0, FLAGS: u32 = 4, SUM: u32 = 8, CHECK: u32 = 12;
export const VALID: u32 = 1;
export const DIRTY: u32 = 2;
export const META: u32 = 4;

/** Private half of a slot. */
@unmanaged @final class Slot {
  next: u32; // hash chain, slot + 1, 0 = end
  block: u32; // whose slot this is; the table follows when its content changes (STALE)
  verified: u32; // request serial in which the checksum was last verified
  pins: u16;
  io: u8; // 0, DEVICE_READ, DEVICE_WRITE
  bits: u8; // REFERENCED, REDIRTIED, HASHED, STALE, DOUBLE
}
const SLOT_PRIVATE: usize = 16;
const REFERENCED: u8 = 1;
const REDIRTIED: u8 = 2; // changed while a write was outstanding
const HASHED: u8 = 4;
const STALE: u8 = 8; // claimed, but the table still tells (rightly) what the page held before: nothing was written to the page yet
const DOUBLE: u8 = 16; // attach only: another slot says it holds the same block

let pages: usize = 0;
let blockShift: u32 = 0;
let slots: u32 = 0;
let table: usize = 0; // private slots
let buckets: usize = 0;
let bucketMask: u32 = 0;
let hand: u32 = 0;
let serial: u32 = 1;
/** Dirty slots, outstanding transfers: for write-back and sync. */
export let dirtySlots: u32 = 0;
export let transfers: u32 = 0;
/** Counters for the log and the tests: hits, blocks read and written, checksum failures, slots dropped at attach. */
export let readBlocks: u32 = 0;
export let writtenBlocks: u32 = 0;
export let checksumFailures: u32 = 0;
export let droppedSlots: u32 = 0;
/** Writes that the device refused: the data stays dirty; sync reports EIO. */
export let writeErrors: u32 = 0;
/** Reads that the device refused. */
export let readErrors: u32 = 0;

/** Transfers under way at most, give or take one for each fiber: bounds the device layer's queue. */
export const MAX_TRANSFERS: u32 = 1024;
let maxRun: u32 = 256; // blocks in one device request
export function setMaxRun(blocks: u32): void { maxRun = blocks == 0 ? 1 : blocks > 256 ? 256 : blocks; }

/** Log2 of block size; how many slots are there. */
export function cacheSlots(): u32 { return slots; }
export function slotAddress(slot: u32): usize { return pages + (<usize>slot << blockShift); }
function slotOf(slot: u32): Slot { return changetype<Slot>(table + <usize>slot * SLOT_PRIVATE); }
function entry(slot: u32): usize { return slotTable + <usize>slot * SLOT_BYTES; }
function seal(e: usize): void { store<u32>(e, (load<u32>(e, BLOCK) * 0x9e3779b1) ^ (load<u32>(e, FLAGS) * 0x85ebca6b) ^ load<u32>(e, SUM) ^ 0x5f534c54, CHECK); }
function sealed(e: usize): bool { return load<u32>(e, CHECK) == ((load<u32>(e, BLOCK) * 0x9e3779b1) ^ (load<u32>(e, FLAGS) * 0x85ebca6b) ^ load<u32>(e, SUM) ^ 0x5f534c54); }
export function slotBlock(slot: u32): u32 { return slotOf(slot).block; }
export function slotFlags(slot: u32): u32 { return (slotOf(slot).bits & STALE) != 0 ? 0 : load<u32>(entry(slot), FLAGS); }
/** In the window. */
function setEntry(slot: u32, block: u32, flags: u32, sum: u32): void {
  const e = entry(slot), before = load<u32>(e, FLAGS);
  if ((before & DIRTY) != 0) dirtySlots--;
  if ((flags & DIRTY) != 0) dirtySlots++;
  store<u32>(e, block, BLOCK); store<u32>(e, flags, FLAGS); store<u32>(e, sum, SUM);
  seal(e);
  slotOf(slot).bits &= ~STALE;
}
/** In the window, before the page of a claimed slot changes: the table no longer says that it holds its former block. */
export function prepare(slot: u32): void { if ((slotOf(slot).bits & STALE) != 0) setEntry(slot, slotOf(slot).block, 0, 0); }

/** Private tables for `count` slots at `at`. False: not enough private memory. */
export function cacheInit(at: usize, shift: u32, count: u32): bool {
  const again = table != 0 && slots == count;
  pages = at; blockShift = shift; slots = count;
  bucketMask = 1;
  while (bucketMask < count) bucketMask <<= 1;
  if (again) {
    memory.fill(table, 0, <usize>count * SLOT_PRIVATE);
    memory.fill(buckets, 0, <usize>bucketMask << 2);
  } else {
    table = reserve(<usize>count * SLOT_PRIVATE);
    buckets = reserve(<usize>bucketMask << 2);
  }
  if (table == 0 || buckets == 0) return false;
  bucketMask--;
  dirtySlots = 0; transfers = 0; hand = 0;
  return true;
}
/**
 * Takes over the slots of a previous incarnation; entries that fail their check are dropped and counted. Two slots for one block come from a
 * claim whose table entry was stale at death: the dirty one is right; if both are clean the disk is right, and neither is kept.
 */
export function cacheAttach(): void {
  windowOpen();
  let doubles: u32 = 0;
  const end = entry(slots);
  for (let e = entry(0); e < end; e += SLOT_BYTES) {
    const flags = load<u32>(e, FLAGS), block = load<u32>(e, BLOCK);
    if ((flags | block) == 0) continue;
    const s = <u32>(e - slotTable) / SLOT_BYTES;
    const other = find(block);
    let keep = sealed(e) && (flags & VALID) != 0;
    if (!keep && (flags & VALID) != 0) droppedSlots++;
    if (keep && other >= 0) {
      if ((flags & DIRTY) != 0) discard(other);
      else { keep = false; if ((load<u32>(entry(other), FLAGS) & DIRTY) == 0) { slotOf(other).bits |= DOUBLE; doubles++; } }
    }
    if (!keep) { memory.fill(e, 0, SLOT_BYTES); continue; }
    if ((flags & DIRTY) != 0) dirtySlots++;
    slotOf(s).block = block;
    hashIn(s, block);
  }
  if (doubles != 0) for (let s: u32 = 0; s < slots; s++) if ((slotOf(s).bits & DOUBLE) != 0) discard(s);
  windowClose();
}
/** In the window. */
function discard(slot: u32): void {
  hashOut(slot);
  setEntry(slot, 0, 0, 0);
  slotOf(slot).block = 0; slotOf(slot).bits = 0;
}
/** In the window, while a committed record is replayed: slot `slot` must be, or may become again, the one of `block`. */
export function adoptSlot(slot: u32, block: u32): bool {
  if (slot >= slots) return false;
  const have = find(block);
  if (have >= 0) return <u32>have == slot;
  if (slotFlags(slot) != 0) return false;
  setEntry(slot, block, 0, 0);
  slotOf(slot).block = block;
  hashIn(slot, block);
  return true;
}

/** Checksum of a META slot's content. */
export function slotSum(slot: u32): u32 { return load<u32>(entry(slot), SUM); }

// ---- hash -------------------------------------------------------------------------------------------------------------------------------
function bucket(block: u32): usize { return buckets + (<usize>((block * 0x9e3779b1) >> 7 & bucketMask) << 2); }
/** The slot that holds (or is about to hold) the block, or -1. */
export function find(block: u32): i32 {
  let s = load<u32>(bucket(block));
  while (s != 0) {
    if (slotBlock(s - 1) == block) return <i32>(s - 1);
    s = slotOf(s - 1).next;
  }
  return -1;
}
function hashIn(slot: u32, block: u32): void {
  const b = bucket(block), p = slotOf(slot);
  p.next = load<u32>(b);
  p.bits |= HASHED;
  store<u32>(b, slot + 1);
}
function hashOut(slot: u32): void {
  const p = slotOf(slot);
  if ((p.bits & HASHED) == 0) return;
  let link = bucket(slotBlock(slot));
  while (load<u32>(link) != 0) {
    const s = load<u32>(link) - 1;
    if (s == slot) { store<u32>(link, p.next); break; }
    link = changetype<usize>(slotOf(s));
  }
  p.next = 0;
  p.bits &= ~HASHED;
}

// ---- claiming slots ---------------------------------------------------------------------------------------------------------------------
export function newRequest(): void { serial++; }
export function pin(slot: u32): void { const p = slotOf(slot); p.pins++; }
export function unpin(slot: u32): void { const p = slotOf(slot); p.pins--; }

function evictable(slot: u32): bool {
  const p = slotOf(slot);
  return p.pins == 0 && p.io == 0 && (slotFlags(slot) & DIRTY) == 0;
}
/** Gives an evictable slot to a block. Its content is not valid yet; the table does not know yet (`prepare`). */
function claim(slot: u32, block: u32): void {
  if (find(block) >= 0) unreachable(); // whoever looked for it is not to be trusted: two slots of one block are two truths
  hashOut(slot);
  const p = slotOf(slot);
  p.block = block; p.bits = REFERENCED | STALE; p.verified = 0;
  hashIn(slot, block);
}
/** The device fills `count` claimed slots. */
function startRead(first: u32, count: u32): void {
  windowOpen();
  for (let i: u32 = 0; i < count; i++) { prepare(first + i); slotOf(first + i).io = <u8>DEVICE_READ; }
  windowClose();
  transfers++; readBlocks += count;
  submit(DEVICE_READ, slotBlock(first), count, first);
}
/** CLOCK: a slot that may be evicted, or -1 when a whole sweep found none. Starts write-back of dirty slots that it passes. */
function sweep(): i32 {
  for (let n: u32 = 0; n < slots * 2; n++) {
    const s = hand, p = slotOf(s);
    hand = s + 1 == slots ? 0 : s + 1;
    if (p.pins != 0 || p.io != 0) continue;
    if ((p.bits & REFERENCED) != 0) { p.bits &= ~REFERENCED; continue; }
    if ((slotFlags(s) & DIRTY) != 0) { if (transfers < MAX_TRANSFERS) writeRun(s); continue; }
    return <i32>s;
  }
  return -1;
}
/**
 * (pauses) The slot of `block`, no read going on into it: the one it has, or a fresh claim whose content is not valid. -EIO when nothing can be evicted (every slot
 * is pinned or cannot be written).
 */
export function take(block: u32): i32 {
  for (let tries = 0; tries < 64; tries++) {
    const have = find(block);
    if (have >= 0) {
      if (slotOf(have).io == <u8>DEVICE_READ) { pause(); continue; } // a speculative read: it would overwrite what the caller puts there
      slotOf(have).bits |= REFERENCED;
      return have;
    }
    const s = sweep();
    if (s >= 0) { claim(s, block); return s; }
    if (transfers == 0) return -EIO;
    pause();
  }
  return -EIO;
}

// ---- reading ----------------------------------------------------------------------------------------------------------------------------
/**
 * Starts reading the blocks of [block, block + count) that are not cached, in as few transfers as possible. Does not wait; stops early
 * rather than wait for a slot. May be asked for blocks on suspicion: any block of the volume may be cached.
 */
export function prefetch(block: u32, count: u32): void {
  let i: u32 = 0;
  while (i < count && transfers < MAX_TRANSFERS) {
    if (find(block + i) >= 0) { i++; continue; }
    const first = sweep();
    if (first < 0) return;
    claim(first, block + i);
    let run: u32 = 1;
    // Extend into the slots behind, as long as they may be evicted and the blocks are missing.
    while (run < maxRun && i + run < count && <u32>first + run < slots) {
      const s = <u32>first + run, p = slotOf(s);
      if (!evictable(s) || (p.bits & REFERENCED) != 0 || find(block + i + run) >= 0) break;
      claim(s, block + i + run);
      run++;
    }
    hand = <u32>first + run >= slots ? 0 : <u32>first + run;
    startRead(first, run);
    i += run;
  }
}
/** (pauses) The slot of `block` with valid content, or -EIO. */
export function read(block: u32): i32 {
  for (let tries = 0; tries < 3; tries++) {
    let s = find(block);
    if (s < 0) {
      s = take(block); // may pause: somebody else may have started the read by now
      if (s < 0) return s;
    }
    if ((slotFlags(s) & VALID) == 0 && slotOf(s).io == 0) startRead(s, 1);
    while (s >= 0 && slotOf(s).io == <u8>DEVICE_READ) { pause(); s = find(block); }
    if (s >= 0 && (slotFlags(s) & VALID) != 0) { slotOf(s).bits |= REFERENCED; return s; }
    // The read failed (completed() let the slot go), or the slot was evicted before this fiber ran again.
  }
  return -EIO;
}
/** True when the block can be used without waiting. */
export function ready(slot: u32): bool { return (slotFlags(slot) & VALID) != 0 && slotOf(slot).io != <u8>DEVICE_READ; }

/** (pauses) Waits until the device writes no longer into the slot (another request, or a lie in the map, may have asked for its block). */
export function settle(slot: u32): void { while (slotOf(slot).io == <u8>DEVICE_READ) pause(); }

/** (pauses) The slot of a metadata block, content verified against its checksum in this request, or -EIO. */
export function readMeta(block: u32): i32 {
  const s = read(block);
  if (s < 0) return s;
  const p = slotOf(s), flags = slotFlags(s);
  if ((flags & META) == 0) { // first use since it came from the disk
    windowOpen();
    setEntry(s, block, flags | META, checksum(slotAddress(s), 1 << blockShift));
    windowClose();
    p.verified = serial;
  } else if (p.verified != serial) {
    if (!matches(slotAddress(s), 1 << blockShift, load<u32>(entry(s), SUM))) {
      checksumFailures++;
      if ((flags & DIRTY) != 0 || p.pins != 0 || p.io != 0) return -EIO; // the only copy is damaged
      drop(s); // the disk still has it
      return readMetaAgain(block);
    }
    p.verified = serial;
  }
  return s;
}
function readMetaAgain(block: u32): i32 {
  const s = read(block);
  if (s < 0) return s;
  windowOpen();
  setEntry(s, block, slotFlags(s) | META, checksum(slotAddress(s), 1 << blockShift));
  windowClose();
  slotOf(s).verified = serial;
  return s;
}

// ---- changing (all in the window) -------------------------------------------------------------------------------------------------------
/** The content of a slot was changed (`prepare` came before). `sum` counts for metadata. */
export function markDirty(slot: u32, meta: bool, sum: u32): void {
  const p = slotOf(slot);
  if (p.io == <u8>DEVICE_WRITE) p.bits |= REDIRTIED;
  p.bits |= REFERENCED;
  if (meta) p.verified = serial;
  setEntry(slot, slotBlock(slot), VALID | DIRTY | (meta ? META : 0), sum);
}
/** In the window. Forgets a block whose content no longer counts (it was freed, or its claim was aborted). */
export function forgetBlock(block: u32): void {
  const s = find(block);
  if (s < 0) return;
  const p = slotOf(s);
  if (p.io == 0 && p.pins == 0) { discard(s); return; }
  setEntry(s, block, slotFlags(s) & VALID, 0); // somebody keeps the slot; what is left behind is unimportant, but no longer metadata
  p.bits &= ~REDIRTIED;
}
/** The same, not in the window. */
export function forget(block: u32): void {
  if (find(block) < 0) return;
  windowOpen();
  forgetBlock(block);
  windowClose();
}
function drop(slot: u32): void {
  windowOpen();
  discard(slot);
  windowClose();
}

// ---- write-back -------------------------------------------------------------------------------------------------------------------------
function writable(slot: u32): bool { return slotOf(slot).io == 0 && slotOf(slot).pins == 0 && (slotFlags(slot) & DIRTY) != 0; }
/** Starts one write around a dirty slot: neighbours in the cache that are neighbours on the disk go along. */
function writeRun(slot: u32): void {
  let first = slot, run: u32 = 1;
  while (first > 0 && run < maxRun && slotBlock(first - 1) + 1 == slotBlock(first) && writable(first - 1)) { first--; run++; }
  while (run < maxRun && first + run < slots && slotBlock(first + run) == slotBlock(first) + run && writable(first + run)) run++;
  for (let i: u32 = 0; i < run; i++) { const p = slotOf(first + i); p.io = <u8>DEVICE_WRITE; p.bits &= ~REDIRTIED; }
  transfers++; writtenBlocks += run;
  submit(DEVICE_WRITE, slotBlock(first), run, first);
}
/** Starts writing dirty slots, at most `limit` transfers. */
export function writeBack(limit: u32): void {
  for (let s: u32 = 0; s < slots && dirtySlots != 0 && transfers < MAX_TRANSFERS; s++) {
    if (!writable(s)) continue;
    writeRun(s);
    if (--limit == 0) return;
  }
}
/** (pauses) Writes everything that is dirty now. The caller keeps writers out. -EIO when the device refused something. */
export function writeAll(): i32 {
  const errors = writeErrors;
  for (let s: u32 = 0; s < slots; s++) {
    if ((slotFlags(s) & DIRTY) == 0) continue;
    while (slotOf(s).io != 0 || transfers >= MAX_TRANSFERS) pause();
    if (writable(s)) writeRun(s);
  }
  while (transfers != 0) pause();
  return writeErrors != errors || dirtySlots != 0 ? -EIO : 0;
}
/** (pauses) Writes one slot and waits for it. */
export function writeNow(slot: u32): i32 {
  pin(slot);
  while (slotOf(slot).io != 0) pause();
  unpin(slot);
  const errors = writeErrors;
  if ((slotFlags(slot) & DIRTY) == 0) return 0;
  writeRun(slot);
  while (slotOf(slot).io != 0) pause();
  return writeErrors != errors ? -EIO : 0;
}

export let probing: bool = false;
export let probeStatus: i32 = 0;
/** (pauses) Before the cache exists: reads one block to a place of the cache Frames, in units of host.deviceShift. True (probeStatus counts). */
export function probe(block: u32, slot: u32): bool {
  probing = true; probeStatus = -EIO;
  transfers = 1;
  submit(DEVICE_READ, block, 1, slot);
  while (probing) pause();
  return true;
}
let flushing: bool = false;
let flushStatus: i32 = 0;
/** (pauses) What the device has acknowledged is on the medium afterwards. One at a time: the caller holds the transaction. */
export function flushDevice(): i32 {
  flushing = true;
  transfers++;
  submit(DEVICE_FLUSH, 0, 0, 0);
  while (flushing) pause();
  return flushStatus == 0 ? 0 : -EIO;
}
/** A transfer ended: called by the device layer, outside the window. `status` 0 = done. */
export function completed(first: u32, count: u32, operation: u32, status: i32): void {
  transfers--;
  if (probing) { probing = false; probeStatus = status; return; }
  if (operation == DEVICE_FLUSH) { flushing = false; flushStatus = status; return; }
  if (operation == DEVICE_READ && status != 0) {
    readErrors++;
    for (let i: u32 = 0; i < count; i++) { const p = slotOf(first + i); p.io = 0; if (p.pins == 0) drop(first + i); }
    return;
  }
  if (status != 0) writeErrors++;
  windowOpen();
  for (let i: u32 = 0; i < count; i++) {
    const s = first + i, p = slotOf(s);
    p.io = 0;
    if (operation == DEVICE_READ) setEntry(s, slotBlock(s), VALID, 0);
    else if (status == 0 && (p.bits & REDIRTIED) == 0) setEntry(s, slotBlock(s), slotFlags(s) & ~DIRTY, load<u32>(entry(s), SUM));
  }
  windowClose();
}

/** What must always hold; the number of violations (tests call it after every operation). */
export function cacheCheck(): u32 {
  let bad: u32 = 0, dirty: u32 = 0;
  for (let s: u32 = 0; s < slots; s++) {
    const p = slotOf(s), flags = slotFlags(s);
    if ((flags & DIRTY) != 0) { dirty++; if ((flags & VALID) == 0) bad++; }
    if ((p.bits & HASHED) != 0 && find(slotBlock(s)) != <i32>s) bad++;
    if ((flags & VALID) != 0 && (p.bits & HASHED) == 0) bad++;
    if ((flags & META) != 0 && p.io != <u8>DEVICE_READ && checksum(slotAddress(s), 1 << blockShift) != load<u32>(entry(s), SUM)) bad++;
  }
  if (dirty != dirtySlots) bad++;
  return bad;
}
/** Pins held at the moment: 0 between requests. */
export function pinsHeld(): u32 {
  let n: u32 = 0;
  for (let s: u32 = 0; s < slots; s++) n += slotOf(s).pins;
  return n;
}
