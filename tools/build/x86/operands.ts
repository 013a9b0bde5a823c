/**
 * Operands of i386 instructions as the encoder sees them: registers, memory, immediates. Used by the stub assembler (where people write
 * them by hand) and by the last step of the compiler. Register numbers are the hardware's (Intel SDM volume 2, table 2-2).
 */
export type RegClass = 'r8' | 'r16' | 'r32' | 'xmm' | 'sreg' | 'cr' | 'dr';
export interface Reg { readonly kind: 'reg'; readonly cls: RegClass; readonly num: number }
/** Address of a symbol, optionally relative to another one (`minus`): for code that runs at another address than it is linked. */
export interface SymRef { readonly name: string; readonly minus?: string }
export interface Imm { readonly kind: 'imm'; readonly value: number; readonly sym?: SymRef }
export interface Mem {
  readonly kind: 'mem';
  /** Bytes accessed: 1, 2, 4, 8, 16; 0 = taken from the other operand or irrelevant (lea, lgdt, invlpg). */
  readonly size: number;
  readonly base: number; // -1 = none
  readonly index: number; // -1 = none
  readonly scale: number;
  readonly disp: number;
  readonly sym?: SymRef;
  readonly seg?: number; // segment register number for an override prefix
}
export type Operand = Reg | Imm | Mem;

const reg = (cls: RegClass, num: number): Reg => ({ kind: 'reg', cls, num });
export const eax = reg('r32', 0), ecx = reg('r32', 1), edx = reg('r32', 2), ebx = reg('r32', 3), esp = reg('r32', 4), ebp = reg('r32', 5), esi = reg('r32', 6), edi = reg('r32', 7);
export const ax = reg('r16', 0), cx = reg('r16', 1), dx = reg('r16', 2), bx = reg('r16', 3), sp = reg('r16', 4), bp = reg('r16', 5), si = reg('r16', 6), di = reg('r16', 7);
export const al = reg('r8', 0), cl = reg('r8', 1), dl = reg('r8', 2), bl = reg('r8', 3), ah = reg('r8', 4), ch = reg('r8', 5), dh = reg('r8', 6), bh = reg('r8', 7);
export const xmm = [0, 1, 2, 3, 4, 5, 6, 7].map((n) => reg('xmm', n));
export const [xmm0, xmm1, xmm2, xmm3, xmm4, xmm5, xmm6, xmm7] = xmm as [Reg, Reg, Reg, Reg, Reg, Reg, Reg, Reg];
export const es = reg('sreg', 0), cs = reg('sreg', 1), ss = reg('sreg', 2), ds = reg('sreg', 3), fs = reg('sreg', 4), gs = reg('sreg', 5);
export const cr0 = reg('cr', 0), cr2 = reg('cr', 2), cr3 = reg('cr', 3), cr4 = reg('cr', 4);
export const dr0 = reg('dr', 0), dr1 = reg('dr', 1), dr2 = reg('dr', 2), dr3 = reg('dr', 3), dr6 = reg('dr', 6), dr7 = reg('dr', 7);

const R32 = ['eax', 'ecx', 'edx', 'ebx', 'esp', 'ebp', 'esi', 'edi'];
const NAMES: Record<RegClass, readonly string[]> = {
  r32: R32,
  r16: ['ax', 'cx', 'dx', 'bx', 'sp', 'bp', 'si', 'di'],
  r8: ['al', 'cl', 'dl', 'bl', 'ah', 'ch', 'dh', 'bh'],
  xmm: ['xmm0', 'xmm1', 'xmm2', 'xmm3', 'xmm4', 'xmm5', 'xmm6', 'xmm7'],
  sreg: ['es', 'cs', 'ss', 'ds', 'fs', 'gs'],
  cr: ['cr0', 'cr1', 'cr2', 'cr3', 'cr4'],
  dr: ['dr0', 'dr1', 'dr2', 'dr3', 'dr4', 'dr5', 'dr6', 'dr7'],
};
export const regName = (r: Reg): string => NAMES[r.cls][r.num] ?? `${r.cls}#${r.num}`;
export const gprName = (n: number): string => R32[n] ?? `r${n}`;

export const imm = (value: number): Imm => ({ kind: 'imm', value });
/** The address of a symbol (plus a constant) as an immediate. */
export const addr = (name: string, addend = 0): Imm => ({ kind: 'imm', value: addend, sym: { name } });
/** The distance between two symbols (plus a constant) as an immediate. */
export const diff = (name: string, minus: string, addend = 0): Imm => ({ kind: 'imm', value: addend, sym: { name, minus } });

/** Parts of a memory operand: registers (the first is the base, the second or a scaled one the index), numbers and symbols are added up. */
export type MemPart = Reg | number | Imm | readonly [Reg, 1 | 2 | 4 | 8];
export function mem(size: number, ...parts: readonly MemPart[]): Mem {
  let base = -1, index = -1, scale = 1, disp = 0;
  let sym: SymRef | undefined;
  for (const p of parts) {
    if (typeof p === 'number') disp = (disp + p) | 0;
    else if (Array.isArray(p)) {
      const [r, s] = p as readonly [Reg, 1 | 2 | 4 | 8];
      if (index >= 0 || r.num === 4) throw new Error('memory operand: a second or impossible index register');
      index = r.num;
      scale = s;
    } else if ((p as Imm).kind === 'imm') {
      disp = (disp + (p as Imm).value) | 0;
      sym = (p as Imm).sym ?? sym;
    } else {
      const r = p as Reg;
      if (r.cls !== 'r32') throw new Error(`memory operand: ${regName(r)} is not a 32-bit register`);
      if (base < 0) base = r.num;
      else if (index < 0 && r.num !== 4) index = r.num;
      else throw new Error('memory operand: too many registers');
    }
  }
  return sym === undefined ? { kind: 'mem', size, base, index, scale, disp } : { kind: 'mem', size, base, index, scale, disp, sym };
}
export const byte = (...p: readonly MemPart[]): Mem => mem(1, ...p);
export const word = (...p: readonly MemPart[]): Mem => mem(2, ...p);
export const dword = (...p: readonly MemPart[]): Mem => mem(4, ...p);
export const qword = (...p: readonly MemPart[]): Mem => mem(8, ...p);
export const ptr = (...p: readonly MemPart[]): Mem => mem(0, ...p);
/** The same operand with a segment override. */
export const seg = (s: Reg, m: Mem): Mem => ({ ...m, seg: s.num });
