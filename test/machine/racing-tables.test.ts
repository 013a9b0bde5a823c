/**
 * Page-table writes of one vCPU racing CR3 loads of another, in parallel mode: a load of CR3 ends every translation that was replaced before it, with views that are kept,
 * with a writer that has not yet heard that the page is a table, in tier 0 and in regions.
 *
 * CPU 0 maps page n mod 64 at WINDOW and then stores n to SEQUENCE; page k holds k. CPU 1 reads SEQUENCE, loads CR3, reads WINDOW, reads SEQUENCE again: what it
 * found in WINDOW cannot be older than the first number, nor newer than the one behind the second.
 */
import { expect, it } from 'vitest';
import { ParallelMachine } from '../../vm/parallel.ts';
import { CR0 } from '../../vm/cpu/state.ts';
import { bareKernel, CODE, le32 } from './bare.ts';

const FULL = process.env['KINTSUGI_FULL'] !== undefined, ROUNDS = FULL ? 2_000_000 : 20_000;
const SEQUENCE = 0x20_0000, DONE = 0x20_1000, STALE = 0x20_2000, WINDOW = 0x40_0000, PAGES = 0x28_0000;
const SPACES = [0x30_0000, 0x30_1000] as const, IDENTITY = 0x30_2000, TABLE = 0x30_3000, GDT = 0x7000, TRAMPOLINE = 0x8000;
const store = (address: number, value: number): number[] => [0xc7, 0x05, ...le32(address), ...le32(value)];

/** INIT and SIPI to the other; for ever: inc esi; eax = PAGES | 3 + (esi & 63) * 4096; mov [TABLE], eax; mov [SEQUENCE], esi; a while; until DONE has come to ROUNDS. */
const writer = (): number[] => {
  const turn = [0x46, 0x89, 0xf0, 0x83, 0xe0, 63, 0xc1, 0xe0, 12, 5, ...le32(PAGES | 3), 0xa3, ...le32(TABLE), 0x89, 0x35, ...le32(SEQUENCE), 0xb9, ...le32(60), 0x49, 0x75, 0xfd, 0x81, 0x3d, ...le32(DONE), ...le32(ROUNDS)];
  return [...store(0xfee0_00f0, 0x1ff), ...store(0xfee0_0300, 0xc_4500), ...store(0xfee0_0300, 0xc_4608), 0x31, 0xf6, ...turn, 0x72, -(turn.length + 2) & 255, 0xb0, 1, 0xe6, 0xf4];
};
/** esi = [SEQUENCE]; CR3 = the first; ebx = [WINDOW]; edi = [SEQUENCE]; (ebx - esi & 63) <= edi + 1 - esi, else one more is stale; CR3 = the second; one more done. */
const reader = (): number[] => {
  const turn = [0x8b, 0x35, ...le32(SEQUENCE), 0xb8, ...le32(SPACES[0]), 0x0f, 0x22, 0xd8, 0x8b, 0x1d, ...le32(WINDOW), 0x8b, 0x3d, ...le32(SEQUENCE),
    0x29, 0xf7, 0x47, 0x29, 0xf3, 0x83, 0xe3, 63, 0x39, 0xfb, 0x76, 6, 0xff, 0x05, ...le32(STALE), 0xb8, ...le32(SPACES[1]), 0x0f, 0x22, 0xd8, 0xff, 0x05, ...le32(DONE)];
  return [0xb8, ...le32(SPACES[1]), 0x0f, 0x22, 0xd8, 0x0f, 0x20, 0xc0, 0x0d, ...le32(CR0.PG), 0x0f, 0x22, 0xc0, ...turn, 0xe9, ...le32(-(turn.length + 5))];
};

it.each(['off', 'on'] as const)('no translation outlives a load of CR3 (jit %s)', { timeout: FULL ? 600_000 : 120_000 }, async jit => {
  const first = writer(), second = CODE + first.length;
  const m = new ParallelMachine({ kernel: { name: 'race', bytes: bareKernel([...first, 0xb8, 0x10, 0, 0, 0, 0x8e, 0xd8, 0x8e, 0xd0, ...reader()]) }, memoryMiB: 8, cpus: 2, mode: 'parallel', timeoutMs: FULL ? 500_000 : 100_000, jit });
  const { ramWords, ram } = m.board, put = (at: number, ...words: number[]): void => words.forEach((word, k) => { ramWords[(at >> 2) + k] = word; });
  put(GDT, 0, 0, 0xffff, 0x00cf_9b00, 0xffff, 0x00cf_9300);
  put(GDT + 0x100, 23 | GDT << 16, GDT >>> 16);
  // lgdt [7100h]; mov eax, cr0; or al, 1; mov cr0, eax; jmp 8:second, in real mode
  ram.set([0x0f, 0x01, 0x16, ...le32(GDT + 0x100).slice(0, 2), 0x0f, 0x20, 0xc0, 0x0c, 1, 0x0f, 0x22, 0xc0, 0x66, 0xea, ...le32(second), 8, 0], TRAMPOLINE);
  for (const space of SPACES) put(space, IDENTITY | 3, TABLE | 3);
  for (let page = 0; page < 1024; page++) put(IDENTITY + 4 * page, page << 12 | 3);
  for (let page = 0; page < 64; page++) put(PAGES + 0x1000 * page, page);
  put(TABLE, PAGES | 3);
  const { reason, status, detail } = await m.run();
  expect([reason, status, detail]).toEqual(['exit', 3, detail]);
  expect(ramWords[DONE >> 2]! >>> 0).toBeGreaterThanOrEqual(ROUNDS);
  expect(ramWords[SEQUENCE >> 2]! >>> 0).toBeGreaterThan(ROUNDS / 100);
  expect(ramWords[STALE >> 2]).toBe(0);
  m.close();
});
