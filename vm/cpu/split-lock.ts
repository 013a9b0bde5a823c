/**
 * Locked instructions on misaligned operands (SDM vol. 3 8.1.2.2: LOCK knows no alignment), parallel mode.
 *
 * wasm and JavaScript have atomics on aligned words only. What lies inside one aligned quadword is one compare-and-exchange of that quadword:
 * exact against everybody. What lies in two (all that crosses a page does) is two of them under a lock of the board, which all misaligned
 * locked instructions take: exact against each other, and no store of anybody is lost. Between the two halves others can see the first one;
 * when the second half was stored to meanwhile, the first is taken back and the operation starts again.
 *
 * The lock is a word of the engines' shared page: number of the vCPU + 1, or 0. It is held for two exchanges; a vCPU whose worker dies in between
 * loses it by `breakSplitLock`.
 */
import { ENGINE_SHARED_BASE, type Board } from '../board.ts';

/** Word of the shared page; the ones in front of it are vm/cpu/coherence.ts's. */
const LOCK_AT = 60;
const SPINS = 200;

export class SplitLock {
  private readonly words: Int32Array;
  private readonly me: number;
  constructor(board: Board, cpu: number) { this.words = new Int32Array(board.buffer, ENGINE_SHARED_BASE, 64); this.me = cpu + 1; }

  /** Runs `f` while no other vCPU runs one. */
  hold<T>(f: () => T): T {
    const { words, me } = this;
    for (let spins = 0; ; spins++) {
      const owner = Atomics.compareExchange(words, LOCK_AT, 0, me);
      if (owner === 0) break;
      // The owner may wait for a core of the host.
      if (spins >= SPINS) Atomics.wait(words, LOCK_AT, owner, 1);
    }
    try { return f(); } finally {
      if (Atomics.compareExchange(words, LOCK_AT, me, 0) === me) Atomics.notify(words, LOCK_AT, 1);
    }
  }
}
/** The worker of `cpu` is gone. */
export function breakSplitLock(board: Board, cpu: number): void {
  const words = new Int32Array(board.buffer, ENGINE_SHARED_BASE, 64);
  if (Atomics.compareExchange(words, LOCK_AT, cpu + 1, 0) === cpu + 1) Atomics.notify(words, LOCK_AT);
}

/**
 * Replaces `bytes` (1 to 8) bytes at `first`, those beyond its quadword at `second`, by `update` of them; returns what they were. `first`, `second`:
 * offsets in `quads`. Call it with the lock held.
 */
export function updateBytes(quads: BigUint64Array, first: number, second: number, bytes: number, update: (old: bigint) => bigint): bigint {
  const a = Math.floor(first / 8), b = Math.floor(second / 8), head = Math.min(bytes, 8 - (first & 7));
  const shift = BigInt((first & 7) * 8), headBits = BigInt(head * 8), headMask = (1n << headBits) - 1n << shift;
  const tailMask = (1n << BigInt((bytes - head) * 8)) - 1n;
  for (;;) {
    const oldA = Atomics.load(quads, a), oldB = head < bytes ? Atomics.load(quads, b) : 0n;
    if (head < bytes && Atomics.load(quads, a) !== oldA) continue;
    const old = (oldA & headMask) >> shift | (oldB & tailMask) << headBits, value = update(old);
    const newA = oldA & ~headMask | value << shift & headMask;
    if (Atomics.compareExchange(quads, a, oldA, newA) !== oldA) continue;
    if (head === bytes || Atomics.compareExchange(quads, b, oldB, oldB & ~tailMask | value >> headBits & tailMask) === oldB) return old;
    takeBack(quads, a, headMask, oldA, newA);
  }
}
/** Puts back those bytes of a quadword that still are what was written there. */
function takeBack(quads: BigUint64Array, at: number, mask: bigint, before: bigint, written: bigint): void {
  for (;;) {
    const now = Atomics.load(quads, at);
    let back = now;
    for (let bits = 0xffn; bits <= 0xff00000000000000n; bits <<= 8n) if (bits & mask && (now & bits) === (written & bits)) back = back & ~bits | before & bits;
    if (Atomics.compareExchange(quads, at, now, back) === now) return;
  }
}
