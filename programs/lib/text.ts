/**
 * Text is bytes. A string of the native ABI is a pointer to bytes that end with NUL (paths, arguments, environment), never an
 * AssemblyScript string: those are UTF-16, live in managed memory and appear here only as literals in the source, which `same`, `copyLiteral`
 * and the output functions read in place. Nothing in this file allocates.
 */
export type Text = usize;

export function lengthOf(text: Text): i32 {
  let p = text;
  while (load<u8>(p)) p++;
  return <i32>(p - text);
}

export function equal(a: Text, b: Text): bool {
  while (true) {
    const x = load<u8>(a++);
    if (x != load<u8>(b++)) return false;
    if (!x) return true;
  }
}

export function compare(a: Text, b: Text): i32 {
  while (true) {
    const x = load<u8>(a++), y = load<u8>(b++);
    if (x != y) return <i32>x - <i32>y;
    if (!x) return 0;
  }
}

/** Is the NUL-terminated text the same as this literal? */
export function same(text: Text, literal: string): bool {
  const length = literal.length;
  for (let i = 0; i < length; i++) if (load<u8>(text + i) != <u8>literal.charCodeAt(i)) return false;
  return load<u8>(text + length) == 0;
}

export function startsWith(text: Text, literal: string): bool {
  for (let i = 0; i < literal.length; i++) if (load<u8>(text + i) != <u8>literal.charCodeAt(i)) return false;
  return true;
}

/** Are these `length` bytes (not terminated) the same as this literal? */
export function sliceIs(at: usize, length: i32, literal: string): bool {
  if (length != literal.length) return false;
  for (let i = 0; i < length; i++) if (load<u8>(at + i) != <u8>literal.charCodeAt(i)) return false;
  return true;
}

export function sameBytes(a: usize, b: usize, length: i32): bool {
  for (let i = 0; i < length; i++) if (load<u8>(a + i) != load<u8>(b + i)) return false;
  return true;
}

/** First `byte` in the text, 0 when there is none. */
export function find(text: Text, byte: u32): Text {
  for (let p = text; load<u8>(p); p++) if (load<u8>(p) == byte) return p;
  return 0;
}

/** Last `byte` in the text, 0 when there is none. */
export function findLast(text: Text, byte: u32): Text {
  let found: Text = 0;
  for (let p = text; load<u8>(p); p++) if (load<u8>(p) == byte) found = p;
  return found;
}

/** Does `needle` occur in the `length` bytes at `at`? An empty needle always does. */
export function contains(at: usize, length: i32, needle: Text, ignoreCase: bool): bool {
  const size = lengthOf(needle);
  for (let i = 0; i + size <= length; i++) {
    let j = 0;
    while (j < size && fold(load<u8>(at + i + j), ignoreCase) == fold(load<u8>(needle + j), ignoreCase)) j++;
    if (j == size) return true;
  }
  return false;
}

export function fold(byte: u32, ignoreCase: bool): u32 {
  return ignoreCase && byte - 65 < 26 ? byte + 32 : byte;
}

/** Copies the text with its NUL, returns the address of the copied NUL. */
export function copyText(to: usize, text: Text): usize {
  while (true) {
    const byte = load<u8>(text++);
    store<u8>(to, byte);
    if (!byte) return to;
    to++;
  }
}

/** Copies a literal as bytes with a NUL, returns the address of the NUL. Characters above 0x7f become UTF-8 (BMP only). */
export function copyLiteral(to: usize, literal: string): usize {
  for (let i = 0; i < literal.length; i++) to = putCharacter(to, literal.charCodeAt(i));
  store<u8>(to, 0);
  return to;
}

export function putCharacter(to: usize, code: i32): usize {
  if (code < 0x80) { store<u8>(to, <u8>code); return to + 1; }
  if (code < 0x800) { store<u8>(to, <u8>(0xc0 | (code >> 6))); store<u8>(to + 1, <u8>(0x80 | (code & 63))); return to + 2; }
  store<u8>(to, <u8>(0xe0 | (code >> 12))); store<u8>(to + 1, <u8>(0x80 | ((code >> 6) & 63))); store<u8>(to + 2, <u8>(0x80 | (code & 63)));
  return to + 3;
}

export function isDigit(byte: u32): bool { return byte - 48 < 10; }
export function isAlpha(byte: u32): bool { return (byte | 32) - 97 < 26; }
export function isSpace(byte: u32): bool { return byte == 32 || byte - 9 < 5; }
export function isNameStart(byte: u32): bool { return isAlpha(byte) || byte == 95; }
export function isName(byte: u32): bool { return isNameStart(byte) || isDigit(byte); }

let parsedEnd: Text = 0;
/** Where the last `parseNumber` stopped: at NUL when the whole text was a number. */
export function numberEnd(): Text { return parsedEnd; }

/** Decimal number with an optional sign; saturates at the ends of i64. `numberEnd() == text` when there is none. */
export function parseNumber(text: Text): i64 {
  let p = text, negative = false;
  if (load<u8>(p) == 45) { negative = true; p++; } else if (load<u8>(p) == 43) p++;
  const digits = p;
  let value: u64 = 0;
  while (isDigit(load<u8>(p))) {
    const next = value * 10 + <u64>(load<u8>(p) - 48);
    value = value > 922337203685477579 ? 0x7fffffffffffffff : next;
    p++;
  }
  parsedEnd = p == digits ? text : p;
  return negative ? -<i64>value : <i64>value;
}

/** A whole text that is a number: `numberEnd()` is at its NUL and it is not empty. */
export function isNumber(text: Text): bool {
  parseNumber(text);
  return parsedEnd != text && load<u8>(parsedEnd) == 0;
}

/** Writes a number in a base 2..16 to `to` (room for 65 bytes), returns its length; no NUL. */
export function formatNumber(to: usize, value: u64, base: u32): i32 {
  let length = 0, rest = value;
  do { length++; rest /= base; } while (rest != 0);
  let p = to + length;
  rest = value;
  do {
    const digit = <u32>(rest % base);
    store<u8>(--p, <u8>(digit < 10 ? 48 + digit : 87 + digit));
    rest /= base;
  } while (rest != 0);
  return length;
}

/** The part of a path behind its last slash, without trailing slashes cut off: "a/b" gives "b". */
export function baseName(path: Text): Text {
  let last = path;
  for (let p = path; load<u8>(p); p++) if (load<u8>(p) == 47 && load<u8>(p + 1) != 0 && load<u8>(p + 1) != 47) last = p + 1;
  return last;
}
