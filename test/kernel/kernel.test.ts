/**
 * The kernel's in-guest suite (microkernel/test, KTAP) on our VM and under QEMU, with one and four CPUs; the length of the fast path, counted
 * exactly by the deterministic VM; and what the kernel says when it dies.
 */
import { beforeAll, describe, expect, test } from 'vitest';
import { buildGuests } from '../../tools/build/guests.ts';
import { hasQemu, runQemu, runVm, type Ktap } from './ktap.ts';

const full = process.env['KINTSUGI_FULL'] !== undefined;
beforeAll(async () => {
  const built = await buildGuests({ names: ['kernel', 'kernel-test'] });
  expect(built.failed).toEqual([]);
});

function green(k: Ktap): void {
  expect(k.failed.join('\n'), k.output.slice(-2000)).toBe('');
  expect(k.passed, k.output.slice(-2000)).toBe(k.planned);
  expect(k.status).toBe(1); // debug exit 0
}

describe('our VM', () => {
  test('the suite passes on one CPU, deterministic; the fast path takes at most 110 instructions each way', async () => {
    const k = await runVm(1, 'deterministic', 'count check');
    green(k);
    for (const path of ['call', 'reply_recv']) for (const words of [0, 3]) for (const space of ['same', 'other']) {
      const count = k.counts.get(`${path} ${words} ${space}`);
      expect(count, `${path}, ${words} words, ${space} Space`).toBeGreaterThan(50);
      expect(count, `${path}, ${words} words, ${space} Space`).toBeLessThanOrEqual(110);
    }
  });
  test('the suite passes on four CPUs, deterministic', async () => green(await runVm(4, 'deterministic')));
  test.runIf(full)('no invariant breaks under hostile calls on four CPUs', async () => green(await runVm(4, 'deterministic', 'check fuzz=2')));
  test.runIf(full)('the suite passes on four CPUs, parallel', async () => green(await runVm(4, 'parallel')));
  test('a write of the kernel to its own text ends in a report with TypeScript lines', async () => {
    const k = await runVm(1, 'deterministic', 'faulttest');
    expect(k.output).toMatch(/KERNEL FAULT: vector 14 error 0x00000003 cr2 0xc0100000/);
    expect(k.output).toMatch(/at microkernel\/kernel\/kernelOnStack \+\d+ \(microkernel\/kernel\.ts:\d+\)/);
    expect(k.status).toBe(255); // debug exit 0x7f
  });
  test('a kernel stack overflow ends in a double fault report', async () => {
    const k = await runVm(1, 'deterministic', 'stacktest');
    expect(k.output).toMatch(/KERNEL DOUBLE FAULT eip 0x[0-9a-f]+ esp 0x[0-9a-f]+000 /);
    expect(k.output).toContain('at microkernel/kernel/overflow');
    expect(k.status).toBe(255);
  });
  test('the kernel survives what ring 3 can ask of it', async () => {
    const k = await runVm(4, 'deterministic', 'fuzz=1');
    green(k);
    expect(k.output).toMatch(/# fuzz rounds=\d+ calls=\d+/);
  });
  test('without modules the kernel says what is missing', async () => {
    const k = await runVm(1, 'deterministic', '', false);
    expect(k.output).toContain('KERNEL: no modules: module 0 must be root.elf');
    expect(k.status).toBe(255);
  });
});

describe.skipIf(!hasQemu)('QEMU', () => {
  test('the suite passes on four CPUs', async () => green(await runQemu(4)));
  test.runIf(full)('the suite passes on one CPU', async () => green(await runQemu(1)));
});
if (!hasQemu) console.log('qemu-system-i386 is not installed: the kernel suite runs on our VM only');
