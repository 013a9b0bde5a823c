import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { Stack } from './stack.ts';

test('the names of the counters are those of the constants, in their order', async () => {
  const source = readFileSync(new URL('../../servers/net/counters.ts', import.meta.url), 'utf8');
  const constants = [...source.matchAll(/^export const C_([A-Z0-9_]+): u32 = (\d+);/gm)];
  expect(constants.map((m) => Number(m[2]))).toEqual(constants.map((_, n) => n));
  const stack = await Stack.start();
  expect(Object.keys(stack.counters())).toEqual(constants.map((m) => m[1]!.toLowerCase()));
});
