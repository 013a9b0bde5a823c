/**
 * The official WebAssembly core tests through tools/build, executed as i386 machine code.
 *
 *     KINTSUGI_SUITES=/path node test/suites/wasm.ts                      all files, natively and on our machine; prints the table
 *     node test/suites/wasm.ts --engines=off,on i32 br_table             some files, some engines (native, off = tier 0, on = JIT)
 *     node test/suites/wasm.ts --write                                   writes test/suites/wasm-results.json; with names: replaces their rows
 *     node test/suites/wasm.ts --json                                    prints that file instead of the table
 *
 * The suite is https://github.com/WebAssembly/testsuite: its *.wast files in $KINTSUGI_SUITES/wasm-testsuite, and those of commit 0e7987e (March 2020,
 * the MVP without several results) in $KINTSUGI_SUITES/wasm-testsuite-2020. Modules are assembled by wabt.
 * A name may also be one of the two folders. Not asked: assert_invalid, assert_malformed, assert_unlinkable (tools/build takes what asc made and validates nothing), and what the
 * compiler leaves out by design: see `unasked` in the results.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import wabtFactory from 'wabt';
import { type Compiled, compileModule } from '../../tools/build/compile.ts';
import { BuildError } from '../../tools/build/errors.ts';
import { decodeModule } from '../../tools/build/wasm/decode.ts';
import { type BitCall, type BitResult, build, type Engine, execute, nativeProblem, TooManyArguments } from './execute.ts';
import { type Form, head, isList, isText, type List, readWast } from './wast.ts';

export const ENGINES: readonly Engine[] = ['native', 'off', 'on'];
export interface FileResult {
  readonly file: string;
  /** Assertions and actions executed, by engine: how many hold. */
  readonly passed: Partial<Record<Engine, number>>;
  /** The first failures of each engine, one text each. */
  readonly failures: Partial<Record<Engine, string[]>>;
  readonly executed: number;
  /** Assertions of modules that were not compiled or cannot run, by reason. */
  readonly refused: Record<string, number>;
  /** Assertions that this harness does not ask, by reason. */
  readonly unasked: Record<string, number>;
}
const FEATURES = { exceptions: true, mutable_globals: true, sat_float_to_int: true, sign_extension: true, simd: true, threads: true, function_references: true, multi_value: true, tail_call: true, bulk_memory: true, reference_types: true, gc: true, extended_const: true, relaxed_simd: true, code_metadata: true };
const MOST_PAGES = 1100;
/** What the compiler does not check, by the specification's message (docs/CAVEATS.md, Guest compiler): such calls go anywhere, so they are not made. */
const UNCHECKED: Readonly<Record<string, string>> = { 'indirect call type mismatch': 'signatures of indirect calls are not checked', 'undefined element': 'indexes of indirect calls are not checked', undefined: 'indexes of indirect calls are not checked' };

/** Two states of the suite: the last before functions with several results came into nearly every file, and a later one. */
export const FOLDERS = ['wasm-testsuite-2020', 'wasm-testsuite'] as const;
/** `folder/file.wast` of what is there, relative to $KINTSUGI_SUITES. */
export function suiteFiles(): string[] {
  const root = process.env['KINTSUGI_SUITES'];
  if (root === undefined) return [];
  return FOLDERS.filter(f => existsSync(path.join(root, f))).flatMap(f => readdirSync(path.join(root, f)).filter(n => n.endsWith('.wast')).sort().map(n => `${f}/${n}`));
}
export const MISSING = 'the WebAssembly core tests are not here: put github.com/WebAssembly/testsuite in $KINTSUGI_SUITES/wasm-testsuite, and its commit 0e7987e in wasm-testsuite-2020';

type Wanted = { readonly kind: 'value'; readonly matches: (bits: bigint) => boolean; readonly text: string } | { readonly kind: 'none' } | { readonly kind: 'trap'; readonly text: string } | { readonly kind: 'any' };
interface Step extends BitCall { readonly wanted: Wanted; readonly line: number; readonly what: string }
interface Instance { shared: boolean; compiled: Compiled | undefined; readonly reason: string; readonly steps: Step[]; memory: { pages: number; limit: number }; silent: string[] }

const SPECTEST: ReadonlySet<string> = new Set(['print', 'print_i32', 'print_i64', 'print_f32', 'print_f64', 'print_i32_f32', 'print_f64_f64']);
const bytesText = (f: Form | undefined): string => (isText(f) ? new TextDecoder().decode(f.bytes) : '');
const reasonOf = (e: unknown): string => (e instanceof BuildError ? e.reason : e instanceof Error ? e.message.split('\n').find(l => /error:/.test(l)) ?? e.message.split('\n')[0]! : String(e)).replace(/0x[0-9a-f]+|\b\d{2,}\b/g, m => (/^0x[0-9a-f]{1,4}$/.test(m) ? m : 'N')).replace(/^.*error: /, 'wabt: ').slice(0, 90);

export async function runFile(file: string, text: string, engines: readonly Engine[]): Promise<FileResult> {
  const wabt = await wabtFactory();
  const refused: Record<string, number> = {}, unasked: Record<string, number> = {};
  const count = (table: Record<string, number>, reason: string): void => { table[reason] = (table[reason] ?? 0) + 1; };
  const assemble = (source: string): Uint8Array => {
    const m = wabt.parseWat(file, new TextEncoder().encode(source), FEATURES);
    try { return m.toBinary({ write_debug_names: false }).buffer; } finally { m.destroy(); }
  };
  let script: List[];
  try { script = readWast(text); } catch (e) { return { file, passed: Object.fromEntries(engines.map(x => [x, 0])), failures: Object.fromEntries(engines.map(x => [x, []])), executed: 0, refused: { [reasonOf(e)]: 1 }, unasked }; }
  const source = (f: List): string => text.slice(f.from, f.to);

  const constants = new Map<string, bigint>();
  const constant = (f: List): bigint | undefined => {
    const t = head(f), v = f.items[1], key = `${t} ${String(v)}`;
    const type = /^(i32|i64|f32|f64)\.const$/.exec(t)?.[1];
    if (type === undefined || typeof v !== 'string') return undefined;
    let bits = constants.get(key);
    if (bits === undefined) {
      const g = decodeModule(assemble(`(module (global ${type} (${t} ${v})))`)).globals[0]!;
      bits = type.endsWith('64') ? BigInt.asUintN(64, BigInt(g.high) << 32n | BigInt(g.low >>> 0)) : BigInt(g.low >>> 0);
      constants.set(key, bits);
    }
    return bits;
  };
  const expected = (f: Form): Wanted | undefined => {
    if (!isList(f)) return undefined;
    const t = head(f), v = f.items[1];
    const is64 = t === 'f64.const';
    if (v === 'nan:canonical') return { kind: 'value', text: 'a canonical NaN', matches: b => (is64 ? (b & 0x7fffffffffffffffn) === 0x7ff8000000000000n : (b & 0x7fffffffn) === 0x7fc00000n) };
    if (v === 'nan:arithmetic') return { kind: 'value', text: 'an arithmetic NaN', matches: b => (is64 ? (b & 0x7ff8000000000000n) === 0x7ff8000000000000n : (b & 0x7fc00000n) === 0x7fc00000n) };
    if (t === 'either') {
      const all = f.items.slice(1).map(expected);
      if (all.some(w => w?.kind !== 'value')) return undefined;
      return { kind: 'value', text: 'one of several', matches: b => all.some(w => w?.kind === 'value' && w.matches(b)) };
    }
    const bits = constant(f);
    return bits === undefined ? undefined : { kind: 'value', text: `0x${bits.toString(16)}`, matches: b => b === bits };
  };

  const instances: Instance[] = [], named = new Map<string, Instance>();
  const registered = new Set<Instance>();
  let current: Instance | undefined;
  const instantiate = (f: List): void => {
    let name: Form | undefined = f.items[1], i = 1;
    if (name === 'definition' || name === 'instance') { current = refusedInstance('module definitions and instances'); return; }
    if (typeof name === 'string' && name.startsWith('$')) i = 2; else name = undefined;
    const kind = f.items[i];
    try {
      const binary = kind === 'binary' ? Uint8Array.from(f.items.slice(i + 1).flatMap(x => (isText(x) ? [...x.bytes] : []))) : assemble(kind === 'quote' ? `(module ${f.items.slice(i + 1).map(bytesText).join(' ')})` : source(f));
      const compiled = compileModule(binary, { kernel: false });
      const foreign = compiled.module.imports.find(m => m.module !== 'spectest' || !SPECTEST.has(m.name));
      if (foreign !== undefined) throw new BuildError(foreign.module === 'spectest' ? 'imports of spectest that are not functions' : 'imports from other modules of the script');
      current = { shared: false, compiled, reason: '', steps: [], memory: memoryOf(binary), silent: [...new Set(compiled.module.imports.map(m => m.name))] };
      if (compiled.start !== undefined) current.steps.push({ symbol: compiled.start, signature: { params: [], results: [] }, args: [], wanted: { kind: 'any' }, line: f.line, what: 'start' });
    } catch (e) { current = refusedInstance(reasonOf(e)); for (const r of registered) r.shared = true; }
    instances.push(current);
    if (typeof name === 'string') named.set(name, current);
  };
  const refusedInstance = (reason: string): Instance => ({ shared: false, compiled: undefined, reason, steps: [], memory: { pages: 0, limit: 0 }, silent: [] });
  const action = (f: Form | undefined, wanted: Wanted, line: number): void => {
    if (!isList(f) || (head(f) !== 'invoke' && head(f) !== 'get')) { count(unasked, `${head(f) || 'unknown'} as an action`); return; }
    let i = 1, target = current;
    const name = f.items[1];
    if (typeof name === 'string') { target = named.get(name); i = 2; }
    if (target === undefined) { count(refused, 'no module'); return; }
    if (target.compiled === undefined) { count(refused, target.reason); return; }
    if (target.shared) { count(refused, 'shared with a module that was refused'); return; }
    if (head(f) === 'get') { count(unasked, 'values of exported globals'); return; }
    const what = bytesText(f.items[i]), { module } = target.compiled, e = module.exports.get(what), symbol = target.compiled.exports.get(what);
    const fn = e?.kind === 0 ? module.functions[e.index - module.imports.length] : undefined;
    if (fn === undefined || symbol === undefined) { count(unasked, 'exported imports'); return; }
    const args = f.items.slice(i + 1).map(a => (isList(a) ? constant(a) : undefined));
    if (args.some(a => a === undefined)) { count(refused, 'arguments of other types'); return; }
    target.steps.push({ symbol, signature: fn.signature, args: args as bigint[], wanted, line, what });
  };
  for (const f of script) {
    const h = head(f);
    if (h === 'module') instantiate(f);
    else if (h === 'invoke') action(f, { kind: 'any' }, f.line);
    else if (h === 'assert_return') {
      if (f.items.length > 3) { count(refused, 'functions with several results are not supported'); continue; }
      const wanted: Wanted | undefined = f.items.length === 2 ? { kind: 'none' } : expected(f.items[2]!);
      if (wanted === undefined) count(refused, 'results of other types'); else action(f.items[1], wanted, f.line);
    } else if (h === 'assert_trap' || h === 'assert_exhaustion') {
      if (head(f.items[1]) === 'module') { count(unasked, 'traps while a module is made'); continue; }
      const message = bytesText(f.items[2]), by = UNCHECKED[message];
      if (by !== undefined) count(unasked, by); else action(f.items[1], { kind: 'trap', text: message }, f.line);
    } else if (h === 'register') { const r = typeof f.items[2] === 'string' ? named.get(f.items[2]) : current; if (r) registered.add(r); }
    else if (h.startsWith('assert_')) count(unasked, h);
    else count(unasked, `${h} at the top level`);
  }

  const passed: Partial<Record<Engine, number>> = {}, failures: Partial<Record<Engine, string[]>> = {};
  for (const e of engines) { passed[e] = 0; failures[e] = []; }
  let executed = 0;
  const folder = mkdtempSync(path.join(tmpdir(), 'kintsugi-wasm-')), executable = path.join(folder, 'module');
  try {
    for (const m of instances) {
      if (m.compiled === undefined || m.steps.length === 0) continue;
      const asked = m.steps.filter(s => s.wanted.kind !== 'any').length;
      let elf: ReturnType<typeof build>;
      try { elf = build(m.compiled, m.steps.map(s => s.symbol), m.memory, m.silent); } catch (e) { for (let i = 0; i < asked; i++) count(refused, reasonOf(e)); continue; }
      executed += m.steps.length;
      for (const engine of engines) {
        let run: { results: BitResult[]; problem: string };
        try { run = execute(elf, m.steps, engine, executable); } catch (e) { if (!(e instanceof TooManyArguments)) throw e; run = { results: m.steps.map(() => 'lost'), problem: e.message }; }
        m.steps.forEach((s, i) => {
          const r = run.results[i], problem = judge(s.wanted, r);
          if (problem === '') passed[engine]!++;
          else failures[engine]!.push(`${file}:${s.line} ${s.what}(${s.args.map(a => `0x${a.toString(16)}`).join(', ')}): ${problem}${r === 'lost' && run.problem !== '' ? ` (${run.problem})` : ''}`);
        });
      }
    }
  } finally { rmSync(folder, { recursive: true, force: true }); }
  return { file, passed, failures, executed, refused, unasked };
}
function judge(w: Wanted, r: BitResult): string {
  if (r === 'lost' || r === 'clobbered') return r === 'lost' ? 'not reached' : 'a register that the caller owns was changed';
  if (w.kind === 'any') return '';
  if (w.kind === 'trap') return r === 'trap' ? '' : `expected a trap (${w.text}), got ${r === undefined ? 'nothing' : `0x${r.toString(16)}`}`;
  if (r === 'trap') return 'trapped';
  if (w.kind === 'none') return r === undefined ? '' : 'expected no result';
  if (r === undefined) return `expected ${w.text}, got nothing`;
  return w.matches(r) ? '' : `expected ${w.text}, got 0x${r.toString(16)}`;
}
/** Pages of the one memory, from the binary: the compiler itself does not read them. */
function memoryOf(binary: Uint8Array): { pages: number; limit: number } {
  let at = 8;
  const u = (): number => { let v = 0; for (let s = 0; ; s += 7) { const b = binary[at++]!; v += (b & 127) * 2 ** s; if (b < 128) return v; } };
  while (at < binary.length) {
    const id = binary[at++]!, size = u(), end = at + size;
    if (id === 5 && u() > 0) {
      const flags = u(), pages = u(), limit = (flags & 1) !== 0 ? u() : 65536;
      if (pages > MOST_PAGES) throw new BuildError(`a memory of more than ${MOST_PAGES} pages`);
      return { pages, limit: Math.min(limit, MOST_PAGES) };
    }
    at = end;
  }
  return { pages: 0, limit: 0 };
}

/** Engines that work here; says why the native one does not. */
export function usableEngines(): { engines: Engine[]; note: string | null } {
  const folder = mkdtempSync(path.join(tmpdir(), 'kintsugi-wasm-'));
  try {
    const wasm = Uint8Array.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 5, 3, 1, 0, 1]);
    const note = nativeProblem(path.join(folder, 'probe'), build(compileModule(wasm, { kernel: false }), [], { pages: 1, limit: 1 }, []));
    return { engines: ENGINES.filter(e => e !== 'native' || note === null), note };
  } finally { rmSync(folder, { recursive: true, force: true }); }
}


export interface Summary { readonly file: string; readonly executed: number; readonly passed: Partial<Record<Engine, number>>; readonly failures: readonly string[]; readonly refused: Record<string, number>; readonly unasked: Record<string, number> }
export const summaryOf = (r: FileResult): Summary => ({ file: r.file, executed: r.executed, passed: r.passed, failures: [...new Set(Object.values(r.failures).flat())].slice(0, 4), refused: r.refused, unasked: r.unasked });
export const RESULTS = path.join(import.meta.dirname, 'wasm-results.json');

if (process.argv[1] === import.meta.filename) {
  const args = process.argv.slice(2), names = args.filter(a => !a.startsWith('--')), all = suiteFiles();
  if (args.includes('--help')) { console.log(readFileSync(import.meta.filename, 'utf8').split('*/')[0]!.replace(/^\/\*\*|^ \* ?/gm, '')); process.exit(0); }
  if (all.length === 0) { console.error(MISSING); process.exit(2); }
  const usable = usableEngines(), option = args.find(a => a.startsWith('--engines='))?.slice(10).split(',');
  if (usable.note !== null) console.error(usable.note);
  const engines = usable.engines.filter(e => option?.includes(e) ?? true);
  const files = all.filter(f => (names.length === 0 ? !/\/simd_|\/relaxed_|64\.wast$/.test(f) || /\/[if]64\.wast$/.test(f) : names.includes(path.basename(f, '.wast')) || names.includes(path.dirname(f))));
  const rows: Summary[] = [];
  let bad = 0;
  for (const f of files) {
    const r = await runFile(f, readFileSync(path.join(process.env['KINTSUGI_SUITES']!, f), 'utf8'), engines), s = summaryOf(r);
    rows.push(s);
    if (!args.includes('--json')) {
      const sum = (t: Record<string, number>): number => Object.values(t).reduce((a, b) => a + b, 0);
      console.log(`${f.padEnd(44)} ${String(r.executed).padStart(6)} run  ${engines.map(e => `${e} ${r.passed[e]}`).join('  ')}  refused ${sum(r.refused)}  not asked ${sum(r.unasked)}`);
      if (r.executed === 0 || names.length > 0) for (const [k, n] of Object.entries(r.refused)) console.log(`    refused ${n}: ${k}`);
      for (const e of engines) for (const x of r.failures[e]!.slice(0, names.length > 0 ? 10 : 2)) console.log(`    ${e}: ${x}`);
    }
    for (const e of engines) bad += r.failures[e]!.length;
  }
  if (args.includes('--json')) console.log(JSON.stringify(rows, null, 1));
  if (args.includes('--write')) {
    const before = existsSync(RESULTS) ? (JSON.parse(readFileSync(RESULTS, 'utf8')) as Summary[]) : [], all = new Map([...before, ...rows].map(r => [r.file, r]));
    writeFileSync(RESULTS, `[\n${[...all.values()].sort((a, b) => (a.file < b.file ? -1 : 1)).map(r => JSON.stringify(r)).join(',\n')}\n]\n`);
  }
  process.exitCode = bad > 0 ? 1 : 0;
}
