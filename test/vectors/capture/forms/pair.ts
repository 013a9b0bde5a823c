/** A flag producer directly followed by every conditional branch, set and move: the pairs that an engine fuses. */
import { EAX, FLAG, STATUS_FLAGS } from '../../environment.ts';
import { bytes32, emitRm, littleEndian, operand, SIZES, type Scene, type Size } from '../scene.ts';
import type { Sheet } from '../sheet.ts';

const CONDITIONS = ['o', 'no', 'b', 'ae', 'e', 'ne', 'be', 'a', 's', 'ns', 'p', 'np', 'l', 'ge', 'le', 'g'] as const;

interface Producer { name: string; emit: (s: Scene, size: Size) => void; undefined?: number }
const wide = (size: Size): number => size === 8 ? 0 : 1;
const near = (s: Scene, size: Size): number => { const a = operand(s.r, size); return a; };

const PRODUCERS: readonly Producer[] = [
  // Half of the comparisons are of equal or neighbouring values, or the equal cases would hardly occur.
  { name: 'cmp r, r', emit: (s, size) => { const a = near(s, size), b = s.r.chance(50) ? a + s.r.below(3) - 1 : operand(s.r, size); emitRm(s, { opcode: [0x38 + wide(size)], size }, { rm: a, reg: b, memory: false }); } },
  { name: 'cmp r, imm', emit: (s, size) => { const a = near(s, size), b = s.r.chance(50) ? a + s.r.below(3) - 1 : operand(s.r, size); emitRm(s, { opcode: [0x80 + wide(size)], size, ext: 7 }, { rm: a, imm: littleEndian(b, size), memory: false }); } },
  { name: 'cmp r, imm8', emit: (s, size) => { const b = operand(s.r, 8), wideB = (b << 24) >> 24, a = s.r.chance(60) ? wideB + s.r.below(3) - 1 : operand(s.r, size); emitRm(s, { opcode: [size === 8 ? 0x80 : 0x83], size, ext: 7 }, { rm: a, imm: [b], memory: false }); } },
  { name: 'cmp m, r', emit: (s, size) => { const a = near(s, size), b = s.r.chance(50) ? a + s.r.below(3) - 1 : operand(s.r, size); emitRm(s, { opcode: [0x38 + wide(size)], size }, { rm: a, reg: b, memory: true }); } },
  { name: 'cmp r, m', emit: (s, size) => { const a = near(s, size), b = s.r.chance(50) ? a + s.r.below(3) - 1 : operand(s.r, size); emitRm(s, { opcode: [0x3a + wide(size)], size }, { rm: b, reg: a, memory: true }); } },
  { name: 'test r, r', undefined: FLAG.AF, emit: (s, size) => { emitRm(s, { opcode: [0x84 + wide(size)], size }, { rm: operand(s.r, size), reg: operand(s.r, size), memory: false }); } },
  { name: 'test same', undefined: FLAG.AF, emit: (s, size) => { s.setReg(EAX, size, operand(s.r, size)); s.code.push(...(size === 16 ? [0x66] : []), 0x84 + wide(size), 0xc0); } },
  { name: 'sub r, r', emit: (s, size) => { const a = near(s, size), b = s.r.chance(50) ? a + s.r.below(3) - 1 : operand(s.r, size); emitRm(s, { opcode: [0x28 + wide(size)], size }, { rm: a, reg: b, memory: false }); } },
  { name: 'add r, r', emit: (s, size) => { const a = near(s, size), b = s.r.chance(40) ? -a : operand(s.r, size); emitRm(s, { opcode: [wide(size)], size }, { rm: a, reg: b, memory: false }); } },
  { name: 'sbb r, r', emit: (s, size) => { const a = near(s, size); emitRm(s, { opcode: [0x18 + wide(size)], size }, { rm: a, reg: s.r.chance(50) ? a + s.r.below(3) - 1 : operand(s.r, size), memory: false }); } },
  { name: 'and r, m', undefined: FLAG.AF, emit: (s, size) => { emitRm(s, { opcode: [0x22 + wide(size)], size }, { rm: operand(s.r, size), reg: operand(s.r, size), memory: true }); } },
  { name: 'xor r, r', undefined: FLAG.AF, emit: (s, size) => { emitRm(s, { opcode: [0x30 + wide(size)], size }, { rm: operand(s.r, size), reg: operand(s.r, size), memory: false }); } },
  { name: 'dec', emit: (s, size) => { emitRm(s, { opcode: [0xfe + wide(size)], size, ext: 1 }, { rm: s.r.chance(50) ? s.r.below(3) : operand(s.r, size), memory: s.r.chance(30) }); } },
  { name: 'inc', emit: (s, size) => { emitRm(s, { opcode: [0xfe + wide(size)], size, ext: 0 }, { rm: s.r.chance(50) ? -s.r.below(3) : operand(s.r, size), memory: s.r.chance(30) }); } },
  { name: 'neg', emit: (s, size) => { emitRm(s, { opcode: [0xf6 + wide(size)], size, ext: 3 }, { rm: s.r.chance(30) ? 0 : operand(s.r, size), memory: false }); } },
  { name: 'shl 1', undefined: FLAG.AF, emit: (s, size) => { emitRm(s, { opcode: [0xd0 + wide(size)], size, ext: 4 }, { rm: operand(s.r, size), memory: false }); } },
  { name: 'sar 1', undefined: FLAG.AF, emit: (s, size) => { emitRm(s, { opcode: [0xd0 + wide(size)], size, ext: 7 }, { rm: operand(s.r, size), memory: false }); } },
];

export function pair(sheet: Sheet): void {
  for (const producer of PRODUCERS) for (const size of SIZES) CONDITIONS.forEach((cc, i) => {
    sheet.form(`${producer.name} ${size} then j${cc}`, 8, s => {
      for (let n = s.r.below(4); n > 0; n--) s.code.push(0x89, 0xc0);   // the pair is not always the whole block
      producer.emit(s, size);
      s.undefinedFlags = (producer.undefined ?? 0) & STATUS_FLAGS;
      if (s.r.chance(50)) s.code.push(0x70 + i, 16 + s.r.below(100)); else s.code.push(0x0f, 0x80 + i, ...bytes32(s.r.chance(50) ? 16 + s.r.below(0x300) : -0x40 - s.r.below(0x300)));
    });
    sheet.form(`${producer.name} ${size} then set${cc}, cmov${cc}`, 3, s => {
      producer.emit(s, size);
      s.undefinedFlags = (producer.undefined ?? 0) & STATUS_FLAGS;
      if (s.r.chance(50)) s.code.push(0x0f, 0x90 + i, 0xc0 | s.r.below(8)); else s.code.push(0x0f, 0x40 + i, 0xc0 | s.r.below(64));
    });
  });
}
