/** Rotates, shifts, double shifts: every count from 0 to 31 and some that must be masked, in all encodings. */
import { ECX, FLAG, STATUS_FLAGS } from '../../environment.ts';
import { emitRm, operand, SIZES, type Scene, type Size } from '../scene.ts';
import type { Sheet } from '../sheet.ts';

const NAMES = ['rol', 'ror', 'rcl', 'rcr', 'shl', 'shr', 'sal', 'sar'] as const;
const COUNTS = [...Array.from({ length: 34 }, (_, i) => i), 39, 40, 63, 64, 65, 127, 128, 129, 224, 255];

/** SDM vol. 2, RCL/RCR/ROL/ROR and SAL/SAR/SHL/SHR, "Flags Affected". */
function undefinedAfter(name: string, size: Size, count: number): number {
  const c = count & 31;
  if (c === 0) return 0;
  const overflow = c === 1 ? 0 : FLAG.OF;
  if (name.startsWith('r')) return overflow;
  return overflow | FLAG.AF | (name !== 'sar' && c >= size ? FLAG.CF : 0);
}

export function shift(sheet: Sheet): void {
  NAMES.forEach((name, ext) => {
    for (const size of SIZES) {
      const w = size === 8 ? 0 : 1;
      for (const memory of [false, true]) {
        const kind = memory ? 'mem' : 'reg';
        sheet.form(`${name}${size} r/m, 1 ${kind}`, memory ? 16 : 24, s => {
          s.undefinedFlags = undefinedAfter(name, size, 1);
          emitRm(s, { opcode: [0xd0 + w], size, ext }, { rm: operand(s.r, size), memory });
        });
        const per = memory ? 1 : 3;
        sheet.form(`${name}${size} r/m, imm8 ${kind}`, COUNTS.length * per, (s, i) => {
          const count = COUNTS[i % COUNTS.length]!;
          s.undefinedFlags = undefinedAfter(name, size, count);
          emitRm(s, { opcode: [0xc0 + w], size, ext }, { rm: operand(s.r, size), imm: [count], memory });
        });
        sheet.form(`${name}${size} r/m, cl ${kind}`, COUNTS.length * per, (s, i) => {
          const count = COUNTS[i % COUNTS.length]!;
          s.setReg(ECX, 8, count);
          // The operand may be ECX itself: then the count is what was put there, and the mask is taken from the final value.
          emitRm(s, { opcode: [0xd2 + w], size, ext }, { rm: operand(s.r, size), memory, keep: [ECX] });
          s.undefinedFlags = undefinedAfter(name, size, s.regs[ECX]! & 255);
        });
      }
    }
  });
  for (const [name, opcode] of [['shld', 0xa4], ['shrd', 0xac]] as const) for (const size of [16, 32] as const) for (const memory of [false, true]) {
    const kind = memory ? 'mem' : 'reg', per = memory ? 1 : 3;
    const mask = (s: Scene, count: number, rm: number): void => {
      const c = count & 31;
      if (c === 0) return;
      s.undefinedFlags = c > size ? STATUS_FLAGS : FLAG.AF | (c === 1 ? 0 : FLAG.OF);
      if (c > size && rm >= 0) s.undefinedRegs = 1 << rm;
    };
    // A count above the operand size leaves the destination undefined (SDM); in memory it cannot be masked, so it is not asked.
    const counts = memory && size === 16 ? COUNTS.filter(c => (c & 31) <= 16) : COUNTS;
    sheet.form(`${name}${size} r/m, r, imm8 ${kind}`, counts.length * per, (s, i) => {
      const count = counts[i % counts.length]!;
      const { rm } = emitRm(s, { opcode: [0x0f, opcode], size }, { rm: operand(s.r, size), reg: operand(s.r, size), imm: [count], memory });
      mask(s, count, rm);
    });
    sheet.form(`${name}${size} r/m, r, cl ${kind}`, counts.length * per, (s, i) => {
      s.setReg(ECX, 8, counts[i % counts.length]!);
      const { rm } = emitRm(s, { opcode: [0x0f, opcode + 1], size }, { rm: operand(s.r, size), reg: operand(s.r, size), memory, keep: [ECX], not: memory && size === 16 ? [ECX] : [] });
      mask(s, s.regs[ECX]! & 255, rm);
    });
  }
}
