/**
 * x87. The arithmetic is in vm/cpu/float/x87.ts; here is what an instruction does around it: device-not-available and pending
 * exceptions first, then the memory operand, then the addresses for the environment, then one call.
 *
 * SDM vol. 1 ch. 8. Waiting instructions report an unmasked exception of an earlier one (#MF; CR0.NE = 0 would want FERR# and an
 * external interrupt and gets #MF as well). The last-instruction registers are written by all but control instructions.
 */
import { CR0, S, VEC } from '../state.ts';
import { FCW, FSW, SCRATCH, type InlineFunctions } from '../float/extended.ts';
import { doubleInline, pushNormal, registersInline, storeNormal, type Arithmetic } from '../float/x87.ts';
import { q } from '../float/wide.ts';
import * as w from '../wasm.ts';
import { I, L, type N } from '../wasm.ts';
import type { Cx, Semantics } from './context.ts';

const k = w.k;

/** #NM, and for waiting instructions #MF. */
function guard(c: Cx, waiting: boolean): void {
  // Control registers stay as they are to the end of a compiled block.
  const cr0 = c.fpuUsable ? k(0) : w.and(c.state(S.cr0), k(CR0.EM | CR0.TS));
  c.fpuUsable = c.sseStays;
  const stop = waiting ? w.or(cr0, w.and(c.state(S.fpuStatus), k(FSW.ES))) : cr0;
  c.fn.if(stop, () => {
    c.fn.do(w.call(c.slow.raise, 0x40, c.cpu, w.select(k(VEC.NM), k(VEC.MF), w.and(c.state(S.cr0), k(CR0.EM | CR0.TS))), k(-1)));
    c.faultIf();
  }, undefined, 0);
}
/** Last instruction, and its operand's effective address if it has one. */
const note = (c: Cx, offset?: N): void => c.noteFpu({ opcode: c.fpuOpcode(), eip: c.instructionEip(), operand: offset ? { offset, selector: c.operandSelector(0) } : null });
const waiting = (body: Semantics): Semantics => c => { guard(c, true); body(c); };
const control = (body: Semantics): Semantics => c => { guard(c, false); body(c); };
const call = (c: Cx, name: string, ...args: N[]): void => c.fn.do(w.call(c.slow.x87![name], 0x40, c.cpu, ...args));
const value = (c: Cx, name: string, t: typeof I | typeof L, ...args: N[]): N => c.let(w.call(c.slow.x87![name], t, c.cpu, ...args));

/** Memory operand 0 read; the environment is noted. */
function source(c: Cx): N {
  const bits = c.operandSizeOf(0), read = c.readMemory(c.linear(0, bits >> 3, false), bits);
  note(c, c.effective(0));
  return read;
}
const signed16 = (c: Cx, x: N): N => c.operandSizeOf(0) === 16 ? w.sext16(x) : x;

const arithmetic = (op: Arithmetic, pop = false): Semantics => waiting(c => {
  const direct = op === 'add' || op === 'sub' || op === 'mul' ? op : null, inline = c.fpuInline > 0, parts = c.slow.x87 as unknown as InlineFunctions;
  if (c.isMemory(0)) {
    const bits = c.operandSizeOf(0), from = source(c), out = (): void => call(c, `${op}_${bits}`, from);
    if (direct && inline && bits === 64) { c.fpuInline--; doubleInline(c.fn, c.cpu, parts, direct, from, out); } else out();
    return;
  }
  note(c);
  const toTop = c.operandClass(0) === 'U', i = c.stackIndex(toTop ? 1 : 0);
  const out = (): void => call(c, `${op}_${toTop ? 'top' : `reg${pop ? 'p' : ''}`}`, i);
  if (direct && inline) { c.fpuInline--; registersInline(c.fn, c.cpu, parts, direct, i, toTop, pop, out); } else out();
});
const integer = (op: Arithmetic): Semantics => waiting(c => { const from = source(c); call(c, `${op}_int`, signed16(c, from)); });
/** FCOM family; `index` for those without operand. */
const compare = (pops: number, quiet: boolean, index?: number): Semantics => waiting(c => {
  if (index === undefined && c.isMemory(0)) { const bits = c.operandSizeOf(0), from = source(c); call(c, `com_${bits}`, from, k(pops)); return; }
  note(c);
  c.fn.drop(w.call(c.slow.x87!['com'], I, c.cpu, index === undefined ? c.stackIndex(0) : k(index), k(quiet ? 1 : 0), k(pops)));
});
const compareInteger = (pops: number): Semantics => waiting(c => { const from = source(c); call(c, 'com_int', signed16(c, from), k(pops)); });
const compareFlags = (pops: number, quiet: boolean): Semantics => waiting(c => {
  note(c);
  const flags = value(c, 'com', I, c.stackIndex(1), k(quiet ? 3 : 2), k(pops));
  c.loadArithmeticFlags(flags);
});
const conditional = (cc: number): Semantics => waiting(c => {
  const taken = c.let(c.condition(cc));
  note(c);
  call(c, 'move_if', c.stackIndex(1), taken);
});
const unary = (name: string, ...args: number[]): Semantics => waiting(c => { note(c); call(c, name, ...args.map(k)); });
const load: Semantics = waiting(c => {
  if (c.operandClass(0) === 'T') { note(c); call(c, 'push_reg', c.stackIndex(0)); return; }
  if (c.operandSizeOf(0) !== 80) { const bits = c.operandSizeOf(0), from = source(c); pushNormal(c.fn, c.cpu, from, bits === 64, () => call(c, `push_${bits}`, from)); return; }
  const [m, se] = read80(c);
  call(c, 'push', m, se);
});
function read80(c: Cx): [N, N] {
  const va = c.let(c.linear(0, 10, false));
  const low = c.readMemory(va, 64), high = c.readMemory(w.add(va, k(8)), 16);
  note(c, c.effective(0));
  return [low, high];
}
/** Both parts of ten bytes must be writable before either is written. */
function write80(c: Cx, va: N, low: N, high: N): void {
  const end = c.let(w.add(va, k(8)));
  probe(c, va, 64);
  probe(c, end, 16);
  c.writeMemory(va, 64, low);
  c.writeMemory(end, 16, high);
}
/** Faults unless the bytes can be written. */
function probe(c: Cx, va: N, bits: number): void {
  c.fn.drop(w.call(c.slow.readForWrite[bits], bits === 64 ? L : I, c.cpu, va, ...c.where()));
  c.faultIf(c.state(S.fault));
}
/** The result of a conversion goes to memory unless an unmasked exception forbids (which a page fault precedes); only then does the status change. */
function storeResult(c: Cx, va: N, pops: number, write: () => void): void {
  commit(c, va, pops, write);
  note(c, c.effective(0));
}
function commit(c: Cx, va: N, pops: number, write: () => void): void {
  c.fn.if(w.ge(w.load(c.cpu, SCRATCH.pending), k(0)), write, () => {
    const bits = c.operandSizeOf(0);
    if (bits === 80) { probe(c, va, 64); probe(c, w.add(va, k(8)), 16); } else probe(c, va, bits);
  }, 1);
  call(c, 'stored', k(pops));
}
const store = (pops: number): Semantics => waiting(c => {
  if (c.operandClass(0) === 'T') { note(c); call(c, 'st_reg', c.stackIndex(0), k(pops)); return; }
  const bits = c.operandSizeOf(0), va = c.let(c.linear(0, bits >> 3, true));
  if (bits === 80) {
    call(c, 'st_80');
    storeResult(c, va, pops, () => write80(c, va, c.let(w.load64(c.cpu, SCRATCH.a)), c.let(w.load(c.cpu, SCRATCH.a + 8))));
    return;
  }
  const whole = (host: N): void => call(c, `store_${bits}${pops ? 'p' : ''}`, host);
  const direct = (host: N): void => {
    if (c.fpuInline === 0) { whole(host); return; }
    c.fpuInline--;
    storeNormal(c.fn, c.cpu, host, bits === 64, pops > 0, () => whole(host));
  };
  c.withHost(va, bits, direct, () => {
    const result = value(c, `st_${bits}`, bits === 64 ? L : I);
    commit(c, va, pops, () => c.slowWrite(va, bits, result));
  });
  note(c, c.effective(0));
});
const storeInteger = (pops: number, truncate: boolean): Semantics => waiting(c => {
  const bits = c.operandSizeOf(0), va = c.let(c.linear(0, bits >> 3, true));
  const result = value(c, 'st_int', L, k(bits), k(truncate ? 1 : 0));
  storeResult(c, va, pops, () => c.writeMemory(va, bits, bits === 64 ? result : q.low(result)));
});
/** Constants as the SDM rounds them: truncated significand, what is cut off being more than a half (`up`) or less. */
const constant = (m: bigint, se: number, exact: boolean, up = false): Semantics => waiting(c => {
  note(c);
  if (exact) { call(c, 'push', q.k(m), k(se)); return; }
  const mode = c.let(w.and(c.state(S.fpuControl), k(FCW.RC)));
  const more = up ? w.or(w.eqz(mode), w.eq(mode, k(0x800))) : w.eq(mode, k(0x800));
  call(c, 'push', q.add(q.k(m), q.from(more)), k(se));
});
const statusWord = (c: Cx): N => w.or(w.and(c.state(S.fpuStatus), k(0xc7ff)), w.shl(c.state(S.fpuTop), k(11)));
const clearC1 = (c: Cx): void => c.setState(S.fpuStatus, w.and(c.state(S.fpuStatus), k(~FSW.C1)));
const free = (pop: boolean): Semantics => waiting(c => {
  note(c);
  clearC1(c);
  const top = c.let(c.state(S.fpuTop));
  const bit = w.shl(k(1), w.and(w.add(top, c.stackIndex(0)), k(7)));
  c.setState(S.fpuTag, w.and(c.state(S.fpuTag), w.xor(bit, k(-1))));
  if (pop) {
    c.setState(S.fpuTag, w.and(c.state(S.fpuTag), w.xor(w.shl(k(1), top), k(-1))));
    c.setState(S.fpuTop, w.and(w.add(top, k(1)), k(7)));
  }
});
const turn = (by: number): Semantics => waiting(c => {
  note(c);
  clearC1(c);
  c.setState(S.fpuTop, w.and(w.add(c.state(S.fpuTop), k(by)), k(7)));
});

export const X87: Record<string, Semantics> = {
  fadd: arithmetic('add'), fmul: arithmetic('mul'), fsub: arithmetic('sub'), fsubr: arithmetic('subr'), fdiv: arithmetic('div'), fdivr: arithmetic('divr'),
  faddp: arithmetic('add', true), fmulp: arithmetic('mul', true), fsubp: arithmetic('sub', true), fsubrp: arithmetic('subr', true), fdivp: arithmetic('div', true), fdivrp: arithmetic('divr', true),
  fiadd: integer('add'), fimul: integer('mul'), fisub: integer('sub'), fisubr: integer('subr'), fidiv: integer('div'), fidivr: integer('divr'),
  fcom: compare(0, false), fcomp: compare(1, false), fcompp: compare(2, false, 1), fucom: compare(0, true), fucomp: compare(1, true), fucompp: compare(2, true, 1),
  ficom: compareInteger(0), ficomp: compareInteger(1), ftst: unary('test'), fxam: unary('examine'),
  fcomi: compareFlags(0, false), fcomip: compareFlags(1, false), fucomi: compareFlags(0, true), fucomip: compareFlags(1, true),
  fcmovb: conditional(2), fcmovnb: conditional(3), fcmove: conditional(4), fcmovne: conditional(5), fcmovbe: conditional(6), fcmovnbe: conditional(7), fcmovu: conditional(10), fcmovnu: conditional(11),
  fld: load, fst: store(0), fstp: store(1), fist: storeInteger(0, false), fistp: storeInteger(1, false), fisttp: storeInteger(1, true),
  fild: waiting(c => { const bits = c.operandSizeOf(0), from = source(c); call(c, 'push_int', bits === 64 ? from : q.fromSigned(signed16(c, from))); }),
  fbld: waiting(c => { const [low, high] = read80(c); call(c, 'push_bcd', low, high); }),
  fbstp: waiting(c => {
    const va = c.let(c.linear(0, 10, true)), low = value(c, 'st_bcd', L);
    storeResult(c, va, 1, () => write80(c, va, low, c.let(w.load(c.cpu, SCRATCH.a))));
  }),
  fxch: waiting(c => { note(c); call(c, 'exchange', c.stackIndex(0)); }),
  fchs: unary('sign', 1), fabs: unary('sign', 0), fsqrt: unary('sqrt_top'), frndint: unary('rint'), fscale: unary('scale'), fxtract: unary('extract'), fprem: unary('remainder', 0), fprem1: unary('remainder', 1),
  f2xm1: unary('transcendental', 0), fyl2x: unary('transcendental', 1), fptan: unary('transcendental', 2), fpatan: unary('transcendental', 3),
  fyl2xp1: unary('transcendental', 4), fsincos: unary('transcendental', 5), fsin: unary('transcendental', 6), fcos: unary('transcendental', 7),
  fld1: constant(0x8000000000000000n, 0x3fff, true), fldz: constant(0n, 0, true), fldl2t: constant(0xd49a784bcd1b8afen, 0x4000, false), fldl2e: constant(0xb8aa3b295c17f0bbn, 0x3fff, false, true),
  fldpi: constant(0xc90fdaa22168c234n, 0x4000, false, true), fldlg2: constant(0x9a209a84fbcff798n, 0x3ffd, false, true), fldln2: constant(0xb17217f7d1cf79abn, 0x3ffe, false, true),
  fnop: waiting(c => note(c)), ffree: free(false), ffreep: free(true), fincstp: turn(1), fdecstp: turn(7),
  fldcw: waiting(c => {
    const word = c.let(w.or(w.and(c.readMemory(c.linear(0, 2, false), 16), k(0x1f3f)), k(0x40)));
    c.setState(S.fpuControl, word);
    const status = c.let(w.and(c.state(S.fpuStatus), k(~(FSW.ES | FSW.B))));
    c.setState(S.fpuStatus, w.or(status, w.select(k(FSW.ES | FSW.B), k(0), w.and(w.and(status, k(0x3f)), w.xor(word, k(-1))))));
  }),
  fnstcw: control(c => c.writeMemory(c.linear(0, 2, true), 16, c.state(S.fpuControl))),
  fnstsw: control(c => { if (c.isMemory(0)) c.writeMemory(c.linear(0, 2, true), 16, statusWord(c)); else c.wr(0, statusWord(c)); }),
  fwait: c => {
    const off = w.eq(w.and(c.state(S.cr0), k(CR0.MP | CR0.TS)), k(CR0.MP | CR0.TS));
    c.fn.if(w.or(off, w.and(c.state(S.fpuStatus), k(FSW.ES))), () => {
      const again = w.eq(w.and(c.state(S.cr0), k(CR0.MP | CR0.TS)), k(CR0.MP | CR0.TS));
      c.fn.do(w.call(c.slow.raise, 0x40, c.cpu, w.select(k(VEC.NM), k(VEC.MF), again), k(-1)));
      c.faultIf();
    }, undefined, 0);
  },
};
