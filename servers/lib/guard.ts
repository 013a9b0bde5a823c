/**
 * Check words of ring entries: sum over the words of word[i] * key[i] mod 2^32, keys odd and different ("multilinear" hashing, as in checksum.ts, without its first step).
 * Sees every change of one word, and tells an entry that stands in another slot or has another seq; others escape with 2^-31 or so. Linear in the seq:
 * an entry that is posted again keeps the guard of what it was when it was made.
 */
import { RING_REQUEST_ENTRY_SEQ } from 'kintsugi/protocols';

const SEQ_KEY: u32 = 0x9e3779b1;

/** Of a request entry at `p` (words 0-14, seq included) in slot `slot`. */
export function requestGuard(p: usize, slot: u32): u32 {
  return slot * 0x5bd1e995 + 0x52494e47
    + load<u32>(p, RING_REQUEST_ENTRY_SEQ) * SEQ_KEY + load<u32>(p, 4) * 0x85ebca6b + load<u32>(p, 8) * 0xc2b2ae35 + load<u32>(p, 12) * 0x27d4eb2f
    + load<u32>(p, 16) * 0x165667b1 + load<u32>(p, 20) * 0xd3a2646d + load<u32>(p, 24) * 0xfd7046c5 + load<u32>(p, 28) * 0xb55a4f09
    + load<u32>(p, 32) * 0x8da6b343 + load<u32>(p, 36) * 0xd8163841 + load<u32>(p, 40) * 0xcb1ab31f + load<u32>(p, 44) * 0xa54ff53b
    + load<u32>(p, 48) * 0x6c8e9cf5 + load<u32>(p, 52) * 0x7feb352d + load<u32>(p, 56) * 0x846ca68b;
}
/** What the guard of a request changes by when its seq does. */
export function guardStep(from: u32, to: u32): u32 { return (to - from) * SEQ_KEY; }
/** Of an answer. */
export function statusGuard(slot: u32, seq: u32, status: i32, r0: u32, r1: u32, r2: u32, r3: u32): u32 {
  return slot * 0x5bd1e995 + 0x53544154 + seq * SEQ_KEY + <u32>status * 0x85ebca6b + r0 * 0xc2b2ae35 + r1 * 0x27d4eb2f + r2 * 0x165667b1 + r3 * 0xd3a2646d;
}

const SAMPLE: usize = memory.data<u32>([0x89abcdef, 0x8acf1356, 0x8bf258bd, 0x8d159e24, 0x8e38e38b, 0x8f5c28f2, 0x907f6e59, 0x91a2b3c0, 0x92c5f927, 0x93e93e8e, 0x950c83f5, 0x962fc95c, 0x97530ec3, 0x9876542a, 0x99999991], 4);
/**
 * A wrong guard may be the fault of this code and not of the message (a flipped bit in text is there for every one). Dies then; a server with sound text takes
 * over. Called before a message is called damaged.
 */
export function proveGuard(): void {
  const p = SAMPLE;
  if (requestGuard(p, 5) != 0x380e1f5e || statusGuard(5, load<u32>(p), load<i32>(p, 4), load<u32>(p, 8), load<u32>(p, 12), load<u32>(p, 16), load<u32>(p, 20)) != 0xef753c50
    || guardStep(load<u32>(p), load<u32>(p, 4)) != 0xf051ab37) unreachable();
}
