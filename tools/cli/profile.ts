/**
 * `./kintsugi profile -- CMD`: runs CMD as `run --deterministic` does and says where the guest's instructions went (tools/profile). With `--vm`: where
 * the host's time went instead.
 */
import { closeSync, openSync, writeFileSync } from 'node:fs';
import type { DeterministicMachine, Machine } from '../../vm/machine.ts';
import { Collector, type Collected, type From } from '../profile/collect.ts';
import { rowsOf, systemCallTable, table, type Grouping } from '../profile/report.ts';
import { collapsed, speedscope } from '../profile/stacks.ts';
import { VmProfiler, vmTable } from '../profile/vm.ts';
import { EXIT, UserError } from './errors.ts';
import { run, type Observer, type RunOutcome } from './run.ts';
import type { SystemOptions } from './system.ts';

export interface ProfileOptions {
  readonly by: Grouping;
  readonly top: number;
  readonly from: From;
  readonly every: number;
  readonly json: boolean;
  readonly quiet: boolean;
  readonly log: boolean;
  readonly speedscope?: string;
  readonly collapsed?: string;
}

/** A file that cannot be written is said before the run. */
function writable(file: string | undefined, what: string): void {
  if (file === undefined) return;
  try { closeSync(openSync(file, 'w')); } catch (error) { throw new UserError(`cannot write the ${what} to ${file}: ${(error as Error).message}`); }
}

export async function profile(options: SystemOptions, argv: readonly string[], show: ProfileOptions): Promise<number> {
  if (show.every === 0 && (show.speedscope !== undefined || show.collapsed !== undefined)) throw new UserError('--speedscope and --collapsed are made of samples: not with --every 0', EXIT.usage);
  writable(show.speedscope, 'speedscope file');
  writable(show.collapsed, 'collapsed stacks');
  const collector = new Collector({ from: show.from, every: show.every });
  let collected: Collected | undefined;
  const observer: Observer = {
    config: { watch: collector.watch },
    created: (machine: Machine) => collector.attach(machine as DeterministicMachine),
    finished: () => { collected = collector.finish(); },
  };
  return run(options, argv, { json: show.json, log: show.log, quiet: show.quiet, observer, report: (outcome) => {
    const rows = rowsOf(collected!, show.by);
    if (show.speedscope !== undefined) writeFileSync(show.speedscope, JSON.stringify(speedscope(collected!, argv.join(' '))));
    if (show.collapsed !== undefined) writeFileSync(show.collapsed, collapsed(collected!));
    if (show.json) return { profile: { by: show.by, from: show.from, start: collected!.startInstructions, instructions: collected!.counted, every: show.every, samples: collected!.samples.length, rows, systemCalls: collected!.systemCalls } };
    process.stdout.write(`${show.quiet ? '' : '\n'}${heading(argv, outcome, collected!, show)}${table(collected!, rows, show.by, show.top)}${show.by === 'line' ? '' : `\n${systemCallTable(collected!, show.top)}`}`);
    return {};
  } });
}

function heading(argv: readonly string[], outcome: RunOutcome, { counted, startInstructions, startNs }: Collected, { from }: ProfileOptions): string {
  const count = (n: number): string => n.toLocaleString('en-US');
  const what = from === 'boot' ? 'from the reset to the end' : `from the command's first instruction (after ${count(startInstructions)} of the boot) to the end`;
  return `${argv.join(' ')}: ${count(counted)} instructions, ${((outcome.virtualNs - startNs) / 1e6).toFixed(3)} ms of virtual time, ${what}\n`;
}

export interface VmProfileOptions { readonly json: boolean; readonly quiet: boolean; readonly log: boolean; /** V8's own profile, for DevTools or speedscope. */ readonly cpuprofile?: string }
/** `--vm`: the command runs as it always does, JIT and all, and V8 samples the thread it runs on. */
export async function profileVm(options: SystemOptions, argv: readonly string[], show: VmProfileOptions): Promise<number> {
  writable(show.cpuprofile, 'profile');
  const profiler = new VmProfiler();
  let result: ReturnType<VmProfiler['stop']> | undefined;
  profiler.start();
  return run(options, argv, { json: show.json, log: show.log, quiet: show.quiet, observer: { config: {}, created: () => undefined, finished: (machine: Machine) => { result = profiler.stop(machine as DeterministicMachine); } }, report: (outcome) => {
    const { report, profile: sampled } = result!;
    if (show.cpuprofile !== undefined) writeFileSync(show.cpuprofile, JSON.stringify(sampled));
    if (show.json) return { vm: report };
    process.stdout.write(`${show.quiet ? '' : '\n'}${argv.join(' ')}: ${outcome.instructions.toLocaleString('en-US')} instructions from the reset to the end, the VM's CPU time:\n${vmTable(report)}`);
    return {};
  } });
}
