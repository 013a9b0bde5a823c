/**
 * What the file system core needs from where it runs: as i386 in the server (main.ts: rings, fibers, `window`) or as wasm in Node (test/fs:
 * an array as disk). Five function values, set once before mount; the core imports nothing else, so the same code is tested there first.
 *
 * Rules for everything below this file:
 * - `pause` is the only place where another fiber may run. Whatever was read from the cache before it must be read again after it.
 * - State and cache pages may be written only between `windowOpen` and `windowClose`; no `pause` and no device call in between.
 * - `submit` never blocks and never fails: the answer comes as a call of cache.completed(first slot, count, operation, status).
 */

export const DEVICE_READ: u32 = 2;
export const DEVICE_WRITE: u32 = 3;
export const DEVICE_FLUSH: u32 = 4;

function unset(): void { unreachable(); }
function unsetSubmit(operation: u32, block: u32, count: u32, slot: u32): void { unreachable(); }
function unsetClock(): u32 { unreachable(); return 0; }

let pauseFunction: () => void = unset;
let openFunction: () => void = unset;
let closeFunction: () => void = unset;
let submitFunction: (operation: u32, block: u32, count: u32, slot: u32) => void = unsetSubmit;
let clockFunction: () => u32 = unsetClock;

export function setHost(pause: () => void, open: () => void, close: () => void, submit: (operation: u32, block: u32, count: u32, slot: u32) => void, clock: () => u32): void {
  pauseFunction = pause; openFunction = open; closeFunction = close; submitFunction = submit; clockFunction = clock;
}

/** The request that runs now (an Op address, 0 = none): tells the owner of the transaction from readers. Kept right across `pause`. */
export let current: usize = 0;
export function setCurrent(op: usize): void { current = op; }

/** Lets other fibers run; returns some time after something happened (a device completion, a finished request). */
export function pause(): void { const me = current; pauseFunction(); current = me; }
export function windowOpen(): void { openFunction(); }
export function windowClose(): void { closeFunction(); }
/** Starts the transfer of `count` blocks from `block` on, to or from `count` consecutive cache slots from `slot` on. */
export function submit(operation: u32, block: u32, count: u32, slot: u32): void { submitFunction(operation, block, count, slot); }
/** Unit of `submit`: log2 of bytes in a block (10 until the superblock is known). */
export let deviceShift: u32 = 10;
export function setDeviceShift(shift: u32): void { deviceShift = shift; }
/** Seconds since 1970. */
export function now(): u32 { return clockFunction(); }

// ---- private memory ---------------------------------------------------------------------------------------------------------------------
let next: usize = 0;
let end: usize = 0;
/** Zeroed memory. */
export function privateMemory(at: usize, bytes: usize): void { next = (at + 63) & ~63; end = at + bytes; }
/** Zeroed memory for good, 64-aligned; 0 = used up (a wrong size in the manifest). */
export function reserve(bytes: usize): usize {
  const at = next, size = (bytes + 63) & ~63;
  if (size > end - at) return 0;
  next = at + size;
  return at;
}
