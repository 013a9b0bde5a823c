/** Every form of the instruction table: iced-x86 decodes our bytes as the same instruction with the same operands and length. */
import { Decoder, DecoderOptions, Formatter, FormatterSyntax } from 'iced-x86';
import { describe, expect, it } from 'vitest';
import { CodeBuffer } from '../../tools/build/x86/encode.ts';
import { imm, mem, type Mem, type Operand, type Reg, regName } from '../../tools/build/x86/operands.ts';
import { type Form, FORMS } from '../../tools/build/x86/table.ts';

const reg = (cls: Reg['cls'], num: number): Reg => ({ kind: 'reg', cls, num });
const r32 = (n: number): Reg => reg('r32', n);
/** Addresses that need every kind of ModRM and SIB byte. */
const addresses = (size: number): Mem[] => [
  mem(size, r32(0)), mem(size, r32(5)), mem(size, r32(4)), mem(size, r32(3), 0x7f), mem(size, r32(6), -0x80), mem(size, r32(2), 0x80), mem(size, r32(4), 0x1234), mem(size, 0x12345678), mem(size, r32(1), [r32(2), 4]),
  mem(size, r32(5), [r32(7), 8]), mem(size, r32(5), [r32(0), 1], 5), mem(size, [r32(6), 4], 0x100), mem(size, r32(4), [r32(5), 2], -4), mem(size, r32(7), [r32(5), 1], 0x12345678),
];
function choices(pattern: string, size: number): Operand[] {
  const wide = size === 2 ? 'r16' : 'r32';
  switch (pattern) {
    case 'r8': return [0, 3, 5, 7].map((n) => reg('r8', n));
    case 'r16': return [0, 4, 7].map((n) => reg('r16', n));
    case 'r32': return [0, 3, 4, 5, 7].map(r32);
    case 'rv': return [1, 3, 4, 7].map((n) => reg(wide, n));
    case 'rm8': return [reg('r8', 2), reg('r8', 6), ...addresses(1)];
    case 'rm16': return [reg('r16', 2), ...addresses(2)];
    case 'rm32': return [r32(2), ...addresses(4)];
    case 'rmv': return [reg(wide, 2), reg(wide, 5), ...addresses(size)];
    case 'rg': return [r32(1), r32(6)];
    case 'rm': return [reg('r16', 3)];
    case 'm': return addresses(0);
    case 'moffs': return [mem(0, 0x1234), mem(0, 0x7fffffff)];
    case 'i8': return [imm(0x12), imm(0x7f)];
    case 's8': return [imm(0x12), imm(-0x80), imm(-1)];
    case 'i16': return [imm(0x1234)];
    case 'i32': return [imm(0x12345678)];
    case 'iv': return [imm(size === 2 ? 0x1234 : 0x12345678)];
    case 'one': return [imm(1)];
    case 'al': return [reg('r8', 0)];
    case 'cl': return [reg('r8', 1)];
    case 'dx': return [reg('r16', 2)];
    case 'eav': return [reg(wide, 0)];
    case 'x': case 'xr': return [reg('xmm', 0), reg('xmm', 7)];
    case 'xm32': return [reg('xmm', 3), ...addresses(4)];
    case 'xm64': return [reg('xmm', 3), ...addresses(8)];
    case 'xm128': return [reg('xmm', 3), ...addresses(16)];
    case 'sreg': return [0, 2, 3, 4, 5].map((n) => reg('sreg', n));
    case 'cr': return [0, 2, 3, 4].map((n) => reg('cr', n));
    case 'dr': return [0, 3, 6, 7].map((n) => reg('dr', n));
    default: return [reg('sreg', ['es', 'cs', 'ss', 'ds', 'fs', 'gs'].indexOf(pattern))];
  }
}
/** Operand sets in which every choice of every operand appears at least once. */
function combinations(f: Form, size: number): Operand[][] {
  const lists = f.operands.map((p) => choices(p, size));
  const n = Math.max(1, ...lists.map((l) => l.length));
  return Array.from({ length: n }, (_, i) => lists.map((l, k) => l[(i + k) % l.length] as Operand)).concat(Array.from({ length: n }, (_, i) => lists.map((l) => l[i % l.length] as Operand)));
}
const hex = (n: number): string => {
  const a = Math.abs(n);
  return (n < 0 ? '-' : '') + (a < 10 ? String(a) : `0x${a.toString(16)}`);
};
const NAMES32 = ['eax', 'ecx', 'edx', 'ebx', 'esp', 'ebp', 'esi', 'edi'];
function memText(m: Mem): string {
  // A lone index with scale 1 is a base; iced prints displacements as signed numbers after registers.
  let { base, index } = m;
  const scale = m.scale;
  if (base < 0 && scale === 1 && index >= 0) [base, index] = [index, -1];
  let s = base >= 0 ? (NAMES32[base] as string) : '';
  if (index >= 0) s += `${s === '' ? '' : '+'}${NAMES32[index] as string}${scale === 1 ? '' : `*${scale}`}`;
  if (s === '') return `[${hex(m.disp >>> 0)}]`;
  if (m.disp !== 0) s += m.disp < 0 ? hex(m.disp) : `+${hex(m.disp)}`;
  return `[${s}]`;
}
/** Mnemonics that iced spells differently. */
const ALIASES: Record<string, string> = { movsd_: 'movsd', ljmp: 'jmp far', lcall: 'call far', nopm: 'nop' };
const PREFIX_ONLY = new Set(['rep', 'repne', 'lock']);

describe('the encoder', () => {
  const formatter = new Formatter(FormatterSyntax.Intel);
  formatter.hexPrefix = '0x';
  formatter.hexSuffix = '';
  formatter.uppercaseHex = false;
  formatter.spaceAfterOperandSeparator = false;
  formatter.alwaysShowScale = false;
  formatter.memorySizeOptions = 3;
  formatter.smallHexNumbersInDecimal = true;
  formatter.signedImmediateOperands = false;
  for (const [mnemonic, forms] of FORMS) {
    if (PREFIX_ONLY.has(mnemonic)) continue;
    it(`encodes ${mnemonic} as iced-x86 decodes it`, () => {
      const wrong: string[] = [];
      for (const f of forms) {
        const text = f.operands.join(',');
        const sizes = /\b(rv|rmv|eav|iv)\b/.test(text) ? [4, 2] : [4];
        for (const size of sizes) for (const ops of combinations(f, size)) {
          const b = new CodeBuffer('test');
          b.ins(mnemonic, ops);
          const { bytes } = b.finish();
          const d = new Decoder(32, bytes, DecoderOptions.None);
          const i = d.decode();
          const got = formatter.format(i).replace(/ptr |byte |dword |xmmword |qword |word |short /g, '');
          const expected = `${ALIASES[mnemonic] ?? mnemonic}${ops.length === 0 ? '' : ` ${ops.map((o) => (o.kind === 'reg' ? regName(o) : o.kind === 'mem' ? memText(o) : '#')).join(',')}`}`;
          const values = ops.flatMap((o) => (o.kind === 'imm' && f.operands[ops.indexOf(o)] !== 'one' ? [o.value] : []));
          // Immediates: compare the decoded value rather than its spelling.
          const pattern = new RegExp(`^${expected.replace(/[.*+?^${}()|[\]\\]/g, '\\$&').replace(/#/g, '[-0-9a-fx]+')}$`);
          const normal = got.replace(/\b[cdsefg]s:(?=\[)/, '');
          const isString = ops.length === 0;
          const ok = i.length === bytes.length && (isString ? normal.startsWith(expected.replace(/_$/, '')) || bytes.length > 0 && i.length === bytes.length && normal.split(' ')[0] === expected : pattern.test(normal) || pattern.test(swap(normal)));
          const immediatesRight = values.every((v) => [...bytes.keys()].some((k) => bytes.length - k >= 1 && readAt(bytes, k, v)));
          if (!ok || !immediatesRight) wrong.push(`${[...bytes].map((x) => x.toString(16).padStart(2, '0')).join(' ')}: wanted ${expected}, iced says ${got} (${i.length} bytes)`);
          i.free();
          d.free();
        }
      }
      expect(wrong.slice(0, 10), `${wrong.length} wrong`).toEqual([]);
    });
  }
});
/** xchg and test print their operands in either order; shifts by one print the 1. */
const swap = (s: string): string => s.replace(/^(xchg|test) ([^,]+),(.+)$/, '$1 $3,$2');
function readAt(bytes: Uint8Array, k: number, v: number): boolean {
  const n = bytes.length - k;
  const view = new DataView(bytes.buffer, bytes.byteOffset + k, n);
  if (n === 1) return view.getInt8(0) === (v << 24) >> 24;
  if (n === 2) return view.getInt16(0, true) === (v << 16) >> 16;
  return n === 4 && view.getInt32(0, true) === (v | 0);
}
