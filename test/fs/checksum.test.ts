// servers/lib/checksum.ts as compiled: no two flipped bits of a block cancel out, no change within a word goes unseen, and the incremental form says what the whole one says.
import { beforeAll, describe, expect, it } from 'vitest';
import { Random } from '../net/generator.ts';
import { compileGuest } from './compile.ts';

interface Sums { checksum(at: number, bytes: number): number; wordChange(index: number, before: number, after: number): number; changed(sum: number, bytes: number, change: number): number }
let sums: Sums;
let words: Uint32Array;
const AT = 1 << 20;
beforeAll(async () => {
  const memory = new WebAssembly.Memory({ initial: 4096, maximum: 4096 }), module = await WebAssembly.compile(await compileGuest('test/fs/guest/sums.ts', ['servers/lib', 'test/fs/guest']) as Uint8Array<ArrayBuffer>);
  const imports: WebAssembly.Imports = {};
  for (const { module: from, name, kind } of WebAssembly.Module.imports(module)) imports[from] = { ...imports[from], [name]: kind === 'memory' ? memory : (): never => { throw new Error(`${name} was called`); } };
  sums = (await WebAssembly.instantiate(module, imports)).exports as unknown as Sums;
  words = new Uint32Array(memory.buffer, AT, 4096);
}, 120_000);

const FILL: Record<string, (x: Random, n: number) => number> = { zeros: () => 0, ones: () => 0xffff_ffff, 'random words': (x) => x.next(), 'small numbers': (x, n) => n % 7 === 0 ? x.below(4096) : 0 };
describe('the checksum of blocks', () => {
  it.each(Object.keys(FILL).flatMap((name) => [76, 1024, 4096].map((bytes) => [name, bytes] as const)))('%s, %i bytes: every two single flips change it', (name, bytes) => {
    const x = new Random(bytes), count = bytes >> 2;
    for (let n = 0; n < count; n++) words[n] = FILL[name]!(x, n) >>> 0;
    const whole = sums.checksum(AT, bytes) >>> 0, seen = new Map<number, number>();
    const cancelled: string[] = [];
    // Words count independently: two flips in different words cancel if and only if one undoes what the other does. One loop over all flips looks at all pairs of them.
    for (let n = 0; n < count; n++) {
      for (let bit = 0; bit < 32; bit++) {
        const before = words[n]!, change = sums.wordChange(n, before, (before ^ 1 << bit) >>> 0) >>> 0;
        expect(change).not.toBe(0);
        for (const like of [change, -change >>> 0]) { const other = seen.get(like); if (other !== undefined && other !== n) cancelled.push(`words ${other} and ${n}`); }
        seen.set(change, n);
      }
    }
    expect(cancelled).toEqual([]);
    // And what was said about changes is so: flips made, some of them in twos, upper bits above all.
    for (let k = 0; k < 400; k++) {
      const a = x.below(count), b = x.below(count), p = k < 200 ? 31 : x.below(32), q = k < 200 ? 31 : x.below(32);
      if (a === b && p === q) continue;
      const before = [words[a]!, words[b]!];
      words[a]! ^= 1 << p; words[b]! ^= 1 << q;
      expect(sums.checksum(AT, bytes) >>> 0, `bit ${p} of word ${a}, bit ${q} of word ${b}`).not.toBe(whole);
      if (a !== b) expect(sums.changed(whole, bytes, sums.wordChange(a, before[0]!, words[a]!) + sums.wordChange(b, before[1]!, words[b]!) | 0) >>> 0).toBe(sums.checksum(AT, bytes) >>> 0);
      words[b] = before[1]!; words[a] = before[0]!;
    }
    expect(sums.checksum(AT, bytes) >>> 0).toBe(whole);
  });
  it('any change within one word changes it', () => {
    const x = new Random(7);
    for (let k = 0; k < 20_000; k++) {
      const n = x.below(1024), before = x.next() >>> 0, after = x.pick([before ^ x.next(), before ^ 0xffff_0000, before ^ 0x8000_8000, before + 0x1_0001, ~before]) >>> 0;
      if (before !== after) expect(sums.wordChange(n, before, after)).not.toBe(0);
    }
  });
});
