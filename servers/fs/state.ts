/**
 * The state Frames of fs: what survives the server's own death. Written only inside `window`.
 *
 *   0      header: magic, version, shape (block size, slots, cache bytes), volume summary, lsn, applied; the device as its driver described it; at 1024
 *          the superblock as it was at mount, for its geometry: a successor need not wait for the disk before it serves
 *   4096   open files: FILES x {id, inode, 0, check}
 *   20480  replies: REPLIES x 64 bytes, the results of requests already committed (exactly once)
 *   28672  slots: one 16-byte entry for each cache slot {block, flags, sum, check}
 *   ...    redo record: the transaction being applied (transaction.ts)
 *
 * Commit: everything of a transaction is written to the redo record, then `lsn`: that one store is the commit. Then it is applied and
 * `applied = lsn`. `attach` replays when lsn != applied. All checks cover the record they stand in.
 */
import { checksum } from '../lib/checksum';

export const STATE_MAGIC: u32 = 0x46533035; // "FS05": raise with the layout
export const FILES: u32 = 1024;
export const FILE_BYTES: u32 = 16;
export const REPLIES: u32 = 128;
export const REPLY_BYTES: u32 = 64;
export const SLOT_BYTES: u32 = 16;

export const HEADER_MAGIC: u32 = 0;
export const HEADER_BLOCK_SIZE: u32 = 4;
export const HEADER_SLOTS: u32 = 8;
export const HEADER_CACHE_BYTES: u32 = 12;
export const HEADER_SHAPE_CHECK: u32 = 16; // checksum of the 16 bytes before
export const HEADER_LSN: u32 = 20;
export const HEADER_APPLIED: u32 = 24;
export const HEADER_KEEP_DIRTY: u32 = 28; // 1: the volume was not clean when it was mounted; sync must not call it clean
export const HEADER_RESTARTS: u32 = 32;
export const HEADER_READONLY: u32 = 36;
export const HEADER_DOUBT: u32 = 40; // seconds since 1970 when an incarnation last died because it did not believe an error of its own (main.ts); 0 = never
const HEADER_DEVICE: u32 = 64; // bytes (u64), read-only, most sectors in a transfer, 0, check of these 20 bytes
const HEADER_SUPERBLOCK_CHECK: u32 = 96;
const HEADER_SUPERBLOCK: u32 = 1024;
export const SUPERBLOCK_BYTES: u32 = 1024;
export const HEADER_FIRST_FILE: u32 = 4096;

export let state: usize = 0;
export let stateBytes: u32 = 0;
export let files: usize = 0;
export let replies: usize = 0;
export let slotTable: usize = 0;
export let redo: usize = 0;
export let redoBytes: u32 = 0;

const FIRST_SLOT: u32 = 28672;
const MIN_REDO: u32 = 360 * 1024; // 64 blocks of 4 KiB, every second word changed, with room for heads

export function stateAt(at: usize, bytes: u32): void { state = at; stateBytes = bytes; files = at + HEADER_FIRST_FILE; replies = at + 20480; slotTable = at + FIRST_SLOT; }
/** How many cache slots the state has room for. */
export function slotRoom(): u32 { return stateBytes < FIRST_SLOT + MIN_REDO ? 0 : (stateBytes - FIRST_SLOT - MIN_REDO) / SLOT_BYTES; }
export function placeRedo(slots: u32): void {
  redo = slotTable + <usize>slots * SLOT_BYTES;
  redoBytes = stateBytes - FIRST_SLOT - slots * SLOT_BYTES;
}
/** True when a previous incarnation left a state of this very shape. */
export function hasState(blockSize: u32, slots: u32, cacheBytes: u32): bool {
  return load<u32>(state, HEADER_MAGIC) == STATE_MAGIC && load<u32>(state, HEADER_BLOCK_SIZE) == blockSize && load<u32>(state, HEADER_SLOTS) == slots
    && load<u32>(state, HEADER_CACHE_BYTES) == cacheBytes && load<u32>(state, HEADER_SHAPE_CHECK) == checksum(state, 16);
}
/** In the window: for successors. `superblock` as read from the device. */
export function rememberSuperblock(superblock: usize): void {
  memory.copy(state + HEADER_SUPERBLOCK, superblock, SUPERBLOCK_BYTES);
  store<u32>(state, checksum(state + HEADER_SUPERBLOCK, SUPERBLOCK_BYTES), HEADER_SUPERBLOCK_CHECK);
}
/** The superblock that a predecessor mounted; 0 = there is none, or it is damaged. */
export function rememberedSuperblock(): usize {
  if (load<u32>(state) != STATE_MAGIC) return 0;
  return load<u32>(state, HEADER_SUPERBLOCK_CHECK) == checksum(state + HEADER_SUPERBLOCK, SUPERBLOCK_BYTES) ? state + HEADER_SUPERBLOCK : 0;
}
/** In the window: what the driver said of the device. */
export function rememberDevice(bytes: u64, readOnly: bool, maxSectors: u32): void {
  const p = state + HEADER_DEVICE;
  store<u64>(p, bytes); store<u32>(p, readOnly ? 1 : 0, 8); store<u32>(p, maxSectors, 12); store<u32>(p, 0, 16);
  store<u32>(p, checksum(p, 20), 20);
}
/** {bytes u64, read-only, most sectors in a transfer} as a predecessor heard of it; 0 = not known, or damaged. */
export function rememberedDevice(): usize {
  const p = state + HEADER_DEVICE;
  return load<u32>(state) == STATE_MAGIC && load<u64>(p) != 0 && load<u32>(p, 20) == checksum(p, 20) ? p : 0;
}
/** In the window. Forgets everything; the magic comes last. */
export function formatState(blockSize: u32, slots: u32, cacheBytes: u32): void {
  store<u32>(state, 0, HEADER_MAGIC);
  memory.fill(state, 0, FIRST_SLOT + slots * SLOT_BYTES);
  store<u32>(state, blockSize, HEADER_BLOCK_SIZE); store<u32>(state, slots, HEADER_SLOTS); store<u32>(state, cacheBytes, HEADER_CACHE_BYTES);
  store<u32>(state, STATE_MAGIC, HEADER_MAGIC);
  store<u32>(state, checksum(state, 16), HEADER_SHAPE_CHECK);
}
