/** add or adc sbb and sub xor cmp, test, inc, dec, not, neg: every encoding, operand size and operand kind. */
import { FLAG } from '../../environment.ts';
import { emitRm, littleEndian, operand, SIZES, type Size } from '../scene.ts';
import type { Sheet } from '../sheet.ts';

const NAMES = ['add', 'or', 'adc', 'sbb', 'and', 'sub', 'xor', 'cmp'] as const;
const KINDS = ['reg', 'mem', 'mem16'] as const;

export function alu(sheet: Sheet): void {
  NAMES.forEach((name, op) => {
    const logic = name === 'and' || name === 'or' || name === 'xor';
    for (const size of SIZES) {
      const w = size === 8 ? 0 : 1;
      for (const kind of KINDS) {
        const n = kind === 'reg' ? 32 : kind === 'mem' ? 28 : 6, memory = kind !== 'reg', low = kind === 'mem16';
        for (const [direction, label] of [[0, 'r/m, r'], [2, 'r, r/m']] as const) {
          sheet.form(`${name}${size} ${label} ${kind}`, n, s => {
            if (logic) s.undefinedFlags = FLAG.AF;
            emitRm(s, { opcode: [op * 8 + direction + w], size }, { rm: operand(s.r, size), reg: operand(s.r, size), memory, low });
          });
        }
        const immediates: [string, number, Size][] = size === 8 ? [['imm8', 0x80, 8], ['imm8 (82)', 0x82, 8]] : [['imm', 0x81, size], ['imm8', 0x83, 8]];
        for (const [label, opcode, immSize] of immediates) {
          sheet.form(`${name}${size} r/m, ${label} ${kind}`, kind === 'mem16' ? 3 : 18, s => {
            if (logic) s.undefinedFlags = FLAG.AF;
            emitRm(s, { opcode: [opcode], size, ext: op }, { rm: operand(s.r, size), imm: littleEndian(operand(s.r, immSize), immSize), memory, low });
          });
        }
      }
      sheet.form(`${name}${size} acc, imm`, 16, s => {
        if (logic) s.undefinedFlags = FLAG.AF;
        s.setReg(0, size, operand(s.r, size));
        s.code.push(...(size === 16 ? [0x66] : []), op * 8 + 4 + w, ...littleEndian(operand(s.r, size), size));
      });
      if (name !== 'cmp') sheet.form(`lock ${name}${size} r/m, r mem`, 12, s => {
        if (logic) s.undefinedFlags = FLAG.AF;
        emitRm(s, { opcode: [op * 8 + w], size, prefix: [0xf0] }, { rm: operand(s.r, size), reg: operand(s.r, size), memory: true });
      });
    }
  });

  for (const size of SIZES) {
    const w = size === 8 ? 0 : 1, prefix = size === 16 ? [0x66] : [];
    for (const kind of KINDS) {
      const memory = kind !== 'reg', low = kind === 'mem16', n = low ? 6 : 28;
      sheet.form(`test${size} r/m, r ${kind}`, n, s => {
        s.undefinedFlags = FLAG.AF;
        emitRm(s, { opcode: [0x84 + w], size }, { rm: operand(s.r, size), reg: operand(s.r, size), memory, low });
      });
      for (const ext of [0, 1]) sheet.form(`test${size} r/m, imm /${ext} ${kind}`, n, s => {
        s.undefinedFlags = FLAG.AF;
        emitRm(s, { opcode: [0xf6 + w], size, ext }, { rm: operand(s.r, size), imm: littleEndian(operand(s.r, size), size), memory, low });
      });
      for (const [name, opcode, ext, lockable] of [['inc', 0xfe, 0, true], ['dec', 0xfe, 1, true], ['not', 0xf6, 2, true], ['neg', 0xf6, 3, true]] as const) {
        sheet.form(`${name}${size} r/m ${kind}`, n, s => { emitRm(s, { opcode: [opcode + w], size, ext }, { rm: operand(s.r, size), memory, low }); });
        if (memory && lockable && !low) sheet.form(`lock ${name}${size} r/m ${kind}`, 10, s => {
          emitRm(s, { opcode: [opcode + w], size, ext, prefix: [0xf0] }, { rm: operand(s.r, size), memory });
        });
      }
    }
    sheet.form(`test${size} acc, imm`, 16, s => {
      s.undefinedFlags = FLAG.AF;
      s.setReg(0, size, operand(s.r, size));
      s.code.push(...prefix, 0xa8 + w, ...littleEndian(operand(s.r, size), size));
    });
    if (size !== 8) for (const [name, opcode] of [['inc', 0x40], ['dec', 0x48]] as const) sheet.form(`${name}${size} r (short)`, 40, (s, i) => {
      s.setReg(i & 7, size, operand(s.r, size));
      s.code.push(...prefix, opcode + (i & 7));
    });
  }
  // Two instructions: flags produced by one and consumed by the next, the pair a lazy-flags engine fuses.
  NAMES.forEach((name, op) => {
    for (const size of SIZES) sheet.form(`${name}${size} then setcc/adc/pushf`, 34, (s, i) => {
      const logic = name === 'and' || name === 'or' || name === 'xor';
      if (logic) s.undefinedFlags = FLAG.AF;
      const { rm } = emitRm(s, { opcode: [op * 8 + (size === 8 ? 0 : 1)], size }, { rm: operand(s.r, size), reg: operand(s.r, size), memory: false });
      if (i < 32) s.code.push(0x0f, 0x90 + (i & 15), 0xc0 | ((rm + 1) & 7));
      else if (i === 32) { s.code.push(0x11, 0xc0 | ((rm + 1) & 7) << 3 | 6); s.undefinedFlags = 0; }
      else s.code.push(0x0f, 0x4f, 0xc0 | ((rm + 1) & 7) << 3 | ((rm + 2) & 7));
    });
  });
}
