/**
 * What programs/workload.ts leaves on the disk, computed from its seed alone: an independent second writing of the same rules.
 * Nothing here looks at the guest; the number of steps each worker did is the only thing taken from it.
 */
import { createHash } from 'node:crypto';

export interface WorkerModel {
  /** Files of /demo/wN by name. */
  readonly files: ReadonlyMap<string, Buffer>;
  /** The checksum lines, also written to the terminal, each behind "wN ". */
  readonly sums: readonly string[];
  /** System calls whose outcome was checked, about: what a user would call operations. */
  readonly operations: number;
}

const FILES = 6;
const LIMIT = 49152;
const MOST = 1500;

export function modelWorker(seed: number, worker: number, steps: number): WorkerModel {
  let x = ((Math.imul(seed, 0x9e3779b1) ^ Math.imul(worker + 1, 0x85ebca6b)) | 1) >>> 0;
  const draw = (): number => {
    x = (x ^ (x << 13)) >>> 0;
    x = (x ^ (x >>> 17)) >>> 0;
    x = (x ^ (x << 5)) >>> 0;
    return x >>> 8;
  };
  const content: (Buffer | undefined)[] = new Array<Buffer | undefined>(FILES).fill(undefined);
  const sums: string[] = [], position: Buffer[] = [];
  let operations = 0;
  for (let step = 1; step <= steps; step++) {
    const record = (part: number): Buffer => {
      const bytes = draw() % MOST, payload = Buffer.alloc(bytes + 1, 10);
      let y = draw();
      for (let i = 0; i < bytes; i++) { y = (Math.imul(y, 1664525) + 1013904223) >>> 0; payload[i] = 33 + (y >>> 24) % 94; }
      return Buffer.concat([Buffer.from(`w${worker} ${step}.${part} `), payload]);
    };
    const what = draw() & 15, i = draw() % FILES, j = (i + 1 + draw() % (FILES - 1)) % FILES, old = content[i];
    if (what < 6) {
      const parts = [old === undefined || old.length > LIMIT ? Buffer.alloc(0) : old];
      const records = 1 + draw() % 3;
      for (let n = 0; n < records; n++) parts.push(record(n));
      content[i] = Buffer.concat(parts);
      operations += records + 2 + (what < 2 ? 1 : 0);
    } else if (what < 9) {
      if (old !== undefined) content[j] = old;
      operations += old === undefined ? 1 : 4 + 2 * Math.ceil(old.length / 4096);
    } else if (what < 11) {
      if (old !== undefined) { content[j] = old; content[i] = undefined; }
      operations++;
    } else if (what < 13) {
      if (old !== undefined) sums.push(`sum ${step} ${String.fromCharCode(97 + i)} ${old.length} ${createHash('sha256').update(old).digest('hex')}`);
      operations += old === undefined ? 1 : 4 + Math.ceil(old.length / 4096);
    } else if (what === 13) {
      content[i] = undefined;
      operations++;
    } else if (what === 14) {
      position.push(record(0));
      operations++;
    } else operations += 2;
  }
  const files = new Map<string, Buffer>();
  content.forEach((bytes, n) => { if (bytes !== undefined) files.set(String.fromCharCode(97 + n), bytes); });
  files.set('log', Buffer.from(sums.map((line) => `${line}\n`).join('')));
  files.set('position', Buffer.concat(position));
  return { files, sums, operations };
}
