/**
 * The vCPU as TypeScript helpers see it: registers, segments, memory with privileges, and the derived decode mode.
 *
 * Helpers run one instruction at a time, with EIP in the state block at that instruction. They raise guest exceptions by
 * throwing GuestFault before changing anything; the engine delivers them.
 */
import type { Board } from '../../board.ts';
import type { Bus } from '../../devices/bus.ts';
import { MODELS, type Model } from '../isa/models.ts';
import type { Insn, Operand } from '../isa/decode.ts';
import { GuestFault, type Mmu } from '../mmu.ts';
import { CR0, CR4, DR7_ENABLES, FLAG, MODE, S, SEG, VEC, readEflags, segAttr, segBase, segLimit, segSelector, writeEflags } from '../state.ts';

/** A descriptor as fetched: both words, and where. */
export interface Descriptor { readonly low: number; readonly high: number; readonly address: number; readonly selector: number }
export const descriptorBase = (d: Descriptor): number => (d.low >>> 16 | (d.high & 0xff) << 16 | d.high & 0xff000000) | 0;
export const descriptorLimit = (d: Descriptor): number => {
  const raw = d.low & 0xffff | d.high & 0xf0000;
  return (d.high & 0x800000 ? raw << 12 | 0xfff : raw) | 0;
};
/** Attributes in the shape of the segment cache: descriptor bits 40-55 without the limit. */
export const descriptorAttr = (d: Descriptor): number => d.high >>> 8 & 0xf0ff;
export const ATTR = { ACCESSED: 1, WRITABLE: 2, CONFORMING: 4, CODE: 8, S: 0x10, DPL: 0x60, PRESENT: 0x80, BIG: 0x4000, GRANULAR: 0x8000 } as const;
export const dpl = (attr: number): number => attr >> 5 & 3;

const MODE_DERIVED = MODE.CODE32 | MODE.STACK32 | MODE.DS_FLAT | MODE.ES_FLAT | MODE.SS_FLAT | MODE.CS_FLAT | MODE.PROTECTED | MODE.V86;

export class Cpu {
  readonly board: Board;
  readonly index: number;
  readonly base: number;
  readonly words: Int32Array;
  readonly bytes: Uint8Array;
  readonly halves: Uint16Array;
  readonly mmu: Mmu;
  readonly bus: Bus;

  constructor(board: Board, index: number, mmu: Mmu, bus: Bus, words: Int32Array) {
    this.board = board; this.index = index; this.mmu = mmu; this.bus = bus; this.words = words;
    this.base = board.vcpuBase(index);
    this.bytes = new Uint8Array(board.buffer, this.base, 0x10000);
    this.halves = new Uint16Array(board.buffer, this.base, 0x8000);
  }

  /** The engine's, told when DR0 to DR7 may have changed and enable breakpoints, or did so before. */
  breakpointsChanged: () => void = () => undefined;
  private breakpointsSet = false;

  get model(): Model { return MODELS[this.board.header.cpuModel] ?? MODELS[0]; }
  get(offset: number): number { return this.words[offset >> 2]; }
  set(offset: number, value: number): void { this.words[offset >> 2] = value; }
  reg(n: number, size = 32): number {
    return size === 32 ? this.words[n] : size === 16 ? this.halves[n * 2] : this.bytes[(n & 3) * 4 + (n >> 2)];
  }
  setReg(n: number, value: number, size = 32): void {
    if (size === 32) this.words[n] = value; else if (size === 16) this.halves[n * 2] = value; else this.bytes[(n & 3) * 4 + (n >> 2)] = value;
  }
  get cpl(): number { return this.words[S.cpl >> 2]; }
  get user(): boolean { return this.words[S.cpl >> 2] === 3; }
  get protectedMode(): boolean { return (this.words[S.cr0 >> 2] & CR0.PE) !== 0; }
  get v86(): boolean { return (this.words[S.eflags >> 2] & FLAG.VM) !== 0; }
  get eflags(): number { return readEflags(this.words, 0); }
  set eflags(value: number) { writeEflags(this.words, 0, value); }
  get iopl(): number { return this.words[S.eflags >> 2] >> 12 & 3; }

  selector(seg: number): number { return this.words[segSelector(seg) >> 2]; }
  segmentBase(seg: number): number { return this.words[segBase(seg) >> 2]; }
  segmentLimit(seg: number): number { return this.words[segLimit(seg) >> 2] >>> 0; }
  attr(seg: number): number { return this.words[segAttr(seg) >> 2]; }
  setSegment(seg: number, selector: number, base: number, limit: number, attr: number): void {
    const at = segSelector(seg) >> 2;
    this.words[at] = selector; this.words[at + 1] = base; this.words[at + 2] = limit; this.words[at + 3] = attr;
  }
  /** Real-mode or V86 load. */
  setRealSegment(seg: number, selector: number): void {
    const v86 = this.v86;
    // In real mode limit and attributes survive from protected mode ("unreal"); V86 sets them.
    if (v86) this.setSegment(seg, selector, selector << 4, 0xffff, 0xf3);
    else {
      const at = segSelector(seg) >> 2;
      this.words[at] = selector; this.words[at + 1] = selector << 4;
      if (!(this.words[at + 3] & ATTR.PRESENT)) { this.words[at + 2] = 0xffff; this.words[at + 3] = 0x93; }
      if (seg === SEG.CS) this.words[at + 3] = this.words[at + 3] & ~0xff | 0x93;
    }
  }
  loadFromDescriptor(seg: number, selector: number, d: Descriptor): void {
    this.setSegment(seg, selector, descriptorBase(d), descriptorLimit(d), descriptorAttr(d));
  }

  /** Recomputes `mode` and the soft-MMU pointers after any change of segments, CR0, CPL or EFLAGS.VM/TF. */
  update(): void {
    const words = this.words;
    const flat = (seg: number): boolean => {
      const attr = this.attr(seg);
      return this.segmentBase(seg) === 0 && this.words[segLimit(seg) >> 2] === -1 && (attr & ATTR.PRESENT) !== 0
        && (attr & ATTR.CODE ? (attr & ATTR.WRITABLE) !== 0 && seg === SEG.CS : (attr & (ATTR.WRITABLE | ATTR.CONFORMING)) === ATTR.WRITABLE);
    };
    let mode = 0;
    if (this.attr(SEG.CS) & ATTR.BIG) mode |= MODE.CODE32;
    if (this.attr(SEG.SS) & ATTR.BIG) mode |= MODE.STACK32;
    if (flat(SEG.DS)) mode |= MODE.DS_FLAT;
    if (flat(SEG.ES)) mode |= MODE.ES_FLAT;
    if (flat(SEG.SS)) mode |= MODE.SS_FLAT;
    if (flat(SEG.CS)) mode |= MODE.CS_FLAT;
    if (this.protectedMode) mode |= MODE.PROTECTED;
    if (this.v86) mode |= MODE.V86;
    const breakpoints = words[S.dr7 >> 2] & DR7_ENABLES;
    if (words[S.shadow >> 2] || words[S.eflags >> 2] & FLAG.TF || breakpoints) mode |= MODE.SINGLE;
    words[S.mode >> 2] = mode & (MODE_DERIVED | MODE.SINGLE);
    this.mmu.selectView();
    if (breakpoints || this.breakpointsSet) { this.breakpointsSet = breakpoints !== 0; this.breakpointsChanged(); }
    if (words[S.eflags >> 2] & FLAG.AC) this.mmu.checkAlignment();
  }

  // ---- memory operands
  /** Segment-checked linear address: #GP(0), or #SS(0) through SS. */
  linear(seg: number, offset: number, bytes: number, write: boolean): number {
    const attr = this.attr(seg), limit = this.segmentLimit(seg), first = offset >>> 0, last = first + bytes - 1;
    const vector = seg === SEG.SS ? VEC.SS : VEC.GP;
    if (!(attr & ATTR.PRESENT)) throw new GuestFault(vector, 0);
    if (attr & ATTR.CODE ? write || !(attr & ATTR.WRITABLE) : write && !(attr & ATTR.WRITABLE)) throw new GuestFault(vector, 0);
    if ((attr & (ATTR.CODE | ATTR.CONFORMING)) === ATTR.CONFORMING) {
      if (first <= limit || last > (attr & ATTR.BIG ? 0xffffffff : 0xffff)) throw new GuestFault(vector, 0);
    } else if (last > limit) throw new GuestFault(vector, 0);
    return this.segmentBase(seg) + offset | 0;
  }
  effective(insn: Insn, op: Operand): number {
    if (op.c !== 'M') throw new Error('not a memory operand');
    const base = op.base >= 0 ? this.words[op.base] : 0, index = op.index >= 0 ? this.words[op.index] << op.scale : 0;
    const ea = base + index + op.disp | 0;
    return insn.addr16 ? ea & 0xffff : ea;
  }
  operandAddress(insn: Insn, op: Operand, bytes: number, write: boolean, offset = 0): number {
    if (op.c !== 'M') throw new Error('not a memory operand');
    const ea = this.effective(insn, op) + offset;
    return this.linear(op.seg, insn.addr16 ? ea & 0xffff : ea | 0, bytes, write);
  }
  readOperand(insn: Insn, op: Operand, size = op.size): number {
    if (op.c === 'R') return this.reg(op.reg, size);
    if (op.c === 'I') return op.value;
    return this.mmu.read(this.operandAddress(insn, op, size >> 3, false), size >> 3, this.user);
  }
  writeOperand(insn: Insn, op: Operand, value: number, size = op.size): void {
    if (op.c === 'R') { this.setReg(op.reg, value, size); return; }
    this.mmu.write(this.operandAddress(insn, op, size >> 3, true), size >> 3, value, this.user);
  }

  // ---- stack of the current privilege
  get stackMask(): number { return this.attr(SEG.SS) & ATTR.BIG ? -1 : 0xffff; }
  stackLinear(esp: number, bytes: number, write: boolean): number { return this.linear(SEG.SS, esp & this.stackMask, bytes, write); }
  setStackPointer(esp: number): void { const mask = this.stackMask; this.words[4] = this.words[4] & ~mask | esp & mask; }
  pop(esp: number, bytes: number): number { return this.mmu.read(this.stackLinear(esp, bytes, false), bytes, this.user); }

  // ---- descriptor tables and TSS: implicit accesses of the supervisor, whatever the ring (SDM vol. 3 4.6.1)
  tableRead(address: number, bytes: number): number {
    this.mmu.implicit = true;
    try { return this.mmu.read(address, bytes, false); } finally { this.mmu.implicit = false; }
  }
  tableWrite(address: number, bytes: number, value: number): void {
    this.mmu.implicit = true;
    try { this.mmu.write(address, bytes, value, false); } finally { this.mmu.implicit = false; }
  }
  /** Fetches a descriptor; a selector beyond its table gives `vector`(selector). */
  descriptor(selector: number, vector: number = VEC.GP, external = 0): Descriptor {
    const index = selector & 0xfff8;
    const error = selector & 0xfffc | external;
    let base: number, limit: number;
    if (selector & 4) {
      if (!(this.attr(SEG.LDTR) & ATTR.PRESENT)) throw new GuestFault(vector, error);
      base = this.segmentBase(SEG.LDTR); limit = this.segmentLimit(SEG.LDTR);
    } else { base = this.get(S.gdtrBase); limit = this.get(S.gdtrLimit) >>> 0; }
    if (index + 7 > limit) throw new GuestFault(vector, error);
    const address = base + index | 0;
    return { low: this.tableRead(address, 4), high: this.tableRead(address + 4 | 0, 4), address, selector };
  }
  /** May fault: to be called before anything of the instruction is final. */
  setAccessed(d: Descriptor): Descriptor {
    if (d.high & 0x100) return d;
    this.tableWrite(d.address + 5 | 0, 1, d.high >>> 8 & 0xff | 1);
    return { ...d, high: d.high | 0x100 };
  }
  /** SGDT, SIDT, SLDT, STR and SMSW with CR4.UMIP (SDM vol. 3 2.5). */
  requireUnprivileged(): void { if (this.get(S.cr4) & CR4.UMIP && this.protectedMode && this.cpl !== 0) throw new GuestFault(VEC.GP, 0); }
  requireCpl0(): void { if (this.protectedMode && this.cpl !== 0) throw new GuestFault(VEC.GP, 0); }
}
