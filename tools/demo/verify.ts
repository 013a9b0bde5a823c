/**
 * The final disk image against the model of the workload. The image is read by tools/image, not by any code of the guest.
 *
 * `lost`: an operation that failed, is missing, or was done twice: errors that workers report, lines of a file that are missing or surplus, files and
 * directories that should or should not be there, a worker without report. `wrongChecksums`: files with other bytes than the model's, and checksum
 * lines that name another sum than the model's. `problems` says each in words.
 */
import { Ext2Reader } from '../image/reader.ts';
import { modelWorker } from './model.ts';

export interface Verdict { readonly lost: number; readonly wrongChecksums: number; readonly steps: number; readonly operations: number; readonly files: number; readonly problems: readonly string[] }

export function verifyImage(image: Uint8Array, seed: number, workers: number): Verdict {
  const problems: string[] = [];
  let lost = 0, wrong = 0, steps = 0, operations = 0, files = 0;
  const lose = (count: number, why: string): void => { lost += count; problems.push(why); };
  const reader = new Ext2Reader(image);
  for (const problem of reader.verify()) lose(1, `file system: ${problem}`);
  const root = reader.lookup('/demo');
  if (root === undefined) return { lost: lost + 1, wrongChecksums: wrong, steps, operations, files, problems: [...problems, '/demo is missing'] };
  const expected = new Set(Array.from({ length: workers }, (_, n) => `w${n}`));
  for (const { name } of reader.list(root)) if (name !== '.' && name !== '..' && !expected.has(name)) lose(1, `/demo/${name} should not be there`);
  for (let worker = 0; worker < workers; worker++) {
    const home = `/demo/w${worker}`, report = reader.lookup(`${home}/report`);
    const text = report === undefined ? '' : Buffer.from(reader.content(report)).toString('latin1');
    const head = /^steps (\d+) errors (\d+)\n/.exec(text);
    if (!head) { lose(1, `${home}: the worker left no report`); continue; }
    if (Number(head[2]) > 0) lose(Number(head[2]), `${home}: ${text.split('\n').slice(1).filter(Boolean).join('; ')}`);
    const model = modelWorker(seed, worker, Number(head[1]));
    steps += Number(head[1]);
    operations += model.operations;
    const found = new Map(reader.list(reader.lookup(home)!).filter(({ name }) => name !== '.' && name !== '..').map(({ name, inode }) => [name, inode]));
    found.delete('report');
    for (const name of found.keys()) if (!model.files.has(name)) lose(1, `${home}/${name} should not be there`);
    for (const [name, want] of model.files) {
      const inode = found.get(name);
      if (inode === undefined) { lose(1, `${home}/${name} is missing`); continue; }
      files++;
      const have = Buffer.from(reader.content(inode));
      if (have.equals(want)) continue;
      wrong++;
      const { missing, surplus } = compareLines(want, have);
      const at = want.findIndex((byte, k) => byte !== have[k]);
      lose(missing + surplus, `${home}/${name}: ${have.length} bytes instead of ${want.length}, first difference at ${at < 0 ? want.length : at}, ${missing} lines missing, ${surplus} surplus`);
    }
  }
  return { lost, wrongChecksums: wrong, steps, operations, files, problems };
}

/** Lines of one that the other does not have, with multiplicity. */
function compareLines(want: Buffer, have: Buffer): { missing: number; surplus: number } {
  const count = new Map<string, number>();
  for (const line of want.toString('latin1').split('\n')) count.set(line, (count.get(line) ?? 0) + 1);
  let surplus = 0;
  for (const line of have.toString('latin1').split('\n')) {
    const n = count.get(line) ?? 0;
    if (n === 0) surplus++; else count.set(line, n - 1);
  }
  return { missing: [...count.values()].reduce((a, b) => a + b, 0), surplus };
}
