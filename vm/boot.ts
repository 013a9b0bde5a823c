/**
 * The state in which a multiboot loader hands the machine over (Multiboot 0.6.96, 3.2), on top of a reset vCPU (SDM vol. 3A 9.1).
 * The other vCPUs wait for SIPI, as a PC's firmware leaves them.
 */
import { CR0, RUN, S, SEG, segAttr, segBase, segLimit, segSelector, writeEflags } from './cpu/state.ts';
import { GUEST_RAM_BASE, type Board } from './board.ts';
import type { BootState } from './loader.ts';

/** Attributes as descriptor bits 40-55: present, DPL 0, 32-bit, page granular; code execute/read accessed, data read/write accessed. */
const FLAT_CODE = 0xc09b;
const FLAT_DATA = 0xc093;
const LDT = 0x82;
const BUSY_TSS32 = 0x8b;
const CODE_SELECTOR = 0x08;
const DATA_SELECTOR = 0x10;

export function applyBootState(board: Board, boot: BootState): void {
  const base = board.vcpuBase(0);
  const words = new Int32Array(board.buffer, base, 0x1000 >> 2);
  const set = (offset: number, value: number): void => { words[offset >> 2] = value; };
  for (const register of [S.eax, S.ecx, S.edx, S.ebx, S.esp, S.ebp, S.esi, S.edi]) set(register, 0);
  set(S.eax, boot.eax);
  set(S.ebx, boot.ebx);
  set(S.eip, boot.entry);
  set(S.cpl, 0);
  set(S.cr0, CR0.PE | CR0.ET);
  for (const index of [SEG.ES, SEG.CS, SEG.SS, SEG.DS, SEG.FS, SEG.GS]) {
    set(segSelector(index), index === SEG.CS ? CODE_SELECTOR : DATA_SELECTOR);
    set(segBase(index), 0);
    set(segLimit(index), -1);
    set(segAttr(index), index === SEG.CS ? FLAT_CODE : FLAT_DATA);
  }
  for (const [index, attributes] of [[SEG.LDTR, LDT], [SEG.TR, BUSY_TSS32]] as const) {
    set(segSelector(index), 0);
    set(segBase(index), 0);
    set(segLimit(index), 0xffff);
    set(segAttr(index), attributes);
  }
  set(S.gdtrBase, 0);
  set(S.gdtrLimit, 0);
  set(S.idtrBase, 0);
  set(S.idtrLimit, 0xffff);
  set(S.runState, RUN.running);
  writeEflags(new Int32Array(board.buffer, 0, GUEST_RAM_BASE >> 2), base, 2);
  for (let cpu = 1; cpu < board.cpus; cpu++) new Int32Array(board.buffer, board.vcpuBase(cpu), 0x1000 >> 2)[S.runState >> 2] = RUN.waitSipi;
}
