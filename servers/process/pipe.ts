/** Pipes: a ring of PIPE_BYTES between descriptions. A write of at most PIPE_BUF (4096) bytes is not mixed with others (POSIX.1-2017 write). */
import * as P from 'kintsugi/protocols';
import { alloc, free } from '../lib/alloc';
import { wakeAll } from '../lib/fiber';
import { FOREVER, copyFromLease, copyToLease } from '../lib/sys';
import { EAGAIN, EINTR, EPIPE, errnoOf } from './errno';
import { PIPES, PIPE_BYTES, Pipe, Program, pipeAt } from './records';
import { pause, wakePollers } from './wait';

const ATOMIC: u32 = 4096;
const MASK: u32 = PIPE_BYTES - 1;

/** A pipe with one reader and one writer, null when there is no memory. */
export function newPipe(): Pipe {
  for (let n: u32 = 0; n < PIPES; n++) {
    const pipe = pipeAt(n);
    if (pipe.used != 0) continue;
    const at = alloc(PIPE_BYTES);
    if (at == 0) break;
    pipe.used = 1; pipe.at = at; pipe.head = 0; pipe.count = 0;
    pipe.readers = 1; pipe.writers = 1;
    return pipe;
  }
  return changetype<Pipe>(0);
}
/** One end's last description is gone. */
export function closeEnd(pipe: Pipe, reading: bool): void {
  if (reading) { pipe.readers = 0; wakeAll(pipe.canWrite); } else { pipe.writers = 0; wakeAll(pipe.canRead); }
  wakePollers();
  if (pipe.readers == 0 && pipe.writers == 0) { free(pipe.at); pipe.used = 0; }
}

/** Bytes for the lease 0 of `p`'s request: at least one, 0 when no writer is left. */
export function readPipe(p: Program, pipe: Pipe, bytes: u32, nonblock: bool): i32 {
  if (bytes == 0) return 0;
  while (pipe.count == 0) {
    if (pipe.writers == 0) return 0;
    if (nonblock) return -EAGAIN;
    if (!pause(pipe.canRead, FOREVER)) return -EINTR;
  }
  const total = min(bytes, pipe.count);
  let done: u32 = 0;
  while (done < total) {
    const from = (pipe.head + done) & MASK, part = min(total - done, PIPE_BYTES - from);
    const status = errnoOf(copyToLease(p.reply, pipe.at + from, 0, done, part));
    if (status < 0) { if (done == 0) return status; break; }
    done += part;
  }
  pipe.head += done;
  pipe.count -= done;
  wakeAll(pipe.canWrite);
  wakePollers();
  return done;
}

/** All bytes of lease 0, unless a signal or the last reader's end comes first: then what went in, or an error. */
export function writePipe(p: Program, pipe: Pipe, bytes: u32, nonblock: bool): i32 {
  let done: u32 = 0;
  while (true) {
    if (pipe.readers == 0) return done > 0 ? done : -EPIPE;
    if (done == bytes) return done;
    const room = PIPE_BYTES - pipe.count;
    if (room == 0 || (bytes <= ATOMIC && room < bytes)) {
      if (nonblock) return done > 0 ? done : -EAGAIN;
      if (!pause(pipe.canWrite, FOREVER)) return done > 0 ? done : -EINTR;
      continue;
    }
    const to = (pipe.head + pipe.count) & MASK, part = min(min(bytes - done, room), PIPE_BYTES - to);
    const status = errnoOf(copyFromLease(p.reply, pipe.at + to, 0, done, part));
    if (status < 0) return done > 0 ? done : status;
    pipe.count += part;
    done += part;
    wakeAll(pipe.canRead);
    wakePollers();
  }
}
/** As POSIX has it: `events` of NET.events. */
export function pipeEvents(pipe: Pipe, reading: bool): u32 {
  if (reading) return (pipe.count > 0 ? P.NET_EVENTS_READABLE : 0) | (pipe.writers == 0 ? P.NET_EVENTS_HANGUP : 0);
  return pipe.readers == 0 ? P.NET_EVENTS_ERROR : PIPE_BYTES - pipe.count >= ATOMIC ? P.NET_EVENTS_WRITABLE : 0;
}
