/** Every numeric wasm operator, compiled to i386 and run on the host, gives what Node gives, on edge values, in four operand shapes. */
import { describe, expect, it } from 'vitest';
import { OP_NAMES, SHAPES, type Type } from '../../tools/build/wasm/opcodes.ts';
import { type Call, differences } from './native.ts';
import { buildWasm, f64c, get, i32c, i64c, type TestFunction } from './wasm-builder.ts';

const I32 = [0, 1, -1, 2, -2, 3, 7, 31, 32, 33, 63, 127, 128, 255, 256, -128, -129, 65535, 65536, -32768, 0x7fffffff, -0x80000000, -0x7fffffff, 0x12345678, -0x12345679, 0x55555555, 0x0f0f0f0f, 1 << 30];
const I64 = [0n, 1n, -1n, 2n, -2n, 31n, 32n, 33n, 63n, 64n, 255n, -128n, 0x7fffffffn, 0x80000000n, 0xffffffffn, 0x100000000n, 0x100000001n, -0x80000000n, -0x80000001n, 0x7fffffffffffffffn, -0x8000000000000000n, -0x7fffffffffffffffn, 0x123456789abcdef0n, -0x123456789abcdefn, 0x20000000000000n, 0x20000000000001n, 0x3fffffffffffffn, 10n, 1000000007n];
const F64 = [0, -0, 1, -1, 0.5, -0.5, 1.5, 2.5, -2.5, 0.49999999999999994, 1e-310, -1e-310, 4503599627370495.5, 4503599627370496, -4503599627370497, 9007199254740993, 2147483647, 2147483648, -2147483648, -2147483649, 2147483647.9, -2147483648.9, 4294967295, 4294967296, 4294967295.9, -0.9, 9223372036854775807, 9223372036854774784, -9223372036854775808, -9223372036854777856, 18446744073709551615, 18446744073709549568, 1e300, -1e300, 1.7976931348623157e308, Infinity, -Infinity, NaN, Math.PI, 16777217, 0.1, 3.4028235677973366e38];
const VALUES: Record<Type, readonly (number | bigint)[]> = { i32: I32, i64: I64, f64: F64, f32: [...new Set(F64.map(Math.fround))] };
const constantBytes = (t: Type, v: number | bigint): number[] => (t === 'i32' ? i32c(v as number) : t === 'i64' ? i64c(v as bigint) : t === 'f64' ? f64c(v as number) : [0x43, ...new Uint8Array(new Float32Array([v as number]).buffer)]);
const opcode = (op: number): number[] => (op >= 0xfc00 ? [0xfc, op & 0xff] : [op]);
/** Offset of a memory cell for operands that come from memory: result of `load` with the type's natural opcode. */
const LOAD: Record<Type, number> = { i32: 0x28, i64: 0x29, f32: 0x2a, f64: 0x2b };
const STORE: Record<Type, number> = { i32: 0x36, i64: 0x37, f32: 0x38, f64: 0x39 };

describe('numeric operators', () => {
  for (const type of ['i32', 'i64', 'f32', 'f64'] as const) {
    it(`of ${type} agree with wasm on edge values`, () => {
      const functions: TestFunction[] = [];
      const calls: Call[] = [];
      for (const [op, shape] of SHAPES) {
        if (shape.operands[0] !== type) continue;
        const name = OP_NAMES.get(op) as string;
        const [a, b] = shape.operands as [Type, Type | undefined];
        const params = b === undefined ? [a] : [a, b];
        functions.push({ name, params, results: [shape.result], body: [...get(0), ...(b === undefined ? [] : get(1)), ...opcode(op)] });
        // operands in memory (loads that may be folded), at 65536 and 65544
        const store = params.flatMap((t, i) => [...i32c(65536 + i * 8), ...get(i), STORE[t], 0, 0]);
        const load = params.flatMap((t, i) => [...i32c(65536 + i * 8), LOAD[t], 0, 0]);
        functions.push({ name: `${name}.memory`, params, results: [shape.result], body: [...store, ...load, ...opcode(op)] });
        for (const x of VALUES[a]) {
          if (b === undefined) for (const n of [name, `${name}.memory`]) calls.push({ name: n, args: [x] });
          else for (const y of VALUES[b]) for (const n of [name, `${name}.memory`]) calls.push({ name: n, args: [x, y] });
        }
        // a constant on either side
        if (b !== undefined) for (const [i, y] of VALUES[b].entries()) {
          functions.push({ name: `${name}.right${i}`, params: [a], results: [shape.result], body: [...get(0), ...constantBytes(b, y), ...opcode(op)] });
          functions.push({ name: `${name}.left${i}`, params: [b], results: [shape.result], body: [...constantBytes(a, VALUES[a][i] as number), ...get(0), ...opcode(op)] });
          for (const x of VALUES[a]) calls.push({ name: `${name}.right${i}`, args: [x] });
          for (const x of VALUES[b]) calls.push({ name: `${name}.left${i}`, args: [x] });
        }
        // as a condition
        if (shape.result === 'i32') {
          functions.push({ name: `${name}.if`, params, results: ['i32'], body: [...get(0), ...(b === undefined ? [] : get(1)), ...opcode(op), 0x04, 0x7f, ...i32c(11), 0x05, ...i32c(22), 0x0b] });
          functions.push({ name: `${name}.select`, params, results: ['i32'], body: [...i32c(11), ...i32c(22), ...get(0), ...(b === undefined ? [] : get(1)), ...opcode(op), 0x45, 0x1b] });
          for (const x of VALUES[a]) for (const y of b === undefined ? [0] : VALUES[b]) for (const n of ['if', 'select']) calls.push({ name: `${name}.${n}`, args: b === undefined ? [x] : [x, y] });
        }
      }
      const found = differences(buildWasm({ functions }), calls);
      expect(found.slice(0, 20), `${found.length} of ${calls.length} calls differ`).toEqual([]);
    });
  }
});
