/**
 * QEMU's CPU test of the i386 (tests/tcg/i386/test-i386.c, linux-user): compiled once, run natively and on the engine, outputs compared line by line.
 *
 *     KINTSUGI_SUITES=/path node test/suites/qemu-i386.ts [--write] [-v]
 *
 * Sources (test-i386.c, -muldiv.h, -shift.h, .h, -code16.S, -vm86.S) in $KINTSUGI_SUITES/qemu; other small tests there named
 * test-i386-*.c with a main of their own are run as well. Not compared: SHLD and SHRD of 16 bits by more than 16, RCP and RSQRT, code in data pages.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { runLinux } from './linux.ts';

export interface Outcome { readonly test: string; readonly lines: number; readonly undefinedLines: number; readonly different: Readonly<Record<'off' | 'on', number>>; readonly first: readonly string[]; readonly problem: string }
export const RESULTS = path.join(import.meta.dirname, 'qemu-results.json');
export const MISSING = 'QEMU\'s test-i386.c is not here: put it and its headers in $KINTSUGI_SUITES/qemu';
export function qemuFolder(): string | null {
  const root = process.env['KINTSUGI_SUITES'];
  return root !== undefined && existsSync(path.join(root, 'qemu/test-i386.c')) ? path.join(root, 'qemu') : null;
}
/** RCP and RSQRT (their error is bounded, their bits are the model's); SHxD r16 with a count above 16 (SDM vol. 2: result and flags undefined). */
const isUndefined = (line: string): boolean => { if (/^r(sqrt|cp)[ps]s /.test(line)) return true; const c = /^sh[lr]dw .* C=([0-9a-f]{8})/.exec(line)?.[1]; return c !== undefined && (parseInt(c, 16) & 31) > 16; };

export function compare(test: string, native: string, runs: Readonly<Record<'off' | 'on', string>>, problem: string): Outcome {
  // Code in data pages: a fault natively, executed on the engine, whose page tables here have no NX.
  const plain = (t: string): string[] => t.replace(/si_signo=11[^\n]*\ntrapno=0000000e err=00000015[^\n]*\n/, '').split('\n').filter(l => !/^(func\d = |smc_code2\()/.test(l));
  const want = plain(native), different = { off: 0, on: 0 }, first: string[] = [];
  for (const tier of ['off', 'on'] as const) {
    const got = plain(runs[tier]);
    for (let i = 0; i < Math.max(want.length, got.length); i++) {
      if (want[i] === got[i] || (isUndefined(want[i] ?? '') && isUndefined(got[i] ?? ''))) continue;
      different[tier]++;
      if (first.length < 10) first.push(`${tier}, line ${i + 1}: native ${want[i] ?? '(end)'} | here ${got[i] ?? '(end)'}`);
    }
  }
  return { test, lines: want.length, undefinedLines: want.filter(isUndefined).length, different, first, problem };
}
/** Tests that can be built here, with their outcome. */
export function runQemuTests(folder: string): Outcome[] {
  const dir = mkdtempSync(path.join(tmpdir(), 'kintsugi-qemu-')), out: Outcome[] = [];
  try {
    for (const f of readdirSync(folder).filter(n => /^test-i386.*\.c$/.test(n)).sort()) {
      const program = path.join(dir, 'program'), name = f.slice(0, -2);
      const extra = name === 'test-i386' ? readdirSync(folder).filter(n => n.endsWith('.S')).map(n => path.join(folder, n)) : [];
      const built = spawnSync('gcc', ['-m32', '-O2', '-fno-strict-aliasing', '-static', '-mmmx', '-msse', '-w', '-Wl,-z,execstack', '-o', program, path.join(folder, f), ...extra, '-lm'], { encoding: 'utf8' });
      if (built.status !== 0) { out.push(compare(name, '', { off: '', on: '' }, `gcc -m32 -static does not build it: ${built.stderr.split('\n')[0]}`)); continue; }
      const native = spawnSync(program, { maxBuffer: 1 << 28 }), elf = readFileSync(program);
      const off = runLinux(elf, { jit: 'off' }), on = runLinux(elf, { jit: 'on' });
      const text = (b: Uint8Array): string => Buffer.from(b).toString('latin1');
      const status = [native.status, off.status, on.status];
      out.push(compare(name, text(native.stdout), { off: text(off.output), on: text(on.output) }, off.problem || on.problem || (new Set(status).size > 1 ? `exit status ${status.join(', ')}` : '')));
    }
  } finally { rmSync(dir, { recursive: true, force: true }); }
  return out;
}

if (process.argv[1] === import.meta.filename) {
  if (process.argv.includes('--help')) { console.log(readFileSync(import.meta.filename, 'utf8').split('*/')[0]!.replace(/^\/\*\*|^ \* ?/gm, '')); process.exit(0); }
  const folder = qemuFolder();
  if (folder === null) { console.error(MISSING); process.exit(2); }
  const results = runQemuTests(folder);
  for (const r of results) {
    console.log(`${r.test.padEnd(28)} ${r.lines} lines, ${r.undefinedLines} of them undefined; different: tier 0 ${r.different.off}, JIT ${r.different.on} ${r.problem}`);
    for (const x of r.first) console.log(`    ${x}`);
  }
  if (process.argv.includes('--write')) writeFileSync(RESULTS, `${JSON.stringify(results, null, 1)}\n`);
  process.exitCode = results.some(r => r.problem !== '' || r.different.off + r.different.on > 0) ? 1 : 0;
}
