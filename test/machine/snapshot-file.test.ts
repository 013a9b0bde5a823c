/** Snapshot files: what comes back is the machine, in a process that knows nothing of the first; whatever is wrong with a file is said, typed, and breaks nothing. */
import { describe, expect, it } from 'vitest';
import { PHYS, type PhysAddr } from '../../vm/board.ts';
import { FaultPort } from '../../vm/faults.ts';
import { FileError, containerHead, section } from '../../vm/container.ts';
import { SNAPSHOT_FORMAT, SNAPSHOT_KIND, decodeSnapshot, encodeSnapshot, restoreStored } from '../../vm/snapshot-file.ts';
import type { DeterministicMachine, MachineConfig } from '../../vm/machine.ts';
import { bareMachine, counting } from './bare.ts';
import { Random, randomProgram } from './random-code.ts';

const FULL = process.env['KINTSUGI_FULL'] !== undefined;
const ALL = Number.MAX_SAFE_INTEGER;
const disk = (fill = 7): Uint8Array => new Uint8Array(64 * 512).fill(fill);
const machine = (config: Partial<MachineConfig> = {}): DeterministicMachine => bareMachine(counting(20_000), { disks: [{ bytes: disk() }], net: { backend: { kind: 'user' } }, ...config });
const saved = (at = 50_000): { bytes: Uint8Array; end: string; here: string } => {
  const m = machine();
  m.runFor(at);
  m.serialInput(0, Uint8Array.from({ length: 40 }, (_, n) => n)); // more than the chip takes at once
  const bytes = encodeSnapshot(m, { note: 'of the test' }), here = m.hash();
  m.runFor(ALL);
  return { bytes, here, end: m.hash() };
};
const refusal = (body: () => unknown): FileError => {
  try { body(); } catch (error) { expect(error).toBeInstanceOf(FileError); return error as FileError; }
  throw new Error('nothing was refused');
};

describe('a snapshot file', () => {
  it('holds the whole machine: the same state, the same future, input that waited included', () => {
    const { bytes, here, end } = saved();
    expect(bytes.length).toBeLessThan(60_000);
    const stored = decodeSnapshot(bytes, 'x.kin'), fresh = machine({ jit: 'off' });
    expect(stored.meta).toMatchObject({ cpus: 1, instructions: 50_000, stateHash: here, app: { note: 'of the test' }, images: [{ name: 'bare' }] });
    restoreStored(fresh, stored);
    expect([fresh.instructions, fresh.hash()]).toEqual([50_000, here]);
    fresh.runFor(ALL);
    expect(fresh.hash()).toBe(end);
  });
  it('fork makes another machine of the same state; neither knows of the other', () => {
    const m = machine();
    m.runFor(30_000);
    const fork = m.fork(), here = m.hash();
    expect(fork.hash()).toBe(here);
    fork.runFor(ALL);
    expect(m.hash()).toBe(here);
    m.runFor(ALL);
    expect(fork.hash()).toBe(m.hash());
  });
  it('has as many futures as forks: each goes its own way, and none of them touches another', () => {
    const m = machine();
    m.runFor(30_000);
    const snapshot = m.snapshot(), here = m.hash(), plain = m.fork();
    plain.runFor(ALL);
    const forks = [1, 2, 3].map((n) => {
      const fork = m.fork(), port = new FaultPort(fork);
      port.setRegister(0, 'ebx', n);
      port.writePhysical(0x30_0000, Uint8Array.of(n));
      port.writeDisk(0, 512 * n, new Uint8Array(512).fill(n));
      return fork;
    });
    for (const fork of forks) { fork.runFor(7000); fork.runFor(ALL); }
    expect(new Set(forks.map((fork) => fork.hash())).size).toBe(3);
    forks.forEach((fork, n) => expect([fork.board.ram[0x30_0000], new FaultPort(fork).readDisk(0, 512 * (n + 1), 1)![0], new FaultPort(fork).readDisk(0, 512 * ((n + 1) % 3 + 1), 1)![0]]).toEqual([n + 1, n + 1, 7]));
    expect([m.hash(), m.board.ram[0x30_0000]]).toEqual([here, 0]);
    m.runFor(ALL);
    expect(m.hash()).toBe(plain.hash());
    // Two branches of one machine, turn by turn.
    for (let n = 0; n < 3; n++) {
      m.restore(snapshot);
      expect(m.hash()).toBe(here);
      new FaultPort(m).writePhysical(0x30_0000, Uint8Array.of(n));
      m.runFor(ALL);
      if (n === 0) expect(m.hash()).toBe(plain.hash()); else expect(m.hash()).not.toBe(plain.hash());
    }
  });
  it('has the hash of the machine, and that is the one computed from nothing, wherever the run stands', () => {
    for (let seed = 1; seed <= 5; seed++) {
      const m = bareMachine(randomProgram(seed), { disks: [{ bytes: disk() }], net: { backend: { kind: 'user' } } }), port = new FaultPort(m), random = new Random(seed), back = m.snapshot();
      for (let n = 0; n < 12; n++) {
        switch (random.below(4)) {
          case 0: m.restore(back); break;
          case 1: port.writeDisk(0, 512 * random.below(64), new Uint8Array(512).fill(n)); break;
          case 2: port.writePhysical(0x30_0000 + random.below(0x8_0000), Uint8Array.of(n)); break;
          default: m.hash();
        }
        m.runFor(random.below(3000));
        const incremental = m.hash(), fork = m.fork(); // whose hasher has seen no page yet
        expect([seed, n, fork.hash()]).toEqual([seed, n, incremental]);
        fork.close();
      }
    }
  });
  it('of another machine is refused with the reason, and the machine goes on as it was', () => {
    const stored = decodeSnapshot(saved().bytes, 'x.kin');
    for (const [config, reason] of [
      [{ cpus: 2 }, /1 CPUs, this one has 2/], [{ memoryMiB: 8 }, /4 MiB of memory, this one has 8/], [{ net: undefined }, /with a network card/], [{ disks: [] }, /laid out differently, or with other devices/], [{ disks: [{ bytes: new Uint8Array(128 * 512) }] }, /disk image/],
    ] as const) {
      const other = machine(config as Partial<MachineConfig>);
      other.runFor(1000);
      const before = other.hash(), error = refusal(() => restoreStored(other, stored));
      expect([error.code, error.subject]).toEqual(['mismatch', 'x.kin']);
      expect(error.message).toMatch(reason);
      expect(other.hash()).toBe(before);
      other.runFor(1000);
    }
  });
  it('that is none, of another kind, old, or has something behind it is named', () => {
    const { bytes } = saved();
    const code = (file: Uint8Array): string => refusal(() => decodeSnapshot(file, 'x.kin')).code;
    expect(code(new Uint8Array(0))).toBe('not-ours');
    expect(code(Buffer.from('\x7fELF and much more of it'))).toBe('not-ours');
    expect(code(containerHead('RECO', 1))).toBe('kind');
    for (const version of [0, SNAPSHOT_FORMAT - 1, SNAPSHOT_FORMAT + 1, 2 ** 32 - 1]) expect(code(containerHead(SNAPSHOT_KIND, version))).toBe('version');
    expect(code(Buffer.concat([bytes, Buffer.from('x')]))).toBe('damaged');
    expect(code(Buffer.concat([containerHead(SNAPSHOT_KIND, SNAPSHOT_FORMAT), section('END ', new Uint8Array(0))]))).toBe('damaged');
    expect(refusal(() => decodeSnapshot(bytes.subarray(0, 300), 'x.kin')).message).toMatch(/^x\.kin: the file ends in the middle/);
  });
  it('cut off anywhere is truncated', () => {
    const { bytes } = saved(), random = new Random(5);
    for (let n = 0; n < 400; n++) {
      const length = n < 64 ? n : random.below(bytes.length), { code } = refusal(() => decodeSnapshot(bytes.subarray(0, length), 'x.kin'));
      expect(['truncated', ...(length < 8 ? ['not-ours'] : [])]).toContain(code);
    }
  });
  it(FULL ? 'with any byte changed is refused' : 'with any bit flipped is refused', { timeout: 1_200_000 }, () => {
    const { bytes } = saved(), random = new Random(6);
    for (let n = 0; n < (FULL ? bytes.length : 2000); n++) {
      const at = FULL || n < 600 ? n : random.below(bytes.length), bit = random.below(8), file = bytes.slice();
      file[at]! ^= 1 << bit;
      expect(() => decodeSnapshot(file, 'x.kin'), `byte ${at} bit ${bit}`).toThrow(FileError);
    }
  });
  it('with right checksums over nonsense is refused or is a machine that runs', () => {
    const random = new Random(7), { bytes } = saved(1000), head = bytes.subarray(0, 20);
    const parts: { tag: string; payload: Uint8Array }[] = [];
    for (let at = 20; at < bytes.length;) {
      const view = new DataView(bytes.buffer, bytes.byteOffset + at), length = view.getUint32(4, true);
      parts.push({ tag: Buffer.from(bytes.subarray(at, at + 4)).toString(), payload: bytes.subarray(at + 16, at + 16 + length) });
      at += 16 + length;
    }
    let refused = 0, ran = 0;
    for (let n = 0; n < 600; n++) {
      const changed = parts.map(({ tag, payload }) => ({ tag, payload: payload.slice() })), victim = changed[random.below(changed.length - 1)]!;
      for (let k = random.below(4) + 1; k > 0; k--) if (victim.payload.length > 0) victim.payload[random.below(victim.payload.length)] = random.below(256);
      if (random.below(8) === 0) changed.splice(random.below(changed.length), 1);
      const file = Buffer.concat([head, ...changed.map(({ tag, payload }) => section(tag, payload))]);
      const fresh = n % 20 === 0 ? machine() : undefined;
      try {
        const stored = decodeSnapshot(file, 'x.kin');
        if (!fresh) continue;
        restoreStored(fresh, stored);
        fresh.runFor(10_000);
        fresh.hash();
        ran++;
      } catch (error) { expect(error).toBeInstanceOf(FileError); refused++; }
    }
    expect(refused).toBeGreaterThan(100);
    void ran;
  });
  it('with times that are none is refused: nobody would catch up with them', () => {
    const m = machine(), port = new FaultPort(m), start = m.snapshot();
    const f64 = (value: number): Uint8Array => new Uint8Array(new Float64Array([value]).buffer);
    const lie = (name: string, at: number, value: Uint8Array): void => { const state = port.readState(name)!; state.set(value, at); expect(port.writeState(name, state)).toBe(true); };
    for (const [name, value] of [['events.deadline', NaN], ['events.deadline', 1e300], ['events.deadline', -Infinity], ['events.deadline', -2e9], ['8254.start', 1e17]] as const) {
      m.restore(start);
      lie(name, 0, f64(value));
      expect(refusal(() => restoreStored(machine(), decodeSnapshot(encodeSnapshot(m), 'x.kin'))).message, `${name} ${value}`).toMatch(/^x\.kin: it is of no machine: /);
    }
    m.restore(start);
    lie('cpu0.runState', 0, Uint8Array.of(9, 0, 0, 0));
    expect(refusal(() => restoreStored(machine(), decodeSnapshot(encodeSnapshot(m), 'x.kin'))).code).toBe('damaged');
    for (const [field, value] of [['roundStartNs', 1e300], ['roundNs', 1e18], ['roundBusyNs', -1]] as const) {
      m.restore(start);
      m.board.header[field] = value;
      expect(refusal(() => restoreStored(machine(), decodeSnapshot(encodeSnapshot(m), 'x.kin'))).code, field).toBe('damaged');
    }
  });
  it('with right checksums over any state at all is refused or is a machine that runs, devices too', { timeout: 600_000 }, () => {
    const config = { cpus: 2 }, donor = machine(config), port = new FaultPort(donor), names = port.stateNames(), heirs = [machine({ ...config, jitHeat: 2000 }), machine({ ...config, jit: 'off' })];
    donor.runFor(50_000);
    const start = donor.snapshot(), ends = new Map<string, number>();
    const ports = [0x20, 0x21, 0xa0, 0xa1, 0x40, 0x41, 0x42, 0x43, 0x61, 0x70, 0x71, 0x3f8, 0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3fd, 0x2f8, 0x2fa, 0x600, 0x602, 0x608], disks = [PHYS.pciMmio, PHYS.pciMmio + 4 * 0x4000].flatMap((bar) => [0, 0x1000, 0x2000, 0x3000].map((region) => bar + region));
    for (let seed = 1; seed <= (FULL ? 5000 : 150); seed++) {
      const x = new Random(seed), lies: string[] = [], one = <T>(list: readonly T[]): T => list[x.below(list.length)]!;
      donor.restore(start);
      for (let k = x.below(4) + 1; k > 0; k--) {
        const { name } = one(names), value = port.readState(name)!, at = x.below(value.length) & ~3, width = one([1, 4, 8, value.length]), fill = one([0, 255, 0x7f, 0x80, x.below(256), -1]);
        for (let n = at; n < Math.min(value.length, at + width); n++) value[n] = fill < 0 ? x.below(256) : fill;
        port.writeState(name, value);
        lies.push(`${name}+${at}`);
      }
      let end = 'refused';
      try {
        const heir = heirs[seed & 1]!;
        restoreStored(heir, decodeSnapshot(encodeSnapshot(donor), 'x.kin'));
        heir.runFor(2000);
        for (let k = 0; k < 60; k++) {
          const cpu = x.below(2), value = one([0, 1, 0xff, x.next()]), at = one([...disks, PHYS.ioapic, PHYS.lapic]) + (x.below(0x100) << 2) as PhysAddr, which = x.below(4), register = one(ports);
          if (which === 0) heir.chipset.portWrite(cpu, register, 1, value & 0xff);
          else if (which === 1) heir.chipset.portRead(cpu, register, 1);
          else if (which === 2) heir.chipset.mmioWrite(cpu, at, 4, value >>> 0);
          else heir.chipset.mmioRead(cpu, at, 4);
        }
        end = heir.runFor(10_000).pause;
        heir.hash();
        heir.snapshot();
      } catch (error) { if (!(error instanceof FileError)) throw new Error(`seed ${seed}: ${lies.join(' ')}: ${error instanceof Error ? error.stack : String(error)}`, { cause: error }); }
      ends.set(end, (ends.get(end) ?? 0) + 1);
    }
    expect(ends.get('limit')).toBeGreaterThan(100);
    expect(ends.get('refused')).toBeGreaterThan(1);
  });
  it('of random programs in mid-run goes on to the same end', () => {
    for (let seed = 1; seed <= 8; seed++) {
      const whole = bareMachine(randomProgram(seed)), part = bareMachine(randomProgram(seed));
      whole.runFor(ALL);
      part.runFor(Math.floor(whole.instructions / 2));
      const fresh = bareMachine([0xf4]);
      restoreStored(fresh, decodeSnapshot(encodeSnapshot(part), `${seed}`));
      fresh.runFor(ALL);
      expect([seed, fresh.instructions, fresh.hash()]).toEqual([seed, whole.instructions, whole.hash()]);
    }
  });
});
