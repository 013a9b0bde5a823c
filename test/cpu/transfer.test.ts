/** Far transfers and what guards them, case by case with vector and error code (SDM vol. 2 CALL, JMP, RET, IRET; vol. 3 chapter 5). */
import { describe, expect, test } from 'vitest';
import { Bench } from '../../vm/cpu/testdriver.ts';
import { CR0, FLAG, S, SEG, VEC, segAttr, segLimit, segSelector } from '../../vm/cpu/state.ts';

const CODE = 0x1000, TARGET = 0x2000, STACK = 0x9000;
/** Selectors of the bench; those from 38h on are made by `descriptors`. */
const CODE0 = 0x10, DATA0 = 0x18, CODE3 = 0x23, DATA3 = 0x2b, FREE = 0x38;

function bench(code: number[], registers: Parameters<Bench['registers']>[0] = {}): Bench {
  const b = new Bench();
  b.load(CODE, code);
  b.load(TARGET, [0x90, 0xf4]);
  b.registers({ eip: CODE, esp: STACK, ...registers });
  b.words[S.gdtrLimit >> 2] = 0x7f;
  // The selectors of flat segments the bench starts with are those of its table.
  b.words[segSelector(SEG.CS) >> 2] = CODE0;
  return b;
}
/** Writes GDT entry `index` (0 = selector 38h). */
function descriptor(b: Bench, index: number, low: number, high: number): number {
  const at = b.words[S.gdtrBase >> 2] + FREE + index * 8;
  b.poke32(at, low); b.poke32(at + 4, high);
  return FREE + index * 8;
}
const segment = (access: number, flags = 0xc, limit = 0xfffff, base = 0): [number, number] => [limit & 0xffff | base << 16, base & 0xff000000 | flags << 20 | limit & 0xf0000 | access << 8 | base >> 16 & 0xff];
const gate = (selector: number, offset: number, access: number, parameters = 0): [number, number] => [selector << 16 | offset & 0xffff, offset & 0xffff0000 | access << 8 | parameters];
const le = (value: number): number[] => [value & 0xff, value >> 8 & 0xff, value >> 16 & 0xff, value >>> 24];
const jmpf = (selector: number, eip: number): number[] => [0xea, ...le(eip), selector & 0xff, selector >> 8];
const callf = (selector: number, eip: number): number[] => [0x9a, ...le(eip), selector & 0xff, selector >> 8];
const push = (...values: number[]): number[] => values.flatMap((value) => [0x68, ...le(value)]);
const cs = (b: Bench): number => b.words[segSelector(SEG.CS) >> 2];

describe('far JMP and CALL to code segments', () => {
  const cases: [string, [number, number] | null, number, number, number, number | null, number][] = [
    // name, descriptor, RPL, ring, offset, vector (null: it works), error (selector part 1)
    ['nonconforming, same level', segment(0x9a), 0, 0, TARGET, null, 0],
    ['nonconforming, DPL above CPL', segment(0xfa), 3, 0, TARGET, VEC.GP, 1],
    ['nonconforming, DPL below CPL', segment(0x9a), 0, 3, TARGET, VEC.GP, 1],
    ['nonconforming, RPL above CPL', segment(0x9a), 3, 0, TARGET, VEC.GP, 1],
    ['conforming, DPL below CPL', segment(0x9e), 3, 3, TARGET, null, 0],
    ['conforming, DPL above CPL', segment(0xfe), 0, 0, TARGET, VEC.GP, 1],
    ['not present', segment(0x1a), 0, 0, TARGET, VEC.NP, 1],
    ['privilege comes before presence', segment(0x7a), 0, 0, TARGET, VEC.GP, 1],
    ['a data segment', segment(0x92), 0, 0, TARGET, VEC.GP, 1],
    ['beyond the limit', segment(0x9a, 4, 0x1fff), 0, 0, TARGET, VEC.GP, 0],
    ['at the limit', segment(0x9a, 4, TARGET), 0, 0, TARGET, null, 0],
    ['an interrupt gate', gate(CODE0, TARGET, 0x8e), 0, 0, TARGET, VEC.GP, 1],
    ['an LDT', segment(0x82), 0, 0, TARGET, VEC.GP, 1],
    ['a busy TSS', segment(0x8b), 0, 0, TARGET, VEC.GP, 1],
  ];
  for (const [name, words, rpl, ring, offset, vector, selectorError] of cases) test(name, () => {
    for (const code of [jmpf, callf]) {
      const selector = FREE | rpl, b = bench(code(selector, offset));
      descriptor(b, 0, ...words!);
      if (ring === 3) b.enterRing3();
      b.run(1);
      if (vector === null) {
        expect(b.fault).toBe(null);
        expect([b.read().eip, cs(b), b.read().esp]).toEqual([TARGET, FREE | ring, code === callf ? STACK - 8 : STACK]);
        if (code === callf) expect([b.peek32(STACK - 8), b.peek32(STACK - 4)]).toEqual([CODE + 7, ring === 3 ? CODE3 : CODE0]);
        // The accessed bit was set in the table.
        expect(b.board.ram[b.words[S.gdtrBase >> 2] + FREE + 5] & 1).toBe(1);
      } else {
        b.run(1);
        expect(b.fault).toMatchObject({ vector, error: selectorError ? FREE : 0, eip: CODE });
        if (ring === 3) expect(b.peek32(STACK - 4), 'nothing was pushed').toBe(0);
      }
    }
  });
  test('null, beyond the table, LDT without one', () => {
    for (const [selector, error] of [[0, 0], [3, 0], [0x80, 0x80], [0x7c | 4, 0x7c]]) for (const code of [jmpf, callf]) {
      const b = bench(code(selector, TARGET));
      b.engine.cpu.setSegment(SEG.LDTR, 0, 0, 0, 0);
      b.run(3);
      expect(b.fault, selector.toString(16)).toMatchObject({ vector: VEC.GP, error, eip: CODE });
    }
  });
});

describe('call gates', () => {
  const through = (access: number, target: [number, number], options: { rpl?: number; ring?: number; offset?: number; parameters?: number; code?: typeof jmpf; selector?: number } = {}): Bench => {
    const { rpl = 3, ring = 3, offset = TARGET, parameters = 0, code = callf, selector = FREE + 8 } = options;
    const b = bench([...push(0x111, 0x222), ...code(FREE | rpl, 0)]);
    descriptor(b, 0, ...gate(selector, offset, access, parameters));
    descriptor(b, 1, ...target);
    if (ring === 3) b.enterRing3();
    b.run(3);
    return b;
  };
  const AT = CODE + 10;
  test('to ring 0: stack of the TSS, SS:ESP, parameters, CS:EIP', () => {
    const b = through(0xec, segment(0x9a), { parameters: 2 }), top = b.system + 0x8000;
    expect(b.fault).toBe(null);
    expect([b.read().eip, cs(b), b.words[S.cpl >> 2], b.read().esp, b.words[segSelector(SEG.SS) >> 2]]).toEqual([TARGET, FREE + 8, 0, top - 24, DATA0]);
    expect([1, 2, 3, 4, 5, 6].map((i) => b.peek32(top - i * 4))).toEqual([DATA3, STACK - 8, 0x111, 0x222, CODE3, AT + 7]);
  });
  test('RETF n goes back and releases the parameters of both stacks; data segments of ring 0 become null', () => {
    const b = through(0xec, segment(0x9a), { parameters: 2 });
    b.load(TARGET, [0x8e, 0xd8, 0xca, 8, 0]); // mov ds, ax; retf 8
    b.registers({ eax: DATA0 });
    b.run(2);
    expect(b.fault).toBe(null);
    expect([b.read().eip, cs(b), b.words[S.cpl >> 2], b.read().esp]).toEqual([AT + 7, CODE3, 3, STACK]);
    expect([b.words[segSelector(SEG.DS) >> 2], b.words[segAttr(SEG.DS) >> 2]]).toEqual([0, 0]);
  });
  test('to a conforming segment: the level stays, so does the stack', () => {
    const b = through(0xec, segment(0x9e));
    expect([b.fault, b.read().eip, cs(b), b.read().esp]).toEqual([null, TARGET, FREE + 8 | 3, STACK - 16]);
  });
  test('JMP goes through at the same level only', () => {
    expect(through(0xec, segment(0xfa), { code: jmpf })).toMatchObject({ fault: null });
    const inner = through(0xec, segment(0x9a), { code: jmpf });
    inner.run(1);
    expect(inner.fault).toMatchObject({ vector: VEC.GP, error: FREE + 8, eip: AT });
  });
  const refused: [string, Parameters<typeof through>, number, number][] = [
    ['gate DPL below CPL', [0x8c, segment(0x9a)], VEC.GP, FREE],
    ['gate DPL below RPL', [0x8c, segment(0x9a), { ring: 0, rpl: 3 }], VEC.GP, FREE],
    ['gate not present', [0x6c, segment(0x9a)], VEC.NP, FREE],
    ['gate to a null selector', [0xec, segment(0x9a), { selector: 3 }], VEC.GP, 0],
    ['gate to data', [0xec, segment(0x92)], VEC.GP, FREE + 8],
    ['gate to code that is not present', [0xec, segment(0x1a)], VEC.NP, FREE + 8],
    ['gate to an outer level', [0xec, segment(0xfa), { ring: 0, rpl: 0 }], VEC.GP, FREE + 8],
    ['offset beyond the limit', [0xec, segment(0x9a, 4, 0xfff)], VEC.GP, 0],
  ];
  for (const [name, args, vector, error] of refused) test(name, () => {
    const b = through(...args);
    b.run(1);
    expect(b.fault).toMatchObject({ vector, error, eip: AT });
  });
  test('bad inner stacks: #TS with the selector of SS, #SS when it is not present or too small', () => {
    for (const [ss, words, vector] of [[DATA3, null, VEC.TS], [CODE0, null, VEC.TS], [FREE + 16, segment(0x12), VEC.SS], [FREE + 16, segment(0x92, 4, 0x20), VEC.SS], [FREE + 16, segment(0x90), VEC.TS]] as const) {
      const b = bench(callf(FREE | 3, 0));
      descriptor(b, 0, ...gate(CODE0, TARGET, 0xec));
      if (words) descriptor(b, 2, ...words);
      // Faults are handled in ring 3 here: the inner stack is what is broken.
      const idt = b.words[S.idtrBase >> 2];
      descriptor(b, 1, ...segment(0xfa));
      for (const v of [10, 12]) { b.poke32(idt + v * 8, (FREE + 8) << 16 | b.peek32(idt + v * 8) & 0xffff); }
      b.poke32(b.system + 0x3008, ss);
      b.enterRing3();
      b.run(1);
      expect([b.read().eip, b.peek32(b.read().esp), b.peek32(b.read().esp + 4)], ss.toString(16)).toEqual([b.system + 0x2000 + vector * 8, ss & 0xfffc, CODE]);
    }
  });
  test('TSS too small for the stack: #TS with its selector', () => {
    const b = bench(callf(FREE | 3, 0));
    descriptor(b, 0, ...gate(CODE0, TARGET, 0xec));
    descriptor(b, 1, ...segment(0xfa));
    const idt = b.words[S.idtrBase >> 2];
    b.poke32(idt + 80, (FREE + 8) << 16 | b.peek32(idt + 80) & 0xffff);
    b.enterRing3();
    b.words[segLimit(SEG.TR) >> 2] = 8;
    b.run(1);
    expect([b.read().eip, b.peek32(b.read().esp)]).toEqual([b.system + 0x2000 + 80, 0x30]);
  });
});

describe('RETF and IRET', () => {
  const back = (opcode: number[], frame: number[], tables: [number, number][] = [], ring = 0): Bench => {
    const b = bench([...push(...frame), ...opcode]);
    tables.forEach((words, i) => descriptor(b, i, ...words));
    if (ring === 3) b.enterRing3();
    b.run(frame.length + 1);
    return b;
  };
  const RETF = [0xcb], IRET = [0xcf];
  test('to an outer level: SS:ESP from the frame', () => {
    for (const [opcode, frame] of [[RETF, [DATA3, 0x7000, CODE3, TARGET]], [IRET, [DATA3, 0x7000, 0x3202, CODE3, TARGET]]] as const) {
      const b = back([...opcode], [...frame]);
      expect([b.fault, b.read().eip, cs(b), b.read().esp, b.words[S.cpl >> 2], b.words[segSelector(SEG.SS) >> 2]]).toEqual([null, TARGET, CODE3, 0x7000, 3, DATA3]);
      expect(b.read().eflags).toBe(opcode === IRET ? 0x3202 : 2);
    }
  });
  const refused: [string, number[], [number, number][], number, number, number][] = [
    // name, frame from SS down to CS:EIP without flags, tables, ring, vector, error
    ['to an inner level', [CODE0, TARGET], [], 3, VEC.GP, CODE0],
    ['to null', [0, TARGET], [], 0, VEC.GP, 0],
    ['to data', [DATA0, TARGET], [], 0, VEC.GP, DATA0],
    ['nonconforming with DPL other than RPL', [DATA3, 0x7000, FREE | 3, TARGET], [segment(0x9a)], 0, VEC.GP, FREE],
    ['conforming with DPL above RPL', [FREE, TARGET], [segment(0xfe)], 0, VEC.GP, FREE],
    ['not present', [FREE, TARGET], [segment(0x1a)], 0, VEC.NP, FREE],
    ['beyond the limit', [FREE, TARGET], [segment(0x9a, 4, 0xfff)], 0, VEC.GP, 0],
    ['outer: null SS', [0, 0x7000, CODE3, TARGET], [], 0, VEC.GP, 0],
    ['outer: SS with another RPL', [DATA3 & ~3, 0x7000, CODE3, TARGET], [], 0, VEC.GP, DATA3 & ~3],
    ['outer: SS with another DPL', [DATA0 | 3, 0x7000, CODE3, TARGET], [], 0, VEC.GP, DATA0],
    ['outer: SS read only', [FREE | 3, 0x7000, CODE3, TARGET], [segment(0xf0)], 0, VEC.GP, FREE],
    ['outer: SS not present', [FREE | 3, 0x7000, CODE3, TARGET], [segment(0x72)], 0, VEC.SS, FREE],
  ];
  for (const [name, frame, tables, ring, vector, error] of refused) test(name, () => {
    for (const opcode of [RETF, IRET]) {
      const values = opcode === IRET ? [...frame.slice(0, -2), 0x202, ...frame.slice(-2)] : frame;
      const b = back(opcode, values, tables, ring);
      b.run(1);
      expect(b.fault).toMatchObject({ vector, error, eip: CODE + values.length * 5 });
    }
  });
  test('IRET: IOPL and IF only by privilege; RF does not stay without breakpoints; NT takes it to a task', () => {
    const b = back(IRET, [0x3f7fd7 & ~FLAG.VM & ~FLAG.TF & ~FLAG.NT, CODE3, TARGET], [], 3);
    expect([b.fault, b.read().eflags & (FLAG.IOPL | FLAG.IF | FLAG.RF)]).toEqual([null, 0]);
    const nt = bench(IRET, { eflags: 2 | FLAG.NT });
    nt.poke32(nt.system + 0x3000, 0);
    nt.run(2);
    expect(nt.fault).toMatchObject({ vector: VEC.TS, error: 0, eip: CODE });
  });
  test('IRET to virtual-8086 mode loads all segments as paragraphs', () => {
    const b = back(IRET, [0x600, 0x500, 0x400, 0x300, 0x200, 0x1000, 0x20202, 0x100, 0x12341000]);
    expect([b.fault, b.read().eip, cs(b), b.read().esp, b.words[S.cpl >> 2]]).toEqual([null, 0x1000, 0x100, 0x1000, 3]);
    expect([SEG.SS, SEG.ES, SEG.DS, SEG.FS, SEG.GS].map((seg) => b.words[segSelector(seg) >> 2])).toEqual([0x200, 0x300, 0x400, 0x500, 0x600]);
  });
});

test('a task switch to a TSS with T set: #DB in front of its first instruction, BT in DR6; local breakpoints are off (vol. 3 17.2.4, 17.3.1.5)', () => {
  const b = bench(jmpf(FREE, 0)), tss = 0x6000;
  descriptor(b, 0, ...segment(0x89, 0, 0x67, tss));
  for (const [offset, value] of [[32, TARGET], [36, 0x10002], [56, 0x8000], [72, DATA0], [76, CODE0], [80, DATA0], [84, DATA0], [88, 0], [92, 0], [100, 0x680001]]) b.poke32(tss + offset, value);
  b.words[S.dr0 >> 2] = 0x7000; b.words[S.dr7 >> 2] = 0x403;
  b.engine.stateChanged();
  b.run(1); b.run(1);
  expect(b.fault).toMatchObject({ vector: VEC.DB, eip: TARGET });
  expect([b.words[S.dr6 >> 2] & 0xe00f, b.words[S.dr7 >> 2], b.words[segSelector(SEG.TR) >> 2]]).toEqual([0x8000, 0x402, FREE]);
});

describe('I/O permission (SDM vol. 1 19.5.2)', () => {
  const access = (code: number[], limit: number, map: number, bits: Record<number, number>, iopl = 0): Bench => {
    const b = bench(code, { edx: 0x3f8 });
    b.board.ram.fill(0xff, b.system + 0x3068, b.system + 0x3068 + 0x100);
    b.board.ram[b.system + 0x3066] = map & 0xff; b.board.ram[b.system + 0x3067] = map >> 8;
    for (const [at, value] of Object.entries(bits)) b.board.ram[b.system + 0x3000 + Number(at)] = value;
    b.words[segLimit(SEG.TR) >> 2] = limit;
    b.enterRing3();
    b.registers({ eflags: 2 | iopl << 12 });
    b.run(1);
    return b;
  };
  const BYTE = 0x68 + (0x3f8 >> 3);
  test('two bytes of the map are read: the second must be inside the limit too', () => {
    expect(access([0xec, 0x90], BYTE + 1, 0x68, { [BYTE]: 0xfe }).fault).toBe(null);
    const short = access([0xec, 0x90], BYTE, 0x68, { [BYTE]: 0xfe });
    short.run(1);
    expect(short.fault).toMatchObject({ vector: VEC.GP, error: 0, eip: CODE });
  });
  test('all ports of the access must be free, across bytes of the map; IOPL 3 asks nothing', () => {
    for (const [code, bits, good] of [[[0xed], { [BYTE]: 0xf0 }, true], [[0xed], { [BYTE]: 0xf8 }, false], [[0x66, 0xed], { [BYTE]: 0xfc }, true], [[0xee], { [BYTE]: 0xfd }, false]] as const) {
      const b = access([...code, 0x90], 0x200, 0x68, bits);
      if (!good) b.run(1);
      if (good) expect(b.fault).toBe(null); else expect(b.fault).toMatchObject({ vector: VEC.GP });
    }
    expect(access([0xec, 0x90], 0x67, 0x68, {}, 3).fault).toBe(null);
  });
});

test('an instruction with a byte beyond the limit of CS is #GP(0), whatever the budget', () => {
  for (const [limit, faults] of [[TARGET + 6, false], [TARGET + 5, true], [TARGET + 2, true], [TARGET + 1, true]] as const) for (const budget of [1, 2, 3, 50]) {
    const b = bench(jmpf(FREE, TARGET));
    b.load(TARGET, [0x40, 0x40, 0xb8, 1, 0, 0, 0, 0xeb, 0xfe]); // inc eax twice; mov eax, 1; jmp $
    descriptor(b, 0, ...segment(0x9a, 4, limit));
    for (let i = 0; i < 4 && !b.fault; i++) b.run(budget > 4 - i ? 4 - i : 1);
    // Behind the MOV that fits comes the jump that does not: its fault may be there already.
    if (!faults) { expect([b.read().eax, b.fault?.eip ?? TARGET + 7], `${limit} ${budget}`).toEqual([1, TARGET + 7]); continue; }
    b.run(1);
    expect([b.fault, b.read().eax], `${limit} ${budget}`).toMatchObject([{ vector: VEC.GP, error: 0, eip: TARGET + 2 }, 2]);
  }
});

describe('CR0.WP and global pages', () => {
  const paged = (code: number[], entry: number): Bench => {
    const b = bench(code);
    b.poke32(0x10000, 0x11007);
    for (let i = 0; i < 1024; i++) b.poke32(0x11000 + i * 4, i << 12 | 7);
    b.poke32(0x11000 + 5 * 4, entry);
    b.words[S.cr3 >> 2] = 0x10000; b.words[S.cr0 >> 2] |= CR0.PG;
    b.engine.stateChanged();
    return b;
  };
  test('ring 0 writes read-only pages unless WP is set', () => {
    const open = paged([0xa3, 0, 0x50, 0, 0], 0x5005);
    open.run(1);
    expect(open.fault).toBe(null);
    const closed = paged([0xa3, 0, 0x50, 0, 0], 0x5005);
    closed.words[S.cr0 >> 2] |= CR0.WP; closed.engine.stateChanged();
    closed.run(2);
    expect(closed.fault).toMatchObject({ vector: VEC.PF, error: 3 });
  });
  test('a change of CR4.PGE drops global translations', () => {
    // mov eax,[5000]; mov dword [11014],6107; mov ecx,cr4; xor ecx,80; mov cr4,ecx; mov ebx,[5000]
    const b = paged([0xa1, 0, 0x50, 0, 0, 0xc7, 0x05, 0x14, 0x10, 1, 0, 7, 0x61, 0, 0, 0x0f, 0x20, 0xe1, 0x81, 0xf1, 0x80, 0, 0, 0, 0x0f, 0x22, 0xe1, 0x8b, 0x1d, 0, 0x50, 0, 0], 0x5107);
    b.poke32(0x5000, 5); b.poke32(0x6000, 6);
    b.run(7);
    expect([b.fault, b.read().eax, b.read().ebx]).toEqual([null, 5, 6]);
  });
});
