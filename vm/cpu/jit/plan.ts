/**
 * What the emitter wants to know of a region beforehand: which flags somebody may see, and how long a path without a checkpoint can be.
 *
 * Somebody sees the flags at every way out: a memory access that faults or is left to tier 0, a checkpoint, an exit. So an instruction
 * that touches memory makes everything live in front of it; a loop that only computes has no live flags across its back edge.
 */
import { FLAGS_ALL } from '../isa/entries.ts';
import type { Insn } from '../isa/decode.ts';
import type { Region } from './cfg.ts';
import type { Grouped, Groups } from './groups.ts';

export interface Plan {
  readonly isEntry: readonly boolean[];
  /** Instructions on the longest path from the start of a block until the next checkpoint. */
  readonly path: readonly number[];
  /** Longest path from any entry. */
  readonly longest: number;
  /** Somebody may see the flags that were set before this block. */
  readonly flagsLive: readonly boolean[];
  /** By block and instruction: its flags are seen. */
  readonly flagsNeeded: readonly (readonly boolean[])[];
}

/** An access that may leave the region. Later accesses of a group cannot. */
function mayLeave({ entry, ops }: Insn, grouped: Grouped | undefined): boolean {
  const later = (kind: 'explicit' | 'stack'): boolean => grouped?.[kind]?.first === false;
  return entry.str || entry.name === 'xlat' || (entry.stack && !later('stack')) || (entry.name !== 'lea' && ops.some(op => op.c === 'M') && !later('explicit'));
}

export function planRegion(region: Region, groups: Groups): Plan {
  const { blocks, index } = region;
  const isEntry = blocks.map(() => false);
  for (const entry of region.entries) isEntry[entry] = true;
  const path = blocks.map(block => block.insns.length);
  for (let i = blocks.length - 1; i >= 0; i--) {
    let longest = 0;
    for (const target of blocks[i].targets) {
      const t = index.get(target);
      if (t !== undefined && t > i && !isEntry[t]) longest = Math.max(longest, path[t]);
    }
    path[i] += longest;
  }
  /** Backward over one block from what is live behind it; optionally notes which instructions are needed. */
  const backward = (i: number, liveOut: number, note?: boolean[]): number => {
    let live = liveOut;
    const { insns } = blocks[i];
    for (let n = insns.length - 1; n >= 0; n--) {
      const { insn } = insns[n], { entry } = insn;
      const memory = mayLeave(insn, groups[i].get(n));
      if (memory) live = FLAGS_ALL;
      if (note) note[n] = (live & entry.writes) !== 0;
      live = (live & ~entry.kills) | entry.reads;
      if (memory || entry.fault) live = FLAGS_ALL;
    }
    return live;
  };
  const liveIn = blocks.map(() => 0);
  const liveOut = (i: number): number => {
    const block = blocks[i];
    if (block.leaves || block.targets.length === 0) return FLAGS_ALL;
    let live = 0;
    for (const target of block.targets) {
      const t = index.get(target);
      live |= t === undefined || isEntry[t] || t <= i ? FLAGS_ALL : liveIn[t];
    }
    return live;
  };
  for (let changed = true; changed;) {
    changed = false;
    for (let i = blocks.length - 1; i >= 0; i--) {
      const live = backward(i, liveOut(i));
      if (live !== liveIn[i]) { liveIn[i] = live; changed = true; }
    }
  }
  const flagsNeeded = blocks.map((block, i) => { const note = new Array<boolean>(block.insns.length); backward(i, liveOut(i), note); return note; });
  return { isEntry, path, longest: Math.max(...region.entries.map(entry => path[entry])), flagsLive: liveIn.map(live => live !== 0), flagsNeeded };
}
