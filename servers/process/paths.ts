/**
 * Working directories. fs resolves relative paths from the inode of the directory; process keeps, beside it, the text that `getcwd` gives back:
 * normalised by words, so that after going through a symbolic link `..` in the text is the way back that was typed.
 */

/** Appends `path` to the directory text `base` and normalises into `to` (`room` bytes). Length, or -1 when it does not fit. */
export function joinPath(base: usize, path: usize, to: usize, room: u32): i32 {
  let length: u32 = 0;
  if (load<u8>(path) != 47) {
    while (load<u8>(base + length) != 0) {
      if (length + 2 > room) return -1;
      store<u8>(to + length, load<u8>(base + length));
      length++;
    }
    if (length == 1) length = 0; // "/" is the empty prefix
  }
  let p = path;
  while (load<u8>(p) != 0) {
    while (load<u8>(p) == 47) p++;
    let end = p;
    while (load<u8>(end) != 0 && load<u8>(end) != 47) end++;
    const bytes = <u32>(end - p);
    if (bytes == 0) break;
    if (bytes == 1 && load<u8>(p) == 46) { p = end; continue; }
    if (bytes == 2 && load<u8>(p) == 46 && load<u8>(p, 1) == 46) {
      while (length > 0 && load<u8>(to + length - 1) != 47) length--;
      if (length > 0) length--;
      p = end;
      continue;
    }
    if (length + bytes + 2 > room) return -1;
    store<u8>(to + length, 47);
    memory.copy(to + length + 1, p, bytes);
    length += bytes + 1;
    p = end;
  }
  if (length == 0) { store<u8>(to, 47); length = 1; }
  store<u8>(to + length, 0);
  return length;
}
