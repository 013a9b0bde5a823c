/**
 * Every instruction with a memory operand, whatever it computes, through every way of reaching memory: addressing modes and segments
 * (`modes`), the edges of pages (`edges`), alignment (`alignment`). What is asked here is the access, so operands are what lies there.
 */
import { CODE, CODE_BYTES, DATA, EAX, ECX, EDI, EDX, ESP, FLAG, HOLE, LOW, LOW_BYTES, READ_ONLY, STACK, STATUS_FLAGS } from '../../environment.ts';
import { bytes16, MODES32, operand, type Mode32, type Scene } from '../scene.ts';
import type { Sheet } from '../sheet.ts';
import { registers } from './sse.ts';
import { fpuState } from './x87.ts';

const AFTER_MUL = FLAG.SF | FLAG.ZF | FLAG.AF | FLAG.PF, AFTER_BT = FLAG.OF | FLAG.SF | FLAG.AF | FLAG.PF;

export interface Access {
  readonly name: string;
  /** Everything in front of ModRM, prefixes included. */
  readonly opcode: readonly number[];
  /** ModRM.reg, or any. */
  readonly ext?: number;
  readonly bytes: number;
  readonly imm?: readonly number[];
  readonly undefined?: number;
  readonly state?: 'xmm' | 'fpu' | 'mmx';
  /** Must lie on a multiple of 16: #GP(0) elsewhere. */
  readonly aligned?: boolean;
  /** Registers that are operands. */
  readonly keep?: readonly number[];
  /** What is stored, or stored before a fault, is left to the model. */
  readonly loose?: boolean;
  readonly setup?: (s: Scene) => void;
}

const one = (n: number): number[] => [n & 255];
function integer(): Access[] {
  const list: Access[] = [];
  const logic = FLAG.AF;
  for (const size of [8, 16, 32] as const) {
    const w = size === 8 ? 0 : 1, p = size === 16 ? [0x66] : [], bytes = size / 8, immediate = Array.from({ length: bytes }, (_, i) => 0x81 + i * 0x11);
    const add = (name: string, opcode: readonly number[], more: Partial<Access> = {}): void => { list.push({ name: `${name}${size}`, opcode: [...p, ...opcode], bytes, ...more }); };
    ['add', 'or', 'adc', 'sbb', 'and', 'sub', 'xor', 'cmp'].forEach((name, op) => {
      const undefinedFlags = name === 'or' || name === 'and' || name === 'xor' ? { undefined: logic } : {};
      add(`${name} m, r `, [op * 8 + w], undefinedFlags); add(`${name} r, m `, [op * 8 + 2 + w], undefinedFlags);
      add(`${name} m, imm `, [0x80 + w], { ext: op, imm: immediate, ...undefinedFlags });
      if (size !== 8) add(`${name} m, imm8 `, [0x83], { ext: op, imm: [0xfe], ...undefinedFlags });
      if (name !== 'cmp') add(`lock ${name} m, r `, [0xf0, op * 8 + w], undefinedFlags);
    });
    add('test m, r ', [0x84 + w], { undefined: logic }); add('test m, imm ', [0xf6 + w], { ext: 0, imm: immediate, undefined: logic });
    for (const [name, ext] of [['not', 2], ['neg', 3]] as const) { add(`${name} m `, [0xf6 + w], { ext }); add(`lock ${name} m `, [0xf0, 0xf6 + w], { ext }); }
    for (const [name, ext] of [['inc', 0], ['dec', 1]] as const) { add(`${name} m `, [0xfe + w], { ext }); add(`lock ${name} m `, [0xf0, 0xfe + w], { ext }); }
    for (const [name, ext] of [['mul', 4], ['imul', 5]] as const) add(`${name} m `, [0xf6 + w], { ext, undefined: AFTER_MUL, keep: [EAX, EDX] });
    for (const [name, ext] of [['div', 6], ['idiv', 7]] as const) add(`${name} m `, [0xf6 + w], { ext, undefined: STATUS_FLAGS, keep: [EAX, EDX], setup: s => { s.regs[EDX] = 0; if (size === 8) s.regs[EAX] = s.r.below(0x80); } });
    add('mov m, r ', [0x88 + w]); add('mov r, m ', [0x8a + w]); add('mov m, imm ', [0xc6 + w], { ext: 0, imm: immediate }); add('xchg m, r ', [0x86 + w]);
    for (const lock of ['', 'lock ']) {
      const l = lock ? [0xf0] : [];
      add(`${lock}cmpxchg m, r `, [...l, 0x0f, 0xb0 + w], { keep: [EAX] }); add(`${lock}xadd m, r `, [...l, 0x0f, 0xc0 + w]);
    }
    ['rol', 'ror', 'rcl', 'rcr', 'shl', 'shr', 'sal', 'sar'].forEach((name, ext) => {
      const flags = ext < 4 ? 0 : FLAG.AF;
      add(`${name} m, 1 `, [0xd0 + w], { ext, undefined: flags }); add(`${name} m, imm8 `, [0xc0 + w], { ext, imm: [3], undefined: flags | FLAG.OF });
      add(`${name} m, cl `, [0xd2 + w], { ext, undefined: flags | FLAG.OF, keep: [ECX], setup: s => { s.setReg(ECX, 8, 5); } });
    });
    if (size === 8) continue;
    add('imul r, m ', [0x0f, 0xaf], { undefined: AFTER_MUL }); add('imul r, m, imm8 ', [0x6b], { imm: [0x83], undefined: AFTER_MUL }); add('imul r, m, imm ', [0x69], { imm: immediate, undefined: AFTER_MUL });
    add('movzx r, m8 to ', [0x0f, 0xb6], { bytes: 1 }); add('movsx r, m8 to ', [0x0f, 0xbe], { bytes: 1 }); add('movzx r, m16 to ', [0x0f, 0xb7], { bytes: 2 }); add('movsx r, m16 to ', [0x0f, 0xbf], { bytes: 2 });
    for (const [name, opcode] of [['shld', 0xa4], ['shrd', 0xac]] as const) {
      add(`${name} m, r, imm8 `, [0x0f, opcode], { imm: [7], undefined: FLAG.AF | FLAG.OF });
      add(`${name} m, r, cl `, [0x0f, opcode + 1], { undefined: FLAG.AF | FLAG.OF, keep: [ECX], setup: s => { s.setReg(ECX, 8, 9); } });
    }
    add('cmovo r, m ', [0x0f, 0x40]); add('cmovno r, m ', [0x0f, 0x41]);
    for (const [name, ext, opcode] of [['bt', 4, 0xa3], ['bts', 5, 0xab], ['btr', 6, 0xb3], ['btc', 7, 0xbb]] as const) {
      add(`${name} m, imm8 `, [0x0f, 0xba], { ext, imm: [size - 1], undefined: AFTER_BT });
      if (name !== 'bt') add(`lock ${name} m, imm8 `, [0xf0, 0x0f, 0xba], { ext, imm: [3], undefined: AFTER_BT });
      // A register index could reach anywhere: zero it.
      add(`${name} m, edx `, [0x0f, opcode], { ext: EDX, undefined: AFTER_BT, keep: [EDX], setup: s => { s.regs[EDX] = s.r.below(size); } });
    }
    add('bsf r, m ', [0x0f, 0xbc], { undefined: AFTER_BT | FLAG.CF }); add('bsr r, m ', [0x0f, 0xbd], { undefined: AFTER_BT | FLAG.CF }); add('popcnt r, m ', [...(size === 16 ? [] : []), 0xf3, 0x0f, 0xb8]);
    add('push m ', [0xff], { ext: 6, keep: [ESP] }); add('pop m ', [0x8f], { ext: 0, keep: [ESP] });
    add('bound r, m ', [0x62], { bytes: bytes * 2 });
  }
  list.push(
    { name: 'mov m, sreg', opcode: [0x8c], ext: 3, bytes: 2 }, { name: 'setb m', opcode: [0x0f, 0x92], ext: 0, bytes: 1 }, { name: 'setae m', opcode: [0x0f, 0x93], ext: 0, bytes: 1 }, { name: 'movnti m, r', opcode: [0x0f, 0xc3], bytes: 4 },
    { name: 'lea r, m', opcode: [0x8d], bytes: 1 }, { name: 'cmpxchg8b m', opcode: [0x0f, 0xc7], ext: 1, bytes: 8, keep: [EAX, EDX, 3, ECX] }, { name: 'lock cmpxchg8b m', opcode: [0xf0, 0x0f, 0xc7], ext: 1, bytes: 8, keep: [EAX, EDX, 3, ECX] },
    { name: 'nop m', opcode: [0x0f, 0x1f], ext: 0, bytes: 4 }, { name: 'prefetcht0 m', opcode: [0x0f, 0x18], ext: 1, bytes: 1 },
  );
  return list;
}

function vector(): Access[] {
  const list: Access[] = [];
  const add = (name: string, opcode: readonly number[], bytes: number, more: Partial<Access> = {}): void => { list.push({ name, opcode, bytes, state: 'xmm', ...more }); };
  const P = { '': [], 66: [0x66], f2: [0xf2], f3: [0xf3] } as const;
  for (const [name, p, load, store, bytes, aligned] of [
    ['movss', 'f3', 0x10, 0x11, 4, 0], ['movsd', 'f2', 0x10, 0x11, 8, 0], ['movups', '', 0x10, 0x11, 16, 0], ['movupd', '66', 0x10, 0x11, 16, 0], ['movaps', '', 0x28, 0x29, 16, 1], ['movapd', '66', 0x28, 0x29, 16, 1], ['movdqa', '66', 0x6f, 0x7f, 16, 1], ['movdqu', 'f3', 0x6f, 0x7f, 16, 0],
    ['movlps', '', 0x12, 0x13, 8, 0], ['movlpd', '66', 0x12, 0x13, 8, 0], ['movhps', '', 0x16, 0x17, 8, 0], ['movhpd', '66', 0x16, 0x17, 8, 0], ['movd', '66', 0x6e, 0x7e, 4, 0],
  ] as const) {
    add(`${name} x, m`, [...P[p], 0x0f, load], bytes, { aligned: aligned === 1 }); add(`${name} m, x`, [...P[p], 0x0f, store], bytes, { aligned: aligned === 1 });
  }
  add('movq x, m', [0xf3, 0x0f, 0x7e], 8); add('movq m, x', [0x66, 0x0f, 0xd6], 8); add('lddqu x, m', [0xf2, 0x0f, 0xf0], 16); add('movddup x, m', [0xf2, 0x0f, 0x12], 8);
  for (const [name, p, opcode] of [['movntps', '', 0x2b], ['movntpd', '66', 0x2b], ['movntdq', '66', 0xe7]] as const) add(`${name} m, x`, [...P[p], 0x0f, opcode], 16, { aligned: true });
  for (const opcode of [0x54, 0x55, 0x56, 0x57, 0x14, 0x15]) for (const p of ['', '66'] as const) add(`0f ${opcode.toString(16)} x, m ${p}`, [...P[p], 0x0f, opcode], 16, { aligned: true });
  for (const opcode of [0x51, 0x58, 0x59, 0x5c, 0x5d, 0x5e, 0x5f]) for (const [p, bytes] of [['', 16], ['66', 16], ['f2', 8], ['f3', 4]] as const) add(`0f ${opcode.toString(16)} x, m ${p}`, [...P[p], 0x0f, opcode], bytes, { aligned: bytes === 16 });
  for (const [p, suffix, bytes] of [['', 'ps', 16], ['66', 'pd', 16], ['f2', 'sd', 8], ['f3', 'ss', 4]] as const) add(`cmp${suffix} x, m`, [...P[p], 0x0f, 0xc2], bytes, { aligned: bytes === 16, imm: [1] });
  for (const [p, opcode, bytes] of [['', 0x5a, 8], ['66', 0x5a, 16], ['f2', 0x5a, 8], ['f3', 0x5a, 4], ['', 0x5b, 16], ['66', 0x5b, 16], ['f3', 0x5b, 16], ['f3', 0xe6, 8], ['f2', 0xe6, 16], ['66', 0xe6, 16], ['f2', 0x2a, 4], ['f3', 0x2a, 4], ['f2', 0x2c, 8], ['f3', 0x2c, 4], ['f2', 0x2d, 8], ['f3', 0x2d, 4], ['', 0x2e, 4], ['66', 0x2f, 8], ['66', 0x7c, 16], ['f2', 0xd0, 16], ['f3', 0x12, 16]] as const) {
    add(`0f ${opcode.toString(16)} x, m ${p}`, [...P[p], 0x0f, opcode], bytes, { aligned: bytes === 16 });
  }
  const INTEGER = [0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x74, 0x75, 0x76, 0xd1, 0xd2, 0xd3, 0xd4, 0xd5, 0xd8, 0xd9, 0xda, 0xdb, 0xdc, 0xdd, 0xde, 0xdf, 0xe0, 0xe1, 0xe2, 0xe3, 0xe4, 0xe5, 0xe8, 0xe9, 0xea, 0xeb, 0xec, 0xed, 0xee, 0xef, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf8, 0xf9, 0xfa, 0xfb, 0xfc, 0xfd, 0xfe];
  for (const opcode of [...INTEGER, 0x6c, 0x6d]) add(`0f ${opcode.toString(16)} x, m 66`, [0x66, 0x0f, opcode], 16, { aligned: true });
  for (const [p, suffix] of [['66', 'd'], ['f2', 'lw'], ['f3', 'hw']] as const) add(`pshuf${suffix} x, m`, [...P[p], 0x0f, 0x70], 16, { aligned: true, imm: [0x1b] });
  for (const [p, suffix] of [['', 'ps'], ['66', 'pd']] as const) add(`shuf${suffix} x, m`, [...P[p], 0x0f, 0xc6], 16, { aligned: true, imm: [0x1b] });
  add('pinsrw x, m', [0x66, 0x0f, 0xc4], 2, { imm: [3] });
  add('stmxcsr m', [0x0f, 0xae], 4, { ext: 3 });
  for (const opcode of INTEGER) add(`0f ${opcode.toString(16)} mm, m`, [0x0f, opcode], opcode >= 0x60 && opcode <= 0x62 ? 4 : 8, { state: 'mmx' });
  add('movq mm, m', [0x0f, 0x6f], 8, { state: 'mmx' }); add('movq m, mm', [0x0f, 0x7f], 8, { state: 'mmx' }); add('movd mm, m', [0x0f, 0x6e], 4, { state: 'mmx' }); add('movd m, mm', [0x0f, 0x7e], 4, { state: 'mmx' }); add('movntq m, mm', [0x0f, 0xe7], 8, { state: 'mmx' }); add('pshufw mm, m', [0x0f, 0x70], 8, { state: 'mmx', imm: [0x1b] });
  return list;
}

function x87(): Access[] {
  const list: Access[] = [];
  for (const [name, opcode, ext, bytes] of [
    ['fld m32', 0xd9, 0, 4], ['fst m32', 0xd9, 2, 4], ['fstp m32', 0xd9, 3, 4], ['fldcw', 0xd9, 5, 2], ['fnstcw', 0xd9, 7, 2], ['fild m32', 0xdb, 0, 4], ['fisttp m32', 0xdb, 1, 4], ['fist m32', 0xdb, 2, 4], ['fistp m32', 0xdb, 3, 4], ['fld m80', 0xdb, 5, 10], ['fstp m80', 0xdb, 7, 10],
    ['fld m64', 0xdd, 0, 8], ['fisttp m64', 0xdd, 1, 8], ['fst m64', 0xdd, 2, 8], ['fstp m64', 0xdd, 3, 8], ['fnstsw m16', 0xdd, 7, 2], ['fild m16', 0xdf, 0, 2], ['fisttp m16', 0xdf, 1, 2], ['fist m16', 0xdf, 2, 2], ['fistp m16', 0xdf, 3, 2], ['fbld', 0xdf, 4, 10], ['fild m64', 0xdf, 5, 8], ['fbstp', 0xdf, 6, 10], ['fistp m64', 0xdf, 7, 8],
  ] as const) list.push({ name, opcode: [opcode], ext, bytes, state: 'fpu' });
  ['fadd', 'fmul', 'fcom', 'fcomp', 'fsub', 'fsubr', 'fdiv', 'fdivr'].forEach((name, ext) => {
    for (const [letter, kind, opcode, bytes] of [['f', 'm32', 0xd8, 4], ['f', 'm64', 0xdc, 8], ['fi', 'm32', 0xda, 4], ['fi', 'm16', 0xde, 2]] as const) list.push({ name: `${letter}${name.slice(1)} ${kind}`, opcode: [opcode], ext, bytes, state: 'fpu' });
  });
  for (const [name, opcode, ext, bytes] of [['fnstenv', 0xd9, 6, 28], ['fnsave', 0xdd, 6, 108]] as const) list.push({ name, opcode: [opcode], ext, bytes, state: 'fpu', loose: true });
  return list;
}
/** FBLD of what is no decimal number is undefined (SDM vol. 2, FBLD), so is a control word with anything in it at the next instruction: those are asked elsewhere. */
const DATA_DEPENDENT = /^(fbld|fldcw)$/;
const ACCESSES: readonly Access[] = [...integer(), ...vector(), ...x87()];

function prepare(s: Scene, a: Access): void {
  if (a.state === 'xmm') registers(s, r => Array.from({ length: 16 }, (_, i) => i % 4 === 3 ? 0x3f : r.u32() & 255));
  if (a.state === 'fpu') fpuState(s, { unmask: 0 });
  if (a.state === 'mmx') fpuState(s, { st: [], unmask: 0 });
  s.undefinedFlags = a.undefined ?? 0;
  if (a.loose) s.undefinedMemory = true;
}
const registerField = (s: Scene, a: Access): number => a.ext ?? (a.state ? s.r.below(8) : s.r.pick([0, 1, 2, 3, 5, 6, 7]));
const decimals = (s: Scene, at: number): void => { s.poke(at, [...Array.from({ length: 9 }, () => s.r.below(10) << 4 | s.r.below(10)), 0x80 * s.r.below(2)]); };
/** Memory that the instruction can digest. */
function fill(s: Scene, a: Access, at: number): void {
  if (a.name === 'fbld') decimals(s, at);
  else if (a.name === 'fldcw') s.poke(at, bytes16(s.r.pick([0x37f, 0x27f, 0x077f, 0x0c7f])));
}
function emit(s: Scene, a: Access, at: number, how: { mode?: Mode32; low?: boolean; segment?: number } = {}): void {
  a.setup?.(s);
  const reg = registerField(s, a), keep = [...(a.keep ?? []), ...(a.ext === undefined && !a.state ? [reg & (a.bytes === 1 ? 3 : 7)] : [])];
  const prefix = [...(how.segment === undefined ? [] : [how.segment]), ...(how.low ? [0x67] : [])];
  s.code.push(...prefix, ...a.opcode, ...(how.low ? s.memory16(reg, at, keep) : s.memory(reg, at, keep, how.mode)), ...(a.imm ?? []));
}

const SEGMENTS = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65] as const;
export function modes(sheet: Sheet): void {
  for (const a of ACCESSES) {
    const middle = (s: Scene): number => { const at = DATA + 0x200 + s.r.below(0x40); return a.aligned ? at & ~15 : at; };
    sheet.form(`${a.name}: addressing modes`, MODES32.length, (s, i) => { prepare(s, a); const at = middle(s); fill(s, a, at); emit(s, a, at, { mode: MODES32[i % MODES32.length]! }); });
    sheet.form(`${a.name}: 16-bit addressing`, 6, s => { prepare(s, a); const at = (LOW + 0x200 + s.r.below(0x600)) & (a.aligned ? ~15 : -1); fill(s, a, at); emit(s, a, at, { low: true }); });
    // FS and GS are null, CS is not writable.
    sheet.form(`${a.name}: segment overrides`, SEGMENTS.length, (s, i) => { prepare(s, a); const at = middle(s); fill(s, a, at); emit(s, a, at, { segment: SEGMENTS[i % SEGMENTS.length]! }); });
  }
}

/** Addresses around every edge of the world for an operand of this size. */
function edgeAddresses(bytes: number): number[] {
  const splits = bytes <= 16 ? Array.from({ length: bytes - 1 }, (_, i) => i + 1) : [1, 2, 3, 4, 8, 13, bytes >> 1, bytes - 12, bytes - 10, bytes - 4, bytes - 2, bytes - 1];
  const edges = [DATA + 0x1000, HOLE, READ_ONLY, DATA, LOW, LOW + LOW_BYTES, CODE + CODE_BYTES, CODE];
  return edges.flatMap(edge => [edge - bytes, edge, ...splits.map(k => edge - k)]);
}
export function edges(sheet: Sheet): void {
  for (const a of ACCESSES) {
    if (DATA_DEPENDENT.test(a.name) || a.name === 'lea r, m') continue;
    const places = a.aligned ? edgeAddresses(16).filter(at => at % 16 === 0) : edgeAddresses(a.bytes);
    sheet.form(`${a.name}: page edges`, places.length, (s, i) => { prepare(s, a); emit(s, a, places[i % places.length]!); });
  }
  // The stack's own edges, the last `true` where the order of the accesses is the model's (CR2, partial stores): pushes and pops of every kind with ESP at every byte around a page.
  const STACK_OPS: readonly (readonly [string, readonly number[], number, boolean?])[] = [
    ['push r32', [0x50], -4], ['push r16', [0x66, 0x50], -2], ['push imm8', [0x6a, 0x85], -4], ['push16 imm8', [0x66, 0x6a, 0x85], -2], ['pushf', [0x9c], -4], ['push ds', [0x66, 0x1e], -2], ['pop r32', [0x58], 4], ['pop r16', [0x66, 0x58], 2], ['popf', [0x9d], 4], ['call', [0xe8, 0x20, 0, 0, 0], -4], ['ret', [0xc3], 4], ['ret imm16', [0xc2, 8, 0], 4],
    ['retf', [0xcb], 8, true], ['iret', [0xcf], 12, true], ['leave', [0xc9], 4], ['pusha', [0x60], -32, true], ['popa', [0x61], 32, true], ['enter', [0xc8, 0x10, 0, 0], -4, true], ['call far', [0x9a, 0x20, 8, 0, 0x30, 0x23, 0], -8, true],
  ];
  for (const [name, code, reach, loose] of STACK_OPS) {
    const bytes = Math.abs(reach), loads = /^(popf|iret|retf)$/.test(name);
    // What goes to EFLAGS and CS must not single-step or run away: those are asked where they fault or memory holds what we put there.
    const places = edgeAddresses(bytes).filter(at => !loads || (at >= DATA && at <= HOLE) || (at < READ_ONLY && at > LOW + LOW_BYTES));
    sheet.form(`${name}: page edges`, places.length, (s, i) => {
      const at = places[i % places.length]!, top = reach < 0 ? at + bytes : at;
      if (loose) { s.undefinedMemory = true; if (name === 'popa') s.undefinedRegs = 0xef; }
      if (loads && at >= DATA && at + bytes <= HOLE) s.poke(at, name === 'popf' ? [0xd7, 2, 0, 0] : [0x40, 8, 0, 0x30, 0x23, 0, 0, 0, 0xd7, 2, 0, 0].slice(0, bytes));
      if (name === 'leave') s.regs[5] = top; else s.regs[ESP] = top;
      s.code.push(...code);
    });
  }
}

export function alignment(sheet: Sheet): void {
  for (const a of ACCESSES) {
    if (a.bytes === 1 || a.name === 'lea r, m' || a.name === 'prefetcht0 m') continue;
    const span = Math.max(a.bytes > 16 ? 4 : a.bytes, 2);
    // CR0.AM is set on Linux: in ring 3 EFLAGS.AC makes every misaligned access #AC(0).
    sheet.form(`${a.name}: alignment checked`, a.aligned ? 4 : span * 2, (s, i) => {
      prepare(s, a);
      s.flag(FLAG.AC, true);
      // Of an unaligned 16-byte access on a multiple of 8 the manuals leave it open (SDM vol. 2, MOVDQU).
      const at = DATA + 0x240 + (a.aligned ? i % 2 * 16 : a.bytes === 16 && i % 16 === 8 ? 0 : i % (span * 2));
      fill(s, a, at); emit(s, a, at);
    });
    if (a.aligned) sheet.form(`${a.name}: misaligned is #GP`, 15, (s, i) => { prepare(s, a); emit(s, a, s.r.pick([DATA + 0x200, HOLE, READ_ONLY, HOLE - 16]) + 1 + i % 15); });
  }
  for (const [name, code, size] of [['push r32', [0x53], 4], ['push r16', [0x66, 0x53], 2], ['pop r32', [0x5b], 4], ['pop r16', [0x66, 0x5b], 2], ['pushf', [0x9c], 4], ['call', [0xe8, 0x20, 0, 0, 0], 4], ['pusha', [0x60], 4], ['popa', [0x61], 4], ['push m', [0xff, 0x33], 4], ['enter', [0xc8, 4, 0, 0], 4], ['leave', [0xc9], 4]] as const) {
    sheet.form(`${name}: alignment checked`, 16, (s, i) => {
      s.flag(FLAG.AC, true);
      if (name === 'pusha' || name === 'popa') s.undefinedMemory = true;
      if (name === 'popa') s.undefinedRegs = 0xef;
      s.regs[3] = DATA + 0x100;
      s.regs[name === 'leave' ? 5 : ESP] = STACK - 0x100 + i % 8;
      s.code.push(...code);
      void size;
    });
  }
  const STRINGS = [['movs', 0xa4], ['cmps', 0xa6], ['stos', 0xaa], ['lods', 0xac], ['scas', 0xae]] as const;
  for (const [name, opcode] of STRINGS) for (const size of [8, 16, 32] as const) for (const rep of [false, true]) sheet.form(`${rep ? 'rep ' : ''}${name}${size}: alignment checked`, 16, (s, i) => {
    s.flag(FLAG.AC, true);
    s.regs[6] = DATA + 0x300 + i % 4; s.regs[EDI] = DATA + 0x500 + (i >> 2) % 4;
    if (rep) s.regs[ECX] = s.r.below(4);
    s.regs[EAX] = operand(s.r, 32);
    s.code.push(...(rep ? [0xf3] : []), ...(size === 16 ? [0x66] : []), opcode + (size === 8 ? 0 : 1));
  });
}
