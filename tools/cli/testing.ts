/**
 * `./kintsugi test`: type check of every layer, guest build, then vitest. The last line is `N passed, N failed, N skipped`, so that a
 * machine can read it. `--full` also runs the slow suites (KINTSUGI_FULL=1 in the tests).
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { REPOSITORY_ROOT } from '../../vm/entry.ts';
import { EXIT } from './errors.ts';

export interface TestOptions { readonly full: boolean; readonly filters: readonly string[]; readonly typecheck: boolean }

interface VitestReport { readonly numPassedTests: number; readonly numFailedTests: number; readonly numPendingTests: number; readonly numTodoTests: number; readonly numFailedTestSuites: number }

/** Runs everything and returns the exit status. */
export function runTests(options: TestOptions): number {
  const node = (args: readonly string[], env: NodeJS.ProcessEnv = process.env): number =>
    spawnSync(process.execPath, args, { cwd: REPOSITORY_ROOT, stdio: ['ignore', 'inherit', 'inherit'], env }).status ?? EXIT.internal;
  // Every tool that the tests start must find the same Node as we run on.
  const env = { ...process.env, PATH: `${path.dirname(process.execPath)}${path.delimiter}${process.env['PATH'] ?? ''}`, ...(options.full ? { KINTSUGI_FULL: '1' } : {}) };

  if (options.typecheck && node(['node_modules/typescript/bin/tsc', '-b'], env) !== 0) {
    process.stderr.write('kintsugi test: the type check failed\n');
    return EXIT.failure;
  }
  const build = node(['tools/build/system.ts'], env);
  if (build !== 0) {
    process.stderr.write('kintsugi test: the guest build failed\n');
    return EXIT.failure;
  }
  const report = path.join(REPOSITORY_ROOT, 'build', 'test-report.json');
  mkdirSync(path.dirname(report), { recursive: true });
  rmSync(report, { force: true });
  const status = node(['node_modules/vitest/vitest.mjs', 'run', '--reporter=default', '--reporter=./test/unsteady.ts', '--reporter=json', `--outputFile.json=${report}`, ...options.filters], env);
  let counts: VitestReport;
  try {
    counts = JSON.parse(readFileSync(report, 'utf8')) as VitestReport;
  } catch {
    process.stderr.write('kintsugi test: vitest left no report\n');
    return EXIT.failure;
  }
  const failed = counts.numFailedTests + (counts.numFailedTests === 0 ? counts.numFailedTestSuites : 0);
  process.stdout.write(`${counts.numPassedTests} passed, ${failed} failed, ${counts.numPendingTests + counts.numTodoTests} skipped\n`);
  return status === 0 && failed === 0 && counts.numPassedTests > 0 ? EXIT.ok : EXIT.failure;
}
