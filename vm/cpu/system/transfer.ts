/**
 * Control transfers that load CS: far JMP, CALL, RET, IRET, SYSENTER, SYSEXIT (SDM vol. 2; vol. 3 chapter 5.8).
 */
import { GuestFault } from '../mmu.ts';
import { CR0, DR7_ENABLES, FLAG, S, SEG, VEC } from '../state.ts';
import { ATTR, descriptorAttr, descriptorLimit, dpl, type Cpu, type Descriptor } from './cpu.ts';
import { innerStack, pusher } from './exceptions.ts';
import { dropPrivilegedSegments } from './segments.ts';
import { taskSwitch } from './tasks.ts';

const CONFORMING_CODE = ATTR.S | ATTR.CODE | ATTR.CONFORMING;
const isCode = (attr: number): boolean => (attr & (ATTR.S | ATTR.CODE)) === (ATTR.S | ATTR.CODE);
const error = (selector: number): number => selector & 0xfffc;

function checkLimit(d: Descriptor, eip: number): void {
  if (eip >>> 0 > descriptorLimit(d) >>> 0) throw new GuestFault(VEC.GP, 0);
}
function enter(cpu: Cpu, selector: number, d: Descriptor, eip: number): void {
  cpu.loadFromDescriptor(SEG.CS, selector & ~3 | cpu.cpl, cpu.setAccessed(d));
  cpu.set(S.eip, eip);
  cpu.update();
}
/** Direct transfer to a code segment of the same privilege. */
function checkSameLevel(cpu: Cpu, selector: number, d: Descriptor): void {
  const attr = descriptorAttr(d);
  if ((attr & CONFORMING_CODE) === CONFORMING_CODE) { if (dpl(attr) > cpu.cpl) throw new GuestFault(VEC.GP, error(selector)); }
  else if ((selector & 3) > cpu.cpl || dpl(attr) !== cpu.cpl) throw new GuestFault(VEC.GP, error(selector));
  if (!(attr & ATTR.PRESENT)) throw new GuestFault(VEC.NP, error(selector));
}

export function farJump(cpu: Cpu, selector: number, eip: number, operandSize: number): void {
  if (operandSize === 16) eip &= 0xffff;
  if (!cpu.protectedMode || cpu.v86) { cpu.setRealSegment(SEG.CS, selector); cpu.set(S.eip, eip); cpu.update(); return; }
  if (error(selector) === 0) throw new GuestFault(VEC.GP, 0);
  const d = cpu.descriptor(selector), attr = descriptorAttr(d);
  if (isCode(attr)) { checkSameLevel(cpu, selector, d); checkLimit(d, eip); enter(cpu, selector, d, eip); return; }
  const type = attr & 0x1f;
  if (type === 12 || type === 4) {
    const gate = checkGate(cpu, selector, d);
    const code = cpu.descriptor(gate.selector), codeAttr = descriptorAttr(code);
    if (!isCode(codeAttr) || ((codeAttr & ATTR.CONFORMING) ? dpl(codeAttr) > cpu.cpl : dpl(codeAttr) !== cpu.cpl)) throw new GuestFault(VEC.GP, error(gate.selector));
    if (!(codeAttr & ATTR.PRESENT)) throw new GuestFault(VEC.NP, error(gate.selector));
    checkLimit(code, gate.offset);
    enter(cpu, gate.selector, code, gate.offset);
    return;
  }
  if (type === 9 || type === 5) { jumpToTask(cpu, selector, d, type, 'jmp'); return; }
  throw new GuestFault(VEC.GP, error(selector));
}
function jumpToTask(cpu: Cpu, selector: number, d: Descriptor, type: number, how: 'call' | 'jmp'): void {
  const attr = descriptorAttr(d);
  if (dpl(attr) < Math.max(cpu.cpl, selector & 3)) throw new GuestFault(VEC.GP, error(selector));
  if (!(attr & ATTR.PRESENT)) throw new GuestFault(VEC.NP, error(selector));
  taskSwitch(cpu, type === 5 ? d.low >>> 16 : selector, how, cpu.get(S.eip) + cpu.get(S.instrLength) | 0, -1);
}
function checkGate(cpu: Cpu, selector: number, d: Descriptor): { selector: number; offset: number; parameters: number; wide: boolean } {
  const attr = descriptorAttr(d), wide = (attr & 8) !== 0;
  if (dpl(attr) < cpu.cpl || dpl(attr) < (selector & 3)) throw new GuestFault(VEC.GP, error(selector));
  if (!(attr & ATTR.PRESENT)) throw new GuestFault(VEC.NP, error(selector));
  const target = d.low >>> 16;
  if (error(target) === 0) throw new GuestFault(VEC.GP, 0);
  return { selector: target, offset: wide ? d.low & 0xffff | d.high & 0xffff0000 : d.low & 0xffff, parameters: d.high & 31, wide };
}

export function farCall(cpu: Cpu, selector: number, eip: number, operandSize: number): void {
  const bytes = operandSize >> 3, returnEip = cpu.get(S.eip) + cpu.get(S.instrLength) | 0;
  if (operandSize === 16) eip &= 0xffff;
  /** CS and EIP on the stack; the descriptor with its accessed bit, for which everything can still fail. */
  const pushSame = <D extends Descriptor | null>(size: number, d: D): D => {
    const esp = cpu.reg(4);
    const first = cpu.stackLinear(esp - size | 0, size, true), second = cpu.stackLinear(esp - size * 2 | 0, size, true);
    cpu.mmu.checkWrite(first, size, cpu.user); cpu.mmu.checkWrite(second, size, cpu.user);
    const accessed = d && cpu.setAccessed(d);
    cpu.mmu.write(first, size, cpu.selector(SEG.CS), cpu.user);
    cpu.mmu.write(second, size, returnEip, cpu.user);
    cpu.setStackPointer(esp - size * 2 | 0);
    return accessed as D;
  };
  if (!cpu.protectedMode || cpu.v86) { pushSame(bytes, null); cpu.setRealSegment(SEG.CS, selector); cpu.set(S.eip, eip); cpu.update(); return; }
  if (error(selector) === 0) throw new GuestFault(VEC.GP, 0);
  const d = cpu.descriptor(selector), attr = descriptorAttr(d);
  if (isCode(attr)) { checkSameLevel(cpu, selector, d); checkLimit(d, eip); enter(cpu, selector, pushSame(bytes, d), eip); return; }
  const type = attr & 0x1f;
  if (type === 9 || type === 5) { jumpToTask(cpu, selector, d, type, 'call'); return; }
  if (type !== 12 && type !== 4) throw new GuestFault(VEC.GP, error(selector));
  const gate = checkGate(cpu, selector, d), size = gate.wide ? 4 : 2;
  const code = cpu.descriptor(gate.selector), codeAttr = descriptorAttr(code);
  if (!isCode(codeAttr) || dpl(codeAttr) > cpu.cpl) throw new GuestFault(VEC.GP, error(gate.selector));
  if (!(codeAttr & ATTR.PRESENT)) throw new GuestFault(VEC.NP, error(gate.selector));
  if (codeAttr & ATTR.CONFORMING || dpl(codeAttr) === cpu.cpl) {
    checkLimit(code, gate.offset); enter(cpu, gate.selector, pushSame(size, code), gate.offset);
    return;
  }
  const newCpl = dpl(codeAttr), stack = innerStack(cpu, newCpl, 0);
  const oldSs = cpu.selector(SEG.SS), oldEsp = cpu.reg(4), oldCs = cpu.selector(SEG.CS);
  const parameters: number[] = [];
  for (let i = gate.parameters - 1; i >= 0; i--) parameters.push(cpu.pop(oldEsp + i * size | 0, size));
  const mask = descriptorAttr(stack.descriptor) & ATTR.BIG ? -1 : 0xffff;
  const total = (4 + parameters.length) * size;
  const push = pusher(cpu, stack, total, mask, size, newCpl === 3, 0);
  checkLimit(code, gate.offset);
  const newSs = cpu.setAccessed(stack.descriptor), newCs = cpu.setAccessed(code);
  push(oldSs); push(oldEsp); for (const value of parameters) push(value); push(oldCs); push(returnEip);
  cpu.set(S.cpl, newCpl);
  cpu.loadFromDescriptor(SEG.SS, stack.selector, newSs);
  cpu.setReg(4, cpu.reg(4) & ~mask | stack.esp - total & mask);
  enter(cpu, gate.selector, newCs, gate.offset);
}

/** Common end of RETF and IRET: CS:EIP at the same or an outer level. `release`: bytes of parameters. */
function returnTo(cpu: Cpu, selector: number, eip: number, esp: number, bytes: number, release: number, commitFlags: (() => void) | null): void {
  if (error(selector) === 0) throw new GuestFault(VEC.GP, 0);
  const d = cpu.descriptor(selector), attr = descriptorAttr(d), rpl = selector & 3;
  if (rpl < cpu.cpl || !isCode(attr)) throw new GuestFault(VEC.GP, error(selector));
  if (attr & ATTR.CONFORMING ? dpl(attr) > rpl : dpl(attr) !== rpl) throw new GuestFault(VEC.GP, error(selector));
  if (!(attr & ATTR.PRESENT)) throw new GuestFault(VEC.NP, error(selector));
  if (rpl === cpu.cpl) {
    checkLimit(d, eip);
    const code = cpu.setAccessed(d);
    cpu.setStackPointer(esp + release | 0);
    commitFlags?.();
    enter(cpu, selector, code, eip);
    return;
  }
  const newEsp = cpu.pop(esp + release | 0, bytes), newSs = cpu.pop(esp + release + bytes | 0, bytes) & 0xffff;
  if (error(newSs) === 0) throw new GuestFault(VEC.GP, 0);
  const ss = cpu.descriptor(newSs), ssAttr = descriptorAttr(ss);
  if ((newSs & 3) !== rpl || !(ssAttr & ATTR.S) || ssAttr & ATTR.CODE || !(ssAttr & ATTR.WRITABLE) || dpl(ssAttr) !== rpl) throw new GuestFault(VEC.GP, error(newSs));
  if (!(ssAttr & ATTR.PRESENT)) throw new GuestFault(VEC.SS, error(newSs));
  checkLimit(d, eip);
  const stack = cpu.setAccessed(ss), code = cpu.setAccessed(d);
  commitFlags?.();
  cpu.set(S.cpl, rpl);
  cpu.loadFromDescriptor(SEG.SS, newSs, stack);
  const mask = ssAttr & ATTR.BIG ? -1 : 0xffff;
  // RETF n releases the parameters from the outer stack too.
  cpu.setReg(4, cpu.reg(4) & ~mask | newEsp + release & mask);
  dropPrivilegedSegments(cpu);
  enter(cpu, selector, code, eip);
}

export function farReturn(cpu: Cpu, operandSize: number, release: number): void {
  const bytes = operandSize >> 3, esp = cpu.reg(4);
  const eip = cpu.pop(esp, bytes), selector = cpu.pop(esp + bytes | 0, bytes) & 0xffff;
  if (!cpu.protectedMode || cpu.v86) {
    cpu.setStackPointer(esp + bytes * 2 + release | 0);
    cpu.setRealSegment(SEG.CS, selector); cpu.set(S.eip, eip); cpu.update();
    return;
  }
  returnTo(cpu, selector, eip, esp + bytes * 2 | 0, bytes, release, null);
}

const ARITHMETIC = FLAG.CF | FLAG.PF | FLAG.AF | FLAG.ZF | FLAG.SF | FLAG.OF;
/** EFLAGS after loading `value` by POPF or IRET at this privilege. */
export function mergeFlags(cpu: Cpu, value: number, operandSize: number, iret: boolean): number {
  let mask = ARITHMETIC | FLAG.TF | FLAG.DF | FLAG.NT;
  if (operandSize === 32) mask |= FLAG.AC | FLAG.ID | (iret ? FLAG.RF : 0);
  if (cpu.cpl === 0) mask |= FLAG.IOPL;
  if (cpu.cpl <= cpu.iopl) mask |= FLAG.IF;
  let flags = cpu.eflags & ~mask | value & mask;
  if (!iret) flags &= ~FLAG.RF;
  if (operandSize === 32 && cpu.cpl === 0) flags &= ~(FLAG.VIF | FLAG.VIP);
  return flags | 2;
}

export function interruptReturn(cpu: Cpu, operandSize: number): void {
  const bytes = operandSize >> 3, esp = cpu.reg(4);
  if (cpu.v86 && cpu.iopl !== 3) throw new GuestFault(VEC.GP, 0);
  if (cpu.protectedMode && !cpu.v86 && cpu.get(S.eflags) & FLAG.NT) {
    const back = cpu.mmu.read(cpu.segmentBase(SEG.TR), 2, false);
    taskSwitch(cpu, back, 'iret', cpu.get(S.eip) + cpu.get(S.instrLength) | 0, -1);
    cpu.set(S.nmiBlocked, 0);
    return;
  }
  const eip = cpu.pop(esp, bytes), selector = cpu.pop(esp + bytes | 0, bytes) & 0xffff;
  // Without breakpoints RF says nothing; it would have to be cleared behind the next instruction.
  const value = cpu.pop(esp + bytes * 2 | 0, bytes) & (cpu.get(S.dr7) & DR7_ENABLES ? -1 : ~FLAG.RF);
  const after = esp + bytes * 3 | 0;
  if (!cpu.protectedMode || cpu.v86) {
    cpu.setStackPointer(after);
    const keepIopl = cpu.v86 ? FLAG.IOPL : 0;
    cpu.eflags = mergeFlags(cpu, value, operandSize, true) & ~keepIopl | cpu.eflags & keepIopl;
    cpu.setRealSegment(SEG.CS, selector); cpu.set(S.eip, eip);
  } else if (operandSize === 32 && value & FLAG.VM && cpu.cpl === 0) {
    const newEsp = cpu.pop(after, 4);
    const selectors = [1, 2, 3, 4, 5].map(i => cpu.pop(after + i * 4 | 0, 4) & 0xffff);
    cpu.eflags = value & 0x3f7fd7 | 2;
    cpu.set(S.cpl, 3);
    [SEG.SS, SEG.ES, SEG.DS, SEG.FS, SEG.GS].forEach((seg, i) => cpu.setRealSegment(seg, selectors[i]));
    cpu.setRealSegment(SEG.CS, selector);
    cpu.setReg(4, newEsp); cpu.set(S.eip, eip & 0xffff);
  } else {
    const flags = mergeFlags(cpu, value, operandSize, true);
    returnTo(cpu, selector, eip, after, bytes, 0, () => { cpu.eflags = flags; });
  }
  cpu.set(S.nmiBlocked, 0);
  cpu.update();
}

/** Flat segment as SYSENTER/SYSEXIT load it. */
const flat = (cpu: Cpu, seg: number, selector: number, attr: number): void => cpu.setSegment(seg, selector, 0, -1, attr | ATTR.PRESENT | ATTR.S | ATTR.BIG | ATTR.GRANULAR);

export function sysenter(cpu: Cpu): void {
  const cs = cpu.get(S.sysenterCs);
  if (!cpu.protectedMode || error(cs) === 0) throw new GuestFault(VEC.GP, 0);
  cpu.set(S.eflags, cpu.get(S.eflags) & ~(FLAG.VM | FLAG.IF | FLAG.RF));
  cpu.set(S.cpl, 0);
  flat(cpu, SEG.CS, cs & 0xfffc, 0xb);
  flat(cpu, SEG.SS, (cs & 0xfffc) + 8, 3);
  cpu.setReg(4, cpu.get(S.sysenterEsp));
  cpu.set(S.eip, cpu.get(S.sysenterEip));
  cpu.update();
}
export function sysexit(cpu: Cpu): void {
  const cs = cpu.get(S.sysenterCs);
  if (!(cpu.get(S.cr0) & CR0.PE) || cpu.cpl !== 0 || error(cs) === 0) throw new GuestFault(VEC.GP, 0);
  cpu.set(S.cpl, 3);
  flat(cpu, SEG.CS, (cs & 0xfffc) + 16 | 3, 0x6b);
  flat(cpu, SEG.SS, (cs & 0xfffc) + 24 | 3, 0x63);
  const eip = cpu.reg(2);
  cpu.setReg(4, cpu.reg(1));
  cpu.set(S.eip, eip);
  cpu.update();
}
