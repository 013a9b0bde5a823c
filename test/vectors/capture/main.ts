/**
 * Capture: run every planned case on this machine's CPU and write test/vectors/data.
 *
 *     node test/vectors/capture/main.ts            all groups
 *     node test/vectors/capture/main.ts alu shift  some
 *     node test/vectors/capture/main.ts --list     groups and case counts, nothing is run
 *
 * Needs Linux on x86 with 32-bit execution and `gcc -m32` (no 32-bit C library). The data is committed; this is run again only
 * when forms are added. Deterministic: the cases come from SEED, and what a case leaves undefined is masked, not captured.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { GROUPS, SEED } from './groups.ts';
import { checkDecoding } from './check.ts';
import { Sheet } from './sheet.ts';
import { runNative, type Captured } from './native.ts';
import { packGroup } from '../format.ts';

const DATA_DIRECTORY = join(import.meta.dirname, '..', 'data');

async function main(): Promise<void> {
  const args = process.argv.slice(2), listOnly = args.includes('--list');
  const wanted = args.filter(a => !a.startsWith('--'));
  mkdirSync(DATA_DIRECTORY, { recursive: true });
  let total = 0, bytes = 0;
  for (const [name, { plan, repeat }] of Object.entries(GROUPS)) {
    if (wanted.length > 0 && !wanted.includes(name)) continue;
    const sheet = new Sheet(name, SEED, repeat);
    plan(sheet);
    total += sheet.cases.length;
    if (listOnly) { console.log(`${name.padEnd(12)} ${String(sheet.forms.length).padStart(5)} forms ${String(sheet.cases.length).padStart(7)} cases`); continue; }
    await checkDecoding(sheet);
    const results: Captured[] = runNative(sheet.cases.map(c => c.scene));
    const packed = packGroup(sheet, results);
    bytes += packed.length;
    writeFileSync(join(DATA_DIRECTORY, `${name}.kv`), packed);
    const ended = results.filter(r => r.trap !== 3).length;
    console.log(`${name.padEnd(12)} ${String(sheet.forms.length).padStart(5)} forms ${String(sheet.cases.length).padStart(7)} cases ${String(ended).padStart(6)} faults ${String(packed.length).padStart(8)} bytes`);
  }
  console.log(`total ${total} cases${listOnly ? '' : `, ${bytes} bytes`}`);
}
await main();
