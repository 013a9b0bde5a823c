/**
 * Guest library code as wasm in Node: compiled by asc with the generated constants, memory at a low base, `x86` intrinsics mocked.
 * System calls are counted and answered OK; a deliberate fault throws `GuestFault`. Every `barrier()` is reported to `onBarrier`.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { main as asc } from 'assemblyscript/asc';
import { generate } from '../../tools/build/generate.ts';
import { GENERATED } from '../../tools/build/asc.ts';
import { REPOSITORY_ROOT as ROOT } from '../../vm/entry.ts';

export const CALL_FAULT = 9;

export class GuestFault extends Error {
  readonly code: number;
  readonly detail: readonly [number, number];
  constructor(code: number, a: number, b: number) {
    super(`guest fault ${code.toString(16)} ${a.toString(16)} ${b.toString(16)}`);
    this.code = code;
    this.detail = [a, b];
  }
}
export interface Guest {
  readonly fn: Record<string, (...args: number[]) => number>;
  readonly memory: WebAssembly.Memory;
  readonly u8: Uint8Array;
  readonly u32: Uint32Array;
  /** Calls by number of the 12. */
  readonly calls: number[];
  onBarrier: (() => void) | undefined;
}

const compiled = new Map<string, Promise<Uint8Array>>();
let generated: Promise<void> | undefined;
async function compile(entry: string): Promise<Uint8Array> {
  await (generated ??= generate());
  const dir = mkdtempSync(join(tmpdir(), 'kintsugi-lib-'));
  const out = join(dir, 'guest.wasm');
  try {
    const { error, stderr } = await asc([entry, '-o', out, '-O2', '--runtime', 'stub', '--noAssert', '--memoryBase', '65536', '--initialMemory', '65536', '--importMemory', '--exportTable', '--maximumMemory', '65536', '--path', join(ROOT, GENERATED), '--use', 'abort=', '--debug', '--baseDir', ROOT]);
    if (error) throw new Error(`asc: ${error.message}\n${stderr.toString()}`);
    return readFileSync(out);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

export interface FiberGuest { call(name: string, ...args: number[]): Promise<number>; trace: [number, number][]; clock: bigint; memory: WebAssembly.Memory }
interface Jspi { promising(f: unknown): (...a: number[]) => Promise<number>; Suspending: new (f: (...a: number[]) => Promise<void>) => WebAssembly.ImportValue }
/**
 * As `guest`, with fibers: a stack is named by a number. An initial stack (fiber.ts, spawn) holds the index of its entry function at +16; a
 * suspended one is a parked promise. Exports are called by `call`, which returns when the main stack does.
 */
export async function fiberGuest(name: string): Promise<FiberGuest> {
  const { promising, Suspending } = WebAssembly as unknown as Jspi;
  let bytes = compiled.get(name);
  if (bytes === undefined) compiled.set(name, (bytes = compile(`test/servers/guest/${name}.ts`)));
  const module = await WebAssembly.compile(await bytes as Uint8Array<ArrayBuffer>);
  const memory = new WebAssembly.Memory({ initial: 65536, maximum: 65536 });
  const u32 = new Uint32Array(memory.buffer);
  const parked = new Map<number, () => void>();
  let names = 1;
  const g: FiberGuest = { trace: [], clock: 0n, memory, call: (f, ...args) => promising(exports[f])(...args) };
  const intrinsics: Record<string, WebAssembly.ImportValue> = {
    switchStack: new Suspending((save, esp) => new Promise((resolve) => {
      u32[save! >>> 2] = names;
      parked.set(names++, resolve);
      const other = parked.get(esp!);
      if (other !== undefined) { parked.delete(esp!); other(); } else void promising(table.get(u32[(esp! + 16) >>> 2]!))();
    })),
    codeAddr: (index: number) => index,
    barrier: () => undefined, mark: () => undefined,
    trace: (a: number, b: number) => { g.trace.push([a >>> 0, b >>> 0]); },
    sys_enter: (regs: number) => { const r = regs >>> 2; if (u32[r + 1]! >>> 28 === 11) { u32[r + 2] = Number(g.clock & 0xffffffffn); u32[r + 3] = Number(g.clock >> 32n); } return 0; },
  };
  const imports: WebAssembly.Imports = { env: { memory } };
  for (const { module: from, name: field, kind } of WebAssembly.Module.imports(module)) if (kind === 'function') (imports[from] ??= {})[field] = intrinsics[field]!;
  const exports = (await WebAssembly.instantiate(module, imports)).exports as Record<string, unknown>;
  const table = exports['table'] as WebAssembly.Table;
  return g;
}

/** A whole server (repository path of its entry) with `intrinsics` in place of the CPU and the kernel. */
export async function server(entry: string, intrinsics: Record<string, (...a: number[]) => number | undefined>): Promise<{ exports: Record<string, (...a: number[]) => number>; u8: Uint8Array; u32: Uint32Array }> {
  let bytes = compiled.get(entry);
  if (bytes === undefined) compiled.set(entry, (bytes = compile(entry)));
  const module = await WebAssembly.compile(await bytes as Uint8Array<ArrayBuffer>);
  const memory = new WebAssembly.Memory({ initial: 65536, maximum: 65536 });
  const imports: WebAssembly.Imports = { env: { memory } };
  for (const { module: from, name: field, kind } of WebAssembly.Module.imports(module)) {
    if (kind === 'function') (imports[from] ??= {})[field] = intrinsics[field] ?? (() => { throw new Error(`intrinsic ${field} has no meaning in Node`); });
  }
  const instance = await WebAssembly.instantiate(module, imports);
  return { exports: instance.exports as unknown as Record<string, (...a: number[]) => number>, u8: new Uint8Array(memory.buffer), u32: new Uint32Array(memory.buffer) };
}

/** Instantiates test/servers/guest/<name>.ts over a fresh memory (4 GiB reserved, touched pages only are real). */
export async function guest(name: string): Promise<Guest> {
  let bytes = compiled.get(name);
  if (bytes === undefined) compiled.set(name, (bytes = compile(`test/servers/guest/${name}.ts`)));
  const module = await WebAssembly.compile(await bytes as Uint8Array<ArrayBuffer>);
  const memory = new WebAssembly.Memory({ initial: 65536, maximum: 65536 });
  const u32 = new Uint32Array(memory.buffer), u8 = new Uint8Array(memory.buffer);
  const calls = new Array<number>(16).fill(0);
  const state: { onBarrier: (() => void) | undefined } = { onBarrier: undefined };
  const x86: Record<string, (...a: number[]) => number | undefined> = {
    barrier: () => { state.onBarrier?.(); return undefined; }, mark: () => undefined,
    sys_enter: (regs) => {
      const r = (regs ?? 0) >>> 2, op = u32[r + 1]! >>> 28;
      calls[op]!++;
      if (op === CALL_FAULT) throw new GuestFault(u32[r + 2]!, u32[r + 3]!, u32[r + 4]!);
      return 0;
    },
  };
  const imports: WebAssembly.Imports = { env: { memory } };
  for (const { module: from, name: field, kind } of WebAssembly.Module.imports(module)) {
    if (kind !== 'function') continue;
    const mock = x86[field] ?? (() => { throw new Error(`intrinsic ${field} has no meaning in Node`); });
    (imports[from] ??= {})[field] = mock;
  }
  const instance = await WebAssembly.instantiate(module, imports);
  return {
    fn: instance.exports as unknown as Guest['fn'], memory, u8, u32, calls,
    get onBarrier() { return state.onBarrier; },
    set onBarrier(f) { state.onBarrier = f; },
  };
}
