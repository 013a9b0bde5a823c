/** A minimal writer of wasm modules for tests: functions from bytes, one memory, a table, globals, data. */
import type { Type } from '../../tools/build/wasm/opcodes.ts';

export const T: Record<Type, number> = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c };
export const uleb = (n: number): number[] => {
  const out: number[] = [];
  for (n >>>= 0; ; ) {
    const b = n & 127;
    n >>>= 7;
    out.push(n !== 0 ? b | 128 : b);
    if (n === 0) return out;
  }
};
export const sleb = (v: bigint): number[] => {
  const out: number[] = [];
  for (;;) {
    const b = Number(v & 127n);
    v >>= 7n;
    const done = (v === 0n && (b & 64) === 0) || (v === -1n && (b & 64) !== 0);
    out.push(done ? b : b | 128);
    if (done) return out;
  }
};
export const i32c = (v: number): number[] => [0x41, ...sleb(BigInt(v | 0))];
export const i64c = (v: bigint): number[] => [0x42, ...sleb(BigInt.asIntN(64, v))];
export const f64c = (v: number): number[] => [0x44, ...new Uint8Array(new Float64Array([v]).buffer)];
export const get = (n: number): number[] => [0x20, ...uleb(n)];
export const set = (n: number): number[] => [0x21, ...uleb(n)];
export const tee = (n: number): number[] => [0x22, ...uleb(n)];

export interface TestFunction { readonly name: string; readonly params: readonly Type[]; readonly results: readonly Type[]; readonly locals?: readonly Type[]; readonly body: readonly number[] }
export interface TestModule { readonly functions: readonly TestFunction[]; readonly table?: readonly number[]; readonly globals?: readonly { type: Type; init: readonly number[] }[]; readonly data?: readonly { at: number; bytes: readonly number[] }[]; readonly extraTypes?: readonly { params: readonly Type[]; results: readonly Type[] }[] }

const section = (id: number, body: readonly number[]): number[] => [id, ...uleb(body.length), ...body];
const vec = (items: readonly (readonly number[])[]): number[] => [...uleb(items.length), ...items.flat()];
const name = (s: string): number[] => [...uleb(s.length), ...[...s].map((c) => c.charCodeAt(0))];

export function buildWasm(m: TestModule): Uint8Array {
  const types = [...m.functions.map((f) => ({ params: f.params, results: f.results })), ...(m.extraTypes ?? [])];
  const body = (f: TestFunction): number[] => {
    const b = [...vec((f.locals ?? []).map((t) => [1, T[t]])), ...f.body, 0x0b];
    return [...uleb(b.length), ...b];
  };
  return new Uint8Array([
    0, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
    ...section(1, vec(types.map((t) => [0x60, ...vec(t.params.map((p) => [T[p]])), ...vec(t.results.map((r) => [T[r]]))]))),
    ...section(3, vec(m.functions.map((_, i) => uleb(i)))),
    ...(m.table === undefined ? [] : section(4, vec([[0x70, 0, ...uleb(m.table.length)]]))),
    ...section(5, vec([[0, 4]])),
    ...section(6, vec((m.globals ?? []).map((g) => [T[g.type], 1, ...g.init, 0x0b]))),
    ...section(7, vec([...m.functions.map((f, i) => [...name(f.name), 0, ...uleb(i)]), [...name('memory'), 2, 0]])),
    ...(m.table === undefined ? [] : section(9, vec([[0, ...i32c(0), 0x0b, ...vec(m.table.map((f) => uleb(f)))]]))),
    ...section(10, vec(m.functions.map(body))),
    ...section(11, vec((m.data ?? []).map((d) => [0, ...i32c(d.at), 0x0b, ...uleb(d.bytes.length), ...d.bytes]))),
  ]);
}
