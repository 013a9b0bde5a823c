/**
 * Queues of datagram and echo sockets. Private: what was not fetched when net dies is lost, as datagrams may be. A datagram lies in chunks of 2 KiB from one arena;
 * a socket holds QUEUE_CHUNKS at most, the rest is dropped and counted.
 *
 *   first chunk: {next chunk, next datagram, bytes, port, address 16} data...    further chunks: {next chunk} data...
 */
import { NET_TYPE_ECHO } from 'kintsugi/protocols';
import { copyAddress } from './address';
import { C_DATAGRAM_ARENA, C_DATAGRAM_QUEUE, count } from './counters';
import { reserveRaw } from './host';
import { Socket, findOnPort, wake } from './socket';

const CHUNK: u32 = 2048;
const CHUNKS: u32 = 96;
const HEAD: u32 = 32;
const QUEUE_CHUNKS: u32 = 68; // two of the largest; what is left is for others
let arena: usize = 0;
let free: usize = 0;
export let chunksFree: u32 = 0;
export function chunksUsed(): u32 { return CHUNKS - chunksFree; }

export function datagramsPrivateBytes(): u32 { return CHUNK * CHUNKS + 64; }
export function datagramsInit(): void {
  arena = reserveRaw(CHUNK * CHUNKS);
  free = 0;
  chunksFree = CHUNKS;
  for (let n = <i32>CHUNKS - 1; n >= 0; n--) { const c = arena + <usize>n * CHUNK; store<usize>(c, free); free = c; }
}
function takeChunk(): usize { const c = free; free = load<usize>(c); chunksFree--; store<usize>(c, 0); return c; }
function giveChain(c: usize): void { while (c != 0) { const n = load<usize>(c); store<usize>(c, free); free = c; chunksFree++; c = n; } }

function chunksOf(bytes: u32): u32 { return bytes <= CHUNK - HEAD ? 1 : 1 + (bytes - (CHUNK - HEAD) + CHUNK - 5) / (CHUNK - 4); }

/** Puts a copy at the end of the socket's queue. */
export function queueDatagram(s: Socket, from: usize, port: u32, at: usize, bytes: u32): void {
  const chunks = chunksOf(bytes);
  if (s.queued + chunks > QUEUE_CHUNKS) { s.dropped++; count(C_DATAGRAM_QUEUE); return; }
  if (chunks > chunksFree) { s.dropped++; count(C_DATAGRAM_ARENA); return; }
  const first = takeChunk();
  store<usize>(first, 0, 4); store<u32>(first, bytes, 8); store<u32>(first, port, 12); copyAddress(first + 16, from);
  let n = bytes < CHUNK - HEAD ? bytes : CHUNK - HEAD, done = n;
  memory.copy(first + HEAD, at, n);
  let last = first;
  while (done < bytes) {
    const c = takeChunk();
    store<usize>(last, c);
    last = c;
    n = bytes - done < CHUNK - 4 ? bytes - done : CHUNK - 4;
    memory.copy(c + 4, at + done, n);
    done += n;
  }
  if (s.datagrams == 0) s.datagrams = first; else store<usize>(s.lastDatagram, first, 4);
  s.lastDatagram = first;
  s.queued += chunks;
  wake(s);
}
/** Memory that the queue of a socket takes, bytes. */
export function datagramsHeld(s: Socket): u32 { return s.queued * CHUNK; }
export function datagramBytes(s: Socket): u32 { return load<u32>(s.datagrams, 8); }
export function datagramPort(s: Socket): u32 { return load<u32>(s.datagrams, 12); }
export function datagramFrom(s: Socket): usize { return s.datagrams + 16; }
/** Copies the first datagram, as far as `room` goes; the bytes copied. */
export function copyDatagram(s: Socket, to: usize, room: u32): u32 {
  const first = s.datagrams, bytes = load<u32>(first, 8), want = bytes < room ? bytes : room;
  let n = want < CHUNK - HEAD ? want : CHUNK - HEAD, done = n, c = first;
  memory.copy(to, first + HEAD, n);
  while (done < want) {
    c = load<usize>(c);
    n = want - done < CHUNK - 4 ? want - done : CHUNK - 4;
    memory.copy(to + done, c + 4, n);
    done += n;
  }
  return want;
}
export function dropDatagram(s: Socket): void {
  const first = s.datagrams;
  s.datagrams = load<usize>(first, 4);
  s.queued -= chunksOf(load<u32>(first, 8));
  giveChain(first);
}
export function dropDatagrams(s: Socket): void { while (s.datagrams != 0) dropDatagram(s); }

/** An echo reply for the socket with this identifier. False: nobody's. */
export function echoDeliver(identifier: u32, from: usize, to: usize, at: usize, bytes: u32): bool {
  const s = findOnPort(NET_TYPE_ECHO, identifier, to, from, 0);
  if (changetype<usize>(s) == 0) return false;
  queueDatagram(s, from, 0, at, bytes);
  return true;
}
