/**
 * The lowering context: what the semantics of an instruction may say.
 *
 * Semantics are written once (integer.ts, shift.ts, control.ts, string.ts, sse.ts, fpu.ts) against this class. It is the IR's
 * builder: values are trees (vm/cpu/wasm.ts), effects are statements in program order. Two subclasses bind the abstract
 * operands: tier 0 to fields of a 32-byte record and registers in the state block, tier 1 to constants and wasm locals.
 *
 * Rules for semantics
 *  - everything that can fault comes before the first change of a register, the flags or memory;
 *  - `rd` of an 8- or 16-bit operand is zero-extended; `wr` ignores the upper bits of the value;
 *  - a value used twice, or used after a later statement, is pinned with `let`;
 *  - memory destinations that are also sources use `rmw` (write-intent read) and then `wr`.
 */
import { MODE, S, SEG, segBase, segSelector } from '../state.ts';
import * as w from '../wasm.ts';
import type { Fn, N } from '../wasm.ts';

/** Function indices of the slow paths, the same in every generated module. */
export interface SlowCalls {
  /** (cpu, va, rec, blockEip) -> value; state.fault set on a fault. Sizes 8, 16, 32, 64 (i64). */
  readonly read: Record<number, number>;
  /** Same with write permission demanded. */
  readonly readForWrite: Record<number, number>;
  /** (cpu, va, value, rec, blockEip) */
  readonly write: Record<number, number>;
  /**
   * A locked read-modify-write whose page has no write entry (yet): (cpu, va, ATOMIC | bytes << 8, value, expected, rec, blockEip) -> old value;
   * and CMPXCHG8B: (cpu, va, expected, replacement, rec, blockEip) -> i64.
   */
  readonly atomic: number;
  readonly exchange64: number;
  /** (cpu, segment offset in state | 1 if write, offset, bytes) -> linear; state.fault set on #GP/#SS. */
  readonly segment: number;
  /** (cpu, vector, error) raises a fault. */
  readonly raise: number;
  /** (cpu, operation, shape, address of the destination xmm, immediate) -> integer result; source in scratch0; see vm/cpu/float. */
  readonly float: number;
  /** The x87 functions by name (vm/cpu/float/x87.ts); only in modules that have x87 instructions. */
  readonly x87?: Readonly<Record<string, number>>;
}

export type FlagKind = 'add' | 'sub' | 'logic' | 'inc' | 'dec';
export interface PendingFlags { readonly kind: FlagKind; readonly size: number; readonly a: N; readonly b: N; readonly res: N }

/** Locked operations, by the wasm opcode (0xfe nn) of their 32-bit form; 8 bits: + 2, 16 bits: + 3. */
export const ATOMIC = { add: 0x1e, sub: 0x25, and: 0x2c, or: 0x33, xor: 0x3a, xchg: 0x41, cmpxchg: 0x48 } as const;
export type AtomicOperation = keyof typeof ATOMIC;

const TEST_SHIFT: Record<number, number> = { 16: 3, 32: 2, 64: 1, 128: 0 };

/** What the x87 environment tells of the last instruction, and of the last one with a memory operand. */
export interface FpuNote { readonly opcode: N; readonly eip: N; readonly operand: { readonly offset: N; readonly selector: N } | null }

/** A host address known to be good, as base and constant. */
export interface Direct { readonly host: N; readonly offset: number }

export abstract class Cx {
  readonly fn: Fn;
  readonly cpu: N;
  readonly slow: SlowCalls;
  /** Operand size of the instruction, bits. */
  size = 32;
  operandSize = 32;
  name = '';
  lock = false;
  /** False when nobody reads the flags this instruction writes. */
  needFlags = true;
  /** The last flag producer while its operands are still in locals: conditions then compare directly. */
  pending: PendingFlags | null = null;
  /** Host address of the rmw operand, 0 when it went through the slow path; its linear address. */
  private rmwHost: N | null = null;
  private rmwLinear: N | null = null;
  private rmwDirect: Direct | null = null;
  readonly parallel: boolean;

  constructor(fn: Fn, cpu: N, slow: SlowCalls, parallel: boolean) { this.fn = fn; this.cpu = cpu; this.slow = slow; this.parallel = parallel; }

  // ---- bound by the tier
  abstract operandClass(i: number): string;
  abstract operandSizeOf(i: number): number;
  abstract operandCount(): number;
  abstract readRegister(i: number): N;
  abstract writeRegister(i: number, value: N): void;
  /** General register by number. */
  abstract getReg(reg: number, size: number): N;
  abstract setReg(reg: number, size: number, value: N): void;
  /** Byte address of xmm operand i in the state block. */
  abstract xmmAddress(i: number): N;
  /** The same as base and constant offset. */
  xmmPlace(i: number): [N, number] { return [this.xmmAddress(i), 0]; }
  // XMM operand i as a value; compiled code keeps the registers in locals. Trees that `getX` and its like give are pinned before anything changes.
  getX(i: number): N { const [base, at] = this.xmmPlace(i); return w.load128(base, at); }
  setX(i: number, value: N): void { const [base, at] = this.xmmPlace(i); this.fn.store128(base, value, at); }
  /** Quadword 0 or 1. */
  getX64(i: number, lane = 0): N { const [base, at] = this.xmmPlace(i); return w.load64(base, at + lane * 8); }
  setX64(i: number, value: N, lane = 0): void { const [base, at] = this.xmmPlace(i); this.fn.store64(base, value, at + lane * 8); }
  /** Lowest doubleword. */
  getX32(i: number): N { const [base, at] = this.xmmPlace(i); return w.load(base, at); }
  setX32(i: number, value: N): void { const [base, at] = this.xmmPlace(i); this.fn.store(base, value, at); }
  /** Makes `xmmAddress(i)` hold the register for a function that is given it, and takes over what the function left there. */
  spillX(_i: number): void { /* it is there */ }
  fillX(_i: number): void { /* it is there */ }
  /** The constant in every doubleword. */
  splat(value: number): N { return w.op1(w.simd(0x11), w.V, w.k(value)); }
  /** No floating-point exception is unmasked. */
  floatMasked = false;
  /** SSE was found usable in front of this instruction, on every path to it. */
  sseUsable = false;
  /** What was found of CR0 and CR4 holds up to the end of the block: compiled blocks end where control registers change. */
  sseStays = false;
  /** Whether MXCSR is as the fast paths of arithmetic want it, as found earlier in the block: flags only ever join. */
  sseQuiet: N | null = null;
  /** Slot of MMX operand i, and number of x87 operand i. */
  abstract mmxAddress(i: number): N;
  abstract stackIndex(i: number): N;
  /** For the x87 environment: opcode as it is stored there, EIP of this instruction, selector of memory operand i. */
  abstract fpuOpcode(): N;
  abstract instructionEip(): N;
  abstract operandSelector(i: number): N;
  /** As sseUsable, for x87. */
  fpuUsable = false;
  /** So many x87 operations may still be written inline here. */
  fpuInline = 0;
  /** Notes the last x87 instruction in the state block. */
  noteFpu({ opcode, eip, operand }: FpuNote): void {
    const { fn, cpu } = this;
    fn.store(cpu, opcode, S.fpuOpcode);
    fn.store(cpu, eip, S.fpuIp);
    fn.store(cpu, w.load(cpu, segSelector(SEG.CS)), S.fpuCs);
    if (operand) { fn.store(cpu, operand.offset, S.fpuDp); fn.store(cpu, operand.selector, S.fpuDs); }
  }
  abstract imm(i: number): N;
  /** Effective address without segment; masked to the address size. */
  abstract effective(i: number): N;
  /** Linear address of memory operand i, segment checked for `bytes`. */
  abstract linear(i: number, bytes: number, write: boolean): N;
  abstract tlbRead(): N;
  abstract tlbWrite(): N;
  /** Two values that let the slow path find EIP and the count to give back. */
  abstract where(): [N, N];
  /** Leaves with the fault in the state block when `condition` holds (always, if omitted). Cold. */
  abstract faultIf(condition?: N): void;
  abstract branch(condition: N, i: number): void;
  abstract jump(i: number): void;
  abstract jumpTo(eip: N): void;
  /** EIP of the next instruction. */
  abstract nextEip(): N;
  /** Stack pointer is 32-bit and SS flat. */
  abstract flatStack(): boolean;
  abstract address16(): boolean;
  /** Segment (state offset as a tree) of the implicit source; null when flat. */
  abstract implicitSegment(): N | null;
  /** 0 none, 2 REPNE, 3 REP/REPE. */
  abstract repeat(): 0 | 2 | 3;
  /** Leaves the block with EIP at this very instruction (a REP whose budget is used up). */
  abstract restart(): void;
  /** Whether what this instruction has stored took its own block away; null where such stores are not made. */
  died(): N | null { return null; }
  /** Materialises symbolic flags before code that changes them conditionally. */
  abstract settleFlags(): void;

  /** Displacement a BT memory form adds to its effective address. */
  bitStringOffset: N | null = null;

  // ---- state words
  state(offset: number): N { return w.load(this.cpu, offset); }
  setState(offset: number, value: N): void { this.fn.store(this.cpu, value, offset); }
  let(x: N): N { return this.fn.let(x); }
  /** Pins an address that `linear` gave, for more than one use. */
  pinAddress(address: N): N { return this.let(address); }

  // ---- operands
  isMemory(i: number): boolean { const c = this.operandClass(i); return c === 'B' || c === 'X' || c === 'M'; }

  rd(i: number): N {
    switch (this.operandClass(i)) {
      case 'R': return this.readRegister(i);
      case 'I': return this.imm(i);
      case 'C': return this.getReg(1, 8);
      default: return this.readMemory(this.linear(i, this.operandSizeOf(i) >> 3, false), this.operandSizeOf(i));
    }
  }
  wr(i: number, value: N): void {
    if (this.operandClass(i) === 'R') { this.writeRegister(i, value); return; }
    const size = this.operandSizeOf(i);
    if (this.rmwDirect) {
      this.storeHost(this.rmwDirect.host, size, this.let(value), this.rmwDirect.offset);
      this.rmwDirect = null;
      return;
    }
    if (this.rmwLinear) {
      const host = this.rmwHost!, va = this.rmwLinear;
      this.rmwHost = this.rmwLinear = null;
      const v = this.let(value);
      this.fn.if(host, () => this.storeHost(host, size, v, 0), () => this.slowWrite(va, size, v), 1);
      return;
    }
    this.writeMemory(this.linear(i, size >> 3, true), size, value);
  }
  /** Reads operand i with the intention to write it; the value is pinned. */
  rmw(i: number): N {
    if (this.operandClass(i) === 'R') return this.let(this.readRegister(i));
    const fn = this.fn, size = this.operandSizeOf(i);
    const address = this.linear(i, size >> 3, true);
    this.rmwDirect = this.direct(address, size, true);
    if (this.rmwDirect) return this.let(this.loadHost(this.rmwDirect.host, size, this.rmwDirect.offset));
    const va = this.let(address);
    const value = fn.newLocal(), host = fn.newLocal();
    const entry = this.let(this.entry(this.tlbWrite(), va));
    fn.if(this.fast(entry, va, size), () => {
      fn.set(host, w.add(w.add(va, entry), w.k(3)));
      fn.set(value, this.loadHost(w.local(host), size, 0));
    }, () => {
      fn.set(host, w.k(0));
      fn.set(value, w.call(this.slow.readForWrite[size], w.I, this.cpu, va, ...this.where()));
      this.faultIf(this.state(S.fault));
    }, 1);
    this.rmwHost = w.local(host); this.rmwLinear = va;
    return w.local(value);
  }
  /**
   * A LOCKed read-modify-write of memory operand 0 in parallel mode. Returns the old value, or null when plain code will do. Atomic on the slow
   * path too: the first access to a lock's page in a view is as good a moment for a race as any other.
   */
  atomicRmw(operation: AtomicOperation, i: number, value: N): N | null { return this.atomic(operation, i, value, w.k(0)); }

  /** LOCK CMPXCHG of memory operand 0 in parallel mode: the old value, or null when plain code will do. */
  atomicCompareExchange(expected: N, replacement: N): N | null { return this.atomic('cmpxchg', 0, replacement, expected); }

  /** What has no atomic of its own (ADC, SBB, NEG): compare and exchange until nobody came between. */
  atomicUpdate(i: number, f: (old: N) => N): N | null {
    if (!(this.lock && this.parallel && this.isMemory(i))) return null;
    const fn = this.fn, size = this.operandSizeOf(i);
    const va = this.let(this.linear(i, size >> 3, true)), old = fn.newLocal();
    fn.set(old, w.call(this.slow.readForWrite[size], w.I, this.cpu, va, ...this.where()));
    this.faultIf(this.state(S.fault));
    const seen = fn.newLocal();
    fn.loop(again => {
      fn.set(seen, w.local(old));
      fn.set(old, this.atomicAt(ATOMIC.cmpxchg, va, size, this.let(f(w.local(seen))), w.local(seen)));
      fn.brIf(again, w.ne(w.local(old), w.local(seen)));
    });
    return w.local(old);
  }

  /** No later load before an earlier store, as seen by other vCPUs: a locked operation on a word of our own. Loads among each other and stores are in order anyway. */
  fence(): void { if (this.parallel) this.fn.do(w.atomic(0x1e, w.I, 2, S.scratch3, this.cpu, w.k(0))); }
  private atomic(operation: AtomicOperation, i: number, value: N, expected: N): N | null {
    if (!(this.lock && this.parallel && this.isMemory(i))) return null;
    const size = this.operandSizeOf(i);
    return this.atomicAt(ATOMIC[operation], this.let(this.linear(i, size >> 3, true)), size, this.let(value), expected);
  }
  private atomicAt(base: number, va: N, size: number, value: N, expected: N): N {
    const fn = this.fn, old = fn.newLocal();
    const entry = this.let(this.entry(this.tlbWrite(), va));
    const opcode = base + (size === 32 ? 0 : size === 8 ? 2 : 3);
    fn.if(this.fast(entry, va, size), () => {
      const operands = base === ATOMIC.cmpxchg ? [expected, value] : [value];
      fn.set(old, w.atomic(opcode, w.I, size === 32 ? 2 : size === 8 ? 0 : 1, 0, w.add(w.add(va, entry), w.k(3)), ...operands));
    }, () => {
      fn.set(old, w.call(this.slow.atomic, w.I, this.cpu, va, w.k(base | size >> 3 << 8), value, expected, ...this.where()));
      this.stored();
    }, 1);
    return w.local(old);
  }
  /** A slow path has written to memory, or could not. */
  private stored(): void { this.faultIf(this.state(S.fault)); }
  /** CMPXCHG8B's memory part: returns the old 64-bit value; writes `replacement` if it equals `expected`, else the old value. */
  exchange64(expected: N, replacement: N): N {
    const fn = this.fn;
    const va = this.let(this.linear(0, 8, true));
    const old = fn.newLocal(w.L);
    const entry = this.let(this.entry(this.tlbWrite(), va));
    const chosen = (): N => w.select(replacement, w.local(old, w.L), w.op2(0x51, w.I, w.local(old, w.L), expected));
    const locked = this.lock && this.parallel;
    fn.if(this.fast(entry, va, 64), () => {
      const host = this.let(w.add(w.add(va, entry), w.k(3)));
      if (locked) fn.set(old, w.atomic(0x49, w.L, 3, 0, host, expected, replacement));
      else { fn.set(old, w.load64(host)); fn.store64(host, chosen()); }
    }, () => {
      if (locked) {
        fn.set(old, w.call(this.slow.exchange64, w.L, this.cpu, va, expected, replacement, ...this.where()));
        this.stored();
        return;
      }
      fn.set(old, w.call(this.slow.readForWrite[64], w.L, this.cpu, va, ...this.where()));
      this.faultIf(this.state(S.fault));
      this.slowWrite(va, 64, this.let(chosen()));
    }, 1);
    return w.local(old, w.L);
  }
  /** Linear address of an implicit operand through the instruction's source segment. */
  implicitLinear(offset: N, bytes: number): N {
    const segment = this.implicitSegment();
    return segment ? this.segmented(segment, offset, bytes, false) : offset;
  }
  /** Segment-checked linear address; `segment` = offset of the segment's selector field in the state block. */
  segmented(segment: N, offset: N, bytes: number, write: boolean): N {
    const lin = this.let(w.call(this.slow.segment, w.I, this.cpu, write ? w.or(segment, w.k(1)) : segment, offset, w.k(bytes)));
    this.faultIf(this.state(S.fault));
    return lin;
  }
  /** MOV r32/r16, Sreg: a 32-bit register is zero-extended. */
  writeFull(i: number, value: N): void { this.writeRegister(i, value); }

  // ---- guest memory, linear addresses
  /** Tier 1 knows the host address of some accesses already (jit/groups.ts, jit/strip.ts). `address` is the tree that `linear` or `stackAddress` gave. */
  direct(_address: N, _size: number, _write: boolean): Direct | null { return null; }
  /** The entry that most look-ups give, when generated code may count on it. */
  expected(): N | null { return null; }
  /**
   * An access through the expected entry: the look-up then only confirms it, so that the address does not wait for the load of the entry.
   * `access` gets the host address minus 3.
   */
  private expecting(table: N, va: N, size: number, address: N, expected: N, access: (host: N) => void, slow: () => void): void {
    const fn = this.fn, bytes = size >> 3;
    fn.block(done => {
      const entry = fn.newLocal();
      fn.block(other => {
        fn.set(entry, this.entry(table, va));
        fn.brIf(other, w.ne(w.local(entry), expected), 0);
        if (bytes > 1 && !aligned(address, bytes)) fn.brIf(other, w.and(va, w.k(bytes - 1)), 0);
        access(w.add(va, expected));
        fn.br(done);
      });
      // Mapped otherwise, or not aligned: anything inside one mapped page is still read and written at once.
      const mapped = w.and(w.local(entry), w.k(1));
      fn.if(bytes > 1 ? w.and(mapped, w.leu(w.and(va, w.k(4095)), w.k(4096 - bytes))) : mapped, () => access(w.add(va, w.local(entry))), slow);
    });
  }
  entry(table: N, va: N): N {
    const index = w.shl(w.shr(va, w.k(12)), w.k(2)), [base, offset] = w.split(table);
    return w.load(w.add(base, index), offset);
  }
  /** Soft-MMU hit and natural alignment in one test: entry = addend - 3, so entry + 3 is 0 mod 16, and never when invalid. */
  fast(entry: N, va: N, size: number): N {
    if (size === 8) return w.and(entry, w.k(1));
    // Without the shift an invalid entry would pass with 13 in the low digit of the address.
    if (size === 128) return w.eqz(w.or(w.and(w.add(w.add(entry, va), w.k(3)), w.k(15)), w.xor(w.and(entry, w.k(1)), w.k(1))));
    return w.eqz(w.and(w.add(w.add(entry, w.shl(va, w.k(TEST_SHIFT[size]))), w.k(3)), w.k(15)));
  }
  private loadHost(host: N, size: number, offset: number): N {
    return size === 8 ? w.load8u(host, offset) : size === 16 ? w.load16u(host, offset) : size === 32 ? w.load(host, offset)
      : size === 64 ? w.load64(host, offset) : w.load128(host, offset);
  }
  private storeHost(host: N, size: number, value: N, offset: number): void {
    const fn = this.fn;
    if (size === 8) fn.store8(host, value, offset); else if (size === 16) fn.store16(host, value, offset);
    else if (size === 32) fn.store(host, value, offset); else if (size === 64) fn.store64(host, value, offset); else fn.store128(host, value, offset);
  }
  /** Reads guest memory; pinned. Sizes 8 16 32 -> i32 (zero-extended), 64 -> i64, 128 -> v128. */
  readMemory(address: N, size: number): N {
    const fn = this.fn;
    const direct = this.direct(address, size, false);
    if (direct) return this.let(this.loadHost(direct.host, size, direct.offset));
    const va = this.let(address);
    const type = size === 128 ? w.V : size === 64 ? w.L : w.I;
    const value = fn.newLocal(type);
    const access = (host: N): void => fn.set(value, this.loadHost(host, size, 3)), slow = (): void => fn.set(value, this.slowRead(va, size, type));
    const expected = this.expected();
    if (expected) { this.expecting(this.tlbRead(), va, size, address, expected, access, slow); return w.local(value, type); }
    const entry = this.let(this.entry(this.tlbRead(), va));
    fn.if(this.fast(entry, va, size), () => access(w.add(va, entry)), slow, 1);
    return w.local(value, type);
  }
  private slowRead(va: N, size: number, type: w.T): N {
    if (size === 128) {
      const low = this.let(this.slowRead(va, 64, w.L));
      return this.let(w.lane(w.simd(0x1e), w.V, 1, w.op1(w.simd(0x12), w.V, low), this.slowRead(w.add(va, w.k(8)), 64, w.L)));
    }
    const value = this.let(w.call(this.slow.read[size], type, this.cpu, va, ...this.where()));
    this.faultIf(this.state(S.fault));
    return value;
  }
  /** Reads 4 or 8 bytes into the low end of a vector, zeros above; pinned. */
  readVector(address: N, size: 32 | 64): N {
    const fn = this.fn, low = (host: N, offset: number): N => size === 64 ? w.load64Zero(host, offset) : w.load32Zero(host, offset);
    const direct = this.direct(address, size, false);
    if (direct) return this.let(low(direct.host, direct.offset));
    const va = this.let(address), value = fn.newLocal(w.V);
    const access = (host: N): void => fn.set(value, low(host, 3)), slow = (): void => {
      const read = this.slowRead(va, size, size === 64 ? w.L : w.I);
      fn.set(value, w.lane(w.simd(0x1e), w.V, 0, w.op1(w.simd(0x11), w.V, w.k(0)), size === 64 ? read : w.op1(0xad, w.L, read)));
    };
    const expected = this.expected();
    if (expected) { this.expecting(this.tlbRead(), va, size, address, expected, access, slow); return w.local(value, w.V); }
    const entry = this.let(this.entry(this.tlbRead(), va));
    fn.if(this.fast(entry, va, size), () => access(w.add(va, entry)), slow, 1);
    return w.local(value, w.V);
  }
  writeMemory(address: N, size: number, value: N): void {
    const fn = this.fn;
    const direct = this.direct(address, size, true);
    if (direct) { this.storeHost(direct.host, size, this.let(value), direct.offset); return; }
    const va = this.let(address), v = this.let(value);
    const access = (host: N): void => this.storeHost(host, size, v, 3), slow = (): void => this.slowWrite(va, size, v);
    const expected = this.expected();
    if (expected) { this.expecting(this.tlbWrite(), va, size, address, expected, access, slow); return; }
    const entry = this.let(this.entry(this.tlbWrite(), va));
    fn.if(this.fast(entry, va, size), () => access(w.add(va, entry)), slow, 1);
  }
  /** `fast` with the host address of writable, aligned bytes, or `slow`. */
  withHost(va: N, size: number, fast: (host: N) => void, slow: () => void): void {
    const entry = this.let(this.entry(this.tlbWrite(), va));
    this.fn.if(this.fast(entry, va, size), () => fast(this.let(w.add(w.add(va, entry), w.k(3)))), slow, 1);
  }
  slowWrite(va: N, size: number, v: N): void {
    const fn = this.fn;
    if (size === 128) {
      // Both halves must be writable before either is written.
      fn.drop(w.call(this.slow.readForWrite[64], w.L, this.cpu, va, ...this.where()));
      this.faultIf(this.state(S.fault));
      fn.drop(w.call(this.slow.readForWrite[64], w.L, this.cpu, w.add(va, w.k(8)), ...this.where()));
      this.faultIf(this.state(S.fault));
      fn.do(w.call(this.slow.write[64], 0x40, this.cpu, va, w.lane(w.simd(0x1d), w.L, 0, v), ...this.where()));
      fn.do(w.call(this.slow.write[64], 0x40, this.cpu, w.add(va, w.k(8)), w.lane(w.simd(0x1d), w.L, 1, v), ...this.where()));
    } else fn.do(w.call(this.slow.write[size], 0x40, this.cpu, va, v, ...this.where()));
    this.stored();
  }
  /** Raises an exception with an error code (-1: none). */
  raiseIf(condition: N, vector: number, error: number): void {
    this.fn.if(condition, () => {
      this.fn.do(w.call(this.slow.raise, 0x40, this.cpu, w.k(vector), w.k(error)));
      this.faultIf();
    }, undefined, 0);
  }

  // ---- stack
  /** Address of the stack top + delta, through SS when it is not flat; checked for `bytes`. */
  stackAddress(esp: N, bytes: number, write: boolean): N {
    if (this.flatStack()) return esp;
    const masked = w.and(esp, this.stackMask());
    return this.segmented(w.k(segBase(2) - 4), masked, bytes, write);
  }
  /** 0xffff for a 16-bit stack. */
  stackMask(): N { return w.select(w.k(-1), w.k(0xffff), w.and(this.state(S.mode), w.k(MODE.STACK32))); }
  /** Writes ESP or SP. */
  setStackPointer(esp: N): void {
    if (this.flatStack()) { this.setReg(4, 32, esp); return; }
    const mask = this.let(this.stackMask());
    const old = this.getReg(4, 32);
    this.setReg(4, 32, w.or(w.and(old, w.xor(mask, w.k(-1))), w.and(esp, mask)));
  }
  /** Pushes a value of the given size; ESP changes last. */
  push(value: N, size: number): void {
    const v = this.let(value);
    const esp = this.let(w.sub(this.getReg(4, 32), w.k(size >> 3)));
    this.writeMemory(this.stackAddress(esp, size >> 3, true), size, v);
    this.setStackPointer(esp);
  }
  /** Reads the stack top; the caller moves ESP. */
  peek(size: number): N { return this.readMemory(this.stackAddress(this.let(this.getReg(4, 32)), size >> 3, false), size); }

  // ---- flags
  signed(x: N, size: number): N { return size === 8 ? w.sext8(x) : size === 16 ? w.sext16(x) : x; }
  unsigned(x: N, size: number): N { return size === 8 ? w.and(x, w.k(0xff)) : size === 16 ? w.and(x, w.k(0xffff)) : x; }

  /** An operand of `flags`, of which `rd` has extended all but immediates. */
  zeroExtended(x: N, size: number): N { return this.unsigned(x, size); }

  /** The carry vector of an addition or subtraction, not yet normalised. */
  carries(kind: FlagKind, a: N, b: N, res: N): N {
    if (kind === 'add' || kind === 'inc') return w.or(w.and(a, b), w.and(w.or(a, b), w.xor(res, w.k(-1))));
    const notA = w.xor(a, w.k(-1));
    return w.or(w.and(notA, b), w.and(w.or(notA, b), res));
  }
  /** flagAux from a carry vector. */
  normalise(carries: N, size: number): N {
    if (size === 32) return w.and(carries, w.k(0xc0000008 | 0));
    const c = this.let(carries);
    return w.or(w.and(w.shl(c, w.k(32 - size)), w.k(0xc0000000 | 0)), w.and(c, w.k(8)));
  }
  /** Records the flags of an arithmetic result. a, b, res are pinned; res need not be truncated. */
  flags(kind: FlagKind, size: number, a: N, b: N, res: N): void {
    if (!this.needFlags) { this.pending = null; return; }
    this.pending = { kind, size, a, b, res };
    this.producePending();
  }
  /** Tier 0 stores at once; tier 1 overrides to keep the producer symbolic. */
  producePending(): void { this.materialise(); }
  /** Emits flagRes/flagAux of the pending producer. */
  materialise(): void {
    const p = this.pending;
    if (!p) return;
    let aux: N;
    if (p.kind === 'logic') aux = w.k(0);
    else {
      aux = this.normalise(this.carries(p.kind, p.a, p.b, p.res), p.size);
      if (p.kind === 'inc' || p.kind === 'dec') {
        // CF stays: bit 31 is the old one, bit 30 = CF ^ OF is corrected by the difference.
        const fresh = this.let(aux);
        const difference = w.and(w.xor(fresh, this.flagAux()), w.k(0x80000000 | 0));
        const d = this.let(difference);
        aux = w.xor(fresh, w.or(d, w.shr(d, w.k(1))));
      }
    }
    this.setFlagWords(this.signed(p.res, p.size), aux);
  }
  flagRes(): N { return this.state(S.flagRes); }
  flagAux(): N { return this.state(S.flagAux); }
  /** Stores the two flag words; order: aux first, because trees may read the old words. */
  setFlagWords(res: N, aux: N): void {
    const r = this.let(res);
    this.setState(S.flagAux, aux);
    this.setState(S.flagRes, r);
  }
  /** All flags from a result, CF and OF as 0/1 trees. */
  flagsFrom(size: number, res: N, cf: N, of: N): void {
    if (!this.needFlags) return;
    const c = this.let(cf);
    this.setFlagWords(this.signed(res, size), w.or(w.shl(c, w.k(31)), w.shl(w.xor(c, of), w.k(30))));
    this.pending = null;
  }
  /** Changes CF only. */
  setCarry(cf: N): void {
    if (!this.needFlags) return;
    const aux = this.let(this.flagAux());
    const flip = this.let(w.and(w.xor(w.shl(cf, w.k(31)), aux), w.k(0x80000000 | 0)));
    this.setState(S.flagAux, w.xor(aux, w.or(flip, w.shr(flip, w.k(1)))));
    this.pending = null;
  }
  /** Changes CF and OF only. */
  setCarryOverflow(cf: N, of: N): void {
    if (!this.needFlags) return;
    const c = this.let(cf);
    this.setState(S.flagAux, w.or(w.and(this.flagAux(), w.k(0x3fffffff)), w.or(w.shl(c, w.k(31)), w.shl(w.xor(c, of), w.k(30)))));
    this.pending = null;
  }
  carry(): N { return w.shr(this.flagAux(), w.k(31)); }

  /** Condition by number (0 o .. 15 g): non-zero when true. */
  condition(cc: number): N {
    const direct = this.pending && this.directCondition(cc >> 1, this.pending);
    let base: N;
    if (direct) base = direct;
    else {
      const res = this.flagRes(), aux = this.flagAux();
      const signWord = (): N => w.xor(res, w.shl(aux, w.k(31)));
      const overflowWord = (): N => w.xor(aux, w.shl(aux, w.k(1)));
      switch (cc >> 1) {
        case 0: base = w.lt(overflowWord(), w.k(0)); break;
        case 1: base = w.lt(aux, w.k(0)); break;
        case 2: base = w.eqz(res); break;
        case 3: base = w.or(w.lt(aux, w.k(0)), w.eqz(res)); break;
        case 4: base = w.lt(signWord(), w.k(0)); break;
        case 5: base = w.eqz(w.and(w.popcnt(w.and(w.xor(res, w.shr(aux, w.k(8))), w.k(0xff))), w.k(1))); break;
        case 6: base = w.lt(w.xor(signWord(), overflowWord()), w.k(0)); break;
        default: base = w.or(w.lt(w.xor(signWord(), overflowWord()), w.k(0)), w.eqz(res));
      }
    }
    return cc & 1 ? w.eqz(base) : base;
  }
  private directCondition(pair: number, p: PendingFlags): N | null {
    const { kind, size, a, b } = p;
    const res = this.signed(p.res, size);
    if (pair === 4) return w.lt(res, w.k(0));
    if (kind === 'sub') {
      const zero = (x: N): N => this.zeroExtended(x, size);
      if (pair === 1) return w.ltu(zero(a), zero(b));
      if (pair === 2) return w.eq(zero(a), zero(b));
      if (pair === 3) return w.leu(zero(a), zero(b));
      if (pair === 6) return w.lt(this.signed(a, size), this.signed(b, size));
      if (pair === 7) return w.le(this.signed(a, size), this.signed(b, size));
    }
    if (pair === 2) return w.eqz(this.unsigned(p.res, size));
    if (kind === 'logic') {
      if (pair === 0 || pair === 1) return w.k(0);
      if (pair === 3) return w.eqz(res);
      if (pair === 6) return w.lt(res, w.k(0));
      if (pair === 7) return w.le(res, w.k(0));
    }
    if (kind === 'add' && pair === 1) return w.ltu(this.unsigned(p.res, size), this.unsigned(a, size));
    return null;
  }
  /** EFLAGS bits CF PF AF ZF SF OF as a value. */
  arithmeticFlags(): N {
    const res = this.let(this.flagRes()), aux = this.let(this.flagAux());
    const bit = (condition: N, position: number): N => w.shl(condition, w.k(position));
    return [
      bit(w.lt(aux, w.k(0)), 0), bit(this.condition(10), 2), bit(w.and(w.shr(aux, w.k(3)), w.k(1)), 4), bit(w.eqz(res), 6),
      bit(this.condition(8), 7), bit(this.condition(0), 11),
    ].reduce((x, y) => w.or(x, y));
  }
  /** Loads the arithmetic flags from EFLAGS-shaped bits (see writeEflags in state.ts). */
  loadArithmeticFlags(bits: N): void {
    const f = this.let(bits);
    const flag = (position: number): N => w.and(w.shr(f, w.k(position)), w.k(1));
    const zf = this.let(flag(6)), cf = this.let(flag(0));
    const aux = [w.shl(cf, w.k(31)), w.shl(w.xor(cf, flag(11)), w.k(30)), w.shl(w.xor(flag(2), zf), w.k(8)), w.shl(flag(4), w.k(3)), flag(7)];
    this.setState(S.flagAux, aux.reduce((x, y) => w.or(x, y)));
    this.setState(S.flagRes, w.xor(zf, w.k(1)));
    this.pending = null;
  }
}

/** The address is a multiple of `bytes` whatever the values in it. */
export function aligned({ op, args, n }: N, bytes: number): boolean {
  if (op === -1) return (n & (bytes - 1)) === 0;
  if (op === 0x6a) return aligned(args[0], bytes) && aligned(args[1], bytes);
  if (op === 0x74) return args[1].op === -1 && 1 << (args[1].n & 31) >= bytes;
  return false;
}

export type Semantics = (c: Cx) => void;
