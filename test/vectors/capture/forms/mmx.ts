/** MMX on registers that alias x87, the instructions of SSE and SSE2 that use them, and SSE3. */
import { DATA, EDI } from '../../environment.ts';
import { bytes32, emitRm, operand, type Random, type Scene } from '../scene.ts';
import type { Sheet } from '../sheet.ts';
import { control, near32, packed, registers, xmmRm } from './sse.ts';
import { fpuState } from './x87.ts';

const KINDS = [false, true] as const;
const kindName = (memory: boolean): string => memory ? 'mem' : 'reg';
const lanes = (r: Random): number[] => Array.from({ length: 8 }, () => r.chance(45) ? r.pick([0, 1, 0x7f, 0x80, 0x81, 0xff, 0xfe]) : r.u32() & 255);

/** Any x87 state before; MMn is the significand of physical register n. */
function mmxState(s: Scene): (register: number, value: readonly number[]) => void {
  const image = fpuState(s, { st: [], unmask: 5, full: 40, empties: [0, 1, 2, 3] }), top = image[5]! >> 3 & 7;
  return (register, value) => { image.set(value, 28 + (register - top & 7) * 10); };
}
interface Operands { prefix?: number[]; opcode: number; bytes?: number; memory: boolean; source?: (r: Random) => number[]; imm?: number[]; ext?: number }
function mmRm(s: Scene, { prefix = [], opcode, bytes = 8, memory, source = lanes, imm = [], ext }: Operands): void {
  const put = mmxState(s);
  const choice = emitRm(s, { opcode: [0x0f, opcode], size: 32, prefix, ...(ext === undefined ? {} : { ext }) }, { memory, rmBytes: bytes, imm });
  if (ext === undefined) put(choice.reg, source(s.r));
  if (memory) { if (!s.faulting) s.poke(choice.ea, source(s.r).slice(0, bytes)); } else put(choice.rm, source(s.r));
}

export function mmx(sheet: Sheet): void {
  const OPS: readonly [string, number][] = [
    ['punpcklbw', 0x60], ['punpcklwd', 0x61], ['punpckldq', 0x62], ['packsswb', 0x63], ['pcmpgtb', 0x64], ['pcmpgtw', 0x65], ['pcmpgtd', 0x66], ['packuswb', 0x67], ['punpckhbw', 0x68], ['punpckhwd', 0x69], ['punpckhdq', 0x6a], ['packssdw', 0x6b],
    ['pcmpeqb', 0x74], ['pcmpeqw', 0x75], ['pcmpeqd', 0x76], ['psrlw', 0xd1], ['psrld', 0xd2], ['psrlq', 0xd3], ['paddq', 0xd4], ['pmullw', 0xd5], ['psubusb', 0xd8], ['psubusw', 0xd9], ['pminub', 0xda], ['pand', 0xdb], ['paddusb', 0xdc], ['paddusw', 0xdd], ['pmaxub', 0xde], ['pandn', 0xdf],
    ['pavgb', 0xe0], ['psraw', 0xe1], ['psrad', 0xe2], ['pavgw', 0xe3], ['pmulhuw', 0xe4], ['pmulhw', 0xe5], ['psubsb', 0xe8], ['psubsw', 0xe9], ['pminsw', 0xea], ['por', 0xeb], ['paddsb', 0xec], ['paddsw', 0xed], ['pmaxsw', 0xee], ['pxor', 0xef],
    ['psllw', 0xf1], ['pslld', 0xf2], ['psllq', 0xf3], ['pmuludq', 0xf4], ['pmaddwd', 0xf5], ['psadbw', 0xf6], ['psubb', 0xf8], ['psubw', 0xf9], ['psubd', 0xfa], ['psubq', 0xfb], ['paddb', 0xfc], ['paddw', 0xfd], ['paddd', 0xfe],
  ];
  for (const [name, opcode] of OPS) for (const memory of KINDS) sheet.form(`${name} mm ${kindName(memory)}`, memory ? 20 : 30, s => {
    const shift = /^ps(rl|ra|ll)/.test(name), source = (r: Random): number[] => shift && r.chance(70) ? [r.below(70), 0, 0, 0, 0, 0, 0, 0] : lanes(r);
    mmRm(s, { opcode, memory, bytes: /^punpckl/.test(name) ? 4 : 8, source });
  });
  for (const [opcode, ext, name] of [[0x71, 2, 'psrlw'], [0x71, 4, 'psraw'], [0x71, 6, 'psllw'], [0x72, 2, 'psrld'], [0x72, 4, 'psrad'], [0x72, 6, 'pslld'], [0x73, 2, 'psrlq'], [0x73, 6, 'psllq']] as const) sheet.form(`${name} mm imm8`, 24, s => { mmRm(s, { opcode, ext, memory: false, imm: [s.r.chance(85) ? s.r.below(66) : s.r.u32() & 255] }); });
  for (const memory of KINDS) {
    sheet.form(`pshufw mm ${kindName(memory)}`, 24, s => { mmRm(s, { opcode: 0x70, memory, imm: [s.r.u32() & 255] }); });
    sheet.form(`movq mm load ${kindName(memory)}`, 24, s => { mmRm(s, { opcode: 0x6f, memory }); });
    sheet.form(`movq mm store ${kindName(memory)}`, 24, s => { mmRm(s, { opcode: 0x7f, memory }); });
    for (const [direction, opcode] of [['load', 0x6e], ['store', 0x7e]] as const) sheet.form(`movd mm ${direction} ${kindName(memory)}`, 24, s => { const put = mmxState(s), { reg } = emitRm(s, { opcode: [0x0f, opcode], size: 32 }, { ...(direction === 'load' ? { rm: operand(s.r, 32) } : {}), memory }); put(reg, lanes(s.r)); });
    sheet.form(`pinsrw mm ${kindName(memory)}`, 24, s => { const put = mmxState(s), { reg } = emitRm(s, { opcode: [0x0f, 0xc4], size: 32, rmSize: 16 }, { rm: operand(s.r, 32), memory, imm: [s.r.u32() & 255] }); put(reg, lanes(s.r)); });
  }
  for (const [name, opcode, imm] of [['pextrw', 0xc5, true], ['pmovmskb', 0xd7, false]] as const) sheet.form(`${name} mm reg`, 24, s => {
    const put = mmxState(s), source = s.r.below(8), to = s.r.pick([0, 1, 2, 3, 5, 6, 7]);
    put(source, lanes(s.r));
    s.code.push(0x0f, opcode, 0xc0 | to << 3 | source, ...(imm ? [s.r.u32() & 255] : []));
  });
  sheet.form('movntq mem', 20, s => { mmRm(s, { opcode: 0xe7, memory: true }); });
  sheet.form('emms', 24, s => { fpuState(s, { full: 50, empties: [0, 1] }); s.code.push(0x0f, 0x77); });
  for (const [name, prefix, opcode] of [['maskmovq', [], 0xf7], ['maskmovdqu', [0x66], 0xf7]] as const) sheet.form(name, 30, s => {
    const mask = (r: Random): number[] => Array.from({ length: 8 }, () => r.chance(50) ? 0x80 | r.u32() & 127 : r.u32() & 127);
    const a = s.r.below(8), b = s.r.below(8);
    if (prefix.length) { mmxState(s); const x = registers(s, r => [...mask(r), ...mask(r)]); x.set([...mask(s.r), ...mask(s.r)], b * 16); } else { const put = mmxState(s); put(a, lanes(s.r)); put(b, mask(s.r)); }
    s.regs[EDI] = DATA + 0x100 + s.r.below(64);
    s.code.push(...prefix, 0x0f, opcode, 0xc0 | a << 3 | b);
  });
  // A pending x87 exception comes first; the #MF is the MMX instruction's.
  for (const [name, ...code] of [['paddb', 0x0f, 0xfc, 0xc1], ['emms', 0x0f, 0x77], ['movd', 0x0f, 0x7e, 0xc0], ['pshufw', 0x0f, 0x70, 0xc1, 0x1b]] as const) sheet.form(`${name} with an exception pending`, 8, s => {
    const image = fpuState(s, { unmask: 0 });
    image[0]! &= ~4; image[4]! |= 0x84; image[5]! |= 0x80;
    s.code.push(...code);
  });
  // Between the register files.
  sheet.form('movdq2q', 20, s => { mmxState(s); registers(s, r => [...lanes(r), ...lanes(r)]); s.code.push(0xf2, 0x0f, 0xd6, 0xc0 | s.r.below(64)); });
  sheet.form('movq2dq', 20, s => { const put = mmxState(s); registers(s, r => [...lanes(r), ...lanes(r)]); const from = s.r.below(8); put(from, lanes(s.r)); s.code.push(0xf3, 0x0f, 0xd6, 0xc0 | s.r.below(8) << 3 | from); });
  for (const [name, prefix] of [['cvtpi2ps', []], ['cvtpi2pd', [0x66]]] as const) for (const memory of KINDS) sheet.form(`${name} ${kindName(memory)}`, memory ? 50 : 200, s => {
    const ints = (r: Random): number[] => [...bytes32(operand(r, 32)), ...bytes32(operand(r, 32))];
    const put = mmxState(s);
    control(s);
    registers(s, r => packed(r, prefix.length > 0));
    const choice = emitRm(s, { opcode: [0x0f, 0x2a], size: 32, prefix: [...prefix] }, { memory, rmBytes: 8 });
    if (memory) { if (!s.faulting) s.poke(choice.ea, ints(s.r)); } else put(choice.rm, ints(s.r));
  });
  for (const [name, prefix, opcode] of [['cvttps2pi', [], 0x2c], ['cvtps2pi', [], 0x2d], ['cvttpd2pi', [0x66], 0x2c], ['cvtpd2pi', [0x66], 0x2d]] as const) for (const memory of KINDS) sheet.form(`${name} ${kindName(memory)}`, 60, s => {
    const double = prefix.length > 0;
    mmxState(s);
    control(s);
    xmmRm(s, { prefix: [...prefix], opcode: [0x0f, opcode], bytes: double ? 16 : 8, memory, align: double ? 16 : 1, source: r => r.chance(35) ? packed(r, double) : near32(r, double) });
  });
}

export function sse3(sheet: Sheet): void {
  for (const [name, opcode] of [['hadd', 0x7c], ['hsub', 0x7d], ['addsub', 0xd0]] as const) for (const lane of ['ps', 'pd'] as const) for (const memory of KINDS) sheet.form(`${name}${lane} ${kindName(memory)}`, memory ? 60 : 120, s => {
    const double = lane === 'pd';
    control(s);
    const { reg, rm } = xmmRm(s, { prefix: [double ? 0x66 : 0xf2], opcode: [0x0f, opcode], bytes: 16, memory, align: 16, source: r => packed(r, double) });
    if (rm !== reg) s.xmm!.set(packed(s.r, double), reg * 16);
  });
  const any = (r: Random): number[] => [...lanes(r), ...lanes(r)];
  for (const [name, prefix, opcode, bytes, align] of [['movddup', 0xf2, 0x12, 8, 1], ['movsldup', 0xf3, 0x12, 16, 16], ['movshdup', 0xf3, 0x16, 16, 16]] as const) for (const memory of KINDS) sheet.form(`${name} ${kindName(memory)}`, 20, s => { xmmRm(s, { prefix: [prefix], opcode: [0x0f, opcode], bytes, memory, align, source: any }); });
  sheet.form('lddqu mem', 30, s => { xmmRm(s, { prefix: [0xf2], opcode: [0x0f, 0xf0], bytes: 16, memory: true, source: any }); });
}
