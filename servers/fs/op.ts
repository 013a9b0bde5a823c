/**
 * One request in work: its arguments (copied once from the ring), its results, and the buffers that must live across a `pause`.
 * There is one Op for each fiber; the record lies in private memory and dies with the incarnation.
 */
import { reserve } from './host';

export const PATH_BYTES: u32 = 4096; // Linux PATH_MAX

@unmanaged @final export class Op {
  code: u32; ringSlot: u32;
  keyBadge: u32; keySerial: u32; keySeq: u32; keySub: u32;
  hash: u32; // of operation and arguments: a key that comes back with another request is refused
  a0: u32; a1: u32; a2: u32; a3: u32; a4: u32; a5: u32;
  r0: u32; r1: u32; r2: u32; r3: u32;
  stored: bool; // the reply is in the redo record of a committed transaction
  path: usize; // PATH_BYTES * 2: the path being resolved; symlinks are spliced in
  path2: usize; // the second path of rename and link
  scratch: usize; // PATH_BYTES: link targets
}
export function newOp(): Op {
  const op = changetype<Op>(reserve(offsetof<Op>()));
  op.path = reserve(PATH_BYTES * 2);
  op.path2 = reserve(PATH_BYTES * 2);
  op.scratch = reserve(PATH_BYTES);
  return op;
}
export const OP_MEMORY: u32 = PATH_BYTES * 5 + 256;
