/**
 * Trace points inside the CPU engine (vm/trace.ts says what they are): where blocks must be cut, and what a record takes along.
 *
 * The block cache asks `at` for every instruction it decodes and cuts there; regions leave such instructions to tier 0. When the TRACE
 * record in front of the instruction runs, `record` evaluates the point's words. It reads guest memory without any trace of itself: no
 * accessed bits, no faults, no counters.
 */
import { CAPTURE_REGISTERS, MARK_BASE, MARK_LIMIT, TRACE_EVENT, type TracePlan, type TracePoint, type TraceWriter } from '../trace.ts';
import type { Insn } from './isa/decode.ts';
import type { Mmu } from './mmu.ts';
import { S } from './state.ts';

/** `at` answers: no point here. */
export const NO_POINT = -1;
/** Indices of marks begin here. */
const MARKS = 1 << 20;
const REGISTER_FIELD = new Map(CAPTURE_REGISTERS.map((name) => [name, S[name] >> 2]));

interface Compiled { readonly id: number; readonly code: Uint8Array | undefined; readonly words: readonly { readonly field: number; readonly add: number; readonly load: readonly number[] }[] }

export class CpuTrace {
  readonly events: boolean;
  private readonly marks: boolean;
  private readonly points: readonly Compiled[];
  private readonly byAddress = new Map<number, number[]>();
  private readonly writer: TraceWriter;
  private readonly mmu: Mmu;
  private readonly words: Int32Array;

  constructor(plan: TracePlan, writer: TraceWriter, mmu: Mmu, words: Int32Array) {
    this.writer = writer; this.mmu = mmu; this.words = words;
    this.events = plan.events; this.marks = plan.marks;
    this.points = plan.points.map(({ id, words: list, code }: TracePoint) => ({ id, code, words: list.map(({ from, add = 0, load = [] }) => ({ field: REGISTER_FIELD.get(from)!, add, load })) }));
    plan.points.forEach(({ address }, index) => {
      const here = this.byAddress.get(address >>> 0);
      if (here) here.push(index); else this.byAddress.set(address >>> 0, [index]);
    });
  }

  /** Index of the point at a linear address, or NO_POINT. `source[at]` is its first byte; what lies past `end` is not compared. */
  at(linear: number, insn: Insn, source: Uint8Array, at: number, end: number): number {
    if (this.marks && insn.entry.name === 'nop') {
      const op = insn.ops[0];
      if (op?.c === 'M' && op.base < 0 && op.index < 0 && (op.disp & ~(MARK_LIMIT - 1)) === MARK_BASE) return MARKS + (op.disp & MARK_LIMIT - 1);
    }
    const here = this.byAddress.get(linear >>> 0);
    if (here === undefined) return NO_POINT;
    return here.find((index) => {
      const code = this.points[index].code;
      if (code === undefined) return true;
      const count = Math.min(code.length, end - at);
      for (let i = 0; i < count; i++) if (source[at + i] !== code[i]) return false;
      return true;
    }) ?? NO_POINT;
  }

  /** The instruction of point `index` is about to run; `retired` counts those before it. */
  record(index: number, retired: number): void {
    const { words, writer } = this;
    if (index >= MARKS) {
      writer.write(TRACE_EVENT.mark + index - MARKS, retired, words[S.eax >> 2], words[S.edx >> 2], words[S.ecx >> 2], words[S.countInRegions >> 2]);
      return;
    }
    const point = this.points[index], list = point.words;
    writer.write(point.id, retired, this.word(list[0]), this.word(list[1]), this.word(list[2]), this.word(list[3]));
  }
  event(id: number, retired: number, w0: number, w1: number): void { this.writer.write(id, retired, w0, w1, 0, 0); }

  private word(word: Compiled['words'][number] | undefined): number {
    if (word === undefined) return 0;
    let value = this.words[word.field] + word.add | 0;
    for (const offset of word.load) {
      const at = value + offset | 0;
      const known = this.mmu.peekMapped(at);
      if (known !== undefined) { value = known; continue; }
      const physical = (at & 3) === 0 ? this.mmu.inspect(at) : -1;
      if (physical < 0 || physical >= this.mmu.ramBytes) return 0;
      value = this.mmu.ramWords[physical >>> 2];
    }
    return value;
  }
}
