/**
 * What is no instruction: every opcode of both maps, with every prefix that selects another one, every ModRM.reg, memory and register form;
 * and LOCK in front of everything. Kept is what the CPU answers with #UD: it has more extensions than we announce, never fewer.
 */
import { DATA, EBX } from '../../environment.ts';
import type { Sheet } from '../sheet.ts';

const PREFIXES: readonly (readonly [string, readonly number[]])[] = [['', []], ['66 ', [0x66]], ['f2 ', [0xf2]], ['f3 ', [0xf3]]];
/** INT, SYSCALL, SYSENTER would call the kernel, LOOP and jumps may run away, F1 and HLT are no matter for a signal handler; 0F 01 and 0F AE reach state the harness lives on, 0F 0D in register form is a NOP or nothing, by maker. */
const LEFT_OUT = new Set([0xcd, 0xcc, 0xf1, 0xf4, 0xe0, 0xe1, 0xe2, 0xe3, 0xe9, 0xea, 0xeb, 0x9a, 0xe8]);
const LEFT_OUT_0F = new Set([0x01, 0x05, 0x07, 0x0d, 0x34, 0x35, 0xae]);
/** Prefixes and the escape to the second map are no opcodes. */
const NO_OPCODE = new Set([0x0f, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3]);
/** EVEX, VEX and XOP in register form are other instructions where they exist. */
const ESCAPES = new Set([0x62, 0x8f, 0xc4, 0xc5]);

const hex = (n: number): string => n.toString(16).padStart(2, '0');
export function undefinedOpcodes(sheet: Sheet): void {
  const scan = (name: string, head: readonly number[], second: boolean, opcode: number): void => sheet.form(`${name}${hex(opcode)}`, 16, (s, i) => {
    s.onlyTrap = 6;
    s.regs[EBX] = DATA + 0x100;
    // Half of them [ebx], half a register; the bytes behind are a displacement or an immediate where there is one.
    s.code.push(...head, ...(second ? [0x0f] : []), opcode, (i & 8 ? 0xc0 : 0) | (i & 7) << 3 | (i & 8 ? 1 : EBX), 0x11, 0x22, 0x33, 0x44);
  });
  for (let opcode = 0; opcode < 256; opcode++) {
    const oneByte = !LEFT_OUT.has(opcode) && !NO_OPCODE.has(opcode) && (opcode & 0xf0) !== 0x70, twoByte = !LEFT_OUT_0F.has(opcode) && (opcode & 0xf0) !== 0x80;
    for (const [name, prefix] of PREFIXES) {
      if (oneByte && name === '') scan(`opcode ${name}`, prefix, false, opcode);
      if (twoByte) scan(`opcode ${name}0f `, prefix, true, opcode);
    }
    if (oneByte && !ESCAPES.has(opcode)) scan('lock ', [0xf0], false, opcode);
    if (twoByte) { scan('lock 0f ', [0xf0], true, opcode); scan('lock 66 0f ', [0xf0, 0x66], true, opcode); }
  }
}
