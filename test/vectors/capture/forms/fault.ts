/** Exceptions with their vector, error code, CR2 and the state they leave: nothing may have changed before the fault. */
import { CODE, CODE_BYTES, DATA, EAX, EDX, EBX, FLAG } from '../../environment.ts';
import { bytes32, emitRm, operand, type Scene } from '../scene.ts';
import type { Sheet } from '../sheet.ts';

export function fault(sheet: Sheet): void {
  const one = (name: string, code: readonly number[], count = 3): void => sheet.form(name, count, s => { s.code.push(...code); });
  // Undefined on Intel and AMD alike (SDM vol. 2, appendix A; AMD64 APM vol. 3, appendix A).
  one('ud2', [0x0f, 0x0b]);
  one('ud1', [0x0f, 0xb9, 0xc0]);
  for (const b of [0x04, 0x0a, 0x0c, 0x24, 0x25, 0x26, 0x27, 0x36, 0x39, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f]) one(`undefined 0f ${b.toString(16).padStart(2, '0')}`, [0x0f, b, 0xc0]);
  for (const [name, opcode, exts] of [['fe', 0xfe, [2, 3, 4, 5, 6, 7]], ['ff', 0xff, [7]], ['c6', 0xc6, [1, 2, 3, 4, 5, 6]], ['c7', 0xc7, [1, 2, 3, 4, 5, 6]]] as const) for (const ext of exts) {
    sheet.form(`undefined ${name} /${ext}`, 4, s => { emitRm(s, { opcode: [opcode], size: 32, ext }, { memory: s.r.chance(50), faults: false, imm: [1, 2, 3, 4] }); });
  }
  for (const ext of [0, 1, 2, 3]) one(`undefined 0f ba /${ext}`, [0x0f, 0xba, 0xc0 | ext << 3, 1]);
  for (const [name, code] of [['lea reg', [0x8d, 0xc1]], ['bound reg', [0x62, 0xc1]], ['cmpxchg8b reg', [0x0f, 0xc7, 0xc9]], ['jmp far reg', [0xff, 0xe9]], ['call far reg', [0xff, 0xd9]], ['mov cs, ax', [0x8e, 0xc8]], ['mov sreg 6', [0x8e, 0xf0]], ['mov ax, sreg 7', [0x8c, 0xf8]], ['lss reg', [0x0f, 0xb2, 0xc0]]] as const) one(`undefined: ${name}`, code);
  for (const [name, code] of [['mov', [0xf0, 0x89, 0x03]], ['add reg', [0xf0, 0x01, 0xd8]], ['nop', [0xf0, 0x90]], ['add r, m', [0xf0, 0x03, 0x03]], ['cmp m, r', [0xf0, 0x39, 0x03]], ['test m, r', [0xf0, 0x85, 0x03]], ['bt m, r', [0xf0, 0x0f, 0xa3, 0x03]], ['lea', [0xf0, 0x8d, 0x03]], ['inc reg', [0xf0, 0x40]], ['jmp', [0xf0, 0xeb, 0x00]], ['xadd reg', [0xf0, 0x0f, 0xc1, 0xd8]], ['shl m, 1', [0xf0, 0xd1, 0x23]]] as const) {
    sheet.form(`lock on ${name} is #UD`, 3, s => { s.regs[EBX] = DATA + 0x100; s.code.push(...code); });
  }
  // Privileged in ring 3: #GP(0).
  for (const [name, code] of [
    ['hlt', [0xf4]], ['cli', [0xfa]], ['sti', [0xfb]], ['in al, imm8', [0xe4, 0x60]], ['in eax, imm8', [0xe5, 0x60]], ['in al, dx', [0xec]], ['in eax, dx', [0xed]], ['out imm8, al', [0xe6, 0x60]], ['out imm8, eax', [0xe7, 0x60]], ['out dx, al', [0xee]], ['out dx, eax', [0xef]],
    ['insb', [0x6c]], ['insd', [0x6d]], ['outsb', [0x6e]], ['outsd', [0x6f]], ['mov eax, cr0', [0x0f, 0x20, 0xc0]], ['mov cr3, eax', [0x0f, 0x22, 0xd8]], ['mov eax, cr2', [0x0f, 0x20, 0xd0]], ['mov eax, dr7', [0x0f, 0x21, 0xf8]], ['mov dr0, eax', [0x0f, 0x23, 0xc0]], ['clts', [0x0f, 0x06]], ['invd', [0x0f, 0x08]], ['wbinvd', [0x0f, 0x09]],
    ['rdmsr', [0x0f, 0x32]], ['wrmsr', [0x0f, 0x30]], ['sysexit', [0x0f, 0x35]],
    ['invlpg', [0x0f, 0x01, 0x3b]], ['lgdt', [0x0f, 0x01, 0x13]], ['lidt', [0x0f, 0x01, 0x1b]], ['lmsw ax', [0x0f, 0x01, 0xf0]], ['ltr ax', [0x0f, 0x00, 0xd8]], ['lldt ax', [0x0f, 0x00, 0xd0]],
  ] as const) sheet.form(`${name} in ring 3`, 3, s => { s.regs[EBX] = DATA + 0x100; s.code.push(...code); });
  one('int3', [0xcc]); one('int3 (cd 03)', [0xcd, 3]);
  // INT1 (F1) is not asked: under a hypervisor its return address is an artefact of #DB interception.
  one('int 4', [0xcd, 4]);
  for (const n of [0, 1, 2, 5, 6, 8, 13, 14, 0x20, 0x40, 0x7f, 0x81, 0xff]) one(`int ${n} without permission`, [0xcd, n]);
  sheet.form('into', 16, (s, i) => { s.flag(FLAG.OF, (i & 1) === 1); s.code.push(0xce); });
  for (const size of [16, 32] as const) sheet.form(`bound${size}`, 48, s => {
    const low = operand(s.r, size), high = operand(s.r, size), bytes = size / 8;
    const { ea } = emitRm(s, { opcode: [0x62], size }, { reg: s.r.pick([low, high, operand(s.r, size), low - 1, high + 1]), memory: true, rmBytes: bytes * 2 });
    if (!s.faulting) s.poke(ea, [...bytes32(low).slice(0, bytes), ...bytes32(high).slice(0, bytes)]);
  });
  // Fetching: past the end of the page, across it, and more than 15 bytes.
  sheet.form('fetch runs into a hole', 8, (s, i) => { if ((i & 3) === 3) s.undefinedFlags = FLAG.SF | FLAG.ZF | FLAG.AF | FLAG.PF; s.code.push(...[[0x90], [0x40], [0x89, 0xd8], [0x0f, 0xaf, 0xc3]][i & 3]!); s.codeAddr = CODE + CODE_BYTES - s.code.length; });
  sheet.form('instruction crosses into a hole', 12, (s, i) => {
    const whole = [[0xb8, 1, 2, 3, 4], [0x81, 0xc3, 1, 2, 3, 4], [0x66, 0x05, 1, 2], [0x0f, 0x84, 1, 2, 3, 4], [0xe8, 0, 0, 0, 0], [0x8b, 0x84, 0x24, 0, 0, 0, 0]][i % 6]!;
    s.code.push(...whole.slice(0, 1 + s.r.below(whole.length - 1)));
    s.codeAddr = CODE + CODE_BYTES - s.code.length;
  });
  sheet.form('jump into a hole', 6, s => { s.regs[EAX] = s.r.pick([0, 0xfff, CODE + CODE_BYTES, DATA + 0x2000, 0xfffffff0]); s.code.push(0xff, 0xe0); });
  sheet.form('fifteen bytes are allowed', 3, s => { s.code.push(...Array<number>(14).fill(0x3e), 0x90); });
  sheet.form('sixteen bytes are #GP', 3, s => { s.code.push(...Array<number>(15).fill(0x3e), 0x90); });
  sheet.form('sixteen bytes with a long opcode', 3, s => { s.code.push(...Array<number>(10).fill(0x66), 0x81, 0x84, 0x8b, 0, 0, 0, 0, 1, 2); });
  sheet.form('repeated and mixed prefixes', 24, s => {
    const list: number[] = [];
    for (let n = s.r.below(6); n > 0; n--) list.push(s.r.pick([0x66, 0x3e, 0x26, 0x2e, 0x36, 0xf2, 0xf3]));
    s.regs[EBX] = DATA + 0x100 + s.r.below(32); s.regs[EDX] = operand(s.r, 32);
    s.code.push(...list, 0x8b, 0x03);
  });
  // Two instructions: the first must have completed when the second faults.
  sheet.form('completed instruction before a fault', 48, s => { before(s); });
  sheet.form('flags pending at a fault', 48, s => {
    const a = operand(s.r, 32), b = operand(s.r, 32);
    s.regs[EAX] = a; s.regs[EDX] = b; s.regs[EBX] = s.r.pick([0, 0xfffffff0, DATA + 0x2000]);
    const op = s.r.pick([0x01, 0x29, 0x39, 0x11, 0x19]);
    s.code.push(op, 0xd0, 0x8b, 0x0b);
  });
}

function before(s: Scene): void {
  s.regs[EBX] = s.r.pick([0, 0xfffffff0, DATA + 0x2000]);
  s.code.push(...s.r.pick([[0x40], [0x50], [0x89, 0xc1], [0x01, 0xd0], [0xf7, 0xd8], [0xd3, 0xe0], [0xa3, ...bytes32(DATA + 0x40)], [0x9c], [0x87, 0xca]]));
  if (s.code[0] === 0xd3) s.regs[1] = 1;
  s.code.push(...s.r.pick([[0x8b, 0x0b], [0x89, 0x0b], [0x0f, 0x0b], [0xf7, 0x33], [0x01, 0x0b], [0xff, 0x33], [0x8f, 0x03]]));
  if (s.code[0] === 0xd3) s.undefinedFlags = FLAG.AF;
}
