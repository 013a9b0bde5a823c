/**
 * Where a fault strikes: the golden trace seen as the instructions of one target, and the points chosen in it.
 *
 * An instruction is named by its offset (instructions of the whole machine before it). A target's instructions are numbered on their own,
 * in the order in which it retired them; `locate` turns such a number into block, EIP and offset by decoding the block from the image.
 */
import type { Insn } from '../../vm/cpu/isa/decode.ts';
import type { Golden, Owner, SystemCall, Trace } from './golden.ts';
import { moduleOf, type Module } from './symbols.ts';

/** The kernel as a target. Everything else is the name of a server or driver. */
export const KERNEL = 'kernel';

/** An instruction about to be executed in the golden run. */
export interface Moment { readonly offset: number; readonly cpu: number; readonly eip: number; readonly owner: Owner; readonly insn: Insn | undefined; /** Of the target's instructions. */ readonly number: number }

export class TargetTrace {
  readonly name: string;
  readonly module: Module;
  readonly owners: ReadonlySet<number>;
  /** Instructions the target retired. */
  readonly instructions: number;
  readonly #trace: Trace;
  readonly #golden: Golden;
  /** Trace indices of its blocks, and its instructions before each. */
  readonly #blocks: Uint32Array;
  readonly #before: Uint32Array;
  /** Where interrupts and exceptions enter the kernel. */
  readonly #entries: ReadonlySet<number>;

  constructor(golden: Golden, trace: Trace, name: string) {
    this.name = name;
    this.module = moduleOf(name);
    this.#golden = golden;
    this.#trace = trace;
    this.owners = new Set(trace.owners.flatMap((owner, n) => (owner.name === name && owner.kernel === (name === KERNEL) ? [n] : [])));
    const blocks: number[] = [], before: number[] = [];
    let sum = 0;
    const end = this.#ends();
    for (let n = 0; n < trace.count; n++) {
      if (!this.owners.has(trace.owner[n]!) || end[n]! <= trace.at[n]!) continue;
      blocks.push(n);
      before.push(sum);
      sum += end[n]! - trace.at[n]!;
    }
    this.instructions = sum;
    this.#entries = new Set(name === KERNEL ? this.module.debug?.functions.filter((f) => /^vector\d+$/.test(f.name)).map((f) => f.address) : []);
    this.#blocks = Uint32Array.from(blocks);
    this.#before = Uint32Array.from(before);
  }
  #ends(): Uint32Array {
    const { count, at } = this.#trace;
    const end = new Uint32Array(count);
    // While one vCPU is in its slice no other retires anything, so the next block of any vCPU ends this one as well.
    for (let n = 0; n + 1 < count; n++) end[n] = at[n + 1]!;
    if (count > 0) end[count - 1] = this.#golden.length;
    return end;
  }

  /**
   * The moment before the target's instruction `number`. The first instruction of an interrupt entry is no such moment (at its count the machine
   * still stands before the interrupted instruction): the second stands for it.
   */
  moment(number: number): Moment {
    const moment = this.#momentAt(number);
    return this.#entries.has(moment.eip) && number + 1 < this.instructions ? this.#momentAt(number + 1) : moment;
  }
  #momentAt(number: number): Moment {
    let low = 0, high = this.#blocks.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#before[middle]! <= number) low = middle; else high = middle - 1;
    }
    const n = this.#blocks[low]!, inBlock = number - this.#before[low]!;
    const owner = this.#trace.owners[this.#trace.owner[n]!]!;
    let eip = this.#trace.eip[n]!;
    let insn = this.module.instruction(eip);
    // A repeated string instruction counts once for every iteration and is the last of its block.
    for (let k = 0; k < inBlock && insn && !(insn.entry.str && insn.rep); k++) { eip += insn.length; insn = this.module.instruction(eip); }
    return { offset: this.#trace.at[n]! + inBlock, cpu: owner.cpu, eip, owner, insn, number };
  }
  /** Its instructions with offsets in [from, to): number of the first, and how many. */
  between(from: number, to: number): { readonly first: number; readonly count: number } {
    const before = (offset: number): number => {
      let sum = 0;
      for (let k = 0; k < this.#blocks.length; k++) {
        const at = this.#trace.at[this.#blocks[k]!]!;
        if (at >= offset) break;
        sum = this.#before[k]! + Math.min(offset - at, (this.#before[k + 1] ?? this.instructions) - this.#before[k]!);
      }
      return sum;
    };
    const first = before(from);
    return { first, count: before(to) - first };
  }
  /** Moments at which the target enters the block at `address`, in order: the hits of a symbol. */
  hits(address: number): Moment[] {
    const out: Moment[] = [];
    for (let k = 0; k < this.#blocks.length; k++) if (this.#trace.eip[this.#blocks[k]!] === address) out.push(this.moment(this.#before[k]!));
    return out;
  }
  /** System calls of the target with one of these operations (tag bits 28-31). */
  calls(operations: readonly number[]): readonly SystemCall[] { return this.#trace.calls.filter(({ space, ebx }) => this.owners.has(space) && operations.includes(ebx >>> 28)); }
  ownerOf(call: SystemCall): Owner { return this.#trace.owners[call.space]!; }
}
