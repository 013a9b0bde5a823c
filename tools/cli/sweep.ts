/** `./kintsugi demo restart --sweep`, `demo tcp --sweep`: the proof behind the demos. The engine is tools/lab/sweep.ts. Exit status 1 when one operation was not done exactly once. */
import { SWEEPS_OF, SWEEP_VICTIMS, sweep, type SweepOperation, type SweepProgress, type SweepReport, type SweepVictim } from '../lab/sweep.ts';
import { ordinal } from '../lab/statistics.ts';
import { SWEEPS } from '../lab/sweep-record.ts';
import { EXIT, UserError } from './errors.ts';

export interface SweepCommand { readonly victims: readonly string[]; readonly operations: readonly string[]; readonly limit: number; readonly jobs: number; readonly cpus: number; readonly seed: number; readonly json: boolean }

function among<T extends string>(names: readonly string[], known: readonly T[], what: string): T[] {
  return names.map((name) => {
    if (!(known as readonly string[]).includes(name)) throw new UserError(`no ${what} ${name}; there are: ${known.join(', ')}`, EXIT.usage);
    return name as T;
  });
}
const ALL: readonly SweepOperation[] = [...SWEEPS_OF.files.operations, ...SWEEPS_OF.net.operations];
/** `files` and `net` are all operations of their kind. */
const groups = (names: readonly string[]): string[] => [...new Set(names.flatMap((name): readonly string[] => (name === 'files' || name === 'net' ? SWEEPS_OF[name].operations : [name])))];
/** Between lines of progress where stderr is no terminal. */
const TICK_MS = 30_000;
const duration = (seconds: number): string => (seconds < 120 ? `${Math.ceil(seconds)} s` : `${Math.ceil(seconds / 60)} min`);
const thousands = (value: number): string => value.toLocaleString('en-US');

export function sweepText(report: SweepReport): string {
  const width = Math.max(10, ...report.rows.map(({ operation }) => operation.length));
  const out = [`${'operation'.padEnd(width)} victim      instructions    killed at    done exactly once   recovery, instructions: median         p99`];
  for (const row of report.rows) {
    const at = row.every === 1 ? 'every one' : `every ${ordinal(row.every)}`;
    out.push(`${row.operation.padEnd(width)} ${row.victim.padEnd(10)} ${thousands(row.instructions).padStart(13)} ${at.padStart(12)} ${`${thousands(row.exactlyOnce)} of ${thousands(row.kills)}`.padStart(20)} ${thousands(row.recoverInstructions.median).padStart(32)} ${thousands(row.recoverInstructions.p99).padStart(11)}`);
    for (const f of row.failures.slice(0, 8)) out.push(`    NOT at its instruction ${f.number} (${f.symbol} ${f.line}): ${f.outcome}; ${f.note}`);
    if (row.failures.length > 8) out.push(`    ... and ${row.failures.length - 8} more`);
  }
  out.push('', `${thousands(report.kills)} kills, ${thousands(report.lost)} operations lost, doubled or wrong; ${report.ran === 0 ? 'all of them from the record' : `${thousands(report.ran)} done now: ${(report.ran / report.seconds).toFixed(1)} per second, ${((report.cpuSeconds * 1000) / report.ran).toFixed(1)} ms of CPU time each`}`);
  return `${out.join('\n')}\n`;
}

export async function sweepCommand(command: SweepCommand): Promise<number> {
  const victims = among<SweepVictim>(command.victims, SWEEP_VICTIMS, 'victim of the sweep'), operations = among<SweepOperation>(groups(command.operations), ALL, 'operation');
  const terminal = process.stderr.isTTY === true;
  let told = performance.now();
  const tick = ({ operation, victim, done, total, failed, perSecond, secondsLeft }: SweepProgress): void => {
    if (!terminal && performance.now() - told < TICK_MS) return;
    told = performance.now();
    const text = `${thousands(done)} of ${thousands(total)} kills (${operation}, ${victim})  ${failed} failed  ${perSecond.toFixed(1)}/s${secondsLeft === undefined ? '' : `  ETA ${duration(secondsLeft)}`}`;
    process.stderr.write(terminal ? `\r\x1b[K${text}` : `${text}\n`);
  };
  const report = await sweep({
    victims, operations, limit: command.limit, workers: command.jobs, cpus: command.cpus, scheduleSeed: command.seed,
    progress: (line) => process.stderr.write(`${terminal ? '\r\x1b[K' : ''}${line}\n`),
    tick, root: SWEEPS,
  });
  process.stdout.write(command.json ? `${JSON.stringify(report)}\n` : sweepText(report));
  return report.lost === 0 ? EXIT.ok : EXIT.failure;
}
