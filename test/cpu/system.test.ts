/** The system side of the processor, against the SDM: breakpoints, alignment checks, SMAP, UMIP, RDRAND and what else has no test of its own. */
import { describe, expect, test } from 'vitest';
import { Bench } from '../../vm/cpu/testdriver.ts';
import { ATTN, CR0, CR4, FLAG, S, VEC } from '../../vm/cpu/state.ts';

const CODE = 0x1000, DATA = 0x5000, TABLE = 0x11000;
function bench(code: number[], registers: Parameters<Bench['registers']>[0] = {}, options: ConstructorParameters<typeof Bench>[0] = {}): Bench {
  const b = new Bench(options);
  b.load(CODE, code);
  b.registers({ eip: CODE, esp: 0x9000, ...registers });
  return b;
}
/** Identity map of 4 MiB, all for the user but the pages at `supervisor`. */
function paged(b: Bench, supervisor: number[] = []): void {
  b.poke32(0x10000, 0x10000 + 0x1007);
  for (let i = 0; i < 1024; i++) b.poke32(TABLE + i * 4, i << 12 | (supervisor.includes(i << 12) ? 3 : 7));
  b.words[S.cr3 >> 2] = 0x10000;
  b.words[S.cr0 >> 2] |= CR0.PG | CR0.WP;
  b.engine.stateChanged();
}
/** DR7 with breakpoint i enabled: kind 0 execution, 1 write, 2 port, 3 read or write. */
function breakpoint(b: Bench, i: number, linear: number, kind: number, bytes: number): void {
  b.words[(S.dr0 >> 2) + i] = linear;
  b.words[S.dr7 >> 2] |= 0x400 | 2 << i * 2 | (kind | [0, 0, 1, 0, 3, 0, 0, 0, 2][bytes] << 2) << 16 + i * 4;
  b.engine.stateChanged();
}
const dr6 = (b: Bench): number => b.words[S.dr6 >> 2] & 0xe00f;

describe('breakpoints (SDM vol. 3 17.2, 17.3)', () => {
  test('execution: a fault in front of the instruction, RF in EFLAGS lets it pass once', () => {
    const b = bench([0x40, 0x40, 0x40, 0xeb, 0xfb, 0xf4]); // inc eax x 3, jmp back
    breakpoint(b, 1, CODE + 1, 0, 1);
    b.run(10);
    expect(b.fault).toMatchObject({ vector: VEC.DB, eip: CODE + 1 });
    expect(b.fault!.eflags & FLAG.RF).toBe(0);
    expect([b.read().eax, dr6(b)]).toEqual([1, 2]);
    b.registers({ eip: CODE + 1, eflags: 2 | FLAG.RF });
    b.words[S.runState >> 2] = 0;
    b.run(50);
    expect([b.fault?.eip, b.read().eax]).toEqual([CODE + 1, 4]); // once around
  });
  test('data: a trap behind the instruction that wrote any of the bytes, and nothing for a read', () => {
    const b = bench([0xa1, 0, 0x50, 0, 0, 0x66, 0xa3, 0x01, 0x50, 0, 0, 0x90, 0xa2, 0x03, 0x50, 0, 0, 0x90, 0xf4]); // mov eax,[5000]; mov [5001],ax; nop; mov [5003],al; nop
    breakpoint(b, 0, DATA + 2, 1, 2);
    b.run(10);
    expect(b.fault).toMatchObject({ vector: VEC.DB, eip: CODE + 11 });
    expect(dr6(b)).toBe(1);
    b.words[S.runState >> 2] = 0; b.words[S.dr6 >> 2] = 0xffff0ff0 | 0;
    b.registers({ eip: CODE + 11 });
    b.run(10);
    expect(b.fault).toMatchObject({ eip: CODE + 17 });
  });
  test('data, reads too; a page beside it is not watched', () => {
    const b = bench([0xa1, 0xfc, 0x5f, 0, 0, 0xa1, 0xfd, 0x5f, 0, 0, 0x90, 0xf4]);
    breakpoint(b, 3, 0x6000, 3, 4);
    b.run(10);
    expect(b.fault).toMatchObject({ vector: VEC.DB, eip: CODE + 10 });
    expect(dr6(b)).toBe(8);
  });
  test('several conditions come in one exception, with single step', () => {
    const b = bench([0xa3, 0, 0x50, 0, 0, 0x90, 0xf4], { eflags: 2 | FLAG.TF });
    breakpoint(b, 0, DATA, 1, 4);
    breakpoint(b, 2, DATA, 3, 1);
    b.run(1);
    b.run(5);
    expect(b.fault).toMatchObject({ vector: VEC.DB, eip: CODE + 5 });
    expect(dr6(b)).toBe(0x4005);
  });
  test('a fault of the instruction comes instead of its trap', () => {
    const b = bench([0xff, 0x35, 0, 0x50, 0, 0, 0xf4], { esp: 0x6000 }); // push dword [5000]
    paged(b);
    b.poke32(TABLE + 5 * 4, 0x5007);
    b.poke32(TABLE + 0x3ff * 4, 0x3ff007);
    breakpoint(b, 0, DATA, 3, 4);
    b.words[4] = 0x7004;
    b.poke32(TABLE + 7 * 4, 0);
    b.words[S.cr3 >> 2] = 0x10000;
    b.engine.stateChanged();
    b.enterRing3();
    b.run(10);
    expect(b.fault).toMatchObject({ vector: VEC.PF, eip: CODE });
    expect(dr6(b)).toBe(0);
  });
  test('REP traps behind the iteration, with RF set while it is not through; single step too', () => {
    const b = bench([0xf3, 0xaa, 0xf4], { ecx: 8, edi: DATA });
    breakpoint(b, 0, DATA + 2, 1, 1);
    b.run(100);
    expect(b.fault).toMatchObject({ vector: VEC.DB, eip: CODE });
    expect(b.fault!.eflags & FLAG.RF).toBe(FLAG.RF);
    expect([b.read().ecx, b.read().edi]).toEqual([5, DATA + 3]);
    const s = bench([0xf3, 0xaa, 0xf4], { ecx: 8, edi: DATA, eflags: 2 | FLAG.TF });
    s.run(100);
    expect(s.fault).toMatchObject({ vector: VEC.DB, eip: CODE });
    expect([s.read().ecx, dr6(s)]).toEqual([7, 0x4000]);
    const l = bench([0xf3, 0xaa, 0xf4], { ecx: 1, edi: DATA, eflags: 2 | FLAG.TF });
    l.run(100);
    expect(l.fault).toMatchObject({ eip: CODE + 2 });
    expect(l.fault!.eflags & FLAG.RF).toBe(0);
  });
  test('an execution breakpoint on a REP is met once', () => {
    const b = bench([0x90, 0xf3, 0xaa, 0x90, 0xf4], { ecx: 3, edi: DATA });
    breakpoint(b, 0, CODE + 1, 0, 1);
    b.run(20);
    expect(b.fault).toMatchObject({ eip: CODE + 1 });
    b.registers({ eip: CODE + 1, eflags: 2 | FLAG.RF });
    b.words[S.runState >> 2] = 0;
    for (let i = 0; i < 3; i++) b.run(1); // also across the ends of runs
    expect(b.run(10)).toBe('halt');
    expect([b.fault, b.read().ecx, b.read().eip]).toEqual([null, 0, CODE + 5]);
  });
  test('behind MOV SS there is neither trap nor breakpoint; data breakpoints of the MOV itself wait for the next instruction (6.8.3)', () => {
    const b = bench([0x8e, 0x15, 0, 0x50, 0, 0, 0x90, 0x90, 0xf4]); // mov ss, [5000]; nop; nop
    b.poke32(DATA, 0x18);
    breakpoint(b, 0, DATA, 3, 2);
    breakpoint(b, 1, CODE + 6, 0, 1);
    b.run(10);
    expect(b.fault).toMatchObject({ vector: VEC.DB, eip: CODE + 7 });
    expect(dr6(b)).toBe(1);
    const s = bench([0x8e, 0xd0, 0x90, 0x90, 0xf4], { eax: 0x18, eflags: 2 | FLAG.TF });
    s.run(10);
    expect(s.fault).toMatchObject({ vector: VEC.DB, eip: CODE + 3 });
  });
  test('ports, with CR4.DE', () => {
    for (const de of [true, false]) {
      const b = bench([0xe4, 0x70, 0xe6, 0x73, 0x90, 0xf4]);
      if (de) b.words[S.cr4 >> 2] |= CR4.DE;
      breakpoint(b, 2, 0x72, 2, 2);
      b.run(20);
      if (de) expect(b.fault).toMatchObject({ vector: VEC.DB, eip: CODE + 4 }); else expect(b.fault).toBe(null);
      expect(dr6(b)).toBe(de ? 4 : 0);
    }
  });
  test('DR7.GD: access to a debug register faults, BD says so, and the handler may', () => {
    const b = bench([0x0f, 0x21, 0xf0, 0xf4]);
    b.words[S.dr7 >> 2] = 0x2400;
    b.run(10);
    expect(b.fault).toMatchObject({ vector: VEC.DB, eip: CODE });
    expect([dr6(b), b.words[S.dr7 >> 2]]).toEqual([0x2000, 0x400]);
  });
  test('DR4 and DR5 are DR6 and DR7, or #UD with CR4.DE; reserved bits keep their values', () => {
    const b = bench([0x0f, 0x23, 0xf8, 0x0f, 0x21, 0xe9, 0x0f, 0x23, 0xf3, 0x0f, 0x21, 0xf2, 0xf4], { eax: 0x5400 | 0xd800, ebx: -1 }); // mov dr7,eax; mov ecx,dr5; mov dr6,ebx; mov edx,dr6
    b.run(20);
    expect([b.read().ecx, b.read().edx]).toEqual([0x400, 0xffffefff]);
    const u = bench([0x0f, 0x21, 0xe9]);
    u.words[S.cr4 >> 2] |= CR4.DE;
    u.run(5);
    expect(u.fault).toMatchObject({ vector: VEC.UD });
  });
  test('interrupts are taken between instructions that are watched', () => {
    const b = bench([0xfb, 0x90, 0x90, 0x90, 0xf4]);
    breakpoint(b, 0, 0x7000, 1, 1);
    b.bus.vector = 0x40;
    b.words[S.attention >> 2] |= ATTN.INTR;
    b.run(10);
    expect(b.fault).toMatchObject({ vector: 0x40, eip: CODE + 2 });
  });
  test('HLT with breakpoints set wakes at an interrupt', () => {
    const b = bench([0xfb, 0xf4, 0x90]);
    breakpoint(b, 0, 0x7000, 1, 1);
    expect(b.run(10)).toBe('halt');
    b.bus.vector = 0x41;
    b.words[S.attention >> 2] |= ATTN.INTR;
    b.run(10);
    expect(b.fault).toMatchObject({ vector: 0x41, eip: CODE + 2 });
  });
  test('the same with every budget: the ends of runs leave no trace', () => {
    const end = (piece: number): unknown => {
      const b = bench([0xf3, 0xab, 0xa1, 0x08, 0x50, 0, 0, 0x40, 0xf4], { ecx: 6, edi: DATA, eax: 7 });
      breakpoint(b, 0, DATA + 8, 3, 4);
      const seen: unknown[] = [];
      for (let i = 0; i < 40; i++) {
        b.run(piece);
        if (b.fault && b.words[S.runState >> 2] === 1) { const { eip, eflags } = b.fault; seen.push([eip, eflags, b.read().ecx]); b.words[S.runState >> 2] = 0; b.words[4] = 0x9000; b.registers({ eip, eflags: eflags | (eip === CODE ? FLAG.RF : 0) }); }
      }
      return seen.concat(b.read().eax);
    };
    for (const piece of [1, 2, 5, 40]) expect(end(piece), `pieces of ${piece}`).toEqual(end(3));
  });
});

describe('#AC (SDM vol. 3 6.15)', () => {
  const load = [0x8b, 0x03, 0x66, 0x8b, 0x4b, 0x01, 0x90, 0xf4]; // mov eax,[ebx]; mov cx,[ebx+1]
  test('misaligned data of ring 3 with CR0.AM and EFLAGS.AC; error code 0; not without any of them', () => {
    for (const [am, ac, ring] of [[1, 1, 3], [0, 1, 3], [1, 0, 3], [1, 1, 0]]) for (const offset of [0, 1, 2]) {
      const b = bench(load, { ebx: DATA + offset });
      paged(b);
      if (am) b.words[S.cr0 >> 2] |= CR0.AM;
      // The entries are there already.
      b.run(2); b.registers({ eip: CODE });
      if (ring === 3) b.enterRing3();
      b.run(2); b.registers({ eip: CODE, eflags: 2 | (ac ? FLAG.AC : 0) });
      b.run(3);
      if (am && ac && ring === 3) expect(b.fault, `offset ${offset}`).toMatchObject({ vector: VEC.AC, error: 0, eip: offset % 4 ? CODE : CODE + 2 });
      else expect(b.fault).toBe(null);
    }
  });
  test('comes before the page fault, behind the segment check; strings, stack and locked accesses too', () => {
    for (const [code, registers, vector] of [
      [[0xa1, 1, 0x70, 0, 0], {}, VEC.AC], [[0x50], { esp: 0x8fff }, VEC.AC], [[0xa5], { esi: DATA, edi: DATA + 2 }, VEC.AC], [[0xf0, 0x01, 0x03], { ebx: DATA + 1 }, VEC.AC],
      [[0xdd, 0x03], { ebx: DATA + 4 }, VEC.AC], [[0xa1, 0, 0x70, 0, 0], {}, VEC.PF],
    ] as const) {
      const b = bench([...code, 0x90, 0xf4], registers, { parallel: code[0] === 0xf0 });
      paged(b);
      b.poke32(TABLE + 7 * 4, 0);
      b.words[S.cr0 >> 2] |= CR0.AM | CR0.NE;
      b.enterRing3();
      b.registers({ eflags: 2 | FLAG.AC });
      b.run(1); b.run(2);
      expect(b.fault, code.join()).toMatchObject({ vector, eip: CODE });
    }
  });
  test('POPF in ring 3 switches it on for the next instruction', () => {
    const b = bench([0x8b, 0x03, 0x9c, 0x81, 0x0c, 0x24, 0, 0, 4, 0, 0x9d, 0x8b, 0x03, 0xf4], { ebx: DATA + 1 });
    paged(b);
    b.words[S.cr0 >> 2] |= CR0.AM;
    b.enterRing3();
    b.run(10);
    expect(b.fault).toMatchObject({ vector: VEC.AC, eip: CODE + 11 });
  });
});

describe('SMAP, SMEP, UMIP (SDM vol. 3 4.6, 2.5)', () => {
  const smap = (code: number[], registers = {}, eflags = 2): Bench => {
    const b = bench(code, { ...registers });
    // All of the system is the supervisor's; DATA is the user's.
    paged(b, Array.from({ length: 1024 }, (_, i) => i << 12).filter((page) => page !== DATA));
    b.words[S.cr4 >> 2] |= CR4.SMAP | CR4.SMEP;
    b.engine.stateChanged();
    b.registers({ eflags });
    return b;
  };
  test('data of the user is out of reach in ring 0, for reads and writes, until STAC and again behind CLAC', () => {
    const read = smap([0xa1, 0, 0x50, 0, 0, 0xf4]);
    read.run(5);
    expect(read.fault).toMatchObject({ vector: VEC.PF, error: 1, eip: CODE });
    const write = smap([0xa3, 0, 0x50, 0, 0, 0xf4]);
    write.run(5);
    expect(write.fault).toMatchObject({ vector: VEC.PF, error: 3 });
    const b = smap([0x0f, 0x01, 0xcb, 0xa1, 0, 0x50, 0, 0, 0xa3, 4, 0x50, 0, 0, 0x0f, 0x01, 0xca, 0xa1, 0, 0x50, 0, 0, 0xf4]);
    b.poke32(DATA, 77);
    b.run(20);
    expect(b.fault).toMatchObject({ vector: VEC.PF, error: 1, eip: CODE + 16 });
    expect([b.peek32(DATA + 4), b.words[S.cr2 >> 2]]).toEqual([77, DATA]);
  });
  test('SMEP: no execution of user pages in ring 0', () => {
    const b = smap([0xe9, 0xfb, 0x3f, 0, 0]); // jmp 5000
    b.run(5);
    expect(b.fault).toMatchObject({ vector: VEC.PF, error: 0x11, eip: DATA });
  });
  test('what CPL 3 has the processor read of tables on user pages faults even with AC set', () => {
    const b = bench([0xcd, 0x40], {});
    paged(b, [b.system, b.system + 0x1000, b.system + 0x7000]); // TSS and stubs are the user's
    b.words[S.cr4 >> 2] |= CR4.SMAP;
    b.enterRing3();
    b.registers({ eflags: 2 | FLAG.AC });
    expect(b.run(5)).toBe('shutdown');
  });
  test('STAC and CLAC are #UD in ring 3', () => {
    for (const last of [0xca, 0xcb]) {
      const b = bench([0x0f, 0x01, last]);
      b.enterRing3();
      b.run(3);
      expect(b.fault).toMatchObject({ vector: VEC.UD, eip: CODE });
    }
  });
  test('SGDT, SIDT, SLDT, STR, SMSW: #GP in ring 3 with UMIP, else they work', () => {
    for (const code of [[0x0f, 0x01, 0x03], [0x0f, 0x01, 0x0b], [0x0f, 0x00, 0xc0], [0x0f, 0x00, 0xc8], [0x0f, 0x01, 0xe0]]) for (const umip of [true, false]) {
      const b = bench([...code, 0x90], { ebx: DATA });
      if (umip) b.words[S.cr4 >> 2] |= CR4.UMIP;
      b.enterRing3();
      b.run(1);
      if (umip) { b.run(1); expect(b.fault).toMatchObject({ vector: VEC.GP, error: 0, eip: CODE }); } else expect(b.fault).toBe(null);
    }
  });
});

describe('in regions', () => {
  // mov ecx,20000; loop: mov eax,[ebx]; add eax,1; mov [ebx],eax; dec ecx; jnz loop; mov eax,[ebx+esi]; hlt or nop
  const LOOP = [0xb9, 0x20, 0x4e, 0, 0, 0x8b, 0x03, 0x83, 0xc0, 0x01, 0x89, 0x03, 0x49, 0x75, 0xf6, 0x8b, 0x04, 0x33, 0x90, 0xeb, 0xeb];
  const hot = (prepare: (b: Bench) => void, registers = {}): Bench => {
    const b = bench(LOOP, { ebx: DATA, ...registers }, { jit: 'on', jitHeat: 1000 });
    paged(b, Array.from({ length: 1024 }, (_, i) => i << 12).filter((page) => page !== DATA && page !== CODE && page !== 0x8000 && page !== 0x9000));
    prepare(b);
    for (let i = 0; i < 40 && !b.fault; i++) b.run(10_000);
    return b;
  };
  test('#AC names the instruction, also when the checks come on after the region was made', () => {
    const on = hot((b) => { b.words[S.cr0 >> 2] |= CR0.AM; b.enterRing3(); b.registers({ eflags: 2 | FLAG.AC }); }, { esi: 2 });
    expect(on.words[S.countRegions >> 2]).toBeGreaterThan(0);
    expect([on.fault, on.peek32(DATA)]).toMatchObject([{ vector: VEC.AC, error: 0, eip: CODE + 15 }, 20_000]);
    const later = hot((b) => { b.words[S.cr0 >> 2] |= CR0.AM; b.enterRing3(); }, { esi: 2 });
    expect([later.fault, later.words[S.countRegions >> 2] > 0]).toEqual([null, true]);
    later.registers({ eflags: 2 | FLAG.AC });
    for (let i = 0; i < 20 && !later.fault; i++) later.run(10_000);
    expect(later.fault).toMatchObject({ vector: VEC.AC, eip: CODE + 15 });
  });
  test('a data breakpoint set after the region was made traps; taken away, the region goes on', () => {
    const b = hot(() => undefined);
    expect([b.fault, b.words[S.countRegions >> 2] > 0]).toEqual([null, true]);
    breakpoint(b, 0, DATA, 1, 4);
    b.run(100);
    expect(b.fault).toMatchObject({ vector: VEC.DB, eip: CODE + 12 });
    b.words[S.dr7 >> 2] = 0x400; b.engine.stateChanged();
    b.words[S.runState >> 2] = 0; b.words[4] = 0x9000;
    b.registers({ eip: CODE + 12 });
    const before = b.peek32(DATA);
    b.run(50_000);
    expect([b.fault, b.peek32(DATA) > before]).toEqual([null, true]);
  });
  test('CR4.SMAP set after the region was made is obeyed, with the code on pages of the supervisor', () => {
    const b = hot((b) => { b.poke32(TABLE + 4, 0x1003); });
    expect(b.words[S.countRegions >> 2]).toBeGreaterThan(0);
    b.load(0x3000, [0x0f, 0x20, 0xe0, 0x0d, 0, 0, 0x20, 0, 0x0f, 0x22, 0xe0, 0xe9, 0xf5, 0xdf, 0xff, 0xff]); // mov eax,cr4; or eax,200000h; mov cr4,eax; jmp CODE + 5
    b.registers({ eip: 0x3000, esp: 0xb000 });
    b.run(10);
    expect(b.fault).toMatchObject({ vector: VEC.PF, error: 1, eip: CODE + 5 });
  });
});

test('ARPL raises the RPL of a selector to that of another, and tells by ZF', () => {
  for (const [a, c, result, zero] of [[0x20, 0x1b, 0x23, true], [0x23, 0x18, 0x23, false], [0x21, 0x09, 0x21, false], [0x20, 2, 0x22, true]] as const) {
    const b = bench([0x63, 0xc8, 0x63, 0x0b], { eax: 0x55550000 | a, ecx: c, ebx: DATA }); // arpl ax, cx; arpl [ebx], cx
    b.poke32(DATA, 0x77770000 | a);
    b.run(2);
    expect([b.read().eax, b.peek32(DATA), (b.read().eflags & FLAG.ZF) !== 0]).toEqual([0x55550000 | result, 0x77770000 | result, zero]);
  }
});

describe('RDRAND, CLFLUSH, RDPMC', () => {
  const draw = (options: ConstructorParameters<typeof Bench>[0] = {}, seed = 0): number[] => {
    const b = new Bench(options);
    b.board.header.randomSeed = seed;
    b.engine.reset(); b.engine.enterFlatProtectedMode();
    b.load(CODE, [0x0f, 0xc7, 0xf0, 0x0f, 0xc7, 0xf3, 0x66, 0x0f, 0xc7, 0xf1]); // rdrand eax, ebx, cx
    b.registers({ eip: CODE, ecx: 0x12340000, eflags: 0x8d6 });
    b.run(3);
    const { eax, ebx, ecx, eflags } = b.read();
    expect(eflags & 0x8d5).toBe(FLAG.CF);
    expect(ecx >>> 16).toBe(0x1234);
    return [eax, ebx, ecx];
  };
  test('RDRAND: the same with the same seed, other numbers for other seeds and vCPUs; state of a snapshot', () => {
    const first = draw();
    expect(draw()).toEqual(first);
    expect(draw({}, 1)).not.toEqual(first);
    expect(draw({ cpus: 2, cpu: 1 })).not.toEqual(first);
    expect(first[0]).not.toBe(first[1]);
    const b = bench([0x0f, 0xc7, 0xf0]);
    const saved = b.engine.saveState();
    b.run(1); const one = b.read().eax;
    b.engine.loadState(saved); b.run(1);
    expect(b.read().eax).toBe(one);
  });
  test('CLFLUSH and CLWB fault like a read and change nothing but the accessed bit', () => {
    for (const prefix of [[0x0f, 0xae, 0x3b], [0x66, 0x0f, 0xae, 0x33]]) {
      const b = bench([...prefix, 0xf4], { ebx: DATA });
      paged(b);
      b.run(1);
      expect([b.fault, b.peek32(TABLE + 5 * 4)]).toEqual([null, 0x5027]);
      const f = bench([...prefix, 0xf4], { ebx: 0x7000 });
      paged(f);
      f.poke32(TABLE + 7 * 4, 0);
      f.run(5);
      expect(f.fault).toMatchObject({ vector: VEC.PF, error: 0, eip: CODE });
    }
  });
  test('the fences have no memory form: #UD', () => {
    for (const modrm of [0x2b, 0x33]) { const b = bench([0x0f, 0xae, modrm]); b.run(3); expect(b.fault).toMatchObject({ vector: VEC.UD }); }
    for (const modrm of [0xe8, 0xf0, 0xf8]) { const b = bench([0x0f, 0xae, modrm]); b.run(1); expect(b.fault).toBe(null); }
  });
  test('RDPMC in ring 3 needs CR4.PCE', () => {
    for (const pce of [true, false]) {
      const b = bench([0x0f, 0x33, 0x90], { ecx: 0x40000000 });
      if (pce) b.words[S.cr4 >> 2] |= CR4.PCE;
      b.enterRing3();
      b.run(2);
      if (pce) expect(b.fault).toBe(null); else expect(b.fault).toMatchObject({ vector: VEC.GP, eip: CODE });
    }
  });
});
