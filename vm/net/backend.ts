/**
 * A backend: what the NIC of a live machine is plugged into. It lives in the I/O worker, which moves batches between it and the device and
 * does nothing else; sockets and their events are the backend's.
 */
import type { FrameBatch } from './frames.ts';

export interface LiveBackend {
  /** Opens sockets. Rejects with a NetError that names what is in the way. */
  open(): Promise<void>;
  /** Whether `input` would be taken now; else the guest's frames wait in its ring. */
  readonly ready: boolean;
  /** A batch of the guest's frames. */
  input(batch: FrameBatch): void;
  /** Frames for the guest; the owner empties it and then calls `drained`. */
  readonly out: FrameBatch;
  drained(): void;
  /** When `expire` wants to be called, ns of the clock it was given; Infinity = never. */
  readonly wakeNs: number;
  expire(): void;
  /** Whether the wire leads anywhere now. */
  readonly linkUp: boolean;
  readonly counters: ReadonlyMap<string, number>;
  close(): void;
}

/** What a backend tells its owner. */
export interface BackendEvents {
  /** Something happened outside: look at `out`, `ready` and `linkUp`. */
  activity(): void;
  /** A sentence for the user. */
  note(text: string): void;
}
