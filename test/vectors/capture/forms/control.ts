/** Branches, calls, returns, loops, the stack, software interrupts. Where EIP and ESP end up is the result. */
import { DATA, EAX, EBP, ECX, EDX, ESP, FLAG, HOLE, READ_ONLY, SELECTOR, SNIPPET, STACK } from '../../environment.ts';
import { bytes16, bytes32, emitRm, operand, type Scene } from '../scene.ts';
import type { Sheet } from '../sheet.ts';

const CONDITIONS = ['o', 'no', 'b', 'ae', 'e', 'ne', 'be', 'a', 's', 'ns', 'p', 'np', 'l', 'ge', 'le', 'g'] as const;
const PAD = [0xcc, 0xcc, 0xcc];
/** Displacements that never land inside the snippet itself: it would loop for ever. */
const near = (s: Scene): number => s.r.chance(50) ? s.r.below(0x300) : -16 - s.r.below(0x300);
const short = (s: Scene): number => (s.r.chance(50) ? s.r.below(128) : -8 - s.r.below(121)) & 255;

export function branch(sheet: Sheet): void {
  CONDITIONS.forEach((cc, i) => {
    sheet.form(`j${cc} rel8`, 48, s => { s.code.push(0x70 + i, short(s), ...PAD); });
    sheet.form(`j${cc} rel32`, 24, s => { s.code.push(0x0f, 0x80 + i, ...bytes32(near(s)), ...PAD); });
  });
  sheet.form('jmp rel8', 24, s => { s.code.push(0xeb, short(s)); });
  sheet.form('jmp rel32', 24, s => { s.code.push(0xe9, ...bytes32(near(s))); });
  sheet.form('jmp rel32 to a hole', 6, s => { s.code.push(0xe9, ...bytes32(0x4000 + s.r.below(64))); });
  sheet.form('call rel32', 24, s => { s.code.push(0xe8, ...bytes32(near(s))); });
  sheet.form('call rel32 stack fault', 12, s => { s.regs[ESP] = s.r.pick([HOLE + 4, HOLE + 2, DATA, READ_ONLY + 0x80, 4]); s.code.push(0xe8, ...bytes32(near(s))); });
  for (const memory of [false, true]) {
    const kind = memory ? 'mem' : 'reg';
    for (const [name, ext] of [['jmp', 4], ['call', 2]] as const) sheet.form(`${name} r/m ${kind}`, 32, s => {
      emitRm(s, { opcode: [0xff], size: 32, ext }, { rm: SNIPPET + near(s), memory, keep: [ESP] });
    });
  }
  for (const [name, opcode] of [['loopne', 0xe0], ['loope', 0xe1], ['loop', 0xe2], ['jecxz', 0xe3]] as const) {
    sheet.form(name, 32, s => { s.regs[ECX] = s.r.pick([0, 1, 2, 0x10000, 0x10001, 0xffffffff]); s.code.push(opcode, short(s), ...PAD); });
    sheet.form(`${name} a16`, 24, s => { s.regs[ECX] = s.r.pick([0, 1, 2, 0x10000, 0x10001, 0x20002, 0xffff0000, 0xffffffff]); s.code.push(0x67, opcode, short(s), ...PAD); });
    sheet.form(`inc, cmp, ${name} as a loop`, 24, s => {
      // inc edx; cmp edx, n; loop back: the flag condition and the count race.
      s.regs[ECX] = 1 + s.r.below(20); s.regs[EDX] = 0;
      s.code.push(0x42, 0x83, 0xfa, s.r.below(20), opcode, name === 'jecxz' ? 0 : 0xfa);
    });
  }
  const top = (s: Scene, value: number): void => { s.regs[ESP] = STACK - s.r.below(0x40) * 4 + (s.r.chance(15) ? s.r.below(4) : 0); s.poke(s.regs[ESP]!, bytes32(value)); };
  sheet.form('ret', 24, s => { top(s, SNIPPET + near(s)); s.code.push(0xc3); });
  sheet.form('rep ret', 4, s => { top(s, SNIPPET + near(s)); s.code.push(0xf3, 0xc3); });
  sheet.form('ret imm16', 24, s => { top(s, SNIPPET + near(s)); s.code.push(0xc2, ...bytes16(s.r.pick([0, 1, 4, 8, 0x100, 0x7fff, 0x8000, 0xffff]))); });
  sheet.form('ret stack fault', 12, s => { s.regs[ESP] = s.r.pick([HOLE, HOLE - 2, HOLE + 8, 0, 0xfffffffc]); s.code.push(0xc3); });
  sheet.form('ret to a hole', 6, s => { top(s, HOLE + s.r.below(64)); s.code.push(0xc3); });
  sheet.form('call and return', 24, s => {
    // call +1; int3; <body>; ret
    s.code.push(0xe8, 1, 0, 0, 0, 0xcc, 0x40 | s.r.below(4), 0xc3);
  });
  // Far transfers inside ring 3 and IRET, which also loads flags.
  sheet.form('retf same ring', 10, s => { top(s, SNIPPET + near(s)); s.poke(s.regs[ESP]! + 4, bytes32(SELECTOR.code | s.r.u32() << 16)); s.code.push(0xcb); });
  sheet.form('retf imm16 same ring', 10, s => { top(s, SNIPPET + near(s)); s.poke(s.regs[ESP]! + 4, bytes32(SELECTOR.code)); s.code.push(0xca, ...bytes16(s.r.pick([0, 4, 12]))); });
  sheet.form('jmp far imm', 8, s => { s.code.push(0xea, ...bytes32(SNIPPET + near(s)), ...bytes16(SELECTOR.code)); });
  sheet.form('call far imm', 8, s => { s.code.push(0x9a, ...bytes32(SNIPPET + near(s)), ...bytes16(SELECTOR.code)); });
  for (const [name, ext] of [['call', 3], ['jmp', 5]] as const) sheet.form(`${name} far mem`, 12, s => {
    const { ea } = emitRm(s, { opcode: [0xff], size: 32, ext }, { memory: true, keep: [ESP], rmBytes: 6 });
    if (!s.faulting) s.poke(ea, [...bytes32(SNIPPET + near(s)), ...bytes16(SELECTOR.code)]);
  });
  sheet.form('iret same ring', 40, s => {
    top(s, SNIPPET + near(s));
    // TF stays clear: single stepping is a subject of its own. NT set would make it a task return.
    const flags = (s.r.u32() & (0x3e7fd7 & ~(FLAG.TF | 0x4000 | FLAG.AC | 0x20000 | FLAG.RF))) | 2;
    s.poke(s.regs[ESP]! + 4, [...bytes32(SELECTOR.code), ...bytes32(flags)]);
    s.code.push(0xcf);
  });
  for (const [name, selector] of [['null', 0], ['outside the table', 0xfff8 | 3], ['data segment', SELECTOR.data], ['wrong RPL', SELECTOR.code & ~3]] as const) {
    sheet.form(`retf to a bad selector (${name})`, 4, s => { top(s, SNIPPET + near(s)); s.poke(s.regs[ESP]! + 4, bytes32(selector)); s.code.push(0xcb); });
    sheet.form(`jmp far to a bad selector (${name})`, 4, s => { s.code.push(0xea, ...bytes32(SNIPPET + near(s)), ...bytes16(selector)); });
  }
}

export function stack(sheet: Sheet): void {
  const prefix = (size: number): number[] => size === 16 ? [0x66] : [];
  const esp = (s: Scene): void => { s.regs[ESP] = STACK - s.r.below(0x40) * 4 + (s.r.chance(15) ? s.r.below(4) : 0); if (s.r.chance(8)) s.regs[ESP] = DATA + 0x1000 + s.r.below(4); };
  const bad = (s: Scene): void => { s.regs[ESP] = s.r.pick([HOLE + 4, HOLE + 2, HOLE - 2, HOLE, DATA, DATA + 1, READ_ONLY + 0x80, 0, 4, 0xfffffffc]); };
  for (const size of [16, 32] as const) {
    sheet.form(`push r${size}`, 24, (s, i) => { esp(s); if ((i & 7) !== ESP) s.setReg(i & 7, size, operand(s.r, size)); s.code.push(...prefix(size), 0x50 + (i & 7)); });
    sheet.form(`pop r${size}`, 24, (s, i) => { esp(s); s.code.push(...prefix(size), 0x58 + (i & 7)); });
    sheet.form(`push r${size} fault`, 20, (s, i) => { bad(s); s.code.push(...prefix(size), 0x50 + (i & 7)); });
    sheet.form(`pop r${size} fault`, 20, (s, i) => { bad(s); s.code.push(...prefix(size), 0x58 + (i & 7)); });
    sheet.form(`push${size} imm`, 16, s => { esp(s); const v = operand(s.r, size); s.code.push(...prefix(size), 0x68, ...(size === 16 ? bytes16(v) : bytes32(v))); });
    sheet.form(`push${size} imm8`, 16, s => { esp(s); s.code.push(...prefix(size), 0x6a, operand(s.r, 8)); });
    for (const memory of [false, true]) {
      const kind = memory ? 'mem' : 'reg';
      sheet.form(`push${size} r/m ${kind}`, 32, s => { esp(s); emitRm(s, { opcode: [0xff], size, ext: 6 }, { ...(memory ? { rm: operand(s.r, size) } : {}), memory, keep: [ESP] }); });
      sheet.form(`pop${size} r/m ${kind}`, 32, s => { esp(s); emitRm(s, { opcode: [0x8f], size, ext: 0 }, { memory, keep: [ESP] }); });
    }
    // POP m with an ESP base computes the address after ESP has been incremented (SDM vol. 2, POP).
    sheet.form(`pop${size} [esp+disp8]`, 12, s => { esp(s); s.code.push(...prefix(size), 0x8f, 0x44, 0x24, s.r.below(32) * 4); });
    sheet.form(`push${size} [esp+disp8]`, 12, s => { esp(s); s.code.push(...prefix(size), 0xff, 0x74, 0x24, s.r.below(32) * 4); });
    sheet.form(`pusha${size}`, 12, s => { esp(s); for (const n of [0, 1, 2, 3, 5, 6, 7]) s.regs[n] = operand(s.r, 32); s.code.push(...prefix(size), 0x60); });
    sheet.form(`popa${size}`, 12, s => { esp(s); s.code.push(...prefix(size), 0x61); });
    sheet.form(`pusha${size} fault`, 10, s => { s.undefinedMemory = true; s.regs[ESP] = s.r.pick([DATA + 8, DATA + 17, HOLE + 12, HOLE + 16, READ_ONLY + 0x40]); s.code.push(...prefix(size), 0x60); });
    sheet.form(`popa${size} fault`, 10, s => { s.undefinedMemory = true; s.undefinedRegs = 0xef; /* registers loaded before the fault */ s.regs[ESP] = s.r.pick([HOLE - 8, HOLE - 17, HOLE - 2, READ_ONLY - 12, 0]); s.code.push(...prefix(size), 0x61); });
    sheet.form(`pushf${size}`, 24, s => { esp(s); s.flag(FLAG.DF, s.r.chance(30)); s.code.push(...prefix(size), 0x9c); });
    sheet.form(`popf${size}`, 64, s => {
      esp(s);
      s.poke(s.regs[ESP]!, bytes32((s.r.u32() & ~(FLAG.TF | 0x4000 | FLAG.AC)) >>> 0));
      s.code.push(...prefix(size), 0x9d);
    });
    sheet.form(`popf${size} then pushf${size}`, 24, s => {
      esp(s);
      s.poke(s.regs[ESP]!, bytes32((s.r.u32() & ~(FLAG.TF | 0x4000 | FLAG.AC | 0x3000 | 0x20000)) >>> 0));
      s.code.push(...prefix(size), 0x9d, ...prefix(size), 0x9c);
    });
    for (let level = 0; level < 35; level++) sheet.form(`enter${size} imm16, ${level}`, 3, s => {
      s.regs[EBP] = STACK - 0x100; s.regs[ESP] = STACK - 0x200 - s.r.below(4) * 4;
      s.code.push(...prefix(size), 0xc8, ...bytes16(s.r.pick([0, 4, 0x20, 0x100])), level);
    });
    sheet.form(`enter${size} fault`, 12, s => {
      s.undefinedMemory = true;
      s.regs[EBP] = s.r.pick([STACK, HOLE + 4, 16]); s.regs[ESP] = s.r.pick([DATA + 4, DATA + 8, DATA + 0x20, STACK]);
      s.code.push(...prefix(size), 0xc8, ...bytes16(s.r.pick([0, 0x40, 0x2000])), s.r.below(4));
    });
    sheet.form(`leave${size}`, 16, s => { s.regs[EBP] = STACK - s.r.below(0x80) * 4; s.code.push(...prefix(size), 0xc9); });
    sheet.form(`leave${size} fault`, 8, s => { s.regs[EBP] = s.r.pick([HOLE, HOLE - 2, 0]); s.code.push(...prefix(size), 0xc9); });
    for (const [name, code] of [['es', [0x06]], ['cs', [0x0e]], ['ss', [0x16]], ['ds', [0x1e]], ['fs', [0x0f, 0xa0]], ['gs', [0x0f, 0xa8]]] as const) sheet.form(`push${size} ${name}`, 4, s => {
      esp(s);
      // With a 32-bit operand the upper half of the slot is written as zero or left alone, by model (SDM vol. 2, PUSH); zero makes both agree.
      if (size === 32) s.poke(s.regs[ESP]! - 4, [0, 0, 0, 0]);
      s.code.push(...prefix(size), ...code);
    });
  }
  for (const [name, code] of [['es', [0x07]], ['ds', [0x1f]], ['ss', [0x17]], ['fs', [0x0f, 0xa1]], ['gs', [0x0f, 0xa9]]] as const) {
    for (const [label, selector] of [['data', SELECTOR.data], ['null', 0], ['null RPL 3', 3], ['code', SELECTOR.code], ['outside', 0xfffb], ['empty LDT', 0x17]] as const) {
      sheet.form(`pop ${name} (${label})`, 3, s => { esp(s); s.poke(s.regs[ESP]!, bytes32(selector)); s.code.push(...code); });
    }
  }
  const SREG = ['es', 'cs', 'ss', 'ds', 'fs', 'gs'] as const;
  SREG.forEach((name, n) => {
    for (const size of [16, 32] as const) sheet.form(`mov r${size}, ${name}`, 4, s => { s.code.push(...prefix(size), 0x8c, 0xc0 | n << 3 | s.r.below(8)); });
    sheet.form(`mov m16, ${name}`, 6, s => { emitRm(s, { opcode: [0x8c], size: 32, ext: n, rmSize: 16 }, { memory: true }); });
    if (name !== 'cs') for (const [label, selector] of [['data', SELECTOR.data], ['null', 0], ['code', SELECTOR.code], ['outside', 0x7ff0]] as const) {
      sheet.form(`mov ${name}, r16 (${label})`, 3, s => { emitRm(s, { opcode: [0x8e], size: 32, ext: n, rmSize: 16 }, { rm: selector, memory: false }); });
    }
  });
  sheet.form('load through a null ds', 4, s => { s.regs[EAX] = 0; s.regs[ECX] = DATA + 0x100; s.code.push(0x8e, 0xd8, 0x8b, 0x11); });
  sheet.form('load through es = data', 4, s => { s.regs[EAX] = SELECTOR.data; s.regs[ECX] = DATA + 0x100; s.code.push(0x8e, 0xe0, 0x64, 0x8b, 0x11); });
  sheet.form('store through fs = code', 4, s => { s.regs[EAX] = SELECTOR.code; s.regs[ECX] = DATA + 0x100; s.code.push(0x8e, 0xe0, 0x64, 0x89, 0x11); });
}
