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

/** Records in a generation: 2 MiB of them, and about ten times that for the instructions. */
const GENERATION_RECORDS = 1 << 16;
/** The longest instruction: whether one more would have belonged to the block is decided within so many bytes. */
const LOOK_AHEAD = 15;

export interface Link { /** Byte offset from the first record. */ readonly field: number; /** Target minus start of the block. */ readonly delta: number }
export interface Helper { /** Byte offset of the record. */ readonly record: number; readonly insn: Insn }
export interface Template {
  readonly mode: number;
  readonly offset: number;
  readonly code: Uint8Array;
  readonly bytes: number;
  readonly insns: readonly Insn[];
  readonly image: Int32Array;
  readonly records: number;
  readonly links: readonly Link[];
  readonly helpers: readonly Helper[];
  /** The last instruction has touched a device, so the block ends behind it with a check. */
  readonly checked: boolean;
  /** Next with the same hash. */
  next: Template | undefined;
}

const hashOf = (source: Uint8Array, at: number, end: number, mode: number): number => {
  let hash = mode << 12 | at & 0xfff;
  const stop = Math.min(end, at + 8);
  for (let i = at; i < stop; i++) hash = Math.imul(hash, 0x01000193) ^ source[i];
  return hash;
};

export class Templates {
  private young = new Map<number, Template>();
  private old = new Map<number, Template>();
  private youngRecords = 0;
  private oldRecords = 0;
  /** Records held. */
  get records(): number { return this.youngRecords + this.oldRecords; }

  /** The block at `source[at]`, whose page ends at `end`, if one of these bytes was decoded in this mode. */
  find(source: Uint8Array, at: number, end: number, mode: number, fits: (template: Template) => boolean): Template | undefined {
    const hash = hashOf(source, at, end, mode);
    const found = matching(this.young.get(hash), source, at, end, mode, fits);
    if (found) return found;
    const kept = matching(this.old.get(hash), source, at, end, mode, fits);
    if (!kept) return undefined;
    const again = { ...kept };
    this.insert(hash, again);
    return again;
  }
  add(source: Uint8Array, at: number, end: number, mode: number, made: Pick<Template, 'bytes' | 'insns' | 'image' | 'records' | 'links' | 'helpers' | 'checked'>): void {
    this.insert(hashOf(source, at, end, mode), { ...made, mode, offset: at & 0xfff, code: source.slice(at, Math.min(end, at + made.bytes + LOOK_AHEAD)), next: undefined });
  }
  clear(): void { this.young.clear(); this.old.clear(); this.youngRecords = this.oldRecords = 0; }

  private insert(hash: number, template: Template): void {
    if (this.youngRecords + template.records > GENERATION_RECORDS) { this.old = this.young; this.oldRecords = this.youngRecords; this.young = new Map(); this.youngRecords = 0; }
    template.next = this.young.get(hash);
    this.young.set(hash, template);
    this.youngRecords += template.records;
  }
}

function matching(first: Template | undefined, source: Uint8Array, at: number, end: number, mode: number, fits: (template: Template) => boolean): Template | undefined {
  candidates: for (let template = first; template; template = template.next) {
    const { code } = template;
    // `code` ends at the end of the page or LOOK_AHEAD behind the block, and the offset is the same: it cannot reach beyond `end`.
    if (template.mode !== mode || template.offset !== (at & 0xfff) || at + code.length > end) continue;
    for (let i = 0; i < code.length; i++) if (code[i] !== source[at + i]) continue candidates;
    if (fits(template)) return template;
  }
  return undefined;
}
