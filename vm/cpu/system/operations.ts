/**
 * Instructions executed in TypeScript (attribute `js` of the table): system instructions, far transfers, port I/O, images of the x87 state.
 * Each ends its block. EIP in the state block is that of the instruction; a handler that transfers control returns true,
 * all others leave EIP to the caller.
 */
import type { AccessSize } from '../../devices/bus.ts';
import type { Insn } from '../isa/decode.ts';
import { ACCESS, GuestFault } from '../mmu.ts';
import { ARITH_FLAGS, CR0, CR4, DR7_ENABLES, FLAG, RUN, S, SEG, SHADOW, VEC } from '../state.ts';
import { ATTR, type Cpu } from './cpu.ts';
import { deliver } from './exceptions.ts';
import { MXCSR_MASK, fldenv, fnclex, fninit, fnsave, fnstenv, fpuIgnored, frstor, fxrstor, fxsave, maskedMove, requireSse } from './fpu.ts';
import { Breakpoints } from './breakpoints.ts';
import { nextRandom } from './random.ts';
import { cpuid, FIXED_COUNTER, instructionsRetired, readMsr, timestamp, writeControl, writeMsr } from './registers.ts';
import { loadLdtr, loadSegment, loadTaskRegister, setZero, visibleDescriptor } from './segments.ts';
import { farCall, farJump, farReturn, interruptReturn, mergeFlags, sysenter, sysexit } from './transfer.ts';

type Operation = (cpu: Cpu, insn: Insn) => boolean | void;

const nextEip = (cpu: Cpu): number => cpu.get(S.eip) + cpu.get(S.instrLength) | 0;
const undefinedOpcode = (): never => { throw new GuestFault(VEC.UD); };

function software(cpu: Cpu, vector: number, gated: boolean): boolean {
  if (gated && cpu.v86 && cpu.iopl !== 3) throw new GuestFault(VEC.GP, 0);
  deliver(cpu, vector, -1, 'software', nextEip(cpu));
  return true;
}
const popSegment = (seg: number): Operation => (cpu, insn) => {
  const bytes = insn.operandSize >> 3, esp = cpu.reg(4);
  const selector = cpu.pop(esp, bytes) & 0xffff;
  const mask = cpu.stackMask;
  loadSegment(cpu, seg, selector);
  cpu.setReg(4, esp & ~mask | esp + bytes & mask);
  if (seg === SEG.SS) shadow(cpu, true);
};
/** Interrupts stay off until the next instruction has completed; behind a load of SS debug exceptions too. */
function shadow(cpu: Cpu, stack = false): void { cpu.set(S.shadow, cpu.get(S.shadow) | SHADOW.PENDING | (stack ? SHADOW.STACK : 0)); cpu.update(); }

/** I/O permission: CPL > IOPL asks the bitmap in the TSS (SDM vol. 1 19.5.2). */
function checkPort(cpu: Cpu, port: number, bytes: number): void {
  if (!cpu.protectedMode || (!cpu.v86 && cpu.cpl <= cpu.iopl)) return;
  const limit = cpu.segmentLimit(SEG.TR), base = cpu.segmentBase(SEG.TR);
  if (!(cpu.attr(SEG.TR) & 8) || limit < 103) throw new GuestFault(VEC.GP, 0);
  const map = cpu.tableRead(base + 102 | 0, 2) + (port >> 3);
  if (map + 1 > limit) throw new GuestFault(VEC.GP, 0);
  const bits = cpu.tableRead(base + map | 0, 2) >> (port & 7);
  if (bits & (1 << bytes) - 1) throw new GuestFault(VEC.GP, 0);
}
const portIn = (cpu: Cpu, port: number, bits: number): number => {
  if (cpu.get(S.dr7) & DR7_ENABLES) Breakpoints.port(cpu.words, port, bits >> 3);
  cpu.mmu.beforeBus();
  const value = cpu.bus.portRead(cpu.index, port, bits >> 3 as AccessSize);
  cpu.mmu.afterBus();
  return value;
};
const portOut = (cpu: Cpu, port: number, bits: number, value: number): void => {
  if (cpu.get(S.dr7) & DR7_ENABLES) Breakpoints.port(cpu.words, port, bits >> 3);
  cpu.mmu.beforeBus();
  cpu.bus.portWrite(cpu.index, port, bits >> 3 as AccessSize, bits === 32 ? value >>> 0 : value & (1 << bits) - 1);
  cpu.mmu.afterBus();
};
const portOf = (cpu: Cpu, insn: Insn, i: number): number => { const op = insn.ops[i]; return op.c === 'I' ? op.value & 0xff : cpu.reg(2, 16); };

/** INS/OUTS: one element per step, REP restarts the instruction until the count is used up. */
const portString = (input: boolean, byte: boolean): Operation => (cpu, insn) => {
  const bits = byte ? 8 : insn.operandSize, bytes = bits >> 3, addressBits = insn.addr16 ? 16 : 32;
  if (insn.rep && cpu.reg(1, addressBits) === 0) return false;
  const port = cpu.reg(2, 16), step = cpu.get(S.eflags) & FLAG.DF ? -bytes : bytes;
  checkPort(cpu, port, bytes);
  const index = input ? 7 : 6, offset = cpu.reg(index, addressBits);
  if (input) {
    const at = cpu.linear(SEG.ES, offset, bytes, true);
    cpu.mmu.checkWrite(at, bytes, cpu.user);
    cpu.mmu.write(at, bytes, portIn(cpu, port, bits), cpu.user);
  } else portOut(cpu, port, bits, cpu.mmu.read(cpu.linear(insn.seg, offset, bytes, false), bytes, cpu.user));
  cpu.setReg(index, offset + step, addressBits);
  if (!insn.rep) return false;
  cpu.setReg(1, cpu.reg(1, addressBits) - 1, addressBits);
  return cpu.reg(1, addressBits) !== 0;
};

const loadFar = (seg: number): Operation => (cpu, insn) => {
  const bytes = insn.operandSize >> 3;
  const at = cpu.operandAddress(insn, insn.ops[1], bytes + 2, false);
  const offset = cpu.mmu.read(at, bytes, cpu.user), selector = cpu.mmu.read(at + bytes | 0, 2, cpu.user);
  loadSegment(cpu, seg, selector);
  cpu.writeOperand(insn, insn.ops[0], offset);
};
function farPointer(cpu: Cpu, insn: Insn): [number, number] {
  const op = insn.ops[0];
  if (op.c === 'A') return [op.selector, op.value];
  const bytes = insn.operandSize >> 3, at = cpu.operandAddress(insn, op, bytes + 2, false);
  const eip = cpu.mmu.read(at, bytes, cpu.user);
  return [cpu.mmu.read(at + bytes | 0, 2, cpu.user), eip];
}
const requireProtected = (cpu: Cpu): void => { if (!cpu.protectedMode || cpu.v86) undefinedOpcode(); };
const storeTable = (base: number, limit: number): Operation => (cpu, insn) => {
  cpu.requireUnprivileged();
  const at = cpu.operandAddress(insn, insn.ops[0], 6, true);
  cpu.mmu.checkWrite(at, 6, cpu.user);
  cpu.mmu.write(at, 2, cpu.get(limit), cpu.user);
  cpu.mmu.write(at + 2 | 0, 4, cpu.get(base), cpu.user);
};
const loadTable = (base: number, limit: number): Operation => (cpu, insn) => {
  cpu.requireCpl0();
  const at = cpu.operandAddress(insn, insn.ops[0], 6, false);
  const newLimit = cpu.mmu.read(at, 2, cpu.user), newBase = cpu.mmu.read(at + 2 | 0, 4, cpu.user);
  cpu.set(limit, newLimit); cpu.set(base, insn.operandSize === 16 ? newBase & 0xffffff : newBase);
};
const storeSelector = (value: (cpu: Cpu) => number): Operation => (cpu, insn) => {
  cpu.requireUnprivileged();
  const op = insn.ops[0];
  if (op.c === 'R') cpu.setReg(op.reg, value(cpu), insn.operandSize); else cpu.writeOperand(insn, op, value(cpu), 16);
};
const verify = (kind: 'verr' | 'verw'): Operation => (cpu, insn) => {
  requireProtected(cpu);
  setZero(cpu, visibleDescriptor(cpu, cpu.readOperand(insn, insn.ops[0], 16), kind) !== null);
};
const look = (kind: 'lar' | 'lsl'): Operation => (cpu, insn) => {
  requireProtected(cpu);
  const found = visibleDescriptor(cpu, cpu.readOperand(insn, insn.ops[1], 16), kind);
  if (found) cpu.writeOperand(insn, insn.ops[0], kind === 'lar' ? found.high & 0xffff00 : found.limit);
  setZero(cpu, found !== null);
};

/** #UD, then #GP, then with DR7.GD set #DB in front of the instruction (SDM vol. 2 MOV DR, vol. 3 17.2.4). */
function debugRegister(cpu: Cpu, number: number): number {
  if (number === 4 || number === 5) { if (cpu.get(S.cr4) & CR4.DE) undefinedOpcode(); number += 2; }
  cpu.requireCpl0();
  if (cpu.get(S.dr7) & 0x2000) {
    cpu.set(S.dr6, cpu.get(S.dr6) | 0x2000);
    // A fault that is no breakpoint's: RF is set in its image (17.3.1.1), and cleared again by the delivery.
    cpu.set(S.eflags, cpu.get(S.eflags) | FLAG.RF);
    throw new GuestFault(VEC.DB);
  }
  return number < 4 ? S.dr0 + number * 4 : number === 6 ? S.dr6 : S.dr7;
}
const regOf = (insn: Insn, i: number): number => { const op = insn.ops[i]; return op.c === 'R' || op.c === 'S' ? op.reg : 0; };

const enter: Operation = (cpu, insn) => {
  const size = insn.ops[0], level = insn.ops[1];
  if (size.c !== 'I' || level.c !== 'I') return;
  const bytes = insn.operandSize >> 3, mask = cpu.stackMask, depth = level.value & 31;
  const esp = cpu.reg(4), ebp = cpu.reg(5);
  const values = [insn.operandSize === 32 ? ebp : ebp & 0xffff];
  const frame = esp - bytes;
  if (depth) {
    for (let i = 1; i < depth; i++) values.push(cpu.mmu.read(cpu.stackLinear(ebp - bytes * i, bytes, false), bytes, cpu.user));
    values.push(frame);
  }
  const addresses = values.map((_, i) => cpu.stackLinear(esp - bytes * (i + 1), bytes, true));
  for (const address of addresses) cpu.mmu.checkWrite(address, bytes, cpu.user);
  const final = esp - bytes * values.length - size.value;
  // The new stack top must be writable too (SDM vol. 2, ENTER).
  cpu.mmu.checkWrite(cpu.stackLinear(final, bytes, true), bytes, cpu.user);
  addresses.forEach((address, i) => cpu.mmu.write(address, bytes, values[i], cpu.user));
  if (insn.operandSize === 32) cpu.setReg(5, frame & mask | ebp & ~mask); else cpu.setReg(5, frame, 16);
  cpu.setReg(4, esp & ~mask | final & mask);
};

/** STAC, CLAC (SDM vol. 2): #UD outside ring 0. What the supervisor may reach is looked at by each access. */
function setAlignmentCheck(cpu: Cpu, on: boolean): void {
  if (!cpu.protectedMode || cpu.cpl !== 0) undefinedOpcode();
  cpu.set(S.eflags, on ? cpu.get(S.eflags) | FLAG.AC : cpu.get(S.eflags) & ~FLAG.AC);
}
/** There is no cache to write back; the byte must be readable, or executable (SDM vol. 2 CLFLUSH). */
const flushLine: Operation = (cpu, insn) => {
  const op = insn.ops[0];
  if (op.c !== 'M') return;
  const code = (cpu.attr(op.seg) & (ATTR.PRESENT | ATTR.CODE)) === (ATTR.PRESENT | ATTR.CODE);
  const offset = cpu.effective(insn, op);
  if (code && offset >>> 0 > cpu.segmentLimit(op.seg)) throw new GuestFault(VEC.GP, 0);
  cpu.mmu.translate(code ? cpu.segmentBase(op.seg) + offset | 0 : cpu.linear(op.seg, offset, 1, false), ACCESS.READ, cpu.user);
};

export const OPERATIONS: Record<string, Operation> = {
  undefined: undefinedOpcode, ud0: undefinedOpcode, ud1: undefinedOpcode, ud2: undefinedOpcode,
  too_long: () => { throw new GuestFault(VEC.GP, 0); },
  int: (cpu, insn) => software(cpu, insn.ops[0].c === 'I' ? insn.ops[0].value : 0, true),
  int3: cpu => software(cpu, 3, false),
  int1: cpu => { deliver(cpu, 1, -1, 'fault', nextEip(cpu)); return true; },
  into: cpu => cpu.eflags & FLAG.OF ? software(cpu, 4, false) : false,
  iret: (cpu, insn) => { interruptReturn(cpu, insn.operandSize); return true; },
  callf: (cpu, insn) => { const [s, e] = farPointer(cpu, insn); farCall(cpu, s, e, insn.operandSize); return true; },
  callf_ind: (cpu, insn) => { const [s, e] = farPointer(cpu, insn); farCall(cpu, s, e, insn.operandSize); return true; },
  jmpf: (cpu, insn) => { const [s, e] = farPointer(cpu, insn); farJump(cpu, s, e, insn.operandSize); return true; },
  jmpf_ind: (cpu, insn) => { const [s, e] = farPointer(cpu, insn); farJump(cpu, s, e, insn.operandSize); return true; },
  retf: (cpu, insn) => { farReturn(cpu, insn.operandSize, insn.ops[0]?.c === 'I' ? insn.ops[0].value : 0); return true; },
  sysenter: cpu => { sysenter(cpu); return true; },
  sysexit: cpu => { sysexit(cpu); return true; },
  pop_es: popSegment(SEG.ES), pop_ss: popSegment(SEG.SS), pop_ds: popSegment(SEG.DS), pop_fs: popSegment(SEG.FS), pop_gs: popSegment(SEG.GS),
  mov_to_seg: (cpu, insn) => {
    const seg = regOf(insn, 0);
    loadSegment(cpu, seg, cpu.readOperand(insn, insn.ops[1], 16));
    if (seg === SEG.SS) shadow(cpu, true);
  },
  les: loadFar(SEG.ES), lds: loadFar(SEG.DS), lss: loadFar(SEG.SS), lfs: loadFar(SEG.FS), lgs: loadFar(SEG.GS),
  pop_e: (cpu, insn) => {
    const bytes = insn.operandSize >> 3, esp = cpu.reg(4), mask = cpu.stackMask;
    const value = cpu.pop(esp, bytes);
    // ESP is incremented before the destination address is computed.
    cpu.setReg(4, esp & ~mask | esp + bytes & mask);
    try { cpu.writeOperand(insn, insn.ops[0], value, insn.operandSize); } catch (fault) { cpu.setReg(4, esp); throw fault; }
  },
  popf: (cpu, insn) => {
    if (cpu.v86 && cpu.iopl !== 3) throw new GuestFault(VEC.GP, 0);
    const bytes = insn.operandSize >> 3, esp = cpu.reg(4);
    const value = cpu.pop(esp, bytes);
    const old = cpu.eflags;
    cpu.eflags = insn.operandSize === 32 ? mergeFlags(cpu, value, 32, false) : old & 0xffff0000 | mergeFlags(cpu, value, 16, false) & 0xffff;
    cpu.setStackPointer(esp + bytes | 0);
    if ((old ^ cpu.eflags) & (FLAG.TF | FLAG.AC)) cpu.update();
  },
  sti: cpu => {
    if (cpu.protectedMode && cpu.cpl > cpu.iopl) throw new GuestFault(VEC.GP, 0);
    if (cpu.get(S.eflags) & FLAG.IF) return;
    cpu.set(S.eflags, cpu.get(S.eflags) | FLAG.IF);
    shadow(cpu);
  },
  /** A spinning guest: the bus may give the host core away (parallel mode). */
  pause: cpu => { cpu.mmu.beforeBus(); cpu.bus.relax?.(cpu.index); },
  hlt: cpu => { cpu.requireCpl0(); cpu.set(S.runState, RUN.halted); },
  enter,
  bound: (cpu, insn) => {
    const bytes = insn.operandSize >> 3, at = cpu.operandAddress(insn, insn.ops[1], bytes * 2, false);
    const extend = (x: number): number => bytes === 2 ? x << 16 >> 16 : x;
    const value = extend(cpu.readOperand(insn, insn.ops[0]));
    const low = extend(cpu.mmu.read(at, bytes, cpu.user)), high = extend(cpu.mmu.read(at + bytes | 0, bytes, cpu.user));
    if (value < low || value > high) throw new GuestFault(VEC.BR);
  },
  arpl: (cpu, insn) => {
    requireProtected(cpu);
    const old = cpu.readOperand(insn, insn.ops[0], 16), rpl = cpu.readOperand(insn, insn.ops[1], 16) & 3, lower = (old & 3) < rpl;
    if (lower) cpu.writeOperand(insn, insn.ops[0], old & ~3 | rpl, 16);
    setZero(cpu, lower);
  },
  in: (cpu, insn) => { const op = insn.ops[0], port = portOf(cpu, insn, 1); checkPort(cpu, port, op.size >> 3); cpu.setReg(0, portIn(cpu, port, op.size), op.size); },
  out: (cpu, insn) => { const op = insn.ops[1], port = portOf(cpu, insn, 0); checkPort(cpu, port, op.size >> 3); portOut(cpu, port, op.size, cpu.reg(0, op.size)); },
  insb: portString(true, true), insv: portString(true, false), outsb: portString(false, true), outsv: portString(false, false),
  sldt: (cpu, insn) => { requireProtected(cpu); storeSelector(c => c.selector(SEG.LDTR))(cpu, insn); },
  str: (cpu, insn) => { requireProtected(cpu); storeSelector(c => c.selector(SEG.TR))(cpu, insn); },
  lldt: (cpu, insn) => { requireProtected(cpu); cpu.requireCpl0(); loadLdtr(cpu, cpu.readOperand(insn, insn.ops[0], 16)); },
  ltr: (cpu, insn) => { requireProtected(cpu); cpu.requireCpl0(); loadTaskRegister(cpu, cpu.readOperand(insn, insn.ops[0], 16)); },
  verr: verify('verr'), verw: verify('verw'), lar: look('lar'), lsl: look('lsl'),
  sgdt: storeTable(S.gdtrBase, S.gdtrLimit), sidt: storeTable(S.idtrBase, S.idtrLimit),
  lgdt: loadTable(S.gdtrBase, S.gdtrLimit), lidt: loadTable(S.idtrBase, S.idtrLimit),
  smsw: storeSelector(cpu => cpu.get(S.cr0)),
  lmsw: (cpu, insn) => {
    cpu.requireCpl0();
    const value = cpu.readOperand(insn, insn.ops[0], 16) & 15, old = cpu.get(S.cr0);
    // LMSW can set PE, not clear it.
    writeControl(cpu, 0, old & ~14 | value | old & CR0.PE);
  },
  invlpg: (cpu, insn) => { cpu.requireCpl0(); const op = insn.ops[0]; if (op.c === 'M') cpu.mmu.invalidatePage(cpu.segmentBase(op.seg) + cpu.effective(insn, op) | 0); },
  clts: cpu => { cpu.requireCpl0(); cpu.set(S.cr0, cpu.get(S.cr0) & ~CR0.TS); },
  invd: cpu => cpu.requireCpl0(), wbinvd: cpu => cpu.requireCpl0(),
  mov_to_cr: (cpu, insn) => { cpu.requireCpl0(); writeControl(cpu, regOf(insn, 0), cpu.reg(regOf(insn, 1))); },
  mov_from_dr: (cpu, insn) => { cpu.setReg(regOf(insn, 0), cpu.get(debugRegister(cpu, regOf(insn, 1)))); },
  mov_to_dr: (cpu, insn) => {
    const field = debugRegister(cpu, regOf(insn, 0)), value = cpu.reg(regOf(insn, 1));
    cpu.set(field, field === S.dr6 ? value & 0xe00f | 0xffff0ff0 : field === S.dr7 ? value & ~0xd800 | 0x400 : value);
    cpu.update();
  },
  rdmsr: cpu => { cpu.requireCpl0(); cpu.mmu.beforeBus(); const [low, high] = readMsr(cpu, cpu.reg(1)); cpu.setReg(0, low); cpu.setReg(2, high); },
  wrmsr: cpu => { cpu.requireCpl0(); cpu.mmu.beforeBus(); writeMsr(cpu, cpu.reg(1), cpu.reg(0), cpu.reg(2)); },
  rdtsc: cpu => {
    if (cpu.get(S.cr4) & CR4.TSD && cpu.cpl !== 0) throw new GuestFault(VEC.GP, 0);
    cpu.mmu.beforeBus();
    const [low, high] = timestamp(cpu);
    cpu.setReg(0, low); cpu.setReg(2, high);
  },
  rdpmc: cpu => {
    if ((cpu.protectedMode && cpu.cpl !== 0 && !(cpu.get(S.cr4) & CR4.PCE)) || !cpu.model.features.has('pmu') || cpu.reg(1) !== FIXED_COUNTER) throw new GuestFault(VEC.GP, 0);
    cpu.mmu.beforeBus();
    const [low, high] = instructionsRetired(cpu);
    cpu.setReg(0, low); cpu.setReg(2, high);
  },
  cpuid: cpu => { const [a, b, c, d] = cpuid(cpu, cpu.reg(0), cpu.reg(1)); cpu.setReg(0, a); cpu.setReg(3, b); cpu.setReg(1, c); cpu.setReg(2, d); },
  clac: cpu => setAlignmentCheck(cpu, false), stac: cpu => setAlignmentCheck(cpu, true),
  rdrand: (cpu, insn) => {
    cpu.writeOperand(insn, insn.ops[0], nextRandom(cpu.words));
    cpu.eflags = cpu.eflags & ~ARITH_FLAGS | FLAG.CF;
  },
  clflush: flushLine, clwb: flushLine,
  fxsave, fxrstor, fnstenv, fldenv, fnsave, frstor, fninit, fnclex, fneni: fpuIgnored, fndisi: fpuIgnored, fnsetpm: fpuIgnored,
  maskmovq: maskedMove, maskmovdqu: maskedMove,
  ldmxcsr: (cpu, insn) => {
    requireSse(cpu);
    const value = cpu.readOperand(insn, insn.ops[0], 32);
    if (value & ~MXCSR_MASK) throw new GuestFault(VEC.GP, 0);
    cpu.set(S.mxcsr, value);
  },
  stmxcsr: (cpu, insn) => { requireSse(cpu); cpu.writeOperand(insn, insn.ops[0], cpu.get(S.mxcsr), 32); },
};

/** Whether a `js` row of the instruction table has its helper. */
export const hasOperation = (name: string): boolean => name in OPERATIONS;

/** By row of the instruction table: a look-up by name costs as much as a short instruction. */
const byEntry: (Operation | undefined)[] = [];

/** Runs a helper instruction; EIP is advanced unless it transferred. Throws GuestFault with state unchanged. */
export function execute(cpu: Cpu, insn: Insn): void {
  cpu.set(S.instrLength, insn.length);
  const operation = byEntry[insn.entry.index] ??= OPERATIONS[insn.entry.name];
  if (!operation) throw new Error(`no helper for ${insn.entry.name}`);
  if (operation(cpu, insn) === true) return;
  const eip = nextEip(cpu);
  cpu.set(S.eip, cpu.attr(SEG.CS) & ATTR.BIG ? eip : eip & 0xffff);
}
