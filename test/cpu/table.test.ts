/** The instruction table is complete: whatever it names can be executed. A row without semantics would stop the host, not the guest. */
import { describe, expect, it } from 'vitest';
import { ENTRIES } from '../../vm/cpu/isa/entries.ts';
import { SEMANTICS } from '../../vm/cpu/lower/index.ts';
import { hasOperation } from '../../vm/cpu/system/operations.ts';

describe('every row of the instruction table', () => {
  it('has a lowering, or a helper where it is marked js', () => {
    expect(ENTRIES.filter(({ js, name }) => !js && !SEMANTICS[name]).map(({ name }) => name)).toEqual([]);
    expect(ENTRIES.filter(({ js, name }) => js && !hasOperation(name)).map(({ name }) => name)).toEqual([]);
  });
});
