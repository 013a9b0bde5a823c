/**
 * Code whose bytes, addresses or rights change while it runs: each change is seen at the next instruction, in tier 0, in regions, and wherever the run is cut.
 * PAE tables with NX, everything mapped to itself but for what a case says; handlers halt.
 */
import { describe, expect, it } from 'vitest';
import { CR0, CR4, RUN, S, SEG, segAttr, segBase, segLimit, segSelector } from '../../vm/cpu/state.ts';
import type { DeterministicMachine } from '../../vm/machine.ts';
import { bareMachine, le32 } from './bare.ts';
import { compileHere } from './hostile-program.ts';

const GDT = 0x8_0000, IDT = 0x8_1000, TSS = 0x8_2000, HANDLERS = 0x8_3000, POINTERS = 0x9_0000, DIRECTORY = 0x9_1000, TABLE = 0x9_2000;
const P = 0x10_0000, Q = 0x10_1000, TWIN = 0x10_4000, DATA = 0x20_0000, ALIAS = 0x30_0000;
const entry = (address: number): number => TABLE + 8 * (address >>> 12);
const NX = 0x8000_0000, USER = 7, SUPERVISOR = 3;

interface Case { readonly code: readonly (readonly [number, readonly number[]])[]; readonly maps?: readonly (readonly [number, number, number?])[] }
function machine({ code, maps = [] }: Case, jit: 'on' | 'off'): DeterministicMachine {
  const m = bareMachine([0xf4], { memoryMiB: 4, jit }), { ramWords, ram } = m.board, put = (at: number, ...words: number[]): void => words.forEach((word, k) => { ramWords[(at >> 2) + k] = word; });
  put(GDT, 0, 0, 0xffff, 0x00cf_9b00, 0xffff, 0x00cf_9300, 0xffff, 0x00cf_fb00, 0xffff, 0x00cf_f300, TSS << 16 | 0x67, 0x8b08);
  for (let vector = 0; vector < 32; vector++) { put(HANDLERS + 16 * vector, 0xf4f4_f4f4); put(IDT + 8 * vector, 8 << 16 | HANDLERS + 16 * vector & 0xffff, HANDLERS & 0xffff_0000 | 0x8e00); }
  put(TSS + 4, 0x38_0000, 0x10);
  put(POINTERS, DIRECTORY | 1);
  for (let n = 0; n < 2; n++) put(DIRECTORY + 8 * n, TABLE + 0x1000 * n | USER);
  for (let page = 0; page < 1024; page++) put(TABLE + 8 * page, page << 12 | (page >= 0x100 ? USER : SUPERVISOR));
  for (const [address, value, high] of maps) put(entry(address), value, high ?? 0);
  for (const [at, bytes] of code) ram.set(bytes, at);
  const w = m.cpus.words(0);
  w[segSelector(SEG.TR) >> 2] = 0x28; w[segBase(SEG.TR) >> 2] = TSS; w[segLimit(SEG.TR) >> 2] = 0x67; w[segAttr(SEG.TR) >> 2] = 0x8b;
  w[S.gdtrBase >> 2] = GDT; w[S.gdtrLimit >> 2] = 63; w[S.idtrBase >> 2] = IDT; w[S.idtrLimit >> 2] = 2047;
  w[S.cr3 >> 2] = POINTERS; w[S.pdpte0 >> 2] = DIRECTORY | 1; w[S.efer >> 2] = 0x800;
  w[S.cr0 >> 2] = CR0.PE | CR0.ET | CR0.PG | CR0.WP; w[S.cr4 >> 2] = CR4.PAE;
  w[S.runState >> 2] = RUN.running;
  ring(m, 0);
  m.board.markDirty(0, m.board.ramBytes);
  for (const engine of m.engines) engine.invalidateAll();
  start(m, P);
  return m;
}
function ring(m: DeterministicMachine, cpl: 0 | 3): void {
  const w = m.cpus.words(0), segment = (index: number, selector: number, attr: number): void => { w[segSelector(index) >> 2] = selector; w[segBase(index) >> 2] = 0; w[segLimit(index) >> 2] = -1; w[segAttr(index) >> 2] = attr; };
  segment(SEG.CS, cpl ? 0x1b : 8, cpl ? 0xc0fb : 0xc09b);
  for (const index of [SEG.DS, SEG.ES, SEG.SS, SEG.FS, SEG.GS]) segment(index, cpl ? 0x23 : 0x10, cpl ? 0xc0f3 : 0xc093);
  w[S.cpl >> 2] = cpl;
}
/** At an address, with registers 0, the stack at its place; ECX counts. */
function start(m: DeterministicMachine, eip: number, ecx = 40): void {
  const w = m.cpus.words(0);
  w.fill(0, 0, 8);
  w[S.ecx >> 2] = ecx; w[S.esp >> 2] = 0x38_8000; w[S.eip >> 2] = eip; w[S.runState >> 2] = RUN.running;
  for (const engine of m.engines) engine.registersChanged();
}
const halted = (m: DeterministicMachine): boolean => m.cpus.words(0)[S.runState >> 2] === RUN.halted;
const register = (m: DeterministicMachine, name: 'eax' | 'ebx' | 'ecx' | 'edx'): number => m.cpus.words(0)[S[name] >> 2]!;
/** Vector, error code and EIP of the fault a handler has halted at. */
function fault(m: DeterministicMachine): { readonly vector: number; readonly error: number; readonly eip: number } {
  const w = m.cpus.words(0), at = w[S.esp >> 2]! >> 2;
  return { vector: w[S.eip >> 2]! - 1 - HANDLERS >> 4, error: m.board.ramWords[at]!, eip: m.board.ramWords[at + 1]! };
}
/** To the HLT in pieces; in regions, one is made behind each piece. */
function finish(m: DeterministicMachine, piece: number, jit: boolean): void {
  for (let n = 0; n < 4000 && !halted(m); n++) { if (m.runFor(piece).pause !== 'limit') break; if (jit) compileHere(m); }
  expect(halted(m)).toBe(true);
}
const rel8 = (from: number, to: number): number => to - from & 255;

/** jmp q; back: dec ecx; jnz P; hlt, and in Q: inc ebx; jmp back. */
const ACROSS: Case['code'] = [[P, [0xe9, ...le32(Q - (P + 5)), 0x49, 0x75, rel8(P + 8, P), 0xf4]], [Q, [0x43, 0xe9, ...le32(P + 5 - (Q + 6))]]];

describe.each([['tier 0', false], ['regions', true]] as const)('%s', (_name, jit) => {
  describe.each([1, 3, 7, 100, 5000])('in pieces of %i', piece => {
    const run = (c: Case): DeterministicMachine => { const m = machine(c, jit ? 'on' : 'off'); finish(m, piece, jit); return m; };

    it('a store to the entry of its own page: the next instruction comes from the other page', () => {
      const set = (to: number): number[] => [0xc7, 0x05, ...le32(entry(P)), ...le32(to | USER)];
      const text = (first: number, second: number): number[] => {
        const body = [0xb8, ...le32(first), 0x01, 0xc3, ...set(TWIN), 0xb8, ...le32(second), 0x01, 0xc2, ...set(P), 0x49];
        return [...body, 0x75, rel8(body.length + 2, 0), 0xf4];
      };
      const m = run({ code: [[P, text(1, 10)], [TWIN, text(2, 20)]] });
      expect([register(m, 'ebx'), register(m, 'edx')]).toEqual([40, 800]);
      m.close();
    });
    it('a store that clears the accessed bit of its own page: the fetch of the next instruction sets it', () => {
      // and [entry], ~A; mov eax, [entry]; shr eax, 5; and eax, 1; add ebx, eax; dec ecx; jnz; hlt
      const body = [0x81, 0x25, ...le32(entry(P)), ...le32(~0x20), 0xa1, ...le32(entry(P)), 0xc1, 0xe8, 5, 0x83, 0xe0, 1, 0x01, 0xc3, 0x49];
      const m = run({ code: [[P, [...body, 0x75, rel8(body.length + 2, 0), 0xf4]]] });
      expect(register(m, 'ebx')).toBe(40);
      m.close();
    });
    it('a store to the directory: what it mapped is gone at once', () => {
      // mov eax, [DATA]; mov [directory], other; mov eax, [DATA]; add ebx, eax; mov [directory], back; dec ecx; jnz; hlt. The other table has DATA at DATA + 1000h.
      const other = 0x9_6000, set = (table: number): number[] => [0xc7, 0x05, ...le32(DIRECTORY + 8), ...le32(table | USER)];
      const body = [0xa1, ...le32(DATA), 0x01, 0xc2, ...set(other), 0xa1, ...le32(DATA), 0x01, 0xc3, ...set(TABLE + 0x1000), 0x49];
      const m = run({ code: [[P, [...body, 0x75, rel8(body.length + 2, 0), 0xf4]], [DATA, [1]], [DATA + 0x1000, [5]], [other, le32(DATA + 0x1000 | USER)]] });
      expect([register(m, 'edx'), register(m, 'ebx')]).toEqual([40, 200]);
      m.close();
    });
    it('a store through an alias to the second page of an instruction', () => {
      // At the end of P: mov eax, imm32 with three bytes in Q; add ebx, eax; inc byte [alias of the second]; dec ecx; jnz; hlt
      const at = Q - 2, body = [0xb8, ...le32(0), 0x01, 0xc3, 0xfe, 0x05, ...le32(ALIAS), 0x49];
      const m = run({ code: [[P, [0xe9, ...le32(at - (P + 5))]], [at, [...body, 0x75, rel8(body.length + 2, 0), 0xf4]]], maps: [[ALIAS, Q | USER]] });
      expect(register(m, 'ebx')).toBe(Array.from({ length: 40 }, (_, n) => n << 8).reduce((a, b) => a + b));
      m.close();
    });
    it('a store through an alias to the next instruction', () => {
      // inc byte [alias]; mov eax, imm32; add ebx, eax; dec ecx; jnz; hlt
      const body = [0xfe, 0x05, ...le32(ALIAS + 7), 0xb8, ...le32(0), 0x01, 0xc3, 0x49];
      const m = run({ code: [[P, [...body, 0x75, rel8(body.length + 2, 0), 0xf4]]], maps: [[ALIAS, P | USER]] });
      expect(register(m, 'ebx')).toBe(820);
      m.close();
    });
    it('a REP that stores over itself stops there', () => {
      // mov edi, address of the REP - 8; mov ecx, 40; mov eax, inc ebx; jmp: rep stosb; nop..; hlt
      const at = P + 0x80;
      const m = run({ code: [[P, [0xbf, ...le32(at - 8), 0xb9, ...le32(40), 0xb8, ...le32(0x43), 0xe9, ...le32(at - (P + 20))]], [at, [0xf3, 0xaa, ...new Array<number>(30).fill(0x90), 0xf4]]] });
      // The ninth store is over the prefix: `inc ebx; stosb` are what is fetched next, once each; the latter stores once more.
      expect([register(m, 'ebx'), register(m, 'ecx'), m.board.ram[at]!, m.board.ram[at + 1]!]).toEqual([1, 31, 0x43, 0x43]);
      m.close();
    });
    it('a load of CR3 to tables that have other code there: the next instruction comes from it', () => {
      const pointers = 0x9_5000, directory = 0x9_6000, table = 0x9_7000, load = (to: number): number[] => [0xb8, ...le32(to), 0x0f, 0x22, 0xd8];
      const text = (first: number, second: number): number[] => {
        const body = [0x83, 0xc3, first, ...load(pointers), 0x83, 0xc2, second, ...load(POINTERS), 0x49];
        return [...body, 0x75, rel8(body.length + 2, 0), 0xf4];
      };
      const words = (values: readonly number[]): number[] => values.flatMap(value => [...le32(value), 0, 0, 0, 0]);
      const m = run({ code: [[P, text(1, 10)], [TWIN, text(2, 20)], [pointers, words([directory | 1])], [directory, words([table | USER, TABLE + 0x1000 | USER])],
        [table, words(Array.from({ length: 512 }, (_, page) => (page === P >> 12 ? TWIN : page << 12) | USER))]] });
      expect([register(m, 'ebx'), register(m, 'edx')]).toEqual([40, 800]);
      m.close();
    });
  });

  /** Both pages have run in ring 0, and in regions one has both. */
  function warm(c: Case): DeterministicMachine {
    const m = machine(c, jit ? 'on' : 'off');
    m.runFor(100);
    if (jit) { start(m, P); expect(compileHere(m)).toBe(true); }
    start(m, P, 1000);
    m.runFor(10_000);
    if (jit) expect(m.cpus.words(0)[S.countInRegions >> 2]).toBeGreaterThan(1000);
    return m;
  }
  it('code that only the supervisor may fetch is not run by the user, though it was run before', () => {
    const m = warm({ code: ACROSS, maps: [[Q, Q | SUPERVISOR]] });
    ring(m, 3);
    start(m, P);
    m.runFor(1000);
    expect(fault(m)).toEqual({ vector: 14, error: 0x15, eip: Q });
    expect(register(m, 'ebx')).toBe(0);
    m.close();
  });
  it('code that may not be fetched any more is not run, though it may be read', () => {
    // Behind it in P: mov [entry of Q + 4], NX; mov eax, [Q]; jmp P
    const at = P + 0x40, deny = [0xc7, 0x05, ...le32(entry(Q) + 4), ...le32(NX), 0xa1, ...le32(Q), 0xeb, rel8(at + 17, P)];
    const m = warm({ code: [...ACROSS, [at, deny]] });
    start(m, at);
    m.runFor(1000);
    expect(fault(m)).toEqual({ vector: 14, error: 0x11, eip: Q });
    expect(register(m, 'ebx')).toBe(0);
    m.close();
  });
  it('code that has moved is fetched from where it is now', () => {
    const at = P + 0x40, move = [0xc7, 0x05, ...le32(entry(Q)), ...le32(TWIN | USER), 0xeb, rel8(at + 12, P)];
    const m = warm({ code: [...ACROSS, [at, move], [TWIN, [0x4b, 0xe9, ...le32(P + 5 - (Q + 6))]]] });
    start(m, at);
    m.runFor(1000);
    expect(register(m, 'ebx')).toBe(-40);
    m.close();
  });
});
