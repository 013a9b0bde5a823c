/**
 * The device lock: one per machine, taken by the bus around every device access, by the event loop around due events and by the
 * host around input. Test-and-set with a futex-style wait (a FIFO lock collapses when vCPUs outnumber host cores).
 *
 * The word that is compared and exchanged is the owner: a thread that is ended from outside between two steps leaves either a free lock or one
 * that says whose it is, and the host, which learns of the death, takes it over (`breakFor`). The waiters run on. Device state may then be
 * between two writes of one access; models are written so that each field alone is valid.
 *
 * words: [0] 0 free, else owner + 1, with WAITERS when somebody sleeps
 */
import { FieldList, derived, u32 } from '../fields.ts';

export const LOCK = new FieldList('device lock', { state: derived(u32), pad: derived(u32) });
/** Owner number of the host's main thread. */
export const HOST = 0xff;

const FREE = 0;
const OWNER = 0xffff;
const WAITERS = 0x1_0000;

export interface Lock { acquire(owner: number): void; release(): void }

/** Deterministic mode: one thread, no lock. */
export const NO_LOCK: Lock = { acquire() {}, release() {} };

export class DeviceLock implements Lock {
  readonly #words: Int32Array;
  /** Owner + 1 as this object took it, 0 while it does not hold it. */
  #mine = 0;
  constructor(words: Int32Array) { this.#words = words; }

  acquire(owner: number): void {
    const words = this.#words;
    const mine = owner + 1;
    this.#mine = mine;
    if (Atomics.compareExchange(words, 0, FREE, mine) === FREE) return;
    for (let spin = 0; spin < 100; spin++) if (Atomics.load(words, 0) === FREE && Atomics.compareExchange(words, 0, FREE, mine) === FREE) return;
    for (;;) {
      const now = Atomics.load(words, 0);
      // Others may sleep as well: who has slept passes the word on.
      if (now === FREE) { if (Atomics.compareExchange(words, 0, FREE, mine | WAITERS) === FREE) return; continue; }
      if (now & WAITERS || Atomics.compareExchange(words, 0, now, now | WAITERS) === now) Atomics.wait(words, 0, now | WAITERS, 100);
    }
  }

  release(): void {
    const words = this.#words;
    for (;;) {
      const now = Atomics.load(words, 0);
      if (this.#mine === 0 || (now & OWNER) !== this.#mine) return; // taken from a thread that was thought dead: it is somebody else's now
      if (Atomics.compareExchange(words, 0, now, FREE) !== now) continue;
      this.#mine = 0;
      if (now & WAITERS) Atomics.notify(words, 0, 1);
      return;
    }
  }

  /** Who holds it: a vCPU number, HOST, the I/O worker, or -1. */
  get owner(): number { return (Atomics.load(this.#words, 0) & OWNER) - 1; }

  /** Frees the lock if `owner` holds it. Only for a worker that is known to be gone. Returns whether it was held. */
  breakFor(owner: number): boolean {
    const words = this.#words;
    for (;;) {
      const now = Atomics.load(words, 0);
      if ((now & OWNER) !== owner + 1) return false;
      if (Atomics.compareExchange(words, 0, now, FREE) !== now) continue;
      Atomics.notify(words, 0);
      return true;
    }
  }
}
