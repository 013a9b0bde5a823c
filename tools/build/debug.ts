/**
 * Debug information: code address -> function and file:line:column, and the frame table with which a stack is walked without EBP.
 *
 * `.dbg.json` (host tools): see DebugInfo. `__dbg_table` (in the kernel image, for its own panic), all u32 little-endian:
 *
 *   0 magic 'KDBG' (0x4742444b)   4 functions   8 lines   12 files   16 offset of functions   20 offset of lines   24 offset of files
 *   function: address, frame bytes (from ESP at a call to the return address), offset of the name    sorted by address
 *   line:     address, file << 16 | line                                                             sorted by address
 *   file:     offset of the name
 *   names are NUL-terminated; offsets are from the start of the table
 */
import type { PlacedFunction } from './link.ts';
import type { SourceMap } from './sourcemap.ts';

export interface DebugInfo {
  readonly version: 1;
  readonly name: string;
  readonly files: readonly string[];
  /** Sorted by address. `depths`: [offset, bytes from ESP to the return address] wherever that changes; empty for stubs. */
  readonly functions: readonly { name: string; address: number; size: number; frame: number; saved: readonly number[]; depths: readonly (readonly [number, number])[] }[];
  /** Sorted [address, file index, line, column]. */
  readonly lines: readonly (readonly [number, number, number, number])[];
  readonly symbols: Readonly<Record<string, number>>;
}

export function debugInfo(name: string, functions: readonly PlacedFunction[], map: SourceMap, symbols: ReadonlyMap<string, number>): DebugInfo {
  const files: string[] = [];
  const index = new Map<string, number>();
  const lines: [number, number, number, number][] = [];
  const sorted = [...functions].sort((a, b) => a.address - b.address);
  for (const f of sorted) {
    let last = '', first = true;
    for (const l of f.code?.lines ?? []) {
      const p = map.find(l.pos);
      if (p === undefined) continue;
      const key = `${p.file}:${p.line}:${p.column}`;
      if (key === last) continue;
      last = key;
      let i = index.get(p.file);
      if (i === undefined) index.set(p.file, (i = files.push(p.file) - 1));
      const address = first ? f.address : f.address + l.offset; // a prologue belongs to the first line
      first = false;
      if (lines[lines.length - 1]?.[0] === address) lines.pop();
      lines.push([address, i, p.line, p.column]);
    }
  }
  return {
    version: 1,
    name,
    files,
    functions: sorted.map((f) => ({ name: f.name, address: f.address, size: f.size, frame: f.code?.frame ?? 0, saved: f.code?.saved ?? [], depths: f.code?.depths ?? [] })),
    lines,
    symbols: Object.fromEntries([...symbols].filter(([n]) => !/^(const|table|global):/.test(n))),
  };
}

/** The table the kernel carries. Consecutive entries of one line are merged within a function: a line before its function's start is another's. */
export function debugTable(info: DebugInfo): Uint8Array {
  const strings: number[] = [];
  const at = new Map<string, number>();
  const text = (s: string): number => {
    let o = at.get(s);
    if (o === undefined) {
      o = strings.length;
      at.set(s, o);
      for (const b of new TextEncoder().encode(s)) strings.push(b);
      strings.push(0);
    }
    return o;
  };
  const lines: number[] = [];
  let last = -1;
  const starts = new Set(info.functions.map((f) => f.address));
  for (const [address, file, line] of info.lines) {
    const v = (file << 16) | Math.min(line, 0xffff);
    if (v === last && !starts.has(address)) continue;
    last = v;
    lines.push(address, v);
  }
  const functions = info.functions.flatMap((f) => [f.address, f.frame, text(f.name)]);
  const files = info.files.map(text);
  const atFunctions = 28, atLines = atFunctions + functions.length * 4, atFiles = atLines + lines.length * 4, atStrings = atFiles + files.length * 4;
  const out = new Uint8Array(atStrings + strings.length);
  const v = new DataView(out.buffer);
  [0x4742444b, functions.length / 3, lines.length / 2, files.length, atFunctions, atLines, atFiles].forEach((x, i) => v.setUint32(i * 4, x, true));
  functions.forEach((x, i) => v.setUint32(atFunctions + i * 4, i % 3 === 2 ? x + atStrings : x, true));
  lines.forEach((x, i) => v.setUint32(atLines + i * 4, x, true));
  files.forEach((x, i) => v.setUint32(atFiles + i * 4, x + atStrings, true));
  out.set(strings, atStrings);
  return out;
}

/** Finds function and line of an address. */
export function locate(info: DebugInfo, address: number): { name: string; offset: number; file: string; line: number; column: number } | undefined {
  const below = <T>(list: readonly T[], key: (x: T) => number): T | undefined => {
    let lo = 0, hi = list.length - 1, best: T | undefined;
    while (lo <= hi) {
      const mid = (lo + hi) >> 1;
      if (key(list[mid] as T) <= address) {
        best = list[mid];
        lo = mid + 1;
      } else hi = mid - 1;
    }
    return best;
  };
  const f = below(info.functions, (x) => x.address);
  if (f === undefined || address >= f.address + f.size) return undefined;
  const l = below(info.lines, (x) => x[0]);
  const own = l !== undefined && l[0] >= f.address;
  return { name: f.name, offset: address - f.address, file: own ? (info.files[l[1]] as string) : '', line: own ? l[2] : 0, column: own ? l[3] : 0 };
}

export interface StackFrame { readonly eip: number; readonly esp: number; readonly name: string; readonly file: string; readonly line: number }
/**
 * Walks a stack from a stopped CPU. `read` gives a stack word, or undefined when it cannot be read. Exact in compiled code at any
 * instruction (prologues included); ends at the first stub or unknown address, which is reported as the last frame.
 */
export function walkStack(info: DebugInfo, eip: number, esp: number, read: (address: number) => number | undefined, limit = 64): StackFrame[] {
  const frames: StackFrame[] = [];
  for (let innermost = true; frames.length < limit; innermost = false) {
    // A return address may lie just behind its function (a call that never returns): look at the call itself.
    const at = locate(info, innermost ? eip : eip - 1);
    frames.push({ eip, esp, name: at?.name ?? '?', file: at?.file ?? '', line: at?.line ?? 0 });
    const f = at === undefined ? undefined : info.functions.find((x) => x.name === at.name && eip - (innermost ? 0 : 1) >= x.address && eip - (innermost ? 0 : 1) < x.address + x.size);
    if (f === undefined || f.depths.length === 0) return frames;
    let depth = f.frame;
    if (innermost) for (const [offset, d] of f.depths) if (f.address + offset <= eip) depth = d;
    const back = read((esp + depth) >>> 0);
    if (back === undefined) return frames;
    esp = (esp + depth + 4) >>> 0;
    eip = back >>> 0;
  }
  return frames;
}
