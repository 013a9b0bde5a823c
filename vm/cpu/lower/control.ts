/**
 * Jumps, calls, conditional moves and the stack instructions. Near transfers only: whatever loads CS is in vm/cpu/system.
 */
import { FLAG, S, VEC } from '../state.ts';
import { CONDITION_NAMES } from '../isa/table.ts';
import * as w from '../wasm.ts';
import type { N } from '../wasm.ts';
import type { Cx, Semantics } from './context.ts';

const k = w.k;
/** EIP after a transfer: 16 bits with a 16-bit operand size. */
const target = (c: Cx, eip: N): N => c.operandSize === 16 ? w.and(eip, k(0xffff)) : eip;

/** LOOP family: counts in ECX or CX by address size. */
const loop = (condition: number | null): Semantics => c => {
  const bits = c.address16() ? 16 : 32;
  const count = c.let(w.sub(c.getReg(1, bits), k(1)));
  const taken = condition === null ? w.ne(c.unsigned(count, bits), k(0))
    : w.and(w.ne(c.unsigned(count, bits), k(0)), w.ne(c.condition(condition), k(0)));
  const pinned = c.let(taken);
  c.setReg(1, bits, count);
  c.branch(pinned, 0);
};

/** PUSHA/POPA: eight accesses, all checked before the first change. */
const pushAll: Semantics = c => {
  const bytes = c.operandSize >> 3, esp = c.let(c.getReg(4, 32));
  // In the order of the pushes, so that CR2 is that of the first one that fails.
  const slot = (i: number): N => c.stackAddress(c.let(w.sub(esp, k(bytes * (i + 1)))), bytes, true);
  const probe = (i: number): void => { c.fn.drop(w.call(c.slow.readForWrite[c.operandSize], w.I, c.cpu, slot(i), ...c.where())); c.faultIf(c.state(S.fault)); };
  for (let i = 0; i < 8; i++) probe(i);
  for (let i = 0; i < 8; i++) c.writeMemory(slot(i), c.operandSize, i === 4 ? esp : c.getReg(i, 32));
  c.setStackPointer(w.sub(esp, k(bytes * 8)));
};
const popAll: Semantics = c => {
  const bytes = c.operandSize >> 3, esp = c.let(c.getReg(4, 32));
  // Registers popped before a fault keep the new values and ESP the old one, as on the processors the vectors were captured on.
  for (let i = 0; i < 8; i++) {
    const value = c.readMemory(c.stackAddress(c.let(w.add(esp, k(bytes * i))), bytes, false), c.operandSize);
    if (i !== 3) c.setReg(7 - i, c.operandSize, value);
  }
  c.setStackPointer(w.add(esp, k(bytes * 8)));
};

export const CONTROL: Record<string, Semantics> = {
  jmp: c => c.jump(0),
  jmp_ind: c => c.jumpTo(target(c, c.rd(0))),
  call: c => { c.push(target(c, c.nextEip()), c.operandSize); c.jump(0); },
  call_ind: c => { const to = c.let(target(c, c.rd(0))); c.push(target(c, c.nextEip()), c.operandSize); c.jumpTo(to); },
  ret: c => {
    const eip = c.let(target(c, c.peek(c.operandSize)));
    c.setStackPointer(w.add(c.getReg(4, 32), w.add(k(c.operandSize >> 3), c.operandCount() ? c.rd(0) : k(0))));
    c.jumpTo(eip);
  },
  loop: loop(null), loope: loop(4), loopne: loop(5),
  jcxz: c => c.branch(w.eqz(c.getReg(1, c.address16() ? 16 : 32)), 0),
  push: c => c.push(c.rd(0), c.operandSize),
  pop: c => {
    const value = c.peek(c.operandSize);
    c.setStackPointer(w.add(c.getReg(4, 32), k(c.operandSize >> 3)));
    c.wr(0, value);
  },
  // ESP last: the decoder leaves addresses that depend on ESP to TypeScript.
  pop_e: c => {
    const value = c.let(c.peek(c.operandSize));
    if (c.operandClass(0) !== 'R') c.wr(0, value);
    c.setStackPointer(w.add(c.getReg(4, 32), k(c.operandSize >> 3)));
    if (c.operandClass(0) === 'R') c.wr(0, value);
  },
  pusha: pushAll, popa: popAll,
  pushf: c => {
    const flags = c.let(c.state(S.eflags));
    // V86 mode with IOPL < 3: #GP (no VME).
    c.raiseIf(w.and(w.ne(w.and(flags, k(FLAG.VM)), k(0)), w.ne(w.and(flags, k(FLAG.IOPL)), k(FLAG.IOPL))), VEC.GP, 0);
    c.push(w.or(w.and(flags, k(~(FLAG.RF | FLAG.VM))), c.arithmeticFlags()), c.operandSize);
  },
  mov_from_cr: c => {
    c.raiseIf(c.state(S.cpl), VEC.GP, 0);
    // CR0, CR2, CR3 and CR4 stand one behind the other.
    const number = c.let(c.imm(1));
    c.wr(0, w.load(w.add(c.cpu, w.shl(w.sub(number, w.ne(number, k(0))), k(2))), S.cr0));
  },
  leave: c => {
    const ebp = c.let(c.getReg(5, 32));
    const value = c.readMemory(c.stackAddress(ebp, c.operandSize >> 3, false), c.operandSize);
    c.setStackPointer(w.add(ebp, k(c.operandSize >> 3)));
    c.setReg(5, c.operandSize, value);
  },
};
for (let i = 0; i < 16; i++) {
  const name = CONDITION_NAMES[i];
  CONTROL[`j${name}`] = c => c.branch(c.condition(i), 0);
  CONTROL[`set${name}`] = c => c.wr(0, w.ne(c.condition(i), k(0)));
  CONTROL[`cmov${name}`] = c => {
    const value = c.let(c.rd(1));
    c.fn.if(c.condition(i), () => c.wr(0, value));
  };
}
for (const [i, name] of ['es', 'cs', 'ss', 'ds', 'fs', 'gs'].entries()) {
  // A 32-bit PUSH Sreg writes the selector zero-extended.
  CONTROL[`push_${name}`] = c => c.push(c.state(S.seg + i * 16), c.operandSize);
}
