/**
 * The wire of a deterministic machine, and what hangs on it: the user network with virtual services, or a scripted peer.
 *
 * Frames take time and may be lost, doubled, damaged or held back, each way, drawn from the link's seed. All time is virtual: one slot of the
 * machine's event queue stands for the next thing that happens here, and no slot is armed while nothing does, so a guest that ignores its NIC
 * runs as if there were none. The whole state is plain data; snapshots, checkpoints and the state hash take it as one string of bytes.
 *
 *   guest --transmit--> [impair] --> toPeer (due) --> peer --> [impair] --> toGuest (due) --> ready --receive--> guest
 */
import type { Clock } from '../devices/device.ts';
import { GLOBAL, type EventQueue } from '../devices/events.ts';
import { NET_QUEUE, type VirtioNet } from '../devices/virtio-net.ts';
import { FrameBatch } from './frames.ts';
import type { LinkConfig, NetConfig, ScriptedPeer } from './config.ts';
import { Pcap } from './pcap.ts';
import { StateReader, StateWriter, type OutsideState } from './state.ts';
import { UserNetwork } from './user/network.ts';
import { Services, type CallResult } from './user/services.ts';

const DEFAULT_DELAY_NS = 50_000;
const DEFAULT_REORDER_NS = 1e6;
const DEFAULT_QUEUE = 1024;
const DEFAULT_SEED = 1;
const BATCH_FRAMES = 64;

interface Flying { due: number; bytes: Uint8Array; start: number; offset: number }

/** Fault injection: what is to become of frame `index` (counted from 0, each way). */
export type WireFault = 'drop' | 'duplicate' | 'corrupt' | 'delay' | undefined;

export class VirtualNetwork implements OutsideState {
  readonly name = 'network';
  readonly nic: VirtioNet;
  /** Undefined with a scripted peer. */
  readonly network: UserNetwork | undefined;
  readonly services: Services | undefined;
  /** Fault hook. Host state: neither saved nor hashed. */
  intercept: ((toGuest: boolean, index: number, frame: Uint8Array) => WireFault) | undefined;
  version = 0;
  readonly #scripted: ScriptedPeer | undefined;
  readonly #events: EventQueue;
  readonly #clock: Clock;
  readonly #slot: number;
  readonly #link: Required<LinkConfig>;
  readonly #wallSeconds: () => number;
  readonly #pcap: Pcap | undefined;
  readonly #taken = new FrameBatch(BATCH_FRAMES, BATCH_FRAMES * 2048 + 16_384);
  /** Arrived, waiting for the guest's buffers. */
  readonly #ready: FrameBatch;
  #toPeer: Flying[] = [];
  #toGuest: Flying[] = [];
  #random: number;
  /** When the wire is free again, and frames so far: to the peer, to the guest. */
  #freeNs = [0, 0];
  #sent = [0, 0];
  #lastDue = [0, 0];
  #scriptNs = Infinity;
  /** Frames that did not arrive, by reason. */
  readonly dropped = new Map<string, number>();

  constructor(nic: VirtioNet, events: EventQueue, clock: Clock, config: NetConfig, wallSeconds: () => number, note: (text: string) => void = () => undefined) {
    this.nic = nic;
    this.#events = events;
    this.#clock = clock;
    this.#wallSeconds = wallSeconds;
    const link = config.link ?? {};
    this.#link = {
      delayNs: link.delayNs ?? DEFAULT_DELAY_NS, jitterNs: link.jitterNs ?? 0, bytesPerSecond: link.bytesPerSecond ?? 0, loss: link.loss ?? 0, duplicate: link.duplicate ?? 0,
      corrupt: link.corrupt ?? 0, reorder: link.reorder ?? 0, reorderNs: link.reorderNs ?? DEFAULT_REORDER_NS, queue: link.queue ?? DEFAULT_QUEUE, seed: link.seed ?? DEFAULT_SEED,
    };
    this.#random = (Math.imul(this.#link.seed, 0x9e37_79b1) ^ 0x5bf0_3635) >>> 0 || 1;
    this.#ready = new FrameBatch(256, 256 * 2048 + 16_384);
    this.#pcap = config.pcap === undefined ? undefined : new Pcap(config.pcap, note);
    if (config.backend.kind === 'scripted') this.#scripted = config.backend.peer;
    else {
      const services = this.services = new Services(wallSeconds, config.calls);
      this.network = new UserNetwork(clock, nic.mtu, () => this.#draw(), services);
      services.network = this.network;
    }
    this.#slot = events.register('network', GLOBAL, () => this.#happens());
    nic.onKick = (queue) => this.#kicked(queue);
  }
  /** At power on, after the event queue was reset. */
  powerOn(): void { this.#plan(); }

  get calls(): readonly CallResult[] { return this.services?.calls ?? []; }
  /** Everything that was refused or dropped, by reason. */
  get counters(): ReadonlyMap<string, number> { return new Map([...(this.network?.counters ?? []), ...this.dropped]); }

  #draw(): number {
    let x = this.#random;
    x ^= x << 13; x ^= x >>> 17; x ^= x << 5;
    return this.#random = x >>> 0;
  }
  #chance(part: number): boolean { return part > 0 && this.#draw() < part * 2 ** 32; }

  // ---- the wire -----------------------------------------------------------------------------------------------------------------------

  #lose(reason: string): void { this.dropped.set(reason, (this.dropped.get(reason) ?? 0) + 1); }

  /** Puts a frame on the wire: `way` 0 = to the peer, 1 = to the guest. Owns `bytes`. */
  #launch(way: 0 | 1, bytes: Uint8Array<ArrayBuffer>, start: number, offset: number): void {
    const link = this.#link;
    const queue = way === 0 ? this.#toPeer : this.#toGuest;
    const index = this.#sent[way]++;
    const fault = this.intercept?.(way === 1, index, bytes);
    if (fault === 'drop' || this.#chance(link.loss)) { this.#lose(way === 0 ? 'lost on the way out' : 'lost on the way in'); return; }
    if (queue.length >= link.queue) { this.#lose('wire is full'); return; }
    const now = this.#clock.now();
    let due = now;
    if (link.bytesPerSecond > 0) {
      this.#freeNs[way] = Math.max(now, this.#freeNs[way]) + Math.ceil(bytes.length * 1e9 / link.bytesPerSecond);
      due = this.#freeNs[way];
    }
    due += link.delayNs;
    if (link.jitterNs > 0) due += this.#draw() % (link.jitterNs + 1);
    if (fault === 'delay' || this.#chance(link.reorder)) due += link.reorderNs;
    else { due = Math.max(due, this.#lastDue[way]); this.#lastDue[way] = due; }
    if (fault === 'corrupt' || this.#chance(link.corrupt)) {
      if (start !== 0) { const whole = new FrameBatch(1, bytes.length + 8); whole.push(bytes, start, offset); whole.finish(0); bytes.set(whole.frame(0)); start = 0; }
      bytes[this.#draw() % bytes.length] ^= 1 << this.#draw() % 8;
      this.#lose('damaged'); // it arrives, though
    }
    put(queue, { due, bytes, start, offset });
    if (fault === 'duplicate' || this.#chance(link.duplicate)) put(queue, { due, bytes: bytes.slice(), start, offset });
  }

  #kicked(queue: number): void {
    this.version++;
    if (queue === NET_QUEUE.TX) {
      while (this.nic.transmit(this.#taken) > 0) {
        const batch = this.#taken;
        for (let k = 0; k < batch.count; k++) {
          if (this.#pcap) { const copy = new FrameBatch(1, batch.length(k) + 8); copy.push(batch.frame(k), batch.checksumStart(k), batch.checksumOffset(k)); this.#capture(copy, 1); }
          this.#launch(0, batch.frame(k).slice(), batch.checksumStart(k), batch.checksumOffset(k));
        }
        batch.clear();
      }
    } else this.#hand();
    this.#plan();
  }

  /** The next thing that happens: frames arrive, timers of the peer expire. */
  #happens(): void {
    this.version++;
    const now = this.#clock.now();
    const { network, services } = this;
    const batch = this.#taken;
    while (this.#toPeer.length > 0 && this.#toPeer[0].due <= now) {
      const { bytes, start, offset } = this.#toPeer.shift() as Flying;
      batch.push(bytes, start, offset);
      if (network) { network.input(batch); this.#collect(); }
      else { batch.finish(0); this.#scripted?.frame(batch.frame(0).slice(), now, this.#wire); }
      batch.clear();
    }
    if (services && services.wakeNs <= now) { services.expire(); network?.settle(); this.#collect(); }
    if (network && network.wakeNs <= now) { network.expire(); this.#collect(); }
    if (this.#scriptNs <= now) { this.#scriptNs = Infinity; this.#scripted?.woken?.(now, this.#wire); }
    while (this.#toGuest.length > 0 && this.#toGuest[0].due <= now) {
      const { bytes, start, offset } = this.#toGuest[0];
      if (!this.#ready.push(bytes, start, offset)) {
        this.#hand();
        if (!this.#ready.push(bytes, start, offset)) this.#lose('guest has no buffers');
      }
      this.#toGuest.shift();
    }
    this.#hand();
    this.#plan();
  }
  /** A test may hold on to it and send between events. */
  readonly #wire = {
    send: (frame: Uint8Array): void => { this.version++; this.#launch(1, frame.slice(), 0, 0); this.#plan(); },
    wakeAt: (ns: number): void => { this.version++; this.#scriptNs = ns; this.#plan(); },
  };

  #collect(): void {
    const network = this.network as UserNetwork;
    const { out } = network;
    while (out.count > 0) {
      for (let k = 0; k < out.count; k++) this.#launch(1, out.frame(k).slice(), out.checksumStart(k), out.checksumOffset(k));
      out.clear();
      network.drained();
    }
  }

  /** Gives the guest what has arrived, as far as it has buffers. */
  #hand(): void {
    const ready = this.#ready;
    if (ready.count === 0) return;
    const done = this.nic.receive(ready);
    this.#capture(ready, done);
    ready.drop(done);
    this.nic.setDoorbell(NET_QUEUE.RX, ready.count > 0);
  }

  #capture(batch: FrameBatch, count: number): void {
    if (!this.#pcap || count === 0) return;
    const now = this.#clock.now();
    this.#pcap.batch(this.#wallSeconds() + Math.floor(now / 1e9), Math.floor(now % 1e9), batch, 0, count);
  }

  #plan(): void {
    const next = Math.min(
      this.#toPeer.length > 0 ? this.#toPeer[0].due : Infinity, this.#toGuest.length > 0 ? this.#toGuest[0].due : Infinity,
      this.network?.wakeNs ?? Infinity, this.services?.wakeNs ?? Infinity, this.#scriptNs,
    );
    if (next === Infinity) this.#events.cancel(this.#slot);
    else this.#events.arm(this.#slot, Math.max(next, 0));
  }

  close(): void { this.#pcap?.close(); }

  // ---- plain data -----------------------------------------------------------------------------------------------------------------------

  get obstacle(): string | undefined { return this.#scripted && !(this.#scripted.save && this.#scripted.load) ? 'the scripted peer of the network cannot be saved' : undefined; }

  save(): Uint8Array {
    const w = new StateWriter();
    w.number(this.#random); w.number(this.#scriptNs);
    for (const pair of [this.#freeNs, this.#sent, this.#lastDue]) { w.number(pair[0]); w.number(pair[1]); }
    for (const queue of [this.#toPeer, this.#toGuest]) w.list(queue, queue.length, (f) => { w.number(f.due); w.bytes(f.bytes); w.number(f.start); w.number(f.offset); });
    const ready = this.#ready;
    w.number(ready.count);
    for (let k = 0; k < ready.count; k++) { w.bytes(ready.frame(k)); w.number(ready.checksumStart(k)); w.number(ready.checksumOffset(k)); }
    w.list(this.dropped, this.dropped.size, ([reason, count]) => { w.text(reason); w.number(count); });
    if (this.#scripted) w.bytes(this.#scripted.save?.() ?? new Uint8Array(0));
    this.network?.save(w);
    this.services?.save(w);
    return w.done();
  }
  load(saved: Uint8Array): void {
    const r = new StateReader(saved);
    this.#random = r.number(); this.#scriptNs = r.number();
    this.#freeNs = [r.number(), r.number()]; this.#sent = [r.number(), r.number()]; this.#lastDue = [r.number(), r.number()];
    const queue = (): Flying[] => r.list(() => ({ due: r.number(), bytes: r.bytes(), start: r.number(), offset: r.number() }));
    this.#toPeer = queue();
    this.#toGuest = queue();
    this.#ready.clear();
    r.list(() => { const bytes = r.bytes(); this.#ready.push(bytes, r.number(), r.number()); });
    this.dropped.clear();
    r.list(() => { const reason = r.text(); this.dropped.set(reason, r.number()); });
    if (this.#scripted) { const own = r.bytes(); this.#scripted.load?.(own); }
    this.network?.load(r);
    this.services?.load(r);
    this.version++;
  }
}

/** In order of time; at equal times in order of coming. */
function put(queue: Flying[], frame: Flying): void {
  let at = queue.length;
  while (at > 0 && queue[at - 1].due > frame.due) at--;
  queue.splice(at, 0, frame);
}
