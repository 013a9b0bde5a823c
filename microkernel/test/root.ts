/**
 * The kernel's own test root: exercises every call and operation, errors included, on the real kernel, and prints KTAP on COM1; the exit status goes to
 * port 0xf4. Run by test/kernel/kernel.test.ts under QEMU and on our VM, with 1 and 4 CPUs.
 */
import { BOOTINFO_VA, BOOTINFO_MAGIC, BOOTINFO_FIELDS_MAGIC, BOOTINFO_FIELDS_CPUS, BOOTINFO_FIELDS_UNTYPED_FIRST, BOOTINFO_FIELDS_UNTYPED_COUNT, UNTYPED_INFO, ERR_OK } from 'kintsugi/abi';
import { mainCtx, print, plan, finish, failures, useUntyped, invoke, eq, ok, clock, Ctx } from './harness';
import { capabilities } from './capabilities';
import { memoryTests } from './memory';
import { notifications } from './notifications';
import { messages } from './messages';
import { faults } from './faults';
import { scheduling } from './scheduling';
import { x87 } from './x87';
import { multiprocessor } from './multiprocessor';
import { devices } from './devices';
import { destruction } from './destruction';
import { counts } from './counts';
import { fuzz, fuzzSeed } from './fuzz';

export function main(page: usize): void {
  const c = mainCtx();
  print('KTAP version 1\n');
  eq(load<u32>(BOOTINFO_VA, BOOTINFO_FIELDS_MAGIC), BOOTINFO_MAGIC, 'magic');
  const first = load<u32>(BOOTINFO_VA, BOOTINFO_FIELDS_UNTYPED_FIRST), count = load<u32>(BOOTINFO_VA, BOOTINFO_FIELDS_UNTYPED_COUNT);
  let big: u32 = 0, bytes: u32 = 0;
  for (let n: u32 = 0; n < count; n++) {
    eq(invoke(c, first + n, UNTYPED_INFO), ERR_OK, 'info');
    if (c.w1 > bytes) { bytes = c.w1; big = first + n; }
  }
  eq(bytes >= 0x1000000 ? 1 : 0, 1, 'an Untyped of 16 MiB or more');
  useUntyped(big);
  ok('boot information and Untypeds');
  const a = clock(c), b = clock(c);
  eq(b >= a && b < 60000000000 ? 1 : 0, 1, 'clock');
  ok('clock is monotonic');
  const cpus = load<u32>(BOOTINFO_VA, BOOTINFO_FIELDS_CPUS);
  if (fuzzSeed() != 0) {
    fuzz(c, big, cpus);
    plan();
    finish(failures == 0 ? 0 : 1);
  }
  counts(c, big); // before anything makes this Thread unusual
  capabilities(c, big);
  memoryTests(c, big);
  notifications(c);
  messages(c, cpus);
  faults(c);
  scheduling(c);
  x87(c);
  multiprocessor(c, cpus);
  devices(c);
  destruction(c, big, cpus);
  plan();
  finish(failures == 0 ? 0 : 1);
}
