/**
 * The committed vector files (data/*.kv): one group each, columns of little-endian integers, one deflate stream (RFC 1951).
 *
 *   inflate(file) = u32 n | n bytes of JSON {group, forms, count, columns: [name, bytes][]} | the columns in that order
 *
 * Multi-byte columns are stored as byte planes (all low bytes first), and outputs as XOR with the inputs, because most of a
 * state does not change: about 20 bytes a vector remain.
 */
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { CODE } from './environment.ts';
import type { Captured } from './capture/native.ts';
import { FPU_BYTES, FPU_COMPARED } from './capture/native.ts';
import type { Patch } from './capture/scene.ts';
import type { Sheet } from './capture/sheet.ts';

export interface Vector {
  /** Index in the group: what a reproducing command names. */
  index: number;
  form: string;
  code: Uint8Array; codeAddr: number;
  regs: Uint32Array; eflags: number; mxcsr: number; xmm: Uint8Array | null; fpu: Uint8Array | null;
  patches: Patch[];
  undefinedFlags: number; undefinedRegs: number; undefinedMemory: boolean;
  expected: Captured;
}
export interface VectorGroup { name: string; forms: string[]; vectors: Vector[] }

function planes(width: number, values: ArrayLike<number>): Uint8Array {
  const n = values.length, out = new Uint8Array(n * width);
  for (let i = 0; i < n; i++) for (let b = 0; b < width; b++) out[b * n + i] = (values[i]! >>> (8 * b)) & 255;
  return out;
}
function unplanes(width: number, bytes: Uint8Array): Uint32Array {
  const n = bytes.length / width, out = new Uint32Array(n);
  for (let b = 0; b < width; b++) for (let i = 0; i < n; i++) out[i]! |= bytes[b * n + i]! << (8 * b);
  return out;
}

class Writer {
  readonly columns: [string, Uint8Array][] = [];
  numbers(name: string, width: number, values: ArrayLike<number>): void { this.columns.push([name, planes(width, values)]); }
  bytes(name: string, parts: readonly ArrayLike<number>[]): void { this.columns.push([name, Uint8Array.from(parts.flatMap(p => Array.from(p)))]); }
  patches(name: string, list: readonly (readonly Patch[])[]): void {
    this.numbers(`${name}.count`, 1, list.map(p => p.length));
    const flat = list.flat();
    this.numbers(`${name}.addr`, 4, flat.map(p => p.addr));
    this.numbers(`${name}.length`, 2, flat.map(p => p.bytes.length));
    this.bytes(`${name}.bytes`, flat.map(p => p.bytes));
  }
}

const xorBytes = (a: Uint8Array, b: Uint8Array): Uint8Array => a.map((v, i) => v ^ b[i]!);

const IMAGES = [['xmm', 128], ['fpu', FPU_BYTES]] as const;

export function packGroup(sheet: Sheet, results: readonly Captured[]): Uint8Array {
  const w = new Writer(), scenes = sheet.cases.map(c => c.scene);
  w.numbers('form', 2, sheet.cases.map(c => c.form));
  w.numbers('code.length', 1, scenes.map(s => s.code.length));
  w.bytes('code', scenes.map(s => s.code));
  w.numbers('code.offset', 2, scenes.map(s => s.codeAddr - CODE));
  for (let r = 0; r < 8; r++) w.numbers(`r${r}`, 4, scenes.map(s => s.regs[r]!));
  w.numbers('eflags', 3, scenes.map(s => s.eflags));
  w.numbers('mxcsr', 2, scenes.map(s => s.mxcsr));
  w.numbers('undefined.flags', 2, scenes.map(s => s.undefinedFlags));
  w.numbers('undefined.regs', 1, scenes.map(s => s.undefinedRegs));
  w.numbers('undefined.memory', 1, scenes.map(s => s.undefinedMemory ? 1 : 0));
  w.patches('patch', scenes.map(s => s.patches));
  // Undefined bits are stored as if they had not changed: another CPU model gives the same file.
  for (let r = 0; r < 8; r++) w.numbers(`out.r${r}`, 4, results.map((o, i) => scenes[i]!.undefinedRegs >> r & 1 ? 0 : o.regs[r]! ^ scenes[i]!.regs[r]!));
  w.numbers('out.eip', 4, results.map((o, i) => o.eip - scenes[i]!.codeAddr));
  w.numbers('out.eflags', 3, results.map((o, i) => (o.eflags ^ scenes[i]!.eflags) & ~scenes[i]!.undefinedFlags));
  w.numbers('out.mxcsr', 2, results.map((o, i) => o.mxcsr ^ scenes[i]!.mxcsr));
  w.numbers('out.trap', 1, results.map(o => o.trap));
  w.numbers('out.error', 2, results.map(o => o.error));
  w.numbers('out.cr2', 4, results.map(o => o.cr2));
  w.patches('change', results.map((o, i) => scenes[i]!.undefinedMemory ? [] : o.changes));
  // A group in which only some cases have such state says which, and stores no other.
  for (const [name, bytes] of IMAGES) {
    const has = scenes.map(s => s[name] !== null);
    if (!has.includes(true)) continue;
    if (has.includes(false)) w.numbers(`${name}.has`, 1, has.map(Number));
    const chosen = scenes.flatMap((s, i) => has[i] ? [{ before: s[name]!, after: results[i]![name] ?? new Uint8Array(bytes) }] : []);
    w.bytes(name, chosen.map(c => c.before));
    w.bytes(`out.${name}`, chosen.map(c => name === 'fpu' ? xorBytes(c.after, c.before).map((b, n) => FPU_COMPARED[n] ? b : 0) : xorBytes(c.after, c.before)));
  }
  const header = Buffer.from(JSON.stringify({ group: sheet.group, forms: sheet.forms, count: scenes.length, columns: w.columns.map(([n, b]) => [n, b.length]) }));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(header.length);
  return deflateRawSync(Buffer.concat([length, header, ...w.columns.map(c => c[1])]), { level: 9 });
}

export function unpackGroup(file: Uint8Array): VectorGroup {
  const raw = inflateRawSync(file), headerBytes = raw.readUInt32LE(0);
  const header = JSON.parse(raw.subarray(4, 4 + headerBytes).toString()) as { group: string; forms: string[]; count: number; columns: [string, number][] };
  const columns = new Map<string, Uint8Array>();
  let at = 4 + headerBytes;
  for (const [name, bytes] of header.columns) { columns.set(name, raw.subarray(at, at + bytes)); at += bytes; }
  const column = (name: string): Uint8Array => {
    const c = columns.get(name);
    if (!c) throw new Error(`vector file ${header.group} has no column ${name}; capture it again`);
    return c;
  };
  const numbers = (name: string, width: number): Uint32Array => unplanes(width, column(name));
  const patches = (name: string): (() => Patch[]) => {
    const count = numbers(`${name}.count`, 1), addr = numbers(`${name}.addr`, 4), length = numbers(`${name}.length`, 2), bytes = column(`${name}.bytes`);
    let i = 0, p = 0, b = 0;
    return () => Array.from({ length: count[i++]! }, () => { const n = length[p]!; b += n; return { addr: addr[p++]!, bytes: [...bytes.subarray(b - n, b)] }; });
  };
  const form = numbers('form', 2), codeLength = column('code.length'), code = column('code'), offset = numbers('code.offset', 2);
  const regs = Array.from({ length: 8 }, (_, r) => numbers(`r${r}`, 4)), outRegs = Array.from({ length: 8 }, (_, r) => numbers(`out.r${r}`, 4));
  const eflags = numbers('eflags', 3), mxcsr = numbers('mxcsr', 2), undefinedFlags = numbers('undefined.flags', 2), undefinedRegs = numbers('undefined.regs', 1), undefinedMemory = numbers('undefined.memory', 1);
  const outEip = numbers('out.eip', 4), outEflags = numbers('out.eflags', 3), outMxcsr = numbers('out.mxcsr', 2), trap = numbers('out.trap', 1), error = numbers('out.error', 2), cr2 = numbers('out.cr2', 4);
  const patch = patches('patch'), change = patches('change');
  const images = IMAGES.map(([name, width]) => {
    let next = 0;
    const has = columns.get(`${name}.has`);
    return (i: number): { before: Uint8Array; after: Uint8Array } | null => {
      if (!columns.has(name) || has?.[i] === 0) return null;
      const from = next++ * width, before = column(name).subarray(from, from + width);
      return { before, after: xorBytes(column(`out.${name}`).subarray(from, from + width), before) };
    };
  });
  let codeAt = 0;
  const vectors = Array.from({ length: header.count }, (_, i): Vector => {
    const length = codeLength[i]!, codeAddr = CODE + offset[i]!;
    codeAt += length;
    const [xmm, fpu] = images.map(image => image(i));
    const input = Uint32Array.from({ length: 8 }, (_, r) => regs[r]![i]!);
    return {
      index: i, form: header.forms[form[i]!]!, code: code.subarray(codeAt - length, codeAt), codeAddr,
      regs: input, eflags: eflags[i]!, mxcsr: mxcsr[i]!, xmm: xmm?.before ?? null, fpu: fpu?.before ?? null, patches: patch(), undefinedFlags: undefinedFlags[i]!, undefinedRegs: undefinedRegs[i]!, undefinedMemory: undefinedMemory[i] === 1,
      expected: {
        regs: input.map((v, r) => v ^ outRegs[r]![i]!), eip: (codeAddr + outEip[i]!) >>> 0, eflags: eflags[i]! ^ outEflags[i]!, mxcsr: mxcsr[i]! ^ outMxcsr[i]!,
        trap: trap[i]!, error: error[i]!, cr2: cr2[i]!, changes: change(),
        xmm: xmm?.after ?? null, fpu: fpu?.after ?? null,
      },
    };
  });
  return { name: header.group, forms: header.forms, vectors };
}
