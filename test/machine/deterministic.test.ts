import { describe, expect, it } from 'vitest';
import { DeterministicMachine, SnapshotError, type MachineConfig } from '../../vm/machine.ts';
import type { InputRecord } from '../../vm/inputs.ts';
import { MULTIBOOT_HEADER_MAGIC } from '../../vm/loader.ts';
import { pageHash } from '../../vm/hash-page.ts';
import { fakeEngine } from './fake-engine.ts';

/** A kernel that is nothing but its header: the fake engine does not fetch. */
function kernel(): Uint8Array {
  const bytes = new Uint8Array(64);
  const v = new DataView(bytes.buffer);
  const flags = 0x10000;
  [MULTIBOOT_HEADER_MAGIC, flags, -(MULTIBOOT_HEADER_MAGIC + flags), 0x10_0000, 0x10_0000, 0, 0, 0x10_0020].forEach((word, k) => v.setUint32(4 * k, word, true));
  return bytes;
}
const machine = (config: Partial<MachineConfig> = {}): DeterministicMachine =>
  new DeterministicMachine({ kernel: { name: 'nothing', bytes: kernel() }, memoryMiB: 8, cpus: 2, ...config }, fakeEngine);
const N = 60_000;

describe('deterministic runner', () => {
  it('is the same twice', () => {
    const a = machine();
    const b = machine();
    expect(a.runFor(N)).toEqual({ pause: 'limit', instructions: N });
    b.runFor(N);
    expect(a.hash()).toBe(b.hash());
    expect(a.instructions).toBe(N);
    expect(a.cpus.retired(1)).toBeGreaterThan(1000); // the second vCPU was started and took part
  });

  it('does not depend on how the run is cut', () => {
    const whole = machine({ seed: 7 });
    whole.runFor(N);
    const cut = machine({ seed: 7 });
    let k = 1;
    while (cut.instructions < N) { cut.runFor(Math.min(k, N - cut.instructions)); k = (k * 5) % 1237 + 1; }
    expect(cut.hash()).toBe(whole.hash());
    expect(cut.virtualNs).toBe(whole.virtualNs);
  });

  it('the hash of a page is that of its words, wherever one bit or the place of two words differs', () => {
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true }), words = new Uint32Array(memory.buffer), { a, b } = pageHash(memory);
    for (let n = 0; n < words.length; n++) words[n] = Math.imul(n + 1, 0x9e3779b9) ^ (n << 7);
    // The same in JavaScript, lane by lane (vm/hash-page.ts).
    const lanes = (step: (x: number, w: number) => number, page: Uint32Array): number => {
      const sixteen = new Array<number>(16).fill(0x2545f491);
      page.forEach((word, n) => { sixteen[n % 16] = step(sixteen[n % 16]!, word); });
      return sixteen.reduce((folded, lane) => step(folded, lane), 0x2545f491) | 0;
    };
    const stepA = (x: number, w: number): number => { const y = Math.imul(x ^ w, 0x9e3779b1); return y ^ (y >>> 15); };
    const stepB = (x: number, w: number): number => { const y = Math.imul((x + w) | 0, 0x85ebca77); return (y << 13) | (y >>> 19); };
    for (const page of [0, 4096, 61_440]) {
      const of = words.subarray(page >> 2, (page >> 2) + 1024);
      expect([a(page), b(page)]).toEqual([lanes(stepA, of), lanes(stepB, of)]);
    }
    const seen = new Set([`${a(0)} ${b(0)}`]);
    for (let bit = 0; bit < 32_768; bit += 97) { words[bit >> 5]! ^= 1 << bit % 32; seen.add(`${a(0)} ${b(0)}`); words[bit >> 5]! ^= 1 << bit % 32; }
    expect(seen.size).toBe(1 + Math.ceil(32_768 / 97));
    for (let n = 0; n < 1023; n += 31) { [words[n], words[n + 1]] = [words[n + 1]!, words[n]!]; seen.add(`${a(0)} ${b(0)}`); [words[n], words[n + 1]] = [words[n + 1]!, words[n]!]; }
    expect(seen.size).toBe(1 + Math.ceil(32_768 / 97) + 33);
  });

  it('another seed is another schedule', () => {
    const hashes = [0, 1, 2].map((seed) => { const m = machine({ seed }); m.runFor(N); return m.hash(); });
    expect(new Set(hashes).size).toBe(3);
  });

  it('the hash sees one bit of RAM, of a register and of a device', () => {
    const m = machine();
    m.runFor(N);
    const before = m.hash();
    m.board.ram[0x30_0000] ^= 1; m.board.markDirty(0x30_0000, 1);
    const ram = m.hash();
    m.board.ram[0x30_0000] ^= 1; m.board.markDirty(0x30_0000, 1);
    expect(m.hash()).toBe(before);
    m.cpus.words(1)[0] ^= 1;
    const register = m.hash();
    m.cpus.words(1)[0] ^= 1;
    m.chipset.portWrite(0, 0x3ff, 1, 1);
    const device = m.hash();
    expect(new Set([before, ram, register, device]).size).toBe(4);
  });

  it('the incremental hash equals one computed from scratch', () => {
    const often = machine();
    for (let k = 0; k < 10; k++) { often.runFor(N / 10); often.hash(); }
    const once = machine();
    once.runFor(N);
    expect(often.hash()).toBe(once.hash());
  });

  it('restoring a snapshot and running on gives the same states, again and again', () => {
    const m = machine({ seed: 3, disks: [{ bytes: new Uint8Array(8192) }] });
    m.runFor(N);
    const at = m.hash();
    const snapshot = m.snapshot();
    m.runFor(N);
    const later = m.hash();
    for (let k = 0; k < 3; k++) {
      m.runFor(k * 777);
      m.restore(snapshot);
      expect(m.hash()).toBe(at);
      expect(m.instructions).toBe(N);
      m.runFor(N);
      expect(m.hash()).toBe(later);
    }
  });

  it('restores between snapshots in any order, and into another machine', () => {
    const m = machine();
    const points = [0, 1, 2, 3].map(() => { m.runFor(N / 4); return { snapshot: m.snapshot(), hash: m.hash() }; });
    for (const k of [1, 3, 0, 2, 2, 0]) { m.restore(points[k].snapshot); expect(m.hash()).toBe(points[k].hash); }
    const other = machine();
    other.runFor(100);
    other.restore(points[3].snapshot);
    expect(other.hash()).toBe(points[3].hash);
    expect(() => machine({ cpus: 1 }).restore(points[0].snapshot)).toThrow(SnapshotError);
  });

  it('replays recorded input to the same state', () => {
    const records: InputRecord[] = [];
    const live = machine({ record: (record) => records.push(record) });
    for (let k = 0; k < 20; k++) { live.runFor(N / 20 - k); live.serialInput(0, new TextEncoder().encode(`line ${k}\n`)); }
    live.runFor(N);
    expect(records.length).toBe(20);
    const replay = machine({ replay: records });
    replay.runFor(live.instructions);
    expect(replay.hash()).toBe(live.hash());
    const silent = machine();
    silent.runFor(live.instructions);
    expect(silent.hash()).not.toBe(live.hash());
  });

  it('run() gives up at the instruction limit with reason timeout', async () => {
    const result = await machine({ maxInstructions: 5000 }).run();
    expect([result.reason, result.instructions]).toEqual(['timeout', 5000]);
  });

  it('delivers serial output', () => {
    let text = '';
    const m = machine({ com1: (bytes) => { text += new TextDecoder().decode(bytes); } });
    m.runFor(N);
    expect(text).toMatch(/^[A-P]{50,}$/);
  });
});
