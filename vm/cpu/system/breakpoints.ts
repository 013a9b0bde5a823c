/**
 * The guest's breakpoints in DR0 to DR3 (SDM vol. 3 17.2). With none enabled in DR7 nothing here runs. With any enabled the engine issues
 * instructions one at a time (MODE.SINGLE): execution breakpoints are looked up in front of each, data pages that are watched have no soft-MMU
 * entries, IN and OUT ask; what has matched is kept in `shadow` up to the boundary, where it is a trap.
 *
 * DR7: L0 G0 ... L3 G3 in bits 0-7, GD in bit 13, from bit 16 on four bits each: R/W (0 execution, 1 writes, 2 ports if CR4.DE, 3 reads and writes)
 * and LEN (0: 1 byte, 1: 2, 3: 4, 2: 8).
 */
import { CR4, DR7_ENABLES, HITS_SHIFT, S } from '../state.ts';

export interface DataBreakpoint { readonly index: number; readonly linear: number; readonly bytes: number; readonly read: boolean }

const LENGTHS = [1, 2, 8, 4];
const KIND = { EXECUTE: 0, WRITE: 1, PORT: 2, ACCESS: 3 } as const;

/** Enabled breakpoints of the kinds asked for. */
function* enabled(words: Int32Array): Generator<{ index: number; kind: number; at: number; bytes: number }> {
  const dr7 = words[S.dr7 >> 2];
  for (let index = 0; index < 4; index++) {
    if (!(dr7 >> index * 2 & 3)) continue;
    const kind = dr7 >> 16 + index * 4 & 3, bytes = LENGTHS[dr7 >> 18 + index * 4 & 3];
    // The address is taken as aligned to its length (17.2.5).
    yield { index, kind, bytes, at: (words[(S.dr0 >> 2) + index] & -bytes) >>> 0 };
  }
}

export class Breakpoints {
  readonly words: Int32Array;
  data: readonly DataBreakpoint[] = [];
  private instructions: readonly { readonly bit: number; readonly linear: number }[] = [];
  private key = '';
  /** DR0 to DR3 and DR7 as last seen. */
  private readonly seen = new Int32Array(5);

  constructor(words: Int32Array) { this.words = words; }

  /** Reads the registers anew; true when the data breakpoints are others than before. */
  update(): boolean {
    const { words, seen } = this;
    let same = seen[4] === words[S.dr7 >> 2];
    for (let i = 0; i < 4; i++) same &&= seen[i] === words[(S.dr0 >> 2) + i];
    if (same) return false;
    for (let i = 0; i < 4; i++) seen[i] = words[(S.dr0 >> 2) + i];
    seen[4] = words[S.dr7 >> 2];
    const active = (words[S.dr7 >> 2] & DR7_ENABLES) !== 0, list = active ? [...enabled(words)] : [];
    this.instructions = list.filter(({ kind, bytes }) => kind === KIND.EXECUTE && bytes === 1).map(({ index, at }) => ({ bit: 1 << index, linear: at }));
    this.data = list.filter(({ kind }) => kind === KIND.WRITE || kind === KIND.ACCESS).map(({ index, kind, at, bytes }) => ({ index, linear: at, bytes, read: kind === KIND.ACCESS }));
    const key = this.data.map(({ index, linear, bytes, read }) => `${index} ${linear} ${bytes} ${read}`).join();
    if (key === this.key) return false;
    this.key = key;
    return true;
  }
  /** Bits of DR6 for an instruction at `linear`. */
  execution(linear: number): number { return this.instructions.reduce((bits, breakpoint) => breakpoint.linear === linear ? bits | breakpoint.bit : bits, 0); }
  hit(bits: number): void { this.words[S.shadow >> 2] |= bits << HITS_SHIFT; }
  /** An access to I/O ports. */
  static port(words: Int32Array, port: number, bytes: number): void {
    if (!(words[S.cr4 >> 2] & CR4.DE)) return;
    for (const { index, kind, at, bytes: length } of enabled(words)) {
      if (kind === KIND.PORT && port < at + length && at < port + bytes) words[S.shadow >> 2] |= 1 << index + HITS_SHIFT;
    }
  }
}
