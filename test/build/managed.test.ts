/** A managed AssemblyScript program prints the same natively as its wasm does in Node, under every runtime. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { buildTarget } from '../../tools/build/build.ts';
import { generate } from '../../tools/build/generate.ts';

describe('managed programs', () => {
  for (const runtime of ['stub', 'minimal', 'incremental'] as const) {
    it(`run on the ${runtime} runtime`, async () => {
      await generate();
      const a = await buildTarget({ name: 'managed', entry: 'test/build/managed.guest.ts', kind: 'linux', runtime, heap: 8 << 20, assertions: true });
      let text = '';
      let memory: WebAssembly.Memory | undefined;
      const instance = new WebAssembly.Instance(new WebAssembly.Module(a.wasm as Uint8Array<ArrayBuffer>), {
        managed: {},
        'managed.guest': { linux_syscall: (_n: number, _a: number, at: number, bytes: number) => ((text += new TextDecoder().decode(new Uint8Array((memory as WebAssembly.Memory).buffer, at, bytes))), bytes) },
        env: { abort: () => { throw new Error('abort'); } },
      });
      memory = instance.exports['memory'] as WebAssembly.Memory;
      (instance.exports['main'] as (stack: number) => number)(0);
      const dir = mkdtempSync(path.join(tmpdir(), 'kintsugi-managed-'));
      try {
        writeFileSync(path.join(dir, 'guest'), a.elf, { mode: 0o755 });
        const r = spawnSync(path.join(dir, 'guest'), { encoding: 'utf8' });
        expect(r.stdout).toBe(text);
        expect(r.status).toBe(0);
        expect(text).toContain('keys ');
      } finally {
        rmSync(dir, { recursive: true, force: true });
      }
    });
  }
});
