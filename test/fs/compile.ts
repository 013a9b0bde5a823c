/** Guest code -> wasm for Node: asc in-process, the generated constants of tools/build, cached by content below build/cache. */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { main as asc } from 'assemblyscript/asc';
import { generate } from '../../tools/build/generate.ts';

const ROOT = resolve(import.meta.dirname, '../..');

export async function compileGuest(entry: string, sources: readonly string[]): Promise<Uint8Array> {
  await generate();
  const protocols = readFileSync(join(ROOT, 'build/guest/kintsugi/protocols.ts'));
  const hash = createHash('sha256').update(protocols).update(readFileSync(import.meta.filename));
  for (const folder of sources) for (const file of readdirSync(join(ROOT, folder)).sort()) if (file.endsWith('.ts')) hash.update(file).update(readFileSync(join(ROOT, folder, file)));
  const cache = join(ROOT, 'build/cache');
  mkdirSync(cache, { recursive: true });
  const out = join(cache, `fs-test-${hash.digest('hex').slice(0, 24)}.wasm`);
  if (existsSync(out)) return readFileSync(out);
  const temporary = `${out}.${process.pid}`;
  const { error, stderr } = await asc([entry, '-o', temporary, '-O3', '--runtime', 'stub', '--memoryBase', '65536', '--importMemory', '--initialMemory', '4096', '--maximumMemory', '4096', '--path', join(ROOT, 'build/guest'), '--use', 'abort=', '--debug', '--baseDir', ROOT]);
  if (error) throw new Error(`asc: ${error.message}\n${stderr.toString()}`);
  renameSync(temporary, out);
  return readFileSync(out);
}

/** `imports` with the intrinsics of `kintsugi/x86` that the core uses, over `memory`. */
export function withIntrinsics(compiled: WebAssembly.Module, memory: WebAssembly.Memory, imports: WebAssembly.Imports, lies: () => boolean = () => false): WebAssembly.Imports {
  const u32 = new Uint32Array(memory.buffer), view = new DataView(memory.buffer);
  const intrinsics: Record<string, WebAssembly.ImportValue> = {
    differ: (a: number, b: number, words: number): number => {
      a >>>= 0; b >>>= 0;
      if (lies()) return words;
      if (((a | b) & 3) === 0) { for (let n = 0; n < words; n++) if (u32[(a >>> 2) + n] !== u32[(b >>> 2) + n]) return n; return words; }
      for (let n = 0; n < words; n++) if (view.getUint32(a + n * 4, true) !== view.getUint32(b + n * 4, true)) return n;
      return words;
    },
  };
  const all: WebAssembly.Imports = { ...imports };
  for (const { module, name, kind } of WebAssembly.Module.imports(compiled)) if (kind === 'function' && intrinsics[name] !== undefined) all[module] = { ...all[module], [name]: intrinsics[name] };
  return all;
}
