/** tools/bench/fs: reads the lines of fsbench, and believes nothing else. */
import { describe, expect, it } from 'vitest';
import { formatBenchFs, PhaseReader } from '../../tools/bench/fs.ts';

describe('the fs benchmark', () => {
  it('computes rates from lines that arrive in pieces', () => {
    const reader = new PhaseReader();
    reader.push('begin wri', { wallMs: 90, cpuMs: 40 });
    reader.push('te\n', { wallMs: 100, cpuMs: 50 });
    reader.push('write 10000000 bytes 50000000 ns\n', { wallMs: 200, cpuMs: 250 });
    expect(reader.rates.get('write')).toEqual({ wall: 100, cpu: 50, guest: 200 });
  });
  it('gives no figure for a phase that was over too soon', () => {
    const reader = new PhaseReader();
    reader.push('begin sync\nsync 10000000 bytes 1000 ns\n', { wallMs: 1, cpuMs: 1 });
    expect(reader.rates.get('sync')).toEqual({ wall: null, cpu: null, guest: null });
  });
  it.each(['write 1 bytes -5 ns', 'read 1 bytes 5 ns', 'nonsense'])('refuses "%s" after "begin write"', (line) => {
    const reader = new PhaseReader();
    expect(() => reader.push(`begin write\n${line}\n`, { wallMs: 1, cpuMs: 1 })).toThrow(`fsbench printed "${line}"`);
  });
  it('prints a table', () => {
    const rates = { wall: 50, cpu: 60, guest: null };
    expect(formatBenchFs({ place: 'follow', smp: 1, mode: 'parallel', jit: 'on', bytes: 16 << 20, runs: 3, phases: { warm: rates, write: rates, sync: rates, read: rates, verify: rates } })).toContain('write        50.0     60.0        -');
  });
});
