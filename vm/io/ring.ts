/**
 * A byte ring on the board from one producer thread to one consumer thread (device output to the host's main thread).
 * Head and tail are free-running 32-bit counters; a full ring makes the producer wait for the consumer (Atomics.wait on tail).
 *
 *   +0 head (producer)   +4 tail (consumer)   +8 dropped   +16 data
 */
import { HOST_RING_BASE, HOST_RING_BYTES, type Board } from '../board.ts';

const DATA = 16;

export class ByteRing {
  readonly #words: Int32Array;
  readonly #data: Uint8Array;
  readonly #size: number;

  /** Ring number `index` of the board (0 = COM1 output, 1 = COM2 output). */
  constructor(board: Board, index: number) {
    const base = HOST_RING_BASE + index * HOST_RING_BYTES;
    this.#words = new Int32Array(board.buffer, base, 4);
    this.#size = HOST_RING_BYTES / 2; // a power of two: counters wrap cleanly
    this.#data = new Uint8Array(board.buffer, base + DATA, this.#size);
  }

  get used(): number { return (Atomics.load(this.#words, 0) - Atomics.load(this.#words, 1)) >>> 0; }

  /** Producer. Returns true when the ring was empty, so that the consumer must be told. Waits while full. */
  push(byte: number): boolean {
    const words = this.#words;
    const head = words[0];
    let tail = Atomics.load(words, 1);
    while (((head - tail) >>> 0) >= this.#size) {
      // A consumer that does not drain for 2 s is gone: better lose output than hang the guest.
      if (Atomics.wait(words, 1, tail, 2000) === 'timed-out') { words[2]++; return false; }
      tail = Atomics.load(words, 1);
    }
    this.#data[(head >>> 0) % this.#size] = byte;
    Atomics.store(words, 0, (head + 1) | 0);
    return head === Atomics.load(words, 1);
  }

  /** Consumer. A copy of everything there is (possibly empty). */
  drain(): Uint8Array {
    const words = this.#words;
    const tail = words[1];
    const count = (Atomics.load(words, 0) - tail) >>> 0;
    const out = new Uint8Array(count);
    for (let k = 0; k < count; k++) out[k] = this.#data[((tail >>> 0) + k) % this.#size];
    Atomics.store(words, 1, (tail + count) | 0);
    Atomics.notify(words, 1);
    return out;
  }
}
