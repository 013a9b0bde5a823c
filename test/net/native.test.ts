/**
 * The core as i386 machine code (guest/segments.ts, a static Linux program): one connection under load, both ways, with and without checksums by the device. Its instructions
 * for each full segment are what counts: `valgrind --tool=callgrind FILE 1 1` over 16,000 segments (FILE: run this test with KINTSUGI_KEEP=FILE).
 */
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildTarget } from '../../tools/build/build.ts';
import { generate } from '../../tools/build/generate.ts';

let folder = '';
beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'net-native-'));
  await generate();
  const { elf } = await buildTarget({ name: 'segments', entry: 'test/net/guest/segments.ts', kind: 'linux', runtime: 'stub' });
  writeFileSync(path.join(folder, 'segments'), elf, { mode: 0o755 });
  if (process.env['KINTSUGI_KEEP'] !== undefined) copyFileSync(path.join(folder, 'segments'), process.env['KINTSUGI_KEEP']);
});
afterAll(() => { rmSync(folder, { recursive: true, force: true }); });

test.each([[1, 'receives'], [2, 'sends'], [3, 'sends, with sums of its own'], [4, 'receives, with sums of its own']])('mode %i: as i386 the core %s 16,000 segments', (mode) => {
  const run = spawnSync(path.join(folder, 'segments'), [String(mode), '1'], { timeout: 60_000 });
  expect([run.status, run.signal]).toEqual([0, null]);
});
