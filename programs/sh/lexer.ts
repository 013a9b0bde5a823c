/**
 * Tokens of the shell language (POSIX.1-2017, Shell Command Language 2.3). A word is a slice of the source; `skip*` know what belongs
 * together inside one: quotes, `$(...)`, `${...}`, `$((...))` and backquotes. Running out of source inside a construct is not an error but `INCOMPLETE`: the
 * caller asks for another line.
 */
import { isDigit } from '../lib/text';

export const T_END: i32 = 0;
export const T_WORD: i32 = 1;
export const T_NEWLINE: i32 = 2;
export const T_SEMICOLON: i32 = 3;
export const T_BACKGROUND: i32 = 4;
export const T_AND: i32 = 5;
export const T_OR: i32 = 6;
export const T_PIPE: i32 = 7;
export const T_OPEN: i32 = 8;
export const T_CLOSE: i32 = 9;
export const T_ARM_END: i32 = 10; // ;;
export const T_REDIRECT: i32 = 11; // `redirectFd`, `redirectKind` say which

export const GOOD: i32 = 0;
export const INCOMPLETE: i32 = 1;
export const MALFORMED: i32 = 2;

export let token: i32 = 0;
export let tokenAt: usize = 0;
export let tokenEnd: usize = 0;
export let redirectFd: i32 = 0;
export let redirectOperator: i32 = 0;
export let lexStatus: i32 = 0;

// Redirection operators.
export const R_LESS: i32 = 1;
export const R_GREAT: i32 = 2;
export const R_APPEND: i32 = 3;
export const R_LESS_AND: i32 = 4;
export const R_GREAT_AND: i32 = 5;
export const R_AND_GREAT: i32 = 6;
export const R_HERE: i32 = 7;
export const R_HERE_TABS: i32 = 8;
export const R_UPDATE: i32 = 9;

let at: usize = 0;
let end: usize = 0;

export function lexBegin(source: usize, length: i32): void {
  at = source;
  end = source + length;
  lexStatus = GOOD;
}
/** Where the next token is looked for. */
export function lexPosition(): usize { return at; }
export function lexSeek(position: usize): void { at = position; }
export function lexEnd(): usize { return end; }

function byteAt(p: usize): u32 { return p < end ? <u32>load<u8>(p) : 0; }

export function isMeta(byte: u32): bool {
  return byte == 32 || byte == 9 || byte == 10 || byte == 59 || byte == 38 || byte == 124 || byte == 40 || byte == 41 || byte == 60 || byte == 62;
}

/** Behind the closing quote; past the end (with INCOMPLETE) when there is none. `p` is behind the opening one. */
function skipSingle(p: usize): usize {
  while (p < end && load<u8>(p) != 39) p++;
  if (p >= end) lexStatus = INCOMPLETE;
  return p + 1;
}
function skipDouble(p: usize): usize {
  while (p < end) {
    const byte = load<u8>(p);
    if (byte == 34) return p + 1;
    if (byte == 92) p += 2;
    else if (byte == 36) p = skipDollar(p);
    else if (byte == 96) p = skipBackquote(p + 1);
    else p++;
  }
  lexStatus = INCOMPLETE;
  return p;
}
function skipBackquote(p: usize): usize {
  while (p < end && load<u8>(p) != 96) p += load<u8>(p) == 92 ? 2 : 1;
  if (p >= end) lexStatus = INCOMPLETE;
  return p + 1;
}
/** `p` at the dollar sign. */
export function skipDollar(p: usize): usize {
  const byte = byteAt(p + 1);
  if (byte == 40) return skipNested(p + 2, 40, 41);
  if (byte == 123) return skipNested(p + 2, 123, 125);
  return p + 1;
}
/** Behind the bracket that closes; quotes and inner brackets are skipped. */
function skipNested(p: usize, open: u32, close: u32): usize {
  let depth = 1;
  while (p < end) {
    const byte = <u32>load<u8>(p);
    if (byte == close) { p++; if (--depth == 0) return p; }
    else if (byte == open) { depth++; p++; }
    else if (byte == 92) p += 2;
    else if (byte == 39) p = skipSingle(p + 1);
    else if (byte == 34) p = skipDouble(p + 1);
    else if (byte == 96) p = skipBackquote(p + 1);
    else p++;
  }
  lexStatus = INCOMPLETE;
  return p;
}
/** Used by the expansion on a word: the same rules with another end. */
export function skipDollarIn(p: usize, limit: usize): usize {
  const saved = end;
  end = limit;
  const result = skipDollar(p);
  end = saved;
  return result;
}

function skipBlanks(): void {
  while (at < end) {
    const byte = load<u8>(at);
    if (byte == 32 || byte == 9 || byte == 13) at++;
    else if (byte == 92 && byteAt(at + 1) == 10) at += 2;
    else if (byte == 35) { while (at < end && load<u8>(at) != 10) at++; }
    else return;
  }
}

function operator(kind: i32, bytes: i32): void {
  token = kind;
  at += bytes;
  tokenEnd = at;
}

/** Reads the next token into `token`, `tokenAt`, `tokenEnd`. */
export function lexNext(): void {
  skipBlanks();
  tokenAt = at;
  tokenEnd = at;
  if (at >= end) { token = T_END; return; }
  const byte = <u32>load<u8>(at), second = byteAt(at + 1);
  switch (byte) {
    case 10: operator(T_NEWLINE, 1); return;
    case 59: if (second == 59) operator(T_ARM_END, 2); else operator(T_SEMICOLON, 1); return;
    case 124: if (second == 124) operator(T_OR, 2); else operator(T_PIPE, 1); return;
    case 40: operator(T_OPEN, 1); return;
    case 41: operator(T_CLOSE, 1); return;
    case 38:
      if (second == 38) operator(T_AND, 2);
      else if (second == 62) { redirectFd = 1; redirectOperator = R_AND_GREAT; operator(T_REDIRECT, 2); }
      else operator(T_BACKGROUND, 1);
      return;
  }
  let p = at;
  while (p < end && isDigit(load<u8>(p))) p++;
  if (p - at <= 1 && (byteAt(p) == 60 || byteAt(p) == 62)) {
    const input = byteAt(p) == 60, following = byteAt(p + 1);
    redirectFd = p > at ? <i32>load<u8>(at) - 48 : input ? 0 : 1;
    at = p;
    if (following == 38) { redirectOperator = input ? R_LESS_AND : R_GREAT_AND; operator(T_REDIRECT, 2); }
    else if (!input && following == 62) { redirectOperator = R_APPEND; operator(T_REDIRECT, 2); }
    else if (!input && following == 124) { redirectOperator = R_GREAT; operator(T_REDIRECT, 2); }
    else if (input && following == 60) {
      const tabs = byteAt(p + 2) == 45;
      redirectOperator = tabs ? R_HERE_TABS : R_HERE;
      operator(T_REDIRECT, tabs ? 3 : 2);
    }
    else if (input && following == 62) { redirectOperator = R_UPDATE; operator(T_REDIRECT, 2); }
    else { redirectOperator = input ? R_LESS : R_GREAT; operator(T_REDIRECT, 1); }
    return;
  }
  p = at;
  while (p < end) {
    const c = <u32>load<u8>(p);
    if (isMeta(c)) break;
    if (c == 92) p += 2;
    else if (c == 39) p = skipSingle(p + 1);
    else if (c == 34) p = skipDouble(p + 1);
    else if (c == 96) p = skipBackquote(p + 1);
    else if (c == 36) p = skipDollar(p);
    else p++;
  }
  if (p > end) { p = end; lexStatus = INCOMPLETE; }
  at = p;
  token = T_WORD;
  tokenEnd = p;
}
