/**
 * x87: every instruction with zeros, denormals, infinities, NaNs, pseudo-denormals, unnormals and halfway cases, at every rounding
 * and precision control, exceptions masked and unmasked, registers empty and full. State goes in and comes out as the 108-byte
 * image of FNSAVE; last-instruction addresses are looked at by forms that store the environment themselves.
 */
import { DATA } from '../../environment.ts';
import { bytes16, bytes32, emitRm, type Random, type Scene } from '../scene.ts';
import type { Sheet } from '../sheet.ts';

const bytes = (hex: string): number[] => [...Buffer.from(hex.replaceAll(' ', ''), 'hex')].reverse();
/** Sign and exponent, then the significand. */
const EXTENDED = [
  '0000 0000000000000000', '8000 0000000000000000', '3fff 8000000000000000', 'bfff 8000000000000000', '4000 8000000000000000', '3ffe 8000000000000000', '3fff c000000000000000', '4000 c000000000000000', 'c000 c000000000000000',
  '4000 c90fdaa22168c235', '3fff 8000000000000001', '3ffe ffffffffffffffff', '3fff ffffffffffffffff', 'bfff ffffffffffffffff', '403e ffffffffffffffff', '403e 8000000000000000', 'c03e 8000000000000000', 'c03e 8000000000000001', '403d ffffffffffffffff',
  '403d fffffffffffffffe', '403f 8000000000000000', '401d ffffffff00000000', '401e 8000000000000000', 'c01e 8000000000000000', 'c01e 8000000080000000', '400e 8000000000000000', 'c00e 8000000000000000', 'c00e 8000800000000000', '400d fffe000000000000', '400d ffff000000000000',
  '7ffe ffffffffffffffff', 'fffe ffffffffffffffff', '7ffe 8000000000000000', '0001 8000000000000000', '8001 8000000000000000', '0001 ffffffffffffffff', '0000 7fffffffffffffff', '8000 7fffffffffffffff', '0000 0000000000000001', '8000 0000000000000001', '0000 4000000000000000',
  '7fff 8000000000000000', 'ffff 8000000000000000', '7fff c000000000000000', 'ffff c000000000000000', '7fff c000000000000123', 'ffff dead00000000beef', '7fff 8000000000000001', 'ffff a000000000000123', '7fff bfffffffffffffff', '7fff ffffffffffffffff',
  '0000 8000000000000000', '8000 8000000000000001', '0000 ffffffffffffffff', '3fff 4000000000000000', '7ffe 0000000000000000', 'c000 0000000000000001', '7fff 0000000000000000', 'ffff 4000000000000000', '7fff 0000000000000001',
  '3fff 8000000000000400', '3fff 8000000000000c00', '3fff 8000000000000401', '3fff fffffffffffffc00', '3fff 8000008000000000', '3fff 8000018000000000', '3fff ffffff8000000000', '3fff 80000000000003ff',
  '43fe fffffffffffff800', '43fe fffffffffffffc00', '43fe fffffffffffffbff', '43ff 8000000000000000', '3c01 8000000000000000', '3c00 ffffffffffffffff', '3c00 8000000000000000', '3bcd 8000000000000000', '3bcc 8000000000000000', '3bcc 8000000000000001', '3bcb ffffffffffffffff',
  '407e ffffff0000000000', '407e ffffff8000000000', '407f 8000000000000000', '3f81 8000000000000000', '3f80 ffffffffffffffff', '3f6a 8000000000000000', '3f69 8000000000000000', '3f69 c000000000000000',
  '4008 fffc000000000000', '4007 8080000000000000', 'bffe c000000000000000', '3ffd c000000000000000', '403a de0b6b3a763fffff', '403a de0b6b3a76400000', '4000 a000000000000000', '4001 a000000000000000', '400c c350000000000000',
].map(bytes);
const F64 = ['0000000000000000', '8000000000000000', '3ff0000000000000', 'bff8000000000000', '4000000000000000', '7ff0000000000000', 'fff0000000000000', '7ff8000000000000', '7ff0000000000001', 'fff4000000000123', '7ff8dead0000beef', '0000000000000001', '800fffffffffffff', '0008000000000000', '0010000000000000', '7fefffffffffffff', '3ff0000000000001', '3fefffffffffffff', '40091eb851eb851f', 'c34fffffffffffff'].map(bytes);
const F32 = ['00000000', '80000000', '3f800000', 'bfc00000', '40000000', '7f800000', 'ff800000', '7fc00000', '7f800001', 'ffa00123', '7fc0beef', '00000001', '807fffff', '00400000', '00800000', '7f7fffff', '3f800001', '3f7fffff', '4048f5c3', 'cb7fffff'].map(bytes);

export function extended(r: Random): number[] {
  if (r.chance(66)) return [...r.pick(EXTENDED)];
  if (r.chance(8)) return [...bytes32(r.u32()), ...bytes32(r.u32()), ...bytes16(r.u32() & 0xffff)];
  const exponent = r.chance(85) ? 0x3fff - 40 + r.below(80) : r.pick([r.below(70), 0x7ffe - r.below(70), 0x3fff - 1023 - r.below(60), 0x3fff + 1020 + r.below(8)]);
  const low = r.chance(30) ? 0 : r.u32(), high = (r.u32() | 0x80000000) >>> 0;
  return [...bytes32(low), ...bytes32(high), ...bytes16(exponent | (r.chance(40) ? 0x8000 : 0))];
}
const memoryFloat = (r: Random, size: number): number[] => {
  if (r.chance(65)) return [...r.pick(size === 8 ? F64 : F32)];
  if (size === 8) return [...bytes32(r.chance(40) ? 0 : r.u32()), ...bytes32(((r.u32() & 0x800fffff) | (1023 - 30 + r.below(60)) << 20) >>> 0)];
  return bytes32((r.u32() & 0x807fffff) | (127 - 20 + r.below(40)) << 23);
};
const INTEGERS = [0, 1, -1, 2, 3, 7, 10, 100, -100, 0x7fff, -0x8000, 0x7fffffff, -0x80000000, 12345678];
const memoryInteger = (r: Random, size: number): number[] => {
  const v = r.chance(65) ? r.pick(INTEGERS) : r.u32();
  const low = bytes32(v >>> 0);
  return size === 8 ? [...low, ...bytes32(r.chance(50) ? (v < 0 ? 0xffffffff : 0) : r.u32())] : low.slice(0, size);
};

export interface State { /** Registers that are empty now and then. */ empties?: readonly number[]; /** The register that a push would take is full this often, percent. */ full?: number; unmask?: number; /** TOP. */ top?: number; st?: readonly ((r: Random) => number[])[] }
/** Control word, status, TOP, and eight registers, of which only the first few differ from case to case. */
export function fpuState(s: Scene, { empties = [], full = 6, unmask = 14, top: fixedTop, st = [extended, extended] }: State = {}): Uint8Array {
  const { r } = s, image = new Uint8Array(108), view = new DataView(image.buffer);
  let control = 0x37f;
  if (r.chance(45)) control = control & ~0xc00 | r.below(4) << 10;
  if (r.chance(30)) control = control & ~0x300 | r.pick([0, 0x200]);
  if (r.chance(unmask)) control &= ~(1 << r.below(6));
  const top = fixedTop ?? (r.chance(50) ? 0 : r.below(8));
  let status = top << 11;
  if (r.chance(30)) status |= r.u32() & 0x4700;
  // Flags already set are those that are masked: none is pending.
  if (r.chance(20)) status |= r.u32() & control & 0x3f;
  if (r.chance(6) && control & 1) status |= 0x41;
  // The lower half of the stack holds values, the upper half, which a push would take, is empty.
  let emptyMask = 0xf0;
  for (const i of empties) if (r.chance(8)) emptyMask |= 1 << i;
  if (r.chance(full)) emptyMask &= ~0x80;
  let tags = 0;
  for (let i = 0; i < 8; i++) {
    const value = i < st.length ? st[i]!(r) : bytes(`4001 ${(0x8 + i).toString(16)}000000000000000`);
    image.set(value, 28 + i * 10);
    if (emptyMask >> i & 1) tags |= 3 << (top + i & 7) * 2;
  }
  view.setUint32(0, control | 0xffff0000, true); view.setUint32(4, status | 0xffff0000, true); view.setUint32(8, tags | 0xffff0000, true);
  view.setUint32(24, 0xffff0000, true);
  s.fpu = image;
  return image;
}

interface MemoryForm { opcode: number; ext: number; bytes: number; value: (r: Random) => number[]; state?: State }
function memoryForm(s: Scene, f: MemoryForm): void {
  fpuState(s, f.state);
  const choice = emitRm(s, { opcode: [f.opcode], size: 32, ext: f.ext }, { memory: true, rmBytes: f.bytes });
  if (!s.faulting) s.poke(choice.ea, f.value(s.r));
}
const none = (n: number) => (): number[] => Array.from({ length: n }, (_, i) => 0x50 + i);

export function x87(sheet: Sheet): void {
  const OPS = ['fadd', 'fmul', 'fcom', 'fcomp', 'fsub', 'fsubr', 'fdiv', 'fdivr'];
  OPS.forEach((name, ext) => {
    const heavy = ext === 2 || ext === 3 ? 50 : 110, state = { empties: [0] };
    sheet.form(`${name} m32`, heavy, s => { memoryForm(s, { opcode: 0xd8, ext, bytes: 4, value: r => memoryFloat(r, 4), state }); });
    sheet.form(`${name} m64`, heavy, s => { memoryForm(s, { opcode: 0xdc, ext, bytes: 8, value: r => memoryFloat(r, 8), state }); });
    const integer = `fi${name.slice(1)}`;
    sheet.form(`${integer} m32`, 50, s => { memoryForm(s, { opcode: 0xda, ext, bytes: 4, value: r => memoryInteger(r, 4), state }); });
    sheet.form(`${integer} m16`, 50, s => { memoryForm(s, { opcode: 0xde, ext, bytes: 2, value: r => memoryInteger(r, 2), state }); });
    sheet.form(`${name} st0, sti`, ext === 2 || ext === 3 ? 150 : 450, s => { fpuState(s, { empties: [0, 1] }); s.code.push(0xd8, 0xc0 | ext << 3 | (s.r.chance(90) ? 1 : s.r.below(8))); });
  });
  // In the register forms of DC and DE the reversed operations have changed places.
  [['fadd', 0], ['fmul', 1], ['fsubr', 4], ['fsub', 5], ['fdivr', 6], ['fdiv', 7]].forEach(([name, ext]) => {
    for (const [opcode, suffix] of [[0xdc, ''], [0xde, 'p']] as const) sheet.form(`${name}${suffix} sti, st0`, 130, s => { fpuState(s, { empties: [0, 1] }); s.code.push(opcode, 0xc0 | Number(ext) << 3 | (s.r.chance(85) ? 1 : s.r.below(8))); });
  });
  for (const [name, ...code] of [['fcompp', 0xde, 0xd9], ['fucompp', 0xda, 0xe9]] as const) sheet.form(name, 120, s => { fpuState(s, { empties: [0, 1] }); s.code.push(...code); });
  for (const [name, opcode, first] of [['fucom', 0xdd, 0xe0], ['fucomp', 0xdd, 0xe8], ['fcomi', 0xdb, 0xf0], ['fcomip', 0xdf, 0xf0], ['fucomi', 0xdb, 0xe8], ['fucomip', 0xdf, 0xe8]] as const) sheet.form(`${name} sti`, 150, s => {
    fpuState(s, { empties: [0, 1] });
    s.eflags |= s.r.u32() & 0x8d5;
    s.code.push(opcode, first | (s.r.chance(90) ? 1 : s.r.below(8)));
  });
  ['b', 'e', 'be', 'u', 'nb', 'ne', 'nbe', 'nu'].forEach((condition, i) => sheet.form(`fcmov${condition} st0, sti`, 40, s => {
    fpuState(s, { empties: [0, 1] });
    s.eflags |= s.r.u32() & 0x8d5;
    s.code.push(i < 4 ? 0xda : 0xdb, 0xc0 | (i & 3) << 3 | (s.r.chance(85) ? 1 : s.r.below(8)));
  }));
  for (const [name, code, count, pair] of [['fchs', 0xe0, 50, 0], ['fabs', 0xe1, 50, 0], ['ftst', 0xe4, 110, 0], ['fxam', 0xe5, 130, 0], ['fsqrt', 0xfa, 450, 0], ['frndint', 0xfc, 300, 0], ['fxtract', 0xf4, 160, 0]] as const) sheet.form(name, count, s => {
    fpuState(s, { empties: [0], st: pair ? [extended, extended] : [extended] });
    s.code.push(0xd9, code);
  });
  const scale = (r: Random): number[] => r.chance(45) ? extended(r) : [...bytes32(0), ...bytes32((r.u32() | 0x80000000) >>> 0), ...bytes16((0x3fff + r.below(17)) | (r.chance(50) ? 0x8000 : 0))];
  sheet.form('fscale', 350, s => { fpuState(s, { empties: [0, 1], st: [extended, scale] }); s.code.push(0xd9, 0xfd); });
  for (const [name, code] of [['fprem', 0xf8], ['fprem1', 0xf5]] as const) sheet.form(name, 350, s => { fpuState(s, { empties: [0, 1] }); s.code.push(0xd9, code); });
}

export function x87Stack(sheet: Sheet): void {
  const one: State = { st: [extended], empties: [0] };
  sheet.form('fld m32', 100, s => { memoryForm(s, { opcode: 0xd9, ext: 0, bytes: 4, value: r => memoryFloat(r, 4), state: { st: [] } }); });
  sheet.form('fld m64', 120, s => { memoryForm(s, { opcode: 0xdd, ext: 0, bytes: 8, value: r => memoryFloat(r, 8), state: { st: [] } }); });
  sheet.form('fld m80', 120, s => { memoryForm(s, { opcode: 0xdb, ext: 5, bytes: 10, value: extended, state: { st: [] } }); });
  for (const [size, opcode, ext] of [[2, 0xdf, 0], [4, 0xdb, 0], [8, 0xdf, 5]] as const) sheet.form(`fild m${size * 8}`, 60, s => { memoryForm(s, { opcode, ext, bytes: size, value: r => memoryInteger(r, size), state: { st: [] } }); });
  const bcd = (r: Random): number[] => [...Array.from({ length: 9 }, () => r.chance(20) ? r.pick([0, 0x99]) : r.below(10) << 4 | r.below(10)), r.chance(40) ? 0x80 : 0];
  sheet.form('fbld m80', 60, s => { memoryForm(s, { opcode: 0xdf, ext: 4, bytes: 10, value: bcd, state: { st: [] } }); });
  sheet.form('fbstp m80', 220, s => { memoryForm(s, { opcode: 0xdf, ext: 6, bytes: 10, value: none(10), state: one }); });
  for (const [name, size, opcode, ext, count] of [
    ['fst', 4, 0xd9, 2, 150], ['fstp', 4, 0xd9, 3, 250], ['fst', 8, 0xdd, 2, 150], ['fstp', 8, 0xdd, 3, 250], ['fstp', 10, 0xdb, 7, 110], ['fist', 2, 0xdf, 2, 120], ['fistp', 2, 0xdf, 3, 120], ['fist', 4, 0xdb, 2, 150], ['fistp', 4, 0xdb, 3, 150],
    ['fistp', 8, 0xdf, 7, 180], ['fisttp', 2, 0xdf, 1, 110], ['fisttp', 4, 0xdb, 1, 110], ['fisttp', 8, 0xdd, 1, 110],
  ] as const) sheet.form(`${name} m${size * 8}`, count, s => { memoryForm(s, { opcode, ext, bytes: size, value: none(size), state: one }); });
  for (const [name, opcode, first] of [['fld', 0xd9, 0xc0], ['fxch', 0xd9, 0xc8], ['ffree', 0xdd, 0xc0], ['fst', 0xdd, 0xd0], ['fstp', 0xdd, 0xd8], ['ffreep', 0xdf, 0xc0]] as const) sheet.form(`${name} sti`, 60, s => {
    fpuState(s, { empties: [0, 1, 2] });
    s.code.push(opcode, first | s.r.below(8));
  });
  ['fld1', 'fldl2t', 'fldl2e', 'fldpi', 'fldlg2', 'fldln2', 'fldz'].forEach((name, i) => sheet.form(name, 24, s => { fpuState(s, { st: [], full: 12 }); s.code.push(0xd9, 0xe8 + i); }));
  for (const [name, ...code] of [['fincstp', 0xd9, 0xf7], ['fdecstp', 0xd9, 0xf6], ['fnop', 0xd9, 0xd0], ['fnclex', 0xdb, 0xe2], ['fninit', 0xdb, 0xe3], ['wait', 0x9b]] as const) sheet.form(name, 24, s => { fpuState(s); s.code.push(...code); });
  sheet.form('fnstcw', 24, s => { fpuState(s); emitRm(s, { opcode: [0xd9], size: 32, ext: 7 }, { memory: true, rmBytes: 2 }); });
  sheet.form('fldcw', 80, s => {
    const image = fpuState(s);
    // Now and then flags are set that the new word unmasks.
    if (s.r.chance(50)) image[4]! |= s.r.u32() & image[0]! & 0x3f;
    const { ea } = emitRm(s, { opcode: [0xd9], size: 32, ext: 5 }, { memory: true, rmBytes: 2 });
    if (!s.faulting) s.poke(ea, bytes16(s.r.u32() & 0xffff));
  });
  sheet.form('fnstsw m16', 24, s => { fpuState(s); emitRm(s, { opcode: [0xdd], size: 32, ext: 7 }, { memory: true, rmBytes: 2 }); });
  sheet.form('fnstsw ax', 24, s => { fpuState(s); s.code.push(0xdf, 0xe0); });
  // A pending unmasked exception: waiting instructions are #MF, the others go on.
  const pending = (s: Scene): void => {
    const image = fpuState(s, { unmask: 0 }), which = s.r.below(6);
    image[0]! &= ~(1 << which);
    image[4]! |= 1 << which | 0x80;
    image[5]! |= 0x80;
  };
  for (const [name, ...code] of [['fadd', 0xd8, 0xc1], ['fldz', 0xd9, 0xee], ['fabs', 0xd9, 0xe1], ['wait', 0x9b], ['fxch', 0xd9, 0xc9], ['fnop', 0xd9, 0xd0], ['fnstsw', 0xdf, 0xe0], ['fnclex', 0xdb, 0xe2], ['fninit', 0xdb, 0xe3], ['ffree', 0xdd, 0xc1], ['fincstp', 0xd9, 0xf7], ['fcomi', 0xdb, 0xf1]] as const) sheet.form(`${name} with an exception pending`, 12, s => { pending(s); s.code.push(...code); });
  for (const [name, opcode, ext, size] of [['fld', 0xdd, 0, 8], ['fstp', 0xdd, 3, 8], ['fldcw', 0xd9, 5, 2], ['fnstcw', 0xd9, 7, 2], ['fldenv', 0xd9, 4, 28], ['fnstenv', 0xd9, 6, 28], ['fnsave', 0xdd, 6, 108], ['frstor', 0xdd, 4, 108]] as const) sheet.form(`${name} m with an exception pending`, 10, s => {
    pending(s);
    const at = DATA + 0x200 + s.r.below(64);
    s.code.push(opcode, ext << 3 | 5, ...bytes32(at));
    if (size === 2) s.poke(at, bytes16(0x37f));
    if (size >= 28) s.poke(at, [0x7f, 3, 0, 0, 0, 0, 0, 0, 0xff, 0xff]);
  });
  // The environment: what was the last instruction, where was its operand.
  const LAST: readonly (readonly number[])[] = [[0xd8, 0xc1], [0xd9, 0xe8], [0xd9, 0xe0], [0xdd, 0xd9], [0xd9, 0xf7], [0xdb, 0xf1], [0xd9, 0xd0], [0xdd, 0xc1], [0xd9, 0xfa], [0xde, 0xc1], [0xdb, 0xe2], [0xdf, 0xe0], [0xdb, 0xe3]];
  for (const wide of [true, false]) for (const [name, opcode, ext] of [['fnstenv', 0xd9, 6], ['fnsave', 0xdd, 6]] as const) sheet.form(`${name} ${wide ? 'm28' : 'm14'} after an instruction`, 60, s => {
    fpuState(s, { unmask: 8 });
    // Known addresses first: FNINIT would make the case trivial, so a load from memory sets them.
    const at = DATA + 0x280 + s.r.below(16);
    s.poke(at, memoryFloat(s.r, 8));
    s.code.push(0xd9, 0xee, 0xdd, 0xd8, 0xdc, 0x05, ...bytes32(at));
    if (s.r.chance(70)) s.code.push(...s.r.pick(LAST));
    s.code.push(...(wide ? [] : [0x66]), opcode, ext << 3 | 5, ...bytes32(DATA + 0x100 + s.r.below(4)));
  });
  for (const wide of [true, false]) for (const [name, opcode, ext] of [['fldenv', 0xd9, 4], ['frstor', 0xdd, 4]] as const) sheet.form(`${name} ${wide ? 'm28' : 'm14'}, back by fnstenv`, 40, s => {
    fpuState(s);
    const { r } = s, step = wide ? 4 : 2, at = DATA + 0x100 + r.below(4), words = [r.u32() & 0x1f7f | 0x40, r.u32() & 0xffff, r.u32() & 0xffff, r.u32() & 0xffff, r.u32() & 0x7ffffff, r.u32() & 0xffff, r.u32() & 0xffff];
    if (r.chance(60)) words[0]! |= 0x3f;
    const image = words.flatMap(x => wide ? bytes32(x) : bytes16(x & 0xffff));
    if (name === 'frstor') for (let i = 0; i < 8; i++) image.push(...(i < 3 ? extended(r) : [0, 0, 0, 0, 0, 0, 0, 0x80, 0, 0x40]));
    s.poke(at, image);
    s.code.push(...(wide ? [] : [0x66]), opcode, ext << 3 | 5, ...bytes32(at), ...(wide ? [] : [0x66]), 0xd9, 6 << 3 | 5, ...bytes32(at + step * 7 + 96));
  });
}

/** An operand of a function that is defined on an interval: |x| up to 2^most. */
const within = (most: number) => (r: Random): number[] => {
  if (r.chance(28)) return [...r.pick(EXTENDED)];
  const exponent = r.chance(75) ? 0x3fff + most - 1 - r.below(12) : 0x3fff + most - 1 - r.below(90);
  return [...bytes32(r.chance(25) ? 0 : r.u32()), ...bytes32((r.u32() | 0x80000000) >>> 0), ...bytes16(exponent | (r.chance(45) ? 0x8000 : 0))];
};
export function x87Functions(sheet: Sheet): void {
  const valueOf = (b: readonly number[]): number => { const e = (b[8]! | b[9]! << 8) & 0x7fff, m = Number(Buffer.from(b.slice(0, 8)).readBigUInt64LE()); return (b[9]! & 0x80 ? -1 : 1) * m * 2 ** (e - 16383 - 63); };
  const retry = (make: (r: Random) => number[], good: (b: readonly number[]) => boolean) => (r: Random): number[] => { for (;;) { const b = make(r); if (good(b)) return b; } };
  const special = (b: readonly number[]): boolean => ((b[8]! | b[9]! << 8) & 0x7fff) === 0x7fff;
  sheet.form('f2xm1', 260, s => { fpuState(s, { empties: [0], st: [retry(within(0), b => special(b) || ((b[8]! | b[9]! << 8) & 0x7fff) < 0x3fff || (Math.abs(valueOf(b)) === 1 && b.slice(0, 7).every(x => x === 0)))] }); s.code.push(0xd9, 0xf0); });
  sheet.form('fyl2x', 400, s => { fpuState(s, { empties: [0, 1], st: [extended, extended] }); s.code.push(0xd9, 0xf1); });
  sheet.form('fyl2xp1', 260, s => { fpuState(s, { empties: [0, 1], st: [retry(within(-1), b => (special(b) && !(b[9]! & 0x80)) || Math.abs(valueOf(b)) < 0.292), extended] }); s.code.push(0xd9, 0xf9); });
  sheet.form('fpatan', 400, s => { fpuState(s, { empties: [0, 1] }); s.code.push(0xd9, 0xf3); });
  for (const [name, code] of [['fsin', 0xfe], ['fcos', 0xff], ['fsincos', 0xfb], ['fptan', 0xf2]] as const) sheet.form(name, 260, s => { fpuState(s, { empties: [0], st: [r => r.chance(60) ? within(r.below(8))(r) : extended(r)] }); s.code.push(0xd9, code); });
}
