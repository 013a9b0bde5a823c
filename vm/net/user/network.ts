/**
 * The user-mode network: a gateway inside the VM that answers ARP and DHCP, and carries TCP, UDP and DNS across to whatever lies beyond
 * (outside.ts). It needs no rights on the host. Addresses are those of QEMU's user network:
 *
 *   10.0.2.0/24   10.0.2.2 gateway, and the host's own loopback   10.0.2.3 name server   10.0.2.15 the guest
 *
 * Frames come in by `input` and go out into the batch `out`, which its owner empties; `settle` ends every batch of either. All time is the
 * owner's clock, and `wakeNs` says when it wants to be called again.
 *
 * The guest is not trusted: every length, checksum and address is checked, what does not hold is counted by reason and dropped. Nothing
 * throws for what a guest sends.
 */
import { ETHERNET_HEADER, ETHERTYPE, FrameBatch, LEAST_FRAME, PROTOCOL, checksum, fold, get16, get32, ipv4, pseudoSum, put16, put32 } from '../frames.ts';
import type { StateReader, StateWriter } from '../state.ts';
import { DHCP_CLIENT_PORT, DHCP_SERVER_PORT, answerDhcp } from './dhcp.ts';
import type { ConnectFailure, Outside, UdpFlow } from './outside.ts';
import { Reassembly } from './reassembly.ts';
import type { TcpConnection } from './connection.ts';
import { Tcp, transportChecksumHolds, type TcpNetwork } from './tcp.ts';

export const ADDRESS = { guest: ipv4(10, 0, 2, 15), gateway: ipv4(10, 0, 2, 2), dns: ipv4(10, 0, 2, 3), subnet: ipv4(10, 0, 2, 0), mask: ipv4(255, 255, 255, 0), subnetBroadcast: ipv4(10, 0, 2, 255) } as const;
export const DNS_PORT = 53;
const BROADCAST = 0xffff_ffff;
const IP_HEADER = 20;
const UDP_HEADER = 8;
const ICMP = { echoReply: 0, unreachable: 3, echo: 8, timeExceeded: 11 } as const;
export const UNREACHABLE = { network: 0, host: 1, protocol: 2, port: 3, prohibited: 13 } as const;
const ARP_BYTES = 28;
/** Frames and bytes that wait for the guest at most; TCP stops making more, the rest is dropped. */
const OUT_FRAMES = 512;
const OUT_BYTES = 1024 * 1024;
const FLOW_IDLE_NS = 60e9;
const DNS_IDLE_NS = 10e9;
const SWEEP_NS = 5e9;
const MOST_FLOWS = 512;
const ARP_AGAIN_NS = 1e9;

export const inSubnet = (address: number): boolean => ((address & ADDRESS.mask) >>> 0) === ADDRESS.subnet;

export class UserNetwork implements TcpNetwork {
  readonly mtu: number;
  readonly out = new FrameBatch(OUT_FRAMES, OUT_BYTES);
  readonly tcp: Tcp;
  readonly flows = new Map<string, UdpFlow>();
  readonly counters = new Map<string, number>();
  readonly #clock: { now(): number };
  readonly #random: () => number;
  readonly #reassembly = new Reassembly((reason) => this.count(reason));
  readonly #stations = new Map<number, Uint8Array>();
  readonly #frameSource = Uint8Array.of(0x52, 0x55, 10, 0, 2, 2);
  outside: Outside;
  #ipId = 1;
  #nextFlow = 1;
  #sweepNs = Infinity;
  #askedNs = -Infinity;

  constructor(clock: { now(): number }, mtu: number, random: () => number, outside: Outside) {
    this.#clock = clock;
    this.mtu = mtu;
    this.#random = random;
    this.outside = outside;
    this.tcp = new Tcp(this);
    this.tcp.onOpen = (connection) => this.#opened(connection);
  }

  now(): number { return this.#clock.now(); }
  random(): number { return this.#random(); }
  count(reason: string): void { this.counters.set(reason, (this.counters.get(reason) ?? 0) + 1); }
  get wakeNs(): number { return Math.min(this.tcp.wakeNs, this.#sweepNs); }
  /** Timers that are due. */
  expire(): void {
    this.tcp.expire();
    if (this.now() >= this.#sweepNs) this.#sweep();
    this.settle();
  }
  settle(): void { this.tcp.settle(); }
  /** The owner has emptied `out`, wholly or in part. */
  drained(): void { if (this.tcp.waitsForRoom) this.tcp.resume(); }

  // ---- frames in --------------------------------------------------------------------------------------------------------------------

  /** A batch of the guest's frames. The bytes may be changed (checksums are completed). */
  input(batch: FrameBatch): void {
    for (let k = 0; k < batch.count; k++) this.frame(batch, k);
    this.settle();
  }

  frame(batch: FrameBatch, k: number): void {
    const b = batch.bytes;
    const at = batch.offset(k);
    const length = batch.length(k);
    if (length < LEAST_FRAME) { this.count('frame too short'); return; }
    // For the gateway (52:55 and an address of ours) or for everybody.
    if (!(b[at] & 1) && (b[at] !== 0x52 || b[at + 1] !== 0x55)) { this.count('frame for somebody else'); return; }
    switch (get16(b, at + 12)) {
      case ETHERTYPE.ipv4: this.#ip(batch, k, at + ETHERNET_HEADER, length - ETHERNET_HEADER); return;
      case ETHERTYPE.arp: this.#arp(b, at + ETHERNET_HEADER, length - ETHERNET_HEADER); return;
      case ETHERTYPE.ipv6: this.count('IPv6'); return;
      default: this.count('unknown EtherType');
    }
  }

  #arp(b: Uint8Array, at: number, length: number): void {
    if (length < ARP_BYTES || get16(b, at) !== 1 || get16(b, at + 2) !== ETHERTYPE.ipv4 || b[at + 4] !== 6 || b[at + 5] !== 4) { this.count('ARP malformed'); return; }
    const operation = get16(b, at + 6);
    const sender = get32(b, at + 14);
    const target = get32(b, at + 24);
    if (sender !== 0 && inSubnet(sender)) this.#learn(sender, b, at + 8);
    else if (sender !== 0) { this.count('ARP from another network'); return; }
    if (operation !== 1 || !this.#ours(target)) return;
    const mac = b.slice(at + 8, at + 14);
    const o = this.out.reserve(ETHERNET_HEADER + ARP_BYTES);
    if (o < 0) { this.count('no room for an answer'); return; }
    const r = this.out.bytes;
    r.set(mac, o);
    this.#sourceMac(r, o + 6, target);
    put16(r, o + 12, ETHERTYPE.arp);
    this.#arpBody(r, o + ETHERNET_HEADER, 2, target, sender, mac);
    this.out.commit(ETHERNET_HEADER + ARP_BYTES);
  }
  #arpBody(r: Uint8Array, at: number, operation: number, sender: number, target: number, targetMac: Uint8Array): void {
    put16(r, at, 1); put16(r, at + 2, ETHERTYPE.ipv4); r[at + 4] = 6; r[at + 5] = 4; put16(r, at + 6, operation);
    this.#sourceMac(r, at + 8, sender);
    put32(r, at + 14, sender);
    r.set(targetMac, at + 18);
    put32(r, at + 24, target);
  }
  /** Addresses of the subnet that answer here. */
  #ours(address: number): boolean { return address === ADDRESS.gateway || address === ADDRESS.dns || (inSubnet(address) && address !== ADDRESS.guest && this.outside.answersEcho(address)); }
  #sourceMac(r: Uint8Array, at: number, address: number): void {
    r.set(this.#frameSource, at);
    if (inSubnet(address)) r[at + 5] = address;
  }

  #learn(address: number, b: Uint8Array, at: number): void {
    if (b[at] & 1 || this.#ours(address)) { this.count('sender address is not its own'); return; }
    const known = this.#stations.get(address);
    if (known) { for (let k = 0; k < 6; k++) known[k] = b[at + k]; return; }
    this.#stations.set(address, b.slice(at, at + 6));
    this.tcp.appeared(address);
  }
  reachable(address: number): boolean {
    if (this.#stations.has(address)) return true;
    const now = this.now();
    if (now - this.#askedNs >= ARP_AGAIN_NS && inSubnet(address)) {
      const o = this.out.reserve(ETHERNET_HEADER + ARP_BYTES);
      if (o >= 0) {
        this.#askedNs = now;
        const r = this.out.bytes;
        r.fill(0xff, o, o + 6);
        this.#sourceMac(r, o + 6, ADDRESS.gateway);
        put16(r, o + 12, ETHERTYPE.arp);
        this.#arpBody(r, o + ETHERNET_HEADER, 1, ADDRESS.gateway, address, new Uint8Array(6));
        this.out.commit(ETHERNET_HEADER + ARP_BYTES);
      }
    }
    return false;
  }

  #ip(batch: FrameBatch, k: number, at: number, available: number): void {
    const b = batch.bytes;
    if (available < IP_HEADER || b[at] >> 4 !== 4) { this.count('IP header cut short'); return; }
    const header = (b[at] & 15) * 4;
    const total = get16(b, at + 2);
    if (header < IP_HEADER || header > available || total < header || total > available) { this.count('IP length'); return; }
    if (checksum(b, at, header) !== 0) { this.count('IP checksum'); return; }
    const source = get32(b, at + 12);
    const destination = get32(b, at + 16);
    const protocol = b[at + 9];
    if (source !== 0) {
      if (!inSubnet(source) || source === ADDRESS.subnetBroadcast || this.#ours(source)) { this.count('source address'); return; }
      const known = this.#stations.get(source);
      const mac = at - ETHERNET_HEADER + 6;
      if (!known || known[5] !== b[mac + 5] || known[4] !== b[mac + 4] || known[0] !== b[mac]) this.#learn(source, b, mac);
    } else if (protocol !== PROTOCOL.udp) { this.count('source address'); return; }
    const fragment = get16(b, at + 6);
    const payload = at + header;
    const bytes = total - header;
    if (fragment & 0x3fff) {
      const whole = this.#reassembly.add(source, destination, protocol, get16(b, at + 4), (fragment & 0x1fff) * 8, (fragment & 0x2000) !== 0, b, payload, bytes, this.now());
      if (whole) this.#transport(whole, 0, whole.length, source, destination, protocol, false, b.slice(at, at + header));
      return;
    }
    if (b[at + 8] <= 1 && !this.#local(destination)) { this.#error(source, destination, ICMP.timeExceeded, 0, b, at, Math.min(header + 8, total)); return; }
    // A checksum that the guest left to us: nothing has touched the bytes since, so there is nothing to check.
    let trusted = false;
    const start = batch.checksumStart(k);
    if (start !== 0) {
      if (start === ETHERNET_HEADER + header && batch.checksumOffset(k) === (protocol === PROTOCOL.tcp ? 16 : 6)) trusted = true;
      else batch.finish(k);
    }
    if (protocol === PROTOCOL.tcp) {
      if (source === 0) { this.count('source address'); return; }
      if (bytes < IP_HEADER || (!trusted && !transportChecksumHolds(b, payload, bytes, source, destination, protocol))) { this.count(bytes < IP_HEADER ? 'TCP segment cut short' : 'TCP checksum'); return; }
      this.#tcp(b, at, header, payload, bytes, source, destination);
      return;
    }
    this.#transport(b, payload, bytes, source, destination, protocol, trusted, b.subarray(at, at + header));
  }

  #local(destination: number): boolean { return inSubnet(destination) || destination >= 0xe000_0000; }

  #tcp(b: Uint8Array, at: number, header: number, payload: number, bytes: number, source: number, destination: number): void {
    if (!this.#routable(destination)) {
      if (this.tcp.find(source, get16(b, payload), destination, get16(b, payload + 2)) === undefined) { this.#error(source, destination, ICMP.unreachable, UNREACHABLE.host, b, at, header + 8); return; }
    }
    this.tcp.input(b, payload, bytes, source, destination);
  }
  /** Whether there can be somebody at an address. */
  #routable(destination: number): boolean {
    const first = destination >>> 24;
    if (first === 0 || first === 127 || first >= 224) return false;
    return !inSubnet(destination) || this.#ours(destination);
  }

  #transport(b: Uint8Array, payload: number, bytes: number, source: number, destination: number, protocol: number, trusted: boolean, original: Uint8Array): void {
    switch (protocol) {
      case PROTOCOL.udp: this.#udp(b, payload, bytes, source, destination, trusted, original); return;
      case PROTOCOL.icmp: this.#icmp(b, payload, bytes, source, destination, original); return;
      case PROTOCOL.tcp: // in fragments
        if (bytes < 20 || !transportChecksumHolds(b, payload, bytes, source, destination, protocol)) { this.count('TCP checksum'); return; }
        if (this.#routable(destination)) this.tcp.input(b, payload, bytes, source, destination);
        return;
      default:
        this.count('unknown protocol');
        this.#quote(source, destination, ICMP.unreachable, UNREACHABLE.protocol, original, b, payload, bytes);
    }
  }

  // ---- ICMP ---------------------------------------------------------------------------------------------------------------------------

  #icmp(b: Uint8Array, at: number, bytes: number, source: number, destination: number, original: Uint8Array): void {
    if (bytes < 8) { this.count('ICMP message cut short'); return; }
    if (checksum(b, at, bytes) !== 0) { this.count('ICMP checksum'); return; }
    if (b[at] !== ICMP.echo) { this.count(`ICMP type ${b[at]} ignored`); return; }
    if (!this.#ours(destination) && !this.outside.answersEcho(destination)) {
      this.count('echo request beyond the gateway');
      this.#quote(source, destination, ICMP.unreachable, inSubnet(destination) ? UNREACHABLE.host : UNREACHABLE.prohibited, original, b, at, bytes);
      return;
    }
    if (bytes + IP_HEADER > this.mtu) { // came in pieces, goes in pieces
      const reply = b.slice(at, at + bytes);
      reply[0] = ICMP.echoReply;
      put16(reply, 2, 0);
      put16(reply, 2, checksum(reply, 0, bytes));
      this.#fragments(destination, source, PROTOCOL.icmp, reply);
      return;
    }
    const o = this.packet(destination, source, PROTOCOL.icmp, bytes);
    if (o < 0) { this.count('no room for an answer'); return; }
    const r = this.out.bytes;
    r.set(b.subarray(at, at + bytes), o);
    r[o] = ICMP.echoReply;
    put16(r, o + 2, 0);
    put16(r, o + 2, checksum(r, o, bytes));
    this.out.commit(ETHERNET_HEADER + IP_HEADER + bytes);
  }

  /** An ICMP error about a packet whose IP header and payload lie together. */
  #error(guest: number, from: number, type: number, code: number, b: Uint8Array, at: number, bytes: number): void {
    this.count(type === ICMP.timeExceeded ? 'time to live exceeded' : 'destination unreachable');
    const source = inSubnet(from) && this.#ours(from) ? from : ADDRESS.gateway;
    if (guest === 0) return;
    const o = this.packet(source, guest, PROTOCOL.icmp, 8 + bytes);
    if (o < 0) return;
    const r = this.out.bytes;
    r[o] = type; r[o + 1] = code;
    put32(r, o + 2, 0); put16(r, o + 6, 0);
    r.set(b.subarray(at, at + bytes), o + 8);
    put16(r, o + 2, checksum(r, o, 8 + bytes));
    this.out.commit(ETHERNET_HEADER + IP_HEADER + 8 + bytes);
  }
  /** The same when they do not (reassembled). */
  #quote(guest: number, from: number, type: number, code: number, header: Uint8Array, b: Uint8Array, payload: number, bytes: number): void {
    const quoted = new Uint8Array(header.length + 8);
    quoted.set(header);
    quoted.set(b.subarray(payload, payload + Math.min(8, bytes)), header.length);
    this.#error(guest, from, type, code, quoted, 0, quoted.length);
  }
  unreachable(c: TcpConnection, failure: ConnectFailure): void {
    this.#report(c.guestAddress, c.guestPort, c.peerAddress, c.peerPort, PROTOCOL.tcp, c.irs, failure === 'forbidden' ? UNREACHABLE.prohibited : UNREACHABLE.host);
  }
  /** The far side refuses datagrams of a flow. */
  flowRefused(flow: UdpFlow, code: number): void {
    this.#report(flow.guestAddress, flow.guestPort, flow.peerAddress, flow.peerPort, PROTOCOL.udp, 0, code);
    this.settle();
  }
  /** An error about a packet that is not at hand any more: header and ports made again. */
  #report(guest: number, guestPort: number, peer: number, peerPort: number, protocol: number, word: number, code: number): void {
    const quoted = new Uint8Array(IP_HEADER + 8);
    quoted[0] = 0x45;
    put16(quoted, 2, IP_HEADER + (protocol === PROTOCOL.tcp ? 20 : 8));
    quoted[8] = 64; quoted[9] = protocol;
    put32(quoted, 12, guest); put32(quoted, 16, peer);
    put16(quoted, 10, checksum(quoted, 0, IP_HEADER));
    put16(quoted, 20, guestPort); put16(quoted, 22, peerPort);
    put32(quoted, 24, protocol === PROTOCOL.tcp ? word : 8 << 16);
    this.#error(guest, peer, ICMP.unreachable, code, quoted, 0, quoted.length);
  }

  // ---- UDP ----------------------------------------------------------------------------------------------------------------------------

  #udp(b: Uint8Array, at: number, bytes: number, source: number, destination: number, trusted: boolean, original: Uint8Array): void {
    if (bytes < UDP_HEADER) { this.count('UDP datagram cut short'); return; }
    const guestPort = get16(b, at);
    const port = get16(b, at + 2);
    const length = get16(b, at + 4);
    if (length < UDP_HEADER || length > bytes) { this.count('UDP length'); return; }
    if (!trusted && get16(b, at + 6) !== 0 && !transportChecksumHolds(b, at, length, source, destination, PROTOCOL.udp)) { this.count('UDP checksum'); return; }
    if (port === DHCP_SERVER_PORT && (destination === BROADCAST || destination === ADDRESS.gateway || destination === ADDRESS.subnetBroadcast)) { this.#dhcp(b, at + UDP_HEADER, length - UDP_HEADER); return; }
    if (source === 0) { this.count('source address'); return; }
    if (destination >= 0xe000_0000 || destination === ADDRESS.subnetBroadcast) { this.count('multicast or broadcast datagram'); return; }
    if (guestPort === 0 || port === 0) { this.count('UDP port 0'); return; }
    if (!this.#routable(destination)) { this.#quote(source, destination, ICMP.unreachable, UNREACHABLE.host, original, b, at, bytes); return; }
    const flow = this.flow(source, guestPort, destination, port);
    this.outside.datagram(flow, b.subarray(at + UDP_HEADER, at + length));
  }

  #dhcp(b: Uint8Array, at: number, bytes: number): void {
    const reply = answerDhcp(b, at, bytes, { guest: ADDRESS.guest, gateway: ADDRESS.gateway, dns: ADDRESS.dns, mask: ADDRESS.mask, mtu: this.mtu });
    if (typeof reply === 'string') { this.count(reply); return; }
    this.#datagram(ADDRESS.gateway, DHCP_SERVER_PORT, reply.unicast ? ADDRESS.guest : BROADCAST, DHCP_CLIENT_PORT, reply.bytes, reply.unicast ? reply.mac : undefined);
  }

  /** The flow of these four; a new one if need be (the one longest unused goes when there are too many). */
  flow(guestAddress: number, guestPort: number, peerAddress: number, peerPort: number): UdpFlow {
    const key = `${guestAddress}:${guestPort} ${peerAddress}:${peerPort}`;
    const known = this.flows.get(key);
    const now = this.now();
    if (known) { known.lastUsedNs = now; return known; }
    if (this.flows.size >= MOST_FLOWS) {
      let oldest: [string, UdpFlow] | undefined;
      for (const entry of this.flows) if (!oldest || entry[1].lastUsedNs < oldest[1].lastUsedNs) oldest = entry;
      if (oldest) { this.flows.delete(oldest[0]); this.outside.flowClosed(oldest[1]); this.count('UDP flow displaced'); }
    }
    const flow: UdpFlow = { id: this.#nextFlow++, guestAddress, guestPort, peerAddress, peerPort, lastUsedNs: now };
    this.flows.set(key, flow);
    if (this.#sweepNs === Infinity) this.#sweepNs = now + SWEEP_NS;
    return flow;
  }
  #sweep(): void {
    const now = this.now();
    for (const [key, flow] of this.flows) {
      if (now - flow.lastUsedNs < (flow.peerPort === DNS_PORT ? DNS_IDLE_NS : FLOW_IDLE_NS)) continue;
      this.flows.delete(key);
      this.outside.flowClosed(flow);
    }
    this.#sweepNs = this.flows.size > 0 ? now + SWEEP_NS : Infinity;
  }

  /** A datagram from beyond for a flow's guest. Call `settle` or look at `out` afterwards. */
  deliver(flow: UdpFlow, payload: Uint8Array): void {
    flow.lastUsedNs = this.now();
    this.#datagram(flow.peerAddress, flow.peerPort, flow.guestAddress, flow.guestPort, payload, undefined);
  }

  #datagram(from: number, fromPort: number, to: number, toPort: number, payload: Uint8Array, mac: Uint8Array | undefined): void {
    const bytes = UDP_HEADER + payload.length;
    if (bytes + IP_HEADER > this.mtu) {
      const whole = new Uint8Array(bytes);
      put16(whole, 0, fromPort); put16(whole, 2, toPort); put16(whole, 4, bytes);
      whole.set(payload, UDP_HEADER);
      put16(whole, 6, checksum(whole, 0, bytes, pseudoSum(from, to, PROTOCOL.udp, bytes)) || 0xffff);
      this.#fragments(from, to, PROTOCOL.udp, whole);
      return;
    }
    const o = this.packet(from, to, PROTOCOL.udp, bytes);
    if (o < 0) { this.count('no room for a datagram'); return; }
    const r = this.out.bytes;
    if (mac) r.set(mac, o - IP_HEADER - ETHERNET_HEADER);
    put16(r, o, fromPort); put16(r, o + 2, toPort); put16(r, o + 4, bytes);
    put16(r, o + 6, fold(pseudoSum(from, to, PROTOCOL.udp, bytes)));
    r.set(payload, o + UDP_HEADER);
    this.out.commit(ETHERNET_HEADER + IP_HEADER + bytes, ETHERNET_HEADER + IP_HEADER, 6);
  }

  // ---- IP out ---------------------------------------------------------------------------------------------------------------------------

  packet(from: number, to: number, protocol: number, bytes: number): number { return this.#packet(from, to, protocol, bytes, this.#ipId++ & 0xffff, 0x4000); }

  #packet(from: number, to: number, protocol: number, bytes: number, id: number, fragment: number): number {
    const { out } = this;
    const at = out.reserve(ETHERNET_HEADER + IP_HEADER + bytes);
    if (at < 0) return -1;
    const b = out.bytes;
    const mac = to === BROADCAST ? undefined : this.#stations.get(to);
    if (mac) { b[at] = mac[0]; b[at + 1] = mac[1]; b[at + 2] = mac[2]; b[at + 3] = mac[3]; b[at + 4] = mac[4]; b[at + 5] = mac[5]; }
    else b.fill(0xff, at, at + 6);
    const source = this.#frameSource;
    b[at + 6] = source[0]; b[at + 7] = source[1]; b[at + 8] = source[2]; b[at + 9] = source[3]; b[at + 10] = source[4]; b[at + 11] = inSubnet(from) ? from & 255 : source[5];
    b[at + 12] = 8; b[at + 13] = 0;
    const o = at + ETHERNET_HEADER;
    const total = IP_HEADER + bytes;
    b[o] = 0x45; b[o + 1] = 0; b[o + 2] = total >>> 8; b[o + 3] = total;
    b[o + 4] = id >>> 8; b[o + 5] = id; b[o + 6] = fragment >>> 8; b[o + 7] = fragment;
    b[o + 8] = 64; b[o + 9] = protocol;
    put32(b, o + 12, from); put32(b, o + 16, to);
    const sum = ~fold(0x4500 + total + id + fragment + 0x4000 + protocol + (from >>> 16) + (from & 0xffff) + (to >>> 16) + (to & 0xffff));
    b[o + 10] = sum >>> 8; b[o + 11] = sum;
    return o + IP_HEADER;
  }

  #fragments(from: number, to: number, protocol: number, whole: Uint8Array): void {
    const id = this.#ipId++ & 0xffff;
    const most = (this.mtu - IP_HEADER) & ~7;
    for (let done = 0; done < whole.length; done += most) {
      const bytes = Math.min(most, whole.length - done);
      const o = this.#packet(from, to, protocol, bytes, id, (done >> 3) | (done + bytes < whole.length ? 0x2000 : 0));
      if (o < 0) { this.count('no room for a fragment'); return; }
      this.out.bytes.set(whole.subarray(done, done + bytes), o);
      this.out.commit(ETHERNET_HEADER + IP_HEADER + bytes);
    }
  }

  // ---- TCP: who lies beyond -----------------------------------------------------------------------------------------------------------

  #opened(c: TcpConnection): void { this.outside.connect(c); }

  // ---- plain data -----------------------------------------------------------------------------------------------------------------------

  save(w: StateWriter): void {
    w.number(this.#ipId); w.number(this.#nextFlow); w.number(this.#sweepNs); w.number(this.#askedNs);
    w.list(this.#stations, this.#stations.size, ([address, mac]) => { w.number(address); w.bytes(mac); });
    w.list(this.counters, this.counters.size, ([reason, count]) => { w.text(reason); w.number(count); });
    w.list(this.flows, this.flows.size, ([key, f]) => { w.text(key); for (const value of [f.id, f.guestAddress, f.guestPort, f.peerAddress, f.peerPort, f.lastUsedNs]) w.number(value); });
    this.#reassembly.save(w);
    this.tcp.save(w);
    w.list(Array.from({ length: this.out.count }, (_, k) => k), this.out.count, (k) => { w.number(this.out.checksumStart(k)); w.number(this.out.checksumOffset(k)); w.bytes(this.out.frame(k)); });
  }
  load(r: StateReader): void {
    this.#ipId = r.number(); this.#nextFlow = r.number(); this.#sweepNs = r.number(); this.#askedNs = r.number();
    const fill = <K, V>(map: Map<K, V>, entries: readonly (readonly [K, V])[]): void => { map.clear(); for (const [key, value] of entries) map.set(key, value); };
    fill(this.#stations, r.list(() => [r.number(), r.bytes()] as const));
    fill(this.counters, r.list(() => [r.text(), r.number()] as const));
    fill(this.flows, r.list(() => [r.text(), { id: r.number(), guestAddress: r.number(), guestPort: r.number(), peerAddress: r.number(), peerPort: r.number(), lastUsedNs: r.number() }] as const));
    this.#reassembly.load(r);
    this.tcp.load(r);
    this.out.clear();
    r.list(() => { const start = r.number(); const offset = r.number(); this.out.push(r.bytes(), start, offset); });
  }
}
