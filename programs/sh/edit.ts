/**
 * The line editor: bytes of a raw terminal in, screen bytes out (through lib/output), a finished line at the end. Keys: arrows, Home, End,
 * Delete, ^A ^B ^D ^E ^F ^K ^L ^N ^P ^T ^U ^W, Tab, and ^C which drops the line. ANSI sequences only: `ESC [ K`, backspace, `ESC [ C`.
 *
 * Invariants: 0 <= cursor <= line.length; what the screen shows is prompt + line, with the terminal's cursor `cursor` bytes behind the prompt.
 */
import { Bytes, List, keep, release } from '../lib/memory';
import { put, putByte, putBytes, putText } from '../lib/output';
import { globPath } from '../lib/glob';
import { isDirectory } from '../lib/files';
import { Text, baseName, lengthOf } from '../lib/text';

export const EDITING: i32 = 0;
export const LINE: i32 = 1; // the line is complete
export const END: i32 = 2; // ^D on an empty line
export const DROPPED: i32 = 3; // ^C

const HISTORY: i32 = 100;
let line: Bytes = changetype<Bytes>(0);
let cursor: i32 = 0;
let prompt: Text = 0;
let history: List = changetype<List>(0);
let browsing: i32 = 0; // index into history; history.length = the line being typed
let typed: Text = 0; // what was typed before browsing
let escape: i32 = 0; // 0 none, 1 after ESC, 2 after ESC [ or ESC O, 3 inside a number
let number: i32 = 0;
let tabs: i32 = 0;

export function editorLine(): Bytes { return line; }
export function historyCount(): i32 { return history.length; }
export function historyText(index: i32): Text { return history.get(index); }

export function editorBegin(text: Text): void {
  if (!line) { line = Bytes.create(); history = List.create(); }
  line.length = 0;
  cursor = 0;
  prompt = text;
  escape = 0;
  tabs = 0;
  browsing = history.length;
  putText(prompt);
}

export function remember(text: Text): void {
  if (!load<u8>(text)) return;
  if (history.length && lengthOf(history.get(history.length - 1)) == lengthOf(text) && sameText(history.get(history.length - 1), text)) return;
  if (history.length == HISTORY) {
    release(history.get(0));
    for (let i = 1; i < HISTORY; i++) history.set(i - 1, history.get(i));
    history.length--;
  }
  history.push(keep(text, lengthOf(text)));
}
function sameText(a: Text, b: Text): bool {
  while (load<u8>(a) == load<u8>(b)) { if (!load<u8>(a)) return true; a++; b++; }
  return false;
}

function back(count: i32): void { for (let i = 0; i < count; i++) putByte(8); }
/** Shows the line from `from` on (the terminal's cursor is there) and returns the terminal's cursor to `cursor`. */
function redraw(from: i32): void {
  putBytes(line.at + from, line.length - from);
  put('\x1b[K');
  back(line.length - cursor);
}
function moveTo(position: i32): void {
  if (position < cursor) back(cursor - position);
  else putBytes(line.at + cursor, position - cursor);
  cursor = position;
}
function erase(from: i32, to: i32): void {
  if (from >= to) return;
  moveTo(from);
  memory.copy(line.at + from, line.at + to, line.length - to);
  line.length -= to - from;
  redraw(from);
}
function insert(at: usize, count: i32): void {
  line.reserve(count);
  memory.copy(line.at + cursor + count, line.at + cursor, line.length - cursor);
  memory.copy(line.at + cursor, at, count);
  line.length += count;
  const from = cursor;
  cursor += count;
  if (cursor == line.length) putBytes(line.at + from, count); else redraw(from);
}
function replace(text: Text): void {
  moveTo(0);
  line.length = 0;
  line.pushText(text);
  cursor = line.length;
  redraw(0);
}

function browse(step: i32): void {
  const target = browsing + step;
  if (target < 0 || target > history.length) { putByte(7); return; }
  if (browsing == history.length) { release(typed); typed = keep(line.at, line.length); }
  browsing = target;
  replace(target == history.length ? typed : history.get(target));
}

const ONE: usize = memory.data(2);

export function editorFeed(byte: u32): i32 {
  if (escape) { escapeByte(byte); return EDITING; }
  if (byte != 9) tabs = 0;
  switch (byte) {
    case 27: escape = 1; return EDITING;
    case 13: case 10:
      moveTo(line.length);
      put('\r\n');
      remember(line.finish());
      return LINE;
    case 3:
      moveTo(line.length);
      put('^C\r\n');
      return DROPPED;
    case 4:
      if (line.length == 0) { put('\r\n'); return END; }
      if (cursor < line.length) erase(cursor, cursor + 1);
      return EDITING;
    case 8: case 127: if (cursor) erase(cursor - 1, cursor); else putByte(7); return EDITING;
    case 1: moveTo(0); return EDITING;
    case 5: moveTo(line.length); return EDITING;
    case 2: if (cursor) moveTo(cursor - 1); return EDITING;
    case 6: if (cursor < line.length) moveTo(cursor + 1); return EDITING;
    case 11: erase(cursor, line.length); return EDITING;
    case 21: erase(0, cursor); return EDITING;
    case 23: erase(wordStart(), cursor); return EDITING;
    case 14: browse(1); return EDITING;
    case 16: browse(-1); return EDITING;
    case 20: swap(); return EDITING;
    case 12: put('\x1b[H\x1b[2J'); putText(prompt); putBytes(line.at, line.length); back(line.length - cursor); return EDITING;
    case 9: complete(); return EDITING;
  }
  if (byte >= 32) { store<u8>(ONE, <u8>byte); insert(ONE, 1); }
  return EDITING;
}

function swap(): void {
  if (cursor < 1 || line.length < 2) return;
  const at = cursor == line.length ? cursor - 2 : cursor - 1;
  moveTo(at);
  const first = load<u8>(line.at + at);
  store<u8>(line.at + at, load<u8>(line.at + at + 1));
  store<u8>(line.at + at + 1, first);
  cursor = at + 2;
  redraw(at);
}

function wordStart(): i32 {
  let p = cursor;
  while (p && load<u8>(line.at + p - 1) == 32) p--;
  while (p && load<u8>(line.at + p - 1) != 32) p--;
  return p;
}

function escapeByte(byte: u32): void {
  if (escape == 1) { escape = byte == 91 || byte == 79 ? 2 : 0; number = 0; return; }
  if (byte - 48 < 10) { number = number * 10 + (byte - 48); escape = 3; return; }
  if (byte == 59) { number = 0; return; }
  escape = 0;
  switch (byte) {
    case 65: browse(-1); return;
    case 66: browse(1); return;
    case 67: if (cursor < line.length) moveTo(cursor + 1); return;
    case 68: if (cursor) moveTo(cursor - 1); return;
    case 72: moveTo(0); return;
    case 70: moveTo(line.length); return;
    case 126:
      if (number == 3) { if (cursor < line.length) erase(cursor, cursor + 1); }
      else if (number == 1 || number == 7) moveTo(0);
      else if (number == 4 || number == 8) moveTo(line.length);
  }
}

/** Tab: completes the word at the cursor to the longest common part of what is there; the second Tab lists it. First words are looked up in /bin. */
function complete(): void {
  let start = cursor;
  while (start && load<u8>(line.at + start - 1) != 32 && load<u8>(line.at + start - 1) != 62 && load<u8>(line.at + start - 1) != 60) start--;
  let first = true, slash = false;
  for (let i = start - 1; i >= 0; i--) {
    const byte = load<u8>(line.at + i);
    if (byte == 124 || byte == 59 || byte == 38) break;
    if (byte != 32) { first = false; break; }
  }
  const pattern = Bytes.create(), paths = List.create();
  for (let i = start; i < cursor; i++) if (load<u8>(line.at + i) == 47) slash = true;
  const command = first && !slash;
  if (command) pattern.pushLiteral('/bin/');
  pattern.pushBytes(line.at + start, cursor - start);
  pattern.push(42);
  globPath(pattern.finish(), paths);
  const cut = command ? 5 : 0, have = cursor - start;
  if (paths.length == 0) putByte(7);
  else {
    let common = lengthOf(paths.get(0)) - cut;
    for (let i = 1; i < paths.length; i++) {
      let n = 0;
      while (n < common && load<u8>(paths.get(0) + cut + n) == load<u8>(paths.get(i) + cut + n)) n++;
      common = n;
    }
    if (common > have) insert(paths.get(0) + cut + have, common - have);
    if (paths.length == 1) {
      store<u8>(ONE, isDirectory(paths.get(0)) ? 47 : 32);
      insert(ONE, 1);
    } else if (common <= have && ++tabs > 1) list(paths);
    else putByte(7);
  }
  for (let i = 0; i < paths.length; i++) release(paths.get(i));
  paths.free();
  pattern.free();
}
function list(paths: List): void {
  put('\r\n');
  for (let i = 0; i < paths.length; i++) { putText(baseName(paths.get(i))); put(i + 1 < paths.length ? '  ' : '\r\n'); }
  putText(prompt);
  putBytes(line.at, line.length);
  back(line.length - cursor);
}
