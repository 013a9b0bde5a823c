/**
 * Many requests at a time: stacks switch at every `pause` (JSPI plays the fibers), transfers end later and in random order. Each client works in
 * a directory of its own against its own expectation; all read one shared file. The device checks what fs promises: never two transfers on one
 * cache slot, never two outstanding writes on one sector.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { setFlagsFromString } from 'node:v8';
import { FS } from '../../servers/protocols/fs.ts';
import { Ext2Reader } from '../../tools/image/reader.ts';
import { buildExt2 } from '../../tools/image/writer.ts';
import { compileGuest, withIntrinsics } from './compile.ts';
import { pattern } from './helpers.ts';

setFlagsFromString('--experimental-wasm-jspi');
type Export = (...args: number[]) => number;
interface Jspi { promising(f: unknown): (...args: number[]) => Promise<number>; Suspending: new (f: () => Promise<void>) => WebAssembly.ImportValue }

const MiB = 1 << 20, HEAP = MiB, STATE = 16 * MiB, CACHE = 24 * MiB, SHARED = 200 * MiB, LANE = 131072; // bytes of the shared area for each client
interface Transfer { slot: number; count: number; operation: number; sector: number; sectors: number; offset: number }

class Machine {
  readonly memory = new WebAssembly.Memory({ initial: 4096, maximum: 4096 });
  readonly u8 = new Uint8Array(this.memory.buffer);
  readonly disk: Uint8Array;
  readonly #pending: Transfer[] = [];
  #waiters: (() => void)[] = [];
  #exports!: Record<string, Export>;
  #requestOn!: (...args: number[]) => Promise<number>;
  #random: number;
  pauses = 0;
  most = 0;

  constructor(disk: Uint8Array, seed: number) { this.disk = disk; this.#random = seed; }
  next(below: number): number { this.#random = (Math.imul(this.#random, 1664525) + 1013904223) >>> 0; return (this.#random >>> 8) % below; }
  get exports(): Record<string, Export> { return this.#exports; }

  async start(module: WebAssembly.Module, cacheBytes: number): Promise<void> {
    const { promising, Suspending } = WebAssembly as unknown as Jspi;
    let window = false, seconds = 1_780_000_000;
    const device = {
      pause: new Suspending(() => new Promise((resolve) => { if (window) throw new Error('pause inside the window'); this.pauses++; this.#waiters.push(resolve); })),
      windowOpen: () => { if (window) throw new Error('window opened twice'); window = true; },
      windowClose: () => { if (!window) throw new Error('window closed twice'); window = false; },
      clock: () => seconds++,
      submit: (operation: number, sector: number, sectors: number, offset: number): number => {
        if (window) throw new Error('device request inside the window');
        const t: Transfer = { slot: 0, count: 0, operation, sector, sectors, offset };
        for (const other of operation === 4 ? [] : this.#pending) {
          if (other.operation === 4) continue;
          if (offset < other.offset + other.sectors * 512 && other.offset < offset + sectors * 512) throw new Error('two transfers on one cache slot');
          if (operation === 3 && other.operation === 3 && sector < other.sector + other.sectors && other.sector < sector + sectors) throw new Error('two outstanding writes on one sector');
        }
        this.#pending.push(t);
        this.most = Math.max(this.most, this.#pending.length);
        return -1;
      },
    };
    const instance = new WebAssembly.Instance(module, withIntrinsics(module, this.memory, { env: { memory: this.memory }, device }));
    this.#exports = instance.exports as unknown as Record<string, Export>;
    this.#requestOn = promising(instance.exports['requestOn']);
    const mounted = this.drive(promising(instance.exports['start'])(this.disk.length, 0, HEAP, STATE - HEAP, STATE, MiB, CACHE, cacheBytes, SHARED, MiB));
    expect(await mounted).toBe(0);
  }
  /** Ends transfers in random order until `work` is done. */
  async drive<T>(work: Promise<T>): Promise<T> {
    let done = false;
    const finished = work.finally(() => { done = true; });
    finished.catch(() => undefined);
    while (!done) {
      for (let n = 0; n < 8; n++) await Promise.resolve();
      if (done) break;
      this.#finishOne();
      const waiters = this.#waiters; this.#waiters = [];
      for (const wake of waiters) wake();
      await new Promise((resolve) => setImmediate(resolve));
    }
    return finished;
  }
  #finishOne(): void {
    for (let n = this.next(3); n >= 0 && this.#pending.length > 0; n--) {
      const [t] = this.#pending.splice(this.next(this.#pending.length), 1) as [Transfer];
      if (t.operation === 2) this.u8.set(this.disk.subarray(t.sector * 512, (t.sector + t.sectors) * 512), CACHE + t.offset);
      if (t.operation === 3) this.disk.set(this.u8.subarray(CACHE + t.offset, CACHE + t.offset + t.sectors * 512), t.sector * 512);
      this.#exports['complete']!(t.operation === 4 ? 0 : t.offset / this.slotBytes(), t.operation === 4 ? 0 : t.sectors * 512 / this.slotBytes(), t.operation, 0);
    }
  }
  /** Bytes of a cache slot: what the guest counts in at the moment (1 KiB while it looks for the superblock). */
  slotBytes(): number { return 1 << this.#exports['shift']!(); }
  async request(op: number, lane: number, seq: number, code: keyof typeof FS.ops, args: readonly number[]): Promise<number> {
    const [a0 = 0, a1 = 0, a2 = 0, a3 = 0, a4 = 0, a5 = 0] = args;
    return this.#requestOn(op, FS.ops[code].op, lane, seq, a0, a1, a2, a3, a4, a5);
  }
}

let module: WebAssembly.Module;
beforeAll(async () => { module = await WebAssembly.compile(await compileGuest('test/fs/guest/harness.ts', ['servers/fs', 'servers/lib', 'test/fs/guest']) as Uint8Array<ArrayBuffer>); });

const SHARED_FILE = pattern(77, 300_000);
async function client(m: Machine, lane: number, steps: number): Promise<void> {
  const op = m.exports['opNew']!(), at = lane * LANE, files = new Map<string, Uint8Array>();
  let seq = 0;
  const call = async (code: keyof typeof FS.ops, args: readonly number[]): Promise<number> => m.request(op, lane, ++seq, code, args);
  const path = (text: string, where = at): number => { m.u8.set(Buffer.from(text), SHARED + where); return text.length; };
  const good = (status: number, what: string): void => { if (status !== 0) throw new Error(`client ${lane}, ${what}: status ${status}`); };
  good(await call('mkdir', [2, at, path(`/c${lane}`), 0o755]), 'mkdir');
  for (let step = 0; step < steps; step++) {
    const name = `/c${lane}/f${m.next(6)}`, have = files.get(name);
    const kind = m.next(10);
    if (kind < 4) {
      good(await call('open', [lane, 2, at, path(name), 0x42, 0o644]), 'open');
      const inode = m.exports['resultOf']!(op, 0), position = m.next(40_000), data = pattern(m.next(256), 1 + m.next(60_000));
      m.u8.set(data, SHARED + at + 4096);
      good(await call('write', [inode, position, 0, at + 4096, data.length]), 'write');
      expect(m.exports['resultOf']!(op, 0)).toBe(data.length);
      const grown = new Uint8Array(Math.max(have?.length ?? 0, position + data.length));
      if (have !== undefined) grown.set(have);
      grown.set(data, position);
      files.set(name, grown);
      good(await call('close', [lane]), 'close');
    } else if (kind < 6) {
      const shared = kind === 4, what = shared ? '/shared' : name, expected = shared ? SHARED_FILE : have;
      const status = await call('stat', [2, at, path(what), at + 4096, 0]);
      if (expected === undefined) { expect(status).toBe(-2); continue; }
      good(status, 'stat');
      const inode = m.exports['resultOf']!(op, 0), position = m.next(expected.length), bytes = Math.min(60_000, expected.length - position);
      good(await call('read', [inode, position, 0, at + 4096, bytes]), 'read');
      expect(m.exports['resultOf']!(op, 0)).toBe(bytes);
      expect(Buffer.compare(m.u8.subarray(SHARED + at + 4096, SHARED + at + 4096 + bytes), expected.subarray(position, position + bytes)), `client ${lane} reads ${what} at ${position}`).toBe(0);
    } else if (kind === 6) { expect(await call('unlink', [2, at, path(name)])).toBe(have === undefined ? -2 : 0); files.delete(name); }
    else if (kind === 7) {
      const to = `/c${lane}/f${m.next(6)}`;
      expect(await call('rename', [2, at, path(name), 2, at + 2048, path(to, at + 2048)])).toBe(have === undefined ? -2 : 0);
      if (have !== undefined && to !== name) { files.delete(name); files.set(to, have); }
    } else if (kind === 8 && have !== undefined) {
      good(await call('stat', [2, at, path(name), at + 4096, 0]), 'stat');
      const size = m.next(have.length + 5000), cut = new Uint8Array(size);
      good(await call('truncate', [m.exports['resultOf']!(op, 0), size, 0]), 'truncate');
      cut.set(have.subarray(0, size));
      files.set(name, cut);
    } else if (m.next(4) === 0) good(await call('sync', []), 'sync');
  }
  for (const [name, expected] of files) { // everything once more
    good(await call('stat', [2, at, path(name), at + 4096, 0]), 'stat');
    const inode = m.exports['resultOf']!(op, 0);
    good(await call('read', [inode, 0, 0, at + 4096, 120_000]), 'read');
    const got = m.exports['resultOf']!(op, 0);
    expect(got).toBe(Math.min(120_000, expected.length));
    expect(Buffer.compare(m.u8.subarray(SHARED + at + 4096, SHARED + at + 4096 + got), expected.subarray(0, got)), name).toBe(0);
  }
}

describe('concurrent requests', () => {
  it.each([[1024, 300 << 10, 1], [1024, 2 << 20, 2], [4096, 1200 << 10, 3], [4096, 4 << 20, 4]] as const)('%i-byte blocks, %i bytes of cache, seed %i', async (blockSize, cacheBytes, seed) => {
    for (let round = 0; round < (process.env['KINTSUGI_FULL'] ? 20 : 2); round++) {
      const m = new Machine(buildExt2({ entries: [{ kind: 'file', path: '/shared', data: SHARED_FILE }], sizeMiB: 16, blockSize }), seed * 1000 + round);
      await m.start(module, cacheBytes + 4096);
      await m.drive(Promise.all(Array.from({ length: 7 }, (_, lane) => client(m, lane, 60))));
      const op = m.exports['opNew']!();
      expect(await m.drive(m.request(op, 60, 1, 'sync', []))).toBe(0);
      expect(m.exports['check']!()).toBe(0);
      expect(m.pauses).toBeGreaterThan(100);
      expect(m.most).toBeGreaterThan(3);
      expect(new Ext2Reader(m.disk).verify()).toEqual([]);
    }
  }, 240_000);
});
