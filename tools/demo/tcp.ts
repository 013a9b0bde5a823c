/**
 * `demo tcp` as a function: one TCP connection between a host program and a guest program carries streams down and up, while the guest's supervisor kills
 * net, the NIC driver and fs (servers/supervisor/storm.ts). The guest reads what it sends from its disk and writes what it gets to it (programs/streamd.ts).
 * The host compares every byte that comes down with what it put on the disk, the checksum of what went up with its own, and the file on the disk at the end.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { crc32 } from 'node:zlib';
import { createMachine, type MachineResult } from '../../vm/machine.ts';
import { PROGRAMS } from '../build/targets.ts';
import { rootEntries } from '../build/rootfs.ts';
import { ensureGuest } from '../cli/guest.ts';
import { systemConfig, type SystemOptions } from '../cli/system.ts';
import { buildExt2 } from '../image/writer.ts';
import { Ext2Reader } from '../image/reader.ts';

export const TCP_VICTIMS = ['net', 'virtio-net', 'fs', 'virtio-blk', 'tty', 'uart0', 'uart1', 'supervisor'] as const;
export interface TcpOptions extends SystemOptions {
  /** Goes on until so many kills; at least one stream each way. */
  readonly kills: number;
  readonly periodMs: number;
  readonly victims: readonly string[];
  /** Bytes of one stream. */
  readonly bytes: number;
}
export interface TcpReport {
  readonly kills: number;
  readonly killsByVictim: Readonly<Record<string, number>>;
  readonly streams: number;
  readonly bytesDown: number;
  readonly bytesUp: number;
  /** MB/s of payload, by the host's clock. */
  readonly goodputDown: number;
  readonly goodputUp: number;
  /** Segments that the guest sent again. */
  readonly retransmitted: number;
  readonly longestStallMs: number;
  readonly resets: number;
  readonly wrongBytes: number;
  readonly wrongChecksums: number;
  /** Median time from a death to the first request served, ms of guest time. */
  readonly recoveryMs: number;
  readonly e2fsck: string;
  readonly problems: readonly string[];
  readonly reason: MachineResult['reason'];
  readonly seed: number;
  readonly place: string;
  readonly smp: number;
  readonly hostSeconds: number;
}
export interface TcpTick { readonly kills: number; readonly direction: 'down' | 'up'; readonly done: number; readonly bytes: number; readonly rate: number; readonly longestStallMs: number }

const GUEST_PORT = 7000;
const FILE_BYTES = 8 * 1024 * 1024;
const PIECE = 256 * 1024;
/** Nothing moves for so long: the connection is dead. */
const DEAD_MS = 60_000;
const EVERLASTING = 1_000_000;

/** What lies on the disk and goes up: from the seed alone. */
function content(seed: number): Buffer {
  const bytes = Buffer.alloc(FILE_BYTES);
  let x = (Math.imul(seed, 0x9e3779b1) ^ 0x7f4a7c15) >>> 0 || 1;
  for (let n = 0; n < FILE_BYTES; n += 4) {
    x ^= x << 13; x ^= x >>> 17; x ^= x << 5;
    bytes.writeInt32LE(x, n);
  }
  return bytes;
}
const freePort = (): Promise<number> => new Promise((resolve, reject) => {
  const probe = createServer().on('error', reject).listen(0, '127.0.0.1', () => {
    const { port } = probe.address() as { port: number };
    probe.close(() => resolve(port));
  });
});

/** The host's end of the connection. */
class Stream {
  readonly socket: Socket;
  readonly #data: Buffer;
  #chunks: Buffer[] = [];
  #wake: () => void = () => {};
  #moved = performance.now();
  #busy = false;
  ended: string | undefined;
  longestStallMs = 0;
  wrongBytes = 0;
  bytesDown = 0;
  bytesUp = 0;
  msDown = 0;
  msUp = 0;
  moved: (direction: 'down' | 'up', done: number) => void = () => {};

  constructor(socket: Socket, data: Buffer) {
    this.socket = socket;
    this.#data = data;
    socket.on('data', (chunk) => { this.#chunks.push(chunk); this.#wake(); });
    socket.on('drain', () => this.#wake());
    socket.on('error', (error) => { this.ended ??= error.message; this.#wake(); });
    socket.on('close', () => { this.ended ??= 'closed by the guest'; this.#wake(); });
  }
  #progress(): void {
    const now = performance.now();
    if (this.#busy && now - this.#moved > this.longestStallMs) this.longestStallMs = now - this.#moved;
    this.#moved = now;
    this.#busy = true;
  }
  async #wait(): Promise<void> {
    if (this.ended !== undefined) throw new Error(`the connection ended: ${this.ended}`);
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve, reject) => {
      this.#wake = resolve;
      timer = setTimeout(() => reject(new Error(`nothing moved for ${DEAD_MS / 1000} s`)), DEAD_MS);
    }).finally(() => clearTimeout(timer));
  }
  async down(bytes: number): Promise<void> {
    this.#busy = false;
    const from = performance.now();
    this.socket.write(`get ${bytes}\n`);
    this.#progress();
    for (let at = 0; at < bytes;) {
      while (this.#chunks.length === 0) await this.#wait();
      const chunk = this.#chunks.shift()!;
      this.#progress();
      for (let n = 0; n < chunk.length;) {
        const place = (at + n) % FILE_BYTES, part = Math.min(chunk.length - n, FILE_BYTES - place);
        if (chunk.compare(this.#data, place, place + part, n, n + part) !== 0) for (let k = 0; k < part; k++) if (chunk[n + k] !== this.#data[place + k]) this.wrongBytes++;
        n += part;
      }
      at += chunk.length;
      if (at > bytes) this.wrongBytes += at - bytes;
      this.moved('down', at);
    }
    this.bytesDown += bytes;
    this.msDown += performance.now() - from;
    this.#busy = false;
  }
  /** The guest's answer: "N CRC32". */
  async up(bytes: number): Promise<string> {
    this.#busy = false;
    const from = performance.now();
    this.socket.write(`put ${bytes}\n`);
    this.#progress();
    for (let at = 0; at < bytes;) {
      const place = at % FILE_BYTES, part = Math.min(PIECE, bytes - at, FILE_BYTES - place);
      const room = this.socket.write(this.#data.subarray(place, place + part));
      at += part;
      if (!room) await this.#wait();
      this.#progress();
      this.moved('up', at);
    }
    let text = '';
    while (!text.endsWith('\n')) {
      while (this.#chunks.length === 0) await this.#wait();
      text += this.#chunks.shift()!.toString('latin1');
    }
    this.#progress();
    this.bytesUp += bytes;
    this.msUp += performance.now() - from;
    this.#busy = false;
    return text.trim();
  }
}
const repeated = (data: Buffer, bytes: number): string => {
  let sum = 0;
  for (let at = 0; at < bytes;) { const part = Math.min(FILE_BYTES, bytes - at); sum = crc32(data.subarray(0, part), sum); at += part; }
  return sum.toString(16).padStart(8, '0');
};

export async function demoTcp(options: TcpOptions, watch: { tick?(tick: TcpTick): void; log?(bytes: Uint8Array): void } = {}): Promise<TcpReport> {
  ensureGuest();
  const folder = mkdtempSync(path.join(tmpdir(), 'kintsugi-demo-')), disk = path.join(folder, 'disk.img'), data = content(options.seed), started = performance.now();
  writeFileSync(disk, buildExt2({ entries: [...rootEntries(PROGRAMS), { kind: 'file', path: '/stream.bin', data, mode: 0o644 }], sizeMiB: 64, label: 'kintsugi' }));
  try {
    const port = await freePort(), problems: string[] = [], byVictim: Record<string, number> = Object.fromEntries(options.victims.map((name) => [name, 0])), recovery: number[] = [];
    let kills = 0, output = '', rest = '', resets = 0, wrongChecksums = 0, streams = 0, begun = false;
    let stream: Stream | undefined, conversation: Promise<void> = Promise.resolve();
    const machine = await createMachine({
      ...systemConfig({ ...options, disk, overlay: false, append: `telemetry storm=${EVERLASTING}:${Math.round(options.periodMs * 1000)}:${options.seed}:${options.victims.join('+')} ${options.append}`.trim(),
        net: { backend: { kind: 'user' }, forwards: [{ protocol: 'tcp', host: '127.0.0.1', port, guestPort: GUEST_PORT }] } }, ['streamd', '-p', String(GUEST_PORT), '/stream.bin', '/upload.bin'], {
        com1: (bytes) => watch.log?.(bytes),
        com2: (bytes) => { output += Buffer.from(bytes).toString('latin1'); if (!begun && output.includes('listening')) { begun = true; conversation = converse(); } },
      }),
      debug: (bytes) => {
        const lines = (rest + Buffer.from(bytes).toString('latin1')).split('\n');
        rest = lines.pop()!;
        for (const line of lines) {
          const event = JSON.parse(line) as { restart?: string; failed?: string; why?: string; mid?: number; ns?: number[] };
          if (event.failed !== undefined) { problems.push(`${event.failed} was given up: ${event.why}`); machine.stop(); }
          if (event.restart === undefined) continue;
          kills++;
          byVictim[event.restart] = (byVictim[event.restart] ?? 0) + 1;
          const served = event.ns?.at(-1) ?? 0;
          if (served > 0 && event.mid === 1) recovery.push(served / 1e6);
        }
      },
    });
    async function converse(): Promise<void> {
      const socket = connect(port, '127.0.0.1'), s = stream = new Stream(socket, data), expected = `${options.bytes} ${repeated(data, options.bytes)}`;
      socket.setNoDelay(true);
      const begin = performance.now();
      s.moved = (direction, done) => watch.tick?.({ kills, direction, done, bytes: options.bytes, rate: (s.bytesDown + s.bytesUp + done) / 1000 / (performance.now() - begin), longestStallMs: s.longestStallMs });
      try {
        do {
          await s.down(options.bytes);
          const answer = await s.up(options.bytes);
          if (answer !== expected) { wrongChecksums++; problems.push(`what went up arrived as "${answer}", not "${expected}"`); }
          streams += 2;
        } while (kills < options.kills);
        s.socket.end('bye\n');
      } catch (error) {
        resets++;
        problems.push(error instanceof Error ? error.message : String(error));
        socket.destroy();
        machine.stop();
      }
    }
    const result = await machine.run().finally(() => machine.close());
    await conversation;
    stream?.socket.destroy();
    if (result.reason !== 'poweroff') problems.push(`the machine did not power off: ${result.reason}${result.detail === undefined ? '' : ` (${result.detail})`}`);
    if (!begun) problems.push(`the guest program did not start: ${output.replace(/[^\x20-\x7e]+/g, ' ').trim()}`);
    const fsck = spawnSync('e2fsck', ['-fn', disk], { encoding: 'utf8', env: { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/sbin:/usr/sbin` } });
    const e2fsck = fsck.error !== undefined ? 'not installed' : fsck.status === 0 ? 'clean' : `status ${fsck.status}: ${fsck.stdout.trim()}`;
    let wrongBytes = stream?.wrongBytes ?? 0;
    if (result.reason === 'poweroff' && streams > 0) {
      if (e2fsck !== 'clean' && e2fsck !== 'not installed') problems.push(`e2fsck: ${e2fsck}`);
      const reader = new Ext2Reader(readFileSync(disk)), inode = reader.lookup('/upload.bin'), there = inode === undefined ? Buffer.alloc(0) : Buffer.from(reader.content(inode));
      const wanted = data.subarray(0, Math.min(options.bytes, FILE_BYTES));
      if (!there.equals(wanted)) {
        let differ = Math.abs(there.length - wanted.length);
        for (let n = 0; n < Math.min(there.length, wanted.length); n++) if (there[n] !== wanted[n]) differ++;
        wrongBytes += differ;
        problems.push(`the file on the disk differs in ${differ} bytes`);
      }
    }
    if ((stream?.wrongBytes ?? 0) > 0) problems.push(`${stream!.wrongBytes} bytes came down wrong`);
    const rate = (bytes: number, ms: number): number => (ms === 0 ? 0 : Math.round(bytes / ms / 10) / 100), sorted = recovery.toSorted((a, b) => a - b);
    return {
      kills, killsByVictim: byVictim, streams, bytesDown: stream?.bytesDown ?? 0, bytesUp: stream?.bytesUp ?? 0,
      goodputDown: rate(stream?.bytesDown ?? 0, stream?.msDown ?? 0), goodputUp: rate(stream?.bytesUp ?? 0, stream?.msUp ?? 0),
      retransmitted: Number(/retransmitted (\d+)/.exec(output)?.[1] ?? 0), longestStallMs: Math.round(stream?.longestStallMs ?? 0), resets, wrongBytes, wrongChecksums,
      recoveryMs: Math.round((sorted[sorted.length >> 1] ?? 0) * 1000) / 1000, e2fsck, problems, reason: result.reason, seed: options.seed, place: options.place, smp: options.smp, hostSeconds: Math.round((performance.now() - started) / 100) / 10,
    };
  } finally { rmSync(folder, { recursive: true, force: true }); }
}
