/** Guest sources as wasm modules for Node: compiled by asc as for the machine, except for a low memory base and an imported memory. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { main as asc } from 'assemblyscript/asc';

const ROOT = resolve(import.meta.dirname, '../..');
const compiled = new Map<string, Promise<WebAssembly.Module>>();

function guestPath(): string {
  const built = join(ROOT, 'build/guest');
  if (existsSync(join(built, 'kintsugi/abi.ts'))) return built;
  const other = process.env['KINTSUGI_GUEST_PATH'];
  if (other === undefined) throw new Error('build/guest/kintsugi/abi.ts is missing: node tools/build/main.ts generates it');
  return other;
}

export function guestModule(entry: string): Promise<WebAssembly.Module> {
  let module = compiled.get(entry);
  if (module === undefined) compiled.set(entry, (module = compile(entry)));
  return module;
}
async function compile(entry: string): Promise<WebAssembly.Module> {
  const dir = mkdtempSync(join(tmpdir(), 'kintsugi-guest-')), out = join(dir, 'guest.wasm');
  try {
    const { error, stderr } = await asc([entry, '-o', out, '-O2', '--runtime', 'stub', '--noAssert', '--memoryBase', '65536', '--initialMemory', '65536', '--importMemory', '--exportTable', '--maximumMemory', '65536', '--path', guestPath(), '--use', 'abort=', '--debug', '--baseDir', ROOT]);
    if (error) throw new Error(`asc ${entry}: ${error.message}\n${stderr.toString()}`);
    return await WebAssembly.compile(readFileSync(out));
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** 4 GiB of addresses: only touched pages are real. */
export function guestMemory(): WebAssembly.Memory { return new WebAssembly.Memory({ initial: 65536, maximum: 65536 }); }

export function instantiate(module: WebAssembly.Module, memory: WebAssembly.Memory, intrinsics: Record<string, (...a: number[]) => number | undefined>): Record<string, (...a: number[]) => number> {
  const imports: WebAssembly.Imports = { env: { memory } };
  for (const { module: from, name, kind } of WebAssembly.Module.imports(module)) {
    if (kind === 'function') (imports[from] ??= {})[name] = intrinsics[name] ?? (() => { throw new Error(`intrinsic ${name} has no meaning in Node`); });
  }
  return new WebAssembly.Instance(module, imports).exports as unknown as Record<string, (...a: number[]) => number>;
}
