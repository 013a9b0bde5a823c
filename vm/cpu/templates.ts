/**
 * Decoded blocks by content: the same bytes at the same offset of a page, in the same mode, become the same records wherever in physical memory
 * they lie. A server that is started again lies in other pages than its dead predecessor, and a page whose blocks died is often filled with the same
 * text again: both cost a comparison and a copy for each block (0.2 us) instead of decoding (several).
 *
 * A template is the records of a block as they were emitted, without anything that depends on where the block lies: links to other blocks and
 * numbers of instructions are lists to be filled in. It answers only if decoding would do the same: the bytes of the block and the 15 behind it (why it
 * ended there) are equal, within the page, and the block cache agrees about what else cuts a block: instructions that touched devices, trace points.
 * Page-crossing instructions, blocks at a trace point and single steps are never in here.
 *
 * Memory is bounded by two generations: when the young one is full it becomes the old one, and what was not used since is gone.
 */
import type { Insn } from './isa/decode.ts';

/** Records in a generation: 2 MiB of them. */
const GENERATION_RECORDS = 1 << 16;
/** Code in a generation, with the bytes behind each block. */
const GENERATION_CODE = 1 << 20;
/** Templates in a generation: of blocks of three instructions, which cost V8's heap several times what their records are. */
const GENERATION_TEMPLATES = 1 << 14;
/** The longest instruction: whether one more would have belonged to the block is decided within so many bytes. */
const LOOK_AHEAD = 15;

export interface Link { /** Byte offset from the first record. */ readonly field: number; /** Target minus start of the block. */ readonly delta: number }
export interface Helper { /** Byte offset of the record. */ readonly record: number; readonly insn: Insn }
export interface Template {
  readonly mode: number;
  readonly offset: number;
  /** Where its code and its records are in its generation, in bytes and words: arrays of their own would cost more than they hold. */
  readonly home: Generation;
  readonly codeAt: number;
  readonly codeBytes: number;
  readonly imageAt: number;
  readonly bytes: number;
  readonly insns: readonly Insn[];
  readonly records: number;
  readonly links: readonly Link[];
  readonly helpers: readonly Helper[];
  /** The last instruction has touched a device, so the block ends behind it with a check. */
  readonly checked: boolean;
  /** Next with the same hash. */
  next: Template | undefined;
}

/** A block just emitted; its records begin at word `from` of `words`. */
export interface Emitted extends Pick<Template, 'bytes' | 'insns' | 'records' | 'links' | 'helpers' | 'checked'> { readonly words: Int32Array; readonly from: number }

class Generation {
  readonly templates = new Map<number, Template>();
  readonly code = new Uint8Array(GENERATION_CODE);
  readonly image = new Int32Array(GENERATION_RECORDS * 8);
  codeUsed = 0;
  records = 0;
  /** Its arrays once more: three megabytes a time would wait for V8's collector. */
  empty(): Generation {
    this.templates.clear();
    this.codeUsed = this.records = 0;
    return this;
  }
  holds(records: number, codeBytes: number): boolean { return this.templates.size < GENERATION_TEMPLATES && this.records + records <= GENERATION_RECORDS && this.codeUsed + codeBytes <= GENERATION_CODE; }
}

const hashOf = (source: Uint8Array, at: number, end: number, mode: number): number => {
  let hash = mode << 12 | at & 0xfff;
  const stop = Math.min(end, at + 8);
  for (let i = at; i < stop; i++) hash = Math.imul(hash, 0x01000193) ^ source[i];
  return hash;
};

export class Templates {
  private young: Generation | undefined;
  private old: Generation | undefined;
  /** Records held. */
  get records(): number { return (this.young?.records ?? 0) + (this.old?.records ?? 0); }

  /** The block at `source[at]`, whose page ends at `end`, if one of these bytes was decoded in this mode. */
  find(source: Uint8Array, at: number, end: number, mode: number, fits: (template: Template) => boolean): Template | undefined {
    const hash = hashOf(source, at, end, mode);
    const found = matching(this.young?.templates.get(hash), source, at, end, mode, fits);
    if (found) return found;
    const kept = matching(this.old?.templates.get(hash), source, at, end, mode, fits);
    if (!kept) return undefined;
    const { home, codeAt, codeBytes, imageAt } = kept;
    return this.insert(hash, kept.offset, mode, home.code, codeAt, codeBytes, { ...kept, words: home.image, from: imageAt });
  }
  add(source: Uint8Array, at: number, end: number, mode: number, made: Emitted): void {
    this.insert(hashOf(source, at, end, mode), at & 0xfff, mode, source, at, Math.min(end, at + made.bytes + LOOK_AHEAD) - at, made);
  }
  clear(): void { this.young = this.old = undefined; }

  private insert(hash: number, offset: number, mode: number, source: Uint8Array, at: number, codeBytes: number, made: Emitted): Template {
    const { bytes, insns, records, links, helpers, checked, words, from } = made;
    let home = this.young ??= new Generation();
    if (!home.holds(records, codeBytes)) {
      // What is inserted may come from the old generation, whose arrays are used again: it moves to their beginning, word by word upwards, and nothing
      // lies in front of it any more.
      const reused = this.old?.empty() ?? new Generation();
      this.old = home;
      home = this.young = reused;
    }
    const codeAt = home.codeUsed, imageAt = home.records * 8;
    for (let i = 0; i < codeBytes; i++) home.code[codeAt + i] = source[at + i];
    for (let i = 0; i < records * 8; i++) home.image[imageAt + i] = words[from + i];
    home.codeUsed += codeBytes;
    home.records += records;
    const template: Template = { mode, offset, home, codeAt, codeBytes, imageAt, bytes, insns, records, links, helpers, checked, next: home.templates.get(hash) };
    home.templates.set(hash, template);
    return template;
  }
}

function matching(first: Template | undefined, source: Uint8Array, at: number, end: number, mode: number, fits: (template: Template) => boolean): Template | undefined {
  candidates: for (let template = first; template; template = template.next) {
    const { home: { code }, codeAt, codeBytes } = template;
    // The code ends at the end of the page or LOOK_AHEAD behind the block, and the offset is the same: it cannot reach beyond `end`.
    if (template.mode !== mode || template.offset !== (at & 0xfff) || at + codeBytes > end) continue;
    for (let i = 0; i < codeBytes; i++) if (code[codeAt + i] !== source[at + i]) continue candidates;
    if (fits(template)) return template;
  }
  return undefined;
}
