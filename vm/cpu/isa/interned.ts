/**
 * Instructions by content: most instructions of a program have been seen before, and an `Insn` says nothing about its place. Finding one
 * costs a hash and a comparison of at most twelve bytes, decoding ten times that, most of it garbage.
 */
import { decode, type Insn } from './decode.ts';

const SLOTS = 8192;
const LONGEST = 12;

interface Known { readonly insn: Insn; readonly mode: number; readonly first: number; readonly second: number; readonly third: number }

const known = new Array<Known | undefined>(SLOTS).fill(undefined);
const word = (bytes: Uint8Array, at: number): number => bytes[at] | bytes[at + 1] << 8 | bytes[at + 2] << 16 | bytes[at + 3] << 24;
/** Of the word that begins `at` bytes into the instruction: the bytes that belong to it. */
const within = (length: number, at: number): number => length >= at + 4 ? -1 : length <= at ? 0 : (1 << (length - at) * 8) - 1;

/** `decode`, with the same answer. Slots are by the first four bytes: those of a longer instruction with another immediate are replaced. */
export function decodeKnown(bytes: Uint8Array, start: number, end: number, mode: number): Insn | null {
  if (end - start < LONGEST) return decode(bytes, start, end, mode);
  const first = word(bytes, start);
  const short = known[slotOf(first & 0xffff, mode)];
  if (short !== undefined && short.mode === mode && short.insn.length <= 2 && ((short.first ^ first) & within(short.insn.length, 0)) === 0) return short.insn;
  const slot = slotOf(first, mode), found = known[slot];
  if (found !== undefined && found.mode === mode) {
    const { length } = found.insn;
    if (((found.first ^ first) & within(length, 0)) === 0 && (length <= 4 || ((found.second ^ word(bytes, start + 4)) & within(length, 4)) === 0
      && (length <= 8 || ((found.third ^ word(bytes, start + 8)) & within(length, 8)) === 0))) return found.insn;
  }
  const insn = decode(bytes, start, end, mode);
  if (insn === null || insn.length > LONGEST) return insn;
  known[insn.length <= 2 ? slotOf(first & 0xffff, mode) : slot] = { insn, mode, first, second: word(bytes, start + 4), third: word(bytes, start + 8) };
  return insn;
}

const slotOf = (first: number, mode: number): number => (Math.imul(first, 0x9e3779b1) ^ Math.imul(mode, 0x85ebca6b)) >>> 19;
