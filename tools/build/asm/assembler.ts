/**
 * The stub assembler: hand-written i386 code as TypeScript. A stub file `name.asm.ts` lies beside the guest code that uses it and exports
 * `default (asm: Assembler) => void`. Every instruction of x86/table.ts is a method with Intel operand order:
 *
 *   asm.label('switchTo'); asm.push(ebx); asm.mov(dword(eax), esp); asm.jcc('e', '.out'); asm.call('trap'); asm.ret();
 *
 * Labels are symbols of the whole program, except those that begin with '.', which belong to the current buffer (section of this file).
 * AssemblyScript functions are called by their exported name. Sections: boot (start of text), text, rodata, data, bss.
 */
import { BuildError } from '../errors.ts';
import { CodeBuffer } from '../x86/encode.ts';
import type { Imm, Operand } from '../x86/operands.ts';
import { imm } from '../x86/operands.ts';
import { CONDITIONS, FORMS, type Condition, type Mnemonic } from '../x86/table.ts';

export const SECTIONS = ['boot', 'text', 'rodata', 'data', 'bss'] as const;
export type SectionName = (typeof SECTIONS)[number];
export type Arg = Operand | number;
type Instructions = Record<Exclude<Mnemonic, 'jmp' | 'call' | 'ljmp'>, (...operands: Arg[]) => void>;
export type StubModule = (asm: Assembler) => void;

/** Push depth at a place of a stub, for stack walks: see `asm.frame`. */
export interface FrameNote { section: SectionName; label: string; bytes: number }

export interface Assembler extends Instructions {
  readonly name: string;
  section(name: SectionName): void;
  label(name: string): void;
  align(bytes: number): void;
  /** Code size of the following instructions; code16 uses 32-bit addressing with prefixes. */
  code16(): void;
  code32(): void;
  /** To a label, or through a register or memory operand. */
  jmp(target: string | Operand): void;
  call(target: string | Operand): void;
  jcc(condition: Condition, label: string): void;
  jecxz(label: string): void;
  loop(label: string): void;
  /** Far jump to selector:offset; 32-bit offset in both code sizes. */
  ljmp(selector: number, offset: Imm): void;
  byte(...values: Arg[]): void;
  word(...values: Arg[]): void;
  dword(...values: Arg[]): void;
  /** Bytes of a string, without terminator. */
  ascii(text: string): void;
  space(bytes: number): void;
  /** A symbol with a constant value (not an address in this program). */
  equ(name: string, value: number): void;
}

class AssemblerImplementation {
  readonly name: string;
  readonly buffers = new Map<SectionName, CodeBuffer>();
  readonly constants = new Map<string, number>();
  private current: CodeBuffer;
  constructor(name: string) {
    this.name = name;
    this.current = this.buffer('text');
  }
  private buffer(s: SectionName): CodeBuffer {
    let b = this.buffers.get(s);
    if (b === undefined) this.buffers.set(s, (b = new CodeBuffer(`${this.name}:${s}`)));
    return b;
  }
  section(name: SectionName): void {
    this.current = this.buffer(name);
  }
  label(name: string): void {
    this.current.label(name);
  }
  align(bytes: number): void {
    this.current.align(bytes);
  }
  code16(): void {
    this.current.mode = 16;
  }
  code32(): void {
    this.current.mode = 32;
  }
  jmp(target: string | Operand): void {
    if (typeof target !== 'string') return this.current.ins('jmp', [target]);
    if (this.current.mode === 16) throw new BuildError('label branches in code16 are not supported: use ljmp', this.name);
    this.current.jmp(target);
  }
  call(target: string | Operand): void {
    if (typeof target !== 'string') return this.current.ins('call', [target]);
    this.current.u8(0xe8);
    this.current.reloc('rel32', { name: target }, -4);
  }
  jcc(condition: Condition, label: string): void {
    if (this.current.mode === 16) throw new BuildError('label branches in code16 are not supported: use ljmp', this.name);
    this.current.jcc(CONDITIONS.indexOf(condition), label);
  }
  jecxz(label: string): void {
    this.short(0xe3, label);
  }
  loop(label: string): void {
    this.short(0xe2, label);
  }
  /** A branch that has only a short form, to a label already seen with no growing branch between, or resolved at link time. */
  private short(opcode: number, label: string): void {
    this.current.u8(opcode);
    this.current.reloc('abs8', { name: label, minus: '.' }, -1);
  }
  ljmp(selector: number, offset: Imm): void {
    if (this.current.mode === 16) this.current.u8(0x66);
    this.current.u8(0xea);
    this.dword(offset);
    this.current.u16(selector);
  }
  byte(...values: Arg[]): void {
    for (const v of values) this.datum(v, 1);
  }
  word(...values: Arg[]): void {
    for (const v of values) this.datum(v, 2);
  }
  dword(...values: Arg[]): void {
    for (const v of values) this.datum(v, 4);
  }
  private datum(v: Arg, size: 1 | 2 | 4): void {
    const o = typeof v === 'number' ? imm(v) : v;
    if (o.kind !== 'imm') throw new BuildError('data must be a number or an address', this.name);
    if (o.sym !== undefined) this.current.reloc(size === 4 ? 'abs32' : size === 2 ? 'abs16' : 'abs8', o.sym, o.value);
    else for (let i = 0, n = o.value; i < size; i++, n = Math.floor(n / 256)) this.current.u8(n & 255);
  }
  ascii(text: string): void {
    for (const b of new TextEncoder().encode(text)) this.current.u8(b);
  }
  space(bytes: number): void {
    for (let i = 0; i < bytes; i++) this.current.u8(0);
  }
  equ(name: string, value: number): void {
    this.constants.set(name, value);
  }
  ins(mnemonic: string, operands: readonly Arg[]): void {
    this.current.ins(mnemonic, operands.map((o) => (typeof o === 'number' ? imm(o) : o)));
  }
}
const methods = AssemblerImplementation.prototype as unknown as Record<string, unknown>;
for (const m of FORMS.keys()) {
  if (m in methods) continue;
  methods[m] = function (this: AssemblerImplementation, ...operands: Arg[]): void {
    this.ins(m, operands);
  };
}

export interface Assembled { readonly name: string; readonly buffers: ReadonlyMap<SectionName, CodeBuffer>; readonly constants: ReadonlyMap<string, number> }
/** Runs a stub module. */
export function assemble(name: string, module: StubModule): Assembled {
  const a = new AssemblerImplementation(name);
  module(a as unknown as Assembler);
  return a;
}
