/**
 * The device lock: one per machine, taken by the bus around every device access, by the event loop around due events and by the
 * host around input. Test-and-set with a futex-style wait (a FIFO lock collapses when vCPUs outnumber host cores).
 *
 * The lock records its owner (vCPU number, or HOST) and an epoch. When a worker dies inside a device, the host breaks its lock:
 * the epoch is bumped so that a late release by the dead owner's twin is recognised, and the waiters run on. Device state may
 * then be between two writes of one access; models are written so that each field alone is valid.
 *
 * words: [0] state 0 free, 1 held, 2 held with waiters   [1] owner + 1   [2] epoch
 */
import { FieldList, derived, u32 } from '../fields.ts';

export const LOCK = new FieldList('device lock', { state: derived(u32), owner: derived(u32), epoch: derived(u32), pad: derived(u32) });
/** Owner number of the host's main thread. */
export const HOST = 0xff;

const FREE = 0;
const HELD = 1;
const CONTENDED = 2;

export interface Lock { acquire(owner: number): void; release(): void }

/** Deterministic mode: one thread, no lock. */
export const NO_LOCK: Lock = { acquire() {}, release() {} };

export class DeviceLock implements Lock {
  readonly #words: Int32Array;
  #epochAtAcquire = 0;
  constructor(words: Int32Array) { this.#words = words; }

  acquire(owner: number): void {
    const words = this.#words;
    if (Atomics.compareExchange(words, 0, FREE, HELD) !== FREE) {
      for (let spin = 0; spin < 100; spin++) if (Atomics.load(words, 0) === FREE && Atomics.compareExchange(words, 0, FREE, HELD) === FREE) return this.#own(owner);
      while (Atomics.exchange(words, 0, CONTENDED) !== FREE) Atomics.wait(words, 0, CONTENDED, 100);
    }
    this.#own(owner);
  }

  #own(owner: number): void {
    Atomics.store(this.#words, 1, owner + 1);
    this.#epochAtAcquire = Atomics.load(this.#words, 2);
  }

  release(): void {
    const words = this.#words;
    if (Atomics.load(words, 2) !== this.#epochAtAcquire) return; // broken meanwhile: it is somebody else's now
    Atomics.store(words, 1, 0);
    if (Atomics.exchange(words, 0, FREE) === CONTENDED) Atomics.notify(words, 0, 1);
  }

  /** Frees the lock if `owner` holds it. Only for a worker that is known to be gone. Returns whether it was held. */
  breakFor(owner: number): boolean {
    const words = this.#words;
    if (Atomics.load(words, 1) !== owner + 1) return false;
    Atomics.add(words, 2, 1);
    Atomics.store(words, 1, 0);
    Atomics.store(words, 0, FREE);
    Atomics.notify(words, 0);
    return true;
  }
}
