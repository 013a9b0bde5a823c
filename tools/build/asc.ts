/**
 * AssemblyScript in-process: source files -> wasm + source map. Loading asc costs a second, a warm run far less, so a worker keeps it.
 * Files are read through `readFile` so that the build knows exactly what a target depends on.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { BuildError } from './errors.ts';
import { REPOSITORY_ROOT } from '../../vm/entry.ts';

export interface AscInput {
  readonly name: string;
  /** Entry files relative to the repository root. */
  readonly entries: readonly string[];
  readonly memoryBase: number;
  readonly runtime: 'stub' | 'minimal' | 'incremental';
  readonly assertions: boolean;
  readonly abort: string | undefined;
  readonly flags: readonly string[];
}
export interface AscOutput { readonly wasm: Uint8Array; readonly sourceMap: string; readonly files: readonly string[]; readonly warnings: string }

interface AscModule {
  main(argv: string[], io: { stdout?: unknown; stderr?: unknown; readFile(name: string, base: string): string | null; writeFile(name: string, data: Uint8Array | string, base: string): void; listFiles(dir: string, base: string): string[] | null }): Promise<{ error: Error | null; stdout: { toString(): string }; stderr: { toString(): string } }>;
}
let loaded: Promise<AscModule> | undefined;

/** Directory of the generated modules kintsugi/abi, kintsugi/protocols, kintsugi/x86. */
export const GENERATED = 'build/guest';
/** A file with this text is added to every program, so that the linker learns where static data ends. */
const HEAP_MODULE = 'kintsugi-heap-base';
const HEAP_SOURCE = 'export function __kintsugi_heap_base(): usize { return __heap_base; }\n';

export async function compileAssemblyScript(input: AscInput): Promise<AscOutput> {
  loaded ??= import('assemblyscript/asc') as unknown as Promise<AscModule>;
  const asc = await loaded;
  const files = new Set<string>();
  let wasm: Uint8Array | undefined;
  let sourceMap = '';
  const argv = [
    ...input.entries, `${HEAP_MODULE}.ts`, '--outFile', 'guest.wasm', '-O3', '--runtime', input.runtime, '--memoryBase', String(input.memoryBase), '--sourceMap', '--debug', '--exportTable', '--lib', GENERATED, '--baseDir', REPOSITORY_ROOT,
    ...(input.assertions ? [] : ['--noAssert']), ...(input.abort === undefined ? [] : ['--use', `abort=${input.abort}`]), ...input.flags,
  ];
  const result = await asc.main(argv, {
    readFile: (name, base) => {
      if (path.basename(name) === `${HEAP_MODULE}.ts`) return HEAP_SOURCE;
      const file = path.resolve(base, name);
      try {
        const text = readFileSync(file, 'utf8');
        files.add(path.relative(REPOSITORY_ROOT, file));
        return text;
      } catch {
        return null;
      }
    },
    writeFile: (name, data) => {
      if (name.endsWith('.wasm')) wasm = data as Uint8Array;
      else if (name.endsWith('.map')) sourceMap = typeof data === 'string' ? data : new TextDecoder().decode(data);
    },
    listFiles: () => [],
  });
  const messages = result.stderr.toString();
  if (result.error !== null || wasm === undefined) throw new BuildError(`AssemblyScript refuses ${input.entries.join(', ')}:\n${messages}${result.error?.message ?? ''}`, input.name);
  return { wasm, sourceMap, files: [...files].sort(), warnings: messages };
}

/** Contents hash of a list of files; a missing file has its own mark. */
export function hashFiles(files: readonly string[], extra: string): string {
  const h = createHash('sha256').update(extra);
  for (const f of files) {
    h.update(`\0${f}\0`);
    try {
      h.update(readFileSync(path.resolve(REPOSITORY_ROOT, f)));
    } catch {
      h.update('missing');
    }
  }
  return h.digest('hex').slice(0, 32);
}
