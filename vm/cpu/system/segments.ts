/**
 * Segment register loads with their checks (SDM vol. 2 MOV, LDS...; vol. 3 chapter 5), LLDT, LTR, LAR, LSL, VERR, VERW.
 */
import { GuestFault } from '../mmu.ts';
import { FLAG, SEG, VEC } from '../state.ts';
import { ATTR, descriptorAttr, descriptorBase, descriptorLimit, dpl, type Cpu } from './cpu.ts';

/** Loads DS, ES, FS, GS or SS from a selector. */
export function loadSegment(cpu: Cpu, seg: number, selector: number): void {
  if (!cpu.protectedMode || cpu.v86) { cpu.setRealSegment(seg, selector); cpu.update(); return; }
  const rpl = selector & 3, cpl = cpu.cpl, error = selector & 0xfffc;
  if ((selector & 0xfffc) === 0) {
    if (seg === SEG.SS) throw new GuestFault(VEC.GP, 0);
    cpu.setSegment(seg, selector, 0, 0, 0);
    cpu.update();
    return;
  }
  const d = cpu.descriptor(selector);
  const attr = descriptorAttr(d);
  if (seg === SEG.SS) {
    if (rpl !== cpl || !(attr & ATTR.S) || attr & ATTR.CODE || !(attr & ATTR.WRITABLE) || dpl(attr) !== cpl) throw new GuestFault(VEC.GP, error);
    if (!(attr & ATTR.PRESENT)) throw new GuestFault(VEC.SS, error);
  } else {
    if (!(attr & ATTR.S) || (attr & ATTR.CODE && !(attr & ATTR.WRITABLE))) throw new GuestFault(VEC.GP, error);
    if ((attr & (ATTR.CODE | ATTR.CONFORMING)) !== (ATTR.CODE | ATTR.CONFORMING) && (rpl > dpl(attr) || cpl > dpl(attr))) throw new GuestFault(VEC.GP, error);
    if (!(attr & ATTR.PRESENT)) throw new GuestFault(VEC.NP, error);
  }
  cpu.loadFromDescriptor(seg, selector, cpu.setAccessed(d));
  cpu.update();
}

/** After a return to an outer ring: data segments the outer ring may not use become null. */
export function dropPrivilegedSegments(cpu: Cpu): void {
  for (const seg of [SEG.ES, SEG.DS, SEG.FS, SEG.GS]) {
    const attr = cpu.attr(seg);
    if ((cpu.selector(seg) & 0xfffc) === 0 || !(attr & ATTR.PRESENT)) continue;
    const conforming = (attr & (ATTR.CODE | ATTR.CONFORMING)) === (ATTR.CODE | ATTR.CONFORMING);
    if (!conforming && dpl(attr) < cpu.cpl) cpu.setSegment(seg, 0, 0, 0, 0);
  }
}

export function loadLdtr(cpu: Cpu, selector: number): void {
  if ((selector & 0xfffc) === 0) { cpu.setSegment(SEG.LDTR, selector, 0, 0, 0); return; }
  if (selector & 4) throw new GuestFault(VEC.GP, selector & 0xfffc);
  const d = cpu.descriptor(selector), attr = descriptorAttr(d);
  if ((attr & 0x1f) !== 2) throw new GuestFault(VEC.GP, selector & 0xfffc);
  if (!(attr & ATTR.PRESENT)) throw new GuestFault(VEC.NP, selector & 0xfffc);
  cpu.loadFromDescriptor(SEG.LDTR, selector, d);
}
export function loadTaskRegister(cpu: Cpu, selector: number): void {
  if ((selector & 0xfffc) === 0) throw new GuestFault(VEC.GP, 0);
  if (selector & 4) throw new GuestFault(VEC.GP, selector & 0xfffc);
  const d = cpu.descriptor(selector), attr = descriptorAttr(d);
  if ((attr & 0x1f) !== 9 && (attr & 0x1f) !== 1) throw new GuestFault(VEC.GP, selector & 0xfffc);
  if (!(attr & ATTR.PRESENT)) throw new GuestFault(VEC.NP, selector & 0xfffc);
  cpu.tableWrite(d.address + 5 | 0, 1, attr & 0xff | 2);
  cpu.setSegment(SEG.TR, selector, descriptorBase(d), descriptorLimit(d), attr | 2);
}

/** ZF and the accessible descriptor, or null. `kind`: which instruction asks. */
export function visibleDescriptor(cpu: Cpu, selector: number, kind: 'lar' | 'lsl' | 'verr' | 'verw'): { attr: number; high: number; limit: number } | null {
  if ((selector & 0xfffc) === 0) return null;
  let d;
  try { d = cpu.descriptor(selector); } catch (fault) { if (fault instanceof GuestFault && fault.vector === VEC.GP) return null; throw fault; }
  const attr = descriptorAttr(d), type = attr & 0xf;
  const privileged = Math.max(cpu.cpl, selector & 3) > dpl(attr);
  if (attr & ATTR.S) {
    const conforming = (attr & (ATTR.CODE | ATTR.CONFORMING)) === (ATTR.CODE | ATTR.CONFORMING);
    if (privileged && !conforming) return null;
    if (kind === 'verr' && attr & ATTR.CODE && !(attr & ATTR.WRITABLE)) return null;
    if (kind === 'verw' && (attr & ATTR.CODE || !(attr & ATTR.WRITABLE))) return null;
  } else {
    if (kind === 'verr' || kind === 'verw' || privileged) return null;
    const allowed = kind === 'lar' ? [1, 2, 3, 4, 5, 9, 11, 12] : [1, 2, 3, 9, 11];
    if (!allowed.includes(type)) return null;
  }
  return { attr, high: d.high, limit: descriptorLimit(d) };
}

export function setZero(cpu: Cpu, on: boolean): void {
  const flags = cpu.eflags;
  cpu.eflags = on ? flags | FLAG.ZF : flags & ~FLAG.ZF;
}
