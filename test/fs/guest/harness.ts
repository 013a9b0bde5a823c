/**
 * The file server's core as wasm in Node: one request at a time, a disk that answers at once (host imports `device.*`), no fibers.
 * Memory as laid out by test/fs/machine.ts: state, cache and shared area lie where a second instance can take them over.
 */
import { cacheCheck, checksumFailures, completed, dirtySlots, droppedSlots, pinsHeld, readBlocks, writtenBlocks } from '../../../servers/fs/cache';
import { oddFrees } from '../../../servers/fs/alloc';
import { deviceShift, privateMemory, setCurrent, setHost } from '../../../servers/fs/host';
import { attached, mount, orphansFreed } from '../../../servers/fs/mount';
import { newOp, Op } from '../../../servers/fs/op';
import { serve, serviceInit } from '../../../servers/fs/service';
import { commits, replayed, transactionOpen } from '../../../servers/fs/transaction';
import { readOnly, unclean, unknownFeatures } from '../../../servers/fs/volume';
import { pause, windowOpen, windowClose, submit, clock } from './device';

let op: Op = changetype<Op>(0);

function devicePause(): void { pause(); }
function deviceOpen(): void { windowOpen(); }
function deviceClose(): void { windowClose(); }
function deviceSubmit(operation: u32, block: u32, count: u32, slot: u32): void {
  const status = submit(operation, block << (deviceShift - 9), count << (deviceShift - 9), slot << deviceShift);
  if (status == PENDING) return;
  completed(slot, count, operation, status);
}
/** What `submit` answers when the transfer ends later: the host calls `complete` then. */
const PENDING: i32 = -1;
export function shift(): u32 { return deviceShift; }
export function complete(slot: u32, count: u32, operation: u32, status: i32): void { completed(slot, count, operation, status); }
/** Several requests at a time (the host's stacks are the fibers): each has an Op of its own. */
export function opNew(): usize { return changetype<usize>(newOp()); }
export function requestOn(at: usize, code: u32, ringSlot: u32, keySeq: u32, a0: u32, a1: u32, a2: u32, a3: u32, a4: u32, a5: u32): i32 {
  const o = changetype<Op>(at);
  o.code = code; o.ringSlot = ringSlot; o.keyBadge = ringSlot; o.keySerial = 7; o.keySeq = keySeq; o.keySub = 0;
  o.a0 = a0; o.a1 = a1; o.a2 = a2; o.a3 = a3; o.a4 = a4; o.a5 = a5;
  setCurrent(at);
  return serve(o);
}
export function resultOf(at: usize, n: u32): u32 { const o = changetype<Op>(at); return n == 0 ? o.r0 : n == 1 ? o.r1 : n == 2 ? o.r2 : o.r3; }
function deviceClock(): u32 { return clock(); }

export function start(deviceBytes: f64, readonly: bool, heap: usize, heapBytes: u32, state: usize, stateBytes: u32, cache: usize, cacheBytes: u32, shared: usize, sharedBytes: u32): i32 {
  setHost(devicePause, deviceOpen, deviceClose, deviceSubmit, deviceClock);
  memory.fill(heap, 0, heapBytes); // as a new incarnation's is
  privateMemory(heap, heapBytes);
  op = newOp();
  setCurrent(changetype<usize>(op));
  serviceInit(shared, sharedBytes);
  return mount(<u64>deviceBytes, readonly, state, stateBytes, cache, cacheBytes);
}
export function request(code: u32, ringSlot: u32, keySeq: u32, a0: u32, a1: u32, a2: u32, a3: u32, a4: u32, a5: u32): i32 {
  op.code = code; op.ringSlot = ringSlot;
  op.keyBadge = 1; op.keySerial = keySeq == 0 ? 0 : 7; op.keySeq = keySeq; op.keySub = 0;
  op.a0 = a0; op.a1 = a1; op.a2 = a2; op.a3 = a3; op.a4 = a4; op.a5 = a5;
  return serve(op);
}
export function result(n: u32): u32 { return n == 0 ? op.r0 : n == 1 ? op.r1 : n == 2 ? op.r2 : op.r3; }
/** Violated invariants between requests. */
export function check(): u32 { return cacheCheck() + pinsHeld() + (transactionOpen() ? 1000 : 0); }
export function counter(n: u32): u32 {
  switch (n) {
    case 0: return readBlocks;
    case 1: return writtenBlocks;
    case 2: return checksumFailures;
    case 3: return droppedSlots;
    case 4: return commits;
    case 5: return replayed;
    case 6: return oddFrees;
    case 7: return attached;
    case 8: return orphansFreed;
    case 9: return dirtySlots;
    case 10: return readOnly ? 1 : 0;
    case 11: return unclean ? 1 : 0;
    case 12: return unknownFeatures;
    default: return 0;
  }
}
