/** CPU models: CPUID, decoder, control registers and MSRs agree about what there is. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { ISA_DOCUMENT, isaDocument } from '../../vm/cpu/isa/document.ts';
import { CPU_MODELS, MODELS, modelNumber, type CpuModel, type Feature } from '../../vm/cpu/isa/models.ts';
import { Bench } from '../../vm/cpu/testdriver.ts';
import { CR4, S, VEC } from '../../vm/cpu/state.ts';

const CODE = 0x1000;
function bench(model: CpuModel, code: number[], registers: Parameters<Bench['registers']>[0] = {}, jit: 'on' | 'off' = 'off'): Bench {
  const b = new Bench({ jit, jitHeat: 100 });
  b.board.header.cpuModel = modelNumber(model);
  b.words[S.cr4 >> 2] |= CR4.OSFXSR;
  b.engine.stateChanged();
  b.load(CODE, code);
  b.registers({ eip: CODE, esp: 0x9000, ...registers });
  return b;
}
const cpuid = (model: CpuModel, leaf: number): number[] => {
  const b = bench(model, [0x0f, 0xa2], { eax: leaf, ecx: 0 });
  b.run(1);
  const { eax, ebx, ecx, edx } = b.read();
  return [eax, ebx, ecx, edx];
};

/** An instruction of each feature and where CPUID announces it: leaf, register, bit. */
const INSTRUCTIONS: readonly (readonly [Feature, number[], number, number, number])[] = [
  ['base', [0x0f, 0x42, 0xc1], 1, 3, 15], // cmovb
  ['base', [0x0f, 0xc7, 0x0b], 1, 3, 8], // cmpxchg8b [ebx]
  ['mmx', [0x0f, 0xfc, 0xc1], 1, 3, 23], // paddb mm0, mm1
  ['fxsr', [0x0f, 0xae, 0x03], 1, 3, 24], // fxsave [ebx]
  ['sse', [0x0f, 0x58, 0xc1], 1, 3, 25], ['sse', [0x0f, 0xc5, 0xc1, 0], 1, 3, 25], ['sse', [0x0f, 0xae, 0xf8], 1, 3, 25], // addps; pextrw eax, mm1, 0; sfence
  ['sse2', [0xf2, 0x0f, 0x58, 0xc1], 1, 3, 26], ['sse2', [0x66, 0x0f, 0xfe, 0xc1], 1, 3, 26], ['sse2', [0xf3, 0x0f, 0x6f, 0xc1], 1, 3, 26], ['sse2', [0x0f, 0xd4, 0xc1], 1, 3, 26], ['sse2', [0x0f, 0xc3, 0x03], 1, 3, 26],
  ['sse3', [0xf2, 0x0f, 0x7c, 0xc1], 1, 2, 0], ['sse3', [0xdb, 0x0b], 1, 2, 0], // haddps; fisttp [ebx]
  ['popcnt', [0xf3, 0x0f, 0xb8, 0xc1], 1, 2, 23], ['rdrand', [0x0f, 0xc7, 0xf0], 1, 2, 30], ['clflush', [0x0f, 0xae, 0x3b], 1, 3, 19],
  ['clwb', [0x66, 0x0f, 0xae, 0x33], 7, 1, 24], ['smap', [0x0f, 0x01, 0xcb], 7, 1, 20],
];

describe.each(CPU_MODELS)('--cpu %s', (name) => {
  const { features } = MODELS[modelNumber(name)];
  test('an instruction runs if and only if CPUID announces it', () => {
    for (const [feature, code, leaf, register, bit] of INSTRUCTIONS) {
      const announced = (cpuid(name, leaf)[register] >>> bit & 1) === 1;
      expect(announced, `${feature} ${code.map((x) => x.toString(16)).join(' ')}`).toBe(features.has(feature));
      const b = bench(name, [...code, 0x90], { ebx: 0x5000, eax: 0, ecx: 0 });
      b.run(1);
      if (announced) { expect(b.fault, feature).toBe(null); continue; }
      b.run(1);
      expect(b.fault, feature).toMatchObject({ vector: VEC.UD, eip: CODE });
    }
  });
  test('SYSENTER, SYSEXIT and their MSRs belong together', () => {
    for (const code of [[0x0f, 0x34], [0x0f, 0x35]]) {
      const b = bench(name, code);
      b.run(3);
      expect(b.fault).toMatchObject({ vector: features.has('sep') ? VEC.GP : VEC.UD, eip: CODE });
    }
    const b = bench(name, [0x0f, 0x32, 0x90], { ecx: 0x174 });
    b.run(2);
    if (features.has('sep')) expect(b.fault).toBe(null); else expect(b.fault).toMatchObject({ vector: VEC.GP });
  });
  test('CR4 takes the bits of its features and no others', () => {
    const allowed: [Feature, number][] = [['base', CR4.TSD | CR4.DE | CR4.PSE | CR4.PAE | CR4.MCE | CR4.PGE | CR4.PCE], ['fxsr', CR4.OSFXSR], ['sse', CR4.OSXMMEXCPT], ['umip', CR4.UMIP], ['smep', CR4.SMEP], ['smap', CR4.SMAP]];
    const mask = allowed.reduce((bits, [feature, of]) => features.has(feature) ? bits | of : bits, 0);
    for (let bit = 0; bit < 32; bit++) {
      const b = bench(name, [0x0f, 0x22, 0xe0, 0x90], { eax: 1 << bit });
      b.words[S.cr4 >> 2] = 0;
      b.run(2);
      if (mask & 1 << bit) expect(b.fault, `bit ${bit}`).toBe(null); else expect(b.fault, `bit ${bit}`).toMatchObject({ vector: VEC.GP, error: 0, eip: CODE });
    }
  });
  test('EFER, and NX, only where CPUID says so', () => {
    const b = bench(name, [0x0f, 0x32, 0x90], { ecx: 0xc0000080 | 0 });
    b.run(2);
    if (features.has('nx')) expect(b.fault).toBe(null); else expect(b.fault).toMatchObject({ vector: VEC.GP });
    expect(cpuid(name, 0x80000001 | 0)[3] >>> 20 & 1).toBe(features.has('nx') ? 1 : 0);
  });
  test('the highest leaf is the one that leaf 0 tells, and EDX is the signature at reset', () => {
    const [highest] = cpuid(name, 0);
    for (let leaf = highest + 1; leaf < 20; leaf++) expect(cpuid(name, leaf)).toEqual([0, 0, 0, 0]);
    const b = bench(name, []);
    b.engine.reset();
    expect(b.words[2]).toBe(cpuid(name, 1)[0]);
  });
});

test('a region has no instruction that the model lacks', () => {
  // dec ecx; jz +4; popcnt eax, ecx; jmp back
  const code = [0x49, 0x83, 0xf9, 0x05, 0x75, 0xfa, 0xf3, 0x0f, 0xb8, 0xc1, 0xeb, 0xf4];
  const b = bench('pentium2', code, { ecx: 500_000 }, 'on');
  for (let i = 0; i < 200 && !b.fault; i++) b.run(10_000);
  expect(b.words[S.countRegions >> 2]).toBeGreaterThan(0);
  expect(b.fault).toMatchObject({ vector: VEC.UD, eip: CODE + 6 });
});

describe('MSRs (SDM vol. 4)', () => {
  const write = (number: number, low: number, high = 0): Bench => { const b = bench('max', [0x0f, 0x30, 0x90], { ecx: number | 0, eax: low, edx: high }); b.run(2); return b; };
  test('unknown ones raise #GP(0), read and written', () => {
    let known = 0;
    const b = bench('max', [0x0f, 0x32, 0x90]);
    for (const number of [...Array.from({ length: 0x800 }, (_, i) => i), 0xc0000080, 0xc0000081, 0xc0000082, 0xc0000100, 0xc0000103, 0x12345678]) {
      b.words[S.runState >> 2] = 0;
      b.registers({ eip: CODE, esp: 0x9000, ecx: number | 0 });
      b.run(2);
      if (b.fault) expect(b.fault).toMatchObject({ vector: VEC.GP, error: 0, eip: CODE }); else known++;
    }
    expect(known).toBe(48);
    for (const number of [0xfe, 0x17, 0x179, 0x309, 0x3f1, 0xc0000081]) expect(write(number, 0).fault).toMatchObject({ vector: VEC.GP, error: 0 });
  });
  test('memory types and reserved bits of PAT, MTRRs and EFER are checked', () => {
    for (const [number, low, high, good] of [
      [0x277, 0x00070406, 0x00070406, true], [0x277, 0x00020406, 0, false], [0x2ff, 0xc06, 0, true], [0x2ff, 0xc02, 0, false], [0x2ff, 0x100, 0, false],
      [0x200, 0x10006, 0, true], [0x200, 0x10106, 0, false], [0x201, 0xfff00800, 0xf, true], [0x201, 0xfff00801, 0xf, false], [0x201, 0xfff00800, 0x10, false],
      [0x250, 0x06060606, 0, true], [0x250, 0x06060206, 0, false], [0xc0000080, 0x800, 0, true], [0xc0000080, 0x801, 0, false],
    ] as const) {
      const b = write(number, low | 0, high);
      if (good) expect(b.fault, `${number.toString(16)} ${low.toString(16)}`).toBe(null); else expect(b.fault, `${number.toString(16)} ${low.toString(16)}`).toMatchObject({ vector: VEC.GP, error: 0 });
    }
  });
});

test('docs/isa.md is current: node vm/cpu/isa/document.ts', () => { expect(readFileSync(ISA_DOCUMENT, 'utf8')).toBe(isaDocument()); });
