/**
 * Two cores joined by a wire with loss, repetition, reordering and delay, and death of either at any moment; programs on both ends that know nothing of it (they ask
 * again what was not answered, as the ring does). Everything follows from one seed.
 */
import { Death, Stack, type Pending, type StackOptions } from './stack.ts';
import * as P from './packet.ts';

export class Random {
  #s: number;
  constructor(seed: number) { this.#s = (seed * 2654435761 + 12345) >>> 0; }
  next(): number { let x = this.#s; x ^= x << 13; x >>>= 0; x ^= x >>> 17; x ^= x << 5; this.#s = x >>> 0 || 1; return this.#s; }
  below(n: number): number { return this.next() % n; }
  chance(perMille: number): boolean { return this.below(1000) < perMille; }
}
export interface WireOptions { loss?: number; duplicate?: number; reorder?: number; delayNs?: bigint; jitterNs?: bigint; corrupt?: number; bytesPerSecond?: number; queueFrames?: number }

interface InFlight { at: bigint; order: number; to: number; frame: Uint8Array }

export class Pair {
  readonly stacks: [Stack, Stack];
  readonly random: Random;
  readonly wire: Required<WireOptions>;
  now = 1_000_000_000_000n;
  #queue: InFlight[] = [];
  #order = 0;
  #busyUntil: [bigint, bigint] = [0n, 0n];
  frames = 0;
  dropped = 0;
  /** Chance per mille that a step of a stack gets a death somewhere in it. */
  killChance = 0;
  onBoot: ((which: number) => void) | undefined;

  private constructor(stacks: [Stack, Stack], seed: number, wire: WireOptions) {
    this.stacks = stacks; this.random = new Random(seed);
    this.wire = { loss: 0, duplicate: 0, reorder: 0, delayNs: 100_000n, jitterNs: 0n, corrupt: 0, bytesPerSecond: 0, queueFrames: 1000, ...wire };
    stacks.forEach((s, n) => { s.onFrame = (f): void => { this.#send(n, f); }; });
  }
  static async start(seed: number, wire: WireOptions = {}, options: StackOptions = {}): Promise<Pair> {
    const a = await Stack.start({ seed: seed * 2 + 1, gateway: '', address: '10.0.0.1', mac: '02:00:00:00:00:0a', ...options });
    const b = await Stack.start({ seed: seed * 2 + 2, gateway: '', address: '10.0.0.2', mac: '02:00:00:00:00:0b', ...options });
    return new Pair([a, b], seed, wire);
  }
  #send(from: number, frame: Uint8Array): void {
    const w = this.wire;
    this.frames++;
    if (this.random.chance(w.loss)) { this.dropped++; return; }
    let at = this.now;
    if (w.bytesPerSecond !== 0) {
      if (this.#busyUntil[from]! < this.now) this.#busyUntil[from as 0 | 1] = this.now;
      const wait = this.#busyUntil[from]! - this.now;
      if (wait > BigInt(w.queueFrames) * 1514n * 1_000_000_000n / BigInt(w.bytesPerSecond)) { this.dropped++; return; }
      this.#busyUntil[from as 0 | 1] = this.#busyUntil[from]! + BigInt(frame.length) * 1_000_000_000n / BigInt(w.bytesPerSecond);
      at = this.#busyUntil[from]!;
    }
    at += w.delayNs + (w.jitterNs === 0n ? 0n : BigInt(this.random.below(Number(w.jitterNs))));
    if (this.random.chance(w.reorder)) at += w.delayNs * 3n;
    let copy = frame;
    if (this.random.chance(w.corrupt)) { copy = frame.slice(); copy[14 + this.random.below(copy.length - 14)]! ^= 1 << this.random.below(8); }
    const push = (t: bigint): void => { this.#queue.push({ at: t, order: this.#order++, to: 1 - from, frame: copy }); };
    push(at);
    if (this.random.chance(w.duplicate)) push(at + w.delayNs);
  }
  /** Runs something on a stack; with the given chance it dies somewhere in it. */
  run(which: number, f: (s: Stack) => void): boolean {
    const s = this.stacks[which]!;
    s.now = this.now;
    if (this.killChance !== 0 && this.random.chance(this.killChance)) s.countdown = 1 + this.random.below(12);
    const whole = s.guard(() => f(s));
    s.countdown = Infinity;
    if (!whole) this.onBoot?.(which);
    return whole;
  }
  /** A program asks; if the server dies over it, its successor finds the question. */
  ask(which: number, op: Parameters<Stack['post']>[0], args: readonly number[]): Pending {
    const p = this.stacks[which]!.post(op, args);
    this.run(which, (s) => { s.take(p); s.settle(); });
    return p;
  }
  /** The next thing that happens: a frame arrives or a timer is due. False: nothing ever will. */
  step(): boolean {
    let best: InFlight | undefined;
    for (const f of this.#queue) if (best === undefined || f.at < best.at || (f.at === best.at && f.order < best.order)) best = f;
    const deadlines = this.stacks.map((s) => s.deadline);
    const timer = deadlines[0]! <= deadlines[1]! ? 0 : 1;
    if (best !== undefined && best.at <= deadlines[timer]!) {
      if (best.at > this.now) this.now = best.at;
      const f = best;
      this.#queue.splice(this.#queue.indexOf(f), 1);
      // Frames that arrive at the same time come as one batch.
      const batch = [f.frame];
      while (batch.length < 8) {
        const i = this.#queue.findIndex((x) => x.to === f.to && x.at <= this.now + 1000n);
        if (i < 0) break;
        batch.push(this.#queue.splice(i, 1)[0]!.frame);
      }
      this.run(f.to, (s) => { for (const frame of batch) s.push(frame); s.settle(); });
      return true;
    }
    if (deadlines[timer]! > this.now + 3600_000_000_000n) return false;
    if (deadlines[timer]! > this.now) this.now = deadlines[timer]!; else this.now += 1000n;
    this.run(timer, (s) => s.settle());
    return true;
  }
  get inFlight(): number { return this.#queue.length; }
}

/** A program's end of a connection: writes `bytes` of a stream in pieces, reads until the end, checks every byte, closes. */
export class End {
  sent = 0;
  received = 0;
  ended = false;
  closed = false;
  error: number | undefined;
  readonly pair: Pair; readonly which: number; readonly id: number; readonly total: number; readonly seed: number; readonly peerSeed: number;
  #send: Pending | undefined;
  #recv: Pending | undefined;
  #shut: Pending | undefined;
  readonly #sendAt: number; readonly #recvAt: number;
  readonly #piece: number;
  constructor(pair: Pair, which: number, id: number, total: number, seed: number, peerSeed: number, area: number, piece = 9000) {
    this.pair = pair; this.which = which; this.id = id; this.total = total; this.seed = seed; this.peerSeed = peerSeed;
    this.#sendAt = 65536 + area * 131072; this.#recvAt = this.#sendAt + 65536; this.#piece = piece;
  }
  static byte(seed: number, n: number): number { return (Math.imul(n + seed * 7919, 2654435761) >>> 16) & 255; }
  /** Something was answered that `poll` has not looked at. */
  get answered(): boolean { return this.#send?.status !== undefined || this.#recv?.status !== undefined; }
  get done(): boolean { return this.ended && this.#shut?.status !== undefined; }
  /** Looks at answers and asks for more. */
  poll(): void {
    const s = this.pair.stacks[this.which]!, r = this.pair.random;
    if (this.error !== undefined) return;
    if (this.#send?.status !== undefined) {
      if (this.#send.status < 0) { this.error = this.#send.status; return; }
      this.sent += this.#send.r0;
      this.#send = undefined;
    }
    if (this.#recv?.status !== undefined) {
      const p = this.#recv;
      if (p.status! < 0) { this.error = p.status; return; }
      const got = s.get(this.#recvAt, p.r0);
      for (let i = 0; i < got.length; i++) if (got[i] !== End.byte(this.peerSeed, this.received + i)) throw new Error(`stack ${this.which}, socket ${this.id}: byte ${this.received + i} is wrong`);
      this.received += p.r0;
      if (p.r0 === 0) this.ended = true;
      this.#recv = undefined;
    }
    if (this.#send === undefined && this.sent < this.total) {
      const n = Math.min(this.total - this.sent, 1 + r.below(this.#piece));
      const data = Uint8Array.from({ length: n }, (_, i) => End.byte(this.seed, this.sent + i));
      const args = [this.id, this.sent >>> 0, this.#sendAt, n, 0];
      s.put(this.#sendAt, data);
      this.#send = this.pair.ask(this.which, 'send', args);
    } else if (this.#send === undefined && this.#shut === undefined) this.#shut = this.pair.ask(this.which, 'shutdown', [this.id, 1]);
    if (this.#recv === undefined && !this.ended) this.#recv = this.pair.ask(this.which, 'recv', [this.id, this.received >>> 0, this.#recvAt, 1 + r.below(this.#piece), 0]);
  }
}
/** Connects a listener on stack 1 with stack 0, as programs would, whatever dies meanwhile. */
export function connect(pair: Pair, listenerId: number, port: number, client: number, server: number, steps = 5000): void {
  const must = (which: number, op: Parameters<Stack['begin']>[0], args: readonly number[]): Pending => {
    const p = pair.ask(which, op, args);
    for (let n = 0; p.status === undefined && n < steps; n++) if (!pair.step()) break;
    if (p.status === undefined || p.status < 0) throw new Error(`${op}: ${p.status ?? 'no answer'}`);
    return p;
  };
  const [a, b] = pair.stacks;
  must(1, 'socket', [listenerId, 2, 1, 0]);
  must(1, 'bind', [listenerId, b.putAddress(0, '0.0.0.0', port)]);
  must(1, 'listen', [listenerId, 5]);
  const accepted = pair.ask(1, 'accept', [listenerId, server, 0xffffffff, 0]);
  must(0, 'socket', [client, 2, 1, 0]);
  must(0, 'connect', [client, a.putAddress(0, '10.0.0.2', port), 0]);
  for (let n = 0; accepted.status === undefined && n < steps; n++) if (!pair.step()) break;
  if (accepted.status !== 0) throw new Error(`accept: ${accepted.status ?? 'no answer'}`);
}
/** Runs both ends until they are done. */
export function transfer(pair: Pair, ends: readonly End[], steps: number): void {
  for (let n = 0; n < steps; n++) {
    for (const e of ends) e.poll();
    if (ends.every((e) => e.done)) return;
    const failed = ends.find((e) => e.error !== undefined);
    if (failed !== undefined) throw new Error(`stack ${failed.which}, socket ${failed.id}: errno ${failed.error} after ${failed.sent} out, ${failed.received} in`);
    if (ends.some((e) => e.answered)) continue; // a program runs before the wire
    if (!pair.step()) throw new Error(`nothing will ever happen again: ${ends.map((e) => `${e.sent}/${e.total} out, ${e.received} in`).join('; ')}`);
  }
  throw new Error(`not done after ${steps} steps: ${ends.map((e) => `${e.sent}/${e.total} out, ${e.received} in`).join('; ')}`);
}
export { Death, P };
