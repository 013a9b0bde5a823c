/** Image bytes -> file: runs of zero pages become holes, so a 256 MiB image with 3 MiB of content costs 3 MiB of disk. */
import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs';

const CHUNK = 65536;

export function writeSparse(path: string, image: Uint8Array): void {
  const fd = openSync(path, 'w');
  try {
    const words = new BigUint64Array(image.buffer, image.byteOffset, image.byteLength >> 3);
    for (let at = 0; at < image.length; at += CHUNK) {
      const chunk = words.subarray(at >> 3, (at + CHUNK) >> 3);
      if (chunk.some((word) => word !== 0n)) writeSync(fd, image, at, Math.min(CHUNK, image.length - at), at);
    }
    ftruncateSync(fd, image.length);
  } finally { closeSync(fd); }
}
