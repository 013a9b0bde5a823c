/**
 * Capture: run every planned case on this machine's CPU and write test/vectors/data.
 *
 *     node test/vectors/capture/main.ts            all groups
 *     node test/vectors/capture/main.ts alu shift  some
 *     node test/vectors/capture/main.ts --list     groups and case counts, nothing is run
 *     node test/vectors/capture/main.ts --check    nothing is written: does this CPU agree with what was captured elsewhere?
 *
 * Needs Linux on x86 with 32-bit execution and `gcc -m32` (no 32-bit C library). The data is committed; this is run again only
 * when forms are added. Deterministic: the cases come from SEED, and what a case leaves undefined is masked, not captured.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { GROUPS, SEED } from './groups.ts';
import { checkDecoding } from './check.ts';
import { Sheet } from './sheet.ts';
import { runNative, type Captured } from './native.ts';
import { describeFailure, differences } from '../compare.ts';
import { packGroup, unpackGroup } from '../format.ts';

const DATA_DIRECTORY = join(import.meta.dirname, '..', 'data');

async function main(): Promise<void> {
  const args = process.argv.slice(2), listOnly = args.includes('--list'), check = args.includes('--check');
  const wanted = args.filter(a => !a.startsWith('--'));
  mkdirSync(DATA_DIRECTORY, { recursive: true });
  let total = 0, bytes = 0, disagreeing = 0;
  for (const [name, { plan, repeat }] of Object.entries(GROUPS)) {
    if (wanted.length > 0 && !wanted.includes(name)) continue;
    const sheet = new Sheet(name, SEED, repeat);
    plan(sheet);
    if (listOnly) total += sheet.cases.length;
    if (listOnly) { console.log(`${name.padEnd(12)} ${String(sheet.forms.length).padStart(5)} forms ${String(sheet.cases.length).padStart(7)} cases`); continue; }
    await checkDecoding(sheet);
    const results: Captured[] = sheet.keep(runNative(sheet.cases.map(c => c.scene)));
    total += results.length;
    const packed = packGroup(sheet, results), file = join(DATA_DIRECTORY, `${name}.kv`);
    bytes += packed.length;
    if (check) { disagreeing += compare(name, packed, readFileSync(file)); continue; }
    writeFileSync(file, packed);
    const ended = results.filter(r => r.trap !== 3).length;
    console.log(`${name.padEnd(12)} ${String(sheet.forms.length).padStart(5)} forms ${String(sheet.cases.length).padStart(7)} cases ${String(ended).padStart(6)} faults ${String(packed.length).padStart(8)} bytes`);
  }
  console.log(`total ${total} cases${listOnly ? '' : `, ${bytes} bytes${check ? `, ${disagreeing} differ from this CPU` : ''}`}`);
  process.exitCode = disagreeing > 0 ? 1 : 0;
}
/** Tells where this CPU and the committed vectors of a group differ; their number. */
function compare(name: string, packed: Uint8Array, committed: Uint8Array): number {
  if (Buffer.compare(packed, committed) === 0) { console.log(`${name.padEnd(12)} the same to the last bit`); return 0; }
  const now = unpackGroup(packed).vectors, then = unpackGroup(committed).vectors, told = new Set<string>();
  let differing = Math.abs(now.length - then.length);
  if (differing > 0) console.log(`${name.padEnd(12)} ${then.length} vectors, here ${now.length}`);
  then.slice(0, now.length).forEach((v, i) => {
    const here = now[i]!.expected, sameMemory = v.undefinedMemory || JSON.stringify(here.changes) === JSON.stringify(v.expected.changes);
    const problems = differences(v, { ...here, stuck: null, unimplemented: false, memoryProblem: sameMemory ? null : 'memory differs' });
    if (problems.length === 0) return;
    differing++;
    if (!told.has(v.form)) console.log(describeFailure(name, v, problems, ''));
    told.add(v.form);
  });
  console.log(`${name.padEnd(12)} ${differing} vectors differ${differing === 0 ? ' in what is compared' : ''}`);
  return differing;
}
await main();
