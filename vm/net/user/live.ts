/**
 * What lies beyond the gateway of a live machine: this host's sockets. The gateway's address is the host's loopback, the name server's is the
 * host's own resolver, everything else is itself. Backpressure is the socket's: what it does not take stays in the guest's window, and a
 * guest that does not read stops the reading of the socket.
 */
import { randomFillSync } from 'node:crypto';
import * as dgram from 'node:dgram';
import * as dns from 'node:dns';
import * as net from 'node:net';
import type { BackendEvents, LiveBackend } from '../backend.ts';
import type { HostForward } from '../config.ts';
import { parseIpv4, showIpv4, type FrameBatch } from '../frames.ts';
import { hostError } from '../wires.ts';
import { ADDRESS, DNS_PORT, UNREACHABLE, UserNetwork, inSubnet } from './network.ts';
import type { ConnectFailure, HostStream, Outside, UdpFlow } from './outside.ts';
import type { TcpConnection } from './connection.ts';

const LOOPBACK = '127.0.0.1';
const READ_BYTES = 64 * 1024;
/** Datagrams that wait while their socket is being made. */
const WAITING_DATAGRAMS = 32;
const BACKLOG = 1024;

/** Read by all sockets in turn: the bytes go into a connection's ring at once. */
const readBuffer = Buffer.allocUnsafeSlow(READ_BYTES);

/** One connection's host side. */
class LiveStream implements HostStream {
  readonly #outside: LiveOutside;
  readonly #c: TcpConnection;
  #socket!: net.Socket;
  #writing = false;
  #paused = false;
  #connected: boolean;
  #over = false;

  constructor(outside: LiveOutside, connection: TcpConnection, connected: boolean) { this.#outside = outside; this.#c = connection; this.#connected = connected; }

  attach(socket: net.Socket): void {
    this.#socket = socket;
    socket.on('end', () => { if (!this.#over) { this.#c.sendEnd(); this.#outside.happened(); } });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (this.#over) return;
      this.#over = true;
      if (this.#connected) this.#c.abort();
      else this.#c.failed(failureOf(error));
      this.#outside.happened();
    });
    socket.on('close', () => {
      if (this.#over) return;
      this.#over = true;
      if (!socket.readableEnded) { this.#c.abort(); this.#outside.happened(); }
    });
  }
  connected(): void {
    if (this.#over) return;
    this.#connected = true;
    this.#c.connected();
    this.#outside.happened();
  }
  /** Bytes of the host; false: stop reading. */
  bytes(data: Uint8Array): boolean {
    if (this.#over) return true;
    this.#c.send(data);
    this.#outside.happened();
    if (this.#c.sendSpace > 0) return true;
    this.#c.full = true;
    this.#paused = true;
    return false;
  }

  readable(): void {
    if (this.#writing || this.#over || !this.#connected) return;
    const c = this.#c;
    const piece = c.peek();
    if (piece.length > 0) {
      this.#writing = true;
      this.#socket.write(piece, (error) => {
        this.#writing = false;
        if (error || this.#over) return;
        c.consume(piece.length);
        this.readable();
        this.#outside.happened();
      });
      return;
    }
    if (c.takeEnd()) this.#socket.end();
  }
  writable(): void { if (this.#paused) { this.#paused = false; this.#socket.resume(); } }
  aborted(): void { this.#over = true; this.#socket.resetAndDestroy(); }
  closed(): void { this.#over = true; this.#socket.destroySoon(); }
}

const failureOf = (error: NodeJS.ErrnoException): ConnectFailure => {
  switch (error.code) {
    case 'ETIMEDOUT': return 'timeout';
    case 'ENETUNREACH': case 'EHOSTUNREACH': case 'EADDRNOTAVAIL': return 'unreachable';
    case 'EACCES': case 'EPERM': return 'forbidden';
    default: return 'refused';
  }
};

interface Datagrams { readonly socket: dgram.Socket; waiting: Buffer[] | undefined }

class LiveOutside implements Outside {
  network!: UserNetwork;
  readonly #events: BackendEvents;
  readonly #sockets = new Map<number, Datagrams>();
  /** Flows that came in through a forward: where answers go. */
  readonly #replies = new Map<number, { readonly socket: dgram.Socket; readonly address: string; readonly port: number }>();
  readonly #resolver: { host: string; port: number } | undefined;
  constructor(events: BackendEvents, resolver: { host: string; port: number } | undefined) { this.#events = events; this.#resolver = resolver; }

  happened(): void { this.network.settle(); this.#events.activity(); }

  /** Host address of what the guest calls `address`. */
  #target(address: number, port: number): { host: string; port: number } | undefined {
    if (address === ADDRESS.gateway) return { host: LOOPBACK, port };
    if (address === ADDRESS.dns) return port === DNS_PORT ? this.#resolver ?? nameServer() : undefined;
    return { host: showIpv4(address), port };
  }

  connect(c: TcpConnection): void {
    const target = this.#target(c.peerAddress, c.peerPort);
    if (!target) { c.failed('refused'); return; }
    const stream = new LiveStream(this, c, false);
    c.stream = stream;
    const socket = net.connect({
      ...target, allowHalfOpen: true, noDelay: true,
      onread: { buffer: readBuffer, callback: (bytes: number) => stream.bytes(readBuffer.subarray(0, bytes)) },
    });
    stream.attach(socket);
    socket.once('connect', () => stream.connected());
  }

  answersEcho(): boolean { return false; }

  datagram(flow: UdpFlow, payload: Uint8Array): void {
    const data = Buffer.from(payload); // a copy: it is sent later
    const reply = this.#replies.get(flow.id);
    if (reply) { reply.socket.send(data, reply.port, reply.address, () => undefined); return; }
    let known = this.#sockets.get(flow.id);
    if (!known) {
      const target = this.#target(flow.peerAddress, flow.peerPort);
      if (!target) { this.network.flowRefused(flow, UNREACHABLE.port); return; }
      const socket = dgram.createSocket(target.host.includes(':') ? 'udp6' : 'udp4');
      const made: Datagrams = known = { socket, waiting: [] };
      this.#sockets.set(flow.id, made);
      const refused = (error: NodeJS.ErrnoException): void => {
        if (!this.#sockets.has(flow.id)) return;
        this.network.count('datagram refused');
        this.network.flowRefused(flow, error.code === 'ECONNREFUSED' ? UNREACHABLE.port : error.code === 'EACCES' ? UNREACHABLE.prohibited : UNREACHABLE.host);
        this.happened();
      };
      socket.on('error', refused);
      socket.on('message', (message) => { this.network.deliver(flow, message); this.happened(); });
      socket.connect(target.port, target.host, () => {
        for (const waiting of made.waiting ?? []) socket.send(waiting, (error) => { if (error) refused(error); });
        made.waiting = undefined;
      });
    }
    if (known.waiting) { if (known.waiting.length < WAITING_DATAGRAMS) known.waiting.push(data); else this.network.count('datagram before its socket'); return; }
    known.socket.send(data, (error) => {
      if (error) { this.network.count('datagram refused'); this.network.flowRefused(flow, (error as NodeJS.ErrnoException).code === 'ECONNREFUSED' ? UNREACHABLE.port : UNREACHABLE.host); this.happened(); }
    });
  }
  flowClosed(flow: UdpFlow): void {
    this.#replies.delete(flow.id);
    const known = this.#sockets.get(flow.id);
    this.#sockets.delete(flow.id);
    try { known?.socket.close(); } catch { /* closed already */ }
  }

  // ---- forwards -----------------------------------------------------------------------------------------------------------------------

  /** Address under which the guest sees a caller. */
  #caller(address: string | undefined): number {
    const number = parseIpv4((address ?? LOOPBACK).replace(/^::ffff:/, '')) ?? ADDRESS.gateway;
    return number >>> 24 === 127 || inSubnet(number) ? ADDRESS.gateway : number;
  }
  accept(socket: net.Socket, guestPort: number): void {
    const caller = this.#caller(socket.remoteAddress);
    // Two loopback addresses look the same to the guest: another port then.
    for (let port = socket.remotePort ?? 1024, tries = 0; tries < 64; port = 1024 + (port + 7919) % 64_000, tries++) {
      const holder: { stream?: LiveStream } = {};
      const forward: HostStream = {
        readable: () => holder.stream?.readable(), writable: () => holder.stream?.writable(), aborted: () => holder.stream?.aborted(), closed: () => holder.stream?.closed(),
      };
      const connection = this.network.tcp.open(ADDRESS.guest, guestPort, caller, port, forward);
      if (!connection) continue;
      const stream = holder.stream = new LiveStream(this, connection, true);
      connection.stream = stream;
      stream.attach(socket);
      socket.on('data', (data) => { if (!stream.bytes(data as Buffer)) socket.pause(); });
      this.happened();
      return;
    }
    this.network.count('too many connections');
    socket.resetAndDestroy();
  }
  came(socket: dgram.Socket, message: Buffer, from: dgram.RemoteInfo, guestPort: number): void {
    if (!this.network.reachable(ADDRESS.guest)) { this.network.count('datagram for a guest that is not there'); this.happened(); return; }
    const flow = this.network.flow(ADDRESS.guest, guestPort, this.#caller(from.address), from.port);
    this.#replies.set(flow.id, { socket, address: from.address, port: from.port });
    this.network.deliver(flow, message);
    this.happened();
  }
  close(): void {
    for (const { socket } of this.#sockets.values()) try { socket.close(); } catch { /* closed already */ }
    this.#sockets.clear();
    for (const connection of this.network.tcp.connections.values()) connection.stream?.aborted();
  }
}

/** The host's first resolver. */
function nameServer(): { host: string; port: number } | undefined {
  const [first] = dns.getServers();
  if (first === undefined) return undefined;
  const bracket = /^\[(.+)\]:(\d+)$/.exec(first);
  if (bracket) return { host: bracket[1], port: Number(bracket[2]) };
  if (net.isIPv6(first)) return { host: first, port: DNS_PORT };
  const [host, port] = first.split(':');
  return { host, port: port === undefined ? DNS_PORT : Number(port) };
}

export class UserBackend implements LiveBackend {
  readonly network: UserNetwork;
  readonly linkUp = true;
  readonly ready = true;
  readonly #outside: LiveOutside;
  readonly #forwards: readonly HostForward[];
  readonly #servers: { close(): void }[] = [];

  constructor(events: BackendEvents, clock: { now(): number }, mtu: number, forwards: readonly HostForward[], resolver?: { host: string; port: number }) {
    this.#outside = new LiveOutside(events, resolver);
    this.#forwards = forwards;
    const pool = new Uint32Array(64);
    let left = 0;
    this.network = new UserNetwork(clock, mtu, () => { if (left === 0) { randomFillSync(pool); left = pool.length; } return pool[--left]; }, this.#outside);
    this.#outside.network = this.network;
  }
  get out(): FrameBatch { return this.network.out; }
  get wakeNs(): number { return this.network.wakeNs; }
  get counters(): ReadonlyMap<string, number> { return this.network.counters; }
  expire(): void { this.network.expire(); }
  drained(): void { this.network.drained(); }
  input(batch: FrameBatch): void { this.network.input(batch); }

  async open(): Promise<void> {
    for (const forward of this.#forwards) await this.#listen(forward);
  }
  #listen({ protocol, host, port, guestPort }: HostForward): Promise<void> {
    const subject = `--hostfwd ${protocol}:${host}:${port}:${guestPort}`;
    const address = `port ${port} of ${host}`;
    return new Promise((resolve, reject) => {
      if (protocol === 'tcp') {
        const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => this.#outside.accept(socket, guestPort));
        server.once('error', (error) => reject(hostError(error, subject, address, host)));
        server.listen({ port, host, backlog: BACKLOG }, () => {
          server.on('error', () => this.network.count('connection not accepted')); // out of descriptors
          this.#servers.push(server);
          resolve();
        });
      } else {
        const socket = dgram.createSocket('udp4');
        socket.once('error', (error) => reject(hostError(error, subject, address, host)));
        socket.bind(port, host, () => {
          socket.removeAllListeners('error');
          socket.on('error', () => this.network.count('datagram not sent'));
          socket.on('message', (message, from) => this.#outside.came(socket, message, from, guestPort));
          this.#servers.push(socket);
          resolve();
        });
      }
    });
  }
  close(): void {
    for (const server of this.#servers) server.close();
    this.#outside.close();
  }
}
