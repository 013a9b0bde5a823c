/**
 * Whole machines: gcc-built kernels on the real engine. What the guests check about the hardware is in test/guests; here it is about the
 * machine: the same run twice, cut, restored, with and without the JIT; and parallel mode with threads, input, sleep and death.
 */
import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { describe, expect, it } from 'vitest';
import { createEngine } from '../../vm/cpu/engine.ts';
import { createMachine, DeterministicMachine, type InputRecord, type MachineConfig, type MachineResult } from '../../vm/machine.ts';
import { ParallelMachine } from '../../vm/parallel.ts';
import { buildGuest, guestDisk, guestsUnavailable } from '../guests/build.ts';
import { GUESTS, type Guest } from '../guests/catalog.ts';
import { parseKtap } from '../guests/ktap.ts';

const missing = guestsUnavailable();
const guestNamed = (name: string): Guest => {
  const guest = GUESTS.find((candidate) => candidate.name === name);
  if (!guest) throw new Error(`no test guest ${name}`);
  return guest;
};
function configOf(name: string, rest: Partial<MachineConfig> = {}): MachineConfig {
  const guest = guestNamed(name);
  return { kernel: buildGuest(guest), cpus: guest.cpus ?? 1, memoryMiB: 64, disks: guest.disk ? [{ bytes: guestDisk() }] : [], ...(guest.net ? { net: { backend: { kind: 'user' } } } : {}), ...rest };
}
function echoKernel(): string {
  const source = path.join(import.meta.dirname, 'echo.S');
  const elf = path.join(import.meta.dirname, '../../build/test-guests/echo.elf');
  if (!fs.existsSync(elf) || fs.statSync(elf).mtimeMs < fs.statSync(source).mtimeMs) {
    fs.mkdirSync(path.dirname(elf), { recursive: true });
    execFileSync('gcc', ['-m32', '-nostdlib', '-static', '-Wl,-Ttext-segment=0x100000', '-Wl,--build-id=none', '-o', elf, source]);
  }
  return elf;
}
const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

describe.skipIf(missing !== null)('deterministic mode on the real engine', () => {
  for (const name of ['lapic', 'smp', 'virtio-blk', 'virtio-net']) {
    it(`${name}: same instructions, same hash; twice, cut in pieces, without JIT`, { timeout: 120_000 }, async () => {
      const run = async (rest: Partial<MachineConfig>): Promise<MachineResult> => createMachine(configOf(name, { seed: 9, ...rest })).run();
      const first = await run({});
      expect(first.reason).toBe('exit');
      expect(await run({})).toEqual(first);
      expect(await run({ jit: 'off' })).toEqual(first);
      const cut = new DeterministicMachine(configOf(name, { seed: 9 }), createEngine);
      for (let k = 1000; cut.runFor(k).pause !== 'stopped'; k = (k * 7) % 100_003 + 1);
      expect(cut.result()).toEqual(first);
    });
  }

  for (const name of ['virtio-blk', 'virtio-net']) it(`restores a snapshot in mid-run to the same end: ${name}`, { timeout: 120_000 }, async () => {
    const whole = await createMachine(configOf(name)).run();
    const m = new DeterministicMachine(configOf(name), createEngine);
    m.runFor(Math.floor(whole.instructions / 2));
    const snapshot = m.snapshot();
    for (let k = 0; k < 2; k++) {
      expect(await m.run()).toEqual(whole);
      m.restore(snapshot);
    }
  });

  it('a checkpoint in the middle of network traffic is gone back to again and again', { timeout: 120_000 }, async () => {
    const whole = await createMachine(configOf('virtio-net')).run();
    const m = new DeterministicMachine(configOf('virtio-net'), createEngine);
    for (const part of [0.2, 0.5, 0.8]) {
      m.runFor(Math.floor(whole.instructions * part) - m.instructions);
      m.checkpoint();
      for (let k = 0; k < 3; k++) { expect(await m.run()).toEqual(whole); m.rollBack(); }
    }
  });

  it('a NIC that the guest leaves alone changes no instruction', { timeout: 60_000 }, async () => {
    const without = await createMachine(configOf('lapic')).run();
    const { instructions, virtualNs } = await createMachine(configOf('lapic', { net: { backend: { kind: 'user' } } })).run();
    expect([instructions, virtualNs]).toEqual([without.instructions, without.virtualNs]);
  });

  it('records what is typed and replays it', async () => {
    const records: InputRecord[] = [];
    let output = '';
    const live = new DeterministicMachine({ kernel: echoKernel(), memoryMiB: 4, record: (record) => records.push(record), com1: (bytes) => { output += new TextDecoder().decode(bytes); } }, createEngine);
    for (const piece of ['hello', ' ', 'machine', 'q']) { live.runFor(5_000); live.serialInput(0, encode(piece)); }
    const result = await live.run();
    expect([result.reason, result.status]).toEqual(['exit', 11]);
    expect(output).toBe('>hello machine');
    expect(await createMachine({ kernel: echoKernel(), memoryMiB: 4, replay: records }).run()).toEqual(result);
  });

  it('a guest that halts for good is told apart from one that waits for input', async () => {
    for (const mode of ['deterministic', 'parallel'] as const) {
      const asleep = createMachine({ kernel: echoKernel(), memoryMiB: 4, timeoutMs: 50_000, interactive: true, mode });
      asleep.serialInput(0, encode('z'));
      const result = await asleep.run();
      expect(result.reason).toBe('stopped');
      expect(result.detail).toMatch(/halted and nothing will wake/);
    }
    const interactive = createMachine({ kernel: echoKernel(), memoryMiB: 4, timeoutMs: 60_000, interactive: true, com1: (bytes) => { if (bytes.includes(0x3e)) interactive.serialInput(0, encode('q')); } });
    expect((await interactive.run()).reason).toBe('exit');
  });
});

describe.skipIf(missing !== null)('parallel mode', () => {
  for (const name of ['hello', 'lapic', 'smp', 'virtio-blk', 'virtio-net']) {
    it(`${name} passes with a thread per vCPU`, { timeout: 120_000 }, async () => {
      let output = '';
      const machine = createMachine(configOf(name, { mode: 'parallel', timeoutMs: 100_000, com1: (bytes) => { output += new TextDecoder().decode(bytes); } }));
      const result = await machine.run();
      machine.close();
      expect(result.reason, output + (result.detail ?? '')).toBe('exit');
      expect(parseKtap(output).lines.filter((line) => !line.ok).map((line) => line.name), output).toEqual([]);
    });
  }

  it('a halted guest wakes for input, takes more than the wire holds, and exits with its status', { timeout: 60_000 }, async () => {
    let output = '';
    const machine = createMachine({ kernel: echoKernel(), memoryMiB: 4, mode: 'parallel', timeoutMs: 50_000, com1: (bytes) => { output += new TextDecoder().decode(bytes); } });
    const done = machine.run();
    const long = 'abcdefghij'.repeat(1500);
    machine.serialInput(0, encode(long));
    machine.serialInput(0, encode('q'));
    const result = await done;
    expect([result.reason, result.status]).toEqual(['exit', 11]);
    expect(output).toBe(`>${long}`);
  });

  it('stop() ends a running machine', { timeout: 60_000 }, async () => {
    const machine = createMachine({ kernel: echoKernel(), memoryMiB: 4, mode: 'parallel', com1: () => machine.stop() });
    expect((await machine.run()).reason).toBe('stopped');
  });

  it('a dead worker is a dead CPU, reported, not a hang', { timeout: 60_000 }, async () => {
    const machine = new ParallelMachine({ kernel: echoKernel(), memoryMiB: 4, mode: 'parallel', timeoutMs: 50_000, com1: () => void machine.killCpu(0) });
    const result = await machine.run();
    expect(result.reason).toBe('stopped');
    expect(result.detail).toMatch(/^CPU 0: worker exited/);
  });
});
