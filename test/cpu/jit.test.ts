/**
 * Tier 1 does what tier 0 does, to the bit: registers, flags, memory and retired counts, wherever a run is cut. Programs are random
 * loops and compiled-looking code in bytes; the same program runs on an engine without and one with the JIT.
 */
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Bench } from '../../vm/cpu/testdriver.ts';
import { CR0, RUN, S } from '../../vm/cpu/state.ts';
import { discover } from '../../vm/cpu/jit/cfg.ts';

const CODE = 0x10000, DATA = 0x20000, STACK = 0x80000;

function pair(code: readonly number[], registers: Partial<Record<'eax' | 'ebx' | 'ecx' | 'edx' | 'esi' | 'edi', number>> = {}): { off: Bench; on: Bench } {
  const make = (jit: 'on' | 'off'): Bench => {
    const bench = new Bench({ memoryMiB: 2, jit });
    bench.load(CODE, code);
    for (let i = 0; i < 0x2000; i++) bench.board.ram[DATA + i] = (i * 167) ^ (i >> 3);
    bench.registers({ eip: CODE, esp: STACK, eflags: 2, ebp: DATA + 0x800, ...registers });
    return bench;
  };
  return { off: make('off'), on: make('on') };
}
const memory = (bench: Bench): string => createHash('sha256').update(bench.board.ram.subarray(CODE, STACK)).digest('hex');
const inRegions = ({ words }: Bench): number => words[S.countInRegions >> 2];
const regions = (bench: Bench): number => bench.words[S.countRegions >> 2];

/** Runs both in the same pieces and compares after each. */
function agree({ off, on }: { off: Bench; on: Bench }, pieces: readonly number[]): void {
  for (const piece of pieces) {
    const exits = [off.run(piece), on.run(piece)];
    expect(exits[1]).toBe(exits[0]);
    expect(on.read()).toEqual(off.read());
    expect(on.engine.retired).toBe(off.engine.retired);
    expect(memory(on)).toBe(memory(off));
  }
}

const le32 = (v: number): number[] => [v & 255, (v >> 8) & 255, (v >> 16) & 255, (v >> 24) & 255];

describe('a region', () => {
  it('counts a dec/jnz loop with memory traffic exactly', () => {
    // top: mov eax,[esi] ; add [edi],eax ; adc edx,7 ; inc ebx ; dec ecx ; jnz top ; mov ecx,1000 ; jmp top
    const p = pair([0x8b, 0x06, 0x01, 0x07, 0x83, 0xd2, 0x07, 0x43, 0x49, 0x75, 0xf6, 0xb9, ...le32(1000), 0xeb, 0xef], { ecx: 1000, esi: DATA, edi: DATA + 64 });
    agree(p, [100_000, 77_777, 1, 2, 3, 5, 300_000]);
    expect(regions(p.on)).toBeGreaterThan(0);
    expect(regions(p.off)).toBe(0);
  });

  it('calls, returns and recursion stay inside', () => {
    // main: mov eax,12 ; call fib ; jmp main     fib: cmp eax,2 ; jb out ; push eax ; dec eax ; call fib ; xchg eax,[esp] ; sub eax,2 ; call fib ; pop ecx ; add eax,ecx ; out: ret
    const code = [0xb8, ...le32(12), 0xe8, ...le32(2), 0xeb, 0xf4];
    const fib = [0x83, 0xf8, 0x02, 0x72, 0x16, 0x50, 0x48, 0xe8, 0, 0, 0, 0, 0x87, 0x04, 0x24, 0x83, 0xe8, 0x02, 0xe8, 0, 0, 0, 0, 0x59, 0x01, 0xc8, 0x90, 0xc3];
    const at = code.length;
    le32(-(7 + 5)).forEach((b, i) => { fib[8 + i] = b; });
    le32(-(18 + 5)).forEach((b, i) => { fib[19 + i] = b; });
    const p = pair([...code, ...fib]);
    expect(at).toBe(12);
    agree(p, [150_000, 1, 1, 1, 250_001]);
    expect(regions(p.on)).toBeGreaterThan(0);
  });

  it('has code behind a branch to the next instruction once, however many of those there are', () => {
    // top: add eax,ecx ; 30 times: js next, inc ebx ; dec ecx ; jnz top ; mov ecx,1000 ; jmp top
    const chain = Array.from({ length: 30 }, () => [0x78, 0, 0x43]).flat();
    const p = pair([0x01, 0xc8, ...chain, 0x49, 0x75, -(2 + chain.length + 3) & 255, 0xb9, ...le32(1000), 0xeb, -(2 + chain.length + 3 + 5 + 2) & 255], { ecx: 1000 });
    agree(p, [100_000, 77_777, 300_000]);
    expect(regions(p.on)).toBeGreaterThan(0);
  });

  it('stops after the store that rewrites the next instruction', () => {
    // top: inc byte [imm8 of the add below] ; add eax, imm8 ; dec ecx ; jnz top ; jmp top
    const p = pair([0xfe, 0x05, ...le32(CODE + 8), 0x83, 0xc0, 0x01, 0x49, 0x75, 0xf4, 0xeb, 0xf2], { ecx: 50_000 });
    agree(p, [120_000, 333, 60_000]);
  });

  it('raises a page-limit fault with the flags of the last producer and the right count', () => {
    // Reads upwards until it leaves RAM: top: add eax,[esi] ; add esi,4 ; cmp esi,limit ; jne top ; div by zero at the end
    const p = pair([0x03, 0x06, 0x83, 0xc6, 0x04, 0x81, 0xfe, ...le32(DATA + 0x40000), 0x75, 0xf3, 0x31, 0xd2, 0x31, 0xdb, 0xf7, 0xf3], { esi: DATA });
    agree(p, [200_000, 200_000]);
    expect(p.on.fault).toMatchObject({ vector: 0 });
    expect(p.on.fault).toEqual(p.off.fault);
  });

  it('runs POPF and RDTSC inside, with every flag that POPF can bring', () => {
    // top: mov eax,[esi] ; and eax,mask ; push eax ; popf ; adc ebx,0 ; setp dl ; rdtsc ; add [edi],eax ; adc ebx,edx ; pushf ; pop edx ; xor ebx,edx ; add esi,4 ; dec ecx ; jnz top
    // then mov ecx,200 ; mov esi,DATA ; jmp top
    const code = (mask: number): number[] => [0x8b, 0x06, 0x25, ...le32(mask), 0x50, 0x9d, 0x83, 0xd3, 0x00, 0x0f, 0x9a, 0xc2, 0x0f, 0x31, 0x01, 0x07, 0x11, 0xd3, 0x9c, 0x5a, 0x31, 0xd3, 0x83, 0xc6, 0x04, 0x49, 0x75, 0xe1,
      0xb9, ...le32(200), 0xbe, ...le32(DATA), 0xeb, 0xd5];
    for (const mask of [0x8d5, 0x240ed5 & ~0x400, 0x3000 | 0x8d5]) {
      const p = pair(code(mask), { ecx: 200, esi: DATA, edi: DATA + 0x1800 });
      agree(p, [100_000, 1, 2, 3, 5, 7, 11, 13, 60_000, 1, 33_333, 1, 1, 1]);
      expect(regions(p.on)).toBeGreaterThan(0);
      expect(p.on.words[S.countJsOps >> 2]).toBe(p.off.words[S.countJsOps >> 2]);
    }
    // A trap flag among them is tier 0's: the #DB comes behind the next instruction.
    const p = pair(code(0x9d5), { ecx: 200, esi: DATA, edi: DATA + 0x1800 });
    agree(p, [100_000, 50_000]);
    expect(p.on.fault).toMatchObject({ vector: 1 });
    expect(p.on.fault).toEqual(p.off.fault);
  });

  it('reaches pages that lie scattered in physical memory, across their edges too', () => {
    // top: eax = eax * 1664525 + 1013904223 ; esi = eax >> 15 & 0xffff ; mov edx,[esi+DATA] ; add edx,eax ; mov [esi+DATA+4],edx
    //      ebp = eax >> 7 & 0xffff ; movzx ecx,byte [ebp+DATA] ; xor edx,[ecx*4+DATA+0x4000] ; add [eax & 0xfffe + DATA],edx ; dec edi ; jnz top ; mov edi,1000 ; jmp top
    const body = [0x69, 0xc0, ...le32(1664525), 0x05, ...le32(1013904223), 0x89, 0xc6, 0xc1, 0xee, 0x0f, 0x81, 0xe6, ...le32(0xffff), 0x8b, 0x96, ...le32(DATA), 0x01, 0xc2, 0x89, 0x96, ...le32(DATA + 4),
      0x89, 0xc5, 0xc1, 0xed, 0x07, 0x81, 0xe5, ...le32(0xffff), 0x0f, 0xb6, 0x8d, ...le32(DATA), 0x33, 0x14, 0x8d, ...le32(DATA + 0x4000), 0x89, 0xc3, 0x81, 0xe3, ...le32(0xfffe), 0x01, 0x93, ...le32(DATA), 0x4f];
    const code = [...body, 0x0f, 0x85, ...le32(-(body.length + 6)), 0xbf, ...le32(1000), 0xe9, ...le32(-(body.length + 16))];
    for (const pages of [1, 17]) {
      const p = pair(code, { edi: 1000, eax: 1 });
      for (const bench of [p.on, p.off]) {
        for (let i = 0; i < 1024; i++) bench.poke32(0x41000 + i * 4, i << 12 | 7);
        // One page moved leaves the entry that generated code expects right for all others.
        for (let i = 0; i < pages; i++) bench.poke32(0x41000 + ((DATA >> 12) + i) * 4, 0x50000 + (i * 7 + 3) % 17 * 0x1000 | 7);
        bench.poke32(0x40000, 0x41007);
        bench.words[S.cr3 >> 2] = 0x40000;
        bench.words[S.cr0 >> 2] |= CR0.PG | CR0.WP;
        bench.engine.stateChanged();
      }
      agree(p, [150_000, 1, 7, 60_000, 33_333]);
      expect(regions(p.on)).toBeGreaterThan(0);
      expect(inRegions(p.on)).toBeGreaterThan(50_000);
    }
  });

  it('moves blocks with REP in pieces that never exceed the budget', () => {
    // top: mov esi,DATA ; mov edi,DATA+0x1001 ; mov ecx,700 ; rep movsd ; mov ecx,33 ; rep stosb ; jmp top
    const p = pair([0xbe, ...le32(DATA), 0xbf, ...le32(DATA + 0x1001), 0xb9, ...le32(700), 0xf3, 0xa5, 0xb9, ...le32(33), 0xf3, 0xaa, 0xeb, 0xe6]);
    agree(p, [90_000, 13, 700, 1, 40_000, ...Array.from({ length: 60 }, (_, i) => 690 + i)]);
    expect(regions(p.on)).toBeGreaterThan(0);
  });

  it('is the same for random loop bodies, however the run is cut', () => {
    const reg = fc.constantFrom(0, 1, 2, 6); // eax ecx edx esi; edi counts
    const insn = fc.oneof(
      fc.tuple(fc.constantFrom(0x01, 0x09, 0x11, 0x19, 0x21, 0x29, 0x31, 0x39, 0x85), reg, reg).map(([op, a, b]) => [op, 0xc0 | (a << 3) | b]),
      fc.tuple(fc.constantFrom(0x01, 0x03, 0x2b, 0x33, 0x3b, 0x8b, 0x89, 0x13, 0x1b), reg, fc.integer({ min: -100, max: 100 })).map(([op, a, d]) => [op, 0x45 | (a << 3), d & 255]),
      fc.tuple(fc.constantFrom(0x00, 0x02, 0x28, 0x38, 0x8a, 0x88), fc.integer({ min: 0, max: 7 }), fc.integer({ min: -100, max: 100 })).map(([op, a, d]) => [op, 0x45 | (a << 3), d & 255]),
      fc.tuple(fc.constantFrom(0x40, 0x48), reg).map(([op, a]) => [op + a]),
      fc.tuple(fc.constantFrom(0, 1, 4, 5, 7), reg, fc.integer({ min: 0, max: 31 })).map(([ext, a, n]) => [0xc1, 0xc0 | (ext << 3) | a, n]),
      fc.tuple(fc.constantFrom(4, 5, 7, 0), reg).map(([ext, a]) => [0xd3, 0xc0 | (ext << 3) | a]),
      fc.tuple(fc.integer({ min: 0, max: 15 }), reg).map(([cc, a]) => [0x0f, 0x90 | cc, 0xc0 | (a & 3)]),
      fc.tuple(fc.integer({ min: 0, max: 15 }), reg, reg).map(([cc, a, b]) => [0x0f, 0x40 | cc, 0xc0 | (a << 3) | b]),
      fc.tuple(fc.integer({ min: 0, max: 15 }), reg).map(([cc, a]) => [0x70 | cc, 0x01, 0x40 + a]), // jcc over an inc
      fc.tuple(reg, reg).map(([a, b]) => [0x0f, 0xaf, 0xc0 | (a << 3) | b]),
      fc.tuple(reg).map(([a]) => [0xf7, 0xd8 | a]),
      fc.constant([0xf5]), fc.constant([0xf8]), fc.constant([0x9c, 0x58]), fc.constant([0xf7, 0xe1]),
    );
    let compiled = 0, bodies = 0;
    fc.assert(fc.property(fc.array(insn, { minLength: 1, maxLength: 14 }), fc.array(fc.integer({ min: 1, max: 999 }), { maxLength: 4 }), (body, cuts) => {
      const flat = body.flat();
      const loop = [...flat, 0x4f, 0x0f, 0x85, ...le32(-(flat.length + 7)), 0xeb, 256 - (flat.length + 9)];
      if (flat.length + 9 > 120) return;
      const p = pair(loop, { edi: 100_000, ecx: 3 });
      agree(p, [60_000, ...cuts, 50_000]);
      bodies++;
      if (regions(p.on) > 0) compiled++;
    }), { numRuns: process.env['KINTSUGI_FULL'] ? 2000 : 120 });
    expect(compiled, `${compiled} of ${bodies} bodies ran in a region`).toBeGreaterThan(bodies * 0.9); // a body may find one half too short to be sampled
  });
});

describe('what becomes a region', () => {
  /** `blocks` basic blocks of 6 instructions: inc eax ; add ebx,eax ; inc edx ; xor ebx,edx ; dec edi ; jmp +0. */
  const chain = (blocks: number): number[] => Array.from({ length: blocks }, () => [0x40, 0x01, 0xc3, 0x42, 0x31, 0xd3, 0x4f, 0xeb, 0x00]).flat();
  const share = (bench: Bench, run: () => void): number => {
    const [before, retired] = [inRegions(bench), bench.engine.retired];
    run();
    return (inRegions(bench) - before) / (bench.engine.retired - retired);
  };

  it('counts the instructions that ran there', () => {
    const { on, off } = pair([...chain(3), 0xeb, 0x100 - 29]); // a loop
    for (const bench of [on, off]) bench.run(300_000);
    expect(inRegions(off)).toBe(0);
    expect(inRegions(on)).toBeLessThan(300_000);
    expect(share(on, () => on.run(100_000))).toBeGreaterThan(0.95);
  });
  it('code between two HLTs does, wherever in it a computed jump leads', () => {
    // top: inc ecx ; push far ; ret      far: 60 blocks ; hlt ; jmp top
    const far = CODE + 0x100, body = chain(60);
    const p = pair([0x41, 0x68, ...le32(far), 0xc3]);
    const turn = (bench: Bench, times: number): void => {
      for (let i = 0; i < times; i++) { bench.words[S.runState >> 2] = RUN.running; expect(bench.run(25_000)).toBe('halt'); }
    };
    for (const bench of [p.on, p.off]) bench.load(far, [...body, 0xf4, 0xe9, ...le32(-(body.length + 6 + 0x100))]);
    turn(p.on, 1500);
    expect(share(p.on, () => turn(p.on, 100))).toBeGreaterThan(0.8);
    turn(p.off, 1600);
    expect(p.on.read()).toEqual(p.off.read());
    expect(p.on.engine.retired).toBe(p.off.engine.retired);
  });
  for (const accessed of [true, false]) it(`a region runs in an address space that has not executed all of it${accessed ? '' : ', but not where that could be seen in the tables'}`, () => {
    // Kernel-like: both spaces share the table, 2 pages of code. top: dec edi ; test esi,esi ; jnz rare ; 20 blocks ; jmp top     rare (next page): inc ecx ; jmp top
    const body = chain(20), back = 9 + body.length, rare = CODE + 0x1000;
    const code = [0x4f, 0x85, 0xf6, 0x0f, 0x85, ...le32(rare - CODE - 9), ...body, 0xe9, ...le32(-(back + 5))];
    const make = (jit: 'on' | 'off'): Bench => {
      const bench = new Bench({ memoryMiB: 4, jit });
      bench.load(CODE, code);
      bench.load(rare, [0x41, 0xe9, ...le32(-(0x1000 + 6))]);
      for (let i = 0; i < 1024; i++) bench.poke32(0x41000 + i * 4, i << 12 | 7);
      bench.poke32(0x40000, 0x41007); bench.poke32(0x42000, 0x41007);
      bench.words[S.cr3 >> 2] = 0x40000;
      bench.words[S.cr0 >> 2] |= CR0.PG | CR0.WP;
      bench.registers({ eip: CODE, esp: STACK, eflags: 2, esi: 0 });
      return bench;
    };
    const space = (bench: Bench, cr3: number): void => { bench.words[S.cr3 >> 2] = cr3; bench.engine.mmu.switchSpace(); };
    const p = { on: make('on'), off: make('off') };
    for (const bench of [p.on, p.off]) {
      bench.registers({ esi: 1 });
      bench.run(5); // through the rare page in the first space
      bench.registers({ esi: 0 });
      bench.run(200_000);
      space(bench, 0x42000);
      if (!accessed) bench.poke32(0x41000 + (rare >> 12) * 4, rare | 7); // as if never executed
      if (!accessed) bench.engine.stateChanged();
    }
    const ran = share(p.on, () => { p.on.run(5000); });
    p.off.run(5000);
    if (accessed) expect(ran).toBeGreaterThan(0.9); else expect(ran).toBe(0);
    expect(p.on.read()).toEqual(p.off.read());
    for (let page = 0; page < 1024; page++) expect(p.on.peek32(0x41000 + page * 4), `entry of page ${page}`).toBe(p.off.peek32(0x41000 + page * 4));
  });
  it('blocks do that a region has, when control keeps coming to them from elsewhere', () => {
    // top: test esi,esi ; jz near ; push middle ; ret      near: inc ecx ; jmp middle      middle: 60 blocks ; jmp top
    const near = CODE + 0x80, middle = CODE + 0x100, body = chain(60);
    const p = pair([0x85, 0xf6, 0x0f, 0x84, ...le32(near - CODE - 8), 0x68, ...le32(middle), 0xc3]);
    for (const bench of [p.on, p.off]) {
      bench.load(near, [0x41, 0xe9, ...le32(middle - near - 6)]);
      bench.load(middle, [...body, 0xe9, ...le32(-(body.length + 5 + 0x100))]);
      bench.registers({ esi: 0 });
      bench.run(400_000);
      bench.registers({ esi: 1 });
    }
    expect(p.on.read()).toEqual({ ...p.off.read() });
    agree(p, [1_000_000]);
    expect(share(p.on, () => agree(p, [100_000]))).toBeGreaterThan(0.8);
  });
});

describe('discovery', () => {
  it('finds the loop, its header as an entry, and dominators of a diamond', () => {
    const bytes = new Uint8Array(4096);
    // 0: dec ecx ; 1: jz +3 -> 6 ; 3: inc eax ; 4: jmp +1 -> 7 ; 6: inc ebx ; 7: jmp 0
    bytes.set([0x49, 0x74, 0x03, 0x40, 0xeb, 0x01, 0x43, 0xeb, 0xf7]);
    const region = discover(0, 0x7f, { page: (page) => (page === 0 ? bytes : null), avoid: () => false, peek: () => undefined })!;
    expect(region.blocks.map((b) => b.eip).sort()).toEqual([0, 3, 6, 7]);
    const [head, join] = [region.index.get(0)!, region.index.get(7)!];
    expect(region.loopHeader[head]).toBe(true);
    expect(region.idom[join]).toBe(head);
    expect(region.entries).toEqual([head]);
  });
});
