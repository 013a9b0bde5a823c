/** A network core with sockets, a connection and programs that read, write and close now and then; hostile frames go in, and the books are kept of what became of them. */
import { CLASSES, Generator, Observer, type HostileClass, type Target } from './generator.ts';
import * as P from './packet.ts';
import { Stack, type StackOptions } from './stack.ts';

export const ME = P.mac('52:54:00:12:34:56'), PEER = P.mac('02:00:00:00:00:02'), ALL = P.mac('ff:ff:ff:ff:ff:ff');
export const A = P.ip('10.0.2.15'), B = P.ip('10.0.2.2');
export const TARGET: Target = { mac: ME, ip: A, gatewayMac: PEER, gateway: B, listens: [80], datagrams: [7, 500], mtu: 1500 };

/** Where each frame, and each reassembled datagram, ends: in exactly one of these. */
export const OUTCOMES = [
  'frame_down', 'frame_long', 'frame_not_ours', 'frame_short', 'frame_source', 'frame_type', 'arp_conflict', 'arp_format', 'arp_full', 'arp_in', 'arp_not_asked', 'arp_short', 'arp_source', 'arp_spoof',
  'ip_checksum', 'ip_forward', 'ip_header', 'ip_length', 'ip_martian', 'ip_protocol', 'ip_short', 'ip_source_route', 'ip_spoofed_own', 'ip_version', 'fragments',
  'icmp_checksum', 'icmp_echo_in', 'icmp_echo_many', 'icmp_errors_in', 'icmp_replies_in', 'icmp_short', 'icmp_type', 'icmp_unwanted', 'udp_checksum', 'udp_in', 'udp_length', 'udp_no_port', 'udp_port_zero', 'udp_short',
  'tcp_checksum', 'tcp_header', 'tcp_many', 'tcp_port_zero', 'tcp_segments_in', 'tcp_short',
] as const;

export class HostileWorld {
  readonly stack: Stack; readonly seen = new Observer(A); readonly g: Generator;
  readonly clean: { packets: number; chunks: number; pages: number };
  #asked = false;
  #accepted = 100; #peerPort = 4000; #connection = 0;
  readonly #numbers: ReadonlyMap<string, number>;
  private constructor(stack: Stack, seed: number, clean: HostileWorld['clean']) {
    this.stack = stack; this.clean = clean; this.g = new Generator(seed, TARGET, this.seen);
    this.#numbers = new Map(Object.keys(stack.counters()).map((name, n) => [name, n]));
  }
  static async start(seed: number, options: StackOptions = {}): Promise<HostileWorld> {
    const stack = await Stack.start({ sockets: 64, seed, ...options });
    const clean = { packets: stack.objects('packets'), chunks: stack.objects('chunks'), pages: stack.objects('pages') };
    const w = new HostileWorld(stack, seed, clean);
    stack.onFrame = (f): void => { w.seen.see(f); if (P.get16(f, 12) === 0x806 && P.get16(f, 20) === 1 && P.get32(f, 38) === B) w.#asked = true; };
    w.#give(P.ethernet(ALL, PEER, 0x806, P.arp(1, PEER, B, new Uint8Array(6), A)));
    stack.settle();
    stack.ok('socket', [1, 2, 1, 0]); stack.ok('bind', [1, stack.putAddress(0, '0.0.0.0', 80)]); stack.ok('listen', [1, 100]);
    stack.ok('socket', [2, 2, 2, 0]); stack.ok('bind', [2, stack.putAddress(0, '0.0.0.0', 7)]);
    stack.ok('socket', [3, 2, 2, 0]); stack.ok('bind', [3, stack.putAddress(0, '0.0.0.0', 500)]);
    w.ensure();
    return w;
  }
  count(name: string): number { return this.stack.counter(this.#numbers.get(name)!); }
  /** Frames, and datagrams put together, that ended somewhere. */
  ended(): number { let sum = 0; for (const name of OUTCOMES) sum += this.count(name); return sum - this.count('reassembled'); }
  /** A good frame of the peer's. */
  #give(frame: Uint8Array, flags = 0): void { this.stack.push(frame, flags); }
  /** There is a connection from the peer, accepted as socket 10, with data of ours under way. */
  ensure(): void {
    const { stack } = this;
    if (this.#connection !== 0 && stack.call('recv', [this.#connection, 0, 4096, 1, 3]).status === -11 && this.seen.connections().some((c) => c.open && c.peerPort === this.#peerPort)) return;
    if (this.#connection !== 0) stack.ok('close', [this.#connection]);
    for (let tries = 0; tries < 8; tries++) {
      const port = this.#peerPort = this.#peerPort % 60000 + 1, seq = this.g.r.next();
      const t = (f: Partial<P.TcpFields>): void => { const frame = P.ethernet(ME, PEER, 0x800, P.ipv4({ protocol: 6, source: B, destination: A }, P.tcp(B, A, { sourcePort: port, destinationPort: 80, seq, ack: 0, flags: P.ACK, window: 60000, ...f }))); this.#give(frame); this.seen.see(frame); this.settle(); };
      const stamps = (echo: number): number[] => [1, 1, 8, 10, 0, 0, 0, 9, echo >>> 24, echo >>> 16 & 255, echo >>> 8 & 255, echo & 255];
      t({ flags: P.SYN, options: Uint8Array.from(port % 2 === 0 ? [2, 4, 5, 180, 4, 2, 3, 3, 7, 1, ...stamps(0)] : [2, 4, 5, 180, 4, 2, 1, 1]) });
      const c = this.seen.connections().find((x) => x.peerPort === port && x.peer === B);
      if (c === undefined) { this.advance(2e9); continue; }
      t({ seq: seq + 1 >>> 0, ack: c.sent, ...(port % 2 === 0 ? { options: Uint8Array.from(stamps(c.clock)) } : {}) });
      // Whatever else was accepted meanwhile is closed.
      for (let n = 0; n < 200; n++) {
        const id = ++this.#accepted, p = stack.call('accept', [1, id, 0, 1]);
        if (p.status !== 0) break;
        if (stack.getAddress(0).port !== port) { stack.ok('close', [id]); continue; }
        this.#connection = id;
        stack.call('send', [id, 0, 4096, 2000, 1]);
        return;
      }
    }
    throw new Error(`no connection comes about: ${JSON.stringify(stack.counters())}`);
  }
  /** One run of a class; each frame must end somewhere, once. */
  attack(c: HostileClass, flags = 0): void {
    const before = this.ended();
    const frames = this.g.run(c);
    for (const f of frames) this.#give(f, flags);
    const ended = this.ended() - before;
    if (ended !== frames.length) throw new Error(`class '${c.name}': ${frames.length} frames in, ${ended} counted`);
    this.settle();
  }
  /** The gateway is there and says who it is when it is asked. */
  settle(): void {
    this.stack.settle();
    while (this.#asked) { this.#asked = false; this.#give(P.ethernet(ME, PEER, 0x806, P.arp(2, PEER, B, ME, A))); this.stack.settle(); }
  }
  advance(ns: number): void { for (let left = ns; left > 0; left -= 5e8) { this.stack.advance(BigInt(Math.min(left, 5e8))); this.settle(); } }
  storm(c = this.g.r.pick(CLASSES)): void { this.attack(c, this.g.r.chance(200) ? 1 : 0); }
  /** What programs do meanwhile: read datagrams, accept and close, echo a bit. */
  programs(n: number): void {
    const { stack } = this;
    for (const id of [2, 3]) if (n % 3 === 0) for (let k = 0; k < 50 && stack.call('recvfrom', [id, 64, 4096, 70000, 1]).status === 0; k++) { /* drained */ }
    if (n % 5 === 0) for (let k = 0; k < 200; k++) { const id = ++this.#accepted; if (stack.call('accept', [1, id, 0xffffffff, 1]).status !== 0) break; stack.ok('close', [id]); }
  }
  /** Everything is closed and all times are over: what is there is what was there in the beginning. */
  finish(): Record<string, number> {
    const { stack } = this;
    for (let k = 0; k < 400; k++) { const id = ++this.#accepted; if (stack.call('accept', [1, id, 0xffffffff, 1]).status !== 0) break; stack.ok('close', [id]); }
    for (const id of [this.#connection, 3, 2, 1]) stack.ok('close', [id]);
    for (let n = 0; n < 3; n++) stack.advance(2_000_000_000_000n);
    return { packets: stack.objects('packets'), chunks: stack.objects('chunks'), pages: stack.objects('pages'), sockets: stack.objects('sockets'), reassemblies: stack.objects('reassemblies'), parked: stack.objects('parked'), queries: stack.objects('queries') };
  }
}
