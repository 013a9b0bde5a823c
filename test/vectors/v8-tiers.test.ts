/** NaN bits, and every other bit of floating point, are the same whichever of V8's compilers has made the code. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { join } from 'node:path';
import { expect, it } from 'vitest';

const COUNT = process.env['KINTSUGI_FULL'] === undefined ? 50 : 4000;
const under = async (...flags: string[]): Promise<string> => (await promisify(execFile)(process.execPath, ['--no-warnings', ...flags, join(import.meta.dirname, 'v8-tiers.ts'), String(COUNT)], { maxBuffer: 1 << 24 })).stdout;

it('SSE and x87 leave the same bits under Liftoff, under TurboFan, and as V8 mixes them', { timeout: 600_000 }, async () => {
  const liftoff = await under('--liftoff-only'), turbofan = await under('--no-liftoff', '--no-wasm-lazy-compilation'), mixed = await under();
  expect(turbofan.split('\n')).toEqual(liftoff.split('\n'));
  expect(mixed.split('\n')).toEqual(liftoff.split('\n'));
  expect(liftoff.match(/[0-9a-f]{64}/g)).toHaveLength(8);
  expect(liftoff.match(/ 0 wrong/g)).toHaveLength(8);
});
