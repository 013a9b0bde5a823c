/**
 * What the floating point of both tiers leaves behind, for one of V8's own compilers to be asked at a time:
 *
 *     node --liftoff-only test/vectors/v8-tiers.ts 150       V8's baseline compiler alone
 *     node --no-liftoff test/vectors/v8-tiers.ts 150         its optimising compiler alone
 *
 * One line per kind of program, and the number of committed vectors that disagree with the CPU. WebAssembly leaves the payload and the sign of a NaN result open,
 * and V8's compilers choose differently (f64.add of two quiet NaNs): a machine whose state depends on that would depend on when V8 has optimised what.
 */
import { digest } from './fuzz.ts';
import { loadGroup, replay } from './run.ts';
import { vectorEngine, type Tier } from './engine.ts';

const count = Number(process.argv[2] ?? '150');
for (const jit of ['off', 'on'] satisfies Tier[]) {
  for (const shape of [{ sse: true, nan: true }, { x87: true, nan: true }, { sse: true }, { x87: true }]) {
    console.log(`${jit} ${Object.keys(shape).join(' ')} ${digest(vectorEngine, { ...shape, seed: 1, count: jit === 'off' ? count : Math.ceil(count / 4), loop: 5, jit })}`);
  }
  for (const group of ['sse', 'sse3', 'x87', 'x87stack']) {
    const report = replay(vectorEngine, loadGroup(group), { jit, select: v => v.index % (jit === 'off' ? 24 : 240) === 5 });
    console.log(`${jit} ${group} ${report.total} vectors, ${report.failed} wrong`);
  }
}
