/**
 * An engine for tests of the runners: every "instruction" mixes EAX, sometimes stores to RAM, sometimes touches a device or halts, all
 * as a function of architectural state alone. It keeps the same contract as the real one: exact budgets, interrupts taken at the start
 * of a slice or after the instruction whose bus access raised them, halt returns at once unless woken.
 */
import { ATTN, RUN, S } from '../../vm/cpu/state.ts';
import { DIRTY_ALL, VCPU_BYTES, type PhysAddr } from '../../vm/board.ts';
import type { EngineFactory } from '../../vm/engine.ts';
import { LAPIC } from '../../vm/devices/lapic.ts';

const RAM_PAGES = 64;
const RAM_FIRST = 0x20_0000;

export const fakeEngine: EngineFactory = (board, cpu, bus) => {
  const words = new Uint32Array(board.buffer, board.vcpuBase(cpu), VCPU_BYTES >> 2);
  const at = (offset: number): number => offset >> 2;
  const lapic = (register: number, value: number): void => bus.mmioWrite(cpu, (0xfee0_0000 + register) as PhysAddr, 4, value);
  words[at(S.apicBase)] = 0xfee0_0800;
  words[at(S.eflags)] = 0x202;
  let clean = true;

  const poll = (): void => {
    if (words[at(S.attention)] & ATTN.INIT) { words[at(S.attention)] &= ~ATTN.INIT; words[at(S.runState)] = RUN.waitSipi; }
    if (words[at(S.attention)] & ATTN.SIPI) {
      words[at(S.attention)] &= ~ATTN.SIPI;
      if (words[at(S.runState)] === RUN.waitSipi) { words[at(S.runState)] = RUN.running; words[at(S.eax)] = 0x1000 + words[at(S.sipiVector)]; words[at(S.edi)] = 1; }
    }
    while (words[at(S.attention)] & ATTN.INTR) {
      const vector = bus.interruptAcknowledge(cpu);
      if (vector >= 0) {
        words[at(S.runState)] = RUN.running;
        words[at(S.ebx)] = Math.imul(words[at(S.ebx)], 31) + vector;
        words[at(S.ecx)]++;
        lapic(LAPIC.EOI, 0);
      }
    }
  };
  const store = (address: number, value: number): void => {
    if (board.dirtyMap[address >>> 12] !== DIRTY_ALL) board.dirtyMap[address >>> 12] = DIRTY_ALL;
    board.ramWords[address >> 2] = value;
  };
  const instruction = (): boolean => {
    let touched = false;
    const eax = words[at(S.eax)] = Math.imul(words[at(S.eax)], 1664525) + 1013904223 + words[at(S.ebx)];
    if ((eax & 7) === 3) store(RAM_FIRST + ((eax >>> 8) % (RAM_PAGES * 4096) & ~3), eax);
    if ((eax >>> 8 & 0xff) === 7) {
      touched = true;
      if (words[at(S.edi)] === 0 && board.cpus > 1) { // boot processor: start the others once
        words[at(S.edi)] = 1;
        lapic(LAPIC.ICR_LOW, 0xc4500);
        lapic(LAPIC.ICR_LOW, 0xc4608);
      }
      lapic(LAPIC.SVR, 0x1ff);
      lapic(LAPIC.LVT_TIMER, 0x40);
      lapic(LAPIC.TIMER_DIVIDE, 0xb);
      lapic(LAPIC.TIMER_INITIAL, 500 + (eax >>> 20));
      bus.portRead(cpu, 0x40, 1);
    } else if ((eax >>> 8 & 0xff) === 9) { touched = true; bus.portWrite(cpu, 0x3f8, 1, 0x41 + ((eax >>> 16) & 15)); }
    else if ((eax >>> 8 & 0x1ff) === 11) { touched = true; lapic(LAPIC.ICR_LOW, 0x4050 | (((eax >>> 20) & 1) + 2) << 18); } // IPI to all or all others
    else if ((eax >>> 8 & 0x1ff) === 13 && words[at(S.edi)]) {
      touched = true;
      lapic(LAPIC.SVR, 0x1ff);
      lapic(LAPIC.LVT_TIMER, 0x40);
      lapic(LAPIC.TIMER_INITIAL, 300 + (eax >>> 22));
      words[at(S.runState)] = RUN.halted;
    }
    else if ((eax >>> 8 & 0x1ff) === 15) { touched = true; if (bus.portRead(cpu, 0x3fd, 1) & 1) words[at(S.edx)] = Math.imul(words[at(S.edx)], 257) + bus.portRead(cpu, 0x3f8, 1); }
    words[at(S.retired)]++;
    if (words[at(S.retired)] === 0) words[at(S.retired) + 1]++;
    return touched;
  };
  return {
    run(budget) {
      if (!clean) throw new Error('engine run with stale translations');
      poll();
      for (let left = budget; left > 0; left--) {
        if (words[at(S.runState)] !== RUN.running) return 'halt';
        if (words[at(S.attention)] & ATTN.STOP) return 'stop';
        if (instruction()) { if (words[at(S.attention)] & ATTN.STOP) return 'stop'; poll(); }
      }
      return words[at(S.runState)] === RUN.running ? 'budget' : 'halt';
    },
    reset() {},
    invalidateAll() { clean = true; },
    dropWriteTranslations() {},
    memoryWritten() { clean = false; },
    restored() { clean = true; }, registersChanged() {}, readPlainPorts() {}, stopBehind() {}, raiseException() {}, setMark() {}, clearMarks() {}, setDebug() {},
  };
};
