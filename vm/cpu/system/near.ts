/**
 * Near transfers in a code segment with a limit below 4 GiB. Generated code does not look at the limit: JMP, Jcc, LOOP, CALL and RET whose target
 * lies beyond it are #GP(0) in front of everything they do (SDM vol. 2, JMP, CALL, RET), and are found here, before they run. Only for segments
 * that are not flat, whose blocks are looked up one by one.
 */
import { decode, type Insn } from '../isa/decode.ts';
import { CONDITION_NAMES } from '../isa/table.ts';
import { GuestFault } from '../mmu.ts';
import { FLAG, SEG, VEC } from '../state.ts';
import type { Cpu } from './cpu.ts';

const CONDITIONS = new Map(CONDITION_NAMES.map((name, i) => [`j${name}`, i]));
const DIRECT = new Set(['jmp', 'call', 'loop', 'loope', 'loopne', 'jcxz', ...CONDITIONS.keys()]);
const INDIRECT = new Set(['jmp_ind', 'call_ind', 'ret']);

function conditionHolds(flags: number, condition: number): boolean {
  const set = (bit: number): boolean => (flags & bit) !== 0, less = set(FLAG.SF) !== set(FLAG.OF);
  const holds = [set(FLAG.OF), set(FLAG.CF), set(FLAG.ZF), set(FLAG.CF) || set(FLAG.ZF), set(FLAG.SF), set(FLAG.PF), less, less || set(FLAG.ZF)][condition >> 1];
  return holds !== ((condition & 1) === 1);
}
function taken(cpu: Cpu, insn: Insn): boolean {
  const { name } = insn.entry, condition = CONDITIONS.get(name);
  if (condition !== undefined) return conditionHolds(cpu.eflags, condition);
  const count = cpu.reg(1, insn.addr16 ? 16 : 32);
  if (name === 'jcxz') return count === 0;
  if (!name.startsWith('loop')) return true;
  const left = count - 1 & (insn.addr16 ? 0xffff : -1);
  return left !== 0 && (name === 'loop' || conditionHolds(cpu.eflags, name === 'loope' ? 4 : 5));
}

function target(cpu: Cpu, insn: Insn, eip: number): number {
  const [op] = insn.ops, mask = insn.operandSize === 16 ? 0xffff : -1;
  if (insn.entry.name === 'ret') return cpu.pop(cpu.reg(4), insn.operandSize >> 3) & mask;
  return (op.c === 'J' ? eip + insn.length + op.value : cpu.readOperand(insn, op)) & mask;
}

export class NearTransfers {
  private readonly cpu: Cpu;
  private readonly bytes = new Uint8Array(15);
  /** Where in a block the near transfer is that ends it, -1 for none. Its bytes are read anew each time: operands may be stored into. */
  private readonly offsets = new WeakMap<object, number>();
  constructor(cpu: Cpu) { this.cpu = cpu; }

  private instruction(eip: number, mode: number): Insn | null {
    const { cpu, bytes } = this;
    for (let i = 0; i < 15; i++) bytes[i] = cpu.mmu.inspectByte(cpu.segmentBase(SEG.CS) + eip + i | 0);
    return decode(bytes, 0, 15, mode);
  }
  private offset(block: { readonly count: number }, eip: number, mode: number): number {
    let at = this.offsets.get(block);
    if (at !== undefined) return at;
    let insn = this.instruction(eip, mode), offset = 0;
    for (let i = 1; i < block.count && insn; i++) { offset += insn.length; insn = this.instruction(eip + offset | 0, mode); }
    at = insn && (DIRECT.has(insn.entry.name) || INDIRECT.has(insn.entry.name)) ? offset : -1;
    this.offsets.set(block, at);
    return at;
  }
  /** Whether the block at `eip` ends in a near transfer beyond the limit, or in one of which only its run will tell. */
  leaves(block: { readonly count: number }, eip: number, mode: number): boolean {
    const at = this.offset(block, eip, mode);
    if (at < 0) return false;
    const insn = this.instruction(eip + at | 0, mode);
    if (!insn) return false;
    return INDIRECT.has(insn.entry.name) || (DIRECT.has(insn.entry.name) && target(this.cpu, insn, eip + at | 0) >>> 0 > this.cpu.segmentLimit(SEG.CS));
  }
  /** The transfer at `eip` is about to run: throws #GP(0) when it would go beyond the limit, or what reading its target raises. */
  check(eip: number, mode: number): void {
    const { cpu } = this, insn = this.instruction(eip, mode);
    if (insn && taken(cpu, insn) && target(cpu, insn, eip) >>> 0 > cpu.segmentLimit(SEG.CS)) throw new GuestFault(VEC.GP, 0);
  }
}
