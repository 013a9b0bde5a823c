/**
 * The expressions of `test` and `[`: files, texts, numbers, `!`, `-a`, `-o` and parentheses. Arguments come through a window on a list of texts, so that
 * the shell can use it without starting a program. Result: 0 true, 1 false, 2 malformed (`conditionError()` says what).
 */
import { S_IFCHR, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, statMode, statOf, statSize } from './files';
import { List } from './memory';
import { sysIsTerminal } from './sys';
import { Text, compare, equal, isNumber, lengthOf, parseNumber, same } from './text';

let words: List = changetype<List>(0);
let at: i32 = 0, end: i32 = 0;
let malformed: string = '';

export function conditionError(): string { return malformed; }

/** `list[first..last)` are the words of the expression. */
export function condition(list: List, first: i32, last: i32): i32 {
  words = list; at = first; end = last;
  malformed = '';
  if (first == last) return 1;
  const value = either();
  if (at < end && !malformed.length) malformed = 'too many arguments';
  return malformed.length ? 2 : value ? 0 : 1;
}

function peek(literal: string): bool { return at < end && same(words.get(at), literal); }
function either(): bool {
  let value = both();
  while (peek('-o')) { at++; const right = both(); value = value || right; }
  return value;
}
function both(): bool {
  let value = negated();
  while (peek('-a')) { at++; const right = negated(); value = value && right; }
  return value;
}
function negated(): bool {
  if (peek('!') && at + 1 < end) { at++; return !negated(); }
  return primary();
}

function isBinary(text: Text): bool {
  return same(text, '=') || same(text, '==') || same(text, '!=') || same(text, '<') || same(text, '>') || same(text, '-eq') || same(text, '-ne')
    || same(text, '-lt') || same(text, '-le') || same(text, '-gt') || same(text, '-ge');
}

function number(text: Text): i64 {
  if (!isNumber(text)) malformed = 'a number is expected';
  return parseNumber(text);
}

function primary(): bool {
  if (at >= end) { malformed = 'an argument is missing'; return false; }
  const word = words.get(at);
  if (at + 2 < end && isBinary(words.get(at + 1))) return binary(word, words.get(at + 1), words.get(at + 2));
  if (same(word, '(') && at + 1 < end) {
    at++;
    const value = either();
    if (!peek(')')) { malformed = ') is missing'; return false; }
    at++;
    return value;
  }
  if (load<u8>(word) == 45 && lengthOf(word) == 2 && at + 1 < end) return unary(load<u8>(word, 1), words.get(at + 1));
  at++;
  return load<u8>(word) != 0;
}

function binary(left: Text, operator: Text, right: Text): bool {
  at += 3;
  if (same(operator, '=') || same(operator, '==')) return equal(left, right);
  if (same(operator, '!=')) return !equal(left, right);
  if (same(operator, '<')) return compare(left, right) < 0;
  if (same(operator, '>')) return compare(left, right) > 0;
  const a = number(left), b = number(right);
  if (same(operator, '-eq')) return a == b;
  if (same(operator, '-ne')) return a != b;
  if (same(operator, '-lt')) return a < b;
  if (same(operator, '-le')) return a <= b;
  return same(operator, '-gt') ? a > b : a >= b;
}

function unary(operator: u32, operand: Text): bool {
  at += 2;
  switch (operator) {
    case 110: return load<u8>(operand) != 0; // -n
    case 122: return load<u8>(operand) == 0; // -z
    case 101: return statOf(operand, false) >= 0; // -e
    case 102: return statOf(operand, false) >= 0 && (statMode() & S_IFMT) == S_IFREG; // -f
    case 100: return statOf(operand, false) >= 0 && (statMode() & S_IFMT) == S_IFDIR; // -d
    case 99: return statOf(operand, false) >= 0 && (statMode() & S_IFMT) == S_IFCHR; // -c
    case 104: case 76: return statOf(operand, true) >= 0 && (statMode() & S_IFMT) == S_IFLNK; // -h -L
    case 115: return statOf(operand, false) >= 0 && statSize() > 0; // -s
    case 114: case 119: return statOf(operand, false) >= 0; // -r -w: everybody may
    case 120: return statOf(operand, false) >= 0 && (statMode() & 0o111) != 0; // -x
    case 116: return sysIsTerminal(<u32>number(operand)); // -t
  }
  malformed = 'unknown operator';
  return false;
}
