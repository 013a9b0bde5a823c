/**
 * Replays the committed vectors on the engine.
 *
 *     node test/vectors/run.ts                          all groups, interpreter only: a table, and the first failures
 *     node test/vectors/run.ts --jit=mixed shift alu    groups on another tier
 *     node test/vectors/run.ts --jit=on --every=10      every tenth vector, each compiled to a region before it runs
 *     node test/vectors/run.ts --piece=1                one instruction per call of run()
 *     node test/vectors/run.ts shift:1234               one vector
 *     node test/vectors/run.ts --form='^shld' --show=20 forms by regular expression
 */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describeFailure, differences, isExactly } from './compare.ts';
import { vectorEngine, type Tier, type VectorEngineFactory } from './engine.ts';
import { unpackGroup, type Vector, type VectorGroup } from './format.ts';
import { VectorMachine } from './machine.ts';

const DATA_DIRECTORY = join(import.meta.dirname, 'data');

export const vectorGroups = (): string[] => readdirSync(DATA_DIRECTORY).filter(f => f.endsWith('.kv')).map(f => f.slice(0, -3)).sort();
export const loadGroup = (name: string): VectorGroup => unpackGroup(readFileSync(join(DATA_DIRECTORY, `${name}.kv`)));

export interface FormCount { passed: number; failed: number; unimplemented: number; firstFailure: string | null }
export interface ReplayReport { total: number; failed: number; compiled: number; /** Vectors with x87 state whose ST(0) and ST(1) are exactly the CPU's. */ exact: number; forms: Map<string, FormCount>; failures: { form: string; text: string; problems: string[] }[] }

/** Replays the chosen vectors of a group; a fresh machine per call. */
export function replay(createEngine: VectorEngineFactory, group: VectorGroup, options: { jit: Tier; select?: (v: Vector) => boolean; repeat?: number; /** Instructions per call of the engine's run(); default all. */ piece?: number }): ReplayReport {
  const machine = new VectorMachine(createEngine, options.jit);
  const report: ReplayReport = { total: 0, failed: 0, compiled: 0, exact: 0, forms: new Map(), failures: [] };
  const flags = options.jit === 'off' ? '' : `--jit=${options.jit} `;
  for (const v of group.vectors) {
    if (options.select && !options.select(v)) continue;
    let count = report.forms.get(v.form);
    if (!count) report.forms.set(v.form, count = { passed: 0, failed: 0, unimplemented: 0, firstFailure: null });
    report.total++;
    let problems: string[] = [], unimplemented = false;
    for (let n = options.repeat ?? 1; n > 0 && problems.length === 0; n--) {
      const got = machine.run(v, 4000, options.piece);
      problems = differences(v, got);
      if (v.fpu && got.fpu && n === 1 && isExactly(v, got)) report.exact++;
      unimplemented = got.unimplemented && v.expected.trap !== 6;
    }
    if (problems.length === 0) { count.passed++; continue; }
    report.failed++;
    if (unimplemented) count.unimplemented++; else count.failed++;
    const text = describeFailure(group.name, v, problems, flags);
    count.firstFailure ??= text;
    report.failures.push({ form: v.form, text, problems });
  }
  report.compiled = machine.compiled;
  return report;
}

async function main(): Promise<void> {
  const args = process.argv.slice(2);
  const option = (name: string): string | undefined => args.find(a => a.startsWith(`--${name}=`))?.slice(name.length + 3);
  const jit = (option('jit') ?? 'off') as Tier, show = Number(option('show') ?? 1), formPattern = option('form'), repeat = Number(option('repeat') ?? 1), piece = Number(option('piece') ?? 4000), every = Number(option('every') ?? 1);
  const named = args.filter(a => !a.startsWith('--'));
  let total = 0, failed = 0;
  for (const name of vectorGroups()) {
    const chosen = named.filter(n => n.split(':')[0] === name);
    if (named.length > 0 && chosen.length === 0) continue;
    const indices = new Set(chosen.filter(n => n.includes(':')).map(n => Number(n.split(':')[1])));
    const pattern = formPattern === undefined ? null : new RegExp(formPattern);
    const start = performance.now();
    const report = replay(vectorEngine, loadGroup(name), { jit, repeat, piece, select: v => v.index % every === 0 && (indices.size === 0 || indices.has(v.index)) && (!pattern || pattern.test(v.form)) });
    total += report.total; failed += report.failed;
    if (report.total === 0) continue;
    console.log(`${name.padEnd(9)} ${report.total - report.failed}/${report.total} in ${Math.round(performance.now() - start)} ms${jit === 'off' ? '' : `, ${report.compiled} compiled`}${report.exact ? `, ${report.exact} to the last bit` : ''}`);
    const shownPerForm = new Map<string, number>();
    for (const [form, c] of report.forms) if (c.failed + c.unimplemented > 0) console.log(`  ${form.padEnd(36)} ${c.passed} pass ${c.failed} FAIL${c.unimplemented ? ` ${c.unimplemented} unimplemented` : ''}`);
    for (const f of report.failures) {
      const n = shownPerForm.get(f.form) ?? 0;
      if (n >= show) continue;
      shownPerForm.set(f.form, n + 1);
      if (shownPerForm.size <= 40) console.log(f.text);
    }
  }
  console.log(`${total - failed} of ${total} vectors agree with the CPU`);
  process.exitCode = failed > 0 ? 1 : 0;
}
if (process.argv[1] === import.meta.filename) await main();
