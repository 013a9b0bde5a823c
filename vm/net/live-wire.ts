/**
 * The live network of a deterministic machine that is recorded: the NIC on one side, sockets of the host on the other, and every frame for the guest an input
 * with its instruction count (vm/inputs.ts). Replayed, the same frames come from the recording and nobody is at the other end: what the guest sends is taken
 * and dropped, as the recorded run took it.
 *
 * The guest's frames leave at its doorbell, whatever the host is doing, so nothing of the host's pace gets into the machine but through the queue. State of the
 * machine are the frames that have arrived and wait for the guest's buffers; the sockets are not, and do not come back with a snapshot.
 */
import { NET_QUEUE, type VirtioNet } from '../devices/virtio-net.ts';
import type { Backend, HostForward } from './config.ts';
import { FrameBatch } from './frames.ts';
import { StateReader, StateWriter, type OutsideState } from './state.ts';
import { UserBackend } from './user/live.ts';

const BATCH_FRAMES = 64;
/** Frames that wait for the guest's buffers; then its inputs wait in their queue. */
const READY_FRAMES = 256;

export class LiveWire implements OutsideState {
  readonly name = 'network';
  readonly obstacle = undefined;
  version = 0;
  readonly #nic: VirtioNet;
  readonly #arrived: (frame: Uint8Array) => void;
  readonly #rerunning: () => boolean;
  readonly #backend: UserBackend | undefined;
  readonly #taken: FrameBatch;
  readonly #ready: FrameBatch;
  #timer: NodeJS.Timeout | undefined;
  #flushing = false;

  /** `arrived`: a frame for the guest, complete. `rerunning`: this part of the run was run before; its frames are on their way already. `open` false: replay. */
  constructor(nic: VirtioNet, backend: Backend, forwards: readonly HostForward[], open: boolean, parts: { readonly arrived: (frame: Uint8Array) => void; readonly rerunning: () => boolean }) {
    this.#nic = nic;
    this.#arrived = parts.arrived;
    this.#rerunning = parts.rerunning;
    this.#taken = new FrameBatch(BATCH_FRAMES, BATCH_FRAMES * (nic.mostFrame + 8) + 8);
    this.#ready = new FrameBatch(READY_FRAMES, READY_FRAMES * (nic.mostFrame + 8) + 8);
    if (open) this.#backend = new UserBackend({ activity: () => this.#flush(), note: () => undefined }, { now: () => performance.now() * 1e6 }, nic.mtu, forwards, backend.kind === 'user' ? backend.resolver : undefined);
    nic.onKick = (queue) => { if (queue === NET_QUEUE.TX) this.#transmit(); else this.#hand(); };
  }
  async open(): Promise<void> { await this.#backend?.open(); }
  close(): void { clearTimeout(this.#timer); this.#backend?.close(); }

  #transmit(): void {
    const batch = this.#taken;
    while (this.#nic.transmit(batch) > 0) {
      if (this.#backend && !this.#rerunning()) {
        this.#flushing = true;
        try { this.#backend.input(batch); } finally { this.#flushing = false; }
      }
      batch.clear();
    }
    this.#flush();
  }
  /** What the backend has for the guest goes into the input queue. */
  #flush(): void {
    const backend = this.#backend;
    if (!backend || this.#flushing) return;
    this.#flushing = true;
    try {
      const { out } = backend;
      while (out.count > 0) {
        for (let k = 0; k < out.count; k++) { out.finish(k); this.#arrived(out.frame(k).slice()); }
        out.clear();
        backend.drained();
      }
    } finally { this.#flushing = false; }
    clearTimeout(this.#timer);
    const ms = (backend.wakeNs - performance.now() * 1e6) / 1e6;
    if (ms !== Infinity) this.#timer = setTimeout(() => { backend.expire(); this.#flush(); }, Math.max(1, Math.ceil(ms)));
  }

  /** An input: false while too many wait for the guest's buffers. */
  deliver(frame: Uint8Array): boolean {
    if (!this.#ready.push(frame)) return false;
    this.version++;
    this.#hand();
    return true;
  }
  #hand(): void {
    const ready = this.#ready;
    if (ready.count === 0) return;
    this.version++;
    ready.drop(this.#nic.receive(ready));
    this.#nic.setDoorbell(NET_QUEUE.RX, ready.count > 0);
  }

  save(): Uint8Array {
    const w = new StateWriter(), ready = this.#ready;
    w.number(ready.count);
    for (let k = 0; k < ready.count; k++) w.bytes(ready.frame(k));
    return w.done();
  }
  load(saved: Uint8Array): void {
    const r = new StateReader(saved);
    this.#ready.clear();
    r.list(() => { this.#ready.push(r.bytes()); });
    this.version++;
  }
}
