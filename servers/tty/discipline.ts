/**
 * The line discipline: bytes from a keyboard in; an echo, a queue of readable bytes, and signals out. Pure: it knows neither rings nor ports, and
 * runs as wasm in Node for its tests.
 *
 * Canonical mode keeps the line being typed in `edit` until Enter or ^D; then it moves to `ready`, where a u16 per element leaves room for MARK:
 * "a read stops here" (^D). Raw mode puts every byte into `ready` at once. Input that does not fit is dropped with a bell.
 *
 * Keys (POSIX termios defaults): ^H DEL erase, ^W word, ^U line, ^D end of file, ^C interrupt, ^\ quit, ^R show again, ^V next byte as it is.
 */
import { CHANNEL_HEADER, CHANNEL_MAX_PAYLOAD, CHANNEL_TO_GUEST_EOF, CHANNEL_TO_GUEST_INPUT, CHANNEL_TO_GUEST_SIGNAL, TTY_MODE_CANONICAL, TTY_MODE_CRLF, TTY_MODE_ECHO, TTY_MODE_SIGNALS } from 'kintsugi/protocols';

export const EDIT_BYTES: u32 = 1024;
export const READY_ITEMS: u32 = 4096; // a power of two
export const OUTPUT_BYTES: u32 = 8192; // a power of two
export const MARK: u32 = 0x100;
/** The end of the channel's input in `ready`: nothing follows, and every read that comes to it finds it again, as with a pipe. */
export const END: u32 = 0x101;

/** The state of one line. `at*` are memory of the owner: EDIT_BYTES, READY_ITEMS * 2 and OUTPUT_BYTES bytes. */
@unmanaged @final export class Line {
  mode: u32;
  editAt: usize; editLength: u32;
  readyAt: usize; readyHead: u32; readyCount: u32;
  stops: u32; // newlines and MARKs in `ready`: in canonical mode a read needs one
  outputAt: usize; outputHead: u32; outputCount: u32;
  quoteNext: bool;
  signal: u32; // the last signal that nobody has taken yet, 0 = none
  dropped: u32;
}

export const LINE_MEMORY: u32 = 1024 + 8192 + 8192;
export function lineInit(l: Line, memoryAt: usize): void {
  memory.fill(changetype<usize>(l), 0, offsetof<Line>());
  l.mode = TTY_MODE_CANONICAL | TTY_MODE_ECHO | TTY_MODE_SIGNALS | TTY_MODE_CRLF;
  l.editAt = memoryAt;
  l.readyAt = memoryAt + EDIT_BYTES;
  l.outputAt = l.readyAt + READY_ITEMS * 2;
}

// ---- output -----------------------------------------------------------------------------------------------------------------------------

export function outputRoom(l: Line): u32 { return OUTPUT_BYTES - l.outputCount; }
/** One byte to the screen as it is; dropped when there is no room (echo), so callers that must not lose bytes ask `outputRoom` first. */
export function outputRaw(l: Line, byte: u32): void {
  if (l.outputCount == OUTPUT_BYTES) return;
  store<u8>(l.outputAt + ((l.outputHead + l.outputCount) & (OUTPUT_BYTES - 1)), <u8>byte);
  l.outputCount++;
}
/** Bytes of a program as they go over the wire, newline as CR LF when the mode says so, to `to`. Returns how many were taken; `writtenBytes()` came of them. */
export function outputWrite(l: Line, at: usize, bytes: u32, to: usize, room: u32): u32 {
  let done: u32 = 0;
  written = 0;
  while (done < bytes && written + 2 <= room) {
    const byte = load<u8>(at + done);
    if (byte == 10 && (l.mode & TTY_MODE_CRLF) != 0) store<u8>(to + written++, 13);
    store<u8>(to + written++, byte);
    done++;
  }
  return done;
}
let written: u32 = 0;
export function writtenBytes(): u32 { return written; }
/** Takes up to `bytes` bytes for the wire. */
export function outputTake(l: Line, to: usize, bytes: u32): u32 {
  const count = min(bytes, l.outputCount);
  for (let i: u32 = 0; i < count; i++) store<u8>(to + i, load<u8>(l.outputAt + ((l.outputHead + i) & (OUTPUT_BYTES - 1))));
  l.outputHead += count;
  l.outputCount -= count;
  return count;
}

// ---- input ------------------------------------------------------------------------------------------------------------------------------

function isOn(l: Line, flag: u32): bool { return (l.mode & flag) != 0; }

/** Columns a typed byte takes on the screen, and showing it: control characters as ^X. */
function echo(l: Line, byte: u32): void {
  if (!isOn(l, TTY_MODE_ECHO)) return;
  if (byte == 10) { outputRaw(l, 13); outputRaw(l, 10); }
  else if (byte < 32 && byte != 9) { outputRaw(l, 94); outputRaw(l, byte + 64); }
  else if (byte == 127) { outputRaw(l, 94); outputRaw(l, 63); }
  else outputRaw(l, byte);
}
function rubOut(l: Line, byte: u32): void {
  if (!isOn(l, TTY_MODE_ECHO)) return;
  if ((byte & 0xc0) == 0x80) return; // inside a UTF-8 sequence: one column in all
  const columns = (byte < 32 && byte != 9) || byte == 127 ? 2 : 1;
  for (let i = 0; i < columns; i++) { outputRaw(l, 8); outputRaw(l, 32); outputRaw(l, 8); }
}
function bell(l: Line): void { l.dropped++; outputRaw(l, 7); }

/** Item n of all that ever became readable: valid from readyHead to readyHead + readyCount. */
export function item(l: Line, n: u32): u32 { return load<u16>(l.readyAt + (<usize>(n & (READY_ITEMS - 1)) << 1)); }
export function setItem(l: Line, n: u32, value: u32): void { store<u16>(l.readyAt + (<usize>(n & (READY_ITEMS - 1)) << 1), <u16>value); }
function ready(l: Line, item: u32): void {
  setItem(l, l.readyHead + l.readyCount, item);
  l.readyCount++;
  if (item == 10 || item >= MARK) l.stops++;
}
export function readyRoom(l: Line): u32 { return READY_ITEMS - l.readyCount; }
/** Input that is no keyboard (the host channel): bytes and MARKs go straight to the readers. */
export function readyPut(l: Line, item: u32): void { if (readyRoom(l) > 0) ready(l, item); else l.dropped++; }

function commit(l: Line): void {
  for (let i: u32 = 0; i < l.editLength; i++) ready(l, load<u8>(l.editAt + i));
  l.editLength = 0;
}
function eraseOne(l: Line): void {
  do {
    l.editLength--;
    rubOut(l, load<u8>(l.editAt + l.editLength));
  } while (l.editLength > 0 && (load<u8>(l.editAt + l.editLength) & 0xc0) == 0x80);
}
function last(l: Line): u32 { return load<u8>(l.editAt + l.editLength - 1); }

/** One byte from the keyboard. */
export function input(l: Line, byte: u32): void {
  if (isOn(l, TTY_MODE_SIGNALS) && !l.quoteNext && (byte == 3 || byte == 28)) {
    echo(l, byte);
    l.editLength = 0;
    l.readyHead += l.readyCount; // never back: tty's state tells items by their number
    l.readyCount = 0;
    l.stops = 0;
    l.signal = byte == 3 ? 2 : 3;
    return;
  }
  if (!isOn(l, TTY_MODE_CANONICAL)) {
    if (readyRoom(l) == 0) { bell(l); return; }
    ready(l, byte);
    if (isOn(l, TTY_MODE_ECHO)) echo(l, byte);
    return;
  }
  if (!l.quoteNext) {
    if (byte == 13) byte = 10;
    switch (byte) {
      case 8: case 127: if (l.editLength > 0) eraseOne(l); return;
      case 21: while (l.editLength > 0) eraseOne(l); return;
      case 23:
        while (l.editLength > 0 && last(l) == 32) eraseOne(l);
        while (l.editLength > 0 && last(l) != 32) eraseOne(l);
        return;
      case 18:
        echo(l, 18); echo(l, 10);
        for (let i: u32 = 0; i < l.editLength; i++) echo(l, load<u8>(l.editAt + i));
        return;
      case 22: l.quoteNext = true; return;
      case 4:
        if (readyRoom(l) <= l.editLength) { bell(l); return; }
        // After typed bytes ^D only hands them over; at the beginning of a line it is the end of the file. Both stop a read here.
        commit(l);
        ready(l, MARK);
        return;
      case 10:
        if (readyRoom(l) <= l.editLength) { bell(l); return; }
        echo(l, 10);
        commit(l);
        ready(l, 10);
        return;
    }
  }
  l.quoteNext = false;
  if (l.editLength == EDIT_BYTES) { bell(l); return; }
  store<u8>(l.editAt + l.editLength, <u8>byte);
  l.editLength++;
  echo(l, byte);
}

/** Something a read would return now. */
export function readable(l: Line): bool { return isOn(l, TTY_MODE_CANONICAL) ? l.stops > 0 : l.readyCount > 0; }

/** Bytes for a read; 0 = end of file. Only when `readable`. In canonical mode at most one line. */
export function read(l: Line, to: usize, bytes: u32): u32 {
  const canonical = isOn(l, TTY_MODE_CANONICAL);
  let done: u32 = 0;
  while (done < bytes && l.readyCount > 0) {
    const next = item(l, l.readyHead);
    if (next == END) break;
    // ^D behind typed bytes only ends their read.
    if (next == MARK && done > 0 && !canonical) break;
    l.readyHead++;
    l.readyCount--;
    if (next == MARK) { l.stops--; break; }
    store<u8>(to + done, <u8>next);
    done++;
    if (next == 10) { l.stops--; if (canonical) break; }
  }
  return done;
}

/** A new mode; what was being typed becomes readable when the line leaves canonical mode. */
export function setMode(l: Line, mode: u32): void {
  if (isOn(l, TTY_MODE_CANONICAL) && (mode & TTY_MODE_CANONICAL) == 0 && readyRoom(l) >= l.editLength) commit(l);
  l.mode = mode & (TTY_MODE_CANONICAL | TTY_MODE_ECHO | TTY_MODE_SIGNALS | TTY_MODE_CRLF);
}

/** The pending signal, taken; 0 when there is none. */
export function takeSignal(l: Line): u32 {
  const signal = l.signal;
  l.signal = 0;
  return signal;
}

// ---- host channel -----------------------------------------------------------------------------------------------------------------------

/** Parser of the frames the host sends on line 1 (servers/protocols/channel.ts): collects a header, then payload bytes. */
@unmanaged @final export class Frames { have: u32; type: u32; stream: u32; left: u32; bad: u32 }

/** One byte of the channel. Unknown frames are skipped by their length; an absurd header costs one byte, until frames make sense again. */
export function frameInput(f: Frames, l: Line, byte: u32): void {
  if (f.have < CHANNEL_HEADER) {
    switch (f.have) {
      case 0:
        if (byte < CHANNEL_TO_GUEST_INPUT || byte > CHANNEL_TO_GUEST_SIGNAL) { f.bad++; return; }
        f.type = byte;
        break;
      case 1: f.stream = byte; break;
      case 2: f.left = byte; break;
      default: f.left |= byte << 8;
    }
    f.have++;
    if (f.have < CHANNEL_HEADER) return;
    if (f.left > CHANNEL_MAX_PAYLOAD) { f.bad++; f.have = 0; return; }
    if (f.left == 0) { if (f.type == CHANNEL_TO_GUEST_EOF) readyPut(l, END); f.have = 0; }
    return;
  }
  if (f.type == CHANNEL_TO_GUEST_INPUT) readyPut(l, byte);
  else if (f.type == CHANNEL_TO_GUEST_SIGNAL) l.signal = byte & 31;
  f.left--;
  if (f.left > 0) return;
  if (f.type == CHANNEL_TO_GUEST_EOF) readyPut(l, END);
  f.have = 0;
}

/** A frame towards the host as output bytes; the caller has checked `outputRoom`. */
export function frameOutput(l: Line, type: u32, stream: u32, at: usize, bytes: u32): void {
  outputRaw(l, type);
  outputRaw(l, stream);
  outputRaw(l, bytes & 255);
  outputRaw(l, bytes >> 8);
  for (let i: u32 = 0; i < bytes; i++) outputRaw(l, load<u8>(at + i));
}
