/** The helpers by the symbol that pulls them in. */
import { assemble, type Assembled, type StubModule } from '../asm/assembler.ts';
import { clz64, ctz64, differ, division, fetch, memmove, memset, popcnt32, popcnt64, shift64, switchStack, trap } from './integer.asm.ts';
import { extreme, round, round32, toFloat, toPair, toWord } from './float.asm.ts';
import { nothing } from './start.asm.ts';

const modules: Record<string, StubModule> = {
  __clz64: clz64, __ctz64: ctz64, __popcnt32: popcnt32, __popcnt64: popcnt64, __memmove: memmove, __differ: differ, __memset: memset, __switch_stack: switchStack,
  __fetch_or: fetch('or'), __fetch_and: fetch('and'), __bad_function_pointer: trap('__bad_function_pointer'), abort: trap('abort'), __nothing: nothing,
};
for (const n of ['__udivdi3', '__umoddi3', '__divdi3', '__moddi3'] as const) modules[n] = division(n);
for (const k of ['shl', 'shr_u', 'shr_s', 'rotl', 'rotr'] as const) modules[`__${k}64`] = shift64(k);
for (const k of ['ceil', 'floor', 'trunc', 'nearest'] as const) {
  modules[`__${k}_f64`] = round(k);
  modules[`__${k}_f32`] = round32(k);
}
for (const k of ['min', 'max'] as const) for (const t of ['f32', 'f64'] as const) modules[`__${k}_${t}`] = extreme(k, t);
for (const s of ['sat', 'trunc'] as const) for (const i of ['i', 'u'] as const) {
  modules[`__${s}_${i}32`] = toWord(`__${s}_${i}32`);
  modules[`__${s}_${i}64`] = toPair(`__${s}_${i}64`);
}
for (const n of ['__f32_from_i64', '__f32_from_u64'] as const) modules[n] = toFloat(n);

export const LIBRARY: ReadonlyMap<string, () => Assembled> = new Map(Object.entries(modules).map(([n, m]) => [n, () => assemble(n, m)]));
