/**
 * A network core in Node: frames in and out, operations, a clock that the test moves, and death at any point where the core touches the outside (window open and close,
 * transmit, answer, clock), after which a new instance takes over the state. What the dead one had not answered is submitted again, as the ring does.
 */
import { NET } from '../../servers/protocols/net.ts';
import { NETDEV } from '../../servers/protocols/netdev.ts';
import { compileGuest } from '../fs/compile.ts';
import { checksum, ip, mac } from './packet.ts';

const MiB = 1 << 20;
const HEAP = 1 * MiB, STATE = 16 * MiB, PACKETS = 32 * MiB, RECEIVE = 40 * MiB, SHARED = 48 * MiB, OPS = 64;
const SHARED_BYTES = NET.dataBytes;
export const RECORDS_AT = 8192, HALF_BYTES = 448;

export class Death extends Error {}
interface Exports {
  start(state: number, stateBytes: number, sockets: number, heap: number, heapBytes: number, packets: number, packetCount: number, shared: number, sharedBytes: number): number;
  needs(sockets: number, stateBytes: number, packets: number): number;
  nic(macLow: number, macHigh: number, mtu: number, flags: number): number; nicGone(): void;
  receive(frame: number, bytes: number, flags: number): void; sent(frame: number): void; end(): void; deadline(): bigint;
  op(): number; request(at: number, code: number, entry: number, cookie: number, a0: number, a1: number, a2: number, a3: number, a4: number, a5: number): void;
  objects(n: number): number; counter(n: number): number; probe(at: number, bytes: number): number; _start?(): void;
}
export const OBJECTS = { sockets: 0, pages: 1, packets: 2, chunks: 3, reassemblies: 4, queries: 5, parked: 6, recordsTaken: 7, recordsBad: 8 } as const;
let module: Promise<WebAssembly.Module> | undefined;
const load = (): Promise<WebAssembly.Module> => (module ??= compileGuest('test/net/guest/harness.ts', ['servers/net', 'servers/net/tcp', 'servers/fs', 'servers/lib', 'test/net/guest']).then((bytes) => WebAssembly.compile(bytes as Uint8Array<ArrayBuffer>)));

/** An operation under way. */
export interface Pending { readonly op: keyof typeof NET.ops; readonly args: readonly number[]; readonly entry: number; at: number; status: number | undefined; r0: number; r1: number; done?: (() => void) | undefined }
export interface StackOptions { address?: string; prefix?: number; gateway?: string; mac?: string; sockets?: number; stateBytes?: number; packets?: number; checksums?: boolean; mtu?: number; seed?: number; nic?: boolean; nowNs?: bigint }

export class Stack {
  readonly memory = new WebAssembly.Memory({ initial: 4096, maximum: 4096 });
  readonly u8 = new Uint8Array(this.memory.buffer);
  readonly view = new DataView(this.memory.buffer);
  /** Virtual time, ns. */
  now: bigint;
  /** Frames that left, checksums complete. */
  readonly out: Uint8Array[] = [];
  /** Frames stay with the driver until `release` when set. */
  holdFrames = false;
  readonly held: number[] = [];
  /** Throws Death when it reaches 0; counts windows, transmits, answers and looks at the clock. */
  countdown = Infinity;
  events = 0;
  deaths = 0;
  /** Bytes of private memory. */
  needs = 0;
  windows = 0;
  readonly options: Required<Omit<StackOptions, 'nowNs'>>;
  readonly pending = new Map<number, Pending>();
  #guest!: Exports;
  readonly #module: WebAssembly.Module;
  #window = false;
  #entry = 0;
  #freeOps: number[] = [];
  #random: number;
  #before: Uint8Array | undefined;
  /** Called for each frame that leaves instead of keeping it in `out`. */
  onFrame: ((frame: Uint8Array) => void) | undefined;

  private constructor(compiled: WebAssembly.Module, options: StackOptions) {
    this.#module = compiled;
    this.options = { address: '10.0.2.15', prefix: 24, gateway: '10.0.2.2', mac: '52:54:00:12:34:56', sockets: 64, stateBytes: 2 * MiB, packets: 96, checksums: false, mtu: 1500, seed: 1, nic: true, ...options };
    this.#random = this.options.seed >>> 0;
    this.now = options.nowNs ?? 1_000_000_000_000n;
  }
  static async start(options: StackOptions = {}): Promise<Stack> {
    const stack = new Stack(await load(), options);
    stack.boot();
    if (options.address !== '') {
      stack.ok('configure', [2, NET.configure.address, stack.putAddress(0, stack.options.address, 0), stack.options.prefix]);
      if (stack.options.gateway !== '') stack.ok('configure', [2, NET.configure.gateway, stack.putAddress(0, stack.options.gateway, 0), 0]);
    }
    return stack;
  }
  #next(): number { this.#random = (Math.imul(this.#random, 1664525) + 1013904223) >>> 0; return this.#random; }
  #event(): void { this.events++; if (--this.countdown <= 0) { this.countdown = Infinity; throw new Death(); } }
  /** A new incarnation over the same state; private memory is poisoned. */
  boot(): void {
    this.u8.fill(0, 65536, HEAP);
    this.u8.fill(0xa5, HEAP, STATE);
    this.#window = false;
    this.held.length = 0;
    const device = {
      windowOpen: (): void => {
        if (this.#window) throw new Error('window opened twice');
        this.#event();
        this.#window = true;
        this.windows++;
        this.#before = this.countdown <= 1 ? this.u8.slice(STATE, STATE + this.options.stateBytes) : undefined;
      },
      windowClose: (): void => {
        if (!this.#window) throw new Error('window closed twice');
        if (this.countdown <= 1) this.#tear();
        this.#event();
        this.#window = false;
      },
      transmit: (frame: number, bytes: number, flags: number, start: number, offset: number): void => {
        if (this.#window) throw new Error('transmit inside the window');
        this.#event();
        if (frame < PACKETS || frame + bytes > PACKETS + this.options.packets * NETDEV.bufferBytes) throw new Error('frame outside the packet buffers');
        if (bytes > this.options.mtu + 14) throw new Error(`frame of ${bytes} bytes`);
        const copy = this.u8.slice(frame, frame + bytes);
        if ((flags & NETDEV.flags.fillChecksum) !== 0) {
          const sum = checksum(copy.subarray(start));
          copy[start + offset] = sum >> 8; copy[start + offset + 1] = sum & 255;
        }
        if (this.onFrame !== undefined) this.onFrame(copy); else this.out.push(copy);
        this.held.push(frame);
      },
      answer: (at: number, cookie: number, status: number, r0: number, r1: number): void => {
        if (this.#window) throw new Error('answer inside the window');
        this.#event();
        const p = this.pending.get(cookie);
        if (p === undefined) throw new Error('answer to nothing');
        this.pending.delete(cookie);
        this.#freeOps.push(at);
        p.status = status; p.r0 = r0 >>> 0; p.r1 = r1 >>> 0;
        p.done?.();
      },
      clock: (): bigint => { this.#event(); return this.now; },
      random: (): number => this.#next() | 0,
    };
    const instance = new WebAssembly.Instance(this.#module, { env: { memory: this.memory }, device });
    this.#guest = instance.exports as unknown as Exports;
    const needs = this.#guest.needs(this.options.sockets, this.options.stateBytes, this.options.packets);
    this.needs = needs;
    if (needs > STATE - HEAP - MiB) throw new Error(`needs ${needs} bytes of private memory`);
    const status = this.#guest.start(STATE, this.options.stateBytes, this.options.sockets, HEAP, STATE - HEAP, PACKETS, this.options.packets, SHARED, SHARED_BYTES);
    if (status < 0) throw new Error(`start: ${status}`);
    this.#freeOps = Array.from({ length: OPS }, () => this.#guest.op());
    if (this.options.nic) this.nic();
    for (const p of [...this.pending.values()]) this.#submit(p);
    this.settle();
  }
  nic(link = true, macText = this.options.mac): boolean {
    const m = mac(macText);
    return this.#guest.nic((m[0]! | m[1]! << 8 | m[2]! << 16 | m[3]! << 24) >>> 0, m[4]! | m[5]! << 8, this.options.mtu, (link ? NETDEV.flags.link : 0) | (this.options.checksums ? NETDEV.flags.checksums : 0)) !== 0;
  }
  nicGone(): void { this.#guest.nicGone(); }
  /** Death between two batches. */
  kill(): void { this.deaths++; this.boot(); }
  /** Runs `f`; a death in it is survived by a new incarnation. */
  guard(f: () => void): boolean {
    try { f(); return true; } catch (error) {
      if (!(error instanceof Death)) throw error;
      this.deaths++;
      this.#survive();
      return false;
    }
  }
  #survive(): void {
    while (true) {
      try { this.boot(); return; } catch (error) { if (!(error instanceof Death)) throw error; this.deaths++; }
    }
  }
  /** Ends the batch: commit, transmit, answers; frames are given back at once unless held. */
  settle(): void {
    this.#guest.end();
    for (let n = 0; n < 1000 && !this.holdFrames && this.held.length !== 0; n++) { this.release(); if (this.#guest.deadline() <= this.now || this.held.length === 0) this.#guest.end(); }
  }
  release(): void { while (this.held.length !== 0) this.#guest.sent(this.held.pop()!); }
  /** Gives a frame to the core, without ending the batch. */
  push(frame: Uint8Array, flags = 0): void {
    const at = RECEIVE + 2 + NETDEV.headroom;
    this.u8.fill(0xee, RECEIVE, RECEIVE + 4096);
    this.u8.set(frame.subarray(0, 4000), at);
    this.#guest.receive(at, frame.length, flags);
  }
  input(frame: Uint8Array, flags = 0): void { this.push(frame, flags); this.settle(); }
  sent(frame: number): void { this.#guest.sent(frame); }
  get deadline(): bigint { return BigInt.asUintN(64, this.#guest.deadline()); }
  /** Moves the clock; every deadline on the way is met at its time. */
  advance(ns: bigint): void {
    const end = this.now + ns;
    while (true) {
      const next = this.deadline;
      if (next > end) break;
      if (next > this.now) this.now = next;
      this.settle();
      if (this.deadline <= this.now) this.now += 1000n; // the core counts microseconds
    }
    this.now = end;
    this.settle();
  }
  objects(name: keyof typeof OBJECTS): number { return this.#guest.objects(OBJECTS[name]); }
  /** Memory that is nobody's, around everything that the core may write: filled now, and whether it is still as it was. */
  fence(): void { for (const [from, to] of this.#fences()) this.u8.fill(0x5c, from, to); }
  fenceBroken(): string | undefined {
    for (const [from, to] of this.#fences()) for (let at = from; at < to; at++) if (this.u8[at] !== 0x5c) return `byte ${at} (from ${from}) was written`;
    return undefined;
  }
  #fences(): [number, number][] {
    return [[HEAP + this.needs + 65536, STATE], [STATE + this.options.stateBytes, STATE + this.options.stateBytes + 65536], [PACKETS - 65536, PACKETS], [PACKETS + this.options.packets * NETDEV.bufferBytes, PACKETS + this.options.packets * NETDEV.bufferBytes + 65536],
      [RECEIVE - 65536, RECEIVE], [RECEIVE + 8192, RECEIVE + 8192 + 65536], [SHARED - 65536, SHARED], [SHARED + SHARED_BYTES, SHARED + SHARED_BYTES + 65536]];
  }
  /** One counter by its number (`counters()` asks as programs do). */
  counter(n: number): number { return this.#guest.counter(n); }
  probe(at: number, bytes: number): number { return this.#guest.probe(at, bytes); }

  // Operations.
  #submit(p: Pending): void {
    const at = this.#freeOps.pop();
    if (at === undefined) throw new Error('no operation free');
    p.at = at;
    const [a0 = 0, a1 = 0, a2 = 0, a3 = 0, a4 = 0, a5 = 0] = p.args;
    this.#guest.request(at, NET.ops[p.op].op, p.entry, p.entry, a0, a1, a2, a3, a4, a5);
  }
  /** In the ring: a core that dies from now on leaves it to its successor. */
  post(op: keyof typeof NET.ops, args: readonly number[], done?: () => void): Pending {
    const p: Pending = { op, args, entry: ++this.#entry, at: 0, status: undefined, r0: 0, r1: 0, done };
    this.pending.set(p.entry, p);
    return p;
  }
  /** The core takes it; the batch goes on. */
  take(p: Pending): void { this.#submit(p); }
  begin(op: keyof typeof NET.ops, args: readonly number[], done?: () => void): Pending {
    const p = this.post(op, args, done);
    this.#submit(p);
    return p;
  }
  call(op: keyof typeof NET.ops, args: readonly number[]): Pending { const p = this.begin(op, args); this.settle(); return p; }
  /** A call that must succeed at once. */
  ok(op: keyof typeof NET.ops, args: readonly number[]): Pending {
    const p = this.call(op, args);
    if (p.status === undefined || p.status < 0) throw new Error(`${op}(${args.join(', ')}): ${p.status ?? 'parked'}`);
    return p;
  }

  // The shared data area.
  putAddress(at: number, address: string, port: number): number {
    const a = ip(address), p = SHARED + at;
    this.u8.fill(0, p, p + NET.address.size);
    this.view.setUint16(p + NET.address.family, NET.family.inet, true); this.view.setUint16(p + NET.address.port, port, true);
    this.u8[p + NET.address.bytes + 10] = 255; this.u8[p + NET.address.bytes + 11] = 255;
    for (let i = 0; i < 4; i++) this.u8[p + NET.address.bytes + 12 + i] = a >>> (24 - 8 * i) & 255;
    return at;
  }
  getAddress(at: number): { address: string; port: number } {
    const p = SHARED + at + NET.address.bytes + 12;
    return { address: [...this.u8.subarray(p, p + 4)].join('.'), port: this.view.getUint16(SHARED + at + NET.address.port, true) };
  }
  put(at: number, bytes: Uint8Array): number { this.u8.set(bytes, SHARED + at); return at; }
  get(at: number, bytes: number): Uint8Array { return this.u8.slice(SHARED + at, SHARED + at + bytes); }
  counters(): Record<string, number> {
    const counters: Record<string, number> = {};
    const size = NET.records.counter.size, at = 900_000;
    for (let first = 0; ;) {
      const p = this.ok('query', [NET.what.counters, first, at, 100 * size]);
      for (let n = 0; n < p.r0; n++) {
        const r = this.get(at + n * size, size), end = r.indexOf(0);
        counters[new TextDecoder().decode(r.subarray(0, end))] = new DataView(r.buffer).getUint32(28, true);
      }
      if (p.r1 === 0) return counters;
      first = p.r1;
    }
  }
  get state(): Uint8Array { return this.u8.subarray(STATE, STATE + this.options.stateBytes); }
  /**
   * Death inside the window: a prefix of its stores has happened. Records are committed one after the other, each by its lsn: from some record on the lsns are the old
   * ones, and of those halves any words have been written. Stream bytes come before any record, in any number.
   */
  #tear(): void {
    const before = this.#before;
    if (before === undefined) return;
    const old = new Uint32Array(before.buffer), now = new Uint32Array(this.memory.buffer, STATE, old.length);
    const first = RECORDS_AT >> 2, half = HALF_BYTES >> 2, end = first + this.options.sockets * half * 2;
    const changed: number[] = [];
    for (let h = first; h < end; h += half) if (now[h] !== old[h]) changed.push(h);
    const keep = changed.length === 0 ? 0 : this.#next() % (changed.length + 1), percent = this.#next() % 101;
    // The order in which records are committed is not known here; any set of them is harder than a prefix, as they do not depend on each other.
    changed.sort(() => (this.#next() & 1) - 0.5);
    for (const h of changed.slice(keep)) {
      now[h] = old[h]!;
      for (let i = h + 1; i < h + half; i++) if (this.#next() % 100 < percent) now[i] = old[i]!;
    }
  }
}
