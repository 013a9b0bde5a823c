/** Decoder and disassembler text against iced-x86 on the instructions of real code: the vectors' snippets. */
import { Decoder, DecoderOptions, Mnemonic } from 'iced-x86';
import { expect, test } from 'vitest';
import { disassemble } from '../../vm/cpu/isa/disassemble.ts';
import { MODE } from '../../vm/cpu/state.ts';
import { loadGroup, vectorGroups } from '../vectors/run.ts';

const CODE32 = MODE.CODE32 | MODE.STACK32 | MODE.PROTECTED;
const text = (...bytes: number[]): string => disassemble(Uint8Array.from(bytes), 0x1000, CODE32).map(line => line.text).join('; ');

test('operands are written in Intel syntax', () => {
  expect(text(0x01, 0xd8)).toBe('add eax, ebx');
  expect(text(0x8b, 0x44, 0x8d, 0xfc)).toBe('mov eax, [ebp+ecx*4-4]');
  expect(text(0x65, 0xc7, 0x05, 0x10, 0, 0, 0, 1, 0, 0, 0)).toBe('mov dword gs:[0x10], 1');
  expect(text(0x66, 0x0f, 0xb6, 0x00)).toBe('movzx ax, byte [eax]');
  expect(text(0xf3, 0xa5, 0xe8, 0, 0, 0, 0, 0x0f, 0x22, 0xd8)).toBe('rep movsd; call 0x1007; mov cr3, eax');
  expect(text(0xf0, 0x0f, 0xc1, 0x03, 0x0f, 0x0b, 0x0f, 0xff)).toBe('lock xadd [ebx], eax; ud2; ud0');
});

test('x87 and MMX are written as assemblers write them', () => {
  expect(text(0xd8, 0xc1, 0xdc, 0xe1, 0xde, 0xf1, 0xdd, 0x45, 0xf8, 0xdb, 0x38)).toBe('fadd st0, st1; fsubr st1, st0; fdivrp st1, st0; fld qword [ebp-8]; fstp tword [eax]');
  expect(text(0xd9, 0xeb, 0xdb, 0xf1, 0xdf, 0xe0, 0xd9, 0x2c, 0x24, 0xda, 0xe9, 0x9b)).toBe('fldpi; fcomi st0, st1; fnstsw ax; fldcw word [esp]; fucompp; fwait');
  expect(text(0x0f, 0xfc, 0xc1, 0x0f, 0x6e, 0xd8, 0x0f, 0x71, 0xd2, 4, 0xf3, 0x0f, 0xd6, 0xcb, 0x0f, 0x77)).toBe('paddb mm0, mm1; movd mm3, eax; psrlw mm2, 4; movq2dq xmm1, mm3; emms');
  expect(text(0xd9, 0xd8, 0x66, 0x0f, 0x77)).toBe('(bad); (bad)');
});

test('lengths agree with iced-x86 on every instruction of the vectors', () => {
  const seen = new Set<string>();
  let compared = 0;
  for (const name of vectorGroups()) {
    for (const { code } of loadGroup(name).vectors) {
      const key = Buffer.from(code).toString('hex');
      if (seen.has(key) || seen.size > 6000) continue;
      seen.add(key);
      const ours = disassemble(code, 0, CODE32);
      const decoder = new Decoder(32, code, DecoderOptions.None);
      for (const line of ours) {
        const theirs = decoder.decode();
        const bad = theirs.mnemonic === Mnemonic.INVALID || line.text === '(bad)' || line.text === '(incomplete)';
        const length = theirs.length;
        theirs.free();
        if (bad) break;
        compared++;
        if (length !== line.length) expect.fail(`${key}: ${line.text} is ${length} bytes long, decoded ${line.length}`);
      }
      decoder.free();
    }
  }
  expect(compared).toBeGreaterThan(5000);
});
