/**
 * The I/O worker's end of the wire: moves batches between the device and a backend, under the device lock, and sleeps on the device's
 * doorbell in between.
 *
 * While there is work the driver is asked not to ring (VIRTQ_USED_F_NO_NOTIFY), so a busy guest pays one doorbell for many frames; a batch
 * either way is one interrupt. The guest's transmit ring is left alone while the backend cannot take more, and frames for the guest wait here
 * while it has no buffers: backpressure, no loss.
 */
import { NET_QUEUE, type VirtioNet } from '../devices/virtio-net.ts';
import type { Lock } from '../devices/lock.ts';
import type { LiveBackend } from './backend.ts';
import { FrameBatch } from './frames.ts';
import type { Pcap } from './pcap.ts';

/** Owner number of the I/O worker in the device lock. */
export const IO_WORKER = 0xfe;
const BATCH_FRAMES = 64;
/** Batches in a row before the event loop gets its turn. */
const ROUNDS = 4;
const PCAP_FLUSH_MS = 200;

export class NicPort {
  readonly nic: VirtioNet;
  readonly backend: LiveBackend;
  readonly #lock: Lock;
  readonly #clock: { now(): number };
  readonly #pcap: Pcap | undefined;
  readonly #taken: FrameBatch;
  #timer: NodeJS.Timeout | undefined;
  #timerNs = Infinity;
  #pcapTimer: NodeJS.Timeout | undefined;
  #flushing = false;
  #stopped = false;

  constructor(nic: VirtioNet, backend: LiveBackend, lock: Lock, clock: { now(): number }, pcap: Pcap | undefined) {
    this.nic = nic;
    this.backend = backend;
    this.#lock = lock;
    this.#clock = clock;
    this.#pcap = pcap;
    this.#taken = new FrameBatch(BATCH_FRAMES, BATCH_FRAMES * (nic.mostFrame + 8) + 8);
  }

  /** Serves the device until `stop`. */
  async serve(): Promise<void> {
    const { bell } = this.nic;
    Atomics.store(bell, 3, 1);
    while (!this.#stopped) {
      const seen = Atomics.load(bell, 0);
      let busy = false;
      for (let round = 0; round < ROUNDS && this.#transmit(); round++) busy = true;
      this.flush();
      if (busy) { await new Promise((resolve) => setImmediate(resolve)); continue; }
      if (this.backend.ready && this.#doorbell(true)) continue;
      Atomics.store(bell, 1, 1);
      const wait = Atomics.waitAsync(bell, 0, seen);
      if (wait.async) await wait.value;
      Atomics.store(bell, 1, 0);
    }
    Atomics.store(bell, 3, 0);
  }
  /** Wakes `serve` from this thread. */
  wake(): void { Atomics.add(this.nic.bell, 0, 1); Atomics.notify(this.nic.bell, 0); }
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#pcapTimer);
    this.wake();
  }

  /** Switches the transmit doorbell; on: whether frames have come meanwhile. */
  #doorbell(on: boolean): boolean {
    this.#lock.acquire(IO_WORKER);
    try {
      this.nic.setDoorbell(NET_QUEUE.TX, on);
      return on && this.nic.waiting(NET_QUEUE.TX) > 0;
    } finally { this.#lock.release(); }
  }

  #transmit(): boolean {
    const { nic, backend } = this;
    if (!backend.ready) return false;
    const batch = this.#taken;
    let count: number;
    this.#lock.acquire(IO_WORKER);
    try {
      count = nic.waiting(NET_QUEUE.TX) > 0 ? nic.transmit(batch) : 0;
      if (count > 0) nic.setDoorbell(NET_QUEUE.TX, false);
    } finally { this.#lock.release(); }
    if (count === 0) return false;
    if (this.#pcap) this.#capture(batch, batch.count);
    this.#flushing = true; // what the backend has to say goes out once, afterwards
    try { backend.input(batch); } finally { this.#flushing = false; }
    batch.clear();
    this.flush();
    return true;
  }

  /** Hands the guest what waits for it. Called after everything that may have made frames. */
  flush(): void {
    if (this.#flushing || this.#stopped) return;
    this.#flushing = true;
    try {
      const { nic, backend } = this;
      const { out } = backend;
      if (nic.linkUp !== backend.linkUp) {
        this.#lock.acquire(IO_WORKER);
        try { nic.setLink(backend.linkUp); } finally { this.#lock.release(); }
      }
      while (out.count > 0) {
        let done: number;
        this.#lock.acquire(IO_WORKER);
        try {
          const most = Math.min(BATCH_FRAMES, out.count); // the lock is everybody's
          done = nic.receive(out, most);
          if (done < most) {
            nic.setDoorbell(NET_QUEUE.RX, true);
            if (done === 0) done = nic.receive(out, most); // buffers may have come before the doorbell was on
          } else if (most === out.count) nic.setDoorbell(NET_QUEUE.RX, false);
        } finally { this.#lock.release(); }
        if (done === 0) break;
        if (this.#pcap) this.#capture(out, done);
        out.drop(done);
        backend.drained();
      }
      this.#arm();
    } finally { this.#flushing = false; }
  }

  #arm(): void {
    const wake = this.backend.wakeNs;
    if (wake >= this.#timerNs && this.#timerNs !== Infinity) return; // comes early enough
    if (wake === Infinity) return;
    clearTimeout(this.#timer);
    this.#timerNs = wake;
    this.#timer = setTimeout(() => {
      this.#timerNs = Infinity;
      if (this.#stopped) return;
      if (this.backend.wakeNs <= this.#clock.now()) this.backend.expire();
      this.flush();
    }, Math.max(1, Math.ceil((wake - this.#clock.now()) / 1e6)));
  }

  #capture(batch: FrameBatch, count: number): void {
    const wallMs = performance.timeOrigin + performance.now();
    this.#pcap?.batch(Math.floor(wallMs / 1000), Math.floor(wallMs % 1000 * 1e6), batch, 0, count);
    this.#pcapTimer ??= setTimeout(() => { this.#pcapTimer = undefined; this.#pcap?.flush(); }, PCAP_FLUSH_MS);
  }
}
