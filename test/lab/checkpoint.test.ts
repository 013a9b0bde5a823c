/**
 * The hooks that fault injection stands on: a rolled-back machine is the machine at the checkpoint, to the hash; what runs after it is what
 * would have run; watch, marks, injected exceptions and the fault port change nothing but what they say.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { ensureGuest } from '../../tools/cli/guest.ts';
import { Subject } from '../../tools/lab/subject.ts';
import { moduleOf } from '../../tools/lab/symbols.ts';
import { workloadImage } from '../../tools/lab/store.ts';
import { BEGIN, filesWorkload } from '../../tools/lab/workload.ts';

let disk: string;
beforeAll(() => { ensureGuest(); disk = workloadImage(filesWorkload()); }, 600_000);
const options = (cpus: number): ConstructorParameters<typeof Subject>[0] => ({ cpus, scheduleSeed: 0, memoryMiB: 128, disk, command: ['sh', '/etc/workload'] });

describe('checkpoint and roll back', () => {
  for (const [cpus, jit] of [[1, 'on'], [1, 'off'], [2, 'off']] as const) {
    it(`comes back to the same state and the same future, ${cpus} vCPU(s), jit ${jit}`, () => {
      const subject = new Subject(options(cpus), { jit });
      try {
        subject.boot(BEGIN);
        const { machine } = subject;
        machine.runFor(100_000);
        subject.checkpoint();
        const at = machine.hash(), output = subject.output().stdout;
        const futures = new Set<string>();
        // Forks of different lengths, cut at odd places, the longest over programs that come and go.
        for (const length of [1, 777, 50_001, 400_000, 900_000, 400_000]) {
          for (let left = length; left > 0; left -= 77_777) machine.runFor(Math.min(left, 77_777));
          if (length === 400_000) futures.add(machine.hash());
          subject.rollBack();
          expect(machine.hash(), `after a fork of ${length}`).toBe(at);
          expect(subject.output().stdout).toBe(output);
        }
        expect(futures.size).toBe(1);
        const straight = new Subject(options(cpus), { jit: 'off' });
        try {
          straight.boot(BEGIN);
          straight.machine.runFor(500_000);
          expect([...futures]).toEqual([straight.machine.hash()]);
        } finally { straight.close(); }
      } finally { subject.close(); }
    });
  }
  it('does not depend on cuts where all vCPUs halt for the disk', () => {
    const whole = new Subject(options(1), { jit: 'off' }), cut = new Subject(options(1), { jit: 'off' });
    try {
      whole.boot(BEGIN);
      cut.boot(BEGIN);
      const at: number[] = [];
      whole.disk.intercept = () => { at.push(whole.offset); return false; };
      whole.machine.runFor(2_000_000);
      expect(at.length).toBeGreaterThan(10);
      for (const offset of [...at, 2_000_000]) { cut.machine.runFor(offset - cut.offset); cut.machine.runFor(0); }
      expect(cut.machine.hash()).toBe(whole.machine.hash());
    } finally { whole.close(); cut.close(); }
  });
  it('undoes stores of the fault port, to code as well', () => {
    const subject = new Subject(options(1), { jit: 'off' });
    try {
      subject.boot(BEGIN);
      const { machine, port } = subject;
      subject.checkpoint();
      machine.runFor(300_000);
      const future = machine.hash();
      subject.rollBack();
      const { eip, cr3 } = port.position(0);
      port.write(cr3, eip, Uint8Array.of(0xeb, 0xfe)); // a jump to itself
      machine.runFor(10_000);
      expect(port.position(0).eip).toBe(eip);
      subject.rollBack();
      machine.runFor(300_000);
      expect(machine.hash()).toBe(future);
    } finally { subject.close(); }
  });
});

describe('code that changes under the machine', () => {
  it('is counted exactly where a cut falls behind a block that has become shorter', () => {
    const subject = new Subject(options(1), { jit: 'off' });
    try {
      subject.boot(BEGIN);
      const { machine, port } = subject;
      // Somewhere in ring 3 of a server, at an instruction of four bytes: as four NOPs its block has three instructions more.
      let at = port.position(0), length = 0;
      for (let k = 0; k < 60_000 && !(at.user && length === 4); k++) {
        machine.runFor(1);
        at = port.position(0);
        const insn = moduleOf('fs').instruction(at.eip);
        length = insn && !insn.entry.end ? insn.length : 0;
      }
      expect(length).toBe(4);
      subject.checkpoint();
      const places = (): number[] => Array.from({ length: 40 }, (_, n) => { machine.runFor(n + 1); const { eip } = port.position(0); subject.rollBack(); return eip; });
      const before = places();
      port.write(at.cr3, at.eip, Uint8Array.of(0x90, 0x90, 0x90, 0x90));
      machine.runFor(5_000);
      subject.rollBack();
      expect(places()).toEqual(before);
    } finally { subject.close(); }
  });
});

describe('hooks of the engine', () => {
  it('a watch sees every block and changes nothing; a mark counts the calls of a function', () => {
    const entries: number[] = [];
    const address = moduleOf('kernel').symbol('microkernel/core/ipc/deliver')!;
    let on = false;
    const watched = new Subject(options(1), { watch: (_cpu, retired, eip) => { if (on && eip === address) entries.push(retired); return false; } });
    const marked = new Subject(options(1), { jit: 'on' });
    try {
      for (const subject of [watched, marked]) subject.boot(BEGIN);
      const hits: number[] = [];
      marked.machine.engines[0]!.setMark(address, marked.port.translate(marked.port.position(0).cr3, address), (_cpu, retired) => { hits.push(retired - 1); return false; });
      on = true;
      for (const { machine } of [watched, marked]) machine.runFor(400_000);
      expect(hits.length).toBeGreaterThan(3);
      expect(hits).toEqual([...new Set(entries)]);
      expect(marked.machine.hash()).toBe(watched.machine.hash());
    } finally { watched.close(); marked.close(); }
  });
  it('a mark can stop the machine at the instruction', () => {
    const subject = new Subject(options(1), { jit: 'on' });
    try {
      subject.boot(BEGIN);
      const { machine, port } = subject, address = moduleOf('kernel').symbol('microkernel/core/ipc/deliver')!;
      machine.engines[0]!.setMark(address, port.translate(port.position(0).cr3, address), () => true);
      const { pause, instructions } = machine.runFor(1_000_000);
      expect(pause).toBe('hook');
      expect(instructions).toBeLessThan(1_000_000);
      expect(port.position(0).eip).toBe(address + moduleOf('kernel').instruction(address)!.length);
    } finally { subject.close(); }
  });
});
