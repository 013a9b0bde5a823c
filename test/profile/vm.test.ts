/** Where the VM's own time goes: frames find their category, and the instructions of both tiers are the machine's. */
import { beforeAll, describe, expect, it } from 'vitest';
import type { DeterministicMachine } from '../../vm/machine.ts';
import { ensureGuest } from '../../tools/cli/guest.ts';
import { runCommand } from '../../tools/cli/run.ts';
import { categoryOf, samplesByCategory, VmProfiler, vmTable } from '../../tools/profile/vm.ts';

const frame = (functionName: string, url: string) => ({ functionName, url, scriptId: '1', lineNumber: 0, columnNumber: 0 });

describe('categories', () => {
  it('are those of the innermost frame that has one', () => {
    // root -> run (engine) -> tier 0 -> region -> slowRead (mmu) -> a builtin; root -> regionModule (jit) -> encoder -> Module
    const node = (id: number, callFrame: ReturnType<typeof frame>, children: number[]) => ({ id, callFrame, children });
    const nodes = [
      node(1, frame('(root)', ''), [2, 8, 11]), node(2, frame('run', 'file:///k/vm/cpu/engine.ts'), [3]), node(3, frame('wasm-function[41]', 'wasm://wasm/tier0-0005e99e'), [4]),
      node(4, frame('wasm-function[18]', 'wasm://wasm/region-1234abcd'), [5]), node(5, frame('slowRead', 'file:///k/vm/cpu/mmu.ts'), [6]), node(6, frame('get', ''), []),
      node(8, frame('regionModule', 'file:///k/vm/cpu/jit/region.ts'), [9, 10]), node(9, frame('build', 'file:///k/vm/cpu/wasm.ts'), []), node(10, frame('Module', ''), []), node(11, frame('(idle)', ''), []),
    ];
    const found = samplesByCategory({ nodes, startTime: 0, endTime: 1, samples: [2, 3, 3, 4, 5, 6, 8, 9, 10, 11, 11], timeDeltas: [] });
    expect(Object.fromEntries(found)).toEqual({ engine: 1, tier0: 2, regions: 1, mmu: 2, building: 2, compile: 1 });
  });
  it('are known for every part of the VM', () => {
    expect(categoryOf(frame('tick', 'file:///k/vm/devices/pit.ts'))).toBe('devices');
    expect(categoryOf(frame('decode', 'file:///k/vm/cpu/isa/decode.ts'))).toBe('decode');
    expect(categoryOf(frame('wasm-function[3]', 'wasm://wasm/x87-00000000'))).toBe('float');
    expect(categoryOf(frame('(garbage collector)', ''))).toBe('gc');
  });
});

describe('a run under V8\'s profiler', () => {
  beforeAll(() => ensureGuest(), 600_000);
  it('is taken apart without rest', async () => {
    const profiler = new VmProfiler();
    profiler.start();
    let stopped: ReturnType<VmProfiler['stop']> | undefined;
    const outcome = await runCommand({ place: 'pin', smp: 1, memoryMiB: 128, deterministic: true, seed: 1, timeoutSeconds: 240, jit: 'on', append: '' }, ['true'], {}, undefined, undefined,
      { config: {}, created: () => undefined, finished: (machine) => { stopped = profiler.stop(machine as DeterministicMachine); } });
    const { report } = stopped!, row = (what: string) => report.rows.find((candidate) => candidate.what === what)!;
    expect(row('tier0').counts['instructions']! + row('regions').counts['instructions']!).toBe(outcome.instructions);
    expect(report.samples).toBeGreaterThan(0);
    expect(report.rows.reduce((sum, { samples }) => sum + samples, 0)).toBe(report.samples);
    expect(report.rows.reduce((sum, { cpuMs }) => sum + cpuMs, 0)).toBeCloseTo(Math.max(report.processMs, report.threadMs), 3);
    // The generated modules are told apart by name.
    expect(row('tier0').samples).toBeGreaterThan(0);
    expect(vmTable(report)).toContain('tier 0 (generated interpreter)');
  });
});
