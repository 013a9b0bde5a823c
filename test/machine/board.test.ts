import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import {
  attachBoard, BoardError, createBoard, DEVICE_BASE, DEVICE_BYTES, DIRTY_MAP_BASE, ENGINE_PRIVATE_BASE, ENGINE_PRIVATE_BYTES, ENGINE_SHARED_BASE, ENGINE_SHARED_BYTES,
  GUEST_RAM_BASE, HEADER, HEADER_BASE, HOST_RING_BASE, HOST_RING_BYTES, LAPIC_BASE, LAPIC_BYTES, layoutBoard, MACHINE_BLOCK_BASE, MACHINE_BLOCK_BYTES, MAX_CPUS, MAX_DEVICES,
  PAGE_KIND_HOLE, PAGE_KIND_RAM, PAGE_KIND_ROM, PAGE_MAP_BASE, PAGE_MAP_PAGES, TRACE_BASE, TRACE_BYTES, VCPU_BASE, VCPU_BYTES,
} from '../../vm/board.ts';
import { CHANNELS } from '../../vm/devices/chipset.ts';
import { DeviceLock } from '../../vm/devices/lock.ts';
import { derived, f64, FieldList, u32, u8s } from '../../vm/fields.ts';
import { ByteRing } from '../../vm/io/ring.ts';

describe('board layout', () => {
  it('areas do not overlap and lie below guest RAM', () => {
    const areas: [string, number, number][] = [
      ['header', HEADER_BASE, HEADER.bytes], ['machine blocks', MACHINE_BLOCK_BASE, MAX_CPUS * MACHINE_BLOCK_BYTES], ['vCPU blocks', VCPU_BASE, MAX_CPUS * VCPU_BYTES],
      ['LAPICs', LAPIC_BASE, MAX_CPUS * LAPIC_BYTES], ['devices', DEVICE_BASE, MAX_DEVICES * DEVICE_BYTES], ['page map', PAGE_MAP_BASE, PAGE_MAP_PAGES], ['dirty map', DIRTY_MAP_BASE, PAGE_MAP_PAGES],
      ['rings', HOST_RING_BASE, CHANNELS * HOST_RING_BYTES], ['trace', TRACE_BASE, MAX_CPUS * TRACE_BYTES], ['engine shared', ENGINE_SHARED_BASE, ENGINE_SHARED_BYTES],
      ['engine private', ENGINE_PRIVATE_BASE, MAX_CPUS * ENGINE_PRIVATE_BYTES], ['guest RAM', GUEST_RAM_BASE, 0],
    ];
    for (let k = 1; k < areas.length; k++) expect(areas[k][1], `${areas[k - 1][0]} runs into ${areas[k][0]}`).toBeGreaterThanOrEqual(areas[k - 1][1] + areas[k - 1][2]);
  });

  it('views follow RAM, aligned, within 4 GiB, for every size the user may ask for', () => {
    for (const cpus of [1, 2, 4, 8]) for (const memoryMiB of [2, 128, 1024]) {
      const layout = layoutBoard({ cpus, memoryMiB });
      expect(layout.viewBase).toBeGreaterThanOrEqual(GUEST_RAM_BASE + memoryMiB * 2 ** 20);
      expect(layout.totalBytes).toBeLessThanOrEqual(2 ** 32);
    }
  });

  it('refuses impossible machines in words', () => {
    expect(() => layoutBoard({ cpus: 9, memoryMiB: 64 })).toThrow(BoardError);
    expect(() => layoutBoard({ cpus: 0, memoryMiB: 64 })).toThrow('1 to 8');
    expect(() => layoutBoard({ cpus: 4, memoryMiB: 4000 })).toThrow(/at most 1664 MiB with 4 CPUs/);
    expect(() => layoutBoard({ cpus: 1, memoryMiB: 1 })).toThrow(/at least 2 MiB/);
  });

  it('another thread attaches to the same board; anything else is refused', () => {
    const board = createBoard({ cpus: 2, memoryMiB: 4, viewsPerCpu: 1 });
    board.ram[0x1234] = 7;
    const twin = attachBoard(board.memory);
    expect([twin.cpus, twin.ram[0x1234], twin.layout.viewsPerCpu]).toEqual([2, 7, 1]);
    board.header.version = 99;
    expect(() => attachBoard(board.memory)).toThrow(/version 99/);
    expect(() => attachBoard(new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true }))).toThrow(/no Kintsugi board/);
  });

  it('the physical map has RAM, the VGA hole and the firmware area', () => {
    const { pageMap } = createBoard({ cpus: 1, memoryMiB: 4, viewsPerCpu: 1 });
    expect([0, 0x9f, 0xa0, 0xdf, 0xe0, 0xff, 0x100, 0x3ff, 0x400].map((page) => pageMap[page]))
      .toEqual([PAGE_KIND_RAM, PAGE_KIND_RAM, PAGE_KIND_HOLE, PAGE_KIND_HOLE, PAGE_KIND_ROM, PAGE_KIND_ROM, PAGE_KIND_RAM, PAGE_KIND_RAM, PAGE_KIND_HOLE]);
  });
});

describe('field lists', () => {
  it('place fields aligned and give views of shared memory', () => {
    const list = new FieldList('test', { a: u32, b: f64, c: u8s(3), d: derived(u32) });
    expect(list.placed.map(({ name, offset }) => [name, offset])).toEqual([['a', 0], ['b', 8], ['c', 16], ['d', 20]]);
    const buffer = new SharedArrayBuffer(64);
    const one = list.bind(buffer, 8);
    const two = list.bind(buffer, 8);
    one.a = -1; one.b = 2 ** 50; one.c[2] = 5;
    expect([two.a, two.b, two.c[2]]).toEqual([0xffff_ffff, 2 ** 50, 5]);
    expect(() => list.bind(buffer, 4)).toThrow(/unaligned/);
  });
});

describe('device lock', () => {
  const contender = `const { workerData: { buffer, url }, parentPort } = require('node:worker_threads');
    import(url).then(({ DeviceLock }) => {
      const words = new Int32Array(buffer);
      const lock = new DeviceLock(words);
      Atomics.store(words, 4, 1); Atomics.notify(words, 4);
      lock.acquire(5);
      parentPort.postMessage('got it');
      Atomics.wait(words, 5, 0);
      lock.release();
      parentPort.postMessage('free');
    });`;

  it('a contender waits, and gets it on release or when the dead owner\'s hold is broken', { timeout: 60_000 }, async () => {
    for (const how of ['release', 'break'] as const) {
      const words = new Int32Array(new SharedArrayBuffer(32));
      const lock = new DeviceLock(words);
      lock.acquire(3);
      expect(lock.owner).toBe(3);
      const worker = new Worker(contender, { eval: true, workerData: { buffer: words.buffer, url: new URL('../../vm/devices/lock.ts', import.meta.url).href }, execArgv: [] });
      const next = (): Promise<unknown> => new Promise((resolve) => worker.once('message', resolve));
      const got = next();
      await Atomics.waitAsync(words, 4, 0).value;
      const other = new DeviceLock(words);
      expect(other.breakFor(2)).toBe(false);
      if (how === 'release') lock.release();
      else expect(other.breakFor(3)).toBe(true);
      expect(await got).toBe('got it');
      if (how === 'break') lock.release(); // a late release does not take it from the new owner
      expect(other.owner).toBe(5);
      const free = next();
      Atomics.store(words, 5, 1); Atomics.notify(words, 5);
      expect(await free).toBe('free');
      expect(other.owner).toBe(-1);
      await worker.terminate();
    }
  });
});

describe('host ring', () => {
  it('keeps order across wrap-around and says when it was empty', () => {
    const board = createBoard({ cpus: 1, memoryMiB: 2, viewsPerCpu: 1 });
    const producer = new ByteRing(board, 1);
    const consumer = new ByteRing(board, 1);
    expect(producer.push(1)).toBe(true);
    expect(producer.push(2)).toBe(false);
    expect([...consumer.drain()]).toEqual([1, 2]);
    let next = 0;
    let seen = 0;
    for (let round = 0; round < 5; round++) {
      for (let k = 0; k < 50_000; k++) producer.push(next++ & 0xff);
      for (const byte of consumer.drain()) if (byte !== (seen++ & 0xff)) throw new Error(`byte ${seen} is ${byte}`);
    }
    expect(seen).toBe(250_000);
    expect(consumer.drain().length).toBe(0);
  });
});
