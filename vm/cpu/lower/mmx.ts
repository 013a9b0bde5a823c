/**
 * MMX, and the SSE and SSE2 instructions that touch MMX registers. MMn is the significand of *physical* x87 register n; every
 * instruction but EMMS sets TOP to 0 and marks all eight registers as full, a write fills sign and exponent with ones (SDM vol. 1, 9.5).
 *
 * A 64-bit operand is the low half of a vector, so an operation is the SSE2 one with its upper half ignored. Rows are named after the
 * instruction with `_mm`, which the disassembler leaves out.
 */
import { CR0, CR4, S, VEC } from '../state.ts';
import { FSW } from '../float/extended.ts';
import { SHAPES, floatOpNumber, type FloatOp, type Shape } from '../float/ops.ts';
import { q } from '../float/wide.ts';
import * as w from '../wasm.ts';
import { I, L, V, simd, type N } from '../wasm.ts';
import type { Cx, Semantics } from './context.ts';

const k = w.k;

/** #UD without MMX (or, of instructions that use XMM too, without OS support), #NM, #MF. */
function guard(c: Cx, sse: boolean): void {
  const cr0 = w.and(c.state(S.cr0), k(CR0.EM | CR0.TS)), pending = w.and(c.state(S.fpuStatus), k(FSW.ES));
  const noSse = (): N => w.eqz(w.and(c.state(S.cr4), k(CR4.OSFXSR)));
  c.fn.if(sse ? w.or(w.or(cr0, pending), noSse()) : w.or(cr0, pending), () => {
    const undefinedOpcode = sse ? w.or(w.and(c.state(S.cr0), k(CR0.EM)), noSse()) : w.and(c.state(S.cr0), k(CR0.EM));
    const vector = w.select(k(VEC.UD), w.select(k(VEC.NM), k(VEC.MF), w.and(c.state(S.cr0), k(CR0.TS))), undefinedOpcode);
    c.fn.do(w.call(c.slow.raise, 0x40, c.cpu, vector, k(-1)));
    c.faultIf();
  }, undefined, 0);
}
/** The registers are MMX's from here on. */
function enter(c: Cx): void {
  c.setState(S.fpuTop, k(0));
  c.setState(S.fpuTag, k(0xff));
}
const mmx = (body: Semantics, sse = false): Semantics => c => { guard(c, sse); body(c); };

/** Operand i as 64 bits; memory of `bits`, zero-extended. Pinned. */
function read(c: Cx, i: number, bits = 64): N {
  if (c.operandClass(i) === 'P') return c.let(w.load64(c.mmxAddress(i)));
  return bits === 64 ? c.readMemory(c.linear(i, 8, false), 64) : c.let(q.from(c.readMemory(c.linear(i, 4, false), 32)));
}
function write(c: Cx, i: number, value: N): void {
  const slot = c.mmxAddress(i);
  c.fn.store64(slot, value);
  c.fn.store16(slot, k(0xffff), 8);
}
const vector = (x: N): N => w.op1(simd(0x12), V, x);
const low = (x: N): N => w.lane(simd(0x1d), L, 0, x);
/** mm0 = f(mm0, mm1 or memory), of 64-bit integers. */
const binary = (f: (c: Cx, a: N, b: N) => N, memoryBits = 64): Semantics => mmx(c => {
  const b = read(c, 1, memoryBits);
  enter(c);
  write(c, 0, f(c, c.let(w.load64(c.mmxAddress(0))), b));
});
const packed = (op: number): Semantics => binary((_c, a, b) => low(w.op2(simd(op), V, vector(a), vector(b))));
const bytes = (width: number, pick: (i: number) => number): number[] => Array.from({ length: 16 }, (_, b) => pick(Math.floor(b / width) % (8 / width)) * width + b % width);
/** Interleaves the low or high halves. */
const unpack = (width: number, high: boolean): Semantics => {
  const from = high ? 4 / width : 0;
  return binary((_c, a, b) => low(w.shuffle(bytes(width, i => (i % 2 ? 16 / width : 0) + from + (i >> 1)), vector(a), vector(b))), high ? 64 : 32);
};
/** Both operands side by side, narrowed. */
const pack = (op: number): Semantics => binary((c, a, b) => {
  const both = c.let(w.lane(simd(0x1e), V, 1, vector(a), b));
  return low(w.op2(simd(op), V, both, both));
});
const shift = (op: number, width: number, arithmetic = false): Semantics => mmx(c => {
  let count: N;
  if (c.operandClass(1) === 'I') count = c.let(w.and(c.imm(1), k(255)));
  else { const wide = read(c, 1); count = c.let(w.select(k(255), q.low(wide), q.gt(wide, q.k(255)))); }
  enter(c);
  const a = w.load64(c.mmxAddress(0));
  const capped = c.let(w.select(k(width - 1), count, w.gtu(count, k(width - 1))));
  const shifted = c.let(low(w.op2(simd(op), V, vector(a), capped)));
  write(c, 0, arithmetic ? shifted : w.select(q.k(0), shifted, w.gtu(count, k(width - 1))));
});
const store: Semantics = mmx(c => {
  const value = c.let(w.load64(c.mmxAddress(1)));
  if (c.operandClass(0) === 'P') { enter(c); write(c, 0, value); return; }
  c.writeMemory(c.linear(0, 8, true), 64, value);
  enter(c);
});
/** Runs a conversion of vm/cpu/float on the source in scratch0. */
function convert(c: Cx, op: FloatOp, shape: Shape, destination: N): void {
  c.fn.drop(w.call(c.slow.float, I, c.cpu, k(floatOpNumber(op)), k(SHAPES.indexOf(shape)), destination, k(0)));
  c.faultIf(c.state(S.fault));
}
/** From integers in an MMX register or memory. Memory operands change nothing of x87. */
const fromIntegers = (op: FloatOp, shape: Shape): Semantics => c => {
  const register = c.operandClass(1) === 'P';
  guard(c, true);
  c.fn.store64(c.cpu, read(c, 1), S.scratch0);
  if (register) enter(c);
  c.spillX(0);
  convert(c, op, shape, c.xmmAddress(0));
  c.fillX(0);
};
/** To integers in an MMX register; the source is 8 or 16 bytes. */
const toIntegers = (op: FloatOp, shape: Shape): Semantics => mmx(c => {
  const { fn } = c;
  if (shape === 'pd') {
    if (c.operandClass(1) === 'V') fn.store128(c.cpu, c.getX(1), S.scratch0);
    else {
      const va = c.let(c.linear(1, 16, false));
      c.raiseIf(w.and(va, k(15)), VEC.GP, 0);
      fn.store128(c.cpu, c.readMemory(va, 128), S.scratch0);
    }
  } else fn.store64(c.cpu, c.operandClass(1) === 'V' ? c.getX64(1) : c.readMemory(c.linear(1, 8, false), 64), S.scratch0);
  enter(c); // also when the conversion raises #XM
  convert(c, op, shape, c.mmxAddress(0));
  fn.store16(c.mmxAddress(0), k(0xffff), 8);
}, true);

export const MMX: Record<string, Semantics> = {
  emms: mmx(c => { c.setState(S.fpuTop, k(0)); c.setState(S.fpuTag, k(0)); }),
  punpcklbw_mm: unpack(1, false), punpcklwd_mm: unpack(2, false), punpckldq_mm: unpack(4, false), punpckhbw_mm: unpack(1, true), punpckhwd_mm: unpack(2, true), punpckhdq_mm: unpack(4, true),
  packsswb_mm: pack(0x65), packuswb_mm: pack(0x66), packssdw_mm: pack(0x85),
  pcmpgtb_mm: packed(0x27), pcmpgtw_mm: packed(0x31), pcmpgtd_mm: packed(0x3b), pcmpeqb_mm: packed(0x23), pcmpeqw_mm: packed(0x2d), pcmpeqd_mm: packed(0x37),
  psrlw_mm: shift(0x8d, 16), psrld_mm: shift(0xad, 32), psrlq_mm: shift(0xcd, 64), psllw_mm: shift(0x8b, 16), pslld_mm: shift(0xab, 32), psllq_mm: shift(0xcb, 64), psraw_mm: shift(0x8c, 16, true), psrad_mm: shift(0xac, 32, true),
  paddb_mm: packed(0x6e), paddw_mm: packed(0x8e), paddd_mm: packed(0xae), paddq_mm: binary((_c, a, b) => q.add(a, b)), psubb_mm: packed(0x71), psubw_mm: packed(0x91), psubd_mm: packed(0xb1), psubq_mm: binary((_c, a, b) => q.sub(a, b)),
  paddsb_mm: packed(0x6f), paddsw_mm: packed(0x8f), paddusb_mm: packed(0x70), paddusw_mm: packed(0x90), psubsb_mm: packed(0x72), psubsw_mm: packed(0x92), psubusb_mm: packed(0x73), psubusw_mm: packed(0x93),
  pmullw_mm: packed(0x95), pmaddwd_mm: packed(0xba), pminub_mm: packed(0x77), pmaxub_mm: packed(0x79), pminsw_mm: packed(0x96), pmaxsw_mm: packed(0x98), pavgb_mm: packed(0x7b), pavgw_mm: packed(0x9b),
  pmulhw_mm: binary((_c, a, b) => highHalves(0xbc, a, b)), pmulhuw_mm: binary((_c, a, b) => highHalves(0xbe, a, b)),
  pmuludq_mm: binary((_c, a, b) => q.mul(q.and(a, q.k(0xffffffffn)), q.and(b, q.k(0xffffffffn)))),
  psadbw_mm: binary((c, a, b) => {
    const x = vector(a), y = vector(b);
    const difference = c.let(w.op2(simd(0x50), V, w.op2(simd(0x73), V, x, y), w.op2(simd(0x73), V, y, x)));
    const sums = c.let(low(w.op1(simd(0x7f), V, w.op1(simd(0x7d), V, difference))));
    return q.and(q.add(sums, q.shr(sums, q.k(32))), q.k(0xffff));
  }),
  pand_mm: binary((_c, a, b) => q.and(a, b)), pandn_mm: binary((_c, a, b) => q.and(q.xor(a, q.k(-1n)), b)), por_mm: binary((_c, a, b) => q.or(a, b)), pxor_mm: binary((_c, a, b) => q.xor(a, b)),
  pshufw_mm: mmx(c => {
    const source = read(c, 1), imm = c.let(w.and(c.imm(2), k(255)));
    enter(c);
    const word = (i: number): N => q.shl(q.and(q.shr(source, q.from(w.shl(w.and(w.shr(imm, k(i * 2)), k(3)), k(4)))), q.k(0xffff)), q.k(i * 16));
    write(c, 0, q.or(q.or(word(0), word(1)), q.or(word(2), word(3))));
  }),
  pinsrw_mm: mmx(c => {
    const value = c.isMemory(1) ? c.readMemory(c.linear(1, 2, false), 16) : c.let(c.rd(1));
    enter(c);
    c.fn.store16(w.add(c.mmxAddress(0), w.shl(w.and(c.imm(2), k(3)), k(1))), value);
    c.fn.store16(c.mmxAddress(0), k(0xffff), 8);
  }),
  pextrw_mm: mmx(c => { enter(c); c.wr(0, w.load16u(w.add(c.mmxAddress(1), w.shl(w.and(c.imm(2), k(3)), k(1))))); }),
  pmovmskb_mm: mmx(c => { enter(c); c.wr(0, w.and(w.op1(simd(0x64), I, vector(w.load64(c.mmxAddress(1)))), k(0xff))); }),
  movd_to_mm: mmx(c => { const value = c.let(q.from(c.rd(1))); enter(c); write(c, 0, value); }),
  movd_from_mm: mmx(c => { c.wr(0, c.let(w.load(c.mmxAddress(1)))); enter(c); }),
  movq_load_mm: mmx(c => { const value = read(c, 1); enter(c); write(c, 0, value); }),
  movq_store_mm: store, movntq: store,
  movdq2q: mmx(c => { enter(c); write(c, 0, c.getX64(1)); }, true),
  movq2dq: mmx(c => { enter(c); c.setX64(0, w.load64(c.mmxAddress(1))); c.setX64(0, q.k(0), 1); }, true),
  cvtpi2ps: fromIntegers('cvtpi2ps', 'ps'), cvtpi2pd: fromIntegers('cvtpi2pd', 'pd'),
  cvtps2pi: toIntegers('cvtps2pi', 'ps'), cvttps2pi: toIntegers('cvttps2pi', 'ps'), cvtpd2pi: toIntegers('cvtpd2pi', 'pd'), cvttpd2pi: toIntegers('cvttpd2pi', 'pd'),
};
function highHalves(op: number, a: N, b: N): N {
  const product = w.op2(simd(op), V, vector(a), vector(b));
  return low(w.shuffle([2, 3, 6, 7, 10, 11, 14, 15, 2, 3, 6, 7, 10, 11, 14, 15], product, product));
}
