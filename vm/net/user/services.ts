/**
 * What lies beyond the gateway of a deterministic machine: a few servers without a socket, a clock or a thread. All state is numbers and
 * bytes (`save`, `load`).
 *
 *   at 10.0.2.2 (gateway), 10.0.2.100 and 198.51.100.1 .. 98
 *     TCP   7 echo   9 discard   13 the time, once   19 chargen (RFC 864)   53 names (also at 10.0.2.3)   80 HTTP/1.0
 *           5001 source: a line "BYTES [SEED]" is answered with that many bytes of the pattern (pattern.ts), then the end
 *           5002 sink: takes all until the end, answers "BYTES CRC32\n"
 *     HTTP  GET or HEAD / and /bytes/N[?SEED] (the pattern), POST or PUT anything: answers "BYTES CRC32\n"; else 404
 *     UDP   7 echo   9 discard   53 names (also at 10.0.2.3)
 *     other ports: refused (RST, ICMP port unreachable)
 *   198.51.100.99 is unreachable, 198.51.100.100 and above never answer; everywhere else is unreachable.
 *
 * It also calls the guest (PeerCall): connects, sends, ends its half, reads to the end; refused or lost, it tries again 10 ms later.
 */
import { crc32 } from 'node:zlib';
import { ipv4 } from '../frames.ts';
import type { PeerCall } from '../config.ts';
import type { StateReader, StateWriter } from '../state.ts';
import { ADDRESS, DNS_PORT, UNREACHABLE, type UserNetwork } from './network.ts';
import type { HostStream, Outside, UdpFlow } from './outside.ts';
import { pattern } from './pattern.ts';
import { answerDns } from './scripted-dns.ts';
import type { TcpConnection } from './connection.ts';

export const PORT = { echo: 7, discard: 9, daytime: 13, chargen: 19, dns: 53, http: 80, source: 5001, sink: 5002 } as const;
export const PEER = ipv4(10, 0, 2, 100);
const FAR = ipv4(198, 51, 100, 0);
const FIRST_CALL_PORT = 40_000;
const CALL_AGAIN_NS = 10e6;
const CALL_TRIES = 2000;
const LINE_MOST = 8192;
const PIECE = 16 * 1024;
const KEPT = 64 * 1024;

type Kind = 'echo' | 'discard' | 'daytime' | 'chargen' | 'dns' | 'http' | 'source' | 'sink' | 'call';
const KINDS: readonly Kind[] = ['echo', 'discard', 'daytime', 'chargen', 'dns', 'http', 'source', 'sink', 'call'];

/** One conversation. What the numbers mean depends on the kind. */
class Service implements HostStream {
  readonly services: Services;
  readonly kind: Kind;
  connection!: TcpConnection;
  /** 0 reads the request, 1 takes a body, 2 sends the pattern, 3 is done. */
  phase = 0;
  received = 0;
  crc = 0;
  sent = 0;
  wanted = 0;
  seed = 0;
  text: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  /** Of a call: its number. */
  call = -1;

  constructor(services: Services, kind: Kind) { this.services = services; this.kind = kind; }

  readable(): void {
    const c = this.connection;
    switch (this.kind) {
      case 'echo':
        while (c.available > 0 && c.sendSpace > 0) {
          const piece = c.peek();
          const part = piece.subarray(0, Math.min(piece.length, c.sendSpace));
          c.send(part);
          c.consume(part.length);
        }
        if (c.available > 0) c.full = true;
        break;
      case 'discard': case 'chargen': case 'daytime': while (c.available > 0) c.consume(c.peek().length); break;
      case 'sink': this.#swallow(Infinity); break;
      case 'call': this.#collect(); break;
      case 'source': if (this.phase === 0) this.#line(); else while (c.available > 0) c.consume(c.peek().length); break;
      case 'http': if (this.phase === 0) this.#request(); if (this.phase === 1) this.#swallow(this.wanted - this.received); if (this.phase >= 2) while (c.available > 0) c.consume(c.peek().length); break;
      case 'dns': this.#query(); break;
    }
    if (!c.takeEnd()) return;
    switch (this.kind) {
      case 'sink': c.send(this.#verdict()); c.sendEnd(); break;
      case 'call': this.services.finished(this); break;
      case 'source': if (this.phase === 0) { c.send(ascii('no line\n')); c.sendEnd(); } break;
      case 'http': if (this.phase < 2) c.abort(); break;
      default: c.sendEnd();
    }
  }

  writable(): void {
    const c = this.connection;
    switch (this.kind) {
      case 'echo': this.readable(); break;
      case 'chargen':
        while (c.sendSpace > 0) {
          // RFC 864: 72 printable characters, one further each line.
          const line = new Uint8Array(74);
          for (let k = 0; k < 72; k++) line[k] = 32 + (this.sent + k) % 95;
          line[72] = 13; line[73] = 10;
          c.send(line);
          this.sent++;
        }
        break;
      case 'source': case 'http': if (this.phase === 2) this.#pour(); break;
      default: break;
    }
  }
  aborted(): void { this.services.forget(this, true); }
  closed(): void { this.services.forget(this, false); }

  /** First words of the server. */
  begin(): void {
    const c = this.connection;
    if (this.kind === 'daytime') { c.send(ascii(`${new Date(this.services.wallClockMs()).toISOString()}\r\n`)); c.sendEnd(); }
    else if (this.kind === 'chargen') this.writable();
  }

  #pour(): void {
    const c = this.connection;
    while (this.sent < this.wanted && c.sendSpace > 0) {
      const piece = new Uint8Array(Math.min(PIECE, this.wanted - this.sent, c.sendSpace));
      pattern(this.seed, this.sent, piece);
      this.sent += piece.length;
      c.send(piece);
    }
    if (this.sent === this.wanted) { this.phase = 3; c.sendEnd(); }
    else c.full = true;
  }
  #swallow(most: number): void {
    const c = this.connection;
    while (c.available > 0 && most > 0) {
      const all = c.peek();
      const piece = all.subarray(0, Math.min(all.length, most));
      this.crc = crc32(piece, this.crc);
      this.received += piece.length;
      most -= piece.length;
      c.consume(piece.length);
    }
    if (this.kind === 'http' && this.received >= this.wanted) { this.phase = 3; this.#page('200 OK', this.#verdict()); }
  }
  #verdict(): Uint8Array { return ascii(`${this.received} ${this.crc.toString(16).padStart(8, '0')}\n`); }

  /** Takes bytes up to and with `stop`; undefined while it has not come. */
  #until(stop: string): string | undefined {
    const c = this.connection;
    while (c.available > 0) {
      const piece = c.peek();
      const before = this.text.length;
      const joined = joinBytes(this.text, piece);
      const all = String.fromCharCode(...joined.subarray(0, LINE_MOST));
      const end = all.indexOf(stop, Math.max(0, before - stop.length));
      if (end < 0) {
        c.consume(piece.length);
        this.text = joined;
        if (joined.length > LINE_MOST) { c.abort(); return undefined; }
        continue;
      }
      c.consume(end + stop.length - before);
      this.text = new Uint8Array(0);
      return all.slice(0, end);
    }
    return undefined;
  }
  #line(): void {
    const line = this.#until('\n');
    if (line === undefined) return;
    const [bytes, seed = '0'] = line.trim().split(/\s+/);
    if (!/^\d{1,12}$/.test(bytes) || !/^\d{1,9}$/.test(seed)) { this.connection.send(ascii(`not a length: ${line.slice(0, 40)}\n`)); this.phase = 3; this.connection.sendEnd(); return; }
    this.wanted = Number(bytes);
    this.seed = Number(seed);
    this.phase = 2;
    this.#pour();
  }
  #request(): void {
    const head = this.#until('\r\n\r\n');
    if (head === undefined) return;
    const [method, target = ''] = head.split('\r\n')[0].split(' ');
    const length = /^content-length:\s*(\d+)\s*$/im.exec(head);
    const bytes = /^\/bytes\/(\d{1,12})(?:\?(\d{1,9}))?$/.exec(target);
    if (method === 'POST' || method === 'PUT') {
      this.wanted = length ? Number(length[1]) : 0;
      this.phase = 1;
      if (this.wanted === 0) { this.phase = 3; this.#page('200 OK', this.#verdict()); }
    } else if ((method === 'GET' || method === 'HEAD') && bytes) {
      this.wanted = Number(bytes[1]);
      this.seed = Number(bytes[2] ?? 0);
      this.connection.send(ascii(`HTTP/1.0 200 OK\r\nContent-Length: ${this.wanted}\r\nContent-Type: application/octet-stream\r\n\r\n`));
      this.phase = 2;
      if (method === 'HEAD') { this.phase = 3; this.connection.sendEnd(); } else this.#pour();
    } else if ((method === 'GET' || method === 'HEAD') && target === '/') { this.phase = 3; this.#page('200 OK', ascii('Kintsugi deterministic peer\n'), method === 'HEAD'); }
    else if (method === 'GET' || method === 'HEAD') { this.phase = 3; this.#page('404 Not Found', ascii('not here\n'), method === 'HEAD'); }
    else { this.phase = 3; this.#page('400 Bad Request', ascii('not a request\n')); }
  }
  #page(status: string, body: Uint8Array, headOnly = false): void {
    const c = this.connection;
    c.send(ascii(`HTTP/1.0 ${status}\r\nContent-Length: ${body.length}\r\nContent-Type: text/plain\r\n\r\n`));
    if (!headOnly) c.send(body);
    c.sendEnd();
  }
  #query(): void {
    const c = this.connection;
    while (c.available > 0) { const piece = c.peek(); this.text = joinBytes(this.text, piece); c.consume(piece.length); }
    while (this.text.length >= 2) {
      const size = (this.text[0] << 8) | this.text[1];
      if (this.text.length < 2 + size) return;
      const answer = answerDns(this.text.subarray(2, 2 + size), true, () => this.services.lose());
      this.text = this.text.slice(2 + size);
      if (!answer) continue;
      c.send(Uint8Array.of(answer.length >> 8, answer.length & 255));
      c.send(answer);
    }
  }
  #collect(): void {
    const c = this.connection;
    while (c.available > 0) {
      const piece = c.peek();
      this.crc = crc32(piece, this.crc);
      this.received += piece.length;
      if (this.text.length < KEPT) this.text = joinBytes(this.text, piece.subarray(0, KEPT - this.text.length));
      c.consume(piece.length);
    }
  }

  save(w: StateWriter): void {
    w.number(KINDS.indexOf(this.kind));
    for (const value of [this.phase, this.received, this.crc, this.sent, this.wanted, this.seed, this.call]) w.number(value);
    w.bytes(this.text);
  }
  static load(r: StateReader, services: Services): Service {
    const service = new Service(services, KINDS[r.number()]);
    service.phase = r.number(); service.received = r.number(); service.crc = r.number(); service.sent = r.number();
    service.wanted = r.number(); service.seed = r.number(); service.call = r.number();
    service.text = r.bytes();
    return service;
  }
}

export interface CallResult { readonly port: number; readonly done: boolean; readonly tries: number; readonly bytes: number; readonly crc32: number; /** The first 64 KiB of the answer. */ readonly answer: Uint8Array }
interface Call { nextNs: number; tries: number; done: boolean; bytes: number; crc32: number; answer: Uint8Array; open: boolean }

export class Services implements Outside {
  network!: UserNetwork;
  readonly #wallSeconds: () => number;
  readonly #calls: readonly PeerCall[];
  #progress: Call[];
  readonly #streams = new Map<number, Service>();
  #lostQueries = 0;

  constructor(wallSeconds: () => number, calls: readonly PeerCall[] = []) {
    this.#wallSeconds = wallSeconds;
    this.#calls = calls;
    this.#progress = calls.map(({ atNs = 0 }) => ({ nextNs: atNs, tries: 0, done: false, bytes: 0, crc32: 0, answer: new Uint8Array(0), open: false }));
  }

  wallClockMs(): number { return Math.floor(this.#wallSeconds() * 1000 + this.network.now() / 1e6); }
  lose(): boolean { return this.#lostQueries++ % 2 === 0; }

  #serves(address: number): boolean {
    const far = address - FAR;
    return address === ADDRESS.gateway || address === PEER || (far >= 1 && far <= 98);
  }
  answersEcho(address: number): boolean { return this.#serves(address); }

  connect(c: TcpConnection): void {
    const far = c.peerAddress - FAR;
    if (far >= 100 && far <= 255) return; // silence
    const names = c.peerAddress === ADDRESS.dns && c.peerPort === DNS_PORT;
    if (!names && c.peerAddress !== ADDRESS.dns && !this.#serves(c.peerAddress)) { c.failed('unreachable'); return; }
    const kind = names ? 'dns' : c.peerAddress === ADDRESS.dns ? undefined : (Object.entries(PORT).find(([, port]) => port === c.peerPort)?.[0] as Kind | undefined);
    if (!kind) { c.failed('refused'); return; }
    const service = new Service(this, kind);
    service.connection = c;
    c.stream = service;
    this.#streams.set(c.id, service);
    c.connected();
    service.begin();
  }

  datagram(flow: UdpFlow, payload: Uint8Array): void {
    const far = flow.peerAddress - FAR;
    if (far >= 100 && far <= 255) return;
    if (flow.peerPort === DNS_PORT && (flow.peerAddress === ADDRESS.dns || this.#serves(flow.peerAddress))) {
      const answer = answerDns(payload, false, () => this.lose());
      if (answer) this.network.deliver(flow, answer);
    } else if (!this.#serves(flow.peerAddress)) this.network.flowRefused(flow, UNREACHABLE.host);
    else if (flow.peerPort === PORT.echo) this.network.deliver(flow, payload);
    else if (flow.peerPort !== PORT.discard) this.network.flowRefused(flow, UNREACHABLE.port);
  }
  flowClosed(): void { /* nothing is kept */ }

  // ---- calls ----------------------------------------------------------------------------------------------------------------------------

  get calls(): readonly CallResult[] { return this.#progress.map((call, k) => ({ port: this.#calls[k].port, done: call.done, tries: call.tries, bytes: call.bytes, crc32: call.crc32, answer: call.answer })); }
  get wakeNs(): number { return this.#progress.reduce((next, call) => (call.done || call.open ? next : Math.min(next, call.nextNs)), Infinity); }
  expire(): void {
    const now = this.network.now();
    this.#progress.forEach((call, k) => {
      if (call.done || call.open || call.nextNs > now) return;
      const service = new Service(this, 'call');
      service.call = k;
      call.tries++;
      const { port, send } = this.#calls[k];
      const connection = this.network.tcp.open(ADDRESS.guest, port, ADDRESS.gateway, FIRST_CALL_PORT + (k * 97 + call.tries) % 20_000, service);
      if (!connection) { call.nextNs = now + CALL_AGAIN_NS; return; }
      call.open = true;
      service.connection = connection;
      this.#streams.set(connection.id, service);
      connection.send(typeof send === 'string' ? new TextEncoder().encode(send) : send);
      connection.sendEnd();
    });
  }
  /** Makes call `k` now, if it has not been made. */
  start(k: number): void { const call = this.#progress[k]; if (call.nextNs === Infinity) call.nextNs = this.network.now(); }
  finished(service: Service): void {
    const call = this.#progress[service.call];
    call.done = true;
    call.bytes = service.received;
    call.crc32 = service.crc;
    call.answer = service.text;
  }
  forget(service: Service, aborted: boolean): void {
    this.#streams.delete(service.connection.id);
    if (service.call < 0) return;
    const call = this.#progress[service.call];
    call.open = false;
    if (aborted && !call.done) { call.nextNs = this.network.now() + CALL_AGAIN_NS; if (call.tries >= CALL_TRIES) call.done = true; }
  }

  save(w: StateWriter): void {
    w.number(this.#lostQueries);
    w.list(this.#progress, this.#progress.length, (call) => { w.number(call.nextNs); w.number(call.tries); w.flag(call.done); w.number(call.bytes); w.number(call.crc32); w.bytes(call.answer); w.flag(call.open); });
    w.list(this.#streams, this.#streams.size, ([id, service]) => { w.number(id); service.save(w); });
  }
  /** After the network's own: connections get their streams back. */
  load(r: StateReader): void {
    this.#lostQueries = r.number();
    this.#progress = r.list(() => ({ nextNs: r.number(), tries: r.number(), done: r.flag(), bytes: r.number(), crc32: r.number(), answer: r.bytes(), open: r.flag() }));
    this.#streams.clear();
    r.list(() => {
      const id = r.number();
      const service = Service.load(r, this);
      const connection = this.network.tcp.connections.get(id);
      if (!connection) return;
      service.connection = connection;
      connection.stream = service;
      this.#streams.set(id, service);
    });
  }
}

const ascii = (text: string): Uint8Array => new TextEncoder().encode(text);
function joinBytes(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(a.length + b.length);
  out.set(a);
  out.set(b, a.length);
  return out;
}
