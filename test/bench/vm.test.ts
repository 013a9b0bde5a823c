/** The bench programs give the same checksums natively, in the interpreter and in compiled regions; broken output is not measured. */
import { describe, expect, test } from 'vitest';
import { benchImages } from '../../tools/bench/images.ts';
import { LineStamper, measure, steadyNs } from '../../tools/bench/lines.ts';
import { BENCH_PROGRAMS, type BenchProgram } from '../../tools/bench/programs.ts';
import { runNative } from '../../tools/bench/processes.ts';
import { createMachine } from '../../vm/machine.ts';

const planOf = (rows: readonly BenchProgram[]): string => `1 ${rows.map(({ number }) => `${number}:1`).join(' ')}`;
const plan = planOf(BENCH_PROGRAMS), userPlan = planOf(BENCH_PROGRAMS.filter(({ kind }) => kind !== 'kernel'));
const checksums = (lines: readonly { line: string }[]): string[] => lines.map(l => l.line.split(' ')).filter(w => w[0] === 'R').map(w => `${BENCH_PROGRAMS.find(({ number }) => number === Number(w[1]))!.name} ${w[3]}`);

async function here(jit: 'on' | 'off'): Promise<string[]> {
  const stamper = new LineStamper(() => 0);
  const machine = createMachine({ kernel: (await benchImages()).freestanding, cmdline: plan, memoryMiB: 64, jit, timeoutMs: 60_000, com1: bytes => { stamper.push(Buffer.from(bytes).toString('latin1')); } });
  try {
    const result = await machine.run();
    expect({ reason: result.reason, status: result.status }).toEqual({ reason: 'exit', status: 0x21 });
  } finally { machine.close(); }
  return checksums(stamper.lines);
}

describe('bench programs', () => {
  test('interpreter and regions agree, and with the native executable where there is one', async () => {
    const interpreted = await here('off');
    expect(interpreted).toHaveLength(BENCH_PROGRAMS.length);
    expect(await here('on')).toEqual(interpreted);
    if (process.platform === 'linux' && process.arch === 'x64') expect(checksums(await runNative((await benchImages()).linux, userPlan, 60_000))).toEqual(interpreted.filter((_, i) => BENCH_PROGRAMS[i]!.kind !== 'kernel'));
  });
});

describe('reading a peer', () => {
  const lines = (...all: [string, number][]): { line: string; cpuNs: number }[] => all.map(([line, cpuNs]) => ({ line, cpuNs }));
  test('time between lines is the time of a repetition; the first one is not steady', () => {
    const m = measure('x', lines(['S 0', 100], ['R 0 0 ab', 1100], ['R 0 1 ab', 1200], ['R 0 2 ab', 1400], ['E', 1400])).get(0)!;
    expect(m.repetitionsNs).toEqual([1000, 100, 200]);
    expect(steadyNs(m)).toBe(150);
  });
  test('a time in the line wins over the time of its arrival', () => {
    expect(measure('x', lines(['S 0 50', 0], ['R 0 0 ab 80', 0], ['E', 0])).get(0)!.repetitionsNs).toEqual([30]);
  });
  test('an image that stops early is an error', () => { expect(() => measure('x', lines(['S 0', 0], ['R 0 0 ab', 1]))).toThrow(/did not finish/); });
  test('a checksum that changes is an error', () => { expect(() => measure('x', lines(['S 0', 0], ['R 0 0 ab', 1], ['R 0 1 ac', 2], ['E', 2]))).toThrow(/ab and then ac/); });
  test('a repetition with differing iterations is an error', () => { expect(() => measure('x', lines(['S 0', 0], ['X 0 0 ab', 1]))).toThrow(/different checksums/); });
});
