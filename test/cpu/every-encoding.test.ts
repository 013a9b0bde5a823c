/**
 * Every opcode with every ModRM byte, with prefixes, in rings 0 and 3: whatever the bytes are, the engine executes them or raises an exception of the guest's, and retires at most
 * one instruction; now and then the same bytes in a region. All prefixes with KINTSUGI_FULL.
 */
import { describe, expect, it } from 'vitest';
import { Bench } from '../../vm/cpu/testdriver.ts';
import { RUN, S } from '../../vm/cpu/state.ts';

const FULL = process.env['KINTSUGI_FULL'] !== undefined;
const CODE = 0x1_0000, DATA = 0x2_0000;
const PREFIXES: readonly (readonly number[])[] = FULL ? [[], [0x66], [0xf2], [0xf3], [0x67], [0xf0], [0x66, 0x67], [0x66, 0xf3], [0x64]] : [[]];
/** ModRM bytes: all with KINTSUGI_FULL, else those of two register operands, and the register forms of one. */
const MODRM = Array.from({ length: 256 }, (_, modrm) => modrm).filter((modrm) => FULL || (modrm & 7) === 0 || (modrm & 7) === 4 || modrm >= 0xf8);

describe.each([['ring 0', false], ['ring 3', true]] as const)('every encoding, %s', (_ring, user) => {
  it('is executed or is an exception', { timeout: 1_200_000 }, () => {
    const b = new Bench({ jit: 'on' }), { engine, words } = b;
    words[S.cr4 >> 2]! |= 0x600; // OSFXSR, OSXMMEXCPT
    if (user) b.enterRing3();
    engine.stateChanged();
    const saved = words.slice(0, 0x500 >> 2), ends = new Map<string, number>();
    let cases = 0, regions = 0;
    const seen = (end: string): void => { ends.set(end, (ends.get(end) ?? 0) + 1); };
    for (const map of [[], [0x0f]]) for (let opcode = 0; opcode < 256; opcode++) for (const prefix of PREFIXES) for (const modrm of MODRM) {
      const bytes = [...prefix, ...map, opcode, modrm, 0x24, 0x10, 0, 0, 0, 0x10, 0, 0, 0, 0xf4];
      try {
        words.set(saved);
        words.fill(DATA, 0, 4); words.fill(DATA + 64, 5, 8); words[1] = 3; words[4] = DATA + 0x800;
        words[S.eip >> 2] = CODE; words[S.runState >> 2] = RUN.running; words[S.shadow >> 2] = 0;
        engine.stateChanged();
        b.load(CODE, bytes);
        const before = engine.retired, exit = b.run(1);
        if (engine.retired - before > 1) throw new Error(`${engine.retired - before} instructions retired`);
        seen(b.fault ? 'exception' : exit);
        if (++cases % (FULL ? 97 : 397) === 0) {
          words[S.eip >> 2] = CODE; words[S.runState >> 2] = RUN.running; words[S.shadow >> 2] = 0;
          if (engine.compileRegion()) { regions++; b.run(3); }
        }
      } catch (error) { throw new Error(`${bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(' ')}: ${error instanceof Error ? error.stack : String(error)}`, { cause: error }); }
    }
    expect(cases).toBe(512 * PREFIXES.length * MODRM.length);
    expect(ends.get('budget')).toBeGreaterThan(cases / 4);
    expect(ends.get('exception')).toBeGreaterThan(cases / 20);
    expect(regions).toBeGreaterThan(20);
  });
});
