/**
 * INT n, IRET, SYSENTER, SYSEXIT and the delivery of faults in wasm, for the case every 32-bit kernel lives in: flat segments, 32-bit
 * interrupt and trap gates, rings 0 and 3, aligned stacks inside one page, everything mapped. Anything else is refused (0) before
 * anything has changed, and the complete TypeScript implementation in vm/cpu/system runs instead; it also warms the soft-MMU entries of the
 * descriptor tables, so that the next time is fast. Both must agree bit for bit: test/cpu runs them against each other.
 *
 * Measured: int 0x80 + iret 2.0 us in TypeScript.
 */
import { Tier0Cx, rareExits } from './context.ts';
import type { Insn } from '../isa/decode.ts';
import type { SlowCalls } from '../lower/context.ts';
import { ENGINE_SHARED_BASE, GUEST_RAM_BASE, VIEW_BYTES } from '../../board.ts';
import { VIEW_CACHE_BYTES } from '../views.ts';
import { FAST, JUMP_CACHE_BYTES, R, RARE } from './record.ts';
import { ARITH_FLAGS, CR4, FLAG, MODE, PLAIN_PORTS, S, SEG, segAttr, segBase, segLimit, segSelector } from '../state.ts';
import * as w from '../wasm.ts';
import { I, V, type Fn, type ModuleBuilder, type N } from '../wasm.ts';

const k = w.k;
/** i32x4.replace_lane, i32x4.add. */
const REPLACE_LANE = w.simd(0x1c), ADD_LANES = w.simd(0xae);
/** Instructions with a fast path, in the order of their table slots. */
export const FAST_OPERATIONS = ['int', 'iret', 'sysenter', 'sysexit', 'popf', 'rdtsc', 'mov_to_seg', 'sti', 'mov_to_cr', 'in', 'invlpg'] as const;
export const fastSlot = (name: string): number => (FAST_OPERATIONS as readonly string[]).indexOf(name);

/** MOV Sreg only from a register and not to SS (which casts an interrupt shadow); of MOV CRn only CR3; IN of a byte; INVLPG with a 32-bit address. */
export const hasFastForm = ({ entry, addr16, ops: [first, second] }: Insn): boolean =>
  entry.name === 'in' ? first.size === 8 : entry.name === 'invlpg' ? first.c === 'M' && !addr16 : entry.name === 'mov_to_seg' ? second.c === 'R' && first.c === 'S' && first.reg !== SEG.SS : entry.name !== 'mov_to_cr' || (first.c === 'S' && first.reg === 3);
/**
 * STI does not end its block: with nobody asking for attention its interrupt shadow is over when the next instruction is, and that one
 * is in the same block. As the last instruction of a block (or with attention pending) it runs in TypeScript, which casts the shadow.
 * IN goes on too, when it is one of a plain port, and INVLPG, of a page without code.
 */
export const goesOn = (insn: Insn, mode: number): boolean => (insn.entry.name === 'sti' || ((insn.entry.name === 'in' || insn.entry.name === 'invlpg') && hasFastForm(insn))) && insn.operandSize === 32 && !(mode & MODE.SINGLE);

const USER_TABLES = 8 << 20;
const FLAT_MODE = MODE.CODE32 | MODE.STACK32 | MODE.SS_FLAT | MODE.CS_FLAT;
/** Second descriptor word of flat 4 GiB segments, accessed, present: ignore AVL, and the readable bit of code. */
const CODE_MASK = 0xffeffdff | 0, DATA_MASK = 0xffefffff | 0;
const CODE0 = 0x00cf9900, CODE3 = 0x00cff900, DATA0 = 0x00cf9300, DATA3 = 0x00cff300;

/** Emission helpers of one function; local 0 is the vCPU block. Every `require` leaves with 0 if it fails. */
class Path {
  readonly fn: Fn;
  readonly c: Tier0Cx;
  readonly cpu = w.local(0);
  private readonly reads: N;
  private readonly writes: N;

  /** `memory`: whether `host` will be asked. V8 keeps loads that nobody wants, for they might trap. */
  constructor(fn: Fn, slow: SlowCalls, memory = true) {
    this.fn = fn;
    this.c = new Tier0Cx(fn, rareExits(fn), slow, false);
    if (!memory) { this.reads = this.writes = k(0); return; }
    // Kernel tables, whatever the current privilege: descriptor tables and TSS are supervisor accesses.
    const shift = fn.let(w.select(k(USER_TABLES), k(0), w.eq(this.state(S.cpl), k(3))));
    this.reads = fn.let(w.sub(this.state(S.tlbRead), shift));
    this.writes = fn.let(w.sub(this.state(S.tlbWrite), shift));
  }
  state(offset: number): N { return w.load(this.cpu, offset); }
  set(offset: number, value: N): void { this.fn.store(this.cpu, value, offset); }
  require(condition: N): void { this.fn.if(w.eqz(condition), () => this.fn.ret(k(0)), undefined, 0); }
  private entry(table: N, va: N): N { return this.fn.let(w.load(w.add(table, w.shl(w.shr(va, k(12)), k(2))))); }
  /** Host address of some bytes at va, in one page, dword aligned, readable or writable by ring 0. */
  host(va: N, size: number | N, write: boolean): N {
    const bytes = typeof size === 'number' ? k(size) : size;
    const e = this.entry(write ? this.writes : this.reads, va);
    this.require(w.and(w.and(e, k(1)), w.and(w.eqz(w.and(va, k(3))), w.leu(w.and(va, k(4095)), w.sub(k(4096), bytes)))));
    return this.fn.let(w.add(w.add(va, e), k(3)));
  }
  /** Descriptor words in the GDT of a selector that is neither null nor local; the second must match. */
  descriptor(selector: N, mask: number, value: number): N {
    const index = this.fn.let(w.and(selector, k(0xfffc)));
    this.require(w.and(w.ne(index, k(0)), w.and(w.eqz(w.and(index, k(4))), w.geu(this.state(S.gdtrLimit), w.or(index, k(7))))));
    const host = this.host(this.fn.let(w.add(this.state(S.gdtrBase), index)), 8, false);
    const high = this.fn.let(w.load(host, 4));
    this.require(w.and(w.eq(w.and(high, k(mask)), k(value)), w.eq(w.and(w.load(host), k(0xffff)), k(0xffff))));
    this.require(w.eqz(w.shr(w.load(host), k(16))));
    return high;
  }
  /** One store: selector, base, limit, attributes. */
  flat(seg: number, selector: N, attr: N): void {
    const known = w.lanes(0, 0, -1, w.isConst(attr) ? attr.n : 0), filled = w.isConst(attr) ? known : w.lane(REPLACE_LANE, V, 3, known, attr);
    this.fn.store128(this.cpu, w.lane(REPLACE_LANE, V, 0, filled, selector), segSelector(seg));
  }
  attr(high: N): N { return w.and(w.shr(high, k(8)), k(0xf0ff)); }
  /** Changes between ring 0 and ring 3: S.cpl, and the tables it looks at. The caller knows the privilege before. */
  tables(user: boolean): void {
    const sign = user ? 1 : -1;
    // CPL stands in front of the three.
    this.fn.store128(this.cpu, w.op2(ADD_LANES, V, w.load128(this.cpu, S.cpl), w.lanes(sign * 3, sign * USER_TABLES, sign * USER_TABLES, sign * JUMP_CACHE_BYTES)), S.cpl);
  }
  count(field: number): void { this.set(field, w.add(this.state(field), k(1))); }
}

/** gate(cpu, vector, error | -1, return EIP, bit 0 software + bit 1 push RF) -> 1 delivered, 0 not for us. */
function defineGate(fn: Fn, slow: SlowCalls): void {
  const p = new Path(fn, slow);
  const vector = w.local(1), error = w.local(2), returnEip = w.local(3), how = w.local(4);
  const mode = fn.let(p.state(S.mode)), cpl = fn.let(p.state(S.cpl)), eflags = fn.let(p.state(S.eflags));
  p.require(w.eq(w.and(mode, k(MODE.PROTECTED | MODE.V86 | MODE.SINGLE)), k(MODE.PROTECTED)));
  p.require(w.gtu(p.state(S.idtrLimit), w.or(w.shl(vector, k(3)), k(6))));
  const gate = p.host(fn.let(w.add(p.state(S.idtrBase), w.shl(vector, k(3)))), 8, false);
  const low = fn.let(w.load(gate)), high = fn.let(w.load(gate, 4));
  p.require(w.eq(w.and(high, k(0x9e00)), k(0x8e00)));
  p.require(w.or(w.eqz(w.and(how, k(1))), w.geu(w.and(w.shr(high, k(13)), k(3)), cpl)));
  const selector = fn.let(w.shr(low, k(16)));
  const code = p.descriptor(selector, CODE_MASK, CODE0);
  const image = fn.let(w.or(w.or(eflags, p.c.arithmeticFlags()), w.select(k(FLAG.RF), k(0), w.and(how, k(2)))));
  const hasError = fn.let(w.ge(error, k(0)));
  const oldCs = fn.let(p.state(segSelector(SEG.CS))), oldSs = fn.let(p.state(segSelector(SEG.SS))), oldEsp = fn.let(p.state(S.esp));
  const target = w.or(w.and(low, k(0xffff)), w.and(high, k(0xffff0000 | 0)));
  /** Writes EIP, CS, EFLAGS (and the error code below them). */
  const frame = (host: N): void => {
    const at = fn.let(w.add(host, w.shl(hasError, k(2))));
    fn.if(hasError, () => fn.store(host, error));
    fn.store(at, returnEip); fn.store(at, oldCs, 4); fn.store(at, image, 8);
  };
  fn.if(w.eq(cpl, k(3)), () => {
    p.require(w.and(p.state(segAttr(SEG.TR)), k(8)));
    p.require(w.gtu(p.state(segLimit(SEG.TR)), k(9)));
    const tss = p.host(fn.let(w.add(p.state(segBase(SEG.TR)), k(4))), 8, false);
    const esp = fn.let(w.load(tss)), ss = fn.let(w.load16u(tss, 4));
    p.require(w.eqz(w.and(ss, k(3))));
    const data = p.descriptor(ss, DATA_MASK, DATA0);
    const bytes = fn.let(w.add(k(20), w.shl(hasError, k(2))));
    const newEsp = fn.let(w.sub(esp, bytes));
    const host = p.host(newEsp, bytes, true);
    frame(host);
    const at = fn.let(w.add(host, w.shl(hasError, k(2))));
    fn.store(at, oldEsp, 12); fn.store(at, oldSs, 16);
    p.flat(SEG.SS, ss, p.attr(data));
    p.set(S.esp, newEsp);
    p.tables(false);
  }, () => {
    p.require(w.eqz(cpl));
    p.require(w.eq(w.and(mode, k(MODE.SS_FLAT | MODE.STACK32)), k(MODE.SS_FLAT | MODE.STACK32)));
    const bytes = fn.let(w.add(k(12), w.shl(hasError, k(2))));
    const newEsp = fn.let(w.sub(oldEsp, bytes));
    frame(p.host(newEsp, bytes, true));
    p.set(S.esp, newEsp);
  });
  p.flat(SEG.CS, w.and(selector, k(0xfffc)), p.attr(code));
  p.set(S.eip, target);
  // An interrupt gate (even type) clears IF.
  const clear = w.or(k(FLAG.TF | FLAG.NT | FLAG.RF | FLAG.VM), w.select(k(0), k(FLAG.IF), w.and(high, k(0x100))));
  p.set(S.eflags, w.and(eflags, w.xor(clear, k(-1))));
  p.set(S.shadow, k(0));
  p.set(S.mode, w.or(mode, k(FLAT_MODE)));
  p.count(S.countInterrupts);
  fn.emit(k(1));
}

function defineIret(fn: Fn, slow: SlowCalls): void {
  const p = new Path(fn, slow);
  const mode = fn.let(p.state(S.mode));
  const wanted = MODE.PROTECTED | MODE.SS_FLAT | MODE.STACK32;
  p.require(w.eq(w.and(mode, k(wanted | MODE.V86 | MODE.SINGLE)), k(wanted)));
  const old = fn.let(p.state(S.eflags)), esp = fn.let(p.state(S.esp));
  // With attention pending the interrupt window must be looked at: not here.
  p.require(w.eqz(w.or(w.or(p.state(S.cpl), w.and(old, k(FLAG.NT))), w.or(p.state(S.attention), p.state(S.shadow)))));
  const host = p.host(esp, 20, false);
  const eip = fn.let(w.load(host)), cs = fn.let(w.load16u(host, 4)), value = fn.let(w.load(host, 8));
  // AC may switch alignment checks on.
  p.require(w.eqz(w.and(value, k(FLAG.VM | FLAG.TF | FLAG.AC))));
  const rpl = fn.let(w.and(cs, k(3)));
  const mask = FLAG.DF | FLAG.NT | FLAG.AC | FLAG.ID | FLAG.RF | FLAG.IOPL | FLAG.IF | FLAG.TF;
  const commit = (): void => {
    p.c.loadArithmeticFlags(value);
    // RF matters where breakpoints are set, which is not here; it would have to be cleared behind the next instruction.
    p.set(S.eflags, w.or(w.or(w.and(old, k(~(mask | FLAG.VIF | FLAG.VIP | ARITH_FLAGS))), w.and(value, k(mask & ~FLAG.RF))), k(2)));
    p.set(S.eip, eip);
    p.set(S.nmiBlocked, k(0));
    p.set(S.mode, w.or(mode, k(FLAT_MODE)));
  };
  fn.if(w.eqz(rpl), () => {
    const code = p.descriptor(cs, CODE_MASK, CODE0);
    p.flat(SEG.CS, cs, p.attr(code));
    p.set(S.esp, w.add(esp, k(12)));
    commit();
  }, () => {
    p.require(w.eq(rpl, k(3)));
    const code = p.descriptor(cs, CODE_MASK, CODE3);
    const newEsp = fn.let(w.load(host, 12)), ss = fn.let(w.load16u(host, 16));
    p.require(w.eq(w.and(ss, k(3)), k(3)));
    const data = p.descriptor(ss, DATA_MASK, DATA3);
    // Data segments that ring 3 may not keep are cleared by the complete implementation.
    for (const seg of [SEG.ES, SEG.DS, SEG.FS, SEG.GS]) {
      const attr = fn.let(p.state(segAttr(seg)));
      p.require(w.or(w.eqz(w.and(attr, k(0x80))), w.eq(w.and(attr, k(0x60)), k(0x60))));
    }
    p.flat(SEG.CS, cs, p.attr(code));
    p.flat(SEG.SS, ss, p.attr(data));
    p.set(S.esp, newEsp);
    p.tables(true);
    commit();
  });
  fn.emit(k(RARE.JUMP));
}

function defineSysenter(fn: Fn, slow: SlowCalls): void {
  const p = new Path(fn, slow, false);
  const mode = fn.let(p.state(S.mode)), cs = fn.let(w.and(p.state(S.sysenterCs), k(0xfffc)));
  p.require(w.eq(w.and(mode, k(MODE.PROTECTED | MODE.V86 | MODE.SINGLE)), k(MODE.PROTECTED)));
  p.require(cs);
  p.require(w.eq(p.state(S.cpl), k(3)));
  p.set(S.eflags, w.and(p.state(S.eflags), k(~(FLAG.VM | FLAG.IF | FLAG.RF))));
  p.flat(SEG.CS, cs, k(0xc09b));
  p.flat(SEG.SS, w.add(cs, k(8)), k(0xc093));
  p.set(S.esp, p.state(S.sysenterEsp));
  p.set(S.eip, p.state(S.sysenterEip));
  p.set(S.mode, w.or(mode, k(FLAT_MODE)));
  p.tables(false);
  fn.emit(k(RARE.JUMP));
}
function defineSysexit(fn: Fn, slow: SlowCalls): void {
  const p = new Path(fn, slow, false);
  const mode = fn.let(p.state(S.mode)), cs = fn.let(w.and(p.state(S.sysenterCs), k(0xfffc)));
  p.require(w.eq(w.and(mode, k(MODE.PROTECTED | MODE.V86 | MODE.SINGLE)), k(MODE.PROTECTED)));
  p.require(cs);
  p.require(w.eqz(w.or(p.state(S.cpl), w.and(p.state(S.eflags), k(FLAG.AC)))));
  p.flat(SEG.CS, w.or(w.add(cs, k(16)), k(3)), k(0xc0fb));
  p.flat(SEG.SS, w.or(w.add(cs, k(24)), k(3)), k(0xc0f3));
  p.set(S.esp, p.state(S.ecx));
  p.set(S.eip, p.state(S.edx));
  p.set(S.mode, w.or(mode, k(FLAT_MODE)));
  p.tables(true);
  fn.emit(k(RARE.JUMP));
}

/** EIP of the instruction after the record. */
const nextEip = (): N => w.add(w.add(w.local(2), w.load16u(w.local(1), R.delta)), w.load8u(w.local(1), R.len));

function definePopf(fn: Fn, slow: SlowCalls): void {
  const p = new Path(fn, slow);
  const wanted = MODE.PROTECTED | MODE.SS_FLAT | MODE.STACK32;
  p.require(w.eq(w.and(p.state(S.mode), k(wanted | MODE.V86 | MODE.SINGLE)), k(wanted)));
  p.require(w.eqz(w.or(p.state(S.attention), w.or(p.state(S.shadow), p.state(S.cpl)))));
  const old = fn.let(p.state(S.eflags)), esp = fn.let(p.state(S.esp));
  const value = fn.let(w.load(p.host(esp, 4, false)));
  p.require(w.eqz(w.and(value, k(FLAG.TF))));
  const mask = FLAG.TF | FLAG.DF | FLAG.NT | FLAG.AC | FLAG.ID | FLAG.IOPL | FLAG.IF;
  p.c.loadArithmeticFlags(value);
  p.set(S.eflags, w.or(w.or(w.and(old, k(~(mask | FLAG.RF | FLAG.VIF | FLAG.VIP | ARITH_FLAGS))), w.and(value, k(mask))), k(2)));
  p.set(S.esp, w.add(esp, k(4)));
  p.set(S.eip, nextEip());
  fn.emit(k(RARE.JUMP));
}
/** RDTSC = instructions retired before this one + tscOffset. */
function defineRdtsc(fn: Fn): void {
  const cpu = w.local(0);
  fn.if(w.and(w.ne(w.load(cpu, S.cpl), k(0)), w.ne(w.and(w.load(cpu, S.cr4), k(CR4.TSD)), k(0))), () => fn.ret(k(0)));
  const left = w.op1(0xad, w.L, w.add(w.load(cpu, S.budget), k(1)));
  const now = fn.let(w.op2(0x7c, w.L, w.op2(0x7d, w.L, w.load64(cpu, S.retiredEnd), left), w.load64(cpu, S.tscOffset)));
  fn.store(cpu, w.op1(0xa7, I, now), S.eax);
  fn.store(cpu, w.op1(0xa7, I, w.op2(0x88, w.L, now, w.k64(32n))), S.edx);
  fn.store(cpu, nextEip(), S.eip);
  fn.emit(k(RARE.JUMP));
}
/** MOV DS/ES/FS/GS, r32: null, or an accessed data segment of the GDT that this privilege may use. */
function defineMoveToSegment(fn: Fn, slow: SlowCalls): void {
  const p = new Path(fn, slow);
  const pc = w.local(1);
  const mode = fn.let(p.state(S.mode)), seg = fn.let(w.load(pc, R.imm)), selector = fn.let(w.load16u(w.load(pc, R.base)));
  p.require(w.eq(w.and(mode, k(MODE.PROTECTED | MODE.V86 | MODE.SINGLE)), k(MODE.PROTECTED)));
  const cache = fn.let(w.add(p.cpu, w.shl(seg, k(4))));
  const store = (base: N, limit: N, attr: N): void => {
    fn.store(cache, selector, S.seg); fn.store(cache, base, S.seg + 4); fn.store(cache, limit, S.seg + 8); fn.store(cache, attr, S.seg + 12);
  };
  const flatBit = fn.let(w.select(k(MODE.DS_FLAT), w.select(k(MODE.ES_FLAT), k(0), w.eqz(seg)), w.eq(seg, k(SEG.DS))));
  const without = w.and(mode, w.xor(flatBit, k(-1)));
  fn.if(w.and(selector, k(0xfffc)), () => {
    // S=1, data, accessed, present; DPL is compared below.
    p.require(w.eqz(w.and(selector, k(4))));
    const index = fn.let(w.and(selector, k(0xfff8)));
    p.require(w.geu(p.state(S.gdtrLimit), w.or(index, k(7))));
    const host = p.host(fn.let(w.add(p.state(S.gdtrBase), index)), 8, false);
    const low = fn.let(w.load(host)), high = fn.let(w.load(host, 4));
    p.require(w.eq(w.and(high, k(0x9900)), k(0x9100)));
    const dpl = fn.let(w.and(w.shr(high, k(13)), k(3)));
    p.require(w.and(w.leu(w.and(selector, k(3)), dpl), w.leu(p.state(S.cpl), dpl)));
    const base = fn.let(w.or(w.or(w.shr(low, k(16)), w.shl(w.and(high, k(0xff)), k(16))), w.and(high, k(0xff000000 | 0))));
    const raw = fn.let(w.or(w.and(low, k(0xffff)), w.and(high, k(0xf0000))));
    const limit = fn.let(w.select(w.or(w.shl(raw, k(12)), k(0xfff)), raw, w.and(high, k(0x800000))));
    store(base, limit, p.attr(high));
    // Flat: base 0, limit 4 GiB, writable, expand-up.
    const flat = w.and(w.and(w.eqz(base), w.eq(limit, k(-1))), w.eq(w.and(high, k(0x600)), k(0x200)));
    p.set(S.mode, w.or(without, w.select(flatBit, k(0), flat)));
  }, () => { store(k(0), k(0), k(0)); p.set(S.mode, without); });
  p.set(S.eip, nextEip());
  fn.emit(k(RARE.JUMP));
}

function defineSti(fn: Fn, slow: SlowCalls): void {
  const p = new Path(fn, slow, false);
  p.require(w.eq(w.and(p.state(S.mode), k(MODE.PROTECTED | MODE.V86 | MODE.SINGLE)), k(MODE.PROTECTED)));
  p.require(w.eqz(w.or(p.state(S.cpl), w.or(p.state(S.attention), p.state(S.shadow)))));
  p.require(w.gtu(w.load8u(w.local(1), R.rest), k(1)));
  p.set(S.eflags, w.or(p.state(S.eflags), k(FLAG.IF)));
  fn.emit(k(FAST.NEXT));
}
/** IN AL of a port that is only a word on the board (devices/bus.ts), where no permission map has to be asked. */
function defineIn(fn: Fn, slow: SlowCalls): void {
  const p = new Path(fn, slow, false), pc = w.local(1);
  p.require(w.eq(w.and(p.state(S.mode), k(MODE.PROTECTED | MODE.V86 | MODE.SINGLE)), k(MODE.PROTECTED)));
  p.require(w.eqz(w.or(p.state(S.attention), p.state(S.shadow))));
  p.require(w.leu(p.state(S.cpl), w.and(w.shr(p.state(S.eflags), k(12)), k(3))));
  const register = fn.let(w.load(pc, R.base)), port = fn.let(w.select(w.load16u(register), w.and(w.load(pc, R.imm), k(0xff)), register));
  const hash = w.and(w.xor(w.xor(port, w.shr(port, k(4))), w.shr(port, k(8))), k(PLAIN_PORTS - 1));
  const slot = fn.let(w.add(p.cpu, w.shl(hash, k(4))));
  p.require(w.eq(w.load(slot, S.plainPorts), w.or(port, k(0x10000))));
  p.require(w.eqz(w.load(w.load(slot, S.plainPorts + 8))));
  fn.store8(p.cpu, w.load8u(w.load(slot, S.plainPorts + 4)), S.eax);
  // What stands behind it in its block, if anything does.
  fn.if(w.gtu(w.load8u(pc, R.rest), k(1)), () => fn.ret(k(FAST.NEXT)));
  p.set(S.eip, nextEip());
  fn.emit(k(FAST.JUMP));
}
/** INVLPG of a page in a stretch without large pages, of which no view has looked up code: its entries in all views (Mmu.invalidatePage). */
function defineInvlpg(fn: Fn, slow: SlowCalls): void {
  const p = new Path(fn, slow, false), pc = w.local(1);
  p.require(w.eq(w.and(p.state(S.mode), k(MODE.PROTECTED | MODE.V86 | MODE.SINGLE)), k(MODE.PROTECTED)));
  p.require(w.eqz(w.or(p.state(S.cpl), w.or(p.state(S.attention), p.state(S.shadow)))));
  const offset = w.add(w.add(w.load(w.load(pc, R.base)), w.shl(w.load(w.load(pc, R.index)), w.load8u(pc, R.scale))), w.load(pc, R.disp));
  const base = w.load(w.add(p.cpu, w.shl(w.and(w.load8u(pc, R.seg), k(7)), k(4))), segBase(0));
  const page = fn.let(w.shr(w.add(offset, base), k(12)));
  const bit = (filter: number, index: N): N => w.and(w.shr(w.load(w.add(p.cpu, w.shl(w.shr(index, k(5)), k(2))), filter), w.and(index, k(31))), k(1));
  p.require(w.eqz(w.or(bit(S.largeFilter, fn.let(w.shr(page, k(10)))), bit(S.codeFilter, fn.let(w.and(page, k(4095)))))));
  const table = fn.newLocal(), device = fn.newLocal(), left = fn.newLocal();
  fn.set(table, w.add(p.state(S.viewBase), w.shl(page, k(2))));
  fn.set(device, p.cpu);
  fn.set(left, p.state(S.viewCount));
  fn.loop(next => {
    for (let part = 0; part < 4; part++) fn.store(w.local(table), k(0), part << 22);
    fn.if(w.eq(w.load(w.local(device), S.viewDevice), page), () => fn.store(w.local(device), k(-1), S.viewDevice));
    fn.set(table, w.add(w.local(table), k(VIEW_BYTES)));
    fn.set(device, w.add(w.local(device), k(4)));
    fn.set(left, w.sub(w.local(left), k(1)));
    fn.brIf(next, w.local(left));
  });
  fn.if(w.gtu(w.load8u(pc, R.rest), k(1)), () => fn.ret(k(FAST.NEXT)));
  p.set(S.eip, nextEip());
  fn.emit(k(FAST.JUMP));
}
/** MOV CR3 to an address space whose view may be continued as it is (mmu.ts), with PAE: whose PDPTEs are as they were. A swap of pointers. */
function defineMoveToCr3(fn: Fn, slow: SlowCalls): void {
  const p = new Path(fn, slow, false);
  p.require(w.eq(w.and(p.state(S.mode), k(MODE.PROTECTED | MODE.V86 | MODE.SINGLE)), k(MODE.PROTECTED)));
  p.require(w.eqz(w.or(p.state(S.cpl), w.or(p.state(S.attention), p.state(S.shadow)))));
  p.require(w.lt(p.state(S.cr0), k(0)));
  p.require(w.eq(w.load(k(ENGINE_SHARED_BASE)), w.load(p.state(S.coherence))));
  const value = fn.let(w.load(w.load(w.local(1), R.base)));
  const entry = fn.let(w.add(p.cpu, w.shl(w.and(w.xor(w.shr(value, k(5)), w.shr(value, k(12))), k(31)), k(6))));
  const number = fn.let(w.load(entry, S.viewDirectory + 4));
  p.require(w.and(w.eq(w.load(entry, S.viewDirectory), value), w.ne(number, k(0))));
  const pae = fn.let(w.and(p.state(S.cr4), k(CR4.PAE)));
  fn.if(pae, () => {
    // Validated when the entry was made: equal ones are as good, and the table is RAM.
    const table = fn.let(w.add(w.and(value, k(~31)), k(GUEST_RAM_BASE)));
    for (let i = 0; i < 4; i++) p.require(w.op2(0x51, I, w.load64(table, i * 8), w.load64(entry, S.viewDirectory + 16 + i * 8)));
  });
  const index = fn.let(w.sub(number, k(1))), uses = fn.let(w.add(p.state(S.viewUses), k(1)));
  const tables = fn.let(w.add(p.state(S.viewBase), w.mul(index, k(VIEW_BYTES))));
  fn.if(pae, () => { for (let i = 0; i < 4; i++) fn.store64(p.cpu, w.load64(entry, S.viewDirectory + 16 + i * 8), S.pdpte0 + i * 8); });
  p.set(S.cr3, value);
  p.set(S.viewIndex, index);
  p.set(S.viewUses, uses);
  fn.store(w.add(p.cpu, w.shl(index, k(2))), uses, S.viewUse);
  p.set(S.tlbRead, tables);
  p.set(S.tlbWrite, w.add(tables, k(4 << 20)));
  p.set(S.jumpCache, w.add(p.state(S.viewCaches), w.mul(index, k(VIEW_CACHE_BYTES))));
  p.set(S.eip, nextEip());
  fn.emit(k(FAST.JUMP));
}

/** Adds the fast operations to the module and its table; returns the index of `gate`. */
export function defineFastOperations(module: ModuleBuilder, slow: SlowCalls): number {
  const gate = module.declare('gate', [I, I, I, I, I], [I], true);
  module.define(gate, fn => defineGate(fn, slow));
  const operation = (name: string, body: (fn: Fn) => void): void => {
    const index = module.declare(`fast_${name}`, [I, I, I], [I]);
    module.define(index, body);
    module.elements.push(index);
  };
  operation('int', fn => {
    fn.emit(w.shl(w.call(gate, I, w.local(0), w.load(w.local(1), R.imm), k(-1), nextEip(), k(1)), k(1)));
  });
  operation('iret', fn => defineIret(fn, slow));
  operation('sysenter', fn => defineSysenter(fn, slow));
  operation('sysexit', fn => defineSysexit(fn, slow));
  operation('popf', fn => definePopf(fn, slow));
  operation('rdtsc', defineRdtsc);
  operation('mov_to_seg', fn => defineMoveToSegment(fn, slow));
  operation('sti', fn => defineSti(fn, slow));
  operation('mov_to_cr', fn => defineMoveToCr3(fn, slow));
  operation('in', fn => defineIn(fn, slow));
  operation('invlpg', fn => defineInvlpg(fn, slow));
  return gate;
}
