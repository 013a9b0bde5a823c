/** A wasm module -> machine code of its functions, with everything the linker needs. The stages stand in their own folders. */
import { emitFunction, type FunctionCode } from './emit.ts';
import { BuildError } from './errors.ts';
import { allocate } from './regalloc/allocate.ts';
import { cleanGraph } from './select/graph.ts';
import { type Program, Selector } from './select/selector.ts';
import { decodeModule, type Module, Reader } from './wasm/decode.ts';
import { buildGraph } from './wasm/trees.ts';

export interface Compiled {
  readonly module: Module;
  readonly functions: readonly FunctionCode[];
  /** Exported name -> symbol of the function. */
  readonly exports: ReadonlyMap<string, string>;
  readonly globals: readonly { symbol: string; low: number; high: number; bytes: number }[];
  readonly pool: ReadonlyMap<string, { low: number; high: number }>;
  /** Symbols of the function table; undefined = empty entry. */
  readonly table: readonly (string | undefined)[];
  readonly start: string | undefined;
}
export interface CompileOptions { readonly kernel: boolean; locate?(pos: number): string }

const INTRINSIC_MODULES: ReadonlySet<string> = new Set(['x86']);

export function compileModule(wasm: Uint8Array, options: CompileOptions): Compiled {
  const module = decodeModule(wasm);
  const symbols = nameFunctions(module);
  const pool = new Map<string, { low: number; high: number }>();
  const symbolOf = (index: number): string => {
    const im = module.imports[index];
    if (im !== undefined) return im.name;
    return symbols[index - module.imports.length] as string;
  };
  const table = Array.from({ length: module.table.length }, (_, i) => {
    const index = module.table[i];
    return index === undefined ? undefined : symbolOf(index);
  });
  const program: Program = {
    module,
    kernel: options.kernel,
    intrinsicModules: INTRINSIC_MODULES,
    functionSymbol: symbolOf,
    globalSymbol: (i) => `global:${i}`,
    poolSymbol: (low, high) => {
      const symbol = `const:${(high >>> 0).toString(16)}:${(low >>> 0).toString(16)}`;
      pool.set(symbol, { low, high });
      return symbol;
    },
    readU32: (address) => staticWord(module, address),
    readString: (address) => staticString(module, address),
    tableSymbol: (i) => table[i],
  };
  const functions: FunctionCode[] = [];
  module.functions.forEach((f, i) => {
    f.name = symbols[i] as string;
    try {
      const graph = buildGraph(module, f);
      cleanGraph(graph);
      const mir = new Selector(program, graph).run();
      functions.push(emitFunction(mir, allocate(mir).saved));
    } catch (e) {
      if (!(e instanceof BuildError)) throw new BuildError(`internal error of the compiler: ${e instanceof Error ? e.stack : String(e)}`, f.name);
      const at = /@(\d+)$/.exec(e.where)?.[1];
      const line = at === undefined || options.locate === undefined ? '' : ` at ${options.locate(Number(at))}`;
      throw new BuildError(e.reason, f.name + line);
    }
  });
  const exports = new Map<string, string>();
  for (const [name, e] of module.exports) if (e.kind === 0) exports.set(name, symbolOf(e.index));
  return {
    module,
    functions,
    exports,
    globals: module.globals.map((g, i) => ({ symbol: `global:${i}`, low: g.low, high: g.high, bytes: g.type.endsWith('64') ? 8 : 4 })),
    pool,
    table,
    start: module.start === undefined ? undefined : symbolOf(module.start),
  };
}

/** Unique symbol of each function; names come from --debug. */
function nameFunctions(m: Module): string[] {
  const seen = new Map<string, number>();
  return m.functions.map((f) => {
    const name = f.name.startsWith('~') ? f.name.slice(1) : f.name;
    const n = seen.get(name) ?? 0;
    seen.set(name, n + 1);
    return n === 0 ? name : `${name}#${n}`;
  });
}

function staticBytes(m: Module, address: number, n: number): Uint8Array | undefined {
  for (const s of m.data) if (address >= s.address && address + n <= s.address + s.bytes.length) return s.bytes.subarray(address - s.address, address - s.address + n);
  return undefined;
}
/** A word of the initial static data; trailing zero bytes are not in the segment. */
function staticWord(m: Module, address: number): number | undefined {
  let v = 0, any = false;
  for (let i = 3; i >= 0; i--) {
    const b = staticBytes(m, address + i, 1)?.[0];
    if (b !== undefined) any = true;
    v = (v << 8) | (b ?? 0);
  }
  return any ? v >>> 0 : undefined;
}
/** An AssemblyScript string object: UTF-16 with its length in bytes 4 before the text. */
function staticString(m: Module, address: number): string | undefined {
  const bytes = staticWord(m, address - 4);
  if (bytes === undefined || bytes > 512 || bytes % 2 !== 0) return undefined;
  let s = '';
  for (let i = 0; i < bytes; i += 2) s += String.fromCharCode((staticBytes(m, address + i, 1)?.[0] ?? 0) | ((staticBytes(m, address + i + 1, 1)?.[0] ?? 0) << 8));
  return s;
}

/** Value of a function that only returns a constant: how the driver learns __heap_base. */
export function constantOf(m: Module, name: string): number | undefined {
  const e = m.exports.get(name);
  const f = e === undefined ? undefined : m.functions[e.index - m.imports.length];
  if (f === undefined) return undefined;
  const r = new Reader(m.bytes, f.start);
  return r.u8() === 0x41 ? r.s32() >>> 0 : undefined;
}
