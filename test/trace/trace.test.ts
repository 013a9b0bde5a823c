/**
 * Traces: what is recorded does not change what happens, both tiers record the same, and the Perfetto file says who ran, who called whom
 * and which generation served.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureGuest } from '../../tools/cli/guest.ts';
import { runCommand } from '../../tools/cli/run.ts';
import { systemConfig, type SystemOptions } from '../../tools/cli/system.ts';
import { decodePerfetto, encodePerfetto, PerfettoError } from '../../tools/trace/perfetto.ts';
import { kernelPlan } from '../../tools/trace/points.ts';
import { formatRecord, readRecords } from '../../tools/trace/records.ts';
import type { Timeline, TimelineEvent } from '../../tools/trace/timeline.ts';
import { lastRecords, openTrace } from '../../tools/trace/trace.ts';
import { createMachine, TraceError } from '../../vm/machine.ts';
import { checkPlan } from '../../vm/trace.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'kintsugi-trace-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const options = (more: Partial<SystemOptions> = {}): SystemOptions => ({ place: 'pin', smp: 4, memoryMiB: 128, deterministic: true, seed: 3, timeoutSeconds: 120, jit: 'off', append: '', ...more });
const workload = ['sh', '-c', 'echo a > /tmp/a; cat /tmp/a | wc; kill fs; cat /tmp/a; exit 7'];

/** Slices by track, properly nested, or an error. */
function slices({ tracks, events }: Timeline): { track: string; name: string; begin: TimelineEvent; end: TimelineEvent }[] {
  const names = new Map(tracks.map((track) => [track.id, track.name]));
  const open = new Map<number, TimelineEvent[]>(), done: { track: string; name: string; begin: TimelineEvent; end: TimelineEvent }[] = [];
  let ns = 0;
  for (const event of events) {
    expect(event.ns).toBeGreaterThanOrEqual(ns);
    ns = event.ns;
    expect(names.has(event.track)).toBe(true);
    if (event.type === 'begin') open.set(event.track, [...open.get(event.track) ?? [], event]);
    else if (event.type === 'end') {
      const begin = open.get(event.track)?.pop();
      if (!begin) throw new Error(`an end without begin on ${names.get(event.track)} at ${event.ns} ns`);
      done.push({ track: names.get(event.track)!, name: begin.name!, begin, end: event });
    }
  }
  for (const [track, rest] of open) expect(rest, `open slices on ${names.get(track)}`).toEqual([]);
  return done;
}

describe('a traced system', () => {
  let timeline: Timeline, hash: string, instructions: number;
  beforeAll(async () => {
    ensureGuest();
    const plain = await runCommand(options(), workload);
    hash = plain.stateHash; instructions = plain.instructions;
    expect(plain.exit, plain.log).toBe(7);
    const file = path.join(folder, 'off.pftrace');
    const traced = await runCommand(options({ trace: file }), workload);
    expect([traced.exit, traced.instructions, traced.stateHash]).toEqual([7, instructions, hash]);
    timeline = decodePerfetto(readFileSync(file));
  }, 300_000);

  it('records the same with the JIT, and the run is the same', async () => {
    const file = path.join(folder, 'on.pftrace');
    const traced = await runCommand(options({ jit: 'on', trace: file }), workload);
    expect([traced.instructions, traced.stateHash]).toEqual([instructions, hash]);
    expect(readFileSync(file).equals(readFileSync(path.join(folder, 'off.pftrace')))).toBe(true);
  }, 120_000);
  it('has one track per thread, in the process it belongs to', () => {
    const threads = timeline.tracks.filter(({ kind }) => kind === 'thread');
    expect(new Set(threads.map(({ tid }) => tid)).size).toBe(threads.length);
    const processes = new Map(timeline.tracks.filter(({ kind }) => kind === 'process').map(({ id, name, pid }) => [id, { name, pid }]));
    for (const thread of threads) expect(processes.get(thread.parent!)?.pid).toBe(thread.pid);
    const names = threads.map(({ name, parent }) => `${processes.get(parent!)!.name}: ${name}`);
    for (const expected of ['root: root #1', 'supervisor: supervisor #1', 'process: process #1', 'fs: fs #1', 'tty: tty #1', 'virtio-blk: virtio-blk #1', 'sh (pid 1): sh']) expect(names).toContain(expected);
    expect(names.some((name) => /^cat \(pid \d+\): cat$/.test(name))).toBe(true);
  });
  it('draws an arrow from every call of a program through process (and fs) back to the caller', () => {
    const all = slices(timeline);
    const calls = all.filter(({ track, name }) => track === 'cat' && name.startsWith('call '));
    expect(calls.length).toBeGreaterThan(3);
    for (const { begin, end, name } of calls) {
      const [flow] = begin.flows!;
      const served = all.find((slice) => slice.track === 'serving' && slice.begin.category === 'ipc' && slice.begin.flows?.includes(flow));
      expect(served?.name, `service of ${name}`).toBe(name.slice(5));
      expect(served!.begin.ns).toBeGreaterThanOrEqual(begin.ns);
      if (name !== 'call exit') {
        const back = timeline.events.find((event) => event.ends?.includes(flow));
        expect(back, `return of ${name}`).toMatchObject({ type: 'begin', name: 'running' });
        expect(back!.ns).toBeGreaterThanOrEqual(end.ns);
      }
    }
    const byRing = all.filter(({ begin }) => begin.category === 'ring' && begin.args?.['caller'] === 'cat');
    expect(byRing.map(({ name }) => name)).toContain('open');
    for (const { begin } of byRing) expect(begin.flows).toHaveLength(1);
  });
  it('shows the restart of a server by phases, and its generations', () => {
    const all = slices(timeline), own = all.filter(({ track }) => track === 'generation').map(({ name }) => name);
    expect(own.filter((name) => name === 'generation 2')).toHaveLength(1);
    for (const phase of ['restart', 'detected', 'stopped', 'quiet', 'revoked', 'built', 'started']) expect(own.filter((name) => name === phase), phase).toHaveLength(1);
    const threads = timeline.tracks.filter(({ kind }) => kind === 'thread').map(({ name }) => name);
    expect(threads).toContain('fs #2');
    const restart = all.find(({ name }) => name === 'restart')!, second = timeline.tracks.find(({ name }) => name === 'fs #2')!.id;
    expect(timeline.events.find(({ track }) => track === second)!.ns).toBeGreaterThan(restart.begin.ns);
  });
  it('shows what every vCPU did, and interrupts', () => {
    for (const cpu of ['cpu0', 'cpu1', 'cpu2', 'cpu3']) expect(timeline.tracks.map(({ name }) => name)).toContain(cpu);
    expect(timeline.events.some(({ category, type }) => category === 'irq' && type === 'instant')).toBe(true);
    expect(timeline.events.some(({ name }) => name === 'wake fs #1')).toBe(true);
  });
  it('loses nothing in parallel mode, and counts live', async () => {
    const trace = openTrace();
    const machine = createMachine({ ...systemConfig(options({ deterministic: false, smp: 2, jit: 'on' }), workload, {}), trace: trace.config });
    const result = await machine.run().finally(() => machine.close());
    expect(result.reason).toBe('poweroff');
    const report = trace.write(path.join(folder, 'parallel.pftrace'), machine.traceLost);
    expect(report.lost).toBe(0);
    slices(decodePerfetto(readFileSync(path.join(folder, 'parallel.pftrace'))));
    const live = trace.live.counters();
    expect(live.calls).toBeGreaterThan(20);
    expect(live.restarts).toBe(1);
    expect(live.generations['fs']).toBe(2);
    expect(live.callNs.p99).toBeGreaterThanOrEqual(live.callNs.median);
    expect(trace.live.line()).toMatch(/^calls \d+ {2}median .* restarts 1 {2}fs #2/);
  }, 120_000);
  it('keeps the last records in a ring', () => {
    const trace = openTrace({ keep: 'ring' });
    const machine = createMachine({ ...systemConfig(options({ smp: 1 }), workload, {}), trace: trace.config });
    try {
      const machineOf = machine as ReturnType<typeof createMachine> & { runFor(n: number): unknown };
      machineOf.runFor(8_000_000);
      const lines = lastRecords(machine, 20);
      expect(lines).toHaveLength(20);
      for (const line of lines) expect(line).toMatch(/^ +\d+\.\d{3} us {2}cpu0 {2}\S+/);
      expect(lines).toEqual([...readRecords(machine.traceRecords())].slice(-20).map(formatRecord));
      expect(trace.records()).toHaveLength(0);
    } finally { machine.close(); }
  });
});

describe('trace points', () => {
  it('are all in this kernel', () => expect(kernelPlan().missing).toEqual([]));
  it('that do not exist are named', () => expect(kernelPlan('/nonexistent/kernel.elf').missing).toContain('fastCall'));
  it('with impossible ids, addresses or words are refused', () => {
    const plan = (point: object): Parameters<typeof checkPlan>[0] => ({ points: [{ id: 1, address: 0, words: [], ...point }], marks: false, events: false, keep: 'ring' });
    expect(() => checkPlan(plan({}))).not.toThrow();
    for (const bad of [{ id: -1 }, { id: 0xe000 }, { address: 2 ** 32 }, { address: 0.5 }, { words: Array(5).fill({ from: 'eax' }) }, { words: [{ from: 'eip' }] }]) expect(() => checkPlan(plan(bad))).toThrow(TraceError);
  });
  it('with other code than expected are not there', () => {
    const { plan } = kernelPlan();
    const [point] = plan.points.filter(({ id }) => id === 1);
    const run = (code: Uint8Array): number => {
      const machine = createMachine({ ...systemConfig(options({ smp: 1 }), workload, {}), trace: { points: [{ ...point!, code }], marks: false, events: false, keep: 'ring' } });
      try { (machine as unknown as { runFor(n: number): unknown }).runFor(3_000_000); return machine.traceRecords().length; } finally { machine.close(); }
    };
    expect(run(Uint8Array.of(0x8b, 0x1c, 0x24))).toBeGreaterThan(0); // mov ebx, [esp]
    expect(run(Uint8Array.of(0x8b, 0x1c, 0x25))).toBe(0);
  });
});

describe('the Perfetto encoding', () => {
  const timeline: Timeline = {
    tracks: [{ id: 1, name: 'p', kind: 'process', pid: 7, rank: 3 }, { id: 2, name: 'größe', kind: 'thread', parent: 1, pid: 7, tid: 300 }, { id: 3, name: 'c', kind: 'custom', parent: 2 }],
    events: [
      { ns: 0, track: 2, type: 'begin', name: 'a', category: 'x', flows: [1, 2 ** 40], args: { n: -5, big: 2 ** 50, text: 'ü' } },
      { ns: 5_000_000_000_000, track: 3, type: 'instant', name: 'a', ends: [1] }, { ns: 5_000_000_000_001, track: 2, type: 'end', args: { text: '' } },
    ],
  };
  it('comes back as it was', () => expect(decodePerfetto(encodePerfetto(timeline))).toEqual(timeline));
  it('of a damaged file is refused with a reason', () => {
    const file = encodePerfetto(timeline);
    expect(() => decodePerfetto(file.subarray(0, file.length - 1))).toThrow(PerfettoError);
    expect(() => decodePerfetto(Uint8Array.of(0x0b))).toThrow(/wire type/);
    expect(() => decodePerfetto(new TextEncoder().encode('no trace'))).toThrow(PerfettoError);
  });
});
