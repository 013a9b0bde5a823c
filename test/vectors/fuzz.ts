/**
 * Differential fuzzing: random small programs on this machine's CPU and on the engine.
 *
 *     node test/vectors/fuzz.ts --seed=1 --count=2000 --loop=1     straight-line programs
 *     node test/vectors/fuzz.ts --seed=1 --count=300 --loop=5000 --jit=on
 *
 *     node test/vectors/fuzz.ts --seed=1 --count=300 --loop=200 --x87 --jit=on      with x87
 *     node test/vectors/fuzz.ts --seed=1 --count=300 --loop=40 --sse --jit=on       with SSE to SSE3
 *     node test/vectors/fuzz.ts --seed=1 --count=300 --loop=3 --sse --nan           the same with NaNs, infinities and denormals in most registers; --x87 too
 *     node test/vectors/fuzz.ts --seed=1 --seconds=600                              all kinds in turn, for a time; prints shrunk programs that disagree
 *     node test/vectors/fuzz.ts --seed=1 --count=300 --walk --jit=on         loops that run into an unmapped page and must stop exactly there
 *
 * A program is a list of whole instructions, run `loop` times. Flags that the SDM leaves undefined are tracked while generating:
 * no instruction reads one, so both sides must agree on everything else at the end. Memory operands stay inside the data window.
 * A failing program is shrunk by leaving instructions out while the two sides still disagree.
 */
import { createHash } from 'node:crypto';
import { DATA, HOLE, EAX, EBP, EBX, ECX, EDI, EDX, ESI, ESP, FLAG, STATUS_FLAGS, SNIPPET, STACK } from './environment.ts';
import { NativeHarness, type Captured, type NativeInput } from './capture/native.ts';
import { bytes32, littleEndian, operand, Random, Scene, SIZES, type Size } from './capture/scene.ts';
import { describeFailure, differences } from './compare.ts';
import type { Vector } from './format.ts';
import { VectorMachine } from './machine.ts';
import { vectorEngine, type Tier, type VectorEngineFactory } from './engine.ts';

interface Piece { bytes: number[]; /** Undefined flags after it, given those before. */ flags: (before: number) => number; /** Flags it reads. */ reads?: number }
export interface Program { seed: number; scene: Scene; pieces: Piece[]; loop: number }
export interface Shape { loop: number; /** Half of the pieces compute on the x87 stack. */ x87?: boolean; /** Half of the pieces are SSE, SSE2 and SSE3. */ sse?: boolean; /** Most of its numbers are NaNs with a payload, quiet and signalling, infinities, zeros and denormals. */ nan?: boolean; /** ESI walks towards the hole, one dword a round; some operands go through it. */ walk?: boolean }

/** EDI counts the loop, EBX and EBP point into the window, ESP is the stack: the rest is free. */
const ALL_FREE = [EAX, ECX, EDX, ESI], WALK_FREE = [EAX, ECX, EDX];
const keep = (before: number): number => before;
const defined = (): number => 0;
const makes = (mask: number) => (): number => mask;

function piece(r: Random, undef: number, walk: boolean): Piece {
  const FREE = walk ? WALK_FREE : ALL_FREE;
  const size: Size = r.pick(SIZES), w = size === 8 ? 0 : 1, prefix = size === 16 ? [0x66] : [];
  const reg = r.pick(FREE), other = r.pick(FREE);
  const encodable = (n: number): number => size === 8 ? (n < 4 ? n + 4 * r.below(2) : r.below(3)) : n;
  const memory = (field: number): number[] => {
    const disp = r.below(200) - 100;
    if (walk && r.chance(50)) return [0x40 | field << 3 | ESI, r.below(16) - 8 & 255];
    switch (r.below(4)) {
      case 0: return [0x40 | field << 3 | EBX, disp & 255];
      case 1: return [0x40 | field << 3 | EBP, disp & 255];
      case 2: return [0x05 | field << 3, ...bytes32(DATA + 0x400 + r.below(0x100))];
      default: return [0x80 | field << 3 | EBP, ...bytes32(disp * 3)];
    }
  };
  const rm = (field: number): number[] => r.chance(40) ? memory(field) : [0xc0 | field << 3 | encodable(r.pick(FREE))];
  const rm32 = (field: number): number[] => r.chance(40) ? memory(field) : [0xc0 | field << 3 | r.pick(FREE)];
  const immediate = (s: Size): number[] => littleEndian(operand(r, s), s);
  const need = (mask: number): boolean => (undef & mask) === 0;
  for (;;) {
    switch (r.below(28)) {
      case 27: { // a call, and a return that leaves room for a register
        if (walk) continue;
        return r.chance(50) ? { bytes: [0xe8, 2, 0, 0, 0, 0xeb, 3, 0x89, 0xc0 | reg << 3 | other, 0xc3], flags: keep } : { bytes: [0x50 | reg, 0xe8, 2, 0, 0, 0, 0xeb, 5, 0x0f, 0xc8 | other, 0xc2, 4, 0], flags: keep };
      }
      case 0: case 1: case 2: case 3: {
        const op = r.below(8);
        if ((op === 2 || op === 3) && !need(FLAG.CF)) continue;
        const reads = op === 2 || op === 3 ? FLAG.CF : 0;
        const flags = op === 1 || op === 4 || op === 6 ? makes(FLAG.AF) : defined;
        if (r.chance(50)) return { bytes: [...prefix, op * 8 + w + (r.chance(50) ? 2 : 0), ...rm(encodable(reg))], flags, reads };
        if (size !== 8 && r.chance(50)) return { bytes: [...prefix, 0x83, ...rm(op), ...immediate(8)], flags, reads };
        return { bytes: [...prefix, 0x80 + w, ...rm(op), ...immediate(size)], flags, reads };
      }
      case 4: return { bytes: [...prefix, 0x88 + w + (r.chance(50) ? 2 : 0), ...rm(encodable(reg))], flags: keep };
      case 5: return { bytes: [...prefix, 0xc6 + w, ...rm(0), ...immediate(size)], flags: keep };
      case 6: return { bytes: [...prefix, 0x84 + w, ...rm(encodable(reg))], flags: makes(FLAG.AF) };
      case 7: { // inc and dec leave CF
        const ext = r.below(2);
        return { bytes: [...prefix, 0xfe + w, ...rm(ext)], flags: b => b & FLAG.CF };
      }
      case 8: { const ext = 2 + r.below(2); return { bytes: [...prefix, 0xf6 + w, ...rm(ext)], flags: ext === 2 ? keep : defined }; }
      case 9: case 10: { // shift or rotate by a known count
        const ext = r.below(8), count = 1 + r.below(size === 8 ? 7 : size === 16 ? 15 : 31);
        if ((ext === 2 || ext === 3) && !need(FLAG.CF)) continue;
        const overflow = count === 1 ? 0 : FLAG.OF;
        return { bytes: [...prefix, 0xc0 + w, ...rm(ext), count], flags: ext < 4 ? b => (b & ~FLAG.OF & ~FLAG.CF) | overflow : makes(FLAG.AF | overflow), reads: ext === 2 || ext === 3 ? FLAG.CF : 0 };
      }
      case 11: { // by CL: the count may be zero, so everything it might touch becomes unknown
        const ext = r.below(8);
        if ((ext === 2 || ext === 3) && !need(FLAG.CF)) continue;
        return { bytes: [...prefix, 0xd2 + w, ...rm(ext)], flags: ext < 4 ? b => b | FLAG.OF : makes(STATUS_FLAGS), reads: ext === 2 || ext === 3 ? FLAG.CF : 0 };
      }
      case 12: return { bytes: [...prefix, 0xf6 + w, ...rm(4 + r.below(2))], flags: makes(FLAG.SF | FLAG.ZF | FLAG.AF | FLAG.PF) };
      case 13: return size === 8 ? { bytes: [0x0f, 0xaf, ...rm32(reg)], flags: makes(FLAG.SF | FLAG.ZF | FLAG.AF | FLAG.PF) } : { bytes: [...prefix, 0x69, ...rm(reg), ...immediate(size)], flags: makes(FLAG.SF | FLAG.ZF | FLAG.AF | FLAG.PF) };
      case 14: return { bytes: [0x0f, r.pick([0xb6, 0xb7, 0xbe, 0xbf]), ...(() => { const m = r.chance(50) ? memory(reg) : [0xc0 | reg << 3 | r.below(4)]; return m; })()], flags: keep };
      case 15: { const cc = r.below(16); if (!need(conditionFlags(cc))) continue; return { bytes: [0x0f, 0x90 + cc, ...(r.chance(40) ? memory(0) : [0xc0 | r.below(3)])], flags: keep, reads: conditionFlags(cc) }; }
      case 16: { const cc = r.below(16); if (!need(conditionFlags(cc))) continue; return { bytes: [0x0f, 0x40 + cc, ...(r.chance(40) ? memory(reg) : [0xc0 | reg << 3 | other])], flags: keep, reads: conditionFlags(cc) }; }
      case 17: return { bytes: [0x8d, 0x44 | reg << 3, r.below(4) << 6 | other << 3 | r.pick(FREE), r.u32() & 255], flags: keep };
      case 18: return { bytes: [...prefix, 0x86 + w, ...rm(encodable(reg))], flags: keep };
      case 19: { // or r, 1; xor edx, edx; div r: never faults
        const divisor = walk ? ECX : r.pick([ECX, ESI]);
        return { bytes: [0x83, 0xc8 | divisor, 1, 0x31, 0xd2, 0xf7, 0xf0 | divisor], flags: makes(STATUS_FLAGS) };
      }
      case 20: return { bytes: [0x0f, r.pick([0xa3, 0xab, 0xb3, 0xbb]), 0xc0 | reg << 3 | other], flags: b => (b & FLAG.ZF) | FLAG.OF | FLAG.SF | FLAG.AF | FLAG.PF };
      case 21: return { bytes: [0x83, 0xc8 | other, 1, 0x0f, r.pick([0xbc, 0xbd]), 0xc0 | reg << 3 | other], flags: makes(STATUS_FLAGS & ~FLAG.ZF) };
      case 22: return r.chance(50) ? { bytes: [0x50 | reg, 0x58 | other], flags: keep } : { bytes: [0x0f, 0xc8 | reg], flags: keep };
      case 23: { // forward branch over a harmless instruction
        const cc = r.below(16);
        if (!need(conditionFlags(cc))) continue;
        return { bytes: [0x70 | cc, 2, 0x89, 0xc0 | reg << 3 | other], flags: keep, reads: conditionFlags(cc) };
      }
      case 26: { // push edi; push ecx; a REP of a few elements between two places of the window; pop ecx; pop edi
        const op = r.pick([0xa4, 0xa5, 0xaa, 0xab, 0xac]), count = r.below(40), at = DATA + 0x600 + r.below(64);
        if (walk) continue;
        return { bytes: [0x57, 0x51, 0xbf, ...bytes32(at + r.below(100)), 0xbe, ...bytes32(at), 0xb9, ...bytes32(count), 0xf3, op, 0x59, 0x5f], flags: keep };
      }
      case 24: return { bytes: [0x0f, r.pick([0xa4, 0xac]), ...rm32(reg), 1 + r.below(31)], flags: makes(FLAG.AF | FLAG.OF) };
      default: { if (!need(FLAG.CF)) continue; return { bytes: [0x0f, 0xc0 + w, ...rm(size === 8 ? encodable(reg) : reg)], flags: defined }; }
    }
  }
}

/** Flags a condition code reads (SDM vol. 1, appendix B). */
function conditionFlags(cc: number): number {
  return [FLAG.OF, FLAG.CF, FLAG.ZF, FLAG.CF | FLAG.ZF, FLAG.SF, FLAG.PF, FLAG.SF | FLAG.OF, FLAG.SF | FLAG.OF | FLAG.ZF][cc >> 1]!;
}

export function randomProgram(seed: number, { loop, walk = false, x87 = false, sse = false, nan = false }: Shape): Program {
  const r = new Random(seed), scene = new Scene(r), pieces: Piece[] = [];
  if (x87) scene.fpu = x87Image(r, nan);
  if (sse) scene.xmm = sseImage(r, nan);
  for (const n of ALL_FREE) scene.regs[n] = operand(r, 32);
  scene.regs[EBX] = DATA + 0x500 + r.below(64);
  scene.regs[EBP] = DATA + (r.chance(20) ? 0x1000 - r.below(64) : 0x900);
  scene.regs[ESP] = STACK;
  scene.regs[EDI] = loop;
  const length = 3 + r.below(22);
  // Around the back edge the flags are those of DEC EDI, CF apart: start from what the first round and the others share.
  let undef = loop > 1 ? FLAG.CF : 0;
  for (let i = 0; i < length; i++) { const p = x87 && r.chance(60) ? x87Piece(r) : sse && r.chance(60) ? ssePiece(r) : piece(r, undef, walk); pieces.push(p); undef = p.flags(undef); }
  if (walk) {
    scene.regs[ESI] = HOLE - 4 * r.below(loop) - r.below(8);
    // LEA leaves the flags alone: it may stand anywhere.
    pieces.splice(r.below(pieces.length + 1), 0, { bytes: [0x8d, 0x76, 4], flags: keep });
  }
  return { seed, scene, pieces, loop };
}

/** Machine code of a program, and the flags undefined at its end. */
function assemble(p: Program): { code: number[]; undefinedFlags: number } {
  const body = p.pieces.flatMap(x => x.bytes);
  let undef = p.loop > 1 ? FLAG.CF : 0;
  for (const x of p.pieces) undef = x.flags(undef);
  if (p.loop <= 1) return { code: body, undefinedFlags: undef };
  const code = [...body, 0x4f], back = -(code.length + 6);
  return { code: [...code, 0x0f, 0x85, ...bytes32(back)], undefinedFlags: undef & FLAG.CF };
}

/** Leaving a piece out may expose an undefined flag to a reader. */
function readsUndefined(p: Program): boolean {
  let undef = p.loop > 1 ? FLAG.CF : 0;
  for (const x of p.pieces) { if ((x.reads ?? 0) & undef) return true; undef = x.flags(undef); }
  return false;
}

/**
 * An x87 piece. The stack is as deep behind it as in front: three values lie there at the start. Some see an empty or a full stack all the
 * same, because pieces are left out when a program is shrunk; then both sides must agree on that.
 */
function x87Piece(r: Random): Piece {
  const at = DATA + 0x700 + 16 * r.below(24), memory = (ext: number): number[] => [ext << 3 | 5, ...bytes32(at)];
  const sti = (): number => r.below(3);
  const bytes = ((): number[] => {
    switch (r.below(14)) {
      case 0: return [0xdd, ...memory(0), 0xdc, ...memory(r.pick([0, 1, 4, 5])), 0xdd, ...memory(3)]; // fld, op, fstp m64
      case 1: return [0xd9, ...memory(0), 0xd8, ...memory(r.pick([0, 1, 4, 5, 6])), 0xd9, ...memory(3)]; // m32
      case 2: return [0xd8, 0xc0 | r.pick([0, 1, 4, 5, 6, 7]) << 3 | sti()];
      case 3: return [0xdc, 0xc0 | r.pick([0, 1, 4, 5, 6, 7]) << 3 | sti()];
      case 4: return [0xd9, 0xc0 | sti(), 0xde, 0xc0 | r.pick([0, 1, 4, 5, 6, 7]) << 3 | 1 + sti()]; // fld sti, op p
      case 5: return [0xd9, 0xc8 | sti()];
      case 6: return [0xdb, ...memory(0), 0xd9, 0xfa, 0xdb, ...memory(3)]; // fild, fsqrt, fistp
      case 7: return [0xd9, r.pick([0xe0, 0xe1, 0xfc])];
      case 8: return [0xdb, 0xf0 | sti(), r.chance(50) ? 0xda : 0xdb, 0xc0 | r.below(4) << 3 | sti()]; // fcomi, fcmovcc
      case 9: return [0xd8, 0xd0 | sti(), 0xdf, 0xe0]; // fcom, fnstsw ax
      case 10: return [0xdb, ...memory(5), 0xde, 0xc9]; // fld m80, fmulp
      case 11: return [0xd9, 0xe8 + r.below(7), 0xde, 0xc1]; // a constant, faddp
      case 12: return [0xd9, ...memory(7), 0x80, 0x25, ...bytes32(at + 1), 0xf3, 0x80, 0x0d, ...bytes32(at + 1), r.below(4) << 2, 0xd9, ...memory(5)]; // rounding control by fnstcw, fldcw
      default: return [0xdd, ...memory(2), 0xdc, ...memory(r.pick([0, 1]))]; // fst m64, op m64
    }
  })();
  const flags = bytes[0] === 0xdb && (bytes[1]! & 0xf8) === 0xf0 ? defined : bytes.includes(0x80) && bytes[0] === 0xd9 && bytes[1] === 0x3d ? makes(FLAG.AF) : keep;
  return { bytes, flags };
}
/** Numbers of ordinary size, and a few that are not; exceptions are masked. */
function sseImage(r: Random, nan: boolean): Uint8Array {
  const image = new Uint8Array(128), view = new DataView(image.buffer);
  const sign = (): number => r.chance(50) ? 0x8000_0000 : 0, fraction = (): number => r.pick([0, 1, r.u32() >>> 10]);
  for (let i = 0; i < 16; i++) {
    if (nan && r.chance(70)) {
      if (r.chance(50)) { view.setUint32(i * 8, r.pick([0, 1, r.u32()]), true); view.setUint32(i * 8 + 4, (sign() | r.pick([0x7ff8_0000, 0x7ff0_0000, 0]) | fraction() >>> 3) >>> 0, true); }
      else for (const at of [0, 4]) view.setUint32(i * 8 + at, (sign() | r.pick([0x7fc0_0000, 0x7f80_0000, 0]) | fraction()) >>> 0, true);
    } else if (r.chance(20)) { view.setUint32(i * 8, r.u32(), true); view.setUint32(i * 8 + 4, r.u32(), true); } else if (r.chance(50)) view.setFloat64(i * 8, (r.u32() - 2 ** 31) / 65536, true);
    else { view.setFloat32(i * 8, (r.u32() - 2 ** 31) / 1000, true); view.setFloat32(i * 8 + 4, (r.u32() - 2 ** 31) / 7, true); }
  }
  return image;
}
const INTEGER_SSE = [0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x74, 0x75, 0x76, 0xd1, 0xd2, 0xd3, 0xd4, 0xd5, 0xd8, 0xd9, 0xda, 0xdb, 0xdc, 0xdd, 0xde, 0xdf, 0xe0, 0xe1, 0xe2, 0xe3, 0xe4, 0xe5,
  0xe8, 0xe9, 0xea, 0xeb, 0xec, 0xed, 0xee, 0xef, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf8, 0xf9, 0xfa, 0xfb, 0xfc, 0xfd, 0xfe] as const;
/** Aligned memory operands where the instruction asks for them; unaligned moves cross lines and pages. */
function ssePiece(r: Random): Piece {
  const a = r.below(8), b = r.below(8), register = 0xc0 | a << 3 | b, at = DATA + 0x700 + 16 * r.below(24);
  const memory = (address: number): number[] => [a << 3 | 5, ...bytes32(address)], operandBytes = (): number[] => r.chance(40) ? memory(at) : [register];
  const arithmetic = [[], [0x66], [0xf3], [0xf2]] as const;
  switch (r.below(10)) {
    case 0: case 1: return { bytes: [...r.pick(arithmetic), 0x0f, r.pick([0x51, 0x58, 0x59, 0x5c, 0x5d, 0x5e, 0x5f]), ...operandBytes()], flags: keep };
    case 2: case 3: return { bytes: [0x66, 0x0f, r.pick(INTEGER_SSE), ...operandBytes()], flags: keep };
    case 4: return { bytes: [0xf3, 0x0f, r.pick([0x6f, 0x7f]), ...memory(DATA + 0x700 + r.below(0x180) + (r.chance(20) ? 0x8f0 - 0x80 : 0))], flags: keep };
    case 5: return { bytes: [...r.pick([[], [0x66]]), 0x0f, r.pick([0x14, 0x15, 0x28, 0x54, 0x55, 0x56, 0x57]), ...operandBytes()], flags: keep };
    case 6: return { bytes: [...r.pick([[0x66], [0xf2], [0xf3]]), 0x0f, 0x70, ...operandBytes(), r.below(256)], flags: keep };
    case 7: return { bytes: [...r.pick([[], [0x66]]), 0x0f, r.pick([0x2e, 0x2f]), ...operandBytes()], flags: defined };
    case 8: return { bytes: r.pick([[0xf2, 0x0f, 0x5a, register], [0xf3, 0x0f, 0x5a, register], [0x0f, 0x5b, register], [0x66, 0x0f, 0x5b, register], [0xf3, 0x0f, 0x5b, register], [0xf3, 0x0f, 0xe6, register], [0xf2, 0x0f, 0xe6, register], [0xf2, 0x0f, 0x2a, 0xc0 | a << 3 | r.pick(ALL_FREE)], [0xf2, 0x0f, 0x2c, 0xc0 | r.pick(ALL_FREE) << 3 | b], [0xf3, 0x0f, 0x2d, 0xc0 | r.pick(ALL_FREE) << 3 | b]]), flags: keep };
    default: return { bytes: r.pick([[0x66, 0x0f, r.pick([0x71, 0x72, 0x73]), 0xc0 | r.pick([2, 6]) << 3 | b, r.below(70)], [0x66, 0x0f, 0x7e, 0xc0 | a << 3 | r.pick(ALL_FREE)], [0x66, 0x0f, 0xd7, 0xc0 | r.pick(ALL_FREE) << 3 | b], [0xf2, 0x0f, 0xd0, register], [0x66, 0x0f, r.pick([0x7c, 0x7d]), register], [...r.pick(arithmetic), 0x0f, 0xc2, register, r.below(8)]]), flags: keep };
  }
}
/** Three numbers on the stack, masked exceptions. */
function x87Image(r: Random, nan: boolean): Uint8Array {
  const image = new Uint8Array(108), view = new DataView(image.buffer);
  view.setUint32(0, 0xffff037f, true); view.setUint32(4, 0xffff0000 | 5 << 11, true); view.setUint32(8, 0xffff0000 | 0x03ff, true); view.setUint32(24, 0xffff0000, true);
  for (let i = 0; i < 8; i++) {
    view.setUint32(28 + i * 10, r.u32(), true); view.setUint32(32 + i * 10, (r.u32() | 0x80000000) >>> 0, true);
    view.setUint16(36 + i * 10, (nan && r.chance(60) ? 0x7fff : 0x3fff - 8 + r.below(16)) | (r.chance(40) ? 0x8000 : 0), true);
  }
  return image;
}

const inputOf = (p: Program): NativeInput => ({ code: assemble(p).code, codeAddr: SNIPPET, regs: p.scene.regs, eflags: p.scene.eflags, mxcsr: p.scene.mxcsr, patches: [], xmm: p.scene.xmm, fpu: p.scene.fpu });

/** A program and what the CPU made of it. At a fault the flags in question are those before the faulting piece. */
function vectorOf(p: Program, expected: Captured): Vector {
  const input = inputOf(p);
  let { undefinedFlags } = assemble(p);
  if (expected.trap !== 3) {
    undefinedFlags = p.loop > 1 ? FLAG.CF : 0;
    let at = SNIPPET;
    for (const x of p.pieces) { if (at + x.bytes.length > expected.eip) break; at += x.bytes.length; undefinedFlags = x.flags(undefinedFlags); }
  }
  return { ...input, patches: [], code: Uint8Array.from(input.code), index: p.seed, form: `fuzz seed ${p.seed}`, undefinedFlags, undefinedRegs: 0, undefinedMemory: false, expected };
}

export interface FuzzResult { programs: number; failures: string[] }

export interface FuzzOptions extends Shape { seed: number; count: number; jit: Tier; maxFailures?: number; /** Instructions per call of run(). */ piece?: number }

/** What the programs of some seeds leave behind on an engine, as one SHA-256. No CPU is asked: the same from every engine that computes the same. */
export function digest(createEngine: VectorEngineFactory, { seed, count, jit, ...shape }: FuzzOptions): string {
  const machine = new VectorMachine(createEngine, jit), sum = createHash('sha256');
  for (let n = 0; n < count; n++) {
    const program = randomProgram(seed + n, shape);
    const unknown: Captured = { ...inputOf(program), trap: 3, error: 0, cr2: 0, eip: 0, changes: [] };
    const { regs, eflags, eip, trap, mxcsr, xmm, fpu, changes } = machine.run(vectorOf(program, unknown), shape.loop * 600 + 1000);
    sum.update(JSON.stringify([regs, eflags, eip, trap, mxcsr, xmm && [...xmm], fpu && [...fpu], changes]));
  }
  return sum.digest('hex');
}

export function fuzz(createEngine: VectorEngineFactory, options: FuzzOptions): FuzzResult {
  const native = new NativeHarness(), failures: string[] = [], budget = options.loop * 600 + 1000;
  let machine = new VectorMachine(createEngine, options.jit);
  const problemsOf = (v: Vector): string[] => differences(v, machine.run(v, budget, options.piece));
  const onCpu = (p: Program): Vector => vectorOf(p, native.run([inputOf(p)], 10_000)[0]!);
  const again = `node test/vectors/fuzz.ts --count=1 --loop=${options.loop} --jit=${options.jit}${options.walk ? ' --walk' : ''}${options.x87 ? ' --x87' : ''}${options.sse ? ' --sse' : ''}${options.nan ? ' --nan' : ''}${options.piece ? ` --piece=${options.piece}` : ''} --seed=`;
  const programs = Array.from({ length: options.count }, (_, i) => randomProgram(options.seed + i, options));
  try {
    const results = native.run(programs.map(inputOf), 60_000);
    for (let i = 0; i < programs.length && failures.length < (options.maxFailures ?? 5); i++) {
      let small = programs[i]!;
      let v = vectorOf(small, results[i]!), problems: string[];
      try { problems = problemsOf(v); } catch (e) { throw new Error(`${describeFailure('fuzz', v, [String(e)], '').replace(/\n[^\n]*$/, '')}\n    ${again}${small.seed}`, { cause: e }); }
      if (problems.length === 0) continue;
      for (let shrunk = true; shrunk;) {
        shrunk = false;
        for (let k = 0; k < small.pieces.length && small.pieces.length > 1; k++) {
          const candidate: Program = { ...small, pieces: small.pieces.filter((_, n) => n !== k) };
          if (readsUndefined(candidate)) continue;
          const cv = onCpu(candidate), cp = problemsOf(cv);
          if (cp.length > 0) { small = candidate; v = cv; problems = cp; shrunk = true; break; }
        }
      }
      failures.push(`${describeFailure('fuzz', v, problems, '').replace(/\n[^\n]*$/, '')}\n    ${again}${small.seed}`);
      machine = new VectorMachine(createEngine, options.jit);
    }
  } finally { native.dispose(); }
  return { programs: programs.length, failures };
}

if (process.argv[1] === import.meta.filename) {
  const option = (name: string, otherwise: string): string => process.argv.find(a => a.startsWith(`--${name}=`))?.slice(name.length + 3) ?? otherwise;
  const has = (name: string): boolean => process.argv.includes(`--${name}`), seed = Number(option('seed', '1')), seconds = Number(option('seconds', '0'));
  let result: FuzzResult = { programs: 0, failures: [] };
  if (seconds > 0) {
    const kinds: Omit<FuzzOptions, 'seed' | 'count'>[] = [{ loop: 1, jit: 'off' }, { loop: 40, jit: 'on' }, { loop: 40, jit: 'on', x87: true }, { loop: 40, jit: 'on', sse: true }, { loop: 40, jit: 'off', sse: true }, { loop: 3, jit: 'off', sse: true, nan: true }, { loop: 20, jit: 'on', sse: true, nan: true }, { loop: 20, jit: 'on', x87: true, nan: true }, { loop: 40, jit: 'on', x87: true, piece: 97 }, { loop: 30, jit: 'on', walk: true }, { loop: 300, jit: 'mixed', sse: true }];
    const end = performance.now() + seconds * 1000;
    for (let round = 0; performance.now() < end && result.failures.length < 5; round++) {
      const r = fuzz(vectorEngine, { ...kinds[round % kinds.length]!, seed: seed + Math.floor(round / kinds.length) * 50, count: 50 });
      for (const f of r.failures) console.log(f);
      result = { programs: result.programs + r.programs, failures: [...result.failures, ...r.failures] };
    }
    console.log(`${result.programs} programs, ${result.failures.length} disagreements`);
    process.exit(result.failures.length > 0 ? 1 : 0);
  }
  result = fuzz(vectorEngine, { seed, count: Number(option('count', '1000')), loop: Number(option('loop', has('walk') ? '100' : '1')), walk: has('walk'), x87: has('x87'), sse: has('sse'), nan: has('nan'), jit: option('jit', 'off') as Tier, ...(option('piece', '') ? { piece: Number(option('piece', '')) } : {}) });
  for (const f of result.failures) console.log(f);
  console.log(`${result.programs} programs, ${result.failures.length} disagreements${result.failures.length >= 5 ? ' (stopped)' : ''}`);
  process.exitCode = result.failures.length > 0 ? 1 : 0;
}
