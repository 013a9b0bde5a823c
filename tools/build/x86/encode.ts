/**
 * The encoder: instruction + operands -> bytes, relocations and branches that may still grow. The stub assembler and the compiler both
 * write into a `CodeBuffer`; `finish` decides short or long branches and alignment and gives final bytes.
 *
 * Invariants: `bytes` does not contain branches or alignment ("items"); a place in the buffer is the pair (offset in `bytes`, number of
 * items before it), packed in a `Place`, so nothing moves when an item grows.
 */
import { BuildError } from '../errors.ts';
import type { Mem, Operand, SymRef } from './operands.ts';
import { regName } from './operands.ts';
import { FORMS, type Form } from './table.ts';

export interface Place { readonly pos: number; readonly item: number }
export interface Reloc { place: Place; kind: 'abs32' | 'rel32' | 'abs16' | 'abs8'; sym: SymRef; addend: number }
interface Item { pos: number; kind: 'jmp' | 'jcc' | 'align'; cc: number; label: string; size: number }
export interface Finished { bytes: Uint8Array; labels: Map<string, number>; relocs: { at: number; kind: Reloc['kind']; sym: SymRef; addend: number }[]; place: (p: Place) => number }

const SEG_PREFIX = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65];

export class CodeBuffer {
  bytes = new Uint8Array(256);
  length = 0;
  mode: 16 | 32 = 32;
  /** Alignment that the start of the buffer needs for its own alignment directives to hold. */
  alignment = 16;
  readonly items: Item[] = [];
  readonly labels = new Map<string, Place>();
  readonly relocs: Reloc[] = [];
  readonly name: string;
  constructor(name: string) {
    this.name = name;
  }

  here(): Place {
    return { pos: this.length, item: this.items.length };
  }

  u8(v: number): void {
    if (this.length === this.bytes.length) {
      const bigger = new Uint8Array(this.length * 2);
      bigger.set(this.bytes);
      this.bytes = bigger;
    }
    this.bytes[this.length++] = v;
  }
  u16(v: number): void {
    this.u8(v & 255);
    this.u8((v >> 8) & 255);
  }
  u32(v: number): void {
    this.u16(v & 0xffff);
    this.u16(v >>> 16);
  }
  reloc(kind: Reloc['kind'], sym: SymRef, addend: number): void {
    this.relocs.push({ place: this.here(), kind, sym, addend });
    for (let n = kind === 'abs8' ? 1 : kind === 'abs16' ? 2 : 4; n > 0; n--) this.u8(0);
  }

  label(name: string): void {
    if (this.labels.has(name)) throw new BuildError(`label ${name} is defined twice`, this.name);
    this.labels.set(name, this.here());
  }
  jmp(label: string): void {
    this.items.push({ pos: this.length, kind: 'jmp', cc: 0, label, size: 2 });
  }
  jcc(cc: number, label: string): void {
    this.items.push({ pos: this.length, kind: 'jcc', cc, label, size: 2 });
  }
  align(n: number): void {
    if ((n & (n - 1)) !== 0) throw new BuildError(`alignment ${n} is not a power of two`, this.name);
    this.alignment = Math.max(this.alignment, n);
    this.items.push({ pos: this.length, kind: 'align', cc: n, label: '', size: 0 });
  }

  /** Chooses branch sizes (they only grow, so this ends) and produces the bytes. `base` is the alignment-relevant start address. */
  finish(fill = 0x90): Finished {
    const items = this.items;
    const before = new Int32Array(items.length + 1);
    const at = (p: Place): number => p.pos + (before[p.item] as number);
    for (let changed = true; changed; ) {
      changed = false;
      for (let i = 0; i < items.length; i++) {
        const it = items[i] as Item;
        if (it.kind === 'align') it.size = -(it.pos + (before[i] as number)) & (it.cc - 1);
        before[i + 1] = (before[i] as number) + it.size;
      }
      for (let i = 0; i < items.length; i++) {
        const it = items[i] as Item;
        if (it.kind === 'align' || it.size !== 2) continue;
        const target = this.labels.get(it.label);
        const distance = target === undefined ? 1 << 20 : at(target) - (it.pos + (before[i + 1] as number));
        if (distance < -128 || distance > 127) {
          it.size = it.kind === 'jmp' ? 5 : 6;
          changed = true;
        }
      }
    }
    const out = new Uint8Array(this.length + (before[items.length] as number));
    const relocs: Finished['relocs'] = [];
    let from = 0;
    for (let i = 0; i < items.length; i++) {
      const it = items[i] as Item;
      out.set(this.bytes.subarray(from, it.pos), from + (before[i] as number));
      from = it.pos;
      let p = it.pos + (before[i] as number);
      if (it.kind === 'align') {
        out.fill(fill, p, p + it.size);
        continue;
      }
      const target = this.labels.get(it.label);
      const rel = target === undefined ? 0 : at(target) - (p + it.size);
      if (it.size === 2) {
        out[p] = it.kind === 'jmp' ? 0xeb : 0x70 + it.cc;
        out[p + 1] = rel & 255;
        continue;
      }
      if (it.kind === 'jmp') out[p++] = 0xe9;
      else {
        out[p++] = 0x0f;
        out[p++] = 0x80 + it.cc;
      }
      if (target === undefined) {
        relocs.push({ at: p, kind: 'rel32', sym: { name: it.label }, addend: -4 });
      } else for (let n = it.size - (it.kind === 'jmp' ? 1 : 2), v = rel; n > 0; n--, v >>= 8) out[p++] = v & 255;
    }
    out.set(this.bytes.subarray(from, this.length), from + (before[items.length] as number));
    for (const r of this.relocs) relocs.push({ at: at(r.place), kind: r.kind, sym: r.sym, addend: r.addend });
    const labels = new Map<string, number>();
    for (const [n, p] of this.labels) labels.set(n, at(p));
    return { bytes: out, labels, relocs, place: at };
  }

  /** Encodes one instruction. */
  ins(mnemonic: string, ops: readonly Operand[]): void {
    const forms = FORMS.get(mnemonic);
    if (forms === undefined) throw new BuildError(`unknown instruction ${mnemonic}`, this.name);
    const size = operandSize(ops);
    for (const f of forms) if (matches(f, ops, size, this.mode)) return this.form(f, ops, size);
    throw new BuildError(`no encoding for ${mnemonic} ${ops.map(operandText).join(', ')}`, this.name);
  }

  private form(f: Form, ops: readonly Operand[], size: number): void {
    let rm: Operand | undefined;
    let regField = f.modrm >= 0 && f.modrm < 8 ? f.modrm : 0;
    let opReg = 0;
    let immediate: Operand | undefined;
    let wide = false, pattern16 = false;
    for (let i = 0; i < ops.length; i++) {
      const o = ops[i] as Operand;
      const p = f.operands[i] as string;
      if (p === 'rmv' || p === 'rv' || p === 'iv' || p === 'eav') wide = true;
      if (p === 'r16') pattern16 = true;
      if (o.kind === 'imm') {
        if (p !== 'one') immediate = o;
      } else if (p === 'moffs') immediate = o;
      else if (o.kind === 'mem') rm = o;
      else if (p === 'cl' || p === 'dx' || p === 'al' || p === 'eav' || p.length === 2 && p[1] === 's' && o.cls === 'sreg') continue;
      else if (f.plusReg) opReg = o.num;
      else if (p === 'r8' || p === 'r16' || p === 'r32' || p === 'rv' || p === 'x' || p === 'sreg' || p === 'cr' || p === 'dr') {
        if (f.modrm === 9) { // mov r32, cr: the general register is in rm
          if (o.cls === 'r32') rm = o;
          else regField = o.num;
        } else regField = o.num;
      } else rm = o;
    }
    if ((wide && size === 2) !== (this.mode === 16 && (wide || f.mnemonic === 'push' || f.mnemonic === 'pop')) && f.operands[0] !== 'sreg') this.u8(0x66);
    else if (pattern16 && this.mode === 32) this.u8(0x66);
    const m = rm?.kind === 'mem' ? rm : immediate?.kind === 'mem' ? immediate : undefined;
    if (m !== undefined) {
      if (this.mode === 16) this.u8(0x67);
      if (m.seg !== undefined) this.u8(SEG_PREFIX[m.seg] as number);
    }
    if (f.prefix !== 0) this.u8(f.prefix);
    for (let i = 0; i < f.opcode.length; i++) this.u8((f.opcode[i] as number) + (f.plusReg && i === f.opcode.length - 1 ? opReg : 0));
    if (f.modrm >= 0) {
      if (rm === undefined && f.modrm < 8) throw new BuildError(`internal: ${f.mnemonic} without r/m`, this.name);
      if (rm?.kind === 'reg') this.u8(0xc0 | (regField << 3) | rm.num);
      else if (rm?.kind === 'mem') this.address(rm, regField);
    }
    if (f.imm === '' || immediate === undefined) return;
    if (immediate.kind === 'mem') {
      if (immediate.sym !== undefined) this.reloc('abs32', immediate.sym, immediate.disp);
      else this.u32(immediate.disp);
      return;
    }
    if (immediate.kind !== 'imm') return;
    const n = f.imm === 'ib' ? 1 : f.imm === 'iw' ? 2 : f.imm === 'id' ? 4 : size === 2 ? 2 : 4;
    if (immediate.sym !== undefined) this.reloc(n === 4 ? 'abs32' : n === 2 ? 'abs16' : 'abs8', immediate.sym, immediate.value);
    else if (n === 4) this.u32(immediate.value);
    else if (n === 2) this.u16(immediate.value);
    else this.u8(immediate.value & 255);
  }

  private address(m: Mem, regField: number): void {
    const r = regField << 3;
    const d = m.disp | 0;
    let { base, index } = m;
    if (base < 0 && index >= 0 && m.scale === 1) {
      base = index;
      index = -1;
    }
    if (base < 0 && index < 0) {
      this.u8(r | 5);
      this.disp32(m, d);
      return;
    }
    if (base < 0) {
      this.u8(r | 4);
      this.u8((SCALE[m.scale] as number) << 6 | (index << 3) | 5);
      this.disp32(m, d);
      return;
    }
    const mod = m.sym !== undefined ? 2 : d === 0 && base !== 5 ? 0 : d >= -128 && d <= 127 ? 1 : 2;
    if (index >= 0 || base === 4) {
      this.u8(mod << 6 | r | 4);
      this.u8((index >= 0 ? (SCALE[m.scale] as number) << 6 | (index << 3) : 4 << 3) | base);
    } else this.u8(mod << 6 | r | base);
    if (mod === 1) this.u8(d & 255);
    else if (mod === 2) this.disp32(m, d);
  }
  private disp32(m: Mem, d: number): void {
    if (m.sym !== undefined) this.reloc('abs32', m.sym, d);
    else this.u32(d);
  }
}

const SCALE: Readonly<Record<number, number>> = { 1: 0, 2: 1, 4: 2, 8: 3 };
const SREGS = ['es', 'cs', 'ss', 'ds', 'fs', 'gs'];

export function operandText(o: Operand): string {
  if (o.kind === 'reg') return regName(o);
  const s = o.sym === undefined ? '' : o.sym.name + (o.sym.minus === undefined ? '' : `-${o.sym.minus}`) + '+';
  if (o.kind === 'imm') return `${s}${o.value}`;
  return `m${o.size * 8}[${s}${o.base < 0 ? '' : `r${o.base}+`}${o.index < 0 ? '' : `r${o.index}*${o.scale}+`}${o.disp}]`;
}

/** Operand size of an instruction: that of its first general register, else of memory. */
function operandSize(ops: readonly Operand[]): number {
  let fromMem = 0;
  for (const o of ops) {
    if (o.kind === 'reg') {
      if (o.cls === 'r32') return 4;
      if (o.cls === 'r16' && !(o.num === 2 && ops.length === 2 && isPortPair(ops))) return 2;
      if (o.cls === 'r8' && !(o.num === 1 && ops.length > 1 && ops[0] !== o)) return 1;
    } else if (o.kind === 'mem' && o.size !== 0) fromMem = o.size;
  }
  return fromMem;
}
/** `in al, dx` / `out dx, al`: DX is the port, not the operand. */
const isPortPair = (ops: readonly Operand[]): boolean => ops.some((o) => o.kind === 'reg' && o.num === 0 && (o.cls === 'r8' || o.cls === 'r32'));

function matches(f: Form, ops: readonly Operand[], size: number, mode: number): boolean {
  if (f.operands.length !== ops.length) return false;
  for (let i = 0; i < ops.length; i++) if (!fits(f.operands[i] as string, ops[i] as Operand, size, mode)) return false;
  return true;
}
function fits(p: string, o: Operand, size: number, mode: number): boolean {
  if (o.kind === 'reg') {
    switch (p) {
      case 'r8': case 'rm8': return o.cls === 'r8';
      case 'r16': case 'rm16': return o.cls === 'r16';
      case 'r32': case 'rm32': return o.cls === 'r32';
      case 'rv': case 'rmv': return o.cls === (size === 2 ? 'r16' : 'r32');
      case 'rm': return o.cls === 'r16' || o.cls === 'r32';
      case 'rg': return o.cls === 'r32';
      case 'al': return o.cls === 'r8' && o.num === 0;
      case 'eav': return o.num === 0 && (o.cls === 'r32' || o.cls === 'r16');
      case 'cl': return o.cls === 'r8' && o.num === 1;
      case 'dx': return o.cls === 'r16' && o.num === 2;
      case 'x': case 'xr': case 'xm32': case 'xm64': case 'xm128': return o.cls === 'xmm';
      case 'sreg': case 'cr': case 'dr': return o.cls === p;
      default: return o.cls === 'sreg' && SREGS[o.num] === p;
    }
  }
  if (o.kind === 'mem') {
    switch (p) {
      case 'm': case 'rm': return true;
      case 'moffs': return o.base < 0 && o.index < 0 && mode === 32 && (o.size === 0 || o.size === size);
      case 'rm8': return o.size === 1 || (o.size === 0 && size === 1);
      case 'rm16': return o.size === 2;
      case 'rm32': return o.size === 4 || o.size === 0;
      case 'rmv': return size === 4 || size === 2 ? o.size === size || o.size === 0 : false;
      case 'xm32': return o.size === 4 || o.size === 0;
      case 'xm64': return o.size === 8 || o.size === 0;
      case 'xm128': return o.size === 16 || o.size === 0;
      default: return false;
    }
  }
  const v = o.value;
  switch (p) {
    case 'i8': return o.sym === undefined ? v >= -128 && v <= 255 : true;
    case 's8': return o.sym === undefined && size !== 1 && (v | 0) >= -128 && (v | 0) <= 127 && !(size === 2 && v > 127);
    case 'one': return o.sym === undefined && v === 1;
    case 'i16': case 'i32': return true;
    case 'iv': return size === 2 || size === 4;
    default: return false;
  }
}
