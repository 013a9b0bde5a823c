/** Multiply, divide (with #DE), and the decimal instructions. */
import { EAX, EDX, FLAG, STATUS_FLAGS } from '../../environment.ts';
import { emitRm, littleEndian, maskOf, operand, SIZES, type Scene, type Size } from '../scene.ts';
import type { Sheet } from '../sheet.ts';

const AFTER_MUL = FLAG.SF | FLAG.ZF | FLAG.AF | FLAG.PF;

/** A dividend that gives a representable quotient about two times in three. */
function dividend(s: Scene, size: Size, divisor: number, signed: boolean): void {
  const high = operand(s.r, size), low = operand(s.r, size);
  let h = high;
  const dice = s.r.below(3);
  if (dice === 0) h = signed && (low >>> (size - 1)) & 1 ? maskOf(size) : 0;
  else if (dice === 1 && divisor !== 0) h = Math.floor((high >>> 0) % (divisor >>> 0) / (signed ? 3 : 1));
  if (size === 8) s.setReg(EAX, 16, (h & 255) << 8 | (low & 255));
  else { s.setReg(EAX, size, low); s.setReg(EDX, size, h); }
}

export function muldiv(sheet: Sheet): void {
  for (const size of SIZES) for (const memory of [false, true]) {
    const w = size === 8 ? 0 : 1, kind = memory ? 'mem' : 'reg', keep = [EAX, EDX];
    for (const [name, ext] of [['mul', 4], ['imul', 5]] as const) sheet.form(`${name}${size} r/m ${kind}`, memory ? 60 : 90, s => {
      s.undefinedFlags = AFTER_MUL;
      s.setReg(EAX, size, operand(s.r, size));
      emitRm(s, { opcode: [0xf6 + w], size, ext }, { rm: operand(s.r, size), memory, keep });
    });
    for (const [name, ext] of [['div', 6], ['idiv', 7]] as const) sheet.form(`${name}${size} r/m ${kind}`, memory ? 120 : 200, s => {
      s.undefinedFlags = STATUS_FLAGS;
      const divisor = operand(s.r, size);
      dividend(s, size, divisor, name === 'idiv');
      emitRm(s, { opcode: [0xf6 + w], size, ext }, { rm: divisor, memory, keep });
    });
    if (size === 8) continue;
    sheet.form(`imul${size} r, r/m ${kind}`, 80, s => {
      s.undefinedFlags = AFTER_MUL;
      emitRm(s, { opcode: [0x0f, 0xaf], size }, { rm: operand(s.r, size), reg: operand(s.r, size), memory });
    });
    for (const [label, opcode, immSize] of [['imm', 0x69, size], ['imm8', 0x6b, 8]] as const) sheet.form(`imul${size} r, r/m, ${label} ${kind}`, 60, s => {
      s.undefinedFlags = AFTER_MUL;
      emitRm(s, { opcode: [opcode], size }, { rm: operand(s.r, size), imm: littleEndian(operand(s.r, immSize), immSize), memory });
    });
  }
}

export function decimal(sheet: Sheet): void {
  for (const [name, opcode] of [['daa', 0x27], ['das', 0x2f]] as const) sheet.form(name, 1024, (s, i) => {
    s.undefinedFlags = FLAG.OF;
    s.setReg(EAX, 8, i & 255);
    s.flag(FLAG.CF, (i & 256) !== 0).flag(FLAG.AF, (i & 512) !== 0);
    s.code.push(opcode);
  });
  for (const [name, opcode] of [['aaa', 0x37], ['aas', 0x3f]] as const) sheet.form(name, 512, (s, i) => {
    s.undefinedFlags = FLAG.OF | FLAG.SF | FLAG.ZF | FLAG.PF;
    s.setReg(EAX, 16, operand(s.r, 8) << 8 | (i & 255));
    s.flag(FLAG.AF, (i & 256) !== 0);
    s.code.push(opcode);
  });
  for (const [name, opcode] of [['aam', 0xd4], ['aad', 0xd5]] as const) sheet.form(`${name} imm8`, 300, (s, i) => {
    const base = i < 200 ? 10 : operand(s.r, 8);
    s.undefinedFlags = FLAG.OF | FLAG.AF | FLAG.CF | (name === 'aam' && base === 0 ? STATUS_FLAGS : 0);
    s.setReg(EAX, 16, operand(s.r, 16));
    s.code.push(opcode, base);
  });
}
