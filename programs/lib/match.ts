/**
 * Small regular expressions over bytes (R. Pike, "Beautiful Code" ch. 1, with classes): literals, `.`, `[a-z]` and `[^a-z]`, `*`, `^`, `$`, and `\`
 * before any of them. Recursion is bounded by the length of the pattern.
 */
import { Text, fold } from './text';

/** Does the pattern occur in the `length` bytes at `at`? */
export function matches(pattern: Text, at: usize, length: i32, ignoreCase: bool): bool {
  const end = at + length;
  if (load<u8>(pattern) == 94) return matchHere(pattern + 1, at, end, ignoreCase);
  for (let p = at; p <= end; p++) if (matchHere(pattern, p, end, ignoreCase)) return true;
  return false;
}

/** Address behind the first element of the pattern: a byte, an escape or a class. */
function elementEnd(pattern: Text): Text {
  const byte = load<u8>(pattern);
  if (byte == 92 && load<u8>(pattern, 1)) return pattern + 2;
  if (byte != 91) return pattern + 1;
  let p = pattern + 1;
  if (load<u8>(p) == 94) p++;
  if (load<u8>(p) == 93) p++;
  while (load<u8>(p) && load<u8>(p) != 93) p++;
  return load<u8>(p) ? p + 1 : pattern + 1;
}

function elementMatches(pattern: Text, end: Text, byte: u32, ignoreCase: bool): bool {
  const first = <u32>load<u8>(pattern), value = fold(byte, ignoreCase);
  if (end == pattern + 1) return first == 46 || fold(first, ignoreCase) == value;
  if (first == 92) return fold(load<u8>(pattern, 1), ignoreCase) == value;
  let p = pattern + 1;
  const inverted = load<u8>(p) == 94;
  if (inverted) p++;
  let found = false;
  while (p < end - 1) {
    const low = fold(load<u8>(p), ignoreCase);
    if (load<u8>(p, 1) == 45 && p + 2 < end - 1) {
      if (value >= low && value <= fold(load<u8>(p, 2), ignoreCase)) found = true;
      p += 3;
    } else {
      if (value == low) found = true;
      p++;
    }
  }
  return found != inverted;
}

function matchHere(pattern: Text, at: usize, end: usize, ignoreCase: bool): bool {
  while (true) {
    const byte = load<u8>(pattern);
    if (byte == 0) return true;
    if (byte == 36 && load<u8>(pattern, 1) == 0) return at == end;
    const next = elementEnd(pattern);
    if (load<u8>(next) == 42) {
      let p = at;
      while (p < end && elementMatches(pattern, next, load<u8>(p), ignoreCase)) p++;
      for (; p >= at; p--) if (matchHere(next + 1, p, end, ignoreCase)) return true;
      return false;
    }
    if (at == end || !elementMatches(pattern, next, load<u8>(at), ignoreCase)) return false;
    pattern = next;
    at++;
  }
}
