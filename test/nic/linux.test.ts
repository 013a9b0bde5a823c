import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import * as http from 'node:http';
import * as net from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { linuxGuest, linuxGuestAvailable } from './linux.ts';
import { patternBytes } from './rig.ts';

const curl = spawnSync('curl', ['--version']).status === 0;
const available = curl && await linuxGuestAvailable();
if (!available) console.log('Linux as the guest needs root, /dev/net/tun, python3, iproute2 and curl: skipped');

const content = Buffer.from(patternBytes(8_000_000, 5));
const digest = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
let server: http.Server;
let url = '';
let port = 0;
beforeAll(async () => {
  server = http.createServer((request, response) => {
    if (request.method === 'POST') {
      const hash = createHash('sha256');
      request.on('data', (data: Buffer) => hash.update(data));
      request.on('end', () => response.end(hash.digest('hex')));
    } else response.end(request.url === '/x' ? content : 'hello');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  port = (server.address() as net.AddressInfo).port;
  url = `http://10.0.2.2:${port}`;
});
afterAll(() => { server.closeAllConnections(); server.close(); });

describe.skipIf(!available)("Linux's stack as the guest", () => {
  it('downloads and uploads through the gateway, checksums right, and leaves nothing behind', async () => {
    const run = await linuxGuest(`curl -sS ${url}/x > /tmp/kintsugi-net.$$ && sha256sum < /tmp/kintsugi-net.$$ && curl -sS -X POST --data-binary @/tmp/kintsugi-net.$$ ${url}/; rm /tmp/kintsugi-net.$$`);
    expect(run.stderr).toBe('');
    expect(run.stdout).toBe(`${digest(content)}  -\n${digest(content)}`);
  });

  it('does the same while one frame of fifty is lost', async () => {
    const run = await linuxGuest(`curl -sS ${url}/x | sha256sum`, { loss: 0.02 });
    expect(run.stdout).toBe(`${digest(content)}  -\n`);
  });

  it('a refused connection is refused at once, an address that cannot be is unreachable', async () => {
    const closed = net.createServer();
    await new Promise<void>((resolve) => closed.listen(0, '127.0.0.1', resolve));
    const { port: refused } = closed.address() as net.AddressInfo;
    await new Promise((resolve) => closed.close(resolve));
    const run = await linuxGuest(`curl -sS --max-time 10 http://10.0.2.2:${refused}/; echo $?; curl -sS --max-time 10 http://127.1.2.3:1/; true`);
    expect(run.stdout).toBe('7\n');
    expect(run.counters.get('connection refused')).toBe(1);
  });

  it('a host forward leads to a server of the guest, many at a time', async () => {
    const probe = net.createServer();
    await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
    const { port: hostPort } = probe.address() as net.AddressInfo;
    await new Promise((resolve) => probe.close(resolve));
    // The guest goes when a caller with nothing to say has come: not before all the others have their answers.
    const program = "import socket\ns = socket.create_server(('', 8000), backlog=64)\nd = b'x'\nwhile d:\n  c, a = s.accept()\n  d = b''\n  while True:\n    p = c.recv(65536)\n    if not p: break\n    d += p\n  c.sendall(d[::-1]); c.close()";
    let open = (): void => undefined;
    const opened = new Promise<void>((resolve) => { open = resolve; });
    const running = linuxGuest(`python3 -c "${program}"`, { forwards: [{ protocol: 'tcp', host: '127.0.0.1', port: hostPort, guestPort: 8000 }], started: open });
    await opened;
    const call = (message: Buffer): Promise<string> => new Promise((resolve) => {
      const attempt = (): void => { // until the guest listens it is refused
        const chunks: Buffer[] = [];
        const socket = net.connect({ host: '127.0.0.1', port: hostPort, allowHalfOpen: true }, () => socket.end(message));
        socket.on('data', (data) => chunks.push(data as Buffer));
        socket.on('end', () => resolve(digest(Buffer.concat(chunks))));
        socket.on('error', () => setTimeout(attempt, 50));
      };
      attempt();
    });
    const results = await Promise.all(Array.from({ length: 20 }, (_, k) => call(content.subarray(k, k + 100_000))));
    expect(results).toEqual(Array.from({ length: 20 }, (_, k) => digest(Buffer.from(content.subarray(k, k + 100_000)).reverse())));
    net.connect(hostPort, '127.0.0.1').on('error', () => undefined).end();
    const run = await running;
    expect(run.stderr).toBe('');
  });
});
