/**
 * HTTP/1.1 messages (RFC 9112) in a buffer of bytes: the end of a head, its lines, header fields by name, URLs and their escapes. Pure functions over
 * (address, length); nothing here allocates or does I/O.
 */
import { Text, fold, isDigit, sliceIs } from './text';

/** Length of a head including its empty line, 0 when it is not complete. Lines end with CRLF or LF alone. */
export function headLength(at: usize, length: i32): i32 {
  for (let n = 0; n < length; n++) {
    if (load<u8>(at + n) != 10) continue;
    if (n + 1 < length && load<u8>(at + n + 1) == 10) return n + 2;
    if (n + 2 < length && load<u8>(at + n + 1) == 13 && load<u8>(at + n + 2) == 10) return n + 3;
  }
  return 0;
}
/** Length of the line at `at` without its end; `lineNext` is where the next one begins. */
export function lineLength(at: usize, length: i32): i32 {
  let n = 0;
  while (n < length && load<u8>(at + n) != 10) n++;
  next = at + min(n + 1, length);
  return n > 0 && n < length && load<u8>(at + n - 1) == 13 ? n - 1 : n;
}
let next: usize = 0;
export function lineNext(): usize { return next; }

/** Letters in either case. */
export function sameName(at: usize, length: i32, name: string): bool {
  if (length != name.length) return false;
  for (let n = 0; n < length; n++) if (fold(load<u8>(at + n), true) != <u32>name.charCodeAt(n)) return false;
  return true;
}
/** The value of header field `name` (in lower case) in a head, its length in `fieldLength()`; 0 when there is none. */
export function field(head: usize, length: i32, name: string): usize {
  const end = head + length;
  lineLength(head, length); // the first line is no field
  let p = next;
  while (p < end) {
    const bytes = lineLength(p, <i32>(end - p)), after = next;
    let colon = 0;
    while (colon < bytes && load<u8>(p + colon) != 58) colon++;
    if (colon < bytes && sameName(p, colon, name)) {
      let from = colon + 1, to = bytes;
      while (from < to && (load<u8>(p + from) == 32 || load<u8>(p + from) == 9)) from++;
      while (to > from && (load<u8>(p + to - 1) == 32 || load<u8>(p + to - 1) == 9)) to--;
      foundLength = to - from;
      return p + from;
    }
    p = after;
  }
  return 0;
}
let foundLength: i32 = 0;
export function fieldLength(): i32 { return foundLength; }
/** A list field has this token (in lower case). */
export function fieldHas(head: usize, length: i32, name: string, token: string): bool {
  const at = field(head, length, name);
  if (!at) return false;
  let from = 0;
  for (let n = 0; n <= foundLength; n++) {
    if (n < foundLength && load<u8>(at + n) != 44) continue;
    let a = from, b = n;
    while (a < b && load<u8>(at + a) == 32) a++;
    while (b > a && load<u8>(at + b - 1) == 32) b--;
    if (sameName(at + a, b - a, token)) return true;
    from = n + 1;
  }
  return false;
}
/** The decimal number that is the whole of `length` bytes, -1 when it is none or above 2^53. */
export function decimal(at: usize, length: i32): i64 {
  let value: i64 = 0;
  if (length < 1 || length > 16) return -1;
  for (let n = 0; n < length; n++) {
    if (!isDigit(load<u8>(at + n))) return -1;
    value = value * 10 + load<u8>(at + n) - 48;
  }
  return value > 9007199254740991 ? -1 : value;
}
export function hexDigit(byte: u32): i32 {
  if (byte - 48 < 10) return byte - 48;
  const letter = (byte | 32) - 97;
  return letter < 6 ? <i32>letter + 10 : -1;
}
/**
 * The path of a request target, unescaped and normalised to `to` (length + 1 bytes), NUL terminated: always begins with "/", no "//", no "." or ".." parts, which
 * cannot leave the root. -1: it is no path, has a wrong escape or an escaped NUL. The query is dropped.
 */
export function requestPath(at: usize, length: i32, to: usize): i32 {
  if (length > 7 && sliceIs(at, 7, 'http://')) { // absolute form
    let n = 7;
    while (n < length && load<u8>(at + n) != 47) n++;
    at += n; length -= n;
    if (length == 0) { store<u8>(to, 47); store<u8>(to + 1, 0); return 1; }
  }
  if (length < 1 || load<u8>(at) != 47) return -1;
  let out = 0, n = 0;
  while (n < length && load<u8>(at + n) != 63 && load<u8>(at + n) != 35) {
    let byte = <u32>load<u8>(at + n++);
    if (byte == 37) {
      if (n + 2 > length) return -1;
      const high = hexDigit(load<u8>(at + n)), low = hexDigit(load<u8>(at + n + 1));
      if (high < 0 || low < 0) return -1;
      byte = high << 4 | low;
      n += 2;
    }
    if (byte == 0) return -1;
    if (byte == 47) out = closePart(to, out);
    else store<u8>(to + out++, <u8>byte);
  }
  const slash = out > 0 && load<u8>(to + out - 1) == 47;
  if (!slash) {
    const before = out;
    out = closePart(to, out);
    if (out > before) out--; // the slash that closePart adds was not there
  }
  store<u8>(to + out, 0);
  return out;
}
/** A slash comes: a part "." goes, a part ".." takes its predecessor with it. The new length; the text ends with a slash. */
function closePart(to: usize, length: i32): i32 {
  let from = length;
  while (from > 0 && load<u8>(to + from - 1) != 47) from--;
  const bytes = length - from;
  if (length > 0 && bytes == 0) return length; // "//"
  if (bytes == 1 && load<u8>(to + from) == 46) return from;
  if (bytes == 2 && load<u8>(to + from) == 46 && load<u8>(to + from + 1) == 46) {
    if (from > 1) { from--; while (from > 0 && load<u8>(to + from - 1) != 47) from--; }
    return from;
  }
  store<u8>(to + length, 47);
  return length + 1;
}
export function reason(status: i32): string {
  switch (status) {
    case 200: return 'OK';
    case 206: return 'Partial Content';
    case 301: return 'Moved Permanently';
    case 302: return 'Found';
    case 304: return 'Not Modified';
    case 400: return 'Bad Request';
    case 403: return 'Forbidden';
    case 404: return 'Not Found';
    case 405: return 'Method Not Allowed';
    case 408: return 'Request Timeout';
    case 416: return 'Range Not Satisfiable';
    case 431: return 'Request Header Fields Too Large';
    case 500: return 'Internal Server Error';
    case 501: return 'Not Implemented';
    case 503: return 'Service Unavailable';
    case 505: return 'HTTP Version Not Supported';
  }
  return 'Unknown';
}
/** By the extension of a name. */
export function contentType(name: Text): string {
  let dot: usize = 0;
  for (let p = name; load<u8>(p); p++) if (load<u8>(p) == 46) dot = p + 1; else if (load<u8>(p) == 47) dot = 0;
  let length = 0;
  while (dot && load<u8>(dot + length)) length++;
  if (sameName(dot, length, 'html') || sameName(dot, length, 'htm')) return 'text/html; charset=utf-8';
  if (sameName(dot, length, 'txt') || sameName(dot, length, 'md') || sameName(dot, length, 'log')) return 'text/plain; charset=utf-8';
  if (sameName(dot, length, 'css')) return 'text/css; charset=utf-8';
  if (sameName(dot, length, 'js') || sameName(dot, length, 'mjs')) return 'text/javascript; charset=utf-8';
  if (sameName(dot, length, 'json')) return 'application/json';
  if (sameName(dot, length, 'xml')) return 'application/xml';
  if (sameName(dot, length, 'svg')) return 'image/svg+xml';
  if (sameName(dot, length, 'png')) return 'image/png';
  if (sameName(dot, length, 'jpg') || sameName(dot, length, 'jpeg')) return 'image/jpeg';
  if (sameName(dot, length, 'gif')) return 'image/gif';
  if (sameName(dot, length, 'ico')) return 'image/x-icon';
  if (sameName(dot, length, 'webp')) return 'image/webp';
  if (sameName(dot, length, 'wasm')) return 'application/wasm';
  if (sameName(dot, length, 'pdf')) return 'application/pdf';
  if (sameName(dot, length, 'gz')) return 'application/gzip';
  if (sameName(dot, length, 'zip')) return 'application/zip';
  return 'application/octet-stream';
}
