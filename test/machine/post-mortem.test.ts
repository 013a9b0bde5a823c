import { describe, expect, it } from 'vitest';
import { createMachine } from '../../vm/machine.ts';
import { bareKernel, bareMachine, CODE, COUNTING, counting, le32 } from './bare.ts';

/** `counting`, then ud2 in place of the debug exit: no IDT, a triple fault. */
const crashing = (rounds: number): number[] => { const code = counting(rounds); code.splice(24, 2, 0x0f, 0x0b); return code; };

describe('a triple fault', () => {
  it.each(['off', 'on'] as const)('stops the machine with registers and the last 32 branches (jit %s)', async (jit) => {
    const machine = bareMachine(crashing(500_000), { jit, postMortem: true }), result = await machine.run();
    expect([result.reason, result.status]).toEqual(['shutdown', 0]);
    const lines = result.detail!.split('\n');
    expect(lines[0]).toBe('CPU 0: triple fault');
    expect(result.detail).toContain(`eip ${(CODE + 24).toString(16).padStart(8, '0')}`);
    expect(result.detail).toContain(`eax ${(500_000).toString(16).padStart(8, '0')}`);
    expect(result.detail).toContain('ecx 00000000');
    const branches = machine.lastBranches();
    expect(branches.length).toBe(32);
    const [call, ret, back] = [{ from: COUNTING.loop + 1, to: COUNTING.store }, { from: COUNTING.ret, to: COUNTING.loop + 6 }, { from: COUNTING.loop + 7, to: COUNTING.loop }];
    expect(branches.slice(-5)).toEqual([call, ret, back, call, ret]); // the last jnz is not taken
    expect(lines.slice(-1)).toEqual([`    ${COUNTING.ret.toString(16).padStart(8, '0')} -> ${(COUNTING.loop + 6).toString(16).padStart(8, '0')}`]);
    machine.close();
  });
  it('says so where the run cannot be made again', async () => {
    const machine = bareMachine([0x90, 0x0f, 0x0b], { postMortem: true });
    const snapshot = machine.snapshot();
    machine.restore(snapshot);
    expect((await machine.run()).detail).toMatch(/last branches: the machine was restored/);
    machine.close();
    expect((await bareMachine([0x90, 0x0f, 0x0b]).run()).detail).toMatch(/last branches: not asked for/);
  });
  it('in parallel mode: the registers', { timeout: 60_000 }, async () => {
    const machine = createMachine({ kernel: { name: 'crash', bytes: bareKernel([0xb8, ...le32(0x1234_5678), 0x0f, 0x0b]) }, memoryMiB: 4, mode: 'parallel', timeoutMs: 50_000 }), result = await machine.run();
    expect(result.reason).toBe('shutdown');
    expect(result.detail).toMatch(/^CPU 0: triple fault\n[^]*eax 12345678[^]*last branches: recorded in deterministic mode only$/);
    machine.close();
  });
});
