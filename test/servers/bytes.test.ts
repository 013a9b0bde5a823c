// Heap, pools, text, CRC, bitmaps, command line.
import { describe, expect, it } from 'vitest';
import { crc32 as zlibCrc } from 'node:zlib';
import { guest, GuestFault, type Guest } from './harness.ts';

const HEAP = 0x400000, AT = 0x200000;
async function start(): Promise<Guest> { const g = await guest('lib'); g.fn['init']!(HEAP, 0x40000); return g; }

describe('heap', () => {
  it('gives zeroed, disjoint, aligned memory and reuses what is freed', async () => {
    const g = await start();
    const live: { at: number; bytes: number }[] = [];
    let rng = 7;
    for (let n = 0; n < 2000; n++) {
      rng = (Math.imul(rng, 1664525) + 1013904223) >>> 0;
      if (live.length > 20 || (rng & 0x300) === 0) { const k = live.splice((rng >>> 10) % Math.max(1, live.length), 1)[0]; if (k) g.fn['release']!(k.at); continue; }
      const bytes = 1 + ((rng >>> 12) % ((rng & 15) === 0 ? 6000 : 600));
      const at = g.fn['allocate']!(bytes);
      expect(at).not.toBe(0);
      expect(at % 16).toBe(0);
      expect(g.u8.subarray(at, at + bytes).every((b) => b === 0)).toBe(true);
      for (const k of live) expect(at + bytes <= k.at || k.at + k.bytes <= at).toBe(true);
      g.u8.fill(0xee, at, at + bytes);
      live.push({ at, bytes });
    }
  });
  it('says 0 when it is used up, and faults on a double free', async () => {
    const g = await start();
    expect(g.fn['allocate']!(0x50000)).toBe(0);
    expect(g.fn['takePages']!(100)).toBe(0);
    const pages = g.fn['takePages']!(2);
    expect(pages % 4096).toBe(0);
    const p = g.fn['allocate']!(40);
    g.fn['release']!(p);
    expect(() => g.fn['release']!(p)).toThrow(GuestFault);
  });
  it('pools hand out exactly their number of elements', async () => {
    const g = await start();
    const pool = g.fn['poolNew']!(20, 3);
    const e = [0, 1, 2].map(() => g.fn['poolTake']!(pool));
    expect(new Set(e).size).toBe(3);
    expect(g.fn['poolTake']!(pool)).toBe(0);
    g.fn['poolGive']!(pool, e[1]!);
    expect(g.fn['poolTake']!(pool)).toBe(e[1]);
  });
});

describe('bytes', () => {
  it('formats numbers and cuts what does not fit', async () => {
    const g = await start();
    const text = (room: number, n: number, s: number): string => { const l = g.fn['format']!(AT, room, n, s); return Buffer.from(g.u8.subarray(AT, AT + l)).toString('latin1'); };
    expect(text(100, 4294967295, -2147483648)).toBe('n=4294967295 s=-2147483648 h=0xffffffff p=4294967295');
    expect(text(100, 0, 7)).toBe('n=0 s=7 h=0x00000000 p=     0');
    g.u8[AT + 6] = 0x55;
    expect(text(6, 12345, 0)).toBe('n=1234');
    expect(g.u8[AT + 6]).toBe(0x55);
  });
  it('computes the CRC-32 of zlib', async () => {
    const g = await start();
    const data = Buffer.from(Array.from({ length: 1000 }, (_, n) => (n * 7) & 255));
    g.u8.set(data, AT);
    for (const n of [0, 1, 9, 1000]) expect(g.fn['crc32']!(AT, n) >>> 0).toBe(zlibCrc(data.subarray(0, n)));
  });
  it('fingerprints: every flipped bit is seen, two flips of the same bit in two words as well, and where the text lies does not matter', async () => {
    const g = await start(), bytes = 275;
    const of = (at: number, n = bytes): string => { const low = g.fn['fingerprint']!(at, n) >>> 0; return `${low} ${g.fn['fingerprintHigh']!() >>> 0}`; };
    for (let n = 0; n < bytes; n++) g.u8[AT + n] = (n * 77 + (n >> 3)) & 255;
    const right = of(AT);
    for (let bit = 0; bit < bytes * 8; bit++) {
      g.u8[AT + (bit >> 3)]! ^= 1 << (bit & 7);
      expect(of(AT), `bit ${bit}`).not.toBe(right);
      g.u8[AT + (bit >> 3)]! ^= 1 << (bit & 7);
    }
    for (const bit of [0, 15, 31]) for (let first = 0; first < 64; first++) for (let second = first + 1; second < 64; second++) {
      const flip = (): void => { for (const word of [first, second]) g.u32[(AT >>> 2) + word]! ^= 1 << bit; };
      flip();
      expect(of(AT), `bit ${bit} of words ${first} and ${second}`).not.toBe(right);
      flip();
    }
    g.u8.copyWithin(AT + 4096, AT, AT + bytes);
    expect(of(AT + 4096)).toBe(right);
    expect(of(AT, bytes - 1)).not.toBe(right);
  });
  it('finds the first clear bit and counts bits, up to the last partial word', async () => {
    const g = await start();
    g.u32.fill(0xffffffff, AT >>> 2, (AT >>> 2) + 4);
    g.u32[(AT >>> 2) + 1] = 0xffff7fff;
    expect(g.fn['bitmapFindClear']!(AT, 128, 0)).toBe(47);
    expect(g.fn['bitmapFindClear']!(AT, 47, 0)).toBe(-1);
    expect(g.fn['bitmapFindClear']!(AT, 128, 48)).toBe(-1);
    expect(g.fn['bitmapCount']!(AT, 50)).toBe(49);
  });
  it('finds options of the command line as whole words', async () => {
    const g = await start();
    const option = (line: string): string | undefined => {
      g.u8.set(Buffer.from(`${line}\0`), AT);
      const v = g.fn['option']!(AT, 0x100000);
      if (v === 0) return undefined;
      return Buffer.from(g.u8.subarray(v, v + 100)).toString('latin1').split(/[\0 ]/)[0];
    };
    expect(option('place=pin run=sh%00-c console=com1')).toBe('sh%00-c');
    expect(option('prerun=1 runs=2')).toBeUndefined();
    expect(option('')).toBeUndefined();
    expect(option('run=')).toBe('');
  });
  it('range checks do not overflow', async () => {
    const g = await start();
    expect(g.fn['inRange']!(0xfffffff0, 0x20, 0x1000)).toBe(0);
    expect(g.fn['inRange']!(0x10, 0xfffffff8, 0x1000)).toBe(0);
    expect(g.fn['inRange']!(0xff0, 0x10, 0x1000)).toBe(1);
    expect(g.fn['inRange']!(0xff1, 0x10, 0x1000)).toBe(0);
  });
});
