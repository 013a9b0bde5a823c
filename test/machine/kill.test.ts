/** The thread of a vCPU is ended from outside: a dead CPU, reported, no device lock held, and the rest of the machine goes on or stops with a message. */
import { describe, expect, it } from 'vitest';
import { DeviceLock } from '../../vm/devices/lock.ts';
import { ParallelMachine } from '../../vm/parallel.ts';
import { bareKernel, CODE, le32 } from './bare.ts';

/** Rounds of CPU 0 and of CPU 1; CPU 0 ends the machine with status 3 when END is not 0. */
const ROUNDS = [0x20_0000, 0x1000] as const, END = 0x20_0100;
const store = (address: number, value: number): number[] => [0xc7, 0x05, ...le32(address), ...le32(value)];
/** Both vCPUs do nothing but touch devices; CPU 1 in real mode at 8000h. */
const twoAtDevices = (): number[] => {
  const other = [0xe4, 0x61, 0xff, 0x06, ...le32(ROUNDS[1]).slice(0, 2), 0xeb, 0xf8]; // in al, 61h; inc word [1000h]; jmp
  const start = [...store(0xfee0_00f0, 0x1ff), ...store(0xfee0_0300, 0xc_4500), ...store(0xfee0_0300, 0xc_4608)]; // INIT and SIPI to all but self
  const copy = (text: number): number[] => [0xbe, ...le32(text), 0xbf, ...le32(0x8000), 0xb9, ...le32(other.length), 0xf3, 0xa4];
  const loop = [0xe4, 0x61, 0xff, 0x05, ...le32(ROUNDS[0]), 0x80, 0x3d, ...le32(END), 0, 0x74, 0xef, 0xb0, 1, 0xe6, 0xf4]; // in; inc; cmp byte [END], 0; je; out f4h
  return [...copy(CODE + copy(0).length + start.length + loop.length), ...start, ...loop, ...other];
};
const machine = (): ParallelMachine => new ParallelMachine({ kernel: { name: 'two', bytes: bareKernel(twoAtDevices()) }, memoryMiB: 4, cpus: 2, mode: 'parallel', timeoutMs: 50_000 });
const lockOf = (m: ParallelMachine): DeviceLock => m.chipset.lock as DeviceLock;
/** Until the vCPU has gone some more rounds, or the machine has stopped. */
async function moves(m: ParallelMachine, cpu: 0 | 1): Promise<void> {
  const read = (): number => m.board.ramWords[ROUNDS[cpu] >> 2]!, before = read();
  while (!m.cpus.stopped && (read() - before & 0xffff) < 20) await new Promise((resolve) => { setTimeout(resolve, 2); });
}

describe('a vCPU whose thread is ended', { timeout: 60_000 }, () => {
  it.each([1, 2, 3, 4])('while both are at devices all the time (%i): the other goes on', async () => {
    const m = machine(), done = m.run();
    await moves(m, 0); await moves(m, 1);
    await m.killCpu(1);
    await moves(m, 0); // it has the lock again and again
    m.board.ram[END] = 1;
    const result = await done;
    expect([result.reason, result.status]).toEqual(['exit', 3]);
    expect(result.detail).toMatch(/^CPU 1: worker exited with code 1$/);
    expect(lockOf(m).owner).toBe(-1);
    m.close();
  });

  it('while it holds the lock: the host takes it over, and the boot processor may be the dead one', async () => {
    const m = machine(), done = m.run();
    await moves(m, 0); await moves(m, 1);
    lockOf(m).acquire(0); // in the name of CPU 0, which waits for it with CPU 1
    await m.killCpu(0);
    await moves(m, 1);
    m.stop();
    const result = await done;
    expect(result.reason).toBe('stopped');
    expect(result.detail).toMatch(/^CPU 0: worker exited with code 1$/);
    expect(lockOf(m).owner).toBe(-1);
    m.close();
  });

  it('when the rest waits for it for ever, the machine stops and says why', async () => {
    // CPU 0 halts with interrupts off; CPU 1, which could have sent it an NMI, dies.
    const code = twoAtDevices(), jump = code.findIndex((_, k) => code[k] === 0xe4 && code[k + 1] === 0x61);
    code.splice(jump, 2, 0xfa, 0xf4); // cli; hlt in place of in al, 61h
    const m = new ParallelMachine({ kernel: { name: 'two', bytes: bareKernel(code) }, memoryMiB: 4, cpus: 2, mode: 'parallel', timeoutMs: 50_000 }), done = m.run();
    await moves(m, 1);
    await m.killCpu(1);
    const result = await done;
    expect(result.reason).toBe('stopped');
    expect(result.detail).toBe('CPU 1: worker exited with code 1\nall vCPUs are halted and nothing will wake them');
    m.close();
  });
});
