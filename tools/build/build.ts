/** One target from source to ELF, with the cache. Used by the command line, by its worker and by tests. */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { VM_MAP } from '../../microkernel/abi/layout.ts';
import { REPOSITORY_ROOT } from '../../vm/entry.ts';
import { assemble, type Assembled, type StubModule } from './asm/assembler.ts';
import { compileAssemblyScript, hashFiles } from './asc.ts';
import { compileModule, constantOf } from './compile.ts';
import { debugInfo, debugTable } from './debug.ts';
import { writeElf } from './elf.ts';
import { BuildError } from './errors.ts';
import { link } from './link.ts';
import { LIBRARY } from './runtime/library.ts';
import { linux, user } from './runtime/start.asm.ts';
import { parseSourceMap } from './sourcemap.ts';
import type { Target } from './targets.ts';

export const OUT = 'build/guest';
const CACHE = 'build/cache';
const MIB = 1 << 20;

export interface BuildResult { readonly name: string; readonly elf: string; readonly cached: boolean; readonly ms: number; readonly text: number; readonly functions: number; readonly instructions: number; readonly warnings: string }
interface CacheEntry { readonly files: readonly string[]; readonly key: string; readonly text: number; readonly functions: number; readonly instructions: number }

const layout = (t: Target): { text: number; memory: number; physical: number } => {
  if (t.kind === 'kernel') return { text: t.textBase ?? VM_MAP.kernelText, memory: t.memoryBase ?? VM_MAP.kernelText + MIB, physical: VM_MAP.kernelBase };
  if (t.kind === 'freestanding') return { text: t.textBase ?? MIB, memory: t.memoryBase ?? 2 * MIB, physical: 0 };
  return { text: t.textBase ?? VM_MAP.text, memory: t.memoryBase ?? VM_MAP.data, physical: 0 };
};

const at = (f: string): string => path.join(REPOSITORY_ROOT, f);
const publish = (file: string, data: Uint8Array | string): void => {
  const temporary = `${at(file)}.${process.pid}.${Math.random().toString(36).slice(2)}`;
  writeFileSync(temporary, data);
  renameSync(temporary, at(file));
};

/** Files that a stub imports, transitively. */
function importsOf(file: string, seen: Set<string>): void {
  if (seen.has(file) || !existsSync(at(file))) return;
  seen.add(file);
  for (const m of readFileSync(at(file), 'utf8').matchAll(/from\s+'(\.[^']+)'/g)) importsOf(path.normalize(path.join(path.dirname(file), m[1] as string)), seen);
}

export interface Artifacts { readonly elf: Uint8Array; readonly debug: string; readonly wasm: Uint8Array; readonly files: readonly string[]; readonly warnings: string; readonly text: number; readonly functions: number; readonly instructions: number }

/** Compiles and links a target, without the cache. */
export async function buildTarget(t: Target): Promise<Artifacts> {
  const { text, memory, physical } = layout(t);
  const kernel = t.kind === 'kernel';
  const source = await compileAssemblyScript({
    name: t.name, entries: [t.entry], memoryBase: memory, runtime: t.runtime, assertions: t.assertions ?? !kernel, abort: t.abort, flags: t.flags ?? [],
  });
  const map = parseSourceMap(source.sourceMap);
  const compiled = compileModule(source.wasm, {
    kernel,
    locate: (pos) => {
      const p = map.find(pos);
      return p === undefined ? `wasm offset ${pos}` : `${p.file}:${p.line}`;
    },
  });
  const stubs: Assembled[] = [];
  for (const file of t.stubs ?? []) {
    const module = (await import(pathToFileURL(at(file)).href)) as { default?: StubModule };
    if (module.default === undefined) throw new BuildError(`${file} has no default export (asm: Assembler) => void`, t.name);
    stubs.push(assemble(file, module.default));
  }
  if (t.kind === 'linux') stubs.push(assemble('start:linux', linux));
  else if (t.kind !== 'kernel' && t.kind !== 'freestanding') stubs.push(assemble('start:user', user));
  const heapBase = constantOf(compiled.module, '__kintsugi_heap_base');
  if (heapBase === undefined) throw new BuildError('internal: __heap_base is unknown', t.name);
  const linked = link({
    compiled, stubs, library: LIBRARY, textBase: text, memoryBase: memory, heapBase,
    heapBytes: t.heap ?? (t.runtime === 'stub' ? 0 : 256 * 1024),
    entry: '_start',
    ...(kernel ? { debugTable: (functions) => debugTable(debugInfo(t.name, functions, map, new Map())) } : {}),
  });
  const info = debugInfo(t.name, linked.functions, map, linked.symbols);
  return {
    elf: writeElf(linked, physical, linked.entry - physical),
    debug: JSON.stringify(info),
    wasm: source.wasm,
    files: source.files,
    warnings: source.warnings,
    text: linked.segments[0]?.bytes.length ?? 0,
    functions: compiled.functions.length,
    instructions: compiled.functions.reduce((n, f) => n + f.instructions, 0),
  };
}

/** Hash of the compiler itself: any change of it makes every image stale. */
let compilerHash: string | undefined;
function compiler(): string {
  if (compilerHash === undefined) {
    const seen = new Set<string>();
    importsOf('tools/build/build.ts', seen);
    compilerHash = hashFiles([...seen].sort(), 'compiler');
  }
  return compilerHash;
}
function keyOf(t: Target, files: readonly string[]): string {
  const stubs = new Set<string>();
  for (const s of t.stubs ?? []) importsOf(s, stubs);
  return hashFiles([...files, ...[...stubs].sort()], `${compiler()}${JSON.stringify(t)}`);
}

function cacheEntry(t: Target): CacheEntry | undefined {
  try {
    return JSON.parse(readFileSync(at(`${CACHE}/${t.name}.json`), 'utf8')) as CacheEntry;
  } catch {
    return undefined;
  }
}
const cached = (key: string): string => `${CACHE}/guest-${key}`;

/** Whether the target is up to date in the cache; if so its ELF is put in place. */
export function fromCache(t: Target, start: number): BuildResult | undefined {
  const e = cacheEntry(t);
  if (e === undefined || keyOf(t, e.files) !== e.key || !existsSync(at(`${cached(e.key)}.elf`))) return undefined;
  mkdirSync(at(OUT), { recursive: true });
  for (const ext of ['.elf', '.dbg.json']) {
    const from = readFileSync(at(cached(e.key) + ext)), to = at(`${OUT}/${t.name}${ext}`);
    if (!existsSync(to) || !readFileSync(to).equals(from)) publish(`${OUT}/${t.name}${ext}`, from);
  }
  return { name: t.name, elf: `${OUT}/${t.name}.elf`, cached: true, ms: Date.now() - start, text: e.text, functions: e.functions, instructions: e.instructions, warnings: '' };
}

/** Builds a target whose cache entry is stale. `generate()` has run. */
export async function build(t: Target): Promise<BuildResult> {
  const start = Date.now();
  const a = await buildTarget(t);
  mkdirSync(at(OUT), { recursive: true });
  mkdirSync(at(CACHE), { recursive: true });
  const key = keyOf(t, a.files);
  const before = cacheEntry(t);
  publish(`${cached(key)}.elf`, a.elf);
  publish(`${cached(key)}.dbg.json`, a.debug);
  publish(`${CACHE}/${t.name}.json`, JSON.stringify({ files: a.files, key, text: a.text, functions: a.functions, instructions: a.instructions } satisfies CacheEntry));
  publish(`${OUT}/${t.name}.elf`, a.elf);
  publish(`${OUT}/${t.name}.dbg.json`, a.debug);
  // The cache keeps one version of each target.
  if (before !== undefined && before.key !== key) for (const ext of ['.elf', '.dbg.json']) rmSync(at(cached(before.key) + ext), { force: true });
  return { name: t.name, elf: `${OUT}/${t.name}.elf`, cached: false, ms: Date.now() - start, text: a.text, functions: a.functions, instructions: a.instructions, warnings: a.warnings };
}
