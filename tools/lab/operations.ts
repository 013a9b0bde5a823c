/**
 * One operation on a file, done by programs/fileop.ts, as a workload: what must be on the disk and on stdout when it was done exactly once. The
 * program and this model say the same thing twice; whoever changes one changes both.
 */
import { PROCESS } from '../../servers/protocols/process.ts';
import type { Entry } from '../image/entries.ts';
import { BEGIN, checkImage, withBase, type FileState, type Workload } from './workload.ts';

export const OPERATIONS = ['write', 'append', 'rename', 'create', 'unlink', 'mkdir', 'truncate'] as const;
export type Operation = (typeof OPERATIONS)[number];

/** The system call that is the operation: label of the call on the endpoint of `process`. */
export const LABEL: Readonly<Record<Operation, number>> = {
  write: PROCESS.ops.write.op, append: PROCESS.ops.write.op, rename: PROCESS.ops.rename.op, create: PROCESS.ops.open.op, unlink: PROCESS.ops.unlink.op,
  mkdir: PROCESS.ops.mkdir.op, truncate: PROCESS.ops.truncate.op,
};
export const SYNC_LABEL = PROCESS.ops.sync.op;

const before = Uint8Array.from({ length: 9000 }, (_, k) => 65 + (k % 26));
const pattern = (bytes: number): Uint8Array => Uint8Array.from({ length: bytes }, (_, k) => 97 + (k % 23));
const join = (...parts: readonly Uint8Array[]): Uint8Array => Uint8Array.from(parts.flatMap((part) => [...part]));
const tail = new TextEncoder().encode('tail');
const SIZES: Readonly<Record<Operation, number>> = { write: 9000, append: 3900, rename: 0, create: 0, unlink: 9000, mkdir: 0, truncate: 9000 };

export function operationWorkload(operation: Operation): Workload {
  const file = before.subarray(0, SIZES[operation]);
  const entries: Entry[] = [...withBase([{ kind: 'directory', path: '/sweep' }])];
  const leaves = new Map<string, FileState>();
  let result = 0;
  if (file.length > 0) entries.push({ kind: 'file', path: '/sweep/file', data: file });
  switch (operation) {
    case 'write': result = 5000; leaves.set('/sweep/file', join(file.subarray(0, 1000), pattern(5000), tail, file.subarray(6004))); break;
    case 'append': result = 700; leaves.set('/sweep/file', join(file, pattern(700), tail)); break;
    case 'truncate': leaves.set('/sweep/file', join(file.subarray(0, 1500), tail)); break;
    case 'unlink': leaves.set('/sweep/file', null); break;
    case 'mkdir': leaves.set('/sweep/directory', 'directory'); break;
    case 'create': leaves.set('/sweep/new', tail); break;
    case 'rename':
      entries.push({ kind: 'directory', path: '/sweep/from' }, { kind: 'directory', path: '/sweep/to' }, { kind: 'file', path: '/sweep/from/name', data: pattern(300) });
      leaves.set('/sweep/from/name', null).set('/sweep/to/other', pattern(300));
  }
  const stdout = `${BEGIN}\nresult ${result} sync 0\n`;
  return {
    name: `sweep:${operation}`, command: ['fileop', operation], entries, stdout,
    judge(finished) {
      const notes: string[] = [];
      if (finished.exit !== 0) notes.push(`exit status ${finished.exit ?? 'missing'}`);
      if (finished.stdout !== stdout) notes.push(`stdout ${JSON.stringify(finished.stdout.slice(0, 80))}`);
      if (finished.stderr !== '') notes.push(`stderr ${JSON.stringify(finished.stderr.slice(0, 80))}`);
      if (finished.image) notes.push(...checkImage(entries, leaves, new Set(), finished.image));
      // Whatever is not exactly the model is wrong: no error is an excuse here.
      return { errors: false, wrong: notes.length > 0, notes };
    },
  };
}
