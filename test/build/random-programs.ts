/** Random wasm functions that always end: expressions of all integer and float operators over locals, memory, globals, with branches, bounded loops and calls. */
import { ACCESSES, OP, SHAPES, type Type } from '../../tools/build/wasm/opcodes.ts';
import { f64c, get, i32c, i64c, set, T, tee, type TestFunction } from './wasm-builder.ts';

export class Random {
  private s: number;
  constructor(seed: number) {
    this.s = seed >>> 0;
  }
  /** Uniform in 0..n-1 (splitmix32). */
  next(n: number): number {
    this.s = (this.s + 0x9e3779b9) >>> 0;
    let z = this.s;
    z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
    return ((z ^ (z >>> 16)) >>> 0) % n;
  }
  pick<X>(list: readonly X[]): X {
    return list[this.next(list.length)] as X;
  }
}
const INTERESTING = [0, 1, -1, 2, 3, 4, 7, 8, 16, 31, 32, 63, 64, 255, 256, 65535, 0x7fffffff, -0x80000000, 0x12345678, -7];
/** The bits of a NaN are free in wasm (section 4.3.3), so floats are neither stored nor reinterpreted. */
const byResult = (floats: boolean): Map<Type, [number, readonly Type[]][]> => {
  const m = new Map<Type, [number, readonly Type[]][]>([['i32', []], ['i64', []], ['f32', []], ['f64', []]]);
  for (const [op, s] of SHAPES) {
    if (/div|rem|reinterpret|copysign/.test(s.name) || s.name.includes('trunc_f')) continue; // may trap, or show NaN bits
    if (!floats && (s.operands.some((t) => t.startsWith('f')) || s.result.startsWith('f'))) continue;
    (m.get(s.result) as [number, readonly Type[]][]).push([op, s.operands]);
  }
  return m;
};
const INTEGER = byResult(false), ALL = byResult(true);
const opcode = (op: number): number[] => (op >= 0xfc00 ? [0xfc, op & 0xff] : [op]);
export const MEMORY = 65536, MEMORY_BYTES = 256;

export function randomFunction(name: string, r: Random, floats: boolean, callees: readonly { index: number; params: readonly Type[]; result: Type }[]): TestFunction {
  const types: readonly Type[] = floats ? ['i32', 'i32', 'i64', 'f64', 'f32'] : ['i32', 'i32', 'i32', 'i64'];
  const params = Array.from({ length: r.next(7) }, () => r.pick(types));
  const result = r.pick(types);
  const locals: Type[] = Array.from({ length: 2 + r.next(floats ? 8 : 14) }, () => r.pick(types));
  const all = [...params, ...locals];
  const counters: number[] = [];
  const table = floats ? ALL : INTEGER;
  const of = (t: Type): number[] => all.flatMap((x, i) => (x === t && !counters.includes(i) ? [i] : []));
  const constant = (t: Type): number[] => (t === 'i32' ? i32c(r.pick(INTERESTING)) : t === 'i64' ? i64c(BigInt(r.pick(INTERESTING)) * (r.next(2) === 0 ? 1n : 0x100000001n)) : t === 'f64' ? f64c(r.pick(INTERESTING) / 3) : [0x43, ...new Uint8Array(new Float32Array([r.pick(INTERESTING) / 3]).buffer)]);
  const address = (d: number): number[] => (r.next(3) === 0 ? i32c(MEMORY + r.next(MEMORY_BYTES - 8)) : [...expression('i32', d - 1), ...i32c(MEMORY_BYTES / 2 - 1), OP['i32.and'] as number, ...(r.next(2) === 0 ? [...i32c(MEMORY), OP['i32.add'] as number] : [...i32c(1), OP['i32.shl'] as number, ...i32c(MEMORY), OP['i32.add'] as number])]);
  const accesses = [...ACCESSES.values()];
  const expression = (t: Type, d: number): number[] => {
    const kind = r.next(12);
    const vars = of(t);
    if (d <= 0 || kind < 2) return vars.length > 0 && r.next(4) !== 0 ? get(r.pick(vars)) : constant(t);
    if (kind === 2) {
      const a = r.pick(accesses.filter((x) => !x.store && x.type === t));
      return [...address(d), OP[a.name] as number, 0, r.next(8)];
    }
    if (kind === 3) return [...expression(t, d - 1), ...expression(t, d - 1), ...expression('i32', d - 1), 0x1b];
    if (kind === 4 && vars.length > 0) return [...expression(t, d - 1), ...tee(r.pick(vars))];
    if (kind === 5) return [...expression('i32', d - 1), 0x04, T[t], ...expression(t, d - 2), 0x05, ...expression(t, d - 2), 0x0b];
    if (kind === 6 && callees.length > 0 && r.next(2) === 0) {
      const c = r.pick(callees);
      if (c.result === t) return [...c.params.flatMap((p) => expression(p, d - 2)), 0x10, c.index];
    }
    if (kind === 7 && t === 'i32') return [...expression('i32', d - 1), ...i32c(r.next(1000) + 1), OP[r.pick(['i32.div_s', 'i32.div_u', 'i32.rem_s', 'i32.rem_u'])] as number];
    if (kind === 7 && t === 'i64') return [...expression('i64', d - 1), ...i64c(BigInt(r.next(1000) + 1) * (r.next(2) === 0 ? 1n : -0x30000000fn)), OP[r.pick(['i64.div_u', 'i64.rem_u', 'i64.rem_s'])] as number];
    const [op, operands] = r.pick(table.get(t) as [number, readonly Type[]][]);
    return [...operands.flatMap((x) => expression(x, d - 1)), ...opcode(op)];
  };
  const statement = (d: number, depth: number): number[] => {
    switch (r.next(depth > 0 ? 8 : 5)) {
      case 0: case 1: case 2: {
        const v = r.next(all.length);
        if (counters.includes(v)) return [0x01];
        return [...expression(all[v] as Type, d), ...set(v)];
      }
      case 3: {
        const a = r.pick(accesses.filter((x) => x.store && !x.type.startsWith('f')));
        return [...address(d), ...expression(a.type, d), OP[a.name] as number, 0, r.next(8)];
      }
      case 4: {
        const g = r.next(2);
        return [...expression(g === 0 ? 'i32' : 'i64', d), 0x24, g];
      }
      case 5: return [...expression('i32', d), 0x04, 0x40, ...block(d, depth - 1), ...(r.next(2) === 0 ? [] : [0x05, ...block(d, depth - 1)]), 0x0b];
      case 6: {
        const c = all.length; // a fresh counter nobody else writes
        all.push('i32');
        locals.push('i32');
        counters.push(c);
        const n = 1 + r.next(6);
        return r.next(2) === 0
          ? [...i32c(n), ...set(c), 0x03, 0x40, ...block(d, depth - 1), ...get(c), ...i32c(1), OP['i32.sub'] as number, ...tee(c), 0x0d, 0, 0x0b]
          : [...i32c(0), ...set(c), 0x03, 0x40, ...get(c), ...i32c(n), OP['i32.lt_s'] as number, 0x04, 0x40, ...block(d, depth - 1), ...get(c), ...i32c(1), OP['i32.add'] as number, ...set(c), 0x0c, 1, 0x0b, 0x0b];
      }
      default: return [0x02, 0x40, ...block(d, depth - 1), ...expression('i32', d), 0x0d, 0, ...block(d, depth - 1), 0x0b];
    }
  };
  const block = (d: number, depth: number): number[] => Array.from({ length: 1 + r.next(4) }, () => statement(d, depth)).flat();
  const body = Array.from({ length: 2 + r.next(5) }, () => statement(3 + r.next(2), 2)).flat();
  // Everything computed flows into memory and the result, so that nothing is dead.
  const store: Record<Type, number> = { i32: 0x36, i64: 0x37, f32: 0x38, f64: 0x39 };
  const spill = all.flatMap((t, i) => (t.startsWith('f') ? [] : [...i32c(MEMORY + MEMORY_BYTES + i * 8), ...get(i), store[t], 0, 0]));
  return { name, params, results: [result], locals, body: [...body, ...spill, ...expression(result, 3)] };
}
