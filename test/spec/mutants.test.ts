import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { REPOSITORY_ROOT } from '../../vm/entry.ts';
import { MUTANTS } from './mutants.ts';

describe('deliberate bugs of the kernel', () => {
  it.each(MUTANTS)('$name changes one place: $breaks', ({ file, from, to }) => {
    const source = readFileSync(path.join(REPOSITORY_ROOT, 'microkernel', file), 'utf8');
    expect(source.split(from)).toHaveLength(2);
    expect(to).not.toBe(from);
  });
  it('at least thirty, each with a name of its own', () => {
    expect(new Set(MUTANTS.map(({ name }) => name)).size).toBe(MUTANTS.length);
    expect(MUTANTS.length).toBeGreaterThanOrEqual(30);
  });
});
