/**
 * SSE and SSE2: scalar and packed floating point with NaNs, infinities, denormals, signed zeros and all MXCSR rounding modes;
 * exceptions masked (sticky bits are compared) and unmasked (#XM); moves, logic, conversions, and the packed integer set.
 */
import { DATA, DEFAULT_MXCSR } from '../../environment.ts';
import { bytes32, emitRm, operand, type Random, type RmChoice, type Scene } from '../scene.ts';
import type { Sheet } from '../sheet.ts';

const F64 = ['0000000000000000', '8000000000000000', '3ff0000000000000', 'bff0000000000000', '4000000000000000', '3fe0000000000000', '3ff8000000000000', 'c004000000000000', '7ff0000000000000', 'fff0000000000000',
  '7ff8000000000000', 'fff8000000000000', '7ff0000000000001', 'fff4000000000123', '7ff8dead0000beef', '0000000000000001', '800fffffffffffff', '0010000000000000', '0010000000000001', '7fefffffffffffff', 'ffefffffffffffff',
  '41dfffffffc00000', '41e0000000000000', 'c1e0000000000000', 'c1e0000000200000', '41dfffffffe00000', '43e0000000000000', '4340000000000001', '3ca0000000000000', '3ff0000000000001', '3fefffffffffffff', '40091eb851eb851f', '380fffffffffffff', '47efffffe0000000', '47effffff0000000', '36a0000000000000', '3810000000000000'].map(h => [...Buffer.from(h, 'hex')].reverse());
const F32 = ['00000000', '80000000', '3f800000', 'bf800000', '40000000', '3f000000', '3fc00000', 'c0200000', '7f800000', 'ff800000', '7fc00000', 'ffc00000', '7f800001', 'ffa00123', '7fc0beef', '00000001', '807fffff', '00800000', '00800001', '7f7fffff', 'ff7fffff',
  '4effffff', '4f000000', 'cf000000', 'cf000001', '4b000001', '33800000', '3f800001', '3f7fffff', '4048f5c3'].map(h => [...Buffer.from(h, 'hex')].reverse());

/** Two values in three are special; the rest random bits with an exponent near the bias, so that results stay finite. */
function float(r: Random, double: boolean): number[] {
  if (r.chance(62)) return [...r.pick(double ? F64 : F32)];
  if (r.chance(20)) return double ? [...bytes32(r.u32()), ...bytes32(r.u32())] : bytes32(r.u32());
  if (double) { const hi = ((r.u32() & 0x800fffff) | (1023 - 30 + r.below(60)) << 20) >>> 0; return [...bytes32(r.chance(40) ? 0 : r.u32()), ...bytes32(hi)]; }
  return bytes32((r.u32() & 0x807fffff) | (127 - 20 + r.below(40)) << 23);
}
export const packed = (r: Random, double: boolean): number[] => Array.from({ length: double ? 2 : 4 }, () => float(r, double)).flat();

export type Lane = 'ss' | 'sd' | 'ps' | 'pd';
const PREFIX: Readonly<Record<Lane, number[]>> = { ss: [0xf3], sd: [0xf2], ps: [], pd: [0x66] };
const WIDTH: Readonly<Record<Lane, number>> = { ss: 4, sd: 8, ps: 16, pd: 16 };
const isDouble = (l: Lane): boolean => l === 'sd' || l === 'pd';

/** Rounding mode, FTZ, DAZ, and now and then an unmasked exception or a sticky bit already set. */
export function control(s: Scene): void {
  const r = s.r;
  s.mxcsr = DEFAULT_MXCSR;
  if (r.chance(40)) s.mxcsr |= r.below(4) << 13;
  if (r.chance(8)) s.mxcsr |= 0x8000;
  if (r.chance(8)) s.mxcsr |= 0x40;
  if (r.chance(30)) s.mxcsr |= r.u32() & 0x3f;
  if (r.chance(6)) s.mxcsr &= ~(0x80 << r.below(6));
}

/** xmm7 down to xmm0 hold different values; the generator overwrites what it needs. */
export function registers(s: Scene, fill: (r: Random) => number[]): Uint8Array {
  const x = new Uint8Array(128);
  for (let i = 0; i < 8; i++) x.set(s.r.chance(35) ? fill(s.r) : Array.from({ length: 16 }, (_, b) => (i * 17 + b) & 255), i * 16);
  s.xmm = x;
  return x;
}

interface XmmOptions { prefix: number[]; opcode: number[]; bytes: number; memory: boolean; source: (r: Random) => number[]; imm?: number[]; align?: number; ext?: number }
/** One instruction `xmm, xmm/m`: source put into the rm register or memory. */
export function xmmRm(s: Scene, o: XmmOptions): RmChoice {
  const x = registers(s, o.source);
  // Memory operands go through the general register part of emitRm; register operands are the same ModRM with xmm numbers.
  const choice = emitRm(s, { opcode: o.opcode, size: 32, prefix: o.prefix, ...(o.ext === undefined ? {} : { ext: o.ext }) }, { memory: o.memory, rmBytes: o.bytes, align: o.align ?? 1, imm: o.imm ?? [] });
  if (o.memory) { if (!s.faulting) s.poke(choice.ea, o.source(s.r).slice(0, o.bytes)); }
  else x.set(o.source(s.r), choice.rm * 16);
  return choice;
}

const KINDS = [false, true] as const;
const kindName = (memory: boolean): string => memory ? 'mem' : 'reg';

export function sse(sheet: Sheet): void {
  for (const [name, opcode] of [['add', 0x58], ['mul', 0x59], ['sub', 0x5c], ['min', 0x5d], ['div', 0x5e], ['max', 0x5f], ['sqrt', 0x51]] as const) for (const lane of ['ss', 'sd', 'ps', 'pd'] as const) for (const memory of KINDS) {
    const double = isDouble(lane), wide = WIDTH[lane] === 16;
    sheet.form(`${name}${lane} ${kindName(memory)}`, wide ? 60 : memory ? 80 : 300, s => {
      control(s);
      const { reg } = xmmRm(s, { prefix: PREFIX[lane], opcode: [0x0f, opcode], bytes: WIDTH[lane], memory, align: wide ? 16 : 1, source: r => packed(r, double) });
      if (memory || s.r.chance(90)) { const rm = s.code[s.code.length - 1]! & 7; if (memory || rm !== reg) s.xmm!.set(packed(s.r, double), reg * 16); }
    });
  }
  for (const lane of ['ss', 'sd', 'ps', 'pd'] as const) for (const memory of KINDS) {
    const double = isDouble(lane), wide = WIDTH[lane] === 16;
    for (let predicate = 0; predicate < 8; predicate++) sheet.form(`cmp${lane} ${predicate} ${kindName(memory)}`, wide ? 12 : 30, s => {
      control(s);
      const { reg, rm } = xmmRm(s, { prefix: PREFIX[lane], opcode: [0x0f, 0xc2], bytes: WIDTH[lane], memory, align: wide ? 16 : 1, source: r => packed(r, double), imm: [predicate] });
      if (rm !== reg) s.xmm!.set(packed(s.r, double), reg * 16);
    });
  }
  for (const [name, opcode] of [['ucomi', 0x2e], ['comi', 0x2f]] as const) for (const lane of ['ss', 'sd'] as const) for (const memory of KINDS) sheet.form(`${name}${lane} ${kindName(memory)}`, 150, s => {
    control(s);
    const double = lane === 'sd';
    const { reg, rm } = xmmRm(s, { prefix: double ? [0x66] : [], opcode: [0x0f, opcode], bytes: double ? 8 : 4, memory, source: r => packed(r, double) });
    if (rm !== reg) s.xmm!.set(packed(s.r, double), reg * 16);
  });
  // Conversions.
  for (const lane of ['ss', 'sd'] as const) for (const memory of KINDS) {
    const prefix = PREFIX[lane];
    sheet.form(`cvtsi2${lane} ${kindName(memory)}`, 120, s => {
      control(s); registers(s, r => packed(r, isDouble(lane)));
      emitRm(s, { opcode: [0x0f, 0x2a], size: 32, prefix }, { rm: operand(s.r, 32), memory });
    });
    for (const [name, opcode] of [[`cvtt${lane}2si`, 0x2c], [`cvt${lane}2si`, 0x2d]] as const) sheet.form(`${name} ${kindName(memory)}`, 200, s => {
      control(s);
      xmmRm(s, { prefix, opcode: [0x0f, opcode], bytes: WIDTH[lane], memory, source: r => r.chance(30) ? packed(r, isDouble(lane)) : near32(r, isDouble(lane)) });
    });
    sheet.form(`cvt${lane}2${lane === 'ss' ? 'sd' : 'ss'} ${kindName(memory)}`, 200, s => { control(s); xmmRm(s, { prefix, opcode: [0x0f, 0x5a], bytes: WIDTH[lane], memory, source: r => packed(r, isDouble(lane)) }); });
  }
  for (const [name, prefix, opcode, bytes, source] of [
    ['cvtps2pd', [], 0x5a, 8, 's'], ['cvtpd2ps', [0x66], 0x5a, 16, 'd'], ['cvtdq2ps', [], 0x5b, 16, 'i'], ['cvtps2dq', [0x66], 0x5b, 16, 's'], ['cvttps2dq', [0xf3], 0x5b, 16, 's'],
    ['cvtdq2pd', [0xf3], 0xe6, 8, 'i'], ['cvtpd2dq', [0xf2], 0xe6, 16, 'd'], ['cvttpd2dq', [0x66], 0xe6, 16, 'd'],
  ] as const) for (const memory of KINDS) sheet.form(`${name} ${kindName(memory)}`, 60, s => {
    control(s);
    xmmRm(s, { prefix: [...prefix], opcode: [0x0f, opcode], bytes, memory, align: bytes === 16 ? 16 : 1, source: r => source === 'i' ? Array.from({ length: 4 }, () => bytes32(operand(r, 32))).flat() : packed(r, source === 'd') });
  });
  // Moves. The ones without an alignment demand also go to odd addresses.
  const any = (r: Random): number[] => Array.from({ length: 4 }, () => bytes32(r.u32())).flat();
  for (const [name, prefix, load, store, bytes, aligned, both] of [
    ['movss', [0xf3], 0x10, 0x11, 4, 0, 1], ['movsd', [0xf2], 0x10, 0x11, 8, 0, 1], ['movups', [], 0x10, 0x11, 16, 0, 1], ['movupd', [0x66], 0x10, 0x11, 16, 0, 1], ['movaps', [], 0x28, 0x29, 16, 16, 1], ['movapd', [0x66], 0x28, 0x29, 16, 16, 1],
    ['movdqa', [0x66], 0x6f, 0x7f, 16, 16, 1], ['movdqu', [0xf3], 0x6f, 0x7f, 16, 0, 1], ['movlps', [], 0x12, 0x13, 8, 0, 0], ['movlpd', [0x66], 0x12, 0x13, 8, 0, 0], ['movhps', [], 0x16, 0x17, 8, 0, 0], ['movhpd', [0x66], 0x16, 0x17, 8, 0, 0],
  ] as const) for (const opcode of [load, store]) for (const memory of both ? KINDS : [true]) {
    sheet.form(`${name} ${opcode === load ? 'load' : 'store'} ${kindName(memory)}`, memory ? 40 : 16, s => { xmmRm(s, { prefix: [...prefix], opcode: [0x0f, opcode], bytes, memory, align: aligned || 1, source: any }); });
    if (aligned && memory) sheet.form(`${name} ${opcode === load ? 'load' : 'store'} misaligned is #GP`, 6, s => { s.xmm = new Uint8Array(128); emitRm(s, { opcode: [0x0f, opcode], size: 32, prefix: [...prefix] }, { memory: true, ea: DATA + 0x101 + s.r.below(15) }); });
  }
  for (const [name, opcode] of [['movhlps', 0x12], ['movlhps', 0x16]] as const) sheet.form(`${name} reg`, 16, s => { xmmRm(s, { prefix: [], opcode: [0x0f, opcode], bytes: 8, memory: false, source: any }); });
  for (const [name, prefix, opcode] of [['movq', [0xf3], 0x7e], ['movq', [0x66], 0xd6]] as const) for (const memory of KINDS) sheet.form(`${name} ${opcode.toString(16)} ${kindName(memory)}`, 30, s => { xmmRm(s, { prefix: [...prefix], opcode: [0x0f, opcode], bytes: 8, memory, source: any }); });
  for (const [direction, opcode] of [['load', 0x6e], ['store', 0x7e]] as const) for (const memory of KINDS) sheet.form(`movd ${direction} ${kindName(memory)}`, 40, s => { registers(s, any); emitRm(s, { opcode: [0x0f, opcode], size: 32, prefix: [0x66] }, { ...(direction === 'load' ? { rm: operand(s.r, 32) } : {}), memory }); });
  for (const [name, prefix, opcode] of [['movntps', [], 0x2b], ['movntpd', [0x66], 0x2b], ['movntdq', [0x66], 0xe7]] as const) sheet.form(`${name} mem`, 20, s => { xmmRm(s, { prefix: [...prefix], opcode: [0x0f, opcode], bytes: 16, memory: true, align: 16, source: any }); });
  sheet.form('movnti mem', 20, s => { emitRm(s, { opcode: [0x0f, 0xc3], size: 32 }, { memory: true }); });
  for (const [name, prefix] of [['movmskps', []], ['movmskpd', [0x66]]] as const) sheet.form(`${name} reg`, 20, s => { xmmRm(s, { prefix: [...prefix], opcode: [0x0f, 0x50], bytes: 16, memory: false, source: any }); });
  for (const [name, opcode] of [['and', 0x54], ['andn', 0x55], ['or', 0x56], ['xor', 0x57], ['unpckl', 0x14], ['unpckh', 0x15]] as const) for (const lane of ['ps', 'pd'] as const) for (const memory of KINDS) {
    sheet.form(`${name}${lane} ${kindName(memory)}`, 24, s => { xmmRm(s, { prefix: PREFIX[lane], opcode: [0x0f, opcode], bytes: 16, memory, align: 16, source: any }); });
  }
  for (const lane of ['ps', 'pd'] as const) for (const memory of KINDS) sheet.form(`shuf${lane} ${kindName(memory)}`, 40, s => { xmmRm(s, { prefix: PREFIX[lane], opcode: [0x0f, 0xc6], bytes: 16, memory, align: 16, source: any, imm: [s.r.u32() & 255] }); });
  sheet.form('addps misaligned is #GP', 6, s => { s.xmm = new Uint8Array(128); emitRm(s, { opcode: [0x0f, 0x58], size: 32 }, { memory: true, ea: DATA + 0x104 }); });
  sheet.form('ldmxcsr', 60, s => {
    s.xmm = new Uint8Array(128);
    const value = s.r.chance(15) ? s.r.u32() : (s.r.u32() & 0xffff);
    emitRm(s, { opcode: [0x0f, 0xae], size: 32, ext: 2 }, { rm: value | (s.r.chance(80) ? 0x1f80 : 0), memory: true });
  });
  sheet.form('stmxcsr', 30, s => { s.xmm = new Uint8Array(128); control(s); emitRm(s, { opcode: [0x0f, 0xae], size: 32, ext: 3 }, { memory: true }); });
  // Pairs: a compare feeding a branch of flags, a sticky exception read back.
  sheet.form('ucomisd then setcc', 120, s => {
    control(s);
    const { reg, rm } = xmmRm(s, { prefix: [0x66], opcode: [0x0f, 0x2e], bytes: 8, memory: false, source: r => packed(r, true) });
    if (rm !== reg) s.xmm!.set(packed(s.r, true), reg * 16);
    s.code.push(0x0f, 0x90 + s.r.below(16), 0xc0 | s.r.below(8));
  });
}

/** Doubles or floats around the int32 range and around halves, where rounding decides. */
export function near32(r: Random, double: boolean): number[] {
  const out = Buffer.alloc(16);
  const v = (r.u32() | 0) / r.pick([1, 1, 2, 4, 1000, 65536]) + r.pick([0, 0.5, -0.5, 0.25, 0.49999]);
  if (double) { out.writeDoubleLE(v, 0); out.writeDoubleLE(-v, 8); } else for (let i = 0; i < 16; i += 4) out.writeFloatLE(Math.fround(v / (i + 1)), i);
  return [...out];
}

export function sseInteger(sheet: Sheet): void {
  const lanes = (r: Random): number[] => Array.from({ length: 16 }, () => r.chance(45) ? r.pick([0, 1, 0x7f, 0x80, 0x81, 0xff, 0xfe]) : r.u32() & 255);
  const OPS: readonly [string, number][] = [
    ['punpcklbw', 0x60], ['punpcklwd', 0x61], ['punpckldq', 0x62], ['packsswb', 0x63], ['pcmpgtb', 0x64], ['pcmpgtw', 0x65], ['pcmpgtd', 0x66], ['packuswb', 0x67], ['punpckhbw', 0x68], ['punpckhwd', 0x69], ['punpckhdq', 0x6a], ['packssdw', 0x6b], ['punpcklqdq', 0x6c], ['punpckhqdq', 0x6d],
    ['pcmpeqb', 0x74], ['pcmpeqw', 0x75], ['pcmpeqd', 0x76], ['psrlw', 0xd1], ['psrld', 0xd2], ['psrlq', 0xd3], ['paddq', 0xd4], ['pmullw', 0xd5], ['psubusb', 0xd8], ['psubusw', 0xd9], ['pminub', 0xda], ['pand', 0xdb], ['paddusb', 0xdc], ['paddusw', 0xdd], ['pmaxub', 0xde], ['pandn', 0xdf],
    ['pavgb', 0xe0], ['psraw', 0xe1], ['psrad', 0xe2], ['pavgw', 0xe3], ['pmulhuw', 0xe4], ['pmulhw', 0xe5], ['psubsb', 0xe8], ['psubsw', 0xe9], ['pminsw', 0xea], ['por', 0xeb], ['paddsb', 0xec], ['paddsw', 0xed], ['pmaxsw', 0xee], ['pxor', 0xef],
    ['psllw', 0xf1], ['pslld', 0xf2], ['psllq', 0xf3], ['pmuludq', 0xf4], ['pmaddwd', 0xf5], ['psadbw', 0xf6], ['psubb', 0xf8], ['psubw', 0xf9], ['psubd', 0xfa], ['psubq', 0xfb], ['paddb', 0xfc], ['paddw', 0xfd], ['paddd', 0xfe],
  ];
  for (const [name, opcode] of OPS) for (const memory of KINDS) sheet.form(`${name} ${kindName(memory)}`, 32, s => {
    const shift = /^ps(rl|ra|ll)/.test(name);
    xmmRm(s, { prefix: [0x66], opcode: [0x0f, opcode], bytes: 16, memory, align: 16, source: r => shift && r.chance(70) ? [r.below(70), ...Array<number>(7).fill(0), ...lanes(r).slice(8)] : lanes(r) });
  });
  for (const [opcode, ext, name] of [[0x71, 2, 'psrlw'], [0x71, 4, 'psraw'], [0x71, 6, 'psllw'], [0x72, 2, 'psrld'], [0x72, 4, 'psrad'], [0x72, 6, 'pslld'], [0x73, 2, 'psrlq'], [0x73, 3, 'psrldq'], [0x73, 6, 'psllq'], [0x73, 7, 'pslldq']] as const) sheet.form(`${name} imm8`, 40, s => {
    xmmRm(s, { prefix: [0x66], opcode: [0x0f, opcode], ext, bytes: 16, memory: false, source: lanes, imm: [s.r.chance(85) ? s.r.below(66) : s.r.u32() & 255] });
  });
  for (const [name, prefix] of [['pshufd', 0x66], ['pshufhw', 0xf3], ['pshuflw', 0xf2]] as const) for (const memory of KINDS) sheet.form(`${name} ${kindName(memory)}`, 30, s => { xmmRm(s, { prefix: [prefix], opcode: [0x0f, 0x70], bytes: 16, memory, align: 16, source: lanes, imm: [s.r.u32() & 255] }); });
  sheet.form('pextrw reg', 24, s => { xmmRm(s, { prefix: [0x66], opcode: [0x0f, 0xc5], bytes: 16, memory: false, source: lanes, imm: [s.r.u32() & 255] }); });
  for (const memory of KINDS) sheet.form(`pinsrw ${kindName(memory)}`, 24, s => { registers(s, lanes); emitRm(s, { opcode: [0x0f, 0xc4], size: 32, rmSize: 16, prefix: [0x66] }, { rm: operand(s.r, 32), memory, imm: [s.r.u32() & 255] }); });
  sheet.form('pmovmskb reg', 24, s => { xmmRm(s, { prefix: [0x66], opcode: [0x0f, 0xd7], bytes: 16, memory: false, source: lanes }); });
}
