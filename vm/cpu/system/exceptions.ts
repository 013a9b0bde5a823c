/**
 * Interrupt and exception delivery (SDM vol. 3 chapter 6): gates, stack switch, double fault, shutdown.
 */
import { GuestFault } from '../mmu.ts';
import { FLAG, S, SEG, SHADOW, VEC } from '../state.ts';
import { ATTR, descriptorAttr, dpl, type Cpu } from './cpu.ts';
import { taskSwitch } from './tasks.ts';

export type Source = 'fault' | 'software' | 'external';
export class Shutdown { }

/** Contributory exceptions of the double-fault table (SDM vol. 3 table 6-5). */
const contributory = (vector: number): boolean => vector === VEC.DE || (vector >= VEC.TS && vector <= VEC.GP);

/** Delivers and handles what goes wrong on the way. `returnEip` is pushed. */
export function deliver(cpu: Cpu, vector: number, error: number, source: Source, returnEip: number): void {
  let first = vector;
  for (;;) {
    try {
      enterGate(cpu, vector, error, source, returnEip);
      cpu.set(S.countInterrupts, cpu.get(S.countInterrupts) + 1);
      return;
    } catch (fault) {
      if (!(fault instanceof GuestFault)) throw fault;
      if (first === VEC.DF && source === 'fault') throw new Shutdown();
      const benign = source !== 'fault' || !(contributory(first) || first === VEC.PF);
      const doubles = !benign && (contributory(first) ? contributory(fault.vector) : contributory(fault.vector) || fault.vector === VEC.PF);
      if (doubles) { vector = VEC.DF; error = 0; } else {
        vector = fault.vector;
        // EXT: the exception came up while delivering something other than INT n.
        error = fault.error >= 0 && fault.vector !== VEC.PF && source !== 'software' ? fault.error | 1 : fault.error;
      }
      first = vector;
      // What is restarted is the interrupted instruction; for INT n it is INT n itself.
      if (source === 'software') returnEip = cpu.get(S.eip);
      source = 'fault';
    }
  }
}

function enterGate(cpu: Cpu, vector: number, error: number, source: Source, returnEip: number): void {
  if (!cpu.protectedMode) { realModeInterrupt(cpu, vector, returnEip); return; }
  const mmu = cpu.mmu;
  const external = source === 'software' ? 0 : 1;
  const gateError = vector * 8 + 2 + external;
  if (vector * 8 + 7 > cpu.get(S.idtrLimit) >>> 0) throw new GuestFault(VEC.GP, gateError);
  const gateAt = cpu.get(S.idtrBase) + vector * 8 | 0;
  const low = cpu.tableRead(gateAt, 4), high = cpu.tableRead(gateAt + 4 | 0, 4);
  const type = high >> 8 & 0x1f;
  if (type !== 5 && type !== 6 && type !== 7 && type !== 14 && type !== 15) throw new GuestFault(VEC.GP, gateError);
  if (source === 'software' && (high >> 13 & 3) < cpu.cpl) throw new GuestFault(VEC.GP, gateError);
  if (!(high & 0x8000)) throw new GuestFault(VEC.NP, gateError);
  if (type === 5) { taskSwitch(cpu, low >>> 16, 'call', returnEip, error); return; }

  const selector = low >>> 16, wide = (type & 8) !== 0, bytes = wide ? 4 : 2;
  const target = wide ? low & 0xffff | high & 0xffff0000 : low & 0xffff;
  if ((selector & 0xfffc) === 0) throw new GuestFault(VEC.GP, external);
  const code = cpu.descriptor(selector, VEC.GP, external), attr = descriptorAttr(code);
  const codeError = selector & 0xfffc | external;
  if ((attr & (ATTR.S | ATTR.CODE)) !== (ATTR.S | ATTR.CODE) || dpl(attr) > cpu.cpl) throw new GuestFault(VEC.GP, codeError);
  if (!(attr & ATTR.PRESENT)) throw new GuestFault(VEC.NP, codeError);
  const flags = cpu.eflags | (source === 'fault' && vector !== VEC.DB ? FLAG.RF : 0);
  const oldCs = cpu.selector(SEG.CS), oldSs = cpu.selector(SEG.SS), oldEsp = cpu.reg(4), v86 = cpu.v86;
  const hasError = error >= 0;
  let cs: typeof code;
  if (!(attr & ATTR.CONFORMING) && dpl(attr) < cpu.cpl) {
    const newCpl = dpl(attr);
    if (v86 && newCpl !== 0) throw new GuestFault(VEC.GP, codeError);
    const stack = innerStack(cpu, newCpl, external);
    const stackAttr = descriptorAttr(stack.descriptor);
    const frame = (v86 ? 9 : 5) + (hasError ? 1 : 0);
    const mask = stackAttr & ATTR.BIG ? -1 : 0xffff;
    const push = pusher(cpu, stack, frame * bytes, mask, bytes, newCpl === 3, external);
    if (v86) for (const seg of [SEG.GS, SEG.FS, SEG.DS, SEG.ES]) push(cpu.selector(seg));
    push(oldSs); push(oldEsp); push(flags); push(oldCs); push(returnEip);
    if (hasError) push(error);
    if (target >>> 0 > codeLimit(code)) throw new GuestFault(VEC.GP, external);
    const ss = cpu.setAccessed(stack.descriptor);
    cs = cpu.setAccessed(code);
    cpu.set(S.cpl, newCpl);
    cpu.loadFromDescriptor(SEG.SS, stack.selector, ss);
    cpu.setReg(4, cpu.reg(4) & ~mask | stack.esp - frame * bytes & mask);
    if (v86) for (const seg of [SEG.GS, SEG.FS, SEG.DS, SEG.ES]) cpu.setSegment(seg, 0, 0, 0, 0);
  } else {
    if (v86) throw new GuestFault(VEC.GP, codeError);
    const frame = 3 + (hasError ? 1 : 0), mask = cpu.stackMask;
    let esp = oldEsp;
    const values = [flags, oldCs, returnEip, ...(hasError ? [error] : [])];
    const addresses = values.map(() => { esp = esp - bytes | 0; return cpu.stackLinear(esp, bytes, true); });
    for (const address of addresses) mmu.checkWrite(address, bytes, cpu.user);
    if (target >>> 0 > codeLimit(code)) throw new GuestFault(VEC.GP, external);
    cs = cpu.setAccessed(code);
    addresses.forEach((address, i) => mmu.write(address, bytes, values[i], cpu.user));
    cpu.setReg(4, oldEsp & ~mask | oldEsp - frame * bytes & mask);
  }
  cpu.loadFromDescriptor(SEG.CS, selector & ~3 | cpu.cpl, cs);
  cpu.set(S.eip, target);
  cpu.set(S.eflags, cpu.get(S.eflags) & ~(FLAG.TF | FLAG.NT | FLAG.RF | FLAG.VM | (type & 1 ? 0 : FLAG.IF)));
  // Pushes that met a data breakpoint trap in front of the handler.
  cpu.set(S.shadow, cpu.get(S.shadow) & SHADOW.HITS);
  if (vector === VEC.DB) cpu.set(S.dr7, cpu.get(S.dr7) & ~0x2000);
  cpu.update();
}

const codeLimit = (d: { low: number; high: number }): number => {
  const raw = d.low & 0xffff | d.high & 0xf0000;
  return (d.high & 0x800000 ? raw * 4096 + 4095 : raw) >>> 0;
};

export interface InnerStack { readonly selector: number; readonly esp: number; readonly descriptor: ReturnType<Cpu['descriptor']> }
/** SS:ESP of an inner ring from the TSS, checked. */
export function innerStack(cpu: Cpu, newCpl: number, external: number): InnerStack {
  const tssLimit = cpu.segmentLimit(SEG.TR), tssBase = cpu.segmentBase(SEG.TR);
  const tssError = cpu.selector(SEG.TR) & 0xfffc | external;
  let esp: number, selector: number;
  if (cpu.attr(SEG.TR) & 8) {
    if (newCpl * 8 + 9 > tssLimit) throw new GuestFault(VEC.TS, tssError);
    esp = cpu.tableRead(tssBase + newCpl * 8 + 4 | 0, 4);
    selector = cpu.tableRead(tssBase + newCpl * 8 + 8 | 0, 2);
  } else {
    if (newCpl * 4 + 5 > tssLimit) throw new GuestFault(VEC.TS, tssError);
    esp = cpu.tableRead(tssBase + newCpl * 4 + 2 | 0, 2);
    selector = cpu.tableRead(tssBase + newCpl * 4 + 4 | 0, 2);
  }
  if ((selector & 0xfffc) === 0) throw new GuestFault(VEC.TS, external);
  const error = selector & 0xfffc | external;
  const descriptor = cpu.descriptor(selector, VEC.TS, external), attr = descriptorAttr(descriptor);
  if ((selector & 3) !== newCpl || dpl(attr) !== newCpl || !(attr & ATTR.S) || attr & ATTR.CODE || !(attr & ATTR.WRITABLE)) throw new GuestFault(VEC.TS, error);
  if (!(attr & ATTR.PRESENT)) throw new GuestFault(VEC.SS, error);
  return { selector, esp, descriptor };
}
/** Writes a frame on a new stack, after checking that all of it can be written. */
export function pusher(cpu: Cpu, stack: InnerStack, total: number, mask: number, bytes: number, user: boolean, external: number): (value: number) => void {
  const base = (stack.descriptor.low >>> 16 | (stack.descriptor.high & 0xff) << 16 | stack.descriptor.high & 0xff000000) | 0;
  const limit = codeLimit(stack.descriptor), attr = descriptorAttr(stack.descriptor);
  let esp = stack.esp;
  for (let left = total; left > 0; left -= bytes) {
    const offset = (stack.esp - (total - left) - bytes & mask) >>> 0;
    const bad = attr & ATTR.CONFORMING ? offset <= limit || offset + bytes - 1 > (attr & ATTR.BIG ? 0xffffffff : 0xffff) : offset + bytes - 1 > limit;
    if (bad) throw new GuestFault(VEC.SS, stack.selector & 0xfffc | external);
    cpu.mmu.checkWrite(base + offset | 0, bytes, user);
  }
  return value => { esp = esp - bytes | 0; cpu.mmu.write(base + (esp & mask) | 0, bytes, value, user); };
}

function realModeInterrupt(cpu: Cpu, vector: number, returnEip: number): void {
  const mmu = cpu.mmu;
  if (vector * 4 + 3 > cpu.get(S.idtrLimit) >>> 0) throw new GuestFault(VEC.GP, -1);
  const gate = mmu.read(cpu.get(S.idtrBase) + vector * 4 | 0, 4, false);
  let esp = cpu.reg(4);
  const values = [cpu.eflags & 0xffff, cpu.selector(SEG.CS), returnEip & 0xffff];
  for (const value of values) { esp = esp - 2 | 0; mmu.write(cpu.stackLinear(esp, 2, true), 2, value, false); }
  cpu.setStackPointer(esp);
  cpu.set(S.eflags, cpu.get(S.eflags) & ~(FLAG.IF | FLAG.TF | FLAG.AC));
  cpu.setRealSegment(SEG.CS, gate >>> 16);
  cpu.set(S.eip, gate & 0xffff);
  cpu.set(S.shadow, 0);
  cpu.update();
}
