/** Moves, exchanges, extensions, conditional moves and sets, LEA with every address form, compare-and-exchange, flag moves. */
import { CODE, DATA, EAX, EBX, ECX, EDI, EDX, ESP, FLAG, LOW } from '../../environment.ts';
import { bytes16, bytes32, emitRm, littleEndian, operand, SIZES } from '../scene.ts';
import type { Sheet } from '../sheet.ts';

const CONDITIONS = ['o', 'no', 'b', 'ae', 'e', 'ne', 'be', 'a', 's', 'ns', 'p', 'np', 'l', 'ge', 'le', 'g'] as const;
const KINDS = ['reg', 'mem', 'mem16'] as const;

export function move(sheet: Sheet): void {
  for (const size of SIZES) {
    const w = size === 8 ? 0 : 1, prefix = size === 16 ? [0x66] : [];
    for (const kind of KINDS) {
      const memory = kind !== 'reg', low = kind === 'mem16', n = low ? 10 : 30;
      sheet.form(`mov${size} r/m, r ${kind}`, n, s => { emitRm(s, { opcode: [0x88 + w], size }, { rm: operand(s.r, size), reg: operand(s.r, size), memory, low }); });
      sheet.form(`mov${size} r, r/m ${kind}`, n, s => { emitRm(s, { opcode: [0x8a + w], size }, { rm: operand(s.r, size), memory, low }); });
      sheet.form(`mov${size} r/m, imm ${kind}`, low ? 5 : 15, s => { emitRm(s, { opcode: [0xc6 + w], size, ext: 0 }, { imm: littleEndian(operand(s.r, size), size), memory, low }); });
      sheet.form(`xchg${size} r/m, r ${kind}`, n, s => { emitRm(s, { opcode: [0x86 + w], size }, { rm: operand(s.r, size), reg: operand(s.r, size), memory, low }); });
      for (const [name, opcode] of [['cmpxchg', 0xb0], ['xadd', 0xc0]] as const) for (const lock of memory && !low ? [false, true] : [false]) {
        sheet.form(`${lock ? 'lock ' : ''}${name}${size} r/m, r ${kind}`, low ? 6 : 40, s => {
          const rm = operand(s.r, size);
          if (name === 'cmpxchg') s.setReg(EAX, size, s.r.chance(50) ? rm : operand(s.r, size));
          emitRm(s, { opcode: [0x0f, opcode + w], size, prefix: lock ? [0xf0] : [] }, { rm, reg: operand(s.r, size), memory, low, keep: name === 'cmpxchg' ? [EAX] : [] });
        });
      }
    }
    for (const [name, opcode] of [['mov acc, moffs', 0xa0], ['mov moffs, acc', 0xa2]] as const) {
      sheet.form(`${name} ${size}`, 16, s => {
        s.setReg(EAX, size, operand(s.r, size));
        s.code.push(...prefix, opcode + w, ...bytes32(s.place(size / 8)));
      });
      sheet.form(`${name} ${size} a16`, 6, s => { s.code.push(0x67, ...prefix, opcode + w, ...bytes16(s.place(size / 8, { low: true }))); });
    }
    sheet.form(`mov${size} r, imm (short)`, 24, (s, i) => { s.code.push(...prefix, (size === 8 ? 0xb0 : 0xb8) + (i & 7), ...littleEndian(operand(s.r, size), size)); });
    if (size !== 8) sheet.form(`xchg${size} acc, r (short)`, 16, (s, i) => {
      s.setReg(i & 7, size, operand(s.r, size));
      s.code.push(...prefix, 0x90 + (i & 7));
    });
  }
  for (const [name, opcode, rmSize] of [['movzx', 0xb6, 8], ['movzx', 0xb7, 16], ['movsx', 0xbe, 8], ['movsx', 0xbf, 16]] as const) for (const size of [16, 32] as const) for (const kind of KINDS) {
    sheet.form(`${name} r${size}, r/m${rmSize} ${kind}`, kind === 'mem16' ? 4 : 24, s => {
      emitRm(s, { opcode: [0x0f, opcode], size, rmSize }, { rm: operand(s.r, rmSize), memory: kind !== 'reg', low: kind === 'mem16' });
    });
  }
  CONDITIONS.forEach((cc, i) => {
    for (const memory of [false, true]) {
      sheet.form(`set${cc} ${memory ? 'mem' : 'reg'}`, memory ? 16 : 24, s => { emitRm(s, { opcode: [0x0f, 0x90 + i], size: 8, ext: s.r.below(8) }, { rm: operand(s.r, 8), memory }); });
      for (const size of [16, 32] as const) sheet.form(`cmov${cc}${size} ${memory ? 'mem' : 'reg'}`, memory ? 16 : 24, s => {
        emitRm(s, { opcode: [0x0f, 0x40 + i], size }, { rm: operand(s.r, size), reg: operand(s.r, size), memory });
      });
    }
  });
  for (const lock of [false, true]) sheet.form(`${lock ? 'lock ' : ''}cmpxchg8b mem`, 60, s => {
    const low = operand(s.r, 32), high = operand(s.r, 32), keep = [EAX, EDX, EBX, ECX];
    s.regs[EAX] = s.r.chance(70) ? low : operand(s.r, 32);
    s.regs[EDX] = s.r.chance(80) ? high : operand(s.r, 32);
    s.regs[EBX] = operand(s.r, 32); s.regs[ECX] = operand(s.r, 32);
    const { ea } = emitRm(s, { opcode: [0x0f, 0xc7], size: 32, ext: 1, prefix: lock ? [0xf0] : [] }, { memory: true, keep, rmBytes: 8 });
    if (!s.faulting) s.poke(ea, [...bytes32(low), ...bytes32(high)]);
  });
  sheet.form('bswap r32', 32, (s, i) => { s.setReg(i & 7, 32, operand(s.r, 32)); s.code.push(0x0f, 0xc8 + (i & 7)); });
  for (const [name, code] of [['cbw', [0x66, 0x98]], ['cwde', [0x98]], ['cwd', [0x66, 0x99]], ['cdq', [0x99]]] as const) sheet.form(name, 30, s => {
    s.regs[EAX] = s.r.chance(50) ? operand(s.r, 32) : operand(s.r, 16);
    s.code.push(...code);
  });
  sheet.form('xlat', 24, s => {
    const al = operand(s.r, 8);
    s.setReg(EAX, 8, al);
    s.regs[EBX] = s.place(1) - al;
    s.code.push(0xd7);
  });
  sheet.form('xlat a16', 8, s => {
    const al = operand(s.r, 8);
    s.setReg(EAX, 8, al);
    s.regs[EBX] = 0x77770000 | ((s.place(1, { low: true }) - al) & 0xffff);
    s.code.push(0x67, 0xd7);
  });
  sheet.form('lahf', 64, s => { s.code.push(0x9f); });
  sheet.form('sahf', 256, (s, i) => { s.setReg(4, 8, i); s.code.push(0x9e); });
  for (const [name, opcode] of [['clc', 0xf8], ['stc', 0xf9], ['cmc', 0xf5], ['cld', 0xfc], ['std', 0xfd]] as const) sheet.form(name, 12, (s, i) => {
    s.flag(FLAG.DF, (i & 1) === 1).flag(FLAG.CF, (i & 2) === 2);
    s.code.push(opcode);
  });
  sheet.form('nop', 2, s => { s.code.push(0x90); });
  sheet.form('pause', 2, s => { s.code.push(0xf3, 0x90); });
  sheet.form('nop r/m (0f 1f)', 12, s => { emitRm(s, { opcode: [0x0f, 0x1f], size: s.r.pick([16, 32] as const), ext: 0 }, { memory: s.r.chance(70) }); });
  sheet.form('prefetch', 8, s => { emitRm(s, { opcode: [0x0f, 0x18], size: 32, ext: s.r.below(4) }, { memory: true }); });
  for (const ext of [5, 6, 7]) sheet.form(`fence /${ext}`, 2, s => { s.code.push(0x0f, 0xae, 0xc0 | ext << 3); });
  for (const [name, prefix] of [['es', 0x26], ['cs', 0x2e], ['ss', 0x36], ['ds', 0x3e], ['fs', 0x64], ['gs', 0x65]] as const) {
    sheet.form(`mov r32, ${name}:[m]`, 8, s => { emitRm(s, { opcode: [0x8b], size: 32, prefix: [prefix] }, { rm: operand(s.r, 32), memory: true, faults: false }); });
    sheet.form(`mov ${name}:[m], r32`, 8, s => { emitRm(s, { opcode: [0x89], size: 32, prefix: [prefix] }, { reg: operand(s.r, 32), memory: true, faults: false }); });
  }
}

/** LEA, load and store through every ModRM and SIB byte, and every 16-bit ModRM. */
export function address(sheet: Sheet): void {
  const sibs: [number, number][] = [];
  for (let mod = 0; mod < 3; mod++) for (let rm = 0; rm < 8; rm++) {
    if (rm !== 4) sibs.push([mod << 6 | rm, -1]);
    else for (let sib = 0; sib < 256; sib++) sibs.push([mod << 6 | 4, sib]);
  }
  const tail = (s: { r: { u32(): number } }, modrm: number, sib: number): { disp: number; bytes: number[] } => {
    const mod = modrm >> 6, bare = mod === 0 && ((modrm & 7) === 5 || (sib >= 0 && (sib & 7) === 5));
    const d = s.r.u32();
    if (mod === 1) return { disp: (d << 24) >> 24, bytes: [d & 255] };
    return mod === 2 || bare ? { disp: d | 0, bytes: bytes32(d) } : { disp: 0, bytes: [] };
  };
  sheet.form('lea r32, every modrm/sib', sibs.length * 2, (s, i) => {
    const [modrm, sib] = sibs[i % sibs.length]!, reg = s.r.below(8);
    for (let n = 0; n < 8; n++) s.regs[n] = s.r.chance(30) ? operand(s.r, 32) : s.r.u32();
    s.code.push(0x8d, modrm | reg << 3, ...(sib >= 0 ? [sib] : []), ...tail(s, modrm, sib).bytes);
  });
  sheet.form('lea r16, every modrm/sib', sibs.length, (s, i) => {
    const [modrm, sib] = sibs[i % sibs.length]!, reg = s.r.below(8);
    for (let n = 0; n < 8; n++) s.regs[n] = s.r.u32();
    s.code.push(0x66, 0x8d, modrm | reg << 3, ...(sib >= 0 ? [sib] : []), ...tail(s, modrm, sib).bytes);
  });
  for (const size of [16, 32] as const) sheet.form(`lea r${size}, every 16-bit modrm`, 24 * 6, (s, i) => {
    const mod = Math.floor(i / 8) % 3, rm = i & 7, reg = s.r.below(8), d = s.r.u32();
    for (let n = 0; n < 8; n++) s.regs[n] = s.r.u32();
    s.code.push(...(size === 16 ? [0x66] : []), 0x67, 0x8d, mod << 6 | reg << 3 | rm, ...(mod === 1 ? [d & 255] : mod === 2 || rm === 6 ? bytes16(d) : []));
  });
  // Loads and stores: registers that are not the operand's are solved so that the address falls into the data window.
  for (const [name, opcode] of [['load', 0x8b], ['store', 0x89]] as const) sheet.form(`${name} every modrm/sib`, sibs.length, (s, i) => {
    const [modrm, sib] = sibs[i % sibs.length]!, reg = s.r.below(8), mod = modrm >> 6;
    const t = tail(s, modrm, sib), ea = DATA + 0x400 + s.r.below(0x400);
    let base = modrm & 7, index = -1, scale = 0;
    if (sib >= 0) { base = sib & 7; index = sib >> 3 & 7; scale = sib >> 6; if (index === 4) index = -1; }
    if (mod === 0 && base === 5) base = -1;
    let bytes = t.bytes;
    if (base < 0 && index < 0) bytes = bytes32(ea);
    else if (base < 0) { s.regs[index] = s.r.u32(); bytes = bytes32(ea - (s.regs[index]! << scale)); }
    else if (index >= 0 && index !== base) { s.regs[index] = s.r.u32(); s.regs[base] = ea - t.disp - (s.regs[index]! << scale); }
    else if (index < 0) s.regs[base] = ea - t.disp;
    else {
      // base + base * scale: solve r * (1 + 2^scale) + disp inside the window by choosing r; without a displacement pick r so.
      const k = 1 + (1 << scale);
      s.regs[base] = Math.floor((ea - t.disp) / k);
      if (t.disp !== 0 && mod === 2) { s.regs[base] = s.r.u32(); bytes = bytes32(ea - Math.imul(s.regs[base]!, k)); }
    }
    s.code.push(opcode, modrm | reg << 3, ...(sib >= 0 ? [sib] : []), ...bytes);
  });
  sheet.form('load every 16-bit modrm', 24 * 4, (s, i) => {
    const mod = Math.floor(i / 8) % 3, rm = i & 7, reg = s.r.below(8), d = mod === 1 ? (s.r.u32() << 24) >> 24 : s.r.u32() & 0xffff;
    const disp = mod === 0 && rm !== 6 ? 0 : d;
    let ea = LOW + 0x100 + s.r.below(0x800);
    const [a, b] = ([[3, 6], [3, 7], [5, 6], [5, 7], [6], [7], [5], [3]] as const)[rm]!;
    if (mod === 0 && rm === 6) { s.code.push(0x67, 0x8b, reg << 3 | 6, ...bytes16(ea)); return; }
    ea = (ea - disp) & 0xffff;
    const half = (n: number, v: number): void => { s.regs[n] = (s.r.u32() << 16) | (v & 0xffff); };
    if (b !== undefined) { const v = s.r.u32() & 0xffff; half(b, v); half(a, ea - v); } else half(a, ea);
    s.code.push(0x67, 0x8b, mod << 6 | reg << 3 | rm, ...(mod === 1 ? [d & 255] : mod === 2 ? bytes16(d) : []));
  });
  // An offset past 2^32 wraps; one page below zero is a hole.
  sheet.form('load wraps around 4 GiB', 16, s => {
    const ea = DATA + s.r.below(0x800), base = s.r.pick([EBX, ECX, EDI]), index = EDX;
    s.regs[base] = 0xfffff000 + s.r.below(0x1000); s.regs[index] = s.r.u32();
    s.code.push(0x8b, 0x84, 2 << 6 | index << 3 | base, ...bytes32(ea - s.regs[base]! - (s.regs[index]! << 2)));
  });
  sheet.form('load near the null page and the top', 24, s => {
    // An access that runs past 4 GiB faults or wraps, by model (SDM vol. 3, 5.3): dwords end at the top.
    const byte = s.r.chance(50), ea = byte ? s.r.pick([0, 1, 0xfff, 0xffffffff]) : s.r.pick([0, 1, 0xfff, 0xfffffffc, CODE + 0xfff, CODE + 0xffd]);
    emitRm(s, { opcode: [byte ? 0x8a : 0x8b], size: 32 }, { memory: true, ea, not: [ESP] });
  });
}

const BIT = [['bt', 0xa3, 4], ['bts', 0xab, 5], ['btr', 0xb3, 6], ['btc', 0xbb, 7]] as const;
export function bits(sheet: Sheet): void {
  const afterBt = FLAG.OF | FLAG.SF | FLAG.AF | FLAG.PF;
  for (const [name, opcode, ext] of BIT) for (const size of [16, 32] as const) for (const memory of [false, true]) {
    const kind = memory ? 'mem' : 'reg';
    sheet.form(`${name}${size} r/m, imm8 ${kind}`, 40, s => {
      s.undefinedFlags = afterBt;
      emitRm(s, { opcode: [0x0f, 0xba], size, ext }, { rm: operand(s.r, size), imm: [s.r.chance(70) ? s.r.below(32) : operand(s.r, 8)], memory });
    });
    if (!memory) sheet.form(`${name}${size} r, r`, 40, s => {
      s.undefinedFlags = afterBt;
      emitRm(s, { opcode: [0x0f, opcode], size }, { rm: operand(s.r, size), reg: operand(s.r, size), memory: false });
    });
    // The bit offset is signed and reaches beyond the operand: +-1023 bits around the middle of the window.
    else for (const lock of name === 'bt' ? [false] : [false, true]) sheet.form(`${lock ? 'lock ' : ''}${name}${size} m, r`, 60, s => {
      s.undefinedFlags = afterBt;
      const ea = s.r.chance(8) ? s.place(size / 8) : DATA + (s.r.chance(10) ? 0x1000 - s.r.below(8) : 0x800 + s.r.below(16));
      const offset = s.faulting ? s.r.below(size) : s.r.below(2048) - 1024;
      emitRm(s, { opcode: [0x0f, opcode], size, prefix: lock ? [0xf0] : [] }, { reg: offset, ea, memory: true });
    });
  }
  for (const [name, opcode] of [['bsf', 0xbc], ['bsr', 0xbd]] as const) for (const size of [16, 32] as const) for (const memory of [false, true]) {
    sheet.form(`${name}${size} ${memory ? 'mem' : 'reg'}`, 60, s => {
      s.undefinedFlags = FLAG.CF | FLAG.OF | FLAG.SF | FLAG.AF | FLAG.PF;
      const value = s.r.chance(40) ? operand(s.r, size) : (s.r.u32() >>> s.r.below(size)) << s.r.below(size);
      const { rm, reg } = emitRm(s, { opcode: [0x0f, opcode], size }, { rm: value, memory });
      const zero = memory ? (value & (size === 16 ? 0xffff : -1)) === 0 : s.getReg(rm, size) === 0;
      if (zero) s.undefinedRegs = 1 << reg;
    });
  }
  for (const size of [16, 32] as const) for (const memory of [false, true]) sheet.form(`popcnt${size} ${memory ? 'mem' : 'reg'}`, 40, s => {
    emitRm(s, { opcode: [0x0f, 0xb8], size, prefix: [0xf3] }, { rm: operand(s.r, size), memory });
  });
}
