/**
 * The architectural state of a vCPU as one byte string: the fields that vm/cpu/state.ts declares, in its order, with the arithmetic
 * flags materialised. Snapshots store it, hashes read it.
 *
 * Of the attention word only NMI, INIT and SIPI are state: INTR is the level of the interrupt controllers' output (recomputed on
 * restore), STOP and FLUSH are business of the host.
 */
import { ARCH_FIELDS, ATTN, S, readEflags, writeEflags } from './cpu/state.ts';
import { GUEST_RAM_BASE, type Board } from './board.ts';

const BYTES = ARCH_FIELDS.reduce((sum, field) => sum + field.bytes, 0);
const ATTENTION_STATE = ATTN.NMI | ATTN.INIT | ATTN.SIPI;
const positionOf = (name: string): number => {
  let at = 0;
  for (const field of ARCH_FIELDS) { if (field.name === name) return at; at += field.bytes; }
  throw new RangeError(`vm/cpu/state.ts declares no architectural field ${name}`);
};
const EFLAGS_AT = positionOf('eflags');
const ATTENTION_AT = positionOf('attention');

const i32Of = (board: Board): Int32Array => new Int32Array(board.buffer, 0, GUEST_RAM_BASE >> 2);

/** A copy of the state of vCPU `cpu`. */
export function saveCpu(board: Board, cpu: number): Uint8Array {
  const base = board.vcpuBase(cpu);
  const out = new Uint8Array((BYTES + 3) & ~3);
  let at = 0;
  for (const field of ARCH_FIELDS) {
    out.set(new Uint8Array(board.buffer, base + field.offset, field.bytes), at);
    at += field.bytes;
  }
  const view = new DataView(out.buffer);
  view.setInt32(EFLAGS_AT, readEflags(i32Of(board), base), true);
  view.setInt32(ATTENTION_AT, view.getInt32(ATTENTION_AT, true) & ATTENTION_STATE, true);
  return out;
}

/** Puts a saved state back. The engine of the vCPU must then be told (`invalidateAll`), and INTR recomputed. */
export function loadCpu(board: Board, cpu: number, saved: Uint8Array): void {
  const base = board.vcpuBase(cpu);
  let at = 0;
  for (const field of ARCH_FIELDS) {
    new Uint8Array(board.buffer, base + field.offset, field.bytes).set(saved.subarray(at, at + field.bytes));
    at += field.bytes;
  }
  const i32 = i32Of(board);
  writeEflags(i32, base, new DataView(saved.buffer, saved.byteOffset).getInt32(EFLAGS_AT, true));
  i32[(base + S.fault) >> 2] = 0;
}
