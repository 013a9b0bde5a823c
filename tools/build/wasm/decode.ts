/**
 * Reader of the wasm binary format (core specification 2.0, section 5): everything but function bodies, which wasm/trees.ts walks itself.
 * Offsets in `code` are offsets in the file, because the source map speaks of those.
 */
import { BuildError } from '../errors.ts';
import type { Type } from './opcodes.ts';

export interface Signature { readonly params: readonly Type[]; readonly results: readonly Type[] }
export interface FunctionBody { readonly index: number; readonly signature: Signature; name: string; readonly start: number; readonly end: number; readonly locals: readonly Type[] }
export interface Import { readonly module: string; readonly name: string; readonly signature: Signature }
export interface Global { readonly type: Type; readonly mutable: boolean; readonly low: number; readonly high: number }
export interface Segment { readonly address: number; readonly bytes: Uint8Array }
export interface Module {
  readonly bytes: Uint8Array;
  readonly types: Signature[];
  readonly imports: Import[];
  readonly functions: FunctionBody[];
  readonly globals: Global[];
  readonly exports: Map<string, { kind: number; index: number }>;
  readonly table: (number | undefined)[];
  readonly data: Segment[];
  start: number | undefined;
}

const TYPES: Readonly<Record<number, Type>> = { 0x7f: 'i32', 0x7e: 'i64', 0x7d: 'f32', 0x7c: 'f64' };

export class Reader {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  at: number;
  constructor(bytes: Uint8Array, at = 0) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.at = at;
  }
  u8(): number {
    return this.bytes[this.at++] as number;
  }
  u32(): number {
    let r = 0;
    for (let s = 0; ; s += 7) {
      const b = this.u8();
      r |= (b & 127) << s;
      if (b < 128) return r >>> 0;
    }
  }
  s32(): number {
    let r = 0;
    for (let s = 0; ; ) {
      const b = this.u8();
      r |= (b & 127) << s;
      s += 7;
      if (b < 128) return s < 32 && (b & 64) !== 0 ? r | (-1 << s) : r;
    }
  }
  s64(): bigint {
    let r = 0n;
    for (let s = 0n; ; ) {
      const b = this.u8();
      r |= BigInt(b & 127) << s;
      s += 7n;
      if (b < 128) return BigInt.asIntN(64, (b & 64) !== 0 ? r | (-1n << s) : r);
    }
  }
  name(): string {
    const n = this.u32();
    const s = new TextDecoder().decode(this.bytes.subarray(this.at, this.at + n));
    this.at += n;
    return s;
  }
  type(): Type {
    const b = this.u8();
    const t = TYPES[b];
    if (t === undefined) throw new BuildError(`wasm value type 0x${b.toString(16)} is not supported (SIMD and references are not)`);
    return t;
  }
}

export function decodeModule(bytes: Uint8Array): Module {
  const r = new Reader(bytes, 8);
  const m: Module = { bytes, types: [], imports: [], functions: [], globals: [], exports: new Map(), table: [], data: [], start: undefined };
  const declared: number[] = [];
  const constant = (): { low: number; high: number } => {
    const op = r.u8();
    let low = 0, high = 0;
    if (op === 0x41) low = r.s32();
    else if (op === 0x42) {
      const v = r.s64();
      low = Number(BigInt.asIntN(32, v));
      high = Number(BigInt.asIntN(32, v >> 32n));
    } else if (op === 0x43) {
      low = r.view.getInt32(r.at, true);
      r.at += 4;
    } else if (op === 0x44) {
      low = r.view.getInt32(r.at, true);
      high = r.view.getInt32(r.at + 4, true);
      r.at += 8;
    } else if (op === 0x23) ({ low, high } = m.globals[r.u32()] as Global);
    else throw new BuildError(`constant expression with opcode 0x${op.toString(16)}`);
    if (r.u8() !== 0x0b) throw new BuildError('a constant expression of more than one instruction');
    return { low, high };
  };
  while (r.at < bytes.length) {
    const id = r.u8();
    const size = r.u32();
    const end = r.at + size;
    const list = (f: (i: number) => void): void => {
      for (let i = 0, n = r.u32(); i < n; i++) f(i);
    };
    if (id === 0) {
      if (r.name() === 'name') names(r, end, m);
    } else if (id === 1) {
      list(() => {
        if (r.u8() !== 0x60) throw new BuildError('wasm type that is not a function (GC is not supported)');
        const params: Type[] = [], results: Type[] = [];
        list(() => params.push(r.type()));
        list(() => results.push(r.type()));
        if (results.length > 1) throw new BuildError('functions with several results are not supported');
        m.types.push({ params, results });
      });
    } else if (id === 2) {
      list(() => {
        const module = r.name(), name = r.name(), kind = r.u8();
        if (kind === 0) m.imports.push({ module, name, signature: m.types[r.u32()] as Signature });
        else throw new BuildError(`import ${module}.${name} is not a function`);
      });
    } else if (id === 3) list(() => declared.push(r.u32()));
    else if (id === 5) {
      // Memory: its size means nothing here, a wasm address is a virtual address.
    } else if (id === 6) {
      list(() => {
        const type = r.type(), mutable = r.u8() === 1;
        m.globals.push({ type, mutable, ...constant() });
      });
    } else if (id === 7) {
      list(() => {
        const name = r.name(), kind = r.u8();
        m.exports.set(name, { kind, index: r.u32() });
      });
    } else if (id === 8) m.start = r.u32();
    else if (id === 9) {
      list(() => {
        if (r.u32() !== 0) throw new BuildError('an element segment that is not active');
        const { low } = constant();
        list((i) => (m.table[low + i] = r.u32()));
      });
    } else if (id === 10) {
      list((i) => {
        const bodyEnd = r.u32() + r.at;
        const signature = m.types[declared[i] as number] as Signature;
        const locals: Type[] = [...signature.params];
        list(() => {
          const n = r.u32(), t = r.type();
          for (let k = 0; k < n; k++) locals.push(t);
        });
        const index = m.imports.length + i;
        m.functions.push({ index, signature, name: `func${index}`, start: r.at, end: bodyEnd, locals });
        r.at = bodyEnd;
      });
    } else if (id === 11) {
      list(() => {
        const mode = r.u32();
        if (mode !== 0) throw new BuildError('a data segment that is not active');
        const { low } = constant();
        const n = r.u32();
        m.data.push({ address: low >>> 0, bytes: bytes.subarray(r.at, r.at + n) });
        r.at += n;
      });
    }
    r.at = end;
  }
  return m;
}

function names(r: Reader, end: number, m: Module): void {
  while (r.at < end) {
    const id = r.u8();
    const next = r.u32() + r.at;
    if (id === 1) {
      for (let n = r.u32(); n > 0; n--) {
        const index = r.u32(), name = r.name();
        const f = m.functions[index - m.imports.length];
        if (f !== undefined) f.name = name;
      }
    }
    r.at = next;
  }
}
