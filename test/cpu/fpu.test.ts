/** What vectors in ring 3 cannot show of x87, MMX and SSE: control registers, images, CPUID, the environment at the ways out of compiled code. */
import { describe, expect, it } from 'vitest';
import { CR0, CR4, S } from '../../vm/cpu/state.ts';
import { Bench } from '../../vm/cpu/testdriver.ts';

const CODE = 0x1000, DATA = 0x8000;
/** Runs code in ring 0; the vector it ends in, or -1 after `steps` instructions. */
function trap(code: readonly number[], set: { cr0?: number; cr4?: number; status?: number } = {}): { vector: number; bench: Bench } {
  const bench = new Bench();
  bench.words[S.cr0 >> 2] |= set.cr0 ?? 0;
  bench.words[S.cr4 >> 2] = set.cr4 ?? CR4.OSFXSR;
  bench.words[S.fpuStatus >> 2] = set.status ?? 0;
  bench.load(CODE, [...code, 0xcc]);
  bench.registers({ eip: CODE, eax: DATA, ebx: DATA });
  bench.run(100);
  return { vector: bench.fault?.vector ?? -1, bench };
}
const FADD = [0xd8, 0xc1], PADDB = [0x0f, 0xfc, 0xc1], ADDPS = [0x0f, 0x58, 0xc1], FWAIT = [0x9b], EMMS = [0x0f, 0x77], FNSTSW = [0xdf, 0xe0], CVTPI2PS = [0x0f, 0x2a, 0xc1];

describe('who may use the registers', () => {
  it('TS: #NM for x87, MMX and SSE; for WAIT only with MP', () => {
    for (const code of [FADD, PADDB, ADDPS, EMMS, FNSTSW, CVTPI2PS]) expect(trap(code, { cr0: CR0.TS }).vector).toBe(7);
    expect(trap(FWAIT, { cr0: CR0.TS }).vector).toBe(3);
    expect(trap(FWAIT, { cr0: CR0.TS | CR0.MP }).vector).toBe(7);
  });
  it('EM: #NM for x87, #UD for MMX and SSE', () => {
    for (const code of [FADD, FNSTSW]) expect(trap(code, { cr0: CR0.EM }).vector).toBe(7);
    for (const code of [PADDB, EMMS, ADDPS, CVTPI2PS]) expect(trap(code, { cr0: CR0.EM }).vector).toBe(6);
  });
  it('without OSFXSR: SSE is #UD, also where it touches MMX registers; MMX is not', () => {
    for (const code of [ADDPS, CVTPI2PS, [0xf3, 0x0f, 0xd6, 0xc1]]) expect(trap(code, { cr4: 0 }).vector).toBe(6);
    expect(trap(PADDB, { cr4: 0 }).vector).toBe(3);
  });
  it('a pending exception is #MF at the next waiting instruction, MMX included; TS comes first', () => {
    for (const code of [FADD, PADDB, EMMS, FWAIT, CVTPI2PS]) expect(trap(code, { status: 0x8081 }).vector).toBe(16);
    expect(trap(FNSTSW, { status: 0x8081 }).vector).toBe(3);
    expect(trap(FADD, { status: 0x8081, cr0: CR0.TS }).vector).toBe(7);
  });
  it('CPUID announces FPU, MMX, SSE, SSE2, SSE3 and no MONITOR', () => {
    const { bench } = trap([0xb8, 1, 0, 0, 0, 0x0f, 0xa2]);
    const { ecx, edx } = bench.read();
    for (const bit of [0, 23, 24, 25, 26]) expect(edx >>> bit & 1, `EDX bit ${bit}`).toBe(1);
    expect(ecx & 1).toBe(1);
    expect(ecx & 8).toBe(0);
  });
});

describe('images', () => {
  it('FXSAVE shows an MMX register with its exponent of ones, and FXRSTOR brings everything back', () => {
    // fninit; fldpi; mov ecx,12345678h; movd mm2,ecx; fxsave [eax]; fninit; fxrstor [eax]; fxsave [eax+512]
    const { vector, bench } = trap([0xdb, 0xe3, 0xd9, 0xeb, 0xb9, 0x78, 0x56, 0x34, 0x12, 0x0f, 0x6e, 0xd1, 0x0f, 0xae, 0x00, 0xdb, 0xe3, 0x0f, 0xae, 0x08, 0x0f, 0xae, 0x80, 0, 2, 0, 0]);
    expect(vector).toBe(3);
    const image = bench.peek(DATA, 512);
    expect([...image.subarray(0, 5)]).toEqual([0x7f, 3, 0, 0, 0xff]);
    expect(Buffer.from(image.subarray(32 + 2 * 16, 42 + 2 * 16)).toString('hex')).toBe('7856341200000000ffff');
    expect(Buffer.from(image.subarray(32 + 7 * 16, 42 + 7 * 16)).toString('hex')).toBe('35c26821a2da0fc90040');
    expect(Buffer.compare(Buffer.from(image), Buffer.from(bench.peek(DATA + 512, 512)))).toBe(0);
  });
  it('FNSTENV in real-address format has linear addresses', () => {
    const bench = new Bench();
    bench.words[S.cr0 >> 2] &= ~CR0.PE;
    // Segments stay 32-bit and flat ("unreal"): fld dword [eax]; fnstenv [ebx]
    bench.load(CODE, [0xd9, 0x00, 0xd9, 0x33, 0xf4]);
    bench.registers({ eip: CODE, eax: 0x12345, ebx: DATA });
    bench.engine.stateChanged();
    bench.run(10);
    const words = Array.from({ length: 7 }, (_, i) => bench.peek32(DATA + i * 4) >>> 0);
    const cs = bench.words[S.fpuCs >> 2]! & 0xffff, ds = bench.words[S.fpuDs >> 2]! & 0xffff, code = CODE + cs * 16, data = 0x12345 + ds * 16;
    expect(words[3]! & 0xffff).toBe(code & 0xffff);
    expect(words[4]).toBe((code >>> 16 << 12 | 0x100) >>> 0);
    expect(words[5]! & 0xffff).toBe(data & 0xffff);
    expect(words[6]).toBe(data >>> 16 << 12);
  });
});

describe('compiled code', () => {
  it('tells the last x87 instruction where it leaves: at a fault, and at the end', () => {
    const bench = new Bench({ jit: 'on', jitHeat: 20_000 });
    bench.words[S.cr4 >> 2] = CR4.OSFXSR;
    // fldz ; L: fadd qword [ebx] ; fmul st0,st0 ; mov edx,[esi] ; fchs ; add esi,4 ; dec ecx ; jnz L ; hlt
    const body = [0xdc, 0x03, 0xd8, 0xc8, 0x8b, 0x16, 0xd9, 0xe0, 0x83, 0xc6, 0x04, 0x49];
    bench.load(CODE, [0xd9, 0xee, ...body, 0x75, -(body.length + 2) & 255, 0xf4]);
    bench.registers({ eip: CODE, ebx: DATA, esi: 0x20000, ecx: 200_000 });
    bench.run(3_000_000);
    expect(bench.words[S.countRegions >> 2]).toBeGreaterThan(0);
    expect(bench.read().ecx).toBe(0);
    expect([S.fpuIp, S.fpuOpcode, S.fpuDp].map(field => bench.words[field >> 2])).toEqual([CODE + 8, 0x1e0, DATA]);
  });
  it('stops at the load that faults with the addresses of the instruction before it', () => {
    const bench = new Bench({ jit: 'on', jitHeat: 20_000, memoryMiB: 4 });
    // A limit of 64 KiB in FS ends the loop: L: fadd qword [ebx] ; fmul st0,st0 ; mov edx,fs:[esi] ; fchs ; add esi,4 ; jmp L
    const body = [0xdc, 0x03, 0xd8, 0xc8, 0x64, 0x8b, 0x16, 0xd9, 0xe0, 0x83, 0xc6, 0x04];
    bench.load(CODE, [0xd9, 0xee, ...body, 0xeb, -(body.length + 2) & 255]);
    bench.engine.cpu.setSegment(4, 0x18, 0, 0x3ffff, 0xc093);
    bench.engine.stateChanged();
    bench.registers({ eip: CODE, ebx: DATA, esi: 0 });
    bench.run(1_000_000);
    expect(bench.words[S.countRegions >> 2]).toBeGreaterThan(0);
    expect(bench.fault).toMatchObject({ vector: 13, eip: CODE + 6 });
    expect([S.fpuIp, S.fpuOpcode, S.fpuDp].map(field => bench.words[field >> 2])).toEqual([CODE + 4, 0x0c8, DATA]);
  });
});
