/**
 * Hardware task switches through 32-bit TSSs (SDM vol. 3 chapter 7): task gates in the IDT (double-fault handlers) and
 * IRET with NT. 16-bit TSSs raise #TS and are counted as unimplemented.
 */
import { GuestFault } from '../mmu.ts';
import { CR0, DR7_ENABLES, FLAG, S, SEG, VEC } from '../state.ts';
import { ATTR, descriptorAttr, descriptorBase, descriptorLimit, dpl, type Cpu } from './cpu.ts';

export function taskSwitch(cpu: Cpu, selector: number, how: 'call' | 'iret' | 'jmp', returnEip: number, error: number): void {
  const mmu = cpu.mmu;
  const fail = (vector: number): never => { throw new GuestFault(vector, selector & 0xfffc); };
  if (selector & 4 || (selector & 0xfffc) === 0) fail(how === 'iret' ? VEC.TS : VEC.GP);
  const d = cpu.descriptor(selector, how === 'iret' ? VEC.TS : VEC.GP), attr = descriptorAttr(d);
  const busy = (attr & 0x1f) === 11;
  if ((attr & 0x1d) !== 9 || busy !== (how === 'iret')) { cpu.set(S.unimplemented, cpu.get(S.unimplemented) + ((attr & 0x1d) === 1 ? 1 : 0)); fail(how === 'iret' ? VEC.TS : VEC.GP); }
  if (!(attr & ATTR.PRESENT)) fail(VEC.NP);
  const limit = descriptorLimit(d) >>> 0, base = descriptorBase(d);
  if (limit < 103) fail(VEC.TS);
  const oldBase = cpu.segmentBase(SEG.TR);
  mmu.checkWrite(oldBase + 32 | 0, 64, false);
  let flags = cpu.eflags;
  if (how === 'iret') flags &= ~FLAG.NT;
  // Save the outgoing task.
  mmu.write(oldBase + 32 | 0, 4, returnEip, false);
  mmu.write(oldBase + 36 | 0, 4, flags, false);
  for (let i = 0; i < 8; i++) mmu.write(oldBase + 40 + i * 4 | 0, 4, cpu.reg(i), false);
  for (let i = 0; i < 6; i++) mmu.write(oldBase + 72 + i * 4 | 0, 2, cpu.selector(i), false);
  if (how !== 'call') {
    const old = cpu.descriptor(cpu.selector(SEG.TR));
    mmu.write(old.address + 5 | 0, 1, old.high >>> 8 & 0xff & ~2, false);
  }
  const word = (offset: number): number => mmu.read(base + offset | 0, 4, false);
  const image = { cr3: word(28), eip: word(32), flags: word(36), ldt: word(96) & 0xffff };
  const registers = [0, 1, 2, 3, 4, 5, 6, 7].map(i => word(40 + i * 4)), selectors = [0, 1, 2, 3, 4, 5].map(i => word(72 + i * 4) & 0xffff);
  const debugTrap = word(100) & 1;
  if (how === 'call') mmu.write(base, 2, cpu.selector(SEG.TR), false);
  if (how !== 'iret') mmu.write(d.address + 5 | 0, 1, d.high >>> 8 & 0xff | 2, false);
  cpu.setSegment(SEG.TR, selector, base, limit, attr | 2);
  cpu.set(S.cr0, cpu.get(S.cr0) | CR0.TS);
  // Local breakpoints and LE end with the task (SDM vol. 3 17.2.4).
  cpu.set(S.dr7, cpu.get(S.dr7) & ~0x155);
  if (cpu.get(S.cr0) < 0 && image.cr3 !== cpu.get(S.cr3)) { cpu.set(S.cr3, image.cr3); mmu.loadPdptes(image.cr3); mmu.switchSpace(); }
  registers.forEach((value, i) => cpu.setReg(i, value));
  // As with IRET, RF is kept only where there are breakpoints.
  const loaded = cpu.get(S.dr7) & DR7_ENABLES ? image.flags : image.flags & ~FLAG.RF;
  cpu.eflags = how === 'call' ? loaded | FLAG.NT : loaded;
  cpu.set(S.eip, image.eip);
  // From here on faults belong to the new task.
  const csAttr = descriptorAttr(cpu.descriptor(selectors[1], VEC.TS));
  cpu.set(S.cpl, selectors[1] & 3);
  if (image.ldt & 0xfffc) cpu.loadFromDescriptor(SEG.LDTR, image.ldt, cpu.descriptor(image.ldt, VEC.TS)); else cpu.setSegment(SEG.LDTR, image.ldt, 0, 0, 0);
  if ((csAttr & (ATTR.S | ATTR.CODE)) !== (ATTR.S | ATTR.CODE)) throw new GuestFault(VEC.TS, selectors[1] & 0xfffc);
  for (const seg of [SEG.SS, SEG.CS, SEG.ES, SEG.DS, SEG.FS, SEG.GS]) {
    const s = selectors[seg];
    if ((s & 0xfffc) === 0) { cpu.setSegment(seg, s, 0, 0, 0); continue; }
    const segment = cpu.descriptor(s, VEC.TS), segmentAttr = descriptorAttr(segment);
    if (!(segmentAttr & ATTR.PRESENT)) throw new GuestFault(seg === SEG.SS ? VEC.SS : VEC.NP, s & 0xfffc);
    if (seg === SEG.SS && dpl(segmentAttr) !== cpu.cpl) throw new GuestFault(VEC.TS, s & 0xfffc);
    cpu.loadFromDescriptor(seg, s, segment);
  }
  if (error >= 0) {
    const esp = cpu.reg(4) - 4 | 0;
    mmu.write(cpu.stackLinear(esp, 4, true), 4, error, cpu.user);
    cpu.setStackPointer(esp);
  }
  cpu.update();
  if (debugTrap) { cpu.set(S.dr6, cpu.get(S.dr6) | 0x8000); throw new GuestFault(VEC.DB); }
}
