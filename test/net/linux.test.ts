/**
 * The core against the TCP of this host, in real time, over a tap device in a network namespace of its own; with frames lost and the core dying. Only with KINTSUGI_FULL, as
 * root, on Linux with python3 and /dev/net/tun; skipped elsewhere.
 */
import { spawn, spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { Random } from './pair.ts';
import { Stack, type Pending } from './stack.ts';

const possible = ((): boolean => {
  if (process.env['KINTSUGI_FULL'] === undefined || process.platform !== 'linux') return false;
  try { accessSync('/dev/net/tun', constants.R_OK | constants.W_OK); } catch { return false; }
  return spawnSync('unshare', ['-n', 'python3', '-c', 'import socket'], { stdio: 'ignore' }).status === 0;
})();
const pattern = (seed: number): Uint8Array => Uint8Array.from({ length: 131072 }, (_, i) => ((i & 65535) * 31 + seed * 7 & 255) ^ (i >> 8 & 255));
interface Outcome { said: string; sent: number; received: number; deaths: number; counters: Record<string, number> }

async function exchange(bytes: number, options: { loss?: number; killMs?: number; congestion?: string }): Promise<Outcome> {
  const s = await Stack.start({ address: '10.9.0.2', gateway: '', stateBytes: 4 << 20, packets: 256, nowNs: process.hrtime.bigint() });
  const random = new Random(7), lost = (): boolean => random.chance((options.loss ?? 0) * 10);
  const theirs = pattern(1);
  s.put(65536, pattern(2));
  s.ok('socket', [1, 2, 1, 0]); s.ok('bind', [1, s.putAddress(0, '0.0.0.0', 80)]); s.ok('listen', [1, 5]);
  const accepted = s.call('accept', [1, 2, 0xffffffff, 0]);
  const peer = spawn('unshare', ['-n', 'python3', path.join(import.meta.dirname, 'linux-peer.py'), String(bytes), options.congestion ?? 'cubic'], { stdio: ['pipe', 'pipe', 'pipe'] });
  let said = '', timer: NodeJS.Timeout | undefined, buffer = Buffer.alloc(0), sent = 0, received = 0, ended = false, shut = false, failure: Error | undefined;
  let send: Pending | undefined, receive: Pending | undefined;
  peer.stderr.on('data', (d: Buffer) => { said += d.toString(); });
  s.onFrame = (f): void => { if (lost() || peer.stdin.destroyed) return; const head = Buffer.alloc(2); head.writeUInt16LE(f.length); peer.stdin.write(Buffer.concat([head, f])); };
  peer.stdin.on('error', () => undefined);
  /** A program: reads and checks, writes, shuts down. */
  const program = (): void => {
    for (let moved = accepted.status === 0; moved;) {
      moved = false;
      if (receive?.status !== undefined) {
        if (receive.status < 0) throw new Error(`recv: ${receive.status}`);
        if (Buffer.compare(s.get(300_000, receive.r0), theirs.subarray(received & 65535, (received & 65535) + receive.r0)) !== 0) throw new Error(`wrong bytes after ${received}`);
        received += receive.r0;
        ended ||= receive.r0 === 0;
        receive = undefined; moved = true;
      }
      if (send?.status !== undefined) { if (send.status < 0) throw new Error(`send: ${send.status}`); sent += send.r0; send = undefined; moved = true; }
      if (receive === undefined && !ended) { receive = s.begin('recv', [2, received >>> 0, 300_000, 65536, 0]); moved = true; }
      if (send === undefined && sent < bytes) { send = s.begin('send', [2, sent >>> 0, 65536 + (sent & 65535), Math.min(65536, bytes - sent), 0]); moved = true; }
      if (!shut && sent === bytes) { shut = true; s.begin('shutdown', [2, 1]); moved = true; }
      if (moved) s.settle();
    }
  };
  const pump = (): void => {
    try { s.now = process.hrtime.bigint(); s.settle(); program(); } catch (e) { failure ??= e as Error; peer.kill('SIGKILL'); return; }
    clearTimeout(timer);
    const next = s.deadline;
    if (next < 1n << 62n) timer = setTimeout(pump, Math.max(0, Math.min(1000, Number((next - s.now) / 1_000_000n) + 1)));
  };
  peer.stdout.on('data', (d: Buffer) => {
    buffer = Buffer.concat([buffer, d]);
    s.now = process.hrtime.bigint();
    for (let batch = 0; buffer.length >= 2 && buffer.length >= 2 + buffer.readUInt16LE(0); buffer = buffer.subarray(2 + buffer.readUInt16LE(0))) {
      if (!lost()) s.push(buffer.subarray(2, 2 + buffer.readUInt16LE(0)));
      if (++batch % 16 === 0) pump();
    }
    pump();
  });
  const killer = options.killMs === undefined ? undefined : setInterval(() => { s.now = process.hrtime.bigint(); s.kill(); pump(); }, options.killMs);
  await new Promise<void>((resolve) => peer.on('exit', () => resolve()));
  clearInterval(killer); clearTimeout(timer);
  if (failure !== undefined) throw failure;
  return { said: said.trim(), sent, received, deaths: s.deaths, counters: s.counters() };
}

describe.runIf(possible)("the host's own TCP", () => {
  test.each([
    ['on a clean wire', 30_000_000, {}],
    ['with 1 % of the frames lost', 10_000_000, { loss: 1 }],
    ['with 5 % of the frames lost, Reno there', 3_000_000, { loss: 5, congestion: 'reno' }],
    ['with a death every 50 ms', 60_000_000, { killMs: 50 }],
    ['with deaths and losses', 10_000_000, { killMs: 50, loss: 1 }],
  ] as const)('both ways %s', async (_, bytes, options) => {
    const o = await exchange(bytes, options);
    expect(o.said).toBe(`received ${bytes}`);
    expect([o.sent, o.received]).toEqual([bytes, bytes]);
    expect([o.counters['tcp_aborted'], o.counters['record_bad'], o.counters['tcp_rst_in']]).toEqual([0, 0, 0]);
    if ('killMs' in options) expect(o.deaths).toBeGreaterThan(3);
  });
});
