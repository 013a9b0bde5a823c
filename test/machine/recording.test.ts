/** Recordings: a replay is the recorded run to the bit, from the beginning or from the middle; --verify finds the first instruction of a divergence. */
import { describe, expect, it } from 'vitest';
import { FileError } from '../../vm/container.ts';
import type { DeterministicMachine, MachineConfig, MachineResult } from '../../vm/machine.ts';
import { Recorder, ReplayChecker, decodeRecording, type Recording, type RecorderOptions } from '../../vm/recording.ts';
import { restoreStored } from '../../vm/snapshot-file.ts';
import { FaultPort } from '../../vm/faults.ts';
import { verifiedRun, verifyRuns, type VerifiedRun } from '../../vm/verify.ts';
import { CODE, COUNTING, bareMachine, counting, le32, portLoop, startSecond } from './bare.ts';
import { randomProgram } from './random-code.ts';

/** Reads COM1 until a byte 0 comes, sums up what it got into [200000h], then debug exit with the sum. */
const ECHO = [
  0x31, 0xdb, 0x66, 0xba, 0xfd, 0x03, 0xec, 0xa8, 1, 0x74, 0xf7, // xor ebx, ebx; wait: mov dx, 3fdh; in al, dx; test al, 1; jz wait
  0x66, 0xba, 0xf8, 0x03, 0xec, 0x0f, 0xb6, 0xc0, 0x01, 0xc3, 0x69, 0xdb, ...le32(0x01000193), // mov dx, 3f8h; in al, dx; movzx eax, al; add ebx, eax; imul ebx, ebx, ...
  0x85, 0xc0, 0x75, 0xe3, 0x89, 0x1d, ...le32(COUNTING.word), 0x88, 0xd8, 0xe6, 0xf4, // test eax, eax; jnz wait; mov [word], ebx; mov al, bl; out f4h, al
];
const ALL = Number.MAX_SAFE_INTEGER;

async function record(config: Partial<MachineConfig>, options: RecorderOptions, live: (machine: DeterministicMachine) => void): Promise<{ file: Buffer; result: MachineResult }> {
  const out: Uint8Array[] = [], recorder = new Recorder((bytes) => out.push(bytes.slice()), { test: true }, options);
  const machine = bareMachine(ECHO, { ...config, record: recorder.record, milestones: recorder, interactive: true });
  recorder.begin(machine);
  live(machine);
  const result = await machine.run();
  recorder.finish(result);
  return { file: Buffer.concat(out), result };
}
async function replay(recording: Recording, from: number | undefined, config: Partial<MachineConfig> = {}): Promise<{ result: MachineResult; report: ReturnType<ReplayChecker['finish']>; began: number }> {
  const stored = from === undefined ? undefined : recording.snapshots.findLast(({ meta }) => meta.instructions <= from), checker = new ReplayChecker(recording, stored?.meta.instructions ?? 0);
  const machine = bareMachine(ECHO, { replay: recording.inputs, milestones: checker, ...config });
  if (stored) restoreStored(machine, stored);
  const began = machine.instructions, result = await machine.run();
  return { result, report: checker.finish(result), began };
}
/** Bytes at the mercy of the host's clock. */
const typing = (machine: DeterministicMachine): void => {
  let left = 30;
  const type = (): void => { machine.serialInput(0, left > 0 ? Uint8Array.of(left, 255 - left) : Uint8Array.of(0)); if (left-- > 0) setTimeout(type, left % 3); };
  type();
};

describe('a recording', () => {
  it('of live input is replayed to the bit, whatever the tier, and from any snapshot in it', async () => {
    const { file, result } = await record({}, { hashEvery: 100_000, snapshotEvery: 1_000_000 }, typing);
    expect(result.reason).toBe('exit');
    const recording = decodeRecording(file, 'r.kin');
    expect(recording.inputs.length).toBeGreaterThan(5);
    expect(recording.snapshots.length).toBeGreaterThan(1);
    for (const jit of ['on', 'off'] as const) {
      const again = await replay(recording, undefined, { jit });
      expect(again.result).toEqual(result);
      expect(again.report).toMatchObject({ divergence: undefined, checked: recording.rungs.length + 1 });
    }
    for (const { meta: { instructions } } of recording.snapshots) {
      const again = await replay(recording, instructions + 1);
      expect([again.began, again.result]).toEqual([instructions, result]);
      expect(again.report.divergence).toBeUndefined();
    }
  });
  it('says where a replay is another run', async () => {
    const { file } = await record({}, { hashEvery: 100_000 }, typing), recording = decodeRecording(file, 'r.kin');
    const third = recording.inputs[2]!, wrong = { ...recording, inputs: recording.inputs.map((input) => (input === third ? { ...third, bytes: third.bytes.map((byte) => byte ^ 1) } : input)) };
    const { report } = await replay(wrong, undefined);
    expect(report.divergence!.at).toBeGreaterThan(third.instructions);
    expect(report.divergence!.after).toBeLessThanOrEqual(third.instructions + 100_000);
  });
  it('that was cut off replays as far as it goes; what is damaged is refused', async () => {
    const { file } = await record({}, { hashEvery: 50_000, snapshotEvery: 400_000 }, typing);
    const whole = decodeRecording(file, 'r.kin');
    let shorter = 0;
    for (let length = 20; length < file.length; length += 331) {
      let cut: Recording;
      try { cut = decodeRecording(file.subarray(0, length), 'r.kin'); } catch (error) { expect((error as FileError).code).toBe('truncated'); continue; }
      expect(cut.end).toBeUndefined();
      expect(whole.inputs.slice(0, cut.inputs.length)).toEqual(cut.inputs);
      shorter++;
    }
    expect(shorter).toBeGreaterThan(10);
    for (let at = 0; at < file.length; at += 97) { const bad = Buffer.from(file); bad[at]! ^= 4; expect(() => decodeRecording(bad, 'r.kin'), `byte ${at}`).toThrow(FileError); }
  });
});

describe('two runs that should be one', () => {
  /** A run in which something outside the rules happens at an instruction. */
  const disturbed = (machine: DeterministicMachine, at: number, disturb: (machine: DeterministicMachine) => void): VerifiedRun => ({
    machine,
    advance(instructions) {
      const before = machine.instructions, first = machine.runFor(Math.min(instructions, before < at ? at - before : instructions));
      if (before < at && machine.instructions === at) {
        disturb(machine);
        const rest = machine.runFor(instructions - first.instructions);
        return { pause: rest.pause, instructions: first.instructions + rest.instructions };
      }
      return first;
    },
  });
  it('are', async () => {
    const report = await verifyRuns(verifiedRun(bareMachine(counting(50_000))), verifiedRun(bareMachine(counting(50_000), { jit: 'off' })), { every: 20_000 });
    expect(report).toMatchObject({ divergence: undefined, instructions: COUNTING.setup + 50_000 * COUNTING.perRound + 2 });
  });
  it('are told apart at the first instruction: a register, then memory', async () => {
    for (const [what, disturb] of [
      ['cpu0.esi', (machine: DeterministicMachine) => { machine.cpus.words(0)[6] = 0x77; }],
      ['memory 00300040', (machine: DeterministicMachine) => { machine.board.ram[0x30_0041] = 1; machine.board.markDirty(0x30_0041, 1); }],
    ] as const) {
      for (const at of [1, 12_345, 200_003]) {
        const { divergence } = await verifyRuns(verifiedRun(bareMachine(counting(50_000))), disturbed(bareMachine(counting(50_000)), at, disturb), { every: 10_000 });
        expect(divergence).toMatchObject({ after: at - 1, exact: true, cpu: 0 });
        expect(divergence!.differences.map(({ where }) => where)).toEqual([what]);
      }
    }
  });
  it('names the instruction whose effect differs', async () => {
    const at = COUNTING.setup + 1000 * COUNTING.perRound + 4; // the load of round 1000 is just done
    const { divergence } = await verifyRuns(verifiedRun(bareMachine(counting(50_000))), disturbed(bareMachine(counting(50_000), { jit: 'off' }), at, (m) => { m.cpus.words(0)[3]! ^= 1; }), { every: 5_000 });
    expect(divergence).toMatchObject({ after: at - 1, exact: true, eip: COUNTING.load, instruction: 'add ebx, [0x200000]' });
    expect(divergence!.differences.map(({ where }) => where)).toEqual(['cpu0.ebx']);
  });
  it('a guest that jumps to where there is no RAM does so again, and nothing is thrown', () => {
    const ends = (['off', 'on'] as const).map((jit) => { const machine = bareMachine([0xe9, ...le32(0x4000_0ff0)], { jit }); machine.runFor(10_000); return `${machine.stopReason} ${machine.instructions} ${machine.hash()}`; });
    expect(ends[1]).toBe(ends[0]);
  });
  /** A device whose answer to the IN that vCPU `cpu` makes as its instruction number `nth` is another one. */
  const unreliable = (machine: DeterministicMachine, cpu: number, nth: number, times = Infinity): DeterministicMachine => {
    let left = times;
    machine.setHooks({ access: ({ cpu: by, address, write }) => (address === 0x61 && !write && by === cpu && machine.cpus.retired(cpu) === nth && left-- > 0 ? { value: 0x5a } : undefined) });
    return machine;
  };
  it.each(['off', 'on'] as const)('are told apart at the instruction that read a device which does not repeat itself, jit %s', async (jit) => {
    for (const round of [0, 1, 2999, 15_000]) {
      const make = (): DeterministicMachine => bareMachine(portLoop(20_000), { jit, jitHeat: 2000 }), { divergence } = await verifyRuns(verifiedRun(make()), verifiedRun(unreliable(make(), 0, 3 + 6 * round)), { every: 25_000 });
      expect(divergence).toMatchObject({ after: 3 + 6 * round, exact: true, cpu: 0, eip: CODE + 9, instruction: 'in al, 0x61' });
      expect(divergence!.differences.map(({ where }) => where)).toEqual(['cpu0.eax']);
    }
  });
  it('are told apart on two vCPUs: which one, which instruction', async () => {
    const make = (): DeterministicMachine => { const m = bareMachine([...portLoop(20_000), ...portLoop(30_000)], { cpus: 2, seed: 7, quantum: 300 }); startSecond(m, CODE + portLoop(0).length); return m; };
    for (const [cpu, round] of [[1, 0], [0, 777], [1, 4321]] as const) {
      const { divergence } = await verifyRuns(verifiedRun(make()), verifiedRun(unreliable(make(), cpu, 3 + 6 * round)), { every: 20_000 });
      expect(divergence).toMatchObject({ exact: true, cpu, eip: CODE + 9 + cpu * portLoop(0).length, instruction: 'in al, 0x61' });
      expect(divergence!.differences.map(({ where }) => where)).toEqual([`cpu${cpu}.eax`]);
      const again = make();
      again.runFor(divergence!.after);
      expect(again.cpus.retired(cpu)).toBe(3 + 6 * round);
    }
  });
  it('are told apart between two comparisons when what differed does not come again', async () => {
    const make = (): DeterministicMachine => bareMachine(portLoop(20_000)), { divergence } = await verifyRuns(verifiedRun(make()), verifiedRun(unreliable(make(), 0, 3 + 6 * 5000, 1)), { every: 20_000 });
    expect(divergence).toMatchObject({ after: 20_000, exact: false });
    expect(divergence!.differences.map(({ where }) => where)).toContain('cpu0.ebx');
  });
  // 10,000 double runs with KINTSUGI_FULL: half of them on one vCPU, half on two that share their data.
  it.each([1, 2])('short random programs, again and again, in both tiers, on %i vCPU(s)', { timeout: 3_600_000 }, (cpus) => {
    const most = process.env['KINTSUGI_FULL'] === undefined ? 60 : 5000, ends = new Map<string, number>(), SECOND = CODE + 0x1000;
    // The same machines for all of them, those with the JIT for every fifth (it compiles each program anew): what a program leaves behind in caches and translations must not matter to the next.
    const machines = ([{ jit: 'off' }, { jit: 'off' }, { jitHeat: 500 }, { jitHeat: 500 }] as const).map((config) => {
      const machine = bareMachine([0xf4], { ...config, seed: 3, cpus });
      if (cpus === 2) startSecond(machine, SECOND);
      return { machine, port: new FaultPort(machine), start: machine.snapshot() };
    });
    let together = 0;
    for (let seed = 1; seed <= most; seed++) {
      const code = Uint8Array.from(randomProgram(seed)), second = Uint8Array.from(randomProgram(seed + 1_000_000, SECOND, 0x8_0000));
      const [a, ...others] = machines.slice(0, seed % 5 === 0 ? 4 : 2).map(({ machine, port, start }, index) => {
        machine.restore(start);
        port.writePhysical(CODE, code);
        if (cpus === 2) port.writePhysical(SECOND, second);
        const seen: string[] = [];
        for (let n = 0; n < 3; n++) { machine.runFor(index === 0 ? 1500 : 700 + index); if (index > 0) machine.runFor(800 - index); seen.push(`${machine.instructions} ${machine.hash()}`); }
        const { pause } = machine.runFor(40_000);
        return [...seen, `${pause} ${machine.stopReason} ${machine.instructions} ${machine.hash()}`];
      });
      for (const other of others) expect(other, `random program ${seed} on ${cpus} vCPU(s)`).toEqual(a);
      const { machine } = machines[0]!, end = machine.stopReason ?? 'runs on';
      ends.set(end, (ends.get(end) ?? 0) + 1);
      if (cpus === 2 && machine.cpus.retired(1) > 100) together++;
    }
    // They are no empty programs: most come to their end, and both vCPUs take part.
    expect(ends.get('exit') ?? 0).toBeGreaterThan(most / 3);
    if (cpus === 2) expect(together).toBeGreaterThan(most / 2);
  });
});
