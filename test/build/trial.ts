/** `node test/build/trial.ts <first seed> <count> [floats]`: a longer search than the test does, with one line per difference. */
import { trial } from './random.ts';

const [first = '1', count = '10', floats] = process.argv.slice(2);
for (let s = Number(first); s < Number(first) + Number(count); s++) {
  try {
    const d = trial(s, floats !== undefined, 30);
    if (d.length > 0) process.stdout.write(`seed ${s}: ${d.length} differences\n  ${d.slice(0, 3).join('\n  ')}\n`);
  } catch (e) {
    process.stdout.write(`seed ${s}: ${e instanceof Error ? e.message : String(e)}\n`);
  }
}
