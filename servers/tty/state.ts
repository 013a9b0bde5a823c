/**
 * What of tty survives its death: both lines with what was typed and not yet read, modes, foreground, and the last answer given.
 *
 * State Frames (read-only but for `window`), from VM_STATE on:
 *   page 0, 1   the record, twice: the one with the higher seq and a right sum counts, so a death in the middle of a save, or a damaged page, costs one save
 *   page 2..    the readable items of line 0, then of line 1: u16[SAVED_ITEMS], item k of all that ever were at k mod SAVED_ITEMS. Twice as many as a
 *               line may hold, so new items never touch those that the last record counts
 *   record: {magic, seq, sum, bytes} {answer: id, status, r0, r1} then for each line
 *           {mode, readyHead, readyCount, stops, quoteNext, signal, dropped, foreground, received, have, type, stream, left, bad, editLength, 0} edit bytes, padded to 4
 *
 * Order of every event: change the lines in private memory, `save`, then release what was consumed or give the answer. `received` is the id of the last
 * buffer of the uart that was consumed, `answer` the last answer that consumed something: a successor neither consumes nor answers it again.
 */
import { barrier } from 'kintsugi/x86';
import { REGION_STATE, ROLE_STATE_FRAMES } from 'kintsugi/protocols';
import { fingerprint, fingerprintHigh } from '../lib/fingerprint';
import { mustAlloc } from '../lib/alloc';
import { handle, regionBytes, regionVa } from '../lib/startup';
import * as sys from '../lib/sys';
import * as D from './discipline';

const MAGIC: u32 = 0x54545933; // "TTY3": raise with the layout
const PAGE: usize = 4096;
const SAVED_ITEMS: u32 = D.READY_ITEMS * 2;
const ITEMS_AT: usize = 2 * PAGE;
const LINES: u32 = 2;
const HEAD: usize = 32; // of the record: 4 words, and the answer
const FIXED: usize = 64;

/** What survives of one line, beside its D.Line and D.Frames. */
@unmanaged @final export class Kept { line: D.Line; frames: D.Frames; foreground: u32; received: u32; saved: u32 /* items ever put that are in the state */ }
/** The last answer that consumed input. */
@unmanaged @final export class LastAnswer { id: u32; status: i32; r0: u32; r1: u32 }
export const answer: LastAnswer = changetype<LastAnswer>(memory.data(16, 4));

let base: usize = 0;
let frames: u32 = 0;
let record: usize = 0;
let seq: u32 = 0;

function itemAt(line: u32, n: u32): usize { return base + ITEMS_AT + <usize>line * (SAVED_ITEMS << 1) + (<usize>(n & (SAVED_ITEMS - 1)) << 1); }
function recordAt(n: u32): usize { return base + <usize>(n & 1) * PAGE; }

/** True: the lines are as the predecessor left them. False: there was none, or both records are damaged; the lines are as they were given. */
export function attach(first: Kept, second: Kept): bool {
  base = regionVa(REGION_STATE);
  frames = handle(ROLE_STATE_FRAMES);
  record = mustAlloc(<u32>PAGE);
  if (base == 0 || <usize>regionBytes(REGION_STATE) < ITEMS_AT + <usize>LINES * (SAVED_ITEMS << 1)) { base = 0; return false; }
  const a = intact(recordAt(0)), b = intact(recordAt(1));
  if (!a && !b) return false;
  const newer: u32 = !a ? 1 : !b ? 0 : <i32>(load<u32>(recordAt(1), 4) - load<u32>(recordAt(0), 4)) > 0 ? 1 : 0;
  if (restore(recordAt(newer), first, second)) return true;
  return (newer == 0 ? b : a) && restore(recordAt(newer ^ 1), first, second);
}
function intact(p: usize): bool {
  const bytes = load<u32>(p, 12);
  return load<u32>(p) == MAGIC && bytes >= <u32>(HEAD + 2 * FIXED) && bytes <= <u32>PAGE && load<u32>(p, 8) == sum(p, bytes);
}
/** Of a record, without the word that holds it. (CRC-32 would first fill its tables, 35,000 instructions of every recovery.) */
function sum(p: usize, bytes: u32): u32 {
  const head = fingerprint(p, 8);
  const low = fingerprint(p + 12, bytes - 12);
  return head * 0x9e3779b1 + (low ^ rotl<u32>(fingerprintHigh, 7));
}

function restore(p: usize, first: Kept, second: Kept): bool {
  const end = p + <usize>load<u32>(p, 12);
  let at = p + HEAD;
  for (let n: u32 = 0; n < LINES; n++) { // everything is checked before anything is taken
    const edit = load<u32>(at, 56);
    if (load<u32>(at, 8) > D.READY_ITEMS || load<u32>(at, 12) > load<u32>(at, 8) || edit > D.EDIT_BYTES || at + FIXED + ((edit + 3) & ~3) > end) return false;
    at += FIXED + ((edit + 3) & ~3);
    if (n == 0 && at + FIXED > end) return false;
  }
  memory.copy(changetype<usize>(answer), p + 16, 16);
  at = restoreLine(p + HEAD, 0, first);
  restoreLine(at, 1, second);
  seq = load<u32>(p, 4);
  return true;
}
function restoreLine(at: usize, n: u32, k: Kept): usize {
  const l = k.line, f = k.frames;
  l.mode = load<u32>(at); l.readyHead = load<u32>(at, 4); l.readyCount = load<u32>(at, 8); l.stops = load<u32>(at, 12);
  l.quoteNext = load<u32>(at, 16) != 0; l.signal = load<u32>(at, 20); l.dropped = load<u32>(at, 24);
  k.foreground = load<u32>(at, 28); k.received = load<u32>(at, 32);
  f.have = load<u32>(at, 36); f.type = load<u32>(at, 40); f.stream = load<u32>(at, 44); f.left = load<u32>(at, 48); f.bad = load<u32>(at, 52);
  l.editLength = load<u32>(at, 56);
  memory.copy(l.editAt, at + FIXED, l.editLength);
  for (let i: u32 = 0; i < l.readyCount; i++) D.setItem(l, l.readyHead + i, load<u16>(itemAt(n, l.readyHead + i)));
  k.saved = l.readyHead + l.readyCount;
  return at + FIXED + ((l.editLength + 3) & ~3);
}

/** Makes the present lines and `answer` what a successor finds. */
export function save(first: Kept, second: Kept): void {
  if (base == 0) return;
  seq++;
  store<u32>(record, MAGIC); store<u32>(record, seq, 4);
  memory.copy(record + 16, changetype<usize>(answer), 16);
  let at = saveLine(record + HEAD, first);
  at = saveLine(at, second);
  const bytes = <u32>(at - record);
  store<u32>(record, bytes, 12);
  store<u32>(record, sum(record, bytes), 8);
  if (frames != 0) sys.window(frames, 1);
  saveItems(0, first);
  saveItems(1, second);
  barrier();
  memory.copy(recordAt(seq), record, bytes);
  barrier();
  if (frames != 0) sys.window(frames, 0);
}
function saveLine(at: usize, k: Kept): usize {
  const l = k.line, f = k.frames;
  store<u32>(at, l.mode); store<u32>(at, l.readyHead, 4); store<u32>(at, l.readyCount, 8); store<u32>(at, l.stops, 12);
  store<u32>(at, l.quoteNext ? 1 : 0, 16); store<u32>(at, l.signal, 20); store<u32>(at, l.dropped, 24);
  store<u32>(at, k.foreground, 28); store<u32>(at, k.received, 32);
  store<u32>(at, f.have, 36); store<u32>(at, f.type, 40); store<u32>(at, f.stream, 44); store<u32>(at, f.left, 48); store<u32>(at, f.bad, 52);
  store<u32>(at, l.editLength, 56); store<u32>(at, 0, 60);
  const padded = (l.editLength + 3) & ~3;
  if (padded != 0) store<u32>(at + FIXED + padded - 4, 0);
  memory.copy(at + FIXED, l.editAt, l.editLength);
  return at + FIXED + padded;
}
function saveItems(n: u32, k: Kept): void {
  const l = k.line, end = l.readyHead + l.readyCount;
  let i = <i32>(l.readyHead - k.saved) > 0 ? l.readyHead : k.saved; // items that came and went since need no saving
  for (; i != end; i++) store<u16>(itemAt(n, i), <u16>D.item(l, i));
  k.saved = end;
}
