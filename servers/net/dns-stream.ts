/**
 * Name queries over TCP (RFC 7766): for an answer that was cut short (TC). One connection for each query, nobody's socket (id 0) with the flag RESOLVER: what comes is kept for
 * us, not reset. It has no program that waits, so `dnsStreams` looks at the end of every batch. After a death the connections are dropped and the query is asked anew.
 */
import { NET_TCP_STATE_CLOSE_WAIT, NET_TCP_STATE_ESTABLISHED } from 'kintsugi/protocols';
import { put16, setV4 } from './address';
import { C_DNS_STREAMS, count } from './counters';
import { reserve } from './host';
import { CUBIC, NODELAY, RESOLVER, STREAM, Socket, dataEnd, ephemeralPort, findConnection, setEnds, socketNew, touch, wantOutput } from './socket';
import { append, copyIn } from './sockets';
import { abort, close, open } from './tcp/connection';

/** Longest answer that is looked at, bytes; of a longer one the beginning. MAX_ADDRESSES and a chain of aliases need less. */
const MOST: u32 = 8192;
const NONE: Socket = changetype<Socket>(0);
const PORT: u32 = 53;
const LOCAL: usize = memory.data(16, 8);
const PEER: usize = memory.data(16, 8);
const LENGTH: usize = memory.data(4, 4);
let message: usize = 0;
export function dnsStreamBytes(): u32 { return MOST + 64; }
export function dnsStreamInit(): void { message = reserve(MOST); }

/** Connects `local` (v4) with `server` (v4); our port, 0 if it cannot be. */
export function dnsStreamOpen(local: u32, server: u32): u32 {
  setV4(LOCAL, local); setV4(PEER, server);
  const port = ephemeralPort(STREAM, LOCAL, PEER, PORT);
  if (port == 0) return 0;
  const s = socketNew(STREAM, 0);
  if (s == NONE) return 0;
  count(C_DNS_STREAMS);
  setEnds(s, LOCAL, port, PEER, PORT);
  s.flags |= RESOLVER | CUBIC | NODELAY;
  open(s);
  return port;
}
function find(local: u32, server: u32, port: u32): Socket { setV4(LOCAL, local); setV4(PEER, server); return findConnection(LOCAL, PEER, port, PORT); }

export const STREAM_WAITS: i32 = 0;
export const STREAM_OPEN: i32 = -1; // connected, nothing has been asked
export const STREAM_GONE: i32 = -2; // refused, reset, timed out, ended without an answer
/** How a connection stands; bytes of the answer at `dnsStreamMessage()` when it is there (12 at least). */
export function dnsStreamLook(local: u32, server: u32, port: u32): i32 {
  const s = find(local, server, port);
  if (s == NONE || (s.flags & RESOLVER) == 0) return STREAM_GONE;
  if (s.state != NET_TCP_STATE_ESTABLISHED && s.state != NET_TCP_STATE_CLOSE_WAIT) return s.state < NET_TCP_STATE_ESTABLISHED ? STREAM_WAITS : STREAM_GONE;
  if (s.sndEnd == s.iss + 1) return STREAM_OPEN;
  const have = dataEnd(s) - s.rcvRead;
  if (have >= 2) {
    copyIn(s, LENGTH, s.rcvRead, 2);
    const bytes = <u32>load<u8>(LENGTH) << 8 | <u32>load<u8>(LENGTH, 1), wanted = bytes < MOST ? bytes : MOST;
    if (bytes < 12) return STREAM_GONE;
    if (have >= 2 + wanted) { copyIn(s, message, s.rcvRead + 2, wanted); return <i32>wanted; }
  }
  return s.state == NET_TCP_STATE_CLOSE_WAIT ? STREAM_GONE : STREAM_WAITS;
}
export function dnsStreamMessage(): usize { return message; }
/** The question, behind its length (RFC 1035, 4.2.2; RFC 7766, 8: in one segment). False: no page for it yet. */
export function dnsStreamAsk(local: u32, server: u32, port: u32, m: usize, bytes: u32): bool {
  const s = find(local, server, port);
  if (s == NONE) return false;
  memory.copy(message + 2, m, bytes);
  put16(message, bytes);
  if (append(s, message, bytes + 2) != bytes + 2) return false;
  touch(s);
  wantOutput(s);
  return true;
}
/** The connection is of no use any more. */
export function dnsStreamClose(local: u32, server: u32, port: u32): void {
  const s = find(local, server, port);
  if (s == NONE || (s.flags & RESOLVER) == 0) return;
  s.flags &= ~RESOLVER;
  if (s.state < NET_TCP_STATE_ESTABLISHED) { abort(s); return; }
  s.rcvRead = dataEnd(s); s.rcvSeen = s.rcvRead;
  touch(s);
  close(s);
}
