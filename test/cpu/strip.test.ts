/**
 * Loops that walk through memory in strips (vm/cpu/jit/strip.ts): which they are, and that a machine with the JIT does what one without does, wherever a
 * run is cut, with SSE arithmetic on every kind of number.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Bench } from '../../vm/cpu/testdriver.ts';
import { CR0, CR4, S } from '../../vm/cpu/state.ts';
import { discover } from '../../vm/cpu/jit/cfg.ts';
import { stripOf, type Strip } from '../../vm/cpu/jit/strip.ts';

const CODE = 0x10000, DATA = 0x20000, STACK = 0x80000;
const le32 = (v: number): number[] => [v & 255, (v >> 8) & 255, (v >> 16) & 255, (v >> 24) & 255];

function analyse(code: readonly number[], apart: readonly number[] = []): Strip | null {
  const page = new Uint8Array(4096).fill(0xf4);
  page.set(code);
  const region = discover(0, 0x7f, { page: p => (p === 0 ? page : null), avoid: () => false, peek: () => undefined })!;
  return stripOf(region, region.index.get(0)!, new Set(apart));
}

describe('a strip', () => {
  it('has a stream for each address that moves by a constant or stays', () => {
    // 0 mov eax,[edx] ; 2 mov [ecx+8],eax ; 5 add edx,4 ; 8 sub ecx,12 ; 11 inc dword [esp+16] ; 15 cmp edx,esi ; 17 jb 0
    const strip = analyse([0x8b, 0x02, 0x89, 0x41, 0x08, 0x83, 0xc2, 0x04, 0x83, 0xe9, 0x0c, 0xff, 0x44, 0x24, 0x10, 0x39, 0xf2, 0x72, 0xed])!;
    expect(strip.streams.map(({ step, low, span, write }) => [step, low, span, write])).toEqual([[4, 0, 4, false], [-12, 8, 4, true], [0, 16, 4, true]]);
    expect(strip.flagsLive).toBe(false);
  });
  it('follows copies, LEA and indices, and puts neighbours into one stream', () => {
    // 0 lea eax,[edx+8] ; 3 movzx ebx,[eax] ; 6 mov bl,[edx-2] ; 9 mov [ebp+edx*2+4],bl ; 13 inc edx ; 14 cmp edx,esi ; 16 jb 0
    const strip = analyse([0x8d, 0x42, 0x08, 0x0f, 0xb6, 0x18, 0x8a, 0x5a, 0xfe, 0x88, 0x5c, 0x55, 0x04, 0x42, 0x39, 0xf2, 0x72, 0xee])!;
    expect(strip.streams.map(({ step, low, span, write }) => [step, low, span, write])).toEqual([[1, -2, 11, false], [2, 4, 1, true]]);
  });
  it('looks up by itself what moves otherwise, unless that has to be apart', () => {
    // 0 mov al,[edx] ; 2 xor eax,[ebx+eax*4] ; 5 inc edx ; 6 cmp edx,esi ; 8 jb 0
    const code = [0x8a, 0x02, 0x33, 0x04, 0x83, 0x42, 0x39, 0xf2, 0x72, 0xf6];
    expect(analyse(code)!.accesses.size).toBe(1);
    expect(analyse(code, [2])).toBeNull();
    expect(analyse(code, [0])).not.toBeNull();
  });
  it('is no loop of several blocks, with a call, LOCK, string instruction or FS, or without a stream', () => {
    expect(analyse([0x8a, 0x02, 0x74, 0x01, 0x40, 0x42, 0x75, 0xf8])).toBeNull(); // jz over inc eax
    expect(analyse([0xf0, 0xff, 0x02, 0x42, 0x75, 0xfa])).toBeNull();
    expect(analyse([0xac, 0x03, 0x02, 0x42, 0x75, 0xfa])).toBeNull();
    expect(analyse([0x64, 0x8a, 0x02, 0x42, 0x75, 0xfa])).toBeNull();
    expect(analyse([0x8b, 0x12, 0x85, 0xd2, 0x75, 0xfa])).toBeNull(); // pointer chase
  });
});

/** Turns paging on; the pages of the data lie in memory in another order, two of them one behind the other. */
const TABLES = 0x90000, PAGES = 48, ORDER = Array.from({ length: PAGES }, (_, i) => (i >> 1) * 2 * 5 % PAGES + (i & 1));
function scatter(bench: Bench): void {
  bench.poke32(TABLES, TABLES + 0x1000 | 7);
  for (let i = 0; i < 512; i++) bench.poke32(TABLES + 0x1000 + i * 4, i << 12 | 0x67);
  ORDER.forEach((to, i) => bench.poke32(TABLES + 0x1000 + ((DATA >> 12) + i) * 4, DATA + to * 4096 | 0x67));
  bench.words[S.cr3 >> 2] = TABLES;
  bench.words[S.cr0 >> 2] |= CR0.PG;
  bench.engine.stateChanged();
}
/** The data in the order of addresses. */
function seen(bench: Bench): Uint8Array {
  const bytes = new Uint8Array(PAGES * 4096);
  ORDER.forEach((to, i) => bytes.set(bench.board.ram.subarray(DATA + to * 4096, DATA + to * 4096 + 4096), i * 4096));
  return bytes;
}

const NUMBERS = [1.5, -2.25, 0, 0.1, -0, 1e300, -1e-300, 5e-324, 2 ** -1022, 2 ** -1021, 2 ** -1020, Number.MAX_VALUE, Infinity, -Infinity, NaN, 3, -7, 1e-8, 123456789, 2 ** 53];
function machine(code: readonly number[], jit: 'on' | 'off', mxcsr: number): Bench {
  const bench = new Bench({ memoryMiB: 2, jit });
  bench.load(CODE, code);
  const data = new DataView(bench.board.ram.buffer, bench.board.ram.byteOffset);
  // Doubles in the lower half of each 64 bytes, floats and odds and ends in the upper.
  for (let at = DATA; at < DATA + 0x6000; at += 8) {
    const n = NUMBERS[(at >> 3) * 7 % NUMBERS.length];
    if (at & 32) { data.setFloat32(at, n, true); data.setInt32(at + 4, Math.imul(at, 0x9e3779b1), true); } else data.setFloat64(at, at & 64 ? (at & 0xfff) / 7 : n, true);
  }
  bench.words[S.cr4 >> 2] |= CR4.OSFXSR | CR4.OSXMMEXCPT;
  bench.words[S.cr0 >> 2] &= ~(CR0.EM | CR0.TS);
  bench.words[S.mxcsr >> 2] = mxcsr;
  scatter(bench);
  bench.registers({ eip: CODE, esp: STACK, eflags: 2, ebp: DATA + 0x3ff0, ebx: DATA + 0x800 });
  return bench;
}
/** Both run the same pieces; after each, everything is the same. Returns how many regions there were. */
function agree(code: readonly number[], pieces: readonly number[], mxcsr = 0x1fa0): number {
  const off = machine(code, 'off', mxcsr), on = machine(code, 'on', mxcsr);
  for (const piece of pieces) {
    const exits = [off.run(piece), on.run(piece)];
    expect(exits[1]).toBe(exits[0]);
    expect(on.engine.retired).toBe(off.engine.retired);
    expect(on.read()).toEqual(off.read());
    expect(on.engine.saveState()).toEqual(off.engine.saveState());
    expect(on.fault).toEqual(off.fault);
    expect(Buffer.compare(on.board.ram.subarray(CODE, STACK), off.board.ram.subarray(CODE, STACK))).toBe(0);
  }
  return on.words[S.countRegions >> 2];
}
/** outer: mov esi,from ; mov ecx,to ; mov edx,turns ; inner: body ; dec edx ; jnz inner ; jmp outer */
function nested(body: readonly number[], from: number, to: number, turns: number): number[] {
  const inner = [...body, 0x4a, 0x0f, 0x85, ...le32(-(body.length + 7))], head = [0xbe, ...le32(from), 0xb9, ...le32(to), 0xba, ...le32(turns)];
  return [...head, ...inner, 0xe9, ...le32(-(head.length + inner.length + 5))];
}

describe('loops in strips agree with tier 0', () => {
  const CUTS = [60_000, 1, 2, 3, 777, 20_011, 5, 30_000];
  it('for a copy that crosses pages at odd addresses', () => {
    // mov eax,[esi] ; mov [ecx],eax ; add esi,4 ; add ecx,4
    expect(agree(nested([0x8b, 0x06, 0x89, 0x01, 0x83, 0xc6, 0x04, 0x83, 0xc1, 0x04], DATA + 0xffd, DATA + 0x5003, 3000), CUTS)).toBeGreaterThan(0);
  });
  it('for a fill that reaches the code it is part of', () => {
    // mov byte [ecx],90h ; dec ecx: downwards from above the code's page into the unused rest of it
    expect(agree(nested([0xc6, 0x01, 0x90, 0x49], DATA, CODE + 0x1400, 0x1400 - 0x100), CUTS)).toBeGreaterThan(0);
  });
  it('for flags carried from turn to turn and seen at the end of a slice', () => {
    // adc eax,[esi] ; lea esi,[esi+8] ; setc [ecx] ; inc ecx ; dec edx keeps CF
    expect(agree(nested([0x13, 0x06, 0x8d, 0x76, 0x08, 0x0f, 0x92, 0x01, 0x41], DATA, DATA + 0x5000, 700), CUTS)).toBeGreaterThan(0);
  });
  it('for sums of products, with exceptions masked or not, recorded or not, and other roundings', () => {
    // movsd xmm0,[esi] ; mulsd xmm0,[ebx] ; addsd xmm0,[ebp] ; movsd [ecx],xmm0 ; add esi,8 ; add ecx,8
    const body = [0xf2, 0x0f, 0x10, 0x06, 0xf2, 0x0f, 0x59, 0x03, 0xf2, 0x0f, 0x58, 0x45, 0x00, 0xf2, 0x0f, 0x11, 0x01, 0x83, 0xc6, 0x08, 0x83, 0xc1, 0x08];
    for (const mxcsr of [0x1fa0, 0x1f80, 0x0fa0, 0x1f20, 0x3fa0, 0x9fe0, 0x1ea0, 0x1e80]) expect(agree(nested(body, DATA, DATA + 0x5000, 500), CUTS, mxcsr)).toBeGreaterThan((mxcsr & 0x1f80) === 0x1f80 ? 0 : -1);
  });
  it('for aligned accesses that are not', () => {
    // movaps xmm1,[esi] ; movups [ecx],xmm1 ; add esi,15 : #GP in the second turn, of every loop
    const p = nested([0x0f, 0x28, 0x0e, 0x0f, 0x11, 0x09, 0x83, 0xc6, 0x0f], DATA, DATA + 0x5000, 500);
    agree(p, [10_000]);
    // step 16 until the address is made odd by the outer loop's data: add esi,16 ; never
    expect(agree(nested([0x0f, 0x28, 0x0e, 0x0f, 0x29, 0x09, 0x83, 0xc6, 0x10, 0x83, 0xc1, 0x10], DATA, DATA + 0x4000, 500), CUTS)).toBeGreaterThan(0);
  });
  it('for random bodies', () => {
    const disp = fc.integer({ min: -64, max: 64 }), base = fc.constantFrom(6, 1, 5, 3), xmm = fc.integer({ min: 0, max: 7 }), step = fc.constantFrom(1, 2, 4, 8, 12, 16, 96, -1, -4, -8, -16);
    const at = (field: number, b: number, d: number): number[] => [0x40 | (field << 3) | b, d & 255];
    const insn = fc.oneof(
      fc.tuple(fc.constantFrom(0x01, 0x03, 0x2b, 0x33, 0x3b, 0x8b, 0x89, 0x13, 0x88, 0x8a, 0x00), base, disp).map(([op, b, d]) => [op, ...at(0, b, d)]),
      fc.tuple(fc.constantFrom(6, 1), step).map(([r, s]) => [0x83, 0xc0 | r, s & 255]),
      fc.tuple(fc.constantFrom(0x58, 0x59, 0x5c, 0x5e, 0x51, 0x5d), fc.constantFrom(0xf2, 0xf3), xmm, base, disp).map(([op, p, x, b, d]) => [p, 0x0f, op, ...at(x, b, d)]),
      fc.tuple(fc.constantFrom(0x58, 0x59, 0x5c, 0x5e), fc.constantFrom<number[]>([0xf2], [0xf3], [0x66], []), xmm, xmm).map(([op, p, x, y]) => [...p, 0x0f, op, 0xc0 | (x << 3) | y]),
      fc.tuple(fc.constantFrom(0x10, 0x11), fc.constantFrom<number[]>([0xf2], [0xf3], [0x66], []), xmm, base, disp).map(([op, p, x, b, d]) => [...p, 0x0f, op, ...at(x, b, d)]),
      fc.tuple(fc.constantFrom(0x12, 0x13, 0x16, 0x17, 0x6e, 0x7e, 0xd6), xmm, base, disp).map(([op, x, b, d]) => [0x66, 0x0f, op, ...at(x, b, d)]),
      fc.tuple(fc.constantFrom(0xfe, 0xd4, 0xef, 0xeb, 0x6c, 0x14, 0x61), xmm, xmm).map(([op, x, y]) => [0x66, 0x0f, op, 0xc0 | (x << 3) | y]),
      fc.tuple(fc.constantFrom(0x70), fc.constantFrom(0x66, 0xf2, 0xf3), xmm, xmm, fc.integer({ min: 0, max: 255 })).map(([op, p, x, y, i]) => [p, 0x0f, op, 0xc0 | (x << 3) | y, i]),
      fc.tuple(fc.constantFrom<number[]>([0x66], []), xmm, xmm, fc.integer({ min: 0, max: 255 })).map(([p, x, y, i]) => [...p, 0x0f, 0xc6, 0xc0 | (x << 3) | y, i]),
      fc.tuple(xmm, base, disp).map(([x, b, d]) => [0xf2, 0x0f, 0x2a, ...at(x, b, d)]),
      fc.tuple(fc.constantFrom(0x2c, 0x2d), xmm).map(([op, x]) => [0xf2, 0x0f, op, 0xc0 | x]),
      fc.tuple(xmm, base, disp).map(([x, b, d]) => [0x66, 0x0f, 0x2f, ...at(x, b, d)]),
      fc.tuple(fc.integer({ min: 0, max: 15 })).map(([cc]) => [0x0f, 0x90 | cc, 0xc0]),
      fc.constant([0x25, 0xfc, 0x0f, 0, 0, 0x03, 0x84, 0x03, 0, 0, 0, 0]), // and eax,0ffch ; add eax,[ebx+eax]
    );
    let regions = 0, bodies = 0;
    fc.assert(fc.property(fc.array(insn, { minLength: 2, maxLength: 9 }), step, fc.constantFrom(0x1fa0, 0x1fa0, 0x1f80, 0x5fa0), fc.integer({ min: 3, max: 400 }), fc.array(fc.integer({ min: 1, max: 999 }), { maxLength: 3 }), (body, last, mxcsr, turns, cuts) => {
      if (agree(nested([...body.flat(), 0x83, 0xc6, last & 255], DATA + 0x2ffe, DATA + 0x3800, turns), [70_000, ...cuts, 40_000], mxcsr) > 0) regions++;
      bodies++;
    }), { numRuns: process.env['KINTSUGI_FULL'] ? 2000 : 80 });
    expect(regions).toBeGreaterThan(bodies * 0.7);
  });
});

describe('REP MOVS and STOS in large pieces', () => {
  const rep = (opcode: number): Bench => {
    const bench = new Bench({ memoryMiB: 2, jit: 'off' });
    bench.load(CODE, [0xf3, opcode, 0xf4]);
    for (let i = 0; i < PAGES * 4096; i++) bench.board.ram[DATA + i] = i * 31 ^ i >> 8;
    scatter(bench);
    return bench;
  };
  for (const [distance, count] of [[1, 9000], [2, 9000], [4, 3000], [7, 3000], [64, 5000], [4096, 20000], [5000, 20000], [-3, 9000], [-4096, 20000], [0x7000, 28000], [0x10000, 100000]] as const) {
    for (const [name, opcode, width] of [['MOVSB', 0xa4, 1], ['MOVSD', 0xa5, 4]] as const) {
      it(`${name} by ${distance} bytes`, () => {
        const bench = rep(opcode), from = 0x1003 + (distance < 0 ? 0x1000 : 0), bytes = Math.floor(count / width) * width;
        // What an architecture without pieces does: element by element, each read whole before it is written.
        const expected = seen(bench);
        for (let i = 0; i < bytes; i += width) expected.copyWithin(from + distance + i, from + i, from + i + width);
        bench.registers({ eip: CODE, esp: STACK, eflags: 2, esi: DATA + from, edi: DATA + from + distance, ecx: bytes / width });
        for (let left = bytes / width; left > 0;) { const piece = Math.min(left, 14321); bench.run(piece); left -= piece; expect(bench.read().ecx).toBe(left); }
        expect(Buffer.compare(seen(bench), expected)).toBe(0);
        expect(bench.read()).toMatchObject({ esi: DATA + from + bytes, edi: DATA + from + distance + bytes });
      });
    }
  }
  for (const [opcode, value, width] of [[0xaa, 0x5a, 1], [0xab, 0x01020304, 4], [0xab, 0x77777777, 4]] as const) {
    it(`STOS of ${width} bytes of ${value.toString(16)}h, any length and start`, () => {
      for (const [start, count] of [[0, 1], [1, 5], [3, 15], [2, 17], [0xffd, 33], [5, 1024], [9, 5000], [0, 0x10000]] as const) {
        const bench = rep(opcode), elements = Math.ceil(count / width), expected = seen(bench);
        for (let i = 0; i < elements * width; i++) expected[start + i] = value >> i % width * 8;
        bench.registers({ eip: CODE, esp: STACK, eflags: 2, eax: value, edi: DATA + start, ecx: elements });
        bench.run(elements);
        expect(bench.read().ecx).toBe(0);
        expect(Buffer.compare(seen(bench), expected)).toBe(0);
      }
    });
  }
});
