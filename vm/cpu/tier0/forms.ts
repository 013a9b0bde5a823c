/**
 * Forms: the shapes of instructions tier 0 has code for. A form is a mnemonic with operand classes, sizes and variants, but
 * without the values (those are in the record). Hot forms are cases of the big br_table; every other form becomes a small
 * function of its own, compiled when the decoder first meets it.
 *
 * Classes: R register · B flat memory without index · X flat memory with index · M memory through a segment or with 16-bit
 * addresses · I immediate · J target · C CL · V xmm · P mmx · T ST(i) · U ST(0) · S segment number.
 */
import type { Insn } from '../isa/decode.ts';
import { MODE } from '../state.ts';

export interface Form {
  readonly key: string;
  readonly name: string;
  readonly classes: readonly string[];
  readonly sizes: readonly number[];
  readonly size: number;
  readonly operandSize: number;
  readonly needFlags: boolean;
  readonly repeat: 0 | 2 | 3;
  readonly addr16: boolean;
  /** Implicit operands through segments; stack not flat 32-bit. */
  readonly segmented: boolean;
  readonly slowStack: boolean;
  readonly lock: boolean;
  /** Condition of a conditional jump fused into this form (its own record follows), or -1. */
  readonly fused: number;
}

/** CS is never flat for data: a store through it faults. */
const FLAT_BIT = [MODE.ES_FLAT, 0, MODE.SS_FLAT, MODE.DS_FLAT, 0, 0];
const DEPENDS_ON_ADDRESS = new Set(['loop', 'loope', 'loopne', 'jcxz', 'xlat']);
const DEPENDS_ON_OPERAND = new Set(['cbw', 'cwd', 'mov_from_seg']);

export const isFlat = (seg: number, mode: number): boolean => (mode & FLAT_BIT[seg]) !== 0;

export function formOf(insn: Insn, mode: number, needFlags: boolean, parallel: boolean, fused = -1): Form {
  const { entry } = insn;
  const classes: string[] = [], sizes: number[] = [];
  for (const op of insn.ops) {
    sizes.push(op.size);
    if (op.c !== 'M') classes.push(op.c);
    // LEA uses no segment; any 32-bit address is flat for it.
    else if (insn.addr16 || !(entry.name === 'lea' || isFlat(op.seg, mode))) classes.push('M');
    else classes.push(op.index < 0 ? 'B' : 'X');
  }
  const implicit = entry.str || entry.name === 'xlat';
  const addr16 = insn.addr16 && (implicit || DEPENDS_ON_ADDRESS.has(entry.name));
  const segmented = implicit && (insn.addr16 || !isFlat(insn.seg, mode) || !isFlat(0, mode));
  const slowStack = entry.stack && (mode & (MODE.SS_FLAT | MODE.STACK32)) !== (MODE.SS_FLAT | MODE.STACK32);
  const byOperandSize = entry.stack || entry.end || DEPENDS_ON_OPERAND.has(entry.name);
  const operandSize = byOperandSize ? insn.operandSize : 32;
  const repeat = entry.str && insn.rep ? (insn.rep === 0xf2 ? 2 : 3) : 0;
  const lock = insn.lock && parallel;
  const needs = needFlags || entry.writes === 0;
  const key = `${entry.name}.${insn.size}/${classes.map((c, i) => c + sizes[i]).join()}`
    + `${operandSize === 16 ? '/o16' : ''}${addr16 ? '/a16' : ''}${segmented ? '/seg' : ''}${slowStack ? '/ss' : ''}`
    + `${repeat ? `/rep${repeat}` : ''}${lock ? '/lock' : ''}${needs ? '' : '/nf'}${fused >= 0 ? `+${fused}` : ''}`;
  return { key, name: entry.name, classes, sizes, size: insn.size, operandSize, needFlags: needs, repeat, addr16, segmented, slowStack, lock, fused };
}

const CLASS_NUMBER: Record<string, number> = { R: 1, B: 2, X: 3, M: 4, I: 5, J: 6, C: 7, V: 8, S: 9, A: 10, P: 11, T: 12, U: 13 };
/**
 * A number that two instructions share exactly when `formOf` gives them the same form: sizes follow from the table row and the operand size.
 * The decoder looks forms up by it (building the key string for every instruction made up a tenth of a boot).
 */
export function formNumber(insn: Insn, mode: number, needFlags: boolean, fused = -1): number {
  const { entry, ops } = insn;
  let low = entry.index, shift = 10;
  for (const op of ops) {
    const c = op.c !== 'M' ? op.c : insn.addr16 || !(entry.name === 'lea' || isFlat(op.seg, mode)) ? 'M' : op.index < 0 ? 'B' : 'X';
    low += CLASS_NUMBER[c] << shift;
    shift += 4;
  }
  const implicit = entry.str || entry.name === 'xlat';
  let high = (insn.operandSize === 16 ? 1 : 0) | (insn.addr16 ? 2 : 0) | (needFlags ? 4 : 0) | (insn.lock ? 8 : 0);
  if (entry.stack && (mode & (MODE.SS_FLAT | MODE.STACK32)) !== (MODE.SS_FLAT | MODE.STACK32)) high |= 16;
  if (implicit && (!isFlat(insn.seg, mode) || !isFlat(0, mode))) high |= 32;
  if (entry.str) high |= insn.rep === 0xf2 ? 64 : insn.rep === 0xf3 ? 128 : 0;
  return (high | fused + 1 << 8) * 0x400000 + low;
}

function form(name: string, size: number, operands: string, needFlags = true, fused = -1): Form {
  const parts = operands ? operands.split(',') : [];
  const classes = parts.map(part => part[0]), sizes = parts.map(part => Number(part.slice(1)) || size);
  const key = `${name}.${size}/${classes.map((c, i) => c + sizes[i]).join()}${needFlags ? '' : '/nf'}${fused >= 0 ? `+${fused}` : ''}`;
  return { key, name, classes, sizes, size, operandSize: 32, needFlags, repeat: 0, addr16: false, segmented: false, slowStack: false, lock: false, fused };
}

const FUSABLE_CONDITIONS = [2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 14, 15];
const CONDITIONS = ['o', 'no', 'b', 'ae', 'z', 'nz', 'be', 'a', 's', 'ns', 'p', 'np', 'l', 'ge', 'le', 'g'];

/** The hot forms, in br_table order. */
export function hotForms(): Form[] {
  const forms: Form[] = [];
  const both = (name: string, size: number, operands: string): void => { forms.push(form(name, size, operands), form(name, size, operands, false)); };
  const RM = ['R,R', 'R,I', 'R,B', 'R,X', 'B,R', 'X,R', 'B,I', 'X,I'];
  for (const name of ['add', 'or', 'and', 'sub', 'xor']) {
    for (const operands of RM) { both(name, 32, operands); both(name, 8, operands); }
  }
  for (const name of ['adc', 'sbb']) for (const operands of ['R,R', 'R,I', 'R,B']) both(name, 32, operands);
  for (const operands of RM) {
    for (const size of [8, 32]) { forms.push(form('cmp', size, operands), form('mov', size, operands)); }
    forms.push(form('cmp', 16, operands), form('mov', 16, operands));
  }
  for (const operands of ['R,R', 'R,I', 'B,I', 'X,I', 'B,R']) for (const size of [8, 32]) forms.push(form('test', size, operands));
  for (const name of ['movzx', 'movsx']) for (const operands of ['R,R8', 'R,B8', 'R,X8', 'R,R16', 'R,B16', 'R,X16']) forms.push(form(name, 32, operands));
  forms.push(form('lea', 32, 'R,B0'), form('lea', 32, 'R,X0'));
  for (const name of ['inc', 'dec']) { both(name, 32, 'R'); both(name, 32, 'B'); both(name, 8, 'R'); }
  for (const operands of ['R', 'I', 'B', 'X']) forms.push(form('push', 32, operands));
  forms.push(form('pop', 32, 'R'), form('leave', 32, ''), form('nop', 32, ''));
  for (const name of ['shl', 'shr', 'sar', 'rol', 'ror']) { both(name, 32, 'R,I8'); both(name, 32, 'R,C8'); both(name, 8, 'R,I8'); }
  both('shld', 32, 'R,R,I8'); both('shrd', 32, 'R,R,I8');
  for (const operands of ['R,R', 'R,B', 'R,X']) both('imul2', 32, operands);
  both('imul3', 32, 'R,R,I'); both('imul3', 32, 'R,B,I');
  for (const name of ['mul', 'imul1', 'div', 'idiv']) for (const operands of ['R', 'B']) both(name, 32, operands);
  both('neg', 32, 'R'); forms.push(form('not', 32, 'R'), form('cwd', 32, ''), form('cbw', 32, ''), form('xchg', 32, 'R,R'), form('bswap', 32, 'R'));
  for (const [cc, name] of CONDITIONS.entries()) {
    forms.push(form(`j${name}`, 32, 'J'), form(`set${name}`, 8, 'R'));
    if (FUSABLE_CONDITIONS.includes(cc)) forms.push(form(`cmov${name}`, 32, 'R,R'), form(`cmov${name}`, 32, 'R,B'), form(`set${name}`, 8, 'B'));
  }
  forms.push(form('jmp', 32, 'J'), form('call', 32, 'J'), form('ret', 32, ''), form('ret', 32, 'I16'));
  for (const name of ['jmp_ind', 'call_ind']) for (const operands of ['R', 'B', 'X']) forms.push(form(name, 32, operands));
  forms.push(form('loop', 32, 'J'), form('jcxz', 32, 'J'));
  for (const cc of FUSABLE_CONDITIONS) {
    for (const operands of ['R,R', 'R,I', 'R,B', 'B,R', 'B,I', 'X,I']) forms.push(form('cmp', 32, operands, true, cc));
    for (const operands of ['R,R', 'R,I', 'B,I', 'X,I']) forms.push(form('cmp', 8, operands, true, cc));
    for (const operands of ['R,R', 'R,I', 'B,I']) { forms.push(form('test', 32, operands, true, cc), form('test', 8, operands, true, cc)); }
  }
  return forms;
}
