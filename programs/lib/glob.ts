/**
 * Shell patterns: `*`, `?`, `[a-z]`, `[!a-z]`. In a pattern the byte 1 (QUOTED) takes away the meaning of the byte behind it: that is how
 * the shell hands over quoted characters. `*` and `?` do not match a leading dot when `globPath` expands names.
 */
import { List, Bytes, keep, release } from './memory';
import { listDirectory, releaseNames, sortTexts, statOf } from './files';
import { Text, copyLiteral, lengthOf } from './text';

export const QUOTED: u32 = 1;

/** Does the whole name fit the pattern? Iterative: one backtrack point, the last star. */
export function globMatches(pattern: Text, name: Text): bool {
  let star: Text = 0, retry: Text = 0, p = pattern, n = name;
  while (load<u8>(n)) {
    if (load<u8>(p) == 42) { star = ++p; retry = n; continue; }
    const next = step(p, load<u8>(n));
    if (next) { p = next; n++; continue; }
    if (!star) return false;
    p = star;
    n = ++retry;
  }
  while (load<u8>(p) == 42) p++;
  return load<u8>(p) == 0;
}

/** Behind the pattern element that accepts `byte`; 0 when it does not. */
function step(p: Text, byte: u32): Text {
  const first = <u32>load<u8>(p);
  if (first == 0) return 0;
  if (first == QUOTED) return load<u8>(p, 1) == byte ? p + 2 : 0;
  if (first == 63) return p + 1;
  if (first != 91) return first == byte ? p + 1 : 0;
  let q = p + 1;
  const inverted = load<u8>(q) == 33 || load<u8>(q) == 94;
  if (inverted) q++;
  let found = false, any = false;
  while (load<u8>(q) && (load<u8>(q) != 93 || !any)) {
    any = true;
    if (load<u8>(q) == QUOTED) q++;
    const low = <u32>load<u8>(q++);
    let high = low;
    if (load<u8>(q) == 45 && load<u8>(q, 1) && load<u8>(q, 1) != 93) { high = load<u8>(q, 1); q += 2; }
    if (byte >= low && byte <= high) found = true;
  }
  if (load<u8>(q) != 93) return byte == 91 ? p + 1 : 0; // an unclosed class is a plain bracket
  return found != inverted ? q + 1 : 0;
}

export function hasGlob(pattern: Text): bool {
  for (let p = pattern; load<u8>(p); p++) {
    const byte = <u32>load<u8>(p);
    if (byte == QUOTED) p++;
    else if (byte == 42 || byte == 63 || byte == 91) return true;
  }
  return false;
}

/** The pattern as plain text, marks removed; allocated. */
export function unquoted(pattern: Text): Text {
  const bytes = Bytes.create();
  for (let p = pattern; load<u8>(p); p++) {
    if (load<u8>(p) == QUOTED) p++;
    bytes.push(load<u8>(p));
  }
  const text = bytes.take();
  bytes.free();
  return text;
}

const DOT: usize = memory.data(2);

/** Adds the paths that fit, in order, to `paths`; none fit: nothing is added. */
export function globPath(pattern: Text, paths: List): void {
  const start = paths.length;
  const prefix = Bytes.create();
  expand(prefix, pattern, paths);
  prefix.free();
  sortTexts(paths.at + (start << 2), paths.length - start);
}

/** `prefix` is settled (empty, or ends with a slash); `rest` is still pattern. */
function expand(prefix: Bytes, rest: Text, paths: List): void {
  const settled = prefix.length;
  while (load<u8>(rest) == 47) { prefix.push(47); rest++; }
  if (load<u8>(rest) == 0) {
    if (statOf(prefix.finish(), true) >= 0) paths.push(prefix.take());
    prefix.length = settled;
    return;
  }
  let end = rest;
  while (load<u8>(end) && load<u8>(end) != 47) end++;
  const element = keep(rest, <i32>(end - rest)), base = prefix.length;
  if (!hasGlob(element)) {
    const plain = unquoted(element);
    prefix.pushText(plain);
    release(plain);
    descend(prefix, end, paths);
  } else {
    copyLiteral(DOT, '.');
    const names = List.create();
    listDirectory(base ? prefix.finish() : DOT, names, load<u8>(element) == 46);
    for (let i = 0; i < names.length; i++) {
      const name = names.get(i);
      if (load<u8>(name) == 46 && load<u8>(element) != 46) continue;
      if (!globMatches(element, name)) continue;
      prefix.length = base;
      prefix.pushText(name);
      descend(prefix, end, paths);
    }
    releaseNames(names);
  }
  prefix.length = settled;
  release(element);
}

function descend(prefix: Bytes, rest: Text, paths: List): void {
  if (load<u8>(rest) == 0) { if (statOf(prefix.finish(), true) >= 0) paths.push(prefix.take()); }
  else expand(prefix, rest, paths);
}
