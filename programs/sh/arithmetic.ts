/** $(( )): 64-bit integer expressions by precedence climbing. The text has been expanded already; bare names are variables; `=` assigns. */
import { skipSpaces } from './spaces';
import { isDigit, isName, isNameStart } from '../lib/text';
import { assign, numberText, valueOf } from './variables';

let at: usize = 0;
let end: usize = 0;
let wrong: string = '';
let depth: i32 = 0;

export function arithmeticError(): string { return wrong; }

export function arithmetic(text: usize, length: i32): i64 {
  at = text;
  end = text + length;
  wrong = '';
  depth = 0;
  const value = assignment();
  at = skipSpaces(at, end);
  if (at < end && !wrong.length) wrong = 'unexpected text';
  return value;
}

function peek(offset: i32): u32 { return at + offset < end ? <u32>load<u8>(at + offset) : 0; }

function assignment(): i64 {
  at = skipSpaces(at, end);
  const start = at;
  if (isNameStart(peek(0))) {
    let p = at;
    while (p < end && isName(load<u8>(p))) p++;
    const length = <i32>(p - at), after = skipSpaces(p, end);
    if (after < end && load<u8>(after) == 61 && !(after + 1 < end && load<u8>(after + 1) == 61)) {
      at = after + 1;
      const value = assignment();
      assign(start, length, numberText(value));
      return value;
    }
  }
  return ternary();
}

function ternary(): i64 {
  const condition = binary(1);
  at = skipSpaces(at, end);
  if (peek(0) != 63) return condition;
  at++;
  const yes = ternary();
  at = skipSpaces(at, end);
  if (peek(0) != 58) { wrong = ': is missing'; return 0; }
  at++;
  const no = ternary();
  return condition ? yes : no;
}

let operatorBytes: i32 = 0;
/** Precedence of the operator at `at`, 0 when there is none. */
function precedence(): i32 {
  at = skipSpaces(at, end);
  const a = peek(0), b = peek(1);
  operatorBytes = 1;
  if (a == 124 && b == 124) { operatorBytes = 2; return 1; }
  if (a == 38 && b == 38) { operatorBytes = 2; return 2; }
  if (a == 124) return 3;
  if (a == 94) return 4;
  if (a == 38) return 5;
  if ((a == 61 || a == 33) && b == 61) { operatorBytes = 2; return 6; }
  if ((a == 60 || a == 62) && b == a) { operatorBytes = 2; return 8; }
  if (a == 60 || a == 62) { if (b == 61) operatorBytes = 2; return 7; }
  if (a == 43 || a == 45) return 9;
  if (a == 42 || a == 47 || a == 37) return 10;
  return 0;
}

function binary(least: i32): i64 {
  let left = unary();
  while (!wrong.length) {
    const level = precedence();
    if (level < least || level == 0) break;
    const a = peek(0), b = peek(1), wide = operatorBytes == 2;
    at += operatorBytes;
    const right = binary(level + 1);
    switch (level) {
      case 1: left = left || right ? 1 : 0; break;
      case 2: left = left && right ? 1 : 0; break;
      case 3: left |= right; break;
      case 4: left ^= right; break;
      case 5: left &= right; break;
      case 6: left = (left == right) == (a == 61) ? 1 : 0; break;
      case 7: left = (a == 60 ? (wide ? left <= right : left < right) : (wide ? left >= right : left > right)) ? 1 : 0; break;
      case 8: left = b == 60 ? left << right : left >> right; break;
      case 9: left = a == 43 ? left + right : left - right; break;
      default:
        if (a == 42) left *= right;
        else if (right == 0) wrong = 'division by zero';
        else if (right == -1) left = a == 47 ? -left : 0;
        else left = a == 47 ? left / right : left % right;
    }
  }
  return left;
}

function unary(): i64 {
  at = skipSpaces(at, end);
  if (++depth > 200) { wrong = 'nested too deeply'; return 0; }
  let value: i64 = 0;
  const byte = peek(0);
  if (byte == 45) { at++; value = -unary(); }
  else if (byte == 43) { at++; value = unary(); }
  else if (byte == 33) { at++; value = unary() == 0 ? 1 : 0; }
  else if (byte == 126) { at++; value = ~unary(); }
  else if (byte == 40) {
    at++;
    value = assignment();
    at = skipSpaces(at, end);
    if (peek(0) == 41) at++; else wrong = ') is missing';
  }
  else if (isDigit(byte)) value = literal();
  else if (isNameStart(byte)) {
    const start = at;
    while (isName(peek(0))) at++;
    const text = valueOf(start, <i32>(at - start));
    if (text) value = valueNumber(text);
  } else if (!wrong.length) wrong = byte ? 'unexpected character' : 'an operand is missing';
  depth--;
  return value;
}

function digit(byte: u32): u32 {
  if (isDigit(byte)) return byte - 48;
  const letter = (byte | 32) - 97;
  return letter < 6 ? letter + 10 : 99;
}
function literal(): i64 {
  let base: u32 = 10, value: i64 = 0;
  if (peek(0) == 48) {
    base = 8;
    at++;
    if ((peek(0) | 32) == 120) { base = 16; at++; }
  }
  while (digit(peek(0)) < base) value = value * base + digit(load<u8>(at++));
  if (isName(peek(0))) wrong = 'not a number';
  return value;
}
function valueNumber(text: usize): i64 {
  let p = text, value: i64 = 0;
  const negative = load<u8>(p) == 45;
  if (negative) p++;
  while (isDigit(load<u8>(p))) value = value * 10 + (load<u8>(p++) - 48);
  return negative ? -value : value;
}
