/**
 * The 32-byte record of one decoded guest instruction: what tier 0 executes.
 *
 *      0      2      4     5     6      7      8        12            16       20       24      28
 *     +------+------+-----+-----+------+------+--------+-------------+--------+--------+-------+------+
 *     | kind | delta| rest| len | scale| seg  | reg0   | base / reg1 | index  | disp   | imm   | link |
 *     +------+------+-----+-----+------+------+--------+-------------+--------+--------+-------+------+
 *
 * kind   index into the br_table; see KIND and forms.ts
 * delta  EIP of the instruction minus EIP of its block
 * rest   instructions of the block from this one on: the count to give back if it does not complete
 * seg    segment register of a general memory operand; bit 7: 16-bit addresses
 * reg0.. absolute board addresses of registers in the vCPU block (base or index absent: the zero word)
 * imm    immediate, or target EIP minus block EIP of a direct jump
 * link   record address of the target block (0: look it up), or the table slot (RARE) or instruction index (JS).
 *        A SYSTEM record is a JS one that first tries the fast operation whose table slot is in reg0 (tier0/system.ts).
 *        A TRACE record stands in front of an instruction and counts none: its link is the trace point (vm/cpu/trace.ts).
 *        A BREAK record stands in front of an instruction at a breakpoint (or at its offset in another page), counts none and asks the engine.
 *        A conditional jump keeps the fall-through link in `disp`.
 *
 * A block is consecutive records ended by a control transfer or an END record. Invalidating a block overwrites the kind of
 * all its records with LEAVE: the running block stops after the current instruction, and links or jump-cache entries that
 * still point there fall out by themselves. Record memory is reused only after every link has been dropped (flush).
 */
export const RECORD_BYTES = 32;
export const R = { kind: 0, delta: 2, rest: 4, len: 5, scale: 6, seg: 7, reg0: 8, base: 12, reg1: 12, index: 16, disp: 20, imm: 24, link: 28 } as const;

/** Kinds with a fixed meaning; instruction forms follow from FIRST_FORM on. */
export const KIND = { LEAVE: 0, END: 1, END_CHECK: 2, RARE: 3, JS: 4, REGION: 5, SYSTEM: 6, TRACE: 7, BREAK: 8, FIRST_FORM: 9 } as const;

/** What a rare function returns. */
export const RARE = { NEXT: 0, FAULT: 1, JUMP: 2 } as const;
/** What a fast operation returns: not for us, go on at state.eip, go on with the next record. */
export const FAST = { REFUSED: 0, JUMP: 2, NEXT: 3 } as const;

/** Jump cache: 4096 entries of 16 bytes {eip, mode, record, -} per view and privilege. */
export const JUMP_CACHE_ENTRIES = 4096;
export const JUMP_CACHE_BYTES = JUMP_CACHE_ENTRIES * 16;
