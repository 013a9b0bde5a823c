/**
 * Shapes: all that an instruction's record takes from the prefix, the opcode, ModRM and SIB, which is everything but the values of its
 * displacement and its immediate. Of a shape seen before, decoding is a look-up and two loads, without garbage: 30 ns instead of 600 in
 * `decode` and `BlockCache.emit`. It is also known where in the instruction the two values stand, so a store into one of them is a store
 * into its record, and no block dies of it (BlockCache.patch).
 *
 * A shape is learnt from what the decoder says of the first instruction that has it. There is none for instructions with two immediates, far
 * pointers, more than one prefix, 16-bit branches or undefined encodings, nor in 16-bit code: those take the long way each time.
 */
import { ENTRIES, MAPS, type Entry, type Slot } from './isa/entries.ts';
import { decode, TOO_LONG, UNDEFINED, type Insn } from './isa/decode.ts';
import { MODE } from './state.ts';

/** The longest instruction: how many bytes must be there to look. */
export const SHAPE_BYTES = 16;
const SLOTS = 4096, MAX_SHAPES = 1 << 15;

export interface Shape {
  readonly key: number;
  readonly mode: number;
  readonly length: number;
  readonly insn: Insn;
  /** Where the values begin in the instruction and how many bytes they have (0: none); the immediate is sign-extended, then masked. */
  readonly dispAt: number;
  readonly dispBytes: number;
  readonly immAt: number;
  readonly immBytes: number;
  readonly immMask: number;
  /** The immediate is a branch displacement. */
  readonly jump: boolean;
}

const PREFIX = new Uint8Array(256);
[0x66, 0xf2, 0xf3, 0xf0, 0x64, 0x65].forEach((byte, i) => { PREFIX[byte] = i + 1; });
const TWO = 1 << 24;
/** By prefix << 9 | two-byte << 8 | opcode: 0 no ModRM, 1 ModRM, 2 no shape. */
const MODRM = new Uint8Array(8 << 9).fill(2);
for (let prefix = 0; prefix <= 6; prefix++) {
  for (let opcode = 0; opcode < 256; opcode++) {
    const { two } = MAPS, own = prefix === 1 ? two['66'][opcode] : prefix === 2 ? two.F2[opcode] : prefix === 3 ? two.F3[opcode] : undefined;
    const has = (slot: Slot): number => slot === undefined ? 2 : Array.isArray(slot) || slot.hasModrm ? 1 : 0;
    MODRM[prefix << 9 | opcode] = opcode >= 0xd8 && opcode <= 0xdf ? 1 : has(MAPS.one[opcode]);
    MODRM[prefix << 9 | 256 | opcode] = has(own ?? two.none[opcode]);
  }
}

const hashOf = (key: number, mode: number): number => (Math.imul(key, 0x9e3779b1) ^ Math.imul(mode, 0x85ebca6b)) >>> 20;

/** Of one engine. `make`: what its owner adds, undefined when it can do nothing with the instruction. */
export class Shapes<T extends Shape> {
  private readonly make: (shape: Shape) => T | undefined;
  private slots: (T | null | undefined)[] = [];
  private readonly known = new Map<number, T | null>();
  /** Shapes learnt so far. */
  learnt = 0;
  constructor(make: (shape: Shape) => T | undefined) { this.make = make; }

  /** Shape of the instruction at `at`, behind which SHAPE_BYTES bytes can be read. */
  at(bytes: Uint8Array, at: number, mode: number): T | undefined {
    let byte = bytes[at], next = at + 1, key = 0;
    const prefix = PREFIX[byte];
    if (prefix !== 0) { byte = bytes[next++]; key = prefix << 25; }
    let kind = MODRM[prefix << 9 | byte];
    if (byte === 0x0f) { byte = bytes[next++]; key |= TWO; kind = MODRM[prefix << 9 | 256 | byte]; }
    if (kind === 2) return undefined;
    key |= byte;
    if (kind === 1) {
      const modrm = bytes[next];
      key |= modrm << 8;
      if ((modrm & 7) === 4 && modrm < 0xc0) key |= bytes[next + 1] << 16;
    }
    const slot = this.slots[hashOf(key, mode)];
    if (slot !== undefined && slot !== null && slot.key === key && slot.mode === mode) return slot;
    return this.find(key, mode, bytes, at, next) ?? undefined;
  }
  private find(key: number, mode: number, bytes: Uint8Array, at: number, behindOpcode: number): T | null {
    if (this.slots.length === 0) this.slots = new Array<T | null | undefined>(SLOTS).fill(undefined);
    const long = key * 512 + mode;
    let found = this.known.get(long);
    if (found === undefined) {
      if (this.known.size >= MAX_SHAPES) this.known.clear();
      const shape = shapeOf(key, mode, bytes, at, behindOpcode - at);
      this.known.set(long, found = (shape && this.make(shape)) ?? null);
      this.learnt++;
    }
    this.slots[hashOf(key, mode)] = found;
    return found;
  }
  clear(): void { this.slots = []; this.known.clear(); }
}

const countOf = (size: string, operandSize: number): number => size === 'b' || size === 'bs' ? 1 : size === 'w' ? 2 : size === 'd' ? 4 : operandSize >> 3;

/** `behindOpcode`: bytes of prefix and opcode. */
function shapeOf(key: number, mode: number, bytes: Uint8Array, at: number, behindOpcode: number): Shape | undefined {
  if (!(mode & MODE.CODE32)) return undefined;
  const insn = decode(bytes, at, at + SHAPE_BYTES, mode);
  if (!insn) return undefined;
  const { entry, ops, length } = insn;
  if (entry === UNDEFINED || entry === TOO_LONG || entry.name === 'enter' || insn.addr16) return undefined;
  const row = rowOf(entry);
  if (ops.some(({ c }) => c === 'A') || (insn.operandSize === 16 && ops.some(({ c }) => c === 'J'))) return undefined;
  const values = row.operands.filter(({ kind }) => kind === 'I' || kind === 'J');
  if (values.length > 1) return undefined;
  let immBytes = 0, immMask = -1, jump = false;
  if (values.length === 1) {
    const [{ kind, size }] = values;
    immBytes = countOf(size, insn.operandSize);
    jump = kind === 'J';
    const bits = ops[row.operands.indexOf(values[0])].size;
    if (!jump) immMask = bits === 8 ? 0xff : bits === 16 ? 0xffff : -1;
  }
  let dispAt = 0, dispBytes = 0;
  if (row.operands.some(({ kind }) => kind === 'O')) { dispAt = behindOpcode; dispBytes = 4; }
  else if (row.hasModrm && ops.some(({ c }) => c === 'M')) {
    const modrm = key >> 8 & 255, sib = (modrm & 7) === 4, base = sib ? key >> 16 & 7 : modrm & 7;
    dispAt = behindOpcode + (sib ? 2 : 1);
    dispBytes = modrm >> 6 === 1 ? 1 : modrm >> 6 === 2 || base === 5 ? 4 : 0;
  }
  const shape = { key, mode, length, insn, dispAt, dispBytes, immAt: length - immBytes, immBytes, immMask, jump };
  return verified(shape, bytes, at) ? shape : undefined;
}
/** The row of the table: some entries are variants of one. */
const rowOf = (entry: Entry): Entry => ENTRIES[entry.index] ?? entry;

export const signed = (bytes: Uint8Array, at: number, count: number): number => count === 1 ? bytes[at] << 24 >> 24
  : count === 2 ? (bytes[at] | bytes[at + 1] << 8) << 16 >> 16 : bytes[at] | bytes[at + 1] << 8 | bytes[at + 2] << 16 | bytes[at + 3] << 24;

/** The values are where they are thought to be: another decoding, with other bytes there, must differ in them alone. */
function verified({ mode, insn, length, dispAt, dispBytes, immAt, immBytes, immMask }: Shape, bytes: Uint8Array, at: number): boolean {
  if ((dispBytes === 0 ? 0 : dispAt + dispBytes) > length || immAt + immBytes !== length) return false;
  const other = bytes.slice(at, at + SHAPE_BYTES);
  for (let i = 0; i < dispBytes; i++) other[dispAt + i] ^= 0x5a + i;
  for (let i = 0; i < immBytes; i++) other[immAt + i] ^= 0xa5 - i;
  const seen = decode(other, 0, SHAPE_BYTES, mode);
  if (!seen || seen.entry !== insn.entry || seen.length !== length || seen.ops.length !== insn.ops.length) return false;
  return insn.ops.every((op, i) => {
    const to = seen.ops[i];
    if (op.c === 'M' && to.c === 'M') return (dispBytes === 0 ? op.disp === to.disp : op.disp === signed(bytes, at + dispAt, dispBytes) && to.disp === signed(other, dispAt, dispBytes)) && JSON.stringify({ ...op, disp: 0 }) === JSON.stringify({ ...to, disp: 0 });
    if ((op.c === 'I' || op.c === 'J') && to.c === op.c && immBytes !== 0) return op.size === to.size && op.value === (signed(bytes, at + immAt, immBytes) & immMask) && to.value === (signed(other, immAt, immBytes) & immMask);
    return JSON.stringify(op) === JSON.stringify(to);
  });
}
