/**
 * Time in parallel mode: nanoseconds of the host's monotonic clock since the machine was created, less the time frozen while worker
 * threads started; the same in all threads.
 */
import type { Board } from '../board.ts';
import type { Clock } from '../devices/device.ts';

export class HostClock implements Clock {
  readonly #base: bigint;
  readonly #header: Board['header'];
  /** `base`: process.hrtime.bigint() at power on. */
  constructor(board: Board, base: bigint) { this.#header = board.header; this.#base = base; }
  /** Told about every reading (vm/parallel-vcpu.ts). */
  onRead: ((ns: number) => void) | undefined;
  now(): number {
    const ns = Number(process.hrtime.bigint() - this.#base) - this.#header.frozenNs;
    this.onRead?.(ns);
    return ns;
  }
}
