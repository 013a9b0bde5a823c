/**
 * Mutations of program text with the names and the sense of the software fault injectors of Nooks (Swift et al., SOSP 2003) and MINIX 3
 * (`swifi`): each imitates a class of programming mistakes. They strike the target's own text pages, which no other incarnation shares.
 *
 *   text       a random bit of the instruction            anything
 *   nop        the instruction is gone                    missing statement
 *   src        a wrong source register or immediate       wrong operand
 *   dst        a wrong destination                        wrong assignment
 *   ptr        a wrong address: base, index, displacement wrong pointer
 *   loop       the condition of a branch is inverted, or a repeat prefix is gone   off-by-one, wrong end of a loop
 *   interface  an argument is not passed: the instruction that loads EAX, EDX or ECX before a call, or stores a stack argument, is gone
 *
 * Nooks picks an address in the text; here the point is an instruction that the golden run executes, the first suitable one from the trigger
 * on, and it is about to be executed: every text fault is activated.
 */
import type { Insn, Operand } from '../../../vm/cpu/isa/decode.ts';
import { decode } from '../../../vm/cpu/isa/decode.ts';
import { format } from '../../../vm/cpu/isa/disassemble.ts';
import type { Moment, TargetTrace } from '../points.ts';
import type { Random } from '../random.ts';
import { faultAt, momentOf, type FaultModel } from './model.ts';

const NOP = 0x90;
/** How far from the trigger a suitable instruction is looked for, in instructions of the target. */
const REACH = 20_000;
const EAX = 0, ECX = 1, EDX = 2, ESP = 4;
const MODE32 = 1 | 2 | 4 | 8 | 16 | 32 | 64;

/** New bytes for an instruction, or undefined where the model does not apply. */
type Mutation = (insn: Insn, bytes: Uint8Array, random: Random, moment: Moment, target: TargetTrace) => Uint8Array | undefined;

const flipped = (bytes: Uint8Array, at: number, bit: number): Uint8Array => { const out = bytes.slice(); out[at]! ^= 1 << bit; return out; };
const nops = (bytes: Uint8Array): Uint8Array => new Uint8Array(bytes.length).fill(NOP);
const isMemory = (op: Operand | undefined): op is Operand & { c: 'M' } => op?.c === 'M';

/** Offsets of ModRM, SIB, displacement and immediate inside an instruction, found from its end. */
interface Parts { readonly modrm: number; readonly sib: number; readonly disp: number; readonly dispBytes: number; readonly imm: number; readonly immBytes: number }
function parts(insn: Insn, bytes: Uint8Array): Parts {
  const immediate = insn.ops.find(({ c }) => c === 'I' || c === 'J');
  const none = { modrm: -1, sib: -1, disp: -1, dispBytes: 0, imm: -1, immBytes: 0 };
  if (!insn.entry.hasModrm) {
    const opcodeEnd = prefixes(bytes) + (bytes[prefixes(bytes)] === 0x0f ? 2 : 1);
    return { ...none, ...(immediate ? { imm: opcodeEnd, immBytes: bytes.length - opcodeEnd } : {}) };
  }
  const modrm = prefixes(bytes) + (bytes[prefixes(bytes)] === 0x0f ? 2 : 1);
  const mod = bytes[modrm]! >> 6, rm = bytes[modrm]! & 7;
  let at = modrm + 1, sib = -1;
  if (mod !== 3 && rm === 4) sib = at++;
  const dispBytes = mod === 1 ? 1 : mod === 2 || (mod === 0 && (rm === 5 || (sib >= 0 && (bytes[sib]! & 7) === 5))) ? 4 : 0;
  const disp = dispBytes > 0 ? at : -1;
  at += dispBytes;
  return { modrm, sib, disp, dispBytes, imm: at < bytes.length ? at : -1, immBytes: bytes.length - at };
}
function prefixes(bytes: Uint8Array): number {
  let at = 0;
  while ([0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x2e, 0x36, 0x3e, 0x26, 0x64, 0x65].includes(bytes[at]!)) at++;
  return at;
}
/** Operand 0 is written; the rest are read. Jumps, calls and comparisons have no destination. */
const writes = (insn: Insn): boolean => insn.ops.length > 0 && !insn.entry.end && insn.entry.name !== 'cmp' && insn.entry.name !== 'test' && insn.entry.name !== 'push';
/** Lowest bit of the field of ModRM that names a register operand (3 = reg, 0 = rm); undefined when ModRM does not. */
function registerField(insn: Insn, bytes: Uint8Array, p: Parts, operand: number): number | undefined {
  const kind = insn.entry.operands[operand]?.kind;
  if (p.modrm < 0 || insn.ops[operand]?.c !== 'R') return undefined;
  return kind === 'G' ? 3 : kind === 'E' && bytes[p.modrm]! >> 6 === 3 ? 0 : undefined;
}

const MUTATIONS: Readonly<Record<string, { readonly about: string; readonly mutate: Mutation }>> = {
  text: { about: 'a random bit of an instruction', mutate: (_insn, bytes, random) => flipped(bytes, random.below(bytes.length), random.below(8)) },
  nop: { about: 'an instruction is left out', mutate: (_insn, bytes) => nops(bytes) },
  src: {
    about: 'a wrong source operand',
    mutate(insn, bytes, random) {
      const p = parts(insn, bytes), first = writes(insn) ? 1 : 0;
      for (let n = first; n < insn.ops.length; n++) {
        const op = insn.ops[n]!;
        if (op.c === 'I' && p.immBytes > 0) return flipped(bytes, p.imm + random.below(p.immBytes), random.below(8));
        const field = registerField(insn, bytes, p, n);
        if (field !== undefined) return flipped(bytes, p.modrm, field + random.below(3));
        if (isMemory(op) && p.disp >= 0) return flipped(bytes, p.disp, random.below(8));
      }
      return undefined;
    },
  },
  dst: {
    about: 'a wrong destination operand',
    mutate(insn, bytes, random) {
      if (!writes(insn)) return undefined;
      const p = parts(insn, bytes), field = registerField(insn, bytes, p, 0);
      if (field !== undefined) return flipped(bytes, p.modrm, field + random.below(3));
      if (isMemory(insn.ops[0]) && p.disp >= 0) return flipped(bytes, p.disp + random.below(p.dispBytes), random.below(8));
      // mov r, imm and the like: the register is in the opcode byte.
      if (insn.ops[0]?.c === 'R' && p.modrm < 0 && insn.opcode >= 0xb0 && insn.opcode <= 0xbf) return flipped(bytes, prefixes(bytes), random.below(3));
      return undefined;
    },
  },
  ptr: {
    about: 'a wrong address: base, index or displacement of a memory operand',
    mutate(insn, bytes, random) {
      if (!insn.ops.some(isMemory)) return undefined;
      const p = parts(insn, bytes);
      if (p.modrm < 0) return undefined;
      const choices = [...(p.sib >= 0 ? [p.sib] : []), ...Array.from({ length: p.dispBytes }, (_, n) => p.disp + n)];
      // Without SIB and displacement the base register is the only part of the address.
      return choices.length > 0 ? flipped(bytes, random.pick(choices), random.below(8)) : flipped(bytes, p.modrm, random.below(3));
    },
  },
  loop: {
    about: 'the condition of a branch is inverted, or a repeat prefix is gone',
    mutate(insn, bytes) {
      const at = prefixes(bytes);
      if (bytes[at]! >= 0x70 && bytes[at]! <= 0x7f) return flipped(bytes, at, 0);
      if (bytes[at] === 0x0f && bytes[at + 1]! >= 0x80 && bytes[at + 1]! <= 0x8f) return flipped(bytes, at + 1, 0);
      if (insn.entry.str && insn.rep) { const out = bytes.slice(); out[bytes.indexOf(insn.rep)] = NOP; return out; }
      return undefined;
    },
  },
  interface: {
    about: 'an argument of a call is not passed',
    mutate(insn, bytes, _random, moment, target) {
      const to = insn.ops[0];
      const argument = to?.c === 'R' ? writes(insn) && to.size === 32 && [EAX, ECX, EDX].includes(to.reg) : isMemory(to) && to.base === ESP && to.index < 0 && insn.entry.name === 'mov';
      if (!argument) return undefined;
      // A call must follow in straight-line code before the register is written again.
      let eip = moment.eip + insn.length;
      for (let k = 0; k < 12; k++) {
        const next = target.module.instruction(eip);
        if (!next) return undefined;
        if (next.entry.name === 'call' || next.entry.name === 'call_ind') return nops(bytes);
        if (next.entry.end || (to?.c === 'R' && writes(next) && next.ops[0]?.c === 'R' && next.ops[0].reg === to.reg)) return undefined;
        eip += next.length;
      }
      return undefined;
    },
  },
};

function model(name: string, about: string, mutate: Mutation): FaultModel {
  return {
    name, about, kernel: true,
    plan(context) {
      let moment = momentOf(context);
      const { target, random } = context;
      for (let k = 0; moment && k < REACH; k++) {
        const bytes = moment.insn && target.module.bytes(moment.eip, moment.insn.length);
        const changed = bytes && mutate(moment.insn!, bytes, random, moment, target);
        if (bytes && changed && Buffer.compare(bytes, changed) !== 0) {
          const next = changed.every((byte) => byte === NOP) ? undefined : decode(changed, 0, changed.length, MODE32);
          const text = next ? format(next, moment.eip) : changed[0] === NOP ? 'nop' : '(another length)';
          return faultAt(moment, `${format(moment.insn!, moment.eip)} -> ${text}`, { bytes: [...changed], was: [...bytes] });
        }
        moment = moment.number + 1 < target.instructions ? target.moment(moment.number + 1) : undefined;
      }
      return undefined;
    },
    place({ port }, { cpu, eip, parameters }) {
      const { cr3 } = port.position(cpu);
      const there = port.read(cr3, eip, (parameters['was'] as readonly number[]).length);
      if (!there || Buffer.compare(there, Uint8Array.from(parameters['was'] as readonly number[])) !== 0) return false;
      return port.write(cr3, eip, Uint8Array.from(parameters['bytes'] as readonly number[]));
    },
  };
}
/** The seven, by name. */
export const TEXT_MODELS: readonly FaultModel[] = Object.entries(MUTATIONS).map(([name, { about, mutate }]) => model(name, about, mutate));
