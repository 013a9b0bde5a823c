/** How a vCPU of parallel mode goes to sleep and wakes up: the loop of vm/parallel-vcpu.ts around an engine that does what the test says. */
import { describe, expect, test } from 'vitest';
import { ATTN, RUN, S } from '../../vm/cpu/state.ts';
import type { Engine, Exit } from '../../vm/engine.ts';
import { runVcpu } from '../../vm/parallel-vcpu.ts';
import { Rig } from './rig.ts';

/** Runs vCPU 0 until somebody stops the machine; host time advances by a microsecond whenever it is looked at. */
function loop(rig: Rig, run: (slice: number) => Exit, cores = 1, interruptsOff = false): { slices: number; parks: number[] } {
  const parks: number[] = [];
  let slices = 0;
  rig.cpus.words(0)[S.eflags >> 2] = interruptsOff ? 2 : 0x202;
  rig.cpus.park = (_cpu, seen) => {
    parks.push(seen);
    if (parks.length === 10) rig.cpus.stop('stopped', 0);
  };
  const engine = { run: () => run(++slices) } as unknown as Engine;
  runVcpu({ board: rig.board, cpus: rig.cpus, cpu: 0, chipset: rig.chipset, engine, clock: { now: () => rig.now += 1000, onRead: undefined }, cores });
  return { slices, parks };
}
const halt = (rig: Rig): Exit => { rig.cpus.setRunState(0, RUN.halted); return 'halt'; };
const acknowledge = (rig: Rig): void => { rig.cpus.interrupt(0, false); rig.cpus.setRunState(0, RUN.running); };

describe('a vCPU that halts', () => {
  test('does not sleep over an interrupt that came while it handled one', () => {
    const rig = new Rig();
    rig.cpus.interrupt(0, true);
    const { slices, parks } = loop(rig, (slice) => {
      if (slice === 2) { rig.cpus.stop('exit', 0); return 'stop'; }
      acknowledge(rig);
      rig.cpus.setRunState(0, RUN.halted);
      rig.cpus.interrupt(0, true); // another processor's, between the handler's HLT and the end of the slice
      return 'halt';
    });
    expect({ slices, parks }).toEqual({ slices: 2, parks: [] });
  });

  test('parks with STOP taken back, so that stopping the machine wakes it', () => {
    const rig = new Rig();
    const { parks } = loop(rig, () => { rig.cpus.requestStop(0); return halt(rig); });
    expect(parks.every((seen) => (seen & ATTN.STOP) === 0)).toBe(true);
  });

  test('spins as long as the answers come at once, and only then', () => {
    const rig = new Rig();
    let answers = 0;
    const attention = rig.cpus.attention.bind(rig.cpus);
    let looks = 0;
    rig.cpus.attention = (cpu) => {
      if (rig.cpus.runState(0) === RUN.halted && answers < 1000 && ++looks % 20 === 0) { answers++; rig.cpus.interrupt(0, true); }
      return attention(cpu);
    };
    const { slices, parks } = loop(rig, () => { acknowledge(rig); return halt(rig); });
    expect(slices).toBeGreaterThanOrEqual(1000);
    expect(parks.length).toBe(10); // all of them after the last answer
    expect(answers).toBe(1000);
  });

  test('does not spin when more vCPUs run than there are cores', () => {
    const rig = new Rig();
    rig.board.header.active = 1;
    const before = rig.now;
    loop(rig, () => halt(rig));
    expect(rig.now - before).toBeLessThan(50_000 * 5); // no spin of 50 us before each of the 10 parks
  });
});

describe('a vCPU that spins with PAUSE', () => {
  /** `pauses` times PAUSE, `distance` instructions apart, in one slice; the attention words it parked with. */
  const spin = (pauses: number, distance: number, prepare: (rig: Rig) => void = () => undefined, interruptsOff = false, cores = 0): number[] => {
    const rig = new Rig();
    prepare(rig);
    return loop(rig, () => {
      for (let k = 0; k < pauses; k++) { rig.cpus.words(0)[S.retired >> 2] += distance; rig.chipset.relax(); }
      rig.cpus.stop('exit', 0);
      return 'stop';
    }, cores, interruptsOff).parks;
  };
  test('rests now and then, soon when more vCPUs execute than there are cores', () => {
    expect(spin(199, 3)).toEqual([]);
    expect(spin(650, 3)).toEqual([0, 0, 0]);
    expect(spin(2999, 3, undefined, false, 1)).toEqual([]);
    expect(spin(6500, 3, undefined, false, 1)).toEqual([0, 0]);
  });
  test('does not rest when it does something else in between', () => { expect(spin(650, 500)).toEqual([]); });
  test('rests with interrupts off, whatever waits, but not before an interrupt that it can take', () => {
    expect(spin(250, 3, (rig) => rig.cpus.interrupt(0, true))).toEqual([]);
    expect(spin(250, 3, (rig) => rig.cpus.interrupt(0, true), true)).toEqual([ATTN.INTR]);
  });
});
