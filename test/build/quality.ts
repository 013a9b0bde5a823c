/** `node test/build/quality.ts`: user CPU time of each kernel, ours against gcc -O2, best of several runs; checksums must agree. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { buildTarget } from '../../tools/build/build.ts';
import { generate } from '../../tools/build/generate.ts';
import { REPOSITORY_ROOT } from '../../vm/entry.ts';

const NAMES = ['crc32', 'sha256', 'sieve', 'qsort', 'hash table', 'ipc copy', 'cap lookup', 'fib'];
const ROUNDS = [2500, 5000, 900, 90, 2000, 60000, 15000, 800];
const dir = mkdtempSync(path.join(tmpdir(), 'kintsugi-quality-'));
await generate();
const built = await buildTarget({ name: 'quality', entry: 'test/build/quality.guest.ts', kind: 'linux', runtime: 'stub', assertions: false });
const ours = path.join(dir, 'ours'), theirs = path.join(dir, 'gcc');
writeFileSync(ours, built.elf, { mode: 0o755 });
execFileSync('gcc', ['-m32', '-O2', '-nostdlib', '-static', '-fno-pie', '-no-pie', '-ffreestanding', '-fno-builtin', '-fno-stack-protector', '-fno-asynchronous-unwind-tables', '-mregparm=3', '-o', theirs, path.join(REPOSITORY_ROOT, 'test/build/quality.c')]);
/** User time in ms: the shell's `times` sees only the child. */
const time = (file: string, n: number): { ms: number; out: string } => {
  let ms = Infinity, out = '';
  for (let k = 0; k < 3; k++) {
    const r = spawnSync('/usr/bin/env', ['bash', '-c', `TIMEFORMAT=%U; time ${file} ${n} ${ROUNDS[n] as number}`], { encoding: 'utf8' });
    out = r.stdout.trim();
    ms = Math.min(ms, Number(r.stderr.trim()) * 1000);
  }
  return { ms, out };
};
let product = 1;
for (let n = 0; n < NAMES.length; n++) {
  const a = time(ours, n), b = time(theirs, n);
  product *= a.ms / b.ms;
  process.stdout.write(`${(NAMES[n] as string).padEnd(12)} gcc ${b.ms.toFixed(0).padStart(5)} ms  ours ${a.ms.toFixed(0).padStart(5)} ms  ${(a.ms / b.ms).toFixed(2)}${a.out === b.out ? '' : `  WRONG ${a.out} ${b.out}`}\n`);
}
process.stdout.write(`geomean ${(product ** (1 / NAMES.length)).toFixed(2)}   (${dir})\n`);
