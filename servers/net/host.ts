/**
 * What the network core needs from where it runs: as i386 in the server (main.ts: rings, `window`) or as wasm in Node (test/net: frames in arrays).
 * Six function values, set once; the core imports nothing else, so the same code is tested there first. The core never blocks and never waits:
 * what cannot be answered now is parked (op.ts), and every call of core.ts returns.
 *
 * Rules for everything below this file:
 * - State Frames may be written only after `writable()` and before `windowClose()`; core.ts closes at the end of each commit.
 * - Nothing leaves (`transmit`, `answer`) before the commit of the batch that it tells about.
 */

function unset(): void { unreachable(); }
function unsetTransmit(at: usize, bytes: u32, flags: u32, start: u32, offset: u32): void { unreachable(); }
function unsetAnswer(op: usize): void { unreachable(); }
function unsetClock(): u64 { unreachable(); return 0; }
function unsetRandom(): u32 { unreachable(); return 0; }

let openFunction: () => void = unset;
let closeFunction: () => void = unset;
let transmitFunction: (at: usize, bytes: u32, flags: u32, start: u32, offset: u32) => void = unsetTransmit;
let answerFunction: (op: usize) => void = unsetAnswer;
let clockFunction: () => u64 = unsetClock;
let randomFunction: () => u32 = unsetRandom;

/**
 * `transmit(frame address, bytes, flags, start, offset)`: the frame belongs to the host until `transmitted(frame address)` (core.ts). Flags as
 * NETDEV.flags.fillChecksum: the 16-bit sum from `start` on goes to `start + offset` (both from the frame's beginning).
 * `answer(op)`: op.status and op.r0..r3 are final; the Op is the host's again. `clock`: ns, never backwards, also across a restart. `random`: 32 bits.
 */
export function setHost(open: () => void, close: () => void, transmit: (at: usize, bytes: u32, flags: u32, start: u32, offset: u32) => void, answer: (op: usize) => void, clock: () => u64, random: () => u32): void {
  openFunction = open; closeFunction = close; transmitFunction = transmit; answerFunction = answer; clockFunction = clock; randomFunction = random;
}

let opened: bool = false;
/** State may be written from here to the end of the batch. */
export function writable(): void { if (!opened) { opened = true; openFunction(); } }
export function windowClose(): void { if (opened) { opened = false; closeFunction(); } }
export function hostTransmit(at: usize, bytes: u32, flags: u32, start: u32, offset: u32): void { transmitFunction(at, bytes, flags, start, offset); }
export function hostAnswer(op: usize): void { answerFunction(op); }
export function random(): u32 { return randomFunction(); }

// ---- time -------------------------------------------------------------------------------------------------------------------------------
/** Time of the batch in us, and in ms mod 2^32 (timestamps). */
export let now: u64 = 0;
export let nowMs: u32 = 0;
export function readClock(): void {
  const t = clockFunction() / 1000;
  if (t == now) return;
  now = t;
  nowMs = <u32>(t / 1000);
}

// ---- private memory ---------------------------------------------------------------------------------------------------------------------
let next: usize = 0;
let end: usize = 0;
export function privateMemory(at: usize, bytes: usize): void { next = (at + 63) & ~63; end = at + bytes; }
/** Zeroed memory for good, 64-aligned. Too little is a wrong size in the manifest (core.ts: `privateBytes`): a trap, not a limp. */
export function reserve(bytes: usize): usize {
  const at = reserveRaw(bytes);
  memory.fill(at, 0, (bytes + 63) & ~63);
  return at;
}
/** The same, not zeroed: for what is large and written before it is read (each start after a death pays for zeroing). */
export function reserveRaw(bytes: usize): usize {
  const at = next, size = (bytes + 63) & ~63;
  if (size > end - at) unreachable();
  next = at + size;
  return at;
}
