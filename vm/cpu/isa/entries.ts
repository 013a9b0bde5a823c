/**
 * The instruction table parsed: rows of table.ts become `Entry` objects and the lookup maps the decoder indexes.
 */
import { featureOf, type Feature } from './models.ts';
import { ROWS } from './table.ts';

/** Flag letters as bits of a liveness mask. */
export const FLAGS_ALL = 63;
const FLAG_BITS: Record<string, number> = { O: 1, S: 2, Z: 4, A: 8, P: 16, C: 32 };

export interface OperandSpec {
  /** Addressing letter of the legend, or a fixed register name. */
  readonly kind: string;
  /** b w d q t x v bs p y, or '' for constants. */
  readonly size: string;
}

export interface Entry {
  readonly index: number;
  readonly name: string;
  /** As the table has it. */
  readonly opcode: string;
  /** What a CPU model needs to have it. */
  readonly feature: Feature;
  readonly operands: readonly OperandSpec[];
  /** Flags certainly overwritten, flags possibly written, flags read. */
  readonly kills: number;
  readonly writes: number;
  readonly reads: number;
  readonly lock: boolean;
  readonly end: boolean;
  readonly js: boolean;
  readonly stack: boolean;
  readonly rare: boolean;
  /** May raise an exception without a memory operand: CR0.TS and EM, pending and unmasked floating-point exceptions among the reasons. Someone then sees the flags before it. */
  readonly fault: boolean;
  readonly str: boolean;
  readonly sse: boolean;
  readonly fpu: boolean;
  readonly mmx: boolean;
  /** Prefixes that make it undefined: F2 and F3, and 66. */
  readonly norep: boolean;
  readonly no66: boolean;
  /** Operand size fixed to 8, 16 or 32; 0 = by prefix. */
  readonly fixedSize: 0 | 8 | 16 | 32;
  readonly hasModrm: boolean;
  /** '' any, 'm' memory only, 'r' register only. */
  readonly mod: string;
  /** The row with the same opcode and extension for the other kind of operand. */
  other?: Entry;
}

const MODRM_KINDS = new Set(['E', 'G', 'M', 'S', 'C', 'D', 'V', 'W', 'N', 'H', 'R', 'P', 'Q']);
const FIXED = new Set(['AL', 'AX', 'eAX', 'DX', 'CL', '1', '3', 'T0']);

function operandSpec(text: string): OperandSpec {
  if (FIXED.has(text)) return { kind: text, size: text === 'eAX' ? 'v' : text === 'DX' || text === 'AX' ? 'w' : text === 'T0' ? 't' : 'b' };
  return { kind: text[0], size: text.slice(1) };
}

const flagMask = (text: string): number => [...text].reduce((mask, letter) => mask | (FLAG_BITS[letter] ?? 0), 0);

/** One slot of a map: an entry, or eight entries by ModRM.reg. */
export type Slot = Entry | (Entry | undefined)[] | undefined;
/** Maps by mandatory prefix (none 66 F2 F3) for 0F opcodes; `one` for one-byte opcodes. */
export const MAPS: { readonly one: Slot[]; readonly two: Record<'none' | '66' | 'F2' | 'F3', Slot[]> } = {
  one: new Array<Slot>(256), two: { none: new Array<Slot>(256), 66: new Array<Slot>(256), F2: new Array<Slot>(256), F3: new Array<Slot>(256) },
};
/** 0F opcodes whose ModRM byte is part of the opcode, by opcode << 8 | ModRM. */
export const EXACT = new Map<number, Entry>();
/** D8..DF: by ModRM.reg of a memory form, by ModRM - C0h of a register form. */
export const X87: { readonly memory: (Entry | undefined)[]; readonly register: (Entry | undefined)[] }[] =
  Array.from({ length: 8 }, () => ({ memory: new Array<Entry | undefined>(8), register: new Array<Entry | undefined>(64) }));
export const ENTRIES: Entry[] = [];
export let PAUSE: Entry;

for (const row of ROWS) {
  const [opcodeText, name, operandText, writtenText, readText, ...attributes] = row.split(/\s+/);
  const match = /^((?:66|F2|F3)?(?=0F|90$))?(0F)?([0-9A-F]{2})(?:\/(\d)|(\+r)|\.([0-9A-F]{2})(\+)?)?$/.exec(opcodeText);
  if (!match) throw new Error(`instruction table: bad opcode ${opcodeText}`);
  const [, prefix, two, byteText, digit, plus, modrm, eight] = match;
  const mod = /:([mr])$/.exec(operandText)?.[1] ?? '';
  const operands = operandText[0] === '-' ? [] : operandText.replace(/:[mr]$/, '').split(',').map(operandSpec);
  const has = (attribute: string): boolean => attributes.includes(attribute);
  const writes = writtenText === '-' ? 0 : flagMask(writtenText);
  const entry: Entry = {
    index: ENTRIES.length, name, opcode: opcodeText, feature: featureOf({ name, opcode: opcodeText, sse: has('sse'), mmx: has('mmx') }), operands, writes, kills: writtenText.endsWith('?') ? 0 : writes, reads: readText === '-' ? 0 : flagMask(readText),
    lock: has('lock'), end: has('end') || has('js'), js: has('js'), stack: has('stack'), rare: has('rare'), fault: has('fault') || has('js') || has('sse') || has('mmx') || has('fpu'),
    str: has('str'), sse: has('sse'), fpu: has('fpu'), mmx: has('mmx'), norep: has('np') || has('norep'), no66: has('np'), fixedSize: has('b') ? 8 : 0,
    hasModrm: digit !== undefined || modrm !== undefined || operands.some(({ kind }) => MODRM_KINDS.has(kind)), mod,
  };
  ENTRIES.push(entry);
  const byte = parseInt(byteText, 16);
  if (prefix === 'F3' && !two) { PAUSE = entry; continue; }
  if (byte >= 0xd8 && byte <= 0xdf && !two) {
    const group = X87[byte & 7];
    if (modrm === undefined) group.memory[Number(digit)] = entry;
    else for (let i = 0; i < (eight ? 8 : 1); i++) group.register[parseInt(modrm, 16) - 0xc0 + i] = entry;
    continue;
  }
  if (modrm !== undefined) { EXACT.set(byte << 8 | parseInt(modrm, 16), entry); continue; }
  const map = two ? MAPS.two[(prefix || 'none') as 'none'] : MAPS.one;
  if (digit !== undefined) {
    const slot = map[byte];
    const group = Array.isArray(slot) ? slot : [];
    const before = group[Number(digit)];
    if (before && before.mod !== entry.mod) before.other = entry; else group[Number(digit)] = entry;
    map[byte] = group;
  } else if (plus) {
    for (let r = 0; r < 8; r++) map[byte + r] ??= entry;
  } else map[byte] = entry;
}
