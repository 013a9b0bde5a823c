/** Locked instructions in parallel mode: atomic wherever the page is, and with the results of the plain ones. Threads against each other: test/guests smp.c. */
import { describe, expect, test } from 'vitest';
import { Bench } from '../../vm/cpu/testdriver.ts';
import { S } from '../../vm/cpu/state.ts';

const CODE = 0x1000, DATA = 0x5000;
/** [ebx] is memory, ecx, eax and edx:eax, ecx:ebx are what they are in the instruction. */
const LOCKED: Record<string, number[]> = {
  'add [ebx], ecx': [0xf0, 0x01, 0x0b], 'add [ebx], cx': [0x66, 0xf0, 0x01, 0x0b], 'add [ebx], cl': [0xf0, 0x00, 0x0b],
  'sub [ebx], ecx': [0xf0, 0x29, 0x0b], 'and [ebx], ecx': [0xf0, 0x21, 0x0b], 'or [ebx], ecx': [0xf0, 0x09, 0x0b], 'xor [ebx], ecx': [0xf0, 0x31, 0x0b],
  'adc [ebx], ecx': [0xf0, 0x11, 0x0b], 'adc [ebx], cl': [0xf0, 0x10, 0x0b], 'sbb [ebx], ecx': [0xf0, 0x19, 0x0b],
  'inc [ebx]': [0xf0, 0xff, 0x03], 'dec [ebx]': [0xf0, 0xff, 0x0b], 'neg [ebx]': [0xf0, 0xf7, 0x1b], 'not [ebx]': [0xf0, 0xf7, 0x13],
  'xchg [ebx], ecx': [0x87, 0x0b], 'xchg [ebx], cx': [0x66, 0x87, 0x0b], 'xchg [ebx], cl': [0x86, 0x0b], 'xadd [ebx], ecx': [0xf0, 0x0f, 0xc1, 0x0b],
  'cmpxchg [ebx], ecx': [0xf0, 0x0f, 0xb1, 0x0b], 'cmpxchg [ebx], cl': [0xf0, 0x0f, 0xb0, 0x0b],
  'bts [ebx], ecx': [0xf0, 0x0f, 0xab, 0x0b], 'btr [ebx], 5': [0xf0, 0x0f, 0xba, 0x33, 5], 'btc [ebx], 5': [0xf0, 0x0f, 0xba, 0x3b, 5],
  'cmpxchg8b [esi]': [0xf0, 0x0f, 0xc7, 0x0e],
};
type Outcome = { registers: unknown; memory: number[] };
function outcome(parallel: boolean, code: number[], value: number, offset: number, prepare: (b: Bench) => void): Outcome {
  const b = new Bench({ parallel });
  b.load(CODE, code);
  b.poke32(DATA + offset, value);
  b.poke32(DATA + offset + 4, 0x01020304);
  b.registers({ eip: CODE, esp: 0x9000, eax: 0x7ffffff5 | 0, edx: 0x01020304, ecx: 0x11, ebx: DATA + offset, esi: DATA + offset, eflags: 0x203 });
  prepare(b);
  expect(b.run(1)).toBe('budget');
  return { registers: b.read(), memory: [...b.peek(DATA + offset - 4, 16)] };
}

describe('a locked instruction', () => {
  const touch = (b: Bench): void => { b.engine.mmu.write(DATA + 0x800, 4, 1, false); };
  const places: Record<string, [number, (b: Bench) => void]> = {
    'whose page has no translation': [0x10, () => undefined],
    'whose page has one': [0x10, touch],
    'on misaligned memory': [0x11, touch],
    'on misaligned memory without translation': [0x11, () => undefined],
    'across two pages': [0xffe, () => undefined],
    'on a page that holds code': [0x10, (b) => { b.load(DATA + 0x800, [0x90, 0xeb, 0xfd]); b.registers({ eip: DATA + 0x800 }); b.run(4); b.registers({ eip: CODE }); }],
  };
  for (const [place, [offset, prepare]] of Object.entries(places)) {
    test(`${place} does what the plain one does`, () => {
      for (const [name, code] of Object.entries(LOCKED)) for (const value of [0, 5, 0x7ffffff5, -1, -0x80000000]) {
        expect(outcome(true, code, value | 0, offset, prepare), `${name}, ${value}`).toEqual(outcome(false, code, value | 0, offset, prepare));
      }
    });
  }

  test('is one step where the page has no translation: nothing comes between its read and its write', () => {
    for (const [name, code] of Object.entries(LOCKED)) {
      const b = new Bench({ parallel: true });
      b.load(CODE, code);
      b.poke32(DATA, 5);
      b.registers({ eip: CODE, esp: 0x9000, eax: 5, edx: 0, ecx: 3, ebx: DATA, esi: DATA });
      // Every write that reaches guest memory through the slow path must be a single atomic one.
      let plainWrites = 0;
      const slowWrite = b.engine.mmu.slowWrite.bind(b.engine.mmu);
      b.engine.mmu.slowWrite = (va, value, size) => { if (va >>> 12 === DATA >>> 12) plainWrites++; slowWrite(va, value, size); };
      b.run(1);
      expect(b.words[S.countSlow >> 2], name).toBeGreaterThan(0);
      expect(plainWrites, name).toBe(0);
    }
  });

  test('that stores into the running code takes effect at the next instruction', () => {
    const b = new Bench({ parallel: true });
    b.load(CODE, [0xf0, 0xfe, 0x05, 0x08, 0x10, 0, 0, 0xb0, 1, 0xf4]); // lock inc byte [1008h]; mov al, 1; hlt
    b.registers({ eip: CODE, esp: 0x9000, eax: 0 });
    expect(b.run(10)).toBe('halt');
    expect(b.read().eax).toBe(2);
  });
});
