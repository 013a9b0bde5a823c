/**
 * Random programs that go on: loops of instructions in slots of 16 bytes, on one or two vCPUs, in ring 0 or 3, with 32-bit or PAE tables. A handler of all
 * exceptions adds what was pushed (vector, error code, EIP, EFLAGS, CR2) to a checksum, mends the tables of the code, and goes on at the next slot. Among the
 * instructions: stores to code and to page tables, through aliases too, other address spaces, operands across pages, everything that faults in mid-block.
 *
 *      80000h handlers, tables of the machine   90000h page tables   100000h code (slots begin at 8 modulo 16)   104000h the same code with other constants
 *      200000h data   300000h stacks   400000h.. aliases of 0 to 3FFFFFh, different in the two address spaces
 */
import { CR0, CR4, S, SEG, RUN, segAttr, segBase, segLimit, segSelector } from '../../vm/cpu/state.ts';
import type { DeterministicMachine, MachineConfig } from '../../vm/machine.ts';
import { Random } from '../net/generator.ts';
import { bareMachine, le32 } from './bare.ts';

const GDT = 0x8_0000, IDT = 0x8_1000, TSS = 0x8_2000, HANDLERS = 0x8_3000, SUM = 0x8_4000, SPACES = [0x9_0000, 0x9_8000] as const;
const CODE = 0x10_0000, FIRST = CODE + 8, TWIN = 0x10_4000, DATA = 0x20_0000, STACK = 0x30_0000, WINDOW = 0x40_0000, APIC = WINDOW + 0x3_3000;
const ERROR_CODES = new Set([8, 10, 11, 12, 13, 14, 17]);
const SERVICE = 0x80;

export interface Shape { readonly slots: number; readonly user: boolean; readonly pae: boolean; readonly cpus: 1 | 2; readonly rounds: number; readonly quantum: number }
export function shapeOf(seed: number): Shape {
  const x = new Random(seed * 31 + 7);
  return { slots: x.pick([12, 40, 150, 600]), user: x.chance(400), pae: x.chance(400), cpus: x.chance(250) ? 2 : 1, rounds: x.pick([20, 200, 1000]), quantum: x.pick([97, 500, 2000, 5000]) };
}

/** Where the tables of an address space are: page directories, then the tables of the first 4 MiB and of the window. */
function tables(space: number, pae: boolean): { cr3: number; directory: (mib: number) => number; entry: (page: number) => number; bytes: number } {
  const base = SPACES[space]!;
  return pae
    ? { cr3: base + 0x6000, directory: mib => base + 0x1000 + 8 * (mib >> 1), entry: page => base + 0x2000 + 8 * page, bytes: 8 }
    : { cr3: base, directory: mib => base + 4 * (mib >> 2), entry: page => base + 0x2000 + 4 * page, bytes: 4 };
}

/** A virtual address that something is at, often near the end of a page. */
function address(x: Random): number {
  const page = x.pick([DATA, DATA, DATA, DATA + 0x1000, WINDOW + 0x1000 * x.below(48), WINDOW + 0x1000 * x.below(48), x.chance(100) ? CODE + 0x1000 * x.below(4) : DATA]);
  return page + x.pick([x.below(64), x.below(64) & ~15, 0xff0 + x.below(16), 0xff8, 0xffc, x.below(4096)]);
}
const SAFE = [0, 1, 2, 3, 6, 7] as const; // ebp counts, esp is the stack
const ALU8 = [0x00, 0x08, 0x10, 0x18, 0x20, 0x28, 0x30, 0x38] as const;

/** One instruction, or a few that belong together: at most 15 bytes. */
function instruction(x: Random, shape: Shape, slot: number, at: number): number[] {
  const r = (): number => x.pick(SAFE), reg = (a: number, b: number): number => 0xc0 | a << 3 | b, absolute = (field: number): number[] => [field << 3 | 5, ...le32(address(x))];
  const near = (target: number, length: number): number[] => le32(FIRST + 16 * target - (at + length));
  const goal = (): number => Math.max(0, Math.min(shape.slots - 1, slot + x.pick([1, 1, 2, 3, 5, 9, -1, -3, x.below(40) - 20])));
  const based = (opcode: readonly number[], field: number): number[] => [0xbe, ...le32(address(x) - 64), ...opcode, 0x40 | field << 3 | 6, 64]; // mov esi; op [esi + 64]
  const space = tables(x.below(2), shape.pae), mapped = (): number => x.pick([0x400 + x.below(48), 0x400 + x.below(48), 0x400 + x.below(48), 0x200, 0x201, 0x100 + x.below(3)]), anyPage = (): number => x.pick([mapped(), mapped(), 0x300]);
  switch (x.below(shape.user ? 26 : 32)) {
    case 0: return [x.pick(ALU8) + x.pick([0, 1, 2, 3]), reg(x.pick(SAFE), x.pick(SAFE) & 3)];
    case 1: return [0x81, reg(x.below(8), r()), ...le32(x.pick([1, -1, 0x8000_0000, x.next()]))];
    case 2: return [x.pick([0x40, 0x48]) + r()];
    case 3: return [x.pick([0xd1, 0xd3, 0xd0, 0xd2]), reg(x.pick([0, 1, 2, 3, 4, 5, 7]), x.below(4))];
    case 4: return [x.pick([0xf7, 0xf6]), reg(x.pick([2, 3, 4, 5, 6, 7]), x.below(4))];
    case 5: return x.pick([[0x0f, 0x90 + x.below(16), reg(0, x.below(4))], [0x0f, 0x40 + x.below(16), reg(r(), r())], [0x0f, 0xa5, reg(r(), r())], [0x0f, 0xbc + x.below(2), reg(r(), r())], [0x0f, 0xb6 + x.pick([0, 1, 8, 9]), reg(r(), x.below(4))], [0x0f, 0xc8 + r()]]);
    case 6: return x.pick([[0x98], [0x99], [0x9e], [0x9f], [0xf5], [0xf8], [0xf9], [0xd6], [0x9c, 0x58], [0x27], [0xd4, x.pick([10, 0])], [0xf9, 0x19, reg(r(), r())]]);
    case 7: return [0xb8 + r(), ...le32(x.pick([x.next(), 0, address(x)]))];
    case 8: case 9: return [x.pick([0x8b, 0x89, 0x8a, 0x88, 0x01, 0x29, 0x31, 0x11, 0x03, 0x3b, 0x39, 0x38, 0x85, 0x87]), ...absolute(x.below(4))];
    case 10: return based([x.pick([0x8b, 0x89, 0x01, 0x29, 0x31, 0x13, 0x19, 0x3b, 0x00, 0x28])], x.below(4));
    case 11: return based(x.pick([[0x66, 0x8b], [0x66, 0x89], [0x66, 0x01], [0x0f, 0xb6], [0x0f, 0xbf], [0xff], [0xf7], [0x83]]), x.pick([0, 1])).concat(x.below(256));
    case 12: return [x.pick([0x66, 0xf0, 0x90]), 0x0f, x.pick([0xc1, 0xb1, 0xc0, 0xb0, 0xab, 0xb3, 0xbb]), ...absolute(x.below(4))];
    case 13: return [x.pick([0xf0, 0x90]), 0x0f, 0xc7, ...absolute(1)];
    case 14: return [x.pick([0xff, 0xff, 0x8f]), ...absolute(x.pick([6, 6, 0]))];
    case 15: return x.pick([[0x50 + r()], [0x58 + r()], [0x60, 0x61], [0xc8, 8, 0, x.below(3), 0xc9], [0x6a, x.below(256), 0x9d], [0x9c, 0x9d]]);
    case 16: return [0xbf, ...le32(address(x)), 0xbe, ...le32(address(x)), x.pick([0xa4, 0xa5, 0xa6, 0xaa, 0xab, 0xac, 0xae, 0xd7])];
    case 17: return [0xbf, ...le32(address(x)), 0xb9, x.pick([3, 9, 40, 2000 & 255]), x.pick([0, 0, 4]), 0, 0, x.pick([0xf3, 0xf3, 0xf2]), x.pick([0xa4, 0xa5, 0xaa, 0xab, 0xae, 0xa6]), x.pick([0xfc, 0xfc, 0xfc, 0xfd])];
    case 18: return [...x.pick([[0x0f, 0x10], [0x0f, 0x11], [0x0f, 0x28], [0x0f, 0x29], [0x0f, 0x58], [0xf2, 0x0f, 0x58], [0xf2, 0x0f, 0x59], [0xf2, 0x0f, 0x10], [0xf2, 0x0f, 0x11], [0x66, 0x0f, 0xfe], [0x66, 0x0f, 0x6f], [0x66, 0x0f, 0x7f], [0x0f, 0x2f], [0xf3, 0x0f, 0x5a], [0x66, 0x0f, 0x2e]]), ...absolute(x.below(8))];
    case 19: return [...x.pick([[0x0f, 0x58], [0x66, 0x0f, 0xef], [0xf2, 0x0f, 0x5e], [0xf2, 0x0f, 0x51], [0x66, 0x0f, 0x70], [0x0f, 0x57]]), reg(x.below(8), x.below(8)), 1];
    case 20: return [...x.pick([[0xdd, 0], [0xdd, 3], [0xd9, 0], [0xdc, 0], [0xdc, 1], [0xdb, 0], [0xdb, 3], [0xdb, 5], [0xdb, 7], [0xdf, 7]]).map((b, i) => i === 0 ? b : b << 3 | 5), ...le32(address(x))];
    case 21: return x.pick([[0xd9, 0xe8], [0xd9, 0xee], [0xd8, 0xc1], [0xde, 0xc9], [0xdb, 0xe3], [0xdb, 0xf1], [0xd9, 0xc1], [0xdd, 0xd8], [0x0f, 0x77], [0x0f, 0xfe, reg(x.below(8), x.below(8))], [0x0f, 0x6f, ...absolute(2)], [0x9b]]);
    case 22: return [0x0f, 0x80 + x.below(16), ...near(goal(), 6)];
    case 23: return x.pick([[0xe8, ...near(goal(), 5)], [0xc3], [0x68, ...le32(FIRST + 16 * goal()), 0xc3], [0xe9, ...near(goal(), 5)], [0xff, 0x24, 0x85, ...le32(DATA + 0x1800)], [0x83, 0xe0, 7, 0xff, 0x24, 0x85, ...le32(DATA + 0x1800)]]);
    case 24: return x.pick([[0xcd, x.pick([0x21, 3])], [0xcc], [0xce], [0x0f, 0x0b], [0xcd, SERVICE], [0xcd, SERVICE], [0x0f, 0x31], [shape.user ? 0xf4 : 0xf5], [0x62, ...absolute(0)]]);
    // A constant of another slot: its third byte, if that is one; through the window too; now and then any byte.
    case 25: return [0xc6, 5, ...le32((x.chance(500) ? FIRST : WINDOW + 0x3_0000 + 8) + 16 * goal() + (x.chance(950) ? 3 : x.below(16))), x.below(256)];
    case 26: return [0x81, 0x25, ...le32(space.entry(anyPage())), ...le32(~x.pick([0x20, 0x40, 0x60]))]; // accessed, dirty
    case 27: return [0xc7, 5, ...le32(space.entry(mapped())), ...le32(x.pick([DATA, DATA + 0x1000, CODE, TWIN, CODE + 0x1000, space.cr3 & ~0xfff, space.entry(0x400) & ~0xfff]) | x.pick([7, 7, 5, 3, 0x67, 0]))];
    case 28: return x.pick([[0x0f, 0x01, 0x3d, ...le32(anyPage() << 12)], [0x80, 0x35, ...le32(space.entry(0x100 + x.below(3)) + 1), 0x40], [0x83, 0x25, ...le32(space.entry(0x100 + x.below(3))), x.pick([-2, -0x21])], [0x80, 0x35, ...le32(space.directory(0)), 0x20], [0x80, 0x35, ...le32(space.directory(4)), x.pick([0x20, 2, 1, 4])]]);
    case 29: return [0xb8, ...le32(tables(x.below(2), shape.pae).cr3), 0x0f, 0x22, 0xd8];
    case 30: return [0x0f, 0x20, 0xc0, 0x35, ...le32(x.pick([CR0.TS, CR0.TS, CR0.WP, CR0.EM, CR0.MP])), 0x0f, 0x22, 0xc0];
    default: return shape.pae && x.chance(500) ? [0x80, 0x35, ...le32(space.entry(mapped()) + 7), 0x80] : [0x87, 5, ...le32(space.entry(mapped()))]; // NX; exchanged with eax
  }
}
/** No-operations that fill `n` bytes, as one instruction. */
const pad = (n: number): number[] => n === 0 ? [] : n < 3 ? n === 1 ? [0x90] : [0x66, 0x90] : n < 7 ? [...new Array<number>(n - 3).fill(0x66), 0x0f, 0x1f, 0xc0] : [...new Array<number>(n - 7).fill(0x66), 0x0f, 0x1f, 0x80, 0, 0, 0, 0];

function program(x: Random, shape: Shape): number[] {
  const out: number[] = [];
  // The first slots mend the stack, each vCPU's its own, and count.
  const end = FIRST + 16 * shape.slots;
  const mend = shape.cpus === 1 ? [0xbc, ...le32(STACK + 0x800)] : [0xa1, ...le32(APIC + 0x20), 0xc1, 0xe8, 13, 0x8d, 0xa0, ...le32(STACK + 0x800)]; // mov eax, [id]; shr eax, 13; lea esp, [eax + ..]
  out.push(...mend, ...pad(16 - mend.length), 0x4d, 0x0f, 0x88, ...le32(end - (FIRST + 16 + 7)), ...pad(9));
  for (let slot = 2; slot < shape.slots; slot++) {
    const from = out.length, room = (): number => 16 - (out.length - from);
    while (room() > 0) {
      const bytes = slot === shape.slots - 1 ? [0xe9, ...le32(FIRST - (FIRST + out.length + 5))] : instruction(x, shape, slot, FIRST + out.length);
      if (bytes.length > room() || (slot === shape.slots - 1 && out.length > from)) { out.push(...pad(room())); break; }
      out.push(...bytes);
      if (x.chance(350)) out.push(...pad(room()));
    }
  }
  out.push(0xcd, SERVICE + 1); // the end
  return out;
}

/** Handlers of all vectors; a service for ring 3, int 80h by eax: address spaces, INVLPG, an entry of the window. int 81h: the end. */
function handlers(shape: Shape): { code: number[]; entries: number[] } {
  const code: number[] = [], entries: number[] = [], calls: number[] = [];
  for (let vector = 0; vector < 256; vector++) {
    if (vector > 31 && vector !== 0x21 && vector !== SERVICE && vector !== SERVICE + 1) { entries.push(0); continue; }
    entries.push(HANDLERS + code.length);
    if (vector === SERVICE + 1) { code.push(0xb0, 1, 0xe6, 0xf4, 0xeb, 0xfe); continue; }
    if (!ERROR_CODES.has(vector)) code.push(0x6a, 0);
    code.push(0x68, ...le32(vector));
    calls.push(code.length);
    code.push(0xe9, 0, 0, 0, 0);
  }
  for (const at of calls) code.splice(at + 1, 4, ...le32(code.length - (at + 5)));
  const sum = (offset: number): number[] => [0x8b, 0x44, 0x24, offset, 0xc1, 0x05, ...le32(SUM), 5, 0x01, 0x05, ...le32(SUM)]; // mov eax, [esp + offset]; rol [SUM], 5; add [SUM], eax
  code.push(0x60, 0xfc, ...sum(32), ...sum(36), ...sum(40), ...sum(48), 0x0f, 0x20, 0xd0, 0x31, 0x05, ...le32(SUM + 4)); // pusha; cld; ...; mov eax, cr2; xor [SUM + 4], eax
  // The tables of the code, as they were, in both address spaces.
  for (const n of [0, 1]) {
    const space = tables(n, shape.pae);
    for (let page = 0x100; page < 0x103; page++) { code.push(0xc7, 0x05, ...le32(space.entry(page)), ...le32(page << 12 | 7)); if (shape.pae) code.push(0xc7, 0x05, ...le32(space.entry(page) + 4), ...le32(0)); }
    code.push(0xc7, 0x05, ...le32(space.entry(0x300)), ...le32(STACK | 7));
    if (shape.pae) code.push(0xc7, 0x05, ...le32(space.entry(0x300) + 4), ...le32(0));
  }
  code.push(0x81, 0x64, 0x24, 48, ...le32(~0x100), 0x0f, 0x06); // and [esp + 48], ~TF; clts
  if (shape.user) {
    // mov eax, [esp + 28]; cmp byte [esp + 32], 80h; jne; test al, 3: mov cr3, invlpg, an entry
    const space = tables(0, shape.pae), other = tables(1, shape.pae);
    const entry = [0x8b, 0x44, 0x24, 24, 0x25, ...le32(shape.pae ? 0x1f8 : 0xfc), 0x8b, 0x4c, 0x24, 16, 0x81, 0xe1, ...le32(0x1067), 0x81, 0xc9, ...le32(DATA), 0x89, 0x88, ...le32(space.entry(0x400))]; // eax = ecx & ..; ecx = ebx & 1067h | DATA; mov [entry + eax], ecx
    const invlpg = [0x8b, 0x44, 0x24, 24, 0x25, ...le32(0x3f000), 0x0f, 0x01, 0xb8, ...le32(WINDOW), 0xeb, entry.length];
    const load = [0xa8, 1, 0xb9, ...le32(space.cr3), 0xb8, ...le32(other.cr3), 0x0f, 0x44, 0xc1, 0x0f, 0x22, 0xd8, 0xeb, invlpg.length + entry.length]; // test al, 1; mov ecx, a; mov eax, b; cmovz eax, ecx; mov cr3, eax
    const choose = [0x8b, 0x44, 0x24, 28, 0xa8, 4, 0x74, 4 + load.length, 0xa8, 2, 0x75, load.length + invlpg.length];
    const body = [...choose, ...load, ...invlpg, ...entry];
    body[7] = choose.length - 8 + load.length;
    code.push(0x80, 0x7c, 0x24, 32, SERVICE, 0x75, body.length, ...body);
  }
  // EIP: the next slot; from outside the code, the first one.
  code.push(0x8b, 0x44, 0x24, 40, 0x83, 0xc0, 8, 0x83, 0xe0, 0xf0, 0x83, 0xc0, 8, 0x3d, ...le32(FIRST), 0x72, 7, 0x3d, ...le32(FIRST + 16 * shape.slots), 0x72, 5, 0xb8, ...le32(FIRST), 0x89, 0x44, 0x24, 40);
  code.push(0x61, 0x83, 0xc4, 8, 0xcf); // popa; add esp, 8; iret
  return { code, entries };
}

/** The machine of a seed, ready to run. */
export function pagedMachine(seed: number, jit: MachineConfig['jit'] & string, shape = shapeOf(seed)): DeterministicMachine {
  const x = new Random(seed), m = bareMachine([0xf4], { memoryMiB: 4, jit, quantum: shape.quantum, cpus: shape.cpus, seed: seed % 3 });
  const { ramWords, ram } = m.board, put = (at: number, ...words: number[]): void => words.forEach((word, k) => { ramWords[(at >> 2) + k] = word; });
  put(GDT, 0, 0, 0xffff, 0x00cf_9b00, 0xffff, 0x00cf_9300, 0xffff, 0x00cf_fb00, 0xffff, 0x00cf_f300, TSS << 16 | 0x67, 0x8b08, TSS + 0x100 << 16 | 0x67, 0x8b08);
  const { code, entries } = handlers(shape);
  ram.set(code, HANDLERS);
  entries.forEach((at, vector) => { if (at) put(IDT + 8 * vector, 8 << 16 | at & 0xffff, at & 0xffff_0000 | 0xee00); });
  const text = program(x, shape);
  ram.set(text, FIRST);
  // The twin differs in constants: the third byte of some slots.
  ram.set(text, TWIN + 8);
  for (let n = 0; n < shape.slots / 4; n++) ram[TWIN + 8 + 16 * x.below(shape.slots) + 3]! ^= x.below(256);
  for (let n = 0; n < 4096; n++) ram[DATA + n] = x.below(256);
  for (let n = 0; n < 512; n++) put(DATA + 0x1800 + 4 * n, FIRST + 16 * x.below(shape.slots));
  for (const n of [0, 1]) {
    const space = tables(n, shape.pae), user = shape.user ? 4 : 0, entry = (at: number, value: number, high = 0): void => { put(at, value); if (shape.pae) put(at + 4, high); };
    if (shape.pae) put(space.cr3, ...[0, 1, 2, 3].flatMap(g => [g === 0 ? SPACES[n]! + 0x1001 : 0, 0]));
    for (let mib = 0; mib < 8; mib += shape.pae ? 2 : 4) entry(space.directory(mib), space.entry(mib << 8) & ~0xfff | 7);
    for (let page = 0; page < 0x400; page++) entry(space.entry(page), page << 12 | (page >= 0x100 && page < 0x108 || page >= 0x200 && page < 0x202 || page === 0x300 ? 3 | user | 4 : 3));
    for (let page = 0; page < 48; page++) {
      const target = page < 32 ? x.pick([DATA, DATA, DATA + 0x1000, DATA + 0x2000, CODE + 0x1000 * x.below(3), SPACES[n]! + 0x4000, 0xfee0_0000]) : CODE + 0x1000 * (page & 3);
      entry(space.entry(0x400 + page), target | x.pick([7, 7, 7, 5, 3, 0x67, 0, 0x27]), shape.pae && x.chance(200) ? 0x8000_0000 : 0);
    }
    entry(space.entry(APIC >> 12), 0xfee0_0007);
    for (let page = 0x430; page < 0x433; page++) entry(space.entry(page), CODE + (page - 0x430 << 12) | 7);
  }
  for (let cpu = 0; cpu < shape.cpus; cpu++) {
    const w = m.cpus.words(cpu), segment = (index: number, selector: number, attr: number): void => { w[segSelector(index) >> 2] = selector; w[segBase(index) >> 2] = 0; w[segLimit(index) >> 2] = -1; w[segAttr(index) >> 2] = attr; };
    segment(SEG.CS, shape.user ? 0x1b : 8, shape.user ? 0xc0fb : 0xc09b);
    for (const index of [SEG.DS, SEG.ES, SEG.SS, SEG.FS, SEG.GS]) segment(index, shape.user ? 0x23 : 0x10, shape.user ? 0xc0f3 : 0xc093);
    w[segSelector(SEG.TR) >> 2] = 0x28 + 8 * cpu; w[segBase(SEG.TR) >> 2] = TSS + 0x100 * cpu; w[segLimit(SEG.TR) >> 2] = 0x67; w[segAttr(SEG.TR) >> 2] = 0x8b;
    put(TSS + 0x100 * cpu + 4, 0x30_3000 + 0x2000 * cpu, 0x10);
    w[S.cpl >> 2] = shape.user ? 3 : 0;
    w[S.gdtrBase >> 2] = GDT; w[S.gdtrLimit >> 2] = 63; w[S.idtrBase >> 2] = IDT; w[S.idtrLimit >> 2] = 2047;
    const space = tables(cpu, shape.pae);
    w[S.cr3 >> 2] = space.cr3;
    if (shape.pae) { w[S.pdpte0 >> 2] = SPACES[cpu]! + 0x1001; w[S.efer >> 2] = 0x800; }
    w[S.cr0 >> 2] = CR0.PE | CR0.ET | CR0.NE | CR0.PG | (x.chance(500) ? CR0.WP : 0) | (x.chance(250) ? CR0.AM : 0);
    w[S.cr4 >> 2] = (shape.pae ? CR4.PAE : 0) | CR4.OSFXSR | CR4.OSXMMEXCPT | (!shape.user && x.chance(100) ? CR4.SMAP : 0);
    w[S.eflags >> 2] = 2 | (x.chance(200) ? 0x4_0000 : 0);
    for (let n = 0; n < 8; n++) w[n] = x.next() | 0;
    w[S.ebp >> 2] = shape.rounds; w[S.esp >> 2] = STACK + 0x800; w[S.eip >> 2] = FIRST;
    if (x.chance(300)) w[S.mxcsr >> 2] = 0x1f80 & ~x.pick([0x80, 0x200, 0x1f80]);
    w[S.runState >> 2] = RUN.running;
  }
  m.board.markDirty(0, m.board.ramBytes);
  for (const engine of m.engines) engine.invalidateAll();
  return m;
}
/** The checksum of what faults have pushed. */
export const checksum = (m: DeterministicMachine): number => m.board.ramWords[SUM >> 2]! >>> 0;
