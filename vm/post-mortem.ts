/**
 * What is left of a machine that a triple fault stopped: registers, the instruction that could not be delivered from, and the last branches.
 *
 * Running code records no branches, in no tier. The deterministic machine makes the run again instead, from power on, with the inputs it got, up to a little before the end, and
 * goes on from there by single instructions; every block that begins is told (vm/engine.ts, BlockWatch), and one that does not begin behind the instruction before it is the target of
 * a branch. A run that cannot be made again (raw disks, a live network, a state that was restored, too long) and a machine in parallel mode have the registers only, and say so.
 */
import { readEflags, S, SEG, segAttr, segBase, segLimit, segSelector } from './cpu/state.ts';
import type { Board } from './board.ts';
import { disassemble } from './cpu/isa/disassemble.ts';

/** EIP of the instruction that was left and of the one that followed: a jump, a call, a return, an exception or an interrupt. */
export interface Branch { readonly from: number; readonly to: number }
/** Branches kept. */
export const BRANCHES = 32;
/** Longest run that is made again, instructions: some seconds. */
export const LONGEST_RERUN = 300_000_000;
/** Single steps before the end. */
export const STEPS = 20_000;

const hex = (value: number, digits = 8): string => (value >>> 0).toString(16).padStart(digits, '0');
const SEGMENTS = [['cs', SEG.CS], ['ss', SEG.SS], ['ds', SEG.DS], ['es', SEG.ES], ['fs', SEG.FS], ['gs', SEG.GS], ['tr', SEG.TR], ['ldtr', SEG.LDTR]] as const;

/** Registers of a vCPU in lines of text. */
export function registerDump(board: Board, cpu: number): string {
  const words = new Int32Array(board.buffer, board.vcpuBase(cpu), 0x400), at = (offset: number): string => hex(words[offset >> 2]!);
  return [
    `  eip ${at(S.eip)}  eflags ${hex(readEflags(words, 0))}  cpl ${words[S.cpl >> 2]}`,
    `  eax ${at(S.eax)}  ebx ${at(S.ebx)}  ecx ${at(S.ecx)}  edx ${at(S.edx)}`,
    `  esi ${at(S.esi)}  edi ${at(S.edi)}  ebp ${at(S.ebp)}  esp ${at(S.esp)}`,
    `  cr0 ${at(S.cr0)}  cr2 ${at(S.cr2)}  cr3 ${at(S.cr3)}  cr4 ${at(S.cr4)}`,
    `  gdt ${at(S.gdtrBase)}+${hex(words[S.gdtrLimit >> 2]!, 4)}  idt ${at(S.idtrBase)}+${hex(words[S.idtrLimit >> 2]!, 4)}`,
    ...SEGMENTS.map(([name, index]) => `  ${name.padEnd(4)} ${hex(words[segSelector(index) >> 2]!, 4)}  base ${at(segBase(index))}  limit ${at(segLimit(index))}  attributes ${hex(words[segAttr(index) >> 2]!, 4)}`),
  ].join('\n');
}

/** One paragraph each: what happened, registers, branches or why there are none. */
export const describeShutdown = (board: Board, cpu: number, branches: readonly Branch[] | string): string => [
  `CPU ${cpu}: triple fault`, registerDump(board, cpu),
  ...(typeof branches === 'string' ? [`  last branches: ${branches}`] : [`  last branches, oldest first:${branches.length === 0 ? ' none' : ''}`, ...branches.map(({ from, to }) => `    ${hex(from)} -> ${hex(to)}`)]),
].join('\n');

/** Collects branches from the starts of single instructions. */
export class BranchRing {
  readonly branches: Branch[] = [];
  #last = -1;
  #next = -1;
  /** An instruction at `eip` is about to begin; `bytes`: what stands there. */
  begins(eip: number, bytes: Uint8Array, mode: number): void {
    if (eip === this.#last) return; // again: another iteration of a REP, or it had not got anywhere
    if (this.#last >= 0 && eip !== this.#next) {
      this.branches.push({ from: this.#last, to: eip });
      if (this.branches.length > BRANCHES) this.branches.shift();
    }
    this.#last = eip;
    this.#next = eip + (disassemble(bytes, eip, mode)[0]?.length ?? 0) >>> 0;
  }
}
