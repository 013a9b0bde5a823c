/**
 * Semantics of the integer instructions (Intel SDM vol. 2), except shifts, control transfer and strings.
 */
import { FLAG, S, VEC } from '../state.ts';
import * as w from '../wasm.ts';
import type { N } from '../wasm.ts';
import type { AtomicOperation, Cx, FlagKind, Semantics } from './context.ts';

const k = w.k;

function arithmetic(kind: FlagKind, f: (a: N, b: N) => N, name: AtomicOperation): Semantics {
  return c => {
    const b = c.let(c.rd(1));
    const old = c.atomicRmw(name, 0, b);
    const a = old ?? c.rmw(0);
    const res = c.let(f(a, b));
    if (!old) c.wr(0, res);
    c.flags(kind, c.size, a, b, res);
  };
}
function withCarry(kind: FlagKind, f: (a: N, b: N, carry: N) => N): Semantics {
  return c => {
    const b = c.let(c.rd(1)), carryIn = c.let(c.carry());
    const old = c.atomicUpdate(0, a => f(a, b, carryIn));
    const a = old ?? c.rmw(0), carry = old ? carryIn : c.let(c.carry());
    const res = c.let(f(a, b, carry));
    if (!old) c.wr(0, res);
    c.flags(kind, c.size, a, b, res);
    // Bit size-1 of a partial result decides; the direct conditions assume no carry-in.
    c.pending = null;
  };
}
function compare(c: Cx): void {
  const a = c.let(c.rd(0)), b = c.let(c.rd(1));
  c.flags('sub', c.size, a, b, c.let(w.sub(a, b)));
}
function test(c: Cx): void {
  const a = c.let(c.rd(0)), b = c.rd(1);
  c.flags('logic', c.size, a, a, c.let(w.and(a, b)));
}
const step = (kind: 'inc' | 'dec'): Semantics => c => {
  const old = c.atomicRmw(kind === 'inc' ? 'add' : 'sub', 0, k(1));
  const a = old ?? c.rmw(0);
  const res = c.let(kind === 'inc' ? w.add(a, k(1)) : w.sub(a, k(1)));
  if (!old) c.wr(0, res);
  c.flags(kind, c.size, a, k(1), res);
};

/** Widening multiply of EAX by operand 0 into EDX:EAX (or DX:AX, AX). */
const multiply = (signed: boolean): Semantics => c => {
  const size = c.size;
  const source = c.rd(0);
  if (size === 32) {
    const wide = (x: N): N => w.op1(signed ? 0xac : 0xad, w.L, x);
    const product = c.let(w.op2(0x7e, w.L, wide(c.getReg(0, 32)), wide(source)));
    const low = c.let(w.op1(0xa7, w.I, product)), high = c.let(w.op1(0xa7, w.I, w.op2(0x88, w.L, product, w.k64(32n))));
    c.setReg(0, 32, low); c.setReg(2, 32, high);
    const overflow = w.ne(high, signed ? w.sar(low, k(31)) : k(0));
    c.flagsFrom(32, low, overflow, overflow);
    return;
  }
  const extend = (x: N): N => signed ? c.signed(x, size) : c.unsigned(x, size);
  const product = c.let(w.mul(extend(c.getReg(0, size)), extend(source)));
  if (size === 8) c.setReg(0, 16, product);
  else { c.setReg(0, 16, product); c.setReg(2, 16, w.shr(product, k(16))); }
  const overflow = signed ? w.ne(c.signed(product, size), product) : w.ne(w.shr(product, k(size)), k(0));
  c.flagsFrom(size, product, overflow, overflow);
};
const multiplyTruncated = (first: number, second: number): Semantics => c => {
  const size = c.size;
  const a = c.let(c.rd(first)), b = c.let(c.rd(second));
  if (size === 32) {
    if (!c.needFlags) { c.wr(0, w.mul(a, b)); return; }
    const wide = (x: N): N => w.op1(0xac, w.L, x);
    const product = c.let(w.op2(0x7e, w.L, wide(a), wide(b)));
    const low = c.let(w.op1(0xa7, w.I, product));
    c.wr(0, low);
    const overflow = w.op2(0x52, w.I, wide(low), product);
    c.flagsFrom(32, low, overflow, overflow);
    return;
  }
  const product = c.let(w.mul(c.signed(a, size), c.signed(b, size)));
  c.wr(0, product);
  const overflow = w.ne(c.signed(product, size), product);
  c.flagsFrom(size, product, overflow, overflow);
};

/** DIV/IDIV: #DE on zero or an unrepresentable quotient. Flags keep their values (undefined in the manual). */
const divide = (signed: boolean): Semantics => c => {
  const size = c.size;
  const divisor = c.let(signed ? c.signed(c.rd(0), size) : c.rd(0));
  c.raiseIf(w.eqz(divisor), VEC.DE, -1);
  if (size === 32) {
    const wide = (x: N): N => w.op1(signed ? 0xac : 0xad, w.L, x);
    const dividend = c.let(w.op2(0x84, w.L, w.op2(0x86, w.L, w.op1(0xad, w.L, c.getReg(2, 32)), w.k64(32n)), w.op1(0xad, w.L, c.getReg(0, 32))));
    const d = c.let(wide(divisor));
    // i64.div_s traps on INT64_MIN / -1, whose quotient does not fit anyway.
    if (signed) c.raiseIf(w.and(w.eq(divisor, k(-1)), w.op2(0x51, w.I, dividend, w.k64(-(1n << 63n)))), VEC.DE, -1);
    const quotient = c.let(w.op2(signed ? 0x7f : 0x80, w.L, dividend, d));
    const low = c.let(w.op1(0xa7, w.I, quotient));
    c.raiseIf(w.op2(0x52, w.I, wide(low), quotient), VEC.DE, -1);
    const remainder = c.let(w.op1(0xa7, w.I, w.op2(0x7d, w.L, dividend, w.op2(0x7e, w.L, quotient, d))));
    c.setReg(0, 32, low); c.setReg(2, 32, remainder);
    return;
  }
  const dividend = size === 16 ? c.let(w.or(w.shl(c.getReg(2, 16), k(16)), c.getReg(0, 16)))
    : c.let(signed ? w.sext16(c.getReg(0, 16)) : c.getReg(0, 16));
  if (signed && size === 16) c.raiseIf(w.and(w.eq(divisor, k(-1)), w.eq(dividend, k(0x80000000 | 0))), VEC.DE, -1);
  const quotient = c.let(w.op2(signed ? 0x6d : 0x6e, w.I, dividend, divisor));
  c.raiseIf(w.ne(signed ? c.signed(quotient, size) : c.unsigned(quotient, size), quotient), VEC.DE, -1);
  const remainder = c.let(w.op2(signed ? 0x6f : 0x70, w.I, dividend, divisor));
  if (size === 8) c.setReg(0, 16, w.or(w.and(quotient, k(0xff)), w.shl(w.and(remainder, k(0xff)), k(8))));
  else { c.setReg(0, 16, quotient); c.setReg(2, 16, remainder); }
};

/** BT family with a register index: memory operands are bit strings addressed beyond the operand. */
const bitOp = (name: string, immediate: boolean): Semantics => c => {
  const size = c.size, bits = size - 1;
  const change = (old: N, mask: N): N => name === 'bts' ? w.or(old, mask) : name === 'btr' ? w.and(old, w.xor(mask, k(-1))) : w.xor(old, mask);
  const index = c.let(c.rd(1));
  const bit = c.let(w.and(index, k(bits)));
  if (immediate || !c.isMemory(0)) {
    if (name === 'bt') { c.setCarry(w.and(w.shr(c.rd(0), bit), k(1))); return; }
    const mask = c.let(w.shl(k(1), bit));
    const family = name === 'bts' ? 'or' : name === 'btr' ? 'and' : 'xor';
    const atomicOld = c.atomicRmw(family, 0, name === 'btr' ? w.xor(mask, k(-1)) : mask);
    const old = atomicOld ?? c.rmw(0);
    if (!atomicOld) c.wr(0, change(old, mask));
    c.setCarry(w.and(w.shr(old, bit), k(1)));
    return;
  }
  const offset = c.let(w.shl(w.sar(size === 16 ? w.sext16(index) : index, k(size === 16 ? 4 : 5)), k(size === 16 ? 1 : 2)));
  c.bitStringOffset = offset;
  if (name === 'bt') { c.setCarry(w.and(w.shr(c.rd(0), bit), k(1))); c.bitStringOffset = null; return; }
  const mask = c.let(w.shl(k(1), bit));
  const family = name === 'bts' ? 'or' : name === 'btr' ? 'and' : 'xor';
  const atomicOld = c.atomicRmw(family, 0, name === 'btr' ? w.xor(mask, k(-1)) : mask);
  const old = atomicOld ?? c.rmw(0);
  if (!atomicOld) c.wr(0, change(old, mask));
  c.bitStringOffset = null;
  c.setCarry(w.and(w.shr(old, bit), k(1)));
};
const bitScan = (reverse: boolean): Semantics => c => {
  const source = c.let(c.rd(1));
  // Zero source: ZF set, destination kept (Intel and AMD processors do that).
  c.fn.if(source, () => c.wr(0, reverse ? w.sub(k(31), w.clz(source)) : w.ctz(source)));
  c.flagsFrom(c.size, source, k(0), k(0));
};

const exchange: Semantics = c => {
  const b = c.let(c.rd(1));
  // XCHG with memory is locked with or without the prefix.
  const wasLock = c.lock;
  c.lock = true;
  const old = c.atomicRmw('xchg', 0, b);
  c.lock = wasLock;
  const a = old ?? c.rmw(0);
  if (!old) c.wr(0, b);
  c.wr(1, a);
};
const exchangeAdd: Semantics = c => {
  const b = c.let(c.rd(1));
  const old = c.atomicRmw('add', 0, b);
  const a = old ?? c.rmw(0);
  const res = c.let(w.add(a, b));
  if (c.isMemory(0)) { if (!old) c.wr(0, res); c.wr(1, a); } else { c.wr(1, a); c.wr(0, res); }
  c.flags('add', c.size, a, b, res);
};
const compareExchange: Semantics = c => {
  const size = c.size, fn = c.fn;
  const accumulator = c.let(c.getReg(0, size)), source = c.let(c.rd(1));
  const old = c.atomicCompareExchange(accumulator, source) ?? ((): N => {
    const value = c.rmw(0);
    // The destination is written in either case (the old value back), as the bus cycle of the real instruction.
    c.wr(0, w.select(source, value, w.eq(value, accumulator)));
    return value;
  })();
  const res = c.let(w.sub(accumulator, old));
  fn.if(c.unsigned(res, size), () => c.setReg(0, size, old));
  c.flags('sub', size, accumulator, old, res);
};
const compareExchange8: Semantics = c => {
  const fn = c.fn;
  const pair = (high: number, low: number): N => w.op2(0x84, w.L, w.op2(0x86, w.L, w.op1(0xad, w.L, c.getReg(high, 32)), w.k64(32n)), w.op1(0xad, w.L, c.getReg(low, 32)));
  const expected = c.let(pair(2, 0)), replacement = c.let(pair(1, 3));
  const old = c.exchange64(expected, replacement);
  const same = c.let(w.op2(0x51, w.I, old, expected));
  fn.if(w.eqz(same), () => {
    c.setReg(0, 32, w.op1(0xa7, w.I, old));
    c.setReg(2, 32, w.op1(0xa7, w.I, w.op2(0x88, w.L, old, w.k64(32n))));
  });
  if (c.needFlags) c.loadArithmeticFlags(w.or(w.and(c.arithmeticFlags(), k(~FLAG.ZF)), w.shl(same, k(6))));
};

/** Decimal adjust (SDM vol. 2: DAA, DAS, AAA, AAS), on AL with AF and CF. */
const decimalAdjust = (subtract: boolean): Semantics => c => {
  const al = c.let(c.getReg(0, 8)), cf = c.let(c.carry()), af = c.let(w.and(w.shr(c.flagAux(), k(3)), k(1)));
  const low = c.let(w.or(w.gtu(w.and(al, k(15)), k(9)), af));
  const high = c.let(w.or(w.gtu(al, k(0x99)), cf));
  const correction = w.or(w.select(k(6), k(0), low), w.select(k(0x60), k(0), high));
  const res = c.let(w.and(subtract ? w.sub(al, correction) : w.add(al, correction), k(0xff)));
  const carry = subtract ? w.or(high, w.and(low, w.ltu(al, k(6)))) : high;
  c.setReg(0, 8, res);
  const cfNew = c.let(carry);
  c.setFlagWords(w.sext8(res), w.or(w.or(w.shl(cfNew, k(31)), w.shl(cfNew, k(30))), w.shl(low, k(3))));
  c.pending = null;
};
const asciiAdjust = (subtract: boolean): Semantics => c => {
  const ax = c.let(c.getReg(0, 16)), af = w.and(w.shr(c.flagAux(), k(3)), k(1));
  const adjust = c.let(w.or(w.gtu(w.and(ax, k(15)), k(9)), af));
  const delta = w.select(k(0x106), k(0), adjust);
  const res = c.let(w.and(subtract ? w.sub(ax, delta) : w.add(ax, delta), k(0xff0f)));
  c.setReg(0, 16, res);
  c.setFlagWords(w.sext8(res), w.or(w.or(w.shl(adjust, k(31)), w.shl(adjust, k(30))), w.shl(adjust, k(3))));
  c.pending = null;
};

export const INTEGER: Record<string, Semantics> = {
  add: arithmetic('add', w.add, 'add'), sub: arithmetic('sub', w.sub, 'sub'),
  and: arithmetic('logic', w.and, 'and'), or: arithmetic('logic', w.or, 'or'), xor: arithmetic('logic', w.xor, 'xor'),
  adc: withCarry('add', (a, b, carry) => w.add(w.add(a, b), carry)), sbb: withCarry('sub', (a, b, carry) => w.sub(w.sub(a, b), carry)),
  cmp: compare, test, inc: step('inc'), dec: step('dec'),
  neg: c => {
    const old = c.atomicUpdate(0, a => w.sub(k(0), a));
    const a = old ?? c.rmw(0), res = c.let(w.sub(k(0), a));
    if (!old) c.wr(0, res);
    c.flags('sub', c.size, k(0), a, res);
  },
  not: c => { if (!c.atomicRmw('xor', 0, k(-1))) c.wr(0, w.xor(c.rmw(0), k(-1))); },
  mov: c => c.wr(0, c.rd(1)),
  movzx: c => c.wr(0, c.rd(1)),
  movsx: c => c.wr(0, c.signed(c.rd(1), c.operandSizeOf(1))),
  lea: c => c.wr(0, c.effective(1)),
  xchg: exchange, xadd: exchangeAdd, cmpxchg: compareExchange, cmpxchg8b: compareExchange8,
  nop: () => undefined, lfence: () => undefined, sfence: () => undefined, mfence: c => c.fence(),
  mul: multiply(false), imul1: multiply(true), div: divide(false), idiv: divide(true),
  imul2: multiplyTruncated(0, 1), imul3: multiplyTruncated(1, 2),
  cbw: c => c.operandSize === 32 ? c.setReg(0, 32, w.sext16(c.getReg(0, 16))) : c.setReg(0, 16, w.sext8(c.getReg(0, 8))),
  cwd: c => c.operandSize === 32 ? c.setReg(2, 32, w.sar(c.getReg(0, 32), k(31))) : c.setReg(2, 16, w.sar(w.sext16(c.getReg(0, 16)), k(15))),
  bt: bitOp('bt', false), bts: bitOp('bts', false), btr: bitOp('btr', false), btc: bitOp('btc', false),
  bti: bitOp('bt', true), btsi: bitOp('bts', true), btri: bitOp('btr', true), btci: bitOp('btc', true),
  bsf: bitScan(false), bsr: bitScan(true),
  popcnt: c => { const v = c.let(c.rd(1)); c.wr(0, w.popcnt(v)); c.flagsFrom(c.size, v, k(0), k(0)); if (c.needFlags) c.setFlagWords(w.ne(v, k(0)), w.shl(w.eqz(v), k(8))); },
  bswap: c => {
    const x = c.let(c.rd(0));
    c.wr(0, w.or(w.and(w.rotl(x, k(8)), k(0x00ff00ff)), w.and(w.rotr(x, k(8)), k(0xff00ff00 | 0))));
  },
  xlat: c => {
    const address = w.add(c.getReg(3, c.address16() ? 16 : 32), c.getReg(0, 8));
    c.setReg(0, 8, c.readMemory(c.implicitLinear(c.let(c.address16() ? w.and(address, k(0xffff)) : address), 1), 8));
  },
  lahf: c => c.setReg(4, 8, w.or(w.and(c.arithmeticFlags(), k(0xd5)), k(2))),
  sahf: c => c.loadArithmeticFlags(w.or(w.and(c.getReg(4, 8), k(0xd5)), w.and(c.arithmeticFlags(), k(FLAG.OF)))),
  clc: c => c.setCarry(k(0)), stc: c => c.setCarry(k(1)), cmc: c => c.setCarry(w.xor(c.carry(), k(1))),
  salc: c => c.setReg(0, 8, w.sub(k(0), c.carry())),
  cld: c => c.setState(S.eflags, w.and(c.state(S.eflags), k(~FLAG.DF))),
  std: c => c.setState(S.eflags, w.or(c.state(S.eflags), k(FLAG.DF))),
  cli: c => {
    const flags = c.let(c.state(S.eflags));
    c.raiseIf(w.gtu(c.state(S.cpl), w.and(w.shr(flags, k(12)), k(3))), VEC.GP, 0);
    c.setState(S.eflags, w.and(flags, k(~FLAG.IF)));
  },
  daa: decimalAdjust(false), das: decimalAdjust(true), aaa: asciiAdjust(false), aas: asciiAdjust(true),
  aam: c => {
    const base = c.let(c.rd(0)), al = c.let(c.getReg(0, 8));
    c.raiseIf(w.eqz(base), VEC.DE, -1);
    const low = c.let(w.op2(0x70, w.I, al, base));
    c.setReg(0, 16, w.or(w.shl(w.op2(0x6e, w.I, al, base), k(8)), low));
    c.flagsFrom(8, low, k(0), k(0));
  },
  aad: c => {
    const ax = c.let(c.getReg(0, 16));
    const res = c.let(w.and(w.add(w.and(ax, k(0xff)), w.mul(w.shr(ax, k(8)), c.rd(0))), k(0xff)));
    c.setReg(0, 16, res);
    c.flagsFrom(8, res, k(0), k(0));
  },
  mov_from_seg: c => {
    const selector = w.load16u(w.add(c.cpu, w.shl(c.imm(1), k(4))), S.seg);
    if (c.isMemory(0)) c.wr(0, selector); else c.writeFull(0, selector);
  },
};
