/** INVLPG in generated code, and stores to page tables from regions: what they cost, and that translations go with them. */
import { describe, expect, test } from 'vitest';
import { Bench, type BenchOptions } from '../../vm/cpu/testdriver.ts';
import { CR0, CR4, S, SEG } from '../../vm/cpu/state.ts';
import { le32 } from '../machine/bare.ts';

const ROOT = 0x100000, TABLE = 0x101000, ROOT2 = 0x102000, DATA = 0x200000, OTHER = 0x201000, CODE = 0x1000;

/** Identity map of 4 MiB by small pages in two address spaces (one table), 4 to 8 MiB by a large page onto the first 4. */
function paged(options: BenchOptions = {}, fast = true): Bench {
  const b = new Bench(options), { ramWords } = b.board;
  b.engine.blocks.fastOperations = fast;
  for (const root of [ROOT, ROOT2]) { ramWords[root >> 2] = TABLE | 7; ramWords[(root >> 2) + 1] = 0x87; }
  for (let i = 0; i < 1024; i++) ramWords[(TABLE >> 2) + i] = i << 12 | 7;
  ramWords[DATA >> 2] = 1; ramWords[OTHER >> 2] = 2;
  b.words[S.cr3 >> 2] = ROOT;
  b.words[S.cr4 >> 2] = CR4.PSE;
  b.words[S.cr0 >> 2] = b.words[S.cr0 >> 2]! | CR0.PG;
  b.engine.stateChanged();
  return b;
}
const helpers = (b: Bench): number => b.words[S.countJsOps >> 2]!;
function run(b: Bench, code: number[], registers: Parameters<Bench['registers']>[0] = {}): number {
  b.load(CODE, [...code, 0xf4]);
  b.words[S.runState >> 2] = 0;
  b.registers({ eip: CODE, ...registers });
  b.run(10_000);
  return b.read().eax;
}
const LOAD = [0xa1, ...le32(DATA)]; // mov eax, [DATA]
/** The table is changed behind the machine's back: only INVLPG tells. */
const turn = (b: Bench, to: number): void => { b.board.ramWords[(TABLE >> 2) + (DATA >> 12)] = to | 7; };

describe('INVLPG', () => {
  test.each<[string, number[], Parameters<Bench['registers']>[0], number]>([
    ['[edi]', [0x0f, 0x01, 0x3f], { edi: DATA + 4 }, 1],
    ['[disp32]', [0x0f, 0x01, 0x3d, ...le32(DATA)], {}, 1],
    ['[ebx + esi * 4 + disp8]', [0x0f, 0x01, 0x7c, 0xb3, 0x10], { ebx: DATA - 0x400, esi: 0x100 }, 1],
    ['fs:[edi], whose base counts', [0x64, 0x0f, 0x01, 0x3f], { edi: 0x1000 }, 1],
    ['[di], by the helper', [0x67, 0x0f, 0x01, 0x3d], { edi: 0 }, 2],
  ])('%s', (what, code, registers, calls) => {
    for (const fast of [true, false]) {
      const b = paged({}, fast);
      b.engine.cpu.setSegment(SEG.FS, 0x18, DATA - 0x1000, -1, 0xc093);
      b.engine.stateChanged();
      expect(run(b, LOAD)).toBe(1);
      turn(b, OTHER);
      expect(run(b, LOAD)).toBe(1);
      const before = helpers(b), after = run(b, [...code, ...LOAD], registers);
      expect([after, helpers(b) - before], what).toEqual([what.includes('[di]') ? 1 : 2, fast ? calls : 2]); // and HLT
    }
  });
  test('the other address space loses the page too, and a store to it', () => {
    const b = paged(), space = (root: number): number[] => [0xb8, ...le32(root), 0x0f, 0x22, 0xd8]; // mov eax, root; mov cr3, eax
    for (const root of [ROOT, ROOT2, ROOT]) expect(run(b, [...space(root), ...LOAD])).toBe(1);
    turn(b, OTHER);
    expect(run(b, [0x0f, 0x01, 0x3d, ...le32(DATA), ...space(ROOT2), ...LOAD])).toBe(2);
    turn(b, DATA);
    expect(run(b, [0x0f, 0x01, 0x3d, ...le32(DATA), ...space(ROOT), 0xc6, 0x05, ...le32(DATA), 9, ...LOAD])).toBe(9);
    expect([b.board.ram[DATA], b.board.ram[OTHER]]).toEqual([9, 2]);
  });
  test('a page of a large one, and one with code: the helper', () => {
    const b = paged();
    for (const va of [0x400000 + DATA, CODE]) {
      run(b, [0xa1, ...le32(va)]);
      const before = helpers(b);
      run(b, [0x0f, 0x01, 0x3d, ...le32(va), 0x90]);
      expect(helpers(b) - before).toBe(2);
    }
  });
  test('in ring 3 it is #GP', () => {
    const b = paged();
    b.enterRing3();
    b.load(CODE, [0x0f, 0x01, 0x3f, 0xf4]);
    b.registers({ eip: CODE, edi: DATA, esp: 0x9000 });
    b.run(100);
    expect(b.fault).toMatchObject({ vector: 13, error: 0, eip: CODE });
  });
});

describe('stores to page tables', () => {
  /** mov [esi], 0; invlpg [edi]; mov [esi], edx; add ebx, [edi]; dec ecx; jnz: a page unmapped and mapped again. */
  const REMAP = [0xc7, 0x06, 0, 0, 0, 0, 0x0f, 0x01, 0x3f, 0x89, 0x16, 0x03, 0x1f, 0x49, 0x75, 0xf0];
  const remap = (b: Bench, turns: number): void => {
    b.load(CODE, [...REMAP, 0xf4]);
    b.words[S.runState >> 2] = 0;
    b.registers({ eip: CODE, ebx: 0, ecx: turns, edx: DATA | 7, esi: TABLE + (DATA >> 12) * 4, edi: DATA });
    b.run(1_000_000);
  };
  test.each<BenchOptions>([{}, { jit: 'on', jitHeat: 2000 }])('one slow path for each store and each new translation, in both tiers: %o', (options) => {
    const b = paged(options), turns = 2000;
    remap(b, 10_000);
    const before = { slow: b.words[S.countSlow >> 2]!, helpers: helpers(b), misses: b.words[S.countMisses >> 2]! };
    remap(b, turns);
    expect(b.read().ebx).toBe(turns);
    expect((b.words[S.countSlow >> 2]! - before.slow) / turns).toBeLessThan(3.1);
    expect(helpers(b) - before.helpers).toBe(1); // HLT
    expect(b.words[S.countMisses >> 2]! - before.misses).toBeLessThan(20);
  });
  test('both tiers agree, cut anywhere', () => {
    const outcome = (options: BenchOptions, piece: number): unknown => {
      const b = paged(options);
      b.load(CODE, [...REMAP, 0xf4]);
      b.registers({ eip: CODE, ebx: 0, ecx: 1500, edx: DATA | 7, esi: TABLE + (DATA >> 12) * 4, edi: DATA });
      for (let n = 0; n < 20_000 && b.run(piece) !== 'halt'; n++) { /* on */ }
      return [b.read(), b.engine.retired, b.peek32(TABLE + (DATA >> 12) * 4)];
    };
    const whole = outcome({}, 1_000_000);
    for (const piece of [1, 7, 1000]) for (const options of [{}, { jit: 'on', jitHeat: 1000 } as const]) expect(outcome(options, piece)).toEqual(whole);
  });
});
