/**
 * The EFLAGS image that a fault in mid-block pushes: that of the instruction before it, though nobody else would have read those flags; in tier 0 and in regions.
 */
import { describe, expect, it } from 'vitest';
import { CR0, CR4, S, VEC } from '../../vm/cpu/state.ts';
import { ENTRIES } from '../../vm/cpu/isa/entries.ts';
import { bareMachine, CODE, le32 } from '../machine/bare.ts';
import { compileHere } from '../machine/hostile-program.ts';

const IDT = 0x21_0000, GDT = 0x22_0000, TABLES = 0x22_0100, DATA = 0x20_0000, STACK = 0x9_0000;
/** CF, PF, AF and ZF of 255 + 1 in eight bits; reserved bit 1. */
const WANTED = 0x57, ARITHMETIC = 0x8d5;

interface Case { readonly name: string; readonly bytes: readonly number[]; readonly vector: number; readonly cr0?: number; readonly cr4?: number; readonly mxcsr?: number; readonly fpu?: readonly number[]; readonly ebx?: number }
const M = le32(DATA);
const CASES: readonly Case[] = [
  { name: 'paddd xmm, xmm', bytes: [0x66, 0x0f, 0xfe, 0xc1], vector: VEC.NM, cr0: CR0.TS },
  { name: 'addps xmm, xmm', bytes: [0x0f, 0x58, 0xc1], vector: VEC.NM, cr0: CR0.TS },
  { name: 'addps xmm, xmm', bytes: [0x0f, 0x58, 0xc1], vector: VEC.UD, cr0: CR0.EM },
  { name: 'movd eax, xmm', bytes: [0x66, 0x0f, 0x7e, 0xc0], vector: VEC.NM, cr0: CR0.TS },
  { name: 'paddd mm, mm', bytes: [0x0f, 0xfe, 0xc1], vector: VEC.NM, cr0: CR0.TS },
  { name: 'paddd mm, mm', bytes: [0x0f, 0xfe, 0xc1], vector: VEC.UD, cr0: CR0.EM },
  { name: 'emms', bytes: [0x0f, 0x77], vector: VEC.NM, cr0: CR0.TS },
  { name: 'fld1', bytes: [0xd9, 0xe8], vector: VEC.NM, cr0: CR0.TS },
  { name: 'fadd st, st(1)', bytes: [0xd8, 0xc1], vector: VEC.NM, cr0: CR0.EM },
  { name: 'fldz, an exception pending', bytes: [0xd9, 0xee], vector: VEC.MF, fpu: [0x80, 0x80] }, // ES, with ZE unmasked
  { name: 'paddd mm, mm, an exception pending', bytes: [0x0f, 0xfe, 0xc1], vector: VEC.MF, fpu: [0x80, 0x80] },
  { name: 'fwait', bytes: [0x9b], vector: VEC.NM, cr0: CR0.TS | CR0.MP },
  { name: 'divps, by zero', bytes: [0x0f, 0x5e, 0xc1], vector: VEC.XM, mxcsr: 0x1f80 & ~0x200 & ~0x80 },
  { name: 'divsd, by zero', bytes: [0xf2, 0x0f, 0x5e, 0xc1], vector: VEC.XM, mxcsr: 0x1f80 & ~0x200 & ~0x80 },
  { name: 'cvttsd2si, of a NaN', bytes: [0xf2, 0x0f, 0x2c, 0xc2], vector: VEC.XM, mxcsr: 0x1f80 & ~0x80 },
  { name: 'div edx', bytes: [0xf7, 0xf2], vector: VEC.DE },
  { name: 'movaps xmm, misaligned', bytes: [0x0f, 0x28, 0x05, ...le32(DATA + 4)], vector: VEC.GP },
  { name: 'bound', bytes: [0x62, 0x05, ...M], vector: VEC.BR },
  { name: 'undefined', bytes: [0x0f, 0x0b], vector: VEC.UD },
  { name: 'mov cr6, eax', bytes: [0x0f, 0x22, 0xf0], vector: VEC.UD },
  { name: 'mov cr4, ecx of reserved bits', bytes: [0x0f, 0x22, 0xe0], vector: VEC.GP },
  { name: 'mov ds, bx', bytes: [0x8e, 0xdb], vector: VEC.GP, ebx: 0x101 },
  { name: 'mov eax, [FFFFFFFFh]', bytes: [0xa1, ...le32(-1)], vector: VEC.GP },
];

/** CR0, CR4 set; flags ZF and PF; 255 + 1; the case; flags overwritten. */
function program(c: Case): number[] {
  return [
    0xbc, ...le32(STACK), 0x0f, 0x01, 0x15, ...le32(TABLES), 0x0f, 0x01, 0x1d, ...le32(TABLES + 8), // mov esp; lgdt; lidt
    0xb8, ...le32(CR4.OSFXSR | CR4.OSXMMEXCPT | (c.cr4 ?? 0)), 0x0f, 0x22, 0xe0, 0xb8, ...le32(CR0.PE | CR0.ET | CR0.NE | (c.cr0 ?? 0)), 0x0f, 0x22, 0xc0, // mov cr4, eax; mov cr0, eax
    0xb8, ...le32(0x1234_56ff), 0xbb, ...le32(c.ebx ?? 0x0001_0001), 0x31, 0xc9, 0x31, 0xd2, 0xeb, 0, // mov eax; mov ebx; xor ecx, ecx; xor edx, edx; jmp next
    0x31, 0xff, 0x00, 0xd8, ...c.bytes, 0x31, 0xff, 0x31, 0xd2, 0xb0, 1, 0xe6, 0xf4, // xor edi, edi; add al, bl; ...; xor edi, edi; xor edx, edx; out f4h, 1
  ];
}
const SETUP = 12;

function pushed(c: Case, jit: boolean): { readonly vector: number; readonly flags: number; readonly eip: number } {
  const code = program(c), m = bareMachine([...code, 0xeb, 0xfe], { jit: jit ? 'on' : 'off' });
  const { ramWords } = m.board, w = m.cpus.words(0), put = (address: number, ...words: number[]): void => { words.forEach((word, k) => { ramWords[(address >> 2) + k] = word; }); m.board.markDirty(address, 4 * words.length); };
  put(GDT, 0, 0, 0xffff, 0x00cf_9b00, 0xffff, 0x00cf_9300);
  put(TABLES, 23 | GDT << 16, GDT >>> 16, 0x7ff | IDT << 16, IDT >>> 16);
  // Handlers: hlt; 16 bytes each.
  for (let n = 0; n < 32; n++) { put(0x23_0000 + 16 * n, 0xf4f4_f4f4); put(IDT + 8 * n, 8 << 16 | 16 * n, 0x23_0000 | 0x8e00); }
  put(DATA, 0x7000_0000, 0x7000_0001, 0, 0); // bounds that eax is not within
  for (const engine of m.engines) engine.invalidateAll();
  // One in every element by zero; a quiet NaN.
  for (let n = 0; n < 4; n++) { w[(S.xmm >> 2) + n] = 0x3f80_0000; w[(S.xmm >> 2) + 4 + n] = 0; w[(S.xmm >> 2) + 8 + n] = 0x7ff8_0001; }
  if (c.mxcsr !== undefined) w[S.mxcsr >> 2] = c.mxcsr;
  if (c.fpu) { w[S.fpuStatus >> 2] = c.fpu[0]! | 4; w[S.fpuControl >> 2] = 0x37f & ~4; }
  m.runFor(SETUP);
  if (jit) { expect(compileHere(m)).toBe(true); }
  m.runFor(500);
  const eip = w[S.eip >> 2]!, vector = eip - 0x23_0000 >> 4, top = w[S.esp >> 2]!, at = top + ([8, 10, 11, 12, 13, 14, 17].includes(vector) ? 4 : 0) >> 2;
  const inRegions = w[S.countInRegions >> 2]!, end = { vector, flags: ramWords[at + 2]! & ARITHMETIC | 2, eip: ramWords[at]! };
  m.close();
  if (jit) expect(inRegions, c.name).toBeGreaterThan(0);
  return end;
}

describe.each([['tier 0', false], ['regions', true]] as const)('the flags a fault pushes, %s', (_name, jit) => {
  const faulting = CODE + program({ name: '', bytes: [], vector: 0 }).length - 8; // the tail behind it
  it.each(CASES)('$name: vector $vector', c => {
    expect(pushed(c, jit)).toEqual({ vector: c.vector, flags: WANTED, eip: faulting });
  });
});

it('every row of the instruction table that can raise an exception without a memory operand counts as faulting', () => {
  expect(ENTRIES.filter(({ name, sse, mmx, fpu, js, fault }) => (sse || mmx || fpu || js || name === 'xlat') && !fault).map(({ name }) => name)).toEqual([]);
});
