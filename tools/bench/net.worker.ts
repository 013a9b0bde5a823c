/**
 * The host's ends of `kintsugi bench net`, in a thread of their own: the client that talks to the guest and, in a second instance, the peer server that the same client talks to
 * for comparison. Jobs come and answers go as messages, one at a time.
 */
import * as dgram from 'node:dgram';
import * as net from 'node:net';
import { parentPort } from 'node:worker_threads';

export type NetJob =
  /** A server on a free port of the loopback: reads once, answers as many bytes, ends. As `netbench accept`. */
  | { readonly kind: 'serve' }
  /** One connection: takes `bytes`, answers a byte. As `netbench recv`. */
  | { readonly kind: 'sink'; readonly bytes: number }
  /** One connection: sends `bytes`, then the end. As `netbench send`. */
  | { readonly kind: 'source'; readonly bytes: number }
  /** Makes connections, `parallel` at a time: sends a line, reads to the end. Answers ms. */
  | { readonly kind: 'connections'; readonly port: number; readonly count: number; readonly parallel: number }
  /** Sends `bytes` and waits for a byte; reads to the end, expecting `bytes`. Answers ms. */
  | { readonly kind: 'push' | 'pull'; readonly port: number; readonly bytes: number }
  /** A UDP server that returns what comes. */
  | { readonly kind: 'echo' }
  /** Round trips to it, one after the other. Answers the median in ms. */
  | { readonly kind: 'roundTrips'; readonly port: number; readonly count: number };
export type NetAnswer = { readonly port: number } | { readonly ms: number } | { readonly problem: string };

const LINE = Buffer.from('hello\n');
const PIECE = Buffer.alloc(256 * 1024, 0x5a);

const listen = (onSocket: (socket: net.Socket) => void): Promise<NetAnswer> => new Promise((resolve, reject) => {
  const server = net.createServer({ noDelay: true, allowHalfOpen: false }, onSocket);
  server.on('error', reject);
  server.listen({ port: 0, host: '127.0.0.1', backlog: 1024 }, () => { resolve({ port: (server.address() as net.AddressInfo).port }); });
});
const pour = (socket: net.Socket, bytes: number, then?: () => void): void => {
  let left = bytes;
  const more = (): void => {
    while (left > 0) {
      const piece = PIECE.subarray(0, Math.min(left, PIECE.length));
      left -= piece.length;
      if (!socket.write(piece)) { socket.once('drain', more); return; }
    }
    then?.();
  };
  more();
};
function once(port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ port, host: '127.0.0.1', noDelay: true });
    let got = 0;
    socket.on('connect', () => socket.write(LINE));
    socket.on('data', (data) => { got += data.length; });
    socket.on('error', reject);
    socket.on('close', () => { if (got === LINE.length) resolve(); else reject(new Error(`a connection ended after ${got} of ${LINE.length} bytes`)); });
  });
}
async function timed(body: () => Promise<void>): Promise<NetAnswer> {
  const start = performance.now();
  await body();
  return { ms: performance.now() - start };
}
async function work(job: NetJob): Promise<NetAnswer> {
  switch (job.kind) {
    case 'serve': return listen((socket) => { socket.on('error', () => {}); socket.once('data', (data) => socket.end(data)); });
    case 'sink': return listen((socket) => { let left = job.bytes; socket.on('error', () => {}); socket.on('data', (data) => { left -= data.length; if (left <= 0) socket.end('x'); }); });
    case 'source': return listen((socket) => { socket.on('error', () => {}); socket.resume(); pour(socket, job.bytes, () => socket.end()); });
    case 'connections': return timed(async () => {
      let next = 0;
      await Promise.all(Array.from({ length: job.parallel }, async () => { while (next++ < job.count) await once(job.port); }));
    });
    case 'push': return timed(() => new Promise((resolve, reject) => {
      const socket = net.connect({ port: job.port, host: '127.0.0.1' });
      socket.on('error', reject);
      socket.once('data', () => { socket.destroy(); resolve(); });
      socket.on('end', () => reject(new Error('the stream ended without an answer')));
      pour(socket, job.bytes);
    }));
    case 'pull': return timed(() => new Promise((resolve, reject) => {
      let got = 0;
      const socket = net.connect({ port: job.port, host: '127.0.0.1' });
      socket.on('error', reject);
      socket.on('data', (data) => { got += data.length; });
      socket.on('end', () => { if (got === job.bytes) resolve(); else reject(new Error(`the stream ended after ${got} of ${job.bytes} bytes`)); });
    }));
    case 'echo': return new Promise((resolve) => {
      const socket = dgram.createSocket('udp4');
      socket.on('message', (data, from) => socket.send(data, from.port, from.address));
      socket.bind(0, '127.0.0.1', () => { resolve({ port: socket.address().port }); });
    });
    case 'roundTrips': {
      const socket = dgram.createSocket('udp4'), times: number[] = [];
      for (let n = 0; n < job.count; n++) {
        const start = performance.now();
        await new Promise<void>((resolve) => { socket.once('message', () => resolve()); socket.send(LINE, job.port, '127.0.0.1'); });
        times.push(performance.now() - start);
      }
      socket.close();
      return { ms: times.sort((a, b) => a - b)[times.length >> 1]! };
    }
  }
}
parentPort!.on('message', (job: NetJob) => { void work(job).catch((error: unknown): NetAnswer => ({ problem: error instanceof Error ? error.message : String(error) })).then((answer) => parentPort!.postMessage(answer)); });
