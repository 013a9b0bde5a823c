// What a terminal guarantees across deaths of tty and of the serial drivers: all input and all output, to the byte, but one byte for each death of a driver.
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { ensureGuest } from '../../tools/cli/guest.ts';
import { runCommand, type RunOutcome } from '../../tools/cli/run.ts';
import { createMachine } from '../../vm/machine.ts';
import { systemConfig } from '../../tools/cli/system.ts';

beforeAll(() => ensureGuest(), 600_000);
vi.setConfig({ testTimeout: 500_000 });

const LINES = 8000;
const text = Array.from({ length: LINES }, (_, n) => `line ${n} ${'abcdefghij'.repeat(n % 5)}`).join('\n') + '\n';
const storm = (victims: string, seed: number): Promise<RunOutcome> =>
  runCommand({ place: 'pin', smp: 2, memoryMiB: 128, deterministic: true, seed, timeoutSeconds: 400, jit: 'off', append: `telemetry storm=60:200:${seed}:${victims}` }, ['sh', '-c', 'cat; ps'], {}, Buffer.from(text));

describe('the host channel under a storm', () => {
  it.each([1, 2])('loses and repeats nothing when tty dies again and again (seed %i)', async (seed) => {
    const o = await storm('tty', seed);
    expect(o.problem, o.log).toBeUndefined();
    const back = o.stdout.slice(0, text.length), ps = o.stdout.slice(text.length);
    expect(back === text, `first difference at ${[...text].findIndex((c, k) => back[k] !== c)}, ${o.stdout.length} bytes of ${text.length}`).toBe(true);
    expect(Number(/S {2}4 +- +\d+ +(\d+) /.exec(ps)?.[1]), ps).toBeGreaterThan(6); // generation of tty
    expect(o.exit).toBe(0);
  });
});

describe('the console', () => {
  it('keeps what was typed and not yet read, the mode and the foreground when tty dies', async () => {
    let console = '', sent = 0;
    const config = systemConfig({ place: 'pin', smp: 2, memoryMiB: 128, deterministic: true, seed: 1, timeoutSeconds: 300, jit: 'on', append: '' }, undefined, {
      com1: (bytes) => { console += Buffer.from(bytes).toString('latin1'); step(); },
    });
    const machine = createMachine({ ...config, interactive: true });
    const type = (keys: string): void => { machine.serialInput(0, Buffer.from(keys)); };
    // Each answer of the system brings the next keys. `sleep` holds the shell while tty is killed, so that all that is typed meanwhile waits in tty.
    const script: [RegExp, string][] = [
      [/\$ $/, '(sleep 0.02; kill tty; sleep 0.02; kill tty) & sleep 0.2\necho typed before\nhalf a li'],
      [/tty restarted, epoch 3[\s\S]*typed before\r\n[\s\S]*\$ /, '\x15echo after; cat\n'],
      [/after\r\n$/, 'abc\x7fd\n'],
      [/abd\r\n$/, '\x03'],
      [/\^C[\s\S]*\$ $/, 'poweroff\n'],
    ];
    const step = (): void => { if (sent < script.length && script[sent]![0].test(console)) type(script[sent++]![1]); };
    const result = await machine.run();
    expect(result.reason, console).toBe('poweroff');
    expect(sent).toBe(script.length);
  });
});
