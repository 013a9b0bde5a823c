/** Records made of shapes are those of the decoder, and a store into an operand changes its record and nothing else. */
import { describe, expect, test } from 'vitest';
import { Bench, type BenchOptions } from '../../vm/cpu/testdriver.ts';
import { MODE, S, SEG } from '../../vm/cpu/state.ts';
import { R, RECORD_BYTES } from '../../vm/cpu/tier0/record.ts';
import { le32 } from '../machine/bare.ts';
import { createBoard } from '../../vm/board.ts';

const FLAT = MODE.CODE32 | MODE.STACK32 | MODE.DS_FLAT | MODE.ES_FLAT | MODE.SS_FLAT | MODE.CS_FLAT | MODE.PROTECTED;
const AT = 0x1100;
const generator = (seed: number) => {
  let x = seed;
  return (n: number): number => { x ^= x << 13; x ^= x >>> 17; x ^= x << 5; return (x >>> 0) % n; };
};
const count = (b: Bench, field: 'countBlocks' | 'countCopied' | 'countSmc' | 'countPatched' | 'countMisses'): number => b.words[S[field] >> 2]!;

/** The records of the block at AT; numbers of helper instructions and addresses of records left out. `made`: of shapes. */
function records(b: Bench, mode: number, limit: number): { made: boolean; insns: number; bytes: number; words: number[][] } {
  const block = b.engine.blocks.block(AT, AT, mode, false, limit), words: number[][] = [], at = new Int32Array(b.board.buffer, block.record, block.records * 8);
  for (let i = 0; i < block.records; i++) {
    const record = [...at.subarray(i * 8, i * 8 + 8)], kind = record[0]! & 0xffff;
    if (kind === 4 || kind === 6) record[R.link >> 2] = 0;
    words.push(record);
  }
  return { made: block.insns === null, insns: block.count, bytes: block.bytes, words };
}

describe('shapes', () => {
  test.each([FLAT, FLAT & ~MODE.DS_FLAT, FLAT & ~(MODE.SS_FLAT | MODE.ES_FLAT)])('every opcode: the record of the decoder, mode %i', (mode) => {
    const quick = new Bench(), slow = new Bench(), draw = generator(0x1234567 + mode);
    slow.engine.blocks.quick = false;
    let made = 0, all = 0;
    const tried = (code: number[], limit: number): void => {
      for (const b of [quick, slow]) b.load(AT, code);
      // The first time the forms are compiled, the second time the shapes are known.
      records(quick, mode, limit);
      quick.load(AT, code);
      const of = records(quick, mode, limit), expected = records(slow, mode, limit);
      all++;
      if (of.made) made++;
      expect({ ...of, made: false }, code.map((v) => v.toString(16)).join(' ')).toEqual({ ...expected, made: false });
    };
    const values = (n: number): number[] => Array.from({ length: n }, () => [0, 1, 0x7f, 0x80, 0xff, draw(256)][draw(6)]!);
    for (const prefix of [[], [0x66], [0xf2], [0xf3], [0xf0], [0x64], [0x67], [0x2e]]) {
      for (const two of [false, true]) {
        for (let opcode = 0; opcode < 256; opcode++) {
          // All the one-byte opcodes that an ordinary program has, of the others a sample.
          if ((prefix.length > 0 || two) && draw(4) !== 0) continue;
          tried([...prefix, ...(two ? [0x0f] : []), opcode, draw(256), ...values(24)], 1);
        }
      }
    }
    expect(made).toBeGreaterThan(all / 3);
  });
  test('whole blocks: flags, fused jumps, links and what ends them', () => {
    const quick = new Bench(), slow = new Bench(), draw = generator(0x777);
    slow.engine.blocks.quick = false;
    const pieces = [[0x40], [0x01, 0xd8], [0x83, 0xf8, 7], [0x85, 0xc0], [0x39, 0x5e, 0xf0], [0x8b, 0x44, 0x8e, 4], [0xb9, 1, 2, 3, 4], [0xc6, 0x05, 0, 0x50, 0, 0, 9], [0xf3, 0xa4], [0x0f, 0x94, 0xc0], [0x11, 0xc1],
      [0x75, 4], [0x74, 0xfa], [0x0f, 0x8c, 5, 0, 0, 0], [0xeb, 1], [0xe8, 3, 0, 0, 0], [0xe2, 0xf0], [0xe3, 2], [0xc3], [0xfb], [0xcd, 0x80], [0xf4], [0xe4, 0x21], [0x66, 0x05, 0xff, 0x7f], [0xf7, 0xd8], [0x0f, 0xa2], [0xf0, 0x01, 0x06]];
    let made = 0;
    for (let n = 0; n < 600; n++) {
      const code: number[] = [];
      while (code.length < 40) code.push(...pieces[draw(pieces.length)]!);
      for (const b of [quick, slow]) b.load(AT & ~0xfff, new Uint8Array(4096).fill(0xf4));
      for (const b of [quick, slow]) b.load(AT, code);
      const limit = draw(3) === 0 ? 1 + draw(12) : 0, of = records(quick, FLAT, limit), expected = records(slow, FLAT, limit);
      if (of.made) made++;
      // A block that leads to itself is the only one there: its link is the address of its record.
      const plain = (words: number[][]): number[][] => words.map((record) => record.map((word) => word >= quick.board.enginePrivateBase(0) ? -1 : word));
      expect({ ...of, made: 0, words: plain(of.words) }, `program ${n}`).toEqual({ ...expected, made: 0, words: plain(expected.words) });
    }
    expect(made).toBeGreaterThan(500);
  });
  test('rows: blocks are found, wanted, dropped with their page and forgotten, whatever shares their hash', () => {
    const b = new Bench(), { blocks } = b.engine, draw = generator(0x5eed), live = new Map<number, number>(), user = FLAT & ~MODE.DS_FLAT;
    const from = 0x10000, pages = 24, kindAt = (record: number): number => new Int32Array(b.board.buffer, record, 1)[0]! & 0xffff;
    b.load(from, Uint8Array.from({ length: pages * 4096 }, (_, i) => i & 1 ? 0xc3 : 0x40)); // INC EAX; RET
    let rows = 0, dropped = 0;
    for (let n = 0; n < 60_000; n++) {
      const physical = from + draw(pages * 4096 - 32), mode = draw(2) === 0 ? FLAT : user, key = physical * 512 + mode, known = live.get(key);
      if (draw(400) === 0) {
        const page = physical >>> 12;
        blocks.dropPage(page);
        for (const [other, record] of live) if (Math.floor(other / 512) >>> 12 === page) { expect(kindAt(record)).toBe(0); live.delete(other); dropped++; }
        continue;
      }
      if (draw(20_000) === 0) { blocks.reset(); live.clear(); continue; }
      if (draw(3) === 0) { expect(blocks.find(physical, mode)?.record).toBe(known); continue; }
      const lean = blocks.leanRecord(physical, physical, mode), record = lean !== 0 ? lean : blocks.block(physical, physical, mode, false, 0).record;
      if (lean !== 0) rows++;
      if (known !== undefined) expect(record).toBe(known);
      expect(kindAt(record)).not.toBe(0);
      live.set(key, record);
    }
    expect(rows).toBeGreaterThan(10_000);
    expect(dropped).toBeGreaterThan(1000);
  });
  test('4096 new functions are made of the shapes of one', () => {
    const b = new Bench(), code: number[] = [];
    for (let f = 0; f < 4096; f++) code.push(0xb9, f & 255, f >> 8, 0x5a, 0xc3, 0x01, 0xca, 0x31, 0xd1, 0x40, 0xc3, 0, 0, 0, 0, 0);
    b.load(0x20000, code);
    b.load(0x1000, [0xff, 0xd3, 0x83, 0xc3, 16, 0x4e, 0x75, 0xf8, 0xf4]); // call ebx; add ebx, 16; dec esi; jnz; hlt
    b.registers({ eip: 0x1000, eax: 0, ebx: 0x20000, esi: 4096 });
    expect([b.run(100_000), b.read().eax]).toEqual(['halt', 4096]);
    expect(count(b, 'countCopied')).toBeGreaterThanOrEqual(4070);
    // The last function of a page lies too near its end to be looked at without asking.
    expect(count(b, 'countBlocks')).toBeLessThan(30);
    expect(RECORD_BYTES).toBe(32);
  });
});

const JITS: BenchOptions[] = [{}, { jit: 'on', jitHeat: 500 }];
describe('stores into code', () => {
  /** patches: mov [esi + 1], bl; call esi; add edi, eax; dec ebx; jnz; hlt - and at ESI `code`, whose byte 1 is an operand. */
  const patches = (b: Bench, code: number[], times = 255): void => {
    b.load(0x1000, [0x88, 0x5e, 1, 0xff, 0xd6, 0x01, 0xc7, 0x4b, 0x75, 0xf6, 0xf4]);
    b.load(0x5010, code);
    b.load(0x6000, Uint8Array.from({ length: 256 }, (_, i) => i * 7));
    b.registers({ eip: 0x1000, eax: 0, ecx: 0, edx: 0, esi: 0x5010, edi: 0, ebx: times });
  };
  test.each(JITS)('an immediate is patched: no block dies, none is made, %o', (options) => {
    const b = new Bench(options);
    patches(b, [0xb0, 0, 0xc3]); // mov al, imm8; ret
    b.run(30);
    const before = (['countBlocks', 'countCopied', 'countSmc'] as const).map((field) => count(b, field));
    expect([b.run(100_000), b.read().edi]).toEqual(['halt', 255 * 128]);
    expect(count(b, 'countPatched')).toBeGreaterThanOrEqual(250);
    expect(count(b, 'countSmc')).toBe(before[2]);
    // HLT; and truncated blocks at the ends of slices.
    expect(count(b, 'countBlocks') + count(b, 'countCopied') - before[0]! - before[1]!).toBeLessThan(5);
  });
  test.each<[string, number[], (n: number) => number]>([
    ['a sign-extended byte', [0x6a, 0, 0x58, 0xc3], (n) => n << 24 >> 24], // push imm8; pop eax; ret
    ['a displacement', [0xa0, 0, 0x60, 0, 0, 0xc3], (n) => n * 7 & 255], // mov al, [6000h + n]; ret
    ['a word', [0xb8, 0, 0x11, 0, 0, 0xc3], (n) => 0x1100 + n],
    ['the immediate of a compare fused to its jump', [0x3c, 0, 0x74, 3, 0xb0, 1, 0xc3, 0xb0, 5, 0xc3], () => NaN], // cmp al, imm8; je; mov al, 1; ret; mov al, 5; ret
  ])('%s', (_what, code, value) => {
    const run = (quick: boolean): { edi: number; patched: number; retired: number; eflags: number } => {
      const b = new Bench();
      b.engine.blocks.quick = quick;
      patches(b, code);
      expect(b.run(100_000)).toBe('halt');
      return { edi: b.read().edi, patched: count(b, 'countPatched'), retired: b.engine.retired, eflags: b.read().eflags };
    };
    const patched = run(true), decoded = run(false);
    expect({ ...patched, patched: 0 }).toEqual(decoded);
    expect(patched.patched).toBeGreaterThanOrEqual(254);
    const sum = Array.from({ length: 255 }, (_, i) => value(i + 1)).reduce((a, c) => a + c, 0);
    if (!Number.isNaN(sum)) expect(patched.edi | 0).toBe(sum);
  });
  test('an opcode, a jump, more than one instruction, a helper: the block dies', () => {
    for (const [code, store] of [
      [[0x40, 0xc3], [0xc6, 0x06, 0x43]], // inc eax becomes inc ebx
      [[0xeb, 0, 0x40, 0xc3], [0xc6, 0x46, 0x01, 1]], // a jump leads elsewhere
      [[0xb0, 1, 0xb3, 2, 0xc3], [0x66, 0xc7, 0x46, 1, 9, 0xb7]], // mov al, 9; mov bh, 2
      [[0xe4, 0x21, 0xc3], [0xc6, 0x46, 0x01, 0x40]], // in al, 21h
    ] as const) {
      const outcome = (quick: boolean): unknown => {
        const b = new Bench();
        b.engine.blocks.quick = quick;
        b.load(0x1000, [0xff, 0xd6, ...store, 0xff, 0xd6, 0xf4]);
        b.load(0x5010, code);
        b.registers({ eip: 0x1000, eax: 0, ebx: 0, esi: 0x5010 });
        expect(b.run(1000)).toBe('halt');
        expect([count(b, 'countPatched'), count(b, 'countSmc')]).toEqual([0, 1]);
        return [b.read(), b.engine.retired, b.bus.log];
      };
      expect(outcome(true)).toEqual(outcome(false));
    }
  });
  test('blocks that begin in different places, and one that sees the byte as an opcode', () => {
    const run = (quick: boolean): unknown => {
      const b = new Bench();
      b.engine.blocks.quick = quick;
      // At 5010h: mov eax, imm32; ret. From 5011h on the immediate is code: nop; nop; nop; ret.
      b.load(0x5010, [0xb8, 0x90, 0x90, 0x90, 0xc3, 0xc3]);
      b.load(0x1000, [0xff, 0xd6, 0x46, 0xff, 0xd6, 0xc6, 0x06, 0x43, 0xff, 0xd6, 0x4e, 0xff, 0xd6, 0xf4]); // call esi; inc esi; call esi; mov [esi], 43h; call esi; dec esi; call esi; hlt
      b.registers({ eip: 0x1000, eax: 0, ebx: 0, esi: 0x5010 });
      expect(b.run(1000)).toBe('halt');
      expect(b.read()).toMatchObject({ eax: 0xc3909043, ebx: 1 });
      return [b.read(), b.engine.retired];
    };
    expect(run(true)).toEqual(run(false));
  });
  test('the running block patches what it comes to next, cut anywhere', () => {
    const code = [0xc6, 0x06, 0x21, 0x40, 0xb3, 0, 0x00, 0xd8, 0x80, 0x06, 3, 0x4a, 0x75, 0xf2, 0xf4]; // mov [esi], 21h; inc eax; mov bl, imm; add al, bl; add byte [esi], 3; dec edx; jnz; hlt
    const run = (piece: number, options: BenchOptions): unknown => {
      const b = new Bench(options);
      b.load(0x1000, code);
      b.registers({ eip: 0x1000, eax: 0, ebx: 0, edx: 40, esi: 0x1005 });
      for (let n = 0; n < 2000 && b.run(piece) !== 'halt'; n++) { /* on */ }
      return [b.read(), b.engine.retired, b.peek(0x1000, code.length)];
    };
    const whole = run(100_000, {});
    for (const options of JITS) for (let piece = 1; piece < 24; piece++) expect(run(piece, options), `${piece} at a time`).toEqual(whole);
  });
  test('an instruction that stores over its own operands, in pieces', () => {
    for (const [code, at] of [
      [[0x0f, 0x11, 0x05, ...le32(0x5013)], 0x5013], // movups [5013h], xmm0: the first piece is its displacement
      [[0xdb, 0x3d, ...le32(0x5012)], 0x5012], // fstp tbyte [5012h]
      [[0xc7, 0x05, ...le32(0x5016), ...le32(0x11223344)], 0x5016], // mov dword [5016h], 11223344h: its immediate
      [[0xc7, 0x05, ...le32(0x5012), ...le32(0x6000)], 0x5012], // mov dword [5012h], 6000h: its displacement
    ] as const) {
      const outcome = (quick: boolean): unknown => {
        const b = new Bench();
        b.engine.blocks.quick = quick;
        b.words[S.cr0 >> 2] = b.words[S.cr0 >> 2]! & ~4; b.words[S.cr4 >> 2] = 0x600;
        b.engine.stateChanged();
        b.xmm(0).set([0, 0x60, 0, 0, 0x90, 0x90, 0x90, 0x90, 0xf4, 0xf4, 0xf4, 0xf4, 1, 2, 3, 4]);
        b.load(0x5000, [0xd9, 0xe8, 0xd9, 0xe8, ...new Array<number>(12).fill(0x90), ...code, ...new Array<number>(24).fill(0xf4)]); // fld1 x 2
        // Once elsewhere, without harm: the form is compiled then, and here the block is one of shapes.
        b.load(0x4000, [0xd9, 0xe8, 0xd9, 0xe8, ...new Array<number>(12).fill(0x90), ...code.slice(0, 1 + (code[0] === 0xdb ? 1 : code[0] === 0xc7 ? 1 : 2)), ...le32(0x7000), ...code.slice(code[0] === 0x0f ? 7 : 6), ...new Array<number>(24).fill(0xf4)]);
        for (const start of [0x4000, 0x5000]) {
          b.words[S.runState >> 2] = 0;
          b.registers({ eip: start, eax: 0 });
          b.run(100);
        }
        return [b.read(), b.fault, b.peek(0x5000, 64), b.peek(0x6000, 32), b.engine.retired, at];
      };
      expect(outcome(true)).toEqual(outcome(false));
    }
  });
  test('another vCPU runs the new operand', () => {
    const board = createBoard({ cpus: 2, memoryMiB: 4, viewsPerCpu: 4 }), a = new Bench({ board, cpu: 0 }), b = new Bench({ board, cpu: 1 });
    a.load(0x5010, [0xb0, 1, 0xc3]);
    const call = (bench: Bench): number => {
      bench.board.ram.set([0xff, 0xd6, 0xf4], 0x3000);
      bench.words[S.runState >> 2] = 0;
      bench.registers({ eip: 0x3000, eax: 0, esi: 0x5010, esp: 0x9000 });
      bench.engine.run(100);
      return bench.read().eax;
    };
    expect([call(a), call(b)]).toEqual([1, 1]);
    a.load(0x2000, [0xc6, 0x46, 1, 7, 0xf4]);
    for (const [writer, other] of [[a, b], [b, a], [a, b]] as const) {
      const value = other.read().eax + 5;
      writer.load(0x2000, [0xc6, 0x46, 1, value, 0xf4]);
      writer.words[S.runState >> 2] = 0;
      writer.registers({ eip: 0x2000, esi: 0x5010 });
      writer.engine.run(100);
      expect([call(writer), call(other)]).toEqual([value, value]);
    }
    expect(a.words[S.countPatched >> 2]! + b.words[S.countPatched >> 2]!).toBeGreaterThan(0);
  });
  test('a segment that is not flat is another mode of the same bytes', () => {
    const b = new Bench();
    b.load(0x5010, [0xa1, 0, 0x60, 0, 0, 0xf4]); // mov eax, [6000h]
    b.load(0x6000, [1, 0, 0, 0]); b.load(0x6100, [2, 0, 0, 0]);
    const run = (): number => { b.words[S.runState >> 2] = 0; b.registers({ eip: 0x5010 }); b.run(10); return b.read().eax; };
    expect(run()).toBe(1);
    b.engine.cpu.setSegment(SEG.DS, 0x18, 0x100, -1, 0xc093);
    b.engine.stateChanged();
    expect(run()).toBe(2);
  });
});
