/**
 * One case under construction: registers, flags, memory patches and the bytes of the snippet.
 *
 * The instruction bytes are laid out here from the SDM's opcode notation (vol. 2, chapters 3-5) and not from the emulator's own
 * instruction table, so that an error in that table cannot hide in the test data. `check.ts` compares every snippet with a
 * third party's decoder (iced-x86) before anything is captured.
 *
 * Every choice comes from one seeded generator: the same seed gives the same cases, bit for bit.
 */
import { DATA, DATA_BYTES, DEFAULT_MXCSR, EBP, ESP, FLAG, HOLE, LOW, LOW_BYTES, READ_ONLY, SNIPPET, STACK } from '../environment.ts';

/** xorshift128 (Marsaglia 2003), seeded through a Weyl sequence. */
export class Random {
  #s = new Uint32Array(4);
  constructor(seed: number) {
    for (let i = 0, x = seed | 0; i < 4; i++) { x = (x + 0x9e3779b9) | 0; let z = x; z = Math.imul(z ^ (z >>> 16), 0x85ebca6b); z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35); this.#s[i] = (z ^ (z >>> 16)) | 1; }
  }
  u32(): number {
    const s = this.#s;
    let t = s[3]!; const a = s[0]!;
    s[3] = s[2]!; s[2] = s[1]!; s[1] = a;
    t ^= t << 11; t ^= t >>> 8;
    s[0] = t ^ a ^ (a >>> 19);
    return s[0]!;
  }
  below(n: number): number { return Math.floor(this.u32() / 4294967296 * n); }
  chance(percent: number): boolean { return this.below(100) < percent; }
  pick<T>(list: readonly T[]): T { return list[this.below(list.length)]!; }
}

export type Size = 8 | 16 | 32;
export const SIZES: readonly Size[] = [8, 16, 32];
export const maskOf = (size: Size): number => size === 32 ? 0xffffffff : (1 << size) - 1;

const EDGES: Record<Size, readonly number[]> = {
  8: [0, 1, 2, 0x0f, 0x10, 0x55, 0x7e, 0x7f, 0x80, 0x81, 0xaa, 0xf0, 0xfe, 0xff],
  16: [0, 1, 2, 0x0f, 0x10, 0x7f, 0x80, 0xff, 0x100, 0x5555, 0x7ffe, 0x7fff, 0x8000, 0x8001, 0xaaaa, 0xff00, 0xff7f, 0xfffe, 0xffff],
  32: [0, 1, 2, 0x0f, 0x10, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x10000, 0x55555555, 0x7ffffffe, 0x7fffffff, 0x80000000, 0x80000001, 0xaaaaaaaa, 0xffff0000, 0xffff8000, 0xffffff7f, 0xfffffffe, 0xffffffff],
};
/** Three operands in four are edge values, the rest uniform. */
export function operand(r: Random, size: Size): number {
  return r.chance(72) ? r.pick(EDGES[size]) : r.u32() & maskOf(size) & -1;
}

export const bytes16 = (v: number): number[] => [v & 255, (v >>> 8) & 255];
export const bytes32 = (v: number): number[] => [v & 255, (v >>> 8) & 255, (v >>> 16) & 255, v >>> 24];
export const littleEndian = (v: number, size: Size): number[] => bytes32(v).slice(0, size / 8);

/** Registers nobody sets: each byte of each register is different, so a swapped byte or register shows. */
const BACKGROUND = [0xa0a1a2a3, 0xc4c5c6c7, 0xd8d9dadb, 0xb3b2b1b0, STACK, 0xe5e4e7e6, 0x91929394, 0x0f1e2d3c];

export interface Patch { addr: number; bytes: number[] }

export class Scene {
  readonly r: Random;
  readonly regs = Uint32Array.from(BACKGROUND);
  eflags = 0x202;
  mxcsr = DEFAULT_MXCSR;
  codeAddr = SNIPPET;
  code: number[] = [];
  patches: Patch[] = [];
  xmm: Uint8Array | null = null;
  fpu: Uint8Array | null = null;
  /** Status flags the SDM leaves undefined for exactly this case, and registers likewise (bit per register number). */
  undefinedFlags = 0;
  undefinedRegs = 0;
  /** A faulting multi-store instruction (ENTER, PUSHA, far CALL) may have stored part of it, and may meet its bytes in any order (CR2), by processor model. */
  undefinedMemory = false;
  /** The case is kept only if the CPU ends it with this vector: the generator asks what is undefined, and only the CPU knows what it has. */
  onlyTrap: number | null = null;
  /** Set when the chosen operand faults by design; a generator may then drop its expectations about memory. */
  faulting = false;
  constructor(r: Random) {
    this.r = r;
    const f = r.u32();
    for (const bit of [FLAG.CF, FLAG.PF, FLAG.AF, FLAG.ZF, FLAG.SF, FLAG.OF]) if (f & bit) this.eflags |= bit;
  }
  flag(bit: number, on: boolean): this { this.eflags = on ? this.eflags | bit : this.eflags & ~bit; return this; }

  setReg(n: number, size: Size, v: number): void {
    if (size === 32) this.regs[n] = v;
    else if (size === 16) this.regs[n] = (this.regs[n]! & 0xffff0000) | (v & 0xffff);
    else if (n < 4) this.regs[n] = (this.regs[n]! & ~0xff) | (v & 0xff);
    else this.regs[n - 4] = (this.regs[n - 4]! & ~0xff00) | ((v & 0xff) << 8);
  }
  getReg(n: number, size: Size): number {
    if (size === 8) return n < 4 ? this.regs[n]! & 255 : (this.regs[n - 4]! >>> 8) & 255;
    return size === 16 ? this.regs[n]! & 0xffff : this.regs[n]!;
  }
  poke(addr: number, bytes: number[]): void {
    const end = addr + bytes.length;
    if (!(addr >= LOW && end <= LOW + LOW_BYTES) && !(addr >= DATA && end <= HOLE)) throw new RangeError(`patch at ${addr.toString(16)} lies outside the windows`);
    this.patches.push({ addr, bytes });
  }

  /** Where a memory operand of `size` bytes lies: usually inside the data window, sometimes on an edge that matters. */
  place(bytes: number, options: { low?: boolean; faults?: boolean; align?: number } = {}): number {
    const r = this.r, align = options.align ?? 1;
    const at = (a: number): number => a - a % align;
    if (options.low) return r.chance(10) ? at(0x10000 - 1 - r.below(bytes)) : at(LOW + 0x200 + r.below(0x600));
    const dice = r.below(100);
    if (options.faults !== false && dice < 12) {
      this.faulting = true;
      if (dice < 4) return at(READ_ONLY + 0x100 + r.below(0x100));
      if (dice < 8) return at(HOLE + r.below(0x100));
      if (bytes > 1 && align < bytes) return HOLE - 1 - r.below(bytes - 1);
      return at(HOLE + 0xffc);
    }
    if (dice < 22 && bytes > 1 && align < bytes) return DATA + 0x1000 - 1 - r.below(bytes - 1);
    if (dice < 24) return at(DATA + DATA_BYTES - bytes);
    if (dice < 26) return at(LOW + 0x40 + r.below(0x100));
    return at(DATA + 0x100 + r.below(0x60));
  }

  /**
   * ModRM, SIB and displacement that address `ea` with `reg` in the reg field; base and index registers get fitting values.
   * `keep` lists registers whose values are operands already.
   */
  memory(reg: number, ea: number, keep: readonly number[], mode?: Mode32): number[] {
    const r = this.r, free = (not: readonly number[]): number[] => [0, 1, 2, 3, 4, 5, 6, 7].filter(n => !keep.includes(n) && !not.includes(n));
    const m = mode ?? r.pick(MODES32);
    const modrm = (mod: number, rm: number): number => mod << 6 | reg << 3 | rm;
    const disp8 = (r.u32() << 24) >> 24;
    if (m === 'disp32') return [modrm(0, 5), ...bytes32(ea)];
    if (m === 'base' || m === 'base+disp8' || m === 'base+disp32') {
      const candidates = free(m === 'base' ? [ESP, EBP] : [ESP]);
      if (candidates.length === 0) return [modrm(0, 5), ...bytes32(ea)];
      const base = r.pick(candidates);
      if (m === 'base') { this.regs[base] = ea; return [modrm(0, base)]; }
      if (m === 'base+disp8') { this.regs[base] = ea - disp8; return [modrm(1, base), disp8 & 255]; }
      const d = r.chance(50) ? r.u32() : operand(r, 32);
      this.regs[base] = ea - d;
      return [modrm(2, base), ...bytes32(d)];
    }
    const sib = (scale: number, index: number, base: number): number => scale << 6 | index << 3 | base;
    const scale = r.below(4);
    if (m === 'sib no index') {
      const candidates = free([EBP]);
      if (candidates.length === 0) return [modrm(0, 5), ...bytes32(ea)];
      const base = r.pick(candidates);
      this.regs[base] = ea;
      return [modrm(0, 4), sib(scale, 4, base)];
    }
    const indices = free([ESP]);
    if (indices.length === 0) return [modrm(0, 5), ...bytes32(ea)];
    const index = r.pick(indices);
    const value = r.chance(50) ? r.u32() : r.below(64);
    if (m === 'sib no base') {
      this.regs[index] = value;
      return [modrm(0, 4), sib(scale, index, 5), ...bytes32(ea - (value << scale))];
    }
    const bases = free(m === 'sib' ? [EBP, index] : [index]);
    if (bases.length === 0) { this.regs[index] = value; return [modrm(0, 4), sib(scale, index, 5), ...bytes32(ea - (value << scale))]; }
    const base = r.pick(bases);
    this.regs[index] = value;
    const rest = ea - (value << scale);
    if (m === 'sib') { this.regs[base] = rest; return [modrm(0, 4), sib(scale, index, base)]; }
    if (m === 'sib+disp8') { this.regs[base] = rest - disp8; return [modrm(1, 4), sib(scale, index, base), disp8 & 255]; }
    const d = r.u32();
    this.regs[base] = rest - d;
    return [modrm(2, 4), sib(scale, index, base), ...bytes32(d)];
  }

  /** The 16-bit form (address-size prefix 67h is the caller's): `ea` below 64 KiB; upper register halves must not matter. */
  memory16(reg: number, ea: number, keep: readonly number[]): number[] {
    const r = this.r;
    const pairs = [[3, 6], [3, 7], [5, 6], [5, 7], [6], [7], [5], [3]];
    const usable = pairs.map((p, i) => i).filter(i => !pairs[i]!.some(n => keep.includes(n)));
    const direct = (): number[] => [reg << 3 | 6, ...bytes16(ea)];
    if (usable.length === 0 || r.chance(10)) return direct();
    const rm = r.pick(usable), mod = r.below(3);
    if (mod === 0 && rm === 6) return direct();
    const disp = mod === 0 ? 0 : mod === 1 ? (r.u32() << 24) >> 24 : r.u32() & 0xffff;
    const [a, b] = pairs[rm]!;
    const set = (n: number, v: number): void => { this.regs[n] = (r.u32() << 16) | (v & 0xffff); };
    if (b === undefined) set(a!, ea - disp);
    else { const v = r.u32() & 0xffff; set(b, v); set(a!, ea - disp - v); }
    return [mod << 6 | reg << 3 | rm, ...(mod === 0 ? [] : mod === 1 ? [disp & 255] : bytes16(disp))];
  }
}

export const MODES32 = ['disp32', 'base', 'base+disp8', 'base+disp32', 'sib', 'sib+disp8', 'sib+disp32', 'sib no base', 'sib no index'] as const;
export type Mode32 = typeof MODES32[number];

/** Which whole registers an operand register of this size lives in. */
export const wholeOf = (n: number, size: Size): number => size === 8 ? n & 3 : n;

export interface RmSpec {
  opcode: readonly number[];
  /** Operand size; 66h is put in front for 16. */
  size: Size;
  /** Opcode extension for the reg field; absent: a register operand goes there. */
  ext?: number;
  /** Size of the register operand when it differs from `size` (movzx). */
  regSize?: Size;
  rmSize?: Size;
  prefix?: readonly number[];
}
export interface RmValues {
  rm?: number; reg?: number; imm?: readonly number[];
  /** Registers that hold implicit operands and must not become addresses. */
  keep?: readonly number[];
  /** Register numbers not to be chosen for the operands. */
  not?: readonly number[];
  memory: boolean;
  low?: boolean; faults?: boolean; align?: number;
  /** Address instead of a chosen one. */
  ea?: number; rmBytes?: number;
}
export interface RmChoice { rm: number; reg: number; ea: number }

/** Append one instruction with a ModRM byte, its operands set up; says which registers and which address were chosen. */
export function emitRm(s: Scene, spec: RmSpec, v: RmValues): RmChoice {
  const r = s.r, rmSize = spec.rmSize ?? spec.size, regSize = spec.regSize ?? spec.size;
  const allowed = (size: Size): number[] => [0, 1, 2, 3, 4, 5, 6, 7].filter(n => !(v.not ?? []).includes(wholeOf(n, size)));
  const reg = spec.ext ?? r.pick(allowed(regSize));
  const code: number[] = [...(spec.prefix ?? [])];
  if (spec.size === 16) code.push(0x66);
  if (spec.ext === undefined && v.reg !== undefined) s.setReg(reg, regSize, v.reg);
  let rm = -1, ea = 0;
  if (v.memory) {
    const keep = [...(v.keep ?? [])];
    if (spec.ext === undefined && v.reg !== undefined) keep.push(wholeOf(reg, regSize));
    ea = v.ea ?? s.place(v.rmBytes ?? rmSize / 8, { low: v.low ?? false, faults: v.faults ?? true, align: v.align ?? 1 });
    const tail = v.low ? s.memory16(reg, ea, keep) : s.memory(reg, ea, keep);
    if (v.low) code.push(0x67);
    if (v.rm !== undefined && !s.faulting) s.poke(ea, littleEndian(v.rm, rmSize));
    code.push(...spec.opcode, ...tail);
  } else {
    rm = r.pick(allowed(rmSize));
    if (v.rm !== undefined) s.setReg(rm, rmSize, v.rm);
    code.push(...spec.opcode, 0xc0 | reg << 3 | rm);
  }
  s.code.push(...code, ...(v.imm ?? []));
  return { rm, reg, ea };
}
