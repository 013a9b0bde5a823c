/**
 * From words as written to arguments (POSIX.1-2017 2.6): tilde, parameters, command substitution, arithmetic, then field splitting of
 * what was not quoted, then pathnames, then the quotes are gone. A field is built as a pattern in which every character that a quote protects
 * carries the mark QUOTED (lib/glob.ts); marks are removed last.
 *
 * An expansion that fails (`${x:?}`, bad arithmetic, a read-only variable) sets `expansionFailed`; the command does not run.
 */
import { QUOTED, globMatches, globPath, hasGlob, unquoted } from '../lib/glob';
import { Bytes, List, release } from '../lib/memory';
import { put, putByte, putBytes, putText, toStream, flush } from '../lib/output';
import { Text, isDigit, isName, isNameStart, isSpace, lengthOf, sliceIs } from '../lib/text';
import { arithmetic, arithmeticError } from './arithmetic';
import { arenaText } from './arena';
import { skipDollarIn } from './lexer';
import { capture } from './substitute';
import { Word } from './tree';
import * as V from './variables';

export let expansionFailed: bool = false;
export function clearExpansion(): void { expansionFailed = false; }

let fields: List = changetype<List>(0);
let field: Bytes = changetype<Bytes>(0);
let begun: bool = false; // the field exists even when it is empty: a quote was seen
let splitting: bool = false;

function expansionError(at: usize, length: i32, reason: string): void {
  expansionFailed = true;
  toStream(2);
  put('sh: ');
  putBytes(at, length);
  put(': ');
  put(reason);
  putByte(10);
  flush();
  toStream(1);
}

/** Adds the fields of a word to `into` (arena texts). */
export function expandWord(word: Word, into: List): void {
  const outerFields = fields, outerField = field, outerBegun = begun, outerSplitting = splitting;
  fields = into;
  field = Bytes.create();
  begun = false;
  splitting = true;
  walk(word.at, word.at + word.length, false, true);
  endField();
  field.free();
  fields = outerFields; field = outerField; begun = outerBegun; splitting = outerSplitting;
}

/** The word as one text, neither split nor matched: assignments, targets of redirections, subjects of `case`. */
export function expandText(word: Word): Text {
  const pattern = expandPattern(word.at, word.length, false), text = unquoted(pattern);
  const result = arenaText(text, lengthOf(text));
  release(text);
  release(pattern);
  return result;
}
/** One pattern with QUOTED marks (heap). `document`: a here-document, where only `$`, backquotes and backslashes mean something. */
export function expandPattern(at: usize, length: i32, document: bool): Text {
  const outerFields = fields, outerField = field, outerBegun = begun, outerSplitting = splitting;
  field = Bytes.create();
  splitting = false;
  walk(at, at + length, document, !document);
  const result = field.take();
  field.free();
  fields = outerFields; field = outerField; begun = outerBegun; splitting = outerSplitting;
  return result;
}

function endField(): void {
  if (!begun && field.length == 0) return;
  const pattern = field.finish();
  const before = fields.length;
  if (hasGlob(pattern)) {
    const paths = List.create();
    globPath(pattern, paths);
    for (let i = 0; i < paths.length; i++) {
      fields.push(arenaText(paths.get(i), lengthOf(paths.get(i))));
      release(paths.get(i));
    }
    paths.free();
  }
  if (fields.length == before) {
    const text = unquoted(pattern);
    fields.push(arenaText(text, lengthOf(text)));
    release(text);
  }
  field.length = 0;
  begun = false;
}

function literal(byte: u32): void {
  if (byte == 42 || byte == 63 || byte == 91 || byte == 93 || byte == 33 || byte == 94 || byte == 45 || byte == QUOTED || byte == 92) field.push(QUOTED);
  field.push(byte);
}

/** A value that came out of an expansion. */
function value(text: usize, length: i32, quoted: bool): void {
  for (let i = 0; i < length; i++) {
    const byte = <u32>load<u8>(text + i);
    if (quoted) literal(byte);
    else if (splitting && isSpace(byte)) endField();
    else if (byte == QUOTED) literal(byte);
    else field.push(byte);
  }
}

function walk(at: usize, end: usize, quoted: bool, tilde: bool): void {
  let p = at;
  if (tilde && p < end && load<u8>(p) == 126 && (p + 1 == end || load<u8>(p, 1) == 47)) {
    const home = V.valueOfLiteral('HOME');
    if (home) { for (let i = 0; i < lengthOf(home); i++) literal(load<u8>(home + i)); p++; }
  }
  while (p < end) {
    const byte = <u32>load<u8>(p);
    if (byte == 92) {
      p++;
      if (p >= end) { literal(92); break; }
      const next = <u32>load<u8>(p++);
      if (next == 10) continue;
      if (quoted && next != 36 && next != 96 && next != 34 && next != 92) literal(92);
      literal(next);
      begun = true;
    } else if (byte == 39 && !quoted) {
      begun = true;
      p++;
      while (p < end && load<u8>(p) != 39) literal(load<u8>(p++));
      p++;
    } else if (byte == 34 && !quoted) {
      p++;
      const start = p;
      while (p < end && load<u8>(p) != 34) {
        if (load<u8>(p) == 92) p += 2;
        else if (load<u8>(p) == 36) p = skipDollarIn(p, end);
        else if (load<u8>(p) == 96) { p++; while (p < end && load<u8>(p) != 96) p += load<u8>(p) == 92 ? 2 : 1; p++; }
        else p++;
      }
      const inner = min(p, end);
      // "$@" without parameters is no field at all
      if (!(sliceIs(start, <i32>(inner - start), '$@') && V.parameters.length == 0)) begun = true;
      walk(start, inner, true, false);
      p++;
    } else if (byte == 36) p = dollar(p, end, quoted);
    else if (byte == 96) {
      const start = ++p;
      while (p < end && load<u8>(p) != 96) p += load<u8>(p) == 92 ? 2 : 1;
      const text = Bytes.create();
      for (let q = start; q < p && q < end; q++) {
        const next = q + 1 < p ? <u32>load<u8>(q, 1) : 0;
        if (load<u8>(q) == 92 && (next == 96 || next == 92 || next == 36)) q++;
        text.push(load<u8>(q));
      }
      substitution(text.finish(), text.length, quoted);
      text.free();
      p++;
    } else {
      if (quoted) literal(byte);
      else if (byte == QUOTED) literal(byte);
      else field.push(byte);
      p++;
    }
  }
}

function substitution(text: usize, length: i32, quoted: bool): void {
  const output = Bytes.create();
  capture(text, length, output);
  while (output.length && output.get(output.length - 1) == 10) output.length--;
  value(output.at, output.length, quoted);
  output.free();
}

/** At a dollar sign; returns the address behind what it expanded. */
function dollar(p: usize, end: usize, quoted: bool): usize {
  const next = p + 1 < end ? <u32>load<u8>(p, 1) : 0;
  if (next == 40) {
    const stop = skipDollarIn(p, end);
    if (p + 2 < end && load<u8>(p, 2) == 40 && stop - 2 > p + 2 && load<u8>(stop - 2) == 41) {
      const inner = expandPattern(p + 3, <i32>(stop - 2 - (p + 3)), true), text = unquoted(inner);
      const result = arithmetic(text, lengthOf(text));
      if (arithmeticError().length) expansionError(text, lengthOf(text), arithmeticError());
      release(inner);
      release(text);
      const digits = V.numberText(result);
      value(digits, lengthOf(digits), quoted);
      return stop;
    }
    substitution(p + 2, <i32>(stop - 1 - (p + 2)), quoted);
    return stop;
  }
  if (next == 123) {
    const stop = skipDollarIn(p, end);
    braces(p + 2, stop - 1, quoted);
    return stop;
  }
  if (isNameStart(next)) {
    let q = p + 1;
    while (q < end && isName(load<u8>(q))) q++;
    const text = V.valueOf(p + 1, <i32>(q - p - 1));
    if (text) value(text, lengthOf(text), quoted);
    return q;
  }
  if (isDigit(next) || next == 63 || next == 36 || next == 35 || next == 33 || next == 64 || next == 42 || next == 45) {
    special(next, quoted);
    return p + 2;
  }
  literal(36);
  return p + 1;
}

/** $0..$9 $? $$ $# $! $@ $* */
function special(name: u32, quoted: bool): void {
  if (name == 64 || name == 42) {
    for (let i = 0; i < V.parameters.length; i++) {
      if (i) {
        if (quoted && name == 42) literal(32);
        else if (splitting) { if (quoted) begun = true; endField(); }
        else literal(32);
      }
      if (quoted && name == 64) begun = true;
      value(V.parameters.get(i), lengthOf(V.parameters.get(i)), quoted);
    }
    return;
  }
  const text = specialText(name);
  if (text) value(text, lengthOf(text), quoted);
}
function specialText(name: u32): Text {
  switch (name) {
    case 63: return V.numberText(V.lastStatus);
    case 36: return V.numberText(V.shellPid);
    case 35: return V.numberText(V.parameters.length);
    case 33: return V.lastBackground ? V.numberText(V.lastBackground) : 0;
    case 48: return V.shellName;
    case 45: return 0;
  }
  const index = <i32>name - 49;
  return index >= 0 && index < V.parameters.length ? V.parameters.get(index) : 0;
}

/** ${name}, ${#name}, ${name:-word} and - := = :? ? :+ +, ${name%pattern} %% # ##. */
function braces(at: usize, end: usize, quoted: bool): void {
  let p = at;
  const measure = p < end && load<u8>(p) == 35 && p + 1 < end;
  if (measure) p++;
  const name = p;
  if (p < end && isNameStart(load<u8>(p))) { while (p < end && isName(load<u8>(p))) p++; }
  else if (p < end && isDigit(load<u8>(p))) { while (p < end && isDigit(load<u8>(p))) p++; }
  else if (p < end) p++;
  const length = <i32>(p - name);
  let text: Text = 0;
  if (length && isNameStart(load<u8>(name))) text = V.valueOf(name, length);
  else if (length && isDigit(load<u8>(name))) {
    let index = 0;
    for (let i = 0; i < length; i++) index = index * 10 + (load<u8>(name + i) - 48);
    text = index == 0 ? V.shellName : index - 1 < V.parameters.length ? V.parameters.get(index - 1) : 0;
  } else if (length && p == end) {
    const byte = <u32>load<u8>(name);
    if (measure) { const n = byte == 64 || byte == 42 ? V.parameters.length : lengthOf(specialText(byte)); text = V.numberText(n); value(text, lengthOf(text), quoted); }
    else special(byte, quoted);
    return;
  } else if (length) text = specialText(load<u8>(name));
  if (measure) {
    const digits = V.numberText(text ? lengthOf(text) : 0);
    value(digits, lengthOf(digits), quoted);
    if (p != end) expansionError(at, <i32>(end - at), 'bad substitution');
    return;
  }
  if (p == end) { if (length == 0) expansionError(at, 0, 'bad substitution'); if (text) value(text, lengthOf(text), quoted); return; }
  const colon = load<u8>(p) == 58;
  if (colon) p++;
  const operator = p < end ? <u32>load<u8>(p++) : 0;
  const missing = !text || (colon && load<u8>(text) == 0);
  if (operator == 45) { if (missing) walk(p, end, quoted, true); else value(text, lengthOf(text), quoted); return; }
  if (operator == 43) { if (!missing) walk(p, end, quoted, true); return; }
  if (operator == 61) {
    if (missing) {
      const pattern = expandPattern(p, <i32>(end - p), false), fresh = unquoted(pattern);
      if (!V.assign(name, length, fresh)) expansionError(name, length, 'read-only');
      release(pattern); release(fresh);
      text = V.valueOf(name, length);
    }
    if (text) value(text, lengthOf(text), quoted);
    return;
  }
  if (operator == 63) {
    if (!missing) { value(text, lengthOf(text), quoted); return; }
    if (p == end) { expansionError(name, length, 'parameter not set'); return; }
    expansionFailed = true;
    const pattern = expandPattern(p, <i32>(end - p), false), reason = unquoted(pattern);
    toStream(2); put('sh: '); putBytes(name, length); put(': '); putText(reason); putByte(10); flush(); toStream(1);
    return;
  }
  if (!colon && (operator == 35 || operator == 37)) {
    const longest = p < end && load<u8>(p) == operator;
    if (longest) p++;
    if (text) trim(text, p, end, operator == 35, longest, quoted);
    return;
  }
  expansionError(at, <i32>(end - at), 'bad substitution');
}

/** Removes the shortest or longest prefix or suffix that fits the pattern. */
function trim(text: Text, at: usize, end: usize, prefix: bool, longest: bool, quoted: bool): void {
  const pattern = expandPattern(at, <i32>(end - at), false), length = lengthOf(text);
  const copy = arenaText(text, length);
  let from = 0, to = length;
  for (let i = 0; i <= length; i++) {
    // candidates from the shortest cut to the longest, or the other way round
    const cut = longest ? length - i : i;
    if (prefix) {
      const kept = load<u8>(copy + cut);
      store<u8>(copy + cut, 0);
      const fits = globMatches(pattern, copy);
      store<u8>(copy + cut, kept);
      if (fits) { from = cut; break; }
    } else if (globMatches(pattern, copy + length - cut)) { to = length - cut; break; }
  }
  value(copy + from, to - from, quoted);
  release(pattern);
}
