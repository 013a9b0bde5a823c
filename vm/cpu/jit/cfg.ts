/**
 * What a region consists of: up to MAX_BLOCKS basic blocks reachable from an entry by direct transfers, over several pages when they
 * are mapped, plus the facts structured code needs (reverse post-order, dominators, loop headers).
 *
 * Node 0 is the dispatcher: a virtual root with an edge to every *entry block*, a block where control may arrive from outside:
 * the head, loop headers, the instruction after a call (returns come back through the jump cache) and after an instruction that only
 * tier 0 runs.
 * Calls are edges to the callee, so a hot callee and its caller live in one function.
 *
 * Blocks need not be cut where tier 0 cuts them: when the budget does not reach for a region's block, the region leaves in front of it
 * and tier 0, which counts its own blocks, runs the exact remainder.
 */
import { decode, type Insn } from '../isa/decode.ts';
import { SEMANTICS } from '../lower/index.ts';
import { inlined } from './inline.ts';

export const MAX_BLOCKS = 96;
export const MAX_BLOCK_INSNS = 48;
export const MAX_REGION_INSNS = 900;
const MAX_TABLE = 64;

export interface RegionInsn { readonly insn: Insn; readonly eip: number }
export interface Block {
  readonly eip: number;
  readonly insns: readonly RegionInsn[];
  /** EIP after the last instruction. */
  readonly next: number;
  /** Static successors inside or outside the region, in the order taken, fall-through. */
  readonly targets: readonly number[];
  /** Last instruction is one that only tier 0 runs: leave at its EIP. */
  readonly leaves: boolean;
}
export interface Region {
  readonly head: number;
  /** In reverse post-order from the dispatcher; index = number used by br_table. */
  readonly blocks: readonly Block[];
  readonly index: ReadonlyMap<number, number>;
  /** Block numbers control may enter at from outside; the head is one. */
  readonly entries: readonly number[];
  /** Immediate dominator by block number; -1 = the dispatcher. */
  readonly idom: readonly number[];
  readonly predecessors: readonly (readonly number[])[];
  readonly loopHeader: readonly boolean[];
}

/** Bytes of the page at a page-aligned virtual address as code in the current view, or null when it is not mapped executable. */
export type FetchPage = (page: number) => Uint8Array | null;

const CONDITIONAL = /^(j(o|no|b|ae|z|nz|be|a|s|ns|p|np|l|ge|le|g|cxz)|loop(e|ne)?)$/;

/** Bytes at eip, across a page boundary if the next page is there. */
function fetch(page: FetchPage, eip: number, scratch: Uint8Array): { bytes: Uint8Array; at: number; end: number } | null {
  const first = page((eip & ~4095) >>> 0);
  if (!first) return null;
  const offset = eip & 4095;
  if (offset <= 4096 - 15) return { bytes: first, at: offset, end: 4096 };
  const rest = 4096 - offset;
  scratch.set(first.subarray(offset));
  const second = page(((eip & ~4095) + 4096) >>> 0);
  if (!second) return { bytes: scratch, at: 0, end: rest };
  scratch.set(second.subarray(0, 16), rest);
  return { bytes: scratch, at: 0, end: rest + 16 };
}

/** Instructions that only tier 0 runs: system helpers, what nobody has lowered, and near transfers that truncate EIP to 16 bits. */
function systemInsn(insn: Insn): boolean {
  if (inlined(insn)) return false;
  return insn.entry.js || !(insn.entry.name in SEMANTICS) || (insn.operandSize === 16 && (insn.entry.end || insn.entry.stack));
}

const endsBlock = (insn: Insn): boolean => (insn.entry.end && !inlined(insn)) || (insn.entry.str && insn.rep !== 0);

export interface Source {
  readonly page: FetchPage;
  /** Instructions that tier 0 keeps for itself: those that talk to devices, and trace points. */
  avoid(eip: number, insn: Insn): boolean;
  /** A dword of guest data when it can be had without a page walk: jump tables are guessed from it. */
  peek(va: number): number | undefined;
}

/** That a register was found below `limit` in front of an instruction: what `cmp reg, limit; jae` and `cmp reg, limit - 1; ja` leave behind. */
interface Bound { readonly reg: number; readonly limit: number }
function boundBehind(compare: Insn | undefined, jump: Insn): Bound | undefined {
  const [a, b] = compare?.entry.name === 'cmp' ? compare.ops : [];
  if (a?.c !== 'R' || a.size !== 32 || b?.c !== 'I' || (jump.entry.name !== 'jae' && jump.entry.name !== 'ja')) return undefined;
  return { reg: a.reg, limit: (b.value >>> 0) + (jump.entry.name === 'ja' ? 1 : 0) };
}

/**
 * Targets of `jmp [table + reg * 4]` or `call`, as long as they look like code nearby: as many as the check in front of a compiled switch
 * leaves, because tables lie one behind the other. A wrong guess is an entry nobody uses, or one that is missing.
 */
function jumpTable(insn: Insn, eip: number, source: Source, bound: Bound | undefined): number[] {
  const op = insn.ops[0];
  if ((insn.entry.name !== 'jmp_ind' && insn.entry.name !== 'call_ind') || op?.c !== 'M' || op.index < 0 || op.scale !== 2) return [];
  const targets: number[] = [];
  const most = bound?.reg === op.index ? Math.min(bound.limit, MAX_TABLE) : MAX_TABLE;
  for (let i = 0; i < most; i++) {
    const target = source.peek((op.disp + i * 4) | 0);
    if (target === undefined || Math.abs((target | 0) - (eip | 0)) > 0x10000 || !source.page((target & ~4095) >>> 0)) break;
    targets.push(target >>> 0);
  }
  return targets;
}

export function discover(head: number, mode: number, source: Source): Region | null {
  const { page } = source;
  const onlyTier0 = (insn: Insn, eip: number): boolean => systemInsn(insn) || source.avoid(eip, insn);
  const maxInsns = MAX_BLOCK_INSNS;
  const scratch = new Uint8Array(64);
  const decoded = new Map<number, Insn | null>();
  const decodeAt = (eip: number): Insn | null => {
    let insn = decoded.get(eip);
    if (insn === undefined) {
      const at = fetch(page, eip, scratch);
      insn = at ? decode(at.bytes, at.at, at.end, mode) : null;
      decoded.set(eip, insn);
    }
    return insn;
  };
  // Leaders, breadth first; the instruction limit bounds the region.
  const leaders = new Set<number>([head]);
  const entryEips = new Set<number>([head]);
  const walked = new Set<number>();
  const queue = [head];
  const bounds = new Map<number, Bound>();
  let count = 0;
  while (queue.length > 0 && leaders.size <= MAX_BLOCKS && count < MAX_REGION_INSNS) {
    let eip = queue.shift()!;
    const add = (target: number, entry = false): void => {
      if (leaders.size >= MAX_BLOCKS && !leaders.has(target)) return;
      if (entry) entryEips.add(target);
      leaders.add(target);
      if (!walked.has(target)) queue.push(target);
    };
    const bound = bounds.get(eip);
    let previous: Insn | undefined;
    for (;;) {
      if (walked.has(eip) || count >= MAX_REGION_INSNS) break;
      const insn = decodeAt(eip);
      if (!insn) break;
      walked.add(eip);
      count++;
      const next = (eip + insn.length) >>> 0;
      if (onlyTier0(insn, eip)) {
        if (insn.entry.name !== 'hlt' && insn.entry.name !== 'iret' && insn.entry.name !== 'sysexit' && insn.entry.name !== 'ud2' && insn.entry.name !== 'undefined') add(next, true);
        break;
      }
      if (endsBlock(insn)) {
        const first = insn.ops[0];
        const target = first?.c === 'J' ? (next + first.value) >>> 0 : undefined;
        if (insn.entry.name === 'call' || insn.entry.name === 'call_ind') add(next, true);
        // A REP may use up any budget: what follows asks again, as every entry does.
        else if (insn.entry.str) add(next, true);
        else if (CONDITIONAL.test(insn.entry.name)) {
          const left = boundBehind(previous, insn);
          if (left) bounds.set(next, left);
          add(next);
        }
        if (target !== undefined) add(target);
        for (const indirect of jumpTable(insn, eip, source, bound)) add(indirect, true);
        break;
      }
      previous = insn;
      eip = next;
    }
  }
  // Blocks between leaders.
  const raw = new Map<number, Block>();
  for (const leader of leaders) {
    if (!walked.has(leader)) continue;
    const insns: RegionInsn[] = [];
    let eip = leader, targets: number[] = [], leaves = false;
    for (;;) {
      const insn = walked.has(eip) ? decodeAt(eip) : null;
      if (!insn || (insns.length > 0 && leaders.has(eip)) || insns.length === maxInsns) { targets = [eip]; break; }
      const next = (eip + insn.length) >>> 0;
      if (onlyTier0(insn, eip)) { leaves = true; break; }
      insns.push({ insn, eip });
      eip = next;
      if (endsBlock(insn)) {
        const first = insn.ops[0];
        if (first?.c === 'J') targets.push((next + first.value) >>> 0);
        if (CONDITIONAL.test(insn.entry.name) || insn.entry.str) targets.push(next);
        break;
      }
    }
    if (insns.length > 0) raw.set(leader, { eip: leader, insns, next: eip, targets, leaves });
    // A block cut at maxInsns goes on at a leader of its own.
    if (insns.length === maxInsns && targets.length === 1 && !leaders.has(targets[0]) && walked.has(targets[0])) leaders.add(targets[0]);
  }
  if (!raw.has(head)) return null;
  const entries = new Set([...entryEips].filter(eip => raw.has(eip)));
  // Loop headers are entries as well: whoever leaves a loop for want of budget comes back at its next turn.
  const plain = order(head, raw, [...entries]);
  plain.blocks.forEach((block, i) => { if (plain.predecessors[i].some(p => p >= i)) entries.add(block.eip); });
  return order(head, raw, [...entries]);
}

/** Reverse post-order, dominators (Cooper, Harvey, Kennedy 2001) and loop headers. */
function order(head: number, raw: ReadonlyMap<number, Block>, entryEips: readonly number[]): Region {
  const postorder: Block[] = [], seen = new Set<number>();
  // The fall-through is visited first, so that the likely path ends up adjacent.
  const visit = (start: number): void => {
    const stack: { block: Block; next: number }[] = [];
    const push = (eip: number): void => {
      const block = raw.get(eip);
      if (block && !seen.has(eip)) { seen.add(eip); stack.push({ block, next: 0 }); }
    };
    push(start);
    while (stack.length > 0) {
      const top = stack[stack.length - 1];
      if (top.next < top.block.targets.length) push(top.block.targets[top.next++]);
      else { postorder.push(top.block); stack.pop(); }
    }
  };
  for (const eip of [...entryEips.filter(eip => eip !== head).reverse()]) visit(eip);
  visit(head);
  const blocks = postorder.reverse();
  const index = new Map(blocks.map((block, i) => [block.eip, i]));
  const entries = entryEips.map(eip => index.get(eip)!);
  const predecessors: number[][] = blocks.map(() => []);
  blocks.forEach((block, i) => { for (const target of new Set(block.targets)) { const t = index.get(target); if (t !== undefined) predecessors[t].push(i); } });
  const isEntry = new Set(entries);
  // Dominators with the dispatcher as node -1.
  const idom: (number | undefined)[] = blocks.map((_, i) => isEntry.has(i) ? -1 : undefined);
  const meet = (a: number, b: number): number => {
    while (a !== b) { while (a > b) a = idom[a] ?? -1; while (b > a) b = idom[b] ?? -1; }
    return a;
  };
  for (let changed = true; changed;) {
    changed = false;
    for (let i = 0; i < blocks.length; i++) {
      if (isEntry.has(i)) continue;
      let best: number | undefined;
      for (const p of predecessors[i]) if (idom[p] !== undefined) best = best === undefined ? p : meet(best, p);
      if (best !== undefined && best !== idom[i]) { idom[i] = best; changed = true; }
    }
  }
  const dominators = idom.map(d => d ?? -1);
  const dominates = (a: number, b: number): boolean => { for (let x = b; x >= 0; x = dominators[x]) if (x === a) return true; return false; };
  const loopHeader = blocks.map((_, i) => predecessors[i].some(p => p >= i && dominates(i, p)));
  return { head, blocks, index, entries, idom: dominators, predecessors, loopHeader };
}
