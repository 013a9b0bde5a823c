/** One trial of random programs: see random-programs.ts. */
import { OP, type Type } from '../../tools/build/wasm/opcodes.ts';
import { type Call, differences } from './native.ts';
import { MEMORY, Random, randomFunction } from './random-programs.ts';
import { buildWasm, get, i32c, i64c, type TestFunction } from './wasm-builder.ts';

/** A module of random functions, called with random arguments; after each call its memory and globals are read back. */
export function trial(seed: number, floats: boolean, count: number): string[] {
  const r = new Random(seed);
  const functions: TestFunction[] = [
    { name: 'word', params: ['i32'], results: ['i64'], body: [...get(0), OP['i64.load'] as number, 0, 0] },
    { name: 'global', params: [], results: ['i64'], body: [0x23, 0, OP['i64.extend_i32_u'] as number, 0x23, 1, OP['i64.xor'] as number] },
  ];
  const callees: { index: number; params: readonly Type[]; result: Type }[] = [];
  for (let i = 0; i < count; i++) {
    const f = randomFunction(`f${i}`, r, floats, callees.slice(-3));
    callees.push({ index: functions.length, params: f.params, result: f.results[0] as Type });
    functions.push(f);
  }
  const calls: Call[] = [];
  for (const f of functions.slice(2)) {
    for (let k = 0; k < 3; k++) {
      calls.push({ name: f.name, args: f.params.map((t) => (t === 'i32' ? r.next(2 ** 32) | 0 : t === 'i64' ? BigInt.asIntN(64, (BigInt(r.next(2 ** 32)) << 32n) | BigInt(r.next(2 ** 32))) : r.next(2000) / 8 - 100)) });
      calls.push({ name: 'global', args: [] });
      for (let i = 0; i < 40; i++) calls.push({ name: 'word', args: [MEMORY + ((i * 8 + r.next(8)) % 500)] });
    }
  }
  return differences(buildWasm({ functions, globals: [{ type: 'i32', init: i32c(1) }, { type: 'i64', init: i64c(2n) }], data: [{ at: MEMORY, bytes: Array.from({ length: 512 }, (_, i) => (i * 37) & 255) }] }), calls);
}
