/**
 * Linux's own stack as the guest: a TAP device in a network namespace (tap.py), whose frames come here over QEMU's stream framing and go into
 * the user network of a live machine. Needs root, /dev/net/tun, python3 and iproute2.
 */
import { spawn, spawnSync } from 'node:child_process';
import { accessSync } from 'node:fs';
import * as net from 'node:net';
import { fileURLToPath } from 'node:url';
import { FrameBatch } from '../../vm/net/frames.ts';
import type { HostForward } from '../../vm/net/config.ts';
import { UserBackend } from '../../vm/net/user/live.ts';

const TAP = fileURLToPath(new URL('tap.py', import.meta.url));
const CANNOT = 77;

/** Whether it works here; a command that needs nothing is tried. */
export async function linuxGuestAvailable(): Promise<boolean> {
  try { accessSync('/dev/net/tun'); } catch { return false; }
  if (process.getuid?.() !== 0 || spawnSync('ip', ['-V']).status !== 0 || spawnSync('python3', ['--version']).status !== 0) return false;
  return (await linuxGuest('true')).status !== CANNOT;
}

export interface LinuxRun { readonly status: number; readonly stdout: string; readonly stderr: string; readonly counters: ReadonlyMap<string, number>; readonly connections: number }

/** Runs a shell command in the guest. `loss`: part of the guest's frames that vanish, by a fixed seed. `started`: it runs, forwards are open. */
export async function linuxGuest(command: string, options: { loss?: number; forwards?: readonly HostForward[]; started?: () => void } = {}): Promise<LinuxRun> {
  const now = (): number => performance.now() * 1e6;
  let wire: net.Socket | undefined;
  let blocked = false;
  let batching = false;
  let random = 1;
  const lost = (): boolean => { random = (Math.imul(random, 1_664_525) + 1_013_904_223) >>> 0; return random < (options.loss ?? 0) * 2 ** 32; };
  const flush = (): void => {
    const { out } = backend;
    while (!batching && wire && !blocked && out.count > 0) {
      const parts: Buffer[] = [];
      for (let k = 0; k < out.count; k++) {
        out.finish(k);
        const head = Buffer.alloc(4);
        head.writeUInt32BE(out.length(k));
        parts.push(head, Buffer.from(out.frame(k)));
      }
      out.clear();
      blocked = wire.writableLength > 1e6;
      wire.write(Buffer.concat(parts));
      backend.drained();
    }
  };
  const backend = new UserBackend({ activity: flush, note: () => undefined }, { now }, 1500, options.forwards ?? []);
  await backend.open();
  const timer = setInterval(() => { if (backend.wakeNs <= now()) { backend.expire(); flush(); } }, 5);
  const batch = new FrameBatch(256, 1 << 20);
  const input = (): void => { batching = true; backend.input(batch); batching = false; batch.clear(); flush(); };
  const server = net.createServer((socket) => {
    wire = socket;
    socket.setNoDelay(true);
    let pending = Buffer.alloc(0);
    socket.on('error', () => undefined);
    socket.on('drain', () => { blocked = false; flush(); });
    socket.on('data', (chunk) => {
      pending = Buffer.concat([pending, chunk as Buffer]);
      let at = 0;
      for (let length: number; pending.length - at >= 4 && pending.length - at - 4 >= (length = pending.readUInt32BE(at)); at += 4 + length) {
        const frame = pending.subarray(at + 4, at + 4 + length);
        if (lost()) continue;
        if (!batch.push(frame)) { input(); batch.push(frame); }
      }
      pending = Buffer.from(pending.subarray(at));
      input();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const child = spawn('python3', [TAP, String((server.address() as net.AddressInfo).port), 'sh', '-c', command], { stdio: ['ignore', 'pipe', 'pipe'], env: { PATH: process.env['PATH'] ?? '' } }); // no proxies of the host's
  const text = { stdout: '', stderr: '' };
  child.stdout.on('data', (data) => { text.stdout += String(data); });
  child.stderr.on('data', (data) => { text.stderr += String(data); });
  options.started?.();
  const status = await new Promise<number>((resolve) => child.on('close', (code) => resolve(code ?? 1)));
  clearInterval(timer);
  const run = { status, ...text, counters: new Map(backend.counters), connections: backend.network.tcp.connections.size };
  backend.close();
  wire?.destroy();
  server.close();
  return run;
}
