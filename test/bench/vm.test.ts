/** The bench rows give the same checksums natively, in the interpreter and in regions, alone and in any order; a peer that hangs loses a row, not the run. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { benchImages } from '../../tools/bench/images.ts';
import { LineStamper, Reading, runRows, steady, type Running, type Stamped, type Start } from '../../tools/bench/lines.ts';
import { BENCH_PROGRAMS, type BenchProgram } from '../../tools/bench/programs.ts';
import { runNative } from '../../tools/bench/processes.ts';
import { warmUp } from '../../tools/bench/start.ts';
import { constantOf, withConstant } from '../../tools/bench/thresholds.ts';
import { TABLE_IN, chooseRows, formatBenchVm, withTable, type BenchVmResult } from '../../tools/bench/vm.ts';
import { vmFigure } from '../../tools/bench/vm-figure.ts';
import { DeterministicMachine } from '../../vm/machine.ts';
import { createEngine } from '../../vm/cpu/engine.ts';

const ONE = BENCH_PROGRAMS.filter(({ kind }) => kind !== 'smp'), USER = ONE.filter(({ kind }) => kind !== 'kernel');
const planOf = (rows: readonly BenchProgram[]): string => `1 ${rows.map(({ number }) => `${number}:1`).join(' ')}`;
type Sums = Record<string, string>;
const sumsOf = (lines: readonly { line: string }[]): Sums => Object.fromEntries(lines.map(l => l.line.split(' ')).filter(w => w[0] === 'R').map(w => [BENCH_PROGRAMS.find(({ number }) => number === Number(w[1]))!.name, w[3]!]));

/** Guest memory behind the image is full of rubbish, as a loader or firmware may leave it. */
function here(rows: readonly BenchProgram[], image: string, jit: 'on' | 'off' = 'on', cpus = 1): Sums {
  const lines: Stamped[] = [], stamper = new LineStamper(() => 0, stamped => { lines.push(stamped); });
  const machine = new DeterministicMachine({ kernel: image, cmdline: planOf(rows), memoryMiB: 64, cpus, jit, com1: bytes => { stamper.push(Buffer.from(bytes).toString('latin1')); } }, createEngine);
  try {
    machine.board.ram.fill(0xa5, 0x600000);
    for (let pieces = 0; ; pieces++) {
      const { pause } = machine.runFor(2_000_000);
      if (pause === 'stopped') break;
      if (pause === 'idle' || pieces > 10_000) throw new Error(`it does not end: ${pause}, ${lines.at(-1)?.line ?? 'no line'}`);
    }
    expect({ reason: machine.stopReason, status: machine.board.header.stopStatus }).toEqual({ reason: 'exit', status: 0x21 });
  } finally { machine.close(); }
  return sumsOf(lines);
}

describe('bench rows', () => {
  test('interpreter and regions agree, and with the native executable where there is one', async () => {
    const { freestanding, linux } = await benchImages();
    const interpreted = here(ONE, freestanding, 'off');
    expect(Object.keys(interpreted)).toHaveLength(ONE.length);
    expect(here(ONE, freestanding)).toEqual(interpreted);
    if (process.platform !== 'linux' || process.arch !== 'x64') return;
    const lines: Stamped[] = [];
    expect(await runNative(linux, planOf(USER), stamped => { lines.push(stamped); }).problem).toBeUndefined();
    expect(sumsOf(lines)).toEqual(Object.fromEntries(USER.map(({ name }) => [name, interpreted[name]])));
  });
  test('each row alone, and all in another order, give the same', async () => {
    const { freestanding } = await benchImages();
    const all = here(ONE, freestanding);
    expect(here([...ONE].reverse(), freestanding)).toEqual(all);
    for (const row of ONE) expect(here([row], freestanding)).toEqual({ [row.name]: all[row.name] });
  });
  test('SMP rows: both CPUs do their part', async () => {
    const { freestanding } = await benchImages(), rows = BENCH_PROGRAMS.filter(({ kind }) => kind === 'smp');
    const sums = here(rows, freestanding, 'on', 2), hex = (n: number): string => n.toString(16).padStart(8, '0');
    const { fib1 } = sums;
    expect(sums).toEqual({ fib1, fib2: hex(Number(`0x${fib1}`) * 2), lockinc: hex(200_000), lockinc2: hex(400_000), spinlock: hex(200_000), bounce: hex(40_000), ipispin: hex(2000), ipihalt: hex(500) });
    expect(here(rows.slice(0, 1), freestanding, 'on', 1)).toEqual({ fib1: '0000dead' });
  });
});

const stamped = (line: string, cpuNs: number): Stamped => ({ line, cpuNs, wallNs: cpuNs * 2 });
/** A peer that says these lines for a plan, then ends or, with null at the end, hangs until it is killed. */
const script = (says: (rows: readonly number[]) => readonly (string | null)[]): Start => (plan, line): Running => {
  const lines = says([...plan.matchAll(/(\d+):/g)].map(m => Number(m[1])));
  let kill = (): void => undefined;
  const killed = new Promise<string>(resolve => { kill = () => { resolve('killed'); }; });
  for (const [i, l] of lines.entries()) if (l !== null) line(stamped(l, i * 100));
  return { kill, problem: lines.at(-1) === null ? killed : Promise.resolve(lines.includes('E') ? undefined : 'it died') };
};
const rowLines = (n: number): string[] => [`S ${n}`, `R ${n} 0 ab`, `R ${n} 1 ab`];

describe('reading a peer', () => {
  const read = (...all: [string, number][]): Reading => { const reading = new Reading(); for (const [line, ns] of all) reading.take(stamped(line, ns)); return reading; };
  test('time between lines is the time of a repetition; the first one is not steady', () => {
    const reading = read(['S 0', 100], ['R 0 0 ab', 1100], ['R 0 1 ab', 1200], ['R 0 2 ab', 1400], ['E', 1400]), row = reading.rows.get(0)!;
    expect(row).toEqual({ repetitionsNs: [1000, 100, 200], wallNs: [2000, 200, 400], checksum: 'ab' });
    expect(reading.ended).toBe(true);
    expect(steady(row.repetitionsNs)).toBe(150);
  });
  test('a time in the line wins over the time of its arrival', () => { expect(read(['S 0 50', 0], ['R 0 0 ab 80', 0]).rows.get(0)!.repetitionsNs).toEqual([30]); });
  test('a row whose checksum changes has no figure', () => {
    expect([...read(['S 0', 0], ['R 0 0 ab', 1], ['R 0 1 ac', 2]).broken]).toEqual([[0, 'checksum ab and then ac']]);
    expect([...read(['S 0', 0], ['X 0 0 ab', 1]).broken]).toEqual([[0, 'different checksums in one repetition']]);
  });
  test('a peer that hangs or dies in a row loses that row and does the others', async () => {
    const plan = new Map([[1, 5], [2, 5], [3, 5], [4, 5]]);
    const answer = await runRows(script(rows => rows.flatMap((n, i) => rows.slice(0, i).some(m => m === 2 || m === 3) ? [] : n === 2 ? ['S 2', 'R 2 0 ab', null] : n === 3 ? ['S 3'] : rowLines(n)).concat(rows.at(-1) === 4 && rows.length === 1 ? ['E'] : [])), plan, 2, 50);
    expect([...answer.rows.keys()]).toEqual([1, 4]);
    expect(Object.fromEntries(answer.lost)).toEqual({ 2: 'no line for 0.05 s', 3: 'it died' });
  });
  test('a peer that does not get as far as a row is not started again', async () => {
    let starts = 0;
    const answer = await runRows((plan, line) => { starts++; return script(() => ['SeaBIOS'])(plan, line); }, new Map([[1, 5], [2, 5]]), 2, 50);
    expect(starts).toBe(1);
    expect(Object.fromEntries(answer.lost)).toEqual({ 1: 'it died', 2: 'it died' });
  });
  test('warm-up: the time until slices stay near the steady speed, and the longest of them', () => {
    const lines = [stamped('S 4', 0)];
    let at = 0;
    for (let i = 0; i < 200; i++) { at += i < 30 ? 5e6 : i === 40 ? 9e6 : 1e6; lines.push(stamped(`R 4 ${i} ab`, at)); }
    const { to90Ms, stallMs } = warmUp(lines);
    expect(to90Ms).toBeGreaterThanOrEqual(5 * 30);
    expect(to90Ms).toBeLessThanOrEqual(5 * 30 + 50);
    expect(stallMs).toBe(9);
  });
  test('rows by name and by kind; an unknown one is an error that names them', () => {
    expect(chooseRows(['smp', 'fib']).rows.map(p => p.name)).toEqual(['fib', ...BENCH_PROGRAMS.filter(p => p.kind === 'smp').map(p => p.name)]);
    expect(chooseRows(['start'])).toEqual({ rows: [], start: true });
    expect(() => chooseRows(['fibb'])).toThrow(/no bench row "fibb".*smp, start/);
  });
});

describe('thresholds', () => {
  const source = "const ONE = 1;\nexport const HEAT = 200_000;\nconst SLICE = 20, MAX_SLICE = 1_000; // MAX_SLICE = 5\nif (x > HEAT) y = HEAT * 2;\n";
  test('one definition gets another value, nothing else changes', () => {
    expect(constantOf(source, 'HEAT')).toBe('200_000');
    expect(withConstant(source, 'HEAT', '7')).toBe(source.replace('200_000', '7'));
    expect(withConstant(source, 'SLICE', '7')).toBe(source.replace('SLICE = 20', 'SLICE = 7'));
    expect(withConstant(source, 'MAX_SLICE', '7')).toBe(source.replace('1_000', '7'));
  });
  test('a name that is not defined there is an error', () => {
    expect(() => constantOf(source, 'HEATS')).toThrow(/no HEATS/);
    expect(() => withConstant(source, 'HEATS', '1')).toThrow(/0 definitions of HEATS/);
  });
});

describe('showing it', () => {
  const result: BenchVmResult = {
    rows: [{ name: 'fib', kind: 'integer', native: 10, here: 20, v86: 70, qemu: 50 }, { name: 'smc', kind: 'kernel', native: null, here: 300, v86: null, qemu: 200 }, { name: 'fib2', kind: 'smp', native: null, here: 90, v86: null, qemu: 150, wall: { here: 45, qemu: 80 } }],
    first: [{ name: 'fib', kind: 'integer', native: 10, here: 40, v86: 90, qemu: 55 }, { name: 'smc', kind: 'kernel', native: null, here: 1, v86: null, qemu: 1 }, { name: 'fib2', kind: 'smp', native: null, here: 1, v86: null, qemu: 1 }],
    geomean: { integer: { here: 2, v86: 7, qemu: 5 }, memory: { here: null, v86: null, qemu: null }, float: { here: null, v86: null, qemu: null }, kernel: { here: null, v86: null, qemu: 1.5 }, smp: { here: null, v86: null, qemu: 0.56 } },
    scaling: { here: 1.98, qemu: 1.9 }, behind: ['smc'], lost: ['v86 smc: no line for 10 s'], problems: [],
    start: [{ name: 'first byte', unit: 'ms', goal: 150, here: 160, v86: 110, qemu: 120, what: '' }],
    environment: { date: '2026-01-01T00:00:00Z', cpu: 'A <CPU>', runs: 4, others: 0.4 },
  };
  test('the table marks rows behind a peer, goals missed, rows lost and a disturbed host', () => {
    const text = formatBenchVm(result);
    expect(text).toMatch(/^! smc +300 ns +- +200 ns/m);
    expect(text).toMatch(/^ {2}fib2 +45 ns +80 ns +90 ns +150 ns +0.56$/m);
    expect(text).toMatch(/^ {2}scaling +1.98 +1.90$/m);
    expect(text).toMatch(/^> first byte +160 ms +110 ms +120 ms +<= 150$/m);
    expect(text).toContain('- v86 smc: no line for 10 s');
    expect(text).toContain('40 % of the host\'s cores meanwhile: DISTURBED');
  });
  test('a recorded run takes the place of the table in docs/machine.md, and of nothing else', () => {
    const document = readFileSync(TABLE_IN, 'utf8'), once = withTable(document, result);
    expect(once).toContain('QEMU undefined, 2026-01-01\n\ninteger ');
    expect(withTable(once, result)).toBe(once);
    expect(once.slice(0, once.indexOf('<!-- bench vm'))).toBe(document.slice(0, document.indexOf('<!-- bench vm')));
    expect(once.slice(once.indexOf('<!-- end of'))).toBe(document.slice(document.indexOf('<!-- end of')));
    expect(() => withTable('no table here', result)).toThrow(/has no lines/);
  });
  test('the figure has a bar for each figure and escapes what it quotes', () => {
    const svg = vmFigure(result);
    expect(svg.match(/<title>/g)).toHaveLength(3 + 2 + 2 + 3);
    expect(svg).toContain('fib2, qemu: 1.78');
    expect(svg).not.toContain('A <CPU>');
  });
});
