/** Loads, stores, read-modify-write fusion, bulk memory, globals, control flow and calls: i386 on the host against wasm in Node. */
import { describe, expect, it } from 'vitest';
import { ACCESSES, OP, type Type } from '../../tools/build/wasm/opcodes.ts';
import { type Call, differences } from './native.ts';
import { buildWasm, f64c, get, i32c, i64c, set, tee, type TestFunction, uleb } from './wasm-builder.ts';

const op = (name: string): number[] => {
  const o = OP[name] as number;
  return o >= 0xfc00 ? [0xfc, o & 0xff] : [o];
};
const check = (functions: TestFunction[], calls: Call[], more: object = {}): void => {
  const d = differences(buildWasm({ functions, ...more }), calls);
  expect(d.slice(0, 20), `${d.length} of ${calls.length} differ`).toEqual([]);
};
const BYTES = Array.from({ length: 64 }, (_, i) => (i * 0x4d + 0x83) & 0xff);
const WORDS = [0, 1, -1, 0x7fffffff, -0x80000000, 0x12345678, 0xff, 0x8000, -200];

describe('memory', () => {
  it('loads every width with every extension, at constant, register and scaled addresses', () => {
    const functions: TestFunction[] = [], calls: Call[] = [];
    for (const [o, a] of ACCESSES) {
      if (a.store) continue;
      functions.push({ name: `${a.name}.constant`, params: [], results: [a.type], body: [...i32c(65536), o, 0, 3] });
      functions.push({ name: a.name, params: ['i32'], results: [a.type], body: [...get(0), o, 0, 8] });
      functions.push({ name: `${a.name}.scaled`, params: ['i32', 'i32'], results: [a.type], body: [...get(0), ...get(1), ...i32c(2), ...op('i32.shl'), ...op('i32.add'), o, 0, 4] });
      calls.push({ name: `${a.name}.constant`, args: [] });
      for (let i = 0; i < 24; i++) calls.push({ name: a.name, args: [65536 + i] });
      for (let i = 0; i < 6; i++) calls.push({ name: `${a.name}.scaled`, args: [65536 + i, i] });
    }
    check(functions, calls, { data: [{ at: 65536, bytes: BYTES }] });
  });

  it('stores every width, and operators on memory keep the bytes around', () => {
    const functions: TestFunction[] = [{ name: 'word', params: ['i32'], results: ['i64'], body: [...get(0), ...op('i64.load'), 0, 0] }];
    const calls: Call[] = [];
    const values: Record<Type, readonly (number | bigint)[]> = { i32: WORDS, i64: [0n, -1n, 0x123456789abcdef0n, -0x8000000000000000n], f32: [1.5, -0], f64: [Math.PI, -0] };
    const loadOf: Record<string, string> = { 'i32.store': 'i32.load', 'i32.store8': 'i32.load8_u', 'i32.store16': 'i32.load16_s', 'i64.store': 'i64.load', 'i64.store8': 'i64.load8_u', 'i64.store16': 'i64.load16_u', 'i64.store32': 'i64.load32_u' };
    for (const [o, a] of ACCESSES) {
      if (!a.store) continue;
      functions.push({ name: a.name, params: ['i32', a.type], results: [], body: [...get(0), ...get(1), o, 0, 5] });
      for (const v of values[a.type]) calls.push({ name: a.name, args: [65536, v] }, { name: 'word', args: [65536 + 3] }, { name: 'word', args: [65536 + 9] });
      const load = loadOf[a.name];
      if (load === undefined) continue;
      for (const b of ['add', 'sub', 'and', 'or', 'xor', 'shl', 'shr_u', 'shr_s', 'mul', 'rotl']) {
        for (const [form, operand] of [['variable', get(1)], ['constant', a.type === 'i32' ? i32c(-5) : i64c(-5n)], ['one', a.type === 'i32' ? i32c(1) : i64c(1n)]] as const) {
          const name = `${a.name}.${b}.${form}`;
          functions.push({ name, params: ['i32', a.type], results: [], body: [...get(0), ...get(0), ...op(load), 0, 5, ...operand, ...op(`${a.type}.${b}`), o, 0, 5] });
          functions.push({ name: `${name}.swapped`, params: ['i32', a.type], results: [], body: [...get(0), ...operand, ...get(0), ...op(load), 0, 5, ...op(`${a.type}.${b}`), o, 0, 5] });
          for (const v of values[a.type].slice(0, 5)) for (const n of [name, `${name}.swapped`]) calls.push({ name: n, args: [65536, v] }, { name: 'word', args: [65536 + 3] }, { name: 'word', args: [65536 + 9] });
        }
      }
    }
    check(functions, calls, { data: [{ at: 65536, bytes: BYTES }] });
  });

  it('copies overlapping ranges both ways and fills', () => {
    const functions: TestFunction[] = [
      { name: 'copy', params: ['i32', 'i32', 'i32'], results: [], body: [...get(0), ...get(1), ...get(2), 0xfc, 10, 0, 0] },
      { name: 'fill', params: ['i32', 'i32', 'i32'], results: [], body: [...get(0), ...get(1), ...get(2), 0xfc, 11, 0] },
      { name: 'word', params: ['i32'], results: ['i64'], body: [...get(0), ...op('i64.load'), 0, 0] },
      ...[4, 8, 12, 16, 32].map((n) => ({ name: `copy${n}`, params: ['i32', 'i32'] as Type[], results: [], body: [...get(0), ...get(1), ...i32c(n), 0xfc, 10, 0, 0] })),
      ...[0, 4, 16, 32].map((n) => ({ name: `fill${n}`, params: ['i32'] as Type[], results: [], body: [...get(0), ...i32c(0xa5), ...i32c(n), 0xfc, 11, 0] })),
    ];
    const calls: Call[] = [];
    const look = (): void => { for (let i = 0; i < 128; i += 8) calls.push({ name: 'word', args: [65536 + i] }); };
    for (const [to, from, n] of [[10, 20, 30], [20, 10, 30], [20, 10, 3], [11, 10, 1], [0, 64, 37], [33, 1, 64], [1, 33, 64], [5, 5, 20], [7, 9, 0]] as const) {
      calls.push({ name: 'copy', args: [65536 + to, 65536 + from, n] });
      look();
      calls.push({ name: 'fill', args: [65536 + to, 256 + n, n] });
      look();
    }
    for (const n of [4, 8, 12, 16, 32]) calls.push({ name: `copy${n}`, args: [65536 + 3, 65536 + 1] }, { name: `copy${n}`, args: [65536 + 9, 65536 + 20] });
    look();
    for (const n of [0, 4, 16, 32]) calls.push({ name: `fill${n}`, args: [65536 + 50] });
    look();
    check(functions, calls, { data: [{ at: 65536, bytes: [...BYTES, ...BYTES] }] });
  });

  it('keeps globals of every type', () => {
    const types = ['i32', 'i64', 'f32', 'f64'] as const;
    const one: Record<Type, number[]> = { i32: i32c(3), i64: i64c(0x1_0000_0003n), f32: [0x43, 0, 0, 0x40, 0x40], f64: f64c(2.5) };
    const functions = types.flatMap((t, i): TestFunction[] => [
      { name: `set.${t}`, params: [t], results: [], body: [...get(0), 0x24, i] },
      { name: `get.${t}`, params: [], results: [t], body: [0x23, i] },
      { name: `add.${t}`, params: [t], results: [t], body: [0x23, i, ...get(0), ...op(`${t}.add`), 0x24, i, 0x23, i] },
    ]);
    const calls: Call[] = [];
    for (const t of types) for (const v of t === 'i64' ? [5n, -1n, 1n << 40n] : [5, -1, 1000]) calls.push({ name: `get.${t}`, args: [] }, { name: `add.${t}`, args: [v] }, { name: `set.${t}`, args: [v] }, { name: `add.${t}`, args: [v] });
    check(functions, calls, { globals: types.map((t) => ({ type: t, init: one[t] })) });
  });
});

describe('control flow', () => {
  it('branches, loops, switches and values carried out of blocks', () => {
    const table = (n: number): number[] => [0x02, 0x40, ...Array.from({ length: n + 1 }, () => [0x02, 0x40]).flat(), ...get(0), 0x0e, ...uleb(n), ...Array.from({ length: n }, (_, i) => uleb(i)).flat(), ...uleb(n), 0x0b, ...Array.from({ length: n }, (_, i) => [...i32c(100 + i), ...set(1), 0x0c, ...uleb(n - i), 0x0b]).flat(), ...i32c(7), ...set(1), 0x0b, ...get(1)];
    const functions: TestFunction[] = [
      { name: 'sum', params: ['i32'], results: ['i32'], locals: ['i32'], body: [0x03, 0x40, ...get(0), 0x04, 0x40, ...get(1), ...get(0), ...op('i32.add'), ...set(1), ...get(0), ...i32c(1), ...op('i32.sub'), ...set(0), 0x0c, 1, 0x0b, 0x0b, ...get(1)] },
      { name: 'carry', params: ['i32', 'i32'], results: ['i32'], body: [...get(1), 0x02, 0x7f, ...get(1), ...i32c(5), ...op('i32.add'), ...get(0), 0x0d, 0, 0x1a, ...get(0), ...i32c(9), ...op('i32.xor'), 0x0b, ...op('i32.sub')] },
      { name: 'nested', params: ['i32', 'i32'], results: ['i32'], body: [...get(0), ...get(1), ...get(0), 0x04, 0x7f, ...get(1), 0x04, 0x7f, ...i32c(1), 0x05, ...i32c(2), 0x0b, 0x05, ...get(1), ...tee(0), 0x0b, ...op('i32.add'), ...op('i32.mul')] },
      { name: 'teeOrder', params: ['i32'], results: ['i32'], body: [...get(0), ...get(0), ...i32c(1), ...op('i32.add'), ...tee(0), ...get(0), ...op('i32.mul'), ...op('i32.sub')] },
      { name: 'early', params: ['i32'], results: ['i64'], body: [...get(0), 0x04, 0x40, ...i64c(-5n), 0x0f, 0x0b, ...get(0), ...op('i64.extend_i32_s'), ...i64c(77n), ...op('i64.add')] },
      { name: 'dead', params: ['i32'], results: ['i32'], body: [0x02, 0x40, ...get(0), 0x0d, 0, ...i32c(3), 0x0f, 0x00, 0x0b, ...i32c(4)] },
      { name: 'endless', params: ['i32'], results: ['i32'], body: [0x03, 0x40, ...get(0), ...i32c(3), ...op('i32.sub'), ...tee(0), ...i32c(0), ...op('i32.le_s'), 0x04, 0x40, ...get(0), 0x0f, 0x0b, 0x0c, 0, 0x0b, 0x00] },
      { name: 'trap', params: ['i32'], results: ['i32'], body: [...get(0), 0x04, 0x40, 0x00, 0x0b, ...i32c(1)] },
      ...[1, 2, 3, 4, 9].map((n): TestFunction => ({ name: `table${n}`, params: ['i32'], results: ['i32'], locals: ['i32'], body: table(n) })),
    ];
    const calls: Call[] = [];
    for (const a of [0, 1, 2, 3, 5, 9, 10, 50]) for (const f of functions) {
      if (f.params.length === 1) calls.push({ name: f.name, args: [a] });
      else for (const b of [0, 1, -7]) calls.push({ name: f.name, args: [a, b] });
    }
    for (const n of [1, 2, 3, 4, 9]) calls.push({ name: `table${n}`, args: [-1] });
    check(functions, calls);
  });

  it('calls with many arguments of all types, recursion, and through the table', () => {
    const mix: Type[] = ['i32', 'i64', 'f64', 'i32', 'f32', 'i64', 'i32', 'f64', 'f32', 'f64'];
    const weigh = (i: number): number[] => {
      const t = mix[i] as Type;
      const as64 = t === 'f64' ? [] : t === 'f32' ? op('f64.promote_f32') : t === 'i32' ? op('f64.convert_i32_s') : op('f64.convert_i64_s');
      return [...get(i), ...as64, ...f64c(i * 3 + 1), ...op('f64.mul')];
    };
    const functions: TestFunction[] = [
      { name: 'callee', params: mix, results: ['f64'], body: mix.flatMap((_, i) => [...weigh(i), ...(i > 0 ? op('f64.add') : [])]) },
      { name: 'caller', params: ['i32', 'i64', 'f64'], results: ['f64'], body: [...get(0), ...get(1), ...get(2), ...get(0), ...i32c(1), ...op('i32.add'), ...get(2), ...op('f32.demote_f64'), ...get(1), ...i64c(3n), ...op('i64.mul'), ...get(0), ...get(2), ...f64c(0.5), ...op('f64.add'), ...get(2), ...op('f32.demote_f64'), ...get(2), 0x10, 0] },
      { name: 'fib', params: ['i32'], results: ['i32'], body: [...get(0), ...i32c(2), ...op('i32.lt_s'), 0x04, 0x7f, ...get(0), 0x05, ...get(0), ...i32c(1), ...op('i32.sub'), 0x10, 2, ...get(0), ...i32c(2), ...op('i32.sub'), 0x10, 2, ...op('i32.add'), 0x0b] },
      { name: 'add', params: ['i32', 'i32'], results: ['i32'], body: [...get(0), ...get(1), ...op('i32.add')] },
      { name: 'sub', params: ['i32', 'i32'], results: ['i32'], body: [...get(0), ...get(1), ...op('i32.sub')] },
      { name: 'indirect', params: ['i32', 'i32', 'i32'], results: ['i32'], body: [...get(1), ...get(2), ...get(0), 0x11, 3, 0] },
      { name: 'fixed', params: ['i32', 'i32'], results: ['i32'], body: [...get(0), ...get(1), ...i32c(1), 0x11, 3, 0] },
    ];
    const calls: Call[] = [];
    for (const a of [0, 1, 20]) for (const b of [-3n, 1n << 33n]) for (const c of [0.25, -7]) calls.push({ name: 'caller', args: [a, b, c] }, { name: 'callee', args: [a, b, c, 4, 5.5, b, a, c, 2.5, 9] });
    for (const n of [0, 1, 2, 15]) calls.push({ name: 'fib', args: [n] });
    for (const n of [0, 1]) calls.push({ name: 'indirect', args: [n, 10, 3] }, { name: 'fixed', args: [10, n] });
    check(functions, calls, { table: [3, 4] });
  });
});
