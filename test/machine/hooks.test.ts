/**
 * Fault hooks: stops at an exact access or interrupt, device accesses that fail, interrupts that are lost, late or false, any state read and written, code changed under
 * the JIT. In tier 0 and in regions; and a machine without hooks is the machine it was.
 */
import { describe, expect, it } from 'vitest';
import { FaultPort } from '../../vm/faults.ts';
import { MOST_DELAYED, type DeviceAccess } from '../../vm/hooks.ts';
import type { DeterministicMachine, FaultHooks, MachineConfig } from '../../vm/machine.ts';
import { readEflags, S } from '../../vm/cpu/state.ts';
import { LAPIC } from '../../vm/devices/lapic.ts';
import { COUNTING, CODE, bareMachine, counting, le32 } from './bare.ts';

const ALL = 5_000_000, COUNT = 0x20_0800, VECTOR = 0x40;
const IDT = 0x21_0000, GDT = 0x22_0000, TABLES = 0x22_0100;
const register = (m: DeterministicMachine, name: 'eax' | 'ebx' | 'ecx' | 'edx' | 'esi' | 'eip', cpu = 0): number => m.cpus.words(cpu)[S[name] >> 2]! >>> 0;
const put = (m: DeterministicMachine, address: number, ...words: number[]): void => { words.forEach((word, k) => { m.board.ramWords[(address >> 2) + k] = word; }); m.board.markDirty(address, 4 * words.length); };

/** n times: eax = in 61h, ebx += eax, out 80h, al; then debug exit with al. `at`: the addresses behind the IN and behind the OUT. */
const ports = (n: number): number[] => [0xb9, ...le32(n), 0x31, 0xdb, 0x31, 0xc0, 0xe4, 0x61, 0x01, 0xc3, 0x40, 0xe6, 0x80, 0x49, 0x75, 0xf6, 0xe6, 0xf4];
const BEHIND_IN = CODE + 11, BEHIND_OUT = CODE + 16, PORTS = { setup: 3, perRound: 6 };
/** n times: ebx += [fee00020h] (the LAPIC's number), [fee00080h] = 0 (its task priority), in one block; then debug exit. */
const memory = (n: number): number[] => [0xb9, ...le32(n), 0x31, 0xdb, 0x31, 0xc0, 0x03, 0x1d, ...le32(0xfee0_0020), 0x40, 0xa3, ...le32(0xfee0_0080), 0x43, 0x49, 0x75, 0xf0, 0xe6, 0xf4];
/** Waits for interrupts with HLT, counting rounds in esi; vector 40h and vector 2 (NMI) count at COUNT and COUNT + 4. */
const WAITING = [0xbc, ...le32(0x9_0000), 0x0f, 0x01, 0x15, ...le32(TABLES), 0x0f, 0x01, 0x1d, ...le32(TABLES + 8), 0xfb, 0xf4, 0x46, 0xeb, 0xfc];
const BUSY = [...WAITING.slice(0, 20), 0x46, 0xeb, 0xfd]; // the same without HLT
const HANDLER = [0xff, 0x05, ...le32(COUNT), 0xc7, 0x05, ...le32(0xfee0_00b0), 0, 0, 0, 0, 0xcf]; // inc [COUNT]; EOI; iret
const NMI = [0xff, 0x05, ...le32(COUNT + 4), 0xcf];
function waiting(code: readonly number[], config: Partial<MachineConfig> = {}): DeterministicMachine {
  const m = bareMachine([...code, ...HANDLER, ...NMI], { quantum: 1000, ...config }), handler = CODE + code.length, nmi = handler + HANDLER.length;
  put(m, GDT, 0, 0, 0xffff, 0x00cf_9b00, 0xffff, 0x00cf_9300);
  put(m, TABLES, 23 | GDT << 16, GDT >>> 16, 0x7ff | IDT << 16, IDT >>> 16);
  for (const [vector, at] of [[VECTOR, handler], [2, nmi]] as const) put(m, IDT + 8 * vector, 8 << 16 | at & 0xffff, at & 0xffff_0000 | 0x8e00);
  for (const engine of m.engines) engine.invalidateAll();
  m.chipset.lapics.write(0, LAPIC.SVR, 4, 0x1ff);
  m.chipset.portWrite(0, 0x21, 1, 0xff); // nothing from the 8259
  return m;
}
const taken = (m: DeterministicMachine): number => m.board.ramWords[COUNT >> 2]!;
const timer = (m: DeterministicMachine, ns: number): void => {
  m.chipset.lapics.write(0, LAPIC.LVT_TIMER, 4, VECTOR);
  m.chipset.lapics.write(0, LAPIC.TIMER_DIVIDE, 4, 0xb);
  m.chipset.lapics.write(0, LAPIC.TIMER_INITIAL, 4, ns);
};

describe.each(['off', 'on'] as const)('an access to a device, jit %s', (jit) => {
  it('of a port stops behind its instruction, whichever of all, and the run is the one it was', () => {
    const plain = bareMachine(ports(30_000), { jit, jitHeat: 5000 }), m = bareMachine(ports(30_000), { jit, jitHeat: 5000 });
    plain.runFor(ALL);
    let seen = 0, wanted = 0;
    m.setHooks({ access: ({ space, address, write }) => (space === 'port' && address === 0x80 && write && ++seen === wanted ? { stop: true } : undefined) });
    for (const nth of [1, 2, 777, 20_000, 29_999]) {
      wanted = nth;
      expect(m.runFor(ALL).pause).toBe('hook');
      expect([register(m, 'eip'), m.instructions, seen]).toEqual([BEHIND_OUT, PORTS.setup + (nth - 1) * PORTS.perRound + 4, nth]);
    }
    wanted = 0;
    m.runFor(ALL);
    expect([seen, m.instructions, m.hash()]).toEqual([30_000, plain.instructions, plain.hash()]);
  });
  it('finds another value, or nobody; a write is another, or none', () => {
    const m = bareMachine(ports(3), { jit }), accesses: DeviceAccess[] = [];
    const answers = [{ value: 0x5a }, undefined, { lost: true }, { lost: true }, { value: 0x11 }, { value: 0x77 }];
    m.setHooks({ access: (access) => { accesses.push(access); return answers[accesses.length - 1]; } });
    m.runFor(ALL);
    expect(register(m, 'ebx')).toBe(0x5a + 0xff + 0x111); // inc eax carried out of al
    expect(accesses.slice(0, 2)).toEqual([{ cpu: 0, space: 'port', address: 0x61, size: 1, write: false, value: 0 }, { cpu: 0, space: 'port', address: 0x80, size: 1, write: true, value: 0x5b }]);
    expect(m.chipset.portRead(0, 0x80, 1)).toBe(0x77);
  });
  it('in memory stops behind its instruction in the middle of a block, in code that is hot', () => {
    const plain = bareMachine(memory(20_000), { jit, jitHeat: 5000 }), m = bareMachine(memory(20_000), { jit, jitHeat: 5000 });
    plain.runFor(ALL);
    let seen = 0, wanted = 0;
    m.setHooks({ access: ({ space, address, write }) => (space === 'memory' && address === 0xfee0_0080 && write && ++seen === wanted ? { stop: true } : undefined) });
    for (const nth of [1, 2, 500, 15_000]) {
      wanted = nth;
      expect(m.runFor(ALL).pause).toBe('hook');
      expect([register(m, 'eip'), m.instructions, seen]).toEqual([CODE + 21, PORTS.setup + (nth - 1) * PORTS.perRound + 3, nth]);
    }
    wanted = 0;
    m.runFor(ALL);
    expect([m.instructions, m.hash()]).toEqual([plain.instructions, plain.hash()]);
    const other = bareMachine(memory(4), { jit });
    other.setHooks({ access: ({ address, write }) => (address === 0xfee0_0020 && !write ? { value: 100 } : undefined) });
    other.runFor(ALL);
    expect(register(other, 'ebx')).toBe(404);
  });
  it('of a REP stops behind the iteration', () => {
    const m = bareMachine([0xbe, ...le32(CODE), 0xb9, ...le32(9), 0x66, 0xba, 0x80, 0, 0xf3, 0x6e, 0xf4], { jit }); // rep outsb
    let seen = 0;
    m.setHooks({ access: () => ({ stop: ++seen % 4 === 0 }) });
    const stops: number[] = [];
    while (m.runFor(1000).pause === 'hook') stops.push(register(m, 'ecx'));
    expect([stops, seen]).toEqual([[5, 1], 9]);
  });
});

describe.each(['off', 'on'] as const)('an interrupt, jit %s', (jit) => {
  it.each([['halted', WAITING], ['busy', BUSY]] as const)('stops in front of its handler, every time (%s)', (_name, code) => {
    const m = waiting(code, { jit, jitHeat: 5000 }), port = new FaultPort(m), handler = CODE + code.length;
    m.setHooks({ interrupt: (cpu, vector) => cpu === 0 && vector === VECTOR });
    m.runFor(3000);
    for (let n = 0; n < 20; n++) {
      port.interrupt(0, VECTOR);
      const before = m.instructions;
      expect(m.runFor(5000)).toEqual({ pause: 'hook', instructions: m.instructions - before });
      expect([register(m, 'eip'), taken(m)]).toEqual([handler, n]);
      m.runFor(2000);
      expect(taken(m)).toBe(n + 1);
    }
  });
  it('of a timer is lost, or comes later to the nanosecond, or another one comes', () => {
    const at: number[] = [];
    let fault: ReturnType<NonNullable<FaultHooks['message']>>;
    const m = waiting(WAITING, { jit }), hooks: FaultHooks = { message: (cpu, vector) => { expect([cpu, vector]).toEqual([0, VECTOR]); return fault; }, interrupt: () => { at.push(m.virtualNs); return false; } };
    m.setHooks(hooks);
    m.runFor(1000);
    const began = m.virtualNs;
    timer(m, 5000);
    m.runFor(1000);
    expect([taken(m), at.map((ns) => ns - began)]).toEqual([1, [5000]]);
    fault = 'lost';
    timer(m, 5000);
    expect([m.runFor(1000).pause, taken(m)]).toEqual(['waiting', 1]);
    fault = { delayNs: 123_456 };
    const again = m.virtualNs;
    timer(m, 5000);
    m.runFor(1000);
    expect([taken(m), at.at(-1)! - again]).toEqual([2, 128_456]);
    m.setHooks(undefined);
    new FaultPort(m).interrupt(0, VECTOR);
    m.runFor(1000);
    expect([taken(m), at.length]).toEqual([3, 2]);
  });
  it('that nobody sent, and an NMI, arrive at a machine that nothing would have woken', () => {
    const m = waiting(WAITING, { jit }), port = new FaultPort(m);
    for (let n = 1; n < 5; n++) {
      expect(m.runFor(100).pause).toBe('waiting'); // the 8254 ticks, masked
      port.nmi(0);
      port.interrupt(0, VECTOR);
      expect(m.runFor(100).pause).toBe('waiting'); // the 8254 ticks, masked
      expect([taken(m), m.board.ramWords[(COUNT >> 2) + 1]]).toEqual([n, n]);
    }
  });
  it('held back is part of the state: in the hash, in snapshots, and it comes once in each future', () => {
    const m = waiting(WAITING, { jit }), port = new FaultPort(m);
    m.setHooks({ message: () => ({ delayNs: 50_000 }) });
    m.runFor(1000);
    const before = m.hash();
    for (let n = 0; n < 3; n++) m.chipset.lapics.accept(0, VECTOR + 0 * n, false);
    expect(m.chipset.delayed.count).toBe(3);
    expect(m.hash()).not.toBe(before);
    const snapshot = m.snapshot(), held = m.hash();
    m.runFor(1000);
    const end = m.hash();
    expect([m.chipset.delayed.count, taken(m)]).toEqual([0, 1]); // three at the same time are one in the request register
    for (let n = 0; n < 2; n++) {
      m.restore(snapshot);
      expect([m.hash(), m.chipset.delayed.count]).toEqual([held, 3]);
      m.runFor(1000);
      expect(m.hash()).toBe(end);
    }
    for (let n = 0; n < MOST_DELAYED; n++) m.chipset.lapics.accept(0, VECTOR, false);
    expect([m.chipset.delayed.count, port.position(0).user]).toEqual([MOST_DELAYED, false]);
    m.chipset.lapics.accept(0, VECTOR, false); // one too many is there at once
    expect(m.chipset.delayed.count).toBe(MOST_DELAYED);
    m.runFor(5);
    expect(taken(m)).toBe(2);
  });
  it('of a line is lost or late', () => {
    const m = waiting(WAITING, { jit }), seen: string[] = [];
    let fault: ReturnType<NonNullable<FaultHooks['line']>>;
    m.setHooks({ line: (line, asserted) => { seen.push(`${line} ${asserted}`); return line === 4 ? fault : undefined; } });
    const write = (register: number, value: number): void => { m.chipset.mmioWrite(0, 0xfec0_0000 as never, 4, register); m.chipset.mmioWrite(0, 0xfec0_0010 as never, 4, value); };
    write(0x10 + 2 * 4, VECTOR);
    m.chipset.portWrite(0, 0x3f9, 1, 1); // receive interrupts of COM1
    m.chipset.portWrite(0, 0x3fc, 1, 8);
    const drain = (): void => { while (m.chipset.portRead(0, 0x3fd, 1) & 1) m.chipset.portRead(0, 0x3f8, 1); m.chipset.portRead(0, 0x3fa, 1); };
    const type = (): number => { const before = taken(m); m.serialInput(0, Uint8Array.of(65)); m.runFor(200); drain(); return taken(m) - before; };
    m.runFor(200);
    expect(type()).toBe(1);
    fault = 'lost';
    expect(type()).toBe(0);
    fault = { delayNs: 30_000 };
    const began = m.virtualNs;
    expect(type()).toBe(1);
    expect(m.virtualNs - began).toBeGreaterThanOrEqual(30_000);
    expect(seen).toContain('4 true');
    fault = undefined;
    m.runFor(200);
    const port = new FaultPort(m), before = taken(m);
    port.setLine(4, false);
    port.setLine(4, true);
    m.runFor(200);
    expect(taken(m)).toBe(before + 1);
  });
});

describe('state', () => {
  it('of every name is read, written and put back; the hash sees each', () => {
    const m = bareMachine(counting(5000), { cpus: 2, disks: [{ bytes: new Uint8Array(4096) }], net: { backend: { kind: 'user' } } }), port = new FaultPort(m);
    m.runFor(10_000);
    const before = m.hash(), names = port.stateNames(), unseen: string[] = [];
    expect(names.length).toBeGreaterThan(150);
    expect(names.map(({ name }) => name)).toEqual(expect.arrayContaining(['cpu0.eax', 'cpu1.xmm', 'cpu1.seg', 'cpu0.cr3', 'cpu0.fpr', 'IOAPIC.low', 'LAPIC 1.irr', 'events.deadline', 'virtio-blk 0 requests.due']));
    for (const { name, bytes } of names) {
      const old = port.readState(name)!;
      expect([name, old.length]).toEqual([name, bytes]);
      const changed = old.slice();
      changed[0]! ^= name.endsWith('.attention') ? 2 : 1; // NMI; bit 0 is a level
      expect(port.writeState(name, changed), name).toBe(true);
      expect([name, ...port.readState(name)!]).toEqual([name, ...changed]);
      if (m.hash() === before) unseen.push(name);
      expect(port.writeState(name, old)).toBe(true);
      expect([name, m.hash()]).toEqual([name, before]);
    }
    expect(unseen).toEqual([]);
    const end = (): string => { m.runFor(ALL); return m.hash(); }, plain = bareMachine(counting(5000), m.config);
    plain.runFor(ALL);
    expect(end()).toBe(plain.hash());
    for (const [name, bytes] of [['cpu2.eax', 4], ['cpu0.nothing', 4], ['nobody.eax', 4], ['', 0], ['cpu0.eax', 3], ['IOAPIC.low', 4]] as const) expect([name, port.writeState(name, new Uint8Array(bytes))]).toEqual([name, false]);
    expect(port.readState('cpu0.mode')).toBe(undefined);
  });
  it('that is written counts at the next instruction: flags, paging', () => {
    const m = bareMachine([0x90, 0x75, 0x02, 0xb3, 1, 0xf4]), port = new FaultPort(m), start = m.snapshot(); // nop; jnz over; mov bl, 1; hlt
    for (const zero of [true, false]) {
      m.restore(start);
      m.runFor(1);
      port.writeState('cpu0.eflags', Uint8Array.of(zero ? 0x42 : 2, 0, 0, 0));
      expect(readEflags(m.cpus.words(0), 0) & 0x40).toBe(zero ? 0x40 : 0);
      m.runFor(5);
      expect(register(m, 'ebx') & 1).toBe(zero ? 1 : 0);
    }
    const paged = bareMachine([0xa1, ...le32(0x20_0000), 0xa1, ...le32(0x20_0000), 0xf4]), on = new FaultPort(paged);
    put(paged, 0x20_0000, 111); put(paged, 0x30_0000, 222);
    for (let n = 0; n < 1024; n++) put(paged, 0x9_1000 + 4 * n, (n === 0x200 ? 0x30_0000 : n << 12) | 7);
    put(paged, 0x9_0000, 0x9_1000 | 7);
    paged.runFor(1);
    expect(register(paged, 'eax')).toBe(111);
    expect(on.writeState('cpu0.cr3', Uint8Array.from(le32(0x9_0000)))).toBe(true);
    const cr0 = on.readState('cpu0.cr0')!;
    cr0[3]! |= 0x80;
    expect(on.writeState('cpu0.cr0', cr0)).toBe(true);
    paged.runFor(1);
    expect(register(paged, 'eax')).toBe(222);
  });
  it('of a disk is read and written past a fault that is set', () => {
    const m = bareMachine([0xf4], { disks: [{ bytes: new Uint8Array(8192).fill(7) }] }), port = new FaultPort(m), { disk } = m.chipset.disks[0]!, asked: string[] = [];
    disk.intercept = (operation, offset, bytes) => { asked.push(`${operation} ${offset} ${bytes}`); return true; };
    expect(port.readDisk(0, 512, 512)).toEqual(new Uint8Array(512).fill(7));
    const before = m.hash();
    expect(port.writeDisk(0, 4096, new Uint8Array(512).fill(9))).toBe(true);
    expect(m.hash()).not.toBe(before);
    expect(port.readDisk(0, 4096, 512)).toEqual(new Uint8Array(512).fill(9));
    expect([port.readDisk(0, 8192, 512), port.writeDisk(0, 8192, new Uint8Array(512)), port.readDisk(1, 0, 512)]).toEqual([undefined, false, undefined]);
    expect(asked).toEqual([]);
    expect([disk.read(0, new Uint8Array(512)), disk.write(0, new Uint8Array(512)), disk.flush()]).toEqual([false, false, false]);
    expect(asked).toEqual(['read 0 512', 'write 0 512', 'flush 0 0']);
  });
});

describe('an exception that is raised', () => {
  it('is delivered in front of the instruction; one that nobody can take is a triple fault like any other', async () => {
    const m = waiting(BUSY), port = new FaultPort(m);
    m.runFor(500);
    const { eip } = port.position(0);
    port.raise(0, VECTOR);
    expect([register(m, 'eip'), m.board.ramWords[m.cpus.words(0)[S.esp >> 2]! >>> 2]]).toEqual([CODE + BUSY.length, eip]);
    m.runFor(100);
    expect(taken(m)).toBe(1);
    const none = bareMachine([0x40, 0xeb, 0xfd]); // no IDT
    none.runFor(100);
    new FaultPort(none).raise(0, 13, 0);
    const result = await none.run();
    expect([result.reason, result.detail!.split('\n')[0]]).toEqual(['shutdown', 'CPU 0: triple fault']);
  });
});

describe('code that is changed', () => {
  const changes: [string, number, number[]][] = [['the head of the loop', COUNTING.loop, [0x48]], ['a store in the function', COUNTING.store, [0xa3, ...le32(COUNTING.word + 8)]], ['its return, which becomes a nop and falls out', COUNTING.ret, [0x90]], ['a load', COUNTING.load + 1, [0x2d]]];
  it.each(changes)('while a region runs it is the new code from the next instruction on: %s', (_name, at, bytes) => {
    const end = (jit: 'on' | 'off', when: number): string => {
      const m = bareMachine(counting(60_000), { jit, jitHeat: 2000 }), port = new FaultPort(m);
      m.runFor(when);
      if (jit === 'on') expect(m.cpus.words(0)[S.countInRegions >> 2]!).toBeGreaterThan(1000);
      port.writePhysical(at, Uint8Array.from(bytes));
      m.runFor(200_000);
      const { pause } = m.runFor(100_000);
      return `${pause} ${m.stopReason ?? ''} ${m.instructions} ${m.hash()}`;
    };
    for (let when = 200_000; when < 200_007; when++) expect([when, end('on', when)]).toEqual([when, end('off', when)]);
  });
  it('by a hook in the middle of a run, on the page that runs, counts behind the instruction whose access it was', () => {
    for (const jit of ['off', 'on'] as const) {
      const m = bareMachine(ports(30_000), { jit, jitHeat: 5000 }), port = new FaultPort(m);
      let seen = 0;
      m.setHooks({ access: ({ address, write }) => { if (address === 0x61 && !write && ++seen === 25_000) port.writePhysical(BEHIND_IN, Uint8Array.of(0x29)); return { value: 1 }; } }); // add ebx, eax becomes sub
      m.runFor(ALL);
      expect([seen, register(m, 'ebx') | 0]).toEqual([30_000, 24_999 - 5001]);
    }
  });
  it('is changed for every vCPU that has it in a region', () => {
    // CPU 1 comes to the loop by SIPI, through a few bytes of real mode that switch to protected mode.
    const run = (jit: 'on' | 'off'): string => {
      const m = bareMachine([0x46, 0x47, 0x83, 0xc3, 3, 0xeb, 0xf9], { cpus: 2, jit, jitHeat: 2000, quantum: 700 }), port = new FaultPort(m); // inc esi; inc edi; add ebx, 3; jmp
      for (const name of ['eip', 'seg', 'cr0', 'cpl', 'runState', 'eflags']) port.writeState(`cpu1.${name}`, port.readState(`cpu0.${name}`)!);
      m.runFor(100_000);
      port.writePhysical(CODE + 4, Uint8Array.of(5));
      m.runFor(100_000);
      return [0, 1].map((cpu) => `${m.cpus.retired(cpu)} ${register(m, 'ebx', cpu)} ${register(m, 'esi', cpu)}`).join() + m.hash();
    };
    expect(run('on')).toBe(run('off'));
    expect(run('on')).not.toMatch(/,0 0 0/);
  });
});

describe('without hooks', () => {
  it('there is nothing of them in generated code: no module is another one, and every count is the same', () => {
    const counts = ['countBlocks', 'countCopied', 'countMisses', 'countSlow', 'countWalks', 'countJsOps', 'countRegions', 'countInRegions'] as const;
    const Module = WebAssembly.Module;
    let compiled = 0;
    const count = (prepare: (m: DeterministicMachine) => void): string => {
      const m = bareMachine([...counting(40_000).slice(0, 24), ...counting(40_000).slice(24)], { jitHeat: 5000 });
      prepare(m);
      m.runFor(ALL);
      return [m.instructions, m.hash(), ...counts.map((name) => `${name} ${m.cpus.words(0)[S[name] >> 2]}`)].join();
    };
    const never: FaultHooks = { access: () => undefined, interrupt: () => false, line: () => undefined, message: () => undefined };
    const plain = count(() => undefined);
    expect(plain).toMatch(/countInRegions [1-9]\d{4,}/);
    WebAssembly.Module = class extends Module { constructor(bytes: ConstructorParameters<typeof Module>[0]) { super(bytes); compiled++; } } as typeof Module;
    try {
      // Modules are kept by all that they depend on: another one would have to be compiled.
      expect(count((m) => { m.setHooks(never); m.setHooks(undefined); })).toBe(plain);
      expect(count((m) => m.setHooks(never))).toBe(plain);
    } finally { WebAssembly.Module = Module; }
    expect(compiled).toBeLessThanOrEqual(4); // what each machine has for itself: the hash of pages, of zeros
  });
});
