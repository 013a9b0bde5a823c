/**
 * The other end of the wire in a sweep of the network: the deterministic gateway (vm/net/user) behind a wire that knows what it carries. A rule picks the one frame
 * whose handling is swept, makes the wire lose, repeat, hold back or change frames around it, and then keeps the wire to the guest quiet, so that between
 * the marks `from` and `to` the guest handles this frame and nothing else. All state is plain data: the machine is rolled back thousands of times.
 *
 * The guest's program (programs/netop.ts) gives orders by datagrams of one letter to port 4000, answered by the same letter and perhaps one more:
 * g rules apply from now on, c call port 7000, v how that went, r reset the connection, a ask for the guest's address.
 */
import { crc32 } from 'node:zlib';
import { ETHERNET_HEADER, ETHERTYPE, FrameBatch, PROTOCOL, checksum, get16, get32, ipv4, pseudoSum, put16, put32 } from '../../vm/net/frames.ts';
import { DEFAULT_MTU, type ScriptedPeer, type ScriptedWire } from '../../vm/net/config.ts';
import { StateReader, StateWriter } from '../../vm/net/state.ts';
import { UserNetwork } from '../../vm/net/user/network.ts';
import { Services } from '../../vm/net/user/services.ts';
import { FLAG } from '../../vm/net/user/segment.ts';

/** The wire to the guest is quiet for so long after the frame that is swept: longer than anything it sets off. */
const QUIET_NS = 3e6;
/** A zero window is kept for longer than the guest waits before it probes. */
const SHUT_NS = 5e9;
const PROBE_AFTER_NS = 50e6;
const SEGMENT_SOON_NS = 1e6;
/** What a link behind the gateway takes, for `icmp-too-big`. */
const NARROW_MTU = 1000;
const CONTROL_PORT = 4000;
const GATEWAY = ipv4(10, 0, 2, 2), GUEST = ipv4(10, 0, 2, 15);
/** What the peer sends when it calls. */
export const CALL_BYTES = Uint8Array.from({ length: 2000 }, (_, k) => 33 + (k * 7) % 90);

export const SEGMENTS = [
  'syn', 'syn-ack', 'handshake-ack', 'data', 'out-of-order', 'hole', 'duplicate', 'sack', 'timeout', 'zero-window', 'window-update', 'window-probe',
  'fin', 'fin-close-wait', 'fin-last-ack', 'ack-last-ack', 'ack-fin-wait-1', 'fin-fin-wait-1', 'fin-fin-wait-2', 'fin-simultaneous', 'ack-closing', 'fin-time-wait', 'rst',
  'icmp-too-big', 'echo-reply', 'arp-request', 'arp-reply', 'dhcp-offer', 'dhcp-ack', 'udp', 'dns', 'fragment', 'last-fragment',
] as const;
export type Segment = (typeof SEGMENTS)[number];
/** `none`: the wire does nothing to its frames. */
export type Rule = Segment | 'none';
export type Mark = 'from' | 'to';

/** What rules ask of a frame. Fields that do not apply are 0. */
interface Parsed { readonly bytes: Uint8Array; readonly arp: number; readonly protocol: number; readonly fragment: number; readonly more: boolean; readonly sourcePort: number; readonly port: number; readonly flags: number; readonly seq: number; readonly ack: number; readonly payload: number; readonly sack: boolean; readonly dhcp: number; readonly icmp: number }
function parse(b: Uint8Array): Parsed {
  const out = { bytes: b, arp: 0, protocol: 0, fragment: 0, more: false, sourcePort: 0, port: 0, flags: 0, seq: 0, ack: 0, payload: 0, sack: false, dhcp: 0, icmp: -1 };
  if (get16(b, 12) === ETHERTYPE.arp) { out.arp = get16(b, 20); return out; }
  if (get16(b, 12) !== ETHERTYPE.ipv4) return out;
  const ip = ETHERNET_HEADER, header = (b[ip]! & 15) * 4, at = ip + header, total = get16(b, ip + 2);
  out.protocol = b[ip + 9]!;
  out.fragment = (get16(b, ip + 6) & 0x1fff) * 8;
  out.more = (get16(b, ip + 6) & 0x2000) !== 0;
  if (out.fragment > 0) return out;
  if (out.protocol === PROTOCOL.icmp) { out.icmp = b[at]!; return out; }
  out.sourcePort = get16(b, at);
  out.port = get16(b, at + 2);
  if (out.protocol === PROTOCOL.udp) {
    out.payload = get16(b, at + 4) - 8;
    if (out.port === 68) for (let o = at + 8 + 240; o < b.length && b[o] !== 255; o += 2 + b[o + 1]!) if (b[o] === 53) out.dhcp = b[o + 2]!;
    return out;
  }
  if (out.protocol !== PROTOCOL.tcp) return out;
  const data = (b[at + 12]! >> 4) * 4;
  out.seq = get32(b, at + 4); out.ack = get32(b, at + 8); out.flags = b[at + 13]! & 0x3f; out.payload = total - header - data;
  for (let o = at + 20; o < at + data && b[o] !== 0; o += b[o] === 1 ? 1 : Math.max(2, b[o + 1]!)) if (b[o] === 5) out.sack = true;
  return out;
}
const is = (f: Parsed, flags: number): boolean => f.protocol === PROTOCOL.tcp && (f.flags & flags) === flags;
const carries = (f: Parsed): boolean => f.protocol === PROTOCOL.tcp && f.payload > 0;
/** Acknowledges and nothing else. */
const bare = (f: Parsed): boolean => f.protocol === PROTOCOL.tcp && f.payload === 0 && (f.flags & (FLAG.SYN | FLAG.FIN | FLAG.RST)) === 0;

function sumTcp(b: Uint8Array): void {
  const at = ETHERNET_HEADER + 20, bytes = get16(b, ETHERNET_HEADER + 2) - 20;
  put16(b, at + 16, 0);
  put16(b, at + 16, checksum(b, at, bytes, pseudoSum(get32(b, 26), get32(b, 30), PROTOCOL.tcp, bytes)));
}
function sumIp(b: Uint8Array): void { put16(b, 24, 0); put16(b, 24, checksum(b, ETHERNET_HEADER, 20)); }
/** The segment without payload and FIN. */
function bareOf(f: Parsed): Uint8Array {
  const at = ETHERNET_HEADER + 20, header = (f.bytes[at + 12]! >> 4) * 4, out = f.bytes.slice(0, at + header);
  put16(out, ETHERNET_HEADER + 2, 20 + header);
  out[at + 13] = FLAG.ACK;
  sumIp(out); sumTcp(out);
  return out;
}
function shut(f: Parsed): Uint8Array {
  const out = bareOf(f);
  put16(out, ETHERNET_HEADER + 20 + 14, 0);
  sumTcp(out);
  return out;
}
/** From the other end of a frame of the guest. */
function answerTo(b: Uint8Array, protocol: number, bytes: number): Uint8Array {
  const out = new Uint8Array(ETHERNET_HEADER + 20 + bytes);
  out.set(b.subarray(6, 12), 0); out.set(b.subarray(0, 6), 6); put16(out, 12, ETHERTYPE.ipv4);
  out[14] = 0x45; put16(out, 16, 20 + bytes); out[22] = 64; out[23] = protocol;
  put32(out, 26, get32(b, 30)); put32(out, 30, get32(b, 26));
  sumIp(out);
  return out;
}
function reset(f: Parsed): Uint8Array {
  const out = answerTo(f.bytes, PROTOCOL.tcp, 20), at = ETHERNET_HEADER + 20;
  put16(out, at, f.port); put16(out, at + 2, f.sourcePort); put32(out, at + 4, f.ack);
  out[at + 12] = 5 << 4; out[at + 13] = FLAG.RST;
  sumTcp(out);
  return out;
}
/** Destination unreachable, fragmentation needed (RFC 1191). */
function tooBig(f: Parsed): Uint8Array {
  const out = answerTo(f.bytes, PROTOCOL.icmp, 8 + 28), at = ETHERNET_HEADER + 20;
  put32(out, 26, GATEWAY);
  out[at] = 3; out[at + 1] = 4; put16(out, at + 6, NARROW_MTU);
  out.set(f.bytes.subarray(ETHERNET_HEADER, ETHERNET_HEADER + 28), at + 8);
  put16(out, at + 2, checksum(out, at, 36));
  sumIp(out);
  return out;
}
function whoHas(): Uint8Array {
  const out = new Uint8Array(42), mac = Uint8Array.of(0x52, 0x55, 10, 0, 2, 2);
  out.fill(0xff, 0, 6); out.set(mac, 6); put16(out, 12, ETHERTYPE.arp);
  put16(out, 14, 1); put16(out, 16, ETHERTYPE.ipv4); out[18] = 6; out[19] = 4; put16(out, 20, 1);
  out.set(mac, 22); put32(out, 28, GATEWAY); put32(out, 38, GUEST);
  return out;
}

/** What is to be put on the wire, in order; `quiet` stops everything behind it for so many ns. */
interface Item { readonly kind: 'frame' | 'quiet' | Mark; readonly bytes: Uint8Array; readonly ns: number }
const KINDS: readonly Item['kind'][] = ['frame', 'quiet', 'from', 'to'];
const EMPTY = new Uint8Array(0);

export class SweepPeer implements ScriptedPeer {
  /** Told when the handling of the swept frame begins, and when it is over. Host state. */
  onMark: ((mark: Mark) => void) | undefined;
  readonly #rule: Rule;
  readonly #network: UserNetwork;
  readonly #services: Services;
  readonly #one = new FrameBatch(1, 16_384);
  #now = 0;
  #random = 0x1234_5678;
  #armed = false;
  #phase = 0;
  #since = 0;
  #quietUntil = 0;
  #items: Item[] = [];
  #stash: Uint8Array = EMPTY;
  /** Last TCP segment of the guest. */
  #last: Uint8Array = EMPTY;

  constructor(rule: Rule) {
    this.#rule = rule;
    this.#services = new Services(() => 1_700_000_000, [{ port: 7000, send: CALL_BYTES, atNs: Infinity }]);
    this.#network = new UserNetwork({ now: () => this.#now }, DEFAULT_MTU, () => { this.#random = (Math.imul(this.#random, 1664525) + 1013904223) >>> 0; return this.#random; }, this.#services);
    this.#services.network = this.#network;
  }

  frame(frame: Uint8Array, nowNs: number, wire: ScriptedWire): void {
    this.#now = nowNs;
    const f = parse(frame);
    if (f.protocol === PROTOCOL.tcp) this.#last = frame;
    if (f.protocol === PROTOCOL.udp && f.port === CONTROL_PORT && f.fragment === 0) this.#order(f);
    else if (!this.#armed || this.#up(f)) this.#toGateway(frame);
    this.#go(wire);
  }
  woken(nowNs: number, wire: ScriptedWire): void {
    this.#now = nowNs;
    if (this.#services.wakeNs <= nowNs) { this.#services.expire(); this.#network.settle(); }
    if (this.#network.wakeNs <= nowNs) this.#network.expire();
    this.#go(wire);
  }
  #toGateway(frame: Uint8Array): void { this.#one.clear(); this.#one.push(frame); this.#network.input(this.#one); }

  /** Frames of the gateway through the rule, then everything that may go onto the wire. */
  #go(wire: ScriptedWire): void {
    const { out } = this.#network;
    while (out.count > 0) {
      for (let k = 0; k < out.count; k++) {
        out.finish(k);
        const bytes = out.frame(k).slice();
        if (this.#armed) this.#down(parse(bytes)); else this.#pass(bytes);
      }
      out.clear();
      this.#network.drained();
    }
    while (this.#items.length > 0 && this.#quietUntil <= this.#now) {
      const { kind, bytes, ns } = this.#items.shift()!;
      if (kind === 'frame') wire.send(bytes);
      else if (kind === 'quiet') this.#quietUntil = this.#now + ns;
      else this.onMark?.(kind);
    }
    wire.wakeAt(Math.min(this.#network.wakeNs, this.#services.wakeNs, this.#items.length > 0 ? this.#quietUntil : Infinity));
  }
  #item(kind: Item['kind'], bytes: Uint8Array = EMPTY, ns = 0): void { this.#items.push({ kind, bytes, ns }); }
  #pass(bytes: Uint8Array): void { this.#item('frame', bytes); }
  #quiet(ns = QUIET_NS): void { this.#item('quiet', EMPTY, ns); }
  /** The frame whose handling is swept. */
  #swept(bytes: Uint8Array): void { this.#item('from'); this.#pass(bytes); this.#quiet(); this.#item('to'); }
  #enter(phase: number): void { this.#phase = phase; this.#since = this.#now; }

  #order(f: Parsed): void {
    const letter = f.bytes[ETHERNET_HEADER + 28]!;
    let more = '';
    switch (String.fromCharCode(letter)) {
      case 'g': this.#armed = true; break;
      case 'c': this.#services.start(0); break;
      case 'v': {
        const [call] = this.#services.calls;
        more = call!.done ? `${call!.bytes} ${call!.crc32.toString(16).padStart(8, '0')}` : '-';
        break;
      }
      case 'r': {
        const last = parse(this.#last);
        if (this.#phase === 0) { this.#enter(1); this.#swept(reset(last)); }
        break;
      }
      case 'a':
        if (this.#phase === 0) { this.#enter(1); this.#swept(whoHas()); } else if (this.#phase === 1) this.#pass(whoHas());
        more = this.#phase === 2 ? 'y' : 'n';
        break;
    }
    const out = answerTo(f.bytes, PROTOCOL.udp, 9 + more.length), at = ETHERNET_HEADER + 20; // no checksum (RFC 768)
    put16(out, at, f.port); put16(out, at + 2, f.sourcePort); put16(out, at + 4, 9 + more.length);
    out[at + 8] = letter;
    out.set(new TextEncoder().encode(more), at + 9);
    this.#pass(out);
  }

  /** A frame of the guest; true: the gateway gets it. */
  #up(f: Parsed): boolean {
    const phase = this.#phase;
    switch (this.#rule) {
      case 'sack': if (phase === 0 && carries(f)) { this.#enter(1); return false; } return true;
      case 'timeout':
        if (phase === 0 && carries(f)) { this.#enter(1); this.#stash = f.bytes; this.#item('from'); return false; }
        if (phase === 1 && carries(f) && this.#now - this.#since > SEGMENT_SOON_NS) { this.#enter(2); this.#quiet(); this.#item('to'); }
        return true;
      case 'window-probe':
        if (phase === 1 && f.protocol === PROTOCOL.tcp && this.#now - this.#since > PROBE_AFTER_NS) { this.#enter(2); this.#quietUntil = this.#now + QUIET_NS; }
        return true;
      case 'fin-last-ack': case 'ack-last-ack': if (phase === 1 && is(f, FLAG.FIN)) this.#enter(2); return true;
      case 'ack-fin-wait-1': case 'fin-fin-wait-1': case 'fin-fin-wait-2': if (phase === 0 && is(f, FLAG.FIN)) this.#enter(1); return true;
      case 'fin-simultaneous': case 'ack-closing':
        if (!is(f, FLAG.FIN)) return true;
        if (phase === 0) return false;
        if (phase === 1) {
          this.#enter(2);
          if (this.#rule === 'fin-simultaneous') this.#swept(this.#stash); else this.#pass(this.#stash);
          return false;
        }
        if (phase === 2) this.#enter(3);
        return true;
      case 'rst':
        if (f.protocol !== PROTOCOL.tcp || phase === 0) return true;
        this.#pass(reset(f));
        return false;
      case 'icmp-too-big':
        if (!carries(f) || f.bytes.length <= ETHERNET_HEADER + NARROW_MTU) return true;
        if (phase === 0) { this.#enter(1); this.#swept(tooBig(f)); } else this.#pass(tooBig(f));
        return false;
      case 'arp-request': if (f.arp === 2 && phase === 1 && get32(f.bytes, 28) === GUEST && get32(f.bytes, 38) === GATEWAY) this.#enter(2); return true;
      default: return true;
    }
  }

  /** A frame of the gateway. */
  #down(f: Parsed): void {
    const phase = this.#phase;
    const first = (matches: boolean): void => { if (matches && phase === 0) { this.#enter(1); this.#swept(f.bytes); } else this.#pass(f.bytes); };
    switch (this.#rule) {
      case 'syn': first(is(f, FLAG.SYN) && !is(f, FLAG.ACK)); return;
      case 'syn-ack': first(is(f, FLAG.SYN | FLAG.ACK)); return;
      case 'data': first(carries(f)); return;
      case 'fin': first(is(f, FLAG.FIN)); return;
      case 'echo-reply': first(f.icmp === 0); return;
      case 'arp-reply': first(f.arp === 2 && get32(f.bytes, 28) === ipv4(10, 0, 2, 100)); return;
      case 'dhcp-offer': first(f.dhcp === 2); return;
      case 'dhcp-ack': first(f.dhcp === 5); return;
      case 'udp': first(f.protocol === PROTOCOL.udp && f.sourcePort === 7); return;
      case 'dns': first(f.protocol === PROTOCOL.udp && f.sourcePort === 53); return;
      case 'fragment': first(f.more && f.fragment === 0); return;
      case 'last-fragment': first(!f.more && f.fragment > 0); return;
      case 'handshake-ack':
        if (phase === 0 && f.protocol === PROTOCOL.tcp && !is(f, FLAG.SYN)) {
          this.#enter(1);
          this.#swept(bareOf(f));
          if (bare(f)) return;
        }
        this.#pass(f.bytes);
        return;
      case 'out-of-order': case 'hole':
        if (phase === 0 && carries(f)) { this.#enter(1); this.#stash = f.bytes; return; }
        if (phase === 1 && carries(f)) {
          if (f.seq === parse(this.#stash).seq) return; // sent again before anything else came
          this.#enter(2);
          if (this.#rule === 'hole') { this.#pass(f.bytes); this.#quiet(); this.#swept(this.#stash); } else { this.#swept(f.bytes); this.#pass(this.#stash); }
          return;
        }
        this.#pass(f.bytes);
        return;
      case 'duplicate':
        if (phase === 0 && carries(f)) { this.#enter(1); this.#pass(f.bytes); this.#quiet(); this.#swept(f.bytes); } else this.#pass(f.bytes);
        return;
      case 'sack': if (phase === 1 && f.sack) { this.#enter(2); this.#swept(f.bytes); } else this.#pass(f.bytes); return;
      case 'zero-window': case 'window-update':
        if (phase === 0 && bare(f) && carries(parse(this.#last))) {
          this.#enter(1);
          if (this.#rule === 'zero-window') { this.#swept(shut(f)); this.#pass(f.bytes); } else { this.#pass(shut(f)); this.#quiet(); this.#swept(f.bytes); }
        } else this.#pass(f.bytes);
        return;
      case 'window-probe':
        if (phase === 0 && bare(f) && carries(parse(this.#last))) {
          this.#enter(1);
          this.#pass(shut(f)); this.#quiet(PROBE_AFTER_NS); this.#item('from'); this.#quiet(SHUT_NS); this.#item('to');
        }
        this.#pass(f.bytes);
        return;
      case 'fin-close-wait': case 'fin-time-wait':
        this.#pass(f.bytes);
        if (phase === 0 && is(f, FLAG.FIN)) { this.#enter(1); this.#quiet(); this.#swept(f.bytes); }
        return;
      case 'fin-last-ack': case 'ack-last-ack':
        if (phase === 0 && is(f, FLAG.FIN)) { this.#enter(1); this.#stash = f.bytes; }
        if (phase !== 2) { this.#pass(f.bytes); return; }
        this.#enter(3);
        if (this.#rule === 'fin-last-ack') { this.#swept(this.#stash); this.#pass(f.bytes); } else this.#swept(f.bytes);
        return;
      case 'ack-fin-wait-1':
        if (phase === 1 && is(f, FLAG.ACK)) { this.#enter(2); this.#swept(bareOf(f)); if (bare(f)) return; }
        this.#pass(f.bytes);
        return;
      case 'fin-fin-wait-1':
        if (phase === 1 && is(f, FLAG.FIN)) { this.#enter(2); this.#swept(f.bytes); return; }
        if (phase !== 1 || !bare(f)) this.#pass(f.bytes);
        return;
      case 'fin-fin-wait-2':
        if (phase === 1 && is(f, FLAG.ACK)) { this.#enter(2); this.#pass(bareOf(f)); this.#quiet(); if (bare(f)) return; }
        if (this.#phase === 2 && is(f, FLAG.FIN)) { this.#enter(3); this.#swept(f.bytes); } else this.#pass(f.bytes);
        return;
      case 'fin-simultaneous': case 'ack-closing':
        if (is(f, FLAG.FIN) && phase < 2) { this.#enter(1); this.#stash = f.bytes; return; }
        if (phase === 3 && this.#rule === 'ack-closing' && is(f, FLAG.ACK)) { this.#enter(4); this.#swept(f.bytes); return; }
        this.#pass(f.bytes);
        return;
      case 'rst': if (phase === 0 || f.protocol !== PROTOCOL.tcp) this.#pass(f.bytes); return;
      default: this.#pass(f.bytes);
    }
  }

  save(): Uint8Array {
    const w = new StateWriter();
    for (const value of [this.#now, this.#random, this.#phase, this.#since, this.#quietUntil]) w.number(value);
    w.flag(this.#armed);
    w.list(this.#items, this.#items.length, ({ kind, bytes, ns }) => { w.number(KINDS.indexOf(kind)); w.bytes(bytes); w.number(ns); });
    w.bytes(this.#stash); w.bytes(this.#last);
    this.#network.save(w);
    this.#services.save(w);
    return w.done();
  }
  load(saved: Uint8Array): void {
    const r = new StateReader(saved);
    this.#now = r.number(); this.#random = r.number(); this.#phase = r.number(); this.#since = r.number(); this.#quietUntil = r.number();
    this.#armed = r.flag();
    this.#items = r.list(() => ({ kind: KINDS[r.number()]!, bytes: r.bytes(), ns: r.number() }));
    this.#stash = r.bytes(); this.#last = r.bytes();
    this.#network.load(r);
    this.#services.load(r);
  }
}
export const sumOf = (bytes: Uint8Array): string => crc32(bytes).toString(16).padStart(8, '0');
