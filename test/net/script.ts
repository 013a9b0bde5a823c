/**
 * Packetdrill-like scripts (Cardwell et al., USENIX ATC 2013) against one network core. One line, one step; sequence numbers are relative to each side's SYN, timestamps to
 * each side's first, windows are the raw field. `<` comes from the peer, `>` must be exactly what the core sends next; what it sends unasked for fails the script.
 *
 *   < S 0:0(0) win 65535 <mss 1460,sackOK,TS val 0 ecr 0,nop,wscale 7>      flags S F R P U and . for ACK; nops are optional
 *   > . 1:1001(1000) ack 1 win 65535 urg 5 <TS val 0 ecr 0,sack 1:11 21:31>  at this very time
 *   > anew S. ...      the SYN of another connection: sequence numbers count from it
 *   +200ms > ...       exactly 200 ms after the last step      +1s      lets time pass, nothing may be sent
 *   listen 5 [receive buffer] · accept · connect · connected [= errno] · send N [= M] · recv N [= M] · shutdown 1 · close · option nodelay 1
 *   unreachable 4 1001 1000 [30]: ICMP type 3 code 4 about the segment of ours at 1001, path MTU 1000, numbers off by 30
 *   state ESTABLISHED · events 5 · kill · counter tcp_paws 1 · objects sockets 1
 */
import { NET } from '../../servers/protocols/net.ts';
import * as P from './packet.ts';
import { OBJECTS, Stack, type Pending, type StackOptions } from './stack.ts';

const ME = P.mac('52:54:00:12:34:56'), PEER = P.mac('02:00:00:00:00:02'), A = P.ip('10.0.2.15'), B = P.ip('10.0.2.2');
const FLAGS: readonly [string, number][] = [['S', P.SYN], ['F', P.FIN], ['R', P.RST], ['P', P.PSH], ['U', P.URG], ['.', P.ACK]];
const LISTENER = 1, CONNECTION = 2;
const OPS: Readonly<Record<string, number>> = NET.option;
/** Byte n of every stream. */
export const pattern = (n: number): number => (n * 7 + (n >> 8)) & 255;
const stream = (from: number, bytes: number): Uint8Array => Uint8Array.from({ length: bytes }, (_, i) => pattern(from + i));

export interface ScriptOptions extends StackOptions { peerIss?: number; peerStamp?: number; ourPort?: number; peerPort?: number }

class Runner {
  readonly stack: Stack;
  readonly peerIss: number;
  readonly peerStamp: number;
  ourPort: number;
  readonly peerPort: number;
  iss: number | undefined;
  stamp: number | undefined;
  readonly frames: { at: bigint; frame: Uint8Array }[] = [];
  stepAt: bigint;
  sent = 0;
  received = 0;
  connecting: Pending | undefined;
  constructor(stack: Stack, options: ScriptOptions) {
    this.stack = stack;
    this.peerIss = options.peerIss ?? 0x20000000; this.peerStamp = options.peerStamp ?? 1_000_000;
    this.ourPort = options.ourPort ?? 80; this.peerPort = options.peerPort ?? 4000;
    this.stepAt = stack.now;
    stack.onFrame = (frame): void => { if (P.get16(frame, 12) === 0x806) this.#arp(frame); else this.frames.push({ at: stack.now, frame }); };
  }
  /** The peer is a neighbour that answers. */
  #arp(frame: Uint8Array): void {
    if (P.get16(frame, 20) !== 1 || P.get32(frame, 38) !== B) return;
    this.arpReplies.push(P.ethernet(ME, PEER, 0x806, P.arp(2, PEER, B, ME, A)));
  }
  readonly arpReplies: Uint8Array[] = [];
  drainArp(): void { while (this.arpReplies.length !== 0) this.stack.input(this.arpReplies.shift()!); }

  #options(text: string): Uint8Array {
    const out: number[] = [];
    const u32 = (v: number): void => { out.push(v >>> 24 & 255, v >>> 16 & 255, v >>> 8 & 255, v & 255); };
    for (const o of text.split(',').map((x) => x.trim()).filter((x) => x !== '')) {
      const w = o.split(/\s+/);
      switch (w[0]) {
        case 'nop': out.push(1); break;
        case 'mss': out.push(2, 4, Number(w[1]) >> 8, Number(w[1]) & 255); break;
        case 'wscale': out.push(3, 3, Number(w[1])); break;
        case 'sackOK': out.push(4, 2); break;
        case 'TS': out.push(8, 10); u32(this.peerStamp + Number(w[2]) >>> 0); u32(Number(w[4]) < 0 ? 0 : (this.stamp ?? 0) + Number(w[4]) >>> 0); break;
        case 'sack':
          out.push(5, 2 + 8 * (w.length - 1));
          for (const block of w.slice(1)) { const [a, b] = block.split(':').map(Number); u32((this.iss ?? 0) + a! >>> 0); u32((this.iss ?? 0) + b! >>> 0); }
          break;
        case 'hex': out.push(...Buffer.from(w[1]!, 'hex')); break;
        default: throw new Error(`option ${o}`);
      }
    }
    while (out.length % 4 !== 0) out.push(0);
    return Uint8Array.from(out);
  }
  inject(text: string): void {
    const m = /^(\S+)\s+(-?\d+):(-?\d+)\((\d+)\)(.*)$/.exec(text);
    if (m === null) throw new Error(`segment: ${text}`);
    let flags = 0;
    for (const c of m[1]!) { const f = FLAGS.find(([k]) => k === c); if (f === undefined) throw new Error(`flag ${c}`); flags |= f[1]; }
    const rest = m[5]!, field = (name: string): number | undefined => { const x = new RegExp(`\\b${name} (-?\\d+)`).exec(rest.replace(/<.*>/, '')); return x === null ? undefined : Number(x[1]); };
    const from = Number(m[2]), bytes = Number(m[4]);
    const ack = field('ack');
    const options = /<(.*)>/.exec(rest);
    const segment = P.tcp(B, A, {
      sourcePort: this.peerPort, destinationPort: this.ourPort, seq: this.peerIss + from >>> 0, ack: ack === undefined ? 0 : (this.iss ?? 0) + ack >>> 0, flags, window: field('win') ?? 65535, urgent: field('urg') ?? 0,
      options: options === null ? new Uint8Array(0) : this.#options(options[1]!), payload: stream(from - 1, bytes),
    });
    this.stack.input(P.ethernet(ME, PEER, 0x800, P.ipv4({ protocol: 6, source: B, destination: A }, segment)));
    this.drainArp();
  }
  /** A frame of the core in the words of a script. */
  text(frame: Uint8Array): string {
    const p = P.parse(frame);
    if (p.icmp !== undefined) return `icmp ${p.icmp.type}/${p.icmp.code}`;
    if (p.tcp === undefined) return `frame of type ${p.type.toString(16)}, protocol ${p.ip?.protocol}`;
    const t = p.tcp;
    if (this.iss === undefined && (t.flags & P.SYN) !== 0) { this.iss = t.seq; this.ourPort = t.sourcePort; }
    const iss = this.iss ?? 0, seq = t.seq - iss | 0;
    const flags = FLAGS.filter(([, bit]) => (t.flags & bit) !== 0).map(([c]) => c).join('');
    let text = `${flags} ${seq}:${seq + t.payload.length}(${t.payload.length})`;
    if ((t.flags & P.ACK) !== 0) text += ` ack ${t.ack - this.peerIss | 0}`;
    if ((t.flags & P.RST) === 0) text += ` win ${t.window}`;
    if ((t.flags & P.URG) !== 0) text += ` urg ${t.urgent}`;
    for (let i = 0; i < t.payload.length; i++) if (t.payload[i] !== pattern(seq - 1 + i)) throw new Error(`byte ${seq - 1 + i} of the stream is wrong`);
    const options: string[] = [], o = t.options;
    for (let i = 0; i < o.length;) {
      if (o[i] === 0) break;
      if (o[i] === 1) { i++; continue; }
      const n = o[i + 1]!, value = i + 2;
      switch (o[i]) {
        case 2: options.push(`mss ${P.get16(o, value)}`); break;
        case 3: options.push(`wscale ${o[value]}`); break;
        case 4: options.push('sackOK'); break;
        case 8: {
          const val = P.get32(o, value), ecr = P.get32(o, value + 4);
          this.stamp ??= val;
          options.push(`TS val ${val - this.stamp | 0} ecr ${ecr === 0 ? 0 : ecr - this.peerStamp | 0}`);
          break;
        }
        case 5: {
          const blocks: string[] = [];
          for (let k = 0; k < (n - 2) / 8; k++) blocks.push(`${P.get32(o, value + 8 * k) - this.peerIss | 0}:${P.get32(o, value + 8 * k + 4) - this.peerIss | 0}`);
          options.push(`sack ${blocks.join(' ')}`);
          break;
        }
        default: options.push(`option ${o[i]}`);
      }
      i += n;
    }
    return options.length === 0 ? text : `${text} <${options.join(',')}>`;
  }
  expect(text: string, at: bigint): void {
    const f = this.frames.shift();
    if (f === undefined) throw new Error(`nothing was sent, wanted: ${text}`);
    if (text.startsWith('anew ')) { this.iss = undefined; this.stamp = undefined; text = text.slice(5); } // another connection begins
    const got = this.text(f.frame);
    const normal = (x: string): string => x.replace(/nop,/g, '').replace(/\s+/g, ' ').trim();
    if (normal(got) !== normal(text)) throw new Error(`sent:   ${got}\n  wanted: ${text}`);
    if (f.at !== at) throw new Error(`${text}: sent ${Number(f.at - at) / 1e6} ms away from when it was due`);
  }
  quiet(): void {
    if (this.frames.length !== 0) throw new Error(`sent without being asked: ${this.frames.map((f) => this.text(f.frame)).join(' | ')}`);
  }
  status(p: Pending, want: string | undefined, what: string): void {
    if (want === undefined) { if (p.status === undefined || p.status < 0) throw new Error(`${what}: ${p.status ?? 'waits'}`); return; }
    const got = p.status === undefined ? 'waits' : p.status < 0 ? String(p.status) : String(p.r0);
    if (got !== want) throw new Error(`${what}: ${got}, wanted ${want}`);
  }
  record(): DataView | undefined {
    const size = NET.records.socket.size, at = 800_000;
    const p = this.stack.ok('query', [NET.what.sockets, 0, at, 100 * size]);
    for (let n = 0; n < p.r0; n++) {
      const v = new DataView(this.stack.get(at + n * size, size).buffer);
      if (v.getUint32(NET.records.socket.peerPort, true) === this.peerPort) return v;
    }
    return undefined;
  }
  step(line: string): void {
    let text = line, due = this.stack.now;
    const time = /^\+(\d+(?:\.\d+)?)(us|ms|s)\s*/.exec(text);
    if (time !== null) {
      this.quiet();
      const ns = BigInt(Math.round(Number(time[1]) * (time[2] === 's' ? 1e9 : time[2] === 'ms' ? 1e6 : 1e3)));
      due = this.stepAt + ns;
      if (due > this.stack.now) this.stack.advance(due - this.stack.now);
      text = text.slice(time[0].length);
      this.stepAt = due;
      this.drainArp();
      if (text === '') { this.quiet(); return; }
    } else if (!text.startsWith('>')) this.stepAt = this.stack.now;
    if (text.startsWith('>')) { this.expect(text.slice(1).trim(), due); return; }
    this.quiet();
    const m = /^(\S+)\s*(.*?)\s*(?:=\s*(\S+))?$/.exec(text)!;
    const verb = m[1]!, rest = m[2]!, want = m[3], n = Number(rest);
    const s = this.stack;
    switch (verb) {
      case '<': this.inject(text.slice(1).trim()); return;
      case 'listen': s.ok('socket', [LISTENER, 2, 1, 0]); s.ok('bind', [LISTENER, s.putAddress(0, '0.0.0.0', this.ourPort)]); if (rest.includes(' ')) s.ok('option', [LISTENER, NET.option.receiveBuffer, Number(rest.split(' ')[1]), 1]); s.ok('listen', [LISTENER, rest === '' ? 5 : parseInt(rest, 10)]); return;
      case 'accept': this.status(s.call('accept', [LISTENER, CONNECTION, 0xffffffff, 1]), want, text); return;
      case 'socket': s.ok('socket', [CONNECTION, 2, 1, 0]); return;
      case 'connect':
        s.ok('socket', [CONNECTION, 2, 1, 0]);
        this.connecting = s.call('connect', [CONNECTION, s.putAddress(0, '10.0.2.2', this.peerPort), 0]);
        this.drainArp();
        return;
      case 'connected': this.status(this.connecting!, want, text); return;
      case 'send': case 'urgent': {
        s.put(4096, stream(this.sent, n));
        const p = s.call('send', [CONNECTION, this.sent >>> 0, 4096, n, verb === 'urgent' ? 3 : 1]);
        this.status(p, want ?? String(n), text);
        if (p.status === 0) this.sent += p.r0;
        return;
      }
      case 'recv': {
        const p = s.call('recv', [CONNECTION, this.received >>> 0, 4096, n, 1]);
        this.status(p, want ?? String(n), text);
        if (p.status !== 0) return;
        const got = s.get(4096, p.r0);
        for (let i = 0; i < got.length; i++) if (got[i] !== pattern(this.received + i)) throw new Error(`received byte ${this.received + i} is wrong`);
        this.received += p.r0;
        return;
      }
      case 'shutdown': this.status(s.call('shutdown', [CONNECTION, n]), want, text); return;
      case 'close': this.status(s.call('close', [rest === 'listener' ? LISTENER : CONNECTION]), want, text); return;
      case 'option': { const [name, value] = rest.split(/\s+/); const k = OPS[name!]; if (k === undefined) throw new Error(`option ${name}`); this.status(s.call('option', value === undefined ? [CONNECTION, k, 0, 0] : [CONNECTION, k, Number(value) >>> 0, 1]), value === undefined ? want : undefined, text); return; }
      case 'events': this.status(s.call('watch', [CONNECTION, 0]), rest, text); return;
      case 'state': {
        const v = this.record(), value = v === undefined ? 'none' : Object.entries(NET.tcpState).find(([, x]) => x === v.getUint32(NET.records.socket.state, true))?.[0];
        if (value !== rest) throw new Error(`state ${value}, wanted ${rest}`);
        return;
      }
      case 'cwnd': { const v = this.record()!.getUint32(NET.records.socket.congestionWindow, true); if (v !== n) throw new Error(`cwnd ${v}, wanted ${n}`); return; }
      case 'unreachable': {
        const [code, seq, mtu, off = 0] = rest.split(/\s+/).map(Number) as [number, number, number, number?];
        const quote = P.ipv4({ protocol: 6, source: A, destination: B }, P.tcp(A, B, { sourcePort: this.ourPort, destinationPort: this.peerPort, seq: (this.iss ?? 0) + seq + off >>> 0, ack: 0, flags: P.ACK, window: 0, options: new Uint8Array(0), payload: new Uint8Array(0), urgent: 0 })).slice(0, 28);
        s.input(P.ethernet(ME, PEER, 0x800, P.ipv4({ protocol: 1, source: B, destination: A }, P.icmp(3, code, mtu, quote))));
        return;
      }
      case 'kill': s.kill(); this.drainArp(); return;
      case 'counter': { const [name, value] = rest.split(/\s+/), got = s.counters()[name!]; if (got !== Number(value)) throw new Error(`counter ${name}: ${got}, wanted ${value}`); return; }
      case 'objects': { const [name, value] = rest.split(/\s+/), got = s.objects(name as keyof typeof OBJECTS); if (got !== Number(value)) throw new Error(`objects ${name}: ${got}, wanted ${value}`); return; }
      default: throw new Error(`no such step: ${text}`);
    }
  }
}

/** Runs a script; a failure names the line. Returns the stack for further questions. */
export async function script(text: string, options: ScriptOptions = {}): Promise<Stack> {
  const { peerIss, peerStamp, ourPort, peerPort, ...stackOptions } = options;
  const stack = await Stack.start(stackOptions);
  stack.input(P.ethernet(Uint8Array.from([255, 255, 255, 255, 255, 255]), PEER, 0x806, P.arp(1, PEER, B, new Uint8Array(6), A)));
  stack.out.length = 0;
  const runner = new Runner(stack, options);
  const lines = text.split('\n');
  for (const [n, raw] of lines.entries()) {
    const line = raw.replace(/#.*/, '').trim();
    if (line === '') continue;
    try { runner.step(line); } catch (error) { throw new Error(`line ${n + 1}: ${line}\n  ${(error as Error).message}`, { cause: error }); }
  }
  try { runner.quiet(); } catch (error) { throw new Error(`at the end: ${(error as Error).message}`, { cause: error }); }
  return stack;
}

/** The peer connects; mss 1000, no further options; id 2 is the connection. */
export const PASSIVE = `
  listen
  < S 0:0(0) win 65535 <mss 1000>
  > S. 0:0(0) ack 1 win 65535 <mss 1460>
  < . 1:1(0) ack 1 win 65535
  accept`;
/** The same with SACK. */
export const PASSIVE_SACK = `
  listen
  < S 0:0(0) win 65535 <mss 1000,sackOK>
  > S. 0:0(0) ack 1 win 65535 <mss 1460,sackOK>
  < . 1:1(0) ack 1 win 65535
  accept`;
/** The same with SACK over a path of 20 ms: srtt 20 ms, RTO 200 ms, the tail is probed after 40 ms (240 ms if it is a lone segment). */
export const PASSIVE_PATH = `
  listen
  < S 0:0(0) win 65535 <mss 1000,sackOK>
  > S. 0:0(0) ack 1 win 65535 <mss 1460,sackOK>
  +20ms
  < . 1:1(0) ack 1 win 65535
  accept`;
/** We connect; mss 1000, no further options. */
export const ACTIVE = `
  connect
  > S 0:0(0) win 65535 <mss 1460,sackOK,TS val 0 ecr 0,wscale 2>
  < S. 0:0(0) ack 1 win 65535 <mss 1000>
  > . 1:1(0) ack 1 win 65535
  connected = 0`;
/** `count` full segments going out in a row, from byte `from` of the stream. */
export const segments = (from: number, count: number, size = 1000): string => Array.from({ length: count }, (_, i) => `> . ${from + size * i}:${from + size * (i + 1)}(${size}) ack 1 win 65535`).join('\n');
