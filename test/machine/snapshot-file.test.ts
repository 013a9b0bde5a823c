/** Snapshot files: what comes back is the machine, in a process that knows nothing of the first; whatever is wrong with a file is said, typed, and breaks nothing. */
import { describe, expect, it } from 'vitest';
import { FileError, containerHead, section } from '../../vm/container.ts';
import { SNAPSHOT_FORMAT, SNAPSHOT_KIND, decodeSnapshot, encodeSnapshot, restoreStored } from '../../vm/snapshot-file.ts';
import type { DeterministicMachine, MachineConfig } from '../../vm/machine.ts';
import { bareMachine, counting } from './bare.ts';
import { Random, randomProgram } from './random-code.ts';

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
    expect(code(containerHead(SNAPSHOT_KIND, SNAPSHOT_FORMAT + 1))).toBe('version');
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
  it('with any bit flipped is refused', () => {
    const { bytes } = saved(), random = new Random(6);
    for (let n = 0; n < 2000; n++) {
      const at = n < 600 ? n : random.below(bytes.length), bit = random.below(8), file = bytes.slice();
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
