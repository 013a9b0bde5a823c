/**
 * Hostile frames: a table of classes, each a kind of attack or of damage, made from frames that would be good. What an attacker knows decides what they can do to a
 * connection, so a class is
 *   blind    sent by somebody who sees none of the victim's traffic and guesses: whatever lives must survive it
 *   on path  sent by somebody who reads along: he may end or stall what lives; the system itself must stay whole
 * `Observer` reads along: it is shown the frames of the wire and knows the numbers of each connection, and what was asked of whom.
 * Everything follows from the seed. Each class names the counters of the network server (servers/net/counters.ts) that it is there to reach.
 */
import * as P from './packet.ts';

export class Random {
  #s: number;
  constructor(seed: number) { this.#s = (seed * 2654435761 + 12345) >>> 0 || 1; }
  next(): number { let x = this.#s; x ^= x << 13; x >>>= 0; x ^= x >>> 17; x ^= x << 5; this.#s = x >>> 0 || 1; return this.#s; }
  below(n: number): number { return this.next() % n; }
  chance(perMille: number): boolean { return this.below(1000) < perMille; }
  pick<T>(from: readonly T[]): T { return from[this.below(from.length)]!; }
  bytes(n: number): Uint8Array { return Uint8Array.from({ length: n }, () => this.below(256)); }
}

const put16 = (b: Uint8Array, at: number, v: number): void => { b[at] = v >>> 8 & 255; b[at + 1] = v & 255; };
const put32 = (b: Uint8Array, at: number, v: number): void => { put16(b, at, v >>> 16); put16(b, at + 2, v & 0xffff); };
const NONE = new Uint8Array(0);
const BROADCAST = P.mac('ff:ff:ff:ff:ff:ff');

/** A connection of the victim as the wire shows it. Numbers are those of sequence space. */
export interface Live { port: number; peer: number; peerPort: number; /** what the victim expects, and how much it takes */ expected: number; window: number; /** what the victim has sent, and what of it was acknowledged */ sent: number; acknowledged: number; /** the last stamp of its peer that the victim echoed, and the victim's own */ stamp: number | undefined; clock: number; open: boolean }

export class Observer {
  readonly live = new Map<string, Live>();
  dhcp: { xid: number } | undefined;
  dns: { id: number; port: number; server: number; question: Uint8Array } | undefined;
  echo: { id: number; to: number } | undefined;
  readonly me: number;
  constructor(me: number) { this.me = me; }
  /** A frame of the wire that is as it should be; others are not for this. */
  see(frame: Uint8Array): void {
    let p: P.Parsed;
    try { p = P.parse(frame); } catch { return; }
    const { ip, tcp, udp, icmp } = p;
    if (ip === undefined) return;
    const mine = ip.source === this.me || ip.source === 0;
    if (tcp !== undefined) {
      const [port, peer, peerPort] = mine ? [tcp.sourcePort, ip.destination, tcp.destinationPort] : [tcp.destinationPort, ip.source, tcp.sourcePort];
      const key = `${port} ${peer} ${peerPort}`, end = tcp.seq + tcp.payload.length + (tcp.flags & P.SYN ? 1 : 0) + (tcp.flags & P.FIN ? 1 : 0) >>> 0;
      let c = this.live.get(key);
      if (!mine) { if (c !== undefined && (tcp.flags & (P.ACK | P.RST)) === P.ACK && (tcp.ack - c.acknowledged | 0) > 0) c.acknowledged = tcp.ack; return; }
      if ((tcp.flags & P.RST) !== 0) { this.live.delete(key); return; }
      if (c === undefined) {
        if (this.live.size > 64) this.live.delete(this.live.keys().next().value!);
        this.live.set(key, c = { port, peer, peerPort, expected: tcp.ack, window: tcp.window, sent: end, acknowledged: tcp.seq, stamp: undefined, clock: 0, open: false });
      }
      if ((end - c.sent | 0) > 0 || (tcp.flags & P.SYN) !== 0) c.sent = end;
      if ((tcp.flags & P.ACK) !== 0) { c.expected = tcp.ack; c.window = tcp.window; }
      if ((tcp.flags & P.SYN) === 0) c.open = true;
      for (let o = 0; o + 9 < tcp.options.length; o += tcp.options[o] === 1 ? 1 : Math.max(2, tcp.options[o + 1]!)) if (tcp.options[o] === 8) { c.clock = P.get32(tcp.options, o + 2); c.stamp = P.get32(tcp.options, o + 6); }
    } else if (mine && udp !== undefined) {
      if (udp.destinationPort === 67 && udp.payload.length > 8) this.dhcp = { xid: P.get32(udp.payload, 4) };
      if (udp.destinationPort === 53 && udp.payload.length > 12) this.dns = { id: P.get16(udp.payload, 0), port: udp.sourcePort, server: ip.destination, question: udp.payload.slice(12) };
    } else if (mine && icmp !== undefined && icmp.type === 8) this.echo = { id: icmp.rest >>> 16, to: ip.destination };
  }
  connections(): Live[] { return [...this.live.values()]; }
}

export interface Target {
  readonly mac: Uint8Array; readonly ip: number;
  /** The gateway: whom the attacker pretends to be. */
  readonly gatewayMac: Uint8Array; readonly gateway: number;
  /** Ports of listeners and of datagram sockets. */
  readonly listens: readonly number[]; readonly datagrams: readonly number[];
  readonly mtu: number;
}
export interface HostileClass { readonly name: string; readonly blind: boolean; /** at least these counters move */ readonly reaches: readonly string[]; readonly make: (g: Generator) => Uint8Array[] }

export class Generator {
  readonly r: Random; readonly t: Target; readonly seen: Observer;
  readonly stranger = P.mac('02:66:66:66:66:66');
  constructor(seed: number, target: Target, seen: Observer) { this.r = new Random(seed); this.t = target; this.seen = seen; }
  /** Somebody beyond the gateway. */
  far(): number { return P.ip(`203.0.${this.r.below(256)}.${1 + this.r.below(254)}`); }
  near(): number { let a = 0; do a = (this.t.ip & 0xffffff00 | 3 + this.r.below(250)) >>> 0; while (a === this.t.ip || a === this.t.gateway); return a; }
  link(payload: Uint8Array, type = 0x800, to = this.t.mac, from = this.t.gatewayMac): Uint8Array { return P.ethernet(to, from, type, payload); }
  ip(protocol: number, payload: Uint8Array, more: Partial<P.IpFields> = {}): Uint8Array { return this.link(P.ipv4({ protocol, source: this.t.gateway, destination: this.t.ip, id: this.r.below(65536), ...more }, payload)); }
  arp(operation: number, senderMac: Uint8Array, sender: number, target: number, to = this.t.mac, from = senderMac): Uint8Array { return P.ethernet(to, from, 0x806, P.arp(operation, senderMac, sender, this.t.mac, target)); }
  udp(from: number, to: number, data: Uint8Array, source = this.t.gateway): Uint8Array { return this.ip(17, P.udp(source, this.t.ip, from, to, data), { source }); }
  icmp(type: number, code: number, rest: number, payload: Uint8Array, source = this.t.gateway): Uint8Array { return this.ip(1, P.icmp(type, code, rest, payload), { source }); }
  tcp(f: Partial<P.TcpFields>, source = this.t.gateway): Uint8Array {
    return this.ip(6, P.tcp(source, this.t.ip, { sourcePort: 1024 + this.r.below(60000), destinationPort: this.r.pick(this.t.listens), seq: this.r.next(), ack: this.r.next(), flags: P.ACK, window: this.r.below(65536), ...f }), { source });
  }
  /** One that lives, or an invention. */
  connection(): Live {
    const all = this.seen.connections().filter((c) => c.open);
    if (all.length > 0) return this.r.pick(all);
    return { port: this.r.pick(this.t.listens), peer: this.t.gateway, peerPort: 1024 + this.r.below(60000), expected: this.r.next(), window: 65535, sent: this.r.next(), acknowledged: this.r.next(), stamp: undefined, clock: 0, open: false };
  }
  /** A segment of a connection with numbers as its peer would write them, but for `f`. */
  segment(c: Live, f: Partial<P.TcpFields> = {}): Uint8Array {
    const stamps = c.stamp === undefined ? NONE : Uint8Array.of(1, 1, 8, 10, ...be32(c.stamp + 1), ...be32(c.clock));
    return this.tcp({ sourcePort: c.peerPort, destinationPort: c.port, seq: c.expected, ack: c.sent, flags: P.ACK, window: 60000, options: stamps, ...f }, c.peer);
  }
  /** The same by somebody who knows ports but guesses numbers: far from the truth. A lucky guess is a matter of 2^32 over the window, and not of this test. */
  guess(c: Live, f: Partial<P.TcpFields> = {}): Uint8Array {
    const wrong = (near: number): number => near + 0x2000_0000 + this.r.below(0xa000_0000) >>> 0;
    return this.segment(c, { seq: wrong(c.expected), ack: wrong(c.sent), ...f });
  }
  /** What a router quotes of a segment of the victim's. */
  quote(protocol: number, source: number, destination: number, transport: Uint8Array): Uint8Array { return P.ipv4({ protocol, source, destination }, transport).slice(0, 28); }
  quoteTcp(c: Live, seq: number): Uint8Array { return this.quote(6, this.t.ip, c.peer, P.tcp(this.t.ip, c.peer, { sourcePort: c.port, destinationPort: c.peerPort, seq, ack: 0, flags: P.ACK, window: 0 })); }
  /** Pieces of an IP payload. */
  fragments(protocol: number, payload: Uint8Array, piece: number, more: Partial<P.IpFields> = {}): Uint8Array[] {
    const id = this.r.below(65536), out: Uint8Array[] = [];
    for (let from = 0; from < payload.length; from += piece) out.push(this.ip(protocol, payload.slice(from, from + piece), { id, fragment: (from + piece < payload.length ? 0x2000 : 0) | from >> 3, ...more }));
    return out;
  }
  /** A datagram to a socket of the victim's. */
  datagram(bytes: number): Uint8Array { return P.udp(this.t.gateway, this.t.ip, 1024 + this.r.below(60000), this.r.pick(this.t.datagrams), this.r.bytes(bytes)); }
  /** A good frame of any kind that the victim listens to. */
  good(): Uint8Array {
    const { r } = this;
    switch (r.below(8)) {
      case 0: return this.arp(1 + r.below(2), this.t.gatewayMac, this.t.gateway, this.t.ip);
      case 1: return this.icmp(8, 0, r.next(), r.bytes(r.below(200)));
      case 2: { const c = this.connection(); return this.icmp(r.pick([3, 4, 5, 11, 12]), r.below(16), r.below(1500), this.quoteTcp(c, c.acknowledged)); }
      case 3: return this.ip(17, this.datagram(r.below(300)));
      case 4: return r.pick(this.fragments(17, this.datagram(1 + r.below(3000)), 8 * (1 + r.below(150))));
      case 5: return this.tcp({ flags: r.below(64), options: r.bytes(4 * r.below(11)), payload: r.bytes(r.below(50)), urgent: r.below(65536) });
      default: { const c = this.connection(); return this.segment(c, { flags: r.chance(700) ? P.ACK : r.below(64), seq: c.expected + r.below(4000) - 1000 >>> 0, ack: c.sent + r.below(40) - 20 >>> 0, window: r.below(65536), urgent: r.below(65536), payload: r.bytes(r.below(1400)), ...(r.chance(300) ? { options: r.bytes(4 * r.below(11)) } : {}) }); }
    }
  }
  /** A frame harmed somewhere; half of the time lengths and checksums are made right again, so that the harm gets past them. */
  harm(frame: Uint8Array): Uint8Array {
    const { r } = this;
    let f = frame.slice();
    for (let n = r.below(4); n > 0; n--) switch (r.below(7)) {
      case 0: f = f.slice(0, r.below(f.length + 1)); break;
      case 1: if (f.length > 18) put16(f, 16, r.below(65536)); break; // total length
      case 2: if (f.length > 14) f[14] = r.below(256); break; // version, header length
      case 3: if (f.length > 48) f[46] = r.below(256); break; // TCP data offset
      case 4: if (f.length !== 0) f[r.below(f.length)]! ^= 1 << r.below(8); break;
      case 5: if (f.length > 40) put16(f, 38, r.below(65536)); break; // UDP length, and others
      case 6: { const longer = new Uint8Array(Math.min(f.length + r.below(100), this.t.mtu + 14)); longer.set(f.subarray(0, longer.length)); f = longer; break; }
    }
    if (r.chance(500) && f.length >= 34 && P.get16(f, 12) === 0x800) {
      if (r.chance(500)) put16(f, 16, f.length - 14);
      mendIp(f);
    }
    return f;
  }
  run(c: HostileClass): Uint8Array[] { return c.make(this); }
  /** Frames of a class drawn at random, from those that `allowed` lets through. */
  next(allowed: readonly HostileClass[] = CLASSES): { name: string; frames: Uint8Array[] } { const c = this.r.pick(allowed); return { name: c.name, frames: c.make(this) }; }
}
function be32(v: number): number[] { return [v >>> 24, v >>> 16 & 255, v >>> 8 & 255, v & 255]; }
/** Makes the checksum of the IP header right, if there is one. */
function mendIp(f: Uint8Array): void {
  const header = (f[14]! & 15) * 4;
  if (header < 20 || 14 + header > f.length) return;
  put16(f, 24, 0);
  put16(f, 24, P.checksum(f.subarray(14, 14 + header)));
}
/** Changes a good IP frame, header checksum right again. */
function bent(f: Uint8Array, change: (f: Uint8Array) => void): Uint8Array { change(f); mendIp(f); return f; }
/** Changes one without making anything right. */
function spoilt(f: Uint8Array, change: (f: Uint8Array) => void): Uint8Array { change(f); return f; }
/** Changes the transport of a good TCP frame and makes its checksum right. */
function bentTcp(f: Uint8Array, change: (transport: Uint8Array) => void): Uint8Array {
  const t = f.subarray(34);
  change(t);
  put16(t, 16, 0);
  const pseudo = new Uint8Array(12);
  pseudo.set(f.subarray(26, 34)); pseudo[9] = 6; put16(pseudo, 10, t.length);
  put16(t, 16, P.checksum(pseudo, t));
  return f;
}
const optionsOf = (c: Live, more: readonly number[]): Uint8Array => Uint8Array.of(...(c.stamp === undefined ? [] : [1, 1, 8, 10, ...be32(c.stamp + 1), ...be32(c.clock)]), ...more);
/** A DHCP message of a server. `options` behind the cookie, as they stand. */
function dhcp(g: Generator, xid: number, yours: number, options: readonly number[], source = g.t.gateway): Uint8Array {
  const b = new Uint8Array(Math.max(300, 240 + options.length));
  b[0] = 2; b[1] = 1; b[2] = 6; put32(b, 4, xid); put32(b, 16, yours); b.set(g.t.mac, 28); put32(b, 236, 0x63825363); b.set(options, 240);
  return g.ip(17, P.udp(source, g.t.ip, 67, 68, b), { source });
}
/** An answer to the query that the victim asked last, `records` behind its question. */
function dns(g: Generator, flags: number, answers: number, records: readonly number[], more: { id?: number; question?: Uint8Array; questions?: number; from?: number } = {}): Uint8Array {
  const q = g.seen.dns ?? { id: g.r.below(65536), port: 49152 + g.r.below(16384), server: g.t.gateway, question: g.r.bytes(20) };
  const question = more.question ?? q.question, b = new Uint8Array(12 + question.length + records.length);
  put16(b, 0, more.id ?? q.id); put16(b, 2, flags); put16(b, 4, more.questions ?? 1); put16(b, 6, answers);
  b.set(question, 12); b.set(records, 12 + question.length);
  return g.udp(more.from ?? 53, q.port, b, q.server);
}

const one = (f: (g: Generator) => Uint8Array) => (g: Generator): Uint8Array[] => [f(g)];
const many = (least: number, spread: number, f: (g: Generator, n: number) => Uint8Array) => (g: Generator): Uint8Array[] => { const count = least + g.r.below(spread + 1); return Array.from({ length: count }, (_, n) => f(g, n)); };
const blind = (name: string, reaches: string, make: (g: Generator) => Uint8Array[]): HostileClass => ({ name, blind: true, reaches: reaches.split(' ').filter(Boolean), make });
const onPath = (name: string, reaches: string, make: (g: Generator) => Uint8Array[]): HostileClass => ({ name, blind: false, reaches: reaches.split(' ').filter(Boolean), make });

export const CLASSES: readonly HostileClass[] = [
  // ---- Ethernet, ARP
  blind('Ethernet: shorter than its header', 'frame_short', one((g) => g.good().slice(0, g.r.below(14)))),
  blind('Ethernet: longer than the MTU', 'frame_long', one((g) => { const f = new Uint8Array(g.t.mtu + 14 + 5 + g.r.below(400)); f.set(g.good().subarray(0, g.t.mtu)); return f; })),
  blind('Ethernet: to somebody else', 'frame_not_ours', one((g) => spoilt(g.good(), (f) => { f.set(g.r.bytes(6)); f[0] = 2; }))),
  blind('Ethernet: from a group', 'frame_source', one((g) => spoilt(g.good(), (f) => { f[6]! |= 1; }))),
  blind('Ethernet: types that nobody speaks', 'frame_type', one((g) => g.link(g.r.bytes(g.r.below(100)), g.r.pick([0x86dd, 0x8100, 0x88a8, 0x9000, 0, 46, 1500, 0xffff, g.r.below(0x600)])))),
  blind('ARP: truncated', 'arp_short', one((g) => g.arp(2, g.t.gatewayMac, g.t.gateway, g.t.ip).slice(0, 14 + g.r.below(28)))),
  blind('ARP: of other hardware, protocol, sizes, operation', 'arp_format', one((g) => spoilt(g.arp(1, g.t.gatewayMac, g.t.gateway, g.t.ip), (f) => { f[14 + g.r.pick([0, 1, 2, 3, 4, 5, 6, 7])]! ^= 4 << g.r.below(6); }))),
  blind('ARP: a sender who cannot be', 'arp_source', one((g) => g.r.pick([
    (): Uint8Array => g.arp(2, g.stranger, g.t.gateway, g.t.ip, g.t.mac, g.t.gatewayMac), (): Uint8Array => g.arp(2, new Uint8Array(6), g.t.gateway, g.t.ip), (): Uint8Array => g.arp(2, g.t.mac, g.near(), g.t.ip),
    (): Uint8Array => g.arp(2, g.stranger, (g.t.ip | 255) >>> 0, g.t.ip), (): Uint8Array => g.arp(2, g.stranger, 0xffffffff, g.t.ip), (): Uint8Array => g.arp(1, g.stranger, P.ip('224.0.0.1'), g.t.ip), (): Uint8Array => g.arp(2, g.stranger, g.far(), g.t.ip),
  ])())),
  blind('ARP: our own address is claimed', 'arp_conflict', one((g) => g.arp(1 + g.r.below(2), g.stranger, g.t.ip, g.t.ip, BROADCAST))),
  blind('ARP: answers that nobody asked for', 'arp_not_asked', many(1, 4, (g) => g.arp(2, g.stranger, g.near(), g.t.ip))),
  blind('ARP: somebody else is the gateway, says he', 'arp_spoof', many(1, 4, (g) => g.arp(1 + g.r.below(2), g.stranger, g.t.gateway, g.r.pick([g.t.ip, g.t.gateway]), g.r.pick([g.t.mac, BROADCAST])))),
  blind('ARP: the table is flooded, then the gateway is claimed', 'arp_spoof', (g) => [...Array.from({ length: 200 }, (_, n) => g.arp(1, P.mac(`02:66:00:00:00:${n.toString(16).padStart(2, '0')}`), (g.t.ip & 0xffffff00 | 20 + n) >>> 0, g.t.ip)), g.arp(2, g.stranger, g.t.gateway, g.t.ip)]),
  blind('ARP: probes and requests of neighbours', 'arp_in', one((g) => g.arp(1, g.stranger, g.r.chance(500) ? 0 : g.near(), g.t.ip, BROADCAST))),
  // ---- IPv4
  blind('IP: truncated header', 'ip_short', one((g) => g.ip(17, NONE).slice(0, 14 + g.r.below(20)))),
  blind('IP: version', 'ip_version', one((g) => bent(g.ip(17, g.datagram(9)), (f) => { f[14] = g.r.pick([0, 5, 6, 15]) << 4 | 5; }))),
  blind('IP: header length', 'ip_header', one((g) => spoilt(g.ip(17, g.datagram(2)), (f) => { f[14] = 0x40 | g.r.pick([0, 1, 4, 15]); }))),
  blind('IP: total length', 'ip_length', one((g) => bent(g.ip(17, g.datagram(40)), (f) => { put16(f, 16, g.r.pick([0, 19, f.length - 13, 65535])); }))),
  blind('IP: header checksum', 'ip_checksum', one((g) => spoilt(g.ip(17, g.datagram(40)), (f) => { f[24]! ^= 1 + g.r.below(255); }))),
  blind('IP: addresses that no wire carries', 'ip_martian', one((g) => g.r.chance(500)
    ? g.ip(17, g.datagram(9), { source: g.r.pick([0xffffffff, P.ip('127.0.0.1'), P.ip('224.0.0.5'), P.ip('240.1.1.1'), P.ip('0.1.2.3'), (g.t.ip | 255) >>> 0]) })
    : g.r.chance(500) ? g.ip(17, g.datagram(9), { destination: P.ip('127.0.0.1') }) : P.ethernet(BROADCAST, g.t.gatewayMac, 0x800, P.ipv4({ protocol: 17, source: g.t.gateway, destination: g.t.ip }, g.datagram(9))))),
  blind('IP: LAND', 'ip_spoofed_own', one((g) => { const port = g.r.pick(g.t.listens); return g.ip(6, P.tcp(g.t.ip, g.t.ip, { sourcePort: port, destinationPort: port, seq: g.r.next(), ack: 0, flags: P.SYN, window: 4096 }), { source: g.t.ip }); })),
  blind('IP: to be forwarded', 'ip_forward', one((g) => g.ip(17, g.datagram(9), { destination: g.r.chance(500) ? g.near() : g.far() }))),
  blind('IP: source routes and options that do not fit', 'ip_source_route', one((g) => g.ip(17, g.datagram(9), { options: Uint8Array.from(g.r.pick([[131, 7, 4, 10, 0, 2, 9, 0], [137, 7, 4, 10, 0, 2, 9, 0], [7, 60, 4, 0], [7, 1, 0, 0], [1, 1, 1, 7], [7, 0, 1, 1]])) }))),
  blind('IP: options that are passed over', 'udp_in', one((g) => g.ip(17, g.datagram(9), { options: Uint8Array.of(1, 7, 7, 4, 0, 0, 0, 0) }))),
  blind('IP: protocols that nobody speaks', 'ip_protocol icmp_errors_out icmp_limited', many(30, 0, (g) => g.ip(g.r.pick([0, 2, 4, 41, 47, 50, 132, 255]), g.r.bytes(g.r.below(60))))),
  // ---- fragments
  blind('fragments: that overlap', 'fragments fragment_overlap', (g) => { const id = g.r.below(65536), d = g.datagram(600); return [[0, 320], [304, 320], [296, 8], [0, 600]].map(([from, n]) => g.ip(17, d.slice(from, from! + n!), { id, fragment: 0x2000 | from! >> 3 })); }),
  blind('fragments: beyond the last one, two last ones', 'fragment_overlap', (g) => { const id = g.r.below(65536), b = g.r.bytes(64); return [g.ip(17, b, { id, fragment: 10 }), g.ip(17, b, { id, fragment: 0x2000 | 90 }), g.ip(17, b, { id, fragment: 30 })]; }),
  blind('fragments: of no length, of a length that is no multiple of 8', 'fragment_size', one((g) => g.ip(17, g.r.bytes(g.r.pick([0, 1, 7, 9, 31])), { fragment: 0x2000 | g.r.below(100) }))),
  blind('fragments: ping of death', 'fragment_long', one((g) => g.ip(1, g.r.bytes(1400), { fragment: g.r.below(2) << 13 | 8180 }))),
  blind('fragments: many of one sender, never the end', 'fragment_limit', many(8, 8, (g) => g.ip(17, g.r.bytes(64), { fragment: 0x2000 | g.r.below(8000) }))),
  blind('fragments: many of many senders', 'fragment_evicted', many(12, 8, (g) => { const source = g.far(); return g.ip(17, g.r.bytes(64), { source, fragment: 0x2000 | g.r.below(2) * 100 }); })),
  blind('fragments: a datagram in pieces, in any order, some twice', 'reassembled udp_in', (g) => { const all = g.fragments(17, g.datagram(1000), 8 * (1 + g.r.below(100))); for (let n = all.length - 1; n > 0; n--) { const k = g.r.below(n + 1); [all[n], all[k]] = [all[k]!, all[n]!]; } return g.r.chance(500) ? [...all.slice(0, -1), all[0]!, ...all.slice(-1)] : all; }),
  blind('fragments: the TCP header in pieces', 'reassembled tcp_segments_in', (g) => g.fragments(6, g.tcp({ flags: P.ACK, payload: g.r.bytes(30) }).slice(34), 8)),
  blind('fragments: with header options of different lengths, 64 KiB in all', 'fragments', (g) => { const id = g.r.below(65536); return [g.ip(17, g.r.bytes(1400), { id, fragment: 0x2000, options: new Uint8Array(40).fill(1) }), g.ip(17, g.r.bytes(35), { id, fragment: 8185 })]; }),
  // ---- ICMP
  blind('ICMP: truncated', 'icmp_short', one((g) => g.ip(1, P.icmp(8, 0, 0, NONE).slice(0, g.r.below(8))))),
  blind('ICMP: checksum', 'icmp_checksum', one((g) => spoilt(g.icmp(8, 0, 0, g.r.bytes(30)), (f) => { f[40]! ^= 255; }))),
  blind('ICMP: types that nobody asked for, redirects', 'icmp_type', one((g) => g.icmp(g.r.pick([1, 2, 4, 5, 5, 5, 9, 10, 13, 14, 15, 17, 40, 255]), g.r.below(4), g.t.gateway + 1, g.quoteTcp(g.connection(), 0)))),
  blind('ICMP: echo replies to nobody', 'icmp_unwanted', one((g) => g.icmp(0, 0, g.r.next(), g.r.bytes(30)))),
  blind('ICMP: echo', 'icmp_echo_in', many(1, 10, (g) => g.icmp(8, 0, g.r.next(), g.r.bytes(g.r.below(1400))))),
  blind('ICMP: echo to all (smurf)', 'icmp_echo_many', one((g) => P.ethernet(BROADCAST, g.t.gatewayMac, 0x800, P.ipv4({ protocol: 1, source: g.far(), destination: g.r.pick([0xffffffff, (g.t.ip | 255) >>> 0]) }, P.icmp(8, 0, 1, g.r.bytes(20)))))),
  blind('ICMP: echo longer than a packet', 'icmp_echo_long', (g) => g.fragments(1, P.icmp(8, 0, 1, g.r.bytes(3000)), 1480)),
  blind('ICMP: errors that quote nothing of ours', 'icmp_errors_in icmp_quote', one((g) => g.icmp(g.r.pick([3, 11, 12]), g.r.below(16), g.r.next(), g.r.pick([g.r.bytes(g.r.below(60)), NONE, g.quote(6, g.far(), g.t.gateway, g.r.bytes(20)), g.quote(17, g.t.ip, g.far(), P.udp(g.t.ip, g.far(), 1, 2, NONE)), g.quote(47, g.t.ip, g.far(), g.r.bytes(20))])))),
  blind('ICMP: errors about a connection, its numbers guessed', 'tcp_icmp_sequence icmp_quote', one((g) => { const c = g.connection(); return g.icmp(g.r.pick([3, 3, 3, 11, 12]), g.r.pick([0, 1, 2, 3, 4, 13]), g.r.below(1500), g.quoteTcp(c, c.sent + 0x1000_0000 + g.r.below(0xc000_0000) >>> 0)); })),
  blind('ICMP: the path of datagrams is narrow, to ever new destinations', 'pmtu_evicted', many(40, 0, (g) => { const to = g.far(); return g.icmp(3, 4, 600 + g.r.below(800), g.quote(17, g.t.ip, to, P.udp(g.t.ip, to, g.r.pick(g.t.datagrams), 9, NONE))); })),
  onPath('ICMP: hard errors about a connection', 'icmp_errors_in', one((g) => { const c = g.connection(); return g.icmp(3, g.r.pick([0, 1, 2, 3, 9, 13]), 0, g.quoteTcp(c, c.acknowledged)); })),
  onPath('ICMP: the path of a connection is tiny', 'pmtu_tiny', one((g) => { const c = g.connection(); return g.icmp(3, 4, g.r.pick([0, 1, 67, 68, 296, 551, 65535]), g.quoteTcp(c, c.acknowledged)); })),
  // ---- UDP, DHCP, DNS
  blind('UDP: truncated', 'udp_short', one((g) => g.ip(17, g.datagram(0).slice(0, g.r.below(8))))),
  blind('UDP: length', 'udp_length', one((g) => spoilt(g.ip(17, g.datagram(40)), (f) => { put16(f, 38, g.r.pick([0, 7, 49, 65535])); }))),
  blind('UDP: checksum', 'udp_checksum', one((g) => spoilt(g.ip(17, g.datagram(40)), (f) => { f[45]! ^= 1 << g.r.below(8); }))),
  blind('UDP: to port 0', 'udp_port_zero', one((g) => g.udp(g.r.below(65536), 0, g.r.bytes(9)))),
  blind('UDP: to nobody', 'udp_no_port', one((g) => g.udp(g.r.below(65536), 1 + g.r.below(1000), g.r.bytes(9)))),
  blind('UDP: more than anybody reads', 'udp_in datagram_queue', (g) => { const to = g.r.pick(g.t.datagrams); return Array.from({ length: 110 }, () => g.udp(9, to, g.r.bytes(1300 + g.r.below(100)))); }),
  blind('UDP: the largest datagrams there are', 'udp_in', (g) => g.fragments(17, g.datagram(65507), 1480)),
  blind('DHCP: forged answers', '', one((g) => dhcp(g, g.r.next(), g.far(), [53, 1, g.r.pick([2, 5, 6]), 54, 4, 10, 0, 2, 66, 51, 4, 0, 0, 0, 60, 255]))),
  onPath('DHCP: answers to what was asked, damaged', '', one((g) => dhcp(g, g.seen.dhcp?.xid ?? g.r.next(), g.r.pick([0, 0xffffffff, g.t.ip, g.far(), P.ip('127.0.0.1')]), g.r.pick([
    [53, 1, 2, 255], [53, 1, 5, 255], [53, 200, 1], [53], [53, 1, 5, 54, 4, 10, 0, 2, 2, 1, 4, 255, 0, 255, 0, 51, 4, 0, 0, 1, 0, 255], [53, 1, 5, 54, 4, 10, 0, 2, 2, 51, 4, 0, 0, 0, 0, 255], [53, 1, 8, 54, 4, 10, 0, 2, 2, 255], [...g.r.bytes(60)], [53, 1, 2, 54, 4, 10, 0, 2, 2, ...new Array<number>(50).fill(0), 6, 3, 1, 2],
  ])))),
  blind('DNS: forged answers', '', one((g) => dns(g, 0x8180, 1, [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 6, 6, 6, 6], { id: g.r.below(65536) }))),
  onPath('DNS: answers to what was asked, damaged', '', one((g) => g.r.pick([
    (): Uint8Array => dns(g, 0x8180, 1, [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 40, 6, 6, 6, 6]), (): Uint8Array => dns(g, 0x8180, 3, []), (): Uint8Array => dns(g, 0x8180, 1, [0xc0, 0xff]), (): Uint8Array => dns(g, 0x8180, 1, [63, 1, 2]), (): Uint8Array => dns(g, 0x0100, 0, []),
    (): Uint8Array => dns(g, 0x8182, 0, []), (): Uint8Array => dns(g, 0x8380, 0, []), (): Uint8Array => dns(g, 0x8180, 1, [], { question: Uint8Array.of(0xc0, 12, 0, 1, 0, 1) }), (): Uint8Array => dns(g, 0x8180, 1, [...g.r.bytes(50)]), (): Uint8Array => dns(g, 0x8180, 0, [], { from: 54 }),
    (): Uint8Array => dns(g, 0x8180, 1, [0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 60, 0, 2, 0xc0, 12]), (): Uint8Array => dns(g, 0x8180, 0, [], { questions: g.r.pick([0, 2, 65535]) }), (): Uint8Array => dns(g, 0x8180, 65535, Array.from({ length: 1200 }, (_, n) => [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 6, 6, 6, 6][n % 16]!)),
  ])())),
  // ---- TCP: what is wrong with a segment by itself
  blind('TCP: truncated', 'tcp_short', one((g) => g.ip(6, g.tcp({}).slice(34, 34 + g.r.below(20))))),
  blind('TCP: header length', 'tcp_header', one((g) => bentTcp(g.tcp({ payload: g.r.bytes(4) }), (t) => { t[12] = g.r.pick([0, 1, 4, 7, 15]) << 4; }))),
  blind('TCP: checksum', 'tcp_checksum', one((g) => spoilt(g.segment(g.connection(), { payload: g.r.bytes(9), options: NONE }), (f) => { f[f.length - 1]! ^= 1 << g.r.below(8); }))),
  blind('TCP: to all', 'tcp_many', one((g) => { const to = g.r.pick([0xffffffff, (g.t.ip | 255) >>> 0]); return P.ethernet(BROADCAST, g.t.gatewayMac, 0x800, P.ipv4({ protocol: 6, source: g.t.gateway, destination: to }, P.tcp(g.t.gateway, to, { sourcePort: 9, destinationPort: g.r.pick(g.t.listens), seq: 1, ack: 0, flags: P.SYN, window: 9 }))); })),
  blind('TCP: port 0', 'tcp_port_zero', one((g) => g.tcp(g.r.chance(500) ? { sourcePort: 0 } : { destinationPort: 0 }))),
  blind('TCP: to nobody', 'tcp_no_port tcp_rst_out', one((g) => g.tcp({ destinationPort: 1 + g.r.below(6), flags: g.r.below(64), payload: g.r.bytes(g.r.below(9)) }, g.far()))),
  blind('TCP: options gone wrong', 'tcp_option', many(4, 4, (g) => g.tcp({ flags: P.SYN, options: Uint8Array.from(g.r.pick([[2, 3, 5, 180], [2, 4, 5, 180, 2], [3, 2, 7, 1], [8, 2, 0, 0], [5, 3, 1, 0], [4, 9, 1, 1], [8, 100, 0, 0], [77, 0, 0, 0], [77, 1, 2, 3], [1, 1, 1, 2], [3, 3, 255, 99]])) }, g.far()))),
  blind('TCP: any flags (christmas tree, null, FIN)', 'tcp_segments_in', many(4, 8, (g) => g.tcp({ flags: g.r.pick([0, 63, P.FIN, P.SYN | P.FIN, P.SYN | P.RST, P.URG | P.PSH | P.FIN, g.r.below(64)]), urgent: g.r.below(65536) }, g.far()))),
  // ---- TCP: listeners
  blind('TCP: SYN flood', 'tcp_syns cookies_sent', many(80, 60, (g) => g.tcp({ flags: P.SYN, ack: 0, options: Uint8Array.of(2, 4, 5, 180, 4, 2, 8, 10, ...be32(g.r.next()), 0, 0, 0, 0, 1, 3, 3, 7) }, g.far()))),
  blind('TCP: SYNs with a tiny MSS, an absurd scale, data', 'tcp_syns', many(1, 3, (g) => g.tcp({ flags: P.SYN, ack: 0, window: g.r.pick([0, 1, 65535]), options: Uint8Array.from([2, 4, ...g.r.pick([[0, 0], [0, 1], [0, 47], [255, 255]]), 3, 3, g.r.pick([14, 15, 255]), 1]), payload: g.r.bytes(g.r.below(100)) }, g.far()))),
  blind('TCP: acknowledgements of cookies that nobody baked', 'cookies_bad tcp_rst_out', many(4, 4, (g) => g.tcp({ flags: P.ACK | (g.r.chance(500) ? P.PSH : 0), payload: g.r.bytes(g.r.below(20)) }, g.far()))),
  blind('TCP: resets and nonsense to a listener', 'tcp_listen_odd', many(1, 3, (g) => g.tcp({ flags: g.r.pick([P.RST, P.RST | P.ACK, P.FIN, 0, P.PSH]) }, g.far()))),
  // ---- TCP: connections, by somebody who guesses
  blind('blind: reset', 'tcp_rst_wrong', many(1, 10, (g) => g.guess(g.connection(), { flags: P.RST | g.r.pick([0, P.ACK]) }))),
  blind('blind: SYN', 'tcp_syn_in_window', many(1, 10, (g) => g.guess(g.connection(), { flags: P.SYN | g.r.pick([0, P.ACK]), ack: g.r.next() }))),
  blind('blind: data', 'tcp_out_of_window', many(1, 10, (g) => g.guess(g.connection(), { flags: P.ACK | P.PSH, payload: g.r.bytes(1 + g.r.below(1400)) }))),
  blind('blind: FIN', 'tcp_segments_in', many(1, 10, (g) => g.guess(g.connection(), { flags: P.ACK | P.FIN }))),
  blind('blind: acknowledgements', 'tcp_segments_in', many(1, 10, (g) => g.guess(g.connection(), { window: g.r.pick([0, 1, 65535]) }))),
  // In the window by luck, but the acknowledgement is a guess, or there is none: what RFC 5961 is about.
  blind('blind, in the window: reset', 'tcp_rst_window', many(1, 10, (g) => { const c = g.connection(); return g.segment(c, { flags: P.RST, seq: c.expected + 1 + g.r.below(Math.max(1, Math.min(c.window, 60000) - 1)) >>> 0 }); })),
  blind('blind, in the window: SYN', 'tcp_syn_in_window tcp_challenges tcp_challenges_held', many(8, 8, (g) => { const c = g.connection(); return g.segment(c, { flags: P.SYN, ack: 0, seq: c.expected + g.r.below(1000) >>> 0 }); })),
  blind('blind, in the window: data with an acknowledgement out of range', 'tcp_ack_future', many(2, 4, (g) => { const c = g.connection(); return g.segment(c, { flags: P.ACK | P.PSH, ack: c.sent + 0x0100_0000 + g.r.below(0x6000_0000) >>> 0, payload: g.r.bytes(50) }); })),
  blind('blind, in the window: data with an acknowledgement from long ago', 'tcp_ack_old', many(2, 4, (g) => { const c = g.connection(); return g.segment(c, { flags: P.ACK | P.PSH, ack: c.acknowledged - 0x1000_0000 - g.r.below(0x6000_0000) >>> 0, payload: g.r.bytes(50) }); })),
  blind('blind, in the window: without an acknowledgement', 'tcp_no_ack', many(1, 4, (g) => g.segment(g.connection(), { flags: g.r.pick([0, P.PSH, P.FIN]), payload: g.r.bytes(g.r.below(30)) }))),
  // ---- TCP: connections, by somebody who reads along
  onPath('on path: what was there already, with other bytes', 'tcp_duplicate', many(1, 4, (g) => { const c = g.connection(), n = 1 + g.r.below(500); return g.segment(c, { seq: c.expected - n >>> 0, payload: g.r.bytes(n) }); })),
  onPath('on path: data across both edges of the window', 'tcp_trimmed', many(2, 2, (g, n) => { const c = g.connection(); return n === 0 ? g.segment(c, { seq: c.expected - 1 >>> 0, payload: g.r.bytes(900) }) : g.segment(c, { seq: c.expected + Math.min(c.window, 60000) - 100 >>> 0, payload: g.r.bytes(1200) }); })),
  onPath('on path: holes everywhere', 'tcp_out_of_order tcp_ranges_full', many(40, 0, (g, n) => { const c = g.connection(); return g.segment(c, { seq: c.expected + 2 + 1000 * n >>> 0, payload: g.r.bytes(1 + g.r.below(3)) }); })),
  onPath('on path: stamps from the past, no stamps', 'tcp_segments_in', many(1, 4, (g) => { const c = g.connection(); return g.segment(c, { payload: g.r.bytes(20), options: g.r.chance(500) ? NONE : Uint8Array.of(1, 1, 8, 10, ...be32((c.stamp ?? 0) - 1000 - g.r.below(100000)), 0, 0, 0, 0) }); })),
  onPath('on path: stamps from the future', 'tcp_segments_in', one((g) => { const c = g.connection(); return g.segment(c, { payload: g.r.bytes(5), options: Uint8Array.of(1, 1, 8, 10, ...be32((c.stamp ?? 0) + 0x7000_0000), ...be32(g.r.next())) }); })),
  onPath('on path: SACKs of what was never sent', 'tcp_segments_in', many(1, 4, (g) => { const c = g.connection(), a = c.acknowledged; return g.segment(c, { ack: a, options: optionsOf(c, g.r.pick([[5, 10, ...be32(c.sent + 1000), ...be32(c.sent + 2000)], [5, 10, ...be32(a + 10), ...be32(a)], [5, 18, ...be32(g.r.next()), ...be32(g.r.next()), ...be32(a), ...be32(c.sent)], [5, 9, 1, 2, 3, 4, 5, 6, 7]])) }); })),
  onPath('on path: urgent', 'tcp_urgent', many(1, 3, (g) => g.segment(g.connection(), { flags: P.ACK | P.URG, urgent: 1 + g.r.below(65535), payload: g.r.bytes(g.r.below(10)) }))),
  onPath('on path: the window closes, opens by a byte, closes', 'tcp_segments_in', many(3, 6, (g) => { const c = g.connection(); return g.segment(c, { window: g.r.pick([0, 0, 1, 2, 65535]) }); })),
  onPath('on path: acknowledgements byte by byte, and duplicate ones', 'tcp_segments_in', many(3, 10, (g) => { const c = g.connection(); return g.segment(c, { ack: c.acknowledged + g.r.below(4) >>> 0 }); })),
  onPath('on path: data in the middle of the connection', 'tcp_segments_in', one((g) => g.segment(g.connection(), { payload: g.r.bytes(1 + g.r.below(1400)), flags: P.ACK | P.PSH }))),
  onPath('on path: SYN again, SYN-ACK, FIN', 'tcp_segments_in', one((g) => { const c = g.connection(); return g.segment(c, { flags: g.r.pick([P.SYN, P.SYN | P.ACK, P.FIN | P.ACK]), seq: c.expected + g.r.pick([-1, 0, 0, 1]) >>> 0 }); })),
  onPath('on path: reset with the exact number', 'tcp_rst_in', one((g) => g.segment(g.connection(), { flags: P.RST }))),
  onPath('damaged at random', '', many(1, 20, (g) => g.harm(g.good()))),
];
