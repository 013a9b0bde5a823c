/**
 * Linker: machine code, stubs and data -> addresses and bytes.
 *
 *   text     boot | stubs | functions                          r-x   at `textBase`
 *   rodata   constants, tables                                 r--   next page
 *   data     globals, stub data | bss                          rw-   next page
 *   static   AssemblyScript's data | zero up to the heap end   rw-   at `memoryBase`
 *
 * A symbol is looked up among the local labels of the piece (names that begin with '.'), then globally; runtime helpers are taken from
 * the library only when something refers to them.
 */
import type { Assembled, SectionName } from './asm/assembler.ts';
import type { Compiled } from './compile.ts';
import type { FunctionCode } from './emit.ts';
import { BuildError } from './errors.ts';
import type { SymRef } from './x86/operands.ts';

export interface LinkInput {
  readonly compiled: Compiled | undefined;
  readonly stubs: readonly Assembled[];
  /** Helpers by the symbols they define. */
  readonly library: ReadonlyMap<string, () => Assembled>;
  readonly textBase: number;
  readonly memoryBase: number;
  /** End of AssemblyScript's static data. */
  readonly heapBase: number;
  readonly heapBytes: number;
  readonly entry: string;
  /** Bytes of `__dbg_table`, made when all addresses are known; its size must not depend on the addresses. */
  debugTable?(functions: readonly PlacedFunction[]): Uint8Array;
}
export interface PlacedFunction { readonly name: string; readonly address: number; readonly size: number; readonly code: FunctionCode | undefined }
export interface Segment { readonly name: string; readonly address: number; readonly bytes: Uint8Array; readonly memorySize: number; readonly flags: number }
export interface Linked { readonly segments: readonly Segment[]; readonly symbols: ReadonlyMap<string, number>; readonly functions: readonly PlacedFunction[]; readonly entry: number; readonly end: number }

const PAGE = 4096;
const up = (n: number, a: number): number => Math.ceil(n / a) * a;

interface Piece { readonly name: string; readonly bytes: Uint8Array; readonly relocs: readonly { at: number; kind: string; sym: SymRef; addend: number }[]; readonly labels: ReadonlyMap<string, number>; readonly align: number; address: number; readonly code: FunctionCode | undefined }

export function link(input: LinkInput): Linked {
  const pieces: Record<SectionName, Piece[]> = { boot: [], text: [], rodata: [], data: [], bss: [] };
  const symbols = new Map<string, number>();
  const defined = new Set<string>();
  const wanted: { name: string; by: string }[] = [];
  const add = (section: SectionName, p: Piece): void => {
    pieces[section].push(p);
    for (const l of p.labels.keys()) if (!l.startsWith('.')) {
      if (defined.has(l)) throw new BuildError(`symbol ${l} is defined twice`, p.name);
      defined.add(l);
    }
    for (const r of p.relocs) {
      if (!p.labels.has(r.sym.name)) wanted.push({ name: r.sym.name, by: p.name });
      if (r.sym.minus !== undefined && r.sym.minus !== '.' && !p.labels.has(r.sym.minus)) wanted.push({ name: r.sym.minus, by: p.name });
    }
  };
  const define = (name: string, value: number): void => void symbols.set(name, value >>> 0);
  const addStub = (a: Assembled): void => {
    for (const [section, buffer] of a.buffers) {
      const done = buffer.finish(section === 'text' || section === 'boot' ? 0x90 : 0);
      add(section, { name: a.name, bytes: done.bytes, relocs: done.relocs, labels: done.labels, align: buffer.alignment, address: 0, code: undefined });
    }
    for (const [n, v] of a.constants) {
      defined.add(n);
      define(n, v);
    }
  };
  const words = (name: string, align: number, labels: [string, number][], values: (number | { sym: string; addend: number })[]): Piece => {
    const bytes = new Uint8Array(values.length * 4);
    const view = new DataView(bytes.buffer);
    const relocs: { at: number; kind: string; sym: SymRef; addend: number }[] = [];
    values.forEach((v, i) => {
      if (typeof v === 'number') view.setUint32(i * 4, v >>> 0, true);
      else relocs.push({ at: i * 4, kind: 'abs32', sym: { name: v.sym }, addend: v.addend });
    });
    return { name, bytes, relocs, labels: new Map(labels), align, address: 0, code: undefined };
  };

  for (const s of input.stubs) addStub(s);
  const c = input.compiled;
  const aliases = new Map<string, string>();
  if (c !== undefined) {
    for (const [name, symbol] of c.exports) aliases.set(name, symbol);
    for (const f of c.functions) {
      add('text', { name: f.name, bytes: f.code.bytes, relocs: f.code.relocs, labels: new Map([[f.name, 0], ...[...f.code.labels].filter(([l]) => l.startsWith('.'))]), align: 16, address: 0, code: f });
      for (const t of f.tables) add('rodata', words(t.symbol, 4, [[t.symbol, 0]], t.offsets.map((o) => ({ sym: f.name, addend: o }))));
    }
    for (const [symbol, v] of c.pool) add('rodata', words(symbol, 16, [[symbol, 0]], [v.low, v.high, 0, 0]));
    const missing = '__bad_function_pointer';
    add('rodata', words('table:functions', 4, [['table:functions', 0]], [...c.table].map((s) => ({ sym: s ?? missing, addend: 0 }))));
    const labels: [string, number][] = [];
    const values: number[] = [];
    for (const g of c.globals) {
      labels.push([g.symbol, values.length * 4]);
      values.push(g.low);
      if (g.bytes === 8) values.push(g.high);
    }
    add('data', words('globals', 8, labels, values));
  }
  for (const n of [input.entry]) wanted.push({ name: n, by: 'entry' });
  const builtin = new Set(['__text_start', '__text_end', '__rodata_start', '__rodata_end', '__data_start', '__data_end', '__bss_start', '__bss_end', '__static_start', '__static_end', '__heap_base', '__heap_end', '__image_end', '__memory_base', '__as_start', '__dbg_table', '__dbg_table_end']);
  for (let w = wanted.pop(); w !== undefined; w = wanted.pop()) {
    const { name } = w;
    if (defined.has(name) || aliases.has(name) || builtin.has(name)) continue;
    const make = input.library.get(name);
    if (make === undefined) throw new BuildError(`undefined symbol ${name}: no stub label and no exported function has this name`, w.by);
    addStub(make());
  }

  // Layout. The debug table is sized by a dry run, because its contents need addresses.
  const functionList = (): PlacedFunction[] => [...pieces.boot, ...pieces.text].flatMap((p): PlacedFunction[] => {
    if (p.code !== undefined) return [{ name: p.name, address: p.address, size: p.bytes.length, code: p.code }];
    const labels = [...p.labels].filter(([l]) => !l.startsWith('.')).sort((a, b) => a[1] - b[1]);
    return labels.map(([l, o], i) => ({ name: l, address: p.address + o, size: (labels[i + 1]?.[1] ?? p.bytes.length) - o, code: undefined }));
  });
  const place = (list: readonly Piece[], from: number): number => {
    let at = from;
    for (const p of list) {
      at = up(at, p.align);
      p.address = at;
      at += p.bytes.length;
    }
    return at;
  };
  define('__text_start', input.textBase);
  const textEnd = place([...pieces.boot, ...pieces.text], input.textBase);
  define('__text_end', textEnd);
  const rodataStart = up(textEnd, PAGE);
  define('__rodata_start', rodataStart);
  const debug = input.debugTable?.(functionList()) ?? new Uint8Array(0);
  if (input.debugTable !== undefined) pieces.rodata.push({ name: '__dbg_table', bytes: debug, relocs: [], labels: new Map([['__dbg_table', 0], ['__dbg_table_end', debug.length]]), align: 16, address: 0, code: undefined });
  const rodataEnd = place(pieces.rodata, rodataStart);
  define('__rodata_end', rodataEnd);
  const dataStart = up(rodataEnd, PAGE);
  define('__data_start', dataStart);
  const dataEnd = place(pieces.data, dataStart);
  define('__data_end', dataEnd);
  define('__bss_start', dataEnd);
  const bssEnd = place(pieces.bss, dataEnd);
  define('__bss_end', bssEnd);
  const heapEnd = up(input.heapBase + input.heapBytes, PAGE);
  if (bssEnd > input.memoryBase && input.textBase < input.memoryBase) throw new BuildError(`text, constants and stub data end at 0x${bssEnd.toString(16)}, beyond the memory base 0x${input.memoryBase.toString(16)}`);
  define('__memory_base', input.memoryBase);
  define('__static_start', input.memoryBase);
  define('__static_end', input.heapBase);
  define('__heap_base', input.heapBase);
  define('__heap_end', heapEnd);
  const imageEnd = Math.max(heapEnd, up(bssEnd, PAGE));
  define('__image_end', imageEnd);
  for (const p of [...pieces.boot, ...pieces.text, ...pieces.rodata, ...pieces.data, ...pieces.bss]) for (const [l, o] of p.labels) if (!l.startsWith('.')) define(l, p.address + o);
  for (const [name, symbol] of aliases) if (symbols.has(symbol) && !defined.has(name)) define(name, symbols.get(symbol) as number);
  if (c?.start !== undefined) define('__as_start', symbols.get(c.start) as number);
  else if ([...pieces.boot, ...pieces.text, ...pieces.rodata, ...pieces.data].some((p) => p.relocs.some((r) => r.sym.name === '__as_start'))) define('__as_start', symbols.get('__nothing') ?? 0);

  const build = (list: readonly Piece[], from: number, to: number): Uint8Array => {
    const out = new Uint8Array(to - from);
    if (list === textPieces) out.fill(0xcc);
    for (const p of list) {
      const view = new DataView(out.buffer, p.address - from, p.bytes.length);
      out.set(p.bytes, p.address - from);
      for (const r of p.relocs) {
        const look = (name: string): number => {
          if (name === '.') return p.address + r.at;
          const local = p.labels.get(name);
          if (local !== undefined) return p.address + local;
          const v = symbols.get(name);
          if (v === undefined) throw new BuildError(`undefined symbol ${name}`, p.name);
          return v;
        };
        let v = look(r.sym.name) + r.addend;
        if (r.sym.minus !== undefined) v -= look(r.sym.minus);
        if (r.kind === 'rel32') view.setInt32(r.at, (v - (p.address + r.at)) | 0, true);
        else if (r.kind === 'abs32') view.setInt32(r.at, v | 0, true);
        else if (r.kind === 'abs16') view.setUint16(r.at, v & 0xffff, true);
        else {
          if (r.sym.minus === '.' && (v < -128 || v > 127)) throw new BuildError(`short branch to ${r.sym.name} is out of range`, p.name);
          view.setUint8(r.at, v & 255);
        }
      }
    }
    return out;
  };
  const textPieces = [...pieces.boot, ...pieces.text];
  const segments: Segment[] = [{ name: '.text', address: input.textBase, bytes: build(textPieces, input.textBase, textEnd), memorySize: textEnd - input.textBase, flags: 5 }];
  if (rodataEnd > rodataStart) segments.push({ name: '.rodata', address: rodataStart, bytes: build(pieces.rodata, rodataStart, rodataEnd), memorySize: rodataEnd - rodataStart, flags: 4 });
  if (bssEnd > dataStart) segments.push({ name: '.data', address: dataStart, bytes: build(pieces.data, dataStart, dataEnd), memorySize: bssEnd - dataStart, flags: 6 });
  if (heapEnd > input.memoryBase) {
    let end = input.memoryBase;
    for (const d of c?.module.data ?? []) {
      if (d.address < input.memoryBase || d.address + d.bytes.length > heapEnd) throw new BuildError(`a data segment at 0x${d.address.toString(16)} lies outside the static data (memoryBase must be decimal)`);
      end = Math.max(end, d.address + d.bytes.length);
    }
    const bytes = new Uint8Array(end - input.memoryBase);
    for (const d of c?.module.data ?? []) bytes.set(d.bytes, d.address - input.memoryBase);
    segments.push({ name: '.static', address: input.memoryBase, bytes, memorySize: heapEnd - input.memoryBase, flags: 6 });
  }
  const entry = symbols.get(input.entry);
  if (entry === undefined) throw new BuildError(`the entry symbol ${input.entry} is not defined`);
  return { segments, symbols, functions: functionList(), entry, end: imageEnd };
}
