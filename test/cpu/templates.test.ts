/** Decoded blocks by content: what is taken over from equal bytes elsewhere behaves as if it had been decoded there. */
import { describe, expect, test } from 'vitest';
import { Bench as AnyBench, type BenchOptions } from '../../vm/cpu/testdriver.ts';
import { ATTN, S } from '../../vm/cpu/state.ts';
import { Templates, type Emitted } from '../../vm/cpu/templates.ts';
import type { TraceWriter } from '../../vm/trace.ts';

/** Without shapes (shapes.test.ts), which leave nothing to templates here. */
class Bench extends AnyBench {
  constructor(options?: BenchOptions) { super(options); this.engine.blocks.quick = false; }
}
const LOOP = [0x40, 0x01, 0xc3, 0x49, 0x75, 0xfa, 0x53, 0x5a, 0xf4]; // inc eax; add ebx, eax; dec ecx; jnz; push ebx; pop edx; hlt
const decoded = (b: Bench): number => b.words[S.countBlocks >> 2];
const copied = (b: Bench): number => b.words[S.countCopied >> 2];
function start(b: Bench, at: number, registers: Parameters<Bench['registers']>[0] = {}): void {
  b.words[S.runState >> 2] = 0;
  b.registers({ eax: 0, ebx: 0, ecx: 10, edx: 0, esi: 0, edi: 0, esp: 0x9000, ebp: 0x9000, eflags: 2, ...registers, eip: at });
}
/** State after `budget` instructions of `code` at `at`; EIP relative to the code. */
function outcome(b: Bench, at: number, budget = 500): unknown {
  start(b, at);
  const before = b.engine.retired, exit = b.run(budget), fault = b.fault, state = b.read();
  return { exit, retired: b.engine.retired - before, fault: fault && { ...fault, eip: fault.eip - at }, ...state, eip: fault ? 0 : state.eip - at };
}

describe('blocks by content', () => {
  test.each<BenchOptions>([{}, { jit: 'on', jitHeat: 100 }])('the same code in another page is copied, loops and all: %o', (options) => {
    const b = new Bench(options);
    b.load(0x1100, LOOP);
    const first = outcome(b, 0x1100, 50);
    const before = decoded(b);
    b.load(0x2100, LOOP);
    expect(outcome(b, 0x2100, 50)).toEqual(first);
    expect(decoded(b)).toBe(before);
    expect(copied(b)).toBeGreaterThan(1);
  });
  test('at another offset of the page, or with another byte, it is decoded', () => {
    const b = new Bench();
    b.load(0x1100, LOOP);
    outcome(b, 0x1100);
    b.load(0x2104, LOOP);
    outcome(b, 0x2104);
    b.load(0x3100, LOOP.with(0, 0x48)); // dec eax
    start(b, 0x3100);
    b.run(500);
    expect(copied(b)).toBe(1); // what follows the loop, which is the same
    expect(b.read().eax).toBe(2 ** 32 - 10);
  });
  test('a page written and filled with the old code again costs no decoding, and what stood there between is seen', () => {
    const b = new Bench();
    b.load(0x1100, LOOP);
    const first = outcome(b, 0x1100);
    b.load(0x1100, [0x43, 0xf4]); // inc ebx; hlt
    expect(outcome(b, 0x1100)).toMatchObject({ retired: 2, ebx: 1 });
    const before = decoded(b);
    b.load(0x1100, LOOP);
    expect(outcome(b, 0x1100)).toEqual(first);
    expect(decoded(b)).toBe(before);
  });
  test('a store into the copy leaves the original alone, and the other way round', () => {
    // mov byte [esi], 43h; inc eax (becomes inc ebx); hlt. The store hits the running block.
    const code = [0xc6, 0x06, 0x43, 0x90, 0x40, 0xf4], b = new Bench();
    for (const page of [0x1000, 0x2000, 0x3000]) b.load(page, code);
    for (const page of [0x1000, 0x2000, 0x3000]) {
      start(b, page, { esi: page + 4 });
      b.run(100);
      expect(b.read()).toMatchObject({ eax: 0, ebx: 1 });
    }
    b.load(0x2000, code);
    start(b, 0x2000, { esi: 0x5000 });
    b.run(100);
    expect(b.read()).toMatchObject({ eax: 1, ebx: 0 });
  });
  test('an instruction that crosses into a different page is not taken over', () => {
    const b = new Bench(), head = [0x40, 0xb8, 0x11, 0x22]; // inc eax; mov eax, imm32 of which two bytes lie in the next page
    b.load(0x1ffc, [...head, 0x33, 0x44, 0xf4]);
    b.load(0x3ffc, [...head, 0x55, 0x66, 0x43, 0xf4]); // another immediate, then inc ebx
    b.load(0x5ffc, [0x40, 0x90, 0x90, 0x43, 0xf4]); // nothing crosses
    const of = (at: number): unknown => { start(b, at); b.run(100); return [b.read().eax, b.read().ebx]; };
    expect([of(0x1ffc), of(0x3ffc), of(0x5ffc), of(0x1ffc)]).toEqual([[0x44332211, 0], [0x66552211, 1], [1, 1], [0x44332211, 0]]);
  });
  test('the same bytes in 16-bit code are other instructions', () => {
    const b = new Bench(), code = [0xb8, 0x01, 0x00, 0x40, 0x48, 0x90, 0xf4]; // mov eax, 90484001h - or mov ax, 1; inc ax; dec ax; nop
    b.load(0x1000, [...code, 0xf4]); b.load(0x2000, [...code, 0xf4]);
    start(b, 0x1000);
    b.run(100);
    expect(b.read().eax).toBe(0x48400001);
    b.engine.cpu.setSegment(1, 0x10, 0, 0xffff, 0x009b);
    b.engine.stateChanged();
    start(b, 0x2000);
    b.run(100);
    expect(b.read().eax).toBe(1);
    expect(copied(b)).toBe(0);
  });
  test('an interrupt raised by a device access comes behind that instruction in every copy', () => {
    const b = new Bench(), code = [0x40, 0xa3, 0, 0, 0xe0, 0xfe, 0x43, 0x43, 0x43, 0xf4]; // inc eax; mov [fee00000h], eax; inc ebx x 3; hlt
    b.bus.interruptAcknowledge = () => { Atomics.and(b.words, S.attention >> 2, ~ATTN.INTR); return 0x40; };
    b.bus.onAccess = (what) => { if (what === 'write') Atomics.or(b.words, S.attention >> 2, ATTN.INTR); };
    for (const page of [0x1000, 0x2000, 0x1000, 0x2000, 0x3000]) {
      b.load(page, code);
      start(b, page, { eflags: 0x202 });
      b.run(100);
      expect(b.fault).toMatchObject({ vector: 0x40, eip: page + 6 });
      expect(b.read()).toMatchObject({ eax: 1, ebx: 0 });
    }
  });
  test('a device access with an interrupt pending takes the code of its page away once, not each time', () => {
    const b = new Bench(), code = [0xa3, 0, 0, 0xe0, 0xfe, 0x43, 0x49, 0x75, 0xf7, 0xf4]; // mov [fee00000h], eax; inc ebx; dec ecx; jnz; hlt
    b.bus.onAccess = () => { Atomics.or(b.words, S.attention >> 2, ATTN.INTR); }; // and IF is clear
    b.load(0x1000, code);
    start(b, 0x1000, { ecx: 100 });
    expect(b.run(1000)).toBe('halt');
    expect(b.read().ebx).toBe(100);
    expect(b.words[S.countSmc >> 2]).toBe(1);
  });
  test('a trace point in one copy is passed each time, and other copies know nothing of it', () => {
    const passed: number[] = [];
    const plan = { points: [{ id: 7, address: 0x2101, words: [{ from: 'eax' as const }] }], marks: false, events: false, keep: 'ring' as const };
    const b = new Bench({ trace: { plan, writer: { write: (_id: number, _retired: number, w0: number) => { passed.push(w0); } } as unknown as TraceWriter } });
    b.load(0x1100, LOOP); b.load(0x2100, LOOP); b.load(0x3100, LOOP);
    const state = (): unknown => { const { eax, ebx, ecx, edx } = b.read(); return { eax, ebx, ecx, edx }; };
    const of = (at: number): unknown => { start(b, at); b.run(500); return state(); };
    const first = of(0x1100);
    expect(of(0x2100)).toEqual(first);
    expect(passed).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    const before = decoded(b);
    expect(of(0x3100)).toEqual(first);
    expect([passed.length, decoded(b)]).toEqual([10, before]);
  });
  test('random programs, each altered in one byte at another place, run as on a machine that never saw the first', () => {
    let x = 0x2545f491;
    const draw = (n: number): number => { x ^= x << 13; x ^= x >>> 17; x ^= x << 5; return (x >>> 0) % n; };
    const bytes = [0x40, 0x43, 0x4a, 0x46, 0x90, 0x01, 0xd8, 0x29, 0xc3, 0x31, 0xd2, 0x75, 0x02, 0x74, 0xfa, 0x50, 0x5b, 0xf8, 0xf9, 0x11, 0xc1, 0x66, 0x0f, 0xaf, 0xc3, 0xd1, 0xe0, 0xeb, 0x01, 0xe2];
    let same = 0;
    const one = new Bench(), fresh = new Bench();
    for (let n = 0; n < 150; n++) {
      const at = 0x1000 + 0xf00 + draw(256), code = Array.from({ length: 48 }, () => bytes[draw(bytes.length)]!);
      const altered = code.with(draw(48), bytes[draw(bytes.length)]!);
      const place = (b: Bench, where: number, what: number[]): void => { b.load(where & ~0xfff, new Uint8Array(0x2000).fill(0xf4)); b.load(where, what); };
      place(one, at, code); outcome(one, at);
      for (const b of [one, fresh]) {
        b.board.ram.fill(0, 0, b.system);
        b.engine.memoryWritten(0, b.system);
        place(b, at + 0x3000, altered);
      }
      fresh.engine.blocks.forgetContent();
      expect(outcome(one, at + 0x3000, 300), `program ${n}: ${altered.map((v) => v.toString(16)).join(' ')} at ${(at + 0x3000).toString(16)}`).toEqual(outcome(fresh, at + 0x3000, 300));
      same = copied(one);
    }
    expect(same).toBeGreaterThan(100);
    expect(decoded(fresh)).toBeGreaterThan(0);
  });
});

describe('the store of templates', () => {
  const source = (seed: number): Uint8Array => Uint8Array.from({ length: 4096 }, (_, i) => (i * 31 + seed * 7919 + (seed >> 8) * (i & 3)) & 255);
  const made = (records: number): Emitted => ({ bytes: 8, insns: [], words: new Int32Array(records * 8), from: 0, records, links: [], helpers: [], checked: false });
  test('it forgets what was not used for two generations, and nothing that was', () => {
    const templates = new Templates(), always = (): boolean => true;
    templates.add(source(1), 64, 4096, 0, made(1000));
    templates.add(source(2), 64, 4096, 0, made(1000));
    for (let n = 3; n < 400; n++) {
      templates.add(source(n), 64, 4096, 0, made(1000));
      expect(templates.find(source(1), 64, 4096, 0, always)).toBeDefined();
    }
    expect(templates.find(source(2), 64, 4096, 0, always)).toBeUndefined();
    expect(templates.records).toBeLessThanOrEqual(2 << 16);
  });
  test('bytes, offset, mode and what the cache says must all agree', () => {
    const templates = new Templates(), at = source(9);
    templates.add(at, 64, 4096, 5, made(3));
    const elsewhere = new Uint8Array(8192);
    elsewhere.set(at, 4096);
    expect(templates.find(elsewhere, 4096 + 64, 8192, 5, () => true)).toBeDefined();
    expect(templates.find(elsewhere, 4096 + 64, 8192, 4, () => true)).toBeUndefined();
    expect(templates.find(elsewhere, 4096 + 64, 8192, 5, () => false)).toBeUndefined();
    elsewhere[4096 + 64 + 22]! ^= 1; // 15 bytes behind the block
    expect(templates.find(elsewhere, 4096 + 64, 8192, 5, () => true)).toBeUndefined();
  });
});
