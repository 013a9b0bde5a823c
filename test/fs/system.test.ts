/**
 * The whole system on the deterministic VM: fs dies at random instructions - wherever it happens to be: in a window, in a commit, in its own
 * takeover - while programs copy, rename and delete. They must not notice: exit status 0, the right bytes, and a disk that is clean for e2fsck.
 *
 * fs runs alone on vCPU 1 of 4 (place=pin); a death is its EIP set to an unmapped address, which the supervisor sees as a fault message.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildGuests } from '../../tools/build/guests.ts';
import { PROGRAMS } from '../../tools/build/targets.ts';
import { rootEntries } from '../../tools/build/rootfs.ts';
import { systemConfig } from '../../tools/cli/system.ts';
import { Ext2Reader } from '../../tools/image/reader.ts';
import { buildExt2 } from '../../tools/image/writer.ts';
import { createMachine, DeterministicMachine } from '../../vm/machine.ts';
import { S } from '../../vm/cpu/state.ts';
import { e2fsck, haveE2fsprogs, pattern } from './helpers.ts';

const BIG = pattern(42, 2 << 20);
const FS_CPU = 1, FS_TEXT = 0x08048000, NOWHERE = 0x10;
/** In one run: below the supervisor's restart intensity, behind which it gives a server up. */
const DEATHS = 4;
const WORKLOAD = 'cp /big /copy; mkdir /d; for i in 1 2 3 4 5 6 7 8; do echo $i > /d/f$i; mv /d/f$i /d/g$i; cat /d/g$i; done; rm /d/g1 /d/g2; echo x >> /d/g3; cat /d/g3; sha256sum /copy; rm /copy; cp /big /again; ls /d; sync';
const EXPECTED = [...'12345678', '3', 'x', `${createHash('sha256').update(BIG).digest('hex')}  /copy`, 'g3', 'g4', 'g5', 'g6', 'g7', 'g8', ''].join('\n');

let folder = '', textEnd = FS_TEXT, image: Uint8Array;
beforeAll(async () => {
  const { failed } = await buildGuests();
  if (failed.length > 0) throw new Error(`guest build: ${failed[0]?.name}: ${failed[0]?.error}`);
  folder = mkdtempSync(join(tmpdir(), 'kintsugi-fs-'));
  image = buildExt2({ entries: [...rootEntries(PROGRAMS), { kind: 'file', path: '/big', data: BIG }], sizeMiB: 24, blockSize: 1024 });
  textEnd = FS_TEXT + 0x8000;
}, 600_000);
afterAll(() => { if (folder !== '') rmSync(folder, { recursive: true }); });

interface Outcome { readonly reason: string; readonly status: number | undefined; readonly output: string; readonly log: string; readonly instructions: number; readonly deaths: number; readonly disk: Uint8Array }
/** `samples` gets the instruction counts at which fs was seen running. */
function run(deaths: readonly number[], seed: number, samples?: number[]): Outcome {
  const path = join(folder, `disk-${seed}`);
  writeFileSync(path, image);
  let channel = Buffer.alloc(0), log = '';
  const base = systemConfig({ place: 'pin', smp: 4, memoryMiB: 128, deterministic: true, seed, timeoutSeconds: 60, jit: 'off', append: '' }, ['sh', '-c', WORKLOAD], {
    com1: (bytes: Uint8Array) => { log += Buffer.from(bytes).toString('latin1'); }, com2: (bytes: Uint8Array) => { channel = Buffer.concat([channel, bytes]); },
  });
  const machine = createMachine({ ...base, disks: [{ file: path, overlay: false }] });
  if (!(machine instanceof DeterministicMachine)) throw new Error('not the deterministic machine');
  let struck = 0;
  const words = machine.cpus.words(FS_CPU);
  const running = (): boolean => { const eip = words[S.eip >> 2]! >>> 0; return words[S.cpl >> 2] === 3 && eip >= FS_TEXT && eip < textEnd; };
  if (samples !== undefined) while (machine.runFor(3001).pause === 'limit') if (running()) samples.push(machine.instructions);
  for (const at of deaths) {
    while (machine.instructions < at) if (machine.runFor(at - machine.instructions).pause !== 'limit') break;
    for (let tries = 0; tries < 20_000; tries++) { // until fs runs
      if (running()) {
        words[S.eip >> 2] = NOWHERE;
        machine.engines[FS_CPU]!.invalidateAll();
        struck++;
        break;
      }
      if (machine.runFor(61).pause !== 'limit') break;
    }
  }
  for (let n = 0; n < 2000; n++) { const { pause } = machine.runFor(1_000_000); if (pause === 'stopped' || pause === 'idle') break; }
  const { reason, instructions } = machine.result();
  machine.close();
  let output = '', status: number | undefined;
  for (let i = 0; i + 4 <= channel.length;) {
    const bytes = channel.readUInt16LE(i + 2);
    if (channel[i] === 2) output += channel.subarray(i + 4, i + 4 + bytes).toString('latin1');
    if (channel[i] === 3) status = channel.readInt32LE(i + 4);
    i += 4 + bytes;
  }
  return { reason, status, output, log, instructions, deaths: struck, disk: readFileSync(path) };
}
function judge(outcome: Outcome): void {
  expect(outcome.output, outcome.log).toBe(EXPECTED);
  expect(outcome).toMatchObject({ reason: 'poweroff', status: 0 });
  const path = join(folder, 'judged');
  writeFileSync(path, outcome.disk);
  if (haveE2fsprogs()) e2fsck(path);
  const reader = new Ext2Reader(outcome.disk);
  expect(reader.verify()).toEqual([]);
  expect(reader.clean).toBe(true);
  expect(Buffer.compare(reader.read('/again'), BIG)).toBe(0);
  expect(Buffer.from(reader.read('/d/g3')).toString()).toBe('3\nx\n');
}

describe('fs on the VM', () => {
  const samples: number[] = [];
  it('does the workload undisturbed', () => {
    judge(run([], 1, samples));
    expect(samples.length).toBeGreaterThan(50);
  }, 120_000);
  it('dies at random instructions and nobody notices', () => {
    let random = Number(process.env['KINTSUGI_SEED'] ?? 7), deaths = 0;
    const next = (): number => { random = (Math.imul(random, 1664525) + 1013904223) >>> 0; return random / 2 ** 32; };
    const rounds = Number(process.env['KINTSUGI_FS_ROUNDS'] ?? (process.env['KINTSUGI_FULL'] ? 25 : 3));
    const busy = samples.slice(Math.floor(samples.length / 10)); // behind the mount
    for (let round = 0; round < rounds; round++) {
      const seed = random, at = Array.from({ length: DEATHS }, () => busy[Math.floor(next() * busy.length)]! + Math.floor(next() * 3000)).sort((a, b) => a - b);
      const outcome = run(at, 1);
      try { judge(outcome); } catch (error) { throw new Error(`KINTSUGI_SEED=${seed} KINTSUGI_FS_ROUNDS=1: deaths at ${at.join(' ')}: ${(error as Error).message}`, { cause: error }); }
      deaths += outcome.deaths;
    }
    expect(deaths).toBeGreaterThan(rounds * DEATHS / 2);
  }, 900_000);
});
