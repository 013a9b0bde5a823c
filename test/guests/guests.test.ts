/** Other people's compiler, our machine: the gcc-built multiboot guests must pass on QEMU, on Bochs and here. Skipped without gcc -m32. */
import { describe, expect, test } from 'vitest';
import { bochsAvailable, runOnBochs } from './bochs.ts';
import { buildGuest, guestsUnavailable } from './build.ts';
import { GUESTS } from './catalog.ts';
import { parseKtap } from './ktap.ts';
import { qemuAvailable, runOnQemu } from './qemu.ts';
import { runHere } from './here.ts';

const missing = guestsUnavailable();
if (missing) console.warn(missing);
const bochs = bochsAvailable();
if (!bochs) console.warn('bochs is not installed: the test guests are not run under it');

function judge(run: { output: string; status: number | null }): void {
  const report = parseKtap(run.output);
  expect(report.lines.filter(l => !l.ok).map(l => l.name), run.output).toEqual([]);
  expect(report.problems, run.output).toEqual([]);
  expect(run.status, run.output).toBe(0x10);
}

describe.skipIf(missing !== null)('test guests', () => {
  for (const guest of GUESTS) {
    // Four processors on QEMU: the same image as with two, and slow on a small host.
    test.skipIf(!qemuAvailable() || guest.name === 'smp4')(`${guest.name} passes under QEMU`, () => { judge(runOnQemu(guest, buildGuest(guest))); });
    // Bochs has no virtio devices.
    test.skipIf(!bochs || guest.disk === true || guest.net === true)(`${guest.name} passes under Bochs`, () => { judge(runOnBochs(guest, buildGuest(guest))); });
    test(`${guest.name} passes on our machine; regions change nothing but speed`, async () => {
      const elf = buildGuest(guest), interpreted = await runHere(guest, elf, { jit: 'off' }), compiled = await runHere(guest, elf, { jit: 'on' });
      judge(interpreted);
      judge(compiled);
      expect({ instructions: compiled.instructions, stateHash: compiled.stateHash }).toEqual({ instructions: interpreted.instructions, stateHash: interpreted.stateHash });
    });
    // What only asks one CPU is the same there: enough under `--full`.
    test.skipIf(guest.oneCpu === true && !process.env['KINTSUGI_FULL'])(`${guest.name} passes with one worker per vCPU`, async () => { judge(await runHere(guest, buildGuest(guest), { mode: 'parallel' })); });
  }
});

describe.skipIf(missing !== null)('CPU models', () => {
  for (const cpu of ['pentium2', 'i686'] as const) test(`${cpu}: what CPUID announces is there, and nothing else`, async () => {
    const guest = GUESTS.find(g => g.name === 'control')!;
    judge(await runHere(guest, buildGuest(guest), { cpu }));
  });
});

describe.skipIf(missing !== null)('schedules', () => {
  const smp = GUESTS.find(g => g.name === 'smp4')!;
  for (const seed of [1, 2, 3]) test(`four processors pass under schedule seed ${seed}, twice alike`, async () => {
    const elf = buildGuest(smp), a = await runHere(smp, elf, { seed }), b = await runHere(smp, elf, { seed });
    judge(a);
    expect(b.stateHash).toBe(a.stateHash);
  });
  // Locked operations of every alignment, IPIs, code patched for others: with another number of processors, with KINTSUGI_FULL with all that the machine can have.
  const full = process.env['KINTSUGI_FULL'] !== undefined;
  for (const cpus of full ? [3, 5, 8] : [3]) test(`${cpus} processors pass`, async () => { judge(await runHere({ ...smp, cpus }, buildGuest(smp), { seed: 2 })); });
  test.skipIf(!full)('8 processors pass, a thread each', async () => { judge(await runHere({ ...smp, cpus: 8 }, buildGuest(smp), { mode: 'parallel' })); });
});

test('a guest that prints fewer results than planned is not taken for a pass', () => {
  expect(parseKtap('KTAP version 1\n1..2\nok 1 first\n').problems).toEqual(['1 of 2 results were printed']);
  expect(parseKtap('ok 1 first\n').problems).toEqual(['no plan was printed']);
});
