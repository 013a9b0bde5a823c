/** Debug information names the TypeScript line of a fault and of every caller, walking the real stack of a stopped process. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { type Artifacts, buildTarget } from '../../tools/build/build.ts';
import { type DebugInfo, debugTable, locate, walkStack } from '../../tools/build/debug.ts';
import { generate } from '../../tools/build/generate.ts';
import { REPOSITORY_ROOT } from '../../vm/entry.ts';

const GUEST = 'test/build/debug.guest.ts';
const lineOf = (mark: string): number => readFileSync(path.join(REPOSITORY_ROOT, GUEST), 'utf8').split('\n').findIndex((l) => l.endsWith(`// ${mark}`)) + 1;

describe('debug information', () => {
  let built: Artifacts, info: DebugInfo;
  beforeAll(async () => {
    await generate();
    built = await buildTarget({ name: 'debug', entry: GUEST, kind: 'linux', runtime: 'stub', stubs: ['test/build/signal.asm.ts'] });
    info = JSON.parse(built.debug) as DebugInfo;
  });

  it('walks from a fault in an inlined function to main without a frame pointer', () => {
    const dir = mkdtempSync(path.join(tmpdir(), 'kintsugi-debug-'));
    try {
      writeFileSync(path.join(dir, 'guest'), built.elf, { mode: 0o755 });
      const r = spawnSync(path.join(dir, 'guest'));
      const v = new DataView(r.stdout.buffer, r.stdout.byteOffset, r.stdout.length);
      const eip = v.getUint32(0, true), esp = v.getUint32(4, true);
      const frames = walkStack(info, eip, esp, (a) => (a >= esp && a + 4 <= esp + 256 ? v.getUint32(8 + a - esp, true) : undefined));
      const seen = frames.map((f) => `${f.name.split('/').pop() as string}:${f.line}`);
      const leaf = `leaf:${lineOf('CALL leaf')}`;
      expect(seen[0]).toBe(`leaf:${lineOf('STOP')}`);
      expect(seen.slice(1, 3)).toEqual([leaf, leaf]);
      // middle may be inlined into main: its line is reported either way
      expect(frames[3]?.line).toBe(lineOf('CALL middle'));
      expect(frames[frames.length - 1]?.name).toBe('_start');
      expect(frames.every((f) => f.name === '_start' || f.file === GUEST)).toBe(true);
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  });

  it('has the depth of the stack after every push of a prologue and pop of an epilogue', () => {
    const f = info.functions.find((x) => x.name.endsWith('/leaf'));
    if (f === undefined) throw new Error('no leaf');
    expect(f.depths[0]).toEqual([0, 0]);
    expect(Math.max(...f.depths.map((d) => d[1]))).toBe(f.frame);
    expect(f.depths.slice(1, 1 + f.saved.length).map((d) => d[1])).toEqual(f.saved.map((_, i) => 4 * (i + 1)));
  });

  it('is the same in the table that the kernel image carries', () => {
    const t = debugTable(info);
    const v = new DataView(t.buffer, t.byteOffset);
    const text = (o: number): string => new TextDecoder().decode(t.subarray(o, t.indexOf(0, o)));
    const [magic, functions, lines, files, atFunctions, atLines, atFiles] = Array.from({ length: 7 }, (_, i) => v.getUint32(i * 4, true)) as [number, number, number, number, number, number, number];
    expect([magic, functions, files]).toEqual([0x4742444b, info.functions.length, info.files.length]);
    for (let i = 0; i < functions; i++) {
      const at = atFunctions + i * 12;
      expect([v.getUint32(at, true), v.getUint32(at + 4, true), text(v.getUint32(at + 8, true))]).toEqual([info.functions[i]?.address, info.functions[i]?.frame, info.functions[i]?.name]);
    }
    for (let i = 0; i < lines; i++) {
      const address = v.getUint32(atLines + i * 8, true), fileLine = v.getUint32(atLines + i * 8 + 4, true);
      const l = locate(info, address);
      expect([l?.file, l?.line]).toEqual([text(v.getUint32(atFiles + (fileLine >>> 16) * 4, true)), fileLine & 0xffff]);
    }
  });
});
