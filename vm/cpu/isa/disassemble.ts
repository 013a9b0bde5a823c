/**
 * Disassembler text of a decoded instruction, in Intel syntax, from the same table row the decoder used. For traces, reports and
 * error messages; `size` hints appear on memory operands only where no register tells the size.
 */
import { decode, type Insn, type Operand } from './decode.ts';

const R32 = ['eax', 'ecx', 'edx', 'ebx', 'esp', 'ebp', 'esi', 'edi'];
const R16 = R32.map(name => name.slice(1));
const R8 = ['al', 'cl', 'dl', 'bl', 'ah', 'ch', 'dh', 'bh'];
const SEGMENTS = ['es', 'cs', 'ss', 'ds', 'fs', 'gs'];
const POINTER: Record<number, string> = { 8: 'byte', 16: 'word', 32: 'dword', 64: 'qword', 80: 'tword', 128: 'oword' };
/** Table names that are more specific than the assembler's. */
const ALIASES: Record<string, string> = {
  imul1: 'imul', imul2: 'imul', imul3: 'imul', jmp_ind: 'jmp', call_ind: 'call', callf: 'call far', callf_ind: 'call far', jmpf: 'jmp far', jmpf_ind: 'jmp far',
  mov_to_seg: 'mov', mov_from_seg: 'mov', mov_from_cr: 'mov', mov_to_cr: 'mov', mov_from_dr: 'mov', mov_to_dr: 'mov', pop_e: 'pop', bti: 'bt', btsi: 'bts', btri: 'btr', btci: 'btc',
  movsv: 'movsd', stosv: 'stosd', lodsv: 'lodsd', cmpsv: 'cmpsd', scasv: 'scasd', insv: 'insd', outsv: 'outsd', pusha: 'pushad', popa: 'popad', pushf: 'pushfd', popf: 'popfd', iret: 'iretd',
  cbw: 'cwde', cwd: 'cdq', undefined: '(bad)', too_long: '(bad)',
  movss_load: 'movss', movss_store: 'movss', movsd_load: 'movsd', movsd_store: 'movsd', movd_to: 'movd', movd_from: 'movd', movq_load: 'movq', movq_store: 'movq',
  movd_to_mm: 'movd', movd_from_mm: 'movd', movq_load_mm: 'movq', movq_store_mm: 'movq',
  movlps_load: 'movlps', movlps_store: 'movlps', movhps_load: 'movhps', movhps_store: 'movhps',
};
/** The same with a 16-bit operand size. */
const ALIASES16: Record<string, string> = { movsv: 'movsw', stosv: 'stosw', lodsv: 'lodsw', cmpsv: 'cmpsw', scasv: 'scasw', insv: 'insw', outsv: 'outsw', pusha: 'pusha', popa: 'popa', pushf: 'pushf', popf: 'popf', iret: 'iret', cbw: 'cbw', cwd: 'cwd' };

const hex = (value: number): string => { const text = (value >>> 0).toString(16); return value >>> 0 < 10 ? text : `0x${text}`; };

function memory(insn: Insn, op: Operand & { c: 'M' }, sized: boolean): string {
  const names = insn.addr16 ? R16 : R32;
  const parts: string[] = [];
  if (op.base >= 0) parts.push(names[op.base]);
  if (op.index >= 0) parts.push(op.scale ? `${names[op.index]}*${1 << op.scale}` : names[op.index]);
  let text = parts.join('+');
  if (!text) text = hex(op.disp); else if (op.disp) text += op.disp < 0 ? `-${hex(-op.disp)}` : `+${hex(op.disp)}`;
  const natural = op.base === 4 || op.base === 5 ? 2 : 3;
  return `${sized ? '' : `${POINTER[op.size] ?? ''} `.trimStart()}${op.seg === natural ? '' : `${SEGMENTS[op.seg]}:`}[${text}]`;
}

/** The assembler's name of a table row, with a 32-bit operand size. */
export function mnemonic(name: string): string {
  const implicit = /^(push|pop)_([a-z]s)$/.exec(name);
  return implicit ? `${implicit[1]} ${implicit[2]}` : ALIASES[name] ?? name.replace(/_mm$/, '').replace(/_e$/, '');
}

/** Text of an instruction at `eip`. */
export function format(insn: Insn, eip: number): string {
  const { entry, ops } = insn;
  let name = (insn.operandSize === 16 ? ALIASES16[entry.name] : undefined) ?? ALIASES[entry.name] ?? entry.name.replace(/_mm$/, '');
  const implicit = /^(push|pop)_([a-z]s)$/.exec(entry.name);
  if (implicit) name = `${implicit[1]} ${implicit[2]}`;
  const hasRegister = ops.some(({ c }) => c === 'R' || c === 'V' || c === 'P');
  const texts = ops.map((op, i) => {
    switch (op.c) {
      case 'R': return op.size === 8 ? R8[op.reg] : op.size === 16 ? R16[op.reg] : R32[op.reg];
      case 'V': return `xmm${op.reg}`;
      case 'P': return `mm${op.reg}`;
      case 'T': return `st${op.reg}`;
      case 'U': return 'st0';
      case 'M': return memory(insn, op, (hasRegister && !/^mov[sz]x$/.test(entry.name)) || op.size === 0);
      case 'I': return hex(op.value);
      case 'J': return hex(eip + insn.length + op.value);
      case 'C': return 'cl';
      case 'A': return `${hex(op.selector)}:${hex(op.value)}`;
      default: return entry.operands[i]?.kind === 'C' ? `cr${op.reg}` : entry.operands[i]?.kind === 'D' ? `dr${op.reg}` : SEGMENTS[op.reg] ?? '?';
    }
  });
  const prefix = (insn.lock ? 'lock ' : '') + (entry.str && insn.rep ? (insn.rep === 0xf2 ? 'repne ' : /^(cmps|scas)/.test(entry.name) ? 'repe ' : 'rep ') : '');
  return `${prefix}${name}${texts.length ? ` ${texts.join(', ')}` : ''}`;
}

/** Disassembles a run of bytes; `mode` is the decode mode (MODE_* of state.ts). */
export function disassemble(bytes: Uint8Array, eip: number, mode: number): { eip: number; length: number; text: string }[] {
  const lines: { eip: number; length: number; text: string }[] = [];
  for (let at = 0; at < bytes.length;) {
    const insn = decode(bytes, at, bytes.length, mode);
    if (!insn) { lines.push({ eip: eip + at, length: bytes.length - at, text: '(incomplete)' }); break; }
    lines.push({ eip: eip + at, length: insn.length, text: format(insn, eip + at) });
    at += insn.length;
  }
  return lines;
}
