/**
 * The decoder: bytes -> `Insn`, an instruction with resolved operands. It knows nothing of execution; tier 0 turns an Insn
 * into a 32-byte record, tier 1 into IR with constant operands, the disassembler into text.
 *
 * `decode` returns null when the bytes end before the instruction does: the caller decides whether that is a page boundary
 * (fetch on) or a fault. Undefined encodings decode to the entry `UNDEFINED`, whose helper raises #UD.
 */
import { ENTRIES, EXACT, MAPS, PAUSE, X87, type Entry, type Slot } from './entries.ts';
import { MODE } from '../state.ts';

export type Operand =
  /** General register; size 8 uses the AL..BH numbering. */
  | { readonly c: 'R'; readonly size: number; readonly reg: number }
  /** Memory: base/index -1 = none; `seg` resolved (default or override). */
  | { readonly c: 'M'; readonly size: number; readonly base: number; readonly index: number; readonly scale: number; readonly disp: number; readonly seg: number }
  | { readonly c: 'I'; readonly size: number; readonly value: number }
  /** Branch displacement relative to the next instruction. */
  | { readonly c: 'J'; readonly size: number; readonly value: number }
  /** CL as a shift count. */
  | { readonly c: 'C'; readonly size: number }
  /** XMM register. */
  | { readonly c: 'V'; readonly size: number; readonly reg: number }
  /** MMX register. */
  | { readonly c: 'P'; readonly size: number; readonly reg: number }
  /** x87 register ST(reg), and the top of the stack. */
  | { readonly c: 'T'; readonly size: number; readonly reg: number }
  | { readonly c: 'U'; readonly size: number }
  /** Segment, control or debug register number; far pointer. */
  | { readonly c: 'S'; readonly size: number; readonly reg: number }
  | { readonly c: 'A'; readonly size: number; readonly value: number; readonly selector: number };

export interface Insn {
  readonly entry: Entry;
  /** Operand size of the operation in bits: 8, 16, 32. */
  readonly size: number;
  /** 16 or 32 by prefix and mode. */
  readonly operandSize: number;
  readonly length: number;
  readonly ops: readonly Operand[];
  readonly rep: 0 | 0xf2 | 0xf3;
  readonly lock: boolean;
  readonly addr16: boolean;
  /** Segment of implicit memory operands (string source, XLAT): override or DS. */
  readonly seg: number;
  /** Last opcode byte and ModRM byte (x87 and friends). */
  readonly opcode: number;
  readonly modrm: number;
}

let POP_BY_STACK_POINTER: Entry | undefined;
const internal = (name: string): Entry => {
  const entry: Entry = { index: ENTRIES.length, name, opcode: '', feature: 'base', operands: [], kills: 0, writes: 0, reads: 0, lock: false, end: true, js: true, stack: false,
    rare: false, fault: true, str: false, sse: false, fpu: false, mmx: false, norep: false, no66: false, fixedSize: 0, hasModrm: false, mod: '' };
  ENTRIES.push(entry);
  return entry;
};
export const UNDEFINED = internal('undefined');
export const TOO_LONG = internal('too_long');
/** What `insn` is on a CPU that does not have it. */
export const asUndefined = (insn: Insn): Insn => ({ ...insn, entry: UNDEFINED, ops: [], rep: 0, lock: false });

/** Of the instruction being decoded. What is kept is a copy of just its length: an array that grew by `push` has room for seventeen. */
const OPERANDS: Operand[] = [];
const BASES16 = [[3, 6], [3, 7], [5, 6], [5, 7], [6, -1], [7, -1], [5, -1], [3, -1]];

export function decode(bytes: Uint8Array, start: number, end: number, mode: number): Insn | null {
  const code32 = (mode & MODE.CODE32) !== 0;
  const limit = Math.min(end, start + 15);
  const short = end < start + 15;
  let at = start, operand16 = !code32, addr16 = !code32, seg = -1, rep: 0 | 0xf2 | 0xf3 = 0, lock = false, has66 = false;
  const bad = (entry: Entry): Insn => ({ entry, size: 32, operandSize: operand16 ? 16 : 32, length: Math.min(15, Math.max(1, at - start)), ops: [], rep: 0, lock: false, addr16, seg: 3, opcode: 0, modrm: 0 });
  const tooLong = (): Insn | null => short ? null : bad(TOO_LONG);

  let byte = 0;
  for (;;) {
    if (at >= limit) return tooLong();
    byte = bytes[at++];
    if (byte === 0x66) { operand16 = code32; has66 = true; }
    else if (byte === 0x67) addr16 = code32;
    else if (byte === 0xf2 || byte === 0xf3) rep = byte;
    else if (byte === 0xf0) lock = true;
    else if (byte === 0x2e) seg = 1;
    else if (byte === 0x36) seg = 2;
    else if (byte === 0x3e) seg = 3;
    else if (byte === 0x26) seg = 0;
    else if (byte === 0x64) seg = 4;
    else if (byte === 0x65) seg = 5;
    else break;
  }
  let slot: Slot;
  let opcode = byte;
  if (byte === 0x0f) {
    if (at >= limit) return tooLong();
    opcode = bytes[at++];
    const two = MAPS.two;
    slot = (rep === 0xf2 ? two.F2[opcode] : rep === 0xf3 ? two.F3[opcode] : undefined) ?? (has66 ? two['66'][opcode] : undefined);
    // A mandatory prefix picks its own row; otherwise it is an ordinary (ignored) prefix of the plain row, but not of SSE rows.
    if (slot === undefined) {
      slot = two.none[opcode];
      if (slot && !Array.isArray(slot) && (slot.sse || slot.mmx) && (rep || has66)) slot = undefined;
    }
  } else if (byte >= 0xd8 && byte <= 0xdf) {
    if (at >= limit) return tooLong();
    const next = bytes[at], group = X87[byte & 7];
    slot = next < 0xc0 ? group.memory[next >> 3 & 7] : group.register[next - 0xc0];
    if (slot === undefined) { at++; return bad(UNDEFINED); }
  } else slot = byte === 0x90 && rep === 0xf3 ? PAUSE : MAPS.one[byte];

  let modrm = 0;
  if (Array.isArray(slot)) {
    if (at >= limit) return tooLong();
    const next = bytes[at];
    let found = slot[next >> 3 & 7];
    if (byte === 0x0f) {
      // With a prefix that picks other rows of this group only, the plain ones stay.
      if (found === undefined && has66) { const plain = MAPS.two.none[opcode]; if (Array.isArray(plain)) found = plain[next >> 3 & 7]; }
      found = EXACT.get(opcode << 8 | next) ?? found;
    }
    if (found?.other && found.mod === (next < 0xc0 ? 'r' : 'm')) found = found.other;
    slot = found;
    if (slot === undefined) { at++; return bad(UNDEFINED); }
  }
  if (slot === undefined) return bad(UNDEFINED);
  let entry: Entry = slot as Entry;
  if ((rep && (entry.norep || (entry.mmx && Array.isArray(MAPS.two.none[opcode])))) || (has66 && entry.no66)) return bad(UNDEFINED);
  const operandSize = operand16 ? 16 : 32;
  let rmOperand: { base: number; index: number; scale: number; disp: number; seg: number } | null = null;
  if (entry.hasModrm) {
    if (at >= limit) return tooLong();
    modrm = bytes[at++];
    const mod = modrm >> 6, rm = modrm & 7;
    if (mod !== 3 && !entry.operands.some(({ kind }) => kind === 'R' || kind === 'N' || kind === 'H')) {
      let base = -1, index = -1, scale = 0, disp = 0, dispBytes = mod === 1 ? 1 : mod === 2 ? (addr16 ? 2 : 4) : 0;
      if (addr16) {
        [base, index] = BASES16[rm];
        if (mod === 0 && rm === 6) { base = -1; dispBytes = 2; }
      } else {
        base = rm;
        if (rm === 4) {
          if (at >= limit) return tooLong();
          const sib = bytes[at++];
          scale = sib >> 6; index = sib >> 3 & 7; base = sib & 7;
          if (index === 4) { index = -1; scale = 0; }
          if (base === 5 && mod === 0) { base = -1; dispBytes = 4; }
        } else if (rm === 5 && mod === 0) { base = -1; dispBytes = 4; }
      }
      if (at + dispBytes > limit) return tooLong();
      if (dispBytes === 1) disp = bytes[at] << 24 >> 24;
      else if (dispBytes === 2) disp = (bytes[at] | bytes[at + 1] << 8) << 16 >> 16;
      else if (dispBytes === 4) disp = bytes[at] | bytes[at + 1] << 8 | bytes[at + 2] << 16 | bytes[at + 3] << 24;
      at += dispBytes;
      rmOperand = { base, index, scale, disp, seg: seg >= 0 ? seg : base === 4 || base === 5 ? 2 : 3 };
      if (entry.mod === 'r') return bad(UNDEFINED);
    } else if (entry.mod === 'm') return bad(UNDEFINED);
  }

  const found = OPERANDS;
  let count = 0;
  for (const { kind, size } of entry.operands) {
    const bits = size === 'b' ? 8 : size === 'w' ? 16 : size === 'd' ? 32 : size === 'q' ? 64 : size === 'x' ? 128 : size === 't' ? 80 : size === 'y' ? 0 : operandSize;
    const reg = modrm >> 3 & 7;
    switch (kind) {
      case 'E': case 'M': case 'W':
        if (rmOperand) found[count++] = { c: 'M', size: bits, ...rmOperand };
        else if (kind === 'W') found[count++] = { c: 'V', size: bits, reg: modrm & 7 };
        else found[count++] = { c: 'R', size: bits || 32, reg: modrm & 7 };
        break;
      case 'G': found[count++] = { c: 'R', size: bits, reg }; break;
      case 'R': found[count++] = { c: 'R', size: 32, reg: modrm & 7 }; break;
      case 'Z': found[count++] = { c: 'R', size: bits, reg: opcode & 7 }; break;
      case 'V': found[count++] = { c: 'V', size: bits, reg }; break;
      case 'N': if (modrm >> 6 !== 3) return bad(UNDEFINED); found[count++] = { c: 'V', size: bits, reg: modrm & 7 }; break;
      case 'S': case 'C': case 'D': found[count++] = { c: 'S', size: 16, reg }; break;
      case 'H': if (modrm >> 6 !== 3) return bad(UNDEFINED); found[count++] = { c: 'P', size: bits, reg: modrm & 7 }; break;
      case 'P': found[count++] = { c: 'P', size: bits, reg }; break;
      case 'Q':
        if (rmOperand) found[count++] = { c: 'M', size: bits, ...rmOperand }; else found[count++] = { c: 'P', size: bits, reg: modrm & 7 };
        break;
      case 'T': found[count++] = { c: 'T', size: 80, reg: modrm & 7 }; break;
      case 'T0': found[count++] = { c: 'U', size: 80 }; break;
      case 'AX': found[count++] = { c: 'R', size: 16, reg: 0 }; break;
      case 'AL': found[count++] = { c: 'R', size: 8, reg: 0 }; break;
      case 'eAX': found[count++] = { c: 'R', size: operandSize, reg: 0 }; break;
      case 'DX': found[count++] = { c: 'R', size: 16, reg: 2 }; break;
      case 'CL': found[count++] = { c: 'C', size: 8 }; break;
      case '1': case '3': found[count++] = { c: 'I', size: 8, value: Number(kind) }; break;
      case 'I': case 'J': {
        const width = size === 'b' || size === 'bs' ? 1 : bits >> 3;
        if (at + width > limit) return tooLong();
        let value = width === 1 ? bytes[at] << 24 >> 24 : width === 2 ? (bytes[at] | bytes[at + 1] << 8) << 16 >> 16
          : bytes[at] | bytes[at + 1] << 8 | bytes[at + 2] << 16 | bytes[at + 3] << 24;
        if (kind === 'I') { if (bits === 8) value &= 0xff; else if (bits === 16) value &= 0xffff; }
        at += width;
        found[count++] = { c: kind, size: kind === 'J' ? operandSize : bits, value };
        break;
      }
      case 'O': {
        const width = addr16 ? 2 : 4;
        if (at + width > limit) return tooLong();
        const disp = width === 2 ? bytes[at] | bytes[at + 1] << 8 : bytes[at] | bytes[at + 1] << 8 | bytes[at + 2] << 16 | bytes[at + 3] << 24;
        at += width;
        found[count++] = { c: 'M', size: bits, base: -1, index: -1, scale: 0, disp, seg: seg >= 0 ? seg : 3 };
        break;
      }
      case 'A': {
        const width = operand16 ? 4 : 6;
        if (at + width > limit) return tooLong();
        const value = operand16 ? bytes[at] | bytes[at + 1] << 8 : bytes[at] | bytes[at + 1] << 8 | bytes[at + 2] << 16 | bytes[at + 3] << 24;
        at += width;
        found[count++] = { c: 'A', size: operandSize, value, selector: bytes[at - 2] | bytes[at - 1] << 8 };
        break;
      }
      default: throw new Error(`operand kind ${kind} of ${entry.name}`);
    }
  }
  if (entry.name === 'enter') {
    if (at + 3 > limit) return tooLong();
    found[count++] = { c: 'I', size: 16, value: bytes[at] | bytes[at + 1] << 8 };
    found[count++] = { c: 'I', size: 8, value: bytes[at + 2] };
    at += 3;
  }
  const ops = found.slice(0, count);
  if (lock && !(entry.lock && ops[0]?.c === 'M')) return bad(UNDEFINED);
  if ((entry.name === 'mov_to_seg') && (ops[0].c === 'S') && (ops[0].reg === 1 || ops[0].reg > 5)) return bad(UNDEFINED);
  if ((entry.name === 'mov_from_seg') && (ops[1].c === 'S') && ops[1].reg > 5) return bad(UNDEFINED);
  if (entry.name === 'mov_from_cr' && ops[1].c === 'S' && ops[1].reg !== 0 && (ops[1].reg === 1 || ops[1].reg > 4)) return bad(UNDEFINED);
  if (entry.name === 'mov_to_cr' && ops[0].c === 'S' && (ops[0].reg === 1 || ops[0].reg > 4)) return bad(UNDEFINED);
  const first = ops[0];
  // POP to an address formed with ESP uses the ESP behind the pop, which must not show when the store faults.
  if (entry.name === 'pop_e' && first.c === 'M' && first.base === 4) entry = POP_BY_STACK_POINTER ??= { ...entry, js: true, end: true, fault: true };
  const size = entry.fixedSize || (first && (first.c === 'R' || first.c === 'M') && (first.size === 8 || first.size === 16 || first.size === 32) ? first.size : operandSize);
  return { entry, size, operandSize, length: at - start, ops, rep, lock, addr16, seg: seg >= 0 ? seg : 3, opcode, modrm };
}
