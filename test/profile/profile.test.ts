/** The profiler's counts are the machine's own: known programs have known counts, everything adds up, and a profiled run is the same run. */
import { beforeAll, describe, expect, it } from 'vitest';
import { MODE } from '../../vm/cpu/state.ts';
import { decode } from '../../vm/cpu/isa/decode.ts';
import type { DeterministicMachine } from '../../vm/machine.ts';
import { locate, type DebugInfo } from '../../tools/build/debug.ts';
import { ensureGuest } from '../../tools/cli/guest.ts';
import { runCommand, type RunOutcome } from '../../tools/cli/run.ts';
import type { SystemOptions } from '../../tools/cli/system.ts';
import { Collector, type Code, type CollectOptions, type Collected } from '../../tools/profile/collect.ts';
import { GROUPINGS, rowsOf, systemCallTable, table } from '../../tools/profile/report.ts';
import { collapsed, speedscope } from '../../tools/profile/stacks.ts';
import { bareMachine, CODE, counting, COUNTING, le32 } from '../machine/bare.ts';

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);
const FLAT = MODE.CODE32 | MODE.STACK32 | MODE.DS_FLAT | MODE.ES_FLAT | MODE.SS_FLAT | MODE.CS_FLAT | MODE.PROTECTED;

/** Symbols of a bare kernel: functions by [name, address, size]; the line of an instruction is its offset. */
function codeOf(bytes: readonly number[], functions: readonly (readonly [string, number, number])[]): Code {
  const image = Uint8Array.from(bytes), lines: [number, number, number, number][] = [];
  for (let at = 0; at < image.length;) { const insn = decode(image, at, image.length, FLAT); lines.push([CODE + at, 0, at, 1]); at += insn?.length ?? 1; }
  const debug: DebugInfo = { version: 1, name: 'bare', files: ['bare.ts'], functions: functions.map(([name, address, size]) => ({ name, address, size, frame: 0, saved: [], depths: [[0, 0]] })), lines, symbols: {} };
  const functionAt: Code['functionAt'] = (eip) => debug.functions.find((f) => eip >= f.address && eip < f.address + f.size);
  return {
    debug, functionAt,
    place: (eip) => { const at = locate(debug, eip)!; return { symbol: at.name, line: `${at.file}:${at.line}` }; },
    bytes: (eip, count) => image.subarray(eip - CODE, eip - CODE + count),
    instruction: (eip) => decode(image, eip - CODE, image.length, FLAT) ?? undefined,
  };
}
function profileBare(code: readonly number[], functions: readonly (readonly [string, number, number])[], options: Partial<CollectOptions> = {}): { collected: Collected; machine: DeterministicMachine } {
  const collector = new Collector({ from: 'boot', every: 100, codeOf: () => codeOf(code, functions), ...options });
  const machine = bareMachine(code, { watch: collector.watch });
  collector.attach(machine);
  machine.runFor(1e9);
  const collected = collector.finish();
  machine.close();
  return { collected, machine };
}

describe('counts of a small program', () => {
  const rounds = 1000, functions = [['main', CODE, COUNTING.store - CODE], ['f', COUNTING.store, COUNTING.ret + 1 - COUNTING.store]] as const;
  it('are exact by function and call', () => {
    const { collected, machine } = profileBare(counting(rounds), functions);
    expect(collected.counted).toBe(machine.instructions);
    const rows = rowsOf(collected, 'function');
    expect(rows.map(({ function: name, instructions, calls }) => ({ name, instructions, calls }))).toEqual([
      { name: 'main', instructions: machine.instructions - 3 * rounds, calls: 1 },
      { name: 'f', instructions: 3 * rounds, calls: rounds },
    ]);
    expect(machine.instructions).toBeGreaterThanOrEqual(COUNTING.setup + COUNTING.perRound * rounds);
  });
  it('are exact by line', () => {
    const rows = new Map(rowsOf(profileBare(counting(rounds), functions).collected, 'line').map(({ line, instructions }) => [CODE + line, instructions]));
    for (const address of [COUNTING.loop, COUNTING.loop + 1, COUNTING.store, COUNTING.load, COUNTING.ret]) expect(rows.get(address), address.toString(16)).toBe(rounds);
    expect([...rows].filter(([address]) => address < COUNTING.loop).map(([, n]) => n)).toEqual([1, 1, 1]);
  });
  it('give every iteration of a REP to its line, across slices', () => {
    // mov ecx, 5000; mov edi, 200000h; nop; rep stosb; nop; mov al, 0; out f4h, al
    const code = [0xb9, ...le32(5000), 0xbf, ...le32(0x20_0000), 0x90, 0xf3, 0xaa, 0x90, 0xb0, 0, 0xe6, 0xf4];
    const { collected, machine } = profileBare(code, [['fill', CODE, code.length]]);
    expect(machine.instructions).toBeGreaterThan(5000);
    expect(new Map(rowsOf(collected, 'line').map(({ line, instructions }) => [line, instructions]))).toEqual(new Map([[11, 5000], [0, 1], [5, 1], [10, 1], [13, 1], [14, 1], ...(machine.instructions > 5005 ? [[16, 1] as [number, number]] : [])]));
  });
  it('go to no function where the code is not that of the symbols', () => {
    const other = counting(7).map((byte, n) => (n === 0 ? 0x90 : byte));
    const { collected, machine } = profileBare(counting(rounds), [], { codeOf: () => codeOf(other, [['main', CODE, 60]]) });
    const unknown = rowsOf(collected, 'function').find(({ function: name }) => name === '[no symbols]');
    expect(unknown!.instructions).toBeGreaterThan(0);
    expect(sum(rowsOf(collected, 'function').map(({ instructions }) => instructions))).toBe(machine.instructions);
  });
});

describe('a profile of a command', () => {
  const options: SystemOptions = { place: 'pin', smp: 2, memoryMiB: 128, deterministic: true, seed: 3, timeoutSeconds: 240, jit: 'on', append: '' };
  const argv = ['sha256sum', '/etc/motd'];
  const profiled = async (from: CollectOptions['from']): Promise<{ outcome: RunOutcome; collected: Collected }> => {
    const collector = new Collector({ from, every: 1000 });
    let collected: Collected | undefined;
    const outcome = await runCommand(options, argv, {}, undefined, undefined, { config: { watch: collector.watch }, created: (machine) => collector.attach(machine as DeterministicMachine), finished: () => { collected = collector.finish(); } });
    return { outcome, collected: collected! };
  };
  let plain: RunOutcome, boot: Awaited<ReturnType<typeof profiled>>, command: Awaited<ReturnType<typeof profiled>>;
  beforeAll(async () => { ensureGuest(); plain = await runCommand(options, argv); boot = await profiled('boot'); command = await profiled('command'); }, 600_000);

  it('changes nothing: the same output, instructions and state hash as the run with the JIT', () => {
    for (const { outcome } of [boot, command]) {
      expect(outcome.stdout).toBe(plain.stdout);
      expect(outcome.instructions).toBe(plain.instructions);
      expect(outcome.stateHash).toBe(plain.stateHash);
    }
  });
  it('adds up to the count of the machine, however it is grouped', () => {
    expect(boot.collected.counted).toBe(plain.instructions);
    expect(command.collected.startInstructions + command.collected.counted).toBe(plain.instructions);
    for (const { collected } of [boot, command]) {
      for (const by of GROUPINGS) expect(sum(rowsOf(collected, by).map(({ instructions }) => instructions)), by).toBe(collected.counted);
      expect(sum(collected.samples.map(({ weight }) => weight))).toBe(collected.counted);
    }
    // Lines of a function are the function.
    const lines = rowsOf(command.collected, 'line');
    for (const { server, function: name, instructions } of rowsOf(command.collected, 'function').slice(0, 20)) {
      expect(sum(lines.filter((row) => row.server === server && row.function === name).map((row) => row.instructions)), name).toBe(instructions);
    }
  });
  it('knows what ran: the program from its first instruction, SHA-256 of one short file', () => {
    const rows = rowsOf(command.collected, 'function').filter(({ server }) => server === 'sha256sum');
    const of = (name: string): (typeof rows)[number] | undefined => rows.find((row) => row.function === name || row.function.endsWith(`/${name}`));
    expect(of('_start')?.calls).toBe(1);
    expect(of('main')?.calls).toBe(1);
    // One compression a block of 64 bytes: motd, a bit, its length in 8 bytes.
    const motd = plain.stdout.length > 0 ? of('compress')!.calls! : 0;
    expect(motd).toBeGreaterThan(0);
    const rounds = rowsOf(command.collected, 'line').filter((row) => row.server === 'sha256sum' && row.function.endsWith('/compress') && row.file.endsWith('sha256.ts')).map(({ instructions }) => instructions / motd);
    // Straight code runs once a block, the message schedule 48 times, the rounds 64 times: every line is a whole number of instructions a block.
    expect(rounds.every(Number.isInteger)).toBe(true);
    expect(rounds.some((n) => n % 64 === 0)).toBe(true);
    expect(table(command.collected, rowsOf(command.collected, 'function'), 'function', 3).split('\n')).toHaveLength(1 + 3 + 1 + 1 + 1);
  });
  it('has every system call, by who made it: the kernel was entered as often, and a program asks process only', () => {
    const { systemCalls, parties } = command.collected, kernel = parties.find(({ name }) => name === 'kernel')!;
    const entries = [...kernel.blocks.values()].filter(({ systemCall }) => systemCall);
    expect(entries).toHaveLength(1);
    expect(sum(systemCalls.map(({ count }) => count))).toBe(sum([...entries[0]!.runs()].map(([, times]) => times)));
    expect(systemCalls.filter(({ server }) => server === 'sha256sum').map(({ call }) => call)).toContain('call');
    expect(systemCalls.some(({ server, call }) => server === 'process' && call === 'reply_recv')).toBe(true);
    expect(systemCallTable(command.collected, 2).split('\n')).toHaveLength(1 + 2 + 1 + 1 + 1);
  });
  it('has stacks from the program down into the kernel, as speedscope and collapsed lines', () => {
    const { collected } = command, file = JSON.parse(JSON.stringify(speedscope(collected, argv.join(' ')))) as ReturnType<typeof speedscope>;
    expect(file.$schema).toBe('https://www.speedscope.app/file-format-schema.json');
    expect(file.shared.frames.every(({ name, file: source, line }) => typeof name === 'string' && (source === undefined) === (line === undefined))).toBe(true);
    expect(file.profiles.length).toBeGreaterThan(0);
    for (const { type, unit, samples, weights, startValue, endValue, name } of file.profiles) {
      expect([type, unit, startValue, typeof name]).toEqual(['sampled', 'none', 0, 'string']);
      expect(samples).toHaveLength(weights.length);
      expect(sum(weights)).toBe(endValue);
      expect(samples.every((stack) => stack.length > 0 && stack.every((frame) => Number.isInteger(frame) && frame >= 0 && frame < file.shared.frames.length))).toBe(true);
    }
    expect(sum(file.profiles.map(({ endValue }) => endValue))).toBe(collected.counted);
    const folded = collapsed(collected).trimEnd().split('\n');
    expect(sum(folded.map((line) => Number(/^\S.* (\d+)$/.exec(line)![1])))).toBe(collected.counted);
    expect(folded.some((line) => /^sha256sum;_start;.*main;.*compress \d+$/.test(line)), folded.join('\n')).toBe(true);
    expect(collapsed(boot.collected).split('\n').some((line) => /^\w+;_start;.*sys_enter;.*dispatch_\[k\]/.test(line))).toBe(true);
  });
});
