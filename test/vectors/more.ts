/**
 * Vectors that are not committed: the forms of the capture tool with other seeds, run on this machine's CPU and on the engine at once.
 *
 *     node test/vectors/more.ts --seed=1 --rounds=100 x87 mmx      a hundred times the committed number of cases of two groups
 *     node test/vectors/more.ts --seed=7 --rounds=10 --jit=on      all groups, compiled
 *
 * Each round has a seed of its own (seed, seed + 1, ...), which a failure names. Needs what the capture needs.
 */
import { CODE, CODE_BYTES, DATA, DATA_BYTES, LOW, LOW_BYTES, READ_ONLY, READ_ONLY_BYTES } from './environment.ts';
import { GROUPS, SEED } from './capture/groups.ts';
import { NativeHarness, type Captured } from './capture/native.ts';
import type { Scene } from './capture/scene.ts';
import { Sheet } from './capture/sheet.ts';
import { describeFailure, differences } from './compare.ts';
import { vectorEngine, type Tier } from './engine.ts';
import type { Vector } from './format.ts';
import { VectorMachine } from './machine.ts';

export interface MoreOptions { readonly seed: number; readonly rounds: number; readonly groups: readonly string[]; readonly jit: Tier; readonly progress?: (text: string) => void }
export interface MoreReport { total: number; failed: number; /** Cases that ended the native harness, say with ESP inside its own stack. */ skipped: number; /** The first few, told. */ failures: string[] }

const OURS = [[LOW, LOW_BYTES], [READ_ONLY, READ_ONLY_BYTES], [DATA, DATA_BYTES], [CODE, CODE_BYTES]] as const;

/** Natively, halving what ends the harness until the case is alone. */
function runNative(harness: NativeHarness, scenes: readonly Scene[]): (Captured | null)[] {
  // A jump may also lead into a loop: a case takes microseconds.
  try { return harness.run(scenes, Math.max(2000, scenes.length)); } catch (problem) {
    if (scenes.length === 1) return [null];
    if (!(problem instanceof Error) || !/harness|broke/.test(problem.message)) throw problem;
    const half = scenes.length >> 1;
    return [...runNative(harness, scenes.slice(0, half)), ...runNative(harness, scenes.slice(half))];
  }
}

/** Runs the cases; stops telling, not counting, after ten failures. */
export function more({ seed, rounds, groups, jit, progress }: MoreOptions): MoreReport {
  const report: MoreReport = { total: 0, failed: 0, skipped: 0, failures: [] };
  const harness = new NativeHarness();
  try {
    for (let round = 0; round < rounds; round++) {
      for (const name of groups) {
        const group = GROUPS[name];
        if (!group) throw new Error(`no group ${name}; there are ${Object.keys(GROUPS).join(', ')}`);
        const sheet = new Sheet(name, SEED + Math.imul(seed + round, 0x9e3779b1), group.repeat);
        group.plan(sheet);
        const machine = new VectorMachine(vectorEngine, jit);
        for (let from = 0; from < sheet.cases.length; from += 20_000) {
          const cases = sheet.cases.slice(from, from + 20_000), results = runNative(harness, cases.map(c => c.scene));
          cases.forEach(({ form, scene }, i) => {
            const expected = results[i];
            if (!expected) { report.skipped++; return; }
            if (scene.onlyTrap !== null && expected.trap !== scene.onlyTrap) return;
            const v: Vector = {
              index: from + i, form: sheet.forms[form]!, code: Uint8Array.from(scene.code), codeAddr: scene.codeAddr, regs: scene.regs, eflags: scene.eflags, mxcsr: scene.mxcsr, xmm: scene.xmm, fpu: scene.fpu,
              patches: scene.patches, undefinedFlags: scene.undefinedFlags, undefinedRegs: scene.undefinedRegs, undefinedMemory: scene.undefinedMemory, expected,
            };
            // A jump or a stack pointer into what the harness has mapped for itself: no page of ours.
            if (expected.trap === 14 && expected.error & 1 && !OURS.some(([from, bytes]) => expected.cr2 >= from && expected.cr2 < from + bytes)) { report.skipped++; return; }
            report.total++;
            const problems = differences(v, machine.run(v));
            if (problems.length === 0) return;
            report.failed++;
            if (report.failures.length < 10) report.failures.push(`${describeFailure(name, v, problems, '').split('\n').slice(0, -1).join('\n')}\n    node test/vectors/more.ts --seed=${seed + round} --rounds=1 ${jit === 'off' ? '' : `--jit=${jit} `}${name}   (case ${v.index})`);
          });
        }
        progress?.(`${name.padEnd(13)} seed ${seed + round}: ${report.total} cases, ${report.failed} disagree`);
      }
    }
  } finally { harness.dispose(); }
  return report;
}

if (process.argv[1] === import.meta.filename) {
  const args = process.argv.slice(2);
  const option = (name: string): string | undefined => args.find(a => a.startsWith(`--${name}=`))?.slice(name.length + 3);
  const named = args.filter(a => !a.startsWith('--'));
  const report = more({ seed: Number(option('seed') ?? 1), rounds: Number(option('rounds') ?? 1), groups: named.length > 0 ? named : Object.keys(GROUPS), jit: (option('jit') ?? 'off') as Tier, progress: text => { process.stderr.write(`${text}\n`); } });
  console.log([...report.failures, `${report.total - report.failed} of ${report.total} cases agree with the CPU${report.skipped ? `, ${report.skipped} skipped` : ''}`].join('\n'));
  process.exitCode = report.failed > 0 ? 1 : 0;
}
