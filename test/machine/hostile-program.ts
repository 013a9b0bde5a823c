/** Random guest code in rings 0 and 3 with random descriptor tables, gates, task state and page tables; by seed. */
import { CR0, CR4, S, SEG, segAttr, segBase, segLimit, segSelector } from '../../vm/cpu/state.ts';
import type { DeterministicMachine, MachineConfig } from '../../vm/machine.ts';
import { Random } from '../net/generator.ts';
import { bareMachine, CODE, le32 } from './bare.ts';

const GDT = 0x8_0000, IDT = 0x8_1000, TSS = 0x8_2000, DIRECTORY = 0x9_0000, TABLE = 0x9_1000, CODE_BYTES = 0x3000;

/** Starts of instructions that are the machine's business, filled up with random bytes. */
const SYSTEM = [[0x0f, 0x20], [0x0f, 0x22], [0x0f, 0x01], [0x0f, 0x00], [0x0f, 0x30], [0x0f, 0x32], [0x0f, 0x21], [0x0f, 0x23], [0xcd], [0xcf], [0xf4], [0xfb], [0xfa], [0x9d], [0x9c], [0xea], [0x9a], [0xcb],
  [0x17], [0x1f], [0x07], [0x8e], [0xe4], [0xe6], [0xec], [0xee], [0x6c], [0x6e], [0xf3, 0xa4], [0xf3, 0xab], [0xf0, 0x0f, 0xb1], [0x0f, 0xae], [0x0f, 0xa2], [0x0f, 0x34], [0x0f, 0x35], [0xc8], [0xc9],
  [0x62], [0xcc], [0x0f, 0x0b], [0x0f, 0x02], [0x0f, 0xb2], [0xc5], [0x63], [0x0f, 0xc7], [0xdd, 0x35], [0x60], [0x61], [0x67], [0x66], [0x36], [0x0f, 0x08], [0x0f, 0x09], [0xff]];
const PLAIN = [[0x40], [0x01, 0xc3], [0x89, 0x03], [0x8b, 0x03], [0x83, 0xc0, 0x07], [0x50], [0x58], [0x75, 0x02], [0x74, 0xf8], [0xeb, 0x01], [0x31, 0xd2], [0xf7, 0xe1], [0x0f, 0xaf, 0xc1], [0xc6, 0x05], [0xa3], [0xe2, 0xf0], [0x99]];

function code(x: Random): number[] {
  const out: number[] = [];
  while (out.length < CODE_BYTES) {
    const kind = x.below(10);
    if (kind === 0) for (let n = x.below(6); n >= 0; n--) out.push(x.below(256));
    else if (kind <= 3) { out.push(...x.pick(SYSTEM)); for (let n = x.below(4); n > 0; n--) out.push(x.pick([x.below(256), 0, 5, 0x10, 0xc0, 0xd8])); }
    else { const bytes = x.pick(PLAIN); out.push(...bytes); if (bytes[0] === 0xa3) out.push(...le32(x.pick([CODE + x.below(CODE_BYTES), 0x20_0000, TABLE + 4 * x.below(1024), GDT + x.below(256), x.next()]))); }
  }
  return out;
}

/** The tables in RAM and the registers that use them; right more often than not, else nothing would run. */
function furnish(m: DeterministicMachine, x: Random): void {
  const { ramWords: ram } = m.board, w = m.cpus.words(0), put = (address: number, ...words: number[]): void => words.forEach((word, k) => { ram[(address >> 2) + k] = word; });
  for (let n = 0; n < 32; n++) {
    const flat = [0, 0x00cf_9b00, 0x00cf_9300, 0x00cf_fb00, 0x00cf_f300, 0x0000_8b00 | TSS >>> 16, 0x008f_9f00, 0x0000_8200][n];
    if (flat !== undefined && x.chance(950)) put(GDT + 8 * n, n === 5 ? TSS << 16 | 0x67 : n === 0 ? 0 : 0xffff, n === 5 ? 0x8b08 : flat);
    else put(GDT + 8 * n, x.next(), x.next());
  }
  for (let n = 0; n < 256; n++) {
    const handler = CODE + x.below(CODE_BYTES);
    if (x.chance(800)) put(IDT + 8 * n, x.pick([8, 8, 8, 0x30, 0x1b]) << 16 | handler & 0xffff, handler & 0xffff_0000 | x.pick([0x8e00, 0xee00, 0x8f00, 0x8600]));
    else put(IDT + 8 * n, x.next(), x.next());
  }
  for (let n = 0; n < 26; n++) put(TSS + 4 * n, x.chance(500) ? x.next() : CODE + x.below(0x1000));
  put(TSS + 4, x.chance(900) ? 0x30_0000 : x.next(), 0x10);
  for (let n = 0; n < 1024; n++) {
    put(DIRECTORY + 4 * n, n === 0 ? TABLE | 7 : x.chance(990) ? x.pick([0, 0x87]) : x.next());
    put(TABLE + 4 * n, n << 12 | 7);
    if (x.chance(60)) put(TABLE + 4 * n, x.pick([0, n << 12 | 5, n << 12 | 3, x.below(1024) << 12 | 7, 0xfee0_0007, 0xfec0_0007, 0xa_0007, DIRECTORY | 7, TABLE | 7, x.next()]));
  }
  const segment = (index: number, selector: number, attr: number): void => { w[segSelector(index) >> 2] = selector; w[segBase(index) >> 2] = 0; w[segLimit(index) >> 2] = -1; w[segAttr(index) >> 2] = attr; };
  const user = x.chance(500);
  segment(SEG.CS, user ? 0x1b : 8, user ? 0xc0fb : 0xc09b);
  for (const index of [SEG.DS, SEG.ES, SEG.SS, SEG.FS, SEG.GS]) segment(index, user ? 0x23 : 0x10, user ? 0xc0f3 : 0xc093);
  w[segSelector(SEG.TR) >> 2] = 0x28; w[segBase(SEG.TR) >> 2] = TSS; w[segLimit(SEG.TR) >> 2] = 0x67; w[segAttr(SEG.TR) >> 2] = 0x8b;
  w[S.cpl >> 2] = user ? 3 : 0;
  w[S.gdtrBase >> 2] = GDT; w[S.gdtrLimit >> 2] = 255; w[S.idtrBase >> 2] = IDT; w[S.idtrLimit >> 2] = 2047;
  w[S.cr3 >> 2] = DIRECTORY;
  w[S.cr0 >> 2] = CR0.PE | CR0.ET | (x.chance(700) ? CR0.PG : 0) | (x.chance(500) ? CR0.WP : 0) | (x.chance(200) ? CR0.AM : 0);
  w[S.cr4 >> 2] = x.chance(300) ? CR4.PSE | CR4.OSFXSR | CR4.OSXMMEXCPT : x.chance(100) ? CR4.PAE : 0;
  w[S.eflags >> 2] = 2 | (x.chance(300) ? 0x200 : 0) | (x.chance(100) ? 0x3000 : 0) | (x.chance(50) ? 0x100 : 0);
  for (let n = 0; n < 8; n++) w[n] = x.pick([0, 1, CODE + x.below(CODE_BYTES), 0x20_0000 + x.below(0x1_0000), TABLE + x.below(4096), x.next(), x.below(64)]) | 0;
  w[S.esp >> 2] = x.chance(900) ? 0x30_8000 : x.next() | 0;
  w[S.eip >> 2] = CODE + x.below(CODE_BYTES);
  // A debugger has changed all this.
  m.board.markDirty(0, m.board.ramBytes);
  for (const engine of m.engines) engine.invalidateAll();
}

/** The machine of a seed, ready to run. */
export function hostileMachine(seed: number, jit: MachineConfig['jit'] & string): DeterministicMachine {
  const x = new Random(seed), m = bareMachine(code(x), { memoryMiB: 4, jit, quantum: 500 });
  furnish(m, x);
  return m;
}

/** Makes a region of the code that comes next, hot or not, if there can be one. */
export const compileHere = (m: DeterministicMachine, cpu = 0): boolean => (m.engines[cpu] as unknown as { compileRegion(): boolean }).compileRegion();
