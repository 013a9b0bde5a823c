/** Moving bytes from one stream to another in pieces of 64 KiB: large enough that the calls do not matter, small enough for every heap. */
import { flush, writeAll } from './output';
import { readRetry } from './input';

export const COPY_BYTES: i32 = 65536;
export const COPY_BUFFER: usize = memory.data(65536, 16);

/** Until the end of `from`; 0 or a negative errno. `copyFailedOnWrite()` tells which side it was. */
export function copyStream(from: u32, to: u32): i32 {
  flush();
  while (true) {
    const got = readRetry(from, COPY_BUFFER, COPY_BYTES);
    writeSide = false;
    if (got <= 0) return got;
    const status = writeAll(to, COPY_BUFFER, got);
    if (status < 0) { writeSide = true; return status; }
  }
}
let writeSide: bool = false;
export function copyFailedOnWrite(): bool { return writeSide; }
