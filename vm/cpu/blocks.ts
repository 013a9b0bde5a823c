/**
 * The block cache: guest code decoded into runs of 32-byte records, keyed by physical address and decode mode.
 *
 * A block ends at a control transfer, a helper instruction, the end of its page or MAX_BLOCK instructions. An instruction
 * that crosses a page is a block of its own and belongs to both pages. Direct jumps inside one page are linked record to
 * record; everything else goes through the jump cache.
 *
 * Stores to code are noticed in granules of 64 bytes: `written` drops all blocks of a page as soon as a store touches a
 * granule that has been decoded. Blocks of one page die together, so links never dangle. A store into nothing but the immediates or displacements
 * of decoded instructions changes their records instead (`patch`).
 *
 * Most blocks are made of shapes (shapes.ts), without an `Insn`; what those do not know goes through the decoder, or templates.ts.
 */
import { PAGE_KIND_MASK, PAGE_KIND_RAM, PAGE_KIND_ROM, type Board } from '../board.ts';
import { asUndefined, decode, type Insn } from './isa/decode.ts';
import { MODELS, type Model } from './isa/models.ts';
import { decodeKnown } from './isa/interned.ts';
import { FLAGS_ALL } from './isa/entries.ts';
import { CONDITION_NAMES } from './isa/table.ts';
import { ACCESS, GuestFault, PAGE_CODE, type Mmu } from './mmu.ts';
import { MODE, S } from './state.ts';
import { formNumber, formOf, type Form } from './tier0/forms.ts';
import { EVENT, type Coherence } from './coherence.ts';
import { KIND, R, RECORD_BYTES } from './tier0/record.ts';
import { NO_POINT, type CpuTrace } from './trace.ts';
import { SHAPE_BYTES, Shapes, signed, type Shape } from './shapes.ts';
import { fastSlot, goesOn, hasFastForm } from './tier0/system.ts';
import { collectGarbage } from './garbage.ts';
import { Templates, type Helper, type Link, type Template } from './templates.ts';
import { VIEW_CACHE_BYTES } from './views.ts';

const MAX_BLOCK = 48;
/**
 * Blocks after which everything is forgotten, as when the pool is full: a block of three instructions fills 96 bytes of the pool, and 500 to 700 of V8's heap
 * (made of shapes: 32, of a row of words). The booted system has 11,000.
 */
const DECODED_WEIGHT = 3, MAX_BLOCKS = DECODED_WEIGHT << 16;
/** Instructions remembered as having touched devices. */
const MAX_MMIO_INSNS = 1 << 16;
/** Private area: the jump caches of 32 views, then the records of truncated blocks, then the pool. */
const TRUNCATED_AT = VIEW_CACHE_BYTES * 32;
const POOL_AT = TRUNCATED_AT + (1 << 20);
const POOL_BYTES = (32 << 20) - POOL_AT;
/** Instruction indices of truncated blocks start here. */
const TRUNCATED_INSN = 1 << 24;

export interface Block {
  readonly physical: number;
  readonly mode: number;
  /** Instructions; null: the block was made of shapes. */
  readonly insns: readonly Insn[] | null;
  readonly count: number;
  readonly record: number;
  readonly records: number;
  readonly bytes: number;
  /** Second physical page of a page-crossing instruction, or -1. */
  readonly secondPage: number;
  /** Trace point of its first (and then only) instruction, or NO_POINT. */
  readonly point: number;
  /** A BREAK record stands in front of it. */
  readonly stop: boolean;
}
interface CodePage { /** Row of the last lean block that begins here, and so on by LEAN.before; 0: none */ lean: number; blocks: Block[]; /** blocks that begin here, by offset * 512 + mode */ starts: Map<number, Block>; /** link fields waiting for a block at a physical address and mode */ waiting: Map<number, number[]> }

/** A form with its br_table kind (-1: rare) and, once compiled, its table slot. */
interface Resolved { readonly form: Form; readonly kind: number; slot: number }

/** A shape with what its record needs. */
interface QuickShape extends Shape {
  /** Words 1 to 6 of the record: the first without `rest`, the last two without the values. */
  readonly words: Int32Array;
  /** Helper instruction: KIND.SYSTEM or KIND.JS. */
  readonly helper: number;
  /** With flags and without; null for helpers. */
  readonly plain: Resolved | null;
  readonly flagless: Resolved | null;
  /** CMP and TEST by the condition behind them, once asked for; null: not fused. */
  readonly fused: (Resolved | null | undefined)[] | null;
  /** Condition of a 32-bit conditional jump, or -1. */
  readonly condition: number;
  readonly writes: number; readonly keeps: number; readonly reads: number;
  /** Somebody may look at the flags in front of it. */
  readonly visible: boolean;
  /** Ends its block; and has its own way on, without an END record. */
  readonly ends: boolean; readonly leaves: boolean;
  /** It has a fall-through link in `disp`. */
  readonly twoWays: boolean;
}

/**
 * Most blocks live only until their page dies, and are never looked at again: those made of shapes are rows of words, without an object for V8's collector to
 * carry about, until somebody wants one (BlockCache.wanted). `chain`: the next row of the same hash. Row 0 is none.
 */
const LEAN = { physical: 0, mode: 1, record: 2, count: 3, bytes: 4, records: 5, before: 6, chain: 7 } as const;
const LEAN_HASHES = 1 << 15;
/** Room for so many at first, and for twice as many each time it is used up. */
const LEAN_ROWS = 1 << 11;
const leanHash = (physical: number, mode: number): number => (Math.imul(physical, 0x9e3779b1) ^ Math.imul(mode, 0x85ebca6b)) >>> 17;

export interface RareCompiler { slots(forms: readonly Form[]): number[] }

/** Of the many blocks that have none. */
const NO_LINKS: readonly Link[] = [], NO_HELPERS: readonly Helper[] = [];
/** Stores that are looked at for being one into an operand. */
const MAX_PATCH_BYTES = 4;
/** Copies of an instruction, in blocks that begin in different places, that are patched together. */
const MAX_PATCHES = 4;
const CONDITION_OF = new Map(CONDITION_NAMES.map((name, i) => [`j${name}`, i]));

export class BlockCache {
  private readonly board: Board;
  private readonly mmu: Mmu;
  private readonly kinds: Map<string, number>;
  private readonly rare: RareCompiler;
  private readonly parallel: boolean;
  private readonly cpuBase: number;
  private readonly base: number;
  private readonly words: Int32Array;
  private readonly halves: Uint16Array;
  private readonly bytes: Uint8Array;
  private readonly pages = new Map<number, CodePage>();
  private readonly insns: Insn[] = [];
  private truncatedInsns: Insn[] = [];
  private truncated: Block | null = null;
  private next = POOL_AT;
  /** Physical addresses of instructions that touched MMIO: they end their block. */
  readonly mmioInsns = new Set<number>();
  private readonly crossing = new Uint8Array(32);
  /** Instructions of the block being decoded. Arrays that are kept are copies of just their length: one that grew by `push` has room for seventeen. */
  private readonly decoded: Insn[] = [];
  /** Blocks made since everything was forgotten. */
  private made = 0;
  /** Tells the region manager: the code of a physical page died; everything was forgotten. */
  dropped: (physicalPage: number) => void = () => undefined;
  forgotten: () => void = () => undefined;
  /** A block was made of bytes that were decoded before. */
  repeated: (linear: number, mode: number) => void = () => undefined;
  private readonly coherence: Coherence;
  private readonly resolved = new Map<number, Resolved>();
  private readonly templates = new Templates();
  /** Pages that have `mmioInsns`. */
  private readonly mmioPages = new Set<number>();
  /** Offsets in a page in front of which blocks end and ask: those of breakpoints, whatever their page, for a physical page may be mapped twice. */
  private readonly stops = new Set<number>();
  /** Trace points: blocks end before and after them. */
  trace: CpuTrace | undefined;
  /** False: INT, IRET, SYSENTER and SYSEXIT always run in TypeScript (tests compare the two). */
  fastOperations = true;
  /** False: blocks are made by the decoder and of templates only (tests compare). */
  quick = true;
  private readonly shapes = new Shapes<QuickShape>(shape => this.quickShape(shape));
  private readonly found = new Array<QuickShape | undefined>(MAX_BLOCK).fill(undefined);
  /** Whether regions have code on the page. */
  hasRegions: (physicalPage: number) => boolean = () => false;

  constructor(board: Board, mmu: Mmu, cpu: number, kinds: Map<string, number>, rare: RareCompiler, parallel: boolean, coherence: Coherence) {
    this.coherence = coherence;
    this.board = board; this.mmu = mmu; this.kinds = kinds; this.rare = rare; this.parallel = parallel;
    this.cpuBase = board.vcpuBase(cpu);
    this.base = board.enginePrivateBase(cpu);
    this.words = new Int32Array(board.buffer, this.base, 32 << 18);
    this.halves = new Uint16Array(board.buffer, this.base, 32 << 19);
    this.bytes = new Uint8Array(board.buffer, this.base, 32 << 20);
  }

  /** Regions leave this instruction out: it has touched a device or watched memory, or a trace point or a breakpoint stands there. */
  leavesOut(linear: number, physicalPage: number, insn: Insn): boolean {
    const at = physicalPage * 4096 + (linear & 4095);
    return (this.restricted && this.lacks(insn)) || this.mmioInsns.has(at) || this.stops.has(linear & 4095) || this.trace !== undefined && this.trace.at(linear, insn, this.board.ram, at, physicalPage * 4096 + 4096) !== NO_POINT;
  }
  /** From now on a block begins at each of these offsets, and asks the engine first. */
  stopAt(offsets: Iterable<number>): void {
    const added = [...offsets].filter(offset => !this.stops.has(offset));
    for (const offset of added) this.stops.add(offset);
    if (added.length === 0) return;
    for (const [number, page] of [...this.pages]) {
      this.wantAll(page);
      if (page.blocks.some(({ physical, bytes }) => physical >>> 12 === number && added.some(offset => offset >= (physical & 0xfff) && offset < (physical & 0xfff) + bytes))) this.dropPage(number);
    }
  }
  clearStops(): void { this.stops.clear(); }
  insn(record: number): Insn {
    const index = this.words[(record - this.base + R.link) >> 2];
    return index >= TRUNCATED_INSN ? this.truncatedInsns[index - TRUNCATED_INSN] : this.insns[index];
  }
  delta(record: number): number { return this.halves[(record - this.base + R.delta) >> 1]; }
  /** An END_CHECK record. */
  ends(record: number): boolean { return this.halves[(record - this.base) >> 1] === KIND.END_CHECK; }
  rest(record: number): number { return this.bytes[record - this.base + R.rest]; }
  length(record: number): number { return this.bytes[record - this.base + R.len]; }
  find(physical: number, mode: number): Block | undefined {
    const row = this.leanRow(physical, mode);
    return row !== 0 ? this.wanted(row) : this.pages.get(physical >>> 12)?.starts.get((physical & 0xfff) << 9 | mode);
  }

  // ---- lean blocks
  private lean = new Int32Array(LEAN_ROWS * 8);
  private readonly leanHeads = new Int32Array(LEAN_HASHES);
  private leanRows = 0;
  private leanRow(physical: number, mode: number): number {
    const { lean } = this;
    let row = this.leanHeads[leanHash(physical, mode)];
    while (row !== 0 && (lean[row * 8] !== (physical | 0) || lean[row * 8 + LEAN.mode] !== mode)) row = lean[row * 8 + LEAN.chain];
    return row;
  }
  private newRow(): number {
    const row = ++this.leanRows;
    if (row * 8 === this.lean.length) { const grown = new Int32Array(row * 16); grown.set(this.lean); this.lean = grown; }
    return row;
  }
  /** Nothing finds the row by its address any more; it stays in the list of its page, without a record. */
  private unchain(row: number): void {
    const { lean, leanHeads } = this, hash = leanHash(lean[row * 8], lean[row * 8 + LEAN.mode]), next = lean[row * 8 + LEAN.chain];
    lean[row * 8 + LEAN.record] = 0;
    let at = leanHeads[hash];
    if (at === row) { leanHeads[hash] = next; return; }
    while (lean[at * 8 + LEAN.chain] !== row) at = lean[at * 8 + LEAN.chain];
    lean[at * 8 + LEAN.chain] = next;
  }
  /** The row becomes a block like others. */
  private wanted(row: number): Block {
    const { lean } = this, at = row * 8, physical = lean[at] >>> 0, mode = lean[at + LEAN.mode];
    const block: Block = { physical, mode, insns: null, count: lean[at + LEAN.count], record: lean[at + LEAN.record], records: lean[at + LEAN.records], bytes: lean[at + LEAN.bytes], secondPage: -1, point: NO_POINT, stop: false };
    this.unchain(row);
    const page = this.pages.get(physical >>> 12)!;
    page.starts.set((physical & 0xfff) << 9 | mode, block);
    page.blocks.push(block);
    return block;
  }
  /** All lean blocks of a page become blocks like others. */
  private wantAll(page: CodePage): void {
    const { lean } = this;
    for (let row = page.lean; row !== 0; row = lean[row * 8 + LEAN.before]) if (lean[row * 8 + LEAN.record] !== 0) this.wanted(row);
    page.lean = 0;
  }
  private killLean(page: CodePage): void {
    const { lean } = this;
    for (let row = page.lean; row !== 0; row = lean[row * 8 + LEAN.before]) {
      const record = lean[row * 8 + LEAN.record];
      if (record === 0) continue;
      this.killRecords(record, lean[row * 8 + LEAN.records]);
      this.unchain(row);
    }
    page.lean = 0;
  }
  /** Record of the lean block there, made if it can be one; 0: ask `block`. */
  leanRecord(linear: number, physical: number, mode: number): number {
    if (physical >= this.board.ramBytes) return 0;
    let row = this.leanRow(physical, mode);
    if (row === 0) {
      if (!this.quick) return 0;
      const page = this.markedNumber === physical >>> 12 ? this.marked : this.pages.get(physical >>> 12);
      if (page && page.starts.size !== 0 && page.starts.has((physical & 0xfff) << 9 | mode)) return 0;
      row = this.quickBlock(physical, mode, 0);
      if (row === 0) return 0;
      this.repeated(linear, mode);
    }
    return this.lean[row * 8 + LEAN.record];
  }

  /** The block at a linear address; decodes if needed. `limit` > 0 makes an uncached block of at most that many instructions. */
  block(linear: number, translated: number, mode: number, user: boolean, limit: number): Block {
    const physical = below4GiB(translated);
    if (!limit) {
      const known = this.find(physical, mode);
      if (known) {
        if (known.secondPage < 0) return known;
        if (below4GiB(this.mmu.translate((linear & 0xfffff000) + 4096 | 0, ACCESS.EXECUTE, user)) >>> 12 === known.secondPage) return known;
      }
    }
    if (this.quick) {
      const row = this.quickBlock(physical, mode, limit);
      if (row !== 0) {
        if (limit) return this.truncated!;
        this.repeated(linear, mode);
        return this.wanted(row);
      }
    }
    // A truncated block is the beginning of one that has been decoded already.
    const whole = limit ? this.find(physical, mode) : undefined;
    if (whole?.insns && whole.secondPage < 0 && whole.count >= limit) {
      const insns = whole.insns.slice(0, limit);
      return this.emit(physical, mode, insns, insns.reduce((bytes, { length }) => bytes + length, 0), -1, true, whole.point, whole.stop);
    }
    return this.decodeBlock(linear, physical, mode, user, limit);
  }

  private model: Model = MODELS[0];
  private restricted = false;
  /** Instructions that `model` does not have are #UD from now on. */
  setModel(model: Model): void {
    if (model === this.model) return;
    this.model = model;
    this.restricted = model !== MODELS[0];
    this.reset();
  }
  lacks(insn: Insn): boolean { return !this.model.features.has(insn.entry.feature); }

  private codeBytes(physical: number): Uint8Array {
    const kind = this.board.pageMap[physical >>> 12] & PAGE_KIND_MASK;
    if ((kind === PAGE_KIND_RAM || kind === PAGE_KIND_ROM) && physical < this.board.ramBytes) return this.board.ram;
    return HOLE;
  }

  private decodeBlock(linear: number, physical: number, mode: number, user: boolean, limit: number): Block {
    const source = this.codeBytes(physical);
    const start = source === HOLE ? physical & 0xfff : physical;
    const end = (start & ~0xfff) + 4096;
    // By content only what nothing but its bytes has cut.
    const byContent = !limit && !this.restricted && source !== HOLE && !(mode & MODE.SINGLE) && this.fastOperations;
    if (byContent) {
      const template = this.templates.find(source, start, end, mode, template => this.fits(linear, physical, template));
      if (template) { this.repeated(linear, mode); return this.copy(physical, template); }
    }
    const insns = this.decoded;
    let count = 0, at = start, secondPage = -1, point = NO_POINT, traced = false, stop = false;
    const most = limit ? Math.min(limit, MAX_BLOCK) : mode & MODE.SINGLE ? 1 : MAX_BLOCK;
    while (count < most) {
      if (this.stops.size !== 0 && this.stops.has((physical + at - start) & 0xfff)) {
        if (count) break;
        stop = true;
      }
      let insn = decodeKnown(source, at, end, mode);
      if (!insn) {
        if (count) break;
        // Crosses into the next page, whose fetch may fault: #PF with the address of that page.
        const head = end - at;
        const second = below4GiB(this.mmu.translate((linear & 0xfffff000) + 4096 | 0, ACCESS.EXECUTE, user));
        secondPage = second >>> 12;
        const tail = this.codeBytes(second), tailAt = tail === HOLE ? second & 0xfff : second;
        this.crossing.set(source.subarray(at, end));
        this.crossing.set(tail.subarray(tailAt, tailAt + 16), head);
        insn = decode(this.crossing, 0, head + 16, mode);
        if (!insn) throw new GuestFault(13, 0);
        if (this.restricted && this.lacks(insn)) insn = asUndefined(insn);
        if (this.trace) point = this.trace.at(linear, insn, this.crossing, 0, head + 16);
        insns[count++] = insn; at += insn.length;
        break;
      }
      if (this.trace) {
        const here = this.trace.at(linear + at - start | 0, insn, source, at, end);
        if (here !== NO_POINT) {
          traced = true;
          if (count) break;
          point = here;
        }
      }
      if (this.restricted && this.lacks(insn)) insn = asUndefined(insn);
      insns[count++] = insn;
      const insnPhysical = physical + at - start;
      at += insn.length;
      if ((insn.entry.end && !(this.fastOperations && goesOn(insn, mode))) || (insn.entry.str && insn.rep)) break;
      if (at >= end || point !== NO_POINT || this.mmioInsns.has(insnPhysical)) break;
    }
    this.mmu.words[S.countBlocks >> 2]++;
    return this.emit(physical, mode, insns.slice(0, count), at - start, secondPage, limit > 0, point, stop, byContent && secondPage < 0 && !traced && !stop ? source : undefined);
  }
  /** Trace points and instructions that touch devices would cut a block decoded here as they cut the template (trace points: not at all). */
  private fits(linear: number, physical: number, { insns, checked }: Template): boolean {
    let at = physical;
    if (this.stops.size !== 0) {
      for (const insn of insns) {
        if (this.stops.has(at & 0xfff)) return false;
        at += insn.length;
      }
      at = physical;
    }
    if (this.trace) {
      const { ram } = this.board, end = (physical & ~0xfff) + 4096;
      for (const insn of insns) {
        if (this.trace.at(linear + at - physical | 0, insn, ram, at, end) !== NO_POINT) return false;
        at += insn.length;
      }
    }
    if (!this.mmioPages.has(physical >>> 12)) return !checked;
    at = physical;
    for (let i = 0; i < insns.length; i++) {
      if (this.mmioInsns.has(at) !== (checked && i === insns.length - 1)) return false;
      at += insns[i].length;
    }
    return true;
  }
  /** A block of which the same bytes have been decoded already. */
  private copy(physical: number, template: Template): Block {
    this.mmu.words[S.countCopied >> 2]++;
    const { words } = this, { mode, insns, records, bytes } = template;
    if (this.isFull(records)) this.startOver();
    const first = this.next;
    const { home: { image }, imageAt } = template, to = first >> 2;
    for (let i = 0; i < records * 8; i++) words[to + i] = image[imageAt + i];
    for (const { record, insn } of template.helpers) words[(first + record + R.link) >> 2] = this.insns.push(insn) - 1;
    this.next += records * RECORD_BYTES;
    return this.enter({ physical, mode, insns, count: insns.length, record: this.base + first, records, bytes, secondPage: -1, point: NO_POINT, stop: false }, template.links);
  }

  // ---- blocks made of shapes
  private quickShape(shape: Shape): QuickShape | undefined {
    const { insn, mode, length } = shape, { entry, ops } = insn;
    const at = TRUNCATED_AT, { words, bytes } = this;
    // The truncated block, if one lives, is run once and found again by its bytes.
    const saved = words.slice(at >> 2, (at >> 2) + 8);
    words.fill(0, at >> 2, (at >> 2) + 8);
    bytes[at + R.len] = length;
    let helper = -1, plain: Resolved | null = null, flagless: Resolved | null = null;
    if (entry.js) {
      const fast = this.fastOperations && insn.operandSize === 32 && !(mode & MODE.SINGLE) && hasFastForm(insn) ? fastSlot(entry.name) : -1;
      helper = fast >= 0 ? KIND.SYSTEM : KIND.JS;
      if (fast >= 0) { words[(at + R.reg0) >> 2] = fast; this.fastOperands(at, insn); }
    } else {
      this.operands(at, insn, 0);
      plain = this.resolve(insn, mode, true, -1);
      flagless = this.resolve(insn, mode, false, -1);
    }
    const record = words.slice((at >> 2) + 1, (at >> 2) + 7);
    words.set(saved, at >> 2);
    const condition = insn.operandSize === 32 ? CONDITION_OF.get(entry.name) ?? -1 : -1;
    return { ...shape, words: record, helper, plain, flagless, fused: entry.name === 'cmp' || entry.name === 'test' ? [] : null, condition,
      writes: entry.writes, keeps: ~entry.kills, reads: entry.reads, visible: entry.fault || entry.stack || entry.str || ops.some(({ c }) => c === 'M'),
      ends: (entry.end && !goesOn(insn, mode)) || (entry.str && insn.rep !== 0), leaves: entry.end, twoWays: condition >= 0 || CONDITION_OF.has(entry.name) || entry.name === 'jcxz' || entry.name.startsWith('loop') };
  }
  /** Makes the block at `physical`, of at most `limit` instructions (0: whole), if all its instructions have shapes: 0 (no), or its row; with a limit it is `truncated`. */
  private quickBlock(physical: number, mode: number, limit: number): number {
    if (this.restricted || !this.fastOperations || this.trace || this.stops.size !== 0 || mode & MODE.SINGLE || !(mode & MODE.CODE32) || physical >= this.board.ramBytes) return 0;
    const kind = this.board.pageMap[physical >>> 12] & PAGE_KIND_MASK;
    if ((kind !== PAGE_KIND_RAM && kind !== PAGE_KIND_ROM) || (this.mmioPages.size !== 0 && this.mmioPages.has(physical >>> 12))) return 0;
    const source = this.board.ram, last = (physical | 0xfff) + 1 - SHAPE_BYTES, most = limit && limit < MAX_BLOCK ? limit : MAX_BLOCK, { shapes, found, words } = this, learnt = shapes.learnt;
    let count = 0, end = physical, stays = true;
    do {
      if (end > last) return 0;
      const shape = shapes.at(source, end, mode);
      if (shape === undefined) return 0;
      found[count++] = shape;
      end += shape.length;
      stays = !shape.ends;
    } while (stays && count < most);
    if (!limit && this.isFull(count + 1)) this.startOver();
    const first = limit ? TRUNCATED_AT : this.next;
    // Backwards for the flags.
    let live = FLAGS_ALL, at = first + count * RECORD_BYTES;
    const end32 = at;
    for (let i = count - 1; i >= 0; i--) {
      at -= RECORD_BYTES;
      const shape = found[i]!;
      let kind = shape.helper, link = 0;
      if (kind < 0) {
        let resolved = (shape.writes & live) !== 0 ? shape.plain! : shape.flagless!;
        if (shape.fused !== null && i + 1 < count && found[i + 1]!.condition >= 0) resolved = this.fusedForm(shape, found[i + 1]!.condition) ?? resolved;
        kind = resolved.kind;
        if (kind < 0) {
          if (resolved.slot < 0) return 0; // compiled together with others of its block
          kind = KIND.RARE;
          link = resolved.slot;
        }
      }
      live = live & shape.keeps | shape.reads;
      if (shape.visible) live = FLAGS_ALL;
      words[at >> 2] = kind;
      words[(at + R.link) >> 2] = link;
    }
    if (limit) this.truncatedInsns = [];
    let delta = 0;
    for (let i = 0; i < count; i++, at += RECORD_BYTES) {
      const shape = found[i]!, { words: record, length, dispBytes, immBytes } = shape, to = at >> 2, start = physical + delta;
      words[to] |= delta << 16;
      words[to + 1] = record[0] | count - i;
      words[to + 2] = record[1];
      words[to + 3] = record[2];
      words[to + 4] = record[3];
      delta += length;
      if (shape.helper >= 0) {
        const insn = dispBytes + immBytes === 0 ? shape.insn : decode(source, start, start + SHAPE_BYTES, mode)!;
        words[to + 5] = record[4];
        words[to + 6] = record[5];
        if (shape.helper === KIND.SYSTEM && dispBytes !== 0) words[to + 5] = signed(source, start + shape.dispAt, dispBytes);
        if (shape.helper === KIND.SYSTEM && immBytes !== 0) words[to + 6] = signed(source, start + shape.immAt, immBytes) & shape.immMask;
        words[to + 7] = limit ? TRUNCATED_INSN + this.truncatedInsns.push(insn) - 1 : this.insns.push(insn) - 1;
        continue;
      }
      words[to + 5] = dispBytes === 0 ? record[4] : signed(source, start + shape.dispAt, dispBytes);
      words[to + 6] = immBytes === 0 ? record[5] : (signed(source, start + shape.immAt, immBytes) & shape.immMask) + (shape.jump ? delta : 0);
    }
    const final = found[count - 1]!, bytes = end - physical;
    if (!final.leaves) {
      words.fill(0, at >> 2, (at >> 2) + 8);
      words[at >> 2] = KIND.END | bytes << 16;
      at += RECORD_BYTES;
    }
    const record = this.base + first, records = (at - first) / RECORD_BYTES;
    this.changes++;
    if (limit) {
      const block: Block = { physical, mode, insns: null, count, record, records, bytes, secondPage: -1, point: NO_POINT, stop: false };
      this.truncated = block;
      this.watch(block);
      return -1;
    }
    this.next = at;
    if (shapes.learnt === learnt) this.mmu.words[S.countCopied >> 2]++; else this.mmu.words[S.countBlocks >> 2]++;
    this.made++;
    const page = this.mark(physical >>> 12, physical & 0xfff, (physical & 0xfff) + bytes), row = this.newRow(), to = row * 8, { lean, leanHeads } = this, hash = leanHash(physical, mode);
    lean[to] = physical;
    lean[to + LEAN.mode] = mode;
    lean[to + LEAN.record] = record;
    lean[to + LEAN.count] = count;
    lean[to + LEAN.bytes] = bytes;
    lean[to + LEAN.records] = records;
    lean[to + LEAN.before] = page.lean;
    lean[to + LEAN.chain] = leanHeads[hash];
    page.lean = leanHeads[hash] = row;
    if (page.waiting.size !== 0) this.linkWaiting(page, (physical & 0xfff) << 9 | mode, record);
    if (mode & MODE.CS_FLAT) {
      const lastRecord = end32 - RECORD_BYTES;
      if (!final.leaves) this.linkTo(page, physical, mode, end32 + R.link, bytes);
      else if (final.jump && final.plain!.kind >= 0) {
        // The kind of the last record is its own: nothing behind it can be fused.
        this.linkTo(page, physical, mode, lastRecord + R.link, words[(lastRecord + R.imm) >> 2]);
        if (final.twoWays) this.linkTo(page, physical, mode, lastRecord + R.disp, bytes);
      }
    }
    return row;
  }
  private fusedForm(shape: QuickShape, condition: number): Resolved | null {
    let known = shape.fused![condition];
    if (known === undefined) {
      known = this.resolve(shape.insn, shape.mode, true, condition);
      if (known.kind < 0) known = null;
      shape.fused![condition] = known;
    }
    return known;
  }

  // ---- stores into operands
  /** Counts whatever may change which records stand for which bytes. */
  private changes = 0;
  /** The last store that `locate` found to be one into operands: where, and the words of records that have the value. */
  private patchedAt = -1; private patchedBytes = 0; private patchedChanges = -1; private patches = 0;
  private readonly patchRecord = new Int32Array(MAX_PATCHES);
  private readonly patchWord = new Int32Array(MAX_PATCHES);
  private readonly patchFrom = new Int32Array(MAX_PATCHES);
  private readonly patchCount = new Int32Array(MAX_PATCHES);
  private readonly patchMask = new Int32Array(MAX_PATCHES);
  /** Whether the bytes are operands only: values of instructions of blocks of shapes, and no region has code on the page. */
  private locate(physical: number, bytes: number): boolean {
    if (!(physical === this.patchedAt && bytes === this.patchedBytes && this.changes === this.patchedChanges) && !this.search(physical, bytes)) return false;
    // Not of the instruction that stores: it may store in several pieces, and take its operands from the record again for the second.
    const running = this.mmu.words[S.rec >> 2];
    for (let n = 0; n < this.patches; n++) if (this.patchRecord[n] === running) return false;
    return true;
  }
  private search(physical: number, bytes: number): boolean {
    if (bytes > MAX_PATCH_BYTES || !this.quick) return false;
    const number = physical >>> 12, page = this.pages.get(number);
    if (!page || this.hasRegions(number)) return false;
    this.wantAll(page);
    this.patchedAt = -1;
    this.patches = 0;
    const stop = physical + bytes;
    for (const block of page.blocks) {
      if (block.secondPage >= 0) {
        if (block.physical >>> 12 === number ? block.physical < stop : (physical & 0xfff) < (block.physical & 0xfff) + block.bytes - 4096) return false;
      } else if (block.physical < stop && physical < block.physical + block.bytes && !this.locateIn(block, physical, bytes)) return false;
    }
    const { truncated } = this;
    if (truncated && physical - 4096 < truncated.physical + truncated.bytes && truncated.physical < stop + 4096) { this.kill(truncated); this.truncated = null; }
    this.patchedAt = physical; this.patchedBytes = bytes; this.patchedChanges = this.changes;
    return true;
  }
  private locateIn(block: Block, physical: number, bytes: number): boolean {
    if (block.insns !== null || this.patches === MAX_PATCHES) return false;
    const offset = physical - block.physical, { halves, bytes: view } = this;
    if (offset < 0) return false;
    for (let i = 0, at = block.record - this.base; i < block.count; i++, at += RECORD_BYTES) {
      const delta = halves[(at + R.delta) >> 1];
      if (offset >= delta + view[at + R.len]) continue;
      // Dead already, by another store into its page.
      if (halves[at >> 1] === KIND.LEAVE) return false;
      const shape = this.shapes.at(this.board.ram, block.physical + delta, block.mode), within = offset - delta;
      if (shape === undefined || shape.helper >= 0 || shape.length !== view[at + R.len]) return false;
      const imm = shape.immBytes !== 0 && !shape.jump && within >= shape.immAt && within + bytes <= shape.immAt + shape.immBytes;
      if (!imm && !(shape.dispBytes !== 0 && within >= shape.dispAt && within + bytes <= shape.dispAt + shape.dispBytes)) return false;
      const n = this.patches++;
      this.patchRecord[n] = this.base + at;
      this.patchWord[n] = (at + (imm ? R.imm : R.disp)) >> 2;
      this.patchFrom[n] = block.physical + delta + (imm ? shape.immAt : shape.dispAt);
      this.patchCount[n] = imm ? shape.immBytes : shape.dispBytes;
      this.patchMask[n] = imm ? shape.immMask : -1;
      return true;
    }
    return false;
  }
  /** The store has happened: the records follow. */
  private patch(page: number): void {
    for (let n = 0; n < this.patches; n++) this.words[this.patchWord[n]] = signed(this.board.ram, this.patchFrom[n], this.patchCount[n]) & this.patchMask[n];
    this.mmu.words[S.countPatched >> 2]++;
    this.coherence.post(EVENT.CODE_WRITTEN, page);
  }
  /** Would a store there take blocks away? */
  disturbs(physical: number, bytes: number): boolean { return this.coherence.hitsCode(physical >>> 12, physical & 0xfff, bytes) && !this.locate(physical, bytes); }

  private emit(physical: number, mode: number, insns: Insn[], bytes: number, secondPage: number, truncated: boolean, point: number, stop: boolean, source?: Uint8Array): Block {
    const count = insns.length, needs = new Array<boolean>(count);
    let live = FLAGS_ALL;
    for (let i = count - 1; i >= 0; i--) {
      const { entry, ops } = insns[i];
      needs[i] = (entry.writes & live) !== 0;
      live = live & ~entry.kills | entry.reads;
      if (entry.fault || entry.stack || entry.str || ops.some(({ c }) => c === 'M')) live = FLAGS_ALL;
    }
    if (!truncated && this.isFull(count + 4)) this.startOver();
    const first = truncated ? TRUNCATED_AT : this.next;
    if (truncated) this.truncatedInsns = [];
    const wanted: Resolved[] = [], wantedAt: number[] = [];
    let at = first, delta = 0;
    let links = NO_LINKS, helpers = NO_HELPERS;
    const link = (field: number, delta: number): void => { const made = { field, delta }; links = links === NO_LINKS ? [made] : links.concat(made); };
    const { words, halves, bytes: bytesView } = this;
    if (stop) {
      words.fill(0, at >> 2, (at >> 2) + 8);
      halves[at >> 1] = KIND.BREAK;
      bytesView[at + R.rest] = count;
      at += RECORD_BYTES;
    }
    if (point !== NO_POINT) {
      words.fill(0, at >> 2, (at >> 2) + 8);
      halves[at >> 1] = KIND.TRACE;
      bytesView[at + R.rest] = count;
      words[(at + R.link) >> 2] = point;
      at += RECORD_BYTES;
    }
    for (let i = 0; i < count; i++, at += RECORD_BYTES) {
      const insn = insns[i], { entry } = insn;
      words.fill(0, at >> 2, (at >> 2) + 8);
      halves[(at + R.delta) >> 1] = delta;
      bytesView[at + R.rest] = count - i;
      bytesView[at + R.len] = insn.length;
      const nextDelta = delta + insn.length;
      if (entry.js) {
        const fast = this.fastOperations && insn.operandSize === 32 && !(mode & MODE.SINGLE) && hasFastForm(insn) ? fastSlot(entry.name) : -1;
        halves[at >> 1] = fast >= 0 ? KIND.SYSTEM : KIND.JS;
        if (fast >= 0) { words[(at + R.reg0) >> 2] = fast; this.fastOperands(at, insn); }
        const helper = { record: at - first, insn };
        helpers = helpers === NO_HELPERS ? [helper] : helpers.concat(helper);
        words[(at + R.link) >> 2] = truncated ? TRUNCATED_INSN + this.truncatedInsns.push(insn) - 1 : this.insns.push(insn) - 1;
      } else {
        this.operands(at, insn, nextDelta);
        const follower = i + 1 < count ? CONDITION_OF.get(insns[i + 1].entry.name) : undefined;
        let resolved: Resolved | undefined;
        if (follower !== undefined && (entry.name === 'cmp' || entry.name === 'test') && insns[i + 1].operandSize === 32) {
          resolved = this.resolve(insn, mode, true, follower);
          if (resolved.kind < 0) resolved = undefined;
        }
        resolved ??= this.resolve(insn, mode, needs[i], -1);
        if (resolved.kind >= 0) {
          halves[at >> 1] = resolved.kind;
          if (entry.end && insn.ops[0]?.c === 'J') {
            link(at - first + R.link, words[(at + R.imm) >> 2]);
            if (CONDITION_OF.has(entry.name) || entry.name === 'jcxz' || entry.name.startsWith('loop')) link(at - first + R.disp, nextDelta);
          }
        } else {
          halves[at >> 1] = KIND.RARE;
          if (resolved.slot >= 0) words[(at + R.link) >> 2] = resolved.slot; else { wanted.push(resolved); wantedAt.push(at); }
        }
      }
      delta = nextDelta;
    }
    const last = insns[count - 1];
    if (!last.entry.end) {
      words.fill(0, at >> 2, (at >> 2) + 8);
      halves[at >> 1] = this.mmioInsns.has(physical + bytes - last.length) ? KIND.END_CHECK : KIND.END;
      halves[(at + R.delta) >> 1] = delta;
      link(at - first + R.link, delta);
      at += RECORD_BYTES;
    }
    if (wanted.length) this.rare.slots(wanted.map(({ form }) => form)).forEach((slot, i) => { wanted[i].slot = slot; words[(wantedAt[i] + R.link) >> 2] = slot; });
    this.changes++;
    const block: Block = { physical, mode, insns, count, record: this.base + first, records: (at - first) / RECORD_BYTES, bytes, secondPage, point, stop };
    if (truncated) { this.truncated = block; this.watch(block); return block; }
    this.next = at;
    if (source) this.templates.add(source, physical, (physical & ~0xfff) + 4096, mode, { bytes, insns, words, from: first >> 2, records: block.records, links, helpers, checked: this.mmioInsns.has(physical + bytes - insns[count - 1].length) });
    return this.enter(block, links);
  }
  private isFull(records: number): boolean { return this.made >= MAX_BLOCKS || this.next + records * RECORD_BYTES > POOL_AT + POOL_BYTES; }
  /** The block is one of its page's from now on. */
  private enter(block: Block, links: readonly Link[]): Block {
    this.made += DECODED_WEIGHT - 1;
    this.link(this.place(block), block, links);
    return block;
  }
  /** The same without its own links. */
  private place(block: Block): CodePage {
    this.made++;
    const page = this.watch(block), key = (block.physical & 0xfff) << 9 | block.mode;
    this.changes++;
    page.starts.set(key, block);
    page.blocks.push(block);
    if (block.secondPage >= 0) { this.pages.get(block.secondPage)!.blocks.push(block); return page; }
    if (page.waiting.size !== 0) this.linkWaiting(page, key, block.record);
    return page;
  }
  private linkWaiting(page: CodePage, key: number, record: number): void {
    const waiting = page.waiting.get(key);
    if (waiting) { for (const field of waiting) this.words[field >> 2] = record; page.waiting.delete(key); }
  }

  private resolve(insn: Insn, mode: number, needFlags: boolean, fused: number): Resolved {
    const number = formNumber(insn, mode, needFlags, fused);
    let found = this.resolved.get(number);
    if (!found) {
      const form = formOf(insn, mode, needFlags, this.parallel, fused);
      this.resolved.set(number, found = { form, kind: this.kinds.get(form.key) ?? -1, slot: -1 });
    }
    return found;
  }
  /** Fields that the fast operations read (tier0/system.ts). */
  private fastOperands(at: number, insn: Insn): void {
    const [first, second] = insn.ops;
    if (first?.c === 'I' || first?.c === 'S') this.words[(at + R.imm) >> 2] = first.c === 'I' ? first.value : first.reg;
    if (first?.c === 'M') {
      this.words[(at + R.base) >> 2] = this.cpuBase + (first.base >= 0 ? first.base * 4 : S.zero);
      this.words[(at + R.index) >> 2] = this.cpuBase + (first.index >= 0 ? first.index * 4 : S.zero);
      this.words[(at + R.disp) >> 2] = first.disp;
      this.bytes[at + R.scale] = first.scale;
      this.bytes[at + R.seg] = first.seg;
    }
    if (second?.c === 'I') this.words[(at + R.imm) >> 2] = second.value;
    if (second?.c === 'R') this.words[(at + R.base) >> 2] = this.cpuBase + second.reg * 4;
  }
  private operands(at: number, insn: Insn, nextDelta: number): void {
    const { words, bytes, cpuBase } = this;
    let registers = 0;
    const registerAt = [R.reg0, R.reg1, R.index];
    words[(at + R.base) >> 2] = words[(at + R.index) >> 2] = cpuBase + S.zero;
    bytes[at + R.seg] = insn.seg | (insn.addr16 ? 0x80 : 0);
    for (const op of insn.ops) {
      switch (op.c) {
        case 'R': words[(at + registerAt[registers++]) >> 2] = cpuBase + (op.size === 8 ? (op.reg & 3) * 4 + (op.reg >> 2) : op.reg * 4); break;
        case 'V': words[(at + registerAt[registers++]) >> 2] = cpuBase + S.xmm + op.reg * 16; break;
        case 'P': words[(at + registerAt[registers++]) >> 2] = cpuBase + S.fpr + op.reg * 16; break;
        case 'T': words[(at + registerAt[registers++]) >> 2] = op.reg; break;
        case 'M':
          if (op.base >= 0) words[(at + R.base) >> 2] = cpuBase + op.base * 4;
          if (op.index >= 0) words[(at + R.index) >> 2] = cpuBase + op.index * 4;
          bytes[at + R.scale] = op.scale;
          bytes[at + R.seg] = op.seg | (insn.addr16 ? 0x80 : 0);
          words[(at + R.disp) >> 2] = op.disp;
          break;
        case 'I': words[(at + R.imm) >> 2] = op.value; break;
        case 'J': words[(at + R.imm) >> 2] = nextDelta + op.value; break;
        case 'S': words[(at + R.imm) >> 2] = op.reg; break;
        default:
      }
    }
    if (insn.entry.fpu) words[(at + R.imm) >> 2] = (insn.opcode & 7) << 8 | insn.modrm;
  }

  private link(page: CodePage, block: Block, links: readonly Link[]): void {
    if (block.secondPage >= 0 || block.mode & MODE.SINGLE || !(block.mode & MODE.CS_FLAT) || !(block.mode & MODE.CODE32)) return;
    const first = block.record - this.base;
    for (const { field, delta } of links) this.linkTo(page, block.physical, block.mode, first + field, delta);
  }
  private linkTo(page: CodePage, physical: number, mode: number, field: number, delta: number): void {
    const target = (physical & 0xfff) + delta;
    if (target < 0 || target > 4095) { this.words[field >> 2] = 0; return; }
    const row = this.leanRow(physical + delta, mode);
    if (row !== 0) { this.words[field >> 2] = this.lean[row * 8 + LEAN.record]; return; }
    const key = target << 9 | mode;
    const known = page.starts.get(key);
    this.words[field >> 2] = known && known.secondPage < 0 ? known.record : 0;
    if (known) return;
    const waiting = page.waiting.get(key);
    if (waiting) waiting.push(field); else page.waiting.set(key, [field]);
  }

  /** The page that `mark` was asked about last. */
  private markedNumber = -1;
  private marked: CodePage | undefined;
  private mark(pageNumber: number, from: number, to: number): CodePage {
    let page = this.markedNumber === pageNumber ? this.marked : this.pages.get(pageNumber);
    if (!page) {
      page = { lean: 0, blocks: [], starts: new Map(), waiting: new Map() };
      this.pages.set(pageNumber, page);
    }
    this.markedNumber = pageNumber;
    this.marked = page;
    // Granules first: a store that sees the page bit must see them.
    this.coherence.markCode(pageNumber, from, to);
    // Who takes the bit away meanwhile says so behind it, and the block dies.
    if (!(this.board.pageMap[pageNumber] & PAGE_CODE) && !(Atomics.or(this.board.pageMap, pageNumber, PAGE_CODE) & PAGE_CODE)) {
      this.mmu.dropWriteEntries(pageNumber);
      this.coherence.post(EVENT.CODE, pageNumber);
    }
    return page;
  }
  /** Marks the granules of a block as code; returns the (first) page. */
  private watch(block: Block): CodePage {
    const offset = block.physical & 0xfff, pageNumber = block.physical >>> 12;
    const page = this.mark(pageNumber, offset, Math.min(4096, offset + block.bytes));
    if (block.secondPage >= 0) this.mark(block.secondPage, 0, offset + block.bytes - 4096);
    return page;
  }

  /** A store by this vCPU (or a device on it) to a page that holds code: blocks die if it hit a granule of code. */
  written(physical: number, bytes: number): void {
    const page = physical >>> 12;
    if (!this.coherence.hitsCode(page, physical & 0xfff, bytes)) return;
    if (this.locate(physical, bytes)) { this.patch(page); return; }
    this.coherence.clearCode(page);
    Atomics.and(this.board.pageMap, page, ~PAGE_CODE);
    this.dropPage(page);
    this.coherence.post(EVENT.CODE_WRITTEN, page);
  }
  /** All blocks of a page die. */
  dropPage(pageNumber: number): void {
    const page = this.pages.get(pageNumber);
    if (!page) return;
    this.mmu.words[S.countSmc >> 2]++;
    this.changes++;
    this.pages.delete(pageNumber);
    this.markedNumber = -1;
    this.killLean(page);
    this.dropped(pageNumber);
    for (const block of page.blocks) {
      this.kill(block);
      if (block.secondPage >= 0 && this.find(block.physical, block.mode) === block) this.pages.get(block.physical >>> 12)!.starts.delete((block.physical & 0xfff) << 9 | block.mode);
    }
    const truncated = this.truncated;
    if (truncated && (truncated.physical >>> 12 === pageNumber || truncated.secondPage === pageNumber)) this.kill(truncated);
  }
  /** The block of this record ends behind its instruction, and everything else in its page dies with it. */
  dropRunning(record: number): void {
    const within = (block: Block | null): boolean => block !== null && record >= block.record && record < block.record + block.records * RECORD_BYTES;
    if (within(this.truncated)) { this.kill(this.truncated!); this.dropPage(this.truncated!.physical >>> 12); return; }
    const { lean } = this;
    for (const [number, page] of this.pages) {
      let found = page.blocks.some(within);
      for (let row = page.lean; row !== 0 && !found; row = lean[row * 8 + LEAN.before]) {
        const first = lean[row * 8 + LEAN.record];
        found = record >= first && record < first + lean[row * 8 + LEAN.records] * RECORD_BYTES && first !== 0;
      }
      if (found) { this.dropPage(number); return; }
    }
  }
  private kill(block: Block): void { this.killRecords(block.record, block.records); }
  private killRecords(record: number, records: number): void {
    const first = record - this.base;
    for (let i = 0; i < records; i++) this.halves[(first + i * RECORD_BYTES) >> 1] = KIND.LEAVE;
  }
  // ---- regions (vm/cpu/jit/manager.ts)
  isRegion(record: number): boolean { return this.halves[(record - this.base) >> 1] === KIND.REGION; }
  /** Makes the block's first record enter a region; a shadow copy of the block stays behind it. */
  installRegion(block: Block, slot: number, index: number, eip: number): void {
    const bytes = block.records * RECORD_BYTES;
    this.changes++;
    if (this.next + bytes > POOL_AT + POOL_BYTES) return;
    const first = block.record - this.base, shadow = this.next;
    this.next += bytes;
    this.bytes.copyWithin(shadow, first, first + bytes);
    const page = this.pages.get(block.physical >>> 12)!;
    page.blocks.push({ ...block, record: this.base + shadow });
    // Links of the first record that still wait for their target block are the shadow's now: filling them in here would overwrite the slot.
    for (const fields of page.waiting.values()) fields.forEach((field, i) => { if (field >= first && field < first + RECORD_BYTES) fields[i] = field + shadow - first; });
    this.halves[first >> 1] = KIND.REGION;
    this.words[(first + R.reg0) >> 2] = this.base + shadow;
    this.words[(first + R.imm) >> 2] = index;
    this.words[(first + R.disp) >> 2] = eip;
    this.words[(first + R.link) >> 2] = slot;
  }
  /** Gives the block its own first record back, if it is still alive and still enters this region. */
  removeRegion(record: number, slot: number): void {
    const first = record - this.base;
    if (!this.isRegion(record) || this.words[(first + R.link) >> 2] !== slot) return;
    const shadow = this.words[(first + R.reg0) >> 2] - this.base;
    this.bytes.copyWithin(first, shadow, shadow + RECORD_BYTES);
  }
  /** Region code is anywhere on its pages: any store to one of them counts as a store to code. */
  watchWholePage(pageNumber: number): void {
    this.changes++;
    const page = this.pages.get(pageNumber);
    if (page) this.coherence.markCode(pageNumber, 0, 4096);
  }
  hasPage(pageNumber: number): boolean { return this.pages.has(pageNumber); }

  /** Whether a string instruction with a REP prefix stands there. */
  isRepeated(physical: number): boolean {
    const { ram } = this.board;
    let at = physical, repeated = false;
    while (at < physical + 14 && PREFIXES.has(ram[at])) { repeated ||= ram[at] === 0xf2 || ram[at] === 0xf3; at++; }
    return repeated && STRINGS.has(ram[at]);
  }
  /** Stops the running block after the instruction at `record`, and makes that instruction end its block from now on. */
  endBlockAt(physical: number): void {
    if (this.mmioInsns.has(physical)) return; // the block was decoded so, and no region has it
    // Found again when they touch a device again: forgetting costs time only.
    if (this.mmioInsns.size >= MAX_MMIO_INSNS) { this.mmioInsns.clear(); this.mmioPages.clear(); }
    this.mmioInsns.add(physical);
    this.mmioPages.add(physical >>> 12);
    this.dropPage(physical >>> 12);
  }

  /** What the caches hold, for tests of their bounds. */
  get sizes(): { readonly poolBytes: number; readonly pages: number; readonly insns: number; readonly mmioInsns: number; readonly templateRecords: number; readonly forms: number } {
    return { poolBytes: this.next - POOL_AT, pages: this.pages.size, insns: this.insns.length, mmioInsns: this.mmioInsns.size, templateRecords: this.templates.records, forms: this.resolved.size };
  }
  /** For tests: the next blocks are decoded, whatever was decoded before. */
  forgetContent(): void { this.templates.clear(); this.shapes.clear(); }
  /** Forgets all blocks. The running block's records stay intact until the pool wraps, and read LEAVE. */
  reset(): void {
    for (const page of this.pages.values()) {
      this.killLean(page);
      for (const block of page.blocks) this.kill(block);
    }
    this.leanRows = 0;
    this.markedNumber = -1;
    this.forgotten();
    this.changes++;
    this.pages.clear();
    this.insns.length = 0;
    this.next = POOL_AT;
    this.made = 0;
    this.mmu.clearJumpCaches();
  }
  /** The bounds are reached: `reset`, and the objects go now, when hardly anything of the heap is alive, not when V8 has let it grow to four times its size. */
  private startOver(): void {
    this.reset();
    collectGarbage();
  }
}

const PREFIXES = new Set([0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3]), STRINGS = new Set([0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf]);
/** Nothing is there above 4 GiB, with PAE: one hole is like another, and this page, the local APIC's, is one. */
const below4GiB = (physical: number): number => physical < 2 ** 32 ? physical : 0xfee0_0000 + physical % 4096;
const HOLE = new Uint8Array(8192).fill(0xff);
