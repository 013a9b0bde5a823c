// What a driver believes of a device's used ring: only what can be. The device here is the test.
import { beforeEach, describe, expect, it } from 'vitest';
import { guestMemory, guestModule, instantiate } from '../programs/build.ts';

const COMMON = 0x10000000, NOTIFY = 0x11000000, QUEUE = 0x200000, AVAILABLE = QUEUE + 4096, USED = QUEUE + 8192;
let guest: Record<string, (...a: number[]) => number>, view: DataView, registers: Map<number, number>, doorbells: number[], resets: boolean;

beforeEach(async () => {
  const memory = guestMemory();
  view = new DataView(memory.buffer);
  registers = new Map([[COMMON + 24, 64]]);
  doorbells = [];
  resets = true;
  const read = (at = 0): number => registers.get(at) ?? 0, write = (at = 0, value = 0): undefined => { if (at === COMMON + 20 && !resets) return; if (at >= NOTIFY) doorbells.push(value); else registers.set(at, value); };
  const noop = (): undefined => undefined;
  guest = instantiate(await guestModule('test/net/guest/virtqueue.ts'), memory, { mmioRead8: read, mmioRead16: read, mmioRead32: read, mmioWrite8: write, mmioWrite16: write, mmioWrite32: write, barrier: noop, lockOr: noop, sys_enter: () => 0 });
  guest['reset']!(COMMON);
});
const open = (least = 4, bytes = 64, multiplier = 4): boolean => guest['open']!(QUEUE, NOTIFY, bytes, multiplier, least) !== 0;
/** The device says: these chains are back. */
let used = 0;
const back = (...entries: (readonly [id: number, length: number])[]): void => {
  for (const [id, length] of entries) {
    const e = USED + 4 + (used & (guest['size']!() - 1)) * 8;
    view.setUint32(e, id, true); view.setUint32(e + 4, length, true);
    used = (used + 1) & 0xffff;
  }
  view.setUint16(USED + 2, used, true);
};
beforeEach(() => { used = 0; });
const takeAll = (): number[] => { const heads: number[] = []; for (let head = guest['take']!(); head >= 0; head = guest['take']!()) heads.push(head); return heads; };

describe('a virtqueue', () => {
  it('does not ring for a device that looks by itself', () => {
    expect(open()).toBe(true);
    view.setUint16(USED, 1, true); // VIRTQ_USED_F_NO_NOTIFY
    guest['give']!(0);
    guest['kick']!();
    expect(doorbells).toEqual([]);
    view.setUint16(USED, 0, true);
    guest['kick']!(); // nothing new
    guest['give']!(2);
    guest['kick']!();
    expect(doorbells).toEqual([0]);
  });
  it('gives chains, rings once for all of them, and takes them back in the order of the device', () => {
    expect(open()).toBe(true);
    for (const head of [0, 2, 4]) guest['give']!(head);
    guest['kick']!(); guest['kick']!();
    expect(doorbells).toEqual([0]);
    expect(view.getUint16(AVAILABLE + 2, true)).toBe(3);
    expect([4, 6, 8].map((at) => view.getUint16(AVAILABLE + at, true))).toEqual([0, 2, 4]);
    back([4, 100], [0, 7]);
    expect(guest['ready']!()).toBe(1);
    expect(guest['take']!()).toBe(4);
    expect(guest['length']!()).toBe(100);
    expect(takeAll()).toEqual([0]);
    expect(guest['outstanding']!()).toBe(1);
    expect(guest['ready']!()).toBe(0);
  });
  it('refuses ids that are none, that are no heads, and that came back already', () => {
    open();
    guest['give']!(0); guest['give']!(2);
    back([1, 4], [0xffffffff, 4], [64, 4], [0, 4], [0, 4], [2, 4]);
    expect(takeAll()).toEqual([0, 2]);
    expect(guest['lies']!()).toBe(4);
    expect(guest['outstanding']!()).toBe(0);
  });
  it('is not kept busy by an index that runs ahead', () => {
    open();
    guest['give']!(0);
    back([0, 4]);
    view.setUint16(USED + 2, 60000, true);
    expect(takeAll()).toEqual([0]); // everything is back: whatever the index says
    guest['give']!(2);
    expect(takeAll()).toEqual([]);
    expect(guest['lies']!()).toBeGreaterThan(1000);
    expect(guest['lies']!()).toBeLessThan(65537);
    expect(guest['outstanding']!()).toBe(1);
  });
  it('goes round: 70,000 chains through a queue of 64', () => {
    open();
    for (let n = 0; n < 70_000; n++) {
      guest['give']!((n * 2) & 63);
      back([(n * 2) & 63, n]);
      if (guest['take']!() !== ((n * 2) & 63) || guest['length']!() !== n) throw new Error(`chain ${n}`);
    }
    expect(guest['lies']!()).toBe(0);
  });
  it('asks for interrupts only when it wants them', () => {
    open();
    guest['interrupts']!(0);
    expect(view.getUint16(AVAILABLE, true)).toBe(1);
    guest['interrupts']!(1);
    expect(view.getUint16(AVAILABLE, true)).toBe(0);
  });
  it('takes the largest power of two of at most 256 entries, and none that is too small', () => {
    for (const [offered, size] of [[64, 64], [100, 64], [256, 256], [1024, 256], [4, 4]] as const) { registers.set(COMMON + 24, offered); expect(open()).toBe(true); expect(guest['size']!()).toBe(size); expect(registers.get(COMMON + 24)).toBe(size); }
    for (const offered of [0, 1, 3]) { registers.set(COMMON + 24, offered); expect(open()).toBe(false); }
  });
  it('wants its doorbell inside the structure', () => {
    registers.set(COMMON + 30, 15);
    expect(open(4, 62)).toBe(true);
    expect(open(4, 61)).toBe(false);
    registers.set(COMMON + 30, 0xffff);
    expect(open(4, 64, 0xffffffff)).toBe(false);
    expect(open(4, 1, 0)).toBe(false);
  });
  it('is not opened on a device that does not reset', () => {
    registers.set(COMMON + 20, 0xf);
    resets = false;
    expect(guest['reset']!(COMMON)).toBe(0);
  });
});
