/**
 * Accesses of a block that go through one look-up in the soft MMU.
 *
 * Compiled code touches the same few addresses again and again relative to one register: a frame through ESP or EBP, the fields of a
 * structure, a variable read, changed and written back. Such accesses form a *group* when their distance is a constant: the first one
 * looks its page up, asks that the whole span lies in that page, and keeps the host address; the others are plain loads and stores.
 * They cannot fault, so flags need not be ready in front of them.
 *
 * Where the question is answered with no, the region leaves in front of the first access (EXIT.SPLIT) and tier 0 goes on; where that
 * happens often, the manager compiles again with that instruction on its own (`apart`).
 *
 * The address of an access is followed symbolically: a register is `root + constant`, and what is not understood makes a new root.
 * A block with a single predecessor inherits the roots, so a group reaches along a path as far as nothing joins it.
 */
import type { Insn } from '../isa/decode.ts';
import { SEG } from '../state.ts';
import type { Region } from './cfg.ts';

export interface Group {
  /** Distance of the lowest byte from the first access; at most 0. */
  low: number;
  /** Bytes from the lowest to behind the highest. */
  span: number;
  /** Somebody writes: the page must be writable. */
  write: boolean;
  /** The span cannot leave the page. */
  readonly oneAddress: boolean;
}
export interface Access {
  readonly group: Group;
  readonly first: boolean;
  /** Distance from the first access of the group. */
  readonly offset: number;
}
/** Accesses of one instruction. */
export interface Grouped { explicit?: Access; stack?: Access }
/** By block, by instruction. */
export type Groups = readonly ReadonlyMap<number, Grouped>[];

/** A memory operand, or what PUSH, POP and their like touch. */
export type Kind = 'explicit' | 'stack';
interface Seen { readonly block: number; readonly insn: number; readonly kind: Kind; readonly offset: number; readonly bytes: number; readonly write: boolean; readonly eip: number }
/** root + offset */
export interface Sym { readonly root: string; readonly offset: number }

/** Farther apart than this is not one structure. */
const MAX_SPAN = 512;
const ALU = new Set(['add', 'or', 'adc', 'sbb', 'and', 'sub', 'xor']);
const UNARY = new Set(['inc', 'dec', 'neg', 'not']);
const READERS = /^(movzx|movsx|cmp|test|push|imul[123]|mul|div|idiv|call_ind|jmp_ind|cmov\w+|popcnt|bsf|bsr)$/;
/** Instructions that write no register but operand 0 (if it is one), ESP by a constant, and EAX and EDX where named below. */
const PLAIN = /^(mov|movzx|movsx|lea|cmp|test|add|or|adc|sbb|and|sub|xor|inc|dec|neg|not|shl|shr|sar|rol|ror|rcl|rcr|shld|shrd|imul[23]|push|pop|nop|bswap|set\w+|cmov\w+|j\w+|call|call_ind|ret|popcnt|bsf|bsr|bt|bti|clc|stc|cmc|cld|std)$/;
const WIDE = /^(mul|imul1|div|idiv|cwd|cbw)$/;

/** How the explicit memory operand is used; null: not by this scheme. */
function usage(insn: Insn): 'read' | 'write' | 'both' | null {
  const { entry: { name }, ops } = insn;
  if (insn.lock || insn.entry.str || insn.addr16) return null;
  const at = ops.findIndex(op => op.c === 'M');
  if (at < 0) return null;
  // The size of the operand is what is accessed, but for PINSRW.
  if (insn.entry.sse) return insn.entry.mmx || name === 'pinsrw' ? null : at === 0 ? 'write' : 'read';
  if (name === 'mov') return at === 0 ? 'write' : 'read';
  if (/^set/.test(name)) return 'write';
  if (ALU.has(name)) return at === 0 ? 'both' : 'read';
  if (UNARY.has(name)) return 'both';
  return READERS.test(name) ? 'read' : null;
}

/**
 * One instruction: what becomes of the registers, and the accesses that are understood. Roots are names; an indexed address is named
 * `base+index*scale` after the roots of its registers, an absolute one after its page.
 */
export function follow(insn: Insn, regs: Sym[], fresh: () => Sym, note: (kind: Kind, address: Sym, bytes: number, write: boolean) => void): void {
  const { entry: { name }, ops } = insn, wide = insn.operandSize === 32;
  const use = usage(insn), memory = ops.find(op => op.c === 'M');
  if (use && memory?.c === 'M' && memory.seg < 4 && !(memory.seg === SEG.CS && use !== 'read') && memory.size <= 128) {
    const base = memory.base >= 0 ? regs[memory.base] : { root: '', offset: 0 };
    let { root, offset } = base;
    offset += memory.disp;
    if (memory.index >= 0) { root += `+${regs[memory.index].root}*${memory.scale}`; offset += regs[memory.index].offset << memory.scale; }
    else if (memory.base < 0) root = `page ${memory.disp >>> 12}`;
    note('explicit', { root, offset: offset | 0 }, memory.size >> 3, use !== 'read');
  }
  const esp = regs[4];
  if (wide && (name === 'push' || name === 'call' || name === 'call_ind')) {
    regs[4] = { root: esp.root, offset: esp.offset - 4 };
    note('stack', regs[4], 4, true);
    return;
  }
  if (wide && (name === 'pop' || name === 'ret')) {
    note('stack', esp, 4, false);
    regs[4] = { root: esp.root, offset: esp.offset + 4 };
    const to = ops[0];
    if (name === 'pop' && to?.c === 'R') regs[to.reg] = fresh();
    return;
  }
  if (wide && name === 'leave') {
    const ebp = regs[5];
    note('stack', ebp, 4, false);
    regs[4] = { root: ebp.root, offset: ebp.offset + 4 };
    regs[5] = fresh();
    return;
  }
  if (WIDE.test(name)) { regs[0] = fresh(); regs[2] = fresh(); return; }
  // Floating-point and vector instructions write one general register at most: their first operand.
  if (insn.entry.fpu || insn.entry.mmx || insn.entry.sse) { if (ops[0]?.c === 'R') regs[ops[0].reg] = fresh(); return; }
  if (!PLAIN.test(name)) { for (let r = 0; r < 8; r++) regs[r] = fresh(); return; }
  const to = ops[0];
  if (to?.c !== 'R' || name === 'cmp' || name === 'test' || name === 'bt' || name === 'bti' || name === 'push' || name.startsWith('j')) return;
  if (to.size !== 32) { regs[to.size === 8 ? to.reg & 3 : to.reg] = fresh(); return; }
  const from = ops[1], old = regs[to.reg];
  const by = name === 'inc' ? 1 : name === 'dec' ? -1 : from?.c === 'I' && name === 'add' ? from.value : from?.c === 'I' && name === 'sub' ? -from.value : null;
  if (by !== null) regs[to.reg] = { root: old.root, offset: old.offset + by | 0 };
  else if (name === 'mov' && from?.c === 'R') regs[to.reg] = regs[from.reg];
  else if (name === 'lea' && from?.c === 'M' && from.base >= 0 && from.index < 0 && !insn.addr16) regs[to.reg] = { root: regs[from.base].root, offset: regs[from.base].offset + from.disp | 0 };
  else regs[to.reg] = fresh();
}

/** `strips`: numbers of blocks that are emitted twice (strip.ts); what follows them cannot know which copy ran. */
export function groupAccesses(region: Region, apart: ReadonlySet<number>, strips: { has(block: number): boolean } = new Set<number>()): Groups {
  const { blocks, idom, predecessors, loopHeader } = region;
  const grouped: Map<number, Grouped>[] = blocks.map(() => new Map<number, Grouped>());
  /** Reached from one block only, which is emitted around it. */
  const follows = (b: number): boolean => predecessors[b].length === 1 && idom[b] === predecessors[b][0] && !loopHeader[b] && !strips.has(predecessors[b][0]);
  let roots = 0;
  const fresh = (): Sym => ({ root: `r${roots++}`, offset: 0 });

  const block = (b: number, inherited: readonly Sym[] | null, open: Map<string, Seen[]>): void => {
    const regs: Sym[] = inherited ? [...inherited] : Array.from({ length: 8 }, fresh);
    blocks[b].insns.forEach(({ insn, eip }, n) => follow(insn, regs, fresh, (kind, address, bytes, write) => {
      if (apart.has(eip)) return;
      const list = open.get(address.root), seen = { block: b, insn: n, kind, offset: address.offset, bytes, write, eip };
      if (list) list.push(seen); else open.set(address.root, [seen]);
    }));
    // The first of the blocks that only this one leads to extends the list; the others know the roots and begin lists of their own.
    let extended = false;
    for (const target of new Set(blocks[b].targets)) {
      const t = region.index.get(target);
      if (t === undefined || !follows(t) || predecessors[t][0] !== b) continue;
      if (!extended) block(t, regs, open);
      else path(t, regs);
      extended = true;
    }
  };
  const form = (open: ReadonlyMap<string, readonly Seen[]>): void => {
    for (const list of open.values()) {
      for (let rest = list; rest.length > 1;) {
        const first = rest[0], near: Seen[] = [], far: Seen[] = [];
        let low = first.offset, high = first.offset + first.bytes;
        for (const seen of rest) {
          const l = Math.min(low, seen.offset), h = Math.max(high, seen.offset + seen.bytes);
          if (h - l <= MAX_SPAN) { near.push(seen); low = l; high = h; } else far.push(seen);
        }
        rest = far;
        if (near.length < 2) continue;
        const group: Group = { low: low - first.offset, span: high - low, write: near.some(({ write }) => write), oneAddress: near.every(({ offset, bytes }) => offset === first.offset && bytes === first.bytes) };
        near.forEach(({ block: b, insn, kind, offset }, i) => {
          const entry = grouped[b].get(insn) ?? {};
          entry[kind] = { group, first: i === 0, offset: offset - first.offset };
          grouped[b].set(insn, entry);
        });
      }
    }
  };
  const path = (b: number, inherited: readonly Sym[] | null): void => {
    const open = new Map<string, Seen[]>();
    block(b, inherited, open);
    form(open);
  };
  for (let b = 0; b < blocks.length; b++) if (!follows(b)) path(b, null);
  return grouped;
}
