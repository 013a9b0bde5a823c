/**
 * Mount, attach after a restart, sync: the life of the volume as a whole.
 *
 * The volume on the disk is marked clean whenever everything has been written (sync), and marked in use again before the first change after
 * that, so "power off" needs nothing but a sync. A volume that was not clean when it was mounted, or has errors recorded, is never called
 * clean by us: e2fsck decides.
 */
import { EXT2_STATE_VALID, EXT2_SUPERBLOCK_STATE, EXT2_SUPERBLOCK_WRITE_TIME, EXT2_SUPERBLOCK_MOUNT_TIME } from 'kintsugi/protocols';
import { cacheAttach, cacheInit, dirtySlots, find, flushDevice, probe, probeStatus, writeAll, writeNow } from './cache';
import { EIO, EROFS } from '../lib/errno';
import { reapOrphans } from './files';
import { now, setDeviceShift, windowClose, windowOpen } from './host';
import { Op } from './op';
import { HEADER_KEEP_DIRTY, HEADER_RESTARTS, SUPERBLOCK_BYTES, formatState, hasState, placeRedo, rememberSuperblock, rememberedSuperblock, slotRoom, state, stateAt } from './state';
import { abort, begin, commit, commitStep, replay, transactionInit } from './transaction';
import { REFUSED_DEVICE, REFUSED_MEMORY, blockShift, blockSize, blocks, editSuperblock, firstDataBlock, readDescriptors, readOnly, readSuperblock, setReadOnly, setUnclean, superblock, superblockBlock, unclean } from './volume';

/** How `mount` found the state: 0 fresh, 1 taken over from a dead incarnation, 2 given up because it was damaged. */
export let attached: u32 = 0;
export let orphansFreed: u32 = 0;
const PROBE_BYTES: u32 = 4096; // the end of the cache Frames: where the superblock is read before the block size is known

function slotsFor(cacheBytes: u32): u32 {
  const slots = (cacheBytes - PROBE_BYTES) >> blockShift;
  return slots > slotRoom() ? slotRoom() : slots;
}
/**
 * (pauses) Mounts the volume of a device of `deviceBytes`, with state and cache Frames at the given places (a previous incarnation's are
 * taken over). 0 or REFUSED_*.
 */
export function mount(deviceBytes: u64, deviceReadOnly: bool, stateVa: usize, stateBytes: u32, cacheVa: usize, cacheBytes: u32): i32 {
  stateAt(stateVa, stateBytes);
  const remembered = rememberedSuperblock(), onDisk = cacheVa + cacheBytes - PROBE_BYTES;
  let slots: u32 = 0;
  if (remembered != 0 && readSuperblock(remembered, deviceBytes) == 0) slots = slotsFor(cacheBytes);
  const ask = slots == 0 || !hasState(blockSize, slots, cacheBytes);
  if (ask) {
    setDeviceShift(10);
    if (deviceBytes < 4096 || !probe(1, (cacheBytes - PROBE_BYTES) >> 10) || probeStatus != 0) return REFUSED_DEVICE;
    const refused = readSuperblock(onDisk, deviceBytes);
    if (refused != 0) return refused;
    slots = slotsFor(cacheBytes);
  }
  setDeviceShift(blockShift);
  if (slots < 256) return REFUSED_MEMORY;
  placeRedo(slots);
  if (!cacheInit(cacheVa, blockShift, slots) || !transactionInit(blockSize, firstDataBlock, blocks)) return REFUSED_MEMORY;
  attached = 0;
  if (hasState(blockSize, slots, cacheBytes)) {
    attached = 1;
    cacheAttach();
    if (replay() < 0) { attached = 2; cacheInit(cacheVa, blockShift, slots); }
  }
  windowOpen();
  if (attached == 1) {
    setUnclean(load<u32>(state, HEADER_KEEP_DIRTY) != 0);
    store<u32>(state, load<u32>(state, HEADER_RESTARTS) + 1, HEADER_RESTARTS);
  } else {
    if (!ask) memory.copy(onDisk, remembered, SUPERBLOCK_BYTES);
    formatState(blockSize, slots, cacheBytes);
    rememberSuperblock(onDisk);
    if (attached == 2) setUnclean(true);
    store<u32>(state, unclean ? 1 : 0, HEADER_KEEP_DIRTY);
  }
  windowClose();
  if (deviceReadOnly) setReadOnly();
  const bad = readDescriptors();
  if (bad != 0) return bad;
  if (!readOnly) orphansFreed = reapOrphans();
  return 0;
}

/** (pauses) `begin` for operations that change the volume. 0, -EROFS, -EIO (then nothing is held). */
export function beginChange(): i32 {
  if (readOnly) return -EROFS;
  begin();
  const sb = superblock();
  if (sb == 0) { abort(); return -EIO; }
  if ((<u32>load<u16>(sb, EXT2_SUPERBLOCK_STATE) & EXT2_STATE_VALID) == 0) return 0;
  const p = editSuperblock();
  if (p == 0) { abort(); return -EIO; }
  store<u16>(p, load<u16>(p, EXT2_SUPERBLOCK_STATE) & ~<u16>EXT2_STATE_VALID, EXT2_SUPERBLOCK_STATE);
  store<u32>(p, now(), EXT2_SUPERBLOCK_MOUNT_TIME);
  commitStep(null, 0);
  if (writeNow(find(superblockBlock())) < 0) { abort(); return -EIO; }
  return 0;
}
/** (pauses) Everything to the medium; the volume is marked clean if it was. */
export function sync(op: Op | null): i32 {
  if (readOnly) return 0;
  begin();
  const sb = superblock();
  if (sb == 0) { abort(); return -EIO; }
  const marked = (<u32>load<u16>(sb, EXT2_SUPERBLOCK_STATE) & EXT2_STATE_VALID) != 0;
  if (marked && dirtySlots == 0) { commit(op, 0); return 0; }
  let status = writeAll();
  if (status == 0) status = flushDevice();
  if (status == 0 && !unclean) {
    const p = editSuperblock();
    if (p == 0) { abort(); return -EIO; }
    store<u16>(p, load<u16>(p, EXT2_SUPERBLOCK_STATE) | <u16>EXT2_STATE_VALID, EXT2_SUPERBLOCK_STATE);
    store<u32>(p, now(), EXT2_SUPERBLOCK_WRITE_TIME);
    commitStep(null, 0);
    status = writeNow(find(superblockBlock()));
    if (status == 0) status = flushDevice();
  }
  commit(status == 0 ? op : null, status);
  return status;
}
