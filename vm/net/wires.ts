/**
 * QEMU's socket wires, so that QEMU, passt, socat or a second machine can be the other end.
 *
 *   stream   a TCP connection; every frame is preceded by its length, 32 bits in network order (QEMU: -netdev stream)
 *   dgram    UDP; every datagram is one frame (QEMU: -netdev dgram)
 *
 * Checksums that the guest left to the device are completed before a frame goes out: the other end is a stranger. A peer that goes away pulls
 * the plug (link down); a client tries again every second, a listener waits for the next. One that does not take what it is sent stops the guest's
 * queue (WRITE_AHEAD_BYTES); one that speaks another protocol is cut off, and a client waits twice as long each time before it tries again.
 */
import * as dgram from 'node:dgram';
import { lookup } from 'node:dns/promises';
import * as net from 'node:net';
import type { BackendEvents, LiveBackend } from './backend.ts';
import { NetError } from './config.ts';
import { FrameBatch, LEAST_FRAME } from './frames.ts';

const OUT_FRAMES = 512;
const OUT_BYTES = 1024 * 1024;
/** Written and not yet taken by the other end: above this the guest's frames wait. */
const WRITE_AHEAD_BYTES = 1024 * 1024;
/** A length above this is no frame but another protocol. */
const NONSENSE_BYTES = 256 * 1024;
const AGAIN_MS = 1000;
const AGAIN_MOST_MS = 64_000;
/** A peer whose host vanished without a word is noticed by probes of TCP. */
const KEEPALIVE_MS = 10_000;
const SOURCE_MAC = 6;

/** Why `address`, a place on `host`, could not be opened or reached. */
export const hostError = (error: NodeJS.ErrnoException, subject: string, address: string, host = address.replace(/:\d+$/, '')): NetError => {
  switch (error.code) {
    case 'EADDRINUSE': return new NetError('port-in-use', subject, `${address} is in use by another process`, { cause: error });
    case 'EACCES': case 'EPERM': return new NetError('forbidden', subject, `${address} may not be opened (ports below 1024 need rights)`, { cause: error });
    case 'EADDRNOTAVAIL': return new NetError('address', subject, `${host} is no address of this host`, { cause: error });
    case 'ENOTFOUND': case 'EAI_AGAIN': return new NetError('address', subject, `the name ${host} cannot be resolved`, { cause: error });
    case 'ECONNREFUSED': return new NetError('refused', subject, `nobody listens at ${address}`, { cause: error });
    case 'ENETUNREACH': case 'EHOSTUNREACH': case 'ETIMEDOUT': return new NetError('unreachable', subject, `${address} cannot be reached`, { cause: error });
    default: return new NetError('address', subject, `${address}: ${error.message}`, { cause: error });
  }
};

const showMac = (mac: Uint8Array): string => [...mac.subarray(0, 6)].map((byte) => byte.toString(16).padStart(2, '0')).join(':');

abstract class Wire {
  readonly out = new FrameBatch(OUT_FRAMES, OUT_BYTES);
  readonly counters = new Map<string, number>();
  readonly wakeNs = Infinity;
  protected readonly events: BackendEvents;
  protected readonly mostFrame: number;
  readonly #mac: Uint8Array;
  #told = false;
  /** `mac`: view of the card's present address. */
  constructor(events: BackendEvents, mostFrame: number, mac: Uint8Array) { this.events = events; this.mostFrame = mostFrame; this.#mac = mac; }
  protected count(reason: string, times = 1): void { this.counters.set(reason, (this.counters.get(reason) ?? 0) + times); }
  /** Whether `frame` is one: looked at in passing is who sent it. */
  protected isFrame(frame: Uint8Array): boolean {
    if (frame.length < LEAST_FRAME) { this.count('frame too short'); return false; }
    if (frame.length > this.mostFrame) { this.count('frame too long'); return false; }
    const mac = this.#mac;
    let k = 0;
    while (k < 6 && frame[SOURCE_MAC + k] === mac[k]) k++;
    if (k === 6) {
      this.count('frame with our own hardware address');
      if (!this.#told) {
        this.#told = true;
        this.events.note(`network: a frame came in from ${showMac(mac)}, the address of this machine's own card: either our frames come back or two machines have the same address; give one of them --mac`);
      }
    }
    return true;
  }
  expire(): void { /* no timers */ }
}

export class StreamWire extends Wire implements LiveBackend {
  readonly #host: string;
  readonly #port: number;
  readonly #listen: boolean;
  #server: net.Server | undefined;
  #socket: net.Socket | undefined;
  #again: NodeJS.Timeout | undefined;
  #pending: Buffer = Buffer.alloc(0);
  #paused = false;
  #closed = false;
  /** Why the connection at hand is about to end, when it is us who end it. */
  #offence: string | undefined;
  #againMs = AGAIN_MS;

  constructor(events: BackendEvents, mostFrame: number, mac: Uint8Array, options: { host: string; port: number; listen: boolean }) {
    super(events, mostFrame, mac);
    this.#host = options.host; this.#port = options.port; this.#listen = options.listen;
  }
  get #name(): string { return `${this.#host}:${this.#port}`; }
  get #subject(): string { return `--net stream${this.#listen ? '-listen' : ''}:${this.#name}`; }
  get linkUp(): boolean { return this.#socket !== undefined; }
  get ready(): boolean { return this.#socket === undefined || this.#socket.writableLength < WRITE_AHEAD_BYTES; }

  async open(): Promise<void> {
    if (!this.#listen) { this.#attach(await this.#connect()); return; }
    const server = this.#server = net.createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEPALIVE_MS }, (socket) => {
      if (this.#socket) { socket.on('error', () => undefined).destroy(); this.count('second peer refused'); return; }
      this.#attach(socket);
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error) => reject(hostError(error, this.#subject, this.#name)));
      server.listen(this.#port, this.#host, () => { server.on('error', () => this.count('connection not accepted')); resolve(); });
    });
  }
  #connect(): Promise<net.Socket> {
    return new Promise((resolve, reject) => {
      const socket = net.connect({ host: this.#host, port: this.#port, noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEPALIVE_MS });
      socket.once('error', (error) => reject(hostError(error, this.#subject, this.#name)));
      socket.once('connect', () => { socket.removeAllListeners('error'); resolve(socket); });
    });
  }
  #attach(socket: net.Socket): void {
    this.#socket = socket;
    this.#pending = Buffer.alloc(0);
    this.#paused = false;
    this.#offence = undefined;
    let cause = 'closed the connection';
    socket.on('error', (error) => { cause = `is gone (${error.message})`; });
    socket.on('data', (chunk) => this.#bytes(chunk as Buffer));
    socket.on('drain', () => this.events.activity());
    socket.on('close', () => {
      if (this.#socket !== socket) return;
      this.#socket = undefined;
      if (this.#closed) return;
      if (this.#pending.length > 0 && !this.#paused && this.#offence === undefined) this.count('frame cut off');
      this.#againMs = this.#offence === undefined ? AGAIN_MS : Math.min(2 * this.#againMs, AGAIN_MOST_MS);
      this.events.note(`network: the peer at ${this.#name} ${this.#offence ?? cause}; ${this.#listen ? 'waiting for another' : `trying again${this.#againMs > AGAIN_MS ? ` in ${this.#againMs / 1000} s` : ''}`}`);
      this.events.activity();
      if (!this.#listen) this.#tryAgain();
    });
    this.events.activity();
  }
  #tryAgain(): void {
    this.#again = setTimeout(() => {
      this.#connect().then((socket) => { if (this.#closed) socket.destroy(); else { this.events.note(`network: the peer at ${this.#name} is back`); this.#attach(socket); } }, () => { if (!this.#closed) this.#tryAgain(); });
    }, this.#againMs);
  }

  input(batch: FrameBatch): void {
    const socket = this.#socket;
    if (!socket) { this.count('nobody at the other end', batch.count); return; }
    let bytes = 0;
    for (let k = 0; k < batch.count; k++) { batch.finish(k); bytes += 4 + batch.length(k); }
    const chunk = Buffer.allocUnsafe(bytes);
    let at = 0;
    for (let k = 0; k < batch.count; k++) {
      const length = batch.length(k);
      chunk.writeUInt32BE(length, at);
      chunk.set(batch.frame(k), at + 4);
      at += 4 + length;
    }
    socket.write(chunk);
  }

  #bytes(chunk: Buffer): void {
    let data: Buffer = this.#pending.length > 0 ? Buffer.concat([this.#pending, chunk]) : chunk;
    data = data.subarray(this.#parse(data));
    this.#pending = data.length === 0 ? Buffer.alloc(0) : data;
    this.events.activity();
  }
  /** Takes whole frames; the bytes used. Stops reading the socket when the batch is full. */
  #parse(data: Buffer): number {
    let at = 0;
    while (data.length - at >= 4) {
      const length = data.readUInt32BE(at);
      if (length > NONSENSE_BYTES) {
        this.#offence = `does not speak this protocol (a frame of ${length} bytes): connection closed`;
        this.count('not this protocol');
        this.#socket?.destroy();
        return data.length;
      }
      if (data.length - at - 4 < length) break;
      const frame = data.subarray(at + 4, at + 4 + length);
      if (this.isFrame(frame) && !this.out.push(frame)) {
        if (!this.#paused) { this.#paused = true; this.#socket?.pause(); }
        break;
      }
      at += 4 + length;
    }
    return at;
  }
  drained(): void {
    if (!this.#paused) return;
    const rest = this.#pending;
    const used = this.#parse(rest);
    this.#pending = rest.subarray(used);
    if (this.out.count < OUT_FRAMES / 2) { this.#paused = false; this.#socket?.resume(); }
  }
  close(): void {
    this.#closed = true;
    clearTimeout(this.#again);
    this.#socket?.destroySoon();
    this.#server?.close();
  }
}

export class DatagramWire extends Wire implements LiveBackend {
  readonly #host: string;
  readonly #port: number;
  readonly #localPort: number;
  readonly #socket = dgram.createSocket({ type: 'udp4', recvBufferSize: 1024 * 1024 });
  readonly linkUp = true;
  readonly ready = true;
  #address = '';

  constructor(events: BackendEvents, mostFrame: number, mac: Uint8Array, options: { host: string; port: number; localPort: number }) {
    super(events, mostFrame, mac);
    this.#host = options.host; this.#port = options.port; this.#localPort = options.localPort;
  }
  async open(): Promise<void> {
    const socket = this.#socket;
    const subject = `--net dgram:${this.#host}:${this.#port}:${this.#localPort}`;
    try { this.#address = (await lookup(this.#host, 4)).address; } catch (error) { throw hostError(error as NodeJS.ErrnoException, subject, this.#host); } // once, not for each frame
    const local = this.#address.startsWith('127.') ? '127.0.0.1' : '0.0.0.0';
    await new Promise<void>((resolve, reject) => {
      socket.once('error', (error) => reject(hostError(error, subject, `${local}:${this.#localPort}`)));
      socket.bind(this.#localPort, local, () => { socket.removeAllListeners('error'); resolve(); });
    });
    socket.on('error', () => this.count('datagram not sent'));
    socket.on('message', (message) => {
      if (this.isFrame(message) && !this.out.push(message)) this.count('guest does not keep up');
      this.events.activity();
    });
  }
  input(batch: FrameBatch): void {
    for (let k = 0; k < batch.count; k++) {
      batch.finish(k);
      this.#socket.send(Buffer.from(batch.frame(k)), this.#port, this.#address, (error) => { if (error) this.count('datagram not sent'); });
    }
  }
  drained(): void { /* datagrams are lost, not held */ }
  close(): void { this.#socket.close(); }
}
