/** An interrupt at every instruction boundary of a short program, in tier 0 and in regions, by message and by the LAPIC's timer: it comes once, and the program ends in the same state. */
import { describe, expect, it } from 'vitest';
import { LAPIC } from '../../vm/devices/lapic.ts';
import { readEflags, S } from '../../vm/cpu/state.ts';
import { bareMachine, CODE, le32 } from './bare.ts';
import type { DeterministicMachine } from '../../vm/machine.ts';

const DATA = 0x20_0000, COUNT = 0x20_0800, IDT = 0x21_0000, GDT = 0x22_0000, TABLES = 0x22_0100, VECTOR = 0x40;
const SETUP = [0xbc, ...le32(0x9_0000), 0x0f, 0x01, 0x15, ...le32(TABLES), 0x0f, 0x01, 0x1d, ...le32(TABLES + 8), 0xfb]; // mov esp; lgdt; lidt; sti
const BODY = [
  0xb8, ...le32(0x4000_0001), 0x31, 0xd2, 0xb9, ...le32(9), // mov eax; xor edx, edx; mov ecx, 9
  0x01, 0xc0, 0x83, 0xd2, 0, 0x50, 0x5b, 0x89, 0x1c, 0x8d, ...le32(DATA), 0xd3, 0xc3, 0x49, 0x75, 0xef, // add eax, eax; adc edx, 0; push; pop ebx; mov [DATA + ecx * 4], ebx; rol ebx, cl; dec ecx; jnz
  0xbf, ...le32(DATA + 0x100), 0xb9, ...le32(10), 0xf3, 0xab, 0xf9, 0x9c, 0x5e, 0x60, 0x61, 0xe8, ...le32(0), 0x5d, // rep stosd; stc; pushfd; pop esi; pusha; popa; call next; pop ebp
  0xc8, 16, 0, 0, 0xc9, 0xfa, 0xb0, 1, 0xe6, 0xf4, // enter; leave; cli; out f4h, 1
];
const HANDLER = [0x50, 0xc7, 0x05, ...le32(0xfee0_00b0), 0, 0, 0, 0, 0xff, 0x05, ...le32(COUNT), 0x58, 0xcf]; // push eax; EOI; inc [COUNT]; pop eax; iret
const STEPS = 4;

function make(jit: boolean, body: readonly number[] = BODY, theHandler: readonly number[] = HANDLER, quantum = 1): DeterministicMachine {
  const m = bareMachine([...SETUP, ...body, ...theHandler], { jit: jit ? 'on' : 'off', quantum }), { ramWords } = m.board, handler = CODE + SETUP.length + body.length;
  const put = (address: number, ...words: number[]): void => { words.forEach((word, k) => { ramWords[(address >> 2) + k] = word; }); m.board.markDirty(address, 4 * words.length); };
  put(GDT, 0, 0, 0xffff, 0x00cf_9b00, 0xffff, 0x00cf_9300);
  put(TABLES, 23 | GDT << 16, GDT >>> 16, 0x7ff | IDT << 16, IDT >>> 16);
  put(IDT + 8 * VECTOR, 8 << 16 | handler & 0xffff, handler & 0xffff_0000 | 0x8e00);
  for (const engine of m.engines) engine.invalidateAll();
  m.chipset.lapics.write(0, LAPIC.SVR, 4, 0x1ff);
  return m;
}
interface End { readonly count: number; readonly state: string }
function finish(m: DeterministicMachine): End {
  m.runFor(10_000);
  expect(m.stopReason).toBe('exit');
  const words = m.cpus.words(0), end = { count: m.board.ramWords[COUNT >> 2]!, state: [...words.subarray(0, 8), words[S.eip >> 2]!, readEflags(words, 0), ...m.board.ramWords.subarray(DATA >> 2, (DATA >> 2) + 128)].join() };
  m.close();
  return end;
}

describe.each([['tier 0', false], ['regions', true]] as const)('an interrupt at every boundary, %s', (_name, jit) => {
  const plain = make(jit), wanted = finish(plain), length = plain.instructions;
  const region = (m: DeterministicMachine): void => { if (jit) (m.engines[0] as unknown as { compileRegion(): boolean }).compileRegion(); };
  it('by a message', () => {
    expect(wanted.count).toBe(0);
    for (let at = STEPS; at < length - 3; at++) {
      const m = make(jit);
      m.runFor(STEPS + 2); region(m); m.runFor(Math.max(0, at - STEPS - 2));
      m.chipset.lapics.accept(0, VECTOR, false);
      expect({ at, ...finish(m) }).toEqual({ at, count: 1, state: wanted.state });
    }
  });
  it('by the timer', () => {
    for (let ticks = 1; ticks < length - 8; ticks++) {
      const m = make(jit);
      m.chipset.lapics.write(0, LAPIC.LVT_TIMER, 4, VECTOR);
      m.chipset.lapics.write(0, LAPIC.TIMER_DIVIDE, 4, 0xb);
      m.chipset.lapics.write(0, LAPIC.TIMER_INITIAL, 4, ticks);
      m.runFor(STEPS + 2); region(m);
      expect({ ticks, ...finish(m) }).toEqual({ ticks, count: 1, state: wanted.state });
    }
  });
  it.each([1, 5000])('by a device that a REP stores to, between its iterations (quantum %i)', quantum => {
    // mov ebp, DATA; mov ebx, 3; again: mov edi, ICR; mov eax, self, vector; mov ecx, 8; rep stosd; dec ebx; jnz again; cli; out f4h, 1
    const again = [0xbf, ...le32(0xfee0_0300), 0xb8, ...le32(0x4_4000 | VECTOR), 0xb9, ...le32(8), 0xf3, 0xab, 0x4b];
    const body = [0xbd, ...le32(DATA), 0xbb, ...le32(3), ...again, 0x75, -(again.length + 2) & 255, 0xfa, 0xb0, 1, 0xe6, 0xf4];
    // mov [ebp], ecx; add ebp, 4; and the rest
    const m = make(jit, body, [0x89, 0x4d, 0, 0x83, 0xc5, 4, ...HANDLER], quantum);
    m.runFor(STEPS + 3); region(m);
    const { count } = finish(m);
    expect([count, ...m.board.ramWords.subarray(DATA >> 2, (DATA >> 2) + 4)]).toEqual([3, 7, 7, 7, 0]);
  });
});
